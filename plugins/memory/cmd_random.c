/* SPDX-License-Identifier: Apache-2.0
 *
 * HRANDFIELD, SRANDMEMBER, ZRANDMEMBER: one element, as many as wanted with repetitions, or so many different ones.
 */
#include <limits.h>
#include "cmd.h"
#include "hash.h"
#include "set.h"
#include "table.h"
#include "zset.h"

#define REPEATS_MAX (INT64_C(1) << 22) /* elements of one reply: Redis tries more, until its memory ends */

/* What elements are drawn from.  A set's have no value, a sorted
 * set's is a double. */
struct pool {
	struct item *it;
	uint64_t n;
	int (*each)(struct item *it, hash_fn *fn, void *arg);
	void (*random)(struct ctx *cx, struct item *it, struct view *e, struct view *v);
};

struct draw {
	struct ctx *cx;
	purser_call *c;
	int values, scores;
	uint64_t need, left;           /* of those still to come, so many are wanted */
};

static void reply_pair(struct draw *d, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	double score;

	if (d->values && d->c->resp == 3)
		reply_array(d->cx, d->c, 2);
	reply_bulk(d->cx, d->c, f, fn);
	if (d->values && d->scores) {
		memcpy(&score, v, sizeof(score));
		d->cx->h->number(d->c, score);
	} else if (d->values) {
		reply_bulk(d->cx, d->c, v, vn);
	}
}

static void reply_pairs(struct draw *d, uint64_t n)
{
	reply_array(d->cx, d->c, d->values && d->c->resp != 3 ? 2 * n : n);
}

/* Each element with the chance that makes all selections equally likely; in the pool's order. */
static int draw_one(void *arg, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	struct draw *d = arg;

	if (d->need == d->left || rng_next(d->cx) % d->left < d->need) {
		reply_pair(d, f, fn, v, vn);
		d->need--;
	}
	d->left--;
	return d->need == 0;
}

/* Few out of a large table: drawn until so many different ones came; seen[] is a table by the element's
 * address. */
static int draw_few(struct draw *d, const struct pool *p)
{
	uint64_t size = 16, got = 0, at;
	const uint8_t **seen;
	struct view f, v;

	while (size < 2 * d->need)
		size *= 2;
	seen = scratch(d->cx, size * sizeof(*seen));
	if (!seen)
		return -1;
	memset(seen, 0, size * sizeof(*seen));
	reply_pairs(d, d->need);
	while (got < d->need) {
		p->random(d->cx, p->it, &f, &v);
		for (at = (uintptr_t)f.p / 16 % size; seen[at] && seen[at] != f.p; at = (at + 1) % size)
			;
		if (seen[at])
			continue;
		seen[at] = f.p;
		got++;
		reply_pair(d, f.p, f.n, v.p, v.n);
	}
	return 0;
}

static void draw_repeated(struct draw *d, const struct pool *p, uint64_t n)
{
	struct view f, v;

	reply_pairs(d, n);
	for (; n > 0; n--) {
		p->random(d->cx, p->it, &f, &v);
		reply_pair(d, f.p, f.n, v.p, v.n);
	}
}

static void draw_count(struct ctx *cx, purser_call *c, const struct pool *p, int64_t count, int values)
{
	struct draw d = { .cx = cx, .c = c, .values = values, .scores = item_type(p->it) == TYPE_ZSET,
		.left = p->n };
	unsigned enc = item_enc(p->it);

	if (count < -REPEATS_MAX) {
		reply_error(cx, c, "ERR value is out of range");
	} else if (count < 0) {
		draw_repeated(&d, p, (uint64_t)-count);
	} else if ((uint64_t)count < d.left / 3 && (enc_is_table(enc) || enc == ENC_ZSET)) {
		d.need = (uint64_t)count;
		if (draw_few(&d, p))
			reply_nomem(cx, c);
	} else {
		d.need = (uint64_t)count < d.left ? (uint64_t)count : d.left;
		reply_pairs(&d, d.need);
		if (d.need)
			p->each(p->it, draw_one, &d);
	}
}

/* COMMAND key [count [WITHVALUES]]: the key is of this type, or the reply says that it is not. */
static struct item *draw_from(struct ctx *cx, purser_call *c, enum type type)
{
	struct pos p;

	if (arg_find(cx, c, 1, 0, &p, FIND_READ))
		return wrong_type(cx, c, p.it, type) ? NULL : p.it;
	if (c->argc > 2)
		reply_array(cx, c, 0);
	else
		reply_null(cx, c);
	return NULL;
}

/* ---- hashes ------------------------------------------------------------------------------------------- */
static void random_field(struct ctx *cx, struct item *it, struct view *e, struct view *v)
{
	purser_bytes f, w;

	hash_random(cx, it, &f, &w);
	e->p = f.p;
	e->n = f.n;
	v->p = w.p;
	v->n = w.n;
}

/* COMMAND key [count [WITHWORD]].  0, or -1 with the error replied. */
static int draw_args(struct ctx *cx, purser_call *c, const char *with, int64_t *count)
{
	if (c->argc > 2 && arg_int_range(cx, c, 2, -LONG_MAX, LONG_MAX, count))
		return -1;
	if (c->argc > 4 || (c->argc == 4 && !arg_is(c->argv[3], with))) {
		reply_error(cx, c, err_syntax);
		return -1;
	}
	if (c->argc == 4 && (*count < -LONG_MAX / 2 || *count > LONG_MAX / 2)) {
		reply_error(cx, c, "ERR value is out of range");
		return -1;
	}
	return 0;
}

void op_hrandfield(struct ctx *cx, purser_call *c)
{
	struct pool p = { .each = hash_each, .random = random_field };
	int64_t count = 0;
	purser_bytes f, v;

	if (draw_args(cx, c, "withvalues", &count))
		return;
	p.it = draw_from(cx, c, TYPE_HASH);
	if (!p.it)
		return;
	if (c->argc == 2) {
		hash_random(cx, p.it, &f, &v);
		reply_bulk(cx, c, f.p, f.n);
		return;
	}
	p.n = hash_len(p.it);
	draw_count(cx, c, &p, count, c->argc == 4);
}

/* ---- sets --------------------------------------------------------------------------------------------- */
static void random_member(struct ctx *cx, struct item *it, struct view *e, struct view *v)
{
	set_random(cx, it, e);
	v->n = 0;
}

struct member_walk { hash_fn *fn; void *arg; };

static int pass_member(void *arg, const uint8_t *m, size_t n)
{
	struct member_walk *w = arg;

	return w->fn(w->arg, m, n, NULL, 0);
}

static int each_member(struct item *it, hash_fn *fn, void *arg)
{
	struct member_walk w = { fn, arg };

	return set_each(it, pass_member, &w);
}

void op_srandmember(struct ctx *cx, purser_call *c)
{
	struct pool p = { .each = each_member, .random = random_member };
	int64_t count = 0;
	struct view v;

	if (c->argc > 3) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (c->argc == 3 && arg_int_range(cx, c, 2, -LONG_MAX, LONG_MAX, &count))
		return;
	p.it = draw_from(cx, c, TYPE_SET);
	if (!p.it)
		return;
	if (c->argc == 2) {
		set_random(cx, p.it, &v);
		reply_bulk(cx, c, v.p, v.n);
		return;
	}
	p.n = set_len(p.it);
	draw_count(cx, c, &p, count, 0);
}

/* ---- sorted sets -------------------------------------------------------------------------------------- */
static int take_score(void *arg, purser_bytes m, double score)
{
	struct view **v = arg;

	v[0]->p = m.p;
	v[0]->n = m.n;
	memcpy(v[1]->buf, &score, sizeof(score));
	v[1]->p = (const uint8_t *)v[1]->buf;
	v[1]->n = sizeof(score);
	return 1;
}

static void random_score(struct ctx *cx, struct item *it, struct view *e, struct view *v)
{
	struct view *to[] = { e, v };

	if (item_enc(it) == ENC_ZSET) {
		it = slot_item(*table_random(cx, item_zset(it)->table));
		take_score(to, (purser_bytes){ item_key(it), item_klen(it) }, node_score(it));
	} else {
		zset_walk(it, rng_below(cx, (uint32_t)zset_len(it)), 1, 0, take_score, to);
	}
}

static int pass_score(void *arg, purser_bytes m, double score)
{
	struct member_walk *w = arg;

	return w->fn(w->arg, m.p, m.n, (const uint8_t *)&score, sizeof(score));
}

static int each_score(struct item *it, hash_fn *fn, void *arg)
{
	struct member_walk w = { fn, arg };

	return zset_walk(it, 0, zset_len(it), 0, pass_score, &w);
}

void op_zrandmember(struct ctx *cx, purser_call *c)
{
	struct pool p = { .each = each_score, .random = random_score };
	struct view m, score;
	int64_t count = 0;

	if (draw_args(cx, c, "withscores", &count))
		return;
	p.it = draw_from(cx, c, TYPE_ZSET);
	if (!p.it)
		return;
	if (c->argc == 2) {
		random_score(cx, p.it, &m, &score);
		reply_bulk(cx, c, m.p, m.n);
		return;
	}
	p.n = zset_len(p.it);
	draw_count(cx, c, &p, count, c->argc == 4);
}
