/* SPDX-License-Identifier: Apache-2.0
 *
 * resilience/budget: how many retries a backend may get, so that they cannot become the load that
 * keeps it down.  Pure.  Rules: semantics.md section 2.
 *
 * A first attempt earns a share of a credit, a retry costs one, what was earned dies after ten seconds,
 * and some credits are there in any case: what is left is
 *     ratio * (first attempts in the last 10 s) + floor * 10 s - (retries in the last 10 s).
 */
#ifndef RESILIENCE_BUDGET_H
#define RESILIENCE_BUDGET_H
#include <stdint.h>

#define BUDGET_BUCKETS 10u
struct budget_rule {
	uint32_t ratio;              /* millionths of a credit that a first attempt earns */
	uint32_t floor;              /* credits a second in any case */
};
#define BUDGET_RULE_DEFAULT { 100000, 3 }
struct budget {
	uint64_t second;             /* of the newest bucket */
	struct { uint64_t first, retries; } bucket[BUDGET_BUCKETS];
};
void budget_earn(struct budget *b, uint64_t first_attempts, uint64_t now_ns);
uint64_t budget_left(struct budget *b, const struct budget_rule *r, uint64_t now_ns);
/* Pay for up to want retries; how many are paid for. */
uint32_t budget_take(struct budget *b, const struct budget_rule *r, uint32_t want, uint64_t now_ns);
#endif
