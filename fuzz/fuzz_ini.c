/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration reader: any bytes as purser.ini.  Lines that begin with "!set " are --set
 * arguments, those that begin with "!env " are variables of the environment; the rest is the file.
 *
 * What must hold: no crash; a load that fails says why; every complaint about the file names a line
 * that it has; what loads can be printed, and what is printed loads again with the same values.
 */
#include <config.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/cfg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIST_MAX = 16 };

static const purser_key keys[] = {
	{ "url", PURSER_KEY_URL, 0, 0, 0, "redis://127.0.0.1:6379/0", NULL, "where it is" },
	{ "password", PURSER_KEY_TEXT, PURSER_KEY_SECRET, 0, 0, NULL, NULL, "the secret" },
	{ "pool_max", PURSER_KEY_INT, PURSER_KEY_RELOADABLE, 1, 10000, "50", NULL, "links" },
	{ "max_memory", PURSER_KEY_SIZE, PURSER_KEY_RELOADABLE, 0, INT64_MAX, "100MiB", NULL,
		"limit" },
	{ "eviction", PURSER_KEY_ENUM, 0, 0, 0, "noeviction", "noeviction|allkeys-lru",
		"what goes" },
};

static int schema(void *arg, const char *plugin, const char *dir, const purser_key **out,
	uint32_t *n, uint32_t *stride, char *why, size_t whylen)
{
	(void)arg;
	(void)dir;
	if (strcmp(plugin, "redis") != 0 && strcmp(plugin, "memory") != 0) {
		snprintf(why, whylen, "not found");
		return -1;
	}
	*out = keys;
	*n = sizeof(keys) / sizeof(*keys);
	*stride = sizeof(*keys);
	return 0;
}

static void require(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

/* A file that has no name; its path is good as long as fd is open. */
static int file_of(const void *p, size_t n, char *path, size_t len)
{
	int fd = memfd_create("purser.ini", MFD_CLOEXEC);

	require(fd >= 0 && write(fd, p, n) == (ssize_t)n, "memfd");
	snprintf(path, len, "/proc/self/fd/%d", fd);
	return fd;
}

/* Complaints about lines are about lines that are there. */
static void check_errors(const struct cfg_errors *e, size_t lines, int rc)
{
	require((rc == CFG_OK) == (e->nerrors == 0), "the code and the complaints differ");
	for (size_t i = 0; i < e->n; i++) {
		require(*e->list[i].text != '\0', "an empty complaint");
		require(e->list[i].file != 0 || e->list[i].line <= lines,
			"a line that is not there");
	}
}

/* Prints it and loads that.  from_file: nothing came from elsewhere that a file might not hold. */
static void again(const struct cfg *c, bool from_file)
{
	struct cfg_errors errors = { 0 };
	struct cfg_changes changes = { 0 };
	struct cfg_inputs in = { .schema = schema, .uid = 1000 };
	struct cfg *copy = NULL;
	char path[64], *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int fd, rc;

	cfg_print(f, c);
	fclose(f);
	/* Lists of several lines are printed in one; secrets are not. */
	for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1)
		from_file &= strcspn(at, "\n") <= 197;
	from_file &= strstr(text, "= (secret)") == NULL && strstr(text, "***@") == NULL;
	fd = file_of(text, len, path, sizeof(path));
	in.path = path;
	rc = cfg_load(&in, &copy, &errors);
	if (from_file) {
		require(rc == CFG_OK, "what was printed does not load");
		require(cfg_diff(c, copy, &changes) == CFG_OK && changes.n == 0,
			"it is not the same");
		cfg_changes_free(&changes);
	}
	cfg_errors_free(&errors);
	cfg_unref(copy);
	close(fd);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *env[LIST_MAX + 1] = { NULL }, *sets[LIST_MAX];
	struct cfg_inputs in = { .schema = schema, .uid = 1000, .env = env, .sets = sets };
	struct cfg_errors errors = { 0 };
	struct cfg *c = NULL;
	size_t nenv = 0, len = 0, lines = 1;
	char *copy = malloc(size + 1), *file = malloc(size + 1), path[64];
	int fd, rc;

	require(copy != NULL && file != NULL, "no memory");
	memcpy(copy, data, size);
	copy[size] = '\0';
	for (size_t at = 0, n; at < size; at += n + 1) {
		const char *end = memchr(copy + at, '\n', size - at);

		n = end != NULL ? (size_t)(end - (copy + at)) : size - at;
		if (n > 5 && memcmp(copy + at, "!set ", 5) == 0 && in.nsets < LIST_MAX) {
			sets[in.nsets++] = copy + at + 5;
			copy[at + n] = '\0';
		} else if (n > 5 && memcmp(copy + at, "!env ", 5) == 0 && nenv < LIST_MAX) {
			env[nenv++] = copy + at + 5;
			copy[at + n] = '\0';
		} else {
			memcpy(file + len, data + at, n);
			len += n;
			if (end != NULL) {
				file[len++] = '\n';
				lines++;
			}
		}
	}
	fd = file_of(file, len, path, sizeof(path));
	in.path = path;
	rc = cfg_load(&in, &c, &errors);
	check_errors(&errors, lines, rc);
	if (rc == CFG_OK)
		again(c, nenv == 0 && in.nsets == 0);
	cfg_errors_free(&errors);
	cfg_unref(c);
	close(fd);
	free(copy);
	free(file);
	return 0;
}
