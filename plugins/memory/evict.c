/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies of eviction, and room made for commands: see evict.h.
 */
#include <string.h>
#include "evict.h"
#include "event.h"
#include "project.h"
#include "table.h"

#define SAMPLES 10                       /* candidates for one eviction */
#define ROOM_WORK 16384                  /* of one command or turn of the timer: about half a millisecond */
#define ROOM_MOST (64 * ROOM_WORK)       /* ... while more memory is used than a command may leave behind */
#define COST_BUCKET 1
#define COST_ITEM 3
#define COST_EVICT 16
#define SLACK 16                         /* max_memory / 16 may stay to be evicted after a command */
#define LFU_FRESH 5                      /* LFU_INIT_VAL of Redis */

static const struct {
	const char *name;
	uint8_t words;                   /* enum words */
	uint8_t ttls;                    /* only keys that expire */
} policies[EVICT_COUNT] = {
	[EVICT_NONE] = { "noeviction", WORDS_CLOCK, 0 },
	[EVICT_ALLKEYS_LRU] = { "allkeys-lru", WORDS_CLOCK, 0 },
	[EVICT_ALLKEYS_LFU] = { "allkeys-lfu", WORDS_LFU, 0 },
	[EVICT_ALLKEYS_RANDOM] = { "allkeys-random", WORDS_CLOCK, 0 },
	[EVICT_VOLATILE_LRU] = { "volatile-lru", WORDS_CLOCK, 1 },
	[EVICT_VOLATILE_LFU] = { "volatile-lfu", WORDS_LFU, 1 },
	[EVICT_VOLATILE_RANDOM] = { "volatile-random", WORDS_CLOCK, 1 },
	[EVICT_VOLATILE_TTL] = { "volatile-ttl", WORDS_CLOCK, 1 },
	[EVICT_ALLKEYS_S3FIFO] = { "allkeys-s3fifo", WORDS_S3, 0 },
};

const char *evict_name(uint32_t policy) { return policy < EVICT_COUNT ? policies[policy].name : "?"; }

int evict_number(const char *name, size_t n)
{
	int i;

	for (i = 0; i < EVICT_COUNT; i++) {
		const char *p = policies[i].name;
		size_t at;

		for (at = 0; at < n && p[at] && (name[at] | 32) == (p[at] | 32); at++)
			;
		if (at == n && !p[at])
			return i;
	}
	return -1;
}

void evict_choose(struct store *st, uint32_t policy)
{
	atomic_store_explicit(&st->words, policies[policy].words, memory_order_relaxed);
	atomic_store_explicit(&st->eviction, policy, memory_order_relaxed);
}

/* ---- LFU: as evict.c of Redis does it ------------------------------------------------------------------------ */
static uint32_t minutes(const struct ctx *cx)
{
	return (uint32_t)(((uint64_t)cx->clock << CLOCK_SHIFT) / UINT64_C(60000000000)) & 0xffff;
}

static unsigned lfu_counter(const struct ctx *cx, const struct item *it)
{
	uint32_t every = atomic_load_explicit(&cx->st->lfu_decay, memory_order_relaxed);
	uint32_t passed = (minutes(cx) - (it->head >> 16)) & 0xffff, periods = every ? passed / every : 0;
	unsigned counter = it->head >> 8 & 0xff;

	return periods > counter ? 0 : counter - periods;
}

static void lfu_set(const struct ctx *cx, struct item *it, unsigned counter)
{
	it->head = (it->head & 0xff) | counter << 8 | minutes(cx) << 16;
}

static void lfu_used(struct ctx *cx, struct item *it)
{
	unsigned counter = lfu_counter(cx, it);

	if (counter < 255) {
		double base = counter > LFU_FRESH ? counter - LFU_FRESH : 0;
		double p = 1.0 / (base * atomic_load_explicit(&cx->st->lfu_log_factor,
		    memory_order_relaxed) + 1);

		if ((double)(rng_next(cx) >> 11) * 0x1p-53 < p)
			counter++;
	}
	lfu_set(cx, it, counter);
}

/* ---- hooks ------------------------------------------------------------------------------------------------------ */
static struct shard *shard_at(struct ctx *cx, uint64_t hash) { return &cx->st->shard[shard_of(hash)]; }

void evict_used(struct ctx *cx, struct item *it)
{
	if (evict_words(cx) == WORDS_S3)
		s3_used(it);
	else
		lfu_used(cx, it);
}

/* Its database; or databases: a table aside, in which a value is built that is no key yet. */
static uint32_t pos_db(struct ctx *cx, const struct shard *s, const struct pos *p)
{
	uintptr_t at = (uintptr_t)p->tp - (uintptr_t)s->db;

	return at < cx->st->databases * sizeof(*s->db) ? (uint32_t)(at / sizeof(*s->db)) :
	    cx->st->databases;
}

void evict_added(struct ctx *cx, const struct pos *p, struct item *it)
{
	struct shard *s = shard_at(cx, p->hash);
	uint32_t db = pos_db(cx, s, p);

	if (evict_words(cx) != WORDS_S3)
		lfu_set(cx, it, LFU_FRESH);
	else if (db < cx->st->databases)
		s3_added(cx, s, db, p->hash, it);
}

void evict_removed(struct ctx *cx, const struct pos *p, struct item *it)
{
	struct shard *s = shard_at(cx, p->hash);

	if (evict_words(cx) == WORDS_S3 && pos_db(cx, s, p) < cx->st->databases)
		s3_removed(s, it);
}

void evict_moved(struct ctx *cx, struct item *it, uint32_t head)
{
	uint32_t words = evict_words(cx);

	if (words == WORDS_LFU)
		it->head = (it->head & 0xff) | (head & ~0xffu);
	else if (words == WORDS_S3)
		it->head = (it->head & ~0x300u) | (head & 0x300u);
}

/* ---- what OBJECT and RESTORE see ---------------------------------------------------------------------------------- */
int64_t evict_idle_ms(struct ctx *cx, const struct item *it)
{
	if (evict_words(cx) != WORDS_CLOCK)
		return -1;
	return (int64_t)(((uint64_t)item_idle(it, cx->clock) << CLOCK_SHIFT) / 1000000);
}

int evict_uses(struct ctx *cx, const struct item *it)
{
	uint32_t words = evict_words(cx);

	if (words == WORDS_CLOCK)
		return -1;
	return (int)(words == WORDS_LFU ? lfu_counter(cx, it) : it->head >> 8 & 3);
}

void evict_set_uses(struct ctx *cx, struct item *it, unsigned uses)
{
	uint32_t words = evict_words(cx);

	if (words == WORDS_LFU)
		lfu_set(cx, it, uses < 255 ? uses : 255);
	else if (words == WORDS_S3)
		it->head = (it->head & ~0x300u) | (uses < 3 ? uses : 3) << 8;
}

void evict_set_fresh(struct ctx *cx, struct item *it)
{
	evict_set_uses(cx, it, evict_words(cx) == WORDS_LFU ? LFU_FRESH : 0);
}

void evict_set_idle(struct ctx *cx, struct item *it, uint64_t seconds)
{
	uint64_t steps = ((seconds < (1u << 23) ? seconds : 1u << 23) * UINT64_C(1000000000) + (1u << CLOCK_SHIFT) - 1) >>
	    CLOCK_SHIFT;

	if (seconds && evict_words(cx) == WORDS_CLOCK)
		item_touch(it, (cx->clock - (uint32_t)(steps < CLOCK_MASK ? steps : CLOCK_MASK)) & CLOCK_MASK);
}

void evict_emptied(struct ctx *cx, struct shard *s)
{
	uint32_t d;

	if (!s->s3)
		return;
	for (d = 0; d < cx->st->databases; d++)
		if (s->db[d])
			return;
	s3_free(cx, s);
}

void evict_tidy(struct ctx *cx)
{
	uint32_t s;

	if (LIKELY(!atomic_load_explicit(&cx->st->queues, memory_order_relaxed)) ||
	    evict_words(cx) == WORDS_S3)
		return;
	for (s = 0; s < SHARDS; s++) {
		uint32_t mine = shards_beside(cx, 1u << s);

		if (!mine)
			return;
		s3_free(cx, &cx->st->shard[s]);
		shards_unlock(cx, mine);
	}
}

/* ---- choosing -------------------------------------------------------------------------------------------------------- */
struct sample {
	struct ctx *cx;
	uint32_t policy;
	unsigned n;
	uint64_t worth;                  /* the least goes */
	struct item *it;
};

static uint64_t worth(struct ctx *cx, uint32_t policy, const struct item *it)
{
	switch (policy) {
	case EVICT_ALLKEYS_LFU:
	case EVICT_VOLATILE_LFU:
		return (uint64_t)lfu_counter(cx, it) << 16 | /* of the same: the older one */
		    (0xffff - ((minutes(cx) - (it->head >> 16)) & 0xffff));
	case EVICT_VOLATILE_TTL:
		return (uint64_t)item_expiry(it);
	case EVICT_ALLKEYS_RANDOM:
	case EVICT_VOLATILE_RANDOM:
		return rng_next(cx);
	default:
		return CLOCK_MASK - item_idle(it, cx->clock);
	}
}

static int sample_item(void *arg, uint64_t slot)
{
	struct sample *s = arg;
	struct item *it = slot_item(slot);
	uint64_t w;

	if (policies[s->policy].ttls && !(slot & SLOT_TTL))
		return 0;
	w = worth(s->cx, s->policy, it);
	if (!s->it || w < s->worth) {
		s->worth = w;
		s->it = it;
	}
	return ++s->n >= SAMPLES;
}

static uint64_t evictable(const struct table *t, uint32_t policy)
{
	return policies[policy].ttls ? table_ttls(t) : table_n(t);
}

static uint64_t shard_evictable(struct ctx *cx, const struct shard *s, uint32_t policy)
{
	uint64_t total = 0;
	uint32_t i;

	for (i = 0; i < cx->st->databases; i++)
		total += evictable(s->db[i], policy);
	return total;
}

/* A table of the shard, chosen by how many keys it has that may go; NULL: none has any. */
static struct table *pick_table(struct ctx *cx, struct shard *s, uint32_t policy, uint32_t *db)
{
	uint64_t total = shard_evictable(cx, s, policy), at;
	uint32_t i;

	if (!total)
		return NULL;
	for (at = rng_next(cx) % total, i = 0; at >= evictable(s->db[i], policy); i++)
		at -= evictable(s->db[i], policy);
	*db = i;
	return s->db[i];
}

static int count_slot(void *arg, uint64_t slot)
{
	(void)slot;
	++*(uint32_t *)arg;
	return 0;
}

/* A bucket, the likelier the more keys it has: half of them have not been split yet and get twice as many new ones.  If
 * each were as likely these would fill up, and what came to the others would go at once. */
static uint32_t pick_bucket(struct ctx *cx, const struct table *t)
{
	uint32_t b, n, i = 0;

	do {
		b = rng_below(cx, t->buckets);
		n = 0;
		table_each_in(t, b, count_slot, &n);
	} while (n <= rng_below(cx, 2 * SLOTS) && ++i < 16);
	return b;
}

/* The least worth of some.  Where few may go the walk over buckets is long: it goes on where the last one
 * stopped. */
static struct item *sampled_victim(struct ctx *cx, struct shard *s, uint32_t policy, uint32_t *db,
    int64_t *work)
{
	struct sample w = { .cx = cx, .policy = policy };
	struct table *t = pick_table(cx, s, policy, db);
	uint32_t b, i;

	if (!t)
		return NULL;
	b = evictable(t, policy) < t->buckets ? t->evict % t->buckets : pick_bucket(cx, t);
	for (i = 0; i < t->buckets && w.n < SAMPLES && (i < 8 || !w.n) && *work > 0; i++) {
		*work -= COST_BUCKET;
		if (table_each_in(t, (b + i) % t->buckets, sample_item, &w))
			break;
	}
	t->evict = (b + i) % t->buckets;
	*work -= COST_ITEM * (int64_t)w.n;
	return w.it;
}

/* ---- making room ------------------------------------------------------------------------------------------------------ */
enum { ROOM_NONE = 0, ROOM_MADE = 1, ROOM_LATER = 2, ROOM_BARRED = 3 }; /* a script takes long */

static void evict_item(struct ctx *cx, struct shard *s, uint32_t db, struct item *it)
{
	purser_bytes key = { item_key(it), item_klen(it) };
	uint32_t was = account_enter(cx, project_of_key(cx, key));
	uint64_t hash = hash_key(cx->st, key.p, key.n);
	struct pos p;

	if (key_find(cx, &p, db, key, hash, FIND_NOTOUCH)) {
		if (evict_words(cx) == WORDS_S3)
			s3_gone(cx, s, hash, it);
		key_take(cx, &p);
		count_add(&cx->led->evicted, 1);
		key_event(cx, db, key, EVENT_EVICTED, "evicted");
		item_free(cx, it);
	}
	account_enter(cx, was);
}

/* Of two shards the one with more keys that may go: if each gave as many, chance would empty some, and what came to
 * those would go at once.  SHARDS: a script takes long. */
static uint32_t pick_shard(struct ctx *cx, uint32_t policy)
{
	uint32_t a = rng_below(cx, SHARDS), b = (a + 1 + rng_below(cx, SHARDS - 1)) % SHARDS, mine;
	uint64_t na, nb;

	if (!(mine = shards_beside(cx, 1u << a)))
		return SHARDS;
	na = shard_evictable(cx, &cx->st->shard[a], policy);
	shards_unlock(cx, mine);
	if (!(mine = shards_beside(cx, 1u << b)))
		return SHARDS;
	nb = shard_evictable(cx, &cx->st->shard[b], policy);
	shards_unlock(cx, mine);
	return nb > na ? b : a;
}

/* One key goes, from any shard that has one which may. */
static int evict_one(struct ctx *cx, int64_t *work)
{
	uint32_t policy = evict_chosen(cx->st), first = pick_shard(cx, policy), i;

	if (first == SHARDS)
		return ROOM_BARRED;
	for (i = 0; i < SHARDS; i++) {
		uint32_t sh = (first + i) % SHARDS, mine = shards_beside(cx, 1u << sh), db = 0;
		struct shard *s = &cx->st->shard[sh];
		int64_t freed = cx->work;
		struct item *it;

		if (!mine)
			return ROOM_BARRED;
		it = policy == EVICT_ALLKEYS_S3FIFO ? s3_victim(cx, s, &db, work) :
		    sampled_victim(cx, s, policy, &db, work);
		if (it)
			evict_item(cx, s, db, it);
		shards_unlock(cx, mine);
		*work -= (it ? COST_EVICT : COST_BUCKET) + (cx->work - freed) * COST_ITEM;
		if (it)
			return ROOM_MADE;
		if (*work <= 0)
			return ROOM_LATER;
	}
	return ROOM_NONE;
}

int make_room(struct ctx *cx)
{
	int64_t max = atomic_load_explicit(&cx->st->max_memory, memory_order_relaxed), work = ROOM_WORK;

	while (over_limit(cx->st)) {
		int64_t one = ROOM_WORK;
		int more = 1, did;

		if (atomic_load_explicit(&cx->st->reaping, memory_order_relaxed)) {
			int64_t left = 256;

			reap_some(cx, &left);
			work -= (256 - left + 1) * COST_ITEM;
		} else {
			did = evict_chosen(cx->st) != EVICT_NONE ? evict_one(cx, &one) : ROOM_NONE;
			if (did == ROOM_BARRED)
				return 0; /* and the command is put off */
			more = did != ROOM_NONE;
			work -= ROOM_WORK - one;
		}
		if (!over_limit(cx->st))
			return 0;
		if (!more)
			return -1;
		/* It goes on beside the commands, unless they would make more than that can keep up with. */
		if (work <= 0)
			upkeep_arm(cx);
		if (work <= 0 && store_used(cx->st) <= max + max / SLACK)
			return 0;
		if (work <= ROOM_WORK - ROOM_MOST)
			return -1;
	}
	return 0;
}
