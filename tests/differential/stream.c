/* SPDX-License-Identifier: Apache-2.0
 *
 * Random arguments of stream commands.  Ids are given, never made by a clock; what has been idle "for long" was
 * made so by XCLAIM.
 */
#include <config.h>
#include <string.h>
#include "diff.h"

#define PICK(g, list) word_text((list)[rng_below(g, sizeof(list) / sizeof(*(list)))])
#define ONE_OF(g, ...) word_text(((const char *const[]){ __VA_ARGS__ }) \
	[rng_below(g, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))])

/* ---- ids ---------------------------------------------------------------------------------------------- */
/* Five of each millisecond, 0 to 4, as far as the episode has come. */
static struct word id_of(struct gen *g, const char *fmt, uint32_t n)
{
	char *p = arena_get(g->mem, 64);

	snprintf(p, 64, fmt, n / 5 + 1, n % 5);
	return word_text(p);
}

static struct word some_id(struct gen *g)
{
	uint32_t r = rng_below(g, 40);

	if (r < 30)
		return id_of(g, "%u-%u", rng_below(g, g->entries + 8));
	if (r < 34)
		return id_of(g, "%u", rng_below(g, g->entries + 8));
	if (r < 37)
		return ONE_OF(g, "0", "0-0", "0-1", "-", "+", "18446744073709551615",
		    "18446744073709551615-18446744073709551615", "1-18446744073709551615");
	return ONE_OF(g, "", "1-", "-1", "1--1", "1--0", "+1", " 1", "1x", "abc", "007", "1-007",
	    "99999999999999999999", "1-99999999999999999999", "1-*", "$", ">", "(1", "1- -5", "1-2-3", "-0");
}

static struct word range_end(struct gen *g)
{
	struct word w = some_id(g);
	uint8_t *p;

	if (rng_below(g, 4))
		return rng_below(g, 4) ? w : word_text(rng_below(g, 2) ? "-" : "+");
	p = arena_get(g->mem, w.n + 1);
	p[0] = '(';
	memcpy(p + 1, w.p, w.n);
	return (struct word){ p, w.n + 1 };
}

static struct word new_id(struct gen *g)
{
	uint32_t r = rng_below(g, 40);

	if (r == 0)
		return some_id(g);
	g->entries += r < 30 ? 1 : rng_below(g, 8);
	return id_of(g, r < 8 ? "%u-*" : "%u-%u", g->entries);
}

static struct word after_id(struct gen *g, int group)
{
	uint32_t r = rng_below(g, 8);

	if (group)
		return r < 4 ? word_text(">") : r < 6 ? word_text("0") : some_id(g);
	return r < 2 ? word_text("$") : r < 4 ? word_text("0") : some_id(g);
}

/* ---- names, numbers, entries ----------------------------------------------------------------------------- */
static struct word key(struct gen *g)
{
	uint32_t r = rng_below(g, 60);

	return gen_format(g, r < 58 ? "x%lld" : "w_%lld", r < (g->streams ? 50 : 36) ? 0 : r < 54 ? 1 : 2); /* w_: of other types */
}

static struct word group(struct gen *g)
{
	return ONE_OF(g, "g", "g", "g", "gg", "gg", "", "none");
}

static struct word consumer(struct gen *g)
{
	return ONE_OF(g, "c1", "c2", "c2", "c3", "", "long\nname\0");
}

static struct word count(struct gen *g)
{
	if (rng_below(g, 4))
		return gen_format(g, "%lld", rng_below(g, rng_below(g, 2) ? 12 : 300));
	return ONE_OF(g, "0", "-1", "1", "9223372036854775807", "-9223372036854775808", "abc", "",
	    "1.5", "01");
}

/* Nothing is idle for so long but what was made so. */
static struct word idle(struct gen *g)
{
	return ONE_OF(g, "0", "0", "0", "1000000", "1000000", "-1", "abc", "");
}

static struct word text(struct gen *g, uint32_t n)
{
	uint8_t *p = arena_get(g->mem, n + 1);
	uint32_t i;

	for (i = 0; i < n; i++)
		p[i] = (uint8_t)(rng_below(g, 3) ? 'v' : rng_next(g));
	return (struct word){ p, n };
}

static struct word value(struct gen *g)
{
	static const uint32_t sizes[] = { 0, 1, 5, 12, 62, 63, 64, 65, 125, 126, 127, 128, 300 };
	static const uint32_t large[] = { 900, 1000, 4000, 4090, 4095, 4096, 5000, 16378, 17000 };
	uint32_t r = rng_below(g, 100);

	if (g->streams && !g->big && r < 92) /* a hundred go into a block */
		return gen_format(g, "%lld", (long long)rng_below(g, 300) - 100);
	if (r < 55) /* integers of all widths */
		return gen_format(g, "%lld", (long long)(rng_next(g) >> rng_below(g, 64)) * (r & 1 ? 1 : -1));
	if (r < (g->big ? 80 : 97))
		return text(g, sizes[rng_below(g, sizeof(sizes) / sizeof(*sizes))]);
	return text(g, large[rng_below(g, sizeof(large) / sizeof(*large))]);
}

static void add_fields(struct gen *g, struct cmd *c)
{
	uint32_t r = rng_below(g, 8), n = r < 5 ? 2 : 1 + rng_below(g, 4), i;

	for (i = 0; i < n; i++) {
		gen_add(g, c, r < 5 ? word_text(i ? "second" : "first") : r < 7 ? gen_format(g, "f%lld", rng_below(g, 4)) :
		    value(g));
		gen_add(g, c, value(g));
	}
}

/* ---- options ----------------------------------------------------------------------------------------------- */
static void add_trim(struct gen *g, struct cmd *c)
{
	int by_id = rng_below(g, 2) == 0;
	int gently = g->streams && rng_below(g, 4);
	uint32_t r = rng_below(g, 6), back = gently ? 100 + rng_below(g, 200) : rng_below(g, g->entries + 1);

	gen_add(g, c, word_text(by_id ? "MinId" : "MAXLEN"));
	if (r < 4)
		gen_add(g, c, word_text(r < 3 ? "~" : "="));
	if (by_id)
		gen_add(g, c, rng_below(g, 8) ? id_of(g, "%u-%u", back < g->entries ? g->entries - back : 0) : some_id(g));
	else
		gen_add(g, c, gently ? gen_format(g, "%lld", 60 + rng_below(g, 150)) : count(g));
	if (rng_below(g, r < 3 ? 3 : 30) == 0) {
		gen_add(g, c, word_text("LIMIT"));
		gen_add(g, c, count(g));
	}
	if (rng_below(g, 40) == 0)
		gen_add(g, c, ONE_OF(g, "MAXLEN", "limit", "MINID", "JUNK", "1"));
}

static void add_read(struct gen *g, struct cmd *c, int of_group)
{
	uint32_t n = 1 + (rng_below(g, 3) == 0 ? rng_below(g, 3) : 0), i;

	if (rng_below(g, 2)) {
		gen_add(g, c, word_text("COUNT"));
		gen_add(g, c, count(g));
	}
	if (rng_below(g, 12) == 0) {
		gen_add(g, c, word_text("BLOCK"));
		gen_add(g, c, ONE_OF(g, "1", "1", "2", "5", "10", "-1", "abc", ""));
	}
	if (rng_below(g, of_group ? 4 : 60) == 0)
		gen_add(g, c, word_text("NOACK"));
	if (rng_below(g, 60) == 0)
		gen_add(g, c, ONE_OF(g, "JUNK", "group", "COUNT"));
	gen_add(g, c, word_text("STREAMS"));
	for (i = 0; i < n; i++)
		gen_add(g, c, key(g));
	for (i = 0; i < n; i++)
		gen_add(g, c, after_id(g, of_group));
}

static void add_claim(struct gen *g, struct cmd *c)
{
	static const char *const times[] = { "2000000", "1", "-5", "abc", "9999999999999999", "0" };
	uint32_t n = rng_below(g, 4);

	for (; n > 0; n--)
		switch (rng_below(g, 7)) {
		case 0:
			gen_add(g, c, word_text("IDLE"));
			gen_add(g, c, rng_below(g, 2) ? word_text("2000000") : PICK(g, times));
			break;
		case 1:
			gen_add(g, c, word_text("Time"));
			gen_add(g, c, PICK(g, times));
			break;
		case 2:
			gen_add(g, c, word_text("RETRYCOUNT"));
			gen_add(g, c, count(g));
			break;
		case 3:
			gen_add(g, c, word_text("LASTID"));
			gen_add(g, c, some_id(g));
			break;
		case 4:
			gen_add(g, c, word_text("JUSTID"));
			break;
		default:
			gen_add(g, c, word_text(rng_below(g, 20) ? "FORCE" : "JUNK"));
		}
}

static void add_some(struct gen *g, struct cmd *c, struct word (*one)(struct gen *))
{
	uint32_t n = 1 + rng_below(g, 5);

	for (; n > 0; n--)
		gen_add(g, c, one(g));
}

/* With this chance in 16: a word, and a number if there is one. */
static void add_maybe(struct gen *g, struct cmd *c, uint32_t chance, const char *word, struct word (*number)(struct gen *))
{
	if (rng_below(g, 16) >= chance)
		return;
	gen_add(g, c, word_text(word));
	if (number)
		gen_add(g, c, number(g));
}

static void add_options(struct gen *g, struct cmd *c, const char *kind)
{
	if (!strcmp(kind, "xadd")) {
		if (rng_below(g, g->streams ? 20 : 6) == 0)
			add_trim(g, c);
		add_maybe(g, c, 1, "NOMKSTREAM", NULL);
	} else if (!strcmp(kind, "xcount")) {
		add_maybe(g, c, 7, "COUNT", count);
	} else if (!strcmp(kind, "xcreate")) {
		add_maybe(g, c, 9, "MKSTREAM", NULL);
		add_maybe(g, c, 4, "ENTRIESREAD", count);
	} else if (!strcmp(kind, "xset")) {
		add_maybe(g, c, 5, "ENTRIESADDED", count);
		add_maybe(g, c, 5, "MAXDELETEDID", some_id);
	} else if (!strcmp(kind, "xauto")) {
		add_maybe(g, c, 7, "COUNT", count);
		add_maybe(g, c, 4, "JUSTID", NULL);
	} else { /* xfull */
		add_maybe(g, c, 10, "FULL", NULL);
		add_maybe(g, c, 8, "COUNT", count);
	}
}

/* One id of a stream that is there is most welcome to a group. */
static struct word group_id(struct gen *g)
{
	uint32_t r = rng_below(g, 4);

	return r == 0 ? word_text("$") : r < 3 ? word_text("0") : some_id(g);
}

int gen_stream(struct gen *g, struct cmd *c, const char *name)
{
	static const struct { const char *name; struct word (*one)(struct gen *); } words[] = {
		{ "xkey", key }, { "xid", some_id }, { "xnew", new_id }, { "xend", range_end }, { "xgrp", group },
		{ "xcon", consumer }, { "xnum", count }, { "xidle", idle }, { "xgid", group_id }
	};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(name, words[i].name)) {
			gen_add(g, c, words[i].one(g));
			return 1;
		}
	if (!strcmp(name, "xids"))
		add_some(g, c, some_id);
	else if (!strcmp(name, "+"))
		gen_add(g, c, word_text("+"));
	else if (!strcmp(name, "xfvs"))
		add_fields(g, c);
	else if (!strcmp(name, "xtrims"))
		add_trim(g, c);
	else if (!strcmp(name, "xstreams"))
		add_read(g, c, 0);
	else if (!strcmp(name, "xgstreams"))
		add_read(g, c, 1);
	else if (!strcmp(name, "xclaims"))
		add_claim(g, c);
	else if (!strncmp(name, "xo:", 3))
		add_options(g, c, name + 3);
	else
		return 0;
	return 1;
}

/* An id of the clock's is nobody else's, and error texts of the agent are of bounded length. */
int tame_stream(const struct cmd *c)
{
	int adds = word_is(c->argv[0], "XADD"), sets = word_is(c->argv[0], "XSETID");
	uint32_t i;

	for (i = 1; i < c->argc; i++) {
		/* Where no number is left in a millisecond, what Redis says to 1-* hangs on an errno that others left. */
		if ((adds || sets) && word_is(c->argv[i], "1-18446744073709551615"))
			return 0;
		if ((adds && c->argv[i].n == 1 && c->argv[i].p[0] == '*') || (!adds && c->argv[i].n > 200))
			return 0;
	}
	return 1;
}
