/* SPDX-License-Identifier: Apache-2.0
 *
 * server/http_in: requests out of the bytes of one connection: head, then body (Content-Length or
 * chunked), one request at a time, pipelined ones in order.  No I/O.
 *
 *   for (;;) {
 *           used = http_in_feed(in, p, n);  p += used;  n -= used;
 *           MORE      read more (n is 0)
 *           CONTINUE  send "HTTP/1.1 100 Continue\r\n\r\n", feed again
 *           REQUEST   in->head and in->body hold a whole request, valid until http_in_next(in)
 *           BAD       answer in->head.bad, then close
 *   }
 */
#ifndef SERVER_HTTP_IN_H
#define SERVER_HTTP_IN_H
#include "base/buf.h"
#include "server/http_head.h"

enum http_in_event {
	HTTP_IN_MORE,
	HTTP_IN_CONTINUE,    /* the head is complete, and the client asks before it sends the body */
	HTTP_IN_LARGE,       /* ... and the body may be long: HTTP_BODY_SMALL or more, or chunked */
	HTTP_IN_REQUEST,
	HTTP_IN_BAD
};
#define HTTP_BODY_SMALL 65536u

/* Chunked coding of a body, as it arrives. */
struct http_chunks {
	uint64_t left;            /* bytes of the chunk still to come */
	uint8_t state;
	uint16_t line;            /* bytes of the line at hand */
	uint16_t trailer;         /* bytes of trailer fields seen */
};

struct http_in {              /* does not move */
	struct http_limits lim;
	enum http_in_event event; /* what the last feed ended with */
	struct http_head head;
	struct buf raw;           /* bytes of the head */
	struct buf body;          /* decoded */
	uint8_t state;
	struct http_chunks chunks;
};

void http_in_init(struct http_in *in, const struct http_limits *lim);
void http_in_free(struct http_in *in);
/* Bytes of p[0..n) used; in->event says what came of it.  After REQUEST and BAD nothing is used. */
size_t http_in_feed(struct http_in *in, const uint8_t *p, size_t n);
/* Ready for the next request; gives large buffers back. */
void http_in_next(struct http_in *in);
/* Nothing of a request has arrived: the connection may be closed without an answer. */
bool http_in_idle(const struct http_in *in);

/* One step of the chunked coding: decodes from p[0..n) into body.  *used bytes.  HTTP_DONE behind the
 * last chunk and its trailer; HTTP_BAD with bad filled. */
void http_chunks_init(struct http_chunks *c);
enum http_result http_chunks_feed(struct http_chunks *c, const uint8_t *p, size_t n, size_t *used,
    struct buf *body, uint64_t body_max, struct http_bad *bad);
#endif
