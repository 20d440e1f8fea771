/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor - what the kernel alone charges: the least that a server or a proxy with this architecture can
 * do, so that the figures of a real one can be given as a ratio to it.
 *
 *   floor LISTEN                 answers GET MGET SET MSET PING with canned replies, never looking at keys
 *   floor --upstream U LISTEN    passes requests and replies through one connection to U, untouched
 *
 * One thread, epoll, one read and one write a turn and connection; the proxy gathers the turn's
 * requests (and those that came meanwhile) into one write upstream. Ends on SIGTERM; not for real use.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net.h"

#define EVENTS 512
#define SCRATCH 262144

struct bytes {
	char *data; /* owned */
	size_t len, cap, off;
};

struct peer {
	int fd; /* -1 when closed */
	bool dirty, want_out;
	struct bytes in, out;
	unsigned owed; /* replies under way for this client */
};

struct floor {
	int ep, listener;
	struct peer *upstream; /* NULL: answer ourselves */
	struct peer **dirty;   /* owned; peers with output of this turn */
	size_t dirty_len, dirty_cap;
	struct peer **fifo; /* owned; whose replies come next, a ring */
	size_t fifo_head, fifo_len, fifo_cap;
	char *value; /* owned; "$N\r\n...\r\n" */
	size_t value_len;
	char *rx; /* owned; SCRATCH bytes */
};

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	(void)sig;
	stopping = 1;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(EXIT_FAILURE);
}

static void *grow(void *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		die("memory");
	return p;
}

static void append(struct bytes *b, const char *data, size_t len)
{
	if (b->len + len > b->cap) {
		b->cap = (b->len + len) * 2;
		b->data = grow(b->data, b->cap);
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

/* --- scanning: no more than is needed to find where a value ends ----------------------------- */

static const char *scan_line(const char *p, const char *end, long *number)
{
	unsigned long n = 0;
	bool negative = false;

	for (p++; p + 1 < end; p++) {
		if (*p == '\r') {
			*number = negative ? -1 : (long)n;
			return p + 2;
		}
		negative |= *p == '-';
		n = n * 10 + (unsigned long)(*p - '0');
	}
	return NULL;
}

/* The end of the RESP value at p, or NULL when it is not whole. */
static const char *scan(const char *p, const char *end)
{
	for (long todo = 1; todo > 0; todo--) {
		char type = p < end ? *p : '\0';
		long n = 0;
		p = type ? scan_line(p, end, &n) : NULL;
		if (!p)
			return NULL;
		if (type == '*' && n > 0)
			todo += n;
		if (type != '$' || n < 0)
			continue;
		if (end - p < n + 2)
			return NULL;
		p += n + 2;
	}
	return p;
}

/* --- output -------------------------------------------------------------------------------- */

static void mark_dirty(struct floor *f, struct peer *p)
{
	if (p->dirty)
		return;
	if (f->dirty_len == f->dirty_cap) {
		f->dirty_cap = f->dirty_cap ? f->dirty_cap * 2 : 64;
		f->dirty = grow(f->dirty, f->dirty_cap * sizeof(struct peer *));
	}
	f->dirty[f->dirty_len++] = p;
	p->dirty = true;
}

static void want_out(struct floor *f, struct peer *p, bool on)
{
	struct epoll_event ev = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = p};

	if (p->want_out != on && epoll_ctl(f->ep, EPOLL_CTL_MOD, p->fd, &ev) < 0)
		die("epoll_ctl");
	p->want_out = on;
}

static void peer_flush(struct floor *f, struct peer *p)
{
	p->dirty = false;
	if (p->fd < 0 || p->out.off == p->out.len)
		return;
	ssize_t n = send(p->fd, p->out.data + p->out.off, p->out.len - p->out.off, MSG_NOSIGNAL);
	if (n > 0)
		p->out.off += (size_t)n;
	want_out(f, p, p->out.off < p->out.len);
	if (p->out.off == p->out.len)
		p->out.off = p->out.len = 0;
}

static void peer_free(struct peer *p)
{
	free(p->in.data);
	free(p->out.data);
	free(p);
}

static void peer_close(struct floor *f, struct peer *p)
{
	if (p == f->upstream) {
		errno = ECONNRESET;
		die("upstream");
	}
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	if (p->owed == 0 && !p->dirty)
		peer_free(p);
}

static void flush_all(struct floor *f)
{
	if (f->upstream)
		peer_flush(f, f->upstream);
	for (size_t i = 0; i < f->dirty_len; i++) {
		struct peer *p = f->dirty[i];
		peer_flush(f, p);
		if (p->fd < 0 && p->owed == 0)
			peer_free(p);
	}
	f->dirty_len = 0;
}

/* --- requests ------------------------------------------------------------------------------ */

static void answer(struct floor *f, struct peer *p, const char *request, const char *end)
{
	long args = 0, len = 0;
	const char *name = scan_line(request, end, &args);
	char head[32];

	if (name && name < end && *name == '$')
		name = scan_line(name, end, &len);
	switch (*request == '*' && name ? *name & ~0x20 : 0) {
	case 'G':
		append(&p->out, f->value, f->value_len);
		break;
	case 'S':
		append(&p->out, "+OK\r\n", 5);
		break;
	case 'P':
		append(&p->out, "+PONG\r\n", 7);
		break;
	case 'M':
		if ((name[1] & ~0x20) == 'S') {
			append(&p->out, "+OK\r\n", 5);
			break;
		}
		append(&p->out, head, (size_t)snprintf(head, sizeof(head), "*%ld\r\n", args - 1));
		for (long i = 1; i < args; i++)
			append(&p->out, f->value, f->value_len);
		break;
	default:
		append(&p->out, "-ERR the floor knows GET SET MGET MSET PING\r\n", 45);
	}
	mark_dirty(f, p);
}

static void forward(struct floor *f, struct peer *p, const char *request, const char *end)
{
	if (f->fifo_len == f->fifo_cap) {
		size_t cap = f->fifo_cap ? f->fifo_cap * 2 : 1024;
		struct peer **ring = grow(NULL, cap * sizeof(struct peer *));
		for (size_t i = 0; i < f->fifo_len; i++)
			ring[i] = f->fifo[(f->fifo_head + i) & (f->fifo_cap - 1)];
		free(f->fifo);
		f->fifo = ring;
		f->fifo_head = 0;
		f->fifo_cap = cap;
	}
	f->fifo[(f->fifo_head + f->fifo_len++) & (f->fifo_cap - 1)] = p;
	p->owed++;
	append(&f->upstream->out, request, (size_t)(end - request));
}

static void deliver(struct floor *f, const char *reply, const char *end)
{
	struct peer *p = f->fifo_len ? f->fifo[f->fifo_head & (f->fifo_cap - 1)] : NULL;

	if (!p) {
		errno = EPROTO;
		die("upstream said too much");
	}
	f->fifo_head++;
	f->fifo_len--;
	p->owed--;
	append(&p->out, reply, (size_t)(end - reply));
	mark_dirty(f, p);
}

static void consume(struct floor *f, struct peer *p, const char *at, const char *end)
{
	for (const char *next; (next = scan(at, end)); at = next) {
		if (p == f->upstream)
			deliver(f, at, next);
		else if (f->upstream)
			forward(f, p, at, next);
		else
			answer(f, p, at, next);
	}
	p->in.len = 0;
	if (at < end)
		append(&p->in, at, (size_t)(end - at));
}

static void peer_read(struct floor *f, struct peer *p)
{
	ssize_t n = recv(p->fd, f->rx, SCRATCH, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		peer_close(f, p);
		return;
	}
	if (p->in.len == 0) {
		consume(f, p, f->rx, f->rx + n);
		return;
	}
	append(&p->in, f->rx, (size_t)n);
	struct bytes whole = p->in;
	p->in = (struct bytes){0};
	consume(f, p, whole.data, whole.data + whole.len);
	free(whole.data);
}

/* --- the loop ------------------------------------------------------------------------------ */

static struct peer *peer_new(struct floor *f, int fd)
{
	struct peer *p = grow(NULL, sizeof(*p));
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};

	*p = (struct peer){.fd = fd};
	if (epoll_ctl(f->ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
	return p;
}

static void accept_all(struct floor *f)
{
	int fd;

	while ((fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		peer_new(f, fd);
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("accept");
}

static int gather(struct floor *f, int timeout_ms)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(f->ep, ev, EVENTS, timeout_ms);

	for (int i = 0; i < n; i++) {
		struct peer *p = ev[i].data.ptr;
		if (!p) {
			accept_all(f);
			continue;
		}
		if (ev[i].events & EPOLLOUT)
			mark_dirty(f, p);
		if (ev[i].events & ~(uint32_t)EPOLLOUT)
			peer_read(f, p);
	}
	return n;
}

static void make_value(struct floor *f, size_t bytes)
{
	f->value = grow(NULL, bytes + 32);
	size_t head = (size_t)snprintf(f->value, 32, "$%zu\r\n", bytes);
	memset(f->value + head, 'x', bytes);
	memcpy(f->value + head + bytes, "\r\n", 2);
	f->value_len = head + bytes + 2;
}

static void open_upstream(struct floor *f, const char *where)
{
	struct net_addr addr;
	int pending;

	if (net_parse(where, &addr) < 0) {
		errno = EINVAL;
		die(where);
	}
	int fd = net_connect(&addr, &pending);
	if (fd < 0)
		die(where);
	f->upstream = peer_new(f, fd);
}

static void start(struct floor *f, const char *where)
{
	struct net_addr addr;
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	if (net_parse(where, &addr) < 0) {
		errno = EINVAL;
		die(where);
	}
	f->listener = net_listen(&addr);
	if (f->listener < 0)
		die(where);
	if (epoll_ctl(f->ep, EPOLL_CTL_ADD, f->listener, &ev) < 0)
		die("epoll_ctl");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"upstream", 1, NULL, 'u'}, {"value-bytes", 1, NULL, 'd'},
		{NULL, 0, NULL, 0}};
	struct floor f = {.ep = epoll_create1(EPOLL_CLOEXEC), .rx = grow(NULL, SCRATCH)};
	const char *upstream = NULL;
	long value_bytes = 64;
	int opt;

	while ((opt = getopt_long(argc, argv, "u:d:", options, NULL)) != -1) {
		if (opt == 'u')
			upstream = optarg;
		else if (opt == 'd')
			value_bytes = strtol(optarg, NULL, 10);
	}
	if (optind + 1 != argc || value_bytes < 1 || value_bytes > 512 << 20) {
		fputs("usage: floor [--upstream ADDRESS] [--value-bytes N] LISTEN\n", stderr);
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	net_raise_nofile();
	make_value(&f, (size_t)value_bytes);
	if (upstream)
		open_upstream(&f, upstream);
	start(&f, argv[optind]);
	while (!stopping) {
		if (gather(&f, -1) > 0 && f.upstream)
			gather(&f, 0);
		flush_all(&f);
	}
	_exit(EXIT_SUCCESS); /* connections are the kernel's to clean up */
}
