/* SPDX-License-Identifier: Apache-2.0
 *
 * PFADD PFCOUNT PFMERGE: strings that are a HyperLogLog (hll.h).
 */
#include "cmd.h"
#include "hll.h"
#include "str.h"

static const char err_damaged[] = "INVALIDOBJ Corrupted HLL object detected";

/* v shows the value.  0, or -1 with the error replied. */
static int hll_view(struct ctx *cx, purser_call *c, struct item *it, struct view *v)
{
	if (wrong_type(cx, c, it, TYPE_STRING))
		return -1;
	string_view(it, v);
	/* An integer cannot be one: it is too short. */
	if (hll_valid(v->p, v->n))
		return 0;
	reply_error(cx, c, "WRONGTYPE Key is not a valid HyperLogLog string value.");
	return -1;
}

/* A copy of v to work on, behind it the room that struct hll asks for. NULL: no memory. */
static int hll_copy(struct ctx *cx, struct hll *h, const struct view *v)
{
	h->n = v->n;
	h->p = scratch(cx, (v->n > HLL_DENSE_BYTES ? v->n : HLL_DENSE_BYTES) + 4);
	if (!h->p)
		return -1;
	memcpy(h->p, v->p, v->n);
	return 0;
}

/* A dense one is changed where it is. */
static void add_dense(struct ctx *cx, purser_call *c, struct pos *p)
{
	uint8_t *to = string_stretch(cx, p, HLL_DENSE_BYTES, 0), value;
	int changed = 0;
	uint32_t i, reg;

	if (!to) {
		reply_nomem(cx, c);
		return;
	}
	for (i = 2; i < c->argc; i++) {
		reg = hll_element(c->argv[i].p, c->argv[i].n, &value);
		changed |= hll_raise_dense(to, reg, value);
	}
	if (changed) {
		hll_touch(to);
		arg_event(cx, c, 1, EVENT_STRING, "pfadd");
	}
	reply_int(cx, c, changed);
}

void op_pfadd(struct ctx *cx, purser_call *c)
{
	int changed, rc = 0;
	struct hll h;
	struct view v;
	struct pos p;
	uint8_t value;
	uint32_t i, reg;

	changed = !arg_find(cx, c, 1, 0, &p, 0);
	if (p.it && hll_view(cx, c, p.it, &v))
		return;
	if (p.it && hll_is_dense(v.p)) {
		add_dense(cx, c, &p);
		return;
	}
	if (!p.it)
		v = (struct view){ .p = (const uint8_t *)"" };
	if (hll_copy(cx, &h, &v)) {
		reply_nomem(cx, c);
		return;
	}
	if (!p.it)
		hll_begin(&h);
	for (i = 2; i < c->argc && rc >= 0; i++) {
		reg = hll_element(c->argv[i].p, c->argv[i].n, &value);
		rc = hll_raise(&h, reg, value);
		changed |= rc > 0;
	}
	if (changed && rc >= 0)
		hll_touch(h.p);
	if ((changed || item_enc(p.it) == ENC_EMB) && string_put(cx, &p, h.p, h.n)) {
		reply_nomem(cx, c);
	} else if (rc < 0) { /* what came before the damage was found stays, as in Redis, which tells nobody */
		reply_error(cx, c, err_damaged);
	} else {
		if (changed)
			arg_event(cx, c, 1, EVENT_STRING, "pfadd");
		reply_int(cx, c, changed);
	}
}

/* The highest of the registers of argv[from..argc), keys number from-1 and on; *dense: one of them is.
 * NULL, with the error replied. */
static uint8_t *merge_all(struct ctx *cx, purser_call *c, uint8_t *max, int *dense)
{
	struct view v;
	struct pos p;
	uint32_t i;

	memset(max, 0, HLL_REGISTERS);
	for (i = 1; i < c->argc; i++) {
		if (!arg_find(cx, c, i, i - 1, &p, FIND_READ))
			continue;
		if (hll_view(cx, c, p.it, &v))
			return NULL;
		*dense |= hll_is_dense(v.p);
		if (hll_merge(max, v.p, v.n)) {
			reply_error(cx, c, err_damaged);
			return NULL;
		}
	}
	return max;
}

void op_pfcount(struct ctx *cx, purser_call *c)
{
	uint8_t max[HLL_REGISTERS], *to;
	int dense = 0;
	uint64_t n;
	struct view v;
	struct pos p;

	if (c->argc > 2) {
		if (merge_all(cx, c, max, &dense))
			reply_int(cx, c, (int64_t)hll_estimate_raw(max));
		return;
	}
	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_int(cx, c, 0);
		return;
	}
	if (hll_view(cx, c, p.it, &v))
		return;
	if (item_enc(p.it) != ENC_EMB && hll_cached(v.p, &n)) {
		reply_int(cx, c, (int64_t)n);
		return;
	}
	/* The result is kept in the value, which becomes a raw string. */
	to = string_stretch(cx, &p, v.n, 0);
	if (!to)
		reply_nomem(cx, c);
	else if (hll_cached(to, &n))
		reply_int(cx, c, (int64_t)n);
	else if (hll_estimate(to, string_len(p.it), &n))
		reply_error(cx, c, err_damaged);
	else {
		hll_cache(to, n);
		key_touched(cx, c->db, c->argv[1]);
		reply_int(cx, c, (int64_t)n);
	}
}

void op_pfmerge(struct ctx *cx, purser_call *c)
{
	uint8_t max[HLL_REGISTERS];
	int dense = 0, damaged = 0;
	struct view v = { .p = (const uint8_t *)"" };
	struct hll h;
	struct pos p;
	uint32_t i;

	if (!merge_all(cx, c, max, &dense))
		return;
	if (arg_find(cx, c, 1, 0, &p, 0))
		string_view(p.it, &v);
	if (hll_copy(cx, &h, &v)) {
		reply_nomem(cx, c);
		return;
	}
	if (!p.it)
		hll_begin(&h);
	if (dense && hll_make_dense(&h)) /* its registers have just been read */
		damaged = 1;
	for (i = 0; i < HLL_REGISTERS && !damaged; i++)
		if (max[i])
			damaged = hll_raise(&h, i, max[i]) < 0;
	if (damaged) {
		reply_error(cx, c, err_damaged);
		return;
	}
	hll_touch(h.p);
	if (string_put(cx, &p, h.p, h.n)) {
		reply_nomem(cx, c);
		return;
	}
	arg_event(cx, c, 1, EVENT_STRING, "pfadd");
	reply_ok(cx, c);
}
