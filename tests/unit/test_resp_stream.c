/* SPDX-License-Identifier: Apache-2.0
 *
 * A request that passes through while it arrives: the same bytes go out, and the same things are refused,
 * as when it is parsed whole and then encoded; at every split of the input and every size of the output.
 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "backend/instance.h"
#include "resp/parse.h"

static const struct resp_limits lim = { 16, 40, 100, 64 };
static const uint32_t keys[] = { 1, 3, 4 };
static const char prefix[] = "proj:x:";

struct result {
	enum resp_result rc;
	size_t used, n;
	char error[96];
	uint8_t out[1024];
};

/* Whole, with resp_parse() and call_encode(). */
static void whole(const char *wire, size_t n, uint32_t nkeys, struct result *r)
{
	struct resp_parser ps = { .bulk = -1 };
	uint8_t *copy = malloc(n ? n : 1);
	struct bcall b = { .prefix = (const uint8_t *)prefix };
	int more;

	memset(r, 0, sizeof *r);
	memcpy(copy, wire, n);
	r->rc = resp_parse(&ps, &lim, copy, n);
	snprintf(r->error, sizeof r->error, "%s", ps.error ? ps.error : "");
	if (r->rc == RESP_OK) {
		b.argv = ps.argv;
		b.c.argc = ps.argc;
		b.c.keys = keys;
		while (b.c.nkeys < nkeys && keys[b.c.nkeys] < ps.argc)
			b.c.nkeys++;
		b.c.ns_prefix = sizeof prefix - 1;
		b.c.wire_bytes = call_wire_bytes(&b);
		r->n = call_encode(&b, r->out, sizeof r->out, &more);
		r->used = ps.pos;
		assert_int_equal(more, PURSER_ENCODE_DONE);
	}
	free(copy);
	resp_parser_free(&ps);
}

static void begin(struct resp_stream *s, uint32_t nkeys)
{
	resp_stream_begin(s, &lim);
	s->keys = keys;
	s->nkeys = nkeys;
	s->prefix = (const uint8_t *)prefix;
	s->prefix_len = sizeof prefix - 1;
}

/* Passed through: the first `split` bytes, then the rest, a block of `cap` bytes at a time.  What was not
 * used comes again with more behind it, in memory of its own. */
static void passed(const char *wire, size_t n, uint32_t nkeys, size_t split, size_t cap, struct result *r)
{
	struct resp_stream s;
	size_t here = split, used, out;

	memset(r, 0, sizeof *r);
	begin(&s, nkeys);
	for (;;) {
		uint8_t *in = malloc(here - r->used + 1), *dst = malloc(cap);

		if (here > r->used)
			memcpy(in, wire + r->used, here - r->used);
		r->rc = resp_stream_pass(&s, in, here - r->used, &used, dst, cap, &out);
		assert_true(used <= here - r->used && out <= cap && r->n + out <= sizeof r->out);
		if (out)
			memcpy(r->out + r->n, dst, out);
		free(in);
		free(dst);
		r->used += used;
		r->n += out;
		if (r->rc != RESP_MORE)
			break;
		if (out == cap)
			continue;
		if (here == n)
			break;
		here++; /* byte by byte behind the split */
	}
	snprintf(r->error, sizeof r->error, "%s", s.ps.error ? s.ps.error : "");
}

static void same(const struct result *a, const struct result *b)
{
	if (a->rc == RESP_MORE && b->rc == RESP_BAD) /* it looks at a byte earlier */
		assert_string_equal(b->error, "Protocol error: expected CR LF behind a bulk");
	else
		assert_int_equal(a->rc, b->rc);
	if (a->rc == RESP_OK) {
		assert_int_equal(a->used, b->used);
		assert_int_equal(a->n, b->n);
		assert_memory_equal(a->out, b->out, a->n);
	}
	if (a->rc == RESP_BAD || a->rc == RESP_BIG)
		assert_string_equal(a->error, b->error);
}

#define W(s) { s, sizeof(s) - 1 }
static const struct { const char *s; size_t n; } table[] = {
	W("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20\r\n01234567890123456789\r\n"),
	W("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n"),
	W("*5\r\n$4\r\nMSET\r\n$2\r\n\r\n\r\n$2\r\n\r\n\r\n$0\r\n\r\n$3\r\n$1\r\r\n"),
	W("*5\r\n$4\r\nMSET\r\n$010\r\n0123456789\r\n$+2\r\nab\r\n$1\r\nx\r\n$1\r\ny\r\n"),
	W("*1\r\n$40\r\n0123456789012345678901234567890123456789\r\n"),
	W("*1\r\n$41\r\n"), W("*17\r\n"), W("*2\r\n$3\r\nGET\r\n$-1\r\n"), W("*2\r\n$3\r\nGET\r\n$x\r\n"),
	W("*2\r\n$3\r\nGET\r\n:1\r\n"), W("*2\r\n$3\r\nGETxx$1\r\nk\r\n"), W("*2\r\n$3\r\nGET\rx$1\r\nk\r\n"),
	W("*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n"), W("*x\r\n"), W("*3000000000\r\n"),
	W("*2\r\n$3\r\nGET\r\n$11111111111111111111111111111111111111111111111111111111111111111\r\n"),
	W("*4\r\n$40\r\n0123456789012345678901234567890123456789\r\n$40\r\n0123456789012345678901234567890123456789"
	  "\r\n$30\r\n"),
};

static void every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		for (uint32_t nkeys = 0; nkeys <= 3; nkeys += 3) {
			struct result want, got;

			whole(table[i].s, table[i].n, nkeys, &want);
			for (size_t split = 0; split <= table[i].n; split++)
				for (size_t cap = 1; cap < 40; cap += split % 3 + 1) {
					passed(table[i].s, table[i].n, nkeys, split, cap, &got);
					same(&want, &got);
				}
		}
}

/* Cut short, it is not complete however it is split. */
static void every_end(void **state)
{
	static const char wire[] = "*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$12\r\nabcdefghijkl\r\n$2\r\nbb\r\n";
	struct result got;

	(void)state;
	for (size_t n = 1; n < sizeof wire - 1; n++)
		for (size_t split = 0; split <= n; split += 3) {
			passed(wire, n, 3, split, 7, &got);
			assert_int_equal(got.rc, RESP_MORE);
		}
}

/* To nowhere: all of the request is taken, and nothing of the next one. */
static void thrown_away(void **state)
{
	static const char wire[] = "*2\r\n$4\r\nECHO\r\n$12\r\nabcdefghijkl\r\n*1\r\n$4\r\nPING\r\n";
	struct resp_stream s;
	size_t used, out;

	(void)state;
	begin(&s, 0);
	assert_int_equal(resp_stream_pass(&s, (const uint8_t *)wire, 20, &used, NULL, SIZE_MAX, &out), RESP_MORE);
	assert_int_equal(resp_stream_pass(&s, (const uint8_t *)wire + used, sizeof wire - 1 - used, &out, NULL,
	    SIZE_MAX, &(size_t){ 0 }), RESP_OK);
	assert_memory_equal(wire + used + out, "*1\r\n$4\r\nPING", 12);
	begin(&s, 0);
	assert_int_equal(resp_stream_pass(&s, NULL, 0, &used, NULL, SIZE_MAX, &out), RESP_MORE);
	assert_int_equal(used, 0);
}

static uint64_t rnd(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Requests made at random, every third one with a byte that is wrong, cut or doubled. */
static void at_random(void **state)
{
	const char *env = getenv("PURSER_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL) * 2654435761u, x = seed | 1;
	int rounds = getenv("PURSER_LONG") ? 200000 : 5000, ok = 0;

	(void)state;
	print_message("PURSER_SEED=%llu\n", (unsigned long long)seed);
	for (int i = 0; i < rounds; i++) {
		char wire[1024];
		struct result want, got;
		unsigned argc = (unsigned)(rnd(&x) % 6) + 1;
		size_t n = (size_t)snprintf(wire, sizeof wire, "*%u\r\n", argc);

		for (unsigned a = 0; a < argc; a++) {
			size_t len = rnd(&x) % (i % 50 ? 20 : 50);

			n += (size_t)snprintf(wire + n, sizeof wire - n, "$%zu\r\n", len);
			for (size_t k = 0; k < len; k++)
				wire[n++] = "\r\n$*01a"[rnd(&x) % 7];
			n += (size_t)snprintf(wire + n, sizeof wire - n, "\r\n");
		}
		if (i % 3 == 0) {
			size_t at = 1 + rnd(&x) % (n - 1);

			if (rnd(&x) & 1)
				wire[at] = "\r\n$*9-a:"[rnd(&x) % 8];
			else
				n = at;
		}
		whole(wire, n, 3, &want);
		if (want.rc == RESP_EMPTY)
			continue;
		passed(wire, n, 3, rnd(&x) % (n + 1), rnd(&x) % 60 + 1, &got);
		same(&want, &got);
		ok += want.rc == RESP_OK;
	}
	assert_true(ok > rounds / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_split), cmocka_unit_test(every_end), cmocka_unit_test(thrown_away),
		cmocka_unit_test(at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
