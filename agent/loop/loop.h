/* SPDX-License-Identifier: Apache-2.0
 *
 * loop: one thread's epoll loop.  What comes in: readiness, timers, jobs from other threads.  What
 * goes out: callbacks, on this thread, with the turn's time.
 *
 * A turn is: epoll_wait, callbacks of ready descriptors, one more epoll_wait(0) to gather
 * stragglers (if there was more than one event, or were some the last time), jobs, due timers, then every `after` hook once (that is where upstreams and clients
 * are flushed).  Time is read once per wake-up.  All functions but loop_post and loop_stop belong
 * to the loop's thread.
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H
#include <stdbool.h>
#include <stdint.h>
#include <purser/plugin.h>

struct loop;
struct loop_time { uint64_t now_ns; }; /* what a loop begins with */

/* A watched descriptor, embedded in its owner; zero-initialised means "not watched".  Removing,
 * moving or freeing one inside a batch is safe: loop_unwatch drops the events of the batch that
 * still point at it.
 *
 * Edge-triggered: read (write) until it comes short or says EAGAIN.  PURSER_IO_HUP is set when the
 * peer will send no more or the link broke: then read on until 0 or an error, for no edge follows.
 */
struct loop_io {
	void (*fn)(struct loop_io *io, uint32_t events); /* PURSER_IO_* bits */
	int fd;                                         /* -1 after loop_unwatch */
	uint32_t watched;                               /* PURSER_IO_* bits; 0: not watched */
};

/* A timer, embedded in its owner; zero-initialised means "not set".  Timers that are due together
 * fire in the order in which they were set; one that is set by a timer fires in the next turn at
 * the earliest. */
struct loop_timer {
	void (*fn)(struct loop_timer *t);
	uint64_t due_ns;
	uint32_t pos; /* heap position + 1; 0 = not set */
};

/* A hook that runs once at the end of every turn, in the order of registration. */
struct loop_hook {
	void (*fn)(struct loop_hook *h);
	struct loop_hook *next;
};

/* Clocks, injectable: NULL = CLOCK_MONOTONIC in ns and CLOCK_REALTIME in ms. */
struct loop_clock {
	uint64_t (*mono_ns)(void *arg);
	uint64_t (*wall_ms)(void *arg);
	void *arg;
};

struct loop *loop_new(const struct loop_clock *clock); /* copied; NULL result: errno */
void loop_free(struct loop *l); /* nothing may be watched; jobs are not run */
int loop_run(struct loop *l);                          /* until loop_stop(); 0 or -errno */
int loop_turn(struct loop *l, int64_t max_wait_ns);    /* one turn; -1 = as long as it takes */
void loop_stop(struct loop *l); /* any thread; also if loop_run is yet to come */

static inline uint64_t loop_now(const struct loop *l) /* monotonic ns of this turn */
{
	return ((const struct loop_time *)l)->now_ns;
}
uint64_t loop_wall_ms(struct loop *l);    /* Unix ms of this turn (read when first asked for) */
uint64_t loop_turns(const struct loop *l); /* any thread: a heartbeat */

/* Begin to watch fd, or change what is watched; an event that is already there is told again. 0 or
 * -errno */
int loop_watch(struct loop *l, struct loop_io *io, int fd, uint32_t events);
void loop_unwatch(
	struct loop *l, struct loop_io *io); /* before close(fd); nothing if not watched */

/* Absolute time; one that is set is moved.  0, or -ENOMEM (never for one that is set already). */
int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ns);
void loop_timer_stop(struct loop *l, struct loop_timer *t); /* nothing if not set */

void loop_hook_add(struct loop *l, struct loop_hook *h);
/* ... or as soon as a turn's events have been told: before jobs, timers and the other hooks. */
void loop_told_add(struct loop *l, struct loop_hook *h);
/* The hooks have work: run them at the end of this turn, or, when a hook asks, in one more turn without
 * waiting. */
void loop_again(struct loop *l);

/* Any thread.  The node is the caller's and is free again when fn begins.  Order is kept per
 * poster; a job that a job posts runs in the next turn.  The eventfd is written only if the loop
 * sleeps. */
void loop_post(struct loop *l, purser_job *job);
#endif
