/* SPDX-License-Identifier: Apache-2.0
 *
 * Values in Redis' format, of all its versions up to 7.0: see rdb.h.
 */
#include <math.h>
#include <stdlib.h>
#include "crc64.h"
#include "gather.h"
#include "hash.h"
#include "list.h"
#include "lzf.h"
#include "packed.h"
#include "rdb.h"
#include "set.h"
#include "stream.h"
#include "table.h"
#include "zset.h"

#define TRY(x) do { enum rdb_result rc_ = (x); if (UNLIKELY(rc_)) return rc_; } while (0)
#define BATCH 512u                      /* elements that are handed on at once */
#define BATCH_BYTES 65536u
#define LONGEST (2 * STRING_MAX)        /* of a string that is no value: a packed list has an element and more */

static enum rdb_result bad(struct rdb_in *in, const char *why)
{
	in->why = why;
	return RDB_BAD;
}

/* ---- bytes ------------------------------------------------------------------------------------------- */
enum rdb_result rdb_take(struct rdb_in *in, size_t n, const uint8_t **p)
{
	if (UNLIKELY(n > in->n)) {
		if (n - in->n > in->behind)
			return bad(in, "it ends too early");
		TRY(in->fetch(in, n));
	}
	*p = in->p;
	in->p += n;
	in->n -= n;
	in->at += n;
	return RDB_OK;
}

enum rdb_result rdb_byte(struct rdb_in *in, uint8_t *b)
{
	const uint8_t *p;

	TRY(rdb_take(in, 1, &p));
	*b = *p;
	return RDB_OK;
}

enum rdb_result rdb_le(struct rdb_in *in, unsigned bytes, uint64_t *v)
{
	const uint8_t *p;
	unsigned i;

	TRY(rdb_take(in, bytes, &p));
	for (*v = 0, i = 0; i < bytes; i++)
		*v |= (uint64_t)p[i] << 8 * i;
	return RDB_OK;
}

/* A length, or (*coded) how a string is encoded that has none. */
static enum rdb_result length_or_code(struct rdb_in *in, uint64_t *n, int *coded)
{
	unsigned bytes, i;
	const uint8_t *p;
	uint8_t b;

	*coded = 0;
	TRY(rdb_byte(in, &b));
	if (b >= 0xc0) {
		*coded = 1;
		*n = b & 0x3f;
		return RDB_OK;
	}
	*n = b & 0x3f;
	if (b < 0x40)
		return RDB_OK;
	if (b < 0x80) {
		uint64_t high = *n << 8;

		TRY(rdb_byte(in, &b));
		*n = high | b;
		return RDB_OK;
	}
	if (b > 0x81)
		return bad(in, "a length of an unknown kind");
	bytes = b == 0x81 ? 8 : 4;
	TRY(rdb_take(in, bytes, &p));
	for (*n = 0, i = 0; i < bytes; i++)
		*n = *n << 8 | p[i];
	return RDB_OK;
}

enum rdb_result rdb_length(struct rdb_in *in, uint64_t *n)
{
	int coded;

	TRY(length_or_code(in, n, &coded));
	return coded ? bad(in, "a length of an unknown kind") : RDB_OK;
}

/* ---- strings ------------------------------------------------------------------------------------------- */
static enum rdb_result unpack(struct rdb_in *in, purser_bytes *s)
{
	uint64_t packed, size;
	const uint8_t *p;
	uint8_t *to;

	TRY(rdb_length(in, &packed));
	TRY(rdb_length(in, &size));
	if (packed > LONGEST || size > LONGEST || size > packed * LZF_RATIO)
		return bad(in, "a compressed string with an impossible length");
	if (size > in->unpacked_cap) {
		to = own_get(in->cx, (size_t)size);
		if (!to)
			return RDB_NOMEM;
		own_put(in->cx, in->unpacked, in->unpacked_cap);
		in->unpacked = to;
		in->unpacked_cap = (size_t)size;
	}
	TRY(rdb_take(in, (size_t)packed, &p));
	if (lzf_read(p, (size_t)packed, in->unpacked, (size_t)size))
		return bad(in, "a compressed string that is damaged");
	*s = (purser_bytes){ size ? in->unpacked : p, (size_t)size };
	return RDB_OK;
}

enum rdb_result rdb_string(struct rdb_in *in, struct rdb_string *s)
{
	uint64_t n, v;
	int64_t num;
	int coded;

	TRY(length_or_code(in, &n, &coded));
	if (!coded) {
		if (n > LONGEST)
			return bad(in, "a string longer than 1 GiB");
		s->s.n = (size_t)n;
		return rdb_take(in, (size_t)n, &s->s.p);
	}
	if (n == 3)
		return unpack(in, &s->s);
	if (n > 3)
		return bad(in, "a string of an unknown encoding");
	TRY(rdb_le(in, 1u << n, &v));
	num = n == 0 ? (int8_t)v : n == 1 ? (int16_t)v : (int32_t)v;
	s->s = (purser_bytes){ (uint8_t *)s->buf, int_format(num, s->buf) };
	return RDB_OK;
}

void rdb_end(struct rdb_in *in)
{
	own_put(in->cx, in->unpacked, in->unpacked_cap);
	in->unpacked = NULL;
	in->unpacked_cap = 0;
}

/* As SET keeps it. */
static enum rdb_result read_string(struct rdb_in *in, purser_bytes key, int64_t expiry, struct item **out)
{
	struct shape shape = { ENC_INT, expiry != 0, 0 };
	struct blob *b = NULL;
	struct rdb_string s;
	int64_t num = 0;

	TRY(rdb_string(in, &s));
	if (s.s.n > STRING_MAX)
		return bad(in, "a string longer than 512 MiB");
	if (s.s.n > INLINE_MAX) {
		shape.enc = ENC_BIG;
		b = blob_new(in->cx, s.s.n, s.s.n);
		if (!b)
			return RDB_NOMEM;
		memcpy(b->data, s.s.p, s.s.n);
	} else if (s.s.n > 20 || int_parse(s.s.p, s.s.n, &num)) {
		shape.enc = s.s.n <= EMB_MAX ? ENC_EMB : ENC_RAW;
		shape.vlen = s.s.n;
	}
	*out = item_new(in->cx, &shape, key.p, key.n);
	if (!*out) {
		if (b)
			blob_drop(in->cx, b);
		return RDB_NOMEM;
	}
	if (b)
		item_set_word(*out, (uint64_t)(uintptr_t)b);
	else if (shape.enc == ENC_INT)
		item_set_word(*out, (uint64_t)num);
	else if (s.s.n)
		memcpy(item_value(*out), s.s.p, s.s.n);
	if (expiry)
		item_set_expiry(*out, expiry);
	return RDB_OK;
}

/* ---- hashes and sets: filled by the functions that commands use, in a table aside -------------------------
 * Nobody else sees the key there; when it is whole it is taken out. */
struct aside {
	struct rdb_in *in;
	struct table *t;
	struct pos p;
	int set;                              /* members, else pairs */
	struct gather g;
	size_t bytes;                         /* of the copies in g */
};

static void aside_begin(struct aside *a, struct rdb_in *in, purser_bytes key, int set)
{
	*a = (struct aside){ .in = in, .set = set };
	a->p = (struct pos){ .tp = &a->t, .hash = hash_key(in->cx->st, key.p, key.n), .key = key.p,
		.klen = key.n };
}

/* What was gathered goes into the value; each of it must be new. */
static enum rdb_result aside_flush(struct aside *a)
{
	struct ctx *cx = a->in->cx;
	int64_t created, want = (int64_t)(a->set ? a->g.n : a->g.n / 2);
	int rc;

	if (!a->g.n)
		return RDB_OK;
	if (a->set)
		rc = set_add(cx, &a->p, a->g.v, a->g.n, &created);
	else
		rc = hash_put(cx, &a->p, a->g.v, (uint32_t)(a->g.n / 2), &created);
	if (rc)
		return RDB_NOMEM;
	a->p.slot = table_find(a->t, a->p.hash, a->p.key, a->p.klen);
	a->p.it = slot_item(*a->p.slot);
	gather_free(&a->g);
	a->bytes = 0;
	return created == want ? RDB_OK : bad(a->in, "an element that is there twice");
}

static enum rdb_result aside_add(struct aside *a, purser_bytes s, int copy)
{
	if ((copy ? gather_copy : gather_ref)(&a->g, s.p, s.n))
		return RDB_NOMEM;
	a->bytes += copy ? s.n : 0;
	if ((a->g.n >= BATCH || a->bytes >= BATCH_BYTES) && (a->set || a->g.n % 2 == 0))
		return aside_flush(a);
	return RDB_OK;
}

/* Ends it one way or the other. */
static enum rdb_result aside_end(struct aside *a, enum rdb_result rc, struct item **out)
{
	if (!rc)
		rc = aside_flush(a);
	gather_free(&a->g);
	if (!rc && !a->p.it)
		rc = RDB_EMPTY;
	if (!rc)
		*out = key_take(a->in->cx, &a->p);
	else if (a->p.it)
		key_delete(a->in->cx, &a->p);
	return rc;
}

static enum rdb_result aside_plain(struct aside *a)
{
	struct rdb_string s;
	uint64_t n, i;
	int second;

	TRY(rdb_length(a->in, &n));
	for (i = 0; i < n; i++) {
		for (second = 0; second < (a->set ? 1 : 2); second++) {
			TRY(rdb_string(a->in, &s));
			TRY(aside_add(a, s.s, 1));
		}
	}
	return RDB_OK;
}

static enum rdb_result aside_packed(struct aside *a, enum packed_form form)
{
	struct rdb_string s;
	char buf[INT_TEXT];
	struct packed k;
	purser_bytes e;
	int rc;

	TRY(rdb_string(a->in, &s));
	if (packed_open(&k, form, s.s.p, s.s.n))
		return bad(a->in, "a packed value that is damaged");
	while ((rc = packed_next(&k, &e, buf)) > 0)
		TRY(aside_add(a, e, e.p == (uint8_t *)buf));
	if (rc < 0 || k.seen % 2)
		return bad(a->in, "a packed value that is damaged");
	return aside_flush(a); /* what it refers to ends here */
}

static int64_t read_int(const uint8_t *p, unsigned width)
{
	uint64_t v = 0;
	unsigned i;

	for (i = 0; i < width; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return (int64_t)(v << (64 - 8 * width)) >> (64 - 8 * width);
}

static enum rdb_result aside_ints(struct aside *a)
{
	struct rdb_string s;
	char text[INT_TEXT];
	uint64_t width, n, i;
	int64_t last = 0, v;

	TRY(rdb_string(a->in, &s));
	if (s.s.n < 8)
		return bad(a->in, "a set of integers that is damaged");
	width = (uint64_t)read_int(s.s.p, 4) & UINT32_MAX;
	n = (uint64_t)read_int(s.s.p + 4, 4) & UINT32_MAX;
	if ((width != 2 && width != 4 && width != 8) || s.s.n - 8 != n * width)
		return bad(a->in, "a set of integers that is damaged");
	for (i = 0; i < n; i++, last = v) {
		v = read_int(s.s.p + 8 + i * width, (unsigned)width);
		if (i && v <= last)
			return bad(a->in, "a set of integers that is not sorted");
		TRY(aside_add(a, (purser_bytes){ (uint8_t *)text, int_format(v, text) }, 1));
	}
	return RDB_OK;
}

static enum rdb_result read_hash_or_set(struct rdb_in *in, unsigned type, purser_bytes key, struct item **out)
{
	enum rdb_result rc;
	struct aside a;

	aside_begin(&a, in, key, type == RDB_SET || type == RDB_SET_INTSET);
	if (type == RDB_SET_INTSET)
		rc = aside_ints(&a);
	else if (type == RDB_SET || type == RDB_HASH)
		rc = aside_plain(&a);
	else
		rc = aside_packed(&a, type == RDB_HASH_LISTPACK ? PACKED_LISTPACK :
		    type == RDB_HASH_ZIPLIST ? PACKED_ZIPLIST : PACKED_ZIPMAP);
	TRY(aside_end(&a, rc, out));
	/* Redis leaves what is packed so, were the elements longer than it would pack itself. */
	if (item_enc(*out) == ENC_HASH && type != RDB_HASH && type != RDB_HASH_ZIPMAP && hash_len(*out) <= PACK_FIELDS)
		(*out)->head = ((*out)->head & ~ITEM_ENC) | ENC_TABLE;
	return RDB_OK;
}

/* ---- lists ----------------------------------------------------------------------------------------------- */
static enum rdb_result push(struct rdb_in *in, struct list *l, purser_bytes e)
{
	return list_push(in->cx, l, LIST_BACK, e) ? RDB_NOMEM : RDB_OK;
}

static enum rdb_result push_packed(struct rdb_in *in, struct list *l, enum packed_form form)
{
	struct rdb_string s;
	char buf[INT_TEXT];
	struct packed k;
	purser_bytes e;
	int rc;

	TRY(rdb_string(in, &s));
	if (packed_open(&k, form, s.s.p, s.s.n))
		return bad(in, "a packed list that is damaged");
	while ((rc = packed_next(&k, &e, buf)) > 0)
		TRY(push(in, l, e));
	return rc ? bad(in, "a packed list that is damaged") : RDB_OK;
}

static enum rdb_result push_all(struct rdb_in *in, unsigned type, struct list *l)
{
	uint64_t n, i, kind = 2;
	struct rdb_string s;

	if (type == RDB_LIST_ZIPLIST)
		return push_packed(in, l, PACKED_ZIPLIST);
	TRY(rdb_length(in, &n));
	for (i = 0; i < n; i++) {
		if (type == RDB_LIST_QUICKLIST_2)
			TRY(rdb_length(in, &kind));
		if (kind != 1 && kind != 2)
			return bad(in, "a list's node of an unknown kind");
		if (type == RDB_LIST || kind == 1) {
			TRY(rdb_string(in, &s));
			if (type != RDB_LIST && !s.s.n)
				return bad(in, "a list's node without bytes");
			TRY(push(in, l, s.s));
		} else {
			TRY(push_packed(in, l, type == RDB_LIST_QUICKLIST ? PACKED_ZIPLIST : PACKED_LISTPACK));
		}
	}
	return RDB_OK;
}

static enum rdb_result read_list(struct rdb_in *in, unsigned type, purser_bytes key, struct item **out)
{
	struct shape shape = { ENC_LIST, 0, 0 };
	struct list *l = list_new(in->cx);
	enum rdb_result rc;

	if (!l)
		return RDB_NOMEM;
	rc = push_all(in, type, l);
	if (!rc && !l->n)
		rc = RDB_EMPTY;
	if (!rc && !(*out = item_new(in->cx, &shape, key.p, key.n)))
		rc = RDB_NOMEM;
	if (rc)
		list_dispose(in->cx, l);
	else
		item_set_word(*out, (uint64_t)(uintptr_t)l);
	return rc;
}

/* ---- sorted sets ------------------------------------------------------------------------------------------- */
static enum rdb_result scored(struct rdb_in *in, struct zset *z, purser_bytes m, double score)
{
	uint64_t n = z->n;

	if (isnan(score))
		return bad(in, "a score that is not a number");
	if (zset_put(in->cx, z, m, score))
		return RDB_NOMEM;
	return z->n > n ? RDB_OK : bad(in, "a member that is there twice");
}

/* As text, of old. */
static enum rdb_result score_text(struct rdb_in *in, double *score)
{
	const uint8_t *p;
	uint8_t n;

	TRY(rdb_byte(in, &n));
	if (n >= 253) {
		*score = n == 255 ? -INFINITY : n == 254 ? INFINITY : NAN;
		return RDB_OK;
	}
	TRY(rdb_take(in, n, &p));
	return double_parse(p, n, score) ? bad(in, "a score that is not a number") : RDB_OK;
}

static enum rdb_result zset_plain(struct rdb_in *in, unsigned type, struct zset *z)
{
	uint64_t n, i, bits;
	struct rdb_string s;
	double score;

	TRY(rdb_length(in, &n));
	for (i = 0; i < n; i++) {
		uint8_t few[256], *copy = few;
		enum rdb_result rc;

		TRY(rdb_string(in, &s));
		if (s.s.n > sizeof(few) && !(copy = malloc(s.s.n)))
			return RDB_NOMEM;
		memcpy(copy, s.s.p, s.s.n);
		if (type == RDB_ZSET) {
			rc = score_text(in, &score);
		} else {
			rc = rdb_le(in, 8, &bits);
			if (!rc)
				memcpy(&score, &bits, 8);
		}
		if (!rc)
			rc = scored(in, z, (purser_bytes){ copy, s.s.n }, score);
		if (copy != few)
			free(copy);
		TRY(rc);
	}
	return RDB_OK;
}

static enum rdb_result zset_packed(struct rdb_in *in, enum packed_form form, struct zset *z)
{
	char buf[INT_TEXT], text[INT_TEXT];
	purser_bytes m, number;
	struct rdb_string s;
	struct packed k;
	double score;
	int rc;

	TRY(rdb_string(in, &s));
	if (packed_open(&k, form, s.s.p, s.s.n))
		return bad(in, "a packed sorted set that is damaged");
	while ((rc = packed_next(&k, &m, buf)) > 0) {
		if (packed_next(&k, &number, text) != 1)
			return bad(in, "a packed sorted set that is damaged");
		if (double_parse(number.p, number.n, &score))
			return bad(in, "a score that is not a number");
		TRY(scored(in, z, m, score));
	}
	return rc ? bad(in, "a packed sorted set that is damaged") : RDB_OK;
}

static enum rdb_result read_zset(struct rdb_in *in, unsigned type, purser_bytes key, struct item **out)
{
	struct zset *z = zset_new(in->cx);
	enum rdb_result rc;

	if (!z)
		return RDB_NOMEM;
	if (type == RDB_ZSET_LISTPACK || type == RDB_ZSET_ZIPLIST)
		rc = zset_packed(in, type == RDB_ZSET_LISTPACK ? PACKED_LISTPACK : PACKED_ZIPLIST, z);
	else
		rc = zset_plain(in, type, z);
	if (!rc && !z->n)
		rc = RDB_EMPTY;
	if (!rc && !(*out = zset_item(in->cx, key, z)))
		rc = RDB_NOMEM;
	if (rc)
		zset_dispose(in->cx, z);
	return rc;
}

static enum rdb_result read_stream(struct rdb_in *in, unsigned type, purser_bytes key, struct item **out)
{
	struct shape shape = { ENC_STREAM, 0, 0 };
	struct stream *s;

	TRY(rdb_stream(in, type, &s));
	*out = item_new(in->cx, &shape, key.p, key.n);
	if (!*out) {
		stream_dispose(in->cx, s);
		return RDB_NOMEM;
	}
	item_set_word(*out, (uint64_t)(uintptr_t)s);
	return RDB_OK;
}

/* ---- all of them --------------------------------------------------------------------------------------------- */
static enum rdb_result read_any(struct rdb_in *in, unsigned type, purser_bytes key, int64_t expiry,
    struct item **out)
{
	switch (type) {
	case RDB_STRING:
		return read_string(in, key, expiry, out);
	case RDB_SET:
	case RDB_SET_INTSET:
	case RDB_HASH:
	case RDB_HASH_ZIPMAP:
	case RDB_HASH_ZIPLIST:
	case RDB_HASH_LISTPACK:
		return read_hash_or_set(in, type, key, out);
	case RDB_LIST:
	case RDB_LIST_ZIPLIST:
	case RDB_LIST_QUICKLIST:
	case RDB_LIST_QUICKLIST_2:
		return read_list(in, type, key, out);
	case RDB_ZSET:
	case RDB_ZSET_2:
	case RDB_ZSET_ZIPLIST:
	case RDB_ZSET_LISTPACK:
		return read_zset(in, type, key, out);
	case RDB_STREAM_LISTPACKS:
	case RDB_STREAM_LISTPACKS_2:
		return read_stream(in, type, key, out);
	default:
		return bad(in, "a value of an unknown type");
	}
}

enum rdb_result rdb_value(struct rdb_in *in, unsigned type, purser_bytes key, int64_t expiry, struct item **out)
{
	struct shape shape;
	struct item *it;

	TRY(read_any(in, type, key, expiry, out));
	if (!expiry || item_has_ttl(*out))
		return RDB_OK;
	shape = (struct shape){ item_enc(*out), 1, (*out)->vlen };
	it = item_reshape(in->cx, *out, &shape);
	if (!it) {
		item_free(in->cx, *out);
		return RDB_NOMEM;
	}
	item_set_expiry(it, expiry);
	*out = it;
	return RDB_OK;
}

int rdb_open_payload(struct rdb_in *in, struct ctx *cx, purser_bytes payload)
{
	const uint8_t *foot;
	uint64_t sum = 0;
	unsigned i;

	if (payload.n < RDB_FOOTER)
		return -1;
	foot = payload.p + payload.n - RDB_FOOTER;
	if ((foot[0] | (unsigned)foot[1] << 8) > RDB_VERSION)
		return -1;
	for (i = 0; i < 8; i++)
		sum |= (uint64_t)foot[2 + i] << 8 * i;
	if (crc64(0, payload.p, payload.n - 8) != sum)
		return -1;
	*in = (struct rdb_in){ .cx = cx, .p = payload.p, .n = payload.n - RDB_FOOTER };
	return 0;
}
