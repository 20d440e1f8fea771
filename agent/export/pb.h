/* SPDX-License-Identifier: Apache-2.0
 *
 * export/pb: the few forms of protobuf that OTLP needs, written and read.
 *
 * Two ways to write: pb_* on a bare pointer, for spans, where the caller has made sure of the room;
 * and pb_open/pb_close on a buf for what is made once in a while.  Lengths are exact (canonical), so
 * that the bytes are those that other encoders write.
 */
#ifndef EXPORT_PB_H
#define EXPORT_PB_H
#include <stdbool.h>
#include "base/buf.h"

enum { PB_VARINT = 0, PB_64 = 1, PB_LEN = 2, PB_32 = 5 };

static inline size_t pb_varint_len(uint64_t v)
{
	return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

static inline uint8_t *pb_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static inline uint64_t pb_zigzag(int64_t v) /* sint32, sint64 */
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline uint8_t *pb_tag(uint8_t *p, unsigned field, unsigned wire)
{
	return pb_varint(p, (uint64_t)field << 3 | wire);
}

static inline uint8_t *pb_le(uint8_t *p, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		*p++ = (uint8_t)(v >> 8 * i);
	return p;
}

static inline uint8_t *pb_fixed64(uint8_t *p, unsigned field, uint64_t v)
{
	return pb_le(pb_tag(p, field, PB_64), v, 8);
}

static inline uint8_t *pb_fixed32(uint8_t *p, unsigned field, uint32_t v)
{
	return pb_le(pb_tag(p, field, PB_32), v, 4);
}

static inline uint64_t pb_double_bits(double v)
{
	union { double d; uint64_t u; } x = { .d = v };

	return x.u;
}

static inline uint8_t *pb_double(uint8_t *p, unsigned field, double v)
{
	return pb_fixed64(p, field, pb_double_bits(v));
}

static inline uint8_t *pb_uint(uint8_t *p, unsigned field, uint64_t v)
{
	return pb_varint(pb_tag(p, field, PB_VARINT), v);
}

static inline uint8_t *pb_bytes(uint8_t *p, unsigned field, const void *s, size_t n)
{
	p = pb_varint(pb_tag(p, field, PB_LEN), n);
	memcpy(p, s, n);
	return p + n;
}

/* KeyValue with a string or an integer.  At most PB_KV_ROOM + klen + vlen bytes. */
#define PB_KV_ROOM 48
static inline uint8_t *pb_kv_str(uint8_t *p, unsigned field, const char *key, size_t klen,
    const char *v, size_t vlen)
{
	size_t any = 1 + pb_varint_len(vlen) + vlen;

	p = pb_varint(pb_tag(p, field, PB_LEN),
	    1 + pb_varint_len(klen) + klen + 1 + pb_varint_len(any) + any);
	p = pb_bytes(p, 1, key, klen);
	p = pb_varint(pb_tag(p, 2, PB_LEN), any);
	return pb_bytes(p, 1, v, vlen);
}

static inline uint8_t *pb_kv_int(uint8_t *p, unsigned field, const char *key, size_t klen, int64_t v)
{
	size_t any = 1 + pb_varint_len((uint64_t)v);

	p = pb_varint(pb_tag(p, field, PB_LEN), 1 + pb_varint_len(klen) + klen + 2 + any);
	p = pb_bytes(p, 1, key, klen);
	p = pb_varint(pb_tag(p, 2, PB_LEN), any);
	return pb_uint(p, 3, (uint64_t)v);
}

static inline uint8_t *pb_kv_bool(uint8_t *p, unsigned field, const char *key, size_t klen, bool v)
{
	p = pb_varint(pb_tag(p, field, PB_LEN), 1 + pb_varint_len(klen) + klen + 4);
	p = pb_bytes(p, 1, key, klen);
	p = pb_varint(pb_tag(p, 2, PB_LEN), 2);
	return pb_uint(p, 2, v);
}

/* ---- on a buf (every failure is the buf's) --------------------------------------------------------- */
size_t pb_open(struct buf *b, unsigned field); /* a message of yet unknown length; returns its mark */
void pb_close(struct buf *b, size_t mark);
void pb_put_bytes(struct buf *b, unsigned field, const void *p, size_t n);
void pb_put_str(struct buf *b, unsigned field, const char *s);
void pb_put_uint(struct buf *b, unsigned field, uint64_t v);
void pb_put_fixed64(struct buf *b, unsigned field, uint64_t v);
void pb_put_double(struct buf *b, unsigned field, double v);

/* ---- reading ----------------------------------------------------------------------------------------- */
struct pb_field {
	unsigned field, wire;
	uint64_t v;           /* VARINT, 64, 32 */
	const uint8_t *p;     /* LEN */
	size_t n;
};
/* The next field of *p .. end; 1, 0 at the end, -1 when it is not protobuf. */
int pb_next(const uint8_t **p, const uint8_t *end, struct pb_field *f);
#endif
