/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "server/http_head.h"

static const struct {
	const char *name;
	uint8_t n;
	bool one;
} known[HTTP_H_COUNT] = {
#define ONE true
#define LIST false
#define HEADER(id, name, policy) [HTTP_H_##id] = { name, sizeof name - 1, policy },
	HTTP_HEADER_LIST(HEADER)
#undef HEADER
#undef ONE
#undef LIST
};

void http_bad(struct http_bad *b, int status, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	memset(b, 0, sizeof *b);
	b->status = status;
	b->code = code;
	va_start(ap, fmt);
	vsnprintf(b->text, sizeof b->text, fmt, ap);
	va_end(ap);
}

#define REFUSE(h, ...) (http_bad(&(h)->bad, __VA_ARGS__), HTTP_BAD)
#define MALFORMED(h, ...) REFUSE(h, 400, ERR_BADREQUEST, __VA_ARGS__)

/* RFC 9110 section 5.6.2 */
static bool token_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    (c > 0x20 && c < 0x7f && strchr("!#$%&'*+-.^_`|~", c));
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* Is p[0..n) the word, which is in lower case, in any case? */
static bool same(const uint8_t *p, size_t n, const char *word, size_t len)
{
	if (n != len)
		return false;
	for (size_t i = 0; i < n; i++)
		if (lower(p[i]) != (uint8_t)word[i])
			return false;
	return true;
}

static bool is(purser_bytes b, const char *word)
{
	return same(b.p, b.n, word, strlen(word));
}

static purser_bytes trim(purser_bytes b)
{
	while (b.n && (b.p[0] == ' ' || b.p[0] == '\t')) {
		b.p++;
		b.n--;
	}
	while (b.n && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t'))
		b.n--;
	return b;
}

void http_head_init(struct http_head *h, const struct http_limits *lim)
{
	memset(h, 0, sizeof *h);
	h->lim = lim;
}

/* ---- the request line ------------------------------------------------------------------------ */

static enum http_method method_of(const uint8_t *p, size_t n)
{
	static const char *const names[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i]) == n && memcmp(names[i], p, n) == 0)
			return (enum http_method)i;
	return HTTP_OTHER;
}

static enum http_result parse_version(struct http_head *h, const uint8_t *p, size_t n)
{
	if (n != 8 || memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' ||
	    p[7] < '0' || p[7] > '9')
		return MALFORMED(h, "the request line does not end in HTTP/1.1");
	if (p[5] != '1' || p[7] > '1')
		return REFUSE(h, 505, ERR_BADREQUEST, "HTTP/%c.%c is not spoken here: use HTTP/1.1", p[5],
		    p[7]);
	h->minor = p[7] == '1';
	return HTTP_DONE;
}

static enum http_result check_escapes(struct http_head *h, struct http_span s)
{
	const uint8_t *p = h->base + s.at;

	for (size_t i = 0; i < s.n; i++) {
		if (p[i] != '%')
			continue;
		if (s.n - i < 3 || hex_digit(p[i + 1]) < 0 || hex_digit(p[i + 2]) < 0)
			return MALFORMED(h, "a %% in the target is not followed by two hexadecimal digits: "
			    "write %%25 for the character itself");
	}
	return HTTP_DONE;
}

static enum http_result parse_target(struct http_head *h, size_t at, size_t n)
{
	const uint8_t *p = h->base + at, *q;

	for (size_t i = 0; i < n; i++)
		if (p[i] <= 0x20 || p[i] >= 0x7f || p[i] == '#')
			return MALFORMED(h, "the target has the byte 0x%02x: percent-encode it", p[i]);
	if (p[0] != '/')
		return MALFORMED(h, "the target must be a path that begins with '/': this is no proxy");
	h->target = (struct http_span){ (uint16_t)at, (uint16_t)n };
	h->path = h->target;
	q = memchr(p, '?', n);
	if (q) {
		h->has_query = true;
		h->path.n = (uint16_t)(q - p);
		h->query.at = (uint16_t)(at + h->path.n + 1);
		h->query.n = (uint16_t)(n - h->path.n - 1);
	}
	if (check_escapes(h, h->path) == HTTP_BAD)
		return HTTP_BAD;
	return check_escapes(h, h->query);
}

static enum http_result request_line(struct http_head *h, size_t at, size_t n)
{
	const uint8_t *p = h->base + at, *sp = memchr(p, ' ', n), *last;
	size_t m;

	if (!sp || sp == p)
		return MALFORMED(h, "the request line is not METHOD /path HTTP/1.1");
	m = (size_t)(sp - p);
	for (size_t i = 0; i < m; i++)
		if (!token_char(p[i]))
			return MALFORMED(h, "the method has the byte 0x%02x, which no method may have", p[i]);
	last = memchr(sp + 1, ' ', n - m - 1);
	if (!last || last == sp + 1 || memchr(last + 1, ' ', n - (size_t)(last + 1 - p)))
		return MALFORMED(h, "the request line is not METHOD /path HTTP/1.1 with single blanks");
	h->method_text = (struct http_span){ (uint16_t)at, (uint16_t)m };
	h->method = method_of(p, m);
	if (parse_version(h, last + 1, n - (size_t)(last + 1 - p)) == HTTP_BAD)
		return HTTP_BAD;
	return parse_target(h, at + m + 1, (size_t)(last - sp - 1));
}

/* ---- header lines ----------------------------------------------------------------------------- */

static enum http_result header_name(struct http_head *h, const uint8_t *p, size_t n, size_t *len)
{
	size_t i = 0;

	if (p[0] == ' ' || p[0] == '\t')
		return MALFORMED(h, "a header line begins with a blank: folded lines are not accepted");
	while (i < n && token_char(p[i]))
		i++;
	if (i == n)
		return MALFORMED(h, "a header line has no colon");
	if (p[i] == ':' && i == 0)
		return MALFORMED(h, "a header line has no name");
	if ((p[i] == ' ' || p[i] == '\t') && i)
		return MALFORMED(h, "there is a blank before the colon of a header line");
	if (p[i] != ':')
		return MALFORMED(h, "a header name has the byte 0x%02x, which no name may have", p[i]);
	*len = i;
	return HTTP_DONE;
}

static enum http_result header_line(struct http_head *h, size_t at, size_t n)
{
	const uint8_t *p = h->base + at;
	purser_bytes v;
	size_t m;

	if (header_name(h, p, n, &m) == HTTP_BAD)
		return HTTP_BAD;
	for (size_t i = m + 1; i < n; i++)
		if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
			return MALFORMED(h, "a header value has the control byte 0x%02x", p[i]);
	if (h->nlines >= h->lim->headers_max || h->nlines == HTTP_HEADERS_MAX)
		return REFUSE(h, 431, ERR_TOOBIG, "there are more than %u header lines",
		    h->lim->headers_max < HTTP_HEADERS_MAX ? h->lim->headers_max : HTTP_HEADERS_MAX);
	v = trim((purser_bytes){ p + m + 1, n - m - 1 });
	for (unsigned k = 0; k < HTTP_H_COUNT; k++) {
		if (!same(p, m, known[k].name, known[k].n))
			continue;
		if (h->known[k] && known[k].one)
			return MALFORMED(h, "there are two %s headers", known[k].name);
		if (!h->known[k])
			h->known[k] = (uint8_t)(h->nlines + 1);
	}
	h->line[h->nlines].name = (struct http_span){ (uint16_t)at, (uint16_t)m };
	h->line[h->nlines].value = (struct http_span){ (uint16_t)(v.p - h->base), (uint16_t)v.n };
	h->nlines++;
	return HTTP_DONE;
}

/* ---- the head as a whole ---------------------------------------------------------------------- */

static enum http_result check_host(struct http_head *h)
{
	purser_bytes v = http_head_value(h, HTTP_H_HOST);

	if (!v.p)
		return h->minor ? MALFORMED(h, "HTTP/1.1 requires a Host header (any name will do)") :
		    HTTP_DONE;
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= 0x20 || v.p[i] >= 0x7f || strchr("\"#/<>?@\\^`{|},", v.p[i]))
			return MALFORMED(h, "the Host header is no host name");
	return HTTP_DONE;
}

static enum http_result check_length(struct http_head *h)
{
	purser_bytes v = http_head_value(h, HTTP_H_CONTENT_LENGTH);
	uint64_t n = 0;

	if (!v.p)
		return HTTP_DONE;
	if (!v.n)
		return MALFORMED(h, "Content-Length is empty");
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return MALFORMED(h, "Content-Length is no number");
		if (n <= UINT64_MAX / 100)
			n = n * 10 + (uint64_t)(v.p[i] - '0');
	}
	if (n > h->lim->body_max)
		return REFUSE(h, 413, ERR_TOOBIG, "the body is larger than the limit of %llu bytes",
		    (unsigned long long)h->lim->body_max);
	h->length = n;
	return HTTP_DONE;
}

static enum http_result check_coding(struct http_head *h)
{
	purser_bytes v = http_head_value(h, HTTP_H_TRANSFER_ENCODING);

	if (!v.p)
		return HTTP_DONE;
	if (!h->minor)
		return MALFORMED(h, "HTTP/1.0 has no Transfer-Encoding");
	if (http_head_value(h, HTTP_H_CONTENT_LENGTH).p)
		return MALFORMED(h, "there are both Content-Length and Transfer-Encoding");
	if (!is(v, "chunked"))
		return REFUSE(h, 501, ERR_UNSUPPORTED, "the only Transfer-Encoding accepted is chunked");
	h->chunked = true;
	return HTTP_DONE;
}

/* Does a list header have the word among its elements? */
static bool list_has(const struct http_head *h, enum http_header id, const char *word)
{
	for (unsigned i = 0; i < h->nlines; i++) {
		purser_bytes name = http_head_span(h, h->line[i].name), v, part;
		const uint8_t *comma;

		if (!same(name.p, name.n, known[id].name, known[id].n))
			continue;
		v = http_head_span(h, h->line[i].value);
		do {
			comma = memchr(v.p, ',', v.n);
			part = (purser_bytes){ v.p, comma ? (size_t)(comma - v.p) : v.n };
			if (is(trim(part), word))
				return true;
			v.p += part.n + 1;
			v.n -= part.n + (comma ? 1 : 0);
		} while (comma);
	}
	return false;
}

static enum http_result finish(struct http_head *h)
{
	purser_bytes expect = http_head_value(h, HTTP_H_EXPECT);

	if (check_host(h) == HTTP_BAD || check_coding(h) == HTTP_BAD || check_length(h) == HTTP_BAD)
		return HTTP_BAD;
	if (expect.p && !is(expect, "100-continue"))
		return REFUSE(h, 417, ERR_BADREQUEST, "the only Expect that can be met is 100-continue");
	h->expect_continue = expect.p && h->minor;
	h->keep_alive = !list_has(h, HTTP_H_CONNECTION, "close") &&
	    (h->minor || list_has(h, HTTP_H_CONNECTION, "keep-alive"));
	return HTTP_DONE;
}

/* The limits, tested so that a line's fate is the same before and after its end has arrived:
 * `line` bytes without LF, `all` bytes with it. */
static enum http_result check_size(struct http_head *h, size_t line, size_t all)
{
	size_t head = h->lim->head_max < HTTP_HEAD_MAX ? h->lim->head_max : HTTP_HEAD_MAX;
	size_t first = h->lim->line_max < head - 4 ? h->lim->line_max : head - 4;

	if (!h->in_headers && line > first)
		return REFUSE(h, 414, ERR_TOOBIG, "the request line is longer than %zu bytes: long keys "
		    "and values go into the body of POST /v1/command", first);
	if (all > head)
		return REFUSE(h, 431, ERR_TOOBIG, "the header is larger than %zu bytes", head);
	return HTTP_DONE;
}

enum http_result http_head_feed(struct http_head *h, const uint8_t *p, size_t n)
{
	if (h->bad.status)
		return HTTP_BAD;
	h->base = p;
	for (;;) {
		const uint8_t *lf = n > h->scan ? memchr(p + h->scan, '\n', n - h->scan) : NULL;
		size_t at = h->start, len;
		enum http_result rc;

		if (!lf) {
			h->scan = n;
			return check_size(h, n - at, n) == HTTP_BAD ? HTTP_BAD : HTTP_MORE;
		}
		len = (size_t)(lf - p) - at;
		if (check_size(h, len, (size_t)(lf - p) + 1) == HTTP_BAD)
			return HTTP_BAD;
		if (!len || lf[-1] != '\r')
			return MALFORMED(h, "a line ends in LF alone: CR LF is required");
		len--;
		h->start = h->scan = (size_t)(lf - p) + 1;
		if (!len && h->in_headers) {
			h->len = h->start;
			return finish(h);
		}
		if (!len && !h->blank_seen) {
			h->blank_seen = true;
			continue;
		}
		rc = !len ? MALFORMED(h, "there is no request line") :
		    h->in_headers ? header_line(h, at, len) : request_line(h, at, len);
		if (rc == HTTP_BAD)
			return rc;
		h->in_headers = true;
	}
}

/* ---- reading ---------------------------------------------------------------------------------- */

purser_bytes http_head_value(const struct http_head *h, enum http_header id)
{
	if (!h->known[id])
		return (purser_bytes){ NULL, 0 };
	return http_head_span(h, h->line[h->known[id] - 1].value);
}

unsigned http_head_count(const struct http_head *h, enum http_header id)
{
	unsigned n = 0;

	for (unsigned i = 0; h->known[id] && i < h->nlines; i++) {
		purser_bytes name = http_head_span(h, h->line[i].name);

		n += same(name.p, name.n, known[id].name, known[id].n);
	}
	return n;
}

void http_head_join(const struct http_head *h, enum http_header id, struct buf *out)
{
	bool first = true;

	for (unsigned i = 0; h->known[id] && i < h->nlines; i++) {
		purser_bytes name = http_head_span(h, h->line[i].name), v;

		if (!same(name.p, name.n, known[id].name, known[id].n))
			continue;
		v = http_head_span(h, h->line[i].value);
		if (!first)
			buf_putc(out, ',');
		buf_put(out, v.p, v.n);
		first = false;
	}
}

purser_bytes http_head_find(const struct http_head *h, const char *name)
{
	for (unsigned i = 0; i < h->nlines; i++)
		if (is(http_head_span(h, h->line[i].name), name))
			return http_head_span(h, h->line[i].value);
	return (purser_bytes){ NULL, 0 };
}

size_t http_unescape(uint8_t *dst, const uint8_t *p, size_t n, bool form)
{
	uint8_t *d = dst;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '%' && n - i >= 3) {
			*d++ = (uint8_t)(hex_digit(p[i + 1]) << 4 | hex_digit(p[i + 2]));
			i += 2;
		} else {
			*d++ = form && p[i] == '+' ? ' ' : p[i];
		}
	}
	return (size_t)(d - dst);
}

bool http_query_next(purser_bytes *rest, purser_bytes *name, purser_bytes *value)
{
	const uint8_t *end, *eq;

	while (rest->n && rest->p[0] == '&') {
		rest->p++;
		rest->n--;
	}
	if (!rest->n)
		return false;
	end = memchr(rest->p, '&', rest->n);
	name->p = rest->p;
	name->n = end ? (size_t)(end - rest->p) : rest->n;
	rest->p += name->n;
	rest->n -= name->n;
	eq = memchr(name->p, '=', name->n);
	*value = (purser_bytes){ NULL, 0 };
	if (eq) {
		value->p = eq + 1;
		value->n = name->n - (size_t)(eq + 1 - name->p);
		name->n = (size_t)(eq - name->p);
	}
	return true;
}
