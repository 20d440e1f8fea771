/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream of server-sent events (rows of the kind EVENTS): an HTTP connection that hears what a RESP3 client would be
 * pushed, until it leaves.  What the client hears collects in its outband, as frames; here they become events and go
 * on to the socket.  Slow readers, permission and reload are the same business as a RESP subscriber's: it is cut,
 * or dismissed with a push that says why, which is the last event.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "request_push.h"
#include "server/http_events.h"
#include "server/http_reply.h"
#include "server/server.h"

struct conn_events {
	struct json_out json;
	struct buf text;                /* events on their way to the client's buffer */
	struct buf framed;
	bool live;                      /* the head is out */
	bool chunked;
	bool closed;                    /* the last event was said */
	uint64_t sent_ns;               /* something was said */
};

static void put(struct conn *c, const void *p, size_t n)
{
	if (out_put(&c->cl.out, &c->sv->w.pool, p, n))
		c->cl.cut = true;
}

/* The events in e->text go out. */
static void send_text(struct conn *c)
{
	struct conn_events *e = c->events;

	if (e->text.failed) {
		c->cl.cut = true;
	} else if (e->chunked) {
		buf_clear(&e->framed);
		http_reply_chunk(&e->framed, buf_data(&e->text), buf_len(&e->text));
		if (e->framed.failed)
			c->cl.cut = true;
		put(c, buf_data(&e->framed), buf_len(&e->framed));
	} else {
		put(c, buf_data(&e->text), buf_len(&e->text));
	}
	if (e->text.cap > OUT_BLOCK) {
		buf_free(&e->text);
		buf_free(&e->framed);
	}
	buf_clear(&e->text);
	e->sent_ns = loop_now(c->sv->w.loop);
}

/* Frames have come: the client's outband has them, whole. */
static void heard(struct client *cl)
{
	struct conn *c = (struct conn *)cl;
	struct conn_events *e = c->events;
	struct out *late = &cl->outband->late;
	const uint8_t *p;
	size_t n = late->bytes;

	if (!e->live || !n)
		return;
	p = out_flat(late, &c->sv->w.pool);
	while (p && n) {
		int64_t used = http_event_put(&e->text, p, n, &e->json, &e->closed);

		if (used <= 0) {
			p = NULL;
			break;
		}
		p += used;
		n -= (size_t)used;
	}
	if (!p)
		cl->cut = true; /* no memory: an event is never left out */
	out_clear(late, &c->sv->w.pool);
	send_text(c);
}

bool conn_events_begin(struct conn *c, bool base64)
{
	struct conn_events *e = c->events ? c->events : calloc(1, sizeof *e);

	if (!e || !client_outband(&c->cl)) {
		free(c->events ? NULL : e);
		return false;
	}
	if (!c->events)
		json_out_init(&e->json, base64 ? JSON_OUT_BASE64 : 0, 0);
	c->events = e;
	c->cl.outband->heard = heard;
	c->cl.resp = 3;
	c->cl.streams = true;
	return true;
}

void conn_events_drop(struct conn *c)
{
	c->cl.streams = false;
	c->cl.resp = 2;
	c->cl.outband->heard = NULL;
	outband_end(&c->cl);
	client_unbind(&c->cl);
	c->cl.topics = 0;
	conn_events_free(c);
}

void conn_events_live(struct conn *c, bool chunked)
{
	c->events->live = true;
	c->events->chunked = chunked;
	c->events->sent_ns = loop_now(c->sv->w.loop);
	metric_add(c->sv->w.metrics, METRIC_HTTP_STREAMS, 1);
	heard(&c->cl);
}

bool conn_events_are_live(const struct conn *c)
{
	return c->events && c->events->live;
}

/* c->cl.quit: the last event, and the end of the body. */
void conn_events_end(struct conn *c)
{
	struct conn_events *e = c->events;

	if (!e->closed)
		buf_printf(&e->text, "event: closed\ndata: {\"reason\":\"%s\"}\n\n", c->sv->w.draining ?
		    "the agent is shutting down" : "the agent was told to close this connection");
	if (buf_len(&e->text))
		send_text(c);
	if (e->chunked)
		put(c, "0\r\n\r\n", 5);
	conn_events_drop(c);
}

void conn_events_beat(struct conn *c, uint64_t now)
{
	struct conn_events *e = c->events;

	if (!e || !e->live || c->cl.out.bytes || now - e->sent_ns < c->sv->limits.heartbeat_ns)
		return;
	buf_puts(&e->text, ":\n\n");
	send_text(c);
	conn_wake(&c->cl);
}

void conn_events_free(struct conn *c)
{
	struct conn_events *e = c->events;

	if (!e)
		return;
	if (e->live)
		metric_add(c->sv->w.metrics, METRIC_HTTP_STREAMS, -1);
	json_out_free(&e->json);
	buf_free(&e->text);
	buf_free(&e->framed);
	free(e);
	c->events = NULL;
}
