/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent_jobs.h"
#include "feature/job_service.h"
#include "resp/pick.h"

/* ---- a question: to a worker, as child requests, and back ---- */

static void back(void *arg) /* on the jobs' thread */
{
	struct job_ask *a = arg;

	a->done(a);
}

static void finish(struct job_ask *a)
{
	a->job = (purser_job){ .fn = back, .arg = a };
	loop_post(a->home, &a->job);
}

static void refuse(struct job_ask *a, enum err_code err, const char *text)
{
	a->err = err;
	snprintf(a->error, sizeof a->error, "%s %s", err_rows[err].word, text);
	finish(a);
}

static void fail(struct job_ask *a, enum err_code err, const char *text)
{
	if (!a->err) {
		a->err = err;
		snprintf(a->error, sizeof a->error, "%s", text);
	}
}

/* The whole answer. */
static void one(void *arg, const struct child_reply *rep)
{
	struct job_ask *a = arg;

	if (rep->err)
		fail(a, rep->err == ERR_REDIS ? err_of_text(rep->error, strlen(rep->error)) : rep->err, rep->error);
	else
		buf_put(&a->reply, rep->resp, rep->n);
	if (a->reply.failed)
		fail(a, ERR_TOOBIG, "TOOBIG the names are too long, or memory is out");
	finish(a);
}

/* One of several numbers. */
static void each(void *arg, const struct child_reply *rep)
{
	struct job_ask *a = *(struct job_ask **)arg;
	struct job_ask **mine = arg;
	size_t i = (size_t)(mine - (struct job_ask **)a->parts);
	const uint8_t *at = rep->resp;

	if (rep->err)
		fail(a, rep->err == ERR_REDIS ? err_of_text(rep->error, strlen(rep->error)) : rep->err, rep->error);
	else if (resp_pick_header(&at, rep->resp + rep->n, ':', &a->numbers[i]))
		fail(a, ERR_BACKENDPROTOCOL, "BACKENDPROTOCOL the backend answered no number");
	if (--a->left)
		return;
	free(a->parts);
	a->parts = NULL;
	finish(a);
}

struct road { purser_job job; struct agent *a; };

static void run(struct job_ask *a, struct worker *w)
{
	const struct project *p = w->gen ? project_find(&w->gen->projects, a->project, strlen(a->project)) : NULL;
	struct purser_instance *in = p ? w->gen->instances[p->instance] : NULL;
	struct ask ask = { .w = w, .gen = w->gen, .project = p, .db = a->db, .internal = true };
	struct job_ask **mine;

	if (!w->gen) {
		refuse(a, ERR_BACKENDDOWN, "the agent is shutting down");
		return;
	}
	if (!p) {
		refuse(a, ERR_NOPROJECT, "the project is not configured any more");
		return;
	}
	if (!in || !w->ctx[p->instance]) {
		refuse(a, ERR_BACKENDDOWN, "the backend is being closed");
		return;
	}
	if (*a->backend && strcmp(a->backend, in->name)) {
		refuse(a, ERR_CONFLICT, "the project has moved to another backend: start the job again");
		return;
	}
	if (a->db >= p->databases) {
		refuse(a, ERR_CONFLICT, "the project has fewer databases now");
		return;
	}
	snprintf(a->backend, sizeof a->backend, "%s", in->name);
	a->whole = !project_isolated(p);
	ask.instance = p->instance;
	ask.deadline_ns = loop_now(w->loop) + in->operation_timeout_ns;
	if (!a->numbers) {
		child_ask(&ask, a->words, a->each, one, a);
		return;
	}
	mine = malloc(a->ncommands * sizeof *mine);
	if (!mine) {
		refuse(a, ERR_OOM, "out of memory");
		return;
	}
	a->parts = mine;
	a->left = a->ncommands;
	for (uint32_t i = 0; i < a->ncommands; i++)
		mine[i] = a;
	/* Answers come later than they are asked for: `left` is not 0 before the last one is. */
	for (uint32_t i = 0, n = a->ncommands, words = a->each; i < n; i++)
		child_ask(&ask, a->words + (size_t)i * words, words, each, &mine[i]);
}

static void arrive(void *arg) /* on a worker */
{
	struct job_ask *a = arg;

	run(a, a->owner);
}

static void ask(void *arg, struct job_ask *a) /* on the jobs' thread */
{
	struct agent *agent = arg;
	struct worker *w = &agent->serving[a->lot % agent->nworkers].w;

	a->owner = w;
	a->job = (purser_job){ .fn = arrive, .arg = a };
	loop_post(w->loop, &a->job);
}

/* ---- settings ---- */

static void opts_of(struct jobs_opts *o, const struct cfg *cfg)
{
	const struct cfg_section *s = cfg_one(cfg, CFG_JOBS);

	*o = (struct jobs_opts){ .limits = { .rate = (uint32_t)cfg_int(s, CFG_JOBS_RATE),
		.share_ppm = (uint32_t)cfg_int(s, CFG_JOBS_SHARE) }, .running = (uint32_t)cfg_int(s, CFG_JOBS_RUNNING),
		.kept = (uint32_t)cfg_int(s, CFG_JOBS_KEPT), .keep_ms = (uint64_t)cfg_int(s, CFG_JOBS_KEEP_FOR) / 1000000,
		.export_max = (uint64_t)cfg_int(s, CFG_JOBS_EXPORT_MAX_SIZE) };
}

int jobs_glue_start(struct agent *a, char *why, size_t whylen)
{
	struct jobs_deps d = { .log = a->log, .metrics = a->metrics, .arg = a, .ask = ask,
		.state_dir = a->state_dir };
	struct jobs_opts o;
	int rc;

	opts_of(&o, a->cfg);
	a->jobs = jobs_new(&d, &o);
	rc = a->jobs ? jobs_start(a->jobs) : ENOMEM;
	if (rc)
		snprintf(why, whylen, "the thread of jobs cannot start: %s", strerror(rc));
	for (uint32_t i = 0; i < a->nworkers; i++)
		a->serving[i].w.feature.room[ROOM_JOB] = a->jobs;
	return rc ? -1 : 0;
}

void jobs_glue_apply(struct agent *a, const struct cfg *cfg)
{
	struct jobs_opts o;

	opts_of(&o, cfg);
	jobs_apply(a->jobs, &o);
}
