/* SPDX-License-Identifier: Apache-2.0
 *
 * access/limit: how much of the agent a project may use.  In: the limits of a [project] section, what a
 * request costs, the time.  Out: whether it may go on, and if not, which limit says so and for how long.
 *
 * Rules belong to a configuration generation and do not change.  What they count is shared by all workers and
 * by the generations in which the rule is the same: a reload forgets nothing.  A project without limits has no
 * struct limits, and nothing of this is touched for it.
 */
#ifndef ACCESS_LIMIT_H
#define ACCESS_LIMIT_H
#include <stdatomic.h>
#include <stddef.h>
#include <purser/plugin.h>
#include "config/cfg.h"
#include "resilience/gcra.h"

enum limit {
	LIMIT_RATE, LIMIT_WRITE_RATE, LIMIT_BYTE_RATE, /* of the project */
	LIMIT_CLIENT_RATE, LIMIT_CLIENT_WRITE_RATE, LIMIT_CLIENT_BYTE_RATE, /* of each connection */
	LIMIT_METERS,
	LIMIT_INFLIGHT = LIMIT_METERS, LIMIT_CONNECTIONS,
	LIMIT_COUNT
};
#define LIMIT_SHARED 3u          /* meters of the project */
#define LIMIT_OWN 3u             /* meters of a connection */
extern const char *const limit_names[LIMIT_COUNT]; /* as the keys of [project]: "rate" */

struct limit_cell { _Alignas(64) _Atomic uint32_t refs; struct gcra g; };
struct limit_use {
	_Alignas(64) _Atomic uint32_t refs;
	_Atomic uint32_t inflight;      /* requests that are not answered */
	_Atomic uint32_t connections;
	_Atomic uint64_t refused[LIMIT_COUNT];
};

struct limits {
	struct gcra_rule rule[LIMIT_METERS]; /* step 0: there is none */
	bool meters;                    /* one of them is set */
	bool by_size;                   /* a request of 4 KiB and more counts for several */
	uint32_t max_inflight;          /* 0: no limit */
	uint32_t max_connections;
	purser_quota quota;             /* for the plugin; all 0: none */
	struct limit_cell *cell[LIMIT_SHARED]; /* NULL: no rule */
	struct limit_use *use;
};

/* What section s says, and nothing to count with.  0 and *out NULL: it has no limits.  -1: no memory. */
int limits_read(const struct cfg_section *s, struct limits **out);
/* Those of one project, with what they count: new, or that of was where the rule is the same.  was: of the same
 * project before, or NULL.  NULL: no memory. */
struct limits *limits_for(const struct limits *rules, const struct limits *was);
void limits_free(struct limits *l);
struct limit_use *limit_use_ref(struct limit_use *u);
void limit_use_unref(struct limit_use *u);

struct limit_ask {
	uint32_t commands, writes;      /* writes: of the commands, those that may change data */
	uint64_t bytes;                 /* of the request */
	bool waits;                     /* in the store: it is not one of max_inflight */
	uint64_t now_ns;
};
struct limit_no {
	enum limit limit;
	uint64_t wait_ns;               /* GCRA_NEVER: it is more than may ever come at once */
};
/* Pay for a request; own: the meters of its connection.  False: nothing was taken. */
bool limits_take(const struct limits *l, struct gcra own[LIMIT_OWN], const struct limit_ask *a, struct limit_no *no);
/* It is answered, with so many bytes. */
void limits_done(const struct limits *l, struct gcra own[LIMIT_OWN], bool waited, uint64_t bytes, uint64_t now_ns);
#endif
