/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config/reader: files become settings.  libinih splits lines into keys and values; what it would
 * cut, guess or pass over in silence is looked at here before it sees the line:
 *   - a line longer than its buffer, control characters, bytes that are not UTF-8;
 *   - an indented line, which continues the value above (only where a value is a list);
 *   - "[" without "]", words behind "]", a section or a key that stands there twice;
 *   - "key: value", a line that is neither, quotes and "#", which it would take as they are;
 *   - " ;" in a value, which begins a comment: fatal in a secret (load.c), and not taken off an
 *     indented line.
 * The section of a line is known here, not from libinih, which cuts names at 49 bytes.
 */
#include <config.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/inside.h"

enum { LINE_BYTES_MAX = 197 }; /* INI_MAX_LINE of libinih, less CR, LF and NUL */

struct reader {
	struct loader *ld;
	const char *at, *end;
	struct cfg_place place;
	struct cfg_section *section; /* NULL: none yet, or not one of ours */
	bool any_section;            /* a header was there, right or wrong */
	bool open_list, bad_key;     /* what an indented line may do: continue; was already said */
	bool continued, commented;   /* this line */
};

/* ---- one line -------------------------------------------------------------------------------- */

/* The length of the UTF-8 character at p[0..n), or 0. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80       ? 1
		     : p[0] >> 5 == 6  ? 2
		     : p[0] >> 4 == 14 ? 3
		     : p[0] >> 3 == 30 ? 4
				       : 0;
	uint32_t c = p[0];

	if (len <= 1 || len > n)
		return len > n ? 0 : len;
	c &= 0x7fu >> len;
	for (size_t i = 1; i < len; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

static bool clean_bytes(struct reader *r, const char *line, size_t n)
{
	if (n > LINE_BYTES_MAX) {
		load_error(r->ld, &r->place,
			"the line has %zu bytes, at most %d are read: put lists on several "
			"indented lines, and secrets into files",
			n, LINE_BYTES_MAX);
		return false;
	}
	for (size_t i = 0; i < n;) {
		size_t len = utf8_length((const unsigned char *)line + i, n - i);

		if (len == 0) {
			load_error(r->ld, &r->place, "byte %zu of the line is not UTF-8", i + 1);
			return false;
		}
		if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f) {
			load_error(r->ld, &r->place, "byte %zu of the line is a control character",
				i + 1);
			return false;
		}
		i += len;
	}
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Whether p[0..n) is nothing, blanks, or a comment behind them. */
static bool nothing_more(const char *p, size_t n)
{
	while (n > 0 && is_blank(*p)) {
		p++;
		n--;
	}
	return n == 0 || *p == ';' || *p == '#';
}

static bool header_line(struct reader *r, const char *line, size_t n)
{
	const char *close = memchr(line, ']', n);
	struct cfg_section *s;
	char title[LINE_BYTES_MAX + 1];

	r->any_section = true;
	r->section = NULL;
	r->open_list = r->bad_key = false;
	if (close == NULL) {
		load_error(r->ld, &r->place, "the section has no closing ]");
		return false;
	}
	snprintf(title, sizeof(title), "%.*s", (int)(close - line - 1), line + 1);
	if (!nothing_more(close + 1, n - (size_t)(close + 1 - line))) {
		load_error(r->ld, &r->place,
			"there is something behind [%s]: put it on a line of its own", title);
		return false;
	}
	s = load_title(r->ld, title, &r->place);
	if (s == NULL)
		return false;
	if (s->seen_line != 0 && s->seen_file == r->place.file)
		load_error(r->ld, &r->place,
			"[%s] is there already in line %u: put its keys together", title,
			s->seen_line);
	s->seen_file = r->place.file;
	s->seen_line = r->place.line;
	r->section = s;
	return true;
}

/* Where the comment behind the value p[0..n) begins: a blank, then ";".  n: there is none. */
static size_t comment_at(const char *p, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (p[i] == ';' && is_blank(p[i - 1]))
			return i;
	}
	return n;
}

static bool value_part(struct reader *r, const char *key, const char *p, size_t n)
{
	int row = r->section != NULL ? key_find(r->section->kind, key) : -1;
	bool secret = row >= 0 && (key_rows[row].flags & PURSER_KEY_SECRET) != 0;

	r->commented = comment_at(p, n) < n;
	while (n > 0 && is_blank(*p)) {
		p++;
		n--;
	}
	while (n > 0 && is_blank(p[n - 1]))
		n--;
	if (n >= 2 && (*p == '"' || *p == '\'') && p[n - 1] == *p) {
		load_error(r->ld, &r->place,
			"%s: quotes are not taken off: write the value without them", key);
		return false;
	}
	for (size_t i = 0; !secret && i + 1 < n; i++) {
		if (is_blank(p[i]) && p[i + 1] == ';')
			break;
		if (is_blank(p[i]) && p[i + 1] == '#') {
			load_error(r->ld, &r->place, "%s: a comment behind a value begins with ;",
				key);
			return false;
		}
	}
	return true;
}

static bool key_line(struct reader *r, const char *line, size_t n)
{
	size_t eq = 0, len;
	char key[LINE_BYTES_MAX + 1];

	r->open_list = false;
	r->bad_key = true;
	while (eq < n && line[eq] != '=' && line[eq] != ':')
		eq++;
	for (len = eq; len > 0 && is_blank(line[len - 1]); len--)
		;
	snprintf(key, sizeof(key), "%.*s", (int)len, line);
	if (eq == n || line[eq] == ':' || len == 0 || strpbrk(key, " \t;#\"'") != NULL) {
		load_error(r->ld, &r->place,
			"this is neither [section] nor key = value nor ; comment");
		return false;
	}
	if (!r->any_section) {
		load_error(r->ld, &r->place, "%s stands before the first [section]", key);
		return false;
	}
	if (r->section == NULL || !value_part(r, key, line + eq + 1, n - eq - 1))
		return false;
	r->bad_key = false;
	return true;
}

/* Whether libinih may have the line. */
static bool look_at(struct reader *r, const char *line, size_t n)
{
	size_t indent = 0;
	bool blank;

	r->continued = r->commented = false;
	if (n > 0 && line[n - 1] == '\r')
		n--;
	if (r->place.line == 1 && n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
		line += 3; /* libinih passes over it */
		n -= 3;
	}
	while (indent < n && is_blank(line[indent]))
		indent++;
	blank = indent == n || line[indent] == ';' || line[indent] == '#';
	if (!clean_bytes(r, line, n)) {
		r->open_list = false;
		r->bad_key = !blank;
		return false;
	}
	if (blank)
		return true;
	if (indent > 0) {
		r->continued = true;
		r->commented = comment_at(line, n) < n;
		if (!r->open_list && !r->bad_key)
			load_error(r->ld, &r->place,
				"the line is indented: only lists go on in further lines; begin "
				"keys and sections at the left edge");
		return r->open_list;
	}
	return *line == '[' ? header_line(r, line, n) : key_line(r, line, n);
}

/* ---- libinih's two callbacks ----------------------------------------------------------------- */

static char *next_line(char *str, int num, void *arg)
{
	struct reader *r = arg;
	const char *line = r->at;
	size_t n;

	if (r->at == r->end || r->ld->nomem)
		return NULL;
	r->at = memchr(line, '\n', (size_t)(r->end - line));
	n = (size_t)((r->at != NULL ? r->at : r->end) - line);
	r->at = r->at != NULL ? r->at + 1 : r->end;
	r->place.line++;
	if (!look_at(r, line, n) || n + 2 > (size_t)num)
		n = 0;
	memcpy(str, line, n);
	memcpy(str + n, "\n", 2);
	return str;
}

static bool already_there(struct reader *r, const char *key)
{
	for (size_t i = 0; i < r->ld->n; i++) {
		const struct setting *t = &r->ld->settings[i];

		if (t->section == r->section && t->place.source == FROM_FILE &&
			t->place.file == r->place.file && strcmp(t->key, key) == 0) {
			load_error(r->ld, &r->place, "%s is there already in line %u", key,
				t->place.line);
			return true;
		}
	}
	return false;
}

static int on_setting(void *arg, const char *section, const char *key, const char *text)
{
	struct reader *r = arg;
	struct loader *ld = r->ld;
	int row;

	(void)section;
	if (r->section == NULL || ld->nomem)
		return 1;
	if (r->continued) {
		struct setting *t = &ld->settings[ld->n - 1];
		size_t len = strlen(t->text), more = comment_at(text, strlen(text));
		char *joined = realloc(t->text, len + more + 2);

		if (joined == NULL) {
			ld->nomem = true;
			return 1;
		}
		joined[len] = ',';
		memcpy(joined + len + 1, text, more);
		joined[len + 1 + more] = '\0';
		t->text = joined;
		t->commented |= r->commented;
		return 1;
	}
	if (already_there(r, key) || !load_setting(ld, r->section, key, text, &r->place)) {
		r->bad_key = true;
		return 1;
	}
	ld->settings[ld->n - 1].commented = r->commented;
	row = key_find(r->section->kind, key);
	r->open_list = row >= 0 &&
		(key_rows[row].rule.type == VALUE_PAIRS || key_rows[row].rule.type == VALUE_MAP);
	return 1;
}

void read_text(struct loader *ld, uint32_t file, const char *text, size_t len)
{
	struct reader r = { .ld = ld, .at = text, .end = text + len,
		.place = { .source = FROM_FILE, .file = file } };

	ini_parse_stream(next_line, &r, on_setting, &r);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void cannot_read(struct loader *ld, const char *path, const char *why)
{
	bool shut = ld->in->may != NULL && !ld->in->may(ld->in->may_arg, path, CFG_PATH_READ);

	load_error(ld, NULL, "cannot read %s: %s%s", path, why, shut ? ": the sandbox was closed without it when "
		"the agent started: restart the agent for it" : "");
	ld->unreadable = true;
}

/* Reads fd to its end (it may be a pipe). */
static char *read_all(struct loader *ld, int fd, const char *path, size_t *len)
{
	char *text = malloc(FILE_BYTES_MAX + 1);
	ssize_t n = 1;

	*len = 0;
	ld->nomem |= text == NULL;
	while (text != NULL && n > 0) {
		n = read(fd, text + *len, FILE_BYTES_MAX + 1 - *len);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		*len += n > 0 ? (size_t)n : 0;
		if (n < 0 || *len > FILE_BYTES_MAX) {
			cannot_read(ld, path, n < 0 ? strerror(errno) : "larger than 1 MiB");
			free(text);
			return NULL;
		}
	}
	return text;
}

static bool add_file(struct loader *ld, const char *path)
{
	struct cfg *c = ld->cfg;

	if (c->nfiles == c->files_cap) {
		size_t cap = c->files_cap != 0 ? 2 * c->files_cap : 4;
		char **files = realloc(c->files, cap * sizeof(*files));

		if (files == NULL)
			return false;
		c->files = files;
		c->files_cap = cap;
	}
	c->files[c->nfiles] = strdup(path);
	if (c->files[c->nfiles] == NULL)
		return false;
	c->nfiles++;
	return true;
}

/* Who writes it chooses which plugins are loaded: it is the agent's user's and root's, nobody else's. */
static void check_owner(struct loader *ld, int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH) != 0)
		load_error(ld, NULL, "%s: every user may write to it: chmod o-w %s", path, path);
}

/* False only when there is no such file; other troubles are said. */
static bool read_file(struct loader *ld, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len;
	char *text;

	if (fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return false;
		cannot_read(ld, path, strerror(errno));
		return true;
	}
	check_owner(ld, fd, path);
	text = read_all(ld, fd, path, &len);
	close(fd);
	if (text == NULL)
		return true;
	if (add_file(ld, path))
		read_text(ld, (uint32_t)ld->cfg->nfiles - 1, text, len);
	else
		ld->nomem = true;
	explicit_bzero(text, len);
	free(text);
	return true;
}

static int is_ini(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 4 && strcmp(d->d_name + n - 4, ".ini") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* conf.d beside the main file. */
static void read_more(struct loader *ld, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[4096], file[4096 + 256];
	struct dirent **list;
	int n;

	if (snprintf(dir, sizeof(dir), "%.*sconf.d", slash != NULL ? (int)(slash - path + 1) : 0,
			path) >= (int)sizeof(dir))
		return;
	n = scandir(dir, &list, is_ini, by_name);
	if (n < 0) {
		if (errno == ENOMEM)
			ld->nomem = true;
		else if (errno != ENOENT && errno != ENOTDIR)
			cannot_read(ld, dir, strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", dir, list[i]->d_name);
		free(list[i]);
		if (!ld->nomem && !read_file(ld, file))
			cannot_read(ld, file, strerror(ENOENT));
	}
	free(list);
}

void read_files(struct loader *ld)
{
	const struct cfg_inputs *in = ld->in;
	const char *config_home = env_get(in->env, "XDG_CONFIG_HOME");
	const char *home = env_get(in->env, "HOME");
	char own[4096] = "";
	const char *path[3] = { own, in->system_path, NULL };

	if (config_home != NULL)
		snprintf(own, sizeof(own), "%s/purser/purser.ini", config_home);
	else if (home != NULL && in->uid != 0)
		snprintf(own, sizeof(own), "%s/.config/purser/purser.ini", home);
	if (path[1] == NULL)
		path[1] = SYSCONFDIR "/purser/purser.ini";
	if (in->path != NULL) {
		path[0] = in->path;
		path[1] = NULL;
	}
	for (int i = 0; path[i] != NULL; i++) {
		if (*path[i] == '\0' || !read_file(ld, path[i]))
			continue;
		ld->cfg->found = ld->cfg->nfiles > 0;
		if (ld->cfg->found && !ld->nomem)
			read_more(ld, path[i]);
		return;
	}
	if (in->path != NULL)
		cannot_read(ld, in->path, strerror(ENOENT));
}
