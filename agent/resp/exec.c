/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include <purser/resp.h>
#include "base/buf.h"
#include "resp/filter.h"

/* HEAD: the array's header.  VALUE: the first byte of a value.  LINE: the rest of a line that is passed on.
 * HEADER: a line that tells a length.  ERROR: an error's line.  END: nothing more may come. */
enum { HEAD, VALUE, LINE, HEADER, ERROR, END };
_Static_assert(END == 5, "exec_done()");
#define ERROR_MAX 500u

static int put(struct exec_filter *f, const void *p, size_t n)
{
	if (f->mute)
		return 0;
	return f->then ? f->then->feed(f->then, p, n) : out_put(*f->out, f->pool, p, n);
}

static bool is_depth(uint8_t kind)
{
	return kind != EXEC_PASS && kind != EXEC_LOCAL && kind != EXEC_COUNT && kind != EXEC_WHOLE;
}

/* Behind an element: those that the store knows nothing of, and what the next one needs. */
static int next(struct exec_filter *f)
{
	f->then = NULL;
	while (f->at < f->n && f->kind[f->at] == EXEC_LOCAL)
		if (f->local(f->arg, f->at++))
			return -1;
	if (f->at == f->n) {
		f->state = END;
		return 0;
	}
	if (is_depth(f->kind[f->at]) && f->prefix_len) {
		strip_begin(&f->strip, f->out, f->pool, f->prefix, f->prefix_len, f->kind[f->at]);
		f->then = &f->strip.f;
	} else if (f->kind[f->at] == EXEC_WHOLE && !f->mute) {
		f->then = f->whole(f->arg, f->at);
		if (!f->then)
			return -1;
	}
	f->state = VALUE;
	f->need = 1;
	f->nulls = 0;
	f->first = true;
	f->failed = false;
	f->at++;
	return 0;
}

static int value_done(struct exec_filter *f)
{
	f->state = VALUE;
	if (--f->need)
		return 0;
	if (f->ended)
		f->ended(f->arg, f->at - 1, f->nulls, f->failed);
	return next(f);
}

/* "*n" CR LF or a null of either protocol. */
static int head(struct exec_filter *f)
{
	int64_t v = -1;
	char line[24];
	size_t len = 1;

	if (f->hold[0] == '_' && f->have == 3) {
		f->null = true;
	} else {
		if (f->hold[0] != '*' || purser_resp_int(f->hold + 1, f->have - 3, &v) || v < -1)
			return -1;
		f->null = v == -1;
	}
	if (f->null) {
		f->state = END;
		return put(f, f->hold, f->have);
	}
	if ((uint64_t)v != f->n - f->nlocal)
		return -1;
	line[0] = '*';
	len += dec_u64(line + 1, f->n);
	memcpy(line + len, "\r\n", 2);
	return put(f, line, len + 2) ? -1 : next(f);
}

static int corrected(struct exec_filter *f)
{
	char line[24];
	size_t len = 1;
	int64_t v;

	if (purser_resp_int(f->hold + 1, f->have - 3, &v))
		return -1;
	line[0] = ':';
	len += dec_i64(line + 1, f->count(f->arg, f->at - 1, v));
	memcpy(line + len, "\r\n", 2);
	return put(f, line, len + 2) ? -1 : value_done(f);
}

static int header(struct exec_filter *f)
{
	uint8_t type = f->hold[0];
	int64_t v;

	if (type == ':')
		return corrected(f);
	if (purser_resp_int(f->hold + 1, f->have - 3, &v) || v < -1 || put(f, f->hold, f->have))
		return -1;
	if (type == '$' || type == '=' || type == '!') {
		f->nulls += v < 0;
		if (v < 0)
			return value_done(f);
		f->pass = (uint64_t)v + 2;
		return 0;
	}
	if (v > 0) {
		f->need += (uint64_t)v * (type == '%' ? 2 : 1);
		if (f->need > INT64_MAX / 4)
			return -1;
	}
	return value_done(f);
}

/* The text is in hold, without '-' and CR LF; what did not fit is left out. */
static int error(struct exec_filter *f)
{
	size_t n = f->rewrite ? f->rewrite(f->arg, (char *)f->hold, f->have) : f->have;

	if (n > ERROR_MAX) /* a filter behind this one holds whole lines */
		n = ERROR_MAX;
	if (put(f, "-", 1) || put(f, f->hold, n) || put(f, "\r\n", 2))
		return -1;
	return value_done(f);
}

/* The first byte of a value says what it is. */
static int begin(struct exec_filter *f, char type)
{
	f->have = 0;
	f->failed |= f->first && type == '-';
	f->first = false;
	if (type == ':' && f->kind[f->at - 1] == EXEC_COUNT) {
		f->state = HEADER;
		return 0;
	}
	switch (type) {
	case '-':
		f->state = ERROR;
		return 1;
	case '+': case ':': case ',': case '#': case '_': case '(':
		f->nulls += type == '_';
		f->state = LINE;
		return 0;
	case '$': case '=': case '!': case '*': case '~': case '%':
		f->state = HEADER;
		return 0;
	default:
		return -1;
	}
}

/* Up to the end of a line; *whole: it is all here.  -1: too long for a header. */
static int64_t gather(struct exec_filter *f, const uint8_t *p, size_t n, bool *whole)
{
	const uint8_t *nl = memchr(p, '\n', n);
	size_t take = nl ? (size_t)(nl - p) + 1 : n, room = sizeof f->hold - f->have, keep = take;

	if (keep > room) {
		if (f->state != ERROR)
			return -1;
		keep = room;
	}
	memcpy(f->hold + f->have, p, keep);
	f->have += (uint32_t)keep;
	*whole = nl != NULL;
	if (!nl)
		return (int64_t)take;
	if (f->state != ERROR)
		return f->have >= 3 && f->hold[f->have - 2] == '\r' ? (int64_t)take : -1;
	while (f->have && (f->hold[f->have - 1] == '\n' || f->hold[f->have - 1] == '\r'))
		f->have--;
	return (int64_t)take;
}

static int64_t line(struct exec_filter *f, const uint8_t *p, size_t n)
{
	const uint8_t *nl = memchr(p, '\n', n);
	size_t take = nl ? (size_t)(nl - p) + 1 : n;

	if (put(f, p, take) || (nl && value_done(f)))
		return -1;
	return (int64_t)take;
}

static int64_t payload(struct exec_filter *f, const uint8_t *p, size_t n)
{
	size_t take = f->pass < n ? (size_t)f->pass : n;

	if (put(f, p, take))
		return -1;
	f->pass -= take;
	return f->pass == 0 && value_done(f) ? -1 : (int64_t)take;
}

static int64_t step(struct exec_filter *f, const uint8_t *p, size_t n)
{
	bool whole = false;
	int64_t took;

	if (f->pass)
		return payload(f, p, n);
	switch (f->state) {
	case VALUE:
		return begin(f, (char)p[0]);
	case LINE:
		return line(f, p, n);
	case END:
		return -1;
	default:
		took = gather(f, p, n, &whole);
		if (took < 0 || !whole)
			return took;
		if ((f->state == HEAD ? head(f) : f->state == ERROR ? error(f) : header(f)) != 0)
			return -1;
		return took;
	}
}

static int feed(struct reply_filter *base, const uint8_t *p, size_t n)
{
	struct exec_filter *f = (struct exec_filter *)base;

	while (n) {
		int64_t took = step(f, p, n);

		if (took < 0) {
			f->f.err = f->then ? f->then->err : 0;
			return -1;
		}
		p += took;
		n -= (size_t)took;
	}
	return 0;
}

void exec_begin(struct exec_filter *f)
{
	f->f.feed = feed;
	f->f.err = 0;
	f->state = HEAD;
	f->then = NULL;
	f->null = false;
	f->at = f->have = 0;
	f->need = f->pass = 0;
}
