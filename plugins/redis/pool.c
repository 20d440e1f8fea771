/* SPDX-License-Identifier: Apache-2.0
 *
 * pool: links that serve one call (EXCLUSIVE) or one session (PINNED) at a time.  Links for blocking
 * commands and all others are two classes with limits of their own, counted over all workers.  Idle
 * ones are used again, the last first; keep.c closes those that are idle or old, and keeps some ready.
 *
 * A worker at the limit that has none of its own asks the others to close one that is idle, and looks
 * again every few milliseconds.
 */
#include "redis.h"

#include <errno.h>
#include <stdlib.h>

#define POLL_NS (5 * NS_PER_MS)

static uint32_t route_of(const struct link *l)
{
	return l->class_ == DEDICATED_BLOCKING ? PURSER_ROUTE_EXCLUSIVE : PURSER_ROUTE_PINNED;
}

static void wake(struct link *l)
{
	ctx_wake(l->x, PURSER_ROUTE_EXCLUSIVE);
	if (route_of(l) == PURSER_ROUTE_PINNED)
		ctx_wake(l->x, PURSER_ROUTE_PINNED);
}

static void idle_remove(struct link *l)
{
	if (!l->idle)
		return;
	if (l->prev_idle)
		l->prev_idle->next_idle = l->next_idle;
	else
		l->lane->idle[l->class_] = l->next_idle;
	if (l->next_idle)
		l->next_idle->prev_idle = l->prev_idle;
	l->next_idle = l->prev_idle = NULL;
	l->idle = false;
	atomic_fetch_sub(&l->x->nidle[l->class_], 1);
}

void pool_gone(struct link *l, bool was_up)
{
	idle_remove(l);
	unblock_gone(l);
	if (!was_up)
		l->lane->connecting--;
	if (l->owner) {
		l->owner->pin = NULL;
		l->owner->pin_lost = true;
		l->owner = NULL;
	}
	if (l->prev_dedicated)
		l->prev_dedicated->next_dedicated = l->next_dedicated;
	else
		l->x->dedicated = l->next_dedicated;
	if (l->next_dedicated)
		l->next_dedicated->prev_dedicated = l->prev_dedicated;
	if (l->class_ < DEDICATED_CLASSES)
		atomic_fetch_sub(&l->x->in->dedicated[l->class_], 1);
	link_bury(l);
	wake(l);
}

void pool_close(struct link *l)
{
	link_shut(l);
	pool_gone(l, true);
}

/* It is free for anybody. */
static void idle_add(struct link *l)
{
	struct ctx *x = l->x;
	struct link **head = &l->lane->idle[l->class_];

	if (x->draining) {
		pool_close(l);
		return;
	}
	l->idle = true;
	l->idle_since = x->h->now(x->x);
	l->prev_idle = NULL;
	l->next_idle = *head;
	if (*head)
		(*head)->prev_idle = l;
	*head = l;
	atomic_fetch_add(&x->nidle[l->class_], 1);
	keep_begin(x);
	wake(l);
}

void pool_free(struct link *l)
{
	idle_add(l);
}

void pool_up(struct link *l, bool fresh)
{
	if (fresh) {
		l->lane->connecting--;
		l->lane->down = false;
	}
	if (l->class_ == DEDICATED_CONTROL)
		unblock_ready(l);
	else if (l->idle || l->owner)
		wake(l);
	else
		idle_add(l);
	keep_warm(l->lane);
}

void pool_ended(struct link *l, uint32_t flags)
{
	if (l->head)
		return;
	if (l->owner) {
		if (!(flags & PURSER_CALL_UNPIN))
			return;
		l->owner->pin = NULL;
		l->owner = NULL;
	}
	if (l->as != l->lane->cred)
		pool_close(l);
	else if (!unblock_ended(l))
		idle_add(l);
}

static void pool_poll(void *arg)
{
	struct ctx *x = arg;

	x->poll_timer = 0;
	ctx_wake(x, PURSER_ROUTE_EXCLUSIVE);
	ctx_wake(x, PURSER_ROUTE_PINNED);
}

bool pool_reserve(struct ctx *x, unsigned class_, unsigned limit)
{
	atomic_uint *n = &x->in->dedicated[class_];
	unsigned have = atomic_load(n);

	while (have < limit)
		if (atomic_compare_exchange_weak(n, &have, have + 1))
			return true;
	return false;
}

/* One more of the class may be opened.  At the limit an idle one of another lane makes room. */
static bool reserve(struct ctx *x, unsigned class_)
{
	if (pool_reserve(x, class_, x->in->limit[class_]))
		return true;
	for (struct lane *lane = x->lanes; lane; lane = lane->next) {
		if (!lane->idle[class_])
			continue;
		pool_close(lane->idle[class_]);
		return reserve(x, class_);
	}
	return false;
}

int pool_open(struct lane *lane, unsigned class_)
{
	struct ctx *x = lane->x;
	struct link *l = link_new(lane, true, class_);

	if (!l) {
		if (class_ < DEDICATED_CLASSES)
			atomic_fetch_sub(&x->in->dedicated[class_], 1);
		return -1;
	}
	l->next_dedicated = x->dedicated;
	if (x->dedicated)
		x->dedicated->prev_dedicated = l;
	x->dedicated = l;
	if (class_ == DEDICATED_CONTROL)
		x->control = l;
	lane->connecting++;
	link_open(l);
	return 0;
}

/* How many may connect at the same time: one, until the server is known to be there. */
static unsigned connecting_max(const struct lane *lane)
{
	return lane->nlinks && lane->links[0]->phase == LINK_UP ? DEDICATED_CONNECTING : 1;
}

/* A link for c, taken out of the idle ones; NULL: *rc is submit's answer. */
static struct link *take(struct lane *lane, unsigned class_, purser_call *c, int *rc)
{
	struct ctx *x = lane->x;
	struct link *l = lane->idle[class_];

	lane->used = x->h->now(x->x);
	lane->clients |= !(c->flags & PURSER_CALL_INTERNAL);
	while (l && l->phase != LINK_UP) /* it is being checked */
		l = l->next_idle;
	if (l) {
		idle_remove(l);
		return l;
	}
	if (lane->down || x->draining) {
		*rc = lane_refuse(lane, c);
		return NULL;
	}
	*rc = ctx_again(x, c->route);
	if (lane->timer || lane->connecting >= connecting_max(lane))
		return NULL;
	if (!reserve(x, class_)) {
		if (x->in->limit[class_] == 0) {
			x->h->fail(c, PURSER_E_UNSUPPORTED, PURSER_NOT_EXECUTED, "redis: blocking_max is 0");
			*rc = PURSER_DONE;
		} else if (!x->poll_timer) {
			x->poll_timer = x->h->timer(x->x, POLL_NS, pool_poll, x);
			keep_ask(x, class_);
		}
		return NULL;
	}
	if (pool_open(lane, class_)) {
		x->h->fail(c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, "out of memory");
		*rc = PURSER_DONE;
	} else if (lane->down) {
		*rc = lane_refuse(lane, c);
	}
	return NULL;
}

/* The link watches keys as our own user, and what ends the watch is another's: AUTH leaves the watch as it is.  Nothing
 * of the call is sent before the server has said yes. */
static int become(struct link *l, uint32_t cred, purser_call *c)
{
	struct ctx *x = l->x;
	int rc;

	if (l->phase != LINK_UP || l->head)
		return ctx_again(x, PURSER_ROUTE_PINNED);
	if (l->as != cred) {
		if (hello_again(l) || hello_user(l, cred))
			link_lost(l, PURSER_E_NOMEM, "out of memory");
		else
			l->as = cred;
		if (l->phase == LINK_HELLO)
			link_flush(l);
		return ctx_again(x, PURSER_ROUTE_PINNED);
	}
	rc = link_put(l, c);
	return rc == PURSER_AGAIN ? ctx_again(x, PURSER_ROUTE_PINNED) : rc;
}

static int pinned(struct lane *lane, purser_call *c)
{
	struct ctx *x = lane->x;
	struct session *s = session_of(x, c->session);
	int rc;

	if (!s) {
		x->h->fail(c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, "out of memory");
		return PURSER_DONE;
	}
	if (s->pin_lost) { /* what was watched is not watched any more: nothing may run until UNPIN */
		if (c->flags & PURSER_CALL_UNPIN)
			s->pin_lost = false;
		x->h->via(c, x->in->endpoint);
		x->h->fail(c, PURSER_E_IO, PURSER_NOT_EXECUTED,
		    "redis: the connection that watched the keys was lost");
		return PURSER_DONE;
	}
	if (!s->pin) {
		s->pin = take(lane, DEDICATED_POOL, c, &rc);
		if (!s->pin)
			return rc;
		s->pin->owner = s;
	}
	if (s->pin->lane != lane && s->pin->lane->db == lane->db && s->pin->lane->version == lane->version)
		return become(s->pin, lane->cred, c);
	if (s->pin->lane != lane) {
		x->h->fail(c, PURSER_E_UNSUPPORTED, PURSER_NOT_EXECUTED,
		    "redis: database and protocol cannot change while keys are watched");
		return PURSER_DONE;
	}
	rc = link_put(s->pin, c);
	return rc == PURSER_AGAIN ? ctx_again(x, PURSER_ROUTE_PINNED) : rc;
}

int pool_submit(struct ctx *x, purser_call *c)
{
	struct lane *lane = lane_of(x, c);
	struct link *l;
	int rc = PURSER_DONE;

	if (!lane && errno == EAGAIN)
		return ctx_again(x, c->route);
	if (!lane) {
		x->h->fail(c, errno == ENOMEM ? PURSER_E_NOMEM : errno == EACCES ? PURSER_E_AUTH : PURSER_E_UNSUPPORTED,
		    PURSER_NOT_EXECUTED, "redis: no connection for this credential or database");
		return PURSER_DONE;
	}
	if (c->route == PURSER_ROUTE_PINNED)
		return pinned(lane, c);
	l = take(lane, c->flags & PURSER_CALL_BLOCKS ? DEDICATED_BLOCKING : DEDICATED_POOL, c, &rc);
	return l ? link_put(l, c) : rc;
}

void pool_unpin(struct session *s)
{
	struct link *l = s->pin;

	if (!l)
		return;
	s->pin = NULL;
	l->owner = NULL;
	pool_close(l); /* it may still watch keys */
}

void pool_close_idle(struct ctx *x)
{
	for (struct lane *lane = x->lanes; lane; lane = lane->next)
		for (unsigned k = 0; k < DEDICATED_CLASSES; k++)
			while (lane->idle[k])
				pool_close(lane->idle[k]);
}

void pool_stop(struct ctx *x)
{
	if (x->poll_timer)
		x->h->untimer(x->x, x->poll_timer);
	if (x->sweep_timer)
		x->h->untimer(x->x, x->sweep_timer);
	x->poll_timer = x->sweep_timer = 0;
	while (x->dedicated) {
		bool was_up = x->dedicated->phase == LINK_UP || x->dedicated->checking;

		link_end(x->dedicated);
		pool_gone(x->dedicated, was_up);
	}
}
