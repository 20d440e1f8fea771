/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: rules 5, 13, 17-20: threads, routes, subscriptions, data that stays, growth, time.
 */
#include <config.h>
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- 5 --------------------------------------------------------------------------------------- */

struct crew {
	struct purser_instance *i;
	pthread_t thread;
	unsigned n;
	bool sum;
};

static void *work(void *arg)
{
	enum { ROUNDS = 100 };
	struct crew *c = arg;
	struct purser_ctx *x = ctx_open(c->i);
	struct purser_session *s[3] = { session_new(x), session_new(x), session_new(x) };
	char words[64];

	for (int r = 0; r < ROUNDS; r++) {
		for (int n = 0; n < 3; n++) {
			snprintf(words, sizeof(words), "SET @own%u.%d %d", c->n, n, r);
			call(s[n], 2, words);
			snprintf(words, sizeof(words), "SET @shared%d %u", r % 5, c->n);
			call(s[n], 2, words);
			snprintf(words, sizeof(words), "GET @shared%d", r % 5);
			call(s[n], 2, words);
			if (c->sum)
				call(s[n], 2, "INCR @sum");
		}
		ctx_settle(x);
		for (int n = 0; n < 3; n++) {
			char value[16];

			snprintf(words, sizeof(words), "GET @own%u.%d", c->n, n);
			snprintf(value, sizeof(value), "$%d", r);
			expect(s[n], 2, 5, words, value);
		}
	}
	for (int n = 0; n < 3; n++)
		session_free(s[n]);
	ctx_settle(x);
	ctx_close(x);
	return NULL;
}

static void all_threads(void)
{
	enum { CREW = 4 };
	struct purser_instance *i = rig_start(NULL);
	unsigned n, crew = CREW, most = i->p->max_parallel;
	struct crew c[CREW];
	struct purser_session *s;
	struct purser_ctx *x;
	char want[32];

	if (i->p->model == PURSER_BLOCKING && most && most < crew)
		crew = most;
	for (n = 0; n < crew; n++) {
		c[n] = (struct crew){ .i = i, .n = n, .sum = call_known("INCR") };
		if (pthread_create(&c[n].thread, NULL, work, &c[n]) != 0)
			kit_stop(0, "the kit cannot make a thread");
	}
	for (n = 0; n < crew; n++)
		pthread_join(c[n].thread, NULL);
	x = ctx_open(i);
	s = session_new(x);
	if (c[0].sum) {
		snprintf(want, sizeof(want), "$%u", crew * 300);
		expect(s, 2, 5, "GET @sum", want); /* no increment was lost */
	}
	session_free(s);
	rig_done(x);
}

/* ---- 13 -------------------------------------------------------------------------------------- */

/* A blocking pop: on a link of its own, for ever. */
static struct kcall *blocking_pop(struct purser_session *s)
{
	struct kcall *k = call_new(s, 2, "BLPOP @list 0");

	k->route = PURSER_ROUTE_EXCLUSIVE;
	k->flags |= PURSER_CALL_BLOCKS | PURSER_CALL_WRITE;
	call_offer(k);
	return k;
}

static void blocked_alone(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *waiter = session_new(x), *other = session_new(x);
	struct kcall *k;
	struct buf text = { 0 };

	k = blocking_pop(waiter);
	for (int n = 0; n < 20; n++) {
		expect(other, 2, 13, "SET @k v", "+OK");
		expect(other, 2, 13, "GET @k", "$v");
	}
	if (k->state == CALL_ENDED)
		kit_blame(13, "BLPOP of an empty list gave %s", call_text(k));
	expect(other, 2, 13, "RPUSH @list one", ":1");
	call_wait(k);
	buf_printf(&text, "[$%slist $one]", x->inst->prefix);
	if (strcmp(call_text(k), buf_cstr(&text)) != 0)
		kit_blame(13, "BLPOP gave %s", call_text(k));
	buf_free(&text);
	k = blocking_pop(waiter);
	ctx_turn(x, 10);
	call_cancel(k, PURSER_CANCEL_CLIENT_GONE);
	call_wait(k); /* rule 15: a blocked call that nobody waits for must not live for ever */
	rig_done(x);
}

static void watched(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x), *other = session_new(x);

	for (int n = 0; n < 4; n++) {
		bool disturb = n % 2;
		struct kcall *k, *part;

		expect(other, 2, 13, "SET @w 1", "+OK");
		k = call_new(s, 2, "WATCH @w");
		k->route = PURSER_ROUTE_PINNED;
		k->flags |= PURSER_CALL_ALONE;
		call_offer(k);
		call_wait(k);
		if (strcmp(call_text(k), "+OK") != 0)
			kit_blame(13, "WATCH gave %s", call_text(k));
		if (disturb)
			expect(other, 2, 13, "SET @w 2", "+OK");
		part = call_new(s, 2, "SET @w 3");
		k = call_batch(s, 2, &part, 1);
		k->route = PURSER_ROUTE_PINNED;
		k->flags |= PURSER_CALL_UNPIN;
		call_offer(k);
		call_wait(k);
		if (strcmp(call_text(k), disturb ? "(nil)" : "[+OK]") != 0)
			kit_blame(13, "EXEC gave %s %s another's write", call_text(k),
				disturb ? "after" : "without");
		expect(other, 2, 13, "GET @w", disturb ? "$2" : "$3");
	}
	rig_done(x);
}

/* ---- 17 -------------------------------------------------------------------------------------- */

struct ack {
	struct kit_sub *sub;
	unsigned n;
};

static bool acked(void *arg)
{
	struct ack *a = arg;

	return a->sub->acks >= a->n;
}

static void subscribe(struct purser_ctx *x, struct kit_sub *sub, int on)
{
	struct ack a = { sub, sub->acks + 1 };
	purser_bytes name = { buf_data(&sub->name), buf_len(&sub->name) };
	int rc;

	enter(x, "subscribe()");
	rc = x->inst->p->subscribe(x->cs, sub->kind, name, on);
	leave(x);
	if (rc != 0)
		kit_stop(17, "subscribe(%d) said %d", on, rc);
	if (!ctx_until(x, acked, &a))
		kit_stop(17, "subscribed() did not come");
	if (sub->on != (on != 0) || sub->acks != a.n)
		kit_blame(17, "subscribed() came %u times, on = %d", sub->acks - a.n + 1, sub->on);
}

static bool heard(void *arg)
{
	struct purser_ctx *x = arg;

	return x->messages || x->inst->published;
}

static void publishing(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);
	static struct kit_sub sub = { .kind = PURSER_SUB_CHANNEL };
	struct buf want = { 0 };

	buf_printf(&sub.name, "%schannel", x->inst->prefix);
	x->inst->subs = &sub;
	subscribe(x, &sub, 1);
	call(s, 2, "PUBLISH @channel hello");
	if (!ctx_until(x, heard, x))
		kit_stop(17, "a published message did not arrive");
	buf_printf(&want, "1  %schannel hello", x->inst->prefix);
	if (x->messages && strcmp(buf_cstr(&x->messages->text), buf_cstr(&want)) != 0)
		kit_blame(17, "message() gave \"%s\"", buf_cstr(&x->messages->text));
	buf_free(&want);
	subscribe(x, &sub, 0);
	rig_done(x);
}

static bool invalid(void *arg)
{
	return ((struct purser_ctx *)arg)->invalidated > 0;
}

static bool begun(void *arg)
{
	return ((struct purser_ctx *)arg)->invalid_all > 0;
}

static void tracking(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);
	purser_bytes prefix = { (const uint8_t *)x->inst->prefix, strlen(x->inst->prefix) };

	enter(x, "track()");
	if (x->inst->p->track(x->cs, prefix, 1) != 0)
		kit_blame(17, "track() refused");
	leave(x);
	if (!ctx_until(x, begun, x))
		kit_blame(17, "invalidated(NULL, 0) did not say that changes are told from now on");
	expect(s, 2, 17, "SET @k v", "+OK");
	if (!ctx_until(x, invalid, x))
		kit_blame(17, "a write of a tracked key was not told");
	enter(x, "track()");
	x->inst->p->track(x->cs, prefix, 0);
	leave(x);
	rig_done(x);
}

/* ---- 18 -------------------------------------------------------------------------------------- */

static void reload(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);
	purser_error e;

	if (!x->inst->p->prepare)
		kit_skip("it has no prepare()");
	expect(s, 2, 18, "SET @k v", "+OK");
	for (int commit = 0; commit < 2; commit++) {
		if (rig_prepare(x->inst, &e) != 0)
			kit_blame(18, "prepare() refused the settings it runs with: %s", e.text);
		call(s, 2, "GET @k"); /* traffic does not wait for a reload */
		rig_adopt(x->inst, commit);
		expect(s, 2, 18, "GET @k", "$v");
	}
	session_free(s);
	rig_done(x);
}

static void two_instances(void)
{
	struct purser_ctx *a = rig_ctx(), *b = rig_ctx();
	struct purser_session *sa = session_new(a), *sb = session_new(b);

	memcpy(b->inst->prefix, a->inst->prefix, sizeof(a->inst->prefix)); /* the same names */
	expect(sa, 2, 18, "SET @k mine", "+OK");
	expect(sb, 2, 18, "GET @k", "(nil)");
	expect(sb, 2, 18, "SET @k yours", "+OK");
	expect(sa, 2, 18, "GET @k", "$mine");
	rig_done(a);
	expect(sb, 2, 18, "GET @k", "$yours");
	rig_done(b);
}

/* ---- 19 -------------------------------------------------------------------------------------- */

static void __attribute__((noreturn)) newer_function(void)
{
	kit_stop(19, "the plugin called a host function that its header does not have");
}

static void newer_host(void)
{
	struct { purser_host h; void (*more[8])(void); } big = { .h = kit_host };
	struct { purser_stats s; uint8_t more[64]; } stats;
	struct purser_instance *i;
	struct purser_session *s;
	struct purser_ctx *x;
	purser_error e;

	big.h.struct_size = sizeof(big);
	big.h.features = UINT64_MAX;
	for (int n = 0; n < 8; n++)
		big.more[n] = newer_function;
	i = rig_try_start(NULL, &big.h, &e);
	if (!i)
		kit_stop(
			19, "start() refused a host table that is larger than its own: %s", e.text);
	i->tail = true; /* and calls are larger too */
	x = ctx_open(i);
	s = session_new(x);
	expect(s, 2, 19, "SET @k v", "+OK");
	expect(s, 3, 19, "GET @k", "$v");
	if (i->p->stats) {
		memset(&stats, 0xff, sizeof(stats));
		stats.s.struct_size = sizeof(stats);
		if (i->p->stats(i->state, &stats.s) != 0)
			kit_blame(19, "stats() failed");
		for (size_t n = 0; n < sizeof(stats.more); n++)
			if (stats.more[n] != 0xff)
				kit_stop(19, "stats() wrote behind the fields that it knows");
		if (i->p->caps & PURSER_CAP_MEMORY_INFO && stats.s.used_bytes == UINT64_MAX)
			kit_blame(19,
				"MEMORY_INFO is declared, and stats() leaves used_bytes unknown");
	}
	session_free(s);
	rig_done(x);
}

/* ---- 20 -------------------------------------------------------------------------------------- */

static void hosts_clock(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);

	expect(s, 2, 20, "SET @t v PX 60000", "+OK");
	expect(s, 2, 20, "SET @stays v", "+OK");
	ctx_skip_ms(x, 59000); /* the test does not wait: the host's clock jumps */
	expect(s, 2, 20, "GET @t", "$v");
	ctx_skip_ms(x, 1001);
	expect(s, 2, 20, "GET @t", "(nil)");
	expect(s, 2, 20, "GET @stays", "$v");
	session_free(s);
	rig_done(x);
}

/* Settings are read in start() only; kit_host.c sees to it, and their memory is closed behind it.
 */
static void settings_in_time(void)
{
	struct purser_ctx *x = rig_ctx();

	ctx_skip_ms(x, 1000);
	rig_done(x);
}

const struct kit_test rules_state[] = {
	{ 5, "never sleeps, each context on its thread", 0, NEEDS_STORE | NEEDS_INLINE, "GET SET",
		all_threads, NULL },
	{ 5, "blocking threads", 0, NEEDS_STORE | NEEDS_BLOCKING, "GET SET", all_threads, NULL },
	{ 13, "a blocked call holds up nobody", PURSER_CAP_BLOCKING, NEEDS_STORE,
		"BLPOP RPUSH GET SET", blocked_alone, NULL },
	{ 13, "WATCH to EXEC on the session's own link", PURSER_CAP_WATCH | PURSER_CAP_BATCH,
		NEEDS_STORE, "WATCH GET SET", watched, NULL },
	{ 17, "subscribe, publish, unsubscribe", PURSER_CAP_PUBSUB, NEEDS_STORE, "PUBLISH",
		publishing, NULL },
	{ 17, "tracking", PURSER_CAP_TRACKING, NEEDS_STORE, "SET", tracking, NULL },
	{ 18, "reload under traffic", 0, NEEDS_STORE, "GET SET", reload, NULL },
	{ 18, "instances keep apart", 0, NEEDS_STORE | NEEDS_OWN_DATA, "GET SET", two_instances,
		NULL },
	{ 19, "a newer host with larger structs", 0, NEEDS_STORE, "GET SET", newer_host, NULL },
	{ 20, "keys expire by the host's clock", PURSER_CAP_TTL, NEEDS_OWN_DATA | NEEDS_STORE,
		"GET SET", hosts_clock, NULL },
	{ 20, "settings are read while they may be", 0, NEEDS_STORE, NULL, settings_in_time, NULL },
	{ 0, NULL, 0, 0, NULL, NULL, NULL },
};
