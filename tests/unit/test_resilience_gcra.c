/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/gcra: the measured vectors (redis-cell's), each sentence of the rules, random arrivals against a
 * model in whole numbers, and threads that share one state. */
#include <config.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "resilience/gcra.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define START (1000 * SECOND) /* no clock begins at zero */

static struct gcra_rule rule(uint64_t count, uint64_t period, uint64_t burst)
{
	struct gcra_rule r;

	gcra_rule_set(&r, count, period, burst);
	return r;
}

/* burst 15, 30 in 60 s, one at a time, all at the same instant. */
static void test_vector(void **state)
{
	struct gcra_rule r = rule(30, 60 * SECOND, 15);
	struct gcra g = { 0 };
	struct gcra_view v;

	(void)state;
	for (unsigned i = 1; i <= 16; i++) {
		assert_int_equal(gcra_take(&g, &r, 1, START), 0);
		v = gcra_view(&g, &r, START);
		assert_int_equal(v.limit, 16);
		assert_int_equal(v.remaining, 16 - i);      /* 15 after call 1, 14 after call 2, 0 after call 16 */
		assert_int_equal(v.reset_ns, i * 2 * SECOND); /* 2 s, 4 s, 32 s */
	}
	for (unsigned i = 17; i <= 18; i++) { /* limited, and nothing has changed */
		assert_int_equal(gcra_take(&g, &r, 1, START), 2 * SECOND);
		v = gcra_view(&g, &r, START);
		assert_int_equal(v.remaining, 0);
		assert_int_equal(v.reset_ns, 32 * SECOND);
	}
	/* a nanosecond before it was told, and then */
	assert_int_equal(gcra_take(&g, &r, 1, START + 2 * SECOND - 1), 1);
	assert_int_equal(gcra_take(&g, &r, 1, START + 2 * SECOND), 0);
	/* several at once */
	assert_int_equal(gcra_take(&g, &r, 3, START + 2 * SECOND), 6 * SECOND);
	assert_int_equal(gcra_take(&g, &r, 3, START + 8 * SECOND), 0);
	/* never */
	assert_true(gcra_take(&g, &r, 17, START + 8 * SECOND) == GCRA_NEVER);
	assert_int_equal(gcra_take(&g, &r, 16, START + 1000 * SECOND), 0);
}

static void test_idle(void **state)
{
	struct gcra_rule r = rule(1000, SECOND, 0);
	struct gcra g = { 0 };

	(void)state;
	assert_int_equal(gcra_take(&g, &r, 1, START), 0);
	assert_int_equal(gcra_take(&g, &r, 1, START), MS);
	assert_int_equal(gcra_take(&g, &r, 1, START + MS), 0);
	/* what was not used long ago is not saved up */
	assert_int_equal(gcra_take(&g, &r, 1, START + 100 * SECOND), 0);
	assert_int_equal(gcra_take(&g, &r, 1, START + 100 * SECOND), MS);
}

static void test_give(void **state)
{
	struct gcra_rule r = rule(30, 60 * SECOND, 15);
	struct gcra g = { 0 };

	(void)state;
	assert_int_equal(gcra_take(&g, &r, 16, START), 0);
	gcra_give(&g, &r, 6);
	assert_int_equal(gcra_view(&g, &r, START).remaining, 6);
	assert_int_equal(gcra_take(&g, &r, 6, START), 0);
	assert_int_equal(gcra_take(&g, &r, 1, START), 2 * SECOND);
}

/* Bytes: what a reply has is known when it is too late to refuse it. */
static void test_debt(void **state)
{
	struct gcra_rule r = rule(UINT64_C(1) << 20, SECOND, (UINT64_C(1) << 20) - 1); /* 1 MiB/s, as much at once */
	struct gcra g = { 0 };

	(void)state;
	assert_int_equal(gcra_debt(&g, &r, START), 0);
	gcra_charge(&g, &r, UINT64_C(3) << 20, START); /* three seconds' worth, of which one was there */
	assert_int_equal(gcra_view(&g, &r, START).remaining, 0);
	assert_in_range(gcra_debt(&g, &r, START), 2 * SECOND, 2 * SECOND + 1000);
	assert_in_range(gcra_debt(&g, &r, START + 2 * SECOND), 1, 1000); /* a byte */
	assert_int_equal(gcra_debt(&g, &r, START + 2 * SECOND + 1000), 0);
	assert_int_equal(gcra_debt(&g, &r, START + 100 * SECOND), 0);
	for (unsigned i = 0; i < 10; i++)
		gcra_charge(&g, &r, UINT64_MAX, START); /* saturates */
	assert_true(gcra_debt(&g, &r, START) > UINT64_C(100) * 365 * 24 * 3600 * SECOND);
}

/* Steps of less than a nanosecond, and of an hour. */
static void test_extremes(void **state)
{
	struct gcra_rule fast = rule(UINT64_C(100) << 30, SECOND, UINT64_C(100) << 30), slow =
	    rule(1, GCRA_PERIOD_MAX_NS, 0), huge = rule(1, GCRA_PERIOD_MAX_NS, UINT64_MAX - 1);
	struct gcra g = { 0 };
	uint64_t cost;

	(void)state;
	cost = gcra_cost(&fast, UINT64_C(50) << 30);
	assert_in_range(cost, SECOND / 2, SECOND / 2 + SECOND / 1000); /* within 0.1 % */
	assert_int_equal(gcra_take(&g, &fast, UINT64_C(50) << 30, START), 0);
	g = (struct gcra){ 0 };
	assert_int_equal(gcra_take(&g, &slow, 1, START), 0);
	assert_int_equal(gcra_take(&g, &slow, 1, START), GCRA_PERIOD_MAX_NS);
	assert_true(gcra_take(&g, &slow, 2, START) == GCRA_NEVER);
	g = (struct gcra){ 0 };
	assert_int_equal(gcra_take(&g, &huge, 1000, START), 0);
	assert_true(gcra_cost(&huge, UINT64_MAX) >= gcra_cost(&huge, 1000));
	assert_int_not_equal(gcra_view(&g, &huge, START).remaining, 0);
}

static uint64_t random_state;
static uint64_t draw(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

/* A bucket of burst + 1 tokens in units of 1/count ns, filled by count each ns: the same rule, told otherwise. */
static void test_model(void **state)
{
	const char *seed = getenv("PURSER_SEED");

	(void)state;
	random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
	printf("PURSER_SEED=%llu\n", (unsigned long long)random_state);
	random_state |= 1;
	for (unsigned n = 0; n < 300; n++) {
		uint64_t count = UINT64_C(1) << draw(12), T = 1 + draw(5000), burst = draw(40);
		struct gcra_rule r = rule(count, count * T, burst);
		struct gcra g = { 0 };
		uint64_t now = START, full = (burst + 1) * T, have = full; /* in ns of filling */

		for (unsigned i = 0; i < 2000; i++) {
			uint64_t dt = draw(3) ? draw(2 * T) : draw(full * 2), q = 1 + draw(draw(4) ? 2 : burst + 3), wait;

			now += dt;
			have = have + dt > full ? full : have + dt;
			assert_int_equal(gcra_view(&g, &r, now).remaining, have / T);
			wait = gcra_take(&g, &r, q, now);
			if (q > burst + 1) {
				assert_true(wait == GCRA_NEVER);
			} else if (q * T <= have) {
				assert_int_equal(wait, 0);
				have -= q * T;
			} else {
				assert_int_equal(wait, q * T - have);
			}
		}
	}
}

#define THREADS 4
#define TRIES 20000u
static struct gcra shared;
static struct gcra_rule shared_rule;

static void *take_many(void *arg)
{
	uintptr_t *got = arg;

	for (unsigned i = 0; i < TRIES; i++)
		*got += !gcra_take(&shared, &shared_rule, 1, START + i / 100);
	return NULL;
}

/* Together they get what one would: burst + 1, and none for the 200 ns that pass. */
static void test_threads(void **state)
{
	pthread_t t[THREADS];
	uintptr_t got[THREADS] = { 0 }, sum = 0;

	(void)state;
	shared_rule = rule(1000, SECOND, 9999);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, take_many, &got[i]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		sum += got[i];
	}
	assert_int_equal(sum, 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector), cmocka_unit_test(test_idle), cmocka_unit_test(test_give),
		cmocka_unit_test(test_debt), cmocka_unit_test(test_extremes), cmocka_unit_test(test_model),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
