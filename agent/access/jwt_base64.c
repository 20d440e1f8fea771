/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_base64: base64url as RFC 7515 has it: no padding, no other byte, one spelling of each value. */
#include <config.h>
#include "access/jwt_priv.h"

static int digit(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

enum jwt_reason jwt_base64(const char *p, size_t n, uint8_t *out, size_t *len)
{
	uint32_t acc = 0;
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		int d = digit((unsigned char)p[i]);

		if (d < 0)
			return p[i] == '=' ? JWT_BASE64_PADDING : JWT_BASE64_ALPHABET;
		acc = acc << 6 | (uint32_t)d;
		if (i % 4 != 0)
			out[at++] = (uint8_t)(acc >> (6 - 2 * (i % 4)));
	}
	if (n % 4 == 1)
		return JWT_BASE64_LENGTH;
	if ((n % 4 == 2 && acc & 0xf) || (n % 4 == 3 && acc & 0x3))
		return JWT_BASE64_BITS;
	*len = at;
	return JWT_OK;
}
