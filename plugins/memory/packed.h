/* SPDX-License-Identifier: Apache-2.0
 *
 * packed: small collections as one string, as Redis keeps and dumps them: listpacks (read and written), and
 * the ziplists and zipmaps of its older versions (read).
 *
 * What is read may come from anybody: nothing is believed that was not looked at.
 */
#ifndef MEMORY_PACKED_H
#define MEMORY_PACKED_H
#include "number.h"
#include <purser/plugin.h>

enum packed_form { PACKED_LISTPACK, PACKED_ZIPLIST, PACKED_ZIPMAP };

struct packed {
	const uint8_t *at, *end;              /* end: at the mark of the end */
	enum packed_form form;
	uint32_t count;                       /* as it says itself; UINT32_MAX: it does not */
	uint32_t seen;
	uint32_t before;                      /* ziplist: bytes of the last entry */
	uint32_t tail;                        /* ... and where it must stand, from `start` on */
	const uint8_t *start;
	int value;                            /* zipmap: a value is next */
};

/* 0, or -1: it is damaged. */
int packed_open(struct packed *k, enum packed_form form, const uint8_t *p, size_t n);
/* 1: the next element in *e, the text of a number in buf; 0: the end; -1: it is damaged. */
int packed_next(struct packed *k, purser_bytes *e, char buf[INT_TEXT]);

/* ---- writing ---------------------------------------------------------------------------------------- */
#define LISTPACK_HEAD 6u
#define LISTPACK_ENTRY 14u              /* an element takes no more beside its own bytes */

/* What an element takes. */
size_t listpack_entry_bytes(purser_bytes e);
/* All that stands around so many bytes of entries. */
static inline size_t listpack_bytes(size_t entries) { return LISTPACK_HEAD + entries + 1; }
void listpack_head(uint8_t to[LISTPACK_HEAD], size_t bytes, size_t count);
/* In front of the element's own bytes and behind them; *inside: they are not written at all.  The lengths. */
size_t listpack_before(uint8_t to[LISTPACK_ENTRY], purser_bytes e, int *inside);
size_t listpack_behind(uint8_t to[5], size_t bytes);
#endif
