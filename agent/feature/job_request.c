/* SPDX-License-Identifier: Apache-2.0 */
/* feature/job_request: what clients ask of the jobs' thread. */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "feature/job_priv.h"

struct job_request *job_request_new(void)
{
	return calloc(1, sizeof(struct job_request));
}

void job_request_free(struct job_request *q)
{
	if (!q)
		return;
	free(q->v);
	free(q->data);
	free(q);
}

static void refuse(struct job_request *q, enum err_code err, const char *text)
{
	q->err = err;
	snprintf(q->error, sizeof q->error, "%s", text);
}

static struct job_slot *find(const struct jobs *s, const struct job_request *q)
{
	for (struct job_slot *t = s->first; t; t = t->next)
		if (strcmp(t->j.id, q->id) == 0 && strcmp(t->j.project, q->project) == 0)
			return t;
	return NULL;
}

static void fill(struct job_shown *v, const struct job_slot *t)
{
	v->job = t->j;
	v->progress_ppm = job_progress_ppm(&t->j, t->r.blind);
	v->eta_ms = job_eta_ms(&t->j, t->r.blind);
}

static void show(struct job_request *q, const struct job_slot *t)
{
	q->v = malloc(sizeof *q->v);
	if (!q->v) {
		refuse(q, ERR_OOM, err_rows[ERR_OOM].text);
		return;
	}
	q->n = 1;
	fill(q->v, t);
}

static void list(struct jobs *s, struct job_request *q)
{
	uint32_t n = 0;

	for (const struct job_slot *t = s->first; t; t = t->next)
		n += strcmp(t->j.project, q->project) == 0;
	q->v = n ? malloc(n * sizeof *q->v) : NULL;
	if (n && !q->v) {
		refuse(q, ERR_OOM, err_rows[ERR_OOM].text);
		return;
	}
	for (const struct job_slot *t = s->first; t; t = t->next)
		if (strcmp(t->j.project, q->project) == 0)
			fill(&q->v[q->n++], t);
}

/* How many the project has, and the oldest of them that is over. */
static uint32_t count(const struct jobs *s, const char *project, struct job_slot **oldest)
{
	uint32_t n = 0;

	*oldest = NULL;
	for (struct job_slot *t = s->first; t; t = t->next) {
		if (strcmp(t->j.project, project))
			continue;
		n++;
		if (!*oldest && job_over(t->j.state) && !t->asking)
			*oldest = t;
	}
	return n;
}

/* Room for one more of the project: the oldest that are over go.  False: too few are. */
static bool make_room(struct jobs *s, const char *project)
{
	struct job_slot *oldest;

	while (count(s, project, &oldest) >= s->opts.kept) {
		if (!oldest)
			return false;
		job_file_remove(s->dirfd, &oldest->j);
		job_slot_free(s, oldest);
	}
	return true;
}

/* Greater than every one before it, so that they sort as they were asked for. */
static void new_id(struct jobs *s, char id[JOB_ID + 1])
{
	const struct job_slot *newest = s->first;
	uint64_t random = 0;

	while (newest && newest->next)
		newest = newest->next;
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		random = s->random++;
	job_id_make(id, loop_wall_ms(s->loop), random);
	if (newest && strcmp(id, newest->j.id) <= 0)
		job_id_after(id, newest->j.id);
}

static void start(struct jobs *s, struct job_request *q)
{
	struct job *j = &q->fresh;
	struct job_slot *t;
	char text[JOB_ERROR_MAX];
	int rc = *s->d.state_dir ? job_dir_ready(s) : ENOENT;

	if (rc) {
		snprintf(text, sizeof text, "a job needs a place that survives a restart: make [agent] state_dir a directory of the "
		    "agent's own (%s)", strerror(rc));
		refuse(q, ERR_CONFIG, text);
		return;
	}
	if (!make_room(s, q->project)) {
		refuse(q, ERR_RATELIMITED, "the project has as many jobs that are not over as it may: wait, or PURSER.JOB.CANCEL one");
		return;
	}
	new_id(s, j->id);
	snprintf(j->project, sizeof j->project, "%s", q->project);
	j->state = JOB_QUEUED;
	j->created_ms = loop_wall_ms(s->loop);
	/* Whoever is told its id can rely on it: it is on disk. */
	rc = job_file_save(s->dirfd, j);
	t = rc ? NULL : job_slot_new(s, j);
	if (!t) {
		snprintf(text, sizeof text, "the job cannot be stored in [agent] state_dir: %s", strerror(rc ? rc : ENOMEM));
		refuse(q, ERR_OOM, text);
		job_file_remove(s->dirfd, j);
		return;
	}
	job_metric_moved(s, t, JOB_STATES);
	log_event(s->d.log, LOG_M_FEATURE, LOG_INFO, "job.started", "a job was asked for", LOG_STR("job.id", j->id),
	    LOG_STR("job.kind", job_kind_name(j->kind)), LOG_STR("purser.project", j->project), LOG_BOOL("dry_run", j->dry_run),
	    LOG_UINT("uid", j->uid), LOG_KEY(j->id));
	job_start_more(s);
	show(q, t);
}

static void fetch(struct jobs *s, struct job_request *q, const struct job_slot *t)
{
	int64_t got;

	if (t->j.kind != JOB_EXPORT) {
		refuse(q, ERR_BADREQUEST, "this job exports nothing: CACHE.EXPORT makes one that does");
		return;
	}
	q->data = malloc(q->count);
	if (!q->data) {
		refuse(q, ERR_OOM, err_rows[ERR_OOM].text);
		return;
	}
	got = job_names_read(s->dirfd, &t->j, q->offset, q->data, q->count);
	if (got < 0) {
		char text[JOB_ERROR_MAX];

		snprintf(text, sizeof text, "the file of names cannot be read: %s", strerror((int)-got));
		refuse(q, ERR_INTERNAL, text);
	} else if (got == 0 && q->offset < t->j.bytes) {
		refuse(q, ERR_TOOBIG, "the line at this offset is longer than COUNT: ask for more at once");
	} else {
		q->data_n = (size_t)got;
		show(q, t);
	}
}

static void cancel(struct jobs *s, struct job_request *q, struct job_slot *t)
{
	if (job_writes(&t->j) && !q->may_write) {
		refuse(q, ERR_NOPERM, "to cancel a job that changes keys needs redis:write: PURSER.WHOAMI shows what you have");
		return;
	}
	job_cancel(s, t);
	show(q, t);
}

static void on_request(void *arg)
{
	struct job_request *q = arg;
	struct jobs *s = q->service;
	struct job_slot *t;

	if (s->stopping)
		refuse(q, ERR_BACKENDDOWN, "the agent is shutting down");
	else if (q->want == JOB_WANT_START)
		start(s, q);
	else if (q->want == JOB_WANT_LIST)
		list(s, q);
	else if (!(t = find(s, q)))
		refuse(q, ERR_NOKEY, "the project has no such job: PURSER.JOB.LIST shows those it has");
	else if (q->want == JOB_WANT_CANCEL)
		cancel(s, q, t);
	else if (q->want == JOB_WANT_FETCH)
		fetch(s, q, t);
	else
		show(q, t);
	q->job.fn = q->answer;
	loop_post(q->home, &q->job);
}

void jobs_post(struct jobs *s, struct job_request *q, purser_fn answer)
{
	q->service = s;
	q->answer = answer;
	q->job = (purser_job){ .fn = on_request, .arg = q };
	loop_post(s->loop, &q->job);
}
