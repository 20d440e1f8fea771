/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON bodies to commands: what is taken, and what is refused at which place.
 */
#include <config.h>

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "resp/json_in.h"

static const struct json_limits limits = { 3, 4 };

/* "GET|k;GET|j" ("pipeline:" in front of one), or "!why". */
static void run(bool kv, const char *text, size_t n, struct buf *out)
{
	struct json_cmds c = { 0 };
	struct json_bad bad;
	bool pipeline = false;
	char *copy = malloc(n ? n : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, text, n);
	rc = kv ? json_in_kv(&c, copy, n, &bad) : json_in_commands(&c, copy, n, &limits, &pipeline, &bad);
	free(copy);
	if (rc) {
		assert_int_equal(rc, -1);
		assert_false(bad.nomem);
		buf_printf(out, "!%s%s", bad.big ? "big " : "", bad.text);
	} else {
		if (pipeline)
			buf_puts(out, "pipeline:");
		for (uint32_t i = 0; i < c.ncmds; i++) {
			uint32_t argc;
			const purser_bytes *argv = json_cmds_argv(&c, i, &argc);

			for (uint32_t k = 0; k < argc; k++) {
				buf_puts(out, k ? "|" : i ? ";" : "");
				buf_put(out, argv[k].p, argv[k].n);
			}
		}
	}
	buf_putc(out, '\0');
	json_cmds_free(&c);
}

struct row {
	const char *text;
	size_t n;
	const char *want;
	size_t want_n;
};
#define ROW(text, want) { text, sizeof(text) - 1, want, sizeof(want) - 1 }

static void check(bool kv, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct buf got = { 0 };

		run(kv, rows[i].text, rows[i].n, &got);
		assert_false(got.failed);
		if (buf_len(&got) < rows[i].want_n || memcmp(buf_data(&got), rows[i].want, rows[i].want_n) != 0 ||
		    (rows[i].want[0] != '!' && buf_len(&got) != rows[i].want_n + 1))
			fail_msg("%s: want %s, got %s", rows[i].text, rows[i].want, buf_cstr(&got));
		buf_free(&got);
	}
}
#define CHECK(kv, rows) check(kv, rows, sizeof rows / sizeof *rows)

static void commands(void **state)
{
	static const struct row rows[] = {
		ROW("[\"GET\",\"k\"]", "GET|k"),
		ROW(" [ \"SET\" , \"k\" ,\t1.10 ,\r\n true ] \n", "SET|k|1.10|true"),
		ROW("[\"a\",1e3,-0,12345678901234567890123]", "a|1e3|-0|12345678901234567890123"),
		ROW("[\"\",\"\",false]", "||false"),
		ROW("[\"\\u0000\\u00e9\\ud83d\\ude00\\n\\\"\\\\\\/\"]", "\0\xc3\xa9\xf0\x9f\x98\x80\n\"\\/"),
		ROW("[\"\xc3\xa9\",{\"base64\":\"AP8=\"}]", "\xc3\xa9|\0\xff"),
		ROW("[\"a\",{\"base64\":\"\"},{ \"value\" : \"AP8=\" , \"encoding\":\"base64\"},\"b\"]", "a||\0\xff|b"),
		ROW("[[\"GET\",\"a]\\\"\"],[\"GET\",\"b\"]]", "pipeline:GET|a]\";GET|b"),
		ROW("[[\"PING\"]]", "pipeline:PING"),
		ROW("[[\"a\",1,2,3],[\"b\"],[\"c\",{\"base64\":\"eA==\"}]]", "pipeline:a|1|2|3;b;c|x"),
	};

	(void)state;
	CHECK(false, rows);
}

static void refused_commands(void **state)
{
	static const struct row rows[] = {
		ROW("", "!line 1, column 1: the body is an array"),
		ROW("[", "!line 1, column 2: a value is expected"),
		ROW("\"PING\"", "!line 1, column 1: the body is an array"),
		ROW("{}", "!line 1, column 1: the body is an array"),
		ROW("[]", "!line 1, column 1: a command needs its name"),
		ROW("[\"a\"] x", "!line 1, column 7: nothing may follow"),
		ROW("[\"a\",]", "!line 1, column 6: a value is expected"),
		ROW("[,\"a\"]", "!line 1, column 2: a value is expected"),
		ROW("[\"a\" \"b\"]", "!line 1, column 6: ',' or ']' is expected"),
		ROW("[\"a\"", "!line 1, column 5: ',' or ']' is expected"),
		ROW("[\"a\",01]", "!line 1, column 7: ',' or ']'"), ROW("[\"a\",'b']", "!line 1, column 6: a value"),
		ROW("[\"a\",1.]", "!line 1, column 6: a value"), ROW("[\"a\",-]", "!line 1, column 6: a value"),
		ROW("[\"a\",.5]", "!line 1, column 6: a value"), ROW("[\"a\",1e]", "!line 1, column 6: a value"),
		ROW("[\"a\",+1]", "!line 1, column 6: a value"), ROW("[\"a\",0x1]", "!line 1, column 7: ',' or"),
		ROW("[\"a\",NaN]", "!line 1, column 6: a value"), ROW("[\"a\",True]", "!line 1, column 6: a value"),
		ROW("[\"a\",trueish]", "!line 1, column 10: ',' or"), ROW("[\"a\",tru", "!line 1, column 6: a value"),
		ROW("\xef\xbb\xbf[\"a\"]", "!line 1, column 1: the body is an array"),
		ROW("[\"\xff\"]", "!line 1, column 3: a string is not UTF-8"),
		ROW("[\"\xc0\x80\"]", "!line 1, column 3: a string is not UTF-8"),
		ROW("[\"\xe2\x82\"]", "!line 1, column 3: a string is not UTF-8"),
		ROW("[\"\\ud800\"]", "!line 1, column 3: the escape is wrong"),
		ROW("[\"\\ud800\\u0041\"]", "!line 1, column 3: the escape is wrong"),
		ROW("[\"\\udc00\"]", "!line 1, column 3: the escape is wrong"),
		ROW("[\"\\u12g4\"]", "!line 1, column 3: the escape is wrong"),
		ROW("[\"\\u12", "!line 1, column 3: the escape is wrong"),
		ROW("[\"a\nb\"]", "!line 1, column 4: a string has a control byte"),
		ROW("[\"a\\x\"]", "!line 1, column 4: the escape is wrong"),
		ROW("[\"a", "!line 1, column 2: the string has no end"),
		ROW("[\"a\\", "!line 1, column 4: the escape is wrong"),
		ROW("[\"a\\\"", "!line 1, column 2: the string has no end"),
		ROW("[\"a\"]\0", "!line 1, column 6: nothing may follow"),
		ROW("[\"a\",\n null]", "!line 2, column 2: null cannot be an argument"),
		ROW("[\"\xc3\xa9\",[]]", "!line 1, column 6: an array cannot be an argument"),
		ROW("[\"a\",{}]", "!line 1, column 6: an object here must be {\"base64\""),
		ROW("[\"a\",{\"base64\":1}]", "!line 1, column 6: an object here must be"),
		ROW("[\"a\",{\"base64\":\"eA==\",\"x\":1}]", "!line 1, column 6: an object here must be"),
		ROW("[\"a\",{\"encoding\":\"utf-8\",\"value\":\"x\"}]", "!line 1, column 6: an object here must be"),
		ROW("[\"a\",{\"encoding\":\"base64\"}]", "!line 1, column 6: an object here must be"),
		ROW("[\"a\",{\"base64\":\"eA=\"}]", "!line 1, column 16: the text is no base64"),
		ROW("[\"a\",{\"base64\":\"eA==\",\"base64\":\"eA==\"}]", "!line 1, column 6: an object here must be"),
		ROW("[[\"GET\"],\"x\"]", "!line 1, column 10: a pipeline is an array of arrays"),
		ROW("[\"GET\",[\"x\"]]", "!line 1, column 8: an array cannot be an argument"),
		ROW("[[\"GET\"],\n[]]", "!line 2, column 1: a command needs its name"),
		ROW("[[]]", "!line 1, column 2: a command needs its name"),
		ROW("[1,2,3,4,5]", "!big line 1, column 1: the command has more than 4 arguments"),
		ROW("[\"a\",{\"base64\":\"eA==\" \"x\"}]", "!line 1, column 23: ',' or '}'"),
		ROW("[\"a\",{base64:\"eA==\"}]", "!line 1, column 7: a name in quotes"),
		ROW("[\"a\",{\"base64\" \"eA==\"}]", "!line 1, column 16: ':' is expected"),
		ROW("[\"a\",{\"value\":\"eA==\"}]", "!line 1, column 6: an object here must be"),
		ROW("[\"a\",{\"encoding\":\"base64\",\"base64\":\"eA==\"}]", "!line 1, column 6: an object here must be"),
		ROW("[\"a\",{\"base64\\u0000\":\"eA==\"}]", "!line 1, column 6: an object here must be"),
		ROW("[[\"a\"],[\"a\"],[\"a\"],[\"a\"]]", "!big line 1, column 1: the pipeline has more than 3 commands"),
		ROW("[[\"a\"],[\"a\",1,2,3,4]]", "!big line 1, column 8: the command has more than 4 arguments"),
	};

	(void)state;
	CHECK(false, rows);
}

static void entries(void **state)
{
	static const struct row rows[] = {
		ROW("{\"key\":\"k\",\"value\":\"v\"}", "SET|k|v"),
		ROW("{ \"value\" : \"v\" , \"key\" : \"k\" }", "SET|k|v"),
		ROW("{\"key\":\"\",\"value\":\"\"}", "SET||"),
		ROW("{\"key\":\"k\",\"value\":\"v\",\"expire\":60}", "SET|k|v|EX|60"),
		ROW("{\"expire_ms\":1500,\"key\":\"k\",\"value\":\"v\"}", "SET|k|v|PX|1500"),
		ROW("{\"key\":\"k\",\"value\":\"v\",\"expire\":null}", "SET|k|v"),
		/* What is not a string is kept as its text without blanks: nothing is rounded or reordered. */
		ROW("{\"key\":\"k\",\"value\": { \"b\" : [ 1.10 , 1e400e , 2 ] } }", "!line 1, column 43: ',' or ']'"),
		ROW("{\"key\":\"k\",\"value\": { \"b\" : [ 1.10 , 12345678901234567890 ],\n \"a\" :\t\" x \\\" y \" } }",
		    "SET|k|{\"b\":[1.10,12345678901234567890],\"a\":\" x \\\" y \"}"),
		/* a short text has room for it whatever comes first */
		ROW("{\"value\":\"a value\",\"key\":\"a long key, long as they come\"}",
		    "SET|a long key, long as they come|a value"),
		ROW("{\"key\":\"k\",\"value\":null}", "SET|k|null"), ROW("{\"key\":\"k\",\"value\":true}", "SET|k|true"),
		ROW("{\"key\":\"k\",\"value\": 1.0 }", "SET|k|1.0"), ROW("{\"key\":\"k\",\"value\":[ ]}", "SET|k|[]"),
		ROW("{\"key\":\"k\",\"value\":{\"base64\":\"eA==\"}}", "SET|k|{\"base64\":\"eA==\"}"),
		/* bytes */
		ROW("{\"key\":{\"base64\":\"AP8=\"},\"value\":\"AP8=\",\"encoding\":\"base64\"}", "SET|\0\xff|\0\xff"),
		ROW("{\"key\":{\"encoding\":\"base64\",\"value\":\"eA==\"},\"value\":\"\\u0000\"}", "SET|x|\0"),
		ROW("{\"\\u006bey\":\"k\",\"value\":\"v\"}", "SET|k|v"),
	};

	(void)state;
	CHECK(true, rows);
}

static void refused_entries(void **state)
{
	static const struct row rows[] = {
		ROW("[]", "!line 1, column 1: the body is an object"),
		ROW("{\"value\":1}", "!line 1, column 1: \"key\" is missing"),
		ROW(" {\"key\":\"k\"}", "!line 1, column 2: \"value\" is missing"),
		ROW("{\"key\":1,\"value\":1}", "!line 1, column 8: the key is a string"),
		ROW("{\"key\":[\"k\"],\"value\":1}", "!line 1, column 8: the key is a string"),
		ROW("{\"key\":{\"base64\":\"?\"},\"value\":1}", "!line 1, column 18: the text is no base64"),
		ROW("{\"key\":\"k\",\"key\":\"k\",\"value\":1}", "!line 1, column 12: \"key\" is given twice"),
		ROW("{\"key\":\"k\",\n  \"ttl\":1,\"value\":1}", "!line 2, column 3: unknown member"),
		ROW("{\"key\":\"k\",\"value\":1,\"expire\":1,\"expire_ms\":1}", "!line 1, column 33: \"expire\" and"),
		ROW("{\"key\":\"k\",\"value\":1,\"expire\":0}", "!line 1, column 31: the time to live must be at least 1"),
		ROW("{\"key\":\"k\",\"value\":1,\"expire\":-5}", "!line 1, column 31: the time to live must be"),
		ROW("{\"key\":\"k\",\"value\":1,\"expire\":1.5}", "!line 1, column 31: the time to live is a whole"),
		ROW("{\"key\":\"k\",\"value\":1,\"expire\":1e3}", "!line 1, column 31: the time to live is a whole"),
		ROW("{\"key\":\"k\",\"value\":1,\"expire\":9223372036854775808}", "!line 1, column 31: the time to live"),
		ROW("{\"key\":\"k\",\"value\":1,\"expire\":\"60\"}", "!line 1, column 31: the time to live is a number"),
		ROW("{\"key\":\"k\",\"value\":1,\"encoding\":\"base64\"}", "!line 1, column 20: a base64 value is a string"),
		ROW("{\"key\":\"k\",\"value\":\"x\",\"encoding\":\"utf-8\"}", "!line 1, column 35: the only encoding"),
		ROW("{\"key\":\"k\",\"value\":\"x\",\"encoding\":\"base64\"}", "!line 1, column 20: the text is no base64"),
	};

	(void)state;
	CHECK(true, rows);
}

/* The list keeps its promises when it is used again, and when there is more than was announced. */
static void the_list(void **state)
{
	struct json_cmds c = { 0 };
	uint32_t argc;

	(void)state;
	for (int round = 0; round < 3; round++) {
		json_cmds_begin(&c, 1000);
		for (int i = 0; i < 100; i++) {
			json_cmds_arg(&c, "0123456789", 10);
			if (i % 10 == 9)
				json_cmds_end(&c);
		}
		assert_false(c.failed);
		assert_int_equal(c.ncmds, 10);
		assert_memory_equal(json_cmds_argv(&c, 9, &argc)[9].p, "0123456789", 10);
		assert_int_equal(argc, 10);
		json_cmds_arg(&c, "x", 1);
		assert_true(c.failed);
		json_cmds_end(&c);
		assert_int_equal(c.ncmds, 10);
	}
	json_cmds_begin(&c, 0);
	json_cmds_arg(&c, "", 0);
	json_cmds_end(&c);
	assert_false(c.failed);
	assert_int_equal(c.ncmds, 1);
	json_cmds_free(&c);
}

/* A body as large as they come, of the smallest parts. */
static void many_small_parts(void **state)
{
	static const struct json_limits wide = { 1u << 20, 1u << 20 };
	size_t n = 600000;
	char *text = malloc(n + 1);
	struct json_cmds c = { 0 };
	struct json_bad bad;
	bool pipeline;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		text[i] = i % 2 ? '1' : ',';
	text[0] = '[';
	text[n] = ']';
	assert_int_equal(json_in_commands(&c, text, n + 1, &wide, &pipeline, &bad), 0);
	assert_int_equal(c.nargv, n / 2);
	memcpy(text, "{\"value\":", 9);
	memset(text + 9, '[', n - 9);
	assert_int_equal(json_in_kv(&c, text, n, &bad), -1);
	assert_string_equal(bad.text, "line 1, column 266: the text is nested too deeply");
	json_cmds_free(&c);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands),
		cmocka_unit_test(refused_commands),
		cmocka_unit_test(entries),
		cmocka_unit_test(refused_entries),
		cmocka_unit_test(the_list),
		cmocka_unit_test(many_small_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
