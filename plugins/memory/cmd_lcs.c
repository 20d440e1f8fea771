/* SPDX-License-Identifier: Apache-2.0
 *
 * LCS: the longest common subsequence of two strings, with Redis' choice among equal ones.
 */
#include <stdlib.h>
#include "cmd.h"

struct lcs {
	struct view a, b;
	int len, idx, with_len;
	int64_t min_len;
	uint32_t *cell;                /* (a.n + 1) x (b.n + 1): length for the first i and j bytes */
};
struct range { uint32_t a0, a1, b0, b1; };

static uint32_t cell(const struct lcs *l, size_t i, size_t j) { return l->cell[i * (l->b.n + 1) + j]; }

static int lcs_options(struct ctx *cx, purser_call *c, struct lcs *l)
{
	uint32_t i;

	for (i = 3; i < c->argc; i++) {
		if (arg_is(c->argv[i], "idx")) {
			l->idx = 1;
		} else if (arg_is(c->argv[i], "len")) {
			l->len = 1;
		} else if (arg_is(c->argv[i], "withmatchlen")) {
			l->with_len = 1;
		} else if (arg_is(c->argv[i], "minmatchlen") && i + 1 < c->argc) {
			if (arg_int(cx, c, ++i, &l->min_len))
				return -1;
			if (l->min_len < 0)
				l->min_len = 0;
		} else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
	}
	if (l->len && l->idx) {
		reply_error(cx, c,
		    "ERR If you want both the length and indexes, please just use IDX.");
		return -1;
	}
	return 0;
}

/* 0, or -1 with the error replied. */
static int lcs_table(struct ctx *cx, purser_call *c, struct lcs *l)
{
	uint64_t cells = (uint64_t)(l->a.n + 1) * (l->b.n + 1);
	size_t i, j;

	if (cells * sizeof(uint32_t) > STRING_MAX) {
		reply_error(cx, c, "ERR Insufficient memory, transient memory for LCS exceeds "
		    "proto-max-bulk-len");
		return -1;
	}
	l->cell = calloc(cells, sizeof(uint32_t));
	if (!l->cell) {
		reply_error(cx, c,
		    "ERR Insufficient memory, failed allocating transient memory for LCS");
		return -1;
	}
	for (i = 1; i <= l->a.n; i++) {
		uint32_t *row = l->cell + i * (l->b.n + 1), *above = row - (l->b.n + 1);

		for (j = 1; j <= l->b.n; j++) {
			if (l->a.p[i - 1] == l->b.p[j - 1])
				row[j] = above[j - 1] + 1;
			else
				row[j] = above[j] > row[j - 1] ? above[j] : row[j - 1];
		}
	}
	return 0;
}

/* Walks back from the end; calls for each matching range, last first; writes the bytes to text. */
static size_t lcs_walk(const struct lcs *l, uint8_t *text, struct range *ranges)
{
	size_t i = l->a.n, j = l->b.n, at = cell(l, i, j), n = 0;
	struct range r = { 0, 0, 0, 0 };
	int open = 0;

	while (i > 0 && j > 0) {
		int emit = 0;

		if (l->a.p[i - 1] == l->b.p[j - 1]) {
			if (text)
				text[at - 1] = l->a.p[i - 1];
			if (!open) {
				r = (struct range){ (uint32_t)i - 1, (uint32_t)i - 1, (uint32_t)j - 1,
				    (uint32_t)j - 1 };
				open = 1;
			} else { /* an open range always ends where we are: a step aside closes it */
				r.a0--;
				r.b0--;
			}
			emit = r.a0 == 0 || r.b0 == 0;
			at--;
			i--;
			j--;
		} else {
			if (cell(l, i - 1, j) > cell(l, i, j - 1))
				i--;
			else
				j--;
			emit = open;
		}
		if (emit) {
			if (r.a1 - r.a0 + 1 >= (uint64_t)l->min_len) {
				if (ranges)
					ranges[n] = r;
				n++;
			}
			open = 0;
		}
	}
	return n;
}

static int reply_ranges(struct ctx *cx, purser_call *c, const struct lcs *l)
{
	size_t n = lcs_walk(l, NULL, NULL), i;
	struct range *r = scratch(cx, n * sizeof(*r) + 1);

	if (!r)
		return -1;
	lcs_walk(l, NULL, r);
	cx->h->map(c, 2);
	reply_text(cx, c, "matches");
	reply_array(cx, c, n);
	for (i = 0; i < n; i++) {
		reply_array(cx, c, l->with_len ? 3 : 2);
		reply_array(cx, c, 2);
		reply_int(cx, c, r[i].a0);
		reply_int(cx, c, r[i].a1);
		reply_array(cx, c, 2);
		reply_int(cx, c, r[i].b0);
		reply_int(cx, c, r[i].b1);
		if (l->with_len)
			reply_int(cx, c, (int64_t)r[i].a1 - r[i].a0 + 1);
	}
	reply_text(cx, c, "len");
	reply_int(cx, c, cell(l, l->a.n, l->b.n));
	return 0;
}

static int reply_subsequence(struct ctx *cx, purser_call *c, const struct lcs *l)
{
	size_t n = cell(l, l->a.n, l->b.n);
	uint8_t *text = scratch(cx, n + 1);

	if (!text)
		return -1;
	lcs_walk(l, text, NULL);
	reply_bulk(cx, c, text, n);
	return 0;
}

void op_lcs(struct ctx *cx, purser_call *c)
{
	struct lcs l = { .len = 0 };
	struct pos p, q;
	int rc = 0;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	arg_find(cx, c, 2, 1, &q, FIND_READ); /* p's item stays where it is */
	if ((p.it && item_type(p.it) != TYPE_STRING) || (q.it && item_type(q.it) != TYPE_STRING)) {
		reply_error(cx, c, "ERR The specified keys must contain string values");
		return;
	}
	l.a.p = l.b.p = (const uint8_t *)"";
	l.a.n = l.b.n = 0;
	if (p.it)
		string_view(p.it, &l.a);
	if (q.it)
		string_view(q.it, &l.b);
	if (lcs_options(cx, c, &l) || lcs_table(cx, c, &l))
		return;
	if (l.idx)
		rc = reply_ranges(cx, c, &l);
	else if (l.len)
		reply_int(cx, c, cell(&l, l.a.n, l.b.n));
	else
		rc = reply_subsequence(cx, c, &l);
	if (rc)
		reply_nomem(cx, c);
	free(l.cell);
}
