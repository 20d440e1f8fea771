/* SPDX-License-Identifier: Apache-2.0 */
/* health/probe: one backend's check.  PING, then SET, GET (compared), DEL of the agent's own key, then
 * INFO or the plugin's stats; the first step that fails ends it, but for INFO, which is asked for as
 * long as the store answers at all: a full store is best known when it refuses a SET. */
#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "health/priv.h"

#define PROBE_TTL_MS "30000"
#define TRIES 6u
#define AGAIN_NS UINT64_C(10000000) /* twice that after each try, with full jitter */
#define GRACE_NS UINT64_C(1000000000) /* beyond the step's deadline: then the worker is stuck */

static void step_begin(struct probe *p, enum health_step s);

const char *health_step_name(enum health_step s)
{
	static const char *const names[] = { "PING", "SET", "GET", "DEL", "INFO", "" };

	return names[s];
}

/* ---- life ------------------------------------------------------------------------------------------- */

static void guard_fired(struct loop_timer *t);
static void again_fired(struct loop_timer *t);

int probe_update(struct probe *p, const struct health_instance *i)
{
	bool moved = strcmp(p->address, i->address) != 0 || p->port != i->port;

	if (!p->info || moved) {
		struct metric_info *info = NULL;

		if (p->h->d.shard) {
			info = metric_info_new(p->h->d.shard, i->name, i->address, i->port);
			if (!info)
				return -1;
		}
		metric_info_free(p->info);
		p->info = info;
	}
	p->index = i->index;
	p->caps = i->caps;
	p->in_process = i->in_process;
	p->port = i->port;
	p->max_memory = i->max_memory;
	snprintf(p->plugin, sizeof p->plugin, "%s", i->plugin);
	snprintf(p->eviction, sizeof p->eviction, "%s", i->eviction ? i->eviction : "");
	snprintf(p->address, sizeof p->address, "%s", i->address);
	return 0;
}

struct probe *probe_new(struct health *h, const struct health_instance *i)
{
	struct probe *p = calloc(1, sizeof *p);
	const struct stored *s;

	if (!p)
		return NULL;
	p->h = h;
	p->guard.fn = guard_fired;
	p->again.fn = again_fired;
	p->outside.told = -1;
	snprintf(p->name, sizeof p->name, "%s", i->name);
	if (probe_update(p, i) != 0) {
		free(p);
		return NULL;
	}
	threshold_init(&p->threshold, &h->opts.rule, loop_now(h->d.loop));
	s = state_find(h, p->name);
	if (s) {
		threshold_restore(&p->threshold, (enum threshold_level)s->level, s->hash);
		p->since_s = s->since_s;
	}
	if (h->d.shard) {
		p->up = metric_cell(h->d.shard, METRIC_BACKEND_UP, p->name);
		p->level = metric_cell(h->d.shard, METRIC_MEMORY_LEVEL, p->name);
		p->usage = metric_cell(h->d.shard, METRIC_MEMORY_USAGE, p->name);
	}
	return p;
}

void probe_stop(struct probe *p)
{
	p->running = false;
	ticket_drop(&p->ticket);
	ticket_drop(&p->outside.ticket);
	loop_timer_stop(p->h->d.loop, &p->guard);
	loop_timer_stop(p->h->d.loop, &p->again);
}

void probe_free(struct probe *p)
{
	if (!p)
		return;
	probe_stop(p);
	atomic_store_explicit(&p->h->outside[p->index], -1, memory_order_relaxed);
	if (p->up) {
		metric_cell_unset(p->up);
		metric_cell_unset(p->level);
		metric_cell_unset(p->usage);
	}
	metric_info_free(p->info);
	free(p);
}

/* ---- the steps -------------------------------------------------------------------------------------- */

static void memory_sample(struct probe *p);

static void tell_up_or_down(struct probe *p)
{
	uint64_t now = loop_now(p->h->d.loop);

	if (!p->now.ok && !p->down_ns) {
		p->down_ns = now;
		log_event(p->h->d.log, LOG_M_HEALTH, LOG_WARN, "health.backend.down",
		    "a backend fails its check", LOG_STR("backend", p->name),
		    LOG_STR("step", health_step_name(p->now.failed)), LOG_STR("error", p->now.error),
		    LOG_KEY(p->name));
	} else if (p->now.ok && (p->down_ns || !p->last.done)) {
		log_event(p->h->d.log, LOG_M_HEALTH, LOG_INFO, "health.backend.up",
		    "a backend passes its check", LOG_STR("backend", p->name),
		    LOG_NUM("down_s", p->down_ns ? (double)(now - p->down_ns) / 1e9 : 0.0),
		    LOG_KEY(p->name));
		if (p->down_ns)
			p->outside.due_ns = 0; /* perhaps it is another store now */
		p->down_ns = 0;
	}
}

static void probe_end(struct probe *p)
{
	loop_timer_stop(p->h->d.loop, &p->guard);
	p->now.took_ns = loop_now(p->h->d.loop) - p->began_ns;
	p->now.done = true;
	tell_up_or_down(p);
	memory_sample(p);
	p->last = p->now;
	p->running = false;
	if (p->up)
		metric_cell_set(p->up, p->last.ok);
	if (p->last.ok)
		outside_start(p);
	health_probe_ended(p->h);
}

static void failed(struct probe *p, enum err_code err, const char *text)
{
	p->now.ok = false;
	p->now.failed = p->step;
	p->now.err = err;
	if (err == ERR_TIMEOUT)
		snprintf(p->now.error, sizeof p->now.error, "TIMEOUT no answer within %" PRIu64
		    " ms ([health] timeout)", p->h->opts.timeout_ns / 1000000);
	else
		snprintf(p->now.error, sizeof p->now.error, "%s", text && *text ? text : err_rows[err].word);
	/* Did the store answer, were it with a refusal? */
	if (p->step != STEP_PING && p->step != STEP_INFO && (err == ERR_REDIS || err == ERR_OOM ||
	    err == ERR_BACKENDPROTOCOL))
		step_begin(p, STEP_INFO);
	else
		probe_end(p);
}

static uint64_t passed(struct probe *p)
{
	return loop_now(p->h->d.loop) - p->step_ns;
}

size_t reply_string(const uint8_t *p, size_t n, purser_bytes *out)
{
	int64_t len = 0, head;

	*out = (purser_bytes){ NULL, 0 };
	if (n >= 3 && p[0] == '_')
		return 3;
	if (n >= 1 && p[0] == '+') {
		head = purser_scan_line(p, n);
		if (head <= 0)
			return 0;
		*out = (purser_bytes){ p + 1, (size_t)head - 3 };
		return (size_t)head;
	}
	if (n < 1 || (p[0] != '$' && p[0] != '='))
		return 0;
	head = purser_scan_number(p, n, &len);
	if (head <= 0 || len < -1)
		return 0;
	if (len == -1)
		return (size_t)head;
	if ((uint64_t)len + 2 > n - (size_t)head)
		return 0;
	*out = (purser_bytes){ p + head, (size_t)len };
	if (p[0] == '=' && len >= 4)
		*out = (purser_bytes){ out->p + 4, out->n - 4 };
	return (size_t)head + (size_t)len + 2;
}

static void not_supported(struct probe *p)
{
	enum health_step next;

	switch (p->step) {
	case STEP_PING: /* any answer will do; with no GET either, that the worker turns must */
		next = p->caps & PURSER_CAP_KV ? STEP_SET : STEP_INFO;
		if (!p->no_ping)
			next = STEP_PING;
		p->no_ping = true;
		step_begin(p, next);
		return;
	case STEP_SET: case STEP_GET: case STEP_DEL: /* a store that one cannot write to */
		p->now.set_ns = p->now.get_ns = p->now.del_ns = NOT_MEASURED;
		step_begin(p, STEP_INFO);
		return;
	default:
		step_begin(p, STEP_END);
	}
}

/* Is it a value that another agent's probe wrote between our SET and GET? */
static bool of_another(purser_bytes got)
{
	return !got.p || (got.n > 7 && memcmp(got.p, "purser ", 7) == 0);
}

static void again_fired(struct loop_timer *t)
{
	step_begin((struct probe *)((char *)t - offsetof(struct probe, again)), STEP_SET);
}

/* Two agents that met would meet again: each waits a random time. */
static int set_again(struct probe *p)
{
	uint64_t *r = &p->h->random;

	*r ^= *r << 13;
	*r ^= *r >> 7;
	*r ^= *r << 17;
	loop_timer_stop(p->h->d.loop, &p->guard);
	return loop_timer_set(p->h->d.loop, &p->again,
	    loop_now(p->h->d.loop) + *r % (AGAIN_NS << p->tries));
}

static void got_value(struct probe *p, const struct health_answer *a)
{
	purser_bytes got;
	bool string = reply_string(a->resp, a->n, &got) > 0;

	if (string && got.n == strlen(p->value) && memcmp(got.p, p->value, got.n) == 0) {
		p->now.get_ns = passed(p);
		step_begin(p, STEP_DEL);
	} else if (string && of_another(got) && p->tries + 1 < TRIES && set_again(p) == 0) {
		p->tries++;
	} else {
		failed(p, ERR_BACKENDPROTOCOL, !string ? "GET answered something that is no string" : got.p ?
		    "GET gave another value than SET had stored" : "GET found nothing of what SET had stored");
	}
}

static void got_info(struct probe *p, const struct health_answer *a)
{
	purser_bytes text;
	uint64_t wall_ns = loop_wall_ms(p->h->d.loop) * UINT64_C(1000000);

	if (!reply_string(a->resp, a->n, &text) || !text.p) {
		snprintf(p->now.info_error, sizeof p->now.info_error, "INFO answered no text");
		return;
	}
	memory_of_info(&p->facts, (const char *)text.p, text.n);
	p->memory_fresh = true;
	if (p->info) {
		metric_info_apply(p->info, (const char *)text.p, text.n, wall_ns);
		if (metric_info_restarted(p->info))
			p->outside.due_ns = 0;
	}
}

static void answered(void *owner, const struct health_answer *a)
{
	struct probe *p = owner;

	if (p->stuck) { /* of a check that was given up */
		p->stuck = false;
		health_hint(p->h);
		return;
	}
	if (a->err == ERR_UNSUPPORTED) {
		not_supported(p);
		return;
	}
	if (p->step == STEP_INFO) {
		if (a->err)
			snprintf(p->now.info_error, sizeof p->now.info_error, "%s", a->error ? a->error : "");
		else
			got_info(p, a);
		step_begin(p, STEP_END);
		return;
	}
	if (a->err) {
		failed(p, a->err, a->error);
		return;
	}
	switch (p->step) {
	case STEP_PING:
		p->now.ping_ns = passed(p);
		step_begin(p, p->caps & PURSER_CAP_KV ? STEP_SET : STEP_INFO);
		break;
	case STEP_SET:
		if (a->n < 3 || memcmp(a->resp, "+OK", 3) != 0) {
			failed(p, ERR_BACKENDPROTOCOL, "SET did not answer OK");
			break;
		}
		p->now.set_ns = passed(p);
		step_begin(p, STEP_GET);
		break;
	case STEP_GET:
		got_value(p, a);
		break;
	default: /* DEL: 0 if another agent was faster */
		p->now.del_ns = passed(p);
		step_begin(p, STEP_INFO);
		break;
	}
}

static uint32_t words(struct probe *p, purser_bytes argv[5], char *key, size_t cap)
{
	snprintf(key, cap, "psr::probe:%s", p->name);
	argv[1] = health_word(key);
	switch (p->step) {
	case STEP_PING:
		argv[0] = health_word(p->no_ping ? "GET" : "PING");
		return p->no_ping ? 2 : 1;
	case STEP_SET:
		snprintf(p->value, sizeof p->value, "purser %s %" PRIu64, p->h->id, ++p->h->counter);
		argv[0] = health_word("SET");
		argv[2] = health_word(p->value);
		argv[3] = health_word("PX");
		argv[4] = health_word(PROBE_TTL_MS);
		return p->caps & PURSER_CAP_TTL ? 5 : 3;
	case STEP_GET: case STEP_DEL:
		argv[0] = health_word(health_step_name(p->step));
		return 2;
	default:
		argv[0] = health_word("INFO");
		return 1;
	}
}

/* The plugin's own numbers, where it has no INFO or INFO failed. */
static void take_stats(struct probe *p)
{
	purser_stats s;

	memset(&s, 0xff, sizeof s);
	s.struct_size = sizeof s;
	s.flags = 0;
	if (p->memory_fresh || !(p->caps & PURSER_CAP_MEMORY_INFO) || !p->h->d.stats ||
	    p->h->d.stats(p->h->d.arg, p->index, &s) != 0)
		return;
	memory_of_stats(&p->facts, &s, p->eviction);
	p->memory_fresh = true;
}

static void step_begin(struct probe *p, enum health_step s)
{
	purser_bytes argv[5];
	char key[NAME_MAX_BYTES + 16];
	uint32_t argc;

	if (s == STEP_INFO && !(p->caps & PURSER_CAP_INFO))
		s = STEP_END;
	if (s == STEP_END) {
		take_stats(p);
		probe_end(p);
		return;
	}
	p->step = s;
	p->step_ns = loop_now(p->h->d.loop);
	argc = words(p, argv, key, sizeof key);
	if (loop_timer_set(p->h->d.loop, &p->guard, p->step_ns + p->h->opts.timeout_ns + GRACE_NS) != 0 ||
	    health_ask(p->h, p->index, argv, argc, &p->ticket, p, answered) != 0) {
		p->step = STEP_PING; /* nothing more of this check */
		failed(p, ERR_OOM, NULL);
	}
}

/* Not even a timeout was answered: the worker does not turn.  What it owes will come one day; until
 * then nothing more is asked of it. */
static void guard_fired(struct loop_timer *t)
{
	struct probe *p = (struct probe *)((char *)t - offsetof(struct probe, guard));

	p->stuck = true;
	p->now.ok = false;
	p->now.failed = p->step;
	p->now.err = ERR_TIMEOUT;
	snprintf(p->now.error, sizeof p->now.error, "TIMEOUT the worker thread does not answer");
	probe_end(p);
}

void probe_start(struct probe *p)
{
	p->running = true;
	p->memory_fresh = false;
	p->tries = 0;
	p->began_ns = loop_now(p->h->d.loop);
	p->now = (struct probe_result){ .ok = true, .ping_ns = NOT_MEASURED, .set_ns = NOT_MEASURED,
		.get_ns = NOT_MEASURED, .del_ns = NOT_MEASURED };
	if (p->stuck)
		guard_fired(&p->guard);
	else
		step_begin(p, STEP_PING);
}

/* ---- memory ----------------------------------------------------------------------------------------- */

static void tell_level(struct probe *p, const struct threshold_event *e)
{
	const struct memory_verdict *v = &p->memory;
	bool bad = e->to == THRESHOLD_WARN || e->to == THRESHOLD_CRIT ||
	    (e->to == THRESHOLD_UNBOUNDED && p->h->opts.unbounded_warns);

	if (e->what & THRESHOLD_TELL) {
		p->since_s = loop_wall_ms(p->h->d.loop) / 1000;
		log_event(p->h->d.log, LOG_M_HEALTH, bad ? LOG_WARN : LOG_INFO, "health.memory.level",
		    "the memory level of a backend has changed", LOG_STR("backend", p->name),
		    LOG_STR("from", threshold_name(e->from)), LOG_STR("to", threshold_name(e->to)),
		    LOG_UINT("used_bytes", v->used), LOG_UINT("max_bytes", v->limit),
		    LOG_STR("reason", v->reason), LOG_KEY(p->name));
	} else if (e->what && e->to == THRESHOLD_UNKNOWN) {
		log_event(p->h->d.log, LOG_M_HEALTH, LOG_WARN, "health.memory.unknown",
		    "the memory level of a backend is not known any more", LOG_STR("backend", p->name),
		    LOG_STR("from", threshold_name(e->from)), LOG_KEY(p->name));
	} else if (e->what) {
		if (!p->since_s)
			p->since_s = loop_wall_ms(p->h->d.loop) / 1000;
		log_event(p->h->d.log, LOG_M_HEALTH, bad ? LOG_WARN : LOG_INFO, "health.memory.known",
		    "the memory level of a backend is known", LOG_STR("backend", p->name),
		    LOG_STR("to", threshold_name(e->to)), LOG_UINT("used_bytes", v->used),
		    LOG_UINT("max_bytes", v->limit), LOG_KEY(p->name));
	}
}

/* One sample a period: a check that somebody asked for shows its numbers and counts for nothing. */
static bool sample_due(const struct probe *p, uint64_t now)
{
	uint64_t period = p->threshold.rule.period_ns;

	return !p->counted_ns || now - p->counted_ns >= period - period / 10 || p->threshold.at_once;
}

static void memory_sample(struct probe *p)
{
	uint64_t now = loop_now(p->h->d.loop);
	struct memory_watch w = p->watch;
	struct threshold_event e = { 0 };

	if (p->memory_fresh)
		memory_judge(&w, &p->facts, p->max_memory, p->threshold.rule.raise_warn, p->in_process, now,
		    &p->memory);
	p->memory_fresh = p->memory_fresh && p->memory.known;
	if (!p->memory_fresh) {
		e = threshold_tick(&p->threshold, now);
	} else if (!p->memory.bounded) {
		e = threshold_unbounded(&p->threshold, now);
		p->watch = w;
		p->counted_ns = now;
	} else if (sample_due(p, now)) {
		e = threshold_sample(&p->threshold, p->memory.sample, now);
		p->watch = w;
		p->counted_ns = now;
	}
	tell_level(p, &e);
	if (!p->level)
		return;
	metric_cell_set(p->level, threshold_level(&p->threshold));
	if (p->memory_fresh && p->memory.bounded)
		metric_cell_setd(p->usage, (double)p->memory.share / 1e6);
	else
		metric_cell_unset(p->usage);
	if (!p->now.ok && p->info && !p->memory_fresh)
		metric_info_gone(p->info);
}

/* ---- status ----------------------------------------------------------------------------------------- */

bool probe_memory_alarm(const struct probe *p)
{
	enum threshold_level l = threshold_level(&p->threshold);

	return l == THRESHOLD_WARN || l == THRESHOLD_CRIT ||
	    (l == THRESHOLD_UNBOUNDED && p->h->opts.unbounded_warns);
}

static bool replica(const struct probe *p)
{
	return *p->facts.role && strcmp(p->facts.role, "master") != 0;
}

static struct health_breaker breaker(const struct probe *p)
{
	struct health_breaker br = { .state = HEALTH_BREAKER_DISABLED };

	if (p->h->d.breaker)
		p->h->d.breaker(p->h->d.arg, p->index, &br);
	return br;
}

enum health_breaker_state probe_breaker(const struct probe *p)
{
	return breaker(p).state;
}

enum health_status probe_status(const struct probe *p)
{
	if (p->last.done && !p->last.ok)
		return HEALTH_UNHEALTHY;
	return !p->last.done || probe_memory_alarm(p) || replica(p) || *p->last.info_error ||
	    probe_breaker(p) == HEALTH_BREAKER_OPEN || probe_breaker(p) == HEALTH_BREAKER_HALF_OPEN ?
	    HEALTH_DEGRADED : HEALTH_HEALTHY;
}

void probe_reasons(const struct probe *p, void (*put)(void *arg, const char *text), void *arg)
{
	struct health_breaker br = breaker(p);
	char text[512];

	if (br.state == HEALTH_BREAKER_OPEN || br.state == HEALTH_BREAKER_HALF_OPEN) {
		snprintf(text, sizeof text, "backend %s: circuit breakers: reading %s, writing %s", p->name,
		    br.name[0] ? br.name[0] : "", br.name[1] ? br.name[1] : "");
		put(arg, text);
	}
	if (!p->last.done) {
		snprintf(text, sizeof text, "backend %s: the first check is not done yet", p->name);
		put(arg, text);
		return;
	}
	if (!p->last.ok) {
		snprintf(text, sizeof text, "backend %s: %s: %s", p->name, health_step_name(p->last.failed),
		    p->last.error);
		put(arg, text);
	}
	if (*p->last.info_error) {
		snprintf(text, sizeof text, "backend %s: INFO: %s", p->name, p->last.info_error);
		put(arg, text);
	}
	if (replica(p)) {
		snprintf(text, sizeof text, "backend %s: the store is a replica: point url at its primary",
		    p->name);
		put(arg, text);
	}
	if (probe_memory_alarm(p)) {
		snprintf(text, sizeof text, "backend %s: memory: %s%s%s", p->name,
		    threshold_name(threshold_level(&p->threshold)), *p->memory.reason ? ": " : "",
		    p->memory.reason);
		put(arg, text);
	}
}
