/* SPDX-License-Identifier: Apache-2.0
 *
 * PURSER.*: what the agent says of itself.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "server/local.h"
#include "server/openapi.h"

static const struct agent_ops *ops(const struct request *r)
{
	return r->cl->w->agent;
}

static void put_text(struct request *r, struct buf *b)
{
	if (b->failed) {
		local_failure(r, ERR_OOM, NULL);
	} else {
		reply_bulk(&r->b, buf_data(b), buf_len(b));
		req_finish(r);
	}
	buf_free(b);
}

/* ---- answered by the control thread ---- */

static void answered(void *arg, const struct agent_reply *rep)
{
	struct request *r = arg;

	if (rep->err) {
		local_failure(r, rep->err, rep->text);
		return;
	}
	reply_bulk(&r->b, rep->text, rep->n);
	req_finish(r);
}

static void ask(struct request *r, enum agent_ask what)
{
	ops(r)->ask(r->cl->w, what, answered, r);
}

static void do_health(struct request *r) { ask(r, AGENT_HEALTH); }

/* Which projects there are is the operator's to know: to others one that they may not enter does not exist. */
static bool sees_projects(const struct client *cl)
{
	return !cl->anonymous && (cl->operates || cl->perms >> PERM_OPERATE & 1);
}

static void do_status(struct request *r)
{
	ask(r, sees_projects(r->cl) ? AGENT_STATUS : AGENT_STATUS_ANONYMOUS);
}

static void do_metrics(struct request *r)
{
	ask(r, sees_projects(r->cl) ? AGENT_METRICS : AGENT_METRICS_ANONYMOUS);
}

static void do_reload(struct request *r) { ask(r, AGENT_RELOAD); }

/* ---- answered here ---- */

static void do_live(struct request *r)
{
	reply_bulk(&r->b, "ok", 2);
	req_finish(r);
}

static void do_ready(struct request *r)
{
	char why[240];

	if (r->cl->w->draining) {
		local_failure(r, ERR_BACKENDDOWN, "the agent is shutting down");
	} else if (ops(r)->ready(why, sizeof why, ops(r)->arg)) {
		reply_bulk(&r->b, "ok", 2);
		req_finish(r);
	} else {
		local_failure(r, ERR_BACKENDDOWN, why);
	}
}

static void do_openapi(struct request *r)
{
	struct buf b = { .max = 1u << 20 };

	openapi_write(&b, PACKAGE_VERSION);
	put_text(r, &b);
}

static void put_plugin(struct bcall *b, const struct plugin *pl)
{
	unsigned caps = 0;

	for (unsigned i = 0; i < 64; i++)
		caps += (pl->p.caps >> i & 1) && plugin_cap_name(i);
	reply_map(b, 8);
	reply_text(b, "name");
	reply_text(b, pl->p.name);
	reply_text(b, "version");
	reply_text(b, pl->p.version);
	reply_text(b, "summary");
	reply_text(b, pl->p.summary ? pl->p.summary : "");
	reply_text(b, "api");
	reply_integer(b, pl->p.api);
	reply_text(b, "model");
	reply_text(b, pl->p.model == PURSER_BLOCKING ? "blocking" : "inline");
	reply_text(b, "arguments");
	reply_text(b, pl->p.args == PURSER_ARGS_WIRE ? "wire" : "argv");
	reply_text(b, "capabilities");
	reply_array(b, caps);
	for (unsigned i = 0; i < 64; i++)
		if ((pl->p.caps >> i & 1) && plugin_cap_name(i))
			reply_text(b, plugin_cap_name(i));
	reply_text(b, "commands");
	reply_array(b, pl->p.nops);
	for (uint32_t i = 0; i < pl->p.nops; i++)
		reply_text(b, plugin_op(pl, i)->name);
}

static void do_plugins(struct request *r)
{
	size_t n = 0;

	while (ops(r)->plugins[n])
		n++;
	reply_array(&r->b, n);
	for (size_t i = 0; i < n; i++)
		put_plugin(&r->b, ops(r)->plugins[i]);
	req_finish(r);
}

static void put_levels(struct request *r)
{
	reply_map(&r->b, LOG_M_COUNT);
	for (int m = 0; m < LOG_M_COUNT; m++) {
		reply_text(&r->b, log_module_name((enum log_module)m));
		reply_text(&r->b, log_level_name(log_get(r->cl->w->log, (enum log_module)m)));
	}
	req_finish(r);
}

/* PURSER.LOGLEVEL | PURSER.LOGLEVEL level | PURSER.LOGLEVEL module level */
static void do_loglevel(struct request *r)
{
	char module[32] = "", level[16] = "";
	purser_bytes l, m = { NULL, 0 };
	int lv, md = -1;

	if (r->argc == 1) {
		put_levels(r);
		return;
	}
	if (r->argc > 3) {
		local_error(r, "ERR syntax error: PURSER.LOGLEVEL [module] level");
		return;
	}
	l = word(r, r->argc - 1);
	if (r->argc == 3)
		m = word(r, 1);
	snprintf(level, sizeof level, "%.*s", (int)(l.n < 15 ? l.n : 15), (const char *)l.p);
	snprintf(module, sizeof module, "%.*s", (int)(m.n < 31 ? m.n : 31), m.n ? (const char *)m.p : "");
	lv = log_level_of(level);
	if (m.n && strcmp(module, "all"))
		md = log_module_of(module);
	if (lv < 0 || (m.n && strcmp(module, "all") && md < 0)) {
		local_failure(r, ERR_BADREQUEST, lv < 0 ? "a level is one of trace debug info warn error off" :
		    "no such module: PURSER.LOGLEVEL lists them");
		return;
	}
	log_set(r->cl->w->log, md, (enum log_level)lv);
	log_event(r->cl->w->log, LOG_M_MAIN, LOG_INFO, "log.level", "a log level was changed",
	    LOG_STR("log.module", m.n ? module : "all"), LOG_STR("log.level", level),
	    LOG_UINT("uid", r->cl->id.peer.uid));
	local_ok(r);
}

void local_agent(req_handler *t)
{
	t[CMD_PURSER_HEALTH] = do_health;
	t[CMD_PURSER_STATUS] = do_status;
	t[CMD_PURSER_METRICS] = do_metrics;
	t[CMD_PURSER_RELOAD] = do_reload;
	t[CMD_PURSER_LIVE] = do_live;
	t[CMD_PURSER_READY] = do_ready;
	t[CMD_PURSER_OPENAPI] = do_openapi;
	t[CMD_PURSER_PLUGINS] = do_plugins;
	t[CMD_PURSER_LOGLEVEL] = do_loglevel;
}
