/* SPDX-License-Identifier: Apache-2.0 */
/* quota: see the header. */
#include "quota.h"
#include "cmd.h"
#include "keyspace.h"
#include "project.h"

static const char too_many_bytes[] = "OOM the project has as much memory as max_bytes of its [project] section "
    "allows: delete keys, or raise it";
static const char too_many_keys[] = "OOM the project has as many keys as max_keys of its [project] section "
    "allows: delete some, or raise it";

/* How many keys a command would make, at most: those of MSET that are not there; else one, if one of its keys is not.
 * -1: a script has the key space and takes long, or there is no memory: it waits or fails by itself. */
static int64_t new_keys(struct ctx *cx, purser_call *c, const struct op *op)
{
	uint32_t mask;
	int64_t n, i, missing = 0;
	struct pos p;

	if (op->arity > 0 ? c->argc != (uint32_t)op->arity : c->argc < (uint32_t)-op->arity)
		return 0; /* it will say so */
	n = c->db < cx->st->databases ? keys_hash(cx, op, c, &mask) : 0;
	if (n <= 0 || shards_claim(cx, mask))
		return n > 0 ? -1 : n;
	for (i = 0; i < n; i++) {
		purser_bytes key = c->argv[op->flags & OP_KEYS ? (int64_t)c->keys[i] : op->first + i * op->step];

		missing += !key_find(cx, &p, c->db, key, cx->hash[i], FIND_NOTOUCH | FIND_QUIET);
	}
	shards_unlock(cx, mask);
	return op->step > 1 ? missing : missing != 0;
}

struct sum { uint32_t needs; int64_t keys; };

static void weigh(struct ctx *cx, purser_call *c, const struct op *op, int count, struct sum *s)
{
	s->needs |= op->flags & (OP_OOM | OP_SCRIPT);
	if (count && op->flags & OP_OOM) {
		int64_t n = new_keys(cx, c, op);

		s->keys += n > 0 ? n : 0;
	}
}

/* More keys than it could make. */
static uint64_t most_keys(const purser_call *c)
{
	uint64_t n = 0;
	uint32_t i;

	if (c->op != PURSER_OP_BATCH)
		return c->argc;
	for (i = 0; i < c->nparts; i++)
		n += c->parts[i]->argc;
	return n;
}

const char *quota_refuses(struct ctx *cx, purser_call *c, const purser_quota *q, uint32_t *script)
{
	int64_t project = project_known(cx, c->op == PURSER_OP_BATCH && c->nparts ? c->parts[0] : c), keys;
	struct sum s = { 0, 0 };
	int full, close;
	uint32_t i, was;

	*script = 0;
	if (project < 0)
		return NULL; /* it has nothing yet */
	keys = project_sum(cx->st, (uint32_t)project, ACCOUNT_KEYS);
	was = account_enter(cx, (uint32_t)project); /* a key may expire as it is looked for */
	full = q->max_bytes && project_sum(cx->st, (uint32_t)project, ACCOUNT_USED) >= (int64_t)q->max_bytes;
	close = q->max_keys && !full && (uint64_t)keys + most_keys(c) > q->max_keys;
	if (c->op != PURSER_OP_BATCH)
		weigh(cx, c, &ops[c->op], close, &s);
	else
		for (i = 0; i < c->nparts; i++)
			weigh(cx, c->parts[i], &ops[c->parts[i]->op], close, &s);
	account_enter(cx, was);
	if (full && s.needs & OP_OOM)
		return too_many_bytes;
	if (q->max_keys && s.keys && keys + s.keys > (int64_t)q->max_keys)
		return too_many_keys;
	*script = s.needs & OP_SCRIPT && (full || (q->max_keys && keys >= (int64_t)q->max_keys));
	return NULL;
}
