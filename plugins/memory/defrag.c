/* SPDX-License-Identifier: Apache-2.0
 *
 * When the sizes of what is stored shift, or much is deleted here and there, slabs are left with a few
 * items each.  One walk through the keyspace moves them together; the next begins when a class has many
 * free blocks again.  Keys with their inline values are moved, and elements of hashes and sets; nodes of
 * lists, sorted sets and streams, to which others point, stay.
 *
 * A bucket is left where the work of a turn is done: what it goes on with is the element's number, and
 * that may be another one by then.  Nothing depends on it but what is moved in this walk.
 */
#include "defrag.h"
#include "item.h"
#include "table.h"

#define COST_MOVED 4

struct walk {
	struct ctx *cx;
	struct table *t;
	int64_t left;
	uint32_t item;                 /* of the bucket: its number */
};

static void move_slot(void *arg, uint64_t *slot)
{
	struct walk *w = arg;
	struct item *it = slot_item(*slot);
	size_t n = item_bytes(it);
	void *to = mem_better(w->cx, it, n);

	w->left--;
	if (to) {
		memcpy(to, it, n);
		table_swap(w->t, slot, to);
		mem_put_moved(w->cx, it, n);
		w->left -= COST_MOVED;
	}
}

/* Elements of a collection, from where it was left; 1: there are more. */
static int move_inner(void *arg, uint64_t slot)
{
	struct walk *w = arg, inner = *w;
	struct store *st = w->cx->st;

	if (w->item++ < st->defrag_item)
		return 0;
	if (enc_is_table(item_enc(slot_item(slot)))) {
		inner.t = item_table(slot_item(slot));
		while (inner.left > 0 && st->defrag_inner < inner.t->buckets)
			table_each_slot(inner.t, st->defrag_inner++, move_slot, &inner);
		w->left = inner.left;
		if (st->defrag_inner < inner.t->buckets)
			return 1;
	}
	st->defrag_item++;
	st->defrag_inner = 0;
	return 0;
}

/* The tables of one shard and database, from where it was left; 1: through. */
static int walk_table(struct walk *w, struct store *st, uint32_t place)
{
	struct table *t = st->shard[place / st->databases].db[place % st->databases];

	while (t && st->defrag_bucket < t->buckets) {
		if (w->left <= 0)
			return 0;
		w->t = t;
		w->item = 0;
		w->left--;
		if (!st->defrag_item && !st->defrag_inner)
			table_each_slot(t, st->defrag_bucket, move_slot, w);
		if (table_each_in(t, st->defrag_bucket, move_inner, w))
			return 0;
		st->defrag_item = 0;
		st->defrag_bucket++;
	}
	st->defrag_item = st->defrag_inner = 0;
	st->defrag_bucket = 0;
	return 1;
}

int defrag_some(struct ctx *cx, int64_t budget)
{
	struct store *st = cx->st;
	struct walk w = { cx, NULL, budget, 0 };
	uint32_t places = SHARDS * st->databases;
	int more;

	if (!atomic_load_explicit(&st->heap.sparse, memory_order_relaxed))
		return 0;
	if (atomic_exchange_explicit(&st->defrag_lock, 1, memory_order_acquire))
		return 0; /* another context is at it */
	while (w.left > 0 && st->defrag_done < places) {
		uint32_t sh = st->defrag_place / st->databases;
		uint32_t mine = shards_beside(cx, 1u << sh);
		int through;

		if (!mine)
			break;
		through = walk_table(&w, st, st->defrag_place);
		shards_unlock(cx, mine);
		w.left--;
		if (through) {
			st->defrag_place = (st->defrag_place + 1) % places;
			st->defrag_done++;
		}
	}
	more = st->defrag_done < places;
	if (!more) {
		st->defrag_done = 0;
		atomic_store_explicit(&st->heap.sparse, 0, memory_order_relaxed);
	}
	unlock(&st->defrag_lock);
	return more;
}
