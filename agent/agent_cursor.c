/* SPDX-License-Identifier: Apache-2.0
 *
 * The secret of the cursors that clients see (access/cursor.h): kept in state_dir, so that who walks a key space
 * goes on after a restart.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent.h"

/* 0: it is read.  Else an errno; ENOENT: there is none yet. */
static int read_key(const char *path, void *dst, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW), rc = 0;
	struct stat st;
	ssize_t got;

	if (fd < 0)
		return errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
		rc = EPERM;
	got = rc ? 0 : read(fd, dst, n);
	if (!rc && got != (ssize_t)n)
		rc = got < 0 ? errno : EINVAL;
	close(fd);
	return rc;
}

/* Whole or not at all: another agent on the same directory may be doing the same, and then its key holds. */
static int write_key(const char *path, void *key, size_t n)
{
	char tmp[320];
	int fd, rc = 0;

	snprintf(tmp, sizeof tmp, "%s.%ld", path, (long)getpid());
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno;
	if (write(fd, key, n) != (ssize_t)n || fsync(fd))
		rc = errno ? errno : ENOSPC;
	close(fd);
	if (!rc && link(tmp, path))
		rc = errno == EEXIST ? read_key(path, key, n) : errno;
	unlink(tmp);
	return rc;
}

int agent_cursor_secret(struct agent *a)
{
	const char *dir = cfg_text(cfg_one(a->cfg, CFG_AGENT), CFG_AGENT_STATE_DIR);
	uint64_t key[2];
	char path[300];
	int rc;

	if (getrandom(a->cursor_secret, sizeof a->cursor_secret, 0) != (ssize_t)sizeof a->cursor_secret)
		return -1;
	if (!*dir)
		return 0;
	if (snprintf(path, sizeof path, "%s/cursor.key", dir) >= (int)sizeof path) {
		rc = ENAMETOOLONG;
	} else if ((rc = read_key(path, key, sizeof key)) == ENOENT) {
		memcpy(key, a->cursor_secret, sizeof key);
		if (mkdir(dir, 0700) == 0 || errno == EEXIST)
			rc = write_key(path, key, sizeof key);
		else
			rc = errno;
	}
	if (rc)
		log_event(a->log, LOG_M_MAIN, LOG_WARN, "cursor.key.unusable", "cursors of SCAN end with this run of the "
		    "agent: make [agent] state_dir a directory that the agent may write to, and cursor.key in it a file "
		    "of the agent's own with mode 0600", LOG_STR("path", path), LOG_STR("error", strerror(rc)));
	else
		memcpy(a->cursor_secret, key, sizeof key);
	explicit_bzero(key, sizeof key);
	return 0;
}
