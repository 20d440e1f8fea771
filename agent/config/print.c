/* SPDX-License-Identifier: Apache-2.0 */
/* config/print: a generation shown, and two compared. */
#include <config.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config/inside.h"

enum { ORIGIN_COLUMN = 48, TEXT_BYTES_MAX = 8192 };

/* ---- print ----------------------------------------------------------------------------------- */

static void print_value(FILE *f, const struct cfg *c, const char *name, enum value_type type,
	uint32_t flags, const struct cfg_value *v)
{
	char text[TEXT_BYTES_MAX], line[TEXT_BYTES_MAX + 128], where[4200];
	bool secret = (flags & PURSER_KEY_SECRET) != 0 || type == 0;

	if (v->text == NULL)
		snprintf(line, sizeof(line), ";%s =", name);
	else if (secret)
		snprintf(line, sizeof(line), ";%s = (secret)", name);
	else
		snprintf(line, sizeof(line), "%s = %s", name,
			shown(type, flags, v->text, text, sizeof(text)));
	if (v->text == NULL)
		snprintf(where, sizeof(where), "not set");
	else
		place_text(c, &v->place, where, sizeof(where));
	fprintf(f, "%-*s ; %s\n", ORIGIN_COLUMN, line, where);
}

static void print_section(FILE *f, const struct cfg_section *s)
{
	char title[128];

	fprintf(f, "%s\n", section_title(s, title, sizeof(title)));
	for (size_t i = 0; i < s->nkeys; i++) {
		print_value(f, s->cfg, key_rows[s->first_key + i].name, s->rules[i].value.type,
			s->rules[i].flags, &s->values[i]);
	}
	for (size_t i = 0; i < s->nextras; i++) {
		const struct cfg_extra *x = &s->extras[i];

		print_value(f, s->cfg, x->name, (enum value_type)x->decl.type, x->decl.flags,
			&x->value);
	}
	fputc('\n', f);
}

void cfg_print(FILE *f, const struct cfg *c)
{
	if (c->found) {
		for (size_t i = 0; i < c->nfiles; i++)
			fprintf(f, "; %s %s\n", i == 0 ? "read:    " : "and then:", c->files[i]);
	} else {
		fprintf(f, "; no configuration file was found: these are the built-in defaults\n");
	}
	fputc('\n', f);
	for (int k = 0; k < CFG_KIND_COUNT; k++) {
		for (const struct cfg_section *s = c->first[k]; s != NULL; s = s->next)
			print_section(f, s);
	}
}

/* ---- compare --------------------------------------------------------------------------------- */

static int add_change(struct cfg_changes *x, enum cfg_kind kind, bool reloadable, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));
static int add_change(
	struct cfg_changes *x, enum cfg_kind kind, bool reloadable, const char *fmt, ...)
{
	char text[4 * SHOWN_MAX];
	va_list ap;

	if (x->n == x->cap) {
		size_t cap = x->cap != 0 ? 2 * x->cap : 8;
		struct cfg_change *list = realloc(x->list, cap * sizeof(*list));

		if (list == NULL)
			return CFG_NOMEM;
		x->list = list;
		x->cap = cap;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	x->list[x->n] = (struct cfg_change){ strdup(text), reloadable, kind };
	if (x->list[x->n].text == NULL)
		return CFG_NOMEM;
	x->n++;
	x->nfixed += !reloadable;
	return CFG_OK;
}

static bool same_value(enum value_type type, const struct cfg_value *a, const struct cfg_value *b)
{
	if (a->text == NULL || b->text == NULL)
		return a->text == b->text;
	switch (type) {
	case VALUE_INT:
	case VALUE_BOOL:
	case VALUE_DURATION:
	case VALUE_SIZE:
	case VALUE_ENUM:
	case VALUE_FRACTION:
	case VALUE_MODE:
		return a->v.num == b->v.num; /* 60s is 1m */
	case VALUE_REAL:
		return a->v.real == b->v.real;
	default:
		return strcmp(a->text, b->text) == 0;
	}
}

static const char *diff_text(
	enum value_type type, uint32_t flags, const struct cfg_value *v, char *buf, size_t len)
{
	return v->text == NULL ? "(not set)" : shown(type, flags, v->text, buf, len);
}

static int diff_value(struct cfg_changes *x, const struct cfg_section *s, const char *name,
	enum value_type type, uint32_t flags, const struct cfg_value *a, const struct cfg_value *b)
{
	char title[128], was[SHOWN_MAX], is[SHOWN_MAX];
	bool live = (flags & PURSER_KEY_RELOADABLE) != 0;

	section_title(s, title, sizeof(title));
	if (type == 0)
		flags |= PURSER_KEY_SECRET;
	if (same_value(type, a, b)) {
		/* What is not reloadable is read again by whoever uses it, or not at all. */
		if (a->digest == b->digest || !live)
			return CFG_OK;
		return add_change(x, s->kind, live, "%s %s: the content of %s has changed", title,
			name, b->text);
	}
	if ((flags & PURSER_KEY_SECRET) != 0)
		return add_change(x, s->kind, live, "%s %s: %s", title, name,
			a->text == NULL   ? "set"
			: b->text == NULL ? "taken out"
					  : "changed (secret)");
	diff_text(type, flags, a, was, sizeof(was));
	return add_change(x, s->kind, live, "%s %s: %s -> %s", title, name,
		diff_text(type, flags, a, was, sizeof(was)),
		diff_text(type, flags, b, is, sizeof(is)));
}

static int diff_section(
	struct cfg_changes *x, const struct cfg_section *a, const struct cfg_section *b)
{
	static const struct cfg_value none = { .text = NULL };
	int rc = CFG_OK;

	for (size_t i = 0; i < a->nkeys && rc == CFG_OK; i++) {
		const struct key_rule *rule = &b->rules[i];

		rc = diff_value(x, a, key_rows[a->first_key + i].name, rule->value.type,
			rule->flags, &a->values[i], &b->values[i]);
	}
	for (size_t i = 0; i < b->nextras && rc == CFG_OK; i++) {
		const struct cfg_extra *now = &b->extras[i], *was = cfg_extra_find(a, now->name);

		rc = diff_value(x, a, now->name, (enum value_type)now->decl.type, now->decl.flags,
			was != NULL ? &was->value : &none, &now->value);
	}
	for (size_t i = 0; i < a->nextras && rc == CFG_OK; i++) {
		const struct cfg_extra *was = &a->extras[i];

		if (cfg_extra_find(b, was->name) == NULL)
			rc = diff_value(x, a, was->name, (enum value_type)was->decl.type,
				was->decl.flags, &was->value, &none);
	}
	return rc;
}

int cfg_diff(const struct cfg *a, const struct cfg *b, struct cfg_changes *out)
{
	int rc = CFG_OK;

	for (int k = 0; k < CFG_KIND_COUNT; k++) {
		const struct cfg_section *s;
		char title[128];

		for (s = a->first[k]; s != NULL && rc == CFG_OK; s = s->next) {
			const struct cfg_section *now = cfg_find(b, (enum cfg_kind)k, s->name);

			if (now != NULL)
				rc = diff_section(out, s, now);
			else
				rc = add_change(out, s->kind, true, "%s: removed",
					section_title(s, title, sizeof(title)));
		}
		for (s = b->first[k]; s != NULL && rc == CFG_OK; s = s->next) {
			if (cfg_find(a, (enum cfg_kind)k, s->name) == NULL)
				rc = add_change(out, s->kind, true, "%s: added",
					section_title(s, title, sizeof(title)));
		}
	}
	return rc;
}

void cfg_changes_free(struct cfg_changes *x)
{
	for (size_t i = 0; i < x->n; i++)
		free(x->list[i].text);
	free(x->list);
	memset(x, 0, sizeof(*x));
}
