/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <math.h>
#include "feature/lease_rule.h"

#define MS UINT64_C(1000000)

/* In [0, 1): 53 bits are what a double holds. */
static double unit(uint64_t random)
{
	return (double)(random >> 11) * 0x1p-53;
}

bool lease_early(int64_t now_ms, int64_t soft_ms, int64_t delta_ms, double beta, uint64_t random)
{
	if (!soft_ms || delta_ms <= 0 || beta <= 0)
		return false;
	return (double)now_ms - (double)delta_ms * beta * log(1.0 - unit(random)) >= (double)soft_ms;
}

int64_t lease_jitter(int64_t ttl_ms, uint64_t random)
{
	int64_t v = ttl_ms + (int64_t)llround((double)ttl_ms * 0.05 * (2.0 * unit(random) - 1.0));

	return v < 1 ? 1 : v;
}

uint64_t lease_poll_ns(uint64_t random)
{
	return 5 * MS + (uint64_t)(unit(random) * (double)(20 * MS));
}

uint32_t lease_retry_ms(uint64_t left_ns, uint64_t random)
{
	uint64_t ms = 25 + (uint64_t)(unit(random) * 76), left = left_ns / MS;

	if (ms > left)
		ms = left;
	return ms < 1 ? 1 : (uint32_t)ms;
}
