/* SPDX-License-Identifier: Apache-2.0
 *
 * resilience/retry: may a failed command be sent again, when, and together with which others.  Pure.
 * Rules: semantics.md section 2.
 *
 * Classes.  NOT_RUN: it was not executed for sure, so any command may be sent again.  UNKNOWN: it was
 * sent whole and no reply came; only what has the same effect twice may be sent again.  The rest is
 * told to the client as it is (INDETERMINATE).
 *
 * Groups.  The unsettled commands of one client are settled together, in order and with one delay: a
 * command is sent again only if all later ones of its client are sent again behind it.  So what is
 * sent again is the longest suffix of the group in which each may be.
 */
#ifndef RESILIENCE_RETRY_H
#define RESILIENCE_RETRY_H
#include <stdbool.h>
#include <stdint.h>

struct retry_rule {
	uint32_t max_attempts;       /* >= 1; 1: nothing is sent again */
	uint64_t base_ns, cap_ns;
};
#define RETRY_RULE_DEFAULT { 4, UINT64_C(20000000), UINT64_C(500000000) }
#define RETRY_MARGIN_NS UINT64_C(1000000) /* nothing is sent with less than that left */

enum retry_class { RETRY_NOT_RUN, RETRY_UNKNOWN, RETRY_RAN };

/* U(0, min(cap, base * 2^n)) before retry n = 0, 1, ...; random: 64 random bits. */
uint64_t retry_delay(const struct retry_rule *r, uint32_t n, uint64_t random);

struct retry_case {
	enum retry_class class_;
	bool idempotent;             /* the same effect when it is executed twice */
	uint32_t attempts;           /* made so far; 0: it was never handed over */
	uint64_t deadline_ns;        /* of the whole command */
};
/* at_ns: when it would be sent. */
bool retry_may(const struct retry_rule *r, const struct retry_case *c, uint64_t at_ns);

/* First each member in order: retry_group_add().  Then, with `paid` of the group's `cost` credits,
 * retry_group_pay().  Then each in order again: retry_group_again(). */
struct retry_group {
	uint32_t n;                  /* members */
	uint32_t first;              /* the suffix begins here */
	uint32_t cost;               /* members of the suffix that were attempted before */
	uint32_t unpaid;
};
static inline void retry_group_add(struct retry_group *g, bool may, bool costs)
{
	g->n++;
	if (!may) {
		g->first = g->n;
		g->cost = 0;
	} else if (costs) {
		g->cost++;
	}
}
static inline void retry_group_pay(struct retry_group *g, uint32_t paid)
{
	g->unpaid = paid < g->cost ? g->cost - paid : 0;
}
/* Is member i sent again?  Asked in order.  Where credit is short the suffix gets shorter. */
static inline bool retry_group_again(struct retry_group *g, uint32_t i, bool costs)
{
	if (i < g->first)
		return false;
	if (!g->unpaid)
		return true;
	g->unpaid -= costs;
	return false;
}
#endif
