/* SPDX-License-Identifier: Apache-2.0
 *
 * What binds telemetry to the running agent: sampling and log levels from the configuration, the
 * accounts of connections and queues, the exporters.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent.h"
#include "base/buf.h"
#include "export/export.h"
#include "export/prometheus.h"
#include "export/resource.h"
#include "metric/process.h"
#include "metric/slowlog.h"

#define TICK_NS UINT64_C(1000000000)
#define DISK_LEAST (UINT64_C(16) << 20) /* of the queue on disk */
#define FLUSH_NS UINT64_C(2000000000) /* what is left may take so long at the end */

struct agent_telemetry {
	struct export_resource resource;
	struct export *export;
	struct loop_timer tick;
	struct agent *a;
};

/* Repetitions that never resumed are told. */
static void tick(struct loop_timer *t)
{
	struct agent_telemetry *x = (struct agent_telemetry *)((char *)t -
	    offsetof(struct agent_telemetry, tick));

	log_tick(x->a->log);
	agent_watchdog(x->a);
	loop_timer_set(x->a->control, t, loop_now(x->a->control) + TICK_NS);
}

/* ---- sampling and levels ---- */

static void apply_policy(struct agent *a, const struct cfg *cfg)
{
	const struct cfg_section *s = cfg_one(cfg, CFG_OTLP);
	int64_t sampler = cfg_int(s, CFG_OTLP_SAMPLER);
	double ratio = cfg_real(s, CFG_OTLP_SAMPLE_RATIO);
	struct trace_policy_opts o = { .workers = a->nworkers,
		.slow_ns = (uint64_t)cfg_int(s, CFG_OTLP_SLOW_THRESHOLD),
		.keep_errors = cfg_int(s, CFG_OTLP_KEEP_ERRORS),
		.spans_per_second = (uint32_t)cfg_int(s, CFG_OTLP_SPANS_PER_SECOND) };

	if (sampler == CFG_ALWAYS_ON || sampler == CFG_PARENT_ALWAYS_ON)
		ratio = 1.0;
	if (sampler == CFG_ALWAYS_OFF || sampler == CFG_PARENT_ALWAYS_OFF) {
		ratio = 0.0;
		o.slow_ns = 0;
		o.keep_errors = false;
	}
	o.ratio = ratio;
	o.ignore_parent = sampler == CFG_ALWAYS_ON || sampler == CFG_ALWAYS_OFF || sampler == CFG_RATIO;
	o.on = cfg_int(s, CFG_OTLP_ENABLED) && cfg_int(s, CFG_OTLP_TRACES) &&
	    (cfg_export(cfg, CFG_TRACES)->url || cfg_int(s, CFG_OTLP_CONSOLE));
	o.slowlog_ns = (uint64_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_SLOWLOG_SLOWER_THAN);
	slowlogs_limit(a->slow, (uint32_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_SLOWLOG_MAX_LEN));
	trace_policy_set(&a->policy, &o);
}

static void apply_levels(struct agent *a, const struct cfg *cfg)
{
	const struct cfg_section *s = cfg_one(cfg, CFG_LOG);
	const char *name, *value;
	char pair[4096];

	log_set_format(a->log, (enum log_format)cfg_int(s, CFG_LOG_FORMAT));
	log_set(a->log, -1, (enum log_level)cfg_int(s, CFG_LOG_LEVEL));
	for (size_t i = 0; cfg_pair(s, CFG_LOG_MODULES, i, pair, sizeof pair, &name, &value); i++) {
		int m = log_module_of(name), l = log_level_of(value);

		if (m >= 0 && l >= 0)
			log_set(a->log, m, (enum log_level)l);
	}
}

/* ---- connections and queues, when somebody reads ---- */

/* What the plugin counts itself. */
static void collect_plugin(struct agent *a, const struct purser_instance *in, struct metric_shard *s)
{
	for (uint32_t i = 0; i < in->p->nmetrics && i < PLUGIN_METRICS_MAX; i++) {
		const purser_metric *m = plugin_metric(in->plugin, i);
		int id = metric_declare(a->metrics, m->name, m->unit, m->doc,
		    m->kind == PURSER_METRIC_COUNTER ? METRIC_COUNTER :
		    m->kind == PURSER_METRIC_UPDOWN ? METRIC_UPDOWN : METRIC_GAUGE);
		int64_t sum = 0;

		for (uint32_t w = 0; w < in->nctx; w++)
			if (in->ctx[w])
				sum += atomic_load_explicit(&in->ctx[w]->metrics[i], memory_order_relaxed);
		if (id >= 0)
			metric_cell_set(metric_cell(s, id, in->name), sum);
	}
}

/* The sum of two settings that a plugin may have. */
static void collect_bound(const struct purser_instance *in, struct metric_shard *s, int id,
    const char *setting, const char *more)
{
	int64_t v = in->settings.value(in->settings.arg, setting);

	if (v > 0 && more)
		v += in->settings.value(in->settings.arg, more);
	if (v > 0)
		metric_cell_set(metric_cell(s, id, in->name), v);
}

static void collect_instance(const struct purser_instance *in, struct metric_shard *s)
{
	struct pool_numbers n;

	instance_pool(in, &n);
	metric_cell_set(metric_cell(s, METRIC_CONNECTION_PENDING, in->name), (int64_t)n.pending);
	metric_cell_set(metric_cell(s, METRIC_CONNECTION_TIMEOUTS, in->name), (int64_t)n.timeouts);
	if (in->p->caps & PURSER_CAP_BLOCKING)
		metric_cell_set(metric_cell(s, METRIC_BLOCKED, in->name), (int64_t)n.waiting);
	if (in->in_process)
		return;
	metric_cell_set(metric_cell(s, METRIC_CONNECTION_COUNT, in->name, "idle"), (int64_t)n.idle);
	metric_cell_set(metric_cell(s, METRIC_CONNECTION_COUNT, in->name, "used"), (int64_t)n.used);
	collect_bound(in, s, METRIC_CONNECTION_MAX, "pool_max", "blocking_max");
	collect_bound(in, s, METRIC_CONNECTION_IDLE_MAX, "pool_max", "blocking_max");
	collect_bound(in, s, METRIC_CONNECTION_IDLE_MIN, "pool_min", NULL);
}

static void collect_limits(void *arg, const struct project *p)
{
	const struct limit_use *u = p->limits ? p->limits->use : NULL;
	struct metric_shard *s = arg;

	if (!u)
		return;
	metric_cell_set(metric_cell(s, METRIC_LIMIT_INFLIGHT, p->name),
	    atomic_load_explicit(&u->inflight, memory_order_relaxed));
	metric_cell_set(metric_cell(s, METRIC_LIMIT_CONNECTIONS, p->name),
	    atomic_load_explicit(&u->connections, memory_order_relaxed));
	for (int i = 0; i < LIMIT_COUNT; i++) {
		uint64_t n = atomic_load_explicit(&u->refused[i], memory_order_relaxed);

		if (n)
			metric_cell_set(metric_cell(s, METRIC_LIMIT_REFUSED, p->name, limit_names[i]), (int64_t)n);
	}
}

/* Readers are the control thread and the exporter: backends must not go away meanwhile. */
static void collect(void *arg, struct metric_shard *s)
{
	struct agent *a = arg;

	pthread_mutex_lock(&a->backends_lock);
	for (struct backend *b = a->backends; b; b = b->next)
		collect_instance(b->in, s), collect_plugin(a, b->in, s);
	if (a->gen)
		projects_each(&a->gen->projects, collect_limits, s);
	pthread_mutex_unlock(&a->backends_lock);
}

void telemetry_metrics(struct agent *a, bool anonymous, struct buf *out)
{
	if (export_prometheus(out, a->metrics, &a->telemetry->resource, anonymous))
		out->failed = true;
}

/* ---- exporters ---- */

static int apply_export(struct agent *a, const struct cfg *cfg, char *why, size_t whylen)
{
	const struct cfg_section *s = cfg_one(cfg, CFG_OTLP);
	struct export_opts o = { .span_delay_ns = (uint64_t)cfg_int(s, CFG_OTLP_SPAN_DELAY),
		.span_batch = (uint32_t)cfg_int(s, CFG_OTLP_SPAN_BATCH),
		.metric_interval_ns = (uint64_t)cfg_int(s, CFG_OTLP_METRIC_INTERVAL),
		.log_delay_ns = (uint64_t)cfg_int(s, CFG_OTLP_LOG_DELAY),
		.log_queue = (uint32_t)cfg_int(s, CFG_OTLP_LOG_QUEUE),
		.queue_max = (size_t)cfg_int(s, CFG_OTLP_QUEUE_SIZE),
		.queue_age_ns = (uint64_t)cfg_int(s, CFG_OTLP_QUEUE_AGE),
		.disk_max = (uint64_t)cfg_int(s, CFG_OTLP_QUEUE_DISK),
		.console = cfg_int(s, CFG_OTLP_CONSOLE) != 0,
		.sync = (enum export_sync)cfg_int(s, CFG_OTLP_QUEUE_SYNC) };
	const char *state_dir = cfg_text(cfg_one(cfg, CFG_AGENT), CFG_AGENT_STATE_DIR);
	char dir[4096];

	if (o.disk_max && *state_dir && snprintf(dir, sizeof dir, "%s/queue", state_dir) < (int)sizeof dir)
		o.spool_dir = dir;
	if (o.disk_max < DISK_LEAST)
		o.disk_max = DISK_LEAST;
	for (int i = 0; i < EXPORT_SIGNALS; i++) {
		static const enum cfg_signal of[EXPORT_SIGNALS] = { CFG_TRACES, CFG_METRICS, CFG_LOGS };
		const struct cfg_export *x = cfg_export(cfg, of[i]);

		o.target[i] = (struct export_target){ .url = x->url, .unix_path = x->unix_path,
			.protocol = (enum export_protocol)x->protocol, .headers = x->headers,
			.nheaders = x->nheaders, .timeout_ns = (uint64_t)x->timeout_ns, .gzip = x->gzip,
			.ca_file = x->ca_file, .cert_file = x->cert_file, .key_file = x->key_file };
	}
	return export_apply(a->telemetry->export, &o, why, whylen);
}

void telemetry_apply(struct agent *a, const struct cfg *cfg)
{
	char why[256];

	apply_policy(a, cfg);
	apply_levels(a, cfg);
	if (apply_export(a, cfg, why, sizeof why))
		log_event(a->log, LOG_M_EXPORT, LOG_ERROR, "export.apply.failed", why);
}

void telemetry_state(struct agent *a, int *state, char *text, size_t cap)
{
	struct export_status st;

	export_status(a->telemetry->export, &st);
	*state = (int)st.state;
	if (st.state != EXPORT_OK && st.state != EXPORT_DISABLED)
		snprintf(text, cap, "%s", st.last_error);
	else
		snprintf(text, cap, "%s%s", *st.disk_error ? "it waits in memory only: " : "", st.disk_error);
}

/* Attributes of the configuration as OTEL_RESOURCE_ATTRIBUTES has them. */
static int make_resource(struct agent *a, char *why, size_t whylen)
{
	const char *attributes = cfg_text(cfg_one(a->cfg, CFG_OTLP), CFG_OTLP_RESOURCE_ATTRIBUTES);
	const char *warning = NULL;

	if (export_resource_init(&a->telemetry->resource, cfg_service_name(a->cfg),
	    *attributes ? attributes : NULL, &warning)) {
		snprintf(why, whylen, "out of memory");
		return -1;
	}
	if (warning)
		log_event(a->log, LOG_M_EXPORT, LOG_WARN, "export.resource", warning);
	return 0;
}

int telemetry_start(struct agent *a, char *why, size_t whylen)
{
	a->telemetry = calloc(1, sizeof *a->telemetry);
	if (!a->telemetry) {
		snprintf(why, whylen, "out of memory");
		return -1;
	}
	a->telemetry->a = a;
	if (make_resource(a, why, whylen))
		return -1;
	a->telemetry->export = export_new(a->metrics, &a->telemetry->resource, a->log);
	if (!a->telemetry->export || metric_collector(a->metrics, collect, a) ||
	    metric_collector(a->metrics, metric_process, NULL)) {
		snprintf(why, whylen, "out of memory");
		return -1;
	}
	for (uint32_t i = 0; i < a->nworkers; i++)
		if (export_add(a->telemetry->export, a->serving[i].w.trace)) {
			snprintf(why, whylen, "out of memory");
			return -1;
		}
	telemetry_apply(a, a->cfg);
	a->telemetry->tick.fn = tick;
	loop_timer_set(a->control, &a->telemetry->tick, loop_now(a->control) + TICK_NS);
	return 0;
}

void telemetry_stop(struct agent *a)
{
	if (!a->telemetry)
		return;
	loop_timer_stop(a->control, &a->telemetry->tick);
	export_free(a->telemetry->export, FLUSH_NS);
	export_resource_free(&a->telemetry->resource);
	free(a->telemetry);
	a->telemetry = NULL;
}
