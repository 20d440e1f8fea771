/* SPDX-License-Identifier: Apache-2.0
 *
 * XCLAIM and XAUTOCLAIM: messages change their owners.  As with XREADGROUP, first all that needs memory; it is
 * taken back if there is too little.
 */
#include "cmd_stream.h"
#include "event.h"
#include "number.h"

struct claim {
	struct stream *s;
	struct sgroup *g;
	struct sconsumer *k;                 /* NULL: it is not there, and not needed so far */
	int64_t idle, ms, count;             /* at least so long; delivered at; RETRYCOUNT, or -1 */
	int justid, force, made;
	struct sid *id;                      /* in scratch memory: what the reply will say */
	uint64_t n;
};

/* May the id change its owner? */
static int claimable(const struct claim *m, const struct nack *n, int64_t now)
{
	return !n ? m->force : !m->idle || nack_age(n, now) >= m->idle;
}

/* The consumer that claims, made if need be.  0, or -1: no memory. */
static int claimant(struct ctx *cx, purser_call *c, struct claim *m)
{
	if (m->k)
		return 0;
	m->k = group_consumer(m->g, c->argv[3]);
	if (!m->k) {
		m->k = consumer_new(cx, m->g, c->argv[3], (int64_t)now_ms(cx));
		m->made = m->k != NULL;
	}
	return m->k ? 0 : -1;
}

static void take(struct ctx *cx, struct claim *m, struct sid id)
{
	struct nack *n = group_nack(m->g, id);

	if (!n->owner)
		n->count = 1; /* it was never delivered, but so it counts */
	else if (n->owner != m->k)
		idtree_remove(cx, &n->owner->pel, id);
	n->ms = m->ms;
	if (m->count >= 0)
		n->count = (uint64_t)m->count;
	else if (!m->justid)
		n->count++;
	n->owner = m->k;
	m->k->seen_ms = (int64_t)now_ms(cx);
}

static void reply_claimed(struct ctx *cx, purser_call *c, const struct claim *m)
{
	struct spos p;
	uint64_t i;

	reply_array(cx, c, m->n);
	for (i = 0; i < m->n; i++) {
		if (m->justid)
			reply_sid(cx, c, m->id[i]);
		else if (stream_from(m->s, m->id[i], &p))
			reply_entry(cx, c, &p);
	}
}

/* 0, or -1 with the error replied. */
static int claim_begin(struct ctx *cx, purser_call *c, struct claim *m)
{
	struct pos p;
	int wrong;

	m->g = arg_group(cx, c, 2, &p, FIND_READ, err_no_group, &wrong);
	if (!m->g)
		return -1;
	m->s = item_stream(p.it);
	return 0;
}

static int arg_number(struct ctx *cx, purser_call *c, uint32_t arg, int64_t *out, const char *what)
{
	if (int_parse(c->argv[arg].p, c->argv[arg].n, out) == 0)
		return 0;
	reply_errorf(cx, c, "ERR Invalid %s argument for %s", what, c->op == OP_ID_XCLAIM ? "XCLAIM" : "XAUTOCLAIM");
	return -1;
}

/* ---- XCLAIM ------------------------------------------------------------------------------------------------- */
/* What is behind the ids, from argv[i] on; 0, or -1 with the error replied. */
static int claim_options(struct ctx *cx, purser_call *c, uint32_t i, struct claim *m, struct sid *last)
{
	int64_t now = (int64_t)now_ms(cx), v;

	*last = SID_MIN;
	m->ms = -1;
	m->count = -1;
	for (; i < c->argc; i++) {
		purser_bytes o = c->argv[i];
		int more = i + 1 < c->argc;

		if (arg_is(o, "force")) {
			m->force = 1;
		} else if (arg_is(o, "justid")) {
			m->justid = 1;
		} else if (more && arg_is(o, "idle")) {
			if (arg_number(cx, c, ++i, &v, "IDLE option"))
				return -1;
			m->ms = (int64_t)((uint64_t)now - (uint64_t)v);
		} else if (more && arg_is(o, "time")) {
			if (arg_number(cx, c, ++i, &m->ms, "TIME option"))
				return -1;
		} else if (more && arg_is(o, "retrycount")) {
			if (arg_number(cx, c, ++i, &m->count, "RETRYCOUNT option"))
				return -1;
		} else if (more && arg_is(o, "lastid")) {
			if (arg_sid(cx, c, ++i, last))
				return -1;
		} else {
			struct shown s = shown_arg(c, i);

			reply_errorf(cx, c, "ERR Unrecognized XCLAIM option '%.*s'", s.n, s.p);
			return -1;
		}
	}
	if (m->ms < 0 || m->ms > now)
		m->ms = now;
	return 0;
}

/* Everything that needs memory for ids[0..n).  0, or -1: no memory, and nothing has changed. */
static int claim_prepare(struct ctx *cx, purser_call *c, struct claim *m, const struct sid *ids, uint32_t n)
{
	int64_t now = (int64_t)now_ms(cx);
	uint32_t i;

	for (i = 0; i < n; i++)
		if (stream_has(m->s, ids[i]) && claimable(m, group_nack(m->g, ids[i]), now) &&
		    (claimant(cx, c, m) || !group_owe(cx, m->g, m->k, ids[i])))
			break;
	if (i == n)
		return 0;
	while (m->k && i-- > 0)
		group_unowe(cx, m->g, m->k, ids[i]);
	if (m->made)
		consumer_delete(cx, m->g, m->k);
	return -1;
}

void op_xclaim(struct ctx *cx, purser_call *c)
{
	struct claim m = { .n = 0 };
	struct sid *ids, last;
	int64_t now = (int64_t)now_ms(cx);
	uint32_t n, i;

	if (claim_begin(cx, c, &m) || arg_number(cx, c, 4, &m.idle, "min-idle-time"))
		return;
	if (m.idle < 0)
		m.idle = 0;
	ids = scratch(cx, (c->argc - 5) * sizeof(*ids));
	if (!ids) {
		reply_nomem(cx, c);
		return;
	}
	for (n = 0; 5 + n < c->argc; n++)
		if (sid_parse(c->argv[5 + n], 1, 0, NULL, &ids[n]))
			break;
	if (claim_options(cx, c, 5 + n, &m, &last))
		return;
	if (claim_prepare(cx, c, &m, ids, n)) {
		reply_nomem(cx, c);
		return;
	}
	if (sid_order(last, m.g->last) > 0)
		m.g->last = last;
	m.id = ids; /* those that were claimed take the places of those that were looked at */
	for (i = 0; i < n; i++) {
		struct nack *owed = group_nack(m.g, ids[i]);

		if (!stream_has(m.s, ids[i])) {
			if (owed)
				group_ack(cx, m.g, ids[i]);
			continue;
		}
		if (!owed || (owed->owner && !claimable(&m, owed, now)))
			continue;
		take(cx, &m, ids[i]);
		m.id[m.n++] = ids[i];
	}
	if (m.made)
		arg_told(cx, c, 1, EVENT_STREAM, "xgroup-createconsumer");
	reply_claimed(cx, c, &m);
}

/* ---- XAUTOCLAIM --------------------------------------------------------------------------------------------- */
#define ATTEMPTS 10                     /* looked at for each that may be claimed */
#define COUNT_MAX (INT64_MAX / 16)
#define COUNT_MEMORY (INT64_C(1) << 43) /* Redis has no memory for so many ids */

static int auto_options(struct ctx *cx, purser_call *c, struct claim *m, struct sid *from, int64_t *count)
{
	uint32_t i;

	*count = 100;
	m->count = -1;
	m->ms = (int64_t)now_ms(cx);
	if (arg_number(cx, c, 4, &m->idle, "min-idle-time") || arg_from(cx, c, 5, from))
		return -1;
	if (m->idle < 0)
		m->idle = 0;
	for (i = 6; i < c->argc; i++) {
		if (i + 1 < c->argc && arg_is(c->argv[i], "count")) {
			i++;
			if (int_parse(c->argv[i].p, c->argv[i].n, count) || *count < 1 || *count > COUNT_MAX) {
				reply_error(cx, c, "ERR COUNT must be > 0");
				return -1;
			}
		} else if (arg_is(c->argv[i], "justid")) {
			m->justid = 1;
		} else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
	}
	return 0;
}

/* What is found from `from` on: those to claim in m->id[0..n), those that are no more at the other end of its
 * `room` places, the first one downmost.  0, or -1: no memory, and nothing has changed. */
static int auto_prepare(struct ctx *cx, purser_call *c, struct claim *m, struct sid *from, int64_t count,
    uint64_t room, uint64_t *dead)
{
	int64_t attempts = count > INT64_MAX / ATTEMPTS ? INT64_MAX : count * ATTEMPTS, now = (int64_t)now_ms(cx);
	struct idpos at;
	int more = idtree_from(&m->g->pel, *from, &at);

	*dead = 0;
	for (; more && attempts > 0 && m->n + *dead < (uint64_t)count; attempts--, more = idpos_next(&at)) {
		struct sid id = idpos_id(&at);

		if (!stream_has(m->s, id)) {
			m->id[room - ++*dead] = id;
			continue;
		}
		if (!claimable(m, idpos_value(&m->g->pel, &at), now))
			continue;
		if (claimant(cx, c, m) || !group_owe(cx, m->g, m->k, id)) {
			while (m->n > 0)
				group_unowe(cx, m->g, m->k, m->id[--m->n]);
			if (m->made)
				consumer_delete(cx, m->g, m->k);
			return -1;
		}
		m->id[m->n++] = id;
	}
	*from = more ? idpos_id(&at) : SID_MIN;
	return 0;
}

void op_xautoclaim(struct ctx *cx, purser_call *c)
{
	struct claim m = { .n = 0 };
	uint64_t room, dead, i;
	struct sid from;
	int64_t count;

	if (auto_options(cx, c, &m, &from, &count) || claim_begin(cx, c, &m))
		return;
	if (count >= COUNT_MEMORY) {
		reply_error(cx, c, "ERR Insufficient memory, failed allocating transient memory, COUNT too high.");
		return;
	}
	room = m.g->pel.n < (uint64_t)count ? m.g->pel.n : (uint64_t)count;
	m.id = scratch(cx, (room + 1) * sizeof(*m.id));
	if (!m.id || auto_prepare(cx, c, &m, &from, count, room, &dead)) {
		reply_nomem(cx, c);
		return;
	}
	for (i = 0; i < m.n; i++)
		take(cx, &m, m.id[i]);
	for (i = 1; i <= dead; i++)
		group_ack(cx, m.g, m.id[room - i]);
	if (m.made)
		arg_told(cx, c, 1, EVENT_STREAM, "xgroup-createconsumer");
	reply_array(cx, c, 3);
	reply_sid(cx, c, from);
	reply_claimed(cx, c, &m);
	reply_array(cx, c, dead);
	for (i = 1; i <= dead; i++)
		reply_sid(cx, c, m.id[room - i]);
}
