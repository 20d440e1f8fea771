/* SPDX-License-Identifier: Apache-2.0
 *
 * Set commands.  (SSCAN: cmd_scan.c; SRANDMEMBER: cmd_random.c)
 */
#include <limits.h>
#include "cmd.h"
#include "gather.h"
#include "number.h"
#include "set.h"

/* ---- one set ------------------------------------------------------------------------------------------ */
/* Members of argv[1] are gone, and perhaps the key with the last of them. */
static void set_lost(struct ctx *cx, purser_call *c, const struct pos *p, const char *event)
{
	arg_event(cx, c, 1, EVENT_SET, event);
	if (!p->it)
		arg_gone(cx, c, 1);
}

void op_sadd(struct ctx *cx, purser_call *c)
{
	int64_t created;
	struct pos p;

	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_SET))
		return;
	if (set_add(cx, &p, c->argv + 2, c->argc - 2, &created)) {
		reply_nomem(cx, c);
		return;
	}
	if (created)
		arg_event(cx, c, 1, EVENT_SET, "sadd");
	reply_int(cx, c, created);
}

void op_srem(struct ctx *cx, purser_call *c)
{
	struct pos p;
	int64_t n = 0;

	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_SET))
		return;
	if (p.it)
		n = set_remove(cx, &p, c->argv + 2, c->argc - 2);
	if (n < 0) {
		reply_nomem(cx, c);
		return;
	}
	if (n)
		set_lost(cx, c, &p, "srem");
	reply_int(cx, c, n);
}

void op_scard(struct ctx *cx, purser_call *c)
{
	struct pos p;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (!wrong_type(cx, c, p.it, TYPE_SET))
		reply_int(cx, c, p.it ? (int64_t)set_len(p.it) : 0);
}

void op_sismember(struct ctx *cx, purser_call *c)
{
	struct pos p;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (!wrong_type(cx, c, p.it, TYPE_SET))
		reply_int(cx, c, p.it && set_has(cx, p.it, c->argv[2]));
}

void op_smismember(struct ctx *cx, purser_call *c)
{
	struct pos p;
	uint32_t i;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_SET))
		return;
	reply_array(cx, c, c->argc - 2);
	for (i = 2; i < c->argc; i++)
		reply_int(cx, c, p.it && set_has(cx, p.it, c->argv[i]));
}

void op_smove(struct ctx *cx, purser_call *c)
{
	struct pos from, to;
	int64_t created;

	if (!arg_find(cx, c, 1, 0, &from, 0)) {
		reply_int(cx, c, 0);
		return;
	}
	arg_find(cx, c, 2, 1, &to, 0);
	if (wrong_type(cx, c, from.it, TYPE_SET) || wrong_type(cx, c, to.it, TYPE_SET))
		return;
	if (from.it == to.it || !set_has(cx, from.it, c->argv[3])) {
		reply_int(cx, c, set_has(cx, from.it, c->argv[3]));
		return;
	}
	if (set_add(cx, &to, &c->argv[3], 1, &created)) {
		reply_nomem(cx, c);
		return;
	}
	arg_find(cx, c, 1, 0, &from, FIND_NOTOUCH); /* slots have moved */
	if (set_remove(cx, &from, &c->argv[3], 1) >= 0) {
		set_lost(cx, c, &from, "srem");
		if (created)
			arg_event(cx, c, 2, EVENT_SET, "sadd");
		reply_int(cx, c, 1);
		return;
	}
	arg_find(cx, c, 2, 1, &to, FIND_NOTOUCH);
	if (created)
		set_remove(cx, &to, &c->argv[3], 1);
	reply_nomem(cx, c);
}

/* ---- SPOP --------------------------------------------------------------------------------------------- */
static int gather_member(void *arg, const uint8_t *m, size_t n) { return gather_copy(arg, m, n); }

/* So many different members of an inline set, chosen so that all selections are equally likely. */
static int choose_inline(struct ctx *cx, struct item *it, uint64_t want, struct gather *g)
{
	uint64_t left = set_len(it);
	size_t i, kept = 0;

	if (set_each(it, gather_member, g))
		return -1;
	for (i = 0; i < g->n; i++, left--)
		if (rng_next(cx) % left < want - kept)
			g->v[kept++] = g->v[i];
	g->n = kept;
	return 0;
}

/* Takes one after the other out of a table: cannot fail half way. */
static int take_from_table(struct ctx *cx, struct pos *p, uint64_t want, struct gather *g)
{
	struct view v;

	while (g->n < want) {
		set_random(cx, p->it, &v);
		if (gather_copy(g, v.p, v.n))
			return -1;
		set_remove(cx, p, &g->v[g->n - 1], 1);
	}
	return 0;
}

static void spop_many(struct ctx *cx, purser_call *c, struct pos *p, uint64_t want)
{
	struct gather g = { 0 };
	int64_t back;
	size_t i;
	int bad;

	if (want >= set_len(p->it)) {
		bad = set_each(p->it, gather_member, &g);
		if (!bad)
			key_delete(cx, p);
	} else if (item_enc(p->it) == ENC_SET) {
		bad = take_from_table(cx, p, want, &g);
		if (bad)
			set_add(cx, p, g.v, g.n, &back); /* memory for them was there a moment ago */
	} else {
		bad = choose_inline(cx, p->it, want, &g) || set_remove(cx, p, g.v, g.n) < 0;
	}
	if (bad) {
		reply_nomem(cx, c);
	} else {
		set_lost(cx, c, p, "spop");
		cx->h->set(c, g.n);
		for (i = 0; i < g.n; i++)
			reply_bulk(cx, c, g.v[i].p, g.v[i].n);
	}
	gather_free(&g);
}

static void spop_one(struct ctx *cx, purser_call *c, struct pos *p)
{
	struct gather g = { 0 };
	struct view v;

	set_random(cx, p->it, &v);
	if (gather_copy(&g, v.p, v.n) || set_remove(cx, p, g.v, 1) < 0) {
		reply_nomem(cx, c);
	} else {
		set_lost(cx, c, p, "spop");
		reply_bulk(cx, c, g.v[0].p, g.v[0].n);
	}
	gather_free(&g);
}

void op_spop(struct ctx *cx, purser_call *c)
{
	int64_t count = 0;
	struct pos p;

	if (c->argc > 3) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (c->argc == 3) {
		if (int_parse(c->argv[2].p, c->argv[2].n, &count) || count < 0) {
			reply_error(cx, c, "ERR value is out of range, must be positive");
			return;
		}
	}
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_SET))
		return;
	if (c->argc == 2 && p.it)
		spop_one(cx, c, &p);
	else if (c->argc == 2)
		reply_null(cx, c);
	else if (!p.it || !count)
		cx->h->set(c, 0);
	else
		spop_many(cx, c, &p, (uint64_t)count);
}

/* ---- several sets -------------------------------------------------------------------------------------- */
enum { UNION, INTER, DIFF };

struct sets {
	struct ctx *cx;
	struct item **v;                      /* NULL: the key is not there */
	size_t n;
	const struct item *skip;              /* INTER and DIFF: the one that is walked */
	uint64_t limit;
	int how;
	struct gather found;
};

/* The sets at argv[arg..arg+n), keys number ord and on.  0, or -1 with the error replied. */
static int sets_find(struct ctx *cx, purser_call *c, uint32_t arg, uint32_t n, uint32_t ord, struct sets *s)
{
	struct pos p;
	uint32_t i;

	s->cx = cx;
	s->n = n;
	s->v = scratch(cx, n * sizeof(*s->v));
	if (!s->v) {
		reply_nomem(cx, c);
		return -1;
	}
	for (i = 0; i < n; i++) {
		s->v[i] = arg_find(cx, c, arg + i, ord + i, &p, FIND_READ);
		if (wrong_type(cx, c, p.it, TYPE_SET))
			return -1;
	}
	return 0;
}

static int take_member(void *arg, const uint8_t *m, size_t n)
{
	struct sets *s = arg;
	size_t i;

	for (i = 0; s->how != UNION && i < s->n; i++) {
		if (s->v[i] == s->skip)
			continue;
		if ((s->v[i] && set_has(s->cx, s->v[i], (purser_bytes){ m, n })) != (s->how == INTER))
			return 0;
	}
	if (gather_copy(&s->found, m, n))
		return -1;
	return s->found.n == s->limit;
}

/* The smallest set: what is in all sets is in it; NULL: one is empty. */
static struct item *smallest(const struct sets *s)
{
	struct item *least = s->v[0];
	size_t i;

	for (i = 0; i < s->n; i++) {
		if (!s->v[i])
			return NULL;
		if (set_len(s->v[i]) < set_len(least))
			least = s->v[i];
	}
	return least;
}

static int is_among(const struct sets *s, size_t from, const struct item *it)
{
	for (; from < s->n; from++)
		if (s->v[from] == it)
			return 1;
	return 0;
}

/* What the sets make, in s->found; of a union some perhaps twice.  0, or -1: no memory. */
static int sets_combine(struct sets *s)
{
	struct item *walk = s->how == INTER ? smallest(s) : s->v[0];
	size_t i;

	s->skip = walk;
	if (s->how != UNION) {
		/* A set less itself is empty. */
		if (!walk || (s->how == DIFF && is_among(s, 1, walk)))
			return 0;
		return set_each(walk, take_member, s) < 0 ? -1 : 0;
	}
	for (i = 0; i < s->n; i++)
		if (s->v[i] && set_each(s->v[i], take_member, s))
			return -1;
	return 0;
}

static int reply_member(void *arg, const uint8_t *m, size_t n)
{
	const struct sets *s = ((void **)arg)[0];

	reply_bulk(s->cx, ((void **)arg)[1], m, n);
	return 0;
}

static int is_text(void *arg, const uint8_t *m, size_t n)
{
	int64_t v;

	(void)arg;
	return int_parse(m, n, &v);
}

/* Redis makes some differences by taking the others out of a copy of the first set: the form of what is left
 * is the copy's.  1: it was no intset. */
static int passed_through(const struct sets *s)
{
	uint64_t each_asked = 0, all = 0;
	size_t i;

	if (s->how != DIFF || !s->v[0])
		return 0;
	for (i = 0; i < s->n; i++)
		if (s->v[i]) {
			each_asked += set_len(s->v[0]);
			all += set_len(s->v[i]);
		}
	return each_asked / 2 > all && (set_len(s->v[0]) > SET_INTS || set_each(s->v[0], is_text, NULL));
}

/* The reply, or the key at argv[1] that becomes the result. */
static void sets_answer(struct ctx *cx, purser_call *c, int store, struct sets *s)
{
	static const char *const events[] = { "sunionstore", "sinterstore", "sdiffstore" };
	purser_bytes none = { (const uint8_t *)"", 0 };
	struct item *made = NULL;
	void *to[] = { s, c };
	struct pos p;
	int64_t n;

	if (s->found.n && !(made = set_make(cx, store ? c->argv[1] : none, s->found.v, s->found.n,
	    store && passed_through(s)))) {
		reply_nomem(cx, c);
		return;
	}
	n = made ? (int64_t)set_len(made) : 0;
	if (!store) {
		cx->h->set(c, (size_t)n);
		if (made) {
			set_each(made, reply_member, to);
			item_free(cx, made);
		}
		return;
	}
	arg_find(cx, c, 1, 0, &p, 0);
	if (made && p.it) {
		key_replace(cx, &p, made);
	} else if (made && key_add(cx, &p, made)) {
		item_free(cx, made);
		reply_nomem(cx, c);
		return;
	} else if (p.it && !made) {
		key_delete(cx, &p);
		arg_gone(cx, c, 1);
	}
	if (made)
		arg_event(cx, c, 1, EVENT_SET, events[s->how]);
	reply_int(cx, c, n);
}

static void sets_generic(struct ctx *cx, purser_call *c, int how, int store)
{
	uint32_t first = store ? 2 : 1;
	struct sets s = { .how = how };

	if (sets_find(cx, c, first, c->argc - first, store ? 1 : 0, &s))
		return;
	if (sets_combine(&s))
		reply_nomem(cx, c);
	else
		sets_answer(cx, c, store, &s);
	gather_free(&s.found);
}

void op_sinter(struct ctx *cx, purser_call *c) { sets_generic(cx, c, INTER, 0); }
void op_sunion(struct ctx *cx, purser_call *c) { sets_generic(cx, c, UNION, 0); }
void op_sdiff(struct ctx *cx, purser_call *c) { sets_generic(cx, c, DIFF, 0); }
void op_sinterstore(struct ctx *cx, purser_call *c) { sets_generic(cx, c, INTER, 1); }
void op_sunionstore(struct ctx *cx, purser_call *c) { sets_generic(cx, c, UNION, 1); }
void op_sdiffstore(struct ctx *cx, purser_call *c) { sets_generic(cx, c, DIFF, 1); }

/* SMEMBERS is the set as it is, without a copy. */
void op_smembers(struct ctx *cx, purser_call *c)
{
	struct sets s = { .cx = cx };
	void *to[] = { &s, c };
	struct pos p;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_SET))
		return;
	cx->h->set(c, p.it ? set_len(p.it) : 0);
	if (p.it)
		set_each(p.it, reply_member, to);
}

void op_sintercard(struct ctx *cx, purser_call *c)
{
	struct sets s = { .how = INTER };
	int64_t keys, limit = 0;
	uint32_t i;

	if (int_parse(c->argv[1].p, c->argv[1].n, &keys) || keys < 1) {
		reply_error(cx, c, "ERR numkeys should be greater than 0");
		return;
	}
	if (keys > c->argc - 2) {
		reply_error(cx, c, "ERR Number of keys can't be greater than number of args");
		return;
	}
	for (i = 2 + (uint32_t)keys; i < c->argc; i += 2) {
		if (!arg_is(c->argv[i], "limit") || i + 1 == c->argc) {
			reply_error(cx, c, err_syntax);
			return;
		}
		if (int_parse(c->argv[i + 1].p, c->argv[i + 1].n, &limit) || limit < 0) {
			reply_error(cx, c, "ERR LIMIT can't be negative");
			return;
		}
	}
	s.limit = (uint64_t)limit;
	if (sets_find(cx, c, 2, (uint32_t)keys, 0, &s))
		return;
	if (sets_combine(&s))
		reply_nomem(cx, c);
	else
		reply_int(cx, c, (int64_t)s.found.n);
	gather_free(&s.found);
}
