/* SPDX-License-Identifier: Apache-2.0
 *
 * Which keys have changed, for the host's caches: see track.h.
 */
#include <stdlib.h>
#include <string.h>
#include "event.h"
#include "track.h"

#define WAITING_MAX ((size_t)1 << 20)  /* bytes of names; more of them are told as everything */
#define AT_ONCE 256u                   /* names in one message of the host */

struct prefix {
	struct prefix *next;
	size_t n;
	uint8_t bytes[];
};

struct tracking {
	_Atomic uint32_t lock;
	struct store *st;
	purser_ctx *home;              /* NULL: nobody wants to hear */
	struct prefix *prefixes;
	int posted, everything;        /* the job is on its way; names have been left out */
	uint8_t *names;                /* a size_t and so many bytes, one behind the other */
	size_t n, cap, last;
	const struct ctx *by;          /* who has put the last one, at which of its commands */
	int64_t at;
	purser_job job;
};

struct tracking *tracking_new(void) { return calloc(1, sizeof(struct tracking)); }

static void forget_prefixes(struct tracking *t)
{
	struct prefix *p;

	while ((p = t->prefixes)) {
		t->prefixes = p->next;
		free(p);
	}
}

void tracking_free(struct tracking *t)
{
	if (!t)
		return;
	forget_prefixes(t);
	free(t->names);
	free(t);
}

/* ---- at home --------------------------------------------------------------------------------------------- */
static void tell_names(const purser_host *h, purser_ctx *home, const uint8_t *names, size_t bytes)
{
	purser_bytes keys[AT_ONCE];
	size_t at = 0, n, len;

	while (at < bytes) {
		for (n = 0; n < AT_ONCE && at < bytes; n++, at += len) {
			memcpy(&len, names + at, sizeof(len));
			at += sizeof(len);
			keys[n] = (purser_bytes){ names + at, len };
		}
		h->invalidated(home, keys, n);
	}
}

static void tell(void *arg)
{
	struct tracking *t = arg;
	uint8_t *names;
	size_t n, cap;
	int everything;
	purser_ctx *home;

	lock(&t->lock);
	home = t->home;
	names = t->names;
	n = t->n;
	cap = t->cap;
	everything = t->everything;
	t->names = NULL;
	t->n = t->cap = 0;
	t->posted = t->everything = 0;
	unlock(&t->lock);
	if (home && everything)
		t->st->h->invalidated(home, NULL, 0);
	else if (home)
		tell_names(t->st->h, home, names, n);
	lock(&t->lock);
	if (!t->names && names) { /* the next ones go into the same memory */
		t->names = names;
		t->cap = cap;
		names = NULL;
	}
	unlock(&t->lock);
	free(names);
}

int track(void *cs, purser_bytes prefix, int on)
{
	struct ctx *cx = cs;
	struct tracking *t = cx->st->tracking;
	struct prefix *p = on ? malloc(sizeof(*p) + prefix.n) : NULL, **at;

	if (on && !p)
		return -1;
	lock(&t->lock);
	if (on) {
		t->st = cx->st;
		p->n = prefix.n;
		if (prefix.n)
			memcpy(p->bytes, prefix.p, prefix.n);
		p->next = t->prefixes;
		t->prefixes = p;
		t->home = cx->x;
	} else {
		for (at = &t->prefixes; (p = *at); at = &p->next)
			if (p->n == prefix.n && memcmp(p->bytes, prefix.p, prefix.n) == 0) {
				*at = p->next;
				break;
			}
		if (!t->prefixes)
			t->home = NULL;
	}
	heard_set(cx->st, HEARD_TRACK, t->home != NULL);
	unlock(&t->lock);
	if (on)
		cx->h->invalidated(cx->x, NULL, 0); /* from now on it is told */
	else
		free(p);
	return 0;
}

void track_close(struct ctx *cx)
{
	struct tracking *t = cx->st->tracking;

	lock(&t->lock);
	if (cx->x && t->home == cx->x) {
		t->home = NULL;
		forget_prefixes(t);
		heard_set(cx->st, HEARD_TRACK, 0);
	}
	unlock(&t->lock);
}

/* ---- on any context, under the locks of the keys --------------------------------------------------------- */
static int wanted(const struct tracking *t, purser_bytes key)
{
	const struct prefix *p;

	for (p = t->prefixes; p; p = p->next)
		if (key.n >= p->n && (!p->n || memcmp(key.p, p->bytes, p->n) == 0))
			return 1;
	return 0;
}

/* What upkeep does is no command. */
static int64_t command_number(const struct ctx *cx)
{
	return cx->in_turn ? -1 : atomic_load_explicit(&cx->led->commands, memory_order_relaxed);
}

/* A command that tells of one key several times has it in the list once.  Of two commands each is told: the host takes
 * as many messages for a client's own writes as it has made (NOLOOP), and the next one is somebody else's. */
static int is_last(const struct tracking *t, const struct ctx *cx, purser_bytes key)
{
	size_t n;

	if (!t->n || t->by != cx || t->at != command_number(cx))
		return 0;
	memcpy(&n, t->names + t->last, sizeof(n));
	return n == key.n && memcmp(t->names + t->last + sizeof(n), key.p, n) == 0;
}

static int make_space(struct tracking *t, size_t need)
{
	size_t cap = t->cap ? t->cap : 1024;
	uint8_t *p;

	if (need > WAITING_MAX)
		return -1;
	while (cap < need)
		cap *= 2;
	if (cap == t->cap)
		return 0;
	p = realloc(t->names, cap);
	if (!p)
		return -1;
	t->names = p;
	t->cap = cap;
	return 0;
}

static void put(struct tracking *t, const struct ctx *cx, purser_bytes key)
{
	size_t need = t->n + sizeof(key.n) + key.n;

	if (t->everything || is_last(t, cx, key))
		return;
	if (make_space(t, need)) { /* less exact, not less true */
		t->everything = 1;
		return;
	}
	t->last = t->n;
	t->by = cx;
	t->at = command_number(cx);
	memcpy(t->names + t->n, &key.n, sizeof(key.n));
	if (key.n)
		memcpy(t->names + t->n + sizeof(key.n), key.p, key.n);
	t->n = need;
}

static void post(struct tracking *t)
{
	if (t->posted)
		return;
	t->posted = 1;
	t->job.fn = tell;
	t->job.arg = t;
	t->st->h->post(t->home, &t->job);
}

void track_touch(struct ctx *cx, purser_bytes key)
{
	struct tracking *t = cx->st->tracking;

	lock(&t->lock);
	if (t->home && wanted(t, key)) {
		put(t, cx, key);
		post(t);
	}
	unlock(&t->lock);
}

void track_all(struct ctx *cx)
{
	struct tracking *t = cx->st->tracking;

	if (!(events_heard(cx) & HEARD_TRACK))
		return;
	lock(&t->lock);
	if (t->home) {
		t->everything = 1;
		post(t);
	}
	unlock(&t->lock);
}
