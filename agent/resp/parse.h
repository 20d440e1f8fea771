/* SPDX-License-Identifier: Apache-2.0
 *
 * resp/parse: requests out of a stream of bytes, without copies.  In: a buffer that begins at a
 * request.  Out: argument slices into that buffer.  Resumable: an incomplete request keeps what was
 * parsed, so a request of a million arguments costs linear time; when the buffer has moved, tell
 * resp_parse where it is now.
 */
#ifndef RESP_PARSE_H
#define RESP_PARSE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

struct resp_limits {
	uint32_t max_args;    /* of one request */
	uint64_t max_bulk;    /* bytes of one argument */
	uint64_t max_request; /* bytes of all arguments */
	uint32_t max_inline;  /* bytes of an inline command's line, and of any header line */
};

struct resp_parser {
	purser_bytes *argv;   /* owned; valid until the next request */
	uint32_t cap;
	uint32_t argc;        /* announced */
	uint32_t have;        /* parsed so far; the last one may be an announced bulk of bulk_left */
	size_t pos;           /* bytes of the request parsed so far */
	uint64_t bytes;       /* sum of announced argument lengths */
	int64_t bulk;         /* length of the argument that is arriving, -1: a header is expected */
	const uint8_t *base;  /* where the request began at the last call */
	const char *error;    /* after RESP_BAD: "Protocol error: ..." (static or in text) */
	char text[96];
};

enum resp_result {
	RESP_MORE,            /* not complete: call again with more bytes */
	RESP_OK,              /* argv[0..argc), argc >= 1; `pos` bytes belong to it */
	RESP_EMPTY,           /* an empty line or *0: `pos` bytes to be dropped */
	RESP_BAD,             /* error says why; the connection cannot go on */
	RESP_BIG              /* over a limit; error says which */
};

void resp_parser_free(struct resp_parser *ps);
void resp_parser_reset(struct resp_parser *ps); /* ready for the next request; keeps argv's memory */
/* Parse p[0..n), which begins where the request begins.  Inline arguments are unescaped in place. */
enum resp_result resp_parse(struct resp_parser *ps, const struct resp_limits *lim, uint8_t *p,
    size_t n);
/* After RESP_MORE: bytes that are at least still missing (a hint for the next read; >= 1). */
size_t resp_missing(const struct resp_parser *ps, size_t n);
#endif
