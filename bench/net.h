/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets and clocks for the bench programs. They share no code with the agent on purpose: the
 * generator is a witness, and a witness must not inherit the fault it is to find.
 *
 * An address is "unix:/path", "/path" or "HOST:PORT" (HOST a dotted quad or "localhost").
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct net_addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* 0, or -1 when the text is no address. */
int net_parse(const char *text, struct net_addr *addr);

/*
 * A connected or connecting non-blocking socket, or -1 with errno set: EAGAIN when the backlog of a
 * Unix socket is full (try again later). *pending is set to 1 when a TCP connect is still under way.
 */
int net_connect(const struct net_addr *addr, int *pending);

/* A blocking socket whose reads and writes give up after seconds, or -1 with errno set. */
int net_connect_wait(const struct net_addr *addr, int seconds);

/* A non-blocking listener, or -1 with errno set. A Unix path must not exist. */
int net_listen(const struct net_addr *addr);

/*
 * Writes the string data and reads until whole(reply, length) is not 0 (a length, or -1 for nonsense).
 * Returns what whole returned, or -1 when the peer is gone, silent, or says more than size bytes.
 */
long net_ask(int fd, const char *data, char *reply, size_t size,
	long (*whole)(const char *, size_t));

uint64_t net_now_ns(void); /* monotonic */
uint64_t net_cpu_ns(void); /* user and system time of this process */

/* Lets this process open as many descriptors as the hard limit allows. */
void net_raise_nofile(void);

#endif
