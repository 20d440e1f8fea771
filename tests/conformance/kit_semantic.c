/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: what the commands mean: Redis 7.0's replies, errors to the letter.  Each table is a test:
 * command, reply in RESP2 (~100: an integer, or a little less), and in RESP3 where it differs.  A
 * command that the plugin does not list ends the table's test as skipped.
 */
#include <config.h>
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct step {
	const char *words, *resp2, *resp3;
};

#define WRONGTYPE "-WRONGTYPE Operation against a key holding the wrong kind of value"
#define NOT_INT "-ERR value is not an integer or out of range"
#define SYNTAX "-ERR syntax error"

static const struct step strings[] = {
	{ "SET @a hello", "+OK", NULL }, { "GET @a", "$hello", NULL },
	{ "SET @a world", "+OK", NULL },
	{ "GET @a", "$world", NULL }, { "GET @missing", "(nil)", NULL },
	{ "EXISTS @a", ":1", NULL },
	{ "EXISTS @a @missing @a", ":2", NULL }, { "DEL @a @missing", ":1", NULL },
	{ "GET @a", "(nil)", NULL },
	{ "DEL @a", ":0", NULL }, { "EXISTS @a", ":0", NULL }, { "SET @a x y", SYNTAX, NULL },
	{ "GET @a", "(nil)", NULL }, { "SET @b 'a \\r\\n\\0 z'", "+OK", NULL },
	{ "GET @b", "$a \\x0d\\x0a\\x00 z", NULL }, { "DEL @b", ":1", NULL }, { 0 },
};
static const struct step options[] = {
	{ "SET @o 1 XX", "(nil)", NULL }, { "SET @o 1 NX", "+OK", NULL },
	{ "SET @o 2 NX", "(nil)", NULL },
	{ "SET @o 2 XX", "+OK", NULL }, { "SET @o 3 GET", "$2", NULL }, { "GET @o", "$3", NULL },
	{ "SET @o 4 NX XX", SYNTAX, NULL }, { "SET @o 4 EX", SYNTAX, NULL },
	{ "SET @o 4 EX abc", NOT_INT, NULL },
	{ "SET @o 4 EX 0", "-ERR invalid expire time in 'set' command", NULL },
	{ "SET @o 4 PX -1", "-ERR invalid expire time in 'set' command", NULL },
	{ "SET @o 4 EX 10 KEEPTTL", SYNTAX, NULL }, { "GET @o", "$3", NULL },
	{ "SET @new 1 GET", "(nil)", NULL }, { "DEL @o @new", ":2", NULL }, { 0 },
};
static const struct step counters[] = {
	{ "INCR @n", ":1", NULL }, { "INCR @n", ":2", NULL }, { "SET @n text", "+OK", NULL },
	{ "INCR @n", NOT_INT, NULL }, { "GET @n", "$text", NULL }, { "SET @n 10", "+OK", NULL },
	{ "INCR @n", ":11", NULL }, { "SET @n ' 10'", "+OK", NULL }, { "INCR @n", NOT_INT, NULL },
	{ "SET @n 9223372036854775807", "+OK", NULL },
	{ "INCR @n", "-ERR increment or decrement would overflow", NULL },
	{ "SET @n 9223372036854775808", "+OK", NULL }, { "INCR @n", NOT_INT, NULL },
	{ "DEL @n", ":1", NULL }, { 0 },
};
static const struct step counters_by[] = {
	{ "DECR @n", ":-1", NULL }, { "INCRBY @n 41", ":40", NULL },
	{ "DECRBY @n 50", ":-10", NULL },
	{ "INCRBY @n abc", NOT_INT, NULL }, { "INCRBY @n 1.5", NOT_INT, NULL },
	{ "GET @n", "$-10", NULL },
	{ "DEL @n", ":1", NULL }, { 0 },
};
static const struct step many[] = {
	{ "MSET @m1 a @m2 b @m3 ''", "+OK", NULL },
	{ "MGET @m1 @none @m2 @m3", "[$a (nil) $b $]", NULL },
	{ "MSET @m1 c @m1 d", "+OK", NULL }, { "MGET @m1", "[$d]", NULL },
	{ "MSET @m1 x @m2", "-ERR wrong number of arguments for 'mset' command", NULL },
	{ "MGET @m1", "[$d]", NULL }, { "DEL @m1 @m2 @m3", ":3", NULL }, { 0 },
};
static const struct step edits[] = {
	{ "APPEND @s ab", ":2", NULL }, { "APPEND @s cdef", ":6", NULL },
	{ "STRLEN @s", ":6", NULL },
	{ "STRLEN @none", ":0", NULL }, { "GETRANGE @s 1 3", "$bcd", NULL },
	{ "GETRANGE @s -3 -1", "$def", NULL },
	{ "GETRANGE @s 5 2", "$", NULL }, { "SETRANGE @s 3 XY", ":6", NULL },
	{ "GET @s", "$abcXYf", NULL },
	{ "SETRANGE @s -1 a", "-ERR offset is out of range", NULL },
	{ "SETRANGE @z 2 a", ":3", NULL },
	{ "GET @z", "$\\x00\\x00a", NULL }, { "GETSET @s new", "$abcXYf", NULL },
	{ "GETDEL @s", "$new", NULL },
	{ "GET @s", "(nil)", NULL }, { "DEL @z", ":1", NULL }, { 0 },
};
static const struct step expiry[] = {
	{ "SET @e v", "+OK", NULL }, { "TTL @e", ":-1", NULL }, { "TTL @none", ":-2", NULL },
	{ "PTTL @none", ":-2", NULL }, { "EXPIRE @e 100", ":1", NULL }, { "TTL @e", "~100", NULL },
	{ "EXPIRE @none 100", ":0", NULL }, { "PERSIST @e", ":1", NULL },
	{ "PERSIST @e", ":0", NULL },
	{ "TTL @e", ":-1", NULL }, { "EXPIRE @e abc", NOT_INT, NULL },
	{ "SET @e v EX 50", "+OK", NULL },
	{ "TTL @e", "~50", NULL }, { "SET @e w KEEPTTL", "+OK", NULL }, { "TTL @e", "~50", NULL },
	{ "SET @e x", "+OK", NULL }, { "TTL @e", ":-1", NULL }, { "PEXPIREAT @e 1", ":1", NULL },
	{ "GET @e", "(nil)", NULL }, { "EXISTS @e", ":0", NULL }, { "SET @e v", "+OK", NULL },
	{ "EXPIRE @e -1", ":1", NULL }, { "GET @e", "(nil)", NULL }, { 0 },
};
static const struct step expiry_options[] = {
	{ "SET @e v", "+OK", NULL },
	{ "EXPIRE @e 100 XX", ":0", NULL },
	{ "EXPIRE @e 100 NX", ":1", NULL },
	{ "EXPIRE @e 200 NX", ":0", NULL },
	{ "EXPIRE @e 50 GT", ":0", NULL },
	{ "EXPIRE @e 200 GT", ":1", NULL },
	{ "EXPIRE @e 300 LT", ":0", NULL },
	{ "EXPIRE @e 100 LT", ":1", NULL },
	{ "TTL @e", "~100", NULL },
	{ "EXPIRE @e 1 NX XX",
		"-ERR NX and XX, GT or LT options at the same time are not compatible", NULL },
	{ "DEL @e", ":1", NULL },
	{ 0 },
};
static const struct step generic[] = {
	{ "SET @g 1", "+OK", NULL }, { "TYPE @g", "+string", NULL },
	{ "TYPE @none", "+none", NULL },
	{ "RENAME @g @h", "+OK", NULL }, { "GET @h", "$1", NULL },
	{ "RENAME @g @h", "-ERR no such key", NULL },
	{ "SET @g 2", "+OK", NULL }, { "RENAMENX @g @h", ":0", NULL },
	{ "UNLINK @g @h @none", ":2", NULL },
	{ "EXISTS @g @h", ":0", NULL }, { 0 },
};
static const struct step hashes[] = {
	{ "HSET @h f1 a f2 b", ":2", NULL }, { "HSET @h f1 c f3 d", ":1", NULL },
	{ "HGET @h f1", "$c", NULL },
	{ "HGET @h none", "(nil)", NULL }, { "HGET @none f", "(nil)", NULL },
	{ "HLEN @h", ":3", NULL },
	{ "HEXISTS @h f2", ":1", NULL }, { "HMGET @h f1 none f3", "[$c (nil) $d]", NULL },
	{ "HDEL @h f1 f2 none", ":2", NULL }, { "HGETALL @h", "[$f3 $d]", "{$f3 $d}" },
	{ "HINCRBY @h n 5", ":5", NULL },
	{ "HINCRBY @h f3 1", "-ERR hash value is not an integer", NULL },
	{ "HSET @h f v g", "-ERR wrong number of arguments for 'hset' command", NULL },
	{ "TYPE @h", "+hash", NULL },
	{ "HDEL @h f3 n", ":2", NULL }, { "EXISTS @h", ":0", NULL }, { 0 },
};
static const struct step wrong_types[] = {
	{ "SET @s v", "+OK", NULL }, { "HSET @h f v", ":1", NULL }, { "GET @h", WRONGTYPE, NULL },
	{ "HGET @s f", WRONGTYPE, NULL }, { "HSET @s f v", WRONGTYPE, NULL },
	{ "INCR @h", WRONGTYPE, NULL },
	{ "APPEND @h x", WRONGTYPE, NULL }, { "MGET @h @s", "[(nil) $v]", NULL },
	{ "SET @h plain", "+OK", NULL },
	{ "GET @h", "$plain", NULL }, { "DEL @s @h", ":2", NULL }, { 0 },
};

static void follow_table(void)
{
	const struct step *steps = kit_table;
	struct purser_ctx *x;
	struct purser_session *s;

	for (const struct step *t = steps; t->words; t++)
		if (!call_known(t->words))
			kit_skip("no %.*s", (int)strcspn(t->words, " "), t->words);
	x = rig_ctx();
	s = session_new(x);
	for (unsigned resp = 2; resp <= 3; resp++)
		for (const struct step *t = steps; t->words; t++)
			expect(s, resp, 0, t->words, resp == 3 && t->resp3 ? t->resp3 : t->resp2);
	session_free(s);
	rig_done(x);
}

/* ---- SCAN: every key that is there from beginning to end is told ----------------------------- */

enum { SCAN_KEYS = 500 };

/* Marks the keys of a SCAN reply, "[$cursor [$key ...]]"; the next cursor. */
static uint64_t mark(const char *text, const char *prefix, bool seen[SCAN_KEYS])
{
	uint64_t cursor = strtoull(text + 2, NULL, 10);
	const char *at = text;
	size_t plen = strlen(prefix);

	while ((at = strstr(at, prefix))) {
		at += plen;
		if (strncmp(at, "scan", 4) == 0) {
			unsigned long n = strtoul(at + 4, NULL, 10);

			if (n < SCAN_KEYS)
				seen[n] = true;
		}
	}
	return cursor;
}

static void scan_is_complete(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);
	bool seen[SCAN_KEYS] = { false };
	uint64_t cursor = 0;
	unsigned rounds = 0;
	char words[160];

	for (int n = 0; n < SCAN_KEYS; n++) {
		snprintf(words, sizeof(words), "SET @scan%d v", n);
		call(s, 2, words);
	}
	ctx_settle(x);
	do {
		const char *text;

		snprintf(words, sizeof(words), "SCAN %llu MATCH %s* COUNT 17",
			(unsigned long long)cursor, x->inst->prefix);
		text = run(s, 2, words);
		if (text[0] != '[' || text[1] != '$')
			kit_stop(0, "SCAN gave %.200s", text);
		cursor = mark(text, x->inst->prefix, seen);
		snprintf(words, sizeof(words), "SET @extra%u v",
			rounds); /* the table grows meanwhile */
		run(s, 2, words);
		if (++rounds > 100000)
			kit_stop(0, "SCAN does not come to an end");
	} while (cursor);
	for (int n = 0; n < SCAN_KEYS; n++)
		if (!seen[n])
			kit_blame(0, "SCAN did not tell the key scan%d", n);
	expect(s, 2, 0, "SCAN abc", "-ERR invalid cursor");
	expect(s, 2, 0, "SCAN 0 COUNT 0", SYNTAX);
	session_free(s);
	rig_done(x);
}

/* Real time passes here as in the store: short, and only where the store's clock is its own. */
static bool is_gone(void *arg)
{
	return strcmp(run(arg, 2, "GET @t"), "(nil)") == 0;
}

static void expires_in_time(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);

	expect(s, 2, 0, "SET @t v PX 50", "+OK");
	if (!ctx_until(x, is_gone, s))
		kit_blame(0, "a key with 50 ms to live is still there after %d s", kit.patience);
	session_free(s);
	rig_done(x);
}

#define KV PURSER_CAP_KV
const struct kit_test rules_semantic[] = {
	{ 0, "GET SET DEL EXISTS", KV, NEEDS_STORE, NULL, follow_table, strings },
	{ 0, "options of SET", KV | PURSER_CAP_TTL, NEEDS_STORE, NULL, follow_table, options },
	{ 0, "INCR", KV, NEEDS_STORE, NULL, follow_table, counters },
	{ 0, "DECR INCRBY DECRBY", KV, NEEDS_STORE, NULL, follow_table, counters_by },
	{ 0, "MSET MGET", KV, NEEDS_STORE, NULL, follow_table, many },
	{ 0, "APPEND STRLEN GETRANGE SETRANGE GETSET GETDEL", KV, NEEDS_STORE, NULL, follow_table,
		edits },
	{ 0, "TYPE RENAME UNLINK", KV, NEEDS_STORE, NULL, follow_table, generic },
	{ 0, "TTL EXPIRE PERSIST PEXPIREAT", PURSER_CAP_TTL, NEEDS_STORE, NULL, follow_table,
		expiry },
	{ 0, "options of EXPIRE", PURSER_CAP_TTL, NEEDS_STORE, NULL, follow_table, expiry_options },
	{ 0, "keys do expire", PURSER_CAP_TTL, NEEDS_STORE, "GET SET", expires_in_time, NULL },
	{ 0, "SCAN tells every key", PURSER_CAP_SCAN, NEEDS_STORE, "SCAN SET", scan_is_complete,
		NULL },
	{ 0, "hashes", PURSER_CAP_HASH, NEEDS_STORE, NULL, follow_table, hashes },
	{ 0, "commands on the wrong type", KV | PURSER_CAP_HASH, NEEDS_STORE, NULL, follow_table,
		wrong_types },
	{ 0, NULL, 0, 0, NULL, NULL, NULL },
};
