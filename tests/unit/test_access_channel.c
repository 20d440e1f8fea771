/* SPDX-License-Identifier: Apache-2.0
 *
 * Channels: their names in the store and back, and whose keyspace events are whose.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "access/channel.h"

static struct project project(const char *prefix, uint32_t databases)
{
	struct project p = { .databases = databases, .prefix_len = (uint32_t)strlen(prefix) };

	memcpy(p.prefix, prefix, strlen(prefix));
	return p;
}

static purser_bytes bytes(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

static void is(purser_bytes b, const char *want)
{
	assert_int_equal(b.n, strlen(want));
	assert_memory_equal(b.p, want, b.n);
}

/* What the store is subscribed to for name, and how. */
static void into(const struct project *p, bool pattern, const char *name, enum channel_mode want_mode,
    const char *want)
{
	enum channel_mode mode;
	struct arena a;
	uint64_t mem[64];

	arena_begin(&a, mem, sizeof mem);
	is(channel_in(p, pattern, bytes(name), &a, &mode), want);
	assert_int_equal(mode, want_mode);
	arena_end(&a);
}

static void names_in(void **state)
{
	struct project p = project("proj:p:", 2), glob = project("p*[:", 1), off = project("", 16);

	(void)state;
	into(&p, false, "news", CHANNEL_PLAIN, "proj:p:news");
	into(&p, false, "", CHANNEL_PLAIN, "proj:p:");
	into(&p, true, "n*", CHANNEL_PLAIN, "proj:p:n*");
	into(&glob, false, "n", CHANNEL_PLAIN, "p*[:n");
	into(&glob, true, "n*", CHANNEL_PLAIN, "p\\*\\[:n*");
	into(&p, false, "__keyspace@1__:k", CHANNEL_KEYSPACE, "__keyspace@1__:proj:p:k");
	into(&p, true, "__keyspace@0__:k*", CHANNEL_KEYSPACE, "__keyspace@0__:proj:p:k*");
	into(&glob, true, "__keyspace@0__:k*", CHANNEL_KEYSPACE, "__keyspace@0__:p\\*\\[:k*");
	into(&p, false, "__keyevent@0__:set", CHANNEL_KEYEVENT, "__keyevent@0__:set");
	into(&p, true, "__keyevent@0__:*", CHANNEL_KEYEVENT, "__keyevent@0__:*");
	/* a database that it does not have is none */
	into(&p, false, "__keyspace@2__:k", CHANNEL_PLAIN, "proj:p:__keyspace@2__:k");
	into(&p, true, "__keyspace@99999999999__:k", CHANNEL_PLAIN, "proj:p:__keyspace@99999999999__:k");
	into(&p, true, "__key*__:*", CHANNEL_KEYANY, "__key*@*__:*");
	into(&p, true, "__keyspace@*__:a", CHANNEL_KEYANY, "__key*@*__:*");
	into(&p, false, "__key*__:*", CHANNEL_PLAIN, "proj:p:__key*__:*");
	into(&p, true, "*", CHANNEL_PLAIN, "proj:p:*");
	into(&off, false, "__keyspace@9__:k", CHANNEL_PLAIN, "__keyspace@9__:k");
	into(&off, true, "*", CHANNEL_PLAIN, "*");
}

/* What a subscriber sees; want NULL: nothing. */
static void out(const struct project *p, bool pattern, enum channel_mode mode, const char *name,
    const char *channel, const char *message, const char *want, const char *want_message)
{
	struct channel_heard h;
	char got[128];

	if (!want) {
		assert_false(channel_out(p, pattern, mode, bytes(name), bytes(channel), bytes(message), &h));
		return;
	}
	assert_true(channel_out(p, pattern, mode, bytes(name), bytes(channel), bytes(message), &h));
	memcpy(got, h.channel[0].p, h.channel[0].n);
	if (h.channel[1].n)
		memcpy(got + h.channel[0].n, h.channel[1].p, h.channel[1].n);
	is((purser_bytes){ (const uint8_t *)got, h.channel[0].n + h.channel[1].n }, want);
	is(h.message, want_message);
}

static void names_out(void **state)
{
	struct project p = project("proj:p:", 2), off = project("", 16);

	(void)state;
	out(&p, false, CHANNEL_PLAIN, "news", "proj:p:news", "m", "news", "m");
	out(&p, true, CHANNEL_PLAIN, "*", "proj:q:news", "m", NULL, NULL);
	out(&p, false, CHANNEL_KEYSPACE, "__keyspace@0__:k", "__keyspace@0__:proj:p:k", "set", "__keyspace@0__:k", "set");
	out(&p, false, CHANNEL_KEYEVENT, "__keyevent@0__:set", "__keyevent@0__:set", "proj:p:k", "__keyevent@0__:set", "k");
	out(&p, false, CHANNEL_KEYEVENT, "__keyevent@0__:set", "__keyevent@0__:set", "proj:q:k", NULL, NULL);
	out(&p, false, CHANNEL_KEYEVENT, "__keyevent@0__:set", "__keyevent@0__:set", "proj:p", NULL, NULL);
	out(&p, true, CHANNEL_KEYANY, "__key*__:*", "__keyspace@1__:proj:p:k", "set", "__keyspace@1__:k", "set");
	out(&p, true, CHANNEL_KEYANY, "__key*__:*", "__keyspace@2__:proj:p:k", "set", NULL, NULL);
	out(&p, true, CHANNEL_KEYANY, "__keyspace@*__:a*", "__keyspace@0__:proj:p:ab", "set", "__keyspace@0__:ab", "set");
	out(&p, true, CHANNEL_KEYANY, "__keyspace@*__:a*", "__keyspace@0__:proj:p:ba", "set", NULL, NULL);
	out(&p, true, CHANNEL_KEYANY, "__keyspace@*__:proj*", "__keyspace@0__:proj:p:ba", "set", NULL, NULL);
	out(&p, true, CHANNEL_KEYANY, "__keyevent@*__:del", "__keyevent@0__:del", "proj:p:k", "__keyevent@0__:del", "k");
	out(&p, true, CHANNEL_KEYANY, "__key*__:*", "__keyevent@0__:del", "psr:p:x", NULL, NULL);
	out(&off, true, CHANNEL_PLAIN, "*", "__keyspace@0__:any", "set", "__keyspace@0__:any", "set");
	out(&off, true, CHANNEL_PLAIN, "*", "__keyspace@0__:psr:p:lock", "set", NULL, NULL);
	out(&off, true, CHANNEL_PLAIN, "*", "__keyevent@0__:set", "psr::probe:main", NULL, NULL);
	out(&off, true, CHANNEL_PLAIN, "*", "psr:is only a channel", "m", "psr:is only a channel", "m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_in),
		cmocka_unit_test(names_out),
	};

	return cmocka_run_group_tests_name("access channel", tests, NULL, NULL);
}
