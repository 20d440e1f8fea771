/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies of eviction of the memory plugin: which keys go, what is remembered of keys, how much memory may be
 * used above the limit, and how much one command does about it.
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
#include "evict.h"
#include "memory_host.h"
#include "plugin.h"
#include "simulate.h"

#define OOM "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
#define V40 "0123456789012345678901234567890123456789"

struct fixture { struct mh m; struct mh_ctx x; };

static struct fixture *start(int64_t max_memory, int64_t eviction)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mh_start(&f->m, (struct mh_settings){ max_memory, eviction, 2 });
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
static int64_t evicted(struct fixture *f) { return (int64_t)mh_stats(&f->m).evicted; }

static int there(struct mh_ctx *x, const char *kind, unsigned from, unsigned to)
{
	int n = 0;

	for (; from < to; from++)
		n += mh_run(x, "EXISTS %s:%u", kind, from)[1] == '1';
	return n;
}

static void names(void **state)
{
	const purser_plugin *p = purser_plugin_init();
	const char *c;
	uint32_t i, k;

	(void)state;
	for (i = 0; i < EVICT_COUNT; i++)
		assert_int_equal(evict_number(evict_name(i), strlen(evict_name(i))), i);
	assert_int_equal(evict_number("Volatile-TTL", 12), EVICT_VOLATILE_TTL);
	assert_int_equal(evict_number("volatile", 8), -1);
	assert_int_equal(evict_number("volatile-ttl2", 13), -1);
	for (k = 0; k < p->nkeys && strcmp(p->keys[k].name, "eviction") != 0; k++)
		;
	for (i = 0, c = p->keys[k].choices; i < EVICT_COUNT; i++) {
		assert_memory_equal(c, evict_name(i), strlen(evict_name(i)));
		c += strlen(evict_name(i));
		assert_int_equal(*c, i + 1 < EVICT_COUNT ? '|' : '\0');
		c++;
	}
}

/* ---- which keys go ------------------------------------------------------------------------------------------ */
static void only_what_expires(void **state)
{
	static const int policies[] = { EVICT_VOLATILE_LRU, EVICT_VOLATILE_LFU, EVICT_VOLATILE_RANDOM, EVICT_VOLATILE_TTL };
	unsigned i, p;

	(void)state;
	for (p = 0; p < 4; p++) {
		struct fixture *f = start(300000, policies[p]);
		struct mh_ctx *x = &f->x;

		for (i = 0; i < 1000; i++)
			mh_run(x, "SET stays:%u " V40, i);
		for (i = 0; i < 5000; i++)
			assert_string_equal(mh_run(x, "SET goes:%u " V40 " PX 1000000", i), "+OK\r\n");
		assert_true(used(f) <= 300000 + 300000 / 16 + 1000);
		assert_int_equal(there(x, "stays", 0, 1000), 1000);
		assert_true(evicted(f) > 2000);
		for (i = 0; i < 20000 && mh_run(x, "SET more:%u " V40, i)[0] == '+'; i++)
			;
		assert_string_equal(x->reply, OOM); /* nothing that may go is left */
		assert_int_equal(there(x, "stays", 0, 1000), 1000);
		assert_int_equal(there(x, "goes", 0, 5000), 0);
		assert_string_equal(mh_run(x, "GET stays:5"), "$40\r\n" V40 "\r\n");
		assert_string_equal(mh_run(x, "DEL stays:5"), ":1\r\n");
		stop(f);
	}
}

/* One key of thousands may go: it is found, and then nothing is. */
static void few_that_expire(void **state)
{
	struct fixture *f = start(0, EVICT_VOLATILE_LRU);
	struct mh_ctx *x = &f->x;
	unsigned i;

	(void)state;
	for (i = 0; i < 50000; i++)
		mh_run(x, "SET stays:%u " V40, i);
	mh_run(x, "SET goes:0 " V40 " EX 100000");
	atomic_store(&((struct store *)f->m.state)->max_memory, used(f) - 1);
	for (i = 0; i < 1000 && evicted(f) == 0; i++)
		assert_string_equal(mh_run(x, "SET stays:0 " V40), "+OK\r\n");
	assert_int_equal(evicted(f), 1);
	assert_int_equal(there(x, "goes", 0, 1), 0);
	for (i = 0; i < 100 && mh_run(x, "SET more:%u " V40 V40 V40, i)[0] == '+'; i++)
		;
	assert_string_equal(x->reply, OOM);
	stop(f);
}

/* RESTORE builds a hash or set in a table aside: that is no key to the queues of any policy. */
static void built_aside(void **state)
{
	static const int64_t policies[] = { EVICT_ALLKEYS_S3FIFO, EVICT_ALLKEYS_LFU };
	struct fixture *f;
	struct mh_ctx *x;
	uint8_t payload[256];
	purser_bytes argv[4] = { { (const uint8_t *)"RESTORE", 7 }, { NULL, 0 }, { (const uint8_t *)"0", 1 },
		{ payload, 0 } };
	char key[16];
	unsigned p, i;

	(void)state;
	for (p = 0; p < 2; p++) {
		f = start(1000000, policies[p]);
		x = &f->x;
		mh_run(x, "SADD s a b c");
		mh_run(x, "DUMP s");
		argv[3].n = strtoul(x->reply + 1, NULL, 10);
		assert_in_range(argv[3].n, 12, sizeof(payload));
		memcpy(payload, strchr(x->reply, '\n') + 1, argv[3].n);
		for (i = 0; i < 20000; i++) { /* many times as long as a ring */
			argv[1] = (purser_bytes){ (const uint8_t *)key, (size_t)snprintf(key, sizeof(key), "k%u", i) };
			assert_string_equal(mh_argv(x, 4, argv), "+OK\r\n");
			if (i % 2)
				mh_run(x, "DEL k%u", i);
		}
		assert_string_equal(mh_run(x, "SISMEMBER k%u b", 19998), ":1\r\n");
		stop(f);
	}
}

static void soonest_first(void **state)
{
	struct fixture *f = start(400000, EVICT_VOLATILE_TTL);
	struct mh_ctx *x = &f->x;
	unsigned i;
	int early, late;

	(void)state;
	for (i = 0; i < 8000; i++)
		mh_run(x, "SET k:%u " V40 " PX %u", i, 1000000 + (i * 7919u % 8000) * 1000);
	for (i = early = late = 0; i < 8000; i++) {
		unsigned rank = i * 7919u % 8000;

		if (mh_run(x, "EXISTS k:%u", i)[1] == '1') {
			early += rank < 2000;
			late += rank >= 6000;
		}
	}
	assert_in_range(early, 0, 500); /* some came last */
	assert_in_range(late, 1700, 2000);
	stop(f);
}

static void often_used_stay(void **state)
{
	static const int policies[] = { EVICT_ALLKEYS_LRU, EVICT_ALLKEYS_LFU, EVICT_ALLKEYS_S3FIFO };
	unsigned i, p, round;

	(void)state;
	for (p = 0; p < 3; p++) {
		struct fixture *f = start(500000, policies[p]);
		struct mh_ctx *x = &f->x;

		for (i = 0; i < 500; i++)
			mh_run(x, "SET hot:%u " V40, i);
		for (round = 0; round < 40; round++) {
			f->m.now_ns += UINT64_C(1000000000);
			for (i = 0; i < 500; i++)
				mh_run(x, "GET hot:%u", i);
			for (i = 0; i < 500; i++)
				mh_run(x, "SET once:%u:%u " V40, round, i);
		}
		assert_in_range(there(x, "hot", 0, 500), 430, 500); /* sampled */
		assert_true(evicted(f) > 10000);
		stop(f);
	}
}

/* A scan through S3-FIFO leaves what was used before it; through LRU it leaves nothing. */
static void scans_pass_by(void **state)
{
	int policy, kept[EVICT_COUNT];
	unsigned i, round;

	(void)state;
	for (policy = 1; policy < EVICT_COUNT; policy += 7) {
		struct fixture *f = start(500000, policy);
		struct mh_ctx *x = &f->x;

		for (round = 0; round < 3; round++)
			for (i = 0; i < 2000; i++)
				mh_run(x, round ? "GET hot:%u" : "SET hot:%u " V40, i);
		for (i = 0; i < 20000; i++) {
			f->m.now_ns += UINT64_C(100000000);
			mh_run(x, "SET scan:%u " V40, i);
		}
		kept[policy] = there(x, "hot", 0, 2000);
		stop(f);
	}
	assert_in_range(kept[EVICT_ALLKEYS_LRU], 0, 50);
	assert_in_range(kept[EVICT_ALLKEYS_S3FIFO], 1800, 2000);
}

/* ---- what is remembered -------------------------------------------------------------------------------------- */
#define NO_FREQ "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when " \
	"switching between policies at runtime LRU and LFU data will take some time to adjust.\r\n"
#define NO_IDLE "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching " \
	"between policies at runtime LRU and LFU data will take some time to adjust.\r\n"

static unsigned freq(struct mh_ctx *x, const char *key)
{
	assert_int_equal(mh_run(x, "OBJECT FREQ %s", key)[0], ':');
	return (unsigned)strtoul(x->reply + 1, NULL, 10);
}

static void counters(void **state)
{
	struct fixture *f = start(0, EVICT_ALLKEYS_LFU);
	struct mh_ctx *x = &f->x;
	unsigned i;

	(void)state;
	mh_run(x, "SET k v");
	assert_int_equal(freq(x, "k"), 5);
	mh_run(x, "GET k");
	assert_int_equal(freq(x, "k"), 6); /* the first one always counts */
	for (i = 0; i < 3000; i++)
		mh_run(x, "GET k");
	assert_in_range(freq(x, "k"), 15, 45); /* about sqrt(2 * 3000 / 10) + 5, with a deviation of 3 */
	i = freq(x, "k");
	mh_run(x, "TTL k");
	mh_run(x, "EXISTS k");
	assert_int_equal(freq(x, "k"), i);
	mh_run(x, "RENAME k l");
	assert_in_range(freq(x, "l"), i, i + 1);
	mh_run(x, "MOVE l 1");
	x->db = 1;
	assert_in_range(freq(x, "l"), i, i + 2);
	mh_run(x, "SET l another-value-that-is-longer");
	mh_run(x, "MSET l 5 m 6");
	mh_run(x, "INCR l");
	assert_in_range(freq(x, "l"), i, i + 5);
	assert_int_equal(freq(x, "m"), 5);
	i = freq(x, "l");
	f->m.now_ns += UINT64_C(60000000000) * 7;
	assert_in_range(freq(x, "l"), i - 7, i - 6);
	f->m.now_ns += UINT64_C(60000000000) * 100;
	assert_int_equal(freq(x, "l"), 0);
	assert_string_equal(mh_run(x, "OBJECT IDLETIME l"), NO_IDLE);
	assert_string_equal(mh_run(x, "OBJECT IDLETIME none"), "$-1\r\n");
	assert_string_equal(mh_run(x, "OBJECT FREQ none"), "$-1\r\n");
	evict_choose(f->m.state, EVICT_VOLATILE_TTL);
	assert_string_equal(mh_run(x, "OBJECT FREQ l"), NO_FREQ);
	mh_run(x, "TOUCH l");
	assert_string_equal(mh_run(x, "OBJECT IDLETIME l"), ":0\r\n");
	evict_choose(f->m.state, EVICT_ALLKEYS_S3FIFO);
	mh_run(x, "SET n v");
	assert_int_equal(freq(x, "n"), 0);
	mh_run(x, "GET n");
	mh_run(x, "SET n w");
	assert_int_equal(freq(x, "n"), 2);
	assert_int_equal(mh_run(x, "OBJECT IDLETIME n")[0], '-');
	stop(f);
}

/* ---- limits -------------------------------------------------------------------------------------------------------- */
/* Whatever comes: after each command no more is used than the limit, a sixteenth, and what the command brought. */
static void peak_is_bounded(void **state)
{
	static char big[120000];
	purser_bytes argv[5] = { { (const uint8_t *)"SET", 3 }, { (const uint8_t *)"big", 3 }, { (uint8_t *)big, sizeof(big) },
		{ (const uint8_t *)"EX", 2 }, { (const uint8_t *)"99999", 5 } };
	int64_t max = 1000000, most, before;
	int policy;
	unsigned i, refused;

	(void)state;
	memset(big, 'b', sizeof(big));
	for (policy = EVICT_ALLKEYS_LRU; policy < EVICT_COUNT; policy++) {
		struct fixture *f = start(max, policy);
		struct mh_ctx *x = &f->x;

		for (i = refused = 0; i < 6000; i++) {
			char key[16];

			before = evicted(f);
			if (i % 7 == 0) {
				argv[1].n = (size_t)snprintf(key, sizeof(key), "big%u", i % 70);
				argv[1].p = (uint8_t *)key;
				most = max + max / 16 + (int64_t)sizeof(big) + 5000;
				mh_argv(x, 5, argv);
			} else if (i % 7 == 1) {
				most = max + max / 16 + 100 * 200;
				mh_run(x, "HSET h%u a 1 b 2 c 3", i);
			} else {
				most = max + max / 16 + 5000;
				mh_run(x, "SET k%u " V40 " EX 99999", i);
			}
			refused += x->reply[0] == '-';
			assert_true(used(f) <= most + 120000);
			assert_true(evicted(f) - before <= 21000);
			if (i % 100 == 0)
				mh_pass(x, 2);
		}
		assert_int_equal(refused, 0);
		stop(f);
	}
}

/* The limit falls far below what is used: each command and each turn does its part, no more. */
static void in_parts(void **state)
{
	struct fixture *f = start(0, EVICT_ALLKEYS_RANDOM);
	struct mh_ctx *x = &f->x;
	int64_t before, most = 0;
	unsigned i, turns;

	(void)state;
	for (i = 0; i < 30000; i++)
		mh_run(x, "SET k:%u " V40, i);
	atomic_store(&((struct store *)f->m.state)->max_memory, used(f) - used(f) / 20);
	mh_run(x, "GET k:1");
	assert_int_equal(evicted(f), 0); /* a read makes no room */
	for (turns = 0; turns < 100 && over_limit(f->m.state); turns++) {
		before = evicted(f);
		if (turns % 2)
			mh_pass(x, 100);
		else
			assert_string_equal(mh_run(x, "SET k:1 " V40), "+OK\r\n");
		most = evicted(f) - before > most ? evicted(f) - before : most;
	}
	assert_in_range(turns, 2, 20);
	assert_in_range(most, 100, 1024);
	stop(f);
}

/* Above the limit with nothing to evict: a batch as well, and what needs no memory goes on. */
static void nothing_to_evict(void **state)
{
	struct fixture *f = start(0, EVICT_VOLATILE_LFU);
	struct mh_ctx *x = &f->x;
	unsigned i;

	(void)state;
	for (i = 0; i < 1000; i++)
		mh_run(x, "RPUSH l:%u a b c", i);
	atomic_store(&((struct store *)f->m.state)->max_memory, 1000);
	assert_string_equal(mh_run(x, "SET a b"), OOM);
	assert_string_equal(mh_batch(x, "GET a\nSET a b"), OOM);
	assert_string_equal(mh_batch(x, "EXISTS a\nDEL l:1"), ":0\r\n:1\r\n");
	assert_string_equal(mh_run(x, "LPOP l:2"), "$1\r\na\r\n");
	assert_string_equal(mh_run(x, "LLEN l:2"), ":2\r\n");
	assert_string_equal(mh_run(x, "LREM l:3 0 a"), ":1\r\n");
	assert_string_equal(mh_run(x, "EXPIRE l:4 100"), ":1\r\n");
	assert_string_equal(mh_run(x, "SET a b"), OOM); /* the one that may go now was not enough */
	assert_string_equal(mh_run(x, "EXISTS l:4"), ":0\r\n");
	for (i = 0; i < 1000; i++)
		mh_run(x, "UNLINK l:%u", i);
	assert_string_equal(mh_run(x, "SET a b"), "+OK\r\n");
	stop(f);
}

/* A large value that is on its way out counts until it has gone, and nothing else goes for it. */
static void waits_for_the_reaper(void **state)
{
	struct fixture *f = start(0, EVICT_ALLKEYS_LRU);
	struct mh_ctx *x = &f->x;
	unsigned i;

	(void)state;
	for (i = 0; i < 1000; i++)
		mh_run(x, "SET k:%u v", i);
	for (i = 0; i < 20000; i++)
		mh_run(x, "HSET h f%u " V40, i);
	atomic_store(&((struct store *)f->m.state)->max_memory, used(f) / 2);
	mh_run(x, "UNLINK h");
	assert_string_equal(mh_run(x, "SET k:1 v"), "+OK\r\n");
	assert_int_equal(evicted(f), 0);
	for (i = 0; i < 100; i++)
		mh_pass(x, 100);
	assert_int_equal(evicted(f), 0);
	assert_true(!over_limit(f->m.state));
	stop(f);
}

/* From any policy to any other under load. */
static void changes_at_run_time(void **state)
{
	struct fixture *f = start(200000, EVICT_ALLKEYS_LRU);
	struct mh_ctx *x = &f->x;
	uint32_t policy = 1;
	unsigned i;

	(void)state;
	for (i = 0; i < 60000; i++) {
		if (i % 500 == 0) {
			policy = (policy * 5 + 3 + i / 500) % EVICT_COUNT;
			evict_choose(f->m.state, policy);
		}
		mh_run(x, i % 2 ? "SET k:%u " V40 " EX 1000" : "GET k:%u", i * 7919u % 6000);
		if (i % 11 == 0)
			mh_run(x, "DEL k:%u", i % 6000);
		if (policy)
			assert_true(used(f) <= 200000 + 200000 / 16 + 3000);
		f->m.now_ns += 30000000;
		if (i % 1000 == 0)
			mh_pass(x, 10);
	}
	mh_run(x, "FLUSHALL");
	for (i = 0; i < 50; i++)
		mh_pass(x, 100);
	assert_int_equal(used(f), 0);
	stop(f);
}

/* ---- beside the published algorithms: small forms of what bench/hitratio shows --------------------------------------- */
static void hit_ratios(void **state)
{
	static const char *const traces[] = { "zipf-0.8", "scan-1.0", "shift-slow" };
	unsigned i, k;

	(void)state;
	for (i = 0; i < trace_count(); i++) {
		struct trace t;
		double lru, s3;

		for (k = 0; k < 3 && strcmp(traces[k], trace_name(i)) != 0; k++)
			;
		if (k == 3)
			continue;
		assert_int_equal(trace_make(&t, i, 100000, 10000, 1), 0);
		lru = plugin_run(&t, 1000, EVICT_ALLKEYS_LRU);
		s3 = plugin_run(&t, 1000, EVICT_ALLKEYS_S3FIFO);
		assert_true(s3 > lru - (t.scans ? 0 : 0.02)); /* queues of a small cache are a part of its memory */
		if (t.scans)
			assert_true(1 - s3 < 0.95 * (1 - lru));
		assert_true(lru > simulate_lru(&t, 1000) - 0.07);
		assert_true(s3 > simulate_s3fifo(&t, 1000) - 0.08);
		assert_true(simulate_belady(&t, 1000) > s3);
		trace_free(&t);
	}
}

/* Every key is as likely to be looked at as any other, in whatever shard and bucket: what goes by chance keeps as many hits
 * as a queue, and what goes by its last use nearly as many as if all were compared. */
static void no_key_is_spared(void **state)
{
	struct trace t;
	unsigned i;

	(void)state;
	for (i = 0; strcmp(trace_name(i), "zipf-0.8") != 0; i++)
		;
	assert_int_equal(trace_make(&t, i, 400000, 20000, 1), 0);
	assert_true(plugin_run(&t, 2000, EVICT_ALLKEYS_RANDOM) > simulate_fifo(&t, 2000) - 0.02);
	assert_true(plugin_run(&t, 2000, EVICT_ALLKEYS_LRU) > simulate_lru(&t, 2000) - 0.02);
	trace_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(only_what_expires),
		cmocka_unit_test(few_that_expire),
		cmocka_unit_test(built_aside),
		cmocka_unit_test(soonest_first),
		cmocka_unit_test(often_used_stay),
		cmocka_unit_test(scans_pass_by),
		cmocka_unit_test(counters),
		cmocka_unit_test(peak_is_bounded),
		cmocka_unit_test(in_parts),
		cmocka_unit_test(nothing_to_evict),
		cmocka_unit_test(waits_for_the_reaper),
		cmocka_unit_test(changes_at_run_time),
		cmocka_unit_test(hit_ratios),
		cmocka_unit_test(no_key_is_spared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
