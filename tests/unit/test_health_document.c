/* SPDX-License-Identifier: Apache-2.0 */
/* health: the steps of a check and what the document says of them. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "health_world.h"

/* ---- the document ------------------------------------------------------------------------------------ */

static void test_document(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;

	(void)state;
	W.store[0].lag_ns = 2 * MS;
	h = start(&s);
	pump();
	assert_string_equal(W.seen, "0:PING 0:SET 0:GET 0:DEL 0:INFO 0:DBSIZE ");
	assert_string_equal(W.store[0].key, "psr::probe:main");
	document(h);
	says("status", "healthy");
	says("service", "shop");
	assert_true(json_is_real(at("timestamp")));
	assert_true(json_real_value(at("timestamp")) > 1700000000);
	says("factory.status", "healthy");
	assert_int_equal(json_integer_value(at("factory.pools.main.created_connections")), 3);
	assert_int_equal(json_integer_value(at("factory.pools.main.available_connections")), 2);
	assert_int_equal(json_integer_value(at("factory.pools.main.max_connections")), 50);
	says("factory.circuit_breaker.state", "disabled");
	assert_int_equal(json_integer_value(at("factory.circuit_breaker.metrics.total_calls")), 0);
	assert_true(json_real_value(at("factory.circuit_breaker.metrics.success_rate")) == 1.0);
	assert_int_equal(json_integer_value(at("factory.circuit_breaker.metrics.circuit_opens")), 0);
	says("test_operations.status", "healthy");
	assert_true(json_real_value(at("test_operations.response_times_ms.ping")) == 2.0);
	assert_true(json_real_value(at("test_operations.response_times_ms.set_get_delete")) == 6.0);
	says("memory.status", "ok");
	assert_true(json_real_value(at("memory.usage_percentage")) == 0.5);
	assert_int_equal(json_integer_value(at("memory.usage_bytes")), 500);
	assert_int_equal(json_integer_value(at("memory.max_memory_bytes")), 1000);
	says("memory.backends.main.status", "ok");
	says("memory.policy", "noeviction");
	says("telemetry.status", "disabled");
	assert_int_equal(json_array_size(at("reasons")), 0);
	assert_int_equal(json_integer_value(at("generation")), 7);
	says("factory.pools.main.role", "primary");
	assert_true(json_real_value(at("check_ms")) == 10.0);
	health_free(h);
}

static void test_several_backends(void **state)
{
	struct health_instance i[] = { backend(0, "main"), backend(1, "other") };
	struct health_setup s = setup(i, 2);
	struct health *h;
	char why[200] = "";

	(void)state;
	W.store[1].fail[0] = "BACKENDDOWN connection refused";
	W.store[1].code = ERR_BACKENDDOWN;
	h = start(&s);
	pump();
	document(h);
	says("status", "unhealthy"); /* the worst decides */
	says("factory.status", "unhealthy");
	says("factory.pools.main.status", "healthy");
	says("factory.pools.other.status", "unhealthy");
	says("test_operations.status", "unhealthy");
	says("test_operations.backends.main.status", "healthy");
	says("test_operations.backends.other.status", "unhealthy");
	says("test_operations.backends.other.failed", "PING");
	says("test_operations.backends.other.code", "BACKENDDOWN");
	assert_true(json_is_null(at("test_operations.backends.other.response_times_ms.ping")));
	assert_true(json_real_value(at("test_operations.response_times_ms.ping")) > 0);
	says("memory.status", "ok"); /* of the first */
	says("memory.backends.other.status", "unknown");
	assert_true(json_is_null(at("memory.backends.other.usage_percentage")));
	assert_true(reason("backend other: PING: BACKENDDOWN connection refused"));
	assert_false(health_ready(h, why, sizeof why));
	assert_non_null(strstr(why, "other"));
	assert_true(cell(METRIC_HEALTH_STATE) == 2);
	health_free(h);
}

/* ---- steps that fail --------------------------------------------------------------------------------- */

static void test_each_step_fails(void **state)
{
	static const struct { int step; enum err_code code; const char *error, *seen, *failed; } rows[] = {
		{ 0, ERR_TIMEOUT, "TIMEOUT no answer within 2000 ms ([health] timeout)", "0:PING ",
		  "PING" },
		{ 0, ERR_REDIS, "LOADING dataset", "0:PING ", "PING" },
		{ 1, ERR_OOM, "OOM command not allowed", "0:PING 0:SET 0:INFO ", "SET" },
		{ 1, ERR_REDIS, "READONLY replica", "0:PING 0:SET 0:INFO ", "SET" },
		{ 1, ERR_TIMEOUT, "TIMEOUT no answer within 2000 ms ([health] timeout)", "0:PING 0:SET ",
		  "SET" },
		{ 2, ERR_BACKENDDOWN, "BACKENDDOWN x", "0:PING 0:SET 0:GET ", "GET" },
		{ 3, ERR_REDIS, "NOPERM x", "0:PING 0:SET 0:GET 0:DEL 0:INFO ", "DEL" },
	};
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);

	(void)state;
	for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
		struct health *h;

		*W.seen = '\0';
		W.store[0].fail[rows[k].step] = rows[k].error;
		W.store[0].code = rows[k].code;
		h = start(&s);
		pump();
		assert_string_equal(W.seen, rows[k].seen);
		document(h);
		says("status", "unhealthy");
		says("test_operations.status", "unhealthy");
		says("test_operations.backends.main.failed", rows[k].failed);
		says("factory.pools.main.error", rows[k].error);
		assert_true(cell(METRIC_BACKEND_UP) == 0);
		W.store[0].fail[rows[k].step] = NULL;
		health_free(h);
	}
}

static void test_values(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;

	(void)state;
	/* another agent on the same store probed between our SET and GET */
	W.store[0].foreign_values = 1;
	W.store[0].lost_values = 1;
	h = start(&s);
	document(h);
	assert_non_null(strstr(W.seen, "0:SET 0:GET 0:SET 0:GET 0:SET 0:GET 0:DEL "));
	says("status", "healthy");
	W.store[0].lost_values = 6; /* but not for ever */
	pass(30 * SECOND);
	document(h);
	says("status", "unhealthy");
	assert_true(reason("GET found nothing"));
	W.store[0].wrong_value = true;
	pass(30 * SECOND);
	document(h);
	assert_true(reason("another value"));
	W.store[0].wrong_value = false;
	W.store[0].nostring = true;
	pass(30 * SECOND);
	document(h);
	assert_true(reason("no string"));
	W.store[0].nostring = false;
	pass(30 * SECOND);
	document(h);
	says("status", "healthy");
	health_free(h);
}

static void test_info_fails(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;

	(void)state;
	W.store[0].fail[4] = "NOPERM this user has no permissions to run the 'info' command";
	W.store[0].code = ERR_REDIS;
	h = start(&s);
	pump();
	document(h);
	says("status", "degraded");
	says("test_operations.status", "healthy");
	says("memory.status", "unknown");
	assert_true(reason("INFO: NOPERM"));
	health_free(h);
}

static void test_plugins_with_less(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s;
	struct health *h;

	(void)state;
	/* no PING: a GET stands for it; no TTL: SET without; no INFO: stats */
	i.caps = PURSER_CAP_KV | PURSER_CAP_MEMORY_INFO;
	i.eviction = "noeviction";
	i.in_process = true;
	W.stats = (purser_stats){ .keys = 1, .used_bytes = 850, .max_bytes = 1000 };
	W.store[0].fail[0] = "UNSUPPORTED x";
	W.store[0].code = ERR_UNSUPPORTED;
	s = setup(&i, 1);
	h = start(&s);
	pump();
	assert_string_equal(W.seen, "0:PING 0:GET 0:SET 0:GET 0:DEL ");
	document(h);
	says("status", "healthy");
	assert_true(json_real_value(at("test_operations.response_times_ms.ping")) > 0);
	assert_true(json_real_value(at("memory.usage_percentage")) == 0.85);
	health_free(h);
	/* nothing but facts */
	i.caps = 0;
	*W.seen = '\0';
	W.store[0].fail[2] = "UNSUPPORTED x";
	s = setup(&i, 1);
	h = start(&s);
	pump();
	assert_string_equal(W.seen, "0:PING 0:GET ");
	document(h);
	says("status", "healthy");
	says("memory.status", "unknown");
	assert_true(json_is_null(at("test_operations.response_times_ms.ping")));
	health_free(h);
	/* a store that one cannot write to */
	i.caps = PURSER_CAP_KV;
	W.store[0].fail[0] = W.store[0].fail[2] = NULL;
	W.store[0].fail[1] = "UNSUPPORTED x";
	s = setup(&i, 1);
	h = start(&s);
	pump();
	document(h);
	says("status", "healthy");
	assert_true(json_is_null(at("test_operations.response_times_ms.set_get_delete")));
	health_free(h);
}

/* ---- the rest of the document ------------------------------------------------------------------------------ */

static void test_telemetry_and_breaker(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health_deps d = deps();
	struct health *h;

	(void)state;
	d.breaker = fake_breaker;
	W.breaker = (struct health_breaker){ HEALTH_BREAKER_HALF_OPEN, 4 };
	W.telemetry = (struct health_telemetry){ 2, "the collector \"x\" does not answer" };
	h = health_new(&d);
	assert_int_equal(health_setup(h, &s), 0);
	pump();
	document(h);
	says("status", "degraded");
	says("telemetry.status", "degraded");
	says("telemetry.reason", "the collector \"x\" does not answer");
	assert_true(reason("telemetry: the collector"));
	says("factory.circuit_breaker.state", "half_open");
	assert_int_equal(json_integer_value(at("factory.circuit_breaker.metrics.circuit_opens")), 4);
	health_free(h);
}

static void test_calls(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct metric_instance mi = { .name = "main" };
	struct metric_key k = { .kind = METRIC_OP, .db = METRIC_NO_DB };
	struct health *h;

	(void)state;
	k.instance = metric_instance(W.metrics, &mi);
	k.project = metric_project(W.metrics, "default");
	for (int n = 0; n < 7; n++)
		metric_op_record(metric_op(W.shard, k), 1000, 1, 1);
	k.error = ERR_TIMEOUT;
	metric_op_record(metric_op(W.shard, k), 1000, 1, 1);
	k.error = metric_error(W.shard, "WRONGTYPE x", 11); /* an answer of the store */
	metric_op_record(metric_op(W.shard, k), 1000, 1, 1);
	metric_op_record(metric_op(W.shard, k), 1000, 1, 1);
	k.kind = METRIC_INTERNAL; /* the agent's own do not count */
	k.error = 0;
	metric_op_record(metric_op(W.shard, k), 1000, 1, 1);
	h = start(&s);
	pump();
	document(h);
	assert_int_equal(json_integer_value(at("factory.circuit_breaker.metrics.total_calls")), 10);
	assert_true(json_real_value(at("factory.circuit_breaker.metrics.success_rate")) == 0.9);
	health_free(h);
}

static void test_hostile_texts(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;

	(void)state;
	W.store[0].fail[0] = "ERR \"quoted\" \\ \x01 \xff\xfe";
	W.store[0].code = ERR_REDIS;
	s.service = "sh\"op";
	h = start(&s);
	pump();
	document(h); /* it must parse */
	says("service", "sh\"op");
	health_free(h);
}

/* ---- keys outside ------------------------------------------------------------------------------------------------ */

static void test_outside(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	char text[200] = "";
	bool about = true;
	struct health *h;
	const char *keys[] = { "proj:default:a", "user:1", "psr::probe:main", "user:2", "proj:defaul",
		"proj:default:b", "" };

	(void)state;
	memcpy(W.store[0].keys, keys, sizeof keys);
	h = start(&s);
	assert_int_equal(health_outside(h, 0, NULL), -1);
	pump();
	assert_int_equal(health_outside(h, 0, &about), 4); /* user:1 user:2 proj:defaul and "" */
	assert_false(about);
	assert_true(health_outside_text(h, &P[0], text, sizeof text) == strlen(text));
	assert_string_equal(text, "4 keys of the store lie outside every project: isolation = off in "
	    "[project default] shows them");
	document(h);
	pass(6 * SECOND);
	document(h);
	assert_int_equal(json_integer_value(at("factory.pools.main.outside_keys")), 4);
	assert_true(json_is_true(at("factory.pools.main.outside_keys_exact")));
	assert_int_equal(health_outside(h, 99, NULL), -1);
	/* not at every check */
	assert_null(strstr(strstr(W.seen, "DBSIZE") + 1, "DBSIZE"));
	/* a reload that opens the store to a project */
	P[0].prefix_len = 0;
	assert_int_equal(health_setup(h, &s), 0);
	pump();
	assert_int_equal(health_outside(h, 0, NULL), 0);
	assert_int_equal(health_outside_text(h, &P[0], text, sizeof text), 0);
	health_free(h);
}

static void test_outside_large(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;
	char text[200];
	static const char *keys[] = { "proj:default:a", "x", "y", "z", NULL };

	(void)state;
	memcpy(W.store[0].keys, keys, sizeof keys);
	W.store[0].dbsize = 2; /* keys that SCAN gives twice are not more than there are */
	h = start(&s);
	pump();
	assert_int_equal(health_outside(h, 0, NULL), 2);
	/* it cannot be counted: not known */
	W.store[0].fail[6] = "NOPERM x";
	W.store[0].code = ERR_REDIS;
	assert_int_equal(health_setup(h, &s), 0);
	pump();
	assert_int_equal(health_outside(h, 0, NULL), -1);
	assert_int_equal(health_outside_text(h, &P[0], text, sizeof text), 0);
	/* counting is under way when all ends */
	W.store[0].fail[6] = NULL;
	assert_int_equal(health_setup(h, &s), 0);
	while (W.nasks == 0 || strcmp(W.asks[0].word[0], "SCAN") != 0) {
		struct pending p = W.asks[0];
		char reply[2048];
		struct health_answer a = { 0 };

		assert_int_equal(W.nasks, 1);
		W.nasks = 0;
		reply_to(&p, reply, sizeof reply);
		a.resp = (const uint8_t *)reply;
		a.n = strlen(reply);
		p.done(p.arg, &a);
	}
	health_free(h);
	pump();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(test_document), T(test_several_backends), T(test_each_step_fails),
		T(test_values), T(test_info_fails), T(test_plugins_with_less),
		T(test_telemetry_and_breaker), T(test_calls), T(test_hostile_texts),
		T(test_outside), T(test_outside_large),
	};

	return cmocka_run_group_tests_name("health_document", tests, NULL, NULL);
}
