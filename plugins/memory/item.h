/* SPDX-License-Identifier: Apache-2.0
 *
 * item: a key with its value in one allocation, or one field of a large hash, or one member of a large set
 * or sorted set.
 *
 *   head 8 | expiry 8, if it has one | word 8, if its encoding has one | length of a long key 4 |
 *   key | value bytes, if they are inline
 *
 * The word is an integer (ENC_INT), or the address of a struct blob, table, list, zset or stream.
 */
#ifndef MEMORY_ITEM_H
#define MEMORY_ITEM_H
#include <string.h>
#include "memory.h"

/* How a value is kept; OBJECT ENCODING shows names of Redis for them (item_encoding). */
enum enc {
	ENC_EMB = 0,     /* string, inline, as it came (44 bytes at most) */
	ENC_RAW = 1,     /* string, inline */
	ENC_BIG = 2,     /* string, word: struct blob */
	ENC_INT = 3,     /* string, word: the integer; Redis shares 0..9999 */
	ENC_INT_OWN = 4, /* the same, made by COPY: never shared */
	ENC_PACK = 5,    /* small hash, inline: see hash.h */
	ENC_TABLE = 6,   /* hash, word: struct table; still a listpack to Redis */
	ENC_HASH = 7,    /* large hash, word: struct table */
	ENC_SET_INT = 8, /* set of integers, inline: see set.h */
	ENC_SET_PACK = 9, /* small set, inline */
	ENC_SET = 10,    /* set, word: struct table */
	ENC_LIST = 11,   /* list, word: struct list */
	ENC_ZSET_PACK = 12, /* small sorted set, inline: see zset.h */
	ENC_ZSET = 13,   /* sorted set, word: struct zset */
	ENC_STREAM = 14, /* stream, word: struct stream */
	ENC_COUNT = 15
};
enum type { TYPE_STRING, TYPE_HASH, TYPE_SET, TYPE_LIST, TYPE_ZSET, TYPE_STREAM };

#define ITEM_ENC 0x0fu
#define ITEM_TTL 0x10u
#define ITEM_LONGKEY 0x20u
#define SHORTKEY_MAX 65535u
#define INLINE_MAX 4096u                  /* strings above it are blobs */
#define EMB_MAX 44u                       /* OBJ_ENCODING_EMBSTR_SIZE_LIMIT */

struct item {
	uint32_t head;                        /* enc and ITEM_*, clock of the last access << 8 */
	uint16_t klen, vlen;                  /* vlen: bytes of an inline value */
	uint8_t body[];
};

struct list;

/* A large string.  Replies hold references; who changes it while others do works on a copy. */
struct blob {
	_Atomic uint32_t refs;
	uint32_t owner;                       /* the project whose it is */
	struct store *st;                     /* for the release that comes from a reply */
	size_t len, cap;
	uint8_t data[];
};

static inline unsigned item_enc(const struct item *it) { return it->head & ITEM_ENC; }
static inline int item_has_ttl(const struct item *it) { return !!(it->head & ITEM_TTL); }
static inline int enc_has_word(unsigned enc)
{
	return (1u << enc) & (1u << ENC_BIG | 1u << ENC_INT | 1u << ENC_INT_OWN | 1u << ENC_TABLE |
	    1u << ENC_HASH | 1u << ENC_SET | 1u << ENC_LIST | 1u << ENC_ZSET | 1u << ENC_STREAM);
}
static inline int enc_is_table(unsigned enc)
{
	return (1u << enc) & (1u << ENC_TABLE | 1u << ENC_HASH | 1u << ENC_SET);
}
static inline enum type item_type(const struct item *it)
{
	unsigned enc = item_enc(it);

	if (LIKELY(enc < ENC_PACK))
		return TYPE_STRING;
	if (enc < ENC_LIST)
		return enc < ENC_SET_INT ? TYPE_HASH : TYPE_SET;
	return enc == ENC_LIST ? TYPE_LIST : enc == ENC_STREAM ? TYPE_STREAM : TYPE_ZSET;
}
static inline size_t item_word_at(const struct item *it) { return item_has_ttl(it) ? 8 : 0; }
static inline uint64_t item_word(const struct item *it)
{
	uint64_t w;

	memcpy(&w, it->body + item_word_at(it), 8);
	return w;
}
static inline void item_set_word(struct item *it, uint64_t w)
{
	memcpy(it->body + item_word_at(it), &w, 8);
}
static inline int64_t item_int(const struct item *it) { return (int64_t)item_word(it); }
static inline struct blob *item_blob(const struct item *it) { return (struct blob *)(uintptr_t)item_word(it); }
static inline struct table *item_table(const struct item *it) { return (struct table *)(uintptr_t)item_word(it); }

static inline struct list *item_list(const struct item *it) { return (struct list *)(uintptr_t)item_word(it); }

static inline int64_t item_expiry(const struct item *it) /* Unix ms; item_has_ttl() */
{
	int64_t w;

	memcpy(&w, it->body, 8);
	return w;
}
static inline void item_set_expiry(struct item *it, int64_t ms) { memcpy(it->body, &ms, 8); }

static inline size_t item_key_at(const struct item *it)
{
	return item_word_at(it) + (enc_has_word(item_enc(it)) ? 8 : 0) +
	    (it->head & ITEM_LONGKEY ? 4 : 0);
}
static inline size_t item_klen(const struct item *it)
{
	uint32_t n;

	if (LIKELY(!(it->head & ITEM_LONGKEY)))
		return it->klen;
	memcpy(&n, it->body + item_key_at(it) - 4, 4);
	return n;
}
static inline const uint8_t *item_key(const struct item *it) { return it->body + item_key_at(it); }
static inline uint8_t *item_value(struct item *it) { return it->body + item_key_at(it) + item_klen(it); }
static inline size_t item_bytes(const struct item *it)
{
	return sizeof(*it) + item_key_at(it) + item_klen(it) + it->vlen;
}
static inline int item_is(const struct item *it, const void *key, size_t klen)
{
	return item_klen(it) == klen && memcmp(item_key(it), key, klen) == 0;
}

static inline void item_touch(struct item *it, uint32_t clock)
{
	uint32_t head = (it->head & 0xff) | clock << 8;

	if (it->head != head)
		it->head = head; /* a line that stays clean costs less */
}
static inline uint32_t item_idle(const struct item *it, uint32_t clock)
{
	return (clock - (it->head >> 8)) & CLOCK_MASK;
}

/* The shape of an item that is to be. */
struct shape {
	unsigned enc;
	int ttl;
	size_t vlen;                          /* inline bytes */
};
static inline size_t shape_bytes(const struct shape *s, size_t klen)
{
	return sizeof(struct item) + (s->ttl ? 8 : 0) + (enc_has_word(s->enc) ? 8 : 0) +
	    (klen > SHORTKEY_MAX ? 4 : 0) + klen + s->vlen;
}

/* Head and key are written; expiry, word and value are the caller's to write. */
void item_fill(struct item *it, const struct shape *s, const void *key, size_t klen, uint32_t clock);
struct item *item_new(struct ctx *cx, const struct shape *s, const void *key, size_t klen);
/* The same key in another shape: expiry, word and as many value bytes as fit are kept.  In place when
 * the chunk is the same, else the old item is gone.  NULL: no memory, the old one is untouched. */
struct item *item_reshape(struct ctx *cx, struct item *it, const struct shape *s);
/* The memory of the item alone; what its word points to lives on. */
void item_free_shell(struct ctx *cx, struct item *it);
/* With all that belongs to it; large tables go to the reaper. */
void item_free(struct ctx *cx, struct item *it);
void item_drop_word(struct ctx *cx, unsigned enc, uint64_t word);

const char *item_type_name(const struct item *it); /* as TYPE says */
const char *item_encoding(const struct item *it);  /* as OBJECT ENCODING says */

/* ---- strings --------------------------------------------------------------------------------------- */
/* The bytes of a string item; those of an integer are written to buf. */
struct view { const uint8_t *p; size_t n; char buf[24]; };
void string_view(struct item *it, struct view *v);
size_t string_len(struct item *it);

struct blob *blob_new(struct ctx *cx, size_t len, size_t cap);
void blob_drop(struct ctx *cx, struct blob *b);
/* As blob_drop(); pages of a large one go back to the system piece by piece. */
void blob_dispose(struct ctx *cx, struct blob *b);
struct reap;
int blob_reap(struct ctx *cx, struct reap *r, int64_t *budget);
void blob_release(void *blob);               /* from a reply: any thread of the host */
static inline size_t blob_bytes(size_t cap) { return sizeof(struct blob) + cap; }
#endif
