/* SPDX-License-Identifier: Apache-2.0
 *
 * base/copy: copying what is mostly short (keys, headers, small values), without a call.
 */
#ifndef BASE_COPY_H
#define BASE_COPY_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Two pieces of a fixed size, which overlap where n is less than both. */
#define COPY_PIECES(d, s, n, size) \
	do { \
		uint8_t head_[size], tail_[size]; \
		memcpy(head_, (s), size); \
		memcpy(tail_, (s) + (n) - (size), size); \
		memcpy((d), head_, size); \
		memcpy((d) + (n) - (size), tail_, size); \
	} while (0)

/* As memcpy; with n = 0 the pointers may be anything.  Returns the end of what was written. */
static inline __attribute__((always_inline)) uint8_t *copy_short(uint8_t *d, const uint8_t *s, size_t n)
{
	if (n > 64)
		return (uint8_t *)memcpy(d, s, n) + n;
	if (n >= 32)
		COPY_PIECES(d, s, n, 32);
	else if (n >= 16)
		COPY_PIECES(d, s, n, 16);
	else if (n >= 8)
		COPY_PIECES(d, s, n, 8);
	else if (n >= 4)
		COPY_PIECES(d, s, n, 4);
	else
		for (size_t i = 0; i < n; i++)
			d[i] = s[i];
	return d + n;
}
#endif
