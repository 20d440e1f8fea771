/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: rules 1-4, 6-8, 10, 12, 16: calls, arguments, replies, order, batches, on the plugin's own
 * store. Most findings come from the host table itself (kit_host.c); these tests make the traffic.
 */
#include <config.h>
#include "kit.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/command.h"

static void want(struct kcall *k, int rule, const char *text)
{
	call_wait(k);
	if (strcmp(call_text(k), text) != 0)
		kit_blame(rule, "call #%u (%s) gave %.300s instead of %.200s", k->id, k->name,
			call_text(k), text);
}

/* SET @key <value> with a value of any bytes. */
static struct kcall *set_bytes(struct purser_session *s, purser_bytes key, purser_bytes value)
{
	purser_bytes argv[3] = { { (const uint8_t *)"SET", 3 }, key, value };
	struct kcall *k = call_args(s, 2, argv, 3);

	call_offer(k);
	return k;
}

static struct kcall *get_bytes(struct purser_session *s, unsigned resp, purser_bytes key)
{
	purser_bytes argv[2] = { { (const uint8_t *)"GET", 3 }, key };
	struct kcall *k = call_args(s, resp, argv, 2);

	call_offer(k);
	return k;
}

/* Does the reply of k carry exactly value? */
static void want_bytes(struct kcall *k, int rule, purser_bytes value)
{
	struct buf head = { 0 };
	const struct buf *got = &k->reply.bytes;
	size_t n;

	call_wait(k);
	buf_printf(&head, "$%zu\r\n", value.n);
	n = buf_len(&head);
	if (k->failed || k->reply.form == FORM_ERROR)
		kit_blame(rule, "call #%u (%s) gave %.300s", k->id, k->name, call_text(k));
	else if (buf_len(got) != n + value.n + 2 ||
		 memcmp(buf_data(got), buf_data(&head), n) != 0 ||
		 memcmp(buf_data(got) + n, value.p, value.n) != 0)
		kit_blame(rule, "a value of %zu bytes came back changed", value.n);
	buf_free(&head);
}

/* ---- 1 --------------------------------------------------------------------------------------- */

static void one_by_one(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);

	for (unsigned resp = 2; resp <= 3; resp++) {
		expect(s, resp, 1, "SET @k v1", "+OK");
		expect(s, resp, 1, "GET @k", "$v1");
		expect(s, resp, 1, "GET @none", "(nil)");
	}
	session_free(s);
	rig_done(x);
}

/* ---- 2 --------------------------------------------------------------------------------------- */

static void many_at_once(void)
{
	enum { SESSIONS = 8, EACH = 125 };
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s[SESSIONS];
	char words[64];

	for (int i = 0; i < SESSIONS; i++)
		s[i] = session_new(x);
	for (int n = 0; n < EACH; n++) {
		for (int i = 0; i < SESSIONS; i++) {
			snprintf(words, sizeof(words), n % 2 ? "GET @k%d" : "SET @k%d v", i);
			call(s[i], 2, words);
		}
	}
	ctx_settle(x);
	if (x->accepted != SESSIONS * EACH)
		kit_blame(2, "%u calls were offered and %u taken", SESSIONS * EACH, x->accepted);
	for (struct kcall *k = x->calls; k; k = k->next)
		want(k, 2, strcmp(k->name, "SET") == 0 ? "+OK" : "$v");
	for (int i = 0; i < SESSIONS; i++)
		session_free(s[i]);
	rig_done(x);
}

static void shutdown_at_once(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_instance *i = x->inst;
	struct purser_session *s = session_new(x);

	for (int n = 0; n < 200; n++)
		call(s, 2, "GET @k");
	ctx_close(x); /* what the plugin has not taken is the host's to refuse; the rest must end */
	rig_stop(i);
}

static void nothing_at_all(void)
{
	for (int n = 0; n < 3; n++) {
		struct purser_ctx *x = rig_ctx();
		struct purser_instance *i = x->inst;

		ctx_turn(x, 0);
		ctx_close(x);
		rig_stop(i);
	}
}

/* ---- 3 --------------------------------------------------------------------------------------- */

static void arguments_go_away(void)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 15, 16, 23, 24, 44, 45, 64, 255, 256, 1000,
		4096, 65536 };
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);
	enum { N = sizeof(sizes) / sizeof(*sizes) };
	uint8_t *bytes = malloc(65536);
	char key[N][32];

	for (size_t i = 0; i < 65536; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 256);
	for (size_t i = 0; i < N; i++) {
		snprintf(key[i], sizeof(key[i]), "@size%zu", sizes[i]);
		call_wait(set_bytes(s, (purser_bytes){ (uint8_t *)key[i], strlen(key[i]) },
		    (purser_bytes){ bytes, sizes[i] }));
	}
	for (size_t i = 0; i < N; i++)
		want_bytes(get_bytes(s, 2, (purser_bytes){ (uint8_t *)key[i], strlen(key[i]) }), 3,
		    (purser_bytes){ bytes, sizes[i] });
	free(bytes);
	session_free(s);
	rig_done(x);
}

static void sessions_go_away(void)
{
	struct purser_ctx *x = rig_ctx();

	for (int n = 0; n < 50; n++) {
		struct purser_session *s = session_new(x);

		if (n > 0)
			expect(s, 2, 3, "GET @k", "$v");
		expect(s, 2, 3, "SET @k v", "+OK");
		session_free(s);
	}
	rig_done(x);
}

/* ---- 4 --------------------------------------------------------------------------------------- */

static unsigned chain_left;

/* The next call is queued from inside end(); the plugin sees it when it has returned. */
static void follow(struct kcall *k)
{
	struct kcall *next;

	if (chain_left == 0)
		return;
	chain_left--;
	next = call_new(k->s, 2, chain_left % 3 ? "GET @k" : "SET @k v");
	next->on_end = follow;
	call_offer(next);
}

static bool chain_over(void *arg)
{
	struct purser_ctx *x = arg;

	return chain_left == 0 && x->accepted == x->ended;
}

static void follow_ups(void)
{
	struct purser_ctx *x = rig_ctx();

	chain_left = 500;
	for (int n = 0; n < 3; n++) {
		struct kcall *k = call_new(session_new(x), 2, "SET @k v");

		k->on_end = follow;
		call_offer(k);
	}
	if (!ctx_until(x, chain_over, x))
		kit_stop(4, "calls that follow on the end of others stopped, %u are left",
			chain_left);
	rig_done(x);
}

/* ---- 6 --------------------------------------------------------------------------------------- */

/* May the kit try it on a store that may be somebody's? */
static bool harmless(const struct command *c)
{
	if (c->flags & (F_ADMIN | F_PUBSUB | F_BLOCKING | F_CONTAINER) || c->run == RUN_LOCAL)
		return false;
	return !(c->flags & F_WRITE) || c->first > 0;
}

static struct kcall *least_call(struct purser_session *s, const struct command *c)
{
	uint32_t argc = (uint32_t)(c->arity < 0 ? -c->arity : c->arity), at = 1;
	purser_bytes argv[16];
	char name[64], *bar;
	uint32_t keys[16], nkeys;

	if (argc > 16)
		return NULL;
	for (uint32_t i = 0; i < argc; i++)
		argv[i] = (purser_bytes){ (const uint8_t *)"1", 1 };
	snprintf(name, sizeof(name), "%s", c->name);
	argv[0] = (purser_bytes){ (uint8_t *)name, strlen(name) };
	bar = strchr(name, '|');
	if (bar) {
		argv[0].n = (size_t)(bar - name);
		argv[at] = (purser_bytes){ (uint8_t *)bar + 1, strlen(bar + 1) };
	}
	nkeys = cmd_keys(c, argv, argc, keys);
	for (uint32_t i = 0; i < nkeys; i++)
		argv[keys[i]] = (purser_bytes){ (const uint8_t *)"@probe", 6 };
	return call_args(s, 2, argv, argc);
}

static void every_command(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);
	static struct cmd_index index;

	cmd_index_build(&index);
	for (uint32_t i = 0; i < kit.pl->p.nops; i++) {
		const char *name = kit.pl->p.ops[i].name;
		const struct command *c = cmd_by_name(&index, name, strlen(name));
		struct kcall *k;

		if (!c || !harmless(c) || !(k = least_call(s, c)))
			continue;
		if (k->op != i)
			kit_stop(0, "the kit found op %u for command %u (%s)", k->op, i, name);
		call_offer(k);
		call_wait(k);
		if (k->failed && k->code == PURSER_E_UNSUPPORTED)
			kit_blame(6, "%s is listed, and the plugin says unsupported", name);
		if (strncmp(call_text(k), "-ERR unknown command", 20) == 0)
			kit_blame(6, "%s is listed, and the plugin does not know it", name);
	}
	session_free(s);
	rig_done(x);
}

static void unlisted_command(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);

	expect(s, 2, 6, "ECHO hello", "$hello");
	session_free(s);
	rig_done(x);
}

/* ---- 7 --------------------------------------------------------------------------------------- */

static void any_bytes(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);
	uint8_t all[257] = "@";
	purser_bytes key = { all, 257 }, value = { all + 1, 256 }, *words;
	char nth[300][16];
	struct kcall *k;

	for (int i = 0; i < 256; i++)
		all[1 + i] = (uint8_t)(255 - i);
	want(set_bytes(s, key, value), 7, "+OK");
	want_bytes(get_bytes(s, 2, key), 7, value);
	want_bytes(get_bytes(s, 3, key), 7, value);
	want(set_bytes(s, (purser_bytes){ (const uint8_t *)"@", 1 }, value), 7,
		"+OK"); /* the empty name */
	want_bytes(get_bytes(s, 2, (purser_bytes){ (const uint8_t *)"@", 1 }), 7, value);
	words = calloc(301, sizeof(*words));
	words[0] = (purser_bytes){ (const uint8_t *)"DEL", 3 };
	for (int i = 0; i < 300; i++) {
		snprintf(nth[i], sizeof(nth[i]), "@n%d", i);
		words[i + 1] = (purser_bytes){ (uint8_t *)nth[i], strlen(nth[i]) };
	}
	words[300] = key;
	if (call_known("DEL")) {
		k = call_args(s, 2, words, 301);
		call_offer(k);
		want(k, 7, ":1");
	}
	free(words);
	session_free(s);
	rig_done(x);
}

static void large_argument(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x), *other = session_new(x);
	size_t n = 3 << 20;
	uint8_t *bytes = malloc(n);
	purser_bytes key = { (const uint8_t *)"@large", 6 }, value = { bytes, n };
	struct kcall *k;

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 1000);
	k = set_bytes(s, key, value);
	for (int i = 0; i < 20; i++)
		call(other, 2, i % 2 ? "GET @small" : "SET @small v");
	want(k, 7, "+OK");
	for (int i = 0; i < 2; i++) {
		k = get_bytes(s, 2, key);
		call(other, 2, "GET @small");
		want_bytes(k, 7, value);
	}
	ctx_settle(x);
	free(bytes);
	session_free(s);
	session_free(other);
	rig_done(x);
}

/* ---- 8 --------------------------------------------------------------------------------------- */

static void reply_forms(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);

	for (unsigned resp = 0; resp <= 3; resp += resp ? 1 : 2) {
		expect(s, resp, 8, "SET @k v", "+OK");
		expect(s, resp, 8, "GET @k", "$v");
		expect(s, resp, 8, "GET @none", "(nil)");
		expect(s, resp, 8, "SET @e ''", "+OK");
		expect(s, resp, 8, "GET @e", "$");
	}
	if (call_known("HSET") && call_known("HGETALL")) {
		expect(s, 2, 8, "HSET @h f v", ":1");
		expect(s, 2, 8, "HGETALL @h", "[$f $v]");
		expect(s, 3, 8, "HGETALL @h", "{$f $v}");
		expect(s, 2, 8, "HGETALL @none", "[]");
		expect(s, 3, 8, "HGETALL @none", "{}");
	}
	if (call_known("MGET"))
		expect(s, 3, 8, "MGET @k @none @e", "[$v (nil) $]");
	session_free(s);
	rig_done(x);
}

static void error_replies(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x);

	for (unsigned resp = 2; resp <= 3; resp++) {
		struct kcall *k;

		expect(s, resp, 8, "SET @k text", "+OK");
		k = call(s, resp, "SET @k v NONSENSE");
		call(s, resp, "GET @k");
		want(k, 8, "-ERR syntax error");
		if (k->reply.form != FORM_ERROR)
			kit_blame(8, "an error was not given by error()");
		expect(s, resp, 8, "GET @k", "$text");
	}
	session_free(s);
	rig_done(x);
}

/* ---- 10 -------------------------------------------------------------------------------------- */

static void session_order(void)
{
	enum { SESSIONS = 5, PAIRS = 100 };
	struct purser_ctx *x = rig_ctx();
	struct kcall *gets[SESSIONS][PAIRS];
	struct purser_session *s[SESSIONS];
	char words[64];

	for (int i = 0; i < SESSIONS; i++)
		s[i] = session_new(x);
	for (int n = 0; n < PAIRS; n++) {
		for (int i = 0; i < SESSIONS; i++) {
			snprintf(words, sizeof(words), "SET @order%d %d", i, n);
			call(s[i], 2, words);
			snprintf(words, sizeof(words), "GET @order%d", i);
			gets[i][n] = call(s[i], 2, words);
		}
		if (n % 17 == 0)
			ctx_turn(x, 0);
	}
	for (int i = 0; i < SESSIONS; i++) {
		for (int n = 0; n < PAIRS; n++) {
			snprintf(words, sizeof(words), "$%d", n);
			want(gets[i][n], 10, words);
		}
		session_free(s[i]);
	}
	rig_done(x);
}

/* ---- 15 -------------------------------------------------------------------------------------- */

static void cancel_some(void)
{
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s[4];
	struct kcall *k[200];
	char words[32];

	for (int i = 0; i < 4; i++)
		s[i] = session_new(x);
	for (int n = 0; n < 200; n++) {
		snprintf(words, sizeof(words), "SET @c%d %d", n, n);
		k[n] = call(s[n % 4], 2, words);
	}
	for (int n = 0; n < 200; n += 3)
		call_cancel(k[n], 1 + n % 3); /* every reason that there is */
	ctx_settle(x);
	for (int n = 0; n < 200; n++)
		if (n % 3 != 0)
			want(k[n], 15, "+OK");
	for (int n = 0; n < 200; n++) { /* replies of cancelled calls have gone to nobody else */
		snprintf(words, sizeof(words), "GET @c%d", n);
		k[n] = call(s[n % 4], 2, words);
	}
	for (int n = 0; n < 200; n++) {
		snprintf(words, sizeof(words), "$%d", n);
		call_wait(k[n]);
		if (n % 3 != 0)
			want(k[n], 15, words);
	}
	rig_done(x);
}

/* ---- 16 -------------------------------------------------------------------------------------- */

static struct kcall *batch(
	struct purser_session *s, unsigned resp, const char *const *words, uint32_t n)
{
	struct kcall *parts[8], *k;

	for (uint32_t i = 0; i < n; i++)
		parts[i] = call_new(s, resp, words[i]);
	k = call_batch(s, resp, parts, n);
	call_offer(k);
	return k;
}

static void batches(void)
{
	static const char *const good[] = { "SET @b 1", "GET @b", "SET @b 2", "GET @b" };
	static const char *const bad[] = { "SET @b text", "SET @b v NONSENSE", "GET @b" };
	struct purser_ctx *x = rig_ctx();
	struct purser_session *s = session_new(x), *other = session_new(x);

	for (unsigned resp = 2; resp <= 3; resp++) {
		want(batch(s, resp, good, 4), 16, "[+OK $1 +OK $2]");
		want(batch(s, resp, bad, 3), 16, "[+OK -ERR syntax error $text]");
		want(batch(s, resp, good, 1), 16, "[+OK]");
	}
	for (int n = 0; n < 50; n++) { /* among calls of others */
		call(other, 2, "SET @b 7");
		batch(s, 2, good, 4);
	}
	ctx_settle(x);
	for (struct kcall *k = x->calls; k; k = k->next)
		if (k->nparts == 4)
			want(k, 16, "[+OK $1 +OK $2]");
	session_free(s);
	session_free(other);
	rig_done(x);
}

const struct kit_test rules_calls[] = {
	{ 1, "one command after the other", 0, NEEDS_STORE, "GET SET", one_by_one, NULL },
	{ 2, "a thousand calls at once", 0, NEEDS_STORE, "GET SET", many_at_once, NULL },
	{ 2, "closed with calls pending", 0, NEEDS_STORE, "GET", shutdown_at_once, NULL },
	{ 2, "opened and closed without a call", 0, NEEDS_STORE, NULL, nothing_at_all, NULL },
	{ 3, "arguments are gone after the end", 0, NEEDS_STORE, "GET SET", arguments_go_away,
		NULL },
	{ 3, "sessions are gone after session_end", 0, NEEDS_STORE, "GET SET", sessions_go_away,
		NULL },
	{ 4, "calls that follow on the end of others", 0, NEEDS_STORE, "GET SET", follow_ups,
		NULL },
	{ 6, "every listed command is answered", 0, NEEDS_STORE, NULL, every_command, NULL },
	{ 6, "a command that is not listed", PURSER_CAP_ANY_COMMAND, NEEDS_STORE, NULL,
		unlisted_command, NULL },
	{ 7, "any bytes, the empty name, many arguments", 0, NEEDS_STORE, "GET SET", any_bytes,
		NULL },
	{ 7, "a large value among small ones", 0, NEEDS_STORE, "GET SET", large_argument, NULL },
	{ 8, "forms of RESP2 and RESP3", 0, NEEDS_STORE, "GET SET", reply_forms, NULL },
	{ 8, "errors come through error()", 0, NEEDS_STORE, "GET SET", error_replies, NULL },
	{ 10, "a session reads what it wrote", 0, NEEDS_STORE, "GET SET", session_order, NULL },
	{ 15, "cancelled calls end, others are not disturbed", 0, NEEDS_STORE, "GET SET",
		cancel_some, NULL },
	{ 16, "batches", PURSER_CAP_BATCH, NEEDS_STORE, "GET SET", batches, NULL },
	{ 0, NULL, 0, 0, NULL, NULL, NULL },
};
