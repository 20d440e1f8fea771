/* SPDX-License-Identifier: Apache-2.0 */
/* metric/hist: tables, allocation of decades, and what readers need. */
#include <config.h>
#include <stdlib.h>
#include "metric/hist.h"

const uint64_t hist_pow10[20] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000,
	1000000000, UINT64_C(10000000000), UINT64_C(100000000000), UINT64_C(1000000000000),
	UINT64_C(10000000000000), UINT64_C(100000000000000), UINT64_C(1000000000000000),
	UINT64_C(10000000000000000), UINT64_C(100000000000000000), UINT64_C(1000000000000000000),
	UINT64_C(10000000000000000000) };

/* ceil(2^64 / 5^(k + 1)): multiplying and taking the high half divides exactly what is < 2^37. */
#define RECIP(div) (UINT64_MAX / (div) + 1)
const uint64_t hist_recip[HIST_DECADES] = { RECIP(5), RECIP(25), RECIP(125), RECIP(625), RECIP(3125),
	RECIP(15625), RECIP(78125), RECIP(390625), RECIP(1953125) };

struct hist_decade *hist_decade_new(struct hist *h, int decade)
{
	struct hist_decade *d = calloc(1, sizeof *d);

	if (!d) {
		hist_bump(&h->lost, 1);
		return NULL;
	}
	atomic_store_explicit(&h->dec[decade], d, memory_order_release);
	return d;
}

void hist_free(struct hist *h)
{
	for (int i = 0; i < HIST_DECADES; i++)
		free(atomic_load_explicit(&h->dec[i], memory_order_relaxed));
}

static uint64_t take(struct hist_sum *to, unsigned bin, const _Atomic uint64_t *from)
{
	uint64_t n = atomic_load_explicit(from, memory_order_relaxed);

	to->bin[bin] += n;
	return n;
}

void hist_add(struct hist_sum *to, const struct hist *h)
{
	uint64_t count = take(to, 0, &h->low) + take(to, HIST_BINS - 1, &h->high);

	for (unsigned i = 0; i < HIST_DECADES; i++) {
		const struct hist_decade *d = atomic_load_explicit(&h->dec[i], memory_order_acquire);

		for (unsigned k = 0; d && k < HIST_SUB; k++)
			count += take(to, 1 + i * HIST_SUB + k, &d->bin[k]);
	}
	to->count += count;
	to->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
	to->lost += atomic_load_explicit(&h->lost, memory_order_relaxed);
}

uint64_t hist_edge(unsigned bin)
{
	unsigned i = bin - 1;

	if (bin == 0)
		return 100;
	if (bin >= HIST_BINS - 1)
		return UINT64_MAX;
	return (uint64_t)(i % HIST_SUB + 21) * (hist_pow10[i / HIST_SUB + 2] / 20);
}

void hist_explicit(const struct hist_sum *s, const uint64_t *bounds_ns, size_t n, uint64_t *counts)
{
	size_t at = 0;

	for (size_t i = 0; i <= n; i++)
		counts[i] = 0;
	for (unsigned b = 0; b < HIST_BINS; b++) {
		while (at < n && hist_edge(b) > bounds_ns[at])
			at++;
		counts[at] += s->bin[b];
	}
}

uint64_t hist_quantile(const struct hist_sum *s, double q)
{
	uint64_t rank = (uint64_t)(q * (double)s->count), seen = 0;

	if (!s->count)
		return 0;
	if (rank >= s->count)
		rank = s->count - 1;
	for (unsigned b = 0; b < HIST_BINS; b++) {
		seen += s->bin[b];
		if (seen > rank)
			return b == HIST_BINS - 1 ? hist_edge(b - 1) : hist_edge(b);
	}
	return 0;
}
