/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose turn it is.  A connection may start a few requests as soon as they have come.  One that has more, or
 * whose project has had enough of this turn, waits in a ring: projects get equal shares (resilience/drr.h),
 * the connections of a project come in turn.  What waits, waits in its socket or its buffer, not in front of a
 * lane: of those that had to wait only so many requests are under way (the window), so that whoever asks for
 * little finds the lane free.
 *
 * Turns are long while only one project has something to do, because large batches are cheap.  As soon as
 * another asks for little beside one that waits, they are short: what it asks for is sent first, then comes a
 * slice of the rest.  Nothing of all this runs before FAIR_FROM requests are started in one turn, or one
 * connection starts TURN_REQUESTS.
 */
#include <config.h>
#include <stdlib.h>
#include "server/server.h"

#define FAIR_FROM 1024u          /* requests in a turn, from which it matters who starts them */
#define STRAIGHT 1024u           /* ... of which those of one project are started before the ring is asked */
#define STRAIGHT_SHARED 64u      /* ... in a short turn */
#define SLICE 2048               /* of those that wait, in a turn */
#define SLICE_SHARED 64
#define PART 256u                /* of one connection at a time */
#define WINDOW 8192              /* requests under way of a project's connections that had to wait */
#define WINDOW_SHARED 1024
#define BYTES_SHIFT 12           /* a request costs 1, and 1 more for each 4 KiB */
#define SHARED_NS UINT64_C(20000000)   /* turns stay short for so long */
#define HEAVY_NS UINT64_C(100000000)   /* whoever had to wait asks the ring for so long */

/* The connections of one project on this worker that wait. */
struct flow {
	struct drr_flow f;       /* first */
	int64_t inflight;        /* requests of connections that have waited, not answered */
	uint64_t turn;           /* in which ... */
	uint32_t straight;       /* ... so many were started without the ring */
};

void fair_init(struct serving *s)
{
	s->fair.drr.quantum = SLICE_SHARED;
}

void fair_free(struct serving *s)
{
	for (uint32_t i = 0; i < s->fair.nflows; i++)
		free(s->fair.flows[i]);
	free(s->fair.flows);
}

static uint32_t flow_number(const struct conn *c)
{
	return c->cl.project ? c->cl.project->ns + 1 : 0;
}

/* NULL: no memory; then it goes without a ring. */
static struct flow *flow_get(struct fair *f, uint32_t i)
{
	if (i >= f->nflows) {
		uint32_t n = f->nflows ? f->nflows : 8;
		struct flow **v;

		while (n <= i)
			n *= 2;
		v = realloc(f->flows, n * sizeof *v);
		if (!v)
			return NULL;
		while (f->nflows < n)
			v[f->nflows++] = NULL;
		f->flows = v;
	}
	if (!f->flows[i])
		f->flows[i] = calloc(1, sizeof **f->flows);
	return f->flows[i];
}

static void count(struct conn *c)
{
	if (!c->fair.flow)
		return;
	c->fair.flow->inflight += (int64_t)c->cl.nrequests - c->fair.counted;
	c->fair.counted = c->cl.nrequests;
}

static void forget(struct conn *c)
{
	if (c->fair.flow)
		c->fair.flow->inflight -= c->fair.counted;
	c->fair.counted = 0;
	c->fair.flow = NULL;
}

/* That of its project now; it does not wait. */
static struct flow *flow_of(struct conn *c)
{
	uint32_t number = flow_number(c);

	if (!c->fair.flow || c->fair.number != number) {
		forget(c);
		c->fair.flow = flow_get(&c->sv->fair, number);
		c->fair.number = number;
	}
	count(c);
	return c->fair.flow;
}

static bool shared(const struct fair *f, uint64_t now)
{
	return now - f->light_ns < SHARED_NS && f->light_ns;
}

static void wait_for_turn(struct conn *c, struct flow *f)
{
	c->fair.waits = true;
	c->allow = 0;
	drr_add(&c->sv->fair.drr, &f->f, &c->fair.item);
	c->sv->fair.on = true;
	loop_again(c->sv->w.loop);
}

void fair_spent(struct conn *c)
{
	struct flow *f = flow_of(c);

	c->fair.heavy_ns = loop_now(c->sv->w.loop);
	if (f)
		wait_for_turn(c, f);
	else
		conn_wake(&c->cl);
}

void fair_started(struct conn *c, uint32_t n)
{
	struct fair *f = &c->sv->fair;

	f->started += n;
	if (f->started >= FAIR_FROM)
		f->on = true;
	if (!f->on || !c->fair.flow || c->fair.flow->turn != f->turn)
		return;
	c->fair.flow->straight += n;
}

bool fair_waits(struct conn *c)
{
	struct fair *f = &c->sv->fair;
	uint64_t now = loop_now(c->sv->w.loop);
	struct flow *flow;

	if (c->fair.waits)
		return true;
	if (f->serving == c)
		return false;
	flow = flow_of(c);
	if (!flow)
		return false;
	if (flow->turn != f->turn) {
		flow->turn = f->turn;
		flow->straight = 0;
	}
	if (flow->straight >= (shared(f, now) ? STRAIGHT_SHARED : STRAIGHT) ||
	    (c->fair.heavy_ns && now - c->fair.heavy_ns < HEAVY_NS)) {
		wait_for_turn(c, flow);
		return true;
	}
	if (f->drr.head && !flow->f.head)
		f->light_ns = now; /* others wait, and this one asks for little */
	return false;
}

void fair_settle(struct conn *c)
{
	count(c);
}

void fair_close(struct conn *c)
{
	if (c->fair.waits)
		drr_remove(&c->sv->fair.drr, &c->fair.flow->f, &c->fair.item);
	c->fair.waits = false;
	forget(c);
}

static bool may(void *arg, const struct drr_flow *f)
{
	return ((const struct flow *)f)->inflight < *(const int64_t *)arg;
}

bool fair_shared(const struct serving *s)
{
	return shared(&s->fair, loop_now(s->w.loop));
}

/* One connection's turn; what it cost. */
static int64_t serve(struct conn *c, uint32_t allow)
{
	uint64_t before = c->cl.commands, bytes = c->fair.bytes;

	c->fair.waits = false;
	c->allow = allow;
	c->share = 0;
	c->sv->fair.serving = c;
	conn_go_on(c);
	c->sv->fair.serving = NULL;
	if (!c->fair.waits) {
		c->allow = TURN_REQUESTS;
		conn_wake(&c->cl); /* something else may be in its way */
	}
	count(c);
	return (int64_t)(c->cl.commands - before) + (int64_t)((c->fair.bytes - bytes) >> BYTES_SHIFT);
}

void fair_turn(struct serving *s)
{
	struct fair *f = &s->fair;
	bool short_turn = fair_shared(s);
	int64_t budget = short_turn ? SLICE_SHARED : SLICE, window = short_turn ? WINDOW_SHARED : WINDOW;
	struct drr_flow *flow;
	struct drr_item *it;

	while (budget > 0 && (it = drr_next(&f->drr, may, &window, &flow))) {
		struct conn *c = (struct conn *)((char *)it - offsetof(struct conn, fair.item));
		int64_t cost = serve(c, short_turn ? SLICE_SHARED : PART);

		cost += !cost; /* not even to look is for nothing */
		drr_spend(flow, cost);
		budget -= cost;
	}
}

void fair_turn_ends(struct serving *s)
{
	struct fair *f = &s->fair;
	int64_t window = fair_shared(s) ? WINDOW_SHARED : WINDOW;

	f->turn++;
	f->on = f->drr.head || f->started >= FAIR_FROM;
	f->started = 0;
	for (const struct drr_flow *w = f->drr.head; w; w = w->next)
		if (may(&window, w)) {
			loop_again(s->w.loop);
			break;
		}
}
