/* SPDX-License-Identifier: Apache-2.0
 *
 * reap: large values that are freed piece by piece, on the timer (upkeep.c).  What can be handed over begins
 * with a struct reap.
 */
#ifndef MEMORY_REAP_H
#define MEMORY_REAP_H
#include "memory.h"

#define REAP_AT_ONCE 64               /* elements that are freed on the spot */

enum reap_kind { REAP_TABLE, REAP_LIST, REAP_STREAM, REAP_GROUP, REAP_KEYS };

struct reap {
	struct reap *next;
	uint32_t kind;                /* enum reap_kind */
	uint32_t project;             /* whose it is until it has been freed */
};

/* n elements more wait to be freed; whoever frees one says so with count_add(&cx->led->freeing, -1). */
void reap_later(struct ctx *cx, struct reap *r, enum reap_kind kind, uint64_t n);
#endif
