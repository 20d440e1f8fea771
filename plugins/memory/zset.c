/* SPDX-License-Identifier: Apache-2.0
 *
 * The two forms of a sorted set: see zset.h.
 */
#include "hash.h"
#include "table.h"
#include "zset.h"

int member_order(purser_bytes a, purser_bytes b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int comes_before(purser_bytes m, double score, purser_bytes than, double than_score)
{
	return score < than_score || (score == than_score && member_order(m, than) < 0);
}

/* ---- packed: entries are score 8 | length 1 | member ---------------------------------------------------- */
#define ENTRY_HEAD 9u

static size_t entry_bytes(const uint8_t *e) { return ENTRY_HEAD + e[8]; }
static purser_bytes entry_member(const uint8_t *e) { return (purser_bytes){ e + ENTRY_HEAD, e[8] }; }

static double entry_score(const uint8_t *e)
{
	double score;

	memcpy(&score, e, 8);
	return score;
}

static uint8_t *pack_find(uint8_t *pack, size_t n, purser_bytes m)
{
	uint8_t *e;

	for (e = pack + 1; e < pack + n; e += entry_bytes(e))
		if (e[8] == m.n && memcmp(e + ENTRY_HEAD, m.p, m.n) == 0)
			return e;
	return NULL;
}

static size_t pack_cut(uint8_t *pack, size_t n, uint8_t *from, const uint8_t *to, uint64_t entries)
{
	memmove(from, to, (size_t)(pack + n - to));
	pack[0] = (uint8_t)(pack[0] - entries);
	return n - (size_t)(to - from);
}

/* The new length, 0: it does not fit.  pack has room for ZSET_PACK_MAX. */
static size_t pack_put(uint8_t *pack, size_t n, purser_bytes m, double score)
{
	uint8_t *e = pack_find(pack, n, m);

	if (!e && (m.n > ZSET_PACK_BYTES || pack[0] == ZSET_PACK_MEMBERS))
		return 0;
	if (e && entry_score(e) == score)
		return n;
	if (e)
		n = pack_cut(pack, n, e, e + entry_bytes(e), 1);
	for (e = pack + 1; e < pack + n; e += entry_bytes(e))
		if (!comes_before(entry_member(e), entry_score(e), m, score))
			break;
	memmove(e + ENTRY_HEAD + m.n, e, (size_t)(pack + n - e));
	score += 0.0; /* minus zero loses its sign, as it does in a listpack */
	memcpy(e, &score, 8);
	e[8] = (uint8_t)m.n;
	if (m.n)
		memcpy(e + ENTRY_HEAD, m.p, m.n);
	pack[0]++;
	return n + ENTRY_HEAD + m.n;
}

/* ---- nodes: the value of an item is score 8 | node before 8 | levels of next 8, span 4 ------------------- */
#define NODE_HEAD 16u
#define NODE_LINK 12u

static purser_bytes node_member(const struct item *it)
{
	return (purser_bytes){ item_key(it), item_klen(it) };
}

double node_score(struct item *node) { return entry_score(item_value(node)); }

static void node_set_score(struct item *node, double score) { memcpy(item_value(node), &score, 8); }

static struct item *node_back(struct item *node)
{
	struct item *back;

	memcpy(&back, item_value(node) + 8, 8);
	return back;
}

static void node_set_back(struct item *node, struct item *back) { memcpy(item_value(node) + 8, &back, 8); }

static uint32_t node_levels(const struct item *node) { return (node->vlen - NODE_HEAD) / NODE_LINK; }

/* node NULL: the head of the list. */
static struct zlink link_get(const struct zset *z, struct item *node, uint32_t level)
{
	struct zlink l;
	const uint8_t *p;

	if (!node)
		return z->head[level];
	p = item_value(node) + NODE_HEAD + level * NODE_LINK;
	memcpy(&l.next, p, 8);
	memcpy(&l.span, p + 8, 4);
	return l;
}

static void link_set(struct zset *z, struct item *node, uint32_t level, struct item *next, uint64_t span)
{
	struct zlink l = { next, (uint32_t)span };
	uint8_t *p;

	if (!node) {
		z->head[level] = l;
		return;
	}
	p = item_value(node) + NODE_HEAD + level * NODE_LINK;
	memcpy(p, &l.next, 8);
	memcpy(p + 8, &l.span, 4);
}

/* ---- the list --------------------------------------------------------------------------------------------- */
/* The last nodes of each level that come before (score, m), and their ranks. */
static void list_path(const struct zset *z, purser_bytes m, double score, struct item **path, uint64_t *rank)
{
	struct item *at = NULL;
	uint64_t n = 0;
	uint32_t i;

	for (i = z->level; i-- > 0;) {
		for (;;) {
			struct zlink l = link_get(z, at, i);

			if (!l.next || !comes_before(node_member(l.next), node_score(l.next), m, score))
				break;
			n += l.span;
			at = l.next;
		}
		path[i] = at;
		rank[i] = n;
	}
}

static void list_insert(struct zset *z, struct item *node)
{
	struct item *path[ZSET_LEVELS];
	uint64_t rank[ZSET_LEVELS];
	uint32_t levels = node_levels(node), i;
	struct item *next;

	list_path(z, node_member(node), node_score(node), path, rank);
	for (; z->level < levels; z->level++) {
		path[z->level] = NULL;
		rank[z->level] = 0;
		link_set(z, NULL, z->level, NULL, z->n);
	}
	for (i = 0; i < z->level; i++) {
		struct zlink l = link_get(z, path[i], i);
		uint64_t before = rank[0] - rank[i];

		if (i >= levels) {
			link_set(z, path[i], i, l.next, l.span + 1);
			continue;
		}
		link_set(z, node, i, l.next, l.span - before);
		link_set(z, path[i], i, node, before + 1);
	}
	node_set_back(node, path[0]);
	next = link_get(z, node, 0).next;
	if (next)
		node_set_back(next, node);
	else
		z->tail = node;
	z->n++;
}

static void list_unlink(struct zset *z, struct item *node)
{
	struct item *path[ZSET_LEVELS], *next = link_get(z, node, 0).next;
	uint64_t rank[ZSET_LEVELS];
	uint32_t i;

	list_path(z, node_member(node), node_score(node), path, rank);
	for (i = 0; i < z->level; i++) {
		struct zlink l = link_get(z, path[i], i), own;

		if (l.next != node) {
			link_set(z, path[i], i, l.next, l.span - 1);
			continue;
		}
		own = link_get(z, node, i);
		link_set(z, path[i], i, own.next, (uint64_t)l.span + own.span - 1);
	}
	if (next)
		node_set_back(next, node_back(node));
	else
		z->tail = node_back(node);
	while (z->level > 1 && !z->head[z->level - 1].next)
		z->level--;
	z->n--;
}

/* Node number at. */
static struct item *list_seek(const struct zset *z, uint64_t at)
{
	struct item *node = NULL;
	uint64_t left = at + 1;
	uint32_t i;

	for (i = z->level; left && i-- > 0;) {
		struct zlink l = link_get(z, node, i);

		for (; l.next && l.span <= left; l = link_get(z, node, i)) {
			left -= l.span;
			node = l.next;
		}
	}
	return node;
}

/* ---- table and list ------------------------------------------------------------------------------------- */
static uint64_t *member_slot(struct ctx *cx, struct zset *z, purser_bytes m, uint64_t *hash)
{
	*hash = hash_key(cx->st, m.p, m.n);
	return table_find(z->table, *hash, m.p, m.n);
}

struct item *zset_find(struct ctx *cx, struct zset *z, purser_bytes m)
{
	uint64_t hash, *slot = member_slot(cx, z, m, &hash);

	return slot ? slot_item(*slot) : NULL;
}

struct zset *zset_new(struct ctx *cx)
{
	struct zset *z = mem_get(cx, sizeof(*z));

	if (!z)
		return NULL;
	*z = (struct zset){ .table = table_new(cx), .level = 1 };
	if (z->table)
		return z;
	mem_put(cx, z, sizeof(*z));
	return NULL;
}

void zset_dispose(struct ctx *cx, struct zset *z)
{
	table_dispose(cx, z->table); /* the nodes are its items: nothing else knows them from here on */
	mem_put(cx, z, sizeof(*z));
}

static void zset_drop(struct ctx *cx, struct zset *z, struct item *node)
{
	uint64_t hash, *slot = member_slot(cx, z, node_member(node), &hash);

	list_unlink(z, node);
	table_remove(cx, z->table, hash, slot);
	item_free(cx, node);
}

static void zset_move(struct zset *z, struct item *node, double score)
{
	struct item *back = node_back(node), *next = link_get(z, node, 0).next;
	purser_bytes m = node_member(node);

	if ((!back || comes_before(node_member(back), node_score(back), m, score)) &&
	    (!next || comes_before(m, score, node_member(next), node_score(next)))) {
		node_set_score(node, score);
		return;
	}
	list_unlink(z, node);
	node_set_score(node, score);
	list_insert(z, node);
}

/* A member that is not there yet. */
static int zset_add(struct ctx *cx, struct zset *z, purser_bytes m, double score)
{
	uint64_t bits = rng_next(cx), hash = hash_key(cx->st, m.p, m.n);
	struct shape s = { ENC_RAW, 0, NODE_HEAD };
	struct item *node;
	uint32_t levels = 1;

	for (; levels < ZSET_LEVELS && (bits & 3) == 0; bits >>= 2)
		levels++;
	s.vlen += levels * NODE_LINK;
	node = item_new(cx, &s, m.p, m.n);
	if (!node)
		return -1;
	if (table_add(cx, z->table, hash, node)) {
		item_free(cx, node);
		return -1;
	}
	node_set_score(node, score);
	list_insert(z, node);
	return 0;
}

int zset_put(struct ctx *cx, struct zset *z, purser_bytes m, double score)
{
	struct item *node = zset_find(cx, z, m);

	if (!node)
		return zset_add(cx, z, m, score);
	zset_move(z, node, score);
	return 0;
}

int zset_each(struct zset *z, zset_fn *fn, void *arg)
{
	struct item *node;
	int rc = 0;

	for (node = z->head[0].next; node && !rc; node = link_get(z, node, 0).next)
		rc = fn(arg, node_member(node), node_score(node));
	return rc;
}

struct filling { struct ctx *cx; struct zset *z; };

static int fill_member(void *arg, purser_bytes m, double score)
{
	struct filling *w = arg;

	return zset_add(w->cx, w->z, m, score);
}

struct zset *zset_copy(struct ctx *cx, struct zset *z)
{
	struct filling w = { cx, zset_new(cx) };

	if (w.z && zset_each(z, fill_member, &w)) {
		zset_dispose(cx, w.z);
		return NULL;
	}
	return w.z;
}

static struct zset *zset_of_pack(struct ctx *cx, const uint8_t *pack, size_t n)
{
	struct zset *z = zset_new(cx);
	const uint8_t *e;

	for (e = pack + 1; z && e < pack + n; e += entry_bytes(e)) {
		if (zset_add(cx, z, entry_member(e), entry_score(e))) {
			zset_dispose(cx, z);
			return NULL;
		}
	}
	return z;
}

size_t zset_memory(const struct zset *z) { return chunk_size(sizeof(*z)) + hash_table_memory(z->table); }

static int add_entry_bytes(void *arg, purser_bytes m, double score)
{
	size_t *sum = arg;

	(void)score;
	*sum += ENTRY_HEAD + m.n;
	return m.n > ZSET_PACK_BYTES;
}

static int append_entry(void *arg, purser_bytes m, double score)
{
	uint8_t **to = arg;

	score += 0.0;
	memcpy(*to, &score, 8);
	(*to)[8] = (uint8_t)m.n;
	memcpy(*to + ENTRY_HEAD, m.p, m.n);
	*to += ENTRY_HEAD + m.n;
	return 0;
}

struct item *zset_item(struct ctx *cx, purser_bytes key, struct zset *z)
{
	struct shape s = { ENC_ZSET, 0, 1 };
	struct item *it;
	uint8_t *to;

	if (z->n <= ZSET_PACK_MEMBERS && zset_each(z, add_entry_bytes, &s.vlen) == 0)
		s.enc = ENC_ZSET_PACK;
	else
		s.vlen = 0;
	it = item_new(cx, &s, key.p, key.n);
	if (!it)
		return NULL;
	if (s.enc == ENC_ZSET) {
		item_set_word(it, (uint64_t)(uintptr_t)z);
		return it;
	}
	to = item_value(it);
	*to++ = (uint8_t)z->n;
	zset_each(z, append_entry, &to);
	zset_dispose(cx, z);
	return it;
}

/* ---- edits ---------------------------------------------------------------------------------------------- */
void zedit_begin(struct zedit *e, struct ctx *cx, struct pos *p, void *memory, size_t puts)
{
	*e = (struct zedit){ .cx = cx, .p = p, .log = memory, .pack = (uint8_t *)memory + puts * sizeof(*e->log),
		.npack = 1 };
	if (!p->it) {
		e->pack[0] = 0;
	} else if (item_enc(p->it) == ENC_ZSET) {
		e->z = item_zset(p->it);
	} else {
		e->npack = p->it->vlen;
		memcpy(e->pack, item_value(p->it), e->npack);
	}
}

int zedit_get(struct zedit *e, purser_bytes m, double *score)
{
	struct item *node;
	uint8_t *at;

	if (e->z) {
		node = zset_find(e->cx, e->z, m);
		if (node)
			*score = node_score(node);
		return node != NULL;
	}
	at = pack_find(e->pack, e->npack, m);
	if (at)
		*score = entry_score(at);
	return at != NULL;
}

static void zedit_undo(struct zedit *e)
{
	if (e->own)
		zset_dispose(e->cx, e->z);
	while (!e->own && e->nlog > 0) {
		struct zundo *u = &e->log[--e->nlog];
		struct item *node = zset_find(e->cx, e->z, u->m);

		if (u->fresh)
			zset_drop(e->cx, e->z, node);
		else
			zset_move(e->z, node, u->was);
	}
}

int zedit_put(struct zedit *e, purser_bytes m, double score)
{
	struct zundo u = { m, 0, 0 };
	size_t n;

	e->changed = 1;
	if (!e->z) {
		n = pack_put(e->pack, e->npack, m, score);
		if (n) {
			e->npack = n;
			return 0;
		}
		e->z = zset_of_pack(e->cx, e->pack, e->npack);
		if (!e->z)
			return -1;
		e->own = 1;
	}
	u.fresh = !zedit_get(e, m, &u.was);
	if (zset_put(e->cx, e->z, m, score)) {
		zedit_undo(e);
		return -1;
	}
	e->log[e->nlog++] = u;
	return 0;
}

int zedit_commit(struct zedit *e)
{
	struct pos *p = e->p;
	struct shape s = { e->z ? ENC_ZSET : ENC_ZSET_PACK, p->it && item_has_ttl(p->it), e->z ? 0 : e->npack };
	struct item *it;

	if (!e->changed || (e->z && !e->own))
		return 0;
	it = p->it ? item_reshape(e->cx, p->it, &s) : item_new(e->cx, &s, p->key, p->klen);
	if (!it) {
		zedit_undo(e);
		return -1;
	}
	if (e->z)
		item_set_word(it, (uint64_t)(uintptr_t)e->z);
	else
		memcpy(item_value(it), e->pack, e->npack);
	if (p->it) {
		key_moved(e->cx, p, it);
	} else if (key_add(e->cx, p, it)) {
		item_free(e->cx, it);
		return -1;
	}
	return 0;
}

/* ---- removing ------------------------------------------------------------------------------------------- */
/* The packed value becomes n bytes of rest.  0, or -1: no memory. */
static int pack_becomes(struct ctx *cx, struct pos *p, const uint8_t *rest, size_t n)
{
	struct shape s = { ENC_ZSET_PACK, item_has_ttl(p->it), n };
	struct item *it;

	if (!rest[0]) {
		key_delete(cx, p);
		return 0;
	}
	it = item_reshape(cx, p->it, &s);
	if (!it)
		return -1;
	memcpy(item_value(it), rest, n);
	key_moved(cx, p, it);
	return 0;
}

int64_t zset_remove(struct ctx *cx, struct pos *p, const purser_bytes *m, size_t n)
{
	size_t left = p->it->vlen, i;
	int64_t gone = 0;
	uint8_t *rest;

	if (item_enc(p->it) == ENC_ZSET) {
		struct zset *z = item_zset(p->it);

		for (i = 0; i < n; i++) {
			struct item *node = zset_find(cx, z, m[i]);

			if (node) {
				zset_drop(cx, z, node);
				gone++;
			}
		}
		if (!z->n)
			key_delete(cx, p);
		return gone;
	}
	rest = scratch(cx, left);
	if (!rest)
		return -1;
	memcpy(rest, item_value(p->it), left);
	for (i = 0; i < n; i++) {
		uint8_t *e = pack_find(rest, left, m[i]);

		if (e) {
			left = pack_cut(rest, left, e, e + entry_bytes(e), 1);
			gone++;
		}
	}
	return gone && pack_becomes(cx, p, rest, left) ? -1 : gone;
}

int64_t zset_remove_range(struct ctx *cx, struct pos *p, uint64_t first, uint64_t n)
{
	size_t left = p->it->vlen;
	uint8_t *rest, *from, *to;
	uint64_t i;

	if (n == 0)
		return 0;
	if (n == zset_len(p->it)) {
		key_delete(cx, p);
		return (int64_t)n;
	}
	if (item_enc(p->it) == ENC_ZSET) {
		struct zset *z = item_zset(p->it);
		struct item *node = list_seek(z, first), *next;

		for (i = 0; i < n; i++, node = next) {
			next = link_get(z, node, 0).next;
			zset_drop(cx, z, node);
		}
		return (int64_t)n;
	}
	rest = scratch(cx, left);
	if (!rest)
		return -1;
	memcpy(rest, item_value(p->it), left);
	for (from = rest + 1, i = 0; i < first; i++)
		from += entry_bytes(from);
	for (to = from, i = 0; i < n; i++)
		to += entry_bytes(to);
	left = pack_cut(rest, left, from, to, n);
	return pack_becomes(cx, p, rest, left) ? -1 : (int64_t)n;
}

/* ---- reading -------------------------------------------------------------------------------------------- */
uint64_t zset_len(const struct item *it)
{
	return item_enc(it) == ENC_ZSET ? item_zset(it)->n : *item_value((struct item *)(uintptr_t)it);
}

int zset_score(struct ctx *cx, struct item *it, purser_bytes m, double *score)
{
	struct item *node;
	uint8_t *e;

	if (item_enc(it) == ENC_ZSET) {
		node = zset_find(cx, item_zset(it), m);
		if (node)
			*score = node_score(node);
		return node != NULL;
	}
	e = pack_find(item_value(it), it->vlen, m);
	if (e)
		*score = entry_score(e);
	return e != NULL;
}

uint64_t zset_front(struct item *it, zset_test *fn, const void *arg)
{
	const uint8_t *value = item_value(it), *e;
	struct item *node = NULL;
	uint64_t n = 0;
	uint32_t i;

	if (item_enc(it) == ENC_ZSET) {
		struct zset *z = item_zset(it);

		for (i = z->level; i-- > 0;) {
			struct zlink l = link_get(z, node, i);

			for (; l.next && fn(arg, node_member(l.next), node_score(l.next));
			    l = link_get(z, node, i)) {
				n += l.span;
				node = l.next;
			}
		}
		return n;
	}
	for (e = value + 1; e < value + it->vlen && fn(arg, entry_member(e), entry_score(e)); n++)
		e += entry_bytes(e);
	return n;
}

static int walk_pack(struct item *it, uint64_t first, uint64_t n, int down, zset_fn *fn, void *arg)
{
	const uint8_t *value = item_value(it), *at[ZSET_PACK_MEMBERS], *e;
	unsigned i = 0;
	int rc = 0;

	for (e = value + 1; e < value + it->vlen; e += entry_bytes(e))
		at[i++] = e;
	for (i = (unsigned)first; n > 0 && !rc; n--, i = down ? i - 1 : i + 1)
		rc = fn(arg, entry_member(at[i]), entry_score(at[i]));
	return rc;
}

int zset_walk(struct item *it, uint64_t first, uint64_t n, int down, zset_fn *fn, void *arg)
{
	struct item *node;
	struct zset *z;
	int rc = 0;

	if (n == 0)
		return 0;
	if (item_enc(it) == ENC_ZSET_PACK)
		return walk_pack(it, first, n, down, fn, arg);
	z = item_zset(it);
	node = first == 0 ? z->head[0].next : first + 1 == z->n ? z->tail : list_seek(z, first);
	for (; n > 0 && !rc; n--) {
		rc = fn(arg, node_member(node), node_score(node));
		node = down ? node_back(node) : link_get(z, node, 0).next;
	}
	return rc;
}
