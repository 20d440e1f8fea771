/* SPDX-License-Identifier: Apache-2.0
 *
 * CACHE.STATS.  What the project's reads and writes found is counted by the agent (metric/tally.h).  Keys, memory and
 * evictions are the store's to know: one in this process keeps them by project; a server behind the agent knows them
 * of itself alone, which is told only to a project that has it to itself.  Null: nobody knows.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "metric/tally.h"
#include "resp/pick.h"
#include "server/local.h"

struct known {                          /* -1: not known */
	int64_t keys, used, max, evicted;
	const char *scope;              /* "project", "server"; NULL: nothing is known */
};

static void put_integer(struct bcall *b, const char *name, int64_t v)
{
	reply_text(b, name);
	if (v < 0)
		reply_null(b);
	else
		reply_integer(b, v);
}

static void put_tally(struct request *r, const struct known *k)
{
	struct metric_reg *reg = r->cl->w->metrics->reg;
	uint64_t v[TALLY_COUNT], since, gone = metric_tally_evicted(reg, r->project->metric_id), reads;
	struct bcall *b = &r->b;

	metric_tally_read(reg, r->project->metric_id, v, &since);
	reads = v[TALLY_HITS] + v[TALLY_MISSES];
	reply_map(b, 12);
	put_integer(b, "hits", (int64_t)v[TALLY_HITS]);
	put_integer(b, "misses", (int64_t)v[TALLY_MISSES]);
	reply_text(b, "hit_ratio");
	if (reads)
		reply_number(b, (double)v[TALLY_HITS] / (double)reads);
	else
		reply_null(b);
	put_integer(b, "sets", (int64_t)v[TALLY_SETS]);
	put_integer(b, "deletes", (int64_t)v[TALLY_DELETES]);
	put_integer(b, "errors", (int64_t)v[TALLY_ERRORS]);
	put_integer(b, "keys", k->keys);
	put_integer(b, "memory_used", k->used);
	put_integer(b, "memory_max", k->max);
	put_integer(b, "evicted", k->evicted < 0 ? -1 : k->evicted < (int64_t)gone ? k->evicted : k->evicted - (int64_t)gone);
	reply_text(b, "memory_scope");
	if (k->scope)
		reply_text(b, k->scope);
	else
		reply_null(b);
	put_integer(b, "since_ms", (int64_t)((since ? since : metric_start(reg)) / 1000000));
	req_finish(r);
}

/* ---- what the store knows ---- */

static int64_t line_of(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = text; (at = strstr(at, name)); at += n)
		if ((at == text || at[-1] == '\n') && at[n] == ':')
			return strtoll(at + n + 1, NULL, 10);
	return -1;
}

/* "db0:keys=12,...", of all databases. */
static int64_t server_keys(const char *text)
{
	int64_t n = 0;

	for (const char *at = text; (at = strstr(at, ":keys=")); at += 6)
		n += strtoll(at + 6, NULL, 10);
	return n;
}

static int64_t limit_of(const struct request *r)
{
	const struct limits *l = r->project->limits;

	return l && l->quota.max_bytes ? (int64_t)l->quota.max_bytes : -1;
}

static void read_info(const struct request *r, const char *text, struct known *k)
{
	int64_t own = line_of(text, "used_memory_project"), max = line_of(text, "maxmemory");

	k->max = max > 0 ? max : -1;
	if (own >= 0) {
		k->scope = "project";
		k->used = own;
		k->keys = line_of(text, "project_keys");
		k->evicted = line_of(text, "project_evicted_keys");
		if (limit_of(r) >= 0)
			k->max = limit_of(r);
		return;
	}
	k->scope = "server";
	k->keys = server_keys(text);
	k->used = line_of(text, "used_memory");
	k->evicted = line_of(text, "evicted_keys");
}

static void answer(struct request *r, const struct known *k)
{
	if (r->cmd->id == CMD_CACHE_STATS) {
		put_tally(r, k);
	} else if (metric_tally_reset(r->cl->w->metrics->reg, r->project->metric_id, loop_wall_ms(r->cl->w->loop) * 1000000,
	    k->evicted > 0 ? (uint64_t)k->evicted : 0)) {
		local_failure(r, ERR_OOM, NULL);
	} else {
		local_ok(r);
	}
}

/* A store that does not answer is no reason to keep to ourselves what we know. */
static void informed(void *arg, const struct child_reply *rep)
{
	struct known k = { -1, -1, -1, -1, NULL };
	const uint8_t *at = rep->resp, *end = rep->resp + rep->n;
	struct request *r = arg;
	char *text = NULL;
	int64_t n;

	if (!rep->err && (resp_pick_header(&at, end, '=', &n) == 0 || resp_pick_header(&at, end, '$', &n) == 0) &&
	    n >= 0 && n <= end - at && (text = malloc((size_t)n + 1))) {
		memcpy(text, at, (size_t)n);
		text[n] = '\0';
		read_info(r, text, &k);
	}
	free(text);
	answer(r, &k);
}

static void do_stats(struct request *r)
{
	static const purser_bytes info[] = { { (const uint8_t *)"INFO", 4 }, { (const uint8_t *)"all", 3 } };
	const struct purser_ctx *x = r->cl->w->ctx[r->project->instance];

	if (r->argc > 1 && r->cmd->id == CMD_CACHE_STATS)
		local_error(r, "ERR syntax error: CACHE.STATS [RESET]");
	else if (x && x->p->caps & PURSER_CAP_INFO && (x->inst->in_process || local_sharing(r) < 2))
		local_ask_store(r, info, 2, informed);
	else
		answer(r, &(struct known){ -1, -1, -1, -1, NULL });
}

void local_cache(req_handler *t)
{
	t[CMD_CACHE_STATS] = t[CMD_CACHE_STATS_RESET] = do_stats;
}
