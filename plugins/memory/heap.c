/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory with accounts, locks, scratch space, random numbers: what every other file stands on.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "keyspace.h"
#include "script_long.h"

/* Tests let an allocation fail: the one after fail_after more have succeeded. */
int mem_must_fail(struct store *st)
{
	if (LIKELY(st->fail_after < 0))
		return 0;
	return st->fail_after-- == 0 ? (st->fail_after = 0, 1) : 0;
}

/* Sanitizers know malloc's blocks: who writes beyond one, or into one that is free, is told. */
#if defined(__SANITIZE_ADDRESS__)
#define SLABS_USED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLABS_USED 0
#endif
#endif
#ifndef SLABS_USED
#define SLABS_USED 1
#endif

/* The whole chunk is asked for: what has room in it may grow in place. */
static size_t usable(size_t n)
{
	return n <= SLAB_MAX ? chunk_size(n) : chunk_size(n) - (n >= (128u << 10) ? 16 : 8);
}

static inline int is_small(size_t n) { return SLABS_USED && LIKELY(n <= SLAB_MAX); }

static inline void *get(struct ctx *cx, size_t n)
{
	unsigned class;

	if (!is_small(n))
		return malloc(usable(n));
	class = slab_class_of(n);
	return slab_get(&cx->st->heap, &cx->magazine[class], class);
}

#define PAGES_FIRST (16u << 10)        /* blocks above have mostly whole pages */

/* malloc gives back what many freed blocks have become together, when the last of them goes: gigabytes at
 * once.  What is freed in a turn of the timer has no pages by then. */
static void pages_first(void *p, size_t n)
{
	uintptr_t begin = ((uintptr_t)p + 4095) & ~(uintptr_t)4095, end = ((uintptr_t)p + n) & ~(uintptr_t)4095;

	if (end > begin)
		madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static inline void put(struct ctx *cx, void *p, size_t n)
{
	unsigned class;

	if (!is_small(n)) {
		cx->work += (int64_t)(n >> 12);
		if (cx->in_turn && n > PAGES_FIRST)
			pages_first(p, n);
		free(p);
		return;
	}
	class = slab_class_of(n);
	if (UNLIKELY(slab_put(&cx->st->heap, &cx->magazine[class], class, p)))
		upkeep_arm(cx); /* what is left of the class is moved together (defrag.c), pages are given back */
}

void *mem_get(struct ctx *cx, size_t n)
{
	void *p = mem_must_fail(cx->st) ? NULL : get(cx, n);

	if (p)
		mem_account(cx, (int64_t)chunk_size(n));
	return p;
}

void mem_put(struct ctx *cx, void *p, size_t n)
{
	if (!p)
		return;
	mem_account(cx, -(int64_t)chunk_size(n));
	put(cx, p, n);
}

void *mem_better(struct ctx *cx, const void *p, size_t n)
{
	return is_small(n) ? slab_better(&cx->st->heap, p, slab_class_of(n)) : NULL;
}

void mem_put_moved(struct ctx *cx, void *p, size_t n)
{
	slab_put_shared(&cx->st->heap, p, slab_class_of(n));
}

void mem_put_shared(struct store *st, void *p, size_t n)
{
	atomic_fetch_add_explicit(&st->released, (int64_t)chunk_size(n), memory_order_relaxed);
	if (is_small(n))
		slab_put_shared(&st->heap, p, slab_class_of(n));
	else
		free(p);
}

void *mem_resize(struct ctx *cx, void *p, size_t old, size_t n)
{
	void *q;

	if (mem_must_fail(cx->st))
		return NULL;
	if (!is_small(old) && !is_small(n)) {
		q = realloc(p, usable(n));
	} else if (chunk_size(old) == chunk_size(n)) {
		q = p;
	} else if ((q = get(cx, n)) != NULL) {
		memcpy(q, p, old < n ? old : n);
		put(cx, p, old);
	}
	if (q)
		mem_account(cx, (int64_t)chunk_size(n) - (int64_t)chunk_size(old));
	return q;
}

/* Blocks of a multiple of 64 bytes begin at one.  Of malloc's glibc gives the front of the gap back, but
 * keeps a header and its own rounding. */
size_t mem_aligned_size(size_t n) { return n <= SLAB_MAX ? chunk_size(n) : chunk_size(n + 16); }

void *mem_get_aligned(struct ctx *cx, size_t n)
{
	void *p;

	if (mem_must_fail(cx->st))
		return NULL;
	p = is_small(n) ? get(cx, n) : aligned_alloc(64, n);
	if (p) {
		memset(p, 0, n);
		mem_account(cx, (int64_t)mem_aligned_size(n));
	}
	return p;
}

void mem_put_aligned(struct ctx *cx, void *p, size_t n)
{
	if (!p)
		return;
	mem_account(cx, -(int64_t)mem_aligned_size(n));
	put(cx, p, n);
}

void *mem_map(struct ctx *cx, size_t n)
{
	void *p;

	if (mem_must_fail(cx->st))
		return NULL;
	p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void mem_unmap(void *p, size_t n) { munmap(p, n); }

static void wait_turn(unsigned turn)
{
	if (turn < 64) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#endif
	} else if (turn < 96) {
		sched_yield();
	} else {
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
}

int shard_wait(struct ctx *cx, _Atomic uint32_t *l)
{
	for (unsigned turn = 0; !script_bars(cx->st); turn++) {
		if (!atomic_load_explicit(l, memory_order_relaxed) &&
		    !atomic_exchange_explicit(l, 1, memory_order_acquire))
			return 0;
		wait_turn(turn);
	}
	return -1;
}

int shards_claim(struct ctx *cx, uint32_t mask)
{
	uint32_t todo = mask, got = 0;

	for (; todo; todo &= todo - 1) {
		_Atomic uint32_t *l = &cx->st->shard[__builtin_ctz(todo)].lock;

		if (UNLIKELY(atomic_exchange_explicit(l, 1, memory_order_acquire)) && shard_wait(cx, l)) {
			for (; got; got &= got - 1)
				unlock(&cx->st->shard[__builtin_ctz(got)].lock);
			return -1;
		}
		got |= todo & -todo;
	}
	cx->held = mask;
	return 0;
}

uint32_t shards_beside(struct ctx *cx, uint32_t mask)
{
	return cx->held || script_bars(cx->st) || shards_claim(cx, mask) ? 0 : mask;
}

/* Sections are short; a holder that lost its CPU is waited for with ever longer naps. */
void lock_slow(_Atomic uint32_t *l)
{
	unsigned turn = 0;

	for (;;) {
		while (atomic_load_explicit(l, memory_order_relaxed)) {
			wait_turn(turn);
			turn++;
		}
		if (!atomic_exchange_explicit(l, 1, memory_order_acquire))
			return;
	}
}

uint32_t shards_lock(struct ctx *cx, uint32_t mask)
{
	uint32_t mine = mask & ~cx->held, todo = mine;

	cx->held |= mine;
	while (todo) {
		lock(&cx->st->shard[__builtin_ctz(todo)].lock);
		todo &= todo - 1;
	}
	return mine;
}

void shards_unlock(struct ctx *cx, uint32_t mask)
{
	uint32_t todo = mask & cx->held;

	cx->held &= ~todo;
	while (todo) {
		unlock(&cx->st->shard[__builtin_ctz(todo)].lock);
		todo &= todo - 1;
	}
}

void *scratch(struct ctx *cx, size_t n)
{
	void *p;

	if (n <= cx->scratch_cap)
		return cx->scratch;
	if (mem_must_fail(cx->st) || !(p = realloc(cx->scratch, n)))
		return NULL;
	cx->scratch = p;
	cx->scratch_cap = n;
	return p;
}

void heap_leave(struct ctx *cx)
{
	unsigned i;

	for (i = 1; i < SLAB_CLASSES; i++)
		slab_spill(&cx->st->heap, &cx->magazine[i], i, 0);
}

uint64_t now_ms(struct ctx *cx)
{
	if (!cx->now_ms)
		cx->now_ms = cx->h->wall_ms(cx->x);
	return cx->now_ms;
}

/* xoroshiro128+ */
uint64_t rng_next(struct ctx *cx)
{
	uint64_t a = cx->rng[0], b = cx->rng[1], r = a + b;

	b ^= a;
	cx->rng[0] = SIP_ROTL(a, 24) ^ b ^ (b << 16);
	cx->rng[1] = SIP_ROTL(b, 37);
	return r;
}
