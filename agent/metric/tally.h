/* SPDX-License-Identifier: Apache-2.0
 *
 * metric/tally: what became of the ordinary reads and writes of each project: CACHE.STATS, and purser.cache.*.
 *
 * Each shard has its own, so counting is a load and a store; they are added up when somebody reads.  They count from
 * the start of the agent and never go back.  metric_tally_reset() notes where they stood: what CACHE.STATS shows begins
 * there, what is exported does not.
 */
#ifndef METRIC_TALLY_H
#define METRIC_TALLY_H
#include "metric/metric.h"

/* Never NULL: a project without a place of its own shares one, as its name does. */
struct metric_tally *metric_tally_new(struct metric_shard *s, uint16_t project);
static inline struct metric_tally *metric_tally(struct metric_shard *s, uint16_t project)
{
	struct metric_tally *t = atomic_load_explicit(&s->tally[project % METRIC_PROJECTS], memory_order_relaxed);

	return __builtin_expect(t != NULL, 1) ? t : metric_tally_new(s, project);
}
static inline void metric_tally_add(struct metric_tally *t, enum metric_tally_id what, uint64_t n)
{
	hist_bump(&t->v[what], n);
}

/* op, which is this key's alone, learns where its requests count: [0] those of at most three words whose reply has no
 * null, [1] others.  NULL: the key does not say; who counts looks closer. */
void metric_tally_op(struct metric_shard *s, struct metric_op *op, uint64_t key);

/* Any thread.  Since the latest reset; *since_ns: when that was (wall), or 0. */
void metric_tally_read(struct metric_reg *r, uint16_t project, uint64_t v[TALLY_COUNT], uint64_t *since_ns);
/* evicted: what the store says of that now.  -1: no memory. */
int metric_tally_reset(struct metric_reg *r, uint16_t project, uint64_t now_wall_ns, uint64_t evicted);
uint64_t metric_tally_evicted(struct metric_reg *r, uint16_t project); /* at the latest reset; 0: there was none */
/* With `reading` held: into the cells of metrics.def. */
void metric_tally_collect(struct metric_reg *r);
void metric_tally_free(struct metric_reg *r);
#endif
