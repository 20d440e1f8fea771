/* SPDX-License-Identifier: Apache-2.0 */
/* metric: the registry, its shards, and names. */
#include <config.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/errors.h"
#include "metric/priv.h"
#include "metric/tally.h"

const struct metric_row metric_rows[METRIC_COUNT] = {
#define METRIC_FEED_PLAIN METRIC_PLAIN
#define METRIC_FEED_CELL METRIC_CELL
#define METRIC_FEED_OP METRIC_OP_FEED
#define METRIC(id, name, unit, kind, value, feed, attrs, stability, doc) \
	{ name, unit, METRIC_##kind, METRIC_##value, METRIC_FEED_##feed, attrs, #stability, doc },
#include "metric/metrics.def"
#undef METRIC
};

static const char *no_command(uint16_t command)
{
	(void)command;
	return NULL;
}

static void keys_of(struct row_keys *k, const char *attrs)
{
	while (*attrs && k->n < METRIC_ATTRS) {
		size_t len = strcspn(attrs, ","), name = strcspn(attrs, ",:");
		struct attr_key *a = &k->key[k->n++];

		if (name >= sizeof a->name)
			name = sizeof a->name - 1;
		memcpy(a->name, attrs, name);
		a->name[name] = '\0';
		a->is_int = len > name;
		attrs += len + (attrs[len] == ',');
	}
}

struct metric_reg *metric_new(const struct metric_opts *o)
{
	static const struct metric_opts def;
	struct metric_reg *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	if (!o)
		o = &def;
	r->max_series = o->max_series ? o->max_series : 2000;
	r->start_wall_ns = o->start_wall_ns;
	r->command = o->command ? o->command : no_command;
	r->op_keys = calloc(r->max_series, sizeof *r->op_keys);
	r->ops = calloc(r->max_series + 4, sizeof *r->ops);
	if (!r->op_keys || !r->ops || pthread_mutex_init(&r->lock, NULL)) {
		free(r->op_keys);
		free(r->ops);
		free(r);
		return NULL;
	}
	pthread_mutex_init(&r->reading, NULL);
	for (int i = 0; i < METRIC_COUNT; i++)
		keys_of(&r->keys[i], metric_rows[i].attrs);
	r->own = metric_shard_new(r);
	if (!r->own) {
		metric_free(r);
		return NULL;
	}
	return r;
}

static void free_ops(struct metric_reg *r)
{
	for (uint32_t i = 0; i < r->nops; i++) {
		for (struct metric_op *o = r->ops[i]->nodes, *next; o; o = next) {
			next = o->next;
			hist_free(&o->hist);
			free(o);
		}
		free(r->ops[i]);
	}
	free(r->ops);
	free(r->op_keys);
}

static void free_cells(struct cell_series *s)
{
	for (struct cell_series *next; s; s = next) {
		next = s->next;
		for (struct cell_node *c = s->cells, *n; c; c = n) {
			n = c->next;
			free(c);
		}
		for (struct hist_node *h = s->hists, *n; h; h = n) {
			n = h->next;
			hist_free(&h->hist);
			free(h);
		}
		for (int i = 0; i < METRIC_ATTRS; i++)
			free(s->values[i]);
		free(s);
	}
}

static void free_names(struct metric_reg *r)
{
	for (int i = 0; i < MAX_INSTANCES; i++)
		free(r->instances[i]);
	for (int i = 0; i < MAX_ENDPOINTS; i++)
		free(r->endpoints[i]);
	for (unsigned i = 0; i < MAX_PROJECTS; i++)
		free(r->projects[i]);
	for (int i = 0; i < MAX_WORDS; i++)
		free(r->words[i]);
	for (int i = 0; i < MAX_COMMANDS; i++)
		free(r->commands[i]);
}

void metric_free(struct metric_reg *r)
{
	if (!r)
		return;
	free_ops(r);
	for (int i = 0; i < METRIC_COUNT + METRIC_EXTRA; i++)
		free_cells(r->cells[i]);
	for (uint32_t i = 0; i < r->nextra; i++)
		free(r->extra[i]);
	metric_tally_free(r);
	for (struct metric_priv *p = r->shards, *next; p; p = next) {
		next = p->next;
		hist_free(&p->no_memory.hist);
		hist_free(&p->no_hist);
		free(p->shard.slots);
		free(p);
	}
	free_names(r);
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->reading);
	free(r);
}

struct metric_shard *metric_shard_new(struct metric_reg *r)
{
	struct metric_priv *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->shard.mask = 255;
	p->shard.slots = calloc(p->shard.mask + 1, sizeof *p->shard.slots);
	p->shard.tally = calloc(METRIC_PROJECTS, sizeof *p->shard.tally);
	if (!p->shard.slots || !p->shard.tally) {
		free(p->shard.slots);
		free(p->shard.tally);
		free(p);
		return NULL;
	}
	p->shard.reg = r;
	p->shard.priv = p;
	pthread_mutex_lock(&r->lock);
	p->next = r->shards;
	atomic_store_explicit(&r->shards, p, memory_order_release);
	pthread_mutex_unlock(&r->lock);
	return &p->shard;
}

uint64_t metric_start(const struct metric_reg *r)
{
	return r->start_wall_ns;
}

uint64_t metric_series(const struct metric_reg *r)
{
	return atomic_load_explicit(&r->series, memory_order_relaxed);
}

uint64_t metric_overflow(const struct metric_reg *r)
{
	return atomic_load_explicit(&r->overflow, memory_order_relaxed);
}

int metric_collector(struct metric_reg *r, metric_collect_fn fn, void *arg)
{
	int rc = -1;

	pthread_mutex_lock(&r->reading);
	if (r->ncollectors < MAX_COLLECTORS) {
		r->collectors[r->ncollectors].fn = fn;
		r->collectors[r->ncollectors++].arg = arg;
		rc = 0;
	}
	pthread_mutex_unlock(&r->reading);
	return rc;
}

void metric_collector_remove(struct metric_reg *r, metric_collect_fn fn, void *arg)
{
	pthread_mutex_lock(&r->reading);
	for (uint32_t i = 0; i < r->ncollectors; i++)
		if (r->collectors[i].fn == fn && r->collectors[i].arg == arg) {
			r->collectors[i] = r->collectors[--r->ncollectors];
			break;
		}
	pthread_mutex_unlock(&r->reading);
}

/* ---- rows of plugins ---------------------------------------------------------------------------- */

/* OpenTelemetry's instrument names and units. */
static bool row_ok(const char *name, const char *unit)
{
	size_t n = strlen(name);

	if (n > 120 || !((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z')))
		return false;
	for (const char *s = name; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("_.-/", *s))
			return false;
	for (const char *s = unit; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			return false;
	return strlen(unit) <= 63;
}

/* Locked. The id of a name, -1 = free, -2 = taken by something else. */
static int row_known(const struct metric_reg *r, const char *name, const char *unit,
    enum metric_kind kind)
{
	for (int i = 0; i < METRIC_COUNT; i++)
		if (strcasecmp(metric_rows[i].name, name) == 0)
			return -2;
	for (uint32_t i = 0; i < r->nextra; i++)
		if (strcasecmp(r->extra[i]->name, name) == 0)
			return strcmp(r->extra[i]->unit, unit) || r->extra[i]->kind != kind ? -2 :
			    METRIC_COUNT + (int)i;
	return -1;
}

static struct metric_row *row_new(const char *name, const char *unit, const char *doc,
    enum metric_kind kind)
{
	size_t a = strlen(name) + 1, b = strlen(unit) + 1, c = strlen(doc) + 1;
	struct metric_row *row = malloc(sizeof *row + a + b + c);
	char *text = (char *)(row + 1);

	if (!row)
		return NULL;
	memcpy(text, name, a);
	memcpy(text + a, unit, b);
	memcpy(text + a + b, doc, c);
	*row = (struct metric_row){ text, text + a, (uint8_t)kind, METRIC_INT, METRIC_CELL,
		"purser.backend", "OWN", text + a + b };
	return row;
}

int metric_declare(struct metric_reg *r, const char *name, const char *unit, const char *doc,
    enum metric_kind kind)
{
	struct metric_row *row;
	int id;

	if (!row_ok(name, unit) || kind == METRIC_HISTOGRAM)
		return -1;
	pthread_mutex_lock(&r->lock);
	id = row_known(r, name, unit, kind);
	if (id == -1 && r->nextra < METRIC_EXTRA && (row = row_new(name, unit, doc, kind))) {
		id = METRIC_COUNT + (int)r->nextra;
		keys_of(&r->keys[id], row->attrs);
		r->extra[r->nextra] = row;
		atomic_store_explicit(&r->nextra, r->nextra + 1, memory_order_release);
	}
	pthread_mutex_unlock(&r->lock);
	return id < 0 ? -1 : id;
}

/* ---- names ------------------------------------------------------------------------------------ */

/* One block: the struct, then the copies of its two strings. */
static char *copy_after(void *block, size_t size, const char *a, const char *b, const char **b_out)
{
	char *p = (char *)block + size;
	size_t n = strlen(a) + 1;

	memcpy(p, a, n);
	if (b) {
		memcpy(p + n, b, strlen(b) + 1);
		*b_out = p + n;
	}
	return p;
}

uint8_t metric_instance(struct metric_reg *r, const struct metric_instance *i)
{
	const char *system = i->system ? i->system : "redis";
	struct metric_instance *m;
	int at;

	pthread_mutex_lock(&r->lock);
	for (at = 0; at < MAX_INSTANCES && (m = r->instances[at]); at++)
		if (strcmp(m->name, i->name) == 0 && strcmp(m->system, system) == 0 &&
		    m->inproc == i->inproc)
			break;
	if (at < MAX_INSTANCES && !r->instances[at]) {
		m = malloc(sizeof *m + strlen(i->name) + strlen(system) + 2);
		if (m) {
			m->inproc = i->inproc;
			m->name = copy_after(m, sizeof *m, i->name, system, &m->system);
			atomic_store_explicit(&r->instances[at], m, memory_order_release);
		} else {
			at = MAX_INSTANCES;
		}
	}
	pthread_mutex_unlock(&r->lock);
	return (uint8_t)at;
}

const struct metric_instance *metric_instance_of(const struct metric_reg *r, uint8_t i)
{
	return i < MAX_INSTANCES ? atomic_load_explicit(&r->instances[i], memory_order_acquire) : NULL;
}

static int name_number(struct metric_reg *r, char *_Atomic *table, int max, const char *s, size_t n)
{
	int at;
	char *p;

	/* what is there needs no lock */
	for (at = 0; at < max; at++) {
		p = atomic_load_explicit(&table[at], memory_order_acquire);
		if (!p)
			break;
		if (strlen(p) == n && memcmp(p, s, n) == 0)
			return at;
	}
	pthread_mutex_lock(&r->lock);
	for (; at < max && (p = table[at]); at++)
		if (strlen(p) == n && memcmp(p, s, n) == 0)
			break;
	if (at < max && !table[at]) {
		p = strndup(s, n);
		if (p)
			atomic_store_explicit(&table[at], p, memory_order_release);
		else
			at = max;
	}
	pthread_mutex_unlock(&r->lock);
	return at;
}

/* One place is kept for all that have none of their own; no project can have that name. */
uint16_t metric_project(struct metric_reg *r, const char *name)
{
	int at = name_number(r, r->projects, (int)MAX_PROJECTS - 1, name, strlen(name));

	if (at == (int)MAX_PROJECTS - 1)
		at = name_number(r, r->projects + at, 1, "_OTHER", 6) + at;
	return at < (int)MAX_PROJECTS ? (uint16_t)at : 0xffff;
}

struct metric_clients *metric_clients_of(struct metric_reg *r, uint16_t project)
{
	return project < MAX_PROJECTS - 1 ? &r->clients[project] : NULL;
}

const char *metric_project_of(const struct metric_reg *r, uint16_t i)
{
	return i < MAX_PROJECTS ? atomic_load_explicit(&r->projects[i], memory_order_acquire) : NULL;
}

uint16_t metric_endpoint(struct metric_reg *r, const char *address, uint16_t port,
    const char *transport)
{
	struct metric_endpoint *e;
	int at;

	if (!transport)
		transport = "";
	pthread_mutex_lock(&r->lock);
	for (at = 1; at < MAX_ENDPOINTS && (e = r->endpoints[at]); at++)
		if (e->port == port && strcmp(e->address, address) == 0 &&
		    strcmp(e->transport, transport) == 0)
			break;
	if (at < MAX_ENDPOINTS && !r->endpoints[at]) {
		e = malloc(sizeof *e + strlen(address) + strlen(transport) + 2);
		if (e) {
			e->port = port;
			e->address = copy_after(e, sizeof *e, address, transport, &e->transport);
			atomic_store_explicit(&r->endpoints[at], e, memory_order_release);
		} else {
			at = MAX_ENDPOINTS;
		}
	}
	pthread_mutex_unlock(&r->lock);
	return at < MAX_ENDPOINTS ? (uint16_t)at : 0;
}

const struct metric_endpoint *metric_endpoint_of(const struct metric_reg *r, uint16_t i)
{
	return i < MAX_ENDPOINTS ? atomic_load_explicit(&r->endpoints[i], memory_order_acquire) : NULL;
}

/* 0 .. ERR_COUNT - 1 are errors.def; ERR_COUNT is any other word; then the words seen. */
uint8_t metric_error(struct metric_shard *s, const char *text, size_t n)
{
	size_t len = 0;
	int at;

	while (len < n && len < 32 && ((text[len] >= 'A' && text[len] <= 'Z') || text[len] == '_' ||
	    (len && text[len] >= '0' && text[len] <= '9')))
		len++;
	if (len == 0 || (len < n && text[len] != ' '))
		return ERR_REDIS; /* no word: treated as Redis' clients do, as ERR */
	if (len == 3 && memcmp(text, "ERR", 3) == 0)
		return ERR_REDIS;
	at = name_number(s->reg, s->reg->words, MAX_WORDS, text, len);
	return at < MAX_WORDS ? (uint8_t)(ERR_COUNT + 1 + at) : (uint8_t)ERR_COUNT;
}

struct metric_error metric_error_of(const struct metric_reg *r, uint8_t i)
{
	struct metric_error e = { "_OTHER", "_OTHER" };

	if (i == ERR_NONE) {
		e.type = e.status = NULL;
	} else if (i == ERR_REDIS) {
		e.type = e.status = "ERR";
	} else if (i < ERR_COUNT) {
		e.type = err_rows[i].error_type;
		e.status = NULL;
	} else if (i > ERR_COUNT && i - ERR_COUNT - 1 < MAX_WORDS && r->words[i - ERR_COUNT - 1]) {
		e.type = e.status = r->words[i - ERR_COUNT - 1];
	}
	return e;
}

/* "OBJECT|ENCODING" is "OBJECT ENCODING" to everybody else; converted once. */
const char *metric_command_of(struct metric_reg *r, uint16_t i)
{
	const char *s = i < MAX_COMMANDS ? r->command(i) : NULL;
	char *own;

	if (!s || !strchr(s, '|'))
		return s ? s : "";
	own = atomic_load_explicit(&r->commands[i], memory_order_acquire);
	if (own)
		return own;
	pthread_mutex_lock(&r->lock);
	own = r->commands[i];
	if (!own && (own = strdup(s))) {
		*strchr(own, '|') = ' ';
		atomic_store_explicit(&r->commands[i], own, memory_order_release);
	}
	pthread_mutex_unlock(&r->lock);
	return own ? own : s;
}
