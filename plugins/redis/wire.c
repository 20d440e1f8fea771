/* SPDX-License-Identifier: Apache-2.0
 *
 * wire: calls go out.  The host encodes straight into the link's buffer when a call is submitted;
 * the buffer goes to the kernel once a turn.  A request larger than the buffer goes in pieces, and
 * no other follows it before its last byte is encoded.
 */
#include "redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OUT_FIRST 16384u
#define ENCODE_MIN 512u /* room that is offered at least */
#define OUT_PATIENCE 1000u /* writes */

/* At least n free bytes at the end; 0, or -1 without memory.  Never grows beyond OUT_MAX, except for
 * the handshake, which is small. */
int out_room(struct out *o, size_t n)
{
	size_t len = out_len(o), cap = o->cap ? o->cap : OUT_FIRST;
	uint8_t *p;

	if (o->cap - o->end >= n)
		return 0;
	if (o->at) {
		memmove(o->p, o->p + o->at, len);
		o->at = 0;
		o->end = len;
		if (o->cap - o->end >= n)
			return 0;
	}
	while (cap - len < n)
		cap *= 2;
	p = realloc(o->p, cap);
	if (!p)
		return -1;
	o->p = p;
	o->cap = cap;
	return 0;
}

void out_put(struct out *o, const void *p, size_t n)
{
	memcpy(o->p + o->end, p, n);
	o->end += n;
}

void link_dirty(struct link *l)
{
	if (l->dirty)
		return;
	l->dirty = true;
	l->next_dirty = l->x->dirty;
	l->x->dirty = l;
}

/* All of l->encoding that fits. */
void link_encode(struct link *l)
{
	const purser_host *h = l->x->h;
	purser_call *c = l->encoding;
	struct out *o = &l->out;
	int more = PURSER_ENCODE_FULL;

	while (more == PURSER_ENCODE_FULL) {
		size_t want = ENCODE_MIN;

		if (o->cap - o->end < want) {
			if (out_len(o) + want > OUT_MAX)
				break; /* goes on when some of it has left */
			if (out_room(o, want)) {
				if (out_len(o))
					break;
				link_lost(l, PURSER_E_NOMEM, "out of memory");
				return;
			}
		}
		o->end += h->encode(c, o->p + o->end, o->cap - o->end, &more);
	}
	if (more == PURSER_ENCODE_DONE) {
		c->user[1] = (void *)(l->sent + out_len(o));
		l->encoding = NULL;
		l->blocked &= (uint8_t)~BLOCKED_ENCODE;
	} else {
		l->blocked |= BLOCKED_ENCODE;
		l->waiting = more == PURSER_ENCODE_WAIT;
	}
}

int link_put(struct link *l, purser_call *c)
{
	struct ctx *x = l->x;
	const purser_host *h = x->h;
	struct out *o = &l->out;
	size_t want = c->wire_bytes < WINDOW_BYTES ? (size_t)c->wire_bytes : ENCODE_MIN;
	int more;

	if (l->ncalls >= WINDOW_CALLS || out_len(o) >= WINDOW_BYTES || l->encoding) {
		link_dirty(l);
		return PURSER_AGAIN;
	}
	if (o->cap - o->end < want && out_room(o, want)) {
		h->fail(c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, "out of memory");
		return PURSER_DONE;
	}
	h->via(c, x->in->endpoint);
	c->link = NULL;
	c->user[0] = l;
	if (l->tail) {
		l->tail->link = c;
	} else {
		l->head = c;
		l->skip = c->skip;
		link_show(l, PURSER_LINK_USED);
	}
	l->tail = c;
	l->ncalls++;
	l->nskips += c->skip != 0;
	if (!l->unsent)
		l->unsent = c;
	o->end += h->encode(c, o->p + o->end, o->cap - o->end, &more);
	if (more == PURSER_ENCODE_DONE) {
		c->user[1] = (void *)(l->sent + out_len(o));
	} else {
		l->encoding = c;
		l->blocked |= BLOCKED_ENCODE;
		l->waiting = more == PURSER_ENCODE_WAIT;
		if (!l->waiting)
			link_encode(l);
		if (l->phase != LINK_UP)
			return PURSER_DONE; /* no memory: the link is lost, and c with it */
	}
	if (!l->dirty)
		link_dirty(l);
	return PURSER_PENDING;
}

/* Those whose last byte is now with the kernel. */
static void link_tell_sent(struct link *l)
{
	const purser_host *h = l->x->h;
	purser_call *c;

	while ((c = l->unsent) && c != l->encoding &&
	    (intptr_t)(l->sent - (uintptr_t)c->user[1]) >= 0) {
		l->unsent = c->link;
		h->sent(c);
	}
}

static int link_arm(struct link *l, bool on)
{
	uint32_t events = on ? PURSER_IO_IN | PURSER_IO_OUT : PURSER_IO_IN;

	if (l->armed == on)
		return 0;
	/* TLS is watched for both from the beginning. */
	if (!l->tls && l->x->h->watch(l->x->x, l->fd, events, link_event, l)) {
		link_lost(l, PURSER_E_IO, "%s", strerror(errno));
		return -1;
	}
	l->armed = on;
	return 0;
}

/* The kernel refuses our bytes; what the server said before still counts. */
static int link_unwritable(struct link *l, int err)
{
	if (link_read(l) < 0)
		return -1;
	link_broken(l, err);
	return -1;
}

/* A burst made the buffer large; give it back when it has not been needed for long. */
static void link_slim(struct link *l)
{
	if (++l->small < OUT_PATIENCE)
		return;
	l->small = 0;
	free(l->out.p);
	memset(&l->out, 0, sizeof(l->out));
}

/* A link for one call waits for its reply, maybe for hours: its buffer is not needed for that. */
static void link_bare(struct link *l)
{
	if (l->owner || l->encoding || out_len(&l->out))
		return;
	free(l->out.p);
	memset(&l->out, 0, sizeof(l->out));
}

int link_flush(struct link *l)
{
	struct out *o = &l->out;

	if (o->cap > OUT_KEEP && out_len(o) > OUT_KEEP / 2)
		l->small = 0;
	for (;;) {
		size_t len = out_len(o);
		ssize_t n;

		if (len == 0) {
			if (!l->encoding || l->waiting)
				break;
			link_encode(l);
			if (l->phase != LINK_UP)
				return -1;
			if (out_len(o) == 0)
				break;
			continue;
		}
		n = link_send(l, o->p + o->at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return link_unwritable(l, errno);
		if (n < 0)
			return link_arm(l, true);
		o->at += (size_t)n;
		l->sent += (uintptr_t)n;
		if (o->at == o->end)
			o->at = o->end = 0;
		link_tell_sent(l);
		if ((size_t)n < len && !l->hup)
			return link_arm(l, true);
	}
	if (o->cap > OUT_KEEP && l->phase == LINK_UP)
		link_slim(l);
	if (l->dedicated && l->phase == LINK_UP)
		link_bare(l);
	if (l->x->routes_again && !l->dedicated && !l->blocked && l->ncalls < WINDOW_CALLS)
		ctx_wake(l->x, PURSER_ROUTE_SHARED);
	return l->armed ? link_arm(l, false) : 0;
}
