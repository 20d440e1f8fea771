/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/retry and resilience/budget: delays, classes, the group rule, the budget's bound. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "resilience/budget.h"
#include "resilience/retry.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define START (1000 * SECOND)

static const struct retry_rule rule = RETRY_RULE_DEFAULT;
static const struct budget_rule standard = BUDGET_RULE_DEFAULT;

static void test_delay(void **state)
{
	static const uint64_t top[] = { 20, 40, 80, 160, 320, 500, 500, 500 };
	struct retry_rule huge = { 4, UINT64_MAX, UINT64_MAX };

	(void)state;
	for (uint32_t n = 0; n < sizeof top / sizeof *top; n++) {
		assert_int_equal(retry_delay(&rule, n, 0), 0);
		assert_int_equal(retry_delay(&rule, n, top[n] * MS), top[n] * MS);
		assert_int_equal(retry_delay(&rule, n, top[n] * MS + 1), 0);
		for (uint64_t r = 1; r < 1000; r++)
			assert_true(retry_delay(&rule, n, r * UINT64_C(0x9e3779b97f4a7c15)) <= top[n] * MS);
	}
	assert_true(retry_delay(&rule, UINT32_MAX, UINT64_MAX) <= 500 * MS);
	assert_int_equal(retry_delay(&huge, 3, 77), 77);
}

static void test_classes(void **state)
{
	struct retry_case c = { RETRY_NOT_RUN, false, 1, START + 10 * SECOND };

	(void)state;
	assert_true(retry_may(&rule, &c, START)); /* any command */
	c.class_ = RETRY_UNKNOWN;
	assert_false(retry_may(&rule, &c, START));
	c.idempotent = true;
	assert_true(retry_may(&rule, &c, START));
	c.class_ = RETRY_RAN;
	assert_false(retry_may(&rule, &c, START));
	c.class_ = RETRY_NOT_RUN;
	c.attempts = 3;
	assert_true(retry_may(&rule, &c, START));
	c.attempts = 4;
	assert_false(retry_may(&rule, &c, START));
	c.attempts = 1;
	assert_true(retry_may(&rule, &c, c.deadline_ns - MS)); /* nothing is sent with less than 1 ms left */
	assert_false(retry_may(&rule, &c, c.deadline_ns - MS + 1));
	assert_false(retry_may(&rule, &c, c.deadline_ns + 1));
}

/* may: '+' may be sent again and was attempted, 'o' was never handed over, '-' may not. */
static void group(const char *may, uint32_t paid, const char *want)
{
	struct retry_group g = { 0 };
	char got[64] = "";

	for (uint32_t i = 0; may[i]; i++)
		retry_group_add(&g, may[i] != '-', may[i] == '+');
	retry_group_pay(&g, paid);
	for (uint32_t i = 0; may[i]; i++)
		got[i] = retry_group_again(&g, i, may[i] == '+') ? 'R' : '.';
	assert_string_equal(got, want);
}

static void test_group(void **state)
{
	(void)state;
	group("+", 9, "R");
	group("-", 9, ".");
	group("+++", 9, "RRR");
	group("-++", 9, ".RR");
	group("+-+", 9, "..R"); /* the first would come behind the second, which may have run */
	group("++-", 9, "...");
	group("-oo", 0, ".RR"); /* what was never handed over costs nothing */
	group("++++", 2, "..RR");
	group("+o+o", 1, ".RRR");
	group("+o+o", 0, "...R");
	group("-+o-+o+", 1, ".....RR");
	group("", 0, "");
}

static void test_budget(void **state)
{
	struct budget b = { 0 };

	(void)state;
	assert_int_equal(budget_left(&b, &standard, START), 30); /* the floor */
	assert_int_equal(budget_take(&b, &standard, 50, START), 30);
	assert_int_equal(budget_take(&b, &standard, 1, START), 0);
	budget_earn(&b, 95, START);
	assert_int_equal(budget_left(&b, &standard, START), 9);
	assert_int_equal(budget_take(&b, &standard, 4, START + 9 * SECOND), 4);
	/* what was earned and what was spent is forgotten after ten seconds */
	assert_int_equal(budget_left(&b, &standard, START + 10 * SECOND), 26);
	assert_int_equal(budget_left(&b, &standard, START + 19 * SECOND), 30);
	budget_earn(&b, UINT64_C(1) << 40, START + 20 * SECOND);
	assert_true(budget_left(&b, &standard, START + 20 * SECOND) > UINT64_C(109951162777));
}

/* The vector: nothing answers, 1000 requests a second for 10 s, each wants all its attempts. */
static void test_budget_bound(void **state)
{
	struct budget b = { 0 };
	uint64_t sent = 0;

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t now = START + i * MS;

		sent++;
		budget_earn(&b, 1, now);
		sent += budget_take(&b, &standard, rule.max_attempts - 1, now);
	}
	assert_true(sent > 10000);
	assert_true(sent <= 10000 + 1000 + 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delay), cmocka_unit_test(test_classes), cmocka_unit_test(test_group),
		cmocka_unit_test(test_budget), cmocka_unit_test(test_budget_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
