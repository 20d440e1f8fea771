/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent_breaker.h"
#include "agent_health.h"

#define PROBE_TTL_MS "30000"

/* ---- telling subscribers ---------------------------------------------------------------------------- */

struct telling {
	purser_job job;
	struct worker *w;
	struct watch_message message;
};

static void tell(void *arg) /* on the worker */
{
	struct telling *t = arg;

	watch_tell(t->w, &t->message);
	free(t);
}

void breaker_glue_tell(struct agent *a, const struct watch_message *m)
{
	for (uint32_t i = 0; i < a->nworkers && !a->stopping; i++) {
		struct telling *t = calloc(1, sizeof *t);

		if (!t) {
			log_event(a->log, LOG_M_SERVER, LOG_ERROR, "watch.lost",
			    "no memory to tell subscribers of a change");
			return;
		}
		*t = (struct telling){ .job = { .fn = tell, .arg = t }, .w = &a->serving[i].w, .message = *m };
		loop_post(a->serving[i].w.loop, &t->job);
	}
}

static void put(struct watch_message *m, const char *key, const char *value)
{
	m->field[m->n].key = key;
	snprintf(m->field[m->n].value, sizeof m->field[m->n].value, "%s", value);
	m->n++;
}

static void tell_move(struct agent *a, const char *backend, enum guard_class c, const struct breaker_move *m,
    uint64_t retry_after_ns)
{
	struct watch_message w = { .topic = TOPIC_BREAKER };
	char ms[24];

	put(&w, "backend", backend);
	put(&w, "class", guard_class_name(c));
	put(&w, "from", breaker_name((enum breaker_state)m->from));
	put(&w, "to", breaker_name((enum breaker_state)m->to));
	put(&w, "reason", breaker_why((enum breaker_reason)m->reason));
	snprintf(ms, sizeof ms, "%" PRIu64, (retry_after_ns + 999999) / 1000000);
	if (m->to == BREAKER_OPEN || m->to == BREAKER_FORCED_OPEN)
		put(&w, "retry_after_ms", ms);
	breaker_glue_tell(a, &w);
}

/* ---- the agent's own probe -------------------------------------------------------------------------- */

struct breaker_probe {
	struct agent *a;
	struct backend *b;          /* NULL: it is gone */
	enum guard_class class_;
	unsigned step;
};

static void step(struct breaker_probe *p);
static void arm(struct agent *a, struct backend *b, enum guard_class c);

static void probe_ended(struct breaker_probe *p, bool ok)
{
	struct backend *b = p->b;

	if (b) {
		b->breaker[p->class_].probe = NULL;
		guard_probe_end(b->in, p->class_, ok, loop_now(p->a->control));
		arm(p->a, b, p->class_);
	}
	free(p);
}

/* A backend that has no such command is one that answers. */
static void answered(void *arg, const struct health_answer *ans)
{
	struct breaker_probe *p = arg;
	unsigned steps = p->class_ == GUARD_WRITE ? 3 : 1;

	if (!p->b || p->a->stopping || (ans->err && ans->err != ERR_UNSUPPORTED)) {
		if (p->b && ans->err)
			log_event(p->a->log, LOG_M_BACKEND, LOG_DEBUG, "breaker.probe.failed",
			    ans->error ? ans->error : "", LOG_STR("backend", p->b->in->name));
		probe_ended(p, false);
	} else if (++p->step == steps) {
		probe_ended(p, true);
	} else {
		step(p);
	}
}

static purser_bytes bytes(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

/* PING; for writing SET, GET and DEL of a key of the agent's own. */
static void step(struct breaker_probe *p)
{
	static const char *const names[] = { "SET", "GET", "DEL" };
	struct purser_instance *in = p->b->in;
	bool ttl = in->p->caps & PURSER_CAP_TTL;
	purser_bytes argv[5];
	uint32_t argc = 1;
	char key[96];

	argv[0] = bytes(p->class_ == GUARD_WRITE ? names[p->step] : "PING");
	snprintf(key, sizeof key, "psr::probe:%s:breaker", in->name);
	if (p->class_ == GUARD_WRITE)
		argv[argc++] = bytes(key);
	if (p->class_ == GUARD_WRITE && p->step == 0) {
		argv[argc++] = bytes("purser");
		argv[argc++] = bytes("PX");
		argv[argc++] = bytes(PROBE_TTL_MS);
		argc = ttl ? argc : 3;
	}
	health_glue_ask(p->a, in->index, argv, argc,
	    (uint64_t)cfg_int(cfg_one(p->a->cfg, CFG_HEALTH), CFG_HEALTH_TIMEOUT), answered, p);
}

static void due(struct loop_timer *t)
{
	struct backend_breaker *k = (struct backend_breaker *)((char *)t - offsetof(struct backend_breaker, timer));
	struct backend *b = k->b;
	enum guard_class c = (enum guard_class)(k - b->breaker);

	if (k->probe || k->a->stopping)
		return;
	if (!guard_probe_begin(b->in, c, loop_now(k->a->control))) {
		arm(k->a, b, c);
		return;
	}
	k->probe = calloc(1, sizeof *k->probe);
	if (!k->probe) {
		guard_probe_end(b->in, c, false, loop_now(k->a->control));
		arm(k->a, b, c);
		return;
	}
	*k->probe = (struct breaker_probe){ .a = k->a, .b = b, .class_ = c };
	step(k->probe);
}

static void arm(struct agent *a, struct backend *b, enum guard_class c)
{
	struct backend_breaker *k = &b->breaker[c];
	uint64_t at = guard_probe_due(b->in, c);

	if (at == UINT64_MAX || a->stopping)
		loop_timer_stop(a->control, &k->timer);
	else if (loop_timer_set(a->control, &k->timer, at))
		log_event(a->log, LOG_M_BACKEND, LOG_ERROR, "breaker.timer", "no memory for a timer: a breaker "
		    "will not ask by itself", LOG_STR("backend", b->in->name));
}

/* ---- transitions ------------------------------------------------------------------------------------ */

struct moved {
	purser_job job;
	struct agent *a;
	struct guard_event e;
	char name[64];
};

static void on_moved(void *arg) /* on the control thread */
{
	struct moved *m = arg;
	struct agent *a = m->a;
	struct backend *b = a->backends;

	while (b && b->in != m->e.inst)
		b = b->next;
	if (b && !a->stopping) {
		arm(a, b, m->e.class_);
		if (m->e.move.moved) {
			health_glue_moved(a);
			tell_move(a, m->name, m->e.class_, &m->e.move, m->e.retry_after_ns);
		}
	}
	free(m);
}

static void moved(void *arg, const struct guard_event *e) /* any thread, under the guard's lock */
{
	struct agent *a = arg;
	struct moved *m = calloc(1, sizeof *m);

	if (!m) {
		log_event(a->log, LOG_M_BACKEND, LOG_ERROR, "breaker.event.lost",
		    "no memory to tell of a breaker's transition", LOG_STR("backend", e->inst->name));
		return;
	}
	*m = (struct moved){ .job = { .fn = on_moved, .arg = m }, .a = a, .e = *e };
	snprintf(m->name, sizeof m->name, "%s", e->inst->name);
	loop_post(a->control, &m->job);
}

/* ---- life ------------------------------------------------------------------------------------------- */

static void read_rules(const struct cfg *cfg, struct guard_rules *r)
{
	const struct cfg_section *b = cfg_one(cfg, CFG_BREAKER), *t = cfg_one(cfg, CFG_RETRY);
	uint64_t slow = (uint64_t)cfg_int(b, CFG_BREAKER_SLOW_THRESHOLD);

	*r = (struct guard_rules){ .enabled = cfg_int(b, CFG_BREAKER_ENABLED) != 0,
		.breaker = BREAKER_RULE_DEFAULT, .retry = RETRY_RULE_DEFAULT, .budget = BUDGET_RULE_DEFAULT };
	r->breaker.failure_threshold = (uint32_t)cfg_int(b, CFG_BREAKER_FAILURE_THRESHOLD);
	r->breaker.success_threshold = (uint32_t)cfg_int(b, CFG_BREAKER_SUCCESS_THRESHOLD);
	r->breaker.window_min = (uint32_t)cfg_int(b, CFG_BREAKER_MINIMUM_CALLS);
	r->breaker.failure_percent = (uint32_t)cfg_int(b, CFG_BREAKER_FAILURE_SHARE) / 10000;
	r->breaker.slow_ns = slow;
	r->breaker.slow_percent = slow ? (uint32_t)cfg_int(b, CFG_BREAKER_SLOW_SHARE) / 10000 : 0;
	r->breaker.recovery_initial_ns = (uint64_t)cfg_int(b, CFG_BREAKER_RECOVERY_INITIAL);
	r->breaker.recovery_timeout_ns = (uint64_t)cfg_int(b, CFG_BREAKER_RECOVERY_TIMEOUT);
	r->retry.max_attempts = (uint32_t)cfg_int(t, CFG_RETRY_MAX_ATTEMPTS);
	r->retry.base_ns = (uint64_t)cfg_int(t, CFG_RETRY_BASE);
	r->retry.cap_ns = (uint64_t)cfg_int(t, CFG_RETRY_CAP);
	r->budget.ratio = (uint32_t)cfg_int(t, CFG_RETRY_BUDGET);
	r->budget.floor = (uint32_t)cfg_int(t, CFG_RETRY_BUDGET_FLOOR);
}

void breaker_glue_begin(struct agent *a, struct backend *b)
{
	struct guard *g = &b->in->guard;

	for (unsigned c = 0; c < GUARD_CLASSES; c++) {
		b->breaker[c].a = a;
		b->breaker[c].b = b;
		b->breaker[c].timer.fn = due;
	}
	g->on_move = moved;
	g->arg = a;
}

void breaker_glue_end(struct agent *a, struct backend *b)
{
	for (unsigned c = 0; c < GUARD_CLASSES; c++) {
		loop_timer_stop(a->control, &b->breaker[c].timer);
		if (b->breaker[c].probe)
			b->breaker[c].probe->b = NULL;
	}
}

void breaker_glue_apply(struct agent *a, const struct cfg *cfg)
{
	bool faults = cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_FAULT_INJECTION) != 0, any = false;
	struct guard_rules rules;

	read_rules(cfg, &rules);
	pthread_mutex_lock(&a->faults.lock);
	a->faults.enabled = faults;
	for (unsigned i = 0; i < FAULTS_MAX; i++) {
		if (!faults)
			a->faults.v[i].id = 0;
		any |= a->faults.v[i].id != 0;
	}
	for (struct backend *b = a->backends; b; b = b->next)
		guard_gate(b->in, GATE_FAULT, any);
	pthread_mutex_unlock(&a->faults.lock);
	for (struct backend *b = a->backends; b; b = b->next)
		guard_set_rules(b->in, &rules, loop_now(a->control));
}

void breaker_glue_view(struct purser_instance *in, uint64_t now_ns, struct health_breaker *out)
{
	static const enum health_breaker_state states[] = { [BREAKER_CLOSED] = HEALTH_BREAKER_CLOSED,
		[BREAKER_OPEN] = HEALTH_BREAKER_OPEN, [BREAKER_FORCED_OPEN] = HEALTH_BREAKER_OPEN,
		[BREAKER_HALF_OPEN] = HEALTH_BREAKER_HALF_OPEN, [BREAKER_DISABLED] = HEALTH_BREAKER_DISABLED };
	static const int rank[] = { [HEALTH_BREAKER_DISABLED] = 0, [HEALTH_BREAKER_CLOSED] = 1,
		[HEALTH_BREAKER_HALF_OPEN] = 2, [HEALTH_BREAKER_OPEN] = 3 };

	*out = (struct health_breaker){ .state = HEALTH_BREAKER_DISABLED };
	for (unsigned c = 0; c < GUARD_CLASSES; c++) {
		struct guard_view v;

		guard_view(in, (enum guard_class)c, now_ns, &v);
		out->opens += v.opens;
		out->name[c] = breaker_name(v.state);
		if (rank[states[v.state]] > rank[out->state])
			out->state = states[v.state];
	}
}
