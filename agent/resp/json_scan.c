/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "resp/json_scan.h"
#include "resp/json_text.h"

static int bad(struct json_scan *s, const uint8_t *at, const char *error)
{
	s->at = at;
	s->error = error;
	return -1;
}

uint8_t jscan_peek(struct json_scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
		s->p++;
	return s->p < s->end ? *s->p : 0;
}

static size_t digits(const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] >= '0' && p[i] <= '9')
		i++;
	return i;
}

size_t jscan_number(const uint8_t *p, size_t n)
{
	size_t i = n && p[0] == '-' ? 1 : 0, some = digits(p + i, n - i);

	if (!some)
		return 0;
	i += p[i] == '0' ? 1 : some;
	if (i < n && p[i] == '.') {
		some = digits(p + i + 1, n - i - 1);
		if (!some)
			return 0;
		i += 1 + some;
	}
	if (i < n && (p[i] | 0x20) == 'e') {
		size_t sign = i + 1 < n && (p[i + 1] == '+' || p[i + 1] == '-');

		some = digits(p + i + 1 + sign, n - i - 1 - sign);
		if (!some)
			return 0;
		i += 1 + sign + some;
	}
	return i;
}

/* ---- strings ------------------------------------------------------------------------------------ */

/* The four hexadecimal digits at p, or -1. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
	int32_t v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		uint8_t c = p[i], l = c | 0x20;

		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if (l >= 'a' && l <= 'f')
			v = v << 4 | (l - 'a' + 10);
		else
			return -1;
	}
	return v;
}

static size_t put_utf8(uint8_t *d, uint32_t c)
{
	if (c < 0x80) {
		d[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		d[0] = (uint8_t)(0xc0 | c >> 6);
		d[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		d[0] = (uint8_t)(0xe0 | c >> 12);
		d[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		d[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	d[0] = (uint8_t)(0xf0 | c >> 18);
	d[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	d[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	d[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

/* \uXXXX at p, perhaps the first half of a pair: bytes of text used (0: wrong), the character in *c. */
static size_t unicode_escape(const uint8_t *p, const uint8_t *end, uint32_t *c)
{
	int32_t high = hex4(p + 2, end), low;

	if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
		return 0;
	*c = (uint32_t)high;
	if (high < 0xd800 || high > 0xdbff)
		return 6;
	if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0;
	low = hex4(p + 8, end);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*c = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
	return 12;
}

/* The escape at p (a backslash): bytes of text used, 0: wrong; decoded at tmp, *n bytes. */
static size_t escape(const uint8_t *p, const uint8_t *end, uint8_t tmp[4], size_t *n)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *k;
	uint32_t c;
	size_t used;

	if (end - p < 2 || !p[1])
		return 0;
	k = strchr(from, p[1]);
	if (k) {
		tmp[0] = (uint8_t)to[k - from];
		*n = 1;
		return 2;
	}
	if (p[1] != 'u')
		return 0;
	used = unicode_escape(p, end, &c);
	if (used)
		*n = put_utf8(tmp, c);
	return used;
}

int jscan_string(struct json_scan *s, uint8_t *dst, size_t *n)
{
	const uint8_t *p, *end = s->end;
	size_t total = 0;

	if (jscan_peek(s) != '"')
		return bad(s, s->p, "a string is expected");
	for (p = s->p + 1; p < end && *p != '"';) {
		uint8_t tmp[4];
		const uint8_t *from = p;
		size_t len, used;

		while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
			p++;
		used = len = (size_t)(p - from);
		if (!used && *p == '\\') {
			used = escape(p, end, tmp, &len);
			if (!used)
				return bad(s, p, "the escape is wrong");
			from = tmp;
			p += used;
		} else if (!used) {
			used = len = utf8_sequence(p, (size_t)(end - p));
			if (*p < 0x20)
				return bad(s, p, "a string has a control byte: escape it");
			if (!used)
				return bad(s, p, "a string is not UTF-8: bytes go into {\"base64\": \"...\"}");
			p += used;
		}
		if (dst)
			memcpy(dst + total, from, len);
		total += len;
	}
	if (p == end)
		return bad(s, s->p, "the string has no end");
	s->p = p + 1;
	if (n)
		*n = total;
	return 0;
}

/* ---- values ------------------------------------------------------------------------------------- */

int jscan_next(struct json_scan *s, uint8_t close, bool *first, bool *more)
{
	uint8_t c = jscan_peek(s);

	if (c == close) {
		s->p++;
		*more = false;
		return 0;
	}
	if (!*first) {
		if (c != ',')
			return bad(s, s->p, close == ']' ? "',' or ']' is expected" : "',' or '}' is expected");
		s->p++;
		c = jscan_peek(s);
	}
	*first = false;
	*more = true;
	if (close == '}' && c != '"')
		return bad(s, s->p, "a name in quotes is expected");
	return 0;
}

int jscan_colon(struct json_scan *s)
{
	if (jscan_peek(s) != ':')
		return bad(s, s->p, "':' is expected");
	s->p++;
	jscan_peek(s);
	return 0;
}

static int word(struct json_scan *s, const char *w)
{
	size_t n = strlen(w);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, w, n) != 0)
		return bad(s, s->p, "a value is expected");
	s->p += n;
	return 0;
}

static int skip(struct json_scan *s, unsigned depth);

static int skip_aggregate(struct json_scan *s, uint8_t close, unsigned depth)
{
	bool first = true, more;

	if (depth == JSON_SCAN_DEPTH)
		return bad(s, s->p, "the text is nested too deeply");
	s->p++;
	for (;;) {
		if (jscan_next(s, close, &first, &more))
			return -1;
		if (!more)
			return 0;
		if (close == '}' && (jscan_string(s, NULL, NULL) || jscan_colon(s)))
			return -1;
		if (skip(s, depth + 1))
			return -1;
	}
}

static int skip(struct json_scan *s, unsigned depth)
{
	uint8_t c = jscan_peek(s);
	size_t n;

	switch (c) {
	case '"':
		return jscan_string(s, NULL, NULL);
	case '[':
		return skip_aggregate(s, ']', depth);
	case '{':
		return skip_aggregate(s, '}', depth);
	case 't':
		return word(s, "true");
	case 'f':
		return word(s, "false");
	case 'n':
		return word(s, "null");
	}
	n = jscan_number(s->p, (size_t)(s->end - s->p));
	if (!n)
		return bad(s, s->p, "a value is expected");
	s->p += n;
	return 0;
}

int jscan_skip(struct json_scan *s)
{
	return skip(s, 0);
}

int jscan_end(struct json_scan *s)
{
	jscan_peek(s);
	return s->p == s->end ? 0 : bad(s, s->p, "nothing may follow the document");
}
