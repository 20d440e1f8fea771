/* SPDX-License-Identifier: Apache-2.0
 *
 * CACHE.FILL, CACHE.ABORT, CACHE.INVALIDATE: how a computation ends (see lease.h).
 */
#include <config.h>
#include <string.h>
#include "feature/lease.h"
#include "feature/lease_rule.h"
#include "feature/lease_word.h"
#include "feature/rooms.h"
#include "metric/tally.h"

static const char fill_usage[] = "CACHE.FILL key token value TTL ms [STALE ms] [NOJITTER]";
static const char abort_usage[] = "CACHE.ABORT key token [NEG ms reason]";
static const char invalidate_usage[] = "CACHE.INVALIDATE key [STALE ms]";

/* One of the three that is under way; in the call's arena. */
struct ending {
	struct feature_call *f;
	struct lease_letter *letter;     /* NULL: none to send */
	purser_bytes names[2];
	char token[RECORD_TOKEN_LEN + 1];
	int what;                        /* LETTER_*: if the store agrees */
	uint64_t sent_ns;
	char quick[RECORD_QUICK_LEN + 1]; /* of what is filled */
};

static purser_bytes text_of(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

static struct lease_room *room_of(const struct ending *e)
{
	return lease_room_of(e->f->w);
}

static struct lease_key key_of(const struct feature_call *f)
{
	return (struct lease_key){ .ns = f->project->ns, .db = f->db, .name = f->argv[1] };
}

static struct ending *new_ending(struct feature_call *f)
{
	struct ending *e = arena_get(f->arena, sizeof *e);

	if (!e) {
		feature_fail(f, ERR_OOM, NULL);
		return NULL;
	}
	memset(e, 0, sizeof *e);
	e->f = f;
	f->keeps_leases = true;
	return e;
}

static void send_letter(struct ending *e, int what)
{
	if (e->letter)
		lease_letter_send(e->letter, what);
	e->letter = NULL;
}

/* The letter for the owner is not sent: nothing has changed. */
static void keep_letter(struct ending *e)
{
	if (e->letter)
		lease_thing_free(&e->letter->t);
	e->letter = NULL;
}

/* False: the reply is an error, or not what the script says; the call is over. */
static bool words_of(struct ending *e, const struct feature_reply *rep, struct lease_words *v)
{
	if (!rep->err && !lease_words(rep->resp, rep->n, v)) {
		lease_clock(e->f, e->sent_ns, v->now_ms);
		return true;
	}
	if (rep->err && !rep->unsure)
		keep_letter(e); /* the lease goes on */
	else
		send_letter(e, LETTER_DOUBT);
	if (rep->err)
		feature_pass_error(e->f, rep);
	else
		feature_fail(e->f, ERR_BACKENDPROTOCOL, NULL);
	return false;
}

/* ---- FILL and ABORT ---- */

static void ended(void *arg, const struct feature_reply *rep)
{
	struct ending *e = arg;
	struct lease_words v;

	if (!words_of(e, rep, &v))
		return;
	if (v.word == LEASE_WORD_OK) {
		if (e->what == LETTER_FILLED)
			metric_tally_add(metric_tally(e->f->w->metrics, e->f->project->metric_id), TALLY_SETS, 1);
		send_letter(e, e->what);
		feature_ok(e->f);
	} else {
		send_letter(e, LETTER_REFUSED);
		feature_fail(e->f, ERR_LEASELOST, NULL);
	}
}

/* The token and the letter; false: f is over. */
static bool prepare(struct ending *e)
{
	struct feature_call *f = e->f;
	struct lease_key k = key_of(f);

	if (!lease_is_token(f->argv[2], e->token)) {
		feature_fail(f, ERR_LEASELOST, NULL);
		return false;
	}
	if (!lease_names(f, e->names))
		return false;
	e->letter = lease_letter_new(room_of(e), &k, e->token);
	if (!e->letter) {
		feature_fail(f, ERR_OOM, NULL);
		return false;
	}
	e->sent_ns = loop_now(f->w->loop);
	return true;
}

static void do_fill(struct feature_call *f)
{
	struct ending *e = new_ending(f);
	int64_t ttl = 0, stale = -1;
	bool jitter = true;

	if (!e)
		return;
	for (uint32_t i = 4; i < f->argc; i++) {
		bool more = i + 1 < f->argc;

		if (lease_is(f->argv[i], "NOJITTER")) {
			jitter = false;
		} else if (!(more && lease_is(f->argv[i], "TTL") && lease_ms(f->argv[++i], 1, LEASE_TTL_MAX_MS, &ttl)) &&
		    !(more && lease_is(f->argv[i], "STALE") && lease_ms(f->argv[++i], 0, LEASE_TTL_MAX_MS, &stale))) {
			ttl = 0;
			break;
		}
	}
	if (!ttl) {
		feature_syntax(f, fill_usage);
		return;
	}
	if (!prepare(e))
		return;
	record_quick(e->quick, f->argv[3].p, f->argv[3].n);
	if (jitter)
		ttl = lease_jitter(ttl, trace_random(f->w->trace));
	purser_bytes args[6] = { text_of("fill"), f->argv[2], f->argv[3], { (const uint8_t *)e->quick, RECORD_QUICK_LEN },
		feature_number(f->arena, ttl), stale < 0 ? text_of("-") : feature_number(f->arena, stale) };
	if (!args[4].p || !args[5].p) {
		keep_letter(e);
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	e->what = LETTER_FILLED;
	feature_script(f, LUA_CACHE_LEASE, e->names, 2, args, 6, ended, e);
}

static void do_abort(struct feature_call *f)
{
	struct ending *e = new_ending(f);
	purser_bytes reason = { (const uint8_t *)"", 0 }, ms = text_of("0");
	int64_t neg = 0;

	if (!e)
		return;
	if (f->argc == 6 && lease_is(f->argv[3], "NEG") && lease_ms(f->argv[4], 1, LEASE_TTL_MAX_MS, &neg)) {
		ms = f->argv[4];
		reason = f->argv[5];
	} else if (f->argc != 3) {
		feature_syntax(f, abort_usage);
		return;
	}
	if (reason.n > RECORD_REASON_MAX) {
		feature_error(f, "ERR the reason is longer than 256 bytes");
		return;
	}
	if (!prepare(e))
		return;
	purser_bytes args[4] = { text_of("drop"), f->argv[2], ms, reason };
	e->what = neg ? LETTER_NEGATIVE : LETTER_ABORTED;
	feature_script(f, LUA_CACHE_LEASE, e->names, 2, args, 4, ended, e);
}

/* ---- INVALIDATE ---- */

static void cleared(void *arg, const struct feature_reply *rep)
{
	struct ending *e = arg;
	struct feature_call *f = e->f;
	struct lease_words v;

	if (!words_of(e, rep, &v))
		return;
	if (v.word != LEASE_WORD_COUNT) {
		feature_fail(f, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	if (f->argc == 2)
		metric_tally_add(metric_tally(f->w->metrics, f->project->metric_id), TALLY_DELETES, (uint64_t)v.count);
	reply_integer(f->b, v.count);
	feature_end(f);
}

static void do_invalidate(struct feature_call *f)
{
	struct ending *e = new_ending(f);
	purser_bytes args[3] = { text_of("clear"), text_of("0"), text_of("-") };
	int64_t stale = 0;

	if (!e)
		return;
	if (f->argc == 4 && lease_is(f->argv[2], "STALE") && lease_ms(f->argv[3], 0, LEASE_TTL_MAX_MS, &stale)) {
		args[1] = stale ? f->argv[3] : args[1];
	} else if (f->argc != 2) {
		feature_syntax(f, invalidate_usage);
		return;
	}
	if (!lease_names(f, e->names))
		return;
	f->keeps_leases = false; /* a write like others */
	e->sent_ns = loop_now(f->w->loop);
	feature_script(f, LUA_CACHE_LEASE, e->names, 2, args, 3, cleared, e);
}

void lease_fill_commands(feature_handler *t)
{
	t[CMD_CACHE_FILL] = do_fill;
	t[CMD_CACHE_ABORT] = do_abort;
	t[CMD_CACHE_INVALIDATE] = do_invalidate;
}
