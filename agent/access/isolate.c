/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include <purser/resp.h>
#include "access/project.h"

purser_bytes isolate_key(const struct project *p, purser_bytes key, struct arena *a)
{
	uint8_t *d = arena_get(a, p->prefix_len + key.n);

	if (!d)
		return (purser_bytes){ NULL, 0 };
	memcpy(d, p->prefix, p->prefix_len);
	if (key.n)
		memcpy(d + p->prefix_len, key.p, key.n);
	return (purser_bytes){ d, p->prefix_len + key.n };
}

/* The pattern behind the prefix, whose own glob characters are escaped. */
static purser_bytes isolate_pattern(const struct project *p, purser_bytes pat, struct arena *a)
{
	uint8_t *d = arena_get(a, 2 * (size_t)p->prefix_len + pat.n);
	size_t at = 0;

	if (!d)
		return (purser_bytes){ NULL, 0 };
	for (uint32_t i = 0; i < p->prefix_len; i++) {
		if (strchr("*?[]\\^", p->prefix[i]))
			d[at++] = '\\';
		d[at++] = p->prefix[i];
	}
	if (pat.n)
		memcpy(d + at, pat.p, pat.n);
	return (purser_bytes){ d, at + pat.n };
}

static const char *rewrite_pattern(const struct project *p, purser_bytes *w, struct arena *a)
{
	purser_bytes n = isolate_pattern(p, *w, a);

	if (!n.p)
		return "";
	*w = n;
	return NULL;
}

/* SCAN cursor [MATCH pattern] [COUNT n] [TYPE t]: every MATCH gets the prefix; without one, one is
 * added.  What is malformed goes on as it is: the store says what is wrong with it. */
static const char *isolate_scan(const struct project *p, purser_bytes *argv, uint32_t *argc,
    struct arena *a)
{
	static const uint8_t match[] = "MATCH", star[] = "*";
	bool seen = false;
	uint32_t i;

	for (i = 2; i + 1 < *argc; i += 2) {
		if (!cmd_word_is(argv[i], "MATCH"))
			continue;
		seen = true;
		if (rewrite_pattern(p, &argv[i + 1], a))
			return "";
	}
	if (seen || i < *argc)
		return NULL;
	argv[*argc] = (purser_bytes){ match, sizeof match - 1 };
	argv[*argc + 1] = (purser_bytes){ star, 1 };
	if (rewrite_pattern(p, &argv[*argc + 1], a))
		return "";
	*argc += 2;
	return NULL;
}

/* A database number that Redis takes but the project does not have; what Redis does not take goes on to the
 * store, which says why. */
static bool foreign_db(const struct project *p, purser_bytes w)
{
	bool minus = w.n && w.p[0] == '-';
	int64_t db;

	if (!w.n || w.p[0] == '+' || (w.p[minus] == '0' && w.n > 1) ||
	    purser_resp_int(w.p, w.n, &db) || db < INT32_MIN || db > INT32_MAX)
		return false;
	return db < 0 || db >= (int64_t)p->databases;
}

/* Options from left to right, as far as Redis would read them. */
static const char *isolate_copy(const struct project *p, const purser_bytes *argv, uint32_t argc)
{
	for (uint32_t i = 3; i < argc; i++) {
		if (cmd_word_is(argv[i], "REPLACE"))
			continue;
		if (!cmd_word_is(argv[i], "DB") || i + 1 == argc)
			break;
		if (foreign_db(p, argv[++i]))
			return "ERR DB index is out of range";
	}
	return NULL;
}

/* BY and GET patterns name keys: # and a BY without * (no sorting) do not.  No prefix has a * of its own. */
static const char *isolate_sort(const struct project *p, purser_bytes *argv, uint32_t argc,
    struct arena *a)
{
	bool store;

	for (uint32_t at = 2; cmd_sort_next(argv, argc, &at, &store); at++) {
		purser_bytes *w = &argv[at];

		if (store || !w->n || !memchr(w->p, '*', strnlen((const char *)w->p, w->n)))
			continue;
		*w = isolate_key(p, *w, a);
		if (!w->p)
			return "";
	}
	return NULL;
}

const char *isolate_args(const struct project *p, const struct command *c, purser_bytes *argv,
    uint32_t *argc, struct arena *a)
{
	switch ((enum cmd_args)c->args) {
	case A_PATTERN:
		return project_isolated(p) ? rewrite_pattern(p, &argv[1], a) : NULL;
	case A_SCAN:
		return project_isolated(p) ? isolate_scan(p, argv, argc, a) : NULL;
	case A_COPY:
		return isolate_copy(p, argv, *argc);
	case A_SORT:
		return project_isolated(p) ? isolate_sort(p, argv, *argc, a) : NULL;
	case A_CHANNEL:
		argv[1] = isolate_key(p, argv[1], a);
		return argv[1].p ? NULL : "";
	case A_BLOCK:
	case A_SCRIPT:
	case A_NONE:
		break;
	}
	return NULL;
}

size_t isolate_text(const struct project *p, char *text, size_t n)
{
	char *at = text;

	if (!p->prefix_len)
		return n;
	while ((at = memmem(at, n - (size_t)(at - text), p->prefix, p->prefix_len))) {
		size_t rest = n - (size_t)(at - text) - p->prefix_len;

		memmove(at, at + p->prefix_len, rest);
		n -= p->prefix_len;
	}
	return n;
}
