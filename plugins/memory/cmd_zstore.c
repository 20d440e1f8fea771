/* SPDX-License-Identifier: Apache-2.0
 *
 * Unions, intersections and differences of sorted sets and of sets, whose members all have the score 1.
 */
#include <math.h>
#include <stdlib.h>
#include "cmd.h"
#include "number.h"
#include "set.h"
#include "zset.h"

enum { UNION, INTER, DIFF };
enum { SUM, MIN, MAX };
enum { SHOW, STORE, COUNT };

struct source { struct item *it; double weight; uint32_t order; };

struct mix {
	struct ctx *cx;
	purser_call *c;
	struct source *v;                     /* in scratch memory */
	uint32_t n;
	int how, what, aggregate, scores;
	uint64_t limit, count;                /* COUNT */
	struct source *walked;
	struct zset *made;
};

void zset_store(struct ctx *cx, purser_call *c, struct zset *z, const char *event)
{
	struct item *it = NULL;
	struct pos p;
	int64_t n;

	if (z && !(it = zset_item(cx, c->argv[1], z))) {
		zset_dispose(cx, z);
		reply_nomem(cx, c);
		return;
	}
	n = it ? (int64_t)zset_len(it) : 0;
	arg_find(cx, c, 1, 0, &p, 0);
	if (it && p.it) {
		key_replace(cx, &p, it);
	} else if (it && key_add(cx, &p, it)) {
		item_free(cx, it);
		reply_nomem(cx, c);
		return;
	} else if (p.it && !it) {
		key_delete(cx, &p);
		arg_gone(cx, c, 1);
	}
	if (it)
		arg_event(cx, c, 1, EVENT_ZSET, event);
	reply_int(cx, c, n);
}

/* ---- sources -------------------------------------------------------------------------------------------- */
static uint64_t source_len(const struct source *s)
{
	if (!s->it)
		return 0;
	return item_type(s->it) == TYPE_ZSET ? zset_len(s->it) : set_len(s->it);
}

static int source_score(struct ctx *cx, const struct source *s, purser_bytes m, double *score)
{
	if (!s->it)
		return 0;
	*score = 1;
	return item_type(s->it) == TYPE_ZSET ? zset_score(cx, s->it, m, score) : set_has(cx, s->it, m);
}

struct set_walk { zset_fn *fn; void *arg; };

static int pass_member(void *arg, const uint8_t *m, size_t n)
{
	struct set_walk *w = arg;

	return w->fn(w->arg, (purser_bytes){ m, n }, 1);
}

static int source_each(const struct source *s, zset_fn *fn, void *arg)
{
	struct set_walk w = { fn, arg };

	if (!s->it)
		return 0;
	if (item_type(s->it) == TYPE_ZSET)
		return zset_walk(s->it, 0, zset_len(s->it), 0, fn, arg);
	return set_each(s->it, pass_member, &w);
}

/* Small ones first, and else as they were named: sums of floats depend on their order. */
static int source_order(const void *a, const void *b)
{
	const struct source *x = a, *y = b;
	uint64_t nx = source_len(x), ny = source_len(y);

	if (nx != ny)
		return nx < ny ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* ---- combining ------------------------------------------------------------------------------------------ */
static void aggregate(const struct mix *x, double *score, double v)
{
	if (x->aggregate == SUM) {
		*score += v;
		if (isnan(*score)) /* of two infinities */
			*score = 0;
	} else if (x->aggregate == MIN ? v < *score : v > *score) {
		*score = v;
	}
}

static double weighted(const struct source *s, double score)
{
	score *= s->weight;
	return isnan(score) ? 0 : score;
}

static int unite(void *arg, purser_bytes m, double score)
{
	struct mix *x = arg;
	struct item *node = zset_find(x->cx, x->made, m);
	double sum;

	score = weighted(x->walked, score);
	if (!node)
		return zset_put(x->cx, x->made, m, score);
	sum = node_score(node);
	aggregate(x, &sum, score);
	return zset_put(x->cx, x->made, m, sum);
}

static int intersect(void *arg, purser_bytes m, double score)
{
	struct mix *x = arg;
	double sum = weighted(x->walked, score), v;
	uint32_t i;

	for (i = 1; i < x->n; i++) {
		if (!source_score(x->cx, &x->v[i], m, &v))
			return 0;
		aggregate(x, &sum, v * x->v[i].weight);
	}
	if (x->what == COUNT)
		return ++x->count == x->limit;
	return zset_put(x->cx, x->made, m, sum);
}

static int subtract(void *arg, purser_bytes m, double score)
{
	struct mix *x = arg;
	uint32_t i;
	double v;

	for (i = 1; i < x->n; i++)
		if (source_score(x->cx, &x->v[i], m, &v))
			return 0;
	return zset_put(x->cx, x->made, m, score);
}

/* 0, or -1: no memory. */
static int combine(struct mix *x)
{
	uint32_t i;

	if (x->how != DIFF)
		qsort(x->v, x->n, sizeof(*x->v), source_order);
	x->walked = x->v;
	if (x->how == INTER)
		return source_len(x->v) && source_each(x->v, intersect, x) < 0 ? -1 : 0;
	if (x->how == DIFF)
		return source_each(x->v, subtract, x);
	for (i = 0; i < x->n; i++, x->walked++)
		if (source_each(x->walked, unite, x))
			return -1;
	return 0;
}

/* ---- arguments ------------------------------------------------------------------------------------------ */
/* From argv[at] on.  0, or -1 with the error replied. */
static int options(struct mix *x, uint32_t at)
{
	static const char *const names[] = { "sum", "min", "max" };
	struct ctx *cx = x->cx;
	purser_call *c = x->c;
	int weighs = x->how != DIFF && x->what != COUNT;
	int64_t limit;
	uint32_t i;

	while (at < c->argc) {
		uint32_t left = c->argc - at;

		if (weighs && left > x->n && arg_is(c->argv[at], "weights")) {
			for (i = 0, at++; i < x->n; i++, at++)
				if (arg_double(cx, c, at, &x->v[i].weight, "ERR weight value is not a float"))
					return -1;
		} else if (weighs && left > 1 && arg_is(c->argv[at], "aggregate")) {
			for (i = 0; i < 3 && !arg_is(c->argv[at + 1], names[i]); i++)
				;
			if (i == 3)
				break;
			x->aggregate = (int)i;
			at += 2;
		} else if (x->what == SHOW && arg_is(c->argv[at], "withscores")) {
			x->scores = 1;
			at++;
		} else if (x->what == COUNT && left > 1 && arg_is(c->argv[at], "limit")) {
			if (int_parse(c->argv[at + 1].p, c->argv[at + 1].n, &limit) || limit < 0) {
				reply_error(cx, c, "ERR LIMIT can't be negative");
				return -1;
			}
			x->limit = (uint64_t)limit;
			at += 2;
		} else {
			break;
		}
	}
	if (at == c->argc)
		return 0;
	reply_error(cx, c, err_syntax);
	return -1;
}

/* Number of keys, keys, options from argv[at] on.  0, or -1 with the error replied. */
static int sources(struct mix *x, uint32_t at)
{
	struct ctx *cx = x->cx;
	purser_call *c = x->c;
	char name[40];
	int64_t keys;
	uint32_t i;

	if (arg_int(cx, c, at, &keys))
		return -1;
	if (keys < 1) {
		reply_errorf(cx, c, "ERR at least 1 input key is needed for '%s' command", op_lower(c, name));
		return -1;
	}
	if (keys > c->argc - at - 1) {
		reply_error(cx, c, err_syntax);
		return -1;
	}
	x->n = (uint32_t)keys;
	x->v = scratch(cx, x->n * sizeof(*x->v));
	if (!x->v) {
		reply_nomem(cx, c);
		return -1;
	}
	for (i = 0; i < x->n; i++) {
		struct pos p;

		arg_find(cx, c, at + 1 + i, i + (x->what == STORE), &p, FIND_READ);
		if (p.it && item_type(p.it) != TYPE_SET && wrong_type(cx, c, p.it, TYPE_ZSET))
			return -1;
		x->v[i] = (struct source){ p.it, 1, i };
	}
	return options(x, at + 1 + x->n);
}

static int show_member(void *arg, purser_bytes m, double score)
{
	struct mix *x = arg;

	if (x->scores && x->c->resp == 3)
		reply_array(x->cx, x->c, 2);
	reply_bulk(x->cx, x->c, m.p, m.n);
	if (x->scores)
		x->cx->h->number(x->c, score);
	return 0;
}

static void zmix(struct ctx *cx, purser_call *c, int how, int what)
{
	static const char *const events[] = { "zunionstore", "zinterstore", "zdiffstore" };
	struct mix x = { .cx = cx, .c = c, .how = how, .what = what };
	int bad;

	if (sources(&x, what == STORE ? 2 : 1))
		return;
	bad = what != COUNT && !(x.made = zset_new(cx));
	if (bad || combine(&x)) {
		if (x.made)
			zset_dispose(cx, x.made);
		reply_nomem(cx, c);
		return;
	}
	if (what == COUNT) {
		reply_int(cx, c, (int64_t)x.count);
		return;
	}
	if (what == STORE && x.made->n) {
		zset_store(cx, c, x.made, events[how]);
		return;
	}
	if (what == STORE) {
		zset_store(cx, c, NULL, events[how]);
	} else {
		reply_array(cx, c, x.scores && c->resp != 3 ? 2 * x.made->n : x.made->n);
		zset_each(x.made, show_member, &x);
	}
	zset_dispose(cx, x.made);
}

void op_zunion(struct ctx *cx, purser_call *c) { zmix(cx, c, UNION, SHOW); }
void op_zinter(struct ctx *cx, purser_call *c) { zmix(cx, c, INTER, SHOW); }
void op_zdiff(struct ctx *cx, purser_call *c) { zmix(cx, c, DIFF, SHOW); }
void op_zunionstore(struct ctx *cx, purser_call *c) { zmix(cx, c, UNION, STORE); }
void op_zinterstore(struct ctx *cx, purser_call *c) { zmix(cx, c, INTER, STORE); }
void op_zdiffstore(struct ctx *cx, purser_call *c) { zmix(cx, c, DIFF, STORE); }
void op_zintercard(struct ctx *cx, purser_call *c) { zmix(cx, c, INTER, COUNT); }
