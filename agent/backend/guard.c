/* SPDX-License-Identifier: Apache-2.0 */
/* backend/guard: see the header. */
#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "backend/instance.h"

#define SECOND UINT64_C(1000000000)
#define HURRY (SECOND / 50) /* between what frees memory and the probe that it brings forward */

const char *guard_class_name(unsigned class_)
{
	return class_ == GUARD_WRITE ? "write" : "read";
}

static unsigned class_of(const struct bcall *b)
{
	return b->c.flags & PURSER_CALL_WRITE ? GUARD_WRITE : GUARD_READ;
}

static uint64_t draw(struct guard *g) /* under the lock */
{
	g->random ^= g->random << 13;
	g->random ^= g->random >> 7;
	g->random ^= g->random << 17;
	return g->random * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

/* ---- transitions ------------------------------------------------------------------------------------ */

void guard_gate(struct purser_instance *i, uint32_t bit, bool on)
{
	if (on)
		atomic_fetch_or_explicit(&i->gate, bit, memory_order_release);
	else
		atomic_fetch_and_explicit(&i->gate, ~bit, memory_order_release);
}

/* All that a transition means, under the lock: state, gauge, counter, log line, and main is told, which
 * sees to the probe, to health and to the subscribers. */
static void guard_moved(struct purser_instance *i, enum guard_class c, struct breaker_move m, uint64_t now_ns)
{
	struct guard *g = &i->guard;
	struct guard_event e = { .inst = i, .class_ = c, .move = m,
		.retry_after_ns = breaker_retry_after(&g->breaker[c], &g->rules.breaker, now_ns) };
	bool shut = m.to == BREAKER_OPEN || m.to == BREAKER_FORCED_OPEN;

	if (!m.moved)
		return;
	if (m.to != BREAKER_OPEN && m.to != BREAKER_HALF_OPEN)
		g->full[c] = false;
	g->opens[c] += shut;
	atomic_store_explicit(&g->since_ns[c], now_ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&g->epoch[c], 1, memory_order_relaxed);
	atomic_store_explicit(&g->state[c], m.to, memory_order_release);
	guard_gate(i, 1u << c, m.to != BREAKER_CLOSED && m.to != BREAKER_DISABLED);
	if (g->shard) {
		metric_cell_set(g->gauge[c], m.to);
		metric_cell_add(g->moves[c][m.to], 1);
	}
	log_event(i->log, LOG_M_BACKEND, shut ? LOG_WARN : LOG_INFO, "breaker.moved",
	    "a circuit breaker has changed its state", LOG_STR("backend", i->name),
	    LOG_STR("class", guard_class_name(c)), LOG_STR("from", breaker_name((enum breaker_state)m.from)),
	    LOG_STR("to", breaker_name((enum breaker_state)m.to)),
	    LOG_STR("reason", g->full[c] ? "the store is full (OOM)" :
	    breaker_why((enum breaker_reason)m.reason)),
	    LOG_UINT("retry_after_ms", shut ? e.retry_after_ns / 1000000 : 0),
	    LOG_KEY(breaker_name((enum breaker_state)m.to)));
	if (g->on_move)
		g->on_move(g->arg, &e);
}

/* ---- control thread --------------------------------------------------------------------------------- */

void guard_init(struct purser_instance *i, struct metric_shard *shard)
{
	struct guard *g = &i->guard;

	pthread_mutex_init(&g->lock, NULL);
	g->rules = (struct guard_rules){ true, BREAKER_RULE_DEFAULT, RETRY_RULE_DEFAULT, BUDGET_RULE_DEFAULT };
	g->random = (uint64_t)(uintptr_t)i | 1;
	g->shard = shard;
	atomic_store(&g->version, 1);
	for (unsigned c = 0; c < GUARD_CLASSES; c++) {
		breaker_init(&g->breaker[c], 0);
		if (!shard)
			continue;
		g->gauge[c] = metric_cell(shard, METRIC_BREAKER_STATE, i->name, guard_class_name(c));
		metric_cell_set(g->gauge[c], BREAKER_CLOSED);
		for (unsigned s = 0; s < BREAKER_STATES; s++)
			g->moves[c][s] = metric_cell(shard, METRIC_BREAKER_TRANSITIONS, i->name, guard_class_name(c),
			    breaker_name((enum breaker_state)s));
	}
}

void guard_free(struct purser_instance *i)
{
	for (unsigned c = 0; c < GUARD_CLASSES; c++)
		if (i->guard.gauge[c])
			metric_cell_unset(i->guard.gauge[c]);
	pthread_mutex_destroy(&i->guard.lock);
}

void guard_set_rules(struct purser_instance *i, const struct guard_rules *r, uint64_t now_ns)
{
	struct guard *g = &i->guard;
	bool turned = g->rules.enabled != r->enabled;

	pthread_mutex_lock(&g->lock);
	g->rules = *r;
	for (unsigned c = 0; c < GUARD_CLASSES && turned; c++)
		guard_moved(i, c, breaker_operate(&g->breaker[c], r->enabled ? BREAKER_CLOSED :
		    BREAKER_DISABLED, now_ns), now_ns);
	pthread_mutex_unlock(&g->lock);
	atomic_fetch_add(&g->version, 1);
}

uint64_t guard_probe_due(struct purser_instance *i, enum guard_class c)
{
	struct guard *g = &i->guard;
	uint64_t due;

	pthread_mutex_lock(&g->lock);
	due = breaker_probe_due(&g->breaker[c]);
	pthread_mutex_unlock(&g->lock);
	return due;
}

bool guard_probe_begin(struct purser_instance *i, enum guard_class c, uint64_t now_ns)
{
	struct guard *g = &i->guard;
	bool go;

	pthread_mutex_lock(&g->lock);
	go = breaker_probe_begin(&g->breaker[c], now_ns);
	pthread_mutex_unlock(&g->lock);
	return go;
}

void guard_probe_end(struct purser_instance *i, enum guard_class c, bool ok, uint64_t now_ns)
{
	struct guard *g = &i->guard;

	pthread_mutex_lock(&g->lock);
	guard_moved(i, c, breaker_probe_end(&g->breaker[c], &g->rules.breaker, ok, now_ns, draw(g)), now_ns);
	pthread_mutex_unlock(&g->lock);
}

/* ---- any thread ------------------------------------------------------------------------------------- */

void guard_view(struct purser_instance *i, enum guard_class c, uint64_t now_ns, struct guard_view *out)
{
	struct guard *g = &i->guard;

	pthread_mutex_lock(&g->lock);
	*out = (struct guard_view){ (enum breaker_state)g->breaker[c].state, g->opens[c],
		g->breaker[c].reopens, g->breaker[c].since_ns,
		breaker_retry_after(&g->breaker[c], &g->rules.breaker, now_ns) };
	pthread_mutex_unlock(&g->lock);
	if (out->state != BREAKER_OPEN && out->state != BREAKER_FORCED_OPEN)
		out->retry_after_ns = 0;
}

void guard_operate(struct purser_instance *i, enum guard_class c, enum breaker_state to, uint64_t now_ns)
{
	struct guard *g = &i->guard;

	pthread_mutex_lock(&g->lock);
	if (to == BREAKER_CLOSED && !g->rules.enabled)
		to = BREAKER_DISABLED;
	guard_moved(i, c, breaker_operate(&g->breaker[c], to, now_ns), now_ns);
	pthread_mutex_unlock(&g->lock);
}

/* ---- the context's thread --------------------------------------------------------------------------- */

void guard_ctx_open(struct purser_ctx *x, struct metric_shard *shard)
{
	struct guard_ctx *k = &x->guard;

	memset(k, 0, sizeof *k);
	if (!shard)
		return;
	for (unsigned c = 0; c < GUARD_CLASSES; c++)
		k->rejected[c] = metric_cell(shard, METRIC_BREAKER_REJECTED, x->inst->name, guard_class_name(c));
	k->retries = metric_cell(shard, METRIC_RETRIES, x->inst->name);
	k->exhausted = metric_cell(shard, METRIC_RETRY_EXHAUSTED, x->inst->name);
}

static void set_watch(struct guard_ctx *k)
{
	k->watch = k->rules.breaker.slow_ns != 0;
	for (unsigned c = 0; c < GUARD_CLASSES; c++)
		k->watch |= k->of[c].window.consecutive || k->of[c].trials;
}

const struct guard_rules *guard_rules(struct purser_ctx *x)
{
	struct guard *g = &x->inst->guard;
	uint32_t version = atomic_load_explicit(&g->version, memory_order_acquire);

	if (version != x->guard.version) {
		pthread_mutex_lock(&g->lock);
		x->guard.rules = g->rules;
		pthread_mutex_unlock(&g->lock);
		x->guard.version = version;
		set_watch(&x->guard);
	}
	return &x->guard.rules;
}

/* What has been counted beside the windows goes into them; what may be retried is earned. */
void guard_roll(struct purser_ctx *x, uint64_t now_ns)
{
	const struct guard_rules *rules = guard_rules(x);
	struct guard_ctx *k = &x->guard;
	uint64_t done[GUARD_CLASSES] = { x->ended - k->wrote, k->wrote }, first = x->accepted - k->resent;
	uint64_t at = k->roll_ns && now_ns > k->roll_ns + SECOND ? k->roll_ns : now_ns;

	for (unsigned c = 0; c < GUARD_CLASSES; c++) {
		uint64_t n = done[c] - k->of[c].seen;

		/* A call may be noted a little before it has ended. */
		if (n < k->of[c].noted) {
			k->of[c].noted -= n;
		} else if (rules->enabled) {
			n -= k->of[c].noted;
			k->of[c].noted = 0;
			breaker_window_add(&k->of[c].window, n > UINT32_MAX ? UINT32_MAX : (uint32_t)n, at, now_ns);
		}
		k->of[c].seen = done[c];
	}
	if ((int64_t)(first - k->seen_first) > 0) {
		pthread_mutex_lock(&x->inst->guard.lock);
		budget_earn(&x->inst->guard.budget, first - k->seen_first, now_ns);
		pthread_mutex_unlock(&x->inst->guard.lock);
		k->seen_first = first;
	}
	k->roll_ns = now_ns + SECOND;
}

static void trial_end(struct purser_ctx *x, struct bcall *b, enum breaker_outcome o)
{
	struct guard *g = &x->inst->guard;
	unsigned c = class_of(b);
	uint64_t now = loop_now(x->loop);

	b->trial = false;
	x->guard.of[c].trials--;
	set_watch(&x->guard);
	pthread_mutex_lock(&g->lock);
	guard_moved(x->inst, c, breaker_trial_end(&g->breaker[c], &g->rules.breaker, b->trial_epoch, o, now,
	    draw(g)), now);
	pthread_mutex_unlock(&g->lock);
}

void guard_give_back(struct purser_ctx *x, struct bcall *b)
{
	if (b->trial)
		trial_end(x, b, BREAKER_IGNORE);
}

bool guard_admit(struct purser_ctx *x, struct bcall *b, bool needs_memory, char *why, size_t cap)
{
	struct guard *g = &x->inst->guard;
	unsigned c = class_of(b);
	enum breaker_pass pass;
	uint64_t after;

	if (b->c.flags & PURSER_CALL_INTERNAL ||
	    !(atomic_load_explicit(&x->inst->gate, memory_order_acquire) & 1u << c))
		return true;
	pthread_mutex_lock(&g->lock);
	pass = g->full[c] && !needs_memory && g->breaker[c].state == BREAKER_OPEN ? BREAKER_PASS :
	    breaker_admit(&g->breaker[c], &g->rules.breaker);
	b->trial_epoch = g->breaker[c].epoch;
	after = breaker_retry_after(&g->breaker[c], &g->rules.breaker, loop_now(x->loop));
	pthread_mutex_unlock(&g->lock);
	if (pass == BREAKER_REJECT) {
		snprintf(why, cap, "backend=%s class=%s retry_after_ms=%" PRIu64, x->inst->name,
		    guard_class_name(c), (after + 999999) / 1000000);
		return false;
	}
	b->trial = pass == BREAKER_TRIAL;
	x->guard.of[c].trials += b->trial;
	x->guard.watch = true; /* how it ends matters: a trial, or what frees memory */
	return true;
}

void guard_rejected(struct purser_ctx *x, const struct bcall *b)
{
	struct metric_cell *cell = x->guard.rejected[class_of(b)];

	if (cell)
		metric_cell_add(cell, 1);
}

static void opened(struct purser_ctx *x, unsigned c, enum breaker_reason why, bool full, uint64_t now)
{
	struct guard *g = &x->inst->guard;
	struct breaker_move m;

	pthread_mutex_lock(&g->lock);
	m = breaker_trip(&g->breaker[c], &g->rules.breaker, why, now, draw(g));
	if (m.moved)
		g->full[c] = full;
	guard_moved(x->inst, c, m, now);
	pthread_mutex_unlock(&g->lock);
}

/* One outcome that is not counted in bulk. */
static void note(struct purser_ctx *x, struct bcall *b, enum breaker_outcome o, bool full)
{
	struct guard *g = &x->inst->guard;
	unsigned c = class_of(b);
	uint64_t now = loop_now(x->loop);
	const struct guard_rules *rules = guard_rules(x);
	struct guard_ctx *k = &x->guard;
	uint32_t epoch = atomic_load_explicit(&g->epoch[c], memory_order_relaxed);
	enum breaker_reason why;

	b->noted = true;
	guard_roll(x, now);
	k->of[c].noted++;
	if (b->trial) {
		trial_end(x, b, o);
		return;
	}
	if (epoch != k->of[c].epoch) { /* another state since: what came before says nothing */
		breaker_window_clear(&k->of[c].window);
		k->of[c].epoch = epoch;
	}
	if (!rules->enabled || b->c.flags & PURSER_CALL_INTERNAL ||
	    atomic_load_explicit(&g->state[c], memory_order_acquire) != BREAKER_CLOSED ||
	    b->submit_ns < atomic_load_explicit(&g->since_ns[c], memory_order_relaxed)) {
		set_watch(k);
		return;
	}
	why = breaker_window_note(&k->of[c].window, &rules->breaker, o, now);
	set_watch(k);
	if (why)
		opened(x, c, why, full, now);
}

bool call_failure_word(const struct call_failure *f, const char *word)
{
	size_t n = strlen(word);

	return f->store && f->n >= n && memcmp(f->text, word, n) == 0 && (f->n == n || f->text[n] == ' ');
}

static bool any_word(const struct call_failure *f, const char *const *words)
{
	while (*words && !call_failure_word(f, *words))
		words++;
	return *words != NULL;
}

static enum breaker_outcome outcome(const struct bcall *b, const struct call_failure *f)
{
	static const char *const fail[] = { "LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", NULL };
	static const char *const write_fail[] = { "READONLY", "OOM", "MISCONF", "NOREPLICAS", NULL };

	if (f->store && b->c.ctx->inst->in_process) /* a script that takes long keeps the others: it is there */
		return BREAKER_IGNORE;
	if (f->store)
		return any_word(f, fail) || (class_of(b) == GUARD_WRITE && any_word(f, write_fail)) ?
		    BREAKER_FAIL : BREAKER_IGNORE;
	/* The rest of the request did not come, or the reply before it is not read: no fault of the store. */
	if ((b->starved || b->held) && (f->code == PURSER_E_CANCELLED || f->err == ERR_TIMEOUT))
		return BREAKER_IGNORE;
	switch (f->code) {
	case PURSER_E_CONNECT: case PURSER_E_IO: case PURSER_E_PROTOCOL: case PURSER_E_TLS:
	case PURSER_E_CANCELLED: /* not AUTH: the store is there, and what it says should be seen */
		return BREAKER_FAIL;
	case 0:
		return f->err == ERR_TIMEOUT || f->err == ERR_INDETERMINATE || f->err == ERR_BACKENDDOWN ||
		    f->err == ERR_BACKENDPROTOCOL ? BREAKER_FAIL : BREAKER_IGNORE;
	default:
		return BREAKER_IGNORE;
	}
}

void guard_failed(struct purser_ctx *x, struct bcall *b, const struct call_failure *f)
{
	enum breaker_outcome o = x->draining ? BREAKER_IGNORE : outcome(b, f);
	unsigned c = class_of(b);

	if (f->code == PURSER_E_IO && o == BREAKER_FAIL && !b->trial) {
		uint64_t now = loop_now(x->loop);

		if (x->guard.of[c].lost_ns == now)
			o = BREAKER_IGNORE; /* the same link: one failure, however many were on it */
		x->guard.of[c].lost_ns = now;
	}
	/* A store in this process that is full is no reason to stop asking it. */
	if (x->inst->in_process && call_failure_word(f, "OOM"))
		o = BREAKER_IGNORE;
	note(x, b, o, call_failure_word(f, "OOM"));
}

/* A write has succeeded on a full store: perhaps there is room again. */
static void hurry(struct purser_ctx *x)
{
	struct guard *g = &x->inst->guard;
	uint64_t at = loop_now(x->loop) + HURRY;
	struct guard_event e = { .inst = x->inst, .class_ = GUARD_WRITE };

	pthread_mutex_lock(&g->lock);
	if (g->full[GUARD_WRITE] && g->breaker[GUARD_WRITE].state == BREAKER_OPEN &&
	    breaker_probe_due(&g->breaker[GUARD_WRITE]) > at && !g->breaker[GUARD_WRITE].probing) {
		g->breaker[GUARD_WRITE].until_ns = at;
		if (g->on_move)
			g->on_move(g->arg, &e);
	}
	pthread_mutex_unlock(&g->lock);
}

void guard_ended(struct purser_ctx *x, struct bcall *b)
{
	unsigned c = class_of(b);
	uint64_t slow = x->guard.rules.breaker.slow_ns;

	if (b->noted)
		return;
	if (b->answered) { /* given up before: it says nothing more */
		guard_give_back(x, b);
		return;
	}
	if (b->c.flags & PURSER_CALL_BLOCKS)
		slow = 0; /* it took as long as it was to */
	note(x, b, slow && loop_now(x->loop) - b->submit_ns >= slow ? BREAKER_OK_SLOW : BREAKER_OK, false);
	if (c == GUARD_WRITE && atomic_load_explicit(&x->inst->guard.state[c], memory_order_relaxed) == BREAKER_OPEN)
		hurry(x);
}

uint32_t guard_pay(struct purser_ctx *x, uint32_t want)
{
	struct guard *g = &x->inst->guard;
	uint64_t now = loop_now(x->loop);
	uint32_t got;

	guard_roll(x, now);
	pthread_mutex_lock(&g->lock);
	got = budget_take(&g->budget, &g->rules.budget, want, now);
	pthread_mutex_unlock(&g->lock);
	if (x->guard.retries) {
		metric_cell_add(x->guard.retries, got);
		metric_cell_add(x->guard.exhausted, want - got);
	}
	return got;
}
