/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "backend/blocking.h"

/* A call on a blocking thread works on a copy of the bcall with a buffer of its own, so that the
 * worker may answer the client (a deadline) while the thread is still inside the plugin. */
enum { WAITING, RUNNING, WITHDRAWN };
#define BLOCKING_WINDOW 1024u /* calls of one worker on all threads; the rest waits in its queue */

struct work {
	struct work *next;
	_Atomic int stage;
	struct bcall shadow;
	struct bcall *orig;
	struct out out;
	purser_job back;
	struct bthread *t;
	size_t nerror;
	char error[BCALL_ERROR_MAX]; /* the reply is this error, as "WORD text" */
};

struct bthread {
	struct purser_ctx x;
	struct blocking *k;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct work *head, *tail;
	purser_job *jobs, **jobs_end;
	struct out_pool pool;
	bool stop;
	int opened;              /* 0 not yet, 1 yes, -1 no */
	purser_error *error;     /* of open(): the starter waits for it */
};

struct blocking {
	struct purser_instance *inst;
	uint32_t n;
	struct bthread t[];
};

static int start_thread(pthread_t *t, void *(*fn)(void *), void *arg)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the control thread */
	rc = pthread_create(t, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

/* ---- back on the worker ---- */

/* What the thread kept of an error takes the way that an error on this thread would have taken. */
static void give_error(struct bcall *b, const struct work *w)
{
	const char *sp = memchr(w->error, ' ', w->nerror);
	char text[BCALL_ERROR_MAX];
	struct call_failure f = { .err = (enum err_code)w->shadow.err, .executed = w->shadow.executed,
		.store = w->shadow.store_error, .text = w->error, .n = w->nerror };

	if (!w->nerror)
		return;
	if (!f.store) {
		snprintf(text, sizeof text, "%.*s", sp ? (int)(w->error + w->nerror - sp - 1) : 0,
		    sp ? sp + 1 : "");
		f.text = text;
		f.n = strlen(text);
	}
	if (call_failed(b, &f))
		return;
	if (f.store)
		reply_error(b, f.text, f.n);
	else
		reply_failure(b, f.err, f.text);
}

static void back(void *arg)
{
	struct work *w = arg;
	struct bcall *b = w->orig;
	struct purser_ctx *x = b->c.ctx;

	b->sent_ns = w->shadow.sent_ns;
	b->endpoint = w->shadow.endpoint;
	b->executed = w->shadow.executed;
	b->c.nulls = w->shadow.c.nulls;
	if (!b->discard) {
		b->err = w->shadow.err;
		b->store_error = w->shadow.store_error;
		b->broken = w->shadow.broken;
		memcpy(b->status, w->shadow.status, sizeof b->status);
		give_error(b, w);
		for (struct out_block *k = w->out.head; k; k = k->next)
			reply_raw(b, k->p + k->at, k->end - k->at);
	}
	out_clear(&w->out, b->pool);
	free(w);
	call_count(x, b);
	x->ready = (1u << ROUTES) - 1; /* this turn's end offers what waits */
	call_ended(b);
}

static void shadow_done(struct bcall *b)
{
	(void)b;
}

static void shadow_error(struct bcall *b, enum err_code code, const char *text, size_t n)
{
	struct work *w = (struct work *)((char *)b - offsetof(struct work, shadow));

	(void)code;
	memcpy(w->error, text, n < sizeof w->error ? n : sizeof w->error);
	w->nerror = n < sizeof w->error ? n : sizeof w->error;
}

static void shadow_release(struct bcall *b)
{
	struct work *w = (struct work *)((char *)b - offsetof(struct work, shadow));

	w->back.fn = back;
	w->back.arg = w;
	loop_post(w->orig->c.ctx->loop, &w->back);
}

/* ---- on the thread ---- */

static void run_call(struct bthread *t, struct work *w)
{
	struct bcall *b = &w->shadow;
	const purser_plugin *p = t->x.p;
	const purser_op *op = b->c.op < p->nops ? plugin_op(t->x.inst->plugin, b->c.op) : NULL;
	int rc, stage = WAITING;

	b->c.ctx = &t->x;
	b->state = BCALL_SUBMITTED;
	if (!atomic_compare_exchange_strong(&w->stage, &stage, RUNNING)) {
		b->executed = PURSER_NOT_EXECUTED;
		call_ended(b);
		return;
	}
	t->x.current = b;
	t->x.accepted++;
	rc = op && op->run ? op->run(t->x.cs, &b->c) : p->submit(t->x.cs, &b->c);
	if (t->x.current == b && rc != PURSER_PENDING) { /* DONE without an end, or AGAIN */
		t->x.current = NULL;
		t->x.ended++;
		b->executed = PURSER_NOT_EXECUTED;
		reply_failure(b, rc == PURSER_AGAIN ? ERR_POOLEXHAUSTED : ERR_INTERNAL, rc == PURSER_AGAIN ?
		    NULL : "the backend plugin did not end a call that it says is done");
		call_ended(b);
	}
	t->x.current = NULL;
	ctx_release(&t->x);
	if (p->flush)
		p->flush(t->x.cs);
}

static int open_context(struct bthread *t)
{
	int rc = t->x.p->open(t->x.inst->state, &t->x, &t->x.cs, t->error);

	pthread_mutex_lock(&t->lock);
	t->opened = rc ? -1 : 1;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

static void *thread_main(void *arg)
{
	struct bthread *t = arg;

	if (open_context(t))
		return NULL;
	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct work *w = t->head;
		purser_job *j = t->jobs;

		if (j) {
			t->jobs = j->next;
			if (!t->jobs)
				t->jobs_end = &t->jobs;
		} else if (w) {
			t->head = w->next;
			if (!t->head)
				t->tail = NULL;
		} else if (t->stop) {
			break;
		} else {
			pthread_cond_wait(&t->wake, &t->lock);
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		if (j)
			j->fn(j->arg);
		else
			run_call(t, w);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	if (t->x.p->drain)
		t->x.p->drain(t->x.cs);
	if (t->x.p->close)
		t->x.p->close(t->x.cs);
	return NULL;
}

void blocking_post(struct purser_ctx *x, purser_job *job)
{
	struct bthread *t = x->thread;

	job->next = NULL;
	pthread_mutex_lock(&t->lock);
	*t->jobs_end = job;
	t->jobs_end = &job->next;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

uint64_t blocking_wall_ms(struct purser_ctx *x)
{
	struct timespec ts;

	(void)x;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* ---- from the worker ---- */

static struct bthread *thread_of(struct blocking *k, const struct purser_session *s)
{
	return &k->t[s->id % k->n];
}

int blocking_submit(struct blocking *k, struct bcall *b)
{
	struct bthread *t = thread_of(k, b->c.session);
	struct purser_ctx *x = b->c.ctx;
	struct work *w = x->accepted - x->ended > BLOCKING_WINDOW ? NULL : calloc(1, sizeof *w);

	if (!w)
		return PURSER_AGAIN; /* back() says when */
	w->shadow = *b;
	w->orig = b;
	b->c.link = &w->shadow.c; /* the thread has a copy of its own: the host's here */
	w->t = t;
	w->shadow.filter = NULL;
	w->shadow.rewrite = NULL;
	w->shadow.error_to = shadow_error;
	w->shadow.full = NULL;
	w->shadow.keep = NULL;
	w->shadow.trial = w->shadow.maybe = false; /* of the call itself */
	w->shadow.prev_due = w->shadow.next_due = NULL;
	memset(&w->shadow.timer, 0, sizeof w->shadow.timer);
	w->shadow.limit = 0;
	w->shadow.out = &w->out;
	w->shadow.pool = &t->pool;
	w->shadow.done = shadow_done;
	w->shadow.release = shadow_release;
	pthread_mutex_lock(&t->lock);
	if (t->tail)
		t->tail->next = w;
	else
		t->head = w;
	t->tail = w;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	return PURSER_PENDING;
}

void blocking_cancel(struct bcall *b)
{
	struct work *w = (struct work *)((char *)b->c.link - offsetof(struct work, shadow));
	int stage = WAITING;

	if (!atomic_compare_exchange_strong(&w->stage, &stage, WITHDRAWN) || b->answered)
		return; /* the plugin is at it: it goes on to its end */
	b->executed = PURSER_NOT_EXECUTED;
	reply_failure(b, ERR_TIMEOUT, NULL);
	b->answered = true;
	b->discard = true;
	b->done(b);
}

struct goodbye {
	purser_job job;
	struct bthread *t;
	struct purser_session s;
	void *slot;
};

static void say_goodbye(void *arg)
{
	struct goodbye *g = arg;

	g->t->x.p->session_end(g->t->x.cs, &g->s, g->slot);
	free(g);
}

void blocking_session_end(struct blocking *k, struct purser_session *s)
{
	struct goodbye *g = malloc(sizeof *g);

	if (!g) {
		log_event(k->inst->log, LOG_M_BACKEND, LOG_ERROR, "backend.session.lost",
		    "no memory to end a client's state in the plugin", LOG_STR("backend", k->inst->name));
		return;
	}
	g->t = thread_of(k, s);
	g->s = *s;
	g->slot = s->slot[k->inst->index];
	g->job.fn = say_goodbye;
	g->job.arg = g;
	blocking_post(&g->t->x, &g->job);
}

static int thread_start(struct bthread *t, struct blocking *k, purser_error *e)
{
	t->k = k;
	t->x.inst = k->inst;
	t->x.p = k->inst->p;
	t->x.thread = t;
	t->jobs_end = &t->jobs;
	t->error = e;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	if (start_thread(&t->thread, thread_main, t)) {
		snprintf(e->text, sizeof e->text, "cannot start a thread");
		pthread_mutex_destroy(&t->lock);
		pthread_cond_destroy(&t->wake);
		return -1;
	}
	pthread_mutex_lock(&t->lock);
	while (!t->opened)
		pthread_cond_wait(&t->wake, &t->lock);
	t->error = NULL;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

struct blocking *blocking_new(struct purser_instance *i, purser_error *e)
{
	uint32_t n = i->p->max_parallel ? i->p->max_parallel : 4;
	struct blocking *k;
	bool bad = false;

	if (n > 64)
		n = 64;
	k = calloc(1, sizeof *k + n * sizeof k->t[0]);
	if (!k) {
		snprintf(e->text, sizeof e->text, "out of memory");
		return NULL;
	}
	k->inst = i;
	for (; k->n < n && !bad; k->n++) {
		if (thread_start(&k->t[k->n], k, e)) {
			bad = true;
			break;
		}
		bad = k->t[k->n].opened < 0;
	}
	if (!bad)
		return k;
	blocking_free(k);
	return NULL;
}

void blocking_free(struct blocking *k)
{
	if (!k)
		return;
	for (uint32_t i = 0; i < k->n; i++) {
		struct bthread *t = &k->t[i];

		pthread_mutex_lock(&t->lock);
		t->stop = true;
		pthread_cond_broadcast(&t->wake);
		pthread_mutex_unlock(&t->lock);
		pthread_join(t->thread, NULL);
		out_clear(&t->x.scrap, &t->pool);
		out_pool_free(&t->pool);
		pthread_mutex_destroy(&t->lock);
		pthread_cond_destroy(&t->wake);
	}
	free(k);
}

/* ---- offload ---- */

struct offjob {
	struct offjob *next;
	purser_job *work, *done, back;
	struct purser_ctx *x;
};

struct offload {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running, stop;
	struct offjob *head, *tail;
};

static void come_back(void *arg)
{
	struct offjob *j = arg;
	purser_job *done = j->done;

	j->x->offloaded--;
	free(j);
	done->fn(done->arg);
}

static void *offload_main(void *arg)
{
	struct offload *o = arg;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		struct offjob *j = o->head;

		if (!j && o->stop)
			break;
		if (!j) {
			pthread_cond_wait(&o->wake, &o->lock);
			continue;
		}
		o->head = j->next;
		if (!o->head)
			o->tail = NULL;
		pthread_mutex_unlock(&o->lock);
		j->work->fn(j->work->arg);
		loop_post(j->x->loop, &j->back);
		pthread_mutex_lock(&o->lock);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

struct offload *offload_new(void)
{
	struct offload *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->wake, NULL);
	return o;
}

/* No memory or no thread for it: the work is done here, late but done. */
static void run_here(struct purser_ctx *x, purser_job *work, purser_job *done)
{
	work->fn(work->arg);
	loop_post(x->loop, done);
}

void offload_submit(struct offload *o, struct purser_ctx *x, purser_job *work, purser_job *done)
{
	struct offjob *j = o ? malloc(sizeof *j) : NULL;

	if (!j) {
		run_here(x, work, done);
		return;
	}
	*j = (struct offjob){ .work = work, .done = done, .x = x, .back = { .fn = come_back, .arg = j } };
	pthread_mutex_lock(&o->lock);
	if (!o->running && start_thread(&o->thread, offload_main, o) == 0)
		o->running = true;
	if (!o->running) {
		pthread_mutex_unlock(&o->lock);
		free(j);
		run_here(x, work, done);
		return;
	}
	x->offloaded++;
	if (o->tail)
		o->tail->next = j;
	else
		o->head = j;
	o->tail = j;
	pthread_cond_signal(&o->wake);
	pthread_mutex_unlock(&o->lock);
}

void offload_free(struct offload *o)
{
	if (!o)
		return;
	pthread_mutex_lock(&o->lock);
	o->stop = true;
	pthread_cond_signal(&o->wake);
	pthread_mutex_unlock(&o->lock);
	if (o->running)
		pthread_join(o->thread, NULL);
	pthread_mutex_destroy(&o->lock);
	pthread_cond_destroy(&o->wake);
	free(o);
}
