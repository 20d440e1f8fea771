/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/threshold: the vectors of the rules, each of their sentences, and random samples against a
 * model that looks at the whole history. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "resilience/threshold.h"

#define SECOND UINT64_C(1000000000)
#define PERIOD (30 * SECOND)
#define OK THRESHOLD_OK
#define WARN THRESHOLD_WARN
#define CRIT THRESHOLD_CRIT
#define UNKNOWN THRESHOLD_UNKNOWN
#define UNBOUNDED THRESHOLD_UNBOUNDED

static struct threshold_rule rule(uint32_t raise_hits, uint32_t clear_hits)
{
	return (struct threshold_rule){ 800000, 750000, 900000, 850000, raise_hits, clear_hits, 3,
		PERIOD };
}

static struct threshold fresh(uint32_t raise_hits, uint32_t clear_hits)
{
	struct threshold_rule r = rule(raise_hits, clear_hits);
	struct threshold t;

	threshold_init(&t, &r, 0);
	return t;
}

/* Samples in per mille, one a period; the level after each. */
static void expect(struct threshold *t, const int *samples, const int *levels, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		threshold_sample(t, (uint64_t)samples[i] * 1000, t->last_ns + PERIOD);
		if ((int)threshold_level(t) != levels[i])
			fail_msg("sample %zu (%d): %s, not %s", i, samples[i],
			    threshold_name(threshold_level(t)), threshold_name((unsigned)levels[i]));
	}
}
#define EXPECT(t, samples, ...) do { \
	const int s_[] = samples, l_[] = { __VA_ARGS__ }; \
	assert_int_equal(sizeof s_, sizeof l_); \
	expect((t), s_, l_, sizeof l_ / sizeof *l_); \
} while (0)
#define S(...) { __VA_ARGS__ }

static void test_vector_one_hit(void **state)
{
	struct threshold t = fresh(1, 1);

	(void)state;
	EXPECT(&t, S(500, 950, 870, 840, 760, 740), OK, CRIT, CRIT, WARN, WARN, OK);
	t = fresh(1, 1);
	EXPECT(&t, S(820, 910), WARN, CRIT);
	/* the lines themselves: raised at, cleared under */
	t = fresh(1, 1);
	EXPECT(&t, S(799, 800, 750, 749, 900, 850, 849), OK, WARN, WARN, OK, CRIT, CRIT, WARN);
	/* straight down when the sample asks for it */
	t = fresh(1, 1);
	EXPECT(&t, S(950, 100), CRIT, OK);
}

static void test_vector_hits(void **state)
{
	struct threshold t = fresh(2, 3);

	(void)state;
	EXPECT(&t, S(500, 910, 910), OK, OK, CRIT);
	EXPECT(&t, S(800, 910, 800, 800, 800), CRIT, CRIT, CRIT, CRIT, WARN);
	t = fresh(2, 3);
	EXPECT(&t, S(500, 850, 910, 850, 910), OK, OK, WARN, WARN, WARN);
	/* the second sample that asks for CRIT raises, whatever came before it */
	EXPECT(&t, S(910), CRIT);
	/* down as far as all of them agree */
	EXPECT(&t, S(800, 700, 700), CRIT, CRIT, WARN);
	EXPECT(&t, S(700), OK);
	t = fresh(2, 3);
	EXPECT(&t, S(950, 950, 100, 100, 100), UNKNOWN, CRIT, CRIT, CRIT, OK);
}

static void test_vector_flapping(void **state)
{
	struct threshold t = fresh(1, 1);
	struct threshold_event e;
	unsigned told = 0;

	(void)state;
	threshold_sample(&t, 500000, PERIOD);
	for (uint64_t i = 2; i < 400; i++) {
		e = threshold_sample(&t, i % 2 ? 849000 : 851000, i * PERIOD);
		assert_true(threshold_level(&t) == WARN);
		told += (e.what & THRESHOLD_TELL) != 0;
	}
	assert_int_equal(told, 1);
}

static void test_start(void **state)
{
	struct threshold t = fresh(2, 3);
	struct threshold_event e;

	(void)state;
	assert_int_equal(threshold_level(&t), UNKNOWN);
	e = threshold_sample(&t, 100000, PERIOD); /* no OK is told at the start */
	assert_int_equal(e.what, THRESHOLD_MOVED);
	assert_int_equal(e.from, UNKNOWN);
	assert_int_equal(e.to, OK);
	t = fresh(2, 3);
	e = threshold_sample(&t, 950000, PERIOD); /* nothing is known from one bad sample */
	assert_int_equal(e.what, 0);
	assert_int_equal(threshold_level(&t), UNKNOWN);
	e = threshold_sample(&t, 950000, 2 * PERIOD);
	assert_int_equal(e.what, THRESHOLD_MOVED | THRESHOLD_TELL);
	assert_int_equal(e.to, CRIT);
	t = fresh(2, 3);
	e = threshold_sample(&t, 950000, PERIOD);
	e = threshold_sample(&t, 100000, 2 * PERIOD);
	assert_int_equal(e.what, THRESHOLD_MOVED);
	/* never a sample: unknown it is already, and stays so without a word */
	t = fresh(2, 3);
	assert_int_equal(threshold_tick(&t, 100 * PERIOD).what, 0);
}

static void test_missing(void **state)
{
	struct threshold t = fresh(1, 1);
	struct threshold_event e;

	(void)state;
	threshold_sample(&t, 950000, PERIOD);
	assert_int_equal(threshold_tick(&t, 4 * PERIOD - 1).what, 0);
	e = threshold_tick(&t, 4 * PERIOD);
	assert_int_equal(e.what, THRESHOLD_MOVED);
	assert_int_equal(e.from, CRIT);
	assert_int_equal(e.to, UNKNOWN);
	assert_int_equal(t.level, CRIT); /* kept for display */
	assert_int_equal(threshold_tick(&t, 5 * PERIOD).what, 0);
	e = threshold_sample(&t, 950000, 6 * PERIOD); /* as it was: the gauge moves, nothing is told */
	assert_int_equal(e.what, THRESHOLD_MOVED);
	assert_int_equal(e.to, CRIT);
	threshold_tick(&t, 9 * PERIOD);
	e = threshold_sample(&t, 100000, 10 * PERIOD);
	assert_int_equal(e.what, THRESHOLD_MOVED | THRESHOLD_TELL);
	assert_int_equal(e.from, CRIT);
	assert_int_equal(e.to, OK);
	/* samples before the gap do not count with those after it */
	t = fresh(2, 2);
	threshold_sample(&t, 100000, PERIOD);
	threshold_sample(&t, 950000, 2 * PERIOD);
	threshold_tick(&t, 5 * PERIOD);
	threshold_sample(&t, 950000, 6 * PERIOD);
	assert_int_equal(threshold_level(&t), OK);
	threshold_sample(&t, 950000, 7 * PERIOD);
	assert_int_equal(threshold_level(&t), CRIT);
	/* a clock that stands or goes back is no gap */
	assert_int_equal(threshold_tick(&t, 0).what, 0);
}

static void test_unbounded(void **state)
{
	struct threshold t = fresh(2, 3);
	struct threshold_event e = threshold_unbounded(&t, PERIOD);

	(void)state;
	assert_int_equal(e.what, THRESHOLD_MOVED); /* at the start no alert */
	assert_int_equal(threshold_level(&t), UNBOUNDED);
	assert_int_equal(threshold_unbounded(&t, 2 * PERIOD).what, 0);
	/* a maximum appears: not OK before a sample says so */
	e = threshold_sample(&t, 950000, 3 * PERIOD);
	assert_int_equal(e.what, 0);
	assert_int_equal(threshold_level(&t), UNBOUNDED);
	e = threshold_sample(&t, 950000, 4 * PERIOD);
	assert_int_equal(e.what, THRESHOLD_MOVED | THRESHOLD_TELL);
	assert_int_equal(e.from, UNBOUNDED);
	assert_int_equal(e.to, CRIT);
	e = threshold_unbounded(&t, 5 * PERIOD);
	assert_int_equal(e.what, THRESHOLD_MOVED | THRESHOLD_TELL);
	e = threshold_sample(&t, 100000, 6 * PERIOD);
	assert_int_equal(e.to, OK);
	threshold_unbounded(&t, 7 * PERIOD);
	assert_int_equal(threshold_tick(&t, 10 * PERIOD).to, UNKNOWN);
	assert_int_equal(threshold_unbounded(&t, 11 * PERIOD).what, THRESHOLD_MOVED);
}

static void test_restore(void **state)
{
	struct threshold t = fresh(2, 3);
	struct threshold_rule r = rule(2, 3);
	struct threshold_event e;

	(void)state;
	threshold_restore(&t, THRESHOLD_CRIT, threshold_hash(&r));
	assert_int_equal(threshold_level(&t), UNKNOWN);
	assert_int_equal(threshold_tick(&t, PERIOD).what, 0);
	e = threshold_sample(&t, 950000, PERIOD);
	assert_int_equal(e.what, THRESHOLD_MOVED); /* a restart tells nothing */
	assert_int_equal(threshold_level(&t), CRIT);
	EXPECT(&t, S(870, 840, 840, 840), CRIT, CRIT, CRIT, WARN);
	/* another rule in the file: the next sample decides alone, from the stored level */
	t = fresh(2, 3);
	threshold_restore(&t, THRESHOLD_CRIT, threshold_hash(&r) + 1);
	EXPECT(&t, S(870), CRIT); /* still above clear_crit */
	EXPECT(&t, S(840, 840), CRIT, CRIT); /* and from then on the hits count */
	t = fresh(2, 3);
	threshold_restore(&t, THRESHOLD_CRIT, threshold_hash(&r) + 1);
	e = threshold_sample(&t, 840000, PERIOD);
	assert_int_equal(e.what, THRESHOLD_MOVED | THRESHOLD_TELL);
	assert_int_equal(e.from, CRIT);
	assert_int_equal(e.to, WARN);
	t = fresh(2, 3);
	threshold_restore(&t, THRESHOLD_UNKNOWN, 0);
	assert_int_equal(threshold_sample(&t, 950000, PERIOD).what, 0);
}

static void test_rule_set(void **state)
{
	struct threshold t = fresh(2, 3);
	struct threshold_rule r = rule(2, 3);

	(void)state;
	EXPECT(&t, S(500, 910), OK, OK);
	threshold_rule_set(&t, &r); /* the same: what was counted stays */
	EXPECT(&t, S(910), CRIT);
	r.raise_crit = 960000;
	r.clear_crit = 950000;
	threshold_rule_set(&t, &r);
	assert_int_equal(threshold_level(&t), CRIT); /* a reload by itself moves nothing */
	EXPECT(&t, S(910, 970, 970), WARN, WARN, CRIT);
}

static void test_check(void **state)
{
	struct threshold_rule r = rule(2, 3);

	(void)state;
	assert_null(threshold_check(&r));
#define BAD(field, value, word) do { \
	struct threshold_rule b = r; \
	b.field = (value); \
	assert_non_null(threshold_check(&b)); \
	assert_non_null(strstr(threshold_check(&b), (word))); \
	assert_true(threshold_hash(&b) != threshold_hash(&r)); \
} while (0)
	BAD(clear_warn, 800000, "memory_warning_clear");
	BAD(clear_crit, 900000, "memory_critical_clear");
	BAD(raise_crit, 800000, "memory_critical");
	BAD(clear_crit, 750000, "memory_critical_clear"); /* Netdata's flapping default */
	BAD(clear_crit, 740000, "memory_critical_clear");
	BAD(raise_hits, 0, "raise_hits");
	BAD(clear_hits, 0, "clear_hits");
	BAD(missing, 0, "missing");
	BAD(period_ns, 0, "interval");
	for (int i = 0; i < 5; i++)
		assert_int_equal(threshold_of(threshold_name((unsigned)i)), i);
	assert_int_equal(threshold_of("fine"), -1);
	assert_string_equal(threshold_name(77), "unknown");
}

/* ---- random samples against a model ----------------------------------------------------------------- */

#define STEPS 400
struct model { int level; int want[STEPS]; int n; }; /* want: since the start or the latest gap */

static int model_target(const struct threshold_rule *r, int level, uint64_t m)
{
	uint64_t warn = level == WARN || level == CRIT ? r->clear_warn : r->raise_warn;
	uint64_t crit = level == CRIT ? r->clear_crit : r->raise_crit;

	return m >= crit ? CRIT : m >= warn ? WARN : OK;
}

/* Do the latest k samples all lie within lo..hi? */
static bool all(const struct model *d, int k, int lo, int hi)
{
	if (d->n < k)
		return false;
	for (int i = d->n - k; i < d->n; i++)
		if (d->want[i] < lo || d->want[i] > hi)
			return false;
	return true;
}

static void model_sample(struct model *d, const struct threshold_rule *r, uint64_t m)
{
	int s = d->level == UNKNOWN ? OK : d->level, rh = (int)r->raise_hits, ch = (int)r->clear_hits;

	d->want[d->n++] = model_target(r, d->level, m);
	if (s < CRIT && all(d, rh, CRIT, CRIT))
		d->level = CRIT;
	else if (s < WARN && all(d, rh, WARN, CRIT))
		d->level = WARN;
	else if (s > OK && all(d, ch, OK, OK))
		d->level = OK;
	else if (s > WARN && all(d, ch, OK, WARN))
		d->level = WARN;
	else if (d->level == UNKNOWN && d->want[d->n - 1] == OK)
		d->level = OK;
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void one_run(uint64_t *seed, int run)
{
	struct threshold_rule r = rule(1 + rnd(seed) % 3, 1 + rnd(seed) % 3);
	struct model d = { .level = UNKNOWN };
	struct threshold t;
	uint64_t now = 0, m = 700000;
	int known = UNKNOWN;
	bool lost = false;

	threshold_init(&t, &r, 0);
	for (int i = 0; i < STEPS; i++) {
		struct threshold_event e;
		int before = (int)threshold_level(&t);

		now += PERIOD;
		if (rnd(seed) % 20 == 0) {
			now += 3 * PERIOD;
			e = threshold_tick(&t, now);
			if (d.level != UNKNOWN)
				d.n = 0;
			lost = d.level != UNKNOWN;
		} else {
			/* a walk around the lines, with jumps */
			m = rnd(seed) % 8 ? m + rnd(seed) % 60001 - 30000 : rnd(seed) % 1000000;
			m = m > 2000000 ? 0 : m;
			e = threshold_sample(&t, m, now);
			model_sample(&d, &r, m);
			lost = false;
		}
		if ((int)threshold_level(&t) != (lost ? UNKNOWN : d.level))
			fail_msg("run %d step %d: %s, the model says %d", run, i,
			    threshold_name(threshold_level(&t)), d.level);
		/* the gauge is what was told, and an alert is a change of what was known */
		assert_int_equal((e.what & THRESHOLD_MOVED) != 0, before != (int)threshold_level(&t));
		assert_int_equal((e.what & THRESHOLD_TELL) != 0,
		    d.level != known && !(known == UNKNOWN && d.level == OK));
		known = d.level;
	}
}

static void test_random(void **state)
{
	const char *given = getenv("PURSER_SEED"), *many = getenv("PURSER_LONG");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	int runs = many && *many == '1' ? 20000 : 500;

	(void)state;
	print_message("PURSER_SEED=%llu\n", (unsigned long long)seed);
	seed |= 1;
	for (int i = 0; i < runs; i++)
		one_run(&seed, i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector_one_hit), cmocka_unit_test(test_vector_hits),
		cmocka_unit_test(test_vector_flapping), cmocka_unit_test(test_start),
		cmocka_unit_test(test_missing), cmocka_unit_test(test_unbounded),
		cmocka_unit_test(test_restore), cmocka_unit_test(test_rule_set),
		cmocka_unit_test(test_check), cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("resilience_threshold", tests, NULL, NULL);
}
