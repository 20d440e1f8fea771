/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdlib.h>
#include "base/arena.h"

struct arena_block {
	struct arena_block *next;
	max_align_t mem[];
};

void *arena_slow(struct arena *a, size_t n)
{
	size_t cap = n < 2048 ? 4096 : n;
	struct arena_block *b;

	if (n > SIZE_MAX / 2)
		return NULL;
	b = malloc(sizeof *b + cap);
	if (!b)
		return NULL;
	b->next = a->blocks;
	a->blocks = b;
	if (cap > n) { /* the rest serves the next small ones */
		size_t need = (n + 7) & ~(size_t)7;

		a->p = (uint8_t *)b->mem + need;
		a->left = cap - need;
	}
	return b->mem;
}

void arena_end_slow(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
}
