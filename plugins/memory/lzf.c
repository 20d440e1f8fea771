/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "lzf.h"

int lzf_read(const uint8_t *from, size_t n, uint8_t *to, size_t size)
{
	const uint8_t *end = from + n;
	size_t at = 0;

	while (from < end) {
		size_t len = *from >> 5, back = (size_t)(*from & 31) << 8;

		if (len == 0) { /* so many bytes as they are */
			len = (size_t)*from++ + 1;
			if (len > (size_t)(end - from) || len > size - at)
				return -1;
			memcpy(to + at, from, len);
			from += len;
			at += len;
			continue;
		}
		from++;
		if (len == 7) {
			if (from == end)
				return -1;
			len += *from++;
		}
		if (from == end)
			return -1;
		back |= *from++;
		len += 2;
		if (back >= at || len > size - at)
			return -1;
		for (back = at - back - 1; len > 0; len--) /* it may run into what it writes */
			to[at++] = to[back++];
	}
	return at == size ? 0 : -1;
}
