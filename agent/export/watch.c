/* SPDX-License-Identifier: Apache-2.0 */
/* export/watch: what the exporter says of itself: status for health, otel.sdk.* and purser.telemetry.*. */
#include <config.h>
#include <stdio.h>
#include <time.h>
#include "export/inside.h"

static const char *const components[EXPORT_SIGNALS] = { "otlp_http_span_exporter",
	"otlp_http_metric_exporter", "otlp_http_log_exporter" };
static const char *const instances[EXPORT_SIGNALS] = { "otlp_http_span_exporter/0",
	"otlp_http_metric_exporter/0", "otlp_http_log_exporter/0" };
static const enum metric_id exported[EXPORT_SIGNALS] = { METRIC_SDK_SPAN_EXPORTED,
	METRIC_SDK_POINT_EXPORTED, METRIC_SDK_LOG_EXPORTED };
static const enum metric_id inflight[EXPORT_SIGNALS] = { METRIC_SDK_SPAN_INFLIGHT,
	METRIC_SDK_POINT_INFLIGHT, METRIC_SDK_LOG_INFLIGHT };

const char *export_state_name(enum export_state s)
{
	static const char *const names[] = { "disabled", "ok", "degraded", "failed" };

	return names[s];
}

const char *export_signal_name(enum export_signal s)
{
	return s == EXPORT_TRACES ? "traces" : s == EXPORT_METRICS ? "metrics" : "logs";
}

static struct metric_cell *exported_cell(struct sender *s, const char *type)
{
	return metric_cell(s->e->shard, exported[s->signal], instances[s->signal],
	    components[s->signal], s->address, s->port, type);
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

uint64_t export_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

void watch_sent(struct sender *s, uint64_t taken, uint64_t rejected)
{
	struct export *e = s->e;

	metric_cell_add(exported_cell(s, ""), (int64_t)taken);
	if (rejected)
		watch_lost(e, s->signal, LOST_REJECTED, rejected, "rejected");
	pthread_mutex_lock(&e->lock);
	e->pub.st.sent[s->signal] += taken;
	e->pub.st.failed_in_row = 0;
	e->pub.st.last_ok_wall_ns = wall_ns();
	e->pub.st.last_error[0] = '\0';
	pthread_mutex_unlock(&e->lock);
}

void watch_lost(struct export *e, enum export_signal s, enum lost_reason why, uint64_t items,
    const char *error_type)
{
	static const char *const reasons[] = { "queue_full", "refused", "rejected", "no_memory",
		"damaged", "ring_full" };
	uint64_t now = export_mono_ns();

	metric_cell_add(metric_cell(e->shard, METRIC_TELEMETRY_DROPPED, export_signal_name(s),
	    reasons[why]), (int64_t)items);
	metric_cell_add(exported_cell(&e->sender[s], error_type), (int64_t)items);
	pthread_mutex_lock(&e->lock);
	e->pub.st.lost[s] += items;
	if (why == LOST_QUEUE_FULL || why == LOST_MEMORY || why == LOST_DAMAGED || why == LOST_RING)
		e->pub.dropped_ns = now;
	else
		e->pub.refused_ns = now;
	pthread_mutex_unlock(&e->lock);
}

void watch_failed(struct export *e, const char *text)
{
	pthread_mutex_lock(&e->lock);
	e->pub.st.failed_in_row++;
	snprintf(e->pub.st.last_error, sizeof e->pub.st.last_error, "%s", text);
	pthread_mutex_unlock(&e->lock);
}

void watch_took(struct sender *s, uint64_t ns, const char *error_type, int status)
{
	char code[8] = "";

	if (status)
		snprintf(code, sizeof code, "%d", status);
	if (status && (status < 200 || status > 299))
		error_type = code;
	hist_record(metric_hist(s->e->shard, METRIC_SDK_EXPORT_DURATION, instances[s->signal],
	    components[s->signal], s->address, s->port, error_type, code), ns);
}

void watch_publish(struct export *e)
{
	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		uint64_t n = e->queue.fifo[s].evicted - e->evicted[s], bad = e->queue.fifo[s].damaged - e->damaged[s];

		if (bad) {
			e->damaged[s] += bad;
			watch_lost(e, (enum export_signal)s, LOST_DAMAGED, bad, "damaged");
			log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.dropped", "a request that waited on disk cannot be "
			    "read back", LOG_KEY(export_signal_name((enum export_signal)s)),
			    LOG_STR("signal", export_signal_name((enum export_signal)s)), LOG_UINT("items", bad));
		}
		if (!n)
			continue;
		e->evicted[s] += n;
		watch_lost(e, (enum export_signal)s, LOST_QUEUE_FULL, n, "queue_full");
		log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.dropped", "the queue is full: the oldest "
		    "was dropped", LOG_KEY(export_signal_name((enum export_signal)s)),
		    LOG_STR("signal", export_signal_name((enum export_signal)s)), LOG_UINT("items", n));
	}
	pthread_mutex_lock(&e->lock);
	e->pub.st.queue_bytes = e->queue.waiting;
	e->pub.st.disk_bytes = e->spool ? spool_bytes(e->spool) : 0;
	e->pub.st.queue_records = 0;
	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		const struct export_record *head = e->queue.fifo[s].head;

		e->pub.queued[s] = e->queue.fifo[s].bytes;
		e->pub.st.queue_records += e->queue.fifo[s].records;
		e->pub.inflight[s] = head && head->held ? head->items : 0;
	}
	e->pub.oldest_ns = queue_oldest(&e->queue);
	pthread_mutex_unlock(&e->lock);
}

static enum export_state state_of(const struct export *e, uint64_t now)
{
	const uint64_t minute = 60 * SECOND;

	if (!e->opts.target[EXPORT_TRACES].url && !e->opts.target[EXPORT_METRICS].url && !e->opts.target[EXPORT_LOGS].url)
		return EXPORT_DISABLED;
	if (e->pub.dropped_ns && now - e->pub.dropped_ns < minute)
		return EXPORT_FAILED;
	if ((e->pub.oldest_ns && now > e->pub.oldest_ns && now - e->pub.oldest_ns > minute) ||
	    e->pub.st.failed_in_row >= 5 ||
	    (e->pub.refused_ns && now - e->pub.refused_ns < minute))
		return EXPORT_DEGRADED;
	return EXPORT_OK;
}

void export_status(struct export *e, struct export_status *out)
{
	uint64_t now = export_mono_ns();

	pthread_mutex_lock(&e->lock);
	*out = e->pub.st;
	out->state = state_of(e, now);
	out->oldest_age_ns = e->pub.oldest_ns && now > e->pub.oldest_ns ? now - e->pub.oldest_ns : 0;
	pthread_mutex_unlock(&e->lock);
}

/* ---- on reading --------------------------------------------------------------------------------------- */

struct rings { struct trace_counts n; uint64_t pending, capacity; };

static void add_rings(struct export *e, struct rings *r)
{
	memset(r, 0, sizeof *r);
	for (const struct source *s = e->sources; s; s = s->next) {
		struct trace_counts n;

		trace_counts(s->t, &n);
		for (int i = 0; i < 3; i++) {
			r->n.kept[i] += n.kept[i];
			r->n.dropped[i] += n.dropped[i];
		}
		r->n.recorded += n.recorded;
		r->n.lost += n.lost;
		r->pending += trace_pending(s->t);
		r->capacity += trace_capacity(s->t);
	}
}

static void collect_rings(struct metric_shard *sh, const struct rings *r)
{
	static const char *const origins[] = { "none", "local", "remote" };
	static const char name[] = "batching_span_processor/0", type[] = "batching_span_processor";

	for (int i = 0; i < 3; i++) {
		metric_cell_set(metric_cell(sh, METRIC_SDK_SPAN_STARTED, origins[i], "RECORD_AND_SAMPLE"),
		    (int64_t)r->n.kept[i]);
		metric_cell_set(metric_cell(sh, METRIC_SDK_SPAN_STARTED, origins[i], "DROP"),
		    (int64_t)r->n.dropped[i]);
	}
	metric_cell_set(metric_cell(sh, METRIC_SDK_PROCESSED, name, type, ""),
	    (int64_t)(r->n.recorded - (r->pending < r->n.recorded ? r->pending : r->n.recorded)));
	metric_cell_set(metric_cell(sh, METRIC_SDK_PROCESSED, name, type, "queue_full"),
	    (int64_t)r->n.lost);
	metric_cell_set(metric_cell(sh, METRIC_SDK_QUEUE_SIZE, name, type), (int64_t)r->pending);
	metric_cell_set(metric_cell(sh, METRIC_SDK_QUEUE_CAPACITY, name, type), (int64_t)r->capacity);
	metric_cell_set(metric_cell(sh, METRIC_TELEMETRY_DROPPED, "traces", "ring_full"),
	    (int64_t)r->n.lost);
}

static void collect_records(struct metric_shard *sh, struct export *e)
{
	static const char name[] = "batching_log_processor/0", type[] = "batching_log_processor";
	uint64_t made, lost, waiting;

	records_count(e, &made, &lost, &waiting);
	metric_cell_set(metric_cell(sh, METRIC_SDK_LOG_CREATED, NULL), (int64_t)made);
	metric_cell_set(metric_cell(sh, METRIC_SDK_LOG_PROCESSED, name, type, ""), (int64_t)(made - lost - waiting));
	metric_cell_set(metric_cell(sh, METRIC_SDK_LOG_PROCESSED, name, type, "queue_full"), (int64_t)lost);
	metric_cell_set(metric_cell(sh, METRIC_SDK_LOG_QUEUE_SIZE, name, type), (int64_t)waiting);
	metric_cell_set(metric_cell(sh, METRIC_SDK_LOG_QUEUE_CAPACITY, name, type), (int64_t)e->records_max);
}

static void collect_log(struct metric_shard *sh, struct log *lg)
{
	struct log_stats ls;

	log_stats(lg, &ls);
	metric_cell_set(metric_cell(sh, METRIC_LOG_LINES, "written"), (int64_t)ls.written);
	metric_cell_set(metric_cell(sh, METRIC_LOG_LINES, "dropped"), (int64_t)ls.dropped);
	metric_cell_set(metric_cell(sh, METRIC_LOG_LINES, "suppressed"), (int64_t)ls.suppressed);
}

void watch_collect(void *arg, struct metric_shard *sh)
{
	struct export *e = arg;
	struct export_status st;
	struct rings rings;
	uint64_t queued[EXPORT_SIGNALS], flying[EXPORT_SIGNALS];
	char address[EXPORT_SIGNALS][256], port[EXPORT_SIGNALS][8];

	export_status(e, &st);
	pthread_mutex_lock(&e->lock);
	add_rings(e, &rings);
	memcpy(queued, e->pub.queued, sizeof queued);
	memcpy(flying, e->pub.inflight, sizeof flying);
	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		memcpy(address[s], e->sender[s].address, sizeof address[s]);
		memcpy(port[s], e->sender[s].port, sizeof port[s]);
	}
	pthread_mutex_unlock(&e->lock);
	metric_cell_set(metric_cell(sh, METRIC_TELEMETRY_STATE, NULL), (int64_t)st.state);
	metric_cell_setd(metric_cell(sh, METRIC_TELEMETRY_AGE, NULL), (double)st.oldest_age_ns / 1e9);
	metric_cell_set(metric_cell(sh, METRIC_TELEMETRY_DISK, NULL), (int64_t)st.disk_bytes);
	collect_rings(sh, &rings);
	collect_log(sh, e->log);
	collect_records(sh, e);
	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		metric_cell_set(metric_cell(sh, METRIC_TELEMETRY_QUEUE,
		    export_signal_name((enum export_signal)s)), (int64_t)queued[s]);
		if (st.state != EXPORT_DISABLED)
			metric_cell_set(metric_cell(sh, inflight[s], instances[s], components[s],
			    address[s], port[s]), (int64_t)flying[s]);
	}
}
