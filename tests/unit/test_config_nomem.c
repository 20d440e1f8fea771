/* SPDX-License-Identifier: Apache-2.0 */
/* config: the Nth allocation fails, for every N: load and compare say so, and lose and crash nothing. */
#include <config.h>
#include "config_fixture.h"

static long fail_at = -1; /* allocations until one fails; -1: never */

static bool fails(void)
{
	return fail_at >= 0 && fail_at-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

static const char good[] =
	"[agent]\nmode = production\nsocket_group = root\n[backend main]\nplugin = redis\npassword = x\n"
	"[backend two]\nplugin = memory\nmax_memory = 5MiB\n[project a]\nbackend = two\n[project b]\nbackend = "
	"main\nkey_prefix = b:\n[otlp]\nendpoint = http://h\nheaders = a=1,b=2\n c=3\n[log]\nmodules = "
	"server=debug\n";
static const char bad[] = "[agent]\nx = 1\nmode = y\n[nope]\n[backend main]\nplugin = nope\n[health]\ninterval = 1\n";

/* Every N fails with NOMEM until all allocations are had, and then the result is rc. */
static void torture(const char *text, size_t len, int rc)
{
	const char *env[] = { "OTEL_SERVICE_NAME=x", "REDIS_URL=redis://h", "OTEL_FOO=1", NULL };
	const char *sets[] = { "health.interval=2s" };
	struct cfg_inputs in = fix_inputs();
	long n;
	int got = CFG_NOMEM;

	fix_write("purser.ini", text, len);
	in.env = env;
	in.sets = sets;
	in.nsets = 1;
	for (n = 0; n < 5000; n++) {
		struct cfg_errors errors = { 0 };
		struct cfg *c = NULL;
		bool all_had;

		fail_at = n;
		got = cfg_load(&in, &c, &errors);
		all_had = fail_at >= 0;
		fail_at = -1;
		cfg_errors_free(&errors);
		cfg_unref(c);
		if (all_had)
			break;
		if (got != CFG_NOMEM)
			fail_msg("allocation %ld failed, and the load said %d", n, got);
	}
	assert_int_equal(got, rc);
	assert_true(n > 20);
	print_message("# %ld allocations\n", n);
}

static void load_good(void **state)
{
	(void)state;
	torture(good, sizeof(good) - 1, CFG_OK);
}

static void load_bad(void **state)
{
	(void)state;
	torture(bad, sizeof(bad) - 1, CFG_INVALID);
}

static void diff(void **state)
{
	struct cfg *a = fix_good("[backend main]\nplugin = memory\n");
	struct cfg *b = fix_good("[backend main]\nplugin = redis\n[project x]\n[health]\ninterval = 1s\n");
	int rc = CFG_NOMEM;

	(void)state;
	for (long n = 0; rc != CFG_OK && n < 100; n++) {
		struct cfg_changes changes = { 0 };

		fail_at = n;
		rc = cfg_diff(a, b, &changes);
		assert_true(fail_at >= 0 || rc == CFG_NOMEM);
		fail_at = -1;
		cfg_changes_free(&changes);
	}
	assert_int_equal(rc, CFG_OK);
	cfg_unref(a);
	cfg_unref(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(load_good),
		cmocka_unit_test(load_bad),
		cmocka_unit_test(diff),
	};

	return cmocka_run_group_tests_name("config/nomem", tests, fix_setup, fix_teardown);
}
