/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "server/http_in.h"

enum { IN_HEAD, IN_LENGTH, IN_CHUNKS, IN_REQUEST, IN_BAD };
enum {
	KEEP_BYTES = 4096,    /* a buffer larger than this is given back between requests */
	FIRST_BYTES = HTTP_BODY_SMALL, /* room for a body before any of it has come */
	STEP_BYTES = 512
};

void http_in_init(struct http_in *in, const struct http_limits *lim)
{
	memset(in, 0, sizeof *in);
	in->lim = *lim;
	http_head_init(&in->head, &in->lim);
}

void http_in_free(struct http_in *in)
{
	buf_free(&in->raw);
	buf_free(&in->body);
}

void http_in_next(struct http_in *in)
{
	http_head_init(&in->head, &in->lim);
	buf_clear(&in->raw);
	buf_clear(&in->body);
	if (in->raw.cap > KEEP_BYTES)
		buf_free(&in->raw);
	if (in->body.cap > KEEP_BYTES)
		buf_free(&in->body);
	in->state = IN_HEAD;
	in->event = HTTP_IN_MORE;
}

bool http_in_idle(const struct http_in *in)
{
	return in->state == IN_HEAD && in->head.scan == 0;
}

static void refused(struct http_in *in)
{
	in->state = IN_BAD;
	in->event = HTTP_IN_BAD;
}

static void no_memory(struct http_in *in)
{
	http_head_init(&in->head, &in->lim);
	http_bad(&in->head.bad, 507, ERR_OOM, "no memory for the request");
	refused(in);
}

/* The head is complete in raw: what follows it? */
static void head_done(struct http_in *in)
{
	bool body = in->head.chunked || in->head.length;

	in->state = in->head.chunked ? IN_CHUNKS : in->head.length ? IN_LENGTH : IN_REQUEST;
	in->event = !body ? HTTP_IN_REQUEST : in->head.expect_continue ? HTTP_IN_CONTINUE :
	    in->head.chunked || in->head.length >= HTTP_BODY_SMALL ? HTTP_IN_LARGE : HTTP_IN_MORE;
	in->head.expect_continue = false;
	http_chunks_init(&in->chunks);
	/* Not the announced length at once: the client has not sent it yet. */
	if (in->head.length && buf_room(&in->body, in->head.length < FIRST_BYTES ? in->head.length :
	    FIRST_BYTES))
		no_memory(in);
}

/* A head that arrives in one piece is parsed where it is and then copied; the pieces of another are
 * joined first, in small steps, because what follows the head is not copied. */
static size_t feed_head(struct http_in *in, const uint8_t *p, size_t n)
{
	size_t held = buf_len(&in->raw), head;
	enum http_result rc;

	if (held) {
		if (n > STEP_BYTES)
			n = STEP_BYTES;
		buf_put(&in->raw, p, n);
		rc = http_head_feed(&in->head, buf_data(&in->raw), held + n);
		head = in->head.len;
		in->raw.end = in->raw.at + (rc == HTTP_DONE ? head : held + n);
	} else {
		rc = http_head_feed(&in->head, p, n);
		head = in->head.len;
		buf_put(&in->raw, p, rc == HTTP_DONE ? head : n);
		in->head.base = in->raw.p;
	}
	if (in->raw.failed) {
		no_memory(in);
	} else if (rc == HTTP_BAD) {
		refused(in);
	} else if (rc == HTTP_DONE) {
		head_done(in);
		return head - held;
	}
	return n;
}

static size_t feed_length(struct http_in *in, const uint8_t *p, size_t n)
{
	uint64_t want = in->head.length - buf_len(&in->body);

	if (n > want)
		n = (size_t)want;
	buf_put(&in->body, p, n);
	if (in->body.failed)
		no_memory(in);
	else if (n == want)
		in->state = IN_REQUEST;
	return n;
}

static size_t feed_chunks(struct http_in *in, const uint8_t *p, size_t n)
{
	size_t used;

	switch (http_chunks_feed(&in->chunks, p, n, &used, &in->body, in->lim.body_max, &in->head.bad)) {
	case HTTP_DONE:
		in->state = IN_REQUEST;
		break;
	case HTTP_BAD:
		refused(in);
		break;
	case HTTP_MORE:
		break;
	}
	return used;
}

size_t http_in_feed(struct http_in *in, const uint8_t *p, size_t n)
{
	size_t at = 0;

	if (in->state == IN_BAD || in->state == IN_REQUEST)
		return 0;
	in->event = HTTP_IN_MORE;
	while (at < n && in->event == HTTP_IN_MORE) {
		switch (in->state) {
		case IN_HEAD:
			at += feed_head(in, p + at, n - at);
			break;
		case IN_LENGTH:
			at += feed_length(in, p + at, n - at);
			break;
		case IN_CHUNKS:
			at += feed_chunks(in, p + at, n - at);
			break;
		}
		if (in->state == IN_REQUEST)
			in->event = HTTP_IN_REQUEST;
	}
	return at;
}

/* ---- chunked coding --------------------------------------------------------------------------- */

enum { C_SIZE, C_EXTENSION, C_SIZE_LF, C_DATA, C_DATA_CR, C_DATA_LF, C_TRAILER, C_TRAILER_LF, C_END_LF };
enum { CHUNK_LINE_MAX = 256, CHUNK_TRAILER_MAX = 8192 };

void http_chunks_init(struct http_chunks *c)
{
	memset(c, 0, sizeof *c);
}

static enum http_result malformed(struct http_bad *bad, const char *what)
{
	http_bad(bad, 400, ERR_BADREQUEST, "the chunked body is malformed: %s", what);
	return HTTP_BAD;
}

static int chunk_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a size line: hexadecimal digits, then perhaps ";" and an extension that is passed over. */
static enum http_result size_byte(struct http_chunks *c, uint8_t b, struct http_bad *bad)
{
	int digit = chunk_digit(b);

	if (++c->line > CHUNK_LINE_MAX)
		return malformed(bad, "a size line is too long");
	if (b == '\r') {
		if (c->line == 1)
			return malformed(bad, "a size is missing");
		c->state = C_SIZE_LF;
	} else if (c->state == C_EXTENSION) {
		if ((b < 0x20 && b != '\t') || b == 0x7f)
			return malformed(bad, "a chunk extension has a control byte");
	} else if (b == ';' && c->line > 1) {
		c->state = C_EXTENSION;
	} else if (digit < 0) {
		return malformed(bad, "a size is no hexadecimal number");
	} else if (c->line > 15) {
		return malformed(bad, "a size is too large");
	} else {
		c->left = c->left << 4 | (unsigned)digit;
	}
	return HTTP_MORE;
}

/* One byte of the framing, at any place but in the data. */
static enum http_result framing_byte(struct http_chunks *c, uint8_t b, struct http_bad *bad)
{
	switch (c->state) {
	case C_SIZE:
	case C_EXTENSION:
		return size_byte(c, b, bad);
	case C_SIZE_LF:
		if (b != '\n')
			return malformed(bad, "CR without LF behind a size");
		c->state = c->left ? C_DATA : C_TRAILER;
		c->line = 0;
		return HTTP_MORE;
	case C_DATA_CR:
		if (b != '\r')
			return malformed(bad, "a chunk is longer than its size");
		c->state = C_DATA_LF;
		return HTTP_MORE;
	case C_DATA_LF:
		if (b != '\n')
			return malformed(bad, "CR without LF behind a chunk");
		c->state = C_SIZE;
		c->line = 0;
		return HTTP_MORE;
	case C_TRAILER:       /* fields are passed over; none is needed */
		if (++c->trailer > CHUNK_TRAILER_MAX)
			return malformed(bad, "the trailer is too long");
		if (b == '\r')
			c->state = c->line ? C_TRAILER_LF : C_END_LF;
		else if ((b < 0x20 && b != '\t') || b == 0x7f)
			return malformed(bad, "the trailer has a control byte");
		c->line = 1;
		return HTTP_MORE;
	case C_TRAILER_LF:
		if (b != '\n')
			return malformed(bad, "CR without LF in the trailer");
		c->state = C_TRAILER;
		c->line = 0;
		return HTTP_MORE;
	default:
		if (b != '\n')
			return malformed(bad, "CR without LF behind the last chunk");
		return HTTP_DONE;
	}
}

enum http_result http_chunks_feed(struct http_chunks *c, const uint8_t *p, size_t n, size_t *used,
    struct buf *body, uint64_t body_max, struct http_bad *bad)
{
	size_t at = 0;
	enum http_result rc = HTTP_MORE;

	while (at < n && rc == HTTP_MORE) {
		size_t some;

		if (c->state != C_DATA) {
			rc = framing_byte(c, p[at++], bad);
			if (c->state != C_DATA || c->left <= body_max - buf_len(body))
				continue;
			http_bad(bad, 413, ERR_TOOBIG, "the body is larger than the limit of %llu bytes",
			    (unsigned long long)body_max);
			rc = HTTP_BAD;
			continue;
		}
		some = n - at < c->left ? n - at : (size_t)c->left;
		buf_put(body, p + at, some);
		if (body->failed) {
			http_bad(bad, 507, ERR_OOM, "no memory for the body");
			rc = HTTP_BAD;
		}
		c->left -= some;
		at += some;
		if (!c->left)
			c->state = C_DATA_CR;
	}
	*used = at;
	return rc;
}
