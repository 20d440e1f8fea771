/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands of one sorted set: adding, scores, ranks, popping.  (Ranges: cmd_zrange.c; several sets:
 * cmd_zstore.c; ZSCAN: cmd_scan.c; ZRANDMEMBER: cmd_random.c)
 */
#include <math.h>
#include "cmd.h"
#include "gather.h"
#include "number.h"
#include "wait.h"
#include "zset.h"

/* ---- ZADD, ZINCRBY -------------------------------------------------------------------------------------- */
enum { ADD_NX = 1, ADD_XX = 2, ADD_GT = 4, ADD_LT = 8, ADD_CH = 16, ADD_INCR = 32 };

struct adding {
	int flags;
	uint32_t at, n;                       /* of the first score in argv; pairs */
	int64_t added, updated;
	int done;                             /* INCR: it was not refused by NX, XX, GT, LT */
	double score;                         /* INCR: what came out */
};

static int add_options(struct ctx *cx, purser_call *c, struct adding *a)
{
	static const struct { const char *word; int flag; } words[] = { { "nx", ADD_NX }, { "xx", ADD_XX },
		{ "gt", ADD_GT }, { "lt", ADD_LT }, { "ch", ADD_CH }, { "incr", ADD_INCR } };
	int f, gt, lt;
	size_t i;

	for (a->at = 2; a->at < c->argc; a->at++) {
		for (i = 0; i < 6 && !arg_is(c->argv[a->at], words[i].word); i++)
			;
		if (i == 6)
			break;
		a->flags |= words[i].flag;
	}
	a->n = (c->argc - a->at) / 2;
	f = a->flags;
	gt = !!(f & ADD_GT);
	lt = !!(f & ADD_LT);
	if ((c->argc - a->at) % 2 || !a->n)
		reply_error(cx, c, err_syntax);
	else if (f & ADD_NX && f & ADD_XX)
		reply_error(cx, c, "ERR XX and NX options at the same time are not compatible");
	else if (gt + lt + !!(f & ADD_NX) > 1)
		reply_error(cx, c, "ERR GT, LT, and/or NX options at the same time are not compatible");
	else if (f & ADD_INCR && a->n > 1)
		reply_error(cx, c, "ERR INCR option supports a single increment-element pair");
	else
		return 0;
	return -1;
}

/* One pair.  0; 1: the sum is no number; -1: no memory. */
static int add_one(struct zedit *e, struct adding *a, purser_bytes m, double score)
{
	double was;

	if (!zedit_get(e, m, &was)) {
		if (a->flags & ADD_XX)
			return 0;
		a->added++;
	} else {
		if (a->flags & ADD_NX)
			return 0;
		if (a->flags & ADD_INCR)
			score += was;
		if (isnan(score))
			return 1;
		if ((a->flags & ADD_LT && score >= was) || (a->flags & ADD_GT && score <= was))
			return 0;
		if (score == was) {
			a->score = score;
			a->done = 1;
			return 0;
		}
		a->updated++;
	}
	a->score = score;
	a->done = 1;
	return zedit_put(e, m, score);
}

static void zadd_generic(struct ctx *cx, purser_call *c, int flags)
{
	struct adding a = { .flags = flags };
	struct zedit e;
	double *score;
	struct pos p;
	uint32_t i;
	int rc = 0;

	if (add_options(cx, c, &a))
		return;
	score = scratch(cx, a.n * sizeof(*score) + zedit_bytes(a.n));
	if (!score) {
		reply_nomem(cx, c);
		return;
	}
	for (i = 0; i < a.n; i++)
		if (arg_double(cx, c, a.at + 2 * i, &score[i], NULL))
			return;
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	if (p.it || !(a.flags & ADD_XX)) {
		zedit_begin(&e, cx, &p, score + a.n, a.n);
		for (i = 0; i < a.n && !rc; i++)
			rc = add_one(&e, &a, c->argv[a.at + 2 * i + 1], score[i]);
		if (rc == 0)
			rc = zedit_commit(&e);
	}
	if (rc == 0 && a.added + a.updated)
		arg_event(cx, c, 1, EVENT_ZSET, a.flags & ADD_INCR ? "zincr" : "zadd");
	if (rc > 0)
		reply_error(cx, c, "ERR resulting score is not a number (NaN)");
	else if (rc < 0)
		reply_nomem(cx, c);
	else if (!(a.flags & ADD_INCR))
		reply_int(cx, c, a.flags & ADD_CH ? a.added + a.updated : a.added);
	else if (a.done)
		cx->h->number(c, a.score);
	else
		reply_null(cx, c);
}

void op_zadd(struct ctx *cx, purser_call *c) { zadd_generic(cx, c, 0); }
void op_zincrby(struct ctx *cx, purser_call *c) { zadd_generic(cx, c, ADD_INCR); }

void zset_lost(struct ctx *cx, uint32_t db, const struct pos *p, purser_bytes key, const char *event)
{
	key_event(cx, db, key, EVENT_ZSET, event);
	if (!p->it)
		key_event(cx, db, key, EVENT_GENERIC, "del");
}

/* ---- looking, removing ---------------------------------------------------------------------------------- */
void op_zrem(struct ctx *cx, purser_call *c)
{
	struct pos p;
	int64_t n = 0;

	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	if (p.it)
		n = zset_remove(cx, &p, c->argv + 2, c->argc - 2);
	if (n < 0) {
		reply_nomem(cx, c);
		return;
	}
	if (n)
		zset_lost(cx, c->db, &p, c->argv[1], "zrem");
	reply_int(cx, c, n);
}

void op_zcard(struct ctx *cx, purser_call *c)
{
	struct pos p;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (!wrong_type(cx, c, p.it, TYPE_ZSET))
		reply_int(cx, c, p.it ? (int64_t)zset_len(p.it) : 0);
}

static void reply_score(struct ctx *cx, purser_call *c, struct item *it, purser_bytes m)
{
	double score;

	if (it && zset_score(cx, it, m, &score))
		cx->h->number(c, score);
	else
		reply_null(cx, c);
}

void op_zscore(struct ctx *cx, purser_call *c)
{
	struct pos p;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (!wrong_type(cx, c, p.it, TYPE_ZSET))
		reply_score(cx, c, p.it, c->argv[2]);
}

void op_zmscore(struct ctx *cx, purser_call *c)
{
	struct pos p;
	uint32_t i;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	reply_array(cx, c, c->argc - 2);
	for (i = 2; i < c->argc; i++)
		reply_score(cx, c, p.it, c->argv[i]);
}

struct place { purser_bytes m; double score; };

static int is_before(const void *arg, purser_bytes m, double score)
{
	const struct place *w = arg;

	return score < w->score || (score == w->score && member_order(m, w->m) < 0);
}

static void zrank_generic(struct ctx *cx, purser_call *c, int down)
{
	struct place w = { c->argv[2], 0 };
	struct pos p;
	uint64_t at;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	if (!p.it || !zset_score(cx, p.it, w.m, &w.score)) {
		reply_null(cx, c);
		return;
	}
	at = zset_front(p.it, is_before, &w);
	reply_int(cx, c, (int64_t)(down ? zset_len(p.it) - 1 - at : at));
}

void op_zrank(struct ctx *cx, purser_call *c) { zrank_generic(cx, c, 0); }
void op_zrevrank(struct ctx *cx, purser_call *c) { zrank_generic(cx, c, 1); }

/* ---- popping -------------------------------------------------------------------------------------------- */
static int gather_pair(void *arg, purser_bytes m, double score)
{
	return gather_copy(arg, m.p, m.n) || gather_copy(arg, &score, sizeof(score)) ? -1 : 0;
}

void zset_pop(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p, int max, uint64_t count,
    enum zset_popped form)
{
	int pairs = form == POP_PAIRS || form == POP_KEY_PAIRS;
	struct gather g = { 0 };
	uint64_t len = zset_len(p->it), n = count < len ? count : len;
	double score;
	purser_bytes key = c->argv[arg];
	size_t i, bytes = key.n;

	if (zset_walk(p->it, max ? len - 1 : 0, n, max, gather_pair, &g))
		goto nomem;
	for (i = 0; i < g.n; i += 2)
		bytes += g.v[i].n;
	if (wait_room(cx, c, 3 + 3 * n, bytes) || zset_remove_range(cx, p, max ? len - n : 0, n) < 0)
		goto nomem;
	zset_lost(cx, c->db, p, key, max ? "zpopmax" : "zpopmin");
	if (form == POP_KEY_PAIRS || form == POP_KEY) {
		reply_array(cx, c, form == POP_KEY ? 3 : 2);
		reply_bulk(cx, c, key.p, key.n);
	}
	if (form != POP_KEY)
		reply_array(cx, c, pairs ? n : 2 * n);
	for (i = 0; i < g.n; i += 2) {
		if (pairs)
			reply_array(cx, c, 2);
		reply_bulk(cx, c, g.v[i].p, g.v[i].n);
		memcpy(&score, g.v[i + 1].p, sizeof(score));
		cx->h->number(c, score);
	}
	gather_free(&g);
	return;
nomem:
	reply_nomem(cx, c);
	gather_free(&g);
}

static void zpop_generic(struct ctx *cx, purser_call *c, int max)
{
	int64_t count = 1;
	struct pos p;

	if (c->argc > 3) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (c->argc == 3 && (int_parse(c->argv[2].p, c->argv[2].n, &count) || count < 0)) {
		reply_error(cx, c, "ERR value is out of range, must be positive");
		return;
	}
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	if (!p.it || !count)
		reply_array(cx, c, 0);
	else
		zset_pop(cx, c, 1, &p, max, (uint64_t)count, c->resp == 3 && c->argc == 3 ? POP_PAIRS : POP_FLAT);
}

void op_zpopmin(struct ctx *cx, purser_call *c) { zpop_generic(cx, c, 0); }
void op_zpopmax(struct ctx *cx, purser_call *c) { zpop_generic(cx, c, 1); }

void op_zmpop(struct ctx *cx, purser_call *c)
{
	int64_t keys, count = 0;
	uint32_t at, i;
	struct pos p;
	int max;

	if (int_parse(c->argv[1].p, c->argv[1].n, &keys) || keys < 1) {
		reply_error(cx, c, "ERR numkeys should be greater than 0");
		return;
	}
	if (keys > c->argc - 3) {
		reply_error(cx, c, err_syntax);
		return;
	}
	at = 2 + (uint32_t)keys;
	max = arg_is(c->argv[at], "max");
	if (!max && !arg_is(c->argv[at], "min")) {
		reply_error(cx, c, err_syntax);
		return;
	}
	for (at++; at < c->argc; at += 2) {
		if (count || !arg_is(c->argv[at], "count") || at + 1 == c->argc) {
			reply_error(cx, c, err_syntax);
			return;
		}
		if (int_parse(c->argv[at + 1].p, c->argv[at + 1].n, &count) || count < 1) {
			reply_error(cx, c, "ERR count should be greater than 0");
			return;
		}
	}
	for (i = 0; i < (uint32_t)keys; i++) {
		if (!arg_find(cx, c, 2 + i, i, &p, 0))
			continue;
		if (!wrong_type(cx, c, p.it, TYPE_ZSET))
			zset_pop(cx, c, 2 + i, &p, max, count ? (uint64_t)count : 1, POP_KEY_PAIRS);
		return;
	}
	reply_null_array(cx, c);
}
