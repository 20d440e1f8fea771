/* SPDX-License-Identifier: Apache-2.0 */
/* purserctl token: makes tokens, and edits the token file.  No agent needs to run; it reads the file when it
 * starts and at a reload. */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "access/token.h"
#include "config/cfg.h"
#include "config/value.h"
#include "ctl.h"

extern char **environ;

/* The file under edit: its directory is locked meanwhile, so that of two of us none loses a line. */
struct edit {
	const char *path;
	char dir[4096];
	const char *name;         /* in dir */
	int dirfd;
	struct stat was;          /* of the file; st_nlink 0: there is none yet */
	struct buf text;
	struct token_set *set;
};

/* ---- which file ---- */

/* --file, else [agent] token_file of the configuration.  Empty: none is configured. */
static int find_file(struct ctl *x, char *path, size_t len)
{
	struct cfg_inputs in = { .path = x->config, .env = (const char *const *)environ, .uid = geteuid() };
	struct cfg_errors e = { 0 };
	struct cfg *cfg = NULL;
	int rc = CTL_OK;

	*path = '\0';
	if (x->file) {
		if ((size_t)snprintf(path, len, "%s", x->file) >= len)
			return ctl_fail(x, CTL_USAGE, "--file: the path is too long");
		return CTL_OK;
	}
	if (cfg_load(&in, &cfg, &e) == CFG_OK)
		snprintf(path, len, "%s", cfg_text(cfg_one(cfg, CFG_AGENT), CFG_AGENT_TOKEN_FILE));
	else
		rc = ctl_fail(x, CTL_ERROR, "the configuration cannot be read to find [agent] token_file: purserctl "
		    "check says why; or name the file with --file PATH");
	cfg_errors_free(&e);
	cfg_unref(cfg);
	return rc;
}

static int need_file(struct ctl *x, char *path, size_t len)
{
	int rc = find_file(x, path, len);

	if (rc != CTL_OK || *path)
		return rc;
	return ctl_fail(x, CTL_USAGE, "no token file is configured: set [agent] token_file, or name it with --file PATH");
}

/* ---- reading and replacing it ---- */

static void edit_end(struct edit *e)
{
	token_set_free(e->set);
	buf_free(&e->text);
	if (e->dirfd >= 0)
		close(e->dirfd);
}

static int parsed(struct ctl *x, struct edit *e)
{
	struct buf why = { .max = 1 << 16 };
	int rc = CTL_OK;

	e->set = token_parse(e->path, (const char *)buf_data(&e->text), buf_len(&e->text), &why);
	if (!e->set) {
		if (buf_len(&why))
			why.end--; /* the last line's end */
		rc = ctl_fail(x, CTL_ERROR, "the token file has errors, and nothing was changed:\n%s", buf_cstr(&why));
	}
	buf_free(&why);
	return rc;
}

static int read_file(struct ctl *x, struct edit *e, bool may_be_new)
{
	int fd = openat(e->dirfd, e->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	ssize_t got = 1;

	e->text.max = TOKEN_FILE_MAX;
	if (fd < 0 && errno == ENOENT && may_be_new)
		return parsed(x, e);
	if (fd < 0)
		return ctl_fail(x, CTL_ERROR, "%s: %s%s", e->path, strerror(errno), errno == ELOOP ? ": it is a symbolic "
		    "link: name the file that it leads to" : "");
	if (fstat(fd, &e->was) || !S_ISREG(e->was.st_mode)) {
		close(fd);
		return ctl_fail(x, CTL_ERROR, "%s: it is not a regular file", e->path);
	}
	while (got && buf_room(&e->text, 65536) == 0) {
		got = read(fd, e->text.p + e->text.end, e->text.cap - e->text.end);
		if (got < 0 && errno != EINTR)
			break;
		e->text.end += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	if (got < 0 || e->text.failed)
		return ctl_fail(x, CTL_ERROR, "%s: %s", e->path, got < 0 ? strerror(errno) : "it is larger than 1 MiB");
	return parsed(x, e);
}

static int edit_begin(struct ctl *x, struct edit *e, const char *path, bool may_be_new)
{
	const char *slash = strrchr(path, '/');

	*e = (struct edit){ .path = path, .name = slash ? slash + 1 : path, .dirfd = -1 };
	snprintf(e->dir, sizeof e->dir, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : ".");
	e->dirfd = open(e->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (e->dirfd < 0 || flock(e->dirfd, LOCK_EX))
		return ctl_fail(x, CTL_ERROR, "%s: %s", e->dir, strerror(errno));
	return read_file(x, e, may_be_new);
}

static bool write_all(int fd, struct buf *b)
{
	while (buf_len(b)) {
		ssize_t n = write(fd, buf_data(b), buf_len(b));

		if (n < 0 && errno != EINTR)
			return false;
		buf_take(b, n > 0 ? (size_t)n : 0);
	}
	return true;
}

/* A new file beside it takes its place: whoever reads sees the old one or the new one, whole.  It keeps owner
 * and mode of the old one; a fresh one is 0600. */
static int replace(struct ctl *x, struct edit *e, struct buf *text)
{
	char tmp[512];
	int fd, rc = CTL_OK;

	if (text->failed)
		return ctl_fail(x, CTL_ERROR, "%s: the file would be larger than 1 MiB", e->path);
	snprintf(tmp, sizeof tmp, ".%.200s.%ld", e->name, (long)getpid());
	fd = openat(e->dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ctl_fail(x, CTL_ERROR, "%s: cannot make a new file beside it: %s", e->path, strerror(errno));
	if ((e->was.st_nlink && ((e->was.st_uid != geteuid() || e->was.st_gid != getegid()) &&
	    fchown(fd, e->was.st_uid, e->was.st_gid))) ||
	    (e->was.st_nlink && fchmod(fd, e->was.st_mode & 07777)) || !write_all(fd, text) || fsync(fd) ||
	    renameat(e->dirfd, tmp, e->dirfd, e->name) || fsync(e->dirfd)) {
		rc = ctl_fail(x, CTL_ERROR, "%s: cannot write it: %s", e->path, strerror(errno));
		unlinkat(e->dirfd, tmp, 0); /* it may have its new name already */
	}
	close(fd);
	return rc;
}

/* ---- make ---- */

struct wish {
	const char *name, *projects, *role;
	uint64_t expires_ms;
};

static uint64_t wall_ms(void)
{
	return (uint64_t)time(NULL) * 1000;
}

/* "90d", "12h", or a time as in the file. */
static int read_expiry(struct ctl *x, uint64_t *ms)
{
	static const struct value_rule rule = { VALUE_DURATION, INT64_C(1000000000), INT64_C(315360000000000000), NULL };
	const char *text = x->expires;
	size_t n = strlen(text), digits = strspn(text, "0123456789");
	struct value v;
	char why[200];

	if (token_time(text, n, ms) == 0) {
		if (*ms && *ms <= wall_ms())
			return ctl_fail(x, CTL_USAGE, "--expires %s: that is over", text);
		return CTL_OK;
	}
	if (digits && digits < 6 && strcmp(text + digits, "d") == 0) {
		*ms = wall_ms() + strtoull(text, NULL, 10) * UINT64_C(86400000);
		return strspn(text, "0") == digits ? ctl_fail(x, CTL_USAGE, "--expires 0d: that is over") : CTL_OK;
	}
	if (value_parse(&rule, text, &v, why, sizeof why) == 0) {
		*ms = wall_ms() + (uint64_t)(v.num / 1000000);
		return CTL_OK;
	}
	return ctl_fail(x, CTL_USAGE, "--expires %s: write 90d, 12h, 2027-01-31, 2027-01-31T00:00:00Z or never", text);
}

static int read_wish(struct ctl *x, struct wish *w)
{
	char why[200];
	int rc;

	*w = (struct wish){ .name = x->argv[1], .projects = x->argv[2], .role = x->argc > 3 ? x->argv[3] : "" };
	if (!token_name_ok(w->name, strlen(w->name)))
		return ctl_fail(x, CTL_USAGE, "%s: a token's name has 1 to 64 of a-z A-Z 0-9 . _ @ - and begins with a letter, "
		    "a digit, _ or @", w->name);
	if (token_projects_ok(w->projects, strlen(w->projects), why, sizeof why))
		return ctl_fail(x, CTL_USAGE, "%s", why);
	if (*w->role && (strspn(w->role, "abcdefghijklmnopqrstuvwxyz0123456789._-") != strlen(w->role) ||
	    strlen(w->role) > TOKEN_NAME_MAX))
		return ctl_fail(x, CTL_USAGE, "%s: a role is the NAME of a [role NAME]", w->role);
	rc = x->expires ? read_expiry(x, &w->expires_ms) : CTL_OK;
	return rc;
}

static int store(struct ctl *x, const struct wish *w, const char *path, const uint8_t *digest)
{
	struct buf text = { .max = TOKEN_FILE_MAX };
	struct edit e;
	int rc = edit_begin(x, &e, path, true);

	if (rc == CTL_OK && token_named(e.set, w->name))
		rc = ctl_fail(x, CTL_NO, "%s has a token %s already: choose another name, or revoke that one first", path,
		    w->name);
	if (rc == CTL_OK && e.set->n >= TOKENS_MAX)
		rc = ctl_fail(x, CTL_NO, "%s holds %u tokens, which is the most: revoke those that have expired", path, TOKENS_MAX);
	if (rc == CTL_OK) {
		size_t n = buf_len(&e.text);

		if (!n)
			buf_puts(&text, "# name sha256:digest projects role expires; purserctl token makes, lists and revokes\n");
		buf_put(&text, buf_data(&e.text), n);
		if (n && buf_data(&e.text)[n - 1] != '\n')
			buf_putc(&text, '\n');
		token_line(&text, w->name, digest, w->projects, w->role, w->expires_ms);
		rc = replace(x, &e, &text);
	}
	buf_free(&text);
	edit_end(&e);
	return rc;
}

static int show_made(struct ctl *x, const char *token, struct buf *line, const char *path)
{
	const char *text = buf_cstr(line);

	if (x->json)
		return print_json(json_pack("{s:s,s:s,s:s?}", "token", token, "line", text, "file", *path ? path : NULL));
	printf("%s\n", token);
	if (*path) {
		fflush(stdout);
		fprintf(stderr, "purserctl: the token is shown this once; its digest is in %s. purserctl reload lets the "
		    "agent know it\n", path);
	} else {
		printf("%s\n", text);
	}
	return CTL_OK;
}

static int make(struct ctl *x)
{
	struct buf line = { .max = TOKEN_LINE_MAX + 512 };
	uint8_t digest[TOKEN_DIGEST];
	char token[TOKEN_TEXT_MAX], path[4096];
	struct wish w;
	int rc = x->argc < 3 || x->argc > 4 ? ctl_fail(x, CTL_USAGE, "usage: purserctl token make NAME "
	    "PROJECT[,PROJECT...]|* [ROLE] [--expires TIME] [--file PATH]") : read_wish(x, &w);

	if (rc == CTL_OK)
		rc = find_file(x, path, sizeof path);
	if (rc != CTL_OK)
		return rc;
	if (token_make(token) || token_digest(token, strlen(token), digest))
		return ctl_fail(x, CTL_ERROR, "no random numbers: %s", strerror(errno));
	token_line(&line, w.name, digest, w.projects, w.role, w.expires_ms);
	line.end--; /* without the line's end */
	if (*path)
		rc = store(x, &w, path, digest);
	if (rc == CTL_OK)
		rc = show_made(x, token, &line, path);
	explicit_bzero(token, sizeof token);
	buf_free(&line);
	return rc;
}

/* ---- list, revoke ---- */

static int list(struct ctl *x)
{
	char path[4096], when[24];
	struct table t = { .cols = 5 };
	json_t *all = json_array();
	struct edit e = { .dirfd = -1 };
	int rc = x->argc != 1 ? ctl_fail(x, CTL_USAGE, "usage: purserctl token list [--file PATH]") :
	    need_file(x, path, sizeof path);

	if (rc == CTL_OK)
		rc = edit_begin(x, &e, path, false);
	if (rc != CTL_OK) {
		json_decref(all);
		edit_end(&e);
		return rc;
	}
	if (!x->json)
		table_row(&t, "NAME", "PROJECTS", "ROLE", "EXPIRES", "STATE");
	for (uint32_t i = 0; i < e.set->n; i++) {
		const struct token *k = &e.set->v[i];
		const char *state = token_expired(k, wall_ms()) ? "expired" : "valid";
		struct buf projects = { .max = TOKEN_LINE_MAX };
		json_t *names = json_array();

		for (uint32_t p = 0; p < k->nprojects; p++) {
			buf_printf(&projects, "%s%s", p ? "," : "", k->projects[p]);
			json_array_append_new(names, json_string(k->projects[p]));
		}
		if (k->any_project) {
			buf_putc(&projects, '*');
			json_array_append_new(names, json_string("*"));
		}
		token_time_text(k->expires_ms, when);
		json_array_append_new(all, json_pack("{s:s,s:o,s:s?,s:s?,s:s}", "name", k->name, "projects", names, "role",
		    *k->role ? k->role : NULL, "expires", k->expires_ms ? when : NULL, "state", state));
		if (!x->json && t.rows == sizeof t.cell / sizeof *t.cell) {
			table_print(&t, x);
			t = (struct table){ .cols = 5 };
		}
		if (!x->json)
			table_row(&t, k->name, buf_cstr(&projects), *k->role ? k->role : "-", when, state);
		buf_free(&projects);
	}
	edit_end(&e);
	if (x->json)
		rc = print_json(json_pack("{s:o}", "tokens", all));
	else
		json_decref(all);
	if (!x->json)
		table_print(&t, x);
	return rc;
}

/* The text without the lines of that number. */
static void without(struct buf *out, const struct buf *text, uint32_t line)
{
	const uint8_t *p = buf_data(text), *end = p + buf_len(text);

	for (uint32_t at = 1; p < end; at++) {
		const uint8_t *nl = memchr(p, '\n', (size_t)(end - p)), *next = nl ? nl + 1 : end;

		if (at != line)
			buf_put(out, p, (size_t)(next - p));
		p = next;
	}
}

static int take_back(struct ctl *x)
{
	struct buf text = { .max = TOKEN_FILE_MAX };
	const struct token *k;
	char path[4096];
	struct edit e = { .dirfd = -1 };
	int rc = x->argc != 2 ? ctl_fail(x, CTL_USAGE, "usage: purserctl token revoke NAME [--file PATH]") :
	    need_file(x, path, sizeof path);

	if (rc == CTL_OK)
		rc = edit_begin(x, &e, path, false);
	if (rc == CTL_OK) {
		k = token_named(e.set, x->argv[1]);
		if (k) {
			without(&text, &e.text, k->line);
			rc = replace(x, &e, &text);
		} else {
			rc = ctl_fail(x, CTL_NO, "%s has no token %s: purserctl token list shows those that it has", path, x->argv[1]);
		}
	}
	if (rc == CTL_OK && x->json)
		rc = print_json(json_pack("{s:s,s:s}", "revoked", x->argv[1], "file", path));
	else if (rc == CTL_OK)
		fprintf(stderr, "purserctl: %s is gone from %s. purserctl reload ends what is open with it\n", x->argv[1], path);
	buf_free(&text);
	edit_end(&e);
	return rc;
}

int cmd_token(struct ctl *x)
{
	const char *what = x->argv[0];

	if (strcmp(what, "make") == 0)
		return make(x);
	if (strcmp(what, "list") == 0)
		return list(x);
	if (strcmp(what, "revoke") == 0)
		return take_back(x);
	return ctl_fail(x, CTL_USAGE, "there is no purserctl token %s: there are make, list and revoke", what);
}
