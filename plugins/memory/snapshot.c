/* SPDX-License-Identifier: Apache-2.0
 *
 * When the snapshot is read and written, and who may: see snapshot.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "keyspace.h"
#include "snapshot.h"

static int refuse(purser_error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(purser_error *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return -1;
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A context without a thread's clocks. */
static int own_ctx(struct store *st, struct ctx *cx)
{
	struct timespec t;

	if (store_open_ctx(st, NULL, cx))
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &t);
	cx->now_ms = (uint64_t)clock_ms(CLOCK_REALTIME);
	cx->clock = (uint32_t)(((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec) >> CLOCK_SHIFT) & CLOCK_MASK;
	return 0;
}

/* ---- the path --------------------------------------------------------------------------------------------- */
static void beside(char to[PATH_MAX], const char *path, const char *ending) { snprintf(to, PATH_MAX, "%s%s", path, ending); }

/* *path is the setting, NULL: none. */
static int setting(struct store *st, char **path, purser_error *e)
{
	purser_bytes t = st->h->text(st->i, "snapshot");

	*path = NULL;
	if (!t.n)
		return 0;
	if (t.p[0] != '/' || t.p[t.n - 1] == '/' || t.n > PATH_MAX - 8)
		return refuse(e, "snapshot: the path of a file, from / on: %.120s", (const char *)t.p);
	*path = strdup((const char *)t.p);
	return *path ? 0 : refuse(e, "out of memory");
}

/* The descriptor, or -1 with *e filled. */
static int lock_path(const char *path, purser_error *e)
{
	char name[PATH_MAX];
	int fd, held;

	beside(name, path, ".lock");
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return refuse(e, "snapshot: %s: its directory must be there and let the agent write: %.140s", strerror(errno), name);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	held = errno == EWOULDBLOCK;
	close(fd);
	return refuse(e, held ? "snapshot: %s: another backend or another agent uses this file: each needs its own: %.110s" :
	    "snapshot: %s: %.180s", held ? "locked" : strerror(errno), name);
}

static void forget(struct snapshot *s)
{
	free(s->path);
	if (s->lock >= 0)
		close(s->lock);
	s->path = NULL;
	s->lock = -1;
}

/* ---- start ------------------------------------------------------------------------------------------------- */
static int load_file(struct store *st, struct ctx *cx, int fd, purser_error *e)
{
	struct snapshot *s = st->snapshot;
	int64_t from = clock_ms(CLOCK_MONOTONIC), max = atomic_load(&st->max_memory);
	struct snapshot_counts n;
	struct stat info;
	char why[160];
	uint64_t at;

	if (snapshot_read(cx, fd, &n, why, &at) || fstat(fd, &info))
		return refuse(e, "snapshot: byte %llu: %s; the file is as it was: put a good one in its place, or move it away to "
		    "start empty: %s", (unsigned long long)at, why, s->path);
	s->dev = (uint64_t)info.st_dev;
	s->ino = (uint64_t)info.st_ino;
	s->loaded = n.keys;
	s->expired = n.expired;
	st->h->log(st->i, PURSER_LOG_INFO, "snapshot read: %llu keys, %llu expired ones left out, %llu bytes, %lld ms: %s",
	    (unsigned long long)n.keys, (unsigned long long)n.expired, (unsigned long long)n.bytes,
	    (long long)(clock_ms(CLOCK_MONOTONIC) - from), s->path);
	if (n.empty)
		st->h->log(st->i, PURSER_LOG_WARN, "snapshot: %llu keys without a value are left out: %s",
		    (unsigned long long)n.empty, s->path);
	if (n.unsigned_file)
		st->h->log(st->i, PURSER_LOG_WARN, "snapshot: it was written without a checksum (rdbchecksum no): damage would not "
		    "have been seen: %s", s->path);
	if (over_limit(st))
		st->h->log(st->i, PURSER_LOG_WARN, "snapshot: its data take %lld bytes, max_memory is %lld: commands that need "
		    "memory evict first, or are refused", (long long)store_used(st), (long long)max);
	return 0;
}

static int load(struct store *st, purser_error *e)
{
	const char *path = st->snapshot->path;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
	struct ctx cx;

	if (fd < 0 && errno == ENOENT) {
		st->h->log(st->i, PURSER_LOG_INFO, "no snapshot yet: the store starts empty: %s", path);
		return 0;
	}
	if (fd < 0)
		return refuse(e, "snapshot: %s: %s", strerror(errno), path);
	if (own_ctx(st, &cx)) {
		close(fd);
		return refuse(e, "out of memory");
	}
	rc = load_file(st, &cx, fd, e);
	store_close_ctx(&cx);
	close(fd);
	return rc;
}

int snapshot_start(struct store *st, purser_error *e)
{
	struct snapshot *s = st->snapshot = malloc(sizeof(*s));

	if (!s)
		return refuse(e, "out of memory");
	*s = (struct snapshot){ .lock = -1, .next_lock = -1, .since = clock_ms(CLOCK_REALTIME) / 1000 };
	if (setting(st, &s->path, e))
		return -1;
	if (!s->path)
		return 0;
	s->lock = lock_path(s->path, e);
	if (s->lock >= 0 && load(st, e) == 0)
		return 0;
	forget(s);
	return -1;
}

/* ---- end ------------------------------------------------------------------------------------------------------- */
/* The directory knows the new name for good.  0, or an errno. */
static int sync_directory(const char *path)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, rc;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	rc = fsync(fd) ? errno : 0;
	close(fd);
	return rc;
}

/* All of it on the disk under another name, then under its own.  0, or an errno. */
static int save_file(struct ctx *cx, const char *path, struct snapshot_counts *n)
{
	char fresh[PATH_MAX];
	int fd, rc;

	beside(fresh, path, ".new");
	unlink(fresh); /* of an agent that was killed while it wrote */
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno;
	rc = snapshot_write(cx, fd, n);
	if (!rc && fsync(fd))
		rc = errno;
	if (close(fd) && !rc)
		rc = errno;
	if (!rc && rename(fresh, path))
		rc = errno;
	if (rc) {
		unlink(fresh);
		return rc;
	}
	return sync_directory(path);
}

void snapshot_save(struct store *st)
{
	int64_t from = clock_ms(CLOCK_MONOTONIC);
	struct snapshot *s = st->snapshot;
	struct snapshot_counts n = { 0 };
	struct ctx cx;
	int rc = ENOMEM;

	if (!s || !s->path)
		return;
	if (own_ctx(st, &cx) == 0) {
		rc = save_file(&cx, s->path, &n);
		store_close_ctx(&cx);
	}
	if (rc)
		st->h->log(st->i, PURSER_LOG_ERROR, "snapshot not written: %s; what the file held before is still there, what came "
		    "since is lost: %s", strerror(rc), s->path);
	else
		st->h->log(st->i, PURSER_LOG_INFO, "snapshot written: %llu keys, %llu bytes, %lld ms: %s",
		    (unsigned long long)n.keys, (unsigned long long)n.bytes, (long long)(clock_ms(CLOCK_MONOTONIC) - from),
		    s->path);
}

void snapshot_end(struct store *st)
{
	if (st->snapshot)
		forget(st->snapshot);
	free(st->snapshot);
	st->snapshot = NULL;
}

/* ---- reload ------------------------------------------------------------------------------------------------------ */
/* A file that this store has not read would be lost when it is written. */
static int foreign(const struct snapshot *s, const char *path, purser_error *e)
{
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : refuse(e, "snapshot: %s: %s", strerror(errno), path);
	if (s->ino && (uint64_t)st.st_dev == s->dev && (uint64_t)st.st_ino == s->ino)
		return 0;
	return refuse(e, "snapshot: the file is there, has not been read and would be overwritten: move it away, or restart to "
	    "read it: %s", path);
}

int snapshot_prepare(struct store *st, purser_error *e)
{
	struct snapshot *s = st->snapshot;
	char *path;

	snapshot_adopt(st, 0);
	if (setting(st, &path, e))
		return -1;
	if ((!path && !s->path) || (path && s->path && !strcmp(path, s->path))) {
		free(path);
		return 0;
	}
	if (path && ((s->next_lock = lock_path(path, e)) < 0 || foreign(s, path, e))) {
		free(path);
		snapshot_adopt(st, 0);
		return -1;
	}
	s->next = path ? path : strdup("");
	return s->next ? 0 : refuse(e, "out of memory");
}

void snapshot_adopt(struct store *st, int commit)
{
	struct snapshot *s = st->snapshot;

	if (commit && s->next) {
		forget(s);
		s->path = *s->next ? s->next : NULL;
		s->lock = s->next_lock;
		if (!s->path)
			free(s->next);
	} else {
		free(s->next);
		if (s->next_lock >= 0)
			close(s->next_lock);
	}
	s->next = NULL;
	s->next_lock = -1;
}
