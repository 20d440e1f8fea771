/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>
#include "fiber.h"
#include "script_long.h"
#include "wait.h"
#include "watch.h"

#define SLICE_NS UINT64_C(5000000)

static const char busy_script[] =
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
static const char busy_function[] =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";

/* The turn's time stands still while a script runs. */
static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* store.script_state: one of these, and above it a number that each script has for itself, so that who kills one does
 * not kill the next, and nobody kills what has written. */
enum { STATE_RUNS, STATE_KILLED, STATE_WROTE, STATE_NONE };
#define STATE(word) ((word) & 3u)

static uint32_t get(_Atomic uint32_t *v) { return atomic_load_explicit(v, memory_order_relaxed); }

/* ---- who was put off --------------------------------------------------------------------------------------- */
static void offer_again(void *arg)
{
	struct ctx *cx = arg;

	lock(&cx->st->script_lock);
	cx->long_told = 0;
	unlock(&cx->st->script_lock);
	watch_tidy(cx);
	wait_serve_beside(cx);
	for (uint32_t route = 0; route <= PURSER_ROUTE_PINNED; route++)
		cx->h->ready(cx->x, route);
}

/* Everybody who was put off is offered again: the script has ended, or they are told BUSY now. */
static void tell(struct store *st)
{
	lock(&st->script_lock);
	while (st->put_off) {
		struct ctx *cx = st->put_off;

		st->put_off = cx->next_put_off;
		cx->is_put_off = 0;
		if (!cx->long_told) {
			cx->long_told = 1;
			cx->long_job = (purser_job){ NULL, offer_again, cx };
			st->h->post(cx->x, &cx->long_job);
		}
	}
	unlock(&st->script_lock);
}

static void forget(struct ctx *cx)
{
	struct ctx **p;

	lock(&cx->st->script_lock);
	for (p = &cx->st->put_off; cx->is_put_off && *p; p = &(*p)->next_put_off)
		if (*p == cx) {
			*p = cx->next_put_off;
			break;
		}
	cx->is_put_off = 0;
	unlock(&cx->st->script_lock);
}

void script_await(struct ctx *cx)
{
	struct store *st = cx->st;

	if (cx->draining) /* nothing may be posted to it any more */
		return;
	lock(&st->script_lock);
	if (!cx->is_put_off) {
		cx->is_put_off = 1;
		cx->next_put_off = st->put_off;
		st->put_off = cx;
	}
	unlock(&st->script_lock);
	if (!script_bars(st)) /* it ended meanwhile, and nobody may have seen that we wait */
		tell(st);
}

int script_put_off(struct ctx *cx, purser_call *c)
{
	struct store *st = cx->st;

	if (get(&st->script_long) == LONG_BUSY) {
		const char *text = get(&st->script_runs) == RUNS_FUNCTION ? busy_function : busy_script;

		cx->h->error(c, text, strlen(text));
		cx->h->end(c);
		return PURSER_DONE;
	}
	script_await(cx);
	return PURSER_AGAIN;
}

/* ---- the fiber of a context ---------------------------------------------------------------------------------- */
static void on_fiber(void *arg)
{
	struct ctx *cx = arg;

	cx->fiber_says = cx->fiber_fn(cx, cx->fiber_call);
}

static void go_on(void *arg)
{
	struct ctx *cx = arg;

	cx->fiber_left = !fiber_go_on(cx->fiber);
}

int script_on_fiber(struct ctx *cx, purser_call *c, int (*fn)(struct ctx *cx, purser_call *c))
{
	if (!cx->fiber && !(cx->fiber = fiber_new())) {
		reply_nomem(cx, c);
		cx->h->end(c);
		return PURSER_DONE;
	}
	cx->fiber_fn = fn;
	cx->fiber_call = c;
	cx->fiber_left = !fiber_run(cx->fiber, on_fiber, cx);
	return cx->fiber_left ? PURSER_PENDING : cx->fiber_says;
}

/* ---- the script ------------------------------------------------------------------------------------------------- */
void script_begins(struct ctx *cx, purser_call *c, int runs)
{
	struct store *st = cx->st;

	atomic_store(&st->script_state, (get(&st->script_state) | STATE_NONE) + 1 + STATE_NONE);
	atomic_store(&st->script_ns, c->ns);
	atomic_store(&st->script_runs, (uint32_t)runs);
	atomic_store(&st->script_state, get(&st->script_state) & ~STATE_NONE); /* STATE_RUNS */
	cx->script_since_ns = cx->slice_since_ns = clock_ns();
}

static int killed(struct store *st) { return STATE(get(&st->script_state)) == STATE_KILLED; }

int script_writes(struct ctx *cx)
{
	struct store *st = cx->st;
	uint32_t now = get(&st->script_state);

	if (STATE(now) == STATE_WROTE)
		return 0;
	return STATE(now) == STATE_RUNS && atomic_compare_exchange_strong(&st->script_state, &now, now | STATE_WROTE) ?
	    0 : -1;
}

void script_ends(struct ctx *cx)
{
	struct store *st = cx->st;

	atomic_store(&st->script_state, get(&st->script_state) | STATE_NONE);
	atomic_store(&st->script_runs, RUNS_NOTHING);
	if (!script_bars(st))
		return;
	atomic_store(&st->script_long, LONG_NO);
	cx->long_ended = 1;
}

/* The worker has other things to do; what a command has in the context is kept for it. */
static void leave(struct ctx *cx)
{
	uint64_t now_ms = cx->now_ms;
	uint32_t clock = cx->clock;
	struct waitkey *ready = cx->ready, *ready_last = cx->ready_last;

	cx->ready = cx->ready_last = NULL;
	cx->fiber_job = (purser_job){ NULL, go_on, cx };
	cx->h->post(cx->x, &cx->fiber_job);
	fiber_leave(cx->fiber);
	cx->now_ms = now_ms;
	cx->clock = clock;
	wait_put_back(cx, ready, ready_last);
	cx->slice_since_ns = clock_ns();
}

uint64_t script_runs_for(struct ctx *cx) { return clock_ns() - cx->script_since_ns; }

int script_looks_up(struct ctx *cx)
{
	struct store *st = cx->st;
	uint64_t now = clock_ns(), limit = atomic_load_explicit(&st->script_limit_ms, memory_order_relaxed);

	if (killed(st) || cx->draining)
		return 1;
	if (limit && (now - cx->script_since_ns) / 1000000 >= limit && get(&st->script_long) != LONG_BUSY) {
		atomic_store(&st->script_long, LONG_BUSY);
		st->h->log(st->i, PURSER_LOG_WARN, "a script is slow: it has run for script_time_limit; others "
		    "are answered BUSY, SCRIPT KILL ends it unless it has written");
		tell(st);
	}
	if (now - cx->slice_since_ns < SLICE_NS || !cx->fiber)
		return 0;
	if (!script_bars(st))
		atomic_store(&st->script_long, LONG_WAITS);
	leave(cx);
	return killed(st) || cx->draining;
}

/* Behind the command: its locks are free. */
void script_over(struct ctx *cx)
{
	if (!cx->long_ended)
		return;
	cx->long_ended = 0;
	tell(cx->st);
}

void script_kill(struct ctx *cx, purser_call *c, int runs)
{
	struct store *st = cx->st;
	uint32_t state = atomic_load(&st->script_state), now = atomic_load(&st->script_runs);
	int theirs = atomic_load(&st->script_ns) != c->ns;

	if (now == RUNS_NOTHING || theirs || STATE(state) == STATE_NONE)
		reply_error(cx, c, "NOTBUSY No scripts in execution right now.");
	else if (now != (uint32_t)runs)
		reply_error(cx, c, now == RUNS_FUNCTION ? busy_function : busy_script);
	else if (STATE(state) == STATE_WROTE)
		reply_error(cx, c, "UNKILLABLE Sorry the script already executed write commands against the dataset. "
		    "You can either wait the script termination or kill the server in a hard way using the SHUTDOWN "
		    "NOSAVE command.");
	else if (STATE(state) == STATE_KILLED ||
	    atomic_compare_exchange_strong(&st->script_state, &state, state | STATE_KILLED))
		reply_ok(cx, c);
	else
		script_kill(cx, c, runs); /* it has ended, or written, meanwhile */
}

/* Its next look finds that it is to end; the job that goes on with it is in the mailbox. */
void script_drain(struct ctx *cx)
{
	cx->draining = 1;
	forget(cx); /* what has been posted comes before close() */
}

void script_close(struct ctx *cx)
{
	cx->draining = 1;
	while (cx->fiber_left)
		go_on(cx);
	forget(cx);
	fiber_free(cx->fiber);
	cx->fiber = NULL;
}
