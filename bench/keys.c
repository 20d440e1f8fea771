/* SPDX-License-Identifier: Apache-2.0 */
/* Key sequences of the load generator: see keys.h. */
#include <math.h>
#include <stdlib.h>

#include "keys.h"

static double random_unit(uint64_t *state)
{
	return (double)(keys_random(state) >> 11) * 0x1p-53;
}

/* The share of all requests that the first i + 1 ranks take, for each i. */
static double *zipf_cumulative(uint32_t count, double theta)
{
	double *cdf = malloc(count * sizeof(*cdf)), sum = 0;

	if (!cdf)
		return NULL;
	for (uint32_t i = 0; i < count; i++)
		cdf[i] = sum += pow(i + 1.0, -theta);
	for (uint32_t i = 0; i < count; i++)
		cdf[i] /= sum;
	return cdf;
}

static uint32_t zipf_rank(const double *cdf, uint32_t count, double u)
{
	uint32_t low = 0, high = count - 1;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (cdf[mid] < u)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int draw_zipf(struct keys *k, double theta, uint64_t *state)
{
	double *cdf = zipf_cumulative(k->count, theta);

	if (!cdf)
		return -1;
	for (uint32_t i = 0; i < KEYS_TRACE_LEN; i++)
		k->trace[i] = zipf_rank(cdf, k->count, random_unit(state));
	free(cdf);
	return 0;
}

int keys_init(struct keys *k, enum key_dist dist, uint32_t count, double theta, uint64_t seed)
{
	*k = (struct keys){.dist = dist, .count = count};
	if (dist == KEYS_SEQ)
		return 0;
	k->trace = malloc(KEYS_TRACE_LEN * sizeof(*k->trace));
	if (!k->trace)
		return -1;
	if (dist == KEYS_ZIPF)
		return draw_zipf(k, theta, &seed);
	for (uint32_t i = 0; i < KEYS_TRACE_LEN; i++)
		k->trace[i] = (uint32_t)(((keys_random(&seed) >> 32) * count) >> 32);
	return 0;
}

void keys_free(struct keys *k)
{
	free(k->trace);
	k->trace = NULL;
}
