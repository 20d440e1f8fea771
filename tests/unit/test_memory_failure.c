/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation failure in the memory plugin: every command is run with its first, second, ... allocation
 * failing.  It answers OOM and has changed nothing, or it succeeds; afterwards it works again and the
 * accounts come back to zero.
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

#define SITES_MAX 5000

static const char word[] = "0123456789012345678901234567890123456789012345678901234567890123456789";

struct fixture { struct mh m; struct mh_ctx x; struct store *st; };

static void setup(struct fixture *f)
{
	struct mh_ctx *x = &f->x;
	char big[3001];
	size_t n;
	int i;

	mh_start(&f->m, (struct mh_settings){ 0, 0, 2 });
	mh_open(x, &f->m);
	f->st = f->m.state;
	memset(big, 'b', 3000);
	big[3000] = '\0';
	mh_run(x, "MSET int 5 small abc raw %s%s", word, word);
	mh_run(x, "SET ttl value PX 100000");
	mh_run(x, "SETRANGE big 6000 %s", big);
	mh_run(x, "HSET pack a 1 b two c 3.5");
	for (i = 0; i < 127; i++)
		mh_run(x, "HSET full f%d v%d", i, i);
	for (i = 0; i < 200; i++)
		mh_run(x, "HSET table f%d v%d", i, i);
	mh_run(x, "HSET table n 5 x 1.5 long %s", big);
	mh_run(x, "SADD ints 1 2 3 500");
	mh_run(x, "SADD few a b c 1");
	for (i = 0; i < 200; i++)
		mh_run(x, "SADD many m%d", i);
	for (i = 0; i < 512; i++)
		mh_run(x, "SADD full-of-ints %d", i);
	mh_run(x, "RPUSH queue a b c d");
	for (i = 0; i < 900; i++)
		mh_run(x, "RPUSH long element%d", i);
	mh_run(x, "ZADD zset 1 a 2 b 3 c 4 d");
	n = (size_t)snprintf(big, sizeof(big), "ZADD zfull");
	for (i = 0; i < 128; i++)
		n += (size_t)snprintf(big + n, sizeof(big) - n, " %d m%d", i, i);
	mh_run(x, "%s", big);
	mh_run(x, "ZADD zmany 3 %s", word); /* too long to be packed: few can be many */
	for (i = 0; i < 30; i++)
		mh_run(x, "ZADD zmany %d m%d", i % 7, i);
	for (i = 0; i < 40; i++)
		mh_run(x, "GEOADD places %d.5 %d.25 p%d", i % 9, i % 7, i);
	mh_run(x, "PFADD sparse a b c d e");
	mh_run(x, "PFADD short a");
	for (i = 0; i < 3000; i += 10)
		mh_run(x, "PFADD dense %d %d %d %d %d %d %d %d %d %d", i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7,
		    i + 8, i + 9);
	for (i = 0; i < 40; i++)
		mh_run(x, "SET fill%d %d", i, i);
	mh_run(x, "XADD log 1-1 a 1");
	for (i = 0; i < 130; i++) /* two blocks, the second with other fields too */
		mh_run(x, i % 3 ? "XADD log %d-1 a %d" : "XADD log %d-1 a 1 b %d", i + 2, i);
	mh_run(x, "XDEL log 5-1 40-1");
	mh_run(x, "XGROUP CREATE log gr 0");
	mh_run(x, "XREADGROUP GROUP gr ann COUNT 60 STREAMS log >");
	mh_run(x, "XREADGROUP GROUP gr bob COUNT 3 STREAMS log >");
	mh_run(x, "XDEL log 10-1 62-1");
	mh_run(x, "XGROUP CREATE xnone gr $ MKSTREAM");
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Everything that can be seen of the store, as one text. */
static char *dump(struct fixture *f)
{
	static const char *const ask[] = { "TYPE %s", "PTTL %s", "OBJECT ENCODING %s", "GET %s", "HGETALL %s",
		"SMEMBERS %s", "LRANGE %s 0 -1", "ZRANGE %s 0 -1 WITHSCORES",
		"XINFO STREAM %s FULL COUNT 0" };
	struct mh_ctx *x = &f->x;
	char *lines[8192], *out = malloc(1 << 20), *text, *save = NULL, *l;
	size_t n = 0, i, q, at = 0;
	int64_t fail_after = f->st->fail_after;

	f->st->fail_after = -1;
	for (x->db = 0; x->db < 2; x->db++) {
		n = 0;
		text = strdup(mh_run(x, "KEYS *"));
		for (l = strtok_r(text, "\r\n", &save); l; l = strtok_r(NULL, "\r\n", &save))
			if (*l != '$' && *l != '*')
				lines[n++] = l;
		qsort(lines, n, sizeof(*lines), compare);
		for (i = 0; i < n; i++) {
			at += (size_t)snprintf(out + at, (1u << 20) - at, "%u %s\n", x->db, lines[i]);
			for (q = 0; q < sizeof(ask) / sizeof(*ask); q++) {
				char *fields[2048], *reply, *s2 = NULL, *w;
				size_t m = 0, j;

				reply = strdup(mh_run(x, ask[q], lines[i]));
				mh_release(x);
				for (w = strtok_r(reply, "\r\n", &s2); w && m < 2048; w = strtok_r(NULL, "\r\n", &s2))
					fields[m++] = w;
				if (q == 4 || q == 5) /* the order of a table is its own */
					qsort(fields, m, sizeof(*fields), compare);
				for (j = 0; j < m; j++)
					at += (size_t)snprintf(out + at, (1u << 20) - at, "%s ", fields[j]);
				free(reply);
			}
		}
		free(text);
	}
	x->db = 0;
	f->st->fail_after = fail_after;
	return out;
}

static void teardown(struct fixture *f)
{
	int i;

	f->st->fail_after = -1;
	mh_run(&f->x, "UNWATCH");
	mh_run(&f->x, "FLUSHALL");
	for (i = 0; i < 20; i++)
		mh_pass(&f->x, 100);
	mh_release(&f->x);
	assert_int_equal(store_used(f->st), 0);
	assert_int_equal(mh_stats(&f->m).keys, 0);
	mh_close(&f->x);
	mh_stop(&f->m);
}

/* One command with its allocation number `site` failing; 1: it has fewer allocations than that. */
static int one_site(const char *line, int64_t site)
{
	static char *before; /* the same every time */
	struct fixture f;
	char *after;
	int oom, through, wrong;

	memset(&f, 0, sizeof(f));
	setup(&f);
	if (!before)
		before = dump(&f);
	((struct ctx *)f.x.cs)->scratch_cap = 0; /* so that it is asked for again */
	f.st->fail_after = site;
	mh_run(&f.x, "%s", line);
	mh_release(&f.x);
	oom = strncmp(f.x.reply, "-OOM", 4) == 0;
	wrong = f.x.reply[0] == '-' && !oom;
	through = f.st->fail_after > 0 || (!oom && f.st->fail_after == 0 && site == 0);
	after = dump(&f);
	if (wrong)
		fail_msg("%s, allocation %lld: an error that is not OOM", line, (long long)site);
	if (oom && strcmp(before, after))
		fail_msg("%s, allocation %lld: it said OOM and has changed something", line, (long long)site);
	free(after);
	f.st->fail_after = -1;
	if (oom) {
		mh_run(&f.x, "%s", line);
		if (f.x.reply[0] == '-')
			fail_msg("%s, again: %s", line, f.x.reply);
	}
	teardown(&f);
	return through;
}

static const char *const simple[] = {
	"SET new v", "SET small v", "SET small 0123456789012345678901234567890123456789", "SET small 5 PX 1000",
	"SET big v GET", "SET ttl v KEEPTTL", "SET table v", "SETEX int 100 v", "SETNX new v", "GETSET raw v",
	"GETEX small PX 1000", "GETEX ttl PERSIST", "GETDEL big", "INCR int", "INCR new", "INCRBYFLOAT int 1.5",
	"INCRBYFLOAT new 3.25", "APPEND new abc", "APPEND int abc",
	"APPEND raw 01234567890123456789012345678901234567890123456789", "APPEND big 0123456789",
	"SETRANGE new 10 x", "SETRANGE new 10000 x", "SETRANGE small 5000 x", "SETRANGE big 20000 x",
	"MSET a 1 b 2 c 3 small x a 4", "MSETNX a 1 b 2 a 3", "RENAME small other", "RENAME small raw",
	"RENAME ttl a-much-longer-name-than-before", "RENAME table pack", "RENAMENX pack new", "COPY small new",
	"COPY table new", "COPY pack small REPLACE", "COPY big new DB 1", "MOVE table 1", "EXPIRE small 100",
	"PEXPIREAT pack 1800000000000", "PERSIST ttl", "DEL small raw table", "KEYS *", "SCAN 0 COUNT 1000",
	"LCS small raw", "LCS small raw IDX", "HSET new a 1", "HSET pack a 100 d 4", "HSET pack b three",
	"HSET full f0 x f1 y f200 z f201 w f0 q", "HSET table f1 x new1 y new2 z f1 w", "HSET table f1 longer-than-it-was",
	"HSET table n6 6", "HSETNX pack z 1", "HINCRBY pack a 100000", "HINCRBY table n 1", "HINCRBY new f 1",
	"HINCRBYFLOAT table x 1.25", "HDEL pack a", "HDEL pack a b c", "HDEL table f1 f2 f3", "HSCAN table 0 COUNT 1000",
	"SADD new 1 2 3", "SADD new a b", "SADD ints 4", "SADD ints 70000 5000000000", "SADD ints 1 x", "SADD few d e f",
	"SADD full-of-ints 512 513 514", "SADD full-of-ints -1", "SADD many x y z m1", "SREM ints 1 500", "SREM ints 1 2 3 500",
	"SREM few a", "SREM many m1 m2", "SMOVE ints many 1", "SMOVE many ints m1", "SMOVE few new a", "SPOP ints",
	"SPOP few 2", "SPOP many 10", "SPOP many 1000", "SMEMBERS many", "SUNION ints few many", "SINTER many few",
	"SDIFF few ints", "SUNIONSTORE new ints many", "SUNIONSTORE ints ints few", "SINTERSTORE few many few",
	"SDIFFSTORE new many few", "SRANDMEMBER many 10", "SSCAN many 0 COUNT 1000", "COPY many other", "COPY ints other",
	"RPUSH new a b c", "LPUSH new a", "RPUSH queue e f g h i j k l m n o p q r s t u v w x y z", "LPUSH long a b c",
	"LINSERT queue BEFORE c x", "LINSERT long AFTER element100 x", "LPOP queue", "RPOP queue 4", "LPOP long 300",
	"LMOVE queue long LEFT RIGHT", "LMOVE long new RIGHT LEFT", "LMOVE long long LEFT RIGHT", "RPOPLPUSH queue queue",
	"LSET queue 1 bb", "LSET long 400 0123456789", "LREM long 0 element5", "LTRIM long 200 400", "LPOS long element7 COUNT 0",
	"COPY long other", "LRANGE long 10 20",
	"ZADD new 1 a 2 b 1 a", "ZADD zset 5 e 1 d 7 a", "ZADD zset CH XX 9 a 9 b 9 nobody", "ZADD zset INCR 1.5 a",
	"ZADD zfull 5 m1 6 other 7 m2", "ZADD zmany 100 x 101 m1 102 y 103 m1 104 z", "ZADD zmany GT CH 1 m0 9 m1 9 w",
	"ZINCRBY zset 10 a", "ZINCRBY zmany 10 m1", "ZINCRBY new 1 a", "ZREM zset a c", "ZREM zset a b c d", "ZREM zmany m1 m2 m3",
	"ZRANGESTORE new zset 0 1", "ZRANGESTORE zset zmany 0 -1", "ZRANGESTORE few zmany 2 4 BYSCORE LIMIT 1 20",
	"ZRANGESTORE zmany zset 5 6", "ZREMRANGEBYRANK zset 1 2", "ZREMRANGEBYRANK zmany 10 20", "ZREMRANGEBYSCORE zset 2 3",
	"ZREMRANGEBYSCORE zmany 2 4", "ZREMRANGEBYLEX zset [a [b", "ZREMRANGEBYRANK zfull 0 -1", "ZPOPMIN zset", "ZPOPMAX zset 3",
	"ZPOPMIN zmany 20", "ZPOPMAX zfull 5", "ZMPOP 2 none zset MAX COUNT 2", "ZMPOP 1 zmany MIN COUNT 500",
	"ZUNION 2 zset few WITHSCORES", "ZINTER 2 zmany zfull", "ZDIFF 2 zset zmany", "ZUNIONSTORE new 2 zset few WEIGHTS 2 3",
	"ZUNIONSTORE zset 2 zmany zset", "ZINTERSTORE zmany 2 zmany zfull AGGREGATE MAX", "ZINTERSTORE new 2 zset ints",
	"ZDIFFSTORE queue 2 zmany zset", "ZINTERCARD 2 zmany zfull LIMIT 3", "ZRANDMEMBER zmany 10 WITHSCORES", "ZSCAN zmany 0 COUNT 500",
	"COPY zset other", "COPY zmany other", "RENAME zmany zset", "EXPIRE zset 100",
	"SETBIT new 7 1", "SETBIT new 90000 1", "SETBIT int 9 1", "SETBIT small 2000 1", "SETBIT big 100000 1", "SETBIT ttl 3 0",
	"BITOP AND new raw small", "BITOP OR small raw big", "BITOP XOR raw big raw", "BITOP NOT big int", "BITOP AND small none",
	"BITFIELD new SET u8 0 200 INCRBY i5 100 3", "BITFIELD int INCRBY u4 #9 3 GET u8 0", "BITFIELD raw SET i64 #900 -1",
	"BITCOUNT big", "BITPOS raw 1 2",
	"SORT ints GET # GET fill*", "SORT queue ALPHA DESC STORE new", "SORT ints BY fill* GET fill* STORE small", "SORT long ALPHA STORE long",
	"SORT none STORE queue", "SORT many ALPHA LIMIT 5 10",
	"PFADD new a b c", "PFADD new", "PFADD sparse a b zz1 zz2", "PFADD dense zz1 zz2 zz3 zz4", "PFADD short zz1 zz2", "PFCOUNT sparse",
	"PFCOUNT short", "PFCOUNT sparse dense", "PFMERGE new sparse", "PFMERGE new dense", "PFMERGE sparse dense", "PFMERGE short sparse",
	"GEOADD new 1 2 a 3 4 b", "GEOADD zset 1 2 a", "GEOADD zmany XX CH 1 2 m1 3 4 m2", "GEOADD zfull 1 2 other",
	"GEOSEARCH places FROMLONLAT 4 4 BYRADIUS 900 km ASC WITHDIST", "GEOSEARCHSTORE new places FROMMEMBER p3 BYBOX 800 900 km",
	"GEOSEARCHSTORE places places FROMMEMBER p3 BYRADIUS 300 km COUNT 3", "GEOSEARCHSTORE small none FROMMEMBER x BYRADIUS 1 m",
	"GEORADIUS places 3 3 500 km STORE zmany", "GEORADIUSBYMEMBER places p1 900 km COUNT 5 ANY STOREDIST places",
	"WATCH small", "WATCH small big none table small a b c d e f g h i j k l m n o p q r s t u v w x y z",
	"XADD new 1-1 f v", "XADD new * f v MAXLEN 3", "XADD log 200-1 a 0123456789012345678901234567890123456789",
	"XADD log * c 1 d 2 e 3", "XADD log MAXLEN ~ 50 300-0 a 1", "XADD log MINID = 70 300-* a 1 b 2", "XADD xnone 5-5 a b",
	"XTRIM log MAXLEN 20", "XTRIM log MINID ~ 120", "XTRIM log MAXLEN 0", "XDEL log 1-1 2-1 3-1 131-1", "XSETID log 500-0",
	"XRANGE log - + COUNT 200", "XREVRANGE log (90 20", "XLEN log", "XREAD COUNT 90 STREAMS log xnone 3 0",
	"XREADGROUP GROUP gr ann STREAMS log >", "XREADGROUP GROUP gr new COUNT 40 STREAMS log >",
	"XREADGROUP GROUP gr cid COUNT 2 STREAMS log log xnone > > >", "XREADGROUP GROUP gr new NOACK STREAMS log >",
	"XREADGROUP GROUP gr ann STREAMS log 0", "XREADGROUP GROUP gr new STREAMS xnone log 0 >",
	"XREADGROUP GROUP gr dan COUNT 30 STREAMS log log 0 >", "XGROUP CREATE log another 50", "XGROUP CREATE new gr $ MKSTREAM",
	"XGROUP SETID log gr 2-1", "XGROUP DESTROY log gr", "XGROUP CREATECONSUMER log gr cid", "XGROUP CREATECONSUMER log gr ann",
	"XGROUP DELCONSUMER log gr ann", "XACK log gr 1-1 2-1 3-1 61-1", "XPENDING log gr", "XPENDING log gr - + 50 ann",
	"XCLAIM log gr bob 0 1-1 2-1 3-1 5-1 10-1 62-1", "XCLAIM log gr new 0 1-1 2-1 100-1 101-1 FORCE",
	"XCLAIM log gr cid 0 61-1 61-1 1-1 JUSTID LASTID 90-1", "XAUTOCLAIM log gr bob 0 0", "XAUTOCLAIM log gr new 0 - COUNT 30 JUSTID",
	"XINFO STREAM log FULL", "XINFO GROUPS log", "XINFO CONSUMERS log gr", "COPY log other", "RENAME log other", "EXPIRE log 100",
	"DEL log", "HRANDFIELD table 10", "HRANDFIELD pack 2", "OBJECT ENCODING small", "RANDOMKEY", "INFO", "FLUSHDB",
	"DUMP int", "DUMP big", "DUMP long", "DUMP table", "DUMP zmany",
	"CONFIG GET *", "CONFIG SET maxmemory-policy allkeys-lru notify-keyspace-events KA", "CONFIG RESETSTAT",
};

static void every_site(void **state)
{
	size_t i;
	int64_t site;

	(void)state;
	for (i = 0; i < sizeof(simple) / sizeof(*simple); i++) {
		for (site = 0; site < SITES_MAX && !one_site(simple[i], site); site++)
			;
		assert_true(site < SITES_MAX);
	}
}

/* A pair of fields too long for a pack turns it into a table: each allocation of that. */
static void conversion(void **state)
{
	char line[512];
	int64_t site;

	(void)state;
	snprintf(line, sizeof(line), "HSET full wide %s", word);
	for (site = 0; site < SITES_MAX && !one_site(line, site); site++)
		;
	assert_in_range(site, 128, SITES_MAX - 1);
	snprintf(line, sizeof(line), "ZADD zfull 5 m9 6 %s 7 m1", word);
	for (site = 0; site < SITES_MAX && !one_site(line, site); site++)
		;
	assert_in_range(site, 128, SITES_MAX - 1);
	snprintf(line, sizeof(line), "MSET l1 %s%s l2 %s small %s", word, word, word, word);
	for (site = 0; site < SITES_MAX && !one_site(line, site); site++)
		;
	assert_true(site < SITES_MAX);
}

/* RESTORE of what each of these keys is dumped as, onto a key that is there and one that is not. */
static int restore_site(const char *key, const char *to, int64_t site)
{
	purser_bytes argv[5] = { { (const uint8_t *)"RESTORE", 7 }, { (const uint8_t *)to, strlen(to) },
		{ (const uint8_t *)"100000", 6 }, { NULL, 0 }, { (const uint8_t *)"REPLACE", 7 } };
	char *before, *after, *payload;
	struct fixture f;
	int oom, through;

	memset(&f, 0, sizeof(f));
	setup(&f);
	mh_run(&f.x, "XADD stream 1-1 a 1 b two");
	mh_run(&f.x, "XADD stream 1-2 c %s", word);
	mh_run(&f.x, "XGROUP CREATE stream g 0");
	mh_run(&f.x, "XREADGROUP GROUP g one STREAMS stream >");
	mh_run(&f.x, "DUMP %s", key);
	argv[3].n = strtoul(f.x.reply + 1, NULL, 10);
	payload = malloc(argv[3].n);
	memcpy(payload, strchr(f.x.reply, '\n') + 1, argv[3].n);
	argv[3].p = (const uint8_t *)payload;
	mh_release(&f.x);
	before = dump(&f);
	((struct ctx *)f.x.cs)->scratch_cap = 0;
	f.st->fail_after = site;
	oom = strncmp(mh_argv(&f.x, 5, argv), "-OOM", 4) == 0;
	through = !oom && f.st->fail_after > 0;
	if (!oom && f.x.reply[0] != '+')
		fail_msg("RESTORE of %s, allocation %lld: %s", key, (long long)site, f.x.reply);
	after = dump(&f);
	if (oom && strcmp(before, after))
		fail_msg("RESTORE of %s, allocation %lld: it said OOM and has changed something", key, (long long)site);
	f.st->fail_after = -1;
	assert_string_equal(mh_argv(&f.x, 5, argv), "+OK\r\n");
	free(before);
	free(after);
	free(payload);
	teardown(&f);
	return through;
}

static void restored(void **state)
{
	static const char *const keys[] = { "int", "raw", "big", "pack", "full", "ints", "few", "many", "queue", "zset", "zmany",
		"stream" };
	size_t i;
	int64_t site;
	int over;

	(void)state;
	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		for (over = 0; over < 2; over++) {
			for (site = 0; site < SITES_MAX && !restore_site(keys[i], over ? "small" : "new", site); site++)
				;
			assert_in_range(site, 1, SITES_MAX - 1);
		}
	}
}

/* Memory is short for a long time: tables grow longer chains instead of buckets and lose nothing. */
static void short_for_long(void **state)
{
	struct fixture f;
	uint32_t k, stored = 0;

	(void)state;
	memset(&f, 0, sizeof(f));
	setup(&f);
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
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_site),
		cmocka_unit_test(conversion),
		cmocka_unit_test(restored),
		cmocka_unit_test(short_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
