/* SPDX-License-Identifier: Apache-2.0
 *
 * S3-FIFO (Yang, Zhang, Qiu, Yue, Vinayak, SOSP 2023) without links between items, one for each shard:
 *
 *   small   what is new: an exact queue.  A ring of hashes, eight bytes for each key in it; the item holds its
 *           number in the ring, so that an entry whose key has gone (or came anew) is told.
 *   main    what was used while it was in small, or was remembered as it came: a queue by position.  An item
 *           holds when it (last) joined; of some items that a cursor passes the oldest is looked at: used
 *           meanwhile, it joins again with one use less, else it goes.
 *   ghost   what went, and from where, about as many keys as there are: buckets of 16 fingerprints of 15 bits,
 *           the newest first.
 *
 * Unlike the paper's, small is a tenth of the keys only to begin with: what comes back from small's ghost makes it
 * longer, what comes back from main's shorter, as in ARC; one use leads to main, and two are counted at most.  Where
 * what is popular changes all the time, the paper's loses to LRU: docs/decisions/eviction.md has the figures.
 *
 * Whatever stands in an item's bits, it is in one of the queues: what is not in the ring is in main.  So nothing
 * need be converted when the policy is chosen, and a ring that cannot grow loses only order.
 */
#include <string.h>
#include "evict.h"
#include "project.h"
#include "table.h"

#define USES(it) ((it)->head >> 8 & 3)
#define IN_MAIN 0x400u
#define AT_SHIFT 11
#define AT_MASK 0x1fffffu                /* positions: 21 bits */
#define AT_STEPS (1u << 17)              /* main is at most about so many positions long */
#define PROVEN 1                         /* uses in small that lead to main */
#define USES_MOST 2
#define SMALL_LEAST 0.1                  /* of the keys */
#define SMALL_MOST 0.9
#define RING_FIRST 16u
#define DB_BITS 10                       /* of a ring's entry; DATABASES_MAX */
#define SAMPLES 16
#define GHOST 16                         /* fingerprints of a bucket */
#define COST_POP 4
#define COST_LOOK 3

struct s3 {
	uint64_t *ring;                  /* hash >> SHARD_BITS << DB_BITS | db */
	uint32_t cap, first, n;          /* cap: a power of two */
	uint32_t number;                 /* of ring[first]; an item holds the low 21 bits of its own */
	uint32_t dead;                   /* entries whose item has gone, as far as known */
	double small;                    /* how many keys small should have */
	uint32_t now, part;              /* position in main, and how many joined at it */
	uint16_t *ghost;
	uint32_t ghosts;                 /* buckets */
	uint32_t remembered[2];          /* from small, from main */
};

static uint64_t shard_keys(const struct ctx *cx, const struct shard *s)
{
	uint64_t n = 0;
	uint32_t d;

	for (d = 0; d < cx->st->databases; d++)
		n += table_n(s->db[d]);
	return n;
}

static uint32_t at_of(const struct item *it) { return it->head >> AT_SHIFT; }

static void word_set(struct item *it, unsigned uses, uint32_t main, uint32_t at)
{
	it->head = (it->head & 0xff) | uses << 8 | main | (at & AT_MASK) << AT_SHIFT;
}

static int in_small(const struct s3 *q, const struct item *it)
{
	return !(it->head & IN_MAIN) && ((at_of(it) - q->number) & AT_MASK) < q->n;
}

void s3_used(struct item *it)
{
	if (USES(it) < USES_MOST)
		it->head += 0x100;
}

/* ---- main -------------------------------------------------------------------------------------------------- */
static void main_join(struct s3 *q, struct item *it, unsigned uses, uint64_t keys)
{
	if (++q->part > keys / AT_STEPS) {
		q->part = 0;
		q->now++;
	}
	word_set(it, uses, IN_MAIN, q->now);
}

struct look {
	struct s3 *q;
	struct item *it[SAMPLES];
	unsigned n;
};

static int look_at(void *arg, uint64_t slot)
{
	struct look *l = arg;

	if (!in_small(l->q, slot_item(slot)))
		l->it[l->n++] = slot_item(slot);
	return l->n == SAMPLES;
}

/* The oldest of the sample that was not used; the others, older ones, join again. */
static struct item *look_choose(struct look *l, uint64_t keys)
{
	while (l->n > 0) {
		unsigned i, oldest = 0;
		struct item *it;

		for (i = 1; i < l->n; i++)
			if (((l->q->now - at_of(l->it[i])) & AT_MASK) >
			    ((l->q->now - at_of(l->it[oldest])) & AT_MASK))
				oldest = i;
		it = l->it[oldest];
		if (!USES(it))
			return it;
		main_join(l->q, it, USES(it) - 1, keys);
		l->it[oldest] = l->it[--l->n];
	}
	return NULL;
}

/* NULL: the sample was all used lately (*found 1), or there is nothing in main. */
static struct item *main_victim(struct ctx *cx, struct shard *s, uint32_t *db, uint64_t keys, int *found,
    int64_t *work)
{
	struct look l = { .q = s->s3 };
	uint64_t at = rng_next(cx) % keys;
	struct table *t;
	uint32_t i;

	for (*db = 0; at >= table_n(s->db[*db]); ++*db)
		at -= table_n(s->db[*db]);
	t = s->db[*db];
	for (i = 0; i < t->buckets && l.n < SAMPLES; i++) {
		t->evict = (t->evict + 1) % t->buckets;
		--*work;
		table_each_in(t, t->evict, look_at, &l);
	}
	*work -= COST_LOOK * (int64_t)l.n;
	*found = l.n > 0;
	return look_choose(&l, keys);
}

/* ---- small -------------------------------------------------------------------------------------------------- */
struct wanted { uint32_t at; };

static int is_wanted(void *arg, uint64_t slot)
{
	const struct wanted *w = arg;
	const struct item *it = slot_item(slot);

	return !(it->head & IN_MAIN) && at_of(it) == w->at;
}

/* Takes the oldest entry out; its item, or NULL if that has gone. */
static struct item *small_pop(struct shard *s, uint32_t *db)
{
	struct s3 *q = s->s3;
	uint64_t e = q->ring[q->first], *slot = NULL;
	struct wanted w = { q->number & AT_MASK };

	q->first = (q->first + 1) & (q->cap - 1);
	q->number++;
	q->n--;
	*db = (uint32_t)e & (DATABASES_MAX - 1);
	if (s->db[*db])
		slot = table_pick(s->db[*db], e >> DB_BITS << SHARD_BITS, is_wanted, &w);
	if (!slot && q->dead)
		q->dead--;
	if (q->dead > q->n)
		q->dead = q->n;
	return slot ? slot_item(*slot) : NULL;
}

static int ring_resize(struct ctx *cx, struct s3 *q, uint32_t cap)
{
	uint32_t i;
	uint64_t *ring = mem_get(cx, cap * sizeof(*ring));

	if (!ring)
		return -1;
	for (i = 0; i < q->n; i++)
		ring[i] = q->ring[(q->first + i) & (q->cap - 1)];
	mem_put(cx, q->ring, q->cap * sizeof(*ring));
	q->ring = ring;
	q->cap = cap;
	q->first = 0;
	return 0;
}

/* 0, or -1: no memory. */
static int small_join(struct ctx *cx, struct shard *s, uint32_t db, uint64_t hash, struct item *it, uint64_t keys)
{
	struct s3 *q = s->s3;

	if (q->cap > RING_FIRST && q->n < q->cap / 8)
		ring_resize(cx, q, q->cap / 4);
	while (q->n == q->cap) {
		struct item *old;
		uint32_t d;

		if (q->cap < keys + RING_FIRST) {
			if (ring_resize(cx, q, q->cap ? 2 * q->cap : RING_FIRST))
				return -1;
			break;
		}
		old = small_pop(s, &d); /* keys that come and go: most entries are of none */
		if (old)
			main_join(q, old, USES(old), keys);
	}
	word_set(it, 0, 0, q->number + q->n);
	q->ring[(q->first + q->n++) & (q->cap - 1)] = hash >> SHARD_BITS << DB_BITS | db;
	return 0;
}

/* ---- ghost ---------------------------------------------------------------------------------------------------- */
static uint16_t *ghost_bucket(const struct s3 *q, uint64_t hash)
{
	return q->ghost + GHOST * (size_t)((hash >> 32) * q->ghosts >> 32);
}

/* Bit 0 says whether it went from main; 0: none. */
static uint16_t ghost_print(uint64_t hash)
{
	uint16_t f = (uint16_t)(hash >> 16) & 0xfffe;

	return f ? f : 2;
}

/* Twice the buckets: what was in one is in both of its successors, and ages there. */
static void ghost_grow(struct ctx *cx, struct s3 *q, uint64_t keys)
{
	uint32_t n = q->ghosts ? 2 * q->ghosts : (uint32_t)(keys / GHOST + 1), i;
	size_t bucket = GHOST * sizeof(uint16_t);
	uint16_t *ghost = mem_get(cx, n * bucket);

	if (!ghost)
		return; /* it remembers less */
	if (!q->ghosts)
		memset(ghost, 0, n * bucket);
	for (i = 0; i < 2 * q->ghosts; i++)
		memcpy(ghost + (size_t)i * GHOST, q->ghost + (size_t)(i / 2) * GHOST, bucket);
	q->remembered[0] *= 2;
	q->remembered[1] *= 2;
	mem_put(cx, q->ghost, q->ghosts * bucket);
	q->ghost = ghost;
	q->ghosts = n;
}

static void ghost_add(struct ctx *cx, struct s3 *q, uint64_t hash, int main, uint64_t keys)
{
	uint16_t *b;

	if (!q->ghosts || keys / GHOST / 3 * 2 > q->ghosts)
		ghost_grow(cx, q, keys);
	if (!q->ghosts)
		return;
	b = ghost_bucket(q, hash);
	if (b[GHOST - 1])
		q->remembered[b[GHOST - 1] & 1]--;
	memmove(b + 1, b, (GHOST - 1) * sizeof(*b));
	*b = (uint16_t)(ghost_print(hash) | main);
	q->remembered[main]++;
}

/* Was it there, and from where: 0 small, 1 main?  It no longer is.  -1: no. */
static int ghost_take(struct s3 *q, uint64_t hash)
{
	uint16_t *b, f = ghost_print(hash);
	unsigned i;
	int main;

	if (!q->ghosts)
		return -1;
	b = ghost_bucket(q, hash);
	for (i = 0; i < GHOST && (b[i] & 0xfffe) != f; i++)
		;
	if (i == GHOST)
		return -1;
	main = b[i] & 1;
	q->remembered[main]--;
	memmove(b + i, b + i + 1, (GHOST - 1 - i) * sizeof(*b));
	b[GHOST - 1] = 0;
	return main;
}

/* It came back (main: from where; -1: it is not remembered): the queue that it went from should have been longer.
 * The fewer such are remembered, the more one of them counts. */
static void small_adapt(struct s3 *q, int main, uint64_t keys)
{
	double least = (double)keys * SMALL_LEAST;

	if (main >= 0) {
		double mine = q->remembered[main] + 1.0, other = q->remembered[!main] + 1.0;
		double step = other > mine ? other / mine : 1;

		q->small += main ? -step : step;
	}
	if (q->small > (double)keys * SMALL_MOST)
		q->small = (double)keys * SMALL_MOST;
	if (q->small < least)
		q->small = least;
}

static struct s3 *s3_new(struct ctx *cx, struct shard *s)
{
	s->s3 = mem_get(cx, sizeof(*s->s3));
	if (s->s3) {
		*s->s3 = (struct s3){ .ring = NULL };
		atomic_fetch_add_explicit(&cx->st->queues, 1, memory_order_relaxed);
	}
	return s->s3;
}

/* ---- what the key space tells -------------------------------------------------------------------------------------- */
void s3_added(struct ctx *cx, struct shard *s, uint32_t db, uint64_t hash, struct item *it)
{
	int64_t before = account_before(cx);
	uint64_t keys = shard_keys(cx, s);
	struct s3 *q = s->s3;
	int ghost = q ? ghost_take(q, hash) : -1;

	if (q)
		small_adapt(q, ghost, keys);
	if (!q)
		q = s3_new(cx, s);
	if (!q)
		word_set(it, 0, IN_MAIN, 0);
	else if (ghost == 0 || q->n - q->dead > q->small * 1.25 + 8 || small_join(cx, s, db, hash, it, keys))
		main_join(q, it, 0, keys); /* while all fits, small stays small */
	account_tables(cx, before);
}

void s3_removed(struct shard *s, const struct item *it)
{
	if (s->s3 && in_small(s->s3, it) && s->s3->dead < s->s3->n)
		s->s3->dead++;
}

void s3_gone(struct ctx *cx, struct shard *s, uint64_t hash, const struct item *it)
{
	int64_t before = account_before(cx);

	if (s->s3)
		ghost_add(cx, s->s3, hash, !!(it->head & IN_MAIN), shard_keys(cx, s));
	account_tables(cx, before);
}

struct item *s3_victim(struct ctx *cx, struct shard *s, uint32_t *db, int64_t *work)
{
	uint64_t keys = shard_keys(cx, s);
	int found = 1;

	if (!s->s3 && keys) { /* chosen just now: everything is in main */
		int64_t before = account_before(cx);

		s3_new(cx, s);
		account_tables(cx, before);
	}
	while (keys && s->s3 && *work > 0) {
		struct s3 *q = s->s3;
		struct item *it;

		if (q->n && (!found || q->n - q->dead >= q->small)) {
			it = small_pop(s, db);
			*work -= COST_POP;
			if (it && USES(it) < PROVEN)
				return it;
			if (it)
				main_join(q, it, 0, keys);
			continue;
		}
		it = main_victim(cx, s, db, keys, &found, work);
		if (it)
			return it;
		if (!found && !q->n)
			found = 1; /* several databases: another one next time */
	}
	return NULL;
}

void s3_free(struct ctx *cx, struct shard *s)
{
	int64_t before = account_before(cx);
	struct s3 *q = s->s3;

	if (!q)
		return;
	mem_put(cx, q->ring, q->cap * sizeof(*q->ring));
	mem_put(cx, q->ghost, q->ghosts * GHOST * sizeof(*q->ghost));
	mem_put(cx, q, sizeof(*q));
	s->s3 = NULL;
	atomic_fetch_sub_explicit(&cx->st->queues, 1, memory_order_relaxed);
	account_tables(cx, before);
}
