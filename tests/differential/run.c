/* SPDX-License-Identifier: Apache-2.0
 *
 * Episodes: empty databases, some hundred commands in batches, every reply compared.  After a difference
 * the episode is run again without one part after the other, as long as a difference remains.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "diff.h"

#define EPISODE 400            /* commands */
#define BATCH 64
#define SHRINK_SECONDS 60
#define PAGES_MAX 100000       /* steps of one SCAN */

struct session {
	const struct options *o;
	struct side a, b;
	uint32_t resp, db;
	uint64_t tolerance;        /* ms that the two may be apart by now */
	struct arena mem;          /* of the episode */
	uint64_t done;             /* commands compared */
	FILE *report;              /* NULL: quiet, while shrinking */
};

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(uint32_t ms)
{
	nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

/* ---- asking --------------------------------------------------------------------------------------------- */
static struct cmd words(struct session *s, uint32_t argc, const char *const *text)
{
	struct cmd c = { .argc = argc, .argv = arena_get(&s->mem, argc * sizeof(struct word)) };
	uint32_t i;

	for (i = 0; i < argc; i++)
		c.argv[i] = word_text(text[i]);
	return c;
}
#define WORDS(s, ...) words(s, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), \
	(const char *[]){ __VA_ARGS__ })

static int send_all(struct session *s, uint32_t na, uint32_t nb)
{
	const char *text = NULL;
	double from = seconds(CLOCK_MONOTONIC);
	uint64_t apart;

	if (exchange(&s->a, &s->b, na, nb, &text)) {
		if (s->report)
			fprintf(s->report, "%s\n", text);
		return -1;
	}
	/* a life is given in one exchange and asked for in another: each can shift it by its own length, and an
	 * event loop's clock may be that of the turn's beginning */
	apart = 2 * (uint64_t)((seconds(CLOCK_MONOTONIC) - from) * 1000) + 10;
	if (apart > s->tolerance)
		s->tolerance = apart;
	return 0;
}

/* The same command to both; the replies are number 0 of each side. */
static int ask(struct session *s, const struct cmd *c)
{
	side_add(&s->a, c);
	side_add(&s->b, c);
	return send_all(s, 1, 1);
}

static int ask_one(struct session *s, struct side *to, const struct cmd *c)
{
	side_add(to, c);
	return send_all(s, to == &s->a, to == &s->b);
}

static int differ(struct session *s, const struct cmd *c, uint32_t i, const char *what)
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

static int compare(struct session *s, const struct cmd *c, uint32_t i, enum rule rule)
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
	for (i = 0; i < 2; i++) {
		struct cmd q = WORDS(s, "EXISTS", "");

		q.argv[1] = key[i];
		if (ask_one(s, side[i], &q) || memcmp(reply_bytes(side[i], 0), ":1\r\n", 4))
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

/* ---- episodes ------------------------------------------------------------------------------------------------- */
static int run_single(struct session *s, const struct cmd *c)
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

static int run_batch(struct session *s, const struct cmd *c, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		side_add(&s->a, &c[i]);
		side_add(&s->b, &c[i]);
	}
	if (send_all(s, n, n))
		return differ(s, &c[0], n, "connection, in the batch that begins with");
	for (i = 0; i < n; i++) {
		if (compare(s, &c[i], i, c[i].rule))
			return -1;
		s->done++;
	}
	if (n && c[n - 1].wait_ms)
		nap(c[n - 1].wait_ms);
	return 0;
}

/* n commands, in batches that end where something must be waited for or asked. */
static int run_commands(struct session *s, const struct cmd *c, uint32_t n)
{
	uint32_t from = 0, i;

	for (i = 0; i < n; i++) {
		int single = c[i].rule >= SINGLE;

		if ((single || i - from == BATCH) && i > from) {
			if (run_batch(s, c + from, i - from))
				return -1;
			from = i;
		}
		if (single) {
			if (run_single(s, &c[i]))
				return -1;
			s->done++;
			from = i + 1;
		} else if (c[i].wait_ms) {
			if (run_batch(s, c + from, i + 1 - from))
				return -1;
			from = i + 1;
		}
	}
	return run_batch(s, c + from, n - from);
}

/* Empty databases; the protocol and the database of the episode. */
static int clean(struct session *s)
{
	char db[16], resp[8];
	uint32_t i;

	for (i = 0; i < s->o->databases; i++) {
		uint32_t n = (s->db + 1 + i) % s->o->databases; /* s->db is the last */
		struct cmd c;

		snprintf(db, sizeof(db), "%u", n);
		c = WORDS(s, "SELECT", db);
		if (s->o->databases > 1 && ask(s, &c))
			return -1;
		c = WORDS(s, "FLUSHDB");
		if (ask(s, &c) || compare(s, &c, 0, EXACT))
			return -1;
	}
	snprintf(resp, sizeof(resp), "%u", s->resp);
	{
		struct cmd c = WORDS(s, "HELLO", resp);

		if (ask(s, &c) || reply_bytes(&s->a, 0)[0] == '-' || reply_bytes(&s->b, 0)[0] == '-')
			return differ(s, &c, 0, "HELLO");
	}
	s->tolerance = 10;
	return 0;
}

static int reconnect(struct session *s)
{
	side_close(&s->a);
	side_close(&s->b);
	s->a = (struct side){ .name = "a", .path = s->o->a, .fd = -1 };
	s->b = (struct side){ .name = "b", .path = s->o->b, .fd = -1 };
	return side_connect(&s->a) || side_connect(&s->b) ? -1 : 0;
}

static int still_differs(struct session *s, const struct cmd *c, uint32_t n)
{
	if (reconnect(s) || clean(s))
		return 0;
	return run_commands(s, c, n) != 0;
}

/* Leaves out ever smaller parts for as long as a difference remains. */
static uint32_t shrink(struct session *s, struct cmd *c, uint32_t n)
{
	struct cmd *without = calloc(n, sizeof(*without));
	double until = seconds(CLOCK_MONOTONIC) + SHRINK_SECONDS;
	uint32_t part = n / 2, at;

	if (!without)
		exit(2);
	while (part >= 1 && seconds(CLOCK_MONOTONIC) < until) {
		int smaller = 0;

		for (at = 0; at + part <= n && seconds(CLOCK_MONOTONIC) < until;) {
			memcpy(without, c, at * sizeof(*c));
			memcpy(without + at, c + at + part, (n - at - part) * sizeof(*c));
			if (n > part && still_differs(s, without, n - part)) {
				n -= part;
				memcpy(c, without, n * sizeof(*c));
				smaller = 1;
			} else {
				at += part;
			}
		}
		if (!smaller || part > n)
			part /= 2;
	}
	free(without);
	return n;
}

static void report(struct session *s, struct cmd *c, uint32_t n, uint64_t seed)
{
	uint32_t i;

	printf("in an episode of seed %llu, after %llu commands\n", (unsigned long long)seed,
	    (unsigned long long)s->done);
	fflush(stdout);
	s->report = NULL;
	if (!still_differs(s, c, n)) {
		printf("the difference does not come again with the same commands\n");
		return;
	}
	n = shrink(s, c, n);
	printf("shrunk to %u commands, RESP%u, db %u:\n", n, s->resp, s->db);
	for (i = 0; i < n; i++) {
		printf("  ");
		print_cmd(stdout, &c[i]);
	}
	s->report = stdout;
	still_differs(s, c, n);
}

/* One episode; 0, or -1: a difference, which has been reported. */
static int episode(struct session *s, uint64_t seed)
{
	struct gen g = { .rng = seed, .databases = s->o->databases, .mem = &s->mem };
	struct cmd c[EPISODE + 2];
	uint32_t n = 0;
	int rc;

	s->resp = s->o->resp ? s->o->resp : 2 + rng_below(&g, 2);
	s->db = rng_below(&g, s->o->databases);
	g.isolated = s->o->isolated;
	g.big = rng_below(&g, 8) == 0;
	g.brief = rng_below(&g, 16) == 0;
	g.streams = rng_below(&g, 8) == 0;
	g.now_ms = (uint64_t)(seconds(CLOCK_REALTIME) * 1000);
	while (n < EPISODE)
		n += gen_commands(&g, c + n);
	rc = clean(s) || run_commands(s, c, n) ? -1 : 0;
	if (rc)
		report(s, c, n, seed);
	arena_free(&s->mem);
	return rc;
}

int run(const struct options *o)
{
	struct session s = { .o = o, .a = { .fd = -1 }, .b = { .fd = -1 }, .report = stdout };
	double from = seconds(CLOCK_MONOTONIC), said = from, now = from;
	uint64_t n = 0;
	int rc = 0;

	printf("seed %llu\n", (unsigned long long)o->seed);
	fflush(stdout);
	if (reconnect(&s))
		rc = 2;
	while (!rc && (o->commands ? s.done < o->commands : now - from < o->seconds)) {
		/* an episode can be run again alone: --seed (the one it reports) --commands 1 */
		rc = episode(&s, o->seed + n++) ? 1 : 0;
		now = seconds(CLOCK_MONOTONIC);
		if (now - said > 60) {
			printf("%.0f s: %llu commands\n", now - from, (unsigned long long)s.done);
			fflush(stdout);
			said = now;
		}
	}
	side_close(&s.a);
	side_close(&s.b);
	printf("%llu commands in %llu episodes, %.1f s: %s\n", (unsigned long long)s.done,
	    (unsigned long long)n, now - from, rc ? "DIFFERENT" : "no difference");
	return rc;
}
