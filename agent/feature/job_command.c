/* SPDX-License-Identifier: Apache-2.0
 *
 * CACHE.CLEAR, CACHE.COUNT, CACHE.TTLREPAIR, CACHE.EXPORT, PURSER.JOB.*: words in, a message to the jobs' thread, and
 * what it answers as a map.  None of them asks the store anything: that is the job's, whatever becomes of the client.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include <purser/resp.h>
#include "feature/job_service.h"
#include "feature/rooms.h"

#define FETCH_COUNT 65536

static const char *const usage[JOB_KINDS] = {
	[JOB_CLEAR] = "CACHE.CLEAR pattern [RATE keys/s] [DRYRUN]",
	[JOB_COUNT] = "CACHE.COUNT pattern [RATE keys/s]",
	[JOB_TTLREPAIR] = "CACHE.TTLREPAIR pattern ttl-ms [CAP] [RATE keys/s] [DRYRUN]",
	[JOB_EXPORT] = "CACHE.EXPORT pattern [RATE keys/s]",
};
static const char start_usage[] = "PURSER.JOB.START clear|count|ttlrepair|export pattern [TTL ms] [CAP] [RATE keys/s] [DRYRUN]";
static const char fetch_usage[] = "PURSER.JOB.FETCH id [OFFSET bytes] [COUNT bytes]";

/* ---- out ---- */

static void put_instant(struct bcall *b, const char *name, uint64_t ms)
{
	reply_text(b, name);
	if (ms)
		reply_integer(b, (int64_t)ms);
	else
		reply_null(b);
}

static void put_integer(struct bcall *b, const char *name, uint64_t v)
{
	reply_text(b, name);
	reply_integer(b, (int64_t)v);
}

static void put_text(struct bcall *b, const char *name, const char *text)
{
	reply_text(b, name);
	reply_text(b, text);
}

/* One decimal, and no more: a double would show as 27.300000000000001. */
static void put_percent(struct bcall *b, int32_t ppm, uint8_t resp)
{
	char text[32];
	int n = snprintf(text, sizeof text, resp == 3 ? ",%d.%d\r\n" : "%d.%d", ppm / 10000, ppm / 1000 % 10);

	if (ppm < 0)
		reply_null(b);
	else if (resp == 3)
		reply_raw(b, text, (size_t)n);
	else
		reply_bulk(b, text, (size_t)n);
}

/* As many pairs for every kind, so that whoever reads it need not know which one it is. */
static void put_job(struct bcall *b, const struct job_shown *v, uint8_t resp)
{
	const struct job *j = &v->job;

	reply_map(b, 22);
	put_text(b, "id", j->id);
	put_text(b, "kind", job_kind_name(j->kind));
	put_text(b, "state", job_state_name(j->state));
	reply_text(b, "pattern");
	reply_bulk(b, j->pattern, j->pattern_n);
	put_integer(b, "database", j->db);
	reply_text(b, "dry_run");
	reply_boolean(b, j->dry_run);
	put_integer(b, "rate", j->rate);
	put_integer(b, "ttl_ms", (uint64_t)j->ttl_ms);
	reply_text(b, "cap");
	reply_boolean(b, j->cap);
	reply_text(b, "progress");
	put_percent(b, v->progress_ppm, resp);
	reply_text(b, "eta_ms");
	if (v->eta_ms < 0)
		reply_null(b);
	else
		reply_integer(b, v->eta_ms);
	put_integer(b, "walked", j->walked);
	put_integer(b, "matched", j->matched);
	put_integer(b, "changed", j->changed);
	put_integer(b, "bytes", j->bytes);
	put_integer(b, "passes", j->passes);
	put_integer(b, "resumed", j->resumed);
	put_text(b, "reason", j->reason);
	put_instant(b, "created_ms", j->created_ms);
	put_instant(b, "started_ms", j->started_ms);
	put_instant(b, "ended_ms", j->ended_ms);
	put_integer(b, "uid", j->uid);
}

static void put_piece(struct bcall *b, const struct job_request *q)
{
	const struct job *j = &q->v->job;
	uint64_t next = q->offset + q->data_n;

	reply_map(b, 6);
	put_text(b, "id", j->id);
	put_text(b, "state", job_state_name(j->state));
	put_integer(b, "offset", q->offset);
	put_integer(b, "next_offset", next);
	/* There will be no more behind it. */
	reply_text(b, "complete");
	reply_boolean(b, job_over(j->state) && next >= j->bytes);
	reply_text(b, "names");
	reply_bulk(b, q->data, q->data_n);
}

static void answered(void *arg)
{
	struct job_request *q = arg;
	struct feature_call *f = q->arg;

	if (q->err) {
		reply_failure(f->b, q->err, q->error);
	} else if (q->want == JOB_WANT_LIST) {
		reply_array(f->b, q->n);
		for (uint32_t i = 0; i < q->n; i++)
			put_job(f->b, &q->v[i], f->resp);
	} else if (q->want == JOB_WANT_START && !f->http) {
		reply_text(f->b, q->v->job.id);
	} else if (q->want == JOB_WANT_FETCH) {
		put_piece(f->b, q);
	} else {
		put_job(f->b, q->v, f->resp);
	}
	job_request_free(q);
	feature_end(f);
}

/* ---- in ---- */

static struct job_request *request(struct feature_call *f, enum job_want want)
{
	struct job_request *q = job_request_new();

	if (!q) {
		feature_fail(f, ERR_OOM, NULL);
		return NULL;
	}
	q->want = (uint8_t)want;
	q->home = f->w->loop;
	q->arg = f;
	snprintf(q->project, sizeof q->project, "%s", f->project->name);
	return q;
}

static void send(struct feature_call *f, struct job_request *q)
{
	jobs_post(f->w->room[ROOM_JOB], q, answered);
}

static void give_up(struct feature_call *f, struct job_request *q, const char *text)
{
	job_request_free(q);
	feature_syntax(f, text);
}

static bool number(const struct feature_call *f, uint32_t at, int64_t min, int64_t max, int64_t *v)
{
	return at < f->argc && !purser_resp_int(f->argv[at].p, f->argv[at].n, v) && *v >= min && *v <= max;
}

/* The options from `at` on.  False: they are not of this kind of job. */
static bool options(const struct feature_call *f, uint32_t at, struct job *j, bool ttl_word)
{
	bool repair = j->kind == JOB_TTLREPAIR, writes = repair || j->kind == JOB_CLEAR;
	int64_t v;

	for (; at < f->argc; at++) {
		purser_bytes w = f->argv[at];

		if (cmd_word_is(w, "RATE") && !j->rate && number(f, at + 1, 1, JOB_RATE_MAX, &v)) {
			j->rate = (uint32_t)v;
			at++;
		} else if (cmd_word_is(w, "TTL") && ttl_word && repair && !j->ttl_ms &&
		    number(f, at + 1, 1, JOB_TTL_MAX_MS, &v)) {
			j->ttl_ms = v;
			at++;
		} else if (cmd_word_is(w, "DRYRUN") && writes && !j->dry_run) {
			j->dry_run = true;
		} else if (cmd_word_is(w, "CAP") && repair && !j->cap) {
			j->cap = true;
		} else {
			return false;
		}
	}
	return !repair || j->ttl_ms;
}

/* words: argv[at] is the pattern. */
static void start(struct feature_call *f, enum job_kind kind, uint32_t at, const char *how)
{
	struct job_request *q = request(f, JOB_WANT_START);
	bool named = f->cmd->id == CMD_CACHE_TTLREPAIR;
	purser_bytes pattern = f->argv[at];
	struct job *j;

	if (!q)
		return;
	j = &q->fresh;
	j->kind = (uint8_t)kind;
	j->db = f->db;
	j->uid = f->id->peer.uid;
	if ((named && !number(f, at + 1, 1, JOB_TTL_MAX_MS, &j->ttl_ms)) ||
	    !options(f, at + 1 + named, j, !named)) {
		give_up(f, q, how);
		return;
	}
	if (pattern.n == 0 || pattern.n >= JOB_PATTERN_MAX) {
		job_request_free(q);
		feature_fail(f, ERR_BADREQUEST, "a pattern has 1 to 1023 bytes; * matches every key");
		return;
	}
	memcpy(j->pattern, pattern.p, pattern.n);
	j->pattern_n = (uint32_t)pattern.n;
	send(f, q);
}

static void do_clear(struct feature_call *f) { start(f, JOB_CLEAR, 1, usage[JOB_CLEAR]); }
static void do_count(struct feature_call *f) { start(f, JOB_COUNT, 1, usage[JOB_COUNT]); }
static void do_ttlrepair(struct feature_call *f) { start(f, JOB_TTLREPAIR, 1, usage[JOB_TTLREPAIR]); }
static void do_export(struct feature_call *f) { start(f, JOB_EXPORT, 1, usage[JOB_EXPORT]); }

/* May whoever asks have a job of this kind?  As if he had said it by the command of its own. */
static bool may(struct feature_call *f, enum job_kind kind, purser_bytes pattern)
{
	static const enum cmd_id commands[JOB_KINDS] = { [JOB_CLEAR] = CMD_CACHE_CLEAR, [JOB_COUNT] = CMD_CACHE_COUNT,
		[JOB_TTLREPAIR] = CMD_CACHE_TTLREPAIR, [JOB_EXPORT] = CMD_CACHE_EXPORT };
	const char *name = cmd_rows[commands[kind]].name;
	purser_bytes words[3] = { { (const uint8_t *)name, strlen(name) }, pattern, { (const uint8_t *)"1", 1 } };

	return feature_may(f, commands[kind], words, kind == JOB_TTLREPAIR ? 3 : 2);
}

static void do_start(struct feature_call *f)
{
	int kind = -1;

	for (int k = 0; k < JOB_KINDS; k++)
		if (cmd_word_is(f->argv[1], job_kind_name((uint8_t)k)))
			kind = k;
	if (kind < 0)
		feature_syntax(f, start_usage);
	else if (!may(f, (enum job_kind)kind, f->argv[2]))
		feature_fail(f, ERR_NOPERM, "a job of this kind needs what its own command needs, redis:write if it changes keys: "
		    "PURSER.WHOAMI shows what you have");
	else
		start(f, (enum job_kind)kind, 2, start_usage);
}

/* argv[1] is an id; else it is answered, and the result is NULL. */
static struct job_request *of_job(struct feature_call *f, enum job_want want)
{
	struct job_request *q = request(f, want);

	if (!q)
		return NULL;
	if (!job_id_ok((const char *)f->argv[1].p, f->argv[1].n)) {
		job_request_free(q);
		feature_fail(f, ERR_NOKEY, "the project has no such job: PURSER.JOB.LIST shows those it has");
		return NULL;
	}
	memcpy(q->id, f->argv[1].p, JOB_ID);
	return q;
}

static void do_show(struct feature_call *f)
{
	struct job_request *q = of_job(f, JOB_WANT_SHOW);

	if (q)
		send(f, q);
}

static void do_list(struct feature_call *f)
{
	struct job_request *q = request(f, JOB_WANT_LIST);

	if (q)
		send(f, q);
}

static void do_cancel(struct feature_call *f)
{
	struct job_request *q = of_job(f, JOB_WANT_CANCEL);

	if (!q)
		return;
	q->may_write = may(f, JOB_CLEAR, (purser_bytes){ (const uint8_t *)"*", 1 });
	send(f, q);
}

static void do_fetch(struct feature_call *f)
{
	struct job_request *q = of_job(f, JOB_WANT_FETCH);
	bool offset = false, count = false;
	int64_t v;

	if (!q)
		return;
	q->count = FETCH_COUNT;
	for (uint32_t at = 2; at < f->argc; at += 2) {
		if (cmd_word_is(f->argv[at], "OFFSET") && !offset && number(f, at + 1, 0, INT64_MAX, &v)) {
			q->offset = (uint64_t)v;
			offset = true;
		} else if (cmd_word_is(f->argv[at], "COUNT") && !count && number(f, at + 1, 1, JOB_FETCH_MAX, &v)) {
			q->count = (uint32_t)v;
			count = true;
		} else {
			give_up(f, q, fetch_usage);
			return;
		}
	}
	send(f, q);
}

void job_commands(feature_handler *t)
{
	t[CMD_CACHE_CLEAR] = do_clear;
	t[CMD_CACHE_COUNT] = do_count;
	t[CMD_CACHE_TTLREPAIR] = do_ttlrepair;
	t[CMD_CACHE_EXPORT] = do_export;
	t[CMD_PURSER_JOB_START] = do_start;
	t[CMD_PURSER_JOB] = do_show;
	t[CMD_PURSER_JOB_LIST] = do_list;
	t[CMD_PURSER_JOB_CANCEL] = do_cancel;
	t[CMD_PURSER_JOB_FETCH] = do_fetch;
}
