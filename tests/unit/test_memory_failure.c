/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings, keys and the store with each allocation failing: see memory_failure.h.
 */
#include "memory_failure.h"

static const char *const lines[] = {
	"SET new v", "SET small v", "SET small 0123456789012345678901234567890123456789",
	"SET small 5 PX 1000", "SET big v GET", "SET ttl v KEEPTTL", "SET table v", "SETEX int 100 v",
	"SETNX new v", "GETSET raw v", "GETEX small PX 1000", "GETEX ttl PERSIST", "GETDEL big", "INCR int",
	"INCR new", "INCRBYFLOAT int 1.5", "INCRBYFLOAT new 3.25", "APPEND new abc", "APPEND int abc",
	"APPEND raw 01234567890123456789012345678901234567890123456789", "APPEND big 0123456789",
	"SETRANGE new 10 x", "SETRANGE new 10000 x", "SETRANGE small 5000 x", "SETRANGE big 20000 x",
	"MSET a 1 b 2 c 3 small x a 4", "MSETNX a 1 b 2 a 3", "RENAME small other", "RENAME small raw",
	"RENAME ttl a-much-longer-name-than-before", "RENAME table pack", "RENAMENX pack new",
	"COPY small new", "COPY table new", "COPY pack small REPLACE", "COPY big new DB 1", "MOVE table 1",
	"EXPIRE small 100", "PEXPIREAT pack 1800000000000", "PERSIST ttl", "DEL small raw table", "KEYS *",
	"SCAN 0 COUNT 1000", "LCS small raw", "LCS small raw IDX", "COPY many other", "COPY ints other",
	"COPY long other", "COPY zset other", "COPY zmany other", "RENAME zmany zset", "EXPIRE zset 100",
	"SETBIT new 7 1", "SETBIT new 90000 1", "SETBIT int 9 1", "SETBIT small 2000 1",
	"SETBIT big 100000 1", "SETBIT ttl 3 0", "BITOP AND new raw small", "BITOP OR small raw big",
	"BITOP XOR raw big raw", "BITOP NOT big int", "BITOP AND small none",
	"BITFIELD new SET u8 0 200 INCRBY i5 100 3", "BITFIELD int INCRBY u4 #9 3 GET u8 0",
	"BITFIELD raw SET i64 #900 -1", "BITCOUNT big", "BITPOS raw 1 2", "SORT ints GET # GET fill*",
	"SORT queue ALPHA DESC STORE new", "SORT ints BY fill* GET fill* STORE small",
	"SORT long ALPHA STORE long", "SORT none STORE queue", "SORT many ALPHA LIMIT 5 10", "WATCH small",
	"WATCH small big none table small a b c d e f g h i j k l m n o p q r s t u v w x y z",
	"OBJECT ENCODING small", "RANDOMKEY", "INFO", "FLUSHDB", "DUMP int", "DUMP big", "DUMP long",
	"DUMP table", "DUMP zmany", "CONFIG GET *",
	"CONFIG SET maxmemory-policy allkeys-lru notify-keyspace-events KA", "CONFIG RESETSTAT",
};

static void every_site(void **state)
{
	(void)state;
	failure_every(lines, sizeof(lines) / sizeof(*lines));
}

static void long_names(void **state)
{
	char line[512];

	(void)state;
	snprintf(line, sizeof(line), "MSET l1 %s%s l2 %s small %s", word, word, word, word);
	failure_line(line);
}

/* Memory is short for a long time: tables grow longer chains instead of buckets and lose nothing. */
static void short_for_long(void **state)
{
	struct failure f;
	uint32_t k, stored = 0;

	(void)state;
	failure_setup(&f);
	for (k = 0; k < 20000; k++) {
		f.st->fail_after = (int64_t)(k * 7919u % 4); /* 0 to 3 allocations succeed */
		stored += mh_run(&f.x, "SET key:%u %u", k, k)[0] == '+';
		f.st->fail_after = -1;
	}
	assert_in_range(stored, 10000, 20000);
	for (k = 0; k < 20000; k++) {
		char want[32];

		mh_run(&f.x, "GET key:%u", k);
		if (f.x.reply[1] == '-')
			continue;
		snprintf(want, sizeof(want), "%u\r\n", k);
		assert_string_equal(strchr(f.x.reply, '\n') + 1, want);
		stored--;
	}
	assert_int_equal(stored, 0);
	for (k = 0; k < 20000; k++) {
		f.st->fail_after = 0;
		mh_run(&f.x, "DEL key:%u", k);
	}
	failure_teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_site),
		cmocka_unit_test(long_names),
		cmocka_unit_test(short_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
