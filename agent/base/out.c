/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdlib.h>
#include "base/out.h"

static struct out_block *block_new(struct out_pool *pool, size_t n)
{
	struct out_block *b;

	if (n <= OUT_BLOCK && pool->free) {
		b = pool->free;
		pool->free = b->next;
		pool->nfree--;
	} else {
		size_t cap = n <= OUT_BLOCK ? OUT_BLOCK : n;

		if (cap > SIZE_MAX - sizeof *b)
			return NULL;
		b = malloc(sizeof *b + cap);
		if (!b)
			return NULL;
		b->cap = cap;
		b->pooled = cap == OUT_BLOCK;
		b->p = (uint8_t *)(b + 1);
		b->release = NULL;
	}
	b->next = NULL;
	b->at = b->end = 0;
	return b;
}

static void block_drop(struct out_block *b, struct out_pool *pool)
{
	if (b->release)
		b->release(b->arg);
	if (b->pooled && pool->nfree < pool->max) {
		b->next = pool->free;
		pool->free = b;
		pool->nfree++;
		return;
	}
	free(b);
}

void out_pool_free(struct out_pool *pool)
{
	while (pool->free) {
		struct out_block *b = pool->free;

		pool->free = b->next;
		free(b);
	}
	pool->nfree = 0;
}

static void append(struct out *o, struct out_block *b)
{
	if (o->tail)
		o->tail->next = b;
	else
		o->head = b;
	o->tail = b;
}

uint8_t *out_reserve_slow(struct out *o, struct out_pool *pool, size_t n)
{
	struct out_block *b = block_new(pool, n);

	if (!b)
		return NULL;
	append(o, b);
	return b->p;
}

int out_put_slow(struct out *o, struct out_pool *pool, const void *p, size_t n)
{
	struct out_block *t = o->tail;
	size_t first = 0;

	if (t && t->cap > t->end && n <= OUT_BLOCK)
		first = t->cap - t->end < n ? t->cap - t->end : n;
	if (n - first) {
		struct out_block *b = block_new(pool, n - first);

		if (!b)
			return -1;
		if (first) {
			memcpy(t->p + t->end, p, first);
			t->end += first;
		}
		append(o, b);
		memcpy(b->p, (const uint8_t *)p + first, n - first);
		b->end = n - first;
	}
	o->bytes += n;
	return 0;
}

int out_ref(struct out *o, const void *p, size_t n, void (*release)(void *), void *arg)
{
	struct out_block *b = malloc(sizeof *b);

	if (!b)
		return -1;
	memset(b, 0, sizeof *b);
	b->p = (uint8_t *)(uintptr_t)p; /* never written: cap is 0 */
	b->end = n;
	b->release = release;
	b->arg = arg;
	append(o, b);
	o->bytes += n;
	return 0;
}

int out_own(struct out *o)
{
	for (struct out_block *b = o->head; b; b = b->next) {
		size_t n = b->end - b->at;
		uint8_t *copy;

		if (b->cap || b->release == free)
			continue;
		copy = malloc(n ? n : 1);
		if (!copy)
			return -1;
		memcpy(copy, b->p + b->at, n);
		b->release(b->arg);
		b->release = free;
		b->arg = b->p = copy;
		b->at = 0;
		b->end = n;
	}
	return 0;
}

void out_splice_slow(struct out *dst, struct out *src)
{
	if (dst->tail)
		dst->tail->next = src->head;
	else
		dst->head = src->head;
	dst->tail = src->tail;
	dst->bytes += src->bytes;
	memset(src, 0, sizeof *src);
}

int out_iov(const struct out *o, struct iovec *iov, int max)
{
	int n = 0;

	for (struct out_block *b = o->head; b && n < max; b = b->next) {
		if (b->end == b->at)
			continue;
		iov[n].iov_base = b->p + b->at;
		iov[n++].iov_len = b->end - b->at;
	}
	return n;
}

void out_take(struct out *o, struct out_pool *pool, size_t n)
{
	o->bytes -= n;
	o->taken += n;
	while (o->head) {
		struct out_block *b = o->head;
		size_t have = b->end - b->at;

		if (n < have) {
			b->at += n;
			return;
		}
		n -= have;
		o->head = b->next;
		if (!o->head)
			o->tail = NULL;
		block_drop(b, pool);
	}
}

void out_drop(struct out *o, struct out_pool *pool, size_t n)
{
	struct out_block *b = o->head, *next, *last = NULL;
	size_t keep = o->bytes - n;

	o->bytes = keep;
	while (b && keep) {
		if (b->end - b->at > keep)
			b->end = b->at + keep;
		keep -= b->end - b->at;
		last = b;
		b = b->next;
	}
	o->tail = last;
	*(last ? &last->next : &o->head) = NULL;
	for (; b; b = next) {
		next = b->next;
		block_drop(b, pool);
	}
}

void out_clear_slow(struct out *o, struct out_pool *pool)
{
	while (o->head) {
		struct out_block *b = o->head;

		o->head = b->next;
		block_drop(b, pool);
	}
	o->tail = NULL;
	o->bytes = 0;
}

const uint8_t *out_flat(struct out *o, struct out_pool *pool)
{
	struct out_block *b;

	if (!o->head)
		return (const uint8_t *)"";
	if (o->head == o->tail)
		return o->head->p + o->head->at;
	b = block_new(pool, o->bytes);
	if (!b)
		return NULL;
	for (struct out_block *i = o->head; i; i = i->next) {
		memcpy(b->p + b->end, i->p + i->at, i->end - i->at);
		b->end += i->end - i->at;
	}
	out_clear(o, pool);
	append(o, b);
	o->bytes = b->end;
	return b->p;
}
