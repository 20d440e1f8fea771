/* SPDX-License-Identifier: Apache-2.0
 *
 * health: does every backend answer, how full is its memory, and what is worth telling.
 *
 * In: answers of the backends to the probe (PING; SET, GET compared, DEL, each timed; INFO), which
 * walks the real road through `ask`; plugins' stats(); connection counts; the state of telemetry.
 * Out: the status document of GET /redis/status and PURSER.HEALTH (docs/health.md), ready or not for
 * GET /readyz, gauges, log events at each change, alert state in state_dir.
 *
 * A check runs every [health] interval, at once at the start and after a reload, every RECHECK while
 * a backend fails, and when somebody asks for a document that is older than max_age.  All backends
 * are probed at the same time, each one step after the other.  No check starts while one is running.
 *
 * Everything belongs to the control thread's loop but for health_ready(), health_outside() and
 * health_outside_text().
 */
#ifndef HEALTH_HEALTH_H
#define HEALTH_HEALTH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "access/project.h"
#include "base/errors.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metric/metric.h"
#include "resilience/threshold.h"

struct health;

#define HEALTH_RECHECK_NS UINT64_C(2000000000) /* or interval, if that is shorter */

/* ---- what main hands over ------------------------------------------------------------------------- */

struct health_answer {     /* of one command; borrowed for the call */
	enum err_code err;     /* ERR_NONE: resp is the reply */
	const char *error;     /* "WORD text", when err is set */
	const uint8_t *resp;   /* one RESP3 value */
	size_t n;
};
typedef void (*health_answer_fn)(void *arg, const struct health_answer *a);

struct health_pool { uint64_t created, available, max; }; /* connections: open, idle, most allowed */

enum health_breaker_state { HEALTH_BREAKER_DISABLED, HEALTH_BREAKER_CLOSED, HEALTH_BREAKER_OPEN,
	HEALTH_BREAKER_HALF_OPEN };
struct health_breaker {
	enum health_breaker_state state;     /* the worst of them */
	uint64_t opens;
	const char *name[2];                 /* the states of those for reading and writing; NULL: none */
};

struct health_telemetry {
	int state;             /* the numbers of purser.telemetry.state: disabled ok degraded failed */
	char text[200];        /* why it is not ok, or "" */
};

struct health_deps {
	struct loop *loop;                   /* the control thread's */
	struct log *log;
	struct metric_reg *metrics;          /* or NULL: calls are not counted */
	struct metric_shard *shard;          /* the control thread's, or NULL: no gauges */
	const char *state_dir;               /* "" or NULL: alert state does not survive a restart */
	void *arg;                           /* of all that follow */
	/* Run argv (physical names, borrowed for the call) on the backend instance of that index as a
	 * request of the agent's own, done within timeout_ns.  done() comes exactly once, on the control
	 * loop, later, also at shutdown; it may come after health_free(). */
	void (*ask)(void *arg, uint32_t instance, const purser_bytes *argv, uint32_t argc,
	    uint64_t timeout_ns, health_answer_fn done, void *done_arg);
	/* stats() of the plugin: for backends with CAP_MEMORY_INFO.  0, or -1. */
	int (*stats)(void *arg, uint32_t instance, purser_stats *out);
	void (*pool)(void *arg, uint32_t instance, struct health_pool *out);
	void (*telemetry)(void *arg, struct health_telemetry *out);   /* NULL: disabled */
	void (*breaker)(void *arg, uint32_t instance, struct health_breaker *out); /* NULL: disabled */
	void (*moved)(void *arg, const char *from, const char *to); /* the status of the whole; or NULL */
	const char *sandbox;                 /* "on", "partial", "off": static, or NULL */
};

/* ---- what a reload may change --------------------------------------------------------------------- */

struct health_opts {
	uint64_t interval_ns, max_age_ns, timeout_ns;
	struct threshold_rule rule;          /* period_ns is set to interval_ns */
	bool unbounded_warns;                /* [health] memory_unbounded = warning */
};

struct health_instance {
	uint32_t index;                      /* the number for ask, stats, pool, projects */
	const char *name, *plugin;           /* of [backend NAME]; of the plugin */
	uint64_t caps;                       /* PURSER_CAP_* */
	bool in_process;                     /* its store is this process */
	const char *address;                 /* of the store, for redis.*: "" and 0: none */
	uint16_t port;
	const char *eviction;                /* its setting, "" = not known: for stores without INFO */
	uint64_t max_memory;                 /* its setting, 0 = none: the limit where the store has none */
};

struct health_setup {                    /* all is copied */
	struct health_opts opts;
	const struct health_instance *instances;
	uint32_t ninstances;                 /* <= INSTANCES_MAX; the first is the one shown at top level */
	const struct project_set *projects;  /* NULL: none */
	uint64_t generation;
	const char *service;                 /* service.name */
	const char *version;
};

/* [health] as options. */
struct cfg;
void health_opts_of(struct health_opts *o, const struct cfg *c);

/* ---- life ----------------------------------------------------------------------------------------- */

/* d is copied, its texts too.  Nothing runs before the first health_setup().  NULL: no memory. */
struct health *health_new(const struct health_deps *d);
/* What is kept by name goes on as it was: levels, results, a check that is under way.  Starts a check.
 * 0, or -1 without memory: nothing has changed. */
int health_setup(struct health *h, const struct health_setup *s);
/* No more checks: waiters are answered with what is known, answers that still come are dropped.  All
 * questions stay allowed. */
void health_stop(struct health *h);
/* Stops.  Nobody on another thread may ask any more, and the loop has turned since the last one did. */
void health_free(struct health *h);

/* ---- questions ------------------------------------------------------------------------------------ */

/* The document: at once if it is no older than max_age, else after a check.  done() is called once,
 * perhaps from inside; json is borrowed for the call. */
void health_get(struct health *h, void (*done)(void *arg, const char *json, size_t n), void *arg);
/* The latest document as it is, however old; borrowed until the loop's next turn. */
const char *health_latest(struct health *h, size_t *n);
/* Something tells that a backend may be away, or back: check soon, not more often than RECHECK. */
void health_hint(struct health *h);
/* A breaker has changed its state: so has what the document and health_ready() say. */
void health_breaker_moved(struct health *h);

/* Any thread.  Did every backend pass its last probe?  If not, why.  The answer is at once that of the
 * last check; if that is older than max_age another one is started, so who polls is told the present
 * state at the next poll. */
bool health_ready(struct health *h, char *why, size_t whylen);
/* Any thread.  Keys of a backend that lie outside all projects (nor are the agent's own); -1: not
 * known.  *about: the store is large, a part of it was looked at. */
int64_t health_outside(struct health *h, uint32_t instance, bool *about);
/* Any thread.  The sentence of it for one project, naming the setting that shows them; its length, or
 * 0: nothing to say (none, not known, or the project is not isolated). */
size_t health_outside_text(struct health *h, const struct project *p, char *dst, size_t cap);
#endif
