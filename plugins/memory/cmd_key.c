/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that do not care what a key holds.  (Expiry: cmd_expire.c; SCAN, KEYS: cmd_scan.c)
 */
#include "cmd.h"
#include "evict.h"
#include "hash.h"
#include "list.h"
#include "measure.h"
#include "number.h"
#include "stream.h"
#include "table.h"
#include "track.h"
#include "watch.h"
#include "zset.h"
#include "wait.h"

void op_del(struct ctx *cx, purser_call *c)
{
	int64_t n = 0;
	uint32_t i;
	struct pos p;

	for (i = 1; i < c->argc; i++) {
		if (arg_find(cx, c, i, i - 1, &p, FIND_NOTOUCH)) {
			key_delete(cx, &p);
			arg_gone(cx, c, i);
			n++;
		}
	}
	reply_int(cx, c, n);
}

static void count_existing(struct ctx *cx, purser_call *c, int how)
{
	int64_t n = 0;
	uint32_t i;
	struct pos p;

	for (i = 1; i < c->argc; i++)
		n += arg_find(cx, c, i, i - 1, &p, how) != NULL;
	reply_int(cx, c, n);
}

void op_exists(struct ctx *cx, purser_call *c) { count_existing(cx, c, FIND_READ | FIND_NOTOUCH); }
void op_touch(struct ctx *cx, purser_call *c) { count_existing(cx, c, FIND_READ); }

void op_type(struct ctx *cx, purser_call *c)
{
	struct pos p;

	arg_find(cx, c, 1, 0, &p, FIND_READ | FIND_NOTOUCH);
	cx->h->status(c, p.it ? item_type_name(p.it) : "none");
}

/* ---- RENAME, COPY, MOVE ------------------------------------------------------------------------------ */
/* An item with another key and what `it` has.  What the word points to is shared, not copied. */
static struct item *item_rekeyed(struct ctx *cx, struct item *it, const struct pos *p)
{
	struct shape s = { item_enc(it), item_has_ttl(it), it->vlen };
	struct item *to = item_new(cx, &s, p->key, p->klen);

	if (!to)
		return NULL;
	to->head = (to->head & 0xff) | (it->head & ~0xffu);
	if (s.ttl)
		item_set_expiry(to, item_expiry(it));
	if (enc_has_word(s.enc))
		item_set_word(to, item_word(it));
	memcpy(item_value(to), item_value(it), s.vlen);
	return to;
}

/* The item becomes the key of `to`, whatever was there.  0, or -1: no memory, nothing changed. */
static int key_put(struct ctx *cx, struct pos *to, struct item *it)
{
	if (!to->it)
		return key_add(cx, to, it);
	key_replace(cx, to, it);
	key_is_new(cx, to->key); /* in Redis the old one goes before it comes */
	key_ready(cx, to);
	return 0;
}

static void rename_generic(struct ctx *cx, purser_call *c, int nx)
{
	purser_bytes a = c->argv[1], b = c->argv[2];
	struct pos from, to;
	struct item *it;

	if (!arg_find(cx, c, 1, 0, &from, 0)) {
		reply_error(cx, c, err_no_key);
		return;
	}
	if (a.n == b.n && memcmp(a.p, b.p, a.n) == 0) {
		if (nx)
			reply_int(cx, c, 0);
		else
			reply_ok(cx, c);
		return;
	}
	if (arg_find(cx, c, 2, 1, &to, 0) && nx) {
		reply_int(cx, c, 0);
		return;
	}
	it = item_rekeyed(cx, from.it, &to);
	if (!it || key_put(cx, &to, it)) {
		if (it)
			item_free_shell(cx, it);
		reply_nomem(cx, c);
		return;
	}
	arg_find(cx, c, 1, 0, &from, FIND_NOTOUCH); /* its slot may have moved */
	if (UNLIKELY(evict_words(cx)))
		evict_moved(cx, it, from.it->head);
	item_free_shell(cx, key_take(cx, &from));
	key_came(cx, c->db, b);
	arg_event(cx, c, 1, EVENT_GENERIC, "rename_from");
	arg_event(cx, c, 2, EVENT_GENERIC, "rename_to");
	if (nx)
		reply_int(cx, c, 1);
	else
		reply_ok(cx, c);
}

void op_rename(struct ctx *cx, purser_call *c) { rename_generic(cx, c, 0); }
void op_renamenx(struct ctx *cx, purser_call *c) { rename_generic(cx, c, 1); }

/* A copy of the word's object, or the word itself.  0, or -1: no memory. */
static int word_copy(struct ctx *cx, struct item *it)
{
	struct table *t;
	struct list *l;
	struct stream *s;
	struct zset *z;

	switch (item_enc(it)) {
	case ENC_INT:
		it->head = (it->head & ~ITEM_ENC) | ENC_INT_OWN; /* never the shared one of Redis */
		return 0;
	case ENC_BIG: /* whoever changes it first makes it its own; projects share nothing */
		atomic_fetch_add_explicit(&item_blob(it)->refs, 1, memory_order_relaxed);
		if (LIKELY(!cx->mixed) || item_blob_alone(cx, it) == 0)
			return 0;
		blob_drop(cx, item_blob(it));
		return -1;
	case ENC_TABLE:
	case ENC_HASH:
	case ENC_SET:
		t = hash_table_copy(cx, item_table(it));
		item_set_word(it, (uint64_t)(uintptr_t)t);
		return t ? 0 : -1;
	case ENC_LIST:
		l = list_copy(cx, item_list(it));
		item_set_word(it, (uint64_t)(uintptr_t)l);
		return l ? 0 : -1;
	case ENC_ZSET:
		z = zset_copy(cx, item_zset(it));
		item_set_word(it, (uint64_t)(uintptr_t)z);
		return z ? 0 : -1;
	case ENC_STREAM:
		s = stream_copy(cx, item_stream(it));
		item_set_word(it, (uint64_t)(uintptr_t)s);
		return s ? 0 : -1;
	default:
		return 0;
	}
}

void op_copy(struct ctx *cx, purser_call *c)
{
	purser_bytes a = c->argv[1], b = c->argv[2];
	uint32_t db = c->db, i;
	struct pos from, to;
	struct item *it;
	int replace = 0;

	for (i = 3; i < c->argc; i++) {
		if (arg_is(c->argv[i], "replace")) {
			replace = 1;
		} else if (arg_is(c->argv[i], "db") && i + 1 < c->argc) {
			if (arg_db(cx, c, ++i, &db))
				return;
		} else {
			reply_error(cx, c, err_syntax);
			return;
		}
	}
	if (db == c->db && a.n == b.n && memcmp(a.p, b.p, a.n) == 0) {
		reply_error(cx, c, err_same);
		return;
	}
	if (!arg_find(cx, c, 1, 0, &from, FIND_READ) ||
	    (key_find(cx, &to, db, b, cx->hash[1], 0) && !replace)) {
		reply_int(cx, c, 0);
		return;
	}
	it = item_rekeyed(cx, from.it, &to);
	if (it && word_copy(cx, it)) {
		item_free_shell(cx, it);
		it = NULL;
	}
	if (it && key_put(cx, &to, it)) {
		item_free(cx, it);
		it = NULL;
	}
	if (!it) {
		reply_nomem(cx, c);
		return;
	}
	key_event(cx, db, b, EVENT_GENERIC, "copy_to");
	reply_int(cx, c, 1);
}

void op_move(struct ctx *cx, purser_call *c)
{
	struct pos from, to;
	uint32_t db, head;

	if (arg_db(cx, c, 2, &db))
		return;
	if (db == c->db) {
		reply_error(cx, c, err_same);
		return;
	}
	if (!arg_find(cx, c, 1, 0, &from, 0) ||
	    key_find(cx, &to, db, c->argv[1], cx->hash[0], 0)) {
		reply_int(cx, c, 0);
		return;
	}
	head = from.it->head;
	if (key_add(cx, &to, from.it)) {
		reply_nomem(cx, c);
		return;
	}
	key_take(cx, &from);
	key_is_new(cx, c->argv[1].p); /* what went has the same name */
	if (UNLIKELY(evict_words(cx)))
		evict_moved(cx, to.it, head);
	key_came(cx, db, c->argv[1]);
	arg_event(cx, c, 1, EVENT_GENERIC, "move_from");
	key_event(cx, db, c->argv[1], EVENT_GENERIC, "move_to");
	reply_int(cx, c, 1);
}

/* ---- whole databases: every shard is locked ------------------------------------------------------------ */
static uint64_t db_keys(const struct store *st, uint32_t db)
{
	uint64_t n = 0;
	uint32_t s;

	for (s = 0; s < SHARDS; s++)
		n += table_n(st->shard[s].db[db]);
	return n;
}

void op_dbsize(struct ctx *cx, purser_call *c) { reply_int(cx, c, (int64_t)db_keys(cx->st, c->db)); }

void op_randomkey(struct ctx *cx, purser_call *c)
{
	uint64_t n, at;

	while ((n = db_keys(cx->st, c->db)) > 0) {
		struct table *t;
		struct item *it;
		struct pos p;
		uint32_t s = 0;

		for (at = rng_next(cx) % n; at >= table_n(t = cx->st->shard[s].db[c->db]); s++)
			at -= table_n(t);
		it = slot_item(*table_random(cx, t));
		if (!expired(cx, it)) {
			reply_bulk(cx, c, item_key(it), item_klen(it));
			return;
		}
		/* Finding an expired key removes it. */
		purser_bytes key = { item_key(it), item_klen(it) };
		key_find(cx, &p, c->db, key, hash_key(cx->st, key.p, key.n), FIND_NOTOUCH);
	}
	reply_null(cx, c);
}

static void db_flush(struct ctx *cx, uint32_t db)
{
	uint32_t s;

	watch_flush(cx, db);
	for (s = 0; s < SHARDS; s++) {
		struct table **t = &cx->st->shard[s].db[db];

		keys_dispose(cx, *t);
		*t = NULL;
		evict_emptied(cx, &cx->st->shard[s]);
	}
	wait_signal_db(cx, db);
}

static void flush_generic(struct ctx *cx, purser_call *c, uint32_t first, uint32_t last)
{
	if (c->argc > 2 || (c->argc == 2 && !arg_is(c->argv[1], "sync") &&
	    !arg_is(c->argv[1], "async"))) {
		reply_error(cx, c, err_syntax);
		return;
	}
	for (; first <= last; first++)
		db_flush(cx, first);
	track_all(cx);
	reply_ok(cx, c);
}

void op_flushdb(struct ctx *cx, purser_call *c) { flush_generic(cx, c, c->db, c->db); }
void op_flushall(struct ctx *cx, purser_call *c) { flush_generic(cx, c, 0, cx->st->databases - 1); }

void op_swapdb(struct ctx *cx, purser_call *c)
{
	static const char *const bad[] = { "ERR invalid first DB index", "ERR invalid second DB index" };
	int64_t db[2];
	uint32_t i, s;

	for (i = 0; i < 2; i++) {
		if (int_parse(c->argv[i + 1].p, c->argv[i + 1].n, &db[i]) || db[i] > INT32_MAX ||
		    db[i] < INT32_MIN) {
			reply_error(cx, c, bad[i]);
			return;
		}
	}
	if (db[0] < 0 || db[0] >= cx->st->databases || db[1] < 0 || db[1] >= cx->st->databases) {
		reply_error(cx, c, "ERR DB index is out of range");
		return;
	}
	watch_swap(cx, (uint32_t)db[0], (uint32_t)db[1]);
	for (s = 0; s < SHARDS; s++) {
		struct table **d = cx->st->shard[s].db, *t = d[db[0]];

		d[db[0]] = d[db[1]];
		d[db[1]] = t;
	}
	for (i = 0; i < 2; i++)
		wait_signal_db(cx, (uint32_t)db[i]);
	reply_ok(cx, c);
}
