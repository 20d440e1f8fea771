/* SPDX-License-Identifier: Apache-2.0
 *
 * The slow log: its maxima, whose it is, and what of a long request is kept.
 */
#include <config.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "metric/slowlog.h"

static purser_bytes bytes(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

static void add(struct slowlogs *s, const char *project, uint64_t second, uint64_t us, const char *word)
{
	purser_bytes w = bytes(word);

	slowlog_add(s, project, &(struct slow_request){ .event = SLOW_COMMAND, .unix_s = second, .us = us, .pid = 7, .uid = 8,
	    .client = "me", .argv = &w, .argc = 1 });
}

struct seen { uint64_t n, ids[16]; char words[256]; uint32_t argc; };

static void begin(void *arg, uint64_t n) { ((struct seen *)arg)->n = n; }

static void entry(void *arg, const struct slow_entry *e)
{
	struct seen *s = arg;
	size_t at = 0, n = strlen(s->words);

	s->argc = e->argc;
	for (uint32_t i = 0; i < e->argc; i++) {
		purser_bytes w = slow_word(e, &at);

		if (n + w.n + 2 < sizeof s->words)
			n += (size_t)snprintf(s->words + n, sizeof s->words - n, "%.*s ", (int)w.n, (const char *)w.p);
	}
}

static struct seen look(struct slowlogs *s, const char *project, uint64_t max)
{
	struct seen v = { 0 };

	slowlog_each(s, project, max, begin, entry, &v);
	return v;
}

static void ring(void **state)
{
	struct slowlogs *s = slowlogs_new();

	(void)state;
	assert_non_null(s);
	slowlogs_limit(s, 3);
	for (unsigned i = 0; i < 5; i++)
		add(s, "a", i, 1000, (const char *[]){ "v", "w", "x", "y", "z" }[i]);
	add(s, "b", 9, 1000, "other");
	assert_string_equal(look(s, "a", 10).words, "z y x ");
	assert_string_equal(look(s, "a", 2).words, "z y ");
	assert_int_equal(look(s, "a", 2).n, 2);
	assert_string_equal(look(s, "b", UINT64_MAX).words, "other ");
	assert_int_equal(look(s, "c", 10).n, 0);
	assert_int_equal(slowlog_len(s, "a"), 3);
	slowlogs_limit(s, 1);
	assert_string_equal(look(s, "a", 10).words, "z ");
	slowlog_reset(s, "a");
	assert_int_equal(slowlog_len(s, "a"), 0);
	assert_int_equal(slowlog_len(s, "b"), 1);
	slowlogs_limit(s, 0);
	add(s, "a", 9, 1, "none");
	assert_int_equal(slowlog_len(s, "a"), 0);
	slowlogs_free(s);
}

static void long_ones(void **state)
{
	struct slowlogs *s = slowlogs_new();
	char text[300];
	purser_bytes words[40];
	struct seen v;

	(void)state;
	slowlogs_limit(s, 3);
	memset(text, 'x', sizeof text);
	for (unsigned i = 0; i < 40; i++)
		words[i] = (purser_bytes){ (const uint8_t *)text, i == 0 ? 128 : i == 1 ? 129 : 0 };
	slowlog_add(s, "a", &(struct slow_request){ .client = "", .argv = words, .argc = 2 });
	v = look(s, "a", 1);
	assert_int_equal(v.argc, 2);
	assert_int_equal(strspn(v.words, "x"), 128);
	slowlog_add(s, "a", &(struct slow_request){ .client = "", .argv = words + 2, .argc = 33 });
	v = look(s, "a", 1);
	assert_int_equal(v.argc, 32);
	assert_non_null(strstr(v.words, "... (2 more arguments)"));
	slowlog_add(s, "a", &(struct slow_request){ .client = "", .argv = words + 1, .argc = 1 });
	assert_non_null(strstr(look(s, "a", 1).words, "x... (1 more bytes)"));
	slowlogs_free(s);
}

static void samples(void **state)
{
	struct slowlogs *s = slowlogs_new();
	struct slow_series v;

	(void)state;
	slowlogs_limit(s, 1);
	add(s, "a", 100, 5000, "x");
	add(s, "a", 100, 9001, "x");
	add(s, "a", 100, 7000, "x");
	slow_series_get(s, "a", SLOW_COMMAND, &v);
	assert_int_equal(v.n, 1);
	assert_int_equal(v.v[0].ms, 10);
	for (unsigned i = 0; i < 300; i++)
		add(s, "a", 200 + i, (i + 1) * 1000, "x");
	slow_series_get(s, "a", SLOW_COMMAND, &v);
	assert_int_equal(v.n, SLOW_SAMPLES);
	assert_int_equal(v.v[0].unix_s, 200 + 300 - SLOW_SAMPLES);
	assert_int_equal(v.v[SLOW_SAMPLES - 1].ms, 300);
	assert_int_equal(v.max_ms, 300);
	slow_series_get(s, "a", SLOW_FAST_COMMAND, &v);
	assert_int_equal(v.n, 0);
	assert_false(slow_series_reset(s, "a", SLOW_FAST_COMMAND));
	assert_true(slow_series_reset(s, "a", SLOW_COMMAND));
	assert_false(slow_series_reset(s, "a", SLOW_COMMAND));
	slowlogs_free(s);
}

/* One more project than there can be: the one that was slow longest ago goes. */
static void projects(void **state)
{
	struct slowlogs *s = slowlogs_new();
	char name[16];

	(void)state;
	slowlogs_limit(s, 1);
	for (unsigned i = 0; i <= SLOW_PROJECTS; i++) {
		snprintf(name, sizeof name, "p%u", i);
		add(s, name, 1, 1, "x");
		if (i == SLOW_PROJECTS - 1)
			add(s, "p0", 1, 1, "y"); /* again: it is not the one any more */
	}
	assert_int_equal(slowlog_len(s, "p0"), 1);
	assert_int_equal(slowlog_len(s, "p1"), 0);
	assert_int_equal(slowlog_len(s, "p2"), 1);
	snprintf(name, sizeof name, "p%u", SLOW_PROJECTS);
	assert_int_equal(slowlog_len(s, name), 1);
	slowlogs_free(s);
}

static void *hammer(void *arg)
{
	for (unsigned i = 0; i < 2000; i++) {
		add(arg, i % 3 ? "a" : "b", i, 1000, "x");
		if (i % 64 == 0)
			look(arg, "a", 10);
	}
	return NULL;
}

static void threads(void **state)
{
	struct slowlogs *s = slowlogs_new();
	pthread_t t[4];

	(void)state;
	slowlogs_limit(s, 5);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hammer, s), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(slowlog_len(s, "a"), 5);
	slowlogs_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ring), cmocka_unit_test(long_ones), cmocka_unit_test(samples),
		cmocka_unit_test(projects), cmocka_unit_test(threads) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
