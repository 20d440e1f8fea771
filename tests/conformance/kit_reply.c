/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: the shape of replies.  Raw bytes must be one value of the right RESP version, typed values
 * as many as were announced, an error whole and alone.
 */
#include <config.h>
#include "kit.h"

#include <ctype.h>
#include <string.h>
#include <purser/resp.h>

/* One value at p[at..n): where it ends, or -1 with *why.  Prints it to out if that is not NULL. */
static int64_t walk(const uint8_t *p, size_t n, size_t at, unsigned resp, unsigned depth,
	struct buf *out, const char **why);

static void print_text(struct buf *out, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (isprint(p[i]) && p[i] != '\\')
			buf_putc(out, (char)p[i]);
		else
			buf_printf(out, "\\x%02x", p[i]);
	}
}

static int64_t walk_bulk(const uint8_t *p, size_t n, size_t at, int64_t len, struct buf *out,
    const char **why)
{
	if (n - at < 2 || (uint64_t)len > n - at - 2) {
		*why = "a bulk string is cut short";
		return -1;
	}
	if (memcmp(p + at + len, "\r\n", 2) != 0) {
		*why = "a bulk string does not end with CR LF";
		return -1;
	}
	if (out) {
		buf_putc(out, '$');
		print_text(out, p + at, (size_t)len);
	}
	return (int64_t)at + len + 2;
}

static int64_t walk_many(const uint8_t *p, size_t n, size_t at, int64_t count, char type,
	unsigned resp, unsigned depth, struct buf *out, const char **why)
{
	if (depth > 32) {
		*why = "values are nested deeper than 32";
		return -1;
	}
	if (type == '%')
		count *= 2;
	if (out)
		buf_putc(out, type == '%' ? '{' : type == '~' ? '<' : '[');
	for (int64_t i = 0; i < count; i++) {
		int64_t end;

		if (out && i)
			buf_putc(out, ' ');
		end = walk(p, n, at, resp, depth + 1, out, why);
		if (end < 0)
			return -1;
		at = (size_t)end;
	}
	if (out)
		buf_putc(out, type == '%' ? '}' : type == '~' ? '>' : ']');
	return (int64_t)at;
}

static int64_t walk(const uint8_t *p, size_t n, size_t at, unsigned resp, unsigned depth,
	struct buf *out, const char **why)
{
	const uint8_t *lf = at < n ? memchr(p + at, '\n', n - at) : NULL;
	char type = at < n ? (char)p[at] : '\0';
	const uint8_t *line = p + at + 1;
	size_t len, end;
	int64_t v = 0;

	*why = "the value is incomplete";
	if (!lf)
		return -1;
	*why = "a line does not end with CR LF";
	if (lf[-1] != '\r' || lf - 1 < line)
		return -1;
	len = (size_t)(lf - 1 - line);
	end = (size_t)(lf + 1 - p);
	if (resp == 2 && type && strchr("_#,(=~%|>!", type)) {
		*why = "a RESP3 type in a RESP2 reply";
		return -1;
	}
	*why = "a length or number is malformed";
	if (type && strchr(":$*=~%!>", type) && purser_resp_int(line, len, &v) < 0)
		return -1;
	switch (type) {
	case '$':
	case '*':
		if (v < -1)
			return -1;
		if (v < 0) {
			if (out)
				buf_puts(out, "(nil)");
			return (int64_t)end;
		}
		return type == '$' ? walk_bulk(p, n, end, v, out, why) :
		    walk_many(p, n, end, v, type, resp, depth, out, why);
	case '%': case '~':
		if (v < 0)
			return -1;
		return walk_many(p, n, end, v, type, resp, depth, out, why);
	case '=': case '!':
		return v < 0 ? -1 : walk_bulk(p, n, end, v, out, why);
	case '>':
		*why = "a push message in a reply";
		return -1;
	case '|':
		*why = "an attribute in a reply";
		return -1;
	case '+': case '-': case ':': case ',': case '#': case '(':
		if (out) {
			buf_putc(out, type);
			print_text(out, line, len);
		}
		return (int64_t)end;
	case '_':
		if (out)
			buf_puts(out, "(nil)");
		return (int64_t)end;
	default:
		*why = "an unknown type byte";
		return -1;
	}
}

const char *reply_raw_bytes(struct kit_reply *r, unsigned resp, const void *p, size_t n)
{
	const uint8_t *bytes = p;
	purser_scan scan;
	int64_t used;

	(void)resp;
	if (r->form == FORM_TYPED)
		return "raw bytes after typed values";
	if (r->form == FORM_ERROR)
		return "raw bytes after error()";
	if (n == 0)
		return NULL;
	if (r->complete)
		return "more raw bytes than one value has";
	r->form = FORM_RAW;
	buf_put(&r->bytes, p, n);
	if (buf_data(&r->bytes)[0] == '-' || buf_data(&r->bytes)[0] == '!')
		return "an error is given as raw bytes: call error()";
	if (bytes[n - 1] != '\n') /* a value ends with one */
		return NULL;
	if (buf_len(&r->bytes) > (1u << 16) && n < 64)
		return NULL; /* a long value in tiny pieces: looked at as a whole at its end */
	purser_scan_begin(&scan);
	used = purser_scan_feed(&scan, buf_data(&r->bytes), buf_len(&r->bytes));
	if (used < 0)
		return "raw bytes that are not RESP";
	r->complete = purser_scan_done(&scan);
	r->nulls = scan.nulls;
	if (r->complete && (size_t)used < buf_len(&r->bytes))
		return "more raw bytes than one value has";
	return NULL;
}

const char *reply_typed(struct kit_reply *r, uint64_t more, const char *head, size_t n)
{
	if (r->form == FORM_RAW)
		return "a typed value after raw bytes";
	if (r->form == FORM_ERROR)
		return "a typed value after error()";
	if (r->form == FORM_NONE) {
		r->form = FORM_TYPED;
		r->need = 1;
	}
	if (r->need == 0)
		return "more values than were announced";
	r->need += more - 1;
	buf_put(&r->bytes, head, n);
	return NULL;
}

const char *reply_finish(struct kit_reply *r, unsigned resp)
{
	const char *why = NULL;
	int64_t end;

	if (r->form == FORM_NONE)
		return "end() without a reply";
	if (r->form == FORM_ERROR)
		return NULL;
	if (r->form == FORM_TYPED && r->need)
		return "fewer values than were announced";
	end = walk(buf_data(&r->bytes), buf_len(&r->bytes), 0, resp, 0, NULL, &why);
	if (end < 0)
		return why;
	return (size_t)end == buf_len(&r->bytes) ? NULL : "more raw bytes than one value has";
}

void reply_print(const struct kit_reply *r, struct buf *out)
{
	const char *why = NULL;

	if (r->form == FORM_ERROR) {
		buf_putc(out, '-');
		print_text(out, buf_data(&r->bytes), buf_len(&r->bytes));
	} else if (r->form == FORM_NONE) {
		buf_puts(out, "(nothing)");
	} else if (walk(buf_data(&r->bytes), buf_len(&r->bytes), 0, 0, 0, out, &why) < 0) {
		buf_printf(out, "(%s)", why);
	}
}
