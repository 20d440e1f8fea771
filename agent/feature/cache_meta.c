/* SPDX-License-Identifier: Apache-2.0
 *
 * CACHE.SETM, CACHE.META, CACHE.MSET: metadata that lives and dies with its value, and values of one life.  Metadata
 * is in the record of its key (record.h), which describes the value in one state: written otherwise, it has none.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include <purser/resp.h>
#include "feature/record.h"
#include "feature/rooms.h"
#include "metric/tally.h"
#include "resp/json_scan.h"
#include "resp/pick.h"

static purser_bytes text(const char *s) { return (purser_bytes){ (const uint8_t *)s, strlen(s) }; }

static purser_bytes record_name(struct feature_call *f, purser_bytes key)
{
	return feature_name(f->arena, f->project->name, "cache", key);
}

static void tally_sets(struct feature_call *f, enum metric_tally_id what, uint64_t n)
{
	metric_tally_add(metric_tally(f->w->metrics, f->project->metric_id), what, n);
}

/* A life in ms as Redis takes it.  False: it is none. */
static bool life_ok(purser_bytes w, int64_t *v)
{
	return purser_resp_int(w.p, w.n, v) == 0 && *v > 0 && *v <= INT64_C(1) << 53;
}

/* ---- CACHE.SETM key value json [PX ms] ---------------------------------------------------------------------- */

static const char setm_usage[] = "CACHE.SETM key value json [PX ms]";

static void was_set(void *arg, const struct feature_reply *rep)
{
	struct feature_call *f = arg;

	if (rep->err) {
		tally_sets(f, TALLY_ERRORS, 1);
		feature_pass_error(f, rep);
		return;
	}
	tally_sets(f, TALLY_SETS, 1);
	feature_ok(f);
}

/* NULL, or what is wrong with the metadata. */
static const char *bad_json(purser_bytes w)
{
	struct json_scan s = { .p = w.p, .end = w.p + w.n };

	if (!w.n || jscan_skip(&s) || jscan_end(&s))
		return "the metadata is not JSON";
	return NULL;
}

static void do_setm(struct feature_call *f)
{
	purser_bytes keys[2] = { feature_key(f, f->argv[1]), record_name(f, f->argv[1]) };
	purser_bytes *args = arena_get(f->arena, 5 * sizeof *args), value = f->argv[2], json = f->argv[3];
	char *check = arena_get(f->arena, RECORD_CHECK_MAX), *quick = arena_get(f->arena, RECORD_QUICK_LEN + 1);
	const char *bad = bad_json(json);
	int64_t life = 0;

	if (f->argc != 4 && (f->argc != 6 || !cmd_word_is(f->argv[4], "PX"))) {
		feature_syntax(f, setm_usage);
	} else if (f->argc == 6 && !life_ok(f->argv[5], &life)) {
		feature_error(f, "ERR invalid expire time in 'cache.setm' command");
	} else if (json.n > RECORD_META_MAX) {
		feature_fail(f, ERR_TOOBIG, "metadata has 64 KiB at most");
	} else if (bad) {
		feature_fail(f, ERR_BADREQUEST, bad);
	} else if (!keys[0].p || !keys[1].p || !args || !check || !quick ||
	    record_check(check, value.n ? (const void *)value.p : "", value.n)) {
		feature_fail(f, ERR_OOM, NULL);
	} else {
		record_quick(quick, value.p, value.n);
		args[0] = value;
		args[1] = text(check);
		args[2] = text(quick);
		args[3] = f->argc == 6 ? feature_number(f->arena, life) : text("-");
		args[4] = json;
		if (!args[3].p)
			feature_fail(f, ERR_OOM, NULL);
		else
			feature_script(f, LUA_CACHE_SETM, keys, 2, args, 5, was_set, f);
	}
}

/* ---- CACHE.META key ----------------------------------------------------------------------------------------- */

/* PEXPIRE or EXPIRE may have let the value live for longer than its record: what is asked for is put right. */
struct meta {
	struct feature_call *f;
	unsigned left;                  /* steps */
	bool failed;                    /* ... and the call has ended */
	purser_bytes key, record, json;
	int64_t value_ms, record_ms;    /* PTTL */
};
#define META_SLACK INT64_C(1000)        /* as in cache_setm.lua */

static void lengthened(void *arg, const struct feature_reply *rep)
{
	(void)arg;
	(void)rep; /* the call has ended; next time it is tried again */
}

static void mend(struct meta *m)
{
	static const purser_bytes persist = { (const uint8_t *)"PERSIST", 7 }, pexpire = { (const uint8_t *)"PEXPIRE", 7 };
	purser_bytes *v = arena_get(m->f->arena, 3 * sizeof *v);

	if (!v || m->record_ms < 0 || (m->value_ms >= 0 && m->record_ms >= m->value_ms))
		return;
	v[0] = m->value_ms < 0 ? persist : pexpire;
	v[1] = m->record;
	v[2] = feature_number(m->f->arena, m->value_ms + META_SLACK);
	if (v[2].p)
		feature_ask(m->f, m->value_ms < 0 ? CMD_PERSIST : CMD_PEXPIRE, v, m->value_ms < 0 ? 2 : 3, lengthened, m);
}

static void put_meta(struct meta *m)
{
	struct feature_call *f = m->f;
	char head[40];

	if (!m->json.n) {
		reply_null(f->b);
	} else if (!f->http) {
		reply_bulk(f->b, m->json.p, m->json.n);
	} else { /* JSON inside of JSON */
		int n = snprintf(head, sizeof head, "=%zu\r\njsn:", m->json.n + 4);

		reply_raw(f->b, head, (size_t)n);
		reply_raw(f->b, m->json.p, m->json.n);
		reply_raw(f->b, "\r\n", 2);
	}
	if (m->json.n)
		mend(m);
	feature_end(f);
}

static void step_done(struct meta *m, const struct feature_reply *rep)
{
	m->left--;
	if (m->failed)
		return;
	if (rep->err) {
		m->failed = true;
		feature_pass_error(m->f, rep);
	} else if (!m->left) {
		put_meta(m);
	}
}

/* The next of the two elements; p NULL: it is null. */
static int element(const uint8_t **at, const uint8_t *end, purser_bytes *out)
{
	*out = (purser_bytes){ NULL, 0 };
	if (end - *at >= 3 && **at == '_') {
		*at += 3;
		return 0;
	}
	return resp_pick_bulk(at, end, out);
}

static void both_read(void *arg, const struct feature_reply *rep)
{
	struct meta *m = arg;
	const uint8_t *at = rep->resp, *end = rep->resp + rep->n;
	struct record r;
	purser_bytes value, record;
	enum record_state state;
	int64_t two;
	uint8_t *copy;

	if (!m->failed && !rep->err && resp_pick_header(&at, end, '*', &two) == 0 && two == 2 && !element(&at, end, &value) &&
	    !element(&at, end, &record) && value.p && record.p && !record_parse(&r, record.p, record.n) && r.meta.n) {
		state = record_state(&r, value.p, value.n, (int64_t)loop_wall_ms(m->f->w->loop));
		copy = state == RECORD_HOLDS ? arena_get(m->f->arena, r.meta.n) : NULL;
		if (copy)
			m->json = (purser_bytes){ memcpy(copy, r.meta.p, r.meta.n), r.meta.n };
		if (state == RECORD_NOMEM || (state == RECORD_HOLDS && !copy)) {
			step_done(m, &(struct feature_reply){ .err = ERR_OOM, .error = "OOM out of memory" });
			return;
		}
	}
	step_done(m, rep);
}

static void life_read(struct meta *m, int64_t *to, const struct feature_reply *rep)
{
	const uint8_t *at = rep->resp;

	if (rep->err || resp_pick_header(&at, rep->resp + rep->n, ':', to))
		*to = -1;
	step_done(m, rep);
}

static void value_life(void *arg, const struct feature_reply *rep) { life_read(arg, &((struct meta *)arg)->value_ms, rep); }
static void record_life(void *arg, const struct feature_reply *rep) { life_read(arg, &((struct meta *)arg)->record_ms, rep); }

static void do_meta(struct feature_call *f)
{
	struct meta *m = arena_get(f->arena, sizeof *m);
	purser_bytes *v = arena_get(f->arena, 7 * sizeof *v), key = feature_key(f, f->argv[1]), rec = record_name(f, f->argv[1]);

	if (!m || !v || !key.p || !rec.p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	*m = (struct meta){ .f = f, .left = 3, .key = key, .record = rec };
	v[0] = text("MGET");
	v[3] = v[5] = text("PTTL");
	v[1] = v[4] = key;
	v[2] = v[6] = rec;
	feature_ask(f, CMD_MGET, v, 3, both_read, m);
	feature_ask(f, CMD_PTTL, v + 3, 2, value_life, m);
	feature_ask(f, CMD_PTTL, v + 5, 2, record_life, m);
}

/* ---- CACHE.MSET ttl-ms key value [key value ...] --------------------------------------------------------------- */

static void all_set(void *arg, const struct feature_reply *rep)
{
	struct feature_call *f = arg;

	if (rep->err) {
		tally_sets(f, TALLY_ERRORS, 1);
		feature_pass_error(f, rep);
		return;
	}
	tally_sets(f, TALLY_SETS, (f->argc - 2) / 2);
	reply_integer(f->b, (f->argc - 2) / 2);
	feature_end(f);
}

static void do_mset(struct feature_call *f)
{
	uint32_t n = (f->argc - 2) / 2;
	purser_bytes *keys = arena_get(f->arena, n * sizeof *keys), *args = arena_get(f->arena, (n + 1) * sizeof *args);
	int64_t life;

	if (f->argc % 2) {
		feature_syntax(f, "CACHE.MSET ttl-ms key value [key value ...]");
		return;
	}
	if (!life_ok(f->argv[1], &life)) {
		feature_error(f, "ERR invalid expire time in 'cache.mset' command");
		return;
	}
	for (uint32_t i = 0; keys && args && i < n; i++) {
		keys[i] = feature_key(f, f->argv[2 + 2 * i]);
		args[1 + i] = f->argv[3 + 2 * i];
		if (!keys[i].p)
			keys = NULL;
	}
	if (args)
		args[0] = feature_number(f->arena, life);
	if (!keys || !args || !args[0].p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	feature_script(f, LUA_CACHE_MSET, keys, n, args, n + 1, all_set, f);
}

void cache_meta_commands(feature_handler *t)
{
	t[CMD_CACHE_SETM] = do_setm;
	t[CMD_CACHE_META] = do_meta;
	t[CMD_CACHE_MSET] = do_mset;
}
