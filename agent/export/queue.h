/* SPDX-License-Identifier: Apache-2.0
 *
 * export/queue: encoded requests that wait to be sent, oldest first for each signal.  In memory, bounded by bytes: what
 * does not fit pushes out the oldest.  With a spool behind it (export/spool.h) all that has waited for a moment is on disk,
 * bounded by bytes there and by age: what does not fit pushes out the oldest segment whole.  Everything lost is counted.
 * The exporter thread's alone.
 *
 * A record is in memory only, on disk and in memory (the head of its signal, as long as it is one), or on disk only.
 */
#ifndef EXPORT_QUEUE_H
#define EXPORT_QUEUE_H
#include "base/buf.h"
#include "export/spool.h"

enum export_signal { EXPORT_TRACES, EXPORT_METRICS, EXPORT_LOGS, EXPORT_SIGNALS };

struct export_record {
	struct export_record *next;
	enum export_signal signal;
	struct buf payload;      /* the request's body, compressed if it will be sent so; empty: on disk only */
	bool gzip;
	bool resident;           /* payload is there */
	bool held;               /* being sent: the bounds do not touch it */
	bool loose;              /* its place on disk was given up while it was held: it is not written again */
	uint32_t items;          /* spans, data points or log records in it */
	uint32_t len;            /* of the payload */
	uint64_t since_ns;       /* monotonic */
	struct spool_record disk; /* seq 0: it is not there */
};

struct export_queue {
	size_t max_bytes;        /* in memory */
	uint64_t max_age_ns;     /* 0 = none */
	size_t bytes;            /* of payloads in memory */
	size_t unwritten;        /* bytes on disk of those that are to be written */
	uint64_t waiting;        /* bytes of all that waits, wherever */
	struct spool *spool;     /* borrowed; NULL: memory only */
	uint64_t max_disk;       /* bytes of its segments */
	int disk_error;          /* errno of the last write; 0: it went well */
	struct {
		struct export_record *head, **tail;
		uint64_t bytes;      /* wherever they are */
		uint32_t records;
		bool parked;         /* nobody wants it at present: it is kept on disk and not looked at */
		uint64_t evicted;    /* items pushed out by the bounds so far */
		uint64_t damaged;    /* items that could not be read back */
	} fifo[EXPORT_SIGNALS];
};

void queue_init(struct export_queue *q, size_t max_bytes, uint64_t max_age_ns);
void queue_free(struct export_queue *q); /* what is on disk stays there */
/* payload transfers (it is empty afterwards). 0, or -1: larger than the queue, or no memory; then it is
 * counted as evicted. */
int queue_push(struct export_queue *q, enum export_signal s, struct buf *payload, bool gzip,
    uint32_t items, uint64_t now_ns);
/* The oldest, with its payload; NULL: empty.  What cannot be read back is counted and passed over. */
struct export_record *queue_head(struct export_queue *q, enum export_signal s);
void queue_pop(struct export_queue *q, enum export_signal s);   /* the head is done with */
/* Nobody wants the signal any more: what is in memory goes (it is not counted), what is on disk is kept for the time when
 * somebody does.  Nothing of it is held. */
void queue_park(struct export_queue *q, enum export_signal s, bool parked);
void queue_expire(struct export_queue *q, uint64_t now_ns);
void queue_bound(struct export_queue *q, size_t max_bytes, uint64_t max_age_ns); /* reload */
uint64_t queue_oldest(const struct export_queue *q);            /* since_ns; 0 = empty */

/* ---- on disk ---- */

/* From spool_open()'s found: r waits, behind all that were added before; nothing is in memory yet.  wall_ns and now_ns: of
 * now.  -1: no memory. */
int queue_restore(struct export_queue *q, const struct spool_record *r, uint64_t wall_ns, uint64_t now_ns);
/* s: all that waits is to be written to it (with what waits in memory); NULL: nothing is any more. */
void queue_spool(struct export_queue *q, struct spool *s, uint64_t max_disk);
/* Write what is not written.  now_ns + wall_offset is Unix time.  disk_error says how it went: what could not be written
 * stays in memory and is tried again. */
void queue_commit(struct export_queue *q, uint64_t wall_offset);
#endif
