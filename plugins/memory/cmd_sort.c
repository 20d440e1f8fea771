/* SPDX-License-Identifier: Apache-2.0
 *
 * SORT and SORT_RO: the elements of a collection in order, or what they are names of.
 *
 * BY and GET read keys that nobody knows before: the whole database is locked (OP_ALL).  Texts are compared
 * as bytes, which is what strcoll() does where the locale is C or C.UTF-8.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include "cmd.h"
#include "gather.h"
#include "hash.h"
#include "list.h"
#include "set.h"
#include "zset.h"

struct sort {
	struct ctx *cx;
	int desc, alpha, stay;                /* stay: BY without *, nothing is ordered */
	uint32_t by, store;                   /* arguments; 0: none */
	uint32_t gets;                        /* GET options */
	int64_t skip, count;
	struct gather elements;
};

struct element {
	const struct sort *s;
	purser_bytes text;                    /* the element */
	purser_bytes weight;                  /* ALPHA; p NULL: there is none */
	double score;
	size_t at;                            /* place before: what is equal keeps it */
};

/* ---- options ------------------------------------------------------------------------------------------- */
/* 1: GET with its pattern stands at argv[*i], which it passes. */
static int at_get(const purser_call *c, uint32_t *i)
{
	if (!arg_is(c->argv[*i], "get") || *i + 1 >= c->argc)
		return 0;
	++*i;
	return 1;
}

static int has_star(purser_bytes a) { return memchr(a.p, '*', strnlen((const char *)a.p, a.n)) != NULL; }

static int sort_parse(struct sort *s, purser_call *c, int reads_only)
{
	struct ctx *cx = s->cx;
	uint32_t i;

	s->count = -1;
	for (i = 2; i < c->argc; i++) {
		uint32_t left = c->argc - i - 1;

		if (arg_is(c->argv[i], "asc")) {
			s->desc = 0;
		} else if (arg_is(c->argv[i], "desc")) {
			s->desc = 1;
		} else if (arg_is(c->argv[i], "alpha")) {
			s->alpha = 1;
		} else if (arg_is(c->argv[i], "limit") && left >= 2) {
			if (arg_int(cx, c, i + 1, &s->skip) || arg_int(cx, c, i + 2, &s->count))
				return -1;
			i += 2;
		} else if (!reads_only && arg_is(c->argv[i], "store") && left >= 1) {
			s->store = ++i;
		} else if (arg_is(c->argv[i], "by") && left >= 1) {
			s->by = ++i;
			if (!has_star(c->argv[i]))
				s->stay = 1; /* for good, whatever BY follows */
		} else if (at_get(c, &i)) {
			s->gets++;
		} else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
	}
	return 0;
}

/* ---- what a pattern names -------------------------------------------------------------------------------- */
/* v shows the value of the pattern for this element.  1, 0: there is none, or -1: no memory. */
static int pattern_value(struct ctx *cx, purser_call *c, purser_bytes pat, purser_bytes e, struct view *v)
{
	size_t len = strnlen((const char *)pat.p, pat.n), head, tail, field = 0;
	const uint8_t *star = memchr(pat.p, '*', len), *arrow, *end = pat.p + pat.n;
	purser_bytes key;
	struct pos p;
	uint8_t *name;

	if (len == 1 && pat.p[0] == '#') {
		v->p = e.p;
		v->n = e.n;
		return 1;
	}
	if (!star)
		return 0;
	for (arrow = star + 1; arrow + 2 < pat.p + len && (arrow[0] != '-' || arrow[1] != '>'); arrow++)
		;
	if (arrow + 2 < pat.p + len) /* and something follows it */
		field = (size_t)(end - arrow) - 2;
	head = (size_t)(star - pat.p);
	tail = (size_t)((field ? arrow : end) - star) - 1;
	key.n = head + e.n + tail;
	key.p = name = scratch(cx, key.n + 1);
	if (!name)
		return -1;
	memcpy(name, pat.p, head);
	if (e.n)
		memcpy(name + head, e.p, e.n);
	memcpy(name + head + e.n, star + 1, tail);
	if (!key_find(cx, &p, c->db, key, hash_key(cx->st, key.p, key.n), FIND_READ))
		return 0;
	if (field)
		return item_type(p.it) == TYPE_HASH && hash_get(cx, p.it, (purser_bytes){ end - field, field }, v);
	if (item_type(p.it) != TYPE_STRING)
		return 0;
	string_view(p.it, v);
	return 1;
}

/* The same into g; bytes of a number are copied.  p NULL stands for nothing. */
static int gather_pattern(struct ctx *cx, purser_call *c, purser_bytes pat, purser_bytes e, struct gather *g)
{
	struct view v;
	int rc = pattern_value(cx, c, pat, e, &v);

	if (rc < 0)
		return -1;
	if (rc == 0)
		return gather_ref(g, NULL, 0);
	return v.p == (const uint8_t *)v.buf ? gather_copy(g, v.p, v.n) : gather_ref(g, v.p, v.n);
}

/* ---- the elements ------------------------------------------------------------------------------------------ */
static int take(void *arg, const uint8_t *p, size_t n) { return gather_copy(arg, p, n); }

static int take_scored(void *arg, purser_bytes m, double score)
{
	(void)score;
	return gather_copy(arg, m.p, m.n);
}

static int can_sort(const struct item *it)
{
	return item_type(it) == TYPE_LIST || item_type(it) == TYPE_SET || item_type(it) == TYPE_ZSET;
}

/* All elements in their own order, backwards if back.  A new type is added here and in can_sort().  0, or -1:
 * no memory. */
static int elements(struct item *it, int back, struct gather *g)
{
	struct lpos at;

	if (item_type(it) == TYPE_SET)
		return set_each(it, take, g);
	if (item_type(it) == TYPE_ZSET)
		return zset_walk(it, back ? zset_len(it) - 1 : 0, zset_len(it), back, take_scored, g);
	at = list_end(item_list(it), back ? LIST_BACK : LIST_FRONT);
	do {
		purser_bytes e = list_at(&at);

		if (gather_ref(g, e.p, e.n))
			return -1;
	} while (list_step(&at, back));
	return 0;
}

/* As strtod() reads a number and nothing behind it.  0, or -1. */
static int score_of(purser_bytes a, double *out)
{
	char small[64], *text = small, *end;
	size_t n = strnlen((const char *)a.p, a.n);
	int bad;

	if (n >= sizeof(small) && !(text = malloc(n + 1)))
		return -1;
	memcpy(text, a.p, n);
	text[n] = '\0';
	errno = 0;
	*out = strtod(text, &end);
	bad = *end || errno == ERANGE || isnan(*out);
	if (text != small)
		free(text);
	return bad ? -1 : 0;
}

/* ---- the order ------------------------------------------------------------------------------------------------ */
static int compare_bytes(purser_bytes a, purser_bytes b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int d = n ? memcmp(a.p, b.p, n) : 0;

	return d ? d : (a.n > b.n) - (a.n < b.n);
}

/* Up to the first NUL, as strcoll() does; what is stored is compared to its end. */
static int compare_texts(const struct sort *s, purser_bytes a, purser_bytes b)
{
	if (!s->store) {
		a.n = a.n ? strnlen((const char *)a.p, a.n) : 0;
		b.n = b.n ? strnlen((const char *)b.p, b.n) : 0;
	}
	return compare_bytes(a, b);
}

static int compare_elements(const void *x, const void *y)
{
	const struct element *a = x, *b = y;
	const struct sort *s = a->s;
	int d;

	if (!s->alpha) {
		d = (a->score > b->score) - (a->score < b->score);
		d = d ? d : compare_bytes(a->text, b->text);
	} else if (!s->by) {
		d = compare_texts(s, a->text, b->text);
	} else if (!a->weight.p || !b->weight.p) {
		d = !!a->weight.p - !!b->weight.p;
	} else {
		d = compare_texts(s, a->weight, b->weight);
	}
	if (d == 0)
		return a->at < b->at ? -1 : a->at > b->at;
	return s->desc ? -d : d;
}

/* Weights and order of v[0..n); their memory is in w.  0, or -1 with the error replied. */
static int order(struct sort *s, purser_call *c, struct element *v, size_t n, struct gather *w)
{
	int bad = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		purser_bytes by = v[i].text;

		if (s->by) {
			if (gather_pattern(s->cx, c, c->argv[s->by], v[i].text, w)) {
				reply_nomem(s->cx, c);
				return -1;
			}
			by = w->v[w->n - 1];
		}
		if (s->alpha)
			v[i].weight = by;
		else if (by.p && score_of(by, &v[i].score))
			bad = 1;
	}
	if (bad) {
		reply_error(s->cx, c, "ERR One or more scores can't be converted into double");
		return -1;
	}
	qsort(v, n, sizeof(*v), compare_elements);
	return 0;
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */
static int64_t clamp(int64_t v, int64_t low, int64_t high) { return v < low ? low : v > high ? high : v; }

/* What is shown of v[from..from+n): the elements, or what the GET patterns name, into out. */
static int shown(const struct sort *s, purser_call *c, const struct element *v, size_t n, struct gather *out)
{
	uint32_t k;
	size_t i;

	for (i = 0; i < n; i++) {
		if (!s->gets && gather_ref(out, v[i].text.p, v[i].text.n))
			return -1;
		for (k = 2; s->gets && k < c->argc; k++) {
			if (arg_is(c->argv[k], "limit"))
				k += 2;
			else if (arg_is(c->argv[k], "by") || arg_is(c->argv[k], "store"))
				k++;
			else if (at_get(c, &k) && gather_pattern(s->cx, c, c->argv[k], v[i].text, out))
				return -1;
		}
	}
	return 0;
}

/* A list of these at the key of STORE.  0, or -1: no memory, nothing changed. */
static int store(const struct sort *s, purser_call *c, const struct gather *out)
{
	struct shape shape = { ENC_LIST, 0, 0 };
	struct ctx *cx = s->cx;
	struct item *it = NULL;
	struct list *l;
	struct pos p;
	size_t i;

	arg_find(cx, c, s->store, s->store - 1, &p, 0);
	if (!out->n) {
		if (p.it) {
			key_delete(cx, &p);
			arg_gone(cx, c, s->store);
		}
		return 0;
	}
	l = list_new(cx);
	for (i = 0; l && i < out->n; i++)
		if (list_push(cx, l, LIST_BACK, out->v[i].p ? out->v[i] : (purser_bytes){ (const uint8_t *)"", 0 }))
			break;
	if (l && i == out->n)
		it = item_new(cx, &shape, p.key, p.klen);
	if (!it) {
		if (l)
			list_dispose(cx, l);
		return -1;
	}
	item_set_word(it, (uint64_t)(uintptr_t)l);
	if (p.it) {
		key_replace(cx, &p, it);
	} else if (key_add(cx, &p, it)) {
		item_free(cx, it);
		return -1;
	}
	arg_event(cx, c, s->store, EVENT_LIST, "sortstore");
	return 0;
}

static void answer(const struct sort *s, purser_call *c, const struct element *v, size_t n)
{
	struct gather out = { 0 };
	struct ctx *cx = s->cx;
	size_t i;

	if (shown(s, c, v, n, &out) || (s->store && store(s, c, &out))) {
		reply_nomem(cx, c);
	} else if (s->store) {
		reply_int(cx, c, (int64_t)out.n);
	} else {
		reply_array(cx, c, out.n);
		for (i = 0; i < out.n; i++)
			if (out.v[i].p)
				reply_bulk(cx, c, out.v[i].p, out.v[i].n);
			else
				reply_null(cx, c);
	}
	gather_free(&out);
}

static void sort_elements(struct sort *s, purser_call *c, struct item *it)
{
	struct gather weights = { 0 };
	int64_t n, from, to;
	struct element *v;
	size_t i;

	if (s->stay && it && item_type(it) == TYPE_SET && s->store) {
		s->stay = 0; /* what is stored of a set has an order that does not hang on chance */
		s->alpha = 1;
		s->by = 0;
	}
	if (it && elements(it, s->stay && s->desc, &s->elements)) {
		reply_nomem(s->cx, c);
		return;
	}
	n = (int64_t)s->elements.n;
	v = calloc((size_t)n + 1, sizeof(*v));
	if (!v) {
		reply_nomem(s->cx, c);
		return;
	}
	for (i = 0; i < (size_t)n; i++)
		v[i] = (struct element){ .s = s, .text = s->elements.v[i], .at = i };
	from = clamp(s->skip, 0, n);
	s->count = clamp(s->count, -1, n);
	to = s->count < 0 ? n : clamp(from + s->count, 0, n);
	if (s->stay || order(s, c, v, (size_t)n, &weights) == 0)
		answer(s, c, v + from, (size_t)(to - from));
	gather_free(&weights);
	free(v);
}

static void sort(struct ctx *cx, purser_call *c, int reads_only)
{
	struct sort s = { .cx = cx };
	struct pos p;

	if (sort_parse(&s, c, reads_only))
		return;
	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (p.it && !can_sort(p.it))
		reply_error(cx, c, err_wrongtype);
	else
		sort_elements(&s, c, p.it);
	gather_free(&s.elements);
}

void op_sort(struct ctx *cx, purser_call *c) { sort(cx, c, 0); }
void op_sort_ro(struct ctx *cx, purser_call *c) { sort(cx, c, 1); }
