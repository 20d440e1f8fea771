/* SPDX-License-Identifier: Apache-2.0
 *
 * The B+tree of ids: see idtree.h.  Nodes are split on the way down, so that the node above has room for one
 * more; each such step is whole in itself, and nothing is lost when the next one gets no memory.
 */
#include <string.h>
#include "idtree.h"

#define LEAF_FIRST 4u                    /* ids of a leaf to begin with */

struct step { struct idnode *node; uint32_t at; };
struct path { struct step s[IDTREE_LEVELS]; uint32_t n; }; /* s[0] is the root; the last one is a leaf */

static size_t node_bytes(uint32_t cap, size_t size)
{
	return sizeof(struct idnode) + cap * (sizeof(struct sid) + size);
}

static uint8_t *values(const struct idnode *d) { return (uint8_t *)(uintptr_t)(d->id + d->cap); }

static struct idnode **child(const struct idnode *d, uint32_t i)
{
	return (struct idnode **)(void *)values(d) + i;
}

static size_t size_at(const struct idtree *t, uint32_t level) /* 1: leaves */
{
	return level == 1 ? t->size : sizeof(struct idnode *);
}

static struct idnode *node_new(struct ctx *cx, uint32_t cap, size_t size)
{
	struct idnode *d = mem_get(cx, node_bytes(cap, size));

	if (d)
		*d = (struct idnode){ .cap = cap };
	return d;
}

/* ---- finding ------------------------------------------------------------------------------------------- */
/* How many ids of the node are not above this one. */
static uint32_t not_above(const struct idnode *d, struct sid id)
{
	uint32_t lo = 0, hi = d->n;

	if (hi && sid_order(d->id[hi - 1], id) <= 0) /* appended, or the newest asked for */
		return hi;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (sid_order(d->id[mid], id) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint32_t child_of(const struct idnode *d, struct sid id)
{
	uint32_t i = not_above(d, id);

	return i ? i - 1 : 0;
}

static struct idnode *leaf_of(const struct idtree *t, struct sid id)
{
	struct idnode *d = t->root;
	uint32_t level;

	for (level = t->levels; level > 1; level--)
		d = *child(d, child_of(d, id));
	return d;
}

int idtree_upto(const struct idtree *t, struct sid id, struct idpos *p)
{
	if (!t->root)
		return 0;
	p->leaf = leaf_of(t, id);
	p->i = not_above(p->leaf, id);
	if (p->i) {
		p->i--;
		return 1;
	}
	return idpos_prev(p);
}

int idtree_from(const struct idtree *t, struct sid id, struct idpos *p)
{
	if (!t->root)
		return 0;
	p->leaf = leaf_of(t, id);
	p->i = not_above(p->leaf, id);
	if (p->i && sid_order(p->leaf->id[p->i - 1], id) == 0) {
		p->i--;
		return 1;
	}
	if (p->i < p->leaf->n)
		return 1;
	p->i--;
	return idpos_next(p);
}

int idpos_next(struct idpos *p)
{
	if (++p->i < p->leaf->n)
		return 1;
	p->leaf = p->leaf->next;
	p->i = 0;
	return p->leaf != NULL;
}

int idpos_prev(struct idpos *p)
{
	if (p->i) {
		p->i--;
		return 1;
	}
	p->leaf = p->leaf->prev;
	if (!p->leaf)
		return 0;
	p->i = p->leaf->n - 1;
	return 1;
}

void *idtree_find(const struct idtree *t, struct sid id)
{
	struct idpos p;

	return idtree_upto(t, id, &p) && sid_order(idpos_id(&p), id) == 0 ? idpos_value(t, &p) : NULL;
}

/* ---- adding -------------------------------------------------------------------------------------------- */
/* A leaf has moved: those beside it and the one above learn of it. */
static void relink(struct idtree *t, struct idnode *d, const struct step *above)
{
	if (d->prev)
		d->prev->next = d;
	if (d->next)
		d->next->prev = d;
	*(above ? child(above->node, above->at) : &t->root) = d;
}

/* Room for more ids in a leaf; NULL: no memory, it is as it was. */
static struct idnode *leaf_grow(struct ctx *cx, struct idtree *t, struct idnode *d, uint32_t cap,
    const struct step *above)
{
	uint32_t was = d->cap;

	d = mem_resize(cx, d, node_bytes(was, t->size), node_bytes(cap, t->size));
	if (!d)
		return NULL;
	memmove(d->id + cap, d->id + was, (size_t)d->n * t->size);
	d->cap = cap;
	relink(t, d, above);
	return d;
}

static void open_gap(struct idnode *d, uint32_t at, struct sid id, size_t size)
{
	uint8_t *v = values(d);

	memmove(d->id + at + 1, d->id + at, (d->n - at) * sizeof(*d->id));
	memmove(v + (at + 1) * size, v + at * size, (d->n - at) * size);
	d->id[at] = id;
	d->n++;
}

/* Moves what is behind `from` in a to the end of b. */
static void move_tail(struct idnode *a, uint32_t from, struct idnode *b, size_t size)
{
	uint32_t k = a->n - from;

	memcpy(b->id + b->n, a->id + from, k * sizeof(*a->id));
	memcpy(values(b) + b->n * size, values(a) + from * size, k * size);
	b->n += k;
	a->n -= k;
}

/* Splits the full node d, which is number above->at of the node above; that has room.  A node at the right end
 * that id will be added to behind all others stays full.  0, or -1: no memory. */
static int split(struct ctx *cx, struct idtree *t, struct idnode *d, uint32_t level, const struct step *above,
    struct sid id)
{
	int last = above->at + 1 == above->node->n && (level > 1 || !d->next) &&
	    sid_order(d->id[d->n - 1], id) < 0;
	size_t size = size_at(t, level);
	struct idnode *b = node_new(cx, last && level == 1 ? LEAF_FIRST : IDNODE_MAX, size);

	if (!b)
		return -1;
	if (!last)
		move_tail(d, d->n / 2, b, size);
	else if (level > 1)
		move_tail(d, d->n - 1, b, size);
	if (level == 1) {
		b->prev = d;
		b->next = d->next;
		if (d->next)
			d->next->prev = b;
		d->next = b;
	}
	open_gap(above->node, above->at + 1, b->n ? b->id[0] : id, sizeof(b));
	*child(above->node, above->at + 1) = b;
	return 0;
}

/* A root above the full one.  0, or -1: no memory. */
static int raise(struct ctx *cx, struct idtree *t)
{
	struct idnode *d = node_new(cx, IDNODE_MAX, sizeof(d));

	if (!d)
		return -1;
	d->id[0] = t->root->id[0];
	*child(d, 0) = t->root;
	d->n = 1;
	t->root = d;
	t->levels++;
	return 0;
}

static void *put_first(struct ctx *cx, struct idtree *t, struct sid id)
{
	t->root = node_new(cx, LEAF_FIRST, t->size);
	if (!t->root)
		return NULL;
	t->root->id[0] = id;
	t->root->n = 1;
	t->levels = 1;
	t->n = 1;
	return values(t->root);
}

void *idtree_put(struct ctx *cx, struct idtree *t, struct sid id, int *fresh)
{
	struct step above = { NULL, 0 };
	struct idnode *d;
	uint32_t level, at;
	void *v = idtree_find(t, id);

	*fresh = !v;
	if (v)
		return v;
	if (!t->root)
		return put_first(cx, t, id);
	if (t->root->n == IDNODE_MAX && raise(cx, t))
		return NULL;
	for (d = t->root, level = t->levels;; level--) {
		if (d->n == IDNODE_MAX) {
			if (split(cx, t, d, level, &above, id))
				goto nomem;
			above.at = child_of(above.node, id);
			d = *child(above.node, above.at);
		}
		if (level == 1)
			break;
		above = (struct step){ d, child_of(d, id) };
		d = *child(d, above.at);
	}
	if (d->n == d->cap) {
		d = leaf_grow(cx, t, d, 2 * d->cap, above.node ? &above : NULL);
		if (!d)
			goto nomem;
	}
	at = not_above(d, id);
	open_gap(d, at, id, t->size);
	t->n++;
	return values(d) + (size_t)at * t->size;
nomem: /* a root of one node would be one level for nothing */
	while (t->levels > 1 && t->root->n == 1) {
		d = t->root;
		t->root = *child(d, 0);
		t->levels--;
		mem_put(cx, d, node_bytes(d->cap, sizeof(d)));
	}
	return NULL;
}

/* ---- removing ------------------------------------------------------------------------------------------ */
static void close_gap(struct idnode *d, uint32_t at, size_t size)
{
	uint8_t *v = values(d);

	d->n--;
	memmove(d->id + at, d->id + at + 1, (d->n - at) * sizeof(*d->id));
	memmove(v + at * size, v + (at + 1) * size, (d->n - at) * size);
}

static void node_free(struct ctx *cx, struct idtree *t, struct idnode *d, uint32_t level)
{
	if (level == 1) {
		if (d->prev)
			d->prev->next = d->next;
		if (d->next)
			d->next->prev = d->prev;
	}
	mem_put(cx, d, node_bytes(d->cap, size_at(t, level)));
}

/* Puts number at + 1 of the node above into number at, if both together are small. */
static void merge(struct ctx *cx, struct idtree *t, struct idnode *above, uint32_t at, uint32_t level)
{
	struct idnode *a = *child(above, at), *b = *child(above, at + 1);
	struct step step = { above, at };
	size_t size = size_at(t, level);

	if (a->n + b->n > IDNODE_MAX / 2)
		return;
	if (a->n + b->n > a->cap && !(a = leaf_grow(cx, t, a, IDNODE_MAX / 2, &step)))
		return; /* two small ones do as well */
	if (level > 1)
		b->id[0] = above->id[at + 1]; /* an inner node's first says nothing by itself */
	move_tail(b, 0, a, size);
	node_free(cx, t, b, level);
	close_gap(above, at + 1, sizeof(b));
}

int idtree_remove(struct ctx *cx, struct idtree *t, struct sid id)
{
	struct path p = { .n = 0 };
	struct idnode *d = t->root;
	uint32_t level, at;

	if (!d)
		return 0;
	for (level = t->levels; level > 1; level--) {
		at = child_of(d, id);
		p.s[p.n++] = (struct step){ d, at };
		d = *child(d, at);
	}
	at = not_above(d, id);
	if (!at || sid_order(d->id[at - 1], id) != 0)
		return 0;
	close_gap(d, at - 1, t->size);
	t->n--;
	/* upwards: an empty node goes, small neighbours become one */
	for (level = 1; p.n > 0; level++) {
		struct step *s = &p.s[--p.n];

		if (d->n == 0) {
			node_free(cx, t, d, level);
			close_gap(s->node, s->at, sizeof(d));
		} else if (d->n <= IDNODE_MAX / 2) {
			uint32_t n = s->node->n;

			if (s->at + 1 < n)
				merge(cx, t, s->node, s->at, level);
			if (s->node->n == n && s->at > 0)
				merge(cx, t, s->node, s->at - 1, level);
		}
		d = s->node;
	}
	while (t->root && (t->root->n == 0 || (t->levels > 1 && t->root->n == 1))) {
		d = t->root;
		t->root = t->levels > 1 && d->n ? *child(d, 0) : NULL;
		mem_put(cx, d, node_bytes(d->cap, size_at(t, t->levels)));
		t->levels = t->root ? t->levels - 1 : 0;
	}
	return 1;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */
int idtree_reap(struct ctx *cx, struct idtree *t, int64_t *budget, idtree_drop *drop)
{
	while (t->root && *budget > 0) {
		struct idnode *above[IDTREE_LEVELS], *d = t->root;
		uint32_t level, i;

		for (level = t->levels; level > 1; level--) {
			above[level] = d;
			d = *child(d, d->n - 1);
		}
		for (i = 0; drop && i < d->n; i++)
			drop(cx, values(d) + (size_t)i * t->size);
		*budget -= d->n;
		t->n -= d->n;
		for (;; d = above[level]) { /* ... and what is empty above */
			node_free(cx, t, d, level);
			if (level++ == t->levels) {
				t->root = NULL;
				t->levels = 0;
				break;
			}
			if (--above[level]->n > 0)
				break;
		}
	}
	return !t->root;
}

static size_t node_weight(const struct idtree *t, const struct idnode *d, uint32_t level)
{
	size_t n = chunk_size(node_bytes(d->cap, size_at(t, level)));
	uint32_t i;

	for (i = 0; level > 1 && i < d->n; i++)
		n += node_weight(t, *child(d, i), level - 1);
	return n;
}

size_t idtree_bytes(const struct idtree *t) { return t->root ? node_weight(t, t->root, t->levels) : 0; }

size_t idtree_memory(const struct idtree *t)
{
	size_t leaves = 0, n = 0;
	struct idpos p;
	double per;

	if (!t->root)
		return 0;
	if (t->levels == 1)
		return chunk_size(node_bytes(t->root->cap, t->size));
	for (idtree_from(t, SID_MIN, &p); p.leaf && leaves < 16; p.leaf = p.leaf->next, leaves++)
		n += p.leaf->n;
	per = (double)t->n * (double)leaves / (double)n;
	return (size_t)(per * (double)chunk_size(node_bytes(IDNODE_MAX, t->size)) +
	    per / 16 * (double)chunk_size(node_bytes(IDNODE_MAX, sizeof(void *))));
}
