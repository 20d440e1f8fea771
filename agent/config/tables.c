/* SPDX-License-Identifier: Apache-2.0 */
/* config/tables: keys.def and env.def as data. */
#include <config.h>

#include <string.h>

#include "config/inside.h"

enum { LIVE = PURSER_KEY_RELOADABLE, SECRET = PURSER_KEY_SECRET, REQUIRED = PURSER_KEY_REQUIRED,
	PUBLIC = KEY_PUBLIC };

const struct kind_row kind_rows[CFG_KIND_COUNT] = {
#define SECTION(id, name, named, doc) [CFG_##id] = { name, named, doc },
#define KEY(...)
#include "config/keys.def"
#undef SECTION
#undef KEY
};

const struct key_row key_rows[CFG_KEY_COUNT] = {
#define SECTION(...)
#define KEY(section, id, name, type, flags, min, max, def, choices, doc)                           \
	[CFG_##section##_##id] = { CFG_##section, name, { VALUE_##type, min, max, choices },       \
		flags, def, doc },
#include "config/keys.def"
#undef SECTION
#undef KEY
};

const struct env_row env_rows[] = {
#define ENV(name, section, key, form) { name, CFG_##section, key, ENV_##form },
#include "config/env.def"
#undef ENV
};
const size_t env_row_count = sizeof(env_rows) / sizeof(env_rows[0]);

int kind_find(const char *name)
{
	for (int i = 0; i < CFG_KIND_COUNT; i++) {
		if (strcmp(kind_rows[i].name, name) == 0)
			return i;
	}
	return -1;
}

void kind_keys(enum cfg_kind kind, size_t *first, size_t *n)
{
	size_t i = 0;

	while (i < CFG_KEY_COUNT && key_rows[i].kind != kind)
		i++;
	*first = i;
	while (i < CFG_KEY_COUNT && key_rows[i].kind == kind)
		i++;
	*n = i - *first;
}

int key_find(enum cfg_kind kind, const char *name)
{
	size_t first, n;

	kind_keys(kind, &first, &n);
	for (size_t i = first; i < first + n; i++) {
		if (strcmp(key_rows[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}
