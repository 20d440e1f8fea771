/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections, and what comes on them.  Every frame of the agent passes look(): no byte of the other project's marker, no
 * physical name may be in it.
 */
#include <config.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "iso.h"

void say(struct world *w, const char *format, ...)
{
	va_list ap;

	if (!w->report)
		return;
	va_start(ap, format);
	vfprintf(w->report, format, ap);
	va_end(ap);
}

/* The first that is said of an episode counts. */
void blame(struct world *w, const char *what, const struct cmd *c)
{
	if (!*w->kind)
		snprintf(w->kind, sizeof(w->kind), "%.40s/%.*s", what, c && c->argc ? (int)(c->argv[0].n > 20 ? 20 : c->argv[0].n) : 0,
		    c && c->argc ? (const char *)c->argv[0].p : "");
}

/* ---- what may not come ------------------------------------------------------------------------------------- */
static int has(const uint8_t *p, size_t n, const void *what, size_t m) { return memmem(p, n, what, m) != NULL; }

static void watch(struct link *l, const uint8_t *p, size_t n)
{
	struct world *w = l->p->w;
	const struct project *other = &w->p[l->p == &w->p[0]];
	const char *what = NULL;

	if (has(p, n, other->marker, MARKER) || has(p, n, other->hex, 2 * MARKER))
		what = "the other project's marker";
	else if (has(p, n, other->prefix, strlen(other->prefix)))
		what = "the other project's prefix";
	else if (has(p, n, l->p->prefix, strlen(l->p->prefix)))
		what = "a physical name";
	if (!what || w->leaked)
		return;
	w->leaked = 1;
	blame(w, what, NULL);
	say(w, "LEAK to project %s, connection %u, RESP%u: %s in\n  \"", l->p->name, l->number, l->s.resp, what);
	if (w->report)
		print_bytes(w->report, p, n);
	say(w, "\"\n");
}

int leak_found(struct world *w) { return w->leaked; }

/* ---- what is heard besides replies ------------------------------------------------------------------------------- */
static void keep(struct heard *h, struct word w)
{
	if (h->n == h->cap) {
		h->cap = 2 * h->cap + 16;
		h->w = realloc(h->w, h->cap * sizeof(*h->w));
	}
	if (!h->w)
		exit(2);
	h->w[h->n++] = w;
}

static void note(struct link *l, int agent, const void *p, size_t n)
{
	uint8_t *copy = malloc(n + 1);

	if (!copy)
		exit(2);
	memcpy(copy, p, n);
	keep(&l->heard[agent], (struct word){ copy, (uint32_t)n });
}

/* An invalidation is a line for each key: how many come together is the server's own. */
static void note_keys(struct link *l, int agent, struct word keys)
{
	int64_t n = reply_elements(keys.p, keys.n, NULL, 0), i;
	struct word *w;

	if (n < 0) {
		note(l, agent, "invalidate all", 14);
		return;
	}
	w = calloc((size_t)n + 1, sizeof(*w));
	if (!w)
		exit(2);
	reply_elements(keys.p, keys.n, w, (size_t)n);
	for (i = 0; i < n; i++) {
		uint8_t *line = malloc(w[i].n + 11);

		if (!line)
			exit(2);
		memcpy(line, "invalidate ", 11);
		memcpy(line + 11, w[i].p, w[i].n);
		note(l, agent, line, w[i].n + 11);
		free(line);
	}
	free(w);
}

static int begins(const uint8_t *p, size_t n, const char *with) { return n >= strlen(with) && !memcmp(p, with, strlen(with)); }

static int is_aside(const uint8_t *p, size_t n)
{
	static const char *const words[] = { "*3\r\n$7\r\nmessage\r\n", "*4\r\n$8\r\npmessage\r\n", "*3\r\n$8\r\nsmessage\r\n",
		"*3\r\n$9\r\nsubscribe\r\n", "*3\r\n$10\r\npsubscribe\r\n", "*3\r\n$10\r\nssubscribe\r\n",
		"*3\r\n$11\r\nunsubscribe\r\n", "*3\r\n$12\r\npunsubscribe\r\n", "*3\r\n$12\r\nsunsubscribe\r\n" };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (begins(p, n, words[i]))
			return 1;
	return *p == '>';
}

/* +1700000000.123456 [0 unix:...] "GET" "k": to a MONITOR. */
static int is_monitor(const uint8_t *p, size_t n)
{
	return n > 20 && p[0] == '+' && p[1] == '1' && p[11] == '.' && memchr(p, '[', n < 24 ? n : 24);
}

static void hear(struct link *l, int agent, const uint8_t *p, size_t n)
{
	struct word w[4] = { { NULL, 0 } }, kind;
	int64_t count = reply_elements(p, n, w, 4);
	uint8_t *copy;

	if (count >= 2 && !reply_bulk(w[0], &kind) && word_is(kind, "INVALIDATE")) {
		note_keys(l, agent, w[1]);
		return;
	}
	/* PURSER.SUBSCRIBE: the model has none.  Who redirects to a client that is gone is told when it is noticed. */
	if (count >= 2 && !reply_bulk(w[0], &kind) && (begins(kind.p, kind.n, "purser.") || word_is(kind, "TRACKING-REDIR-BROKEN")))
		return;
	if (count == 3 && begins(w[1].p, w[1].n, "$20\r\n__redis__:invalidate")) {
		note_keys(l, agent, w[2]);
		return;
	}
	copy = malloc(n);
	if (!copy)
		exit(2);
	memcpy(copy, p, n);
	copy[0] = '*';
	/* names in the order of a table: then how many are left belongs to no name */
	if (l->loose && count == 3 && !reply_bulk(w[0], &kind) && kind.n > 9 && memmem(kind.p, kind.n, "unsubscribe", 11))
		n -= w[2].n;
	note(l, agent, copy, n);
	free(copy);
}

/* ---- fences ------------------------------------------------------------------------------------------------------- */
struct ear { struct link *l; int agent; char fence[40]; size_t nfence; };

static int look(struct side *s, const uint8_t *p, size_t n)
{
	struct ear *e = s->owner;

	if (e->agent)
		watch(e->l, p, n);
	if (e->nfence && n >= e->nfence + 2 && !memcmp(p + n - 2 - e->nfence, e->fence, e->nfence)) {
		e->nfence = 0;
		s->want = s->nreplies;
		return 1;
	}
	if (is_monitor(p, n))
		return 1;
	if (!is_aside(p, n))
		return 0;
	hear(e->l, e->agent, p, n);
	return 1;
}

static struct side *side_of(struct link *l, int agent) { return agent ? &l->s.b : &l->s.a; }

void add_fence(struct link *l, int agent)
{
	struct side *s = side_of(l, agent);
	struct ear *e = s->owner;
	struct word w[2];
	struct cmd c = { .argc = 2, .argv = w };

	e->nfence = (size_t)snprintf(e->fence, sizeof(e->fence), "fence/%llu", (unsigned long long)++l->p->w->fences);
	w[0] = word_text("PING");
	w[1] = word_text(e->fence);
	side_add(s, &c);
	s->want = UINT32_MAX;
}

/* Words that stand for a number are what they are on this side. */
void add_to(struct link *l, int agent, const struct cmd *c)
{
	struct cmd copy = *c;
	char text[64][24];
	uint32_t i, used = 0;

	copy.argv = arena_get(&l->p->w->mem, (c->argc + 1) * sizeof(*copy.argv));
	memcpy(copy.argv, c->argv, c->argc * sizeof(*copy.argv));
	for (i = 0; i < c->argc && used < 64; i++) {
		const uint8_t *p = c->argv[i].p;
		const struct project *other = &l->p->w->p[l->p == &l->p->w->p[0]];
		uint64_t id;

		if (p >= id_own && p < id_own + LINKS)
			id = l->p->link[p - id_own].id[agent];
		else if (p >= id_foreign && p < id_foreign + LINKS)
			id = agent ? other->link[p - id_foreign].id[1] : 99999999;
		else
			continue;
		snprintf(text[used], sizeof(text[used]), "%llu", (unsigned long long)id);
		copy.argv[i] = word_text(text[used++]);
	}
	side_add(side_of(l, agent), &copy);
}

/* ---- beginning and end of connections ------------------------------------------------------------------------------- */
static int ask_one(struct link *l, int agent, const struct cmd *c, uint64_t *number)
{
	struct side *s = side_of(l, agent);
	const char *text = NULL;
	int64_t v = 0;

	s->want = 1;
	side_add(s, c);
	if (exchange_sides((struct side *const[]){ s }, 1, &text)) {
		say(l->p->w, "%s: %s\n", l->p->name, text);
		return -1;
	}
	if (*reply_bytes(s, 0) == '-') {
		say(l->p->w, "%s, %s: ", l->p->name, agent ? "agent" : "model");
		if (l->p->w->report)
			print_bytes(l->p->w->report, reply_bytes(s, 0), s->replies[0].n);
		say(l->p->w, "\n");
		return -1;
	}
	if (number && !purser_resp_int(reply_bytes(s, 0) + 1, s->replies[0].n - 3, &v))
		*number = (uint64_t)v;
	return 0;
}

int link_greet(struct link *l, int agent_only)
{
	char resp[4];
	struct cmd c;
	int agent;

	snprintf(resp, sizeof(resp), "%u", l->s.resp);
	for (agent = agent_only; agent < 2; agent++) {
		if (agent) {
			c = WORDS(&l->s, "PURSER.PROJECT", l->p->name);
			if (ask_one(l, 1, &c, NULL))
				return -1;
		}
		c = WORDS(&l->s, "HELLO", resp);
		if (ask_one(l, agent, &c, NULL))
			return -1;
		c = WORDS(&l->s, "CLIENT", "ID");
		if (ask_one(l, agent, &c, &l->id[agent]))
			return -1;
	}
	return 0;
}

int link_open(struct link *l)
{
	int agent;

	for (agent = 0; agent < 2; agent++) {
		struct side *s = side_of(l, agent);
		struct ear *e = calloc(1, sizeof(*e));

		if (!e)
			exit(2);
		*e = (struct ear){ .l = l, .agent = agent };
		*s = (struct side){ .name = agent ? "agent" : "model", .path = agent ? l->p->w->o->agent : l->p->model, .fd = -1,
			.look = look, .owner = e };
		if (side_connect(s))
			return -1;
	}
	l->waiting = 0;
	l->s.db = 0;
	l->s.report = l->p->w->report;
	return link_greet(l, 0);
}

static int is_invalidation(struct word w) { return begins(w.p, w.n, "invalidate "); }

static int among(const struct heard *h, struct word w)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		if (h->w[i].n == w.n && !memcmp(h->w[i].p, w.p, w.n))
			return 1;
	return 0;
}

void heard_clear(struct link *l)
{
	struct heard *b = &l->heard[1];
	size_t i;
	int k;

	for (i = 0; i < b->n; i++)
		if (is_invalidation(b->w[i]) && !among(&l->told, b->w[i])) {
			keep(&l->told, b->w[i]);
			b->w[i].p = NULL;
		}
	for (k = 0; k < 2; k++) {
		for (i = 0; i < l->heard[k].n; i++)
			free((void *)(uintptr_t)l->heard[k].w[i].p);
		l->heard[k].n = 0;
	}
}

void link_close(struct link *l)
{
	size_t i;
	int agent;

	for (agent = 0; agent < 2; agent++) {
		struct side *s = side_of(l, agent);

		if (agent && s->nin > s->at && s->in) /* what is not a whole frame */
			watch(l, s->in + s->at, s->nin - s->at);
		free(s->owner);
		side_close(s);
		*s = (struct side){ .fd = -1 };
	}
	heard_clear(l);
	for (i = 0; i < l->told.n; i++)
		free((void *)(uintptr_t)l->told.w[i].p);
	free(l->told.w);
	memset(&l->told, 0, sizeof(l->told));
	free(l->heard[0].w);
	free(l->heard[1].w);
	memset(l->heard, 0, sizeof(l->heard));
	arena_free(&l->s.mem);
}

/* ---- did both hear the same? ---------------------------------------------------------------------------------------------- */
/* Did the flush of an isolated project say that this key is gone?  Redis says nothing of the keys that a flush takes. */
static int is_flushed(struct word w)
{
	return w.n > 12 && memmem(w.p, w.n, "__key", 5) &&
	    (!memcmp(w.p + w.n - 9, "$3\r\ndel\r\n", 9) || memmem(w.p, w.n, "__:del\r\n", 8));
}

/* Messages: the same, so often.  Invalidations: what the model says, the agent says, or has said: it may be told of a write
 * just before a read, and of everything when another project begins to
 * track (docs/decisions/tracking-by-broadcast.md).  Where Redis says that all is gone (FLUSHDB), the agent names
 * what was there. */
int heard_enough(struct link *l)
{
	struct heard *a = &l->heard[0], *b = &l->heard[1];
	struct word *x = calloc(a->n + 1, sizeof(*x)), *y = calloc(b->n + 1, sizeof(*y));
	size_t nx = 0, ny = 0, i;
	int all = among(b, word_text("invalidate all")), same, missing = 0;

	if (!x || !y)
		exit(2);
	for (i = 0; i < a->n; i++) {
		if (l->p->flushed && is_flushed(a->w[i]))
			continue;
		if (!is_invalidation(a->w[i]))
			x[nx++] = a->w[i];
		else if (!all && !l->p->disturbed && !among(b, a->w[i]) && !among(&l->told, a->w[i]) && a->w[i].n != 14)
			missing = 1;
	}
	for (i = 0; i < b->n; i++)
		if (!is_invalidation(b->w[i]) && !(l->p->flushed && is_flushed(b->w[i])))
			y[ny++] = b->w[i];
	same = nx == ny && !missing;
	l->deaf = missing;
	if (same) {
		sort_words(x, nx, 1);
		sort_words(y, ny, 1);
		for (i = 0; same && i < nx; i++)
			same = x[i].n == y[i].n && !memcmp(x[i].p, y[i].p, x[i].n);
	}
	free(x);
	free(y);
	return same;
}
