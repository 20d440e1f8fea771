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
static int cut(struct side *s, uint32_t want)
{
	while (s->nreplies < want && s->at < s->nin) {
		purser_scan scan;
		int64_t n;
		size_t cap = s->creplies;

		purser_scan_begin(&scan);
		n = purser_scan_feed(&scan, s->in + s->at, s->nin - s->at);
		if (n < 0)
			return -1;
		if (!purser_scan_done(&scan))
			return 0;
		if (s->in[s->at] != '>') { /* a push is no reply */
			s->replies = grow(s->replies, &cap, s->nreplies + 1, sizeof(*s->replies));
			s->creplies = (uint32_t)cap;
			s->replies[s->nreplies++] = (struct reply){ s->at, (size_t)n };
		}
		s->at += (size_t)n;
	}
	return 0;
}

const char *side_move(struct side *s, short events, uint32_t want)
{
	ssize_t n;

	if (events & POLLOUT && s->sent < s->nout) {
		n = send(s->fd, s->out + s->sent, s->nout - s->sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return "cannot be written to";
		s->sent += n > 0 ? (size_t)n : 0;
	}
	if (!(events & (POLLIN | POLLHUP | POLLERR)))
		return NULL;
	s->in = grow(s->in, &s->cap, s->nin + 65536, 1);
	n = recv(s->fd, s->in + s->nin, s->cap - s->nin, 0);
	if (n == 0)
		return "closed the connection";
	if (n < 0)
		return errno == EAGAIN ? NULL : errno == ECONNRESET ? "reset the connection" : "cannot be read from";
	s->nin += (size_t)n;
	return cut(s, want) ? "does not speak RESP" : NULL;
}

int exchange(struct side *a, struct side *b, uint32_t na, uint32_t nb, const char **text)
{
	struct side *side[2] = { a, b };
	uint32_t want[2] = { na, nb };
	static char what[128];
	int i, rc;

	for (i = 0; i < 2; i++)
		side[i]->nreplies = 0, side[i]->nin = side[i]->at = side[i]->sent = 0;
	while (a->nreplies < na || b->nreplies < nb) {
		struct pollfd p[2];

		for (i = 0; i < 2; i++) {
			p[i].fd = side[i]->nreplies < want[i] ? side[i]->fd : -1;
			p[i].events = (short)(POLLIN | (side[i]->sent < side[i]->nout ? POLLOUT : 0));
			p[i].revents = 0;
		}
		rc = poll(p, 2, SILENCE_MS);
		for (i = 0; i < 2; i++) {
			const char *bad = rc == 0 && p[i].fd >= 0 ? "does not answer" : NULL;

			if (rc > 0 && p[i].revents)
				bad = side_move(side[i], p[i].revents, want[i]);
			if (bad) {
				snprintf(what, sizeof(what), "%s %s", side[i]->name, bad);
				*text = what;
				return -1;
			}
		}
	}
	a->nout = b->nout = 0;
	return 0;
}
