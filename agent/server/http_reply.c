/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "resp/json_text.h"
#include "server/http_reply.h"

enum { REQUEST_ID_MAX = 128 };

const char *http_status_text(int status)
{
	switch (status) {
	case 200: return "OK";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 409: return "Conflict";
	case 410: return "Gone";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 415: return "Unsupported Media Type";
	case 417: return "Expectation Failed";
	case 422: return "Unprocessable Content";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	case 507: return "Insufficient Storage";
	}
	return "Unknown";
}

/* What a client sent as its request id comes back only if it cannot break a header line. */
static bool printable(purser_bytes b)
{
	if (!b.n || b.n > REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] <= 0x20 || b.p[i] >= 0x7f)
			return false;
	return true;
}

enum http_framing http_reply_head(struct buf *out, struct http_reply *r)
{
	enum http_framing framing = HTTP_PLAIN;

	buf_printf(out, "HTTP/1.1 %d %s\r\n", r->status, http_status_text(r->status));
	if (r->type)
		buf_printf(out, "Content-Type: %s\r\n", r->type);
	if (r->length != HTTP_LENGTH_UNKNOWN) {
		buf_printf(out, "Content-Length: %llu\r\n", (unsigned long long)r->length);
	} else if (r->minor) {
		buf_puts(out, "Transfer-Encoding: chunked\r\n");
		framing = HTTP_CHUNKED;
	} else {
		r->close = true;
		framing = HTTP_UNTIL_CLOSE;
	}
	if (r->close)
		buf_puts(out, "Connection: close\r\n");
	else if (!r->minor)
		buf_puts(out, "Connection: keep-alive\r\n");
	if (r->allow)
		buf_printf(out, "Allow: %s\r\n", r->allow);
	if (r->status == 401)
		buf_puts(out, "WWW-Authenticate: Bearer realm=\"purser\"\r\n");
	if (r->retry_after)
		buf_printf(out, "Retry-After: %u\r\n", r->retry_after);
	if (printable(r->request_id)) {
		buf_puts(out, "X-Request-Id: ");
		buf_put(out, r->request_id.p, r->request_id.n);
		buf_puts(out, "\r\n");
	}
	buf_puts(out, "Cache-Control: no-store\r\n\r\n");
	return framing;
}

void http_reply_chunk(struct buf *out, const void *p, size_t n)
{
	if (!n)
		return;
	buf_printf(out, "%zx\r\n", n);
	buf_put(out, p, n);
	buf_puts(out, "\r\n");
}

void http_reply_last(struct buf *out)
{
	buf_puts(out, "0\r\n\r\n");
}

/* Seconds, rounded up, of "retry_after_ms=N" in the text; 0: it says nothing. */
static uint32_t retry_after(const char *text, size_t n)
{
	static const char key[] = "retry_after_ms=";
	const char *p = memmem(text, n, key, sizeof key - 1), *end = text + n;
	uint64_t ms = 0;

	if (!p)
		return 0;
	for (p += sizeof key - 1; p < end && *p >= '0' && *p <= '9' && ms < UINT32_MAX; p++)
		ms = ms * 10 + (uint64_t)(*p - '0');
	return ms < UINT32_MAX ? (uint32_t)((ms + 999) / 1000) : 0;
}

/* Bytes of the error word that the text begins with ("WRONGTYPE"), 0: none. */
static size_t word_of(const char *text, size_t n)
{
	size_t i = 0;

	while (i < n && ((text[i] >= 'A' && text[i] <= 'Z') || text[i] == '_' || text[i] == '-'))
		i++;
	return i < n && text[i] != ' ' ? 0 : i;
}

void http_reply_problem(struct buf *out, struct http_reply *r, enum err_code code, const void *text,
    size_t n)
{
	const struct err_row *row = &err_rows[code];
	const char *detail = text ? text : row->text, *word = row->word, *title;
	struct buf body = { 0 };
	size_t len, word_n = strlen(word);

	if (!text)
		n = strlen(detail);
	len = word_of(detail, n);
	if (code == ERR_REDIS && len) {
		word = detail;
		word_n = len;
	}
	/* "WORD text": the word is told once, as the code. */
	if (len == word_n && memcmp(word, detail, len) == 0 && len < n) {
		detail += len + 1;
		n -= len + 1;
	}
	if (!r->status)
		r->status = row->http;
	buf_puts(&body, "{\"type\":\"urn:purser:error:");
	buf_put(&body, word, word_n);
	title = r->status == row->http ? row->text : http_status_text(r->status);
	buf_puts(&body, "\",\"title\":");
	json_put_text(&body, title, strlen(title));
	buf_printf(&body, ",\"status\":%d,\"code\":\"", r->status);
	buf_put(&body, word, word_n);
	buf_puts(&body, "\",\"detail\":");
	json_put_text(&body, detail, n);
	buf_printf(&body, ",\"retryable\":%s}\n", row->retryable ? "true" : "false");
	r->type = "application/problem+json";
	r->length = buf_len(&body);
	if (!r->retry_after)
		r->retry_after = retry_after(detail, n);
	http_reply_head(out, r);
	if (!r->head_only)
		buf_put(out, buf_data(&body), buf_len(&body));
	if (body.failed)
		out->failed = true;
	buf_free(&body);
}
