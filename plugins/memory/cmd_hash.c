/* SPDX-License-Identifier: Apache-2.0
 *
 * Hash commands.  (HSCAN: cmd_scan.c; HRANDFIELD: cmd_random.c)
 */
#include <math.h>
#include "cmd.h"
#include "hash.h"
#include "number.h"

/* The hash at argv[1]; 0: it is not there or not a hash, and `reply_missing` or the error was replied. */
static int hash_read(struct ctx *cx, purser_call *c, struct pos *p,
    void (*reply_missing)(struct ctx *cx, purser_call *c))
{
	if (!arg_find(cx, c, 1, 0, p, FIND_READ)) {
		reply_missing(cx, c);
		return 0;
	}
	return !wrong_type(cx, c, p->it, TYPE_HASH);
}

static void missing_zero(struct ctx *cx, purser_call *c) { reply_int(cx, c, 0); }
static void missing_null(struct ctx *cx, purser_call *c) { reply_null(cx, c); }
static void missing_array(struct ctx *cx, purser_call *c) { reply_array(cx, c, 0); }
static void missing_map(struct ctx *cx, purser_call *c) { cx->h->map(c, 0); }

/* ---- writing ---------------------------------------------------------------------------------------- */
static void hset_generic(struct ctx *cx, purser_call *c, int count)
{
	int64_t created;
	struct pos p;

	if (c->argc % 2 == 1) {
		reply_arity(cx, c);
		return;
	}
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_HASH))
		return;
	if (hash_put(cx, &p, c->argv + 2, (c->argc - 2) / 2, &created)) {
		reply_nomem(cx, c);
		return;
	}
	arg_event(cx, c, 1, EVENT_HASH, "hset");
	if (count)
		reply_int(cx, c, created);
	else
		reply_ok(cx, c);
}

void op_hset(struct ctx *cx, purser_call *c) { hset_generic(cx, c, 1); }
void op_hmset(struct ctx *cx, purser_call *c) { hset_generic(cx, c, 0); }

void op_hsetnx(struct ctx *cx, purser_call *c)
{
	int64_t created;
	struct view v;
	struct pos p;

	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_HASH))
		return;
	if (p.it && hash_get(cx, p.it, c->argv[2], &v)) {
		reply_int(cx, c, 0);
	} else if (hash_put(cx, &p, c->argv + 2, 1, &created)) {
		reply_nomem(cx, c);
	} else {
		arg_event(cx, c, 1, EVENT_HASH, "hset");
		reply_int(cx, c, 1);
	}
}

void op_hdel(struct ctx *cx, purser_call *c)
{
	struct pos p;
	int64_t n;

	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		reply_int(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_HASH))
		return;
	n = hash_remove(cx, &p, c->argv + 2, c->argc - 2);
	if (n < 0) {
		reply_nomem(cx, c);
		return;
	}
	if (n)
		arg_event(cx, c, 1, EVENT_HASH, "hdel");
	if (n && !p.it)
		arg_gone(cx, c, 1);
	reply_int(cx, c, n);
}

void op_hincrby(struct ctx *cx, purser_call *c)
{
	char text[INT_TEXT];
	int64_t by, value = 0, created;
	purser_bytes fv[2];
	struct view v;
	struct pos p;

	if (arg_int(cx, c, 3, &by))
		return;
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_HASH))
		return;
	if (p.it && hash_get(cx, p.it, c->argv[2], &v) && int_parse(v.p, v.n, &value)) {
		reply_error(cx, c, "ERR hash value is not an integer");
		return;
	}
	if (__builtin_add_overflow(value, by, &value)) {
		reply_error(cx, c, err_overflow);
		return;
	}
	fv[0] = c->argv[2];
	fv[1].p = (uint8_t *)text;
	fv[1].n = int_format(value, text);
	if (hash_put(cx, &p, fv, 1, &created)) {
		reply_nomem(cx, c);
		return;
	}
	arg_event(cx, c, 1, EVENT_HASH, "hincrby");
	reply_int(cx, c, value);
}

void op_hincrbyfloat(struct ctx *cx, purser_call *c)
{
	char text[FLOAT_TEXT];
	long double by, value = 0;
	purser_bytes fv[2];
	int64_t created;
	struct view v;
	struct pos p;

	if (float_parse(c->argv[3].p, c->argv[3].n, &by)) {
		reply_error(cx, c, "ERR value is not a valid float");
		return;
	}
	if (isinf(by)) {
		reply_error(cx, c, "ERR value is NaN or Infinity");
		return;
	}
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_HASH))
		return;
	if (p.it && hash_get(cx, p.it, c->argv[2], &v) && float_parse(v.p, v.n, &value)) {
		reply_error(cx, c, "ERR hash value is not a float");
		return;
	}
	value += by;
	if (isnan(value) || isinf(value)) {
		reply_error(cx, c, err_nan);
		return;
	}
	fv[0] = c->argv[2];
	fv[1].p = (uint8_t *)text;
	fv[1].n = float_format(value, text);
	if (hash_put(cx, &p, fv, 1, &created)) {
		reply_nomem(cx, c);
		return;
	}
	arg_event(cx, c, 1, EVENT_HASH, "hincrbyfloat");
	reply_bulk(cx, c, fv[1].p, fv[1].n);
}

/* ---- reading ------------------------------------------------------------------------------------------- */
static void reply_field(struct ctx *cx, purser_call *c, struct item *it, purser_bytes field)
{
	struct view v;

	if (it && hash_get(cx, it, field, &v))
		reply_bulk(cx, c, v.p, v.n);
	else
		reply_null(cx, c);
}

void op_hget(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (hash_read(cx, c, &p, missing_null))
		reply_field(cx, c, p.it, c->argv[2]);
}

void op_hmget(struct ctx *cx, purser_call *c)
{
	struct pos p;
	uint32_t i;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_HASH))
		return;
	reply_array(cx, c, c->argc - 2);
	for (i = 2; i < c->argc; i++)
		reply_field(cx, c, p.it, c->argv[i]);
}

void op_hlen(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (hash_read(cx, c, &p, missing_zero))
		reply_int(cx, c, (int64_t)hash_len(p.it));
}

void op_hexists(struct ctx *cx, purser_call *c)
{
	struct view v;
	struct pos p;

	if (hash_read(cx, c, &p, missing_zero))
		reply_int(cx, c, hash_get(cx, p.it, c->argv[2], &v));
}

void op_hstrlen(struct ctx *cx, purser_call *c)
{
	struct view v;
	struct pos p;

	if (hash_read(cx, c, &p, missing_zero))
		reply_int(cx, c, hash_get(cx, p.it, c->argv[2], &v) ? (int64_t)v.n : 0);
}

enum { WANT_FIELDS = 1, WANT_VALUES = 2 };
struct getall { struct ctx *cx; purser_call *c; unsigned want; };

static int getall_field(void *arg, const uint8_t *f, size_t fn, const uint8_t *v, size_t vn)
{
	struct getall *g = arg;

	if (g->want & WANT_FIELDS)
		reply_bulk(g->cx, g->c, f, fn);
	if (g->want & WANT_VALUES)
		reply_bulk(g->cx, g->c, v, vn);
	return 0;
}

static void getall(struct ctx *cx, purser_call *c, unsigned want)
{
	struct getall g = { cx, c, want };
	int both = want == (WANT_FIELDS | WANT_VALUES);
	struct pos p;

	if (!hash_read(cx, c, &p, both ? missing_map : missing_array))
		return;
	if (both)
		cx->h->map(c, hash_len(p.it));
	else
		reply_array(cx, c, hash_len(p.it));
	hash_each(p.it, getall_field, &g);
}

void op_hgetall(struct ctx *cx, purser_call *c) { getall(cx, c, WANT_FIELDS | WANT_VALUES); }
void op_hkeys(struct ctx *cx, purser_call *c) { getall(cx, c, WANT_FIELDS); }
void op_hvals(struct ctx *cx, purser_call *c) { getall(cx, c, WANT_VALUES); }
