/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of names: what is put in is found, in any order of growing and shrinking.  Globs.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <purser/glob.h>
#include "base/names.h"

#define COUNT 3000

struct thing {
	struct names_node node; /* first */
	int tag, in;
	char name[24];
};

static struct thing things[COUNT];

static struct thing *find(const struct names *t, int tag, const char *name)
{
	uint64_t h = names_hash((uint64_t)tag, name, strlen(name));

	for (struct names_node *at = names_first(t, h); at; at = names_next(at)) {
		struct thing *x = (struct thing *)at;

		if (x->tag == tag && !strcmp(x->name, name))
			return x;
	}
	return NULL;
}

static size_t walk(const struct names *t)
{
	size_t n = 0;

	for (struct names_node *at = names_each(t, NULL); at; at = names_each(t, at), n++)
		assert_true(((struct thing *)at)->in);
	return n;
}

static void in_and_out(void **state)
{
	struct names t = { 0 };
	unsigned random = 12345;
	size_t n = 0;

	(void)state;
	assert_null(names_each(&t, NULL));
	for (int i = 0; i < COUNT; i++) { /* the same names with two tags */
		things[i].tag = i % 2;
		snprintf(things[i].name, sizeof things[i].name, "name %d", i / 2);
	}
	for (int step = 0; step < 40000; step++) {
		struct thing *x = &things[(random = random * 1103515245u + 12345u) % COUNT];

		if (!x->in) {
			assert_null(find(&t, x->tag, x->name));
			assert_int_equal(names_add(&t, &x->node,
			    names_hash((uint64_t)x->tag, x->name, strlen(x->name))), 0);
			n++;
		} else {
			assert_ptr_equal(find(&t, x->tag, x->name), x);
			names_remove(&t, &x->node);
			n--;
		}
		x->in = !x->in;
		assert_int_equal(t.n, n);
		if (step % 5000 == 0)
			assert_int_equal(walk(&t), n);
	}
	for (int i = 0; i < COUNT; i++)
		if (things[i].in)
			names_remove(&t, &things[i].node);
	assert_int_equal(t.n, 0);
	assert_null(t.slot); /* an empty table holds no memory */
}

static void hashes(void **state)
{
	char a[40] = { 0 };

	(void)state;
	assert_true(names_hash(1, "", 0) != names_hash(2, "", 0));
	for (size_t n = 1; n < sizeof a; n++) { /* every byte and the length count */
		assert_true(names_hash(1, a, n) != names_hash(1, a, n - 1));
		for (size_t i = 0; i < n; i++) {
			uint64_t h = names_hash(1, a, n);

			a[i] = 1;
			assert_true(names_hash(1, a, n) != h);
			a[i] = 0;
		}
	}
}

static int glob(const char *pattern, const char *text)
{
	return purser_glob(pattern, strlen(pattern), text, strlen(text));
}

static void globs(void **state)
{
	(void)state;
	/* the first one is Redis' own */
	assert_true(!glob("*", "") && glob("*", "anything") && glob("a*c", "abbc") && glob("h?llo", "hello"));
	assert_true(glob("h[ae]llo", "hallo") && !glob("h[ae]llo", "hillo") && glob("h[^e]llo", "hallo"));
	assert_true(glob("h[a-b]llo", "hbllo") && !glob("h[a-b]llo", "hcllo") && glob("\\*x", "*x"));
	assert_true(!glob("\\*x", "ax") && !glob("a*c", "abcd") && !glob("", "x") && glob("", ""));
	assert_true(glob("__key*@*__:*", "__keyspace@0__:k") && !glob("__key*@*__:*", "__key"));
	/* stars that could be tried in many ways are not */
	assert_false(glob("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_and_out),
		cmocka_unit_test(hashes),
		cmocka_unit_test(globs),
	};

	return cmocka_run_group_tests_name("base names", tests, NULL, NULL);
}
