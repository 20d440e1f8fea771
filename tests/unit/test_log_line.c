/* SPDX-License-Identifier: Apache-2.0 */
/* log: lines are JSON whatever is in them, levels, repetition, a reader that does not read. */
#include <config.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>
#include "log/line.h"
#include "log/log.h"

static uint64_t now_ns;

static uint64_t mono(void *arg)
{
	(void)arg;
	return now_ns;
}

static uint64_t wall(void *arg)
{
	(void)arg;
	return UINT64_C(1700000000123456000);
}

struct fix {
	struct log *lg;
	int fd[2];
	char buf[1 << 20];
};

static void fix_open(struct fix *f, enum log_format format, enum log_level level)
{
	struct log_opts o = { .format = format, .level = level, .burst = 3, .window_ns = 1000,
		.mono_ns = mono, .wall_ns = wall };

	now_ns = 1;
	assert_int_equal(pipe2(f->fd, O_NONBLOCK), 0);
	o.fd = f->fd[1];
	f->lg = log_open(&o);
	assert_non_null(f->lg);
}

static const char *fix_read(struct fix *f)
{
	ssize_t n = read(f->fd[0], f->buf, sizeof f->buf - 1);

	f->buf[n > 0 ? n : 0] = '\0';
	return f->buf;
}

static void fix_close(struct fix *f)
{
	log_close(f->lg);
	close(f->fd[0]);
	close(f->fd[1]);
}

static json_t *parse(const char *line)
{
	json_error_t e;
	json_t *j = json_loads(line, JSON_REJECT_DUPLICATES, &e);

	if (!j)
		fail_msg("not JSON: %s in %s", e.text, line);
	return j;
}

static void assert_member(json_t *j, const char *key, const char *want)
{
	const char *got = json_string_value(json_object_get(j, key));

	assert_non_null(got);
	assert_string_equal(got, want);
}

static void test_json(void **state)
{
	static const uint8_t id[16] = { 1, 2, 0xab };
	struct fix f;
	json_t *j;

	(void)state;
	fix_open(&f, LOG_JSON, LOG_INFO);
	log_event(f.lg, LOG_M_SERVER, LOG_WARN, "a.b", "hello \"you\"\n", LOG_STR("s", "x\\y\t\x01"),
	    LOG_BYTES("raw", "\xff\xc3\xa4", 3), LOG_INT("i", -5), LOG_UINT("u", INT64_MAX),
	    LOG_NUM("d", 0.25), LOG_NUM("nan", 0.0 / 0.0), LOG_BOOL("b", 7), LOG_TRACE_ID(id),
	    LOG_SPAN_ID(id), LOG_KEY("never printed"), LOG_STR("redis.password", "hunter2"));
	j = parse(fix_read(&f));
	assert_null(strstr(f.buf, "hunter2"));
	assert_null(strstr(f.buf, "never"));
	assert_member(j, "time", "2023-11-14T22:13:20.123456Z");
	assert_member(j, "level", "warn");
	assert_member(j, "module", "server");
	assert_member(j, "event", "a.b");
	assert_member(j, "message", "hello \"you\"\n");
	assert_member(j, "s", "x\\y\t\x01");
	assert_member(j, "raw", "\xc3\xbf\xc3\xa4");
	assert_member(j, "trace_id", "0102ab00000000000000000000000000");
	assert_member(j, "span_id", "0102ab0000000000");
	assert_int_equal(json_integer_value(json_object_get(j, "i")), -5);
	assert_non_null(strstr(f.buf, "\"u\":9223372036854775807"));
	assert_true(json_is_null(json_object_get(j, "nan")));
	assert_true(json_is_true(json_object_get(j, "b")));
	json_decref(j);
	fix_close(&f);
}

/* Whatever the length, the line ends, is JSON, and says that it was cut. */
static void test_long(void **state)
{
	static char big[8192];
	struct fix f;

	(void)state;
	fix_open(&f, LOG_JSON, LOG_INFO);
	for (size_t n = 3800; n < 4300; n++) {
		char key[16];
		json_t *j;
		size_t len;

		memset(big, 'a', n);
		big[n] = '\0';
		snprintf(key, sizeof key, "%zu", n);
		log_event(f.lg, LOG_M_MAIN, LOG_INFO, "long", "m", LOG_STR("v", big), LOG_INT("z", 1),
		    LOG_KEY(key));
		len = strlen(fix_read(&f));
		assert_in_range(len, 1, LOG_LINE_MAX);
		assert_int_equal(f.buf[len - 1], '\n');
		j = parse(f.buf);
		if (strlen(json_string_value(json_object_get(j, "v"))) < n)
			assert_true(json_is_true(json_object_get(j, "truncated")));
		json_decref(j);
	}
	/* cut between characters, never inside one */
	for (size_t i = 0; i < 6000; i += 3)
		memcpy(big + i, "\xe2\x82\xac", 4);
	log_event(f.lg, LOG_M_MAIN, LOG_INFO, "euro", "m", LOG_STR("v", big));
	json_decref(parse(fix_read(&f)));
	fix_close(&f);
}

static void test_console(void **state)
{
	struct fix f;

	(void)state;
	fix_open(&f, LOG_CONSOLE, LOG_INFO);
	log_event(f.lg, LOG_M_HEALTH, LOG_ERROR, "x", "it broke", LOG_STR("why", "a \"b\""),
	    LOG_INT("n", 3));
	assert_string_equal(fix_read(&f),
	    "22:13:20.123 error health   it broke why=\"a \\\"b\\\"\" n=3\n");
	fix_close(&f);
}

static void test_levels(void **state)
{
	struct fix f;

	(void)state;
	fix_open(&f, LOG_JSON, LOG_WARN);
	log_event(f.lg, LOG_M_SERVER, LOG_INFO, "no", "no");
	assert_string_equal(fix_read(&f), "");
	log_set(f.lg, log_module_of("server"), LOG_DEBUG);
	log_event(f.lg, LOG_M_SERVER, LOG_DEBUG, "yes", "yes");
	log_event(f.lg, LOG_M_MAIN, LOG_DEBUG, "no", "no");
	assert_non_null(strstr(fix_read(&f), "\"event\":\"yes\""));
	assert_null(strstr(f.buf, "\"event\":\"no\""));
	log_set(f.lg, -1, LOG_OFF);
	log_event(f.lg, LOG_M_SERVER, LOG_ERROR, "no", "no");
	assert_string_equal(fix_read(&f), "");
	assert_int_equal(log_level_of("error"), LOG_ERROR);
	assert_int_equal(log_level_of("loud"), -1);
	assert_int_equal(log_module_of("nothing"), -1);
	log_event(NULL, LOG_M_SERVER, LOG_ERROR, "no", "no");
	fix_close(&f);
}

static unsigned lines(const char *s, const char *what)
{
	unsigned n = 0;

	for (; (s = strstr(s, what)); s++)
		n++;
	return n;
}

static void test_repetition(void **state)
{
	struct fix f;
	struct log_stats st;

	(void)state;
	fix_open(&f, LOG_JSON, LOG_INFO);
	for (int i = 0; i < 50; i++) {
		log_event(f.lg, LOG_M_BACKEND, LOG_WARN, "link.down", "down", LOG_KEY("main"));
		log_event(f.lg, LOG_M_BACKEND, LOG_WARN, "link.down", "down", LOG_KEY("other"));
	}
	assert_int_equal(lines(fix_read(&f), "link.down"), 6);
	now_ns += 2000;
	log_event(f.lg, LOG_M_BACKEND, LOG_WARN, "link.down", "down", LOG_KEY("main"));
	assert_int_equal(lines(fix_read(&f), "\"suppressed\":47"), 1);
	/* the other never comes again: the tick reports it, once */
	log_tick(f.lg);
	assert_int_equal(lines(fix_read(&f), "\"suppressed_event\":\"link.down\",\"suppressed\":47"), 1);
	log_tick(f.lg);
	assert_string_equal(fix_read(&f), "");
	log_stats(f.lg, &st);
	assert_int_equal(st.suppressed, 94);
	assert_int_equal(st.written, 8);
	/* debug is not limited */
	log_set(f.lg, -1, LOG_DEBUG);
	for (int i = 0; i < 20; i++)
		log_event(f.lg, LOG_M_BACKEND, LOG_DEBUG, "d", "d");
	assert_int_equal(lines(fix_read(&f), "\"event\":\"d\""), 20);
	fix_close(&f);
}

/* More sites than slots: nothing is lost without being counted. */
static void test_many_sites(void **state)
{
	struct fix f;
	struct log_stats st;
	unsigned owed = 0;

	(void)state;
	fix_open(&f, LOG_JSON, LOG_INFO);
	for (int i = 0; i < 5000; i++) {
		char key[16];

		snprintf(key, sizeof key, "%d", i % 700);
		log_event(f.lg, LOG_M_BACKEND, LOG_WARN, "e", "m", LOG_KEY(key));
		for (const char *s = fix_read(&f); (s = strstr(s, "\"suppressed\":")); s++)
			owed += (unsigned)strtoul(s + 13, NULL, 10);
	}
	now_ns += 2000;
	log_tick(f.lg);
	for (const char *s = fix_read(&f); (s = strstr(s, "\"suppressed\":")); s++)
		owed += (unsigned)strtoul(s + 13, NULL, 10);
	log_stats(f.lg, &st);
	assert_int_equal(owed, st.suppressed);
	assert_int_equal(st.dropped, 0);
	fix_close(&f);
}

static void test_full_pipe(void **state)
{
	struct fix f;
	struct log_stats st;
	int flags;

	(void)state;
	fix_open(&f, LOG_JSON, LOG_DEBUG);
	/* a blocking descriptor, as standard error is: a full pipe must not hold the writer */
	flags = fcntl(f.fd[1], F_GETFL);
	assert_int_equal(fcntl(f.fd[1], F_SETFL, flags & ~O_NONBLOCK), 0);
	for (int i = 0; i < 2000; i++)
		log_event(f.lg, LOG_M_MAIN, LOG_DEBUG, "full", "0123456789012345678901234567890123456789");
	log_stats(f.lg, &st);
	assert_int_equal(st.written + st.dropped, 2000);
	assert_true(st.dropped > 0);
	assert_int_equal(lines(fix_read(&f), "\n"), st.written);
	fix_close(&f);
}

static void *writer(void *arg)
{
	for (int i = 0; i < 500; i++)
		log_event((struct log *)arg, LOG_M_MAIN, LOG_DEBUG, "t", "from a thread", LOG_INT("i", i));
	return NULL;
}

static void test_threads(void **state)
{
	struct fix f;
	pthread_t t[4];
	struct log_stats st;
	uint64_t seen = 0;

	(void)state;
	fix_open(&f, LOG_JSON, LOG_DEBUG);
	assert_true(fcntl(f.fd[0], F_SETPIPE_SZ, 1 << 20) > 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, writer, f.lg), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	fix_read(&f);
	for (char *s = f.buf, *e; (e = strchr(s, '\n')); s = e + 1) {
		*e = '\0';
		json_decref(parse(s));
		seen++;
	}
	log_stats(f.lg, &st);
	assert_int_equal(seen, st.written);
	assert_int_equal(seen + st.dropped, 2000);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_console),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_repetition),
		cmocka_unit_test(test_many_sites),
		cmocka_unit_test(test_full_pipe),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
