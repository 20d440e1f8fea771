/* SPDX-License-Identifier: Apache-2.0
 *
 * idtree: values of one size in the order of ids of 128 bits; a B+tree whose leaves are chained.  It is what
 * finds a stream's blocks, and the pending entries of groups and consumers.
 *
 *   leaf    up to 32 ids, and a value of `size` bytes for each (0 bytes: a set of ids); it grows as it fills
 *   inner   the same with the addresses of nodes; an id is not above any of its node's, but for the first
 *
 * Ids that come in ascending order fill the nodes.  Only additions need memory, and one that gets none leaves
 * everything as it was.
 */
#ifndef MEMORY_IDTREE_H
#define MEMORY_IDTREE_H
#include "memory.h"

struct sid { uint64_t ms, seq; };       /* of a stream's entry */

#define SID_MIN ((struct sid){ 0, 0 })
#define SID_MAX ((struct sid){ UINT64_MAX, UINT64_MAX })

static inline int sid_order(struct sid a, struct sid b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return (a.seq > b.seq) - (a.seq < b.seq);
}
static inline int sid_is_zero(struct sid a) { return !(a.ms | a.seq); }
static inline struct sid sid_up(struct sid a) /* a is not SID_MAX */
{
	return a.seq == UINT64_MAX ? (struct sid){ a.ms + 1, 0 } : (struct sid){ a.ms, a.seq + 1 };
}
static inline struct sid sid_down(struct sid a) /* a is not SID_MIN */
{
	return a.seq == 0 ? (struct sid){ a.ms - 1, UINT64_MAX } : (struct sid){ a.ms, a.seq - 1 };
}

#define IDNODE_MAX 32u
#define IDTREE_LEVELS 24u

struct idnode {
	struct idnode *prev, *next;           /* of leaves */
	uint32_t n, cap;
	struct sid id[];                      /* cap of them, then cap values */
};

struct idtree {
	struct idnode *root;
	uint64_t n;
	uint32_t size;                        /* of a value */
	uint32_t levels;                      /* 0: empty, 1: the root is a leaf */
};

/* A place in the tree.  Valid until the tree changes. */
struct idpos { struct idnode *leaf; uint32_t i; };

static inline void idtree_init(struct idtree *t, uint32_t size)
{
	*t = (struct idtree){ .size = size };
}
static inline struct sid idpos_id(const struct idpos *p) { return p->leaf->id[p->i]; }
static inline void *idpos_value(const struct idtree *t, const struct idpos *p)
{
	return (uint8_t *)(p->leaf->id + p->leaf->cap) + (size_t)p->i * t->size;
}

/* The value of id, or NULL (of a set of ids: some address). */
void *idtree_find(const struct idtree *t, struct sid id);
/* The same, added if it is not there: then *fresh is 1 and the value is yet to be written.  NULL: no memory. */
void *idtree_put(struct ctx *cx, struct idtree *t, struct sid id, int *fresh);
int idtree_remove(struct ctx *cx, struct idtree *t, struct sid id); /* 1: it was there */

/* The first id that is not below, the last that is not above; 0: there is none. */
int idtree_from(const struct idtree *t, struct sid id, struct idpos *p);
int idtree_upto(const struct idtree *t, struct sid id, struct idpos *p);
int idpos_next(struct idpos *p);
int idpos_prev(struct idpos *p);

/* Takes the nodes away from the end, *budget ids at most or about; drop (NULL: nothing to be done) gets each
 * value.  1: the tree is empty. */
typedef void idtree_drop(struct ctx *cx, void *value);
int idtree_reap(struct ctx *cx, struct idtree *t, int64_t *budget, idtree_drop *drop);
size_t idtree_memory(const struct idtree *t); /* about */
size_t idtree_bytes(const struct idtree *t);   /* exactly */
#endif
