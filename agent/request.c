/* SPDX-License-Identifier: Apache-2.0
 *
 * The stage table and the way back.  See request.h.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "request_feature.h"
#include "request_pubsub.h"
#include "request_space.h"
#include "request_stage.h"
#include "request_tally.h"
#include "request_trace.h"
#include "request_track.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION /* a request that has ended is poison to whoever still holds it */
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

static uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

/* ---- refusals: before a plugin has seen the call ---- */

static enum stage_result refuse(struct request *r, enum err_code code, const char *text)
{
	if (r->cl->tx || r->tx)
		tx_refused(r, text ? text : "", NULL, 0);
	reply_failure(&r->b, code, text);
	req_finish(r);
	return STAGE_DONE;
}

/* An error that Redis itself would give: "ERR ..." as it is. */
static enum stage_result refuse_as_redis(struct request *r, const char *text)
{
	char mem[BCALL_ERROR_MAX];

	if (r->cl->tx || cmd_word_is(r->argv[0], "EXEC"))
		text = tx_refused(r, text, mem, sizeof mem);
	reply_error(&r->b, text, strlen(text));
	r->b.store_error = false;
	req_finish(r);
	return STAGE_DONE;
}

enum stage_result req_refuse(struct request *r, enum err_code code, const char *text)
{
	return refuse(r, code, text);
}

enum stage_result req_refuse_as_redis(struct request *r, const char *text)
{
	return refuse_as_redis(r, text);
}

/* ---- the stages ---- */

static inline enum stage_result stage_identify(struct request *r)
{
	r->project = r->cl->project;
	return STAGE_NEXT;
}

/* One to eight bytes as a number that, with n, no other bytes give. */
static inline uint64_t word_of(const uint8_t *p, size_t n)
{
	uint32_t low, high;

	if (n < 4)
		return p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16;
	memcpy(&low, p, 4);
	memcpy(&high, p + n - 4, 4); /* the two overlap where there are less than eight */
	return (uint64_t)high << 32 | low;
}

/* Names of up to eight bytes, as they were spelled last: clients spell alike. */
static inline const struct command *lookup_recent(struct worker *w, const struct request *r)
{
	purser_bytes name = r->argv[0];
	struct recent_command *e;
	uint64_t key;

	if (name.n < 1 || name.n > 8)
		return NULL;
	key = word_of(name.p, name.n);
	e = &w->recent[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 58];
	if (e->key != key || e->length != name.n) {
		const struct command *c = cmd_by_name(w->commands, (const char *)name.p, name.n);

		if (!c || (c->flags & F_CONTAINER) || c->id > CMD_COUNT) /* a reload may take those away */
			return NULL;
		e->key = key;
		e->length = name.n;
		e->cmd = c;
	}
	return cmd_arity_ok(e->cmd, r->argc) ? e->cmd : NULL;
}

static __attribute__((noinline)) enum stage_result unknown(struct request *r, const char *why)
{
	const struct cmd_refusal *no = cmd_refused(r->argv, r->argc);

	if (!no)
		return refuse_as_redis(r, why);
	return no->err == ERR_REDIS ? refuse_as_redis(r, no->text) :
	    refuse(r, (enum err_code)no->err, no->text);
}

/* The turn's time is not exact enough for a span. */
static inline void note_sampled(struct request *r)
{
	if (r->trace.flags & TRACE_SAMPLED) {
		r->timed = true;
		r->start_ns = clock_now();
	}
}

static __attribute__((noinline)) enum stage_result lookup_any(struct request *r)
{
	char why[384];
	const struct command *c = feature_lookup(r->cl->w, r);

	if (c) {
		r->cmd = c;
		return STAGE_NEXT;
	}
	c = cmd_find(r->cl->w->commands, r->argv, r->argc, why, sizeof why);
	bool carry = false;

	if (c && c->id == CMD_PURSER_TRACE) {
		if (trace_unwrap(r, &carry) != STAGE_NEXT)
			return STAGE_DONE;
		note_sampled(r);
		c = cmd_find(r->cl->w->commands, r->argv, r->argc, why, sizeof why);
	}
	if (!c)
		return unknown(r, why);
	r->cmd = c;
	return carry ? trace_carry(r) : STAGE_NEXT;
}

/* A subscriber that speaks RESP2 may ask for little else. */
static __attribute__((noinline)) enum stage_result may_subscriber(struct request *r)
{
	char why[384];
	const char *no = pubsub_refusal(r, why, sizeof why);

	return no ? refuse_as_redis(r, no) : STAGE_NEXT;
}

static inline enum stage_result stage_lookup(struct request *r)
{
	r->cmd = lookup_recent(r->cl->w, r);
	if (!r->cmd && lookup_any(r) != STAGE_NEXT)
		return STAGE_DONE;
	r->local = r->cmd->run != RUN_BACKEND;
	return r->cl->outband && r->cl->resp == 2 ? may_subscriber(r) : STAGE_NEXT;
}

/* The one place where it is decided whether somebody may; req_decide() knows what the bits do not. */
static inline enum stage_result stage_authorize(struct request *r)
{
	if (__builtin_expect(!(r->cl->perms >> r->cmd->perm & 1), 0) && req_decide(r) != STAGE_NEXT)
		return STAGE_DONE;
	if (r->cl->w->monitored)
		monitor_tap(r);
	if (r->cl->outband && r->cl->outband->tracking)
		track_command(r);
	return STAGE_NEXT;
}

/* Room for the words that isolation may add, and words of its own. */
static int own_argv(struct request *r)
{
	purser_bytes *v = r->argv_mem;

	if (r->argv == v)
		return 0;
	if (r->argc + ISOLATE_EXTRA > REQ_ARGS) {
		v = arena_get(&r->arena, (r->argc + ISOLATE_EXTRA) * sizeof *v);
		if (!v)
			return -1;
	}
	memcpy(v, r->argv, r->argc * sizeof *v);
	r->argv = v;
	return 0;
}

static size_t strip_error(struct bcall *b, char *text, size_t n)
{
	static const char none[] = "ERR unknown command: the backend's server does not have it; load its module there, "
	    "or take its [command] section out of the configuration";
	const struct request *r = (const struct request *)b;

	if (r->cmd->id > CMD_COUNT && n > 19 && memcmp(text, "ERR unknown command", 19) == 0)
		return strlen(memcpy(text, none, sizeof none)); /* what it quotes may end within the prefix */
	n = space_error(r->project, b, r->argc, text, n);
	return r->script ? script_names(r, text, n) : n;
}

/* Names in the reply become the client's, and others' go. */
static __attribute__((noinline)) int install_filter(struct request *r)
{
	struct strip_filter *f;

	if (r->cmd->transform == X_RECEIVERS)
		return pubsub_count(r);
	if (r->cmd->transform == X_TOLD)
		return tally_told(r);
	if (space_edits(r->project, r->cmd)) {
		r->b.filter = space_filter(r, r->cmd, tx_database(r->cl), &r->b.out, r->b.filter);
		return r->b.filter ? 0 : -1;
	}
	if (!r->project->prefix_len)
		return 0;
	f = arena_get(&r->arena, sizeof *f);
	if (!f)
		return -1;
	strip_begin(f, &r->b.out, r->b.pool, r->project->prefix, r->project->prefix_len,
	    strip_depth(r->cmd));
	f->then = r->b.filter;
	r->b.filter = &f->f;
	return 0;
}

static __attribute__((noinline)) enum stage_result isolate_words(struct request *r)
{
	const char *why;

	if (r->cmd->args == A_BLOCK && !tx_queues(r->cl) && (why = req_block(r))) /* in a transaction nothing waits */
		return refuse(r, ERR_BADREQUEST, why);
	if (own_argv(r))
		return refuse(r, ERR_OOM, NULL);
	if (r->cmd->args == A_SCRIPT) {
		enum stage_result rc = script_isolate(r);

		if (rc != STAGE_NEXT)
			return rc;
	}
	why = r->cmd->args == A_SCAN ? space_scan(r, tx_database(r->cl)) : NULL;
	if (!why)
		why = isolate_args(r->project, r->cmd, r->argv, &r->argc, &r->arena);
	if (why)
		return *why ? refuse_as_redis(r, why) : refuse(r, ERR_OOM, NULL);
	r->b.wire = NULL; /* these are other words */
	return STAGE_NEXT;
}

static const uint32_t first_key[] = { 1 };

/* Where the keys are, when there may be several. */
static __attribute__((noinline)) int find_keys(struct request *r)
{
	uint32_t n = cmd_key_count(r->cmd, r->argv, r->argc);
	uint32_t *keys = n <= REQ_ARGS ? r->keys_mem : arena_get(&r->arena, n * sizeof *keys);

	if (!keys)
		return -1;
	r->b.c.nkeys = n ? cmd_keys(r->cmd, r->argv, r->argc, keys) : 0;
	r->b.c.keys = n ? keys : NULL;
	return cmd_counted[r->cmd->id] == COUNT_MGET ? tally_nulls(r) : 0;
}

static inline __attribute__((always_inline)) enum stage_result stage_isolate(struct request *r)
{
	const struct project *p = r->project;
	const struct command *c = r->cmd;

	if (r->local)
		return STAGE_NEXT;
	if (c->args != A_NONE) {
		enum stage_result rc = isolate_words(r);

		if (rc != STAGE_NEXT)
			return rc;
	}
	if (c->first == 1 && c->last == 1 && !c->more) {
		r->b.c.nkeys = r->argc > 1;
		r->b.c.keys = first_key;
	} else if (find_keys(r)) {
		return refuse(r, ERR_OOM, NULL);
	}
	r->b.c.argc = r->argc;
	r->b.argv = r->argv;
	r->b.c.ns = p->ns;
	r->b.c.ns_prefix = p->prefix_len;
	r->b.prefix = p->prefix;
	if (p->prefix_len)
		r->b.rewrite = strip_error;
	else if (space_reserved(r))
		return refuse(r, ERR_ISOLATION, space_reserved_text);
	if (r->cmd->transform != X_PASS && install_filter(r))
		return refuse(r, ERR_OOM, NULL);
	return STAGE_NEXT;
}

enum stage_result req_isolate(struct request *r)
{
	return stage_isolate(r);
}

static inline enum stage_result stage_admit(struct request *r)
{
	if (r->cl->w->draining && !r->local)
		return refuse(r, ERR_BACKENDDOWN, "the agent is shutting down");
	if (r->cl->tx) {
		enum stage_result rc = tx_admit(r);

		if (rc != STAGE_NEXT)
			return rc;
	}
	return __builtin_expect(r->project && r->project->limits, 0) ? limit_admit(r) : STAGE_NEXT;
}

static inline enum stage_result stage_feature(struct request *r)
{
	if (!r->local)
		return STAGE_NEXT;
	if (r->cmd->run == RUN_TX)
		return tx_feature(r);
	if (r->cmd->run == RUN_FEATURE)
		return feature_begin(r);
	if (r->cmd->run == RUN_SPACE) {
		/* Several steps: alone, so that commands run in the order they were sent. */
		if (r->cl->head != r || r->cl->session.inflight)
			return STAGE_HOLD;
		if (req_pin(r))
			return refuse(r, ERR_OOM, NULL);
		r->cl->alone = r; /* until it is answered */
	}
	r->cl->w->handlers[r->cmd->id](r);
	return STAGE_DONE;
}

static inline enum stage_result stage_route(struct request *r)
{
	struct client *cl = r->cl;
	struct purser_ctx *x = cl->w->ctx[r->project->instance];
	struct purser_call *c = &r->b.c;
	uint32_t op = x->inst->op_of[r->cmd->id];

	if (op == OP_NONE && r->cmd->run != RUN_TX)
		return refuse(r, ERR_UNSUPPORTED, NULL);
	c->op = op;
	c->ctx = x;
	c->session = &cl->session;
	c->db = cl->db;
	c->resp = r->sink ? 3 : cl->resp;
	c->flags &= PURSER_CALL_BLOCKS; /* isolate has seen it */
	c->route = c->flags ? PURSER_ROUTE_EXCLUSIVE : PURSER_ROUTE_SHARED;
	c->flags |= r->cmd->flags & (F_WRITE | F_MAYWRITE) ? PURSER_CALL_WRITE : 0;
	if (r->b.source) {
		c->route = PURSER_ROUTE_EXCLUSIVE;
		c->flags |= PURSER_CALL_STREAMED;
	}
	if (r->cmd->run == RUN_TX) {
		x = tx_route(r, x);
		c->ctx = x;
	}
	r->b.limit = cl->gen->output_limit;
	if (cl->session.inflight == 0) {
		c->flags |= PURSER_CALL_ALONE;
		cl->session.instance = x->inst;
		cl->session.db = c->db;
		cl->session.resp = c->resp;
		cl->session.cred = c->cred;
		cl->session.route = c->route;
		return STAGE_NEXT;
	}
	/* Another lane only when nothing is in flight (rule 10); two links alone know no order. */
	if (cl->session.instance == x->inst && cl->session.db == c->db &&
	    cl->session.resp == c->resp && cl->session.cred == c->cred && cl->session.route == c->route && c->route != PURSER_ROUTE_EXCLUSIVE &&
	    (!c->cred || script_follows(r)))
		return STAGE_NEXT;
	return STAGE_HOLD;
}

/* ARGV plugins see whole physical names. */
static int physical_argv(struct request *r)
{
	struct purser_call *c = &r->b.c;
	purser_bytes *v;

	if (!c->ns_prefix || !c->nkeys) {
		c->argv = r->argv;
		return 0;
	}
	v = arena_get(&r->arena, r->argc * sizeof *v);
	if (!v)
		return -1;
	memcpy(v, r->argv, r->argc * sizeof *v);
	for (uint32_t i = 0; i < c->nkeys; i++) {
		v[c->keys[i]] = isolate_key(r->project, v[c->keys[i]], &r->arena);
		if (!v[c->keys[i]].p)
			return -1;
	}
	c->argv = v;
	return 0;
}

/* Words that fit the request's own memory can be pinned at any time; larger ones are pinned while it
 * can still be refused. */
static inline bool small(const struct request *r)
{
	uint64_t sum = 0;

	if (r->b.wire)
		return r->argc <= REQ_ARGS && r->b.wire_n <= sizeof r->mem / 2;
	for (uint32_t i = 0; i < r->argc && i <= REQ_ARGS; i++)
		sum += r->argv[i].n;
	return r->argc <= REQ_ARGS && sum <= sizeof r->mem / 2;
}

/* The plugin ends calls inside submit(), but not this one: a script keeps it, or runs.  Now its bytes must stay. */
static void keep_late(struct request *r)
{
	if (req_pin(r) == 0 && physical_argv(r) == 0)
		return;
	if (r->b.state != BCALL_QUEUED) /* it has read them */
		return;
	r->b.executed = PURSER_NOT_EXECUTED;
	reply_failure(&r->b, ERR_OOM, NULL);
	ctx_dismiss(r->b.c.ctx, &r->b);
}

static inline enum stage_result stage_submit(struct request *r)
{
	struct purser_ctx *x = r->b.c.ctx;
	struct client *cl = r->cl;
	bool keep = !(x->p->caps & PURSER_CAP_ENDS_INSIDE) || r->b.c.flags & PURSER_CALL_BLOCKS ||
	    r->cmd->args == A_SCRIPT;

	/* The turn's time is exact enough but for slow commands of a store in this process. */
	if (x->inst->in_process && !r->timed && !(r->cmd->flags & F_FAST) && r->cmd->retry != R_OPTIONS) {
		r->timed = true;
		r->start_ns = clock_now();
	}
	r->b.c.deadline_ns = r->start_ns + x->inst->operation_timeout_ns;
	if (keep && (x->p->args == PURSER_ARGS_ARGV || !small(r)) && req_pin(r))
		return refuse(r, ERR_OOM, NULL);
	if (x->p->args == PURSER_ARGS_WIRE)
		r->b.c.wire_bytes = r->b.source ? UINT64_MAX : call_wire_bytes(&r->b);
	else if (physical_argv(r))
		return refuse(r, ERR_OOM, NULL);
	if (__builtin_expect(atomic_load_explicit(&x->inst->gate, memory_order_relaxed) != 0, 0)) {
		enum stage_result rc = touch_gate(r);

		if (rc != STAGE_NEXT)
			return rc;
	}
	cl->session.inflight++;
	r->released = false;
	if (ctx_submit(x, &r->b) == SUBMIT_PENDING) {
		if (keep)
			req_pin(r); /* small: it cannot fail */
		else
			keep_late(r);
	}
	return STAGE_DONE;
}

enum stage {
#define STAGE(name, doc) ST_##name,
#include "stages.def"
#undef STAGE
	ST_END
};

/* What is in flight does not end: the one that waits behind it has a deadline too, but for what waits in
 * the store: then its time begins when that is over. */
static void hold_expired(struct loop_timer *t)
{
	struct client *c = (struct client *)((char *)t - offsetof(struct client, hold_timer));
	struct request *r = c->held;

	c->held = NULL;
	refuse(r, ERR_TIMEOUT, NULL);
}

static int hold(struct request *r, unsigned stage)
{
	struct client *c = r->cl;
	const struct purser_ctx *x = c->w->ctx[r->project->instance];

	r->stage = stage == ST_submit ? ST_route : (uint8_t)stage; /* what else is in flight by then is seen there */
	c->hold_timer.fn = hold_expired;
	if (req_pin(r) || (!client_waits(c) && loop_timer_set(c->w->loop, &c->hold_timer,
	    r->start_ns + x->inst->operation_timeout_ns))) {
		refuse(r, ERR_OOM, NULL);
		return REQ_STARTED;
	}
	c->held = r;
	return REQ_HELD;
}

/* ---- the road ---- */

static int run(struct request *r)
{
	enum stage_result rc = STAGE_NEXT;

	switch ((enum stage)r->stage) {
#define STAGE(name, doc) \
	case ST_##name: \
		rc = stage_##name(r); \
		if (rc == STAGE_HOLD) \
			return hold(r, ST_##name); \
		if (rc == STAGE_DONE) \
			return REQ_STARTED; \
		__attribute__((fallthrough));
#include "stages.def"
#undef STAGE
	case ST_END:
		break;
	}
	return REQ_STARTED;
}

/* Where it went the first time: database and protocol of the client may be others by now. */
void req_again(struct request *r)
{
	struct purser_session *s = &r->cl->session;
	struct purser_call *c = &r->b.c;

	call_again(&r->b);
	c->flags &= ~(uint32_t)PURSER_CALL_ALONE;
	if (!s->inflight) {
		c->flags |= PURSER_CALL_ALONE;
		s->instance = c->ctx->inst;
		s->db = c->db;
		s->resp = c->resp;
		s->cred = c->cred;
		s->route = c->route;
	}
	r->stage = ST_submit;
	run(r);
}

int req_start(struct request *r)
{
	r->cl->commands++;
	trace_begin(r->cl->w->trace, r->parent, &r->trace);
	note_sampled(r);
	return run(r);
}

bool req_resume(struct client *c)
{
	struct request *r = c->held;

	if (r) {
		if (c->head != r || c->session.inflight || r->touch)
			return false;
		c->held = NULL;
		if (!c->hold_timer.pos)
			r->start_ns = r->timed ? clock_now() : loop_now(c->w->loop);
		loop_timer_stop(c->w->loop, &c->hold_timer);
		if (c->quit && r->b.c.flags & PURSER_CALL_BLOCKS) /* it would hold that up */
			refuse(r, ERR_BACKENDDOWN, c->w->draining ? "the agent is shutting down" :
			    "the agent closes this connection");
		else
			run(r);
	}
	return client_may_start(c);
}

/* ---- the words ---- */

void req_adopt(struct request *r, void *block)
{
	r->adopted = block;
	r->pinned = true; /* the bytes are; the slices are copied when they must be */
}

/* What came in one piece is copied in one piece, with what is between the words.  False: it did not, or words
 * are elsewhere by now, or there is no memory. */
static bool pin_piece(struct request *r)
{
	const purser_bytes *from = r->argv;
	const uint8_t *wire = r->b.wire;
	size_t n = r->b.wire_n;
	purser_bytes *v = r->argv_mem;
	uint8_t *d;

	if (!wire)
		return false;
	d = arena_get(&r->arena, n);
	if (r->argc + ISOLATE_EXTRA > REQ_ARGS)
		v = arena_get(&r->arena, (r->argc + ISOLATE_EXTRA) * sizeof *v);
	if (!d || !v)
		return false;
	for (uint32_t i = 0; i < r->argc; i++) {
		uintptr_t at = (uintptr_t)from[i].p - (uintptr_t)wire;

		if (at >= n)
			return false;
		v[i].p = d + at;
		v[i].n = from[i].n;
	}
	r->b.wire = memcpy(d, wire, n);
	r->argv = v;
	return true;
}

static int pin_words(struct request *r)
{
	size_t total = 0;
	uint8_t *d;

	if (own_argv(r))
		return -1;
	r->b.wire = NULL; /* it is not kept */
	r->b.as_is = false;
	for (uint32_t i = 0; i < r->argc; i++)
		total += r->argv[i].n;
	d = arena_get(&r->arena, total);
	if (!d)
		return -1;
	for (uint32_t i = 0; i < r->argc; i++) {
		if (r->argv[i].n)
			memcpy(d, r->argv[i].p, r->argv[i].n);
		r->argv[i].p = d;
		d += r->argv[i].n;
	}
	return 0;
}

int req_pin(struct request *r)
{
	if (r->pinned ? own_argv(r) : r->argv == r->argv_mem || !pin_piece(r) ? pin_words(r) : 0)
		return -1;
	r->b.argv = r->argv;
	r->pinned = true;
	return 0;
}

/* ---- life ---- */

static void request_done(struct bcall *b);
static void request_release(struct bcall *b);

static void request_full(struct bcall *b)
{
	struct client *c = ((struct request *)b)->cl;

	if (__builtin_expect(c->retry.parked != 0, 0))
		retry_answered((struct request *)b); /* what waits in front of it must make room */
	c->wake(c);
}

static inline struct request *take(struct worker *w)
{
	struct request *r;

	if (!w->nfree_requests)
		return aligned_alloc(64, (sizeof *r + 63) & ~(size_t)63);
	r = w->free_requests[--w->nfree_requests];
	ASAN_UNPOISON_MEMORY_REGION(r, sizeof *r);
	return r;
}

static void give(struct worker *w, struct request *r)
{
	if (r->script)
		script_drop(r);
	arena_end(&r->arena);
	free(r->adopted);
	if (r->tx)
		tx_free(r->tx, &w->pool);
	out_clear(&r->own, &w->pool);
	if (w->nfree_requests == FREE_REQUESTS_MAX) {
		free(r);
		return;
	}
	w->free_requests[w->nfree_requests++] = r;
	ASAN_POISON_MEMORY_REGION(r, sizeof *r);
}

void worker_end_requests(struct worker *w)
{
	while (w->nfree_requests)
		free(take(w));
	monitor_free(w);
	script_worker_end(w);
	out_pool_free(&w->pool);
}

static void mute(struct client *c, struct request *r)
{
	if (c->reply_mode == REPLY_OFF)
		r->b.discard = true;
	if (c->reply_mode == REPLY_SKIP) {
		r->b.discard = true;
		c->reply_mode = REPLY_ON;
	}
}

/* A line of the cache at a time: for the whole the compiler would write "rep stos", which takes longer to
 * start than all of this. */
static inline void clear(struct request *r)
{
#pragma GCC unroll 16
	for (size_t at = 0; at < offsetof(struct request, arena); at += 64)
		memset((char *)r + at, 0, 64);
}

static inline struct request *fresh(struct client *c, purser_bytes *argv, uint32_t argc)
{
	struct worker *w = c->w;
	struct request *r = take(w);

	if (!r)
		return NULL;
	clear(r);
	arena_begin(&r->arena, r->mem, sizeof r->mem);
	r->b.c.struct_size = sizeof r->b.c;
	r->b.c.resp = c->resp;
	r->b.pool = &w->pool;
	r->cl = c;
	r->argv = argv;
	r->argc = argc;
	r->start_ns = loop_now(w->loop);
	r->released = true; /* until a plugin gets it */
	return r;
}

struct request *req_new(struct client *c, purser_bytes *argv, uint32_t argc)
{
	struct request *r = fresh(c, argv, argc);

	if (!r)
		return NULL;
	r->b.done = request_done;
	r->b.release = request_release;
	r->b.full = request_full;
	r->b.keep = retry_keep;
	if (c->reply_mode)
		mute(c, r);
	r->queued = true;
	if (c->tail) {
		c->tail->next = r;
		r->b.out = &r->own;
	} else {
		c->head = r;
		r->b.out = &c->out;
		r->start = out_position(&c->out);
	}
	c->tail = r;
	c->nrequests++;
	return r;
}

struct request *req_apart(struct client *c, purser_bytes *argv, uint32_t argc, struct out *out)
{
	struct request *r = fresh(c, argv, argc);

	if (!r)
		return NULL;
	r->b.out = out;
	r->local = r->apart = true;
	return r;
}

void req_drop(struct request *r)
{
	give(r->cl->w, r);
}

void req_sink(struct request *r, struct reply_filter *f,
    void (*error_to)(struct bcall *, enum err_code, const char *, size_t),
    void (*done)(struct request *), void *arg)
{
	r->sink_done = done;
	r->sink_arg = arg;
	r->b.filter = f;
	r->b.error_to = error_to;
	r->b.c.resp = 3;
	r->sink = true;
}

/* ---- the way back: account, and replies in order ---- */

static uint8_t error_number(struct worker *w, const struct bcall *b)
{
	return b->store_error ? metric_error(w->metrics, b->status, strlen(b->status)) : b->err;
}

static void record_span(struct request *r, uint64_t key, uint64_t end)
{
	struct metric_key k = metric_key_unpack(key);
	struct span *s = trace_reserve(r->cl->w->trace);

	if (!s)
		return;
	trace_stamp(s, &r->trace);
	s->start_ns = r->start_ns;
	s->end_ns = end;
	s->command = k.command;
	s->project = k.project;
	s->endpoint = k.endpoint;
	s->instance = k.instance;
	s->error = k.error;
	s->db = k.db;
	s->attempts = (uint8_t)(r->tries + !r->given_up);
	s->op_kind = k.kind;
	s->batch = (uint16_t)(tx_size(r) < UINT16_MAX ? tx_size(r) : UINT16_MAX);
	s->in = r->wire_in > UINT32_MAX ? UINT32_MAX : (uint32_t)r->wire_in;
	s->out = r->b.reply_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)r->b.reply_bytes;
	if (r->parent && r->parent->state.n && r->parent->state.n <= sizeof s->text) {
		memcpy(s->text, r->parent->state.p, r->parent->state.n);
		s->text_len = (uint8_t)r->parent->state.n;
	}
	trace_commit(r->cl->w->trace);
}

/* It was slow, has failed, or is sampled. */
static __attribute__((noinline)) void note(struct request *r, uint64_t key, uint64_t end, uint64_t ns, bool failed)
{
	struct trace *t = r->cl->w->trace;

	if (ns >= atomic_load_explicit(&t->policy->slowlog_ns, memory_order_relaxed))
		slow_note(r, ns);
	if (trace_keep(t, &r->trace, end, ns, failed))
		record_span(r, key, end);
}

/* Behind the last byte of the reply: every request is counted and timed, some become spans. */
static inline void account(struct request *r)
{
	struct worker *w = r->cl->w;
	struct purser_ctx *x = r->local ? NULL : r->b.c.ctx;
	uint64_t end = r->timed ? clock_now() : loop_now(w->loop);
	uint64_t ns = end > r->start_ns ? end - r->start_ns : 0;
	uint8_t error = r->b.err ? error_number(w, &r->b) : 0;
	uint64_t key = metric_key_pack((struct metric_key){ .kind = x ? METRIC_OP : METRIC_LOCAL,
	    .instance = x ? x->inst->metric_id : 0, .error = error,
	    .db = x && r->b.c.db < METRIC_NO_DB ? (uint8_t)r->b.c.db : METRIC_NO_DB,
	    .project = r->project ? r->project->metric_id : 0xffff,
	    .command = r->cmd ? r->cmd->id : CMD_COUNT,
	    .endpoint = x ? x->inst->endpoints[r->b.endpoint].metric_id : 0 });

	struct metric_op *op = metric_op_packed(w->metrics, key);

	metric_op_record(op, ns, r->wire_in, r->b.reply_bytes);
	tally_request(r, op);
	if (r->b.c.flags & PURSER_CALL_BLOCKS)
		ns = 0; /* what waits as it is to is not slow */
	if (x && trace_wants(w->trace, &r->trace, ns, error != 0))
		note(r, key, end, ns, error != 0);
}

/* Answered requests leave the queue from its head; what becomes the head writes straight out. */
static void advance(struct client *c)
{
	struct request *r;

	while ((r = c->head)) {
		if (r->answered)
			c->behind -= r->own.bytes;
		if (r->b.out != &c->out)
			r->start = out_position(&c->out);
		out_splice(&c->out, &r->own);
		if (!r->answered) {
			r->b.out = &c->out;
			return;
		}
		c->head = r->next;
		if (!c->head)
			c->tail = NULL;
		c->nrequests--;
		r->queued = false;
		if (c->outband)
			outband_replied(c, r);
		if (r->released)
			give(c->w, r);
	}
}

/* What there is of the reply goes away.  False: some of it has been sent. */
static bool take_back(struct request *r)
{
	struct out *o = r->b.out;

	if (r->sink) /* it knows what of the reply is out */
		return true;
	if (o == &r->own)
		out_clear(o, r->b.pool);
	else if (o->taken <= r->start)
		out_drop(o, r->b.pool, (size_t)(out_position(o) - r->start));
	else
		return false;
	r->b.filter = NULL; /* it is in the middle of a value */
	return true;
}

/* A reply that broke off becomes an error, unless something of it has been sent: that cannot be repaired. */
static void repair(struct request *r)
{
	struct bcall *b = &r->b;

	b->broken = false;
	if (take_back(r)) {
		b->began = false;
		reply_failure(b, (enum err_code)b->err, NULL);
	} else {
		r->cl->cut = true;
	}
	if (b->broken)
		r->cl->cut = true;
}

static void request_done(struct bcall *b)
{
	struct request *r = (struct request *)b;
	struct client *c = r->cl;

	if (__builtin_expect(c->retry.parked != 0, 0))
		retry_answered(r);
	r->answered = true;
	if (c->alone == r)
		c->alone = NULL;
	if (b->broken && !b->discard)
		repair(r);
	if (b->source && r->released)
		req_source_ended(r);
	account(r);
	if (__builtin_expect(r->limited, 0))
		limit_done(r);
	c->behind += r->own.bytes;
	if (r->sink_done)
		r->sink_done(r);
	advance(c);
	c->wake(c);
}

static void request_release(struct bcall *b)
{
	struct request *r = (struct request *)b;
	struct client *c = r->cl;

	c->session.inflight--;
	r->released = true;
	if (b->source)
		req_source_ended(r);
	if (!r->queued)
		give(c->w, r);
	if (__builtin_expect(c->retry.parked != 0, 0))
		retry_released(c);
	c->wake(c);
}

void req_release(struct bcall *b)
{
	request_release(b);
}

void req_done(struct bcall *b)
{
	request_done(b);
}

void req_finish(struct request *r)
{
	if (r->apart)
		r->answered = true;
	else
		request_done(&r->b);
}
