/* SPDX-License-Identifier: Apache-2.0
 *
 * lane: which link serves a SHARED call, and what happens when there is none.
 *
 * Order: calls of one session must not overtake each other, so as long as a lane has calls on more
 * than its first link ("tracking"), each session is marked with the link its calls are on, and stays
 * there until nothing of it is in flight that somebody waits for, or nobody is on the other links.
 * Calls with resp 0 go by the RESP2 lane.
 *
 * A session that got a large reply goes by another link than the first for a while, whenever nothing of it
 * is in flight: who asks for large values once asks again, and small ones would wait behind them.
 *
 * Connecting: one link at a time.  A link that was lost is tried again after a short random time,
 * and calls wait (AGAIN); after an attempt that failed the lane is down, and calls fail at once until
 * one succeeds.  Waits grow with each failure, with full jitter.
 */
#include "redis.h"
#include "tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECENT_NS (60 * NS_PER_S)  /* a lane that nobody used for so long is not kept alive */
#define REPEAT_NS (30 * NS_PER_S)  /* between two log lines about the same trouble */
#define STABLE_NS NS_PER_S         /* a link that lives shorter counts as a failure */

int ctx_again(struct ctx *x, uint32_t route)
{
	x->routes_again |= 1u << route;
	return PURSER_AGAIN;
}

void ctx_wake(struct ctx *x, uint32_t route)
{
	if (!(x->routes_again & 1u << route))
		return;
	x->routes_again &= ~(1u << route);
	x->h->ready(x->x, route);
}

void ctx_wake_all(struct ctx *x)
{
	ctx_wake(x, PURSER_ROUTE_SHARED);
	ctx_wake(x, PURSER_ROUTE_EXCLUSIVE);
	ctx_wake(x, PURSER_ROUTE_PINNED);
}

/* ---- sessions -------------------------------------------------------------------------------------- */

struct session *session_of(struct ctx *x, purser_session *s)
{
	void **slot = s ? x->h->slot(s, x->x) : NULL;

	if (!slot)
		return NULL;
	if (!*slot) {
		struct session *own = calloc(1, sizeof(*own));

		if (!own)
			return NULL;
		own->next = x->sessions;
		if (own->next)
			own->next->prev = own;
		x->sessions = own;
		*slot = own;
	}
	return *slot;
}

void session_free(struct ctx *x, struct session *s)
{
	pool_unpin(s);
	if (s->prev)
		s->prev->next = s->next;
	else
		x->sessions = s->next;
	if (s->next)
		s->next->prev = s->prev;
	free(s);
}

/* Mark the session of c: its calls are on l.  -1: no memory. */
static int mark(struct link *l, purser_call *c)
{
	uint64_t mark = l->lane->epoch * LANE_LINKS + l->index;
	struct session *s;

	if (!c->session || c->user[2] == CANCELLED)
		return 0;
	s = session_of(l->x, c->session);
	if (!s)
		return -1;
	if (s->mark != mark)
		s->flight = 0;
	s->mark = mark;
	s->flight++;
	c->user[2] = s;
	return 0;
}

void lane_forget(purser_call *c)
{
	const struct link *l = c->user[0];

	if (l->lane->tracking)
		lane_ended(c);
	c->user[2] = CANCELLED;
}

/* The link that calls of this session are on; NULL: any will do. */
static struct link *marked(struct lane *lane, const purser_call *c)
{
	void **slot = c->session ? lane->x->h->slot(c->session, lane->x->x) : NULL;
	const struct session *s = slot ? *slot : NULL;

	if (!s || !s->flight || s->mark / LANE_LINKS != lane->epoch)
		return NULL;
	return lane->links[s->mark % LANE_LINKS];
}

/* Is there still a reason to know where each session is? */
static void untrack(struct lane *lane)
{
	if (lane->heavy_until > lane->x->h->now(lane->x->x))
		return;
	for (unsigned i = 1; i < lane->nlinks; i++)
		if (link_busy(lane->links[i]))
			return;
	lane->tracking = false;
}

/* Links but the first that nobody needed for a while are closed. */
static void lane_slim(void *arg)
{
	struct lane *lane = arg;
	struct ctx *x = lane->x;
	bool used;

	untrack(lane);
	used = lane->tracking || lane->extra_used;
	lane->slim_timer = 0;
	lane->extra_used = false;
	for (unsigned i = 1; !used && i < lane->nlinks; i++)
		if (lane->links[i]->phase == LINK_UP && !link_busy(lane->links[i]))
			link_shut(lane->links[i]);
	if (used)
		lane->slim_timer = x->h->timer(x->x, EXTRA_IDLE, lane_slim, lane);
}

/* One more link of the lane; NULL: it has as many as it may, or no memory. */
static struct link *lane_link(struct lane *lane)
{
	struct link *l;

	if (lane->nlinks == LANE_LINKS)
		return NULL;
	l = link_new(lane, false, 0);
	if (!l)
		return NULL;
	l->index = (uint8_t)lane->nlinks;
	lane->links[lane->nlinks++] = l;
	return l;
}

/* A second link is about to be used: mark everybody who is in flight.  -1: no memory. */
static int track(struct lane *lane)
{
	lane->epoch = ++lane->x->epoch;
	for (unsigned i = 0; i < lane->nlinks; i++)
		for (purser_call *c = lane->links[i]->head; c; c = c->link)
			if (mark(lane->links[i], c))
				return -1;
	lane->tracking = lane->extra_used = true;
	if (!lane->slim_timer)
		lane->slim_timer = lane->x->h->timer(lane->x->x, EXTRA_IDLE, lane_slim, lane);
	return 0;
}

void lane_drained(struct link *l)
{
	struct lane *lane = l->lane;

	if (lane->tracking && l->index > 0)
		untrack(lane);
}

void lane_heavy(struct lane *lane, purser_call *c)
{
	struct session *s = session_of(lane->x, c->session);
	struct link *l;

	if (!s || lane->x->draining)
		return;
	s->heavy_until = lane->heavy_until = lane->x->h->now(lane->x->x) + HEAVY_NS;
	if (!lane->tracking && track(lane)) {
		lane->heavy_until = 0; /* no memory: it stays where it is */
		return;
	}
	l = lane->nlinks > 1 ? lane->links[1] : lane_link(lane);
	if (l && l->phase == LINK_CLOSED && !lane->timer && !lane->down)
		link_open(l); /* for its next call */
}

/* The link for a heavy session; NULL: any. */
static struct link *aside(struct lane *lane, const purser_call *c)
{
	void **slot = c->session ? lane->x->h->slot(c->session, lane->x->x) : NULL;
	const struct session *s = slot ? *slot : NULL;

	if (!s || s->heavy_until <= lane->used)
		return NULL;
	for (unsigned i = 1; i < lane->nlinks; i++)
		if (lane->links[i]->phase == LINK_UP && !lane->links[i]->blocked)
			return lane->links[i];
	return NULL;
}

/* ---- lanes ----------------------------------------------------------------------------------------- */

bool lane_unused(const struct lane *lane)
{
	if (lane->connecting || lane->idle[DEDICATED_POOL] || lane->idle[DEDICATED_BLOCKING])
		return false;
	for (unsigned i = 0; i < lane->nlinks; i++)
		if (link_busy(lane->links[i]) || out_len(&lane->links[i]->out) || lane->links[i]->dirty ||
		    (lane->links[i]->phase != LINK_CLOSED && lane->links[i]->phase != LINK_UP))
			return false;
	for (const struct link *l = lane->x->dedicated; l; l = l->next_dedicated)
		if (l->lane == lane)
			return false;
	return true;
}

uint64_t lane_heard(const struct lane *lane)
{
	uint64_t last = lane->used;

	for (unsigned i = 0; i < lane->nlinks; i++)
		if (lane->links[i]->heard > last)
			last = lane->links[i]->heard;
	return last;
}

/* There are as many users as projects: the lane of the one whose scripts ran least recently makes room. */
static bool make_room(struct ctx *x)
{
	struct lane **p, *oldest = NULL;

	for (struct lane *lane = x->lanes; lane; lane = lane->next)
		if (lane->cred && (!oldest || lane_heard(lane) < lane_heard(oldest)) && lane_unused(lane))
			oldest = lane;
	if (!oldest)
		return false;
	for (p = &x->lanes; *p != oldest; p = &(*p)->next)
		;
	*p = oldest->next;
	x->nlanes--;
	if (x->hot == oldest)
		x->hot = NULL;
	lane_free(oldest);
	return true;
}

struct lane *lane_find(struct ctx *x, uint16_t db, uint8_t version, uint32_t cred)
{
	uint64_t key = lane_key(db, version, cred);
	struct lane *lane;

	for (lane = x->lanes; lane; lane = lane->next)
		if (lane->key == key)
			return x->hot = lane;
	errno = ENOTSUP;
	if ((unsigned)x->in->url.db + db > UINT16_MAX)
		return NULL;
	errno = EACCES;
	if (cred && !cred_known(x->in, cred))
		return NULL;
	errno = EAGAIN;
	if (x->nlanes >= LANES_MAX && !make_room(x))
		return NULL;
	errno = ENOMEM;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return NULL;
	lane->x = x;
	lane->key = key;
	lane->db = (uint16_t)(x->in->url.db + db);
	lane->version = version;
	lane->cred = cred;
	lane->next = x->lanes;
	x->lanes = lane;
	x->nlanes++;
	return x->hot = lane;
}

void lane_free(struct lane *lane)
{
	for (unsigned i = 0; i < lane->nlinks; i++) {
		link_end(lane->links[i]);
		link_free(lane->links[i]);
	}
	if (lane->timer)
		lane->x->h->untimer(lane->x->x, lane->timer);
	if (lane->slim_timer)
		lane->x->h->untimer(lane->x->x, lane->slim_timer);
	free(lane);
}

int lane_refuse(struct lane *lane, purser_call *c)
{
	struct ctx *x = lane->x;

	x->h->via(c, x->in->endpoint);
	x->h->fail(c, lane->down ? lane->code : PURSER_E_CONNECT, PURSER_NOT_EXECUTED,
	    lane->down ? lane->text : "redis: the backend is being closed");
	return PURSER_DONE;
}

/* ---- connecting ------------------------------------------------------------------------------------ */

uint64_t ctx_jitter(struct ctx *x, unsigned n)
{
	const struct instance *in = x->in;
	uint64_t top = n < 30 && in->base_ns << n < in->cap_ns ? in->base_ns << n : in->cap_ns;

	x->random ^= x->random << 13;
	x->random ^= x->random >> 7;
	x->random ^= x->random << 17;
	return x->random % top + 1;
}

static bool recent(const struct lane *lane)
{
	return lane->x->h->now(lane->x->x) - lane->used < RECENT_NS;
}

static void lane_retry(void *arg)
{
	struct lane *lane = arg;
	struct link *l = lane->nlinks ? lane->links[0] : lane_link(lane);

	lane->timer = 0;
	if (!l || l->phase == LINK_UP || !recent(lane)) {
		lane->down = false; /* the next call tries */
		ctx_wake_all(lane->x);
	} else if (l->phase == LINK_CLOSED) {
		link_open(l);
	}
}

/* Try again after a while. */
static void lane_later(struct lane *lane, unsigned n)
{
	struct ctx *x = lane->x;

	if (lane->timer || x->draining || (lane->cred && !cred_known(x->in, lane->cred)))
		return;
	lane->timer = x->h->timer(x->x, ctx_jitter(x, n), lane_retry, lane);
	if (!lane->timer) {
		lane->down = false; /* no memory for a timer: the next call tries */
		ctx_wake_all(x);
	}
}

/* Log lines of one kind of trouble: the first, then at most one in REPEAT_NS. */
static bool worth_telling(struct lane *lane, bool first)
{
	uint64_t now = lane->x->h->now(lane->x->x);

	if (!first && now - lane->told < REPEAT_NS)
		return false;
	lane->told = now;
	return true;
}

void lane_up(struct link *l)
{
	struct lane *lane = l->lane;
	struct ctx *x = lane->x;
	const struct instance *in = x->in;

	if (lane->fails)
		x->h->log(in->i, PURSER_LOG_INFO, "redis %s: recovered after %.1f s (%u attempts)", in->where,
		    (double)(x->h->now(x->x) - lane->down_since) / (double)NS_PER_S, lane->fails + 1);
	else
		x->h->log(in->i, l->index || lane->flaps ? PURSER_LOG_DEBUG : PURSER_LOG_INFO,
		    "redis %s: connected (server %s, RESP%u, database %u%s%s)", in->where,
		    l->server[0] ? l->server : "of unknown version", lane->version, lane->db,
		    l->tls ? ", " : "", l->tls ? tls_version(l) : "");
	lane->fails = 0;
	lane->down = false;
	atomic_fetch_add_explicit(&x->in->ups, 1, memory_order_relaxed);
	ctx_wake_all(x);
	keep_warm(lane);
}

void lane_lost(struct link *l, const char *text, unsigned calls)
{
	struct lane *lane = l->lane;
	struct ctx *x = lane->x;
	bool tell = worth_telling(lane, false);

	x->h->log(x->in->i, tell ? PURSER_LOG_WARN : PURSER_LOG_DEBUG, "%s (%u calls in flight)", text,
	    calls);
	if (l->dedicated)
		return;
	lane_drained(l);
	if (l->index || x->draining || (!calls && !recent(lane))) {
		ctx_wake_all(x);
		return;
	}
	lane->flaps = x->h->now(x->x) - l->up_since < STABLE_NS ? lane->flaps + 1 : 0;
	lane_later(lane, lane->flaps);
}

void lane_failed(struct lane *lane, uint32_t code, const char *text)
{
	struct ctx *x = lane->x;

	lane->down = true;
	lane->ups = atomic_load_explicit(&x->in->ups, memory_order_relaxed);
	lane->code = code;
	snprintf(lane->text, sizeof(lane->text), "%s", text);
	if (lane->fails++ == 0)
		lane->down_since = x->h->now(x->x);
	if (worth_telling(lane, lane->fails == 1))
		x->h->log(x->in->i, PURSER_LOG_WARN, "%s (attempt %u)", text, lane->fails);
	lane_later(lane, lane->fails - 1);
	ctx_wake_all(x);
}

/* ---- submit ---------------------------------------------------------------------------------------- */

static int lane_put(struct link *l, purser_call *c)
{
	int rc;

	if (l->lane->tracking && c->session && !session_of(l->x, c->session)) {
		l->x->h->fail(c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, "out of memory");
		return PURSER_DONE;
	}
	rc = link_put(l, c);
	if (rc == PURSER_PENDING && l->lane->tracking)
		mark(l, c);
	return rc == PURSER_AGAIN ? ctx_again(l->x, PURSER_ROUTE_SHARED) : rc;
}

/* No link is up and free: open one, if that is any use. */
static int lane_open(struct lane *lane, purser_call *c, bool any_up)
{
	struct ctx *x = lane->x;
	struct link *l = NULL;

	if (lane->down && lane->ups != atomic_load_explicit(&x->in->ups, memory_order_relaxed)) {
		/* Somebody else has reached the server since: what we know is old, so this call may wait. */
		lane->down = false;
		if (lane->timer)
			x->h->untimer(x->x, lane->timer);
		lane->timer = 0;
	}
	if (x->draining || (lane->down && !any_up))
		return lane_refuse(lane, c);
	if (lane->timer)
		return ctx_again(x, PURSER_ROUTE_SHARED);
	for (unsigned i = 0; i < lane->nlinks; i++) {
		if (lane->links[i]->phase != LINK_CLOSED && lane->links[i]->phase != LINK_UP)
			return ctx_again(x, PURSER_ROUTE_SHARED); /* one is on its way */
		if (!l && lane->links[i]->phase == LINK_CLOSED)
			l = lane->links[i];
	}
	if (!l && lane->nlinks == LANE_LINKS)
		return ctx_again(x, PURSER_ROUTE_SHARED); /* until one of them is free again */
	if (!l && !(l = lane_link(lane))) {
		x->h->fail(c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, "out of memory");
		return PURSER_DONE;
	}
	link_open(l);
	return lane->down && !any_up ? lane_refuse(lane, c) : ctx_again(x, PURSER_ROUTE_SHARED);
}

static int lane_slow(struct lane *lane, purser_call *c)
{
	struct link *l = lane->tracking ? marked(lane, c) : NULL;
	bool any_up = false;

	lane->used = lane->x->h->now(lane->x->x);
	lane->clients |= !(c->flags & PURSER_CALL_INTERNAL);
	if (l && l->phase == LINK_UP)
		return lane_put(l, c);
	if (lane->heavy_until > lane->used && (l = aside(lane, c)))
		return lane_put(l, c);
	for (unsigned i = 0; i < lane->nlinks; i++) {
		l = lane->links[i];
		if (l->phase != LINK_UP)
			continue;
		any_up = true;
		if (l->blocked)
			continue;
		if (i > 0 && !lane->tracking && track(lane))
			return ctx_again(lane->x, PURSER_ROUTE_SHARED);
		if (i > 0 && (l = marked(lane, c)) && l->phase == LINK_UP) /* it was among them */
			return lane_put(l, c);
		return lane_put(lane->links[i], c);
	}
	return lane_open(lane, c, any_up);
}

int lane_submit(struct ctx *x, purser_call *c)
{
	struct lane *lane = lane_of(x, c);
	struct link *l;
	int rc;

	if (__builtin_expect(!lane, 0)) {
		if (errno == EAGAIN)
			return ctx_again(x, PURSER_ROUTE_SHARED);
		x->h->fail(c, errno == ENOMEM ? PURSER_E_NOMEM : errno == EACCES ? PURSER_E_AUTH : PURSER_E_UNSUPPORTED,
		    PURSER_NOT_EXECUTED, "redis: no lane for this credential or database");
		return PURSER_DONE;
	}
	l = lane->links[0];
	if (__builtin_expect(!l || l->phase != LINK_UP || l->blocked || lane->tracking, 0))
		return lane_slow(lane, c);
	rc = link_put(l, c);
	return rc == PURSER_AGAIN ? ctx_again(x, PURSER_ROUTE_SHARED) : rc;
}
