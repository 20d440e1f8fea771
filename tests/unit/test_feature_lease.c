/* SPDX-License-Identifier: Apache-2.0 */
/* feature/lease_table, lease_rule: every order and when it comes, by hand; then thousands of calls that wait, leave,
 * die and are voided in random order against a store that is a few lines: nobody is forgotten, nobody is told twice,
 * and a key has one live lease at most. */
#include <config.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "feature/lease_rule.h"
#include "feature/lease_table.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define START (1000 * SECOND)
#define LIFE (10 * SECOND)

static const char A[] = "0000000000000000000000000000000a", B[] = "0000000000000000000000000000000b",
	C[] = "0000000000000000000000000000000c";

/* ---- what the orders were ---- */

struct call {
	struct lease_seat seat;      /* first */
	int order;                   /* the last one, -1: none yet */
	unsigned at;                 /* ... which it was of all */
	char dead[RECORD_TOKEN_LEN + 1];
	uint32_t retry_ms;
};

static struct world {
	struct lease_table t;
	struct lease_orders o;
	unsigned orders, drops, released, forgotten, notes[LEASE_NOTES];
	struct lease_entry *dropping, *entry;
	char dropped[RECORD_TOKEN_LEN + 1];
	uint64_t due, random, now;
} w;

static void on_seat(void *arg, struct lease_seat *s, enum lease_order o, const char *dead, uint32_t retry_ms)
{
	struct call *c = (struct call *)s;

	(void)arg;
	c->order = (int)o;
	c->at = ++w.orders;
	snprintf(c->dead, sizeof c->dead, "%s", dead);
	c->retry_ms = retry_ms;
	assert_true((o == LEASE_TRY || o == LEASE_LOOK) == (s->entry != NULL));
}

static void on_drop(void *arg, struct lease_entry *e, const char *dead)
{
	(void)arg;
	w.drops++;
	w.dropping = e;
	snprintf(w.dropped, sizeof w.dropped, "%s", dead);
}

static void on_timer(void *arg, struct lease_entry *e, uint64_t due)
{
	(void)arg;
	w.entry = e;
	w.due = due;
}

static void on_release(void *arg, void *holder, const char *token)
{
	(void)arg;
	assert_non_null(holder);
	assert_int_equal(strlen(token), RECORD_TOKEN_LEN);
	w.released++;
}

static void on_note(void *arg, const struct lease_entry *e, enum lease_note what)
{
	(void)arg;
	assert_non_null(e);
	w.notes[what]++;
}

static void on_forget(void *arg, struct lease_entry *e)
{
	(void)arg;
	(void)e;
	w.forgotten++;
}

static uint64_t on_random(void *arg)
{
	(void)arg;
	return w.random;
}

static void begin(void)
{
	memset(&w, 0, sizeof w);
	w.o = (struct lease_orders){ on_seat, on_drop, on_timer, on_release, on_note, on_forget, on_random, &w };
	w.t.o = &w.o;
	w.now = START;
}

/* Nothing is left. */
static void over(void)
{
	assert_int_equal(w.t.entries, 0);
	assert_int_equal(w.t.tokens, 0);
	assert_int_equal(w.t.waiting, 0);
	assert_int_equal(w.released, w.notes[LEASE_NOTE_WON]);
	lease_table_free(&w.t);
}

static const struct lease_key key = { .ns = 3, .db = 0, .name = { (const uint8_t *)"k", 1 } };

static struct call *join(struct call *c, uint64_t wait, bool has_value)
{
	memset(c, 0, sizeof *c);
	c->order = -1;
	c->seat.deadline_ns = wait ? w.now + wait : 0;
	c->seat.has_value = has_value;
	assert_int_equal(lease_join(&w.t, &key, &c->seat, w.now), 0);
	return c;
}

static void tried(struct call *c, enum lease_found found, const char *token)
{
	struct lease_result r = { .found = found, .life_ns = LIFE, .token = token, .holder = c };

	assert_true(c->order == LEASE_TRY || c->order == LEASE_LOOK);
	c->order = -1;
	lease_tried(&w.t, &c->seat, &r, w.now);
}

static void timer(uint64_t now)
{
	assert_true(w.due && w.due <= now);
	w.now = now;
	lease_timer(&w.t, w.entry, now);
}

static void ordered(const struct call *c, int order)
{
	assert_int_equal(c->order, order);
}

/* ---- by hand ---- */

static void test_filled(void **state)
{
	struct call a, b, c, d;

	(void)state;
	begin();
	ordered(join(&a, SECOND, false), LEASE_TRY);
	assert_string_equal(a.dead, "");
	ordered(join(&b, SECOND, false), -1);
	ordered(join(&c, 2 * SECOND, false), -1);
	tried(&a, LEASE_FOUND_WON, A);
	ordered(&a, -1); /* it knows */
	assert_null(a.seat.entry);
	ordered(join(&d, 0, true), LEASE_HAVE);
	assert_true(lease_holds(&w.t, &key, A));
	assert_false(lease_holds(&w.t, &key, B));
	lease_ended(&w.t, &key, B, LEASE_END_FILLED, w.now); /* nobody's */
	ordered(&b, -1);
	assert_int_equal(w.t.tokens, 1);
	assert_int_equal(w.t.waiting, 2);
	lease_ended(&w.t, &key, A, LEASE_END_FILLED, w.now);
	ordered(&b, LEASE_AGAIN);
	ordered(&c, LEASE_AGAIN);
	assert_true(b.at < c.at);
	assert_int_equal(w.notes[LEASE_NOTE_FILLED], 1);
	assert_int_equal(w.notes[LEASE_NOTE_HANDED], 0);
	over();
}

/* Its connection closes: the oldest who waits, with the token that is dead; then the next one. */
static void test_gone(void **state)
{
	struct call a, b, c;

	(void)state;
	begin();
	join(&a, 0, false);
	join(&b, SECOND, false);
	join(&c, SECOND, false);
	tried(&a, LEASE_FOUND_WON, A);
	lease_over(&w.t, &key, B, w.now); /* not that one */
	ordered(&b, -1);
	lease_over(&w.t, &key, A, w.now);
	ordered(&b, LEASE_TRY);
	assert_string_equal(b.dead, A);
	ordered(&c, -1);
	lease_over(&w.t, &key, A, w.now); /* once is enough */
	tried(&b, LEASE_FOUND_WON, B);
	assert_int_equal(w.notes[LEASE_NOTE_HANDED], 1);
	assert_int_equal(w.notes[LEASE_NOTE_GONE], 1);
	ordered(&c, -1);
	lease_over(&w.t, &key, B, w.now);
	ordered(&c, LEASE_TRY);
	assert_string_equal(c.dead, B);
	tried(&c, LEASE_FOUND_THERE, NULL);
	/* the store may still have B beside the value */
	assert_int_equal(w.drops, 1);
	assert_string_equal(w.dropped, B);
	lease_dropped(&w.t, w.dropping, B, w.now);
	over();
}

/* Its key is about to be written: the store is told first, and those who wait look a little later. */
static void test_void(void **state)
{
	struct call a, b, c;
	struct lease_entry *e;

	(void)state;
	begin();
	join(&a, 0, false);
	e = a.seat.entry;
	assert_false(lease_void(&w.t, e, w.now)); /* nobody has won anything yet */
	tried(&a, LEASE_FOUND_WON, A);
	assert_true(lease_void(&w.t, e, w.now));
	assert_string_equal(w.dropped, A);
	assert_true(lease_void(&w.t, e, w.now)); /* another write waits for the same */
	assert_int_equal(w.drops, 1);
	ordered(join(&a, 0, false), LEASE_TRY); /* and who comes now does not wait for it */
	assert_string_equal(a.dead, A);
	tried(&a, LEASE_FOUND_WON, B);
	join(&b, SECOND, false);
	join(&c, SECOND, false);
	assert_true(lease_void(&w.t, e, w.now)); /* B, while the store is told of A */
	assert_int_equal(w.drops, 1);
	lease_dropped(&w.t, e, A, w.now);
	assert_int_equal(w.drops, 2);
	assert_string_equal(w.dropped, B);
	assert_int_equal(w.notes[LEASE_NOTE_VOID], 2);
	ordered(&b, -1);
	w.now += 50 * MS; /* nobody looks before */
	lease_dropped(&w.t, e, B, w.now);
	ordered(&b, -1);
	assert_true(w.due == w.now + 5 * MS);
	assert_false(lease_void(&w.t, e, w.now));
	timer(w.due);
	ordered(&b, LEASE_LOOK);
	assert_string_equal(b.dead, "");
	tried(&b, LEASE_FOUND_THERE, NULL);
	ordered(&c, LEASE_AGAIN);
	over();
	/* the store is slow: who waits leaves before it knows */
	begin();
	join(&a, 0, false);
	tried(&a, LEASE_FOUND_WON, A);
	join(&b, SECOND, false);
	assert_true(lease_void(&w.t, w.entry, w.now));
	timer(START + SECOND);
	ordered(&b, LEASE_BUSY);
	assert_int_equal(w.t.entries, 1);
	lease_dropped(&w.t, w.dropping, A, w.now);
	over();
}

/* Nobody waits: the store is told, and who comes meanwhile does not wait for the dead. */
static void test_drop(void **state)
{
	struct call a, b, c;

	(void)state;
	begin();
	join(&a, 0, false);
	tried(&a, LEASE_FOUND_WON, A);
	lease_over(&w.t, &key, A, w.now);
	assert_int_equal(w.drops, 1);
	assert_string_equal(w.dropped, A);
	ordered(join(&b, 0, false), LEASE_TRY);
	assert_string_equal(b.dead, A);
	tried(&b, LEASE_FOUND_WON, B);
	lease_over(&w.t, &key, B, w.now); /* while the store is told of A */
	assert_int_equal(w.drops, 1);
	lease_dropped(&w.t, w.dropping, A, w.now);
	assert_int_equal(w.drops, 2);
	assert_string_equal(w.dropped, B);
	ordered(join(&c, 0, false), LEASE_TRY);
	lease_dropped(&w.t, w.dropping, B, w.now);
	assert_int_equal(w.t.entries, 1);
	tried(&c, LEASE_FOUND_NOTHING, NULL);
	over();
}

static void test_wait(void **state)
{
	struct call a, b, c, d;

	(void)state;
	begin();
	join(&a, 0, false);
	ordered(join(&b, 0, false), -1); /* it is not known yet that somebody computes */
	join(&c, 30 * MS, false);
	join(&d, 20 * MS, false);
	w.random = UINT64_MAX;
	tried(&a, LEASE_FOUND_WON, A);
	ordered(&b, LEASE_BUSY);
	assert_int_equal(b.retry_ms, 100);
	w.random = 0;
	ordered(join(&b, 0, false), LEASE_BUSY);
	assert_int_equal(b.retry_ms, 25);
	assert_true(w.due == START + 20 * MS);
	timer(w.due);
	ordered(&d, LEASE_BUSY);
	ordered(&c, -1);
	assert_true(w.due == START + 30 * MS);
	timer(w.due);
	ordered(&c, LEASE_BUSY);
	assert_true(w.due == START + LIFE);
	assert_int_equal(w.notes[LEASE_NOTE_BUSY], 4);
	w.now = START + LIFE - 3 * MS;
	ordered(join(&b, 0, false), LEASE_BUSY);
	assert_int_equal(b.retry_ms, 3); /* the lease ends then */
	timer(START + LIFE);
	assert_int_equal(w.notes[LEASE_NOTE_RAN_OUT], 1);
	assert_int_equal(w.drops, 0); /* the store knows */
	over();
}

static void test_ran_out(void **state)
{
	struct call a, b;

	(void)state;
	begin();
	join(&a, 0, false);
	tried(&a, LEASE_FOUND_WON, A);
	join(&b, 2 * LIFE, false);
	timer(START + LIFE);
	ordered(&b, LEASE_TRY);
	assert_string_equal(b.dead, A);
	lease_ended(&w.t, &key, A, LEASE_END_FILLED, w.now); /* too late */
	tried(&b, LEASE_FOUND_WON, B);
	lease_ended(&w.t, &key, B, LEASE_END_FILLED, w.now);
	over();
}

/* Held on another host: the oldest looks, for all of them. */
static void test_foreign(void **state)
{
	struct call a, b, c, d;

	(void)state;
	begin();
	join(&a, SECOND, false);
	join(&b, SECOND, false);
	join(&d, 0, false);
	tried(&a, LEASE_FOUND_OTHER, NULL);
	ordered(&a, -1);
	ordered(&d, LEASE_BUSY);
	assert_int_equal(w.t.waiting, 2);
	assert_true(w.due == START + 5 * MS);
	ordered(join(&c, 0, true), LEASE_HAVE);
	ordered(join(&c, 0, false), LEASE_BUSY);
	timer(w.due);
	ordered(&a, LEASE_LOOK);
	ordered(&b, -1);
	w.random = UINT64_MAX;
	tried(&a, LEASE_FOUND_OTHER, NULL);
	ordered(&a, -1);
	assert_true(w.due > START + 29 * MS && w.due <= START + 30 * MS);
	timer(w.due);
	ordered(&a, LEASE_LOOK); /* still the oldest */
	tried(&a, LEASE_FOUND_THERE, NULL);
	ordered(&b, LEASE_AGAIN);
	over();
	/* its time is over while it looks; the other one goes on */
	begin();
	join(&a, 5 * MS, false);
	join(&b, SECOND, false);
	tried(&a, LEASE_FOUND_OTHER, NULL);
	timer(w.due);
	ordered(&a, LEASE_BUSY);
	ordered(&b, LEASE_LOOK);
	tried(&b, LEASE_FOUND_WON, B);
	lease_ended(&w.t, &key, B, LEASE_END_ABORTED, w.now);
	over();
	/* nobody is left to look */
	begin();
	join(&a, 5 * MS, false);
	tried(&a, LEASE_FOUND_OTHER, NULL);
	lease_leave(&w.t, &a.seat);
	lease_leave(&w.t, &a.seat);
	over();
	/* it has a value: no need to wait, whatever it asked for */
	begin();
	join(&a, SECOND, true);
	tried(&a, LEASE_FOUND_OTHER, NULL);
	ordered(&a, LEASE_HAVE);
	over();
}

static void test_ends(void **state)
{
	struct call a, b, c;

	(void)state;
	begin();
	join(&a, 0, false);
	join(&b, SECOND, false);
	join(&c, SECOND, false);
	tried(&a, LEASE_FOUND_WON, A);
	lease_ended(&w.t, &key, A, LEASE_END_ABORTED, w.now);
	ordered(&b, LEASE_TRY);
	assert_string_equal(b.dead, "");
	tried(&b, LEASE_FOUND_WON, B);
	lease_ended(&w.t, &key, B, LEASE_END_REFUSED, w.now);
	ordered(&c, LEASE_TRY);
	assert_string_equal(c.dead, B);
	tried(&c, LEASE_FOUND_WON, C);
	join(&a, SECOND, false);
	join(&b, SECOND, false);
	lease_ended(&w.t, &key, C, LEASE_END_NEGATIVE, w.now);
	ordered(&a, LEASE_AGAIN);
	ordered(&b, LEASE_AGAIN);
	assert_int_equal(w.notes[LEASE_NOTE_HANDED], 2);
	over();
}

/* Nobody knows what became of a fill: those who wait look, and its time ends it for all. */
static void test_doubt(void **state)
{
	struct call a, b;

	(void)state;
	begin();
	join(&a, 0, false);
	tried(&a, LEASE_FOUND_WON, A);
	lease_doubt(&w.t, &key, B, w.now);
	join(&b, SECOND, false);
	lease_doubt(&w.t, &key, A, w.now);
	ordered(&b, -1);
	assert_int_equal(w.notes[LEASE_NOTE_DOUBT], 1);
	assert_int_equal(w.t.tokens, 0);
	timer(w.due);
	ordered(&b, LEASE_LOOK);
	assert_string_equal(b.dead, ""); /* its fill may come again */
	tried(&b, LEASE_FOUND_OTHER, NULL);
	timer(w.due);
	tried(&b, LEASE_FOUND_THERE, NULL);
	over();
	begin();
	join(&a, 0, false);
	tried(&a, LEASE_FOUND_WON, A);
	lease_doubt(&w.t, &key, A, w.now);
	over();
}

/* The store fails the one who asks: the others are told at once, and a token that it may have given out is dropped. */
static void test_error(void **state)
{
	struct call a, b, c;

	(void)state;
	begin();
	join(&a, SECOND, false);
	join(&b, SECOND, false);
	join(&c, 0, false);
	tried(&a, LEASE_FOUND_ERROR, A);
	ordered(&b, LEASE_FAILED);
	ordered(&c, LEASE_FAILED);
	assert_string_equal(w.dropped, A);
	ordered(join(&a, 0, false), LEASE_TRY);
	assert_string_equal(a.dead, A);
	lease_dropped(&w.t, w.dropping, A, w.now);
	tried(&a, LEASE_FOUND_ERROR, "");
	assert_int_equal(w.drops, 1);
	over();
}

static void test_left(void **state)
{
	struct call a, b, c;
	struct lease_key other = key;

	(void)state;
	begin();
	join(&a, SECOND, false);
	join(&b, 0, false);
	join(&c, SECOND, false);
	tried(&a, LEASE_FOUND_NOTHING, NULL); /* it had gone */
	ordered(&b, LEASE_TRY);
	lease_leave(&w.t, &c.seat);
	assert_null(c.seat.entry);
	assert_int_equal(w.t.waiting, 0);
	tried(&b, LEASE_FOUND_WON, B);
	w.t.max = 1;
	other.db = 1;
	assert_int_equal(lease_join(&w.t, &other, &c.seat, w.now), -2);
	w.t.max = 2;
	assert_int_equal(lease_join(&w.t, &other, &c.seat, w.now), 0);
	ordered(&c, LEASE_TRY); /* another database, another key */
	tried(&c, LEASE_FOUND_THERE, NULL);
	join(&c, SECOND, false);
	lease_table_free(&w.t);
	assert_int_equal(w.t.tokens + w.t.waiting + w.t.entries, 0);
	assert_int_equal(w.released, 1);
}

/* ---- rules ---- */

static uint64_t next_random(uint64_t *s)
{
	uint64_t z = *s += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void test_rules(void **state)
{
	uint64_t s = 1;
	unsigned early = 0;

	(void)state;
	assert_false(lease_early(100, 0, 50, 1.0, UINT64_MAX));    /* no soft expiry */
	assert_false(lease_early(100, 101, 0, 1.0, UINT64_MAX));   /* nothing measured */
	assert_false(lease_early(100, 101, 50, 0.0, UINT64_MAX));  /* told not to */
	assert_true(lease_early(101, 101, 1, 1.0, 0));             /* u = 1: at soft, and not a ms before */
	assert_false(lease_early(100, 101, 50, 1.0, 0));
	assert_true(lease_early(0, 1800, 50, 1.0, UINT64_MAX));    /* u = 2^-53: 36.7 times delta */
	assert_false(lease_early(0, 1900, 50, 1.0, UINT64_MAX));
	/* one delta before soft the chance is 1/e; two deltas with beta 2 as well */
	for (unsigned i = 0; i < 100000; i++)
		early += lease_early(0, 100, 100, 1.0, next_random(&s)) + lease_early(0, 200, 100, 2.0, next_random(&s));
	assert_true(fabs(early / 200000.0 - exp(-1)) < 0.01);

	assert_int_equal(lease_jitter(1000, 0), 950);
	assert_int_equal(lease_jitter(1000, UINT64_C(1) << 63), 1000);
	assert_int_equal(lease_jitter(1000, UINT64_MAX), 1050);
	assert_int_equal(lease_jitter(1, 0), 1);
	assert_true(lease_poll_ns(0) == 5 * MS && lease_poll_ns(UINT64_MAX) <= 25 * MS);
	assert_int_equal(lease_retry_ms(LIFE, 0), 25);
	assert_int_equal(lease_retry_ms(LIFE, UINT64_MAX), 100);
	assert_int_equal(lease_retry_ms(10 * MS, UINT64_MAX), 10);
	assert_int_equal(lease_retry_ms(0, 0), 1);
}

/* ---- random ---- */

enum { KEYS = 3, CALLS = 40, STEPS = 60000 };

struct actor {
	struct call c;
	unsigned key;
	enum { IDLE, WAITING, ASKING, COMPUTING } state; /* ASKING: the store has it in hand */
	char token[RECORD_TOKEN_LEN + 1];
};

static struct sim {
	struct actor actor[CALLS];
	struct lease_entry *timers[64];
	uint64_t due[64];
	struct { struct lease_entry *e; char dead[RECORD_TOKEN_LEN + 1]; } drops[64];
	struct { char token[RECORD_TOKEN_LEN + 1]; uint64_t until; bool value; } store[KEYS];
	unsigned ndrops, done, wins;
	uint64_t seed, tokens;
} sim;

static struct lease_key sim_key(unsigned k)
{
	static const char names[KEYS][2] = { "x", "y", "z" };

	return (struct lease_key){ .ns = 1, .name = { (const uint8_t *)names[k], 1 } };
}

static void sim_seat(void *arg, struct lease_seat *s, enum lease_order o, const char *dead, uint32_t retry_ms)
{
	struct actor *a = (struct actor *)s;

	(void)arg;
	assert_true(a->state == WAITING);
	snprintf(a->c.dead, sizeof a->c.dead, "%s", dead);
	if (o == LEASE_BUSY)
		assert_true(retry_ms >= 1 && retry_ms <= 100);
	a->state = o == LEASE_TRY || o == LEASE_LOOK ? ASKING : IDLE;
	sim.done += a->state == IDLE;
}

static void sim_drop(void *arg, struct lease_entry *e, const char *dead)
{
	(void)arg;
	assert_true(sim.ndrops < 64);
	sim.drops[sim.ndrops].e = e;
	snprintf(sim.drops[sim.ndrops++].dead, sizeof sim.drops[0].dead, "%s", dead);
}

static void sim_timer(void *arg, struct lease_entry *e, uint64_t due)
{
	unsigned i = 0;

	(void)arg;
	while (i < 64 && sim.timers[i] != e)
		i++;
	for (unsigned j = 0; i == 64 && j < 64; j++)
		if (!sim.timers[j])
			i = j;
	assert_true(i < 64);
	sim.timers[i] = due ? e : NULL;
	sim.due[i] = due;
}

static void sim_forget(void *arg, struct lease_entry *e)
{
	(void)arg;
	for (unsigned i = 0; i < sim.ndrops; i++)
		assert_ptr_not_equal(sim.drops[i].e, e);
	for (unsigned i = 0; i < 64; i++)
		assert_ptr_not_equal(sim.timers[i], e);
}

static uint64_t sim_random(void *arg)
{
	(void)arg;
	return next_random(&sim.seed);
}

/* cache_lease.lua, in short. */
static void sim_ask(struct actor *a)
{
	struct lease_result r = { .life_ns = LIFE, .holder = a };
	bool live = sim.store[a->key].token[0] && sim.store[a->key].until > w.now;

	a->state = WAITING;
	if (next_random(&sim.seed) % 20 == 0) {
		r.found = next_random(&sim.seed) % 2 ? LEASE_FOUND_ERROR : LEASE_FOUND_NOTHING;
		a->state = IDLE;
	} else if (sim.store[a->key].value) {
		r.found = LEASE_FOUND_THERE;
		a->state = IDLE;
	} else if (live && strcmp(sim.store[a->key].token, a->c.dead)) {
		r.found = LEASE_FOUND_OTHER;
		r.life_ns = sim.store[a->key].until - w.now;
	} else {
		r.found = LEASE_FOUND_WON;
		snprintf(a->token, sizeof a->token, "%032llx", (unsigned long long)++sim.tokens);
		memcpy(sim.store[a->key].token, a->token, sizeof a->token);
		sim.store[a->key].until = w.now + LIFE;
		r.token = a->token;
		a->state = COMPUTING;
		sim.wins++;
	}
	sim.done += a->state == IDLE;
	lease_tried(&w.t, &a->c.seat, &r, w.now);
}

static void sim_compute(struct actor *a)
{
	struct lease_key k = sim_key(a->key);
	bool live = !strcmp(sim.store[a->key].token, a->token) && sim.store[a->key].until > w.now;
	uint64_t what = next_random(&sim.seed) % 5;

	a->state = IDLE;
	sim.done++;
	if (what == 0) { /* its connection closes */
		lease_over(&w.t, &k, a->token, w.now);
	} else if (what == 1) { /* somebody writes the key, or deletes it */
		for (unsigned i = 0; i < CALLS; i++)
			if (sim.actor[i].c.seat.entry && sim.actor[i].key == a->key && lease_holds(&w.t, &k, a->token)) {
				lease_void(&w.t, sim.actor[i].c.seat.entry, w.now);
				break;
			}
		lease_over(&w.t, &k, a->token, w.now); /* if nobody waits: there is no entry to be found by a seat */
		sim.store[a->key].value = next_random(&sim.seed) % 2;
	} else if (!live) {
		lease_ended(&w.t, &k, a->token, LEASE_END_REFUSED, w.now);
	} else {
		sim.store[a->key].token[0] = '\0';
		sim.store[a->key].value = what == 2;
		lease_ended(&w.t, &k, a->token, what == 2 ? LEASE_END_FILLED : LEASE_END_ABORTED, w.now);
	}
}

static void sim_act(struct actor *a, bool ending)
{
	struct lease_key k = sim_key(a->key = a->state == IDLE ? (unsigned)(next_random(&sim.seed) % KEYS) : a->key);
	uint64_t wait = next_random(&sim.seed) % 3;

	if (a->state == ASKING) {
		sim_ask(a);
	} else if (a->state == COMPUTING) {
		sim_compute(a);
	} else if (a->state == WAITING && next_random(&sim.seed) % 50 == 0) {
		lease_leave(&w.t, &a->c.seat);
		a->state = IDLE;
		sim.done++;
	} else if (a->state == IDLE && !ending) {
		k = sim_key(a->key);
		a->state = WAITING;
		a->c.seat.deadline_ns = wait ? w.now + wait * wait * 50 * MS : 0;
		a->c.seat.has_value = next_random(&sim.seed) % 8 == 0;
		assert_int_equal(lease_join(&w.t, &k, &a->c.seat, w.now), 0);
	}
}

static void sim_step(unsigned step)
{
	uint64_t r = next_random(&sim.seed);

	w.now += r % 4 ? r % (2 * MS) : 0;
	if (r % 3000 == 0)
		w.now += LIFE;
	for (unsigned i = 0; i < 64; i++)
		if (sim.timers[i] && sim.due[i] <= w.now) {
			struct lease_entry *e = sim.timers[i];

			sim.timers[i] = NULL;
			lease_timer(&w.t, e, w.now);
		}
	if (sim.ndrops && r % 3 == 0) {
		struct lease_entry *e = sim.drops[0].e;
		char dead[RECORD_TOKEN_LEN + 1];

		memcpy(dead, sim.drops[0].dead, sizeof dead);
		memmove(sim.drops, sim.drops + 1, --sim.ndrops * sizeof sim.drops[0]);
		for (unsigned k = 0; k < KEYS; k++)
			if (!strcmp(sim.store[k].token, dead))
				sim.store[k].token[0] = '\0';
		lease_dropped(&w.t, e, dead, w.now);
	}
	for (unsigned k = 0; k < KEYS; k++)
		if (r % 200 == k)
			sim.store[k].value = false; /* it expires */
	sim_act(&sim.actor[next_random(&sim.seed) % CALLS], step >= STEPS);
}

static void test_random(void **state)
{
	const char *env = getenv("PURSER_SEED");
	unsigned held[KEYS];

	(void)state;
	begin();
	memset(&sim, 0, sizeof sim);
	sim.seed = env ? strtoull(env, NULL, 10) : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
	printf("# PURSER_SEED=%llu\n", (unsigned long long)sim.seed);
	w.o.seat = sim_seat;
	w.o.drop = sim_drop;
	w.o.timer = sim_timer;
	w.o.forget = sim_forget;
	w.o.random = sim_random;
	for (unsigned step = 0; step < STEPS + 40 * CALLS * 100; step++) {
		sim_step(step);
		memset(held, 0, sizeof held);
		for (unsigned i = 0; i < CALLS; i++) {
			struct lease_key k = sim_key(sim.actor[i].key);

			if (sim.actor[i].state == COMPUTING && lease_holds(&w.t, &k, sim.actor[i].token))
				assert_int_equal(++held[sim.actor[i].key], 1);
		}
		if (step > STEPS && !w.t.entries)
			break;
	}
	for (unsigned i = 0; i < CALLS; i++) /* what is left computes with a lease that has ended */
		if (sim.actor[i].state == COMPUTING)
			sim_compute(&sim.actor[i]);
		else
			assert_true(sim.actor[i].state == IDLE);
	assert_true(sim.done > STEPS / 10 && sim.wins > STEPS / 100);
	over();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filled),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_void),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_ran_out),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_doubt),
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_left),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
