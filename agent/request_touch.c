/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes to keys of which somebody must hear first (feature/touch.h): found by every key of every command that may write,
 * whoever sends it: a client, EXEC, a script for the keys that it declares, the agent's own steps, FLUSHDB.
 */
#include <config.h>
#include <string.h>
#include "feature/touch.h"
#include "request_feature.h"
#include "request_stage.h"

static void find(struct worker *w, struct touch_note **n, const struct purser_instance *i, const struct bcall *b, uint32_t db)
{
	const struct purser_call *c = &b->c;
	purser_bytes head = { b->prefix, c->ns_prefix };

	for (uint32_t k = 0; c->op == PURSER_OP_BATCH && k < c->nparts; k++)
		find(w, n, i, (const struct bcall *)c->parts[k], db);
	for (uint32_t k = 0; c->op != PURSER_OP_BATCH && k < c->nkeys; k++)
		touch_find(w->feature.touch, n, i, db, head, &b->argv[c->keys[k]]);
}

/* ---- a client's request ---- */

static void told(struct feature_worker *home, void *arg, uint64_t id)
{
	(void)arg;
	for (struct client *c = home->w->clients; c; c = c->next)
		if (c->held && c->held->touch == id) {
			c->held->touch = 0;
			c->held->touched = true;
			c->wake(c);
		}
}

static bool touch_holds(struct request *r)
{
	struct worker *w = r->cl->w;
	struct touch_note *n = NULL;
	uint64_t id;

	if (r->touch)
		return true; /* they are being told */
	/* Once: who watches the key anew has begun when the write was on its way. */
	if (r->touched || !(r->b.c.flags & PURSER_CALL_WRITE))
		return false;
	find(w, &n, r->b.c.ctx->inst, &r->b, r->b.c.db);
	if (!n)
		return false;
	id = ++w->touches;
	if (!r->cl->retry.sending) /* else it has waited before its first attempt */
		r->touch = id;
	touch_tell(n, &w->feature, told, NULL, id);
	return r->touch != 0;
}

enum stage_result touch_gate(struct request *r)
{
	if (atomic_load_explicit(&r->b.c.ctx->inst->gate, memory_order_acquire) & GATE_TOUCH && touch_holds(r))
		return STAGE_HOLD;
	return retry_admit(r) ? STAGE_NEXT : STAGE_DONE;
}

/* ---- the agent's own ---- */

bool touch_child(struct worker *w, const struct purser_instance *i, const struct command *cmd, const struct bcall *b,
    void (*go_on)(struct feature_worker *home, void *arg, uint64_t id), void *arg)
{
	struct touch_note *n = NULL;

	if (cmd && cmd->id == CMD_FLUSHDB)
		touch_find(w->feature.touch, &n, i, b->c.db, (purser_bytes){ NULL, 0 }, NULL);
	else if (cmd && cmd->id == CMD_FLUSHALL)
		touch_find(w->feature.touch, &n, i, TOUCH_DBS, (purser_bytes){ NULL, 0 }, NULL);
	else
		find(w, &n, i, b, b->c.db);
	if (n)
		touch_tell(n, &w->feature, go_on, arg, 0);
	return n != NULL;
}

bool touch_flush(struct worker *w, const struct project *p, uint16_t db, uint32_t databases,
    void (*go_on)(struct feature_worker *home, void *arg, uint64_t id), void *arg)
{
	const struct purser_instance *i = w->ctx[p->instance] ? w->ctx[p->instance]->inst : NULL;
	struct touch_note *n = NULL;

	if (!i || !(atomic_load_explicit(&i->gate, memory_order_acquire) & GATE_TOUCH))
		return false;
	for (uint32_t d = db; d < db + databases; d++)
		touch_find(w->feature.touch, &n, i, d, (purser_bytes){ p->prefix, p->prefix_len }, NULL);
	if (n)
		touch_tell(n, &w->feature, go_on, arg, 0);
	return n != NULL;
}
