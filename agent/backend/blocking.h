/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/blocking: threads for what may block.  Two uses: the calls of a plugin that declares itself
 * BLOCKING (each thread has a context of its own; one session's calls stay on one thread, in order),
 * and offload(), one-off jobs such as name resolution.
 */
#ifndef BACKEND_BLOCKING_H
#define BACKEND_BLOCKING_H
#include "backend/instance.h"

struct blocking;
struct offload;

/* Threads for a BLOCKING instance: p->max_parallel of them, 4 if it leaves that to the host.
 * NULL with e->text. */
struct blocking *blocking_new(struct purser_instance *i, purser_error *e);
void blocking_free(struct blocking *k); /* waits for what is running; nothing may be queued */
/* PURSER_PENDING (done() comes on b's own loop) or PURSER_AGAIN (no memory for another). */
int blocking_submit(struct blocking *k, struct bcall *b);

/* A call that its thread has not begun is answered TIMEOUT and never runs; its end comes later. */
void blocking_cancel(struct bcall *b);
void blocking_session_end(struct blocking *k, struct purser_session *s); /* s may go at once */
/* For host.c, on a context that is a blocking thread's. */
void blocking_post(struct purser_ctx *x, purser_job *job);
uint64_t blocking_wall_ms(struct purser_ctx *x);

struct offload *offload_new(void); /* one thread, started at the first job; NULL with errno */
void offload_free(struct offload *o);
/* work on the thread, then done on x's; x->offloaded counts it meanwhile. */
void offload_submit(struct offload *o, struct purser_ctx *x, purser_job *work, purser_job *done);
#endif
