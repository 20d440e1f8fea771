/* SPDX-License-Identifier: Apache-2.0
 *
 * hash: fields of a key.  Small ones are packed into the item's value, in the order in which they came:
 *
 *   number of fields 2 | length 1 | field | length 1 | value | length 1 | field | ...
 *
 * A hash with more than 512 fields, or with anything longer than 64 bytes, is a table of items for ever
 * (the limits of Redis' listpack; OBJECT ENCODING shows it).  A packed hash of more than 16 KiB becomes a
 * table before that, because it would be slow; it is still called a listpack, as in Redis it is one.
 * Changes are made whole or not at all.
 */
#ifndef MEMORY_HASH_H
#define MEMORY_HASH_H
#include "keyspace.h"

#define PACK_FIELDS 512u
#define PACK_BYTES 64u                  /* of one field or value */
#define PACK_MAX 16384u                 /* of all */

uint64_t hash_len(const struct item *it);
/* 1: v shows the value of the field (valid until the hash changes). */
int hash_get(struct ctx *cx, struct item *it, purser_bytes field, struct view *v);

/* Field and value pairs from fv[0..2*pairs) to the hash at p; p->it NULL: it is made.  How many fields are
 * new in *created.  0, or -1: no memory, nothing changed. */
int hash_put(struct ctx *cx, struct pos *p, const purser_bytes *fv, uint32_t pairs, int64_t *created);
/* The fields that are there go, and with the last one the key.  How many, or -1: no memory. */
int64_t hash_remove(struct ctx *cx, struct pos *p, const purser_bytes *fields, uint32_t n);

/* fn's result other than 0 ends the walk. */
typedef int hash_fn(void *arg, const uint8_t *field, size_t flen, const uint8_t *value, size_t vlen);
int hash_each(struct item *it, hash_fn *fn, void *arg);
/* Field number at (0 .. hash_len-1) of a packed hash, or any field of a table, all alike. */
void hash_random(struct ctx *cx, struct item *it, purser_bytes *field, purser_bytes *value);

struct table *hash_table_copy(struct ctx *cx, const struct table *t); /* NULL: no memory */
size_t hash_table_memory(const struct table *t); /* bytes, estimated from a few fields */
#endif
