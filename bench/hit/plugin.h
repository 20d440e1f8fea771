/* SPDX-License-Identifier: Apache-2.0
 *
 * plugin: a trace through the memory plugin in this process.
 */
#ifndef BENCH_HIT_PLUGIN_H
#define BENCH_HIT_PLUGIN_H
#include "trace.h"

/* The plugin's clocks go so many ns while there are as many requests as keys have room: LRU's clock has steps of
 * 268 ms, which must not be what is measured. */
#define HIT_SPAN UINT64_C(60000000000)
#define HIT_VALUE 64                  /* bytes of a value */

/* Part of the requests that hit: each is a GET, and a SET if it missed.  The memory is what `room` keys take without a
 * limit; what the policy takes for itself comes out of it. */
double plugin_run(const struct trace *t, uint32_t room, int policy);
#endif
