/* SPDX-License-Identifier: Apache-2.0
 *
 * Replies, arguments, error texts: see cmd.h.
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include "cmd.h"
#include "number.h"

#define BY_REFERENCE 16384u           /* values from this size on are not copied into replies */

const char err_wrongtype[] = "WRONGTYPE Operation against a key holding the wrong kind of value";
const char err_syntax[] = "ERR syntax error";
const char err_overflow[] = "ERR increment or decrement would overflow";
const char err_too_long[] = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
const char err_not_int[] = "ERR value is not an integer or out of range";
const char err_same[] = "ERR source and destination objects are the same";
const char err_no_key[] = "ERR no such key";
const char err_nan[] = "ERR increment would produce NaN or Infinity";

static int lower(int ch) { return ch >= 'A' && ch <= 'Z' ? ch + 32 : ch; }

int arg_is(purser_bytes a, const char *word)
{
	size_t i;

	for (i = 0; i < a.n && a.p[i]; i++)
		if (lower(a.p[i]) != word[i]) /* at the word's end: its NUL differs */
			return 0;
	return word[i] == '\0';
}

int arg_int(struct ctx *cx, purser_call *c, uint32_t arg, int64_t *out)
{
	if (int_parse(c->argv[arg].p, c->argv[arg].n, out) == 0)
		return 0;
	reply_error(cx, c, err_not_int);
	return -1;
}

int arg_int_range(struct ctx *cx, purser_call *c, uint32_t arg, int64_t min, int64_t max,
    int64_t *out)
{
	if (arg_int(cx, c, arg, out))
		return -1;
	if (*out >= min && *out <= max)
		return 0;
	reply_errorf(cx, c, "ERR value is out of range, value must between %lld and %lld",
	    (long long)min, (long long)max);
	return -1;
}

int arg_double(struct ctx *cx, purser_call *c, uint32_t arg, double *out, const char *text)
{
	if (double_parse(c->argv[arg].p, c->argv[arg].n, out) == 0)
		return 0;
	reply_error(cx, c, text ? text : "ERR value is not a valid float");
	return -1;
}

int arg_db(struct ctx *cx, purser_call *c, uint32_t arg, uint32_t *out)
{
	int64_t v;

	if (arg_int_range(cx, c, arg, INT_MIN, INT_MAX, &v))
		return -1;
	if (v >= 0 && v < cx->st->databases) {
		*out = (uint32_t)v;
		return 0;
	}
	reply_error(cx, c, "ERR DB index is out of range");
	return -1;
}

int arg_expiry(struct ctx *cx, purser_call *c, uint32_t arg, int seconds, int relative, int64_t *ms)
{
	int64_t v;

	if (arg_int(cx, c, arg, &v))
		return -1;
	if (v <= 0 || (seconds && v > INT64_MAX / 1000))
		goto bad;
	if (seconds)
		v *= 1000;
	if (relative && __builtin_add_overflow(v, (int64_t)now_ms(cx), &v))
		goto bad;
	*ms = v;
	return 0;
bad:
	reply_bad_expiry(cx, c);
	return -1;
}

/* ---- replies -------------------------------------------------------------------------------------------- */
void reply_errorf(struct ctx *cx, purser_call *c, const char *fmt, ...)
{
	char small[512], *text = small;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(small)) {
		text = scratch(cx, (size_t)n + 1);
		if (!text) {
			reply_nomem(cx, c);
			return;
		}
		va_start(ap, fmt);
		n = vsnprintf(text, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	while (n > 0 && (text[n - 1] == '\r' || text[n - 1] == '\n'))
		n--;
	for (int i = 0; i < n; i++)
		if (text[i] == '\r' || text[i] == '\n')
			text[i] = ' ';
	cx->h->error(c, text, n > 0 ? (size_t)n : 0);
}

void reply_string(struct ctx *cx, purser_call *c, struct item *it)
{
	struct view v;

	string_view(it, &v);
	reply_bulk(cx, c, v.p, v.n);
}

void reply_value(struct ctx *cx, purser_call *c, struct item *it)
{
	char head[INT_TEXT + 4];
	struct blob *b;
	int n;

	if (LIKELY(item_enc(it) != ENC_BIG) || item_blob(it)->len < BY_REFERENCE) {
		reply_string(cx, c, it);
		return;
	}
	b = item_blob(it);
	n = snprintf(head, sizeof(head), "$%zu\r\n", b->len);
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	cx->h->raw(c, head, (size_t)n);
	cx->h->raw_ref(c, b->data, b->len, blob_release, b);
	cx->h->raw(c, "\r\n", 2);
}

void reply_nomem(struct ctx *cx, purser_call *c)
{
	reply_error(cx, c, "OOM out of memory: the command was not executed");
}

const char *op_lower(const purser_call *c, char buf[40])
{
	const char *name = ops[c->op].name;
	size_t i;

	for (i = 0; name[i] && i < 39; i++)
		buf[i] = (char)lower((unsigned char)name[i]);
	buf[i] = '\0';
	return buf;
}

void reply_arity(struct ctx *cx, purser_call *c)
{
	char name[40];

	reply_errorf(cx, c, "ERR wrong number of arguments for '%s' command", op_lower(c, name));
}

void reply_bad_expiry(struct ctx *cx, purser_call *c)
{
	char name[40];

	reply_errorf(cx, c, "ERR invalid expire time in '%s' command", op_lower(c, name));
}

void reply_help(struct ctx *cx, purser_call *c, const char *const *lines, size_t n)
{
	size_t i;

	reply_array(cx, c, n);
	for (i = 0; i < n; i++)
		cx->h->status(c, lines[i]);
}
