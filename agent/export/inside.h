/* SPDX-License-Identifier: Apache-2.0
 *
 * export/inside: what export.c (thread, batches, metrics), send.c (requests, retries) and watch.c
 * (status, own metrics) share.
 */
#ifndef EXPORT_INSIDE_H
#define EXPORT_INSIDE_H
#include <pthread.h>
#include <zlib.h>
#include "export/export.h"
#include "export/otlp.h"
#include "fetch/fetch.h"
#include "log/line.h"
#include "log/log.h"
#include "loop/loop.h"
#include "trace/trace.h"

#define SECOND UINT64_C(1000000000)
#define OTLP_MAX ((size_t)64 << 20)

struct source { /* one worker's ring */
	struct source *next;
	struct export *e;
	struct trace *t;
	purser_job job;
	_Atomic bool posted;
};

struct sender { /* of one signal; the thread's */
	struct export *e;
	enum export_signal signal;
	struct loop_timer retry;
	struct fetch_call *call;
	struct buf body;            /* what is being sent, where it is not the record's payload as it is */
	unsigned attempts;          /* of the request at the head that failed */
	bool given_up;              /* closing, and it did not work */
	char address[256], port[8]; /* of the collector, for otel.sdk.* */
};

struct export {
	struct metric_reg *reg;
	struct metric_shard *shard; /* the thread's */
	struct log *log;
	struct otlp_head head;
	struct loop *loop;
	pthread_t thread;
	bool running;               /* the thread; control thread only */
	struct export_opts opts;    /* with copies of all texts */

	/* the thread's */
	struct fetch *fetch;
	struct export_queue queue;
	struct sender sender[EXPORT_SIGNALS];
	struct spool *spool;        /* or NULL */
	struct loop_timer drain, metrics, expire, commit;
	int disk_error;             /* as last reported */
	struct buf batch;           /* spans, encoded */
	uint32_t batch_items;
	uint64_t batch_since_ns, wall_ns;
	uint64_t evicted[EXPORT_SIGNALS], damaged[EXPORT_SIGNALS]; /* of the queue, as last reported */
	uint64_t random;
	struct loop_timer records_timer;
	purser_job stop;
	_Atomic bool closing;
	uint64_t close_at_ns;

	/* log records (record.c): of all threads */
	pthread_mutex_t records_lock; /* of the next six */
	struct buf records;         /* encoded */
	uint32_t nrecords, records_max;
	uint64_t records_made, records_lost, records_dropped; /* lost: not reported yet */
	_Atomic bool records_on, records_posted;
	purser_job records_job;

	/* shared */
	pthread_mutex_t lock;
	struct source *sources;
	struct {
		struct export_status st;
		uint64_t queued[EXPORT_SIGNALS], inflight[EXPORT_SIGNALS]; /* bytes, items */
		uint64_t oldest_ns, dropped_ns, refused_ns; /* monotonic; 0 = never */
		uint64_t drained;
	} pub;
};

#define COMMIT_NS (SECOND / 5)
#define COMMIT_BYTES ((size_t)256 << 10)

enum lost_reason { LOST_QUEUE_FULL, LOST_REFUSED, LOST_REJECTED, LOST_MEMORY, LOST_DAMAGED, LOST_RING };

/* options.c */
int options_copy(struct export_opts *to, const struct export_opts *o); /* with the defaults; -1: no
                                                                       * memory, free it all the same */
void options_free(struct export_opts *o);
bool options_same(const struct export_opts *a, const struct export_opts *b); /* two such copies */

/* export.c: body -> request -> queue.  The body is empty afterwards. */
void export_seal(struct export *e, enum export_signal s, struct buf *body, uint32_t items);

/* record.c */
int records_init(struct export *e);         /* taps the log */
void records_free(struct export *e);
void records_apply(struct export *e);
void records_seal(struct export *e);
void records_count(struct export *e, uint64_t *made, uint64_t *lost, uint64_t *waiting);

/* disk.c */
void disk_open(struct export *e);           /* once; before the thread runs */
void disk_pushed(struct export *e);         /* something is to be written, soon */
void disk_commit(struct export *e);         /* now */
void disk_init(struct export *e);
uint64_t export_wall_offset(void);          /* of CLOCK_REALTIME to CLOCK_MONOTONIC */

/* shape.c: what a request looks like in the protocol of its target, and what the reply means */
#define SHAPE_HEADERS 64u
struct shape {
	const char *headers[SHAPE_HEADERS];
	struct fetch_req req;       /* without done and arg */
};
int shape_request(struct sender *s, const struct export_record *rec, struct shape *out); /* -1: it cannot be made */
struct verdict {
	bool ok, again;             /* taken; or to be sent again */
	int64_t after_s;            /* ... not before; -1: nothing is said */
	int status;                 /* of HTTP, or 0 */
	const char *type;           /* error.type; "" when ok */
	char code[8];               /* backs type */
	char text[200];             /* why, when it is not ok */
	const uint8_t *message;     /* what came back, when it is ok */
	size_t len;
};
void shape_verdict(const struct sender *s, const struct fetch_result *r, struct verdict *v);
/* What of an accepted request was rejected, as otlp_partial(). */
int shape_partial(const struct sender *s, const struct verdict *v, int64_t *rejected, char *text, size_t cap);
int shape_gunzip(struct buf *out, const struct buf *in, size_t max);
int export_gzip(struct buf *out, const struct buf *in); /* export.c */
/* The request as one line of JSON on standard output. */
void shape_print(struct export *e, enum export_signal s, const struct buf *request);

/* send.c */
void send_init(struct sender *s, struct export *e, enum export_signal signal);
void send_kick(struct sender *s);
bool send_idle(const struct sender *s); /* nothing to wait for */
void send_stop(struct sender *s);

/* watch.c */
void watch_publish(struct export *e);
void watch_sent(struct sender *s, uint64_t taken, uint64_t rejected);
void watch_lost(struct export *e, enum export_signal s, enum lost_reason why, uint64_t items,
    const char *error_type);
void watch_failed(struct export *e, const char *text);
void watch_took(struct sender *s, uint64_t ns, const char *error_type, int status);
void watch_collect(void *arg, struct metric_shard *shard);

uint64_t export_mono_ns(void);
#endif
