/* SPDX-License-Identifier: Apache-2.0 */
/* health: life, schedule and questions.  See health.h. */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "health/priv.h"

#define DOCUMENT_MAX (1u << 20)
#define HINT_NS UINT64_C(20000000)
#define REST_NS UINT64_C(1000000000)

const char *health_status_name(enum health_status s)
{
	static const char *const names[] = { "healthy", "degraded", "unhealthy" };

	return names[s];
}

purser_bytes health_word(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

/* ---- asking ----------------------------------------------------------------------------------------- */

static void ticket_answer(void *arg, const struct health_answer *a)
{
	struct ticket *t = arg;

	if (t->owner) {
		*t->place = NULL; /* before fn: it may ask again */
		t->fn(t->owner, a);
	}
	free(t);
}

int health_ask(struct health *h, uint32_t instance, const purser_bytes *argv, uint32_t argc,
    struct ticket **place, void *owner, void (*fn)(void *owner, const struct health_answer *a))
{
	struct ticket *t = malloc(sizeof *t);

	if (!t)
		return -1;
	*t = (struct ticket){ owner, fn, place };
	*place = t;
	h->d.ask(h->d.arg, instance, argv, argc, h->opts.timeout_ns, ticket_answer, t);
	return 0;
}

void ticket_drop(struct ticket **place)
{
	if (*place)
		(*place)->owner = NULL;
	*place = NULL;
}

/* ---- checks ----------------------------------------------------------------------------------------- */

static void say_ready(struct health *h)
{
	char why[sizeof h->why] = "";
	bool ready = h->ended_ns != 0;

	if (!ready)
		snprintf(why, sizeof why, "the first check of the backends is not done yet");
	for (uint32_t i = 0; i < h->nprobes && ready; i++) {
		const struct probe *p = h->probes[i];
		bool open = probe_breaker(p) == HEALTH_BREAKER_OPEN;

		if (p->last.done && p->last.ok && !open)
			continue;
		ready = false;
		if (p->last.done && p->last.ok)
			snprintf(why, sizeof why, "backend %s: its circuit breaker is open: PURSER.BREAKER shows it",
			    p->name);
		else if (p->last.done)
			snprintf(why, sizeof why, "backend %s: %s: %.150s", p->name,
			    health_step_name(p->last.failed), p->last.error);
		else
			snprintf(why, sizeof why, "backend %s: its first check is not done yet", p->name);
	}
	pthread_mutex_lock(&h->lock);
	memcpy(h->why, why, sizeof why);
	pthread_mutex_unlock(&h->lock);
	atomic_store(&h->ready, ready);
}

static void judge(struct health *h)
{
	enum health_status before = h->judged ? h->status : HEALTH_HEALTHY;
	enum health_status s = h->ended_ns ? HEALTH_HEALTHY : HEALTH_DEGRADED;

	for (uint32_t i = 0; i < h->nprobes; i++)
		if (probe_status(h->probes[i]) > s)
			s = probe_status(h->probes[i]);
	h->telemetry = (struct health_telemetry){ 0, "" };
	if (h->d.telemetry)
		h->d.telemetry(h->d.arg, &h->telemetry);
	if (h->telemetry.state >= 2 && s == HEALTH_HEALTHY)
		s = HEALTH_DEGRADED;
	h->status = s;
	if (h->state_cell)
		metric_cell_set(h->state_cell, (int64_t)s);
	/* At the start only what is bad is worth a word. */
	if (h->ended_ns && s != before)
		log_event(h->d.log, LOG_M_HEALTH, s == HEALTH_HEALTHY ? LOG_INFO : LOG_WARN, "health.status",
		    "the state of the whole has changed", LOG_STR("from", health_status_name(before)),
		    LOG_STR("to", health_status_name(s)));
	if (h->ended_ns && s != before && h->d.moved)
		h->d.moved(h->d.arg, health_status_name(before), health_status_name(s));
	h->judged = h->ended_ns != 0;
}

static void publish(struct health *h)
{
	judge(h);
	say_ready(h);
	document_write(h);
}

static void answer(struct health *h)
{
	struct waiter *w = h->waiters, *next;

	h->waiters = NULL;
	h->waiters_end = &h->waiters;
	h->nwaiters = 0;
	for (; w; w = next) {
		next = w->next;
		w->done(w->arg, (const char *)buf_data(&h->document), buf_len(&h->document));
		free(w);
	}
}

static void set_timer(struct health *h)
{
	uint64_t step = h->opts.interval_ns, due, now = loop_now(h->d.loop), rest;

	for (uint32_t i = 0; i < h->nprobes; i++)
		if (!h->probes[i]->last.ok && step > HEALTH_RECHECK_NS)
			step = HEALTH_RECHECK_NS;
	due = h->began_ns + step;
	rest = step / 2 < REST_NS ? step / 2 : REST_NS; /* after a check that took long */
	if (due < now + rest)
		due = now + rest;
	if (loop_timer_set(h->d.loop, &h->timer, due) != 0)
		log_event(h->d.log, LOG_M_HEALTH, LOG_ERROR, "health.no_memory",
		    "out of memory: the next check comes when somebody asks for the status");
}

void health_probe_ended(struct health *h)
{
	if (h->running == 0 || --h->running > 0)
		return;
	h->changed = false;
	h->ended_ns = loop_now(h->d.loop);
	h->ended_ms = loop_wall_ms(h->d.loop);
	h->took_ns = h->ended_ns - h->began_ns;
	document_calls(h);
	publish(h);
	state_save(h);
	set_timer(h);
	answer(h);
}

static void check_start(struct health *h)
{
	if (h->running || h->stopped)
		return;
	h->began_ns = loop_now(h->d.loop);
	h->running = h->nprobes + 1; /* one more: a probe may end at once */
	for (uint32_t i = 0; i < h->nprobes; i++)
		probe_start(h->probes[i]);
	health_probe_ended(h);
}

static void timer_fired(struct loop_timer *t)
{
	check_start((struct health *)((char *)t - offsetof(struct health, timer)));
}

static bool fresh(const struct health *h)
{
	return h->ended_ns && !h->changed && loop_now(h->d.loop) - h->ended_ns < h->opts.max_age_ns;
}

static void nudged(void *arg)
{
	struct health *h = arg;

	atomic_store(&h->nudged, false);
	if (!fresh(h))
		check_start(h);
}

void health_hint(struct health *h)
{
	uint64_t soon = loop_now(h->d.loop) + HINT_NS, step = HEALTH_RECHECK_NS;

	if (h->running || !h->ended_ns)
		return;
	if (step > h->opts.interval_ns)
		step = h->opts.interval_ns;
	if (soon < h->began_ns + step)
		soon = h->began_ns + step;
	if (h->timer.pos && h->timer.due_ns > soon)
		loop_timer_set(h->d.loop, &h->timer, soon);
}

void health_breaker_moved(struct health *h)
{
	if (h->ended_ns && !h->stopped)
		publish(h);
}

/* ---- life ------------------------------------------------------------------------------------------- */

struct health *health_new(const struct health_deps *d)
{
	struct health *h = calloc(1, sizeof *h);
	uint64_t id = 0;

	if (!h)
		return NULL;
	h->d = *d;
	h->d.state_dir = NULL;
	h->document.max = DOCUMENT_MAX;
	h->waiters_end = &h->waiters;
	h->timer.fn = timer_fired;
	h->nudge.fn = nudged;
	h->nudge.arg = h;
	h->status = HEALTH_DEGRADED;
	pthread_mutex_init(&h->lock, NULL);
	for (uint32_t i = 0; i < INSTANCES_MAX; i++)
		atomic_store(&h->outside[i], -1);
	if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
		id = loop_wall_ms(d->loop) ^ (uint64_t)(uintptr_t)h;
	h->random = id | 1;
	snprintf(h->id, sizeof h->id, "%016llx", (unsigned long long)id);
	if (d->state_dir && *d->state_dir && !(h->state_dir = strdup(d->state_dir))) {
		health_free(h);
		return NULL;
	}
	if (d->shard)
		h->state_cell = metric_cell(d->shard, METRIC_HEALTH_STATE, NULL);
	state_load(h);
	publish(h);
	return h;
}

void health_stop(struct health *h)
{
	h->stopped = true;
	h->running = 0;
	loop_timer_stop(h->d.loop, &h->timer);
	for (uint32_t i = 0; i < h->nprobes; i++)
		probe_stop(h->probes[i]);
	answer(h);
}

void health_free(struct health *h)
{
	if (!h)
		return;
	health_stop(h);
	for (uint32_t i = 0; i < h->nprobes; i++)
		probe_free(h->probes[i]);
	buf_free(&h->document);
	buf_free(&h->written);
	pthread_mutex_destroy(&h->lock);
	free(h->projects);
	free(h->service);
	free(h->version);
	free(h->state_dir);
	free(h);
}

struct change { /* a setup made ready, nothing of it in force */
	struct probe *probes[INSTANCES_MAX];
	bool made[INSTANCES_MAX];
	struct project *projects;
	uint32_t nprojects;
	char *service, *version;
};

static struct probe *find(struct health *h, const char *name)
{
	for (uint32_t i = 0; i < h->nprobes; i++)
		if (strcmp(h->probes[i]->name, name) == 0)
			return h->probes[i];
	return NULL;
}

static int prepare(struct health *h, const struct health_setup *s, struct change *c)
{
	c->service = strdup(s->service ? s->service : "purser");
	c->version = strdup(s->version ? s->version : "");
	c->nprojects = s->projects ? s->projects->n : 0;
	c->projects = calloc(c->nprojects + 2, sizeof *c->projects);
	if (!c->service || !c->version || !c->projects)
		return -1;
	if (c->nprojects)
		memcpy(c->projects, s->projects->v, c->nprojects * sizeof *c->projects);
	if (s->projects && projects_common(s->projects, &c->projects[c->nprojects]))
		c->nprojects++; /* those of [project *] */
	for (uint32_t i = 0; i < s->ninstances; i++) {
		c->probes[i] = find(h, s->instances[i].name);
		if (c->probes[i])
			continue;
		c->probes[i] = probe_new(h, &s->instances[i]);
		if (!c->probes[i])
			return -1;
		c->made[i] = true;
	}
	return 0;
}

static void undo(struct change *c)
{
	for (uint32_t i = 0; i < INSTANCES_MAX; i++)
		if (c->made[i])
			probe_free(c->probes[i]);
	free(c->projects);
	free(c->service);
	free(c->version);
}

static void drop_the_others(struct health *h, const struct change *c, uint32_t n)
{
	for (uint32_t i = 0; i < h->nprobes; i++) {
		bool kept = false;

		for (uint32_t k = 0; k < n; k++)
			kept |= c->probes[k] == h->probes[i];
		if (kept)
			continue;
		h->running -= h->probes[i]->running;
		probe_free(h->probes[i]);
	}
}

/* A reload moves no level by itself. */
static void take_over(struct health *h, const struct health_setup *s, struct change *c)
{
	for (uint32_t i = 0; i < s->ninstances; i++) {
		struct probe *p = c->probes[i];

		if (!c->made[i])
			probe_update(p, &s->instances[i]); /* without memory for its metrics the old ones stay */
		threshold_rule_set(&p->threshold, &h->opts.rule);
		p->outside.due_ns = 0;
	}
	free(h->projects);
	free(h->service);
	free(h->version);
	h->projects = c->projects;
	h->nprojects = c->nprojects;
	h->service = c->service;
	h->version = c->version;
	memcpy(h->probes, c->probes, sizeof h->probes);
	h->nprobes = s->ninstances;
	h->generation = s->generation;
}

int health_setup(struct health *h, const struct health_setup *s)
{
	struct health_opts before = h->opts;
	struct change c = { 0 };

	if (s->ninstances > INSTANCES_MAX)
		return -1;
	h->opts = s->opts;
	h->opts.rule.period_ns = h->opts.interval_ns;
	if (prepare(h, s, &c) != 0) {
		undo(&c);
		h->opts = before;
		return -1;
	}
	drop_the_others(h, &c, s->ninstances);
	take_over(h, s, &c);
	for (uint32_t i = 0; i < s->ninstances && h->running; i++)
		if (c.made[i]) { /* it joins the check that is under way */
			h->running++;
			probe_start(c.probes[i]);
		}
	h->changed = true;
	publish(h);
	check_start(h);
	return 0;
}

/* ---- questions -------------------------------------------------------------------------------------- */

void health_get(struct health *h, void (*done)(void *arg, const char *json, size_t n), void *arg)
{
	struct waiter *w = fresh(h) || h->stopped || h->nwaiters >= WAITERS_MAX ? NULL : malloc(sizeof *w);

	if (!w) {
		done(arg, (const char *)buf_data(&h->document), buf_len(&h->document));
		return;
	}
	*w = (struct waiter){ NULL, done, arg };
	*h->waiters_end = w;
	h->waiters_end = &w->next;
	h->nwaiters++;
	check_start(h);
}

const char *health_latest(struct health *h, size_t *n)
{
	*n = buf_len(&h->document);
	return (const char *)buf_data(&h->document);
}

bool health_ready(struct health *h, char *why, size_t whylen)
{
	if (!atomic_exchange(&h->nudged, true))
		loop_post(h->d.loop, &h->nudge);
	if (atomic_load(&h->ready))
		return true;
	pthread_mutex_lock(&h->lock);
	snprintf(why, whylen, "%s", h->why);
	pthread_mutex_unlock(&h->lock);
	return false;
}
