/* SPDX-License-Identifier: Apache-2.0
 *
 * WATCH, UNWATCH: see watch.h.
 */
#include "cmd.h"
#include "script_long.h"
#include "watch.h"

#define BUCKETS 16u                    /* at first; a power of two */

struct watch {                         /* one key of one session */
	struct watch *next, **at;      /* in its bucket */
	struct watch *more;            /* of its session */
	struct watcher *by;
	uint64_t hash;
	uint32_t db;
	size_t klen;
	uint8_t key[];
};

struct watcher {                       /* in the session's slot */
	struct watcher *next, **at;    /* of the context */
	struct watch *first;
	_Atomic uint32_t changed;      /* set under the lock of a shard that has one of its keys */
	int over;                      /* to be ended when a script that takes long has ended */
};

struct watch_table {
	size_t n, buckets;
	struct watch *bucket[];
};

/* ---- the tables ------------------------------------------------------------------------------------------ */
static struct watch **bucket_of(struct watch_table *t, uint64_t hash, uint32_t db)
{
	return &t->bucket[((hash >> SHARD_BITS) + db) & (t->buckets - 1)];
}

static void put_in(struct watch_table *t, struct watch *v)
{
	struct watch **b = bucket_of(t, v->hash, v->db);

	v->next = *b;
	v->at = b;
	if (v->next)
		v->next->at = &v->next;
	*b = v;
}

static size_t table_bytes(size_t buckets)
{
	return sizeof(struct watch_table) + buckets * sizeof(struct watch *);
}

static struct watch_table *table_new(struct ctx *cx, size_t buckets)
{
	struct watch_table *t = own_get(cx, table_bytes(buckets));

	if (!t)
		return NULL;
	memset(t, 0, table_bytes(buckets));
	t->buckets = buckets;
	return t;
}

static void table_drop(struct ctx *cx, struct watch_table *t) { own_put(cx, t, table_bytes(t->buckets)); }

/* Without memory the chains become longer. */
static void grow(struct ctx *cx, struct watch_table **tp)
{
	struct watch_table *t = *tp, *larger = table_new(cx, 2 * t->buckets);
	struct watch *v, *next;
	size_t i;

	if (!larger)
		return;
	larger->n = t->n;
	for (i = 0; i < t->buckets; i++)
		for (v = t->bucket[i]; v; v = next) {
			next = v->next;
			put_in(larger, v);
		}
	table_drop(cx, t);
	*tp = larger;
}

static struct watch_table **shard_table(struct ctx *cx, uint64_t hash)
{
	return &cx->st->shard[shard_of(hash)].watched;
}

static int is_key(const struct watch *v, uint32_t db, uint64_t hash, purser_bytes key)
{
	return v->hash == hash && v->db == db && v->klen == key.n && memcmp(v->key, key.p, key.n) == 0;
}

/* Writers look for watched keys while there are any. */
static void count(struct store *st, int64_t d)
{
	lock(&st->watch_lock);
	st->watches += d;
	heard_set(st, HEARD_WATCH, st->watches > 0);
	unlock(&st->watch_lock);
}

/* ---- watching -------------------------------------------------------------------------------------------- */
static void drop(struct ctx *cx, struct watch *v)
{
	own_put(cx, v, sizeof(*v) + v->klen);
}

/* Under the locks: the key becomes one of w's, unless it is already.  0, or -1: no memory. */
static int watch_key(struct ctx *cx, struct watcher *w, uint32_t db, uint64_t hash, purser_bytes key)
{
	struct watch_table **t = shard_table(cx, hash);
	struct watch *v;

	for (v = *t ? *bucket_of(*t, hash, db) : NULL; v; v = v->next)
		if (v->by == w && is_key(v, db, hash, key))
			return 0;
	v = own_get(cx, sizeof(*v) + key.n);
	if (!v)
		return -1;
	if (!*t && !(*t = table_new(cx, BUCKETS))) {
		own_put(cx, v, sizeof(*v) + key.n);
		return -1;
	}
	v->by = w;
	v->hash = hash;
	v->db = db;
	v->klen = key.n;
	if (key.n)
		memcpy(v->key, key.p, key.n);
	v->more = w->first;
	w->first = v;
	if (++(*t)->n > 2 * (*t)->buckets)
		grow(cx, t);
	put_in(*t, v);
	return 0;
}

/* Those in front of `until` are not watched any more; each shard's lock is held or taken.  0, or -1: some are left, a
 * script has the locks and takes long (who is patient waits for its end). */
static int unwatch(struct ctx *cx, struct watcher *w, const struct watch *until, int patient)
{
	struct watch *v;
	int64_t n = 0;

	while ((v = w->first) != until) {
		uint32_t mine = 1u << shard_of(v->hash);
		struct watch_table **t;

		if (patient || cx->held)
			mine = shards_lock(cx, mine);
		else if (shards_claim(cx, mine))
			break;
		t = shard_table(cx, v->hash);

		w->first = v->more;
		*v->at = v->next;
		if (v->next)
			v->next->at = v->at;
		if (--(*t)->n == 0) {
			table_drop(cx, *t);
			*t = NULL;
		}
		shards_unlock(cx, mine);
		drop(cx, v);
		n++;
	}
	if (n)
		count(cx->st, -n);
	return v == until ? 0 : -1;
}

static struct watcher *watcher_new(struct ctx *cx)
{
	struct watcher *w = own_get(cx, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct watcher){ .next = cx->watchers, .at = &cx->watchers };
	if (w->next)
		w->next->at = &w->next;
	cx->watchers = w;
	return w;
}

static void watcher_free(struct ctx *cx, struct watcher *w)
{
	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
	own_put(cx, w, sizeof(*w));
}

void watch_end(struct ctx *cx, struct watcher *w)
{
	if (unwatch(cx, w, NULL, 0) == 0) {
		watcher_free(cx, w);
		return;
	}
	w->over = 1;
	script_await(cx);
}

void watch_tidy(struct ctx *cx)
{
	struct watcher *w, *next;

	for (w = cx->watchers; w; w = next) {
		next = w->next;
		if (w->over)
			watch_end(cx, w);
	}
}

void watch_end_all(struct ctx *cx)
{
	struct watcher *w;

	while ((w = cx->watchers) != NULL) {
		unwatch(cx, w, NULL, 1);
		watcher_free(cx, w);
	}
}

void op_watch(struct ctx *cx, purser_call *c)
{
	void **slot = cx->h->slot(c->session, cx->x);
	struct watcher *w = *slot ? *slot : watcher_new(cx);
	const struct watch *had = w ? w->first : NULL, *v;
	int64_t n = 0;
	struct pos p;
	uint32_t i;

	for (i = 1; w && i < c->argc; i++) {
		arg_find(cx, c, i, i - 1, &p, FIND_NOTOUCH); /* what is dead goes now */
		if (watch_key(cx, w, c->db, cx->hash[i - 1], c->argv[i]))
			break;
	}
	for (v = w ? w->first : NULL; v != had; v = v->more)
		n++;
	if (n)
		count(cx->st, n); /* before the locks are let go */
	if (w && i == c->argc) {
		*slot = w;
		reply_ok(cx, c);
		return;
	}
	if (w && *slot)
		unwatch(cx, w, had, 1); /* under the locks of this command */
	else if (w)
		watch_end(cx, w);
	reply_nomem(cx, c);
}

/* The session's watch is over, if it has one. */
static void session_unwatch(struct ctx *cx, purser_session *s)
{
	void **slot = cx->h->slot(s, cx->x);

	if (*slot)
		watch_end(cx, *slot);
	*slot = NULL;
}

void op_unwatch(struct ctx *cx, purser_call *c)
{
	session_unwatch(cx, c->session);
	reply_ok(cx, c);
}

/* ---- changes --------------------------------------------------------------------------------------------- */
static void changed(struct watch *v) { atomic_store_explicit(&v->by->changed, 1, memory_order_relaxed); }

void watch_touch(struct ctx *cx, uint32_t db, purser_bytes key)
{
	uint64_t hash = hash_key(cx->st, key.p, key.n);
	struct watch_table *t = *shard_table(cx, hash);
	struct watch *v;

	for (v = t ? *bucket_of(t, hash, db) : NULL; v; v = v->next)
		if (is_key(v, db, hash, key))
			changed(v);
}

static int is_there(struct ctx *cx, const struct watch *v, uint32_t db)
{
	struct pos p;

	return key_find(cx, &p, db, (purser_bytes){ v->key, v->klen }, v->hash, FIND_NOTOUCH) != NULL;
}

/* What is watched in this database, and is in one of the two, has changed. */
static void replaced(struct ctx *cx, uint32_t db, uint32_t by)
{
	struct watch *v;
	uint32_t s;
	size_t i;

	for (s = 0; s < SHARDS; s++) {
		struct watch_table *t = cx->st->shard[s].watched;

		for (i = 0; t && i < t->buckets; i++)
			for (v = t->bucket[i]; v; v = v->next)
				if (v->db == db && (is_there(cx, v, db) || is_there(cx, v, by)))
					changed(v);
	}
}

void watch_flush(struct ctx *cx, uint32_t db)
{
	if (events_heard(cx) & HEARD_WATCH)
		replaced(cx, db, db);
}

void watch_swap(struct ctx *cx, uint32_t a, uint32_t b)
{
	if (!(events_heard(cx) & HEARD_WATCH) || a == b)
		return;
	replaced(cx, a, b);
	replaced(cx, b, a);
}

void watch_forget(struct ctx *cx, const purser_call *c)
{
	if (c->route == PURSER_ROUTE_PINNED)
		session_unwatch(cx, c->session);
}

int watch_exec(struct ctx *cx, const purser_call *c)
{
	struct watcher *w;
	struct watch *v;
	int failed;

	if (c->route != PURSER_ROUTE_PINNED || !(w = *cx->h->slot(c->session, cx->x)))
		return 0;
	for (v = w->first; v; v = v->more)
		is_there(cx, v, v->db); /* what has expired goes, and that is a change */
	failed = (int)atomic_load_explicit(&w->changed, memory_order_relaxed);
	session_unwatch(cx, c->session);
	return failed;
}
