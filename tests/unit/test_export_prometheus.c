/* SPDX-License-Identifier: Apache-2.0 */
/* export/prometheus: names, escaping, histograms; and the whole registry, every row with a value,
 * through promtool where it is installed. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/buf.h"
#include "export/prometheus.h"
#include "export/resource.h"
#include "metric/metric.h"

static const char *command(uint16_t id)
{
	return id == 0 ? "GET" : "PI\"N\\G\n";
}

static void assert_has(struct buf *b, const char *what)
{
	if (!strstr(buf_cstr(b), what))
		fail_msg("no %s in\n%s", what, buf_cstr(b));
}

static void test_names(void **state)
{
	static const struct { enum metric_id id; const char *want; } rows[] = {
		{ METRIC_OPERATION_DURATION, "db_client_operation_duration_seconds" },
		{ METRIC_REDIS_NET_INPUT, "redis_net_input_bytes_total" },
		{ METRIC_REDIS_UPTIME, "redis_uptime_seconds_total" },
		{ METRIC_REDIS_COMMANDS, "redis_commands_per_second" },
		{ METRIC_REDIS_COMMANDS_PROCESSED, "redis_commands_processed_total" },
		{ METRIC_REDIS_CLIENTS_CONNECTED, "redis_clients_connected" },
		{ METRIC_REDIS_MEMORY_FRAGMENTATION, "redis_memory_fragmentation_ratio" },
		{ METRIC_PROCESS_CPU, "process_cpu_time_seconds_total" },
		{ METRIC_PROCESS_UPTIME, "process_uptime_seconds" },
		{ METRIC_CONNECTION_COUNT, "db_client_connections" },
		{ METRIC_PROCESS_THREADS, "process_threads" },
		{ METRIC_REDIS_LATEST_FORK, "redis_latest_fork_seconds" },
	};
	char name[EXPORT_PROMETHEUS_NAME];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		export_prometheus_name(name, &metric_rows[rows[i].id]);
		assert_string_equal(name, rows[i].want);
	}
}

static void test_text(void **state)
{
	struct metric_opts o = { .command = command };
	struct metric_reg *r = metric_new(&o);
	struct metric_shard *s = metric_shard_new(r);
	struct metric_instance mi = { .name = "main" };
	struct metric_key k = { .instance = metric_instance(r, &mi), .command = 1,
		.project = metric_project(r, "shop") };
	struct buf out = { .max = 0 };

	(void)state;
	metric_op_record(metric_op(s, k), 1000000, 1, 2);
	metric_op_record(metric_op(s, k), 60000000, 1, 2);
	metric_op_record(metric_op(s, k), UINT64_C(11000000000), 1, 2);
	assert_int_equal(export_prometheus(&out, r, NULL, false), 0);
	assert_has(&out, "# TYPE db_client_operation_duration_seconds histogram\n"
	    "db_client_operation_duration_seconds_bucket{db_system_name=\"redis\",db_namespace=\"0\","
	    "db_operation_name=\"PI\\\"N\\\\G\\n\",purser_backend=\"main\",purser_project=\"shop\","
	    "le=\"0.001\"} 1\n");
	assert_has(&out, "purser_project=\"shop\",le=\"0.05\"} 1\n");
	assert_has(&out, "purser_project=\"shop\",le=\"0.1\"} 2\n");
	assert_has(&out, "purser_project=\"shop\",le=\"10\"} 2\n");
	assert_has(&out, "purser_project=\"shop\",le=\"+Inf\"} 3\n");
	assert_has(&out, "duration_seconds_sum{db_system_name=\"redis\",db_namespace=\"0\","
	    "db_operation_name=\"PI\\\"N\\\\G\\n\",purser_backend=\"main\",purser_project=\"shop\"} "
	    "11.061\n");
	assert_has(&out, "\npurser_clients_connected 0\n");
	assert_has(&out, "\npurser_requests_total{purser_project=\"shop\"} 3\n");
	buf_free(&out);
	/* a bound that is too small is an error, not half a page */
	out.max = 1000;
	assert_int_equal(export_prometheus(&out, r, NULL, false), -1);
	buf_free(&out);
	metric_free(r);
}

/* Every row gets a value. */
static void fill(struct metric_reg *r, struct metric_shard *s)
{
	static const char *const values[METRIC_ATTRS] = { "a", "1", "2", "3", "4", "5", "6", "7", "8",
		"9" };
	struct metric_key k = { .kind = METRIC_OP };

	(void)r;
	for (int kind = METRIC_OP; kind <= METRIC_INTERNAL; kind++) {
		k.kind = (uint8_t)kind;
		metric_op_record(metric_op(s, k), 1000, 1, 1);
	}
	for (int id = 0; id < METRIC_COUNT; id++) {
		if (metric_rows[id].feed != METRIC_CELL)
			continue;
		if (metric_rows[id].kind == METRIC_HISTOGRAM)
			hist_record(metric_hist_of(s, (enum metric_id)id, values), 1000);
		else if (metric_rows[id].value == METRIC_DOUBLE)
			metric_cell_setd(metric_cell_of(s, (enum metric_id)id, values), 0.1);
		else
			metric_cell_set(metric_cell_of(s, (enum metric_id)id, values), 1);
	}
}

static void test_promtool(void **state)
{
	struct metric_opts o = { .command = command };
	struct metric_reg *r = metric_new(&o);
	struct metric_shard *s = metric_shard_new(r);
	struct export_resource res;
	struct buf out = { .max = 0 };
	const char *warning;
	FILE *f;

	(void)state;
	assert_int_equal(export_resource_init(&res, NULL, "deployment.environment.name=te%20st",
	    &warning), 0);
	assert_null(warning);
	fill(r, s);
	assert_int_equal(export_prometheus(&out, r, &res, false), 0);
	for (int id = 0; id < METRIC_COUNT; id++) {
		char type[EXPORT_PROMETHEUS_NAME + 16], name[EXPORT_PROMETHEUS_NAME];

		export_prometheus_name(name, &metric_rows[id]);
		snprintf(type, sizeof type, "# TYPE %s ", name);
		assert_has(&out, type);
	}
	assert_has(&out, "deployment_environment_name=\"te st\"");
	if (access("/usr/bin/promtool", X_OK) == 0) {
		f = popen("promtool check metrics", "w");
		assert_non_null(f);
		assert_int_equal(fwrite(buf_data(&out), 1, buf_len(&out), f), buf_len(&out));
		assert_int_equal(WEXITSTATUS(pclose(f)), 0);
	} else {
		print_message("# promtool is not installed: not checked with it\n");
	}
	export_resource_free(&res);
	buf_free(&out);
	metric_free(r);
}

static void test_resource(void **state)
{
	struct export_resource r;
	const char *warning;

	(void)state;
	assert_int_equal(export_resource_init(&r, "mine", "service.name=other,a=b%2Cc, d = e ", &warning),
	    0);
	assert_null(warning);
	assert_string_equal(export_resource_get(&r, "service.name"), "mine");
	assert_string_equal(export_resource_get(&r, "a"), "b,c");
	assert_string_equal(export_resource_get(&r, "d"), "e");
	assert_int_equal(strlen(export_resource_get(&r, "service.instance.id")), 36);
	export_resource_free(&r);
	/* one error: all of it is dropped */
	assert_int_equal(export_resource_init(&r, NULL, "a=b,c=%zz", &warning), 0);
	assert_non_null(warning);
	assert_null(export_resource_get(&r, "a"));
	assert_string_equal(export_resource_get(&r, "service.name"), "purser");
	export_resource_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_promtool),
		cmocka_unit_test(test_resource),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
