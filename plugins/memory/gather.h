/* SPDX-License-Identifier: Apache-2.0
 *
 * gather: a list of strings that lives through one command: what a reply or a new value is made of.
 * Its memory is malloc's own and not part of the accounts.
 */
#ifndef MEMORY_GATHER_H
#define MEMORY_GATHER_H
#include <purser/plugin.h>

struct gather_block;
struct gather {
	purser_bytes *v;
	size_t n, cap;
	struct gather_block *blocks;    /* of the copies */
};

/* One string more, as it is or as a copy.  0, or -1: no memory, the list is as it was. */
int gather_ref(struct gather *g, const void *p, size_t n);
int gather_copy(struct gather *g, const void *p, size_t n);
void gather_free(struct gather *g);
#endif
