/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges of a sorted set: by rank, by score, by the bytes of the members; shown, counted, stored, removed.
 * Each becomes a range of ranks first.
 */
#include <math.h>
#include <stdlib.h>
#include "cmd.h"
#include "number.h"
#include "zset.h"

enum { BY_RANK, BY_SCORE, BY_LEX, BY_ANY };

/* One end of a range. */
struct bound {
	double score;
	purser_bytes m;
	int edge;                             /* lex: -1 or 1, before or behind all members; else 0 */
	int open;                             /* without what is equal */
};
struct range {
	int by;
	int64_t start, stop;                  /* BY_RANK */
	struct bound min, max;
};

static const char err_float[] = "ERR min or max is not a float";
static const char err_lex[] = "ERR min or max not valid string range item";

/* ---- bounds ------------------------------------------------------------------------------------------- */
/* As strtod() alone reads it: blanks in front, nothing at all, what is behind a NUL. */
static int score_bound(purser_bytes a, struct bound *b)
{
	char text[FLOAT_TEXT], *end;
	size_t n = strnlen((const char *)a.p, a.n);

	*b = (struct bound){ .open = n > 0 && a.p[0] == '(' };
	a.p += b->open;
	n -= (size_t)b->open;
	if (n >= sizeof(text))
		return -1; /* longer than any number that means something */
	memcpy(text, a.p, n);
	text[n] = '\0';
	b->score = strtod(text, &end);
	return *end || isnan(b->score) ? -1 : 0;
}

static int lex_bound(purser_bytes a, struct bound *b)
{
	*b = (struct bound){ 0 };
	if (a.n == 0)
		return -1;
	if (a.p[0] == '-' || a.p[0] == '+') {
		b->edge = a.p[0] == '-' ? -1 : 1;
		b->open = 1;
		return a.n > 1 && a.p[1] ? -1 : 0;
	}
	b->open = a.p[0] == '(';
	b->m = (purser_bytes){ a.p + 1, a.n - 1 };
	return b->open || a.p[0] == '[' ? 0 : -1;
}

/* 0, or -1 with the error replied. */
static int range_parse(struct ctx *cx, purser_call *c, uint32_t min, uint32_t max, int by, struct range *r)
{
	r->by = by;
	if (by == BY_RANK)
		return arg_int(cx, c, min, &r->start) || arg_int(cx, c, max, &r->stop) ? -1 : 0;
	if (by == BY_SCORE) {
		if (score_bound(c->argv[min], &r->min) == 0 && score_bound(c->argv[max], &r->max) == 0)
			return 0;
		reply_error(cx, c, err_float);
		return -1;
	}
	if (lex_bound(c->argv[min], &r->min) == 0 && lex_bound(c->argv[max], &r->max) == 0)
		return 0;
	reply_error(cx, c, err_lex);
	return -1;
}

/* ---- which members ---------------------------------------------------------------------------------------- */
/* < 0: the member is before the bound. */
static int against(int by, const struct bound *b, purser_bytes m, double score)
{
	if (by == BY_SCORE)
		return (score > b->score) - (score < b->score);
	return b->edge ? -b->edge : member_order(m, b->m);
}

static int below_min(const void *arg, purser_bytes m, double score)
{
	const struct range *r = arg;
	int c = against(r->by, &r->min, m, score);

	return c < 0 || (c == 0 && r->min.open);
}

static int not_above_max(const void *arg, purser_bytes m, double score)
{
	const struct range *r = arg;
	int c = against(r->by, &r->max, m, score);

	return c < 0 || (c == 0 && !r->max.open);
}

static int is_empty(const struct range *r)
{
	int c;

	if (r->by == BY_SCORE)
		return r->min.score > r->max.score ||
		    (r->min.score == r->max.score && (r->min.open || r->max.open));
	if (r->min.edge || r->max.edge)
		return r->min.edge == 1 || r->max.edge == -1;
	c = member_order(r->min.m, r->max.m);
	return c > 0 || (c == 0 && (r->min.open || r->max.open));
}

/* Members of different scores are in no order of bytes.  Redis walks a small set from one end to the first
 * that is in the range and on to the first that is not: so does this. */
struct lex_walk {
	const struct range *r;
	int down, found, over;
	uint64_t i, first, n;
};

static int lex_step(void *arg, purser_bytes m, double score)
{
	struct lex_walk *w = arg;
	int low = below_min(w->r, m, score), high = !not_above_max(w->r, m, score);

	if (!w->found && !(w->down ? high : low)) {
		w->found = 1;
		w->first = w->i;
		w->over = w->down ? low : high;
	} else if (w->found) {
		w->over = w->down ? low : high;
	}
	if (w->over)
		return 1;
	w->n += (uint64_t)w->found;
	w->i++;
	return 0;
}

static int lex_test(void *arg, purser_bytes m, double score)
{
	struct lex_walk *w = arg;

	return w->down ? below_min(w->r, m, score) : !not_above_max(w->r, m, score);
}

static uint64_t lex_small(struct item *it, const struct range *r, int down, uint64_t *first)
{
	struct lex_walk w = { .r = r, .down = 1 };
	uint64_t len = zset_len(it);

	/* The last is below, or the first above the range: nothing is in it. */
	if (zset_walk(it, len - 1, 1, 0, lex_test, &w))
		return 0;
	w.down = 0;
	if (zset_walk(it, 0, 1, 0, lex_test, &w))
		return 0;
	w.down = down;
	zset_walk(it, down ? len - 1 : 0, len, down, lex_step, &w);
	*first = down ? len - w.first - w.n : w.first;
	return w.n;
}

/* The range's members are numbers *first to *first + n - 1, counted upwards; n. */
static uint64_t range_find(struct item *it, const struct range *r, int down, uint64_t *first)
{
	int64_t len = (int64_t)zset_len(it), start = r->start, stop = r->stop;
	uint64_t end;

	*first = 0;
	if (r->by == BY_RANK) {
		start = start < 0 ? start + len : start;
		stop = stop < 0 ? stop + len : stop;
		start = start < 0 ? 0 : start;
		stop = stop >= len ? len - 1 : stop;
		if (start > stop)
			return 0;
		*first = (uint64_t)(down ? len - 1 - stop : start);
		return (uint64_t)(stop - start) + 1;
	}
	if (is_empty(r))
		return 0;
	if (r->by == BY_LEX && item_enc(it) == ENC_ZSET_PACK)
		return lex_small(it, r, down, first);
	*first = zset_front(it, below_min, r);
	end = zset_front(it, not_above_max, r);
	return end > *first ? end - *first : 0;
}

/* ---- showing and storing -------------------------------------------------------------------------------- */
struct showing { struct ctx *cx; purser_call *c; int scores; };

static int show_member(void *arg, purser_bytes m, double score)
{
	struct showing *w = arg;

	if (w->scores && w->c->resp == 3)
		reply_array(w->cx, w->c, 2);
	reply_bulk(w->cx, w->c, m.p, m.n);
	if (w->scores)
		w->cx->h->number(w->c, score);
	return 0;
}

struct keeping { struct ctx *cx; struct zset *z; };

static int keep_member(void *arg, purser_bytes m, double score)
{
	struct keeping *w = arg;

	return zset_put(w->cx, w->z, m, score);
}

/* argv[1] becomes n members of `it`, from number `from` on. */
static void range_store(struct ctx *cx, purser_call *c, struct item *it, uint64_t from, uint64_t n, int down)
{
	struct keeping w = { cx, n ? zset_new(cx) : NULL };

	if (n && (!w.z || zset_walk(it, from, n, down, keep_member, &w))) {
		if (w.z)
			zset_dispose(cx, w.z);
		reply_nomem(cx, c);
		return;
	}
	zset_store(cx, c, w.z, "zrangestore");
}

struct asked {
	struct range range;
	int by, down, scores, store;
	int64_t offset, limit;
	uint32_t min, max;                    /* in argv */
};

/* What is behind key, min and max.  0, or -1 with the error replied. */
static int zrange_options(struct ctx *cx, purser_call *c, struct asked *a, int any_way)
{
	uint32_t i;

	for (i = a->max + 1; i < c->argc; i++) {
		if (!a->store && arg_is(c->argv[i], "withscores")) {
			a->scores = 1;
		} else if (arg_is(c->argv[i], "limit") && c->argc - i > 2) {
			if (arg_int(cx, c, i + 1, &a->offset) || arg_int(cx, c, i + 2, &a->limit))
				return -1;
			i += 2;
		} else if (any_way && arg_is(c->argv[i], "rev") && !a->down) {
			a->down = 1;
		} else if (a->by == BY_ANY && arg_is(c->argv[i], "bylex")) {
			a->by = BY_LEX;
		} else if (a->by == BY_ANY && arg_is(c->argv[i], "byscore")) {
			a->by = BY_SCORE;
		} else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
	}
	if (a->by == BY_ANY)
		a->by = BY_RANK;
	if (a->limit != -1 && a->by == BY_RANK)
		reply_error(cx, c, "ERR syntax error, LIMIT is only supported in combination with either "
		    "BYSCORE or BYLEX");
	else if (a->scores && a->by == BY_LEX)
		reply_error(cx, c, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
	else
		return 0;
	return -1;
}

static void zrange_generic(struct ctx *cx, purser_call *c, int by, int down, int any_way, int store)
{
	struct asked a = { .by = by, .down = down, .store = store, .limit = -1, .min = store ? 3 : 2,
		.max = store ? 4 : 3 };
	struct showing w = { cx, c, 0 };
	uint64_t n = 0, first = 0, from;
	uint32_t min = a.min, max = a.max;
	struct pos p;

	if (zrange_options(cx, c, &a, any_way))
		return;
	if (a.down && a.by != BY_RANK) {
		min = a.max;
		max = a.min;
	}
	if (range_parse(cx, c, min, max, a.by, &a.range))
		return;
	arg_find(cx, c, store ? 2 : 1, store ? 1 : 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	if (p.it)
		n = range_find(p.it, &a.range, a.down, &first);
	if (a.by != BY_RANK) {
		uint64_t skip = a.offset < 0 || (uint64_t)a.offset > n ? n : (uint64_t)a.offset;

		n -= skip;
		first += a.down ? 0 : skip;
		if (a.limit >= 0 && (uint64_t)a.limit < n) {
			first += a.down ? n - (uint64_t)a.limit : 0;
			n = (uint64_t)a.limit;
		}
	}
	from = a.down && n ? first + n - 1 : first;
	if (store) {
		range_store(cx, c, p.it, from, n, a.down);
		return;
	}
	w.scores = a.scores;
	reply_array(cx, c, w.scores && c->resp != 3 ? 2 * n : n);
	if (n)
		zset_walk(p.it, from, n, a.down, show_member, &w);
}

void op_zrange(struct ctx *cx, purser_call *c) { zrange_generic(cx, c, BY_ANY, 0, 1, 0); }
void op_zrangestore(struct ctx *cx, purser_call *c) { zrange_generic(cx, c, BY_ANY, 0, 1, 1); }
void op_zrevrange(struct ctx *cx, purser_call *c) { zrange_generic(cx, c, BY_RANK, 1, 0, 0); }
void op_zrangebyscore(struct ctx *cx, purser_call *c) { zrange_generic(cx, c, BY_SCORE, 0, 0, 0); }
void op_zrevrangebyscore(struct ctx *cx, purser_call *c) { zrange_generic(cx, c, BY_SCORE, 1, 0, 0); }
void op_zrangebylex(struct ctx *cx, purser_call *c) { zrange_generic(cx, c, BY_LEX, 0, 0, 0); }
void op_zrevrangebylex(struct ctx *cx, purser_call *c) { zrange_generic(cx, c, BY_LEX, 1, 0, 0); }

/* ---- counting, removing --------------------------------------------------------------------------------- */
static void range_act(struct ctx *cx, purser_call *c, int by, int removes)
{
	static const char *const events[] = { "zremrangebyrank", "zremrangebyscore", "zremrangebylex" };
	struct range r = { 0 };
	uint64_t first;
	struct pos p;
	int64_t n = 0;

	if (range_parse(cx, c, 2, 3, by, &r))
		return;
	arg_find(cx, c, 1, 0, &p, removes ? 0 : FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	if (p.it)
		n = (int64_t)range_find(p.it, &r, 0, &first);
	if (removes && n)
		n = zset_remove_range(cx, &p, first, (uint64_t)n);
	if (n < 0) {
		reply_nomem(cx, c);
		return;
	}
	if (removes && n)
		zset_lost(cx, c->db, &p, c->argv[1], events[by]);
	reply_int(cx, c, n);
}

void op_zcount(struct ctx *cx, purser_call *c) { range_act(cx, c, BY_SCORE, 0); }
void op_zlexcount(struct ctx *cx, purser_call *c) { range_act(cx, c, BY_LEX, 0); }
void op_zremrangebyrank(struct ctx *cx, purser_call *c) { range_act(cx, c, BY_RANK, 1); }
void op_zremrangebyscore(struct ctx *cx, purser_call *c) { range_act(cx, c, BY_SCORE, 1); }
void op_zremrangebylex(struct ctx *cx, purser_call *c) { range_act(cx, c, BY_LEX, 1); }
