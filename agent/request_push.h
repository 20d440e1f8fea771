/* SPDX-License-Identifier: Apache-2.0
 *
 * request_push: what a client hears without having asked for it at that moment: messages, and other
 * pushes.  In: bytes of whole frames.  Out: the same in the client's buffer between two replies, never
 * inside one, in the order in which they came; bounded by subscriber_limit.
 *
 * A client has a struct outband from its first need until it is freed; who has none costs nothing.
 */
#ifndef REQUEST_PUSH_H
#define REQUEST_PUSH_H
#include "request.h"

struct subscription;
struct tracking;

struct outband {
	struct out late;                    /* frames that wait for the end of the reply at the head */
	struct subscription *first, *last;  /* in the order they were made */
	uint32_t channels, patterns, shards;
	struct client *next_lost;           /* pubsub_deliver(): to be closed */
	bool closing;                       /* ... it is among them */
	void (*heard)(struct client *c);    /* not NULL: frames collect in late, and this takes them from there */
	struct tracking *tracking;          /* CLIENT TRACKING (request_track.h); or NULL */
	uint64_t track_epoch;               /* of it */
	bool monitor;                       /* MONITOR */
	uint32_t monitor_ns;                /* ... of the project of this number */
};

/* It says nothing for long, and is not idle. */
static inline bool client_listens(const struct client *c)
{
	const struct outband *o = c->outband;

	return o && (o->first || o->monitor);
}

struct outband *client_outband(struct client *c); /* NULL: no memory */
void outband_end(struct client *c);     /* it hears nothing any more */

/* A frame of n bytes is to be written: *o is where; false: the client is cut (it is too slow, or there is
 * no memory).  Between the two, out_put() and out_ref() only. */
bool push_begin(struct client *c, size_t n, struct out **o);
void push_end(struct client *c);
void push_bytes(struct client *c, const void *p, size_t n); /* one whole frame */
/* The reply of r, which was at the head, is complete: what waited behind it may go. */
void outband_replied(struct client *c, struct request *r);
/* ---- MONITOR (request_monitor.c) ---- */
void monitor_start(struct request *r);  /* runs alone; answers it */
void monitor_leave(struct client *c);
void monitor_tap(struct request *r);    /* r is about to run, its words as the client gave them */
void monitor_free(struct worker *w);

/* Closed by the agent, which says why: to RESP3 clients, and in the log. */
void client_dismiss(struct client *c, const char *reason, const char *text);
#endif
