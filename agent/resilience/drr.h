/* SPDX-License-Identifier: Apache-2.0
 *
 * resilience/drr: deficit round robin.  Whose turn is it, among flows that each have several who wait?  Pure:
 * lists and numbers, no time.
 *
 * Every flow that waits gets the same share of what is spent, whatever single things cost: it is given a
 * quantum of credit in each round, goes on while it has credit, and may overdraw it once, which the next
 * rounds make good.  Within a flow they come in turn, first in, first out.
 */
#ifndef RESILIENCE_DRR_H
#define RESILIENCE_DRR_H
#include <stdbool.h>
#include <stdint.h>

struct drr_item { struct drr_item *next, *prev; };
struct drr_flow {                /* all zero at first */
	struct drr_flow *next, *prev;
	struct drr_item *head, *tail;
	int64_t credit;
};
struct drr {                     /* all zero at first, but for quantum */
	struct drr_flow *head, *tail; /* flows of which somebody waits */
	int64_t quantum;         /* > 0 */
};

/* it waits, behind the others of f; it must not wait already. */
void drr_add(struct drr *d, struct drr_flow *f, struct drr_item *it);
/* It does not wait any more, although it had no turn. */
void drr_remove(struct drr *d, struct drr_flow *f, struct drr_item *it);
/* Takes out whose turn it is, of flows to which may(arg, flow) says yes; *f is its flow.  NULL: nobody's. */
struct drr_item *drr_next(struct drr *d, bool (*may)(void *arg, const struct drr_flow *f), void *arg,
    struct drr_flow **f);
/* What that turn cost. */
static inline void drr_spend(struct drr_flow *f, int64_t cost)
{
	f->credit -= cost;
}
#endif
