/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that wait for a list or a sorted set, and WAIT.  A command looks through its keys; where there is
 * nothing it waits (wait.h), and is served from one of them by the same function that would have answered it at
 * once.
 */
#include <math.h>
#include "event.h"
#include "list.h"
#include "number.h"
#include "wait.h"
#include "zset.h"

/* Seconds to ms; 0, or -1 with the error replied. */
static int arg_timeout(struct ctx *cx, purser_call *c, uint32_t arg, int64_t *ms)
{
	long double v;

	if (float_parse(c->argv[arg].p, c->argv[arg].n, &v)) {
		reply_error(cx, c, "ERR timeout is not a float or out of range");
		return -1;
	}
	v = ceill(v * 1000);
	if (v < 0 || !(v < 9223372036854775808.0L)) { /* to Redis what is too large has no sign */
		reply_error(cx, c, "ERR timeout is negative");
		return -1;
	}
	*ms = (int64_t)v;
	return 0;
}

/* The first of its keys that has something serves it, or it waits for them.  A transaction or a script that must
 * not wait hears nothing, as if the time had run out. */
static void serve_or_wait(struct ctx *cx, purser_call *c, const struct wait_for *f)
{
	enum type t = f->kind == WAIT_LIST ? TYPE_LIST : TYPE_ZSET;
	struct pos p;
	uint32_t i;

	for (i = 0; i < f->keys; i++) {
		arg_find(cx, c, f->first + i, i, &p, 0);
		if (wrong_type(cx, c, p.it, t) || (p.it && f->serve(cx, c, &p, f->first + i)))
			return;
	}
	if (!wait_for_keys(cx, c, f))
		reply_null_array(cx, c);
}

/* ---- lists ---------------------------------------------------------------------------------------------- */
static int serve_pop(struct ctx *cx, purser_call *c, struct pos *p, uint32_t arg)
{
	int front = c->op == OP_ID_BLPOP;
	purser_bytes key = c->argv[arg], e;
	struct list *l = item_list(p->it);
	struct lpos at = list_end(l, front);

	e = list_at(&at);
	if (wait_room(cx, c, 3, key.n + e.n)) {
		reply_nomem(cx, c);
		return 1;
	}
	reply_array(cx, c, 2);
	reply_bulk(cx, c, key.p, key.n);
	reply_bulk(cx, c, e.p, e.n);
	list_pop(cx, l, front);
	key_event(cx, c->db, key, EVENT_LIST, front ? "lpop" : "rpop");
	if (!l->n) {
		key_delete(cx, p);
		key_event(cx, c->db, key, EVENT_GENERIC, "del");
	}
	return 1;
}

static void pop_blocking(struct ctx *cx, purser_call *c)
{
	struct wait_for f = { WAIT_LIST, serve_pop, 1, c->argc - 2, 0 };

	if (arg_timeout(cx, c, c->argc - 1, &f.ms) == 0)
		serve_or_wait(cx, c, &f);
}

void op_blpop(struct ctx *cx, purser_call *c) { pop_blocking(cx, c); }
void op_brpop(struct ctx *cx, purser_call *c) { pop_blocking(cx, c); }

/* TIMEOUT numkeys key ... WHERE [COUNT n] */
struct mpop { uint32_t keys; int end; uint64_t count; };

/* What is not an end is -1.  0, or -1 with the error replied. */
static int mpop_args(struct ctx *cx, purser_call *c, int (*end)(struct ctx *cx, purser_call *c, uint32_t arg),
    struct mpop *m)
{
	int64_t keys, count = 0;
	uint32_t at;

	if (int_parse(c->argv[2].p, c->argv[2].n, &keys) || keys < 1) {
		reply_error(cx, c, "ERR numkeys should be greater than 0");
		return -1;
	}
	if (keys > c->argc - 4) {
		reply_error(cx, c, err_syntax);
		return -1;
	}
	at = 3 + (uint32_t)keys;
	m->keys = (uint32_t)keys;
	m->end = end(cx, c, at);
	if (m->end < 0)
		return -1;
	for (at++; at < c->argc; at += 2) {
		if (count || !arg_is(c->argv[at], "count") || at + 1 == c->argc) {
			reply_error(cx, c, err_syntax);
			return -1;
		}
		if (int_parse(c->argv[at + 1].p, c->argv[at + 1].n, &count) || count < 1) {
			reply_error(cx, c, "ERR count should be greater than 0");
			return -1;
		}
	}
	m->count = count ? (uint64_t)count : 1;
	return 0;
}

/* A command that waits has been read before: it has no error. */
static int serve_lmpop(struct ctx *cx, purser_call *c, struct pos *p, uint32_t arg)
{
	struct list *l = item_list(p->it);
	size_t bytes = c->argv[arg].n;
	struct mpop m;
	struct lpos at;
	uint64_t i;

	if (mpop_args(cx, c, arg_end, &m))
		return 1;
	if (m.count > l->n)
		m.count = l->n;
	at = list_end(l, m.end);
	for (i = 0; i < m.count; i++) {
		bytes += list_at(&at).n;
		if (i + 1 < m.count)
			list_step(&at, !m.end);
	}
	if (wait_room(cx, c, 3 + m.count, bytes)) {
		reply_nomem(cx, c);
		return 1;
	}
	reply_array(cx, c, 2);
	reply_bulk(cx, c, c->argv[arg].p, c->argv[arg].n);
	list_pop_many(cx, c, arg, p, m.end, m.count);
	return 1;
}

void op_blmpop(struct ctx *cx, purser_call *c)
{
	struct wait_for f = { WAIT_LIST, serve_lmpop, 3, 0, 0 };
	struct mpop m;

	if (mpop_args(cx, c, arg_end, &m) || arg_timeout(cx, c, 1, &f.ms))
		return;
	f.keys = m.keys;
	serve_or_wait(cx, c, &f);
}

static void move_ends(const purser_call *c, int *from, int *to)
{
	if (c->op == OP_ID_BRPOPLPUSH) {
		*from = LIST_BACK;
		*to = LIST_FRONT;
		return;
	}
	*from = arg_is(c->argv[3], "left") ? LIST_FRONT : LIST_BACK;
	*to = arg_is(c->argv[4], "left") ? LIST_FRONT : LIST_BACK;
}

static int serve_move(struct ctx *cx, purser_call *c, struct pos *p, uint32_t arg)
{
	int from, to;
	struct lpos at;

	(void)arg;
	move_ends(c, &from, &to);
	at = list_end(item_list(p->it), from);
	if (wait_room(cx, c, 1, list_at(&at).n)) {
		reply_nomem(cx, c);
		return 1;
	}
	cx->hash[0] = p->hash;
	cx->hash[1] = hash_key(cx->st, c->argv[2].p, c->argv[2].n);
	list_move(cx, c, from, to);
	return 1;
}

/* Alone of them it says nothing with a null that is no array. */
static void move_blocking(struct ctx *cx, purser_call *c)
{
	struct wait_for f = { WAIT_LIST, serve_move, 1, 1, 0 };
	struct pos p;

	if (arg_timeout(cx, c, c->argc - 1, &f.ms))
		return;
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_LIST))
		return;
	if (p.it)
		serve_move(cx, c, &p, 1);
	else if (!wait_for_keys(cx, c, &f))
		reply_null(cx, c);
}

void op_blmove(struct ctx *cx, purser_call *c)
{
	if (arg_end(cx, c, 3) >= 0 && arg_end(cx, c, 4) >= 0)
		move_blocking(cx, c);
}

void op_brpoplpush(struct ctx *cx, purser_call *c) { move_blocking(cx, c); }

/* ---- sorted sets ------------------------------------------------------------------------------------------ */
static int serve_zpop(struct ctx *cx, purser_call *c, struct pos *p, uint32_t arg)
{
	zset_pop(cx, c, arg, p, c->op == OP_ID_BZPOPMAX, 1, POP_KEY);
	return 1;
}

static void zpop_blocking(struct ctx *cx, purser_call *c)
{
	struct wait_for f = { WAIT_ZSET, serve_zpop, 1, c->argc - 2, 0 };

	if (arg_timeout(cx, c, c->argc - 1, &f.ms) == 0)
		serve_or_wait(cx, c, &f);
}

void op_bzpopmin(struct ctx *cx, purser_call *c) { zpop_blocking(cx, c); }
void op_bzpopmax(struct ctx *cx, purser_call *c) { zpop_blocking(cx, c); }

/* 1: MAX. */
static int arg_extreme(struct ctx *cx, purser_call *c, uint32_t arg)
{
	int max = arg_is(c->argv[arg], "max");

	if (max || arg_is(c->argv[arg], "min"))
		return max;
	reply_error(cx, c, err_syntax);
	return -1;
}

static int serve_zmpop(struct ctx *cx, purser_call *c, struct pos *p, uint32_t arg)
{
	struct mpop m;

	if (mpop_args(cx, c, arg_extreme, &m) == 0)
		zset_pop(cx, c, arg, p, m.end, m.count, POP_KEY_PAIRS);
	return 1;
}

void op_bzmpop(struct ctx *cx, purser_call *c)
{
	struct wait_for f = { WAIT_ZSET, serve_zmpop, 3, 0, 0 };
	struct mpop m;

	if (mpop_args(cx, c, arg_extreme, &m) || arg_timeout(cx, c, 1, &f.ms))
		return;
	f.keys = m.keys;
	serve_or_wait(cx, c, &f);
}

/* ---- replicas: there are none ------------------------------------------------------------------------------- */
void op_wait(struct ctx *cx, purser_call *c)
{
	struct wait_for f = { .kind = WAIT_NOTHING };
	int64_t replicas;

	if (arg_int(cx, c, 1, &replicas))
		return;
	if (int_parse(c->argv[2].p, c->argv[2].n, &f.ms))
		reply_error(cx, c, "ERR timeout is not an integer or out of range");
	else if (f.ms < 0)
		reply_error(cx, c, "ERR timeout is negative");
	else if (replicas <= 0 || !wait_for_keys(cx, c, &f))
		reply_int(cx, c, 0);
}
