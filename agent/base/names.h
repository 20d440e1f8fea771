/* SPDX-License-Identifier: Apache-2.0
 *
 * base/names: a hash table of things that have a name, with the node inside the thing.  The owner
 * compares names itself, so one table can hold names of several kinds.  The hash has a secret: whoever
 * chooses names cannot make them meet.  One thread, or the owner's lock.
 */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H
#include <stddef.h>
#include <stdint.h>

struct names_node {
	struct names_node *next;
	uint64_t hash;
};

struct names {              /* zero-initialised is empty */
	struct names_node **slot;
	size_t cap, n;
};

/* Of the name p[0..n) in the company of tag (kind, owner). */
uint64_t names_hash(uint64_t tag, const void *p, size_t n);
/* The first node of that hash, and the next one; NULL: there is none.  What they are is for the caller
 * to compare. */
struct names_node *names_first(const struct names *t, uint64_t hash);
struct names_node *names_next(const struct names_node *at);
/* 0, or -1: no memory.  node->hash is set. */
int names_add(struct names *t, struct names_node *node, uint64_t hash);
void names_remove(struct names *t, struct names_node *node); /* it is in it */
/* Every node once: names_each(t, NULL), then from one to the next; the table must not change. */
struct names_node *names_each(const struct names *t, const struct names_node *at);
void names_free(struct names *t); /* the table, not the nodes */
#endif
