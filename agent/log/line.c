/* SPDX-License-Identifier: Apache-2.0 */
/* log/line: JSON and console form of an event. */
#include <config.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include "base/buf.h"
#include "log/line.h"

/* Output that stops at its end: a piece goes in whole or not at all. */
struct out {
	char *p;
	size_t n, cap;
	bool cut;
};

static void put(struct out *o, const char *p, size_t n)
{
	if (o->cut || n > o->cap - o->n) {
		o->cut = true;
		return;
	}
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void puts_(struct out *o, const char *s)
{
	put(o, s, strlen(s));
}

size_t line_utf8(const char *p, size_t n)
{
	const unsigned char *s = (const unsigned char *)p;
	uint32_t c, min;
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2, c = s[0] & 0x1f, min = 0x80;
	else if ((s[0] & 0xf0) == 0xe0)
		len = 3, c = s[0] & 0x0f, min = 0x800;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4, c = s[0] & 0x07, min = 0x10000;
	else
		return 0;
	if (len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : len;
}

/* The value without quotes; what does not fit is cut between characters and o->cut is left alone:
 * room for the end of the line is what `keep` reserves. */
static bool put_escaped(struct out *o, const char *p, size_t n, size_t keep)
{
	const unsigned char *s = (const unsigned char *)p;
	char esc[8];

	for (size_t i = 0; i < n;) {
		size_t len = line_utf8(p + i, n - i), w = len;
		const char *from = p + i;

		if (!len || s[i] < 0x20 || s[i] == 0x7f) {
			w = (size_t)snprintf(esc, sizeof esc, s[i] == '\n' ? "\\n" : s[i] == '\t' ? "\\t"
			    : "\\u%04x", s[i]);
			from = esc;
			len = 1;
		} else if (s[i] == '"' || s[i] == '\\') {
			esc[0] = '\\';
			esc[1] = (char)s[i];
			from = esc;
			w = 2;
		}
		if (o->cut || o->n + w + keep > o->cap)
			return false;
		put(o, from, w);
		i += len;
	}
	return true;
}

#define TAIL 24 /* quote, ,"truncated":true , brace, newline */

bool line_secret(const char *key)
{
	static const char *const words[] = { "password", "secret", "token", "authorization",
		"credential" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasestr(key, words[i]))
			return true;
	return false;
}

static bool put_hex(struct out *o, const char *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		char two[2] = { digits[(unsigned char)p[i] >> 4], digits[p[i] & 15] };

		put(o, two, 2);
	}
	return !o->cut;
}

static bool put_number(struct out *o, const struct log_field *f)
{
	char tmp[32];

	if (f->type == LOG_F_INT)
		put(o, tmp, dec_i64(tmp, f->v.i));
	else if (f->type == LOG_F_UINT)
		put(o, tmp, dec_u64(tmp, f->v.u));
	else if (f->type == LOG_F_BOOL)
		puts_(o, f->v.u ? "true" : "false");
	else if (isfinite(f->v.d))
		put(o, tmp, (size_t)snprintf(tmp, sizeof tmp, "%.9g", f->v.d));
	else
		puts_(o, "null");
	return !o->cut;
}

/* One value; false when it had to be cut (a string is then closed all the same). */
static bool put_value(struct out *o, const struct log_field *f)
{
	bool whole;

	if (line_secret(f->key)) {
		puts_(o, "\"***\"");
		return !o->cut;
	}
	if (f->type != LOG_F_STR && f->type != LOG_F_HEX)
		return put_number(o, f);
	put(o, "\"", 1);
	whole = f->type == LOG_F_HEX ? put_hex(o, f->v.s.p, f->v.s.n)
	    : put_escaped(o, f->v.s.p, f->v.s.n, 1);
	put(o, "\"", 1);
	return whole && !o->cut;
}

static bool member(struct out *o, const struct log_field *f)
{
	size_t mark = o->n;
	bool whole;

	puts_(o, o->n > 1 ? ",\"" : "\"");
	puts_(o, f->key);
	puts_(o, "\":");
	whole = put_value(o, f);
	if (o->cut) { /* not even its key fitted: without it */
		o->n = mark;
		o->cut = false;
		return false;
	}
	return whole;
}

static size_t put_time(char *dst, size_t cap, uint64_t wall_ns)
{
	time_t sec = (time_t)(wall_ns / UINT64_C(1000000000));
	struct tm tm;
	size_t n;

	gmtime_r(&sec, &tm);
	n = strftime(dst, cap, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(dst + n, cap - n, ".%06uZ",
	    (unsigned)(wall_ns % UINT64_C(1000000000) / 1000));
	return n;
}

size_t line_json(char *dst, size_t cap, const struct line_head *h, const struct log_field *f)
{
	struct out o = { dst, 0, cap - TAIL, false };
	char when[48];
	size_t wn = put_time(when, sizeof when, h->wall_ns);
	struct log_field head[] = { LOG_BYTES("time", when, wn),
		LOG_STR("level", log_level_name(h->level)), LOG_STR("module", h->module),
		LOG_STR("event", h->event), LOG_STR("message", h->message) };
	struct log_field owed = LOG_UINT("suppressed", h->suppressed);
	bool whole = true;

	put(&o, "{", 1);
	for (size_t i = 0; i < sizeof head / sizeof *head; i++)
		whole &= member(&o, &head[i]);
	if (h->suppressed)
		whole &= member(&o, &owed);
	for (; f->type != LOG_F_END; f++)
		if (f->type != LOG_F_NONE && f->type != LOG_F_KEY)
			whole &= member(&o, f);
	o.cap = cap;
	if (!whole)
		puts_(&o, ",\"truncated\":true");
	puts_(&o, "}\n");
	return o.n;
}

size_t line_console(char *dst, size_t cap, const struct line_head *h, const struct log_field *f)
{
	struct out o = { dst, 0, cap - TAIL, false };
	char when[48], tmp[32];
	size_t wn = put_time(when, sizeof when, h->wall_ns);
	bool whole;

	put(&o, when + 11, wn - 11 - 4);
	snprintf(tmp, sizeof tmp, " %-5s %-8s ", log_level_name(h->level), h->module);
	puts_(&o, tmp);
	whole = put_escaped(&o, h->message, strlen(h->message), 1);
	if (h->suppressed)
		put(&o, tmp, (size_t)snprintf(tmp, sizeof tmp, " suppressed=%u", h->suppressed));
	for (; f->type != LOG_F_END && whole; f++) {
		if (f->type == LOG_F_NONE || f->type == LOG_F_KEY)
			continue;
		puts_(&o, " ");
		puts_(&o, f->key);
		puts_(&o, "=");
		whole = put_value(&o, f);
	}
	o.cap = cap;
	o.cut = false;
	if (!whole)
		puts_(&o, " ...");
	puts_(&o, "\n");
	return o.n;
}
