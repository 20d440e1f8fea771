/* SPDX-License-Identifier: Apache-2.0
 *
 * push: subscriptions, on one connection of their own (RESP2: what a subscribed connection says there is
 * the same with every server).  The host asks for each name once; what it has asked is answered here in
 * the order of the asking, one command a name.
 *
 * While the connection is being made, commands wait in its order.  When it is lost, or cannot be made,
 * the host is told once, and names are asked for anew: behind a loss they wait a short random time, behind
 * an attempt that failed subscribe() says for such a time that it cannot.
 */
#include "redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PUSH_KEEP (64u << 10)     /* memory that is kept for the next message */
#define MESSAGE_MAX (PURSER_RESP_BULK_MAX + (1u << 20))

struct order {                    /* asked, not answered */
	struct order *next;
	uint32_t kind;
	int on;
	size_t n;
	uint8_t name[];
};

struct push {
	struct ctx *x;
	struct lane lane;             /* of its own: no call ever comes here */
	struct link *link;
	struct order *first, *last;   /* asked; those from `unsent` on are not in the write buffer yet */
	struct order *unsent;
	uint64_t names;               /* that the server has confirmed */
	uint64_t not_before;          /* ns: the next attempt to connect */
	uint64_t timer;               /* ... that somebody waits for */
	uint64_t writing;             /* timer: what was asked in this turn is written at its end */
	bool down;                    /* the last attempt failed */
	bool opening;                 /* inside push_subscribe() */
	struct pile pile;
};

static const char *const verbs[2][4] = {
	{ "", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE" },
	{ "", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE" },
};

/* ---- database numbers in the names of keyspace events: database 0 of the host is ours ------------- */

/* name with `by` added to the number in "__keyspace@N__:"; in text (cap bytes) if it changes. */
static purser_bytes shift_db(purser_bytes name, long by, uint8_t *text, size_t cap)
{
	char digits[24];
	size_t at = 11;
	long db = 0;
	int n;

	if (by == 0 || name.n < 15 || (memcmp(name.p, "__keyspace@", 11) && memcmp(name.p, "__keyevent@", 11)))
		return name;
	while (at < name.n && at < 17 && name.p[at] >= '0' && name.p[at] <= '9')
		db = db * 10 + (name.p[at++] - '0');
	if (at == 11 || at == name.n || name.p[at] != '_' || db + by < 0)
		return name;
	n = snprintf(digits, sizeof(digits), "%ld", db + by);
	if (11 + (size_t)n + name.n - at > cap)
		return name;
	memcpy(text, name.p, 11);
	memcpy(text + 11, digits, (size_t)n);
	memcpy(text + 11 + n, name.p + at, name.n - at);
	return (purser_bytes){ text, 11 + (size_t)n + name.n - at };
}

/* ---- out ------------------------------------------------------------------------------------------- */

static void drop_orders(struct push *p)
{
	struct order *o;

	while ((o = p->first)) {
		p->first = o->next;
		free(o);
	}
	p->last = p->unsent = NULL;
}

static void push_write(void *arg)
{
	struct push *p = arg;

	p->writing = 0;
	if (p->link->phase == LINK_UP && !p->link->armed)
		link_flush(p->link);
}

/* Everything that waits into the write buffer.  -1: no memory. */
static int put_orders(struct push *p)
{
	struct out *out = &p->link->out;

	for (struct order *o; (o = p->unsent); p->unsent = o->next) {
		const char *verb = verbs[o->on][o->kind];
		uint8_t text[512];
		purser_bytes name = shift_db((purser_bytes){ o->name, o->n }, p->x->in->url.db, text,
		    sizeof(text));
		char head[96];
		int n = snprintf(head, sizeof(head), "*2\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(verb), verb, name.n);

		if (out_room(out, (size_t)n + name.n + 2))
			return -1;
		out_put(out, head, (size_t)n);
		if (name.n)
			out_put(out, name.p, name.n);
		out_put(out, "\r\n", 2);
	}
	if (!p->writing) /* no call was submitted, so no flush() need come */
		p->writing = p->x->h->timer(p->x->x, 0, push_write, p);
	return p->writing ? 0 : -1;
}

/* ---- in -------------------------------------------------------------------------------------------- */

int push_number(const uint8_t **at, const uint8_t *end, char type, int64_t *v)
{
	int64_t k;

	if (*at >= end || **at != (uint8_t)type)
		return -1;
	k = purser_scan_number(*at, (size_t)(end - *at), v);
	if (k <= 0)
		return -1;
	*at += k;
	return 0;
}

int push_bulk(const uint8_t **at, const uint8_t *end, purser_bytes *out)
{
	int64_t n;

	if (push_number(at, end, '$', &n) || n < -1 || (n >= 0 && end - *at < n + 2))
		return -1;
	*out = (purser_bytes){ *at, n > 0 ? (size_t)n : 0 };
	if (n >= 0)
		*at += n + 2;
	return 0;
}

static bool is(purser_bytes b, const char *word)
{
	return b.n == strlen(word) && memcmp(b.p, word, b.n) == 0;
}

static void answered(struct push *p, bool on)
{
	struct order *o = p->first;

	p->first = o->next;
	if (!p->first)
		p->last = NULL;
	p->lane.fails = 0;
	if (o->on && on)
		p->names++;
	else if (!o->on && p->names)
		p->names--;
	p->x->h->subscribed(p->x->x, o->kind, (purser_bytes){ o->name, o->n }, on);
	free(o);
}

/* "-NOPERM ...": the oldest of what was asked is refused. */
static int refused(struct push *p, const uint8_t *text, size_t n)
{
	if (!p->first || p->first == p->unsent)
		return -1;
	p->x->h->log(p->x->in->i, PURSER_LOG_WARN, "redis %s: it refuses a subscription: %.*s", p->x->in->where,
	    n > 100 ? 100 : (int)n, (const char *)text);
	answered(p, !p->first->on);
	return 0;
}

/* One whole value.  -1: it is nothing that a subscribed connection says. */
static int heard(struct link *l, const uint8_t *at, size_t n)
{
	struct push *p = l->x->push;
	const uint8_t *end = at + n;
	const purser_host *h = p->x->h;
	long by = -(long)p->x->in->url.db;
	purser_bytes word, pattern = { NULL, 0 }, channel, message;
	uint8_t text[512], text2[512];
	int64_t count;
	int kind;

	if (*at == '-')
		return refused(p, at + 1, n - 3);
	if (push_number(&at, end, '*', &count) || count < 2 || push_bulk(&at, end, &word))
		return -1;
	kind = is(word, "message") ? PURSER_SUB_CHANNEL : is(word, "pmessage") ? PURSER_SUB_PATTERN :
	    is(word, "smessage") ? PURSER_SUB_SHARD : 0;
	if (kind) {
		if ((kind == PURSER_SUB_PATTERN && push_bulk(&at, end, &pattern)) || push_bulk(&at, end, &channel) ||
		    push_bulk(&at, end, &message))
			return -1;
		h->message(p->x->x, (uint32_t)kind, shift_db(pattern, by, text2, sizeof(text2)),
		    shift_db(channel, by, text, sizeof(text)), message);
		return 0;
	}
	for (int on = 0; on < 2; on++)
		for (kind = 1; kind < 4; kind++)
			if (p->first && p->first != p->unsent && p->first->on == on &&
			    (uint32_t)kind == p->first->kind && word.n == strlen(verbs[on][kind]) &&
			    strncasecmp((const char *)word.p, verbs[on][kind], word.n) == 0) {
				answered(p, on);
				return 0;
			}
	return -1;
}

/* ---- values that come in pieces ---------------------------------------------------------------------- */

static int keep(struct pile *p, const uint8_t *at, size_t n)
{
	if (p->have + n > p->cap) {
		size_t cap = p->cap ? p->cap : 4096;
		uint8_t *q;

		while (cap < p->have + n)
			cap *= 2;
		q = realloc(p->in, cap);
		if (!q)
			return -1;
		p->in = q;
		p->cap = cap;
	}
	memcpy(p->in + p->have, at, n);
	p->have += n;
	return 0;
}

void pile_clear(struct pile *p)
{
	p->have = p->scanned = 0;
	if (p->cap > PUSH_KEEP) {
		free(p->in);
		p->in = NULL;
		p->cap = 0;
	}
}

int64_t pile_feed(struct pile *p, struct link *l, const uint8_t *bytes, size_t n,
    int (*heard)(struct link *l, const uint8_t *at, size_t n))
{
	bool own = p->have != 0; /* a value goes on */
	const uint8_t *from = bytes;
	size_t left = n;

	if (own) {
		bool large = p->have + n > MESSAGE_MAX;

		if (large || keep(p, bytes, n)) {
			link_lost(l, large ? PURSER_E_TOOLARGE : PURSER_E_NOMEM, "a message is too large");
			return -1;
		}
		from = p->in;
		left = p->have;
	}
	while (left > p->scanned) {
		int64_t k;

		if (p->scanned == 0)
			purser_scan_begin_as(&p->scan, l->version);
		k = purser_scan_feed(&p->scan, from + p->scanned, left - p->scanned);
		p->scanned += k > 0 ? (size_t)k : 0;
		if (k >= 0 && !purser_scan_done(&p->scan))
			break;
		if (k < 0 || heard(l, from, p->scanned)) {
			link_lost(l, PURSER_E_PROTOCOL, "it sent something that no subscription says");
			return -1;
		}
		from += p->scanned;
		left -= p->scanned;
		p->scanned = 0;
	}
	if (!own && left && keep(p, from, left)) {
		link_lost(l, PURSER_E_NOMEM, "out of memory");
		return -1;
	}
	if (own) { /* once, however many values there were */
		memmove(p->in, from, left);
		p->have = left;
		if (!left)
			pile_clear(p);
	}
	return (int64_t)n;
}

static int64_t push_feed(struct link *l, const uint8_t *p, size_t n)
{
	return pile_feed(&l->x->push->pile, l, p, n, heard);
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void push_up(struct link *l)
{
	struct push *p = l->x->push;

	p->down = false;
	l->x->h->log(l->x->in->i, PURSER_LOG_DEBUG, "redis %s: connected for subscriptions", l->x->in->where);
	if (put_orders(p))
		link_lost(l, PURSER_E_NOMEM, "out of memory");
}

static void push_lost(struct link *l, const char *text, bool was_up)
{
	struct push *p = l->x->push;
	struct ctx *x = l->x;
	bool any = p->first || p->names;

	x->h->log(x->in->i, any ? PURSER_LOG_WARN : PURSER_LOG_DEBUG, "%s (%llu subscriptions)", text,
	    (unsigned long long)p->names);
	p->not_before = x->h->now(x->x) + ctx_jitter(x, p->lane.fails++);
	p->names = 0;
	p->down = !was_up;
	pile_clear(&p->pile);
	drop_orders(p);
	if (any && !p->opening)
		x->h->subscription_lost(x->x);
}

static const struct ear push_ear = { push_up, push_feed, push_lost };

static struct push *push_of(struct ctx *x)
{
	struct push *p = x->push;

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->x = x;
	p->lane.x = x;
	p->lane.version = 2;
	p->link = link_new(&p->lane, false, 0);
	if (!p->link) {
		free(p);
		return NULL;
	}
	p->link->ear = &push_ear;
	return x->push = p;
}

static void push_open(void *arg)
{
	struct push *p = arg;

	p->timer = 0;
	link_open(p->link);
}

/* The first that is asked of a connection that is not there.  0, or -1. */
static int push_begin(struct push *p)
{
	struct ctx *x = p->x;
	uint64_t now = x->h->now(x->x);

	if (now < p->not_before) {
		p->timer = x->h->timer(x->x, p->not_before - now, push_open, p);
		if (!p->timer)
			drop_orders(p);
		return p->timer ? 0 : -1;
	}
	p->opening = true; /* the answer is the -1 */
	link_open(p->link);
	p->opening = false;
	return p->link->phase == LINK_CLOSED ? -1 : 0;
}

int push_subscribe(struct ctx *x, uint32_t kind, purser_bytes name, int on)
{
	struct push *p = x->draining || kind < 1 || kind > 3 ? NULL : push_of(x);
	struct order *o;

	if (!p || (p->link->phase == LINK_CLOSED && !p->timer && (!on ||
	    (p->down && x->h->now(x->x) < p->not_before))))
		return -1;
	o = malloc(sizeof(*o) + name.n);
	if (!o)
		return -1;
	*o = (struct order){ .kind = kind, .on = on != 0, .n = name.n };
	if (name.n)
		memcpy(o->name, name.p, name.n);
	*(p->last ? &p->last->next : &p->first) = o;
	p->last = o;
	if (!p->unsent)
		p->unsent = o;
	if (p->link->phase == LINK_UP) {
		if (put_orders(p) == 0)
			return 0;
		p->opening = true;
		link_lost(p->link, PURSER_E_NOMEM, "out of memory");
		p->opening = false;
		x->h->subscription_lost(x->x);
		return -1;
	}
	return p->link->phase == LINK_CLOSED && !p->timer ? push_begin(p) : 0;
}

void push_stop(struct ctx *x)
{
	struct push *p = x->push;

	if (!p)
		return;
	if (p->timer)
		x->h->untimer(x->x, p->timer);
	if (p->writing)
		x->h->untimer(x->x, p->writing);
	link_end(p->link);
	link_free(p->link);
	drop_orders(p);
	free(p->pile.in);
	free(p);
	x->push = NULL;
}
