/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: an instance under test and its contexts: start, open, turn, drain, close, stop, and the
 * checks at each of these steps.
 */
#include <config.h>
#include "kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend/schema.h"

#define BLOCKED_NS UINT64_C(200000000) /* longer than a busy machine makes a short lock wait */

struct kit kit;

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t real_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static uint64_t skewed_mono(void *arg)
{
	struct purser_instance *i = arg;

	return real_ns(CLOCK_MONOTONIC) + (uint64_t)i->skew_ms * 1000000;
}

static uint64_t skewed_wall(void *arg)
{
	struct purser_instance *i = arg;

	return real_ns(CLOCK_REALTIME) / 1000000 + (uint64_t)i->skew_ms;
}

void ctx_skip_ms(struct purser_ctx *x, int64_t ms)
{
	x->inst->skew_ms += ms;
	ctx_turn(x, 0);
}

/* The store's thread may get no CPU for long while injected time races past the plugin's patience. */
void ctx_back_off(struct purser_ctx *x, int64_t ms)
{
	for (int turn = 0; turn < 5000; turn++) {
		int64_t connecting = 0;

		for (uint32_t e = 0; e < x->inst->nendpoints; e++)
			connecting += x->inst->links[e][PURSER_LINK_CONNECTING];
		if (!connecting)
			break;
		ctx_turn(x, 1);
	}
	ctx_skip_ms(x, ms);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static _Thread_local struct {
	uint64_t began_ns, awake_ns;
} watch;

/* How long this thread has run or wanted to run: all that it has not slept. */
static uint64_t awake_ns(void)
{
	static _Thread_local int fd = -1;
	unsigned long long ran = 0, waited = 0;
	char text[128];
	ssize_t n;

	if (fd < 0)
		fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return real_ns(CLOCK_MONOTONIC); /* cannot be known here: then nobody sleeps */
	text[n] = '\0';
	sscanf(text, "%llu %llu", &ran, &waited);
	return ran + waited;
}

void enter(struct purser_ctx *x, const char *what)
{
	if (x->inside)
		kit_stop(4, "the kit called %s from inside %s", what, x->inside);
	x->inside = what;
	watch.awake_ns = awake_ns();
	watch.began_ns = real_ns(CLOCK_MONOTONIC);
}

void leave(struct purser_ctx *x)
{
	uint64_t took = real_ns(CLOCK_MONOTONIC) - watch.began_ns, awake;

	if (x->inst->p->model == PURSER_INLINE && took > BLOCKED_NS) {
		awake = awake_ns() - watch.awake_ns;
		if (took > awake && took - awake > BLOCKED_NS)
			kit_blame(5, "an INLINE plugin slept in %s: %u ms", x->inside,
			    (unsigned)((took - awake) / 1000000));
	}
	x->inside = NULL;
}

/* ---- instance -------------------------------------------------------------------------------- */

/* All that was ever made stays reachable: a test is a process. */
static struct purser_instance *rigs[16];
static unsigned nrigs;

struct purser_instance *rig_try_start(const char *url, const purser_host *host, purser_error *e)
{
	struct purser_instance *i = calloc(1, sizeof(*i));
	uint64_t seed = real_ns(CLOCK_REALTIME);

	if (nrigs == sizeof(rigs) / sizeof(*rigs))
		kit_stop(0, "the kit has too many rigs");
	rigs[nrigs++] = i;
	i->host = host ? host : &kit_host;
	i->p = &kit.pl->p;
	i->control = pthread_self();
	i->metrics = calloc(i->p->nmetrics + 1, sizeof(*i->metrics));
	pthread_mutex_init(&i->lock, NULL);
	snprintf(i->prefix, sizeof(i->prefix), "proj:kit.%x.%x:", (unsigned)getpid(),
		(unsigned)(seed / 1000));
	settings_make(i, url);
	settings_show(i);
	*e = (purser_error){ .struct_size = sizeof(*e) };
	i->phase = RIG_START;
	if (i->p->start(i->host, i, &i->state, e) != 0) {
		e->text[sizeof(e->text) - 1] = '\0';
		return NULL;
	}
	i->phase = RIG_RUN;
	settings_hide(i);
	return i;
}

struct purser_instance *rig_start(const char *url)
{
	purser_error e;
	struct purser_instance *i = rig_try_start(url, NULL, &e);

	if (!i)
		kit_stop(0, "start() refused: %s", *e.text ? e.text : "(without a word)");
	return i;
}

int rig_prepare(struct purser_instance *i, purser_error *e)
{
	int rc;

	settings_show(i);
	*e = (purser_error){ .struct_size = sizeof(*e) };
	i->phase = RIG_PREPARE;
	rc = i->p->prepare(i->state, e);
	i->phase = RIG_RUN;
	settings_hide(i);
	return rc;
}

void rig_adopt(struct purser_instance *i, int commit)
{
	i->p->adopt(i->state, commit);
}

void rig_stop(struct purser_instance *i)
{
	static const char *const states[] = { "", "connecting", "idle", "used" };

	if (i->nctx)
		kit_stop(0, "the kit stops an instance with open contexts");
	i->phase = RIG_STOP;
	i->p->stop(i->state);
	for (uint32_t e = 0; e < i->nendpoints; e++) {
		for (unsigned s = PURSER_LINK_CONNECTING; s <= PURSER_LINK_USED; s++)
			if (i->links[e][s])
				kit_blame(0,
					"link_state() is not balanced: %lld %s links to %s remain "
					"after stop()",
					(long long)i->links[e][s], states[s],
					i->endpoints[e].address);
	}
}

/* ---- contexts -------------------------------------------------------------------------------- */

static void offer_route(struct purser_ctx *x, unsigned route);

static void end_of_turn(struct loop_hook *h)
{
	struct purser_ctx *x = (struct purser_ctx *)((char *)h - offsetof(struct purser_ctx, hook));

	host_release_refs(x);
	if (x->state == CTX_OPEN || x->state == CTX_DRAINING)
		for (unsigned r = 0; r < ROUTES; r++)
			offer_route(x, r);
	if (x->touched && x->state != CTX_CLOSED) {
		x->touched = false;
		enter(x, "flush()");
		x->inst->p->flush(x->cs);
		leave(x);
	}
}

static struct purser_ctx *all_ctx[64];
static _Atomic unsigned nall_ctx;

struct purser_ctx *ctx_open(struct purser_instance *i)
{
	const struct loop_clock clock = { skewed_mono, skewed_wall, i };
	struct purser_ctx *x = calloc(1, sizeof(*x));
	purser_error e = { .struct_size = sizeof(e) };
	unsigned n = atomic_fetch_add(&nall_ctx, 1);

	if (n >= sizeof(all_ctx) / sizeof(*all_ctx))
		kit_stop(0, "the kit has too many contexts");
	all_ctx[n] = x;
	x->inst = i;
	x->thread = pthread_self();
	x->loop = loop_new(&clock);
	if (!x->loop)
		kit_stop(0, "the kit cannot make a loop");
	x->messages_end = &x->messages;
	for (unsigned r = 0; r < ROUTES; r++)
		x->queue[r].last = &x->queue[r].first;
	x->hook.fn = end_of_turn;
	loop_hook_add(x->loop, &x->hook);
	x->state = CTX_OPENING;
	enter(x, "open()");
	if (i->p->open(i->state, x, &x->cs, &e) != 0) {
		e.text[sizeof(e.text) - 1] = '\0';
		kit_stop(0, "open() refused: %s", *e.text ? e.text : "(without a word)");
	}
	leave(x);
	x->state = CTX_OPEN;
	pthread_mutex_lock(&i->lock);
	i->nctx++;
	pthread_mutex_unlock(&i->lock);
	return x;
}

static bool all_ended(void *arg)
{
	struct purser_ctx *x = arg;

	return x->ended == x->accepted && x->offloads == 0 && !x->refs;
}

static const struct kcall *first_pending(const struct purser_ctx *x)
{
	const struct kcall *oldest = NULL;

	for (const struct kcall *k = x->calls; k; k = k->next)
		if (k->state == CALL_TAKEN && !k->batch)
			oldest = k;
	return oldest;
}

static void drain(struct purser_ctx *x)
{
	x->state = CTX_DRAINING;
	enter(x, "drain()");
	x->inst->p->drain(x->cs);
	leave(x);
}

/* What is still pending, close() ends. */
static void finish(struct purser_ctx *x)
{
	struct purser_instance *i = x->inst;
	const struct kcall *k;

	ctx_turn(x, 0); /* what has been posted, runs */
	enter(x, "close()");
	i->p->close(x->cs);
	leave(x);
	host_release_refs(x);
	x->state = CTX_CLOSED;
	host_close_checks(x);
	loop_turn(x->loop, 0); /* jobs that were posted since then find it closed */
	k = first_pending(x);
	if (k)
		kit_blame(2,
			"call #%u (%s) was not ended by close(); %u were accepted and %u ended",
			k->id, k->name, x->accepted, x->ended);
	loop_free(x->loop);
	x->loop = NULL;
	pthread_mutex_lock(&i->lock);
	i->nctx--;
	pthread_mutex_unlock(&i->lock);
}

void ctx_close(struct purser_ctx *x)
{
	drain(x);
	if (!ctx_until(x, all_ended, x)) {
		const struct kcall *k = first_pending(x);

		if (k)
			kit_stop(2, "call #%u (%s) was not ended after drain()", k->id, k->name);
		kit_stop(2, "work given to offload() did not come back after drain()");
	}
	finish(x);
}

void ctx_abort(struct purser_ctx *x)
{
	drain(x);
	finish(x);
}

void ctx_turn(struct purser_ctx *x, int64_t wait_ms)
{
	int rc;

	if (x->touched)
		loop_again(x->loop);
	rc = loop_turn(x->loop, wait_ms * 1000000);
	if (rc < 0)
		kit_stop(0, "the kit's loop: %s", strerror(-rc));
}

bool ctx_until(struct purser_ctx *x, bool (*done)(void *arg), void *arg)
{
	uint64_t end = real_ns(CLOCK_MONOTONIC) + (uint64_t)kit.patience * UINT64_C(1000000000);

	while (!done(arg)) {
		if (real_ns(CLOCK_MONOTONIC) > end)
			return false;
		ctx_turn(x, 10);
	}
	return true;
}

static const struct kcall *first_queued(const struct purser_ctx *x)
{
	const struct kcall *k = NULL;

	for (unsigned r = 0; r < ROUTES && !k; r++)
		k = x->queue[r].first;
	return k;
}

static bool all_settled(void *arg)
{
	return !first_queued(arg) && all_ended(arg);
}

static void __attribute__((noreturn)) never_ready(const struct kcall *k)
{
	kit_stop(12, "call #%u (%s) was answered AGAIN, and ready() did not come for %d s", k->id,
		k->name, kit.patience);
}

void ctx_settle(struct purser_ctx *x)
{
	if (!ctx_until(x, all_settled, x)) {
		const struct kcall *k = first_pending(x);

		if (!k && first_queued(x))
			never_ready(first_queued(x));
		kit_stop(2, "call #%u (%s) has not been ended for %d s", k ? k->id : 0,
			k ? k->name : "?", kit.patience);
	}
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct purser_session *session_new(struct purser_ctx *x)
{
	struct purser_session *s = arena_get(sizeof(*s), ARENA_SESSION, NULL);

	s->x = x;
	s->id = ++x->sessions;
	return s;
}

void session_free(struct purser_session *s)
{
	struct purser_ctx *x = s->x;

	if (s->pending)
		kit_stop(0, "the kit frees a session with pending calls");
	enter(x, "session_end()");
	x->inst->p->session_end(x->cs, s, s->slot);
	leave(x);
	arena_retire(s);
}

/* ---- offering -------------------------------------------------------------------------------- */

static void session_link(struct kcall *k)
{
	struct purser_session *s = k->s;

	k->snext = NULL;
	k->sprev = s->last;
	if (s->last)
		s->last->snext = k;
	else
		s->first = k;
	s->last = k;
	s->pending++;
}

/* What submit() said about k, which may be over.  False: it was not taken. */
static bool verdict(struct purser_ctx *x, struct kcall *k, int rc)
{
	bool ended = k->state == CALL_ENDED;

	switch (rc) {
	case PURSER_DONE:
		if (!ended)
			kit_blame(2, "submit() said DONE of call #%u (%s), which it had not ended",
				k->id, k->name);
		break;
	case PURSER_PENDING:
		if (ended)
			kit_blame(2, "submit() said PENDING of call #%u (%s), which it had ended",
				k->id, k->name);
		else if (x->inst->p->model == PURSER_BLOCKING)
			kit_blame(
				5, "a BLOCKING plugin left call #%u (%s) pending", k->id, k->name);
		else if (x->inst->p->caps & PURSER_CAP_ENDS_INSIDE &&
			 !(k->flags & PURSER_CALL_BLOCKS))
			kit_blame(2, "ENDS_INSIDE is declared, and call #%u (%s) is pending", k->id,
				k->name);
		break;
	case PURSER_AGAIN:
		if (!ended)
			return false;
		kit_blame(2, "submit() said AGAIN of call #%u (%s), which it had ended", k->id,
			k->name);
		break;
	default:
		kit_blame(2, "submit() said %d", rc);
	}
	if (!ended)
		k->state = CALL_TAKEN;
	return true;
}

/* Took nothing: the call as it was goes away, the command stays. */
static void not_taken(struct kcall *k)
{
	struct purser_session *s = k->s;

	if (k->wire_at || k->reply.form != FORM_NONE)
		kit_blame(12, "call #%u (%s) was encoded or answered before AGAIN", k->id, k->name);
	k->wire_at = 0;
	k->encoded = k->sent = false;
	arena_retire(k->c);
	k->c = NULL;
	k->state = CALL_QUEUED;
	for (uint32_t i = 0; i < k->nparts; i++) {
		arena_retire(k->parts[i]->c);
		k->parts[i]->c = NULL;
		k->parts[i]->state = CALL_QUEUED;
	}
	s->last = k->sprev;
	if (s->last)
		s->last->snext = NULL;
	else
		s->first = NULL;
	s->pending--;
}

static void offer_route(struct purser_ctx *x, unsigned route)
{
	const purser_plugin *p = x->inst->p;
	struct kcall *k;
	unsigned circle = 0;

	while (!x->waits[route] && (k = x->queue[route].first)) {
		int (*fn)(void *, purser_call *) = p->submit;
		int rc;

		call_hand_over(k);
		session_link(k);
		if (k->op < p->nops && p->ops[k->op].run)
			fn = p->ops[k->op].run;
		x->ready[route] = false;
		x->touched = true;
		x->offered++;
		x->accepted++; /* may be ended before submit() returns */
		k->state = CALL_OFFERED;
		enter(x, "submit()");
		rc = fn(x->cs, k->c);
		leave(x);
		if (!verdict(x, k, rc)) {
			x->accepted--;
			x->agains++;
			not_taken(k);
			x->waits[route] = !x->ready[route];
			if (++circle > 1000)
				kit_stop(12, "ready() and AGAIN go round in a circle");
			continue;
		}
		x->queue[route].first = k->qnext;
		if (!k->qnext)
			x->queue[route].last = &x->queue[route].first;
	}
}

void call_offer(struct kcall *k)
{
	struct purser_ctx *x = k->x;

	k->qnext = NULL;
	*x->queue[k->route].last = k;
	x->queue[k->route].last = &k->qnext;
	if (!x->inside) /* from an on_end: at the end of the turn */
		offer_route(x, k->route);
	else
		loop_again(x->loop);
}

void call_cancel(struct kcall *k, int why)
{
	struct purser_ctx *x = k->x;

	if (k->state != CALL_TAKEN)
		return;
	k->cancelled = true;
	enter(x, "cancel()");
	x->inst->p->cancel(x->cs, k->c, why);
	leave(x);
}

void call_resume(struct kcall *k, int what)
{
	struct purser_ctx *x = k->x;

	if (k->state != CALL_TAKEN)
		return;
	x->touched = true;
	enter(x, "resume()");
	x->inst->p->resume(x->cs, k->c, what);
	leave(x);
}

static bool is_over(void *arg)
{
	return ((struct kcall *)arg)->state == CALL_ENDED;
}

void call_wait(struct kcall *k)
{
	if (ctx_until(k->x, is_over, k))
		return;
	if (k->state == CALL_QUEUED)
		never_ready(k);
	kit_stop(2, "call #%u (%s) has not been ended for %d s", k->id, k->name, kit.patience);
}

/* ---- from beginning to end ------------------------------------------------------------------- */

struct purser_ctx *rig_ctx(void)
{
	return ctx_open(rig_start(NULL));
}

/* DEL of the keys that k may have written. */
static void remove_written(struct purser_session *s, const struct kcall *k)
{
	size_t plen = strlen(s->x->inst->prefix);

	for (uint32_t i = 0; i < k->nkeys && k->flags & PURSER_CALL_WRITE; i++) {
		purser_bytes argv[2] = { { (const uint8_t *)"DEL", 3 }, { NULL, 0 } };
		purser_bytes key = k->argv[k->keys[i]];
		struct buf name = { 0 };

		buf_putc(&name, '@');
		buf_put(&name, key.p + plen, key.n - plen);
		argv[1] = (purser_bytes){ buf_data(&name), buf_len(&name) };
		call_offer(call_args(s, 2, argv, 2));
		buf_free(&name);
	}
}

/* What the run wrote, on any of its threads, into a store that stays goes away again. */
static void remove_keys(struct purser_ctx *x)
{
	struct purser_session *s;

	if (x->inst->p->caps & PURSER_CAP_KEEPS_DATA || !call_known("DEL"))
		return;
	s = session_new(x);
	for (unsigned n = 0; n < nall_ctx; n++)
		for (struct kcall *k = all_ctx[n]->calls; k; k = k->next)
			if (all_ctx[n]->inst == x->inst && k->s != s)
				remove_written(s, k);
	ctx_settle(x);
	session_free(s);
}

void rig_done(struct purser_ctx *x)
{
	struct purser_instance *i = x->inst;

	ctx_settle(x);
	remove_keys(x);
	ctx_close(x);
	rig_stop(i);
}
