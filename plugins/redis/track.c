/* SPDX-License-Identifier: Apache-2.0
 *
 * track: the server tells which keys below some prefixes have changed (CLIENT TRACKING ON BCAST), on one
 * RESP3 connection of its own.  What it told before is not known when tracking begins, and what it would
 * have told is not known when the connection is lost: then everything is said to have changed.
 *
 * A prefix that comes is added by turning tracking off and on with all of them, in one MULTI block; one
 * that goes stays until none is left, and what the server tells below it is of no use to anybody.
 */
#include "redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PING_NS NS_PER_S
#define PATIENCE 3                /* PINGs without any answer: the connection is taken for lost */
#define BATCH 64u                 /* keys that are handed over at once */

struct prefix {
	struct prefix *next;
	size_t n;
	uint8_t bytes[];
};

struct track {
	struct ctx *x;
	struct lane lane;             /* of its own: no call ever comes here */
	struct link *link;
	struct prefix *prefixes;
	unsigned owed;                /* replies; the last one of a block is EXEC's */
	unsigned silent;              /* PINGs since something came */
	uint64_t timer;               /* connect again, or PING */
	struct pile pile;
};

/* ---- out ------------------------------------------------------------------------------------------- */

static int put_words(struct track *t, unsigned n, const purser_bytes *words)
{
	struct out *out = &t->link->out;
	char head[40];
	size_t need = 40;

	for (unsigned i = 0; i < n; i++)
		need += words[i].n + 40;
	if (out_room(out, need))
		return -1;
	out_put(out, head, (size_t)snprintf(head, sizeof(head), "*%u\r\n", n));
	for (unsigned i = 0; i < n; i++) {
		out_put(out, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", words[i].n));
		if (words[i].n)
			out_put(out, words[i].p, words[i].n);
		out_put(out, "\r\n", 2);
	}
	t->owed++;
	return 0;
}

static purser_bytes word(const char *text)
{
	return (purser_bytes){ (const uint8_t *)text, strlen(text) };
}

/* Is p below another prefix, so that the server refuses to be told of it as well? */
static bool covered(const struct track *t, const struct prefix *p)
{
	for (const struct prefix *q = t->prefixes; q; q = q->next)
		if (q != p && q->n <= p->n && memcmp(q->bytes, p->bytes, q->n) == 0 && (q->n < p->n || q < p))
			return true;
	return false;
}

/* All prefixes, in one block.  -1: no memory. */
static int put_block(struct track *t)
{
	purser_bytes *words, off[] = { word("CLIENT"), word("TRACKING"), word("OFF") };
	purser_bytes one = word("MULTI"), last = word("EXEC");
	unsigned n = 4;
	int rc;

	for (const struct prefix *p = t->prefixes; p; p = p->next)
		n += 2;
	words = malloc(n * sizeof(*words));
	if (!words)
		return -1;
	words[0] = off[0];
	words[1] = off[1];
	words[2] = word("ON");
	words[3] = word("BCAST");
	n = 4;
	for (const struct prefix *p = t->prefixes; p; p = p->next)
		if (p->n && !covered(t, p)) { /* an empty one: everything */
			words[n++] = word("PREFIX");
			words[n++] = (purser_bytes){ p->bytes, p->n };
		}
	rc = put_words(t, 1, &one) || put_words(t, 3, off) || put_words(t, n, words) ||
	    put_words(t, 1, &last) ? -1 : 0;
	free(words);
	return rc;
}

static void track_tick(void *arg);

static void again(struct track *t, uint64_t delay)
{
	struct ctx *x = t->x;

	if (t->timer)
		x->h->untimer(x->x, t->timer);
	t->timer = x->h->timer(x->x, delay, track_tick, t);
	if (!t->timer && t->link->phase != LINK_CLOSED)
		link_lost(t->link, PURSER_E_NOMEM, "out of memory");
}

/* Once a second: is there still somebody at the other end?  Or: connect. */
static void track_tick(void *arg)
{
	struct track *t = arg;
	purser_bytes ping = word("PING");

	t->timer = 0;
	if (t->link->phase == LINK_CLOSED) {
		if (t->prefixes && !t->x->draining)
			link_open(t->link);
		return;
	}
	if (t->link->phase != LINK_UP)
		return;
	if (t->silent++ >= PATIENCE)
		link_lost(t->link, PURSER_E_IO, "it does not answer");
	else if (put_words(t, 1, &ping))
		link_lost(t->link, PURSER_E_NOMEM, "out of memory");
	else if (t->link->armed || link_flush(t->link) == 0)
		again(t, PING_NS);
}

/* What is asked now goes out at the turn's end. */
static void soon(struct track *t)
{
	if (put_block(t))
		link_lost(t->link, PURSER_E_NOMEM, "out of memory");
	else
		again(t, 0);
}

/* ---- in -------------------------------------------------------------------------------------------- */

static int invalid(struct track *t, const uint8_t *at, const uint8_t *end)
{
	purser_bytes keys[BATCH];
	int64_t n;
	size_t have = 0;

	if (at < end && *at == '_') {
		t->x->h->invalidated(t->x->x, NULL, 0);
		return 0;
	}
	if (push_number(&at, end, '*', &n))
		return -1;
	for (; n > 0; n--) {
		if (push_bulk(&at, end, &keys[have++]))
			return -1;
		if (have == BATCH || n == 1) {
			t->x->h->invalidated(t->x->x, keys, have);
			have = 0;
		}
	}
	return 0;
}

static int heard(struct link *l, const uint8_t *at, size_t n)
{
	static const char done[] = "*2\r\n+OK\r\n+OK\r\n";
	struct track *t = l->x->track;
	const uint8_t *end = at + n;
	purser_bytes what;
	int64_t two;

	t->silent = 0;
	if (*at == '>') {
		if (push_number(&at, end, '>', &two) || two < 1 || push_bulk(&at, end, &what))
			return -1;
		return what.n == 10 && memcmp(what.p, "invalidate", 10) == 0 ? invalid(t, at, end) : 0;
	}
	if (!t->owed)
		return -1;
	t->owed--;
	if (*at == '-' || (*at == '*' && (n != sizeof(done) - 1 || memcmp(at, done, n)))) {
		l->x->h->log(l->x->in->i, t->lane.fails ? PURSER_LOG_DEBUG : PURSER_LOG_WARN, "redis %s: it does not track keys: %.*s", l->x->in->where,
		    n > 100 ? 100 : (int)n - 3, (const char *)at + 1);
		return -1;
	}
	if (*at == '*') { /* EXEC's: from now on */
		t->lane.fails = 0;
		l->x->h->invalidated(l->x->x, NULL, 0);
	}
	return 0;
}

static int64_t track_feed(struct link *l, const uint8_t *p, size_t n)
{
	return pile_feed(&l->x->track->pile, l, p, n, heard);
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void track_up(struct link *l)
{
	struct track *t = l->x->track;

	t->owed = t->silent = 0;
	l->x->h->log(l->x->in->i, PURSER_LOG_DEBUG, "redis %s: connected to hear of changed keys", l->x->in->where);
	soon(t);
}

static void track_lost(struct link *l, const char *text, bool was_up)
{
	struct track *t = l->x->track;
	struct ctx *x = l->x;

	x->h->log(x->in->i, t->lane.fails ? PURSER_LOG_DEBUG : PURSER_LOG_WARN, "%s (the connection that tells of "
	    "changed keys)", text);
	pile_clear(&t->pile);
	if (was_up)
		x->h->invalidated(x->x, NULL, 0);
	if (t->prefixes && !x->draining)
		again(t, ctx_jitter(x, t->lane.fails++));
}

static const struct ear track_ear = { track_up, track_feed, track_lost };

static struct track *track_of(struct ctx *x)
{
	struct track *t = x->track;

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->x = x;
	t->lane.x = x;
	t->lane.version = 3;
	t->link = link_new(&t->lane, false, 0);
	if (!t->link) {
		free(t);
		return NULL;
	}
	t->link->ear = &track_ear;
	return x->track = t;
}

static void forget(struct track *t, purser_bytes prefix)
{
	struct prefix **at = &t->prefixes, *p;

	while ((p = *at) && (p->n != prefix.n || memcmp(p->bytes, prefix.p, p->n)))
		at = &p->next;
	if (!p)
		return;
	*at = p->next;
	free(p);
	if (t->prefixes)
		return;
	if (t->timer)
		t->x->h->untimer(t->x->x, t->timer);
	t->timer = 0;
	link_shut(t->link);
	pile_clear(&t->pile);
}

int track_prefix(struct ctx *x, purser_bytes prefix, int on)
{
	struct track *t = x->draining ? NULL : track_of(x);
	struct prefix *p;

	if (!t)
		return -1;
	if (!on) {
		forget(t, prefix);
		return 0;
	}
	p = malloc(sizeof(*p) + prefix.n);
	if (!p)
		return -1;
	p->n = prefix.n;
	if (prefix.n)
		memcpy(p->bytes, prefix.p, prefix.n);
	p->next = t->prefixes;
	t->prefixes = p;
	if (t->link->phase == LINK_UP)
		soon(t);
	else if (t->link->phase == LINK_CLOSED && !t->timer)
		again(t, 0);
	return 0;
}

void track_stop(struct ctx *x)
{
	struct track *t = x->track;
	struct prefix *p;

	if (!t)
		return;
	if (t->timer)
		x->h->untimer(x->x, t->timer);
	while ((p = t->prefixes)) {
		t->prefixes = p->next;
		free(p);
	}
	link_end(t->link);
	link_free(t->link);
	free(t->pile.in);
	free(t);
	x->track = NULL;
}
