/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of a command out of the path, the query and the body of a request, as its row has them.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <purser/resp.h>
#include "resp/json_scan.h"
#include "server/http_route.h"

/* Where the fields are: of path and query still escaped, of the body where the member's value stands. */
struct given {
	const struct http_head *h;
	const char *body;
	size_t body_len;
	const struct json_limits *lim;
	purser_bytes text[HTTP_FIELDS_MAX]; /* p NULL: not given */
	struct json_member member[HTTP_FIELDS_MAX + 1];
	int8_t field[HTTP_FIELDS_MAX + 1];  /* which one a member is; -1: "encoding" */
	unsigned nmembers;
	uint64_t groups;                    /* those that are there */
};

static bool is(purser_bytes b, const char *word)
{
	return b.n == strlen(word) && memcmp(b.p, word, b.n) == 0;
}

static bool same(purser_bytes a, purser_bytes b)
{
	return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static int refuse_json(struct http_call *c, const struct json_bad *j)
{
	if (j->nomem)
		http_bad(&c->bad, 507, ERR_OOM, "%s", j->text);
	else if (j->big)
		http_bad(&c->bad, 413, ERR_TOOBIG, "%s", j->text);
	else
		http_bad(&c->bad, 400, ERR_BADREQUEST, "%s", j->text);
	return -1;
}

/* ---- the query -------------------------------------------------------------------------------- */

static int unknown_parameter(struct http_call *c)
{
	const struct http_words *w = &c->route->words;
	char list[160] = "";
	size_t len = 0;

	for (unsigned i = 0; i < w->nfields && len < sizeof list; i++)
		if (w->field[i].place == HTTP_IN_QUERY)
			len += (size_t)snprintf(list + len, sizeof list - len, "%s%.*s", len ? " " : "",
			    (int)w->field[i].name.n, (const char *)w->field[i].name.p);
	if (http_route_encodes(c->route) && len < sizeof list)
		len += (size_t)snprintf(list + len, sizeof list - len, "%sencoding", len ? " " : "");
	http_bad(&c->bad, 400, ERR_BADREQUEST, "unknown query parameter; %s %s has %s",
	    http_method_name(c->route->method), c->route->path, len ? list : "none");
	return -1;
}

static int bad_parameter(struct http_call *c, purser_bytes name, const char *what)
{
	http_bad(&c->bad, 400, ERR_BADREQUEST, "the query parameter %.*s %s", (int)name.n, (const char *)name.p, what);
	return -1;
}

static int read_query(struct http_call *c, struct given *g)
{
	const struct http_words *w = &c->route->words;
	purser_bytes rest = http_head_span(g->h, g->h->query), name, value;

	for (unsigned i = 0; i < w->nfields; i++)
		if (w->field[i].place != HTTP_IN_PATH)
			g->text[i].p = NULL;
	while (http_query_next(&rest, &name, &value)) {
		unsigned i = 0;

		while (i < w->nfields && !(w->field[i].place == HTTP_IN_QUERY && same(w->field[i].name, name)))
			i++;
		if (i == w->nfields) {
			if (!http_route_encodes(c->route) || !is(name, "encoding"))
				return unknown_parameter(c);
			if (c->base64)
				return bad_parameter(c, name, "is given twice");
			if (!value.p || !is(value, "base64")) {
				http_bad(&c->bad, 400, ERR_BADREQUEST, "the only encoding is base64");
				return -1;
			}
			c->base64 = true;
			continue;
		}
		if (w->field[i].type == JSON_FLAG && !value.p)
			value = (purser_bytes){ (const uint8_t *)"1", 1 };
		if (!value.p)
			return bad_parameter(c, name, "has no '='");
		if (g->text[i].p && w->field[i].type != JSON_LIST)
			return bad_parameter(c, name, "is given twice");
		g->text[i] = value;
	}
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
	if (!c->route->words.body) {
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

/* "encoding": "base64" says so of all fields of the type value. */
static int read_encoding(struct http_call *c, struct given *g)
{
	const struct json_member *m = &g->member[g->nmembers - 1];
	static const char word[] = "\"base64\"";

	if (g->field[g->nmembers - 1] >= 0 || !m->at)
		return 0;
	if ((size_t)(g->body + g->body_len - (const char *)m->at) < sizeof word - 1 ||
	    memcmp(m->at, word, sizeof word - 1) != 0) {
		http_bad(&c->bad, 400, ERR_BADREQUEST, "the only encoding is \"base64\"");
		return -1;
	}
	for (unsigned i = 0; i < g->nmembers; i++)
		if (g->member[i].type == JSON_VALUE)
			g->member[i].type = JSON_BASE64;
	return 0;
}

static int read_body(struct http_call *c, struct given *g)
{
	const struct http_words *w = &c->route->words;
	struct json_bad bad;
	bool value = false;

	for (unsigned i = 0; i < w->nfields; i++) {
		const struct http_field *f = &w->field[i];

		if (f->place != HTTP_IN_BODY)
			continue;
		g->field[g->nmembers] = (int8_t)i;
		g->member[g->nmembers++] = (struct json_member){ f->name, f->type, f->text, NULL };
		value |= f->type == JSON_VALUE;
	}
	if (value) {
		g->field[g->nmembers] = -1;
		g->member[g->nmembers++] = (struct json_member){ { (const uint8_t *)"encoding", 8 }, JSON_STR,
			{ NULL, 0 }, NULL };
	}
	if (!g->nmembers || (!g->body_len && !w->required_body))
		return 0;
	if (json_in_members(g->body, g->body_len, g->member, g->nmembers, &bad))
		return refuse_json(c, &bad);
	return read_encoding(c, g);
}

static struct json_member *member_of(struct given *g, int field)
{
	for (unsigned i = 0; i < g->nmembers; i++)
		if (g->field[i] == field)
			return &g->member[i];
	return NULL;
}

/* ---- what is there ---------------------------------------------------------------------------- */

static bool is_given(struct given *g, const struct http_words *w, int field)
{
	return w->field[field].place == HTTP_IN_BODY ? member_of(g, field) && member_of(g, field)->at :
	    g->text[field].p != NULL;
}

/* Is a flag of the query set?  -1: it says neither. */
static int query_flag(purser_bytes v)
{
	if (is(v, "1") || is(v, "true"))
		return 1;
	return is(v, "0") || is(v, "false") ? 0 : -1;
}

static int read_flag(struct http_call *c, struct given *g, int field, bool *set)
{
	const struct http_field *f = &c->route->words.field[field];
	struct json_bad bad;
	int q;

	if (f->place == HTTP_IN_BODY)
		return json_in_put(&c->cmds, g->body, g->body_len, member_of(g, field), g->lim, set, &bad) ?
		    refuse_json(c, &bad) : 0;
	q = query_flag(g->text[field]);
	if (q < 0)
		return bad_parameter(c, f->name, "is a flag: true or false");
	*set = q;
	return 0;
}

static int missing(struct http_call *c, const struct http_field *f, const char *with)
{
	int n = (int)f->name.n;
	const char *name = (const char *)f->name.p;

	if (f->place == HTTP_IN_QUERY)
		http_bad(&c->bad, 400, ERR_BADREQUEST, "the query parameter %.*s is missing%s: %s %s?%.*s=%s", n, name,
		    with, http_method_name(c->route->method), c->route->path, n, name,
		    f->type == JSON_INT || f->type == JSON_NUM ? "NUMBER" : is(f->name, "key") ? "NAME" : "TEXT");
	else
		http_bad(&c->bad, 400, ERR_BADREQUEST, "the member \"%.*s\" of the body is missing%s: {\"%.*s\": ...}", n,
		    name, with, n, name);
	return -1;
}

/* Which groups are there; and is all there that must be? */
static int check_given(struct http_call *c, struct given *g)
{
	const struct http_words *w = &c->route->words;

	for (int i = 0; i < w->nfields; i++) {
		bool set = true;

		if (!w->field[i].group || !is_given(g, w, i))
			continue;
		if (w->field[i].type == JSON_FLAG && read_flag(c, g, i, &set))
			return -1;
		if (set)
			g->groups |= UINT64_C(1) << w->field[i].group;
	}
	for (int i = 0; i < w->nfields; i++) {
		const struct http_field *f = &w->field[i];

		if (f->required && f->type != JSON_FLAG && !is_given(g, w, i) &&
		    (!f->group || g->groups & UINT64_C(1) << f->group))
			return missing(c, f, f->group ? " (it goes with the others of its group)" : "");
	}
	return 0;
}

/* ---- the words -------------------------------------------------------------------------------- */

/* The text of a field of the query, which is p[0..n) now, as its type has it. */
static int check_text(struct http_call *c, const struct http_field *f, const uint8_t *p, size_t n)
{
	struct json_scan s = { .p = p, .end = p + n };
	char what[120];
	int64_t v;

	switch (f->type) {
	case JSON_INT:
		return purser_resp_int(p, n, &v) ? bad_parameter(c, f->name, "is a whole number") : 0;
	case JSON_NUM:
		return !n || jscan_number(p, n) != n ? bad_parameter(c, f->name, "is a number") : 0;
	case JSON_TEXT:
		return jscan_skip(&s) || jscan_end(&s) ? bad_parameter(c, f->name, "is JSON") : 0;
	case JSON_CHOICE:
		if (json_in_choice(f->text, p, n))
			return 0;
		snprintf(what, sizeof what, "is one of %.*s", (int)f->text.n, (const char *)f->text.p);
		return bad_parameter(c, f->name, what);
	default:
		return 0;
	}
}

/* A part of the path, or of the query (where + is a blank). */
static int put_text(struct http_call *c, const struct http_field *f, purser_bytes v)
{
	uint8_t *d = json_cmds_room(&c->cmds, v.n);
	size_t n;

	if (!d)
		return 0;
	n = http_unescape(d, v.p, v.n, f->place == HTTP_IN_QUERY);
	if (check_text(c, f, d, n))
		return -1;
	json_cmds_took(&c->cmds, n);
	return 0;
}

/* Each of the query's parameters with this name. */
static int put_list(struct http_call *c, const struct given *g, const struct http_field *f)
{
	purser_bytes rest = http_head_span(g->h, g->h->query), name, value;

	while (http_query_next(&rest, &name, &value))
		if (same(f->name, name) && put_text(c, f, value))
			return -1;
	return 0;
}

static int put_field(struct http_call *c, struct given *g, int field)
{
	const struct http_field *f = &c->route->words.field[field];
	const struct json_member *m = f->place == HTTP_IN_BODY ? member_of(g, field) : NULL;
	struct json_bad bad;
	bool flag;

	if (m && m->at)
		return json_in_put(&c->cmds, g->body, g->body_len, m, g->lim, &flag, &bad) ? refuse_json(c, &bad) : 0;
	if (!m && g->text[field].p)
		return f->type == JSON_LIST ? put_list(c, g, f) : put_text(c, f, g->text[field]);
	json_cmds_arg(&c->cmds, f->text.p, f->text.n); /* its default */
	return 0;
}

/* Behind the words of a command; it has none where none of its groups is there. */
static void end_command(struct json_cmds *cmds)
{
	if (cmds->nargv > (cmds->ncmds ? cmds->end[cmds->ncmds - 1] : 0))
		json_cmds_end(cmds);
}

static int put_words(struct http_call *c, struct given *g)
{
	const struct http_words *w = &c->route->words;

	for (unsigned i = 0; i < w->nwords; i++) {
		const struct http_word *d = &w->word[i];

		if (d->group && !(g->groups & UINT64_C(1) << d->group))
			continue;
		if (d->field == HTTP_NEXT)
			end_command(&c->cmds);
		else if (d->field < 0)
			json_cmds_arg(&c->cmds, d->text.p, d->text.n);
		else if (put_field(c, g, d->field))
			return -1;
	}
	return 0;
}

/* <*>: the words of the body behind the row's own. */
static int put_command(struct http_call *c, struct given *g)
{
	struct json_cmds words = { .failed = false };
	struct json_bad bad;
	bool many = false;
	int rc = json_in_commands(&words, g->body, g->body_len, g->lim, &many, &bad);

	if (rc) {
		refuse_json(c, &bad);
	} else if (many || words.ncmds != 1) {
		http_bad(&c->bad, 400, ERR_BADREQUEST, "the body must be one command: [\"GET\", \"key\"]");
		rc = -1;
	} else {
		for (uint32_t i = 0; i < words.nargv; i++)
			json_cmds_arg(&c->cmds, words.argv[i].p, words.argv[i].n);
		c->cmds.failed |= words.failed;
	}
	json_cmds_free(&words);
	return rc;
}

/* All is optional, and nothing of it is there. */
static int nothing(struct http_call *c)
{
	const struct http_words *w = &c->route->words;
	char list[160] = "";
	size_t len = 0;

	for (unsigned i = 0; i < w->nfields && len < sizeof list; i++)
		len += (size_t)snprintf(list + len, sizeof list - len, "%s%.*s", i ? ", " : "", (int)w->field[i].name.n,
		    (const char *)w->field[i].name.p);
	http_bad(&c->bad, 400, ERR_BADREQUEST, "%s %s needs one of these: %s", http_method_name(c->route->method),
	    c->route->path, list);
	return -1;
}

/* The commands that the template makes; of GET /redis/kv, PTTL too. */
static int make(struct http_call *c, struct given *g)
{
	const struct http_words *w = &c->route->words;
	size_t room = w->bytes + g->h->target.n + g->body_len;

	json_cmds_begin(&c->cmds, c->route->kind == HTTP_KIND_KV_GET ? 2 * room + 8 : room);
	if (read_body(c, g) || check_given(c, g) || put_words(c, g) ||
	    (w->command && put_command(c, g)))
		return -1;
	end_command(&c->cmds);
	if (!c->cmds.ncmds && !c->cmds.failed)
		return nothing(c);
	if (c->route->kind == HTTP_KIND_KV_GET && !c->cmds.failed) {
		purser_bytes key = c->cmds.argv[1];

		json_cmds_arg(&c->cmds, "PTTL", 4);
		json_cmds_arg(&c->cmds, key.p, key.n);
		json_cmds_end(&c->cmds);
	}
	return 0;
}

static int fill(struct http_call *c, struct given *g)
{
	struct json_bad bad;

	switch (c->route->kind) {
	case HTTP_KIND_COMMAND:
		return json_in_commands(&c->cmds, g->body, g->body_len, g->lim, &c->pipeline, &bad) ?
		    refuse_json(c, &bad) : 0;
	case HTTP_KIND_KV_SET: /* one of two units, and a number that is told better here */
		return json_in_kv(&c->cmds, g->body, g->body_len, &bad) ? refuse_json(c, &bad) : 0;
	default:
		return make(c, g);
	}
}

int http_call_make(struct http_call *c, const struct http_routes *t, const struct http_head *h,
    const uint8_t *body, size_t n, const struct json_limits *lim)
{
	struct given g; /* its tables of the body are filled where there is one */
	enum http_kind kind;

	g.h = h;
	g.body = n ? (const char *)body : "";
	g.body_len = n;
	g.lim = lim;
	g.nmembers = 0;
	g.groups = 0;
	memset(&c->bad, 0, sizeof c->bad);
	c->pipeline = c->base64 = false;
	c->key = (purser_bytes){ NULL, 0 };
	c->route = http_route_find(t, h->method, http_head_span(h, h->path), g.text, &c->bad);
	if (c->route && c->route->kind == HTTP_KIND_EVENTS && h->method == HTTP_HEAD) {
		http_bad(&c->bad, 405, ERR_BADREQUEST, "a stream of events has no HEAD");
		snprintf(c->bad.allow, sizeof c->bad.allow, "%s", http_method_name(c->route->method));
		return -1;
	}
	if (!c->route || read_query(c, &g) || check_body(c, h, n) || fill(c, &g))
		return -1;
	if (c->cmds.failed) {
		http_bad(&c->bad, 507, ERR_OOM, "no memory for the arguments");
		return -1;
	}
	kind = c->route->kind;
	if (kind == HTTP_KIND_KV_GET || kind == HTTP_KIND_KV_SET || kind == HTTP_KIND_KV_DEL)
		c->key = c->cmds.argv[1];
	return 0;
}

void http_call_free(struct http_call *c)
{
	json_cmds_free(&c->cmds);
	memset(c, 0, sizeof *c);
}
