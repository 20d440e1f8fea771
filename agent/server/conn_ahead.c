/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits behind a pipelined request: its keys are told to a backend that can use the time (expect in
 * plugin.h).  Nothing depends on it, so requests of an unusual form just end the look.
 */
#include <config.h>
#include <string.h>
#include <time.h>
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

/* Names that are to be told together. */
struct told {
	struct purser_ctx *x;
	uint32_t db, n;
	purser_bytes names[AHEAD];
	uint8_t mem[AHEAD][NAME_MAX];
};

static void tell(struct told *t)
{
	if (t->n)
		t->x->p->expect(t->x->cs, t->db, t->names, t->n);
	t->n = 0;
}

/* Who is served by a backend that wants to know: its context, or NULL. */
static inline struct purser_ctx *listener(const struct client *cl)
{
	struct purser_ctx *x = cl->project ? cl->w->ctx[cl->project->instance] : NULL;

	return x && x->p->expect && !cl->tx ? x : NULL;
}

static inline void add(struct told *t, const struct client *cl, purser_bytes key)
{
	uint32_t prefix = cl->project->prefix_len;

	if (!key.n || prefix + key.n > NAME_MAX)
		return;
	memcpy(t->mem[t->n], cl->project->prefix, prefix);
	memcpy(t->mem[t->n] + prefix, key.p, key.n);
	t->names[t->n] = (purser_bytes){ t->mem[t->n], prefix + key.n };
	t->n++;
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void conn_looked(struct conn *c)
{
	look_end(&c->sv->look, clock_ns(), c->cl.commands);
}

size_t conn_look_ahead(struct conn *c, const uint8_t *p, size_t n)
{
	const uint8_t *at = p, *end = p + n;
	purser_bytes key;
	struct look *k = &c->sv->look;
	uint32_t looked;
	struct told t;

	t.x = listener(&c->cl);
	if (!t.x)
		return n;
	if (!k->timing && look_is_timed(k))
		look_time(k, clock_ns(), c->cl.commands);
	if (!look_pays(k))
		return n;
	t.db = c->cl.db;
	t.n = 0;
	for (looked = 0; looked < AHEAD && key_of(&at, end, &key); looked++)
		add(&t, &c->cl, key);
	tell(&t);
	return looked == AHEAD ? (size_t)(at - p) : n;
}

void conn_look_ahead_all(const struct read_in *v, uint32_t n)
{
	purser_bytes key;
	struct told t;

	t.n = 0;
	t.x = NULL;
	t.db = 0;
	for (; n; n--, v++) {
		const struct client *cl = &v->c->cl;
		struct purser_ctx *x = v->c->proto == CONN_RESP ? listener(cl) : NULL;
		const uint8_t *at = v->p;

		if (!x || !key_of(&at, at + v->n, &key))
			continue;
		if (t.n == AHEAD || x != t.x || cl->db != t.db)
			tell(&t);
		t.x = x;
		t.db = cl->db;
		add(&t, cl, key);
	}
	tell(&t);
}
