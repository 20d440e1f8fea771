/* SPDX-License-Identifier: Apache-2.0
 *
 * reap: large values that are freed piece by piece, on the timer (upkeep.c).  What can be handed over begins
 * with a struct reap.
 *
 * Work is counted in elements freed, some 0.1 to 0.2 us each; a page of 4 KiB that goes back to the system is as
 * much.  What has fewer elements than is worth a turn is freed on the spot, and counted in cx->work: who frees many such
 * values at a time (the reaper, active expiry) adds that to what it has done.
 */
#ifndef MEMORY_REAP_H
#define MEMORY_REAP_H
#include "memory.h"

#define REAP_AT_ONCE 64               /* elements that are freed on the spot */

#define REAP_BLOB_BYTES (1u << 20)     /* strings above go piece by piece */

enum reap_kind { REAP_TABLE, REAP_LIST, REAP_STREAM, REAP_GROUP, REAP_KEYS, REAP_BLOB };

struct reap {
	struct reap *next;
	uint32_t kind;                /* enum reap_kind */
	uint32_t project;             /* whose it is until it has been freed */
};

/* n elements more wait to be freed; whoever frees one says so with count_add(&cx->led->freeing, -1). */
void reap_later(struct ctx *cx, struct reap *r, enum reap_kind kind, uint64_t n);

/* How much a reaper has done since it began with `all` and cx->work was `was`: what is freed at once counts it. */
static inline void reap_was(struct ctx *cx, int64_t was, int64_t all, int64_t left)
{
	cx->work = was + (all - left);
}
#endif
