/* SPDX-License-Identifier: Apache-2.0
 *
 * resilience/gcra: how many units (commands, bytes) may pass in a time.  Pure: the time comes in, the answer
 * goes out.  Rules and vectors: semantics.md section 8.
 *
 * A unit takes T = period / count.  The state is one number, the theoretical arrival time of the next unit if
 * all came evenly; it may be ahead of now by tau = T * (burst + 1).  So burst + 1 units may come at once,
 * then count in each period.
 *
 * The state is one atomic: threads may share it.
 */
#ifndef RESILIENCE_GCRA_H
#define RESILIENCE_GCRA_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define GCRA_PERIOD_MAX_NS (UINT64_C(3600) * 1000000000) /* an hour */
#define GCRA_NEVER UINT64_MAX

struct gcra_rule {
	uint64_t step;               /* T in 2^-20 ns, rounded up; 0: there is no limit */
	uint64_t tau_ns;
	uint64_t burst;
};
/* count units (>= 1) in each period_ns (1 .. GCRA_PERIOD_MAX_NS), and burst more at once. */
void gcra_rule_set(struct gcra_rule *r, uint64_t count, uint64_t period_ns, uint64_t burst);

struct gcra { _Atomic uint64_t tat; }; /* all zero: nothing has come yet */

/* What q units cost, in ns of the limited thing's time (saturating). */
uint64_t gcra_cost(const struct gcra_rule *r, uint64_t q);

/* Pay for q units.  0: they may pass.  Else nothing was taken, and it is how many ns later they may, if nobody
 * else comes in between; GCRA_NEVER: they are more than may ever come at once. */
uint64_t gcra_take(struct gcra *g, const struct gcra_rule *r, uint64_t q, uint64_t now_ns);
/* What was taken and not used after all. */
void gcra_give(struct gcra *g, const struct gcra_rule *r, uint64_t q);
/* What is known only afterwards (bytes of a reply) is paid for even if there is not so much: a debt, worked off
 * before anything else may pass. */
void gcra_charge(struct gcra *g, const struct gcra_rule *r, uint64_t q, uint64_t now_ns);
/* Before such a thing: 0 if there is room for at least one unit, else in how many ns there will be. */
uint64_t gcra_debt(const struct gcra *g, const struct gcra_rule *r, uint64_t now_ns);

struct gcra_view {
	uint64_t limit;              /* units that may come at once, if nothing came for long */
	uint64_t remaining;          /* ... now */
	uint64_t reset_ns;           /* until all of them may again */
};
struct gcra_view gcra_view(const struct gcra *g, const struct gcra_rule *r, uint64_t now_ns);
#endif
