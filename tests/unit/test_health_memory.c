/* SPDX-License-Identifier: Apache-2.0 */
/* health/memory: what memory numbers mean, by policy. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "health/memory.h"

#define SECOND UINT64_C(1000000000)
#define WARN UINT64_C(800000)
#define MIB UINT64_C(1048576)

static struct memory_facts info(const char *text)
{
	struct memory_facts f;

	memory_of_info(&f, text, strlen(text));
	return f;
}

static struct memory_verdict judge(const struct memory_facts *f, uint64_t configured)
{
	struct memory_watch w = { 0 };
	struct memory_verdict v;

	memory_judge(&w, f, configured, WARN, false, SECOND, &v);
	return v;
}

static void test_real_info(void **state)
{
	const char *top = getenv("abs_top_srcdir");
	static char text[65536];
	char path[1024];
	struct memory_facts f;
	size_t n;
	FILE *file;

	(void)state;
	snprintf(path, sizeof path, "%s/tests/unit/info-7.0.15.txt", top ? top : "..");
	file = fopen(path, "r");
	assert_non_null(file);
	n = fread(text, 1, sizeof text, file);
	fclose(file);
	memory_of_info(&f, text, n);
	assert_true(f.used != MEMORY_NONE && f.used > 100000);
	assert_true(f.max != MEMORY_NONE && f.rss != MEMORY_NONE && f.not_counted != MEMORY_NONE);
	assert_true(f.evicted != MEMORY_NONE && f.hits != MEMORY_NONE && f.misses != MEMORY_NONE);
	assert_true(f.fragmentation > 0);
	assert_int_equal(f.keys, 3); /* db0 and db3 */
	assert_int_equal(f.expires, 1);
	assert_string_equal(f.policy, "noeviction");
	assert_string_equal(f.role, "master");
	assert_int_equal(strlen(f.run_id), 40);
}

static void test_malformed(void **state)
{
	struct memory_facts f = info("used_memory:\r\nmaxmemory:-5\r\nevicted_keys:12x\r\n"
	    "keyspace_hits:99999999999999999999999\r\nmem_fragmentation_ratio:a\r\ndb:keys=1\r\n"
	    "dbx:keys=7\r\ndb0:keys=,expires=2\r\n#used_memory:7\r\nno colon\r\n:\r\nrole:");

	(void)state;
	assert_true(f.used == MEMORY_NONE && f.max == MEMORY_NONE && f.evicted == MEMORY_NONE);
	assert_true(f.hits == MEMORY_NONE && f.fragmentation < 0 && f.keys == MEMORY_NONE);
	assert_int_equal(f.expires, 2);
	assert_string_equal(f.role, "");
	assert_false(judge(&f, 100).known);
	f = info("");
	assert_false(judge(&f, 0).known);
	/* an overlong word is cut, not written past its end */
	f = info("maxmemory_policy:abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\n");
	assert_int_equal(strlen(f.policy), sizeof f.policy - 1);
}

static void test_share(void **state)
{
	struct memory_facts f = info("used_memory:900\nmem_not_counted_for_evict:50\nmaxmemory:1000\n"
	    "maxmemory_policy:noeviction\n");
	struct memory_verdict v = judge(&f, 0);

	(void)state;
	assert_true(v.known && v.bounded && !v.evicts);
	assert_int_equal(v.share, 850000);
	assert_int_equal(v.sample, 850000);
	assert_int_equal(v.limit, 1000);
	/* the server's own limit is what counts */
	assert_int_equal(judge(&f, 1).limit, 1000);
	f = info("used_memory:1200\nmaxmemory:1000\nmaxmemory_policy:noeviction\n");
	assert_int_equal(judge(&f, 0).sample, 1200000); /* writes fail */
	/* not counted is more than used: nothing, not a huge number */
	f = info("used_memory:10\nmem_not_counted_for_evict:50\nmaxmemory:1000\n");
	assert_int_equal(judge(&f, 0).share, 0);
}

static void test_unbounded(void **state)
{
	struct memory_facts f = info("used_memory:900\nmaxmemory:0\nmaxmemory_policy:allkeys-lru\n");
	struct memory_verdict v = judge(&f, 0);

	(void)state;
	assert_true(v.known && !v.bounded);
	assert_int_equal(v.used, 900);
	/* a limit that only the configuration knows: nobody evicts at it */
	v = judge(&f, 1000);
	assert_true(v.bounded && !v.evicts);
	assert_int_equal(v.sample, 900000);
	f = info("used_memory:900\n"); /* no maxmemory said */
	assert_false(judge(&f, 0).bounded);
	assert_int_equal(judge(&f, 1000).sample, 900000);
}

static void test_policies(void **state)
{
	static const struct { const char *policy; int keys, expires; bool evicts; } rows[] = {
		{ "noeviction", 100, 100, false }, { "allkeys-lru", 100, 0, true },
		{ "allkeys-lfu", 0, 0, true }, { "allkeys-random", 1, 0, true },
		{ "volatile-ttl", 100, 9, false }, { "volatile-ttl", 100, 10, true },
		{ "volatile-lru", 0, 0, false }, { "volatile-lru", 5, 1, true }, { "", 100, 100, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[256];
		struct memory_facts f;
		struct memory_verdict v;

		snprintf(text, sizeof text, "used_memory:990\nmaxmemory:1000\nmaxmemory_policy:%s\n"
		    "db0:keys=%d,expires=%d,avg_ttl=0\n", rows[i].policy, rows[i].keys, rows[i].expires);
		f = info(text);
		v = judge(&f, 0);
		assert_int_equal(v.share, 990000);
		if (v.evicts != rows[i].evicts || v.sample != (rows[i].evicts ? 0 : 990000))
			fail_msg("row %zu: evicts %d, sample %llu", i, v.evicts, (unsigned long long)v.sample);
	}
}

static struct memory_facts cache(uint64_t evicted, uint64_t hits, uint64_t misses)
{
	char text[256];

	snprintf(text, sizeof text, "used_memory:1000\nmaxmemory:1000\nmaxmemory_policy:allkeys-lru\n"
	    "evicted_keys:%llu\nkeyspace_hits:%llu\nkeyspace_misses:%llu\nrun_id:a\ndb0:keys=10000\n",
	    (unsigned long long)evicted, (unsigned long long)hits, (unsigned long long)misses);
	return info(text);
}

static void test_eviction_rate(void **state)
{
	struct memory_watch w = { 0 };
	struct memory_verdict v;
	struct memory_facts f = cache(1000000, 0, 0);

	(void)state;
	memory_judge(&w, &f, 0, WARN, false, 30 * SECOND, &v);
	assert_int_equal(v.sample, 0); /* from one number nothing is known */
	assert_true(v.evicted_per_s < 0);
	f = cache(1000490, 0, 0); /* 490 in 30 s: 980 a minute of 10,000 */
	memory_judge(&w, &f, 0, WARN, false, 60 * SECOND, &v);
	assert_int_equal(v.sample, 0);
	assert_true(v.evicted_per_s > 16.3 && v.evicted_per_s < 16.4);
	f = cache(1001000, 0, 0); /* 510: 1,020 a minute */
	memory_judge(&w, &f, 0, WARN, false, 90 * SECOND, &v);
	assert_int_equal(v.sample, WARN);
	assert_non_null(strstr(v.reason, "evicted"));
	f = cache(5, 0, 0); /* the counter went back: another server */
	memory_judge(&w, &f, 0, WARN, false, 120 * SECOND, &v);
	assert_int_equal(v.sample, 0);
	assert_true(v.evicted_per_s < 0);
	/* the same, told by run_id although the counter grew */
	f = cache(900000, 0, 0);
	snprintf(f.run_id, sizeof f.run_id, "b");
	memory_judge(&w, &f, 0, WARN, false, 150 * SECOND, &v);
	assert_int_equal(v.sample, 0);
}

static void test_hit_ratio(void **state)
{
	struct memory_watch w = { 0 };
	struct memory_verdict v;
	uint64_t hits = 0, misses = 0, t = 0;
	struct memory_facts f;

	(void)state;
	for (int i = 0; i < 20; i++) {
		f = cache(0, hits += 1800, misses += 200);
		memory_judge(&w, &f, 0, WARN, false, t += 30 * SECOND, &v);
		assert_int_equal(v.sample, 0);
	}
	assert_true(v.hit_ratio > 0.899 && v.hit_ratio < 0.901);
	f = cache(0, hits += 1500, misses += 500); /* 75 %: not 20 points */
	memory_judge(&w, &f, 0, WARN, false, t += 30 * SECOND, &v);
	assert_int_equal(v.sample, 0);
	f = cache(0, hits += 200, misses += 700); /* fewer than 1,000 lookups say nothing */
	memory_judge(&w, &f, 0, WARN, false, t += 30 * SECOND, &v);
	assert_int_equal(v.sample, 0);
	assert_true(v.hit_ratio < 0);
	f = cache(0, hits += 1000, misses += 1000);
	memory_judge(&w, &f, 0, WARN, false, t += 30 * SECOND, &v);
	assert_int_equal(v.sample, WARN);
	assert_non_null(strstr(v.reason, "hit ratio"));
}

static void test_fragmentation(void **state)
{
	struct memory_facts f = info("used_memory:100\nused_memory_rss:1100\nmaxmemory:1000\n"
	    "maxmemory_policy:noeviction\nmem_fragmentation_ratio:11.00\n");
	struct memory_watch w = { 0 };
	struct memory_verdict v = judge(&f, 0);

	(void)state;
	assert_int_equal(v.share, 100000);
	assert_int_equal(v.sample, WARN);
	assert_non_null(strstr(v.reason, "fragmentation"));
	memory_judge(&w, &f, 0, WARN, true, SECOND, &v); /* the resident memory is the agent's */
	assert_int_equal(v.sample, 100000);
	f = info("used_memory:900\nused_memory_rss:1100\nmaxmemory:1000\nmem_fragmentation_ratio:1.22\n");
	assert_int_equal(judge(&f, 0).sample, 900000);
	f = info("used_memory:950\nused_memory_rss:2100\nmaxmemory:1000\nmem_fragmentation_ratio:2.2\n");
	assert_int_equal(judge(&f, 0).sample, 950000); /* a warning at least, never less than it is */
	f = info("used_memory:100\nused_memory_rss:900\nmaxmemory:1000\nmem_fragmentation_ratio:9\n");
	assert_int_equal(judge(&f, 0).sample, 100000); /* small stores have large ratios */
}

static void test_stats(void **state)
{
	purser_stats s = { .keys = 5, .used_bytes = 90 * MIB, .max_bytes = 100 * MIB,
		.evicted = UINT64_MAX, .expired = 1 };
	struct memory_facts f;

	(void)state;
	memory_of_stats(&f, &s, "noeviction");
	assert_int_equal(judge(&f, 0).sample, 900000);
	memory_of_stats(&f, &s, "allkeys-lru");
	assert_int_equal(judge(&f, 0).sample, 0);
	s.max_bytes = UINT64_MAX;
	memory_of_stats(&f, &s, "");
	assert_true(judge(&f, 0).known);
	assert_false(judge(&f, 0).bounded);
	s.used_bytes = UINT64_MAX;
	memory_of_stats(&f, &s, "");
	assert_false(judge(&f, 0).known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_info), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_share), cmocka_unit_test(test_unbounded),
		cmocka_unit_test(test_policies), cmocka_unit_test(test_eviction_rate),
		cmocka_unit_test(test_hit_ratio), cmocka_unit_test(test_fragmentation),
		cmocka_unit_test(test_stats),
	};

	return cmocka_run_group_tests_name("health_memory", tests, NULL, NULL);
}
