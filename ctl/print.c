/* SPDX-License-Identifier: Apache-2.0 */
/* purserctl: tables, colours, replies, JSON. */
#include <config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "ctl.h"
#include "resp/json_text.h"

/* ---- colours and tables ------------------------------------------------------------------------------- */

const char *paint(const struct ctl *x, const char *word)
{
	static const char *const good[] = { "healthy", "ok", "up", "closed", "done", NULL };
	static const char *const fair[] = { "degraded", "warning", "unknown", "half_open", "interrupted", NULL };
	static const char *const bad[] = { "unhealthy", "critical", "failed", "open", "down", NULL };

	if (!x->color || !word)
		return "";
	for (int i = 0; good[i]; i++)
		if (strcmp(word, good[i]) == 0)
			return "\033[32m";
	for (int i = 0; fair[i]; i++)
		if (strcmp(word, fair[i]) == 0)
			return "\033[33m";
	for (int i = 0; bad[i]; i++)
		if (strcmp(word, bad[i]) == 0)
			return "\033[31m";
	return "";
}

const char *unpaint(const struct ctl *x)
{
	return x->color ? "\033[0m" : "";
}

void table_row(struct table *t, ...)
{
	va_list ap;

	if (t->rows == sizeof t->cell / sizeof *t->cell)
		return;
	va_start(ap, t);
	for (size_t i = 0; i < t->cols; i++) {
		const char *s = va_arg(ap, const char *);

		t->cell[t->rows][i] = strdup(s ? s : "");
	}
	va_end(ap);
	t->rows++;
}

/* Columns as they are seen: UTF-8 continuation bytes take none. */
static int width(const char *s)
{
	int n = 0;

	for (; s && *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void table_print(struct table *t, const struct ctl *x)
{
	int w[8] = { 0 };

	for (size_t r = 0; r < t->rows; r++)
		for (size_t c = 0; c < t->cols; c++)
			if (width(t->cell[r][c]) > w[c])
				w[c] = width(t->cell[r][c]);
	for (size_t r = 0; r < t->rows; r++) {
		size_t last = t->cols;

		while (last > 1 && !(t->cell[r][last - 1] && *t->cell[r][last - 1]))
			free(t->cell[r][--last]);
		for (size_t c = 0; c < last; c++) {
			const char *s = t->cell[r][c] ? t->cell[r][c] : "", *color = paint(x, s);

			printf("%s%s%s%*s", color, s, *color ? unpaint(x) : "",
			    c + 1 < last ? w[c] - width(s) + 2 : 0, "");
			free(t->cell[r][c]);
		}
		putchar('\n');
	}
	t->rows = 0;
}

void print_bytes_human(char *dst, size_t cap, double bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	int u = 0;

	while (bytes >= 1024 && u < 4) {
		bytes /= 1024;
		u++;
	}
	snprintf(dst, cap, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

int print_json(json_t *j)
{
	int rc = j && json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY) == 0 ?
	    CTL_OK : CTL_OUTPUT;

	putchar('\n');
	json_decref(j);
	return rc;
}

json_t *json_text(const void *p, size_t n)
{
	struct buf b = { 0 };
	json_t *j;

	if (utf8_valid(p, n) && !memchr(p, 0, n))
		return json_stringn(p, n);
	base64_put(&b, p, n);
	j = json_pack("{s:s}", "base64", buf_cstr(&b));
	buf_free(&b);
	return j;
}

json_t *json_of_reply(const redisReply *r)
{
	json_t *j;

	switch (r->type) {
	case REDIS_REPLY_INTEGER:
		return json_integer(r->integer);
	case REDIS_REPLY_NIL:
		return json_null();
	case REDIS_REPLY_ERROR:
		return json_pack("{s:s}", "error", r->str);
	case REDIS_REPLY_ARRAY:
		j = json_array();
		for (size_t i = 0; i < r->elements; i++)
			json_array_append_new(j, json_of_reply(r->element[i]));
		return j;
	default:
		return json_text(r->str, r->len);
	}
}

json_t *json_of_pairs(const redisReply *r)
{
	json_t *j = json_object();

	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2)
		if (r->element[i]->type == REDIS_REPLY_STRING || r->element[i]->type == REDIS_REPLY_STATUS)
			json_object_set_new(j, r->element[i]->str, json_of_reply(r->element[i + 1]));
	return j;
}

static void flatten(struct table *t, const char *prefix, json_t *v)
{
	const char *key;
	json_t *sub;
	char name[256], text[512] = "";
	size_t at = 0, i;

	if (json_is_object(v)) {
		json_object_foreach(v, key, sub) {
			snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
			flatten(t, name, sub);
		}
		return;
	}
	if (json_is_array(v)) {
		json_array_foreach(v, i, sub)
			if (json_is_string(sub) && at < sizeof text)
				at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? ", " : "",
				    json_string_value(sub));
	} else if (json_is_string(v)) {
		snprintf(text, sizeof text, "%s", json_string_value(v));
	} else if (json_is_integer(v)) {
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
	} else if (json_is_real(v)) {
		snprintf(text, sizeof text, "%.3f", json_real_value(v));
	} else {
		snprintf(text, sizeof text, "%s", json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "-");
	}
	table_row(t, prefix, text);
}

void print_flat(const struct ctl *x, json_t *object)
{
	struct table t = { .cols = 2 };

	flatten(&t, "", object);
	table_print(&t, x);
}

static void put_scalar(json_t *v)
{
	if (json_is_string(v))
		fwrite(json_string_value(v), 1, json_string_length(v), stdout);
	else if (json_is_null(v))
		putchar('-');
	else
		json_dumpf(v, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
	putchar('\n');
}

static bool is_nested(json_t *v)
{
	return (json_is_object(v) && json_object_size(v)) || (json_is_array(v) && json_array_size(v));
}

/* first: the cursor stands where the value begins. */
static void put_tree(json_t *v, int indent, bool first)
{
	const char *name;
	json_t *sub;
	size_t i;

	if (!is_nested(v)) {
		put_scalar(v);
		return;
	}
	json_object_foreach(v, name, sub) {
		printf("%*s%s:", first ? 0 : indent, "", name);
		first = false;
		putchar(is_nested(sub) ? '\n' : ' ');
		put_tree(sub, indent + 2, false);
	}
	json_array_foreach(v, i, sub) {
		printf("%*s- ", first ? 0 : indent, "");
		first = false;
		put_tree(sub, indent + 2, true);
	}
}

void print_tree(json_t *j)
{
	put_tree(j, 0, true);
	json_decref(j);
}

/* ---- replies, as redis-cli prints them ------------------------------------------------------------------ */

static void put_quoted(const char *p, size_t n)
{
	putchar('"');
	for (; n; p++, n--) {
		unsigned char c = (unsigned char)*p;

		switch (c) {
		case '\\': case '"': printf("\\%c", c); break;
		case '\n': fputs("\\n", stdout); break;
		case '\r': fputs("\\r", stdout); break;
		case '\t': fputs("\\t", stdout); break;
		case '\a': fputs("\\a", stdout); break;
		case '\b': fputs("\\b", stdout); break;
		default:
			if (c >= 32 && c < 127)
				putchar(c);
			else
				printf("\\x%02x", c);
		}
	}
	putchar('"');
}

static void put_people(const redisReply *r, int indent)
{
	int digits = 1;

	switch (r->type) {
	case REDIS_REPLY_INTEGER:
		printf("(integer) %lld\n", r->integer);
		return;
	case REDIS_REPLY_NIL:
		puts("(nil)");
		return;
	case REDIS_REPLY_STATUS:
		printf("%s\n", r->str);
		return;
	case REDIS_REPLY_ERROR:
		printf("(error) %s\n", r->str);
		return;
	case REDIS_REPLY_STRING:
		put_quoted(r->str, r->len);
		putchar('\n');
		return;
	default:
		break;
	}
	if (!r->elements)
		puts("(empty array)");
	for (size_t n = r->elements; n >= 10; n /= 10)
		digits++;
	for (size_t i = 0; i < r->elements; i++) {
		printf("%*s%*zu) ", i ? indent : 0, "", digits, i + 1);
		put_people(r->element[i], indent + digits + 2);
	}
}

static void put_raw(const redisReply *r, bool exact)
{
	switch (r->type) {
	case REDIS_REPLY_INTEGER:
		printf("%lld\n", r->integer);
		return;
	case REDIS_REPLY_NIL:
		if (!exact)
			putchar('\n');
		return;
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < r->elements; i++)
			put_raw(r->element[i], false);
		return;
	default:
		fwrite(r->str, 1, r->len, stdout);
		if (!exact)
			putchar('\n');
	}
}

void print_reply(const struct ctl *x, const redisReply *r)
{
	if (x->raw || (!x->no_raw && !x->tty))
		put_raw(r, x->raw);
	else
		put_people(r, 0);
}
