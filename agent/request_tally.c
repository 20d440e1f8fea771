/* SPDX-License-Identifier: Apache-2.0 */
/* request_tally: see request_tally.h. */
#include <config.h>
#include <string.h>
#include "request_tally.h"

/* ---- looking at replies ---- */

struct told {
	struct reply_filter f;
	struct reply_filter *then;
	struct request *r;
	bool error;                     /* nothing to count */
	bool nulls;                     /* count them; else the reply is an integer */
	purser_scan scan;
	size_t have;
	uint8_t hold[32];               /* a line that has not all come */
};

static int pass_on(struct told *v, const uint8_t *p, size_t n)
{
	return v->then ? v->then->feed(v->then, p, n) : out_put(v->r->b.out, v->r->b.pool, p, n);
}

static int look_integer(struct told *v, const uint8_t *p, size_t n)
{
	if (n > sizeof v->hold - v->have)
		return -1;
	memcpy(v->hold + v->have, p, n);
	v->have += n;
	if (v->have < 4 || v->hold[v->have - 1] != '\n')
		return 0;
	return v->hold[0] != ':' || purser_resp_int(v->hold + 1, v->have - 3, &v->r->told) ? -1 : 0;
}

static int look_nulls(struct told *v, const uint8_t *p, size_t n)
{
	int64_t k = 0;

	while (v->have && n) {
		if (v->have == sizeof v->hold)
			return -1;
		v->hold[v->have++] = *p++;
		n--;
		k = purser_scan_feed(&v->scan, v->hold, v->have);
		if (k < 0)
			return -1;
		if (k > 0)
			v->have = 0;
	}
	if (n)
		k = purser_scan_feed(&v->scan, p, n);
	if (k < 0 || (n && n - (size_t)k > sizeof v->hold))
		return -1;
	if (n) {
		memcpy(v->hold, p + k, n - (size_t)k);
		v->have = n - (size_t)k;
	}
	v->r->told = v->scan.nulls;
	return 0;
}

static int told_feed(struct reply_filter *f, const uint8_t *p, size_t n)
{
	struct told *v = (struct told *)f;

	if (n && !v->have && *p == '-' && v->scan.need == 1)
		v->error = true;
	if (!v->error && (v->nulls ? look_nulls(v, p, n) : look_integer(v, p, n)))
		return -1;
	return pass_on(v, p, n);
}

static int begin(struct request *r, bool nulls)
{
	struct told *v = arena_get(&r->arena, sizeof *v);

	if (!v)
		return -1;
	v->f = (struct reply_filter){ .feed = told_feed };
	v->then = r->b.filter;
	v->r = r;
	v->error = false;
	v->nulls = nulls;
	v->have = 0;
	purser_scan_begin(&v->scan);
	r->b.filter = &v->f;
	return 0;
}

int tally_told(struct request *r)
{
	return begin(r, false);
}

static bool tells(const struct request *r)
{
	const struct purser_ctx *x = r->b.c.ctx ? r->b.c.ctx : r->cl->w->ctx[r->project->instance];

	return !x || x->p->caps & PURSER_CAP_TELLS_NULLS;
}

int tally_nulls(struct request *r)
{
	return tells(r) ? 0 : begin(r, true);
}

/* ---- counting ---- */

static void reads(struct metric_tally *t, uint64_t keys, uint64_t misses)
{
	if (misses > keys) /* a store that makes no sense */
		misses = keys;
	metric_tally_add(t, TALLY_HITS, keys - misses);
	metric_tally_add(t, TALLY_MISSES, misses);
}

/* Without GET a null says that NX or XX was not met; with it, that there was no value. */
static void count_set(struct metric_tally *t, const struct tally_end *e)
{
	struct cmd_set_options o = { .nx = false };
	bool null = e->nulls != 0;

	if (e->argc > 3)
		cmd_set_options(&o, e->argv, e->argc);
	if (o.get)
		reads(t, 1, null);
	metric_tally_add(t, TALLY_SETS, !o.get ? !null : o.nx ? null : o.xx ? !null : 1);
}

void tally_count(struct metric_tally *t, const struct tally_end *e)
{
	uint64_t told = e->told > 0 ? (uint64_t)e->told : 0;

	if (e->failed) {
		metric_tally_add(t, TALLY_ERRORS, 1);
		return;
	}
	switch ((enum cmd_count)cmd_counted[e->cmd->id]) {
	case COUNT_GETDEL:
		metric_tally_add(t, TALLY_DELETES, !e->nulls);
		reads(t, 1, e->nulls);
		break;
	case COUNT_GETSET:
		metric_tally_add(t, TALLY_SETS, 1);
		reads(t, 1, e->nulls);
		break;
	case COUNT_GET:
		reads(t, 1, e->nulls);
		break;
	case COUNT_MGET:
		reads(t, e->nkeys, e->nulls);
		break;
	case COUNT_EXISTS:
		reads(t, e->nkeys, told > e->nkeys ? 0 : e->nkeys - told);
		break;
	case COUNT_SET:
		count_set(t, e);
		break;
	case COUNT_SETEX:
		metric_tally_add(t, TALLY_SETS, 1);
		break;
	case COUNT_SETNX:
		metric_tally_add(t, TALLY_SETS, told != 0);
		break;
	case COUNT_MSET:
		metric_tally_add(t, TALLY_SETS, e->nkeys);
		break;
	case COUNT_MSETNX:
		metric_tally_add(t, TALLY_SETS, told ? e->nkeys : 0);
		break;
	case COUNT_DEL:
		metric_tally_add(t, TALLY_DELETES, told);
		break;
	case COUNT_NOT:
		break;
	}
}

void tally_rest(struct request *r)
{
	struct tally_end e = { .cmd = r->cmd, .argv = r->argv, .argc = r->argc, .nkeys = r->b.c.nkeys,
		.nulls = r->b.c.nulls, .told = r->told, .failed = r->b.err != 0 };

	if (r->b.discard || !r->cmd || !cmd_counted[r->cmd->id] || !r->project)
		return;
	if (!e.failed && (r->local || !r->b.c.ctx)) /* it waits for EXEC */
		return;
	if (cmd_counted[r->cmd->id] == COUNT_MGET && !tells(r))
		e.nulls = (uint32_t)r->told;
	if (r->here && r->here < r->argc) /* streamed: its options are gone */
		e.argc = r->here;
	tally_count(metric_tally(r->cl->w->metrics, r->project->metric_id), &e);
}
