/* SPDX-License-Identifier: Apache-2.0
 *
 * The host of the memory plugin's tests: see memory_host.h.
 */
#include <config.h>
#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "memory_host.h"


/* ---- replies ------------------------------------------------------------------------------------------ */
static struct mh_ctx *ctx_of(purser_call *c) { return (struct mh_ctx *)(void *)c->ctx; }

static void put(struct mh_ctx *x, const void *p, size_t n)
{
	if (x->n + n + 1 > x->cap) {
		x->cap = 2 * x->cap + n + 256;
		x->reply = realloc(x->reply, x->cap);
		if (!x->reply)
			abort();
	}
	if (n)
		memcpy(x->reply + x->n, p, n);
	x->n += n;
	x->reply[x->n] = '\0';
}

static void head(purser_call *c, char type, int64_t v)
{
	char line[32];

	put(ctx_of(c), line, (size_t)snprintf(line, sizeof(line), "%c%lld\r\n", type, (long long)v));
}

static int64_t h_raw(purser_call *c, const void *p, size_t n)
{
	put(ctx_of(c), p, n);
	return 1 << 20;
}

static int64_t h_raw_ref(purser_call *c, const void *p, size_t n, purser_fn release, void *arg)
{
	struct mh_ctx *x = ctx_of(c);

	put(x, p, n);
	if (x->nheld == sizeof(x->held) / sizeof(*x->held))
		abort();
	x->held[x->nheld].fn = release;
	x->held[x->nheld++].arg = arg;
	return 1 << 20;
}

static void h_status(purser_call *c, const char *word)
{
	put(ctx_of(c), "+", 1);
	put(ctx_of(c), word, strlen(word));
	put(ctx_of(c), "\r\n", 2);
}

static void h_bulk(purser_call *c, const void *p, size_t n)
{
	head(c, '$', (int64_t)n);
	put(ctx_of(c), p, n);
	put(ctx_of(c), "\r\n", 2);
}

static void h_integer(purser_call *c, int64_t v) { head(c, ':', v); }
static void h_array(purser_call *c, size_t n) { head(c, '*', (int64_t)n); }
static void h_null(purser_call *c) { put(ctx_of(c), c->resp == 3 ? "_\r\n" : "$-1\r\n", c->resp == 3 ? 3 : 5); }

static void h_number(purser_call *c, double v)
{
	char text[32];
	int n = snprintf(text, sizeof(text), c->resp == 3 ? ",%.17g\r\n" : "%.17g", v);

	if (c->resp == 3)
		put(ctx_of(c), text, (size_t)n);
	else
		h_bulk(c, text, (size_t)n);
}

static void h_map(purser_call *c, size_t n)
{
	if (c->resp == 3)
		head(c, '%', (int64_t)n);
	else
		head(c, '*', (int64_t)(2 * n));
}

static void h_set(purser_call *c, size_t n) { head(c, c->resp == 3 ? '~' : '*', (int64_t)n); }

static void h_error(purser_call *c, const char *text, size_t n)
{
	put(ctx_of(c), "-", 1);
	put(ctx_of(c), text, n);
	put(ctx_of(c), "\r\n", 2);
}

static void h_end(purser_call *c) { ctx_of(c)->ended++; }

static void h_fail(purser_call *c, uint32_t code, uint32_t executed, const char *text)
{
	(void)code;
	(void)executed;
	(void)text;
	ctx_of(c)->failed++;
}

/* ---- clocks, timers, settings --------------------------------------------------------------------------- */
static struct mh_ctx *of(purser_ctx *x) { return (struct mh_ctx *)(void *)x; }
static uint64_t h_now(purser_ctx *x) { return of(x)->m->now_ns; }
static uint64_t h_wall(purser_ctx *x) { return of(x)->m->wall_ms; }

static uint64_t h_timer(purser_ctx *px, uint64_t delay, purser_fn fn, void *arg)
{
	struct mh_ctx *x = of(px);
	size_t i;

	for (i = 0; x->timer[i].id; i++)
		if (i + 1 == sizeof(x->timer) / sizeof(*x->timer))
			abort();
	x->timer[i] = (struct mh_timer){ ++x->timer_ids, x->m->now_ns + delay, fn, arg };
	return x->timer_ids;
}

static void h_untimer(purser_ctx *px, uint64_t id)
{
	struct mh_ctx *x = of(px);
	size_t i;

	for (i = 0; i < sizeof(x->timer) / sizeof(*x->timer); i++)
		if (x->timer[i].id == id)
			x->timer[i].id = 0;
}

static int64_t h_value(purser_instance *pi, const char *key)
{
	struct mh *m = (struct mh *)(void *)pi;

	if (!strcmp(key, "max_memory"))
		return m->set.max_memory;
	if (!strcmp(key, "script_memory"))
		return m->set.script_memory ? m->set.script_memory : 64 << 20;
	if (!strcmp(key, "lfu_log_factor"))
		return 10;
	if (!strcmp(key, "lfu_decay_time"))
		return 60000000000;
	return strcmp(key, "eviction") ? m->set.databases : m->set.eviction;
}

/* What a setting without a value is. */
static purser_bytes h_text(purser_instance *pi, const char *key)
{
	(void)pi;
	(void)key;
	return (purser_bytes){ (const uint8_t *)"", 0 };
}

static uint64_t h_publish(purser_instance *pi, uint32_t kind, purser_bytes channel, purser_bytes message)
{
	struct mh *m = (struct mh *)(void *)pi;

	(void)kind;
	if (m->published)
		m->published(m->published_arg, channel, message);
	return 0;
}

static void **h_slot(purser_session *s, purser_ctx *px)
{
	(void)s;
	return &of(px)->slot; /* a context has one session */
}

static pthread_mutex_t posting = PTHREAD_MUTEX_INITIALIZER;

static void h_ready(purser_ctx *x, uint32_t route)
{
	(void)route;
	of(x)->readied++;
}

static void h_post(purser_ctx *px, purser_job *job)
{
	purser_job **at = &of(px)->jobs;

	pthread_mutex_lock(&posting);
	while (*at)
		at = &(*at)->next;
	job->next = NULL;
	*at = job;
	pthread_mutex_unlock(&posting);
}

unsigned mh_jobs(struct mh_ctx *x)
{
	purser_job *job, *next;
	unsigned n = 0;

	pthread_mutex_lock(&posting);
	job = x->jobs;
	x->jobs = NULL;
	pthread_mutex_unlock(&posting);
	for (; job; job = next, n++) {
		next = job->next; /* it may be posted again while it runs */
		job->fn(job->arg);
	}
	return n;
}

static void h_invalidated(purser_ctx *px, const purser_bytes *keys, size_t n)
{
	struct mh *m = of(px)->m;

	if (m->invalidated)
		m->invalidated(m->published_arg, keys, n);
}

static void h_log(purser_instance *pi, int level, const char *fmt, ...)
{
	(void)pi;
	(void)level;
	(void)fmt;
}

static const purser_host host = {
	.struct_size = sizeof(host), .api = PURSER_API,
	.raw = h_raw, .raw_ref = h_raw_ref, .status = h_status, .integer = h_integer, .bulk = h_bulk,
	.number = h_number, .null = h_null, .array = h_array, .map = h_map, .set = h_set, .error = h_error, .end = h_end, .fail = h_fail,
	.now = h_now, .wall_ms = h_wall, .timer = h_timer, .untimer = h_untimer, .value = h_value,
	.text = h_text, .publish = h_publish, .slot = h_slot, .post = h_post, .ready = h_ready, .invalidated = h_invalidated, .log = h_log,
};

/* ---- instances and contexts ------------------------------------------------------------------------------- */
void mh_start(struct mh *m, struct mh_settings set)
{
	purser_error e = { .struct_size = sizeof(e) };

	memset(m, 0, sizeof(*m));
	m->set = set;
	m->set.databases = set.databases ? set.databases : 16;
	m->wall_ms = 1700000000000;
	m->now_ns = 1000000000;
	m->p = purser_plugin_init();
	if (m->p->start(&host, (purser_instance *)(void *)m, &m->state, &e)) {
		fprintf(stderr, "start: %s\n", e.text);
		abort();
	}
}

void mh_stop(struct mh *m) { m->p->stop(m->state); }

void mh_open(struct mh_ctx *x, struct mh *m)
{
	purser_error e = { .struct_size = sizeof(e) };

	memset(x, 0, sizeof(*x));
	x->m = m;
	x->resp = 2;
	if (m->p->open(m->state, (purser_ctx *)(void *)x, &x->cs, &e)) {
		fprintf(stderr, "open: %s\n", e.text);
		abort();
	}
}

void mh_close(struct mh_ctx *x)
{
	mh_release(x);
	mh_jobs(x);
	x->m->p->close(x->cs);
	free(x->reply);
}

void mh_release(struct mh_ctx *x)
{
	while (x->nheld > 0) {
		x->nheld--;
		x->held[x->nheld].fn(x->held[x->nheld].arg);
	}
}

purser_stats mh_stats(struct mh *m)
{
	purser_stats s = { .struct_size = sizeof(s) };

	m->p->stats(m->state, &s);
	return s;
}

unsigned mh_pass(struct mh_ctx *x, uint64_t ms)
{
	unsigned fired = 0;
	size_t i;

	x->m->wall_ms += ms;
	x->m->now_ns += ms * 1000000;
	for (i = 0; i < sizeof(x->timer) / sizeof(*x->timer); i++) {
		struct mh_timer t = x->timer[i];

		if (t.id && t.at_ns <= x->m->now_ns) {
			x->timer[i].id = 0;
			t.fn(t.arg);
			fired++;
		}
	}
	return fired;
}

/* ---- commands ------------------------------------------------------------------------------------------------ */
int mh_op(const char *name, size_t n)
{
	const purser_plugin *p = purser_plugin_init();
	uint32_t i;
	size_t at;

	for (i = 0; i < p->nops; i++) {
		const char *op = ((const purser_op *)((const char *)p->ops + i * p->op_stride))->name;

		if ((op[0] ^ name[0]) & 0x5f) /* most of them, in any case of letters */
			continue;
		for (at = 0; at < n && op[at] && toupper((unsigned char)name[at]) == op[at]; at++)
			;
		if (at == n && !op[at])
			return (int)i;
	}
	return -1;
}

/* OBJECT and MEMORY are containers. */
static int op_of(const purser_bytes *argv, uint32_t argc)
{
	char name[64];
	int n, op = mh_op((const char *)argv[0].p, argv[0].n);

	if (op >= 0 || argc < 2)
		return op;
	n = snprintf(name, sizeof(name), "%.*s|%.*s", (int)argv[0].n, (const char *)argv[0].p,
	    (int)argv[1].n, (const char *)argv[1].p);
	return n < (int)sizeof(name) ? mh_op(name, (size_t)n) : -1;
}

static void fill(purser_call *c, struct mh_ctx *x, uint32_t argc, const purser_bytes *argv)
{
	*c = (purser_call){ .struct_size = sizeof(*c), .op = (uint32_t)op_of(argv, argc),
	    .resp = (uint8_t)x->resp, .db = x->db, .ns = x->ns, .ns_prefix = x->ns_prefix, .argc = argc, .argv = argv,
	    .ctx = (purser_ctx *)(void *)x };
}

static void reset(struct mh_ctx *x)
{
	x->n = 0;
	x->ended = x->failed = 0;
	put(x, "", 0);
}

/* The keys of a command that says how many there are; where the number is, its name tells. */
static uint32_t counted_keys(const purser_bytes *argv, uint32_t argc, uint32_t *keys, uint32_t max)
{
	uint32_t n = 0, at = argv[0].n > 5 && !memcmp(argv[0].p + argv[0].n - 5, "STORE", 5) ? 2 : 1, i, last;

	if (argc <= at)
		return 0;
	if (argv[0].n > 4 && !memcmp(argv[0].p, "XREAD", 5)) {
		for (i = 1; i < argc && (argv[i].n != 7 || memcmp(argv[i].p, "STREAMS", 7)); i++)
			;
		for (last = i + 1 + (argc - i - 1) / 2; ++i < last && n < max;)
			keys[n++] = i;
		return n;
	}
	if (argv[0].n > 6 && !memcmp(argv[0].p, "GEORAD", 6)) {
		keys[n++] = 1;
		for (i = 2; i + 1 < argc && n < max; i++)
			if (argv[i].n >= 5 && !memcmp(argv[i].p, "STORE", 5))
				keys[n++] = i + 1;
		return n;
	}
	if (at == 2)
		keys[n++] = 1;
	last = at + (uint32_t)strtoul((const char *)argv[at].p, NULL, 10);
	for (i = at + 1; i <= last && i < argc && n < max; i++)
		keys[n++] = i;
	return n;
}

const char *mh_argv(struct mh_ctx *x, uint32_t argc, const purser_bytes *argv)
{
	const purser_plugin *p = x->m->p;
	uint32_t keys[64];
	purser_call c;

	reset(x);
	fill(&c, x, argc, argv);
	c.keys = keys;
	c.nkeys = counted_keys(argv, argc, keys, 64); /* only commands with a count look at them */
	if (c.op >= p->nops)
		return "-ERR unknown command\r\n";
	if (p->ops[c.op].run(x->cs, &c) != PURSER_DONE || x->ended + x->failed != 1)
		abort();
	return x->reply;
}

static uint32_t words(char *line, purser_bytes *argv, uint32_t max)
{
	uint32_t n = 0;
	char *save = NULL, *w;

	for (w = strtok_r(line, " ", &save); w && n < max; w = strtok_r(NULL, " ", &save))
		argv[n++] = (purser_bytes){ (uint8_t *)w, strlen(w) };
	return n;
}

const char *mh_run(struct mh_ctx *x, const char *fmt, ...)
{
	purser_bytes argv[512];
	char line[65536];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		abort();
	return mh_argv(x, words(line, argv, 512), argv);
}

const char *mh_batch(struct mh_ctx *x, const char *lines)
{
	purser_bytes argv[16][32];
	purser_call part[16], *parts[16], batch = { .struct_size = sizeof(batch),
	    .op = PURSER_OP_BATCH, .route = PURSER_ROUTE_PINNED, .flags = PURSER_CALL_UNPIN,
	    .ctx = (purser_ctx *)(void *)x };
	char text[4096], *save = NULL, *l;

	snprintf(text, sizeof(text), "%s", lines);
	for (l = strtok_r(text, "\n", &save); l && batch.nparts < 16; l = strtok_r(NULL, "\n", &save)) {
		uint32_t i = batch.nparts++;

		fill(&part[i], x, words(l, argv[i], 32), argv[i]);
		part[i].op = (uint32_t)op_of(argv[i], part[i].argc);
		parts[i] = &part[i];
	}
	batch.parts = parts;
	reset(x);
	if (x->m->p->submit(x->cs, &batch) != PURSER_DONE)
		abort();
	return x->reply;
}
