/* SPDX-License-Identifier: Apache-2.0
 *
 * Reload (semantics.md section 11): read and check everything, build what is new, swap, drain what is
 * old.  On any error the old generation goes on as it was.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "access/jwt.h"
#include "agent.h"
#include "request_feature.h"
#include "agent_breaker.h"
#include "agent_health.h"
#include "agent_jobs.h"
#include "base/buf.h"
#include "request_confine.h"

#define LOOK_NS UINT64_C(20000000)

extern char **environ;

static void put_errors(struct buf *errors, struct buf *warnings, const struct cfg_errors *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->list[i].warning)
			buf_printf(warnings, "warning: %s\n", e->list[i].text);
		else
			buf_printf(errors, "%s\n", e->list[i].text);
}

/* What cannot change while the agent runs: said, all of it. */
static bool fixed_changes(struct agent *a, const struct cfg *fresh, struct buf *out)
{
	struct cfg_changes c = { 0 };
	bool bad;

	if (cfg_diff(a->cfg, fresh, &c) != CFG_OK) {
		buf_puts(out, "out of memory\n");
		return true;
	}
	bad = c.nfixed > 0;
	for (size_t i = 0; i < c.n; i++) {
		/* A backend decides for itself what it can take (build_generation). */
		if (c.list[i].kind == CFG_BACKEND && !c.list[i].reloadable)
			bad = --c.nfixed > 0;
		else if (!c.list[i].reloadable)
			buf_printf(out, "%s: restart the agent for it\n", c.list[i].text);
		else
			log_event(a->log, LOG_M_CONFIG, LOG_INFO, "config.changed", c.list[i].text,
			    LOG_KEY(c.list[i].text));
	}
	cfg_changes_free(&c);
	return bad;
}

/* ---- swapping, on each worker ---- */

struct swap {
	struct serving *s;
	struct generation *gen;
	struct server_limits limits;
};

static void swap_worker(void *arg)
{
	struct swap *x = arg;
	struct generation *old = x->s->w.gen;

	x->s->w.gen = generation_ref(x->gen);
	x->s->w.commands = &x->gen->commands;
	x->s->limits = x->limits;
	for (struct client *c = x->s->w.clients; c; c = c->next) {
		client_migrate(c); /* now if it is idle, else as soon as it is */
		conn_wake(c);
	}
	worker_reload_features(&x->s->w);
	generation_unref(old);
}

static void cut_old(void *arg)
{
	struct swap *x = arg;

	for (struct client *c = x->s->w.clients; c; c = c->next)
		if (c->gen != x->s->w.gen && !c->gone) {
			c->cut = true;
			conn_wake(c);
		}
}

/* ---- draining the old generation ---- */

/* Reloads are rare and asked for: each is written, however many there are.  Buffer of 24. */
static const char *each(uint64_t generation, char *text)
{
	snprintf(text, 24, "%llu", (unsigned long long)generation);
	return text;
}

static void drained(struct agent *a)
{
	uint64_t number = a->draining->number;
	char key[24];

	generation_unref(a->draining);
	a->draining = NULL;
	cfg_unref(a->draining_cfg);
	a->draining_cfg = NULL;
	log_event(a->log, LOG_M_CONFIG, LOG_INFO, "config.drained", "nothing uses the old generation any more",
	    LOG_UINT("generation", number), LOG_KEY(each(number, key)));
}

static void look(struct loop_timer *t)
{
	struct agent *a = (struct agent *)((char *)t - offsetof(struct agent, drain_timer));

	if (atomic_load(&a->draining->refs) == 1) {
		a->drain_until_ns = 0;
		if (build_retire(a, false)) {
			drained(a);
			return;
		}
	}
	if (a->drain_until_ns && loop_now(a->control) > a->drain_until_ns) {
		log_event(a->log, LOG_M_CONFIG, LOG_WARN, "config.drain.cut",
		    "clients still use the old generation after drain_timeout: they are cut");
		for (uint32_t i = 0; i < a->nworkers; i++)
			agent_on_worker(a, i, cut_old, &(struct swap){ .s = &a->serving[i] });
		a->drain_until_ns = 0;
	}
	loop_timer_set(a->control, t, loop_now(a->control) + LOOK_NS);
}

static void swap_all(struct agent *a, struct generation *g, struct cfg *fresh)
{
	struct swap x = { .gen = g };

	build_limits(fresh, a->log, &x.limits);
	for (uint32_t i = 0; i < a->nworkers; i++) {
		x.s = &a->serving[i];
		agent_on_worker(a, i, swap_worker, &x);
	}
	jwt_service_settle(a->jwt);
	scripts_limit(a->scripts, (size_t)cfg_int(cfg_one(fresh, CFG_AGENT), CFG_AGENT_SCRIPT_MEMORY));
	pthread_mutex_lock(&a->backends_lock);
	a->draining = a->gen;
	a->gen = g;
	pthread_mutex_unlock(&a->backends_lock);
	a->draining_cfg = a->cfg;
	a->cfg = fresh;
	a->drain_until_ns = loop_now(a->control) +
	    (uint64_t)cfg_int(cfg_one(fresh, CFG_AGENT), CFG_AGENT_DRAIN_TIMEOUT) + 1;
	a->drain_timer.fn = look;
	loop_timer_set(a->control, &a->drain_timer, loop_now(a->control) + LOOK_NS);
}

static int load(struct agent *a, struct cfg **fresh, struct buf *errors, struct buf *warnings)
{
	struct cfg_errors e = { 0 };
	struct cfg_inputs in;
	int rc;

	agent_inputs(a, &in);
	in.generation = a->gen->number + 1;
	rc = cfg_load(&in, fresh, &e);
	put_errors(errors, warnings, &e);
	cfg_errors_free(&e);
	return rc == CFG_OK ? 0 : -1;
}

static void clean_users(void *w)
{
	confine_clean(w);
}

int reload(struct agent *a, struct buf *out)
{
	struct generation *g = NULL;
	char key[24];
	struct cfg *fresh = NULL;
	struct buf warnings = { .max = 65536 };

	if (a->stopping) {
		buf_puts(out, "the agent is shutting down\n");
		return -1;
	}
	if (a->draining) {
		buf_printf(out, "in_progress gen=%llu: clients of the generation before it are still being served\n",
		    (unsigned long long)a->gen->number);
		return -1;
	}
	notify("RELOADING=1");
	if (load(a, &fresh, out, &warnings) == 0 && !fixed_changes(a, fresh, out))
		g = build_generation(a, fresh, cfg_generation(fresh), out);
	if (!g) {
		log_event(a->log, LOG_M_CONFIG, LOG_ERROR, "config.reload.failed",
		    "the configuration was not taken over: the one before goes on", LOG_STR("errors", buf_cstr(out)));
		cfg_unref(fresh);
		buf_free(&warnings);
		notify("READY=1");
		return -1;
	}
	swap_all(a, g, fresh);
	agent_on_worker(a, 0, clean_users, &a->serving[0].w);
	telemetry_apply(a, fresh);
	breaker_glue_apply(a, fresh);
	health_glue_apply(a, fresh);
	jobs_glue_apply(a, fresh);
	log_event(a->log, LOG_M_CONFIG, LOG_INFO, "config.reloaded", "the new configuration is in use",
	    LOG_UINT("generation", g->number), LOG_KEY(each(g->number, key)));
	if (buf_len(&warnings))
		log_event(a->log, LOG_M_CONFIG, LOG_WARN, "config.warning", "the new configuration is in use, but",
		    LOG_STR("warnings", buf_cstr(&warnings)), LOG_KEY(each(g->number, key)));
	buf_printf(out, "%s%llu", buf_cstr(&warnings), (unsigned long long)g->number);
	buf_free(&warnings);
	notify("READY=1");
	return 0;
}
