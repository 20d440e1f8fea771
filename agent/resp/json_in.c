/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "resp/json_in.h"
#include "resp/json_scan.h"
#include "resp/json_text.h"

struct walk {
	struct json_scan s;
	struct json_cmds *cmds;
	const uint8_t *text;
	const struct json_limits *lim;
	struct json_bad *bad;
};

/* ---- the list of commands ------------------------------------------------------------------- */

void json_cmds_begin(struct json_cmds *c, size_t bytes)
{
	c->nargv = c->ncmds = 0;
	c->used = 0;
	c->failed = false;
	if (bytes > c->size || c->size > bytes + 65536) {
		free(c->mem);
		c->mem = malloc(bytes ? bytes : 1);
		c->size = c->mem ? bytes : 0;
		c->failed = !c->mem;
	}
}

static int grow(void *list, uint32_t n, uint32_t *cap, size_t each)
{
	void **slot = list, *p;
	uint32_t want = *cap ? *cap * 2 : 8;

	if (n < *cap)
		return 0;
	p = realloc(*slot, want * each);
	if (!p)
		return -1;
	*slot = p;
	*cap = want;
	return 0;
}

uint8_t *json_cmds_room(struct json_cmds *c, size_t n)
{
	if (!c->failed && (n > c->size - c->used || grow(&c->argv, c->nargv, &c->cap, sizeof *c->argv)))
		c->failed = true;
	return c->failed ? NULL : c->mem + c->used;
}

void json_cmds_took(struct json_cmds *c, size_t n)
{
	c->argv[c->nargv++] = (purser_bytes){ c->mem + c->used, n };
	c->used += n;
}

void json_cmds_arg(struct json_cmds *c, const void *p, size_t n)
{
	uint8_t *d = json_cmds_room(c, n);

	if (!d)
		return;
	if (n)
		memcpy(d, p, n);
	json_cmds_took(c, n);
}

void json_cmds_end(struct json_cmds *c)
{
	if (!c->failed && grow(&c->end, c->ncmds, &c->cmd_cap, sizeof *c->end))
		c->failed = true;
	if (!c->failed)
		c->end[c->ncmds++] = c->nargv;
}

void json_cmds_free(struct json_cmds *c)
{
	free(c->argv);
	free(c->end);
	free(c->mem);
	memset(c, 0, sizeof *c);
}

/* ---- places --------------------------------------------------------------------------------- */

static int refuse(const struct walk *w, const uint8_t *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct walk *w, const uint8_t *at, const char *fmt, ...)
{
	unsigned long line = 1, column = 1;
	va_list ap;
	int n;

	for (const uint8_t *p = w->text; p < at; p++) {
		if (*p == '\n') {
			line++;
			column = 1;
		} else if ((*p & 0xc0) != 0x80) {
			column++;
		}
	}
	n = snprintf(w->bad->text, sizeof w->bad->text, "line %lu, column %lu: ", line, column);
	va_start(ap, fmt);
	vsnprintf(w->bad->text + n, sizeof w->bad->text - (size_t)n, fmt, ap);
	va_end(ap);
	return -1;
}

/* What the scanner found. */
static int malformed(const struct walk *w)
{
	return refuse(w, w->s.at, "%s", w->s.error);
}

/* ---- values --------------------------------------------------------------------------------- */

/* The string at p, decoded where the next argument goes: room for exactly it.  *d NULL: no memory. */
static int read_string(struct walk *w, uint8_t **d, size_t *n)
{
	const uint8_t *from = w->s.p;

	if (jscan_string(&w->s, NULL, n))
		return malformed(w);
	*d = json_cmds_room(w->cmds, *n);
	if (*d) {
		w->s.p = from;
		jscan_string(&w->s, *d, n);
	}
	return 0;
}

/* The string at p as an argument. */
static int put_string(struct walk *w)
{
	uint8_t *d;
	size_t n;

	if (read_string(w, &d, &n))
		return -1;
	if (d)
		json_cmds_took(w->cmds, n);
	return 0;
}

/* The string at p, which is base64, as an argument. */
static int put_base64(struct walk *w)
{
	const uint8_t *at = w->s.p;
	uint8_t *d;
	size_t n;
	int64_t got;

	if (read_string(w, &d, &n))
		return -1;
	if (!d)
		return 0;
	got = base64_get(d, (const char *)d, n); /* in place: it shrinks */
	if (got < 0)
		return refuse(w, at, "the text is no base64 (RFC 4648, with padding)");
	json_cmds_took(w->cmds, (size_t)got);
	return 0;
}

/* Does "base64" stand at p? */
static bool is_base64(const struct walk *w, const uint8_t *p)
{
	static const char word[] = "\"base64\"";
	const size_t n = sizeof word - 1;

	return (size_t)(w->s.end - p) >= n && memcmp(p, word, n) == 0;
}

/* The value at p, not a string, as its text without blanks between tokens. */
static int put_compact(struct walk *w)
{
	const uint8_t *p = w->s.p, *from;
	uint8_t *d, *to;

	if (jscan_skip(&w->s))
		return malformed(w);
	d = to = json_cmds_room(w->cmds, (size_t)(w->s.p - p));
	if (!d)
		return 0;
	while (p < w->s.p) {
		for (from = p; p < w->s.p && *p > ' ' && *p != '"'; p++)
			;
		if (p < w->s.p && *p == '"')
			for (p++; *p++ != '"';)
				p += p[-1] == '\\';
		memcpy(to, from, (size_t)(p - from));
		to += p - from;
		while (p < w->s.p && *p <= ' ')
			p++;
	}
	json_cmds_took(w->cmds, (size_t)(to - d));
	return 0;
}

/* The name at p as a C string ("" where it is too long or has a NUL), and on to its value. */
static int read_name(struct walk *w, char *name, size_t size)
{
	const uint8_t *from = w->s.p;
	size_t n;

	if (jscan_string(&w->s, NULL, &n))
		return malformed(w);
	*name = '\0';
	if (n < size) {
		w->s.p = from;
		jscan_string(&w->s, (uint8_t *)name, &n);
		name[n] = '\0';
		if (strlen(name) != n)
			*name = '\0';
	}
	return jscan_colon(&w->s) ? malformed(w) : 0;
}

/* {"base64": "..."} or {"encoding": "base64", "value": "..."} */
static int put_binary(struct walk *w)
{
	static const char want[] = "an object here must be {\"base64\": \"...\"}";
	const uint8_t *at = w->s.p++, *text = NULL, *after;
	bool first = true, more, encoding = false, value = false;
	char name[16];

	for (;;) {
		if (jscan_next(&w->s, '}', &first, &more))
			return malformed(w);
		if (!more)
			break;
		if (read_name(w, name, sizeof name))
			return -1;
		if (strcmp(name, "encoding") == 0 && !encoding) {
			if (!is_base64(w, w->s.p))
				return refuse(w, at, want);
			jscan_skip(&w->s);
			encoding = true;
			continue;
		}
		if (text || (strcmp(name, "base64") != 0 && strcmp(name, "value") != 0) || jscan_peek(&w->s) != '"')
			return refuse(w, at, want);
		value = name[0] == 'v';
		text = w->s.p;
		if (jscan_skip(&w->s))
			return malformed(w);
	}
	if (!text || value != encoding)
		return refuse(w, at, want);
	after = w->s.p;
	w->s.p = text;
	if (put_base64(w))
		return -1;
	w->s.p = after;
	return 0;
}

static int put_argument(struct walk *w)
{
	const uint8_t *at = w->s.p;

	switch (jscan_peek(&w->s)) {
	case '"':
		return put_string(w);
	case '{':
		return put_binary(w);
	case '[':
		return refuse(w, at, "an array cannot be an argument; bytes are {\"base64\": \"...\"}");
	case 'n':
		if (jscan_skip(&w->s))
			return malformed(w);
		return refuse(w, at, "null cannot be an argument; an argument is a string, a number, true, "
		    "false or {\"base64\": \"...\"}");
	default:
		return put_compact(w);
	}
}

/* One command: the array at p. */
static int put_command(struct walk *w)
{
	const uint8_t *at = w->s.p++;
	bool first = true, more;

	for (uint32_t n = 0;; n++) {
		if (jscan_next(&w->s, ']', &first, &more))
			return malformed(w);
		if (!more && !n)
			return refuse(w, at, "a command needs its name: [\"GET\", \"key\"]");
		if (!more)
			break;
		if (n == w->lim->max_args) {
			w->bad->big = true;
			return refuse(w, at, "the command has more than %u arguments", w->lim->max_args);
		}
		if (put_argument(w))
			return -1;
	}
	json_cmds_end(w->cmds);
	return 0;
}

/* An array of arrays, whose '[' has been read. */
static int put_pipeline(struct walk *w, const uint8_t *at)
{
	bool first = true, more;

	for (;;) {
		if (jscan_next(&w->s, ']', &first, &more))
			return malformed(w);
		if (!more)
			return 0;
		if (w->cmds->ncmds == w->lim->max_commands) {
			w->bad->big = true;
			return refuse(w, at, "the pipeline has more than %u commands", w->lim->max_commands);
		}
		if (jscan_peek(&w->s) != '[')
			return refuse(w, w->s.p, "a pipeline is an array of arrays");
		if (put_command(w))
			return -1;
		if (w->cmds->failed)
			return 0;
	}
}

/* ---- documents ------------------------------------------------------------------------------ */

static void look_at(struct walk *w, struct json_cmds *c, const char *text, size_t n, struct json_bad *bad)
{
	memset(w, 0, sizeof *w);
	memset(bad, 0, sizeof *bad);
	w->text = (const uint8_t *)text;
	w->s.p = w->text;
	w->s.end = w->text + n;
	w->cmds = c;
	w->bad = bad;
}

static void begin(struct walk *w, struct json_cmds *c, const char *text, size_t n, size_t room,
    struct json_bad *bad)
{
	look_at(w, c, text, n, bad);
	json_cmds_begin(c, room);
}

static int finish(struct walk *w, int rc)
{
	if (rc == 0 && jscan_end(&w->s))
		rc = malformed(w);
	if (rc == 0 && w->cmds->failed) {
		w->bad->nomem = true;
		snprintf(w->bad->text, sizeof w->bad->text, "no memory for the arguments");
		rc = -1;
	}
	return rc;
}

int json_in_commands(struct json_cmds *c, const char *text, size_t n, const struct json_limits *lim,
    bool *pipeline, struct json_bad *bad)
{
	struct walk w;
	const uint8_t *at;

	begin(&w, c, text, n, n, bad);
	w.lim = lim;
	*pipeline = false;
	if (jscan_peek(&w.s) != '[')
		return refuse(&w, w.s.p, "the body is an array: [\"GET\", \"key\"], or an array of such arrays");
	at = w.s.p++;
	*pipeline = jscan_peek(&w.s) == '[';
	if (*pipeline)
		return finish(&w, put_pipeline(&w, at));
	w.s.p = at;
	return finish(&w, put_command(&w));
}

struct kv {                   /* the members: where their values stand */
	const uint8_t *key, *value, *encoding, *expire;
	const char *unit;     /* EX or PX */
};

static int kv_member(struct walk *w, struct kv *kv)
{
	const uint8_t *at = w->s.p, **slot;
	char name[16];

	if (read_name(w, name, sizeof name))
		return -1;
	if (strcmp(name, "key") == 0) {
		slot = &kv->key;
	} else if (strcmp(name, "value") == 0) {
		slot = &kv->value;
	} else if (strcmp(name, "encoding") == 0) {
		slot = &kv->encoding;
	} else if (strcmp(name, "expire") == 0 || strcmp(name, "expire_ms") == 0) {
		slot = &kv->expire;
		if (kv->expire && kv->unit[0] != (name[6] ? 'P' : 'E'))
			return refuse(w, at, "\"expire\" and \"expire_ms\" exclude each other");
		kv->unit = name[6] ? "PX" : "EX";
	} else {
		return refuse(w, at, "unknown member; there are key, value, encoding, expire, expire_ms");
	}
	if (*slot)
		return refuse(w, at, "\"%s\" is given twice", name);
	jscan_peek(&w->s);
	*slot = w->s.p;
	return jscan_skip(&w->s) ? malformed(w) : 0;
}

static int kv_key(struct walk *w, const struct kv *kv)
{
	w->s.p = kv->key;
	if (*kv->key == '"')
		return put_string(w);
	if (*kv->key == '{')
		return put_binary(w);
	return refuse(w, kv->key, "the key is a string or {\"base64\": \"...\"}");
}

static int kv_value(struct walk *w, const struct kv *kv)
{
	w->s.p = kv->value;
	if (kv->encoding && !is_base64(w, kv->encoding))
		return refuse(w, kv->encoding, "the only encoding is \"base64\"");
	if (kv->encoding && *kv->value != '"')
		return refuse(w, kv->value, "a base64 value is a string");
	if (kv->encoding)
		return put_base64(w);
	return *kv->value == '"' ? put_string(w) : put_compact(w);
}

static int kv_expire(struct walk *w, const struct kv *kv)
{
	const uint8_t *p = kv->expire;
	int64_t v;
	size_t n;

	if (!p || *p == 'n') /* null */
		return 0;
	n = jscan_number(p, (size_t)(w->s.end - p));
	if (!n)
		return refuse(w, p, "the time to live is a number");
	if (*p == '-' || (n == 1 && *p == '0'))
		return refuse(w, p, "the time to live must be at least 1");
	if (purser_resp_int(p, n, &v))
		return refuse(w, p, "the time to live is a whole number below 2^63; expire_ms counts "
		    "milliseconds");
	json_cmds_arg(w->cmds, kv->unit, 2);
	json_cmds_arg(w->cmds, p, n);
	return 0;
}

int json_in_kv(struct json_cmds *c, const char *text, size_t n, struct json_bad *bad)
{
	struct kv kv = { 0 };
	struct walk w;
	const uint8_t *at, *end;
	bool first = true, more = true;

	begin(&w, c, text, n, n + 8, bad);
	if (jscan_peek(&w.s) != '{')
		return refuse(&w, w.s.p, "the body is an object: {\"key\": \"k\", \"value\": \"v\"}");
	at = w.s.p++;
	for (;;) {
		if (jscan_next(&w.s, '}', &first, &more))
			return malformed(&w);
		if (!more)
			break;
		if (kv_member(&w, &kv))
			return -1;
	}
	end = w.s.p;
	if (!kv.key || !kv.value)
		return refuse(&w, at, "\"%s\" is missing", kv.key ? "value" : "key");
	json_cmds_arg(c, "SET", 3);
	if (kv_key(&w, &kv) || kv_value(&w, &kv) || kv_expire(&w, &kv))
		return -1;
	json_cmds_end(c);
	w.s.p = end;
	return finish(&w, 0);
}

/* ---- an object, member by member ------------------------------------------------------------- */

/* The names that there are, for a text. */
static void list_names(const struct json_member *m, unsigned nm, char *list, size_t size)
{
	size_t len = 0;

	*list = '\0';
	for (unsigned i = 0; i < nm && len < size; i++) {
		int n = snprintf(list + len, size - len, "%s%.*s", i ? ", " : "", (int)m[i].name.n,
		    (const char *)m[i].name.p);

		len += (size_t)n;
	}
}

static int member(struct walk *w, struct json_member *m, unsigned nm)
{
	const uint8_t *at = w->s.p;
	char name[32], list[160];
	unsigned i;

	if (read_name(w, name, sizeof name))
		return -1;
	for (i = 0; i < nm; i++)
		if (m[i].name.n == strlen(name) && memcmp(m[i].name.p, name, m[i].name.n) == 0)
			break;
	if (i == nm) {
		list_names(m, nm, list, sizeof list);
		return refuse(w, at, nm ? "unknown member; there are %s" : "unknown member; there are none%s", list);
	}
	if (m[i].at)
		return refuse(w, at, "\"%s\" is given twice", name);
	jscan_peek(&w->s);
	m[i].at = w->s.p;
	return jscan_skip(&w->s) ? malformed(w) : 0;
}

int json_in_members(const char *text, size_t n, struct json_member *m, unsigned nm, struct json_bad *bad)
{
	bool first = true, more;
	struct walk w;

	look_at(&w, NULL, text, n, bad);
	for (unsigned i = 0; i < nm; i++)
		m[i].at = NULL;
	if (jscan_peek(&w.s) != '{')
		return refuse(&w, w.s.p, "the body is an object: {\"%.*s\": ...}", nm ? (int)m->name.n : 0,
		    nm ? (const char *)m->name.p : "");
	w.s.p++;
	for (;;) {
		if (jscan_next(&w.s, '}', &first, &more))
			return malformed(&w);
		if (!more)
			break;
		if (member(&w, m, nm))
			return -1;
	}
	if (jscan_end(&w.s))
		return malformed(&w);
	for (unsigned i = 0; i < nm; i++)
		if (m[i].at && *m[i].at == 'n' && m[i].type != JSON_TEXT && m[i].type != JSON_VALUE)
			m[i].at = NULL;
	return 0;
}

bool json_in_choice(purser_bytes choices, const void *p, size_t n)
{
	const char *c = (const char *)choices.p, *end = c + choices.n;

	while (c < end) {
		const char *bar = memchr(c, '|', (size_t)(end - c));
		size_t len = (size_t)((bar ? bar : end) - c);

		if (len == n && memcmp(c, p, n) == 0)
			return true;
		c += len + 1;
	}
	return false;
}

static int put_number(struct walk *w, const struct json_member *m)
{
	const uint8_t *p = m->at;
	size_t n = jscan_number(p, (size_t)(w->s.end - p));
	int64_t v;

	if (!n || (m->type == JSON_INT && purser_resp_int(p, n, &v)))
		return refuse(w, p, "\"%.*s\" is a %snumber", (int)m->name.n, (const char *)m->name.p,
		    m->type == JSON_INT ? "whole " : "");
	json_cmds_arg(w->cmds, p, n);
	return 0;
}

static int put_choice(struct walk *w, const struct json_member *m)
{
	uint8_t *d;
	size_t n;

	if (*m->at == '"') {
		if (read_string(w, &d, &n))
			return -1;
		if (!d)
			return 0;
		if (json_in_choice(m->choices, d, n)) {
			json_cmds_took(w->cmds, n);
			return 0;
		}
	}
	return refuse(w, m->at, "\"%.*s\" is one of %.*s", (int)m->name.n, (const char *)m->name.p,
	    (int)m->choices.n, (const char *)m->choices.p);
}

/* The elements of the array, or the names and values of the object, at p. */
static int put_many(struct walk *w, const struct json_member *m)
{
	bool object = m->type != JSON_LIST, first = true, more;

	if (*m->at != (object ? '{' : '['))
		return refuse(w, m->at, "\"%.*s\" is an %s", (int)m->name.n, (const char *)m->name.p,
		    object ? "object" : "array");
	w->s.p++;
	for (uint32_t n = 0;; n++) {
		if (jscan_next(&w->s, object ? '}' : ']', &first, &more))
			return malformed(w);
		if (!more && n)
			return 0;
		if (!more)
			return refuse(w, m->at, "\"%.*s\" is empty", (int)m->name.n, (const char *)m->name.p);
		if (n == w->lim->max_args / (object ? 2 : 1)) {
			w->bad->big = true;
			return refuse(w, m->at, "the command has more than %u arguments", w->lim->max_args);
		}
		if (object && (put_string(w) || jscan_colon(&w->s)))
			return w->s.error ? malformed(w) : -1;
		if (object && m->type == JSON_PAIRS && jscan_peek(&w->s) == '"' ? put_string(w) :
		    object ? put_compact(w) : put_argument(w))
			return -1;
		if (w->cmds->failed)
			return 0;
	}
}

static int put_member(struct walk *w, const struct json_member *m, bool *flag)
{
	switch (m->type) {
	case JSON_STR:
		return put_argument(w);
	case JSON_INT:
	case JSON_NUM:
		return put_number(w, m);
	case JSON_TEXT:
		return put_compact(w);
	case JSON_VALUE:
		return *m->at == '"' ? put_string(w) : put_compact(w);
	case JSON_BASE64:
		return *m->at == '"' ? put_base64(w) : refuse(w, m->at, "a base64 value is a string");
	case JSON_CHOICE:
		return put_choice(w, m);
	case JSON_FLAG:
		*flag = *m->at == 't';
		return *m->at == 't' || *m->at == 'f' ? 0 : refuse(w, m->at, "\"%.*s\" is true or false",
		    (int)m->name.n, (const char *)m->name.p);
	case JSON_LIST:
	case JSON_PAIRS:
	case JSON_TEXT_PAIRS:
		return put_many(w, m);
	}
	return 0;
}

int json_in_put(struct json_cmds *c, const char *text, size_t n, const struct json_member *m,
    const struct json_limits *lim, bool *flag, struct json_bad *bad)
{
	struct walk w;

	look_at(&w, c, text, n, bad);
	w.lim = lim;
	w.s.p = m->at;
	return put_member(&w, m, flag);
}
