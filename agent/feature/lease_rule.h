/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/lease_rule: what leases decide by lot and by clock.  Pure: random numbers and `now` are arguments.
 */
#ifndef FEATURE_LEASE_RULE_H
#define FEATURE_LEASE_RULE_H
#include <stdbool.h>
#include <stdint.h>

/* XFetch (Vattani, Chierichetti, Lowenstein, 2015): a hit is computed anew before soft_ms, the more likely the nearer
 * it is and the longer computing takes: now - delta * beta * ln(u) >= soft with u in (0, 1] made of random.  Never
 * where there is no soft expiry (0) or nothing was measured. */
bool lease_early(int64_t now_ms, int64_t soft_ms, int64_t delta_ms, double beta, uint64_t random);

/* ttl_ms (> 0), +-5 %; at least 1. */
int64_t lease_jitter(int64_t ttl_ms, uint64_t random);

/* When to look again for a lease that somebody holds on another host: 5 to 25 ms. */
uint64_t lease_poll_ns(uint64_t random);

/* What BUSY says: 25 to 100 ms, so that those who ask again do not come together, but not longer than the lease
 * lasts; at least 1. */
uint32_t lease_retry_ms(uint64_t left_ns, uint64_t random);
#endif
