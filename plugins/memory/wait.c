/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients that wait for keys: see wait.h.
 */
#include <stdlib.h>
#include "project.h"
#include "script_long.h"
#include "wait.h"

#define BARRED_NS UINT64_C(10000000)   /* a script that takes long has the locks: so much later again */

static const char err_unblocked[] = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

struct waitlink {                      /* one client at one key */
	struct waitlink *next, *prev;
	struct waitkey *key;
	struct waiter *w;
	uint32_t arg;                      /* of the client's command: the key */
};

struct waitkey {
	struct waitkey *next;              /* in its bucket */
	struct waitkey *ready_next;
	struct waitlink *first, *last;
	uint64_t hash;
	uint32_t db;
	uint8_t ready, busy;               /* signalled; being served: it stays even if nobody waits */
	size_t n;
	uint8_t key[];
};

struct waits {                         /* of a shard; there is none where nobody waits */
	struct waitkey **bucket;
	uint32_t size, n;
};

struct waiter {
	purser_job job;                    /* gives the reply */
	struct ctx *cx;
	purser_call *c;
	struct waiter *next, *prev;        /* of the context */
	wait_fn *serve;
	uint64_t due_ns;
	uint32_t due_at;                   /* where in cx->due, from 1; 0: for ever */
	uint32_t nlinks, links_max;
	uint32_t mask;                     /* shards of its keys */
	size_t nkept;                      /* bytes behind the links */
	int wish;                          /* PURSER_CANCEL_*, to be fulfilled when it is due */
	uint8_t kind, served;              /* served: under the lock of any of its keys */
	struct tape tape;
	struct waitlink link[];
};

static size_t waiter_bytes(uint32_t links, size_t kept)
{
	return sizeof(struct waiter) + links * sizeof(struct waitlink) + kept;
}

/* ---- keys that somebody waits for ------------------------------------------------------------------------ */
static struct waitkey **key_slot(struct waits *t, uint64_t hash, uint32_t db, const void *key, size_t n)
{
	struct waitkey **p = &t->bucket[(hash >> SHARD_BITS) & (t->size - 1)];

	while (*p && ((*p)->hash != hash || (*p)->db != db || (*p)->n != n || memcmp((*p)->key, key, n) != 0))
		p = &(*p)->next;
	return p;
}

static struct waits *waits_new(struct ctx *cx)
{
	struct waits *t = own_get(cx, sizeof(*t));

	if (!t)
		return NULL;
	t->size = 8;
	t->n = 0;
	t->bucket = own_get(cx, t->size * sizeof(*t->bucket));
	if (!t->bucket) {
		own_put(cx, t, sizeof(*t));
		return NULL;
	}
	memset(t->bucket, 0, t->size * sizeof(*t->bucket));
	return t;
}

static void waits_free(struct ctx *cx, struct waits *t)
{
	own_put(cx, t->bucket, t->size * sizeof(*t->bucket));
	own_put(cx, t, sizeof(*t));
}

/* Without memory the chains are longer. */
static void waits_grow(struct ctx *cx, struct waits *t)
{
	struct waitkey **b = own_get(cx, 2 * t->size * sizeof(*b)), *k, *next;
	uint32_t i, size = 2 * t->size;

	if (!b)
		return;
	memset(b, 0, size * sizeof(*b));
	for (i = 0; i < t->size; i++)
		for (k = t->bucket[i]; k; k = next) {
			struct waitkey **to = &b[(k->hash >> SHARD_BITS) & (size - 1)];

			next = k->next;
			k->next = *to;
			*to = k;
		}
	own_put(cx, t->bucket, t->size * sizeof(*t->bucket));
	t->bucket = b;
	t->size = size;
}

static void key_drop(struct ctx *cx, struct waitkey *k)
{
	struct shard *s = &cx->st->shard[shard_of(k->hash)];

	if (k->first || k->ready || k->busy)
		return;
	*key_slot(s->waits, k->hash, k->db, k->key, k->n) = k->next;
	own_put(cx, k, sizeof(*k) + k->n);
	if (--s->waits->n == 0) {
		waits_free(cx, s->waits);
		s->waits = NULL;
	}
}

/* The key, made if it is not there; NULL: no memory. */
static struct waitkey *key_get(struct ctx *cx, uint32_t db, purser_bytes key, uint64_t hash)
{
	struct shard *s = &cx->st->shard[shard_of(hash)];
	struct waitkey **at, *k;

	if (!s->waits && !(s->waits = waits_new(cx)))
		return NULL;
	at = key_slot(s->waits, hash, db, key.p, key.n);
	if (*at)
		return *at;
	k = own_get(cx, sizeof(*k) + key.n);
	if (!k) {
		if (!s->waits->n) {
			waits_free(cx, s->waits);
			s->waits = NULL;
		}
		return NULL;
	}
	*k = (struct waitkey){ .hash = hash, .db = db, .n = key.n };
	if (key.n)
		memcpy(k->key, key.p, key.n);
	*at = k;
	if (++s->waits->n > 2 * s->waits->size)
		waits_grow(cx, s->waits);
	return k;
}

int wait_wanted(const struct store *st, uint64_t hash)
{
	const struct waits *t = st->shard[shard_of(hash)].waits;
	const struct waitkey *k = t ? t->bucket[(hash >> SHARD_BITS) & (t->size - 1)] : NULL;

	while (k && k->hash != hash)
		k = k->next;
	return k != NULL;
}

/* ---- links ---------------------------------------------------------------------------------------------------- */
/* 0, or -1: no memory.  A key that is named twice counts once. */
static int link_key(struct ctx *cx, struct waiter *w, uint32_t arg, uint64_t hash)
{
	struct waitkey *k = key_get(cx, w->c->db, w->c->argv[arg], hash);
	struct waitlink *l = &w->link[w->nlinks];

	if (!k)
		return -1;
	if (k->last && k->last->w == w)
		return 0;
	*l = (struct waitlink){ NULL, k->last, k, w, arg };
	if (k->last)
		k->last->next = l;
	else
		k->first = l;
	k->last = l;
	w->nlinks++;
	return 0;
}

static void unlink_all(struct ctx *cx, struct waiter *w)
{
	uint32_t i;

	for (i = 0; i < w->nlinks; i++) {
		struct waitlink *l = &w->link[i];

		if (l->prev)
			l->prev->next = l->next;
		else
			l->key->first = l->next;
		if (l->next)
			l->next->prev = l->prev;
		else
			l->key->last = l->prev;
		key_drop(cx, l->key);
	}
	w->nlinks = 0;
	atomic_fetch_sub_explicit(&cx->st->wait_kind[w->kind], 1, memory_order_relaxed);
}

/* On the thread of its context: 1, it is nobody else's any more; 0: it has been served; -1: that cannot be told
 * now, a script of another context has the locks and takes long (who is patient waits for its end). */
static int withdraw(struct waiter *w, int patient)
{
	struct ctx *cx = w->cx;
	uint32_t mask = w->mask & ~cx->held; /* a script of this context that has left is no danger */
	int mine;

	if (patient || cx->held)
		mask = shards_lock(cx, mask);
	else if (mask && shards_claim(cx, mask))
		return -1;
	mine = !w->served;
	if (mine)
		unlink_all(cx, w);
	shards_unlock(cx, mask);
	return mine;
}

/* ---- places: so many may wait, all contexts together ------------------------------------------------------------ */
static int place_free(struct store *st)
{
	return atomic_load(&st->nwaiting) < atomic_load(&st->wait_max);
}

/* A place may be free: the queue is offered again. */
static void place_told(void *arg)
{
	struct ctx *cx = arg;

	lock(&cx->st->wait_lock);
	cx->place_told = 0;
	unlock(&cx->st->wait_lock);
	cx->h->ready(cx->x, PURSER_ROUTE_EXCLUSIVE);
}

static void place_wanted(struct ctx *cx)
{
	struct store *st = cx->st;

	lock(&st->wait_lock);
	if (!cx->wants_place) {
		cx->wants_place = 1;
		cx->next_wanting = NULL;
		if (st->wanting)
			st->wanting_last->next_wanting = cx;
		else
			st->wanting = cx;
		st->wanting_last = cx;
		atomic_fetch_add(&st->nwanting, 1);
	}
	unlock(&st->wait_lock);
	if (place_free(st)) /* meanwhile: nobody may have seen that it is wanted */
		cx->h->ready(cx->x, PURSER_ROUTE_EXCLUSIVE);
}

static int place_take(struct ctx *cx)
{
	struct store *st = cx->st;

	if (atomic_fetch_add(&st->nwaiting, 1) < atomic_load(&st->wait_max))
		return 1;
	atomic_fetch_sub(&st->nwaiting, 1);
	place_wanted(cx);
	return 0;
}

/* Tells the one that has wanted a place for longest, or all of them. */
static void place_tell(struct store *st, int all)
{
	struct ctx *cx;

	lock(&st->wait_lock);
	while ((cx = st->wanting) != NULL) {
		st->wanting = cx->next_wanting;
		cx->wants_place = 0;
		atomic_fetch_sub(&st->nwanting, 1);
		if (!cx->place_told) {
			cx->place_told = 1;
			cx->place_job = (purser_job){ NULL, place_told, cx };
			st->h->post(cx->x, &cx->place_job);
		}
		if (!all)
			break;
	}
	unlock(&st->wait_lock);
}

static void place_give(struct store *st)
{
	atomic_fetch_sub(&st->nwaiting, 1);
	if (UNLIKELY(atomic_load(&st->nwanting)))
		place_tell(st, 0);
}

static void place_forget(struct ctx *cx)
{
	struct store *st = cx->st;
	struct ctx **p, *last = NULL;

	lock(&st->wait_lock);
	for (p = &st->wanting; cx->wants_place && *p; last = *p, p = &(*p)->next_wanting)
		if (*p == cx) {
			*p = cx->next_wanting;
			if (st->wanting_last == cx)
				st->wanting_last = last;
			atomic_fetch_sub(&st->nwanting, 1);
			break;
		}
	cx->wants_place = 0;
	unlock(&st->wait_lock);
}

void wait_limit(struct store *st, uint32_t max)
{
	atomic_store(&st->wait_max, max);
	place_tell(st, 1);
}

/* ---- deadlines: a heap with one timer of the host ------------------------------------------------------------------ */
static void due_put(struct ctx *cx, struct waiter *w, uint32_t at)
{
	cx->due[at - 1] = w;
	w->due_at = at;
}

static void due_up(struct ctx *cx, struct waiter *w, uint32_t at)
{
	for (; at > 1 && cx->due[at / 2 - 1]->due_ns > w->due_ns; at /= 2)
		due_put(cx, cx->due[at / 2 - 1], at);
	due_put(cx, w, at);
}

static void due_down(struct ctx *cx, struct waiter *w, uint32_t at)
{
	for (;;) {
		uint32_t child = 2 * at;

		if (child < cx->ndue && cx->due[child]->due_ns < cx->due[child - 1]->due_ns)
			child++;
		if (child > cx->ndue || cx->due[child - 1]->due_ns >= w->due_ns)
			break;
		due_put(cx, cx->due[child - 1], at);
		at = child;
	}
	due_put(cx, w, at);
}

static void due_remove(struct ctx *cx, struct waiter *w)
{
	struct waiter *last;
	uint32_t at = w->due_at;

	if (!at)
		return;
	w->due_at = 0;
	last = cx->due[--cx->ndue];
	if (last != w) {
		due_up(cx, last, at);
		due_down(cx, last, last->due_at);
	}
	if (cx->ndue == 0) {
		own_put(cx, cx->due, cx->due_cap * sizeof(*cx->due));
		cx->due = NULL;
		cx->due_cap = 0;
	}
}

static void due_fire(void *arg);

/* The timer is there for the first of them.  0, or -1: no memory. */
static int due_arm(struct ctx *cx)
{
	uint64_t at = cx->due[0]->due_ns, now = cx->h->now(cx->x), id;

	if (cx->due_timer && cx->due_timer_ns <= at)
		return 0;
	id = cx->h->timer(cx->x, at > now ? at - now : 0, due_fire, cx);
	if (!id)
		return -1;
	if (cx->due_timer)
		cx->h->untimer(cx->x, cx->due_timer);
	cx->due_timer = id;
	cx->due_timer_ns = at;
	return 0;
}

static int due_add(struct ctx *cx, struct waiter *w, int64_t ms)
{
	uint64_t now = cx->h->now(cx->x);

	if (ms == 0 || (uint64_t)ms > (UINT64_MAX - now) / 1000000)
		return 0;
	if (cx->ndue == cx->due_cap) {
		uint32_t cap = cx->due_cap ? 2 * cx->due_cap : 8;
		struct waiter **d = own_get(cx, cap * sizeof(*d));

		if (!d)
			return -1;
		if (cx->ndue)
			memcpy(d, cx->due, cx->ndue * sizeof(*d));
		own_put(cx, cx->due, cx->due_cap * sizeof(*d));
		cx->due = d;
		cx->due_cap = cap;
	}
	w->due_ns = now + (uint64_t)ms * 1000000;
	due_up(cx, w, ++cx->ndue);
	if (due_arm(cx) == 0)
		return 0;
	due_remove(cx, w);
	return -1;
}

/* ---- waiting ---------------------------------------------------------------------------------------------------------- */
/* It is on no list of a key any more. */
static purser_call *waiter_free(struct waiter *w)
{
	struct ctx *cx = w->cx;
	purser_call *c = w->c;

	due_remove(cx, w);
	if (w->prev)
		w->prev->next = w->next;
	else
		cx->waiters = w->next;
	if (w->next)
		w->next->prev = w->prev;
	tape_free(&w->tape, cx);
	own_put(cx, w, waiter_bytes(w->links_max, w->nkept));
	place_give(cx->st);
	return c;
}

/* It is nobody else's: it ends as why says. */
static void end_waiting(struct waiter *w, int why)
{
	struct ctx *cx = w->cx;
	int counts = w->kind == WAIT_NOTHING;
	purser_call *c = waiter_free(w);

	if (why == PURSER_CANCEL_UNBLOCK_ERROR)
		cx->h->error(c, err_unblocked, sizeof(err_unblocked) - 1);
	else if (why != PURSER_CANCEL_TIMEOUT && why != PURSER_CANCEL_UNBLOCK) {
		cx->h->fail(c, PURSER_E_CANCELLED, PURSER_NOT_EXECUTED, NULL);
		return;
	} else if (counts)
		reply_int(cx, c, 0);
	else
		reply_null_array(cx, c);
	cx->h->end(c);
}

static void due_fire(void *arg)
{
	struct ctx *cx = arg;
	uint64_t now = cx->h->now(cx->x);

	cx->due_timer = 0;
	while (cx->ndue && cx->due[0]->due_ns <= now) {
		struct waiter *w = cx->due[0];
		int mine = withdraw(w, 0);

		if (mine < 0) {
			w->due_ns = now + BARRED_NS;
			due_down(cx, w, 1);
			continue;
		}
		due_remove(cx, w);
		if (mine)
			end_waiting(w, w->wish ? w->wish : PURSER_CANCEL_TIMEOUT);
	}
	if (cx->ndue)
		due_arm(cx); /* without memory the host's own deadlines end them: wait_cancel() */
}

/* It has been served. */
static void deliver(void *arg)
{
	struct waiter *w = arg;
	struct ctx *cx = w->cx;

	tape_play(&w->tape, cx, w->c);
	cx->h->end(waiter_free(w));
}

static struct waiter *waiter_new(struct ctx *cx, purser_call *c, const struct wait_for *f)
{
	struct waiter *w = own_get(cx, waiter_bytes(f->keys, f->nkept));
	uint32_t i;

	if (!w)
		return NULL;
	*w = (struct waiter){ .cx = cx, .c = c, .serve = f->serve, .kind = (uint8_t)f->kind, .links_max = f->keys,
	    .nkept = f->nkept };
	if (f->nkept)
		memcpy(&w->link[f->keys], f->kept, f->nkept);
	w->job = (purser_job){ NULL, deliver, w };
	tape_init(&w->tape);
	atomic_fetch_add_explicit(&cx->st->wait_kind[w->kind], 1, memory_order_relaxed);
	for (i = 0; i < f->keys; i++) {
		if (link_key(cx, w, f->first + i, cx->hash[i]))
			break;
		w->mask |= 1u << shard_of(cx->hash[i]);
	}
	if (i == f->keys && due_add(cx, w, f->ms) == 0)
		return w;
	unlink_all(cx, w);
	own_put(cx, w, waiter_bytes(f->keys, f->nkept));
	return NULL;
}

const void *wait_kept(const purser_call *c)
{
	const struct waiter *w = c->user[0];

	return &w->link[w->links_max];
}

int wait_for_keys(struct ctx *cx, purser_call *c, const struct wait_for *f)
{
	struct waiter *w;

	if (!(c->flags & PURSER_CALL_BLOCKS))
		return 0;
	if (!place_take(cx)) {
		cx->outcome = PURSER_AGAIN;
		return 1;
	}
	w = waiter_new(cx, c, f);
	if (!w) {
		place_give(cx->st);
		reply_nomem(cx, c);
		return 1;
	}
	c->user[0] = w;
	w->next = cx->waiters;
	if (w->next)
		w->next->prev = w;
	cx->waiters = w;
	cx->outcome = PURSER_PENDING;
	return 1;
}

/* A wish that cannot be fulfilled now is in a moment. */
static void wish(struct waiter *w, int why)
{
	struct ctx *cx = w->cx;

	w->wish = why;
	due_remove(cx, w);
	if (due_add(cx, w, 1) == 0)
		return;
	if (withdraw(w, 1)) /* no memory for that */
		end_waiting(w, why);
}

void wait_cancel(void *cs, purser_call *c, int why)
{
	struct waiter *w = c->user[0];
	int mine = w ? withdraw(w, 0) : 0;

	(void)cs;
	if (mine > 0)
		end_waiting(w, why);
	else if (mine < 0)
		wish(w, why);
}

/* Who has been served has its job under way. */
void wait_drain(void *cs)
{
	struct ctx *cx = cs;
	struct waiter *w, *next;

	place_forget(cx);
	for (w = cx->waiters; w; w = next) {
		next = w->next;
		if (withdraw(w, 1))
			end_waiting(w, PURSER_CANCEL_SHUTDOWN);
	}
}

void wait_close(struct ctx *cx)
{
	wait_drain(cx);
	if (cx->ready) { /* others wait for these keys too */
		shards_lock(cx, SHARDS_ALL);
		wait_serve(cx);
		shards_unlock(cx, SHARDS_ALL);
	}
	if (cx->due_timer)
		cx->h->untimer(cx->x, cx->due_timer);
}

/* ---- serving ------------------------------------------------------------------------------------------------------------ */
int wait_room(struct ctx *cx, purser_call *c, size_t values, size_t bytes)
{
	return cx->h == &cx->st->tape ? tape_room(c->user[1], cx, values, bytes) : 0;
}

/* What a value of this type is waited for as; -1: nobody can wait for it. */
static int kind_of(const struct item *it)
{
	if (!it)
		return -1;
	switch (item_type(it)) {
	case TYPE_LIST:
		return WAIT_LIST;
	case TYPE_ZSET:
		return WAIT_ZSET;
	case TYPE_STREAM:
		return WAIT_STREAM;
	default:
		return -1;
	}
}

static void signal_key(struct ctx *cx, struct waitkey *k)
{
	if (k->ready)
		return;
	k->ready = 1;
	k->ready_next = NULL;
	if (cx->ready)
		cx->ready_last->ready_next = k;
	else
		cx->ready = k;
	cx->ready_last = k;
}

void wait_signal_key(struct ctx *cx, const struct pos *p, enum wait_kind kind)
{
	struct shard *s = &cx->st->shard[shard_of(p->hash)];
	struct waitkey *k;

	if (!atomic_load_explicit(&cx->st->wait_kind[kind], memory_order_relaxed))
		return;
	k = *key_slot(s->waits, p->hash, (uint32_t)(p->tp - s->db), p->key, p->klen);
	if (k)
		signal_key(cx, k);
}

void wait_signal_db(struct ctx *cx, uint32_t db)
{
	struct waitkey *k;
	uint32_t s, b;

	for (s = 0; s < SHARDS; s++) {
		struct waits *t = cx->st->shard[s].waits;

		for (b = 0; t && b < t->size; b++)
			for (k = t->bucket[b]; k; k = k->next)
				if (k->db == db)
					signal_key(cx, k);
	}
}

/* 1: it has been served.  Then its thread may have freed it by now. */
static int serve_one(struct ctx *cx, struct waitlink *l, struct pos *p)
{
	struct waiter *w = l->w;

	w->tape.cx = cx;
	w->c->user[1] = &w->tape;
	if (!w->serve(cx, w->c, p, l->arg))
		return 0;
	w->served = 1;
	unlink_all(cx, w);
	cx->h->post(w->cx->x, &w->job);
	return 1;
}

/* Those who wait for this kind of value, in the order in which they came. */
static void serve_kind(struct ctx *cx, struct waitkey *k, int kind)
{
	purser_bytes key = { k->key, k->n };
	struct waitlink *l, *next;
	struct pos p;

	key_find(cx, &p, k->db, key, k->hash, FIND_NOTOUCH);
	for (l = k->first; l; l = next) {
		next = l->next;
		if (l->w->kind != kind || !serve_one(cx, l, &p))
			continue;
		key_find(cx, &p, k->db, key, k->hash, FIND_NOTOUCH);
		if (kind != WAIT_STREAM && kind_of(p.it) != kind)
			return; /* the last element is gone */
	}
}

static void serve_key(struct ctx *cx, struct waitkey *k)
{
	purser_bytes key = { k->key, k->n };
	uint32_t was = account_enter(cx, project_of_key(cx, key));
	struct pos p;
	int kind;

	key_find(cx, &p, k->db, key, k->hash, FIND_NOTOUCH);
	kind = kind_of(p.it);
	if (kind >= 0 && kind != WAIT_STREAM)
		serve_kind(cx, k, kind);
	serve_kind(cx, k, WAIT_STREAM); /* they may have to be told that their stream is gone */
	account_enter(cx, was);
}

void wait_serve(struct ctx *cx)
{
	const purser_host *h = cx->h;
	struct waitkey *k, *next;

	if (cx->held != SHARDS_ALL) { /* a key that the command did not name, as one that has expired */
		shards_unlock(cx, cx->held);
		if (shards_claim(cx, SHARDS_ALL)) {
			script_await(cx); /* it takes long: behind it, wait_serve_beside() */
			return;
		}
	}
	cx->h = &cx->st->tape;
	while ((k = cx->ready) != NULL)
		for (cx->ready = NULL; k; k = next) {
			next = k->ready_next;
			k->ready = 0;
			k->busy = 1;
			serve_key(cx, k);
			k->busy = 0;
			key_drop(cx, k);
		}
	cx->h = h;
}

void wait_serve_beside(struct ctx *cx)
{
	if (!cx->ready || cx->held) /* held: a script has left for a while */
		return;
	wait_serve(cx);
	shards_unlock(cx, SHARDS_ALL);
}

void wait_put_back(struct ctx *cx, struct waitkey *first, struct waitkey *last)
{
	if (!first)
		return;
	last->ready_next = cx->ready;
	if (!cx->ready)
		cx->ready_last = last;
	cx->ready = first;
}
