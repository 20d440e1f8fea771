/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "server/http_words.h"

static int refuse(const char **why, const char *text)
{
	*why = text;
	return -1;
}

static purser_bytes span(const char *p, size_t n)
{
	return (purser_bytes){ (const uint8_t *)p, n };
}

static bool same(purser_bytes a, purser_bytes b)
{
	return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static bool is_name(purser_bytes name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!(name.p[i] >= 'a' && name.p[i] <= 'z') && !(name.p[i] >= '0' && name.p[i] <= '9') && name.p[i] != '_')
			return false;
	return name.n > 0;
}

static int find_field(const struct http_words *w, purser_bytes name)
{
	for (int i = 0; i < w->nfields; i++)
		if (same(w->field[i].name, name))
			return i;
	return -1;
}

static struct http_field *add_field(struct http_words *w, purser_bytes name, enum http_place place, const char **why)
{
	struct http_field *f = &w->field[w->nfields];

	if (w->nfields == HTTP_FIELDS_MAX) {
		refuse(why, "too many fields");
		return NULL;
	}
	if (!is_name(name) || find_field(w, name) >= 0) {
		refuse(why, "a field has no name (a-z 0-9 _), or the name of another");
		return NULL;
	}
	*f = (struct http_field){ .name = name, .type = JSON_STR, .place = place };
	w->nfields++;
	return f;
}

static int add_word(struct http_words *w, purser_bytes text, int field, uint8_t group, const char **why)
{
	if (w->nwords == HTTP_WORDS_MAX)
		return refuse(why, "too many words");
	w->word[w->nwords++] = (struct http_word){ text, (int8_t)field, group };
	w->bytes += text.n;
	return 0;
}

/* "/v1/locks/{name}" */
static int parse_path(struct http_words *w, const char *path, const char **why)
{
	w->fixed = true;
	while (*path == '/') {
		size_t n = strcspn(++path, "/");
		struct http_segment *s = &w->segment[w->nsegments];
		struct http_field *f;

		if (w->nsegments++ == HTTP_SEGMENTS_MAX)
			return refuse(why, "too many parts of the path");
		*s = (struct http_segment){ span(path, n), -1 };
		if (n > 2 && path[0] == '{' && path[n - 1] == '}') {
			f = add_field(w, span(path + 1, n - 2), HTTP_IN_PATH, why);
			if (!f)
				return -1;
			f->required = true;
			s->field = (int8_t)(w->nfields - 1);
			w->fixed = false;
		}
		path += n;
	}
	return *path || !w->nsegments ? refuse(why, "the path does not begin with /") : 0;
}

static int parse_type(struct http_field *f, const char *p, size_t n, const char **why)
{
	static const struct { const char *name; enum json_type type; } types[] = {
		{ "str", JSON_STR }, { "int", JSON_INT }, { "num", JSON_NUM }, { "json", JSON_TEXT },
		{ "value", JSON_VALUE }, { "list", JSON_LIST }, { "pairs", JSON_PAIRS },
		{ "jsonpairs", JSON_TEXT_PAIRS },
	};
	const char *def = memchr(p, '=', n);
	size_t len = def ? (size_t)(def - p) : n;

	if (def)
		f->text = span(def + 1, n - len - 1);
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strlen(types[i].name) != len || memcmp(types[i].name, p, len) != 0)
			continue;
		f->type = types[i].type;
		if (def && f->type >= JSON_LIST)
			return refuse(why, "a list has no default");
		return 0;
	}
	if (def || !memchr(p, '|', n))
		return refuse(why, "a field has a type that there is not");
	f->type = JSON_CHOICE;
	f->text = span(p, n);
	return 0;
}

/* p[0..n): what stands between < and >. */
static int parse_field(struct http_words *w, enum http_method m, const char *p, size_t n, uint8_t group,
    const char **why)
{
	bool has_body = m == HTTP_POST || m == HTTP_PUT || m == HTTP_PATCH, query = n && *p == '?';
	const char *colon = memchr(p, ':', n);
	size_t len = colon ? (size_t)(colon - p) : n;
	struct http_field *f;

	if (n == 1 && *p == '*') {
		w->command = w->body = w->required_body = true;
		return has_body && !group ? 0 : refuse(why, "<*> needs a body, and stands in no group");
	}
	f = add_field(w, span(p + query, len - query), query || !has_body ? HTTP_IN_QUERY : HTTP_IN_BODY, why);
	if (!f || (colon && parse_type(f, colon + 1, n - len - 1, why)))
		return -1;
	f->group = group;
	f->required = f->type == JSON_CHOICE || !f->text.p;
	if (f->place == HTTP_IN_QUERY && f->type > JSON_LIST)
		return refuse(why, "pairs stand in a body");
	if (f->place == HTTP_IN_BODY) {
		w->body = true;
		w->required_body |= f->required && !group;
	}
	if (f->type != JSON_CHOICE)
		w->bytes += f->text.n;
	return add_word(w, (purser_bytes){ NULL, 0 }, w->nfields - 1, group, why);
}

/* A group of fixed words alone is a flag: a field that is true or false, named as its first word. */
static int close_group(struct http_words *w, enum http_method m, uint8_t group, const char **why)
{
	bool has_body = m == HTTP_POST || m == HTTP_PUT || m == HTTP_PATCH;
	purser_bytes first = { NULL, 0 };
	char *name = w->names + w->named;
	struct http_field *f;

	for (int i = w->nwords; i-- > 0;) {
		if (w->word[i].group != group)
			break;
		if (w->word[i].field >= 0)
			return 0;
		first = w->word[i].text;
	}
	if (first.n > sizeof w->names - w->named)
		return refuse(why, "the names of flags are too long");
	for (size_t i = 0; i < first.n; i++)
		name[i] = (char)(first.p[i] | (first.p[i] >= 'A' && first.p[i] <= 'Z' ? 0x20 : 0));
	w->named = (uint8_t)(w->named + first.n);
	f = add_field(w, span(name, first.n), has_body ? HTTP_IN_BODY : HTTP_IN_QUERY, why);
	if (!f)
		return -1;
	f->type = JSON_FLAG;
	f->group = group;
	w->body |= has_body;
	return 0;
}

static int parse_words(struct http_words *w, enum http_method m, const char *p, const char **why)
{
	uint8_t ngroups = 0, group = 0;
	size_t n;

	for (; *p; p += *p == ' ') {
		if (*p == '[') {
			if (group)
				return refuse(why, "a group stands in a group");
			group = ++ngroups;
			p++;
		}
		n = *p == '<' ? strcspn(p, ">") + 1 : strcspn(p, " ]");
		if (*p == '<' && !p[n - 1])
			return refuse(why, "a > is missing");
		if (*p == '<') {
			if (parse_field(w, m, p + 1, n - 2, group, why))
				return -1;
		} else if (*p == '{') {
			int f = p[n - 1] == '}' ? find_field(w, span(p + 1, n - 2)) : -1;

			if (f < 0 || group || add_word(w, span(NULL, 0), f, 0, why))
				return refuse(why, "{x} must be a part of the path, and stands in no group");
		} else if (n == 1 && *p == ';' && !group) {
			w->ncommands++;
			if (add_word(w, span(NULL, 0), HTTP_NEXT, 0, why))
				return -1;
		} else if (!n || add_word(w, span(p, n), HTTP_FIXED, group, why)) {
			return refuse(why, "a word is missing, or there are too many");
		}
		p += n;
		if (*p == ']') {
			if (!group || close_group(w, m, group, why))
				return *why ? -1 : refuse(why, "a ] without [");
			group = 0;
			p++;
		}
		if (*p && *p != ' ')
			return refuse(why, "words are separated by one blank");
	}
	return group ? refuse(why, "a ] is missing") : 0;
}

static void count(struct http_words *w)
{
	bool many = w->command;

	for (unsigned i = 0; i < w->nwords; i++) {
		const struct http_word *d = &w->word[i];
		enum json_type type = d->field < 0 ? JSON_STR : w->field[d->field].type;
		bool list = type == JSON_LIST || type == JSON_PAIRS || type == JSON_TEXT_PAIRS;
		uint16_t least = d->field == HTTP_NEXT ? 0 : !list ? 1 : type == JSON_LIST ? 1 : 2;

		many |= list;
		w->min = (uint16_t)(w->min + (d->group ? 0 : least));
		w->max = (uint16_t)(w->max + least);
	}
	w->min = (uint16_t)(w->min + w->command);
	if (many)
		w->max = UINT16_MAX;
}

int http_words_parse(struct http_words *w, enum http_method m, const char *path, const char *text,
    const char **why)
{
	memset(w, 0, sizeof *w);
	*why = NULL;
	w->ncommands = 1;
	if (parse_path(w, path, why) || parse_words(w, m, text, why))
		return -1;
	if (!*text)
		w->body = w->required_body = true;
	for (int i = 0; i < w->nfields; i++) {
		bool used = w->field[i].type == JSON_FLAG;

		for (int k = 0; k < w->nwords && !used; k++)
			used = w->word[k].field == i;
		if (!used)
			return refuse(why, "a part of the path is no word");
	}
	count(w);
	return 0;
}
