/* SPDX-License-Identifier: Apache-2.0
 *
 * Replies for another thread: see tape.h.  A value is a letter, eight bytes and, where they are a length, the
 * bytes.
 */
#include <string.h>
#include "cmd.h"
#include "tape.h"

#define VALUE 9u

void tape_init(struct tape *t)
{
	t->cx = NULL;
	t->p = NULL;
	t->n = 0;
	t->cap = sizeof(t->small);
	t->failed = 0;
}

static uint8_t *bytes_of(struct tape *t) { return t->p ? t->p : t->small; }

static int grow(struct tape *t, struct ctx *cx, size_t need)
{
	size_t cap = need > 2 * t->cap ? need : 2 * t->cap;
	uint8_t *p = t->p ? mem_resize(cx, t->p, t->cap, cap) : mem_get(cx, cap);

	if (!p)
		return -1;
	if (!t->p)
		memcpy(p, t->small, t->n);
	t->p = p;
	t->cap = cap;
	return 0;
}

int tape_room(struct tape *t, struct ctx *cx, size_t values, size_t bytes)
{
	size_t need = t->n + values * VALUE + bytes;

	return need <= t->cap ? 0 : grow(t, cx, need);
}

static void put(purser_call *c, char kind, uint64_t v, const void *p, size_t n)
{
	struct tape *t = c->user[1];
	uint8_t *at;

	if (t->failed || tape_room(t, t->cx, 1, n)) {
		t->failed = 1;
		return;
	}
	at = bytes_of(t) + t->n;
	*at = (uint8_t)kind;
	memcpy(at + 1, &v, 8);
	if (n)
		memcpy(at + VALUE, p, n);
	t->n += VALUE + n;
}

static int64_t r_raw(purser_call *c, const void *p, size_t n)
{
	put(c, 'r', n, p, n);
	return INT32_MAX;
}

static int64_t r_raw_ref(purser_call *c, const void *p, size_t n, purser_fn release, void *arg)
{
	put(c, 'r', n, p, n);
	release(arg);
	return INT32_MAX;
}

static void r_status(purser_call *c, const char *word) { put(c, '+', strlen(word) + 1, word, strlen(word) + 1); }
static void r_bulk(purser_call *c, const void *p, size_t n) { put(c, '$', n, p, n); }
static void r_integer(purser_call *c, int64_t v) { put(c, ':', (uint64_t)v, NULL, 0); }
static void r_null(purser_call *c) { put(c, '_', 0, NULL, 0); }
static void r_boolean(purser_call *c, int v) { put(c, '#', (uint64_t)!!v, NULL, 0); }
static void r_array(purser_call *c, size_t n) { put(c, '*', n, NULL, 0); }
static void r_map(purser_call *c, size_t n) { put(c, '%', n, NULL, 0); }
static void r_set(purser_call *c, size_t n) { put(c, '~', n, NULL, 0); }

static void r_number(purser_call *c, double v)
{
	uint64_t w;

	memcpy(&w, &v, sizeof(w));
	put(c, ',', w, NULL, 0);
}

static void r_error(purser_call *c, const char *text, size_t n)
{
	put(c, '-', n, text, n);
}

void tape_host(purser_host *out, const purser_host *h)
{
	memset(out, 0, sizeof(*out));
	memcpy(out, h, h->struct_size < sizeof(*out) ? h->struct_size : sizeof(*out));
	out->raw = r_raw;
	out->raw_ref = r_raw_ref;
	out->status = r_status;
	out->integer = r_integer;
	out->bulk = r_bulk;
	out->null = r_null;
	out->number = r_number;
	out->boolean = r_boolean;
	out->array = r_array;
	out->map = r_map;
	out->set = r_set;
	out->error = r_error;
}

static void play(const purser_host *h, purser_call *c, uint8_t kind, uint64_t v, const uint8_t *p)
{
	double d;

	switch (kind) {
	case 'r':
		h->raw(c, p, (size_t)v);
		return;
	case '$':
		h->bulk(c, p, (size_t)v);
		return;
	case '-':
		h->error(c, (const char *)p, (size_t)v);
		return;
	case '+':
		h->status(c, (const char *)p);
		return;
	case ':':
		h->integer(c, (int64_t)v);
		return;
	case '_':
		h->null(c);
		return;
	case '#':
		h->boolean(c, (int)v);
		return;
	case '*':
		h->array(c, (size_t)v);
		return;
	case '%':
		h->map(c, (size_t)v);
		return;
	case '~':
		h->set(c, (size_t)v);
		return;
	default:
		memcpy(&d, &v, sizeof(d));
		h->number(c, d);
	}
}

void tape_play(const struct tape *t, struct ctx *cx, purser_call *c)
{
	const uint8_t *p = t->p ? t->p : t->small, *end = p + t->n;

	if (t->failed) {
		reply_nomem(cx, c);
		return;
	}
	while (p < end) {
		uint8_t kind = *p;
		uint64_t v;

		memcpy(&v, p + 1, 8);
		p += VALUE;
		play(cx->h, c, kind, v, p);
		if (kind == 'r' || kind == '$' || kind == '-' || kind == '+')
			p += v;
	}
}

void tape_free(struct tape *t, struct ctx *cx)
{
	mem_put(cx, t->p, t->cap);
	tape_init(t);
}
