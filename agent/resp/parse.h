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

/* A request whose arguments pass through while they arrive: in as the client sends it, out with the
 * prefix in front of each key.  What it accepts and refuses is what resp_parse() accepts and refuses. */
#define RESP_STREAM_PREFIX_MAX 256u

struct resp_stream {
	struct resp_parser ps;   /* argc, bytes, bulk and error mean the same; argv is not used */
	struct resp_limits lim;
	const uint32_t *keys;    /* positions of keys, ascending; borrowed */
	uint32_t nkeys, key;     /* key: the next one of them */
	const uint8_t *prefix;   /* borrowed */
	uint32_t prefix_len;
	uint64_t left;           /* bytes of the argument and its CR LF that are still to come */
	uint32_t head_at, head_n;
	uint8_t head[32 + RESP_STREAM_PREFIX_MAX]; /* a header, and perhaps the prefix, on its way out */
};

void resp_stream_begin(struct resp_stream *s, const struct resp_limits *lim);
/* Pass p[0..n), of which *used bytes were taken, to dst[0..cap), of which *out were written; dst NULL: to
 * nowhere.  RESP_OK: the request is complete, and all of it is out.  RESP_MORE: dst is full, or more is
 * to come.  RESP_BAD, RESP_BIG: ps.error says why. */
enum resp_result resp_stream_pass(struct resp_stream *s, const uint8_t *p, size_t n, size_t *used,
    uint8_t *dst, size_t cap, size_t *out);
#endif
