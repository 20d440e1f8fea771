/* SPDX-License-Identifier: Apache-2.0
 *
 * link: one connection.  CLOSED -> PREPARING (addresses) -> CONNECTING -> TLS (if so) -> HELLO -> UP, and from
 * anywhere back to CLOSED by link_lost(), which ends its calls in order, or by link_shut().
 * connection_timeout covers all of it up to UP.
 */
#include "redis.h"
#include "tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct link *link_new(struct lane *lane, bool dedicated, unsigned class_)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->x = lane->x;
	l->lane = lane;
	l->fd = -1;
	l->version = lane->version;
	l->as = lane->cred;
	l->dedicated = dedicated;
	l->class_ = (uint8_t)class_;
	return l;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	free(l->out.p);
	free(l->carry);
	free(l);
}

void link_bury(struct link *l)
{
	l->next_grave = l->x->grave;
	l->x->grave = l;
}

void link_show(struct link *l, uint32_t state)
{
	if (l->shown == state)
		return;
	l->x->h->link_state(l->x->x, l->x->in->endpoint, l->shown, state);
	l->shown = (uint8_t)state;
}

static void link_untimer(struct link *l)
{
	if (l->timer)
		l->x->h->untimer(l->x->x, l->timer);
	l->timer = 0;
}

static void link_unwatch(struct link *l)
{
	if (l->fd < 0)
		return;
	l->x->h->watch(l->x->x, l->fd, 0, NULL, NULL);
	if (l->tls)
		tls_end(l);
	close(l->fd);
	l->fd = -1;
}

void link_shut(struct link *l)
{
	link_untimer(l);
	link_unwatch(l);
	prep_leave(l);
	if (l->phase == LINK_HELLO && l->out.p) /* it may hold the password */
		explicit_bzero(l->out.p, l->out.cap);
	if (l->out.cap > OUT_KEEP) {
		free(l->out.p);
		memset(&l->out, 0, sizeof(l->out));
	}
	l->out.at = l->out.end = 0;
	free(l->carry);
	l->carry = NULL;
	l->carried = l->carry_cap = 0;
	l->phase = LINK_CLOSED;
	l->blocked = 0;
	l->reading = READ_START;
	l->as = l->lane->cred;
	l->began = l->armed = l->waiting = l->hup = l->checking = false;
	link_show(l, PURSER_LINK_NONE);
}

/* Every call of the link, in order.  Those whose last byte has left may have been executed. */
static void link_fail_calls(struct link *l, uint32_t code, const char *text)
{
	const purser_host *h = l->x->h;
	purser_call *c = l->head, *unsent = l->unsent;
	bool sent = true, began = l->began;
	/* What was due by then had no reply in time, whoever it waited behind. */
	uint64_t late = code == PURSER_E_CANCELLED ? h->now(l->x->x) : 0;

	l->head = l->tail = l->unsent = l->encoding = NULL;
	l->ncalls = l->skip = l->nskips = 0;
	while (c) {
		purser_call *next = c->link;
		uint32_t executed;

		if (c == unsent)
			sent = false;
		if (l->lane->tracking && !l->dedicated)
			lane_ended(c);
		if ((c->flags & PURSER_CALL_UNPIN) && l->owner) { /* its session wanted the link no longer */
			l->owner->pin = NULL;
			l->owner = NULL;
		}
		executed = began ? PURSER_EXECUTED : sent ? PURSER_MAYBE_EXECUTED : PURSER_NOT_EXECUTED;
		h->fail(c, c->deadline_ns && c->deadline_ns <= late ? PURSER_E_CANCELLED : code, executed, text);
		began = false;
		if (code == PURSER_E_PROTOCOL || code == PURSER_E_TOOLARGE || code == PURSER_E_NOMEM ||
		    code == PURSER_E_CANCELLED)
			code = PURSER_E_IO; /* of the one before; these only lost their link */
		c = next;
	}
}

/* The context closes: calls that still wait for a reply end here. */
void link_end(struct link *l)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "redis %.100s: the backend is being closed", l->x->in->where);
	link_fail_calls(l, PURSER_E_IO, text);
	link_shut(l);
}

void link_lost(struct link *l, uint32_t code, const char *fmt, ...)
{
	struct ctx *x = l->x;
	bool was_up = l->phase == LINK_UP || l->checking;
	unsigned calls = l->ncalls;
	char why[WHY_MAX], text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "redis %.100s: %s", x->in->where, why);
	x->h->count(x->x, was_up ? COUNT_LOST : COUNT_FAILED, 1);
	if (code == PURSER_E_PROTOCOL)
		x->h->count(x->x, COUNT_PROTOCOL, 1);
	link_fail_calls(l, code, text);
	link_shut(l);
	if (l->ear) {
		l->ear->lost(l, text, was_up);
		return;
	}
	if (!was_up)
		lane_failed(l->lane, code, text);
	else if (!l->dedicated || (calls && code != PURSER_E_CANCELLED))
		lane_lost(l, text, calls);
	if (l->dedicated)
		pool_gone(l, was_up);
}

void link_timeout(void *arg)
{
	struct link *l = arg;

	l->timer = 0;
	if (l->phase == LINK_UP)
		link_read(l); /* it had more to read than one turn gives */
	else if (l->checking)
		link_lost(l, PURSER_E_IO, "the server does not answer on an idle connection");
	else
		link_lost(l, l->phase == LINK_TLS ? PURSER_E_TLS : PURSER_E_CONNECT,
		    "no connection within connection_timeout (%s)",
		    l->phase == LINK_TLS ? "it does not answer the TLS handshake: is this its tls-port?" :
		    l->phase == LINK_PREPARING ? "the name was not resolved" :
		    l->phase == LINK_CONNECTING ? "the server does not answer" :
		    "the server did not answer the handshake");
}

/* Go on reading in the next turn. */
void link_read_later(struct link *l)
{
	if (!l->timer)
		l->timer = l->x->h->timer(l->x->x, 0, link_timeout, l);
	if (!l->timer)
		link_lost(l, PURSER_E_NOMEM, "out of memory");
}

void link_open(struct link *l)
{
	struct ctx *x = l->x;

	l->phase = LINK_PREPARING;
	link_show(l, PURSER_LINK_CONNECTING);
	l->timer = x->h->timer(x->x, x->in->connect_ns, link_timeout, l);
	if (!l->timer || prep_start(l))
		link_lost(l, PURSER_E_NOMEM, "out of memory");
}

static void tcp_options(const struct link *l, int fd)
{
	const int one = 1, idle = 60, interval = 10, count = 3;
	uint64_t ms = l->x->in->op_ns / NS_PER_MS;
	unsigned patience = ms > 3600000 ? 3600000 : ms < 1000 ? 1000 : (unsigned)ms;

	/* None of them is needed to work: a kernel without one of them is no reason to fail. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience));
}

/* The socket says err, 0: it is at its end. */
void link_broken(struct link *l, int err)
{
	const char *during = l->phase != LINK_HELLO ? "" : l->tls || l->x->in->url.path[0] ?
	    " during the handshake" : " during the handshake (if that is its tls-port, url must begin with "
	    "rediss://)";

	if (l->tls && tls_told(l))
		link_lost(l, PURSER_E_TLS, "%s", tls_told(l));
	else if (err)
		link_lost(l, PURSER_E_IO, "%s%s", strerror(err), during);
	else
		link_lost(l, PURSER_E_IO, "the server closed the connection%s", during);
}

static void link_connected(struct link *l)
{
	bool tls = l->x->in->url.tls;

	l->phase = tls ? LINK_TLS : LINK_HELLO;
	l->armed = false;
	if (l->x->h->watch(l->x->x, l->fd, tls ? PURSER_IO_IN | PURSER_IO_OUT : PURSER_IO_IN, link_event, l))
		link_lost(l, PURSER_E_CONNECT, "%s", strerror(errno));
	else if (tls)
		tls_begin(l);
	else
		link_greet(l);
}

void link_greet(struct link *l)
{
	l->phase = LINK_HELLO;
	if (hello_begin(l))
		link_lost(l, PURSER_E_NOMEM, "out of memory");
	else
		link_flush(l);
}

/* The next address that does not fail at once. */
static void link_try(struct link *l)
{
	struct prep *p = l->prep;
	int err = EADDRNOTAVAIL;

	for (; l->address < p->n; l->address++) {
		const struct sockaddr *sa = (const struct sockaddr *)&p->address[l->address];
		int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (fd < 0) {
			err = errno;
			continue;
		}
		if (sa->sa_family != AF_UNIX)
			tcp_options(l, fd);
		if (connect(fd, sa, p->length[l->address]) == 0) {
			l->fd = fd;
			link_connected(l);
			return;
		}
		err = errno;
		if (err != EINPROGRESS) {
			close(fd);
			continue;
		}
		l->fd = fd;
		l->phase = LINK_CONNECTING;
		if (l->x->h->watch(l->x->x, fd, PURSER_IO_IN | PURSER_IO_OUT, link_event, l) == 0)
			return;
		err = errno;
		close(fd);
		l->fd = -1;
	}
	link_lost(l, PURSER_E_CONNECT, "%s", err == EAGAIN ? "the server's queue of new connections is full" :
	    strerror(err));
}

void link_prepared(struct link *l)
{
	const struct prep *p = l->prep;

	if (p->code)
		link_lost(l, p->code, "%s", p->err);
	else
		link_try(l);
}

/* The answer to a connect() that took its time. */
static void link_tried(struct link *l)
{
	socklen_t n = sizeof(int);
	int err = 0;

	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	if (!err) {
		link_connected(l);
		return;
	}
	link_unwatch(l);
	if (++l->address < l->prep->n)
		link_try(l);
	else
		link_lost(l, PURSER_E_CONNECT, "%s", strerror(err));
}

void link_up(struct link *l)
{
	struct ctx *x = l->x;

	link_untimer(l);
	l->checked = x->h->now(x->x);
	if (l->checking) {
		l->checking = false;
		l->phase = LINK_UP;
		if (l->dedicated)
			pool_up(l, false);
		else
			ctx_wake_all(x);
		return;
	}
	prep_leave(l);
	if (l->out.p)
		explicit_bzero(l->out.p, l->out.cap);
	l->phase = LINK_UP;
	l->sent = 0;
	l->up_since = l->heard = l->checked;
	keep_up(l);
	link_show(l, PURSER_LINK_IDLE);
	x->h->count(x->x, COUNT_OPENED, 1);
	if (l->ear)
		l->ear->up(l);
	else if (l->dedicated)
		pool_up(l, true);
	else
		lane_up(l);
}

void link_event(void *arg, int fd, uint32_t events)
{
	struct link *l = arg;

	(void)fd;
	if (l->phase == LINK_CONNECTING) {
		link_tried(l);
		return;
	}
	if (events & PURSER_IO_HUP)
		l->hup = true;
	if (l->tls && !(events = tls_event(l, events)))
		return;
	if ((events & PURSER_IO_OUT) && l->armed && link_flush(l) < 0)
		return;
	if (events & (PURSER_IO_IN | PURSER_IO_HUP))
		link_read(l);
}
