/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "request_pubsub.h"
#include "request_track.h"

struct outband *client_outband(struct client *c)
{
	if (!c->outband)
		c->outband = calloc(1, sizeof *c->outband);
	return c->outband;
}

void outband_end(struct client *c)
{
	pubsub_leave(c);
	monitor_leave(c);
	track_end(c);
	out_clear(&c->outband->late, &c->w->pool);
}

/* Inside the reply of the request at the head nothing else may be written. */
static bool in_reply(const struct client *c)
{
	return c->head && !c->head->sink && out_position(&c->out) != c->head->start;
}

static void cut_slow(struct client *c, size_t waiting)
{
	metric_cell_add(metric_cell(c->w->metrics, METRIC_CLIENTS_CUT, "slow_subscriber"), 1);
	log_event(c->w->log, LOG_M_SERVER, LOG_WARN, "client.subscriber.slow",
	    "a subscriber that does not read its messages is cut (subscriber_limit)",
	    LOG_UINT("client.id", c->session.id), LOG_UINT("pid", c->id.peer.pid),
	    LOG_UINT("waiting", waiting));
	c->cut = true;
	c->wake(c);
}

bool push_begin(struct client *c, size_t n, struct out **o)
{
	size_t waiting = c->out.bytes + c->outband->late.bytes;

	if (c->cut || c->gone || c->quit)
		return false;
	if (waiting && waiting + n > c->gen->subscriber_limit) {
		cut_slow(c, waiting);
		return false;
	}
	*o = in_reply(c) || c->outband->late.bytes || c->outband->heard ? &c->outband->late : &c->out;
	return true;
}

void push_end(struct client *c)
{
	if (c->outband->heard)
		c->outband->heard(c);
	else if (c->head && !c->outband->late.bytes)
		c->head->start = out_position(&c->out); /* its reply begins behind this */
	c->wake(c);
}

void push_bytes(struct client *c, const void *p, size_t n)
{
	struct out *o;

	if (!push_begin(c, n, &o))
		return;
	if (out_put(o, &c->w->pool, p, n))
		c->cut = true;
	push_end(c);
}

void outband_replied(struct client *c, struct request *r)
{
	if (c->outband->late.bytes && !c->outband->heard)
		out_splice(&c->out, &c->outband->late);
	if (c->head)
		c->head->start = out_position(&c->out); /* nothing of its reply is there yet */
	if (r->reads)
		track_replied(c, r);
}

void client_dismiss(struct client *c, const char *reason, const char *text)
{
	char frame[512];

	if (c->gone || c->cut)
		return;
	if (c->resp == 3) {
		int n = snprintf(frame, sizeof frame, ">2\r\n$13\r\npurser.closed\r\n$%zu\r\n%s\r\n", strlen(text),
		    text);

		push_bytes(c, frame, (size_t)n);
	}
	metric_cell_add(metric_cell(c->w->metrics, METRIC_CLIENTS_CUT, reason), 1);
	log_event(c->w->log, LOG_M_SERVER, LOG_INFO, "client.dismissed", text,
	    LOG_UINT("client.id", c->session.id), LOG_UINT("pid", c->id.peer.pid), LOG_STR("reason", reason));
	c->quit = true;
	c->wake(c);
}
