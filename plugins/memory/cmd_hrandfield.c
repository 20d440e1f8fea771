/* SPDX-License-Identifier: Apache-2.0
 *
 * HRANDFIELD: one field, as many as wanted with repetitions, or so many different ones.
 */
#include <limits.h>
#include "cmd.h"
#include "hash.h"
#include "table.h"

#define REPEATS_MAX (INT64_C(1) << 22) /* fields of one reply: Redis tries more, until its memory ends */

struct draw {
	struct ctx *cx;
	purser_call *c;
	int values;
	uint64_t need, left;           /* of those still to come, so many are wanted */
};

static void reply_pair(struct draw *d, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	if (d->values && d->c->resp == 3)
		reply_array(d->cx, d->c, 2);
	reply_bulk(d->cx, d->c, f, fn);
	if (d->values)
		reply_bulk(d->cx, d->c, v, vn);
}

static void reply_pairs(struct draw *d, uint64_t n)
{
	reply_array(d->cx, d->c, d->values && d->c->resp != 3 ? 2 * n : n);
}

/* Each field with the chance that makes all selections equally likely; in the hash's order. */
static int draw_field(void *arg, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	struct draw *d = arg;

	if (d->need == d->left || rng_next(d->cx) % d->left < d->need) {
		reply_pair(d, f, fn, v, vn);
		d->need--;
	}
	d->left--;
	return d->need == 0;
}

/* Few out of many: drawn until so many different ones came; seen[] is a table by the field's address. */
static int draw_few(struct draw *d, struct item *it)
{
	uint64_t size = 16, got = 0, at;
	const uint8_t **seen;
	purser_bytes f, v;

	while (size < 2 * d->need)
		size *= 2;
	seen = scratch(d->cx, size * sizeof(*seen));
	if (!seen)
		return -1;
	memset(seen, 0, size * sizeof(*seen));
	reply_pairs(d, d->need);
	while (got < d->need) {
		hash_random(d->cx, it, &f, &v);
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

static void draw_repeated(struct draw *d, struct item *it, uint64_t n)
{
	purser_bytes f, v;

	reply_pairs(d, n);
	for (; n > 0; n--) {
		hash_random(d->cx, it, &f, &v);
		reply_pair(d, f.p, f.n, v.p, v.n);
	}
}

static void draw_count(struct ctx *cx, purser_call *c, int64_t count, int values)
{
	struct draw d = { .cx = cx, .c = c, .values = values };
	struct pos p;

	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_array(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_HASH))
		return;
	d.left = hash_len(p.it);
	if (count < -REPEATS_MAX) {
		reply_error(cx, c, "ERR value is out of range");
	} else if (count < 0) {
		draw_repeated(&d, p.it, (uint64_t)-count);
	} else if ((uint64_t)count < d.left / 3 && enc_is_table(item_enc(p.it))) {
		d.need = (uint64_t)count;
		if (draw_few(&d, p.it))
			reply_nomem(cx, c);
	} else {
		d.need = (uint64_t)count < d.left ? (uint64_t)count : d.left;
		reply_pairs(&d, d.need);
		if (d.need)
			hash_each(p.it, draw_field, &d);
	}
}

void op_hrandfield(struct ctx *cx, purser_call *c)
{
	purser_bytes f, v;
	int64_t count;
	struct pos p;

	if (c->argc > 2) {
		if (arg_int_range(cx, c, 2, -LONG_MAX, LONG_MAX, &count))
			return;
		if (c->argc > 4 || (c->argc == 4 && !arg_is(c->argv[3], "withvalues")))
			reply_error(cx, c, err_syntax);
		else if (c->argc == 4 && (count < -LONG_MAX / 2 || count > LONG_MAX / 2))
			reply_error(cx, c, "ERR value is out of range");
		else
			draw_count(cx, c, count, c->argc == 4);
	} else if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_null(cx, c);
	} else if (!wrong_type(cx, c, p.it, TYPE_HASH)) {
		hash_random(cx, p.it, &f, &v);
		reply_bulk(cx, c, f.p, f.n);
	}
}
