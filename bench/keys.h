/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which key each request takes. The sequence is drawn before the run starts, so that a skewed
 * distribution costs the generator no more than an even one, and the same seed repeats it exactly.
 */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include <stdint.h>

enum key_dist { KEYS_UNIFORM, KEYS_ZIPF, KEYS_SEQ };

#define KEYS_TRACE_LEN (1u << 20)

struct keys {
	enum key_dist dist;
	uint32_t count;
	uint32_t *trace; /* owned; KEYS_TRACE_LEN key numbers, NULL for KEYS_SEQ */
};

/* theta is Zipf's exponent (0.99 is the usual choice). 0, or -1 when memory is short. */
int keys_init(struct keys *k, enum key_dist dist, uint32_t count, double theta, uint64_t seed);
void keys_free(struct keys *k);

/* The key number at place pos of the sequence. */
static inline uint32_t keys_at(const struct keys *k, uint64_t pos)
{
	return k->trace ? k->trace[pos & (KEYS_TRACE_LEN - 1)] : (uint32_t)(pos % k->count);
}

/* A step of splitmix64: *state is the seed. */
static inline uint64_t keys_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

#endif
