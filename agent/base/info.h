/* SPDX-License-Identifier: Apache-2.0
 *
 * base/info: the lines "key:value" of Redis' INFO, one after the other.
 *
 *   for (struct info_line l; info_line(&text, &n, &l);)
 *       use(l.key, l.key_len, l.value, l.value_len);
 *
 * Sections, empty lines and lines without a colon are passed over.  Nothing is copied.
 */
#ifndef BASE_INFO_H
#define BASE_INFO_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct info_line {
	const char *key, *value;
	size_t key_len, value_len;
};

/* The next line of *text, which moves on; false: there is none. */
static inline bool info_line(const char **text, size_t *n, struct info_line *l)
{
	while (*n) {
		const char *line = *text, *nl = memchr(line, '\n', *n), *colon;
		size_t whole = nl ? (size_t)(nl - line) + 1 : *n, len = nl ? whole - 1 : *n;

		*text += whole;
		*n -= whole;
		if (len && line[len - 1] == '\r')
			len--;
		colon = len && *line != '#' ? memchr(line, ':', len) : NULL;
		if (!colon)
			continue;
		l->key = line;
		l->key_len = (size_t)(colon - line);
		l->value = colon + 1;
		l->value_len = len - l->key_len - 1;
		return true;
	}
	return false;
}
#endif
