/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking ahead goes on where batches are faster with it, and stops where they are not.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "server/look.h"

static struct look look;
static uint64_t now, commands, timed, looked;

/* One batch of n requests, of which each takes so many nanoseconds. */
static void batch(uint64_t n, uint64_t with, uint64_t without)
{
	bool t = look_is_timed(&look), pays;

	if (t)
		look_time(&look, now, commands);
	pays = look_pays(&look);
	timed += t;
	looked += pays;
	now += n * (pays ? with : without);
	commands += n;
	if (t)
		look_end(&look, now, commands);
}

static void batches(unsigned n, uint64_t size, uint64_t with, uint64_t without)
{
	timed = looked = 0;
	for (unsigned i = 0; i < n; i++)
		batch(size, with, without);
}

#define ROUND (2 * LOOK_PAIRS * LOOK_TIMED_OF) /* batches until it is decided once */

static int fresh(void **state)
{
	(void)state;
	memset(&look, 0, sizeof look);
	now = commands = 1000;
	return 0;
}

static void test_stays(void **state)
{
	(void)state;
	batches(3 * ROUND, 16, 300, 400);
	assert_false(look.off);
	assert_int_equal(timed, 3 * ROUND / LOOK_TIMED_OF);
	assert_int_equal(looked, 3 * ROUND - timed / 2); /* all but those timed without */
}

static void test_stops_and_begins_again(void **state)
{
	(void)state;
	batches(ROUND, 16, 330, 300);
	assert_true(look.off);
	batches(ROUND, 16, 330, 300);
	assert_int_equal(looked, timed / 2);
	batches(ROUND, 16, 300, 330); /* the caches have gone cold */
	assert_false(look.off);
}

/* What makes no difference changes nothing, neither way. */
static void test_no_difference(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUND; i++)
		batch(16, 300 + i / LOOK_TIMED_OF / 2 % 2, 300 + (i / LOOK_TIMED_OF / 2 + 1) % 2);
	assert_false(look.off);
	look.off = true;
	for (unsigned i = 0; i < ROUND; i++)
		batch(16, 300 + i / LOOK_TIMED_OF / 2 % 2, 300 + (i / LOOK_TIMED_OF / 2 + 1) % 2);
	assert_true(look.off);
}

/* Small batches tell nothing; a clock that stands still neither. */
static void test_not_counted(void **state)
{
	(void)state;
	batches(4 * ROUND, LOOK_LEAST - 1, 900, 300);
	batches(4 * ROUND, 16, 0, 0);
	assert_int_equal(look.pairs, 0);
	assert_false(look.off);
	assert_false(look.timing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_stays, fresh),
		cmocka_unit_test_setup(test_stops_and_begins_again, fresh),
		cmocka_unit_test_setup(test_no_difference, fresh),
		cmocka_unit_test_setup(test_not_counted, fresh),
	};

	return cmocka_run_group_tests_name("server_look", tests, NULL, NULL);
}
