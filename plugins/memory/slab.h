/* SPDX-License-Identifier: Apache-2.0
 *
 * slab: blocks without headers for sizes up to SLAB_MAX, in steps of 8 bytes, above SLAB_FINE in those by which
 * a slab can be divided.  Who frees knows the size.
 *
 * A region is 2 MiB of address space: a page of descriptors and 63 slabs of 32 KiB.  A slab has blocks of
 * one class (size); where it is follows from the address of any block in it.  Each context has a magazine
 * for each class; magazines are filled from and emptied into slabs by the batch, under the lock of the
 * class, so that a block may be freed by another thread than the one that got it.
 *
 * New blocks come from the fullest slabs, so that others drain; a slab without blocks can become one of
 * any class, and the pages of all but a few of these go back to the kernel, some at a time: what is freed in
 * another order than it came empties thousands of slabs with its last blocks.
 */
#ifndef MEMORY_SLAB_H
#define MEMORY_SLAB_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SLAB_FINE 1024u
#define SLAB_COARSE 23u                /* classes above */
#define SLAB_MAX 5440u                 /* larger blocks are malloc's */
#define SLAB_CLASSES (SLAB_FINE / 8 + 1 + SLAB_COARSE)
#define SLAB_BYTES 32768u
#define SLAB_REGION (UINT64_C(2) << 20)
#define SLAB_BINS 8                    /* slabs of a class, by how full they are */
#define SLAB_FEW 8u                    /* slabs of a class that are not worth moving anything */
#define SLAB_RESERVE 8                 /* empty slabs that keep their pages; and a 32nd of those in use */

struct slab;
struct slab_region;

struct slab_class {
	_Alignas(64) _Atomic uint32_t lock;
	uint32_t cap;                  /* blocks of a slab */
	uint32_t slabs;
	uint64_t blocks;               /* in them, given out or in magazines */
	struct slab *bin[SLAB_BINS];   /* those with a block to give, the fullest last */
};

struct slab_heap {
	struct slab_class class[SLAB_CLASSES];
	_Alignas(64) _Atomic uint32_t lock; /* of what follows; taken after a class's, never before */
	struct slab_region *regions;   /* all */
	struct slab_region *room;      /* those with slabs that have no pages */
	struct slab *empty, *oldest;   /* without blocks, with pages: the last one first */
	_Atomic uint32_t nempty;
	_Atomic uint32_t nslabs;       /* with blocks */
	_Atomic uint32_t sparse;       /* a class had many free blocks: a quarter, and more than a few slabs */
	_Atomic uint32_t nmapped;      /* regions */
};

struct magazine {
	void *head;                    /* linked by their first word */
	uint32_t n;
};

extern const uint16_t slab_coarse[SLAB_COARSE];                  /* bytes */
extern const uint8_t slab_coarse_of[(SLAB_MAX - SLAB_FINE) / 64];

static inline unsigned slab_class_of(size_t n)
{
	if (__builtin_expect(n > SLAB_FINE, 0))
		return slab_coarse_of[(n - SLAB_FINE - 1) / 64];
	return n ? (unsigned)((n + 7) / 8) : 1;
}

static inline size_t slab_class_bytes(unsigned class)
{
	return class <= SLAB_FINE / 8 ? class * (size_t)8 : slab_coarse[class - SLAB_FINE / 8 - 1];
}

void slab_open(struct slab_heap *h);
/* Every region goes, whatever is in it. */
void slab_close(struct slab_heap *h);

/* A block of the class; m is the caller's magazine of that class.  NULL: no memory. */
void *slab_fill(struct slab_heap *h, struct magazine *m, unsigned class);
/* 1: the class has many free blocks now, or there is something for slab_trim(). */
int slab_spill(struct slab_heap *h, struct magazine *m, unsigned class, uint32_t keep);
uint32_t slab_magazine_max(unsigned class);
/* Gives back the pages of empty slabs beyond the reserve, of so many at most; of how many it did. */
uint32_t slab_trim(struct slab_heap *h, uint32_t most);
int slab_has_surplus(const struct slab_heap *h);
/* From a thread without magazines. */
void slab_put_shared(struct slab_heap *h, void *p, unsigned class);
/* When the class has many free blocks: one in the slab that is to be filled first, if that
 * is not p's, for the caller to move p's bytes to and give p up with slab_put_shared().  Else NULL. */
void *slab_better(struct slab_heap *h, const void *p, unsigned class);
/* Bytes of slabs with blocks or pages: what of the address space may be resident. */
static inline uint64_t slab_resident(const struct slab_heap *h)
{
	return (uint64_t)atomic_load_explicit(&h->nslabs, memory_order_relaxed) * SLAB_BYTES;
}

static inline void *slab_get(struct slab_heap *h, struct magazine *m, unsigned class)
{
	void *p = m->head;

	if (__builtin_expect(!p, 0))
		return slab_fill(h, m, class);
	m->head = *(void **)p;
	m->n--;
	return p;
}

/* As slab_spill(). */
static inline int slab_put(struct slab_heap *h, struct magazine *m, unsigned class, void *p)
{
	*(void **)p = m->head;
	m->head = p;
	return ++m->n > 8 && m->n > slab_magazine_max(class) ? slab_spill(h, m, class, m->n / 2) : 0;
}
#endif
