/* SPDX-License-Identifier: Apache-2.0
 *
 * encode(): the wire form of a call, at once and resumed at every size of the plugin's buffer.
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
#include "backend/instance.h"
#include "base/copy.h"
#include "resp/parse.h"

#define B(s) { (const uint8_t *)(s), sizeof(s) - 1 }

static const purser_bytes words[] = { B("MSET"), B("a"), B("1"), B("b\0b"), B(""), B("longer key"), B("0123456789abc") };
static const uint32_t keys[] = { 1, 3, 5 };
static const char wire[] = "*7\r\n$4\r\nMSET\r\n$3\r\np:a\r\n$1\r\n1\r\n$5\r\np:b\0b\r\n$0\r\n\r\n$12\r\np:longer key\r\n"
    "$13\r\n0123456789abc\r\n";

static void make(struct bcall *b)
{
	memset(b, 0, sizeof *b);
	b->argv = words;
	b->prefix = (const uint8_t *)"p:";
	b->c.ns_prefix = 2;
	b->c.argc = 7;
	b->c.keys = keys;
	b->c.nkeys = 3;
	b->c.wire_bytes = call_wire_bytes(b);
}

static void at_once(void **state)
{
	struct bcall b;
	uint8_t *dst = malloc(sizeof wire - 1); /* exact */
	int more = -1;

	(void)state;
	make(&b);
	assert_int_equal(b.c.wire_bytes, sizeof wire - 1);
	assert_int_equal(call_encode(&b, dst, sizeof wire - 1, &more), sizeof wire - 1);
	assert_int_equal(more, PURSER_ENCODE_DONE);
	assert_memory_equal(dst, wire, sizeof wire - 1);
	free(dst);
}

static void resumed(void **state)
{
	(void)state;
	for (size_t cap = 1; cap < sizeof wire; cap++) {
		uint8_t got[sizeof wire], *dst = malloc(cap);
		struct bcall b;
		size_t at = 0;
		int more = PURSER_ENCODE_FULL;

		make(&b);
		while (more == PURSER_ENCODE_FULL) {
			size_t n = call_encode(&b, dst, cap, &more);

			assert_true(n <= cap && at + n < sizeof wire);
			assert_true(n == cap || more == PURSER_ENCODE_DONE);
			memcpy(got + at, dst, n);
			at += n;
		}
		assert_int_equal(at, sizeof wire - 1);
		assert_memory_equal(got, wire, at);
		free(dst);
	}
}

static void rewound(void **state)
{
	struct bcall b;
	uint8_t dst[sizeof wire];
	int more;

	(void)state;
	make(&b);
	call_encode(&b, dst, 10, &more);
	assert_int_equal(host_table.rewind(&b.c), 0);
	assert_int_equal(host_table.encode(&b.c, dst, sizeof dst, &more), sizeof wire - 1);
	assert_memory_equal(dst, wire, sizeof wire - 1);
}

static void exact_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 99999, 100000 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		uint8_t *big = calloc(1, sizes[i] + 1), *dst = malloc(sizes[i] + 64);
		purser_bytes argv[2] = { B("GET"), { big, sizes[i] } };
		uint32_t key = 1;
		struct bcall b;
		int more;

		make(&b);
		b.argv = argv;
		b.c.argc = 2;
		b.c.nkeys = 1;
		b.c.keys = &key;
		b.c.wire_bytes = call_wire_bytes(&b);
		assert_int_equal(call_encode(&b, dst, sizes[i] + 64, &more), b.c.wire_bytes);
		free(big);
		free(dst);
	}
}

/* In pieces it is the same as at once, and takes time in proportion. */
static void a_million_keys(void **state)
{
	enum { N = 1000000 };
	purser_bytes *argv = malloc((N + 1) * sizeof *argv);
	uint32_t *at = malloc(N * sizeof *at);
	uint8_t *whole, *pieces;
	struct bcall b;
	size_t n = 0;
	int more;

	(void)state;
	make(&b);
	argv[0] = (purser_bytes)B("MGET");
	for (uint32_t i = 0; i < N; i++) {
		argv[i + 1] = words[1];
		at[i] = i + 1;
	}
	b.argv = argv;
	b.c.argc = N + 1;
	b.c.keys = at;
	b.c.nkeys = N;
	b.c.wire_bytes = call_wire_bytes(&b);
	whole = malloc(b.c.wire_bytes);
	pieces = malloc(b.c.wire_bytes);
	assert_int_equal(call_encode(&b, whole, b.c.wire_bytes, &more), b.c.wire_bytes);
	b.enc_arg = 0;
	b.enc_off = 0;
	for (more = PURSER_ENCODE_FULL; more == PURSER_ENCODE_FULL;) {
		size_t room = b.c.wire_bytes - n < 65536 ? b.c.wire_bytes - n : 65536;

		n += call_encode(&b, pieces + n, room, &more);
	}
	assert_int_equal(n, b.c.wire_bytes);
	assert_memory_equal(pieces, whole, n);
	free(argv);
	free(at);
	free(whole);
	free(pieces);
}

/* MULTI, two commands, EXEC: at every size of the buffer, and again after rewind(). */
static void batches(void **state)
{
	static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";
	enum { N = 2 * (sizeof wire - 1) + sizeof multi + sizeof exec - 2 };
	char want[N + 1];
	struct bcall part[2], b = { .c.op = PURSER_OP_BATCH, .c.nparts = 2 };
	purser_call *parts[2] = { &part[0].c, &part[1].c };

	(void)state;
	snprintf(want, sizeof want, "%s", multi);
	memcpy(want + sizeof multi - 1, wire, sizeof wire - 1);
	memcpy(want + sizeof multi + sizeof wire - 2, wire, sizeof wire - 1);
	memcpy(want + sizeof multi + 2 * sizeof wire - 3, exec, sizeof exec);
	make(&part[0]);
	make(&part[1]);
	b.c.parts = parts;
	b.c.wire_bytes = call_wire_bytes(&b);
	assert_int_equal(b.c.wire_bytes, N);
	for (size_t cap = 1; cap <= N + 1; cap++) {
		uint8_t got[N + 1], *dst = malloc(cap);
		size_t at = 0;
		int more = PURSER_ENCODE_FULL;

		assert_int_equal(host_table.rewind(&b.c), 0);
		while (more == PURSER_ENCODE_FULL) {
			size_t n = call_encode(&b, dst, cap, &more);

			assert_true(n <= cap && at + n <= N);
			assert_true(n == cap || more == PURSER_ENCODE_DONE);
			memcpy(got + at, dst, n);
			at += n;
		}
		assert_int_equal(at, N);
		assert_memory_equal(got, want, at);
		free(dst);
	}
	b.c.nparts = 0; /* nothing queued: a watch is looked at all the same */
	b.c.wire_bytes = call_wire_bytes(&b);
	assert_int_equal(b.c.wire_bytes, sizeof multi + sizeof exec - 2);
}

/* ---- what came in goes out as it is ---- */

static const struct resp_limits limits = { 1024, 1 << 20, 1 << 20, 65536 };

/* The call of the request at in (writable), and its words in ps. */
static void receive(struct bcall *b, struct resp_parser *ps, uint8_t *in, size_t n, uint32_t *at)
{
	resp_parser_reset(ps);
	assert_int_equal(resp_parse(ps, &limits, in, n), RESP_OK);
	assert_int_equal(ps->pos, n);
	make(b);
	b->wire = in;
	b->wire_n = n;
	b->wire_argc = ps->argc;
	b->argv = ps->argv;
	b->c.argc = ps->argc;
	b->c.keys = at;
	b->c.nkeys = 0;
	for (uint32_t i = 1; i < ps->argc; i += 1 + (uint32_t)rand() % 3)
		at[b->c.nkeys++] = i;
}

static void expect_same(struct bcall *b, bool as_is)
{
	static uint8_t got[200000], want[sizeof got];
	size_t n;
	int more;

	b->c.wire_bytes = call_wire_bytes(b);
	assert_int_equal(b->as_is, as_is);
	n = call_encode(b, got, b->c.wire_bytes, &more);
	assert_int_equal(n, b->c.wire_bytes);
	assert_int_equal(more, PURSER_ENCODE_DONE);
	call_rewind(b);
	b->wire = NULL;
	assert_int_equal(call_wire_bytes(b), n);
	assert_false(b->as_is);
	assert_int_equal(call_encode(b, want, n, &more), n);
	assert_memory_equal(got, want, n);
	call_rewind(b);
}

static void as_it_came(void **state)
{
	static const size_t sizes[] = { 0, 1, 8, 9, 10, 15, 16, 33, 64, 65, 97, 98, 99, 100, 101, 997, 998, 999, 1000 };
	struct resp_parser ps = { .bulk = -1 };
	uint32_t at[32];
	struct bcall b;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		uint8_t *in = malloc(40000);
		size_t n = 0;
		int argc = 1 + rand() % 31;

		n += (size_t)snprintf((char *)in, 40000, "*%d\r\n", argc);
		for (int i = 0; i < argc; i++) {
			size_t len = sizes[(size_t)rand() % (sizeof sizes / sizeof *sizes)];

			n += (size_t)snprintf((char *)in + n, 40000 - n, "$%zu\r\n", len);
			memset(in + n, '!' + rand() % 90, len);
			n += len;
			memcpy(in + n, "\r\n", 2);
			n += 2;
		}
		in = realloc(in, n); /* exact: nothing behind it is read */
		receive(&b, &ps, in, n, at);
		expect_same(&b, true);
		b.wire = in;
		b.c.ns_prefix = 0;
		expect_same(&b, true);
		free(in);
	}
	resp_parser_free(&ps);
}

/* Redis takes no "$03", and what somebody has changed is not what came in. */
static void not_as_it_came(void **state)
{
	static const char *const odd[] = { "*2\r\n$03\r\nGET\r\n$1\r\nk\r\n", "*2\r\n$3\r\nGET\r\n$01\r\nk\r\n",
		"*2\r\n$3\r\nGET\r\n$+1\r\nk\r\n", "*02\r\n$3\r\nGET\r\n$1\r\nk\r\n", "*+2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
		"GET k\r\n", " GET k\r\n", "GET 'k'\r\n", "*2\r\n$3\r\nGET\r\n$001\r\nk\r\n" };
	struct resp_parser ps = { .bulk = -1 };
	char in[64] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
	uint32_t at[4];
	struct bcall b;

	(void)state;
	receive(&b, &ps, (uint8_t *)in, strlen(in), at);
	ps.argv[2] = words[5];
	expect_same(&b, false);
	receive(&b, &ps, (uint8_t *)in, strlen(in), at);
	ps.argv[2].n = 0;
	expect_same(&b, false);
	receive(&b, &ps, (uint8_t *)in, strlen(in), at);
	ps.argv[1].p++;
	ps.argv[1].n--;
	expect_same(&b, false);
	receive(&b, &ps, (uint8_t *)in, strlen(in), at);
	b.c.argc = 2;
	b.c.nkeys = 1;
	expect_same(&b, false);
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		memcpy(in, odd[i], strlen(odd[i]) + 1);
		receive(&b, &ps, (uint8_t *)in, strlen(in), at);
		expect_same(&b, false);
	}
	resp_parser_free(&ps);
}

static void short_copies(void **state)
{
	uint8_t from[200], to[202];

	(void)state;
	for (size_t n = 0; n <= 200; n++) {
		uint8_t *exact = malloc(n ? n : 1);

		for (size_t i = 0; i < n; i++)
			exact[i] = from[i] = (uint8_t)(i * 7 + n);
		memset(to, 0xee, sizeof to);
		assert_ptr_equal(copy_short(to + 1, exact, n), to + 1 + n);
		assert_memory_equal(to + 1, from, n);
		assert_int_equal(to[0], 0xee);
		assert_int_equal(to[n + 1], 0xee);
		free(exact);
	}
}

/* WAIT has a command in front of it, whose reply is swallowed: at once, as it came, and resumed at every size. */
static void with_a_lead(void **state)
{
	static const char came[] = "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$2\r\n50\r\n", want[] = "*1\r\n$4\r\nPING\r\n"
	    "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$2\r\n50\r\n";
	purser_bytes argv[3] = { { (const uint8_t *)came + 8, 4 }, { (const uint8_t *)came + 18, 1 },
		{ (const uint8_t *)came + 25, 2 } };

	(void)state;
	for (size_t round = 0; round <= sizeof want; round++) {
		uint8_t got[sizeof want], *dst = malloc(sizeof want);
		size_t at = 0, cap = round < 2 ? sizeof want : round - 1;
		struct bcall b = { .argv = argv, .c = { .argc = 3, .skip = 1, .flags = PURSER_CALL_BLOCKS } };
		int more = PURSER_ENCODE_FULL;

		if (round == 0) {
			b.wire = (const uint8_t *)came;
			b.wire_n = sizeof came - 1;
			b.wire_argc = 3;
		}
		b.c.wire_bytes = call_wire_bytes(&b);
		assert_int_equal(b.as_is, round == 0);
		assert_int_equal(b.c.wire_bytes, sizeof want - 1);
		while (more == PURSER_ENCODE_FULL) {
			size_t n = call_encode(&b, dst, cap, &more);

			assert_true(n <= cap && at + n < sizeof want);
			memcpy(got + at, dst, n);
			at += n;
		}
		assert_int_equal(at, sizeof want - 1);
		assert_memory_equal(got, want, at);
		free(dst);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(at_once), cmocka_unit_test(resumed),
		cmocka_unit_test(rewound), cmocka_unit_test(exact_sizes), cmocka_unit_test(a_million_keys),
		cmocka_unit_test(batches), cmocka_unit_test(as_it_came), cmocka_unit_test(not_as_it_came),
		cmocka_unit_test(short_copies), cmocka_unit_test(with_a_lead) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
