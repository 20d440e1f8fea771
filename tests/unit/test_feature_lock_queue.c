/* SPDX-License-Identifier: Apache-2.0 */
/* feature/lock_queue: each sentence of semantics.md section 4 about the agent's side, and random walks of several
 * agents, with a store that loses, delays and forgets, in which no two hold at once. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "feature/lock_queue.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define START (1000 * SECOND) /* no clock begins at zero */

/* ---- one queue, and what it asked for ---- */
static char said[4096];
static uint64_t rtt = 1 * MS, poll_due;
static struct named { struct lock_claim c; char name; uint64_t due; } claims[26];

static struct named *who(struct lock_claim *c) { return (struct named *)c; }

static void say(const char *what, struct lock_claim *c, int number)
{
	size_t n = strlen(said);

	snprintf(said + n, sizeof said - n, number < 0 ? "%s%s %c" : "%s%s %c %d", n ? ", " : "", what, who(c)->name, number);
}

static void t_try(struct lock_queue *q, struct lock_claim *c) { (void)q; say("try", c, -1); }
static void t_confirm(struct lock_queue *q, struct lock_claim *c) { (void)q; say("confirm", c, -1); }
static void t_renew(struct lock_queue *q, struct lock_claim *c) { (void)q; say("renew", c, -1); }
static void t_release(struct lock_queue *q, struct lock_claim *c) { (void)q; say("release", c, -1); }
static void t_granted(struct lock_queue *q, struct lock_claim *c) { (void)q; say("granted", c, -1); }
static void t_refused(struct lock_queue *q, struct lock_claim *c, enum lock_refusal w) { (void)q; say("refused", c, (int)w); }
static void t_lost(struct lock_queue *q, struct lock_claim *c, enum lock_loss w) { (void)q; say("lost", c, (int)w); }
static void t_ended(struct lock_queue *q, struct lock_claim *c) { (void)q; say("ended", c, -1); }
static void t_timer(struct lock_queue *q, struct lock_claim *c, uint64_t due)
{
	(void)q;
	*(c ? &who(c)->due : &poll_due) = due;
}
static const struct lock_ops ops = { t_try, t_confirm, t_renew, t_release, t_granted, t_refused, t_lost, t_ended, t_timer };

static struct lock_queue *fresh(void)
{
	static struct lock_queue q;

	q = (struct lock_queue){ .ops = &ops, .rtt_ns = &rtt, .random = 42 };
	memset(claims, 0, sizeof claims);
	*said = '\0';
	poll_due = 0;
	return &q;
}

/* The claim of that letter, to be had for 30 s, willing to wait for 60. */
static struct lock_claim *a_claim(char name)
{
	struct named *n = &claims[name - 'a'];

	memset(n, 0, sizeof *n);
	n->name = name;
	n->c.want = (struct lock_want){ .ttl_ns = 30 * SECOND, .wait_ns = 60 * SECOND };
	return &n->c;
}

#define expect(text) do { assert_string_equal(said, text); *said = '\0'; } while (0)

static struct lock_claim *held(struct lock_queue *q, char name, uint64_t now)
{
	struct lock_claim *c = a_claim(name);

	lock_claim(q, c, now);
	lock_tried(q, c, LOCK_TRIED_GRANTED, 7, 0, now);
	*said = '\0';
	assert_int_equal(c->state, LOCK_HELD);
	return c;
}

/* ---- validity and renewal ---- */
static void test_validity(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = a_claim('a');

	(void)state;
	assert_int_equal(lock_valid_until(START, 30 * SECOND), START + 30 * SECOND - 300 * MS - 2 * MS);
	assert_int_equal(lock_valid_until(START, 1 * MS), START);
	lock_claim(q, a, START);
	expect("try a");
	/* from when it was sent, not from when it was answered */
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START + 4 * SECOND);
	expect("granted a");
	assert_int_equal(a->fence, 7);
	assert_int_equal(a->valid_ns, START + 30 * SECOND - 302 * MS);
	assert_int_equal(a->lost_ns, a->valid_ns - 2 * rtt);
	assert_int_equal(a->renew_ns, START + 10 * SECOND);
	assert_int_equal(claims[0].due, START + 10 * SECOND);
	/* a slow store: not more than a sixth of the ttl */
	rtt = 20 * SECOND;
	lock_extended(q, a, START + 5 * SECOND, 60 * SECOND);
	assert_int_equal(a->valid_ns, START + 65 * SECOND - 602 * MS);
	assert_int_equal(a->lost_ns, a->valid_ns - 10 * SECOND);
	assert_int_equal(a->renew_ns, START + 25 * SECOND);
	rtt = 1 * MS;
}

static void test_renewal(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = held(q, 'a', START);
	uint64_t now = START;

	(void)state;
	for (int i = 0; i < 100; i++) { /* for as long as its client lives */
		lock_tick(q, a, now + 10 * SECOND - 1);
		expect("");
		now += 10 * SECOND;
		lock_tick(q, a, now);
		expect("renew a");
		lock_tick(q, a, now + 1 * SECOND); /* one at a time */
		expect("");
		lock_renewed(q, a, LOCK_RENEWED, now + 2 * SECOND);
		assert_int_equal(a->valid_ns, now + 30 * SECOND - 302 * MS);
	}
	expect("");
	/* at its client's wish for longer: and renewed so from then on */
	lock_extended(q, a, now, 60 * SECOND);
	assert_int_equal(claims[0].due, now + 20 * SECOND);
	lock_drop(q, a, true, now);
	expect("release a, ended a");
	assert_true(lock_idle(q));
	assert_int_equal(claims[0].due, 0);
}

static void test_upstream_cut(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = held(q, 'a', START), *b = a_claim('b');
	uint64_t now = START + 10 * SECOND, renewals = 0;

	(void)state;
	lock_claim(q, b, START);
	lock_tried(q, b, LOCK_TRIED_BUSY, 0, 30000, START);
	*said = '\0';
	/* every renewal fails: tried again and again until 2 RTT before it is not valid any more */
	while (a->state == LOCK_HELD) {
		assert_true(now <= a->lost_ns);
		lock_tick(q, a, now);
		if (a->renewing) {
			renewals++;
			lock_renewed(q, a, LOCK_RENEW_FAILED, now);
		}
		now = claims[0].due ? claims[0].due : now;
	}
	assert_true(renewals >= 15);
	assert_int_equal(now, START + 30 * SECOND - 302 * MS - 2 * rtt);
	/* told first, then given back in case the store has it; and whoever waits tries */
	assert_non_null(strstr(said, "lost a 0, release a, ended a, try b"));
	assert_true(strncmp(said, "renew a", 7) == 0);
	/* a renewal that is still under way keeps nobody from being told, and changes nothing afterwards */
	q = fresh();
	a = held(q, 'a', START);
	lock_tick(q, a, START + 10 * SECOND);
	expect("renew a");
	assert_int_equal(claims[0].due, a->lost_ns);
	lock_tick(q, a, a->lost_ns);
	expect("lost a 0, release a, ended a");
	lock_renewed(q, a, LOCK_RENEWED, a->lost_ns);
	expect("");
	assert_int_equal(a->state, LOCK_ENDED);
	/* one that comes back too late is as good as none */
	a = held(q, 'a', START);
	lock_tick(q, a, START + 10 * SECOND);
	*said = '\0';
	lock_renewed(q, a, LOCK_RENEWED, START + 40 * SECOND);
	expect("lost a 0, release a, ended a");
	/* the store knows nothing of it: at once */
	a = held(q, 'a', START);
	lock_tick(q, a, START + 10 * SECOND);
	*said = '\0';
	lock_renewed(q, a, LOCK_RENEW_GONE, START + 10 * SECOND);
	expect("lost a 1, ended a");
}

static void test_maxhold_and_lease(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = a_claim('a');

	(void)state;
	a->want.maxhold_ns = 12 * SECOND;
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START + 1 * SECOND);
	lock_tick(q, a, START + 10 * SECOND);
	expect("try a, granted a, renew a");
	lock_renewed(q, a, LOCK_RENEWED, START + 10 * SECOND);
	assert_int_equal(claims[0].due, START + 13 * SECOND); /* since it has it */
	lock_tick(q, a, START + 13 * SECOND);
	expect("lost a 3, release a, ended a");

	q = fresh();
	a = a_claim('a');
	a->want.mode = LOCK_LEASE;
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START);
	assert_int_equal(claims[0].due, START + 30 * SECOND - 302 * MS);
	lock_tick(q, a, claims[0].due);
	expect("try a, granted a, lost a 4, ended a"); /* nothing to give back, nothing was renewed */
}

/* ---- waiting ---- */
static void test_fifo(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = held(q, 'a', START), *b = a_claim('b'), *c = a_claim('c'), *d = a_claim('d');

	(void)state;
	lock_claim(q, b, START);
	lock_claim(q, c, START);
	lock_claim(q, d, START);
	expect("try b"); /* one contender */
	lock_tried(q, b, LOCK_TRIED_BUSY, 0, 30000, START);
	expect("");
	assert_in_range(poll_due - START, 50 * MS, 150 * MS); /* its holder is here: no need to ask often */
	lock_drop(q, c, true, START + 1); /* dead: it leaves at once, and nothing was given to it */
	expect("ended c");
	lock_drop(q, a, true, START + 1 * SECOND);
	expect("release a, ended a, try b"); /* at once */
	lock_tried(q, b, LOCK_TRIED_GRANTED, 8, 0, START + 1 * SECOND);
	expect("granted b");
	lock_drop(q, b, false, START + 2 * SECOND); /* its client has given it back: that was asked already */
	expect("ended b, try d");
	lock_tried(q, d, LOCK_TRIED_GRANTED, 9, 0, START + 2 * SECOND);
	expect("granted d");
}

static void test_times_to_wait(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = a_claim('a'), *b = a_claim('b'), *c = a_claim('c');

	(void)state;
	/* held by another agent */
	lock_claim(q, a, START);
	for (int i = 0; i < 1000; i++) {
		uint64_t now = a->sent_ns + 1;

		expect("try a");
		lock_tried(q, a, LOCK_TRIED_BUSY, 0, 30000, now);
		assert_in_range(poll_due - now, 10 * MS, 50 * MS);
		lock_poll(q, poll_due - 1);
		expect("");
		lock_poll(q, poll_due);
	}
	lock_tried(q, a, LOCK_TRIED_BUSY, 0, 3, START + 50 * SECOND); /* it ends soon */
	assert_int_equal(poll_due, START + 50 * SECOND + 3 * MS);
	*said = '\0';
	/* one attempt only: none in front of those who wait */
	b->want.wait_ns = 0;
	lock_claim(q, b, START + 50 * SECOND);
	expect("refused b 0, ended b");
	c->want.wait_ns = 500 * MS;
	lock_claim(q, c, START + 50 * SECOND);
	lock_tick(q, c, START + 50 * SECOND + 500 * MS - 1);
	expect("");
	lock_tick(q, c, START + 50 * SECOND + 500 * MS);
	expect("refused c 0, ended c, try a"); /* whose turn had come anyway */
	lock_wake(q, START + 51 * SECOND);
	expect("");
	lock_tried(q, a, LOCK_TRIED_BUSY, 0, 30000, START + 60 * SECOND); /* over while it was tried */
	expect("refused a 0, ended a");
	assert_true(lock_idle(q));
	/* one attempt, with nobody there */
	b = a_claim('b');
	b->want.wait_ns = 0;
	lock_claim(q, b, START);
	expect("try b");
	lock_tried(q, b, LOCK_TRIED_BUSY, 0, 30000, START);
	expect("refused b 0, ended b");
	/* what waiting does not change */
	a = a_claim('a');
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_OTHER_KIND, 0, 0, START);
	expect("try a, refused a 1, ended a");
	a = a_claim('a');
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_FAILED, 0, 0, START);
	expect("try a, refused a 2, ended a");
	assert_true(lock_idle(q));
}

/* ---- attempts of which nobody knows how they ended ---- */
static void test_unsure(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = a_claim('a'), *b = a_claim('b');

	(void)state;
	lock_claim(q, a, START);
	lock_claim(q, b, START);
	lock_tried(q, a, LOCK_TRIED_UNSURE, 0, 0, START + 1 * SECOND);
	expect("try a");
	lock_poll(q, poll_due);
	expect("try a"); /* the same owner: had it got it, it gets it again */
	lock_tried(q, a, LOCK_TRIED_UNSURE, 0, 0, START + 2 * SECOND);
	lock_tick(q, a, START + 60 * SECOND);
	expect("release a, refused a 2, ended a, try b");
	/* it goes in the middle of an attempt */
	lock_drop(q, b, true, START + 60 * SECOND);
	expect("");
	a = a_claim('c');
	lock_claim(q, a, START + 60 * SECOND);
	expect("");
	lock_tried(q, b, LOCK_TRIED_GRANTED, 7, 0, START + 61 * SECOND);
	expect("release b, ended b, try c");
	lock_drop(q, a, true, START + 61 * SECOND);
	lock_tried(q, a, LOCK_TRIED_BUSY, 0, 100, START + 61 * SECOND);
	expect("ended c");
	assert_true(lock_idle(q));
	/* after an attempt that is known to have got nothing, nothing is given back */
	a = a_claim('a');
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_UNSURE, 0, 0, START);
	lock_poll(q, poll_due);
	lock_tried(q, a, LOCK_TRIED_BUSY, 0, 30000, START + 1 * SECOND);
	lock_drop(q, a, true, START + 1 * SECOND);
	expect("try a, try a, ended a");
	/* granted, but the answer took so long that it is worth nothing: again, while there is time */
	a = a_claim('a');
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START + 30 * SECOND);
	expect("try a");
	lock_poll(q, poll_due);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START + 91 * SECOND);
	expect("try a, release a, refused a 3, ended a");
	assert_true(lock_idle(q));
}

static void test_replicas(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = a_claim('a');

	(void)state;
	a->want.replicas = 1;
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START);
	expect("try a, confirm a");
	lock_confirmed(q, a, true, START + 1);
	expect("granted a");
	lock_drop(q, a, true, START + 2);
	*said = '\0';
	a = a_claim('a');
	a->want.replicas = 1;
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START);
	lock_confirmed(q, a, false, START + 1); /* given back */
	expect("try a, confirm a, release a, refused a 4, ended a");
	a = a_claim('a');
	a->want.replicas = 1;
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START);
	lock_drop(q, a, true, START + 1);
	lock_confirmed(q, a, true, START + 2); /* its client has gone meanwhile */
	expect("try a, confirm a, release a, ended a");
	a = a_claim('a');
	a->want.replicas = 1;
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 7, 0, START);
	lock_confirmed(q, a, true, START + 31 * SECOND); /* too late */
	expect("try a, confirm a");
	assert_int_equal(a->state, LOCK_WAITING);
	assert_true(poll_due);
}

/* ---- those who share ---- */
static void test_shared(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *a = a_claim('a'), *b = a_claim('b'), *c = a_claim('c'), *d = a_claim('d');

	(void)state;
	a->want.kind = b->want.kind = d->want.kind = LOCK_READ;
	lock_claim(q, a, START);
	lock_claim(q, b, START);
	lock_claim(q, c, START); /* a writer */
	lock_claim(q, d, START); /* a reader behind it waits: first in, first out */
	lock_tried(q, a, LOCK_TRIED_GRANTED, 1, 0, START);
	lock_tried(q, b, LOCK_TRIED_GRANTED, 2, 0, START);
	expect("try a, granted a, try b, granted b");
	lock_poll(q, poll_due);
	lock_tried(q, c, LOCK_TRIED_BUSY, 0, 30000, poll_due);
	lock_drop(q, a, true, START);
	lock_tried(q, c, LOCK_TRIED_BUSY, 0, 30000, START);
	lock_drop(q, b, true, START);
	lock_tried(q, c, LOCK_TRIED_GRANTED, 3, 0, START);
	expect("try c, release a, ended a, try c, release b, ended b, try c, granted c");
	lock_drop(q, c, true, START);
	expect("release c, ended c, try d");
	/* the writer gives up: the readers behind it need not wait for the next attempt */
	q = fresh();
	a = a_claim('a');
	a->want.kind = LOCK_READ;
	lock_claim(q, a, START);
	lock_tried(q, a, LOCK_TRIED_GRANTED, 1, 0, START);
	b = a_claim('b');
	lock_claim(q, b, START);
	lock_tried(q, b, LOCK_TRIED_BUSY, 0, 30000, START);
	c = a_claim('c');
	c->want.kind = LOCK_READ;
	lock_claim(q, c, START);
	*said = '\0';
	lock_drop(q, b, true, START + 1);
	expect("ended b, try c");
	/* permits */
	q = fresh();
	for (char n = 'a'; n <= 'c'; n++) {
		a = a_claim(n);
		a->want.kind = LOCK_PERMITS;
		a->want.permits = 2;
		a->want.of = 5;
		lock_claim(q, a, START);
	}
	lock_tried(q, &claims[0].c, LOCK_TRIED_GRANTED, 1, 0, START);
	lock_tried(q, &claims[1].c, LOCK_TRIED_GRANTED, 2, 0, START);
	expect("try a, granted a, try b, granted b"); /* 6 of 5: not even asked yet */
	assert_true(poll_due >= START + 250 * MS);
	lock_drop(q, &claims[0].c, true, START);
	expect("release a, ended a, try c");
}

static void test_taken(void **state)
{
	struct lock_queue *q = fresh();
	struct lock_claim *b = a_claim('b');

	(void)state;
	held(q, 'a', START);
	/* The store has given it to b: so a cannot have it any more, and hears so before b has it. */
	lock_claim(q, b, START + 1);
	lock_tried(q, b, LOCK_TRIED_GRANTED, 8, 0, START + 2);
	expect("try b, lost a 2, ended a, granted b");
}

/* ---- agents, clients and a store at random ---- */
enum { AGENTS = 3, CLIENTS = 4, STEPS = 150000 };

struct world_claim {
	struct lock_claim c;
	unsigned agent, client;
	uint64_t owner, due;
	bool live;
	/* the attempt under way: its answer arrives then */
	uint64_t answer_ns, answer_fence, answer_ms;
	enum lock_tried answer;
	uint64_t renew_ns;
	enum lock_renewed renew_answer;
};
static struct world_claim world[AGENTS][CLIENTS];
static struct lock_queue queue[AGENTS];
static uint64_t world_now, store_until, store_owner, store_fence, last_fence, world_poll[AGENTS], seed, owners, grants, losses;
static unsigned down; /* agents that cannot reach the store */

static uint64_t dice(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static struct world_claim *in_world(struct lock_claim *c) { return (struct world_claim *)c; }

/* The script, as it is when it comes to the store. */
static void store_acquire(struct world_claim *w, uint64_t ttl)
{
	if (store_owner && world_now >= store_until)
		store_owner = 0;
	if (store_owner && store_owner != w->owner) {
		w->answer = LOCK_TRIED_BUSY;
		w->answer_ms = (store_until - world_now) / MS;
		return;
	}
	if (!store_owner)
		store_fence = ++last_fence;
	store_owner = w->owner;
	store_until = world_now + ttl;
	w->answer = LOCK_TRIED_GRANTED;
	w->answer_fence = store_fence;
}

static void w_try(struct lock_queue *q, struct lock_claim *c)
{
	struct world_claim *w = in_world(c);

	(void)q;
	w->answer_ns = world_now + 1 + dice(3) * MS;
	if ((down >> w->agent & 1) || dice(20) == 0) { /* lost on the way there, or on the way back */
		if (dice(2))
			store_acquire(w, c->want.ttl_ns);
		w->answer = LOCK_TRIED_UNSURE;
		w->answer_ns = world_now + dice(100) * MS;
	} else {
		store_acquire(w, c->want.ttl_ns);
		if (dice(20) == 0) /* the answer takes its time */
			w->answer_ns += dice(300) * MS;
	}
}
static void w_confirm(struct lock_queue *q, struct lock_claim *c) { (void)q; (void)c; fail(); }
static void w_renew(struct lock_queue *q, struct lock_claim *c)
{
	struct world_claim *w = in_world(c);

	(void)q;
	w->renew_ns = world_now + 1 + dice(3) * MS;
	if (down >> w->agent & 1) {
		w->renew_answer = LOCK_RENEW_FAILED;
	} else if (store_owner == w->owner && world_now < store_until) {
		store_until = world_now + c->want.ttl_ns;
		w->renew_answer = LOCK_RENEWED;
	} else {
		w->renew_answer = LOCK_RENEW_GONE;
	}
}
static void w_release(struct lock_queue *q, struct lock_claim *c)
{
	struct world_claim *w = in_world(c);

	(void)q;
	if (!(down >> w->agent & 1) && store_owner == w->owner)
		store_owner = 0;
}
static void w_granted(struct lock_queue *q, struct lock_claim *c)
{
	(void)q;
	grants++;
	assert_true(c->valid_ns > world_now);
	for (unsigned i = 0; i < AGENTS * CLIENTS; i++) { /* the one thing that matters */
		struct lock_claim *o = &world[i / CLIENTS][i % CLIENTS].c;

		if (o != c && o->state == LOCK_HELD && world[i / CLIENTS][i % CLIENTS].live && world_now < o->valid_ns)
			fail_msg("two hold it at once");
		assert_true(o == c || o->state != LOCK_HELD || o->fence < c->fence);
	}
}
static void w_refused(struct lock_queue *q, struct lock_claim *c, enum lock_refusal w) { (void)q; (void)c; (void)w; }
static void w_lost(struct lock_queue *q, struct lock_claim *c, enum lock_loss why)
{
	(void)q;
	losses++;
	/* told in time, whatever the reason; a store that never forgets never takes one away */
	assert_true(world_now <= c->valid_ns || why == LOCK_LOSS_GONE);
	assert_true(why == LOCK_LOSS_UNREACHABLE || why == LOCK_LOSS_GONE);
}
static void w_ended(struct lock_queue *q, struct lock_claim *c) { (void)q; in_world(c)->live = false; }
static void w_timer(struct lock_queue *q, struct lock_claim *c, uint64_t due)
{
	*(c ? &in_world(c)->due : &world_poll[q - queue]) = due;
}
static const struct lock_ops world_ops = { w_try, w_confirm, w_renew, w_release, w_granted, w_refused, w_lost, w_ended, w_timer };

static void client_acts(struct world_claim *w, struct lock_queue *q)
{
	if (w->live) {
		if (dice(16) == 0)
			lock_drop(q, &w->c, true, world_now); /* released, or died */
		return;
	}
	if (w->answer_ns || w->renew_ns)
		return; /* something of the last one is still on its way */
	memset(&w->c, 0, sizeof w->c);
	w->c.want = (struct lock_want){ .ttl_ns = (50 + dice(200)) * MS, .wait_ns = dice(3) * 100 * MS };
	w->owner = ++owners;
	w->live = true;
	w->due = 0;
	lock_claim(q, &w->c, world_now);
}

static void world_turn(void)
{
	for (unsigned a = 0; a < AGENTS; a++) {
		if (world_poll[a] && world_now >= world_poll[a])
			lock_poll(&queue[a], world_now);
		for (unsigned i = 0; i < CLIENTS; i++) {
			struct world_claim *w = &world[a][i];

			if (w->answer_ns && world_now >= w->answer_ns) {
				w->answer_ns = 0;
				lock_tried(&queue[a], &w->c, w->answer, w->answer_fence, w->answer_ms, world_now);
			}
			if (w->renew_ns && world_now >= w->renew_ns) {
				w->renew_ns = 0;
				lock_renewed(&queue[a], &w->c, w->renew_answer, world_now);
			}
			if (w->due && world_now >= w->due)
				lock_tick(&queue[a], &w->c, world_now);
			if (dice(10) == 0)
				client_acts(w, &queue[a]);
		}
	}
}

static void test_world(void **state)
{
	const char *text = getenv("PURSER_SEED");

	(void)state;
	seed = text ? strtoull(text, NULL, 10) | 1 : 88172645463325252u;
	printf("PURSER_SEED=%llu\n", (unsigned long long)seed);
	world_now = START;
	for (unsigned a = 0; a < AGENTS; a++) {
		queue[a] = (struct lock_queue){ .ops = &world_ops, .rtt_ns = &rtt, .random = seed + a };
		for (unsigned i = 0; i < CLIENTS; i++)
			world[a][i] = (struct world_claim){ .agent = a, .client = i };
	}
	for (unsigned i = 0; i < STEPS; i++) {
		world_now += (1 + dice(2)) * MS;
		if (dice(300) == 0)
			down = (unsigned)dice(1u << AGENTS);
		world_turn();
	}
	assert_true(grants > 500);
	assert_true(losses > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_validity),
		cmocka_unit_test(test_renewal),
		cmocka_unit_test(test_upstream_cut),
		cmocka_unit_test(test_maxhold_and_lease),
		cmocka_unit_test(test_fifo),
		cmocka_unit_test(test_times_to_wait),
		cmocka_unit_test(test_unsure),
		cmocka_unit_test(test_replicas),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_world),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
