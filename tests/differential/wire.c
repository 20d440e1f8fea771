/* SPDX-License-Identifier: Apache-2.0
 *
 * Two Unix sockets, written and read together so that neither server waits for the other.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <purser/resp.h>
#include "diff.h"

#define SILENCE_MS 10000
#define SIDES_MAX 32

static void *grow(void *p, size_t *cap, size_t want, size_t each)
{
	if (want <= *cap)
		return p;
	*cap = want + *cap + 1024;
	p = realloc(p, *cap * each);
	if (!p) {
		perror("realloc");
		exit(2);
	}
	return p;
}

int side_connect(struct side *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(s->path) >= sizeof(a.sun_path))
		return -1;
	memcpy(a.sun_path, s->path, strlen(s->path) + 1);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&a, sizeof(a)) ||
	    fcntl(s->fd, F_SETFL, O_NONBLOCK)) {
		fprintf(stderr, "%s: %s\n", s->path, strerror(errno));
		return -1;
	}
	s->nin = s->at = s->nout = s->sent = 0;
	s->nreplies = 0;
	return 0;
}

void side_close(struct side *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	free(s->in);
	free(s->out);
	free(s->replies);
}

static void out_bytes(struct side *s, const void *p, size_t n)
{
	s->out = grow(s->out, &s->cout, s->nout + n, 1);
	if (n)
		memcpy(s->out + s->nout, p, n);
	s->nout += n;
}

void side_add(struct side *s, const struct cmd *c)
{
	char head[32];
	uint32_t i;

	out_bytes(s, head, (size_t)snprintf(head, sizeof(head), "*%u\r\n", c->argc));
	for (i = 0; i < c->argc; i++) {
		out_bytes(s, head, (size_t)snprintf(head, sizeof(head), "$%u\r\n", c->argv[i].n));
		out_bytes(s, c->argv[i].p, c->argv[i].n);
		out_bytes(s, "\r\n", 2);
	}
}

/* Cuts whole replies out of what has come.  0, or -1: not RESP. */
static int cut(struct side *s)
{
	while (s->nreplies < s->want && s->at < s->nin) {
		const uint8_t *p = s->in + s->at;
		purser_scan scan;
		int64_t n;
		size_t cap = s->creplies;

		purser_scan_begin(&scan);
		n = purser_scan_feed(&scan, p, s->nin - s->at);
		if (n < 0)
			return -1;
		if (!purser_scan_done(&scan))
			return 0;
		if (s->look ? !s->look(s, p, (size_t)n) : *p != '>') { /* a push is no reply */
			s->replies = grow(s->replies, &cap, s->nreplies + 1, sizeof(*s->replies));
			s->creplies = (uint32_t)cap;
			s->replies[s->nreplies++] = (struct reply){ s->at, (size_t)n };
		}
		s->at += (size_t)n;
	}
	return 0;
}

static const char *turn(struct side *s, short events)
{
	ssize_t n;

	if (events & POLLOUT && s->sent < s->nout) {
		n = send(s->fd, s->out + s->sent, s->nout - s->sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return "cannot be written to";
		s->sent += n > 0 ? (size_t)n : 0;
	}
	if (!(events & (POLLIN | POLLHUP | POLLERR)))
		return cut(s) ? "does not speak RESP" : NULL; /* it may want more of what has come than before */
	s->in = grow(s->in, &s->cap, s->nin + 65536, 1);
	n = recv(s->fd, s->in + s->nin, s->cap - s->nin, 0);
	if (n == 0)
		return "closed the connection";
	if (n < 0)
		return errno == EAGAIN ? NULL : errno == ECONNRESET ? "reset the connection" : "cannot be read from";
	s->nin += (size_t)n;
	return cut(s) ? "does not speak RESP" : NULL;
}

const char *side_move(struct side *s, short events, uint32_t want)
{
	s->want = want;
	return turn(s, events);
}

/* The replies of before are forgotten, what has come behind them is not. */
static int begin(struct side *s)
{
	if (s->nin > s->at)
		memmove(s->in, s->in + s->at, s->nin - s->at);
	s->nin -= s->at;
	s->at = s->sent = 0;
	s->nreplies = 0;
	return cut(s);
}

int exchange_sides(struct side *const *side, unsigned n, const char **text)
{
	static char what[128];
	const char *bad;
	unsigned i, left = 1;

	for (i = 0; i < n; i++)
		if (begin(side[i])) {
			snprintf(what, sizeof(what), "%s does not speak RESP", side[i]->name);
			*text = what;
			return -1;
		}
	while (left) {
		struct pollfd p[SIDES_MAX];
		int rc;

		for (left = 0, i = 0; i < n; i++) {
			int more = side[i]->nreplies < side[i]->want;

			left += more != 0;
			p[i].fd = more ? side[i]->fd : -1;
			p[i].events = (short)(POLLIN | (side[i]->sent < side[i]->nout ? POLLOUT : 0));
			p[i].revents = 0;
		}
		rc = left ? poll(p, n, SILENCE_MS) : 0;
		for (i = 0; left && i < n; i++) {
			bad = rc == 0 && p[i].fd >= 0 ? "does not answer" : NULL;
			if (rc > 0 && p[i].revents)
				bad = turn(side[i], p[i].revents);
			if (bad) {
				snprintf(what, sizeof(what), "%s %s", side[i]->name, bad);
				*text = what;
				return -1;
			}
		}
	}
	for (i = 0; i < n; i++)
		side[i]->nout = 0;
	return 0;
}

int exchange(struct side *a, struct side *b, uint32_t na, uint32_t nb, const char **text)
{
	a->want = na;
	b->want = nb;
	return exchange_sides((struct side *const[]){ a, b }, 2, text);
}
