/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets and clocks for the bench programs: see net.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

static int parse_unix(const char *path, struct net_addr *addr)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&addr->sa;
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(un->sun_path))
		return -1;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, len + 1);
	addr->len = sizeof(*un);
	return 0;
}

static int parse_tcp(const char *text, struct net_addr *addr)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&addr->sa;
	const char *colon = strrchr(text, ':');
	char host[64], *end;

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -1;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	long port = strtol(colon + 1, &end, 10);
	if (*end || end == colon + 1 || port < 1 || port > 65535)
		return -1;
	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)port);
	addr->len = sizeof(*in);
	const char *quad = strcmp(host, "localhost") ? host : "127.0.0.1";
	return inet_pton(AF_INET, quad, &in->sin_addr) == 1 ? 0 : -1;
}

int net_parse(const char *text, struct net_addr *addr)
{
	memset(addr, 0, sizeof(*addr));
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(text + 5, addr);
	return text[0] == '/' ? parse_unix(text, addr) : parse_tcp(text, addr);
}

static int open_socket(const struct net_addr *addr, int flags)
{
	int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), one = 1;

	if (fd >= 0 && addr->sa.ss_family == AF_INET)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int close_keeping_errno(int fd)
{
	int err = errno;

	close(fd);
	errno = err;
	return -1;
}

int net_connect(const struct net_addr *addr, int *pending)
{
	int fd = open_socket(addr, SOCK_NONBLOCK);

	*pending = 0;
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&addr->sa, addr->len) == 0)
		return fd;
	if (errno != EINPROGRESS)
		return close_keeping_errno(fd);
	*pending = 1;
	return fd;
}

int net_connect_wait(const struct net_addr *addr, int seconds)
{
	struct timeval limit = {.tv_sec = seconds};
	int fd = open_socket(addr, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&addr->sa, addr->len) < 0)
		return close_keeping_errno(fd);
	return fd;
}

int net_listen(const struct net_addr *addr)
{
	int fd = open_socket(addr, SOCK_NONBLOCK), one = 1;

	if (fd < 0)
		return -1;
	if (addr->sa.ss_family == AF_INET)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&addr->sa, addr->len) < 0 || listen(fd, 1024) < 0)
		return close_keeping_errno(fd);
	return fd;
}

static int send_all(int fd, const char *data, size_t len)
{
	for (size_t off = 0; off < len;) {
		ssize_t n = send(fd, data + off, len - off, MSG_NOSIGNAL);
		if (n <= 0)
			return -1;
		off += (size_t)n;
	}
	return 0;
}

long net_ask(int fd, const char *data, char *reply, size_t size,
	long (*whole)(const char *, size_t))
{
	size_t have = 0;

	if (send_all(fd, data, strlen(data)) < 0)
		return -1;
	while (have < size) {
		ssize_t n = recv(fd, reply + have, size - have, 0);
		if (n <= 0)
			return -1;
		have += (size_t)n;
		long done = whole(reply, have);
		if (done != 0)
			return done;
	}
	return -1;
}

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t net_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t net_cpu_ns(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void net_raise_nofile(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}
