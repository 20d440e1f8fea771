/* SPDX-License-Identifier: Apache-2.0
 *
 * keyspace: finding, adding, replacing and removing keys; expiry on access; what is freed later.
 * All of it under the lock of the key's shard.
 */
#ifndef MEMORY_KEYSPACE_H
#define MEMORY_KEYSPACE_H
#include "event.h"
#include "item.h"

/* Where a key is or would be.  Valid until the next key is added or removed. */
struct pos {
	struct table **tp;            /* of its shard and database; *tp NULL: no key there */
	uint64_t hash;
	uint64_t *slot;               /* NULL: not there */
	struct item *it;              /* the same; expired keys have been removed */
	const void *key;
	size_t klen;
};

enum {
	FIND_READ = 1,                /* counts a hit or a miss */
	FIND_NOTOUCH = 2,             /* the access time stays */
	FIND_QUIET = 4                /* nobody is told of a miss */
};
struct item *key_find(struct ctx *cx, struct pos *p, uint32_t db, purser_bytes key, uint64_t hash,
    int how);

/* The key is not there: adds the item, which p->it then is.  0, or -1: no memory; the item is the
 * caller's still. */
int key_add(struct ctx *cx, struct pos *p, struct item *it);
/* There is a value at p that was not there before: who waits for one is told.  key_add() does so; whoever
 * replaces a key as Redis deletes and adds one (RENAME, COPY, RESTORE) does it himself. */
void key_ready(struct ctx *cx, const struct pos *p);
/* Another item of the same key in place of p->it, which is freed (or only its shell). */
void key_replace(struct ctx *cx, struct pos *p, struct item *it);
/* p->it was replaced by item_reshape() or its expiry came or went. */
void key_moved(struct ctx *cx, struct pos *p, struct item *it);
void key_delete(struct ctx *cx, struct pos *p);
/* The key goes without having been asked to: with its event, which has a class and a name. */
void key_expel(struct ctx *cx, struct pos *p, uint32_t db, enum event_class class, const char *name);
struct item *key_take(struct ctx *cx, struct pos *p); /* out of the table, not freed */
/* 0, or -1: no memory, nothing changed. */
int key_expire_at(struct ctx *cx, struct pos *p, int64_t ms);
int key_persist(struct ctx *cx, struct pos *p);       /* the key has an expiry */

static inline int expired(struct ctx *cx, const struct item *it)
{
	return item_has_ttl(it) && (int64_t)now_ms(cx) > item_expiry(it);
}
static inline struct table **db_table(struct store *st, uint64_t hash, uint32_t db)
{
	return &st->shard[shard_of(hash)].db[db];
}

/* ---- later (upkeep.c) ------------------------------------------------------------------------------- */
/* The table and all its items: small ones at once, large ones piece by piece on a timer. */
void table_dispose(struct ctx *cx, struct table *t);
void keys_dispose(struct ctx *cx, struct table *t); /* ... of a database: keys of any project */
/* Piece by piece, at most budget items; 1: nothing is left. */
int reap_some(struct ctx *cx, int64_t *budget);
void reap_all(struct ctx *cx);
void upkeep_arm(struct ctx *cx);      /* there is something to expire or to free */
/* Before a command that needs memory, no lock held: 0, or -1: above max_memory and nothing to evict. */
int make_room(struct ctx *cx);
static inline int over_limit(const struct store *st)
{
	int64_t max = atomic_load_explicit(&st->max_memory, memory_order_relaxed);

	return max && store_used(st) > max;
}
#endif
