/* SPDX-License-Identifier: Apache-2.0 */
/* trace: policy, ids, and the parts of the ring that are not on the hot path. */
#include <config.h>
#include <endian.h>
#include <stdlib.h>
#include <sys/random.h>
#include "trace/trace.h"

#define ONE (UINT64_C(1) << 56)

void trace_policy_set(struct trace_policy *p, const struct trace_policy_opts *o)
{
	double ratio = o->ratio > 1 ? 1 : o->ratio;
	uint32_t workers = o->workers ? o->workers : 1, share;
	uint64_t threshold = ONE, slow, slowlog;

	if (o->on && ratio > 0)
		threshold = (uint64_t)((1 - ratio) * (double)ONE + 0.5);
	share = o->spans_per_second / workers;
	if (o->spans_per_second && !share)
		share = 1;
	atomic_store_explicit(&p->threshold, threshold, memory_order_relaxed);
	slow = o->on && o->slow_ns ? o->slow_ns : UINT64_MAX;
	slowlog = o->slowlog_ns ? o->slowlog_ns : UINT64_MAX;
	atomic_store_explicit(&p->slow_ns, slow, memory_order_relaxed);
	atomic_store_explicit(&p->slowlog_ns, slowlog, memory_order_relaxed);
	atomic_store_explicit(&p->late_ns, slow < slowlog ? slow : slowlog, memory_order_relaxed);
	atomic_store_explicit(&p->per_second, share, memory_order_relaxed);
	atomic_store_explicit(&p->alone, o->ignore_parent, memory_order_relaxed);
	atomic_store_explicit(&p->errors, o->on && o->keep_errors, memory_order_relaxed);
	atomic_store_explicit(&p->on, o->on, memory_order_relaxed);
}

void trace_seed(struct trace *t, const uint64_t seed[4])
{
	memcpy(t->rng, seed, sizeof t->rng);
}

struct trace *trace_new(const struct trace_policy *p, uint32_t slots)
{
	struct trace *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);

	if (!t)
		return NULL;
	memset(t, 0, sizeof *t);
	t->policy = p;
	t->mask = 15;
	while (t->mask + 1 < (slots ? slots : 4096))
		t->mask = t->mask * 2 + 1;
	t->slot = aligned_alloc(64, (t->mask + 1) * sizeof *t->slot);
	if (!t->slot || getrandom(t->rng, sizeof t->rng, 0) != sizeof t->rng) {
		trace_free(t);
		return NULL;
	}
	t->rng[0] |= 1; /* the one state that gives no numbers is all zero */
	return t;
}

void trace_free(struct trace *t)
{
	if (!t)
		return;
	free(t->slot);
	free(t);
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof v);
}

void trace_ids(struct trace *t, struct trace_ctx *c)
{
	uint64_t v;

	if (!(c->has & TRACE_HAS_TRACE)) {
		put64(c->trace_id, trace_random(t));
		v = c->has & TRACE_HAS_RANDOM ? c->random : trace_random(t);
		put64(c->trace_id + 8, v ? v : 1);
		c->flags |= TRACE_RANDOM;
	}
	if (!(c->has & TRACE_HAS_SPAN)) {
		v = trace_random(t);
		put64(c->span_id, v ? v : 1);
	}
	if (!(c->has & TRACE_HAS_PARENT))
		memset(c->parent_id, 0, sizeof c->parent_id);
	c->has |= TRACE_HAS_TRACE | TRACE_HAS_SPAN;
}

/* TRACE_SAMPLED or 0, by the low 56 bits of an id. */
static uint8_t ratio_says(const struct trace *t, const uint8_t id[16])
{
	uint64_t r = 0;

	for (int i = 9; i < 16; i++)
		r = r << 8 | id[i];
	return r >= atomic_load_explicit(&t->policy->threshold, memory_order_relaxed);
}

void trace_adopt(struct trace *t, struct trace_ctx *c, const struct trace_parent *parent)
{
	(void)t;
	c->origin = TRACE_ORIGIN_REMOTE;
	memcpy(c->trace_id, parent->trace_id, sizeof c->trace_id);
	memcpy(c->parent_id, parent->span_id, sizeof c->parent_id);
	c->flags = parent->flags;
	c->has = TRACE_HAS_TRACE | TRACE_HAS_PARENT;
	if (atomic_load_explicit(&t->policy->alone, memory_order_relaxed))
		c->flags = (uint8_t)((c->flags & ~TRACE_SAMPLED) | ratio_says(t, c->trace_id));
	if (!atomic_load_explicit(&t->policy->on, memory_order_relaxed))
		c->flags &= (uint8_t)~TRACE_SAMPLED;
}

void trace_child(struct trace *t, struct trace_ctx *parent, struct trace_ctx *c)
{
	trace_ids(t, parent);
	c->origin = TRACE_ORIGIN_LOCAL;
	memcpy(c->trace_id, parent->trace_id, sizeof c->trace_id);
	memcpy(c->parent_id, parent->span_id, sizeof c->parent_id);
	c->flags = parent->flags;
	c->has = TRACE_HAS_TRACE | TRACE_HAS_PARENT;
}

/* The cap: so many in each second of the monotonic clock. */
static bool within_cap(struct trace *t, uint64_t now_ns)
{
	uint32_t cap = atomic_load_explicit(&t->policy->per_second, memory_order_relaxed);

	if (!cap)
		return true;
	if (now_ns - t->second_ns >= UINT64_C(1000000000)) {
		t->second_ns = now_ns;
		t->taken = 0;
	}
	return t->taken < cap && ++t->taken;
}

bool trace_late(struct trace *t, struct trace_ctx *c, uint64_t now_ns)
{
	bool keep = within_cap(t, now_ns);
	_Atomic uint64_t *n = keep ? &t->n.kept[c->origin] : &t->n.dropped[c->origin];

	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
	    memory_order_relaxed);
	if (keep) {
		trace_ids(t, c);
		c->flags |= TRACE_SAMPLED;
	}
	return keep;
}

void trace_counts(const struct trace *t, struct trace_counts *out)
{
	for (int i = 0; i < 3; i++) {
		out->kept[i] = atomic_load_explicit(&t->n.kept[i], memory_order_relaxed);
		out->dropped[i] = atomic_load_explicit(&t->n.dropped[i], memory_order_relaxed);
	}
	out->recorded = atomic_load_explicit(&t->n.recorded, memory_order_relaxed);
	out->lost = atomic_load_explicit(&t->n.lost, memory_order_relaxed);
}

/* ---- the ring ---------------------------------------------------------------------------------- */

void trace_wake(struct trace *t)
{
	uint64_t head = atomic_load_explicit(&t->head, memory_order_relaxed);

	/* what the reader took since we last looked may be enough */
	t->tail_seen = atomic_load_explicit(&t->tail, memory_order_acquire);
	if (head - t->tail_seen <= t->mask / 2 || !t->wake)
		return;
	if (!atomic_exchange_explicit(&t->woken, 1, memory_order_acq_rel))
		t->wake(t->wake_arg);
}

size_t trace_drain(struct trace *t, size_t max, void (*fn)(void *arg, const struct span *s), void *arg)
{
	uint64_t tail = atomic_load_explicit(&t->tail, memory_order_relaxed), head;
	size_t n;

	atomic_store_explicit(&t->woken, 0, memory_order_release);
	head = atomic_load_explicit(&t->head, memory_order_acquire);
	n = (size_t)(head - tail);
	if (n > max)
		n = max;
	for (size_t i = 0; i < n; i++)
		fn(arg, &t->slot[(tail + i) & t->mask]);
	atomic_store_explicit(&t->tail, tail + n, memory_order_release);
	return n;
}

size_t trace_pending(const struct trace *t)
{
	uint64_t tail = atomic_load_explicit(&t->tail, memory_order_acquire);

	return (size_t)(atomic_load_explicit(&t->head, memory_order_acquire) - tail);
}

size_t trace_capacity(const struct trace *t)
{
	return (size_t)t->mask + 1;
}
