/* SPDX-License-Identifier: Apache-2.0 */
/* metric/read: adds the shards up and visits every point. */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "metric/priv.h"
#include "metric/tally.h"

/* The duration bounds of the conventions; every one is an edge of the histogram. */
static const uint64_t bounds_ns[] = { 1000000, 5000000, 10000000, 50000000, 100000000, 500000000,
	1000000000, UINT64_C(5000000000), UINT64_C(10000000000) };
static const double bounds_s[] = { 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10 };
#define NBOUNDS (sizeof bounds_ns / sizeof *bounds_ns)

/* Some accounts of operations taken together. */
struct group {
	uint64_t key;
	bool used, overflow;
	uint64_t sum, in, out, count;
	uint64_t buckets[NBOUNDS + 1];
};

struct reader {
	struct metric_reg *r;
	const struct metric_visitor *v;
	uint8_t map[HIST_BINS];   /* bin -> interval */
	struct group *ops;        /* one for each series */
	uint32_t nops;
	struct group *groups;     /* hash table of the row at hand */
	uint32_t mask;
	int id;
	const struct metric_row *row;
	bool opened;
};

static void map_bins(uint8_t *map)
{
	size_t at = 0;

	for (unsigned b = 0; b < HIST_BINS; b++) {
		while (at < NBOUNDS && hist_edge(b) > bounds_ns[at])
			at++;
		map[b] = (uint8_t)at;
	}
}

static void add_hist(struct group *g, const struct hist *h, const uint8_t *map)
{
	g->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
	g->buckets[0] += atomic_load_explicit(&h->low, memory_order_relaxed);
	g->buckets[NBOUNDS] += atomic_load_explicit(&h->high, memory_order_relaxed);
	for (unsigned i = 0; i < HIST_DECADES; i++) {
		const struct hist_decade *d = atomic_load_explicit(&h->dec[i], memory_order_acquire);
		const uint8_t *m = map + 1 + i * HIST_SUB;

		for (unsigned k = 0; d && k < HIST_SUB; k++)
			g->buckets[m[k]] += atomic_load_explicit(&d->bin[k], memory_order_relaxed);
	}
}

static void settle(struct group *g)
{
	g->count = 0;
	for (size_t i = 0; i <= NBOUNDS; i++)
		g->count += g->buckets[i];
}

static int take_ops(struct reader *rd)
{
	struct metric_reg *r = rd->r;
	uint32_t slots = 64;

	rd->nops = atomic_load_explicit(&r->nops, memory_order_acquire);
	while (slots < rd->nops * 2)
		slots *= 2;
	rd->mask = slots - 1;
	rd->ops = calloc(rd->nops + 1, sizeof *rd->ops);
	rd->groups = calloc(slots, sizeof *rd->groups);
	if (!rd->ops || !rd->groups)
		return -1;
	for (uint32_t i = 0; i < rd->nops; i++) {
		struct group *g = &rd->ops[i];
		struct metric_op *o = atomic_load_explicit(&r->ops[i]->nodes, memory_order_acquire);

		g->key = r->ops[i]->key;
		g->overflow = r->ops[i]->overflow;
		for (; o; o = o->next) {
			add_hist(g, &o->hist, rd->map);
			g->in += atomic_load_explicit(&o->in, memory_order_relaxed);
			g->out += atomic_load_explicit(&o->out, memory_order_relaxed);
		}
		settle(g);
	}
	return 0;
}

size_t metric_attrs(const struct metric_reg *r, int id, const char *const *values,
    bool overflow, struct metric_attr out[METRIC_ATTRS + 1])
{
	const struct row_keys *k = &r->keys[id];
	size_t n = 0;

	if (overflow) {
		out[0] = (struct metric_attr){ "otel.metric.overflow", METRIC_A_BOOL, NULL, 1 };
		return 1;
	}
	for (size_t i = 0; i < k->n; i++) {
		if (!values[i] || !*values[i])
			continue;
		out[n] = (struct metric_attr){ k->key[i].name, METRIC_A_STR, values[i], 0 };
		if (k->key[i].is_int) {
			out[n].type = METRIC_A_INT;
			out[n].i = strtoll(values[i], NULL, 10);
		}
		n++;
	}
	return n;
}

static void emit(struct reader *rd, const char *const *values, bool overflow, struct metric_point *p)
{
	struct metric_attr attrs[METRIC_ATTRS + 1];

	p->nattrs = metric_attrs(rd->r, rd->id, values, overflow, attrs);
	p->attrs = attrs;
	if (!p->start_ns)
		p->start_ns = rd->r->start_wall_ns;
	if (!rd->opened)
		rd->v->row(rd->v->arg, (enum metric_id)rd->id, rd->row);
	rd->opened = true;
	rd->v->point(rd->v->arg, p);
}

static void emit_hist(struct reader *rd, const char *const *values, const struct group *g)
{
	struct metric_point p = { .count = g->count, .sum = (double)g->sum / 1e9, .bounds = bounds_s,
		.buckets = g->buckets, .nbounds = NBOUNDS };

	emit(rd, values, g->overflow, &p);
}

/* ---- operations ------------------------------------------------------------------------------------ */

/* Which group of row `id` an account belongs to; false: none. */
static bool group_key(const struct reader *rd, const struct group *g, uint64_t *key)
{
	struct metric_key k = metric_key_unpack(g->key);
	int id = rd->id;

	if (rd->v->anonymous)
		k.project = 0xffff;
	switch (id) {
	case METRIC_OPERATION_DURATION:
		if (k.kind != METRIC_OP && k.kind != METRIC_CHILD)
			return false;
		k.kind = METRIC_OP;
		break;
	case METRIC_INTERNAL_DURATION:
		if (k.kind != METRIC_INTERNAL)
			return false;
		break;
	default:
		if (k.kind != METRIC_OP && k.kind != METRIC_LOCAL)
			return false;
		k = (struct metric_key){ .project = k.project,
			.error = id == METRIC_REQUESTS ? k.error : 0 };
	}
	*key = g->overflow ? 0 : metric_key_pack(k);
	return true;
}

static struct group *group_of(struct reader *rd, uint64_t key, bool overflow)
{
	uint32_t at = (metric_hash(key) + overflow) & rd->mask;

	for (; rd->groups[at].used; at = (at + 1) & rd->mask)
		if (rd->groups[at].key == key && rd->groups[at].overflow == overflow)
			return &rd->groups[at];
	rd->groups[at].used = true;
	rd->groups[at].key = key;
	rd->groups[at].overflow = overflow;
	return &rd->groups[at];
}

static void group_ops(struct reader *rd)
{
	memset(rd->groups, 0, (rd->mask + 1) * sizeof *rd->groups);
	for (uint32_t i = 0; i < rd->nops; i++) {
		const struct group *o = &rd->ops[i];
		struct group *g;
		uint64_t key;

		if (!group_key(rd, o, &key))
			continue;
		g = group_of(rd, key, o->overflow);
		g->sum += o->sum;
		g->in += o->in;
		g->out += o->out;
		g->count += o->count;
		for (size_t b = 0; b <= NBOUNDS; b++)
			g->buckets[b] += o->buckets[b];
	}
}

static void operation(struct reader *rd, const struct group *g)
{
	struct metric_key k = metric_key_unpack(g->key);
	const struct metric_instance *m = metric_instance_of(rd->r, k.instance);
	const struct metric_endpoint *e = metric_endpoint_of(rd->r, k.endpoint);
	struct metric_error err = metric_error_of(rd->r, k.error);
	char db[8] = "", port[8] = "";
	const char *values[METRIC_ATTRS] = { m ? m->system : "redis", db,
		metric_command_of(rd->r, k.command), err.status, err.type, e ? e->address : NULL, port,
		m ? m->name : NULL, metric_project_of(rd->r, k.project) };

	if (k.db != METRIC_NO_DB)
		snprintf(db, sizeof db, "%u", k.db);
	if (e && e->port && e->port != 6379)
		snprintf(port, sizeof port, "%u", e->port);
	emit_hist(rd, values, g);
}

static void internal(struct reader *rd, const struct group *g)
{
	struct metric_key k = metric_key_unpack(g->key);
	const struct metric_instance *m = metric_instance_of(rd->r, k.instance);
	const char *values[METRIC_ATTRS] = { metric_command_of(rd->r, k.command),
		metric_error_of(rd->r, k.error).type, m ? m->name : NULL };

	emit_hist(rd, values, g);
}

static void requests(struct reader *rd, const struct group *g)
{
	struct metric_key k = metric_key_unpack(g->key);
	const char *values[METRIC_ATTRS] = { metric_project_of(rd->r, k.project),
		metric_error_of(rd->r, k.error).type };
	struct metric_point p = { .i = (int64_t)g->count };

	emit(rd, values, g->overflow, &p);
}

static void request_io(struct reader *rd, const struct group *g)
{
	struct metric_key k = metric_key_unpack(g->key);
	const char *values[METRIC_ATTRS] = { metric_project_of(rd->r, k.project), "receive" };
	struct metric_point in = { .i = (int64_t)g->in }, out = { .i = (int64_t)g->out };

	if (g->overflow) { /* one series: both directions */
		in.i += out.i;
		emit(rd, values, true, &in);
		return;
	}
	emit(rd, values, false, &in);
	values[1] = "transmit";
	emit(rd, values, false, &out);
}

static void read_ops(struct reader *rd)
{
	static void (*const by_row[METRIC_COUNT])(struct reader *, const struct group *) = {
		[METRIC_OPERATION_DURATION] = operation, [METRIC_INTERNAL_DURATION] = internal,
		[METRIC_REQUESTS] = requests, [METRIC_REQUEST_IO] = request_io };

	group_ops(rd);
	for (uint32_t i = 0; i <= rd->mask; i++)
		if (rd->groups[i].used)
			by_row[rd->id](rd, &rd->groups[i]);
}

/* Requests of that project alone: those that have no place of their own share one, and learn nothing of each other. */
static bool counts_for(const struct metric_key *k, bool overflow, uint16_t project)
{
	return project < MAX_PROJECTS - 1 && !overflow && k->project == project &&
	    (k->kind == METRIC_OP || k->kind == METRIC_LOCAL);
}

void metric_each_request(struct metric_reg *r, uint16_t project,
    void (*fn)(void *arg, const struct metric_requests *q), void *arg)
{
	uint32_t n = atomic_load_explicit(&r->nops, memory_order_acquire);
	uint8_t map[HIST_BINS];

	map_bins(map);
	for (uint32_t i = 0; i < n; i++) {
		struct metric_requests q = { .key = metric_key_unpack(r->ops[i]->key) };
		const struct metric_op *o = atomic_load_explicit(&r->ops[i]->nodes, memory_order_acquire);
		struct group g = { 0 };

		if (!counts_for(&q.key, r->ops[i]->overflow, project))
			continue;
		for (; o; o = o->next) {
			add_hist(&g, &o->hist, map);
			q.in += atomic_load_explicit(&o->in, memory_order_relaxed);
			q.out += atomic_load_explicit(&o->out, memory_order_relaxed);
		}
		settle(&g);
		q.count = g.count;
		q.ns = g.sum;
		fn(arg, &q);
	}
}

void metric_each_latency(struct metric_reg *r, uint16_t project,
    void (*fn)(void *arg, const struct metric_key *key, const struct hist_sum *sum), void *arg)
{
	uint32_t n = atomic_load_explicit(&r->nops, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++) {
		struct metric_key key = metric_key_unpack(r->ops[i]->key);
		const struct metric_op *o = atomic_load_explicit(&r->ops[i]->nodes, memory_order_acquire);
		struct hist_sum sum = { 0 };

		if (!counts_for(&key, r->ops[i]->overflow, project))
			continue;
		for (; o; o = o->next)
			hist_add(&sum, &o->hist);
		fn(arg, &key, &sum);
	}
}

/* ---- the others ------------------------------------------------------------------------------------- */

uint64_t metric_plain(const struct metric_reg *r, enum metric_id id)
{
	const struct metric_priv *s = atomic_load_explicit(&r->shards, memory_order_acquire);
	uint64_t sum = 0;

	for (; s; s = s->next)
		sum += atomic_load_explicit(&s->shard.plain[id], memory_order_relaxed);
	return sum;
}

static void read_plain(struct reader *rd)
{
	static const char *const none[METRIC_ATTRS];
	struct metric_point p = { .i = (int64_t)metric_plain(rd->r, (enum metric_id)rd->id) };

	emit(rd, none, false, &p);
}

/* Adds what the shards have of a series; false: nothing was ever set. */
static bool add_cells(const struct reader *rd, const struct cell_series *s, struct metric_point *p)
{
	const struct cell_node *c = atomic_load_explicit(&s->cells, memory_order_acquire);
	bool is_double = rd->row->value == METRIC_DOUBLE, any = false;

	for (; c; c = c->next) {
		union { uint64_t u; double d; } x;

		if (!atomic_load_explicit(&c->cell.set, memory_order_acquire))
			continue;
		any = true;
		x.u = atomic_load_explicit(&c->cell.bits, memory_order_relaxed);
		p->start_ns = atomic_load_explicit(&c->cell.start_ns, memory_order_relaxed);
		if (is_double)
			p->d += x.d;
		else
			p->i += (int64_t)x.u;
	}
	return any;
}

static bool add_hists(const struct reader *rd, const struct cell_series *s, struct group *g)
{
	const struct hist_node *h = atomic_load_explicit(&s->hists, memory_order_acquire);
	bool any = h;

	for (; h; h = h->next)
		add_hist(g, &h->hist, rd->map);
	return any;
}

static const struct cell_series *next_series(const struct cell_series *s)
{
	return atomic_load_explicit(&s->next, memory_order_acquire);
}

/* Where the project stands in the row at hand, if the reader may not see it; else past the last. */
static size_t hidden_key(const struct reader *rd)
{
	const struct row_keys *k = &rd->r->keys[rd->id];
	size_t i = 0;

	while (rd->v->anonymous && i < k->n && strcmp(k->key[i].name, "purser.project") != 0)
		i++;
	return rd->v->anonymous && i < k->n ? i : METRIC_ATTRS;
}

/* The same series to somebody who does not see the value at `hidden`. */
static bool alike(const struct cell_series *a, const struct cell_series *b, size_t hidden)
{
	if (a->overflow || b->overflow)
		return a->overflow && b->overflow;
	for (size_t i = 0; i < METRIC_ATTRS; i++)
		if (i != hidden && strcmp(a->values[i] ? a->values[i] : "", b->values[i] ? b->values[i] : "") != 0)
			return false;
	return true;
}

/* A series, and where a value is hidden all that are alike then, in the place of the first of them. */
static void read_series(struct reader *rd, const struct cell_series *first, const struct cell_series *s, size_t hidden)
{
	struct group g = { .overflow = s->overflow };
	struct metric_point p = { .i = 0 };
	const char *values[METRIC_ATTRS];
	bool hist = rd->row->kind == METRIC_HISTOGRAM, any = false;

	if (hidden < METRIC_ATTRS)
		for (; first != s; first = next_series(first))
			if (alike(first, s, hidden))
				return;
	for (size_t i = 0; i < METRIC_ATTRS; i++)
		values[i] = i == hidden ? NULL : s->values[i];
	for (const struct cell_series *o = s; o; o = hidden < METRIC_ATTRS ? next_series(o) : NULL)
		if (o == s || alike(o, s, hidden))
			any |= hist ? add_hists(rd, o, &g) : add_cells(rd, o, &p);
	if (any && hist)
		settle(&g), emit_hist(rd, values, &g);
	else if (any)
		emit(rd, values, s->overflow, &p);
}

static void read_cells(struct reader *rd)
{
	const struct cell_series *first = atomic_load_explicit(&rd->r->cells[rd->id], memory_order_acquire);
	size_t hidden = hidden_key(rd);

	for (const struct cell_series *s = first; s; s = next_series(s))
		read_series(rd, first, s, hidden);
}

static void collect_own(struct metric_reg *r)
{
	for (uint32_t i = 0; i < r->ncollectors; i++)
		r->collectors[i].fn(r->collectors[i].arg, r->own);
	metric_tally_collect(r);
	metric_cell_set(metric_cell(r->own, METRIC_SERIES, NULL), (int64_t)metric_series(r));
	metric_cell_set(metric_cell(r->own, METRIC_SERIES_OVERFLOW, NULL), (int64_t)metric_overflow(r));
}

int metric_read(struct metric_reg *r, const struct metric_visitor *v)
{
	struct reader rd = { .r = r, .v = v };
	int rc, nrows;

	map_bins(rd.map);
	pthread_mutex_lock(&r->reading);
	collect_own(r);
	rc = take_ops(&rd);
	nrows = METRIC_COUNT + (int)atomic_load_explicit(&r->nextra, memory_order_acquire);
	for (int id = 0; rc == 0 && id < nrows; id++) {
		rd.id = id;
		rd.row = id < METRIC_COUNT ? &metric_rows[id] : r->extra[id - METRIC_COUNT];
		rd.opened = false;
		if (rd.row->feed == METRIC_PLAIN)
			read_plain(&rd);
		else if (rd.row->feed == METRIC_OP_FEED)
			read_ops(&rd);
		else
			read_cells(&rd);
		if (rd.opened)
			v->end(v->arg);
	}
	pthread_mutex_unlock(&r->reading);
	free(rd.ops);
	free(rd.groups);
	return rc;
}
