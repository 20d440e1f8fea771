/* SPDX-License-Identifier: Apache-2.0
 *
 * Listpacks, ziplists, zipmaps: see packed.h.
 */
#include <string.h>
#include "packed.h"

static uint64_t read_le(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;
	unsigned i;

	for (i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

/* A signed integer of so many bytes. */
static int64_t read_int(const uint8_t *p, unsigned bytes)
{
	unsigned spare = 64 - 8 * bytes;

	return (int64_t)(read_le(p, bytes) << spare) >> spare;
}

static void write_le(uint8_t *p, uint64_t v, unsigned bytes)
{
	unsigned i;

	for (i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static int show_int(int64_t v, purser_bytes *e, char buf[INT_TEXT])
{
	*e = (purser_bytes){ (const uint8_t *)buf, int_format(v, buf) };
	return 1;
}

/* ---- listpacks: bytes 4 | elements 2 | entries | 255 -------------------------------------------------- */
/* The length of an entry, for who comes from behind. */
static unsigned behind_bytes(size_t entry)
{
	return entry <= 127 ? 1 : entry < 16383 ? 2 : entry < 2097151 ? 3 : entry < 268435455 ? 4 : 5;
}

size_t listpack_behind(uint8_t to[5], size_t entry)
{
	unsigned n = behind_bytes(entry), i;

	for (i = 0; i < n; i++)
		to[i] = (uint8_t)((entry >> 7 * (n - 1 - i) & 127) | (i ? 128 : 0));
	return n;
}

/* Integers stand in the first byte's encoding; the bytes that follow, 0: it is a string. */
static unsigned int_bytes(uint8_t lead)
{
	return lead == 0xf1 ? 2 : lead == 0xf2 ? 3 : lead == 0xf3 ? 4 : lead == 0xf4 ? 8 : 0;
}

/* Head and body of a string entry at p, of which `left` bytes are there.  0, or -1. */
static int listpack_string(const uint8_t *p, size_t left, size_t *head, size_t *body)
{
	if ((p[0] & 0xc0) == 0x80) {
		*head = 1;
		*body = p[0] & 0x3f;
	} else if ((p[0] & 0xf0) == 0xe0 && left >= 2) {
		*head = 2;
		*body = (size_t)(p[0] & 0x0f) << 8 | p[1];
	} else if (p[0] == 0xf0 && left >= 5) {
		*head = 5;
		*body = read_le(p + 1, 4);
	} else {
		return -1;
	}
	return 0;
}

static int listpack_next(struct packed *k, purser_bytes *e, char buf[INT_TEXT])
{
	const uint8_t *p = k->at;
	size_t left = (size_t)(k->end - p), head = 1, body = 0, n;
	uint8_t back[5];

	if (p[0] < 0x80)
		show_int(p[0], e, buf);
	else if ((p[0] & 0xe0) == 0xc0)
		body = 1;
	else if (!(body = int_bytes(p[0])) && listpack_string(p, left, &head, &body))
		return -1;
	if (body > left || head + body > left)
		return -1;
	n = listpack_behind(back, head + body);
	if (n > left - head - body || memcmp(p + head + body, back, n))
		return -1;
	if ((p[0] & 0xe0) == 0xc0)
		show_int(((int64_t)(p[0] & 0x1f) << 8 | p[1]) - (p[0] & 0x10 ? 8192 : 0), e, buf);
	else if (int_bytes(p[0]))
		show_int(read_int(p + 1, int_bytes(p[0])), e, buf);
	else if (p[0] >= 0x80)
		*e = (purser_bytes){ p + head, body };
	k->at += head + body + n;
	return 1;
}

/* ---- ziplists: bytes 4 | offset of the last entry 4 | elements 2 | entries | 255 ------------------------ */
static int ziplist_int(const uint8_t *p, size_t left, purser_bytes *e, char buf[INT_TEXT], size_t *all)
{
	unsigned bytes = p[0] == 0xc0 ? 2 : p[0] == 0xd0 ? 4 : p[0] == 0xe0 ? 8 : p[0] == 0xf0 ? 3 :
	    p[0] == 0xfe ? 1 : 0;

	*all = 1 + bytes;
	if (!bytes && (p[0] < 0xf1 || p[0] > 0xfd))
		return -1;
	if (*all > left)
		return -1;
	return show_int(bytes ? read_int(p + 1, bytes) : p[0] - 0xf1, e, buf);
}

static int ziplist_next(struct packed *k, purser_bytes *e, char buf[INT_TEXT])
{
	const uint8_t *p = k->at;
	size_t left = (size_t)(k->end - p), head, all;
	uint32_t before = p[0];
	unsigned n = 1;

	k->tail = (uint32_t)(p - k->start);
	if (before == 0xfe) {
		n = 5;
		if (left < n)
			return -1;
		before = (uint32_t)read_le(p + 1, 4);
	}
	if (left <= n || before != k->before || p[0] == 0xff)
		return -1;
	p += n;
	left -= n;
	if (p[0] >= 0xc0) {
		if (ziplist_int(p, left, e, buf, &all) < 0)
			return -1;
	} else {
		head = p[0] < 0x40 ? 1 : p[0] < 0x80 ? 2 : 5;
		if (left < head)
			return -1;
		all = head == 1 ? p[0] : head == 2 ? (size_t)(p[0] & 0x3f) << 8 | p[1] :
		    (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
		if (all > left - head)
			return -1;
		*e = (purser_bytes){ p + head, all };
		all += head;
	}
	k->before = (uint32_t)(n + all);
	k->at = p + all;
	return 1;
}

/* ---- zipmaps: pairs 1 | length | key | length | spare 1 | value | spare bytes | ... | 255 ----------------- */
static int zipmap_next(struct packed *k, purser_bytes *e)
{
	const uint8_t *p = k->at;
	size_t left = (size_t)(k->end - p), n = p[0], head = 1, spare = 0;

	if (n == 254) {
		head = 5;
		if (left < head)
			return -1;
		n = read_le(p + 1, 4);
	} else if (n == 255) {
		return -1;
	}
	if (k->value) {
		if (left < head + 1)
			return -1;
		spare = p[head++];
	}
	if (n > left - head || spare > left - head - n)
		return -1;
	*e = (purser_bytes){ p + head, n };
	k->at += head + n + spare;
	k->value = !k->value;
	return 1;
}

/* ---- all of them ---------------------------------------------------------------------------------------- */
int packed_open(struct packed *k, enum packed_form form, const uint8_t *p, size_t n)
{
	size_t head = form == PACKED_LISTPACK ? LISTPACK_HEAD : form == PACKED_ZIPLIST ? 10 : 1;
	size_t count;

	if (n < head + 1 || p[n - 1] != 0xff)
		return -1;
	*k = (struct packed){ .at = p + head, .end = p + n - 1, .form = form, .start = p, .count = UINT32_MAX };
	if (form == PACKED_ZIPMAP) {
		if (p[0] != 254)
			k->count = 2u * p[0];
		return 0;
	}
	if (read_le(p, 4) != n)
		return -1;
	count = read_le(p + head - 2, 2);
	if (count != 65535)
		k->count = (uint32_t)count;
	if (form == PACKED_ZIPLIST)
		k->tail = 10;
	return 0;
}

/* Do the numbers of the head fit what was seen? */
static int packed_ends_well(const struct packed *k)
{
	if (k->count != UINT32_MAX && k->count != k->seen)
		return -1;
	if (k->form == PACKED_ZIPLIST && read_le(k->start + 4, 4) != k->tail)
		return -1;
	return k->value ? -1 : 0;
}

int packed_next(struct packed *k, purser_bytes *e, char buf[INT_TEXT])
{
	if (k->at == k->end)
		return packed_ends_well(k);
	k->seen++;
	switch (k->form) {
	case PACKED_LISTPACK:
		return listpack_next(k, e, buf);
	case PACKED_ZIPLIST:
		return ziplist_next(k, e, buf);
	default:
		return zipmap_next(k, e);
	}
}

/* ---- writing ---------------------------------------------------------------------------------------------- */
void listpack_head(uint8_t to[LISTPACK_HEAD], size_t bytes, size_t count)
{
	write_le(to, bytes, 4);
	write_le(to + 4, count < 65535 ? count : 65535, 2);
}

static size_t before_int(uint8_t *to, int64_t v)
{
	unsigned bytes = v >= INT16_MIN && v <= INT16_MAX ? 2 : v >= -8388608 && v <= 8388607 ? 3 :
	    v >= INT32_MIN && v <= INT32_MAX ? 4 : 8;

	if (v >= 0 && v <= 127) {
		to[0] = (uint8_t)v;
		return 1;
	}
	if (v >= -4096 && v <= 4095) {
		to[0] = (uint8_t)(0xc0 | ((uint64_t)v >> 8 & 0x1f));
		to[1] = (uint8_t)v;
		return 2;
	}
	to[0] = (uint8_t)(bytes == 8 ? 0xf4 : 0xef + bytes);
	write_le(to + 1, (uint64_t)v, bytes);
	return 1 + bytes;
}

size_t listpack_before(uint8_t to[LISTPACK_ENTRY], purser_bytes e, int *inside)
{
	int64_t v;

	*inside = int_parse(e.p, e.n, &v) == 0;
	if (*inside)
		return before_int(to, v);
	if (e.n < 64) {
		to[0] = (uint8_t)(0x80 | e.n);
		return 1;
	}
	if (e.n < 4096) {
		to[0] = (uint8_t)(0xe0 | e.n >> 8);
		to[1] = (uint8_t)e.n;
		return 2;
	}
	to[0] = 0xf0;
	write_le(to + 1, e.n, 4);
	return 5;
}

size_t listpack_entry_bytes(purser_bytes e)
{
	uint8_t head[LISTPACK_ENTRY];
	int inside;
	size_t n = listpack_before(head, e, &inside);

	if (!inside)
		n += e.n;
	return n + behind_bytes(n);
}
