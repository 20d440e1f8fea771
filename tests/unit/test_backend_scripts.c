/* SPDX-License-Identifier: Apache-2.0
 *
 * The bodies of scripts: names, limits of each project, what is thrown away first, many threads at once.
 */
#include <config.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "backend/scripts.h"

static purser_bytes bytes(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

static bool has(struct scripts *s, uint32_t ns, const char *body)
{
	uint8_t sha[SCRIPT_SHA];
	struct script *e;
	bool same;

	script_sha(bytes(body), sha);
	e = scripts_get(s, ns, sha);
	same = e && e->n == strlen(body) && memcmp(e->body, body, e->n) == 0;
	assert_int_equal(e != NULL, same);
	script_unref(e);
	return same;
}

static void put(struct scripts *s, uint32_t ns, const char *body)
{
	uint8_t sha[SCRIPT_SHA];

	script_sha(bytes(body), sha);
	scripts_put(s, ns, sha, bytes(body));
}

static void names(void **state)
{
	static const char text[] = "E0E1F9fabfc9d4800c877a703b823ac0578ff8db"; /* of "return 1" */
	uint8_t a[SCRIPT_SHA], b[SCRIPT_SHA];

	(void)state;
	script_sha(bytes("return 1"), a);
	assert_true(script_sha_of(bytes(text), b));
	assert_memory_equal(a, b, SCRIPT_SHA);
	assert_false(script_sha_of(bytes("e0e1"), b));
	assert_false(script_sha_of(bytes("g0e1f9fabfc9d4800c877a703b823ac0578ff8db"), b));
	script_sha((purser_bytes){ NULL, 0 }, a);
	assert_true(script_sha_of(bytes("da39a3ee5e6b4b0d3255bfef95601890afd80709"), b));
	assert_memory_equal(a, b, SCRIPT_SHA);
}

static void projects(void **state)
{
	enum { BODY = 1000, ROOM = 4 };
	struct scripts *s = scripts_new(ROOM * (sizeof(struct script) + BODY));
	char body[ROOM + 2][BODY + 1];
	struct script *kept;
	uint8_t sha[SCRIPT_SHA];
	uint32_t epoch;

	(void)state;
	for (int i = 0; i < ROOM + 2; i++) {
		memset(body[i], 'a' + i, BODY);
		body[i][BODY] = '\0';
	}
	put(s, 3, "another project's");
	for (int i = 0; i < ROOM; i++)
		put(s, 1, body[i]);
	script_sha(bytes(body[1]), sha);
	kept = scripts_get(s, 1, sha); /* used last, and somebody holds it */
	assert_true(has(s, 1, body[0]));
	put(s, 1, body[ROOM]); /* 2 was not used for longest */
	assert_false(has(s, 1, body[2]));
	put(s, 1, body[3]); /* it is there: only newer now */
	put(s, 1, body[ROOM + 1]);
	assert_false(has(s, 1, body[1]));
	assert_int_equal(kept->body[0], 'b');
	script_unref(kept);
	assert_true(has(s, 1, body[0]) && has(s, 1, body[3]) && has(s, 1, body[ROOM]) && has(s, 1, body[ROOM + 1]));
	assert_true(has(s, 3, "another project's"));
	assert_false(has(s, 1, "another project's"));
	epoch = scripts_epoch(s);
	scripts_forget(s, 1);
	assert_int_not_equal(scripts_epoch(s), epoch);
	assert_false(has(s, 1, body[0]));
	scripts_forget(s, 70000); /* there is no such project */
	assert_true(has(s, 3, "another project's"));
	scripts_limit(s, 64);
	assert_false(has(s, 3, "another project's"));
	put(s, 3, "another project's"); /* larger than all there may be */
	assert_false(has(s, 3, "another project's"));
	assert_true(scripts_first(s, 1) && scripts_first(s, 2) && !scripts_first(s, 1) && !scripts_first(s, 2));
	assert_false(scripts_first(s, 70000));
	scripts_free(s);
}

static void *crowd(void *arg)
{
	struct scripts *s = arg;
	char body[64];

	for (int i = 0; i < 4000; i++) {
		uint8_t sha[SCRIPT_SHA];
		struct script *e;

		snprintf(body, sizeof body, "return %d", i % 97);
		script_sha(bytes(body), sha);
		if (i % 3 == 0)
			scripts_put(s, (uint32_t)i % 5, sha, bytes(body));
		e = scripts_get(s, (uint32_t)i % 5, sha);
		if (i % 501 == 0)
			scripts_forget(s, (uint32_t)i % 5);
		if (e && (e->n != strlen(body) || memcmp(e->body, body, e->n) != 0))
			return s;
		script_unref(e);
		scripts_first(s, (uint32_t)i % 5);
	}
	return NULL;
}

static void threads(void **state)
{
	struct scripts *s = scripts_new(2000);
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, crowd, s), 0);
	for (int i = 0; i < 4; i++) {
		void *wrong;

		pthread_join(t[i], &wrong);
		assert_null(wrong);
	}
	scripts_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(names), cmocka_unit_test(projects),
		cmocka_unit_test(threads) };

	return cmocka_run_group_tests_name("backend_scripts", tests, NULL, NULL);
}
