/* SPDX-License-Identifier: Apache-2.0
 *
 * Cursors of SCAN: there and back in every size, good for one project, database and secret alone; and the
 * vectors of SipHash's authors.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "access/cursor.h"
#include "base/siphash.h"

static void published_vectors(void **state)
{
	/* Appendix A of the paper, and the first ones of vectors.h of the reference implementation */
	static const struct { size_t n; uint64_t want; } v[] = {
		{ 0, UINT64_C(0x726fdb47dd0e0e31) }, { 1, UINT64_C(0x74f839c593dc67fd) },
		{ 7, UINT64_C(0xab0200f58b01d137) }, { 8, UINT64_C(0x93f5f5799a932462) },
		{ 15, UINT64_C(0xa129ca6149be45e5) },
	};
	static const uint64_t key[2] = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };
	uint8_t in[16];

	(void)state;
	for (unsigned i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof v / sizeof *v; i++)
		assert_int_equal(siphash(key, in, v[i].n), v[i].want);
}

static const uint64_t secret[2] = { 1, 2 }, other_secret[2] = { 1, 3 };

static enum cursor_kind open_text(const struct cursor_key *k, const char *text, size_t n, uint64_t *out)
{
	return cursor_open(k, (purser_bytes){ (const uint8_t *)text, n }, out);
}

static uint64_t rng = 88172645463325252u;

static uint64_t next(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	return rng ^= rng << 17;
}

static void there_and_back(void **state)
{
	struct cursor_key k;
	uint64_t got;
	char text[CURSOR_TEXT];

	(void)state;
	cursor_bind(&k, secret, "main", "shop", 0);
	assert_int_equal(cursor_seal(&k, 0, text), 1);
	assert_int_equal(text[0], '0');
	assert_int_equal(open_text(&k, "0", 1, &got), CURSOR_GOOD);
	assert_int_equal(got, 0);
	assert_int_equal(open_text(&k, "000", 3, &got), CURSOR_GOOD);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t c = i < 64 ? UINT64_C(1) << i : i < 128 ? (UINT64_C(2) << (i - 64)) - 1 : next() >> (i & 63);
		size_t n;
		char *end;

		if (!c)
			continue;
		n = cursor_seal(&k, c, text);
		assert_true(n > 0 && n < CURSOR_TEXT && text[0] != '0');
		text[n] = '\0';
		if (c < UINT64_C(1) << 36) /* a double has it exactly */
			assert_true(strtoull(text, &end, 10) < UINT64_C(1) << 52 && !*end);
		else if (c < UINT64_C(1) << 46)
			assert_true(strtoull(text, &end, 10) < UINT64_C(1) << 62 && !*end);
		assert_int_equal(open_text(&k, text, n, &got), CURSOR_GOOD);
		assert_int_equal(got, c);
	}
}

/* How many of n cursors that from made open for to. */
static unsigned opened(const struct cursor_key *from, const struct cursor_key *to, unsigned n, unsigned shift)
{
	unsigned yes = 0;
	uint64_t got;

	for (unsigned i = 0; i < n; i++) {
		char text[CURSOR_TEXT];
		size_t len = cursor_seal(from, (next() >> shift) + 1, text);

		yes += open_text(to, text, len, &got) == CURSOR_GOOD;
	}
	return yes;
}

static void nobody_elses(void **state)
{
	struct cursor_key k, v[4];

	(void)state;
	cursor_bind(&k, secret, "main", "shop", 0);
	cursor_bind(&v[0], secret, "main", "shop", 1);
	cursor_bind(&v[1], secret, "main", "blog", 0);
	cursor_bind(&v[2], secret, "mains", "hop", 0);
	cursor_bind(&v[3], other_secret, "main", "shop", 0);
	/* 16 bits must be right: of 100,000 one or two are by chance, of 32 bits none */
	for (unsigned i = 0; i < 4; i++) {
		assert_true(opened(&k, &v[i], 100000, 40) < 20);
		assert_true(opened(&k, &v[i], 100000, 20) < 20);
		assert_int_equal(opened(&k, &v[i], 10000, 1), 0);
	}
	assert_int_equal(opened(&k, &k, 10000, 40), 10000);
}

static void not_a_cursor(void **state)
{
	static const char *const foreign[] = { "1", "17", "4503599627370495", "9007199254740993",
		"18446744073709551615", "79228162514264337593543950335", "79228162514264337593543950336",
		"9999999999999999999999999999999999999999" };
	static const char *const nonsense[] = { "", " 1", "-1", "+1", "1 ", "x", "1e3", "0x10" };
	struct cursor_key k;
	uint64_t got;

	(void)state;
	cursor_bind(&k, secret, "main", "shop", 0);
	for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
		assert_int_equal(open_text(&k, foreign[i], strlen(foreign[i]), &got), CURSOR_FOREIGN);
	for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
		assert_int_equal(open_text(&k, nonsense[i], strlen(nonsense[i]), &got), CURSOR_NONSENSE);
}

static void numbers(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(cursor_number((purser_bytes){ (const uint8_t *)"18446744073709551615", 20 }, &v), 0);
	assert_int_equal(v, UINT64_MAX);
	assert_int_equal(cursor_number((purser_bytes){ (const uint8_t *)"18446744073709551616", 20 }, &v), -1);
	assert_int_equal(cursor_number((purser_bytes){ (const uint8_t *)"", 0 }, &v), -1);
	assert_int_equal(cursor_number((purser_bytes){ (const uint8_t *)"1x", 2 }, &v), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(nobody_elses),
		cmocka_unit_test(not_a_cursor),
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
