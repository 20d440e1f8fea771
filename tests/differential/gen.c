/* SPDX-License-Identifier: Apache-2.0
 *
 * Random commands.  A line of the table is a command and what its arguments are made of; what two
 * correct servers could answer differently (a life of a few ms, an order that hangs on the clock) is
 * thrown away or marked.
 */
#include <config.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"

struct line { unsigned weight; enum rule rule; const char *text; };
static const struct line lines[] = {
#define LINE(weight, rule, text) { weight, rule, text },
#include "commands.def"
#undef LINE
};
#define LINES (sizeof(lines) / sizeof(*lines))

struct word gen_format(struct gen *g, const char *fmt, long long v)
{
	char *p = arena_get(g->mem, 64);

	snprintf(p, 64, fmt, v);
	return word_text(p);
}

static struct word bytes(struct gen *g, uint32_t n)
{
	uint8_t *p = arena_get(g->mem, n + 1);
	uint32_t i, kind = rng_below(g, 3);

	for (i = 0; i < n; i++)
		p[i] = kind == 0 ? (uint8_t)rng_next(g) : kind == 1 ? 'a' + (uint8_t)rng_below(g, 3) : 'x';
	return (struct word){ p, n };
}

#define PICK(g, list) word_text((list)[rng_below(g, sizeof(list) / sizeof(*(list)))])

static struct word make_key(struct gen *g)
{
	static const char *const odd[] = { "", "a key", "*[a]?", "{tag}:k", "10", "k\\0", "K0", "proj:default:k",
		"proj:other:k1", "-1" };
	uint32_t r = rng_below(g, 100);

	if (r < 75)
		return gen_format(g, "k%lld", rng_below(g, 8));
	if (r < 85)
		return gen_format(g, "h%lld", rng_below(g, 4));
	if (r < 95) {
		struct word w = PICK(g, odd);

		return w.n || !g->isolated ? w : word_text("k0");
	}
	if (r < 97)
		return (struct word){ (const uint8_t *)"\0\r\n\xff\x80", 5 };
	if (r < 98 && g->big) {
		uint8_t *p = arena_get(g->mem, 70000);

		memset(p, 'L', 70000);
		return (struct word){ p, 70000 };
	}
	return word_text("a-key-that-is-longer-than-sixty-four-bytes-so-that-it-is-no-short-one-any-more");
}

/* Mostly keys that no command of strings uses. */
static struct word make_hash_key(struct gen *g)
{
	return rng_below(g, 100) < 70 ? gen_format(g, "h%lld", rng_below(g, 4)) : make_key(g);
}

static struct word make_set_key(struct gen *g)
{
	return rng_below(g, 100) < 75 ? gen_format(g, "s%lld", rng_below(g, 5)) : make_key(g);
}

static struct word make_list_key(struct gen *g)
{
	return rng_below(g, 100) < 80 ? gen_format(g, "l%lld", rng_below(g, 4)) : make_key(g);
}

static struct word make_zset_key(struct gen *g)
{
	return rng_below(g, 100) < 85 ? gen_format(g, "z%lld", rng_below(g, 5)) : make_key(g);
}

/* Members of one score only: else the order of their bytes is nobody's order.  y3 is a string. */
static struct word make_y_key(struct gen *g) { return gen_format(g, "y%lld", rng_below(g, 3)); }
static struct word make_lex_key(struct gen *g) { return gen_format(g, "y%lld", rng_below(g, 20) ? rng_below(g, 3) : 3); }

static struct word make_mixed_key(struct gen *g)
{
	return rng_below(g, 5) ? make_zset_key(g) : make_set_key(g);
}

static struct word make_int(struct gen *g)
{
	static const char *const odd[] = { "9999", "10000", "10001", "9998", "9223372036854775807",
		"-9223372036854775808", "9223372036854775806", "-9223372036854775807", "2147483647",
		"-2147483648", "2147483648", "4294967296", "1000000", "100", "536870912", "512" };
	static const char *const wrong[] = { "abc", "", "1.5", " 1", "1 ", "+1", "-0", "007", "0x10",
		"9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e3", "-" };
	uint32_t r = rng_below(g, 100);

	if (r < 70)
		return gen_format(g, "%lld", (long long)rng_below(g, 21) - 10);
	return r < 90 ? PICK(g, odd) : PICK(g, wrong);
}

static struct word make_float(struct gen *g)
{
	static const char *const some[] = { "1", "0.1", "-2.5", "3.0e3", "1e17", "1e-5", "0.5", "-0.5", "0",
		"-0", "1e300", "3.14159265358979323846", "100000000000000000000", "0.000000000000000001" };
	static const char *const odd[] = { "inf", "-inf", "nan", "abc", "", "0x1p3", "5.", ".5", " 1", "1 ",
		"1e5000", "1e4932", "-1e4932", "1e-5000", "infinity", "1.5e", "1e308" };

	return rng_below(g, 100) < 75 ? PICK(g, some) : PICK(g, odd);
}

static struct word make_value(struct gen *g)
{
	static const uint32_t sizes[] = { 0, 1, 2, 5, 12, 20, 21, 43, 44, 45, 46, 63, 64, 65, 66, 100, 255, 256,
		300 };
	static const uint32_t large[] = { 1000, 4095, 4096, 4097, 5000, 16383, 16384, 20000, 70000 };
	uint32_t r = rng_below(g, 100);

	if (r < 30)
		return make_int(g);
	if (r < 40)
		return make_float(g);
	if (r < 45)
		return gen_format(g, "%lld", (long long)(rng_next(g) >> rng_below(g, 64)));
	if (r < 97 || !g->big)
		return bytes(g, sizes[rng_below(g, sizeof(sizes) / sizeof(*sizes))]);
	return bytes(g, large[rng_below(g, sizeof(large) / sizeof(*large))]);
}

static struct word make_field(struct gen *g)
{
	uint32_t r = rng_below(g, 200);

	if (r < 160)
		return gen_format(g, "f%lld", rng_below(g, 10));
	if (r < 190)
		return gen_format(g, "field:%lld", rng_below(g, 700));
	return r < 199 ? make_hash_key(g) : make_value(g);
}

/* One that is longer than 64 bytes changes the form of a hash for ever: mostly not. */
static struct word make_field_value(struct gen *g)
{
	if (rng_below(g, 40) == 0)
		return make_value(g);
	return rng_below(g, 3) ? make_int(g) : bytes(g, rng_below(g, 65));
}

static struct word make_bulk_field(struct gen *g) { return gen_format(g, "field:%lld", rng_below(g, 700)); }

/* Integers of all widths, so that sets of them grow through all their forms; and others. */
static struct word make_member(struct gen *g)
{
	static const long long wide[] = { 32767, 32768, -32768, -32769, 2147483647, 2147483648, -2147483648,
		-2147483649, 9223372036854775807 };
	uint32_t r = rng_below(g, 200);

	if (r < 120)
		return gen_format(g, "%lld", (long long)rng_below(g, 40) - 10);
	if (r < 130)
		return gen_format(g, "%lld", wide[rng_below(g, sizeof(wide) / sizeof(*wide))]);
	if (r < 190)
		return gen_format(g, "m%lld", rng_below(g, 30));
	return r < 199 ? make_int(g) : make_value(g);
}

static struct word make_bulk_member(struct gen *g) { return gen_format(g, "%lld", (long long)rng_below(g, 1300) - 200); }

static struct word make_score(struct gen *g)
{
	static const char *const some[] = { "inf", "-inf", "+inf", "0.1", "-0", "1e18", "4611686018427387904",
		"9007199254740993", "-1e300", "4e18", "5e18", "1e-320" };
	uint32_t r = rng_below(g, 100);

	if (r < 75)
		return gen_format(g, "%lld", (long long)rng_below(g, 11) - 5);
	if (r < 85)
		return gen_format(g, "%lld.5", (long long)rng_below(g, 11) - 5);
	return r < 95 ? PICK(g, some) : rng_below(g, 2) ? make_float(g) : make_int(g);
}

static struct word make_bulk_score(struct gen *g) { return gen_format(g, "%lld", (long long)rng_below(g, 100) - 20); }
static struct word make_zero(struct gen *g) { return gen_format(g, "%lld", 0); }

static struct word make_zset_member(struct gen *g)
{
	uint32_t r = rng_below(g, 200);

	if (r < 150)
		return gen_format(g, "m%lld", rng_below(g, 30));
	if (r < 152)
		return bytes(g, 63 + rng_below(g, 3));
	return r < 199 ? make_member(g) : make_value(g);
}

static struct word make_bulk_zset_member(struct gen *g) { return gen_format(g, "m%lld", rng_below(g, 500)); }

static struct word make_bound(struct gen *g)
{
	static const char *const odd[] = { "-inf", "+inf", "-inf", "inf", "(inf", "(-inf", "", "(", " 1", "1 ", "(nan",
		"nan", "((1", "1e5000", "abc", "0x1p1", "-0" };
	uint32_t r = rng_below(g, 100);

	if (r < 40)
		return gen_format(g, "%lld", (long long)rng_below(g, 13) - 6);
	if (r < 70)
		return gen_format(g, "(%lld", (long long)rng_below(g, 13) - 6);
	return r < 95 ? PICK(g, odd) : make_score(g);
}

static struct word make_lex(struct gen *g)
{
	static const char *const odd[] = { "-", "+", "-", "+", "[", "(", "", "m", "-x", "+-", "[\xff", "(m1", "[m1" };
	uint32_t r = rng_below(g, 100);

	if (r < 70)
		return gen_format(g, r < 35 ? "[m%lld" : "(m%lld", rng_below(g, rng_below(g, 3) ? 30 : 500));
	return PICK(g, odd);
}

static struct word make_element(struct gen *g)
{
	static const uint32_t sizes[] = { 253, 254, 255, 256, 1000, 2000, 4000, 4086, 4094, 5000 };

	if (rng_below(g, 100) < 80)
		return gen_format(g, "e%lld", rng_below(g, 12));
	return rng_below(g, 4) ? make_value(g) : bytes(g, sizes[rng_below(g, sizeof(sizes) / sizeof(*sizes))]);
}

static struct word make_bulk_element(struct gen *g)
{
	return rng_below(g, 30) ? gen_format(g, "element:%lld", rng_below(g, 50)) : make_element(g);
}

static struct word make_index(struct gen *g)
{
	return rng_below(g, 10) ? gen_format(g, "%lld", (long long)rng_below(g, rng_below(g, 3) ? 16 : 600) - 8) : make_int(g);
}

static struct word make_bit_key(struct gen *g)
{
	return rng_below(g, 100) < 85 ? gen_format(g, "b%lld", rng_below(g, 4)) : make_key(g);
}

static struct word make_bit_offset(struct gen *g)
{
	return rng_below(g, 12) ? gen_format(g, "%lld", rng_below(g, rng_below(g, 10) ? 200 : 40000)) : make_int(g);
}

static struct word make_field_type(struct gen *g)
{
	static const char *const odd[] = { "i64", "u63", "i1", "u1", "u64", "i65", "i0", "u", "8", "x8", "", "i+8", "I8" };
	uint32_t r = rng_below(g, 100);

	if (r < 80)
		return gen_format(g, r & 1 ? "i%lld" : "u%lld", 1 + rng_below(g, rng_below(g, 3) ? 16 : 63));
	return r < 90 ? PICK(g, odd) : word_text(r & 1 ? "i64" : "u63");
}

static struct word make_hll_key(struct gen *g)
{
	return rng_below(g, 100) < 94 ? gen_format(g, "p%lld", rng_below(g, 5)) : make_key(g);
}

static struct word make_bulk_pel(struct gen *g) { return gen_format(g, "%lld", rng_below(g, rng_below(g, 3) ? 100000 : 300)); }

/* What SORT orders, numbers and a few others, and the keys that these name. */
static struct word make_sorted_list(struct gen *g) { return rng_below(g, 40) ? gen_format(g, "o%lld", rng_below(g, 3)) : word_text("w_1"); }

static struct word make_sorted_set(struct gen *g) { return rng_below(g, 40) ? gen_format(g, "q%lld", rng_below(g, 3)) : word_text("w_1"); }

static struct word make_weight_key(struct gen *g)
{
	return gen_format(g, rng_below(g, 3) ? "w_%lld" : "v_%lld", (long long)rng_below(g, 20) - 4);
}

static struct word make_weight(struct gen *g)
{
	static const char *const odd[] = { "1.5", "-2.5", "inf", "-inf", "0x10", "1e3", "", "-0", "0", "100000000000000000000" };
	static const char *const wrong[] = { "abc", "nan", "1 ", "1x", "w" };

	if (rng_below(g, 60) == 0)
		return PICK(g, wrong);
	return rng_below(g, 5) ? gen_format(g, "%lld", (long long)rng_below(g, 30) - 10) : PICK(g, odd);
}

static struct word make_sorted(struct gen *g)
{
	return rng_below(g, 4) ? gen_format(g, "%lld", (long long)rng_below(g, 20) - 4) : make_weight(g);
}

static struct word make_pattern(struct gen *g)
{
	static const char alphabet[] = "**??kkf0123[]^-\\a";
	static const char *const some[] = { "*", "k*", "k?", "k[0-3]", "*0", "f*", "[", "k[^0-4]", "**", "" };
	uint32_t n = rng_below(g, 8), i;
	uint8_t *p;

	if (rng_below(g, 2))
		return PICK(g, some);
	p = arena_get(g->mem, n + 1);
	for (i = 0; i < n; i++)
		p[i] = rng_below(g, 20) ? (uint8_t)alphabet[rng_below(g, sizeof(alphabet) - 1)] :
		    (uint8_t)rng_next(g);
	return (struct word){ p, n };
}

/* ---- times: lives from now are all different, and far from every absolute time ----------------------------- */
static long long life_s(struct gen *g) { return 1000 + 40 * (long long)(g->lives++ * 389 % 1024); }

static struct word make_time(struct gen *g, int ms, int absolute)
{
	static const char *const odd[] = { "0", "-1", "abc", "9223372036854775807", "-9223372036854775808",
		"9223372036854775", "9223372036854776", "-9223372036854776", "1.5", "", "-100" };
	long long v;

	if (rng_below(g, 100) < 12)
		return PICK(g, odd);
	if (absolute) {
		v = (long long)(g->now_ms / 1000);
		v = rng_below(g, 5) ? v + 100000 + 7919 * (long long)rng_below(g, 40) :
		    v - 60 - (long long)rng_below(g, 100);
	} else {
		if (ms && g->brief && rng_below(g, 4) == 0)
			return gen_format(g, "%lld", 1 + rng_below(g, 5)); /* marked later: see tame() */
		v = life_s(g);
	}
	return gen_format(g, "%lld", ms ? v * 1000 + (absolute ? 0 : rng_below(g, 1000)) : v);
}

/* ---- commands -------------------------------------------------------------------------------------------------- */
void gen_add(struct gen *g, struct cmd *c, struct word w)
{
	if (c->argc == c->cap) {
		struct word *more = arena_get(g->mem, 2 * (c->cap + 8) * sizeof(*more));

		if (c->argc)
			memcpy(more, c->argv, c->argc * sizeof(*more));
		c->cap = 2 * (c->cap + 8);
		c->argv = more;
	}
	c->argv[c->argc++] = w;
}

/* A word of the table, in any case. */
static void add_literal(struct gen *g, struct cmd *c, const char *s, size_t n)
{
	char *p = arena_get(g->mem, n + 1);
	uint32_t how = rng_below(g, 8);
	size_t i;

	for (i = 0; i < n; i++) {
		int lower = how == 0 || (how == 1 && rng_below(g, 2));

		p[i] = (char)(lower ? tolower((unsigned char)s[i]) : s[i]);
	}
	p[n] = '\0';
	gen_add(g, c, word_text(p));
}

static void add_life(struct gen *g, struct cmd *c)
{
	static const char *const words[] = { "EX", "PX", "EXAT", "PXAT" };
	uint32_t w = rng_below(g, 4);

	add_literal(g, c, words[w], strlen(words[w]));
	gen_add(g, c, make_time(g, w & 1, w >> 1));
}

/* As many as there are keys, which their number is in front of. */
static void add_weights(struct gen *g, struct cmd *c)
{
	uint32_t at = c->argc > 1 && word_is(c->argv[0], "ZUNIONSTORE") + word_is(c->argv[0], "ZINTERSTORE") ? 2 : 1;
	int64_t n;

	if (word_int(c->argv[at], &n) || n > 10)
		n = 2;
	for (; n > 0; n--)
		gen_add(g, c, make_score(g));
}

/* Options of one kind: each word with its chance in percent. */
static void add_options(struct gen *g, struct cmd *c, const char *kind)
{
	static const struct { const char *kind, *word; unsigned percent; } some[] = {
		{ "set", "NX", 12 }, { "set", "XX", 12 }, { "set", "GET", 15 }, { "set", "KEEPTTL", 12 },
		{ "set", "!life", 25 }, { "set", "PERSIST", 1 }, { "getex", "PERSIST", 25 },
		{ "getex", "!life", 45 }, { "getex", "KEEPTTL", 1 }, { "expire", "NX", 12 },
		{ "expire", "XX", 12 }, { "expire", "GT", 15 }, { "expire", "LT", 15 }, { "expire", "QQ", 2 },
		{ "copy", "REPLACE", 40 }, { "copy", "!db", 25 }, { "copy", "JUNK", 2 },
		{ "flush", "ASYNC", 30 }, { "flush", "SYNC", 30 }, { "flush", "JUNK", 10 },
		{ "lcs", "LEN", 25 }, { "lcs", "IDX", 45 }, { "lcs", "WITHMATCHLEN", 35 },
		{ "lcs", "!min", 30 }, { "lcs", "JUNK", 3 }, { "scan", "!match", 45 },
		{ "scan", "!count", 40 }, { "scan", "!type", 25 }, { "hscan", "!match", 45 },
		{ "hscan", "!count", 40 }, { "hscan", "!type", 3 }, { "limit", "!limit", 40 }, { "limit", "JUNK", 3 },
		{ "count", "!count", 50 }, { "count", "JUNK", 2 }, { "lpos", "!rank", 45 }, { "lpos", "!count", 45 },
		{ "lpos", "!maxlen", 40 }, { "lpos", "JUNK", 3 },
		{ "zadd", "NX", 12 }, { "zadd", "XX", 12 }, { "zadd", "GT", 15 }, { "zadd", "LT", 15 }, { "zadd", "CH", 30 },
		{ "zadd", "INCR", 2 }, { "wscores", "WITHSCORES", 50 }, { "wscores", "JUNK", 2 },
		{ "zrange", "REV", 35 }, { "zrange", "!span", 45 }, { "zrange", "WITHSCORES", 40 },
		{ "zscore", "WITHSCORES", 40 }, { "zscore", "!span", 45 }, { "zscore", "REV", 3 },
		{ "zany", "REV", 50 }, { "zany", "!span", 10 }, { "zany", "BYSCORE", 10 }, { "zany", "WITHSCORES", 30 },
		{ "zmix", "!weights", 35 }, { "zmix", "!aggregate", 40 }, { "zmix", "WITHSCORES", 60 }, { "zmix", "JUNK", 2 },
		{ "zmixstore", "!aggregate", 40 }, { "zmixstore", "!weights", 35 }, { "zmixstore", "WITHSCORES", 2 },
		{ "ylex", "REV", 40 }, { "ylex", "!span", 40 }, { "ylex", "WITHSCORES", 2 },
		{ "ylimit", "!span", 45 }, { "ylimit", "WITHSCORES", 2 },
	};
	static const char *const aggregates[] = { "SUM", "MIN", "MAX", "sum", "Min", "max", "AVG" };
	static const char *const types[] = { "string", "hash", "STRING", "list", "zset", "stream", "none1", "" };
	size_t i;

	for (i = 0; i < sizeof(some) / sizeof(*some); i++) {
		const char *w = some[i].word;

		if (strcmp(some[i].kind, kind) || rng_below(g, 100) >= some[i].percent)
			continue;
		if (*w != '!') {
			add_literal(g, c, w, strlen(w));
		} else if (!strcmp(w, "!life")) {
			add_life(g, c);
		} else if (!strcmp(w, "!db")) {
			add_literal(g, c, "DB", 2);
			gen_add(g, c, rng_below(g, 4) ? gen_format(g, "%lld", rng_below(g, g->databases + 1)) :
			    make_int(g));
		} else if (!strcmp(w, "!min")) {
			add_literal(g, c, "MINMATCHLEN", 11);
			gen_add(g, c, rng_below(g, 4) ? gen_format(g, "%lld", rng_below(g, 5)) : make_int(g));
		} else if (!strcmp(w, "!limit")) {
			add_literal(g, c, "LIMIT", 5);
			gen_add(g, c, make_int(g));
		} else if (!strcmp(w, "!rank") || !strcmp(w, "!maxlen")) {
			add_literal(g, c, w[1] == 'r' ? "RANK" : "MAXLEN", w[1] == 'r' ? 4 : 6);
			gen_add(g, c, make_int(g));
		} else if (!strcmp(w, "!span")) {
			add_literal(g, c, "LIMIT", 5);
			gen_add(g, c, make_int(g));
			gen_add(g, c, make_int(g));
		} else if (!strcmp(w, "!weights")) {
			add_literal(g, c, "WEIGHTS", 7);
			add_weights(g, c);
		} else if (!strcmp(w, "!aggregate")) {
			add_literal(g, c, "AGGREGATE", 9);
			gen_add(g, c, PICK(g, aggregates));
		} else if (!strcmp(w, "!match")) {
			add_literal(g, c, "MATCH", 5);
			gen_add(g, c, make_pattern(g));
		} else if (!strcmp(w, "!count")) {
			add_literal(g, c, "COUNT", 5);
			gen_add(g, c, rng_below(g, 8) ? gen_format(g, "%lld", 1 + rng_below(g, 50)) : make_int(g));
		} else {
			add_literal(g, c, "TYPE", 4);
			gen_add(g, c, PICK(g, types));
		}
	}
}

static void add_many(struct gen *g, struct cmd *c, struct word (*one)(struct gen *),
    struct word (*two)(struct gen *))
{
	int bulk = one == make_bulk_field || one == make_bulk_member || one == make_bulk_element ||
	    one == make_bulk_pel || two == make_bulk_zset_member;
	uint32_t most = rng_below(g, 4) ? 100 : one == make_bulk_pel ? 3000 : 600;
	uint32_t n = bulk ? 10 + rng_below(g, most) : 1 + rng_below(g, 4);

	for (; n > 0; n--) {
		gen_add(g, c, one(g));
		if (two)
			gen_add(g, c, two(g));
	}
}

static void add_counted(struct gen *g, struct cmd *c, struct word (*one)(struct gen *))
{
	uint32_t n = 1 + rng_below(g, 4), i;

	gen_add(g, c, rng_below(g, 10) ? gen_format(g, "%lld", n) : make_int(g));
	for (i = 0; i < n; i++)
		gen_add(g, c, one(g));
}

static void add_sort(struct gen *g, struct cmd *c)
{
	static const char *const by[] = { "w_*", "w_*", "v_*->f", "v_*", "nosort", "w_", "*", "v_*->", "v_*->none" };
	static const char *const get[] = { "w_*", "v_*->f", "#", "w_1", "v_*->", "*", "w_*\0", "o*" };
	uint32_t n = rng_below(g, 4);

	for (; n > 0; n--)
		switch (rng_below(g, 8)) {
		case 0:
			add_literal(g, c, "DESC", 4);
			break;
		case 5:
			add_literal(g, c, "ASC", 3);
			break;
		case 1:
			add_literal(g, c, "ALPHA", 5);
			break;
		case 2:
			add_literal(g, c, "LIMIT", 5);
			gen_add(g, c, rng_below(g, 6) ? gen_format(g, "%lld", (long long)rng_below(g, 8) - 2) : make_int(g));
			gen_add(g, c, rng_below(g, 6) ? gen_format(g, "%lld", (long long)rng_below(g, 12) - 2) : make_int(g));
			break;
		case 3:
			add_literal(g, c, "BY", 2);
			gen_add(g, c, PICK(g, by));
			break;
		default:
			add_literal(g, c, "GET", 3);
			gen_add(g, c, PICK(g, get));
		}
}

/* What BITFIELD does, one after the other. */
static void add_fields(struct gen *g, struct cmd *c, int reads)
{
	static const char *const overs[] = { "WRAP", "SAT", "FAIL", "sat", "fail", "wrap", "JUNK" };
	uint32_t n = rng_below(g, 6);

	for (; n > 0; n--) {
		uint32_t what = reads && rng_below(g, 20) ? 0 : rng_below(g, 4);

		if (what == 3) {
			add_literal(g, c, "OVERFLOW", 8);
			gen_add(g, c, rng_below(g, 3) ? word_text(overs[rng_below(g, 3)]) : PICK(g, overs));
			continue;
		}
		add_literal(g, c, what == 0 ? "GET" : what == 1 ? "SET" : "INCRBY", what == 2 ? 6 : 3);
		gen_add(g, c, make_field_type(g));
		gen_add(g, c, rng_below(g, 3) ? make_bit_offset(g) : gen_format(g, "#%lld", rng_below(g, 40)));
		if (what)
			gen_add(g, c, rng_below(g, 4) ? make_int(g) :
			    gen_format(g, "%lld", (long long)(rng_next(g) >> rng_below(g, 64))));
	}
}

/* The table of kinds is continued here; 1: it was one of these. */
static int add_bits(struct gen *g, struct cmd *c, const char *name)
{
	static const char *const ops[] = { "AND", "OR", "XOR", "and", "or", "Xor", "NAND", "NOT" };
	static const char *const units[] = { "BIT", "BYTE", "bit", "byte", "BITS" };
	static const char *const bits[] = { "0", "1", "1", "0", "1", "2", "-1", "abc", "" };

	if (!strcmp(name, "bkey"))
		gen_add(g, c, make_bit_key(g));
	else if (!strcmp(name, "bkeys"))
		add_many(g, c, make_bit_key, NULL);
	else if (!strcmp(name, "bitat"))
		gen_add(g, c, make_bit_offset(g));
	else if (!strcmp(name, "bit"))
		gen_add(g, c, rng_below(g, 8) ? word_text(bits[rng_below(g, 2)]) : PICK(g, bits));
	else if (!strcmp(name, "unit"))
		gen_add(g, c, rng_below(g, 8) ? word_text(units[rng_below(g, 4)]) : PICK(g, units));
	else if (!strcmp(name, "bitop"))
		gen_add(g, c, PICK(g, ops));
	else if (!strcmp(name, "pkey"))
		gen_add(g, c, make_hll_key(g));
	else if (!strcmp(name, "pkeys"))
		add_many(g, c, make_hll_key, NULL);
	else if (!strcmp(name, "vals"))
		add_many(g, c, make_value, NULL);
	else if (!strcmp(name, "bulkpels"))
		add_many(g, c, make_bulk_pel, NULL);
	else if (!strcmp(name, "okey"))
		gen_add(g, c, make_sorted_list(g));
	else if (!strcmp(name, "qkey"))
		gen_add(g, c, make_sorted_set(g));
	else if (!strcmp(name, "wkey"))
		gen_add(g, c, make_weight_key(g));
	else if (!strcmp(name, "weight"))
		gen_add(g, c, make_weight(g));
	else if (!strcmp(name, "nums"))
		add_many(g, c, make_sorted, NULL);
	else if (!strcmp(name, "f"))
		gen_add(g, c, word_text("f"));
	else if (!strcmp(name, "fields") || !strcmp(name, "reads"))
		add_fields(g, c, *name == 'r');
	else
		return 0;
	return 1;
}

/* What commands that may wait have besides. */
static int add_waiting(struct gen *g, struct cmd *c, const char *name)
{
	static const char *const waits[] = { "0.001", "0.001", "0.002", "0.0005", "0.001", "abc", "-1", "1e400", "nan", "" };

	if (!strcmp(name, "lkeys"))
		add_many(g, c, make_list_key, NULL);
	else if (!strcmp(name, "zkeys"))
		add_many(g, c, make_zset_key, NULL);
	else if (!strcmp(name, "wait"))
		gen_add(g, c, PICK(g, waits));
	else
		return 0;
	return 1;
}

static int add_time(struct gen *g, struct cmd *c, const char *name)
{
	int at = !strcmp(name, "at"), msat = !strcmp(name, "msat"), ms = msat || !strcmp(name, "msecs");

	if (!at && !ms && strcmp(name, "secs") != 0)
		return 0;
	gen_add(g, c, make_time(g, ms, at || msat));
	return 1;
}

static void add_made(struct gen *g, struct cmd *c, const char *t, size_t n)
{
	static const char *const cursors[] = { "0", "0", "0", "0", "0", "0", "abc", "1x", "-", "", " 0",
		"99999999999999999999999" };
	static const char *const ends[] = { "LEFT", "RIGHT", "left", "Right", "LEFT", "RIGHT", "MIDDLE" };
	static const char *const minmax[] = { "MIN", "MAX", "min", "Max", "MIN", "MAX", "MID" };
	static const char *const sides[] = { "BEFORE", "AFTER", "after", "BEFORE", "AFTER", "BESIDE" };
	static const char *const lots[] = { "100000", "2147483648", "9223372036854775807", "0", "-1", "abc", "" };
	char name[24];

	snprintf(name, sizeof(name), "%.*s", (int)n, t);
	if (g->more && g->more(g, c, name))
		return;
	if (add_time(g, c, name) || add_waiting(g, c, name))
		return;
	if (!strcmp(name, "key"))
		gen_add(g, c, make_key(g));
	else if (!strcmp(name, "hkey"))
		gen_add(g, c, make_hash_key(g));
	else if (!strcmp(name, "skey"))
		gen_add(g, c, make_set_key(g));
	else if (!strcmp(name, "skeys"))
		add_many(g, c, make_set_key, NULL);
	else if (!strcmp(name, "nskeys")) /* with their number in front */
		add_counted(g, c, make_set_key);
	else if (!strcmp(name, "lkey"))
		gen_add(g, c, make_list_key(g));
	else if (!strcmp(name, "nlkeys"))
		add_counted(g, c, make_list_key);
	else if (!strcmp(name, "zkey"))
		gen_add(g, c, make_zset_key(g));
	else if (!strcmp(name, "ykey"))
		gen_add(g, c, make_y_key(g));
	else if (!strcmp(name, "ystr"))
		gen_add(g, c, word_text("y3"));
	else if (!strcmp(name, "lexkey"))
		gen_add(g, c, make_lex_key(g));
	else if (!strcmp(name, "nzkeys"))
		add_counted(g, c, make_zset_key);
	else if (!strcmp(name, "nzskeys"))
		add_counted(g, c, make_mixed_key);
	else if (!strcmp(name, "zmem"))
		gen_add(g, c, make_zset_member(g));
	else if (!strcmp(name, "zmems"))
		add_many(g, c, make_zset_member, NULL);
	else if (!strcmp(name, "szs"))
		add_many(g, c, make_score, make_zset_member);
	else if (!strcmp(name, "bulkszs"))
		add_many(g, c, make_bulk_score, make_bulk_zset_member);
	else if (!strcmp(name, "zeros"))
		add_many(g, c, make_zero, make_zset_member);
	else if (!strcmp(name, "bulkzeros"))
		add_many(g, c, make_zero, make_bulk_zset_member);
	else if (!strcmp(name, "score"))
		gen_add(g, c, make_score(g));
	else if (!strcmp(name, "bound"))
		gen_add(g, c, make_bound(g));
	else if (!strcmp(name, "lex"))
		gen_add(g, c, make_lex(g));
	else if (!strcmp(name, "minmax"))
		gen_add(g, c, PICK(g, minmax));
	else if (!strcmp(name, "el"))
		gen_add(g, c, make_element(g));
	else if (!strcmp(name, "els"))
		add_many(g, c, make_element, NULL);
	else if (!strcmp(name, "bulkels"))
		add_many(g, c, make_bulk_element, NULL);
	else if (!strcmp(name, "index"))
		gen_add(g, c, make_index(g));
	else if (!strcmp(name, "end"))
		gen_add(g, c, PICK(g, ends));
	else if (!strcmp(name, "side"))
		gen_add(g, c, PICK(g, sides));
	else if (isdigit((unsigned char)*t) || *t == '-')
		add_literal(g, c, t, n);
	else if (!strcmp(name, "mem"))
		gen_add(g, c, make_member(g));
	else if (!strcmp(name, "mems"))
		add_many(g, c, make_member, NULL);
	else if (!strcmp(name, "bulkmems"))
		add_many(g, c, make_bulk_member, NULL);
	else if (!strcmp(name, "lots"))
		gen_add(g, c, PICK(g, lots));
	else if (!strcmp(name, "val"))
		gen_add(g, c, make_value(g));
	else if (!strcmp(name, "int"))
		gen_add(g, c, make_int(g));
	else if (!strcmp(name, "flt"))
		gen_add(g, c, make_float(g));
	else if (!strcmp(name, "fld"))
		gen_add(g, c, make_field(g));
	else if (!strcmp(name, "pat"))
		gen_add(g, c, make_pattern(g));
	else if (!strcmp(name, "off"))
		gen_add(g, c, rng_below(g, 4) ? gen_format(g, "%lld", rng_below(g, rng_below(g, 20) ? 80 : 6000)) :
		    make_int(g));
	else if (!strcmp(name, "cursor"))
		gen_add(g, c, PICK(g, cursors));
	else if (!strcmp(name, "keys"))
		add_many(g, c, make_key, NULL);
	else if (!strcmp(name, "flds"))
		add_many(g, c, make_field, NULL);
	else if (!strcmp(name, "kvs"))
		add_many(g, c, make_key, make_value);
	else if (!strcmp(name, "fvs"))
		add_many(g, c, make_field, make_field_value);
	else if (!strcmp(name, "bulk"))
		add_many(g, c, make_bulk_field, make_field_value);
	else if (!strcmp(name, "fval"))
		gen_add(g, c, make_field_value(g));
	else if (!add_bits(g, c, name) && !gen_geo(g, c, name) && !gen_dump(g, c, name) &&
	    !gen_stream(g, c, name) && !gen_script(g, c, name))
		abort();
}

void gen_line(struct gen *g, struct cmd *c, enum rule rule, const char *t)
{
	*c = (struct cmd){ .rule = rule };
	while (*t) {
		size_t n = strcspn(t, " ");

		if (isupper((unsigned char)*t)) {
			add_literal(g, c, t, n);
		} else if (*t == '?') { /* "?kind": options */
			char kind[16];

			snprintf(kind, sizeof(kind), "%.*s", (int)n - 1, t + 1);
			if (!strcmp(kind, "sort"))
				add_sort(g, c);
			else
				add_options(g, c, kind);
		} else {
			add_made(g, c, t, n);
		}
		t += n;
		t += *t == ' ';
	}
}

/* One argument too few or too many, or another one.  Not where it could give a member of a y key another score. */
static void damage(struct gen *g, struct cmd *c)
{
	uint32_t r = rng_below(g, 100);

	if (c->argc > 1 && c->argv[1].n == 2 && c->argv[1].p[0] == 'y')
		return;
	if (word_is(c->argv[0], "EVAL") || word_is(c->argv[0], "EVAL_RO"))
		return; /* it could name a key that it does not declare */
	if (r < 2 && c->argc > 1)
		c->argc--;
	else if (r < 4)
		gen_add(g, c, make_value(g));
	else if (r < 6 && c->argc > 1) {
		struct word w = rng_below(g, 2) ? make_int(g) : make_value(g);

		if (w.n || !g->isolated)
			c->argv[1 + rng_below(g, c->argc - 1)] = w;
	}
}

/* ---- what two correct servers may answer differently --------------------------------------------------------------- */
static int used_before(struct gen *g, int64_t ms)
{
	uint32_t bit = (uint32_t)((uint64_t)ms / 20000 % (64 * 256));
	int was = g->used[bit / 64] >> (bit % 64) & 1;

	g->used[bit / 64] |= UINT64_C(1) << (bit % 64);
	return was;
}

static int has_option(const struct cmd *c, const char *word)
{
	uint32_t i;

	for (i = 3; i < c->argc; i++)
		if (word_is(c->argv[i], word))
			return 1;
	return 0;
}

/* A life of v units from now: 1 if it may stay. */
static int tame_life(struct gen *g, struct cmd *c, struct word w, int ms)
{
	int64_t v;

	if (word_int(w, &v) || v <= 0 || (!ms && v > INT64_MAX / 1000))
		return 1;
	v *= ms ? 1 : 1000;
	if (v <= 5 && g->brief) {
		c->wait_ms = 15;
		return 1;
	}
	if (v < 200000)
		return 0;
	return !used_before(g, v) || !(has_option(c, "GT") || has_option(c, "LT"));
}

/* An absolute time: not near now. */
static int tame_at(const struct gen *g, struct word w, int ms)
{
	int64_t v, now = (int64_t)g->now_ms;

	if (word_int(w, &v) || v <= 0 || (!ms && v > INT64_MAX / 1000))
		return 1;
	v *= ms ? 1 : 1000;
	return v < now - 20000 || v > now + 50000000;
}

static int tame_options(struct gen *g, struct cmd *c, uint32_t from)
{
	uint32_t i;

	for (i = from; i + 1 < c->argc; i++) {
		struct word w = c->argv[i], v = c->argv[i + 1];

		if ((word_is(w, "EX") && !tame_life(g, c, v, 0)) ||
		    (word_is(w, "PX") && !tame_life(g, c, v, 1)) ||
		    (word_is(w, "EXAT") && !tame_at(g, v, 0)) ||
		    (word_is(w, "PXAT") && !tame_at(g, v, 1)))
			return 0;
	}
	return 1;
}

/* A cursor is the beginning, or wrong: others mean something to one server only. */
static int tame_cursor(struct word w)
{
	char text[32], *end;

	if (w.n >= sizeof(text))
		return 1;
	memcpy(text, w.p, w.n);
	text[w.n] = '\0';
	errno = 0;
	return strtoull(text, &end, 10) == 0 || *end || errno == ERANGE;
}

/* Not hundreds of megabytes: offsets are small, or too large. */
static int tame_bits(const struct cmd *c)
{
	uint32_t i, type = word_is(c->argv[0], "SETBIT") ? 1 : 0;
	int64_t v;

	for (i = 2; i < c->argc; i++) {
		struct word w = c->argv[i];
		int fields = w.n && w.p[0] == '#';

		if (i > 2 && !type && (!c->argv[i - 1].n || !strchr("iuIU", c->argv[i - 1].p[0])))
			continue;
		w.p += fields;
		w.n -= (uint32_t)fields;
		if (word_int(w, &v) == 0 && v >= (fields ? 10000 : 100000) && (fields || v < INT64_C(4294967296)))
			return 0;
	}
	return 1;
}

/* Equal weights stay in the order of a table, or of the machine's qsort(). */
static int tame_sort(struct cmd *c)
{
	int alpha = 0, by = 0, stay = 0, limit = 0, store = 0, set = c->argv[1].n && c->argv[1].p[0] == 'q';
	uint32_t i;

	for (i = 2; i < c->argc; i++) {
		alpha |= word_is(c->argv[i], "ALPHA");
		limit |= word_is(c->argv[i], "LIMIT");
		store |= word_is(c->argv[i], "STORE");
		if (word_is(c->argv[i], "BY") && i + 1 < c->argc) {
			by = 1;
			stay |= !memchr(c->argv[i + 1].p, '*', c->argv[i + 1].n);
		}
	}
	if ((stay && !(set && !store)) || !by || (!alpha && !stay))
		return 1;
	c->rule = limit ? SHAPE : SORTED;
	return !store;
}

static int is_expire(struct word name)
{
	return word_is(name, "EXPIRE") || word_is(name, "PEXPIRE") || word_is(name, "EXPIREAT") || word_is(name, "PEXPIREAT");
}

/* 1: its replies can be compared. */
static int tame(struct gen *g, struct cmd *c)
{
	struct word name = c->argv[0];
	uint32_t i;
	int64_t v;

	for (i = 3; i < c->argc && is_expire(name); i++)
		if (c->argv[i].n > 400)
			return 0; /* the error text repeats it, and the agent's are of bounded length */
	if (waits_long(c))
		return 0;
	if (c->argc >= 2 && word_is(name, "SCAN"))
		return tame_cursor(c->argv[1]) && !(g->isolated && c->argv[1].n > 20); /* the agent's own are as long */
	if (name.p[0] == 'X' || name.p[0] == 'x')
		return tame_stream(c);
	if (c->argc < 3)
		return 1;
	if (word_is(name, "HSCAN") || word_is(name, "SSCAN") || word_is(name, "ZSCAN"))
		return tame_cursor(c->argv[2]);
	if (word_is(name, "SET") || word_is(name, "GETEX"))
		return tame_options(g, c, word_is(name, "SET") ? 3 : 2);
	if (word_is(name, "RESTORE"))
		return has_option(c, "ABSTTL") ? tame_at(g, c->argv[2], 1) : tame_life(g, c, c->argv[2], 1);
	if (word_is(name, "EVAL")) /* EVAL script 1 key SET value options */
		return tame_options(g, c, 5);
	if (word_is(name, "SETEX") || word_is(name, "EXPIRE"))
		return tame_life(g, c, c->argv[2], 0);
	if (word_is(name, "PSETEX") || word_is(name, "PEXPIRE"))
		return tame_life(g, c, c->argv[2], 1);
	if (word_is(name, "EXPIREAT") || word_is(name, "PEXPIREAT"))
		return tame_at(g, c->argv[2], word_is(name, "PEXPIREAT"));
	if (word_is(name, "SORT") || word_is(name, "SORT_RO"))
		return tame_sort(c);
	if (word_is(name, "SETBIT") || word_is(name, "BITFIELD"))
		return tame_bits(c);
	if (word_int(c->argv[2], &v))
		return 1;
	if (word_is(name, "SETRANGE"))
		return v < 100000 || v >= 536870912;
	if (word_is(name, "HRANDFIELD") || word_is(name, "SRANDMEMBER") || word_is(name, "ZRANDMEMBER")) /* Redis would try to make a reply of that size */
		return v > -300 || v == INT64_MIN || (v == -INT64_MAX && c->argc == 4);
	return 1;
}

/* May it leave a key behind whose time is over (soon), which DBSIZE of one server counts until it is touched
 * and the other's does not? */
static int leaves_dead(const struct cmd *c)
{
	int scripted = c->argc > 4 && word_is(c->argv[0], "EVAL") && word_is(c->argv[4], "SET");

	return c->wait_ms || (((c->argc >= 3 && word_is(c->argv[0], "SET")) || scripted) &&
	    (has_option(c, "EXAT") || has_option(c, "PXAT")));
}

static int takes_all(const struct cmd *c)
{
	int64_t v;

	return c->argc == 3 && (word_int(c->argv[2], &v) || v >= 100000);
}

unsigned gen_commands(struct gen *g, struct cmd out[2])
{
	uint32_t at, i, total = 0;

	for (i = 0; i < LINES; i++)
		total += lines[i].weight;
	do {
		const char *only = !g->streams ? "" : rng_below(g, 5) < 3 ? "XADD" : rng_below(g, 8) ? "X" : "";

		do {
			at = rng_below(g, total);
			for (i = 0; at >= lines[i].weight; i++)
				at -= lines[i].weight;
		} while (strncmp(lines[i].text, only, strlen(only)));
		gen_line(g, &out[0], lines[i].rule, lines[i].text);
		damage(g, &out[0]);
	} while (!tame(g, &out[0]));
	/* Redis' SORT takes an ERANGE that an earlier command left behind for one of its own; this clears it. */
	if (word_is(out[0].argv[0], "SORT") || word_is(out[0].argv[0], "SORT_RO")) {
		out[1] = out[0];
		out[0] = (struct cmd){ .rule = EXACT };
		gen_add(g, &out[0], word_text("HSCAN"));
		gen_add(g, &out[0], word_text("no such key"));
		gen_add(g, &out[0], word_text("0"));
		return 2;
	}
	if (word_is(out[0].argv[0], "SPOP") && out[0].argc > 1)
		out[0].rule = takes_all(&out[0]) ? SORTED : SHAPE;
	else if (!leaves_dead(&out[0]))
		return 1;
	/* What SPOP took is chance: the rest goes too. */
	out[1] = (struct cmd){ .rule = EXACT };
	gen_add(g, &out[1], word_text(word_is(out[0].argv[0], "SPOP") ? "DEL" : "EXISTS"));
	gen_add(g, &out[1], out[0].argv[word_is(out[0].argv[0], "EVAL") ? 3 : 1]);
	return 2;
}
