/* SPDX-License-Identifier: Apache-2.0
 *
 * listpack: Redis' row of elements in one piece of memory, as its RDB files and DUMP have them.
 *
 *   bytes in all 4 | elements 2, 65535: many | element | element | ... | 255
 *   element: encoding and length, an integer's bytes or a string's | its length again, for the way back
 *
 * A string that is an integer is kept as one.  Nothing here looks at what came from outside: lp_check() does.
 */
#ifndef MEMORY_LISTPACK_H
#define MEMORY_LISTPACK_H
#include "item.h"

#define LP_HEAD 6u
#define LP_EMPTY 7u                      /* bytes of one without elements */
#define LP_END 255u
#define LP_ELEMENT 10u                   /* the most that an element takes beside a string's bytes */
#define LP_INT 10u                       /* the most that an integer takes */

uint32_t lp_bytes(const uint8_t *lp);
void lp_empty(uint8_t *lp);
/* The elements end at lp[n - 1]: writes that end, the bytes, and `more` elements. */
void lp_finish(uint8_t *lp, size_t n, uint32_t more);

static inline const uint8_t *lp_first(const uint8_t *lp) { return lp + LP_HEAD; }
const uint8_t *lp_next(const uint8_t *p);        /* may be the end */
const uint8_t *lp_prev(const uint8_t *p);        /* p is not the first */
void lp_get(const uint8_t *p, struct view *v);   /* integers as text */
int64_t lp_int(const uint8_t *p);                /* it is an integer, else 0 */

/* Writes one element; where the next one comes. */
uint8_t *lp_put(uint8_t *to, const void *p, size_t n);
uint8_t *lp_put_int(uint8_t *to, int64_t v);
size_t lp_int_bytes(int64_t v);                  /* what lp_put_int() writes */

/* 1: lp[0..n) is one, and the number of its elements (in *elements) is what its head says. */
int lp_check(const uint8_t *lp, size_t n, uint64_t *elements);
#endif
