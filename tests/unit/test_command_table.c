/* SPDX-License-Identifier: Apache-2.0
 *
 * The command table: finding rows, refusing what has none, key positions.
 */
#include <config.h>
#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "command/command.h"

static struct cmd_index x;

static uint32_t split(char *copy, purser_bytes *argv)
{
	uint32_t n = 0;

	for (char *save, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[n++] = (purser_bytes){ (const uint8_t *)w, strlen(w) };
	return n;
}

static const struct command *find(const char *line, char *err, size_t cap)
{
	char copy[512];
	purser_bytes argv[64];

	snprintf(copy, sizeof copy, "%s", line);
	return cmd_find(&x, argv, split(copy, argv), err, cap);
}

static void every_row_in_any_case(void **state)
{
	(void)state;
	for (int i = 0; i < CMD_COUNT; i++) {
		char name[64];
		size_t n = cmd_lower(&cmd_rows[i], name, sizeof name);

		assert_ptr_equal(cmd_by_name(&x, name, n), &cmd_rows[i]);
		assert_ptr_equal(cmd_by_name(&x, cmd_rows[i].name, n), &cmd_rows[i]);
		name[0] = (char)toupper((unsigned char)name[0]);
		assert_ptr_equal(cmd_by_name(&x, name, n), &cmd_rows[i]);
		assert_ptr_not_equal(cmd_by_name(&x, name, n - 1), &cmd_rows[i]);
		assert_true(cmd_rows[i].perm >= PERM_ANY);
		assert_non_null(cmd_group_name((enum cmd_group)cmd_rows[i].group));
		assert_true(strlen(cmd_rows[i].summary) > 5);
		assert_int_equal(cmd_rows[i].arity == 0, 0);
		assert_int_equal(cmd_rows[i].more == KEYS_FIXED || (cmd_rows[i].flags & F_MOVABLE), 1);
		/* A row that names keys says how many, and reads or writes (WATCH does neither, and shard channels
		 * only look like keys). */
		if (cmd_rows[i].first)
			assert_true(cmd_rows[i].step > 0 && (i == CMD_WATCH ||
			    cmd_rows[i].flags & (F_WRITE | F_READONLY | F_PUBSUB)));
		assert_false((cmd_rows[i].flags & F_WRITE) && cmd_rows[i].perm == PERM_READ);
	}
}

static void refusals(void **state)
{
	char err[384], many[400];
	struct { const char *line, *text; } t[] = {
		{ "foo", "ERR unknown command 'foo', with args beginning with: " },
		{ "foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' " },
		{ "get", "ERR wrong number of arguments for 'get' command" },
		{ "GET a b", "ERR wrong number of arguments for 'get' command" },
		{ "object encoding", "ERR wrong number of arguments for 'object|encoding' command" },
		{ "OBJECT foo k", "ERR unknown subcommand 'foo'. Try OBJECT HELP." },
		{ "object", "ERR wrong number of arguments for 'object' command" },
		{ "mset", "ERR wrong number of arguments for 'mset' command" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		assert_null(find(t[i].line, err, sizeof err));
		assert_string_equal(err, t[i].text);
	}
	/* Bounded, whatever comes. */
	memset(many, 'z', sizeof many - 1);
	many[sizeof many - 1] = '\0';
	assert_null(find(many, err, sizeof err));
	assert_true(strlen(err) < sizeof err);
	assert_null(find(many, err, 40));
	assert_true(strlen(err) < 40);
	assert_ptr_equal(find("object ENCODING k", err, sizeof err), &cmd_rows[CMD_OBJECT_ENCODING]);
	assert_ptr_equal(find("command", err, sizeof err), &cmd_rows[CMD_COMMAND]);
	assert_ptr_equal(find("client setname n", err, sizeof err), &cmd_rows[CMD_CLIENT_SETNAME]);
}

static void key_positions(void **state)
{
	struct { const char *line; const char *keys; } t[] = {
		{ "get k", "1" }, { "mget a b c", "1 2 3" }, { "mset a 1 b 2", "1 3" }, { "mset a 1 b", "1 3" },
		{ "set k v EX 5", "1" }, { "rename a b", "1 2" }, { "lcs a b LEN", "1 2" },
		{ "object encoding k", "2" }, { "memory usage k SAMPLES 1", "2" }, { "scan 0", "" },
		{ "ping", "" }, { "hset h a 1 b 2", "1" }, { "copy a b DB 1", "1 2" }, { "del a", "1" },
		/* counted */
		{ "lmpop 2 a b LEFT", "2 3" }, { "zunion 1 a WEIGHTS 2", "2" }, { "sintercard 3 a b c LIMIT 1", "2 3 4" },
		{ "zunionstore d 2 a b AGGREGATE MAX", "1 3 4" }, { "zdiffstore d 1 a", "1 3" },
		{ "zunionstore d 3 a b", "1" }, { "zunion 0 a", "" }, { "zunion -1 a", "" }, { "zunion x a", "" },
		{ "zunion 9223372036854775807 a", "" }, { "zunion 4294967297 a", "" }, { "lmpop 3 a b LEFT", "2 3 4" },
		/* streams */
		{ "xread STREAMS a b 0 0", "2 3" }, { "xread count 2 streams a 0", "4" }, { "xread STREAMS a b 0", "" },
		{ "xread COUNT STREAMS STREAMS a 0", "4" }, { "xread STREAMS STREAMS 0", "2" }, { "xread FOO STREAMS a 0", "" },
		{ "xreadgroup GROUP STREAMS c NOACK STREAMS a b > >", "6 7" }, { "xreadgroup COUNT 1 GROUP g BLOCK STREAMS a 0", "7" },
		{ "xread BLOCK 0 STREAMS a $", "4" }, { "xgroup create s g 0 MKSTREAM", "2" }, { "bitop and d a b", "2 3 4" },
		/* STORE */
		{ "sort k", "1" }, { "sort k STORE d", "1 3" }, { "sort k BY STORE GET STORE store d", "1 7" },
		{ "sort k LIMIT STORE 5 STORE d", "1 6" }, { "sort k STORE c STORE d", "1 5" }, { "sort k STORE", "1" },
		{ "sort k FOO STORE d", "1" }, { "sort k LIMIT 0", "1" }, { "sort_ro k BY a", "1" }, { "sort k ALPHA DESC STORE d", "1 5" },
		{ "georadius k 1 2 3 m STORE d", "1 7" }, { "georadius k 1 2 3 m COUNT 1 ANY STOREDIST d", "1 10" },
		{ "georadius k 1 2 3 m WITHDIST STORE STORE STORE d", "1 8 10" }, { "georadius k 1 2 3 m STORE", "1" },
		{ "georadiusbymember k STORE 3 m asc storedist d", "1 7" }, { "georadius_ro k 1 2 3 m COUNT 1", "1" },
		{ "geosearchstore d s FROMMEMBER m BYRADIUS 1 m", "1 2" },
	};
	char err[384];

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		const struct command *c = find(t[i].line, err, sizeof err);
		char copy[128], got[64] = "";
		purser_bytes argv[16];
		uint32_t keys[16], argc, n;

		snprintf(copy, sizeof copy, "%s", t[i].line);
		argc = split(copy, argv);
		assert_non_null(c);
		n = cmd_keys(c, argv, argc, keys);
		assert_int_equal(n, cmd_key_count(c, argv, argc));
		for (uint32_t k = 0; k < n; k++)
			snprintf(got + strlen(got), sizeof got - strlen(got), "%s%u", k ? " " : "", keys[k]);
		assert_string_equal(got, t[i].keys);
	}
}

/* ms -1: it does not wait.  What Redis refuses is 1: it will say so at once. */
static void who_waits(void **state)
{
	struct { const char *line; int64_t ms; } t[] = {
		{ "xread STREAMS a 0", -1 }, { "xread BLOCK 5 STREAMS a 0", 5 }, { "xread COUNT 1 block 0 STREAMS a 0", 0 },
		{ "xread STREAMS BLOCK 0", -1 }, { "xread COUNT BLOCK STREAMS a 0", -1 },
		{ "xreadgroup GROUP BLOCK BLOCK STREAMS a >", -1 }, { "xreadgroup GROUP g c BLOCK 1 STREAMS a >", 1 },
		{ "xreadgroup NOACK BLOCK 7 GROUP g c STREAMS a >", 7 }, { "wait 1 0", 0 }, { "wait 1 250", 250 },
		{ "get BLOCK", -1 }, { "lmpop 1 BLOCK LEFT", -1 }, { "xread BLOCK 1 BLOCK 9 STREAMS a 0", 9 },
		{ "xread BLOCK 5 NONSENSE", 5 }, { "xread BLOCK x STREAMS a 0", 1 }, { "xread BLOCK 1.5 STREAMS a 0", 1 },
		{ "xread BLOCK -5 STREAMS a 0", 1 },
		{ "blpop a 0", 0 }, { "blpop a b c 1.5", 1500 }, { "brpop a 0.0001", 1 }, { "blpop a -0.0001", 0 },
		{ "blpop a -1", 1 }, { "blpop a x", 1 }, { "blpop a 1e3", 1000000 }, { "blpop a 0x10", 16000 },
		{ "blpop a inf", 1 }, { "blpop a nan", 1 }, { "blpop a 1e400", 1 }, { "blpop a 9e15", 9000000000000000000 },
		{ "blpop a 9223372036854775.807", INT64_MAX }, { "blpop a 9.3e15", 1 }, { "blpop a 1.0005", 1001 },
		{ "blmove a b left right 2", 2000 }, { "brpoplpush a b .5", 500 }, { "bzpopmin a 3", 3000 }, { "bzpopmax a b 0.25", 250 },
		{ "blmpop 4 1 9 left", 4000 }, { "bzmpop 0.5 2 a b min count 3", 500 },
	};
	char err[384], copy[128];
	purser_bytes argv[16];

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		const struct command *c = find(t[i].line, err, sizeof err);
		int64_t ms = -1;

		snprintf(copy, sizeof copy, "%s", t[i].line);
		assert_non_null(c);
		assert_int_equal(cmd_blocks(c, argv, split(copy, argv), &ms), t[i].ms >= 0);
		assert_int_equal(ms, t[i].ms);
	}
	assert_int_equal(cmd_block_seconds((purser_bytes){ (const uint8_t *)"1 ", 2 }), -1);
	assert_int_equal(cmd_block_seconds((purser_bytes){ (const uint8_t *)" 1", 2 }), -1);
	assert_int_equal(cmd_block_seconds((purser_bytes){ (const uint8_t *)"1\0", 2 }), -1);
	assert_int_equal(cmd_block_seconds((purser_bytes){ NULL, 0 }), -1);
}

/* A NUL ends an option's name, as in Redis: what Redis takes for STORE must not be missed. */
static void words_with_nul(void **state)
{
	purser_bytes argv[] = { { (const uint8_t *)"SORT", 4 }, { (const uint8_t *)"k", 1 },
		{ (const uint8_t *)"store\0x", 7 }, { (const uint8_t *)"d", 1 }, { NULL, 0 } };
	uint32_t keys[4];

	(void)state;
	assert_int_equal(cmd_keys(&cmd_rows[CMD_SORT], argv, 4, keys), 2);
	assert_int_equal(keys[1], 3);
	argv[2] = (purser_bytes){ NULL, 0 };
	assert_int_equal(cmd_keys(&cmd_rows[CMD_SORT], argv, 4, keys), 1);
	assert_int_equal(cmd_keys(&cmd_rows[CMD_ZUNION], argv + 3, 2, keys), 0);
}

/* What may be executed twice: semantics.md section 2. */
static void executed_twice(void **state)
{
	static const char *const yes[] = { "GET k", "MGET a b", "SET k v", "SET k v PX 100", "set k v xx", "MSET a 1 b 2",
		"DEL a b", "UNLINK a", "EXPIREAT k 9", "PEXPIREAT k 9", "PERSIST k", "HSET h f v", "HDEL h f", "SADD s m",
		"SREM s m", "LSET l 0 v", "ZADD z 1 m", "ZADD z NX GT 1 m", "SORT l", "SORT l BY w_* GET #",
		"GEORADIUS g 1 1 1 m" };
	static const char *const no[] = { "SET k v NX", "SET k v px 9 nx", "SET k v GET", "SET k v KEEPTTL", "INCR n",
		"INCRBY n 1", "APPEND k v", "LPUSH l v", "RPUSH l v", "LPOP l", "XADD s * f v", "SETNX k v", "GETSET k v",
		"GETDEL k", "EXPIRE k 9", "ZADD z INCR 1 m", "zadd z incr 1 m", "ZINCRBY z 1 m", "SORT l STORE d",
		"GEORADIUS g 1 1 1 m STORE d", "HINCRBY h f 1", "SPOP s", "RENAME a b", "PUBLISH c m", "EVAL x 0" };
	char copy[128];
	purser_bytes argv[64];

	(void)state;
	for (size_t i = 0; i < sizeof yes / sizeof *yes + sizeof no / sizeof *no; i++) {
		bool want = i < sizeof yes / sizeof *yes;
		const char *line = want ? yes[i] : no[i - sizeof yes / sizeof *yes];
		const struct command *c = find(line, copy, sizeof copy);
		uint32_t n;

		if (!c)
			fail_msg("%s: %s", line, copy);
		snprintf(copy, sizeof copy, "%s", line);
		n = split(copy, argv);
		if (cmd_idempotent(c, argv, n) != want)
			fail_msg("%s", line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_row_in_any_case), cmocka_unit_test(refusals),
		cmocka_unit_test(key_positions), cmocka_unit_test(who_waits), cmocka_unit_test(words_with_nul),
		cmocka_unit_test(executed_twice) };

	cmd_index_build(&x);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
