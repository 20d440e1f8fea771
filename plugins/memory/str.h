/* SPDX-License-Identifier: Apache-2.0
 *
 * str: writing strings, for the commands that see them as bits or as a HyperLogLog.  (cmd_string.c)
 */
#ifndef MEMORY_STR_H
#define MEMORY_STR_H
#include "keyspace.h"

/* Makes the string at p a raw one of len bytes (no fewer than it has): new bytes are zero, spare ones are kept
 * for later.  Returns its bytes, or NULL: no memory, nothing changed. */
uint8_t *string_stretch(struct ctx *cx, struct pos *p, size_t len, size_t spare);

/* A raw string of len bytes for the key of p, without expiry, that stands in no table; its bytes at *to are the
 * caller's to write.  NULL: no memory. */
struct item *string_new(struct ctx *cx, const struct pos *p, size_t len, uint8_t **to);
/* It becomes the value of the key.  0, or -1: no memory, it is freed. */
int string_settle(struct ctx *cx, struct pos *p, struct item *it);
/* These bytes, which are no part of the old value, as a raw string; the expiry stays.  0, or -1: no memory,
 * nothing changed. */
int string_put(struct ctx *cx, struct pos *p, const uint8_t *bytes, size_t n);
#endif
