/* SPDX-License-Identifier: Apache-2.0
 *
 * A Feistel network over the number and a few bits that must be what they are: who has not the key cannot
 * make one that opens, but by luck.  Three sizes, told apart by their ranges; a result outside its own range
 * goes through once more, which is a permutation of the range again.
 */
#include <config.h>
#include <stdbool.h>
#include <string.h>
#include "access/cursor.h"
#include "base/siphash.h"

__extension__ typedef unsigned __int128 wide;

#define ROUNDS 10u

struct form {
	unsigned half;          /* bits of one half */
	unsigned room;          /* bits for the store's cursor */
	unsigned mark;          /* bit that is set; 0: none */
	unsigned from;          /* the range: [2^from, 2^(2 * half)); 0: [1, ... */
};
static const struct form forms[] = {
	{ 26, 36, 0, 0 },       /* below 2^52: exact as a double, too */
	{ 31, 46, 61, 52 },     /* below 2^62: a signed integer of 64 bits */
	{ 48, 64, 95, 62 },
};
#define FORMS (sizeof forms / sizeof *forms)

void cursor_bind(struct cursor_key *k, const uint64_t secret[2], const char *instance, const char *project,
    uint32_t db)
{
	uint8_t text[2 + 128 + 128 + 4];
	size_t a = strnlen(instance, 128), b = strnlen(project, 128), n = 1;

	memcpy(text + n, instance, a);
	n += a;
	text[n++] = '\0';
	memcpy(text + n, project, b);
	n += b;
	memcpy(text + n, &db, sizeof db);
	n += sizeof db;
	for (uint8_t i = 0; i < 2; i++) {
		text[0] = i;
		k->k[i] = siphash(secret, text, n);
	}
}

static uint64_t mix(const struct cursor_key *k, unsigned form, unsigned round, uint64_t half)
{
	const uint64_t in[2] = { half, (uint64_t)form << 8 | round };

	return siphash(k->k, in, sizeof in) & ((UINT64_C(1) << forms[form].half) - 1);
}

static wide turn(const struct cursor_key *k, unsigned form, wide v, bool back)
{
	unsigned h = forms[form].half;
	uint64_t l = (uint64_t)(v >> h), r = (uint64_t)v & ((UINT64_C(1) << h) - 1), t;

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (back) {
			t = l;
			l = r ^ mix(k, form, ROUNDS - 1 - i, l);
			r = t;
		} else {
			t = r;
			r = l ^ mix(k, form, i, r);
			l = t;
		}
	}
	return (wide)l << h | r;
}

static bool within(unsigned form, wide v)
{
	return v >= (wide)1 << forms[form].from;
}

static wide permute(const struct cursor_key *k, unsigned form, wide v, bool back)
{
	do
		v = turn(k, form, v, back);
	while (!within(form, v));
	return v;
}

static size_t put_decimal(char *dst, wide v)
{
	char text[CURSOR_TEXT];
	size_t n = 0, i;

	do
		text[n++] = (char)('0' + (unsigned)(v % 10));
	while ((v /= 10));
	for (i = 0; i < n; i++)
		dst[i] = text[n - 1 - i];
	return n;
}

size_t cursor_seal(const struct cursor_key *k, uint64_t store, char dst[CURSOR_TEXT])
{
	unsigned f = 0;
	wide v = store;

	if (!store)
		return put_decimal(dst, 0);
	while (forms[f].room < 64 && store >> forms[f].room)
		f++;
	if (forms[f].mark)
		v |= (wide)1 << forms[f].mark;
	return put_decimal(dst, permute(k, f, v, false));
}

enum cursor_kind cursor_open(const struct cursor_key *k, purser_bytes text, uint64_t *store)
{
	wide v = 0, rest;
	unsigned f = 0;

	if (!text.n)
		return CURSOR_NONSENSE;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] < '0' || text.p[i] > '9')
			return CURSOR_NONSENSE;
	if (text.n >= CURSOR_TEXT)
		return CURSOR_FOREIGN;
	for (size_t i = 0; i < text.n; i++)
		v = v * 10 + (unsigned)(text.p[i] - '0');
	*store = 0;
	if (!v)
		return CURSOR_GOOD;
	while (f < FORMS && v >> (2 * forms[f].half))
		f++;
	if (f == FORMS)
		return CURSOR_FOREIGN;
	v = permute(k, f, v, true);
	rest = v >> (forms[f].room);
	*store = (uint64_t)(v & (((wide)1 << forms[f].room) - 1));
	if (!*store || rest != (forms[f].mark ? (wide)1 << (forms[f].mark - forms[f].room) : 0))
		return CURSOR_FOREIGN;
	return CURSOR_GOOD;
}

int cursor_number(purser_bytes text, uint64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < text.n; i++) {
		unsigned d = (unsigned)text.p[i] - '0';

		if (d > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
			return -1;
	}
	*out = v;
	return text.n ? 0 : -1;
}
