/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "server/http_route.h"

enum { PATH_MAX_BYTES = 128, NEAR = 4 };

const struct http_route http_routes[] = {
#define ROUTE(method, path, command, map, kind, params, summary) \
	{ HTTP_##method, path, command, HTTP_MAP_##map, HTTP_KIND_##kind, params, summary },
#include "server/routes.def"
#undef ROUTE
};
const unsigned http_nroutes = sizeof http_routes / sizeof *http_routes;

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

static bool near(const char *path, size_t n, const char *route)
{
	size_t m = strlen(route), common = 0;

	while (common < n && common < m && path[common] == route[common])
		common++;
	if (common > 1 && (common == n || common == m))
		return true;
	return n <= PATH_MAX_BYTES && distance(path, n, route, m) < NEAR;
}

/* 404: names the routes that may have been meant. */
static void no_route(struct http_bad *bad, const char *path, size_t n)
{
	char list[160] = "";
	size_t len = 0;

	for (unsigned i = 0; i < http_nroutes; i++) {
		const char *route = http_routes[i].path;

		if (i && strcmp(route, http_routes[i - 1].path) == 0)
			continue; /* rows of one path stand together */
		if (!near(path, n, route) || len + strlen(route) + 2 > sizeof list)
			continue;
		len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len ? ", " : "", route);
	}
	http_bad(bad, 404, ERR_BADREQUEST, "there is no such path; %s%s", len ? "near it: " :
	    "GET /openapi.json lists all", list);
}

static void no_method(struct http_bad *bad, const char *path, size_t n)
{
	char allow[sizeof bad->allow] = "";
	size_t len = 0;

	for (unsigned i = 0; i < http_nroutes; i++) {
		const struct http_route *r = &http_routes[i];

		if (strlen(r->path) != n || memcmp(r->path, path, n) != 0)
			continue;
		len += (size_t)snprintf(allow + len, sizeof allow - len, "%s%s%s", len ? ", " : "",
		    http_method_name(r->method), r->method == HTTP_GET ? ", HEAD" : "");
	}
	http_bad(bad, 405, ERR_BADREQUEST, "the path does not have this method; it has %s", allow);
	memcpy(bad->allow, allow, sizeof allow);
}

const struct http_route *http_route_find(enum http_method m, purser_bytes path, struct http_bad *bad)
{
	bool found = false;

	if (m == HTTP_HEAD)
		m = HTTP_GET;
	for (unsigned i = 0; i < http_nroutes; i++) {
		const struct http_route *r = &http_routes[i];

		if (strlen(r->path) != path.n || memcmp(r->path, path.p, path.n) != 0)
			continue;
		if (r->method == m)
			return r;
		found = true;
	}
	if (found)
		no_method(bad, (const char *)path.p, path.n);
	else
		no_route(bad, (const char *)path.p, path.n);
	return NULL;
}

static const struct http_route *find(const struct http_head *h, struct http_bad *bad)
{
	purser_bytes raw = http_head_span(h, h->path);
	uint8_t path[PATH_MAX_BYTES];

	size_t n = raw.n;

	for (size_t i = 0; i < raw.n; i++)
		if (raw.p[i] == '%')
			n -= 2;
	if (n > sizeof path) {
		no_route(bad, "", 0);
		return NULL;
	}
	return http_route_find(h->method,
	    (purser_bytes){ path, http_unescape(path, raw.p, raw.n, false) }, bad);
}

/* ---- parameters ------------------------------------------------------------------------------- */

struct params {
	purser_bytes key, encoding; /* still escaped; p NULL: not given */
};

static bool is(purser_bytes b, const char *word)
{
	return b.n == strlen(word) && memcmp(b.p, word, b.n) == 0;
}

/* Is the word one of the blank-separated list? */
static bool listed(const char *list, purser_bytes word)
{
	while (*list) {
		size_t n = strcspn(list, " ");

		if (word.n == n && memcmp(word.p, list, n) == 0)
			return true;
		list += n + (list[n] == ' ');
	}
	return false;
}

static int read_params(struct http_call *c, const struct http_head *h, struct params *out)
{
	purser_bytes rest = http_head_span(h, h->query), name, value, *slot;

	while (http_query_next(&rest, &name, &value)) {
		if (!listed(c->route->params, name)) {
			http_bad(&c->bad, 400, ERR_BADREQUEST, "unknown query parameter; %s %s has %s",
			    http_method_name(c->route->method), c->route->path,
			    *c->route->params ? c->route->params : "none");
			return -1;
		}
		slot = is(name, "key") ? &out->key : &out->encoding;
		if (slot->p || !value.p) {
			http_bad(&c->bad, 400, ERR_BADREQUEST, "the query parameter %.*s %s", (int)name.n,
			    (const char *)name.p, slot->p ? "is given twice" : "has no '='");
			return -1;
		}
		*slot = value;
	}
	if (out->encoding.p && !is(out->encoding, "base64")) {
		http_bad(&c->bad, 400, ERR_BADREQUEST, "the only encoding is base64");
		return -1;
	}
	c->base64 = out->encoding.p != NULL;
	return 0;
}

/* ---- the body --------------------------------------------------------------------------------- */

/* A JSON body may come with no type, as JSON, or with the type that `curl -d` says of anything. */
static int check_body(struct http_call *c, const struct http_head *h, size_t n)
{
	static const char *const types[] = { "application/json", "application/x-www-form-urlencoded",
		"text/plain" };
	purser_bytes type = http_head_value(h, HTTP_H_CONTENT_TYPE);
	purser_bytes coding = http_head_value(h, HTTP_H_CONTENT_ENCODING);
	const uint8_t *semicolon = type.p ? memchr(type.p, ';', type.n) : NULL;
	size_t len = semicolon ? (size_t)(semicolon - type.p) : type.n;

	if (coding.p && !(coding.n == 8 && strncasecmp((const char *)coding.p, "identity", 8) == 0)) {
		http_bad(&c->bad, 415, ERR_BADREQUEST, "a body with a Content-Encoding is not read");
		return -1;
	}
	if (c->route->map != HTTP_MAP_KV_SET && c->route->map != HTTP_MAP_COMMAND && c->route->map != HTTP_MAP_EXPLAIN) {
		if (!n)
			return 0;
		http_bad(&c->bad, 400, ERR_BADREQUEST, "%s %s takes no body",
		    http_method_name(h->method), c->route->path);
		return -1;
	}
	while (len && (type.p[len - 1] == ' ' || type.p[len - 1] == '\t'))
		len--;
	if (!len)
		return 0;
	for (unsigned i = 0; i < sizeof types / sizeof *types; i++)
		if (strlen(types[i]) == len && strncasecmp((const char *)type.p, types[i], len) == 0)
			return 0;
	http_bad(&c->bad, 415, ERR_BADREQUEST, "the body must be JSON: Content-Type: application/json");
	return -1;
}

static int bad_json(struct http_call *c, const struct json_bad *j)
{
	if (j->nomem)
		http_bad(&c->bad, 507, ERR_OOM, "%s", j->text);
	else if (j->big)
		http_bad(&c->bad, 413, ERR_TOOBIG, "%s", j->text);
	else
		http_bad(&c->bad, 400, ERR_BADREQUEST, "%s", j->text);
	return -1;
}

/* ---- the maps --------------------------------------------------------------------------------- */

static void word(struct json_cmds *cmds, const char *w)
{
	json_cmds_arg(cmds, w, strlen(w));
}

/* GET and DEL of ?key= */
static int map_key(struct http_call *c, const struct params *p)
{
	bool get = c->route->map == HTTP_MAP_KV_GET;
	purser_bytes key;
	uint8_t *raw;

	if (!p->key.p) {
		http_bad(&c->bad, 400, ERR_BADREQUEST, "the query parameter key is missing: %s %s?key=NAME",
		    http_method_name(c->route->method), c->route->path);
		return -1;
	}
	json_cmds_begin(&c->cmds, 2 * p->key.n + 16);
	word(&c->cmds, c->route->command);
	raw = json_cmds_room(&c->cmds, p->key.n);
	if (!raw)
		return 0;
	key = (purser_bytes){ raw, http_unescape(raw, p->key.p, p->key.n, true) };
	json_cmds_took(&c->cmds, key.n);
	json_cmds_end(&c->cmds);
	if (get) {
		word(&c->cmds, "PTTL");
		json_cmds_arg(&c->cmds, key.p, key.n);
		json_cmds_end(&c->cmds);
	}
	return 0;
}

/* The words of the body behind the command's own name. */
static int map_explain(struct http_call *c, const char *body, size_t n, const struct json_limits *lim)
{
	struct json_cmds words = { .failed = false };
	struct json_bad bad;
	bool many = false;
	int rc = json_in_commands(&words, body, n, lim, &many, &bad);

	if (rc) {
		bad_json(c, &bad);
	} else if (many || words.ncmds != 1) {
		http_bad(&c->bad, 400, ERR_BADREQUEST, "the body must be one command: [\"GET\", \"key\"]");
		rc = -1;
	} else {
		json_cmds_begin(&c->cmds, words.used + strlen(c->route->command));
		word(&c->cmds, c->route->command);
		for (uint32_t i = 0; i < words.nargv; i++)
			json_cmds_arg(&c->cmds, words.argv[i].p, words.argv[i].n);
		json_cmds_end(&c->cmds);
		c->cmds.failed |= words.failed;
	}
	json_cmds_free(&words);
	return rc;
}

static int map(struct http_call *c, const struct params *p, const char *body, size_t n,
    const struct json_limits *lim)
{
	struct json_bad bad;

	switch (c->route->map) {
	case HTTP_MAP_NONE:
		json_cmds_begin(&c->cmds, strlen(c->route->command));
		word(&c->cmds, c->route->command);
		json_cmds_end(&c->cmds);
		return 0;
	case HTTP_MAP_KV_GET:
	case HTTP_MAP_KV_DEL:
		return map_key(c, p);
	case HTTP_MAP_KV_SET:
		return json_in_kv(&c->cmds, body, n, &bad) ? bad_json(c, &bad) : 0;
	case HTTP_MAP_COMMAND:
		return json_in_commands(&c->cmds, body, n, lim, &c->pipeline, &bad) ? bad_json(c, &bad) : 0;
	case HTTP_MAP_EXPLAIN:
		return map_explain(c, body, n, lim);
	}
	return 0;
}

int http_call_make(struct http_call *c, const struct http_head *h, const uint8_t *body, size_t n,
    const struct json_limits *lim)
{
	struct params p = { { NULL, 0 }, { NULL, 0 } };

	memset(&c->bad, 0, sizeof c->bad);
	c->pipeline = c->base64 = false;
	c->key = (purser_bytes){ NULL, 0 };
	c->route = find(h, &c->bad);
	if (!c->route || read_params(c, h, &p) || check_body(c, h, n) ||
	    map(c, &p, n ? (const char *)body : "", n, lim))
		return -1;
	if (c->cmds.failed) {
		http_bad(&c->bad, 507, ERR_OOM, "no memory for the arguments");
		return -1;
	}
	if (c->route->map == HTTP_MAP_KV_GET || c->route->map == HTTP_MAP_KV_SET ||
	    c->route->map == HTTP_MAP_KV_DEL)
		c->key = c->cmds.argv[1];
	return 0;
}

void http_call_free(struct http_call *c)
{
	json_cmds_free(&c->cmds);
	memset(c, 0, sizeof *c);
}
