/* SPDX-License-Identifier: Apache-2.0
 *
 * event: a key has changed.  Every command that changes a key says so here, under the locks of its shards
 * and after the change, with the name that Redis 7.0 gives the event ("set", "lpush", "del") and its class.
 * What hangs on it (WATCH, client tracking, keyspace notifications, INFO) is event.c's affair.  While nobody
 * listens it costs one relaxed load.
 */
#ifndef MEMORY_EVENT_H
#define MEMORY_EVENT_H
#include "memory.h"

enum event_class {                     /* letters of notify-keyspace-events; numbers of Redis */
	EVENT_GENERIC = 1 << 2,        /* g */
	EVENT_STRING = 1 << 3,         /* $ */
	EVENT_LIST = 1 << 4,           /* l */
	EVENT_SET = 1 << 5,            /* s */
	EVENT_HASH = 1 << 6,           /* h */
	EVENT_ZSET = 1 << 7,           /* z */
	EVENT_EXPIRED = 1 << 8,        /* x */
	EVENT_EVICTED = 1 << 9,        /* e */
	EVENT_STREAM = 1 << 10,        /* t */
	EVENT_MISS = 1 << 11,          /* m: a read of a key that is not there; no change */
	EVENT_MODULE = 1 << 13,        /* d: there are none */
	EVENT_NEW = 1 << 14            /* n: a key that was not there; no change of its own */
};
enum {                                 /* where notifications go: the other bits of store.notify */
	NOTIFY_KEYSPACE = 1 << 0,      /* K: __keyspace@DB__:KEY */
	NOTIFY_KEYEVENT = 1 << 1       /* E: __keyevent@DB__:EVENT */
};
#define EVENT_ALL (EVENT_GENERIC | EVENT_STRING | EVENT_LIST | EVENT_SET | EVENT_HASH | EVENT_ZSET | \
	EVENT_EXPIRED | EVENT_EVICTED | EVENT_STREAM | EVENT_MODULE) /* A */
#define NOTIFY_TEXT 20

enum {                                 /* store.heard: who listens */
	HEARD_NOTIFY = 1,
	HEARD_NEW = 2,                 /* notifications of EVENT_NEW are among them */
	HEARD_MISS = 4,                /* ... of EVENT_MISS */
	HEARD_WATCH = 8,               /* somebody watches keys: watch.h */
	HEARD_TRACK = 16               /* the host wants to hear of changes: track.h */
};

static inline uint32_t events_heard(const struct ctx *cx)
{
	return atomic_load_explicit(&cx->st->heard, memory_order_relaxed);
}
void heard_set(struct store *st, uint32_t bits, int on);
void event_tell(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class, const char *name);
void event_told(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class, const char *name);
void event_touch(struct ctx *cx, uint32_t db, purser_bytes key);

/* One call an event, as Redis' notifyKeyspaceEvent(); name is a constant. */
static inline void key_event(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class,
    const char *name)
{
	count_add(&cx->led->changes, 1);
	if (UNLIKELY(events_heard(cx)))
		event_tell(cx, db, key, class, name);
}

/* A change without an event: Redis' signalModifiedKey() alone. */
static inline void key_touched(struct ctx *cx, uint32_t db, purser_bytes key)
{
	count_add(&cx->led->changes, 1);
	if (UNLIKELY(events_heard(cx)))
		event_touch(cx, db, key);
}

/* An event that is no change to WATCH and to caches: in Redis, what happens to the groups of a stream. */
static inline void key_told(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class,
    const char *name)
{
	count_add(&cx->led->changes, 1);
	if (UNLIKELY(events_heard(cx) & HEARD_NOTIFY))
		event_told(cx, db, key, class, name);
}

/* A read has not found the key. */
static inline void key_missed(struct ctx *cx, uint32_t db, purser_bytes key)
{
	if (UNLIKELY(events_heard(cx) & HEARD_MISS))
		event_told(cx, db, key, EVENT_MISS, "keymiss");
}

/* The key (these very bytes: the argument) was not there until now: "new" goes before its next event.
 * key_add() says so; commands whose events come later or in another order say it again. */
static inline void key_is_new(struct ctx *cx, const void *key)
{
	if (UNLIKELY(events_heard(cx) & HEARD_NEW))
		cx->added = key;
}

/* ... or it goes before the event of another key. */
void event_new(struct ctx *cx, uint32_t db, purser_bytes key);
static inline void key_came(struct ctx *cx, uint32_t db, purser_bytes key)
{
	if (UNLIKELY(cx->added))
		event_new(cx, db, key);
}

/* ---- notify-keyspace-events: any thread ------------------------------------------------------------------ */
/* Letters to a mask of classes and NOTIFY_*; -1: there is another letter. */
int notify_parse(const uint8_t *p, size_t n);
/* As CONFIG GET shows it. */
void notify_text(uint32_t mask, char out[NOTIFY_TEXT]);
uint32_t notify_get(const struct store *st);
void notify_set(struct store *st, uint32_t mask);
#endif
