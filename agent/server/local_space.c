/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands over a project's whole key space, in steps: DBSIZE, RANDOMKEY, FLUSHDB, FLUSHALL.  An
 * isolated project shares its database with others, so these walk its own keys with SCAN.  With
 * isolation = off they are one command of the store, but for the agent's own keys (psr:), which are not
 * the project's: DBSIZE walks to leave them out, up to dbsize_limit, and RANDOMKEY asks again.
 *
 * A step is one SCAN or one UNLINK of what it found, about 1000 keys: everybody else's commands run between two,
 * and when the client has gone the walk ends.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "base/buf.h"
#include "request_feature.h"
#include "resp/pick.h"
#include "server/local.h"

enum walk_kind { WALK_COUNT, WALK_RANDOM, WALK_FLUSH };

struct walk {
	struct request *r;
	struct ask ask;
	enum walk_kind kind;
	uint32_t databases;           /* FLUSHALL: still to do, this one included */
	uint64_t seen;                /* names that SCAN returned */
	bool wrapped;                 /* RANDOMKEY: began somewhere, now from the start */
	unsigned tries;               /* RANDOMKEY of the store, which hit the agent's own keys */
	purser_bytes cursor;
	char cursor_text[24];
	uint64_t *set;                /* WALK_COUNT: names counted so far, as hashes (SCAN may repeat) */
	size_t set_cap, set_n;
	uint64_t seed;
};

static void step(struct walk *w);

static void walk_end(struct walk *w)
{
	free(w->set);
	free(w);
}

static void finish_error(struct walk *w, enum err_code code, const char *text)
{
	struct request *r = w->r;

	walk_end(w);
	local_failure(r, code, text);
}

static void finish_child_error(struct walk *w, const struct child_reply *rep)
{
	struct request *r = w->r;

	walk_end(w);
	reply_error(&r->b, rep->error, strlen(rep->error));
	r->b.store_error = err_of_text(rep->error, strlen(rep->error)) == ERR_REDIS;
	req_finish(r);
}

/* ---- reading SCAN's reply ---- */

struct batch {
	purser_bytes cursor;
	int64_t n;                    /* names behind p */
	const uint8_t *p, *end;
};

static int read_batch(const struct child_reply *rep, struct batch *b)
{
	int64_t two;

	b->p = rep->resp;
	b->end = rep->resp + rep->n;
	return resp_pick_header(&b->p, b->end, '*', &two) || two != 2 || resp_pick_bulk(&b->p, b->end, &b->cursor) ||
	    resp_pick_header(&b->p, b->end, '*', &b->n) || b->cursor.n >= sizeof ((struct walk *)0)->cursor_text ?
	    -1 : 0;
}

/* The next name that is the project's.  1: there is one, 0: no more, -1: nonsense. */
static int next_name(const struct walk *w, struct batch *b, purser_bytes *k)
{
	while (b->n-- > 0) {
		if (resp_pick_bulk(&b->p, b->end, k))
			return -1;
		if (w->ask.project->prefix_len || k->n < 4 || memcmp(k->p, "psr:", 4))
			return 1;
	}
	return 0;
}

/* ---- counting ---- */

static uint64_t hash_of(const struct walk *w, purser_bytes k)
{
	uint64_t h = w->seed ^ k.n;

	for (size_t i = 0; i < k.n; i++)
		h = (h ^ k.p[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return h | 1; /* 0 = an empty place */
}

static void insert(uint64_t *set, size_t cap, uint64_t h, size_t *n)
{
	size_t at = (size_t)(h >> 1) & (cap - 1);

	while (set[at] && set[at] != h)
		at = (at + 1) & (cap - 1);
	*n += set[at] == 0;
	set[at] = h;
}

static int grow(struct walk *w)
{
	size_t cap = w->set_cap ? w->set_cap * 2 : 1024, n = 0;
	uint64_t *set = calloc(cap, sizeof *set);

	if (!set)
		return -1;
	for (size_t i = 0; i < w->set_cap; i++)
		if (w->set[i])
			insert(set, cap, w->set[i], &n);
	free(w->set);
	w->set = set;
	w->set_cap = cap;
	return 0;
}

static int count(struct walk *w, struct batch *b)
{
	purser_bytes k;
	int rc;

	while ((rc = next_name(w, b, &k)) > 0) {
		if (w->set_n * 2 >= w->set_cap && grow(w))
			return -1;
		insert(w->set, w->set_cap, hash_of(w, k), &w->set_n);
	}
	return rc;
}

/* ---- the steps ---- */

static bool last(const struct batch *b)
{
	return b->cursor.n == 1 && b->cursor.p[0] == '0';
}

static void next(struct walk *w, const struct batch *b)
{
	memcpy(w->cursor_text, b->cursor.p, b->cursor.n);
	w->cursor = (purser_bytes){ (const uint8_t *)w->cursor_text, b->cursor.n };
	step(w);
}

static void rewind_walk(struct walk *w)
{
	w->cursor_text[0] = '0';
	w->cursor = (purser_bytes){ (const uint8_t *)w->cursor_text, 1 };
}

static void random_step(struct walk *w, struct batch *b)
{
	struct request *r = w->r;
	purser_bytes k = { NULL, 0 }, name;
	uint64_t n = 0;
	int rc;

	while ((rc = next_name(w, b, &name)) > 0)
		if (trace_random(r->cl->w->trace) % ++n == 0) /* the last one of n with 1/n: all alike */
			k = name;
	if (rc < 0) {
		finish_error(w, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	if (k.p) {
		reply_bulk(&r->b, k.p, k.n);
	} else if (!last(b)) {
		next(w, b);
		return;
	} else if (!w->wrapped) { /* it began in the middle: now from the beginning */
		w->wrapped = true;
		rewind_walk(w);
		step(w);
		return;
	} else {
		reply_null(&r->b);
	}
	walk_end(w);
	req_finish(r);
}

static void count_step(struct walk *w, struct batch *b)
{
	struct request *r = w->r;

	if (count(w, b)) {
		finish_error(w, ERR_OOM, NULL);
		return;
	}
	if (!last(b)) {
		next(w, b);
		return;
	}
	reply_integer(&r->b, (int64_t)w->set_n);
	walk_end(w);
	req_finish(r);
}

static void flush_next(struct walk *w)
{
	struct request *r = w->r;

	if (w->cursor.n != 1 || w->cursor_text[0] != '0') {
		step(w);
		return;
	}
	if (--w->databases) {
		w->ask.db++;
		step(w);
		return;
	}
	walk_end(w);
	local_ok(r);
}

static void unlinked(void *arg, const struct child_reply *rep)
{
	struct walk *w = arg;

	if (rep->err)
		finish_child_error(w, rep);
	else
		flush_next(w);
}

static void flush_step(struct walk *w, struct batch *b)
{
	static const uint8_t name[] = "UNLINK";
	purser_bytes *argv;

	memcpy(w->cursor_text, b->cursor.p, b->cursor.n);
	w->cursor.n = b->cursor.n;
	if (b->n <= 0) {
		flush_next(w);
		return;
	}
	argv = malloc(((size_t)b->n + 1) * sizeof *argv);
	if (!argv) {
		finish_error(w, ERR_OOM, NULL);
		return;
	}
	argv[0] = (purser_bytes){ name, sizeof name - 1 };
	for (int64_t i = 0; i < b->n; i++)
		if (resp_pick_bulk(&b->p, b->end, &argv[i + 1])) {
			free(argv);
			finish_error(w, ERR_BACKENDPROTOCOL, NULL);
			return;
		}
	w->ask.deadline_ns = loop_now(w->ask.w->loop) + w->r->cl->gen->instances[w->ask.instance]->operation_timeout_ns;
	child_ask(&w->ask, argv, (uint32_t)b->n + 1, unlinked, w);
	free(argv);
}

static void scanned(void *arg, const struct child_reply *rep)
{
	struct walk *w = arg;
	struct batch b;

	if (rep->err) {
		finish_child_error(w, rep);
		return;
	}
	if (read_batch(rep, &b)) {
		finish_error(w, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	w->seen += (uint64_t)b.n;
	if (w->r->cl->gone) {
		finish_error(w, ERR_BADREQUEST, "the client has gone");
	} else if (w->kind != WALK_FLUSH && w->seen > w->r->cl->gen->dbsize_limit) {
		finish_error(w, ERR_TOOBIG, "the project has more keys than dbsize_limit of [agent]: raise it, "
		    "or count with SCAN");
	} else if (w->kind == WALK_COUNT) {
		count_step(w, &b);
	} else if (w->kind == WALK_RANDOM) {
		random_step(w, &b);
	} else {
		flush_step(w, &b);
	}
}

static void step(struct walk *w)
{
	static const uint8_t scan[] = "SCAN", cnt[] = "COUNT", thousand[] = "1000";
	purser_bytes argv[4] = { { scan, 4 }, w->cursor, { cnt, 5 }, { thousand, 4 } };

	w->ask.deadline_ns = loop_now(w->ask.w->loop) +
	    w->r->cl->gen->instances[w->ask.instance]->operation_timeout_ns;
	child_ask(&w->ask, argv, 4, scanned, w);
}

/* ---- isolation = off: one command of the store ---- */

static void passed(void *arg, const struct child_reply *rep);

static void pass(struct walk *w)
{
	struct request *r = w->r;

	w->ask.deadline_ns = loop_now(w->ask.w->loop) + r->cl->gen->instances[w->ask.instance]->operation_timeout_ns;
	child_ask(&w->ask, r->argv, r->argc, passed, w);
}

/* What the store says is not all: of the agent's own keys nobody hears.  More of them than others: from here on
 * the names are walked. */
static bool again(struct walk *w, const struct child_reply *rep)
{
	const uint8_t *at = rep->resp, *end = at + rep->n;
	purser_bytes k;
	int64_t n;

	if (w->kind == WALK_COUNT) {
		if (resp_pick_header(&at, end, ':', &n) || n == 0 || (uint64_t)n > w->r->cl->gen->dbsize_limit)
			return false;
		step(w);
		return true;
	}
	if (w->kind != WALK_RANDOM || resp_pick_bulk(&at, end, &k) || k.n < 4 || memcmp(k.p, "psr:", 4))
		return false;
	if (++w->tries < 8)
		pass(w);
	else
		step(w);
	return true;
}

static void passed(void *arg, const struct child_reply *rep)
{
	struct walk *w = arg;
	struct request *r = w->r;

	if (rep->err) {
		finish_child_error(w, rep);
		return;
	}
	if (again(w, rep))
		return;
	walk_end(w);
	if (rep->n == 3 && rep->resp[0] == '_')
		reply_null(&r->b);
	else
		reply_raw(&r->b, rep->resp, rep->n);
	req_finish(r);
}

static void told(struct feature_worker *home, void *arg, uint64_t id)
{
	(void)home;
	(void)id;
	step(arg);
}

static void start(struct request *r, enum walk_kind kind, uint32_t databases)
{
	struct walk *w = calloc(1, sizeof *w);

	if (!w) {
		local_failure(r, ERR_OOM, NULL);
		return;
	}
	w->r = r;
	w->kind = kind;
	w->databases = databases;
	w->ask = (struct ask){ .w = r->cl->w, .gen = r->cl->gen, .project = r->project,
		.instance = r->project->instance, .db = databases > 1 ? 0 : r->cl->db };
	w->seed = trace_random(r->cl->w->trace);
	rewind_walk(w);
	if (!project_isolated(r->project)) {
		pass(w);
		return;
	}
	if (kind == WALK_RANDOM) {
		w->cursor.n = dec_u64(w->cursor_text, trace_random(r->cl->w->trace) >> 16);
		w->wrapped = w->cursor.n == 1 && w->cursor_text[0] == '0';
	}
	/* Also of keys that are not there yet somebody may have to hear. */
	if (kind == WALK_FLUSH && touch_flush(r->cl->w, r->project, w->ask.db, databases, told, w))
		return;
	step(w);
}

static void do_dbsize(struct request *r)
{
	start(r, WALK_COUNT, 1);
}

static void do_randomkey(struct request *r)
{
	start(r, WALK_RANDOM, 1);
}

static bool flush_options(struct request *r)
{
	if (r->argc == 1 || (r->argc == 2 && (word_is(word(r, 1), "ASYNC") || word_is(word(r, 1), "SYNC"))))
		return true;
	local_error(r, "ERR syntax error");
	return false;
}

static void do_flushdb(struct request *r)
{
	if (flush_options(r))
		start(r, WALK_FLUSH, 1);
}

static void do_flushall(struct request *r)
{
	if (flush_options(r))
		start(r, WALK_FLUSH, r->project->databases);
}

void local_space(req_handler *t)
{
	t[CMD_DBSIZE] = do_dbsize;
	t[CMD_RANDOMKEY] = do_randomkey;
	t[CMD_FLUSHDB] = do_flushdb;
	t[CMD_FLUSHALL] = do_flushall;
}
