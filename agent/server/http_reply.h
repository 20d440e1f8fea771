/* SPDX-License-Identifier: Apache-2.0
 *
 * server/http_reply: response heads, chunks and problem documents (RFC 9457) as bytes in a buffer.
 */
#ifndef SERVER_HTTP_REPLY_H
#define SERVER_HTTP_REPLY_H
#include <stdbool.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "base/buf.h"
#include "base/errors.h"

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

struct http_reply {
	int status;
	uint8_t minor;            /* of the request: 0 gets no chunked coding */
	bool head_only;           /* HEAD: the head as for GET, no body */
	bool close;               /* say Connection: close; http_reply_head may set it */
	const char *type;         /* Content-Type; NULL = none */
	uint64_t length;          /* or HTTP_LENGTH_UNKNOWN */
	const char *allow;        /* 405; NULL = none */
	uint32_t retry_after;     /* seconds; 0 = none */
	purser_bytes request_id;  /* X-Request-Id to give back; printable or left out */
};

const char *http_status_text(int status);
/* Status line and headers.  Returns how the body is to be framed. */
enum http_framing { HTTP_PLAIN, HTTP_CHUNKED, HTTP_UNTIL_CLOSE };
enum http_framing http_reply_head(struct buf *out, struct http_reply *r);
void http_reply_chunk(struct buf *out, const void *p, size_t n); /* n 0: nothing */
void http_reply_last(struct buf *out);

/* A whole reply that says what went wrong.  r gives minor, head_only, close, allow, request_id;
 * status 0 takes the error's.  text (may be NULL: the error's own) is what happened; for ERR_REDIS its
 * first word is the code.  "retry_after_ms=N" in the text becomes Retry-After. */
void http_reply_problem(struct buf *out, struct http_reply *r, enum err_code code, const void *text,
    size_t n);
#endif
