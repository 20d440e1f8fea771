/* SPDX-License-Identifier: Apache-2.0
 *
 * One command to two servers, with what must be asked behind it to see whether the replies agree: whole
 * iterations, what exists, payloads.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "diff.h"

#define PAGES_MAX 100000       /* steps of one SCAN */

double clock_seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- asking --------------------------------------------------------------------------------------------- */
struct cmd words(struct session *s, uint32_t argc, const char *const *text)
{
	struct cmd c = { .argc = argc, .argv = arena_get(&s->mem, argc * sizeof(struct word)) };
	uint32_t i;

	for (i = 0; i < argc; i++)
		c.argv[i] = word_text(text[i]);
	return c;
}

int send_pair(struct session *s, uint32_t na, uint32_t nb)
{
	const char *text = NULL;
	double from = clock_seconds(CLOCK_MONOTONIC);
	uint64_t apart;

	if (exchange(&s->a, &s->b, na, nb, &text)) {
		if (s->report)
			fprintf(s->report, "%s\n", text);
		return -1;
	}
	/* a life is given in one exchange and asked for in another: each can shift it by its own length, and an
	 * event loop's clock may be that of the turn's beginning */
	apart = 2 * (uint64_t)((clock_seconds(CLOCK_MONOTONIC) - from) * 1000) + 10;
	if (apart > s->tolerance)
		s->tolerance = apart;
	return 0;
}

/* The same command to both; the replies are number 0 of each side. */
int ask(struct session *s, const struct cmd *c)
{
	side_add(&s->a, c);
	side_add(&s->b, c);
	return send_pair(s, 1, 1);
}

static int ask_one(struct session *s, struct side *to, const struct cmd *c)
{
	side_add(to, c);
	return send_pair(s, to == &s->a, to == &s->b);
}

int differ(struct session *s, const struct cmd *c, uint32_t i, const char *what)
{
	if (!s->report)
		return -1;
	fprintf(s->report, "DIFFERENCE (%s) RESP%u db %u\n  ", what, s->resp, s->db);
	print_cmd(s->report, c);
	fprintf(s->report, "  %s: \"", s->a.name);
	if (i < s->a.nreplies)
		print_bytes(s->report, reply_bytes(&s->a, i), s->a.replies[i].n);
	fprintf(s->report, "\"\n  %s: \"", s->b.name);
	if (i < s->b.nreplies)
		print_bytes(s->report, reply_bytes(&s->b, i), s->b.replies[i].n);
	fputs("\"\n", s->report);
	return -1;
}

int compare(struct session *s, const struct cmd *c, uint32_t i, enum rule rule)
{
	if (reply_agree(rule, reply_bytes(&s->a, i), s->a.replies[i].n, reply_bytes(&s->b, i),
	    s->b.replies[i].n, s->tolerance))
		return 0;
	return differ(s, c, i, "reply");
}

/* ---- whole iterations -------------------------------------------------------------------------------------- */
struct elements { struct word *w; size_t n, cap; };

static void keep(struct session *s, struct elements *e, struct word w)
{
	uint8_t *p = arena_get(&s->mem, w.n + 1);

	if (e->n == e->cap) {
		e->cap = 2 * e->cap + 64;
		e->w = realloc(e->w, e->cap * sizeof(*e->w));
		if (!e->w)
			exit(2);
	}
	memcpy(p, w.p, w.n);
	e->w[e->n++] = (struct word){ p, w.n };
}

/* Goes on from the reply in side until the cursor is 0. */
static int iterate(struct session *s, struct side *side, const struct cmd *first, uint32_t cursor_arg,
    struct elements *e)
{
	struct cmd c = *first;
	unsigned page;

	c.argv = arena_get(&s->mem, c.argc * sizeof(*c.argv));
	memcpy(c.argv, first->argv, c.argc * sizeof(*c.argv));
	for (page = 0; page < PAGES_MAX; page++) {
		struct word top[2] = { { NULL, 0 } }, cursor, *list;
		uint8_t *copy;
		int64_t n, i;

		if (reply_elements(reply_bytes(side, 0), side->replies[0].n, top, 2) != 2 ||
		    reply_bulk(top[0], &cursor) || (n = reply_elements(top[1].p, top[1].n, NULL, 0)) < 0)
			return -1;
		list = arena_get(&s->mem, ((size_t)n + 1) * sizeof(*list));
		reply_elements(top[1].p, top[1].n, list, (size_t)n);
		for (i = 0; i < n; i++)
			keep(s, e, list[i]);
		if (cursor.n == 1 && cursor.p[0] == '0')
			return 0;
		copy = arena_get(&s->mem, cursor.n);
		memcpy(copy, cursor.p, cursor.n);
		c.argv[cursor_arg] = (struct word){ copy, cursor.n };
		if (ask_one(s, side, &c))
			return -1;
	}
	return -1;
}

/* An element may come more than once. */
static void make_unique(struct elements *e, size_t per)
{
	size_t i, n = 0;

	sort_words(e->w, e->n, per);
	for (i = 0; i + per <= e->n; i += per) {
		if (n && e->w[n - per].n == e->w[i].n && !memcmp(e->w[n - per].p, e->w[i].p, e->w[i].n))
			continue;
		memmove(&e->w[n], &e->w[i], per * sizeof(*e->w));
		n += per;
	}
	e->n = n;
}

static int run_scan(struct session *s, const struct cmd *c, uint32_t cursor_arg, size_t per)
{
	struct elements a = { NULL, 0, 0 }, b = { NULL, 0, 0 };
	int rc = 0;
	size_t i;

	if (reply_bytes(&s->a, 0)[0] == '-' || reply_bytes(&s->b, 0)[0] == '-')
		return compare(s, c, 0, EXACT);
	/* the second iteration overwrites no reply of the other side: each has its own buffer */
	if (ask(s, c) || iterate(s, &s->a, c, cursor_arg, &a))
		rc = differ(s, c, 0, "iteration");
	if (!rc && (ask(s, c) || iterate(s, &s->b, c, cursor_arg, &b)))
		rc = differ(s, c, 0, "iteration");
	make_unique(&a, per);
	make_unique(&b, per);
	if (!rc && a.n != b.n)
		rc = differ(s, c, 0, "number of elements of the whole iteration");
	for (i = 0; !rc && i < a.n; i++)
		if (a.w[i].n != b.w[i].n || memcmp(a.w[i].p, b.w[i].p, a.w[i].n))
			rc = differ(s, c, 0, "an element of the whole iteration");
	free(a.w);
	free(b.w);
	return rc;
}

/* ---- chance ------------------------------------------------------------------------------------------------- */
static int run_random_key(struct session *s, const struct cmd *c)
{
	struct side *side[2] = { &s->a, &s->b };
	struct word key[2];
	int i, none[2];

	for (i = 0; i < 2; i++) {
		const uint8_t *p = reply_bytes(side[i], 0);

		none[i] = reply_bulk((struct word){ p, (uint32_t)side[i]->replies[0].n }, &key[i]) != 0;
		if (!none[i]) {
			uint8_t *copy = arena_get(&s->mem, key[i].n + 1);

			memcpy(copy, key[i].p, key[i].n);
			key[i].p = copy;
		}
	}
	if (none[0] || none[1])
		return compare(s, c, 0, EXACT);
	for (i = 0; i < 4; i++) { /* both keys on both sides: who tracks has read the same */
		struct cmd q = WORDS(s, "EXISTS", "");

		q.argv[1] = key[i & 1];
		if (ask_one(s, side[i >> 1], &q) || ((i & 1) == i >> 1 && memcmp(reply_bytes(side[i >> 1], 0), ":1\r\n", 4)))
			return differ(s, c, 0, "RANDOMKEY named a key that does not exist");
	}
	return 0;
}

/* Is f, with the value v behind it, among all, of which each has `per` words? */
static int is_among(const struct word *all, int64_t n, int per, struct word f, const struct word *v)
{
	int64_t i;

	for (i = 0; i + per <= n; i += per)
		if (all[i].n == f.n && !memcmp(all[i].p, f.p, f.n))
			return !v || (all[i + 1].n == v->n && !memcmp(all[i + 1].p, v->p, v->n));
	return 0;
}

/* Flattens [field, value] pairs of RESP3; the number of words. */
static int64_t random_words(struct session *s, const struct side *side, int values, struct word **out)
{
	const uint8_t *p = reply_bytes(side, 0);
	size_t len = side->replies[0].n;
	int64_t n = reply_elements(p, len, NULL, 0), i;
	struct word *w, pair[2], *flat;

	if (n < 0)
		return -1;
	w = arena_get(&s->mem, ((size_t)n + 1) * sizeof(*w));
	reply_elements(p, len, w, (size_t)n);
	*out = w;
	if (!values || s->resp != 3)
		return n;
	flat = arena_get(&s->mem, (2 * (size_t)n + 1) * sizeof(*flat));
	for (i = 0; i < n; i++) {
		if (reply_elements(w[i].p, w[i].n, pair, 2) != 2)
			return -1;
		flat[2 * i] = pair[0];
		flat[2 * i + 1] = pair[1];
	}
	*out = flat;
	return 2 * n;
}

static int check_random(struct session *s, struct side *side, const struct cmd *c)
{
	int64_t count = 1, n, m, i, j;
	int values = c->argc == 4;
	struct word *w, *all, one;
	int set = word_is(c->argv[0], "SRANDMEMBER"), zset = word_is(c->argv[0], "ZRANDMEMBER");
	struct cmd hgetall = WORDS(s, "HGETALL", ""), smembers = WORDS(s, "SMEMBERS", "");
	struct cmd zrange = WORDS(s, "ZRANGE", "", "0", "-1", "WITHSCORES");
	struct cmd q = set ? smembers : zset ? zrange : hgetall;
	size_t len = side->replies[0].n;
	uint8_t *copy = arena_get(&s->mem, len);

	memcpy(copy, reply_bytes(side, 0), len);
	n = random_words(s, side, values, &w);
	if (n < 0) { /* one field, as a bulk */
		one = (struct word){ copy, (uint32_t)len };
		w = &one;
		n = 1;
	} else {
		for (i = 0; i < n; i++) /* the next question overwrites the reply */
			w[i].p = copy + (w[i].p - reply_bytes(side, 0));
		if (word_int(c->argv[2], &count))
			return -1;
	}
	q.argv[1] = c->argv[1];
	if (ask_one(s, side, &q) || (m = random_words(s, side, zset, &all)) < 0)
		return -1;
	for (i = 0; i < n; i += values ? 2 : 1) {
		if (!is_among(all, m, set ? 1 : 2, w[i], values ? &w[i + 1] : NULL))
			return -1;
		for (j = 0; count > 0 && j < i; j += values ? 2 : 1)
			if (w[j].n == w[i].n && !memcmp(w[j].p, w[i].p, w[i].n))
				return -1;
	}
	return 0;
}

static int run_random_fields(struct session *s, const struct cmd *c)
{
	const uint8_t *a = reply_bytes(&s->a, 0), *b = reply_bytes(&s->b, 0);

	if (a[0] == '-' || b[0] == '-' || a[0] == '_' || b[0] == '_' || a[1] == '-' || b[1] == '-')
		return compare(s, c, 0, EXACT);
	if (a[0] != b[0] || reply_elements(a, s->a.replies[0].n, NULL, 0) !=
	    reply_elements(b, s->b.replies[0].n, NULL, 0))
		return differ(s, c, 0, "how many");
	if (check_random(s, &s->a, c) || ask(s, c) || check_random(s, &s->b, c))
		return differ(s, c, 0, "not the hash's own, or twice");
	return 0;
}

/* ---- payloads ----------------------------------------------------------------------------------------------- */
/* Each gets what the other has dumped, under the same key: what follows sees whether it is the same. */
static int run_crossed(struct session *s, const struct cmd *c)
{
	struct side *side[2] = { &s->a, &s->b };
	struct word dumped[2];
	int i;

	for (i = 0; i < 2; i++) {
		struct word r = { reply_bytes(side[i], 0), (uint32_t)side[i]->replies[0].n };
		uint8_t *copy;

		if (reply_bulk(r, &dumped[i]))
			return compare(s, c, 0, EXACT); /* nothing there, or an error */
		copy = arena_get(&s->mem, dumped[i].n + 1);
		memcpy(copy, dumped[i].p, dumped[i].n);
		dumped[i].p = copy;
	}
	for (i = 0; i < 2; i++) {
		struct cmd q = WORDS(s, "RESTORE", "", "0", "", "REPLACE");

		q.argv[1] = c->argv[1];
		q.argv[3] = dumped[!i];
		if (ask_one(s, side[i], &q) || memcmp(reply_bytes(side[i], 0), "+OK\r\n", 5))
			return differ(s, &q, 0, "a payload of the other server is refused");
	}
	return 0;
}

int ask_single(struct session *s, const struct cmd *c)
{
	if (ask(s, c))
		return differ(s, c, 0, "connection");
	switch (c->rule) {
	case SCAN_ALL:
		return run_scan(s, c, 1, 1);
	case SSCAN_ALL:
		return run_scan(s, c, 2, 1);
	case HSCAN_ALL:
		return run_scan(s, c, 2, 2);
	case RANDOM_KEY:
		return run_random_key(s, c);
	case CROSSED:
		return run_crossed(s, c);
	default:
		return run_random_fields(s, c);
	}
}
