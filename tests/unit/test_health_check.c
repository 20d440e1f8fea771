/* SPDX-License-Identifier: Apache-2.0 */
/* health: when it checks, levels of memory, reload, alert state. */
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

/* ---- when ---------------------------------------------------------------------------------------------- */

static void test_schedule(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h = start(&s);
	unsigned n;

	(void)state;
	pump();
	n = W.total;
	pass(29 * SECOND);
	assert_int_equal(W.total, n);
	pass(SECOND);
	assert_int_equal(W.total, n + 5); /* without DBSIZE this time */
	/* polled within max_age: no command at all */
	n = W.total;
	for (int k = 0; k < 100; k++)
		document(h);
	assert_int_equal(W.total, n);
	pass(5 * SECOND);
	assert_int_equal(W.total, n);
	document(h); /* older than max_age: one check */
	assert_int_equal(W.total, n + 5);
	/* while the store fails it is looked at every two seconds */
	W.store[0].fail[0] = "BACKENDDOWN x";
	W.store[0].code = ERR_BACKENDDOWN;
	pass(30 * SECOND);
	n = W.total;
	pass(2 * SECOND);
	pass(2 * SECOND);
	assert_int_equal(W.total, n + 2);
	W.store[0].fail[0] = NULL;
	pass(2 * SECOND);
	document(h);
	says("status", "healthy");
	health_free(h);
}

static void count_only(void *arg, const char *json, size_t n)
{
	assert_non_null(json);
	assert_true(n > 100);
	++*(unsigned *)arg;
}

static void test_never_twice(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;
	unsigned answered = 0;
	char why[200] = "";
	const char *json;
	size_t n;

	(void)state;
	W.store[0].silent = true;
	h = start(&s);
	assert_int_equal(W.total, 1);
	for (int k = 0; k < 50; k++)
		health_get(h, count_only, &answered);
	loop_turn(W.loop, 0);
	assert_int_equal(W.total, 1); /* one check, however many ask */
	assert_int_equal(answered, 0);
	assert_false(health_ready(h, why, sizeof why));
	assert_non_null(strstr(why, "not done yet"));
	json = health_latest(h, &n);
	got(NULL, json, n);
	assert_true(reason("first check is not done yet"));
	W.store[0].silent = false;
	pump();
	assert_int_equal(answered, 50);
	assert_true(health_ready(h, why, sizeof why));
	/* shutdown answers who waits */
	W.store[0].silent = true;
	pass(30 * SECOND);
	health_get(h, count_only, &answered);
	assert_int_equal(answered, 50);
	health_free(h);
	assert_int_equal(answered, 51);
	W.store[0].silent = false;
	pump(); /* the answer that comes after the end is dropped */
}

static void test_worker_stuck(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h = start(&s);
	unsigned n;

	(void)state;
	pump();
	W.store[0].silent = true;
	pass(30 * SECOND);
	n = W.total;
	pass(2 * SECOND);
	assert_int_equal(W.documents, 0);
	pass(SECOND); /* timeout and grace: not even a TIMEOUT was answered */
	document(h);
	says("status", "unhealthy");
	assert_true(reason("worker thread does not answer"));
	pass(10 * SECOND);
	document(h);
	says("status", "unhealthy");
	assert_int_equal(W.total, n); /* nothing is piled up on it */
	W.store[0].silent = false;
	pump();
	pass(2 * SECOND);
	document(h);
	says("status", "healthy");
	health_free(h);
}

static void test_hint(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h = start(&s);
	unsigned n;

	(void)state;
	pump();
	pass(5 * SECOND);
	n = W.total;
	health_hint(h);
	health_hint(h);
	pass(20 * MS);
	assert_int_equal(W.total, n + 5);
	health_hint(h); /* not more often than every two seconds */
	pass(SECOND);
	assert_int_equal(W.total, n + 5);
	pass(SECOND);
	assert_int_equal(W.total, n + 10);
	health_free(h);
}

static void test_ready_polled(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h = start(&s);
	char why[200] = "";
	unsigned n;

	(void)state;
	pump();
	n = W.total;
	for (int k = 0; k < 20; k++)
		assert_true(health_ready(h, why, sizeof why));
	pump();
	assert_int_equal(W.total, n); /* it is no older than max_age */
	W.store[0].fail[0] = "BACKENDDOWN x";
	W.store[0].code = ERR_BACKENDDOWN;
	W.now += 6 * SECOND;
	assert_true(health_ready(h, why, sizeof why)); /* of the last check, and another one begins */
	pump();
	assert_false(health_ready(h, why, sizeof why));
	assert_string_equal(why, "backend main: PING: BACKENDDOWN x");
	pump();
	health_free(h);
}

static void test_stop(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h = start(&s);
	unsigned answered = 0;
	char why[200] = "";

	(void)state;
	health_get(h, count_only, &answered);
	health_stop(h); /* in the middle of the first check */
	assert_int_equal(answered, 1);
	pump();
	health_get(h, count_only, &answered);
	assert_int_equal(answered, 2);
	assert_false(health_ready(h, why, sizeof why));
	pump();
	pass(60 * SECOND);
	assert_int_equal(W.total, 1);
	health_free(h);
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

static void test_memory_levels(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h = start(&s);

	(void)state;
	pump();
	memory_is(0, 920, 1000, "");
	pass(30 * SECOND);
	document(h);
	says("memory.status", "ok"); /* one sample */
	assert_true(json_real_value(at("memory.usage_percentage")) == 0.92);
	for (int k = 0; k < 4; k++) { /* who asks often gets no alert earlier */
		pass(5 * SECOND + MS);
		document(h);
		says("memory.status", "ok");
	}
	pass(30 * SECOND);
	document(h);
	says("memory.status", "critical");
	says("status", "degraded");
	assert_true(reason("memory: critical"));
	assert_true(cell(METRIC_MEMORY_LEVEL) == 2);
	assert_true(cell(METRIC_MEMORY_USAGE) == 0.92);
	assert_true(json_is_integer(at("memory.since")));
	memory_is(0, 840, 1000, "");
	pass(30 * SECOND);
	pass(30 * SECOND);
	document(h);
	says("memory.status", "critical");
	pass(30 * SECOND);
	document(h);
	says("memory.status", "warning");
	/* gone: three periods later nobody knows, the level before is kept */
	W.store[0].fail[0] = "BACKENDDOWN x";
	W.store[0].code = ERR_BACKENDDOWN;
	for (int k = 0; k < 45; k++)
		pass(2 * SECOND);
	document(h);
	says("memory.status", "unknown");
	says("memory.last_status", "warning");
	assert_true(json_is_null(at("memory.usage_percentage")));
	assert_true(cell(METRIC_MEMORY_LEVEL) == 3);
	assert_true(cell(METRIC_MEMORY_USAGE) == -1);
	assert_true(cell(METRIC_REDIS_MEMORY_USED) == -1);
	W.store[0].fail[0] = NULL;
	pass(2 * SECOND);
	document(h);
	says("memory.status", "warning");
	assert_true(cell(METRIC_REDIS_MEMORY_USED) == 840);
	health_free(h);
}

static void test_unbounded(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;

	(void)state;
	memory_is(0, 900, 0, "");
	h = start(&s);
	pump();
	document(h);
	says("memory.status", "unbounded");
	says("status", "healthy");
	assert_true(json_is_null(at("memory.usage_percentage"))); /* never 0 % */
	assert_int_equal(json_integer_value(at("memory.usage_bytes")), 900);
	assert_int_equal(json_integer_value(at("memory.max_memory_bytes")), 0);
	assert_true(cell(METRIC_MEMORY_LEVEL) == 4);
	assert_true(cell(METRIC_MEMORY_USAGE) == -1);
	/* a reload that minds */
	s.opts.unbounded_warns = true;
	assert_int_equal(health_setup(h, &s), 0);
	pump();
	document(h);
	says("status", "degraded");
	assert_true(reason("memory: unbounded"));
	/* a reload that gives a limit of its own */
	i.max_memory = 1000;
	assert_int_equal(health_setup(h, &s), 0);
	pump();
	pass(30 * SECOND);
	pass(30 * SECOND);
	document(h);
	says("memory.status", "critical");
	assert_int_equal(json_integer_value(at("memory.max_memory_bytes")), 1000);
	health_free(h);
}

static void test_replica(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;

	(void)state;
	memory_is(0, 500, 1000, "role:slave\r\n");
	h = start(&s);
	pump();
	document(h);
	says("status", "degraded");
	says("factory.pools.main.role", "replica");
	assert_true(reason("replica"));
	health_free(h);
}

/* ---- reload --------------------------------------------------------------------------------------------------- */

static void test_reload(void **state)
{
	struct health_instance i[] = { backend(0, "main"), backend(1, "other") };
	struct health_instance k[] = { backend(0, "main"), backend(2, "third") };
	struct health_setup s = setup(i, 2);
	struct health *h = start(&s);

	(void)state;
	pump();
	memory_is(0, 920, 1000, "");
	pass(30 * SECOND);
	pass(30 * SECOND);
	document(h);
	says("memory.status", "critical");
	/* in the middle of a check one backend goes, one comes */
	W.store[1].silent = true;
	pass(30 * SECOND);
	s = setup(k, 2);
	s.generation = 8;
	assert_int_equal(health_setup(h, &s), 0);
	pump();
	document(h);
	says("memory.status", "critical"); /* what is kept by name stays as it was */
	says("memory.backends.third.status", "ok");
	assert_null(at("memory.backends.other"));
	assert_int_equal(json_integer_value(at("generation")), 8);
	says("factory.status", "degraded");
	W.store[1].silent = false;
	pump(); /* the answer to the one that has gone */
	/* other thresholds: the next sample decides */
	s.opts.rule = (struct threshold_rule){ 940000, 930000, 960000, 950000, 2, 3, 3, 0 };
	assert_int_equal(health_setup(h, &s), 0);
	document(h);
	says("memory.status", "ok");
	health_free(h);
}

/* ---- alert state ------------------------------------------------------------------------------------------------ */

static void slurp(const char *path, char *dst, size_t cap)
{
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(dst, 1, cap - 1, f);
	dst[n] = '\0';
	fclose(f);
}

static void test_state_file(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h = start(&s);
	char path[128], text[512], again[512];
	struct stat st;

	(void)state;
	memory_is(0, 920, 1000, "");
	pump();
	pass(30 * SECOND);
	document(h);
	says("memory.status", "critical");
	health_free(h);
	snprintf(path, sizeof path, "%s/health", W.state_dir);
	slurp(path, text, sizeof text);
	assert_non_null(strstr(text, "purser-health 1\nmemory critical "));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* the next life knows it before the first answer, and writes nothing new */
	W.store[0].silent = true;
	h = start(&s);
	{
		size_t n;
		const char *json = health_latest(h, &n);

		got(NULL, json, n);
	}
	says("memory.status", "unknown");
	says("memory.last_status", "critical");
	says("status", "degraded");
	W.store[0].silent = false;
	memory_is(0, 870, 1000, "");
	pump();
	pass(30 * SECOND);
	document(h);
	says("memory.status", "critical"); /* above the line that clears it */
	slurp(path, again, sizeof again);
	assert_string_equal(text, again);
	health_free(h);
	/* other thresholds since: the first sample decides from the stored level */
	s.opts.rule.raise_crit = 890000;
	s.opts.rule.clear_crit = 880000;
	h = start(&s);
	pump();
	document(h);
	says("memory.status", "warning");
	health_free(h);
}

static void test_state_damaged(void **state)
{
	static const char *const texts[] = { "", "garbage\n", "purser-health 2\nmemory critical 0 0 main\n",
		"purser-health 1\nmemory critical\n", "purser-health 1\nmemory bad 0 0 main\n",
		"purser-health 1\nmemory critical 0 0 \n", "purser-health 1\nmemory critical 0 0 main" };
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	char path[128], text[512];
	struct health *h = start(&s);

	(void)state;
	pump(); /* makes the directory */
	health_free(h);
	snprintf(path, sizeof path, "%s/health", W.state_dir);
	for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		fputs(texts[k], f);
		fclose(f);
		h = start(&s);
		pump();
		document(h);
		says("memory.status", "ok");
		health_free(h);
		slurp(path, text, sizeof text);
		assert_non_null(strstr(text, "purser-health 1\nmemory ok "));
	}
}

static void test_state_unwritable(void **state)
{
	struct health_instance i = backend(0, "main");
	struct health_setup s = setup(&i, 1);
	struct health *h;
	char file[sizeof W.state_dir];

	(void)state;
	/* a file where the directory should be: also for root */
	snprintf(file, sizeof file, "%.*s", (int)(strrchr(W.state_dir, '/') - W.state_dir), W.state_dir);
	fclose(fopen(file, "w"));
	h = start(&s);
	pump();
	document(h);
	says("status", "healthy"); /* never fatal */
	health_free(h);
	unlink(file);
	snprintf(W.state_dir, sizeof W.state_dir, "%s", "");
	h = start(&s);
	pump();
	document(h);
	says("status", "healthy");
	health_free(h);
	memcpy(W.state_dir, file, sizeof W.state_dir); /* for end() */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(test_schedule), T(test_never_twice), T(test_worker_stuck), T(test_hint),
		T(test_ready_polled), T(test_stop),
		T(test_memory_levels), T(test_unbounded), T(test_replica), T(test_reload),
		T(test_state_file), T(test_state_damaged), T(test_state_unwritable),
	};

	return cmocka_run_group_tests_name("health_check", tests, NULL, NULL);
}
