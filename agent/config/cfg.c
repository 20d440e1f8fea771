/* SPDX-License-Identifier: Apache-2.0 */
/* config/cfg: one generation: made, read, dropped. */
#include <config.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config/inside.h"

const struct cfg_place place_default = { .source = FROM_DEFAULT };

/* ---- made ------------------------------------------------------------------------------------ */

static struct cfg_section *section_new(struct cfg *c, enum cfg_kind kind, const char *name,
	const struct cfg_place *place)
{
	struct cfg_section *s = calloc(1, sizeof(*s));
	size_t first, n;

	if (s == NULL)
		return NULL;
	kind_keys(kind, &first, &n);
	s->cfg = c;
	s->kind = kind;
	s->place = *place;
	s->first_key = first;
	s->nkeys = n;
	s->name = strdup(name);
	s->values = calloc(n, sizeof(*s->values));
	s->rules = calloc(n, sizeof(*s->rules));
	if (s->name == NULL || s->values == NULL || s->rules == NULL) {
		free(s->name);
		free(s->values);
		free(s->rules);
		free(s);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		s->rules[i] =
			(struct key_rule){ key_rows[first + i].rule, key_rows[first + i].flags };
	*c->end[kind] = s;
	c->end[kind] = &s->next;
	c->nsections++;
	return s;
}

struct cfg *cfg_new(uint64_t generation)
{
	struct cfg *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	atomic_init(&c->refs, 1);
	c->generation = generation;
	for (int k = 0; k < CFG_KIND_COUNT; k++)
		c->end[k] = &c->first[k];
	for (int k = 0; k < CFG_KIND_COUNT; k++) {
		if (!kind_rows[k].named &&
			section_new(c, (enum cfg_kind)k, "", &place_default) == NULL) {
			cfg_unref(c);
			return NULL;
		}
	}
	return c;
}

struct cfg_section *cfg_section_get(struct loader *ld, enum cfg_kind kind, const char *name,
	const struct cfg_place *place)
{
	struct cfg_section *s;

	for (s = ld->cfg->first[kind]; s != NULL; s = s->next) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	if (ld->cfg->nsections >= SECTIONS_MAX) {
		load_error(ld, place, "there are more than %d sections", SECTIONS_MAX);
		return NULL;
	}
	s = section_new(ld->cfg, kind, name, place);
	ld->nomem |= s == NULL;
	return s;
}

/* Any text may be a secret, so all are wiped. */
static void wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

void cfg_value_clear(struct cfg_value *v)
{
	wipe(v->text);
	v->text = NULL;
	v->place = place_default;
}

int cfg_value_set(struct cfg_value *v, const char *text, const struct cfg_place *place)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return -1;
	wipe(v->text);
	v->text = copy;
	v->place = *place;
	return 0;
}

/* ---- dropped --------------------------------------------------------------------------------- */

static void section_free(struct cfg_section *s)
{
	for (size_t i = 0; i < s->nkeys; i++)
		wipe(s->values[i].text);
	for (size_t i = 0; i < s->nextras; i++) {
		free(s->extras[i].name);
		wipe(s->extras[i].value.text);
	}
	free(s->values);
	free(s->rules);
	free(s->extras);
	free(s->prefix);
	free(s->name);
	free(s);
}

static void cfg_free(struct cfg *c)
{
	for (int k = 0; k < CFG_KIND_COUNT; k++) {
		for (struct cfg_section *s = c->first[k], *next; s != NULL; s = next) {
			next = s->next;
			section_free(s);
		}
	}
	for (size_t i = 0; i < c->nfiles; i++)
		free(c->files[i]);
	free(c->files);
	for (int i = 0; i < CFG_SIGNALS; i++) {
		wipe(c->export_urls[i]);
		for (size_t h = 0; h < c->exports[i].nheaders; h++)
			wipe(c->export_headers[i][h]);
		free(c->export_headers[i]);
	}
	free(c->service_name);
	free(c);
}

struct cfg *cfg_ref(struct cfg *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void cfg_unref(struct cfg *c)
{
	if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		cfg_free(c);
}

/* ---- read ------------------------------------------------------------------------------------ */

uint64_t cfg_generation(const struct cfg *c)
{
	return c->generation;
}

const char *cfg_file(const struct cfg *c)
{
	return c->found ? c->files[0] : NULL;
}

const struct cfg_section *cfg_one(const struct cfg *c, enum cfg_kind kind)
{
	assert(!kind_rows[kind].named);
	return c->first[kind];
}

const struct cfg_section *cfg_first(const struct cfg *c, enum cfg_kind kind)
{
	return c->first[kind];
}

const struct cfg_section *cfg_next(const struct cfg_section *s)
{
	return s->next;
}

const struct cfg_section *cfg_find(const struct cfg *c, enum cfg_kind kind, const char *name)
{
	const struct cfg_section *s = c->first[kind];

	while (s != NULL && strcmp(s->name, name) != 0)
		s = s->next;
	return s;
}

size_t cfg_count(const struct cfg *c, enum cfg_kind kind)
{
	size_t n = 0;

	for (const struct cfg_section *s = c->first[kind]; s != NULL; s = s->next)
		n++;
	return n;
}

const char *cfg_name(const struct cfg_section *s)
{
	return s->name;
}

enum cfg_kind cfg_section_kind(const struct cfg_section *s)
{
	return s->kind;
}

struct cfg_value *cfg_value_of(const struct cfg_section *s, enum cfg_key key)
{
	assert(key_rows[key].kind == s->kind);
	return &s->values[key - s->first_key];
}

struct cfg_extra *cfg_extra_find(const struct cfg_section *s, const char *name)
{
	for (size_t i = 0; i < s->nextras; i++) {
		if (strcmp(s->extras[i].name, name) == 0)
			return &s->extras[i];
	}
	return NULL;
}

const char *cfg_text(const struct cfg_section *s, enum cfg_key key)
{
	const char *text = cfg_value_of(s, key)->text;

	return text != NULL ? text : "";
}

int64_t cfg_int(const struct cfg_section *s, enum cfg_key key)
{
	return cfg_value_of(s, key)->v.num;
}

double cfg_real(const struct cfg_section *s, enum cfg_key key)
{
	return cfg_value_of(s, key)->v.real;
}

bool cfg_is_set(const struct cfg_section *s, enum cfg_key key)
{
	return cfg_value_of(s, key)->place.source != FROM_DEFAULT;
}

bool cfg_next_word(const char **at, char *word, size_t len)
{
	size_t n;

	*at += strspn(*at, " \t,");
	n = strcspn(*at, " \t,");
	if (n == 0)
		return false;
	snprintf(word, len, "%.*s", (int)n, *at);
	*at += n;
	return true;
}

bool cfg_pair(const struct cfg_section *s, enum cfg_key key, size_t i, char *buf, size_t len,
	const char **name, const char **value)
{
	return value_pair(key_rows[key].rule.type, cfg_text(s, key), i, buf, len, name, value) == 1;
}

void cfg_origin(const struct cfg_section *s, enum cfg_key key, char *buf, size_t len)
{
	place_text(s->cfg, &cfg_value_of(s, key)->place, buf, len);
}

bool cfg_setting(const struct cfg_section *s, const char *name, const char **text, int64_t *num)
{
	const struct cfg_extra *x = cfg_extra_find(s, name);
	int key = x == NULL ? key_find(s->kind, name) : -1;
	const struct cfg_value *v = x != NULL ? &x->value : NULL;

	if (key >= 0)
		v = cfg_value_of(s, (enum cfg_key)key);
	if (v == NULL)
		return false;
	if (text != NULL)
		*text = v->text != NULL ? v->text : "";
	if (num != NULL)
		*num = v->v.num;
	return true;
}

const struct cfg_section *cfg_project_backend(const struct cfg_section *project)
{
	return project->backend;
}

const char *cfg_project_prefix(const struct cfg_section *project)
{
	return project->prefix;
}

const struct cfg_export *cfg_export(const struct cfg *c, enum cfg_signal signal)
{
	return &c->exports[signal];
}

const char *cfg_service_name(const struct cfg *c)
{
	return c->service_name;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static bool ends(const char *name, const char *with)
{
	size_t n = strlen(name), w = strlen(with);

	return n > w && strcmp(name + n - w, with) == 0;
}

enum cfg_path_use path_use(const char *key)
{
	if (strcmp(key, "socket") == 0)
		return CFG_PATH_SOCKET;
	if (strcmp(key, "state_dir") == 0)
		return CFG_PATH_WRITE_DIR;
	return ends(key, "_file") || ends(key, "_dir") ? CFG_PATH_READ : CFG_PATH_WRITE;
}

static void each_path_of(const struct cfg_section *s,
	void (*fn)(void *arg, const char *path, enum cfg_path_use use), void *arg)
{
	for (size_t i = 0; i < s->nkeys; i++) {
		if (s->rules[i].value.type == VALUE_PATH && s->values[i].text != NULL)
			fn(arg, s->values[i].text, path_use(key_rows[s->first_key + i].name));
	}
	for (size_t i = 0; i < s->nextras; i++) {
		const struct cfg_extra *x = &s->extras[i];

		if (x->decl.type == PURSER_KEY_PATH && x->value.text != NULL)
			fn(arg, x->value.text, path_use(x->name));
	}
}

void cfg_each_path(const struct cfg *c,
	void (*fn)(void *arg, const char *path, enum cfg_path_use use), void *arg)
{
	for (size_t i = 0; i < c->nfiles; i++)
		fn(arg, c->files[i], CFG_PATH_READ);
	for (int k = 0; k < CFG_KIND_COUNT; k++) {
		for (const struct cfg_section *s = c->first[k]; s != NULL; s = s->next)
			each_path_of(s, fn, arg);
	}
}
