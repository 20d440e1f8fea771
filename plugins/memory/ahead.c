/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of which commands come soon: their buckets and items are fetched into the caches together, so that
 * a pipeline waits for memory once and not for each of its commands.
 */
#include "ahead.h"
#include "table.h"

static struct table *try_table(struct store *st, uint64_t hash, uint32_t db)
{
	struct shard *s = &st->shard[shard_of(hash)];

	if (atomic_exchange_explicit(&s->lock, 1, memory_order_acquire))
		return NULL;
	if (s->db[db])
		return s->db[db];
	unlock(&s->lock);
	return NULL;
}

void ahead_expect(void *cs, uint32_t db, const purser_bytes *names, uint32_t n)
{
	struct ctx *cx = cs;
	struct store *st = cx->st;
	uint64_t hash[AHEAD_MAX];
	uint32_t i;

	if (db >= st->databases)
		return;
	n = n < AHEAD_MAX ? n : AHEAD_MAX;
	for (i = 0; i < n; i++) {
		struct table *t;

		hash[i] = hash_key(st, names[i].p, names[i].n);
		t = try_table(st, hash[i], db);
		if (t) {
			table_prefetch(t, hash[i]);
			unlock(&st->shard[shard_of(hash[i])].lock);
		}
	}
	for (i = 0; i < n; i++) {
		struct table *t = try_table(st, hash[i], db);

		if (t) {
			table_prefetch_item(t, hash[i]);
			unlock(&st->shard[shard_of(hash[i])].lock);
		}
	}
}
