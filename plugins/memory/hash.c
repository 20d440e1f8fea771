/* SPDX-License-Identifier: Apache-2.0
 *
 * The two forms of a hash: see hash.h.
 */
#include "hash.h"
#include "table.h"

#define PACK_HEAD 2u
#define PACK_ROOM (PACK_MAX + 2 * (1 + PACK_BYTES)) /* any packed hash and one field more */

static struct table *table_of(const struct item *it)
{
	return enc_is_table(item_enc(it)) ? item_table(it) : NULL;
}

/* ---- packed ------------------------------------------------------------------------------------------ */
/* The entry behind e. */
static inline uint8_t *pack_next(uint8_t *e)
{
	e += 1 + e[0];
	return e + 1 + e[0];
}

static inline uint32_t pack_count(const uint8_t *pack) { return pack[0] | (uint32_t)pack[1] << 8; }
static inline void pack_set_count(uint8_t *pack, uint32_t n)
{
	pack[0] = (uint8_t)n;
	pack[1] = (uint8_t)(n >> 8);
}

/* The entry of a field, or NULL. */
static uint8_t *pack_find(uint8_t *pack, size_t n, purser_bytes field)
{
	uint8_t *e = pack + PACK_HEAD, *end = pack + n;

	for (; e < end; e = pack_next(e))
		if (e[0] == field.n && memcmp(e + 1, field.p, field.n) == 0)
			return e;
	return NULL;
}

static size_t entry_write(uint8_t *e, purser_bytes field, purser_bytes value)
{
	e[0] = (uint8_t)field.n;
	memcpy(e + 1, field.p, field.n);
	e[1 + field.n] = (uint8_t)value.n;
	memcpy(e + 2 + field.n, value.p, value.n);
	return 2 + field.n + value.n;
}

/* One pair into the pack of n bytes in a buffer of PACK_ROOM; the new length. */
static size_t pack_put(uint8_t *pack, size_t n, purser_bytes field, purser_bytes value, int64_t *created)
{
	uint8_t *e = pack_find(pack, n, field), *v;
	size_t was;

	if (!e) {
		pack_set_count(pack, pack_count(pack) + 1);
		++*created;
		return n + entry_write(pack + n, field, value);
	}
	v = e + 1 + e[0];
	was = v[0];
	memmove(v + 1 + value.n, v + 1 + was, (size_t)(pack + n - (v + 1 + was)));
	v[0] = (uint8_t)value.n;
	memcpy(v + 1, value.p, value.n);
	return n + value.n - was;
}

/* The packed bytes become the value of the key.  0, or -1: no memory. */
static int pack_store(struct ctx *cx, struct pos *p, const uint8_t *pack, size_t n)
{
	struct shape s = { ENC_PACK, p->it && item_has_ttl(p->it), n };
	struct item *it = p->it ? item_reshape(cx, p->it, &s) : item_new(cx, &s, p->key, p->klen);

	if (!it)
		return -1;
	memcpy(item_value(it), pack, n);
	if (p->it) {
		key_moved(cx, p, it);
		return 0;
	}
	if (key_add(cx, p, it) == 0)
		return 0;
	item_free(cx, it);
	return -1;
}

/* What one pair changes in most cases: a value of the same length, or a field more.  1: done. */
static int pack_put_one(struct ctx *cx, struct pos *p, const purser_bytes *fv, int64_t *created)
{
	uint8_t *pack = item_value(p->it), *e = pack_find(pack, p->it->vlen, fv[0]);
	size_t n = p->it->vlen;
	struct shape s = { ENC_PACK, item_has_ttl(p->it), n + 2 + fv[0].n + fv[1].n };
	struct item *it;

	if (e) {
		e += 1 + e[0];
		if (e[0] != fv[1].n)
			return 0;
		memcpy(e + 1, fv[1].p, fv[1].n);
		return 1;
	}
	if (pack_count(pack) == PACK_FIELDS || s.vlen > PACK_MAX || !(it = item_reshape(cx, p->it, &s)))
		return 0;
	key_moved(cx, p, it);
	pack = item_value(it);
	entry_write(pack + n, fv[0], fv[1]);
	pack_set_count(pack, pack_count(pack) + 1);
	++*created;
	return 1;
}

/* 1: done; 0: it does not fit a pack; -1: no memory. */
static int pack_put_all(struct ctx *cx, struct pos *p, const purser_bytes *fv, uint32_t pairs,
    int64_t *created)
{
	uint8_t *pack;
	size_t n = PACK_HEAD;
	uint32_t i;

	if (p->it && pairs == 1 && pack_put_one(cx, p, fv, created))
		return 1;
	pack = scratch(cx, PACK_ROOM);
	if (!pack)
		return -1;
	pack_set_count(pack, 0);
	if (p->it) {
		n = p->it->vlen;
		memcpy(pack, item_value(p->it), n);
	}
	for (i = 0; i < pairs; i++) {
		n = pack_put(pack, n, fv[2 * i], fv[2 * i + 1], created);
		if (pack_count(pack) > PACK_FIELDS || n > PACK_MAX) {
			*created = 0;
			return 0;
		}
	}
	return pack_store(cx, p, pack, n) ? -1 : 1;
}

static int64_t pack_remove(struct ctx *cx, struct pos *p, const purser_bytes *fields, uint32_t n)
{
	size_t len = p->it->vlen, bytes;
	uint8_t *pack = scratch(cx, PACK_ROOM), *e;
	int64_t gone = 0;
	uint32_t i;

	if (!pack)
		return -1;
	memcpy(pack, item_value(p->it), len);
	for (i = 0; i < n; i++) {
		e = pack_find(pack, len, fields[i]);
		if (!e)
			continue;
		bytes = (size_t)(pack_next(e) - e);
		memmove(e, e + bytes, (size_t)(pack + len - (e + bytes)));
		len -= bytes;
		gone++;
	}
	pack_set_count(pack, pack_count(pack) - (uint32_t)gone);
	if (gone && pack_count(pack) == 0)
		key_delete(cx, p);
	else if (gone && pack_store(cx, p, pack, len))
		return -1;
	return gone;
}

/* ---- tables --------------------------------------------------------------------------------------------- */
/* A field as an item of its own; NULL: no memory. */
static struct item *field_new(struct ctx *cx, purser_bytes field, purser_bytes value)
{
	struct shape s = { value.n > INLINE_MAX ? ENC_BIG : ENC_RAW, 0, value.n > INLINE_MAX ? 0 : value.n };
	struct item *it = item_new(cx, &s, field.p, field.n);
	struct blob *b;

	if (!it)
		return NULL;
	if (s.enc == ENC_RAW) {
		memcpy(item_value(it), value.p, value.n);
		return it;
	}
	b = blob_new(cx, value.n, value.n);
	if (!b) {
		item_free_shell(cx, it);
		return NULL;
	}
	memcpy(b->data, value.p, value.n);
	item_set_word(it, (uint64_t)(uintptr_t)b);
	return it;
}

/* The item into the table; the one that it takes the place of in *old.  0, or -1: no memory. */
static int field_put(struct ctx *cx, struct table *t, struct item *it, struct item **old)
{
	uint64_t hash = hash_key(cx->st, item_key(it), item_klen(it));
	uint64_t *slot = table_find(t, hash, item_key(it), item_klen(it));

	*old = slot ? slot_item(*slot) : NULL;
	if (!slot)
		return table_add(cx, t, hash, it);
	table_swap(t, slot, it);
	return 0;
}

static int field_add(struct ctx *cx, struct table *t, purser_bytes field, purser_bytes value,
    int64_t *created)
{
	struct item *it = field_new(cx, field, value), *old;

	if (!it)
		return -1;
	if (field_put(cx, t, it, &old)) {
		item_free(cx, it);
		return -1;
	}
	if (old)
		item_free(cx, old);
	else
		++*created;
	return 0;
}

struct filling { struct ctx *cx; struct table *t; };

static int fill_field(void *arg, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	struct filling *w = arg;
	int64_t n = 0;

	return field_add(w->cx, w->t, (purser_bytes){ f, fn }, (purser_bytes){ v, vn }, &n);
}

/* A new table with what the packed hash `it` has (NULL: nothing) and the pairs. */
static int table_make(struct ctx *cx, struct pos *p, const purser_bytes *fv, uint32_t pairs,
    int64_t *created)
{
	struct shape s = { ENC_TABLE, p->it && item_has_ttl(p->it), 0 };
	struct filling w = { cx, table_new(cx) };
	struct item *it;
	uint32_t i = 0;

	if (!w.t)
		return -1;
	if (p->it && hash_each(p->it, fill_field, &w))
		goto fail;
	for (i = 0; i < pairs; i++)
		if (field_add(cx, w.t, fv[2 * i], fv[2 * i + 1], created))
			goto fail;
	it = p->it ? item_reshape(cx, p->it, &s) : item_new(cx, &s, p->key, p->klen);
	if (!it)
		goto fail;
	item_set_word(it, (uint64_t)(uintptr_t)w.t);
	if (p->it) {
		key_moved(cx, p, it);
		return 0;
	}
	if (key_add(cx, p, it) == 0)
		return 0;
	item_free_shell(cx, it);
fail:
	*created = 0;
	table_dispose(cx, w.t);
	return -1;
}

/* Takes the first n pairs out again, newest first: old values go back, new fields go. */
static void table_undo(struct ctx *cx, struct table *t, const purser_bytes *fv, struct item **items,
    uint32_t n)
{
	while (n-- > 0) {
		uint64_t hash = hash_key(cx->st, fv[2 * n].p, fv[2 * n].n);
		uint64_t *slot = table_find(t, hash, fv[2 * n].p, fv[2 * n].n);
		struct item *now = slot_item(*slot);

		if (items[n])
			table_swap(t, slot, items[n]);
		else
			table_remove(cx, t, hash, slot);
		items[n] = now;
	}
}

static int table_put_all(struct ctx *cx, struct table *t, const purser_bytes *fv, uint32_t pairs,
    int64_t *created)
{
	struct item **items, *old;
	uint32_t made = 0, done = 0, i;

	if (pairs == 1)
		return field_add(cx, t, fv[0], fv[1], created);
	items = scratch(cx, pairs * sizeof(*items));
	if (!items)
		return -1;
	while (made < pairs && (items[made] = field_new(cx, fv[2 * made], fv[2 * made + 1])))
		made++;
	for (; made == pairs && done < pairs; done++) {
		if (field_put(cx, t, items[done], &old))
			break;
		*created += !old;
		items[done] = old;
	}
	if (done < pairs) {
		table_undo(cx, t, fv, items, done);
		*created = 0;
	}
	for (i = 0; i < made; i++)
		if (items[i])
			item_free(cx, items[i]);
	return done == pairs ? 0 : -1;
}

static int64_t table_remove_all(struct ctx *cx, struct pos *p, const purser_bytes *fields, uint32_t n)
{
	struct table *t = table_of(p->it);
	int64_t gone = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		uint64_t hash = hash_key(cx->st, fields[i].p, fields[i].n);
		uint64_t *slot = table_find(t, hash, fields[i].p, fields[i].n);

		if (slot) {
			struct item *it = slot_item(*slot);

			table_remove(cx, t, hash, slot);
			item_free(cx, it);
			gone++;
		}
	}
	if (table_n(t) == 0)
		key_delete(cx, p);
	return gone;
}

/* ---- both ------------------------------------------------------------------------------------------------ */
uint64_t hash_len(const struct item *it)
{
	return table_of(it) ? table_n(table_of(it)) : pack_count(item_value((struct item *)(uintptr_t)it));
}

int hash_get(struct ctx *cx, struct item *it, purser_bytes field, struct view *v)
{
	uint64_t *slot;
	uint8_t *e;

	if (table_of(it)) {
		slot = table_find(table_of(it), hash_key(cx->st, field.p, field.n), field.p, field.n);
		if (!slot)
			return 0;
		string_view(slot_item(*slot), v);
		return 1;
	}
	e = pack_find(item_value(it), it->vlen, field);
	if (!e)
		return 0;
	e += 1 + e[0];
	v->p = e + 1;
	v->n = e[0];
	return 1;
}

/* What Redis would call the hash now: once a hash table, for ever. */
static void relabel(struct item *it, int wide)
{
	if (item_enc(it) == ENC_TABLE && (wide || table_n(item_table(it)) > PACK_FIELDS))
		it->head = (it->head & ~ITEM_ENC) | ENC_HASH;
}

int hash_put(struct ctx *cx, struct pos *p, const purser_bytes *fv, uint32_t pairs, int64_t *created)
{
	int wide = 0, rc = 0;
	uint32_t i;

	*created = 0;
	for (i = 0; i < 2 * pairs; i++)
		wide |= fv[i].n > PACK_BYTES;
	if (p->it && table_of(p->it)) {
		rc = table_put_all(cx, table_of(p->it), fv, pairs, created);
	} else {
		rc = wide ? 0 : pack_put_all(cx, p, fv, pairs, created);
		if (rc == 0)
			rc = table_make(cx, p, fv, pairs, created);
	}
	if (rc >= 0)
		relabel(p->it, wide);
	return rc < 0 ? -1 : 0;
}

int64_t hash_remove(struct ctx *cx, struct pos *p, const purser_bytes *fields, uint32_t n)
{
	if (table_of(p->it))
		return table_remove_all(cx, p, fields, n);
	return pack_remove(cx, p, fields, n);
}

struct walk { hash_fn *fn; void *arg; };

static int walk_slot(void *arg, uint64_t slot)
{
	struct walk *w = arg;
	struct item *it = slot_item(slot);
	struct view v;

	string_view(it, &v);
	return w->fn(w->arg, item_key(it), item_klen(it), v.p, v.n);
}

int hash_each(struct item *it, hash_fn *fn, void *arg)
{
	struct walk w = { fn, arg };
	uint8_t *e, *end;
	int rc;

	if (table_of(it))
		return table_each(table_of(it), walk_slot, &w);
	end = item_value(it) + it->vlen;
	for (e = item_value(it) + PACK_HEAD; e < end; e = pack_next(e))
		if ((rc = fn(arg, e + 1, e[0], e + 2 + e[0], e[1 + e[0]])) != 0)
			return rc;
	return 0;
}

void hash_random(struct ctx *cx, struct item *it, purser_bytes *field, purser_bytes *value)
{
	struct view v;
	uint32_t at;
	uint8_t *e;

	if (table_of(it)) {
		it = slot_item(*table_random(cx, table_of(it)));
		string_view(it, &v);
		*field = (purser_bytes){ item_key(it), item_klen(it) };
		*value = (purser_bytes){ v.p, v.n };
		return;
	}
	e = item_value(it) + PACK_HEAD;
	for (at = rng_below(cx, pack_count(item_value(it))); at > 0; at--)
		e = pack_next(e);
	*field = (purser_bytes){ e + 1, e[0] };
	*value = (purser_bytes){ e + 2 + e[0], e[1 + e[0]] };
}

static int copy_slot(void *arg, uint64_t slot)
{
	struct filling *w = arg;
	struct item *it = slot_item(slot);
	struct view v;
	int64_t n = 0;

	string_view(it, &v);
	return field_add(w->cx, w->t, (purser_bytes){ item_key(it), item_klen(it) },
	    (purser_bytes){ v.p, v.n }, &n);
}

struct table *hash_table_copy(struct ctx *cx, const struct table *t)
{
	struct filling w = { cx, table_new(cx) };

	if (w.t && table_each(t, copy_slot, &w)) {
		table_dispose(cx, w.t);
		return NULL;
	}
	return w.t;
}

struct estimate { size_t n, bytes; };

static int estimate_slot(void *arg, uint64_t slot)
{
	struct estimate *e = arg;
	struct item *it = slot_item(slot);

	e->bytes += chunk_size(item_bytes(it));
	if (item_enc(it) == ENC_BIG)
		e->bytes += chunk_size(blob_bytes(item_blob(it)->cap));
	return ++e->n >= 64;
}

size_t hash_table_memory(const struct table *t)
{
	struct estimate e = { 0, 0 };

	table_each(t, estimate_slot, &e);
	return chunk_size(sizeof(*t)) + t->buckets * sizeof(struct bucket) +
	    (e.n ? e.bytes * table_n(t) / e.n : 0);
}
