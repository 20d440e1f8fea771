/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include <purser/resp.h>
#include "resp/json_text.h"
#include "server/http_answer.h"
#include "server/http_events.h"

#define NO_MARK SIZE_MAX

/* ---- putting the response out ------------------------------------------------------------------- */

/* A problem in place of the answer; the connection is cut if some of the answer is already out. */
static void fail(struct http_answer *a, enum err_code code, const void *text, size_t n)
{
	if (a->answered)
		return;
	a->answered = true;
	buf_clear(&a->body);
	if (a->head_sent) {
		a->cut = a->close = true;
		return;
	}
	a->reply.status = 0;
	http_reply_problem(&a->out, &a->reply, code, text, n);
	a->close = a->reply.close;
	a->head_sent = true;
}

static void internal(struct http_answer *a, const char *why)
{
	fail(a, ERR_INTERNAL, why, strlen(why));
}

static void send_head(struct http_answer *a, uint64_t length)
{
	a->reply.length = length;
	a->framing = http_reply_head(&a->out, &a->reply);
	a->close = a->reply.close;
	a->head_sent = true;
}

static void send_body(struct http_answer *a)
{
	if (!a->reply.head_only) {
		if (a->framing == HTTP_CHUNKED)
			http_reply_chunk(&a->out, buf_data(&a->body), buf_len(&a->body));
		else
			buf_put(&a->out, buf_data(&a->body), buf_len(&a->body));
	}
	buf_clear(&a->body);
}

/* The body has grown: too large to be held, it begins to go out. */
static void grown(struct http_answer *a)
{
	if (a->body.failed) {
		fail(a, ERR_OOM, NULL, 0);
		return;
	}
	if (buf_len(&a->body) <= HTTP_ANSWER_HOLD || a->answered || a->call->route->kind == HTTP_KIND_EVENTS)
		return;
	if (!a->head_sent)
		send_head(a, HTTP_LENGTH_UNKNOWN);
	send_body(a);
	a->mark = NO_MARK;
}

static void finish(struct http_answer *a)
{
	a->done = true;
	if (a->body.failed)
		fail(a, ERR_OOM, NULL, 0);
	if (a->answered)
		return;
	if (a->call->route->kind == HTTP_KIND_EVENTS) {
		a->reply.close = true;
		send_head(a, HTTP_LENGTH_UNKNOWN);
		send_body(a);
		a->streams = true;
		return;
	}
	if (!a->head_sent)
		send_head(a, buf_len(&a->body));
	send_body(a);
	if (a->framing == HTTP_CHUNKED && !a->reply.head_only)
		http_reply_last(&a->out);
}

/* ---- replies that are passed on as plain text --------------------------------------------------- */

enum { T_TYPE, T_LENGTH, T_SIMPLE, T_BULK, T_CR, T_LF, T_DONE };

static int text_length(struct http_answer *a, uint8_t c)
{
	int64_t v;

	if (c != '\n') {
		if (a->text.n == sizeof a->text.line)
			return -1;
		a->text.line[a->text.n++] = (char)c;
		return 0;
	}
	if (!a->text.n || a->text.line[a->text.n - 1] != '\r' ||
	    purser_resp_int((const uint8_t *)a->text.line, a->text.n - 1u, &v) || v < a->text.prefix)
		return -1;
	a->text.left = (uint64_t)v;
	a->text.state = v ? T_BULK : T_CR;
	return 0;
}

static size_t text_bulk(struct http_answer *a, const uint8_t *p, size_t n)
{
	size_t at = 0;

	if (n > a->text.left)
		n = (size_t)a->text.left;
	a->text.left -= n;
	if (!a->text.left)
		a->text.state = T_CR;
	for (; at < n && a->text.prefix; at++)
		a->text.prefix--;
	buf_put(&a->body, p + at, n - at);
	return n;
}

static int text_byte(struct http_answer *a, uint8_t c)
{
	switch (a->text.state) {
	case T_TYPE:
		a->text.state = c == '+' ? T_SIMPLE : T_LENGTH;
		a->text.prefix = c == '=' ? 4 : 0;
		return c == '+' || c == '=' || c == '$' ? 0 : -1;
	case T_LENGTH:
		return text_length(a, c);
	case T_SIMPLE:
		if (c == '\r')
			a->text.state = T_LF;
		else
			buf_putc(&a->body, (char)c);
		return 0;
	case T_CR:
		a->text.state = T_LF;
		return c == '\r' ? 0 : -1;
	case T_LF:
		a->text.state = T_DONE;
		return c == '\n' ? 0 : -1;
	}
	return -1;
}

static void text_raw(struct http_answer *a, const uint8_t *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		if (a->text.state == T_BULK) {
			at += text_bulk(a, p + at, n - at);
		} else if (text_byte(a, p[at++])) {
			internal(a, "the command of this path did not answer with text");
			return;
		}
	}
}

/* ---- replies as JSON ---------------------------------------------------------------------------- */

static void json_raw(struct http_answer *a, const uint8_t *p, size_t n, struct buf *to)
{
	if (json_out_feed(&a->json, p, n, to) == (int64_t)n)
		return;
	if (to->failed)
		fail(a, ERR_OOM, NULL, 0);
	else
		fail(a, ERR_BACKENDPROTOCOL, NULL, 0);
}

static void put_key(struct http_answer *a)
{
	purser_bytes k = a->call->key;

	buf_puts(&a->body, "{\"key\":");
	if (utf8_valid(k.p, k.n)) {
		json_put_string(&a->body, k.p, k.n);
		return;
	}
	buf_puts(&a->body, "{\"encoding\":\"base64\",\"value\":\"");
	base64_put(&a->body, k.p, k.n);
	buf_puts(&a->body, "\"}");
}

/* The collected reply is an integer: its value. */
static bool small_integer(struct http_answer *a, int64_t *v)
{
	if (json_out_done(&a->json) && a->json.root == ':' &&
	    purser_resp_int(buf_data(&a->small), buf_len(&a->small), v) == 0)
		return true;
	internal(a, "an integer was expected of the store");
	return false;
}

/* GET, then PTTL. */
static void kv_get_end(struct http_answer *a)
{
	int64_t ttl;

	if (a->at == 0) {
		a->absent = a->json.root_null;
		a->base64 = a->json.root_base64;
		return;
	}
	if (a->absent) {
		fail(a, ERR_NOKEY, NULL, 0);
		return;
	}
	if (!small_integer(a, &ttl))
		return;
	if (a->base64)
		buf_puts(&a->body, ",\"encoding\":\"base64\"");
	/* -1: no expiry; -2: it has expired since GET read it. */
	buf_puts(&a->body, ",\"ttl_ms\":");
	if (ttl == -1)
		buf_puts(&a->body, "null");
	else
		buf_puti(&a->body, ttl < 0 ? 0 : ttl);
	buf_puts(&a->body, "}\n");
}

static void kv_set_end(struct http_answer *a)
{
	if (a->json.root != '+') {
		internal(a, "OK was expected of the store");
		return;
	}
	put_key(a);
	buf_puts(&a->body, ",\"stored\":true}\n");
}

static void kv_del_end(struct http_answer *a)
{
	int64_t n;

	if (!small_integer(a, &n))
		return;
	put_key(a);
	buf_printf(&a->body, ",\"deleted\":%s}\n", n ? "true" : "false");
}

/* Nil of a command that takes something. */
static void taken(struct http_answer *a)
{
	static const char text[] = "CONFLICT somebody else has it: try again, or wait for it with wait_ms";

	fail(a, ERR_CONFLICT, text, sizeof text - 1);
}

/* Every value of the reply: an event.  Those of SUBSCRIBE are as many as the names. */
static void events_end(struct http_answer *a)
{
	const uint8_t *p = buf_data(&a->small);
	size_t n = buf_len(&a->small);
	bool closed = false;

	if (n == 3 && *p == '_') {
		taken(a);
		return;
	}
	while (n) {
		int64_t used = http_event_put(&a->body, p, n, &a->json, &closed);

		if (used <= 0) {
			fail(a, a->small.failed ? ERR_OOM : ERR_BACKENDPROTOCOL, NULL, 0);
			return;
		}
		p += used;
		n -= (size_t)used;
	}
}

/* ---- the four doors ----------------------------------------------------------------------------- */

static bool is_text(const struct http_answer *a)
{
	enum http_kind k = a->call->route->kind;

	return k == HTTP_KIND_JSON || k == HTTP_KIND_TEXT || k == HTTP_KIND_METRICS;
}

static const char *content_type(enum http_kind k)
{
	switch (k) {
	case HTTP_KIND_TEXT:
		return "text/plain; charset=utf-8";
	case HTTP_KIND_EVENTS:
		return "text/event-stream";
	case HTTP_KIND_METRICS:
		return "text/plain; version=0.0.4; charset=utf-8";
	default:
		return "application/json";
	}
}

/* In front of the reply to command at. */
static void open_reply(struct http_answer *a)
{
	enum http_kind k = a->call->route->kind;

	json_out_reset(&a->json);
	memset(&a->text, 0, sizeof a->text);
	buf_clear(&a->small);
	a->mark = buf_len(&a->body);
	if (k == HTTP_KIND_KV_GET && a->at == 0) {
		put_key(a);
		buf_puts(&a->body, ",\"value\":");
	} else if (k == HTTP_KIND_COMMAND) {
		if (a->call->pipeline)
			buf_putc(&a->body, a->at ? ',' : '[');
		buf_puts(&a->body, "{\"result\":");
	}
}

static void read_head(struct http_answer *a, const struct http_head *h)
{
	purser_bytes id = http_head_value(h, HTTP_H_X_REQUEST_ID);

	if (id.n && id.n <= sizeof a->request_id) {
		memcpy(a->request_id, id.p, id.n);
		a->reply.request_id = (purser_bytes){ (const uint8_t *)a->request_id, id.n };
	}
	a->reply.minor = h->minor;
	a->reply.head_only = h->method == HTTP_HEAD;
	a->reply.close = !h->keep_alive;
}

/* Everything but the buffers starts again. */
static void reset(struct http_answer *a)
{
	struct http_answer old = *a;

	memset(a, 0, sizeof *a);
	a->out = old.out;
	a->body = old.body;
	a->small = old.small;
	a->json = old.json;
	buf_clear(&a->body);
	buf_clear(&a->small);
}

void http_answer_begin(struct http_answer *a, const struct http_call *call, const struct http_head *h)
{
	reset(a);
	a->call = call;
	read_head(a, h);
	a->reply.status = 200;
	a->reply.type = content_type(call->route->kind);
	if (!a->json.hold_max)
		json_out_init(&a->json, 0, 0);
	a->json.flags = (call->base64 ? JSON_OUT_BASE64 : 0) |
	    (call->route->kind == HTTP_KIND_KV_GET ? JSON_OUT_BARE : 0);
	open_reply(a);
}

void http_answer_raw(struct http_answer *a, const uint8_t *p, size_t n)
{
	enum http_kind k = a->call->route->kind;

	if (a->done || a->answered)
		return;
	if (is_text(a))
		text_raw(a, p, n);
	else if (k == HTTP_KIND_EVENTS)
		buf_put(&a->small, p, n);
	else if (k == HTTP_KIND_COMMAND || k == HTTP_KIND_VALUE || k == HTTP_KIND_FOUND || k == HTTP_KIND_GIVEN ||
	    (k == HTTP_KIND_KV_GET && a->at == 0))
		json_raw(a, p, n, &a->body);
	else
		json_raw(a, p, n, &a->small);
	grown(a);
}

/* The next command's reply, or the end. */
static void next(struct http_answer *a)
{
	grown(a);
	if (++a->at == a->call->cmds.ncmds)
		finish(a);
	else if (!a->answered)
		open_reply(a);
}

static void close_element(struct http_answer *a)
{
	buf_putc(&a->body, '}');
	if (a->call->pipeline && a->at + 1 == a->call->cmds.ncmds)
		buf_putc(&a->body, ']');
	if (a->at + 1 == a->call->cmds.ncmds)
		buf_putc(&a->body, '\n');
}

void http_answer_end(struct http_answer *a)
{
	bool whole = a->call->route->kind == HTTP_KIND_EVENTS || (is_text(a) ? a->text.state == T_DONE :
	    json_out_done(&a->json));

	if (a->done)
		return;
	if (!a->answered && !whole)
		internal(a, "the reply is not complete");
	if (!a->answered) {
		switch (a->call->route->kind) {
		case HTTP_KIND_KV_GET:
			kv_get_end(a);
			break;
		case HTTP_KIND_KV_SET:
			kv_set_end(a);
			break;
		case HTTP_KIND_KV_DEL:
			kv_del_end(a);
			break;
		case HTTP_KIND_COMMAND:
			close_element(a);
			break;
		case HTTP_KIND_EVENTS:
			events_end(a);
			break;
		default:
			if (a->call->route->kind == HTTP_KIND_FOUND && a->json.root_null)
				fail(a, ERR_NOKEY, NULL, 0);
			else if (a->call->route->kind == HTTP_KIND_GIVEN && a->json.root_null)
				taken(a);
			else if (!buf_len(&a->body) || a->body.p[a->body.end - 1] != '\n')
				buf_putc(&a->body, '\n');
		}
	}
	next(a);
}

/* In a pipeline an error takes its reply's place, if nothing of that is out. */
static bool error_element(struct http_answer *a, enum err_code code, const void *text, size_t n)
{
	if (!a->call->pipeline || a->mark == NO_MARK)
		return false;
	a->body.end = a->body.at + a->mark;
	buf_putc(&a->body, a->at ? ',' : '[');
	buf_puts(&a->body, "{\"error\":");
	if (text) {
		json_put_text(&a->body, text, n);
	} else {
		buf_printf(&a->body, "\"%s ", err_rows[code].word);
		buf_printf(&a->body, "%s\"", err_rows[code].text);
	}
	close_element(a);
	return true;
}

void http_answer_error(struct http_answer *a, enum err_code code, const void *text, size_t n)
{
	if (a->done)
		return;
	if (a->absent) /* what PTTL says does not matter any more */
		fail(a, ERR_NOKEY, NULL, 0);
	else if (a->answered || !error_element(a, code, text, n))
		fail(a, code, text, n);
	next(a);
}

void http_answer_refuse(struct http_answer *a, const struct http_head *h, const struct http_bad *bad,
    bool close)
{
	reset(a);
	read_head(a, h);
	a->reply.close |= close;
	a->reply.status = bad->status;
	a->reply.allow = *bad->allow ? bad->allow : NULL;
	http_reply_problem(&a->out, &a->reply, bad->code, bad->text, strlen(bad->text));
	a->close = a->reply.close;
	a->done = a->answered = true;
}

void http_answer_free(struct http_answer *a)
{
	buf_free(&a->out);
	buf_free(&a->body);
	buf_free(&a->small);
	json_out_free(&a->json);
	memset(a, 0, sizeof *a);
}
