/* SPDX-License-Identifier: Apache-2.0 */
/* feature/record: what is written is read back, every shortened or altered line is refused, and when a record holds.
 * tests/lua has the same lines: C and Lua read and write the same. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "feature/record.h"

#define TOKEN "000102030405060708090a0b0c0d0e0f"
#define TEXT(s) ((struct record_text){ s, sizeof(s) - 1 })
/* sha1("hello") = aaf4c61ddcc5e8a2..., sha1("") = da39a3ee5e6b4b0d... */
#define HELLO "5.aaf4c61ddcc5e8a2"
#define EMPTY "0.da39a3ee5e6b4b0d"
#define FULL "1 " HELLO " 0123456789abcdef 1700000001000 1700000005000 1700000000000 120 4000 " TOKEN \
	" 1700000000900 1700000010900 1700000000777 4 7\ngone{\"a\":1}"
#define ABSENT "1 - - 0 0 0 0 0 - 0 0 0 0 0\n"

static void same(struct record_text t, const char *s)
{
	assert_int_equal(t.n, strlen(s));
	assert_memory_equal(t.p, s, t.n);
}

static void again(const char *line)
{
	struct record r;
	struct buf b = { 0 };

	assert_int_equal(record_parse(&r, line, strlen(line)), 0);
	record_put(&b, &r);
	assert_string_equal(buf_cstr(&b), line);
	buf_free(&b);
}

static void test_lines(void **state)
{
	struct record r;

	(void)state;
	assert_int_equal(record_parse(&r, FULL, strlen(FULL)), 0);
	same(r.check, HELLO);
	same(r.quick, "0123456789abcdef");
	assert_true(r.soft_ms == 1700000001000 && r.hard_ms == 1700000005000 && r.filled_ms == 1700000000000);
	assert_true(r.delta_ms == 120 && r.stale_ms == 4000);
	same(r.token, TOKEN);
	assert_true(r.won_ms == 1700000000900 && r.until_ms == 1700000010900 && r.neg_ms == 1700000000777);
	same(r.reason, "gone");
	same(r.meta, "{\"a\":1}");
	assert_true(record_leased(&r, 1700000010899));
	assert_false(record_leased(&r, 1700000010900));
	again(FULL);

	assert_int_equal(record_parse(&r, ABSENT, strlen(ABSENT)), 0);
	same(r.check, "-");
	assert_true(!r.quick.n && !r.token.n && !r.reason.n && !r.meta.n && !r.soft_ms);
	assert_false(record_leased(&r, 0));
	again(ABSENT);
	again("1 " EMPTY " - 0 0 1 0 0 - 0 0 0 0 0\n");
}

static void refused(const char *p, size_t n)
{
	struct record r;
	char *copy = malloc(n ? n : 1); /* exactly as long: what reads on is seen by ASan */

	assert_non_null(copy);
	memcpy(copy, p, n);
	if (record_parse(&r, copy, n) != -1)
		fail_msg("taken: %.*s", (int)n, p);
	free(copy);
}

static void test_refused(void **state)
{
	static const char *const wrong[] = {
		"", "\n", "1\n", "2 - - 0 0 0 0 0 - 0 0 0 0 0\n", "11 - - 0 0 0 0 0 - 0 0 0 0 0\n",
		"1  - 0 0 0 0 0 - 0 0 0 0 0\n", "1 - - 0 0 0 0 0 - 0 0 0 0 0 \n", "1 - - 0 0 0 0 0 - 0 0 0 0 0 0\n",
		"1 - - 0 0 0 0 0 - 0 0 0 0\n", "1 - - 00 0 0 0 0 - 0 0 0 0 0\n", "1 - - -1 0 0 0 0 - 0 0 0 0 0\n",
		"1 - - +1 0 0 0 0 - 0 0 0 0 0\n", "1 - - 1.5 0 0 0 0 - 0 0 0 0 0\n", "1 - - 1e3 0 0 0 0 - 0 0 0 0 0\n",
		"1 - - 1234567890123456 0 0 0 0 - 0 0 0 0 0\n", "1 - abc 0 0 0 0 0 - 0 0 0 0 0\n",
		"1 - 0123456789abcdeF 0 0 0 0 0 - 0 0 0 0 0\n", "1 - - 0 0 0 0 0 0001 0 0 0 0 0\n",
		"1 5.aaf4 - 0 0 0 0 0 - 0 0 0 0 0\n", "1 5aaf4c61ddcc5e8a2 - 0 0 0 0 0 - 0 0 0 0 0\n",
		"1 05.aaf4c61ddcc5e8a2 - 0 0 0 0 0 - 0 0 0 0 0\n", "1 .aaf4c61ddcc5e8a2 - 0 0 0 0 0 - 0 0 0 0 0\n",
		"1 - - 0 0 0 0 0 - 0 0 0 1 0\n", "1 - - 0 0 0 0 0 - 0 0 0 0 1\n", "1 - - 0 0 0 0 0 - 0 0 0 0 0\nx",
		"1 - - 0 0 0 0 0 - 0 0 0 257 0\n", "1\n- - 0 0 0 0 0 - 0 0 0 0 0\n",
		"1 - - 0 0 0 0 0 - 0 0 0 999999999999999 999999999999999\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		refused(wrong[i], strlen(wrong[i]));
	for (size_t n = 0; n < strlen(FULL); n++)
		refused(FULL, n);
}

/* Any byte altered: refused, or another record that is written as it was read. */
static void test_altered(void **state)
{
	char line[sizeof FULL];

	(void)state;
	for (size_t i = 0; i < strlen(FULL); i++)
		for (unsigned c = 1; c < 256; c++) {
			struct record r;
			struct buf b = { 0 };

			memcpy(line, FULL, sizeof FULL);
			line[i] = (char)c;
			if (record_parse(&r, line, strlen(line)))
				continue;
			record_put(&b, &r);
			assert_string_equal(buf_cstr(&b), line);
			buf_free(&b);
		}
}

static void test_check(void **state)
{
	char check[RECORD_CHECK_MAX], quick[RECORD_QUICK_LEN + 1], other[RECORD_QUICK_LEN + 1];

	(void)state;
	assert_int_equal(record_check(check, "hello", 5), 0);
	assert_string_equal(check, HELLO);
	assert_int_equal(record_check(check, "", 0), 0);
	assert_string_equal(check, EMPTY);
	assert_int_equal(record_check(check, NULL, 0), 0);
	assert_string_equal(check, "-");
	/* other agents compute it too: it may not change */
	record_quick(quick, "hello", 5);
	assert_string_equal(quick, "4d594a286902e310");
	record_quick(other, "hellp", 5);
	assert_string_not_equal(quick, other);
}

static struct record line(struct record_text check, struct record_text quick, int64_t hard)
{
	return (struct record){ .check = check, .quick = quick, .hard_ms = hard };
}

static void test_state(void **state)
{
	char quick[RECORD_QUICK_LEN + 1];
	struct record_text none = { 0 }, q = { quick, RECORD_QUICK_LEN };
	struct record r;

	(void)state;
	record_quick(quick, "hello", 5);
	r = line(TEXT("-"), none, 0);
	assert_int_equal(record_state(&r, NULL, 0, 5), RECORD_HOLDS);
	assert_int_equal(record_state(&r, "", 0, 5), RECORD_VOID); /* an empty value is one */
	r = line(TEXT(EMPTY), none, 0);
	assert_int_equal(record_state(&r, "", 0, 5), RECORD_HOLDS);
	assert_int_equal(record_state(&r, NULL, 0, 5), RECORD_VOID);
	r = line(TEXT(HELLO), none, 0);
	assert_int_equal(record_state(&r, "hello", 5, 5), RECORD_HOLDS);
	assert_int_equal(record_state(&r, "hellp", 5, 5), RECORD_VOID);
	assert_int_equal(record_state(&r, "hello!", 6, 5), RECORD_VOID);
	assert_int_equal(record_state(&r, "hello hello hel", 15, 5), RECORD_VOID); /* 15 begins with no 5 */
	r = line(TEXT(HELLO), q, 0);
	assert_int_equal(record_state(&r, "hello", 5, 5), RECORD_HOLDS);
	assert_int_equal(record_state(&r, "hellp", 5, 5), RECORD_VOID);
	/* gone when it was to go, or before */
	r = line(TEXT(HELLO), q, 1000);
	assert_int_equal(record_state(&r, NULL, 0, 999), RECORD_VOID);
	assert_int_equal(record_state(&r, NULL, 0, 1000), RECORD_EXPIRED);
	assert_int_equal(record_state(&r, "hello", 5, 1000), RECORD_HOLDS);
	assert_int_equal(record_state(&r, "hellp", 5, 1000), RECORD_VOID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_altered),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
