/* SPDX-License-Identifier: Apache-2.0
 *
 * base/arena: memory with the life of one request.  It begins in memory that the owner gives (often
 * part of the owner itself) and takes blocks from malloc only when that is used up.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stddef.h>
#include <stdint.h>

struct arena_block;
struct arena {
	uint8_t *p;
	size_t left;
	struct arena_block *blocks;
};

static inline void arena_begin(struct arena *a, void *mem, size_t n)
{
	a->p = mem;
	a->left = n;
	a->blocks = NULL;
}
void *arena_slow(struct arena *a, size_t n);
/* n bytes, aligned to 8; NULL: no memory. */
static inline void *arena_get(struct arena *a, size_t n)
{
	size_t need = (n + 7) & ~(size_t)7;
	void *p = a->p;

	if (need < n || need > a->left)
		return arena_slow(a, n);
	a->p += need;
	a->left -= need;
	return p;
}
void arena_end_slow(struct arena *a);
static inline void arena_end(struct arena *a)
{
	if (a->blocks)
		arena_end_slow(a);
}
#endif
