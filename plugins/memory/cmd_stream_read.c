/* SPDX-License-Identifier: Apache-2.0
 *
 * XREAD and XREADGROUP.  First everything that needs memory: the entries that a group hands out are owed by the
 * consumer, and the group moves on; then the reply, while which the owners change.  If memory is short, the first
 * part is taken back.
 */
#include "cmd_stream.h"
#include "event.h"
#include "number.h"
#include "wait.h"

/* ---- arguments ---------------------------------------------------------------------------------------------- */
static int refuse(struct ctx *cx, purser_call *c, const char *text)
{
	reply_error(cx, c, text);
	return -1;
}

static int arg_block(struct ctx *cx, purser_call *c, uint32_t arg, int64_t *ms)
{
	if (int_parse(c->argv[arg].p, c->argv[arg].n, ms))
		return refuse(cx, c, "ERR timeout is not an integer or out of range");
	return *ms < 0 ? refuse(cx, c, "ERR timeout is negative") : 0;
}

/* One option at argv[*i], which is its last argument then; 1: it was STREAMS. */
static int option(struct ctx *cx, purser_call *c, uint32_t *i, struct sread *r, int group)
{
	uint32_t more = c->argc - 1 - *i;
	purser_bytes o = c->argv[*i];

	if (more && arg_is(o, "block")) {
		r->blocks = 1;
		return arg_block(cx, c, ++*i, &r->block_ms);
	}
	if (more && arg_is(o, "count")) {
		if (arg_int(cx, c, ++*i, &r->count))
			return -1;
		if (r->count < 0)
			r->count = 0;
		return 0;
	}
	if (more && arg_is(o, "streams")) {
		if (more % 2)
			return refuse(cx, c, "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' "
			    "must be specified.");
		r->key = *i + 1;
		r->n = more / 2;
		return 1;
	}
	if (more >= 2 && arg_is(o, "group")) {
		if (!group)
			return refuse(cx, c, "ERR The GROUP option is only supported by XREADGROUP. You called XREAD "
			    "instead.");
		r->group = *i + 1;
		r->consumer = *i + 2;
		*i += 2;
		return 0;
	}
	if (arg_is(o, "noack")) {
		if (!group)
			return refuse(cx, c, "ERR The NOACK option is only supported by XREADGROUP. You called XREAD "
			    "instead.");
		r->noack = 1;
		return 0;
	}
	return refuse(cx, c, err_syntax);
}

static int options(struct ctx *cx, purser_call *c, struct sread *r)
{
	int group = c->op == OP_ID_XREADGROUP, what = 0;
	uint32_t i;

	*r = (struct sread){ .n = 0 };
	for (i = 1; i < c->argc && !what; i++)
		what = option(cx, c, &i, r, group);
	if (what < 0)
		return -1;
	/* the host has found the same keys, whose shards are locked */
	if (!what || c->nkeys != r->n || c->keys[0] != r->key)
		return refuse(cx, c, err_syntax);
	if (group && !r->group)
		return refuse(cx, c, "ERR Missing GROUP option for XREADGROUP");
	return 0;
}

/* The id of stream number i: from which on. */
static int arg_after(struct ctx *cx, purser_call *c, const struct sread *r, uint32_t i, struct sread_part *t,
    const struct sid *waited)
{
	uint32_t arg = r->key + r->n + i;
	purser_bytes a = c->argv[arg];

	t->dollar = a.n > 0 && a.p[0] == '$' && arg_is(a, "$");
	if (t->dollar && r->group)
		return refuse(cx, c, "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the "
		    "history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID "
		    "would just return an empty result set.");
	if (t->dollar) {
		t->after = waited ? waited[i] : t->s ? t->s->last : SID_MIN;
		return 0;
	}
	t->after = SID_MAX; /* to a group: what is new, also if it is written so */
	if (!arg_is(a, ">"))
		return arg_sid(cx, c, arg, &t->after);
	return r->group ? 0 : refuse(cx, c, "ERR The > ID can be specified only when calling XREADGROUP using the GROUP "
	    "<group> <consumer> option.");
}

static int part_begin(struct ctx *cx, purser_call *c, const struct sread *r, uint32_t i, const struct sid *waited)
{
	struct sread_part *t = &r->part[i];
	struct pos p;

	*t = (struct sread_part){ .s = NULL };
	arg_find(cx, c, r->key + i, i, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_STREAM))
		return -1;
	if (p.it)
		t->s = item_stream(p.it);
	if (r->group) {
		if (t->s)
			t->g = stream_group(t->s, c->argv[r->group]);
		if (!t->g) {
			struct shown key = shown_key(c, r->key + i), name = shown_arg(c, r->group);

			reply_errorf(cx, c, "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with "
			    "GROUP option", key.n, key.p, name.n, name.p);
			return -1;
		}
	}
	if (arg_after(cx, c, r, i, t, waited))
		return -1;
	t->history = t->g && sid_order(t->after, SID_MAX) != 0;
	return 0;
}

int sread_begin(struct ctx *cx, purser_call *c, struct sread *r, const struct sid *after)
{
	uint32_t i;

	if (options(cx, c, r))
		return -1;
	r->part = scratch(cx, r->n * sizeof(*r->part));
	if (!r->part) {
		reply_nomem(cx, c);
		return -1;
	}
	for (i = 0; i < r->n; i++)
		if (part_begin(cx, c, r, i, after))
			return -1;
	return 0;
}

/* ---- what there is to say -------------------------------------------------------------------------------------- */
static int part_ready(const struct sread_part *t)
{
	if (!t->s)
		return 0;
	if (t->history)
		return 1;
	return t->s->length && sid_order(stream_top(t->s), t->g ? t->g->last : t->after) > 0;
}

uint32_t sread_ready(const struct sread *r)
{
	uint32_t i, n = 0;

	for (i = 0; i < r->n; i++)
		n += (uint32_t)part_ready(&r->part[i]);
	return n;
}

/* The group has come to this entry. */
static void group_reached(const struct stream *s, struct sgroup *g, struct sid id)
{
	if (sid_order(id, g->last) <= 0)
		return;
	if (g->entries_read != READ_UNKNOWN && !stream_tombs_from(s, id))
		g->entries_read = (int64_t)((uint64_t)g->entries_read + 1);
	else if (s->entries_added)
		g->entries_read = stream_distance(s, id);
	g->last = id;
}

/* The entries from t->from on become the consumer's.  0, or -1: no memory; t->n and t->to say how far it came. */
static int hand_out(struct ctx *cx, const struct sread *r, struct sread_part *t)
{
	uint64_t most = r->count ? (uint64_t)r->count : UINT64_MAX;
	struct spos p;
	int more;

	for (more = stream_from(t->s, t->from, &p); more && t->n < most; more = spos_next(&p)) {
		if (!r->noack && !group_owe(cx, t->g, t->k, p.id))
			return -1;
		group_reached(t->s, t->g, p.id);
		t->to = p.id;
		t->n++;
	}
	return 0;
}

static void hand_back(struct ctx *cx, const struct sread *r, struct sread_part *t)
{
	struct spos p;
	uint64_t i;

	for (i = 0; i < t->n && !r->noack; i++) {
		if (i == 0)
			stream_from(t->s, t->from, &p);
		else
			spos_next(&p);
		group_unowe(cx, t->g, t->k, p.id);
	}
	if (t->answers && !t->history) {
		t->g->last = t->was;
		t->g->entries_read = t->was_read;
	}
	if (t->made)
		consumer_delete(cx, t->g, t->k);
}

static int part_prepare(struct ctx *cx, purser_call *c, const struct sread *r, struct sread_part *t)
{
	if (!part_ready(t))
		return 0;
	if (t->g) {
		t->k = group_consumer(t->g, c->argv[r->consumer]);
		if (!t->k) {
			t->k = consumer_new(cx, t->g, c->argv[r->consumer], (int64_t)now_ms(cx));
			t->made = t->k != NULL;
		}
		if (!t->k)
			return -1;
		if (!t->history)
			t->after = t->g->last;
		t->was = t->g->last;
		t->was_read = t->g->entries_read;
	}
	t->answers = 1;
	t->from = sid_order(t->after, SID_MAX) ? sid_up(t->after) : SID_MIN;
	return t->g && !t->history ? hand_out(cx, r, t) : 0;
}

/* ---- the reply --------------------------------------------------------------------------------------------------- */
/* k has the entry now, since this moment. */
static void take_over(struct ctx *cx, struct sgroup *g, struct sconsumer *k, struct sid id)
{
	struct nack *n = group_nack(g, id);

	if (n->owner && n->owner != k)
		idtree_remove(cx, &n->owner->pel, id);
	*n = (struct nack){ (int64_t)now_ms(cx), 1, k };
}

static void reply_new(struct ctx *cx, purser_call *c, const struct sread *r, const struct sread_part *t)
{
	struct spos p;
	uint64_t i;

	reply_array(cx, c, t->n);
	for (i = 0; i < t->n; i++) {
		if (i == 0)
			stream_from(t->s, t->from, &p);
		else
			spos_next(&p);
		reply_entry(cx, c, &p);
		if (!r->noack)
			take_over(cx, t->g, t->k, p.id);
	}
}

/* What the consumer owes; what it was handed only by a later part of this command is another's still. */
static uint64_t history(struct ctx *cx, purser_call *c, const struct sread *r, const struct sread_part *t, int reply)
{
	uint64_t n = 0, most = r->count ? (uint64_t)r->count : UINT64_MAX;
	struct idpos at;
	int more;

	for (more = idtree_from(&t->k->pel, t->from, &at); more && n < most; more = idpos_next(&at)) {
		struct sid id = idpos_id(&at);
		struct nack *owed = group_nack(t->g, id);
		struct spos p;

		if (owed->owner != t->k)
			continue;
		n++;
		if (!reply)
			continue;
		if (stream_from(t->s, id, &p) && sid_order(p.id, id) == 0) {
			reply_entry(cx, c, &p);
			owed->ms = (int64_t)now_ms(cx);
			owed->count++;
			continue;
		}
		reply_array(cx, c, 2);
		reply_sid(cx, c, id);
		reply_null_array(cx, c);
	}
	return n;
}

static void reply_part(struct ctx *cx, purser_call *c, const struct sread *r, uint32_t i)
{
	const struct sread_part *t = &r->part[i];

	if (c->resp == 2)
		reply_array(cx, c, 2);
	reply_bulk(cx, c, c->argv[r->key + i].p, c->argv[r->key + i].n);
	if (t->k)
		t->k->seen_ms = (int64_t)now_ms(cx);
	if (t->history) {
		reply_array(cx, c, history(cx, c, r, t, 0));
		history(cx, c, r, t, 1);
	} else if (t->g) {
		reply_new(cx, c, r, t);
	} else {
		reply_entries(cx, c, t->s, t->from, SID_MAX, r->count ? (uint64_t)r->count : UINT64_MAX, 0);
	}
}

int sread_reply(struct ctx *cx, purser_call *c, struct sread *r)
{
	uint32_t i, n = 0;

	for (i = 0; i < r->n; i++) {
		if (!r->part[i].s) /* Redis looks twice */
			key_missed(cx, c->db, c->argv[r->key + i]);
		if (part_prepare(cx, c, r, &r->part[i])) {
			do
				hand_back(cx, r, &r->part[i]);
			while (i-- > 0);
			reply_nomem(cx, c);
			return 1;
		}
		n += r->part[i].answers;
	}
	if (!n)
		return 0;
	if (c->resp == 2)
		reply_array(cx, c, n);
	else
		cx->h->map(c, n);
	for (i = 0; i < r->n; i++) {
		if (r->part[i].made)
			arg_told(cx, c, r->key + i, EVENT_STREAM, "xgroup-createconsumer");
		if (r->part[i].answers)
			reply_part(cx, c, r, i);
	}
	return 1;
}

/* ---- waiting (wait.h) ---------------------------------------------------------------------------------------------- */
/* Room for a recorded reply, which cannot be made twice. */
static int read_room(struct ctx *cx, purser_call *c, const struct sread *r, const struct sread_part *t)
{
	size_t values = 5, bytes = c->argv[r->key].n;
	uint64_t n = 0, i;
	struct spos p;
	int more;

	for (more = stream_from(t->s, sid_up(t->after), &p); more && (!r->count || n < (uint64_t)r->count);
	    more = spos_next(&p), n++) {
		struct sfields f;

		values += 3 + 2 * p.fields;
		bytes += SID_TEXT;
		spos_fields(&p, &f);
		for (i = 0; i < p.fields; i++) {
			struct view name, value;

			spos_field(&f, &name, &value);
			bytes += name.n + value.n;
		}
	}
	return wait_room(cx, c, values, bytes);
}

/* All that was new has been deleted again: the client hears of an empty stream, as in Redis. */
static void reply_nothing(struct ctx *cx, purser_call *c, const struct sread *r, const struct sread_part *t)
{
	struct sconsumer *k = t->g ? group_consumer(t->g, c->argv[r->consumer]) : NULL;

	if (k) {
		k->seen_ms = (int64_t)now_ms(cx);
	} else if (t->g) {
		if (!consumer_new(cx, t->g, c->argv[r->consumer], (int64_t)now_ms(cx))) {
			reply_nomem(cx, c);
			return;
		}
		arg_event(cx, c, r->key, EVENT_STREAM, "xgroup-createconsumer");
	}
	if (c->resp == 2) {
		reply_array(cx, c, 1);
		reply_array(cx, c, 2);
	} else {
		cx->h->map(c, 1);
	}
	reply_bulk(cx, c, c->argv[r->key].p, c->argv[r->key].n);
	reply_array(cx, c, 0);
}

/* One of the streams it waits for, from the id that it waited with. */
static int serve_read(struct ctx *cx, purser_call *c, struct pos *p, uint32_t arg)
{
	struct sread_part t = { .s = NULL };
	struct sread r;

	if (options(cx, c, &r))
		return 1;
	if (p->it && item_type(p->it) == TYPE_STREAM)
		t.s = item_stream(p->it);
	else if (!r.group)
		return 0;
	if (!t.s) {
		reply_error(cx, c, "UNBLOCKED the stream key no longer exists");
		return 1;
	}
	t.after = ((const struct sid *)wait_kept(c))[arg - r.key];
	if (r.group) {
		t.g = stream_group(t.s, c->argv[r.group]);
		if (!t.g) {
			reply_error(cx, c, "NOGROUP the consumer group this client was blocked on no longer exists");
			return 1;
		}
		t.after = t.g->last;
	}
	if (sid_order(t.s->last, t.after) <= 0)
		return 0;
	r.part = &t;
	r.n = 1;
	r.key = arg;
	if (read_room(cx, c, &r, &t))
		reply_nomem(cx, c);
	else if (!sread_reply(cx, c, &r))
		reply_nothing(cx, c, &r, &t);
	return 1;
}

/* 1: it waits, or an error is replied. */
static int wait_for_streams(struct ctx *cx, purser_call *c, const struct sread *r)
{
	struct wait_for f = { WAIT_STREAM, serve_read, r->key, r->n, r->block_ms, NULL, r->n * sizeof(struct sid) };
	struct sid *after = mem_get(cx, f.nkept);
	uint32_t i;
	int rc;

	if (!after) {
		reply_nomem(cx, c);
		return 1;
	}
	for (i = 0; i < r->n; i++)
		after[i] = r->part[i].after;
	f.kept = after;
	rc = wait_for_keys(cx, c, &f);
	mem_put(cx, after, f.nkept);
	return rc;
}

static void read_now(struct ctx *cx, purser_call *c)
{
	struct sread r;

	if (sread_begin(cx, c, &r, NULL) || sread_reply(cx, c, &r))
		return;
	if (!r.blocks || !(c->flags & PURSER_CALL_BLOCKS) || !wait_for_streams(cx, c, &r))
		reply_null_array(cx, c);
}

void op_xread(struct ctx *cx, purser_call *c) { read_now(cx, c); }
void op_xreadgroup(struct ctx *cx, purser_call *c) { read_now(cx, c); }
