/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include "resp/json_text.h"

size_t utf8_sequence(const uint8_t *p, size_t n)
{
	uint8_t c = p[0], low = 0x80, high = 0xbf;
	size_t len;

	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		len = 2;
	else if (c >= 0xe0 && c <= 0xef)
		len = 3;
	else if (c >= 0xf0 && c <= 0xf4)
		len = 4;
	else
		return 0;
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xf4)
		high = 0x8f;
	if (n < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* Bytes of plain ASCII that p[0..n) begins with, in steps of eight. */
static size_t ascii_run(const uint8_t *p, size_t n)
{
	size_t i = 0;
	uint64_t w;

	while (n - i >= 8) {
		memcpy(&w, p + i, 8);
		if (w & UINT64_C(0x8080808080808080))
			break;
		i += 8;
	}
	return i;
}

bool utf8_valid(const uint8_t *p, size_t n)
{
	size_t i = 0, len;

	while (i < n) {
		i += ascii_run(p + i, n - i);
		if (i == n)
			break;
		len = utf8_sequence(p + i, n - i);
		if (!len)
			return false;
		i += len;
	}
	return true;
}

/* The escaped form of c, or NULL where it stands for itself. */
static const char *escape(uint8_t c, char tmp[7])
{
	static const char hex[] = "0123456789abcdef";

	switch (c) {
	case '"': return "\\\"";
	case '\\': return "\\\\";
	case '\b': return "\\b";
	case '\f': return "\\f";
	case '\n': return "\\n";
	case '\r': return "\\r";
	case '\t': return "\\t";
	}
	if (c >= 0x20)
		return NULL;
	memcpy(tmp, "\\u00", 4);
	tmp[4] = hex[c >> 4];
	tmp[5] = hex[c & 15];
	tmp[6] = '\0';
	return tmp;
}

static void put_escaped(struct buf *out, const uint8_t *p, size_t n)
{
	size_t from = 0;
	char tmp[7];

	for (size_t i = 0; i < n; i++) {
		const char *e = p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' ? NULL : escape(p[i], tmp);

		if (!e)
			continue;
		buf_put(out, p + from, i - from);
		buf_puts(out, e);
		from = i + 1;
	}
	buf_put(out, p + from, n - from);
}

void json_put_string(struct buf *out, const void *p, size_t n)
{
	buf_putc(out, '"');
	put_escaped(out, p, n);
	buf_putc(out, '"');
}

void json_put_text(struct buf *out, const void *text, size_t n)
{
	const uint8_t *p = text;
	size_t i = 0, from = 0;

	buf_putc(out, '"');
	while (i < n) {
		size_t len = utf8_sequence(p + i, n - i);

		if (len) {
			i += len;
			continue;
		}
		put_escaped(out, p + from, i - from);
		buf_puts(out, "\xef\xbf\xbd");
		from = ++i;
	}
	put_escaped(out, p + from, n - from);
	buf_putc(out, '"');
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct buf *out, const uint8_t *p, size_t n)
{
	uint8_t *d;
	size_t i;

	if (n == 0 || n > SIZE_MAX / 2 || buf_room(out, (n + 2) / 3 * 4))
		return;
	d = out->p + out->end;
	for (i = 0; n - i >= 3; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];

		*d++ = (uint8_t)alphabet[v >> 18];
		*d++ = (uint8_t)alphabet[v >> 12 & 63];
		*d++ = (uint8_t)alphabet[v >> 6 & 63];
		*d++ = (uint8_t)alphabet[v & 63];
	}
	if (i < n) {
		uint32_t v = (uint32_t)p[i] << 16 | (n - i == 2 ? (uint32_t)p[i + 1] << 8 : 0);

		*d++ = (uint8_t)alphabet[v >> 18];
		*d++ = (uint8_t)alphabet[v >> 12 & 63];
		*d++ = n - i == 2 ? (uint8_t)alphabet[v >> 6 & 63] : '=';
		*d++ = '=';
	}
	out->end = (size_t)(d - out->p);
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int64_t base64_get(uint8_t *dst, const char *p, size_t n)
{
	size_t pad = n && p[n - 1] == '=' ? (n > 1 && p[n - 2] == '=' ? 2 : 1) : 0;
	uint8_t *d = dst;
	uint32_t v = 0;

	if (n % 4)
		return -1;
	for (size_t i = 0; i < n - pad; i++) {
		int x = digit(p[i]);

		if (x < 0)
			return -1;
		v = v << 6 | (uint32_t)x;
		if (i % 4 == 3) {
			*d++ = (uint8_t)(v >> 16);
			*d++ = (uint8_t)(v >> 8);
			*d++ = (uint8_t)v;
			v = 0;
		}
	}
	if (pad == 1) {
		if (v & 3)
			return -1;
		*d++ = (uint8_t)(v >> 10);
		*d++ = (uint8_t)(v >> 2);
	} else if (pad == 2) {
		if (v & 15)
			return -1;
		*d++ = (uint8_t)(v >> 4);
	}
	return d - dst;
}
