/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a listpack: see listpack.h.
 *
 *   0xxxxxxx       integer 0..127          110xxxxx x     integer of 13 bits
 *   10xxxxxx       string of 0..63         1110xxxx x     string of 12 bits of length
 *   11110000 4     string                  11110001 2, 010 3, 011 4, 100 8   integers
 */
#include "listpack.h"
#include "number.h"

static uint64_t little(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

static uint8_t *put_little(uint8_t *to, uint64_t v, unsigned n)
{
	for (; n > 0; n--, v >>= 8)
		*to++ = (uint8_t)v;
	return to;
}

uint32_t lp_bytes(const uint8_t *lp) { return (uint32_t)little(lp, 4); }

void lp_empty(uint8_t *lp)
{
	memset(lp, 0, LP_HEAD);
	lp_finish(lp, LP_EMPTY, 0);
}

void lp_finish(uint8_t *lp, size_t n, uint32_t more)
{
	uint64_t was = little(lp + 4, 2);

	lp[n - 1] = LP_END;
	put_little(lp, n, 4);
	put_little(lp + 4, was + more < 65535 && was < 65535 ? was + more : 65535, 2);
}

/* Bytes of head and payload; *len: of the payload of a string, else the integer's width in bits. */
static size_t element(const uint8_t *p, int *string, size_t *head, uint64_t *len)
{
	static const uint8_t widths[] = { 16, 24, 32, 64 };
	unsigned b = p[0];

	*head = 1;
	*string = 0;
	*len = 0;
	if (b < 0x80) {
		*len = 7;
		return 1;
	}
	if (b < 0xc0) {
		*string = 1;
		*len = b & 0x3f;
	} else if (b < 0xe0) {
		*len = 13;
		return 2;
	} else if (b < 0xf0) {
		*string = 1;
		*head = 2;
		*len = (uint64_t)(b & 15) << 8 | p[1];
	} else if (b == 0xf0) {
		*string = 1;
		*head = 5;
		*len = little(p + 1, 4);
	} else if (b <= 0xf4) {
		*len = widths[b - 0xf1];
		return 1 + *len / 8;
	}
	return *head + *len;
}

static size_t back_bytes(size_t n)
{
	return n < 128 ? 1 : n < 16383 ? 2 : n < 2097151 ? 3 : n < 268435455 ? 4 : 5; /* as Redis has it */
}

/* Seven bits a byte, the highest first; all but the first have their top bit set: read from behind. */
static uint8_t *put_back(uint8_t *to, size_t n)
{
	size_t k = back_bytes(n), i;

	for (i = 0; i < k; i++)
		to[i] = (uint8_t)((n >> (7 * (k - 1 - i)) & 127) | (i ? 128 : 0));
	return to + k;
}

const uint8_t *lp_next(const uint8_t *p)
{
	int string;
	size_t head, n;
	uint64_t len;

	if (p[0] < 0x80) /* most of what is passed over */
		return p + 2;
	n = element(p, &string, &head, &len);
	return p + n + back_bytes(n);
}

const uint8_t *lp_prev(const uint8_t *p)
{
	const uint8_t *b = p - 1;
	size_t n = *b & 127;
	unsigned shift = 7;

	for (; *b & 128; shift += 7) {
		b--;
		n |= (size_t)(*b & 127) << shift;
	}
	return b - n;
}

static int64_t integer(const uint8_t *p, uint64_t bits)
{
	uint64_t v;

	if (bits == 7)
		return p[0];
	v = bits == 13 ? (uint64_t)(p[0] & 31) << 8 | p[1] : little(p + 1, (unsigned)bits / 8);
	return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

void lp_get(const uint8_t *p, struct view *v)
{
	int string;
	size_t head;
	uint64_t len;

	element(p, &string, &head, &len);
	if (string) {
		v->p = p + head;
		v->n = len;
		return;
	}
	v->p = (const uint8_t *)v->buf;
	v->n = int_format(integer(p, len), v->buf);
}

int64_t lp_int(const uint8_t *p)
{
	int string;
	size_t head;
	uint64_t len;

	if (p[0] < 0x80)
		return p[0];
	element(p, &string, &head, &len);
	return string ? 0 : integer(p, len);
}

static unsigned int_width(int64_t v)
{
	if (v >= 0 && v < 128)
		return 7;
	if (v >= -4096 && v < 4096)
		return 13;
	if (v >= INT16_MIN && v <= INT16_MAX)
		return 16;
	if (v >= -8388608 && v <= 8388607)
		return 24;
	return v >= INT32_MIN && v <= INT32_MAX ? 32 : 64;
}

size_t lp_int_bytes(int64_t v)
{
	unsigned bits = int_width(v);

	return bits == 7 ? 2 : bits == 13 ? 3 : 2 + bits / 8;
}

uint8_t *lp_put_int(uint8_t *to, int64_t v)
{
	unsigned bits = int_width(v);
	uint8_t *from = to;

	if (bits == 7) {
		*to++ = (uint8_t)v;
	} else if (bits == 13) {
		*to++ = (uint8_t)(0xc0 | ((uint64_t)v >> 8 & 31));
		*to++ = (uint8_t)v;
	} else {
		*to++ = bits == 16 ? 0xf1 : bits == 24 ? 0xf2 : bits == 32 ? 0xf3 : 0xf4;
		to = put_little(to, (uint64_t)v, bits / 8);
	}
	return put_back(to, (size_t)(to - from));
}

uint8_t *lp_put(uint8_t *to, const void *p, size_t n)
{
	uint8_t *from = to;
	int64_t v;

	if (int_parse(p, n, &v) == 0)
		return lp_put_int(to, v);
	if (n < 64) {
		*to++ = (uint8_t)(0x80 | n);
	} else if (n < 4096) {
		*to++ = (uint8_t)(0xe0 | n >> 8);
		*to++ = (uint8_t)n;
	} else {
		*to++ = 0xf0;
		to = put_little(to, n, 4);
	}
	if (n)
		memcpy(to, p, n);
	to += n;
	return put_back(to, (size_t)(to - from));
}

int lp_check(const uint8_t *lp, size_t n, uint64_t *elements)
{
	size_t at = LP_HEAD, head, all, back;
	uint64_t len, told;
	int string;

	*elements = 0;
	if (n < LP_EMPTY || lp_bytes(lp) != n || lp[n - 1] != LP_END)
		return 0;
	for (; lp[at] != LP_END; (*elements)++) {
		uint8_t want[5];

		/* the head of a string is 5 bytes at most */
		if (lp[at] > 0xf4 || (lp[at] >= 0xe0 && n - at < (lp[at] == 0xf0 ? 6u : 3u)))
			return 0;
		all = element(lp + at, &string, &head, &len);
		back = back_bytes(all);
		if (all > n - 1 - at || back > n - 1 - at - all)
			return 0;
		put_back(want, all);
		if (memcmp(want, lp + at + all, back) != 0)
			return 0;
		at += all + back;
		if (at >= n)
			return 0;
	}
	told = little(lp + 4, 2);
	return at == n - 1 && (told == 65535 || told == *elements);
}
