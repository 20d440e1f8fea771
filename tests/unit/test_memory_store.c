/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory plugin as a store: expiry by the host's clock, max_memory and eviction, accounts, large
 * values held by replies, batches, reload.  That replies are Redis' is the differential test's to show.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cmd.h"
#include "memory_host.h"

struct fixture { struct mh m; struct mh_ctx x; };

static struct fixture *start(int64_t max_memory, int64_t eviction)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mh_start(&f->m, (struct mh_settings){ max_memory, eviction, 0 });
	mh_open(&f->x, &f->m);
	return f;
}

static void stop(struct fixture *f)
{
	mh_close(&f->x);
	mh_stop(&f->m);
	free(f);
}

static int64_t used(struct fixture *f) { return store_used(f->m.state); }

/* Until nothing is left for the timers to do, or so many turns. */
static void settle(struct fixture *f, unsigned turns)
{
	while (turns-- > 0)
		mh_pass(&f->x, 100);
}

static const char *set_bytes(struct mh_ctx *x, const char *cmd, const char *key, const void *p, size_t n)
{
	purser_bytes argv[3] = { { (const uint8_t *)cmd, strlen(cmd) }, { (const uint8_t *)key, strlen(key) },
		{ p, n } };

	return mh_argv(x, 3, argv);
}

/* ---- expiry ------------------------------------------------------------------------------------------- */
static void expires_when_touched(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;

	(void)state;
	assert_string_equal(mh_run(x, "SET k v PX 1000"), "+OK\r\n");
	assert_string_equal(mh_run(x, "PTTL k"), ":1000\r\n");
	f->m.wall_ms += 400;
	assert_string_equal(mh_run(x, "PTTL k"), ":600\r\n");
	assert_string_equal(mh_run(x, "TTL k"), ":1\r\n");
	assert_string_equal(mh_run(x, "PEXPIRETIME k"), ":1700000001000\r\n");
	f->m.wall_ms += 600; /* Redis: gone when the clock is past it, not at it */
	assert_string_equal(mh_run(x, "GET k"), "$1\r\nv\r\n");
	f->m.wall_ms += 1;
	assert_string_equal(mh_run(x, "DBSIZE"), ":1\r\n");
	assert_string_equal(mh_run(x, "KEYS *"), "*0\r\n");
	assert_string_equal(mh_run(x, "GET k"), "$-1\r\n");
	assert_string_equal(mh_run(x, "DBSIZE"), ":0\r\n");
	assert_int_equal(mh_stats(&f->m).expired, 1);
	assert_int_equal(used(f), 0);
	mh_run(x, "SET k v PX 10");
	f->m.wall_ms += 11;
	assert_string_equal(mh_run(x, "RANDOMKEY"), "$-1\r\n");
	assert_int_equal(mh_stats(&f->m).expired, 2);
	stop(f);
}

/* Nobody asks for them: the timer finds them, and is not armed when there is nothing to find. */
static void expires_by_timer(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	int i;

	(void)state;
	mh_run(x, "SET stays v");
	assert_int_equal(mh_pass(x, 1000), 0);
	for (i = 0; i < 5000; i++)
		mh_run(x, "SET k%d v PX %d", i, i % 2 ? 500 : 500000);
	for (i = 0; i < 1000; i++)
		mh_run(x, "HSET h%d f v", i);
	settle(f, 4);
	assert_int_equal(mh_stats(&f->m).keys, 6001);
	settle(f, 40);
	assert_int_equal(mh_stats(&f->m).keys, 3501);
	assert_int_equal(mh_stats(&f->m).expired, 2500);
	f->m.wall_ms += 500000;
	settle(f, 40);
	assert_int_equal(mh_stats(&f->m).keys, 1001);
	assert_int_equal(mh_pass(x, 1000), 0); /* asleep again */
	mh_run(x, "EXPIRE stays 1");
	settle(f, 20);
	assert_string_equal(mh_run(x, "DBSIZE"), ":1000\r\n");
	stop(f);
}

static void ttl_survives_changes(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;

	(void)state;
	mh_run(x, "SET k 5 PX 5000");
	mh_run(x, "INCR k");
	mh_run(x, "APPEND k abcdefghijklmnopqrstuvwxyz");
	mh_run(x, "SETRANGE k 9000 x");
	assert_string_equal(mh_run(x, "PTTL k"), ":5000\r\n");
	mh_run(x, "RENAME k l");
	assert_string_equal(mh_run(x, "PTTL l"), ":5000\r\n");
	mh_run(x, "COPY l k");
	assert_string_equal(mh_run(x, "PTTL k"), ":5000\r\n");
	mh_run(x, "SET k v KEEPTTL");
	assert_string_equal(mh_run(x, "PTTL k"), ":5000\r\n");
	mh_run(x, "SET k v");
	assert_string_equal(mh_run(x, "PTTL k"), ":-1\r\n");
	mh_run(x, "PERSIST l");
	assert_string_equal(mh_run(x, "PTTL l"), ":-1\r\n");
	assert_string_equal(mh_run(x, "STRLEN l"), ":9001\r\n");
	stop(f);
}

/* ---- accounts ------------------------------------------------------------------------------------------- */
static void accounts_return_to_zero(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	char big[20000];
	int i;

	(void)state;
	memset(big, 'b', sizeof(big));
	assert_int_equal(used(f), 0);
	for (i = 0; i < 3000; i++) {
		x->db = (uint16_t)(i % 3);
		mh_run(x, "SET s%d %d", i, i);
		mh_run(x, "SET t%d value-%d PX %d", i, i, 1000 + i);
		mh_run(x, "HSET h%d a 1 b 2", i % 50);
		mh_run(x, "HSET g%d f%d %d", i % 2, i, i);
		mh_run(x, "APPEND a%d more-and-more-and-more", i % 20);
		set_bytes(x, "SET", i % 2 ? "big1" : "big0", big, sizeof(big) - (size_t)i);
		set_bytes(x, "APPEND", "big2", big, 100);
	}
	assert_true(used(f) > 3000 * 200);
	for (x->db = 0; x->db < 3; x->db++) {
		for (i = 0; i < 3000; i++) {
			mh_run(x, "DEL s%d t%d h%d g%d", i, i, i, i);
			mh_run(x, "HDEL g%d f%d", i % 2, i);
		}
		for (i = 0; i < 20; i++)
			mh_run(x, "UNLINK a%d big%d", i, i);
		assert_string_equal(mh_run(x, "DBSIZE"), ":0\r\n");
	}
	settle(f, 10);
	assert_int_equal(used(f), 0);
	assert_int_equal(mh_stats(&f->m).keys, 0);
	stop(f);
}

static void flush_frees_in_pieces(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	int i;

	(void)state;
	for (i = 0; i < 200000; i++)
		mh_run(x, "SET key:%d value:%d", i, i);
	for (i = 0; i < 2000; i++)
		mh_run(x, "HSET h f%d v%d", i, i);
	x->db = 5;
	mh_run(x, "SET other v");
	x->db = 0;
	assert_string_equal(mh_run(x, "FLUSHDB"), "+OK\r\n");
	assert_string_equal(mh_run(x, "DBSIZE"), ":0\r\n");
	assert_int_equal(mh_stats(&f->m).keys, 1);
	assert_true(used(f) > 1000000); /* a bounded part is freed at once, the rest by timer */
	for (i = 0; used(f) > 1000000 && i < 1000; i++)
		mh_pass(x, 100);
	assert_in_range(i, 5, 200);
	settle(f, 50);
	mh_run(x, "FLUSHALL ASYNC");
	settle(f, 50);
	assert_int_equal(used(f), 0);
	assert_int_equal(mh_pass(x, 1000), 0);
	stop(f);
}

/* What is written costs what is accounted for: the bytes of malloc, a few of the table. */
static void bytes_per_item(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	int i, n = 100000;

	(void)state;
	for (i = 0; i < n; i++) /* key 16, value 64 */
		mh_run(x, "SET key:%012d 0123456789012345678901234567890123456789012345678901234567890123", i);
	assert_in_range(used(f) / n, 16 + 64 + 8, 16 + 64 + 20);
	mh_run(x, "FLUSHALL");
	settle(f, 100);
	for (i = 0; i < n; i++)
		mh_run(x, "SET key:%012d 0123456789012345678901234567890123456789012345678901234567890123 EX 1000", i);
	assert_in_range(used(f) / n, 16 + 64 + 16, 16 + 64 + 28);
	stop(f);
}

/* Most goes, here and there: what is left moves together, and the pages go back. */
static void moves_together(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	const struct slab_heap *h = &((struct store *)f->m.state)->heap;
	char want[64];
	uint64_t before;
	int i, n = 100000;

	(void)state;
	for (i = 0; i < n; i++) {
		mh_run(x, i % 2 ? "SET key:%d value:%d:0123456789012345678901234567890" :
		    "SET key:%d value:%d:0123456789012345678901234567890 EX 100000", i, i);
		if (i % 1000 == 0)
			mh_run(x, "SADD set m%d", i);
	}
	before = slab_resident(h);
	for (i = 0; i < n; i++)
		if (i * UINT64_C(2654435761) >> 8 & 7)
			mh_run(x, "DEL key:%d", i);
	for (i = 0; i < 400; i++)
		mh_pass(x, 100);
	if (before) /* with a sanitizer malloc has all */
		assert_true(slab_resident(h) < before / 2);
	for (i = 0; i < n; i++) {
		snprintf(want, sizeof(want), "$%d\r\nvalue:%d:0123456789012345678901234567890\r\n",
		    snprintf(NULL, 0, "value:%d:", i) + 31, i);
		assert_string_equal(mh_run(x, "GET key:%d", i),
		    i * UINT64_C(2654435761) >> 8 & 7 ? "$-1\r\n" : want);
	}
	assert_string_equal(mh_run(x, "FLUSHALL"), "+OK\r\n");
	settle(f, 50);
	assert_int_equal(used(f), 0);
	stop(f);
}

/* ---- max_memory --------------------------------------------------------------------------------------------- */
#define OOM "-OOM command not allowed when used memory > 'maxmemory'.\r\n"

static void refuses_above_max_memory(void **state)
{
	struct fixture *f = start(200000, 0);
	struct mh_ctx *x = &f->x;
	int i;

	(void)state;
	for (i = 0; i < 10000 && mh_run(x, "SET key:%d 0123456789012345678901234567890123456789", i)[0] == '+'; i++)
		;
	assert_in_range(i, 2600, 3200);
	assert_in_range(used(f), 200000, 202000); /* an item more, and what the table grew by for it */
	assert_string_equal(x->reply, OOM);
	assert_string_equal(mh_run(x, "GET key:%d", i), "$-1\r\n");
	assert_string_equal(mh_run(x, "HSET h f v"), OOM);
	assert_string_equal(mh_run(x, "MSET a 1 b 2"), OOM);
	/* what needs no memory goes on */
	assert_string_equal(mh_run(x, "EXPIRE key:1 100"), ":1\r\n");
	assert_string_equal(mh_run(x, "HDEL h f"), ":0\r\n");
	assert_string_equal(mh_run(x, "GET key:0"), "$40\r\n0123456789012345678901234567890123456789\r\n");
	assert_string_equal(mh_batch(x, "GET key:0\nSET a b"), OOM);
	assert_string_equal(mh_batch(x, "EXISTS key:0\nDEL key:0 key:1 key:2 key:3 key:4"), ":1\r\n:5\r\n");
	for (i = 5; i < 50; i++) /* more than the table may have grown by above the limit */
		assert_string_equal(mh_run(x, "DEL key:%d", i), ":1\r\n");
	assert_string_equal(mh_run(x, "SET a b"), "+OK\r\n");
	assert_int_equal(mh_stats(&f->m).evicted, 0);
	stop(f);
}

static void evicts_the_unused(void **state)
{
	struct fixture *f = start(850000, 1);
	struct mh_ctx *x = &f->x;
	int i, round, kept = 0, old = 0;

	(void)state;
	for (i = 0; i < 5000; i++) /* all fit */
		mh_run(x, "SET old:%d 0123456789012345678901234567890123456789", i);
	assert_int_equal(mh_stats(&f->m).evicted, 0);
	for (round = 0; round < 40; round++) {
		f->m.now_ns += UINT64_C(2000000000);
		for (i = 0; i < 500; i++)
			mh_run(x, "GET old:%d", i); /* these are used all the time */
		for (i = 0; i < 500; i++)
			assert_string_equal(mh_run(x, "SET new:%d:%d "
			    "0123456789012345678901234567890123456789", round, i), "+OK\r\n");
		assert_true(used(f) <= 850000 + 1000 + 4096); /* the table's growth at once */
	}
	for (i = 0; i < 500; i++)
		kept += mh_run(x, "EXISTS old:%d", i)[1] == '1';
	for (i = 500; i < 5000; i++)
		old += mh_run(x, "EXISTS old:%d", i)[1] == '1';
	assert_true(mh_stats(&f->m).evicted > 10000);
	assert_in_range(kept, 480, 500); /* sampled: nearly all */
	assert_in_range(old, 0, 100);
	stop(f);
}

/* A large value comes: as many small ones go as it needs; one that cannot fit goes in and out again. */
static void evicts_for_a_large_value(void **state)
{
	struct fixture *f = start(1000000, 1);
	struct mh_ctx *x = &f->x;
	static char big[600000];
	int i;

	(void)state;
	memset(big, 'x', sizeof(big));
	for (i = 0; i < 20000; i++)
		mh_run(x, "SET k%d 01234567890123456789", i);
	assert_string_equal(set_bytes(x, "SET", "big", big, sizeof(big)), "+OK\r\n");
	for (i = 0; i < 100 && used(f) > 1000000; i++) { /* bit by bit, with commands and beside them */
		assert_string_equal(mh_run(x, "SET a b"), "+OK\r\n");
		assert_true(used(f) <= 1000000 + 1000000 / 16 + 1000);
		mh_pass(x, 2);
	}
	assert_true(used(f) <= 1000000);
	mh_run(x, "HSET h f v");
	mh_run(x, "CONFIG"); /* unknown: nothing happens */
	for (i = 0; i < 3000; i++)
		mh_run(x, "HSET h f%d 01234567890123456789012345678901234567890123456789", i);
	assert_true(used(f) <= 1001000);
	stop(f);
}

static void reload_changes_limits(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	purser_error e = { .struct_size = sizeof(e) };
	int i;

	(void)state;
	for (i = 0; i < 1000; i++)
		mh_run(x, "SET key:%d v", i);
	f->m.set.max_memory = 10000;
	assert_int_equal(f->m.p->prepare(f->m.state, &e), 0);
	f->m.p->adopt(f->m.state, 0);
	assert_string_equal(mh_run(x, "SET a b"), "+OK\r\n");
	assert_int_equal(f->m.p->prepare(f->m.state, &e), 0);
	f->m.p->adopt(f->m.state, 1);
	assert_string_equal(mh_run(x, "SET a b"), OOM);
	f->m.set.eviction = 1;
	assert_int_equal(f->m.p->prepare(f->m.state, &e), 0);
	f->m.p->adopt(f->m.state, 1);
	assert_string_equal(mh_run(x, "SET a b"), "+OK\r\n");
	assert_true(used(f) <= 10000 + 10000 / 16 + 1000);
	assert_int_equal(mh_stats(&f->m).max_bytes, 10000);
	f->m.set.databases = 99;
	assert_int_equal(f->m.p->prepare(f->m.state, &e), -1);
	assert_non_null(strstr(e.text, "databases"));
	stop(f);
}

/* ---- large values ----------------------------------------------------------------------------------------------- */
/* A reply holds what a later command changes or removes: the reply stays as it was. */
static void replies_hold_large_values(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	static char a[100000], b[100000];
	struct blob *held[3];
	unsigned i;

	(void)state;
	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	set_bytes(x, "SET", "k", a, sizeof(a));
	mh_run(x, "GET k");
	assert_int_equal(x->nheld, 1);
	set_bytes(x, "SETRANGE", "k", "0", 1); /* arity error: not this way */
	assert_string_equal(mh_run(x, "SETRANGE k 5 zzz"), ":100000\r\n");
	mh_run(x, "GET k");
	assert_int_equal(x->nheld, 2);
	assert_string_equal(mh_run(x, "APPEND k end"), ":100003\r\n");
	mh_run(x, "GET k");
	assert_int_equal(x->nheld, 3);
	set_bytes(x, "SET", "k", b, sizeof(b));
	for (i = 0; i < 3; i++)
		held[i] = x->held[i].arg;
	assert_int_equal(held[0]->len, sizeof(a));
	assert_memory_equal(held[0]->data, a, sizeof(a));
	assert_int_equal(held[1]->len, sizeof(a));
	assert_memory_equal(held[1]->data, "aaaaazzzaaa", 11);
	assert_int_equal(held[2]->len, sizeof(a) + 3);
	assert_memory_equal(held[2]->data + sizeof(a) - 1, "aend", 4);
	assert_string_equal(mh_run(x, "DEL k"), ":1\r\n");
	assert_true(used(f) > 3 * (int64_t)sizeof(a)); /* still there, still accounted for */
	mh_release(x);
	assert_int_equal(used(f), 0);
	stop(f);
}

static void copies_share_until_changed(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	static char a[50000];
	int64_t one;

	(void)state;
	memset(a, 'a', sizeof(a));
	set_bytes(x, "SET", "k", a, sizeof(a));
	one = used(f);
	mh_run(x, "COPY k l");
	assert_true(used(f) < one + 1000);
	mh_run(x, "APPEND l b");
	assert_string_equal(mh_run(x, "STRLEN k"), ":50000\r\n");
	assert_string_equal(mh_run(x, "STRLEN l"), ":50001\r\n");
	assert_string_equal(mh_run(x, "GETRANGE l 49998 -1"), "$3\r\naab\r\n");
	mh_run(x, "DEL k l");
	assert_int_equal(used(f), 0);
	stop(f);
}

static void limits_of_strings(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	static const char too_long[] = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
	size_t n = 300u << 20, turns;
	char *huge = malloc(n);

	(void)state;
	assert_non_null(huge);
	memset(huge, 'h', n);
	assert_string_equal(mh_run(x, "SETRANGE k 536870911 ab"), too_long);
	assert_string_equal(mh_run(x, "SETRANGE k 9223372036854775807 a"), too_long);
	assert_string_equal(set_bytes(x, "APPEND", "k", huge, n), ":314572800\r\n");
	assert_string_equal(set_bytes(x, "APPEND", "k", huge, n), too_long);
	assert_string_equal(mh_run(x, "STRLEN k"), ":314572800\r\n");
	assert_string_equal(mh_run(x, "GETRANGE k 314572798 -1"), "$2\r\nhh\r\n");
	mh_run(x, "DEL k");
	assert_int_equal(mh_stats(&f->m).keys, 0);
	assert_true(used(f) > (int64_t)n); /* its pages go back some at a time */
	for (turns = 0; used(f) && turns < 1000; turns++)
		mh_pass(x, 100);
	assert_in_range(turns, (n >> 12) / 832, (n >> 12) / 768 + 2);
	free(huge);
	stop(f);
}

static void long_keys(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	static char key[70000];
	purser_bytes argv[6] = { { (const uint8_t *)"SET", 3 }, { (uint8_t *)key, sizeof(key) },
		{ (const uint8_t *)"v", 1 }, { (const uint8_t *)"PX", 2 }, { (const uint8_t *)"5000", 4 } };

	(void)state;
	memset(key, 'k', sizeof(key));
	assert_string_equal(mh_argv(x, 5, argv), "+OK\r\n");
	argv[0] = (purser_bytes){ (const uint8_t *)"GET", 3 };
	assert_string_equal(mh_argv(x, 2, argv), "$1\r\nv\r\n");
	argv[0] = (purser_bytes){ (const uint8_t *)"PERSIST", 7 };
	assert_string_equal(mh_argv(x, 2, argv), ":1\r\n");
	argv[0] = (purser_bytes){ (const uint8_t *)"APPEND", 6 };
	assert_string_equal(mh_argv(x, 3, argv), ":2\r\n");
	argv[0] = (purser_bytes){ (const uint8_t *)"PTTL", 4 };
	assert_string_equal(mh_argv(x, 2, argv), ":-1\r\n");
	argv[0] = (purser_bytes){ (const uint8_t *)"RENAME", 6 };
	argv[2] = (purser_bytes){ (const uint8_t *)"short", 5 };
	assert_string_equal(mh_argv(x, 3, argv), "+OK\r\n");
	assert_string_equal(mh_run(x, "GET short"), "$2\r\nvv\r\n");
	mh_run(x, "DEL short");
	assert_int_equal(used(f), 0);
	stop(f);
}

/* ---- the rest ------------------------------------------------------------------------------------------------------ */
static void batches(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;

	(void)state;
	assert_string_equal(mh_batch(x, "SET a 1\nINCR a\nGET a\nHSET a f v\nSCAN 0 COUNT 100\nINFO keyspace\nFLUSHALL"),
	    "+OK\r\n:2\r\n$1\r\n2\r\n"
	    "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
	    "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"
	    "$44\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n\r\n+OK\r\n");
	assert_int_equal(x->ended, 8); /* seven parts and the batch */
	assert_int_equal(((struct ctx *)x->cs)->held, 0);
	assert_string_equal(mh_batch(x, "SET a 1\nNOSUCH"), "");
	assert_int_equal(x->failed, 1);
	assert_string_equal(mh_run(x, "EXISTS a"), ":0\r\n");
	stop(f);
}

static void databases_apart(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;

	(void)state;
	mh_run(x, "SET k zero");
	x->db = 15;
	assert_string_equal(mh_run(x, "GET k"), "$-1\r\n");
	mh_run(x, "SET k fifteen PX 5000");
	assert_string_equal(mh_run(x, "COPY k k DB 3"), ":1\r\n");
	assert_string_equal(mh_run(x, "MOVE k 0"), ":0\r\n");
	assert_string_equal(mh_run(x, "MOVE k 4"), ":1\r\n");
	assert_string_equal(mh_run(x, "DBSIZE"), ":0\r\n");
	x->db = 4;
	assert_string_equal(mh_run(x, "PTTL k"), ":5000\r\n");
	mh_run(x, "SWAPDB 4 0");
	assert_string_equal(mh_run(x, "GET k"), "$4\r\nzero\r\n");
	x->db = 0;
	assert_string_equal(mh_run(x, "GET k"), "$7\r\nfifteen\r\n");
	x->db = 16;
	assert_string_equal(mh_run(x, "GET k"), "-ERR DB index is out of range\r\n");
	stop(f);
}

/* Over the borders between the forms of a hash, and what Redis calls them. */
static void hash_forms(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	int i;

	(void)state;
	for (i = 0; i < 512; i++)
		mh_run(x, "HSET h f%d v%d", i, i);
	assert_string_equal(mh_run(x, "OBJECT ENCODING h"), "$8\r\nlistpack\r\n");
	assert_string_equal(mh_run(x, "HSET h f0 again f512 new"), ":1\r\n");
	assert_string_equal(mh_run(x, "OBJECT ENCODING h"), "$9\r\nhashtable\r\n");
	assert_string_equal(mh_run(x, "HLEN h"), ":513\r\n");
	assert_string_equal(mh_run(x, "HGET h f0"), "$5\r\nagain\r\n");
	assert_string_equal(mh_run(x, "HGET h f127"), "$4\r\nv127\r\n");
	for (i = 0; i < 513; i++)
		assert_string_equal(mh_run(x, "HDEL h f%d nofield f%d", i, i), ":1\r\n");
	assert_string_equal(mh_run(x, "EXISTS h"), ":0\r\n");

	/* 300 fields of 112 bytes: too many bytes for a pack, still a listpack to Redis */
	for (i = 0; i < 300; i++)
		assert_string_equal(mh_run(x, "HSET h %050d %060d", i, i), ":1\r\n");
	assert_string_equal(mh_run(x, "OBJECT ENCODING h"), "$8\r\nlistpack\r\n");
	assert_string_equal(mh_run(x, "HLEN h"), ":300\r\n");
	assert_memory_equal(mh_run(x, "HSCAN h 0 COUNT 1"), "*2\r\n$1\r\n0\r\n*600\r\n", 17);
	mh_run(x, "COPY h g");
	assert_string_equal(mh_run(x, "OBJECT ENCODING g"), "$8\r\nlistpack\r\n");
	assert_string_equal(mh_run(x, "HSET g f 01234567890123456789012345678901234567890123456789012345678901234"),
	    ":1\r\n");
	assert_string_equal(mh_run(x, "OBJECT ENCODING g"), "$9\r\nhashtable\r\n");
	mh_run(x, "DEL g h");
	settle(f, 3);
	assert_int_equal(used(f), 0);
	stop(f);
}

/* Twenty thousand members: their ranks, after they came in no order, moved and went; freed in pieces. */
static void sorted_set_large(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	const unsigned n = 20000;
	char want[64];
	unsigned i;
	int64_t full;

	(void)state;
	for (i = 0; i < n; i++)
		mh_run(x, "ZADD z %u m%u", i * 7919 % n, i * 7919 % n);
	for (i = 0; i < n; i += 2) /* half of them to the other end, in the opposite order */
		mh_run(x, "ZADD z %d m%u", -(int)i, i);
	for (i = 0; i < n; i += 37) {
		snprintf(want, sizeof(want), ":%u\r\n", i % 2 ? n / 2 + i / 2 : n / 2 - 1 - i / 2);
		assert_string_equal(mh_run(x, "ZRANK z m%u", i), want);
	}
	assert_string_equal(mh_run(x, "ZREMRANGEBYSCORE z (-5000 (5000"), ":5000\r\n");
	assert_string_equal(mh_run(x, "ZRANGE z 7499 7500"), "*2\r\n$5\r\nm5000\r\n$5\r\nm5001\r\n");
	assert_string_equal(mh_run(x, "ZREVRANGEBYSCORE z 5003 -inf LIMIT 1 2"), "*2\r\n$5\r\nm5001\r\n$5\r\nm5000\r\n");
	assert_string_equal(mh_run(x, "ZCOUNT z -5002 5003"), ":4\r\n");
	mh_run(x, "COPY z other");
	assert_string_equal(mh_run(x, "ZPOPMAX other"), "*2\r\n$6\r\nm19999\r\n$5\r\n19999\r\n");
	assert_string_equal(mh_run(x, "ZINTERCARD 2 z other"), ":14999\r\n");
	full = used(f);
	assert_string_equal(mh_run(x, "UNLINK z other"), ":2\r\n");
	assert_true(used(f) > full / 2); /* not at once */
	settle(f, 30);
	mh_release(x);
	assert_int_equal(used(f), 0);
	stop(f);
}

/* SCAN over all shards while keys come and go: those that stay are all told. */
static void scan_tells_what_stays(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;
	char cursor[32] = "0", seen[300] = { 0 }, *p;
	unsigned i, churn = 0, steps = 0;

	(void)state;
	for (i = 0; i < 300; i++)
		mh_run(x, "SET stay:%u v", i);
	do {
		mh_run(x, "SCAN %s COUNT 7", cursor);
		assert_int_equal(sscanf(x->reply, "*2\r\n$%*u\r\n%31s", cursor), 1);
		for (p = x->reply; (p = strstr(p, "stay:")) != NULL; p++)
			seen[strtoul(p + 5, NULL, 10)] = 1;
		for (i = 0; i < 100; i++, churn++) { /* up to some thousand more keys, then fewer again */
			mh_run(x, "SET come:%u v", churn);
			if (steps / 20 % 2)
				mh_run(x, "DEL come:%u come:%u", churn, churn - 2000);
		}
		assert_true(steps++ < 20000);
	} while (strcmp(cursor, "0") != 0);
	for (i = 0; i < 300; i++)
		assert_int_equal(seen[i], 1);
	stop(f);
}

static void access_times(void **state)
{
	struct fixture *f = start(0, 0);
	struct mh_ctx *x = &f->x;

	(void)state;
	mh_run(x, "SET k v");
	f->m.now_ns += UINT64_C(100000000000);
	assert_string_equal(mh_run(x, "OBJECT IDLETIME k"), ":100\r\n"); /* steps of 268 ms */
	mh_run(x, "EXISTS k");
	mh_run(x, "TYPE k");
	mh_run(x, "TTL k");
	assert_string_equal(mh_run(x, "OBJECT IDLETIME k"), ":100\r\n");
	mh_run(x, "TOUCH k");
	assert_string_equal(mh_run(x, "OBJECT IDLETIME k"), ":0\r\n");
	stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expires_when_touched),
		cmocka_unit_test(expires_by_timer),
		cmocka_unit_test(ttl_survives_changes),
		cmocka_unit_test(accounts_return_to_zero),
		cmocka_unit_test(flush_frees_in_pieces),
		cmocka_unit_test(bytes_per_item),
		cmocka_unit_test(moves_together),
		cmocka_unit_test(refuses_above_max_memory),
		cmocka_unit_test(evicts_the_unused),
		cmocka_unit_test(evicts_for_a_large_value),
		cmocka_unit_test(reload_changes_limits),
		cmocka_unit_test(replies_hold_large_values),
		cmocka_unit_test(copies_share_until_changed),
		cmocka_unit_test(limits_of_strings),
		cmocka_unit_test(long_keys),
		cmocka_unit_test(batches),
		cmocka_unit_test(databases_apart),
		cmocka_unit_test(hash_forms),
		cmocka_unit_test(sorted_set_large),
		cmocka_unit_test(scan_tells_what_stays),
		cmocka_unit_test(access_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
