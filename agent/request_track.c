/* SPDX-License-Identifier: Apache-2.0
 *
 * The store tells of changes on one connection and answers reads on others, so an invalidation can
 * overtake the reply that it is about.  That is why a read is noted before it is sent, and an
 * invalidation of a key with reads under way waits until the last of their replies is out.
 *
 * NOLOOP: what is told does not say who wrote.  A write of the client itself that has surely changed its key
 * (request_noloop.c) will be told of at least once, so one message is taken for it, the next one that comes
 * behind its sending.  Two writes under way together may be told of in one message: one is taken for both.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "request_noloop.h"
#include "request_track.h"

struct track_area {                 /* tracking clients of one prefix of one instance, on this worker */
	struct track_area *next;
	struct hub *hub;                /* a reference */
	struct worker *w;
	bool effective;                 /* the store tells */
	struct tracking *clients;
	struct track_wait *waiting;     /* for that */
	size_t prefix_len;
	uint8_t prefix[];
};

struct track_wait {                 /* CLIENT TRACKING ON that is not answered yet */
	struct track_wait *next;
	struct track_area *area;
	struct request *r;
	struct loop_timer timer;
};

struct tracked_key {
	struct names_node node;         /* first */
	struct track_area *area;
	struct tracked_key *older, *newer;
	struct interest *first;
	size_t n;
	uint8_t name[];                 /* as clients know it */
};

struct interest {
	struct tracked_key *key;
	struct tracking *t;
	struct interest *next_of_key, *prev_of_key;
	struct interest *next, *prev;   /* of the client */
	uint32_t inflight;              /* reads, and writes of its own, whose replies are not out */
	uint32_t told;                  /* so often it has changed meanwhile */
	uint32_t owed;                  /* ... and so often it will, by the client itself */
	bool own;                       /* one of those under way, or answered since, is its own and has changed it */
};
#define TOLD_ALL (UINT32_MAX / 2) /* nobody knows how often */

struct track_reads {                /* of one request: in its arena */
	uint64_t epoch;                 /* of the client's tracking: another one has other interests */
	enum noloop_proof proof;        /* of a write of its own */
	struct noloop_filter reply;
	uint32_t n, cap;
	struct interest *v[];
};

/* ---- invalidations out ---- */

static void put_line(struct buf *b, char type, uint64_t n)
{
	buf_putc(b, type);
	buf_putu(b, n);
	buf_put(b, "\r\n", 2);
}

/* The frame for whoever is told: keys[0..n), or (n 0) everything. */
static void put_frame(struct buf *b, uint8_t resp, const purser_bytes *keys, uint32_t n)
{
	buf_puts(b, resp == 3 ? ">2\r\n$10\r\ninvalidate\r\n" :
	    "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n");
	if (!n)
		buf_puts(b, resp == 3 ? "_\r\n" : "$-1\r\n");
	else
		put_line(b, '*', n);
	for (uint32_t i = 0; i < n; i++) {
		put_line(b, '$', keys[i].n);
		buf_put(b, keys[i].p, keys[i].n);
		buf_put(b, "\r\n", 2);
	}
}

/* RESP2 has no pushes: who speaks it hears as messages what another client reads, if it is subscribed to
 * anything. */
static void tell_client(struct client *c, bool others, const purser_bytes *keys, uint32_t n)
{
	struct buf b = { 0 };

	if (c->resp != 3 && !(others && c->outband && c->outband->first))
		return;
	put_frame(&b, c->resp, keys, n);
	if (b.failed || !client_outband(c))
		c->cut = true; /* it would keep what is not true any more */
	else
		push_bytes(c, buf_data(&b), buf_len(&b));
	buf_free(&b);
}

/* To another client, which may be another worker's. */
struct redirected {
	purser_job job;
	struct worker *w, *from;
	uint64_t id, from_id;
	uint32_t n;
	purser_bytes keys[];
};

static struct client *client_by_id(struct worker *w, uint64_t id)
{
	struct client *c = w->clients;

	while (c && (c->session.id != id || c->gone))
		c = c->next;
	return c;
}

static void redirect_broken(void *arg) /* back on the tracking client's worker */
{
	struct redirected *d = arg;
	struct client *c = client_by_id(d->from, d->from_id);
	struct tracking *t = c && c->outband ? c->outband->tracking : NULL;
	struct buf b = { 0 };

	if (t && t->redirect == d->id && !t->broken) {
		t->broken = true;
		buf_printf(&b, ">2\r\n$21\r\ntracking-redir-broken\r\n:%llu\r\n", (unsigned long long)d->id);
		if (c->resp == 3 && !b.failed)
			push_bytes(c, buf_data(&b), buf_len(&b));
		buf_free(&b);
	}
	free(d);
}

static void redirect_arrives(void *arg)
{
	struct redirected *d = arg;
	struct client *c = client_by_id(d->w, d->id);

	if (c) {
		tell_client(c, true, d->keys, d->n);
		free(d);
		return;
	}
	d->job.fn = redirect_broken;
	loop_post(d->from->loop, &d->job);
}

static void tell(struct tracking *t, const purser_bytes *keys, uint32_t n)
{
	size_t size = n * sizeof *keys;
	struct redirected *d;
	uint8_t *at;

	if (!t->redirect) {
		tell_client(t->c, false, keys, n);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		size += keys[i].n;
	d = malloc(sizeof *d + size);
	if (!d) {
		log_event(t->c->w->log, LOG_M_REQUEST, LOG_ERROR, "tracking.lost", "no memory for an invalidation: "
		    "its client is cut", LOG_UINT("client.id", t->c->session.id));
		t->c->cut = true;
		t->c->wake(t->c);
		return;
	}
	*d = (struct redirected){ .w = t->c->w->peers[t->redirect_worker], .from = t->c->w,
		.id = t->redirect, .from_id = t->c->session.id, .n = n };
	at = (uint8_t *)&d->keys[n];
	for (uint32_t i = 0; i < n; i++) {
		d->keys[i] = (purser_bytes){ at, keys[i].n };
		if (keys[i].n)
			memcpy(at, keys[i].p, keys[i].n);
		at += keys[i].n;
	}
	d->job.fn = redirect_arrives;
	d->job.arg = d;
	loop_post(d->w->loop, &d->job);
}

/* ---- the table ---- */

static uint64_t hash_of(const struct track_area *a, purser_bytes name)
{
	return names_hash((uint64_t)(uintptr_t)a, name.p, name.n);
}

static struct tracked_key *key_find(struct track_area *a, purser_bytes name, uint64_t hash)
{
	for (struct names_node *at = names_first(&a->w->tracked, hash); at; at = names_next(at)) {
		struct tracked_key *k = (struct tracked_key *)at;

		if (k->area == a && k->n == name.n && !memcmp(k->name, name.p, name.n))
			return k;
	}
	return NULL;
}

static void key_free(struct tracked_key *k)
{
	struct worker *w = k->area->w;

	names_remove(&w->tracked, &k->node);
	*(k->older ? &k->older->newer : &w->oldest_key) = k->newer;
	*(k->newer ? &k->newer->older : &w->newest_key) = k->older;
	free(k);
}

static void interest_free(struct interest *i)
{
	struct tracked_key *k = i->key;

	*(i->prev_of_key ? &i->prev_of_key->next_of_key : &k->first) = i->next_of_key;
	if (i->next_of_key)
		i->next_of_key->prev_of_key = i->prev_of_key;
	*(i->prev ? &i->prev->next : &i->t->first) = i->next;
	if (i->next)
		i->next->prev = i->prev;
	free(i);
	if (!k->first)
		key_free(k);
}

/* The key has changed for whoever has read it.  Those with reads under way are told behind the reply. */
static void key_changed(struct tracked_key *k)
{
	purser_bytes name = { k->name, k->n };
	struct interest *i, *next;

	for (i = k->first; i; i = next) {
		next = i->next_of_key;
		if (i->inflight) {
			i->told++;
			continue;
		}
		if (i->owed) { /* in BCAST mode tell_bcast() counts */
			i->owed -= !(i->t->options & TRACK_BCAST);
			continue;
		}
		tell(i->t, &name, 1);
		interest_free(i); /* the last one frees the key */
	}
}

/* Over the limit: the key that was read first is forgotten, and those who read it are told so. */
static void make_room(struct worker *w)
{
	struct tracked_key *k = w->oldest_key;

	for (uint32_t tries = 0; k && w->tracked.n >= w->gen->tracking_max_keys && tries < 16; tries++) {
		struct tracked_key *newer = k->newer;

		key_changed(k);
		k = newer;
	}
}

static struct interest *interest_find(struct tracking *t, purser_bytes name)
{
	struct tracked_key *k = key_find(t->area, name, hash_of(t->area, name));
	struct interest *i = k ? k->first : NULL;

	while (i && i->t != t)
		i = i->next_of_key;
	return i;
}

static struct interest *interest_of(struct tracking *t, purser_bytes name)
{
	struct track_area *a = t->area;
	struct worker *w = a->w;
	uint64_t hash = hash_of(a, name);
	struct tracked_key *k = key_find(a, name, hash);
	struct interest *i = k ? k->first : NULL;

	while (i && i->t != t)
		i = i->next_of_key;
	if (i)
		return i;
	if (!k) {
		make_room(w);
		k = calloc(1, sizeof *k + name.n);
		if (!k)
			return NULL;
		k->area = a;
		k->n = name.n;
		if (name.n)
			memcpy(k->name, name.p, name.n);
		if (names_add(&w->tracked, &k->node, hash)) {
			free(k);
			return NULL;
		}
		k->older = w->newest_key;
		*(k->older ? &k->older->newer : &w->oldest_key) = k;
		w->newest_key = k;
	}
	i = calloc(1, sizeof *i);
	if (!i) {
		if (!k->first)
			key_free(k);
		return NULL;
	}
	i->key = k;
	i->t = t;
	i->next_of_key = k->first;
	if (k->first)
		k->first->prev_of_key = i;
	k->first = i;
	i->next = t->first;
	if (t->first)
		t->first->prev = i;
	t->first = i;
	return i;
}

/* ---- reads ---- */

/* Does the command read what is at its keys?  A script may. */
static bool reads(const struct command *c)
{
	return (c->flags & (F_READONLY | F_MAYWRITE)) != 0;
}

/* May the client keep what this command answers?  In BCAST mode reads are noted for their order alone. */
static bool wanted(const struct tracking *t)
{
	if (t->options & TRACK_OPTIN)
		return t->caching;
	return !((t->options & TRACK_OPTOUT) && t->caching);
}

static bool below(purser_bytes key, const void *prefix, size_t n)
{
	return key.n >= n && memcmp(key.p, prefix, n) == 0;
}

/* Would a change of the key be told to the client, if it has read it? */
static bool concerns(const struct tracking *t, purser_bytes key)
{
	bool match = t->nprefixes == 0;

	if (!t->area->prefix_len && below(key, "psr:", 4)) /* the agent's own */
		return false;
	for (uint32_t i = 0; i < t->nprefixes && !match; i++)
		match = below(key, t->prefix[i].p, t->prefix[i].n);
	return match;
}

/* r->reads with room for n more: a transaction has many commands.  NULL: no memory. */
static struct track_reads *reads_of(struct request *r, uint32_t n)
{
	struct track_reads *had = r->reads, *v = had;
	uint32_t cap;

	if (had && had->cap - had->n >= n)
		return had;
	cap = had ? had->n + (n > had->n ? n : had->n) : n;
	v = arena_get(&r->arena, sizeof *v + (size_t)cap * sizeof v->v[0]);
	if (!v)
		return NULL;
	v->epoch = r->cl->outband->track_epoch;
	v->proof = NOLOOP_NONE;
	v->n = had ? had->n : 0;
	v->cap = cap;
	if (v->n)
		memcpy(v->v, had->v, v->n * sizeof v->v[0]);
	return r->reads = v;
}

static void note(struct request *r, const struct command *cmd, const purser_bytes *argv, uint32_t argc)
{
	struct tracking *t = r->cl->outband->tracking;
	uint32_t n = cmd_key_count(cmd, argv, argc), *at;
	struct track_reads *v;

	if (!n || !reads(cmd))
		return;
	at = arena_get(&r->arena, n * sizeof *at);
	v = at ? reads_of(r, n) : NULL;
	if (!v) {
		r->cl->cut = true; /* it would never hear that what it reads has changed */
		return;
	}
	n = cmd_keys(cmd, argv, argc, at);
	for (uint32_t k = 0; k < n; k++) {
		struct interest *i;

		if (!concerns(t, argv[at[k]]))
			continue;
		i = interest_of(t, argv[at[k]]);
		if (!i) {
			r->cl->cut = true;
			break;
		}
		i->inflight++;
		v->v[v->n++] = i;
	}
}

/* A write of its own: of which keys must a change be taken for that? */
static void note_write(struct request *r)
{
	enum noloop_proof proof = noloop_proof(r->cmd, r->argv, r->argc);
	struct tracking *t = r->cl->outband->tracking;
	uint32_t n = cmd_key_count(r->cmd, r->argv, r->argc), *at;
	struct track_reads *v;

	if (proof == NOLOOP_NONE || !n || r->b.discard)
		return;
	at = arena_get(&r->arena, n * sizeof *at);
	v = at ? reads_of(r, n) : NULL;
	if (!v)
		return; /* it is told of its own write */
	n = cmd_keys(r->cmd, r->argv, r->argc, at);
	for (uint32_t k = 0; k < n; k++) {
		purser_bytes key = r->argv[at[k]];
		struct interest *i = concerns(t, key) ? interest_find(t, key) : NULL;

		if (!i && t->options & TRACK_BCAST && concerns(t, key))
			i = interest_of(t, key);
		if (!i)
			continue;
		i->inflight++;
		v->v[v->n++] = i;
	}
	if (!v->n)
		return;
	v->proof = proof;
	noloop_listen(&v->reply, r);
}

void track_command(struct request *r)
{
	struct tracking *t = r->cl->outband->tracking;
	uint32_t queued;

	if (tx_open(r->cl, &queued)) /* its commands are noted when EXEC sends them */
		return;
	if (t->options & TRACK_NOLOOP && r->cmd->flags & F_WRITE && r->cmd->run == RUN_BACKEND)
		note_write(r);
	if (r->cmd->run == RUN_BACKEND && wanted(t))
		note(r, r->cmd, r->argv, r->argc);
	if (r->cmd->id != CMD_MULTI && strncmp(r->cmd->name, "CLIENT|", 7))
		t->caching = false;
}

void track_part(struct request *r, const struct command *cmd, const purser_bytes *argv, uint32_t argc)
{
	struct outband *o = r->cl->outband;

	if (o && o->tracking && wanted(o->tracking))
		note(r, cmd, argv, argc);
}

void track_parts_end(struct request *r)
{
	if (r->cl->outband && r->cl->outband->tracking)
		r->cl->outband->tracking->caching = false;
}

/* Nothing of the key is under way any more: what was told of it meanwhile is its own, or news. */
static void settle(struct interest *i)
{
	purser_bytes name = { i->key->name, i->key->n };
	uint32_t mine = i->owed + i->own;
	bool news = i->told > mine;

	i->owed = news ? 0 : mine - i->told;
	i->told = 0;
	i->own = false;
	if (news)
		tell(i->t, &name, 1);
	if (news || (i->t->options & TRACK_BCAST && !i->owed))
		interest_free(i);
}

void track_replied(struct client *c, struct request *r)
{
	struct track_reads *v = r->reads;

	bool own;

	if (v->epoch != c->outband->track_epoch)
		return;
	own = v->proof && noloop_proved(&v->reply, v->proof);
	for (uint32_t k = 0; k < v->n; k++) {
		struct interest *i = v->v[k];

		i->own |= own;
		if (--i->inflight == 0)
			settle(i);
	}
	r->reads = NULL;
}

/* ---- changes ---- */

/* Has the change been noted for a reply that is under way, or was it the client's own? */
static bool silent(struct tracking *t, purser_bytes key)
{
	struct interest *i = interest_find(t, key);

	if (!i || i->inflight)
		return i != NULL;
	if (!i->owed)
		return false;
	if (--i->owed == 0)
		interest_free(i);
	return true;
}

/* A client in BCAST mode: those keys of the message that begin with one of its prefixes. */
static void tell_bcast(struct tracking *t, const struct hub_msg *m, purser_bytes *keys)
{
	struct track_area *a = t->area;
	uint32_t n = 0;

	for (uint32_t k = 0; k < m->nkeys; k++) {
		purser_bytes key = m->keys[k];

		if (!below(key, a->prefix, a->prefix_len))
			continue;
		key.p += a->prefix_len;
		key.n -= a->prefix_len;
		if (concerns(t, key) && !silent(t, key))
			keys[n++] = key; /* the others wait: key_changed() has noted it */
	}
	if (n)
		tell(t, keys, n);
}

static void area_all(struct track_area *a)
{
	for (struct tracking *t = a->clients, *next; t; t = next) {
		bool any = t->first || t->options & TRACK_BCAST;

		next = t->next;
		for (struct interest *i = t->first, *n; i; i = n) {
			n = i->next;
			if (i->inflight)
				i->told = TOLD_ALL;
			else
				interest_free(i);
		}
		if (any)
			tell(t, NULL, 0);
	}
}

static void area_begins(struct track_area *a);

void track_deliver(struct worker *w, struct hub_msg *m)
{
	purser_bytes *keys = m->nkeys ? malloc(m->nkeys * sizeof *keys) : NULL;

	for (struct track_area *a = w->areas, *next; a; a = next) {
		next = a->next;
		if (a->hub != m->hub)
			continue;
		if (!m->nkeys && !a->effective) {
			area_begins(a); /* may end it */
			continue;
		}
		if (!keys) { /* no memory, or no names: everything */
			area_all(a);
			continue;
		}
		for (uint32_t k = 0; k < m->nkeys; k++) {
			purser_bytes key = m->keys[k];
			struct tracked_key *found;

			if (!below(key, a->prefix, a->prefix_len))
				continue;
			key.p += a->prefix_len;
			key.n -= a->prefix_len;
			found = key_find(a, key, hash_of(a, key));
			if (found)
				key_changed(found);
		}
		for (struct tracking *t = a->clients; t; t = t->next)
			if (t->options & TRACK_BCAST)
				tell_bcast(t, m, keys);
	}
	free(keys);
}

/* ---- beginning and end ---- */

static struct track_area *area_of(struct client *c)
{
	const struct project *p = c->project;
	struct hub *h = c->w->ctx[p->instance]->inst->hub;
	struct track_area *a = c->w->areas;

	while (a && (a->hub != h || a->prefix_len != p->prefix_len || memcmp(a->prefix, p->prefix, p->prefix_len)))
		a = a->next;
	if (a)
		return a;
	a = calloc(1, sizeof *a + p->prefix_len);
	if (!a)
		return NULL;
	a->hub = h;
	hub_ref(h);
	a->w = c->w;
	a->prefix_len = p->prefix_len;
	memcpy(a->prefix, p->prefix, p->prefix_len);
	a->next = c->w->areas;
	c->w->areas = a;
	hub_track(h, (purser_bytes){ a->prefix, a->prefix_len }, c->w->index, true);
	return a;
}

/* Nobody tracks there any more. */
static void area_leave(struct track_area *a)
{
	struct track_area **p = &a->w->areas;

	if (a->clients)
		return;
	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	hub_track(a->hub, (purser_bytes){ a->prefix, a->prefix_len }, a->w->index, false);
	hub_unref(a->hub);
	free(a);
}

static void answer(struct track_wait *v, enum err_code err)
{
	struct request *r = v->r;
	struct track_wait **p = &v->area->waiting;

	while (*p != v)
		p = &(*p)->next;
	*p = v->next;
	loop_timer_stop(r->cl->w->loop, &v->timer);
	free(v);
	if (err) {
		track_end(r->cl);
		reply_failure(&r->b, err, "the backend does not tell of changed keys now: nothing would be invalidated");
	} else {
		reply_status(&r->b, "OK");
	}
	req_finish(r);
}

static void too_late(struct loop_timer *lt)
{
	answer((struct track_wait *)((char *)lt - offsetof(struct track_wait, timer)), ERR_BACKENDDOWN);
}

static void area_begins(struct track_area *a)
{
	struct track_wait *v, *next;

	a->effective = true;
	for (v = a->waiting; v; v = next) {
		next = v->next;
		answer(v, ERR_NONE);
	}
}

static int copy_prefixes(struct tracking *t, const struct track_opts *o)
{
	size_t size = 0;
	uint8_t *at;

	if (!o->nprefixes)
		return 0;
	for (uint32_t i = 0; i < o->nprefixes; i++)
		size += o->prefix[i].n;
	t->prefix = malloc(o->nprefixes * sizeof *t->prefix + size);
	if (!t->prefix)
		return -1;
	at = (uint8_t *)(t->prefix + o->nprefixes);
	for (uint32_t i = 0; i < o->nprefixes; i++) {
		t->prefix[i] = (purser_bytes){ at, o->prefix[i].n };
		if (o->prefix[i].n)
			memcpy(at, o->prefix[i].p, o->prefix[i].n);
		at += o->prefix[i].n;
	}
	t->nprefixes = o->nprefixes;
	return 0;
}

static struct tracking *tracking_new(struct client *c, const struct track_opts *o)
{
	struct tracking *t = calloc(1, sizeof *t);

	if (!t || copy_prefixes(t, o) || !(t->area = area_of(c))) {
		if (t)
			free(t->prefix);
		free(t);
		return NULL;
	}
	t->c = c;
	t->next = t->area->clients;
	if (t->next)
		t->next->prev = t;
	t->area->clients = t;
	return t;
}

/* Other options for a client that tracks already: what it has read stays noted. */
static int change(struct tracking *t, const struct track_opts *o)
{
	purser_bytes *old = t->prefix;

	t->prefix = NULL;
	if (copy_prefixes(t, o)) {
		t->prefix = old;
		return -1;
	}
	if (!o->nprefixes)
		t->nprefixes = 0;
	free(old);
	return 0;
}

static void fail(struct request *r)
{
	reply_failure(&r->b, ERR_OOM, NULL);
	req_finish(r);
}

void track_start(struct request *r, const struct track_opts *o)
{
	struct client *c = r->cl;
	struct tracking *t = client_outband(c) ? c->outband->tracking : NULL;
	struct track_wait *v;

	if (!c->outband || (t ? change(t, o) : !(t = tracking_new(c, o)))) {
		fail(r);
		return;
	}
	c->outband->tracking = t;
	t->options = o->options;
	t->redirect = o->redirect;
	t->redirect_worker = o->redirect_worker;
	t->broken = t->caching = false;
	if (t->area->effective) {
		reply_status(&r->b, "OK");
		req_finish(r);
		return;
	}
	v = calloc(1, sizeof *v);
	if (v)
		v->timer.fn = too_late;
	if (!v || loop_timer_set(c->w->loop, &v->timer, r->start_ns +
	    c->w->ctx[r->project->instance]->inst->operation_timeout_ns)) {
		free(v);
		track_end(c);
		fail(r);
		return;
	}
	v->r = r;
	v->area = t->area;
	v->next = t->area->waiting;
	t->area->waiting = v;
}

void track_end(struct client *c)
{
	struct tracking *t = c->outband ? c->outband->tracking : NULL;
	struct track_wait *v;

	if (!t)
		return;
	c->outband->tracking = NULL;
	c->outband->track_epoch++; /* requests under way have no reads to settle any more */
	while (t->first)
		interest_free(t->first);
	*(t->prev ? &t->prev->next : &t->area->clients) = t->next;
	if (t->next)
		t->next->prev = t->prev;
	for (v = t->area->waiting; v && v->r->cl != c; v = v->next)
		;
	if (v) /* gone in the middle of it */
		answer(v, ERR_NONE);
	area_leave(t->area);
	free(t->prefix);
	free(t);
}
