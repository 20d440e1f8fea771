/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits of a project: rates, requests under way, connections.  A request pays once, in stage admit, for itself
 * or, EXEC, for its commands; what the agent sends on its behalf (steps, retries) is paid for with that.
 */
#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "request_stage.h"

/* What the agent answers itself is free, and so is what ends something: it must never be refused. */
static bool is_free(const struct command *c)
{
	switch (c->id) {
	case CMD_EXEC: case CMD_WATCH:
		return false;
	case CMD_UNSUBSCRIBE: case CMD_PUNSUBSCRIBE: case CMD_SUNSUBSCRIBE:
		return true;
	default:
		return c->run == RUN_LOCAL || (c->flags & F_ALLOWBUSY);
	}
}

static uint64_t ms_of(uint64_t ns)
{
	return (ns + 999999) / 1000000;
}

static enum stage_result refuse(struct request *r, const struct limit_ask *a, const struct limit_no *no)
{
	char text[256];

	if (no->wait_ns == GCRA_NEVER) {
		snprintf(text, sizeof text, "project=%s limit=%s: %" PRIu32 " commands at once are more than its burst "
		    "of the [project] section ever allows: send less at a time", r->project->name,
		    limit_names[no->limit], a->commands);
		return req_refuse(r, ERR_TOOBIG, text);
	}
	snprintf(text, sizeof text, "project=%s retry_after_ms=%" PRIu64 " limit=%s", r->project->name,
	    ms_of(no->wait_ns), limit_names[no->limit]);
	return req_refuse(r, ERR_RATELIMITED, text);
}

static const purser_quota *quota_of(const struct limits *l)
{
	return l && (l->quota.max_bytes || l->quota.max_keys) ? &l->quota : NULL;
}

enum stage_result limit_admit(struct request *r)
{
	const struct limits *l = r->project->limits;
	struct client *c = r->cl;
	struct limit_ask a = { .commands = 1, .bytes = r->wire_in, .now_ns = loop_now(c->w->loop),
		.waits = (r->b.c.flags & PURSER_CALL_BLOCKS) != 0 };
	struct limit_no no;

	if (is_free(r->cmd))
		return STAGE_NEXT;
	r->b.c.quota = quota_of(l);
	if (r->b.source)
		a.bytes = 0; /* they are still on their way */
	a.writes = (r->cmd->flags & (F_WRITE | F_MAYWRITE)) != 0;
	if (r->cmd->id == CMD_EXEC && !tx_counts(c, &a.commands, &a.writes, &a.bytes))
		return STAGE_NEXT; /* there is nothing to run */
	if (c->limit_ns != r->project->ns + 1) { /* its own meters are this project's from here on */
		memset(c->limit, 0, sizeof c->limit);
		c->limit_ns = r->project->ns + 1;
	}
	if (!limits_take(l, c->limit, &a, &no))
		return refuse(r, &a, &no);
	r->limited = a.waits ? LIMITED_WAITS : LIMITED;
	return STAGE_NEXT;
}

void limit_done(struct request *r)
{
	uint64_t bytes = r->b.reply_bytes + (r->b.c.flags & PURSER_CALL_STREAMED ? r->wire_in : 0);

	/* Has its client gone to another project meanwhile, the meters are that one's: nobody minds. */
	limits_done(r->project->limits, r->cl->limit, r->limited == LIMITED_WAITS, bytes, loop_now(r->cl->w->loop));
	r->limited = 0;
}

/* The limits of a generation go with it: there may be others now, or none.  What counts elsewhere ends there. */
void limit_moved(struct request *r, const struct project *to)
{
	const struct limits *l = to->limits;

	r->b.c.quota = quota_of(l);
	if (!r->limited || (l && l->use == r->project->limits->use))
		return;
	limits_done(r->project->limits, r->cl->limit, r->limited == LIMITED_WAITS, 0, loop_now(r->cl->w->loop));
	r->limited = 0;
}

/* ---- connections ---- */

static void count_out(struct client *c)
{
	if (!c->counted)
		return;
	atomic_fetch_sub_explicit(&c->counted->connections, 1, memory_order_relaxed);
	limit_use_unref(c->counted);
	c->counted = NULL;
}

static bool count_in(struct client *c, const struct limits *l, bool in_any_case)
{
	if (atomic_fetch_add_explicit(&l->use->connections, 1, memory_order_relaxed) >= l->max_connections &&
	    l->max_connections && !in_any_case) {
		atomic_fetch_sub_explicit(&l->use->connections, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&l->use->refused[LIMIT_CONNECTIONS], 1, memory_order_relaxed);
		return false;
	}
	c->counted = limit_use_ref(l->use);
	return true;
}

/* Whose client it is, for INFO of that project. */
static void tally(struct client *c, const struct project *p)
{
	struct metric_reg *reg = c->w->metrics->reg;
	struct metric_clients *to = p ? metric_clients_of(reg, p->metric_id) : NULL;
	uint16_t id = to ? (uint16_t)(p->metric_id + 1) : 0;

	if (id == c->tallied)
		return;
	if (c->tallied)
		atomic_fetch_sub_explicit(&metric_clients_of(reg, (uint16_t)(c->tallied - 1))->now, 1, memory_order_relaxed);
	c->tallied = id;
	if (!to)
		return;
	atomic_fetch_add_explicit(&to->now, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&to->ever, 1, memory_order_relaxed);
}

bool limit_entered(struct client *c)
{
	const struct limits *l = c->project && !c->gone ? c->project->limits : NULL;
	uint32_t place = c->project ? c->project->ns + 1 : 0;
	bool stays = place == c->place && !c->turned_away;

	tally(c, c->gone ? NULL : c->project);
	c->turned_away = false;
	if (c->counted && l && c->counted == l->use) {
		c->place = place;
		return true;
	}
	count_out(c);
	c->place = place;
	if (l && !count_in(c, l, stays)) /* a reload turns nobody out */
		c->turned_away = true;
	return !c->turned_away;
}

void limit_left(struct client *c)
{
	tally(c, NULL);
	count_out(c);
	c->place = 0;
}

const char *limit_full(const struct client *c, char *text, size_t cap)
{
	snprintf(text, cap, "project=%s retry_after_ms=1000 limit=%s: it has as many connections as max_connections of "
	    "its [project] section allows", c->project->name, limit_names[LIMIT_CONNECTIONS]);
	return text;
}
