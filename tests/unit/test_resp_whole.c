/* SPDX-License-Identifier: Apache-2.0
 *
 * The filter that gathers one value: at every split it is handed over once and whole, more than one is refused, and
 * so is one that is too large.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/errors.h"
#include "resp/filter.h"

struct rig {
	struct whole_filter w;
	struct out out, *to;
	struct out_pool pool;
	struct arena arena;
	uint64_t mem[8];
	unsigned edits;
	size_t seen;
};

static int edit(struct whole_filter *f, const uint8_t *p, size_t n)
{
	struct rig *r = f->arg;

	r->edits++;
	r->seen = n;
	return whole_put(f, "<", 1) || whole_put(f, p, n) || whole_put(f, ">", 1);
}

static void begin(struct rig *r, size_t max)
{
	memset(r, 0, sizeof *r);
	arena_begin(&r->arena, r->mem, sizeof r->mem);
	r->to = &r->out;
	r->w.out = &r->to;
	r->w.pool = &r->pool;
	r->w.arena = &r->arena;
	r->w.edit = edit;
	r->w.arg = r;
	r->w.max = max;
	whole_begin(&r->w);
}

static void end(struct rig *r)
{
	out_clear(&r->out, &r->pool);
	out_pool_free(&r->pool);
	arena_end(&r->arena);
}

static int feed(struct rig *r, const char *p, size_t n)
{
	return r->w.f.feed(&r->w.f, (const uint8_t *)p, n);
}

static const char *const values[] = { "+OK\r\n", ":-12\r\n", "$-1\r\n", "$0\r\n\r\n", "$5\r\nhello\r\n", "*0\r\n", "*-1\r\n", "-ERR no\r\n",
	"*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$0\r\n\r\n$3\r\n\r\n\r\r\n", "%1\r\n+k\r\n~2\r\n#t\r\n,1.5\r\n", "_\r\n" };

static void every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		size_t n = strlen(values[i]);

		for (size_t a = 0; a <= n; a++)
			for (size_t b = a; b <= n; b++) {
				struct rig r;
				const uint8_t *flat;

				begin(&r, 1 << 20);
				assert_int_equal(feed(&r, values[i], a), 0);
				assert_int_equal(feed(&r, values[i] + a, b - a), 0);
				assert_int_equal(feed(&r, values[i] + b, n - b), 0);
				assert_int_equal(r.edits, 1);
				assert_int_equal(r.seen, n);
				assert_int_equal(r.out.bytes, n + 2);
				flat = out_flat(&r.out, &r.pool);
				assert_memory_equal(flat + 1, values[i], n);
				end(&r);
			}
	}
}

static void refused(void **state)
{
	struct rig r;
	char large[5000];
	int n = snprintf(large, sizeof large, "$4000\r\n%04000d\r\n", 1);

	(void)state;
	begin(&r, 1 << 20);
	assert_int_equal(feed(&r, "+OK\r\n+OK\r\n", 10), -1);
	end(&r);
	begin(&r, 1 << 20);
	assert_int_equal(feed(&r, "+OK\r\n", 5), 0);
	assert_int_equal(feed(&r, ":", 1), -1);
	end(&r);
	begin(&r, 1 << 20);
	assert_int_equal(feed(&r, "$x\r\n", 4), -1);
	assert_int_equal(r.w.f.err, ERR_NONE);
	end(&r);
	begin(&r, 4007);
	assert_int_equal(feed(&r, large, 100), 0);
	assert_int_equal(feed(&r, large + 100, (size_t)n - 100), -1);
	assert_int_equal(r.w.f.err, ERR_TOOBIG);
	assert_int_equal(r.edits, 0);
	end(&r);
	begin(&r, 5000);
	for (int i = 0; i < n; i++)
		assert_int_equal(feed(&r, large + i, 1), 0);
	assert_int_equal(r.edits, 1);
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_split), cmocka_unit_test(refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
