/* SPDX-License-Identifier: Apache-2.0
 *
 * table: items by key.  Linear hashing: the table grows and shrinks by one bucket at a time, so there
 * is no pause and no second table.  A bucket is one cache line of eight slots; a slot is the item's
 * address with 16 bits of its hash above and marks below.  A ninth item turns the last slot into a
 * link to an overflow block of four, whose last can be a link again.  Slots are filled from the front:
 * the first empty one ends a chain.
 *
 * Bits of a key's hash: 0-3 choose the shard; above them ("g"), the low bits choose the bucket and
 * bits 10-25 are kept in the slot, so that splitting a table of more than 1,024 buckets need not
 * touch the items.
 *
 * Iteration (scan) walks buckets in the order of their bit-reversed number.  What has been visited is
 * then "all hashes whose reversed bits are below the cursor", whatever the table's size was or will be:
 * an element that stays is met at least once.
 *
 * The table does not own its items' memory, but it counts them.
 */
#ifndef MEMORY_TABLE_H
#define MEMORY_TABLE_H
#include "reap.h"

#define SLOTS 8
#define SPILL 4                           /* slots of an overflow block */
#define SPILL_BYTES (SPILL * sizeof(uint64_t))
#define SEGMENTS 28
#define SEG0_BITS 2                       /* the first segment has 4 buckets, the next 4, 8, 16 ... */
#define SLOT_CHAIN UINT64_C(1)            /* in the last slot: links an overflow block */
#define SLOT_TTL UINT64_C(2)              /* the item has an expiry */
#define SLOT_PTR UINT64_C(0x0000fffffffffff8)
#define SLOT_TAG UINT64_C(0xffff000000000000)

struct bucket { uint64_t s[SLOTS]; };

struct table {
	struct reap reap;                     /* first */
	struct bucket *seg[SEGMENTS];
	uint32_t buckets;
	uint32_t mask;                        /* 2^L - 1 with 2^L <= buckets < 2^(L+1) */
	_Atomic uint64_t n;                   /* atomic only for INFO, which reads without the lock */
	_Atomic uint64_t ttls;
	uint32_t sweep;                       /* active expiry goes on at this bucket */
	uint32_t evict;                       /* and eviction at this one */
};

static inline struct item *slot_item(uint64_t s) { return (struct item *)(uintptr_t)(s & SLOT_PTR); }
static inline uint64_t table_n(const struct table *t)
{
	return t ? atomic_load_explicit(&t->n, memory_order_relaxed) : 0;
}
static inline uint64_t table_ttls(const struct table *t)
{
	return t ? atomic_load_explicit(&t->ttls, memory_order_relaxed) : 0;
}

static inline struct bucket *table_bucket(const struct table *t, uint32_t b)
{
	unsigned k = 31 - (unsigned)__builtin_clz((b >> SEG0_BITS) << 1 | 1);

	return &t->seg[k][k ? b ^ ((1u << SEG0_BITS) << (k - 1)) : b];
}

/* Empty tables hold no bucket; the struct itself is the caller's (table_new, table_free_empty). */
struct table *table_new(struct ctx *cx);
void table_free_empty(struct ctx *cx, struct table *t);

uint64_t *table_find(const struct table *t, uint64_t hash, const void *key, size_t klen);
/* The first slot where an item of this hash may be that fn answers 1 for; NULL: none. */
typedef int table_fn(void *arg, uint64_t slot);
uint64_t *table_pick(const struct table *t, uint64_t hash, table_fn *fn, void *arg);
/* The key is not there yet.  0, or -1: no memory, nothing changed.  Slots move. */
int table_add(struct ctx *cx, struct table *t, uint64_t hash, struct item *it);
/* Takes the item of slot out (it is not freed).  Slots move. */
void table_remove(struct ctx *cx, struct table *t, uint64_t hash, uint64_t *slot);
/* Puts another item of the same key in slot; counts its expiry. */
void table_swap(struct table *t, uint64_t *slot, struct item *it);

/* Every item once; fn may not change the table.  fn's result other than 0 ends the walk. */
int table_each(const struct table *t, table_fn *fn, void *arg);
/* The items of bucket number b (and its overflow). */
int table_each_in(const struct table *t, uint32_t b, table_fn *fn, void *arg);
/* The same with the slots' places, for table_swap(). */
void table_each_slot(const struct table *t, uint32_t b, void (*fn)(void *arg, uint64_t *slot), void *arg);
/* One step of an iteration: calls fn for some items, returns the next cursor (0: the end). */
uint32_t table_scan(const struct table *t, uint32_t cursor, table_fn *fn, void *arg);
/* Any item, all alike; the table is not empty. */
uint64_t *table_random(struct ctx *cx, const struct table *t);
/* Bytes of the table without its items. */
size_t table_own_bytes(const struct table *t);
/* Tells the CPU to fetch the bucket of hash. */
void table_prefetch(const struct table *t, uint64_t hash);
/* And then the item that may be the one. */
void table_prefetch_item(const struct table *t, uint64_t hash);

/* Takes the table apart from its end, at most *budget items, each freed by drop(); 1: it is empty. */
int table_reap(struct ctx *cx, struct table *t, int64_t *budget,
    void (*drop)(struct ctx *cx, struct item *it));
#endif
