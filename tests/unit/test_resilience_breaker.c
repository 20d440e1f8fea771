/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/breaker: the vectors v1 to v6 of the rules, each of their sentences, and random events against
 * what must always hold. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "resilience/breaker.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define START (1000 * SECOND) /* no clock begins at zero */

static const struct breaker_rule standard = BREAKER_RULE_DEFAULT;

/* A window and the breaker behind it, as one worker has them, and the gauge. */
struct rig {
	struct breaker_rule r;
	struct breaker_window w;
	struct breaker b;
	uint64_t now, random;
	int gauge;
};

static void moved(struct rig *g, struct breaker_move m)
{
	if (m.moved) {
		assert_int_equal(m.from, g->gauge);
		assert_int_not_equal(m.to, m.from);
		g->gauge = m.to;
	}
	assert_int_equal(g->gauge, g->b.state); /* v5 */
}

static struct rig fresh(void)
{
	struct rig g = { .r = standard, .now = START };

	breaker_init(&g.b, g.now);
	return g;
}

/* 'F' fail, 'O' ok, 'S' slow, 'I' ignore; the state after it. */
static int note(struct rig *g, char c)
{
	enum breaker_outcome o = c == 'F' ? BREAKER_FAIL : c == 'O' ? BREAKER_OK : c == 'S' ? BREAKER_OK_SLOW :
	    BREAKER_IGNORE;
	enum breaker_reason why = breaker_window_note(&g->w, &g->r, o, g->now);

	if (why)
		moved(g, breaker_trip(&g->b, &g->r, why, g->now, g->random));
	return g->b.state;
}

static void run(struct rig *g, const char *events)
{
	for (; *events; events++)
		note(g, *events);
}

static void probe(struct rig *g, bool ok)
{
	if (g->now < g->b.until_ns)
		g->now = g->b.until_ns;
	assert_true(breaker_probe_begin(&g->b, g->now));
	assert_false(breaker_probe_begin(&g->b, g->now)); /* one at a time */
	moved(g, breaker_probe_end(&g->b, &g->r, ok, g->now, g->random));
}

static void test_v1_in_a_row(void **state)
{
	struct rig g = fresh();
	const char *events = "FFFFOFFFFF";

	(void)state;
	for (; events[1]; events++)
		assert_int_equal(note(&g, *events), BREAKER_CLOSED);
	assert_int_equal(note(&g, *events), BREAKER_OPEN);
}

static void test_v2_share(void **state)
{
	struct rig g = fresh();

	(void)state;
	run(&g, "OFOFOFOFOFOFOFOFOFO"); /* 9 of 19 */
	assert_int_equal(g.b.state, BREAKER_CLOSED);
	assert_int_equal(breaker_window_counted(&g.w, g.now), 19);
	assert_int_equal(note(&g, 'F'), BREAKER_OPEN);
}

static void test_v3_buckets_expire(void **state)
{
	struct rig g = fresh();

	(void)state;
	g.now = START + 500 * MS;
	run(&g, "OFOFOFOFOFOFOFOFOFO");
	g.now = START + 10600 * MS;
	assert_int_equal(breaker_window_counted(&g.w, g.now), 0);
	assert_int_equal(note(&g, 'F'), BREAKER_CLOSED);
	assert_int_equal(breaker_window_counted(&g.w, g.now), 1);
}

static void test_v4_half_open(void **state)
{
	struct rig g = fresh();
	const char *events = "OIOO";
	const int after[] = { BREAKER_HALF_OPEN, BREAKER_HALF_OPEN, BREAKER_HALF_OPEN, BREAKER_CLOSED };

	(void)state;
	run(&g, "FFFFF");
	probe(&g, true);
	assert_int_equal(g.b.state, BREAKER_HALF_OPEN);
	for (int i = 0; events[i]; i++) {
		uint32_t epoch = g.b.epoch;

		assert_int_equal(breaker_admit(&g.b, &g.r), BREAKER_TRIAL);
		moved(&g, breaker_trial_end(&g.b, &g.r, epoch, events[i] == 'O' ? BREAKER_OK : BREAKER_IGNORE,
		    g.now, 0));
		assert_int_equal(g.b.state, after[i]);
	}
	assert_int_equal(breaker_admit(&g.b, &g.r), BREAKER_PASS);
}

static void test_v6_ignored(void **state)
{
	struct rig g = fresh();

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(note(&g, 'I'), BREAKER_CLOSED);
	assert_int_equal(breaker_window_counted(&g.w, g.now), 0);
}

static void test_slow(void **state)
{
	struct rig g = fresh();

	(void)state;
	run(&g, "SSSSSSSSSSSSSSSSSSSSSSSSS"); /* off by default */
	assert_int_equal(g.b.state, BREAKER_CLOSED);
	g = fresh();
	g.r.slow_percent = 80;
	run(&g, "OOOOSSSSSSSSSSSSSSS"); /* 15 of 19 */
	assert_int_equal(g.b.state, BREAKER_CLOSED);
	assert_int_equal(note(&g, 'S'), BREAKER_OPEN); /* 16 of 20 */
}

static void test_many_successes_before(void **state)
{
	struct rig g = fresh();

	(void)state;
	breaker_window_add(&g.w, 1000, g.now, g.now);
	run(&g, "FOFOFOFOFOFOFOFOFOFOFOFOFOFO"); /* half of the latest, few of all */
	assert_int_equal(g.b.state, BREAKER_CLOSED);
	g.now += 10 * SECOND;
	assert_int_equal(breaker_window_counted(&g.w, g.now), 0);
	breaker_window_add(&g.w, 5, g.now - 9 * SECOND, g.now);
	breaker_window_add(&g.w, 7, g.now - 10 * SECOND, g.now); /* too old */
	assert_int_equal(breaker_window_counted(&g.w, g.now), 5);
}

static void test_rejects_and_waits(void **state)
{
	static const uint64_t waits[] = { 5, 10, 20, 40, 60, 60, 60 };
	struct rig g = fresh();

	(void)state;
	for (int low = 0; low < 2; low++) {
		g = fresh();
		g.random = low ? 0 : 200; /* U(0.8, 1.0) at its ends */
		run(&g, "FFFFF");
		for (unsigned i = 0; i < sizeof waits / sizeof *waits; i++) {
			uint64_t want = waits[i] * SECOND / 10 * (low ? 8 : 10);

			assert_int_equal(g.b.until_ns - g.now, want);
			assert_int_equal(breaker_retry_after(&g.b, &g.r, g.now), want);
			assert_int_equal(breaker_admit(&g.b, &g.r), BREAKER_REJECT);
			assert_false(breaker_probe_begin(&g.b, g.b.until_ns - 1));
			probe(&g, false); /* stays open, for longer */
			assert_int_equal(g.b.state, BREAKER_OPEN);
			assert_int_equal(g.b.reopens, i + 1);
		}
		probe(&g, true);
		assert_int_equal(g.b.state, BREAKER_HALF_OPEN);
	}
}

static void test_half_open_limits(void **state)
{
	struct rig g = fresh();
	uint32_t epoch;

	(void)state;
	run(&g, "FFFFF");
	probe(&g, true);
	epoch = g.b.epoch;
	for (int i = 0; i < 3; i++)
		assert_int_equal(breaker_admit(&g.b, &g.r), BREAKER_TRIAL);
	assert_int_equal(breaker_admit(&g.b, &g.r), BREAKER_REJECT);
	assert_true(breaker_retry_after(&g.b, &g.r, g.now) > 0);
	moved(&g, breaker_trial_end(&g.b, &g.r, epoch, BREAKER_OK, g.now, 0));
	moved(&g, breaker_trial_end(&g.b, &g.r, epoch, BREAKER_FAIL, g.now, 200));
	assert_int_equal(g.b.state, BREAKER_OPEN);
	assert_int_equal(g.b.reopens, 1);
	assert_int_equal(g.b.until_ns - g.now, 10 * SECOND);
	moved(&g, breaker_trial_end(&g.b, &g.r, epoch, BREAKER_OK, g.now, 0)); /* late: says nothing */
	assert_int_equal(g.b.state, BREAKER_OPEN);
	probe(&g, true);
	moved(&g, breaker_trial_end(&g.b, &g.r, epoch, BREAKER_FAIL, g.now, 0)); /* nor in the next one */
	assert_int_equal(g.b.state, BREAKER_HALF_OPEN);
	assert_int_equal(g.b.trials, 0);
	epoch = g.b.epoch;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(breaker_admit(&g.b, &g.r), BREAKER_TRIAL);
		moved(&g, breaker_trial_end(&g.b, &g.r, epoch, BREAKER_OK_SLOW, g.now, 0));
	}
	assert_int_equal(g.b.state, BREAKER_CLOSED);
	assert_int_equal(g.b.reopens, 0);
	run(&g, "FFFFF"); /* consecutive goes on in the window unless it is cleared */
	assert_int_equal(g.b.state, BREAKER_OPEN);
	assert_int_equal(g.b.until_ns - g.now, 4 * SECOND);
}

/* No infinite half-open: nobody asks, so the agent does. */
static void test_half_open_undecided(void **state)
{
	struct rig g = fresh();

	(void)state;
	run(&g, "FFFFF");
	probe(&g, true);
	assert_false(breaker_probe_begin(&g.b, g.now + 10 * SECOND - 1));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(breaker_probe_due(&g.b), g.now + 10 * SECOND);
		assert_int_equal(g.b.state, BREAKER_HALF_OPEN);
		probe(&g, true);
	}
	assert_int_equal(g.b.state, BREAKER_CLOSED);
	assert_int_equal(breaker_probe_due(&g.b), UINT64_MAX);
	breaker_window_clear(&g.w);
	run(&g, "FFFFF");
	probe(&g, true);
	probe(&g, false);
	assert_int_equal(g.b.state, BREAKER_OPEN);
	assert_int_equal(g.b.reopens, 1);
}

static void test_operator(void **state)
{
	struct rig g = fresh();

	(void)state;
	moved(&g, breaker_operate(&g.b, BREAKER_FORCED_OPEN, g.now));
	assert_int_equal(breaker_admit(&g.b, &g.r), BREAKER_REJECT);
	assert_int_equal(breaker_probe_due(&g.b), UINT64_MAX); /* nobody asks */
	assert_true(breaker_retry_after(&g.b, &g.r, g.now) > 0);
	run(&g, "OOO");
	assert_int_equal(g.b.state, BREAKER_FORCED_OPEN);
	moved(&g, breaker_operate(&g.b, BREAKER_DISABLED, g.now));
	run(&g, "FFFFFFFFFF");
	assert_int_equal(g.b.state, BREAKER_DISABLED);
	assert_int_equal(breaker_admit(&g.b, &g.r), BREAKER_PASS);
	moved(&g, breaker_operate(&g.b, BREAKER_CLOSED, g.now));
	assert_int_equal(g.b.state, BREAKER_CLOSED);
	breaker_window_clear(&g.w);
	run(&g, "FFFFF");
	assert_int_equal(g.b.state, BREAKER_OPEN);
	moved(&g, breaker_operate(&g.b, BREAKER_CLOSED, g.now)); /* AUTO: it decides by itself already */
	assert_int_equal(g.b.state, BREAKER_OPEN);
	g.now = g.b.until_ns;
	assert_true(breaker_probe_begin(&g.b, g.now));
	moved(&g, breaker_operate(&g.b, BREAKER_DISABLED, g.now));
	moved(&g, breaker_probe_end(&g.b, &g.r, false, g.now, 0)); /* late: says nothing */
	assert_int_equal(g.b.state, BREAKER_DISABLED);
}

static void test_random(void **state)
{
	const char *set = getenv("PURSER_SEED");
	unsigned seed = set ? (unsigned)strtoul(set, NULL, 10) : (unsigned)time(NULL);
	struct rig g = fresh();
	uint32_t owed = 0, epoch = 0;

	(void)state;
	print_message("PURSER_SEED=%u\n", seed);
	srand(seed);
	for (int i = 0; i < 200000; i++) {
		bool trials = g.b.state == BREAKER_HALF_OPEN;

		g.now += (uint64_t)(rand() % 1000) * MS;
		g.random = (uint64_t)rand();
		if (epoch != g.b.epoch)
			owed = 0;
		epoch = g.b.epoch;
		switch (rand() % 8) {
		case 0: case 1: case 2:
			if (g.b.state == BREAKER_CLOSED && note(&g, "FFOSI"[rand() % 5]) != BREAKER_CLOSED)
				breaker_window_clear(&g.w);
			break;
		case 3:
			owed += breaker_admit(&g.b, &g.r) == BREAKER_TRIAL;
			assert_true(owed <= g.r.success_threshold);
			assert_int_equal(owed, trials ? g.b.trials : 0);
			break;
		case 4: case 5:
			if (owed) {
				owed--;
				moved(&g, breaker_trial_end(&g.b, &g.r, epoch, (enum breaker_outcome)(rand() % 4),
				    g.now, g.random));
			}
			break;
		case 6:
			if (breaker_probe_begin(&g.b, g.now))
				moved(&g, breaker_probe_end(&g.b, &g.r, rand() % 2, g.now, g.random));
			break;
		default:
			if (rand() % 50 == 0)
				moved(&g, breaker_operate(&g.b, (enum breaker_state)(rand() % 5), g.now));
		}
		assert_int_equal(g.gauge, g.b.state);
		assert_true(g.b.state != BREAKER_OPEN || g.b.until_ns <= g.now + 60 * SECOND);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_in_a_row), cmocka_unit_test(test_v2_share),
		cmocka_unit_test(test_v3_buckets_expire), cmocka_unit_test(test_v4_half_open),
		cmocka_unit_test(test_v6_ignored), cmocka_unit_test(test_slow),
		cmocka_unit_test(test_many_successes_before), cmocka_unit_test(test_rejects_and_waits),
		cmocka_unit_test(test_half_open_limits), cmocka_unit_test(test_half_open_undecided),
		cmocka_unit_test(test_operator), cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
