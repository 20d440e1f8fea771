/* SPDX-License-Identifier: Apache-2.0
 *
 * defrag: items of slabs that are mostly free move together, so that slabs become empty (slab.h).
 */
#ifndef MEMORY_DEFRAG_H
#define MEMORY_DEFRAG_H
#include "memory.h"

/* A bounded part, if there is need; 1: it is to go on at the next tick.  An item looked at counts as one. */
int defrag_some(struct ctx *cx, int64_t budget);
#endif
