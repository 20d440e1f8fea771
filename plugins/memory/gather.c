/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "gather.h"

#define BLOCK 65536u

struct gather_block {
	struct gather_block *next;
	size_t used, cap;
	uint8_t bytes[];
};

int gather_ref(struct gather *g, const void *p, size_t n)
{
	if (g->n == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 64;
		void *v = realloc(g->v, cap * sizeof(*g->v));

		if (!v)
			return -1;
		g->v = v;
		g->cap = cap;
	}
	g->v[g->n++] = (purser_bytes){ p, n };
	return 0;
}

int gather_copy(struct gather *g, const void *p, size_t n)
{
	struct gather_block *b = g->blocks;

	if (!b || b->cap - b->used < n) {
		size_t cap = n > BLOCK ? n : BLOCK;

		b = malloc(sizeof(*b) + cap);
		if (!b)
			return -1;
		*b = (struct gather_block){ g->blocks, 0, cap };
		g->blocks = b;
	}
	if (gather_ref(g, b->bytes + b->used, n))
		return -1;
	if (n)
		memcpy(b->bytes + b->used, p, n);
	b->used += n;
	return 0;
}

void gather_free(struct gather *g)
{
	while (g->blocks) {
		struct gather_block *next = g->blocks->next;

		free(g->blocks);
		g->blocks = next;
	}
	free(g->v);
	*g = (struct gather){ 0 };
}
