/* SPDX-License-Identifier: Apache-2.0
 *
 * set: members of a key.  Three forms:
 *
 *   integers   up to 512 of them: their width in bytes (2, 4, 8) | sorted values       Redis: intset
 *   packed     up to 128 members of 64 bytes: number 1 | length 1 | member | ...       Redis: hashtable
 *   a table of items without a value
 *
 * Sets grow from one form into the next and never back, as in Redis, whose names OBJECT ENCODING shows.
 * Changes are made whole or not at all.
 */
#ifndef MEMORY_SET_H
#define MEMORY_SET_H
#include "keyspace.h"

#define SET_INTS 512u                   /* set-max-intset-entries */
#define SET_PACK_MEMBERS 128u
#define SET_PACK_BYTES 64u              /* of one member */
#define SET_PACK_MAX 2048u              /* of all */

uint64_t set_len(const struct item *it);
int set_has(struct ctx *cx, struct item *it, purser_bytes member);

/* A set of these members (some perhaps twice) that stands in no table; not as integers if mixed.  NULL: no
 * memory. */
struct item *set_make(struct ctx *cx, purser_bytes key, const purser_bytes *m, size_t n, int mixed);
/* Members to the set at p; p->it NULL: it is made.  How many were new in *created.  0, or -1: no memory,
 * nothing changed. */
int set_add(struct ctx *cx, struct pos *p, const purser_bytes *m, size_t n, int64_t *created);
/* The members that are there go, and with the last one the key.  How many, or -1: no memory. */
int64_t set_remove(struct ctx *cx, struct pos *p, const purser_bytes *m, size_t n);

/* fn's result other than 0 ends the walk. */
typedef int set_fn(void *arg, const uint8_t *member, size_t n);
int set_each(struct item *it, set_fn *fn, void *arg);
/* Any member, all alike; v shows it until the set changes. */
void set_random(struct ctx *cx, struct item *it, struct view *v);
#endif
