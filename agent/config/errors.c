/* SPDX-License-Identifier: Apache-2.0 */
/* config/errors: the list of what is wrong, and how values and places are shown in it. */
#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config/inside.h"

enum { ORDER_ELSEWHERE = UINT32_MAX - 8 }; /* behind all files */

void place_text(const struct cfg *c, const struct cfg_place *p, char *buf, size_t len)
{
	switch (p->source) {
	case FROM_DEFAULT:
		snprintf(buf, len, "default");
		break;
	case FROM_BUILTIN:
		snprintf(buf, len, "built-in");
		break;
	case FROM_FILE:
		snprintf(buf, len, "%s:%" PRIu32, c->files[p->file], p->line);
		break;
	case FROM_ENV:
		snprintf(buf, len, "environment %s", p->name);
		break;
	case FROM_SET:
		snprintf(buf, len, "--set");
		break;
	}
}

const char *section_title(const struct cfg_section *s, char *buf, size_t len)
{
	snprintf(buf, len, *s->name != '\0' ? "[%s %s]" : "[%s]", kind_rows[s->kind].name, s->name);
	return buf;
}

/* Copies text, the password of a URL masked: scheme://user:***@host. */
static void mask_url(const char *text, char *buf, size_t len)
{
	const char *start = strstr(text, "://"), *at, *colon;

	start = start != NULL ? start + 3 : text;
	/* What stands before the last @ of the authority is user and password, however odd. */
	at = start + strcspn(start, "/?#");
	while (at > start && *at != '@')
		at--;
	colon = memchr(start, ':', (size_t)(at - start));
	if (*at != '@')
		snprintf(buf, len, "%s", text);
	else if (colon == NULL)
		snprintf(buf, len, "%.*s***%s", (int)(start - text), text, at);
	else
		snprintf(buf, len, "%.*s***%s", (int)(colon + 1 - text), text, at);
}

const char *shown(enum value_type type, uint32_t flags, const char *text, char *buf, size_t len)
{
	if ((flags & PURSER_KEY_SECRET) != 0)
		snprintf(buf, len, "***");
	else if (type == VALUE_URL)
		mask_url(text, buf, len);
	else
		snprintf(buf, len, "%s", text);
	if (strlen(buf) + 1 == len && len > 4)
		memcpy(buf + len - 4, "...", 4);
	for (char *c = buf; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	return buf;
}

static bool add(struct cfg_errors *e, struct cfg_error item)
{
	size_t at;

	if (e->n == e->cap) {
		size_t cap = e->cap != 0 ? 2 * e->cap : 8;
		struct cfg_error *list = realloc(e->list, cap * sizeof(*list));

		if (list == NULL)
			return false;
		e->list = list;
		e->cap = cap;
	}
	for (at = e->n; at > 0; at--) {
		const struct cfg_error *b = &e->list[at - 1];

		if (b->file < item.file || (b->file == item.file && b->line <= item.line))
			break;
	}
	memmove(e->list + at + 1, e->list + at, (e->n - at) * sizeof(*e->list));
	e->list[at] = item;
	e->n++;
	return true;
}

static void say(struct loader *ld, bool warning, const struct cfg_place *place, const char *fmt,
	va_list ap)
{
	struct cfg_error item = { .warning = warning, .file = ORDER_ELSEWHERE };
	char where[4200] = "", text[1024];
	size_t len;

	ld->errors->nerrors += !warning;
	if (ld->errors->n >= CFG_ERRORS_MAX) {
		ld->errors->omitted++;
		return;
	}
	if (place != NULL && place->source != FROM_DEFAULT && place->source != FROM_BUILTIN) {
		place_text(ld->cfg, place, where, sizeof(where));
		item.file = place->source == FROM_FILE ? place->file :
		            place->source == FROM_ENV  ? ORDER_ELSEWHERE + 1 : ORDER_ELSEWHERE + 2;
		item.line = place->source == FROM_FILE ? place->line : 0;
	}
	vsnprintf(text, sizeof(text), fmt, ap);
	len = strlen(where) + strlen(text) + 3;
	item.text = malloc(len);
	if (item.text == NULL) {
		ld->nomem = true;
		return;
	}
	snprintf(item.text, len, "%s%s%s", where, *where != '\0' ? ": " : "", text);
	if (!add(ld->errors, item)) {
		free(item.text);
		ld->nomem = true;
	}
}

void load_error(struct loader *ld, const struct cfg_place *place, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(ld, false, place, fmt, ap);
	va_end(ap);
}

void load_warning(struct loader *ld, const struct cfg_place *place, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(ld, true, place, fmt, ap);
	va_end(ap);
}

void cfg_errors_print(FILE *f, const struct cfg_errors *e)
{
	for (size_t i = 0; i < e->n; i++)
		fprintf(f, "%s%s\n", e->list[i].warning ? "warning: " : "", e->list[i].text);
	if (e->omitted > 0)
		fprintf(f, "and %zu more\n", e->omitted);
}

void cfg_errors_free(struct cfg_errors *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->list[i].text);
	free(e->list);
	memset(e, 0, sizeof(*e));
}
