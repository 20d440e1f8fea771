/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: rules 2, 10 and 12-15 for plugins with a link of their own: windows, stores that are away,
 * routes, back-pressure, cancelled calls.
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

static struct kcall *get(struct purser_session *s, int n)
{
	char words[32];

	snprintf(words, sizeof(words), "GET @%d", n);
	return call(s, 2, words);
}

static bool is_echo(struct kcall *k)
{
	char text[160];

	snprintf(text, sizeof(text), "$%.*s", (int)k->argv[1].n, (const char *)k->argv[1].p);
	return strcmp(call_text(k), text) == 0;
}

static void want_echo(struct kcall *k, int rule)
{
	call_wait(k);
	if (!is_echo(k))
		kit_blame(rule, "call #%u (GET of %.*s) gave %.200s", k->id, (int)k->argv[1].n,
		    (const char *)k->argv[1].p, call_text(k));
}

/* ---- 10 -------------------------------------------------------------------------------------- */

static void own_replies(void)
{
	enum { SESSIONS = 7, CALLS = 700 };
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s[SESSIONS];
	struct kcall *k[CALLS];

	for (int i = 0; i < SESSIONS; i++)
		s[i] = session_new(x);
	fake_drip(f, true); /* replies come in pieces, and many calls are in flight */
	for (int n = 0; n < CALLS; n++) {
		k[n] = get(s[n % SESSIONS], n);
		if (n % 50 == 49)
			ctx_turn(x, 0);
	}
	for (int n = 0; n < CALLS; n++)
		want_echo(k[n], 10);
	fake_done(x);
}

/* ---- 12 -------------------------------------------------------------------------------------- */

static void bounded_window(void)
{
	enum { MOST = 30000 };
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);
	struct kcall **k = calloc(MOST, sizeof(struct kcall *));
	int n = 0;

	want_echo(get(s, 0), 12);
	x->agains = 0;
	fake_hold(f, true);
	while (n < MOST && x->agains == 0) {
		k[n] = get(s, n);
		if (++n % 64 == 0)
			ctx_turn(x, 0);
	}
	if (x->agains == 0)
		kit_blame(12, "%d calls were taken without one answer: the window has no bound", n);
	for (int more = 0; more < 100 && n < MOST; more++) { /* they wait with the host */
		k[n] = get(s, n);
		n++;
	}
	for (int turn = 0; turn < 20; turn++)
		ctx_turn(x, 1);
	if (x->agains > 50)
		kit_blame(
			12, "ready() came though nothing was answered: AGAIN %u times", x->agains);
	fake_hold(f, false);
	for (int i = 0; i < n; i++)
		want_echo(k[i], 12);
	free(k);
	fake_done(x);
}

static void refused_not_executed(struct kcall *k)
{
	call_wait(k);
	if (!k->failed || k->executed != PURSER_NOT_EXECUTED)
		kit_blame(12, "nobody listens, and the call says %s", call_text(k));
	else if (k->code != PURSER_E_CONNECT)
		kit_blame(9, "nobody listens, and the call says %s", call_text(k));
}

static void store_away(void)
{
	struct purser_instance *i;
	struct purser_session *s;
	struct purser_ctx *x;
	struct kcall *k;
	int n;

	f = fake_new();
	fake_listen(f, false);
	i = rig_start(fake_url(f)); /* a store that is away is no reason not to start */
	x = ctx_open(i);
	s = session_new(x);
	refused_not_executed(get(s, 0));
	for (n = 0; n < 50; n++) { /* known to be down: at once, not after a time-out */
		k = get(s, n);
		for (int turn = 0; turn < 50 && k->state != CALL_ENDED; turn++)
			ctx_turn(x, 0);
		if (k->state != CALL_ENDED)
			kit_stop(12, "the link is known to be down, and a call waits");
		refused_not_executed(k);
	}
	fake_listen(f, true);
	for (n = 0; n < 200; n++) { /* back-off passes by the injected clock */
		k = get(s, n);
		call_wait(k);
		if (!k->failed)
			break;
		refused_not_executed(k);
		ctx_back_off(x, 500);
		ctx_turn(x, 1);
	}
	if (n == 200)
		kit_blame(12, "the plugin does not come back to a store that is there again");
	fake_done(x);
}

static void deaf_store(void)
{
	struct purser_instance *i;
	struct purser_session *s;
	struct purser_ctx *x;
	struct kcall *k;

	f = fake_new();
	fake_deaf(f, true); /* the kernel accepts, nobody answers the handshake */
	i = rig_start(fake_url(f));
	x = ctx_open(i);
	s = session_new(x);
	k = get(s, 1);
	for (int n = 0; n < 100 && k->state != CALL_ENDED; n++) {
		ctx_skip_ms(x, 1000); /* connection_timeout, by the injected clock */
		ctx_turn(x, 1);
	}
	if (k->state == CALL_ENDED)
		refused_not_executed(k);
	else if (!k->sent) /* without a handshake it is on the wire, and the host's deadline counts
			    */
		kit_stop(
			12, "no handshake for 100 s of the host's clock, and the call still waits");
	fake_deaf(f, false);
	fake_done(x);
}

/* ---- 13 -------------------------------------------------------------------------------------- */

struct seen_at_least { uint64_t commands; };

static bool seen(void *arg)
{
	return fake_seen(f).commands >= ((struct seen_at_least *)arg)->commands;
}

static void blocked_links(void)
{
	enum { WAITERS = 5 };
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x);
	struct kcall *pop[WAITERS];
	struct seen_at_least all = { WAITERS };

	for (int n = 0; n < WAITERS; n++) {
		pop[n] = call_new(session_new(x), 2, "BLPOP @list 0");
		pop[n]->route = PURSER_ROUTE_EXCLUSIVE;
		pop[n]->flags |= PURSER_CALL_BLOCKS | PURSER_CALL_WRITE;
		call_offer(pop[n]);
	}
	if (!ctx_until(x, seen, &all))
		kit_stop(13, "blocking calls do not reach the store");
	for (int n = 0; n < 50; n++)
		want_echo(get(s, n), 13);
	for (int n = 0; n < WAITERS; n++) {
		if (pop[n]->state == CALL_ENDED)
			kit_blame(13, "a blocked call ended by itself: %s", call_text(pop[n]));
		call_cancel(pop[n], 1 + n % 3);
		call_wait(pop[n]); /* nobody waits any more: the link goes, and so does the call */
	}
	want_echo(get(s, 1), 13);
	fake_done(x);
}

static bool has_encoded_half(void *arg)
{
	struct kcall *k = arg;

	return k->state == CALL_ENDED || k->wire_at == k->wire_stop;
}

static struct kcall *half_a_set(struct purser_session *s, const char *value)
{
	char words[64];
	struct kcall *k;

	snprintf(words, sizeof(words), "SET @stream %s", value);
	k = call_new(s, 2, words);
	k->route = PURSER_ROUTE_EXCLUSIVE;
	k->flags |= PURSER_CALL_STREAMED;
	k->wire_stop = buf_len(&k->wire) - 5;
	call_offer(k);
	if (!ctx_until(s->x, has_encoded_half, k))
		kit_stop(14, "a streamed call was not encoded as far as it went");
	return k;
}

static void streamed(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x), *other = session_new(x);
	struct kcall *k;

	for (int n = 0; n < 4; n++) {
		k = half_a_set(s, "gone");
		for (int i = 0; i < 10; i++)
			want_echo(get(other, i), 13); /* half a command is on no shared link */
		if (n % 2) {
			call_cancel(k, PURSER_CANCEL_CLIENT_GONE);
			call_wait(k);
			if (!k->failed || k->executed != PURSER_NOT_EXECUTED)
				kit_blame(13, "half a command was sent and given up: %s",
					call_text(k));
			if (fake_times(f, "gone") > (unsigned)n / 2 + (n > 0))
				kit_blame(13, "a command that was given up half-way reached the "
					      "store whole");
		} else {
			k->wire_stop = SIZE_MAX;
			call_resume(k, PURSER_RESUME_ENCODE);
			call_wait(k);
			if (strcmp(call_text(k), "+OK") != 0)
				kit_blame(14, "a streamed call gave %s", call_text(k));
		}
	}
	if (fake_times(f, "gone") != 2)
		kit_blame(13, "of two whole and two half commands %u reached the store",
			fake_times(f, "gone"));
	fake_done(x);
}

/* ---- 14 -------------------------------------------------------------------------------------- */

static bool has_stopped(void *arg)
{
	struct kcall *k = arg;

	return k->stopped || k->state == CALL_ENDED;
}

static void slow_reader(void)
{
	size_t n = 16 << 20, given;
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x), *other = session_new(x);
	struct buf big = { 0 };
	struct kcall *k;

	buf_printf(&big, "$%zu\r\n", n);
	buf_room(&big, n + 3);
	for (size_t i = 0; i < n; i++)
		buf_putc(&big, 'a' + (char)(i % 23));
	buf_puts(&big, "\r\n");
	want_echo(get(s, 1), 14);
	fake_answer(f, "EXISTS", buf_cstr(&big));
	k = call_new(s, 2, "EXISTS @x");
	k->credit = 100000;
	call_offer(k);
	if (!ctx_until(x, has_stopped, k) || k->state == CALL_ENDED)
		kit_stop(14, "raw() gave no credit, and the whole reply came");
	for (int i = 0; i < 30; i++) { /* others are served meanwhile, on another link if need be */
		want_echo(get(other, i), 14);
		ctx_turn(x, 1);
	}
	given = buf_len(&k->reply.bytes);
	if (k->after_stop > 1 << 20)
		kit_blame(14, "%llu bytes came after raw() had said stop",
			(unsigned long long)k->after_stop);
	if (fake_seen(f).out > given + (4 << 20))
		kit_blame(14, "the plugin read %llu bytes of a reply that nobody takes",
		    (unsigned long long)fake_seen(f).out);
	k->credit = INT64_MAX;
	k->stopped = false;
	call_resume(k, PURSER_RESUME_REPLY);
	call_wait(k);
	if (k->failed || buf_len(&k->reply.bytes) != buf_len(&big) ||
	    memcmp(buf_data(&k->reply.bytes), buf_data(&big), buf_len(&big)) != 0)
		kit_blame(14, "a reply with a pause in it came back changed: %.60s", call_text(k));
	buf_free(&big);
	want_echo(get(s, 2), 14);
	fake_done(x);
}

/* Cancelled while it stands still: what is left is thrown away, or the link is. */
static void slow_reader_gone(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s = session_new(x), *other = session_new(x);
	struct buf big = { 0 };
	struct kcall *k;

	buf_printf(&big, "$%d\r\n", 2 << 20);
	for (size_t i = 0; i < 2 << 20; i++)
		buf_putc(&big, 'z');
	buf_puts(&big, "\r\n");
	fake_answer(f, "EXISTS", buf_cstr(&big));
	buf_free(&big);
	k = call_new(s, 2, "EXISTS @x");
	k->credit = 1000;
	call_offer(k);
	if (!ctx_until(x, has_stopped, k))
		kit_stop(14, "a large reply does not come");
	call_cancel(k, PURSER_CANCEL_CLIENT_GONE);
	k->credit = INT64_MAX; /* the host discards from now on */
	call_resume(k, PURSER_RESUME_REPLY);
	call_wait(k);
	for (int i = 0; i < 20; i++)
		want_echo(get(other, i), 14);
	fake_done(x);
}

/* ---- 15 -------------------------------------------------------------------------------------- */

static void cancel_in_flight(void)
{
	enum { CALLS = 90 };
	struct purser_ctx *x = fake_ctx();
	struct purser_session *s[3] = { session_new(x), session_new(x), session_new(x) };
	struct kcall *k[CALLS];

	for (int round = 0; round < 3; round++) {
		struct seen_at_least all = { fake_seen(f).commands + CALLS };

		fake_hold(f, true);
		for (int n = 0; n < CALLS; n++)
			k[n] = get(s[n % 3], n);
		if (round > 0 && !ctx_until(x, seen, &all))
			kit_stop(15, "calls do not reach the store");
		for (int n = 0; n < CALLS; n += 4)
			call_cancel(k[n], 1 + n % 3);
		fake_hold(f, false);
		ctx_settle(x);
		for (int n = 0; n < CALLS; n++)
			if (n % 4 != 0)
				want_echo(k[n], 15); /* nobody gets another's reply */
	}
	fake_done(x);
}

/* The store never answers: the host has waited long enough and closes. */
static void close_deaf_store(void)
{
	struct purser_ctx *x = fake_ctx();
	struct purser_instance *i = x->inst;
	struct purser_session *s = session_new(x);
	struct kcall *k[20];

	want_echo(get(s, 0), 2);
	fake_hold(f, true);
	for (int n = 0; n < 20; n++)
		k[n] = get(s, n);
	ctx_turn(x, 1);
	ctx_abort(x);
	for (int n = 0; n < 20; n++)
		if (k[n]->state == CALL_ENDED &&
			(!k[n]->failed || k[n]->executed != PURSER_MAYBE_EXECUTED))
			kit_blame(9, "sent, unanswered, closed: %s", call_text(k[n]));
	rig_stop(i);
	fake_free(f);
}

const struct kit_test rules_links[] = {
	{ 2, "closed while the store says nothing", 0, NEEDS_FAKE, "GET", close_deaf_store, NULL },
	{ 10, "every call has its own reply", 0, NEEDS_FAKE, "GET", own_replies, NULL },
	{ 12, "a bounded window, AGAIN and ready", 0, NEEDS_FAKE, "GET", bounded_window, NULL },
	{ 12, "a store that is away, and comes", 0, NEEDS_FAKE, "GET", store_away, NULL },
	{ 12, "a store that accepts and says nothing", 0, NEEDS_FAKE, "GET", deaf_store, NULL },
	{ 13, "blocked calls have links of their own", PURSER_CAP_BLOCKING, NEEDS_FAKE, "GET BLPOP",
		blocked_links, NULL },
	{ 13, "arguments that still arrive", 0, NEEDS_FAKE, "GET SET", streamed, NULL },
	{ 14, "a reader that pauses", 0, NEEDS_FAKE, "GET EXISTS", slow_reader, NULL },
	{ 14, "a reader that goes away", 0, NEEDS_FAKE, "GET EXISTS", slow_reader_gone, NULL },
	{ 15, "cancelled in flight", 0, NEEDS_FAKE, "GET", cancel_in_flight, NULL },
	{ 0, NULL, 0, 0, NULL, NULL, NULL },
};
