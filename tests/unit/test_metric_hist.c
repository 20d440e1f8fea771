/* SPDX-License-Identifier: Apache-2.0 */
/* metric/hist: every edge is exact, nothing is lost, bounds of the conventions are edges. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "metric/hist.h"

static unsigned bin_of(uint64_t ns)
{
	unsigned sub;
	int d = hist_place(ns, &sub);

	return d < 0 ? 0 : d == HIST_DECADES ? HIST_BINS - 1 : 1 + (unsigned)d * HIST_SUB + sub;
}

static void test_edges(void **state)
{
	(void)state;
	assert_int_equal(bin_of(0), 0);
	assert_int_equal(bin_of(1), 0);
	assert_int_equal(bin_of(UINT64_MAX), HIST_BINS - 1);
	for (unsigned b = 0; b < HIST_BINS - 1; b++) {
		uint64_t e = hist_edge(b);

		assert_int_equal(bin_of(e), b);
		assert_int_equal(bin_of(e - 1), b);
		assert_int_equal(bin_of(e + 1), b + 1);
		assert_true(b == 0 || e > hist_edge(b - 1));
		assert_true(b == 0 || (e - hist_edge(b - 1)) * 20 <= hist_edge(b - 1));
	}
}

static void test_random(void **state)
{
	uint64_t x = UINT64_C(88172645463325252);

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		uint64_t v;
		unsigned b;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		v = x >> (x % 60);
		b = bin_of(v);
		assert_true(v <= hist_edge(b));
		assert_true(b == 0 || v > hist_edge(b - 1));
	}
}

static void test_bounds(void **state)
{
	static const uint64_t bounds[] = { 1000000, 5000000, 10000000, 50000000, 100000000, 500000000,
		1000000000, UINT64_C(5000000000), UINT64_C(10000000000) };
	struct hist h = { .sum = 0 };
	struct hist_sum s = { .count = 0 };
	uint64_t counts[10], sum = 0;

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		hist_record(&h, bounds[i]);     /* upper-inclusive: in its own interval */
		hist_record(&h, bounds[i] + 1); /* in the next */
		sum += 2 * bounds[i] + 1;
	}
	hist_add(&s, &h);
	hist_explicit(&s, bounds, 9, counts);
	assert_int_equal(counts[0], 1);
	for (size_t i = 1; i < 9; i++)
		assert_int_equal(counts[i], 2);
	assert_int_equal(counts[9], 1);
	assert_int_equal(s.count, 18);
	assert_int_equal(s.sum, sum);
	assert_int_equal(s.lost, 0);
	hist_free(&h);
}

static void test_merge_and_quantile(void **state)
{
	struct hist a = { .sum = 0 }, b = { .sum = 0 };
	struct hist_sum s = { .count = 0 };

	(void)state;
	assert_int_equal(hist_quantile(&s, 0.5), 0);
	for (uint64_t v = 1; v <= 1000; v++)
		hist_record(v % 2 ? &a : &b, v * 1000);
	hist_add(&s, &a);
	hist_add(&s, &b);
	assert_int_equal(s.count, 1000);
	assert_int_equal(s.sum, UINT64_C(500500000));
	assert_in_range(hist_quantile(&s, 0.5), 500000, 525000);
	assert_in_range(hist_quantile(&s, 0.99), 990000, 1040000);
	assert_int_equal(hist_quantile(&s, 1), 1000000);
	hist_record(&a, UINT64_MAX / 2);
	hist_free(&a);
	hist_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_merge_and_quantile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
