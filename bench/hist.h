/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram of durations in nanoseconds: 64 steps per power of two, so a quantile is at
 * most 1.6 % above the true value. Values from 2^40 ns (18 minutes) up fall into the last bucket.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

#define HIST_STEP_BITS 6
#define HIST_TOP_BITS 40
#define HIST_BUCKETS ((HIST_TOP_BITS - HIST_STEP_BITS + 1) << HIST_STEP_BITS)

struct hist {
	uint64_t count;
	uint64_t sum; /* ns */
	uint64_t max; /* ns */
	uint64_t bucket[HIST_BUCKETS];
};

static inline unsigned hist_index(uint64_t ns)
{
	if (ns < (1u << HIST_STEP_BITS))
		return (unsigned)ns;
	if (ns >> HIST_TOP_BITS)
		return HIST_BUCKETS - 1;
	unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - HIST_STEP_BITS;
	return (shift << HIST_STEP_BITS) + (unsigned)(ns >> shift);
}

/* The greatest value that falls into the bucket. */
static inline uint64_t hist_upper(unsigned index)
{
	if (index < (2u << HIST_STEP_BITS))
		return index;
	unsigned shift = (index >> HIST_STEP_BITS) - 1;
	uint64_t step = (index & ((1u << HIST_STEP_BITS) - 1)) + (1u << HIST_STEP_BITS);
	return ((step + 1) << shift) - 1;
}

static inline void hist_add(struct hist *h, uint64_t ns)
{
	h->count++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
	h->bucket[hist_index(ns)]++;
}

/* The quantile q (0..1) in ns; 0 for an empty histogram. */
static inline uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t rank = (uint64_t)(q * (double)h->count), seen = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > rank) {
			uint64_t upper = hist_upper(i);
			return upper < h->max ? upper : h->max;
		}
	}
	return h->max;
}

#endif
