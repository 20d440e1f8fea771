/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the configuration share: a scratch directory, files in it, plugins that are only
 * schemas, and a load whose complaints come back as one text.
 */
#ifndef CONFIG_FIXTURE_H
#define CONFIG_FIXTURE_H
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "config/cfg.h"

static const purser_key fix_redis[] = {
	{ "url", PURSER_KEY_URL, 0, 0, 0, "redis://127.0.0.1:6379/0", NULL, "where it is" },
	{ "user", PURSER_KEY_TEXT, 0, 0, 0, NULL, NULL, "who" },
	{ "database", PURSER_KEY_INT, 0, 0, 15, NULL, NULL, "which" },
	{ "password", PURSER_KEY_TEXT, PURSER_KEY_SECRET, 0, 0, NULL, NULL, "the secret" },
	{ "password_file", PURSER_KEY_PATH, PURSER_KEY_RELOADABLE, 0, 0, NULL, NULL, "its file" },
	{ "pool_max", PURSER_KEY_INT, PURSER_KEY_RELOADABLE, 1, 10000, "50", NULL, "links" },
	{ "connection_timeout", PURSER_KEY_DURATION, 0, 1000000, INT64_C(60000000000), "3s", NULL, "patience" },
};
static const purser_key fix_memory[] = {
	{ "max_memory", PURSER_KEY_SIZE, PURSER_KEY_RELOADABLE, 1048576, INT64_MAX, "100MiB", NULL, "limit" },
	{ "eviction", PURSER_KEY_ENUM, 0, 0, 0, "noeviction", "noeviction|allkeys-lru", "what goes" },
};
static const purser_key fix_needy[] = {
	{ "token", PURSER_KEY_TEXT, PURSER_KEY_REQUIRED, 0, 0, NULL, NULL, "who may" },
};
static const purser_key fix_odd[] = {
	{ "max_memory", PURSER_KEY_INT, 0, 0, 0, NULL, NULL, "another type than the core's" },
	{ "plugin", PURSER_KEY_TEXT, 0, 0, 0, NULL, NULL, "the core's" },
	{ "twice", PURSER_KEY_INT, 0, 0, 0, NULL, NULL, "once" },
	{ "twice", PURSER_KEY_INT, 0, 0, 0, NULL, NULL, "again" },
	{ "Big", PURSER_KEY_INT, 0, 0, 0, NULL, NULL, "no name" },
	{ "wait", PURSER_KEY_DURATION, 0, 0, 0, "10", NULL, "a default without unit" },
	{ "new", 99, 0, 0, 0, NULL, NULL, "a type of the future" },
};
/* A plugin of the future: its rows are longer. */
struct fix_long_key {
	purser_key key;
	void *more[3];
};
static const struct fix_long_key fix_long[] = {
	{ { "first", PURSER_KEY_INT, 0, 0, 0, "1", NULL, "one" }, { NULL } },
	{ { "second", PURSER_KEY_INT, 0, 0, 0, "2", NULL, "two" }, { NULL } },
};

static int fix_schema(void *arg, const char *plugin, const char *dir, const purser_key **keys,
	uint32_t *n, uint32_t *stride, char *why, size_t whylen)
{
	static const struct { const char *name; const purser_key *keys; uint32_t n, stride; } all[] = {
		{ "redis", fix_redis, sizeof(fix_redis) / sizeof(*fix_redis), sizeof(purser_key) },
		{ "memory", fix_memory, sizeof(fix_memory) / sizeof(*fix_memory), sizeof(purser_key) },
		{ "needy", fix_needy, 1, sizeof(purser_key) },
		{ "odd", fix_odd, sizeof(fix_odd) / sizeof(*fix_odd), sizeof(purser_key) },
		{ "long", &fix_long[0].key, 2, sizeof(struct fix_long_key) },
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (strcmp(plugin, all[i].name) == 0) {
			*keys = all[i].keys;
			*n = all[i].n;
			*stride = all[i].stride;
			return 0;
		}
	}
	snprintf(why, whylen, "no such plugin in \"%s\"", dir);
	return -1;
}

static const char *const fix_modules[] = { "server", "backend", "health", NULL };
static char fix_dir[] = "/tmp/purser-config-XXXXXX";

static int fix_setup(void **state)
{
	(void)state;
	umask(077);
	return mkdtemp(fix_dir) != NULL && chdir(fix_dir) == 0 ? 0 : -1;
}

static int fix_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int fix_teardown(void **state)
{
	(void)state;
	return chdir("/") == 0 ? nftw(fix_dir, fix_remove, 8, FTW_DEPTH | FTW_PHYS) : -1;
}

static inline void fix_write(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static inline void fix_text(const char *path, const char *text)
{
	fix_write(path, text, strlen(text));
}

static inline struct cfg_inputs fix_inputs(void)
{
	return (struct cfg_inputs){ .path = "purser.ini", .system_path = "none.ini",
		.schema = fix_schema, .modules = fix_modules, .uid = 1000, .generation = 7 };
}

/* The complaints, one a line, in a static buffer. */
static inline const char *fix_said(const struct cfg_errors *e)
{
	static char said[65536];
	FILE *f = fmemopen(said, sizeof(said), "w");

	cfg_errors_print(f, e);
	fputc('\0', f);
	fclose(f);
	return said;
}

/* Loads; *c is NULL unless it is good.  Returns the complaints. */
static inline const char *fix_load(const struct cfg_inputs *in, struct cfg **c, int *rc)
{
	struct cfg_errors errors = { 0 };
	const char *said;

	*c = NULL;
	*rc = cfg_load(in, c, &errors);
	said = fix_said(&errors);
	assert_true((*rc == CFG_OK) == (*c != NULL));
	assert_true((*rc == CFG_OK) == (errors.nerrors == 0));
	cfg_errors_free(&errors);
	return said;
}

/* A file's text must load without a word; the caller drops the result. */
static inline struct cfg *fix_good(const char *text)
{
	struct cfg_inputs in = fix_inputs();
	struct cfg *c;
	const char *said;
	int rc;

	fix_text("purser.ini", text);
	said = fix_load(&in, &c, &rc);
	if (*said != '\0')
		fail_msg("said: %s", said);
	return c;
}
#endif
