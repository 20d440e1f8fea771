/* SPDX-License-Identifier: Apache-2.0
 *
 * How a reply is written: RESP2 or RESP3 as the caller speaks, straight into the client's buffer, or
 * through a filter.  The plugin's helpers and the agent's own commands end up here.
 */
#include <config.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "backend/call.h"
#include "base/buf.h"

/* A reply that cannot be written: nothing more of it is, and the reader is told or cut.  What gave a reply
 * has run: of a write nobody may believe the opposite. */
static void broken(struct bcall *b, enum err_code code)
{
	b->broken = true;
	if (b->state == BCALL_SUBMITTED && (b->c.flags & PURSER_CALL_WRITE))
		code = ERR_INDETERMINATE;
	b->err = (uint8_t)code;
}

void reply_raw(struct bcall *b, const void *p, size_t n)
{
	if (b->discard || b->broken)
		return;
	b->began = true;
	b->reply_bytes += n;
	if (b->filter) {
		if (b->filter->feed(b->filter, p, n)) {
			broken(b, b->filter->err ? (enum err_code)b->filter->err : ERR_BACKENDPROTOCOL);
		}
	} else if (out_put(b->out, b->pool, p, n)) {
		broken(b, b->err ? (enum err_code)b->err : ERR_OOM);
	}
}

static void line(struct bcall *b, char type, int64_t v)
{
	char tmp[24];
	size_t n = 1 + dec_i64(tmp + 1, v);

	tmp[0] = type;
	memcpy(tmp + n, "\r\n", 2);
	reply_raw(b, tmp, n + 2);
}

void reply_status(struct bcall *b, const char *word)
{
	char tmp[128];
	size_t n = strlen(word);

	if (n > sizeof tmp - 3)
		n = sizeof tmp - 3;
	tmp[0] = '+';
	memcpy(tmp + 1, word, n);
	memcpy(tmp + 1 + n, "\r\n", 2);
	reply_raw(b, tmp, n + 3);
}

void reply_integer(struct bcall *b, int64_t v)
{
	line(b, ':', v);
}

void reply_bulk(struct bcall *b, const void *p, size_t n)
{
	if (!b->filter && !b->discard && !b->broken && n < OUT_BLOCK - 32) {
		uint8_t *d = out_reserve(b->out, b->pool, n + 32);
		size_t h;

		if (!d) {
			broken(b, b->err ? (enum err_code)b->err : ERR_OOM);
			return;
		}
		d[0] = '$';
		h = 1 + dec_u64((char *)d + 1, n);
		d[h++] = '\r';
		d[h++] = '\n';
		if (n)
			memcpy(d + h, p, n);
		d[h + n] = '\r';
		d[h + n + 1] = '\n';
		out_commit(b->out, h + n + 2);
		b->reply_bytes += h + n + 2;
		b->began = true;
		return;
	}
	line(b, '$', (int64_t)n);
	reply_raw(b, p, n);
	reply_raw(b, "\r\n", 2);
}

void reply_text(struct bcall *b, const char *s)
{
	reply_bulk(b, s, strlen(s));
}

void reply_null(struct bcall *b)
{
	b->c.nulls++;
	if (b->c.resp == 3)
		reply_raw(b, "_\r\n", 3);
	else
		reply_raw(b, "$-1\r\n", 5);
}

void reply_number(struct bcall *b, double v)
{
	char tmp[64];
	int n;

	if (isnan(v))
		n = snprintf(tmp, sizeof tmp, "nan");
	else if (isinf(v))
		n = snprintf(tmp, sizeof tmp, v > 0 ? "inf" : "-inf");
	else
		n = snprintf(tmp, sizeof tmp, "%.17g", v);
	if (b->c.resp != 3) {
		reply_bulk(b, tmp, (size_t)n);
		return;
	}
	reply_raw(b, ",", 1);
	reply_raw(b, tmp, (size_t)n);
	reply_raw(b, "\r\n", 2);
}

void reply_boolean(struct bcall *b, int v)
{
	if (b->c.resp == 3)
		reply_raw(b, v ? "#t\r\n" : "#f\r\n", 4);
	else
		reply_raw(b, v ? ":1\r\n" : ":0\r\n", 4);
}

void reply_array(struct bcall *b, size_t n)
{
	line(b, '*', (int64_t)n);
}

void reply_map(struct bcall *b, size_t pairs)
{
	if (b->c.resp == 3)
		line(b, '%', (int64_t)pairs);
	else
		line(b, '*', (int64_t)pairs * 2);
}

void reply_set(struct bcall *b, size_t n)
{
	line(b, b->c.resp == 3 ? '~' : '*', (int64_t)n);
}

/* "-TEXT" CR LF, one line whatever the text holds. */
void reply_error_line(struct bcall *b, const char *text, size_t n)
{
	char line[BCALL_ERROR_MAX];

	if (n > sizeof line)
		n = sizeof line;
	for (size_t i = 0; i < n; i++)
		line[i] = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
	reply_raw(b, "-", 1);
	reply_raw(b, line, n);
	reply_raw(b, "\r\n", 2);
}

static void error_line(struct bcall *b, const char *text, size_t n)
{
	if (b->error_to) {
		b->began = true;
		b->error_to(b, (enum err_code)b->err, text, n);
	} else {
		reply_error_line(b, text, n);
	}
}

void reply_error(struct bcall *b, const char *text, size_t n)
{
	char tmp[BCALL_ERROR_MAX];
	const char *sp;
	size_t word;

	if (b->began) { /* an error behind reply bytes: the stream is beyond repair */
		broken(b, ERR_BACKENDPROTOCOL);
		return;
	}
	if (n > sizeof tmp)
		n = sizeof tmp;
	memcpy(tmp, text, n);
	if (b->rewrite)
		n = b->rewrite(b, tmp, n);
	sp = memchr(tmp, ' ', n);
	word = sp ? (size_t)(sp - tmp) : n;
	if (word > sizeof b->status - 1)
		word = sizeof b->status - 1;
	memcpy(b->status, tmp, word);
	b->status[word] = '\0';
	b->store_error = true;
	b->err = err_of_text(tmp, n);
	error_line(b, tmp, n);
}

void reply_failure(struct bcall *b, enum err_code code, const char *text)
{
	const struct err_row *row;
	char tmp[BCALL_ERROR_MAX];
	int n;

	if (b->maybe && code != ERR_INDETERMINATE) {
		code = ERR_INDETERMINATE;
		text = NULL;
	}
	row = &err_rows[code];

	b->err = (uint8_t)code;
	if (b->began) {
		b->broken = true;
		return;
	}
	n = snprintf(tmp, sizeof tmp, "%s %s", row->word, text ? text : row->text);
	error_line(b, tmp, n < (int)sizeof tmp ? (size_t)n : sizeof tmp - 1);
}
