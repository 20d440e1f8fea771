/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens beside commands: expired keys that nobody asks for, large values taken apart piece by
 * piece, room made when max_memory is reached.  Every turn of the timer does a bounded amount.
 */
#include <stdlib.h>
#include "defrag.h"
#include "evict.h"
#include "keyspace.h"
#include "list.h"
#include "project.h"
#include "script_long.h"
#include "stream.h"
#include "table.h"
#include "wait.h"

#define TICK_NS UINT64_C(100000000)      /* 100 ms, as Redis' hz 10 */
#define TICK_BUSY_NS UINT64_C(2000000)   /* there is more to do now */
#define TURN_WORK 1536                   /* of one turn: see reap.h.  A fifth of a millisecond, or two where caches are cold */
#define TURN_SLABS 16                    /* whose pages go back in any turn, and more when there is nothing else to do */
#define COST_SLAB 24                     /* of one of them */
#define TURN_MOVES 256                   /* defrag.c, the same */
#define SWEEP_COST 4                     /* cost of active expiry that makes one of work: see COST_* */
#define SWEEP_HOLD 512                   /* ... and of one hold of a shard's lock */
#define COST_BUCKET 1
#define COST_ITEM 8

/* ---- the reaper ------------------------------------------------------------------------------------------ */
static void reap_push(struct store *st, struct reap *r)
{
	lock(&st->reap_lock);
	r->next = st->reap;
	st->reap = r;
	atomic_store_explicit(&st->reaping, 1, memory_order_relaxed);
	unlock(&st->reap_lock);
}

static struct reap *reap_pop(struct store *st)
{
	struct reap *r;

	lock(&st->reap_lock);
	r = st->reap;
	if (r)
		st->reap = r->next;
	if (!st->reap)
		atomic_store_explicit(&st->reaping, 0, memory_order_relaxed);
	unlock(&st->reap_lock);
	return r;
}

void reap_later(struct ctx *cx, struct reap *r, enum reap_kind kind, uint64_t n)
{
	count_add(&cx->led->freeing, (int64_t)n);
	r->kind = kind;
	r->project = atomic_load_explicit(&cx->led->project, memory_order_relaxed);
	reap_push(cx->st, r);
	if (!cx->timer)
		upkeep_arm(cx);
}

static void reap_drop(struct ctx *cx, struct item *it)
{
	count_add(&cx->led->freeing, -1);
	item_free(cx, it);
}

/* A key of a flushed database: the store has counted it out already, its project has not. */
static void reap_key(struct ctx *cx, struct item *it)
{
	uint32_t was = account_enter(cx, project_of_key(cx, (purser_bytes){ item_key(it), item_klen(it) }));

	count_add(&cx->led->freeing, -1);
	account_key_gone(cx, item_has_ttl(it));
	item_free(cx, it);
	account_enter(cx, was);
}

/* 1: it is gone. */
static int reap_one(struct ctx *cx, struct reap *r, int64_t *budget)
{
	struct table *t = (struct table *)(void *)r;
	uint32_t was = account_enter(cx, r->project);
	int gone;

	if (r->kind == REAP_LIST) {
		gone = list_reap(cx, (struct list *)(void *)r, budget);
	} else if (r->kind == REAP_STREAM) {
		gone = stream_reap(cx, (struct stream *)(void *)r, budget);
	} else if (r->kind == REAP_BLOB) {
		gone = blob_reap(cx, r, budget);
	} else if (r->kind == REAP_GROUP) {
		gone = group_reap(cx, (struct sgroup *)(void *)r, budget);
	} else {
		gone = table_reap(cx, t, budget, r->kind == REAP_KEYS ? reap_key : reap_drop);
		if (gone)
			table_free_empty(cx, t);
	}
	account_enter(cx, was);
	return gone;
}

void keys_dispose(struct ctx *cx, struct table *t)
{
	uint32_t was = account_enter(cx, PROJECT_NONE);
	int64_t all = INT64_MAX, work = cx->work;

	if (t) {
		count_add(&cx->led->keys, -(int64_t)table_n(t));
		count_add(&cx->led->ttls, -(int64_t)table_ttls(t));
	}
	if (table_n(t) > REAP_AT_ONCE) {
		reap_later(cx, &t->reap, REAP_KEYS, table_n(t));
	} else if (t) {
		count_add(&cx->led->freeing, (int64_t)table_n(t));
		table_reap(cx, t, &all, reap_key);
		table_free_empty(cx, t);
		reap_was(cx, work, INT64_MAX, all);
	}
	account_enter(cx, was);
}

void table_dispose(struct ctx *cx, struct table *t)
{
	int64_t all = INT64_MAX, was = cx->work;

	if (!t)
		return;
	if (table_n(t) > REAP_AT_ONCE) {
		reap_later(cx, &t->reap, REAP_TABLE, table_n(t));
		return;
	}
	count_add(&cx->led->freeing, (int64_t)table_n(t));
	table_reap(cx, t, &all, reap_drop);
	table_free_empty(cx, t);
	reap_was(cx, was, INT64_MAX, all);
}

int reap_some(struct ctx *cx, int64_t *budget)
{
	struct reap *r;

	if (!atomic_load_explicit(&cx->st->reaping, memory_order_relaxed))
		return 1;
	while (*budget > 0 && (r = reap_pop(cx->st)) != NULL)
		if (!reap_one(cx, r, budget))
			reap_push(cx->st, r);
	return !atomic_load_explicit(&cx->st->reaping, memory_order_relaxed);
}

void reap_all(struct ctx *cx)
{
	int64_t all = INT64_MAX;

	while (!reap_some(cx, &all))
		;
}

/* ---- active expiry ------------------------------------------------------------------------------------------ */
struct sweep {
	struct ctx *cx;
	int64_t cost;
	unsigned seen, ndue;
	struct item *due[64];
};

static int sweep_item(void *arg, uint64_t slot)
{
	struct sweep *w = arg;

	if (!(slot & SLOT_TTL))
		return 0;
	w->cost += COST_ITEM;
	w->seen++;
	if (expired(w->cx, slot_item(slot)) && w->ndue < sizeof(w->due) / sizeof(*w->due))
		w->due[w->ndue++] = slot_item(slot);
	return 0;
}

/* Removes what is due in one bucket. */
static void sweep_bucket(struct sweep *w, uint32_t db, struct table *t, uint32_t b)
{
	struct ctx *cx = w->cx;
	int64_t was = cx->work;
	unsigned i;

	w->ndue = 0;
	w->cost += COST_BUCKET;
	table_each_in(t, b, sweep_item, w);
	for (i = 0; i < w->ndue; i++) {
		purser_bytes key = { item_key(w->due[i]), item_klen(w->due[i]) };
		struct pos p;

		/* key_find() finds it expired and removes it. */
		key_find(cx, &p, db, key, hash_key(cx->st, key.p, key.n), FIND_NOTOUCH);
	}
	w->cost += (cx->work - was) * SWEEP_COST;
}

/* Goes on in one table until it is through or the cost of a hold is reached; 1: through. */
static int sweep_table(struct sweep *w, uint32_t sh, uint32_t db, unsigned *gone)
{
	struct table **tp = &w->cx->st->shard[sh].db[db];
	int64_t until = w->cost + SWEEP_HOLD;

	while (*tp && table_ttls(*tp)) {
		if ((*tp)->sweep >= (*tp)->buckets) {
			(*tp)->sweep = 0;
			return 1;
		}
		if (w->cost >= until)
			return 0;
		sweep_bucket(w, db, *tp, (*tp)->sweep++);
		*gone += w->ndue;
	}
	return 1;
}

/* One turn over the tables of all shards; 1: much was due, come back soon. */
static int sweep(struct ctx *cx, int64_t *budget)
{
	struct store *st = cx->st;
	struct sweep w = { .cx = cx };
	uint32_t places = SHARDS * st->databases, steps;
	int64_t most = *budget * SWEEP_COST;
	unsigned gone = 0;

	if (atomic_load_explicit(&st->script_runs, memory_order_relaxed))
		return 0; /* nothing goes while a script runs */
	for (steps = 0; steps < places && w.cost < most;) {
		uint32_t at = atomic_load_explicit(&st->sweep, memory_order_relaxed);
		uint32_t sh = at % places / st->databases, db = at % st->databases;
		uint32_t mine = shards_beside(cx, 1u << sh);
		int through;

		if (!mine)
			return 0;
		through = sweep_table(&w, sh, db, &gone);
		shards_unlock(cx, mine);
		if (through) {
			atomic_compare_exchange_strong(&st->sweep, &at, (at + 1) % places);
			steps++;
		}
	}
	*budget -= w.cost / SWEEP_COST;
	return gone > 0 && gone >= w.seen / 8;
}

/* ---- the timer ---------------------------------------------------------------------------------------------- */
static int has_ttls(const struct store *st) { return store_sum(st, offsetof(struct ledger, ttls)) > 0; }

/* What is to be freed and what is to expire share the work of a turn: each has the first of it every other time. */
static int free_some(struct ctx *cx, int64_t *left)
{
	int more = 0, half;

	for (half = 0; half < 2; half++) {
		if ((cx->turns + half) & 1)
			more |= !reap_some(cx, left);
		else if (has_ttls(cx->st))
			more |= sweep(cx, left);
	}
	cx->turns++;
	return more || *left <= 0;
}

static int give_back(struct ctx *cx, int64_t left)
{
	struct slab_heap *h = &cx->st->heap;
	int64_t most = left / COST_SLAB;

	slab_trim(h, most > TURN_SLABS ? (uint32_t)most : TURN_SLABS);
	return slab_has_surplus(h);
}

static void upkeep(void *arg)
{
	struct ctx *cx = arg;
	int64_t left = TURN_WORK;
	int more = 0, later;

	cx->timer = 0;
	cx->now_ms = 0;
	cx->clock = (uint32_t)(cx->h->now(cx->x) >> CLOCK_SHIFT);
	evict_tidy(cx);
	if (over_limit(cx->st) && !script_bars(cx->st) && evict_chosen(cx->st) != EVICT_NONE) {
		more |= make_room(cx) == 0 && over_limit(cx->st);
		left /= 4; /* that is work of half a millisecond, too */
	}
	cx->in_turn = 1;
	more |= free_some(cx, &left);
	cx->in_turn = 0;
	more |= give_back(cx, left);
	wait_serve_beside(cx); /* streams that have gone */
	later = defrag_some(cx, left > TURN_MOVES ? left : TURN_MOVES) || has_ttls(cx->st) ||
	    script_bars(cx->st);
	if (cx->timer && more) { /* armed by what it did: that is later than now */
		cx->h->untimer(cx->x, cx->timer);
		cx->timer = 0;
	}
	if (!cx->timer && (more || later))
		cx->timer = cx->h->timer(cx->x, more ? TICK_BUSY_NS : TICK_NS, upkeep, cx);
}

void upkeep_arm(struct ctx *cx)
{
	if (cx->x && !cx->timer)
		cx->timer = cx->h->timer(cx->x, TICK_NS, upkeep, cx);
}
