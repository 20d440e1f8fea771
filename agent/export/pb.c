/* SPDX-License-Identifier: Apache-2.0 */
/* export/pb: protobuf on a buf, and reading it. */
#include <config.h>
#include "export/pb.h"

size_t pb_open(struct buf *b, unsigned field)
{
	uint8_t tmp[8], *p = pb_tag(tmp, field, PB_LEN);

	*p++ = 0; /* one byte is kept for the length; pb_close makes room when it needs more */
	buf_put(b, tmp, (size_t)(p - tmp));
	return buf_len(b);
}

void pb_close(struct buf *b, size_t mark)
{
	size_t len = buf_len(b) - mark, more = pb_varint_len(len) - 1;
	uint8_t *p;

	if (b->failed || buf_room(b, more))
		return;
	p = buf_data(b) + mark;
	memmove(p + more, p, len);
	pb_varint(p - 1, len);
	b->end += more;
}

void pb_put_bytes(struct buf *b, unsigned field, const void *p, size_t n)
{
	uint8_t tmp[16];

	buf_put(b, tmp, (size_t)(pb_varint(pb_tag(tmp, field, PB_LEN), n) - tmp));
	buf_put(b, p, n);
}

void pb_put_str(struct buf *b, unsigned field, const char *s)
{
	pb_put_bytes(b, field, s, strlen(s));
}

void pb_put_uint(struct buf *b, unsigned field, uint64_t v)
{
	uint8_t tmp[16];

	buf_put(b, tmp, (size_t)(pb_uint(tmp, field, v) - tmp));
}

void pb_put_fixed64(struct buf *b, unsigned field, uint64_t v)
{
	uint8_t tmp[16];

	buf_put(b, tmp, (size_t)(pb_fixed64(tmp, field, v) - tmp));
}

void pb_put_double(struct buf *b, unsigned field, double v)
{
	pb_put_fixed64(b, field, pb_double_bits(v));
}

static int get_varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
	*v = 0;
	for (unsigned shift = 0; shift < 64 && *p < end; shift += 7) {
		uint8_t c = *(*p)++;

		*v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return 0;
	}
	return -1;
}

static int get_fixed(const uint8_t **p, const uint8_t *end, unsigned bytes, uint64_t *v)
{
	if ((size_t)(end - *p) < bytes)
		return -1;
	*v = 0;
	for (unsigned i = 0; i < bytes; i++)
		*v |= (uint64_t)(*p)[i] << 8 * i;
	*p += bytes;
	return 0;
}

int pb_next(const uint8_t **p, const uint8_t *end, struct pb_field *f)
{
	uint64_t tag, len;

	if (*p == end)
		return 0;
	if (get_varint(p, end, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return -1;
	*f = (struct pb_field){ .field = (unsigned)(tag >> 3), .wire = (unsigned)(tag & 7) };
	switch (f->wire) {
	case PB_VARINT:
		return get_varint(p, end, &f->v) ? -1 : 1;
	case PB_64:
		return get_fixed(p, end, 8, &f->v) ? -1 : 1;
	case PB_32:
		return get_fixed(p, end, 4, &f->v) ? -1 : 1;
	case PB_LEN:
		if (get_varint(p, end, &len) || len > (uint64_t)(end - *p))
			return -1;
		f->p = *p;
		f->n = (size_t)len;
		*p += len;
		return 1;
	default:
		return -1; /* groups: nobody has sent them for years */
	}
}
