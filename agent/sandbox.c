/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sandbox is for this configuration: which paths it must reach, and what came of it.
 */
#include <config.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/dirs.h"
#include "base/buf.h"
#include "log/log.h"
#include "resp/json_text.h"
#include "sandbox.h"

/* ---- paths ---- */

static bool beneath(const struct sandbox_path *p, const char *path)
{
	size_t n = strlen(p->path);

	if (p->file || strncmp(p->path, path, n))
		return !strcmp(p->path, path);
	return n == 1 || path[n] == '\0' || path[n] == '/';
}

/* path is resolved.  False: there is no room for one more. */
static bool keep(struct sandbox *s, const char *path, enum cfg_path_use use, bool file)
{
	for (size_t i = 0; i < s->npaths; i++)
		if (s->paths[i].use == use && beneath(&s->paths[i], path))
			return true;
	if (s->npaths == SANDBOX_PATHS_MAX)
		return false;
	s->paths[s->npaths] = (struct sandbox_path){ .path = strdup(path), .use = (uint8_t)use, .file = file };
	return s->paths[s->npaths].path && ++s->npaths;
}

/* Directories that everybody's files are in: of one in there only that file is meant. */
static bool common(const char *dir)
{
	return !strcmp(dir, "/") || !strcmp(dir, "/dev") || !strncmp(dir, "/proc", 5);
}

/* The directory that a path is in, resolved; 0, or -1: there is none. */
static int parent(const char *path, char dir[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	char text[PATH_MAX];

	snprintf(text, sizeof text, "%.*s", slash ? slash == path ? 1 : (int)(slash - path) : 1, slash ? path : ".");
	return realpath(text, dir) ? 0 : -1;
}

/* Files are replaced by renaming another one over them, so it is their directory that must be reached; and
 * where a file is a symbolic link, the directory that it points into, too. */
static bool want(struct sandbox *s, const char *path, enum cfg_path_use use)
{
	char real[PATH_MAX], dir[PATH_MAX];
	struct stat st;
	bool there = realpath(path, real) != NULL, ok = true;

	if (use == CFG_PATH_WRITE_DIR)
		return !there || keep(s, real, CFG_PATH_WRITE, false);
	if (there && use == CFG_PATH_READ && stat(real, &st) == 0 && S_ISDIR(st.st_mode))
		return keep(s, real, use, false);
	if (parent(path, dir) == 0 && (use == CFG_PATH_WRITE || !common(dir)))
		ok = keep(s, dir, use, false);
	if (!there || use == CFG_PATH_SOCKET)
		return ok;
	if (parent(real, dir) == 0 && (use == CFG_PATH_WRITE || !common(dir)))
		return ok && keep(s, dir, use, false);
	return ok && keep(s, real, use, true);
}

struct wanting { struct sandbox *s; bool ok; };

static void want_configured(void *arg, const char *path, enum cfg_path_use use)
{
	struct wanting *w = arg;

	w->ok &= want(w->s, path, use);
}

/* What the C library, OpenSSL and the loader read: names, certificates, time, code.  /etc as a whole, because
 * resolv.conf and its like are replaced while the agent runs, and a rule is about what was there. */
static bool want_system(struct sandbox *s)
{
	static const char *const v[] = { "/etc", "/usr", "/lib", "/lib32", "/lib64", "/proc", "/dev/urandom", "/dev/random",
		"/sys/devices/system/cpu", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
		"/var/run/nscd" };
	char real[PATH_MAX];
	struct stat st;
	bool ok = want(s, "/etc/resolv.conf", CFG_PATH_READ);

	for (size_t i = 0; i < sizeof v / sizeof *v; i++)
		if (realpath(v[i], real) && stat(real, &st) == 0)
			ok &= keep(s, real, CFG_PATH_READ, !S_ISDIR(st.st_mode));
	return ok;
}

static bool want_directories(struct sandbox *s, const char *list)
{
	char dir[PATH_MAX], real[PATH_MAX];
	bool ok = true;

	for (size_t n; list && *list; list += n + (list[n] == ':')) {
		n = strcspn(list, ":");
		snprintf(dir, sizeof dir, "%.*s", (int)n, list);
		if (n && realpath(dir, real))
			ok &= keep(s, real, CFG_PATH_READ, false);
	}
	return ok;
}

/* A plugin that a later configuration names: from where plugins come (backend/loader.c), with its libraries. */
static bool want_plugins(struct sandbox *s, const char *option)
{
	static const char tail[] = "/agent/purserd";
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - sizeof tail);
	bool ok = want_directories(s, option);

	ok &= want_directories(s, secure_getenv("PURSER_PLUGIN_PATH"));
	ok &= want_directories(s, secure_getenv("LD_LIBRARY_PATH"));
	ok &= want_directories(s, PLUGINDIR);
	if (n < (ssize_t)sizeof tail || memcmp(exe + n - (sizeof tail - 1), tail, sizeof tail - 1))
		return ok;
	snprintf(exe + n - (sizeof tail - 1), sizeof tail, "/plugins");
	return ok && want_directories(s, exe);
}

bool sandbox_may(const void *arg, const char *path, enum cfg_path_use use)
{
	const struct sandbox *s = arg;
	char real[PATH_MAX], dir[PATH_MAX];

	if (!s->landlock || use == CFG_PATH_SOCKET)
		return true;
	if (!realpath(path, real)) {
		const char *slash = strrchr(path, '/');

		/* Not there yet: it would be made in its directory.  Without one there is nothing to tell. */
		if (parent(path, dir) || snprintf(real, sizeof real, "%s/%s", strcmp(dir, "/") ? dir : "",
		    slash ? slash + 1 : path) >= (int)sizeof real)
			return true;
	}
	for (size_t i = 0; i < s->npaths; i++)
		if ((s->paths[i].use == CFG_PATH_WRITE || (s->paths[i].use == CFG_PATH_READ && use == CFG_PATH_READ)) &&
		    beneath(&s->paths[i], real))
			return true;
	return false;
}

/* ---- closing ---- */

static bool gather(struct sandbox *s, const struct sandbox_inputs *in)
{
	const char *state_dir = cfg_text(cfg_one(in->cfg, CFG_AGENT), CFG_AGENT_STATE_DIR);
	struct wanting w = { s, true };

	/* It is made later, by whoever writes first; a rule needs it now.  What fails here health/state.c says when it
	 * writes. */
	if (*state_dir)
		(void)dirs_make(state_dir);
	cfg_each_path(in->cfg, want_configured, &w);
	return w.ok && want_plugins(s, in->plugin_dir) && want_system(s);
}

static void tell(const struct sandbox *s, struct log *log)
{
	char files[200], calls[200], kept[300];

	if (s->landlock)
		snprintf(files, sizeof files, "landlock %d", s->landlock);
	else
		snprintf(files, sizeof files, "not in force: %s", s->no_landlock);
	if (s->calls)
		snprintf(calls, sizeof calls, "%u allowed", s->calls);
	else
		snprintf(calls, sizeof calls, "not in force: %s", s->no_calls);
	if (s->kept)
		snprintf(kept, sizeof kept, "%llx, for %s", (unsigned long long)s->kept, s->kept_for);
	else
		snprintf(kept, sizeof kept, "none");
	log_event(log, LOG_M_MAIN, strcmp(sandbox_word(s), "partial") ? LOG_INFO : LOG_WARN, "agent.sandbox",
	    s->landlock && s->calls ? "sandboxed" : "sandboxed with what this machine has; [agent] sandbox = strict makes "
	    "what is missing an error", LOG_STR("files", files), LOG_STR("system_calls", calls),
	    LOG_STR("capabilities", kept), LOG_STR("core_dump", s->no_dump ? "no" : "yes"));
}

int sandbox_close(struct sandbox *s, const struct sandbox_inputs *in, char *why, size_t whylen)
{
	const struct cfg_section *agent = cfg_one(in->cfg, CFG_AGENT);
	int rc;

	s->mode = (int)cfg_int(agent, CFG_AGENT_SANDBOX);
	s->off = in->off ? "--no-sandbox" : s->mode == CFG_SANDBOX_OFF ? "[agent] sandbox = off" : NULL;
	if (s->off) {
		log_event(in->log, LOG_M_MAIN, LOG_WARN, "agent.sandbox", "not sandboxed", LOG_STR("because", s->off));
		return 0;
	}
	if (!gather(s, in)) {
		snprintf(why, whylen, "more than %d directories, or no memory: sandbox = off if there must be so many",
		    SANDBOX_PATHS_MAX);
		return -1;
	}
	if ((rc = rights_no_new_privs())) {
		snprintf(why, whylen, "no_new_privs: %s", strerror(-rc));
		return -1;
	}
	s->no_new_privs = true;
	if (!cfg_int(agent, CFG_AGENT_CORE_DUMP) && !(s->no_dump = rights_no_dump() == 0)) {
		snprintf(why, whylen, "core dumps cannot be forbidden: %s", strerror(errno));
		return -1;
	}
	if (rights_drop(s, why, whylen))
		return -1;
	files_close(s);
	rc = calls_close(s, cfg_text(agent, CFG_AGENT_SANDBOX_CALLS));
	if (rc == -2 || (s->mode == CFG_SANDBOX_STRICT && !(s->landlock && s->calls))) {
		snprintf(why, whylen, "%s%s%s%s", rc == -2 ? "" : "sandbox = strict, and a part is missing: ",
		    rc == -2 ? "" : s->no_landlock, rc != -2 && *s->no_landlock && *s->no_calls ? "; " : "", s->no_calls);
		return -1;
	}
	tell(s, in->log);
	return 0;
}

/* ---- what came of it ---- */

const char *sandbox_word(const struct sandbox *s)
{
	if (s->off || !s->no_new_privs)
		return "off";
	return s->landlock && s->calls ? "on" : "partial";
}

static void put(struct buf *b, const char *name, const char *text)
{
	buf_printf(b, ",\"%s\":", name);
	json_put_text(b, text, strlen(text));
}

void sandbox_json(const struct sandbox *s, struct buf *b)
{
	buf_printf(b, "{\"state\":\"%s\"", sandbox_word(s));
	if (s->off) {
		put(b, "because", s->off);
		buf_putc(b, '}');
		return;
	}
	buf_printf(b, ",\"no_new_privs\":%s,\"core_dump\":%s,\"landlock\":%d,\"system_calls\":%u,\"capabilities\":\"%llx\"",
	    s->no_new_privs ? "true" : "false", s->no_dump ? "false" : "true", s->landlock, s->calls,
	    (unsigned long long)s->kept);
	if (s->kept)
		put(b, "capabilities_for", s->kept_for);
	if (!s->landlock)
		put(b, "no_landlock", s->no_landlock);
	if (!s->calls)
		put(b, "no_system_calls", s->no_calls);
	buf_putc(b, '}');
}

void sandbox_free(struct sandbox *s)
{
	for (size_t i = 0; i < s->npaths; i++)
		free(s->paths[i].path);
	s->npaths = 0;
}
