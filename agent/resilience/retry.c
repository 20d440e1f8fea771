/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/retry: see the header. */
#include <config.h>
#include "resilience/retry.h"

uint64_t retry_delay(const struct retry_rule *r, uint32_t n, uint64_t random)
{
	uint64_t top = r->cap_ns;

	if (n < 64 && r->base_ns <= r->cap_ns >> n)
		top = r->base_ns << n;
	return top == UINT64_MAX ? random : random % (top + 1);
}

bool retry_may(const struct retry_rule *r, const struct retry_case *c, uint64_t at_ns)
{
	if (c->class_ == RETRY_RAN || (c->class_ == RETRY_UNKNOWN && !c->idempotent))
		return false;
	return c->attempts < r->max_attempts && c->deadline_ns >= at_ns &&
	    c->deadline_ns - at_ns >= RETRY_MARGIN_NS;
}
