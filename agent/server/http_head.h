/* SPDX-License-Identifier: Apache-2.0
 *
 * server/http_head: a strict, incremental parser of the head of an HTTP/1.0 or 1.1 request (RFC
 * 9112).  In: bytes that begin at the request.  Out: offsets into them, no copies.  What smuggling,
 * splitting and guessing live on is refused, not repaired: docs/http.md has the table.  The verdict
 * depends on the bytes only, never on how they were split.  After HTTP_BAD the connection closes.
 */
#ifndef SERVER_HTTP_HEAD_H
#define SERVER_HTTP_HEAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "base/buf.h"
#include "base/errors.h"

#define HTTP_HEADERS_MAX 100u
#define HTTP_HEAD_MAX 65535u

struct http_limits {          /* bytes; the parser lowers them to the two bounds above */
	uint32_t line_max;        /* request line */
	uint32_t head_max;        /* request line and header lines */
	uint32_t headers_max;     /* header lines */
	uint64_t body_max;        /* decoded body */
};
#define HTTP_LIMITS_DEFAULT { 16384, 32768, 64, 16u << 20 }

enum http_method {
	HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER
};

/* HEADER(id, name, policy): the headers that the agent reads. ONE: a second line is refused. */
#define HTTP_HEADER_LIST(HEADER) \
	HEADER(HOST, "host", ONE) \
	HEADER(CONTENT_LENGTH, "content-length", ONE) \
	HEADER(TRANSFER_ENCODING, "transfer-encoding", ONE) \
	HEADER(CONNECTION, "connection", LIST) \
	HEADER(EXPECT, "expect", ONE) \
	HEADER(CONTENT_TYPE, "content-type", ONE) \
	HEADER(CONTENT_ENCODING, "content-encoding", ONE) \
	HEADER(ACCEPT, "accept", LIST) \
	HEADER(AUTHORIZATION, "authorization", ONE) \
	HEADER(TRACEPARENT, "traceparent", LIST) \
	HEADER(TRACESTATE, "tracestate", LIST) \
	HEADER(PURSER_PROJECT, "purser-project", ONE) \
	HEADER(X_REQUEST_ID, "x-request-id", ONE)

enum http_header {
#define HEADER(id, name, policy) HTTP_H_##id,
	HTTP_HEADER_LIST(HEADER)
#undef HEADER
	HTTP_H_COUNT
};

enum http_result { HTTP_MORE, HTTP_DONE, HTTP_BAD };

struct http_bad {             /* why a request is refused */
	int status;               /* of the reply */
	enum err_code code;
	char text[240];           /* one sentence, printable ASCII, names the problem */
	char allow[48];           /* 405: value of the Allow header */
};

struct http_span { uint16_t at, n; };

struct http_head {
	const struct http_limits *lim; /* borrowed */
	const uint8_t *base;      /* where the request begins now; set again when the bytes have moved */
	size_t len;               /* HTTP_DONE: bytes of the head */
	enum http_method method;
	uint8_t minor;            /* HTTP/1.minor: 0 or 1 */
	bool keep_alive;          /* as the client wants it */
	bool expect_continue;
	bool chunked;
	uint64_t length;          /* Content-Length; 0 where there is none */
	struct http_span method_text, target, path, query; /* query: behind '?' */
	bool has_query;
	unsigned nlines;
	struct { struct http_span name, value; } line[HTTP_HEADERS_MAX];
	uint8_t known[HTTP_H_COUNT]; /* 1 + index of its first line; 0 = absent */
	struct http_bad bad;
	/* the parser's own */
	size_t scan, start;
	bool in_headers, blank_seen;
};

void http_head_init(struct http_head *h, const struct http_limits *lim);
/* p[0..n): everything from the request's first byte on (one empty line before it is passed over and
 * counts).  HTTP_MORE: call again with more; HTTP_DONE: the first h->len bytes are the head. */
enum http_result http_head_feed(struct http_head *h, const uint8_t *p, size_t n);

static inline purser_bytes http_head_span(const struct http_head *h, struct http_span s)
{
	return (purser_bytes){ h->base + s.at, s.n };
}
/* The header's value, blanks at both ends removed; of a LIST, its first line.  p NULL: absent. */
purser_bytes http_head_value(const struct http_head *h, enum http_header id);
unsigned http_head_count(const struct http_head *h, enum http_header id); /* lines */
/* All lines of a LIST, joined with "," in order. */
void http_head_join(const struct http_head *h, enum http_header id, struct buf *out);
/* Any header by its name in lower case; its first line. */
purser_bytes http_head_find(const struct http_head *h, const char *name);

/* %XX (and '+' as a blank with `form`) to bytes.  The parser has checked the escapes of the target.
 * dst has room for n bytes; returns the decoded length. */
size_t http_unescape(uint8_t *dst, const uint8_t *p, size_t n, bool form);
/* Walks "a=1&b=2": the next name and value, still escaped.  false: no more. */
bool http_query_next(purser_bytes *rest, purser_bytes *name, purser_bytes *value);

/* Fill b; text is printf's. */
void http_bad(struct http_bad *b, int status, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
#endif
