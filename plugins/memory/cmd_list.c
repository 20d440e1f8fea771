/* SPDX-License-Identifier: Apache-2.0
 *
 * List commands.
 */
#include "cmd.h"
#include "list.h"
#include "number.h"

static const char err_positive[] = "ERR value is out of range, must be positive";

/* A null where RESP2 says it with an array. */
static void reply_element(struct ctx *cx, purser_call *c, const struct lpos *p)
{
	purser_bytes e = list_at(p);

	reply_bulk(cx, c, e.p, e.n);
}

/* LEFT or RIGHT; -1 with the error replied. */
int arg_end(struct ctx *cx, purser_call *c, uint32_t arg)
{
	if (arg_is(c->argv[arg], "left"))
		return LIST_FRONT;
	if (arg_is(c->argv[arg], "right"))
		return LIST_BACK;
	reply_error(cx, c, err_syntax);
	return -1;
}

/* ---- pushing ------------------------------------------------------------------------------------------ */
/* The list at p, made empty if there is none; NULL: no memory. */
static struct list *list_at_key(struct ctx *cx, struct pos *p)
{
	struct shape s = { ENC_LIST, 0, 0 };
	struct list *l;
	struct item *it;

	if (p->it)
		return item_list(p->it);
	l = list_new(cx);
	if (!l)
		return NULL;
	it = item_new(cx, &s, p->key, p->klen);
	if (it) {
		item_set_word(it, (uint64_t)(uintptr_t)l);
		if (key_add(cx, p, it) == 0)
			return l;
		item_free_shell(cx, it);
	}
	list_dispose(cx, l);
	return NULL;
}

/* The key goes if its list is empty; 1: it did. */
static int list_settle(struct ctx *cx, struct pos *p, purser_call *c, uint32_t arg, uint32_t ord)
{
	if (item_list(p->it)->n)
		return 0;
	arg_find(cx, c, arg, ord, p, FIND_NOTOUCH); /* its slot, which may have moved */
	key_delete(cx, p);
	return 1;
}

static const char *const push_events[] = { [LIST_FRONT] = "lpush", [LIST_BACK] = "rpush" };
static const char *const pop_events[] = { [LIST_FRONT] = "lpop", [LIST_BACK] = "rpop" };

/* Elements of argv[arg] are gone, and the key if it was the last. */
static void list_lost(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p, const char *event)
{
	arg_event(cx, c, arg, EVENT_LIST, event);
	if (!item_list(p->it)->n) {
		key_delete(cx, p);
		arg_gone(cx, c, arg);
	}
}

/* All of e[0..n) to the list of argv[1], or none.  0, or -1: no memory. */
static int push_all(struct ctx *cx, purser_call *c, struct pos *p, int front, const purser_bytes *e, uint32_t n)
{
	struct list *l = list_at_key(cx, p);
	uint32_t i;

	if (!l)
		return -1;
	for (i = 0; i < n; i++)
		if (list_push(cx, l, front, e[i])) {
			while (i-- > 0)
				list_pop(cx, l, front);
			list_settle(cx, p, c, 1, 0);
			return -1;
		}
	return 0;
}

static void push(struct ctx *cx, purser_call *c, int front, int existing)
{
	struct pos p;

	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_LIST))
		return;
	if (existing && !p.it)
		reply_int(cx, c, 0);
	else if (push_all(cx, c, &p, front, c->argv + 2, c->argc - 2))
		reply_nomem(cx, c);
	else {
		arg_event(cx, c, 1, EVENT_LIST, push_events[front]);
		reply_int(cx, c, (int64_t)item_list(p.it)->n);
	}
}

void op_lpush(struct ctx *cx, purser_call *c) { push(cx, c, LIST_FRONT, 0); }
void op_rpush(struct ctx *cx, purser_call *c) { push(cx, c, LIST_BACK, 0); }
void op_lpushx(struct ctx *cx, purser_call *c) { push(cx, c, LIST_FRONT, 1); }
void op_rpushx(struct ctx *cx, purser_call *c) { push(cx, c, LIST_BACK, 1); }

void op_linsert(struct ctx *cx, purser_call *c)
{
	int behind = arg_is(c->argv[2], "after"), more;
	struct list *l;
	struct lpos at;
	struct pos p;

	if (!behind && !arg_is(c->argv[2], "before")) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		reply_int(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_LIST))
		return;
	l = item_list(p.it);
	for (at = list_end(l, LIST_FRONT), more = 1; more; more = list_step(&at, 0)) {
		purser_bytes e = list_at(&at);

		if (e.n == c->argv[3].n && memcmp(e.p, c->argv[3].p, e.n) == 0)
			break;
	}
	if (!more)
		reply_int(cx, c, -1);
	else if (list_insert(cx, l, &at, behind, c->argv[4]))
		reply_nomem(cx, c);
	else {
		arg_event(cx, c, 1, EVENT_LIST, "linsert");
		reply_int(cx, c, (int64_t)l->n);
	}
}

/* ---- popping ------------------------------------------------------------------------------------------ */
/* So many elements of argv[arg] as an array; with the last one the key goes. */
void list_pop_many(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p, int front, uint64_t n)
{
	struct list *l = item_list(p->it);

	if (n > l->n)
		n = l->n;
	reply_array(cx, c, n);
	if (!n)
		return;
	for (; n > 0; n--) {
		struct lpos at = list_end(l, front);

		reply_element(cx, c, &at);
		list_pop(cx, l, front);
	}
	list_lost(cx, c, arg, p, pop_events[front]);
}

static void pop(struct ctx *cx, purser_call *c, int front)
{
	int64_t count = 1;
	struct lpos at;
	struct pos p;

	if (c->argc > 3) {
		reply_arity(cx, c);
		return;
	}
	if (c->argc == 3 && (int_parse(c->argv[2].p, c->argv[2].n, &count) || count < 0)) {
		reply_error(cx, c, err_positive);
		return;
	}
	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		if (c->argc == 3)
			reply_null_array(cx, c);
		else
			reply_null(cx, c);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_LIST))
		return;
	if (c->argc == 3) {
		list_pop_many(cx, c, 1, &p, front, (uint64_t)count);
		return;
	}
	at = list_end(item_list(p.it), front);
	reply_element(cx, c, &at);
	list_pop(cx, item_list(p.it), front);
	list_lost(cx, c, 1, &p, pop_events[front]);
}

void op_lpop(struct ctx *cx, purser_call *c) { pop(cx, c, LIST_FRONT); }
void op_rpop(struct ctx *cx, purser_call *c) { pop(cx, c, LIST_BACK); }

void op_lmpop(struct ctx *cx, purser_call *c)
{
	int64_t keys, count = 0;
	uint32_t at, i;
	struct pos p;
	int front;

	if (int_parse(c->argv[1].p, c->argv[1].n, &keys) || keys < 1) {
		reply_error(cx, c, "ERR numkeys should be greater than 0");
		return;
	}
	if (keys > c->argc - 3) {
		reply_error(cx, c, err_syntax);
		return;
	}
	at = 2 + (uint32_t)keys;
	front = arg_end(cx, c, at);
	if (front < 0)
		return;
	for (at++; at < c->argc; at += 2) {
		if (count || !arg_is(c->argv[at], "count") || at + 1 == c->argc) {
			reply_error(cx, c, err_syntax);
			return;
		}
		if (int_parse(c->argv[at + 1].p, c->argv[at + 1].n, &count) || count < 1) {
			reply_error(cx, c, "ERR count should be greater than 0");
			return;
		}
	}
	for (i = 0; i < (uint32_t)keys; i++) {
		if (!arg_find(cx, c, 2 + i, i, &p, 0))
			continue;
		if (wrong_type(cx, c, p.it, TYPE_LIST))
			return;
		reply_array(cx, c, 2);
		reply_bulk(cx, c, c->argv[2 + i].p, c->argv[2 + i].n);
		list_pop_many(cx, c, 2 + i, &p, front, count ? (uint64_t)count : 1);
		return;
	}
	reply_null_array(cx, c);
}

void list_move(struct ctx *cx, purser_call *c, int from_front, int to_front)
{
	struct pos from, to;
	struct lpos at;
	struct list *l;

	if (!arg_find(cx, c, 1, 0, &from, 0)) {
		reply_null(cx, c);
		return;
	}
	if (wrong_type(cx, c, from.it, TYPE_LIST))
		return;
	arg_find(cx, c, 2, 1, &to, 0);
	if (wrong_type(cx, c, to.it, TYPE_LIST))
		return;
	l = list_at_key(cx, &to);
	at = list_end(item_list(from.it), from_front);
	/* Where both are the same list, its nodes may move while it grows: the element is copied first. */
	if (l && l == item_list(from.it)) {
		purser_bytes e = list_at(&at);
		void *copy = scratch(cx, e.n + 1);

		if (!copy) {
			reply_nomem(cx, c);
			return;
		}
		memcpy(copy, e.p, e.n);
		if (list_push(cx, l, to_front, (purser_bytes){ copy, e.n })) {
			reply_nomem(cx, c);
			return;
		}
		list_pop(cx, l, from_front);
		arg_event(cx, c, 2, EVENT_LIST, push_events[to_front]);
		arg_event(cx, c, 1, EVENT_LIST, pop_events[from_front]);
		reply_bulk(cx, c, copy, e.n);
		return;
	}
	if (!l || list_push(cx, l, to_front, list_at(&at))) {
		if (l)
			list_settle(cx, &to, c, 2, 1);
		reply_nomem(cx, c);
		return;
	}
	reply_element(cx, c, &at);
	list_pop(cx, item_list(from.it), from_front);
	arg_event(cx, c, 2, EVENT_LIST, push_events[to_front]);
	arg_event(cx, c, 1, EVENT_LIST, pop_events[from_front]);
	if (list_settle(cx, &from, c, 1, 0))
		arg_gone(cx, c, 1);
}

void op_lmove(struct ctx *cx, purser_call *c)
{
	int from = arg_end(cx, c, 3), to;

	if (from < 0)
		return;
	to = arg_end(cx, c, 4);
	if (to >= 0)
		list_move(cx, c, from, to);
}

void op_rpoplpush(struct ctx *cx, purser_call *c) { list_move(cx, c, LIST_BACK, LIST_FRONT); }

/* ---- reading ------------------------------------------------------------------------------------------ */
void op_llen(struct ctx *cx, purser_call *c)
{
	struct pos p;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (!wrong_type(cx, c, p.it, TYPE_LIST))
		reply_int(cx, c, p.it ? (int64_t)item_list(p.it)->n : 0);
}

/* Number i of n, from the end where it is negative; 0: there is none. */
static int in_range(int64_t *i, uint64_t n)
{
	if (*i < 0)
		*i += (int64_t)n;
	return *i >= 0 && (uint64_t)*i < n;
}

void op_lindex(struct ctx *cx, purser_call *c)
{
	struct lpos at;
	struct pos p;
	int64_t i;

	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_null(cx, c);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_LIST) || arg_int(cx, c, 2, &i))
		return;
	if (!in_range(&i, item_list(p.it)->n)) {
		reply_null(cx, c);
		return;
	}
	at = list_seek(item_list(p.it), (uint64_t)i);
	reply_element(cx, c, &at);
}

/* START STOP at argv[2], argv[3] as Redis clips them; how many elements from *start on. */
static uint64_t clip(int64_t *start, int64_t stop, uint64_t n)
{
	if (*start < 0)
		*start = *start + (int64_t)n < 0 ? 0 : *start + (int64_t)n;
	if (stop < 0)
		stop += (int64_t)n;
	if (stop >= (int64_t)n)
		stop = (int64_t)n - 1;
	return *start > stop ? 0 : (uint64_t)(stop - *start) + 1;
}

void op_lrange(struct ctx *cx, purser_call *c)
{
	int64_t start, stop;
	struct lpos at;
	struct pos p;
	uint64_t n;

	if (arg_int(cx, c, 2, &start) || arg_int(cx, c, 3, &stop))
		return;
	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_LIST))
		return;
	n = p.it ? clip(&start, stop, item_list(p.it)->n) : 0;
	reply_array(cx, c, n);
	if (!n)
		return;
	at = list_seek(item_list(p.it), (uint64_t)start);
	for (; n > 0; n--) {
		reply_element(cx, c, &at);
		if (n > 1)
			list_step(&at, 0);
	}
}

struct search { int64_t rank, count, maxlen; int many; };

static int search_options(struct ctx *cx, purser_call *c, struct search *s)
{
	uint32_t i;

	*s = (struct search){ 1, -1, 0, 0 };
	for (i = 3; i < c->argc; i += 2) {
		if (i + 1 == c->argc) {
			reply_error(cx, c, err_syntax);
			return -1;
		}
		if (arg_is(c->argv[i], "rank")) {
			if (arg_int(cx, c, i + 1, &s->rank))
				return -1;
			if (s->rank == 0) {
				reply_error(cx, c, "ERR RANK can't be zero: use 1 to start from the first match, "
				    "2 from the second ... or use negative to start from the end of the list");
				return -1;
			}
		} else if (arg_is(c->argv[i], "count")) {
			if (int_parse(c->argv[i + 1].p, c->argv[i + 1].n, &s->count) || s->count < 0) {
				reply_error(cx, c, "ERR COUNT can't be negative");
				return -1;
			}
			s->many = 1;
		} else if (arg_is(c->argv[i], "maxlen")) {
			if (int_parse(c->argv[i + 1].p, c->argv[i + 1].n, &s->maxlen) || s->maxlen < 0) {
				reply_error(cx, c, "ERR MAXLEN can't be negative");
				return -1;
			}
		} else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
	}
	return 0;
}

/* Writes the numbers of what matches to found (NULL: only counts them); how many. */
static uint64_t search(const struct list *l, purser_bytes want, const struct search *s, int64_t *found)
{
	int back = s->rank < 0, more = 1;
	/* The least integer has no opposite: to Redis it is as -1. */
	uint64_t skip = s->rank == INT64_MIN ? 0 : (uint64_t)(back ? -s->rank : s->rank) - 1, n = 0, i;
	uint64_t most = s->many && s->count == 0 ? UINT64_MAX : s->many ? (uint64_t)s->count : 1;
	struct lpos at = list_end(l, back ? LIST_BACK : LIST_FRONT);

	for (i = 0; more && n < most && (!s->maxlen || i < (uint64_t)s->maxlen); i++) {
		purser_bytes e = list_at(&at);

		if (e.n == want.n && memcmp(e.p, want.p, e.n) == 0) {
			if (skip) {
				skip--;
			} else {
				if (found)
					found[n] = (int64_t)(back ? l->n - 1 - i : i);
				n++;
			}
		}
		more = list_step(&at, back);
	}
	return n;
}

void op_lpos(struct ctx *cx, purser_call *c)
{
	struct search s;
	int64_t *found, one;
	uint64_t n = 0, i;
	struct pos p;

	if (search_options(cx, c, &s))
		return;
	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_LIST))
		return;
	if (!s.many) {
		if (p.it && search(item_list(p.it), c->argv[2], &s, &one))
			reply_int(cx, c, one);
		else
			reply_null(cx, c);
		return;
	}
	if (p.it)
		n = search(item_list(p.it), c->argv[2], &s, NULL);
	found = n ? scratch(cx, n * sizeof(*found)) : &one;
	if (!found) {
		reply_nomem(cx, c);
		return;
	}
	if (n)
		search(item_list(p.it), c->argv[2], &s, found);
	reply_array(cx, c, n);
	for (i = 0; i < n; i++)
		reply_int(cx, c, found[i]);
}

/* ---- changing ----------------------------------------------------------------------------------------- */
void op_lset(struct ctx *cx, purser_call *c)
{
	struct pos p;
	int64_t i;

	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		reply_error(cx, c, err_no_key);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_LIST) || arg_int(cx, c, 2, &i))
		return;
	if (!in_range(&i, item_list(p.it)->n))
		reply_error(cx, c, "ERR index out of range");
	else if (list_replace(cx, item_list(p.it), list_seek(item_list(p.it), (uint64_t)i), c->argv[3]))
		reply_nomem(cx, c);
	else {
		arg_event(cx, c, 1, EVENT_LIST, "lset");
		reply_ok(cx, c);
	}
}

void op_ltrim(struct ctx *cx, purser_call *c)
{
	int64_t start, stop;
	struct list *l;
	struct pos p;
	uint64_t n;

	if (arg_int(cx, c, 2, &start) || arg_int(cx, c, 3, &stop))
		return;
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_LIST))
		return;
	if (p.it) {
		l = item_list(p.it);
		n = clip(&start, stop, l->n);
		if (n)
			list_trim(cx, l, (uint64_t)start, l->n - (uint64_t)start - n);
		else
			key_delete(cx, &p);
		arg_event(cx, c, 1, EVENT_LIST, "ltrim");
		if (!n)
			arg_gone(cx, c, 1);
	}
	reply_ok(cx, c);
}

void op_lrem(struct ctx *cx, purser_call *c)
{
	int64_t count, gone = 0;
	struct list *l;
	struct lpos at;
	struct pos p;
	int back, more = 1;

	if (arg_int(cx, c, 2, &count))
		return;
	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		reply_int(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_LIST))
		return;
	back = count < 0;
	if (back)
		count = count == INT64_MIN ? 0 : -count; /* it has no opposite: to Redis all are meant */
	l = item_list(p.it);
	at = list_end(l, back ? LIST_BACK : LIST_FRONT);
	while (more && (!count || gone < count)) {
		purser_bytes e = list_at(&at);

		if (e.n == c->argv[3].n && memcmp(e.p, c->argv[3].p, e.n) == 0) {
			more = list_delete(cx, l, &at, back);
			gone++;
		} else {
			more = list_step(&at, back);
		}
	}
	if (gone)
		list_lost(cx, c, 1, &p, "lrem");
	reply_int(cx, c, gone);
}
