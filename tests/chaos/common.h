/* SPDX-License-Identifier: Apache-2.0
 *
 * What the proxy and the checker have in common.
 */
#ifndef CHAOS_COMMON_H
#define CHAOS_COMMON_H
#include <stdint.h>

/* The next random number below n; the same seed gives the same ones (splitmix64). */
static inline uint32_t random_below(uint64_t *rng, uint32_t n)
{
	uint64_t z = *rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return (uint32_t)((z >> 32) * n >> 32);
}
#endif
