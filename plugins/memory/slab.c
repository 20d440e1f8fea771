/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks without headers: see slab.h.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include "memory.h"
#include "slab.h"

const uint16_t slab_coarse[SLAB_COARSE] = {
	1088, 1152, 1216, 1280, 1344, 1408, 1472, 1536, 1600, 1664, 1792, 1920,
	2048, 2176, 2304, 2496, 2688, 2944, 3264, 3584, 4096, 4672, 5440,
};
const uint8_t slab_coarse_of[(SLAB_MAX - SLAB_FINE) / 64] = {
	129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 139, 140, 140, 141, 141,
	142, 142, 143, 143, 144, 144, 144, 145, 145, 145, 146, 146, 146, 146, 147, 147,
	147, 147, 147, 148, 148, 148, 148, 148, 149, 149, 149, 149, 149, 149, 149, 149,
	150, 150, 150, 150, 150, 150, 150, 150, 150, 151, 151, 151, 151, 151, 151, 151,
	151, 151, 151, 151, 151,
};

#define SLABS 64u
#define BATCH_BYTES 4096u              /* what goes between a magazine and the slabs at once, about */
#define FULL SLAB_BINS                 /* in no bin: nothing to give */

struct slab {
	struct slab *next, *prev;
	void *free;                    /* blocks that came back, linked by their first word */
	uint16_t class, used, fresh;   /* fresh: blocks from this one on have never been given */
	uint8_t bin;
};

struct slab_region {
	struct slab_region *next, *prev;             /* of all */
	struct slab_region *room_next, *room_prev;   /* of those with a bit in clean */
	uint64_t clean;                /* slabs without blocks and without pages */
	struct slab slab[SLABS];       /* the first would lie under these */
};

static void count32(_Atomic uint32_t *n, uint32_t d)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + d, memory_order_relaxed);
}

#define ALL_CLEAN (~UINT64_C(1))
_Static_assert(sizeof(struct slab_region) <= 4096, "descriptors take one page");
_Static_assert(SLAB_REGION == (uint64_t)SLABS * SLAB_BYTES, "a bit for each slab");

static struct slab_region *region_of(const void *p)
{
	return (struct slab_region *)((uintptr_t)p & ~(uintptr_t)(SLAB_REGION - 1));
}

static struct slab *slab_of(const void *p)
{
	return &region_of(p)->slab[(uintptr_t)p / SLAB_BYTES % SLABS];
}

static char *slab_base(struct slab *s)
{
	struct slab_region *r = region_of(s);

	return (char *)r + (size_t)(s - r->slab) * SLAB_BYTES;
}

/* ---- regions: under the heap's lock ------------------------------------------------------------------- */
static void room_link(struct slab_heap *h, struct slab_region *r)
{
	r->room_prev = NULL;
	r->room_next = h->room;
	if (h->room)
		h->room->room_prev = r;
	h->room = r;
}

static void room_unlink(struct slab_heap *h, struct slab_region *r)
{
	if (r->room_prev)
		r->room_prev->room_next = r->room_next;
	else
		h->room = r->room_next;
	if (r->room_next)
		r->room_next->room_prev = r->room_prev;
}

static struct slab_region *region_new(struct slab_heap *h)
{
	char *p = mmap(NULL, 2 * SLAB_REGION, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct slab_region *r;
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = (size_t)(-(uintptr_t)p & (SLAB_REGION - 1));
	if (before)
		munmap(p, before);
	r = (struct slab_region *)(void *)(p + before);
	munmap((char *)r + SLAB_REGION, SLAB_REGION - before);
	/* Pages come and go by the slab. */
	madvise(r, SLAB_REGION, MADV_NOHUGEPAGE);
	r->clean = ALL_CLEAN;
	r->next = h->regions;
	if (h->regions)
		h->regions->prev = r;
	h->regions = r;
	room_link(h, r);
	count32(&h->nmapped, 1);
	return r;
}

static void region_free(struct slab_heap *h, struct slab_region *r)
{
	room_unlink(h, r);
	if (r->prev)
		r->prev->next = r->next;
	else
		h->regions = r->next;
	if (r->next)
		r->next->prev = r->prev;
	count32(&h->nmapped, (uint32_t)-1);
	munmap(r, SLAB_REGION);
}

/* ---- slabs without blocks: under the heap's lock --------------------------------------------------------- */
static void empty_unlink(struct slab_heap *h, struct slab *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		h->empty = s->next;
	if (s->next)
		s->next->prev = s->prev;
	else
		h->oldest = s->prev;
	count32(&h->nempty, (uint32_t)-1);
}

static struct slab *slab_take(struct slab_heap *h)
{
	struct slab *s = NULL;
	struct slab_region *r;

	lock(&h->lock);
	if (h->empty) {
		s = h->empty;
		empty_unlink(h, s);
	} else if ((r = h->room ? h->room : region_new(h)) != NULL) {
		s = &r->slab[__builtin_ctzll(r->clean)];
		r->clean &= r->clean - 1;
		if (!r->clean)
			room_unlink(h, r);
	}
	if (s)
		count32(&h->nslabs, 1);
	unlock(&h->lock);
	return s;
}

static void slab_is_clean(struct slab_heap *h, struct slab *s)
{
	struct slab_region *r = region_of(s);

	if (!r->clean)
		room_link(h, r);
	r->clean |= UINT64_C(1) << (s - r->slab);
	if (r->clean == ALL_CLEAN && (r->next || r->prev))
		region_free(h, r);
}

static uint32_t surplus(const struct slab_heap *h)
{
	uint32_t keep = SLAB_RESERVE + atomic_load_explicit(&h->nslabs, memory_order_relaxed) / 32;
	uint32_t have = atomic_load_explicit(&h->nempty, memory_order_relaxed);

	return have > keep ? have - keep : 0;
}

uint32_t slab_trim(struct slab_heap *h, uint32_t most)
{
	uint32_t n;

	for (n = 0; n < most && surplus(h); n++) {
		struct slab *s;

		lock(&h->lock);
		s = surplus(h) ? h->oldest : NULL;
		if (s)
			empty_unlink(h, s);
		unlock(&h->lock);
		if (!s)
			break;
		madvise(slab_base(s), SLAB_BYTES, MADV_DONTNEED); /* nobody else knows it now */
		lock(&h->lock);
		slab_is_clean(h, s);
		unlock(&h->lock);
	}
	return n;
}

int slab_has_surplus(const struct slab_heap *h) { return surplus(h) > 0; }

static void slab_give(struct slab_heap *h, struct slab *s)
{
	lock(&h->lock);
	count32(&h->nslabs, (uint32_t)-1);
	s->prev = NULL;
	s->next = h->empty;
	if (h->empty)
		h->empty->prev = s;
	else
		h->oldest = s;
	h->empty = s;
	count32(&h->nempty, 1);
	unlock(&h->lock);
}

/* ---- slabs of a class: under the class's lock --------------------------------------------------------------- */
static uint8_t bin_of(const struct slab_class *c, const struct slab *s)
{
	return (uint8_t)(s->used * SLAB_BINS / c->cap); /* FULL, when all are used */
}

static void bin_unlink(struct slab_class *c, struct slab *s)
{
	if (s->bin == FULL)
		return;
	if (s->prev)
		s->prev->next = s->next;
	else
		c->bin[s->bin] = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

static void bin_link(struct slab_class *c, struct slab *s, uint8_t bin)
{
	s->bin = bin;
	if (bin == FULL)
		return;
	s->prev = NULL;
	s->next = c->bin[bin];
	if (s->next)
		s->next->prev = s;
	c->bin[bin] = s;
}

static void rebin(struct slab_class *c, struct slab *s)
{
	uint8_t bin = bin_of(c, s);

	if (bin != s->bin) {
		bin_unlink(c, s);
		bin_link(c, s, bin);
	}
}

static struct slab *fullest(struct slab_heap *h, struct slab_class *c, unsigned class)
{
	struct slab *s;
	unsigned i;

	for (i = SLAB_BINS; i-- > 0; )
		if (c->bin[i])
			return c->bin[i];
	s = slab_take(h);
	if (s) {
		s->free = NULL;
		s->class = (uint16_t)class;
		s->used = s->fresh = 0;
		bin_link(c, s, 0);
		c->slabs++;
	}
	return s;
}

/* Up to want blocks of the slab into the magazine. */
static uint32_t draw(struct slab_class *c, struct slab *s, struct magazine *m, uint32_t want)
{
	char *base = slab_base(s);
	uint32_t n;

	for (n = 0; n < want && s->used < c->cap; n++, s->used++) {
		void *p = s->free;

		if (p)
			s->free = *(void **)p;
		else
			p = base + s->fresh++ * slab_class_bytes(s->class);
		*(void **)p = m->head;
		m->head = p;
	}
	m->n += n;
	c->blocks += n;
	rebin(c, s);
	return n;
}

/* The slab, when it has no block any more: it is in no bin then. */
static struct slab *put_back(struct slab_class *c, void *p)
{
	struct slab *s = slab_of(p);

	*(void **)p = s->free;
	s->free = p;
	s->used--;
	c->blocks--;
	if (!s->used) {
		c->slabs--;
		bin_unlink(c, s);
		return s;
	}
	rebin(c, s);
	return NULL;
}

/* ---- what contexts use ----------------------------------------------------------------------------------------- */
uint32_t slab_magazine_max(unsigned class)
{
	uint32_t n = 2 * BATCH_BYTES / (uint32_t)slab_class_bytes(class);

	return n < 8 ? 8 : n > 128 ? 128 : n;
}

void *slab_fill(struct slab_heap *h, struct magazine *m, unsigned class)
{
	struct slab_class *c = &h->class[class];
	uint32_t want = slab_magazine_max(class) / 2;
	void *p;

	lock(&c->lock);
	while (want) {
		struct slab *s = fullest(h, c, class);

		if (!s)
			break;
		want -= draw(c, s, m, want);
	}
	unlock(&c->lock);
	p = m->head;
	if (p) {
		m->head = *(void **)p;
		m->n--;
	}
	return p;
}

static int has_many_free(const struct slab_class *c)
{
	return c->slabs > SLAB_FEW && c->blocks < (uint64_t)c->slabs * c->cap * 3 / 4;
}

int slab_spill(struct slab_heap *h, struct magazine *m, unsigned class, uint32_t keep)
{
	struct slab_class *c = &h->class[class];
	struct slab *done = NULL;
	int sparse;

	if (m->n <= keep)
		return 0;
	lock(&c->lock);
	while (m->n > keep) {
		void *p = m->head;
		struct slab *s;

		m->head = *(void **)p;
		m->n--;
		s = put_back(c, p);
		if (s) {
			s->next = done;
			done = s;
		}
	}
	sparse = has_many_free(c);
	unlock(&c->lock);
	if (sparse)
		atomic_store_explicit(&h->sparse, 1, memory_order_relaxed);
	if (!done)
		return sparse;
	while (done) {
		struct slab *s = done;

		done = s->next;
		slab_give(h, s);
	}
	return sparse || slab_has_surplus(h);
}

void slab_put_shared(struct slab_heap *h, void *p, unsigned class)
{
	struct magazine m = { p, 1 };

	*(void **)p = NULL;
	slab_spill(h, &m, class, 0);
}

void *slab_better(struct slab_heap *h, const void *p, unsigned class)
{
	struct slab_class *c = &h->class[class];
	struct slab *s = slab_of(p), *to;
	struct magazine m = { NULL, 0 };

	lock(&c->lock);
	if (has_many_free(c) && s->bin != FULL) {
		to = fullest(h, c, class);
		if (to != s)
			draw(c, to, &m, 1);
	}
	unlock(&c->lock);
	return m.head;
}

void slab_open(struct slab_heap *h)
{
	unsigned i;

	memset(h, 0, sizeof(*h));
	for (i = 1; i < SLAB_CLASSES; i++)
		h->class[i].cap = SLAB_BYTES / (uint32_t)slab_class_bytes(i);
}

void slab_close(struct slab_heap *h)
{
	while (h->regions) {
		struct slab_region *r = h->regions;

		h->regions = r->next;
		munmap(r, SLAB_REGION);
	}
	slab_open(h);
}
