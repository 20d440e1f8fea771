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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(at_once), cmocka_unit_test(resumed),
		cmocka_unit_test(rewound), cmocka_unit_test(exact_sizes), cmocka_unit_test(a_million_keys),
		cmocka_unit_test(batches) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
