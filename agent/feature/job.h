/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/job: something that is done to all keys of a project whose names match a pattern, in slices: clear, count,
 * give a time to live, export the names.  Pure: what the store answers and the time come in, what is to be done next
 * comes out; no I/O, no clock.  The thread that does it is job_service.c, the files are job_file.c.
 *
 * A slice is one SCAN and, if names came, what is done to them.  Two brakes hold a job: its rate (a key that matches
 * counts 1, one that is only passed over a quarter), and the share of the store's time that jobs may have: after a
 * slice that took t, the store is left alone for t * (1 / share - 1), whoever's job comes next.  So on a slow or busy
 * store a job goes slower than its rate, and a store never gives more than that share to jobs.  What a slice took is told
 * by the clock, from question to answer; of that no more counts than three times what so many keys cost lately at their
 * cheapest, or a machine that is busy with other things would bring jobs to a halt.
 *
 * A cursor of SCAN is worth something only in the process of the store that gave it: another process (restarted, or
 * another server behind the same address) has its keys in another order.  So a job remembers whose cursor it has
 * (run_id of INFO), asks again after every trouble and at the end, and begins anew if it was another.
 */
#ifndef FEATURE_JOB_H
#define FEATURE_JOB_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/errors.h"
#include "resilience/gcra.h"

#define JOB_ID 16u              /* hexadecimal digits: they sort by time of birth */
#define JOB_PATTERN_MAX 1024u
#define JOB_REASON_MAX 240u
#define JOB_STORE_MAX 64u       /* a run_id */
#define JOB_NAME_MAX 64u        /* of projects and backends */
#define JOB_RATE_MAX 10000000u
#define JOB_TTL_MAX_MS INT64_C(315360000000000) /* ten thousand years: what every store takes */

enum job_kind { JOB_CLEAR, JOB_COUNT, JOB_TTLREPAIR, JOB_EXPORT, JOB_KINDS };
enum job_state {
	JOB_QUEUED,             /* others of the project run */
	JOB_RUNNING,
	JOB_INTERRUPTED,        /* the agent ended, or the store is away: goes on by itself */
	JOB_DONE, JOB_CANCELLED, JOB_FAILED, /* for good */
	JOB_STATES
};
const char *job_kind_name(uint8_t kind);   /* clear count ttlrepair export */
int job_kind_of(const char *name);         /* -1: none of that name */
const char *job_state_name(uint8_t state);
int job_state_of(const char *name);
static inline bool job_over(uint8_t state) { return state >= JOB_DONE; }

/* What is stored. */
struct job {
	char id[JOB_ID + 1];
	uint8_t kind, state;
	bool dry_run;           /* CLEAR, TTLREPAIR: change nothing, say what would be */
	bool cap;               /* TTLREPAIR: shorten longer ones, too */
	uint16_t db;
	uint32_t rate;          /* keys a second that were asked for; 0: the default */
	uint32_t uid;           /* who asked */
	uint32_t passes;        /* walks begun, the first one included */
	uint32_t resumed;       /* times that it went on after an end of the agent */
	int64_t ttl_ms;         /* TTLREPAIR */
	uint64_t created_ms, started_ms, ended_ms; /* Unix; 0: not yet */
	uint64_t active_ms;     /* running in this pass, all runs of the agent together */
	uint64_t cursor;        /* of the store: the next SCAN */
	uint64_t walked;        /* keys passed by in this pass, about */
	uint64_t matched;       /* ... whose name matched */
	uint64_t changed;       /* keys removed, or given a time to live, in all passes; dry_run: that would be */
	uint64_t bytes;         /* EXPORT: of the file that are whole lines and belong to cursor */
	char project[JOB_NAME_MAX + 1];
	char backend[JOB_NAME_MAX + 1]; /* its instance, "" until it has begun */
	char store[JOB_STORE_MAX + 1];  /* whose cursor it is, "": unknown */
	char reason[JOB_REASON_MAX + 1]; /* why it failed or waits; "" */
	uint32_t pattern_n;
	uint8_t pattern[JOB_PATTERN_MAX];
};

/* A new one, queued; random gives the low bits of its id. */
void job_id_make(char id[JOB_ID + 1], uint64_t wall_ms, uint64_t random);
void job_id_after(char id[JOB_ID + 1], const char *before); /* the next one */
bool job_id_ok(const char *id, size_t n);
static inline bool job_writes(const struct job *j)
{
	return (j->kind == JOB_CLEAR || j->kind == JOB_TTLREPAIR) && !j->dry_run;
}

/* The one place where a state changes.  False: that change is none (it is over), and nothing was done. */
bool job_move(struct job *j, enum job_state to, const char *reason, uint64_t wall_ms);

/* ---- running it ---- */

struct job_share {              /* of a store: what its jobs have together */
	uint64_t free_ns;       /* it is left alone until then */
	const struct job *taken; /* whose slice is under way */
	const struct job *last; /* whose was the latest: others go first */
	uint32_t jobs;          /* that run on it; the caller counts */
};

struct job_limits {
	uint32_t rate;          /* keys/s of a job that says nothing */
	uint32_t share_ppm;     /* of the store's time, for jobs that say nothing */
};
#define JOB_ASKED_SHARE_PPM 500000u /* for those with a RATE of their own */

#define JOB_COUNT_MIN 1u
#define JOB_COUNT_FIRST 10u
#define JOB_COUNT_MAX 1000u
#define JOB_SLICE_NS UINT64_C(1500000)      /* what a slice should take of the store */
#define JOB_TURN_NS UINT64_C(200000)        /* so much later it may begin who has just had one */
#define JOB_REST_MAX_NS UINT64_C(2000000000)
#define JOB_BACKOFF_NS UINT64_C(100000000)
#define JOB_BACKOFF_MAX_NS UINT64_C(15000000000)

enum job_step {
	JOB_STEP_WAIT,          /* until *until_ns */
	JOB_STEP_IDENTIFY,      /* ask who the store is: job_identified() */
	JOB_STEP_SCAN,          /* with cursor and COUNT count: job_scanned() */
	JOB_STEP_WORK,          /* on the names that came: job_worked() */
	JOB_STEP_END            /* it is through: job_move(JOB_DONE) */
};

struct job_run {                /* beside a job that runs; all zero, then job_run_begin() */
	uint8_t phase;
	bool doubt;             /* the cursor may be another process's */
	bool blind;             /* its cursors do not tell how far it is */
	uint32_t count;         /* COUNT of the next SCAN */
	uint32_t rate, share_ppm;
	uint32_t failures;      /* in a row */
	struct gcra meter;
	struct gcra_rule rule;
	uint64_t not_before_ns; /* trouble */
	uint64_t spent_ns;      /* of the store, in this slice */
	uint64_t cheapest_ps;   /* what a key has cost where nothing else was in the way, lately */
	uint64_t next_cursor;
	uint64_t names;         /* that the latest SCAN gave */
	uint64_t at_ns;         /* active_ms counts from here; 0: it does not */
};
void job_run_begin(struct job_run *r, struct job *j, const struct job_limits *l);
void job_limits_set(struct job_run *r, const struct job *j, const struct job_limits *l); /* after a reload */

enum job_step job_next(struct job *j, struct job_run *r, struct job_share *s, uint64_t now_ns, uint64_t *until_ns);
/* took_ns: from question to answer.  store "": it does not tell. */
void job_identified(struct job *j, struct job_run *r, struct job_share *s, const char *store, uint64_t now_ns);
void job_scanned(struct job *j, struct job_run *r, struct job_share *s, uint64_t cursor, uint64_t names,
    uint64_t took_ns, uint64_t now_ns);
void job_worked(struct job *j, struct job_run *r, struct job_share *s, uint64_t changed, uint64_t took_ns,
    uint64_t now_ns);
/* The question came to nothing; random as for a retry. */
void job_troubled(const struct job *j, struct job_run *r, struct job_share *s, uint64_t now_ns,
    uint64_t random);
/* It runs no more (over, or interrupted). */
void job_run_end(struct job *j, struct job_run *r, struct job_share *s, uint64_t now_ns);

/* Is what was answered worth another try?  text: "WORD ..." of the store when code is ERR_REDIS. */
bool job_may_retry(enum err_code code, const char *text);

/* ---- what is shown ---- */

/* How much of the walk a cursor stands for: its bits read backwards grow from 0 to 1, as 2^-64. */
uint64_t job_cursor_fraction(uint64_t cursor);
int32_t job_progress_ppm(const struct job *j, bool blind); /* -1: unknown */
int64_t job_eta_ms(const struct job *j, bool blind);       /* -1: unknown */
#endif
