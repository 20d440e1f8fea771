/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/budget: see the header. */
#include <config.h>
#include <string.h>
#include "resilience/budget.h"

#define SECOND UINT64_C(1000000000)

static void roll(struct budget *b, uint64_t now_ns)
{
	uint64_t second = now_ns / SECOND;

	if (second <= b->second)
		return;
	if (second - b->second >= BUDGET_BUCKETS)
		memset(b->bucket, 0, sizeof b->bucket);
	else
		for (uint64_t s = b->second + 1; s <= second; s++)
			memset(&b->bucket[s % BUDGET_BUCKETS], 0, sizeof *b->bucket);
	b->second = second;
}

void budget_earn(struct budget *b, uint64_t first_attempts, uint64_t now_ns)
{
	roll(b, now_ns);
	b->bucket[b->second % BUDGET_BUCKETS].first += first_attempts;
}

uint64_t budget_left(struct budget *b, const struct budget_rule *r, uint64_t now_ns)
{
	uint64_t first = 0, spent = 0, have;

	roll(b, now_ns);
	for (unsigned i = 0; i < BUDGET_BUCKETS; i++) {
		first += b->bucket[i].first;
		spent += b->bucket[i].retries;
	}
	have = first / 1000000 * r->ratio + first % 1000000 * r->ratio / 1000000 +
	    (uint64_t)r->floor * BUDGET_BUCKETS;
	return have > spent ? have - spent : 0;
}

uint32_t budget_take(struct budget *b, const struct budget_rule *r, uint32_t want, uint64_t now_ns)
{
	uint64_t left = budget_left(b, r, now_ns);
	uint32_t got = want < left ? want : (uint32_t)left;

	b->bucket[b->second % BUDGET_BUCKETS].retries += got;
	return got;
}
