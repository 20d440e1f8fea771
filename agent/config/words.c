/* SPDX-License-Identifier: Apache-2.0 */
/* config/words: words inside a value: one of several choices, name=value lists, what was meant. */
#include <config.h>

#include <ctype.h>
#include <string.h>

#include "config/value.h"

int value_choice(const char *choices, const char *text, size_t n)
{
	for (int i = 0;; i++) {
		size_t len = strcspn(choices, "|");

		if (len == n && memcmp(choices, text, n) == 0)
			return i;
		if (choices[len] == '\0')
			return -1;
		choices += len + 1;
	}
}

/* ---- name=value lists ------------------------------------------------------------------------ */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* from[0..n) with %XX decoded and a NUL behind it; how many bytes that are, NUL included, or -1. */
static int decode(const char *from, size_t n, char *buf, size_t len)
{
	size_t at = 0;

	for (const char *c = from; c < from + n; c++) {
		int ch = (unsigned char)*c;

		if (ch == '%') {
			if (from + n - c < 3 || hex(c[1]) < 0 || hex(c[2]) < 0)
				return -1;
			ch = hex(c[1]) * 16 + hex(c[2]);
			c += 2;
		}
		if ((ch < ' ' && ch != '\t') || ch == 0x7f || at + 1 >= len)
			return -1; /* a line end would forge a header */
		buf[at++] = (char)ch;
	}
	if (at >= len)
		return -1;
	buf[at] = '\0';
	return (int)at + 1;
}

/* Decodes one item item[0..n), n > 0, without blanks around it.  map: the name is any text, up to the
 * last =; else it is a header's. */
static int decode_pair(const char *item, size_t n, bool map, char *buf, size_t len, const char **name,
	const char **val)
{
	const char *eq = map ? memrchr(item, '=', n) : memchr(item, '=', n), *from;
	size_t nname;
	int at;

	if (eq == NULL)
		return -1;
	for (nname = (size_t)(eq - item); nname > 0 && blank(item[nname - 1]); nname--)
		;
	for (from = eq + 1; from < item + n && blank(*from); from++)
		;
	if (nname == 0 || nname + 2 > len)
		return -1;
	for (size_t i = 0; i < nname && !map; i++) {
		if (!isalnum((unsigned char)item[i]) && strchr("!#$%&'*+-.^_`|~", item[i]) == NULL)
			return -1;
	}
	if (map) {
		at = decode(item, nname, buf, len);
	} else {
		memcpy(buf, item, nname);
		buf[nname] = '\0';
		at = (int)nname + 1;
	}
	*name = buf;
	*val = buf + at;
	return at < 0 || decode(from, (size_t)(item + n - from), buf + at, len - (size_t)at) < 0 ? -1 : 1;
}

int value_pair(enum value_type type, const char *text, size_t i, char *buf, size_t len, const char **name,
	const char **val)
{
	while (*text != '\0') {
		size_t n = strcspn(text, ","), next = n + (text[n] == ',');

		while (n > 0 && blank(*text)) {
			text++;
			n--;
			next--;
		}
		while (n > 0 && blank(text[n - 1]))
			n--;
		if (n > 0 && i-- == 0)
			return decode_pair(text, n, type == VALUE_MAP, buf, len, name, val);
		text += next;
	}
	return 0;
}

/* ---- did you mean ---------------------------------------------------------------------------- */

enum { WORD_MAX = 48 };

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours from a to b, whatever the case. */
static size_t distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	size_t row[3][WORD_MAX + 1];
	size_t *before = row[0], *prev = row[1], *cur = row[2];

	if (na > WORD_MAX || nb > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= nb; j++)
		prev[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *tmp;

		cur[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			int ca = tolower((unsigned char)a[i - 1]),
			    cb = tolower((unsigned char)b[j - 1]);

			cur[j] =
				least(least(prev[j] + 1, cur[j - 1] + 1), prev[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
				tolower((unsigned char)a[i - 2]) == cb)
				cur[j] = least(cur[j], before[j - 2] + 1);
		}
		tmp = before;
		before = prev;
		prev = cur;
		cur = tmp;
	}
	return prev[nb];
}

const char *value_nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t len = strlen(word), limit = len <= 3 ? 1 : len <= 8 ? 2 : 3;
	const char *best = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(word, candidates[i]);

		if (d <= limit) {
			best = candidates[i];
			limit = d - (d > 0);
			if (d == 0)
				break;
		}
	}
	return best;
}
