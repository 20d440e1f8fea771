/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of names is changed by the home alone, under the lock; what other threads read of it (is
 * the store subscribed to, how many subscribers has each worker) they read under the lock.
 */
#include <config.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/glob.h>
#include "backend/hub.h"
#include "backend/instance.h"
#include "base/names.h"

#define RETRY_NS UINT64_C(200000000) /* between two attempts to subscribe again */

enum state { OFF, ASKED_ON, ON, ASKED_OFF };

struct entry {
	struct names_node node;       /* first */
	uint8_t kind, state;
	bool dirty;                   /* in the list of those to be looked at */
	struct entry *next_dirty;
	struct entry *next_pattern, *prev_pattern;
	struct hub_ask *wait;         /* not answered yet */
	uint32_t nwanted;
	uint8_t *wanted;              /* [workers]: answered that it is on */
	uint32_t *local;              /* [workers]: confirmed subscribers */
	purser_bytes name;
};

struct tracked {                  /* a prefix below which somebody wants to hear of changes */
	struct tracked *next;
	bool effective;               /* the store has begun to tell */
	uint32_t nwanted;
	uint8_t *wanted;              /* [workers] */
	purser_bytes prefix;
};

struct port {
	struct loop *loop;
	void *worker;
};

struct hub {
	_Atomic uint32_t refs;
	char name[64];
	struct log *log;
	uint32_t nworkers, home;
	_Atomic bool keep;
	struct port *port;            /* [workers] */
	hub_deliver_fn deliver;
	pthread_mutex_t lock;
	struct names names;
	struct entry *patterns;
	_Atomic uint32_t nnames;
	/* the home's */
	struct purser_ctx *x;         /* NULL: not open (any more) */
	struct entry *dirty;
	bool working;                 /* work is posted, or runs */
	purser_job work;
	struct loop_timer retry;
	struct tracked *tracked;
};

struct post {
	purser_job job;
	struct hub_msg *m;
	uint32_t worker;
};

/* ---- life ---- */

struct hub *hub_new(uint32_t workers, uint32_t home, const char *name, struct log *log)
{
	struct hub *h = calloc(1, sizeof *h);

	if (h)
		h->port = calloc(workers, sizeof *h->port);
	if (!h || !h->port) {
		free(h);
		return NULL;
	}
	h->refs = 1;
	h->nworkers = workers;
	h->home = home;
	h->log = log;
	snprintf(h->name, sizeof h->name, "%s", name);
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void hub_ref(struct hub *h)
{
	atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
}

static void entry_free(struct hub *h, struct entry *e)
{
	pthread_mutex_lock(&h->lock);
	names_remove(&h->names, &e->node);
	if (e->kind == PURSER_SUB_PATTERN) {
		if (e->prev_pattern)
			e->prev_pattern->next_pattern = e->next_pattern;
		else
			h->patterns = e->next_pattern;
		if (e->next_pattern)
			e->next_pattern->prev_pattern = e->prev_pattern;
	}
	pthread_mutex_unlock(&h->lock);
	atomic_fetch_sub_explicit(&h->nnames, 1, memory_order_relaxed);
	free(e);
}

void hub_unref(struct hub *h)
{
	struct tracked *t;

	if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
		return;
	while (h->names.n)
		entry_free(h, (struct entry *)names_each(&h->names, NULL));
	while ((t = h->tracked)) {
		h->tracked = t->next;
		free(t);
	}
	pthread_mutex_destroy(&h->lock);
	free(h->port);
	free(h);
}

void hub_keep(struct hub *h, bool keep)
{
	atomic_store_explicit(&h->keep, keep, memory_order_relaxed);
}

bool hub_empty(const struct hub *h)
{
	return atomic_load_explicit(&h->nnames, memory_order_relaxed) == 0;
}

/* ---- entries ---- */

static struct entry *find(struct hub *h, uint8_t kind, purser_bytes name, uint64_t *hash)
{
	*hash = names_hash(kind, name.p, name.n);
	for (struct names_node *at = names_first(&h->names, *hash); at; at = names_next(at)) {
		struct entry *e = (struct entry *)at;

		if (e->kind == kind && e->name.n == name.n && memcmp(e->name.p, name.p, name.n) == 0)
			return e;
	}
	return NULL;
}

static struct entry *entry_of(struct hub *h, uint8_t kind, purser_bytes name)
{
	uint64_t hash;
	struct entry *e = find(h, kind, name, &hash);
	size_t at = sizeof *e + h->nworkers * sizeof *e->local;
	int rc;

	if (e)
		return e;
	e = calloc(1, at + h->nworkers + name.n);
	if (!e)
		return NULL;
	e->kind = kind;
	e->local = (uint32_t *)(e + 1);
	e->wanted = (uint8_t *)e + at;
	e->name = (purser_bytes){ e->wanted + h->nworkers, name.n };
	if (name.n)
		memcpy(e->wanted + h->nworkers, name.p, name.n);
	pthread_mutex_lock(&h->lock);
	rc = names_add(&h->names, &e->node, hash);
	if (!rc && kind == PURSER_SUB_PATTERN) {
		e->next_pattern = h->patterns;
		if (h->patterns)
			h->patterns->prev_pattern = e;
		h->patterns = e;
	}
	pthread_mutex_unlock(&h->lock);
	if (rc) {
		free(e);
		return NULL;
	}
	atomic_fetch_add_explicit(&h->nnames, 1, memory_order_relaxed);
	return e;
}

static void set_state(struct hub *h, struct entry *e, enum state s)
{
	pthread_mutex_lock(&h->lock);
	e->state = (uint8_t)s;
	pthread_mutex_unlock(&h->lock);
}

/* ---- blocks ---- */

void hub_msg_ref(struct hub_msg *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

void hub_msg_unref(void *arg)
{
	struct hub_msg *m = arg;

	if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	hub_unref(m->hub);
	free(m);
}

static void no_memory(struct hub *h, const char *what)
{
	log_event(h->log, LOG_M_BACKEND, LOG_ERROR, "pubsub.lost", what, LOG_STR("backend", h->name));
}

/* A block with room for a post to each worker, and size bytes behind. */
static struct hub_msg *msg_new(struct hub *h, enum hub_what what, size_t size, uint8_t **bytes)
{
	struct hub_msg *m = calloc(1, sizeof *m + h->nworkers * sizeof(struct post) + size);

	if (!m)
		return NULL;
	m->refs = 1;
	m->what = (uint8_t)what;
	m->hub = h;
	hub_ref(h);
	*bytes = (uint8_t *)(m + 1) + h->nworkers * sizeof(struct post);
	return m;
}

static void arrived(void *arg) /* on the worker */
{
	struct post *p = arg;
	struct hub *h = p->m->hub;

	h->deliver(h->port[p->worker].worker, p->m);
	hub_msg_unref(p->m);
}

static void post_to(struct hub_msg *m, uint32_t worker)
{
	struct hub *h = m->hub;
	struct post *p = (struct post *)(m + 1) + m->nposts++;

	if (!h->port[worker].loop)
		return;
	hub_msg_ref(m);
	p->m = m;
	p->worker = worker;
	p->job.fn = arrived;
	p->job.arg = p;
	loop_post(h->port[worker].loop, &p->job);
}

static purser_bytes put(uint8_t **at, purser_bytes b)
{
	purser_bytes there = { *at, b.n };

	if (b.n)
		memcpy(*at, b.p, b.n);
	*at += b.n;
	return there;
}

/* To every worker that has subscribers of e (the lock is held); how many subscribers. */
static uint64_t send_message(struct hub *h, const struct entry *e, purser_bytes channel,
    purser_bytes message)
{
	struct hub_msg *m = NULL;
	uint64_t n = 0;
	uint8_t *at;

	for (uint32_t w = 0; w < h->nworkers; w++) {
		if (!e->local[w])
			continue;
		if (!m) {
			m = msg_new(h, HUB_MESSAGE, e->name.n + channel.n + message.n, &at);
			if (!m) {
				no_memory(h, "no memory for a message: it does not reach its subscribers");
				return 0;
			}
			m->kind = e->kind;
			m->name = put(&at, e->name);
			m->channel = put(&at, channel);
			m->message = put(&at, message);
		}
		n += e->local[w];
		post_to(m, w);
	}
	if (m)
		hub_msg_unref(m);
	return n;
}

static void tell_lost(struct hub *h, const char *why)
{
	uint8_t *at;
	struct hub_msg *m = msg_new(h, HUB_LOST, strlen(why), &at);

	if (!m) {
		no_memory(h, "no memory to tell subscribers that they hear nothing any more");
		return;
	}
	m->message = put(&at, (purser_bytes){ (const uint8_t *)why, strlen(why) });
	for (uint32_t w = 0; w < h->nworkers; w++)
		post_to(m, w);
	hub_msg_unref(m);
}

/* ---- the home ---- */

static void answer_on_worker(void *arg)
{
	struct hub_ask *a = arg;
	struct hub *h = a->hub;

	a->answered(a);
	hub_unref(h);
}

static void answer(struct hub_ask *a, bool ok)
{
	a->ok = ok;
	a->job.fn = answer_on_worker;
	a->job.arg = a;
	loop_post(a->hub->port[a->worker].loop, &a->job);
}

static bool desired(const struct entry *e)
{
	if (e->nwanted)
		return true;
	for (const struct hub_ask *a = e->wait; a; a = a->next)
		if (a->on)
			return true;
	return false;
}

static void want(struct entry *e, uint32_t worker, bool on)
{
	e->nwanted += on;
	e->nwanted -= e->wanted[worker];
	e->wanted[worker] = on;
}

/* Those who wait for it to be on are refused. */
static void refuse(struct entry *e)
{
	struct hub_ask **p = &e->wait, *a;

	while ((a = *p)) {
		if (!a->on) {
			p = &a->next;
			continue;
		}
		*p = a->next;
		answer(a, false);
	}
}

/* Those whose wish has come true are told. */
static void settle(struct entry *e)
{
	bool on = e->state == ON, off = e->state == OFF || desired(e);
	struct hub_ask **p = &e->wait, *a;

	while ((a = *p)) {
		if (a->on ? !on : !off) {
			p = &a->next;
			continue;
		}
		*p = a->next;
		if (a->on)
			want(e, a->worker, true);
		answer(a, true);
	}
}

static int ask_plugin(struct hub *h, const struct entry *e, bool on)
{
	return h->x && h->x->p->subscribe ? h->x->p->subscribe(h->x->cs, e->kind, e->name, on) : -1;
}

static void work_later(struct hub *h);

static void retry_fired(struct loop_timer *t)
{
	struct hub *h = (struct hub *)((char *)t - offsetof(struct hub, retry));

	for (struct names_node *at = names_each(&h->names, NULL); at; at = names_each(&h->names, at)) {
		struct entry *e = (struct entry *)at;

		if (!e->dirty && e->state == OFF && desired(e)) {
			e->dirty = true;
			e->next_dirty = h->dirty;
			h->dirty = e;
		}
	}
	work_later(h);
}

/* What the store is asked for, by what is wanted and what is. */
static void evaluate(struct hub *h, struct entry *e)
{
	settle(e);
	if (e->state == OFF && desired(e)) {
		set_state(h, e, ASKED_ON);
		if (ask_plugin(h, e, true)) {
			set_state(h, e, OFF);
			refuse(e);
			if (desired(e) && h->x)
				loop_timer_set(h->x->loop, &h->retry, loop_now(h->x->loop) + RETRY_NS);
		}
	} else if (e->state == ON && !desired(e)) {
		set_state(h, e, ASKED_OFF);
		if (ask_plugin(h, e, false))
			set_state(h, e, OFF);
	}
	settle(e);
	if (e->state == OFF && !e->wait && !e->nwanted && !e->dirty)
		entry_free(h, e);
}

/* Never from inside a host-table function: it calls the plugin. */
static void work(void *arg)
{
	struct hub *h = arg;
	struct entry *e;

	while ((e = h->dirty)) {
		h->dirty = e->next_dirty;
		e->dirty = false;
		evaluate(h, e);
	}
	h->working = false;
	hub_unref(h);
}

static void work_later(struct hub *h)
{
	if (h->working)
		return;
	h->working = true;
	hub_ref(h);
	h->work.fn = work;
	h->work.arg = h;
	loop_post(h->port[h->home].loop, &h->work);
}

static void mark(struct hub *h, struct entry *e)
{
	if (!e->dirty) {
		e->dirty = true;
		e->next_dirty = h->dirty;
		h->dirty = e;
	}
	work_later(h);
}

static void asked(void *arg) /* on the home */
{
	struct hub_ask *a = arg;
	struct hub *h = a->hub;
	uint64_t hash;
	struct entry *e;

	if (!a->kind) { /* a fence: behind all that was sent until now */
		answer(a, true);
		return;
	}
	e = a->on && h->x ? entry_of(h, a->kind, a->name) : find(h, a->kind, a->name, &hash);
	if (!e) { /* closed, or no memory; what is not there is off */
		answer(a, !a->on);
		return;
	}
	if (!a->on)
		want(e, a->worker, false);
	a->next = e->wait;
	e->wait = a;
	if (!e->dirty)
		evaluate(h, e);
}

void hub_send(struct hub_ask *a)
{
	hub_ref(a->hub); /* until it is answered */
	a->job.fn = asked;
	a->job.arg = a;
	loop_post(a->hub->port[a->hub->home].loop, &a->job);
}

void hub_attach(struct hub *h, struct purser_ctx *x, void *worker, hub_deliver_fn deliver)
{
	h->deliver = deliver;
	h->port[x->worker].worker = worker;
	h->port[x->worker].loop = x->loop;
	if (x->worker == h->home) {
		h->x = x;
		h->retry.fn = retry_fired;
	}
}

static void lose(struct hub *h, bool keep, const char *why)
{
	struct entry *e;
	bool any = false;

	for (struct names_node *at = names_each(&h->names, NULL); at; at = names_each(&h->names, at)) {
		e = (struct entry *)at;
		any |= e->nwanted != 0;
		set_state(h, e, OFF);
		refuse(e);
		settle(e);
		if (!keep) {
			e->nwanted = 0;
			memset(e->wanted, 0, h->nworkers);
			pthread_mutex_lock(&h->lock);
			memset(e->local, 0, h->nworkers * sizeof *e->local);
			pthread_mutex_unlock(&h->lock);
		}
		mark(h, e);
	}
	if (any && !keep)
		tell_lost(h, why);
	if (any)
		log_event(h->log, LOG_M_BACKEND, LOG_WARN, "pubsub.link.lost", keep ? "the subscription "
		    "connection was lost: messages may be missing; subscribing again" : "the subscription "
		    "connection was lost: its subscribers are closed", LOG_STR("backend", h->name));
}

void hub_detach(struct hub *h, struct purser_ctx *x)
{
	if (x->worker != h->home)
		return;
	h->x = NULL;
	loop_timer_stop(x->loop, &h->retry);
	lose(h, false, "the backend is being closed");
}

/* ---- from the plugin ---- */

void hub_subscribed(struct hub *h, uint8_t kind, purser_bytes name, bool on)
{
	uint64_t hash;
	struct entry *e = find(h, kind, name, &hash);

	if (!e)
		return;
	if (on && e->state == ASKED_ON) {
		set_state(h, e, ON);
	} else if (!on && (e->state == ASKED_ON || e->state == ASKED_OFF)) {
		bool refused = e->state == ASKED_ON;

		set_state(h, e, OFF);
		if (refused)
			refuse(e);
		if (refused && desired(e)) { /* subscribed again, in vain: not at once */
			loop_timer_set(h->x->loop, &h->retry, loop_now(h->x->loop) + RETRY_NS);
			return;
		}
	}
	mark(h, e);
}

void hub_lost(struct hub *h)
{
	lose(h, atomic_load_explicit(&h->keep, memory_order_relaxed),
	    "the subscription connection to the backend was lost: connect and subscribe again");
}

void hub_message(struct hub *h, uint8_t kind, purser_bytes name, purser_bytes channel,
    purser_bytes message)
{
	struct entry *e;
	uint64_t hash;

	pthread_mutex_lock(&h->lock);
	e = find(h, kind, name, &hash);
	if (e)
		send_message(h, e, channel, message);
	pthread_mutex_unlock(&h->lock);
}

/* ---- any thread ---- */

uint64_t hub_publish(struct hub *h, uint8_t kind, purser_bytes channel, purser_bytes message)
{
	struct entry *e;
	uint64_t n = 0, hash;

	if (hub_empty(h))
		return 0;
	pthread_mutex_lock(&h->lock);
	e = find(h, kind, channel, &hash);
	if (e)
		n = send_message(h, e, channel, message);
	for (e = kind == PURSER_SUB_CHANNEL ? h->patterns : NULL; e; e = e->next_pattern)
		if (purser_glob(e->name.p, e->name.n, channel.p, channel.n))
			n += send_message(h, e, channel, message);
	pthread_mutex_unlock(&h->lock);
	return n;
}

static uint64_t locals(const struct hub *h, const struct entry *e)
{
	uint64_t n = 0;

	for (uint32_t w = 0; w < h->nworkers; w++)
		n += e->local[w];
	return n;
}

/* In place of our one subscription, those who share it. */
static int64_t corrected(const struct hub *h, const struct entry *e, int64_t store)
{
	return store - (e->state == ON) + (int64_t)locals(h, e);
}

int64_t hub_subscribers(struct hub *h, uint8_t kind, purser_bytes name, int64_t store)
{
	struct entry *e;
	uint64_t hash;

	pthread_mutex_lock(&h->lock);
	e = find(h, kind, name, &hash);
	if (e)
		store = store < 0 ? (int64_t)locals(h, e) : corrected(h, e, store);
	pthread_mutex_unlock(&h->lock);
	return store < 0 ? 0 : store;
}

int64_t hub_receivers(struct hub *h, uint8_t kind, purser_bytes channel, int64_t store)
{
	struct entry *e;
	uint64_t hash;

	if (hub_empty(h))
		return store;
	pthread_mutex_lock(&h->lock);
	e = find(h, kind, channel, &hash);
	if (e)
		store = corrected(h, e, store);
	for (e = kind == PURSER_SUB_CHANNEL ? h->patterns : NULL; e; e = e->next_pattern)
		if (purser_glob(e->name.p, e->name.n, channel.p, channel.n))
			store = corrected(h, e, store);
	pthread_mutex_unlock(&h->lock);
	return store < 0 ? 0 : store;
}

void hub_visit(struct hub *h, uint8_t kind, void (*fn)(void *arg, purser_bytes name), void *arg)
{
	pthread_mutex_lock(&h->lock);
	for (struct names_node *at = names_each(&h->names, NULL); at; at = names_each(&h->names, at)) {
		struct entry *e = (struct entry *)at;

		if (e->kind == kind && locals(h, e))
			fn(arg, e->name);
	}
	pthread_mutex_unlock(&h->lock);
}

void hub_count(struct hub *h, uint8_t kind, purser_bytes name, uint32_t worker, uint32_t n)
{
	struct entry *e;
	uint64_t hash;

	pthread_mutex_lock(&h->lock);
	e = find(h, kind, name, &hash);
	if (e)
		e->local[worker] = n;
	pthread_mutex_unlock(&h->lock);
}

/* ---- changes of keys ---- */

struct wish {                     /* hub_track() on its way to the home */
	purser_job job;
	struct hub *hub;
	uint32_t worker;
	bool on;
	size_t n;
	uint8_t prefix[];
};

static struct tracked *tracked_of(struct hub *h, purser_bytes prefix, bool make)
{
	struct tracked *t = h->tracked;

	while (t && (t->prefix.n != prefix.n || memcmp(t->prefix.p, prefix.p, prefix.n)))
		t = t->next;
	if (t || !make)
		return t;
	t = calloc(1, sizeof *t + h->nworkers + prefix.n);
	if (!t)
		return NULL;
	t->wanted = (uint8_t *)(t + 1);
	t->prefix = (purser_bytes){ t->wanted + h->nworkers, prefix.n };
	if (prefix.n)
		memcpy(t->wanted + h->nworkers, prefix.p, prefix.n);
	t->next = h->tracked;
	h->tracked = t;
	return t;
}

static bool tracks(const struct hub *h, uint32_t worker)
{
	for (const struct tracked *t = h->tracked; t; t = t->next)
		if (t->wanted[worker])
			return true;
	return false;
}

/* To one worker, or (UINT32_MAX) to all that want to hear. */
static void send_keys(struct hub *h, const purser_bytes *keys, size_t n, uint32_t only)
{
	size_t size = n * sizeof *keys;
	struct hub_msg *m;
	purser_bytes *copy;
	uint8_t *at;

	for (size_t i = 0; i < n; i++)
		size += keys[i].n;
	m = msg_new(h, HUB_INVALID, size, &at);
	if (!m && n) { /* less exact, not less true */
		send_keys(h, NULL, 0, only);
		return;
	}
	if (!m) {
		no_memory(h, "no memory to tell clients that their caches are not valid any more");
		return;
	}
	copy = (purser_bytes *)(void *)at;
	at += n * sizeof *copy;
	for (size_t i = 0; i < n; i++)
		copy[i] = put(&at, keys[i]);
	m->keys = copy;
	m->nkeys = (uint32_t)n;
	for (uint32_t w = 0; w < h->nworkers; w++)
		if (only == UINT32_MAX ? tracks(h, w) : w == only)
			post_to(m, w);
	hub_msg_unref(m);
}

static void wished(void *arg) /* on the home */
{
	struct wish *wish = arg;
	struct hub *h = wish->hub;
	struct tracked *t = tracked_of(h, (purser_bytes){ wish->prefix, wish->n }, wish->on), **p;
	uint32_t before = t ? t->nwanted : 0;

	if (t) {
		t->nwanted += wish->on;
		t->nwanted -= t->wanted[wish->worker];
		t->wanted[wish->worker] = wish->on;
	}
	if (t && !before && t->nwanted && h->x && h->x->p->track &&
	    h->x->p->track(h->x->cs, t->prefix, 1))
		no_memory(h, "the plugin does not tell of changed keys");
	else if (t && before && t->nwanted && wish->on && t->effective)
		send_keys(h, NULL, 0, wish->worker); /* what it did not hear until now */
	if (t && !t->nwanted) {
		if (before && h->x && h->x->p->track)
			h->x->p->track(h->x->cs, t->prefix, 0);
		for (p = &h->tracked; *p != t; p = &(*p)->next)
			;
		*p = t->next;
		free(t);
	}
	hub_unref(h);
	free(wish);
}

void hub_track(struct hub *h, purser_bytes prefix, uint32_t worker, bool on)
{
	struct wish *w = malloc(sizeof *w + prefix.n);

	if (!w) {
		no_memory(h, "no memory to ask for changes of keys");
		return;
	}
	hub_ref(h);
	*w = (struct wish){ .hub = h, .worker = worker, .on = on, .n = prefix.n };
	if (prefix.n)
		memcpy(w->prefix, prefix.p, prefix.n);
	w->job.fn = wished;
	w->job.arg = w;
	loop_post(h->port[h->home].loop, &w->job);
}

void hub_invalidated(struct hub *h, const purser_bytes *keys, size_t n)
{
	for (struct tracked *t = n ? NULL : h->tracked; t; t = t->next)
		t->effective = true;
	send_keys(h, keys, n, UINT32_MAX);
}
