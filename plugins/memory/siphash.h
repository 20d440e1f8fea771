/* SPDX-License-Identifier: Apache-2.0
 *
 * SipHash-1-3 of a byte string under a 128-bit key: keys come from clients, so the hash is keyed.
 */
#ifndef MEMORY_SIPHASH_H
#define MEMORY_SIPHASH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sip_key { uint64_t k0, k1; };

#define SIP_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIP_ROUND(v0, v1, v2, v3) do { \
	v0 += v1; v2 += v3; \
	v1 = SIP_ROTL(v1, 13) ^ v0; v3 = SIP_ROTL(v3, 16) ^ v2; \
	v0 = SIP_ROTL(v0, 32); \
	v2 += v1; v0 += v3; \
	v1 = SIP_ROTL(v1, 17) ^ v2; v3 = SIP_ROTL(v3, 21) ^ v0; \
	v2 = SIP_ROTL(v2, 32); \
} while (0)

static inline uint64_t sip_load(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

/* The last 0-7 bytes, little-endian, without reading past them. */
static inline uint64_t sip_tail(const uint8_t *p, size_t n)
{
	uint64_t w = 0;

	switch (n) {
	case 7: w |= (uint64_t)p[6] << 48; /* fall through */
	case 6: w |= (uint64_t)p[5] << 40; /* fall through */
	case 5: w |= (uint64_t)p[4] << 32; /* fall through */
	case 4: w |= (uint64_t)p[3] << 24; /* fall through */
	case 3: w |= (uint64_t)p[2] << 16; /* fall through */
	case 2: w |= (uint64_t)p[1] << 8;  /* fall through */
	case 1: w |= (uint64_t)p[0];
	}
	return w;
}

static inline uint64_t siphash13(const struct sip_key *key, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t v0 = key->k0 ^ UINT64_C(0x736f6d6570736575), v1 = key->k1 ^ UINT64_C(0x646f72616e646f6d);
	uint64_t v2 = key->k0 ^ UINT64_C(0x6c7967656e657261), v3 = key->k1 ^ UINT64_C(0x7465646279746573);
	uint64_t m, last = (uint64_t)n << 56;

	for (; n >= 8; n -= 8, p += 8) {
		m = sip_load(p);
		v3 ^= m;
		SIP_ROUND(v0, v1, v2, v3);
		v0 ^= m;
	}
	m = last | sip_tail(p, n);
	v3 ^= m;
	SIP_ROUND(v0, v1, v2, v3);
	v0 ^= m;
	v2 ^= 0xff;
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}
#endif
