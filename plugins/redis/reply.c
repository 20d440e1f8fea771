/* SPDX-License-Identifier: Apache-2.0
 *
 * reply: replies come in.  One recv into the context's scratch buffer, the scanner finds where each
 * value ends, the host gets the bytes as they are.  Errors are given whole.  What cannot be used yet
 * (half a header line, half an error, bytes behind a client that does not take more) is carried.
 */
#define _GNU_SOURCE
#include "redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)

/* The call that is next is long out of the cache when its reply comes: have it brought in while the
 * one before is ended.  What the host keeps with a call lies behind it. */
static inline void fetch(const purser_call *next)
{
	if (!next)
		return;
#pragma GCC unroll 10
	for (size_t i = 0; i < sizeof(*next) + 496; i += 64)
		__builtin_prefetch((const char *)next + i, 1);
}

/* head got its reply, or its error.  0, or -1: the link is gone. */
static int reply_end(struct link *l)
{
	purser_call *c = l->head, *next = c->link;
	uint32_t flags = l->dedicated ? c->flags : 0;
	bool heavy = l->blocked & BLOCKED_LARGE && !l->dedicated;

	l->head = next;
	l->ncalls--;
	l->reading = READ_START;
	l->began = false;
	l->blocked &= (uint8_t)~BLOCKED_LARGE;
	if (!next)
		l->tail = NULL;
	if (l->nskips) {
		l->nskips -= c->skip != 0;
		l->skip = next ? next->skip : 0;
	}
	fetch(next);
	if (l->lane->tracking && !l->dedicated)
		lane_ended(c);
	if (heavy)
		lane_heavy(l->lane, c);
	l->x->h->end(c);
	if (l->dedicated) {
		if (!next)
			link_show(l, PURSER_LINK_IDLE);
		pool_ended(l, flags);
		return l->phase == LINK_UP ? 0 : -1;
	}
	if (!next) {
		link_show(l, PURSER_LINK_IDLE);
		lane_drained(l);
	}
	return 0;
}

/* The text of a whole top-level error at p[0..n), "-..." or "!n...": bytes of the value, 0: more are
 * needed, -1: nonsense. */
static int64_t reply_error(const uint8_t *p, size_t n, const char **text, size_t *len)
{
	int64_t head, v;

	if (p[0] == '-') {
		head = purser_scan_line(p, n);
		if (head > 0) {
			*text = (const char *)p + 1;
			*len = (size_t)head - 3;
		}
		return head;
	}
	head = purser_scan_number(p, n, &v);
	if (head <= 0)
		return head;
	if (v < 0 || v > PURSER_RESP_LINE_MAX)
		return -1;
	if (n - (size_t)head < (size_t)v + 2)
		return 0;
	*text = (const char *)p + head;
	*len = (size_t)v;
	head += v + 2;
	return p[head - 2] == '\r' && p[head - 1] == '\n' ? head : -1;
}

/* Lines for people: no control characters, not too much. */
static int printable(const char *text, size_t len, char *dst, size_t cap)
{
	size_t n = len < cap - 1 ? len : cap - 1;

	for (size_t i = 0; i < n; i++)
		dst[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '.';
	dst[n] = '\0';
	return (int)n;
}

/* The server speaks although nothing was asked, or before its request was all sent.  An error text
 * of this kind is its last word: too large a value, a shutdown. */
static int64_t reply_unasked(struct link *l, const uint8_t *p, size_t n)
{
	const char *text;
	char shown[100];
	size_t len;
	int64_t k = p[0] == '-' ? reply_error(p, n, &text, &len) : -1;

	if (k == 0)
		return 0;
	if (k < 0)
		link_lost(l, PURSER_E_PROTOCOL, "it sent a reply that nothing had asked for");
	else
		link_lost(l, memmem(text, len, "invalid bulk length", 19) ? PURSER_E_TOOLARGE :
		    PURSER_E_PROTOCOL, "it said: %.*s", printable(text, len, shown, sizeof(shown)), shown);
	return -1;
}

/* An error whose line is too long: Redis says names of any length in errors, and scripts say what they like.  It is
 * cut, and the rest of its line dropped: whoever else has calls on the link must not pay for it. */
static bool error_too_long(const uint8_t *p, size_t n)
{
	return p[0] == '-' && n >= PURSER_RESP_LINE_MAX + 2 && !memchr(p + 1, '\r', PURSER_RESP_LINE_MAX + 1) &&
	    !memchr(p + 1, '\n', PURSER_RESP_LINE_MAX + 1);
}

static int64_t reply_cut(struct link *l, const uint8_t *p)
{
	l->x->h->error(l->head, (const char *)p + 1, PURSER_RESP_LINE_MAX);
	if (reply_end(l) < 0)
		return -1;
	l->reading = READ_LINE;
	return PURSER_RESP_LINE_MAX + 1;
}

/* The beginning of a value that is not simply the head's reply.  Bytes consumed, 0: more are needed
 * (or reading was set: look at it), -1: the link is gone. */
static int64_t reply_special(struct link *l, const uint8_t *p, size_t n)
{
	const purser_host *h = l->x->h;
	purser_call *c = l->head;
	const char *text;
	size_t len;
	int64_t k, v;

	if (p[0] == '>' && l->version == 3) {
		l->reading = READ_DROP;
		purser_scan_begin_as(&l->scan, l->version);
		return 0;
	}
	if (p[0] == '|' && l->version == 3) { /* nobody asked for attributes */
		k = purser_scan_number(p, n, &v);
		if (k < 0 || (k > 0 && (v < 0 || v > PURSER_RESP_LINE_MAX))) {
			link_lost(l, PURSER_E_PROTOCOL, "it sent something that is not RESP");
			return -1;
		}
		if (k > 0 && v > 0) {
			l->reading = READ_DROP;
			purser_scan_begin_as(&l->scan, l->version);
			l->scan.need = (uint64_t)v * 2;
		}
		return k;
	}
	if (!c || (!l->skip && c == l->unsent))
		return reply_unasked(l, p, n);
	if (l->skip) {
		l->reading = READ_SKIP;
		purser_scan_begin_as(&l->scan, l->version);
		return 0;
	}
	if (error_too_long(p, n))
		return reply_cut(l, p);
	if (p[0] == '!' && l->version != 3)
		k = -1;
	else
		k = reply_error(p, n, &text, &len);
	if (k < 0) {
		link_lost(l, PURSER_E_PROTOCOL, "it sent something that is not RESP");
		return -1;
	}
	if (k > 0) {
		h->error(c, text, len);
		if (reply_end(l) < 0)
			return -1;
	}
	return k;
}

/* The commonest replies, "+OK" and a short bulk, where all of it is here: its length, else 0. */
static inline size_t whole(const uint8_t *p, size_t n)
{
	if (p[0] == '+')
		return n >= 5 && memcmp(p, "+OK\r\n", 5) == 0 ? 5 : 0;
	return purser_scan_bulk(p, n);
}

/* Bytes of p[0..n) used; -1: the link is gone. */
static int64_t feed(struct link *l, const uint8_t *p, size_t n)
{
	const purser_host *h = l->x->h;
	size_t at = 0;

	while (at < n) {
		purser_call *c = l->head;
		int64_t k, credit = 1;
		bool done;

		if (l->reading == READ_LINE) {
			const uint8_t *end = memchr(p + at, '\n', n - at);

			at = end ? (size_t)(end - p) + 1 : n;
			if (end)
				l->reading = READ_START;
			continue;
		}
		if (l->reading == READ_START) {
			uint8_t t = p[at];

			if (LIKELY(c && !l->skip && c != l->unsent && t != '-' && t != '>' && t != '!' &&
			    t != '|')) {
				size_t all = whole(p + at, n - at);

				if (LIKELY(all)) {
					h->raw(c, p + at, all);
					at += all;
					if (reply_end(l) < 0)
						return -1;
					continue;
				}
				purser_scan_begin_as(&l->scan, l->version);
				l->reading = READ_VALUE;
				l->came = 0;
			} else {
				k = reply_special(l, p + at, n - at);
				if (k < 0)
					return -1;
				at += (size_t)k;
				if (k == 0 && l->reading == READ_START)
					break;
				continue;
			}
		}
		k = purser_scan_feed(&l->scan, p + at, n - at);
		if (k < 0) {
			link_lost(l, PURSER_E_PROTOCOL, "it sent something that is not RESP");
			return -1;
		}
		done = purser_scan_done(&l->scan);
		if (l->reading == READ_VALUE) {
			l->began = true;
			if (k > 0)
				credit = h->raw(c, p + at, (size_t)k);
			at += (size_t)k;
			if (LIKELY(done)) {
				if (PURSER_HAS(c, purser_call, nulls))
					c->nulls = l->scan.nulls;
				if (reply_end(l) < 0)
					return -1;
				continue;
			}
			l->came += (uint64_t)k;
			if (l->scan.skip > LARGE_REPLY || l->came > LARGE_REPLY)
				l->blocked |= BLOCKED_LARGE;
			if (credit <= 0) {
				l->blocked |= BLOCKED_REPLY;
				break;
			}
		} else {
			at += (size_t)k;
			if (done) {
				if (l->reading == READ_SKIP)
					l->skip--;
				else
					l->x->h->count(l->x->x, COUNT_PUSHES, 1);
				l->reading = READ_START;
				continue;
			}
		}
		break; /* the rest is half a header, or nothing */
	}
	return (int64_t)at;
}

/* The replies of a handshake: each whole, none large. */
static int64_t feed_hello(struct link *l, const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (at < n && l->phase == LINK_HELLO) {
		purser_scan s;
		int64_t k;

		purser_scan_begin(&s);
		k = purser_scan_feed(&s, p + at, n - at);
		if (k < 0 && !l->tls && p[at] == 0x15) { /* an alert of TLS */
			link_lost(l, PURSER_E_TLS, "the server speaks TLS on this port: url must begin with "
			    "rediss://");
			return -1;
		}
		if (k < 0 || (!purser_scan_done(&s) && n - at > READ_MAX)) {
			link_lost(l, PURSER_E_PROTOCOL, "this is no Redis server: it answers the handshake "
			    "with something that is not RESP");
			return -1;
		}
		if (!purser_scan_done(&s))
			break;
		if (p[at] != '>' && hello_reply(l, p + at, (size_t)k) < 0)
			return -1;
		at += (size_t)k;
	}
	return (int64_t)at;
}

static int64_t feed_any(struct link *l, const uint8_t *p, size_t n)
{
	int64_t at = 0, k;

	if (l->phase == LINK_HELLO) {
		at = feed_hello(l, p, n);
		if (at < 0 || l->phase != LINK_UP)
			return at;
	}
	k = l->ear ? l->ear->feed(l, p + at, n - (size_t)at) : feed(l, p + at, n - (size_t)at);
	return k < 0 ? k : at + k;
}

/* Keep p[0..n) for later; p may lie in the carry buffer itself. */
static int carry(struct link *l, const uint8_t *p, size_t n)
{
	if (n > l->carry_cap) {
		size_t cap = n < 256 ? 256 : n;
		uint8_t *q = malloc(cap);

		if (!q) {
			link_lost(l, PURSER_E_NOMEM, "out of memory");
			return -1;
		}
		memcpy(q, p, n);
		free(l->carry);
		l->carry = q;
		l->carry_cap = cap;
	} else if (n) {
		memmove(l->carry, p, n);
	}
	l->carried = n;
	if (n == 0 && l->carry_cap > 4096) {
		free(l->carry);
		l->carry = NULL;
		l->carry_cap = 0;
	}
	return 0;
}

/* Calls that waited for the window may come again. */
static void room(struct link *l)
{
	if (l->x->routes_again && !l->dedicated && !l->blocked && l->ncalls <= WINDOW_CALLS / 2)
		ctx_wake(l->x, PURSER_ROUTE_SHARED);
}

int link_read(struct link *l)
{
	uint8_t *scratch = l->x->scratch;
	size_t budget = READ_TURN;

	while (!(l->blocked & BLOCKED_REPLY)) {
		size_t have = l->carried, want = READ_MAX;
		int64_t used;
		ssize_t n;

		n = link_recv(l, scratch + have, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			link_broken(l, errno);
			return -1;
		}
		if (n == 0) {
			link_broken(l, 0);
			return -1;
		}
		l->heard = l->x->h->now(l->x->x);
		if (have)
			memcpy(scratch, l->carry, have);
		used = feed_any(l, scratch, have + (size_t)n);
		if (used < 0)
			return -1;
		if (have || (size_t)used < (size_t)n)
			if (carry(l, scratch + used, have + (size_t)n - (size_t)used))
				return -1;
		if ((size_t)n < want && !l->hup)
			break; /* short: drained */
		if (budget <= (size_t)n) {
			link_read_later(l);
			break;
		}
		budget -= (size_t)n;
	}
	if (l->phase != LINK_UP && l->phase != LINK_HELLO)
		return -1;
	room(l);
	return 0;
}

void link_resume(struct link *l)
{
	int64_t used;

	if (!(l->blocked & BLOCKED_REPLY))
		return;
	l->blocked &= (uint8_t)~BLOCKED_REPLY;
	if (l->carried) {
		used = feed_any(l, l->carry, l->carried);
		if (used < 0 || carry(l, l->carry + used, l->carried - (size_t)used))
			return;
	}
	link_read(l);
}
