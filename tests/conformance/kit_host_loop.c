/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: the host table without the calls: admission, loop, subscriptions, settings, accounts, log.
 */
#include <config.h>
#include "kit_host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mine(struct purser_ctx *x, const char *fn)
{
	if (!x) {
		kit_blame(5, "%s() without a context", fn);
		return false;
	}
	if (!pthread_equal(x->thread, pthread_self())) {
		kit_blame(5, "%s() from another thread than the context's", fn);
		return false;
	}
	if (x->state == CTX_CLOSED) {
		kit_blame(5, "%s() on a context that is closed", fn);
		return false;
	}
	return true;
}

/* ---- admission, loop ------------------------------------------------------------------------- */

void host_ready(purser_ctx *x, uint32_t route)
{
	if (!mine(x, "ready"))
		return;
	if (route >= ROUTES) {
		kit_blame(12, "ready() with route %u", route);
		return;
	}
	x->readies++;
	x->ready[route] = true;
	x->waits[route] = false;
	loop_again(x->loop); /* offered at the end of this turn, or of the next */
}

void **host_slot(purser_session *s, purser_ctx *x)
{
	static void *nowhere;
	struct purser_session *known = arena_owner(s, ARENA_SESSION);

	if (!mine(x, "slot"))
		return &nowhere;
	if (!known || known->x != x) {
		kit_blame(3, "slot() of a session that is not of this context");
		return &nowhere;
	}
	return &s->slot;
}

uint64_t host_now(purser_ctx *x)
{
	return mine(x, "now") ? loop_now(x->loop) : 0;
}

uint64_t host_wall_ms(purser_ctx *x)
{
	return mine(x, "wall_ms") ? loop_wall_ms(x->loop) : 0;
}

struct kit_watch {
	struct loop_io io; /* first */
	struct kit_watch *next;
	struct purser_ctx *x;
	purser_io_fn fn;
	void *arg;
};

static void on_io(struct loop_io *io, uint32_t events)
{
	struct kit_watch *w = (struct kit_watch *)io;
	struct purser_ctx *x = w->x;

	enter(x, "a watch function");
	w->fn(w->arg, io->fd, events); /* may remove w */
	leave(x);
}

int host_watch(purser_ctx *x, int fd, uint32_t events, purser_io_fn fn, void *arg)
{
	struct kit_watch **at, *w;
	int rc;

	if (!mine(x, "watch"))
		return -1;
	for (at = &x->watches; *at && (*at)->io.fd != fd; at = &(*at)->next)
		;
	w = *at;
	if (events == 0) {
		if (!w)
			return 0;
		if (fcntl(fd, F_GETFD) < 0)
			kit_blame(0, "descriptor %d was closed before it was unwatched", fd);
		loop_unwatch(x->loop, &w->io);
		*at = w->next;
		free(w);
		return 0;
	}
	if (events & ~(uint32_t)(PURSER_IO_IN | PURSER_IO_OUT | PURSER_IO_HUP) || !fn) {
		kit_blame(0, "watch() with events 0x%x%s", events, fn ? "" : " and no function");
		errno = EINVAL;
		return -1;
	}
	if (!w) {
		w = calloc(1, sizeof(*w));
		w->io.fn = on_io;
		w->x = x;
		w->next = x->watches;
		x->watches = w;
	}
	w->fn = fn;
	w->arg = arg;
	rc = loop_watch(x->loop, &w->io, fd, events);
	if (rc < 0) {
		for (at = &x->watches; *at != w; at = &(*at)->next)
			;
		*at = w->next;
		free(w);
		errno = -rc;
		return -1;
	}
	return 0;
}

struct kit_timer {
	struct loop_timer t; /* first */
	struct kit_timer *next;
	struct purser_ctx *x;
	uint64_t id;
	purser_fn fn;
	void *arg;
};

static void timer_drop(struct purser_ctx *x, struct kit_timer *t)
{
	struct kit_timer **at;

	for (at = &x->timers; *at != t; at = &(*at)->next)
		;
	*at = t->next;
	free(t);
}

static void on_timer(struct loop_timer *lt)
{
	struct kit_timer *t = (struct kit_timer *)lt;
	struct purser_ctx *x = t->x;
	purser_fn fn = t->fn;
	void *arg = t->arg;

	timer_drop(x, t);
	enter(x, "a timer function");
	fn(arg);
	leave(x);
}

uint64_t host_timer(purser_ctx *x, uint64_t delay_ns, purser_fn fn, void *arg)
{
	struct kit_timer *t;

	if (!mine(x, "timer"))
		return 0;
	t = calloc(1, sizeof(*t));
	*t = (struct kit_timer){ .t.fn = on_timer,
		.next = x->timers,
		.x = x,
		.id = ++x->timer_ids,
		.fn = fn,
		.arg = arg };
	x->timers = t;
	loop_timer_set(x->loop, &t->t, loop_now(x->loop) + delay_ns);
	return t->id;
}

void host_untimer(purser_ctx *x, uint64_t id)
{
	if (!mine(x, "untimer"))
		return;
	for (struct kit_timer *t = x->timers; t; t = t->next) {
		if (t->id == id) {
			loop_timer_stop(x->loop, &t->t);
			timer_drop(x, t);
			return;
		}
	}
}

struct letter { /* of post() */
	purser_job job; /* ours, that goes through the mailbox */
	purser_fn fn;
	void *arg;
	struct purser_ctx *x;
};

static void letter_open(void *arg)
{
	struct letter *l = arg, copy = *l;

	free(l);
	if (copy.x->state == CTX_CLOSED) {
		kit_blame(5, "a job was posted while close() ran, or after it");
		return;
	}
	enter(copy.x, "a posted job");
	copy.fn(copy.arg);
	leave(copy.x);
}

void host_post(purser_ctx *x, purser_job *job)
{
	struct letter *l;

	if (!x || x->state == CTX_CLOSED) {
		kit_blame(5, "post() to a context that is closed");
	} else if (!job || !job->fn) {
		kit_blame(5, "post() without a job");
	} else {
		l = calloc(1, sizeof(*l));
		*l = (struct letter){ { NULL, letter_open, l }, job->fn, job->arg, x };
		loop_post(x->loop, &l->job);
	}
}

struct errand { /* of offload() */
	struct purser_ctx *x;
	purser_job *work, *done, back;
};

static void errand_back(void *arg)
{
	struct errand *e = arg;
	struct purser_ctx *x = e->x;
	purser_job *done = e->done;

	free(e);
	atomic_fetch_sub(&x->offloads, 1);
	enter(x, "an offload's done function");
	done->fn(done->arg);
	leave(x);
}

static void *errand_run(void *arg)
{
	struct errand *e = arg;

	e->work->fn(e->work->arg);
	loop_post(e->x->loop, &e->back);
	return NULL;
}

void host_offload(purser_ctx *x, purser_job *work, purser_job *done)
{
	struct errand *e;
	pthread_t thread;

	if (!mine(x, "offload"))
		return;
	e = calloc(1, sizeof(*e));
	*e = (struct errand){ x, work, done, { NULL, errand_back, e } };
	atomic_fetch_add(&x->offloads, 1);
	if (pthread_create(&thread, NULL, errand_run, e) != 0)
		kit_stop(0, "the kit cannot make a thread");
	pthread_detach(thread);
}

int host_busy(purser_ctx *x)
{
	(void)mine(x, "busy");
	return 0;
}

/* ---- publish, subscribe ---------------------------------------------------------------------- */

uint64_t host_publish(
	purser_instance *i, uint32_t kind, purser_bytes channel, purser_bytes message)
{
	uint64_t receivers = 0;

	(void)message;
	atomic_fetch_add(&i->published, 1);
	pthread_mutex_lock(&i->lock);
	for (struct kit_sub *s = i->subs; s; s = s->next)
		receivers += s->on && s->kind == kind && buf_len(&s->name) == channel.n &&
		    memcmp(buf_data(&s->name), channel.p, channel.n) == 0;
	pthread_mutex_unlock(&i->lock);
	return receivers;
}

void host_message(purser_ctx *x, uint32_t kind, purser_bytes pattern, purser_bytes channel,
    purser_bytes message)
{
	struct kit_message *m;

	if (!mine(x, "message"))
		return;
	m = calloc(1, sizeof(*m));
	buf_printf(&m->text, "%u %.*s %.*s %.*s", kind, (int)pattern.n, (const char *)pattern.p,
		(int)channel.n, (const char *)channel.p, (int)message.n, (const char *)message.p);
	*x->messages_end = m;
	x->messages_end = &m->next;
}

void host_subscribed(purser_ctx *x, uint32_t kind, purser_bytes name, int on)
{
	struct purser_instance *i;
	struct kit_sub *s;

	if (!mine(x, "subscribed"))
		return;
	i = x->inst;
	pthread_mutex_lock(&i->lock);
	for (s = i->subs; s; s = s->next)
		if (s->kind == kind && buf_len(&s->name) == name.n &&
			memcmp(buf_data(&s->name), name.p, name.n) == 0)
			break;
	if (!s) {
		kit_blame(17, "subscribed(%.*s) that nobody asked for", (int)name.n,
			(const char *)name.p);
	} else {
		s->acks++;
		s->on = on;
	}
	pthread_mutex_unlock(&i->lock);
}

void host_subscription_lost(purser_ctx *x)
{
	if (mine(x, "subscription_lost"))
		x->lost++;
}

void host_invalidated(purser_ctx *x, const purser_bytes *keys, size_t n)
{
	if (!mine(x, "invalidated"))
		return;
	if (keys && n)
		x->invalidated++;
	else
		x->invalid_all++;
}

/* ---- settings, accounts, log ----------------------------------------------------------------- */

static struct kit_setting *setting(purser_instance *i, const char *key, const char *fn)
{
	if (i->phase != RIG_START && i->phase != RIG_PREPARE) {
		kit_blame(20, "%s(\"%s\") outside start() and prepare()", fn, key);
		return NULL;
	}
	if (!pthread_equal(i->control, pthread_self()))
		kit_blame(5, "%s() from another thread than the control thread", fn);
	for (uint32_t n = 0; n < i->nsettings; n++)
		if (strcmp(i->settings[n].key->name, key) == 0)
			return &i->settings[n];
	kit_blame(0, "%s(\"%s\"), which is not in the schema", fn, key);
	return NULL;
}

purser_bytes host_text(purser_instance *i, const char *key)
{
	struct kit_setting *s = setting(i, key, "text");
	const char *text = s ? s->text : "";

	return (purser_bytes){ (const uint8_t *)text, strlen(text) };
}

int64_t host_value(purser_instance *i, const char *key)
{
	struct kit_setting *s = setting(i, key, "value");

	return s ? s->value : 0;
}

uint32_t host_endpoint(
	purser_instance *i, const char *address, uint16_t port, const char *transport)
{
	uint32_t n;

	pthread_mutex_lock(&i->lock);
	for (n = 0; n < i->nendpoints; n++)
		if (i->endpoints[n].port == port && strcmp(i->endpoints[n].address, address) == 0 &&
		    strcmp(i->endpoints[n].transport, transport) == 0)
			break;
	if (n == LINKS)
		kit_stop(0, "more than %d different endpoints", LINKS);
	if (n == i->nendpoints) {
		if (strcmp(transport, "tcp") != 0 && strcmp(transport, "unix") != 0 &&
			strcmp(transport, "inproc") != 0)
			kit_blame(0, "endpoint() with the unknown transport \"%s\"", transport);
		i->endpoints[n].address = strdup(address);
		i->endpoints[n].transport = strdup(transport);
		i->endpoints[n].port = port;
		i->nendpoints++;
	}
	pthread_mutex_unlock(&i->lock);
	return n + 1;
}

void host_link_state(purser_ctx *x, uint32_t endpoint, uint32_t from, uint32_t to)
{
	struct purser_instance *i;

	if (!mine(x, "link_state"))
		return;
	i = x->inst;
	if (endpoint == 0 || endpoint > i->nendpoints || from > PURSER_LINK_USED ||
		to > PURSER_LINK_USED) {
		kit_blame(0, "link_state(endpoint %u, from %u, to %u)", endpoint, from, to);
		return;
	}
	pthread_mutex_lock(&i->lock);
	if (from != PURSER_LINK_NONE && --i->links[endpoint - 1][from] < 0)
		kit_blame(0, "link_state() takes a link out of state %u that has none", from);
	if (to != PURSER_LINK_NONE)
		i->links[endpoint - 1][to]++;
	pthread_mutex_unlock(&i->lock);
}

void host_count(purser_ctx *x, uint32_t metric, int64_t delta)
{
	if (!mine(x, "count"))
		return;
	if (metric >= kit.pl->p.nmetrics)
		kit_blame(0, "count() of metric %u: there are %u", metric, kit.pl->p.nmetrics);
	else if (kit.pl->metrics[metric].kind == PURSER_METRIC_COUNTER && delta < 0)
		kit_blame(0, "count(%s, %" PRId64 "): a counter never falls",
			kit.pl->metrics[metric].name, delta);
	else
		__atomic_fetch_add(&x->inst->metrics[metric], delta, __ATOMIC_RELAXED);
}

void host_log(purser_instance *i, int level, const char *fmt, ...)
{
	va_list ap;

	(void)i;
	if (level != PURSER_LOG_ERROR && level != PURSER_LOG_WARN && level != PURSER_LOG_INFO &&
	    level != PURSER_LOG_DEBUG)
		kit_blame(0, "log() with the unknown level %d", level);
	if (!kit.verbose)
		return;
	fprintf(stderr, "#   log %d: ", level);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

const char *host_name(purser_instance *i)
{
	(void)i;
	return "kit";
}

/* ---- for the rig ----------------------------------------------------------------------------- */

void host_release_refs(struct purser_ctx *x)
{
	struct kit_ref *ref, *list = x->refs;

	x->refs = NULL;
	while ((ref = list)) {
		list = ref->next;
		if (memcmp(ref->p, buf_data(&ref->k->reply.bytes) + ref->at, ref->n) != 0)
			kit_blame(8, "bytes of raw_ref() changed before they were released");
		enter(x, "a release function");
		if (ref->release)
			ref->release(ref->arg);
		leave(x);
		free(ref);
	}
}

void host_close_checks(struct purser_ctx *x)
{
	if (x->watches)
		kit_blame(0, "descriptor %d is still watched after close()", x->watches->io.fd);
	if (x->timers)
		kit_blame(0, "a timer is still set after close()");
	while (x->watches) {
		struct kit_watch *w = x->watches;

		x->watches = w->next;
		loop_unwatch(x->loop, &w->io);
		free(w);
	}
	while (x->timers) {
		loop_timer_stop(x->loop, &x->timers->t);
		timer_drop(x, x->timers);
	}
}
