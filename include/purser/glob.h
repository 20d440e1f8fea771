/* SPDX-License-Identifier: Apache-2.0
 *
 * purser/glob.h -- does a text match a pattern, as Redis' KEYS and PSUBSCRIBE see it?  For plugins that
 * have keys of their own; C99, C++, libc only; all inline.
 *
 * Redis' glob, as it is and not as one might wish: * ? [a-z] [^a] and \ to quote; classes compare
 * signed bytes; a class that is not closed ends with the pattern.
 */
#ifndef PURSER_GLOB_H
#define PURSER_GLOB_H 1
#include <stddef.h>
#include <stdint.h>

#define PURSER_GLOB_NESTING 1000              /* stars that may wait for the rest to match */

struct purser_glob_rest { const uint8_t *p, *end; }; /* what is left of the pattern */

static inline int purser_glob_at(const struct purser_glob_rest *g, size_t i) { return g->p + i < g->end ? g->p[i] : 0; }
static inline size_t purser_glob_left(const struct purser_glob_rest *g) { return (size_t)(g->end - g->p); }

/* One class against ch; g stands behind '[' and is left on ']' or on the pattern's last byte. */
static inline int purser_glob_class(struct purser_glob_rest *g, int ch)
{
	int inverse = purser_glob_at(g, 0) == '^', match = 0;

	if (inverse)
		g->p++;
	for (;; g->p++) {
		if (purser_glob_left(g) == 0) {
			g->p--;
			break;
		}
		if (*g->p == '\\' && purser_glob_left(g) >= 2) {
			g->p++;
			match |= *g->p == ch;
		} else if (*g->p == ']') {
			break;
		} else if (purser_glob_left(g) >= 3 && g->p[1] == '-') {
			int8_t a = (int8_t)g->p[0], b = (int8_t)g->p[2], v = (int8_t)ch;

			match |= a <= b ? v >= a && v <= b : v >= b && v <= a;
			g->p += 2;
		} else {
			match |= *g->p == ch;
		}
	}
	return match != inverse;
}

/* *hopeless: a star has tried every rest of the text in vain, so that earlier stars need not go on. */
static inline int purser_glob_rest_match(struct purser_glob_rest g, const uint8_t *s, const uint8_t *end, int nesting, int *hopeless)
{
	if (nesting > PURSER_GLOB_NESTING)
		return 0;
	while (purser_glob_left(&g) && s < end) {
		switch (*g.p) {
		case '*':
			while (purser_glob_at(&g, 1) == '*')
				g.p++;
			if (purser_glob_left(&g) == 1)
				return 1;
			for (g.p++; s < end; s++) {
				if (purser_glob_rest_match(g, s, end, nesting + 1, hopeless))
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
			if (!purser_glob_class(&g, *s))
				return 0;
			break;
		case '\\':
			if (purser_glob_left(&g) >= 2)
				g.p++;
			/* fall through */
		default:
			if (*g.p != *s)
				return 0;
		}
		s++;
		g.p++;
		if (s == end) {
			while (purser_glob_left(&g) && *g.p == '*')
				g.p++;
			break;
		}
	}
	return purser_glob_left(&g) == 0 && s == end;
}

static inline int purser_glob(const void *pattern, size_t plen, const void *text, size_t tlen)
{
	struct purser_glob_rest g = { (const uint8_t *)pattern, (const uint8_t *)pattern + plen };
	int hopeless = 0;

	return purser_glob_rest_match(g, (const uint8_t *)text, (const uint8_t *)text + tlen, 0, &hopeless);
}
#endif
