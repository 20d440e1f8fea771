/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"

void buf_free(struct buf *b)
{
	size_t max = b->max;

	free(b->p);
	memset(b, 0, sizeof *b);
	b->max = max;
}

int buf_room(struct buf *b, size_t n)
{
	size_t len = buf_len(b), max = b->max ? b->max : SIZE_MAX / 2, cap;
	uint8_t *p;

	if (b->failed)
		return -1;
	if (n <= b->cap - b->end)
		return 0;
	if (n > max || len > max - n)
		goto fail;
	/* Moving down is worth it only when the front half is free; else it would be quadratic. */
	if (b->at >= b->cap / 2 && len + n <= b->cap) {
		memmove(b->p, b->p + b->at, len);
		b->at = 0;
		b->end = len;
		return 0;
	}
	cap = b->cap ? b->cap : 64;
	while (cap < len + n)
		cap *= 2;
	if (cap > max && len + n <= max)
		cap = max;
	if (b->at) {
		p = malloc(cap);
		if (!p)
			goto fail;
		if (len)
			memcpy(p, b->p + b->at, len);
		free(b->p);
		b->at = 0;
		b->end = len;
	} else {
		p = realloc(b->p, cap);
		if (!p)
			goto fail;
	}
	b->p = p;
	b->cap = cap;
	return 0;
fail:
	b->failed = true;
	return -1;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
	if (n && buf_room(b, n) == 0) {
		memcpy(b->p + b->end, p, n);
		b->end += n;
	}
}

void buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
	buf_put(b, &c, 1);
}

size_t dec_u64(char *dst, uint64_t v)
{
	static const char pairs[] =
	    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
	    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
	    "8081828384858687888990919293949596979899";
	char tmp[20];
	size_t i = sizeof tmp, n;

	while (v >= 100) {
		unsigned r = (unsigned)(v % 100);
		v /= 100;
		i -= 2;
		memcpy(tmp + i, pairs + 2 * r, 2);
	}
	if (v >= 10) {
		i -= 2;
		memcpy(tmp + i, pairs + 2 * v, 2);
	} else {
		tmp[--i] = (char)('0' + v);
	}
	n = sizeof tmp - i;
	memcpy(dst, tmp + i, n);
	return n;
}

size_t dec_i64(char *dst, int64_t v)
{
	if (v >= 0)
		return dec_u64(dst, (uint64_t)v);
	dst[0] = '-';
	return 1 + dec_u64(dst + 1, 0 - (uint64_t)v);
}

void buf_putu(struct buf *b, uint64_t v)
{
	char tmp[20];

	buf_put(b, tmp, dec_u64(tmp, v));
}

void buf_puti(struct buf *b, int64_t v)
{
	char tmp[21];

	buf_put(b, tmp, dec_i64(tmp, v));
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0 && buf_room(b, (size_t)n + 1) == 0) {
		vsnprintf((char *)b->p + b->end, (size_t)n + 1, fmt, again);
		b->end += (size_t)n;
	} else {
		b->failed = true;
	}
	va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

const char *buf_cstr(struct buf *b)
{
	if (buf_room(b, 1))
		return "";
	b->p[b->end] = '\0';
	return (const char *)buf_data(b);
}
