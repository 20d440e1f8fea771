/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits behind a pipelined request: its keys are told to a backend that can use the time (expect in
 * plugin.h).  Nothing depends on it, so requests of an unusual form just end the look.
 */
#include <config.h>
#include <string.h>
#include "server/server.h"

#define AHEAD 16u      /* requests at once */
#define NAME_MAX 64u   /* of key and prefix: a longer one is passed over */
#define WORDS_MAX 8u

/* A line "T<number>\r\n" at *p, the number below 1000: the number, behind the line; or -1. */
static inline int line(const uint8_t **p, const uint8_t *end, uint8_t type)
{
	const uint8_t *s = *p;
	int v = 0, digits = 0;

	if (end - s < 6 || s[0] != type)
		return -1;
	for (s++; digits < 3 && (uint8_t)(*s - '0') < 10; s++, digits++)
		v = v * 10 + (*s - '0');
	if (!digits || s[0] != '\r' || s[1] != '\n')
		return -1;
	*p = s + 2;
	return v;
}

/* The second word of the request at *p, which then is behind it.  False: it is incomplete, or of another form. */
static inline bool key_of(const uint8_t **p, const uint8_t *end, purser_bytes *key)
{
	const uint8_t *s = *p;
	int words = line(&s, end, '*'), i;

	if (words < 1 || words > (int)WORDS_MAX)
		return false;
	key->n = 0;
	for (i = 0; i < words; i++) {
		int n = line(&s, end, '$');

		if (n < 0 || end - s < n + 2)
			return false;
		if (i == 1)
			*key = (purser_bytes){ s, (size_t)n };
		s += n + 2;
	}
	*p = s;
	return true;
}

size_t conn_look_ahead(struct conn *c, const uint8_t *p, size_t n)
{
	const struct client *cl = &c->cl;
	struct purser_ctx *x = cl->project ? cl->w->ctx[cl->project->instance] : NULL;
	const uint8_t *at = p, *end = p + n;
	uint8_t mem[AHEAD][NAME_MAX];
	purser_bytes names[AHEAD], key;
	uint32_t count = 0, looked = 0, prefix;

	if (!x || !x->p->expect || cl->tx)
		return n;
	prefix = cl->project->prefix_len;
	for (; looked < AHEAD && key_of(&at, end, &key); looked++) {
		if (!key.n || prefix + key.n > NAME_MAX)
			continue;
		memcpy(mem[count], cl->project->prefix, prefix);
		memcpy(mem[count] + prefix, key.p, key.n);
		names[count] = (purser_bytes){ mem[count], prefix + key.n };
		count++;
	}
	if (count)
		x->p->expect(x->cs, cl->db, names, count);
	return looked == AHEAD ? (size_t)(at - p) : n;
}
