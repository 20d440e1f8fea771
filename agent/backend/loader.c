/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/loader: find the file, look at it, open it, bring its table into this agent's shape. What
 * the table says is checked by backend/schema.
 */
#include <config.h>
#include "backend/loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/schema.h"

/* The sizes of the first version of the header: less than that was never built with one. */
#define PLUGIN_V1 (offsetof(purser_plugin, close) + sizeof(void *))
#define KEY_V1 (offsetof(purser_key, doc) + sizeof(void *))
#define OP_V1 (offsetof(purser_op, run) + sizeof(void *))
#define METRIC_V1 (offsetof(purser_metric, kind) + sizeof(uint32_t))
#define ELEMENTS_MAX 4096 /* settings, commands, metrics: more is a mistake */

/* ---- the file -------------------------------------------------------------------------------- */

/* 1: it is there and may be loaded; 0: there is none; -1: it must not be loaded, and why. */
static int file_check(const char *path, struct buf *err)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return 0;
		buf_printf(err, "plugin %s: %s", path, strerror(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		buf_printf(err, "plugin %s is not a regular file", path);
		return -1;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		buf_printf(err,
			"plugin %s belongs to user %u: only root (0) or the agent's own user (%u)"
			" may own a plugin",
			path, (unsigned)st.st_uid, (unsigned)geteuid());
		return -1;
	}
	if (st.st_mode & S_IWOTH) {
		buf_printf(err, "plugin %s is world-writable: chmod o-w %s", path, path);
		return -1;
	}
	return 1;
}

/* Try DIR/NAME.so; a name that was looked for in vain is appended to tried. */
static int dir_try(const char *dir, size_t n, const char *name, char path[PATH_MAX],
    struct buf *tried, struct buf *err)
{
	int rc;

	if (n == 0)
		return 0;
	if (snprintf(path, PATH_MAX, "%.*s/%s.so", (int)n, dir, name) >= PATH_MAX) {
		buf_printf(err, "plugin %s: a path of the search is too long", name);
		return -1;
	}
	rc = file_check(path, err);
	if (rc == 0)
		buf_printf(tried, "%s%s", buf_len(tried) ? ", " : "", path);
	return rc;
}

/* A purserd of a build tree (agent/purserd) has the plugins of that tree, whatever is installed. */
static int build_tree_try(const char *name, char path[PATH_MAX], struct buf *tried, struct buf *err)
{
	static const char tail[] = "/agent/purserd", plugins[] = "/plugins/.libs";
	char dir[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - sizeof plugins);
	size_t root;

	if (n < (ssize_t)sizeof tail || memcmp(dir + n - (sizeof tail - 1), tail, sizeof tail - 1) != 0)
		return 0;
	root = (size_t)n - (sizeof tail - 1);
	memcpy(dir + root, plugins, sizeof plugins);
	return dir_try(dir, root + sizeof plugins - 1, name, path, tried, err);
}

static int search(const char *name, const struct plugin_path *paths, char path[PATH_MAX],
    struct buf *tried, struct buf *err)
{
	const char *first[] = { paths ? paths->option : NULL, paths ? paths->key : NULL };
	const char *env = secure_getenv("PURSER_PLUGIN_PATH");
	int rc = 0;

	for (size_t i = 0; i < 2 && rc == 0; i++)
		if (first[i])
			rc = dir_try(first[i], strlen(first[i]), name, path, tried, err);
	while (env && rc == 0) {
		size_t n = strcspn(env, ":");

		rc = dir_try(env, n, name, path, tried, err);
		env = env[n] ? env + n + 1 : NULL;
	}
	if (rc == 0)
		rc = build_tree_try(name, path, tried, err);
	if (rc == 0)
		rc = dir_try(PLUGINDIR, strlen(PLUGINDIR), name, path, tried, err);
	return rc;
}

static int file_find(const char *name, const struct plugin_path *paths, char path[PATH_MAX],
    struct buf *err)
{
	struct buf tried = { .max = 64 << 10 };
	int rc;

	if (name[0] == '/') {
		rc = file_check(name, err);
		if (rc == 0)
			buf_printf(err, "plugin %s does not exist", name);
		if (rc > 0 && snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX) {
			buf_puts(err, "the plugin's path is too long");
			rc = -1;
		}
		return rc > 0 ? 0 : -1;
	}
	if (name[0] == '\0' || strchr(name, '/')) {
		buf_printf(err, "\"%s\" is no plugin: give a bare name (redis) or an absolute path",
			name);
		return -1;
	}
	rc = search(name, paths, path, &tried, err);
	if (rc == 0)
		buf_printf(err, "plugin \"%s\" not found; looked for %s (--plugin-dir, [agent] plugin_dir and"
		    " PURSER_PLUGIN_PATH name other places)", name, buf_cstr(&tried));
	buf_free(&tried);
	return rc > 0 ? 0 : -1;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* n elements of stride bytes each, as n elements of size bytes; NULL and a text on refusal. */
static void *reshape(const void *from, uint32_t n, uint32_t stride, size_t size, size_t least,
    const char *what, const char *path, struct buf *err)
{
	uint8_t *to;

	if (n > ELEMENTS_MAX) {
		buf_printf(
			err, "plugin %s declares %u %s: more than %u", path, n, what, ELEMENTS_MAX);
		return NULL;
	}
	if (n && (!from || stride < least || stride % sizeof(void *))) {
		buf_printf(err,
			"plugin %s: its array of %s is %s (%u elements, stride %u, at least %zu):"
			" set %s to sizeof the element",
			path, what, from ? "misshapen" : "NULL", n, stride, least, "the stride");
		return NULL;
	}
	to = calloc(n ? n : 1, size);
	if (!to) {
		buf_puts(err, "out of memory");
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++)
		memcpy(to + i * size, (const uint8_t *)from + (size_t)i * stride,
		    stride < size ? stride : size);
	return to;
}

static int reshape_all(struct plugin *pl, struct buf *err)
{
	purser_plugin *p = &pl->p;

	pl->keys = reshape(p->keys, p->nkeys, p->key_stride, sizeof(*pl->keys), KEY_V1, "settings",
	    pl->path, err);
	if (!pl->keys)
		return -1;
	pl->ops = reshape(p->ops, p->nops, p->op_stride, sizeof(*pl->ops), OP_V1, "commands",
	    pl->path, err);
	if (!pl->ops)
		return -1;
	pl->metrics = reshape(p->metrics, p->nmetrics, p->metric_stride, sizeof(*pl->metrics),
	    METRIC_V1, "metrics", pl->path, err);
	if (!pl->metrics)
		return -1;
	p->keys = pl->keys;
	p->key_stride = sizeof(*pl->keys);
	p->ops = pl->ops;
	p->op_stride = sizeof(*pl->ops);
	p->metrics = pl->metrics;
	p->metric_stride = sizeof(*pl->metrics);
	return 0;
}

/* What a plugin need not have. */
static int default_open(void *state, purser_ctx *x, void **cs, purser_error *e)
{
	(void)x;
	(void)e;
	*cs = state;
	return 0;
}
static void default_context(void *cs) { (void)cs; }
static void default_call(void *cs, purser_call *c, int why) { (void)cs, (void)c, (void)why; }
static void default_session(void *cs, purser_session *s, void *slot)
{
	(void)cs, (void)s, (void)slot;
}

static void fill_in(purser_plugin *p)
{
	if (!p->open)
		p->open = default_open;
	if (!p->flush)
		p->flush = default_context;
	if (!p->resume)
		p->resume = default_call;
	if (!p->cancel)
		p->cancel = default_call;
	if (!p->session_end)
		p->session_end = default_session;
	if (!p->drain)
		p->drain = default_context;
	if (!p->close)
		p->close = default_context;
}

int plugin_adopt(const purser_plugin *theirs, const char *path, struct plugin **out,
    struct buf *err)
{
	struct plugin *pl;
	uint32_t size;

	if (!theirs) {
		buf_printf(err, "plugin %s: purser_plugin_init() returned NULL", path);
		return -1;
	}
	size = theirs->struct_size;
	if (theirs->api != PURSER_API) { /* first: with another API the size means nothing */
		buf_printf(err,
			"plugin %s was built for plugin API %u, this agent has API %u: build it"
			" again with the purser/plugin.h of this agent",
			path, theirs->api, PURSER_API);
		return -1;
	}
	if (size < PLUGIN_V1) {
		buf_printf(err, "plugin %s: struct_size is %u, at least %zu are needed: set it to"
		    " sizeof(purser_plugin)", path, size, (size_t)PLUGIN_V1);
		return -1;
	}
	pl = calloc(1, sizeof(*pl));
	if (pl)
		pl->path = strdup(path);
	if (!pl || !pl->path) {
		buf_puts(err, "out of memory");
		plugin_free(pl);
		return -1;
	}
	memcpy(&pl->p, theirs, size < sizeof(pl->p) ? size : sizeof(pl->p));
	if (reshape_all(pl, err) < 0 || schema_check(pl, err) < 0) {
		plugin_free(pl);
		return -1;
	}
	fill_in(&pl->p);
	*out = pl;
	return 0;
}

void plugin_free(struct plugin *pl)
{
	if (!pl)
		return;
	free(pl->keys);
	free(pl->ops);
	free(pl->metrics);
	free(pl->path);
	free(pl);
}

/* ---- both ------------------------------------------------------------------------------------ */

int plugin_load(const char *name, const struct plugin_path *paths, struct plugin **out,
    struct buf *err)
{
	const purser_plugin *(*init)(void);
	char found[PATH_MAX], path[PATH_MAX];
	void *object, *symbol;

	if (file_find(name, paths, found, err) < 0)
		return -1;
	if (!realpath(found, path)) {
		buf_printf(err, "plugin %s: %s", found, strerror(errno));
		return -1;
	}
	/* Never closed: threads, thread-local data and release functions of it may live on. */
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!object) {
		buf_printf(err, "plugin %s cannot be loaded: %s", path, dlerror());
		return -1;
	}
	symbol = dlsym(object, "purser_plugin_init");
	if (!symbol) {
		buf_printf(err, "%s is not a Purser plugin: it has no purser_plugin_init"
		    " (end the source with PURSER_PLUGIN(table);)", path);
		return -1;
	}
	memcpy(&init, &symbol, sizeof(init)); /* ISO C has no cast from object to function */
	return plugin_adopt(init(), path, out, err);
}
