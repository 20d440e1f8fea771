/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashes, sets, lists and sorted sets with each allocation failing: see memory_failure.h.
 */
#include "memory_failure.h"

static const char *const lines[] = {
	"HSET new a 1", "HSET pack a 100 d 4", "HSET pack b three", "HSET full f0 x f1 y f200 z f201 w f0 q",
	"HSET table f1 x new1 y new2 z f1 w", "HSET table f1 longer-than-it-was", "HSET table n6 6",
	"HSETNX pack z 1", "HINCRBY pack a 100000", "HINCRBY table n 1", "HINCRBY new f 1",
	"HINCRBYFLOAT table x 1.25", "HDEL pack a", "HDEL pack a b c", "HDEL table f1 f2 f3",
	"HSCAN table 0 COUNT 1000", "SADD new 1 2 3", "SADD new a b", "SADD ints 4",
	"SADD ints 70000 5000000000", "SADD ints 1 x", "SADD few d e f", "SADD full-of-ints 512 513 514",
	"SADD full-of-ints -1", "SADD many x y z m1", "SREM ints 1 500", "SREM ints 1 2 3 500", "SREM few a",
	"SREM many m1 m2", "SMOVE ints many 1", "SMOVE many ints m1", "SMOVE few new a", "SPOP ints",
	"SPOP few 2", "SPOP many 10", "SPOP many 1000", "SMEMBERS many", "SUNION ints few many",
	"SINTER many few", "SDIFF few ints", "SUNIONSTORE new ints many", "SUNIONSTORE ints ints few",
	"SINTERSTORE few many few", "SDIFFSTORE new many few", "SRANDMEMBER many 10",
	"SSCAN many 0 COUNT 1000", "RPUSH new a b c", "LPUSH new a",
	"RPUSH queue e f g h i j k l m n o p q r s t u v w x y z", "LPUSH long a b c",
	"LINSERT queue BEFORE c x", "LINSERT long AFTER element100 x", "LPOP queue", "RPOP queue 4",
	"LPOP long 300", "LMOVE queue long LEFT RIGHT", "LMOVE long new RIGHT LEFT",
	"LMOVE long long LEFT RIGHT", "RPOPLPUSH queue queue", "LSET queue 1 bb", "LSET long 400 0123456789",
	"LREM long 0 element5", "LTRIM long 200 400", "LPOS long element7 COUNT 0", "LRANGE long 10 20",
	"ZADD new 1 a 2 b 1 a", "ZADD zset 5 e 1 d 7 a", "ZADD zset CH XX 9 a 9 b 9 nobody",
	"ZADD zset INCR 1.5 a", "ZADD zfull 5 m1 6 other 7 m2", "ZADD zmany 100 x 101 m1 102 y 103 m1 104 z",
	"ZADD zmany GT CH 1 m0 9 m1 9 w", "ZINCRBY zset 10 a", "ZINCRBY zmany 10 m1", "ZINCRBY new 1 a",
	"ZREM zset a c", "ZREM zset a b c d", "ZREM zmany m1 m2 m3", "ZRANGESTORE new zset 0 1",
	"ZRANGESTORE zset zmany 0 -1", "ZRANGESTORE few zmany 2 4 BYSCORE LIMIT 1 20",
	"ZRANGESTORE zmany zset 5 6", "ZREMRANGEBYRANK zset 1 2", "ZREMRANGEBYRANK zmany 10 20",
	"ZREMRANGEBYSCORE zset 2 3", "ZREMRANGEBYSCORE zmany 2 4", "ZREMRANGEBYLEX zset [a [b",
	"ZREMRANGEBYRANK zfull 0 -1", "ZPOPMIN zset", "ZPOPMAX zset 3", "ZPOPMIN zmany 20",
	"ZPOPMAX zfull 5", "ZMPOP 2 none zset MAX COUNT 2", "ZMPOP 1 zmany MIN COUNT 500",
	"ZUNION 2 zset few WITHSCORES", "ZINTER 2 zmany zfull", "ZDIFF 2 zset zmany",
	"ZUNIONSTORE new 2 zset few WEIGHTS 2 3", "ZUNIONSTORE zset 2 zmany zset",
	"ZINTERSTORE zmany 2 zmany zfull AGGREGATE MAX", "ZINTERSTORE new 2 zset ints",
	"ZDIFFSTORE queue 2 zmany zset", "ZINTERCARD 2 zmany zfull LIMIT 3",
	"ZRANDMEMBER zmany 10 WITHSCORES", "ZSCAN zmany 0 COUNT 500", "PFADD new a b c", "PFADD new",
	"PFADD sparse a b zz1 zz2", "PFADD dense zz1 zz2 zz3 zz4", "PFADD short zz1 zz2", "PFCOUNT sparse",
	"PFCOUNT short", "PFCOUNT sparse dense", "PFMERGE new sparse", "PFMERGE new dense",
	"PFMERGE sparse dense", "PFMERGE short sparse", "GEOADD new 1 2 a 3 4 b", "GEOADD zset 1 2 a",
	"GEOADD zmany XX CH 1 2 m1 3 4 m2", "GEOADD zfull 1 2 other",
	"GEOSEARCH places FROMLONLAT 4 4 BYRADIUS 900 km ASC WITHDIST",
	"GEOSEARCHSTORE new places FROMMEMBER p3 BYBOX 800 900 km",
	"GEOSEARCHSTORE places places FROMMEMBER p3 BYRADIUS 300 km COUNT 3",
	"GEOSEARCHSTORE small none FROMMEMBER x BYRADIUS 1 m", "GEORADIUS places 3 3 500 km STORE zmany",
	"GEORADIUSBYMEMBER places p1 900 km COUNT 5 ANY STOREDIST places", "HRANDFIELD table 10",
	"HRANDFIELD pack 2",
};

static void every_site(void **state)
{
	(void)state;
	failure_every(lines, sizeof(lines) / sizeof(*lines));
}

/* A pair of fields too long for a pack turns it into a table: each allocation of that. */
static void conversion(void **state)
{
	char line[512];

	(void)state;
	snprintf(line, sizeof(line), "HSET full wide %s", word);
	assert_true(failure_line(line) >= 128);
	snprintf(line, sizeof(line), "ZADD zfull 5 m9 6 %s 7 m1", word);
	assert_true(failure_line(line) >= 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_site),
		cmocka_unit_test(conversion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
