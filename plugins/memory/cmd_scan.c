/* SPDX-License-Identifier: Apache-2.0
 *
 * SCAN, HSCAN, SSCAN, ZSCAN, KEYS.  A cursor of SCAN is the shard in the low bits, read backwards, and the table's
 * cursor above; the shards are walked one after the other, each as table_scan() says.  So the bits of a cursor, read
 * backwards, grow from 0 to 1 during a walk, as those of Redis do: who walks can tell how far it is.
 */
#include <limits.h>
#include <stdio.h>
#include <purser/glob.h>
#include "cmd.h"
#include "hash.h"
#include "number.h"
#include "set.h"
#include "table.h"
#include "zset.h"

struct scan {
	struct ctx *cx;
	const purser_bytes *match, *type; /* NULL: any */
	int64_t count;
	uint64_t seen;                 /* elements looked at */
	struct item **found;           /* in scratch memory */
	size_t n, cap;
	int keys;                      /* of a database: expired ones do not count */
	int nomem;
};

static int scan_item(void *arg, uint64_t slot)
{
	struct scan *s = arg;
	struct item *it = slot_item(slot);

	s->seen++;
	if (s->keys && slot & SLOT_TTL && expired(s->cx, it))
		return 0;
	if (s->type && !arg_is(*s->type, item_type_name(it)))
		return 0;
	if (s->match && !purser_glob(s->match->p, s->match->n, item_key(it), item_klen(it)))
		return 0;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 256;
		void *p = scratch(s->cx, cap * sizeof(*s->found));

		if (!p) {
			s->nomem = 1;
			return -1;
		}
		s->found = p;
		s->cap = cap;
	}
	s->found[s->n++] = it;
	return 0;
}

/* As strtoul() of Redis: a sign is taken, no number is 0, a NUL ends it. */
static int cursor_parse(struct ctx *cx, purser_call *c, uint32_t arg, uint64_t *out)
{
	purser_bytes a = c->argv[arg];
	size_t i = a.n > 0 && (a.p[0] == '-' || a.p[0] == '+'), sign = i;
	uint64_t v = 0;

	for (; i < a.n && a.p[i]; i++) {
		unsigned d = (unsigned)a.p[i] - '0';

		if (d > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
			goto bad;
	}
	if (sign && i == 1)
		goto bad;
	*out = sign && a.p[0] == '-' ? 0 - v : v;
	return 0;
bad:
	reply_error(cx, c, "ERR invalid cursor");
	return -1;
}

static int scan_options(struct ctx *cx, purser_call *c, uint32_t i, struct scan *s)
{
	for (; i < c->argc; i += 2) {
		int more = i + 1 < c->argc;

		if (more && arg_is(c->argv[i], "count")) {
			if (arg_int(cx, c, i + 1, &s->count))
				return -1;
			if (s->count >= 1)
				continue;
		} else if (more && arg_is(c->argv[i], "match")) {
			s->match = &c->argv[i + 1];
			if (s->match->n == 1 && s->match->p[0] == '*')
				s->match = NULL;
			continue;
		} else if (more && s->keys && arg_is(c->argv[i], "type")) {
			s->type = &c->argv[i + 1];
			continue;
		}
		reply_error(cx, c, err_syntax);
		return -1;
	}
	return 0;
}

static void reply_cursor(struct ctx *cx, purser_call *c, uint64_t cursor)
{
	char text[INT_TEXT];
	size_t n = 0, i;

	do
		text[n++] = (char)('0' + cursor % 10);
	while (cursor /= 10);
	for (i = 0; i < n / 2; i++) {
		char t = text[i];

		text[i] = text[n - 1 - i];
		text[n - 1 - i] = t;
	}
	reply_bulk(cx, c, text, n);
}

static uint32_t backwards(uint32_t shard)
{
	uint32_t v = 0;

	for (int i = 0; i < SHARD_BITS; i++)
		v |= (shard >> i & 1) << (SHARD_BITS - 1 - i);
	return v;
}

void op_scan(struct ctx *cx, purser_call *c)
{
	struct scan s = { .cx = cx, .count = 10, .keys = 1 };
	uint64_t cursor;
	uint32_t shard, at;
	size_t i;

	if (cursor_parse(cx, c, 1, &cursor) || scan_options(cx, c, 2, &s))
		return;
	shard = backwards((uint32_t)cursor & (SHARDS - 1));
	at = (uint32_t)(cursor >> SHARD_BITS);
	/* The locks stay until the names are in the reply; ascending, as everywhere. */
	while (shard < SHARDS && !s.nomem && s.seen < (uint64_t)s.count) {
		struct table *t;

		if (cx->held) {
			shards_lock(cx, 1u << shard);
		} else if (shards_claim(cx, 1u << shard)) {
			cx->put_off = 1; /* a script takes long; who has a lock keeps it from that */
			return;
		}
		t = cx->st->shard[shard].db[c->db];
		at = t ? table_scan(t, at, scan_item, &s) : 0;
		shard += at == 0;
	}
	if (s.nomem) {
		reply_nomem(cx, c);
		return;
	}
	reply_array(cx, c, 2);
	reply_cursor(cx, c, shard < SHARDS ? (uint64_t)at << SHARD_BITS | backwards(shard) : 0);
	reply_array(cx, c, s.n);
	for (i = 0; i < s.n; i++)
		reply_bulk(cx, c, item_key(s.found[i]), item_klen(s.found[i]));
}

static int keys_table(struct scan *s, const struct table *t)
{
	if (t)
		table_each(t, scan_item, s);
	return s->nomem;
}

void op_keys(struct ctx *cx, purser_call *c)
{
	struct scan s = { .cx = cx, .keys = 1, .match = &c->argv[1] };
	uint32_t shard;
	size_t i;

	if (s.match->n == 1 && s.match->p[0] == '*')
		s.match = NULL;
	for (shard = 0; shard < SHARDS; shard++) {
		if (keys_table(&s, cx->st->shard[shard].db[c->db])) {
			reply_nomem(cx, c);
			return;
		}
	}
	reply_array(cx, c, s.n);
	for (i = 0; i < s.n; i++)
		reply_bulk(cx, c, item_key(s.found[i]), item_klen(s.found[i]));
}

/* ---- HSCAN, SSCAN, ZSCAN --------------------------------------------------------------------------------------- */
struct packed { struct scan *s; purser_call *c; size_t n; int reply, values; };

/* First counts what matches, then replies it. */
static int packed_field(void *arg, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	struct packed *w = arg;

	if (w->s->match && !purser_glob(w->s->match->p, w->s->match->n, f, fn))
		return 0;
	w->n++;
	if (w->reply)
		reply_bulk(w->s->cx, w->c, f, fn);
	if (w->reply && w->values)
		reply_bulk(w->s->cx, w->c, v, vn);
	return 0;
}

static int packed_member(void *arg, const uint8_t *m, size_t n) { return packed_field(arg, m, n, NULL, 0); }

static int packed_score(void *arg, purser_bytes m, double score)
{
	char text[SCORE_TEXT];

	return packed_field(arg, m.p, m.n, (uint8_t *)text, score_format(score, text));
}

static void each_element(struct item *it, struct packed *w)
{
	if (item_type(it) == TYPE_SET)
		set_each(it, packed_member, w);
	else if (item_type(it) == TYPE_ZSET)
		zset_walk(it, 0, zset_len(it), 0, packed_score, w);
	else
		hash_each(it, packed_field, w);
}

/* What is packed comes whole, as a listpack does. */
static void scan_packed(struct ctx *cx, purser_call *c, struct scan *s, struct item *it)
{
	struct packed w = { .s = s, .c = c, .values = item_type(it) != TYPE_SET };

	each_element(it, &w);
	reply_array(cx, c, 2);
	reply_cursor(cx, c, 0);
	reply_array(cx, c, w.n << w.values);
	w.reply = 1;
	each_element(it, &w);
}

/* A field's value or a member's score. */
static void reply_second(struct ctx *cx, purser_call *c, const struct item *of, struct item *element)
{
	char text[SCORE_TEXT];
	struct view v;

	if (item_type(of) == TYPE_ZSET) {
		reply_bulk(cx, c, text, (size_t)snprintf(text, sizeof(text), "%.17g", node_score(element)));
		return;
	}
	string_view(element, &v);
	reply_bulk(cx, c, v.p, v.n);
}

static void scan_elements(struct ctx *cx, purser_call *c, struct scan *s, const struct item *it, uint32_t at)
{
	const struct table *t = item_enc(it) == ENC_ZSET ? item_zset(it)->table : item_table(it);
	int values = item_type(it) != TYPE_SET;
	size_t i;

	do
		at = table_scan(t, at, scan_item, s);
	while (at && !s->nomem && s->seen < (uint64_t)s->count);
	if (s->nomem) {
		reply_nomem(cx, c);
		return;
	}
	reply_array(cx, c, 2);
	reply_cursor(cx, c, at);
	reply_array(cx, c, s->n << values);
	for (i = 0; i < s->n; i++) {
		reply_bulk(cx, c, item_key(s->found[i]), item_klen(s->found[i]));
		if (values)
			reply_second(cx, c, it, s->found[i]);
	}
}

static void scan_key(struct ctx *cx, purser_call *c, enum type type)
{
	struct scan s = { .cx = cx, .count = 10 };
	uint64_t cursor;
	struct pos p;

	if (cursor_parse(cx, c, 2, &cursor))
		return;
	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_array(cx, c, 2);
		reply_cursor(cx, c, 0);
		reply_array(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, type) || scan_options(cx, c, 3, &s))
		return;
	if (item_enc(p.it) == ENC_TABLE)
		s.count = INT64_MAX; /* as a listpack: all at once */
	if (enc_is_table(item_enc(p.it)) || item_enc(p.it) == ENC_ZSET)
		scan_elements(cx, c, &s, p.it, (uint32_t)cursor);
	else
		scan_packed(cx, c, &s, p.it);
}

void op_hscan(struct ctx *cx, purser_call *c) { scan_key(cx, c, TYPE_HASH); }
void op_sscan(struct ctx *cx, purser_call *c) { scan_key(cx, c, TYPE_SET); }
void op_zscan(struct ctx *cx, purser_call *c) { scan_key(cx, c, TYPE_ZSET); }
