/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory backend: Redis' semantics in the agent's own process.
 *
 *   store   one [backend] instance: 16 shards, limits, ledgers
 *   shard   a lock and one table per database; a key's hash chooses its shard
 *   table   linear hashing over 64-byte buckets (table.h)
 *   item    key, value, expiry and access time in one allocation (item.h)
 *   ctx     one worker's view: scratch memory, clocks, its own ledger
 *
 * A command runs under the locks of the shards of all its keys (ascending order); what it needs is
 * allocated before anything is changed, so that a failed allocation loses nothing.  Expired keys go
 * when they are touched (keyspace.c) or when the timer of any context walks past them (upkeep.c).
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "siphash.h"
#include "slab.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define SHARD_BITS 4
#define SHARDS (1u << SHARD_BITS)
#define LEDGERS 128                    /* contexts of one instance */
#define DATABASES_MAX 1024
#define STRING_MAX (UINT64_C(512) << 20) /* proto-max-bulk-len of Redis */

struct item;
struct engine;
struct reap;
struct table;
struct waiter;
struct waitkey;
struct waits;
struct tracking;
struct watch_table;
struct watcher;
struct ctx;

/* ---- accounts -------------------------------------------------------------------------------------
 * Written by one context only (relaxed load and store), read by anybody; sums over all ledgers are
 * exact when nobody runs. */
struct ledger {
	/* What projects have accounts of, in the order of enum account_field. */
	_Alignas(64) _Atomic int64_t used; /* bytes, as chunk_size() counts them */
	_Atomic int64_t keys, ttls;
	_Atomic int64_t hits, misses, expired, evicted;
	_Atomic int64_t commands;
	_Atomic int64_t changes;           /* events of keys: event.h */
	_Atomic int64_t freeing;           /* keys and fields handed to the reaper, not freed yet */
	_Atomic uint32_t project;          /* whose what comes is: project.h */
	_Atomic int64_t mark[7];           /* what is in the accounts of projects already */
};

enum account_field {
	ACCOUNT_USED, ACCOUNT_KEYS, ACCOUNT_TTLS, ACCOUNT_HITS, ACCOUNT_MISSES, ACCOUNT_EXPIRED,
	ACCOUNT_EVICTED, ACCOUNT_FIELDS
};
struct account { _Alignas(64) _Atomic int64_t v[ACCOUNT_FIELDS]; }; /* of a project, in one ledger */
#define PROJECTS_MAX 256               /* of one instance; the others share an account */
#define PROJECTS_SEEN 32
struct seen { uint64_t id; uint32_t project; };

static inline void count_add(_Atomic int64_t *c, int64_t d)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + d,
	    memory_order_relaxed);
}

/* ---- shards --------------------------------------------------------------------------------------- */
struct s3;
struct shard {
	_Alignas(64) _Atomic uint32_t lock;
	struct table **db;                 /* databases pointers; NULL: no key */
	struct waits *waits;               /* keys that somebody waits for; NULL: none (wait.h) */
	struct watch_table *watched;       /* watch.h; NULL: none of its keys is */
	struct s3 *s3;                     /* queues of allkeys-s3fifo: s3fifo.c */
};

enum { WORDS_CLOCK = 0, WORDS_LFU = 1, WORDS_S3 = 2 }; /* what 24 bits of an item are: evict.h */

/* Counters that INFO shows; CONFIG RESETSTAT lets them begin anew. */
enum stat_id { STAT_COMMANDS, STAT_EXPIRED, STAT_EVICTED, STAT_HITS, STAT_MISSES, STATS };
struct store {
	const purser_host *h;
	purser_instance *i;
	struct sip_key sip;
	uint32_t databases;
	_Atomic int64_t max_memory;        /* 0: no limit */
	_Atomic uint32_t eviction;         /* evict_choose() */
	_Atomic uint32_t words;            /* WORDS_* */
	_Atomic uint32_t lfu_log_factor;   /* as Redis' lfu-log-factor */
	_Atomic uint32_t lfu_decay;        /* minutes, as lfu-decay-time; 0: never */
	_Atomic uint32_t heard;            /* who is told of changed keys: event.h */
	_Atomic uint32_t notify;           /* notify_keyspace_events: event.h */
	int64_t next_max;                  /* prepare() .. adopt() */
	uint32_t next_eviction, next_notify, next_log_factor, next_decay;
	int64_t file_max;                  /* of the last reload, all three: what CONFIG SET said holds until */
	uint32_t file_eviction, file_notify; /* ... the file says something else */
	_Atomic int64_t since[STATS];      /* what was counted before CONFIG RESETSTAT, as INFO shows it */
	_Atomic uint32_t queues;           /* shards that have s3 */
	struct shard shard[SHARDS];

	_Atomic uint32_t watch_lock;
	int64_t watches;                   /* under it; see watch.h */
	struct tracking *tracking;         /* track.h */

	_Atomic uint32_t nledgers;
	struct ledger *ledger[LEDGERS];    /* [0]: the control thread and late releases */
	_Atomic uint32_t ledger_lock;
	uint8_t ledger_taken[LEDGERS];

	_Atomic uint32_t nprojects;        /* changed under all locks of shards */
	struct project *project[PROJECTS_MAX];
	struct account *account[PROJECTS_MAX]; /* [LEDGERS] */
	_Atomic int64_t project_released[PROJECTS_MAX]; /* of released, whose it was */

	_Atomic uint32_t reap_lock;
	struct reap *reap;                 /* what is to be taken apart: see reap.h */
	_Atomic uint32_t reaping;          /* is there any? */
	_Atomic uint32_t sweep;            /* where active expiry goes on: shard * databases + db */
	_Atomic int64_t released;          /* bytes of values freed by replies: see blob_release() */
	_Atomic int64_t peak;
	_Atomic int64_t born_ms;

	purser_host tape;                  /* records replies: tape.h */
	_Atomic uint32_t nwaiting, wait_max; /* clients that wait, and how many may */
	_Atomic uint32_t wait_kind[4];     /* of these, for each kind of value */
	_Atomic uint32_t wait_lock, nwanting;
	struct ctx *wanting, *wanting_last; /* contexts whose next client finds no place */
	uint32_t next_wait_max;
	struct engine *engine;             /* of scripts: script.h; all shards locked */
	int64_t script_memory;
	_Atomic int64_t lua_used;          /* bytes of Lua, behind the last script */
	struct snapshot *snapshot;         /* snapshot.h */
	_Atomic uint64_t script_limit_ms; /* 0: a script may run as long as it likes */
	_Atomic uint32_t script_long, script_runs, script_ns, script_state; /* script_long.h */
	_Atomic uint32_t script_lock;
	struct ctx *put_off;               /* contexts with calls that wait for a script's end; script_lock */
	int64_t fail_after;                /* tests: this many allocations succeed; < 0: all */
	struct slab_heap heap;
	_Atomic uint32_t defrag_lock;      /* defrag.c: of where it goes on */
	uint32_t defrag_place, defrag_bucket, defrag_done;
	uint32_t defrag_item, defrag_inner; /* within a bucket */
};

struct ctx {
	const purser_host *h;
	struct store *st;
	purser_ctx *x;
	struct ledger *led;
	uint64_t timer;                    /* 0: not armed */
	unsigned turns;                    /* of it, with something to free: upkeep.c */
	int in_turn;                       /* it is in one */
	uint64_t rng[2];
	uint64_t now_ms;                   /* wall clock of this command; 0: not asked yet */
	uint32_t clock;                    /* access clock: see CLOCK_SHIFT; items keep 24 bits of it */
	uint32_t held;                     /* bit per shard */
	struct watcher *watchers;          /* sessions that WATCH */
	const void *added;                 /* a key that was not there: key_is_new() */
	int64_t work;                      /* what has been freed on the spot so far, in elements and pages: reap.h */
	uint32_t ledger_slot;
	uint32_t script_oom;               /* a script runs above max_memory */
	uint64_t project;                  /* call_project() of the last command with keys */
	uint32_t owner;                    /* ... and its number; a guess for other keys */
	uint32_t mixed;                    /* keys of several projects: project_run_bare() */
	struct seen seen[PROJECTS_SEEN];   /* by number of namespace */
	uint64_t *hash;                    /* of the command's keys, in order */
	uint32_t hash_cap;
	void *scratch;                     /* of one command; not part of the accounts */
	size_t scratch_cap;
	uint64_t hash0[32];
	/* script_long.c */
	struct fiber *fiber;
	int (*fiber_fn)(struct ctx *cx, purser_call *c);
	purser_call *fiber_call;
	int fiber_says, fiber_left, long_ended, draining;
	int put_off;                       /* the command could not run: offer it again */
	uint64_t script_since_ns, slice_since_ns;
	purser_job fiber_job, long_job;
	struct ctx *next_put_off;
	int is_put_off, long_told;
	/* wait.c */
	struct waitkey *ready, *ready_last; /* keys that this command has made, for which somebody waits */
	struct waiter *waiters;            /* calls of this context that wait */
	struct waiter **due;               /* those with a deadline: a heap */
	uint32_t ndue, due_cap;
	uint64_t due_timer, due_timer_ns;  /* 0: not armed */
	int outcome;                       /* what submit() says of a command that may wait */
	uint8_t wants_place, place_told;   /* under wait_lock */
	struct ctx *next_wanting;
	purser_job place_job;
	struct magazine magazine[SLAB_CLASSES]; /* free blocks at hand: slab.h */
};

#define CLOCK_SHIFT 28                 /* ns >> 28: steps of 268 ms, 52 days in 24 bits */
#define CLOCK_MASK 0xffffffu

uint64_t now_ms(struct ctx *cx);       /* wall clock, the same all through one command */
uint64_t rng_next(struct ctx *cx);
static inline uint32_t rng_below(struct ctx *cx, uint32_t n)
{
	return (uint32_t)(((rng_next(cx) >> 32) * n) >> 32);
}

/* n bytes that live until the command ends; called again it grows and keeps what is in it, perhaps in
 * another place.  NULL: no memory, what was there still is. */
void *scratch(struct ctx *cx, size_t n);

int store_open_ctx(struct store *st, purser_ctx *x, struct ctx *cx);
void store_close_ctx(struct ctx *cx);
int64_t store_used(const struct store *st);
int64_t store_peak(struct store *st, int64_t used); /* the most that was ever seen, used among it */
int64_t stats_get(const struct store *st, enum stat_id s);
void stats_reset(struct store *st);
int64_t store_sum(const struct store *st, size_t field); /* offsetof(struct ledger, ...) */

/* ---- memory with accounts (heap.c) ------------------------------------------------------------------ */
/* What n bytes take: a block of slab.h, or malloc's (glibc: 8 of header, multiples of 16; pages above). */
static inline size_t chunk_size(size_t n)
{
	if (LIKELY(n <= SLAB_MAX))
		return slab_class_bytes(slab_class_of(n));
	if (UNLIKELY(n >= (128u << 10)))
		return (n + 16 + 4095) & ~(size_t)4095;
	return (n + 8 + 15) & ~(size_t)15;
}
int mem_must_fail(struct store *st);   /* tests */
void *mem_get(struct ctx *cx, size_t n);
void mem_put(struct ctx *cx, void *p, size_t n); /* n as in mem_get */
/* The same for what belongs to the store and not to a project (project.c). */
void *own_get(struct ctx *cx, size_t n);
void own_put(struct ctx *cx, void *p, size_t n);
void *mem_resize(struct ctx *cx, void *p, size_t old, size_t n); /* NULL: p is as it was */
void mem_put_shared(struct store *st, void *p, size_t n); /* from any thread; counted in st->released */
void *mem_get_aligned(struct ctx *cx, size_t n); /* 64-byte aligned, zeroed; mem_put_aligned */
void mem_put_aligned(struct ctx *cx, void *p, size_t n);
/* Another place for the n bytes at p where they are in the way of giving memory back, or NULL; the caller moves them
 * and gives the old place up.  The accounts do not change. */
void *mem_better(struct ctx *cx, const void *p, size_t n);
void mem_put_moved(struct ctx *cx, void *p, size_t n);
void heap_leave(struct ctx *cx);                 /* its magazines become everybody's */
size_t mem_aligned_size(size_t n);               /* as it is accounted for */
void *mem_map(struct ctx *cx, size_t n);         /* zero pages, not accounted: the caller does */
void mem_unmap(void *p, size_t n);
static inline void mem_account(struct ctx *cx, int64_t d) { count_add(&cx->led->used, d); }

/* ---- locks ------------------------------------------------------------------------------------------- */
void lock_slow(_Atomic uint32_t *l);
static inline void lock(_Atomic uint32_t *l)
{
	if (UNLIKELY(atomic_exchange_explicit(l, 1, memory_order_acquire)))
		lock_slow(l);
}
static inline void unlock(_Atomic uint32_t *l) { atomic_store_explicit(l, 0, memory_order_release); }

static inline uint32_t shard_of(uint64_t hash) { return (uint32_t)hash & (SHARDS - 1); }
static inline uint64_t hash_key(const struct store *st, const void *p, size_t n)
{
	return siphash13(&st->sip, p, n);
}
/* Ascending; a shard that is held already (by a batch) is passed over.  Returns what was locked now: the
 * mask for shards_unlock(). */
uint32_t shards_lock(struct ctx *cx, uint32_t mask);
/* The same for a command that holds none; -1: a script that takes long has them, nothing is locked. */
int shards_claim(struct ctx *cx, uint32_t mask);
int shard_wait(struct ctx *cx, _Atomic uint32_t *l);
/* The same for what goes on beside commands: not while a script has left its worker either.  What was locked; 0. */
uint32_t shards_beside(struct ctx *cx, uint32_t mask);
void shards_unlock(struct ctx *cx, uint32_t mask);
#define SHARDS_ALL ((1u << SHARDS) - 1)
#endif
