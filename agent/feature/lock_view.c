/* SPDX-License-Identifier: Apache-2.0
 *
 * LOCK.INFO: one lock, from the store, and who waits for it here.  LOCK.LIST: what this agent's clients of the project
 * hold and wait for, from all workers.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include <purser/glob.h>
#include <purser/resp.h>
#include "feature/lock.h"
#include "resp/pick.h"

#define MS UINT64_C(1000000)

struct lock_row {                       /* the name, n bytes, comes behind it */
	bool waits;
	uint8_t kind, mode;
	uint32_t permits, of, pid, uid;
	uint64_t fence, client, age_ms, left_ms;
	char trace[33];
	uint32_t n;
};

static void row_add(struct lock_visit *v, const struct lock_name *n, const struct lock_grip *g, uint64_t now)
{
	const struct lock_claim *c = &g->c;
	bool held = c->state == LOCK_HELD;
	uint64_t since = held ? c->held_ns : c->asked_ns, until = held ? c->valid_ns : c->wait_until_ns;
	struct lock_row row = { .waits = !held, .kind = c->want.kind, .mode = c->want.mode, .permits = c->want.permits,
		.of = c->want.of, .pid = g->who.pid, .uid = g->who.uid, .fence = held ? c->fence : 0, .client = g->who.client,
		.age_ms = (now - since) / MS, .left_ms = until > now ? (until - now) / MS : 0, .n = (uint32_t)n->n };

	if (v->nrows >= LOCK_ROWS_MAX)
		return;
	memcpy(row.trace, g->who.trace, sizeof row.trace);
	buf_put(&v->rows, &row, sizeof row);
	buf_put(&v->rows, n->name, n->n);
	v->nrows++;
}

static void rows_of(struct lock_visit *v, const struct lock_name *n, bool holders)
{
	uint64_t now = loop_now(n->room->w->loop);

	if (holders)
		for (struct lock_claim *c = n->q.holding.head; c; c = c->next)
			row_add(v, n, (struct lock_grip *)c, now);
	for (struct lock_claim *c = n->q.waiting.head; c; c = c->next)
		row_add(v, n, (struct lock_grip *)c, now);
}

/* ---- replies ---- */
static void text_field(struct bcall *b, const char *name, const char *text)
{
	reply_text(b, name);
	reply_text(b, text);
}

static void number_field(struct bcall *b, const char *name, int64_t v)
{
	reply_text(b, name);
	reply_integer(b, v);
}

/* A number of who asked; null: nobody knows. */
static void known_field(struct bcall *b, const char *name, int64_t v)
{
	reply_text(b, name);
	if (v < 0)
		reply_null(b);
	else
		reply_integer(b, v);
}

static const char *kind_of(const struct lock_row *r)
{
	return r->kind == LOCK_WRITE ? "write" : r->kind == LOCK_READ ? "read" : "permits";
}

static int64_t or_unknown(uint32_t v) { return v == UINT32_MAX ? -1 : (int64_t)v; }

static void row_reply(struct bcall *b, const struct lock_row *r, purser_bytes name, bool named)
{
	reply_map(b, named ? 13 : 8);
	if (named) {
		reply_text(b, "name");
		reply_bulk(b, name.p, name.n);
		text_field(b, "state", r->waits ? "waiting" : "held");
		reply_text(b, "fence");
		if (r->waits)
			reply_null(b);
		else
			reply_integer(b, (int64_t)r->fence);
		number_field(b, "of", r->of);
		text_field(b, "mode", r->mode == LOCK_LEASE ? "lease" : "session");
	}
	text_field(b, "kind", kind_of(r));
	number_field(b, "permits", r->permits);
	number_field(b, "age_ms", (int64_t)r->age_ms);
	number_field(b, "left_ms", (int64_t)r->left_ms);
	known_field(b, "pid", or_unknown(r->pid));
	known_field(b, "uid", or_unknown(r->uid));
	number_field(b, "client", (int64_t)r->client);
	text_field(b, "trace_id", r->trace);
}

static void rows_reply(struct bcall *b, struct lock_visit *v, bool named)
{
	const uint8_t *at = buf_data(&v->rows);
	struct lock_row row;

	reply_array(b, v->nrows);
	for (uint32_t i = 0; i < v->nrows; i++) {
		memcpy(&row, at, sizeof row);
		at += sizeof row;
		row_reply(b, &row, (purser_bytes){ at, row.n }, named);
		at += row.n;
	}
}

/* ---- LOCK.LIST ---- */
static void list_there(struct lock_visit *v, struct lock_room *room)
{
	for (struct names_node *at = names_each(&room->names, NULL); at; at = names_each(&room->names, at)) {
		const struct lock_name *n = (const struct lock_name *)at;

		if (n->place.ns == v->f->project->ns && n->place.db == v->f->db &&
		    (!v->name.p || purser_glob(v->name.p, v->name.n, n->name, n->n)))
			rows_of(v, n, true);
	}
}

static void list_back(struct lock_visit *v)
{
	struct feature_call *f = v->f;

	if (++v->at < f->w->n && !v->rows.failed) {
		lock_visit(v);
		return;
	}
	if (v->rows.failed) {
		buf_free(&v->rows);
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	rows_reply(f->b, v, true);
	buf_free(&v->rows);
	feature_end(f);
}

static struct lock_visit *visit_new(struct feature_call *f)
{
	struct lock_visit *v = arena_get(f->arena, sizeof *v);

	if (!v) {
		feature_fail(f, ERR_OOM, NULL);
		return NULL;
	}
	*v = (struct lock_visit){ .f = f, .home = f->w };
	return v;
}

void lock_list(struct feature_call *f)
{
	struct lock_visit *v;

	if (f->argc > 2) {
		feature_syntax(f, "LOCK.LIST [pattern]");
		return;
	}
	v = visit_new(f);
	if (!v)
		return;
	if (f->argc == 2)
		v->name = f->argv[1];
	v->there = list_there;
	v->back = list_back;
	lock_visit(v);
}

/* ---- LOCK.INFO ---- */
struct info_call {
	struct lock_visit *v;
	purser_bytes reply;             /* the script's */
};

static void info_there(struct lock_visit *v, struct lock_room *room)
{
	struct lock_name *n = lock_find(room, v->f->project->ns, v->f->db, v->name);

	if (n)
		rows_of(v, n, false);
}

struct holder { int64_t permits, left, age; purser_bytes fence, info; };

static int holder_pick(const uint8_t **at, const uint8_t *end, struct holder *h)
{
	purser_bytes owner;
	int64_t n;

	return resp_pick_header(at, end, '*', &n) || n != 6 || resp_pick_bulk(at, end, &owner) ||
	    resp_pick_bulk(at, end, &h->fence) || resp_pick_header(at, end, ':', &h->permits) ||
	    resp_pick_header(at, end, ':', &h->left) || resp_pick_header(at, end, ':', &h->age) ||
	    resp_pick_bulk(at, end, &h->info);
}

/* The next word of what op_try() put into the store. */
static purser_bytes word(purser_bytes *text)
{
	const uint8_t *sp = text->n ? memchr(text->p, ' ', text->n) : NULL;
	purser_bytes w = { text->p, sp ? (size_t)(sp - text->p) : text->n };

	text->p += sp ? w.n + 1 : w.n;
	text->n -= sp ? w.n + 1 : w.n;
	return w;
}

static int64_t number_of(purser_bytes w)
{
	int64_t v;

	return purser_resp_int(w.p, w.n, &v) ? -1 : v;
}

static void holder_reply(struct bcall *b, const struct holder *h)
{
	static const char *const names[] = { "trace_id", "mode", "host" };
	purser_bytes info = h->info;

	reply_map(b, 10);
	number_field(b, "fence", number_of(h->fence));
	number_field(b, "permits", h->permits);
	number_field(b, "age_ms", h->age);
	number_field(b, "left_ms", h->left > 0 ? h->left : 0);
	known_field(b, "pid", number_of(word(&info)));
	known_field(b, "uid", number_of(word(&info)));
	number_field(b, "client", number_of(word(&info)));
	for (unsigned i = 0; i < 3; i++) {
		purser_bytes w = word(&info);

		reply_text(b, names[i]);
		reply_bulk(b, w.p, w.n);
	}
}

static void info_back(struct lock_visit *v)
{
	struct feature_call *f = v->f;
	struct info_call *s = f->state;
	const uint8_t *at = s->reply.p, *end = at + s->reply.n, *from;
	purser_bytes kind, last, least;
	int64_t n, of = 1;
	struct holder h;
	bool bad = v->rows.failed || resp_pick_header(&at, end, '*', &n) || n < 3 || resp_pick_bulk(&at, end, &kind) ||
	    resp_pick_bulk(&at, end, &last) || resp_pick_bulk(&at, end, &least);

	from = at;
	for (int64_t i = 3; !bad && i < n; i++)
		bad = holder_pick(&at, end, &h);
	if (bad) {
		buf_free(&v->rows);
		feature_fail(f, v->rows.failed ? ERR_OOM : ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	reply_map(f->b, 6);
	reply_text(f->b, "name");
	reply_bulk(f->b, f->argv[1].p, f->argv[1].n);
	reply_text(f->b, "kind");
	if (kind.n && *kind.p >= '0' && *kind.p <= '9') {
		of = number_of(kind);
		reply_text(f->b, "permits");
	} else {
		reply_bulk(f->b, kind.p, kind.n);
	}
	number_field(f->b, "of", of);
	number_field(f->b, "last_fence", number_of(last));
	reply_text(f->b, "holders");
	reply_array(f->b, (size_t)(n - 3));
	for (int64_t i = 3; i < n; i++)
		if (!holder_pick(&from, end, &h))
			holder_reply(f->b, &h);
	reply_text(f->b, "waiters");
	rows_reply(f->b, v, false);
	buf_free(&v->rows);
	feature_end(f);
}

static void info_said(void *arg, const struct feature_reply *rep)
{
	struct info_call *s = arg;
	struct feature_call *f = s->v->f;
	uint8_t *copy = rep->err ? NULL : arena_get(f->arena, rep->n);

	if (rep->err) {
		feature_pass_error(f, rep);
		return;
	}
	if (!copy) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	memcpy(copy, rep->resp, rep->n);
	s->reply = (purser_bytes){ copy, rep->n };
	lock_visit(s->v);
}

void lock_info(struct feature_call *f)
{
	struct info_call *s = arena_get(f->arena, sizeof *s);
	purser_bytes *keys = arena_get(f->arena, 2 * sizeof *keys), name = f->argv[1];
	struct lock_visit *v;

	if (name.n < 1 || name.n > LOCK_NAME_MAX) {
		feature_fail(f, ERR_BADREQUEST, "the name of a lock has 1 to 512 bytes");
		return;
	}
	v = visit_new(f);
	if (!v)
		return;
	if (keys) {
		keys[0] = feature_name(f->arena, f->project->name, "lock", name);
		keys[1] = feature_name(f->arena, f->project->name, "fence", name);
	}
	if (!s || !keys || !keys[0].p || !keys[1].p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	s->v = v;
	f->state = s;
	v->name = name;
	v->at = feature_owner(f->w, f->project->ns, f->db, "lock", name);
	v->there = info_there;
	v->back = info_back;
	feature_script(f, LUA_LOCK_INFO, keys, 2, NULL, 0, info_said, s);
}
