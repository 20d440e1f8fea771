/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings: GET SET and their kin, counters, APPEND, ranges.  (LCS: cmd_lcs.c)
 */
#include <math.h>
#include "cmd.h"
#include "evict.h"
#include "number.h"
#include "str.h"
#include "table.h"

/* ---- writing a string ----------------------------------------------------------------------------------
 * In two steps, so that a reply can stand between them: put_prepare() does all that can fail,
 * put_commit() changes the key (which can fail only where the key did not exist). */
struct put {
	struct shape shape;
	const uint8_t *p;              /* value bytes */
	size_t n;
	uint64_t word;                 /* the integer, or the blob */
	int64_t expiry;
	struct item *item;             /* made, or NULL: in place */
};

/* As SET keeps a value: integers as such. */
static void put_value(struct put *w, purser_bytes v)
{
	int64_t num;

	w->p = v.p;
	w->n = v.n;
	w->shape.vlen = 0;
	if (v.n <= 20 && int_parse(v.p, v.n, &num) == 0) {
		w->shape.enc = ENC_INT;
		w->word = (uint64_t)num;
	} else if (v.n > INLINE_MAX) {
		w->shape.enc = ENC_BIG;
	} else {
		w->shape.enc = v.n <= EMB_MAX ? ENC_EMB : ENC_RAW;
		w->shape.vlen = v.n;
	}
}

static void put_fill(struct put *w, struct item *it, const struct pos *p, uint32_t clock)
{
	item_fill(it, &w->shape, p->key, p->klen, clock);
	if (w->shape.ttl)
		item_set_expiry(it, w->expiry);
	if (enc_has_word(w->shape.enc))
		item_set_word(it, w->word);
	else
		memcpy(item_value(it), w->p, w->n);
}

/* w's shape and value are set; in place only if the caller allows.  0, or -1: no memory. */
static int put_prepare(struct ctx *cx, struct put *w, const struct pos *p, int in_place)
{
	size_t bytes = shape_bytes(&w->shape, p->klen);

	w->item = NULL;
	if (w->shape.enc == ENC_BIG) {
		struct blob *b = blob_new(cx, w->n, w->n);

		if (!b)
			return -1;
		memcpy(b->data, w->p, w->n);
		w->word = (uint64_t)(uintptr_t)b;
	} else if (in_place && p->it && chunk_size(item_bytes(p->it)) == chunk_size(bytes)) {
		return 0;
	}
	w->item = mem_get(cx, bytes);
	if (w->item) {
		put_fill(w, w->item, p, cx->clock);
		return 0;
	}
	if (w->shape.enc == ENC_BIG)
		item_drop_word(cx, ENC_BIG, w->word);
	return -1;
}

static int put_commit(struct ctx *cx, struct put *w, struct pos *p)
{
	if (!p->it) {
		if (key_add(cx, p, w->item) == 0)
			return 0;
		item_free(cx, w->item);
		return -1;
	}
	if (w->item) {
		key_replace(cx, p, w->item);
		return 0;
	}
	if (enc_has_word(item_enc(p->it)))
		item_drop_word(cx, item_enc(p->it), item_word(p->it));
	put_fill(w, p->it, p, evict_bits(cx, p->it));
	key_moved(cx, p, p->it);
	return 0;
}

/* ---- GET ------------------------------------------------------------------------------------------------ */
void op_get(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (!arg_find(cx, c, 1, 0, &p, FIND_READ))
		reply_null(cx, c);
	else if (!wrong_type(cx, c, p.it, TYPE_STRING))
		reply_value(cx, c, p.it);
}

void op_mget(struct ctx *cx, purser_call *c)
{
	uint32_t i;
	struct pos p;

	for (i = 1; i < c->argc; i++)
		table_prefetch(*db_table(cx->st, cx->hash[i - 1], c->db), cx->hash[i - 1]);
	reply_array(cx, c, c->argc - 1);
	for (i = 1; i < c->argc; i++) {
		if (arg_find(cx, c, i, i - 1, &p, FIND_READ) && item_type(p.it) == TYPE_STRING)
			reply_string(cx, c, p.it);
		else
			reply_null(cx, c);
	}
}

void op_strlen(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (!arg_find(cx, c, 1, 0, &p, FIND_READ))
		reply_int(cx, c, 0);
	else if (!wrong_type(cx, c, p.it, TYPE_STRING))
		reply_int(cx, c, (int64_t)string_len(p.it));
}

void op_getrange(struct ctx *cx, purser_call *c)
{
	int64_t from, to, len;
	struct view v;
	struct pos p;

	if (arg_int(cx, c, 2, &from) || arg_int(cx, c, 3, &to))
		return;
	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_bulk(cx, c, "", 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	string_view(p.it, &v);
	len = (int64_t)v.n;
	if (from < 0 && to < 0 && from > to) {
		reply_bulk(cx, c, "", 0);
		return;
	}
	from = from < 0 ? (from + len < 0 ? 0 : from + len) : from;
	to = to < 0 ? (to + len < 0 ? 0 : to + len) : to;
	if (to >= len)
		to = len - 1;
	if (from > to || len == 0)
		reply_bulk(cx, c, "", 0);
	else
		reply_bulk(cx, c, v.p + from, (size_t)(to - from + 1));
}

/* ---- options of SET and GETEX ------------------------------------------------------------------------------ */
enum { SET_NX = 1, SET_XX = 2, SET_GET = 4, SET_KEEPTTL = 8, SET_PERSIST = 16 };
struct options {
	unsigned flags;
	uint32_t expire;               /* argument with the time; 0: none */
	int seconds, relative;
};

/* EX PX EXAT PXAT with the argument behind it; 1: taken. */
static int option_time(const purser_call *c, uint32_t i, struct options *o)
{
	static const struct { const char *word; int seconds, relative; } times[] = {
		{ "ex", 1, 1 }, { "px", 0, 1 }, { "exat", 1, 0 }, { "pxat", 0, 0 }
	};
	unsigned t;

	for (t = 0; t < 4; t++) {
		if (!arg_is(c->argv[i], times[t].word))
			continue;
		/* The same word twice is accepted, and the last one counts; another one is not. */
		if (i + 1 == c->argc || o->flags & (SET_KEEPTTL | SET_PERSIST) ||
		    (o->expire && (o->seconds != times[t].seconds || o->relative != times[t].relative)))
			return 0;
		o->expire = i + 1;
		o->seconds = times[t].seconds;
		o->relative = times[t].relative;
		return 1;
	}
	return 0;
}

static int options_parse(struct ctx *cx, purser_call *c, int set, struct options *o)
{
	uint32_t i;

	memset(o, 0, sizeof(*o));
	for (i = set ? 3 : 2; i < c->argc; i++) {
		purser_bytes a = c->argv[i];

		if (set && arg_is(a, "nx") && !(o->flags & SET_XX))
			o->flags |= SET_NX;
		else if (set && arg_is(a, "xx") && !(o->flags & SET_NX))
			o->flags |= SET_XX;
		else if (set && arg_is(a, "get"))
			o->flags |= SET_GET;
		else if (set && arg_is(a, "keepttl") && !o->expire)
			o->flags |= SET_KEEPTTL;
		else if (!set && arg_is(a, "persist") && !o->expire)
			o->flags |= SET_PERSIST;
		else if (option_time(c, i, o))
			i++;
		else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
	}
	return 0;
}

/* ---- SET ---------------------------------------------------------------------------------------------------- */
/* The value argument to the key at argv[1], under the options.  reply: what stands for +OK and nil. */
static void set_generic(struct ctx *cx, purser_call *c, uint32_t value, const struct options *o,
    int as_integer)
{
	struct put w = { .expiry = 0 };
	struct pos p;
	int found;

	if (o->expire && arg_expiry(cx, c, o->expire, o->seconds, o->relative, &w.expiry))
		return;
	found = arg_find(cx, c, 1, 0, &p, o->flags & SET_GET ? FIND_READ : 0) != NULL;
	if (o->flags & SET_GET && wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	if ((o->flags & SET_NX && found) || (o->flags & SET_XX && !found)) {
		if (o->flags & SET_GET && found)
			reply_value(cx, c, p.it);
		else if (as_integer)
			reply_int(cx, c, 0);
		else
			reply_null(cx, c);
		return;
	}
	w.shape.ttl = !!o->expire;
	if (o->flags & SET_KEEPTTL && found && item_has_ttl(p.it)) {
		w.shape.ttl = 1;
		w.expiry = item_expiry(p.it);
	}
	put_value(&w, c->argv[value]);
	if (put_prepare(cx, &w, &p, 1)) {
		reply_nomem(cx, c);
		return;
	}
	if (o->flags & SET_GET && found)
		reply_value(cx, c, p.it);
	if (put_commit(cx, &w, &p)) { /* only where nothing was found, so nothing was replied */
		reply_nomem(cx, c);
		return;
	}
	arg_event(cx, c, 1, EVENT_STRING, "set");
	if (o->expire)
		arg_event(cx, c, 1, EVENT_GENERIC, "expire");
	if (as_integer)
		reply_int(cx, c, 1);
	else if (!(o->flags & SET_GET))
		reply_ok(cx, c);
	else if (!found)
		reply_null(cx, c);
}

void op_set(struct ctx *cx, purser_call *c)
{
	struct options o;

	if (options_parse(cx, c, 1, &o) == 0)
		set_generic(cx, c, 2, &o, 0);
}

void op_setnx(struct ctx *cx, purser_call *c)
{
	struct options o = { .flags = SET_NX };

	set_generic(cx, c, 2, &o, 1);
}

void op_setex(struct ctx *cx, purser_call *c)
{
	struct options o = { .expire = 2, .seconds = 1, .relative = 1 };

	set_generic(cx, c, 3, &o, 0);
}

void op_psetex(struct ctx *cx, purser_call *c)
{
	struct options o = { .expire = 2, .relative = 1 };

	set_generic(cx, c, 3, &o, 0);
}

void op_getset(struct ctx *cx, purser_call *c)
{
	struct options o = { .flags = SET_GET };

	set_generic(cx, c, 2, &o, 0);
}

void op_getdel(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_null(cx, c);
	} else if (!wrong_type(cx, c, p.it, TYPE_STRING)) {
		reply_value(cx, c, p.it);
		key_delete(cx, &p);
		arg_gone(cx, c, 1);
	}
}

void op_getex(struct ctx *cx, purser_call *c)
{
	struct options o;
	int64_t when = 0;
	int gone, had;
	struct pos p;

	if (options_parse(cx, c, 0, &o))
		return;
	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_null(cx, c);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	if (o.expire && arg_expiry(cx, c, o.expire, o.seconds, o.relative, &when))
		return;
	gone = o.expire && !o.relative && when <= (int64_t)now_ms(cx);
	had = item_has_ttl(p.it);
	if ((o.expire && !gone && key_expire_at(cx, &p, when)) ||
	    (o.flags & SET_PERSIST && had && key_persist(cx, &p))) {
		reply_nomem(cx, c);
		return;
	}
	reply_value(cx, c, p.it);
	if (gone) {
		key_delete(cx, &p);
		arg_gone(cx, c, 1);
	} else if (o.expire) {
		arg_event(cx, c, 1, EVENT_GENERIC, "expire");
	} else if (o.flags & SET_PERSIST && had) {
		arg_event(cx, c, 1, EVENT_GENERIC, "persist");
	}
}

/* ---- MSET --------------------------------------------------------------------------------------------------- */
struct mset_slot {
	struct item *it;               /* before: the new item; after: the old one, NULL if there was none */
};

/* Takes the first n assignments back, newest first: they were all made without an allocation. */
static void mset_undo(struct ctx *cx, purser_call *c, struct mset_slot *s, uint32_t n)
{
	while (n-- > 0) {
		struct pos p;
		struct item *now;

		arg_find(cx, c, 1 + 2 * n, n, &p, FIND_NOTOUCH);
		now = p.it;
		if (s[n].it)
			key_moved(cx, &p, s[n].it);
		else
			key_take(cx, &p);
		s[n].it = now;
	}
}

/* All pairs or none.  0, or -1: no memory, nothing changed. */
static int mset_all(struct ctx *cx, purser_call *c)
{
	uint32_t n = (c->argc - 1) / 2, i, made = 0, done = 0;
	struct mset_slot *s = scratch(cx, n * sizeof(*s));
	struct pos p;

	for (; s && made < n; made++) {
		struct put w = { .expiry = 0 };

		p.key = c->argv[1 + 2 * made].p;
		p.klen = c->argv[1 + 2 * made].n;
		p.it = NULL;
		put_value(&w, c->argv[2 + 2 * made]);
		if (put_prepare(cx, &w, &p, 0))
			break;
		s[made].it = w.item;
		table_prefetch(*db_table(cx->st, cx->hash[made], c->db), cx->hash[made]);
	}
	for (; s && made == n && done < n; done++) {
		struct item *it = s[done].it;

		s[done].it = arg_find(cx, c, 1 + 2 * done, done, &p, 0);
		if (p.it) {
			evict_inherit(cx, it, p.it);
			key_moved(cx, &p, it);
		} else if (key_add(cx, &p, it)) {
			s[done].it = it;
			break;
		}
	}
	if (s && done < n)
		mset_undo(cx, c, s, done);
	for (i = 0; s && done == n && i < n; i++) {
		if (!s[i].it)
			key_is_new(cx, c->argv[1 + 2 * i].p);
		arg_event(cx, c, 1 + 2 * i, EVENT_STRING, "set");
	}
	for (i = 0; i < made; i++) /* the old values, or after a failure the new ones */
		if (s[i].it)
			item_free(cx, s[i].it);
	return s && done == n ? 0 : -1;
}

static void mset_generic(struct ctx *cx, purser_call *c, int nx)
{
	uint32_t i;
	struct pos p;

	if (c->argc % 2 == 0) {
		reply_arity(cx, c);
		return;
	}
	for (i = 1; nx && i < c->argc; i += 2) {
		if (arg_find(cx, c, i, i / 2, &p, 0)) {
			reply_int(cx, c, 0);
			return;
		}
	}
	if (mset_all(cx, c))
		reply_nomem(cx, c);
	else if (nx)
		reply_int(cx, c, 1);
	else
		reply_ok(cx, c);
}

void op_mset(struct ctx *cx, purser_call *c) { mset_generic(cx, c, 0); }
void op_msetnx(struct ctx *cx, purser_call *c) { mset_generic(cx, c, 1); }

/* ---- counters ------------------------------------------------------------------------------------------------- */
/* w's value to the key, whose expiry stays.  0, or -1 with the error replied. */
static int put_keep(struct ctx *cx, purser_call *c, struct put *w, struct pos *p)
{
	w->shape.ttl = p->it && item_has_ttl(p->it);
	if (w->shape.ttl)
		w->expiry = item_expiry(p->it);
	if (put_prepare(cx, w, p, 1) == 0 && put_commit(cx, w, p) == 0)
		return 0;
	reply_nomem(cx, c);
	return -1;
}

static void incr_generic(struct ctx *cx, purser_call *c, int64_t by)
{
	struct put w = { .shape.enc = ENC_INT };
	struct view v;
	struct pos p;
	int64_t old = 0, sum;

	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	if (p.it && (item_enc(p.it) == ENC_INT || item_enc(p.it) == ENC_INT_OWN)) {
		old = item_int(p.it);
	} else if (p.it) {
		string_view(p.it, &v);
		if (int_parse(v.p, v.n, &old)) {
			reply_error(cx, c, err_not_int);
			return;
		}
	}
	if (__builtin_add_overflow(old, by, &sum)) {
		reply_error(cx, c, err_overflow);
		return;
	}
	if (p.it && enc_has_word(item_enc(p.it)) && item_enc(p.it) != ENC_BIG) {
		/* An own copy outside of the shared range is counted in place and stays what it is. */
		if (item_enc(p.it) == ENC_INT_OWN && sum >= 0 && sum < 10000)
			p.it->head = (p.it->head & ~ITEM_ENC) | ENC_INT;
		item_set_word(p.it, (uint64_t)sum);
	} else {
		w.word = (uint64_t)sum;
		if (put_keep(cx, c, &w, &p))
			return;
	}
	arg_event(cx, c, 1, EVENT_STRING, "incrby");
	reply_int(cx, c, sum);
}

void op_incr(struct ctx *cx, purser_call *c) { incr_generic(cx, c, 1); }
void op_decr(struct ctx *cx, purser_call *c) { incr_generic(cx, c, -1); }

void op_incrby(struct ctx *cx, purser_call *c)
{
	int64_t by;

	if (arg_int(cx, c, 2, &by) == 0)
		incr_generic(cx, c, by);
}

void op_decrby(struct ctx *cx, purser_call *c)
{
	int64_t by;

	if (arg_int(cx, c, 2, &by))
		return;
	if (by == INT64_MIN)
		reply_error(cx, c, "ERR decrement would overflow");
	else
		incr_generic(cx, c, -by);
}

void op_incrbyfloat(struct ctx *cx, purser_call *c)
{
	char text[FLOAT_TEXT];
	struct put w = { .expiry = 0 };
	long double value = 0, by;
	struct view v = { .n = 0 };
	struct pos p;

	if (arg_find(cx, c, 1, 0, &p, 0)) {
		if (wrong_type(cx, c, p.it, TYPE_STRING))
			return;
		string_view(p.it, &v);
	}
	if ((p.it && float_parse(v.p, v.n, &value)) ||
	    float_parse(c->argv[2].p, c->argv[2].n, &by)) {
		reply_error(cx, c, "ERR value is not a valid float");
		return;
	}
	value += by;
	if (isnan(value) || isinf(value)) {
		reply_error(cx, c, err_nan);
		return;
	}
	w.p = (uint8_t *)text;
	w.n = float_format(value, text);
	w.shape.enc = w.n <= EMB_MAX ? ENC_EMB : w.n <= INLINE_MAX ? ENC_RAW : ENC_BIG;
	w.shape.vlen = w.n <= INLINE_MAX ? w.n : 0;
	if (put_keep(cx, c, &w, &p))
		return;
	arg_event(cx, c, 1, EVENT_STRING, "incrbyfloat");
	reply_bulk(cx, c, text, w.n);
}

/* ---- changing parts ---------------------------------------------------------------------------------------------- */
uint8_t *string_stretch(struct ctx *cx, struct pos *p, size_t len, size_t spare)
{
	struct shape s = { ENC_RAW, item_has_ttl(p->it), len };
	struct blob *b = item_enc(p->it) == ENC_BIG ? item_blob(p->it) : NULL;
	struct item *it = p->it;
	struct view v;
	size_t cap;

	string_view(it, &v);
	if (!b && len <= INLINE_MAX) {
		/* v may point into the item or into itself (a number): its bytes come first. */
		int number = enc_has_word(item_enc(it));

		it = item_reshape(cx, it, &s);
		if (!it)
			return NULL;
		if (number)
			memcpy(item_value(it), v.buf, v.n);
		memset(item_value(it) + v.n, 0, len - v.n);
		key_moved(cx, p, it);
		return item_value(it);
	}
	if (b && b->cap >= len && atomic_load_explicit(&b->refs, memory_order_acquire) == 1) {
		memset(b->data + b->len, 0, len > b->len ? len - b->len : 0);
		b->len = len > b->len ? len : b->len;
		return b->data;
	}
	cap = len + spare;
	if (b && atomic_load_explicit(&b->refs, memory_order_acquire) == 1) {
		b = mem_resize(cx, b, blob_bytes(b->cap), blob_bytes(cap));
		if (!b)
			return NULL;
	} else {
		struct blob *own = blob_new(cx, v.n, cap);

		s.enc = ENC_BIG;
		s.vlen = 0;
		if (!own)
			return NULL;
		memcpy(own->data, v.p, v.n);
		if (!b && !(it = item_reshape(cx, it, &s))) {
			blob_drop(cx, own);
			return NULL;
		}
		if (!b)
			key_moved(cx, p, it);
		else
			blob_drop(cx, b);
		b = own;
	}
	b->cap = cap;
	item_set_word(p->it, (uint64_t)(uintptr_t)b);
	if (len > b->len) {
		memset(b->data + b->len, 0, len - b->len);
		b->len = len;
	}
	return b->data;
}

struct item *string_new(struct ctx *cx, const struct pos *p, size_t len, uint8_t **to)
{
	struct shape s = { len > INLINE_MAX ? ENC_BIG : ENC_RAW, 0, len > INLINE_MAX ? 0 : len };
	struct blob *b = NULL;
	struct item *it;

	if (s.enc == ENC_BIG && !(b = blob_new(cx, len, len)))
		return NULL;
	it = item_new(cx, &s, p->key, p->klen);
	if (!it) {
		if (b)
			blob_drop(cx, b);
		return NULL;
	}
	if (b)
		item_set_word(it, (uint64_t)(uintptr_t)b);
	*to = b ? b->data : item_value(it);
	return it;
}

int string_settle(struct ctx *cx, struct pos *p, struct item *it)
{
	struct put w = { .item = it };

	return put_commit(cx, &w, p);
}

int string_put(struct ctx *cx, struct pos *p, const uint8_t *bytes, size_t n)
{
	struct put w = { .shape = { ENC_RAW, 0, n }, .p = bytes, .n = n };

	if (n > INLINE_MAX) {
		w.shape.enc = ENC_BIG;
		w.shape.vlen = 0;
	}
	w.shape.ttl = p->it && item_has_ttl(p->it);
	if (w.shape.ttl)
		w.expiry = item_expiry(p->it);
	return put_prepare(cx, &w, p, 1) == 0 ? put_commit(cx, &w, p) : -1;
}

/* A new raw string: zero bytes up to offset, then v. */
static int string_create(struct ctx *cx, struct pos *p, size_t offset, purser_bytes v)
{
	uint8_t *to;
	struct item *it = string_new(cx, p, offset + v.n, &to);

	if (!it)
		return -1;
	memset(to, 0, offset);
	memcpy(to + offset, v.p, v.n);
	return string_settle(cx, p, it);
}

void op_append(struct ctx *cx, purser_call *c)
{
	purser_bytes v = c->argv[2];
	struct put w = { .expiry = 0 };
	struct pos p;
	uint8_t *to;
	size_t len;

	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		put_value(&w, v);
		if (put_keep(cx, c, &w, &p))
			return;
		arg_event(cx, c, 1, EVENT_STRING, "append");
		reply_int(cx, c, (int64_t)v.n);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	len = string_len(p.it);
	if (len + v.n > STRING_MAX) {
		reply_error(cx, c, err_too_long);
		return;
	}
	/* Who appends once will do so again: room for as much more, a MiB at most. */
	to = string_stretch(cx, &p, len + v.n, len + v.n < (1u << 20) ? len + v.n : 1u << 20);
	if (!to) {
		reply_nomem(cx, c);
		return;
	}
	memcpy(to + len, v.p, v.n);
	arg_event(cx, c, 1, EVENT_STRING, "append");
	reply_int(cx, c, (int64_t)(len + v.n));
}

void op_setrange(struct ctx *cx, purser_call *c)
{
	purser_bytes v = c->argv[3];
	int64_t offset;
	struct pos p;
	size_t len;
	uint8_t *to;

	if (arg_int(cx, c, 2, &offset))
		return;
	if (offset < 0) {
		reply_error(cx, c, "ERR offset is out of range");
		return;
	}
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	len = p.it ? string_len(p.it) : 0;
	if (v.n == 0) {
		reply_int(cx, c, (int64_t)len);
		return;
	}
	if ((uint64_t)offset + v.n > STRING_MAX) {
		reply_error(cx, c, err_too_long);
		return;
	}
	if (!p.it) {
		if (string_create(cx, &p, (size_t)offset, v)) {
			reply_nomem(cx, c);
			return;
		}
		arg_event(cx, c, 1, EVENT_STRING, "setrange");
		reply_int(cx, c, offset + (int64_t)v.n);
		return;
	}
	if (len < (size_t)offset + v.n)
		len = (size_t)offset + v.n;
	to = string_stretch(cx, &p, len, 0);
	if (!to) {
		reply_nomem(cx, c);
		return;
	}
	memcpy(to + offset, v.p, v.n);
	arg_event(cx, c, 1, EVENT_STRING, "setrange");
	reply_int(cx, c, (int64_t)len);
}
