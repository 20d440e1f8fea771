/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/gcra: see the header. */
#include <config.h>
#include "resilience/gcra.h"

#define SHIFT 20
#define MOST (UINT64_C(1) << 62)  /* of anything in ns: 146 years */

static uint64_t ns_of(uint64_t steps)
{
	return (steps + (UINT64_C(1) << SHIFT) - 1) >> SHIFT;
}

uint64_t gcra_cost(const struct gcra_rule *r, uint64_t q)
{
	uint64_t v;

	if (!__builtin_mul_overflow(q, r->step, &v) && v <= UINT64_MAX - (UINT64_C(1) << SHIFT))
		return ns_of(v);
	/* Too much for so fine a unit: whole ns are exact enough for what takes hours. */
	return __builtin_mul_overflow(q, ns_of(r->step), &v) || v > MOST ? MOST : v;
}

void gcra_rule_set(struct gcra_rule *r, uint64_t count, uint64_t period_ns, uint64_t burst)
{
	r->step = ((period_ns << SHIFT) + count - 1) / count;
	r->burst = burst;
	r->tau_ns = gcra_cost(r, burst + 1);
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t gcra_take(struct gcra *g, const struct gcra_rule *r, uint64_t q, uint64_t now_ns)
{
	uint64_t cost = gcra_cost(r, q), tat = atomic_load_explicit(&g->tat, memory_order_relaxed), next;

	if (cost > r->tau_ns)
		return GCRA_NEVER;
	do {
		next = later(tat, now_ns) + cost;
		if (next - now_ns > r->tau_ns)
			return next - now_ns - r->tau_ns;
	} while (!atomic_compare_exchange_weak_explicit(&g->tat, &tat, next, memory_order_relaxed,
	    memory_order_relaxed));
	return 0;
}

void gcra_give(struct gcra *g, const struct gcra_rule *r, uint64_t q)
{
	/* It was added, to a time that was not before that of the taking: the difference is never below zero. */
	atomic_fetch_sub_explicit(&g->tat, gcra_cost(r, q), memory_order_relaxed);
}

void gcra_charge(struct gcra *g, const struct gcra_rule *r, uint64_t q, uint64_t now_ns)
{
	uint64_t cost = gcra_cost(r, q), tat = atomic_load_explicit(&g->tat, memory_order_relaxed), next;

	do {
		next = later(tat, now_ns) + cost;
		if (next > MOST)
			next = MOST;
	} while (!atomic_compare_exchange_weak_explicit(&g->tat, &tat, next, memory_order_relaxed,
	    memory_order_relaxed));
}

uint64_t gcra_debt(const struct gcra *g, const struct gcra_rule *r, uint64_t now_ns)
{
	uint64_t tat = atomic_load_explicit(&g->tat, memory_order_relaxed), next = later(tat, now_ns) + gcra_cost(r, 1);

	return next - now_ns > r->tau_ns ? next - now_ns - r->tau_ns : 0;
}

struct gcra_view gcra_view(const struct gcra *g, const struct gcra_rule *r, uint64_t now_ns)
{
	uint64_t tat = atomic_load_explicit(&g->tat, memory_order_relaxed);
	struct gcra_view v = { .limit = r->burst + 1, .reset_ns = tat > now_ns ? tat - now_ns : 0 };
	uint64_t room = v.reset_ns < r->tau_ns ? r->tau_ns - v.reset_ns : 0;

	/* room / T in the fine unit, or in whole ns where that would not fit */
	if (room <= UINT64_MAX >> SHIFT)
		v.remaining = (room << SHIFT) / r->step;
	else
		v.remaining = room / ns_of(r->step);
	if (v.remaining > v.limit)
		v.remaining = v.limit;
	return v;
}
