/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers, memory of an episode, words.
 */
#include <config.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"

/* ---- random numbers, memory -------------------------------------------------------------------------- */
uint64_t rng_next(struct gen *g)
{
	uint64_t z = g->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t rng_below(struct gen *g, uint32_t n) { return (uint32_t)((rng_next(g) >> 32) * n >> 32); }

struct chunk { struct chunk *next; size_t used, cap; _Alignas(16) uint8_t bytes[]; };

void *arena_get(struct arena *a, size_t n)
{
	n = (n + 15) & ~(size_t)15;
	if (!a->first || a->first->used + n > a->first->cap) {
		size_t cap = n > 65536 ? n : 65536;
		struct chunk *c = malloc(sizeof(*c) + cap);

		if (!c)
			exit(2);
		*c = (struct chunk){ a->first, 0, cap };
		a->first = c;
	}
	a->first->used += n;
	return a->first->bytes + a->first->used - n;
}

void arena_free(struct arena *a)
{
	while (a->first) {
		struct chunk *next = a->first->next;

		free(a->first);
		a->first = next;
	}
}

/* ---- words ---------------------------------------------------------------------------------------------- */
struct word word_text(const char *s) { return (struct word){ (const uint8_t *)s, (uint32_t)strlen(s) }; }

int word_is(struct word w, const char *upper)
{
	uint32_t i;

	for (i = 0; i < w.n && upper[i]; i++)
		if (toupper(w.p[i]) != upper[i])
			return 0;
	return i == w.n && !upper[i];
}

int word_int(struct word w, int64_t *out)
{
	char text[24], *end;

	if (w.n == 0 || w.n > 20 || isspace(w.p[0]) || w.p[0] == '+')
		return -1;
	memcpy(text, w.p, w.n);
	text[w.n] = '\0';
	*out = strtoll(text, &end, 10);
	return *end || end != text + w.n ? -1 : 0;
}

/* XREAD and XREADGROUP: behind any BLOCK. */
static int stream_waits_long(const struct cmd *c)
{
	int64_t ms;
	uint32_t i;

	for (i = 1; i + 1 < c->argc; i++)
		if (word_is(c->argv[i], "BLOCK") && word_int(c->argv[i + 1], &ms) == 0 && (ms == 0 || ms > 20))
			return 1;
	return 0;
}

/* May it wait for longer than a moment?  Only a time that is refused or short may be sent. */
int waits_long(const struct cmd *c)
{
	static const char *const at_end[] = { "BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "WAIT" };
	uint32_t arg = 0, i;
	char text[64], *end;
	double v, moment;

	for (i = 0; i < sizeof(at_end) / sizeof(*at_end); i++)
		if (word_is(c->argv[0], at_end[i]))
			arg = c->argc - 1;
	if (word_is(c->argv[0], "XREAD") || word_is(c->argv[0], "XREADGROUP"))
		return stream_waits_long(c);
	if (word_is(c->argv[0], "BLMPOP") || word_is(c->argv[0], "BZMPOP"))
		arg = 1;
	if (!arg || arg >= c->argc || c->argv[arg].n >= sizeof(text))
		return 0;
	memcpy(text, c->argv[arg].p, c->argv[arg].n);
	text[c->argv[arg].n] = '\0';
	v = strtod(text, &end);
	if (end == text || end != text + c->argv[arg].n)
		return 0; /* it is no number */
	moment = word_is(c->argv[0], "WAIT") ? 20 : 0.02;
	return v > -0.001 && v < 1e16 && (v > moment || v <= 0);
}
