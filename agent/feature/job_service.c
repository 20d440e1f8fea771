/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "feature/job_priv.h"

#define SAVE_NS UINT64_C(1000000000)       /* a job that runs is saved so often */
#define ANSWER_MAX (256u << 20)
#define SWEEP_NS UINT64_C(60000000000)     /* who is over for too long is looked for so often */

/* ---- shares ---- */

static struct job_share *share_of(struct jobs *s, const char *backend)
{
	struct job_store *x;

	for (x = s->stores; x; x = x->next)
		if (strcmp(x->name, backend) == 0)
			return &x->share;
	x = calloc(1, sizeof *x);
	if (!x)
		return NULL;
	snprintf(x->name, sizeof x->name, "%s", backend);
	x->next = s->stores;
	s->stores = x;
	return &x->share;
}

static void set_share(struct job_slot *t, struct job_share *to)
{
	if (t->share)
		t->share->jobs--;
	t->share = to;
	if (to)
		to->jobs++;
}

/* ---- the file ---- */

/* What is on disk is what is in memory, names first: the record says how many of them belong to it. */
static int save(struct jobs *s, struct job_slot *t)
{
	int rc = t->names_fd >= 0 ? job_names_sync(t->names_fd) : 0;

	if (!rc)
		rc = job_file_save(s->dirfd, &t->j);
	t->saved_ns = loop_now(s->loop);
	if (!rc) {
		t->unsaved = false;
		return 0;
	}
	if (!t->unsaved)
		log_event(s->d.log, LOG_M_FEATURE, LOG_WARN, "job.file.unwritable", "the state of a job cannot be stored: after a "
		    "restart it goes on from where it was stored last", LOG_STR("job.id", t->j.id),
		    LOG_STR("purser.project", t->j.project), LOG_STR("error", strerror(rc)), LOG_KEY(t->j.id));
	t->unsaved = true;
	if (job_over(t->j.state)) /* or it would rise again */
		job_file_remove(s->dirfd, &t->j);
	return rc;
}

static void close_names(struct job_slot *t)
{
	if (t->names_fd >= 0)
		close(t->names_fd);
	t->names_fd = -1;
}

/* ---- states ---- */

static void log_state(struct jobs *s, const struct job *j)
{
	enum log_level l = j->state == JOB_FAILED || j->state == JOB_INTERRUPTED ? LOG_WARN : LOG_INFO;
	/* The log keeps the name of an event: literals. */
	static const char *const events[JOB_STATES] = { [JOB_QUEUED] = "job.queued", [JOB_RUNNING] = "job.running",
		[JOB_INTERRUPTED] = "job.interrupted", [JOB_DONE] = "job.done", [JOB_CANCELLED] = "job.cancelled",
		[JOB_FAILED] = "job.failed" };

	log_event(s->d.log, LOG_M_FEATURE, l, events[j->state], *j->reason ? j->reason : "the state of a job has changed",
	    LOG_STR("job.id", j->id), LOG_STR("job.kind", job_kind_name(j->kind)), LOG_STR("purser.project", j->project),
	    LOG_UINT("matched", j->matched), LOG_UINT("changed", j->changed), LOG_UINT("uid", j->uid), LOG_KEY(j->id));
}

/* Every change of a state: metrics, log, file.  False: it was none. */
static bool move(struct jobs *s, struct job_slot *t, enum job_state to, const char *reason)
{
	uint8_t was = t->j.state;

	if (!job_move(&t->j, to, reason, loop_wall_ms(s->loop)))
		return false;
	job_metric_moved(s, t, was);
	if (was != t->j.state)
		log_state(s, &t->j);
	if (job_over(t->j.state)) {
		loop_timer_stop(s->loop, &t->timer);
		if (t->share)
			job_run_end(&t->j, &t->r, t->share, loop_now(s->loop));
		set_share(t, NULL);
		save(s, t);
		close_names(t);
	} else if (was != t->j.state) {
		save(s, t);
	}
	return true;
}

static void fail(struct jobs *s, struct job_slot *t, const char *reason)
{
	move(s, t, JOB_FAILED, reason);
	job_start_more(s);
}

bool job_cancel(struct jobs *s, struct job_slot *t)
{
	bool was = move(s, t, JOB_CANCELLED, NULL);

	if (was)
		job_start_more(s);
	return was;
}

/* ---- asking the store ---- */

static void on_answer(struct job_ask *a);

static void ask(struct jobs *s, struct job_slot *t, uint32_t ncommands, uint32_t each, int64_t *numbers)
{
	struct job_ask *a = &t->ask;

	buf_free(&a->reply);
	*a = (struct job_ask){ .home = s->loop, .done = on_answer, .project = t->j.project, .db = t->j.db,
		.lot = (uint32_t)strtoul(t->j.id + 8, NULL, 16), .words = t->words, .ncommands = ncommands, .each = each,
		.numbers = numbers, .reply = { .max = ANSWER_MAX } };
	memcpy(a->backend, t->j.backend, sizeof a->backend);
	t->asking = true;
	t->sent_ns = loop_now(s->loop);
	s->d.ask(s->d.arg, a);
}

static void put_word(struct job_slot *t, uint32_t i, const char *text)
{
	t->words[i] = (purser_bytes){ (const uint8_t *)text, strlen(text) };
}

static bool room(struct job_slot *t, size_t words)
{
	purser_bytes *v = words > t->words_cap ? realloc(t->words, words * sizeof *v) : t->words;

	if (!v)
		return false;
	t->words = v;
	if (words > t->words_cap)
		t->words_cap = words;
	return true;
}

static void ask_who(struct jobs *s, struct job_slot *t)
{
	put_word(t, 0, "INFO");
	put_word(t, 1, "server");
	t->question = JOB_Q_WHO;
	ask(s, t, 1, 2, NULL);
}

static void ask_scan(struct jobs *s, struct job_slot *t)
{
	snprintf(t->cursor_text, sizeof t->cursor_text, "%llu", (unsigned long long)t->j.cursor);
	snprintf(t->count_text, sizeof t->count_text, "%u", t->r.count);
	put_word(t, 0, "SCAN");
	put_word(t, 1, t->cursor_text);
	put_word(t, 2, "MATCH");
	t->words[3] = (purser_bytes){ t->j.pattern, t->j.pattern_n };
	put_word(t, 4, "COUNT");
	put_word(t, 5, t->count_text);
	t->question = JOB_Q_SCAN;
	ask(s, t, 1, 6, NULL);
}

/* What is done to the names of the latest SCAN. */
static void ask_work(struct jobs *s, struct job_slot *t)
{
	uint32_t n = t->names.n, each = t->j.dry_run ? 2 : 4;

	t->question = JOB_Q_WORK;
	if (t->j.kind == JOB_CLEAR) {
		if (!room(t, n + 1))
			goto oom;
		put_word(t, 0, "UNLINK");
		memcpy(t->words + 1, t->names.v, n * sizeof *t->words);
		t->number = 0;
		ask(s, t, 1, n + 1, &t->number);
		return;
	}
	if (!room(t, (size_t)n * each) || !job_names_numbers(&t->names))
		goto oom;
	snprintf(t->ttl_text, sizeof t->ttl_text, "%lld", (long long)t->j.ttl_ms);
	for (uint32_t i = 0; i < n; i++) {
		put_word(t, i * each, t->j.dry_run ? "PTTL" : "PEXPIRE");
		t->words[i * each + 1] = t->names.v[i];
		if (each == 4) {
			put_word(t, i * each + 2, t->ttl_text);
			put_word(t, i * each + 3, t->j.cap ? "LT" : "NX"); /* to LT no time to live is a greater one */
		}
	}
	ask(s, t, n, each, t->names.numbers);
	return;
oom:
	fail(s, t, "out of memory");
}

/* ---- what it answers ---- */

static void trouble(struct jobs *s, struct job_slot *t, enum err_code err, const char *text)
{
	uint64_t random;

	if (!job_may_retry(err, text)) {
		fail(s, t, text);
		return;
	}
	random = s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	job_troubled(&t->j, &t->r, t->share, loop_now(s->loop), random >> 16);
	move(s, t, JOB_INTERRUPTED, text);
	job_step(s, t);
}

static void got_who(struct jobs *s, struct job_slot *t)
{
	struct job_share *share = share_of(s, t->ask.backend);
	char store[JOB_STORE_MAX + 1];
	uint64_t before = t->j.bytes;
	uint32_t pass = t->j.passes;

	if (!share) {
		trouble(s, t, ERR_OOM, "OOM out of memory");
		return;
	}
	if (share != t->share) {
		if (t->share && t->share->taken == &t->j)
			t->share->taken = NULL;
		set_share(t, share);
	}
	memcpy(t->j.backend, t->ask.backend, sizeof t->j.backend);
	job_read_run_id(buf_data(&t->ask.reply), buf_len(&t->ask.reply), store);
	job_identified(&t->j, &t->r, t->share, store, loop_now(s->loop));
	move(s, t, JOB_RUNNING, NULL);
	if (t->j.passes != pass)
		log_event(s->d.log, LOG_M_FEATURE, LOG_INFO, "job.again", "the store is another process than the one that was "
		    "walked: from the beginning", LOG_STR("job.id", t->j.id), LOG_STR("purser.project", t->j.project),
		    LOG_UINT("pass", t->j.passes), LOG_KEY(t->j.id));
	if (t->j.kind == JOB_EXPORT && (t->names_fd < 0 || t->j.bytes != before)) {
		int rc;

		close_names(t);
		rc = job_names_open(s->dirfd, &t->j, &t->names_fd);
		if (rc) {
			char text[JOB_REASON_MAX];

			snprintf(text, sizeof text, "the file of names cannot be written: %s", strerror(rc));
			fail(s, t, text);
			return;
		}
	}
	job_step(s, t);
}

/* Names to the file.  False: the job has failed. */
static bool export_names(struct jobs *s, struct job_slot *t)
{
	struct buf lines = { .max = 1u << 30 };
	char text[JOB_REASON_MAX];
	int rc = ENOMEM;

	for (uint32_t i = 0; i < t->names.n; i++)
		job_file_put_name(&lines, t->names.v[i].p, t->names.v[i].n);
	if (t->j.bytes + buf_len(&lines) > s->opts.export_max) {
		snprintf(text, sizeof text, "the names are more than export_max_size of [jobs]: raise it, or export less at once");
		rc = -1;
	} else if (!lines.failed) {
		rc = job_names_append(t->names_fd, &lines);
	}
	if (rc > 0)
		snprintf(text, sizeof text, "the file of names cannot be written: %s", strerror(rc));
	if (!rc)
		t->j.bytes += buf_len(&lines);
	buf_free(&lines);
	if (rc)
		fail(s, t, text);
	return rc == 0;
}

static void after_slice(struct jobs *s, struct job_slot *t, uint64_t changed, uint64_t matched)
{
	job_metric_slice(s, t, matched, changed);
	if (loop_now(s->loop) - t->saved_ns >= SAVE_NS)
		save(s, t);
	job_step(s, t);
}

static void got_scan(struct jobs *s, struct job_slot *t)
{
	uint64_t cursor, took = loop_now(s->loop) - t->sent_ns, before = t->j.matched;
	int rc;

	/* The names stay where they are while the next question is asked. */
	buf_free(&t->names.text);
	t->names.text = t->ask.reply;
	t->ask.reply = (struct buf){ .max = 0 };
	rc = job_read_scan(&t->names, t->ask.whole, &cursor);
	if (rc) {
		trouble(s, t, rc == -ENOMEM ? ERR_OOM : ERR_BACKENDPROTOCOL, rc == -ENOMEM ? "OOM out of memory" :
		    "BACKENDPROTOCOL the answer to SCAN is none");
		return;
	}
	if (t->j.kind == JOB_EXPORT && t->names.n && !export_names(s, t))
		return;
	job_scanned(&t->j, &t->r, t->share, cursor, t->names.n, took, loop_now(s->loop));
	if (t->j.kind == JOB_CLEAR && t->j.dry_run)
		t->j.changed = t->j.matched;
	after_slice(s, t, 0, t->j.matched - before);
}

static void got_work(struct jobs *s, struct job_slot *t)
{
	uint64_t changed = 0, took = loop_now(s->loop) - t->sent_ns;

	if (t->j.kind == JOB_CLEAR) {
		changed = t->number > 0 ? (uint64_t)t->number : 0;
	} else {
		for (uint32_t i = 0; i < t->names.n; i++) {
			int64_t v = t->names.numbers[i];

			changed += t->j.dry_run ? v == -1 || (t->j.cap && v > t->j.ttl_ms) : v == 1;
		}
	}
	job_worked(&t->j, &t->r, t->share, changed, took, loop_now(s->loop));
	after_slice(s, t, changed, t->names.n);
}

static void on_answer(struct job_ask *a)
{
	struct job_slot *t = (struct job_slot *)((char *)a - offsetof(struct job_slot, ask));
	struct jobs *s = t->s;

	t->asking = false;
	if (s->stopping || job_over(t->j.state))
		return;
	/* A store that does not say who it is, or not to the agent, is one that does not tell. */
	if (a->err && t->question == JOB_Q_WHO && !job_may_retry(a->err, a->error) && a->err != ERR_NOPROJECT &&
	    a->err != ERR_CONFLICT)
		got_who(s, t);
	else if (a->err)
		trouble(s, t, a->err, a->error);
	else if (t->question == JOB_Q_WHO)
		got_who(s, t);
	else if (t->question == JOB_Q_SCAN)
		got_scan(s, t);
	else
		got_work(s, t);
}

/* ---- going on ---- */

static void on_timer(struct loop_timer *timer)
{
	struct job_slot *t = (struct job_slot *)((char *)timer - offsetof(struct job_slot, timer));

	job_step(t->s, t);
}

void job_step(struct jobs *s, struct job_slot *t)
{
	uint64_t until = 0;

	if (s->stopping || t->asking || job_over(t->j.state) || t->j.state == JOB_QUEUED)
		return;
	switch (job_next(&t->j, &t->r, t->share, loop_now(s->loop), &until)) {
	case JOB_STEP_WAIT:
		if (loop_timer_set(s->loop, &t->timer, until))
			fail(s, t, "out of memory");
		break;
	case JOB_STEP_IDENTIFY:
		ask_who(s, t);
		break;
	case JOB_STEP_SCAN:
		ask_scan(s, t);
		break;
	case JOB_STEP_WORK:
		ask_work(s, t);
		break;
	case JOB_STEP_END:
		move(s, t, JOB_DONE, NULL);
		job_start_more(s);
		break;
	}
}

/* It is its turn, or the agent has come back. */
static void begin(struct jobs *s, struct job_slot *t)
{
	bool again = t->j.state == JOB_INTERRUPTED;

	if (!room(t, 8)) {
		fail(s, t, "out of memory");
		return;
	}
	t->begun = true;
	t->j.resumed += again;
	t->timer.fn = on_timer;
	set_share(t, *t->j.backend ? share_of(s, t->j.backend) : &t->own);
	if (!t->share) {
		fail(s, t, "out of memory");
		return;
	}
	job_run_begin(&t->r, &t->j, &s->opts.limits);
	if (!again)
		move(s, t, JOB_RUNNING, NULL);
	job_step(s, t);
}

static uint32_t active_of(const struct jobs *s, const char *project)
{
	uint32_t n = 0;

	for (const struct job_slot *t = s->first; t; t = t->next)
		n += t->begun && !job_over(t->j.state) && strcmp(t->j.project, project) == 0;
	return n;
}

void job_start_more(struct jobs *s)
{
	bool again = true;

	/* Beginning may fail, which makes room for another: the list is looked at anew. */
	while (again && !s->stopping) {
		again = false;
		for (struct job_slot *t = s->first; t && !again; t = t->next) {
			if (t->begun || job_over(t->j.state) ||
			    (t->j.state == JOB_QUEUED && active_of(s, t->j.project) >= s->opts.running))
				continue;
			begin(s, t);
			again = true;
		}
	}
}

/* ---- slots ---- */

struct job_slot *job_slot_new(struct jobs *s, const struct job *j)
{
	struct job_slot *t = calloc(1, sizeof *t), **p = &s->first;

	if (!t)
		return NULL;
	t->s = s;
	t->j = *j;
	t->names_fd = -1;
	while (*p && strcmp((*p)->j.id, j->id) < 0)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
	return t;
}

void job_slot_free(struct jobs *s, struct job_slot *t)
{
	struct job_slot **p = &s->first;

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	loop_timer_stop(s->loop, &t->timer);
	set_share(t, NULL);
	close_names(t);
	buf_free(&t->ask.reply);
	free(t->ask.parts);
	job_names_free(&t->names);
	free(t->words);
	free(t);
}

/* Those that are over and too old. */
static void sweep(struct loop_timer *timer)
{
	struct jobs *s = (struct jobs *)((char *)timer - offsetof(struct jobs, sweep));
	uint64_t now = loop_wall_ms(s->loop);

	for (struct job_slot *t = s->first, *next; t; t = next) {
		next = t->next;
		if (!job_over(t->j.state) || t->asking || now < t->j.ended_ms + s->opts.keep_ms)
			continue;
		job_file_remove(s->dirfd, &t->j);
		job_slot_free(s, t);
	}
	(void)loop_timer_set(s->loop, timer, loop_now(s->loop) + SWEEP_NS);
}

/* ---- life ---- */

static void found(void *arg, const struct job *j, const char *damaged)
{
	struct jobs *s = arg;
	struct job_slot *t = job_slot_new(s, j);

	if (damaged)
		log_event(s->d.log, LOG_M_FEATURE, LOG_WARN, "job.file.damaged", "the state of a job cannot be read: it has failed, and "
		    "its file is put aside", LOG_STR("job.id", j->id), LOG_STR("purser.project", j->project),
		    LOG_STR("error", damaged), LOG_KEY(j->id));
	if (!t)
		return;
	if (t->j.state == JOB_RUNNING)
		job_move(&t->j, JOB_INTERRUPTED, "the agent ended", 0);
	if (damaged)
		save(s, t);
	job_metric_moved(s, t, JOB_STATES);
}

int job_dir_ready(struct jobs *s)
{
	return s->dirfd >= 0 ? 0 : job_dir_open(s->d.state_dir, true, &s->dirfd);
}

struct jobs *jobs_new(const struct jobs_deps *d, const struct jobs_opts *o)
{
	struct jobs *s = calloc(1, sizeof *s);
	int rc;

	if (!s)
		return NULL;
	s->d = *d;
	s->opts = *o;
	s->dirfd = -1;
	s->sweep.fn = sweep;
	s->shard = metric_shard_new(d->metrics);
	s->loop = loop_new(NULL);
	if (!s->shard || !s->loop || getrandom(&s->random, sizeof s->random, 0) != (ssize_t)sizeof s->random) {
		jobs_free(s);
		return NULL;
	}
	rc = *d->state_dir ? job_dir_open(d->state_dir, false, &s->dirfd) : 0;
	if (rc == ENOENT) /* there has been no job yet */
		rc = 0;
	if (!rc && s->dirfd >= 0)
		rc = job_files_each(s->dirfd, found, s);
	if (rc)
		log_event(d->log, LOG_M_FEATURE, LOG_WARN, "job.files.unusable", "jobs of an earlier run cannot be read, and none can be "
		    "started: make [agent] state_dir a directory of the agent's own, and jobs in it one with mode 0700",
		    LOG_STR("path", d->state_dir), LOG_STR("error", strerror(rc)));
	return s;
}

static void wake(void *arg) /* the thread's first job */
{
	struct jobs *s = arg;

	sweep(&s->sweep);
	job_start_more(s);
}

static void *thread_main(void *arg)
{
	struct jobs *s = arg;
	int rc = loop_run(s->loop);

	if (rc)
		log_event(s->d.log, LOG_M_FEATURE, LOG_ERROR, "job.thread.failed", strerror(-rc));
	return NULL;
}

int jobs_start(struct jobs *s)
{
	sigset_t all, old;
	int rc;

	s->wake = (purser_job){ .fn = wake, .arg = s };
	loop_post(s->loop, &s->wake);
	sigfillset(&all); /* signals are the control thread's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->running = rc == 0;
	return rc;
}

struct errand {
	purser_job job;
	struct jobs *s;
	const struct jobs_opts *o; /* NULL: stop */
	sem_t done;
};

static void run_errand(void *arg)
{
	struct errand *e = arg;
	struct jobs *s = e->s;

	if (e->o) {
		s->opts = *e->o;
		for (struct job_slot *t = s->first; t; t = t->next)
			if (t->begun && !job_over(t->j.state))
				job_limits_set(&t->r, &t->j, &s->opts.limits);
		job_start_more(s);
	} else {
		s->stopping = true;
		for (struct job_slot *t = s->first; t; t = t->next)
			if (t->begun && !job_over(t->j.state)) {
				loop_timer_stop(s->loop, &t->timer);
				job_run_end(&t->j, &t->r, t->share, loop_now(s->loop));
				save(s, t);
			}
		loop_timer_stop(s->loop, &s->sweep);
	}
	sem_post(&e->done);
}

static void on_thread(struct jobs *s, const struct jobs_opts *o)
{
	struct errand e = { .job = { .fn = run_errand, .arg = &e }, .s = s, .o = o };

	sem_init(&e.done, 0, 0);
	loop_post(s->loop, &e.job);
	while (sem_wait(&e.done) && errno == EINTR)
		;
	sem_destroy(&e.done);
}

void jobs_apply(struct jobs *s, const struct jobs_opts *o)
{
	if (s && s->running)
		on_thread(s, o);
}

void jobs_stop(struct jobs *s)
{
	if (s && s->running)
		on_thread(s, NULL);
}

void jobs_join(struct jobs *s)
{
	if (!s || !s->running)
		return;
	loop_stop(s->loop);
	pthread_join(s->thread, NULL);
	s->running = false;
}

void jobs_free(struct jobs *s)
{
	struct job_store *next;

	if (!s)
		return;
	while (s->first)
		job_slot_free(s, s->first);
	for (struct job_store *x = s->stores; x; x = next) {
		next = x->next;
		free(x);
	}
	if (s->loop)
		loop_free(s->loop);
	if (s->dirfd >= 0)
		close(s->dirfd);
	free(s);
}
