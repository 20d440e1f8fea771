/* SPDX-License-Identifier: Apache-2.0
 *
 * Values in Redis' format: see rdb.h.  Strings are not compressed, which any reader understands.
 */
#include <errno.h>
#include "hash.h"
#include "list.h"
#include "packed.h"
#include "rdb.h"
#include "set.h"
#include "stream.h"
#include "zset.h"

/* ---- bytes ------------------------------------------------------------------------------------------- */
void rdb_put(struct rdb_out *o, const void *p, size_t n)
{
	const uint8_t *from = p;

	while (n > 0 && !o->error) {
		size_t room = o->cap - o->n, k = n < room ? n : room;

		if (k > 0) {
			memcpy(o->p + o->n, from, k);
			o->n += k;
			from += k;
			n -= k;
		}
		if (n > 0 && o->more(o, n) && !o->error)
			o->error = ENOMEM;
	}
}

void rdb_put_byte(struct rdb_out *o, uint8_t b) { rdb_put(o, &b, 1); }

void rdb_put_le(struct rdb_out *o, uint64_t v, unsigned bytes)
{
	uint8_t b[8];
	unsigned i;

	for (i = 0; i < bytes; i++)
		b[i] = (uint8_t)(v >> 8 * i);
	rdb_put(o, b, bytes);
}

size_t rdb_length_bytes(uint8_t to[9], uint64_t n)
{
	unsigned bytes = n > UINT32_MAX ? 8 : 4, i;

	if (n < 64) {
		to[0] = (uint8_t)n;
		return 1;
	}
	if (n < 16384) {
		to[0] = (uint8_t)(0x40 | n >> 8);
		to[1] = (uint8_t)n;
		return 2;
	}
	to[0] = bytes == 8 ? 0x81 : 0x80;
	for (i = 0; i < bytes; i++)
		to[1 + i] = (uint8_t)(n >> 8 * (bytes - 1 - i));
	return 1 + bytes;
}

void rdb_put_length(struct rdb_out *o, uint64_t n)
{
	uint8_t b[9];

	rdb_put(o, b, rdb_length_bytes(b, n));
}

/* 1: the integer was short enough to be one. */
static int put_int(struct rdb_out *o, int64_t v)
{
	unsigned kind = v >= INT8_MIN && v <= INT8_MAX ? 0 : v >= INT16_MIN && v <= INT16_MAX ? 1 : 2;

	if (v < INT32_MIN || v > INT32_MAX)
		return 0;
	rdb_put_byte(o, (uint8_t)(0xc0 | kind));
	rdb_put_le(o, (uint64_t)v, 1u << kind);
	return 1;
}

void rdb_put_string(struct rdb_out *o, purser_bytes s)
{
	int64_t v;

	if (s.n <= 11 && int_parse(s.p, s.n, &v) == 0 && put_int(o, v))
		return;
	rdb_put_length(o, s.n);
	rdb_put(o, s.p, s.n);
}

/* ---- listpacks: measured first, because they begin with their length ------------------------------------ */
struct pack { struct rdb_out *o; size_t bytes, n; };

static void pack_measure(struct pack *k, purser_bytes e)
{
	k->bytes += listpack_entry_bytes(e);
	k->n++;
}

static void pack_begin(struct pack *k)
{
	uint8_t head[LISTPACK_HEAD];
	size_t all = listpack_bytes(k->bytes);

	listpack_head(head, all, k->n);
	rdb_put_length(k->o, all);
	rdb_put(k->o, head, sizeof(head));
}

static void pack_write(struct pack *k, purser_bytes e)
{
	uint8_t b[LISTPACK_ENTRY];
	int inside;
	size_t n = listpack_before(b, e, &inside), all = n + (inside ? 0 : e.n);

	rdb_put(k->o, b, n);
	if (!inside)
		rdb_put(k->o, e.p, e.n);
	rdb_put(k->o, b, listpack_behind(b, all));
}

static void pack_end(struct pack *k) { rdb_put_byte(k->o, 0xff); }

/* ---- hashes ------------------------------------------------------------------------------------------------- */
static int measure_field(void *arg, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	pack_measure(arg, (purser_bytes){ f, fn });
	pack_measure(arg, (purser_bytes){ v, vn });
	return 0;
}

static int write_field(void *arg, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	pack_write(arg, (purser_bytes){ f, fn });
	pack_write(arg, (purser_bytes){ v, vn });
	return 0;
}

static int put_field(void *arg, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	struct rdb_out *o = arg;

	rdb_put_string(o, (purser_bytes){ f, fn });
	rdb_put_string(o, (purser_bytes){ v, vn });
	return o->error;
}

static void put_hash(struct rdb_out *o, struct item *it)
{
	struct pack k = { o, 0, 0 };

	if (item_enc(it) == ENC_HASH) {
		rdb_put_length(o, hash_len(it));
		hash_each(it, put_field, o);
		return;
	}
	hash_each(it, measure_field, &k);
	pack_begin(&k);
	hash_each(it, write_field, &k);
	pack_end(&k);
}

/* ---- sets ----------------------------------------------------------------------------------------------------- */
static int put_member(void *arg, const uint8_t *m, size_t n)
{
	struct rdb_out *o = arg;

	rdb_put_string(o, (purser_bytes){ m, n });
	return o->error;
}

struct ints { struct rdb_out *o; unsigned width; };

static int put_set_int(void *arg, const uint8_t *m, size_t n)
{
	struct ints *w = arg;
	int64_t v = 0;

	int_parse(m, n, &v);
	rdb_put_le(w->o, (uint64_t)v, w->width);
	return w->o->error;
}

static void put_set(struct rdb_out *o, struct item *it)
{
	struct ints w = { o, 0 };
	uint64_t n = set_len(it);

	if (item_enc(it) != ENC_SET_INT) {
		rdb_put_length(o, n);
		set_each(it, put_member, o);
		return;
	}
	w.width = item_value(it)[0];
	rdb_put_length(o, 8 + n * w.width);
	rdb_put_le(o, w.width, 4);
	rdb_put_le(o, n, 4);
	set_each(it, put_set_int, &w);
}

/* ---- sorted sets ------------------------------------------------------------------------------------------------ */
static purser_bytes score_bytes(double score, char buf[SCORE_TEXT])
{
	return (purser_bytes){ (const uint8_t *)buf, score_format(score, buf) };
}

static int measure_scored(void *arg, purser_bytes m, double score)
{
	char buf[SCORE_TEXT];

	pack_measure(arg, m);
	pack_measure(arg, score_bytes(score, buf));
	return 0;
}

static int write_scored(void *arg, purser_bytes m, double score)
{
	char buf[SCORE_TEXT];

	pack_write(arg, m);
	pack_write(arg, score_bytes(score, buf));
	return 0;
}

static int put_scored(void *arg, purser_bytes m, double score)
{
	struct rdb_out *o = arg;
	uint64_t bits;

	memcpy(&bits, &score, 8);
	rdb_put_string(o, m);
	rdb_put_le(o, bits, 8);
	return o->error;
}

static void put_zset(struct rdb_out *o, struct item *it)
{
	struct pack k = { o, 0, 0 };
	uint64_t n = zset_len(it);

	if (item_enc(it) == ENC_ZSET) { /* from the end, as Redis does: who reads it inserts at the front */
		rdb_put_length(o, n);
		zset_walk(it, n - 1, n, 1, put_scored, o);
		return;
	}
	zset_walk(it, 0, n, 0, measure_scored, &k);
	pack_begin(&k);
	zset_walk(it, 0, n, 0, write_scored, &k);
	pack_end(&k);
}

/* ---- lists: a node, a listpack ------------------------------------------------------------------------------------ */
#define LIST_NODE_PACKED 2

static void put_node(struct rdb_out *o, struct node *n)
{
	struct pack k = { o, 0, 0 };
	struct lpos p;

	p = (struct lpos){ n, n->at };
	do
		pack_measure(&k, list_at(&p));
	while (list_step(&p, 0) && p.n == n);
	rdb_put_length(o, LIST_NODE_PACKED);
	pack_begin(&k);
	p = (struct lpos){ n, n->at };
	do
		pack_write(&k, list_at(&p));
	while (list_step(&p, 0) && p.n == n);
	pack_end(&k);
}

static void put_list(struct rdb_out *o, const struct list *l)
{
	uint64_t nodes = 0;
	struct node *n;

	for (n = l->head; n; n = n->next)
		nodes++;
	rdb_put_length(o, nodes);
	for (n = l->head; n && !o->error; n = n->next)
		put_node(o, n);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */
enum rdb_type rdb_type_of(const struct item *it)
{
	switch (item_enc(it)) {
	case ENC_PACK:
	case ENC_TABLE:
		return RDB_HASH_LISTPACK;
	case ENC_HASH:
		return RDB_HASH;
	case ENC_SET_INT:
		return RDB_SET_INTSET;
	case ENC_SET_PACK:
	case ENC_SET:
		return RDB_SET;
	case ENC_LIST:
		return RDB_LIST_QUICKLIST_2;
	case ENC_ZSET_PACK:
		return RDB_ZSET_LISTPACK;
	case ENC_ZSET:
		return RDB_ZSET_2;
	case ENC_STREAM:
		return RDB_STREAM_LISTPACKS_2;
	default:
		return RDB_STRING;
	}
}

void rdb_put_value(struct rdb_out *o, struct item *it)
{
	struct view v;

	switch (item_type(it)) {
	case TYPE_HASH:
		put_hash(o, it);
		break;
	case TYPE_SET:
		put_set(o, it);
		break;
	case TYPE_LIST:
		put_list(o, item_list(it));
		break;
	case TYPE_ZSET:
		put_zset(o, it);
		break;
	case TYPE_STREAM:
		rdb_put_stream(o, item_stream(it));
		break;
	default:
		string_view(it, &v);
		rdb_put_string(o, (purser_bytes){ v.p, v.n });
	}
}
