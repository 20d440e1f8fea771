/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "access/project.h"

/* 8-4-4-4-12 digits of base 16. */
static bool is_uuid(const uint8_t *s, size_t n)
{
	if (n != 36)
		return false;
	for (size_t i = 0; i < n; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !isxdigit(s[i]))
			return false;
	return true;
}

const struct project *project_find(const struct project_set *s, const void *name, size_t n)
{
	char lower[36];

	if (n > PROJECT_NAME_MAX)
		return NULL;
	if (is_uuid(name, n)) {
		for (size_t i = 0; i < n; i++)
			lower[i] = (char)tolower(((const uint8_t *)name)[i]);
		name = lower;
	}
	for (uint32_t i = 0; i < s->n; i++)
		if (strlen(s->v[i].name) == n && memcmp(s->v[i].name, name, n) == 0)
			return &s->v[i];
	return NULL;
}

bool project_name_ok(const void *name, size_t n)
{
	const uint8_t *s = name;

	if (n < 1 || n > PROJECT_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!(islower(s[i]) || isdigit(s[i]) || s[i] == '.' || s[i] == '_' || s[i] == '-'))
			return false;
	return true;
}

void projects_clear(struct project_set *s)
{
	free(s->v);
	s->v = NULL;
	s->n = 0;
}
