/* SPDX-License-Identifier: Apache-2.0
 *
 * The hub: one subscription of the store for all workers, whatever comes in between.  Three workers, whose
 * loops are turned here; the plugin is this file.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "backend/hub.h"
#include "backend/instance.h"

#define WORKERS 3u

static struct hub *hub;
static struct loop *loops[WORKERS];
static struct purser_ctx ctx[WORKERS];
static char store[1024];  /* what the plugin was asked: "+c:news" */
static char heard[1024];  /* what workers got: "1:news=hello" */
static int refuse;        /* the plugin's answer */

static void say(char *where, const char *fmt, ...)
{
	size_t n = strlen(where);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(where + n, 1024 - n, fmt, ap);
	va_end(ap);
}

static int subscribe(void *cs, uint32_t kind, purser_bytes name, int on)
{
	(void)cs;
	say(store, "%c%u:%.*s ", on ? '+' : '-', kind, (int)name.n, (const char *)name.p);
	return refuse;
}

static int track(void *cs, purser_bytes prefix, int on)
{
	(void)cs;
	say(store, "%c%.*s ", on ? 'T' : 't', (int)prefix.n, (const char *)prefix.p);
	return 0;
}

static const purser_plugin plugin = { .subscribe = subscribe, .track = track };

static void deliver(void *worker, struct hub_msg *m)
{
	unsigned w = (unsigned)((struct purser_ctx *)worker - ctx);

	if (m->what == HUB_LOST)
		say(heard, "%u:lost ", w);
	else if (m->what == HUB_MESSAGE)
		say(heard, "%u:%.*s=%.*s ", w, (int)m->name.n, (const char *)m->name.p, (int)m->message.n,
		    (const char *)m->message.p);
	else if (!m->nkeys)
		say(heard, "%u:all ", w);
	for (uint32_t i = 0; m->what == HUB_INVALID && i < m->nkeys; i++)
		say(heard, "%u:!%.*s ", w, (int)m->keys[i].n, (const char *)m->keys[i].p);
}

static purser_bytes bytes(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

static void turn(void)
{
	for (int i = 0; i < 6; i++)
		for (uint32_t w = 0; w < WORKERS; w++)
			loop_turn(loops[w], 0);
}

static void is(char *where, const char *want)
{
	turn();
	assert_string_equal(where, want);
	*where = '\0';
}

struct asked { struct hub_ask a; int answers; bool ok; };

static void answered(struct hub_ask *a)
{
	struct asked *x = (struct asked *)a;

	x->answers++;
	x->ok = a->ok;
}

static void ask(struct asked *x, uint32_t worker, const char *name, bool on)
{
	*x = (struct asked){ .a = { .hub = hub, .worker = worker, .kind = PURSER_SUB_CHANNEL, .on = on,
		.name = bytes(name), .answered = answered } };
	hub_send(&x->a);
	turn();
}

static void told(const struct asked *x, int ok)
{
	turn();
	assert_int_equal(x->answers, ok >= 0);
	if (ok >= 0)
		assert_int_equal(x->ok, ok);
}

static int setup(void **state)
{
	(void)state;
	hub = hub_new(WORKERS, 1, "main", NULL);
	for (uint32_t w = 0; w < WORKERS; w++) {
		loops[w] = loop_new(NULL);
		ctx[w] = (struct purser_ctx){ .worker = w, .loop = loops[w], .p = &plugin };
		hub_attach(hub, &ctx[w], &ctx[w], deliver);
	}
	*store = *heard = '\0';
	refuse = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t w = 0; w < WORKERS; w++)
		hub_detach(hub, &ctx[w]);
	turn();
	hub_unref(hub);
	for (uint32_t w = 0; w < WORKERS; w++)
		loop_free(loops[w]);
	return 0;
}

static void first_in_last_out(void **state)
{
	struct asked a, b, c;

	(void)state;
	assert_true(hub_empty(hub));
	ask(&a, 0, "news", true);
	ask(&b, 2, "news", true);
	is(store, "+1:news ");
	told(&a, -1); /* the store has not confirmed */
	told(&b, -1);
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("news"), true);
	told(&a, 1);
	told(&b, 1);
	ask(&c, 1, "news", true);
	told(&c, 1);
	hub_count(hub, PURSER_SUB_CHANNEL, bytes("news"), 0, 2);
	hub_count(hub, PURSER_SUB_CHANNEL, bytes("news"), 2, 1);
	hub_message(hub, PURSER_SUB_CHANNEL, bytes("news"), bytes("news"), bytes("m"));
	is(heard, "0:news=m 2:news=m ");
	ask(&a, 0, "news", false);
	told(&a, 1); /* the others want it still */
	ask(&c, 1, "news", false);
	is(store, "");
	hub_count(hub, PURSER_SUB_CHANNEL, bytes("news"), 2, 0);
	ask(&b, 2, "news", false);
	is(store, "-1:news ");
	told(&b, -1);
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("news"), false);
	told(&b, 1);
	assert_true(hub_empty(hub));
}

static void changed_minds(void **state)
{
	struct asked a, b;

	(void)state;
	ask(&a, 0, "x", true);
	is(store, "+1:x ");
	ask(&b, 0, "x", false); /* before the store has answered: never wanted any more, but it was asked for */
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("x"), true);
	told(&a, 1);
	ask(&a, 0, "x", false);
	is(store, "-1:x ");
	ask(&b, 1, "x", true); /* while it is being given up */
	is(store, "");
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("x"), false);
	is(store, "+1:x ");
	told(&a, 1);
	told(&b, -1);
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("x"), true);
	told(&b, 1);
}

static void refusals(void **state)
{
	struct asked a;

	(void)state;
	refuse = -1; /* cannot now */
	ask(&a, 0, "x", true);
	told(&a, 0);
	assert_true(hub_empty(hub));
	refuse = 0;
	*store = '\0';
	ask(&a, 0, "x", true);
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("x"), false); /* may not */
	told(&a, 0);
	is(store, "+1:x ");
	ask(&a, 0, "never", false);
	told(&a, 1);
	assert_true(hub_empty(hub));
}

static void lost(void **state)
{
	struct asked a, b, c;

	(void)state;
	ask(&a, 0, "x", true);
	ask(&b, 2, "y", true);
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("x"), true);
	told(&a, 1);
	hub_count(hub, PURSER_SUB_CHANNEL, bytes("x"), 0, 5);
	hub_lost(hub);
	told(&b, 0);
	is(heard, "0:lost 1:lost 2:lost ");
	assert_int_equal(hub_receivers(hub, PURSER_SUB_CHANNEL, bytes("x"), 3), 3);
	assert_true(hub_empty(hub));
	ask(&c, 1, "x", true);
	is(store, "+1:x +1:y +1:x ");
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("x"), true);
	told(&c, 1);
	/* keep: nobody is told, and it is asked for again */
	hub_keep(hub, true);
	hub_lost(hub);
	is(heard, "");
	is(store, "+1:x ");
}

static void counts(void **state)
{
	struct hub_ask pattern = { .hub = hub, .worker = 1, .kind = PURSER_SUB_PATTERN, .on = true,
		.name = bytes("n*"), .answered = answered };
	struct asked a, p = { .a = pattern };

	(void)state;
	ask(&a, 0, "news", true);
	hub_send(&p.a);
	turn();
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("news"), true);
	hub_subscribed(hub, PURSER_SUB_PATTERN, bytes("n*"), true);
	turn();
	hub_count(hub, PURSER_SUB_CHANNEL, bytes("news"), 0, 10);
	hub_count(hub, PURSER_SUB_PATTERN, bytes("n*"), 1, 4);
	/* the store counts us twice and one stranger */
	assert_int_equal(hub_receivers(hub, PURSER_SUB_CHANNEL, bytes("news"), 3), 15);
	assert_int_equal(hub_receivers(hub, PURSER_SUB_CHANNEL, bytes("nothing else"), 1), 4);
	assert_int_equal(hub_receivers(hub, PURSER_SUB_SHARD, bytes("news"), 1), 1);
	assert_int_equal(hub_subscribers(hub, PURSER_SUB_CHANNEL, bytes("news"), 2), 11);
	assert_int_equal(hub_subscribers(hub, PURSER_SUB_CHANNEL, bytes("news"), -1), 10);
	assert_int_equal(hub_publish(hub, PURSER_SUB_CHANNEL, bytes("news"), bytes("m")), 14);
	is(heard, "0:news=m 1:n*=m ");
	assert_int_equal(hub_publish(hub, PURSER_SUB_SHARD, bytes("news"), bytes("m")), 0);
}

static void closed(void **state)
{
	struct asked a, b;

	(void)state;
	ask(&a, 0, "x", true);
	hub_subscribed(hub, PURSER_SUB_CHANNEL, bytes("x"), true);
	turn();
	hub_detach(hub, &ctx[1]);
	is(heard, "0:lost 1:lost 2:lost ");
	ask(&b, 2, "x", true);
	told(&b, 0);
	ask(&b, 0, "x", false);
	told(&b, 1);
}

static void changes(void **state)
{
	purser_bytes keys[] = { bytes("p:a"), bytes("p:b") };

	(void)state;
	hub_track(hub, bytes("p:"), 0, true);
	is(store, "Tp: ");
	hub_invalidated(hub, NULL, 0); /* from now on */
	is(heard, "0:all ");
	hub_track(hub, bytes("p:"), 2, true);
	is(heard, "2:all ");
	hub_invalidated(hub, keys, 2);
	is(heard, "0:!p:a 0:!p:b 2:!p:a 2:!p:b ");
	hub_track(hub, bytes("p:"), 0, false);
	turn();
	hub_invalidated(hub, keys, 1);
	is(heard, "2:!p:a ");
	is(store, "");
	hub_track(hub, bytes("p:"), 2, false);
	is(store, "tp: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(first_in_last_out, setup, teardown),
		cmocka_unit_test_setup_teardown(changed_minds, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(lost, setup, teardown),
		cmocka_unit_test_setup_teardown(counts, setup, teardown),
		cmocka_unit_test_setup_teardown(closed, setup, teardown),
		cmocka_unit_test_setup_teardown(changes, setup, teardown),
	};

	return cmocka_run_group_tests_name("backend hub", tests, NULL, NULL);
}
