/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "resp/parse.h"

void resp_parser_free(struct resp_parser *ps)
{
	free(ps->argv);
	memset(ps, 0, sizeof *ps);
	ps->bulk = -1;
}

void resp_parser_reset(struct resp_parser *ps)
{
	ps->argc = ps->have = 0;
	ps->pos = 0;
	ps->bytes = 0;
	ps->bulk = -1;
	ps->base = NULL;
}

static int argv_room(struct resp_parser *ps, uint32_t n)
{
	purser_bytes *v;
	uint32_t cap = ps->cap ? ps->cap : 8;

	if (n <= ps->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	v = realloc(ps->argv, cap * sizeof *v);
	if (!v)
		return -1;
	ps->argv = v;
	ps->cap = cap;
	return 0;
}

static enum resp_result bad(struct resp_parser *ps, const char *why)
{
	ps->error = why;
	return RESP_BAD;
}

static enum resp_result big(struct resp_parser *ps, const char *what, uint64_t limit)
{
	snprintf(ps->text, sizeof ps->text, "%s is over the limit of %llu", what,
	    (unsigned long long)limit);
	ps->error = ps->text;
	return RESP_BIG;
}

static int hex(uint8_t c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* One quoted or bare word of an inline command, unescaped in place at *w.  Returns the end of the
 * input used, or NULL for unbalanced quotes. */
static uint8_t *inline_word(uint8_t *s, uint8_t *end, uint8_t **w)
{
	uint8_t *d = *w;
	int quote = 0;

	for (; s < end; s++) {
		if (quote == '"' && *s == '\\' && s + 3 < end && s[1] == 'x' && isxdigit(s[2]) &&
		    isxdigit(s[3])) {
			*d++ = (uint8_t)(hex(s[2]) << 4 | hex(s[3]));
			s += 3;
		} else if (quote == '"' && *s == '\\' && s + 1 < end) {
			static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
			const char *k = strchr(from, *++s);

			*d++ = k && *s ? (uint8_t)to[k - from] : *s;
		} else if (quote == '\'' && *s == '\\' && s + 1 < end && s[1] == '\'') {
			*d++ = *++s;
		} else if (quote && *s == quote) {
			if (s + 1 < end && !isspace(s[1]))
				return NULL;
			*w = d;
			return s + 1;
		} else if (!quote && isspace(*s)) {
			break;
		} else if (!quote && (*s == '"' || *s == '\'')) {
			quote = *s;
		} else {
			*d++ = *s;
		}
	}
	*w = d;
	return quote ? NULL : s;
}

static enum resp_result parse_inline(struct resp_parser *ps, const struct resp_limits *lim,
    uint8_t *p, size_t n)
{
	uint8_t *nl = memchr(p, '\n', n), *s = p, *end;

	if (!nl)
		return n > lim->max_inline ? bad(ps, "Protocol error: too big inline request") : RESP_MORE;
	if ((size_t)(nl - p) > lim->max_inline)
		return bad(ps, "Protocol error: too big inline request");
	end = nl > p && nl[-1] == '\r' ? nl - 1 : nl;
	ps->pos = (size_t)(nl - p) + 1;
	ps->argc = 0;
	while (s < end) {
		uint8_t *w = s, *from = s;

		if (isspace(*s) || *s == '\0') {
			s++;
			continue;
		}
		if (argv_room(ps, ps->argc + 1))
			return big(ps, "the request", 0);
		s = inline_word(s, end, &w);
		if (!s)
			return bad(ps, "Protocol error: unbalanced quotes in request");
		ps->argv[ps->argc].p = from;
		ps->argv[ps->argc++].n = (size_t)(w - from);
	}
	ps->have = ps->argc;
	return ps->argc ? RESP_OK : RESP_EMPTY;
}

/* The integer of the header line at p (behind its type byte), up to CR LF.
 * Returns the line's length with CR LF; 0: incomplete; -1: not an integer; -2: too long. */
static int header_slow(const uint8_t *p, size_t n, int64_t *v)
{
	const uint8_t *cr = memchr(p, '\r', n < 64 ? n : 64);

	if (!cr)
		return n >= 64 ? -2 : 0;
	if (cr + 1 == p + n)
		return 0;
	if (cr[1] != '\n' || purser_resp_int(p + 1, (size_t)(cr - p) - 1, v))
		return -1;
	return (int)(cr - p) + 2;
}

static inline bool crlf(const uint8_t *p)
{
	return memcmp(p, "\r\n", 2) == 0;
}

/* The common case: one or two digits. */
static inline int header(const uint8_t *p, size_t n, int64_t *v)
{
	unsigned a, b;

	if (__builtin_expect(n < 5, 0))
		return header_slow(p, n, v);
	a = (unsigned)p[1] - '0';
	if (crlf(p + 2) && a <= 9) {
		*v = a;
		return 4;
	}
	b = (unsigned)p[2] - '0';
	if (crlf(p + 3) && a <= 9 && b <= 9) {
		*v = a * 10 + b;
		return 5;
	}
	return header_slow(p, n, v);
}

static void rebase(struct resp_parser *ps, const uint8_t *p)
{
	if (ps->base && ps->base != p)
		for (uint32_t i = 0; i < ps->have; i++)
			ps->argv[i].p = p + (ps->argv[i].p - ps->base);
	ps->base = p;
}

static enum resp_result not_a_bulk(struct resp_parser *ps, uint8_t c)
{
	snprintf(ps->text, sizeof ps->text, "Protocol error: expected '$', got '%c'", isprint(c) ? c : '?');
	return bad(ps, ps->text);
}

static enum resp_result check_bulk(struct resp_parser *ps, const struct resp_limits *lim, int h, int64_t v)
{
	if (h < 0)
		return bad(ps, h == -2 ? "Protocol error: too big bulk count string" :
		    "Protocol error: invalid bulk length");
	if (v < 0 || (uint64_t)v > PURSER_RESP_BULK_MAX)
		return bad(ps, "Protocol error: invalid bulk length");
	if ((uint64_t)v > lim->max_bulk)
		return big(ps, "an argument", lim->max_bulk);
	if (ps->bytes > lim->max_request)
		return big(ps, "the request", lim->max_request);
	return RESP_OK;
}

/* Arguments of up to 99 bytes that are all here, which most are: nothing else is looked at. */
static void parse_short(struct resp_parser *ps, const struct resp_limits *lim, const uint8_t *p, size_t n)
{
	const uint8_t *s = p + ps->pos, *end = p + n;
	uint32_t have = ps->have, to = ps->argc < ps->cap ? ps->argc : ps->cap;
	uint64_t bytes = ps->bytes;

	if (ps->bulk >= 0 || lim->max_bulk < 99)
		return;
	for (; have < to; have++) {
		const uint8_t *q = s + 4;
		unsigned len, next;

		if (end - s < 6 || s[0] != '$')
			break;
		len = (unsigned)s[1] - '0';
		if (!crlf(s + 2)) {
			next = (unsigned)s[2] - '0';
			if (len > 9 || next > 9 || !crlf(s + 3))
				break;
			len = len * 10 + next;
			q++;
		} else if (len > 9) {
			break;
		}
		if ((size_t)(end - q) < len + 2u || !crlf(q + len) || bytes + len > lim->max_request)
			break;
		bytes += len;
		ps->argv[have] = (purser_bytes){ q, len };
		s = q + len + 2;
	}
	ps->have = have;
	ps->bytes = bytes;
	ps->pos = (size_t)(s - p);
}

/* Arguments from ps->pos on.  What is parsed of an incomplete request stays in ps. */
static enum resp_result parse_bulks(struct resp_parser *ps, const struct resp_limits *lim,
    const uint8_t *p, size_t n)
{
	uint64_t max = lim->max_bulk < PURSER_RESP_BULK_MAX ? lim->max_bulk : PURSER_RESP_BULK_MAX;
	uint64_t bytes = ps->bytes;
	size_t pos = ps->pos;
	uint32_t have = ps->have;
	int64_t len = ps->bulk;
	enum resp_result rc = RESP_OK;

	for (; have < ps->argc; have++) {
		if (len < 0) {
			int h;

			if (pos == n)
				break;
			if (p[pos] != '$')
				return not_a_bulk(ps, p[pos]);
			h = header(p + pos, n - pos, &len);
			if (h == 0) {
				len = -1;
				break;
			}
			bytes += (uint64_t)len;
			if (h < 0 || (uint64_t)len > max || bytes > lim->max_request) {
				ps->bytes = bytes;
				return check_bulk(ps, lim, h, len);
			}
			pos += (size_t)h;
		}
		if (n - pos < (size_t)len + 2)
			break;
		if (!crlf(p + pos + (size_t)len))
			return bad(ps, "Protocol error: expected CR LF behind a bulk");
		if (have == ps->cap && argv_room(ps, have + 1))
			return big(ps, "the request", 0);
		ps->argv[have] = (purser_bytes){ p + pos, (size_t)len };
		pos += (size_t)len + 2;
		len = -1;
	}
	rc = have < ps->argc ? RESP_MORE : RESP_OK;
	ps->bytes = bytes;
	ps->pos = pos;
	ps->have = have;
	ps->bulk = len;
	return rc;
}

/* The line "*N" at p: RESP_OK, and ps->pos is behind it, if arguments follow. */
static inline __attribute__((always_inline)) enum resp_result parse_count(struct resp_parser *ps, const struct resp_limits *lim,
    const uint8_t *p, size_t n)
{
	int64_t v;
	int h = header(p, n, &v);

	if (h == 0)
		return RESP_MORE;
	if (h < 0)
		return bad(ps, h == -2 ? "Protocol error: too big mbulk count string" :
		    "Protocol error: invalid multibulk length");
	if (v > INT32_MAX)
		return bad(ps, "Protocol error: invalid multibulk length");
	if (v > (int64_t)lim->max_args)
		return big(ps, "the number of arguments", lim->max_args);
	ps->pos = (size_t)h;
	ps->have = 0;
	ps->bytes = 0;
	ps->bulk = -1;
	if (v <= 0)
		return RESP_EMPTY;
	ps->argc = (uint32_t)v;
	return RESP_OK;
}

enum resp_result resp_parse(struct resp_parser *ps, const struct resp_limits *lim, uint8_t *p,
    size_t n)
{
	enum resp_result rc;

	if (!n)
		return RESP_MORE;
	if (ps->pos == 0) {
		if (p[0] != '*')
			return parse_inline(ps, lim, p, n);
		rc = parse_count(ps, lim, p, n);
		if (rc != RESP_OK)
			return rc;
	}
	rebase(ps, p);
	parse_short(ps, lim, p, n);
	return ps->have == ps->argc ? RESP_OK : parse_bulks(ps, lim, p, n);
}

size_t resp_missing(const struct resp_parser *ps, size_t n)
{
	size_t want;

	if (ps->bulk < 0)
		return 1;
	want = ps->pos + (size_t)ps->bulk + 2;
	return want > n ? want - n : 1;
}

/* ---- passing through ---- */

void resp_stream_begin(struct resp_stream *s, const struct resp_limits *lim)
{
	memset(s, 0, sizeof *s);
	s->lim = *lim;
	s->ps.bulk = -1;
}

static void stream_head(struct resp_stream *s, char type, uint64_t v)
{
	s->head_at = 0;
	s->head_n = (uint32_t)snprintf((char *)s->head, sizeof s->head, "%c%llu\r\n", type,
	    (unsigned long long)v);
}

/* The header line at p, n >= 1: *used bytes, and what goes out for it is in head. */
static enum resp_result stream_line(struct resp_stream *s, const uint8_t *p, size_t n, size_t *used)
{
	struct resp_parser *ps = &s->ps;
	enum resp_result rc;
	int64_t len;
	int h;

	*used = 0;
	if (ps->pos == 0) {
		rc = p[0] == '*' ? parse_count(ps, &s->lim, p, n) : bad(ps, "Protocol error: expected '*'");
		if (rc == RESP_OK) {
			*used = ps->pos;
			stream_head(s, '*', ps->argc);
		}
		return rc;
	}
	if (p[0] != '$')
		return not_a_bulk(ps, p[0]);
	h = header(p, n, &len);
	if (h == 0)
		return RESP_MORE;
	ps->bytes += h > 0 ? (uint64_t)len : 0;
	rc = check_bulk(ps, &s->lim, h, len);
	if (rc != RESP_OK)
		return rc;
	*used = (size_t)h;
	s->left = (uint64_t)len + 2;
	if (s->key < s->nkeys && s->keys[s->key] == ps->have) {
		s->key++;
		stream_head(s, '$', (uint64_t)len + s->prefix_len);
		if (s->prefix_len)
			memcpy(s->head + s->head_n, s->prefix, s->prefix_len);
		s->head_n += s->prefix_len;
	} else {
		stream_head(s, '$', (uint64_t)len);
	}
	return RESP_OK;
}

static size_t least(uint64_t a, size_t b, size_t c)
{
	size_t m = b < c ? b : c;

	return a < m ? (size_t)a : m;
}

/* The next bytes of an argument, or of the CR LF behind it; -1: it is something else. */
static int64_t stream_bytes(struct resp_stream *s, const uint8_t *p, size_t n, uint8_t *dst, size_t cap)
{
	size_t k = least(s->left > 2 ? s->left - 2 : 1, n, cap);

	if (k && s->left <= 2 && p[0] != (s->left == 2 ? '\r' : '\n'))
		return -1;
	if (k && dst)
		memcpy(dst, p, k);
	s->left -= k;
	s->ps.have += k && s->left == 0;
	return (int64_t)k;
}

enum resp_result resp_stream_pass(struct resp_stream *s, const uint8_t *p, size_t n, size_t *used,
    uint8_t *dst, size_t cap, size_t *out)
{
	enum resp_result rc = RESP_MORE;
	size_t k;

	*used = *out = 0;
	if (!n)
		p = (const uint8_t *)"";
	for (;;) {
		if (s->head_at < s->head_n) {
			k = least(s->head_n - s->head_at, cap - *out, SIZE_MAX);
			if (k && dst)
				memcpy(dst + *out, s->head + s->head_at, k);
			s->head_at += (uint32_t)k;
			*out += k;
			if (s->head_at < s->head_n)
				return RESP_MORE;
		}
		if (s->left) {
			int64_t moved = stream_bytes(s, p + *used, n - *used, dst ? dst + *out : NULL, cap - *out);

			if (moved < 0)
				return bad(&s->ps, "Protocol error: expected CR LF behind a bulk");
			if (!moved)
				return RESP_MORE;
			*used += (size_t)moved;
			*out += (size_t)moved;
			continue;
		}
		if (s->ps.pos && s->ps.have == s->ps.argc)
			return RESP_OK;
		if (*used == n)
			return RESP_MORE;
		rc = stream_line(s, p + *used, n - *used, &k);
		if (rc != RESP_OK)
			return rc;
		*used += k;
	}
}
