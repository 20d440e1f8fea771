/* SPDX-License-Identifier: Apache-2.0 */
/* The load's connections: opened, written to in batches, read, judged. See load_conn.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load_conn.h"

/* --- connections --------------------------------------------------------------------------- */

int load_register(struct load *l, struct conn *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	if (c->state == CONN_CONNECTING)
		ev.events |= EPOLLOUT;
	if (epoll_ctl(l->ep, EPOLL_CTL_ADD, c->fd, &ev) == 0)
		return 0;
	load_fail(l, "epoll_ctl: %m");
	return -1;
}

static void interest(struct load *l, struct conn *c, bool out)
{
	struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};

	if (epoll_ctl(l->ep, EPOLL_CTL_MOD, c->fd, &ev) < 0)
		load_fail(l, "epoll_ctl: %m");
	c->want_out = out;
}

static int setup_failed(struct load *l, int fd, const char *what)
{
	load_fail(l, "%s failed: %m", what);
	if (fd >= 0)
		close(fd);
	return -1;
}

int load_open(struct load *l)
{
	char command[512], reply[8192];
	int fd = net_connect_wait(&l->o->addr, 10);

	if (fd < 0)
		return setup_failed(l, fd, "connect");
	if (l->o->setup) {
		snprintf(command, sizeof(command), "%s\r\n", l->o->setup);
		if (net_ask(fd, command, reply, sizeof(reply), wire_skip) <= 0 || reply[0] == '-')
			return setup_failed(l, fd, l->o->setup);
	}
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return setup_failed(l, fd, "fcntl");
	return fd;
}

void conn_reconnect(struct load *l, struct conn *c)
{
	int pending;

	c->fd = net_connect(&l->o->addr, &pending);
	if (c->fd < 0 && errno == EAGAIN) {
		c->state = CONN_WAITING;
		l->waiting++;
		l->r->connect_retries++;
		return;
	}
	if (c->fd < 0) {
		load_fail(l, "connect: %m");
		return;
	}
	c->state = pending ? CONN_CONNECTING : CONN_RUN;
	load_register(l, c);
}

int idle_ask(struct load *l, int fd)
{
	char reply[64];
	const char *ping = l->o->memcache ? "mn\r\n" : "*1\r\n$4\r\nPING\r\n";
	const char *pong = l->o->memcache ? "MN\r\n" : "+PONG\r\n";
	long n = net_ask(fd, ping, reply, sizeof(reply), wire_skip_line);

	if (n == (long)strlen(pong) && memcmp(reply, pong, strlen(pong)) == 0)
		return 0;
	load_fail(l, "an idle connection does not answer");
	return -1;
}

int idle_open(struct load *l)
{
	for (unsigned i = 0; i < l->o->idle; i++) {
		l->idle[i] = net_connect_wait(&l->o->addr, 10);
		if (l->idle[i] < 0)
			return setup_failed(l, -1, "connect (idle)");
		if (idle_ask(l, l->idle[i]) < 0)
			return -1;
	}
	return 0;
}

/* --- writing ------------------------------------------------------------------------------- */

static void keep_rest(struct load *l, struct conn *c, const char *data, size_t len)
{
	c->out = malloc(len);
	if (!c->out) {
		load_fail(l, "out of memory");
		return;
	}
	memcpy(c->out, data, len);
	c->out_len = len;
	c->out_off = 0;
	interest(l, c, true);
}

static void conn_send(struct load *l, struct conn *c, const char *data, size_t len)
{
	ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		load_fail(l, "send: %m");
		return;
	}
	if (n < (ssize_t)len)
		keep_rest(l, c, data + (n < 0 ? 0 : n), len - (size_t)(n < 0 ? 0 : n));
}

static void conn_flush(struct load *l, struct conn *c)
{
	ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		load_fail(l, "send: %m");
	if (n <= 0)
		return;
	c->out_off += (size_t)n;
	if (c->out_off < c->out_len)
		return;
	free(c->out);
	c->out = NULL;
	interest(l, c, false);
}

static enum wire_op draw_op(struct load *l)
{
	if (l->only != OP_COUNT)
		return l->only;
	unsigned r = (unsigned)((keys_random(&l->rng) >> 32) * l->weight_sum >> 32), op = 0;
	while (r >= l->o->weight[op])
		r -= l->o->weight[op++];
	return (enum wire_op)op;
}

static char *render(struct load *l, struct conn *c, struct pending *p, char *out)
{
	p->op = draw_op(l);
	p->pos = l->pos;
	l->pos += wire_span(&l->wire, p->op);
	if (p->op != OP_PUBLISH)
		return wire_request(&l->wire, p->op, p->pos, out);
	c->owed += l->o->subscribers;
	return wire_publish(&l->wire, c->index, ++c->published, out);
}

void batch_send(struct load *l, struct conn *c)
{
	char *out = l->tx;

	for (unsigned i = 0; i < c->sent; i++)
		out = render(l, c, &c->batch[i], out);
	conn_send(l, c, l->tx, (size_t)(out - l->tx));
}

void batch_begin(struct load *l, struct conn *c, uint64_t now)
{
	c->seen = 0;
	c->sent = l->budget < l->o->pipeline ? (unsigned)l->budget : l->o->pipeline;
	if (c->sent == 0 || l->phase == PHASE_DRAIN) {
		c->state = CONN_DONE;
		c->sent = 0;
		l->active--;
		return;
	}
	l->budget -= c->sent;
	c->batch_ns = now;
	if (l->o->reconnect) {
		c->batch_ns = net_now_ns(); /* the close before it is not this batch's */
		conn_reconnect(l, c);
	}
	if (c->state == CONN_RUN && !l->failed)
		batch_send(l, c);
}

void load_batch_done(struct load *l, struct conn *c, uint64_t now)
{
	if (l->phase == PHASE_MEASURE)
		l->r->batches++;
	if (l->o->reconnect) {
		close(c->fd);
		c->fd = -1;
	}
	batch_begin(l, c, now);
}

/* --- reading ------------------------------------------------------------------------------- */

static void count_verdict(struct load *l, const struct conn *c, enum wire_verdict verdict,
			  const char *reply, size_t len)
{
	const struct pending *p = &c->batch[c->seen];
	char what[80];

	l->r->nils += verdict == WIRE_NIL;
	l->r->errors += verdict == WIRE_ERROR;
	l->r->mismatches += verdict == WIRE_MISMATCH || verdict == WIRE_BROKEN;
	snprintf(what, sizeof(what), "not the reply of %s %u", wire_op_name(p->op),
		 keys_at(&l->keys, p->pos));
	load_complain(l, what, reply, len);
}

static size_t consume(struct load *l, struct conn *c, const char *buf, size_t len, uint64_t now)
{
	size_t off = 0;
	unsigned before = c->seen;

	while (off < len && c->seen < c->sent) {
		const struct pending *p = &c->batch[c->seen];
		enum wire_verdict verdict;
		long n = wire_reply(&l->wire, p->op, p->pos, buf + off, len - off, &verdict);
		if (n == 0)
			break;
		if (verdict != WIRE_OK)
			count_verdict(l, c, verdict, buf + off, n > 0 ? (size_t)n : len - off);
		if (n < 0) {
			load_fail(l, "connection %u cannot be followed any more", c->index);
			return len;
		}
		off += (size_t)n;
		c->seen++;
		if (l->phase == PHASE_MEASURE)
			hist_add(&l->r->latency, now - c->batch_ns);
	}
	if (l->phase == PHASE_MEASURE)
		l->r->ops += c->seen - before;
	if (c->seen == c->sent && off < len) {
		load_complain(l, "bytes that nobody asked for", buf + off, len - off);
		load_fail(l, "connection %u got more than its replies", c->index);
	}
	return off;
}

static void keep_incomplete(struct load *l, struct conn *c, const char *buf, size_t len)
{
	if (len > c->in_cap) {
		char *in = realloc(c->in, len);
		if (!in) {
			load_fail(l, "out of memory");
			return;
		}
		c->in = in;
		c->in_cap = len;
	}
	memmove(c->in, buf, len);
	c->in_len = len;
}

/* Where the next bytes go: behind the incomplete reply, in the scratch or in its own buffer. */
static char *read_buffer(struct load *l, struct conn *c)
{
	if (!l->own_buffers) {
		if (c->in_len)
			memcpy(l->rx, c->in, c->in_len);
		return l->rx;
	}
	if (!c->in) {
		c->in = malloc(l->rx_cap);
		c->in_cap = l->rx_cap;
		if (!c->in)
			load_fail(l, "out of memory");
	}
	return c->in;
}

static void conn_read(struct load *l, struct conn *c)
{
	char *buf = read_buffer(l, c);

	if (c->in_len == l->rx_cap)
		load_fail(l, "connection %u: a reply larger than any that is due", c->index);
	if (l->failed)
		return;
	ssize_t n = recv(c->fd, buf + c->in_len, l->rx_cap - c->in_len, 0);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		load_fail(l, "recv: %m");
	if (n == 0)
		load_fail(l, "the server closed connection %u", c->index);
	if (n <= 0)
		return;
	uint64_t now = net_now_ns();
	size_t len = c->in_len + (size_t)n;
	l->progress_ns = now;
	size_t used = c->subscriber ? fanout_consume(l, c, buf, len, now) : consume(l, c, buf, len, now);
	c->in_len = 0;
	if (used < len)
		keep_incomplete(l, c, buf + used, len - used);
	if (!c->subscriber && c->seen == c->sent && c->owed == 0 && !l->failed)
		load_batch_done(l, c, now);
}

static void conn_connected(struct load *l, struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err) {
		load_fail(l, "connect: %s", strerror(err));
		return;
	}
	c->state = CONN_RUN;
	interest(l, c, false);
	batch_send(l, c);
}

void conn_ready(struct load *l, struct conn *c, uint32_t events)
{
	if (c->state == CONN_CONNECTING) {
		conn_connected(l, c);
		return;
	}
	if ((events & EPOLLOUT) && c->out)
		conn_flush(l, c);
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !l->failed)
		conn_read(l, c);
}
