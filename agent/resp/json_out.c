/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <purser/resp.h>
#include "resp/json_out.h"
#include "resp/json_scan.h"
#include "resp/json_text.h"

enum {
	S_HEADER,             /* a header line is next, or a part of it is held */
	S_HOLD,               /* a string that is collected until it is whole */
	S_HOLD_TAIL,          /* its CR LF */
	S_BASE64,             /* a string that goes out as base64 as it comes */
	S_BASE64_TAIL,
	S_DONE
};
enum { PREFIX = 4 };          /* "txt:" of a verbatim string */

void json_out_init(struct json_out *j, unsigned flags, size_t hold_max)
{
	memset(j, 0, sizeof *j);
	j->flags = flags;
	j->hold_max = hold_max ? hold_max : JSON_OUT_HOLD;
}

void json_out_reset(struct json_out *j)
{
	buf_clear(&j->hold);
	j->state = S_HEADER;
	j->depth = 0;
	j->root = 0;
	j->root_null = j->root_base64 = false;
	j->error = NULL;
}

void json_out_free(struct json_out *j)
{
	buf_free(&j->hold);
}

bool json_out_done(const struct json_out *j)
{
	return j->state == S_DONE;
}

static int bad(struct json_out *j, const char *why)
{
	j->error = why;
	return -1;
}

static inline struct json_out_level *top(struct json_out *j)
{
	return j->depth ? &j->level[j->depth - 1] : NULL;
}

static inline bool in_attribute(const struct json_out *j)
{
	for (unsigned i = 0; i < j->depth; i++)
		if (j->level[i].kind == '|')
			return true;
	return false;
}

/* Is the value at hand a name of a map? */
static inline bool at_name(struct json_out *j)
{
	struct json_out_level *t = top(j);

	return t && t->kind == '%' && t->left % 2 == 0;
}

/* What stands in front of a value. */
static void lead(struct json_out *j, struct buf *out)
{
	struct json_out_level *t = top(j);

	if (!t)
		return;
	if (t->kind == '%' && t->left % 2)
		buf_putc(out, ':');
	else if (!t->first)
		buf_putc(out, ',');
	t->first = false;
}

/* A value is complete: so may be the aggregates that it closes. */
static void closed(struct json_out *j, struct buf *out)
{
	for (;;) {
		struct json_out_level *t = top(j);
		uint8_t kind;

		if (!t) {
			j->state = S_DONE;
			return;
		}
		if (--t->left)
			return;
		kind = t->kind;
		j->depth--;
		if (kind == '|')
			return; /* an attribute is no value: the one it describes follows */
		if (!in_attribute(j))
			buf_putc(out, kind == '%' ? '}' : ']');
	}
}

/* Opens an aggregate of n values (a map: names and values). */
static int opened(struct json_out *j, uint8_t kind, uint64_t n, struct buf *out)
{
	bool silent = in_attribute(j) || kind == '|';

	if (at_name(j) && kind != '|')
		return bad(j, "a map has a name that is no scalar");
	if (n && j->depth == JSON_OUT_DEPTH)
		return bad(j, "the reply is nested too deeply");
	if (!silent) {
		lead(j, out);
		buf_putc(out, kind == '%' ? '{' : '[');
		if (!n)
			buf_putc(out, kind == '%' ? '}' : ']');
	}
	if (!n) {
		if (kind != '|')
			closed(j, out);
		return 0;
	}
	j->level[j->depth++] = (struct json_out_level){ .left = n, .kind = kind, .first = true };
	return 0;
}

/* A scalar whose JSON text is at hand. */
static void literal(struct json_out *j, const char *p, size_t n, bool quoted, struct buf *out)
{
	if (!in_attribute(j)) {
		quoted |= at_name(j);
		lead(j, out);
		if (quoted)
			buf_putc(out, '"');
		buf_put(out, p, n);
		if (quoted)
			buf_putc(out, '"');
	}
	closed(j, out);
}

/* What stands in front of and behind the base64 of a value. */
static void open_base64(struct json_out *j, struct buf *out)
{
	j->root_base64 = j->depth == 0 && (j->flags & JSON_OUT_BARE);
	buf_puts(out, j->root_base64 ? "\"" : "{\"encoding\":\"base64\",\"value\":\"");
}

static void close_base64(struct json_out *j, struct buf *out)
{
	buf_puts(out, j->root_base64 ? "\"" : "\"}");
}

/* A string that is whole. */
static void string(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	static const char mark[] = "base64:";
	const size_t m = sizeof mark - 1;

	if (in_attribute(j)) {
		closed(j, out);
		return;
	}
	if (at_name(j)) {
		lead(j, out);
		if (n <= j->hold_max && (n < m || memcmp(p, mark, m) != 0) && utf8_valid(p, n)) {
			json_put_string(out, p, n);
		} else {
			buf_printf(out, "\"%s", mark);
			base64_put(out, p, n);
			buf_putc(out, '"');
		}
	} else {
		lead(j, out);
		if (!(j->flags & JSON_OUT_BASE64) && n <= j->hold_max && utf8_valid(p, n)) {
			json_put_string(out, p, n);
		} else {
			open_base64(j, out);
			base64_put(out, p, n);
			close_base64(j, out);
		}
	}
	closed(j, out);
}

/* A verbatim string that says it is JSON, and is. */
static bool is_json(const struct json_out *j, const uint8_t *p, size_t n)
{
	struct json_scan s = { .p = p + PREFIX, .end = p + n };

	return j->type == '=' && memcmp(p, "jsn:", PREFIX) == 0 && !(j->flags & JSON_OUT_BASE64) &&
	    jscan_skip(&s) == 0 && jscan_end(&s) == 0;
}

static int error_text(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	if (at_name(j))
		return bad(j, "a map has a name that is no scalar");
	if (!in_attribute(j)) {
		lead(j, out);
		buf_puts(out, "{\"error\":");
		json_put_text(out, p, n);
		buf_putc(out, '}');
	}
	closed(j, out);
	return 0;
}

static bool is(const uint8_t *p, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(p, word, n) == 0;
}

static int number(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	const char *text = (const char *)p;
	char tmp[65], *end;
	double d;
	int len;

	if (is(p, n, "inf") || is(p, n, "-inf") || is(p, n, "nan")) {
		literal(j, text, n, true, out);
		return 0;
	}
	if (is(p, n, "-nan")) {
		literal(j, "nan", 3, true, out);
		return 0;
	}
	if (n && jscan_number(p, n) == n) {
		literal(j, text, n, false, out);
		return 0;
	}
	/* Other spellings (".5", "1.", "+1"): by value. */
	if (n == 0 || n >= sizeof tmp)
		return bad(j, "a double is no number");
	memcpy(tmp, p, n);
	tmp[n] = '\0';
	d = strtod(tmp, &end);
	if (end != tmp + n || strspn(tmp, "+-.0123456789eE") < n || d - d != 0)
		return bad(j, "a double is no number");
	len = snprintf(tmp, sizeof tmp, "%.17g", d);
	literal(j, tmp, (size_t)len, false, out);
	return 0;
}

static int big_number(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	size_t i = n && (p[0] == '-' || p[0] == '+') ? 1 : 0;

	if (i == n)
		return bad(j, "a big number has no digits");
	for (; i < n; i++)
		if (p[i] < '0' || p[i] > '9')
			return bad(j, "a big number has something else than digits");
	literal(j, (const char *)p, n, true, out);
	return 0;
}

/* A string of v bytes begins. */
static int begin_string(struct json_out *j, uint8_t type, uint64_t v, struct buf *out)
{
	if (type == '=' && v < PREFIX)
		return bad(j, "a verbatim string without its format");
	j->type = type;
	j->bulk = v;
	j->prefix = type == '=' ? PREFIX : 0;
	j->tail = 2;
	buf_clear(&j->hold);
	if (v - j->prefix <= j->hold_max || type == '!') {
		if (type == '!' && v > PURSER_RESP_LINE_MAX)
			return bad(j, "an error is too long");
		j->state = S_HOLD;
		return 0;
	}
	j->state = S_BASE64;
	if (!in_attribute(j)) {
		bool name = at_name(j);

		lead(j, out);
		if (name)
			buf_puts(out, "\"base64:");
		else
			open_base64(j, out);
	}
	return 0;
}

/* One header line, without CR LF. */
static int header(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	uint8_t type = p[0];
	char tmp[24];
	int64_t v;

	if (j->depth == 0 && type != '|')
		j->root = type;
	p++;
	n--;
	switch (type) {
	case '+':
		string(j, p, n, out);
		return 0;
	case '-':
		return error_text(j, p, n, out);
	case ',':
		return number(j, p, n, out);
	case '(':
		return big_number(j, p, n, out);
	case '_':
		if (n)
			return bad(j, "a null with something behind it");
		j->root_null |= j->depth == 0;
		literal(j, "null", 4, false, out);
		return 0;
	case '#':
		if (n != 1 || (*p != 't' && *p != 'f'))
			return bad(j, "a boolean is neither t nor f");
		literal(j, *p == 't' ? "true" : "false", *p == 't' ? 4 : 5, false, out);
		return 0;
	case ':': case '$': case '=': case '!': case '*': case '~': case '>': case '%': case '|':
		break;
	default:
		return bad(j, "a byte that begins no RESP value");
	}
	if (purser_resp_int(p, n, &v) || (type != ':' && *p == '+'))
		return bad(j, "a length or an integer is no number");
	if (type == ':') {
		literal(j, tmp, dec_i64(tmp, v), false, out);
		return 0;
	}
	if (v == -1 && (type == '$' || type == '*')) {
		j->root_null |= j->depth == 0;
		literal(j, "null", 4, false, out);
		return 0;
	}
	if (type == '$' || type == '=' || type == '!') {
		if (v < 0 || (uint64_t)v > PURSER_RESP_BULK_MAX)
			return bad(j, "a string's length is out of range");
		return begin_string(j, type, (uint64_t)v, out);
	}
	if (v < 0 || v > (INT64_C(1) << 32))
		return bad(j, "an aggregate's length is out of range");
	return opened(j, type, (uint64_t)v * (type == '%' || type == '|' ? 2 : 1), out);
}

/* A header line at p[0..n), perhaps with a beginning that is held. */
static int64_t feed_header(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	const uint8_t *lf = memchr(p, '\n', n), *line = p;
	size_t used = lf ? (size_t)(lf - p) + 1 : n, len = used, held = buf_len(&j->hold);
	int rc;

	if (held + used > PURSER_RESP_LINE_MAX + 3)
		return bad(j, "a header line is too long");
	if (held || !lf) {
		buf_put(&j->hold, p, used);
		if (j->hold.failed)
			return bad(j, "out of memory");
		line = buf_data(&j->hold);
		len = held + used;
	}
	if (!lf)
		return (int64_t)used;
	if (len < 3 || line[len - 2] != '\r' || memchr(line, '\r', len) != line + len - 2)
		return bad(j, "a header line does not end in CR LF");
	rc = header(j, line, len - 2, out);
	if (held)
		buf_clear(&j->hold);
	return rc ? -1 : (int64_t)used;
}

/* The string is whole at p. */
static int hold_done(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	j->state = S_HEADER;
	if (!p)
		p = (const uint8_t *)""; /* of an empty string nothing was held */
	if (j->type == '!')
		return error_text(j, p, n, out);
	if (is_json(j, p, n))
		literal(j, (const char *)p + PREFIX, n - PREFIX, false, out);
	else
		string(j, p + j->prefix, n - j->prefix, out);
	return 0;
}

static int64_t feed_hold(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	size_t held = buf_len(&j->hold), want = (size_t)j->bulk - held;

	/* It goes out behind its CR LF, so that a string with a wrong end is not shown. */
	if (!held && n >= want + 2) {
		if (p[want] != '\r' || p[want + 1] != '\n')
			return bad(j, "no CR LF behind a string");
		return hold_done(j, p, want, out) ? -1 : (int64_t)want + 2;
	}
	if (n < want)
		want = n;
	buf_put(&j->hold, p, want);
	if (j->hold.failed)
		return bad(j, "out of memory");
	if (buf_len(&j->hold) == j->bulk)
		j->state = S_HOLD_TAIL;
	return (int64_t)want;
}

/* Whole groups of three bytes go out; what is left over is held. */
static int64_t feed_base64(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	size_t used = n < j->bulk ? n : (size_t)j->bulk, at = 0, groups;
	bool silent = in_attribute(j);

	j->bulk -= used;
	while (at < used && j->prefix) {
		j->prefix--;
		at++;
	}
	while (at < used && buf_len(&j->hold) % 3)
		buf_putc(&j->hold, (char)p[at++]);
	if (buf_len(&j->hold) == 3) {
		if (!silent)
			base64_put(out, buf_data(&j->hold), 3);
		buf_clear(&j->hold);
	}
	groups = (used - at) / 3 * 3;
	if (!buf_len(&j->hold)) {
		if (!silent)
			base64_put(out, p + at, groups);
		at += groups;
		buf_put(&j->hold, p + at, used - at);
	}
	if (j->hold.failed)
		return bad(j, "out of memory");
	if (!j->bulk)
		j->state = S_BASE64_TAIL;
	return (int64_t)used;
}

static int64_t feed_tail(struct json_out *j, const uint8_t *p, struct buf *out)
{
	int rc = 0;

	if (*p != (j->tail == 2 ? '\r' : '\n'))
		return bad(j, "no CR LF behind a string");
	if (--j->tail)
		return 1;
	if (j->state == S_HOLD_TAIL) {
		rc = hold_done(j, buf_data(&j->hold), buf_len(&j->hold), out);
	} else {
		j->state = S_HEADER;
		if (!in_attribute(j)) {
			base64_put(out, buf_data(&j->hold), buf_len(&j->hold));
			if (at_name(j))
				buf_putc(out, '"');
			else
				close_base64(j, out);
		}
		closed(j, out);
	}
	buf_clear(&j->hold);
	return rc ? -1 : 1;
}

int64_t json_out_feed(struct json_out *j, const uint8_t *p, size_t n, struct buf *out)
{
	size_t at = 0;

	if (j->error)
		return -1;
	while (at < n && j->state != S_DONE) {
		int64_t used;

		switch (j->state) {
		case S_HEADER:
			used = feed_header(j, p + at, n - at, out);
			break;
		case S_HOLD:
			used = feed_hold(j, p + at, n - at, out);
			break;
		case S_BASE64:
			used = feed_base64(j, p + at, n - at, out);
			break;
		default:
			used = feed_tail(j, p + at, out);
		}
		if (used < 0)
			return -1;
		at += (size_t)used;
	}
	if (out->failed)
		return bad(j, "out of memory");
	return (int64_t)at;
}
