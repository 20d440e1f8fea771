/* SPDX-License-Identifier: Apache-2.0
 *
 * Isolation of arguments and error texts: what leaves for the store is the project's own.
 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "access/project.h"

static struct project project(const char *name, const char *prefix)
{
	struct project p = { .databases = 2 };

	snprintf(p.name, sizeof p.name, "%s", name);
	p.prefix_len = (uint32_t)strlen(prefix);
	memcpy(p.prefix, prefix, p.prefix_len);
	return p;
}

struct want { const char *in, *out; const char *prefix; };

static const struct want table[] = {
	{ "KEYS *", "KEYS proj:a:*", NULL },
	{ "KEYS a[bc]?", "KEYS proj:a:a[bc]?", NULL },
	{ "SCAN 0", "SCAN 0 MATCH proj:a:*", NULL },
	{ "SCAN 17 COUNT 10", "SCAN 17 COUNT 10 MATCH proj:a:*", NULL },
	{ "SCAN 0 match x*", "SCAN 0 match proj:a:x*", NULL },
	{ "SCAN 0 MATCH x MATCH y", "SCAN 0 MATCH proj:a:x MATCH proj:a:y", NULL },
	{ "SCAN 0 TYPE MATCH COUNT MATCH", "SCAN 0 TYPE MATCH COUNT MATCH MATCH proj:a:*", NULL },
	{ "SCAN 0 MATCH", "SCAN 0 MATCH", NULL },       /* malformed: the store says so */
	{ "KEYS *", "KEYS \\*x\\?\\[\\]\\\\\\^:*", "*x?[]\\^:" }, /* a prefix's own glob characters */
	{ "COPY a b DB 1", "COPY a b DB 1", NULL },
	{ "COPY a b DB 2", "!ERR DB index is out of range", NULL },
	{ "COPY a b REPLACE DB -1", "!ERR DB index is out of range", NULL },
	{ "COPY a b DB x", "COPY a b DB x", NULL },
	{ "SORT k", "SORT k", NULL },
	{ "SORT k BY w_* GET # GET o_*->f", "SORT k BY proj:a:w_* GET # GET proj:a:o_*->f", NULL },
	{ "SORT k BY nosort GET no", "SORT k BY nosort GET no", NULL },
	{ "SORT k LIMIT BY *x GET * STORE *d", "SORT k LIMIT BY *x GET proj:a:* STORE *d", NULL },
	{ "SORT k STORE BY GET *", "SORT k STORE BY GET proj:a:*", NULL },
	{ "SORT_RO k ALPHA by * DESC get x*y*", "SORT_RO k ALPHA by proj:a:* DESC get proj:a:x*y*", NULL },
	{ "SORT k FOO BY *", "SORT k FOO BY *", NULL }, /* malformed */
	{ "SORT k BY", "SORT k BY", NULL },
	{ "XREAD STREAMS a b 0 0", "XREAD STREAMS a b 0 0", NULL },
	{ "GET k", "GET k", NULL },                     /* keys are not arguments to rewrite here */
};

static void arguments(void **state)
{
	struct cmd_index x;

	(void)state;
	cmd_index_build(&x);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct project p = project("a", table[i].prefix ? table[i].prefix : "proj:a:");
		char copy[128], got[256] = "", err[256];
		purser_bytes argv[16 + ISOLATE_EXTRA];
		uint32_t argc = 0;
		uint64_t mem[4];
		struct arena a;
		const char *why;

		snprintf(copy, sizeof copy, "%s", table[i].in);
		for (char *save, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
			argv[argc++] = (purser_bytes){ (const uint8_t *)w, strlen(w) };
		arena_begin(&a, mem, sizeof mem);
		why = isolate_args(&p, cmd_find(&x, argv, argc, err, sizeof err), argv, &argc, &a);
		if (why)
			snprintf(got, sizeof got, "!%s", why);
		for (uint32_t k = 0; !why && k < argc; k++)
			snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s", k ? " " : "",
			    (int)argv[k].n, (const char *)argv[k].p);
		assert_string_equal(got, table[i].out);
		arena_end(&a);
	}
}

static void off_means_untouched(void **state)
{
	struct project p = project("all", "");
	purser_bytes argv[4] = { { (const uint8_t *)"KEYS", 4 }, { (const uint8_t *)"*", 1 } };
	struct cmd_index x;
	char err[64];
	uint32_t argc = 2;
	struct arena a;

	(void)state;
	cmd_index_build(&x);
	arena_begin(&a, NULL, 0);
	assert_null(isolate_args(&p, cmd_find(&x, argv, 2, err, sizeof err), argv, &argc, &a));
	assert_int_equal(argc, 2);
	assert_int_equal(argv[1].n, 1);
	arena_end(&a);
}

static void keys(void **state)
{
	struct project p = project("a", "proj:a:");
	struct arena a;
	purser_bytes k;
	char big[5000];

	(void)state;
	arena_begin(&a, NULL, 0);
	k = isolate_key(&p, (purser_bytes){ (const uint8_t *)"k\0v", 3 }, &a);
	assert_int_equal(k.n, 10);
	assert_memory_equal(k.p, "proj:a:k\0v", 10);
	k = isolate_key(&p, (purser_bytes){ NULL, 0 }, &a);
	assert_int_equal(k.n, 7);
	memset(big, 'x', sizeof big);
	k = isolate_key(&p, (purser_bytes){ (const uint8_t *)big, sizeof big }, &a);
	assert_int_equal(k.n, sizeof big + 7);
	arena_end(&a);
}

static void texts(void **state)
{
	struct project p = project("a", "proj:a:");
	struct { const char *in, *out; } t[] = {
		{ "WRONGTYPE Operation", "WRONGTYPE Operation" },
		{ "NOGROUP No such key 'proj:a:s'", "NOGROUP No such key 's'" },
		{ "ERR 'proj:a:x' and proj:a:y", "ERR 'x' and y" },
		{ "proj:a:", "" },
		{ "proj:a", "proj:a" },
		{ "pproj:a:rest", "prest" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		char text[64];
		size_t n;

		snprintf(text, sizeof text, "%s", t[i].in);
		n = isolate_text(&p, text, strlen(text));
		assert_int_equal(n, strlen(t[i].out));
		assert_memory_equal(text, t[i].out, n);
	}
}

static void names(void **state)
{
	struct project v[2] = { project("default", "proj:default:"), project("shop", "s:") };
	struct project_set s = { .v = v, .n = 2 };
	char longest[66];

	(void)state;
	assert_ptr_equal(project_find(&s, "shop", 4), &v[1]);
	assert_null(project_find(&s, "sho", 3));
	assert_null(project_find(&s, "SHOP", 4));
	assert_true(project_name_ok("a.b_c-9", 7));
	assert_false(project_name_ok("", 0));
	assert_false(project_name_ok("a:b", 3));
	assert_false(project_name_ok("A", 1));
	assert_false(project_name_ok("a*", 2));
	memset(longest, 'a', sizeof longest);
	assert_true(project_name_ok(longest, 64));
	assert_false(project_name_ok(longest, 65));
	assert_null(project_find(&s, longest, 65));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(arguments), cmocka_unit_test(off_means_untouched),
		cmocka_unit_test(keys), cmocka_unit_test(texts), cmocka_unit_test(names) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
