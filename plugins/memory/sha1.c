/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>
#include "sha1.h"

static uint32_t rol(uint32_t v, unsigned n) { return v << n | v >> (32 - n); }

static void block(uint32_t h[5], const uint8_t *p)
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 |
		    p[4 * i + 3];
	for (unsigned i = 16; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (unsigned i = 0; i < 80; i++) {
		uint32_t f, k, t;

		if (i < 20) {
			f = (b & c) | (~b & d);
			k = 0x5a827999;
		} else if (i < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (i < 60) {
			f = (b & c) | (b & d) | (c & d);
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		t = rol(a, 5) + f + e + k + w[i];
		e = d;
		d = c;
		c = rol(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

void sha1_hex(const void *p, size_t n, char hex[SHA1_HEX + 1])
{
	static const char digit[] = "0123456789abcdef";
	uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	const uint8_t *at = p;
	uint8_t tail[128] = { 0 };
	size_t left = n, len;

	for (; left >= 64; left -= 64, at += 64)
		block(h, at);
	if (left)
		memcpy(tail, at, left);
	tail[left] = 0x80;
	len = left < 56 ? 64 : 128;
	for (unsigned i = 0; i < 8; i++)
		tail[len - 1 - i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
	block(h, tail);
	if (len == 128)
		block(h, tail + 64);
	for (unsigned i = 0; i < SHA1_HEX; i++)
		hex[i] = digit[h[i / 8] >> (28 - 4 * (i % 8)) & 15];
	hex[SHA1_HEX] = '\0';
}
