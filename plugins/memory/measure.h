/* SPDX-License-Identifier: Apache-2.0
 *
 * measure: how many bytes of the accounts an item has, counted one by one.  For tests, and where bytes change hands;
 * MEMORY USAGE takes samples of large values.
 */
#ifndef MEMORY_MEASURE_H
#define MEMORY_MEASURE_H
#include "item.h"

size_t item_memory(const struct item *it);  /* a shared blob: all of it */
/* Its blob, if it has one, is no other key's: 0, or -1: no memory. */
int item_blob_alone(struct ctx *cx, struct item *it);
void item_set_owner(struct item *it, uint32_t project); /* of its blob: see blob_release() */
#endif
