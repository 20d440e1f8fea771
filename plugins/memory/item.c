/* SPDX-License-Identifier: Apache-2.0
 *
 * Items and large strings: see item.h.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include "item.h"
#include "keyspace.h"
#include "list.h"
#include "number.h"
#include "reap.h"
#include "stream.h"
#include "table.h"
#include "zset.h"

#define BLOB_PIECE (64u << 12)          /* of a large string, given back at once */

static const struct { const char *type, *encoding; } names[ENC_COUNT] = {
	[ENC_EMB] = { "string", "embstr" },
	[ENC_RAW] = { "string", "raw" },
	[ENC_BIG] = { "string", "raw" },
	[ENC_INT] = { "string", "int" },
	[ENC_INT_OWN] = { "string", "int" },
	[ENC_PACK] = { "hash", "listpack" },
	[ENC_TABLE] = { "hash", "listpack" },
	[ENC_HASH] = { "hash", "hashtable" },
	[ENC_SET_INT] = { "set", "intset" },
	[ENC_SET_PACK] = { "set", "hashtable" },
	[ENC_SET] = { "set", "hashtable" },
	[ENC_LIST] = { "list", "quicklist" },
	[ENC_ZSET_PACK] = { "zset", "listpack" },
	[ENC_ZSET] = { "zset", "skiplist" },
	[ENC_STREAM] = { "stream", "stream" },
};

const char *item_type_name(const struct item *it) { return names[item_enc(it)].type; }
const char *item_encoding(const struct item *it) { return names[item_enc(it)].encoding; }

void item_fill(struct item *it, const struct shape *s, const void *key, size_t klen, uint32_t clock)
{
	uint32_t n = (uint32_t)klen;

	it->head = s->enc | (s->ttl ? ITEM_TTL : 0) | (klen > SHORTKEY_MAX ? ITEM_LONGKEY : 0) |
	    clock << 8;
	it->klen = (uint16_t)(klen > SHORTKEY_MAX ? 0 : klen);
	it->vlen = (uint16_t)s->vlen;
	if (UNLIKELY(klen > SHORTKEY_MAX))
		memcpy(it->body + item_key_at(it) - 4, &n, 4);
	memcpy(it->body + item_key_at(it), key, klen);
}

struct item *item_new(struct ctx *cx, const struct shape *s, const void *key, size_t klen)
{
	struct item *it = mem_get(cx, shape_bytes(s, klen));

	if (it)
		item_fill(it, s, key, klen, cx->clock);
	return it;
}

struct item *item_reshape(struct ctx *cx, struct item *it, const struct shape *s)
{
	size_t klen = item_klen(it), keep = it->vlen < s->vlen ? it->vlen : s->vlen;
	size_t was = item_bytes(it), is = shape_bytes(s, klen);
	const uint8_t *from = item_key(it);
	uint64_t word = enc_has_word(item_enc(it)) ? item_word(it) : 0;
	int64_t expiry = item_has_ttl(it) ? item_expiry(it) : 0;
	uint32_t clock = it->head >> 8, n = (uint32_t)klen;
	struct item *to = it;

	if (chunk_size(was) != chunk_size(is) && !(to = mem_get(cx, is)))
		return NULL;
	/* Key and value are one block, which may move over itself: so the head comes after it. */
	memmove(to->body + shape_bytes(s, klen) - sizeof(*to) - klen - s->vlen, from, klen + keep);
	to->head = s->enc | (s->ttl ? ITEM_TTL : 0) | (klen > SHORTKEY_MAX ? ITEM_LONGKEY : 0) |
	    clock << 8;
	to->klen = (uint16_t)(klen > SHORTKEY_MAX ? 0 : klen);
	to->vlen = (uint16_t)s->vlen;
	if (klen > SHORTKEY_MAX)
		memcpy(to->body + item_key_at(to) - 4, &n, 4);
	if (s->ttl)
		item_set_expiry(to, expiry);
	if (enc_has_word(s->enc))
		item_set_word(to, word);
	if (to != it)
		mem_put(cx, it, was);
	return to;
}

void item_free_shell(struct ctx *cx, struct item *it) { mem_put(cx, it, item_bytes(it)); }

void item_drop_word(struct ctx *cx, unsigned enc, uint64_t word)
{
	if (enc == ENC_BIG)
		blob_dispose(cx, (struct blob *)(uintptr_t)word);
	else if (enc_is_table(enc))
		table_dispose(cx, (struct table *)(uintptr_t)word);
	else if (enc == ENC_LIST)
		list_dispose(cx, (struct list *)(uintptr_t)word);
	else if (enc == ENC_ZSET)
		zset_dispose(cx, (struct zset *)(uintptr_t)word);
	else if (enc == ENC_STREAM)
		stream_dispose(cx, (struct stream *)(uintptr_t)word);
}

void item_free(struct ctx *cx, struct item *it)
{
	if (enc_has_word(item_enc(it)))
		item_drop_word(cx, item_enc(it), item_word(it));
	item_free_shell(cx, it);
}

/* ---- strings ------------------------------------------------------------------------------------------ */
void string_view(struct item *it, struct view *v)
{
	switch (item_enc(it)) {
	case ENC_INT:
	case ENC_INT_OWN:
		v->n = int_format(item_int(it), v->buf);
		v->p = (const uint8_t *)v->buf;
		break;
	case ENC_BIG:
		v->p = item_blob(it)->data;
		v->n = item_blob(it)->len;
		break;
	default:
		v->p = item_value(it);
		v->n = it->vlen;
	}
}

size_t string_len(struct item *it)
{
	switch (item_enc(it)) {
	case ENC_INT:
	case ENC_INT_OWN:
		return int_length(item_int(it));
	case ENC_BIG:
		return item_blob(it)->len;
	default:
		return it->vlen;
	}
}

struct blob *blob_new(struct ctx *cx, size_t len, size_t cap)
{
	struct blob *b = mem_get(cx, blob_bytes(cap));

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->owner = atomic_load_explicit(&cx->led->project, memory_order_relaxed);
	b->st = cx->st;
	b->len = len;
	b->cap = cap;
	return b;
}

void blob_drop(struct ctx *cx, struct blob *b)
{
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		mem_put(cx, b, blob_bytes(b->cap));
}

/* What a blob becomes that nobody refers to any more; lies over it. */
struct blob_rest {
	struct reap reap;
	size_t cap, left;                     /* bytes in front that still may have pages */
};
_Static_assert(sizeof(struct blob_rest) < REAP_BLOB_BYTES, "there is room for it");

void blob_dispose(struct ctx *cx, struct blob *b)
{
	struct blob_rest *r = (struct blob_rest *)(void *)b;
	size_t cap = b->cap;

	if (blob_bytes(cap) <= REAP_BLOB_BYTES) {
		blob_drop(cx, b);
		return;
	}
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
		return;
	r->cap = cap;
	r->left = blob_bytes(cap);
	reap_later(cx, &r->reap, REAP_BLOB, 1);
}

/* Pages in the middle of a block may go while the allocator has the block still. */
int blob_reap(struct ctx *cx, struct reap *reap, int64_t *budget)
{
	struct blob_rest *r = (struct blob_rest *)(void *)reap;
	uintptr_t begin = (uintptr_t)(r + 1), end = (uintptr_t)r + r->left;
	int64_t was = cx->work;
	int in_turn = cx->in_turn;

	begin = (begin + 4095) & ~(uintptr_t)4095;
	end &= ~(uintptr_t)4095;
	while (end > begin && *budget > 0) {
		size_t n = end - begin < BLOB_PIECE ? end - begin : BLOB_PIECE;

		end -= n;
		madvise((void *)end, n, MADV_DONTNEED);
		*budget -= 2 * (int64_t)(n >> 12); /* cleared pages: 0.4 us each on a busy machine */
		r->left = end - (uintptr_t)r;
	}
	if (end > begin)
		return 0;
	count_add(&cx->led->freeing, -1);
	cx->in_turn = 0;
	mem_put(cx, r, blob_bytes(r->cap));
	cx->in_turn = in_turn;
	cx->work = was; /* its pages are gone, and counted */
	return 1;
}

/* A reply has no context to charge: what it frees is counted in the store. */
void blob_release(void *arg)
{
	struct blob *b = arg;

	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
		atomic_fetch_add_explicit(&b->st->project_released[b->owner],
		    (int64_t)chunk_size(blob_bytes(b->cap)), memory_order_relaxed);
		mem_put_shared(b->st, b, blob_bytes(b->cap));
	}
}
