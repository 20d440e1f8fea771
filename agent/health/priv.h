/* SPDX-License-Identifier: Apache-2.0
 *
 * health/priv: what the files of the room share.  health.c: life, schedule, questions.  probe.c: one
 * backend's check, step by step.  outside.c: keys that no project reaches.  memory.c: what memory
 * numbers mean.  document.c: the status document.  state.c: what survives a restart.
 */
#ifndef HEALTH_PRIV_H
#define HEALTH_PRIV_H
#include <pthread.h>
#include <stdatomic.h>
#include <purser/resp.h>
#include "base/buf.h"
#include "backend/instance.h"
#include "health/health.h"
#include "health/memory.h"
#include "metric/info.h"

#define NOT_MEASURED UINT64_MAX
#define NAME_MAX_BYTES 65u

enum health_status { HEALTH_HEALTHY, HEALTH_DEGRADED, HEALTH_UNHEALTHY }; /* purser.health.state */
enum health_step { STEP_PING, STEP_SET, STEP_GET, STEP_DEL, STEP_INFO, STEP_END };
const char *health_status_name(enum health_status s);
const char *health_step_name(enum health_step s);

/* A command under way.  Its answer comes once, also after the one who asked is gone (owner NULL). */
struct ticket {
	void *owner;
	void (*fn)(void *owner, const struct health_answer *a);
	struct ticket **place;     /* the owner's pointer to it: NULL again when the answer is here */
};

struct probe_result {
	bool done;                 /* a check has ended */
	bool ok;                   /* every step did what it must */
	enum health_step failed;   /* if not ok */
	enum err_code err;
	char error[240];
	uint64_t ping_ns, set_ns, get_ns, del_ns; /* NOT_MEASURED */
	uint64_t took_ns;
	char info_error[200];      /* INFO was asked for and failed; else "" */
};

/* Keys that lie outside all projects: counted in the background after a check that passed. */
struct outside {
	struct ticket *ticket;
	uint64_t due_ns;           /* 0: at the next chance */
	uint64_t total;            /* DBSIZE */
	uint64_t seen, foreign;
	char cursor[24];
	int64_t told;              /* what the log said last; -1: nothing */
};

struct probe {
	struct health *h;
	/* from the setup */
	uint32_t index;
	char name[NAME_MAX_BYTES], plugin[64], eviction[24], address[108];
	uint16_t port;
	uint64_t caps, max_memory;
	bool in_process;
	/* the check */
	bool running;
	bool stuck;                /* the worker owes an answer since a check long ago */
	struct ticket *ticket;
	enum health_step step;
	bool no_ping;              /* the plugin has no PING: GET stands for it */
	unsigned tries;            /* of SET, GET, DEL: another agent may probe the same store */
	uint64_t began_ns, step_ns;
	struct loop_timer guard, again;
	char value[64];
	struct probe_result now, last;
	uint64_t down_ns;          /* since when the probe fails; 0: it does not */
	/* memory */
	struct threshold threshold;
	uint64_t since_s;          /* Unix time of the level's beginning; 0 = not known */
	uint64_t counted_ns;       /* when the threshold got its latest sample; 0: never */
	struct memory_watch watch;
	struct memory_verdict memory;
	bool memory_fresh;         /* by the latest check */
	struct memory_facts facts;
	struct outside outside;
	/* accounts */
	struct metric_info *info;
	struct metric_cell *up, *level, *usage;
};

struct waiter {
	struct waiter *next;
	void (*done)(void *arg, const char *json, size_t n);
	void *arg;
};
#define WAITERS_MAX 10000u

struct stored { char name[NAME_MAX_BYTES]; uint8_t level; uint64_t hash, since_s; };
#define STORED_MAX 64u

struct health {
	struct health_deps d;
	char *state_dir;
	struct health_opts opts;
	char *service, *version;
	uint64_t generation;
	struct probe *probes[INSTANCES_MAX];
	uint32_t nprobes;
	struct project *projects;  /* copies */
	uint32_t nprojects;
	char id[17];               /* tells this agent's probes from those of others */
	uint64_t counter, random;
	/* checks */
	uint32_t running;          /* probes of the check that is under way */
	uint64_t began_ns, ended_ns, ended_ms, took_ns; /* of the latest check; ended 0: none yet */
	struct loop_timer timer;
	bool changed;              /* by a setup since the latest check ended: it says too little */
	struct waiter *waiters, **waiters_end;
	uint32_t nwaiters;
	struct buf document;
	enum health_status status;
	bool judged;               /* by a check, not by the beginning */
	struct health_telemetry telemetry;
	struct metric_cell *state_cell;
	uint64_t calls, failed_calls;
	/* state file */
	struct stored stored[STORED_MAX];
	uint32_t nstored;
	struct buf written;        /* what the file holds */
	bool state_warned;
	bool stopped;
	/* any thread */
	_Atomic bool ready;
	_Atomic bool nudged;       /* the job is under way to the loop */
	purser_job nudge;          /* is the last check too old? */
	pthread_mutex_t lock;      /* why */
	char why[240];
	_Atomic int64_t outside[INSTANCES_MAX];
	_Atomic bool about[INSTANCES_MAX];
};

/* health.c */
/* Ask with a ticket in *place; fn comes unless the ticket is dropped before. 0, or -1: no memory. */
int health_ask(struct health *h, uint32_t instance, const purser_bytes *argv, uint32_t argc,
    struct ticket **place, void *owner, void (*fn)(void *owner, const struct health_answer *a));
void ticket_drop(struct ticket **place);
void health_probe_ended(struct health *h); /* one probe of the check is done */
purser_bytes health_word(const char *s);

/* probe.c */
struct probe *probe_new(struct health *h, const struct health_instance *i);
int probe_update(struct probe *p, const struct health_instance *i);
void probe_free(struct probe *p);
void probe_start(struct probe *p);
void probe_stop(struct probe *p);    /* what is under way is dropped */
enum health_status probe_status(const struct probe *p);
/* What is wrong with it, as sentences to the reasons of the document; calls put for each. */
void probe_reasons(const struct probe *p, void (*put)(void *arg, const char *text), void *arg);
bool probe_memory_alarm(const struct probe *p);
enum health_breaker_state probe_breaker(const struct probe *p);

/* outside.c */
void outside_start(struct probe *p); /* if it is time */

/* document.c */
void document_write(struct health *h);
void document_calls(struct health *h); /* count calls in the registry */

/* state.c */
void state_load(struct health *h);
const struct stored *state_find(const struct health *h, const char *name);
void state_save(struct health *h);     /* if anything is new */

/* A string in a RESP reply at p[0..n): bytes taken, 0: not a string (nil is one with out->p NULL). */
size_t reply_string(const uint8_t *p, size_t n, purser_bytes *out);
#endif
