/* SPDX-License-Identifier: Apache-2.0 */
#include "order.h"
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

uint64_t rnd(struct ctx *x, uint64_t n)
{
	x->rng ^= x->rng << 13;
	x->rng ^= x->rng >> 7;
	x->rng ^= x->rng << 17;
	return (x->rng >> 11) % n;
}

/* ---- the store -------------------------------------------------------------------------------------- */

static struct item **find(struct store *s, uint16_t db, purser_bytes key)
{
	uint32_t h = db;
	struct item **p;

	for (size_t i = 0; i < key.n; i++)
		h = h * 31 + key.p[i];
	for (p = &s->bucket[h % BUCKETS]; *p; p = &(*p)->next)
		if ((*p)->db == db && (*p)->klen == key.n && memcmp((*p)->key, key.p, key.n) == 0)
			break;
	return p;
}

static void item_free(struct item *it)
{
	free(it->key);
	free(it->value);
	free(it);
}

void store_free(struct store *s)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		while (s->bucket[i]) {
			struct item *it = s->bucket[i];

			s->bucket[i] = it->next;
			item_free(it);
		}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* The value becomes what it was up to `keep`, and v behind it. */
static struct item *put(struct store *s, uint16_t db, purser_bytes key, purser_bytes v, bool append)
{
	struct item **p = find(s, db, key), *it = *p;
	size_t keep;
	uint8_t *mem;

	if (!it) {
		it = calloc(1, sizeof(*it));
		if (it)
			it->key = malloc(key.n + 1);
		if (!it || !it->key) {
			free(it);
			return NULL;
		}
		memcpy(it->key, key.p, key.n);
		it->klen = key.n;
		it->db = db;
		*p = it;
	}
	keep = append ? it->vlen : 0;
	mem = realloc(it->value, keep + v.n + 1);
	if (!mem)
		return NULL;
	it->value = mem;
	memcpy(mem + keep, v.p, v.n);
	it->vlen = keep + v.n;
	return it;
}

static bool drop(struct store *s, uint16_t db, purser_bytes key)
{
	struct item **p = find(s, db, key), *it = *p;

	if (!it)
		return false;
	*p = it->next;
	item_free(it);
	return true;
}

/* ---- replies as bytes ------------------------------------------------------------------------------- */

static void add(struct reply *r, const void *p, size_t n)
{
	if (r->n + n > r->cap) {
		size_t cap = 2 * (r->n + n) + 64;
		uint8_t *q = realloc(r->p, cap);

		if (!q) {
			r->oom = true;
			return;
		}
		r->p = q;
		r->cap = cap;
	}
	if (n)
		memcpy(r->p + r->n, p, n);
	r->n += n;
}

static void add_line(struct reply *r, char type, long long v)
{
	char tmp[32];

	add(r, tmp, (size_t)snprintf(tmp, sizeof(tmp), "%c%lld\r\n", type, v));
}

static void add_bulk(struct reply *r, const void *p, size_t n)
{
	add_line(r, '$', (long long)n);
	r->from = r->n;
	r->len = n;
	add(r, p, n);
	add(r, "\r\n", 2);
	r->kind = '$';
}

static void add_null(struct reply *r, const purser_call *c)
{
	add(r, c->resp == 3 ? "_\r\n" : "$-1\r\n", c->resp == 3 ? 3 : 5);
	r->kind = '_';
}

static void add_integer(struct reply *r, int64_t v)
{
	add_line(r, ':', v);
	r->kind = ':';
	r->number = v;
}

static void add_text(struct reply *r, char kind, const char *text)
{
	add(r, &kind, 1);
	r->from = r->n;
	r->len = strlen(text);
	add(r, text, r->len);
	add(r, "\r\n", 2);
	r->kind = (uint8_t)kind;
}

static void add_item(struct reply *r, const purser_call *c, const struct item *it)
{
	if (it)
		add_bulk(r, it->value, it->vlen);
	else
		add_null(r, c);
}

/* ---- commands --------------------------------------------------------------------------------------- */

static void do_incr(struct store *s, const purser_call *c, purser_bytes key, struct reply *r)
{
	const struct item *it = *find(s, c->db, key);
	char tmp[24];
	int64_t v;

	snprintf(tmp, sizeof(tmp), "%.*s", it ? (int)(it->vlen < 20 ? it->vlen : 20) : 0,
	    it ? (const char *)it->value : "");
	v = strtoll(tmp, NULL, 10) + 1;
	put(s, c->db, key, (purser_bytes){ (uint8_t *)tmp,
	    (size_t)snprintf(tmp, sizeof(tmp), "%lld", (long long)v) }, false);
	add_integer(r, v);
}

/* All at once: the cursor is always 0. */
static void do_scan(struct store *s, const purser_call *c, const purser_bytes *argv, struct reply *r)
{
	char pattern[300] = "*";
	struct reply names = { 0 };
	long long n = 0;

	for (uint32_t i = 2; i + 1 < c->argc; i += 2)
		if (argv[i].n == 5 && strncasecmp((const char *)argv[i].p, "MATCH", 5) == 0)
			snprintf(pattern, sizeof(pattern), "%.*s", (int)argv[i + 1].n, (const char *)argv[i + 1].p);
	for (unsigned i = 0; i < BUCKETS; i++)
		for (const struct item *it = s->bucket[i]; it; it = it->next) {
			char key[300];

			snprintf(key, sizeof(key), "%.*s", (int)it->klen, (const char *)it->key);
			if (it->db != c->db || fnmatch(pattern, key, 0))
				continue;
			add_bulk(&names, it->key, it->klen);
			n++;
		}
	add(r, "*2\r\n$1\r\n0\r\n", 11);
	add_line(r, '*', n);
	add(r, names.p, names.n);
	r->oom |= names.oom;
	r->kind = '*';
	free(names.p);
}

static void do_many(struct store *s, const purser_call *c, const purser_bytes *argv, struct reply *r)
{
	int64_t n = 0;

	if (c->op == OP_MGET)
		add_line(r, '*', (long long)c->argc - 1);
	for (uint32_t i = 1; i < c->argc; i++) {
		switch (c->op) {
		case OP_MGET:
			add_item(r, c, *find(s, c->db, argv[i]));
			break;
		case OP_MSET:
			if (i + 1 < c->argc)
				put(s, c->db, argv[i], argv[i + 1], false);
			i++;
			break;
		case OP_DEL:
			n += drop(s, c->db, argv[i]);
			break;
		default:
			n += *find(s, c->db, argv[i]) != NULL;
		}
	}
	if (c->op == OP_MGET)
		r->kind = '*';
	else if (c->op == OP_MSET)
		add_text(r, '+', "OK");
	else
		add_integer(r, n);
}

static void run(struct store *s, const purser_call *c, const purser_bytes *argv, struct reply *r)
{
	const struct item *it;

	switch ((enum op)c->op) {
	case OP_GET:
		add_item(r, c, *find(s, c->db, argv[1]));
		break;
	case OP_SET:
		if (put(s, c->db, argv[1], argv[2], false))
			add_text(r, '+', "OK");
		else
			r->oom = true;
		break;
	case OP_APPEND:
		it = put(s, c->db, argv[1], argv[2], true);
		add_integer(r, it ? (int64_t)it->vlen : -1);
		break;
	case OP_STRLEN:
		it = *find(s, c->db, argv[1]);
		add_integer(r, it ? (int64_t)it->vlen : 0);
		break;
	case OP_INCR:
		do_incr(s, c, argv[1], r);
		break;
	case OP_SCAN:
		do_scan(s, c, argv, r);
		break;
	case OP_PING:
		add_text(r, '+', "PONG");
		break;
	default:
		do_many(s, c, argv, r);
	}
}

/* ---- ends ------------------------------------------------------------------------------------------- */

static void account(struct ctx *x, purser_call *c)
{
	struct sess *s = session_at(x, c->session);

	check_end(x, c);
	if (s)
		s->inflight--;
}

void finish(struct ctx *x, purser_call *c, uint32_t code, uint32_t executed, const char *text)
{
	if (x->head == c) {
		x->head = c->link;
		if (!x->head)
			x->tail = NULL;
		x->n--;
	} else if (!(c->flags & PURSER_CALL_STREAMED)) {
		wrong(x, "the end of a call that is not the first");
	}
	account(x, c);
	x->inside++;
	if (code)
		x->s->h->fail(c, code, executed, text);
	else
		x->s->h->end(c);
	x->inside--;
}

struct loan {
	struct store *s;
	struct ctx *x;
	pthread_t thread;
	uint8_t bytes[];
};

static void give_back(void *arg)
{
	struct loan *l = arg;

	if (!pthread_equal(l->thread, pthread_self()))
		wrong(l->x, "release() on another thread");
	check_entry(l->x, "release()");
	atomic_fetch_sub(&l->s->refs, 1);
	free(l);
}

static bool lend(struct ctx *x, purser_call *c, struct reply *r)
{
	struct loan *l = malloc(sizeof(*l) + r->n);

	if (!l)
		return false;
	l->s = x->s;
	l->x = x;
	l->thread = pthread_self();
	memcpy(l->bytes, r->p, r->n);
	atomic_fetch_add(&x->s->refs, 1);
	x->s->h->raw_ref(c, l->bytes, r->n, give_back, l);
	return true;
}

static bool typed(struct ctx *x, purser_call *c, const struct reply *r)
{
	const purser_host *h = x->s->h;
	char word[16];

	switch (r->kind) {
	case '$':
		h->bulk(c, r->p + r->from, r->len);
		return true;
	case ':':
		h->integer(c, r->number);
		return true;
	case '_':
		h->null(c);
		return true;
	case '+':
		snprintf(word, sizeof(word), "%.*s", (int)r->len, (const char *)r->p + r->from);
		h->status(c, word);
		return true;
	default:
		return false;
	}
}

static bool reserved(struct ctx *x, purser_call *c, const struct reply *r)
{
	for (size_t at = 0; at < r->n;) {
		size_t n = 1 + (size_t)rnd(x, r->n - at), use = 1 + (size_t)rnd(x, n);
		uint8_t *d = x->s->h->reserve(c, n);

		if (!d)
			return false;
		memcpy(d, r->p + at, use);
		x->s->h->commit(c, use);
		at += use;
	}
	return true;
}

/* Raw fragments; false: the reader has had enough. */
static bool raw(struct ctx *x, purser_call *c, struct reply *r)
{
	while (r->at < r->n) {
		size_t n = 1 + (size_t)rnd(x, r->n - r->at < 3000 ? r->n - r->at : 3000);
		int64_t credit;

		x->inside++;
		credit = x->s->h->raw(c, r->p + r->at, n);
		x->inside--;
		r->at += n;
#ifdef ORDER_WIRE
		if (credit <= 0 && r->at < r->n)
			return false;
#else
		(void)credit;
#endif
	}
	return true;
}

static void reply_free(struct reply *r)
{
	free(r->p);
	free(r);
}

bool go_on(struct ctx *x, purser_call *c)
{
	struct reply *r = x->stalled;

	x->stalled = NULL;
	if (!raw(x, c, r)) {
		x->stalled = r;
		return false;
	}
	reply_free(r);
	finish(x, c, 0, 0, NULL);
	return true;
}

static bool deliver(struct ctx *x, purser_call *c, struct reply *r)
{
	if (r->kind == '-') {
		x->s->h->error(c, (const char *)r->p + r->from, r->len);
	} else {
		int64_t style = x->s->style ? x->s->style : STYLE_TYPED + (int64_t)rnd(x, 4);

		x->inside++;
		if ((style == STYLE_TYPED && typed(x, c, r)) || (style == STYLE_RESERVED && reserved(x, c, r)) ||
		    (style == STYLE_REFERENCE && lend(x, c, r))) {
			x->inside--;
		} else {
			x->inside--;
			x->stalled = r;
			return go_on(x, c);
		}
	}
	reply_free(r);
	finish(x, c, 0, 0, NULL);
	return true;
}

/* ---- one call --------------------------------------------------------------------------------------- */

/* The client's key, without the prefix; "" = none. */
static const char *logical(const purser_call *c, const purser_bytes *argv, char *dst, size_t cap)
{
	purser_bytes k = c->nkeys ? argv[c->keys[0]] : (purser_bytes){ NULL, 0 };

	if (k.n < c->ns_prefix || !k.n)
		return "";
	snprintf(dst, cap, "%.*s", (int)(k.n - c->ns_prefix), (const char *)k.p + c->ns_prefix);
	return dst;
}

static bool demanded(struct ctx *x, purser_call *c, const purser_bytes *argv, const char *key)
{
	unsigned code, executed;

	if (sscanf(key, "fail:%u:%u:", &code, &executed) == 2) {
		finish(x, c, code, executed, "as it was told to");
		return true;
	}
	if (strncmp(key, "broken:", 7) == 0) {
		x->s->h->raw(c, "$10\r\nhalf", 9);
		finish(x, c, PURSER_E_IO, PURSER_EXECUTED, "the link broke");
		return true;
	}
	if (strncmp(key, "torn:", 5) == 0) {
		static const uint8_t bytes[40000];

		x->s->h->raw(c, "$100000\r\n", 9);
		x->s->h->raw(c, bytes, sizeof(bytes));
		((struct call_state *)c->user[0])->torn = true;
		x->timer = x->s->h->timer(x->x, 20000000, on_timer, x);
		return true;
	}
	if (strncmp(key, "err:", 4) == 0) {
		char text[200];
		int n = snprintf(text, sizeof(text), "WRONGTYPE not with '%.*s', not here",
		    (int)(argv[1].n < 100 ? argv[1].n : 100), (const char *)argv[1].p);

		x->s->h->error(c, text, (size_t)n);
		finish(x, c, 0, 0, NULL);
		return true;
	}
	return false;
}

static int ready_words(struct ctx *x, purser_call *c)
{
#ifdef ORDER_WIRE
	return check_encode(x, c);
#else
	(void)x;
	(void)c;
	return 0;
#endif
}

bool waits(struct ctx *x, purser_call *c)
{
	struct call_state *st = c->user[0];
	char key[200] = "";

	if (st->waited || ready_words(x, c) || strncmp(logical(c, words(c), key, sizeof(key)), "slow:", 5))
		return false;
	st->waited = true;
	return true;
}

bool execute(struct ctx *x, purser_call *c)
{
	const purser_bytes *argv;
	struct reply *r;
	char key[200] = "";

	if (((struct call_state *)c->user[0])->torn) {
		finish(x, c, PURSER_E_IO, PURSER_EXECUTED, "the link broke");
		return true;
	}
	if (ready_words(x, c)) {
		finish(x, c, PURSER_E_INTERNAL, PURSER_NOT_EXECUTED, "it cannot be encoded");
		return true;
	}
	x->s->h->sent(c);
	argv = words(c);
	if (demanded(x, c, argv, logical(c, argv, key, sizeof(key))))
		return x->head != c || !x->timer;
	r = calloc(1, sizeof(*r));
	if (r) {
		pthread_mutex_lock(&x->s->lock);
		run(x->s, c, argv, r);
		pthread_mutex_unlock(&x->s->lock);
	}
	if (!r || r->oom) {
		if (r)
			reply_free(r);
		finish(x, c, PURSER_E_NOMEM, PURSER_NOT_EXECUTED, NULL);
		return true;
	}
	return deliver(x, c, r);
}
