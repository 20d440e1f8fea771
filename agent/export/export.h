/* SPDX-License-Identifier: Apache-2.0
 *
 * export: telemetry on its way to a collector, on a thread of its own.  In: the rings of the workers,
 * the registry, and the lines of the log.  Out: OTLP over HTTP (protobuf or JSON) or gRPC, and JSON lines.
 *
 * Spans are taken from the rings each second (or at once when a ring is half full), encoded, and
 * closed into a request when there are span_batch of them or the first has waited span_delay.
 * Metrics are read each metric_interval.  Requests wait in a queue bounded by bytes; the oldest are
 * dropped when it is full.  With a directory for it (spool_dir) what has waited for 200 ms, or sooner when it is 256 KiB,
 * is on disk, and survives the agent.  One request of each signal is under way at a time.
 *
 * 429, 502, 503, 504, no connection, no answer: sent again, after Retry-After or U(0, 1 s * 2^n) up to
 * 60 s.  Every other status but 2xx: dropped and counted.  2xx with a partial success: the rejected
 * are counted, nothing is sent again.
 *
 * A dead collector costs the workers nothing: they only ever push into their ring.
 */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "export/queue.h"

struct export;
struct export_resource;
struct log;
struct metric_reg;
struct trace;

struct export_target { /* of one signal */
	const char *url;             /* whole, path included (of gRPC: service and method); NULL or "" = not exported */
	const char *unix_path;       /* connect to this socket instead of the URL's host; NULL */
	const char *const *headers;  /* "Name: value"; secret: never logged */
	size_t nheaders;
	uint64_t timeout_ns;         /* of one request; 0 = none */
	bool gzip;
	enum export_protocol { EXPORT_PROTOBUF, EXPORT_JSON, EXPORT_GRPC } protocol; /* as CFG_OTLP_* */
	const char *ca_file, *cert_file, *key_file; /* NULL = the system's, none, none */
};

struct export_opts { /* zero = the default of each */
	struct export_target target[EXPORT_SIGNALS];
	bool console;                /* one JSON object a line on standard output, beside the targets */
	uint64_t span_delay_ns;      /* 5 s */
	uint32_t span_batch;         /* 512 */
	uint64_t metric_interval_ns; /* 60 s */
	uint64_t log_delay_ns;       /* 1 s */
	uint32_t log_queue;          /* 2048 */
	size_t queue_max;            /* bytes; 8 MiB */
	uint64_t queue_age_ns;       /* drop what is older; 0 = never */
	const char *spool_dir;       /* what waits is kept there; NULL or "": in memory only.  The first one that is given
	                              * holds until export_free() */
	uint64_t disk_max;           /* bytes there; 256 MiB */
	enum export_sync { EXPORT_SYNC_COMMIT, EXPORT_SYNC_OFF, EXPORT_SYNC_ALWAYS } sync;
	uint64_t retry_base_ns;      /* 1 s */
	uint64_t retry_max_ns;       /* 60 s */
};

/* Both are borrowed and must outlive it; log may be NULL.  Nothing runs yet.  NULL: no memory. */
struct export *export_new(struct metric_reg *r, const struct export_resource *res, struct log *log);
/* Start, or go on with other options (what is queued stays).  Everything is copied.  The same options
 * once more change nothing, without any target the thread is stopped.  Control thread.  0, or -1 with
 * why. */
int export_apply(struct export *e, const struct export_opts *o, char *why, size_t cap);
/* A worker's ring; before the worker runs, or while it does.  Sets t->wake.  0, or -1. */
int export_add(struct export *e, struct trace *t);
/* The workers have ended: send what is left until deadline_ns from now, stop the thread, free.  What
 * could not be sent is logged with its count.  NULL is fine. */
void export_free(struct export *e, uint64_t deadline_ns);

enum export_state { EXPORT_DISABLED, EXPORT_OK, EXPORT_DEGRADED, EXPORT_FAILED };
struct export_status {
	enum export_state state; /* degraded: the oldest waits > 60 s, 5 sends failed in a row, or
	                          * something was refused in the last minute; failed: the queue dropped
	                          * something in the last minute */
	uint64_t queue_bytes, queue_records, oldest_age_ns;
	uint64_t disk_bytes;              /* of the segments; 0: memory only */
	char disk_error[120];             /* why nothing can be written there; "" = none */
	uint64_t sent[EXPORT_SIGNALS];    /* items that a collector took */
	uint64_t lost[EXPORT_SIGNALS];    /* items refused, rejected or dropped */
	uint32_t failed_in_row;
	uint64_t last_ok_wall_ns;         /* 0 = never */
	char last_error[200];             /* of the latest failed send; "" = none */
};
void export_status(struct export *e, struct export_status *out); /* any thread */
const char *export_state_name(enum export_state s); /* "disabled", "ok", "degraded", "failed" */
const char *export_signal_name(enum export_signal s); /* "traces", "metrics", "logs" */
#endif
