/* SPDX-License-Identifier: Apache-2.0 */
/* metric/tally: see tally.h. */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "command/command.h"
#include "metric/priv.h"
#include "metric/tally.h"

static const enum metric_id rows[TALLY_COUNT] = { [TALLY_HITS] = METRIC_CACHE_HITS,
	[TALLY_MISSES] = METRIC_CACHE_MISSES, [TALLY_SETS] = METRIC_CACHE_SETS,
	[TALLY_DELETES] = METRIC_CACHE_DELETES, [TALLY_ERRORS] = METRIC_CACHE_ERRORS };

struct metric_tally *metric_tally_new(struct metric_shard *s, uint16_t project)
{
	struct metric_tally *t = calloc(1, sizeof *t);

	if (!t)
		return &s->priv->no_tally;
	atomic_store_explicit(&s->tally[project % METRIC_PROJECTS], t, memory_order_release);
	return t;
}

void metric_tally_op(struct metric_shard *s, struct metric_op *op, uint64_t key)
{
	struct metric_key k = metric_key_unpack(key);
	uint8_t counted = k.command < CMD_IDS && k.project != 0xffff ? cmd_counted[k.command] : COUNT_NOT;
	struct metric_tally *t;

	op->tally[0] = op->tally[1] = &s->priv->nothing;
	if (!counted || (k.kind != METRIC_OP && !k.error)) /* what waits for EXEC is local */
		return;
	op->tally[0] = op->tally[1] = NULL;
	t = metric_tally(s, k.project);
	if (t == &s->priv->no_tally)
		return;
	if (k.error) {
		op->tally[0] = op->tally[1] = &t->v[TALLY_ERRORS];
	} else if (counted == COUNT_GET) {
		op->tally[0] = &t->v[TALLY_HITS];
		op->tally[1] = k.command == CMD_GET ? &t->v[TALLY_MISSES] : NULL; /* GETEX has options */
	} else if (counted == COUNT_SET) {
		op->tally[0] = &t->v[TALLY_SETS];
	}
}

static bool sum(const struct metric_reg *r, unsigned project, uint64_t v[TALLY_COUNT])
{
	const struct metric_priv *p = atomic_load_explicit(&r->shards, memory_order_acquire);
	bool any = false;

	memset(v, 0, TALLY_COUNT * sizeof *v);
	for (; p; p = p->next) {
		const struct metric_tally *t = atomic_load_explicit(&p->shard.tally[project], memory_order_acquire);

		any |= t != NULL;
		for (int i = 0; t && i < TALLY_COUNT; i++)
			v[i] += atomic_load_explicit(&t->v[i], memory_order_relaxed);
	}
	return any;
}

void metric_tally_read(struct metric_reg *r, uint16_t project, uint64_t v[TALLY_COUNT], uint64_t *since_ns)
{
	const struct tally_base *b;

	pthread_mutex_lock(&r->lock);
	sum(r, project % METRIC_PROJECTS, v); /* locked: never behind the base */
	b = r->tally_base[project % METRIC_PROJECTS];
	*since_ns = b ? b->since_ns : 0;
	for (int i = 0; b && i < TALLY_COUNT; i++)
		v[i] -= b->v[i];
	pthread_mutex_unlock(&r->lock);
}

int metric_tally_reset(struct metric_reg *r, uint16_t project, uint64_t now_wall_ns, uint64_t evicted)
{
	struct tally_base **b = &r->tally_base[project % METRIC_PROJECTS];

	pthread_mutex_lock(&r->lock);
	if (!*b)
		*b = calloc(1, sizeof **b);
	if (*b) {
		sum(r, project % METRIC_PROJECTS, (*b)->v);
		(*b)->since_ns = now_wall_ns;
		(*b)->evicted = evicted;
	}
	pthread_mutex_unlock(&r->lock);
	return *b ? 0 : -1;
}

uint64_t metric_tally_evicted(struct metric_reg *r, uint16_t project)
{
	uint64_t n;

	pthread_mutex_lock(&r->lock);
	n = r->tally_base[project % METRIC_PROJECTS] ? r->tally_base[project % METRIC_PROJECTS]->evicted : 0;
	pthread_mutex_unlock(&r->lock);
	return n;
}

void metric_tally_collect(struct metric_reg *r)
{
	for (unsigned p = 0; p < METRIC_PROJECTS; p++) {
		const char *name = atomic_load_explicit(&r->projects[p], memory_order_acquire);
		struct tally_cells *c = r->tally_cells[p];
		uint64_t v[TALLY_COUNT];

		if (!name || !sum(r, p, v))
			continue;
		if (!c && (c = r->tally_cells[p] = calloc(1, sizeof *c)))
			for (int i = 0; i < TALLY_COUNT; i++)
				c->cell[i] = metric_cell(r->own, (int)rows[i], name);
		for (int i = 0; c && i < TALLY_COUNT; i++)
			metric_cell_set(c->cell[i], (int64_t)v[i]);
	}
}

void metric_tally_free(struct metric_reg *r)
{
	for (unsigned p = 0; p < METRIC_PROJECTS; p++) {
		free(r->tally_base[p]);
		free(r->tally_cells[p]);
	}
	for (struct metric_priv *s = r->shards; s; s = s->next) {
		for (unsigned p = 0; p < METRIC_PROJECTS; p++)
			free(s->shard.tally[p]);
		free(s->shard.tally);
	}
}
