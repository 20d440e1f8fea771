/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/job_service: the jobs of all projects and the thread that does them.  What comes in: requests of clients
 * (jobs_post(), any thread) and the store's answers; what goes out: questions to the store, files, metrics, the log.
 * The thread has a loop of its own because it waits for the disk; the store is reached by a worker, on the road that
 * every command takes, through the function `ask` that main hands in.
 */
#ifndef FEATURE_JOB_SERVICE_H
#define FEATURE_JOB_SERVICE_H
#include "base/buf.h"
#include "feature/job.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metric/metric.h"

struct jobs;

/* One or several commands of the same number of words, of one project. */
#define JOB_ERROR_MAX 240u
struct job_ask {
	purser_job job;                  /* whoever has it uses it */
	struct loop *home;               /* where done() is to be called */
	void (*done)(struct job_ask *a);
	const char *project;             /* borrowed, as are the words */
	uint16_t db;
	uint32_t lot;                    /* which worker, modulo their number */
	const purser_bytes *words;
	uint32_t ncommands, each;        /* commands, and words of each */
	int64_t *numbers;                /* [ncommands] for integer replies; or NULL: the first one's reply whole */
	char backend[JOB_NAME_MAX + 1];  /* in: it must be this one, or ""; out: which one it is */
	/* out */
	bool whole;                      /* the project has no prefix: the agent's own keys are among the names */
	enum err_code err;
	char error[JOB_ERROR_MAX];       /* "WORD text" */
	struct buf reply;                /* RESP3, without prefixes; the asker frees it */
	/* the answerer's */
	void *owner;
	void *parts;                     /* freed by who answers, or with the asker */
	uint32_t left;
};

struct jobs_opts {
	struct job_limits limits;
	uint32_t running;                /* of one project at once; others wait */
	uint32_t kept;                   /* of one project, those included that are over */
	uint64_t keep_ms;                /* those that are over, at most */
	uint64_t export_max;             /* bytes of one export */
};

struct jobs_deps {
	struct log *log;
	struct metric_reg *metrics;
	const char *state_dir;           /* borrowed */
	void *arg;
	void (*ask)(void *arg, struct job_ask *a); /* answers with loop_post(a->home) of a->done */
};

struct jobs *jobs_new(const struct jobs_deps *d, const struct jobs_opts *o); /* reads what there is; NULL: no memory */
int jobs_start(struct jobs *s);          /* its thread; an errno */
void jobs_apply(struct jobs *s, const struct jobs_opts *o); /* after a reload */
void jobs_stop(struct jobs *s);          /* asks nothing any more; what runs is saved */
void jobs_join(struct jobs *s);          /* when no worker can answer any more */
void jobs_free(struct jobs *s);

/* ---- requests ---- */

enum job_want { JOB_WANT_START, JOB_WANT_SHOW, JOB_WANT_LIST, JOB_WANT_CANCEL, JOB_WANT_FETCH };
#define JOB_FETCH_MAX (8u << 20)

struct job_shown {
	struct job job;
	int32_t progress_ppm;            /* -1: unknown */
	int64_t eta_ms;                  /* -1: unknown */
};

struct job_request {
	purser_job job;                  /* the service's until done() */
	struct loop *home;
	void *arg;                       /* the caller's */
	uint8_t want;                    /* enum job_want */
	char project[JOB_NAME_MAX + 1];
	char id[JOB_ID + 1];             /* SHOW CANCEL FETCH */
	bool may_write;                  /* CANCEL: of jobs that write */
	struct job fresh;                /* START: kind, db, dry_run, cap, rate, uid, ttl_ms, pattern */
	uint64_t offset;                 /* FETCH */
	uint32_t count;                  /* ... 1 .. JOB_FETCH_MAX */
	/* out */
	enum err_code err;
	char error[JOB_ERROR_MAX];       /* the text alone */
	struct job_shown *v;             /* START SHOW CANCEL FETCH: one; LIST: n, oldest first */
	uint32_t n;
	uint8_t *data;                   /* FETCH: lines */
	size_t data_n;
	/* the service's */
	struct jobs *service;
	purser_fn answer;
};
struct job_request *job_request_new(void); /* NULL: no memory */
void job_request_free(struct job_request *q);
/* Any thread.  answer(q) is called on q->home, once; it frees q with job_request_free(). */
void jobs_post(struct jobs *s, struct job_request *q, purser_fn answer);
#endif
