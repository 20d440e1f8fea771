/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <purser/resp.h>
#include "feature/lock.h"
#include "feature/rooms.h"
#include "resp/pick.h"

#define MS UINT64_C(1000000)
#define STEP_MIN (20 * MS)              /* least time that a step of the agent's own gets */

static struct lock_grip *grip_of(struct lock_claim *c) { return (struct lock_grip *)c; }
static struct lock_name *name_of(struct lock_queue *q)
{
	return (struct lock_name *)((char *)q - offsetof(struct lock_name, q));
}
static purser_bytes bytes_of(const char *s) { return (purser_bytes){ (const uint8_t *)s, strlen(s) }; }

static void unref(struct lock_grip *g)
{
	if (atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) == 1)
		free(g);
}
static void ref(struct lock_grip *g) { atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed); }

/* ---- names ---- */
static uint64_t hash_of(uint32_t ns, uint16_t db, purser_bytes name)
{
	return names_hash((uint64_t)ns << 16 | db, name.p, name.n);
}

struct lock_name *lock_find(struct lock_room *room, uint32_t ns, uint16_t db, purser_bytes name)
{
	for (struct names_node *at = names_first(&room->names, hash_of(ns, db, name)); at; at = names_next(at)) {
		struct lock_name *n = (struct lock_name *)at;

		if (n->place.ns == ns && n->place.db == db && n->n == name.n && memcmp(n->name, name.p, name.n) == 0)
			return n;
	}
	return NULL;
}

struct lock_grip *lock_held(const struct lock_name *name, uint64_t fence)
{
	struct lock_claim *c = name->q.holding.head;

	while (c && c->fence != fence)
		c = c->next;
	return c ? grip_of(c) : NULL;
}

/* ---- what the store is asked ---- */
/* The queue is told something: leave() follows. */
static void enter(struct lock_name *n) { n->entered++; }
static void leave(struct lock_name *n);

#define INFO_MAX 192u

static char *hex_of(char *at, uint64_t v)
{
	for (unsigned shift = 64; shift; *at++ = "0123456789abcdef"[v >> shift & 15])
		shift -= 4;
	return at;
}

/* v (-1: it is not known) and a blank; word, and a blank: of what is written for every lock, so not with printf. */
static char *put_number(char *at, uint64_t v, bool known)
{
	if (known)
		at += dec_u64(at, v);
	else
		at = (char *)memcpy(at, "-1", 2) + 2;
	*at = ' ';
	return at + 1;
}

static char *put_word(char *at, const char *end, const char *word)
{
	size_t n = strnlen(word, (size_t)(end - at) - 1);

	at = (char *)memcpy(at, word, n) + n;
	*at = ' ';
	return at + 1;
}

static const char *number(char text[24], uint64_t v)
{
	text[dec_u64(text, v)] = '\0';
	return text;
}

static void rtt_was(struct lock_room *room, uint64_t sent_ns)
{
	uint64_t now = loop_now(room->w->loop), took = now > sent_ns ? now - sent_ns : 0;

	room->rtt_ns -= room->rtt_ns / 8;
	if (took > room->rtt_ns)
		room->rtt_ns = took;
}

/* May it be otherwise in a moment?  Then who waits goes on waiting. */
static bool may_pass(const struct feature_reply *rep)
{
	static const char *const words[] = { "LOADING", "READONLY", "MASTERDOWN", "BUSY", "TRYAGAIN", "CLUSTERDOWN",
		"NOREPLICAS" };

	if (err_rows[rep->err].retryable || rep->err == ERR_INDETERMINATE)
		return rep->err != ERR_OOM || rep->unsure;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strncmp(rep->error, words[i], strlen(words[i])) && rep->error[strlen(words[i])] == ' ')
			return true;
	return false;
}

static void note_error(struct lock_grip *g, const struct feature_reply *rep)
{
	g->err = rep->err;
	snprintf(g->error, sizeof g->error, "%s", rep->error);
}

static void stopped(struct feature_call *f, enum feature_stop why);

/* An attempt is answered.  From the first one on its client's call waits for something that is not the store. */
static void answered(struct lock_grip *g, const struct feature_reply *rep, bool first)
{
	struct lock_name *n = g->name;
	uint64_t now = loop_now(n->room->w->loop);
	const uint8_t *at = rep->resp, *end = rep->resp + rep->n;
	int64_t count, how = 0, v = 0;

	enter(n);
	if (rep->err) {
		note_error(g, rep);
		lock_tried(&n->q, &g->c, may_pass(rep) ? LOCK_TRIED_UNSURE : LOCK_TRIED_FAILED, 0, 0, now);
	} else if (resp_pick_header(&at, end, ':', &v) == 0) {
		rtt_was(n->room, g->c.sent_ns);
		if ((uint64_t)v >= n->room->floor)
			n->room->floor = (uint64_t)v + 1;
		lock_tried(&n->q, &g->c, LOCK_TRIED_GRANTED, (uint64_t)v, 0, now);
	} else if (resp_pick_header(&at, end, '*', &count) || resp_pick_header(&at, end, ':', &how) ||
	    resp_pick_header(&at, end, ':', &v)) {
		g->err = ERR_BACKENDPROTOCOL;
		*g->error = '\0';
		lock_tried(&n->q, &g->c, LOCK_TRIED_FAILED, 0, 0, now);
	} else {
		rtt_was(n->room, g->c.sent_ns);
		lock_tried(&n->q, &g->c, how == 0 ? LOCK_TRIED_BUSY : LOCK_TRIED_OTHER_KIND, 0, v > 0 ? (uint64_t)v : 0, now);
	}
	if (first && (g->c.state == LOCK_WAITING || g->c.state == LOCK_TRYING || g->c.state == LOCK_CONFIRMING)) {
		g->waits = true;
		feature_wait(g->f, stopped);
	}
	leave(n);
	unref(g);
}

static void tried(void *arg, const struct feature_reply *rep) { answered(arg, rep, false); }

static void stepped(void *arg, const struct feature_reply *rep)
{
	struct lock_grip *g = arg;

	g->stepping = false;
	answered(g, rep, true);
}


/* What an attempt says to the store: keys[2], args[0..n), of that arena; NULL: no memory. */
static purser_bytes *try_words(const struct lock_name *n, const struct lock_grip *g, struct arena *a, uint32_t *nargs)
{
	const struct lock_want *want = &g->c.want;
	purser_bytes *v = arena_get(a, 8 * sizeof *v), name = { n->name, n->n };
	char *text = arena_get(a, 96), *info = arena_get(a, INFO_MAX), *at;
	bool shared = want->kind != LOCK_WRITE;

	if (!v || !text || !info)
		return NULL;
	at = put_number(info, g->who.pid, g->who.pid != UINT32_MAX);
	at = put_number(at, g->who.uid, g->who.uid != UINT32_MAX);
	at = put_number(at, g->who.client, true);
	at = put_word(at, info + INFO_MAX, g->who.trace);
	at = put_word(at, info + INFO_MAX, want->mode == LOCK_SESSION ? "session" : "lease");
	at = put_word(at, info + INFO_MAX, n->room->host);
	at[-1] = '\0';
	v[0] = feature_name(a, n->place.project, "lock", name);
	v[1] = feature_name(a, n->place.project, "fence", name);
	v[2] = bytes_of(g->owner);
	v[3] = bytes_of(number(text, want->ttl_ns / MS));
	v[4] = bytes_of(number(text + 24, n->room->floor));
	v[5] = bytes_of(info);
	/* A writer that waits holds new readers back until it asks again. */
	v[6] = bytes_of(shared ? number(text + 48, want->permits) : want->wait_ns ? "200" : "0");
	v[7] = bytes_of(want->kind == LOCK_READ ? "read" : number(text + 72, want->of));
	*nargs = shared ? 6 : 5;
	return v[0].p && v[1].p ? v : NULL;
}

static void op_try(struct lock_queue *q, struct lock_claim *c)
{
	struct lock_name *n = name_of(q);
	struct lock_grip *g = grip_of(c);
	struct feature_worker *w = n->room->w;
	unsigned script = c->want.kind == LOCK_WRITE ? LUA_LOCK_ACQUIRE : LUA_LOCK_SHARE;
	struct arena arena;
	uint64_t mem[160], wait = c->want.ttl_ns / 2, most;
	purser_bytes *v;
	uint32_t nargs;

	ref(g);
	/* The first attempt is a step of the client's command, if its worker is this one; the rest is the agent's doing. */
	if (g->home == w && g->f && !g->tried) {
		g->tried = true;
		v = try_words(n, g, g->f->arena, &nargs);
		if (v) {
			g->stepping = true;
			feature_script(g->f, script, v, 2, v + 2, nargs, stepped, g);
			return;
		}
	}
	arena_begin(&arena, mem, sizeof mem);
	v = try_words(n, g, &arena, &nargs);
	most = feature_place_timeout(w, &n->place);
	wait = wait < STEP_MIN ? STEP_MIN : wait;
	if (v)
		feature_place_script(w, &n->place, wait < most ? wait : most, script, v, 2, v + 2, nargs, tried, g);
	else
		tried(g, &(struct feature_reply){ .err = ERR_OOM, .error = "OOM out of memory", .unsure = true });
	arena_end(&arena);
}

static void replicated(void *arg, const struct feature_reply *rep)
{
	struct lock_grip *g = arg;
	struct lock_name *n = g->name;
	const uint8_t *at = rep->resp;
	int64_t have = 0;

	if (rep->err || resp_pick_header(&at, rep->resp + rep->n, ':', &have))
		have = 0;
	enter(n);
	lock_confirmed(&n->q, &g->c, have >= g->c.want.replicas, loop_now(n->room->w->loop));
	leave(n);
	unref(g);
}

static void op_confirm(struct lock_queue *q, struct lock_claim *c)
{
	struct lock_name *n = name_of(q);
	uint64_t most = feature_place_timeout(n->room->w, &n->place), wait = c->want.ttl_ns / 4;
	char replicas[24], ms[24];
	purser_bytes words[3] = { bytes_of("WAIT"), bytes_of(number(replicas, c->want.replicas)) };

	wait = wait > 1000 * MS ? 1000 * MS : wait;
	words[2] = bytes_of(number(ms, wait / MS ? wait / MS : 1));
	ref(grip_of(c));
	feature_place_ask(n->room->w, &n->place, most, CMD_WAIT, words, 3, replicated, grip_of(c));
}

/* For whoever follows a history: until when a holder may rely on it. */
static void log_valid(const struct lock_name *n, const struct lock_grip *g, const char *event, const char *text)
{
	log_event(n->room->w->log, LOG_M_FEATURE, LOG_DEBUG, event, text, LOG_BYTES("lock", n->name, n->n),
	    LOG_STR("purser.project", n->place.project), LOG_UINT("fence", g->c.fence), LOG_UINT("pid", g->who.pid),
	    LOG_UINT("client.id", g->who.client), LOG_UINT("valid_ns", g->c.valid_ns));
}

static void renewed(void *arg, const struct feature_reply *rep)
{
	struct lock_grip *g = arg;
	struct lock_name *n = g->name;
	const uint8_t *at = rep->resp;
	int64_t how;

	if (!n) { /* it has ended meanwhile */
		unref(g);
		return;
	}
	enter(n);
	if (rep->err || resp_pick_header(&at, rep->resp + rep->n, ':', &how)) {
		lock_renewed(&n->q, &g->c, LOCK_RENEW_FAILED, loop_now(n->room->w->loop));
	} else {
		rtt_was(n->room, g->c.sent_ns);
		lock_renewed(&n->q, &g->c, how == 1 ? LOCK_RENEWED : LOCK_RENEW_GONE, loop_now(n->room->w->loop));
		if (how == 1 && g->name)
			log_valid(n, g, "lock.renewed", "a lock was renewed for its holder");
	}
	leave(n);
	unref(g);
}

static void op_renew(struct lock_queue *q, struct lock_claim *c)
{
	struct lock_name *n = name_of(q);
	struct lock_grip *g = grip_of(c);
	uint64_t most = feature_place_timeout(n->room->w, &n->place), wait = c->want.ttl_ns / 6;
	char fence[24], ttl[24];
	struct arena a;
	uint64_t mem[96];
	purser_bytes key, args[3] = { bytes_of(number(fence, c->fence)), bytes_of(g->owner),
		bytes_of(number(ttl, c->want.ttl_ns / MS)) };

	arena_begin(&a, mem, sizeof mem);
	key = feature_name(&a, n->place.project, "lock", (purser_bytes){ n->name, n->n });
	wait = wait < STEP_MIN ? STEP_MIN : wait;
	ref(g);
	if (key.p)
		feature_place_script(n->room->w, &n->place, wait < most ? wait : most, LUA_LOCK_RENEW, &key, 1, args, 3, renewed, g);
	else
		renewed(g, &(struct feature_reply){ .err = ERR_OOM, .error = "OOM" });
	arena_end(&a);
}

/* Nobody waits for it: what is not given back so runs out. */
static void given_back(void *arg, const struct feature_reply *rep)
{
	struct feature_worker *w = arg;

	if (rep->err)
		log_event(w->log, LOG_M_FEATURE, LOG_DEBUG, "lock.release.failed",
		    "a lock could not be given back; its ttl ends it", LOG_STR("error", rep->error));
}

static void op_release(struct lock_queue *q, struct lock_claim *c)
{
	struct lock_name *n = name_of(q);
	char fence[24];
	struct arena a;
	uint64_t mem[96];
	purser_bytes key, args[2] = { bytes_of(number(fence, c->fence)), bytes_of(grip_of(c)->owner) };

	arena_begin(&a, mem, sizeof mem);
	key = feature_name(&a, n->place.project, "lock", (purser_bytes){ n->name, n->n });
	if (key.p)
		feature_place_script(n->room->w, &n->place, feature_place_timeout(n->room->w, &n->place), LUA_LOCK_RELEASE, &key, 1,
		    args, 2, given_back, n->room->w);
	arena_end(&a);
}

/* ---- every change of a claim passes here: gauge, counter, log, and what its client will hear ---- */
static const char *const kinds[] = { "write", "read", "permits" };
static const char *const refusals[] = { "busy", "other_kind", "error", "late", "replicas" };
static const char *const losses[] = { "unreachable", "gone", "taken", "maxhold", "ttl", "released" };

static struct lock_series *series(struct lock_name *n)
{
	struct lock_series *s = &n->room->series;
	struct metric_shard *m = n->room->w->metrics;
	const char *p = n->place.project;

	if (s->held && !strcmp(s->project, p))
		return s;
	snprintf(s->project, sizeof s->project, "%s", p);
	s->held = metric_cell(m, METRIC_LOCK_HELD, p);
	s->waiting = metric_cell(m, METRIC_LOCK_WAITING, p);
	s->wait_time = metric_hist(m, METRIC_LOCK_WAIT_TIME, p);
	for (unsigned i = 0; i < 3; i++)
		s->acquired[i] = metric_cell(m, METRIC_LOCK_ACQUIRED, p, kinds[i]);
	return s;
}

static void tell(struct lock_name *n, struct lock_grip *g)
{
	if (g->telling)
		return;
	g->telling = true;
	g->next_told = NULL;
	ref(g);
	*n->told_at = g;
	n->told_at = &g->next_told;
}

enum changed { BEGAN, GRANTED, REFUSED, LOST, RELEASED };

static void changed(struct lock_name *n, struct lock_grip *g, enum changed what, unsigned why)
{
	struct lock_series *s = series(n);
	struct metric_shard *m = n->room->w->metrics;
	uint64_t now = loop_now(n->room->w->loop);

	if (what == BEGAN) {
		metric_cell_add(s->waiting, 1);
		return;
	}
	if (what == GRANTED || what == REFUSED)
		metric_cell_add(s->waiting, -1);
	else
		metric_cell_add(s->held, -1);
	if (what == GRANTED) {
		metric_cell_add(s->held, 1);
		metric_cell_add(s->acquired[g->c.want.kind], 1);
		hist_record(s->wait_time, now - g->c.asked_ns);
		log_valid(n, g, "lock.granted", "a client has a lock");
		return;
	}
	if (what == REFUSED) {
		metric_cell_add(metric_cell(m, METRIC_LOCK_REFUSED, n->place.project, why < 5 ? refusals[why] : "gone"), 1);
		return;
	}
	if (what == LOST)
		metric_cell_add(metric_cell(m, METRIC_LOCK_LOST, n->place.project, losses[why]), 1);
	/* A lease that ran out, and what was given back, is the ordinary way. */
	log_event(n->room->w->log, LOG_M_FEATURE, what == RELEASED || why == LOCK_LOSS_TTL ? LOG_DEBUG : LOG_WARN,
	    what == RELEASED ? "lock.released" : "lock.lost", what == RELEASED ? "a lock was given back" :
	    "a holder does not have its lock any more", LOG_BYTES("lock", n->name, n->n),
	    LOG_STR("purser.project", n->place.project), LOG_UINT("fence", g->c.fence), LOG_STR("reason", losses[why]),
	    LOG_UINT("pid", g->who.pid), LOG_UINT("client.id", g->who.client), LOG_STR("trace.id", g->who.trace),
	    LOG_UINT("held_ms", (now - g->c.held_ns) / MS), LOG_UINT("at_ns", now));
}

static void op_granted(struct lock_queue *q, struct lock_claim *c)
{
	struct lock_grip *g = grip_of(c);

	changed(name_of(q), g, GRANTED, 0);
	g->answered = g->granted = true;
	g->fence = c->fence;
	g->valid_ns = c->valid_ns;
	tell(name_of(q), g);
}

static void op_refused(struct lock_queue *q, struct lock_claim *c, enum lock_refusal why)
{
	struct lock_grip *g = grip_of(c);

	changed(name_of(q), g, REFUSED, why);
	g->answered = true;
	g->refusal = why;
	tell(name_of(q), g);
}

static void op_lost(struct lock_queue *q, struct lock_claim *c, enum lock_loss why)
{
	struct lock_name *n = name_of(q);
	struct lock_grip *g = grip_of(c);

	changed(n, g, LOST, why);
	if (c->want.mode == LOCK_SESSION)
		n->room->lost[n->room->nlost++ % LOCK_LOST_MAX] = (struct lock_lost){ n->node.hash, c->fence };
	g->over = true;
	g->end = (int)why;
	tell(n, g);
}

static void op_ended(struct lock_queue *q, struct lock_claim *c)
{
	struct lock_name *n = name_of(q);
	struct lock_grip *g = grip_of(c);

	if (g->granted && !g->over) {
		changed(n, g, RELEASED, LOCK_END_RELEASED);
		g->over = true;
		g->end = LOCK_END_RELEASED;
		tell(n, g);
	} else if (!g->answered) {
		changed(n, g, REFUSED, UINT32_MAX); /* nobody is there to hear it */
	}
	n->room->claims--;
	g->name = NULL;
	unref(g);
}

static void on_timer(struct loop_timer *t)
{
	struct lock_grip *g = (struct lock_grip *)((char *)t - offsetof(struct lock_grip, timer));
	struct lock_name *n = g->name;

	enter(n);
	lock_tick(&n->q, &g->c, loop_now(n->room->w->loop));
	leave(n);
}

static void on_poll(struct loop_timer *t)
{
	struct lock_name *n = (struct lock_name *)((char *)t - offsetof(struct lock_name, poll));

	enter(n);
	lock_poll(&n->q, loop_now(n->room->w->loop));
	leave(n);
}

static void op_timer(struct lock_queue *q, struct lock_claim *c, uint64_t due_ns)
{
	struct lock_name *n = name_of(q);
	struct loop_timer *t = c ? &grip_of(c)->timer : &n->poll;

	if (!due_ns) {
		loop_timer_stop(n->room->w->loop, t);
		return;
	}
	t->fn = c ? on_timer : on_poll;
	if (loop_timer_set(n->room->w->loop, t, due_ns))
		log_event(n->room->w->log, LOG_M_FEATURE, LOG_ERROR, "lock.timer", "no memory for a timer of a lock",
		    LOG_BYTES("lock", n->name, n->n));
}

static const struct lock_ops ops = { op_try, op_confirm, op_renew, op_release, op_granted, op_refused, op_lost, op_ended,
	op_timer };

/* ---- the client's side ---- */
static void side_over(struct lock_grip *g)
{
	if (!g->dropped) {
		g->dropped = true;
		feature_unbind(&g->bond);
		unref(g);
	}
}

static void drop_here(struct lock_grip *g)
{
	struct lock_name *n = g->name;

	if (!n)
		return;
	enter(n);
	lock_drop(&n->q, &g->c, true, loop_now(n->room->w->loop));
	leave(n);
}

static void drop_arrived(struct feature_mail *m)
{
	struct lock_grip *g = (struct lock_grip *)((char *)m - offsetof(struct lock_grip, drop));

	drop_here(g);
	unref(g);
}

/* Its client does not want it any more, or cannot. */
static void let_go(struct lock_grip *g)
{
	if (g->dropped)
		return;
	ref(g);
	side_over(g);
	if (g->owned_by == g->home->index) {
		drop_here(g);
		unref(g);
	} else {
		feature_post(g->home, g->owned_by, &g->drop, drop_arrived);
	}
}

static void gone(struct feature_bond *b)
{
	let_go((struct lock_grip *)((char *)b - offsetof(struct lock_grip, bond)));
}

static void stopped(struct feature_call *f, enum feature_stop why)
{
	struct lock_grip *g = f->state;

	g->f = NULL;
	let_go(g);
	if (why == FEATURE_ERROR) {
		feature_unblocked(f);
	} else {
		reply_null(f->b);
		feature_end(f);
	}
}

static void reply_granted(struct feature_call *f, const struct lock_grip *g)
{
	uint64_t now = loop_now(f->w->loop), ms = g->valid_ns > now ? (g->valid_ns - now) / MS : 0;

	reply_map(f->b, 3);
	reply_text(f->b, "fence");
	reply_integer(f->b, (int64_t)g->fence);
	reply_text(f->b, "valid_ms");
	reply_integer(f->b, (int64_t)ms);
	reply_text(f->b, "valid_until");
	reply_integer(f->b, (int64_t)(loop_wall_ms(f->w->loop) + ms));
	feature_end(f);
}

static void reply_refused(struct feature_call *f, const struct lock_grip *g)
{
	char text[160];

	switch (g->refusal) {
	case LOCK_REFUSED_BUSY:
		reply_null(f->b);
		feature_end(f);
		return;
	case LOCK_REFUSED_KIND:
		feature_fail(f, ERR_CONFLICT, "the lock is held as another kind, or with another number of permits: LOCK.INFO shows it");
		return;
	case LOCK_REFUSED_REPLICAS:
		snprintf(text, sizeof text, "NOREPLICAS fewer than %u replicas have the lock: it was given back", g->want.replicas);
		feature_error(f, text);
		return;
	case LOCK_REFUSED_LATE:
		feature_fail(f, ERR_TIMEOUT, "the store granted the lock too late for it to be of use: it was given back");
		return;
	case LOCK_REFUSED_ERROR:
		break;
	}
	if (*g->error)
		feature_pass_error(f, &(struct feature_reply){ .err = g->err, .error = g->error });
	else
		feature_fail(f, g->err, NULL);
}

static void answer_here(struct lock_grip *g)
{
	struct feature_call *f = g->f;

	if (!f || g->dropped)
		return;
	g->f = NULL;
	if (g->waits)
		feature_resume(f);
	if (!g->granted) {
		side_over(g);
		reply_refused(f, g);
		return;
	}
	if (g->want.mode == LOCK_SESSION) {
		g->bond.gone = gone;
		g->bonded = feature_bind(f, &g->bond);
		if (!g->bonded)
			let_go(g);
	}
	if (g->want.mode == LOCK_LEASE)
		side_over(g);
	reply_granted(f, g);
}

static void end_here(struct lock_grip *g)
{
	static const char *const texts[] = { "it could not be renewed", "the store does not have it any more",
		"somebody else has it", "it was held for as long as MAXHOLD allows" };
	char fence[24], text[LOCK_NAME_MAX + 160];
	purser_bytes words[3];

	if (g->dropped)
		return;
	if (g->bonded && g->end < LOCK_LOSS_TTL) {
		words[0] = (purser_bytes){ g->text, g->n };
		words[1] = bytes_of(number(fence, g->fence));
		words[2] = bytes_of(losses[g->end]);
		snprintf(text, sizeof text, "the lock %.*s with fence %s is lost: %s", (int)g->n, (const char *)g->text, fence,
		    texts[g->end]);
		for (char *p = text; *p; p++)
			if ((unsigned char)*p < ' ')
				*p = '?';
		feature_push(&g->bond, "lock.lost", words, 3, ERR_LOCKLOST, text);
	}
	side_over(g);
}

static void answer_arrived(struct feature_mail *m)
{
	struct lock_grip *g = (struct lock_grip *)((char *)m - offsetof(struct lock_grip, answer));

	answer_here(g);
	unref(g);
}

static void end_arrived(struct feature_mail *m)
{
	struct lock_grip *g = (struct lock_grip *)((char *)m - offsetof(struct lock_grip, ended));

	end_here(g);
	unref(g);
}

/* ---- behind the queue's turn ---- */
static void deliver(struct lock_name *n, struct lock_grip *g)
{
	bool over = g->over;

	g->telling = false;
	if (g->home == n->room->w) {
		if (g->answered)
			answer_here(g);
		if (over)
			end_here(g);
	} else {
		if (g->answered && !g->answer.job.fn) {
			ref(g);
			feature_post(n->room->w, g->home->index, &g->answer, answer_arrived);
		}
		if (over) {
			ref(g);
			feature_post(n->room->w, g->home->index, &g->ended, end_arrived);
		}
	}
	unref(g);
}

static void name_free(struct lock_name *n)
{
	loop_timer_stop(n->room->w->loop, &n->poll);
	names_remove(&n->room->names, &n->node);
	free(n);
}

static void leave(struct lock_name *n)
{
	struct lock_grip *g;

	if (n->entered == 1) {
		while ((g = n->told)) {
			n->told = g->next_told;
			if (!n->told)
				n->told_at = &n->told;
			deliver(n, g); /* may come back here, at a greater depth */
		}
	}
	if (--n->entered == 0 && lock_idle(&n->q))
		name_free(n);
}

/* ---- begin ---- */
static struct lock_name *name_get(struct lock_room *room, const struct feature_place *p, purser_bytes name)
{
	struct lock_name *n = lock_find(room, p->ns, p->db, name);

	if (n)
		return n;
	n = calloc(1, sizeof *n + name.n);
	if (!n)
		return NULL;
	n->room = room;
	n->place = *p;
	n->n = name.n;
	memcpy(n->name, name.p, name.n);
	n->told_at = &n->told;
	n->q.ops = &ops;
	n->q.rtt_ns = &room->rtt_ns;
	n->q.random = trace_random(room->w->trace) | 1;
	if (names_add(&room->names, &n->node, hash_of(p->ns, p->db, name))) {
		free(n);
		return NULL;
	}
	return n;
}

/* On the owner's worker.  The grip has a reference for this. */
static void begin_here(struct lock_grip *g, struct lock_room *room)
{
	struct lock_name *n = name_get(room, &g->place, (purser_bytes){ g->text, g->n });
	uint64_t now = loop_now(room->w->loop);

	if (!n || room->claims >= LOCK_CLAIMS_MAX || n->q.waiting.n >= LOCK_WAITERS_MAX) {
		g->answered = true;
		g->refusal = LOCK_REFUSED_ERROR;
		g->err = n ? ERR_RATELIMITED : ERR_OOM;
		snprintf(g->error, sizeof g->error, "%s", n ? "RATELIMITED too many hold or wait for locks in this agent" :
		    "OOM out of memory");
		if (n) {
			enter(n);
			tell(n, g);
			leave(n);
		} else if (g->home == room->w) {
			answer_here(g);
		} else {
			ref(g);
			feature_post(room->w, g->home->index, &g->answer, answer_arrived);
		}
		unref(g);
		return;
	}
	room->claims++;
	g->name = n;
	g->c.want = g->want;
	enter(n);
	changed(n, g, BEGAN, 0);
	lock_claim(&n->q, &g->c, now);
	leave(n);
}

static void begin_arrived(struct feature_mail *m)
{
	struct lock_grip *g = (struct lock_grip *)((char *)m - offsetof(struct lock_grip, begin));

	begin_here(g, m->to->room[ROOM_LOCK]);
}

static void who_is(struct lock_who *who, struct feature_call *f)
{
	static const char hex[] = "0123456789abcdef";

	who->pid = f->id->peer.pid;
	who->uid = f->id->peer.uid;
	who->client = f->client;
	trace_ids(f->w->trace, f->trace);
	for (unsigned i = 0; i < 16; i++) {
		who->trace[2 * i] = hex[f->trace->trace_id[i] >> 4];
		who->trace[2 * i + 1] = hex[f->trace->trace_id[i] & 15];
	}
	who->trace[32] = '\0';
}

void lock_begin(struct feature_call *f, const struct lock_want *want)
{
	purser_bytes name = f->argv[1];
	struct lock_grip *g = calloc(1, sizeof *g + name.n);

	if (!g) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	atomic_init(&g->refs, 2);
	g->home = f->w;
	g->f = f;
	g->want = *want;
	g->n = name.n;
	memcpy(g->text, name.p, name.n);
	feature_place_of(f, &g->place);
	who_is(&g->who, f);
	hex_of(hex_of(g->owner, trace_random(f->w->trace)), trace_random(f->w->trace))[0] = '\0';
	g->owned_by = feature_owner(f->w, g->place.ns, g->place.db, "lock", name);
	f->state = g;
	ref(g);
	if (g->owned_by == f->w->index)
		begin_here(g, f->w->room[ROOM_LOCK]);
	else
		feature_post(f->w, g->owned_by, &g->begin, begin_arrived);
	if (g->f && !g->stepping) {
		g->waits = true;
		feature_wait(f, stopped);
	}
	unref(g);
}

/* ---- what other commands say of it ---- */
void lock_given_back(struct lock_grip *g, bool ask)
{
	struct lock_name *n = g->name;

	enter(n);
	lock_drop(&n->q, &g->c, ask, loop_now(n->room->w->loop));
	leave(n);
}

void lock_renewed_by_client(struct lock_grip *g, uint64_t sent_ns, uint64_t ttl_ns)
{
	struct lock_name *n = g->name;

	enter(n);
	lock_extended(&n->q, &g->c, sent_ns, ttl_ns);
	log_valid(n, g, "lock.renewed", "a lock was renewed by a client");
	leave(n);
}

bool lock_was_lost(const struct lock_room *room, uint32_t ns, uint16_t db, purser_bytes name, uint64_t fence)
{
	uint64_t hash = hash_of(ns, db, name);

	for (uint32_t i = 0; i < LOCK_LOST_MAX && i < room->nlost; i++)
		if (room->lost[i].fence == fence && room->lost[i].name == hash)
			return true;
	return false;
}

/* ---- visits ---- */
static void visit_back(struct feature_mail *m)
{
	struct lock_visit *v = (struct lock_visit *)m;

	v->back(v);
}

static void visit_there(struct feature_mail *m)
{
	struct lock_visit *v = (struct lock_visit *)m;

	v->there(v, m->to->room[ROOM_LOCK]);
	feature_post(m->to, v->home->index, &v->mail, visit_back);
}

void lock_visit(struct lock_visit *v)
{
	if (v->at == v->home->index) {
		v->there(v, v->home->room[ROOM_LOCK]);
		v->back(v);
	} else {
		feature_post(v->home, v->at, &v->mail, visit_there);
	}
}

/* ---- the room ---- */
int lock_start(struct feature_worker *w)
{
	struct lock_room *room = calloc(1, sizeof *room);

	if (!room)
		return -1;
	room->w = w;
	room->rtt_ns = MS;
	if (gethostname(room->host, sizeof room->host - 1) || !*room->host)
		snprintf(room->host, sizeof room->host, "-");
	for (char *p = room->host; *p; p++)
		if (*p <= ' ' || *p > '~')
			*p = '_';
	w->room[ROOM_LOCK] = room;
	return 0;
}

/* What is still held runs out by itself: nobody takes it up again. */
void lock_stop(struct feature_worker *w)
{
	struct lock_room *room = w->room[ROOM_LOCK];
	struct names_node *at;

	if (!room)
		return;
	while ((at = names_each(&room->names, NULL))) {
		struct lock_name *n = (struct lock_name *)at;
		struct lock_claim *c;

		while ((c = n->q.waiting.head ? n->q.waiting.head : n->q.holding.head)) {
			struct lock_list *l = n->q.waiting.head ? &n->q.waiting : &n->q.holding;

			l->head = c->next;
			loop_timer_stop(w->loop, &grip_of(c)->timer);
			free(grip_of(c));
		}
		loop_timer_stop(w->loop, &n->poll);
		names_remove(&room->names, at);
		free(n);
	}
	names_free(&room->names);
	free(room);
	w->room[ROOM_LOCK] = NULL;
}
