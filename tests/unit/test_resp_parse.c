/* SPDX-License-Identifier: Apache-2.0
 *
 * The request parser: whole, at every split, at its limits, and what it says of nonsense.
 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "resp/parse.h"

static const struct resp_limits lim = { 1048576, 512u << 20, 1u << 30, 65536 };

struct want {
	const char *wire;
	size_t n;
	enum resp_result rc;
	const char *words; /* joined with '|' */
	const char *error;
};
#define W(wire, rc, words, error) { wire, sizeof(wire) - 1, rc, words, error }

static const struct want table[] = {
	W("*1\r\n$4\r\nPING\r\n", RESP_OK, "PING", NULL),
	W("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", RESP_OK, "SET|k|", NULL),
	W("*2\r\n$3\r\nGET\r\n$12\r\nhello world!\r\n", RESP_OK, "GET|hello world!", NULL),
	W("*2\r\n$3\r\nGET\r\n$4\r\n\r\n\r\n\r\n", RESP_OK, "GET|\r\n\r\n", NULL),
	W("*+2\r\n$3\r\nGET\r\n$01\r\nk\r\n", RESP_OK, "GET|k", NULL),
	W("*0\r\n", RESP_EMPTY, "", NULL),
	W("*-1\r\n", RESP_EMPTY, "", NULL),
	W("\r\n", RESP_EMPTY, "", NULL),
	W("\n", RESP_EMPTY, "", NULL),
	W("   \r\n", RESP_EMPTY, "", NULL),
	W("PING\r\n", RESP_OK, "PING", NULL),
	W("  set  k   v \n", RESP_OK, "set|k|v", NULL),
	W("set \"a b\" 'c d'\r\n", RESP_OK, "set|a b|c d", NULL),
	W("set \"\\x41\\n\\\"q\" 'it\\'s'\r\n", RESP_OK, "set|A\n\"q|it's", NULL),
	W("set \"\" ''\r\n", RESP_OK, "set||", NULL),
	W("*x\r\n", RESP_BAD, NULL, "Protocol error: invalid multibulk length"),
	W("*3000000000\r\n", RESP_BAD, NULL, "Protocol error: invalid multibulk length"),
	W("*1\r\n+OK\r\n", RESP_BAD, NULL, "Protocol error: expected '$', got '+'"),
	W("*1\r\n\x01", RESP_BAD, NULL, "Protocol error: expected '$', got '?'"),
	W("*1\r\n$-1\r\n", RESP_BAD, NULL, "Protocol error: invalid bulk length"),
	W("*1\r\n$zz\r\n", RESP_BAD, NULL, "Protocol error: invalid bulk length"),
	W("*1\r\n$99999999999999999999\r\n", RESP_BAD, NULL, "Protocol error: invalid bulk length"),
	W("*1\r\n$3\r\nabcde", RESP_BAD, NULL, "Protocol error: expected CR LF behind a bulk"),
	W("set \"a\r\n", RESP_BAD, NULL, "Protocol error: unbalanced quotes in request"),
	W("set 'a'b\r\n", RESP_BAD, NULL, "Protocol error: unbalanced quotes in request"),
	W("*2000000\r\n", RESP_BIG, NULL, NULL),
};

static void join(const struct resp_parser *ps, char *out, size_t cap, size_t *n)
{
	*n = 0;
	for (uint32_t i = 0; i < ps->argc; i++) {
		assert_true(*n + ps->argv[i].n + 1 < cap);
		if (i)
			out[(*n)++] = '|';
		if (ps->argv[i].n)
			memcpy(out + *n, ps->argv[i].p, ps->argv[i].n);
		*n += ps->argv[i].n;
	}
}

static void verdict(const struct want *w, const struct resp_parser *ps, enum resp_result rc)
{
	char words[256];
	size_t n;

	assert_int_equal(rc, w->rc);
	if (rc == RESP_OK || rc == RESP_EMPTY)
		assert_int_equal(ps->pos, w->n);
	if (rc == RESP_OK) {
		join(ps, words, sizeof words, &n);
		assert_int_equal(n, strlen(w->words));
		assert_memory_equal(words, w->words, n);
	}
	if (w->error)
		assert_string_equal(ps->error, w->error);
}

static void whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct resp_parser ps = { .bulk = -1 };
		uint8_t *copy = malloc(table[i].n); /* exact: ASan sees a byte too many */

		memcpy(copy, table[i].wire, table[i].n);
		verdict(&table[i], &ps, resp_parse(&ps, &lim, copy, table[i].n));
		free(copy);
		resp_parser_free(&ps);
	}
}

/* Byte by byte, in a new place each time: what was parsed moves along. */
static void every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct resp_parser ps = { .bulk = -1 };
		enum resp_result rc = RESP_MORE;
		uint8_t *last = NULL;

		for (size_t n = 1; n <= table[i].n && rc == RESP_MORE; n++) {
			uint8_t *copy = malloc(n);

			memcpy(copy, table[i].wire, n);
			rc = resp_parse(&ps, &lim, copy, n);
			if (rc == RESP_MORE)
				assert_in_range(resp_missing(&ps, n), 1, table[i].n + 2);
			free(last);
			last = copy;
		}
		verdict(&table[i], &ps, rc);
		free(last);
		resp_parser_free(&ps);
	}
}

static void two_in_a_row(void **state)
{
	char wire[] = "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n";
	struct resp_parser ps = { .bulk = -1 };

	(void)state;
	assert_int_equal(resp_parse(&ps, &lim, (uint8_t *)wire, sizeof wire - 1), RESP_OK);
	assert_int_equal(ps.pos, 14);
	resp_parser_reset(&ps);
	assert_int_equal(resp_parse(&ps, &lim, (uint8_t *)wire + 14, sizeof wire - 15), RESP_OK);
	assert_int_equal(ps.argc, 2);
	resp_parser_free(&ps);
}

static void limits(void **state)
{
	static const struct resp_limits small = { 4, 10, 15, 20 };
	struct { const char *wire; enum resp_result rc; } t[] = {
		{ "*4\r\n", RESP_MORE }, { "*5\r\n", RESP_BIG },
		{ "*1\r\n$10\r\n", RESP_MORE }, { "*1\r\n$11\r\n", RESP_BIG },
		{ "*2\r\n$10\r\n0123456789\r\n$5\r\n", RESP_MORE },
		{ "*2\r\n$10\r\n0123456789\r\n$6\r\n", RESP_BIG },
		{ "01234567890123456789", RESP_MORE }, { "012345678901234567890", RESP_BAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct resp_parser ps = { .bulk = -1 };
		char copy[64];

		snprintf(copy, sizeof copy, "%s", t[i].wire);
		assert_int_equal(resp_parse(&ps, &small, (uint8_t *)copy, strlen(copy)), t[i].rc);
		resp_parser_free(&ps);
	}
}

/* A long line without an end is refused, not gathered for ever. */
static void endless_lines(void **state)
{
	char *p = malloc(100000);
	struct resp_parser ps = { .bulk = -1 };

	(void)state;
	memset(p, '1', 100000);
	p[0] = '*';
	assert_int_equal(resp_parse(&ps, &lim, (uint8_t *)p, 100), RESP_BAD);
	assert_string_equal(ps.error, "Protocol error: too big mbulk count string");
	resp_parser_reset(&ps);
	memcpy(p, "*1\r\n$", 5);
	assert_int_equal(resp_parse(&ps, &lim, (uint8_t *)p, 200), RESP_BAD);
	assert_string_equal(ps.error, "Protocol error: too big bulk count string");
	resp_parser_reset(&ps);
	p[0] = 'x';
	p[2] = p[3] = 'y';
	assert_int_equal(resp_parse(&ps, &lim, (uint8_t *)p, 100000), RESP_BAD);
	assert_string_equal(ps.error, "Protocol error: too big inline request");
	resp_parser_free(&ps);
	free(p);
}

/* A million arguments in pieces: each call goes on where the last one ended. */
static void resumes(void **state)
{
	enum { N = 200000 };
	size_t cap = 16 + (size_t)N * 8, n = 0, at = 0;
	uint8_t *p = malloc(cap);
	struct resp_parser ps = { .bulk = -1 };
	uint32_t before = 0;
	enum resp_result rc = RESP_MORE;

	(void)state;
	n += (size_t)snprintf((char *)p, cap, "*%d\r\n", N);
	for (int i = 0; i < N; i++) {
		memcpy(p + n, "$1\r\nx\r\n", 7);
		n += 7;
	}
	while (at < n && rc == RESP_MORE) {
		at = n - at < 65536 ? n : at + 65536;
		rc = resp_parse(&ps, &lim, p, at);
		assert_true(ps.have > before); /* progress is kept */
		assert_true(ps.pos + 16 > at || rc == RESP_OK);
		before = ps.have;
	}
	assert_int_equal(rc, RESP_OK);
	assert_int_equal(ps.argc, N);
	assert_int_equal(ps.pos, n);
	resp_parser_free(&ps);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole), cmocka_unit_test(every_split), cmocka_unit_test(two_in_a_row),
		cmocka_unit_test(limits), cmocka_unit_test(endless_lines), cmocka_unit_test(resumes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
