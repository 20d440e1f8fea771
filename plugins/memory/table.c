/* SPDX-License-Identifier: Apache-2.0
 *
 * Linear hashing over cache-line buckets: see table.h.
 */
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <sys/mman.h>
#include "item.h"
#include "table.h"

#define LOAD_MAX(buckets) ((uint64_t)(buckets) * 7) /* split above 7 items a bucket */
#define LOAD_MIN(buckets) ((uint64_t)(buckets) * 3 / 2)  /* merge below 1.5 */
#define G_SHIFT SHARD_BITS
#define TAG_LOW 10                        /* first bit of g that the slot keeps */
#define MAP_SEGMENT 9                     /* segments from this one on (64 KiB) are mapped pages */
#define PAGE_BUCKETS 64u                  /* buckets in a page of 4 KiB */
#define CHAIN_MAX 248                     /* items of one bucket; never reached under a keyed hash */

static inline uint64_t g_of(uint64_t hash) { return hash >> G_SHIFT; }
static inline uint64_t tag_of(uint64_t g) { return (g >> TAG_LOW) << 48; }
static inline uint64_t *link_of(uint64_t s) { return (uint64_t *)(uintptr_t)(s & SLOT_PTR); }

static inline uint32_t home_of(const struct table *t, uint64_t g)
{
	uint32_t b = (uint32_t)g & (t->mask << 1 | 1);

	return b < t->buckets ? b : b & t->mask;
}

static inline void n_add(_Atomic uint64_t *n, int64_t d)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + (uint64_t)d,
	    memory_order_relaxed);
}

static inline uint64_t slot_make(uint64_t tag, const struct item *it)
{
	return tag | (uint64_t)(uintptr_t)it | (item_has_ttl(it) ? SLOT_TTL : 0);
}

/* ---- buckets and segments ---------------------------------------------------------------------------- */
static uint32_t segment_buckets(unsigned k) { return (1u << SEG0_BITS) << (k ? k - 1 : 0); }

static unsigned segment_of(uint32_t b)
{
	return 31 - (unsigned)__builtin_clz((b >> SEG0_BITS) << 1 | 1);
}

/* Makes bucket number t->buckets usable.  0, or -1. */
static int bucket_open(struct ctx *cx, struct table *t)
{
	uint32_t b = t->buckets;
	unsigned k = segment_of(b);
	size_t bytes = (size_t)segment_buckets(k) * sizeof(struct bucket);

	if (k >= SEGMENTS)
		return -1;
	if (!t->seg[k]) {
		t->seg[k] = k < MAP_SEGMENT ? mem_get_aligned(cx, bytes) : mem_map(cx, bytes);
		if (!t->seg[k])
			return -1;
	}
	if (k >= MAP_SEGMENT && b % PAGE_BUCKETS == 0)
		mem_account(cx, PAGE_BUCKETS * sizeof(struct bucket));
	t->buckets++;
	return 0;
}

/* Gives up the last bucket, which is empty. */
static void bucket_close(struct ctx *cx, struct table *t)
{
	uint32_t b = --t->buckets;
	unsigned k = segment_of(b);
	uint32_t first = k ? segment_buckets(k) : 0;
	size_t bytes = (size_t)segment_buckets(k) * sizeof(struct bucket);

	if (k >= MAP_SEGMENT && b % PAGE_BUCKETS == 0) {
		mem_account(cx, -(int64_t)(PAGE_BUCKETS * sizeof(struct bucket)));
		if (b != first)
			madvise(table_bucket(t, b), PAGE_BUCKETS * sizeof(struct bucket),
			    MADV_DONTNEED);
	}
	if (b != first)
		return;
	if (k < MAP_SEGMENT)
		mem_put_aligned(cx, t->seg[k], bytes);
	else
		mem_unmap(t->seg[k], bytes);
	t->seg[k] = NULL;
}

/* ---- chains: a bucket with what overflowed from it ---------------------------------------------------- */
static unsigned overflow_needed(unsigned n) { return n <= SLOTS ? 0 : (n - SLOTS + SPILL - 2) / (SPILL - 1); }

/* One part of a chain: the bucket, then blocks of SPILL slots. */
struct part {
	uint64_t *s;
	unsigned n;                           /* slots, the link among them */
};

static inline struct part part_first(const struct bucket *b) { return (struct part){ (uint64_t *)(uintptr_t)b->s, SLOTS }; }
static inline uint64_t part_link(const struct part *p)
{
	uint64_t last = p->s[p->n - 1];

	return last & SLOT_CHAIN ? last : 0;
}
/* Slots that can have an item. */
static inline unsigned part_top(const struct part *p) { return p->n - (part_link(p) != 0); }
static inline int part_next(struct part *p)
{
	uint64_t link = part_link(p);

	if (!link)
		return 0;
	*p = (struct part){ link_of(link), SPILL };
	return 1;
}

/* Takes all slots out of bucket b into s; its overflow blocks go to the list *pool, linked by their first. */
static unsigned chain_take(struct bucket *b, uint64_t *s, uint64_t **pool)
{
	struct part p = part_first(b);
	unsigned n = 0, i;
	int more;

	do {
		uint64_t *here = p.s;
		unsigned top = part_top(&p);

		for (i = 0; i < top && here[i]; i++)
			s[n++] = here[i];
		more = part_next(&p);
		if (here != b->s) {
			here[0] = (uint64_t)(uintptr_t)*pool;
			*pool = here;
		}
	} while (more);
	memset(b, 0, sizeof(*b));
	return n;
}

/* Fills the empty bucket b; overflow blocks come from the pool, which has enough. */
static void chain_fill(struct bucket *b, const uint64_t *s, unsigned n, uint64_t **pool)
{
	struct part p = part_first(b);

	while (n > p.n) {
		uint64_t *next = *pool;

		*pool = link_of(next[0]);
		memset(next, 0, SPILL_BYTES);
		memcpy(p.s, s, (p.n - 1) * sizeof(*s));
		s += p.n - 1;
		n -= p.n - 1;
		p.s[p.n - 1] = (uint64_t)(uintptr_t)next | SLOT_CHAIN;
		p = (struct part){ next, SPILL };
	}
	memcpy(p.s, s, n * sizeof(*s));
}

static unsigned chain_length(const struct bucket *b)
{
	struct part p = part_first(b);
	unsigned n = 0, i;

	do
		for (i = 0; i < part_top(&p) && p.s[i]; i++)
			n++;
	while (part_next(&p));
	return n;
}

static void pool_free(struct ctx *cx, uint64_t *pool)
{
	while (pool) {
		uint64_t *next = link_of(pool[0]);

		mem_put(cx, pool, SPILL_BYTES);
		pool = next;
	}
}

/* ---- growing and shrinking ------------------------------------------------------------------------------ */
/* Bit number `bit` of g, from the slot if it has it, else from the key. */
static int slot_g_bit(const struct ctx *cx, uint64_t s, unsigned bit)
{
	const struct item *it;

	if (bit >= TAG_LOW && bit < TAG_LOW + 16)
		return (int)(s >> (48 + bit - TAG_LOW) & 1);
	it = slot_item(s);
	return (int)(g_of(hash_key(cx->st, item_key(it), item_klen(it))) >> bit & 1);
}

static void split(struct ctx *cx, struct table *t)
{
	uint64_t all[CHAIN_MAX], go[CHAIN_MAX];
	struct bucket *from = table_bucket(t, t->buckets & t->mask);
	uint64_t *pool = NULL;
	unsigned bit = (unsigned)__builtin_ctz(t->mask + 1), n, i, kept = 0, gone = 0;

	if (chain_length(from) > CHAIN_MAX || bucket_open(cx, t))
		return; /* the chains get longer for a while */
	n = chain_take(from, all, &pool);
	for (i = 0; i < n; i++) {
		if (slot_g_bit(cx, all[i], bit))
			go[gone++] = all[i];
		else
			all[kept++] = all[i];
	}
	chain_fill(from, all, kept, &pool);
	chain_fill(table_bucket(t, t->buckets - 1), go, gone, &pool);
	pool_free(cx, pool); /* two chains never need more overflow than the one they came from */
	if (t->buckets == (t->mask + 1) << 1)
		t->mask = t->mask << 1 | 1;
}

static void merge(struct ctx *cx, struct table *t)
{
	uint64_t all[CHAIN_MAX];
	uint32_t last = t->buckets - 1, mask = last < t->mask + 1 ? t->mask >> 1 : t->mask;
	struct bucket *from = table_bucket(t, last), *to = table_bucket(t, last & mask);
	uint64_t *pool = NULL;
	unsigned a = chain_length(from), b = chain_length(to), have, n;

	if (a + b > CHAIN_MAX)
		return;
	for (have = overflow_needed(a) + overflow_needed(b); have < overflow_needed(a + b); have++) {
		uint64_t *extra = mem_get(cx, SPILL_BYTES);

		if (!extra) {
			pool_free(cx, pool);
			return;
		}
		extra[0] = (uint64_t)(uintptr_t)pool;
		pool = extra;
	}
	n = chain_take(to, all, &pool);
	n += chain_take(from, all + n, &pool);
	chain_fill(to, all, n, &pool);
	pool_free(cx, pool);
	t->mask = mask;
	bucket_close(cx, t);
}

/* ---- items ------------------------------------------------------------------------------------------------ */
struct table *table_new(struct ctx *cx)
{
	struct table *t = mem_get(cx, sizeof(*t));

	if (t)
		memset(t, 0, sizeof(*t));
	return t;
}

static void close_all(struct ctx *cx, struct table *t)
{
	while (t->buckets)
		bucket_close(cx, t);
	t->mask = 0;
}

void table_free_empty(struct ctx *cx, struct table *t)
{
	if (!t)
		return;
	close_all(cx, t);
	mem_put(cx, t, sizeof(*t));
}

/* Which slots have the tag: bit 4 * i + 3 for slot i. */
static inline uint32_t tag_hits(const struct bucket *b, uint64_t tag)
{
#ifdef __SSE2__
	const __m128i *v = (const __m128i *)(const void *)b->s;
	__m128i t = _mm_set1_epi16((short)(tag >> 48)), lo, hi;

	/* 16-bit lanes; the last of each four is a slot's tag */
	lo = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_loadu_si128(v), t), _mm_cmpeq_epi16(_mm_loadu_si128(v + 1), t));
	hi = _mm_packs_epi16(_mm_cmpeq_epi16(_mm_loadu_si128(v + 2), t), _mm_cmpeq_epi16(_mm_loadu_si128(v + 3), t));
	return ((uint32_t)_mm_movemask_epi8(lo) | (uint32_t)_mm_movemask_epi8(hi) << 16) & 0x88888888u;
#else
	uint32_t hit = 0;
	unsigned i;

	for (i = 0; i < SLOTS; i++)
		hit |= (uint32_t)((b->s[i] & SLOT_TAG) == tag) << (4 * i + 3);
	return hit;
#endif
}

static __attribute__((noinline)) uint64_t *find_further(uint64_t link, uint64_t tag, const void *key, size_t klen)
{
	unsigned i;

	for (;;) {
		uint64_t *s = link_of(link);

		link = s[SPILL - 1] & SLOT_CHAIN ? s[SPILL - 1] : 0;
		for (i = 0; i < SPILL - (link != 0); i++)
			if ((s[i] & SLOT_TAG) == tag && s[i] && item_is(slot_item(s[i]), key, klen))
				return &s[i];
		if (!link)
			return NULL;
	}
}

uint64_t *table_find(const struct table *t, uint64_t hash, const void *key, size_t klen)
{
	uint64_t g = g_of(hash), tag = tag_of(g), link;
	struct bucket *b;
	uint32_t hit;

	if (UNLIKELY(!t->buckets))
		return NULL;
	b = table_bucket(t, home_of(t, g));
	link = b->s[SLOTS - 1];
	hit = tag_hits(b, tag);
	if (link & SLOT_CHAIN)
		hit &= 0x7fffffffu;
	for (; hit; hit &= hit - 1) {
		uint64_t *s = &b->s[__builtin_ctz(hit) / 4];

		if (*s && item_is(slot_item(*s), key, klen))
			return s;
	}
	return link & SLOT_CHAIN ? find_further(link, tag, key, klen) : NULL;
}

uint64_t *table_pick(const struct table *t, uint64_t hash, table_fn *fn, void *arg)
{
	uint64_t g = g_of(hash), tag = tag_of(g);
	struct part p;
	unsigned i;

	if (!t->buckets)
		return NULL;
	p = part_first(table_bucket(t, home_of(t, g)));
	do
		for (i = 0; i < part_top(&p) && p.s[i]; i++)
			if ((p.s[i] & SLOT_TAG) == tag && fn(arg, p.s[i]))
				return &p.s[i];
	while (part_next(&p));
	return NULL;
}

int table_add(struct ctx *cx, struct table *t, uint64_t hash, struct item *it)
{
	uint64_t g = g_of(hash), s = slot_make(tag_of(g), it), *more;
	struct part p;
	unsigned i;

	if (!t->buckets && bucket_open(cx, t))
		return -1;
	p = part_first(table_bucket(t, home_of(t, g)));
	while (part_next(&p))
		;
	if (p.s[p.n - 1]) {
		more = mem_get(cx, SPILL_BYTES);
		if (!more)
			return -1;
		memset(more, 0, SPILL_BYTES);
		more[0] = p.s[p.n - 1];
		more[1] = s;
		p.s[p.n - 1] = (uint64_t)(uintptr_t)more | SLOT_CHAIN;
	} else {
		for (i = 0; p.s[i]; i++)
			;
		p.s[i] = s;
	}
	n_add(&t->n, 1);
	if (s & SLOT_TTL)
		n_add(&t->ttls, 1);
	if (table_n(t) > LOAD_MAX(t->buckets))
		split(cx, t);
	return 0;
}

void table_remove(struct ctx *cx, struct table *t, uint64_t hash, uint64_t *slot)
{
	struct part p = part_first(table_bucket(t, home_of(t, g_of(hash)))), next = p;
	uint64_t *before = NULL;              /* the link to the last part */
	unsigned i;

	if (*slot & SLOT_TTL)
		n_add(&t->ttls, -1);
	while (part_next(&next)) {
		before = &p.s[p.n - 1];
		p = next;
	}
	i = p.n - 1;
	while (!p.s[i])
		i--;
	*slot = p.s[i]; /* the last of the chain fills the hole */
	p.s[i] = 0;
	if (before && i == 1) { /* one left over: it goes back */
		*before = p.s[0];
		mem_put(cx, p.s, SPILL_BYTES);
	}
	n_add(&t->n, -1);
	if (table_n(t) == 0)
		close_all(cx, t);
	else if (t->buckets > 1 && table_n(t) < LOAD_MIN(t->buckets))
		merge(cx, t);
}

void table_swap(struct table *t, uint64_t *slot, struct item *it)
{
	uint64_t s = slot_make(*slot & SLOT_TAG, it);

	if ((s ^ *slot) & SLOT_TTL)
		n_add(&t->ttls, s & SLOT_TTL ? 1 : -1);
	*slot = s;
}

/* ---- walking --------------------------------------------------------------------------------------------------- */
int table_each_in(const struct table *t, uint32_t n, table_fn *fn, void *arg)
{
	struct part p = part_first(table_bucket(t, n));
	unsigned i;
	int rc;

	do {
		unsigned top = part_top(&p);

		for (i = 0; i < top && p.s[i]; i++)
			if ((rc = fn(arg, p.s[i])) != 0)
				return rc;
	} while (part_next(&p));
	return 0;
}

void table_each_slot(const struct table *t, uint32_t b, void (*fn)(void *arg, uint64_t *slot), void *arg)
{
	struct part p = part_first(table_bucket(t, b));
	unsigned i;

	do {
		unsigned top = part_top(&p);

		for (i = 0; i < top && p.s[i]; i++)
			fn(arg, &p.s[i]);
	} while (part_next(&p));
}

int table_each(const struct table *t, table_fn *fn, void *arg)
{
	uint32_t b;
	int rc;

	for (b = 0; b < t->buckets; b++)
		if ((rc = table_each_in(t, b, fn, arg)) != 0)
			return rc;
	return 0;
}

static uint32_t reverse32(uint32_t v)
{
	v = (v >> 1 & 0x55555555u) | (v & 0x55555555u) << 1;
	v = (v >> 2 & 0x33333333u) | (v & 0x33333333u) << 2;
	v = (v >> 4 & 0x0f0f0f0fu) | (v & 0x0f0f0f0fu) << 4;
	return __builtin_bswap32(v);
}

uint32_t table_scan(const struct table *t, uint32_t cursor, table_fn *fn, void *arg)
{
	uint32_t b = cursor & t->mask;

	if (!t->buckets)
		return 0;
	table_each_in(t, b, fn, arg);
	if (b + t->mask + 1 < t->buckets) /* its upper half has been split off already */
		table_each_in(t, b + t->mask + 1, fn, arg);
	return reverse32(reverse32(cursor | ~t->mask) + 1);
}

uint64_t *table_random(struct ctx *cx, const struct table *t)
{
	for (;;) {
		struct part p = part_first(table_bucket(t, rng_below(cx, t->buckets)));
		unsigned at = rng_below(cx, 5 * SLOTS); /* chains are shorter: reject the rest */

		while (at >= p.n - 1 && part_link(&p)) {
			at -= p.n - 1;
			part_next(&p);
		}
		if (at < p.n && p.s[at])
			return &p.s[at];
	}
}

size_t table_own_bytes(const struct table *t)
{
	size_t n = chunk_size(sizeof(*t));
	uint32_t at;

	for (at = 0; at < t->buckets; at++) {
		struct part p = part_first(table_bucket(t, at));
		unsigned k = segment_of(at);

		if (k < MAP_SEGMENT && at == (k ? segment_buckets(k) : 0))
			n += mem_aligned_size((size_t)segment_buckets(k) * sizeof(struct bucket));
		else if (k >= MAP_SEGMENT && at % PAGE_BUCKETS == 0)
			n += PAGE_BUCKETS * sizeof(struct bucket);
		while (part_next(&p))
			n += chunk_size(SPILL_BYTES);
	}
	return n;
}

void table_prefetch(const struct table *t, uint64_t hash)
{
	if (t && t->buckets)
		__builtin_prefetch(table_bucket(t, home_of(t, g_of(hash))));
}

void table_prefetch_item(const struct table *t, uint64_t hash)
{
	uint64_t g = g_of(hash), link;
	const struct bucket *b;
	uint32_t hit;

	if (!t || !t->buckets)
		return;
	b = table_bucket(t, home_of(t, g));
	link = b->s[SLOTS - 1];
	hit = tag_hits(b, tag_of(g));
	if (link & SLOT_CHAIN)
		hit &= 0x7fffffffu;
	if (hit) {
		uintptr_t it = (uintptr_t)slot_item(b->s[__builtin_ctz(hit) / 4]); /* of a free slot: nothing is there */

		__builtin_prefetch((const void *)it);
		__builtin_prefetch((const void *)(it + 64)); /* most have two lines */
	} else if (link & SLOT_CHAIN) {
		__builtin_prefetch(link_of(link));
	}
}

int table_reap(struct ctx *cx, struct table *t, int64_t *budget,
    void (*drop)(struct ctx *cx, struct item *it))
{
	while (t->buckets && *budget > 0) {
		struct bucket *home = table_bucket(t, t->buckets - 1);
		struct part p = part_first(home);
		int64_t n = 0, was = cx->work;
		int more;

		do {
			uint64_t *here = p.s;
			unsigned top = part_top(&p), i;

			for (i = 0; i < top && here[i]; i++, n++)
				drop(cx, slot_item(here[i]));
			more = part_next(&p);
			if (here != home->s)
				mem_put(cx, here, SPILL_BYTES);
		} while (more);
		n_add(&t->n, -n);
		bucket_close(cx, t);
		*budget -= n + 1 + (cx->work - was);
	}
	return t->buckets == 0;
}
