/* SPDX-License-Identifier: Apache-2.0 */
/* trace/context: the cases of the W3C conformance harness as tables. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "trace/context.h"

#define T "12345678901234567890123456789012"
#define P "1234567890123456"

static void test_parent(void **state)
{
	static const struct { const char *in; int ok; int flags; } rows[] = {
		{ "00-" T "-" P "-01", 1, 1 },
		{ "00-" T "-" P "-00", 1, 0 },
		{ "00-" T "-" P "-02", 1, 2 },
		{ "00-" T "-" P "-03", 1, 3 },
		{ "00-" T "-" P "-ff", 1, 3 }, /* bits that nobody knows are not passed on */
		{ " 00-" T "-" P "-01", 1, 1 },
		{ "\t00-" T "-" P "-01 \t", 1, 1 },
		{ "cc-" T "-" P "-01", 1, 1 },
		{ "cc-" T "-" P "-01-extra", 1, 1 },
		{ "cc-" T "-" P "-01.extra", 0, 0 },
		{ "00-" T "-" P "-01.", 0, 0 },
		{ "00-" T "-" P "-01-extra", 0, 0 },
		{ "ff-" T "-" P "-01", 0, 0 },
		{ ".0-" T "-" P "-01", 0, 0 },
		{ "0.-" T "-" P "-01", 0, 0 },
		{ "000-" T "-" P "-01", 0, 0 },
		{ "0-" T "-" P "-01", 0, 0 },
		{ "00-" "00000000000000000000000000000000" "-" P "-01", 0, 0 },
		{ "00-" T "-" "0000000000000000" "-01", 0, 0 },
		{ "00-" "1234567890123456789012345678901." "-" P "-01", 0, 0 },
		{ "00-" T "-" "123456789012345." "-01", 0, 0 },
		{ "00-" T "0-" P "-01", 0, 0 },
		{ "00-" "1234567890123456789012345678901" "-" P "-01", 0, 0 },
		{ "00-" T "-" P "0-01", 0, 0 },
		{ "00-" T "-" "123456789012345" "-01", 0, 0 },
		{ "00-" T "-" P "-.0", 0, 0 },
		{ "00-" T "-" P "-0.", 0, 0 },
		{ "00-" T "-" P "-001", 0, 0 },
		{ "00-" T "-" P "-1", 0, 0 },
		{ "00-" "ABCDEF78901234567890123456789012" "-" P "-01", 0, 0 },
		{ "00-" T "-" "ABCDEF7890123456" "-01", 0, 0 },
		{ "00-" T "-" P "-0A", 0, 0 },
		{ "00_" T "-" P "-01", 0, 0 },
		{ "00-" T "_" P "-01", 0, 0 },
		{ "00-" T "-" P "_01", 0, 0 },
		{ "", 0, 0 }, { "   ", 0, 0 }, { "00-", 0, 0 },
	};
	struct trace_parent p;
	char text[TRACE_PARENT_LEN + 1];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int rc = trace_parent_parse(rows[i].in, strlen(rows[i].in), &p);

		if ((rc == 0) != rows[i].ok || p.valid != (bool)rows[i].ok)
			fail_msg("row %zu: %s gave %d", i, rows[i].in, rc);
		if (!rows[i].ok)
			continue;
		assert_int_equal(p.flags, rows[i].flags);
		/* what is sent on is version 00 */
		trace_parent_format(text, p.trace_id, p.span_id, p.flags);
		assert_memory_equal(text, "00-" T "-" P "-0", 54);
		assert_int_equal(text[54], '0' + rows[i].flags);
		assert_int_equal(strlen(text), TRACE_PARENT_LEN);
	}
}

static size_t parse(char *dst, size_t n, const char *const *lines)
{
	purser_bytes b[64];

	for (size_t i = 0; i < n; i++) {
		b[i].p = (const uint8_t *)lines[i];
		b[i].n = strlen(lines[i]);
	}
	return trace_state_parse(b, n, dst);
}

static void test_state(void **state)
{
	static const struct { const char *in[3], *out; } rows[] = {
		{ { "foo=1" }, "foo=1" },
		{ { "foo=1,bar=2" }, "foo=1,bar=2" },
		{ { "foo=1", "bar=2" }, "foo=1,bar=2" },
		{ { "foo=1", "", "bar=2" }, "foo=1,bar=2" },
		{ { "", "foo=1" }, "foo=1" },
		{ { "" }, "" },
		{ { "foo=1 \t , \t bar=2, \t baz=3" }, "foo=1,bar=2,baz=3" },
		{ { "foo=1\t \t,\t \tbar=2,\t \tbaz=3" }, "foo=1,bar=2,baz=3" },
		{ { " foo=1" }, "foo=1" },
		{ { "\tfoo=1" }, "foo=1" },
		{ { "foo=1 " }, "foo=1" },
		{ { "foo=1,,bar=2," }, "foo=1,bar=2" },
		{ { "foo@=1,bar=2" }, "foo@=1,bar=2" },
		{ { "foo@@bar=1,bar=2" }, "foo@@bar=1,bar=2" },
		{ { "foo@bar@baz=1,bar=2" }, "foo@bar@baz=1,bar=2" },
		{ { "t@vvvvvvvvvvvvvvv=1" }, "t@vvvvvvvvvvvvvvv=1" },
		{ { "0foo=1" }, "0foo=1" },
		{ { "foo= x" }, "foo= x" },
		{ { "foo=1,foo=2" }, "foo=1" },
		{ { "foo=1", "foo=2,bar=3" }, "foo=1,bar=3" },
		{ { "@foo=1,bar=2" }, "" },
		{ { "FOO=1" }, "" },
		{ { "foo.bar=1" }, "" },
		{ { "foo =1" }, "" },
		{ { "foo=" }, "" },
		{ { "foo" }, "" },
		{ { "=1" }, "" },
		{ { "foo=bar=baz" }, "" },
		{ { "foo=\x7f" }, "" },
		{ { "foo=\xc3\xa4" }, "" },
		{ { "foo=1", "BAR=2" }, "" }, /* one bad member: all is dropped */
		{ { "foo=1;bar:2" }, "foo=1;bar:2" },
		{ { "foo=1;bar=2" }, "" },
	};
	char dst[TRACE_STATE_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t lines = rows[i].in[2] ? 3 : rows[i].in[1] ? 2 : 1;
		size_t n = parse(dst, lines, rows[i].in);

		dst[n] = '\0';
		if (strcmp(dst, rows[i].out) != 0)
			fail_msg("row %zu: got \"%s\", want \"%s\"", i, dst, rows[i].out);
	}
}

static void test_state_limits(void **state)
{
	char dst[TRACE_STATE_MAX + 1], in[4096], key[300], val[300];
	const char *one = in;
	size_t n;

	(void)state;
	memset(key, 'z', sizeof key);
	memset(val, 'v', sizeof val);
	n = (size_t)snprintf(in, sizeof in, "%.256s=1", key);
	assert_int_equal(parse(dst, 1, &one), n);
	snprintf(in, sizeof in, "%.257s=1", key);
	assert_int_equal(parse(dst, 1, &one), 0);
	n = (size_t)snprintf(in, sizeof in, "k=%.256s", val);
	assert_int_equal(parse(dst, 1, &one), n);
	snprintf(in, sizeof in, "k=%.257s", val);
	assert_int_equal(parse(dst, 1, &one), 0);
	/* 32 members are allowed, 33 are not, over one line or several */
	n = 0;
	for (int i = 0; i < 32; i++)
		n += (size_t)snprintf(in + n, sizeof in - n, "%sbar%02d=%02d", i ? "," : "", i, i);
	assert_int_equal(parse(dst, 1, &one), n);
	assert_memory_equal(dst, in, n);
	{
		const char *two[] = { in, "x=1" };

		assert_int_equal(parse(dst, 2, two), 0);
	}
	/* too long: first the members over 128 bytes go, then those at the end, never half a one */
	n = (size_t)snprintf(in, sizeof in, "a=1,b=%.200s,c=2,d=%.200s,e=%.120s,f=%.120s", val, val, val,
	    val);
	n = parse(dst, 1, &one);
	dst[n] = '\0';
	assert_non_null(strstr(dst, "b=vvv"));
	assert_null(strstr(dst, "d=vvv"));
	assert_non_null(strstr(dst, "f=vvv"));
	n = 0;
	for (int i = 0; i < 9; i++)
		n += (size_t)snprintf(in + n, sizeof in - n, "%sk%d=%.97s", i ? "," : "", i, val);
	n = parse(dst, 1, &one);
	assert_int_equal(n, 5 * 100 + 4);
	assert_memory_equal(dst, in, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parent),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_state_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
