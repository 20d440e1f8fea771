/* SPDX-License-Identifier: Apache-2.0
 *
 * stream: entries in the order of their ids, in blocks of about 100 entries or 4 KiB that a tree finds, and the
 * groups of consumers that read it.  A block is the very listpack that Redis keeps and writes into RDB files:
 *
 *   entries 1 | deleted ones | fields of the master entry | their names ... | 0
 *   flags | id, ms and seq less those of the block | (number of fields, if not the master's) |
 *           (name and) value ... | elements of this entry
 *
 * so that `MAXLEN ~`, which drops whole blocks, drops what Redis drops.  A deleted entry stays in its block,
 * marked; with the last one of it the block goes.  A stream may be empty.
 *
 * Whoever waits for a message of a group owes an acknowledgement: the group has all of these by id, with their
 * times and owners, and each consumer the ids of its own.
 */
#ifndef MEMORY_STREAM_H
#define MEMORY_STREAM_H
#include "idtree.h"
#include "item.h"
#include "reap.h"

#define BLOCK_ENTRIES 100                /* stream-node-max-entries */
#define BLOCK_BYTES 4096u                /* stream-node-max-bytes */
#define BLOCK_SLACK 4u                   /* the count of deleted entries may take more bytes later */
#define ENTRY_BYTES_MAX (UINT64_C(1) << 30) /* of all names and values of one entry */
#define READ_UNKNOWN (-1)                /* entries_read: nobody knows */

struct sblock {
	struct sid id;                        /* of its first entry, which the others are counted from */
	uint32_t len, cap;
	uint8_t lp[];
};

/* By name: groups and consumers begin with it. */
struct named { struct reap reap; const uint8_t *name; size_t len; };
struct names { struct named **v; uint32_t n, cap; };

struct sconsumer {
	struct named named;
	struct idtree pel;                    /* a set */
	int64_t seen_ms;
};

struct nack { int64_t ms; uint64_t count; struct sconsumer *owner; };
static inline int64_t nack_age(const struct nack *n, int64_t now) /* ms may come from elsewhere */
{
	return (int64_t)((uint64_t)now - (uint64_t)n->ms);
}

struct sgroup {
	struct named named;
	struct sid last;
	int64_t entries_read;                 /* or READ_UNKNOWN */
	struct idtree pel;                    /* struct nack */
	struct names consumers;
};

struct stream {
	struct reap reap;                     /* first */
	struct idtree blocks;                 /* struct sblock * */
	struct sblock *tail;                  /* NULL: there is no block */
	uint64_t length;
	struct sid last, first, max_deleted;
	uint64_t entries_added;
	struct names groups;
};

static inline struct stream *item_stream(const struct item *it)
{
	return (struct stream *)(uintptr_t)item_word(it);
}

/* ---- the whole ------------------------------------------------------------------------------------------ */
struct stream *stream_new(struct ctx *cx);                   /* empty; NULL: no memory */
struct stream *stream_copy(struct ctx *cx, const struct stream *s);
void stream_dispose(struct ctx *cx, struct stream *s);       /* a large one piece by piece on the timer */
int stream_reap(struct ctx *cx, struct stream *s, int64_t *budget); /* 1: it is gone */
size_t stream_memory(const struct stream *s);                /* about */
size_t stream_bytes(const struct stream *s);                 /* exactly */
uint64_t stream_radix_nodes(const struct stream *s);         /* what Redis' tree of blocks would have */

/* ---- entries -------------------------------------------------------------------------------------------- */
/* id is above s->last.  0, or -1: no memory, nothing changed. */
int stream_append(struct ctx *cx, struct stream *s, struct sid id, const purser_bytes *fv, uint32_t fields);
/* 1: it was there.  s->first and s->max_deleted are the caller's to mend: see stream_mend(). */
int stream_delete(struct ctx *cx, struct stream *s, struct sid id);
void stream_mend(struct stream *s);      /* s->first, after entries have gone */

struct strim { int by_id, approx; uint64_t length, limit; struct sid id; }; /* limit 0: none */
uint64_t stream_trim(struct ctx *cx, struct stream *s, const struct strim *t); /* how many have gone */

/* A block that came from elsewhere, behind all others: 0; -1: no memory; -2: it is not one. */
int stream_add_block(struct ctx *cx, struct stream *s, struct sid id, const uint8_t *lp, size_t n);

/* An entry that is there, and the place in its block.  Valid until the stream changes. */
struct spos {
	const struct stream *s;
	struct idpos at;
	const struct sblock *b;
	const uint8_t *names, *entries;       /* of the master; where the first entry is */
	uint64_t master;                      /* names of the master */
	const uint8_t *p, *end;               /* the entry; the next one */
	const uint8_t *data;                  /* its first value, or name */
	struct sid id;
	uint64_t fields;
	int64_t flags;
};
/* The first one not below id, the last one not above; 0: there is none. */
int stream_from(const struct stream *s, struct sid id, struct spos *p);
int stream_upto(const struct stream *s, struct sid id, struct spos *p);
int spos_next(struct spos *p);
int spos_prev(struct spos *p);
int stream_has(const struct stream *s, struct sid id);
/* How many entries from..to has, but no more than most. */
uint64_t stream_count(const struct stream *s, struct sid from, struct sid to, uint64_t most);
/* The last entry's id; the stream is not empty. */
struct sid stream_top(const struct stream *s);

/* Names and values, one after the other: spos_fields(), then spos_field() p->fields times. */
struct sfields { const uint8_t *name, *data; int same; };
void spos_fields(const struct spos *p, struct sfields *f);
void spos_field(struct sfields *f, struct view *name, struct view *value);

/* ---- groups (stream_group.c) -------------------------------------------------------------------------------- */
struct named *names_find(const struct names *v, purser_bytes name);
struct sgroup *stream_group(const struct stream *s, purser_bytes name); /* NULL: there is none */
struct sgroup *group_new(struct ctx *cx, struct stream *s, purser_bytes name, struct sid last,
    int64_t entries_read);               /* the name is not there; NULL: no memory */
void group_destroy(struct ctx *cx, struct stream *s, struct sgroup *g);
void group_dispose(struct ctx *cx, struct sgroup *g);        /* one that is in no stream */
int group_reap(struct ctx *cx, struct sgroup *g, int64_t *budget);
uint64_t group_pieces(const struct sgroup *g); /* for reap_later() */
struct sgroup *group_copy(struct ctx *cx, struct stream *to, const struct sgroup *g);

struct sconsumer *group_consumer(const struct sgroup *g, purser_bytes name);
struct sconsumer *consumer_new(struct ctx *cx, struct sgroup *g, purser_bytes name, int64_t seen_ms);
void consumer_delete(struct ctx *cx, struct sgroup *g, struct sconsumer *k);

static inline struct nack *group_nack(const struct sgroup *g, struct sid id)
{
	return idtree_find(&g->pel, id);
}
/* The id is owed by k: in both trees, fresh or not; if it is fresh its nack has no owner and is the caller's to
 * fill.  Who owned it before has it still.  NULL: no memory, nothing changed. */
struct nack *group_owe(struct ctx *cx, struct sgroup *g, struct sconsumer *k, struct sid id);
/* Takes back what group_owe() did, as long as nothing else has changed. */
void group_unowe(struct ctx *cx, struct sgroup *g, struct sconsumer *k, struct sid id);
int group_ack(struct ctx *cx, struct sgroup *g, struct sid id); /* 1: it was pending */

/* How far a group has come: the number of the entry among all that ever were, or READ_UNKNOWN. */
int64_t stream_distance(const struct stream *s, struct sid id);
int stream_tombs_from(const struct stream *s, struct sid id); /* has a deleted entry such an id or a later one? */
/* 1: how many entries are yet to come to the group; 0: nobody knows. */
int group_lag(const struct stream *s, const struct sgroup *g, int64_t *lag);
#endif
