/* SPDX-License-Identifier: Apache-2.0
 *
 * hll: HyperLogLog as Redis keeps it in a string, so that the bytes can go from one to the other:
 *
 *   "HYLL" | encoding 1 (0: dense, 1: sparse) | 3 unused | cardinality 8, little-endian | registers
 *
 * dense    16384 registers of 6 bits, the first in the lowest bits of the first byte
 * sparse   runs: 00nnnnnn                n+1 registers are 0
 *                01nnnnnn nnnnnnnn       the same, longer
 *                1vvvvvnn                n+1 registers are v+1
 *
 * The highest bit of the cardinality says that it is not up to date.
 */
#ifndef MEMORY_HLL_H
#define MEMORY_HLL_H
#include <stddef.h>
#include <stdint.h>

#define HLL_REGISTERS 16384u
#define HLL_HEAD 16u
#define HLL_DENSE_BYTES (HLL_HEAD + HLL_REGISTERS * 6 / 8)
#define HLL_SPARSE_MAX 3000u           /* hll-sparse-max-bytes */
#define HLL_EMPTY_BYTES (HLL_HEAD + 2)

/* One under way: bytes of it, room for a dense one and one byte more. */
struct hll { uint8_t *p; size_t n; };

int hll_valid(const uint8_t *p, size_t n);  /* its head, not its registers */
static inline int hll_is_dense(const uint8_t *p) { return p[4] == 0; }
void hll_begin(struct hll *h);              /* an empty one, sparse */

/* What an element is to it: a register and the value that it must have at least. */
uint32_t hll_element(const void *p, size_t n, uint8_t *value);
/* 1: changed, 0: it was there, -1: the registers are damaged. */
int hll_raise(struct hll *h, uint32_t reg, uint8_t value);
int hll_raise_dense(uint8_t *p, uint32_t reg, uint8_t value);
int hll_make_dense(struct hll *h);          /* 0, or -1: damaged, unchanged */

/* max[i] becomes register i if that is higher.  0, or -1: damaged. */
int hll_merge(uint8_t max[HLL_REGISTERS], const uint8_t *p, size_t n);
/* How many elements registers (one byte each) or a value estimate.  -1: damaged. */
uint64_t hll_estimate_raw(const uint8_t max[HLL_REGISTERS]);
int hll_estimate(const uint8_t *p, size_t n, uint64_t *out);

int hll_cached(const uint8_t *p, uint64_t *out); /* 1: the cardinality is up to date */
void hll_cache(uint8_t *p, uint64_t v);
static inline void hll_touch(uint8_t *p) { p[15] |= 0x80; }
#endif
