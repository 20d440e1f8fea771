/* SPDX-License-Identifier: Apache-2.0
 *
 * Random commands of places: a crowd of them in one town, others all over the world, and what is no place.
 */
#include <config.h>
#include <string.h>
#include "diff.h"

#define PICK(g, list) word_text((list)[rng_below(g, sizeof(list) / sizeof(*(list)))])

static struct word geo_key(struct gen *g)
{
	static const char *const other[] = { "z0", "k0", "none" };

	return rng_below(g, 30) ? gen_format(g, "g%lld", rng_below(g, 3)) : PICK(g, other);
}

static struct word geo_member(struct gen *g)
{
	return gen_format(g, rng_below(g, 3) ? "m%lld" : "place:%lld", rng_below(g, rng_below(g, 2) ? 20 : 400));
}

static struct word degrees(struct gen *g, uint32_t most)
{
	static const char *const odd[] = { "180", "-180", "85.05112878", "-85.05112878", "85.06", "181", "0", "-0", "90", "abc",
		"", "nan", "inf", "1e2", "-179.999999", "84.9", "66.1", "80.5", "-67", "-81" };
	uint32_t r = rng_below(g, 100);
	char *p;

	if (r < 6)
		return PICK(g, odd);
	p = arena_get(g->mem, 40);
	if (r < 55) /* a town */
		snprintf(p, 40, "%.6f", (most == 180 ? 13.35 : 52.5) + (double)rng_below(g, 20) / 1000);
	else if (r < 70) /* few that many share */
		snprintf(p, 40, "%d", (int)rng_below(g, 5) * 40 - 80);
	else
		snprintf(p, 40, "%.*f", (int)rng_below(g, 15), (double)rng_below(g, 2 * most * 1000000 + 1) / 1e6 - most);
	return word_text(p);
}

static void add_place(struct gen *g, struct cmd *c)
{
	gen_add(g, c, degrees(g, 180));
	gen_add(g, c, degrees(g, 85));
}

static struct word length(struct gen *g)
{
	static const char *const some[] = { "0", "1", "100", "500", "1000", "1500", "5000", "20000", "200000", "1000000", "5000000",
		"10000000", "25000000", "1e300", "inf", "0.001", "1e-300", "-1", "abc", "", "300.5" };

	return rng_below(g, 3) ? gen_format(g, "%lld", rng_below(g, rng_below(g, 2) ? 3000 : 3000000)) : PICK(g, some);
}

static void add_unit(struct gen *g, struct cmd *c)
{
	static const char *const units[] = { "m", "km", "ft", "mi", "M", "Km", "m", "km", "m", "km", "yd", "" };

	gen_add(g, c, PICK(g, units));
}

static void add_options(struct gen *g, struct cmd *c, int search, int stores)
{
	static const char *const words[] = { "WITHDIST", "WITHHASH", "WITHCOORD", "ASC", "DESC", "ASC", "DESC" };
	uint32_t n = rng_below(g, 5);

	for (; n > 0; n--) {
		uint32_t what = rng_below(g, 20);

		if (what < 9 && (!stores || rng_below(g, 8) == 0)) {
			gen_add(g, c, PICK(g, words));
		} else if (what < 9) {
			gen_add(g, c, word_text(what & 1 ? "ASC" : "DESC"));
		} else if (what < 16) {
			gen_add(g, c, word_text("COUNT"));
			gen_add(g, c, gen_format(g, "%lld", rng_below(g, rng_below(g, 3) ? 20 : 100)));
			if (what < 12)
				gen_add(g, c, word_text("ANY"));
		} else if (what < 19 && search && stores) {
			gen_add(g, c, word_text("STOREDIST"));
		} else if (what < 18 && stores) {
			gen_add(g, c, word_text(what & 1 ? "STORE" : "STOREDIST"));
			gen_add(g, c, geo_key(g));
		} else if (rng_below(g, 6) == 0) {
			static const char *const wrong[] = { "ANY", "COUNT", "STORE", "STOREDIST", "JUNK", "FROMMEMBER", "BYBOX" };

			gen_add(g, c, PICK(g, wrong));
		}
	}
}

static void add_search(struct gen *g, struct cmd *c, int stores)
{
	uint32_t early = rng_below(g, 4) == 0, twice = rng_below(g, 25) == 0;

	if (early)
		add_options(g, c, 1, stores);
	do {
		if (rng_below(g, 2)) {
			gen_add(g, c, word_text("FROMMEMBER"));
			gen_add(g, c, geo_member(g));
		} else {
			gen_add(g, c, word_text("fromlonlat"));
			add_place(g, c);
		}
	} while (twice-- == 1);
	if (rng_below(g, 40) == 0)
		return;
	if (rng_below(g, 2)) {
		gen_add(g, c, word_text("BYRADIUS"));
		gen_add(g, c, length(g));
	} else {
		gen_add(g, c, word_text("ByBox"));
		gen_add(g, c, length(g));
		gen_add(g, c, length(g));
	}
	add_unit(g, c);
	if (!early)
		add_options(g, c, 1, stores);
}

int gen_geo(struct gen *g, struct cmd *c, const char *name)
{
	uint32_t n;

	if (!strcmp(name, "gkey")) {
		gen_add(g, c, geo_key(g));
	} else if (!strcmp(name, "gmem")) {
		gen_add(g, c, geo_member(g));
	} else if (!strcmp(name, "gmems")) {
		for (n = 1 + rng_below(g, 4); n > 0; n--)
			gen_add(g, c, geo_member(g));
	} else if (!strcmp(name, "gplace")) {
		add_place(g, c);
	} else if (!strcmp(name, "gplaces") || !strcmp(name, "bulkplaces")) {
		for (n = *name == 'b' ? 20 + rng_below(g, 100) : 1 + rng_below(g, 4); n > 0; n--) {
			add_place(g, c);
			gen_add(g, c, geo_member(g));
		}
	} else if (!strcmp(name, "glen")) {
		gen_add(g, c, length(g));
		add_unit(g, c);
	} else if (!strcmp(name, "gunit")) {
		add_unit(g, c);
	} else if (!strcmp(name, "gopts")) {
		add_options(g, c, 0, 0);
	} else if (!strcmp(name, "gstores")) {
		add_options(g, c, 0, 1);
	} else if (!strcmp(name, "gsearch")) {
		add_search(g, c, 0);
	} else if (!strcmp(name, "gsearchstore")) {
		add_search(g, c, 1);
	} else {
		return 0;
	}
	return 1;
}
