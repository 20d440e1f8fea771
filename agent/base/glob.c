/* SPDX-License-Identifier: Apache-2.0
 *
 * Redis' glob, as it is and not as one might wish: * ? [a-z] [^a] and \ to quote; classes compare
 * signed bytes; a class that is not closed ends with the pattern.
 */
#include <config.h>
#include "base/glob.h"

#define NESTING_MAX 1000              /* stars that may wait for the rest to match */

struct glob { const uint8_t *p, *end; }; /* what is left of the pattern */

static int at(const struct glob *g, size_t i) { return g->p + i < g->end ? g->p[i] : 0; }
static size_t left(const struct glob *g) { return (size_t)(g->end - g->p); }

/* One class against ch; g stands behind '[' and is left on ']' or on the pattern's last byte. */
static int class_match(struct glob *g, int ch)
{
	int not = at(g, 0) == '^', match = 0;

	if (not)
		g->p++;
	for (;; g->p++) {
		if (left(g) == 0) {
			g->p--;
			break;
		}
		if (*g->p == '\\' && left(g) >= 2) {
			g->p++;
			match |= *g->p == ch;
		} else if (*g->p == ']') {
			break;
		} else if (left(g) >= 3 && g->p[1] == '-') {
			int8_t a = (int8_t)g->p[0], b = (int8_t)g->p[2], v = (int8_t)ch;

			match |= a <= b ? v >= a && v <= b : v >= b && v <= a;
			g->p += 2;
		} else {
			match |= *g->p == ch;
		}
	}
	return match != not;
}

/* *hopeless: a star has tried every rest of the text in vain, so that earlier stars need not go on. */
static int match(struct glob g, const uint8_t *s, const uint8_t *end, int nesting, int *hopeless)
{
	if (nesting > NESTING_MAX)
		return 0;
	while (left(&g) && s < end) {
		switch (*g.p) {
		case '*':
			while (at(&g, 1) == '*')
				g.p++;
			if (left(&g) == 1)
				return 1;
			for (g.p++; s < end; s++) {
				if (match(g, s, end, nesting + 1, hopeless))
					return 1;
				if (*hopeless)
					return 0;
			}
			*hopeless = 1;
			return 0;
		case '?':
			break;
		case '[':
			g.p++;
			if (!class_match(&g, *s))
				return 0;
			break;
		case '\\':
			if (left(&g) >= 2)
				g.p++;
			/* fall through */
		default:
			if (*g.p != *s)
				return 0;
		}
		s++;
		g.p++;
		if (s == end) {
			while (left(&g) && *g.p == '*')
				g.p++;
			break;
		}
	}
	return left(&g) == 0 && s == end;
}

int glob_match(const void *pattern, size_t plen, const void *text, size_t tlen)
{
	struct glob g = { pattern, (const uint8_t *)pattern + plen };
	int hopeless = 0;

	return match(g, text, (const uint8_t *)text + tlen, 0, &hopeless);
}
