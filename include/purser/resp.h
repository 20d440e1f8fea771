/* SPDX-License-Identifier: Apache-2.0
 *
 * purser/resp.h -- finding the end of a RESP2/RESP3 value in a stream of bytes without building
 * objects.  Header-only, C99; used by the agent's filters and by plugins that speak RESP.
 *
 * A scanner counts values that are still to come (`need`) and payload bytes that are still to pass
 * (`skip`); nesting needs no stack.  An incomplete header line is not consumed: feed it again with
 * more bytes behind it.  It is strict: lengths and integers are digits, lines end in CR LF and hold
 * neither of the two, payloads end in CR LF, and with version 2 no type of RESP3 passes.
 */
#ifndef PURSER_RESP_H
#define PURSER_RESP_H 1
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PURSER_RESP_LINE_MAX 65536u            /* a header line or simple string, without CRLF */
#define PURSER_RESP_BULK_MAX (UINT64_C(512) << 20) /* proto-max-bulk-len of Redis */
#define PURSER_RESP_NEED_MAX (UINT64_C(1) << 40)

typedef struct purser_scan {
	uint64_t need; /* values still to come; 0: the value is complete (if skip is 0 too) */
	uint64_t skip; /* bytes of a bulk payload and its CRLF still to pass */
	uint32_t version; /* 2: only the types of RESP2; else all */
	uint32_t nulls;   /* null bulk strings and nulls that have passed */
} purser_scan;

/* Begin a value in RESP `version` (2, 3; 0 = any).  PUSH frames count as ordinary values here and an
 * attribute belongs to the value that follows it: look at the first byte. */
static inline void purser_scan_begin_as(purser_scan *s, uint32_t version)
{
	s->need = 1;
	s->skip = 0;
	s->version = version;
	s->nulls = 0;
}

static inline void purser_scan_begin(purser_scan *s) { purser_scan_begin_as(s, 0); }
static inline int purser_scan_done(const purser_scan *s) { return s->need == 0 && s->skip == 0; }

/* The integer of a header line p[0..n): sign, 1-19 digits, nothing else.  0, or -1. */
static inline int purser_resp_int(const uint8_t *p, size_t n, int64_t *out)
{
	uint64_t v = 0;
	size_t i = 0;
	int neg = 0;

	if (n > 0 && (p[0] == '-' || p[0] == '+')) {
		neg = p[0] == '-';
		i = 1;
	}
	if (i == n || n - i > 19)
		return -1;
	for (; i < n; i++) {
		unsigned d = (unsigned)p[i] - '0';
		if (d > 9)
			return -1;
		v = v * 10 + d;
	}
	if (v > (uint64_t)INT64_MAX + (uint64_t)neg)
		return -1;
	*out = neg ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

/* A number line "<type><digits>CRLF" at p[0..n), n >= 1: its length with CRLF, 0: more bytes are
 * needed, -1: not a number.  Short ones are the rule, so no call is made for them. */
static inline int64_t purser_scan_number(const uint8_t *p, size_t n, int64_t *out)
{
	size_t i = 1;
	uint64_t v = 0;

	while (i < n && i < 12 && (unsigned)p[i] - '0' <= 9)
		v = v * 10 + ((unsigned)p[i++] - '0');
	if (i == 1 || i == 12 || (i < n && p[i] != '\r')) { /* a sign, or many digits, or nonsense */
		while (i < n && i < 24 && p[i] != '\r')
			i++;
		if (i == 24)
			return -1;
		if (i == n) { /* what has come must be able to become a number */
			i = n > 1 && (p[1] == '-' || p[1] == '+') ? 2 : 1;
			while (i < n && (unsigned)p[i] - '0' <= 9)
				i++;
			return i == n ? 0 : -1;
		}
		if (purser_resp_int(p + 1, i - 1, out))
			return -1;
	} else {
		*out = (int64_t)v;
	}
	if (n - i < 2)
		return 0;
	return p[i + 1] == '\n' ? (int64_t)i + 2 : -1;
}

/* A text line "<type>...CRLF": its length with CRLF, 0: more bytes are needed, -1: not a line. */
static inline int64_t purser_scan_line(const uint8_t *p, size_t n)
{
	size_t i = 1;

	while (i < n && p[i] != '\r' && p[i] != '\n')
		i++;
	if (i > PURSER_RESP_LINE_MAX + 1 || (i < n && p[i] == '\n'))
		return -1;
	if (n - i < 2)
		return 0;
	return p[i + 1] == '\n' ? (int64_t)i + 2 : -1;
}

/* The types that only RESP3 has, scalar: "_CRLF", "#tCRLF", ",1.5CRLF", "(123CRLF".  As above. */
static inline int64_t purser_scan_scalar3(const uint8_t *p, size_t n)
{
	int64_t len = purser_scan_line(p, n), i;

	if (len <= 0)
		return len;
	switch (p[0]) {
	case '_':
		return len == 3 ? len : -1;
	case '#':
		return len == 4 && (p[1] == 't' || p[1] == 'f') ? len : -1;
	case ',':
		if (len < 4)
			return -1;
		for (i = 1; i < len - 2; i++)
			if ((unsigned)p[i] - '0' > 9 && !memchr("+-.eEinfaINFA", p[i], 13))
				return -1;
		return len;
	default:
		i = p[1] == '-' || p[1] == '+' ? 2 : 1;
		if (len - 2 == i)
			return -1;
		for (; i < len - 2; i++)
			if ((unsigned)p[i] - '0' > 9)
				return -1;
		return len;
	}
}

/* One header line at p[0..n), n >= 1.  As purser_scan_line(); s is changed only if it is > 0. */
static inline int64_t purser_scan_header(purser_scan *s, const uint8_t *p, size_t n)
{
	uint64_t many = 1;
	int64_t len, v;

	switch (p[0]) {
	case '$':
		len = purser_scan_number(p, n, &v);
		if (len <= 0)
			return len;
		if (v < -1 || v > (int64_t)PURSER_RESP_BULK_MAX || p[1] == '+')
			return -1;
		s->need--;
		s->skip = v < 0 ? 0 : (uint64_t)v + 2;
		s->nulls += v < 0;
		return len;
	case ':':
		len = purser_scan_number(p, n, &v);
		s->need -= len > 0;
		return len;
	case '+': case '-':
		len = purser_scan_line(p, n);
		s->need -= len > 0;
		return len;
	case '_': case '#': case ',': case '(':
		if (s->version == 2)
			return -1;
		len = purser_scan_scalar3(p, n);
		s->need -= len > 0;
		s->nulls += len > 0 && p[0] == '_';
		return len;
	case '=': case '!':
		if (s->version == 2)
			return -1;
		len = purser_scan_number(p, n, &v);
		if (len <= 0)
			return len;
		if (v < 0 || v > (int64_t)PURSER_RESP_BULK_MAX || p[1] == '+')
			return -1;
		s->need--;
		s->skip = (uint64_t)v + 2;
		return len;
	case '%': case '|':
		many = 2;
		/* fall through */
	case '~': case '>':
		if (s->version == 2)
			return -1;
		/* fall through */
	case '*':
		len = purser_scan_number(p, n, &v);
		if (len <= 0)
			return len;
		if (v < (p[0] == '*' ? -1 : 0) || v > (INT64_C(1) << 32) || p[1] == '+')
			return -1;
		if (s->need + (v > 0 ? (uint64_t)v * many : 0) > PURSER_RESP_NEED_MAX)
			return -1;
		s->need -= p[0] != '|'; /* an attribute is not a value: the one it describes follows */
		s->need += v > 0 ? (uint64_t)v * many : 0;
		return len;
	default:
		return -1;
	}
}

/* The commonest element, a bulk of up to 999 bytes that is all here: its length with all that belongs to
 * it, or 0: it is something else, or not all here, or wrong. */
static inline size_t purser_scan_bulk(const uint8_t *p, size_t n)
{
	size_t v, i = 2;

	if (n < 8 || p[0] != '$' || (v = (size_t)p[1] - '0') > 9)
		return 0;
	while (i < 4 && (unsigned)p[i] - '0' <= 9)
		v = v * 10 + ((unsigned)p[i++] - '0');
	if (p[i] != '\r' || p[i + 1] != '\n' || n - i < v + 4)
		return 0;
	i += v + 4;
	return p[i - 2] == '\r' && p[i - 1] == '\n' ? i : 0;
}

/* Bytes consumed of p[0..n) (0: more are needed), or -1: not RESP.  Stops at the value's end. */
static inline int64_t purser_scan_feed(purser_scan *s, const uint8_t *p, size_t n)
{
	size_t at = 0, bulk;

	for (;;) {
		int64_t len;

		if (s->skip) {
			/* The last two of skip are CR LF and are checked when both are here. */
			size_t left = n - at;

			if (s->skip > left) {
				size_t pass = s->skip - left >= 2 ? left : (s->skip > 2 ? (size_t)(s->skip - 2) : 0);
				s->skip -= pass;
				return (int64_t)(at + pass);
			}
			at += (size_t)s->skip;
			if (p[at - 2] != '\r' || p[at - 1] != '\n')
				return -1;
			s->skip = 0;
		}
		while (s->need && (bulk = purser_scan_bulk(p + at, n - at))) {
			s->need--;
			at += bulk;
		}
		if (s->need == 0 || at == n)
			return (int64_t)at;
		len = purser_scan_header(s, p + at, n - at);
		if (len < 0)
			return -1;
		if (len == 0)
			return (int64_t)at;
		at += (size_t)len;
	}
}
#endif
