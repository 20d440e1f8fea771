/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread's view of an instance: the queue for calls that the plugin does not take yet, and the
 * deadline of every call that it holds.
 */
#include <config.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "backend/blocking.h"
#include "backend/instance.h"

static inline void bump(_Atomic uint64_t *v)
{
	atomic_fetch_add_explicit(v, 1, memory_order_relaxed);
}

/* ---- deadlines: a list in order; calls of one instance mostly have the same time-out ---- */

static inline struct call_queue *queue_of(struct purser_ctx *x, const struct bcall *b)
{
	bool streams = b->c.route == PURSER_ROUTE_EXCLUSIVE && !(b->c.flags & PURSER_CALL_BLOCKS);

	return &x->queue[streams ? ROUTES : b->c.route];
}

static void waiter_due(struct loop_timer *t);

/* One that may wait in the store for longer than all the others has a timer of its own: in the list it
 * would be in the way of each of them. */
static void due_link_waiter(struct purser_ctx *x, struct bcall *b)
{
	b->timer.fn = waiter_due;
	if (b->c.deadline_ns == UINT64_MAX)
		loop_timer_stop(x->loop, &b->timer);
	else if (loop_timer_set(x->loop, &b->timer, b->c.deadline_ns))
		log_event(x->inst->log, LOG_M_BACKEND, LOG_ERROR, "backend.deadline.lost",
		    "no memory for the deadline of a blocking command", LOG_STR("backend", x->inst->name));
}

static void due_link(struct purser_ctx *x, struct bcall *b)
{
	struct bcall *after = x->due_tail;

	if (b->c.flags & PURSER_CALL_BLOCKS) {
		due_link_waiter(x, b);
		return;
	}
	while (after && after->c.deadline_ns > b->c.deadline_ns)
		after = after->prev_due;
	b->prev_due = after;
	b->next_due = after ? after->next_due : x->due_head;
	if (b->next_due)
		b->next_due->prev_due = b;
	else
		x->due_tail = b;
	if (after)
		after->next_due = b;
	else
		x->due_head = b;
	if (!x->due_timer.pos || b->c.deadline_ns < x->due_timer.due_ns)
		loop_timer_set(x->loop, &x->due_timer, b->c.deadline_ns);
}

static void due_unlink(struct purser_ctx *x, struct bcall *b)
{
	if (b->c.flags & PURSER_CALL_BLOCKS) {
		loop_timer_stop(x->loop, &b->timer);
		return;
	}
	if (b->prev_due)
		b->prev_due->next_due = b->next_due;
	else if (x->due_head == b)
		x->due_head = b->next_due;
	else
		return; /* not in the list */
	if (b->next_due)
		b->next_due->prev_due = b->prev_due;
	else
		x->due_tail = b->prev_due;
	b->prev_due = b->next_due = NULL;
}

static void answer(struct bcall *b)
{
	if (!b->answered) {
		b->answered = true;
		b->done(b);
	}
}

static void waits(struct purser_ctx *x, const struct bcall *b, int more)
{
	if (b->c.flags & PURSER_CALL_BLOCKS)
		atomic_fetch_add_explicit(&x->nwaiting, more, memory_order_relaxed);
}

static void exclusive_ended(struct purser_ctx *x, const struct bcall *b)
{
	waits(x, b, -1);
	if (x->use_time)
		hist_record(x->use_time, loop_now(x->loop) - b->submit_ns);
}

/* The plugin (or the queue) has let go of b. */
void call_ended(struct bcall *b)
{
	struct purser_ctx *x = b->c.ctx;

	due_unlink(x, b);
	if (b->c.route == PURSER_ROUTE_EXCLUSIVE && b->state == BCALL_SUBMITTED)
		exclusive_ended(x, b);
	b->state = BCALL_ENDED;
	if (__builtin_expect(b->trial, 0))
		guard_give_back(x, b); /* it never got as far as the store */
	answer(b);
	b->release(b);
}

bool call_failed(struct bcall *b, const struct call_failure *f)
{
	struct purser_ctx *x = b->c.ctx;

	if (b->part || !x || !x->loop || b->state != BCALL_SUBMITTED || b->answered)
		return false;
	if (!b->noted)
		guard_failed(x, b, f);
	if (b->began || b->broken || !b->keep || !b->keep(b, f))
		return false;
	b->answered = true; /* as far as this attempt goes */
	return true;
}

void call_again(struct bcall *b)
{
	b->state = BCALL_IDLE;
	b->executed = b->err = 0;
	b->answered = b->noted = b->stalled = b->held = b->store_error = false;
	b->status[0] = '\0';
	b->due_bytes = b->sent_ns = 0;
	call_rewind(b);
}

static void dequeue(struct purser_ctx *x, struct bcall *b)
{
	struct call_queue *q = queue_of(x, b);
	struct bcall **p = &q->head, *prev = NULL;

	while (*p && *p != b) {
		prev = *p;
		p = &(*p)->next;
	}
	if (!*p)
		return;
	*p = b->next;
	if (q->tail == b)
		q->tail = prev;
	b->next = NULL;
	atomic_fetch_sub_explicit(&x->nqueued, 1, memory_order_relaxed);
}

void ctx_withdraw(struct purser_ctx *x, const struct purser_session *s, bool (*take)(struct bcall *b))
{
	for (uint32_t i = 0; i <= ROUTES; i++) {
		struct call_queue *q = &x->queue[i];
		struct bcall **p = &q->head, *b;

		q->tail = NULL;
		while ((b = *p)) {
			if (b->c.session != s || !take(b)) {
				q->tail = b;
				p = &b->next;
				continue;
			}
			*p = b->next;
			b->next = NULL;
			atomic_fetch_sub_explicit(&x->nqueued, 1, memory_order_relaxed);
			due_unlink(x, b);
			guard_give_back(x, b);
			b->state = BCALL_IDLE;
		}
	}
}

#define PROGRESS_MIN 65536u /* bytes in an operation_timeout: less is a stream that is out of step, or a trickle */

/* A reply that has begun and moves on, or waits for its client, is not late: what limits that is
 * slow_reader_timeout.  Without progress for a whole operation_timeout it is cut, and so is a request
 * that arrives while it is passed on. */
static bool arriving(struct purser_ctx *x, struct bcall *b)
{
	uint64_t since = b->c.deadline_ns - x->inst->operation_timeout_ns;
	bool came = b->began && (b->stalled || (b->stalled_ns && b->stalled_ns >= since) ||
	    b->reply_bytes - b->due_bytes >= PROGRESS_MIN);

	if (b->state != BCALL_SUBMITTED || (!came && b->streamed - b->due_streamed < PROGRESS_MIN))
		return false;
	due_unlink(x, b);
	b->due_bytes = b->reply_bytes;
	b->due_streamed = b->streamed;
	b->c.deadline_ns = loop_now(x->loop) + x->inst->operation_timeout_ns;
	due_link(x, b);
	return true;
}

/* The wish that the plugin let go of b.  True: it has, and b may be gone. */
static bool cancelled(struct purser_ctx *x, struct bcall *b, int why)
{
	x->current = b;
	if (x->inst->blocking)
		blocking_cancel(b);
	else if (x->p->cancel && x->cs)
		x->p->cancel(x->cs, &b->c, why);
	if (x->current != b)
		return true;
	x->current = NULL;
	return false;
}

/* It waited in vain.  What needs a connection of its own found none that was free. */
static void expire_queued(struct purser_ctx *x, struct bcall *b)
{
	bump(&x->queue_timeouts);
	dequeue(x, b);
	b->executed = PURSER_NOT_EXECUTED;
	if (b->c.route != PURSER_ROUTE_SHARED)
		bump(&x->exhausted);
	if (!b->discard && b->c.route == PURSER_ROUTE_SHARED)
		reply_failure(b, ERR_TIMEOUT, NULL);
	else if (!b->discard)
		reply_failure(b, ERR_POOLEXHAUSTED, b->c.flags & PURSER_CALL_BLOCKS ?
		    "no connection for a blocking command became free in time: raise blocking_max of the "
		    "[backend] section" :
		    "no connection became free in time: raise pool_max of the [backend] section");
	call_ended(b);
}

static void expire(struct purser_ctx *x, struct bcall *b)
{
	if (arriving(x, b))
		return;
	if (b->state == BCALL_QUEUED) {
		expire_queued(x, b);
		return;
	}
	due_unlink(x, b);
	if (cancelled(x, b, PURSER_CANCEL_TIMEOUT))
		return; /* with what the plugin knows of it */
	/* It holds on to it: what has not been executed may still be. */
	b->executed = PURSER_MAYBE_EXECUTED;
	if (!b->answered && !b->noted)
		guard_failed(x, b, &(struct call_failure){ .err = ERR_TIMEOUT });
	if (!b->discard)
		reply_failure(b, b->c.flags & PURSER_CALL_WRITE ? ERR_INDETERMINATE : ERR_TIMEOUT, NULL);
	answer(b); /* first: a reply that broke off in the middle cuts its client */
	b->discard = true;
}

static bool holds(const struct bcall *o, const struct bcall *b)
{
	return o != b && (o->c.session == b->c.session || (o->c.route == b->c.route && o->c.db == b->c.db &&
	    o->c.resp == b->c.resp && o->submit_ns <= b->submit_ns));
}

/* Marks what is late because the reply before it is not read, which says nothing about the store.  Once for
 * all that are due, for they can be many. */
static void mark_held(struct purser_ctx *x, uint64_t now)
{
	const struct bcall *by[8];
	unsigned n = 0;

	for (const struct bcall *o = x->due_head; o && n < 8; o = o->next_due)
		if (o->state == BCALL_SUBMITTED && o->stalled)
			by[n++] = o;
	for (struct bcall *b = x->due_head; n && b && b->c.deadline_ns <= now; b = b->next_due)
		for (unsigned i = 0; i < n && !b->held; i++)
			b->held = b->state == BCALL_SUBMITTED && holds(by[i], b);
}

static void due_fire(struct loop_timer *t)
{
	struct purser_ctx *x = (struct purser_ctx *)((char *)t - offsetof(struct purser_ctx, due_timer));
	uint64_t now = loop_now(x->loop);

	mark_held(x, now);
	while (x->due_head && x->due_head->c.deadline_ns <= now)
		expire(x, x->due_head);
	if (x->due_head)
		loop_timer_set(x->loop, &x->due_timer, x->due_head->c.deadline_ns);
}

static void waiter_due(struct loop_timer *t)
{
	struct bcall *b = (struct bcall *)((char *)t - offsetof(struct bcall, timer));

	expire(b->c.ctx, b);
}

/* ---- submitting ---- */

/* How long it may take from now: what it may wait in the store, and time for the way. */
static void due_from_now(struct purser_ctx *x, struct bcall *b)
{
	uint64_t op = x->inst->operation_timeout_ns, now = loop_now(x->loop);
	uint64_t ms = (uint64_t)b->c.block_ms;

	due_unlink(x, b);
	b->c.deadline_ns = ms == 0 || ms > (UINT64_MAX - now - op) / 1000000 - 1 ? UINT64_MAX :
	    now + op + ms * 1000000;
}

/* PURSER_AGAIN, or whether the call has ended inside. */
static int offer(struct purser_ctx *x, struct bcall *b)
{
	uint64_t queue_due = b->c.deadline_ns;
	int rc;

	b->state = BCALL_SUBMITTED;
	b->submit_ns = loop_now(x->loop);
	if (b->c.flags & PURSER_CALL_BLOCKS) {
		due_from_now(x, b);
		waits(x, b, 1);
	}
	x->accepted++;
	x->current = b;
	b->c.link = NULL;
	memset(b->c.user, 0, sizeof b->c.user);
	if (x->inst->blocking) {
		rc = blocking_submit(x->inst->blocking, b);
	} else if (b->c.op < x->p->nops) {
		const purser_op *op = plugin_op(x->inst->plugin, b->c.op);

		rc = op->run ? op->run(x->cs, &b->c) : x->p->submit(x->cs, &b->c);
	} else {
		rc = x->p->submit(x->cs, &b->c);
	}
	if (x->current != b)
		return PURSER_DONE; /* ended inside: b may be gone, whatever submit says */
	x->current = NULL;
	if (rc == PURSER_AGAIN) {
		x->accepted--;
		waits(x, b, -1);
		b->c.deadline_ns = queue_due;
		return PURSER_AGAIN;
	}
	if (rc == PURSER_DONE) {
		/* It says that the call has ended, but it has not: end it here (rule 2). */
		reply_failure(b, ERR_INTERNAL, "the backend plugin did not end a call that it says is done");
		call_count(x, b);
		call_ended(b);
		return PURSER_DONE;
	}
	return PURSER_PENDING;
}

static int enqueue(struct purser_ctx *x, struct bcall *b)
{
	struct call_queue *q = queue_of(x, b);

	b->state = BCALL_QUEUED;
	if (atomic_load_explicit(&x->nqueued, memory_order_relaxed) >= x->inst->queue_max) {
		bump(&x->exhausted);
		b->executed = PURSER_NOT_EXECUTED;
		reply_failure(b, ERR_POOLEXHAUSTED, NULL);
		call_ended(b);
		return SUBMIT_ENDED;
	}
	b->queued_ns = loop_now(x->loop);
	b->next = NULL;
	if (q->tail)
		q->tail->next = b;
	else
		q->head = b;
	q->tail = b;
	atomic_fetch_add_explicit(&x->nqueued, 1, memory_order_relaxed);
	due_link(x, b);
	return SUBMIT_PENDING;
}

static void turn_away(struct bcall *b)
{
	b->executed = PURSER_NOT_EXECUTED;
	if (!b->discard)
		reply_failure(b, ERR_BACKENDDOWN, "the backend is being closed");
	call_ended(b);
}

int ctx_submit(struct purser_ctx *x, struct bcall *b)
{
	b->c.ctx = x;
	if (b->c.flags & PURSER_CALL_BLOCKS) {
		/* as long as it waits for a link; then as it says itself */
		b->c.deadline_ns = loop_now(x->loop) + x->inst->operation_timeout_ns;
		guard_give_back(x, b); /* what may wait for hours tries nothing out */
	}
	if (x->draining) {
		turn_away(b);
		return SUBMIT_ENDED;
	}
	if (queue_of(x, b)->head)
		return enqueue(x, b);
	switch (offer(x, b)) {
	case PURSER_DONE:
		return SUBMIT_ENDED;
	case PURSER_AGAIN:
		return enqueue(x, b);
	default:
		due_link(x, b);
		return SUBMIT_PENDING;
	}
}

static void offer_queue(struct purser_ctx *x, struct call_queue *q)
{
	while (q->head) {
		struct bcall *b = q->head;
		uint64_t since = b->queued_ns;
		bool blocks = b->c.flags & PURSER_CALL_BLOCKS;
		int rc;

		q->head = b->next;
		if (!q->head)
			q->tail = NULL;
		b->next = NULL;
		rc = offer(x, b);
		if (blocks && rc != PURSER_DONE)
			due_link(x, b); /* with the deadline that offer() has left */
		if (rc == PURSER_AGAIN) {
			b->state = BCALL_QUEUED;
			b->next = q->head;
			q->head = b;
			if (!q->tail)
				q->tail = b;
			return;
		}
		atomic_fetch_sub_explicit(&x->nqueued, 1, memory_order_relaxed);
		if (x->wait_time)
			hist_record(x->wait_time, loop_now(x->loop) - since);
	}
}

void ctx_release(struct purser_ctx *x)
{
	while (x->releases) {
		struct ref_release *r = x->releases;

		x->releases = r->next;
		r->fn(r->arg);
		free(r);
	}
}

void ctx_turn(struct purser_ctx *x)
{
	ctx_release(x);
	if (loop_now(x->loop) >= x->guard.roll_ns)
		guard_roll(x, loop_now(x->loop));
	if (x->ready) {
		uint32_t ready = x->ready;

		x->ready = 0;
		ready |= (ready >> PURSER_ROUTE_EXCLUSIVE & 1u) << ROUTES;
		/* Each in turn first: a plugin may have one window for all of them. */
		x->first_queue++;
		for (uint32_t k = 0; k <= ROUTES; k++) {
			uint32_t q = (x->first_queue + k) % (ROUTES + 1);

			if (ready & 1u << q && x->queue[q].head)
				offer_queue(x, &x->queue[q]);
		}
	}
	if (x->p->flush && x->cs)
		x->p->flush(x->cs);
}

void ctx_abandon(struct purser_ctx *x, struct bcall *b, int why)
{
	b->discard = true;
	if (b->state == BCALL_QUEUED) {
		ctx_dismiss(x, b);
		return;
	}
	answer(b);
	cancelled(x, b, why);
}

void ctx_dismiss(struct purser_ctx *x, struct bcall *b)
{
	dequeue(x, b);
	b->executed = PURSER_NOT_EXECUTED;
	call_ended(b);
}

bool ctx_cancel(struct purser_ctx *x, struct bcall *b, int why)
{
	return cancelled(x, b, why);
}

void ctx_resume(struct purser_ctx *x, struct bcall *b)
{
	b->stalled = false;
	if (x->p->resume && x->cs)
		x->p->resume(x->cs, &b->c, PURSER_RESUME_REPLY);
}

bool ctx_holds_up(const struct purser_ctx *x, const struct bcall *b)
{
	if (b->state != BCALL_SUBMITTED || b->c.route != PURSER_ROUTE_SHARED)
		return false;
	for (const struct bcall *o = x->due_head; o; o = o->next_due)
		if (o != b && o->state == BCALL_SUBMITTED && !o->began && o->c.route == PURSER_ROUTE_SHARED &&
		    o->c.session != b->c.session && o->c.db == b->c.db && o->c.resp == b->c.resp &&
		    o->submit_ns >= b->submit_ns && o->submit_ns <= b->stalled_ns)
			return true;
	return false;
}

void ctx_feed(struct purser_ctx *x, struct bcall *b)
{
	b->starved = false;
	if (b->state == BCALL_SUBMITTED && x->p->resume && x->cs)
		x->p->resume(x->cs, &b->c, PURSER_RESUME_ENCODE);
}

uint64_t ctx_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void ctx_session_end(struct purser_ctx *x, struct purser_session *s)
{
	void *slot = s->slot[x->inst->index];

	if (!slot || !x->p->session_end)
		return;
	if (x->inst->blocking)
		blocking_session_end(x->inst->blocking, s);
	else
		x->p->session_end(x->cs, s, slot);
	s->slot[x->inst->index] = NULL;
}

/* ---- opening and closing ---- */

int ctx_open(struct purser_instance *i, uint32_t worker, struct loop *loop, purser_error *e)
{
	struct purser_ctx *x = calloc(1, sizeof *x);

	if (!x) {
		snprintf(e->text, sizeof e->text, "out of memory");
		return -1;
	}
	x->inst = i;
	x->p = i->p;
	x->loop = loop;
	x->worker = worker;
	x->due_timer.fn = due_fire;
	if (!i->blocking && i->p->open(i->state, x, &x->cs, e)) {
		free(x);
		return -1;
	}
	i->ctx[worker] = x;
	return 0;
}

void ctx_drain(struct purser_ctx *x)
{
	if (!x || x->draining)
		return;
	x->draining = true;
	if (x->cs && x->p->drain)
		x->p->drain(x->cs);
	for (uint32_t r = 0; r <= ROUTES; r++)
		while (x->queue[r].head) {
			struct bcall *b = x->queue[r].head;

			dequeue(x, b);
			turn_away(b);
		}
}

bool ctx_quiet(const struct purser_ctx *x)
{
	return !x || (!x->offloaded && (!x->inst->blocking || x->accepted == x->ended));
}

void ctx_close(struct purser_ctx *x)
{
	if (!x)
		return;
	ctx_drain(x);
	ctx_release(x);
	if (x->inst->hub)
		hub_detach(x->inst->hub, x);
	if (x->cs && x->p->close)
		x->p->close(x->cs);
	if (x->accepted != x->ended)
		log_event(x->inst->log, LOG_M_PLUGIN, LOG_ERROR, "plugin.calls.lost",
		    "the plugin did not end every call that it had accepted",
		    LOG_STR("backend", x->inst->name), LOG_UINT("accepted", x->accepted),
		    LOG_UINT("ended", x->ended));
	host_ctx_free(x);
	out_clear(&x->scrap, &(struct out_pool){ 0 });
	loop_timer_stop(x->loop, &x->due_timer);
	x->inst->ctx[x->worker] = NULL;
	free(x);
}
