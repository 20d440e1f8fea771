/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "server/http_route.h"

enum { PATH_MAX_BYTES = 128, NEAR = 4 };

static const struct http_row rows[] = {
#define ROUTE(method, path, words, kind, summary) { HTTP_##method, path, words, HTTP_KIND_##kind, summary },
#include "server/routes.def"
#undef ROUTE
};

struct http_routes *http_routes_make(const struct http_row *row, unsigned n, const char **why, unsigned *at)
{
	struct http_routes *t = calloc(1, sizeof *t + n * sizeof *t->quick);

	*why = NULL;
	*at = 0;
	if (t)
		t->route = calloc(n, sizeof *t->route);
	if (!t || !t->route) {
		free(t);
		return NULL;
	}
	for (; t->n < n; t->n++) {
		struct http_route *r = &t->route[t->n];

		r->method = row[t->n].method;
		r->path = row[t->n].path;
		r->text = row[t->n].text;
		r->kind = row[t->n].kind;
		r->summary = row[t->n].summary;
		r->path_len = strlen(r->path);
		if (http_words_parse(&r->words, r->method, r->path, r->text, why)) {
			*at = t->n;
			http_routes_free(t);
			return NULL;
		}
		t->quick[t->n].path = r->path;
		t->quick[t->n].len = (uint16_t)(r->words.fixed ? r->path_len : 0);
		t->quick[t->n].method = (uint8_t)r->method;
	}
	return t;
}

struct http_routes *http_routes_new(const char **why, unsigned *at)
{
	return http_routes_make(rows, sizeof rows / sizeof *rows, why, at);
}

void http_routes_free(struct http_routes *t)
{
	if (t)
		free(t->route);
	free(t);
}

const char *http_method_name(enum http_method m)
{
	static const char *const names[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };

	return m < HTTP_OTHER ? names[m] : "?";
}

/* ---- finding the row ---------------------------------------------------------------------------- */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Levenshtein's distance, of texts up to PATH_MAX_BYTES. */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
	size_t row[PATH_MAX_BYTES + 1];

	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t up = row[j];

			row[j] = least(diagonal + (a[i - 1] != b[j - 1]), least(up, row[j - 1]) + 1);
			diagonal = up;
		}
	}
	return row[m];
}

/* The next part of a path that begins with '/'; p is behind it. */
static purser_bytes next_part(const uint8_t **p, const uint8_t *end)
{
	const uint8_t *from = *p + 1, *slash = memchr(from, '/', (size_t)(end - from));

	*p = slash ? slash : end;
	return (purser_bytes){ from, (size_t)(*p - from) };
}

/* What has as many parts as the row is compared part by part: {x} is as near to one thing as to any other. */
static bool near_parts(purser_bytes path, const struct http_words *w)
{
	const uint8_t *p = path.p, *end = p + path.n;
	size_t far = 0;

	for (unsigned i = 0; i < w->nsegments; i++) {
		const struct http_segment *s = &w->segment[i];
		purser_bytes part;

		if (p == end)
			return false;
		part = next_part(&p, end);
		if (s->field < 0)
			far += part.n > PATH_MAX_BYTES ? NEAR : distance((const char *)part.p, part.n,
			    (const char *)s->text.p, s->text.n);
	}
	return p == end && far < NEAR;
}

static bool near(purser_bytes path, const struct http_route *r)
{
	size_t common = 0;

	while (common < path.n && common < r->path_len && path.p[common] == (uint8_t)r->path[common])
		common++;
	if (common > 1 && (common == path.n || common == r->path_len))
		return true;
	if (!r->words.fixed)
		return near_parts(path, &r->words);
	return path.n <= PATH_MAX_BYTES && distance((const char *)path.p, path.n, r->path, r->path_len) < NEAR;
}

static bool first_of_path(const struct http_routes *t, unsigned i)
{
	return !i || strcmp(t->route[i].path, t->route[i - 1].path) != 0; /* rows of one path stand together */
}

/* 404: names the routes that may have been meant. */
static void no_route(const struct http_routes *t, struct http_bad *bad, purser_bytes path)
{
	char list[160] = "";
	size_t len = 0;

	for (unsigned i = 0; i < t->n; i++) {
		const struct http_route *r = &t->route[i];

		if (!first_of_path(t, i) || !near(path, r) || len + r->path_len + 2 > sizeof list)
			continue;
		len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len ? ", " : "", r->path);
	}
	http_bad(bad, 404, ERR_BADREQUEST, "there is no such path; %s%s", len ? "near it: " :
	    "GET /openapi.json lists all", list);
}

/* Is the part of a path, still escaped, the text? */
static bool part_is(purser_bytes part, purser_bytes text)
{
	size_t k = 0;

	for (size_t i = 0; i < part.n; i++, k++) {
		uint8_t c = part.p[i];

		if (k == text.n)
			return false;
		if (c == '%') {
			http_unescape(&c, part.p + i, 3, false);
			i += 2;
		}
		if (c != text.p[k])
			return false;
	}
	return k == text.n;
}

static bool matches(const struct http_route *r, purser_bytes path, bool escaped, purser_bytes *part)
{
	const uint8_t *p = path.p, *end = p + path.n;

	if (r->words.fixed && !escaped)
		return path.n == r->path_len && memcmp(p, r->path, path.n) == 0;
	for (unsigned i = 0; i < r->words.nsegments; i++) {
		const struct http_segment *s = &r->words.segment[i];
		purser_bytes b;

		if (p == end)
			return false;
		b = next_part(&p, end);
		if (s->field < 0 ? !part_is(b, s->text) : !b.n)
			return false;
		if (s->field >= 0)
			part[s->field] = b;
	}
	return p == end;
}

static void no_method(const struct http_routes *t, struct http_bad *bad, purser_bytes path, bool escaped)
{
	purser_bytes part[HTTP_FIELDS_MAX];
	char allow[sizeof bad->allow] = "";
	size_t len = 0;
	unsigned seen = 0;

	for (unsigned i = 0; i < t->n; i++) {
		const struct http_route *r = &t->route[i];

		if (seen & 1u << r->method || !matches(r, path, escaped, part))
			continue;
		seen |= 1u << r->method;
		len += (size_t)snprintf(allow + len, sizeof allow - len, "%s%s%s", len ? ", " : "",
		    http_method_name(r->method), r->method == HTTP_GET ? ", HEAD" : "");
	}
	http_bad(bad, 405, ERR_BADREQUEST, "the path does not have this method; it has %s", allow);
	memcpy(bad->allow, allow, sizeof allow);
}

const struct http_route *http_route_find(const struct http_routes *t, enum http_method m, purser_bytes path,
    purser_bytes part[HTTP_FIELDS_MAX], struct http_bad *bad)
{
	const struct http_route *best = NULL;
	bool escaped, found = false;

	if (m == HTTP_HEAD)
		m = HTTP_GET;
	for (unsigned i = 0; i < t->n; i++)
		if (t->quick[i].len == path.n && t->quick[i].method == m && memcmp(t->quick[i].path, path.p, path.n) == 0)
			return &t->route[i];
	escaped = memchr(path.p, '%', path.n) != NULL;
	for (unsigned i = 0; i < t->n; i++) {
		const struct http_route *r = &t->route[i];

		if (r->method != m && found)
			continue;
		if (!matches(r, path, escaped, part))
			continue;
		found = true;
		if (r->method != m)
			continue;
		if (r->words.fixed)
			return r;
		best = r; /* a row that has these very words is nearer */
	}
	if (best)
		matches(best, path, escaped, part);
	else if (found)
		no_method(t, bad, path, escaped);
	else
		no_route(t, bad, path);
	return best;
}
