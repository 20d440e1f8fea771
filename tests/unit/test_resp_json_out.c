/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESP values to JSON: each row whole, byte by byte and cut in two at every place; what is refused; and
 * random values, whose JSON jansson must accept.
 */
#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <jansson.h>

#include "resp/json_out.h"
#include "resp/json_text.h"

enum { HOLD = 16 };           /* strings above are not checked */

static uint64_t rnd_state;

static uint64_t rnd(void)
{
	uint64_t z = rnd_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Feeds the value in pieces of `step` bytes after a first one of `first`; each piece has its own
 * memory.  The JSON, or "!why"; the value must end where n says. */
static void run(unsigned flags, const char *p, size_t n, size_t first, size_t step, struct buf *out)
{
	struct json_out j;
	size_t at = 0, len = first;

	json_out_init(&j, flags, HOLD);
	while (at < n) {
		uint8_t *piece;
		int64_t used;

		len = len < n - at ? len : n - at;
		piece = malloc(len);
		assert_non_null(piece);
		memcpy(piece, p + at, len);
		used = json_out_feed(&j, piece, len, out);
		free(piece);
		if (used < 0) {
			buf_clear(out);
			buf_printf(out, "!%s", j.error);
			json_out_free(&j);
			return;
		}
		assert_int_equal(used, len);
		at += len;
		len = step;
		assert_int_equal(json_out_done(&j), at == n);
	}
	/* What follows the value is not touched. */
	assert_int_equal(json_out_feed(&j, (const uint8_t *)"$", 1, out), 0);
	json_out_free(&j);
}

static char *convert(unsigned flags, const char *p, size_t n)
{
	struct buf whole = { 0 }, other = { 0 };
	char *text;

	run(flags, p, n, n, n, &whole);
	run(flags, p, n, 1, 1, &other);
	assert_string_equal(buf_cstr(&whole), buf_cstr(&other));
	for (size_t cut = 1; cut < n; cut++) {
		buf_clear(&other);
		run(flags, p, n, cut, n, &other);
		assert_string_equal(buf_cstr(&whole), buf_cstr(&other));
		buf_clear(&other);
		run(flags, p, n, cut, 1 + rnd() % 7, &other);
		assert_string_equal(buf_cstr(&whole), buf_cstr(&other));
	}
	text = strdup(buf_cstr(&whole));
	buf_free(&whole);
	buf_free(&other);
	return text;
}

struct row {
	const char *resp;
	size_t n;
	const char *json;
};
#define ROW(resp, json) { resp, sizeof(resp) - 1, json }

static void check(unsigned flags, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *got = convert(flags, rows[i].resp, rows[i].n);

		if (strcmp(got, rows[i].json) != 0)
			fail_msg("%s: want %s, got %s", rows[i].resp, rows[i].json, got);
		if (*got != '!') {
			json_t *v = json_loads(got, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);

			if (!v)
				fail_msg("%s is no JSON", got);
			json_decref(v);
		}
		free(got);
	}
}
#define CHECK(flags, rows) check(flags, rows, sizeof rows / sizeof *rows)

static void scalars(void **state)
{
	static const struct row rows[] = {
		ROW(":0\r\n", "0"), ROW(":-9223372036854775808\r\n", "-9223372036854775808"),
		ROW(":+7\r\n", "7"),
		ROW("$-1\r\n", "null"), ROW("*-1\r\n", "null"), ROW("_\r\n", "null"),
		ROW("#t\r\n", "true"), ROW("#f\r\n", "false"),
		ROW(",1.5\r\n", "1.5"), ROW(",-0\r\n", "-0"), ROW(",1e+20\r\n", "1e+20"), ROW(",10\r\n", "10"),
		ROW(",inf\r\n", "\"inf\""), ROW(",-inf\r\n", "\"-inf\""), ROW(",nan\r\n", "\"nan\""),
		ROW(",-nan\r\n", "\"nan\""), ROW(",.5\r\n", "0.5"), ROW(",1.\r\n", "1"), ROW(",+1\r\n", "1"),
		ROW(",01\r\n", "1"),
		ROW("(12345678901234567890123\r\n", "\"12345678901234567890123\""),
		ROW("+OK\r\n", "\"OK\""), ROW("+\r\n", "\"\""), ROW("$0\r\n\r\n", "\"\""),
		ROW("$5\r\nhello\r\n", "\"hello\""), ROW("$2\r\n\r\n\r\n", "\"\\r\\n\""),
		ROW("=9\r\ntxt:hello\r\n", "\"hello\""), ROW("=4\r\nmkd:\r\n", "\"\""),
		ROW("=17\r\njsn:{\"a\":[1,\"b\"]}\r\n", "{\"a\":[1,\"b\"]}"), ROW("=7\r\njsn:[1,\r\n", "\"[1,\""),
		ROW("=4\r\njsn:\r\n", "\"\""), ROW("*1\r\n=5\r\njsn:1\r\n", "[1]"), ROW("%1\r\n=5\r\njsn:1\r\n_\r\n", "{\"1\":null}"),
		ROW("$12\r\n\"\\/\b\f\n\r\t\0\x1f\x7f \r\n",
		    "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f \""),
		ROW("$16\r\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80!\r\n",
		    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80!\""),
	};

	(void)state;
	CHECK(0, rows);
}

#define B64(text) "{\"encoding\":\"base64\",\"value\":\"" text "\"}"

static void strings_that_are_not_utf8(void **state)
{
	static const struct row rows[] = {
		ROW("$1\r\n\xff\r\n", B64("/w==")), ROW("$2\r\n\xc3(\r\n", B64("wyg=")),
		ROW("$3\r\n\xff\xfe\xfd\r\n", B64("//79")),
		ROW("$2\r\n\xc0\x80\r\n", B64("wIA=")),                 /* overlong NUL */
		ROW("$2\r\n\xc1\xbf\r\n", B64("wb8=")),
		ROW("$3\r\n\xe0\x9f\xbf\r\n", B64("4J+/")),
		ROW("$3\r\n\xed\xa0\x80\r\n", B64("7aCA")),             /* surrogate */
		ROW("$4\r\n\xf0\x8f\xbf\xbf\r\n", B64("8I+/vw==")),
		ROW("$4\r\n\xf4\x90\x80\x80\r\n", B64("9JCAgA==")),     /* above U+10FFFF */
		ROW("$2\r\n\xe2\x82\r\n", B64("4oI=")), ROW("$1\r\n\xf0\r\n", B64("8A==")),
		ROW("$9\r\n12345678\x80\r\n", B64("MTIzNDU2NziA")),
		ROW("+\xff\r\n", B64("/w==")),
		/* Above what is held: base64 whatever it is. */
		ROW("$16\r\n0123456789abcdef\r\n", "\"0123456789abcdef\""),
		ROW("$17\r\n0123456789abcdefg\r\n", B64("MDEyMzQ1Njc4OWFiY2RlZmc=")),
		ROW("=21\r\ntxt:0123456789abcdefg\r\n", B64("MDEyMzQ1Njc4OWFiY2RlZmc=")),
		ROW("=20\r\ntxt:0123456789abcdef\r\n", "\"0123456789abcdef\""),
		ROW("+0123456789abcdefg\r\n", B64("MDEyMzQ1Njc4OWFiY2RlZmc=")),
	};
	static const struct row all[] = {
		ROW("$5\r\nhello\r\n", B64("aGVsbG8=")), ROW("+OK\r\n", B64("T0s=")), ROW(":1\r\n", "1"),
		ROW("$0\r\n\r\n", B64("")), ROW("(12\r\n", "\"12\""),
		ROW("%1\r\n+a\r\n*1\r\n+b\r\n", "{\"a\":[" B64("Yg==") "]}"),
	};
	static const struct row bare[] = {
		ROW("$1\r\n\xff\r\n", "\"/w==\""), ROW("$1\r\nx\r\n", "\"x\""),
		ROW("$17\r\n0123456789abcdefg\r\n", "\"MDEyMzQ1Njc4OWFiY2RlZmc=\""),
		ROW("*1\r\n$1\r\n\xff\r\n", "[" B64("/w==") "]"),
	};

	(void)state;
	CHECK(0, rows);
	CHECK(JSON_OUT_BASE64, all);
	CHECK(JSON_OUT_BARE, bare);
}

static void aggregates(void **state)
{
	static const struct row rows[] = {
		ROW("*0\r\n", "[]"), ROW("~0\r\n", "[]"), ROW("%0\r\n", "{}"),
		ROW("*3\r\n:1\r\n$-1\r\n*2\r\n+a\r\n*0\r\n", "[1,null,[\"a\",[]]]"),
		ROW("~2\r\n+a\r\n+b\r\n", "[\"a\",\"b\"]"), ROW(">2\r\n+a\r\n+b\r\n", "[\"a\",\"b\"]"),
		ROW("%2\r\n$1\r\na\r\n:1\r\n+b\r\n%1\r\n+c\r\n*0\r\n", "{\"a\":1,\"b\":{\"c\":[]}}"),
		ROW("*2\r\n%0\r\n%1\r\n+k\r\n_\r\n", "[{},{\"k\":null}]"),
		/* names that are not plain strings */
		ROW("%5\r\n:1\r\n+a\r\n,1.5\r\n+b\r\n#t\r\n+c\r\n_\r\n+d\r\n(9\r\n+e\r\n",
		    "{\"1\":\"a\",\"1.5\":\"b\",\"true\":\"c\",\"null\":\"d\",\"9\":\"e\"}"),
		ROW("%1\r\n,inf\r\n,inf\r\n", "{\"inf\":\"inf\"}"),
		ROW("%2\r\n$1\r\n\xff\r\n+a\r\n$8\r\nbase64:x\r\n+b\r\n",
		    "{\"base64:/w==\":\"a\",\"base64:YmFzZTY0Ong=\":\"b\"}"),
		ROW("%1\r\n$17\r\n0123456789abcdefg\r\n$17\r\n0123456789abcdefg\r\n",
		    "{\"base64:MDEyMzQ1Njc4OWFiY2RlZmc=\":" B64("MDEyMzQ1Njc4OWFiY2RlZmc=") "}"),
		/* errors inside */
		ROW("*2\r\n-ERR no \"x\"\r\n!8\r\nBAD \r\n\xff.\r\n",
		    "[{\"error\":\"ERR no \\\"x\\\"\"},{\"error\":\"BAD \\r\\n\xef\xbf\xbd.\"}]"),
		ROW("-ERR x\r\n", "{\"error\":\"ERR x\"}"),
		/* attributes are dropped, wherever they stand */
		ROW("|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n", "\"x\""),
		ROW("|0\r\n:1\r\n", "1"),
		ROW("*2\r\n:1\r\n|1\r\n+a\r\n%1\r\n+b\r\n*2\r\n:1\r\n$20\r\n0123456789abcdefghij\r\n:2\r\n", "[1,2]"),
		ROW("%1\r\n|1\r\n+a\r\n*0\r\n+k\r\n|1\r\n+a\r\n-ERR\r\n+v\r\n", "{\"k\":\"v\"}"),
		ROW("*1\r\n|1\r\n|1\r\n+a\r\n+b\r\n+c\r\n+d\r\n:5\r\n", "[5]"),
	};

	(void)state;
	CHECK(0, rows);
}

static void refusals(void **state)
{
	static const struct row rows[] = {
		ROW("?1\r\n", "!a byte that begins no RESP value"),
		ROW("\r\n", "!a header line does not end in CR LF"),
		ROW(":1\n", "!a header line does not end in CR LF"),
		ROW(":1\r1\r\n", "!a header line does not end in CR LF"),
		ROW(":\r\n", "!a length or an integer is no number"),
		ROW(":1x\r\n", "!a length or an integer is no number"),
		ROW(":9223372036854775808\r\n", "!a length or an integer is no number"),
		ROW("$+1\r\n", "!a length or an integer is no number"),
		ROW("$-2\r\n", "!a string's length is out of range"),
		ROW("=-1\r\n", "!a string's length is out of range"),
		ROW("$536870913\r\n", "!a string's length is out of range"),
		ROW("*-2\r\n", "!an aggregate's length is out of range"),
		ROW("%-1\r\n", "!an aggregate's length is out of range"),
		ROW("*4294967297\r\n", "!an aggregate's length is out of range"),
		ROW("$?\r\n", "!a length or an integer is no number"),
		ROW("$1\r\nab\r\n", "!no CR LF behind a string"), ROW("$1\r\na\rb", "!no CR LF behind a string"),
		ROW("$17\r\n0123456789abcdefgh\r\n", "!no CR LF behind a string"),
		ROW("=3\r\ntxt\r\n", "!a verbatim string without its format"),
		ROW("#x\r\n", "!a boolean is neither t nor f"), ROW("_x\r\n", "!a null with something behind it"),
		ROW(",\r\n", "!a double is no number"), ROW(",0x10\r\n", "!a double is no number"),
		ROW(",+1e999\r\n", "!a double is no number"), ROW(",1 \r\n", "!a double is no number"),
		ROW("(\r\n", "!a big number has no digits"), ROW("(-\r\n", "!a big number has no digits"),
		ROW("(1.5\r\n", "!a big number has something else than digits"),
		ROW("%1\r\n*0\r\n:1\r\n", "!a map has a name that is no scalar"),
		ROW("%1\r\n%0\r\n:1\r\n", "!a map has a name that is no scalar"),
		ROW("%1\r\n-ERR\r\n:1\r\n", "!a map has a name that is no scalar"),
		ROW("!65537\r\n", "!an error is too long"),
	};

	(void)state;
	CHECK(0, rows);
}

static void depth_and_length(void **state)
{
	char text[70000], *got;
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < JSON_OUT_DEPTH; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "*1\r\n");
	memcpy(text + n, "*0\r\n", 4);
	got = convert(0, text, n + 4);
	assert_int_equal(strlen(got), 2 * JSON_OUT_DEPTH + 2);
	free(got);
	memcpy(text + n, "*1\r\n:1\r\n", 8);
	got = convert(0, text, n + 8);
	assert_string_equal(got, "!the reply is nested too deeply");
	free(got);
	/* A line without an end is not collected for ever. */
	memset(text, 'a', sizeof text);
	text[0] = '+';
	{
		struct buf out = { 0 };

		run(0, text, sizeof text, 1, 1, &out);
		assert_string_equal(buf_cstr(&out), "!a header line is too long");
		buf_clear(&out);
		run(0, text, sizeof text, sizeof text, 1, &out);
		assert_string_equal(buf_cstr(&out), "!a header line is too long");
		buf_free(&out);
	}
}

/* A value larger than what is held needs no more memory than a few bytes. */
static void large_values_stream(void **state)
{
	struct json_out j;
	struct buf out = { 0 };
	uint8_t piece[1000];
	size_t total = 0;

	(void)state;
	memset(piece, 'x', sizeof piece);
	json_out_init(&j, 0, HOLD);
	assert_int_equal(json_out_feed(&j, (const uint8_t *)"$10000000\r\n", 11, &out), 11);
	for (int i = 0; i < 10000; i++) {
		assert_int_equal(json_out_feed(&j, piece, sizeof piece, &out), sizeof piece);
		total += buf_len(&out);
		buf_clear(&out);
	}
	assert_int_equal(json_out_feed(&j, (const uint8_t *)"\r\n", 2, &out), 2);
	assert_true(json_out_done(&j));
	total += buf_len(&out);
	assert_int_equal(total, strlen(B64("")) + (10000000 + 2) / 3 * 4);
	assert_true(j.hold.cap <= 1024);
	json_out_free(&j);
	buf_free(&out);
}

static void errors_of_the_output(void **state)
{
	struct json_out j;
	struct buf out = { .max = 8 };

	(void)state;
	json_out_init(&j, 0, 0);
	assert_int_equal(json_out_feed(&j, (const uint8_t *)"$9\r\n123456789\r\n", 15, &out), -1);
	assert_string_equal(j.error, "out of memory");
	assert_int_equal(json_out_feed(&j, (const uint8_t *)":1\r\n", 4, &out), -1);
	json_out_reset(&j);
	buf_clear(&out);
	assert_int_equal(json_out_feed(&j, (const uint8_t *)":1\r\n", 4, &out), 4);
	assert_string_equal(buf_cstr(&out), "1");
	assert_int_equal(j.root, ':');
	json_out_free(&j);
	buf_free(&out);
}

/* A random value of at most `depth` levels, as RESP. */
static void make(struct buf *b, unsigned depth)
{
	static const char *const scalars[] = { ":12\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "+ok\r\n", "-ERR x\r\n",
		"(123\r\n", "=6\r\ntxt:ab\r\n", "$-1\r\n", "$0\r\n\r\n" };
	uint64_t kind = rnd() % (depth ? 16 : 12), n;

	if (kind < 10) {
		buf_puts(b, scalars[kind]);
	} else if (kind < 12) {
		n = rnd() % 30;
		buf_printf(b, "$%u\r\n", (unsigned)n);
		for (uint64_t i = 0; i < n; i++)
			buf_putc(b, (char)(kind == 10 ? rnd() % 128 : rnd()));
		buf_puts(b, "\r\n");
	} else if (kind == 12) {
		n = rnd() % 4;
		buf_printf(b, "%%%u\r\n", (unsigned)n);
		for (uint64_t i = 0; i < n; i++) {
			buf_printf(b, "+name%u\r\n", (unsigned)i);
			make(b, depth - 1);
		}
	} else if (kind == 13) {
		buf_puts(b, "|1\r\n+a\r\n");
		make(b, depth - 1);
		make(b, depth - 1);
	} else {
		n = rnd() % 4;
		buf_printf(b, "%c%u\r\n", kind == 14 ? '*' : '~', (unsigned)n);
		while (n--)
			make(b, depth - 1);
	}
}

static void any_value_is_json(void **state)
{
	const char *seed = getenv("PURSER_SEED");

	(void)state;
	rnd_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	printf("# PURSER_SEED=%" PRIu64 "\n", rnd_state);
	for (int round = 0; round < 300; round++) {
		struct buf b = { 0 };
		unsigned flags = rnd() % 2 ? JSON_OUT_BASE64 : 0;
		char *got;
		json_t *v;

		do {
			buf_clear(&b);
			make(&b, 4);
		} while (buf_len(&b) > 400);
		assert_false(b.failed);
		got = convert(flags, (const char *)buf_data(&b), buf_len(&b));
		v = json_loads(got, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
		if (!v)
			fail_msg("round %d: %s is no JSON", round, got);
		json_decref(v);
		free(got);
		buf_free(&b);
	}
}

static void base64_is_exact(void **state)
{
	static const char *const bad[] = { "=", "==", "a", "aa", "aaa", "a===", "aa=a", "ab==", "aab=", "aa =",
		"aaaa=", "a-_a", "aaaa\n", "=aaa", "====" };
	uint8_t in[64], back[64];

	(void)state;
	for (size_t n = 0; n <= sizeof in - 10; n++) {
		struct buf out = { 0 };

		for (size_t i = 0; i < n; i++)
			in[i] = (uint8_t)rnd();
		base64_put(&out, in, n);
		assert_int_equal(buf_len(&out), (n + 2) / 3 * 4);
		assert_int_equal(base64_get(back, (const char *)(out.p ? buf_data(&out) : in), buf_len(&out)), n);
		assert_memory_equal(in, back, n);
		buf_free(&out);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (base64_get(back, bad[i], strlen(bad[i])) != -1)
			fail_msg("%s was accepted", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_value_is_json),
		cmocka_unit_test(scalars),
		cmocka_unit_test(strings_that_are_not_utf8),
		cmocka_unit_test(aggregates),
		cmocka_unit_test(refusals),
		cmocka_unit_test(depth_and_length),
		cmocka_unit_test(large_values_stream),
		cmocka_unit_test(errors_of_the_output),
		cmocka_unit_test(base64_is_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
