/* SPDX-License-Identifier: Apache-2.0
 *
 * The three forms of a set: see set.h.
 */
#include <stdlib.h>
#include "number.h"
#include "set.h"
#include "table.h"

/* ---- integers ---------------------------------------------------------------------------------------- */
static unsigned int_width(int64_t v)
{
	return v >= INT16_MIN && v <= INT16_MAX ? 2 : v >= INT32_MIN && v <= INT32_MAX ? 4 : 8;
}

static int64_t int_at(const uint8_t *value, unsigned width, size_t i)
{
	const uint8_t *p = value + 1 + i * width;
	int16_t h;
	int32_t w;
	int64_t v;

	if (width == 2) {
		memcpy(&h, p, 2);
		return h;
	}
	if (width == 4) {
		memcpy(&w, p, 4);
		return w;
	}
	memcpy(&v, p, 8);
	return v;
}

static void int_put(uint8_t *value, unsigned width, size_t i, int64_t v)
{
	uint8_t *p = value + 1 + i * width;
	int16_t h = (int16_t)v;
	int32_t w = (int32_t)v;

	memcpy(p, width == 2 ? (void *)&h : width == 4 ? (void *)&w : (void *)&v, width);
}

static size_t int_count(const struct item *it, const uint8_t *value) { return (it->vlen - 1u) / value[0]; }

static int int_find(struct item *it, int64_t v)
{
	const uint8_t *value = item_value(it);
	size_t low = 0, high = int_count(it, value);

	while (low < high) {
		size_t mid = (low + high) / 2;
		int64_t x = int_at(value, value[0], mid);

		if (x == v)
			return 1;
		if (x < v)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

static int int_order(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* The sorted integers v[0..n) and those of the value of was, none in both, as the value of width bytes each.
 * From the end, so that it may be the same memory. */
static void int_merge(uint8_t *to, unsigned width, const uint8_t *from, size_t was, const int64_t *v,
    size_t n)
{
	unsigned old = was ? from[0] : width;
	size_t at = was + n;

	while (at-- > 0) {
		if (n && (!was || v[n - 1] > int_at(from, old, was - 1)))
			int_put(to, width, at, v[--n]);
		else
			int_put(to, width, at, int_at(from, old, --was));
	}
	to[0] = (uint8_t)width;
}

/* The members as integers that are not in `it` yet, sorted, each once; how many.  -1: one is none. */
static int64_t int_new(struct item *it, const purser_bytes *m, size_t n, int64_t *v)
{
	size_t i, k = 0, out = 0;

	for (i = 0; i < n; i++) {
		if (int_parse(m[i].p, m[i].n, &v[k]))
			return -1;
		if (!it || !int_find(it, v[k]))
			k++;
	}
	if (k > 1)
		qsort(v, k, sizeof(*v), int_order);
	for (i = 0; i < k; i++)
		if (!out || v[out - 1] != v[i])
			v[out++] = v[i];
	return (int64_t)out;
}

static unsigned int_widest(const int64_t *v, size_t n, unsigned least)
{
	unsigned a = n ? int_width(v[0]) : 2, b = n ? int_width(v[n - 1]) : 2;

	a = a > b ? a : b;
	return a > least ? a : least;
}

/* ---- packed -------------------------------------------------------------------------------------------- */
static uint8_t *pack_find(uint8_t *pack, size_t n, purser_bytes m)
{
	uint8_t *e;

	for (e = pack + 1; e < pack + n; e += 1 + e[0])
		if (e[0] == m.n && memcmp(e + 1, m.p, m.n) == 0)
			return e;
	return NULL;
}

/* Adds m if it is not there; the new length, 0: it does not fit.  pack has room for SET_PACK_MAX. */
static size_t pack_put(uint8_t *pack, size_t n, purser_bytes m, int64_t *created)
{
	if (m.n > SET_PACK_BYTES)
		return 0;
	if (pack_find(pack, n, m))
		return n;
	if (pack[0] == SET_PACK_MEMBERS || n + 1 + m.n > SET_PACK_MAX)
		return 0;
	pack[0]++;
	pack[n] = (uint8_t)m.n;
	if (m.n)
		memcpy(pack + n + 1, m.p, m.n);
	++*created;
	return n + 1 + m.n;
}

/* ---- tables ---------------------------------------------------------------------------------------------- */
static uint64_t *member_slot(struct ctx *cx, struct table *t, purser_bytes m, uint64_t *hash)
{
	*hash = hash_key(cx->st, m.p, m.n);
	return table_find(t, *hash, m.p, m.n);
}

/* 1: it is new, 0: it was there, -1: no memory. */
static int member_add(struct ctx *cx, struct table *t, purser_bytes m)
{
	struct shape s = { ENC_RAW, 0, 0 };
	struct item *it;
	uint64_t hash;

	if (member_slot(cx, t, m, &hash))
		return 0;
	it = item_new(cx, &s, m.p, m.n);
	if (!it)
		return -1;
	if (table_add(cx, t, hash, it) == 0)
		return 1;
	item_free(cx, it);
	return -1;
}

static void member_drop(struct ctx *cx, struct table *t, uint64_t hash, uint64_t *slot)
{
	struct item *it = slot_item(*slot);

	table_remove(cx, t, hash, slot);
	item_free(cx, it);
}

/* All or none.  News are remembered by their number in fresh[]. */
static int table_add_all(struct ctx *cx, struct table *t, const purser_bytes *m, size_t n, int64_t *created)
{
	uint8_t *fresh = n > 1 ? scratch(cx, n) : NULL;
	size_t i;
	int rc = 0;

	if (n > 1 && !fresh)
		return -1;
	for (i = 0; i < n; i++) {
		rc = member_add(cx, t, m[i]);
		if (rc < 0)
			break;
		*created += rc;
		if (fresh)
			fresh[i] = (uint8_t)rc;
	}
	if (rc >= 0)
		return 0;
	while (i-- > 0) {
		uint64_t hash, *slot = fresh[i] ? member_slot(cx, t, m[i], &hash) : NULL;

		if (slot)
			member_drop(cx, t, hash, slot);
	}
	*created = 0;
	return -1;
}

struct filling { struct ctx *cx; struct table *t; };

static int fill_member(void *arg, const uint8_t *m, size_t n)
{
	struct filling *w = arg;

	return member_add(w->cx, w->t, (purser_bytes){ m, n }) < 0;
}

/* A table with the members of `it` (or none) and these; NULL: no memory. */
static struct table *table_of_all(struct ctx *cx, struct item *it, const purser_bytes *m, size_t n)
{
	struct filling w = { cx, table_new(cx) };
	size_t i;

	if (!w.t)
		return NULL;
	if (it && set_each(it, fill_member, &w))
		goto fail;
	for (i = 0; i < n; i++)
		if (member_add(cx, w.t, m[i]) < 0)
			goto fail;
	return w.t;
fail:
	table_dispose(cx, w.t);
	return NULL;
}

/* ---- growing ------------------------------------------------------------------------------------------------ */
/* What the set will be: a shape, and what its value or word is made from. */
struct plan {
	struct shape shape;
	int64_t created;
	int64_t *ints;                        /* new ones, sorted */
	size_t nints;
	unsigned width;
	uint8_t *pack;                        /* the whole value */
	struct table *table;
};

/* 1: the integers do; 0: they do not; -1: no memory. */
static int plan_ints(struct ctx *cx, struct item *it, const purser_bytes *m, size_t n, struct plan *w)
{
	size_t was = it ? int_count(it, item_value(it)) : 0;
	int64_t fresh;

	w->ints = scratch(cx, n * sizeof(*w->ints));
	if (!w->ints)
		return -1;
	fresh = int_new(it, m, n, w->ints);
	if (fresh < 0 || was + (size_t)fresh > SET_INTS)
		return 0;
	w->nints = (size_t)fresh;
	w->created = fresh;
	w->width = int_widest(w->ints, w->nints, it ? item_value(it)[0] : 2);
	w->shape.enc = ENC_SET_INT;
	w->shape.vlen = 1 + (was + w->nints) * w->width;
	return 1;
}

struct packing { uint8_t *pack; size_t n; };

static int pack_member(void *arg, const uint8_t *m, size_t n)
{
	struct packing *w = arg;
	int64_t created = 0;

	w->n = pack_put(w->pack, w->n, (purser_bytes){ m, n }, &created);
	return w->n == 0;
}

static int plan_pack(struct ctx *cx, struct item *it, const purser_bytes *m, size_t n, struct plan *w)
{
	struct packing p = { scratch(cx, SET_PACK_MAX), 1 };
	size_t i;

	if (!p.pack)
		return -1;
	p.pack[0] = 0;
	w->created = 0;
	if (it && set_each(it, pack_member, &p))
		return 0;
	for (i = 0; i < n; i++)
		if (!(p.n = pack_put(p.pack, p.n, m[i], &w->created)))
			return 0;
	w->pack = p.pack;
	w->shape.enc = ENC_SET_PACK;
	w->shape.vlen = p.n;
	return 1;
}

/* `it` is NULL or not a table yet.  0, or -1: no memory. */
static int plan_make(struct ctx *cx, struct item *it, const purser_bytes *m, size_t n, int mixed,
    struct plan *w)
{
	int rc = 0;

	*w = (struct plan){ .shape.ttl = it && item_has_ttl(it) };
	if (!mixed && (!it || item_enc(it) == ENC_SET_INT))
		rc = plan_ints(cx, it, m, n, w);
	if (rc == 0)
		rc = plan_pack(cx, it, m, n, w);
	if (rc)
		return rc < 0 ? -1 : 0;
	w->table = table_of_all(cx, it, m, n);
	if (!w->table)
		return -1;
	w->created = (int64_t)(table_n(w->table) - (it ? set_len(it) : 0));
	w->shape.enc = ENC_SET;
	return 0;
}

/* Writes what was planned into an item of its shape, which still has the old value. */
static void plan_write(const struct plan *w, struct item *it, size_t was)
{
	uint8_t *value = item_value(it);

	if (w->table)
		item_set_word(it, (uint64_t)(uintptr_t)w->table);
	else if (w->pack)
		memcpy(value, w->pack, w->shape.vlen);
	else
		int_merge(value, w->width, value, was, w->ints, w->nints);
}

struct item *set_make(struct ctx *cx, purser_bytes key, const purser_bytes *m, size_t n, int mixed)
{
	struct item *it;
	struct plan w;

	if (plan_make(cx, NULL, m, n, mixed, &w))
		return NULL;
	it = item_new(cx, &w.shape, key.p, key.n);
	if (it)
		plan_write(&w, it, 0);
	else if (w.table)
		table_dispose(cx, w.table);
	return it;
}

int set_add(struct ctx *cx, struct pos *p, const purser_bytes *m, size_t n, int64_t *created)
{
	size_t was = 0;
	struct item *it;
	struct plan w;

	*created = 0;
	if (!p->it) {
		it = set_make(cx, (purser_bytes){ p->key, p->klen }, m, n, 0);
		if (!it)
			return -1;
		*created = (int64_t)set_len(it);
		if (key_add(cx, p, it) == 0)
			return 0;
		item_free(cx, it);
		return -1;
	}
	if (item_enc(p->it) == ENC_SET)
		return table_add_all(cx, item_table(p->it), m, n, created);
	if (plan_make(cx, p->it, m, n, 0, &w))
		return -1;
	*created = w.created;
	if (!w.created && w.shape.enc == item_enc(p->it))
		return 0;
	if (w.shape.enc == ENC_SET_INT)
		was = int_count(p->it, item_value(p->it));
	it = item_reshape(cx, p->it, &w.shape);
	if (!it) {
		if (w.table)
			table_dispose(cx, w.table);
		*created = 0;
		return -1;
	}
	plan_write(&w, it, was);
	key_moved(cx, p, it);
	return 0;
}

/* ---- shrinking ----------------------------------------------------------------------------------------------- */
/* The rest of the inline value, into to; its length. */
static size_t rest_of_ints(struct item *it, const purser_bytes *m, size_t n, uint8_t *to, int64_t *gone)
{
	const uint8_t *value = item_value(it);
	size_t count = int_count(it, value), i, k, left = 0;
	uint8_t out[SET_INTS] = { 0 };

	to[0] = value[0];
	for (i = 0; i < n; i++) {
		size_t low = 0, high = count;
		int64_t v;

		if (int_parse(m[i].p, m[i].n, &v))
			continue;
		while (low < high) {
			size_t mid = (low + high) / 2;

			if (int_at(value, value[0], mid) < v)
				low = mid + 1;
			else
				high = mid;
		}
		if (low < count && int_at(value, value[0], low) == v)
			out[low] = 1;
	}
	for (k = 0; k < count; k++) {
		if (out[k])
			++*gone;
		else
			int_put(to, to[0], left++, int_at(value, value[0], k));
	}
	return left ? 1 + left * to[0] : 0;
}

static size_t rest_of_pack(struct item *it, const purser_bytes *m, size_t n, uint8_t *to, int64_t *gone)
{
	size_t len = it->vlen, i;

	memcpy(to, item_value(it), len);
	for (i = 0; i < n; i++) {
		uint8_t *e = pack_find(to, len, m[i]);
		size_t bytes = e ? 1u + e[0] : 0;

		if (!e)
			continue;
		memmove(e, e + bytes, (size_t)(to + len - (e + bytes)));
		len -= bytes;
		to[0]--;
		++*gone;
	}
	return to[0] ? len : 0;
}

static int64_t table_remove_all(struct ctx *cx, struct pos *p, const purser_bytes *m, size_t n)
{
	struct table *t = item_table(p->it);
	int64_t gone = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		uint64_t hash, *slot = member_slot(cx, t, m[i], &hash);

		if (slot) {
			member_drop(cx, t, hash, slot);
			gone++;
		}
	}
	if (table_n(t) == 0)
		key_delete(cx, p);
	return gone;
}

int64_t set_remove(struct ctx *cx, struct pos *p, const purser_bytes *m, size_t n)
{
	struct shape s = { item_enc(p->it), item_has_ttl(p->it), 0 };
	int64_t gone = 0;
	struct item *it;
	uint8_t *rest;

	if (s.enc == ENC_SET)
		return table_remove_all(cx, p, m, n);
	rest = scratch(cx, p->it->vlen);
	if (!rest)
		return -1;
	s.vlen = (s.enc == ENC_SET_INT ? rest_of_ints : rest_of_pack)(p->it, m, n, rest, &gone);
	if (!gone)
		return 0;
	if (!s.vlen) {
		key_delete(cx, p);
		return gone;
	}
	it = item_reshape(cx, p->it, &s);
	if (!it)
		return -1;
	memcpy(item_value(it), rest, s.vlen);
	key_moved(cx, p, it);
	return gone;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */
uint64_t set_len(const struct item *it)
{
	const uint8_t *value = item_value((struct item *)(uintptr_t)it);

	switch (item_enc(it)) {
	case ENC_SET:
		return table_n(item_table(it));
	case ENC_SET_INT:
		return int_count(it, value);
	default:
		return value[0];
	}
}

int set_has(struct ctx *cx, struct item *it, purser_bytes m)
{
	uint64_t hash;
	int64_t v;

	switch (item_enc(it)) {
	case ENC_SET:
		return member_slot(cx, item_table(it), m, &hash) != NULL;
	case ENC_SET_INT:
		return int_parse(m.p, m.n, &v) == 0 && int_find(it, v);
	default:
		return pack_find(item_value(it), it->vlen, m) != NULL;
	}
}

struct walk { set_fn *fn; void *arg; };

static int walk_slot(void *arg, uint64_t slot)
{
	struct walk *w = arg;

	return w->fn(w->arg, item_key(slot_item(slot)), item_klen(slot_item(slot)));
}

int set_each(struct item *it, set_fn *fn, void *arg)
{
	struct walk w = { fn, arg };
	const uint8_t *value, *e;
	char text[INT_TEXT];
	size_t i, n;
	int rc = 0;

	if (item_enc(it) == ENC_SET)
		return table_each(item_table(it), walk_slot, &w);
	value = item_value(it);
	if (item_enc(it) == ENC_SET_INT) {
		n = int_count(it, value);
		for (i = 0; i < n && !rc; i++)
			rc = fn(arg, (uint8_t *)text, int_format(int_at(value, value[0], i), text));
		return rc;
	}
	for (e = value + 1; e < value + it->vlen && !rc; e += 1 + e[0])
		rc = fn(arg, e + 1, e[0]);
	return rc;
}

void set_random(struct ctx *cx, struct item *it, struct view *v)
{
	const uint8_t *value;
	uint32_t at;

	if (item_enc(it) == ENC_SET) {
		it = slot_item(*table_random(cx, item_table(it)));
		v->p = item_key(it);
		v->n = item_klen(it);
		return;
	}
	value = item_value(it);
	at = rng_below(cx, (uint32_t)set_len(it));
	if (item_enc(it) == ENC_SET_INT) {
		v->n = int_format(int_at(value, value[0], at), v->buf);
		v->p = (const uint8_t *)v->buf;
		return;
	}
	for (value++; at > 0; at--)
		value += 1 + value[0];
	v->p = value + 1;
	v->n = value[0];
}
