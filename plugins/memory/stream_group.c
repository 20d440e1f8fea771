/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups, consumers, and what they owe: see stream.h.
 */
#include "keyspace.h"
#include "stream.h"
#include "zset.h"

/* ---- things with names, in the order of their bytes --------------------------------------------------------- */
static uint32_t name_place(const struct names *v, purser_bytes name, int *there)
{
	uint32_t lo = 0, hi = v->n;

	*there = 0;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		int c = member_order((purser_bytes){ v->v[mid]->name, v->v[mid]->len }, name);

		if (c == 0) {
			*there = 1;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct named *names_find(const struct names *v, purser_bytes name)
{
	int there;
	uint32_t i = name_place(v, name, &there);

	return there ? v->v[i] : NULL;
}

/* 0, or -1: no memory, nothing changed. */
static int names_add(struct ctx *cx, struct names *v, struct named *d)
{
	int there;
	uint32_t i = name_place(v, (purser_bytes){ d->name, d->len }, &there);

	if (v->n == v->cap) {
		uint32_t cap = v->cap ? 2 * v->cap : 4;
		size_t is = cap * sizeof(*v->v);
		void *p = v->cap ? mem_resize(cx, v->v, v->cap * sizeof(*v->v), is) : mem_get(cx, is);

		if (!p)
			return -1;
		v->v = p;
		v->cap = cap;
	}
	memmove(v->v + i + 1, v->v + i, (v->n - i) * sizeof(*v->v));
	v->v[i] = d;
	v->n++;
	return 0;
}

static void names_remove(struct ctx *cx, struct names *v, const struct named *d)
{
	int there;
	uint32_t i = name_place(v, (purser_bytes){ d->name, d->len }, &there);

	v->n--;
	memmove(v->v + i, v->v + i + 1, (v->n - i) * sizeof(*v->v));
	if (!v->n) {
		mem_put(cx, v->v, v->cap * sizeof(*v->v));
		*v = (struct names){ .n = 0 };
	}
}

/* A zeroed thing of so many bytes, with its name behind. */
static void *named_new(struct ctx *cx, size_t size, purser_bytes name)
{
	struct named *d = mem_get(cx, size + name.n);

	if (!d)
		return NULL;
	memset(d, 0, size);
	if (name.n)
		memcpy((uint8_t *)d + size, name.p, name.n);
	d->name = (uint8_t *)d + size;
	d->len = name.n;
	return d;
}

/* ---- consumers -------------------------------------------------------------------------------------------- */
struct sconsumer *group_consumer(const struct sgroup *g, purser_bytes name)
{
	return (struct sconsumer *)(void *)names_find(&g->consumers, name);
}

struct sconsumer *consumer_new(struct ctx *cx, struct sgroup *g, purser_bytes name, int64_t seen_ms)
{
	struct sconsumer *k = named_new(cx, sizeof(*k), name);

	if (!k)
		return NULL;
	idtree_init(&k->pel, 0);
	k->seen_ms = seen_ms;
	if (names_add(cx, &g->consumers, &k->named) == 0)
		return k;
	mem_put(cx, k, sizeof(*k) + name.n);
	return NULL;
}

static void consumer_free(struct ctx *cx, struct sconsumer *k) { mem_put(cx, k, sizeof(*k) + k->named.len); }

void consumer_delete(struct ctx *cx, struct sgroup *g, struct sconsumer *k)
{
	int64_t all = INT64_MAX;
	struct idpos at;
	int more;

	for (more = idtree_from(&k->pel, SID_MIN, &at); more; more = idpos_next(&at))
		idtree_remove(cx, &g->pel, idpos_id(&at));
	idtree_reap(cx, &k->pel, &all, NULL);
	names_remove(cx, &g->consumers, &k->named);
	consumer_free(cx, k);
}

/* ---- groups ----------------------------------------------------------------------------------------------- */
struct sgroup *stream_group(const struct stream *s, purser_bytes name)
{
	return (struct sgroup *)(void *)names_find(&s->groups, name);
}

struct sgroup *group_new(struct ctx *cx, struct stream *s, purser_bytes name, struct sid last,
    int64_t entries_read)
{
	struct sgroup *g = named_new(cx, sizeof(*g), name);

	if (!g)
		return NULL;
	idtree_init(&g->pel, sizeof(struct nack));
	g->last = last;
	g->entries_read = entries_read;
	if (names_add(cx, &s->groups, &g->named) == 0)
		return g;
	mem_put(cx, g, sizeof(*g) + name.n);
	return NULL;
}

int group_reap(struct ctx *cx, struct sgroup *g, int64_t *budget)
{
	uint64_t was = g->pel.n;
	int empty = idtree_reap(cx, &g->pel, budget, NULL);

	count_add(&cx->led->freeing, -(int64_t)(was - g->pel.n));
	while (empty && g->consumers.n) {
		struct sconsumer *k = (struct sconsumer *)(void *)g->consumers.v[g->consumers.n - 1];

		if (*budget <= 0 || !idtree_reap(cx, &k->pel, budget, NULL))
			return 0;
		*budget -= 2;
		consumer_free(cx, k);
		count_add(&cx->led->freeing, -1);
		g->consumers.n--;
	}
	if (!empty)
		return 0;
	*budget -= 2;
	count_add(&cx->led->freeing, -1);
	mem_put(cx, g->consumers.v, g->consumers.cap * sizeof(*g->consumers.v));
	mem_put(cx, g, sizeof(*g) + g->named.len);
	return 1;
}

/* What is owed, who it is owed by, and itself. */
uint64_t group_pieces(const struct sgroup *g) { return g->pel.n + g->consumers.n + 1; }

void group_dispose(struct ctx *cx, struct sgroup *g)
{
	int64_t all = INT64_MAX, was = cx->work;
	uint64_t n = group_pieces(g);

	if (n > 16 * REAP_AT_ONCE) {
		reap_later(cx, &g->named.reap, REAP_GROUP, n);
		return;
	}
	count_add(&cx->led->freeing, (int64_t)n);
	group_reap(cx, g, &all);
	reap_was(cx, was, INT64_MAX, all);
}

void group_destroy(struct ctx *cx, struct stream *s, struct sgroup *g)
{
	names_remove(cx, &s->groups, &g->named);
	group_dispose(cx, g);
}

struct sgroup *group_copy(struct ctx *cx, struct stream *to, const struct sgroup *g)
{
	struct sgroup *c = group_new(cx, to, (purser_bytes){ g->named.name, g->named.len }, g->last,
	    g->entries_read);
	struct idpos at;
	uint32_t i;
	int more;

	for (i = 0; c && i < g->consumers.n; i++) {
		const struct sconsumer *k = (struct sconsumer *)(void *)g->consumers.v[i];

		if (!consumer_new(cx, c, (purser_bytes){ k->named.name, k->named.len }, k->seen_ms))
			return NULL;
	}
	for (more = c && idtree_from(&g->pel, SID_MIN, &at); more; more = idpos_next(&at)) {
		const struct nack *from = idpos_value(&g->pel, &at);
		struct sconsumer *k = group_consumer(c,
		    (purser_bytes){ from->owner->named.name, from->owner->named.len });
		struct nack *n = group_owe(cx, c, k, idpos_id(&at));

		if (!n)
			return NULL;
		*n = (struct nack){ from->ms, from->count, k };
	}
	return c;
}

/* ---- what is owed ----------------------------------------------------------------------------------------- */
struct nack *group_owe(struct ctx *cx, struct sgroup *g, struct sconsumer *k, struct sid id)
{
	int fresh, own;
	struct nack *n = idtree_put(cx, &g->pel, id, &fresh);

	if (!n)
		return NULL;
	if (fresh)
		*n = (struct nack){ .owner = NULL };
	if (!idtree_put(cx, &k->pel, id, &own)) {
		if (fresh)
			idtree_remove(cx, &g->pel, id);
		return NULL;
	}
	return n;
}

void group_unowe(struct ctx *cx, struct sgroup *g, struct sconsumer *k, struct sid id)
{
	const struct nack *n = group_nack(g, id);

	if (!n || n->owner == k)
		return;
	idtree_remove(cx, &k->pel, id);
	if (!n->owner)
		idtree_remove(cx, &g->pel, id);
}

int group_ack(struct ctx *cx, struct sgroup *g, struct sid id)
{
	const struct nack *n = group_nack(g, id);

	if (!n)
		return 0;
	idtree_remove(cx, &n->owner->pel, id);
	idtree_remove(cx, &g->pel, id);
	return 1;
}

/* ---- how far a group is behind ------------------------------------------------------------------------------ */
int stream_tombs_from(const struct stream *s, struct sid id)
{
	return s->length && !sid_is_zero(s->max_deleted) && sid_order(s->max_deleted, s->first) >= 0 &&
	    sid_order(id, s->max_deleted) <= 0;
}

int64_t stream_distance(const struct stream *s, struct sid id)
{
	if (!s->entries_added)
		return 0;
	if (!s->length && sid_order(id, s->last) <= 0)
		return (int64_t)s->entries_added;
	if (sid_order(id, s->last) == 0)
		return (int64_t)s->entries_added;
	if (sid_order(id, s->last) > 0)
		return READ_UNKNOWN;
	if (sid_is_zero(s->max_deleted) || sid_order(s->max_deleted, s->first) < 0) {
		int c = sid_order(id, s->first); /* none has been deleted behind the first */

		if (c <= 0)
			return (int64_t)(s->entries_added - s->length + (c == 0));
	}
	return READ_UNKNOWN;
}

int group_lag(const struct stream *s, const struct sgroup *g, int64_t *lag)
{
	int64_t read = g->entries_read;

	*lag = 0;
	if (!s->entries_added)
		return 1;
	if (read == READ_UNKNOWN || stream_tombs_from(s, g->last))
		read = stream_distance(s, g->last);
	*lag = (int64_t)(s->entries_added - (uint64_t)read); /* either may be anything: XSETID */
	return read != READ_UNKNOWN;
}
