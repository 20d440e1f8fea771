/* SPDX-License-Identifier: Apache-2.0 */
/* config/paths: where socket and state are when nobody says, and how a secret's file is read. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/inside.h"

enum { SOCKET_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) };

static const char root_dir[] = "/run/purser";

static void tmp_dir(uid_t uid, char *buf, size_t len)
{
	snprintf(buf, len, "/tmp/purser-%lu", (unsigned long)uid);
}

int cfg_default_socket(const char *const *env, uid_t uid, char *buf, size_t len, char *why,
	size_t whylen)
{
	const char *own = env_get(env, "PURSER_SOCKET"), *run = env_get(env, "XDG_RUNTIME_DIR");
	char dir[64];
	int n;

	tmp_dir(uid, dir, sizeof(dir));
	if (own != NULL)
		n = snprintf(buf, len, "%s", own);
	else if (uid == 0)
		n = snprintf(buf, len, "%s/purser.sock", root_dir);
	else if (run != NULL)
		n = snprintf(buf, len, "%s/purser.sock", run);
	else
		n = snprintf(buf, len, "%s/purser.sock", dir);
	if ((size_t)n < len && n < SOCKET_PATH_MAX)
		return 0;
	snprintf(why, whylen,
		"the path has %d bytes, and a socket's path at most %d: set %s to a shorter one",
		n, SOCKET_PATH_MAX - 1,
		own == NULL && uid != 0 && run != NULL ? "XDG_RUNTIME_DIR" : "PURSER_SOCKET");
	return -1;
}

static int refuse(char *why, size_t len, const char *dir, const char *what)
{
	snprintf(why, len, "%s %s", dir, what);
	return -1;
}

/* The directory of a socket that anybody could have made: only one of our own will do. */
static int check_own_dir(const char *dir, uid_t uid, char *why, size_t len)
{
	struct stat st;

	if (lstat(dir, &st) != 0)
		return refuse(why, len, dir,
			errno == ENOENT ? "does not exist: no agent of yours is running"
					: strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return refuse(why, len, dir, "is not a directory: remove it, or set PURSER_SOCKET");
	if (st.st_uid != uid)
		return refuse(why, len, dir,
			"belongs to somebody else: set PURSER_SOCKET to a path of yours");
	if ((st.st_mode & 077) != 0)
		return refuse(why, len, dir, "is open to others: chmod 700, or set PURSER_SOCKET");
	return 0;
}

/* Who may write to a directory replaces what is in it, unless it is sticky. */
bool open_to_all(const char *dir)
{
	struct stat st;

	return stat(dir, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & S_IWOTH) != 0 &&
	       (st.st_mode & S_ISVTX) == 0;
}

int cfg_socket_dir(const char *path, uid_t uid, bool create, char *why, size_t whylen)
{
	const char *slash = strrchr(path, '/');
	char own[64], dir[SOCKET_PATH_MAX + 1];
	bool tmp;

	if (slash == NULL || slash == path)
		return 0;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	tmp_dir(uid, own, sizeof(own));
	tmp = strcmp(dir, own) == 0;
	if (create && (tmp || strcmp(dir, root_dir) == 0) && mkdir(dir, tmp ? 0700 : 0755) != 0 &&
		errno != EEXIST) {
		snprintf(why, whylen, "cannot make %s: %s", dir, strerror(errno));
		return -1;
	}
	if (tmp)
		return check_own_dir(dir, uid, why, whylen);
	if (create && open_to_all(dir))
		return refuse(why, whylen, dir,
			"is writable by every user, who could put a socket of their own there: chmod o-w");
	return 0;
}

int default_state_dir(const char *const *env, uid_t uid, char *buf, size_t len)
{
	const char *unit = env_get(env, "STATE_DIRECTORY"), *state = env_get(env, "XDG_STATE_HOME");
	const char *home = env_get(env, "HOME");
	int n;

	if (unit != NULL && *unit == '/') /* systemd's; the first of several */
		n = snprintf(buf, len, "%.*s", (int)strcspn(unit, ":"), unit);
	else if (uid == 0)
		n = snprintf(buf, len, "/var/lib/purser");
	else if (state != NULL && *state == '/')
		n = snprintf(buf, len, "%s/purser", state);
	else if (home != NULL && *home == '/')
		n = snprintf(buf, len, "%s/.local/state/purser", home);
	else
		return -1;
	return (size_t)n < len ? 0 : -1;
}

ssize_t cfg_read_secret(const char *path, char *buf, size_t len, char *why, size_t whylen)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	size_t n = 0;
	ssize_t got = 1;

	if (fd < 0 || fstat(fd, &st) != 0) {
		snprintf(why, whylen, "cannot read it: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & S_IWOTH) != 0) {
		snprintf(why, whylen, "%s",
			S_ISREG(st.st_mode) ? "every user may write to it: chmod o-w"
					    : "it is not a regular file");
		close(fd);
		return -1;
	}
	while (got > 0 && n < len) {
		got = read(fd, buf + n, len - n);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			n += (size_t)got;
	}
	if (got < 0)
		snprintf(why, whylen, "cannot read it: %s", strerror(errno));
	close(fd);
	if (got < 0)
		return -1;
	if (n >= len || memchr(buf, '\0', n) != NULL) {
		explicit_bzero(buf, n);
		snprintf(why, whylen,
			n >= len ? "it has more than %zu bytes" : "there is a NUL byte in it",
			len - 1);
		return -1;
	}
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	if (n > 0 && buf[n - 1] == '\r')
		n--;
	buf[n] = '\0';
	return (ssize_t)n;
}

/* FNV-1a: says whether a secret has changed without keeping it. */
uint64_t text_digest(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return h;
}
