/* SPDX-License-Identifier: Apache-2.0
 *
 * base: the reply chain, the byte buffer, the arena.
 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/out.h"

static int released;

static void release(void *arg)
{
	released += *(int *)arg;
}

/* Random appends, references, splices and takes against a flat model. */
static void chain_like_a_string(void **state)
{
	struct out_pool pool = { .max = 3 };
	struct out o = { 0 }, side = { 0 };
	size_t cap = 4u << 20, n = 0, at = 0;
	uint8_t *model = malloc(cap), *src = malloc(60000);
	int one = 1, refs = 0;
	unsigned seed = 12345;

	(void)state;
	released = 0;
	for (size_t i = 0; i < 60000; i++)
		src[i] = (uint8_t)(i * 31 + i / 256);
	for (int step = 0; step < 3000; step++) {
		size_t len = (size_t)(rand_r(&seed) % (step % 50 ? 300 : 40000)), from = (size_t)(rand_r(&seed) % 10000);

		if (n + len > cap)
			break;
		switch (rand_r(&seed) % 7) {
		case 0:
			assert_int_equal(out_put(&o, &pool, src + from, len), 0);
			break;
		case 1: {
			uint8_t *d = out_reserve(&o, &pool, len);

			assert_non_null(d);
			memcpy(d, src + from, len);
			out_commit(&o, len);
			break;
		}
		case 2:
			assert_int_equal(out_ref(&o, src + from, len, release, &one), 0);
			refs++;
			break;
		case 3:
			assert_int_equal(out_put(&side, &pool, src + from, len), 0);
			out_splice(&o, &side);
			assert_null(side.head);
			break;
		case 4:
			len = 0;
			assert_int_equal(out_own(&o), 0);
			assert_int_equal(released, refs);
			break;
		case 5: {
			size_t drop = (size_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 300 : o.bytes + 1);

			len = 0;
			drop = drop < o.bytes ? drop : o.bytes;
			out_drop(&o, &pool, drop);
			n -= drop;
			break;
		}
		default: {
			struct iovec iov[8];
			int k = out_iov(&o, iov, 8);
			size_t take = 0;

			for (int j = 0; j < k; j++) {
				assert_memory_equal(iov[j].iov_base, model + at + take, iov[j].iov_len);
				take += iov[j].iov_len;
			}
			take = take ? (size_t)rand_r(&seed) % (take + 1) : 0;
			out_take(&o, &pool, take);
			at += take;
			len = 0;
		}
		}
		if (len)
			memcpy(model + n, src + from, len);
		n += len;
		assert_int_equal(o.bytes, n - at);
		assert_int_equal(o.taken, at);
	}
	assert_memory_equal(out_flat(&o, &pool), model + at, n - at);
	out_clear(&o, &pool);
	assert_int_equal(released, refs);
	assert_true(pool.nfree <= pool.max);
	out_pool_free(&pool);
	free(model);
	free(src);
}

static void numbers(void **state)
{
	static const int64_t v[] = { 0, 1, -1, 9, 10, 99, 100, 101, -100, 12345678, INT64_MAX, INT64_MIN };

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		char want[32], got[32];
		size_t n = dec_i64(got, v[i]);

		snprintf(want, sizeof want, "%" PRId64, v[i]);
		assert_int_equal(n, strlen(want));
		assert_memory_equal(got, want, n);
	}
}

static void buffer(void **state)
{
	struct buf b = { .max = 100 };

	(void)state;
	buf_puts(&b, "hello ");
	buf_printf(&b, "%d %s", 42, "x");
	buf_putu(&b, UINT64_MAX);
	buf_puti(&b, -7);
	assert_string_equal(buf_cstr(&b), "hello 42 x18446744073709551615-7");
	buf_take(&b, 6);
	assert_int_equal(buf_len(&b), strlen("42 x18446744073709551615-7"));
	assert_memory_equal(buf_data(&b), "42", 2);
	for (int i = 0; i < 20; i++)
		buf_puts(&b, "0123456789");
	assert_true(b.failed); /* at its maximum: refused, and it says so */
	assert_true(buf_len(&b) <= 100);
	buf_free(&b);
	assert_int_equal(b.max, 100);
}

static void arena(void **state)
{
	uint64_t mem[8];
	struct arena a;
	uint8_t *p, *q;

	(void)state;
	arena_begin(&a, mem, sizeof mem);
	p = arena_get(&a, 5);
	q = arena_get(&a, 5);
	assert_ptr_equal(p, mem);
	assert_ptr_equal(q, p + 8);
	for (int i = 0; i < 200; i++) {
		p = arena_get(&a, (size_t)(i * 37 % 6000) + 1);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 8, 0);
		memset(p, i, (size_t)(i * 37 % 6000) + 1);
	}
	assert_null(arena_get(&a, SIZE_MAX));
	assert_null(arena_get(&a, SIZE_MAX - 3));
	arena_end(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(chain_like_a_string), cmocka_unit_test(numbers),
		cmocka_unit_test(buffer), cmocka_unit_test(arena) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
