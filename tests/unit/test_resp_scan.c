/* SPDX-License-Identifier: Apache-2.0
 *
 * include/purser/resp.h: random values of both protocol versions are scanned whole, byte by byte, at
 * every split and in random pieces; what is not RESP is refused, whole and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <purser/resp.h>

#define BYTES_MAX 8192

struct text { uint8_t p[BYTES_MAX]; size_t n; };

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % below;
}

static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf((char *)t->p + t->n, BYTES_MAX - t->n, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < BYTES_MAX - t->n);
	t->n += (size_t)n;
}

static void put_blob(struct text *t, char type, size_t n)
{
	static const char hard[] = "\r\n\r$*+-:>|_0";

	put(t, "%c%zu\r\n", type, n);
	for (size_t i = 0; i < n; i++)
		t->p[t->n++] = rnd(2) ? (uint8_t)hard[rnd(sizeof(hard))] : (uint8_t)rnd(256);
	put(t, "\r\n");
}

static void put_value(struct text *t, unsigned version, int depth)
{
	static const char *const flat3[] = { "_\r\n", "#t\r\n", "#f\r\n", ",1.5\r\n", ",-inf\r\n",
		",nan\r\n", ",1e-10\r\n", "(-349283479238479238479283749823\r\n", "(0\r\n" };
	static const char *const flat2[] = { "+OK\r\n", "+\r\n", "-ERR no such thing\r\n", ":0\r\n",
		":-1\r\n", ":+7\r\n", ":9223372036854775807\r\n", ":-9223372036854775808\r\n", "$-1\r\n",
		"*-1\r\n", "*0\r\n", "$0\r\n\r\n", ":000012\r\n", ":123456789012\r\n" };
	uint32_t kind = rnd(version == 3 ? 12 : 6), n;

	if (kind < 2 || t->n > BYTES_MAX - 4096) {
		put(t, "%s", flat2[rnd(sizeof(flat2) / sizeof(*flat2))]);
	} else if (kind < 4 || depth == 0) {
		put_blob(t, '$', rnd(3) ? rnd(8) : rnd(300));
	} else if (kind < 6) {
		n = rnd(6);
		put(t, "*%u\r\n", n);
		while (n--)
			put_value(t, version, depth - 1);
	} else if (kind < 8) {
		put(t, "%s", flat3[rnd(sizeof(flat3) / sizeof(*flat3))]);
	} else if (kind == 8) {
		put_blob(t, rnd(2) ? '=' : '!', 4 + rnd(30));
	} else {
		char type = "%~>|"[rnd(4)];

		n = rnd(4);
		put(t, "%c%u\r\n", type, n);
		for (n *= type == '%' || type == '|' ? 2 : 1; n; n--)
			put_value(t, version, depth - 1);
		if (type == '|')
			put_value(t, version, depth - 1);
	}
}

/* Feed p[0..n) in pieces that end at cuts; returns what was consumed until done, -1 on refusal, -2 if
 * the value is not complete.  What is not consumed comes again in front of the next piece. */
static long scan(const uint8_t *p, size_t n, unsigned version, size_t step, size_t first)
{
	size_t at = 0, end = first ? first : step;
	purser_scan s;

	purser_scan_begin_as(&s, version);
	for (;;) {
		uint8_t *piece;
		int64_t k;

		if (end > n)
			end = n;
		piece = malloc(end - at + 1); /* exact: a read behind its end is seen */
		assert_non_null(piece);
		piece = realloc(piece, end - at ? end - at : 1);
		memcpy(piece, p + at, end - at);
		k = purser_scan_feed(&s, piece, end - at);
		free(piece);
		if (k < 0)
			return -1;
		assert_true((size_t)k <= end - at);
		at += (size_t)k;
		if (purser_scan_done(&s))
			return (long)at;
		if (end == n)
			return -2;
		end += step;
	}
}

static void values_in_any_pieces(void **state)
{
	static struct text t;

	(void)state;
	for (int round = 0; round < 400; round++) {
		unsigned version = 2 + rnd(2);
		size_t n;

		t.n = 0;
		put_value(&t, version, 4);
		n = t.n;
		put(&t, ":1\r\n"); /* what follows is never touched */
		assert_int_equal(scan(t.p, t.n, version, t.n, 0), n);
		assert_int_equal(scan(t.p, t.n, 0, t.n, 0), n);
		assert_int_equal(scan(t.p, n, version, n, 0), n);
		assert_int_equal(scan(t.p, t.n, version, 1, 0), n);
		assert_int_equal(scan(t.p, t.n, version, 1 + rnd(40), 0), n);
		for (size_t cut = 1; cut < n && n < 1500; cut++) {
			assert_int_equal(scan(t.p, t.n, version, t.n, cut), n);
			assert_int_equal(scan(t.p, cut, version, cut, 0), -2);
		}
	}
}

static void refused(const char *text, size_t n, unsigned version)
{
	if (scan((const uint8_t *)text, n, version, n, 0) != -1)
		fail_msg("accepted as version %u: %.*s", version, (int)n, text);
	assert_int_equal(scan((const uint8_t *)text, n, version, 1, 0), -1);
}

static void what_is_not_resp(void **state)
{
	static const char *const bad[] = { "x\r\n", "\r\n", " +OK\r\n", "HTTP/1.1 400\r\n", "$\r\n",
		"$a\r\n", "$1a\r\n", "$-2\r\n", "$+1\r\n", "$ 1\r\n", "$536870913\r\n", "$1\r\nabc",
		"$3\r\nabc\n\n", "$0\r\nxx", "$1\n", "+OK\n\r\n", "+O\rK\r\n", "-ERR\n\r\n", ":\r\n", ":1x\r\n",
		":-\r\n", ":--1\r\n", ":12\r:", ":92233720368547758070\r\n", ":9223372036854775808\r\n",
		":11111111111111111111111111\r\n", "*-2\r\n", "*x\r\n", "*4294967297\r\n", "*1\r\n?\r\n",
		"*2\r\n:1\r\n:x\r\n", "_x\r\n", "#x\r\n", "#\r\n", "#tt\r\n", ",\r\n", ",x\r\n", "(\r\n", "(-\r\n",
		"(12a\r\n", "%-1\r\n", "~-1\r\n", ">-1\r\n", "=-1\r\n", "!-1\r\n", "!+5\r\n", "*+1\r\n" };
	static const char *const only3[] = { "_\r\n", "#t\r\n", ",1\r\n", "(1\r\n", "=4\r\ntxt:\r\n",
		"!3\r\nERR\r\n", "%0\r\n", "~0\r\n", ">1\r\n", "|1\r\n", "*1\r\n_\r\n", "*2\r\n:1\r\n%0\r\n" };
	static char longer[PURSER_RESP_LINE_MAX + 64];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		refused(bad[i], strlen(bad[i]), 0);
		refused(bad[i], strlen(bad[i]), 2);
		refused(bad[i], strlen(bad[i]), 3);
	}
	for (size_t i = 0; i < sizeof(only3) / sizeof(*only3); i++)
		refused(only3[i], strlen(only3[i]), 2);
	for (int i = 0; i < 256; i++) {
		char one[3] = { (char)i, '\r', '\n' };

		if (!memchr("+-_", i, 3))
			refused(one, 3, 0);
	}
	memset(longer, 'a', sizeof(longer));
	longer[0] = '+';
	assert_int_equal(scan((uint8_t *)longer, sizeof(longer), 0, sizeof(longer), 0), -1);
	longer[PURSER_RESP_LINE_MAX + 1] = '\r'; /* the longest that passes */
	longer[PURSER_RESP_LINE_MAX + 2] = '\n';
	assert_int_equal(scan((uint8_t *)longer, sizeof(longer), 0, sizeof(longer), 0),
	    PURSER_RESP_LINE_MAX + 3);
}

/* A million elements, nested without end, a bulk that never comes: no memory, no recursion. */
static void greedy_headers(void **state)
{
	static const uint8_t nest[] = "*4294967296\r\n";
	purser_scan s;
	int64_t k = 0;
	int depth;

	(void)state;
	purser_scan_begin(&s);
	for (depth = 0; depth < 1000; depth++) {
		k = purser_scan_feed(&s, nest, sizeof(nest) - 1);
		if (k < 0)
			break;
		assert_int_equal(k, sizeof(nest) - 1);
	}
	assert_int_equal(k, -1);
	assert_true(depth > 200);
	purser_scan_begin(&s);
	assert_int_equal(purser_scan_feed(&s, (const uint8_t *)"$536870912\r\n", 12), 12);
	assert_true(s.skip == PURSER_RESP_BULK_MAX + 2);
	purser_scan_begin(&s);
	for (depth = 0; depth < 100000; depth++)
		assert_int_equal(purser_scan_feed(&s, (const uint8_t *)"*1\r\n", 4), 4);
	assert_int_equal(purser_scan_feed(&s, (const uint8_t *)":1\r\n", 4), 4);
	assert_true(purser_scan_done(&s));
}

/* Random bytes are refused or wait for more; they never pass the end. */
static void noise(void **state)
{
	static const char likely[] = "$*+-:%~>|_#,(=!0123456789\r\n\r\n\r\n";
	uint8_t p[64];

	(void)state;
	for (int round = 0; round < 200000; round++) {
		size_t n = 1 + rnd(sizeof(p));
		long whole, bytes;

		for (size_t i = 0; i < n; i++)
			p[i] = rnd(8) ? (uint8_t)likely[rnd(sizeof(likely) - 1)] : (uint8_t)rnd(256);
		whole = scan(p, n, 0, n, 0);
		bytes = scan(p, n, 0, 1, 0);
		if (whole != bytes)
			fail_msg("whole %ld, byte by byte %ld", whole, bytes);
	}
}

static void integers(void **state)
{
	int64_t v = 5;

	(void)state;
	assert_int_equal(purser_resp_int((const uint8_t *)"-9223372036854775808", 20, &v), 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(purser_resp_int((const uint8_t *)"9223372036854775807", 19, &v), 0);
	assert_true(v == INT64_MAX);
	assert_int_equal(purser_resp_int((const uint8_t *)"9223372036854775808", 19, &v), -1);
	assert_int_equal(purser_resp_int((const uint8_t *)"", 0, &v), -1);
	assert_int_equal(purser_resp_int((const uint8_t *)"-", 1, &v), -1);
	assert_int_equal(purser_resp_int((const uint8_t *)"1 ", 2, &v), -1);
	assert_true(v == INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_in_any_pieces), cmocka_unit_test(what_is_not_resp),
		cmocka_unit_test(greedy_headers), cmocka_unit_test(noise), cmocka_unit_test(integers),
	};
	const char *given = getenv("PURSER_SEED");

	seed = given ? strtoull(given, NULL, 10) : 20240607;
	printf("# PURSER_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
