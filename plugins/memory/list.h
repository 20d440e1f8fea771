/* SPDX-License-Identifier: Apache-2.0
 *
 * list: elements in order, in a chain of nodes of up to 4 KiB; a longer element has a node of its own.  An
 * element is its length, its bytes, and its length again, so that a node can be walked from both ends:
 *
 *   length 1, or 255 and 4 more | bytes | length 1, or 4 and 255
 *
 * Free bytes of a node are at its ends.  A list is never empty: with its last element its key goes.
 */
#ifndef MEMORY_LIST_H
#define MEMORY_LIST_H
#include "item.h"
#include "reap.h"

#define NODE_BYTES (4096u - (uint32_t)sizeof(struct node)) /* a block without a rest: slab.h */

struct node {
	struct node *prev, *next;
	uint32_t count, at, end, cap;         /* elements; their bytes are data[at..end) of cap */
	uint8_t data[];
};

struct list {
	struct reap reap;                     /* first */
	struct node *head, *tail;
	uint64_t n;
};

/* An element: offset in its node.  Valid until the list changes. */
struct lpos { struct node *n; uint32_t off; };

enum { LIST_BACK = 0, LIST_FRONT = 1 };

struct list *list_new(struct ctx *cx);                       /* empty; NULL: no memory */
struct list *list_copy(struct ctx *cx, const struct list *l);
/* Frees it, a large one piece by piece on the timer. */
void list_dispose(struct ctx *cx, struct list *l);
int list_reap(struct ctx *cx, struct list *l, int64_t *budget); /* 1: it is gone */
size_t list_bytes(const struct list *l);      /* exactly */
size_t list_memory(const struct list *l);

int list_push(struct ctx *cx, struct list *l, int front, purser_bytes e); /* 0, or -1: no memory */
void list_pop(struct ctx *cx, struct list *l, int front);    /* it is not empty */

/* The first or last element, or number i from the front (i < n). */
struct lpos list_end(const struct list *l, int front);
struct lpos list_seek(const struct list *l, uint64_t i);
purser_bytes list_at(const struct lpos *p);
/* To the next element towards the back (or the front); 0: there is none. */
int list_step(struct lpos *p, int front);

/* A new element before or behind p, which remains that of its element.  0, or -1: no memory. */
int list_insert(struct ctx *cx, struct list *l, struct lpos *p, int behind, purser_bytes e);
int list_replace(struct ctx *cx, struct list *l, struct lpos p, purser_bytes e);
/* Takes p out; p becomes what was behind (or in front of) it.  0: there is none. */
int list_delete(struct ctx *cx, struct list *l, struct lpos *p, int front);
/* Drops so many at the front and at the back; together less than n. */
void list_trim(struct ctx *cx, struct list *l, uint64_t front, uint64_t back);

/* ---- of cmd_list.c, for those that wait ----------------------------------------------------------------- */
struct pos;
int arg_end(struct ctx *cx, purser_call *c, uint32_t arg);
void list_pop_many(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p, int front, uint64_t n);
/* The end of argv[1] to that of argv[2], whose hashes are the first two of cx. */
void list_move(struct ctx *cx, purser_call *c, int from_front, int to_front);
#endif
