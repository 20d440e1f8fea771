/* SPDX-License-Identifier: Apache-2.0 */
/* access/limit: see the header. */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "access/limit.h"

#define INFLIGHT_WAIT_NS UINT64_C(10000000) /* nobody knows when one of those under way ends */

const char *const limit_names[LIMIT_COUNT] = {
	"rate", "write_rate", "byte_rate", "client_rate", "client_write_rate", "client_byte_rate",
	"max_inflight", "max_connections",
};

static const struct meter_keys { enum cfg_key rate, burst; } keys[LIMIT_METERS] = {
	{ CFG_PROJECT_RATE, CFG_PROJECT_BURST },
	{ CFG_PROJECT_WRITE_RATE, CFG_PROJECT_WRITE_BURST },
	{ CFG_PROJECT_BYTE_RATE, CFG_PROJECT_BYTE_BURST },
	{ CFG_PROJECT_CLIENT_RATE, CFG_PROJECT_CLIENT_BURST },
	{ CFG_PROJECT_CLIENT_WRITE_RATE, CFG_PROJECT_CLIENT_WRITE_BURST },
	{ CFG_PROJECT_CLIENT_BYTE_RATE, CFG_PROJECT_CLIENT_BYTE_BURST },
};

/* ---- what is counted ---- */

static void *zeroed(size_t n)
{
	void *p = aligned_alloc(64, (n + 63) & ~(size_t)63);

	return p ? memset(p, 0, n) : NULL;
}

struct limit_use *limit_use_ref(struct limit_use *u)
{
	atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
	return u;
}

void limit_use_unref(struct limit_use *u)
{
	if (u && atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) == 1)
		free(u);
}

static void cell_unref(struct limit_cell *c)
{
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		free(c);
}

void limits_free(struct limits *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < LIMIT_SHARED; i++)
		cell_unref(l->cell[i]);
	limit_use_unref(l->use);
	free(l);
}

static bool same(const struct gcra_rule *a, const struct gcra_rule *b)
{
	return a->step == b->step && a->burst == b->burst;
}

/* What l needs beside its rules: was's, where the rule is the same; else new. */
static int attach(struct limits *l, const struct limits *was)
{
	for (unsigned i = 0; i < LIMIT_SHARED; i++) {
		if (!l->rule[i].step)
			continue;
		l->cell[i] = was && was->cell[i] && same(&was->rule[i], &l->rule[i]) ? was->cell[i] :
		    zeroed(sizeof *l->cell[i]);
		if (!l->cell[i])
			return -1;
		atomic_fetch_add_explicit(&l->cell[i]->refs, 1, memory_order_relaxed);
	}
	l->use = was ? was->use : zeroed(sizeof *l->use);
	if (!l->use)
		return -1;
	limit_use_ref(l->use);
	return 0;
}

/* ---- rules ---- */

static void read_meter(struct limits *l, const struct cfg_section *s, enum limit i)
{
	uint64_t count = (uint64_t)cfg_int(s, keys[i].rate), burst = count;

	if (!cfg_is_set(s, keys[i].rate))
		return;
	if (cfg_is_set(s, keys[i].burst))
		burst = (uint64_t)cfg_int(s, keys[i].burst);
	gcra_rule_set(&l->rule[i], count, (uint64_t)cfg_int(s, CFG_PROJECT_RATE_PERIOD), burst);
	l->meters = true;
}

static bool is_empty(const struct limits *l)
{
	return !l->meters && !l->max_inflight && !l->max_connections && !l->quota.max_bytes && !l->quota.max_keys;
}

int limits_read(const struct cfg_section *s, struct limits **out)
{
	struct limits *l = calloc(1, sizeof *l);

	*out = NULL;
	if (!l)
		return -1;
	for (unsigned i = 0; i < LIMIT_METERS; i++)
		read_meter(l, s, (enum limit)i);
	l->by_size = cfg_int(s, CFG_PROJECT_CHARGE) == CFG_CHARGE_SIZE;
	l->max_inflight = (uint32_t)cfg_int(s, CFG_PROJECT_MAX_INFLIGHT);
	l->max_connections = (uint32_t)cfg_int(s, CFG_PROJECT_MAX_CONNECTIONS);
	l->quota.struct_size = sizeof l->quota;
	l->quota.max_bytes = (uint64_t)cfg_int(s, CFG_PROJECT_MAX_BYTES);
	l->quota.max_keys = (uint64_t)cfg_int(s, CFG_PROJECT_MAX_KEYS);
	if (is_empty(l)) {
		free(l);
		return 0;
	}
	*out = l;
	return 0;
}

struct limits *limits_for(const struct limits *rules, const struct limits *was)
{
	struct limits *l = malloc(sizeof *l);

	if (!l)
		return NULL;
	*l = *rules;
	memset(l->cell, 0, sizeof l->cell);
	l->use = NULL;
	if (attach(l, was)) {
		limits_free(l);
		return NULL;
	}
	return l;
}

/* ---- a request ---- */

struct taking { const struct limits *l; struct gcra *own; uint64_t paid[LIMIT_METERS]; };

static struct gcra *meter(const struct limits *l, struct gcra *own, unsigned i)
{
	return i < LIMIT_SHARED ? &l->cell[i]->g : &own[i - LIMIT_SHARED];
}

static bool pay(struct taking *t, enum limit i, uint64_t q, uint64_t now, struct limit_no *no)
{
	const struct gcra_rule *r = &t->l->rule[i];

	if (!r->step || !q)
		return true;
	no->limit = i;
	no->wait_ns = gcra_take(meter(t->l, t->own, i), r, q, now);
	if (no->wait_ns)
		return false;
	t->paid[i] = q;
	return true;
}

/* Bytes are paid for when they are known; nobody who owes some goes on. */
static bool solvent(struct taking *t, enum limit i, uint64_t now, struct limit_no *no)
{
	if (!t->l->rule[i].step)
		return true;
	no->limit = i;
	no->wait_ns = gcra_debt(meter(t->l, t->own, i), &t->l->rule[i], now);
	return no->wait_ns == 0;
}

static void charge(const struct limits *l, struct gcra *own, enum limit i, uint64_t bytes, uint64_t now)
{
	if (l->rule[i].step && bytes)
		gcra_charge(meter(l, own, i), &l->rule[i], bytes, now);
}

static bool enter(const struct limits *l, struct limit_no *no)
{
	if (atomic_fetch_add_explicit(&l->use->inflight, 1, memory_order_relaxed) < l->max_inflight || !l->max_inflight)
		return true;
	atomic_fetch_sub_explicit(&l->use->inflight, 1, memory_order_relaxed);
	*no = (struct limit_no){ LIMIT_INFLIGHT, INFLIGHT_WAIT_NS };
	return false;
}

static bool refused(const struct taking *t, const struct limit_no *no)
{
	for (unsigned i = 0; i < LIMIT_METERS; i++)
		if (t->paid[i])
			gcra_give(meter(t->l, t->own, i), &t->l->rule[i], t->paid[i]);
	atomic_fetch_add_explicit(&t->l->use->refused[no->limit], 1, memory_order_relaxed);
	return false;
}

bool limits_take(const struct limits *l, struct gcra own[LIMIT_OWN], const struct limit_ask *a, struct limit_no *no)
{
	struct taking t = { .l = l, .own = own };
	uint64_t size = l->by_size ? a->bytes / 4096 : 0, writes = a->writes ? a->writes + size : 0, now = a->now_ns;

	/* What is cheapest and its own comes first. */
	if (l->meters && (!pay(&t, LIMIT_CLIENT_RATE, a->commands + size, now, no) ||
	    !pay(&t, LIMIT_CLIENT_WRITE_RATE, writes, now, no) ||
	    !solvent(&t, LIMIT_CLIENT_BYTE_RATE, now, no) ||
	    !pay(&t, LIMIT_RATE, a->commands + size, now, no) ||
	    !pay(&t, LIMIT_WRITE_RATE, writes, now, no) ||
	    !solvent(&t, LIMIT_BYTE_RATE, now, no)))
		return refused(&t, no);
	if (!a->waits && !enter(l, no))
		return refused(&t, no);
	charge(l, own, LIMIT_CLIENT_BYTE_RATE, a->bytes, now);
	charge(l, own, LIMIT_BYTE_RATE, a->bytes, now);
	return true;
}

void limits_done(const struct limits *l, struct gcra own[LIMIT_OWN], bool waited, uint64_t bytes, uint64_t now_ns)
{
	if (!waited)
		atomic_fetch_sub_explicit(&l->use->inflight, 1, memory_order_relaxed);
	charge(l, own, LIMIT_CLIENT_BYTE_RATE, bytes, now_ns);
	charge(l, own, LIMIT_BYTE_RATE, bytes, now_ns);
}
