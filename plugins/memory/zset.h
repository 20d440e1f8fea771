/* SPDX-License-Identifier: Apache-2.0
 *
 * zset: members of a key, each with a score, in the order of (score, bytes of the member).  Two forms:
 *
 *   packed     up to 128 members of 64 bytes: number 1 | score 8 | length 1 | member | ...   Redis: listpack
 *   a table of items (score by member) that are the nodes of a skip list as well             Redis: skiplist
 *
 * The second grows out of the first and never back, as in Redis.  An item of the table is one allocation, as
 * long as it is there: only additions need memory, so that what fails half way can be undone.
 */
#ifndef MEMORY_ZSET_H
#define MEMORY_ZSET_H
#include "keyspace.h"

#define ZSET_PACK_MEMBERS 128u          /* zset-max-listpack-entries */
#define ZSET_PACK_BYTES 64u             /* zset-max-listpack-value */
#define ZSET_PACK_MAX (1 + ZSET_PACK_MEMBERS * (9 + ZSET_PACK_BYTES))
#define ZSET_LEVELS 16

struct zlink { struct item *next; uint32_t span; };
struct zset {
	struct table *table;
	struct item *tail;
	uint64_t n;                           /* nodes of the list */
	uint32_t level;
	struct zlink head[ZSET_LEVELS];
};

static inline struct zset *item_zset(const struct item *it)
{
	return (struct zset *)(uintptr_t)item_word(it);
}

/* ---- reading, of either form ------------------------------------------------------------------------- */
uint64_t zset_len(const struct item *it);
int zset_score(struct ctx *cx, struct item *it, purser_bytes m, double *score); /* 1: it is there */
/* How many members from the front on fulfil the test, which holds for a front part of them. */
typedef int zset_test(const void *arg, purser_bytes m, double score);
uint64_t zset_front(struct item *it, zset_test *fn, const void *arg);
/* n members from number `first` on, upwards or downwards; fn's result other than 0 ends the walk. */
typedef int zset_fn(void *arg, purser_bytes m, double score);
int zset_walk(struct item *it, uint64_t first, uint64_t n, int down, zset_fn *fn, void *arg);
/* The order of members of the same score. */
int member_order(purser_bytes a, purser_bytes b);
double node_score(struct item *node);  /* of an item of the table */

/* ---- changing ---------------------------------------------------------------------------------------- */
/* Up to so many puts, made whole or not at all. */
struct zundo { purser_bytes m; double was; int fresh; };
struct zedit {
	struct ctx *cx;
	struct pos *p;
	uint8_t *pack;                        /* what the inline value is to be, or */
	size_t npack;
	struct zset *z;                       /* the table: the key's own, or one that is made */
	int own, changed;
	struct zundo *log;
	size_t nlog;
};
static inline size_t zedit_bytes(size_t puts) { return puts * sizeof(struct zundo) + ZSET_PACK_MAX; }
/* p->it NULL: the key is made.  memory: zedit_bytes(puts), 8-byte aligned. */
void zedit_begin(struct zedit *e, struct ctx *cx, struct pos *p, void *memory, size_t puts);
int zedit_get(struct zedit *e, purser_bytes m, double *score);
/* 0, or -1: no memory, everything is as it was and the edit has ended. */
int zedit_put(struct zedit *e, purser_bytes m, double score);
int zedit_commit(struct zedit *e);

/* How many were there and are gone, and with the last one the key; -1: no memory, nothing changed. */
int64_t zset_remove(struct ctx *cx, struct pos *p, const purser_bytes *m, size_t n);
int64_t zset_remove_range(struct ctx *cx, struct pos *p, uint64_t first, uint64_t n);

/* ---- the second form by itself: results that are being made ------------------------------------------- */
struct zset *zset_new(struct ctx *cx);                  /* NULL: no memory */
void zset_dispose(struct ctx *cx, struct zset *z);
struct item *zset_find(struct ctx *cx, struct zset *z, purser_bytes m); /* NULL: it is not there */
int zset_put(struct ctx *cx, struct zset *z, purser_bytes m, double score); /* -1: no memory */
int zset_each(struct zset *z, zset_fn *fn, void *arg);
/* A key's item with what z has, in the form that a new set of it has; z is used up.  NULL: no memory, z is
 * the caller's still. */
struct item *zset_item(struct ctx *cx, purser_bytes key, struct zset *z);
struct zset *zset_copy(struct ctx *cx, struct zset *z); /* NULL: no memory */
size_t zset_memory(const struct zset *z);

/* ---- of cmd_zset.c, for those that wait ----------------------------------------------------------------- */
enum zset_popped { POP_FLAT, POP_PAIRS, POP_KEY_PAIRS, POP_KEY }; /* POP_KEY: key, member, score */
/* So many members of one end of argv[arg] are taken out and are the reply. */
void zset_pop(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p, int max, uint64_t count,
    enum zset_popped form);
#endif
