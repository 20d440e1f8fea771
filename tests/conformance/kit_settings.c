/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: the settings of an instance: the plugin's schema, what every [backend] has besides, and what
 * the command line says.
 */
#include <config.h>
#include "kit.h"

#include <stdlib.h>
#include <string.h>

#include "backend/schema.h"
#include "config/value.h"

/* The value of a setting: from the test, from the command line, or its default; NULL: none. */
static const char *given(const purser_key *k, const char *url)
{
	size_t n = strlen(k->name);

	if (url && strcmp(k->name, "url") == 0)
		return url;
	for (int i = kit.nsettings - 1; i >= 0; i--)
		if (strncmp(kit.settings[i], k->name, n) == 0 && kit.settings[i][n] == '=')
			return kit.settings[i] + n + 1;
	return k->def;
}

/* The core's own settings; those of [backend] every plugin may read. */
static const struct core_key {
	const char *section;
	purser_key key;
} core_keys[] = {
#define SECTION(...)
#define KEY(section, id, name, type, flags, min, max, def, choices, doc) \
	{ #section, { name, VALUE_##type, 0, min, max, def, choices, doc } },
#include "config/keys.def"
#undef SECTION
#undef KEY
};
enum { CORE_KEYS = sizeof(core_keys) / sizeof(*core_keys) };

static bool for_backends(const struct core_key *c)
{
	return strcmp(c->section, "BACKEND") == 0 && strcmp(c->key.name, "plugin") != 0;
}

bool kit_setting_known(const char *name)
{
	for (size_t n = 0; n < CORE_KEYS; n++)
		if (for_backends(&core_keys[n]) && strcmp(core_keys[n].key.name, name) == 0)
			return true;
	return schema_find_key(kit.pl, name) >= 0;
}

/* The rows of the plugin's schema, and those of the core that it does not have itself. */
static void settings_list(struct purser_instance *i)
{
	i->settings = calloc(i->p->nkeys + CORE_KEYS, sizeof(*i->settings));
	for (uint32_t n = 0; n < i->p->nkeys; n++)
		i->settings[i->nsettings++].key = &i->p->keys[n];
	for (size_t n = 0; n < CORE_KEYS; n++)
		if (for_backends(&core_keys[n]) &&
			schema_find_key(kit.pl, core_keys[n].key.name) < 0)
			i->settings[i->nsettings++].key = &core_keys[n].key;
}

void settings_make(struct purser_instance *i, const char *url)
{
	char why[256];

	settings_list(i);
	for (uint32_t n = 0; n < i->nsettings; n++) {
		struct kit_setting *s = &i->settings[n];
		const char *text = given(s->key, url);

		if (!text && s->key->flags & PURSER_KEY_REQUIRED)
			kit_stop(0, "the setting %s is required: give %s=...", s->key->name,
				s->key->name);
		if (text && *text && schema_value(s->key, text, &s->value, why, sizeof(why)) < 0)
			kit_stop(0, "%s: %s", s->key->name, why);
		s->given = strdup(text ? text : "");
	}
}

/* Texts can be read from here ... */
void settings_show(struct purser_instance *i)
{
	for (uint32_t n = 0; n < i->nsettings; n++) {
		struct kit_setting *s = &i->settings[n];
		char *text = arena_get(strlen(s->given) + 1, ARENA_TEXT, s);

		memcpy(text, s->given, strlen(s->given) + 1);
		s->text = text;
	}
}

/* ... to here. */
void settings_hide(struct purser_instance *i)
{
	for (uint32_t n = 0; n < i->nsettings; n++) {
		arena_retire((void *)(uintptr_t)i->settings[n].text);
		i->settings[n].text = NULL;
	}
}

