/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of the databases: see keyspace.h.
 */
#include "keyspace.h"
#include "evict.h"
#include "project.h"
#include "table.h"
#include "wait.h"

static inline void touch(struct ctx *cx, struct item *it)
{
	if (LIKELY(!evict_words(cx)))
		item_touch(it, cx->clock);
	else
		evict_used(cx, it);
}

static void expire(struct ctx *cx, struct pos *p, uint32_t db)
{
	uint32_t was = account_enter(cx, project_of_key(cx, (purser_bytes){ p->key, p->klen }));

	key_expel(cx, p, db, EVENT_EXPIRED, "expired");
	count_add(&cx->led->expired, 1);
	account_enter(cx, was);
}

struct item *key_find(struct ctx *cx, struct pos *p, uint32_t db, purser_bytes key, uint64_t hash,
    int how)
{
	p->tp = db_table(cx->st, hash, db);
	p->hash = hash;
	p->key = key.p;
	p->klen = key.n;
	p->slot = *p->tp ? table_find(*p->tp, hash, key.p, key.n) : NULL;
	p->it = p->slot ? slot_item(*p->slot) : NULL;
	if (p->it && UNLIKELY(*p->slot & SLOT_TTL) && expired(cx, p->it))
		expire(cx, p, db);
	if (!p->it) {
		if (how & FIND_READ) {
			count_add(&cx->led->misses, 1);
			if (!(how & FIND_QUIET))
				key_missed(cx, db, key);
		}
		return NULL;
	}
	if (how & FIND_READ)
		count_add(&cx->led->hits, 1);
	if (!(how & FIND_NOTOUCH))
		touch(cx, p->it);
	return p->it;
}

static void count_item(struct ctx *cx, const struct item *it, int d)
{
	count_add(&cx->led->keys, d);
	if (item_has_ttl(it)) {
		count_add(&cx->led->ttls, d);
		if (d > 0 && !cx->timer)
			upkeep_arm(cx);
	}
}

void key_ready(struct ctx *cx, const struct pos *p)
{
	switch (item_type(p->it)) {
	case TYPE_LIST:
		wait_signal(cx, p, WAIT_LIST);
		break;
	case TYPE_ZSET:
		wait_signal(cx, p, WAIT_ZSET);
		break;
	case TYPE_STREAM:
		wait_signal(cx, p, WAIT_STREAM);
		break;
	default:
		break;
	}
}

static int table_with(struct ctx *cx, struct pos *p, struct item *it)
{
	if (!*p->tp && !(*p->tp = table_new(cx)))
		return -1;
	if (table_add(cx, *p->tp, p->hash, it) == 0)
		return 0;
	if (table_n(*p->tp) == 0) {
		table_free_empty(cx, *p->tp);
		*p->tp = NULL;
	}
	return -1;
}

int key_add(struct ctx *cx, struct pos *p, struct item *it)
{
	int64_t before = account_before(cx);
	int failed = table_with(cx, p, it);

	account_tables(cx, before);
	if (failed)
		return -1;
	if (UNLIKELY(evict_words(cx)))
		evict_added(cx, p, it);
	count_item(cx, it, 1);
	key_is_new(cx, p->key);
	p->it = it;
	key_ready(cx, p);
	p->slot = NULL; /* the table may have grown: look it up again if it is needed */
	return 0;
}

void key_moved(struct ctx *cx, struct pos *p, struct item *it)
{
	int had = !!(*p->slot & SLOT_TTL);

	table_swap(*p->tp, p->slot, it);
	if (had != item_has_ttl(it)) {
		count_add(&cx->led->ttls, had ? -1 : 1);
		if (!had && !cx->timer)
			upkeep_arm(cx);
	}
	p->it = it;
}

void key_replace(struct ctx *cx, struct pos *p, struct item *it)
{
	struct item *old = p->it;

	if (item_type(old) == TYPE_STREAM)
		wait_signal(cx, p, WAIT_STREAM); /* its groups are gone */
	evict_inherit(cx, it, old);
	key_moved(cx, p, it);
	item_free(cx, old);
}

struct item *key_take(struct ctx *cx, struct pos *p)
{
	struct item *it = p->it;
	int64_t before = account_before(cx);

	if (item_type(it) == TYPE_STREAM)
		wait_signal(cx, p, WAIT_STREAM);
	count_item(cx, it, -1);
	if (UNLIKELY(evict_words(cx)))
		evict_removed(cx, p, it);
	table_remove(cx, *p->tp, p->hash, p->slot);
	if (table_n(*p->tp) == 0) {
		table_free_empty(cx, *p->tp);
		*p->tp = NULL;
	}
	account_tables(cx, before);
	if (UNLIKELY(!*p->tp))
		evict_emptied(cx, &cx->st->shard[shard_of(p->hash)]);
	if (UNLIKELY(cx->added == p->key))
		cx->added = NULL;
	p->it = NULL;
	p->slot = NULL;
	return it;
}

void key_delete(struct ctx *cx, struct pos *p) { item_free(cx, key_take(cx, p)); }

void key_expel(struct ctx *cx, struct pos *p, uint32_t db, enum event_class class, const char *name)
{
	struct item *it = key_take(cx, p);

	key_event(cx, db, (purser_bytes){ item_key(it), item_klen(it) }, class, name);
	item_free(cx, it);
}

int key_expire_at(struct ctx *cx, struct pos *p, int64_t ms)
{
	struct shape s = { item_enc(p->it), 1, p->it->vlen };
	struct item *it = p->it;

	if (!item_has_ttl(it)) {
		it = item_reshape(cx, it, &s);
		if (!it)
			return -1;
		key_moved(cx, p, it);
	}
	item_set_expiry(it, ms);
	return 0;
}

int key_persist(struct ctx *cx, struct pos *p)
{
	struct shape s = { item_enc(p->it), 0, p->it->vlen };
	struct item *it = item_reshape(cx, p->it, &s);

	if (!it)
		return -1;
	key_moved(cx, p, it);
	return 0;
}
