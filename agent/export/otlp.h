/* SPDX-License-Identifier: Apache-2.0
 *
 * export/otlp: spans and metrics as OTLP messages (opentelemetry-proto v1).  Pure: no I/O, no clock.
 *
 * A request is made in two steps: items are appended to a body (each with its own tag), and
 * otlp_request() puts resource and scope before it.  So a batch may grow until it is sent.
 */
#ifndef EXPORT_OTLP_H
#define EXPORT_OTLP_H
#include "base/buf.h"
#include "metric/metric.h"

struct export_resource;
struct span;

enum { OTLP_CUMULATIVE = 2 };
enum { OTLP_INTERNAL = 1, OTLP_SERVER = 2, OTLP_CLIENT = 3 };

/* The two constant parts of every request, encoded once. */
struct otlp_head {
	struct buf resource; /* content of a Resource message */
	struct buf scope;    /* content of an InstrumentationScope message */
};
int otlp_head_init(struct otlp_head *h, const struct export_resource *r, const char *scope,
    const char *version); /* 0, or -1 without memory */
void otlp_head_free(struct otlp_head *h);

/* Export{Trace,Metrics}ServiceRequest: the same shape for both. */
void otlp_request(struct buf *out, const struct otlp_head *h, const struct buf *body);

/* One span of the agent as an item of ScopeSpans.  wall_ns = wall clock - monotonic clock. */
void otlp_span(struct buf *body, struct metric_reg *names, const struct span *s,
    uint64_t wall_ns);

/* All metrics of the registry as items of ScopeMetrics.  *points counts data points.  0, or -1. */
int otlp_metrics(struct buf *body, struct metric_reg *r, uint64_t now_wall_ns, uint32_t *points);

/* ---- parts, for otlp_metrics and its tests ---------------------------------------------------------- */
void otlp_number(struct buf *b, const struct metric_point *p, uint64_t now_ns, bool is_double);
void otlp_histogram(struct buf *b, const struct metric_point *p, uint64_t now_ns,
    const double *min, const double *max);
/* points: the data points' bytes, each with its tag. */
void otlp_metric(struct buf *b, const char *name, const char *doc, const char *unit,
    enum metric_kind kind, const struct buf *points);

/* ---- what the collector says -------------------------------------------------------------------------- */
/* Of a 200: items rejected (0: all taken), and the message.  -1: not such a message. */
int otlp_partial(const void *body, size_t n, int64_t *rejected, char *message, size_t cap);
/* Of an error: google.rpc.Status.message; "" when there is none. */
void otlp_status(const void *body, size_t n, char *message, size_t cap);
#endif
