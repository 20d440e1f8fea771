/* SPDX-License-Identifier: Apache-2.0
 *
 * base/out: bytes on their way to a descriptor, as a chain of blocks.  Small appends go into 16 KiB
 * blocks from a per-worker pool, so an idle connection holds no memory; large values get a block of
 * their own or are referenced without a copy.  One thread.
 */
#ifndef BASE_OUT_H
#define BASE_OUT_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define OUT_BLOCK 16384u

struct out_block {
	struct out_block *next;
	uint8_t *p;
	uint32_t pooled;          /* 1: p is OUT_BLOCK bytes behind this head and goes back to the pool */
	size_t at, end, cap;      /* the bytes are p[at..end); cap 0: a reference, nothing is appended */
	void (*release)(void *arg); /* of a reference */
	void *arg;
};

struct out_pool {
	struct out_block *free;
	uint32_t nfree, max;      /* blocks kept for re-use */
};

struct out {
	struct out_block *head, *tail;
	size_t bytes;             /* in the whole chain */
	uint64_t taken;           /* by out_take() so far */
};

/* How many bytes were ever put in front of what comes next. */
static inline uint64_t out_position(const struct out *o) { return o->taken + o->bytes; }

void out_pool_free(struct out_pool *pool);
/* n contiguous bytes behind the tail, to be followed by out_commit; NULL: no memory. */
uint8_t *out_reserve_slow(struct out *o, struct out_pool *pool, size_t n);
static inline uint8_t *out_reserve(struct out *o, struct out_pool *pool, size_t n)
{
	struct out_block *t = o->tail;

	if (t && t->cap - t->end >= n && t->cap)
		return t->p + t->end;
	return out_reserve_slow(o, pool, n);
}
static inline void out_commit(struct out *o, size_t n)
{
	o->tail->end += n;
	o->bytes += n;
}
/* 0, or -1: no memory (nothing was appended). */
int out_put_slow(struct out *o, struct out_pool *pool, const void *p, size_t n);
static inline int out_put(struct out *o, struct out_pool *pool, const void *p, size_t n)
{
	struct out_block *t = o->tail;

	if (t && t->cap && t->cap - t->end >= n) {
		memcpy(t->p + t->end, p, n);
		t->end += n;
		o->bytes += n;
		return 0;
	}
	return out_put_slow(o, pool, p, n);
}
/* p stays valid until release(arg), which out_take or out_clear calls. */
int out_ref(struct out *o, const void *p, size_t n, void (*release)(void *), void *arg);
/* References become copies and are released.  0, or -1: no memory, some are left. */
int out_own(struct out *o);
/* Move all of src behind dst. */
void out_splice_slow(struct out *dst, struct out *src);
static inline void out_splice(struct out *dst, struct out *src)
{
	if (src->head)
		out_splice_slow(dst, src);
}
int out_iov(const struct out *o, struct iovec *iov, int max);
void out_take(struct out *o, struct out_pool *pool, size_t n); /* n <= bytes were sent */
void out_drop(struct out *o, struct out_pool *pool, size_t n); /* the last n <= bytes are not wanted */
void out_clear_slow(struct out *o, struct out_pool *pool);
static inline void out_clear(struct out *o, struct out_pool *pool)
{
	if (o->head)
		out_clear_slow(o, pool);
}
/* The whole chain as one run of bytes: the only block, or copied together.  NULL: no memory. */
const uint8_t *out_flat(struct out *o, struct out_pool *pool);
#endif
