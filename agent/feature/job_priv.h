/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the jobs' thread share: job_service.c (doing them), job_request.c (what clients ask), job_read.c
 * (the store's answers), job_metric.c.
 */
#ifndef FEATURE_JOB_PRIV_H
#define FEATURE_JOB_PRIV_H
#include <pthread.h>
#include "feature/job_file.h"
#include "feature/job_service.h"

/* ---- the store's answers ---- */
struct job_names {
	struct buf text;                 /* the answer to SCAN; v points into it */
	purser_bytes *v;
	uint32_t n, cap;
	int64_t *numbers;                /* [n]: what was answered of each; or NULL */
	uint32_t numbers_cap;
};
/* 0; -EPROTO: it is none; -ENOMEM.  whole: the agent's own keys are left out. */
int job_read_scan(struct job_names *x, bool whole, uint64_t *cursor);
bool job_names_numbers(struct job_names *x); /* room for numbers */
void job_names_free(struct job_names *x);
/* run_id of INFO; "": it does not tell. */
void job_read_run_id(const uint8_t *resp, size_t n, char dst[JOB_STORE_MAX + 1]);

/* ---- the thread ---- */
enum job_question { JOB_Q_WHO, JOB_Q_SCAN, JOB_Q_WORK };

struct job_slot {
	struct job_slot *next;
	struct jobs *s;
	struct job j;
	struct job_run r;
	struct job_share *share;         /* of its backend; own as long as that is not known; NULL: it does not run */
	struct job_share own;
	bool begun;                      /* r is set */
	bool asking;                     /* ask is under way */
	bool unsaved;                    /* said so */
	uint8_t question;
	struct job_ask ask;
	struct loop_timer timer;
	purser_bytes *words;
	size_t words_cap;
	struct job_names names;
	int64_t number;
	int names_fd;                    /* EXPORT; or -1 */
	uint64_t sent_ns, saved_ns;
	char cursor_text[24], count_text[16], ttl_text[24];
};

struct job_store {
	struct job_store *next;
	char name[JOB_NAME_MAX + 1];
	struct job_share share;
};

struct jobs {
	struct jobs_deps d;
	struct jobs_opts opts;
	struct loop *loop;
	struct metric_shard *shard;
	pthread_t thread;
	bool running, stopping;
	int dirfd;                       /* of state_dir/jobs; -1 */
	struct job_slot *first;          /* by id, so by age */
	struct job_store *stores;
	struct loop_timer sweep;
	purser_job wake;
	uint64_t random;
};

void job_step(struct jobs *s, struct job_slot *t);
void job_start_more(struct jobs *s);
bool job_cancel(struct jobs *s, struct job_slot *t); /* false: it was over */
struct job_slot *job_slot_new(struct jobs *s, const struct job *j); /* NULL: no memory */
void job_slot_free(struct jobs *s, struct job_slot *t);             /* not while asking */
int job_dir_ready(struct jobs *s);                                  /* an errno */

/* ---- metrics ---- */
void job_metric_moved(struct jobs *s, const struct job_slot *t, uint8_t was); /* JOB_STATES: it was not there */
void job_metric_slice(struct jobs *s, const struct job_slot *t, uint64_t matched, uint64_t changed);
#endif
