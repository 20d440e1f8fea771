/* SPDX-License-Identifier: Apache-2.0 */
/* metric/series: finding and making series and a shard's node in them. */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "metric/priv.h"
#include "metric/tally.h"

struct metric_key metric_key_unpack(uint64_t key)
{
	struct metric_key k = { .kind = key & 3, .instance = (uint8_t)(key >> 2),
		.error = (uint8_t)(key >> 10), .db = (uint8_t)(key >> 18),
		.project = (uint16_t)(key >> 26), .command = (uint16_t)(key >> 42 & 0xfff),
		.endpoint = (uint16_t)(key >> 54) };

	return k;
}

/* What a kind does not say must not split its series. */
static uint64_t normal(uint64_t key)
{
	struct metric_key k = metric_key_unpack(key);

	if (k.kind == METRIC_LOCAL)
		k.instance = k.db = 0, k.endpoint = 0;
	else if (k.kind == METRIC_INTERNAL)
		k.db = 0, k.endpoint = 0, k.project = 0;
	return metric_key_pack(k);
}

static struct op_series *op_series_new(struct metric_reg *r, uint64_t key, bool overflow)
{
	struct op_series *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->key = key;
	s->overflow = overflow;
	r->ops[r->nops] = s;
	atomic_store_explicit(&r->nops, r->nops + 1, memory_order_release);
	return s;
}

/* Locked.  The series of a key, the overflow series of its kind, or NULL without memory. */
static struct op_series *op_series(struct metric_reg *r, uint64_t key, bool full)
{
	unsigned kind = key & 3;
	struct op_series *s;

	for (uint32_t i = 0; !full && i < r->nkeys; i++)
		if (r->op_keys[i] == key)
			for (uint32_t k = i;; k++) /* overflow series may stand before it */
				if (r->ops[k]->key == key && !r->ops[k]->overflow)
					return r->ops[k];
	if (!full && r->nkeys < r->max_series && (s = op_series_new(r, key, false))) {
		r->op_keys[r->nkeys++] = key;
		r->series++;
		return s;
	}
	r->overflow++;
	if (!r->op_overflow[kind])
		r->op_overflow[kind] = op_series_new(r, kind, true);
	return r->op_overflow[kind];
}

static struct metric_op *op_node(struct op_series *s)
{
	struct metric_op *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	o->next = s->nodes;
	atomic_store_explicit(&s->nodes, o, memory_order_release);
	return o;
}

/* `full`: the shard cannot remember another key, so it must not get a node of its own either. */
static struct metric_op *op_make(struct metric_shard *s, uint64_t key, bool full)
{
	struct metric_reg *r = s->reg;
	unsigned kind = key & 3;
	struct op_series *series;
	struct metric_op *o = NULL;

	pthread_mutex_lock(&r->lock);
	series = op_series(r, normal(key), full);
	if (series && series->overflow) {
		if (!s->priv->overflow[kind])
			s->priv->overflow[kind] = op_node(series);
		o = s->priv->overflow[kind];
	} else if (series) {
		/* two keys of this shard can be one normal series: two nodes, which add up */
		o = op_node(series);
	}
	pthread_mutex_unlock(&r->lock);
	return o ? o : &s->priv->no_memory;
}

static void grow(struct metric_shard *s)
{
	uint32_t mask = s->mask * 2 + 1;
	struct metric_slot *slots = calloc((size_t)mask + 1, sizeof *slots);

	if (!slots)
		return;
	for (uint32_t i = 0; i <= s->mask; i++) {
		uint32_t at = metric_hash(s->slots[i].key) & mask;

		if (!s->slots[i].op)
			continue;
		while (slots[at].op)
			at = (at + 1) & mask;
		slots[at] = s->slots[i];
	}
	free(s->slots);
	s->slots = slots;
	s->mask = mask;
}

static struct metric_op *remember(struct metric_shard *s, struct metric_slot slot)
{
	s->recent[slot.key >> 42 & (METRIC_RECENT - 1)] = slot;
	return slot.op;
}

struct metric_op *metric_op_find(struct metric_shard *s, uint64_t key)
{
	uint32_t at = metric_hash(key) & s->mask;
	struct metric_op *o;

	for (; s->slots[at].op; at = (at + 1) & s->mask)
		if (s->slots[at].key == key)
			return remember(s, s->slots[at]);
	/* Remembering keys without end would be the leak that the cap is there to prevent; a table that
	 * could not grow is full, too. */
	if (s->used >= s->reg->max_series * 4 || s->used >= s->mask - s->mask / 4)
		return s->priv->overflow[key & 3] ? s->priv->overflow[key & 3] : op_make(s, key, true);
	o = op_make(s, key, false);
	if (o == &s->priv->no_memory)
		return o;
	if (o != s->priv->overflow[key & 3])
		metric_tally_op(s, o, key);
	s->slots[at].key = key;
	s->slots[at].op = o;
	if (++s->used > s->mask / 2)
		grow(s);
	return o;
}

/* ---- cells --------------------------------------------------------------------------------------- */

static bool same_values(const struct cell_series *s, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *a = s->values[i] ? s->values[i] : "", *b = v[i] ? v[i] : "";

		if (strcmp(a, b) != 0)
			return false;
	}
	return true;
}

static struct cell_series *cell_series_new(struct metric_reg *r, int id,
    const char *const *v, bool overflow)
{
	struct cell_series *s = calloc(1, sizeof *s);
	struct cell_series *_Atomic *tail = &r->cells[id];

	if (!s)
		return NULL;
	s->overflow = overflow;
	for (size_t i = 0; !overflow && i < r->keys[id].n; i++) {
		if (!v[i] || !*v[i])
			continue;
		s->values[i] = strdup(v[i]);
		if (!s->values[i]) {
			while (i-- > 0)
				free(s->values[i]);
			free(s);
			return NULL;
		}
	}
	while (*tail)
		tail = &(*tail)->next;
	atomic_store_explicit(tail, s, memory_order_release);
	r->ncells[id]++;
	return s;
}

/* Locked. */
static struct cell_series *cell_series(struct metric_reg *r, int id, const char *const *v)
{
	struct cell_series *s, *over = NULL;

	for (s = r->cells[id]; s; s = s->next) {
		if (s->overflow)
			over = s;
		else if (same_values(s, v, r->keys[id].n))
			return s;
	}
	if (r->ncells[id] < r->max_series) {
		s = cell_series_new(r, id, v, false);
		r->series += s != NULL;
		return s;
	}
	r->overflow++;
	return over ? over : cell_series_new(r, id, v, true);
}

struct metric_cell *metric_cell_of(struct metric_shard *s, int id,
    const char *const values[METRIC_ATTRS])
{
	struct metric_reg *r = s->reg;
	struct cell_series *series;
	struct cell_node *c = NULL;

	pthread_mutex_lock(&r->lock);
	series = cell_series(r, id, values);
	if (series) {
		for (c = series->cells; c && c->owner != s; c = c->next)
			;
		if (!c && (c = calloc(1, sizeof *c))) {
			c->owner = s;
			c->next = series->cells;
			atomic_store_explicit(&series->cells, c, memory_order_release);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return c ? &c->cell : &s->priv->no_cell;
}

struct hist *metric_hist_of(struct metric_shard *s, int id,
    const char *const values[METRIC_ATTRS])
{
	struct metric_reg *r = s->reg;
	struct cell_series *series;
	struct hist_node *h = NULL;

	pthread_mutex_lock(&r->lock);
	series = cell_series(r, id, values);
	if (series) {
		for (h = series->hists; h && h->owner != s; h = h->next)
			;
		if (!h && (h = calloc(1, sizeof *h))) {
			h->owner = s;
			h->next = series->hists;
			atomic_store_explicit(&series->hists, h, memory_order_release);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return h ? &h->hist : &s->priv->no_hist;
}
