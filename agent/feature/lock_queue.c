/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stddef.h>
#include "feature/lock_queue.h"

#define MS UINT64_C(1000000)

/* ---- lists ---- */
static void list_add(struct lock_list *l, struct lock_claim *c)
{
	c->next = NULL;
	c->prev = l->tail;
	*(l->tail ? &l->tail->next : &l->head) = c;
	l->tail = c;
	l->n++;
}

static void list_remove(struct lock_list *l, struct lock_claim *c)
{
	*(c->prev ? &c->prev->next : &l->head) = c->next;
	*(c->next ? &c->next->prev : &l->tail) = c->prev;
	c->next = c->prev = NULL;
	l->n--;
}

/* ---- times ---- */
uint64_t lock_valid_until(uint64_t sent_ns, uint64_t ttl_ns)
{
	uint64_t margin = ttl_ns / 100 + 2 * MS;

	return sent_ns + (ttl_ns > margin ? ttl_ns - margin : 0);
}

/* U(lo, hi) from now. */
static uint64_t later(struct lock_queue *q, uint64_t now, uint64_t lo, uint64_t hi)
{
	q->random ^= q->random << 13; /* xorshift64 */
	q->random ^= q->random >> 7;
	q->random ^= q->random << 17;
	return now + lo + q->random % (hi - lo + 1);
}

static uint64_t min_of(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void arm(struct lock_queue *q, struct lock_claim *c)
{
	uint64_t due = c->hold_ns ? min_of(c->lost_ns, c->hold_ns) : c->lost_ns;

	if (c->want.mode == LOCK_SESSION && !c->renewing)
		due = min_of(due, c->renew_ns);
	q->ops->timer(q, c, due);
}

/* It was granted, or renewed, by what was sent then. */
static void valid(struct lock_queue *q, struct lock_claim *c, uint64_t sent, uint64_t ttl)
{
	uint64_t margin = min_of(2 * *q->rtt_ns, ttl / 6);

	c->valid_ns = lock_valid_until(sent, ttl);
	/* Nobody is warned of the end of a lease: it ends when it ends. */
	c->lost_ns = c->want.mode == LOCK_SESSION && c->valid_ns - sent > margin ? c->valid_ns - margin : c->valid_ns;
	c->renew_ns = sent + ttl / 3;
}

/* ---- the ways out ---- */
/* It waits no more.  What was in vain for it need not be for who comes next. */
static void leave(struct lock_queue *q, struct lock_claim *c)
{
	if (q->waiting.head == c && c->next && c->next->want.kind != c->want.kind)
		q->poll_ns = 0;
	list_remove(&q->waiting, c);
}

static void end(struct lock_queue *q, struct lock_claim *c)
{
	c->state = LOCK_ENDED;
	q->ops->timer(q, c, 0);
	q->ops->ended(q, c);
}

static void refuse(struct lock_queue *q, struct lock_claim *c, enum lock_refusal why)
{
	leave(q, c);
	if (c->unsure)
		q->ops->release(q, c);
	q->ops->refused(q, c, why);
	end(q, c);
}

static void lose(struct lock_queue *q, struct lock_claim *c, enum lock_loss why)
{
	list_remove(&q->holding, c);
	q->ops->lost(q, c, why);
	/* What the store cannot be asked about it may have yet, for the rest of the ttl. */
	if (why == LOCK_LOSS_MAXHOLD || why == LOCK_LOSS_UNREACHABLE)
		q->ops->release(q, c);
	end(q, c);
}

/* ---- attempts ---- */
static void pump(struct lock_queue *q, uint64_t now)
{
	struct lock_claim *c = q->waiting.head;

	if (q->trying || !c) {
		q->ops->timer(q, NULL, 0);
		return;
	}
	if (now < q->poll_ns) {
		q->ops->timer(q, NULL, q->poll_ns);
		return;
	}
	q->trying = c;
	c->state = LOCK_TRYING;
	c->sent_ns = now;
	c->sent_ttl_ns = c->want.ttl_ns;
	q->ops->timer(q, NULL, 0);
	q->ops->timer(q, c, 0);
	q->ops->try(q, c);
}

static bool together(const struct lock_claim *a, const struct lock_claim *b)
{
	return a->want.kind == b->want.kind && a->want.kind != LOCK_WRITE;
}

/* May the one at the head have it beside those who have it here, or is it in vain to ask while they have it?  What is
 * held in lease mode may have been given back through another agent, so it does not count. */
static bool blocked(const struct lock_queue *q)
{
	const struct lock_claim *c = q->waiting.head, *h;
	uint64_t used = 0;

	for (h = q->holding.head; h; h = h->next) {
		if (h->want.mode == LOCK_SESSION && !together(h, c))
			return true;
		used += h->want.permits;
	}
	return c->want.kind == LOCK_PERMITS && used + c->want.permits > c->want.of;
}

/* The store has said that it is not to be had, for ms as it stands. */
static void wait_more(struct lock_queue *q, uint64_t now, uint64_t ms)
{
	/* Its holder is here, so its end will be known at once; but a writer must go on holding readers back. */
	if (blocked(q))
		q->poll_ns = later(q, now, q->waiting.head->want.kind == LOCK_WRITE ? 50 * MS : 250 * MS,
		    q->waiting.head->want.kind == LOCK_WRITE ? 150 * MS : 750 * MS);
	else
		q->poll_ns = later(q, now, 10 * MS, 50 * MS);
	q->poll_ns = min_of(q->poll_ns, now + (ms ? ms < 1000 ? ms : 1000 : 1) * MS);
}

void lock_claim(struct lock_queue *q, struct lock_claim *c, uint64_t now)
{
	c->state = LOCK_WAITING;
	c->asked_ns = now;
	c->wait_until_ns = now + c->want.wait_ns;
	list_add(&q->waiting, c);
	if (c->want.wait_ns == 0 && q->waiting.n > 1) { /* not in front of those who wait */
		refuse(q, c, LOCK_REFUSED_BUSY);
		return;
	}
	if (c->want.wait_ns)
		q->ops->timer(q, c, c->wait_until_ns);
	if (q->waiting.n == 1)
		q->poll_ns = now;
	pump(q, now);
}

static void hold(struct lock_queue *q, struct lock_claim *c, uint64_t now)
{
	struct lock_claim *h, *next;

	list_remove(&q->waiting, c);
	for (h = q->holding.head; h; h = next) { /* it cannot have been theirs any more */
		next = h->next;
		if (!together(h, c))
			lose(q, h, LOCK_LOSS_TAKEN);
	}
	list_add(&q->holding, c);
	c->state = LOCK_HELD;
	c->held_ns = now;
	c->hold_ns = c->want.maxhold_ns ? now + c->want.maxhold_ns : 0;
	arm(q, c);
	q->poll_ns = now;
	if (q->waiting.head && (c->want.kind == LOCK_WRITE || blocked(q)))
		wait_more(q, now, UINT64_MAX);
	q->ops->granted(q, c);
}

/* The attempt has led to nothing: the next one later, of the same claim if it still has time. */
static void missed(struct lock_queue *q, struct lock_claim *c, enum lock_refusal why, uint64_t busy_ms, uint64_t now)
{
	c->state = LOCK_WAITING;
	wait_more(q, now, busy_ms);
	if (now >= c->wait_until_ns)
		refuse(q, c, why);
	else
		q->ops->timer(q, c, c->wait_until_ns);
}

static void abandoned(struct lock_queue *q, struct lock_claim *c, enum lock_tried how)
{
	if (how == LOCK_TRIED_GRANTED || how == LOCK_TRIED_UNSURE || c->unsure)
		q->ops->release(q, c);
	end(q, c);
}

void lock_tried(struct lock_queue *q, struct lock_claim *c, enum lock_tried how, uint64_t fence, uint64_t busy_ms,
    uint64_t now)
{
	q->trying = NULL;
	c->fence = fence;
	if (c->abandoned) {
		q->poll_ns = now;
		abandoned(q, c, how);
		pump(q, now);
		return;
	}
	switch (how) {
	case LOCK_TRIED_GRANTED:
		c->unsure = true; /* until it holds */
		valid(q, c, c->sent_ns, c->sent_ttl_ns);
		if (now >= c->lost_ns) {
			missed(q, c, LOCK_REFUSED_LATE, 1, now);
		} else if (c->want.replicas) {
			c->state = LOCK_CONFIRMING;
			q->trying = c;
			q->ops->confirm(q, c);
			return;
		} else {
			hold(q, c, now);
		}
		break;
	case LOCK_TRIED_BUSY:
		c->unsure = false; /* this attempt came after the others */
		missed(q, c, LOCK_REFUSED_BUSY, busy_ms, now);
		break;
	case LOCK_TRIED_OTHER_KIND:
		c->unsure = false;
		refuse(q, c, LOCK_REFUSED_KIND);
		break;
	case LOCK_TRIED_UNSURE:
		c->unsure = true;
		missed(q, c, LOCK_REFUSED_ERROR, UINT64_MAX, now);
		break;
	case LOCK_TRIED_FAILED:
		refuse(q, c, LOCK_REFUSED_ERROR);
		break;
	}
	pump(q, now);
}

void lock_confirmed(struct lock_queue *q, struct lock_claim *c, bool enough, uint64_t now)
{
	q->trying = NULL;
	if (c->abandoned) {
		q->poll_ns = now;
		abandoned(q, c, LOCK_TRIED_GRANTED);
	} else if (!enough) {
		q->poll_ns = now;
		refuse(q, c, LOCK_REFUSED_REPLICAS);
	} else if (now >= c->lost_ns) {
		missed(q, c, LOCK_REFUSED_LATE, 1, now);
	} else {
		hold(q, c, now);
	}
	pump(q, now);
}

/* ---- while it is held ---- */
void lock_extended(struct lock_queue *q, struct lock_claim *c, uint64_t sent_ns, uint64_t ttl_ns)
{
	if (c->state != LOCK_HELD)
		return;
	c->want.ttl_ns = ttl_ns;
	valid(q, c, sent_ns, ttl_ns);
	arm(q, c);
}

void lock_renewed(struct lock_queue *q, struct lock_claim *c, enum lock_renewed how, uint64_t now)
{
	c->renewing = false;
	if (c->state != LOCK_HELD)
		return;
	if (how == LOCK_RENEW_GONE) {
		lose(q, c, LOCK_LOSS_GONE);
		q->poll_ns = now;
		pump(q, now);
		return;
	}
	if (how == LOCK_RENEWED) {
		valid(q, c, c->sent_ns, c->sent_ttl_ns);
	} else {
		uint64_t soon = c->want.ttl_ns / 20;

		c->renew_ns = now + (soon < 5 * MS ? 5 * MS : soon > 1000 * MS ? 1000 * MS : soon);
	}
	if (now >= c->lost_ns)
		lock_tick(q, c, now);
	else
		arm(q, c);
}

void lock_tick(struct lock_queue *q, struct lock_claim *c, uint64_t now)
{
	if (c->state == LOCK_WAITING) {
		if (now < c->wait_until_ns) {
			q->ops->timer(q, c, c->wait_until_ns);
			return;
		}
		refuse(q, c, c->unsure ? LOCK_REFUSED_ERROR : LOCK_REFUSED_BUSY);
		pump(q, now);
		return;
	}
	if (c->state != LOCK_HELD)
		return;
	if (c->hold_ns && now >= c->hold_ns) {
		lose(q, c, LOCK_LOSS_MAXHOLD);
	} else if (now >= c->lost_ns) {
		lose(q, c, c->want.mode == LOCK_SESSION ? LOCK_LOSS_UNREACHABLE : LOCK_LOSS_TTL);
	} else {
		if (c->want.mode == LOCK_SESSION && !c->renewing && now >= c->renew_ns) {
			c->renewing = true;
			c->sent_ns = now;
			c->sent_ttl_ns = c->want.ttl_ns;
			arm(q, c);
			q->ops->renew(q, c);
		} else {
			arm(q, c);
		}
		return;
	}
	q->poll_ns = now;
	pump(q, now);
}

void lock_poll(struct lock_queue *q, uint64_t now) { pump(q, now); }

void lock_wake(struct lock_queue *q, uint64_t now)
{
	q->poll_ns = now;
	pump(q, now);
}

void lock_drop(struct lock_queue *q, struct lock_claim *c, bool give_back, uint64_t now)
{
	switch (c->state) {
	case LOCK_WAITING:
		leave(q, c);
		if (c->unsure)
			q->ops->release(q, c);
		end(q, c);
		break;
	case LOCK_TRYING:
	case LOCK_CONFIRMING:
		if (!c->abandoned) {
			c->abandoned = true;
			list_remove(&q->waiting, c);
			q->ops->timer(q, c, 0);
		}
		return;
	case LOCK_HELD:
		list_remove(&q->holding, c);
		if (give_back)
			q->ops->release(q, c);
		end(q, c);
		q->poll_ns = now;
		break;
	default:
		return;
	}
	pump(q, now);
}
