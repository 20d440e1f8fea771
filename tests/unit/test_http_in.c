/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests out of bytes: what is accepted, the table of what is refused (docs/http.md), and that
 * no split of the input changes any of it.
 */
#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "server/http_in.h"

static const struct http_limits limits = { 200, 1000, 10, 64 };

static uint64_t rnd_state;

static uint64_t rnd(void)
{
	uint64_t z = rnd_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void put_slice(struct buf *b, const char *name, purser_bytes v)
{
	if (!v.p)
		return;
	buf_printf(b, " %s=", name);
	buf_put(b, v.p, v.n);
}

/* What a request says, as a line. */
static void describe(struct http_in *in, struct buf *log)
{
	const struct http_head *h = &in->head;

	buf_printf(log, "REQUEST %d 1.%d %s", h->method, h->minor, h->keep_alive ? "keep" : "close");
	put_slice(log, "target", http_head_span(h, h->target));
	put_slice(log, "path", http_head_span(h, h->path));
	if (h->has_query)
		put_slice(log, "query", http_head_span(h, h->query));
	for (unsigned i = 0; i < HTTP_H_COUNT; i++) {
		char name[8];

		snprintf(name, sizeof name, "h%u", i);
		put_slice(log, name, http_head_value(h, (enum http_header)i));
	}
	buf_puts(log, " body=");
	buf_put(log, buf_data(&in->body), buf_len(&in->body));
	buf_putc(log, '\n');
}

/* Feeds the input in pieces of `step` bytes (0: of random sizes), each in memory of its own, and
 * writes down what happens. */
static void play(const char *p, size_t n, size_t step, struct buf *log)
{
	struct http_in in;
	size_t at = 0;

	http_in_init(&in, &limits);
	while (at < n && in.event != HTTP_IN_BAD) {
		size_t len = step ? step : 1 + rnd() % 40, used = 0;
		uint8_t *piece;

		len = len < n - at ? len : n - at;
		piece = malloc(len);
		assert_non_null(piece);
		memcpy(piece, p + at, len);
		while (used < len && in.event != HTTP_IN_BAD) {
			used += http_in_feed(&in, piece + used, len - used);
			if (in.event == HTTP_IN_CONTINUE) {
				buf_puts(log, "CONTINUE\n");
			} else if (in.event == HTTP_IN_REQUEST) {
				describe(&in, log);
				http_in_next(&in);
			}
		}
		free(piece);
		at += len;
	}
	if (in.event == HTTP_IN_BAD)
		buf_printf(log, "BAD %d %s %s\n", in.head.bad.status, err_rows[in.head.bad.code].word,
		    in.head.bad.text);
	else
		buf_puts(log, http_in_idle(&in) ? "IDLE\n" : "MORE\n");
	assert_false(log->failed);
	http_in_free(&in);
}

/* The transcript of the input, proved to be the same for every way to cut it. */
static char *transcript(const char *p, size_t n)
{
	struct buf whole = { 0 }, other = { 0 };
	char *text;

	play(p, n, n ? n : 1, &whole);
	for (size_t step = 1; step <= 70; step++) {
		buf_clear(&other);
		play(p, n, step <= 60 ? step : 0, &other);
		assert_string_equal(buf_cstr(&whole), buf_cstr(&other));
	}
	text = strdup(buf_cstr(&whole));
	buf_free(&whole);
	buf_free(&other);
	return text;
}

#define PLAY(s) transcript(s, sizeof(s) - 1)
#define HOST "Host: x\r\n"

static void expect(char *got, const char *want)
{
	assert_string_equal(got, want);
	free(got);
}

static void accepts(void **state)
{
	(void)state;
	expect(PLAY("GET /redis/kv?key=a%20b HTTP/1.1\r\nhOsT:  purser\t\r\nAccept: */*\r\n\r\n"),
	    "REQUEST 0 1.1 keep target=/redis/kv?key=a%20b path=/redis/kv query=key=a%20b h0=purser h7=*/* "
	    "body=\nIDLE\n");
	expect(PLAY("GET / HTTP/1.0\r\n\r\n"), "REQUEST 0 1.0 close target=/ path=/ body=\nIDLE\n");
	expect(PLAY("GET /? HTTP/1.0\r\nConnection: foo, Keep-Alive\r\n\r\n"),
	    "REQUEST 0 1.0 keep target=/? path=/ query= h3=foo, Keep-Alive body=\nIDLE\n");
	expect(PLAY("GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\nConnection: x , close\r\n\r\n"),
	    "REQUEST 0 1.1 close target=/ path=/ h0=x h3=keep-alive body=\nIDLE\n");
	/* An empty line in front of a request, and an empty Host. */
	expect(PLAY("\r\nHEAD / HTTP/1.1\r\nHost:\r\n\r\n"),
	    "REQUEST 1 1.1 keep target=/ path=/ h0= body=\nIDLE\n");
	expect(PLAY("BREW / HTTP/1.1\r\n" HOST "\r\n"), "REQUEST 7 1.1 keep target=/ path=/ h0=x body=\nIDLE\n");
	expect(PLAY(""), "IDLE\n");
	expect(PLAY("GET"), "MORE\n");
}

static void bodies(void **state)
{
	(void)state;
	expect(PLAY("POST /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"),
	    "REQUEST 2 1.1 keep target=/a path=/a h0=x h1=5 body=hello\nIDLE\n");
	expect(PLAY("POST /a HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"),
	    "REQUEST 2 1.1 keep target=/a path=/a h0=x h1=0 body=\nIDLE\n");
	expect(PLAY("POST /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell"), "MORE\n");
	expect(PLAY("POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
	    "5\r\nhello\r\n06;x=\"y\"\r\n world\r\n0\r\nTrailer: t\r\n\r\n"),
	    "REQUEST 2 1.1 keep target=/a path=/a h0=x h2=Chunked body=hello world\nIDLE\n");
	expect(PLAY("POST /a HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nok"),
	    "CONTINUE\nREQUEST 2 1.1 keep target=/a path=/a h0=x h1=2 h4=100-Continue body=ok\nIDLE\n");
	/* 100-continue means nothing without a body, and to HTTP/1.0. */
	expect(PLAY("POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"),
	    "REQUEST 2 1.0 close target=/a path=/a h1=2 h4=100-continue body=ok\nIDLE\n");
}

static void pipelines(void **state)
{
	(void)state;
	expect(PLAY("GET /1 HTTP/1.1\r\n" HOST "\r\n"
	    "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
	    "POST /3 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"
	    "GET /4 HTTP/1.1\r\n" HOST "\r\n"
	    "GET  /5 HTTP/1.1\r\n"),
	    "REQUEST 0 1.1 keep target=/1 path=/1 h0=x body=\n"
	    "REQUEST 2 1.1 keep target=/2 path=/2 h0=x h1=3 body=abc\n"
	    "REQUEST 2 1.1 keep target=/3 path=/3 h0=x h2=chunked body=xyz\n"
	    "REQUEST 0 1.1 keep target=/4 path=/4 h0=x body=\n"
	    "BAD 400 BADREQUEST the request line is not METHOD /path HTTP/1.1 with single blanks\n");
}

/* docs/http.md: what is refused, and how. */
static const struct refusal {
	const char *input;
	size_t n;
	const char *want; /* "BAD status WORD" and words that the sentence has */
	const char *says;
} refusals[] = {
#define BAD(input, want, says) { input, sizeof(input) - 1, want, says }
#define REQ "POST / HTTP/1.1\r\n" HOST
	/* framing */
	BAD(REQ "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "400 BADREQUEST", "both Content-Length"),
	BAD(REQ "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "400 BADREQUEST", "both Content-Length"),
	BAD(REQ "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "400 BADREQUEST", "two content-length"),
	BAD(REQ "Content-Length: 5, 5\r\n\r\n", "400 BADREQUEST", "no number"),
	BAD(REQ "Content-Length: +5\r\n\r\n", "400 BADREQUEST", "no number"),
	BAD(REQ "Content-Length: 0x5\r\n\r\n", "400 BADREQUEST", "no number"),
	BAD(REQ "Content-Length:\r\n\r\n", "400 BADREQUEST", "empty"),
	BAD(REQ "Content-Length: 65\r\n\r\n", "413 TOOBIG", "limit of 64 bytes"),
	BAD(REQ "Content-Length: 99999999999999999999999\r\n\r\n", "413 TOOBIG", "limit of 64 bytes"),
	BAD(REQ "Content-Length: 18446744073709551621\r\n\r\n", "413 TOOBIG", "limit of 64 bytes"),
	BAD(REQ "Transfer-Encoding: gzip, chunked\r\n\r\n", "501 UNSUPPORTED", "chunked"),
	BAD(REQ "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "400 BADREQUEST",
	    "two transfer-encoding"),
	BAD("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400 BADREQUEST", "HTTP/1.0"),
	BAD(REQ "Expect: 200-maybe\r\n\r\n", "417 BADREQUEST", "100-continue"),
	/* the request line */
	BAD("F@O / HTTP/1.1\r\n" HOST "\r\n", "400 BADREQUEST", "0x40"),
	BAD(" GET / HTTP/1.1\r\n", "400 BADREQUEST", "METHOD"),
	BAD("GET /\r\n", "400 BADREQUEST", "METHOD"),
	BAD("GET\t/ HTTP/1.1\r\n", "400 BADREQUEST", "0x09"),
	BAD("GET  / HTTP/1.1\r\n", "400 BADREQUEST", "single blanks"),
	BAD("GET /  HTTP/1.1\r\n", "400 BADREQUEST", "single blanks"),
	BAD("GET / HTTP/1.1 \r\n", "400 BADREQUEST", "single blanks"),
	BAD("GET /a b HTTP/1.1\r\n", "400 BADREQUEST", "single blanks"),
	BAD("GET / http/1.1\r\n", "400 BADREQUEST", "HTTP/1.1"),
	BAD("GET / HTTP/1.10\r\n", "400 BADREQUEST", "HTTP/1.1"),
	BAD("GET / HTTP/2.0\r\n", "505 BADREQUEST", "HTTP/2.0"),
	BAD("GET / HTTP/1.2\r\n", "505 BADREQUEST", "HTTP/1.2"),
	BAD("GET http://purser/redis/kv HTTP/1.1\r\n" HOST "\r\n", "400 BADREQUEST", "no proxy"),
	BAD("GET purser:80 HTTP/1.1\r\n" HOST "\r\n", "400 BADREQUEST", "no proxy"),
	BAD("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "400 BADREQUEST", "no proxy"),
	BAD("GET /a%2 HTTP/1.1\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD("GET /?key=%zz HTTP/1.1\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD("GET /?key=100% HTTP/1.1\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD("GET /a%0b%0 HTTP/1.1\r\n", "400 BADREQUEST", "%"),
	BAD("GET /a\0b HTTP/1.1\r\n", "400 BADREQUEST", "0x00"),
	BAD("GET /\xc3\xa9 HTTP/1.1\r\n", "400 BADREQUEST", "0xc3"),
	BAD("GET /#f HTTP/1.1\r\n", "400 BADREQUEST", "0x23"),
	BAD("GET /\x7f HTTP/1.1\r\n", "400 BADREQUEST", "0x7f"),
	BAD("\r\n\r\nGET / HTTP/1.1\r\n", "400 BADREQUEST", "no request line"),
	/* lines */
	BAD("GET / HTTP/1.1\n" HOST "\r\n", "400 BADREQUEST", "LF alone"),
	BAD("GET / HTTP/1.1\r\nHost: x\n\r\n", "400 BADREQUEST", "LF alone"),
	BAD("GET / HTTP/1.1\r\n" HOST "\n", "400 BADREQUEST", "LF alone"),
	BAD("\nGET / HTTP/1.1\r\n", "400 BADREQUEST", "LF alone"),
	BAD("GET / HTTP/1.1\r\nA: b\rc\r\n" HOST "\r\n", "400 BADREQUEST", "0x0d"),
	BAD("GET / HTTP/1.1\r\nA: b\0c\r\n" HOST "\r\n", "400 BADREQUEST", "0x00"),
	BAD("GET / HTTP/1.1\r\nA\0: b\r\n" HOST "\r\n", "400 BADREQUEST", "0x00"),
	BAD("GET / HTTP/1.1\r\nA: b\x7f\r\n" HOST "\r\n", "400 BADREQUEST", "0x7f"),
	BAD("GET / HTTP/1.1\r\nA: b\r\n c\r\n" HOST "\r\n", "400 BADREQUEST", "folded"),
	BAD("GET / HTTP/1.1\r\n" HOST "\t c\r\n\r\n", "400 BADREQUEST", "folded"),
	BAD("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400 BADREQUEST", "before the colon"),
	BAD("GET / HTTP/1.1\r\nHo st: x\r\n\r\n", "400 BADREQUEST", "before the colon"),
	BAD("GET / HTTP/1.1\r\nHo(st: x\r\n\r\n", "400 BADREQUEST", "0x28"),
	BAD("GET / HTTP/1.1\r\n: x\r\n\r\n", "400 BADREQUEST", "no name"),
	BAD("GET / HTTP/1.1\r\nHost\r\n\r\n", "400 BADREQUEST", "no colon"),
	/* Host */
	BAD("GET / HTTP/1.1\r\n\r\n", "400 BADREQUEST", "Host"),
	BAD("GET / HTTP/1.1\r\n" HOST HOST "\r\n", "400 BADREQUEST", "two host"),
	BAD("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 BADREQUEST", "host name"),
	BAD("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 BADREQUEST", "host name"),
	BAD("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 BADREQUEST", "host name"),
	/* what may be said only once */
	BAD("GET / HTTP/1.1\r\n" HOST "Authorization: a\r\nAuthorization: b\r\n\r\n", "400 BADREQUEST",
	    "two authorization"),
	BAD("GET / HTTP/1.1\r\n" HOST "Purser-Project: a\r\nPurser-Project: b\r\n\r\n", "400 BADREQUEST",
	    "two purser-project"),
	/* chunks */
#define CHUNKED REQ "Transfer-Encoding: chunked\r\n\r\n"
	BAD(CHUNKED "g\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD(CHUNKED "\r\n", "400 BADREQUEST", "size is missing"),
	BAD(CHUNKED "0x5\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD(CHUNKED "-1\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD(CHUNKED " 5\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD(CHUNKED ";x\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD(CHUNKED "5\nhello\r\n", "400 BADREQUEST", "hexadecimal"),
	BAD(CHUNKED "5\rhello\r\n", "400 BADREQUEST", "CR without LF"),
	BAD(CHUNKED "5\r\nhello!\r\n", "400 BADREQUEST", "longer than its size"),
	BAD(CHUNKED "5\r\nhello\rx", "400 BADREQUEST", "CR without LF"),
	BAD(CHUNKED "5;a\0b\r\n", "400 BADREQUEST", "control"),
	BAD(CHUNKED "fffffffffffffffff\r\n", "400 BADREQUEST", "too large"),
	BAD(CHUNKED "41\r\n", "413 TOOBIG", "limit of 64 bytes"),
	BAD(CHUNKED "3f\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\r\n2\r\n",
	    "413 TOOBIG", "limit of 64 bytes"),
	BAD(CHUNKED "0\r\nA\0: b\r\n\r\n", "400 BADREQUEST", "control"),
	BAD(CHUNKED "0\r\n\rx", "400 BADREQUEST", "CR without LF"),
	BAD(CHUNKED "0\r\nA: b\rx", "400 BADREQUEST", "CR without LF"),
};

static void refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		const struct refusal *r = &refusals[i];
		char *got = transcript(r->input, r->n), want[64];

		snprintf(want, sizeof want, "BAD %s ", r->want);
		if (strncmp(got, want, strlen(want)) != 0 || !strstr(got, r->says))
			fail_msg("row %zu (%s): want %s ... %s, got %s", i, r->input, want, r->says, got);
		free(got);
	}
}

/* The limits of the head, at and one over the edge. */
static void limits_of_the_head(void **state)
{
	char text[4096], *got;
	size_t n;

	(void)state;
	for (int over = 0; over <= 1; over++) {
		/* 200 bytes of request line with its CR */
		n = (size_t)snprintf(text, sizeof text, "GET /%0*d HTTP/1.1\r\nHost: x\r\n\r\n", 185 + over, 0);
		got = transcript(text, n);
		assert_true(strncmp(got, over ? "BAD 414 TOOBIG" : "REQUEST", over ? 14 : 7) == 0);
		free(got);
		/* 1000 bytes of head */
		n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: x\r\nA: %0*d\r\n\r\n",
		    1000 - 16 - 9 - 3 - 4 + over, 0);
		assert_int_equal(n, 1000 + over);
		got = transcript(text, n);
		assert_true(strncmp(got, over ? "BAD 431 TOOBIG" : "REQUEST", over ? 14 : 7) == 0);
		free(got);
		/* ten header lines */
		n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: x\r\n");
		for (int i = 1; i < 10 + over; i++)
			n += (size_t)snprintf(text + n, sizeof text - n, "a%d: %d\r\n", i, i);
		n += (size_t)snprintf(text + n, sizeof text - n, "\r\n");
		got = transcript(text, n);
		assert_true(strncmp(got, over ? "BAD 431 TOOBIG" : "REQUEST", over ? 14 : 7) == 0);
		free(got);
	}
	/* A line that never ends is refused without its end, and one that ends late as well. */
	memset(text, 'a', sizeof text);
	got = transcript(text, sizeof text);
	assert_true(strncmp(got, "BAD 414 TOOBIG", 14) == 0);
	free(got);
	memcpy(text, "GET / HTTP/1.1\r\nA:", 18);
	got = transcript(text, sizeof text);
	assert_true(strncmp(got, "BAD 431 TOOBIG", 14) == 0);
	free(got);
}

/* Every limit lowered to what 16-bit offsets can say. */
static void limits_of_the_parser(void **state)
{
	static const struct http_limits huge = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT64_MAX };
	struct http_in in;
	size_t n = 200000, at = 0;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', n);
	memcpy(text, "GET / HTTP/1.1\r\nA:", 18);
	http_in_init(&in, &huge);
	while (at < n && in.event == HTTP_IN_MORE)
		at += http_in_feed(&in, (uint8_t *)text + at, n - at);
	assert_int_equal(in.event, HTTP_IN_BAD);
	assert_int_equal(in.head.bad.status, 431);
	http_in_free(&in);
	http_in_init(&in, &huge);
	at = (size_t)snprintf(text, n, "GET / HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 100; i++)
		at += (size_t)snprintf(text + at, n - at, "a: b\r\n");
	at += (size_t)snprintf(text + at, n - at, "\r\n");
	http_in_feed(&in, (uint8_t *)text, at);
	assert_int_equal(in.event, HTTP_IN_BAD);
	assert_int_equal(in.head.bad.status, 431);
	http_in_free(&in);
	free(text);
}

static void reads_headers(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\nTraceState: a=1\r\nX-Other: o\r\n"
	    "tracestate:  b=2,c=3 \r\nTRACESTATE:\r\ntraceparent: t1\r\ntraceparent: t2\r\n\r\n";
	struct http_in in;
	struct buf b = { 0 };
	purser_bytes v;

	(void)state;
	http_in_init(&in, &limits);
	assert_int_equal(http_in_feed(&in, (const uint8_t *)text, sizeof text - 1), sizeof text - 1);
	assert_int_equal(in.event, HTTP_IN_REQUEST);
	http_head_join(&in.head, HTTP_H_TRACESTATE, &b);
	assert_string_equal(buf_cstr(&b), "a=1,b=2,c=3,");
	assert_int_equal(http_head_count(&in.head, HTTP_H_TRACESTATE), 3);
	assert_int_equal(http_head_count(&in.head, HTTP_H_TRACEPARENT), 2);
	assert_int_equal(http_head_count(&in.head, HTTP_H_ACCEPT), 0);
	v = http_head_find(&in.head, "x-other");
	assert_int_equal(v.n, 1);
	assert_memory_equal(v.p, "o", 1);
	assert_null(http_head_find(&in.head, "x-othe").p);
	assert_null(http_head_value(&in.head, HTTP_H_ACCEPT).p);
	buf_free(&b);
	http_in_free(&in);
}

static void decodes_the_query(void **state)
{
	static const char query[] = "key=a%20b+%2b%00&&flag&=x&k=v=w&empty=";
	static const char *const names[] = { "key", "flag", "", "k", "empty" };
	purser_bytes rest = { (const uint8_t *)query, sizeof query - 1 }, name, value;
	uint8_t out[64];
	size_t i = 0;

	(void)state;
	while (http_query_next(&rest, &name, &value)) {
		assert_true(i < 5);
		assert_int_equal(name.n, strlen(names[i]));
		assert_memory_equal(name.p, names[i], name.n);
		if (i == 0) {
			assert_int_equal(http_unescape(out, value.p, value.n, true), 6);
			assert_memory_equal(out, "a b +\0", 6);
			assert_int_equal(http_unescape(out, value.p, value.n, false), 6);
			assert_memory_equal(out, "a b++\0", 6);
		} else if (i == 1) {
			assert_null(value.p);
		} else if (i == 3) {
			assert_memory_equal(value.p, "v=w", 3);
		} else if (i == 4) {
			assert_non_null(value.p);
			assert_int_equal(value.n, 0);
		}
		i++;
	}
	assert_int_equal(i, 5);
}

/* Random pipelines of valid requests, damaged or not, cut at random: always the same story. */
static void any_split_is_the_same(void **state)
{
	static const char *const parts[] = {
		"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nGET ",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4;e\r\nbody\r\n0\r\nA: b\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n!", "\r\n",
	};
	const char *seed = getenv("PURSER_SEED");
	char text[1024];

	(void)state;
	rnd_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	printf("# PURSER_SEED=%" PRIu64 "\n", rnd_state);
	for (int round = 0; round < 150; round++) {
		size_t n = 0;

		for (uint64_t k = 1 + rnd() % 5; k; k--)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s", parts[rnd() % 6]);
		for (uint64_t k = rnd() % 3; k && n; k--)
			text[rnd() % n] = (char)"\r\n :x\0%1"[rnd() % 8];
		free(transcript(text, n));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),
		cmocka_unit_test(bodies),
		cmocka_unit_test(pipelines),
		cmocka_unit_test(refuses),
		cmocka_unit_test(limits_of_the_head),
		cmocka_unit_test(limits_of_the_parser),
		cmocka_unit_test(reads_headers),
		cmocka_unit_test(decodes_the_query),
		cmocka_unit_test(any_split_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
