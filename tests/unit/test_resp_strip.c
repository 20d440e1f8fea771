/* SPDX-License-Identifier: Apache-2.0
 *
 * The filter that takes the prefix off key names: whole, byte by byte, at every split; names that are
 * not the project's; nonsense.
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
#include "resp/filter.h"

#define PREFIX "proj:a:"

struct want {
	unsigned depth;
	const char *in;
	size_t n;
	const char *out; /* NULL: refused */
	uint32_t foreign;
};
#define W(depth, in, out, foreign) { depth, in, sizeof(in) - 1, out, foreign }

static const struct want table[] = {
	W(1, "*0\r\n", "*0\r\n", 0),
	W(1, "*2\r\n$8\r\nproj:a:k\r\n$9\r\nproj:a:xy\r\n", "*2\r\n$1\r\nk\r\n$2\r\nxy\r\n", 0),
	W(1, "*1\r\n$7\r\nproj:a:\r\n", "*1\r\n$0\r\n\r\n", 0),
	W(1, "*2\r\n$8\r\nproj:b:k\r\n$8\r\nproj:a:k\r\n", "*2\r\n$0\r\n\r\n$1\r\nk\r\n", 1),
	W(1, "*2\r\n$3\r\nabc\r\n$0\r\n\r\n", "*2\r\n$0\r\n\r\n$0\r\n\r\n", 2),
	W(1, "~1\r\n$8\r\nproj:a:k\r\n", "~1\r\n$1\r\nk\r\n", 0),
	W(1, "*2\r\n$-1\r\n:5\r\n", "*2\r\n$-1\r\n:5\r\n", 0),
	W(1, "*2\r\n_\r\n$8\r\nproj:a:k\r\n", "*2\r\n_\r\n$1\r\nk\r\n", 0),
	W(1, "*1\r\n$11\r\nproj:a:\r\n\r\n\r\n", "*1\r\n$4\r\n\r\n\r\n\r\n", 0),
	/* SCAN: the cursor stays, names are one level deeper */
	W(2, "*2\r\n$1\r\n0\r\n*2\r\n$8\r\nproj:a:k\r\n$8\r\nproj:a:l\r\n",
	    "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nk\r\n$1\r\nl\r\n", 0),
	W(2, "*2\r\n$2\r\n17\r\n*0\r\n", "*2\r\n$2\r\n17\r\n*0\r\n", 0),
	W(2, "*2\r\n$8\r\nproj:a:9\r\n*1\r\n$8\r\nproj:a:k\r\n", "*2\r\n$8\r\nproj:a:9\r\n*1\r\n$1\r\nk\r\n", 0),
	W(2, "%1\r\n+x\r\n*1\r\n$8\r\nproj:a:k\r\n", "%1\r\n+x\r\n*1\r\n$1\r\nk\r\n", 0),
	/* values behind a finished inner array are on the outer level again */
	W(2, "*2\r\n*1\r\n$8\r\nproj:a:k\r\n$8\r\nproj:a:k\r\n", "*2\r\n*1\r\n$1\r\nk\r\n$8\r\nproj:a:k\r\n", 0),
	/* XREAD: ids, fields and values are as deep as they like */
	W(STRIP_STREAMS, "*2\r\n*2\r\n$8\r\nproj:a:s\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$8\r\nproj:a:f\r\n$1\r\nv\r\n"
	    "*2\r\n$9\r\nproj:a:s2\r\n*2\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n*2\r\n$3\r\n1-2\r\n*0\r\n",
	    "*2\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$8\r\nproj:a:f\r\n$1\r\nv\r\n"
	    "*2\r\n$2\r\ns2\r\n*2\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n*2\r\n$3\r\n1-2\r\n*0\r\n", 0),
	W(STRIP_STREAMS, "%2\r\n$8\r\nproj:a:s\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$8\r\nproj:a:f\r\n$8\r\nproj:a:v\r\n"
	    "$9\r\nproj:a:s2\r\n*2\r\n*2\r\n$3\r\n1-1\r\n_\r\n*2\r\n$3\r\n1-2\r\n*0\r\n",
	    "%2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$8\r\nproj:a:f\r\n$8\r\nproj:a:v\r\n"
	    "$2\r\ns2\r\n*2\r\n*2\r\n$3\r\n1-1\r\n_\r\n*2\r\n$3\r\n1-2\r\n*0\r\n", 0),
	W(STRIP_STREAMS, "*1\r\n*2\r\n$8\r\nproj:b:s\r\n*0\r\n", "*1\r\n*2\r\n$0\r\n\r\n*0\r\n", 1),
	W(STRIP_STREAMS, "%1\r\n$8\r\nproj:b:s\r\n*0\r\n", "%1\r\n$0\r\n\r\n*0\r\n", 1),
	/* BLPOP: the name, and a value that looks like one */
	W(STRIP_FIRST, "*2\r\n$8\r\nproj:a:k\r\n$8\r\nproj:a:v\r\n", "*2\r\n$1\r\nk\r\n$8\r\nproj:a:v\r\n", 0),
	W(STRIP_FIRST, "*3\r\n$8\r\nproj:a:z\r\n$1\r\nm\r\n,1.5\r\n", "*3\r\n$1\r\nz\r\n$1\r\nm\r\n,1.5\r\n", 0),
	W(STRIP_FIRST, "*2\r\n$7\r\nproj:a:\r\n$0\r\n\r\n", "*2\r\n$0\r\n\r\n$0\r\n\r\n", 0),
	W(STRIP_FIRST, "*-1\r\n", "*-1\r\n", 0),
	W(STRIP_FIRST, "_\r\n", "_\r\n", 0),
	W(STRIP_STREAMS, "*-1\r\n", "*-1\r\n", 0),
	W(STRIP_STREAMS, "_\r\n", "_\r\n", 0),
	/* LMPOP, ZMPOP: the name, then what was popped */
	W(1, "*2\r\n$8\r\nproj:a:l\r\n*2\r\n$8\r\nproj:a:1\r\n$1\r\n2\r\n",
	    "*2\r\n$1\r\nl\r\n*2\r\n$8\r\nproj:a:1\r\n$1\r\n2\r\n", 0),
	W(1, "*2\r\n$8\r\nproj:a:z\r\n*2\r\n*2\r\n$8\r\nproj:a:m\r\n,1.5\r\n*2\r\n$1\r\nn\r\n,2\r\n",
	    "*2\r\n$1\r\nz\r\n*2\r\n*2\r\n$8\r\nproj:a:m\r\n,1.5\r\n*2\r\n$1\r\nn\r\n,2\r\n", 0),
	W(1, "*-1\r\n", "*-1\r\n", 0),
	W(1, "_\r\n", "_\r\n", 0),
	W(1, "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", NULL, 0), /* deeper than any reply */
	W(1, "*1\r\n$zz\r\n", NULL, 0),
	W(1, "*x\r\n", NULL, 0),
	W(1, "\r\n", NULL, 0),
	W(1, "*1\n", NULL, 0),
	W(1, "|1\r\n", NULL, 0),
};

static int run(const struct want *w, size_t first, size_t step, struct out *out, struct out_pool *pool,
    uint32_t *foreign)
{
	struct strip_filter f;
	struct out *to = out;
	int rc = 0;

	strip_begin(&f, &to, pool, (const uint8_t *)PREFIX, strlen(PREFIX), w->depth);
	for (size_t at = 0, n = first; at < w->n && rc == 0; at += n, n = step) {
		uint8_t *copy;

		if (n > w->n - at)
			n = w->n - at;
		copy = malloc(n ? n : 1);
		memcpy(copy, w->in + at, n);
		rc = f.f.feed(&f.f, copy, n);
		free(copy);
	}
	*foreign = f.foreign;
	return rc;
}

static void check(const struct want *w, size_t first, size_t step)
{
	struct out_pool pool = { .max = 4 };
	struct out out = { 0 };
	uint32_t foreign;
	int rc = run(w, first, step, &out, &pool, &foreign);

	if (!w->out) {
		assert_int_equal(rc, -1);
	} else {
		assert_int_equal(rc, 0);
		assert_int_equal(out.bytes, strlen(w->out));
		assert_memory_equal(out_flat(&out, &pool), w->out, out.bytes);
		assert_int_equal(foreign, w->foreign);
	}
	out_clear(&out, &pool);
	out_pool_free(&pool);
}

static void whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		check(&table[i], table[i].n, table[i].n);
}

static void byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		check(&table[i], 1, 1);
}

static void every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		for (size_t at = 1; at < table[i].n; at++)
			check(&table[i], at, table[i].n);
}

/* A name far larger than any buffer passes through in pieces. */
static void large_name(void **state)
{
	enum { N = 300000 };
	char head[64];
	int h = snprintf(head, sizeof head, "*1\r\n$%d\r\n" PREFIX, N + (int)strlen(PREFIX));
	struct want w = { 1, NULL, 0, NULL, 0 };
	char *in = malloc(N + 64), *want = malloc(N + 64);
	size_t n;

	(void)state;
	memcpy(in, head, (size_t)h);
	memset(in + h, 'x', N);
	memcpy(in + h + N, "\r\n", 2);
	w.in = in;
	w.n = (size_t)h + N + 2;
	n = (size_t)snprintf(want, 64, "*1\r\n$%d\r\n", N);
	memset(want + n, 'x', N);
	memcpy(want + n + N, "\r\n", 3);
	w.out = want;
	check(&w, 1000, 4096);
	check(&w, w.n, w.n);
	free(in);
	free(want);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(whole), cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(every_split), cmocka_unit_test(large_name) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
