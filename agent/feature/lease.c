/* SPDX-License-Identifier: Apache-2.0
 *
 * CACHE.LEASE: the client's side (see lease.h).
 */
#include <config.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <purser/resp.h>
#include "feature/lease.h"
#include "feature/lease_rule.h"
#include "feature/lease_word.h"
#include "feature/rooms.h"
#include "metric/tally.h"
#include "resp/pick.h"

#define MS UINT64_C(1000000)

static const char usage[] = "CACHE.LEASE key [TTL ms] [STALE ms] [WAIT ms] [BETA factor]";

static struct lease_room *room_of(const struct lease_call *c)
{
	return lease_room_of(c->f->w);
}

static struct lease_key key_of(const struct feature_call *f)
{
	return (struct lease_key){ .ns = f->project->ns, .db = f->db, .name = f->argv[1] };
}

/* ---- the store's clock ---- */

/* For what is only read: writes are the script's to judge, by the store's clock. */
static int64_t store_now(const struct feature_call *f)
{
	const struct lease_room *r = lease_room_of(f->w);

	return (int64_t)loop_wall_ms(f->w->loop) + r->offset[f->instance].ms;
}

void lease_clock(const struct feature_call *f, uint64_t sent_ns, int64_t store_ms)
{
	struct lease_room *r = lease_room_of(f->w);
	int64_t *at = &r->offset[f->instance].ms;
	/* It was read between sending and now. */
	int64_t least = store_ms - (int64_t)loop_wall_ms(f->w->loop) - 1;
	int64_t most = least + (int64_t)((loop_now(f->w->loop) - sent_ns) / MS) + 2;

	if (!r->offset[f->instance].known)
		*at = least + 1;
	else if (*at > most)
		*at = most;
	else if (*at < least)
		*at = least;
	r->offset[f->instance].known = true;
}

/* ---- answers: c is no more behind them ---- */

static void count(const struct lease_call *c, enum lease_answer a)
{
	const struct feature_call *f = c->f;

	metric_cell_add(room_of(c)->answers[a], 1);
	/* CACHE.STATS: who is to compute, or to wait, has found nothing */
	metric_tally_add(metric_tally(f->w->metrics, f->project->metric_id), a == ANSWER_ERROR ? TALLY_ERRORS :
	    a == ANSWER_HIT || a == ANSWER_STALE || a == ANSWER_EARLY ? TALLY_HITS : TALLY_MISSES, 1);
}

static void answer_value(struct lease_call *c, enum lease_answer a, purser_bytes value, int64_t age)
{
	count(c, a);
	reply_array(c->f->b, 3);
	reply_text(c->f->b, a == ANSWER_HIT ? "HIT" : "STALE");
	reply_bulk(c->f->b, value.p, value.n);
	reply_integer(c->f->b, age);
	feature_end(c->f);
}

static void answer_neg(struct lease_call *c, purser_bytes reason)
{
	count(c, ANSWER_NEG);
	reply_array(c->f->b, 2);
	reply_text(c->f->b, "NEG");
	reply_bulk(c->f->b, reason.p, reason.n);
	feature_end(c->f);
}

static void answer_busy(struct lease_call *c, uint32_t retry_ms)
{
	count(c, ANSWER_BUSY);
	reply_array(c->f->b, 2);
	reply_text(c->f->b, "BUSY");
	reply_integer(c->f->b, retry_ms);
	feature_end(c->f);
}

static void answer_won(struct lease_call *c, const char *token, const purser_bytes *value)
{
	count(c, c->early && c->fresh ? ANSWER_EARLY : ANSWER_WON);
	reply_array(c->f->b, value ? 3 : 2);
	reply_text(c->f->b, "WON");
	reply_bulk(c->f->b, token, RECORD_TOKEN_LEN);
	if (value)
		reply_bulk(c->f->b, value->p, value->n);
	feature_end(c->f);
}

static void answer_error(struct lease_call *c, const struct feature_reply *rep)
{
	count(c, ANSWER_ERROR);
	feature_pass_error(c->f, rep);
}

static void answer_failure(struct lease_call *c, enum err_code code)
{
	count(c, ANSWER_ERROR);
	feature_fail(c->f, code, NULL);
}

/* ---- wishes at home ---- */

/* The call is about to be answered: its wish goes, with the news for the owner if it was told to ask. */
static void settle(struct lease_call *c, enum lease_found found, uint64_t life_ns)
{
	struct lease_wish *w = c->wish;

	c->wish = NULL;
	if (!w)
		return;
	w->c = NULL;
	if (!w->asking) {
		lease_thing_free(&w->t);
		return;
	}
	w->answered = true;
	w->seat.deadline_ns = 0;
	w->result.found = found;
	w->result.life_ns = life_ns;
	lease_wish_tried(w);
}

/* The store has failed it; of those who wait each is told the same. */
static void fail_all(struct lease_call *c, const struct feature_reply *rep, bool unsure)
{
	struct lease_wish *w = c->wish;

	if (w) {
		w->err = rep->err;
		snprintf(w->error, sizeof w->error, "%s", rep->error);
		w->result.token = unsure ? w->token : NULL;
	}
	settle(c, LEASE_FOUND_ERROR, 0);
	answer_error(c, rep);
}

static void fail(struct lease_call *c, enum err_code code, bool unsure)
{
	char text[128];

	snprintf(text, sizeof text, "%s %s", err_rows[code].word, err_rows[code].text);
	fail_all(c, &(struct feature_reply){ .err = code, .error = text }, unsure);
}

static void stop(struct feature_call *f, enum feature_stop why)
{
	struct lease_call *c = f->state;

	c->wish->why = why;
	c->wish->leaving = true;
	lease_wish_leave(c->wish);
}

static void answer_stop(struct lease_call *c, enum feature_stop why)
{
	if (why == FEATURE_TIMEOUT)
		answer_busy(c, lease_retry_ms(UINT64_MAX, trace_random(c->f->w->trace)));
	else
		feature_unblocked(c->f); /* to a client that has gone this goes nowhere */
}

void lease_left(struct lease_wish *w)
{
	struct lease_call *c = w->c;
	enum feature_stop why = w->why;

	w->leaving = false;
	if (!w->left) /* then an order came before this did; it is not obeyed */
		w->asking = w->order == LEASE_TRY || w->order == LEASE_LOOK;
	settle(c, LEASE_FOUND_NOTHING, 0);
	answer_stop(c, why);
}

static void look(struct lease_call *c);
static void ask(struct lease_call *c);

static void obey_failed(struct lease_call *c)
{
	char text[sizeof c->wish->error];
	enum err_code err = c->wish->err;

	memcpy(text, c->wish->error, sizeof text);
	settle(c, LEASE_FOUND_NOTHING, 0);
	answer_error(c, &(struct feature_reply){ .err = err, .error = text });
}

void lease_ordered(struct lease_wish *w)
{
	struct lease_call *c = w->c;
	uint32_t retry_ms = w->retry_ms;

	if (w->leaving)
		return; /* lease_left() comes */
	feature_resume(c->f);
	w->asking = w->order == LEASE_TRY || w->order == LEASE_LOOK;
	if (w->asking && w->err) {
		fail(c, w->err, false);
		return;
	}
	switch (w->order) {
	case LEASE_TRY:
		ask(c);
		return;
	case LEASE_LOOK:
	case LEASE_AGAIN:
		look(c);
		return;
	case LEASE_HAVE:
		settle(c, LEASE_FOUND_NOTHING, 0);
		answer_value(c, c->fresh ? ANSWER_HIT : ANSWER_STALE, c->value, c->age_ms);
		return;
	case LEASE_BUSY:
		settle(c, LEASE_FOUND_NOTHING, 0);
		answer_busy(c, retry_ms);
		return;
	case LEASE_FAILED:
		obey_failed(c);
		return;
	}
}

/* Nothing to answer with, or only an old value: whose is it to compute? */
static void join(struct lease_call *c)
{
	struct lease_wish *w = c->wish;
	struct feature_call *f = c->f;
	struct lease_key k = key_of(f);

	if (!w) {
		w = c->wish = lease_thing_new(lease_room_of(f->w), &k, sizeof *w);
		if (!w) {
			answer_failure(c, ERR_OOM);
			return;
		}
		w->c = c;
		feature_place_of(f, &w->place);
		w->instance = f->instance;
		w->physical = c->names[0];
	}
	w->asking = false;
	w->seat.deadline_ns = c->deadline_ns;
	w->seat.has_value = c->value.p != NULL;
	lease_wish_join(w);
	feature_wait(f, stop);
}

/* It waits on, behind a lease of somebody else that the store knows. */
static void wait_on(struct lease_call *c, uint64_t life_ns)
{
	struct lease_wish *w = c->wish;

	w->asking = false;
	w->result.found = LEASE_FOUND_OTHER;
	w->result.life_ns = life_ns;
	lease_wish_tried(w);
	feature_wait(c->f, stop);
}

static void busy(struct lease_call *c, uint64_t left_ns)
{
	c->value.p = NULL; /* if there was one: it is gone */
	c->wish->seat.has_value = false;
	if (c->f->gone || c->deadline_ns <= loop_now(c->f->w->loop)) {
		settle(c, LEASE_FOUND_OTHER, left_ns);
		answer_busy(c, lease_retry_ms(left_ns, trace_random(c->f->w->trace)));
	} else {
		wait_on(c, left_ns);
	}
}

/* ---- the script ---- */

static void won(struct lease_call *c, const struct lease_words *v)
{
	struct lease_wish *w = c->wish;
	struct feature_call *f = c->f;
	struct lease_hold *h = NULL;
	char token[RECORD_TOKEN_LEN + 1];

	memcpy(token, w->token, sizeof token);
	/* Over HTTP every request may be a connection of its own: there the lease lives for its time. */
	if (!f->http && !(h = lease_hold_new(w))) {
		fail(c, ERR_OOM, true);
		return;
	}
	w->result.token = w->token;
	w->result.holder = h;
	settle(c, LEASE_FOUND_WON, (uint64_t)c->life_ms * MS);
	if (h && !feature_bind(f, &h->bond))
		h->bond.gone(&h->bond);
	answer_won(c, token, v->has_value ? &v->value : NULL);
}

static void asked(void *arg, const struct feature_reply *rep)
{
	struct lease_call *c = arg;
	struct lease_words v;

	if (rep->err) {
		fail_all(c, rep, rep->unsure);
		return;
	}
	if (lease_words(rep->resp, rep->n, &v)) {
		fail(c, ERR_BACKENDPROTOCOL, true);
		return;
	}
	lease_clock(c->f, c->sent_ns, v.now_ms);
	switch (v.word) {
	case LEASE_WORD_WON:
		won(c, &v);
		return;
	case LEASE_WORD_BUSY:
		busy(c, (uint64_t)v.left_ms * MS);
		return;
	case LEASE_WORD_HIT:
		settle(c, LEASE_FOUND_THERE, 0);
		answer_value(c, ANSWER_HIT, v.value, v.age_ms);
		return;
	case LEASE_WORD_STALE:
		settle(c, LEASE_FOUND_OTHER, (uint64_t)v.left_ms * MS);
		answer_value(c, ANSWER_STALE, v.value, v.age_ms);
		return;
	case LEASE_WORD_NEG:
		settle(c, LEASE_FOUND_THERE, 0);
		answer_neg(c, v.value);
		return;
	default:
		fail(c, ERR_BACKENDPROTOCOL, true);
	}
}

static purser_bytes text_of(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

static void ask(struct lease_call *c)
{
	struct lease_wish *w = c->wish;
	struct arena *a = c->f->arena;
	purser_bytes args[6] = { text_of("lease"), { NULL, RECORD_TOKEN_LEN }, feature_number(a, c->life_ms), feature_number(a, c->stale_ms),
		text_of(c->early ? "1" : "0"), text_of(w->dead[0] ? w->dead : "-") };

	lease_token(w->token, trace_random(c->f->w->trace), trace_random(c->f->w->trace));
	args[1].p = (const uint8_t *)w->token;
	c->sent_ns = loop_now(c->f->w->loop);
	if (args[2].p && args[3].p)
		feature_script(c->f, LUA_CACHE_LEASE, c->names, 2, args, 6, asked, c);
	else
		fail(c, ERR_OOM, false);
}

/* ---- the look ---- */

/* Does somebody compute, as the record says?  Not if we know better. */
static bool leased(const struct lease_call *c, const struct record *r, int64_t now)
{
	return record_leased(r, now) && !(c->wish && !memcmp(r->token.p, c->wish->dead, RECORD_TOKEN_LEN));
}

/* The value is to be used until somebody has computed another: it must outlast the reply that it came in. */
static bool keep(struct lease_call *c, purser_bytes value, int64_t age, bool fresh)
{
	uint8_t *p = arena_get(c->f->arena, value.n ? value.n : 1);

	if (!p)
		return false;
	if (value.n)
		memcpy(p, value.p, value.n);
	c->value = (purser_bytes){ p, value.n };
	c->age_ms = age;
	c->fresh = fresh;
	return true;
}

/* No answer yet.  Whoever was told to look asks now; the others join. */
static void go_on(struct lease_call *c, bool other, uint64_t left_ns)
{
	if (c->wish && c->wish->asking && other)
		busy(c, left_ns);
	else if (c->wish && c->wish->asking)
		ask(c);
	else
		join(c);
}

/* The store may know already that it is not, and has given out the lease. */
static bool fresh(const struct record *r, int64_t now)
{
	return !r->soft_ms || (now < r->soft_ms && !(r->token.n && r->won_ms >= r->soft_ms));
}

static void judge(struct lease_call *c, const purser_bytes *value, const struct record *r, enum record_state state)
{
	int64_t now = store_now(c->f), age = -1;
	bool holds = state == RECORD_HOLDS, other;
	uint64_t left_ns;

	if (holds && r->filled_ms)
		age = now > r->filled_ms ? now - r->filled_ms : 0;
	if (state != RECORD_VOID && r->neg_ms > now) {
		settle(c, LEASE_FOUND_THERE, 0);
		answer_neg(c, (purser_bytes){ (const uint8_t *)r->reason.p, r->reason.n });
		return;
	}
	other = state != RECORD_VOID && leased(c, r, now);
	if (value && (!holds || fresh(r, now))) {
		c->early = holds && !other && !c->wish && lease_early(now, r->soft_ms, r->delta_ms, c->beta, trace_random(c->f->w->trace));
		if (!c->early) {
			settle(c, LEASE_FOUND_THERE, 0);
			answer_value(c, ANSWER_HIT, *value, age);
			return;
		}
	}
	left_ns = other ? (uint64_t)(r->until_ms - now) * MS : 0;
	if (value && other) {
		settle(c, LEASE_FOUND_OTHER, left_ns);
		answer_value(c, ANSWER_STALE, *value, age);
	} else if (value && !keep(c, *value, age, c->early)) {
		fail(c, ERR_OOM, false);
	} else {
		go_on(c, other, left_ns);
	}
}

static void looked(void *arg, const struct feature_reply *rep)
{
	struct lease_call *c = arg;
	const uint8_t *at = rep->resp, *end = rep->resp + rep->n;
	purser_bytes value = { NULL, 0 }, raw = { NULL, 0 };
	struct record r;
	enum record_state state = RECORD_VOID;
	bool has_value = false, has_record = false;
	int64_t n;

	if (rep->err) {
		fail_all(c, rep, false);
		return;
	}
	if (resp_pick_header(&at, end, '*', &n) || n != 2 || lease_pick(&at, end, &value, &has_value) || lease_pick(&at, end, &raw, &has_record)) {
		fail(c, ERR_BACKENDPROTOCOL, false);
		return;
	}
	if (has_record && record_parse(&r, raw.p, raw.n) == 0)
		state = record_state(&r, has_value ? value.p : NULL, value.n, store_now(c->f));
	if (state == RECORD_NOMEM)
		fail(c, ERR_OOM, false);
	else
		judge(c, has_value ? &value : NULL, &r, state);
}

static void look(struct lease_call *c)
{
	purser_bytes *words = arena_get(c->f->arena, 3 * sizeof *words);

	if (!words) {
		fail(c, ERR_OOM, false);
		return;
	}
	words[0] = text_of("MGET");
	words[1] = c->names[0];
	words[2] = c->names[1];
	feature_ask(c->f, CMD_MGET, words, 3, looked, c);
}

/* ---- the command ---- */

static bool factor(purser_bytes w, double *out)
{
	char text[32], *end;

	if (!w.n || w.n >= sizeof text || (w.p[0] != '.' && (w.p[0] < '0' || w.p[0] > '9')))
		return false;
	memcpy(text, w.p, w.n);
	text[w.n] = '\0';
	*out = strtod(text, &end);
	return !*end && isfinite(*out) && *out <= 1000;
}

static bool options(struct feature_call *f, struct lease_call *c)
{
	int64_t wait = 0;

	c->life_ms = LEASE_LIFE_MS;
	c->beta = 1.0;
	for (uint32_t i = 2; i < f->argc; i += 2) {
		if (i + 1 == f->argc)
			return false;
		if (lease_is(f->argv[i], "TTL")) {
			if (!lease_ms(f->argv[i + 1], 1, LEASE_LIFE_MAX_MS, &c->life_ms))
				return false;
		} else if (lease_is(f->argv[i], "STALE")) {
			if (!lease_ms(f->argv[i + 1], 0, LEASE_TTL_MAX_MS, &c->stale_ms))
				return false;
		} else if (lease_is(f->argv[i], "WAIT")) {
			if (!lease_ms(f->argv[i + 1], 0, LEASE_LIFE_MAX_MS, &wait))
				return false;
		} else if (!lease_is(f->argv[i], "BETA") || !factor(f->argv[i + 1], &c->beta)) {
			return false;
		}
	}
	c->deadline_ns = wait ? f->start_ns + (uint64_t)wait * MS : 0;
	return true;
}

static void do_lease(struct feature_call *f)
{
	struct lease_call *c = arena_get(f->arena, sizeof *c);

	if (!c) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	memset(c, 0, sizeof *c);
	c->f = f;
	f->state = c;
	f->keeps_leases = true;
	if (!options(f, c)) {
		feature_syntax(f, usage);
		return;
	}
	if (!lease_names(f, c->names))
		return;
	look(c);
}

void lease_commands(feature_handler *t)
{
	t[CMD_CACHE_LEASE] = do_lease;
	lease_fill_commands(t);
}
