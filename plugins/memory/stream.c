/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks and entries of a stream: see stream.h.
 */
#include "listpack.h"
#include "stream.h"
#include "keyspace.h"

#define FLAG_DELETED 1
#define FLAG_SAME 2                      /* the names are the master entry's */

/* ---- blocks -------------------------------------------------------------------------------------------- */
static size_t block_bytes(uint32_t cap) { return sizeof(struct sblock) + cap; }
static void block_free(struct ctx *cx, struct sblock *b) { mem_put(cx, b, block_bytes(b->cap)); }

static struct sblock *block_at(const struct stream *s, const struct idpos *at)
{
	struct sblock *b;

	memcpy(&b, idpos_value(&s->blocks, at), sizeof(b));
	return b;
}

static int64_t block_entries(const struct sblock *b) { return lp_int(lp_first(b->lp)); }

/* What the elements of a new entry may take, all its integers as long as can be. */
static uint64_t entry_room(const purser_bytes *fv, uint32_t fields)
{
	uint64_t n = 6 * LP_INT;
	uint32_t i;

	for (i = 0; i < 2 * fields; i++)
		n += fv[i].n + LP_ELEMENT;
	return n;
}

static uint64_t names_room(const purser_bytes *fv, uint32_t fields)
{
	uint64_t n = LP_EMPTY + 4 * LP_INT;
	uint32_t i;

	for (i = 0; i < fields; i++)
		n += fv[2 * i].n + LP_ELEMENT;
	return n;
}

/* A block with a master entry and no other.  NULL: no memory. */
static struct sblock *block_new(struct ctx *cx, struct sid id, const purser_bytes *fv, uint32_t fields,
    uint32_t cap)
{
	struct sblock *b = mem_get(cx, block_bytes(cap));
	uint8_t *p;
	uint32_t i;

	if (!b)
		return NULL;
	b->id = id;
	b->cap = cap;
	lp_empty(b->lp);
	p = lp_put_int(b->lp + LP_HEAD, 0);
	p = lp_put_int(p, 0);
	p = lp_put_int(p, fields);
	for (i = 0; i < fields; i++)
		p = lp_put(p, fv[2 * i].p, fv[2 * i].n);
	p = lp_put_int(p, 0);
	b->len = (uint32_t)(p - b->lp) + 1;
	lp_finish(b->lp, b->len, fields + 4);
	return b;
}

/* The block in another size; the tree and the stream learn of it.  NULL: no memory, it is as it was. */
static struct sblock *block_resize(struct ctx *cx, struct stream *s, struct sblock *b, uint32_t cap)
{
	struct sid id = b->id;
	struct sblock *to = mem_resize(cx, b, block_bytes(b->cap), block_bytes(cap));

	if (!to)
		return NULL;
	to->cap = cap;
	memcpy(idtree_find(&s->blocks, id), &to, sizeof(to));
	if (s->tail == b)
		s->tail = to;
	return to;
}

/* Writes v in place of the integer at p.  It may become longer, by as much as BLOCK_SLACK in all. */
static void replace_int(struct sblock *b, const uint8_t *at, int64_t v)
{
	uint8_t *p = b->lp + (at - b->lp);
	size_t was = (size_t)(lp_next(p) - p), is = lp_int_bytes(v);

	if (was != is) {
		memmove(p + is, p + was, (size_t)(b->lp + b->len - (p + was)));
		b->len = (uint32_t)(b->len + is - was);
		lp_finish(b->lp, b->len, 0);
	}
	lp_put_int(p, v);
}

/* live and dead more entries, or fewer. */
static void block_count(struct sblock *b, int64_t live, int64_t dead)
{
	const uint8_t *p = lp_first(b->lp);

	replace_int(b, p, lp_int(p) + live);
	p = lp_next(p);
	if (dead)
		replace_int(b, p, lp_int(p) + dead);
}

static void block_drop(struct ctx *cx, struct stream *s, struct sblock *b)
{
	struct idpos at;

	idtree_remove(cx, &s->blocks, b->id);
	if (s->tail == b)
		s->tail = idtree_upto(&s->blocks, SID_MAX, &at) ? block_at(s, &at) : NULL;
	block_free(cx, b);
}

/* ---- the whole ------------------------------------------------------------------------------------------- */
struct stream *stream_new(struct ctx *cx)
{
	struct stream *s = mem_get(cx, sizeof(*s));

	if (s) {
		*s = (struct stream){ .length = 0 };
		idtree_init(&s->blocks, sizeof(struct sblock *));
	}
	return s;
}

#define COST_BLOCK 4                     /* of freeing one: a block of malloc's */

static void drop_block(struct ctx *cx, void *value)
{
	struct sblock *b;

	memcpy(&b, value, sizeof(b));
	count_add(&cx->led->freeing, -block_entries(b));
	block_free(cx, b);
}

int stream_reap(struct ctx *cx, struct stream *s, int64_t *budget)
{
	int64_t left = *budget / COST_BLOCK + 1, most = left;
	int empty = idtree_reap(cx, &s->blocks, &left, drop_block);

	*budget -= (most - left) * COST_BLOCK + 1;
	if (!empty)
		return 0;
	while (s->groups.n) {
		struct sgroup *g = (struct sgroup *)(void *)s->groups.v[s->groups.n - 1];

		if (*budget <= 0 || !group_reap(cx, g, budget))
			return 0;
		s->groups.n--;
	}
	mem_put(cx, s->groups.v, s->groups.cap * sizeof(*s->groups.v));
	mem_put(cx, s, sizeof(*s));
	return 1;
}

/* Entries and what is owed. */
static uint64_t stream_pieces(const struct stream *s)
{
	uint64_t n = s->length;
	uint32_t i;

	for (i = 0; i < s->groups.n; i++)
		n += group_pieces((struct sgroup *)(void *)s->groups.v[i]);
	return n;
}

void stream_dispose(struct ctx *cx, struct stream *s)
{
	int64_t all = INT64_MAX, was = cx->work;
	uint64_t n;

	if (!s)
		return;
	n = stream_pieces(s);
	if (n > 16 * REAP_AT_ONCE) {
		reap_later(cx, &s->reap, REAP_STREAM, n);
		return;
	}
	count_add(&cx->led->freeing, (int64_t)n);
	stream_reap(cx, s, &all);
	reap_was(cx, was, INT64_MAX, all);
}

/* A block with these bytes behind all others.  0, or -1: no memory. */
static int add_block(struct ctx *cx, struct stream *s, struct sid id, const uint8_t *lp, uint32_t len)
{
	struct sblock *b = mem_get(cx, block_bytes(len + BLOCK_SLACK));
	int fresh;
	void *v = b ? idtree_put(cx, &s->blocks, id, &fresh) : NULL;

	if (!v) {
		if (b)
			mem_put(cx, b, block_bytes(len + BLOCK_SLACK));
		return -1;
	}
	b->id = id;
	b->len = len;
	b->cap = len + BLOCK_SLACK;
	memcpy(b->lp, lp, len);
	memcpy(v, &b, sizeof(b));
	s->tail = b;
	s->length += (uint64_t)block_entries(b);
	return 0;
}

struct stream *stream_copy(struct ctx *cx, const struct stream *s)
{
	struct stream *to = stream_new(cx);
	struct idpos at;
	uint32_t i;
	int more;

	if (!to)
		return NULL;
	for (more = idtree_from(&s->blocks, SID_MIN, &at); more; more = idpos_next(&at)) {
		const struct sblock *b = block_at(s, &at);

		if (add_block(cx, to, b->id, b->lp, b->len))
			goto nomem;
	}
	to->last = s->last;
	to->first = s->first;
	to->max_deleted = s->max_deleted;
	to->entries_added = s->entries_added;
	for (i = 0; i < s->groups.n; i++)
		if (!group_copy(cx, to, (struct sgroup *)(void *)s->groups.v[i]))
			goto nomem;
	return to;
nomem:
	stream_dispose(cx, to);
	return NULL;
}

/* Of at most so many blocks, then multiplied; of trees as `tree` has it. */
static size_t weigh(const struct stream *s, size_t most, size_t (*tree)(const struct idtree *t))
{
	size_t n = chunk_size(sizeof(*s)) + tree(&s->blocks), some = 0, seen = 0;
	struct idpos at;
	uint32_t i;
	int more;

	for (more = idtree_from(&s->blocks, SID_MIN, &at); more && seen < most; more = idpos_next(&at), seen++)
		some += chunk_size(block_bytes(block_at(s, &at)->cap));
	if (seen)
		n += seen == s->blocks.n ? some :
		    (size_t)((double)some / (double)seen * (double)s->blocks.n);
	if (s->groups.cap)
		n += chunk_size(s->groups.cap * sizeof(*s->groups.v));
	for (i = 0; i < s->groups.n; i++) {
		struct sgroup *g = (struct sgroup *)(void *)s->groups.v[i];
		uint32_t k;

		n += chunk_size(sizeof(*g) + g->named.len) + tree(&g->pel);
		if (g->consumers.cap)
			n += chunk_size(g->consumers.cap * sizeof(*g->consumers.v));
		for (k = 0; k < g->consumers.n; k++)
			n += chunk_size(sizeof(struct sconsumer) + g->consumers.v[k]->len) +
			    tree(&((struct sconsumer *)(void *)g->consumers.v[k])->pel);
	}
	return n;
}

size_t stream_memory(const struct stream *s) { return weigh(s, 64, idtree_memory); }
size_t stream_bytes(const struct stream *s) { return weigh(s, SIZE_MAX, idtree_bytes); }

static int common_bytes(struct sid a, struct sid b)
{
	return a.ms != b.ms ? __builtin_clzll(a.ms ^ b.ms) / 8 : 8 + __builtin_clzll(a.seq ^ b.seq) / 8;
}

/* Keys of 16 bytes: a node for each, one where they part, and one for each run of bytes between these. */
uint64_t stream_radix_nodes(const struct stream *s)
{
	int part[17], n = 0, before = -1, after; /* depths of the nodes that the last key has above it */
	uint64_t nodes = 0;
	struct idpos at;
	struct sid id;
	int more = idtree_from(&s->blocks, SID_MIN, &at);

	if (!more)
		return 1;
	while (more) {
		id = idpos_id(&at);
		more = idpos_next(&at);
		after = more ? common_bytes(id, idpos_id(&at)) : -1;
		nodes += 1 + (15 > (before > after ? before : after));
		while (n > 0 && part[n - 1] > after) {
			int depth = part[--n], above = n > 0 && part[n - 1] > after ? part[n - 1] : after;

			nodes += 1 + (depth > above + 1);
		}
		if (after >= 0 && (!n || part[n - 1] < after))
			part[n++] = after;
		before = after;
	}
	return nodes;
}

/* ---- adding ------------------------------------------------------------------------------------------------ */
/* Are these the names of the block's master entry? */
static int same_names(const struct sblock *b, const purser_bytes *fv, uint32_t fields)
{
	const uint8_t *p = lp_next(lp_next(lp_first(b->lp)));
	uint32_t i;

	if (lp_int(p) != fields)
		return 0;
	for (i = 0; i < fields; i++) {
		struct view v;

		p = lp_next(p);
		lp_get(p, &v);
		if (v.n != fv[2 * i].n || memcmp(v.p, fv[2 * i].p, v.n) != 0)
			return 0;
	}
	return 1;
}

/* There is room for it. */
static void entry_write(struct sblock *b, struct sid id, const purser_bytes *fv, uint32_t fields)
{
	int same = same_names(b, fv, fields);
	uint8_t *p;
	uint32_t i;

	block_count(b, 1, 0);
	p = b->lp + b->len - 1;
	p = lp_put_int(p, same ? FLAG_SAME : 0);
	p = lp_put_int(p, (int64_t)(id.ms - b->id.ms));
	p = lp_put_int(p, (int64_t)(id.seq - b->id.seq));
	if (!same)
		p = lp_put_int(p, fields);
	for (i = 0; i < fields; i++) {
		if (!same)
			p = lp_put(p, fv[2 * i].p, fv[2 * i].n);
		p = lp_put(p, fv[2 * i + 1].p, fv[2 * i + 1].n);
	}
	p = lp_put_int(p, same ? fields + 3 : 2 * (int64_t)fields + 4);
	b->len = (uint32_t)(p - b->lp) + 1;
	lp_finish(b->lp, b->len, same ? fields + 4 : 2 * fields + 5);
}

/* Does Redis put an entry of so many bytes into this block? */
static int block_takes(const struct sblock *b, uint64_t bytes)
{
	const uint8_t *p = lp_first(b->lp);

	return b->len + bytes < BLOCK_BYTES && lp_int(p) + lp_int(lp_next(p)) < BLOCK_ENTRIES;
}

/* A new block behind all others, with room for `room` bytes more than its names.  NULL: no memory. */
static struct sblock *open_block(struct ctx *cx, struct stream *s, struct sid id, const purser_bytes *fv,
    uint32_t fields, uint64_t room)
{
	struct sblock *last = s->tail, *b;
	uint64_t cap = names_room(fv, fields) + room;
	int fresh;
	void *v;

	if (last && cap < last->len && cap < BLOCK_BYTES) /* it will be such a one */
		cap = last->len < BLOCK_BYTES ? last->len : BLOCK_BYTES;
	b = block_new(cx, id, fv, fields, (uint32_t)cap);
	if (!b)
		return NULL;
	v = idtree_put(cx, &s->blocks, id, &fresh);
	if (!v) {
		block_free(cx, b);
		return NULL;
	}
	memcpy(v, &b, sizeof(b));
	if (last && chunk_size(block_bytes(last->cap)) > chunk_size(block_bytes(last->len + BLOCK_SLACK)))
		block_resize(cx, s, last, last->len + BLOCK_SLACK); /* if it fails, it is a loose fit */
	s->tail = b;
	return b;
}

int stream_append(struct ctx *cx, struct stream *s, struct sid id, const purser_bytes *fv, uint32_t fields)
{
	uint64_t bytes = 0, room = entry_room(fv, fields) + BLOCK_SLACK, cap;
	struct sblock *b = s->tail;
	uint32_t i;

	for (i = 0; i < 2 * fields; i++)
		bytes += fv[i].n;
	if (!b || !block_takes(b, bytes)) {
		b = open_block(cx, s, id, fv, fields, room);
	} else if (b->cap - b->len < room) {
		for (cap = b->cap; cap < b->len + room;)
			cap *= 2;
		if (cap > BLOCK_BYTES)
			cap = b->len + room > BLOCK_BYTES ? b->len + room : BLOCK_BYTES;
		b = block_resize(cx, s, b, (uint32_t)cap);
	}
	if (!b)
		return -1;
	entry_write(b, id, fv, fields);
	s->length++;
	s->entries_added++;
	s->last = id;
	if (s->length == 1)
		s->first = id;
	return 0;
}

/* ---- places ------------------------------------------------------------------------------------------------ */
/* Reads the block at p->at, whose first entry p is at then, deleted or not; 0: it has none. */
static int block_enter(struct spos *p)
{
	const uint8_t *q;
	uint64_t i;

	p->b = block_at(p->s, &p->at);
	q = lp_next(lp_next(lp_first(p->b->lp)));
	p->master = (uint64_t)lp_int(q);
	q = lp_next(q);
	p->names = q;
	for (i = 0; i < p->master; i++)
		q = lp_next(q);
	p->entries = lp_next(q); /* behind the 0 */
	p->p = p->entries;
	return *p->p != LP_END;
}

/* Reads the entry at p->p. */
static void entry_read(struct spos *p)
{
	const uint8_t *q = p->p;
	uint64_t n;

	p->flags = lp_int(q);
	q = lp_next(q);
	p->id.ms = p->b->id.ms + (uint64_t)lp_int(q);
	q = lp_next(q);
	p->id.seq = p->b->id.seq + (uint64_t)lp_int(q);
	q = lp_next(q);
	p->fields = n = p->master;
	if (!(p->flags & FLAG_SAME)) {
		p->fields = (uint64_t)lp_int(q);
		n = 2 * p->fields;
		q = lp_next(q);
	}
	p->data = q;
	for (; n > 0; n--)
		q = lp_next(q);
	p->end = lp_next(q); /* behind the number of elements */
}

/* The entry before p->p in the block; 0: there is none. */
static int entry_back(struct spos *p)
{
	const uint8_t *q;
	int64_t n;

	if (p->p == p->entries)
		return 0;
	q = lp_prev(p->p);
	for (n = lp_int(q); n > 0; n--)
		q = lp_prev(q);
	p->p = q;
	return 1;
}

/* From p->p on: the first entry that is not deleted, here or in a later block; 0: there is none. */
static int first_alive(struct spos *p)
{
	for (;;) {
		while (*p->p != LP_END) {
			entry_read(p);
			if (!(p->flags & FLAG_DELETED))
				return 1;
			p->p = p->end;
		}
		if (!idpos_next(&p->at))
			return 0;
		block_enter(p);
	}
}

/* Before p->p: the last entry that is not deleted. */
static int last_alive(struct spos *p)
{
	for (;;) {
		while (entry_back(p)) {
			entry_read(p);
			if (!(p->flags & FLAG_DELETED))
				return 1;
		}
		if (!idpos_prev(&p->at))
			return 0;
		block_enter(p);
		p->p = p->b->lp + p->b->len - 1;
	}
}

int spos_next(struct spos *p)
{
	p->p = p->end;
	return first_alive(p);
}

int spos_prev(struct spos *p) { return last_alive(p); }

int stream_from(const struct stream *s, struct sid id, struct spos *p)
{
	int more;

	p->s = s;
	if (!idtree_upto(&s->blocks, id, &p->at) && !idtree_from(&s->blocks, id, &p->at))
		return 0;
	block_enter(p);
	for (more = first_alive(p); more && sid_order(p->id, id) < 0;)
		more = spos_next(p);
	return more;
}

int stream_upto(const struct stream *s, struct sid id, struct spos *p)
{
	p->s = s;
	if (!idtree_upto(&s->blocks, id, &p->at))
		return 0;
	block_enter(p);
	if (p->b == s->tail && sid_order(id, s->last) >= 0) {
		p->p = p->b->lp + p->b->len - 1;
		return last_alive(p);
	}
	while (*p->p != LP_END) { /* behind all that are not above */
		entry_read(p);
		if (sid_order(p->id, id) > 0)
			break;
		p->p = p->end;
	}
	return last_alive(p);
}

int stream_has(const struct stream *s, struct sid id)
{
	struct spos p;

	if (sid_order(id, s->last) > 0 || !stream_from(s, id, &p))
		return 0;
	return sid_order(p.id, id) == 0;
}

struct sid stream_top(const struct stream *s)
{
	struct spos p;

	return stream_upto(s, SID_MAX, &p) ? p.id : SID_MIN;
}

uint64_t stream_count(const struct stream *s, struct sid from, struct sid to, uint64_t most)
{
	uint64_t n = 0;
	struct idpos next;
	struct spos p;
	int more;

	for (more = stream_from(s, from, &p); more && n < most && sid_order(p.id, to) <= 0;) {
		/* all of a block whose first entry this is and that ends before `to` need not be looked at */
		next = p.at;
		if (p.p == p.entries && idpos_next(&next) && sid_order(idpos_id(&next), to) <= 0) {
			n += (uint64_t)block_entries(p.b);
			p.at = next;
			block_enter(&p);
			more = first_alive(&p);
			continue;
		}
		n++;
		more = spos_next(&p);
	}
	return n < most ? n : most;
}

void spos_fields(const struct spos *p, struct sfields *f)
{
	f->same = !!(p->flags & FLAG_SAME);
	f->name = f->same ? p->names : p->data;
	f->data = p->data;
}

void spos_field(struct sfields *f, struct view *name, struct view *value)
{
	lp_get(f->name, name);
	if (!f->same)
		f->data = lp_next(f->data);
	lp_get(f->data, value);
	f->data = lp_next(f->data);
	f->name = f->same ? lp_next(f->name) : f->data;
}

/* ---- going ------------------------------------------------------------------------------------------------- */
static void mark_deleted(const struct spos *p)
{
	replace_int(block_at(p->s, &p->at), p->p, p->flags | FLAG_DELETED); /* a byte, and the same room */
}

int stream_delete(struct ctx *cx, struct stream *s, struct sid id)
{
	struct spos p;
	struct sblock *b;

	if (!stream_from(s, id, &p) || sid_order(p.id, id) != 0)
		return 0;
	b = block_at(s, &p.at);
	if (block_entries(b) == 1) {
		block_drop(cx, s, b);
	} else {
		mark_deleted(&p);
		block_count(b, -1, 1);
	}
	s->length--;
	return 1;
}

void stream_mend(struct stream *s)
{
	struct spos p;

	s->first = stream_from(s, SID_MIN, &p) ? p.id : SID_MIN;
}

/* The id of the last entry of the block, deleted or not. */
static struct sid block_last(const struct stream *s, const struct idpos *at)
{
	struct spos p = { .s = s, .at = *at };

	block_enter(&p);
	p.p = p.b->lp + p.b->len - 1;
	if (entry_back(&p))
		entry_read(&p);
	return p.id;
}

/* Marks entries of the first block that has to stay; how many. */
static int64_t trim_inside(const struct stream *s, struct spos *p, const struct strim *t)
{
	int64_t gone = 0;

	block_enter(p);
	for (; *p->p != LP_END; p->p = p->end) {
		entry_read(p);
		if (t->by_id ? sid_order(p->id, t->id) >= 0 : s->length - (uint64_t)gone <= t->length)
			break;
		if (!(p->flags & FLAG_DELETED)) {
			mark_deleted(p);
			gone++;
		}
	}
	return gone;
}

uint64_t stream_trim(struct ctx *cx, struct stream *s, const struct strim *t)
{
	struct spos p = { .s = s };
	uint64_t gone = 0;

	while (idtree_from(&s->blocks, SID_MIN, &p.at)) {
		struct sblock *b = block_at(s, &p.at);
		uint64_t n = (uint64_t)block_entries(b);
		int64_t some;

		if (!t->by_id && s->length <= t->length)
			break;
		if (t->limit && gone + n > t->limit)
			break;
		if (t->by_id ? sid_order(block_last(s, &p.at), t->id) < 0 : s->length - n >= t->length) {
			block_drop(cx, s, b);
			s->length -= n;
			gone += n;
			continue;
		}
		if (t->approx)
			break;
		some = trim_inside(s, &p, t);
		block_count(b, -some, some);
		s->length -= (uint64_t)some;
		gone += (uint64_t)some;
		break;
	}
	if (gone || !s->length)
		stream_mend(s);
	return gone;
}

/* ---- blocks from elsewhere --------------------------------------------------------------------------------- */
struct walk { const uint8_t *p, *end; int bad; };

/* The integer that comes next, which has to be one and lie between. */
static int64_t walk_int(struct walk *w, int64_t min, int64_t max)
{
	struct view v;
	int64_t n = 0, was;

	if (w->bad || w->p >= w->end) {
		w->bad = 1;
		return 0;
	}
	lp_get(w->p, &v);
	n = lp_int(w->p);
	was = n;
	w->bad = v.p != (const uint8_t *)v.buf || n < min || n > max;
	w->p = lp_next(w->p);
	return w->bad ? 0 : was;
}

static void walk_over(struct walk *w, uint64_t n)
{
	for (; n > 0 && !w->bad; n--) {
		if (w->p >= w->end) {
			w->bad = 1;
			return;
		}
		w->p = lp_next(w->p);
	}
}

/* Do these bytes, which are a listpack, make a block whose entries ascend from `above` on? */
static int block_sound(struct sid id, struct sid above, const uint8_t *lp, size_t n)
{
	struct walk w = { lp_first(lp), lp + n - 1, 0 };
	int64_t live = walk_int(&w, 0, INT32_MAX), dead = walk_int(&w, 0, INT32_MAX);
	int64_t names = walk_int(&w, 0, INT32_MAX);

	walk_over(&w, (uint64_t)names);
	walk_int(&w, 0, 0);
	while (!w.bad && w.p < w.end) {
		int64_t flags = walk_int(&w, 0, FLAG_DELETED | FLAG_SAME), fields = names, pieces;
		struct sid at;

		at.ms = id.ms + (uint64_t)walk_int(&w, INT64_MIN, INT64_MAX);
		at.seq = id.seq + (uint64_t)walk_int(&w, INT64_MIN, INT64_MAX);
		pieces = fields + 3;
		if (!(flags & FLAG_SAME)) {
			fields = walk_int(&w, 0, INT32_MAX);
			pieces = 2 * fields + 4;
			fields *= 2;
		}
		walk_over(&w, (uint64_t)fields);
		if (walk_int(&w, pieces, pieces) != pieces || sid_order(at, above) <= 0)
			return 0;
		above = at;
		*(flags & FLAG_DELETED ? &dead : &live) -= 1;
	}
	return !w.bad && live == 0 && dead == 0;
}

int stream_add_block(struct ctx *cx, struct stream *s, struct sid id, const uint8_t *lp, size_t n)
{
	struct sid above = SID_MIN;
	struct idpos at;
	uint64_t elements;

	if (n > UINT32_MAX / 2 || !lp_check(lp, n, &elements))
		return -2;
	if (idtree_upto(&s->blocks, SID_MAX, &at)) {
		above = block_last(s, &at);
		if (sid_order(id, above) <= 0)
			return -2;
	}
	if (!block_sound(id, above, lp, n))
		return -2;
	return add_block(cx, s, id, lp, (uint32_t)n);
}
