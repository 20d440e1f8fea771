/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "access/attempts.h"

#define S UINT64_C(1000000000)

static void counted_and_forgotten(void **state)
{
	struct attempts t;

	(void)state;
	attempts_init(&t);
	for (uint32_t i = 1; i <= 5; i++)
		assert_int_equal(attempts_failed(&t, 1000, 7 * S), i);
	assert_int_equal(attempts_failed(&t, 1001, 7 * S), 1);
	assert_int_equal(attempts_failed(&t, 1000, 16 * S), 6);
	assert_int_equal(attempts_failed(&t, 1000, 17 * S), 6); /* one is forgotten */
	assert_int_equal(attempts_failed(&t, 1000, 46 * S), 5); /* two more: 27 and 37 */
	assert_int_equal(attempts_failed(&t, 1000, 1000 * S), 1);
	assert_int_equal(attempts_failed(&t, 1000, 3 * S), 2);  /* a clock that goes back forgets nothing */
	attempts_end(&t);
}

static void bounded(void **state)
{
	struct attempts t;
	uint32_t n;

	(void)state;
	attempts_init(&t);
	for (uint32_t i = 0; i < 2 * ATTEMPTS_MAX; i++)
		n = attempts_failed(&t, UINT32_MAX, S);
	assert_int_equal(n, ATTEMPTS_MAX);
	for (uint64_t owner = 0; owner < 5000; owner++) { /* many users of one failure each push nobody out who has failed often */
		n = attempts_failed(&t, owner, S);
		assert_in_range(n, 1, 5000 / 64);
	}
	assert_int_equal(attempts_failed(&t, UINT32_MAX, S), ATTEMPTS_MAX);
	attempts_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(counted_and_forgotten), cmocka_unit_test(bounded) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
