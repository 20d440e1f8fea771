/* SPDX-License-Identifier: Apache-2.0
 *
 * simulate: the published algorithms themselves, in their exact form, on caches that hold so many keys of the same
 * size: the references for what the memory plugin's policies come to.
 */
#ifndef BENCH_HIT_SIMULATE_H
#define BENCH_HIT_SIMULATE_H
#include "trace.h"

/* Part of the requests that hit; < 0: no memory. */
double simulate_fifo(const struct trace *t, uint32_t room);
double simulate_lru(const struct trace *t, uint32_t room);
double simulate_lfu(const struct trace *t, uint32_t room);    /* counts of keys in the cache; of the same: LRU */
double simulate_s3fifo(const struct trace *t, uint32_t room); /* small 10 %, ghost as long as main */
double simulate_belady(const struct trace *t, uint32_t room); /* knows what comes */
#endif
