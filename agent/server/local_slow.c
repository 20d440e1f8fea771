/* SPDX-License-Identifier: Apache-2.0
 *
 * SLOWLOG and LATENCY: what the agent itself has seen of the caller's project.  A time is that of the whole request,
 * from reading it to the end of its reply: the store's own is not known of a server that others use too.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <purser/resp.h>
#include "base/buf.h"
#include "metric/slowlog.h"
#include "server/local.h"

static struct slowlogs *logs(const struct request *r) { return r->cl->w->slow; }

/* ---- SLOWLOG ---- */

static void put_count(void *arg, uint64_t n)
{
	reply_array(&((struct request *)arg)->b, n);
}

static void put_entry(void *arg, const struct slow_entry *e)
{
	struct bcall *b = &((struct request *)arg)->b;
	char who[48];
	size_t at = 0;

	reply_array(b, 6);
	reply_integer(b, (int64_t)e->id);
	reply_integer(b, (int64_t)e->unix_s);
	reply_integer(b, (int64_t)e->us);
	reply_array(b, e->argc);
	for (uint32_t i = 0; i < e->argc; i++) {
		purser_bytes w = slow_word(e, &at);

		reply_bulk(b, w.p, w.n);
	}
	if (e->uid == UINT32_MAX)
		snprintf(who, sizeof who, "unknown");
	else
		snprintf(who, sizeof who, "unix:%u uid:%u", e->pid, e->uid);
	reply_text(b, who);
	reply_text(b, e->client);
}

static void do_get(struct request *r)
{
	int64_t n = 10;

	if (r->argc > 3) {
		local_error(r, "ERR wrong number of arguments for 'slowlog|get' command");
		return;
	}
	if (r->argc == 3 && (purser_resp_int(word(r, 2).p, word(r, 2).n, &n) || n < -1)) {
		local_error(r, "ERR count should be greater than or equal to -1");
		return;
	}
	slowlog_each(logs(r), r->project->name, n < 0 ? UINT64_MAX : (uint64_t)n, put_count, put_entry, r);
	req_finish(r);
}

static void do_len(struct request *r)
{
	reply_integer(&r->b, (int64_t)slowlog_len(logs(r), r->project->name));
	req_finish(r);
}

static void do_reset(struct request *r)
{
	slowlog_reset(logs(r), r->project->name);
	local_ok(r);
}

/* ---- LATENCY: events ---- */

static int event_of(purser_bytes w)
{
	for (int e = 0; e < SLOW_EVENTS; e++)
		if (word_is(w, slow_event_name((enum slow_event)e)))
			return e;
	return -1;
}

static void get(const struct request *r, int e, struct slow_series *s)
{
	slow_series_get(logs(r), r->project->name, (enum slow_event)e, s);
}

static void do_history(struct request *r)
{
	struct slow_series s = { .n = 0 };
	int e = event_of(word(r, 2));

	if (e >= 0)
		get(r, e, &s);
	reply_array(&r->b, s.n);
	for (uint32_t i = 0; i < s.n; i++) {
		reply_array(&r->b, 2);
		reply_integer(&r->b, s.v[i].unix_s);
		reply_integer(&r->b, s.v[i].ms);
	}
	req_finish(r);
}

static void do_latest(struct request *r)
{
	struct slow_series s[SLOW_EVENTS];
	unsigned n = 0;

	for (int e = 0; e < SLOW_EVENTS; e++) {
		get(r, e, &s[e]);
		n += s[e].n != 0;
	}
	reply_array(&r->b, n);
	for (int e = 0; e < SLOW_EVENTS; e++) {
		if (!s[e].n)
			continue;
		reply_array(&r->b, 4);
		reply_text(&r->b, slow_event_name((enum slow_event)e));
		reply_integer(&r->b, s[e].v[s[e].n - 1].unix_s);
		reply_integer(&r->b, s[e].v[s[e].n - 1].ms);
		reply_integer(&r->b, s[e].max_ms);
	}
	req_finish(r);
}

static void do_latency_reset(struct request *r)
{
	int64_t n = 0;

	for (int e = 0; e < SLOW_EVENTS; e++) {
		bool named = r->argc == 2;

		for (uint32_t i = 2; i < r->argc && !named; i++)
			named = event_of(word(r, i)) == e;
		n += named && slow_series_reset(logs(r), r->project->name, (enum slow_event)e);
	}
	reply_integer(&r->b, n);
	req_finish(r);
}

#define ROWS 4u
#define COLUMNS 80u

/* A column a sample: as many rows as it is high between the least and the greatest. */
static void draw(struct buf *b, const struct slow_series *s, const char *name)
{
	uint32_t from = s->n > COLUMNS ? s->n - COLUMNS : 0, low = UINT32_MAX, high = 0;

	for (uint32_t i = from; i < s->n; i++) {
		low = s->v[i].ms < low ? s->v[i].ms : low;
		high = s->v[i].ms > high ? s->v[i].ms : high;
	}
	buf_printf(b, "%s - high %u ms, low %u ms (all time high %u ms)\n", name, high, low, s->max_ms);
	for (uint32_t i = 0; i < COLUMNS; i++)
		buf_putc(b, '-');
	buf_putc(b, '\n');
	for (uint32_t row = ROWS; row > 0; row--) {
		for (uint32_t i = from; i < s->n; i++) {
			uint64_t h = high > low ? (uint64_t)(s->v[i].ms - low) * (ROWS - 1) / (high - low) : 0;

			buf_putc(b, h + 1 > row ? '|' : h + 1 == row ? '_' : ' ');
		}
		buf_putc(b, '\n');
	}
}

static void do_graph(struct request *r)
{
	struct slow_series s = { .n = 0 };
	int e = event_of(word(r, 2));
	struct buf b = { .max = 65536 };
	char text[160];

	if (e >= 0)
		get(r, e, &s);
	if (!s.n) {
		snprintf(text, sizeof text, "ERR No samples available for event '%.*s'",
		    (int)(word(r, 2).n < 100 ? word(r, 2).n : 100), (const char *)word(r, 2).p);
		local_error(r, text);
		return;
	}
	draw(&b, &s, slow_event_name((enum slow_event)e));
	local_text(r, &b);
}

static void do_doctor(struct request *r)
{
	struct buf b = { .max = 65536 };
	struct slow_series s;
	bool any = false;

	for (int e = 0; e < SLOW_EVENTS; e++) {
		uint64_t sum = 0;

		get(r, e, &s);
		for (uint32_t i = 0; i < s.n; i++)
			sum += s.v[i].ms;
		if (s.n)
			buf_printf(&b, "%s: %u slow moments of this project (average %llu ms, the worst %u ms, the latest %u ms)\n",
			    slow_event_name((enum slow_event)e), s.n, (unsigned long long)(sum / s.n), s.max_ms,
			    s.v[s.n - 1].ms);
		any |= s.n != 0;
	}
	buf_puts(&b, any ? "SLOWLOG GET shows which requests they were and whose; PURSER.HEALTH how the backend is.\n" :
	    "No request of this project took slowlog_slower_than of [agent] or longer.\n");
	local_text(r, &b);
}

/* ---- LATENCY HISTOGRAM ---- */

struct histograms { struct hist_sum *by_command; }; /* [CMD_COUNT] */

static void add(void *arg, const struct metric_key *key, const struct hist_sum *sum)
{
	struct histograms *h = arg;

	if (key->command >= CMD_COUNT)
		return;
	h->by_command[key->command].count += sum->count;
	for (unsigned i = 0; i < HIST_BINS; i++)
		h->by_command[key->command].bin[i] += sum->bin[i];
}

/* The edges of Redis' buckets, in microseconds. */
static const uint64_t edges[] = { 1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908, 33816, 67633,
	135266, 270532, 541065, 1082130, 2164260, 4328521, 8657043, 17314086, 34628173, 69256347, 138512695,
	277025390, 554050781, 1000000000 };
#define EDGES (sizeof edges / sizeof *edges)

static void put_histogram(struct bcall *b, const char *name, const struct hist_sum *sum)
{
	uint64_t bounds[EDGES], n[EDGES + 1], seen = 0;
	unsigned used = 0;

	for (unsigned i = 0; i < EDGES; i++)
		bounds[i] = edges[i] * 1000;
	hist_explicit(sum, bounds, EDGES, n);
	n[EDGES - 1] += n[EDGES]; /* what took longer than the last one */
	for (unsigned i = 0; i < EDGES; i++)
		used += n[i] != 0;
	reply_text(b, name);
	reply_map(b, 2);
	reply_text(b, "calls");
	reply_integer(b, (int64_t)sum->count);
	reply_text(b, "histogram_usec");
	reply_map(b, used);
	for (unsigned i = 0; i < EDGES; i++) {
		seen += n[i];
		if (!n[i])
			continue;
		reply_integer(b, (int64_t)edges[i]);
		reply_integer(b, (int64_t)seen);
	}
}

/* Asked for by name, as itself or by its container; or all are. */
static bool asked(const struct request *r, const struct command *c)
{
	size_t head = strcspn(c->name, "|");

	for (uint32_t i = 2; i < r->argc; i++)
		if (word_is(word(r, i), c->name) || (word(r, i).n == head && head < c->name_len &&
		    strncasecmp((const char *)word(r, i).p, c->name, head) == 0))
			return true;
	return r->argc == 2;
}

static void do_histogram(struct request *r)
{
	struct histograms h = { calloc(CMD_COUNT, sizeof *h.by_command) };
	char name[64];
	unsigned n = 0;

	if (!h.by_command) {
		local_failure(r, ERR_OOM, NULL);
		return;
	}
	metric_each_latency(r->cl->w->metrics->reg, r->project->metric_id, add, &h);
	for (unsigned i = 0; i < CMD_COUNT; i++)
		n += h.by_command[i].count && asked(r, &cmd_rows[i]);
	reply_map(&r->b, n);
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (h.by_command[i].count && asked(r, &cmd_rows[i])) {
			cmd_lower(&cmd_rows[i], name, sizeof name);
			put_histogram(&r->b, name, &h.by_command[i]);
		}
	free(h.by_command);
	req_finish(r);
}

void local_slow(req_handler *t)
{
	t[CMD_SLOWLOG_GET] = do_get;
	t[CMD_SLOWLOG_LEN] = do_len;
	t[CMD_SLOWLOG_RESET] = do_reset;
	t[CMD_LATENCY_HISTORY] = do_history;
	t[CMD_LATENCY_LATEST] = do_latest;
	t[CMD_LATENCY_RESET] = do_latency_reset;
	t[CMD_LATENCY_GRAPH] = do_graph;
	t[CMD_LATENCY_DOCTOR] = do_doctor;
	t[CMD_LATENCY_HISTOGRAM] = do_histogram;
}
