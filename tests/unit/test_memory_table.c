/* SPDX-License-Identifier: Apache-2.0
 *
 * The table, the glob and the numbers of the memory plugin, each against a model.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <purser/glob.h>
#include "cmd.h"
#include "memory_host.h"
#include "number.h"
#include "table.h"

static uint64_t seed;

static uint64_t next(void)
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ z >> 27;
}

struct fixture { struct mh m; struct mh_ctx x; struct ctx *cx; };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mh_start(&f->m, (struct mh_settings){ 0, 0, 0 });
	mh_open(&f->x, &f->m);
	f->cx = f->x.cs;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mh_close(&f->x);
	mh_stop(&f->m);
	free(f);
	return 0;
}

/* ---- the table -------------------------------------------------------------------------------------- */
#define KEYS 20000

static uint64_t hash_of(struct ctx *cx, uint32_t k) { return hash_key(cx->st, &k, sizeof(k)); }

static struct item *item_of(struct ctx *cx, uint32_t k, int ttl)
{
	struct shape s = { ENC_EMB, ttl, 0 };
	struct item *it = item_new(cx, &s, &k, sizeof(k));

	assert_non_null(it);
	if (ttl)
		item_set_expiry(it, 1);
	return it;
}

static uint32_t key_of(uint64_t slot)
{
	uint32_t k;

	memcpy(&k, item_key(slot_item(slot)), sizeof(k));
	return k;
}

static void drop_item(struct ctx *cx, struct item *it) { item_free(cx, it); }

struct marks { uint8_t *seen; uint64_t n; };

static int mark(void *arg, uint64_t slot)
{
	struct marks *m = arg;

	m->seen[key_of(slot)]++;
	m->n++;
	return 0;
}

static void toggle(struct ctx *cx, struct table *t, uint8_t *there, uint32_t k)
{
	uint64_t hash = hash_of(cx, k), *slot = table_find(t, hash, &k, sizeof(k));

	assert_int_equal(slot != NULL, there[k] != 0);
	if (slot) {
		struct item *it = slot_item(*slot);

		table_remove(cx, t, hash, slot);
		item_free(cx, it);
		there[k] = 0;
	} else {
		there[k] = 1 + (next() & 1);
		assert_int_equal(table_add(cx, t, hash, item_of(cx, k, there[k] == 2)), 0);
	}
}

static void check_all(struct ctx *cx, struct table *t, const uint8_t *there)
{
	struct marks m = { calloc(KEYS, 1), 0 };
	uint64_t n = 0, ttls = 0;
	uint32_t k;

	table_each(t, mark, &m);
	for (k = 0; k < KEYS; k++) {
		assert_int_equal(m.seen[k], there[k] != 0);
		assert_int_equal(table_find(t, hash_of(cx, k), &k, sizeof(k)) != NULL, there[k] != 0);
		n += there[k] != 0;
		ttls += there[k] == 2;
	}
	assert_int_equal(table_n(t), n);
	assert_int_equal(table_ttls(t), ttls);
	assert_int_equal(m.n, n);
	free(m.seen);
}

/* Grows to many items, shrinks to none, several times; at the end nothing is accounted for. */
static void table_as_model(void **state)
{
	struct ctx *cx = ((struct fixture *)*state)->cx;
	int64_t before = store_used(cx->st);
	struct table *t = table_new(cx);
	uint8_t *there = calloc(KEYS, 1);
	unsigned round, i;
	uint32_t k;

	for (round = 0; round < 3; round++) {
		uint32_t range = round == 0 ? 50 : round == 1 ? 2000 : KEYS;

		for (i = 0; i < 3 * range; i++)
			toggle(cx, t, there, (uint32_t)(next() % range));
		check_all(cx, t, there);
		for (k = 0; k < range; k++)
			if (there[k])
				toggle(cx, t, there, k);
		check_all(cx, t, there);
		assert_int_equal(t->buckets, 0);
	}
	table_free_empty(cx, t);
	assert_int_equal(store_used(cx->st), before);
	free(there);
}

/* What is there from the first to the last step of an iteration is told, whatever comes and goes. */
static void scan_guarantee(void **state)
{
	struct ctx *cx = ((struct fixture *)*state)->cx;
	unsigned round;

	for (round = 0; round < 40; round++) {
		struct table *t = table_new(cx);
		uint8_t *there = calloc(KEYS, 1);
		struct marks m = { calloc(KEYS, 1), 0 };
		uint32_t stay = 200, range = round & 1 ? 6000 : 1000, k, cursor = 0, steps = 0;
		int64_t all = INT64_MAX;
		unsigned i;

		for (k = 0; k < stay; k++)
			toggle(cx, t, there, k);
		for (i = 0; i < range; i++)
			toggle(cx, t, there, stay + (uint32_t)(next() % range));
		do {
			unsigned change = (unsigned)(next() % (round < 20 ? 30 : 300));

			cursor = table_scan(t, cursor, mark, &m);
			/* phases that mostly add and phases that mostly remove */
			for (i = 0; i < change; i++) {
				k = stay + (uint32_t)(next() % range);
				if (!there[k] == (steps / 7 % 2 == 0) || next() % 8 == 0)
					toggle(cx, t, there, k);
			}
			assert_true(steps++ < 100000);
		} while (cursor);
		for (k = 0; k < stay; k++)
			assert_true(m.seen[k] >= 1);
		assert_true(table_reap(cx, t, &all, drop_item));
		table_free_empty(cx, t);
		free(there);
		free(m.seen);
	}
	assert_int_equal(store_used(cx->st), 0);
}

/* Without changes every element comes exactly once. */
static void scan_exact(void **state)
{
	struct ctx *cx = ((struct fixture *)*state)->cx;
	uint32_t sizes[] = { 1, 2, 5, 6, 7, 23, 100, 1000, 5555 }, i, k, cursor;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct table *t = table_new(cx);
		uint8_t *there = calloc(KEYS, 1);
		struct marks m = { calloc(KEYS, 1), 0 };
		int64_t all = INT64_MAX;

		for (k = 0; k < sizes[i]; k++)
			toggle(cx, t, there, k);
		cursor = 0;
		do
			cursor = table_scan(t, cursor, mark, &m);
		while (cursor);
		assert_int_equal(m.n, sizes[i]);
		for (k = 0; k < sizes[i]; k++)
			assert_int_equal(m.seen[k], 1);
		table_reap(cx, t, &all, drop_item);
		table_free_empty(cx, t);
		free(there);
		free(m.seen);
	}
}

/* Any element, about as often as any other. */
static void random_is_fair(void **state)
{
	struct ctx *cx = ((struct fixture *)*state)->cx;
	struct table *t = table_new(cx);
	uint8_t *there = calloc(KEYS, 1);
	uint32_t count[300] = { 0 }, k, i;
	int64_t all = INT64_MAX;

	for (k = 0; k < 300; k++)
		toggle(cx, t, there, k);
	for (i = 0; i < 300 * 400; i++)
		count[key_of(*table_random(cx, t))]++;
	for (k = 0; k < 300; k++)
		assert_in_range(count[k], 250, 600); /* 400 expected; 7.5 standard deviations */
	table_reap(cx, t, &all, drop_item);
	table_free_empty(cx, t);
	free(there);
}

/* A large one: mapped segments come and go with the pages accounted for. */
static void table_large(void **state)
{
	struct ctx *cx = ((struct fixture *)*state)->cx;
	struct table *t = table_new(cx);
	uint32_t k, n = 60000;
	int64_t full;

	for (k = 0; k < n; k++)
		assert_int_equal(table_add(cx, t, hash_of(cx, k), item_of(cx, k, 0)), 0);
	full = store_used(cx->st) - (int64_t)(n * chunk_size(sizeof(struct item) + sizeof(k)));
	assert_in_range(full / n, 10, 18); /* bytes of the table for an item */
	for (k = 0; k < n; k++) {
		uint64_t hash = hash_of(cx, k), *slot = table_find(t, hash, &k, sizeof(k));
		struct item *it;

		assert_non_null(slot);
		it = slot_item(*slot);
		table_remove(cx, t, hash, slot);
		item_free(cx, it);
	}
	table_free_empty(cx, t);
	assert_int_equal(store_used(cx->st), 0);
}

/* ---- SipHash-1-3 ---------------------------------------------------------------------------------------- */
static void siphash_vectors(void **state)
{
	/* key 00..0f, input 00..n-1: from the reference implementation with one and three rounds */
	static const struct { size_t n; uint64_t out; } v[] = {
		{ 0, UINT64_C(0xabac0158050fc4dc) }, { 1, UINT64_C(0xc9f49bf37d57ca93) },
		{ 7, UINT64_C(0xd3927d989bb11140) }, { 8, UINT64_C(0x369095118d299a8e) },
		{ 15, UINT64_C(0xd320d86d2a519956) }, { 63, UINT64_C(0x9d199062b7bbb3a8) },
	};
	struct sip_key key = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };
	uint8_t in[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	for (i = 0; i < sizeof(v) / sizeof(*v); i++)
		assert_int_equal(siphash13(&key, in, v[i].n), v[i].out);
}

/* ---- numbers ----------------------------------------------------------------------------------------------- */
static void integers(void **state)
{
	static const struct { const char *s; int ok; int64_t v; } t[] = {
		{ "0", 1, 0 }, { "-0", 0, 0 }, { "00", 0, 0 }, { "01", 0, 0 }, { "-1", 1, -1 }, { "-", 0, 0 },
		{ "", 0, 0 }, { "+1", 0, 0 }, { " 1", 0, 0 }, { "1 ", 0, 0 }, { "12a", 0, 0 },
		{ "9223372036854775807", 1, INT64_MAX }, { "9223372036854775808", 0, 0 },
		{ "-9223372036854775808", 1, INT64_MIN }, { "-9223372036854775809", 0, 0 },
		{ "18446744073709551616", 0, 0 }, { "99999999999999999999", 0, 0 }, { "-01", 0, 0 },
	};
	char text[INT_TEXT], want[32];
	int64_t v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		assert_int_equal(int_parse(t[i].s, strlen(t[i].s), &v) == 0, t[i].ok);
		if (t[i].ok)
			assert_int_equal(v, t[i].v);
	}
	for (i = 0; i < 20000; i++) {
		int64_t n = (int64_t)(next() >> (i % 64)) * (i & 1 ? -1 : 1);

		snprintf(want, sizeof(want), "%lld", (long long)n);
		assert_int_equal(int_format(n, text), strlen(want));
		assert_string_equal(text, want);
		assert_int_equal(int_length(n), strlen(want));
		assert_int_equal(int_parse(text, strlen(text), &v), 0);
		assert_true(v == n);
	}
}

static void floats(void **state)
{
	static const struct { const char *in, *out; } t[] = {
		{ "3.0e3", "3000" }, { "10.50", "10.5" }, { "0.1", "0.1" }, { "-0.0", "0" }, { "1e17", "100000000000000000" },
		{ "5.", "5" }, { ".5", "0.5" }, { "0x10", "16" }, { "1e-20", "0" }, { "-1e-20", "0" },
	};
	static const char *const bad[] = { "", " 1", "1 ", "abc", "nan", "1e5000", "1e-5000", "1.5e", "1\0" };
	char text[FLOAT_TEXT];
	long double v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		assert_int_equal(float_parse(t[i].in, strlen(t[i].in), &v), 0);
		float_format(v, text);
		assert_string_equal(text, t[i].out);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(float_parse(bad[i], i == 8 ? 2 : strlen(bad[i]), &v), -1);
	assert_int_equal(float_parse("inf", 3, &v), 0);
	assert_int_equal(float_parse("1e4932", 6, &v), 0);
	assert_int_equal(float_format(v, text), 4933);
}

/* ---- glob ---------------------------------------------------------------------------------------------------- */
static int glob(const char *p, const char *s) { return purser_glob(p, strlen(p), s, strlen(s)); }

static void globs(void **state)
{
	static const struct { const char *p, *s; int yes; } t[] = {
		{ "*", "abc", 1 }, { "*", "", 0 }, { "", "", 1 }, { "a*c", "abbbc", 1 }, { "a*c", "abbb", 0 },
		{ "a?c", "abc", 1 }, { "a?c", "ac", 0 }, { "[a-c]", "b", 1 }, { "[c-a]", "b", 1 },
		{ "[^a-c]", "b", 0 }, { "[^a-c]", "d", 1 }, { "[abc", "b", 1 }, { "[", "[", 0 }, { "[^", "x", 1 },
		{ "[\\]]", "]", 1 }, { "\\*", "*", 1 }, { "\\*", "a", 0 }, { "a\\", "a\\", 1 }, { "[a-]", "-", 0 }, { "[a-]", "]", 1 },
		{ "a**b", "ab", 1 }, { "a*b*c*d", "aXbYcZd", 1 }, { "[\x80-\xff]", "\x90", 1 },
		{ "[\x01-\xff]", "a", 0 }, { "[\x01-\xff]", "\x01", 1 }, { "[]a]", "a", 0 }, { "ab*", "ab", 1 },
	};
	char many[2000];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(*t); i++)
		if (glob(t[i].p, t[i].s) != t[i].yes)
			fail_msg("%s on %s: not %d", t[i].p, t[i].s, t[i].yes);
	/* neither deep nor quadratic patterns hold anything up */
	memset(many, 'a', sizeof(many));
	assert_false(purser_glob("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", 41, many, sizeof(many)));
	memset(many, '*', sizeof(many));
	for (i = 1; i < sizeof(many); i += 2)
		many[i] = '?';
	assert_int_equal(purser_glob(many, sizeof(many), many, 900), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(table_as_model, setup, teardown),
		cmocka_unit_test_setup_teardown(scan_guarantee, setup, teardown),
		cmocka_unit_test_setup_teardown(scan_exact, setup, teardown),
		cmocka_unit_test_setup_teardown(random_is_fair, setup, teardown),
		cmocka_unit_test_setup_teardown(table_large, setup, teardown),
		cmocka_unit_test(siphash_vectors),
		cmocka_unit_test(integers),
		cmocka_unit_test(floats),
		cmocka_unit_test(globs),
	};
	const char *given = getenv("PURSER_SEED");

	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("# PURSER_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
