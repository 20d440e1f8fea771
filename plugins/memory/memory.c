/* SPDX-License-Identifier: Apache-2.0
 *
 * The plugin: what it declares, its life cycle, and the way of a call to its operation.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "ahead.h"
#include "cmd.h"
#include "evict.h"
#include "project.h"
#include "quota.h"
#include "script.h"
#include "snapshot.h"
#include "script_long.h"
#include "table.h"
#include "track.h"
#include "wait.h"
#include "watch.h"

#define MINUTE_NS INT64_C(60000000000)
#define OOM_TEXT "OOM command not allowed when used memory > 'maxmemory'."

const struct op ops[OP_COUNT] = {
#define OP(id, name, fn, arity, flags, first, last, step) \
	[OP_ID_##id] = { name, fn, arity, flags, first, last, step },
#include "ops.def"
#undef OP
};

/* ---- calls ---------------------------------------------------------------------------------------------- */
static uint32_t count_keys(const struct op *op, uint32_t argc)
{
	uint32_t last = op->last < 0 ? argc - (uint32_t)-op->last : (uint32_t)op->last;

	return op->first ? (last - (uint32_t)op->first) / (uint32_t)op->step + 1 : 0;
}

/* Hashes the keys into cx->hash; the mask of their shards in *mask.  How many, or -1: no memory. */
static int64_t hash_keys(struct ctx *cx, const struct op *op, const purser_call *c, uint32_t *mask)
{
	int told = op->flags & OP_KEYS;
	uint32_t n = told ? c->nkeys : count_keys(op, c->argc), i, at = (uint32_t)op->first;

	if (UNLIKELY(n > cx->hash_cap)) {
		uint64_t *h = malloc(n * sizeof(*h));

		if (!h)
			return -1;
		if (cx->hash != cx->hash0)
			free(cx->hash);
		cx->hash = h;
		cx->hash_cap = n;
	}
	*mask = op->flags & OP_ALL ? SHARDS_ALL : 0;
	for (i = 0; i < n; i++, at += (uint32_t)op->step) {
		if (told)
			at = c->keys[i];
		cx->hash[i] = hash_key(cx->st, c->argv[at].p, c->argv[at].n);
		*mask |= 1u << shard_of(cx->hash[i]);
	}
	return n;
}

int64_t keys_hash(struct ctx *cx, const struct op *op, const purser_call *c, uint32_t *mask)
{
	return hash_keys(cx, op, c, mask);
}

/* Who waits is served before anybody else comes, and for that every shard is locked: a command that may have
 * something to serve locks them before it runs.  0, or -1: a script has them and takes long. */
static int lock_more(struct ctx *cx, int64_t nkeys)
{
	int64_t i;

	if (cx->held == SHARDS_ALL)
		return 0;
	for (i = 0; i < nkeys && !wait_wanted(cx->st, cx->hash[i]); i++)
		;
	if (i == nkeys)
		return 0;
	shards_unlock(cx, cx->held);
	if (LIKELY(shards_claim(cx, SHARDS_ALL) == 0))
		return 0;
	cx->put_off = 1;
	return -1;
}

/* The same where somebody waits for a key of the shard. */
static void run_awaited(struct ctx *cx, purser_call *c, const struct op *op)
{
	if (op->flags & (OP_OOM | OP_WRITE) && lock_more(cx, 1))
		return;
	op->fn(cx, c);
	if (cx->ready)
		wait_serve(cx);
	shards_unlock(cx, cx->held);
}

/* Most commands have one key: its shard is locked here, without the detours of the general way. */
static inline void run_one_key(struct ctx *cx, purser_call *c, const struct op *op)
{
	const purser_bytes *key = &c->argv[op->first];
	uint64_t hash = hash_key(cx->st, key->p, key->n);
	struct shard *s = &cx->st->shard[shard_of(hash)];

	cx->hash[0] = hash;
	if (UNLIKELY(atomic_exchange_explicit(&s->lock, 1, memory_order_acquire)) && shard_wait(cx, &s->lock)) {
		cx->put_off = 1;
		return;
	}
	cx->held = 1u << shard_of(hash);
	if (UNLIKELY(s->waits != NULL)) {
		run_awaited(cx, c, op);
		return;
	}
	op->fn(cx, c);
	cx->held = 0;
	unlock(&s->lock);
}

/* The accounts of which project: that of the command's keys.  0, or -1: no memory. */
static int enter_project(struct ctx *cx, purser_call *c, const struct op *op)
{
	uint32_t first = op->flags & OP_KEYS ? (c->nkeys ? c->keys[0] : 0) : (uint32_t)op->first;

	return first ? project_switch(cx, c, c->argv[first]) : 0;
}

/* The keys may be of any project: a project without a prefix beside others, or a command of a script.  (A script
 * itself changes nothing.) */
static void run_bare(struct ctx *cx, purser_call *c, const struct op *op, uint32_t n)
{
	if (!n || op->flags & OP_SCRIPT)
		op->fn(cx, c);
	else if (project_run_bare(cx, c, op->fn, n, (uint32_t)op->first, (uint32_t)op->step,
	    op->flags & OP_KEYS ? c->keys : NULL))
		reply_nomem(cx, c);
	cx->project = PROJECT_ANY; /* what the ledger counts is another's, perhaps */
}

void op_run(struct ctx *cx, purser_call *c)
{
	const struct op *op = &ops[c->op];
	uint32_t mask, held = cx->held; /* by a batch; SCAN locks more as it goes */
	int64_t n;
	int bare;

	if (UNLIKELY(op->arity > 0 ? c->argc != (uint32_t)op->arity : c->argc < (uint32_t)-op->arity)) {
		reply_arity(cx, c);
		return;
	}
	if (UNLIKELY(c->db >= cx->st->databases)) {
		reply_error(cx, c, "ERR DB index is out of range");
		return;
	}
	count_add(&cx->led->commands, 1);
	if (UNLIKELY(call_project(c) != cx->project) && enter_project(cx, c, op)) {
		if (!cx->put_off)
			reply_nomem(cx, c);
		return;
	}
	bare = project_is_bare(cx, c);
	if (op->first && op->last == op->first && !held && LIKELY(!bare)) {
		run_one_key(cx, c, op);
		return;
	}
	n = hash_keys(cx, op, c, &mask);
	if (UNLIKELY(n < 0)) {
		reply_nomem(cx, c);
		return;
	}
	if (held)
		shards_lock(cx, mask);
	else if (UNLIKELY(shards_claim(cx, mask))) {
		cx->put_off = 1;
		return;
	}
	if (op->flags & (OP_OOM | OP_WRITE) && !held && lock_more(cx, n))
		return;
	if (UNLIKELY(bare))
		run_bare(cx, c, op, (uint32_t)n);
	else
		op->fn(cx, c);
	if (UNLIKELY(cx->ready != NULL) && !held)
		wait_serve(cx);
	shards_unlock(cx, cx->held & ~held);
}

static void turn_begin(struct ctx *cx)
{
	cx->now_ms = 0;
	cx->clock = (uint32_t)(cx->h->now(cx->x) >> CLOCK_SHIFT);
}

/* Above max_memory, and nothing to evict. */
static void run_full(struct ctx *cx, purser_call *c)
{
	if (ops[c->op].flags & OP_OOM) {
		cx->h->error(c, OOM_TEXT, sizeof(OOM_TEXT) - 1);
		return;
	}
	cx->script_oom = 1;
	op_run(cx, c);
	cx->script_oom = 0;
}

/* Its project has a quota. */
static void run_within(struct ctx *cx, purser_call *c, const purser_quota *q)
{
	const char *why = quota_refuses(cx, c, q, &cx->script_oom);

	if (why)
		reply_error(cx, c, why);
	else
		op_run(cx, c);
	cx->script_oom = 0;
}

/* As make_room().  A stream that went may have had groups for which somebody waits. */
static int room(struct ctx *cx)
{
	int rc = make_room(cx);

	wait_serve_beside(cx);
	return rc;
}

static inline void answer(struct ctx *cx, purser_call *c)
{
	turn_begin(cx);
	if (ops[c->op].flags & (OP_OOM | OP_SCRIPT) && UNLIKELY(over_limit(cx->st)) && room(cx))
		run_full(cx, c);
	else if (ops[c->op].flags & (OP_OOM | OP_SCRIPT) && UNLIKELY(quota_of(c) != NULL))
		run_within(cx, c, quota_of(c));
	else
		op_run(cx, c);
}

static int run(void *cs, purser_call *c)
{
	struct ctx *cx = cs;

	if (script_bars(cx->st))
		return script_put_off(cx, c);
	answer(cx, c);
	if (UNLIKELY(cx->put_off)) {
		cx->put_off = 0;
		return script_put_off(cx, c);
	}
	cx->h->end(c);
	return PURSER_DONE;
}

static int run_on_fiber(struct ctx *cx, purser_call *c)
{
	int says = run(cx, c);

	script_over(cx);
	return says;
}

/* Of a script: it may take long. */
static int run_script(void *cs, purser_call *c)
{
	struct ctx *cx = cs;

	if (script_bars(cx->st))
		return script_put_off(cx, c);
	return script_on_fiber(cx, c, run_on_fiber);
}

/* SCRIPT KILL: of a script that runs. */
static int run_beside(void *cs, purser_call *c)
{
	struct ctx *cx = cs;

	count_add(&cx->led->commands, 1);
	ops[c->op].fn(cx, c);
	cx->h->end(c);
	return PURSER_DONE;
}

/* One that may wait: then it is ended later, or offered again. */
static int run_blocking(void *cs, purser_call *c)
{
	struct ctx *cx = cs;

	if (script_bars(cx->st))
		return script_put_off(cx, c);
	cx->outcome = PURSER_DONE;
	answer(cx, c);
	if (UNLIKELY(cx->put_off)) {
		cx->put_off = 0;
		return script_put_off(cx, c);
	}
	if (cx->outcome == PURSER_DONE)
		cx->h->end(c);
	return cx->outcome;
}

static const purser_op plugin_ops[] = {
#define OP(id, name, fn, arity, flags, ...) \
	{ name, (flags) & OP_BLOCKS ? run_blocking : (flags) & OP_BESIDE ? run_beside : \
	    (flags) & OP_SCRIPT ? run_script : run },
#include "ops.def"
#undef OP
};

static int batch_put_off(struct ctx *cx, purser_call *c)
{
	if (atomic_load_explicit(&cx->st->script_long, memory_order_relaxed) == LONG_BUSY)
		watch_forget(cx, c);
	return script_put_off(cx, c);
}

/* A MULTI block: nobody comes between, and either all parts run or none does. */
static int run_batch(struct ctx *cx, purser_call *c)
{
	const char *full = NULL;
	uint32_t i, script = 0;
	int needs = 0;

	turn_begin(cx);
	for (i = 0; i < c->nparts; i++) {
		if (c->parts[i]->op >= OP_COUNT) {
			watch_forget(cx, c);
			cx->h->fail(c, PURSER_E_UNSUPPORTED, PURSER_NOT_EXECUTED,
			    "a command of the batch is not one of the memory backend");
			return PURSER_DONE;
		}
		needs |= ops[c->parts[i]->op].flags & (OP_OOM | OP_SCRIPT);
	}
	cx->script_oom = needs && over_limit(cx->st) && room(cx);
	if (cx->script_oom && needs & OP_OOM)
		full = OOM_TEXT;
	else if (needs && UNLIKELY(quota_of(c) != NULL))
		full = quota_refuses(cx, c, quota_of(c), &script);
	cx->script_oom |= script;
	if (full) {
		cx->script_oom = 0;
		watch_forget(cx, c);
		reply_error(cx, c, full);
		cx->h->end(c);
		return PURSER_DONE;
	}
	if (UNLIKELY(shards_claim(cx, SHARDS_ALL))) {
		cx->script_oom = 0;
		return batch_put_off(cx, c);
	}
	if (watch_exec(cx, c)) {
		shards_unlock(cx, SHARDS_ALL);
		cx->script_oom = 0;
		cx->h->null(c);
		cx->h->end(c);
		return PURSER_DONE;
	}
	for (i = 0; i < c->nparts; i++) {
		op_run(cx, c->parts[i]);
		cx->h->end(c->parts[i]);
	}
	if (UNLIKELY(cx->ready != NULL))
		wait_serve(cx);
	shards_unlock(cx, SHARDS_ALL);
	cx->script_oom = 0;
	cx->h->end(c);
	script_over(cx);
	return PURSER_DONE;
}

/* One with a script in it may take long. */
static int submit_batch(struct ctx *cx, purser_call *c)
{
	uint32_t i;

	if (script_bars(cx->st))
		return batch_put_off(cx, c);
	for (i = 0; i < c->nparts && (c->parts[i]->op >= OP_COUNT || !(ops[c->parts[i]->op].flags & OP_SCRIPT)); i++)
		;
	return i < c->nparts ? script_on_fiber(cx, c, run_batch) : run_batch(cx, c);
}

static int submit(void *cs, purser_call *c)
{
	struct ctx *cx = cs;

	if (c->op == PURSER_OP_BATCH)
		return submit_batch(cx, c);
	if (c->op < OP_COUNT)
		return plugin_ops[c->op].run(cs, c);
	cx->h->fail(c, PURSER_E_UNSUPPORTED, PURSER_NOT_EXECUTED, NULL);
	return PURSER_DONE;
}

/* ---- sums over the ledgers -------------------------------------------------------------------------------- */
int64_t store_sum(const struct store *st, size_t field)
{
	uint32_t n = atomic_load_explicit(&st->nledgers, memory_order_acquire), i;
	int64_t sum = 0;

	for (i = 0; i < n; i++)
		sum += atomic_load_explicit(
		    (_Atomic int64_t *)((char *)st->ledger[i] + field), memory_order_relaxed);
	return sum;
}

int64_t store_used(const struct store *st)
{
	return store_sum(st, offsetof(struct ledger, used)) -
	    atomic_load_explicit(&st->released, memory_order_relaxed);
}

int64_t store_peak(struct store *st, int64_t used)
{
	int64_t peak = atomic_load_explicit(&st->peak, memory_order_relaxed);

	while (used > peak && !atomic_compare_exchange_weak(&st->peak, &peak, used))
		;
	return used > peak ? used : peak;
}

static const size_t stat_field[STATS] = {
	[STAT_COMMANDS] = offsetof(struct ledger, commands), [STAT_EXPIRED] = offsetof(struct ledger, expired),
	[STAT_EVICTED] = offsetof(struct ledger, evicted), [STAT_HITS] = offsetof(struct ledger, hits),
	[STAT_MISSES] = offsetof(struct ledger, misses),
};

int64_t stats_get(const struct store *st, enum stat_id s)
{
	return store_sum(st, stat_field[s]) - atomic_load_explicit(&st->since[s], memory_order_relaxed);
}

void stats_reset(struct store *st)
{
	int s;

	for (s = 0; s < STATS; s++)
		atomic_store_explicit(&st->since[s], store_sum(st, stat_field[s]), memory_order_relaxed);
	atomic_store_explicit(&st->peak, store_used(st), memory_order_relaxed);
}

static int stats(void *state, purser_stats *out)
{
	struct store *st = state;
	int64_t used = store_used(st);

	store_peak(st, used);
	out->keys = (uint64_t)store_sum(st, offsetof(struct ledger, keys));
	out->used_bytes = used > 0 ? (uint64_t)used : 0;
	out->max_bytes = (uint64_t)atomic_load_explicit(&st->max_memory, memory_order_relaxed);
	out->evicted = (uint64_t)store_sum(st, offsetof(struct ledger, evicted));
	out->expired = (uint64_t)store_sum(st, offsetof(struct ledger, expired));
	return 0;
}

/* ---- contexts ------------------------------------------------------------------------------------------------ */
/* A ledger is never given back: what it counted stays counted, and the next context goes on with it. */
static int ledger_take(struct store *st, struct ctx *cx)
{
	uint32_t i, n;
	int rc = -1;

	lock(&st->ledger_lock);
	n = atomic_load_explicit(&st->nledgers, memory_order_relaxed);
	for (i = 0; i < n && st->ledger_taken[i]; i++)
		;
	if (i < LEDGERS && (i < n || (st->ledger[i] = aligned_alloc(64, sizeof(struct ledger))))) {
		if (i == n) {
			memset(st->ledger[i], 0, sizeof(struct ledger));
			atomic_store_explicit(&st->nledgers, n + 1, memory_order_release);
		}
		st->ledger_taken[i] = 1;
		cx->led = st->ledger[i];
		cx->ledger_slot = i;
		rc = 0;
	}
	unlock(&st->ledger_lock);
	return rc;
}

int store_open_ctx(struct store *st, purser_ctx *x, struct ctx *cx)
{
	memset(cx, 0, sizeof(*cx));
	cx->h = st->h;
	cx->st = st;
	cx->x = x;
	cx->hash = cx->hash0;
	cx->hash_cap = sizeof(cx->hash0) / sizeof(*cx->hash0);
	cx->project = PROJECT_ANY;
	if (getrandom(cx->rng, sizeof(cx->rng), 0) != sizeof(cx->rng))
		cx->rng[0] = (uint64_t)(uintptr_t)cx;
	cx->rng[1] |= 1;
	if (x) {
		int64_t none = 0;

		atomic_compare_exchange_strong(&st->born_ms, &none, (int64_t)st->h->wall_ms(x));
	}
	if (ledger_take(st, cx))
		return -1;
	if (store_sum(st, offsetof(struct ledger, ttls)) > 0)
		upkeep_arm(cx); /* of a snapshot, or of workers that have gone */
	return 0;
}

void store_close_ctx(struct ctx *cx)
{
	wait_close(cx);
	if (cx->timer)
		cx->h->untimer(cx->x, cx->timer);
	heap_leave(cx);
	lock(&cx->st->ledger_lock);
	cx->st->ledger_taken[cx->ledger_slot] = 0;
	unlock(&cx->st->ledger_lock);
	if (cx->hash != cx->hash0)
		free(cx->hash);
	free(cx->scratch);
}

static int error(purser_error *e, const char *text)
{
	snprintf(e->text, sizeof(e->text), "%s", text);
	return -1;
}

static int open_ctx(void *state, purser_ctx *x, void **cs, purser_error *e)
{
	struct ctx *cx = malloc(sizeof(*cx));

	if (!cx)
		return error(e, "out of memory");
	if (store_open_ctx(state, x, cx)) {
		free(cx);
		return error(e, "too many workers for one memory backend");
	}
	*cs = cx;
	return 0;
}

static void session_end(void *cs, purser_session *s, void *slot)
{
	(void)s;
	if (slot)
		watch_end(cs, slot);
}

static void drain(void *cs)
{
	wait_drain(cs);
	script_drain(cs);
}

static void close_ctx(void *cs)
{
	script_close(cs);
	watch_end_all(cs);
	track_close(cs);
	store_close_ctx(cs);
	free(cs);
}

/* Nothing is to be asked of anybody. */
static int subscribe(void *cs, uint32_t kind, purser_bytes name, int on)
{
	struct ctx *cx = cs;

	cx->h->subscribed(cx->x, kind, name, on);
	return 0;
}

/* ---- instances ------------------------------------------------------------------------------------------------ */
static void stop(void *state)
{
	struct store *st = state;
	struct ctx cx;
	uint32_t s, d, i;

	if (atomic_load_explicit(&st->born_ms, memory_order_relaxed)) /* somebody could have changed something */
		snapshot_save(st);
	snapshot_end(st);
	if (st->ledger[0] && store_open_ctx(st, NULL, &cx) == 0) {
		for (s = 0; s < SHARDS; s++) {
			for (d = 0; st->shard[s].db && d < st->databases; d++)
				keys_dispose(&cx, st->shard[s].db[d]);
			s3_free(&cx, &st->shard[s]);
		}
		reap_all(&cx);
		store_close_ctx(&cx);
	}
	engine_free(st);
	for (s = 0; s < SHARDS; s++)
		free(st->shard[s].db);
	projects_stop(st);
	for (i = 0; i < LEDGERS; i++)
		free(st->ledger[i]);
	slab_close(&st->heap);
	tracking_free(st->tracking);
	free(st);
}

/* notify_keyspace_events to st->next_notify. */
static int notify_setting(struct store *st, purser_error *e)
{
	purser_bytes text = st->h->text(st->i, "notify_keyspace_events");
	int mask = notify_parse(text.p, text.n);

	if (mask < 0)
		return error(e, "notify_keyspace_events: its letters are of Ag$lshzxeKEtmdn");
	st->next_notify = (uint32_t)mask;
	return 0;
}

static int start(const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	struct store *st = aligned_alloc(64, (sizeof(*st) + 63) & ~(size_t)63);
	struct ctx first;
	uint32_t s;

	if (!st)
		return error(e, "out of memory");
	memset(st, 0, sizeof(*st));
	st->h = h;
	st->i = i;
	st->fail_after = -1;
	tape_host(&st->tape, h);
	wait_limit(st, (uint32_t)h->value(i, "blocking_max"));
	slab_open(&st->heap);
	st->databases = (uint32_t)h->value(i, "databases");
	st->script_memory = h->value(i, "script_memory");
	st->script_limit_ms = (uint64_t)h->value(i, "script_time_limit") / 1000000;
	st->tracking = tracking_new();
	if (!st->tracking) {
		stop(st);
		return error(e, "out of memory");
	}
	st->file_max = h->value(i, "max_memory");
	st->file_eviction = (uint32_t)h->value(i, "eviction");
	atomic_init(&st->max_memory, st->file_max);
	evict_choose(st, st->file_eviction);
	atomic_init(&st->lfu_log_factor, (uint32_t)h->value(i, "lfu_log_factor"));
	atomic_init(&st->lfu_decay, (uint32_t)(h->value(i, "lfu_decay_time") / MINUTE_NS));
	if (notify_setting(st, e)) {
		stop(st);
		return -1;
	}
	st->file_notify = st->next_notify;
	notify_set(st, st->next_notify);
	if (getrandom(&st->sip, sizeof(st->sip), 0) != sizeof(st->sip)) {
		stop(st);
		return error(e, "no random numbers for the hash key");
	}
	for (s = 0; s < SHARDS; s++) {
		st->shard[s].db = calloc(st->databases, sizeof(struct table *));
		if (!st->shard[s].db) {
			stop(st);
			return error(e, "out of memory");
		}
	}
	if (projects_start(st) || store_open_ctx(st, NULL, &first)) { /* the ledger that is always there */
		stop(st);
		return error(e, "out of memory");
	}
	store_close_ctx(&first);
	if (snapshot_start(st, e)) {
		stop(st);
		return -1;
	}
	*state = st;
	return 0;
}

static int prepare(void *state, purser_error *e)
{
	struct store *st = state;

	if ((uint32_t)st->h->value(st->i, "databases") != st->databases)
		return error(e, "databases of a memory backend cannot change while it runs");
	st->next_max = st->h->value(st->i, "max_memory");
	st->next_eviction = (uint32_t)st->h->value(st->i, "eviction");
	st->next_wait_max = (uint32_t)st->h->value(st->i, "blocking_max");
	st->next_log_factor = (uint32_t)st->h->value(st->i, "lfu_log_factor");
	st->next_decay = (uint32_t)(st->h->value(st->i, "lfu_decay_time") / MINUTE_NS);
	if (notify_setting(st, e))
		return -1;
	return snapshot_prepare(st, e);
}

static void adopt(void *state, int commit)
{
	struct store *st = state;

	snapshot_adopt(st, commit);
	if (!commit)
		return;
	wait_limit(st, st->next_wait_max);
	if (st->next_max != st->file_max) /* else what CONFIG SET said holds, here and below */
		atomic_store_explicit(&st->max_memory, st->next_max, memory_order_relaxed);
	if (st->next_eviction != st->file_eviction)
		evict_choose(st, st->next_eviction);
	atomic_store_explicit(&st->lfu_log_factor, st->next_log_factor, memory_order_relaxed);
	atomic_store_explicit(&st->lfu_decay, st->next_decay, memory_order_relaxed);
	if (st->next_notify != st->file_notify)
		notify_set(st, st->next_notify);
	st->file_max = st->next_max;
	st->file_eviction = st->next_eviction;
	st->file_notify = st->next_notify;
}

/* ---- what the plugin declares ----------------------------------------------------------------------------------- */
static const purser_key keys[] = {
	{ "max_memory", PURSER_KEY_SIZE, PURSER_KEY_RELOADABLE, 0, INT64_MAX, "100MiB", NULL,
	    "bytes of keys, values and tables; 0 = no limit" },
	{ "eviction", PURSER_KEY_ENUM, PURSER_KEY_RELOADABLE, 0, 0, "noeviction",
	    EVICT_CHOICES,
	    "at max_memory: refuse writes that need memory, or drop keys: of all, or of those that expire" },
	{ "notify_keyspace_events", PURSER_KEY_TEXT, PURSER_KEY_RELOADABLE, 0, 0, NULL, NULL,
	    "letters as of Redis' setting: which events of keys are published, and where" },
	{ "snapshot", PURSER_KEY_PATH, PURSER_KEY_RELOADABLE, 0, 0, NULL, NULL,
	    "file in the format of Redis 7.0 that keeps the data over a restart: read at the start, written when the agent "
	    "stops" },
	{ "lfu_log_factor", PURSER_KEY_INT, PURSER_KEY_RELOADABLE, 0, 1000000, "10", NULL,
	    "how slowly the counters of an -lfu policy grow" },
	{ "lfu_decay_time", PURSER_KEY_DURATION, PURSER_KEY_RELOADABLE, 0, 65535 * MINUTE_NS, "60s", NULL,
	    "after so long without use the counters of an -lfu policy lose one, in whole minutes; 0 = never" },
	{ "databases", PURSER_KEY_INT, 0, 1, DATABASES_MAX, "16", NULL, "how many SELECT can choose" },
	{ "blocking_max", PURSER_KEY_INT, PURSER_KEY_RELOADABLE, 1, 1000000, "10000", NULL,
	    "most clients that wait at once, in BLPOP and its like" },
	{ "script_memory", PURSER_KEY_SIZE, 0, 1 << 20, INT64_MAX, "64MiB", NULL,
	    "bytes that Lua may take for all scripts together, beside max_memory" },
	{ "script_time_limit", PURSER_KEY_DURATION, 0, 1000000, INT64_MAX, "5s", NULL,
	    "how long a script runs before everybody else is answered BUSY and SCRIPT KILL can end it" },
};

static const purser_plugin memory = {
	.struct_size = sizeof(purser_plugin),
	.api = PURSER_API,
	.name = "memory",
	.version = "0.1.0",
	.summary = "Redis' data types in the agent's own memory",
	.caps = PURSER_CAP_QUOTA | PURSER_CAP_KV | PURSER_CAP_TTL | PURSER_CAP_SCAN | PURSER_CAP_HASH |
	    PURSER_CAP_SET | PURSER_CAP_LIST | PURSER_CAP_ZSET | PURSER_CAP_STREAM | PURSER_CAP_BLOCKING |
	    PURSER_CAP_BATCH | PURSER_CAP_WATCH | PURSER_CAP_TRACKING | PURSER_CAP_PUBSUB | PURSER_CAP_SCRIPT |
	    PURSER_CAP_MEMORY_INFO | PURSER_CAP_INFO | PURSER_CAP_KEEPS_DATA |
	    PURSER_CAP_ENDS_INSIDE | PURSER_CAP_CONFINES | PURSER_CAP_TELLS_NULLS,
	.model = PURSER_INLINE,
	.args = PURSER_ARGS_ARGV,
	.keys = keys,
	.nkeys = sizeof(keys) / sizeof(*keys),
	.key_stride = sizeof(*keys),
	.ops = plugin_ops,
	.nops = OP_COUNT,
	.op_stride = sizeof(*plugin_ops),
	.start = start,
	.prepare = prepare,
	.adopt = adopt,
	.stats = stats,
	.stop = stop,
	.open = open_ctx,
	.submit = submit,
	.cancel = wait_cancel,
	.session_end = session_end,
	.subscribe = subscribe,
	.track = track,
	.drain = drain,
	.close = close_ctx,
	.expect = ahead_expect,
};

PURSER_PLUGIN(memory);
