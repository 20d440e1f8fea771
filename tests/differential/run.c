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

static void nap(uint32_t ms)
{
	nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

/* ---- episodes ------------------------------------------------------------------------------------------------- */
static int run_batch(struct session *s, const struct cmd *c, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		side_add(&s->a, &c[i]);
		side_add(&s->b, &c[i]);
	}
	if (send_pair(s, n, n))
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
			if (ask_single(s, &c[i]))
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
	double until = clock_seconds(CLOCK_MONOTONIC) + SHRINK_SECONDS;
	uint32_t part = n / 2, at;

	if (!without)
		exit(2);
	while (part >= 1 && clock_seconds(CLOCK_MONOTONIC) < until) {
		int smaller = 0;

		for (at = 0; at + part <= n && clock_seconds(CLOCK_MONOTONIC) < until;) {
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
	g.now_ms = (uint64_t)(clock_seconds(CLOCK_REALTIME) * 1000);
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
	double from = clock_seconds(CLOCK_MONOTONIC), said = from, now = from;
	uint64_t n = 0;
	int rc = 0;

	printf("seed %llu\n", (unsigned long long)o->seed);
	fflush(stdout);
	if (reconnect(&s))
		rc = 2;
	while (!rc && (o->commands ? s.done < o->commands : now - from < o->seconds)) {
		/* an episode can be run again alone: --seed (the one it reports) --commands 1 */
		rc = episode(&s, o->seed + n++) ? 1 : 0;
		now = clock_seconds(CLOCK_MONOTONIC);
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
