/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscribers of the load: each hears every message of every publisher, once and in order. A
 * publisher's batch is over when all its messages have reached all subscribers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdlib.h>

#include "load_conn.h"

/* The confirmation of SUBSCRIBE, a RESP3 push or a RESP2 array. */
static int subscribe(struct load *l, struct conn *c)
{
	char reply[256];

	c->fd = load_open(l);
	if (c->fd < 0)
		return -1;
	if (fcntl(c->fd, F_SETFL, 0) < 0 ||
	    net_ask(c->fd, "SUBSCRIBE " WIRE_CHANNEL "\r\n", reply, sizeof(reply), wire_skip) <= 0 ||
	    (reply[0] != '*' && reply[0] != '>') || fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0) {
		load_fail(l, "cannot subscribe");
		return -1;
	}
	return load_register(l, c);
}

int fanout_open(struct load *l)
{
	for (unsigned i = 0; i < l->o->subscribers; i++) {
		struct conn *c = &l->subs[i];
		c->subscriber = true;
		c->index = i;
		c->heard = calloc(l->o->conns, sizeof(*c->heard));
		if (!c->heard || subscribe(l, c) < 0)
			return -1;
	}
	return 0;
}

size_t fanout_consume(struct load *l, struct conn *c, const char *buf, size_t len, uint64_t now)
{
	size_t off = 0;

	while (off < len && !l->failed) {
		unsigned publisher = 0;
		uint64_t number = 0;
		long n = wire_message(&l->wire, buf + off, len - off, &publisher, &number);
		if (n == 0)
			break;
		if (n < 0 || publisher >= l->o->conns) {
			load_complain(l, "not a message of this run", buf + off, len - off);
			load_fail(l, "subscriber %u cannot follow its stream", c->index);
			break;
		}
		off += (size_t)n;
		struct conn *from = &l->conns[publisher];
		if (number != ++c->heard[publisher] || from->owed == 0) {
			load_complain(l, "message lost, repeated or out of order", buf + off - n, (size_t)n);
			load_fail(l, "subscriber %u: got number %llu, expected %llu", c->index,
				  (unsigned long long)number, (unsigned long long)c->heard[publisher]);
			break;
		}
		if (l->phase == PHASE_MEASURE) {
			l->r->deliveries++;
			hist_add(&l->r->delivery, now - from->batch_ns);
		}
		if (--from->owed == 0 && from->seen == from->sent)
			load_batch_done(l, from, now);
	}
	return off;
}
