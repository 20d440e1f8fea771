/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "backend/guard.h"
#include "backend/instance.h"
#include "base/names.h"
#include "feature/touch.h"

struct touch_key {
	struct names_node node;         /* first */
	struct touch_table *table;
	struct purser_instance *inst;
	struct feature_worker *owner;
	struct touch *t;                /* the owner's thread alone; NULL: forgotten */
	_Atomic bool written;
	uint32_t db;
	uint32_t refs;                  /* under the lock: the touch, and notes */
	size_t n;
	uint8_t name[];
};

struct touch_table {
	pthread_mutex_t lock;
	struct names keys;
	uint32_t of[INSTANCES_MAX];     /* how many of each instance */
};

struct touch_note {
	struct feature_mail mail;
	struct touch_table *table;
	struct feature_worker *home;
	void (*end)(struct feature_worker *home, void *arg, uint64_t id);
	void *arg;
	uint64_t id;
	uint32_t n, cap, at;
	struct touch_key *v[];
};

struct touch_table *touch_table_new(void)
{
	struct touch_table *x = calloc(1, sizeof *x);

	if (x)
		pthread_mutex_init(&x->lock, NULL);
	return x;
}

void touch_table_free(struct touch_table *x)
{
	if (!x)
		return;
	names_free(&x->keys);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

static uint64_t tag_of(const struct purser_instance *i, uint32_t db)
{
	return (uint64_t)i->index << 32 | db;
}

static void unref(struct touch_key *k) /* under the lock */
{
	if (!--k->refs)
		free(k);
}

bool touch_watch(struct feature_worker *w, uint32_t instance, uint16_t db, purser_bytes key, struct touch *t)
{
	struct touch_table *x = w->touch;
	struct touch_key *k = calloc(1, sizeof *k + key.n);
	struct purser_instance *i = feature_instance(w, instance);
	bool ok;

	if (!k || !i) {
		free(k);
		return false;
	}
	k->table = x;
	k->inst = i;
	k->owner = w;
	k->t = t;
	k->db = db;
	k->refs = 1;
	k->n = key.n;
	if (key.n)
		memcpy(k->name, key.p, key.n);
	pthread_mutex_lock(&x->lock);
	ok = names_add(&x->keys, &k->node, names_hash(tag_of(i, db), k->name, k->n)) == 0;
	if (ok && !x->of[i->index]++)
		guard_gate(i, GATE_TOUCH, true);
	pthread_mutex_unlock(&x->lock);
	if (!ok) {
		free(k);
		return false;
	}
	t->key = k;
	return true;
}

static void forget(struct touch_table *x, struct touch_key *k) /* under the lock, on the owner's thread */
{
	k->t->key = NULL;
	k->t = NULL;
	names_remove(&x->keys, &k->node);
	if (!--x->of[k->inst->index])
		guard_gate(k->inst, GATE_TOUCH, false);
	unref(k);
}

void touch_forget(struct touch *t)
{
	struct touch_table *x = t->key ? t->key->table : NULL;

	if (!x)
		return;
	pthread_mutex_lock(&x->lock);
	forget(x, t->key);
	pthread_mutex_unlock(&x->lock);
}

void touch_close(struct feature_worker *w, const struct purser_instance *i)
{
	struct touch_table *x = w->touch;
	struct names_node *at;

	pthread_mutex_lock(&x->lock);
	do { /* the table changes with each that goes */
		for (at = x->of[i->index] ? names_each(&x->keys, NULL) : NULL; at; at = names_each(&x->keys, at)) {
			struct touch_key *k = (struct touch_key *)at;

			if (k->inst == i && k->owner == w) {
				forget(x, k);
				break;
			}
		}
	} while (at);
	pthread_mutex_unlock(&x->lock);
}

bool touch_written(const struct touch *t)
{
	return t->key && atomic_load_explicit(&t->key->written, memory_order_acquire);
}

/* ---- who is about to write ---- */

static bool add(struct touch_note **n, struct touch_table *x, struct touch_key *k)
{
	struct touch_note *m = *n;

	for (uint32_t i = 0; m && i < m->n; i++)
		if (m->v[i] == k)
			return true;
	if (!m || m->n == m->cap) {
		uint32_t cap = m ? 2 * m->cap : 4;
		struct touch_note *more = realloc(m, sizeof *m + cap * sizeof m->v[0]);

		if (!more)
			return false;
		if (!m)
			memset(more, 0, sizeof *more);
		more->table = x;
		more->cap = cap;
		*n = m = more;
	}
	k->refs++;
	atomic_store_explicit(&k->written, true, memory_order_release);
	m->v[m->n++] = k;
	return true;
}

static bool same(const struct touch_key *k, const struct purser_instance *i, uint32_t db, purser_bytes head, purser_bytes tail)
{
	return k->inst == i && k->db == db && k->n == head.n + tail.n && (!head.n || !memcmp(k->name, head.p, head.n)) &&
	    (!tail.n || !memcmp(k->name + head.n, tail.p, tail.n));
}

static void find_all(struct touch_table *x, struct touch_note **n, const struct purser_instance *i, uint32_t db, purser_bytes head)
{
	for (struct names_node *at = names_each(&x->keys, NULL); at; at = names_each(&x->keys, at)) {
		struct touch_key *k = (struct touch_key *)at;

		/* without memory for the note it is void all the same: touch_written() says so */
		if (k->inst != i || (db != TOUCH_DBS && k->db != db) || k->n < head.n || (head.n && memcmp(k->name, head.p, head.n)))
			continue;
		if (!add(n, x, k))
			atomic_store_explicit(&k->written, true, memory_order_release);
	}
}

void touch_find(struct touch_table *x, struct touch_note **n, const struct purser_instance *i, uint32_t db,
    purser_bytes head, const purser_bytes *tail)
{
	uint8_t mem[256], *name = mem;
	uint64_t hash;

	pthread_mutex_lock(&x->lock);
	if (!tail) {
		find_all(x, n, i, db, head);
		pthread_mutex_unlock(&x->lock);
		return;
	}
	if (head.n + tail->n > sizeof mem)
		name = malloc(head.n + tail->n);
	if (!name) { /* which it is cannot be told: then it is all of them */
		find_all(x, n, i, db, head);
		pthread_mutex_unlock(&x->lock);
		return;
	}
	if (head.n)
		memcpy(name, head.p, head.n);
	if (tail->n)
		memcpy(name + head.n, tail->p, tail->n);
	hash = names_hash(tag_of(i, db), name, head.n + tail->n);
	for (struct names_node *at = names_first(&x->keys, hash); at; at = names_next(at)) {
		struct touch_key *k = (struct touch_key *)at;

		if (same(k, i, db, head, *tail) && !add(n, x, k))
			atomic_store_explicit(&k->written, true, memory_order_release);
	}
	pthread_mutex_unlock(&x->lock);
	if (name != mem)
		free(name);
}

/* ---- telling, one after the other ---- */

static void visit(struct feature_mail *m);

static void ended(struct feature_mail *m)
{
	struct touch_note *n = (struct touch_note *)m;

	pthread_mutex_lock(&n->table->lock);
	for (uint32_t i = 0; i < n->n; i++)
		unref(n->v[i]);
	pthread_mutex_unlock(&n->table->lock);
	n->end(n->home, n->arg, n->id);
	free(n);
}

static void travel(struct touch_note *n, struct feature_worker *from)
{
	if (n->at < n->n)
		feature_post(from, n->v[n->at]->owner->index, &n->mail, visit);
	else
		feature_post(from, n->home->index, &n->mail, ended);
}

static void visit(struct feature_mail *m)
{
	struct touch_note *n = (struct touch_note *)m;
	struct touch *t = n->v[n->at]->t;

	if (t)
		t->written(t, n);
	else
		touch_done(n);
}

void touch_done(struct touch_note *n)
{
	struct feature_worker *here = n->v[n->at]->owner;

	n->at++;
	travel(n, here);
}

void touch_tell(struct touch_note *n, struct feature_worker *home, void (*end)(struct feature_worker *home, void *arg, uint64_t id),
    void *arg, uint64_t id)
{
	n->home = home;
	n->end = end;
	n->arg = arg;
	n->id = id;
	travel(n, home);
}
