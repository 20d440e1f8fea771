/* SPDX-License-Identifier: Apache-2.0
 *
 * export/queue: encoded requests that wait to be sent, oldest first for each signal, bounded by bytes
 * and age.  What does not fit pushes out the oldest, counted.  In memory; a store on disk can stand
 * behind the same functions: head hands out, pop acknowledges, nothing else removes but the bounds.
 * The exporter thread's alone.
 */
#ifndef EXPORT_QUEUE_H
#define EXPORT_QUEUE_H
#include "base/buf.h"

enum export_signal { EXPORT_TRACES, EXPORT_METRICS, EXPORT_SIGNALS };

struct export_record {
	struct export_record *next;
	enum export_signal signal;
	struct buf payload;      /* the request's body, compressed if it will be sent so */
	bool gzip;
	uint32_t items;          /* spans or data points in it */
	uint64_t since_ns;       /* monotonic */
	bool held;               /* being sent: the bounds do not touch it */
};

struct export_queue {
	size_t max_bytes;
	uint64_t max_age_ns;     /* 0 = none */
	size_t bytes;            /* of all signals */
	struct {
		struct export_record *head, **tail;
		size_t bytes;
		uint32_t records;
		uint64_t evicted;    /* items pushed out by the bounds so far */
	} fifo[EXPORT_SIGNALS];
};

void queue_init(struct export_queue *q, size_t max_bytes, uint64_t max_age_ns);
void queue_free(struct export_queue *q);
/* payload transfers (it is empty afterwards). 0, or -1: larger than the queue, or no memory; then it is
 * counted as evicted. */
int queue_push(struct export_queue *q, enum export_signal s, struct buf *payload, bool gzip,
    uint32_t items, uint64_t now_ns);
struct export_record *queue_head(struct export_queue *q, enum export_signal s); /* NULL: empty */
void queue_pop(struct export_queue *q, enum export_signal s);   /* the head is done with */
void queue_clear(struct export_queue *q, enum export_signal s); /* nothing of it is held */
void queue_expire(struct export_queue *q, uint64_t now_ns);
void queue_bound(struct export_queue *q, size_t max_bytes, uint64_t max_age_ns); /* reload */
uint64_t queue_oldest(const struct export_queue *q);            /* since_ns; 0 = empty */
#endif
