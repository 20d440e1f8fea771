/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/dirs.h"
#include "base/siphash.h"
#include "feature/job_file.h"
#include "resp/json_text.h"

#define HEAD "purser-job 1\n"
#define NAME_MAX_ 160u /* of a file */

static const uint64_t sum_key[2] = { UINT64_C(0x7075727365722d6a), UINT64_C(0x6f622d66696c6531) };

/* ---- text ---- */

static void put_text(struct buf *out, const char *field, const void *p, size_t n)
{
	buf_puts(out, field);
	buf_putc(out, ' ');
	base64_put(out, p, n);
	buf_putc(out, '\n');
}

static void put_number(struct buf *out, const char *field, uint64_t v)
{
	buf_printf(out, "%s %" PRIu64 "\n", field, v);
}

void job_file_write(const struct job *j, struct buf *out)
{
	size_t from = buf_len(out);

	buf_puts(out, HEAD);
	buf_printf(out, "id %s\nkind %s\nstate %s\nproject %s\nbackend %s\n", j->id, job_kind_name(j->kind),
	    job_state_name(j->state), j->project, j->backend);
	put_number(out, "db", j->db);
	put_number(out, "dry_run", j->dry_run);
	put_number(out, "cap", j->cap);
	put_number(out, "ttl_ms", (uint64_t)j->ttl_ms);
	put_number(out, "rate", j->rate);
	put_number(out, "uid", j->uid);
	put_number(out, "passes", j->passes);
	put_number(out, "resumed", j->resumed);
	put_number(out, "created_ms", j->created_ms);
	put_number(out, "started_ms", j->started_ms);
	put_number(out, "ended_ms", j->ended_ms);
	put_number(out, "active_ms", j->active_ms);
	put_number(out, "cursor", j->cursor);
	put_number(out, "walked", j->walked);
	put_number(out, "matched", j->matched);
	put_number(out, "changed", j->changed);
	put_number(out, "bytes", j->bytes);
	put_text(out, "store", j->store, strlen(j->store));
	put_text(out, "reason", j->reason, strlen(j->reason));
	put_text(out, "pattern", j->pattern, j->pattern_n);
	if (!out->failed)
		buf_printf(out, "sum %016" PRIx64 "\n", siphash(sum_key, buf_data(out) + from, buf_len(out) - from));
}

struct reading {
	const char *at, *end;
	const char *wrong;       /* the field that is not as it should be */
};

/* The value of the line "field value"; what follows is the next line's. */
static bool line(struct reading *r, const char *field, const char **v, size_t *n)
{
	size_t len = strlen(field);
	const char *nl = r->at < r->end ? memchr(r->at, '\n', (size_t)(r->end - r->at)) : NULL;

	if (r->wrong)
		return false;
	if (!nl || (size_t)(nl - r->at) < len + 1 || memcmp(r->at, field, len) || r->at[len] != ' ') {
		r->wrong = field;
		return false;
	}
	*v = r->at + len + 1;
	*n = (size_t)(nl - *v);
	r->at = nl + 1;
	return true;
}

static uint64_t number(struct reading *r, const char *field, uint64_t max)
{
	const char *v;
	uint64_t x = 0;
	size_t n;

	if (!line(r, field, &v, &n))
		return 0;
	for (size_t i = 0; i < n && !r->wrong; i++) {
		unsigned d = (unsigned)(v[i] - '0');

		if (d > 9 || x > (UINT64_MAX - d) / 10)
			r->wrong = field;
		else
			x = x * 10 + d;
	}
	if (n == 0 || x > max)
		r->wrong = field;
	return x;
}

/* As it stands there. */
static void plain(struct reading *r, const char *field, char *dst, size_t cap)
{
	const char *v;
	size_t n;

	*dst = '\0';
	if (!line(r, field, &v, &n))
		return;
	if (n >= cap || memchr(v, '\0', n)) {
		r->wrong = field;
		return;
	}
	memcpy(dst, v, n);
	dst[n] = '\0';
}

/* ... and its length; dst has a byte more than max. */
static uint32_t encoded(struct reading *r, const char *field, void *dst, size_t max)
{
	uint8_t raw[JOB_PATTERN_MAX + 4];
	const char *v;
	int64_t got;
	size_t n;

	if (!line(r, field, &v, &n))
		return 0;
	got = n / 4 * 3 <= sizeof raw ? base64_get(raw, v, n) : -1;
	if (got < 0 || (uint64_t)got > max) {
		r->wrong = field;
		return 0;
	}
	memcpy(dst, raw, (size_t)got);
	((uint8_t *)dst)[got] = '\0';
	return (uint32_t)got;
}

static void read_words(struct reading *r, struct job *j)
{
	char word[32];
	int known;

	plain(r, "id", j->id, sizeof j->id);
	if (!r->wrong && !job_id_ok(j->id, strlen(j->id)))
		r->wrong = "id";
	plain(r, "kind", word, sizeof word);
	known = job_kind_of(word);
	j->kind = (uint8_t)known;
	if (!r->wrong && known < 0)
		r->wrong = "kind";
	plain(r, "state", word, sizeof word);
	known = job_state_of(word);
	j->state = (uint8_t)known;
	if (!r->wrong && known < 0)
		r->wrong = "state";
	plain(r, "project", j->project, sizeof j->project);
	if (!r->wrong && !*j->project)
		r->wrong = "project";
	plain(r, "backend", j->backend, sizeof j->backend);
}

static void read_numbers(struct reading *r, struct job *j)
{
	j->db = (uint16_t)number(r, "db", UINT16_MAX);
	j->dry_run = number(r, "dry_run", 1) != 0;
	j->cap = number(r, "cap", 1) != 0;
	j->ttl_ms = (int64_t)number(r, "ttl_ms", (uint64_t)JOB_TTL_MAX_MS);
	j->rate = (uint32_t)number(r, "rate", JOB_RATE_MAX);
	j->uid = (uint32_t)number(r, "uid", UINT32_MAX);
	j->passes = (uint32_t)number(r, "passes", UINT32_MAX);
	j->resumed = (uint32_t)number(r, "resumed", UINT32_MAX);
	j->created_ms = number(r, "created_ms", INT64_MAX);
	j->started_ms = number(r, "started_ms", INT64_MAX);
	j->ended_ms = number(r, "ended_ms", INT64_MAX);
	j->active_ms = number(r, "active_ms", INT64_MAX);
	j->cursor = number(r, "cursor", UINT64_MAX);
	j->walked = number(r, "walked", INT64_MAX);
	j->matched = number(r, "matched", INT64_MAX);
	j->changed = number(r, "changed", INT64_MAX);
	j->bytes = number(r, "bytes", INT64_MAX);
}

int job_file_read(const char *text, size_t n, struct job *j, char *why, size_t whylen)
{
	struct reading r = { .at = text, .end = text + n };
	char sum[20], want[20];
	const char *from = text;

	memset(j, 0, sizeof *j);
	if (n < sizeof HEAD - 1 || memcmp(text, HEAD, sizeof HEAD - 1)) {
		snprintf(why, whylen, n ? "it does not begin as this version's" : "it is empty");
		return -1;
	}
	r.at += sizeof HEAD - 1;
	read_words(&r, j);
	read_numbers(&r, j);
	encoded(&r, "store", j->store, JOB_STORE_MAX);
	encoded(&r, "reason", j->reason, JOB_REASON_MAX);
	j->pattern_n = encoded(&r, "pattern", j->pattern, JOB_PATTERN_MAX - 1);
	if (!r.wrong)
		snprintf(want, sizeof want, "%016" PRIx64, siphash(sum_key, from, (size_t)(r.at - from)));
	plain(&r, "sum", sum, sizeof sum);
	if (!r.wrong && (strcmp(sum, want) || r.at != r.end))
		r.wrong = "sum";
	if (!r.wrong && job_over(j->state) != (j->ended_ms != 0))
		r.wrong = "ended_ms";
	if (!r.wrong)
		return 0;
	snprintf(why, whylen, "line \"%s\" is missing or wrong", r.wrong);
	return -1;
}

/* ---- names ---- */

void job_file_name(const struct job *j, const char *ending, char *dst, size_t cap)
{
	snprintf(dst, cap, "%s.%s@%s.%s", j->id, job_kind_name(j->kind), j->project, ending);
}

bool job_file_parse(const char *name, struct job *j, const char **ending)
{
	const char *at = strchr(name, '@'), *dot = strrchr(name, '.');
	char kind[16];
	int known;

	memset(j, 0, sizeof *j);
	if (strnlen(name, JOB_ID + 1) <= JOB_ID || !job_id_ok(name, JOB_ID) || name[JOB_ID] != '.' || !at || !dot ||
	    dot < at + 2 || (size_t)(dot - at) - 1 > JOB_NAME_MAX || (size_t)(at - name) - JOB_ID - 1 >= sizeof kind)
		return false;
	snprintf(kind, sizeof kind, "%.*s", (int)(at - name - (int)JOB_ID - 1), name + JOB_ID + 1);
	known = job_kind_of(kind);
	if (known < 0)
		return false;
	memcpy(j->id, name, JOB_ID);
	j->kind = (uint8_t)known;
	memcpy(j->project, at + 1, (size_t)(dot - at) - 1);
	*ending = dot + 1;
	return true;
}

void job_file_put_name(struct buf *out, const void *name, size_t n)
{
	if (utf8_valid(name, n)) {
		json_put_string(out, name, n);
	} else {
		buf_puts(out, "{\"base64\":\"");
		base64_put(out, name, n);
		buf_puts(out, "\"}");
	}
	buf_putc(out, '\n');
}

/* ---- on disk ---- */

int job_dir_open(const char *state_dir, bool make, int *dirfd)
{
	struct stat st;
	char path[4096];
	int fd, rc;

	*dirfd = -1;
	if (snprintf(path, sizeof path, "%s/jobs", state_dir) >= (int)sizeof path)
		return ENAMETOOLONG;
	rc = make && dirs_make(path) ? errno : 0;
	fd = rc ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return rc ? rc : errno;
	/* Names of keys stand in it: nobody else's directory, and nobody else reads it. */
	if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 077)) {
		close(fd);
		return EPERM;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		rc = errno == EWOULDBLOCK ? EBUSY : errno;
		close(fd);
		return rc;
	}
	*dirfd = fd;
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? errno : ENOSPC;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

int job_file_save(int dirfd, const struct job *j)
{
	char name[NAME_MAX_], fresh[NAME_MAX_];
	struct buf b = { .max = JOB_FILE_MAX };
	int fd, rc;

	job_file_name(j, "job", name, sizeof name);
	job_file_name(j, "new", fresh, sizeof fresh);
	job_file_write(j, &b);
	if (b.failed) {
		buf_free(&b);
		return ENOMEM;
	}
	fd = openat(dirfd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	rc = fd < 0 ? errno : write_all(fd, buf_data(&b), buf_len(&b));
	buf_free(&b);
	if (!rc && fsync(fd))
		rc = errno;
	if (fd >= 0 && close(fd) && !rc)
		rc = errno;
	if (!rc && (renameat(dirfd, fresh, dirfd, name) || fsync(dirfd)))
		rc = errno;
	if (rc && fd >= 0)
		unlinkat(dirfd, fresh, 0);
	return rc;
}

void job_file_remove(int dirfd, const struct job *j)
{
	static const char *const endings[] = { "job", "names", "new", "bad" };
	char name[NAME_MAX_];

	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
		job_file_name(j, endings[i], name, sizeof name);
		unlinkat(dirfd, name, 0);
	}
}

/* 0 and all of it in text, or an errno. */
static int read_all(int dirfd, const char *name, char *text, size_t cap, size_t *n)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), rc = 0;
	struct stat st;
	ssize_t got = 0;

	if (fd < 0)
		return errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > cap)
		rc = EINVAL;
	else if ((got = read(fd, text, cap)) < 0)
		rc = errno;
	close(fd);
	*n = (size_t)(got < 0 ? 0 : got);
	return rc;
}

/* name is the job's that its name says.  damaged: NULL, or what is wrong with it. */
static void load(int dirfd, const char *name, struct job *j, char *why, size_t whylen, const char **damaged)
{
	struct job told = *j;
	char text[JOB_FILE_MAX], aside[NAME_MAX_];
	size_t n = 0;
	int rc = read_all(dirfd, name, text, sizeof text, &n);

	*damaged = NULL;
	if (rc)
		snprintf(why, whylen, "%s", strerror(rc));
	else if (job_file_read(text, n, j, why, whylen) == 0) {
		if (strcmp(j->id, told.id) == 0 && j->kind == told.kind && strcmp(j->project, told.project) == 0)
			return;
		snprintf(why, whylen, "it is another job's than its name says");
	}
	*damaged = why;
	*j = told;
	j->state = JOB_FAILED;
	j->ended_ms = j->created_ms = strtoull(j->id, NULL, 16) >> 20;
	snprintf(j->reason, sizeof j->reason, "its state file was damaged (%s): start it again", why);
	job_file_name(j, "bad", aside, sizeof aside);
	if (renameat(dirfd, name, dirfd, aside)) /* then it is found damaged again */
		return;
}

int job_files_each(int dirfd, void (*fn)(void *arg, const struct job *j, const char *damaged), void *arg)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct job *j = malloc(sizeof *j);
	struct dirent *e;
	uint32_t n = 0;
	int rc = 0;

	if (!d || !j) {
		rc = j ? errno : ENOMEM;
		if (d)
			closedir(d);
		else if (fd >= 0)
			close(fd);
		free(j);
		return rc;
	}
	while (n < JOB_FILES_MAX && (errno = 0, e = readdir(d))) {
		const char *ending, *damaged;
		char why[160];

		if (!job_file_parse(e->d_name, j, &ending))
			continue;
		if (strcmp(ending, "new") == 0)
			unlinkat(dirfd, e->d_name, 0); /* half of a save: the one before it holds */
		if (strcmp(ending, "job"))
			continue;
		load(dirfd, e->d_name, j, why, sizeof why, &damaged);
		fn(arg, j, damaged);
		n++;
	}
	rc = n < JOB_FILES_MAX ? errno : EMFILE;
	closedir(d);
	free(j);
	return rc;
}

/* ---- exports ---- */

int job_names_open(int dirfd, const struct job *j, int *out)
{
	char name[NAME_MAX_];
	int fd, rc;

	job_file_name(j, "names", name, sizeof name);
	*out = -1;
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno;
	/* What stands behind belongs to a cursor that was never saved. */
	if (ftruncate(fd, (off_t)j->bytes) || lseek(fd, (off_t)j->bytes, SEEK_SET) != (off_t)j->bytes) {
		rc = errno;
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

int job_names_sync(int fd)
{
	return fdatasync(fd) ? errno : 0;
}

int job_names_append(int fd, const struct buf *lines)
{
	return write_all(fd, buf_data(lines), buf_len(lines));
}

int64_t job_names_read(int dirfd, const struct job *j, uint64_t offset, void *dst, size_t cap)
{
	char name[NAME_MAX_];
	ssize_t got;
	int fd;

	if (offset >= j->bytes)
		return 0;
	if (cap > j->bytes - offset)
		cap = (size_t)(j->bytes - offset);
	job_file_name(j, "names", name, sizeof name);
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	got = pread(fd, dst, cap, (off_t)offset);
	if (got < 0)
		got = -errno;
	close(fd);
	while (got > 0 && ((const char *)dst)[got - 1] != '\n')
		got--;
	return got;
}
