/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "access/token.h"

enum { FIELDS = 5, RANDOM_BYTES = 32 };
static const char digest_word[] = "sha256:";

/* ---- words ---- */

static bool in(const char *set, char c)
{
	return c && strchr(set, c);
}

static bool all_in(const char *set, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!in(set, p[i]))
			return false;
	return true;
}

bool token_name_ok(const char *name, size_t n)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-";

	return n >= 1 && n <= TOKEN_NAME_MAX && name[0] != '-' && name[0] != '.' && all_in(letters, name, n);
}

/* What a project is called (access/project.h); purserctl has this file without that room. */
static bool project_ok(const char *p, size_t n)
{
	return n >= 1 && n <= TOKEN_NAME_MAX && all_in("abcdefghijklmnopqrstuvwxyz0123456789._-", p, n);
}

int token_projects_ok(const char *text, size_t n, char *why, size_t whylen)
{
	uint32_t count = 0;

	if (n == 1 && *text == '*')
		return 0;
	for (size_t at = 0; at <= n; count++) {
		const char *comma = memchr(text + at, ',', n - at);
		size_t len = comma ? (size_t)(comma - text) - at : n - at;

		if (!project_ok(text + at, len)) {
			snprintf(why, whylen, "\"%.*s\" is no name of a project: names of 1 to 64 of a-z 0-9 . _ - with "
			    "commas between and no blanks, or *", (int)(len < 80 ? len : 80), text + at);
			return -1;
		}
		at += len + 1;
	}
	if (count > TOKEN_PROJECTS_MAX) {
		snprintf(why, whylen, "there are more than %u projects: write *, or use several tokens",
		    TOKEN_PROJECTS_MAX);
		return -1;
	}
	return 0;
}

/* Two digits, or more, as a number; -1: they are none. */
static int digits(const char *p, size_t n)
{
	int v = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		v = v * 10 + (p[i] - '0');
	}
	return v;
}

int token_time(const char *text, size_t n, uint64_t *ms)
{
	struct tm tm = { 0 }, back;
	time_t t;

	if (n == 5 && memcmp(text, "never", 5) == 0) {
		*ms = 0;
		return 0;
	}
	if ((n != 10 && n != 20) || text[4] != '-' || text[7] != '-')
		return -1;
	tm.tm_year = digits(text, 4) - 1900;
	tm.tm_mon = digits(text + 5, 2) - 1;
	tm.tm_mday = digits(text + 8, 2);
	if (n == 20) {
		if (text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z')
			return -1;
		tm.tm_hour = digits(text + 11, 2);
		tm.tm_min = digits(text + 14, 2);
		tm.tm_sec = digits(text + 17, 2);
	}
	if (tm.tm_year < 100 || tm.tm_mon < 0 || tm.tm_mday < 1 || tm.tm_hour < 0 || tm.tm_min < 0 || tm.tm_sec < 0)
		return -1;
	back = tm;
	t = timegm(&back); /* a thirtieth of February becomes another day */
	if (t <= 0 || back.tm_mon != tm.tm_mon || back.tm_mday != tm.tm_mday || back.tm_hour != tm.tm_hour ||
	    back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec)
		return -1;
	*ms = (uint64_t)t * 1000;
	return 0;
}

void token_time_text(uint64_t ms, char text[24])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	if (!ms || !gmtime_r(&t, &tm) || !strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &tm))
		memcpy(text, "never", 6);
}

/* ---- a line ---- */

struct reading {
	const char *file;
	uint32_t line;
	struct buf *why;
	bool bad;
};

static void wrong(struct reading *r, const char *what, const char *text, size_t n)
{
	r->bad = true;
	if (n)
		buf_printf(r->why, "%s:%u: %.*s: %s\n", r->file, r->line, (int)(n < 80 ? n : 80), text, what);
	else
		buf_printf(r->why, "%s:%u: %s\n", r->file, r->line, what);
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_digest(struct reading *r, struct token *t, const char *p, size_t n)
{
	size_t head = sizeof digest_word - 1;

	if (n == head + 2 * (size_t)TOKEN_DIGEST && memcmp(p, digest_word, head) == 0) {
		for (size_t i = 0; i < TOKEN_DIGEST; i++) {
			int high = hex(p[head + 2 * i]), low = hex(p[head + 2 * i + 1]);

			if (high < 0 || low < 0)
				break;
			t->digest[i] = (uint8_t)(high << 4 | low);
			if (i == TOKEN_DIGEST - 1)
				return;
		}
	}
	/* The word is not repeated: somebody may have put the token itself there. */
	wrong(r, "the second word must be sha256: and 64 digits of 0-9 a-f: purserctl token make prints such a line", "", 0);
}

/* text is the set's own: the commas become the ends of names. */
static void read_projects(struct reading *r, struct token *t, char *p, size_t n)
{
	char why[200];
	uint32_t count = 1;

	if (token_projects_ok(p, n, why, sizeof why)) {
		wrong(r, why, "", 0);
		return;
	}
	if (*p == '*') {
		t->any_project = true;
		return;
	}
	for (size_t i = 0; i < n; i++)
		count += p[i] == ',';
	t->projects = calloc(count, sizeof *t->projects);
	if (!t->projects) {
		wrong(r, "out of memory", "", 0);
		return;
	}
	p[n] = '\0';
	for (size_t at = 0; at < n; at += strlen(p + at) + 1) {
		size_t len = strcspn(p + at, ",");

		p[at + len] = '\0';
		t->projects[t->nprojects++] = p + at;
	}
}

/* line[0..n) is no comment and not empty; there is a byte behind it that may be written. */
static void read_line(struct reading *r, struct token_set *s, char *line, size_t n)
{
	struct { char *p; size_t n; } f[FIELDS];
	unsigned count = 0;
	struct token *t = &s->v[s->n];

	for (size_t at = 0; at < n;) {
		size_t len = 0;

		while (at + len < n && !in(" \t", line[at + len]))
			len++;
		if (len && count < FIELDS) {
			f[count].p = line + at;
			f[count].n = len;
		}
		count += len != 0;
		at += len + 1;
	}
	if (count != FIELDS) {
		wrong(r, "a line has five words: name, sha256:digest, projects, role or -, expiry or never", "", 0);
		return;
	}
	*t = (struct token){ .line = r->line };
	s->n++;
	if (token_name_ok(f[0].p, f[0].n))
		memcpy(t->name, f[0].p, f[0].n);
	else
		wrong(r, "a token's name has 1 to 64 of a-z A-Z 0-9 . _ @ - and begins with a letter, a digit, _ or @", f[0].p, f[0].n);
	read_digest(r, t, f[1].p, f[1].n);
	if (token_time(f[4].p, f[4].n, &t->expires_ms))
		wrong(r, "the expiry is a time as 2027-01-31T00:00:00Z (UTC), a day as 2027-01-31, or never", f[4].p, f[4].n);
	if (!project_ok(f[3].p, f[3].n))
		wrong(r, "a role is - or the NAME of a [role NAME]", f[3].p, f[3].n);
	else if (f[3].n != 1 || *f[3].p != '-')
		memcpy(t->role, f[3].p, f[3].n);
	read_projects(r, t, f[2].p, f[2].n); /* last: it writes into the text */
}

static void find_twins(struct reading *r, const struct token_set *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		for (uint32_t k = 0; k < i; k++) {
			r->line = s->v[i].line;
			if (strcmp(s->v[i].name, s->v[k].name) == 0)
				wrong(r, "another line has this name: each token needs its own", s->v[i].name, strlen(s->v[i].name));
			else if (memcmp(s->v[i].digest, s->v[k].digest, TOKEN_DIGEST) == 0)
				wrong(r, "another line has the same digest: one token cannot be two", s->v[i].name, strlen(s->v[i].name));
		}
	}
}

static bool count_lines(struct reading *r, struct token_set *s, size_t n)
{
	size_t lines = 1;

	for (size_t i = 0; i < n; i++)
		lines += s->text[i] == '\n';
	if (memchr(s->text, '\0', n)) {
		wrong(r, "there is a NUL byte in it: it is no token file", "", 0);
		return false;
	}
	s->v = calloc(lines < TOKENS_MAX ? lines : TOKENS_MAX, sizeof *s->v);
	if (!s->v)
		wrong(r, "out of memory", "", 0);
	return s->v;
}

struct token_set *token_parse(const char *file, const char *text, size_t n, struct buf *why)
{
	struct reading r = { .file = file, .why = why };
	struct token_set *s = calloc(1, sizeof *s);
	size_t at = 0;

	if (s)
		s->text = malloc(n + 1);
	if (!s || !s->text) {
		free(s);
		wrong(&r, "out of memory", "", 0);
		return NULL;
	}
	if (n)
		memcpy(s->text, text, n);
	s->text[n] = '\n';
	while (at < n && (s->v || count_lines(&r, s, n)) ) {
		char *p = s->text + at;
		size_t len = (size_t)((char *)memchr(p, '\n', n + 1 - at) - p), skip = 0, end = len;

		r.line++;
		at += len + 1;
		while (skip < end && in(" \t\r", p[skip]))
			skip++;
		while (end > skip && in(" \t\r", p[end - 1]))
			end--;
		if (end == skip || p[skip] == '#')
			continue;
		if (s->n == TOKENS_MAX) {
			wrong(&r, "a token file has at most 4096 tokens: remove those that have expired", "", 0);
			break;
		}
		if (len > TOKEN_LINE_MAX)
			wrong(&r, "the line is longer than 32768 bytes", "", 0);
		else
			read_line(&r, s, p + skip, end - skip);
	}
	if (!r.bad)
		find_twins(&r, s);
	if (!r.bad)
		return s;
	token_set_free(s);
	return NULL;
}

void token_set_free(struct token_set *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->n; i++)
		free(s->v[i].projects);
	free(s->v);
	free(s->text);
	free(s);
}

/* ---- the file ---- */

int token_file_ok(int fd, uid_t owner, char *why, size_t whylen)
{
	struct stat st;

	if (fstat(fd, &st)) {
		snprintf(why, whylen, "cannot look at it: %s", strerror(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, whylen, "it is not a regular file");
		return -1;
	}
	if (st.st_uid != 0 && st.st_uid != owner) {
		snprintf(why, whylen, "it belongs to user %u, who could let anybody in: chown it to root or to the agent's "
		    "user", (unsigned)st.st_uid);
		return -1;
	}
	if (st.st_mode & 027) { /* its group may read, no more */
		snprintf(why, whylen, "its mode is %04o: others may %s it: chmod 0600 or 0640",
		    (unsigned)(st.st_mode & 07777), st.st_mode & 022 ? "write to" : "read");
		return -1;
	}
	return 0;
}

static bool read_all(int fd, struct buf *b)
{
	ssize_t got = 1;

	while (got && buf_room(b, 65536) == 0) {
		got = read(fd, b->p + b->end, b->cap - b->end);
		if (got < 0 && errno != EINTR)
			return false;
		b->end += got > 0 ? (size_t)got : 0;
	}
	return !b->failed;
}

struct token_set *token_load(const char *path, uid_t owner, struct buf *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct buf b = { .max = TOKEN_FILE_MAX };
	struct token_set *s = NULL;
	char text[200];

	if (fd < 0)
		buf_printf(why, "%s: cannot read the token file: %s\n", path, strerror(errno));
	else if (token_file_ok(fd, owner, text, sizeof text))
		buf_printf(why, "%s: the token file is not used: %s\n", path, text);
	else if (!read_all(fd, &b))
		buf_printf(why, "%s: cannot read the token file: %s\n", path, b.failed ? "it is larger than 1 MiB" : strerror(errno));
	else
		s = token_parse(path, (const char *)buf_data(&b), buf_len(&b), why);
	if (fd >= 0)
		close(fd);
	buf_free(&b);
	return s;
}

/* ---- looking up ---- */

bool token_same(const uint8_t a[TOKEN_DIGEST], const uint8_t b[TOKEN_DIGEST])
{
	return CRYPTO_memcmp(a, b, TOKEN_DIGEST) == 0;
}

const struct token *token_find(const struct token_set *s, const uint8_t digest[TOKEN_DIGEST])
{
	const struct token *found = NULL;

	for (uint32_t i = 0; s && i < s->n; i++)
		if (token_same(s->v[i].digest, digest))
			found = &s->v[i];
	return found;
}

const struct token *token_again(const struct token_set *s, uint32_t at, const uint8_t digest[TOKEN_DIGEST])
{
	return s && at < s->n && token_same(s->v[at].digest, digest) ? &s->v[at] : token_find(s, digest);
}

const struct token *token_named(const struct token_set *s, const char *name)
{
	for (uint32_t i = 0; s && i < s->n; i++)
		if (strcmp(s->v[i].name, name) == 0)
			return &s->v[i];
	return NULL;
}

bool token_admits(const struct token *t, const char *project)
{
	if (t->any_project)
		return true;
	for (uint32_t i = 0; i < t->nprojects; i++)
		if (strcmp(t->projects[i], project) == 0)
			return true;
	return false;
}

/* ---- making ---- */

int token_digest(const void *p, size_t n, uint8_t digest[TOKEN_DIGEST])
{
	return EVP_Digest(n ? p : "", n, digest, NULL, EVP_sha256(), NULL) == 1 ? 0 : -1;
}

bool token_shaped(const void *p, size_t n)
{
	return n >= sizeof TOKEN_PREFIX - 1 && memcmp(p, TOKEN_PREFIX, sizeof TOKEN_PREFIX - 1) == 0;
}

int token_make(char text[TOKEN_TEXT_MAX])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t raw[RANDOM_BYTES + 1] = { 0 };
	size_t at = sizeof TOKEN_PREFIX - 1;

	if (getrandom(raw, RANDOM_BYTES, 0) != RANDOM_BYTES)
		return -1;
	memcpy(text, TOKEN_PREFIX, at);
	for (size_t i = 0; i < RANDOM_BYTES; i += 3) {
		uint32_t v = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | (i + 2 < RANDOM_BYTES ? raw[i + 2] : 0);

		for (int k = 18; k >= (i + 3 > RANDOM_BYTES ? 6 : 0); k -= 6)
			text[at++] = letters[v >> k & 63];
	}
	text[at] = '\0';
	explicit_bzero(raw, sizeof raw);
	return 0;
}

void token_line(struct buf *b, const char *name, const uint8_t digest[TOKEN_DIGEST], const char *projects,
    const char *role, uint64_t expires_ms)
{
	char when[24];

	token_time_text(expires_ms, when);
	buf_printf(b, "%s %s", name, digest_word);
	for (size_t i = 0; i < TOKEN_DIGEST; i++)
		buf_printf(b, "%02x", digest[i]);
	buf_printf(b, " %s %s %s\n", projects, *role ? role : "-", when);
}
