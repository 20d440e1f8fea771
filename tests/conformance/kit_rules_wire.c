/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: what plugins with a link of their own owe: the store is the kit's own and breaks at will
 * (kit_fake.c).  It answers GET with the key's name, so that every reply shows whose it is.
 */
#include <config.h>
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake *f;

static struct purser_ctx *fake_ctx(void)
{
	f = fake_new();
	return ctx_open(rig_start(fake_url(f)));
}

static void fake_done(struct purser_ctx *x)
{
	struct purser_instance *i = x->inst;

	ctx_settle(x);
	ctx_close(x);
	rig_stop(i);
	fake_free(f);
}

/* GET @name, and what it must say: its own key. */
static struct kcall *get(struct purser_session *s, const char *name)
{
	char words[96];

	snprintf(words, sizeof(words), "GET @%s", name);
	return call(s, 2, words);
}

static void want_echo(struct kcall *k, int rule)
{
	char text[160];

	call_wait(k);
	snprintf(text, sizeof(text), "$%.*s", (int)k->argv[1].n, (const char *)k->argv[1].p);
	if (strcmp(call_text(k), text) != 0)
		kit_blame(rule, "call #%u (GET of %s) gave %.200s", k->id, text + 1, call_text(k));
}

/* Until a call goes through: connected, again if need be.  Back-off passes by the injected clock.
 */
static void warm(struct purser_session *s)
{
	struct kcall *k;

	for (int n = 0; n < 200; n++) {
		k = get(s, "warm");
		for (int turn = 0; turn < 2000 && k->state != CALL_ENDED; turn++) {
			ctx_turn(s->x, 1);
			if (k->state == CALL_QUEUED)
				ctx_back_off(s->x, 20);
		}
		call_wait(k);
		if (!k->failed) {
			want_echo(k, 8);
			return;
		}
		if (k->executed != PURSER_NOT_EXECUTED)
			kit_blame(9, "a link that was gone before the call: %s", call_text(k));
		ctx_back_off(s->x, 500);
	}
	kit_stop(12, "the plugin does not come back to a store that is there again");
}

struct arrival {
	uint64_t commands;
};

static bool arrived(void *arg)
{
	return fake_seen(f).commands >= ((struct arrival *)arg)->commands;
}

/* Until the store has n more whole commands than before. */
static void until_seen(struct purser_ctx *x, uint64_t n)
{
	struct arrival a = { n };

	if (!ctx_until(x, arrived, &a))
		kit_stop(12, "only %llu of %llu commands reached the store",
		    (unsigned long long)fake_seen(f).commands, (unsigned long long)n);
}

static const char *outcome(const struct kcall *k)
{
	static const char *const names[] = { "?", "NOT", "MAYBE", "EXECUTED" };

	return !k->failed ? "no failure" : names[k->executed < 4 ? k->executed : 0];
}

/* ---- 1, 2, 11 -------------------------------------------------------------------------------- */

static void no_own_retry(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);
	struct kcall *k;
	uint64_t before;

	for (int n = 0; n < 5; n++) {
		char words[64], value[32];

		warm(s);
		before = fake_seen(f).commands;
		fake_hold(f, true);
		snprintf(value, sizeof(value), "value%d", n);
		snprintf(words, sizeof(words), "SET @once %s", value);
		k = call(s, 2, words);
		until_seen(x, before + 1);
		fake_cut_all(f);
		fake_hold(f, false);
		call_wait(k);
		if (!k->failed || k->executed != PURSER_MAYBE_EXECUTED)
			kit_blame(9, "a command that arrived whole, unanswered: %s", call_text(k));
		warm(s);
		if (fake_times(f, value) != 1)
			kit_blame(1, "one call came to the store %u times", fake_times(f, value));
	}
	fake_done(x);
}

static void lost_link(void)
{
	enum { SESSIONS = 3, CALLS = 60 };
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s[SESSIONS];
	struct kcall *k[CALLS];
	char name[32];

	for (int i = 0; i < SESSIONS; i++)
		s[i] = session_new(x);
	for (int round = 0; round < 5; round++) {
		uint64_t before;

		warm(s[0]);
		before = fake_seen(f).commands;
		fake_hold(f, true);
		for (int n = 0; n < CALLS; n++) {
			snprintf(name, sizeof(name), "r%d.%d", round, n);
			k[n] = get(s[n % SESSIONS], name);
		}
		until_seen(x, before + CALLS);
		fake_cut_all(f);
		fake_hold(f, false);
		ctx_settle(x);
		for (int n = 0; n < CALLS; n++) {
			if (k[n]->executed != PURSER_MAYBE_EXECUTED)
				kit_blame(9,
					"call %d of %d on a lost link, all sent, unanswered: %s", n,
					CALLS, call_text(k[n]));
			if (n >= SESSIONS && k[n]->ended_as < k[n - SESSIONS]->ended_as)
				kit_blame(11, "a lost link did not end its calls in order");
		}
		for (int n = 0; n < CALLS; n++) /* the sessions go on */
			k[n] = get(s[n % SESSIONS], "again");
		ctx_settle(x);
	}
	fake_done(x);
}

static void died_idle(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);

	for (int n = 0; n < 20; n++) {
		struct kcall *k;

		warm(s);
		fake_cut_all(f);
		if (n % 2)
			ctx_turn(x, 1); /* it may notice first, or not */
		k = get(s, "idle");
		call_wait(k);
		if (k->failed && k->executed != PURSER_NOT_EXECUTED)
			kit_blame(9, "the link was closed before the call was offered: %s",
				call_text(k));
	}
	fake_done(x);
}

/* ---- 7, 8 ------------------------------------------------------------------------------------ */

static void skipped_replies(void)
{
	static const char caching[] = "*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n";
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);
	struct kcall *k[60];

	for (int n = 0; n < 60; n++) {
		char words[32];
		struct buf wire = { 0 };

		snprintf(words, sizeof(words), "GET @skip%d", n);
		k[n] = call_new(s, 2, words);
		for (k[n]->skip = 0; k[n]->skip < (uint32_t)n % 3; k[n]->skip++)
			buf_puts(&wire, caching);
		buf_put(&wire, buf_data(&k[n]->wire), buf_len(&k[n]->wire));
		buf_free(&k[n]->wire);
		k[n]->wire = wire;
		if (n == 30)
			fake_drip(f, true);
		call_offer(k[n]);
	}
	for (int n = 0; n < 60; n++)
		want_echo(k[n], 7);
	fake_done(x);
}

static const struct said {
	unsigned resp;
	const char *bytes, *text;
} replies[] = {
	{ 2, "$5\r\nhello\r\n", "$hello" }, { 2, "$0\r\n\r\n", "$" }, { 2, "$-1\r\n", "(nil)" },
	{ 2, "$2\r\n\r\n\r\n", "$\\x0d\\x0a" }, { 2, ":-42\r\n", ":-42" },
	{ 2, "+fine\r\n", "+fine" },
	{ 2, "*0\r\n", "[]" }, { 2, "*-1\r\n", "(nil)" },
	{ 2, "*3\r\n$1\r\na\r\n:5\r\n*2\r\n+x\r\n$-1\r\n", "[$a :5 [+x (nil)]]" },
	{ 2, "*2\r\n-ERR inner\r\n:1\r\n", "[-ERR inner :1]" }, { 2, "-ERR no\r\n", "-ERR no" },
	{ 2, "-WRONGTYPE of some kind\r\n", "-WRONGTYPE of some kind" }, { 3, "_\r\n", "(nil)" },
	{ 3, "#t\r\n", "#t" }, { 3, ",1.5\r\n", ",1.5" },
	{ 3, "(12345678901234567890\r\n", "(12345678901234567890" },
	{ 3, "%2\r\n+k\r\n:1\r\n$1\r\nl\r\n*1\r\n_\r\n", "{+k :1 $l [(nil)]}" },
	{ 3, "~2\r\n:1\r\n:2\r\n", "<:1 :2>" },
	{ 3, "=7\r\ntxt:abc\r\n", "$txt:abc" }, { 3, "-ERR three\r\n", "-ERR three" },
	{ 3, "!8\r\nERR blob\r\n", "-ERR blob" },
};

static void replies_in_pieces(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);

	for (int drip = 0; drip < 2; drip++) {
		fake_drip(f, drip);
		for (size_t i = 0; i < sizeof(replies) / sizeof(*replies); i++) {
			struct kcall *k;

			fake_answer(f, "EXISTS", replies[i].bytes);
			k = call(s, replies[i].resp, "EXISTS @x");
			call_wait(k);
			if (strcmp(call_text(k), replies[i].text) != 0)
				kit_blame(8, "the store said %s and the plugin %s", replies[i].text,
					call_text(k));
			want_echo(get(s, "next"), 8);
		}
	}
	fake_done(x);
}

static void nonsense(void)
{
	static const char *const bytes[] = { "hello\r\n", "$abc\r\n", "$-2\r\n", "$3\r\nabcd\r\n",
		"*1\r\n?\r\n", ":12x\r\n", "$99999999999999999999\r\n", "*99999999999\r\n",
		"+OK\n\r\n\r\n", "\r\n" };
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);

	for (size_t i = 0; i < sizeof(bytes) / sizeof(*bytes); i++) {
		struct kcall *k;

		warm(s);
		fake_answer(f, "EXISTS", bytes[i]);
		k = call(s, 2, "EXISTS @x");
		call_wait(k);
		if (!k->failed || k->executed == PURSER_NOT_EXECUTED)
			kit_blame(8,
				"the store answered nonsense (%zu), and the plugin made of it: %s",
				i, call_text(k));
		else if (k->code != PURSER_E_PROTOCOL)
			kit_blame(9,
				"the store answered nonsense (%zu), and the plugin calls it %s", i,
				call_text(k));
	}
	warm(s);
	fake_done(x);
}

/* ---- 9 --------------------------------------------------------------------------------------- */

/* The outcome of a command of which the store read n of len bytes before it hung up. */
static void judge_cut(const struct kcall *k, int64_t n, int64_t len)
{
	if (!k->failed)
		kit_blame(1, "cut after byte %lld of %lld, and the call went through: %.60s",
			(long long)n, (long long)len, call_text((struct kcall *)(uintptr_t)k));
	else if (k->executed == PURSER_EXECUTED)
		kit_blame(9, "cut after byte %lld of %lld, no reply: EXECUTED", (long long)n,
			(long long)len);
	else if (n == len && k->executed == PURSER_NOT_EXECUTED)
		kit_blame(9, "the store had all %lld bytes: NOT executed", (long long)len);
	else if (len - n > 1 << 20 &&
		 k->executed != PURSER_NOT_EXECUTED) /* more than a socket can hold */
		kit_blame(9, "the last of %lld bytes cannot have left, %lld were read: %s",
			(long long)len, (long long)n, outcome(k));
}

static void cut_commands(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);
	int64_t len = 1;

	for (int64_t n = 0; n <= len; n++) {
		struct kcall *k;

		warm(s);
		fake_cut_in(f, n);
		k = call(s, 2, "SET @cut value");
		len = (int64_t)buf_len(&k->wire);
		call_wait(k);
		if (!fake_has_cut(f))
			kit_stop(0, "the kit could not cut the link: %s", call_text(k));
		judge_cut(k, n, len);
	}
	warm(s);
	fake_done(x);
}

static struct kcall *set_large(struct purser_session *s, size_t n)
{
	uint8_t *bytes = malloc(n);
	purser_bytes argv[3] = { { (const uint8_t *)"SET", 3 }, { (const uint8_t *)"@large", 6 },
		{ bytes, n } };
	struct kcall *k;

	memset(bytes, 'x', n);
	k = call_args(s, 2, argv, 3);
	free(bytes);
	call_offer(k);
	return k;
}

static void cut_large(void)
{
	static const int64_t at[] = { 0, 1, 2, 13, 30, 60, 100, 4096, 65536, 1 << 20, 3 << 20,
		-1000, -2, -1, 0 };
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);

	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		struct kcall *k;
		int64_t n, len;

		for (int tries = 0; tries < 20;
			tries++) { /* the large value's link has served, too */
			warm(s);
			call_wait(k = set_large(s, 5 << 20));
			if (!k->failed)
				break;
		}
		len = (int64_t)buf_len(&k->wire);
		n = at[i] < 0 || (i && at[i] == 0) ? len + at[i] : at[i];
		fake_cut_in(f, n);
		k = set_large(s, 5 << 20);
		call_wait(k);
		if (fake_has_cut(f))
			judge_cut(k, n, len);
		else if (k->failed)
			kit_blame(9, "the store did not cut, and the plugin says %s", call_text(k));
		fake_cut_in(f, -1);
	}
	warm(s);
	fake_done(x);
}

static void cut_replies(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);
	int64_t len = 1;

	for (int64_t n = 0; n <= len; n++) {
		struct kcall *k;

		warm(s);
		fake_cut_out(f, n);
		k = get(s, "reply");
		len = snprintf(NULL, 0, "$%zu\r\n", k->argv[1].n) + (int64_t)k->argv[1].n + 2;
		call_wait(k);
		if (n == len)
			want_echo(k, 9);
		else if (!k->failed)
			kit_blame(9,
				"%lld of %lld bytes of a reply came, and the call went through: %s",
				(long long)n, (long long)len, call_text(k));
		else if (k->executed == PURSER_NOT_EXECUTED ||
			 (n == 0 && k->executed == PURSER_EXECUTED))
			kit_blame(9, "%lld of %lld bytes of a reply came: %s", (long long)n,
				(long long)len, outcome(k));
	}
	warm(s);
	fake_done(x);
}

static void cut_batches(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);
	int64_t len = 1;

	for (int64_t n = 0; n <= len; n++) {
		struct kcall *parts[2], *k;

		warm(s);
		fake_cut_in(f, n);
		parts[0] = call_new(s, 2, "SET @a 1");
		parts[1] = call_new(s, 2, "SET @b 2");
		k = call_batch(s, 2, parts, 2);
		len = (int64_t)buf_len(&k->wire);
		call_offer(k);
		call_wait(k);
		if (!fake_has_cut(f))
			kit_stop(0, "the kit could not cut the link: %s", call_text(k));
		judge_cut(k, n, len);
	}
	warm(s);
	fake_done(x);
}

const struct kit_test rules_wire[] = {
	{ 1, "no retry of its own", 0, NEEDS_FAKE, "GET SET", no_own_retry, NULL },
	{ 2, "a link that dies while idle", 0, NEEDS_FAKE, "GET", died_idle, NULL },
	{ 7, "replies to be skipped", 0, NEEDS_FAKE, "GET", skipped_replies, NULL },
	{ 8, "replies whole and byte by byte", 0, NEEDS_FAKE, "GET EXISTS", replies_in_pieces,
		NULL },
	{ 8, "a store that answers nonsense", 0, NEEDS_FAKE, "GET EXISTS", nonsense, NULL },
	{ 9, "a command cut at every byte", 0, NEEDS_FAKE, "GET SET", cut_commands, NULL },
	{ 9, "a large command cut here and there", 0, NEEDS_FAKE, "GET SET", cut_large, NULL },
	{ 9, "a reply cut at every byte", 0, NEEDS_FAKE, "GET", cut_replies, NULL },
	{ 11, "a lost link ends its calls in order", 0, NEEDS_FAKE, "GET", lost_link, NULL },
	{ 16, "a batch cut at every byte", PURSER_CAP_BATCH, NEEDS_FAKE, "GET SET", cut_batches,
		NULL },
	{ 0, NULL, 0, 0, NULL, NULL, NULL },
};
