/* SPDX-License-Identifier: Apache-2.0
 *
 * evict: who goes when max_memory is reached.  The 24 bits beside an item's encoding belong to the policy:
 *
 *   the clock of the last access       all policies but those below (item.h)
 *   minutes 16 | log counter 8         allkeys-lfu, volatile-lfu: as in Redis
 *   position 21 | main 1 | uses 2      allkeys-s3fifo (s3fifo.c)
 *
 * A policy that finds bits of another one in an item makes something of them; they are right after some time.
 * All of it under the lock of the item's shard, but for make_room().
 */
#ifndef MEMORY_EVICT_H
#define MEMORY_EVICT_H
#include "keyspace.h"

/* Numbers of the schema's choices: only appended. */
enum {
	EVICT_NONE = 0, EVICT_ALLKEYS_LRU = 1, EVICT_ALLKEYS_LFU = 2, EVICT_ALLKEYS_RANDOM = 3,
	EVICT_VOLATILE_LRU = 4, EVICT_VOLATILE_LFU = 5, EVICT_VOLATILE_RANDOM = 6, EVICT_VOLATILE_TTL = 7,
	EVICT_ALLKEYS_S3FIFO = 8, EVICT_COUNT = 9
};
#define EVICT_CHOICES \
	"noeviction|allkeys-lru|allkeys-lfu|allkeys-random|volatile-lru|volatile-lfu|volatile-random|" \
	"volatile-ttl|allkeys-s3fifo"

const char *evict_name(uint32_t policy);
int evict_number(const char *name, size_t n); /* case does not count; -1: there is none */
/* At any time, by any thread: CONFIG SET, a reload. */
void evict_choose(struct store *st, uint32_t policy);
static inline uint32_t evict_chosen(const struct store *st)
{
	return atomic_load_explicit(&st->eviction, memory_order_relaxed);
}

/* ---- what OBJECT and RESTORE see: -1 where the policy does not know it ------------------------------- */
int64_t evict_idle_ms(struct ctx *cx, const struct item *it);
int evict_uses(struct ctx *cx, const struct item *it); /* LFU: 0..255, as it is now; S3-FIFO: 0..3 */
void evict_set_uses(struct ctx *cx, struct item *it, unsigned uses);
void evict_set_fresh(struct ctx *cx, struct item *it); /* uses: those of a key that was added just now */
void evict_set_idle(struct ctx *cx, struct item *it, uint64_t seconds); /* not used for so long */

/* ---- hooks of the key space (keyspace.c): only where the policy does not live by the clock --------------- */
static inline uint32_t evict_words(const struct ctx *cx)
{
	return atomic_load_explicit(&cx->st->words, memory_order_relaxed);
}
void evict_used(struct ctx *cx, struct item *it);
void evict_added(struct ctx *cx, const struct pos *p, struct item *it);
void evict_removed(struct ctx *cx, const struct pos *p, struct item *it);
/* The value of a key is replaced: what is known about the key stays. */
static inline void evict_inherit(struct ctx *cx, struct item *it, const struct item *old)
{
	if (UNLIKELY(evict_words(cx)))
		it->head = (it->head & 0xff) | (old->head & ~0xffu);
}
/* ... a key gets another name or database, and was added again with `head` as it had been. */
void evict_moved(struct ctx *cx, struct item *it, uint32_t head);
/* The 24 bits for an item whose value is about to be overwritten in place. */
static inline uint32_t evict_bits(const struct ctx *cx, const struct item *it)
{
	return UNLIKELY(evict_words(cx)) ? it->head >> 8 : cx->clock;
}
/* A table of the shard has gone; its queues go with the last. */
void evict_emptied(struct ctx *cx, struct shard *s);
void evict_tidy(struct ctx *cx); /* upkeep: queues of a policy that was */

/* ---- S3-FIFO (s3fifo.c) -------------------------------------------------------------------------------- */
struct s3;
void s3_used(struct item *it);
void s3_added(struct ctx *cx, struct shard *s, uint32_t db, uint64_t hash, struct item *it);
void s3_removed(struct shard *s, const struct item *it);
/* The item of this shard that has to go, its database in *db; what it costs is taken from *work.  NULL: none
 * was found, now (*work < 0) or ever. */
struct item *s3_victim(struct ctx *cx, struct shard *s, uint32_t *db, int64_t *work);
void s3_gone(struct ctx *cx, struct shard *s, uint64_t hash, const struct item *it); /* it is evicted */
void s3_free(struct ctx *cx, struct shard *s); /* NULL: nothing */
#endif
