/* SPDX-License-Identifier: Apache-2.0
 *
 * access/cursor: the cursors of SCAN that clients see.  In: the store's cursor.  Out: another decimal number,
 * which tells nothing of the store and is good for one project and database alone; and back.
 * Why so: docs/decisions/scan-cursors.md.
 */
#ifndef ACCESS_CURSOR_H
#define ACCESS_CURSOR_H
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

struct cursor_key { uint64_t k[2]; }; /* of one project and database */
void cursor_bind(struct cursor_key *k, const uint64_t secret[2], const char *instance, const char *project,
    uint32_t db);

#define CURSOR_TEXT 32u
/* The store's cursor as clients see it, without a NUL; its length.  0, the end, is 0. */
size_t cursor_seal(const struct cursor_key *k, uint64_t store, char dst[CURSOR_TEXT]);

enum cursor_kind {
	CURSOR_GOOD,            /* *store is it */
	CURSOR_NONSENSE,        /* no decimal number: the store says what is wrong with it */
	CURSOR_FOREIGN          /* not of this project and database, or nobody's */
};
enum cursor_kind cursor_open(const struct cursor_key *k, purser_bytes text, uint64_t *store);

/* The store's own number, at most 64 bits.  0, or -1. */
int cursor_number(purser_bytes text, uint64_t *out);
#endif
