/* SPDX-License-Identifier: Apache-2.0
 *
 * metric/priv: what the files of this room share and nobody else sees.
 *
 * Locking: `lock` guards everything that is created (names, series, nodes, shards); readers follow
 * what is published with release stores and never take it.  `reading` serialises readers and is the
 * licence to use the collectors' shard.
 */
#ifndef METRIC_PRIV_H
#define METRIC_PRIV_H
#include <pthread.h>
#include "metric/metric.h"

#define MAX_INSTANCES 255
#define MAX_PROJECTS METRIC_PROJECTS
#define MAX_ENDPOINTS 1024
#define MAX_WORDS 100
#define MAX_COLLECTORS 8
#define MAX_COMMANDS 4096

struct op_series {
	uint64_t key;
	bool overflow;
	struct metric_op *_Atomic nodes;
};

struct hist_node {
	struct hist hist;
	struct metric_shard *owner;
	struct hist_node *next;
};
struct cell_node {
	struct metric_cell cell;
	struct metric_shard *owner;
	struct cell_node *next;
};
struct cell_series {
	struct cell_series *_Atomic next;
	struct cell_node *_Atomic cells; /* or */
	struct hist_node *_Atomic hists;
	bool overflow;
	char *values[METRIC_ATTRS];      /* NULL = absent */
};

struct attr_key { char name[40]; bool is_int; };
struct row_keys { struct attr_key key[METRIC_ATTRS]; size_t n; };

struct metric_priv { /* of a shard */
	struct metric_shard shard;
	struct metric_priv *next;
	struct metric_op *overflow[4];   /* by kind */
	struct metric_op no_memory;      /* when not even the overflow series could be had */
	struct metric_cell no_cell;
	struct hist no_hist;
	struct metric_tally no_tally;
	_Atomic uint64_t nothing;        /* where commands that no tally has count */
};

struct tally_base { uint64_t v[TALLY_COUNT], since_ns, evicted; }; /* at the latest reset */
struct tally_cells { struct metric_cell *cell[TALLY_COUNT]; };

struct metric_reg {
	pthread_mutex_t lock, reading;
	uint32_t max_series;
	uint64_t start_wall_ns;
	const char *(*command)(uint16_t command);
	struct row_keys keys[METRIC_COUNT + METRIC_EXTRA];
	struct metric_row *extra[METRIC_EXTRA];
	_Atomic uint32_t nextra;

	struct metric_priv *_Atomic shards;
	struct metric_shard *own;                /* the collectors' */
	struct { metric_collect_fn fn; void *arg; } collectors[MAX_COLLECTORS];
	uint32_t ncollectors;                    /* with `reading` held */

	struct metric_instance *_Atomic instances[MAX_INSTANCES];
	struct metric_endpoint *_Atomic endpoints[MAX_ENDPOINTS];
	char *_Atomic projects[MAX_PROJECTS];
	struct metric_clients clients[MAX_PROJECTS];
	char *_Atomic words[MAX_WORDS];
	char *_Atomic commands[MAX_COMMANDS];    /* names that had to be converted */

	uint64_t *op_keys;                       /* [max_series]: scanned under the lock */
	struct op_series **ops;                  /* [max_series + 4] */
	_Atomic uint32_t nops;                   /* published */
	uint32_t nkeys;                          /* of op_keys: without the overflow series */
	struct op_series *op_overflow[4];
	struct cell_series *_Atomic cells[METRIC_COUNT + METRIC_EXTRA];
	uint32_t ncells[METRIC_COUNT + METRIC_EXTRA];
	_Atomic uint64_t series, overflow;
	struct tally_base *tally_base[MAX_PROJECTS];
	struct tally_cells *tally_cells[MAX_PROJECTS]; /* with `reading` held */
};

/* Attributes of one point from its values, in the order of the row. */
size_t metric_attrs(const struct metric_reg *r, int id, const char *const *values,
    bool overflow, struct metric_attr out[METRIC_ATTRS + 1]);
#endif
