/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "access/peer.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Two system calls where there are groups: how many, and which. */
static int read_groups(int fd, struct peer *p)
{
	socklen_t n = 0;
	uint32_t *v;

	_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "groups are 32 bits wide");
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &n) == 0)
		return 0; /* none */
	if (errno != ERANGE)
		return -1;
	v = malloc(n);
	if (!v)
		return -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, v, &n)) {
		free(v);
		return -1;
	}
	p->groups = v;
	p->ngroups = (uint32_t)(n / sizeof *v);
	qsort(v, p->ngroups, sizeof *v, ascending);
	return 0;
}

int peer_read(int fd, struct peer *p)
{
	struct ucred u;
	socklen_t n = sizeof u;

	*p = PEER_NOBODY;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &n) || n != sizeof u || u.uid == UINT32_MAX)
		return -1;
	if (read_groups(fd, p))
		return -1;
	p->pid = (uint32_t)u.pid;
	p->uid = u.uid;
	p->gid = u.gid;
	return 0;
}

void peer_free(struct peer *p)
{
	free(p->groups);
	*p = PEER_NOBODY;
}

bool peer_in_group(const struct peer *p, uint32_t gid)
{
	if (!peer_known(p) || gid == UINT32_MAX)
		return false;
	return p->gid == gid || (p->ngroups && bsearch(&gid, p->groups, p->ngroups, sizeof gid, ascending));
}

/* ---- display ---- */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static ssize_t read_proc(uint32_t pid, const char *name, char *text, size_t len)
{
	char path[48];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%u/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, len - 1);
	close(fd);
	if (n < 0)
		return -1;
	text[n] = '\0';
	return n;
}

/* When the process began, as nanoseconds of CLOCK_MONOTONIC; UINT64_MAX: nobody can tell.  The 22nd word of its
 * stat, in ticks since boot; the second one, its name, may have anything in it. */
static uint64_t began_ns(uint32_t pid)
{
	uint64_t asleep = clock_ns(CLOCK_BOOTTIME) - clock_ns(CLOCK_MONOTONIC), ns;
	long tick = sysconf(_SC_CLK_TCK);
	char text[1024], *p;

	if (tick <= 0 || read_proc(pid, "stat", text, sizeof text) <= 0)
		return UINT64_MAX;
	p = strrchr(text, ')');
	for (int word = 2; p && word < 22; word++)
		p = strchr(p + 1, ' ');
	if (!p)
		return UINT64_MAX;
	ns = strtoull(p, NULL, 10) * (UINT64_C(1000000000) / (uint64_t)tick);
	return ns > asleep ? ns - asleep : 0;
}

/* The descriptor of the process that connected; where the kernel cannot say (before 6.5), of the one that has its
 * number now, if that is not younger than the connection.  -1: it is gone. */
static int open_process(int fd, uint32_t pid, uint64_t accepted_ns)
{
	socklen_t n = sizeof(int);
	int pidfd = -1;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) == 0)
		return pidfd;
	if (errno != ENOPROTOOPT)
		return -1;
	pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (pidfd >= 0 && began_ns(pid) > accepted_ns) {
		close(pidfd);
		return -1;
	}
	return pidfd;
}

bool peer_executable(int fd, uint32_t pid, uint64_t accepted_ns, char *text, size_t len)
{
	struct pollfd p = { .events = POLLIN };
	char path[48];
	ssize_t n;

	*text = '\0';
	if (!pid || pid == UINT32_MAX || len < 32)
		return false;
	p.fd = open_process(fd, pid, accepted_ns);
	if (p.fd < 0)
		return false;
	snprintf(path, sizeof path, "/proc/%u/exe", pid);
	n = readlink(path, text, len - 1);
	if (n >= 0) {
		text[n] = '\0';
	} else { /* another user's: the name is all there is, and the process chooses that */
		n = read_proc(pid, "comm", text + 1, len - 2);
		text[0] = '[';
		if (n > 0 && text[n] == '\n')
			text[n] = ']';
	}
	/* Alive until now: so it was this process, not another with its number, that was looked at. */
	if (n <= 0 || poll(&p, 1, 0) != 0)
		*text = '\0';
	close(p.fd);
	return *text;
}
