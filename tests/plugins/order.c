/* SPDX-License-Identifier: Apache-2.0 */
#include "order.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef ORDER_BLOCKING
#define BLOCKING true /* it ends each call before submit() returns */
#else
#define BLOCKING false
#endif

/* ---- when calls end --------------------------------------------------------------------------------- */

static void end_some(struct ctx *x);

void on_timer(void *arg)
{
	struct ctx *x = arg;

	check_entry(x, "a timer");
	x->timer = 0;
	end_some(x);
}

static void on_post(void *arg)
{
	struct ctx *x = arg;

	check_entry(x, "a posted job");
	x->posted = false;
	end_some(x);
}

static void away(void *arg)
{
	const struct ctx *x = arg;

	if (pthread_equal(x->thread, pthread_self()))
		x->s->h->log(x->s->i, PURSER_LOG_ERROR, "ORDER: offloaded work on the context's own thread");
}

static void on_done(void *arg)
{
	struct ctx *x = arg;

	check_entry(x, "offloaded work that came back");
	x->offloaded = false;
	end_some(x);
}

static void schedule(struct ctx *x, bool in_submit)
{
	int64_t how = x->s->ends;

	if (!x->head || x->stalled || x->timer || x->posted || x->offloaded || x->at_flush)
		return;
	if (how == ENDS_MIXED)
		how = ENDS_TIMER + (int64_t)rnd(x, 4);
	if (how == ENDS_FLUSH && !in_submit)
		how = ENDS_POST; /* flush comes only after a submit */
	switch (how) {
	case ENDS_FLUSH:
		x->at_flush = true;
		return;
	case ENDS_POST:
		x->posted = true;
		x->post = (purser_job){ .fn = on_post, .arg = x };
		x->s->h->post(x->x, &x->post);
		return;
	case ENDS_OFFLOAD:
		x->offloaded = true;
		x->work = (purser_job){ .fn = away, .arg = x };
		x->done = (purser_job){ .fn = on_done, .arg = x };
		x->s->h->offload(x->x, &x->work, &x->done);
		return;
	default:
		x->timer = x->s->h->timer(x->x, rnd(x, 300000), on_timer, x);
	}
}

static void room(struct ctx *x)
{
	if (!x->starving || x->ready_timer)
		return;
	for (uint32_t r = 0; r <= PURSER_ROUTE_PINNED; r++)
		if (x->starving & 1u << r)
			x->s->h->ready(x->x, r);
	x->starving = 0;
}

static void end_some(struct ctx *x)
{
	unsigned many = 1 + (unsigned)rnd(x, x->s->ends == ENDS_MIXED ? 4 : 64);

	while (x->head && many-- && !x->stalled) {
		if (waits(x, x->head)) {
			x->timer = x->s->h->timer(x->x, x->s->slow_ns, on_timer, x);
			break;
		}
		if (!execute(x, x->head)) /* it stays at the head until resume() */
			break;
		room(x);
	}
	schedule(x, false);
}

static void on_ready_timer(void *arg)
{
	struct ctx *x = arg;

	check_entry(x, "a timer");
	x->ready_timer = 0;
	room(x);
}

static int again(struct ctx *x, const purser_call *c)
{
	x->starving |= 1u << c->route;
	return PURSER_AGAIN;
}

static void doze(uint64_t ns)
{
	nanosleep(&(struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) }, NULL);
}

static bool refuse_this(struct ctx *x)
{
	const struct store *s = x->s;

	return s->again_every && ++x->submits % (unsigned)s->again_every == 0;
}

/* ready() comes at once, before submit has returned, or from a timer. */
static int again_for_no_reason(struct ctx *x, const purser_call *c)
{
	if (rnd(x, 2) && !x->ready_timer) {
		x->ready_timer = x->s->h->timer(x->x, rnd(x, 200000), on_ready_timer, x);
		if (x->ready_timer)
			return again(x, c);
	}
	x->s->h->ready(x->x, c->route);
	return PURSER_AGAIN;
}

static void append(struct ctx *x, purser_call *c)
{
	if (x->tail)
		x->tail->link = c;
	else
		x->head = c;
	x->tail = c;
	x->n++;
}

/* It has a link of its own until it is whole. */
static int streamed(struct ctx *x, purser_call *c)
{
	if (c->route != PURSER_ROUTE_EXCLUSIVE || !(c->flags & PURSER_CALL_ALONE))
		wrong(x, "a stream on route %u, flags %u", c->route, c->flags);
	switch (stream_more(x, c)) {
	case STREAM_WHOLE:
		append(x, c);
		schedule(x, true);
		return PURSER_PENDING;
	case STREAM_WAITS:
		c->link = x->streams;
		x->streams = c;
		return PURSER_PENDING;
	default:
		finish(x, c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, NULL);
		return PURSER_DONE;
	}
}

static void go_on_streaming(struct ctx *x, purser_call *c)
{
	int rc;

	if (!stream_drop(x, c)) {
		wrong(x, "resume(ENCODE) of a call that does not wait for it");
		return;
	}
	rc = stream_more(x, c);
	if (rc == STREAM_WAITS) {
		c->link = x->streams;
		x->streams = c;
	} else if (rc == STREAM_WHOLE) {
		append(x, c);
		schedule(x, false);
	} else {
		finish(x, c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, NULL);
	}
}

static int order_submit(void *cs, purser_call *c)
{
	struct ctx *x = cs;
	struct sess *s;

	check_entry(x, "submit()");
	if (x->closing)
		wrong(x, "submit() after drain()");
	if (!BLOCKING && refuse_this(x))
		return again_for_no_reason(x, c);
	if (!BLOCKING && x->s->window && x->n >= x->s->window)
		return again(x, c);
	if (check_call(x, c)) {
		x->s->h->fail(c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, NULL);
		return PURSER_DONE;
	}
	s = session_at(x, c->session);
	s->inflight++;
	if (c->flags & PURSER_CALL_STREAMED)
		return streamed(x, c);
	if (BLOCKING || (!x->head && (x->s->ends == ENDS_INLINE || (x->s->ends == ENDS_MIXED &&
	    rnd(x, 4) == 0)))) {
		x->head = x->tail = c;
		x->n = 1;
		if (!waits(x, c))
			return execute(x, c) ? PURSER_DONE : PURSER_PENDING;
		if (BLOCKING) {
			x->s->h->log(x->s->i, PURSER_LOG_DEBUG, "order: a slow one begins");
			doze(x->s->slow_ns);
			execute(x, c);
			return PURSER_DONE;
		}
		x->timer = x->s->h->timer(x->x, x->s->slow_ns, on_timer, x);
		return PURSER_PENDING;
	}
	append(x, c);
#ifdef ORDER_WIRE
	if (rnd(x, 2) && check_encode(x, c))
		wrong(x, "encode() in submit() failed");
#endif
	schedule(x, true);
	return PURSER_PENDING;
}

/* ---- the other callbacks ---------------------------------------------------------------------------- */

static void order_flush(void *cs)
{
	struct ctx *x = cs;

	check_entry(x, "flush()");
	if (!x->at_flush)
		return;
	x->at_flush = false;
	end_some(x);
}

static void order_resume(void *cs, purser_call *c, int what)
{
	struct ctx *x = cs;

	check_entry(x, "resume()");
	if (what == PURSER_RESUME_ENCODE) {
		go_on_streaming(x, c);
		return;
	}
	if (what != PURSER_RESUME_REPLY || !x->stalled || x->head != c) {
		wrong(x, "resume(%d) of a call that does not wait for it", what);
		return;
	}
	if (go_on(x, c)) {
		room(x);
		schedule(x, false);
	}
}

static void order_cancel(void *cs, purser_call *c, int why)
{
	struct ctx *x = cs;
	const purser_call *k = x->head;

	check_entry(x, "cancel()");
	if (stream_drop(x, c)) {
		finish(x, c, PURSER_E_CANCELLED, PURSER_NOT_EXECUTED, NULL);
		return;
	}
	while (k && k != c)
		k = k->link;
	if (!k || why < PURSER_CANCEL_TIMEOUT || why > PURSER_CANCEL_SHUTDOWN) {
		wrong(x, "cancel(%d) of a call that is not here", why);
		return;
	}
	if (x->stalled && x->head == c)
		order_resume(x, c, PURSER_RESUME_REPLY);
}

static void order_session_end(void *cs, purser_session *s, void *slot)
{
	struct ctx *x = cs;
	struct sess *own = slot;

	(void)s;
	check_entry(x, "session_end()");
	if (own->inflight)
		wrong(x, "session_end() with %u calls in flight", own->inflight);
	if (own->prev)
		own->prev->next = own->next;
	else
		x->sessions = own->next;
	if (own->next)
		own->next->prev = own->prev;
	free(own);
}

static int order_open(void *state, purser_ctx *px, void **cs, purser_error *e)
{
	struct ctx *x = calloc(1, sizeof(*x));

	if (!x) {
		snprintf(e->text, sizeof(e->text), "out of memory");
		return -1;
	}
	x->s = state;
	x->x = px;
	x->thread = pthread_self();
	x->rng = x->s->seed + 0x9e3779b97f4a7c15u * (1 + atomic_fetch_add(&x->s->contexts, 1));
	*cs = x;
	return 0;
}

static void order_drain(void *cs)
{
	struct ctx *x = cs;

	check_entry(x, "drain()");
	x->closing = true;
}

static void order_close(void *cs)
{
	struct ctx *x = cs;

	check_entry(x, "close()");
	if (!x->closing)
		wrong(x, "close() without drain()");
	for (const struct sess *s = x->sessions; s; s = s->next)
		if (!s->inflight)
			wrong(x, "close() with a session that has nothing in flight and has not ended");
	if (x->posted || x->offloaded)
		wrong(x, "close() while a job is on its way");
	if (x->timer)
		x->s->h->untimer(x->x, x->timer);
	if (x->ready_timer)
		x->s->h->untimer(x->x, x->ready_timer);
	if (x->stalled) {
		free(x->stalled->p);
		free(x->stalled);
		finish(x, x->head, PURSER_E_IO, PURSER_EXECUTED, "closed");
	}
	while (x->head)
		finish(x, x->head, PURSER_E_IO, PURSER_NOT_EXECUTED, "closed");
	while (x->streams) {
		purser_call *c = x->streams;

		stream_drop(x, c);
		finish(x, c, PURSER_E_IO, PURSER_NOT_EXECUTED, "closed");
	}
	while (x->sessions)
		order_session_end(x, NULL, x->sessions);
	free(x);
}

static int order_start(const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s || pthread_mutex_init(&s->lock, NULL)) {
		free(s);
		snprintf(e->text, sizeof(e->text), "out of memory");
		return -1;
	}
	s->h = h;
	s->i = i;
	snprintf(s->prefixes, sizeof(s->prefixes), "%s", (const char *)h->text(i, "prefixes").p);
	s->window = h->value(i, "window");
	s->again_every = h->value(i, "again_every");
	s->ends = h->value(i, "ends");
	s->style = h->value(i, "style");
	s->slow_ns = (uint64_t)h->value(i, "slow");
	s->seed = (uint64_t)h->value(i, "seed") | 1;
	*state = s;
	return 0;
}

static void order_stop(void *state)
{
	struct store *s = state;

	if (atomic_load(&s->refs))
		s->h->log(s->i, PURSER_LOG_ERROR, "ORDER: %d references were never released",
		    atomic_load(&s->refs));
	store_free(s);
}

/* ---- declarations ----------------------------------------------------------------------------------- */

static const purser_key keys[] = {
	{ .name = "prefixes", .type = PURSER_KEY_TEXT, .def = "proj:default:",
		.doc = "What keys may begin with, with spaces between." },
	{ .name = "window", .type = PURSER_KEY_INT, .min = 0, .max = 1000000, .def = "0",
		.doc = "Calls that it holds at most; 0: any number." },
	{ .name = "again_every", .type = PURSER_KEY_INT, .min = 0, .max = 1000, .def = "0",
		.doc = "Every so many submits are answered AGAIN; 0: none." },
	{ .name = "ends", .type = PURSER_KEY_ENUM, .choices = "inline|timer|flush|post|offload|mixed",
		.def = "mixed", .doc = "Where calls end." },
	{ .name = "style", .type = PURSER_KEY_ENUM, .choices = "any|typed|reserved|reference|raw",
		.def = "any", .doc = "How replies are given." },
	{ .name = "slow", .type = PURSER_KEY_DURATION, .min = 0, .max = INT64_C(60000000000), .def = "0s",
		.doc = "How long a call on a key slow:... takes." },
	{ .name = "seed", .type = PURSER_KEY_INT, .min = 0, .max = INT64_C(4294967295), .def = "1",
		.doc = "Of what is left to chance." },
};

static const purser_op ops[OP_COUNT] = {
	[OP_GET] = { "GET", NULL }, [OP_SET] = { "SET", NULL }, [OP_DEL] = { "DEL", NULL },
	[OP_EXISTS] = { "EXISTS", NULL }, [OP_STRLEN] = { "STRLEN", NULL }, [OP_APPEND] = { "APPEND", NULL },
	[OP_INCR] = { "INCR", NULL }, [OP_MGET] = { "MGET", NULL }, [OP_MSET] = { "MSET", NULL },
	[OP_SCAN] = { "SCAN", NULL }, [OP_PING] = { "PING", NULL },
};

static const purser_plugin plugin = {
	.struct_size = sizeof(plugin), .api = PURSER_API, .version = "1", .summary = "For tests",
#if defined(ORDER_WIRE)
	.name = "order_wire", .model = PURSER_INLINE, .args = PURSER_ARGS_WIRE,
#elif defined(ORDER_BLOCKING)
	.name = "order_blocking", .model = PURSER_BLOCKING, .max_parallel = 3, .args = PURSER_ARGS_ARGV,
#else
	.name = "order_argv", .model = PURSER_INLINE, .args = PURSER_ARGS_ARGV,
#endif
	.caps = PURSER_CAP_KV | PURSER_CAP_SCAN,
	.ops = ops, .nops = OP_COUNT, .op_stride = sizeof(*ops),
	.keys = keys, .nkeys = sizeof(keys) / sizeof(*keys), .key_stride = sizeof(*keys),
	.start = order_start, .stop = order_stop, .open = order_open, .submit = order_submit,
	.flush = order_flush, .resume = order_resume, .cancel = order_cancel,
	.session_end = order_session_end, .drain = order_drain, .close = order_close,
};

PURSER_PLUGIN(plugin);
