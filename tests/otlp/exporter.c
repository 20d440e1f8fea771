/* SPDX-License-Identifier: Apache-2.0
 *
 * The exporter without the agent around it, driven line by line by a test:
 *
 *   exporter key=value ...     url= gzip= delay_ms= batch= interval_ms= queue= retry_ms= retry_max_ms=
 *                              timeout_ms= unix= header= ring= age_ms=
 *   spans N [ERROR]            N operations with a span each (ERROR: what a store answered)
 *   ops N                      N operations without spans
 *   status                     one line of export_status
 *   prom                       /metrics, then a line with a dot
 *   apply key=value ...        other options
 *   quit MS                    flush for so long, then the end
 *
 * Every command is answered by one line that ends the answer ("ok" if there is nothing to say).
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "export/export.h"
#include "export/prometheus.h"
#include "export/resource.h"
#include "log/log.h"
#include "metric/metric.h"
#include "metric/process.h"
#include "trace/trace.h"

#define MS UINT64_C(1000000)

static struct trace_policy policy;

static const char *command(uint16_t id)
{
	return id ? "SET" : "GET";
}

static uint64_t num(const char *s)
{
	return strtoull(s, NULL, 10);
}

struct settings {
	char url[2][256], unix_path[128], header[128];
	const char *headers[1];
	uint32_t ring;
	struct export_opts o;
};

static void set_url(struct settings *s, const char *v)
{
	static const char *const paths[] = { "/v1/traces", "/v1/metrics" };

	for (int i = 0; i < 2; i++) {
		snprintf(s->url[i], sizeof s->url[i], "%.200s%s", v, *v ? paths[i] : "");
		s->o.target[i].url = s->url[i];
	}
}

static void set(struct settings *s, const char *kv)
{
	const char *eq = strchr(kv, '='), *v = eq ? eq + 1 : "";
	size_t n = eq ? (size_t)(eq - kv) : 0;
	struct export_target *t = s->o.target;

#define IS(name) (n == sizeof(name) - 1 && memcmp(kv, name, n) == 0)
	if (IS("url")) {
		set_url(s, v);
	} else if (IS("gzip")) {
		t[0].gzip = t[1].gzip = num(v) != 0;
	} else if (IS("delay_ms")) {
		s->o.span_delay_ns = num(v) * MS;
	} else if (IS("batch")) {
		s->o.span_batch = (uint32_t)num(v);
	} else if (IS("interval_ms")) {
		s->o.metric_interval_ns = num(v) * MS;
	} else if (IS("queue")) {
		s->o.queue_max = num(v);
	} else if (IS("age_ms")) {
		s->o.queue_age_ns = num(v) * MS;
	} else if (IS("retry_ms")) {
		s->o.retry_base_ns = num(v) * MS;
	} else if (IS("retry_max_ms")) {
		s->o.retry_max_ns = num(v) * MS;
	} else if (IS("timeout_ms")) {
		t[0].timeout_ns = t[1].timeout_ns = num(v) * MS;
	} else if (IS("unix")) {
		snprintf(s->unix_path, sizeof s->unix_path, "%s", v);
		t[0].unix_path = t[1].unix_path = s->unix_path;
	} else if (IS("header")) {
		snprintf(s->header, sizeof s->header, "%s", v);
		s->headers[0] = s->header;
		t[0].headers = t[1].headers = s->headers;
		t[0].nheaders = t[1].nheaders = 1;
	} else if (IS("ring")) {
		s->ring = (uint32_t)num(v);
	} else {
		fprintf(stderr, "exporter: what is %s?\n", kv);
		exit(2);
	}
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

static void operations(struct metric_shard *sh, struct trace *t, struct metric_key k, uint64_t n,
    bool spans, const char *error)
{
	k.error = *error ? metric_error(sh, error, strlen(error)) : 0;
	for (uint64_t i = 0; i < n; i++) {
		struct trace_ctx c;
		struct span *s;
		uint64_t end = now(), ns = 1000 * (i + 1);

		k.command = i & 1;
		metric_op_record(metric_op(sh, k), ns, 10, 20);
		trace_begin(t, NULL, &c);
		if (!spans || !trace_keep(t, &c, end, ns, k.error != 0) || !(s = trace_reserve(t)))
			continue;
		trace_stamp(s, &c);
		s->start_ns = end - ns;
		s->end_ns = end;
		s->command = k.command;
		s->project = k.project;
		s->instance = k.instance;
		s->endpoint = k.endpoint;
		s->error = k.error;
		trace_commit(t);
	}
}

static void print_status(struct export *e)
{
	struct export_status st;

	export_status(e, &st);
	printf("state=%s queue=%llu records=%llu age_ms=%llu sent=%llu,%llu lost=%llu,%llu failed=%u "
	    "error=%s\n", export_state_name(st.state), (unsigned long long)st.queue_bytes,
	    (unsigned long long)st.queue_records, (unsigned long long)(st.oldest_age_ns / MS),
	    (unsigned long long)st.sent[0], (unsigned long long)st.sent[1],
	    (unsigned long long)st.lost[0], (unsigned long long)st.lost[1], st.failed_in_row,
	    st.last_error);
}

static void print_metrics(struct metric_reg *r, const struct export_resource *res)
{
	struct buf out = { .max = (size_t)16 << 20 };

	if (export_prometheus(&out, r, res, false) == 0)
		fwrite(buf_data(&out), 1, buf_len(&out), stdout);
	puts(".");
	buf_free(&out);
}

static void apply(struct export *e, struct settings *s, char *args)
{
	char why[256], *save;

	for (char *a = strtok_r(args, " ", &save); a; a = strtok_r(NULL, " ", &save))
		set(s, a);
	if (export_apply(e, &s->o, why, sizeof why))
		printf("error %s\n", why);
	else
		puts("ok");
}

int main(int argc, char **argv)
{
	struct settings s = { .ring = 0 };
	struct metric_opts mo = { .command = command, .start_wall_ns = UINT64_C(1700000000000000000) };
	struct metric_reg *r = metric_new(&mo);
	struct metric_shard *sh = metric_shard_new(r);
	struct log_opts lo = { .format = LOG_JSON, .level = LOG_DEBUG };
	struct log *lg = log_open(&lo);
	struct export_resource res;
	struct metric_instance mi = { .name = "main" };
	struct metric_key k = { .instance = metric_instance(r, &mi), .project = metric_project(r, "shop"),
		.endpoint = metric_endpoint(r, "127.0.0.1", 7000, "tcp") };
	struct trace *t;
	struct export *e;
	const char *warning;
	char line[1024], none[] = "";
	uint64_t deadline = 0;

	for (int i = 1; i < argc; i++)
		set(&s, argv[i]);
	trace_policy_set(&policy, &(struct trace_policy_opts){ .on = true, .ratio = 1 });
	t = trace_new(&policy, s.ring);
	if (export_resource_init(&res, "exporter-test", NULL, &warning) || !t)
		return 2;
	e = export_new(r, &res, lg);
	if (!e || export_add(e, t) || metric_collector(r, metric_process, NULL))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	apply(e, &s, none);
	while (fgets(line, sizeof line, stdin)) {
		char *arg = strchr(line, ' '), *word;

		line[strcspn(line, "\n")] = '\0';
		arg = arg ? (*arg = '\0', arg + 1) : none;
		word = strchr(arg, ' ');
		if (strcmp(line, "spans") == 0 || strcmp(line, "ops") == 0) {
			operations(sh, t, k, num(arg), *line == 's', word ? word + 1 : "");
			puts("ok");
		} else if (strcmp(line, "status") == 0) {
			print_status(e);
		} else if (strcmp(line, "prom") == 0) {
			print_metrics(r, &res);
		} else if (strcmp(line, "apply") == 0) {
			apply(e, &s, arg);
		} else if (strcmp(line, "quit") == 0) {
			deadline = num(arg) * MS;
			break;
		} else {
			puts("what?");
		}
	}
	export_free(e, deadline);
	trace_free(t);
	metric_free(r);
	export_resource_free(&res);
	log_close(lg);
	puts("bye");
	return 0;
}
