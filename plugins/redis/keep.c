/* SPDX-License-Identifier: Apache-2.0
 *
 * keep: a look at all links of a context, now and then.  Idle ones above pool_min are closed after
 * idle_timeout; what is older than max_lifetime is replaced when nothing is under way on it; what has been
 * idle for ping_interval is asked whether it lives; and pool_min of them are kept ready.
 */
#include "redis.h"

#define SWEEP_MAX (15 * NS_PER_S)
#define SWEEP_MIN (50 * NS_PER_MS)
#define RECENT_NS (60 * NS_PER_S) /* as in lane.c: a lane that is not used is not kept alive */

static void sweep(void *arg);

static uint64_t period(const struct instance *in)
{
	uint64_t ns = in->idle_ns / 4;

	if (in->life_ns && in->life_ns / 4 < ns)
		ns = in->life_ns / 4;
	if (in->ping_ns && in->ping_ns / 2 < ns)
		ns = in->ping_ns / 2;
	return ns > SWEEP_MAX ? SWEEP_MAX : ns < SWEEP_MIN ? SWEEP_MIN : ns;
}

void keep_begin(struct ctx *x)
{
	if (!x->sweep_timer && !x->draining) /* without memory for a timer: at the next link */
		x->sweep_timer = x->h->timer(x->x, period(x->in), sweep, x);
}

/* ---- between contexts ---- */

static void give(struct ctx *x, unsigned class_)
{
	atomic_store(&x->asked[class_], false);
	for (struct lane *lane = x->lanes; lane; lane = lane->next) {
		struct link *l = lane->idle[class_];

		while (l && l->next_idle) /* the one that was not used for longest */
			l = l->next_idle;
		if (l) {
			pool_close(l);
			return;
		}
	}
}

static void give_pool(void *x) { give(x, DEDICATED_POOL); }
static void give_blocking(void *x) { give(x, DEDICATED_BLOCKING); }

void keep_join(struct ctx *x)
{
	x->give[DEDICATED_POOL] = (purser_job){ .fn = give_pool, .arg = x };
	x->give[DEDICATED_BLOCKING] = (purser_job){ .fn = give_blocking, .arg = x };
	pthread_mutex_lock(&x->in->lock);
	x->next_context = x->in->contexts;
	x->in->contexts = x;
	pthread_mutex_unlock(&x->in->lock);
}

void keep_leave(struct ctx *x)
{
	pthread_mutex_lock(&x->in->lock);
	for (struct ctx **p = &x->in->contexts; *p; p = &(*p)->next_context)
		if (*p == x) {
			*p = x->next_context;
			break;
		}
	pthread_mutex_unlock(&x->in->lock);
}

void keep_ask(struct ctx *x, unsigned class_)
{
	pthread_mutex_lock(&x->in->lock);
	for (struct ctx *y = x->in->contexts; y; y = y->next_context)
		if (y != x && atomic_load(&y->nidle[class_]) && !atomic_exchange(&y->asked[class_], true)) {
			y->h->post(y->x, &y->give[class_]);
			break;
		}
	pthread_mutex_unlock(&x->in->lock);
}

/* ---- in one ---- */

/* A life between nine and ten tenths of max_lifetime. */
void keep_up(struct link *l)
{
	struct ctx *x = l->x;
	uint64_t tenth = x->in->life_ns / 10;

	x->random ^= x->random << 13;
	x->random ^= x->random >> 7;
	x->random ^= x->random << 17;
	l->dies = x->in->life_ns ? l->up_since + x->in->life_ns - x->random % (tenth + 1) : UINT64_MAX;
	keep_begin(x);
}

/* Its coming up asks for the next. */
void keep_warm(struct lane *lane)
{
	struct ctx *x = lane->x;

	if (!lane->clients || lane->cred || lane->down || lane->timer || lane->connecting || x->draining ||
	    !pool_reserve(x, DEDICATED_POOL, x->in->pool_min))
		return;
	pool_open(lane, DEDICATED_POOL); /* without memory for it: at the next look */
}

static void check(struct link *l)
{
	const char *ping[] = { "PING" };

	if (l->timer)
		return; /* it is being read */
	if (hello_again(l) || hello_put(l, STEP_PING, 1, ping))
		link_lost(l, PURSER_E_NOMEM, "out of memory");
	else
		link_flush(l);
}

static bool due(const struct link *l, uint64_t since, uint64_t now)
{
	uint64_t ping = l->x->in->ping_ns;

	return ping && now - since >= ping && now - l->checked >= ping;
}

static void look_at_idle(struct lane *lane, unsigned class_, uint64_t now)
{
	struct ctx *x = lane->x;
	unsigned keep = class_ == DEDICATED_POOL ? x->in->pool_min : 0;
	struct link *next;

	for (struct link *l = lane->idle[class_]; l; l = next) {
		next = l->next_idle;
		if (l->phase != LINK_UP)
			continue;
		if (now >= l->dies || (now - l->idle_since >= x->in->idle_ns &&
		    atomic_load(&x->in->dedicated[class_]) > keep))
			pool_close(l);
		else if (due(l, l->idle_since, now))
			check(l);
	}
}

/* One of many users, who has not been here for a while. */
static bool left(const struct lane *lane, uint64_t now)
{
	return lane->cred && now - lane_heard(lane) >= lane->x->in->idle_ns && lane_unused(lane);
}

static void look_at_lane(struct lane *lane, uint64_t now)
{
	bool close = left(lane, now);

	for (unsigned i = 0; i < lane->nlinks; i++) {
		struct link *l = lane->links[i];

		if (l->phase != LINK_UP || link_busy(l) || out_len(&l->out) || l->blocked)
			continue;
		if (close) {
			link_shut(l);
		} else if (now >= l->dies) {
			link_shut(l);
			if (i == 0 && now - lane->used < RECENT_NS)
				link_open(l);
		} else if (due(l, lane->used, now)) {
			check(l);
		}
	}
}

static bool any_link(const struct ctx *x)
{
	if (x->dedicated)
		return true;
	for (const struct lane *lane = x->lanes; lane; lane = lane->next)
		for (unsigned i = 0; i < lane->nlinks; i++)
			if (lane->links[i]->phase != LINK_CLOSED)
				return true;
	return false;
}

static void sweep(void *arg)
{
	struct ctx *x = arg;
	uint64_t now = x->h->now(x->x);

	x->sweep_timer = 0;
	for (struct lane *lane = x->lanes; lane; lane = lane->next) {
		for (unsigned k = 0; k < DEDICATED_CLASSES; k++)
			look_at_idle(lane, k, now);
		look_at_lane(lane, now);
		keep_warm(lane);
	}
	if (x->control && x->control->phase == LINK_UP && now - x->control->checked >= x->in->idle_ns)
		pool_close(x->control);
	if (any_link(x))
		keep_begin(x);
}
