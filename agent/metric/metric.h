/* SPDX-License-Identifier: Apache-2.0
 *
 * metric: the registry of metrics.def and the accounts of operations.
 *
 * Each thread that counts owns a shard: plain stores, no lock, no locked instruction, read at any
 * time by exporters, who add the shards up.  What comes in: the account stage of each request
 * (metric_op + metric_op_record), counters and cells of every room.  What goes out: metric_read(),
 * from which OTLP and Prometheus are written; all values are cumulative.
 *
 *   struct metric_op *op = metric_op(shard, (struct metric_key){ .kind = METRIC_OP,
 *       .instance = i, .project = p, .command = CMD_GET, .error = 0, .db = 0, .endpoint = e });
 *   metric_op_record(op, end_ns - start_ns, bytes_in, bytes_out);
 *
 * Cardinality: at most opts.max_series accounts of operations and as many series of each other
 * metric.  What comes after goes into one overflow series (otel.metric.overflow = true), so that
 * sums stay right; purser.metric.overflow counts it.
 *
 * Names (projects, instances, endpoints, error words) are registered once and get small numbers
 * that stay valid until the registry is freed, also across reloads.
 */
#ifndef METRIC_METRIC_H
#define METRIC_METRIC_H
#include <stdbool.h>
#include "metric/hist.h"

enum metric_id {
#define METRIC(id, ...) METRIC_##id,
#include "metric/metrics.def"
#undef METRIC
	METRIC_COUNT
};
enum metric_kind { METRIC_COUNTER, METRIC_UPDOWN, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_value { METRIC_INT, METRIC_DOUBLE };
enum metric_feed { METRIC_PLAIN, METRIC_CELL, METRIC_OP_FEED };

#define METRIC_ATTRS 10 /* most attributes of a row */

struct metric_row {
	const char *name, *unit;
	uint8_t kind, value, feed;
	const char *attrs, *stability, *doc;
};
extern const struct metric_row metric_rows[METRIC_COUNT];
#define METRIC_EXTRA 64 /* further rows, of plugins: ids from METRIC_COUNT on */

struct metric_reg;
struct metric_shard;

struct metric_opts { /* zero = the default of each */
	uint32_t max_series;                   /* 2000 */
	uint64_t start_wall_ns;                /* start of every cumulative value of the agent's own */
	const char *(*command)(uint16_t command); /* its name; '|' is exported as a blank; NULL = none */
};
struct metric_reg *metric_new(const struct metric_opts *o); /* NULL: no memory */
void metric_free(struct metric_reg *r);                     /* shards too; nobody may use them */
uint64_t metric_start(const struct metric_reg *r);          /* opts.start_wall_ns */

/* One for each thread that counts; freed with the registry.  NULL: no memory. */
struct metric_shard *metric_shard_new(struct metric_reg *r);

/* A row that only a plugin knows; its one attribute is purser.backend and it is fed through cells:
 * metric_cell(s, id, "main").  kind is METRIC_COUNTER, _UPDOWN or _GAUGE, values are integers.  The
 * same name gives the same id.  -1: the name or unit is not one of OpenTelemetry's, the name is taken
 * (also by metrics.def) with another unit or kind, or there are METRIC_EXTRA already.  Any thread. */
int metric_declare(struct metric_reg *r, const char *name, const char *unit, const char *doc,
    enum metric_kind kind);

/* ---- names -> numbers (any thread; the same name gives the same number) -------------------------- */
struct metric_instance {
	const char *name;     /* of [backend NAME]: purser.backend and the pool's name */
	const char *system;   /* db.system.name; NULL = "redis" */
	bool inproc;          /* in this process: spans are INTERNAL, there is no server.address */
};
uint8_t metric_instance(struct metric_reg *r, const struct metric_instance *i); /* 255 when full */
uint16_t metric_project(struct metric_reg *r, const char *name);    /* "_OTHER" when full; 0xffff: no memory */
/* The client connections of a project, on all workers.  NULL: it has no place of its own. */
struct metric_clients { _Atomic uint32_t now; _Atomic uint64_t ever; };
struct metric_clients *metric_clients_of(struct metric_reg *r, uint16_t project);
/* transport: "tcp", "unix", "inproc" or NULL; 0 is "no endpoint known", also when full */
uint16_t metric_endpoint(struct metric_reg *r, const char *address, uint16_t port,
    const char *transport);
/* The error numbers of metric_key: enum err_code for the agent's own failures; for what the store
 * answered, the number of its first word ("WRONGTYPE Operation ..."). At most 100 words. */
uint8_t metric_error(struct metric_shard *s, const char *text, size_t n);

/* ... and back, for exporters.  Strings live as long as the registry. */
struct metric_error { const char *type, *status; /* NULL: not an answer of the store */ };
struct metric_endpoint { const char *address, *transport; uint16_t port; };
const struct metric_instance *metric_instance_of(const struct metric_reg *r, uint8_t i); /* or NULL */
const char *metric_project_of(const struct metric_reg *r, uint16_t i);                   /* or NULL */
const struct metric_endpoint *metric_endpoint_of(const struct metric_reg *r, uint16_t i); /* or NULL */
struct metric_error metric_error_of(const struct metric_reg *r, uint8_t i);
const char *metric_command_of(struct metric_reg *r, uint16_t i); /* "" if there is none */

/* ---- operations (the shard's own thread) --------------------------------------------------------- */
enum metric_op_kind {
	METRIC_OP,       /* a client's request that a backend served: an operation and a request */
	METRIC_LOCAL,    /* a client's request that the agent answered itself: a request only */
	METRIC_CHILD,    /* a step of a composite request: an operation only */
	METRIC_INTERNAL  /* the agent's own: purser.internal.* only */
};
#define METRIC_NO_DB 255
struct metric_key {
	uint8_t kind;      /* enum metric_op_kind */
	uint8_t instance;  /* metric_instance(); ignored when LOCAL */
	uint8_t error;     /* 0 = success, enum err_code, or metric_error() */
	uint8_t db;        /* METRIC_NO_DB = not known */
	uint16_t project;  /* metric_project(); 0xffff = none */
	uint16_t command;  /* < 4096 */
	uint16_t endpoint; /* metric_endpoint(); < 1024 */
};

struct metric_op { /* one series in one shard */
	struct hist hist;
	_Atomic uint64_t in, out; /* bytes */
	struct metric_op *next;   /* of the same series, in other shards */
	_Atomic uint64_t *tally[2]; /* metric_tally_op() */
};

/* Of one project, in one shard: metric/tally.h. */
enum metric_tally_id { TALLY_HITS, TALLY_MISSES, TALLY_SETS, TALLY_DELETES, TALLY_ERRORS, TALLY_COUNT };
struct metric_tally { _Atomic uint64_t v[TALLY_COUNT]; };
#define METRIC_PROJECTS 4096u

#define METRIC_RECENT 64u
struct metric_slot { uint64_t key; struct metric_op *op; };
struct metric_shard {
	_Atomic uint64_t plain[METRIC_COUNT];
	struct metric_slot recent[METRIC_RECENT]; /* by command: the series that it was last */
	struct metric_slot *slots; /* open addressing; the owner's alone */
	struct metric_tally *_Atomic *tally; /* [METRIC_PROJECTS] */
	uint32_t mask, used;
	struct metric_reg *reg;
	struct metric_priv *priv;
};

static inline uint64_t metric_key_pack(struct metric_key k)
{
	return (uint64_t)(k.kind & 3u) | (uint64_t)k.instance << 2 | (uint64_t)k.error << 10 |
	    (uint64_t)k.db << 18 | (uint64_t)k.project << 26 | (uint64_t)(k.command & 0xfffu) << 42 |
	    (uint64_t)(k.endpoint & 0x3ffu) << 54;
}
struct metric_key metric_key_unpack(uint64_t key);

static inline uint32_t metric_hash(uint64_t key)
{
	return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}
struct metric_op *metric_op_find(struct metric_shard *s, uint64_t key);

/* Never NULL: without memory it is the overflow series of the shard. */
static inline struct metric_op *metric_op_packed(struct metric_shard *s, uint64_t key)
{
	const struct metric_slot *slot = &s->recent[key >> 42 & (METRIC_RECENT - 1)];

	if (__builtin_expect(slot->key == key && slot->op != NULL, 1))
		return slot->op;
	return metric_op_find(s, key);
}
static inline struct metric_op *metric_op(struct metric_shard *s, struct metric_key k)
{
	return metric_op_packed(s, metric_key_pack(k));
}

static inline void metric_op_record(struct metric_op *op, uint64_t ns, uint64_t in, uint64_t out)
{
	hist_record(&op->hist, ns);
	hist_bump(&op->in, in);
	hist_bump(&op->out, out);
}

/* ---- plain metrics: rows with feed PLAIN (the shard's own thread) --------------------------------- */
static inline void metric_add(struct metric_shard *s, enum metric_id id, int64_t by)
{
	hist_bump(&s->plain[id], (uint64_t)by);
}
/* A gauge: the sum over shards is exported, so set it in one shard only. */
static inline void metric_set(struct metric_shard *s, enum metric_id id, int64_t v)
{
	atomic_store_explicit(&s->plain[id], (uint64_t)v, memory_order_relaxed);
}

/* ---- cells: rows with attributes (the shard's own thread) ----------------------------------------- */
struct metric_cell {
	_Atomic uint64_t bits;     /* int64, or the bits of a double */
	_Atomic uint64_t start_ns; /* wall; 0 = the agent's start */
	_Atomic uint64_t set;      /* 0: no value, no point */
};
/* The cell of these values (a copy is kept), in the order of the row's attribute list; NULL or ""
 * leaves an attribute out.  Look it up once and keep the pointer.  Never NULL: out of memory or over
 * the cap it is the overflow cell.
 *   metric_cell(s, METRIC_CLIENTS_CUT, "idle") */
#define metric_cell(s, id, ...) \
	metric_cell_of((s), (id), (const char *const[METRIC_ATTRS]){ __VA_ARGS__ })
struct metric_cell *metric_cell_of(struct metric_shard *s, int id,
    const char *const values[METRIC_ATTRS]);
/* The same for rows of kind HISTOGRAM: hist_record() into it. */
#define metric_hist(s, id, ...) \
	metric_hist_of((s), (id), (const char *const[METRIC_ATTRS]){ __VA_ARGS__ })
struct hist *metric_hist_of(struct metric_shard *s, int id,
    const char *const values[METRIC_ATTRS]);

static inline void metric_cell_set(struct metric_cell *c, int64_t v)
{
	atomic_store_explicit(&c->bits, (uint64_t)v, memory_order_relaxed);
	atomic_store_explicit(&c->set, 1, memory_order_release);
}
static inline void metric_cell_setd(struct metric_cell *c, double v)
{
	union { double d; uint64_t u; } x = { .d = v };

	metric_cell_set(c, (int64_t)x.u);
}
static inline void metric_cell_add(struct metric_cell *c, int64_t by)
{
	metric_cell_set(c, (int64_t)atomic_load_explicit(&c->bits, memory_order_relaxed) + by);
}
static inline void metric_cell_unset(struct metric_cell *c)
{
	atomic_store_explicit(&c->set, 0, memory_order_relaxed);
}

/* ---- reading (any thread) -------------------------------------------------------------------------- */
enum metric_attr_type { METRIC_A_STR, METRIC_A_INT, METRIC_A_BOOL };
struct metric_attr { const char *key; uint8_t type; const char *s; int64_t i; };

struct metric_point {
	const struct metric_attr *attrs;
	size_t nattrs;
	uint64_t start_ns;       /* wall */
	int64_t i;               /* METRIC_INT */
	double d;                /* METRIC_DOUBLE */
	/* histograms: seconds */
	uint64_t count;
	double sum;
	const double *bounds;
	const uint64_t *buckets; /* nbounds + 1, not cumulative */
	size_t nbounds;
};

/* Rows that have points are visited in the order of metrics.def, then those of plugins, each with all
 * its points. */
struct metric_visitor {
	void (*row)(void *arg, enum metric_id id, const struct metric_row *row); /* before its points;
	                                                                         * id >= METRIC_COUNT: a
	                                                                         * plugin's */
	void (*point)(void *arg, const struct metric_point *p);
	void (*end)(void *arg);                                                   /* after them */
	void *arg;
	bool anonymous; /* the reader may not see projects: their series are added up */
};
/* 0, or -1 without memory (nothing was visited). Readers are serialised. */
int metric_read(struct metric_reg *r, const struct metric_visitor *v);

/* Called at the start of each metric_read with a shard of the registry's own: for what is looked up
 * rather than counted (process.*, the exporter's state).  At most 8: 0, or -1. */
typedef void (*metric_collect_fn)(void *arg, struct metric_shard *s);
int metric_collector(struct metric_reg *r, metric_collect_fn fn, void *arg);
/* When it returns fn is not running and will not be called again. */
void metric_collector_remove(struct metric_reg *r, metric_collect_fn fn, void *arg);

/* The table of docs/metrics.md. */
struct buf;
void metric_dump(struct buf *out);

/* The requests of one project's clients, by command, error and what else their key has; any thread. */
struct metric_requests {
	struct metric_key key;
	uint64_t count, ns, in, out;
};
void metric_each_request(struct metric_reg *r, uint16_t project,
    void (*fn)(void *arg, const struct metric_requests *q), void *arg);
/* How long they took: sum is valid for the call. */
void metric_each_latency(struct metric_reg *r, uint16_t project,
    void (*fn)(void *arg, const struct metric_key *key, const struct hist_sum *sum), void *arg);
uint64_t metric_plain(const struct metric_reg *r, enum metric_id id); /* of feed PLAIN: the sum */

uint64_t metric_series(const struct metric_reg *r);   /* kept now */
uint64_t metric_overflow(const struct metric_reg *r); /* refused so far */
#endif
