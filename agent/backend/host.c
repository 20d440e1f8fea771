/* SPDX-License-Identifier: Apache-2.0
 *
 * The host table: all that a plugin can ask of the agent.  Nothing here calls a plugin (rule 4).
 */
#include <config.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/blocking.h"
#include "backend/instance.h"

/* The call is the first member of the bcall that it is part of. */
static inline struct bcall *of(purser_call *c)
{
	return (struct bcall *)c;
}

static size_t h_encode(purser_call *c, void *dst, size_t cap, int *more)
{
	return call_encode(of(c), dst, cap, more);
}

static int h_rewind(purser_call *c)
{
	if (c->flags & PURSER_CALL_STREAMED)
		return -1;
	call_rewind(of(c));
	return 0;
}

static inline __attribute__((always_inline)) int64_t credit(struct bcall *b)
{
	if (b->discard || !b->limit || b->out->bytes < b->limit)
		return INT32_MAX;
	b->stalled = true;
	b->stalled_ns = ctx_now(b->c.ctx);
	if (b->full)
		b->full(b);
	return 0;
}

/* Of a plugin that does not tell: is the reply a null? */
static void top_null(struct bcall *b, const uint8_t *p, size_t n)
{
	if ((!b->reply_bytes && n && (*p == '_' || (*p == '$' && n > 1 && p[1] == '-'))) ||
	    (b->reply_bytes == 1 && n && *p == '-'))
		b->c.nulls = 1;
}

static int64_t h_raw(purser_call *c, const void *p, size_t n)
{
	if (__builtin_expect(!(c->ctx->p->caps & PURSER_CAP_TELLS_NULLS), 0))
		top_null(of(c), p, n);
	reply_raw(of(c), p, n);
	return credit(of(c));
}

/* Raw bytes written in place.  With a filter, or where nobody reads, they are written to the
 * context's scrap chain, from which commit() hands them on. */
static struct out *place(struct bcall *b)
{
	return b->filter || b->discard ? &b->c.ctx->scrap : b->out;
}

static uint8_t *h_reserve(purser_call *c, size_t n)
{
	struct bcall *b = of(c);

	return b->broken ? NULL : out_reserve(place(b), b->pool, n);
}

static void h_commit(purser_call *c, size_t n)
{
	struct bcall *b = of(c);
	struct out *o = place(b);

	if (!(c->ctx->p->caps & PURSER_CAP_TELLS_NULLS))
		top_null(b, o->tail->p + o->tail->end, n);
	if (o == b->out) {
		b->began = true;
		b->reply_bytes += n;
		out_commit(o, n);
		return;
	}
	if (!b->discard)
		reply_raw(b, o->tail->p + o->tail->end, n);
	out_clear(o, b->pool);
}

/* The bytes of a raw_ref() were copied: release them, but not from inside (rule 4). */
static void release_later(purser_ctx *x, purser_fn release, void *arg)
{
	struct ref_release *r = malloc(sizeof *r);

	if (!r) {
		log_event(x->inst->log, LOG_M_BACKEND, LOG_ERROR, "backend.release.lost",
		    "no memory to give referenced bytes back to the plugin",
		    LOG_STR("backend", x->inst->name));
		return;
	}
	r->fn = release;
	r->arg = arg;
	r->next = x->releases;
	x->releases = r;
}

static int64_t h_raw_ref(purser_call *c, const void *p, size_t n, purser_fn release, void *arg)
{
	struct bcall *b = of(c);

	if (c->ctx->loop && !b->discard && !b->broken && !b->filter && !b->part && n >= OUT_BLOCK &&
	    out_ref(b->out, p, n, release, arg) == 0) {
		b->began = true;
		b->reply_bytes += n;
		return credit(b);
	}
	reply_raw(b, p, n);
	release_later(c->ctx, release, arg);
	return credit(b);
}

static void h_status(purser_call *c, const char *word) { reply_status(of(c), word); }
static void h_integer(purser_call *c, int64_t v) { reply_integer(of(c), v); }
static void h_bulk(purser_call *c, const void *p, size_t n) { reply_bulk(of(c), p, n); }

static void h_null(purser_call *c)
{
	if (c->op == PURSER_OP_BATCH && c->resp != 3) /* WATCH failed: in RESP2 it is the null array */
		reply_raw(of(c), "*-1\r\n", 5);
	else
		reply_null(of(c));
}

static void h_number(purser_call *c, double v) { reply_number(of(c), v); }
static void h_boolean(purser_call *c, int v) { reply_boolean(of(c), v); }
static void h_array(purser_call *c, size_t n) { reply_array(of(c), n); }
static void h_map(purser_call *c, size_t pairs) { reply_map(of(c), pairs); }
static void h_set(purser_call *c, size_t n) { reply_set(of(c), n); }

static void h_error(purser_call *c, const char *text, size_t n)
{
	struct bcall *b = of(c);
	const struct call_failure f = { .err = ERR_REDIS, .store = true, .text = text, .n = n };

	if (!call_failed(b, &f) && !b->discard)
		reply_error(b, text, n);
}

static void h_sent(purser_call *c)
{
	of(c)->sent_ns = ctx_now(c->ctx);
}

static void h_via(purser_call *c, uint32_t endpoint)
{
	of(c)->endpoint = endpoint;
}

/* The plugin lets go of c. */
static void ended(purser_call *c)
{
	struct purser_ctx *x = c->ctx;
	struct bcall *b = of(c);

	if (b->state != BCALL_SUBMITTED) {
		log_event(x->inst->log, LOG_M_PLUGIN, LOG_ERROR, "plugin.call.twice",
		    "the plugin ended a call that it does not hold", LOG_STR("backend", x->inst->name));
		return;
	}
	if (x->current == b)
		x->current = NULL;
	call_count(x, b);
	call_ended(b);
}

/* One command of a batch is answered; the plugin goes on to the next. */
static void part_ended(struct bcall *b)
{
	if (!b->began && !b->broken)
		reply_failure(b, ERR_INTERNAL, "the backend plugin ended a call without a reply");
	b->state = BCALL_ENDED;
}

/* What the parts of a batch have said (all into one buffer, in order) becomes its reply. */
static void batch_answer(struct bcall *b)
{
	struct purser_call *c = &b->c;
	struct out *said = c->nparts ? of(c->parts[0])->out : NULL;

	for (uint32_t i = 0; i < c->nparts; i++) {
		const struct bcall *part = of(c->parts[i]);

		if (part->state != BCALL_ENDED || part->broken) {
			reply_failure(b, part->broken ? ERR_OOM : ERR_INTERNAL, part->broken ? NULL :
			    "the backend plugin did not answer every command of a transaction");
			return;
		}
	}
	reply_array(b, c->nparts);
	for (struct out_block *k = said ? said->head : NULL; k; k = k->next)
		reply_raw(b, k->p + k->at, k->end - k->at);
}

static void h_end(purser_call *c)
{
	struct bcall *b = of(c);

	if (b->part) {
		part_ended(b);
		return;
	}
	b->executed = 0;
	if (b->state == BCALL_SUBMITTED && !b->discard && !b->began && !b->broken && !b->answered) {
		if (c->op == PURSER_OP_BATCH && c->ctx->p->args == PURSER_ARGS_ARGV)
			batch_answer(b);
		else
			reply_failure(b, ERR_INTERNAL, "the backend plugin ended a call without a reply");
	}
	ended(c);
}

/* fail(): what the caller is told.  A write that may have run is INDETERMINATE (semantics.md 2). */
static enum err_code failure_of(const struct bcall *b, uint32_t code, uint32_t executed)
{
	if (executed != PURSER_NOT_EXECUTED && (b->c.flags & PURSER_CALL_WRITE))
		return ERR_INDETERMINATE;
	switch (code) {
	case PURSER_E_CONNECT: case PURSER_E_IO: case PURSER_E_TLS:
		return ERR_BACKENDDOWN;
	case PURSER_E_PROTOCOL:
		return ERR_BACKENDPROTOCOL;
	case PURSER_E_AUTH:
		return ERR_BACKENDAUTH;
	case PURSER_E_NOMEM:
		return ERR_OOM;
	case PURSER_E_TOOLARGE:
		return ERR_TOOBIG;
	case PURSER_E_UNSUPPORTED:
		return ERR_UNSUPPORTED;
	case PURSER_E_CANCELLED:
		return ERR_TIMEOUT;
	default:
		return ERR_INTERNAL;
	}
}

static void h_fail(purser_call *c, uint32_t code, uint32_t executed, const char *text)
{
	struct bcall *b = of(c);
	char full[256];

	b->executed = (uint8_t)executed;
	if (b->state == BCALL_SUBMITTED && !b->answered) {
		enum err_code e = failure_of(b, code, executed);
		struct call_failure f = { .err = e, .code = code, .executed = (uint8_t)executed };

		if (text && *text) {
			snprintf(full, sizeof full, "%s (%s)", err_rows[e].text, text);
			f.text = full;
			f.n = strlen(full);
		}
		if (!call_failed(b, &f) && !b->discard)
			reply_failure(b, e, f.text);
	}
	if (b->part)
		part_ended(b);
	else
		ended(c);
}

static void h_ready(purser_ctx *x, uint32_t route)
{
	x->ready |= route < ROUTES ? 1u << route : 0;
	if (x->loop)
		loop_again(x->loop); /* it may come from flush(), behind the offer of this turn */
}

static void **h_slot(purser_session *s, purser_ctx *x)
{
	return &s->slot[x->inst->index];
}

/* ---- loop ---- */

static uint64_t h_now(purser_ctx *x) { return ctx_now(x); }
static uint64_t h_wall_ms(purser_ctx *x) { return x->loop ? loop_wall_ms(x->loop) : blocking_wall_ms(x); }

struct watch {
	struct loop_io io;
	struct watch *next;
	purser_io_fn fn;
	void *arg;
};

static void watch_fire(struct loop_io *io, uint32_t events)
{
	struct watch *w = (struct watch *)io;

	w->fn(w->arg, io->fd, events);
}

/* Watches are kept for re-use: an event of the same batch may still point at one. */
static int h_watch(purser_ctx *x, int fd, uint32_t events, purser_io_fn fn, void *arg)
{
	struct watch *w;
	int rc;

	if (!x->loop) { /* a blocking thread has no loop */
		errno = ENOTSUP;
		return -1;
	}
	for (w = x->watches; w && w->io.fd != fd; w = w->next)
		;
	if (!events) {
		if (w) {
			loop_unwatch(x->loop, &w->io);
			w->io.fd = -1;
		}
		return 0;
	}
	if (!w)
		for (w = x->watches; w && w->io.fd != -1; w = w->next)
			;
	if (!w) {
		w = calloc(1, sizeof *w);
		if (!w) {
			errno = ENOMEM;
			return -1;
		}
		w->io.fn = watch_fire;
		w->next = x->watches;
		x->watches = w;
	}
	w->fn = fn;
	w->arg = arg;
	rc = loop_watch(x->loop, &w->io, fd, events);
	if (rc) {
		w->io.fd = -1;
		errno = -rc;
		return -1;
	}
	return 0;
}

struct timer {
	struct loop_timer t;
	struct purser_ctx *x;
	struct timer *next, *prev;
	uint64_t id;
	purser_fn fn;
	void *arg;
};

static void timer_drop(struct timer *t)
{
	if (t->prev)
		t->prev->next = t->next;
	else
		t->x->timers = t->next;
	if (t->next)
		t->next->prev = t->prev;
	free(t);
}

static void timer_fire(struct loop_timer *lt)
{
	struct timer *t = (struct timer *)lt;
	purser_fn fn = t->fn;
	void *arg = t->arg;

	timer_drop(t);
	fn(arg);
}

static uint64_t h_timer(purser_ctx *x, uint64_t delay_ns, purser_fn fn, void *arg)
{
	struct timer *t = x->loop ? calloc(1, sizeof *t) : NULL;

	if (!t)
		return 0;
	t->t.fn = timer_fire;
	t->x = x;
	t->fn = fn;
	t->arg = arg;
	t->id = ++x->timer_ids;
	if (loop_timer_set(x->loop, &t->t, loop_now(x->loop) + delay_ns)) {
		free(t);
		return 0;
	}
	t->next = x->timers;
	if (t->next)
		t->next->prev = t;
	x->timers = t;
	return t->id;
}

static void h_untimer(purser_ctx *x, uint64_t id)
{
	for (struct timer *t = x->timers; t; t = t->next)
		if (t->id == id) {
			loop_timer_stop(x->loop, &t->t);
			timer_drop(t);
			return;
		}
}

void host_ctx_free(struct purser_ctx *x)
{
	while (x->timers) {
		loop_timer_stop(x->loop, &x->timers->t);
		timer_drop(x->timers);
	}
	while (x->watches) {
		struct watch *w = x->watches;

		x->watches = w->next;
		loop_unwatch(x->loop, &w->io);
		free(w);
	}
}

static void h_post(purser_ctx *x, purser_job *job)
{
	if (x->loop)
		loop_post(x->loop, job);
	else
		blocking_post(x, job);
}

static void h_offload(purser_ctx *x, purser_job *work, purser_job *done)
{
	if (x->loop) {
		offload_submit(x->inst->offload, x, work, done);
		return;
	}
	work->fn(work->arg); /* a blocking thread may block: it is what it is for */
	blocking_post(x, done);
}

static int h_busy(purser_ctx *x)
{
	(void)x;
	return 0;
}

/* ---- publish/subscribe (hub.h) ---- */

static uint64_t h_publish(purser_instance *i, uint32_t kind, purser_bytes channel, purser_bytes message)
{
	return i->hub ? hub_publish(i->hub, (uint8_t)kind, channel, message) : 0;
}

static void h_message(purser_ctx *x, uint32_t kind, purser_bytes pattern, purser_bytes channel,
    purser_bytes message)
{
	if (x->inst->hub)
		hub_message(x->inst->hub, (uint8_t)kind, kind == PURSER_SUB_PATTERN ? pattern : channel,
		    channel, message);
}

static void h_subscribed(purser_ctx *x, uint32_t kind, purser_bytes name, int on)
{
	if (x->inst->hub)
		hub_subscribed(x->inst->hub, (uint8_t)kind, name, on != 0);
}

static void h_subscription_lost(purser_ctx *x)
{
	if (x->inst->hub)
		hub_lost(x->inst->hub);
}

static void h_invalidated(purser_ctx *x, const purser_bytes *keys, size_t n)
{
	if (x->inst->hub)
		hub_invalidated(x->inst->hub, keys, n);
}

/* ---- settings, accounts, log ---- */

static purser_bytes h_text(purser_instance *i, const char *key)
{
	const char *s = i->settings.text(i->settings.arg, key);

	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

static int64_t h_value(purser_instance *i, const char *key)
{
	return i->settings.value(i->settings.arg, key);
}

static uint32_t h_endpoint(purser_instance *i, const char *address, uint16_t port, const char *transport)
{
	uint32_t n, at;

	pthread_mutex_lock(&i->lock);
	n = atomic_load_explicit(&i->nendpoints, memory_order_relaxed);
	for (at = 1; at < n; at++)
		if (i->endpoints[at].port == port && !strcmp(i->endpoints[at].address, address) &&
		    !strcmp(i->endpoints[at].transport, transport))
			break;
	if (at == n && n < ENDPOINTS_MAX) {
		snprintf(i->endpoints[n].address, sizeof i->endpoints[n].address, "%s", address);
		snprintf(i->endpoints[n].transport, sizeof i->endpoints[n].transport, "%s", transport);
		i->endpoints[n].port = port;
		i->endpoints[n].metric_id = metric_endpoint(i->metrics, address, port, transport);
		atomic_store_explicit(&i->nendpoints, n + 1, memory_order_release);
	}
	pthread_mutex_unlock(&i->lock);
	return at < ENDPOINTS_MAX ? at : ENDPOINTS_MAX - 1;
}

static void add(_Atomic int64_t *v, int64_t d) /* one writer: the context's thread */
{
	atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + d, memory_order_relaxed);
}

/* Which connection it is nobody says: they are taken to succeed in the order they were begun, which
 * leaves the sum of the times exact. */
static void time_connection(purser_ctx *x, struct connecting *c, uint32_t from, uint32_t to)
{
	uint64_t now = x->loop ? loop_now(x->loop) : 0;

	if (to == PURSER_LINK_CONNECTING && c->n < CONNECTING_MAX) {
		c->since_ns[(c->first + c->n++) % CONNECTING_MAX] = now;
	} else if (from == PURSER_LINK_CONNECTING && c->n) {
		if (to && x->create_time)
			hist_record(x->create_time, now - c->since_ns[c->first]);
		c->first = (c->first + 1) % CONNECTING_MAX;
		c->n--;
	}
}

static void h_link_state(purser_ctx *x, uint32_t endpoint, uint32_t from, uint32_t to)
{
	if (endpoint >= ENDPOINTS_MAX || from >= LINK_STATES || to >= LINK_STATES)
		return;
	time_connection(x, &x->connecting[endpoint], from, to);
	if (from == PURSER_LINK_CONNECTING && to)
		x->links_made++;
	if (from)
		add(&x->links[endpoint][from], -1);
	if (to)
		add(&x->links[endpoint][to], 1);
}

static void h_count(purser_ctx *x, uint32_t metric, int64_t delta)
{
	if (metric < PLUGIN_METRICS_MAX)
		add(&x->metrics[metric], delta);
}

static void h_log(purser_instance *i, int level, const char *fmt, ...)
{
	enum log_level l = level <= PURSER_LOG_ERROR ? LOG_ERROR : level == PURSER_LOG_WARN ? LOG_WARN :
	    level <= PURSER_LOG_INFO ? LOG_INFO : LOG_DEBUG;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_event(i->log, LOG_M_PLUGIN, l, "plugin.message", text, LOG_STR("backend", i->name),
	    LOG_STR("plugin", i->p->name), LOG_KEY(text));
}

static const char *h_name(purser_instance *i)
{
	return i->name;
}

const purser_host host_table = {
	.struct_size = sizeof host_table, .api = PURSER_API, .features = 0,
	.encode = h_encode, .rewind = h_rewind, .raw = h_raw, .reserve = h_reserve, .commit = h_commit,
	.raw_ref = h_raw_ref, .status = h_status, .integer = h_integer, .bulk = h_bulk, .null = h_null,
	.number = h_number, .boolean = h_boolean, .array = h_array, .map = h_map, .set = h_set,
	.error = h_error, .sent = h_sent, .via = h_via, .end = h_end, .fail = h_fail,
	.ready = h_ready, .slot = h_slot, .now = h_now, .wall_ms = h_wall_ms, .watch = h_watch,
	.timer = h_timer, .untimer = h_untimer, .post = h_post, .offload = h_offload, .busy = h_busy,
	.publish = h_publish, .message = h_message, .subscribed = h_subscribed,
	.subscription_lost = h_subscription_lost, .invalidated = h_invalidated,
	.text = h_text, .value = h_value, .endpoint = h_endpoint, .link_state = h_link_state,
	.count = h_count, .log = h_log, .name = h_name,
};
