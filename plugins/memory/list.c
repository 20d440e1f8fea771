/* SPDX-License-Identifier: Apache-2.0
 *
 * The chain of nodes: see list.h.
 */
#include "keyspace.h"
#include "list.h"

#define NODE_FIRST 64u                  /* bytes of a list's first node */

static size_t node_bytes(uint32_t cap) { return sizeof(struct node) + cap; }
static uint32_t node_used(const struct node *n) { return n->end - n->at; }

/* ---- elements ---------------------------------------------------------------------------------------- */
static uint32_t length_bytes(size_t n) { return n < 255 ? 1 : 5; }
static uint32_t entry_bytes(size_t n) { return (uint32_t)n + 2 * length_bytes(n); }

/* The element at off: its payload; *all is what it takes in the node. */
static purser_bytes entry_at(const struct node *n, uint32_t off, uint32_t *all)
{
	const uint8_t *p = n->data + off;
	uint32_t len = p[0];

	if (len == 255)
		memcpy(&len, p + 1, 4);
	*all = entry_bytes(len);
	return (purser_bytes){ p + length_bytes(len), len };
}

/* What the element takes that ends at off. */
static uint32_t entry_before(const struct node *n, uint32_t off)
{
	uint32_t len = n->data[off - 1];

	if (len == 255)
		memcpy(&len, n->data + off - 5, 4);
	return entry_bytes(len);
}

static void entry_write(uint8_t *p, purser_bytes e)
{
	uint32_t len = (uint32_t)e.n, k = length_bytes(e.n);
	uint8_t *back = p + k + len;

	if (e.n)
		memmove(p + k, e.p, e.n);
	if (k == 1) {
		p[0] = back[0] = (uint8_t)len;
		return;
	}
	p[0] = back[4] = 255;
	memcpy(p + 1, &len, 4);
	memcpy(back, &len, 4);
}

/* ---- nodes ----------------------------------------------------------------------------------------------- */
static struct node *node_new(struct ctx *cx, uint32_t cap)
{
	struct node *n = mem_get(cx, node_bytes(cap));

	if (n)
		*n = (struct node){ .cap = cap };
	return n;
}

static void node_free(struct ctx *cx, struct node *n) { mem_put(cx, n, node_bytes(n->cap)); }

/* Between prev and next; either may be NULL. */
static void node_link(struct list *l, struct node *n, struct node *prev, struct node *next)
{
	n->prev = prev;
	n->next = next;
	*(prev ? &prev->next : &l->head) = n;
	*(next ? &next->prev : &l->tail) = n;
}

static void node_unlink(struct list *l, struct node *n)
{
	*(n->prev ? &n->prev->next : &l->head) = n->next;
	*(n->next ? &n->next->prev : &l->tail) = n->prev;
}

/* Moves the elements so that all free bytes are in front of them, or behind. */
static void node_pack(struct node *n, int free_front)
{
	uint32_t used = node_used(n), at = free_front ? n->cap - used : 0;

	memmove(n->data + at, n->data + n->at, used);
	n->at = at;
	n->end = at + used;
}

/* Room for `more` bytes; the node may move.  NULL: no memory, or it would be too long: *n is as it was. */
static struct node *node_room(struct ctx *cx, struct list *l, struct node *n, uint32_t more)
{
	uint32_t need = node_used(n) + more, cap = n->cap;
	struct node *to;

	if (need <= cap)
		return n;
	if (need > NODE_BYTES)
		return NULL;
	while (cap < need)
		cap = cap < NODE_FIRST ? NODE_FIRST : 2 * cap;
	if (cap > NODE_BYTES)
		cap = NODE_BYTES;
	to = mem_resize(cx, n, node_bytes(n->cap), node_bytes(cap));
	if (!to)
		return NULL;
	to->cap = cap;
	node_link(l, to, to->prev, to->next);
	return to;
}

/* A node with this element alone; it takes more if it is small. */
static struct node *node_of(struct ctx *cx, const struct list *l, purser_bytes e, int free_front)
{
	uint32_t need = entry_bytes(e.n), least = l->n ? NODE_BYTES / 4 : NODE_FIRST;
	struct node *n = node_new(cx, need > least ? need : least);

	if (!n)
		return NULL;
	n->at = free_front ? n->cap - need : 0;
	n->end = n->at + need;
	n->count = 1;
	entry_write(n->data + n->at, e);
	return n;
}

/* ---- lists ----------------------------------------------------------------------------------------------- */
struct list *list_new(struct ctx *cx)
{
	struct list *l = mem_get(cx, sizeof(*l));

	if (l)
		*l = (struct list){ .n = 0 };
	return l;
}

int list_reap(struct ctx *cx, struct list *l, int64_t *budget)
{
	while (l->head && *budget > 0) {
		struct node *n = l->head;
		int64_t was = cx->work;

		node_unlink(l, n);
		l->n -= n->count;
		count_add(&cx->led->freeing, -(int64_t)n->count);
		node_free(cx, n);
		*budget -= 4 + (cx->work - was);
	}
	if (l->head)
		return 0;
	mem_put(cx, l, sizeof(*l));
	return 1;
}

void list_dispose(struct ctx *cx, struct list *l)
{
	int64_t all = INT64_MAX, was = cx->work;

	if (!l)
		return;
	if (l->n > 16 * REAP_AT_ONCE) {
		reap_later(cx, &l->reap, REAP_LIST, l->n);
		return;
	}
	count_add(&cx->led->freeing, (int64_t)l->n);
	list_reap(cx, l, &all);
	reap_was(cx, was, INT64_MAX, all);
}

struct list *list_copy(struct ctx *cx, const struct list *l)
{
	struct list *to = list_new(cx);
	const struct node *n;

	for (n = l->head; to && n; n = n->next) {
		struct node *m = node_new(cx, node_used(n));

		if (!m) {
			list_dispose(cx, to);
			return NULL;
		}
		memcpy(m->data, n->data + n->at, node_used(n));
		m->end = node_used(n);
		m->count = n->count;
		node_link(to, m, to->tail, NULL);
		to->n += m->count;
	}
	return to;
}

size_t list_bytes(const struct list *l)
{
	size_t bytes = chunk_size(sizeof(*l));
	const struct node *n;

	for (n = l->head; n; n = n->next)
		bytes += chunk_size(node_bytes(n->cap));
	return bytes;
}

size_t list_memory(const struct list *l)
{
	size_t bytes = chunk_size(sizeof(*l)), nodes = 0, some = 0;
	uint64_t seen = 0;
	const struct node *n;

	for (n = l->head; n && nodes < 64; n = n->next, nodes++) {
		some += chunk_size(node_bytes(n->cap));
		seen += n->count;
	}
	return bytes + (n ? (size_t)((double)some / (double)seen * (double)l->n) : some);
}

int list_push(struct ctx *cx, struct list *l, int front, purser_bytes e)
{
	struct node *n = front ? l->head : l->tail;
	uint32_t need = entry_bytes(e.n);

	if (n)
		n = node_room(cx, l, n, need);
	if (!n) {
		n = node_of(cx, l, e, front);
		if (!n)
			return -1;
		node_link(l, n, front ? NULL : l->tail, front ? l->head : NULL);
		l->n++;
		return 0;
	}
	if (front) {
		if (n->at < need)
			node_pack(n, 1);
		n->at -= need;
		entry_write(n->data + n->at, e);
	} else {
		if (n->cap - n->end < need)
			node_pack(n, 0);
		entry_write(n->data + n->end, e);
		n->end += need;
	}
	n->count++;
	l->n++;
	return 0;
}

static void node_drop_if_empty(struct ctx *cx, struct list *l, struct node *n)
{
	if (n->count)
		return;
	node_unlink(l, n);
	node_free(cx, n);
}

void list_pop(struct ctx *cx, struct list *l, int front)
{
	struct node *n = front ? l->head : l->tail;
	uint32_t all;

	if (front) {
		entry_at(n, n->at, &all);
		n->at += all;
	} else {
		n->end -= entry_before(n, n->end);
	}
	n->count--;
	l->n--;
	node_drop_if_empty(cx, l, n);
}

/* ---- places ------------------------------------------------------------------------------------------------ */
struct lpos list_end(const struct list *l, int front)
{
	if (front)
		return (struct lpos){ l->head, l->head->at };
	return (struct lpos){ l->tail, l->tail->end - entry_before(l->tail, l->tail->end) };
}

purser_bytes list_at(const struct lpos *p)
{
	uint32_t all;

	return entry_at(p->n, p->off, &all);
}

int list_step(struct lpos *p, int front)
{
	uint32_t all;

	if (!front) {
		entry_at(p->n, p->off, &all);
		p->off += all;
		if (p->off < p->n->end)
			return 1;
		p->n = p->n->next;
		if (p->n)
			p->off = p->n->at;
		return p->n != NULL;
	}
	if (p->off == p->n->at) {
		p->n = p->n->prev;
		if (!p->n)
			return 0;
		p->off = p->n->end;
	}
	p->off -= entry_before(p->n, p->off);
	return 1;
}

struct lpos list_seek(const struct list *l, uint64_t i)
{
	struct lpos p = { l->head, 0 };
	uint64_t at = 0;

	if (i < l->n / 2) {
		while (i - at >= p.n->count) {
			at += p.n->count;
			p.n = p.n->next;
		}
	} else {
		p.n = l->tail;
		at = l->n - p.n->count;
		while (at > i) {
			p.n = p.n->prev;
			at -= p.n->count;
		}
	}
	if (i - at < p.n->count / 2) {
		for (p.off = p.n->at; at < i; at++)
			list_step(&p, 0);
		return p;
	}
	p.off = p.n->end;
	for (at += p.n->count; at > i; at--)
		p.off -= entry_before(p.n, p.off);
	return p;
}

/* ---- in the middle ------------------------------------------------------------------------------------------- */
static uint32_t count_from(const struct node *n, uint32_t off)
{
	uint32_t all, k = 0;

	for (; off < n->end; off += all, k++)
		entry_at(n, off, &all);
	return k;
}

/* Cuts the node at off, which is inside: what is behind becomes a node of its own.  0, or -1: no memory. */
static int node_split(struct ctx *cx, struct list *l, struct node *n, uint32_t off)
{
	uint32_t bytes = n->end - off;
	struct node *m = node_new(cx, bytes);

	if (!m)
		return -1;
	memcpy(m->data, n->data + off, bytes);
	m->end = bytes;
	m->count = count_from(n, off);
	n->end = off;
	n->count -= m->count;
	node_link(l, m, n, n->next);
	return 0;
}

/* Into a node that has room for it. */
static void node_insert(struct node *n, uint32_t off, purser_bytes e)
{
	uint32_t need = entry_bytes(e.n), from = off - n->at;

	if (n->cap - n->end < need) {
		node_pack(n, 0);
		off = n->at + from;
	}
	memmove(n->data + off + need, n->data + off, n->end - off);
	entry_write(n->data + off, e);
	n->end += need;
	n->count++;
}

/* A node of its own for e, at off of n, which p's element is in.  0, or -1: no memory. */
static int insert_node(struct ctx *cx, struct list *l, struct lpos *p, uint32_t off, purser_bytes e)
{
	struct node *n = p->n, *made = node_of(cx, l, e, 0);
	int inside = off > n->at && off < n->end;

	if (!made)
		return -1;
	if (inside && node_split(cx, l, n, off)) {
		node_free(cx, made);
		return -1;
	}
	if (off == n->at)
		node_link(l, made, n->prev, n);
	else
		node_link(l, made, n, n->next);
	if (inside && off == p->off) /* it went with the second half */
		*p = (struct lpos){ made->next, made->next->at };
	return 0;
}

int list_insert(struct ctx *cx, struct list *l, struct lpos *p, int behind, purser_bytes e)
{
	uint32_t from = p->off - p->n->at, need = entry_bytes(e.n), all;
	struct node *n = node_room(cx, l, p->n, need);

	if (n)
		p->n = n;
	entry_at(p->n, p->off, &all);
	if (!n && insert_node(cx, l, p, p->off + (behind ? all : 0), e))
		return -1;
	if (n) {
		node_insert(n, p->off + (behind ? all : 0), e);
		p->off = n->at + from + (behind ? 0 : need);
	}
	l->n++;
	return 0;
}

/* Two neighbours that are nearly empty become one. */
static void node_merge(struct ctx *cx, struct list *l, struct lpos *p)
{
	struct node *a = p->n ? p->n->prev : NULL, *b = p->n, *to;
	uint32_t used;

	if (!a || node_used(a) + node_used(b) > NODE_BYTES / 4)
		return;
	used = node_used(b);
	to = node_room(cx, l, a, used);
	if (!to)
		return;
	if (to->cap - to->end < used)
		node_pack(to, 0);
	memcpy(to->data + to->end, b->data + b->at, used);
	p->off = to->end + (p->off - b->at);
	to->end += used;
	to->count += b->count;
	node_unlink(l, b);
	node_free(cx, b);
	p->n = to;
}

int list_delete(struct ctx *cx, struct list *l, struct lpos *p, int front)
{
	struct node *n = p->n;
	struct lpos next = *p;
	uint32_t all;
	int more = list_step(&next, front);

	entry_at(n, p->off, &all);
	memmove(n->data + p->off, n->data + p->off + all, n->end - p->off - all);
	if (more && next.n == n && next.off > p->off)
		next.off -= all;
	n->end -= all;
	n->count--;
	l->n--;
	node_drop_if_empty(cx, l, n);
	if (more) {
		node_merge(cx, l, &next);
		*p = next;
	}
	return more;
}

int list_replace(struct ctx *cx, struct list *l, struct lpos p, purser_bytes e)
{
	uint32_t all;

	entry_at(p.n, p.off, &all);
	if (entry_bytes(e.n) == all) {
		entry_write(p.n->data + p.off, e);
		return 0;
	}
	if (list_insert(cx, l, &p, 1, e))
		return -1;
	list_delete(cx, l, &p, 0);
	return 0;
}

/* Whole nodes first. */
static void trim_end(struct ctx *cx, struct list *l, int front, uint64_t drop)
{
	struct node *n;

	while (n = front ? l->head : l->tail, drop >= n->count) {
		drop -= n->count;
		l->n -= n->count;
		node_unlink(l, n);
		node_free(cx, n);
	}
	for (; drop > 0; drop--)
		list_pop(cx, l, front);
}

void list_trim(struct ctx *cx, struct list *l, uint64_t front, uint64_t back)
{
	trim_end(cx, l, LIST_FRONT, front);
	trim_end(cx, l, LIST_BACK, back);
}
