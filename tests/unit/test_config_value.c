/* SPDX-License-Identifier: Apache-2.0 */
/* config/value: each type, what it reads, what it refuses, and in which words. */
#include <config.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config/value.h"

#define S INT64_C(1000000000)

struct good {
	enum value_type type;
	const char *text;
	int64_t num;
	double real;
};

static const struct good goods[] = {
	{ VALUE_TEXT, "", 0, 0 },
	{ VALUE_TEXT, "any thing; \xc3\xa4", 0, 0 },
	{ VALUE_INT, "0", 0, 0 },
	{ VALUE_INT, "-12", -12, -12 },
	{ VALUE_INT, "9223372036854775807", INT64_MAX, 9223372036854775807.0 },
	{ VALUE_BOOL, "yes", 1, 1 },
	{ VALUE_BOOL, "On", 1, 1 },
	{ VALUE_BOOL, "TRUE", 1, 1 },
	{ VALUE_BOOL, "no", 0, 0 },
	{ VALUE_BOOL, "off", 0, 0 },
	{ VALUE_BOOL, "false", 0, 0 },
	{ VALUE_DURATION, "0s", 0, 0 },
	{ VALUE_DURATION, "250ms", S / 4, 0.25 },
	{ VALUE_DURATION, "10s", 10 * S, 10 },
	{ VALUE_DURATION, "1.5s", 3 * S / 2, 1.5 },
	{ VALUE_DURATION, "0.0005ms", 500, 5e-7 },
	{ VALUE_DURATION, "2m", 120 * S, 120 },
	{ VALUE_DURATION, "1h", 3600 * S, 3600 },
	{ VALUE_DURATION, "0.30000000000000004s", 300000000, 0.3 },
	{ VALUE_SIZE, "0B", 0, 0 },
	{ VALUE_SIZE, "17B", 17, 17 },
	{ VALUE_SIZE, "64KiB", 65536, 65536 },
	{ VALUE_SIZE, "1.5MiB", 1572864, 1572864 },
	{ VALUE_SIZE, "8GiB", INT64_C(8) << 30, 8589934592.0 },
	{ VALUE_REAL, "0.01", 10000, 0.01 },
	{ VALUE_REAL, "1e-4", 100, 1e-4 },
	{ VALUE_REAL, "1", 1000000, 1 },
	{ VALUE_REAL, "-2.5", -2500000, -2.5 },
	{ VALUE_FRACTION, "80%", 800000, 0.8 },
	{ VALUE_FRACTION, "0.5%", 5000, 0.005 },
	{ VALUE_MODE, "0660", 0660, 0660 },
	{ VALUE_MODE, "777", 0777, 0777 },
	{ VALUE_PATH, "/run/x y", 0, 0 },
	{ VALUE_URL, "redis://user:p%20w@[::1]:6379/0", 0, 0 },
	{ VALUE_URL, "unix:///run/redis.sock", 0, 0 },
	{ VALUE_LISTEN, "127.0.0.1:9464", 9464, 9464 },
	{ VALUE_LISTEN, "127.9.9.9:1", 1, 1 },
	{ VALUE_LISTEN, "[::1]:65535", 65535, 65535 },
	{ VALUE_PAIRS, "", 0, 0 },
	{ VALUE_PAIRS, "a=b", 1, 1 },
	{ VALUE_PAIRS, " a = b , ,c=%2C%3d,d=", 3, 3 },
	{ VALUE_MAP, "kv:write=writer, CN=ops%2COU=x =operator", 2, 2 },
};

static void reads(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
		const struct good *g = &goods[i];
		struct value_rule rule = { .type = g->type };
		struct value v;
		char why[256];

		if (value_parse(&rule, g->text, &v, why, sizeof(why)) != 0)
			fail_msg("%s: %s", g->text, why);
		if (v.num != g->num || v.real < g->real - 1e-12 || v.real > g->real + 1e-12)
			fail_msg("%s: %" PRId64 " %.17g", g->text, v.num, v.real);
	}
}

struct bad {
	struct value_rule rule;
	const char *text, *why;
};

static const struct bad bads[] = {
	{ { VALUE_TEXT, 1, 3, NULL }, "abcd", "it has 4 bytes: write 1 to 3" },
	{ { VALUE_TEXT, 0, 0, NULL }, "a\nb", "there is a control character in it" },
	{ { VALUE_INT, 0, 0, NULL }, "", "a whole number is needed" },
	{ { VALUE_INT, 0, 0, NULL }, "12 ", "a whole number is needed" },
	{ { VALUE_INT, 0, 0, NULL }, " 12", "a whole number is needed" },
	{ { VALUE_INT, 0, 0, NULL }, "+1", "a whole number is needed" },
	{ { VALUE_INT, 0, 0, NULL }, "0x10", "a whole number is needed" },
	{ { VALUE_INT, 0, 0, NULL }, "1.5", "a whole number is needed" },
	{ { VALUE_INT, 0, 0, NULL }, "9223372036854775808", "the number is too large" },
	{ { VALUE_INT, 1, 256, "auto" }, "many", "a whole number or auto is needed" },
	{ { VALUE_INT, 1, 256, "auto" }, "0", "out of range: write 1 to 256" },
	{ { VALUE_INT, 1, 256, "auto" }, "257", "out of range: write 1 to 256" },
	{ { VALUE_BOOL, 0, 0, NULL }, "1", "write yes or no" },
	{ { VALUE_DURATION, 0, 0, NULL }, "10", "a unit is needed: write 10s (units are ms, s, m or h)" },
	{ { VALUE_DURATION, 0, 0, NULL }, "0", "a unit is needed: write 0s (units are ms, s, m or h)" },
	{ { VALUE_DURATION, 0, 0, NULL }, "1.5", "a unit is needed: write 1.5s (units are ms, s, m or h)" },
	{ { VALUE_DURATION, 0, 0, NULL }, "10sec", "write 10s (units are ms, s, m or h)" },
	{ { VALUE_DURATION, 0, 0, NULL }, "10 s", "write 10s (units are ms, s, m or h)" },
	{ { VALUE_DURATION, 0, 0, NULL }, "2Minutes", "write 2m (units are ms, s, m or h)" },
	{ { VALUE_DURATION, 0, 0, NULL }, "10us", "\"us\" is no unit: units are ms, s, m or h" },
	{ { VALUE_DURATION, 0, 0, NULL }, "1m30s", "\"m30s\" is no unit: units are ms, s, m or h" },
	{ { VALUE_DURATION, 0, 0, NULL }, "-5s", "a duration is needed: write it as 10s" },
	{ { VALUE_DURATION, 0, 0, NULL }, "soon", "a duration is needed: write it as 10s" },
	{ { VALUE_DURATION, 0, 0, NULL }, "9999999999h", "the number is too large" },
	{ { VALUE_DURATION, 0, 0, NULL }, "99999999999999999999s", "the number is too large" },
	{ { VALUE_DURATION, S, 60 * S, NULL }, "999ms", "out of range: write 1s to 1m" },
	{ { VALUE_DURATION, 0, 1500000, NULL }, "1h", "out of range: write 0s to 1.5ms" },
	{ { VALUE_SIZE, 0, 0, NULL }, "100", "a unit is needed: write 100MiB (units are B, KiB, MiB or GiB)" },
	{ { VALUE_SIZE, 0, 0, NULL }, "100MB", "write 100MiB (units are B, KiB, MiB or GiB)" },
	{ { VALUE_SIZE, 0, 0, NULL }, "64k", "write 64KiB (units are B, KiB, MiB or GiB)" },
	{ { VALUE_SIZE, 0, 0, NULL }, "1 GiB", "write 1GiB (units are B, KiB, MiB or GiB)" },
	{ { VALUE_SIZE, 0, 0, NULL }, "1TiB", "\"TiB\" is no unit: units are B, KiB, MiB or GiB" },
	{ { VALUE_SIZE, 0, 0, NULL }, "lots", "a size is needed: write it as 64MiB" },
	{ { VALUE_SIZE, 1024, 1 << 20, NULL }, "2MiB", "out of range: write 1KiB to 1MiB" },
	{ { VALUE_ENUM, 0, 0, "a|bc|d" }, "b", "write a, bc or d" },
	{ { VALUE_ENUM, 0, 0, "only" }, "b", "write only" },
	{ { VALUE_ENUM, 0, 0, "on|off" }, "ON", "write on or off" },
	{ { VALUE_PATH, 0, 0, NULL }, "run/x", "write the whole path, beginning with /" },
	{ { VALUE_PATH, 0, 0, NULL }, "~/x", "~ is not expanded: write the whole path" },
	{ { VALUE_URL, 0, 0, NULL }, "localhost:6379", "write a URL as scheme://host:port/path" },
	{ { VALUE_URL, 0, 0, NULL }, "redis://", "write a URL as scheme://host:port/path" },
	{ { VALUE_URL, 0, 0, NULL }, "://x", "write a URL as scheme://host:port/path" },
	{ { VALUE_URL, 0, 0, NULL }, "redis://a b", "a URL has no blanks or quotes: write %20 and the like" },
	{ { VALUE_URL, 0, 0, "http|https" }, "grpc://x", "grpc:// is not served here: write one of http|https, then ://" },
	{ { VALUE_REAL, 0, 1000000, NULL }, "1.5", "out of range: write 0 to 1" },
	{ { VALUE_REAL, 0, 1000000, NULL }, "-1e-9", "out of range: write 0 to 1" },
	{ { VALUE_REAL, 0, 0, NULL }, "nan", "a decimal number is needed: write it as 0.01" },
	{ { VALUE_REAL, 0, 0, NULL }, "inf", "a decimal number is needed: write it as 0.01" },
	{ { VALUE_REAL, 0, 0, NULL }, "0x1p3", "a decimal number is needed: write it as 0.01" },
	{ { VALUE_REAL, 0, 0, NULL }, "", "a decimal number is needed: write it as 0.01" },
	{ { VALUE_REAL, 0, 0, NULL }, "1e99", "the number is too large" },
	{ { VALUE_FRACTION, 0, 1000000, NULL }, "0.8", "a percentage is needed: write it as 80%" },
	{ { VALUE_FRACTION, 0, 1000000, NULL }, "80", "a percentage is needed: write it as 80%" },
	{ { VALUE_FRACTION, 10000, 1000000, NULL }, "101%", "out of range: write 1% to 100%" },
	{ { VALUE_MODE, 0, 0777, NULL }, "66", "a file mode is needed: write it as 0660" },
	{ { VALUE_MODE, 0, 0777, NULL }, "0880", "a file mode is needed: write it as 0660" },
	{ { VALUE_MODE, 0, 0777, NULL }, "rw-rw----", "a file mode is needed: write it as 0660" },
	{ { VALUE_MODE, 0, 0777, NULL }, "4755", "out of range: write 0000 to 0777" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "9464", "write an address and a port, as 127.0.0.1:9464" },
	{ { VALUE_LISTEN, 0, 0, NULL }, ":9464", "write an address and a port, as 127.0.0.1:9464" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "localhost:9464", "write an address and a port, as 127.0.0.1:9464" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "127.0.0.1:0", "a port is 1 to 65535" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "127.0.0.1:65536", "a port is 1 to 65535" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "127.0.0.1:-1", "write an address and a port, as 127.0.0.1:9464" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "::1:9464", "write an address and a port, as 127.0.0.1:9464" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "[::1:9464", "write an address and a port, as 127.0.0.1:9464" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "[x]:9464", "write an address and a port, as [::1]:9464" },
	{ { VALUE_LISTEN, 0, 0, NULL }, "0.0.0.0:9464", "TCP shows no caller's identity, so only loopback is served: write 127.0.0.1:9464 and put a proxy in front" },
	{ { VALUE_PAIRS, 0, 0, NULL }, "a", "item 1 is not well-formed: write name=value,name2=value2 and %2C for a comma" },
	{ { VALUE_PAIRS, 0, 0, NULL }, "a=b,=c", "item 2 is not well-formed: write name=value,name2=value2 and %2C for a comma" },
	{ { VALUE_PAIRS, 0, 0, NULL }, "a=%4", "item 1 is not well-formed: write name=value,name2=value2 and %2C for a comma" },
	{ { VALUE_PAIRS, 0, 0, NULL }, "a=%zz", "item 1 is not well-formed: write name=value,name2=value2 and %2C for a comma" },
	{ { VALUE_PAIRS, 0, 0, NULL }, "a=%0d%0aevil: 1", "item 1 is not well-formed: write name=value,name2=value2 and %2C for a comma" },
	{ { VALUE_MAP, 0, 0, NULL }, "a b=c,=d", "item 2 is not well-formed: write name=value,name2=value2 and %2C for a comma" },
	{ { VALUE_MAP, 0, 0, NULL }, "a%4=c", "item 1 is not well-formed: write name=value,name2=value2 and %2C for a comma" },
	{ { VALUE_PAIRS, 0, 0, NULL }, "a b=c", "item 1 is not well-formed: write name=value,name2=value2 and %2C for a comma" },
	{ { (enum value_type)0, 0, 0, NULL }, "x", "the key has a type that this version does not know" },
};

static void refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		const struct bad *b = &bads[i];
		struct value v;
		char why[256] = "";

		if (value_parse(&b->rule, b->text, &v, why, sizeof(why)) == 0)
			fail_msg("\"%s\" was taken as %" PRId64, b->text, v.num);
		if (strcmp(why, b->why) != 0)
			fail_msg("\"%s\": said \"%s\"", b->text, why);
	}
}

static void text_too_long(void **state)
{
	struct value_rule rule = { .type = VALUE_PAIRS };
	char *text = malloc(5000), why[64];
	struct value v;

	(void)state;
	memset(text, 'a', 4999);
	text[1] = '=';
	text[4999] = '\0';
	assert_int_equal(value_parse(&rule, text, &v, why, sizeof(why)), -1);
	assert_string_equal(why, "longer than 4095 bytes");
	text[4095] = '\0';
	assert_int_equal(value_parse(&rule, text, &v, why, sizeof(why)), 0);
	free(text);
}

/* What value_format writes, value_parse reads back as the same. */
static void formats(void **state)
{
	static const struct { enum value_type type; int64_t num; const char *text; } rows[] = {
		{ VALUE_DURATION, 0, "0s" }, { VALUE_DURATION, 3600 * S, "1h" }, { VALUE_DURATION, 90 * S, "90s" },
		{ VALUE_DURATION, 1000000, "1ms" }, { VALUE_DURATION, 1500000, "1.5ms" },
		{ VALUE_SIZE, 0, "0B" }, { VALUE_SIZE, 1, "1B" }, { VALUE_SIZE, 1536, "1536B" },
		{ VALUE_SIZE, 2 << 20, "2MiB" }, { VALUE_FRACTION, 755000, "75.5%" }, { VALUE_FRACTION, 0, "0%" },
		{ VALUE_MODE, 0660, "0660" }, { VALUE_BOOL, 1, "yes" }, { VALUE_INT, -3, "-3" },
		{ VALUE_REAL, 10000, "0.01" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct value_rule rule = { .type = rows[i].type };
		char text[64], why[64];
		struct value v;

		value_format(rows[i].type, rows[i].num, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
		assert_int_equal(value_parse(&rule, text, &v, why, sizeof(why)), 0);
		assert_int_equal(v.num, rows[i].num);
	}
}

static void pairs(void **state)
{
	const char *text = " a=1 ,, b.c = x%20y%2c%25 ,d=", *name, *value;
	char buf[64];

	(void)state;
	assert_int_equal(value_pair(VALUE_PAIRS, text, 0, buf, sizeof(buf), &name, &value), 1);
	assert_string_equal(name, "a");
	assert_string_equal(value, "1");
	assert_int_equal(value_pair(VALUE_PAIRS, text, 1, buf, sizeof(buf), &name, &value), 1);
	assert_string_equal(name, "b.c");
	assert_string_equal(value, "x y,%");
	assert_int_equal(value_pair(VALUE_PAIRS, text, 2, buf, sizeof(buf), &name, &value), 1);
	assert_string_equal(name, "d");
	assert_string_equal(value, "");
	assert_int_equal(value_pair(VALUE_PAIRS, text, 3, buf, sizeof(buf), &name, &value), 0);
	assert_int_equal(value_pair(VALUE_PAIRS, "abc=def", 0, buf, 8, &name, &value), 1);
	assert_int_equal(value_pair(VALUE_PAIRS, "abc=def", 0, buf, 7, &name, &value), -1);
	assert_int_equal(value_pair(VALUE_PAIRS, "abc=def", 0, buf, 4, &name, &value), -1);
	text = "kv:write = writer,CN=ops%2COU=x=admin";
	assert_int_equal(value_pair(VALUE_MAP, text, 0, buf, sizeof(buf), &name, &value), 1);
	assert_string_equal(name, "kv:write");
	assert_string_equal(value, "writer");
	assert_int_equal(value_pair(VALUE_MAP, text, 1, buf, sizeof(buf), &name, &value), 1);
	assert_string_equal(name, "CN=ops,OU=x");
	assert_string_equal(value, "admin");
}

static void nearest(void **state)
{
	static const char *const words[] = { "interval", "max_age", "timeout", "level", "log", "socket" };
	static const struct { const char *word, *near; } rows[] = {
		{ "intervall", "interval" }, { "intreval", "interval" }, { "Timeout", "timeout" },
		{ "timeuot", "timeout" }, { "maxage", "max_age" }, { "lgo", "log" }, { "lox", "log" },
		{ "foo", NULL }, { "", NULL }, { "completely_else", NULL }, { "socketpath", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *near = value_nearest(rows[i].word, words, sizeof(words) / sizeof(*words));

		if ((near == NULL) != (rows[i].near == NULL) ||
			(near != NULL && strcmp(near, rows[i].near) != 0))
			fail_msg("%s: %s", rows[i].word, near != NULL ? near : "nothing");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(refuses),
		cmocka_unit_test(text_too_long),
		cmocka_unit_test(formats),
		cmocka_unit_test(pairs),
		cmocka_unit_test(nearest),
	};

	return cmocka_run_group_tests_name("config/value", tests, NULL, NULL);
}
