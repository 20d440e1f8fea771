/* SPDX-License-Identifier: Apache-2.0
 *
 * trace: named synthetic traces of requests, the same for a seed everywhere.  Keys are numbers from 0 on.
 */
#ifndef BENCH_HIT_TRACE_H
#define BENCH_HIT_TRACE_H
#include <stddef.h>
#include <stdint.h>

struct trace {
	const char *name;
	int scans;                        /* its misses are held against the goal for scans */
	uint32_t *key;
	size_t n;
	uint32_t keys;                    /* how many different numbers there may be */
};

size_t trace_count(void);
const char *trace_name(size_t i);
/* Trace number i of n requests over about `universe` popular keys.  0, or -1: no memory. */
int trace_make(struct trace *t, size_t i, size_t n, uint32_t universe, uint64_t seed);
void trace_free(struct trace *t);
#endif
