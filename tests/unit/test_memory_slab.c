/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks without headers: none overlaps another, they may be freed by any thread, what is empty goes back
 * to the kernel, and sizes that change do not leave memory behind.
 */
#define _GNU_SOURCE
#include <config.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "memory.h"
#include "slab.h"

struct block { uint8_t *p; uint32_t n; uint8_t mark; };

static uint64_t rng = UINT64_C(88172645463325252);

static uint32_t below(uint64_t *s, uint32_t n)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return (uint32_t)(*s >> 32) % n;
}

static struct slab_heap *heap_new(void)
{
	struct slab_heap *h = aligned_alloc(64, (sizeof(*h) + 63) & ~(size_t)63);

	assert_non_null(h);
	slab_open(h);
	return h;
}

static struct block get(struct slab_heap *h, struct magazine *m, uint32_t n, uint8_t mark)
{
	unsigned class = slab_class_of(n);
	struct block b = { slab_get(h, &m[class], class), n, mark };

	assert_non_null(b.p);
	assert_int_equal((uintptr_t)b.p % 8, 0);
	if (n % 64 == 0)
		assert_int_equal((uintptr_t)b.p % 64, 0);
	memset(b.p, mark, n);
	return b;
}

static void check(const struct block *b)
{
	uint32_t i;

	for (i = 0; i < b->n; i++)
		if (b->p[i] != b->mark)
			fail_msg("a block of %u was written by another", b->n);
}

static void put(struct slab_heap *h, struct magazine *m, struct block *b)
{
	unsigned class = slab_class_of(b->n);

	check(b);
	slab_put(h, &m[class], class, b->p);
	b->p = NULL;
}

static void leave(struct slab_heap *h, struct magazine *m)
{
	unsigned i;

	for (i = 1; i < SLAB_CLASSES; i++)
		slab_spill(h, &m[i], i, 0);
}

static void assert_nothing_left(struct slab_heap *h)
{
	assert_int_equal(slab_resident(h), 0);
	slab_trim(h, UINT32_MAX);
	assert_false(slab_has_surplus(h));
	assert_true(h->nempty <= SLAB_RESERVE);
	assert_true(atomic_load(&h->nmapped) <= 1 + SLAB_RESERVE);
	slab_close(h);
	free(h);
}

static void blocks_apart(void **state)
{
	enum { N = 20000, STEPS = 400000 };
	struct slab_heap *h = heap_new();
	struct magazine *m = calloc(SLAB_CLASSES, sizeof(*m));
	struct block *b = calloc(N, sizeof(*b));
	int i;

	(void)state;
	assert_non_null(m);
	assert_non_null(b);
	for (i = 0; i < STEPS; i++) {
		struct block *x = &b[below(&rng, N)];

		if (x->p)
			put(h, m, x);
		else
			*x = get(h, m, 1 + below(&rng, below(&rng, 4) ? 128 : SLAB_MAX), (uint8_t)i);
	}
	for (i = 0; i < N; i++)
		if (b[i].p)
			put(h, m, &b[i]);
	leave(h, m);
	assert_nothing_left(h);
	free(m);
	free(b);
}

static void empty_goes_back(void **state)
{
	enum { N = 100000 };
	struct slab_heap *h = heap_new();
	struct magazine *m = calloc(SLAB_CLASSES, sizeof(*m));
	struct block *b = calloc(N, sizeof(*b));
	unsigned char there;
	uint32_t many;
	uint8_t *page;
	int i;

	(void)state;
	assert_non_null(m);
	assert_non_null(b);
	for (i = 0; i < N; i++)
		b[i] = get(h, m, 56, 1);
	assert_in_range(slab_resident(h), N * 56, N * 56 + 2 * SLAB_BYTES + N * 56 / 100);
	page = (uint8_t *)((uintptr_t)b[N / 2].p & ~(uintptr_t)4095);
	assert_int_equal(mincore(page, 4096, &there), 0);
	assert_true(there & 1);
	for (i = 0; i < N; i++)
		put(h, m, &b[i]);
	leave(h, m);
	/* not at once, but some slabs at a time */
	many = h->nempty;
	assert_true(many > N * 56 / SLAB_BYTES);
	assert_true(slab_has_surplus(h));
	assert_int_equal(slab_trim(h, 10), 10);
	assert_int_equal(h->nempty, many - 10);
	assert_int_equal(slab_trim(h, UINT32_MAX), many - 10 - SLAB_RESERVE);
	assert_int_equal(slab_trim(h, 10), 0);
	assert_true(mincore(page, 4096, &there) != 0 || !(there & 1));
	/* all small, then all large: the same slabs serve */
	for (i = 0; i < N / 10; i++)
		b[i] = get(h, m, 560, 2);
	assert_in_range(slab_resident(h), N * 56, N * 56 + N * 56 / 10);
	for (i = 0; i < N / 10; i++)
		put(h, m, &b[i]);
	leave(h, m);
	assert_nothing_left(h);
	free(m);
	free(b);
}

/* Most go, at random; what is moved fills the slabs that are fullest, and the others drain. */
static void fullest_first(void **state)
{
	enum { N = 100000 };
	struct slab_heap *h = heap_new();
	struct magazine *m = calloc(SLAB_CLASSES, sizeof(*m));
	struct block *b = calloc(N, sizeof(*b));
	uint64_t before;
	int i, moved = 0, left = 0;

	(void)state;
	assert_non_null(m);
	assert_non_null(b);
	for (i = 0; i < N; i++)
		b[i] = get(h, m, 64, 3);
	for (i = 0; i < N; i++)
		if (below(&rng, 10))
			put(h, m, &b[i]);
	leave(h, m);
	before = slab_resident(h);
	assert_true(before > N * 64 / 2);
	for (i = 0; i < N; i++) { /* what a defragmentation does */
		void *to = b[i].p ? slab_better(h, b[i].p, slab_class_of(b[i].n)) : NULL;

		left += b[i].p != NULL;
		if (to) {
			memcpy(to, b[i].p, b[i].n);
			slab_put_shared(h, b[i].p, slab_class_of(b[i].n));
			b[i].p = to;
			moved++;
		}
	}
	assert_in_range(moved, 1, left);
	assert_true(slab_resident(h) < (uint64_t)left * 64 * 3 / 2);
	for (i = 0; i < N; i++)
		if (b[i].p)
			put(h, m, &b[i]);
	leave(h, m);
	assert_nothing_left(h);
	free(m);
	free(b);
}

#define THREADS 4
#define TABLE 4096

struct shared {
	struct slab_heap *h;
	_Atomic uint32_t lock[TABLE];
	struct block b[TABLE];
};

static void *work(void *arg)
{
	struct shared *s = arg;
	struct magazine *m = calloc(SLAB_CLASSES, sizeof(*m));
	uint64_t seed = (uintptr_t)m | 1;
	int i;

	assert_non_null(m);
	for (i = 0; i < 60000; i++) {
		uint32_t at = below(&seed, TABLE);

		lock(&s->lock[at]);
		if (!s->b[at].p)
			s->b[at] = get(s->h, m, 8 + below(&seed, 300), (uint8_t)i);
		else if (i % 16)
			put(s->h, m, &s->b[at]);
		else { /* as a reply that is released late */
			check(&s->b[at]);
			slab_put_shared(s->h, s->b[at].p, slab_class_of(s->b[at].n));
			s->b[at].p = NULL;
		}
		unlock(&s->lock[at]);
	}
	leave(s->h, m);
	free(m);
	return NULL;
}

static void freed_by_others(void **state)
{
	struct shared *s = calloc(1, sizeof(*s));
	pthread_t t[THREADS];
	int i;

	(void)state;
	assert_non_null(s);
	s->h = heap_new();
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, work, s), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (i = 0; i < TABLE; i++)
		if (s->b[i].p) {
			check(&s->b[i]);
			slab_put_shared(s->h, s->b[i].p, slab_class_of(s->b[i].n));
		}
	assert_nothing_left(s->h);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_apart),
		cmocka_unit_test(empty_goes_back),
		cmocka_unit_test(fullest_first),
		cmocka_unit_test(freed_by_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
