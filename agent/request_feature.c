/* SPDX-License-Identifier: Apache-2.0
 *
 * What feature/feature.h promises: a feature's call is a client's request, its steps are child requests.
 */
#include <config.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "feature/feature.h"
#include "request_feature.h"
#include "request_push.h"
#include "request_stage.h"

struct feature_run {
	struct feature_call f;          /* first */
	struct request *r;
	uint32_t steps;                 /* under way */
	bool beside;
	bool ended;
};

struct step {
	struct feature_run *run;        /* NULL: nobody's call */
	feature_fn fn;
	void *arg;
};

static struct feature_run *run_of(struct feature_call *f)
{
	return (struct feature_run *)f;
}

/* ---- begin and end ---- */

/* As lookup_recent() of request.c, for the names of features. */
const struct command *feature_lookup(struct worker *w, const struct request *r)
{
	purser_bytes name = r->argv[0];
	struct recent_long *e;
	uint64_t tail;

	if (name.n < 9 || name.n > sizeof e->name)
		return NULL;
	memcpy(&tail, name.p + name.n - 8, 8);
	e = &w->recent_long[(tail * UINT64_C(0x9e3779b97f4a7c15)) >> 60];
	if (e->length != name.n || memcmp(e->name, name.p, name.n)) {
		const struct command *c = cmd_by_name(w->commands, (const char *)name.p, name.n);

		/* A reload may take those away; and what PURSER.TRACE wraps is to be looked up yet. */
		if (!c || (c->flags & F_CONTAINER) || c->id > CMD_COUNT || c->id == CMD_PURSER_TRACE)
			return NULL;
		e->length = (uint8_t)name.n;
		memcpy(e->name, name.p, name.n);
		e->cmd = c;
	}
	return cmd_arity_ok(e->cmd, r->argc) ? e->cmd : NULL;
}

static void fill(struct feature_run *n)
{
	struct request *r = n->r;
	struct client *c = r->cl;
	struct feature_call *f = &n->f;

	f->w = &c->w->feature;
	f->cmd = r->cmd;
	f->argv = r->argv;
	f->argc = r->argc;
	f->db = c->db;
	f->resp = r->sink ? 3 : c->resp;
	f->http = r->sink && !c->streams;
	f->project = r->project;
	f->instance = r->project->instance;
	f->client = c->session.id;
	f->id = &c->id;
	f->client_name = c->name;
	f->trace = &r->trace;
	f->start_ns = r->start_ns;
	f->deadline_ns = r->start_ns + c->w->ctx[f->instance]->inst->operation_timeout_ns;
	f->arena = &r->arena;
	f->b = &r->b;
}

/* Alone: the commands of a client run in the order in which it sent them.  Those that only read at first may be under way
 * beside each other. */
static bool may_begin(struct request *r)
{
	struct client *c = r->cl;
	struct purser_session *s = &c->session;

	if (!(r->cmd->flags & F_BESIDE))
		return c->head == r && !s->inflight;
	return !s->inflight || s->route == ROUTE_BESIDE;
}

enum stage_result feature_begin(struct request *r)
{
	struct client *c = r->cl;
	const struct purser_ctx *x = c->w->ctx[r->project->instance];
	struct feature_run *n;

	if ((x->p->caps & r->cmd->cap) != r->cmd->cap)
		return req_refuse(r, ERR_UNSUPPORTED, NULL);
	if (!may_begin(r))
		return STAGE_HOLD;
	n = arena_get(&r->arena, sizeof *n);
	if (!n || req_pin(r))
		return req_refuse(r, ERR_OOM, NULL);
	memset(n, 0, sizeof *n);
	n->r = r;
	r->feature = n;
	n->beside = r->cmd->flags & F_BESIDE;
	if (n->beside) {
		c->session.inflight++;
		c->session.instance = x->inst;
		c->session.route = ROUTE_BESIDE;
	} else {
		c->alone = r;
	}
	fill(n);
	c->w->features[r->cmd->id](&n->f);
	return STAGE_DONE;
}

/* Its steps are over: nothing points into the request any more. */
static void let_go(struct request *r)
{
	req_release(&r->b);
}

void feature_end(struct feature_call *f)
{
	struct feature_run *n = run_of(f);
	struct request *r = n->r;
	struct purser_session *s = &r->cl->session;

	n->ended = true;
	n->r->waits = false;
	if (n->steps) {         /* they have words and memory of it */
		r->released = false;
		if (!n->beside)
			s->inflight++;
		s->route = ROUTE_BESIDE;
	} else if (n->beside) {
		s->inflight--;
	}
	req_finish(r);
}

bool feature_may(const struct feature_call *f, enum cmd_id cmd, const purser_bytes *argv, uint32_t argc)
{
	return client_may(((const struct feature_run *)f)->r->cl, &cmd_rows[cmd], argv, argc);
}

/* ---- steps ---- */

static void stepped(void *arg, const struct child_reply *rep)
{
	struct step *s = arg;
	struct feature_run *n = s->run;
	struct feature_reply out = { .err = rep->err, .error = rep->error, .resp = rep->resp, .n = rep->n, .unsure = rep->unsure };
	struct request *r = n->r;

	n->steps--;
	if (!n->ended) {
		s->fn(s->arg, &out);
		return;
	}
	if (!n->steps)
		let_go(r);
}

static void oom(feature_fn fn, void *arg)
{
	fn(arg, &(struct feature_reply){ .err = ERR_OOM, .error = "OOM out of memory" });
}

static void ask_for(const struct feature_run *n, struct ask *a)
{
	const struct feature_call *f = &n->f;

	*a = (struct ask){ .w = n->r->cl->w, .gen = n->r->cl->gen, .project = f->project, .instance = f->instance, .db = f->db,
		.deadline_ns = f->deadline_ns, .keeps_leases = f->keeps_leases, .physical = true, .borrowed = true };
}

static struct step *new_step(struct feature_run *n, feature_fn fn, void *arg)
{
	struct step *s = arena_get(n->f.arena, sizeof *s);

	if (s)
		*s = (struct step){ n, fn, arg };
	n->steps += s != NULL;
	return s;
}

void feature_ask(struct feature_call *f, enum cmd_id cmd, const purser_bytes *argv, uint32_t argc, feature_fn fn, void *arg)
{
	struct step *s = new_step(run_of(f), fn, arg);
	struct ask a;

	ask_for(run_of(f), &a);
	a.cmd = &cmd_rows[cmd];
	batches_send(a.w);
	if (s)
		child_ask(&a, argv, argc, stepped, s);
	else
		oom(fn, arg);
}

void feature_script(struct feature_call *f, unsigned script, const purser_bytes *keys, uint32_t nkeys,
    const purser_bytes *args, uint32_t nargs, feature_fn fn, void *arg)
{
	struct step *s = new_step(run_of(f), fn, arg);
	struct ask a;

	ask_for(run_of(f), &a);
	a.cmd = &cmd_rows[CMD_EVALSHA];
	a.writes = f->cmd->flags & (F_WRITE | F_MAYWRITE);
	if (s)
		script_ask(&a, script, keys, nkeys, args, nargs, f->arena, stepped, s);
	else
		oom(fn, arg);
}

/* ---- nobody's call ---- */

struct lone {                           /* a step of nobody's: freed when it was answered */
	purser_job job;
	feature_fn fn;
	void *arg;
};

const struct project *feature_place_project(struct feature_worker *fw, const struct feature_place *p)
{
	struct generation *g = fw->w->gen;
	const struct project *at = g ? project_find(&g->projects, p->project, strlen(p->project)) : NULL;

	if (!at || at->ns != p->ns || p->db >= at->databases || !fw->w->ctx[at->instance] ||
	    strcmp(g->instances[at->instance]->name, p->instance))
		return NULL;
	return at;
}

void feature_each_project(struct feature_worker *fw,
    void (*fn)(void *arg, const struct project *p, const struct feature_place *at), void *arg)
{
	const struct generation *g = fw->w->gen;

	for (uint32_t i = 0; g && i < g->projects.n; i++) {
		const struct project *p = &g->projects.v[i];
		struct feature_place at = { .ns = p->ns };

		snprintf(at.project, sizeof at.project, "%s", p->name);
		snprintf(at.instance, sizeof at.instance, "%s", g->instances[p->instance]->name);
		fn(arg, p, &at);
	}
}

uint64_t feature_place_timeout(struct feature_worker *w, const struct feature_place *p)
{
	const struct project *at = feature_place_project(w, p);

	return at ? w->w->ctx[at->instance]->inst->operation_timeout_ns : 0;
}

struct purser_instance *feature_instance(struct feature_worker *w, uint32_t instance)
{
	return w->w->ctx[instance] ? w->w->ctx[instance]->inst : NULL;
}

static void lone_answered(void *arg, const struct child_reply *rep)
{
	struct lone *l = arg;
	struct feature_reply out = { .err = rep->err, .error = rep->error, .resp = rep->resp, .n = rep->n, .unsure = rep->unsure };

	l->fn(l->arg, &out);
	free(l);
}

static void lone_lost(void *arg)
{
	lone_answered(arg, &(struct child_reply){ .err = ERR_BACKENDDOWN,
	    .error = "BACKENDDOWN the project has gone, or is on another backend now" });
}

/* False: fn is told. */
static bool place_ask(struct feature_worker *fw, const struct feature_place *p, uint64_t timeout_ns, struct ask *a,
    struct lone **l, feature_fn fn, void *arg)
{
	const struct project *at = feature_place_project(fw, p);

	*l = malloc(sizeof **l);
	if (!*l) {
		oom(fn, arg);
		return false;
	}
	**l = (struct lone){ .fn = fn, .arg = arg };
	*a = (struct ask){ .w = fw->w, .gen = fw->w->gen, .project = at, .db = p->db, .internal = true, .physical = true,
		.keeps_leases = p->keeps_leases,
		.deadline_ns = loop_now(fw->loop) + timeout_ns };
	if (at) {
		a->instance = at->instance;
		return true;
	}
	(*l)->job.fn = lone_lost;
	(*l)->job.arg = *l;
	loop_post(fw->loop, &(*l)->job); /* never before the caller goes on */
	return false;
}

void feature_place_ask(struct feature_worker *w, const struct feature_place *p, uint64_t timeout_ns, enum cmd_id cmd,
    const purser_bytes *argv, uint32_t argc, feature_fn fn, void *arg)
{
	struct lone *l;
	struct ask a;

	if (!place_ask(w, p, timeout_ns, &a, &l, fn, arg))
		return;
	a.cmd = &cmd_rows[cmd];
	batches_send(a.w);
	child_ask(&a, argv, argc, lone_answered, l);
}

void feature_place_script(struct feature_worker *w, const struct feature_place *p, uint64_t timeout_ns, unsigned script,
    const purser_bytes *keys, uint32_t nkeys, const purser_bytes *args, uint32_t nargs, feature_fn fn, void *arg)
{
	struct arena arena;
	uint64_t mem[64];
	struct lone *l;
	struct ask a;

	if (!place_ask(w, p, timeout_ns, &a, &l, fn, arg))
		return;
	arena_begin(&arena, mem, sizeof mem);
	a.cmd = &cmd_rows[CMD_EVALSHA];
	a.writes = true;
	script_ask(&a, script, keys, nkeys, args, nargs, &arena, lone_answered, l);
	arena_end(&arena);
}

void feature_place_of(const struct feature_call *f, struct feature_place *p)
{
	const struct request *r = ((const struct feature_run *)f)->r;

	_Static_assert(sizeof p->project == sizeof f->project->name, "a name is copied whole");
	_Static_assert(sizeof p->instance == sizeof r->cl->gen->instances[0]->name, "a name is copied whole");
	memset(p, 0, sizeof *p);
	memcpy(p->project, f->project->name, sizeof p->project);
	memcpy(p->instance, r->cl->gen->instances[f->instance]->name, sizeof p->instance);
	p->ns = f->project->ns;
	p->db = f->db;
}

/* ---- errors ---- */

void feature_pass_error(struct feature_call *f, const struct feature_reply *rep)
{
	char text[BCALL_ERROR_MAX];
	size_t n = strlen(rep->error);

	n = n < sizeof text ? n : sizeof text - 1;
	memcpy(text, rep->error, n);
	n = isolate_text(f->project, text, n);
	reply_error(f->b, text, n);
	f->b->store_error = err_of_text(rep->error, strlen(rep->error)) == ERR_REDIS;
	feature_end(f);
}

/* ---- waiting ---- */

static const char unblocked[] = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
static const char draining[] = "UNBLOCKED the agent is shutting down: connect again and repeat the command";

static void stop(struct feature_run *n, enum feature_stop why)
{
	n->r->waits = false;
	n->f.stop(&n->f, why);
}

void feature_wait(struct feature_call *f, void (*fn)(struct feature_call *f, enum feature_stop why))
{
	struct feature_run *n = run_of(f);

	f->stop = fn;
	n->r->waits = true;
	if (f->gone)
		stop(n, FEATURE_GONE);
	else if (n->r->cl->w->draining)
		stop(n, FEATURE_ERROR);
}

void feature_resume(struct feature_call *f)
{
	struct feature_run *n = run_of(f);
	struct worker *w = n->r->cl->w;

	n->r->waits = false;
	if (w->ctx[f->instance])
		f->deadline_ns = loop_now(w->loop) + w->ctx[f->instance]->inst->operation_timeout_ns;
}

void feature_unblocked(struct feature_call *f)
{
	if (run_of(f)->r->cl->w->draining)
		reply_error(f->b, draining, sizeof draining - 1);
	else
		reply_error(f->b, unblocked, sizeof unblocked - 1);
	f->b->store_error = false;
	feature_end(f);
}

bool feature_unblock(struct request *r, bool error)
{
	struct feature_run *n = r->feature;

	if (!r->waits)
		return false;
	stop(n, error ? FEATURE_ERROR : FEATURE_TIMEOUT);
	return true;
}

/* Nobody waits for the store: so it can be of the next generation. */
bool feature_movable(const struct request *r)
{
	return r->waits && !r->feature->steps;
}

void feature_moved(struct request *r)
{
	r->feature->f.project = r->project;
	r->feature->f.instance = r->project->instance;
}

void feature_gone(struct request *r)
{
	struct feature_run *n = r->feature;

	if (n->f.gone)
		return;
	n->f.gone = true;
	if (n->r->waits)
		stop(n, FEATURE_GONE);
}

/* ---- bonds ---- */

bool feature_bind(struct feature_call *f, struct feature_bond *b)
{
	struct client *c = run_of(f)->r->cl;

	if (c->gone)
		return false;
	b->cl = c;
	b->w = f->w;
	b->http = f->http;
	b->at = &c->bonds;
	b->next = c->bonds;
	if (b->next)
		b->next->at = &b->next;
	c->bonds = b;
	return true;
}

void feature_unbind(struct feature_bond *b)
{
	if (!b->at)
		return;
	*b->at = b->next;
	if (b->next)
		b->next->at = b->at;
	b->at = NULL;
	b->next = NULL;
}

void client_unbind(struct client *c)
{
	struct feature_bond *b;

	while ((b = c->bonds)) {
		feature_unbind(b);
		b->gone(b);
	}
}

/* ---- what a client is told unasked ---- */

struct unsaid {
	struct unsaid *next;
	enum err_code code;
	char text[];
};

/* Who hears no pushes is told by the answer of its next command: it has no permission until then, so every command comes
 * by req_decide(). */
static void say_next(struct client *c, enum err_code code, const char *text)
{
	size_t n = strlen(text) + 1;
	struct unsaid *u = malloc(sizeof *u + n), **at = &c->unsaid;

	if (!u) { /* it must not go on as if nothing had happened */
		c->cut = true;
		c->wake(c);
		return;
	}
	u->next = NULL;
	u->code = code;
	memcpy(u->text, text, n);
	while (*at)
		at = &(*at)->next;
	*at = u;
	c->perms = 0;
}

enum stage_result unsaid_say(struct request *r)
{
	struct client *c = r->cl;
	struct unsaid *u = c->unsaid;

	c->unsaid = u->next;
	if (!c->unsaid)
		client_settle(c);
	req_refuse(r, u->code, u->text);
	free(u);
	return STAGE_DONE;
}

void unsaid_forget(struct client *c)
{
	struct unsaid *u;

	while ((u = c->unsaid)) {
		c->unsaid = u->next;
		free(u);
	}
}

static size_t head_of(char *dst, char type, uint64_t n)
{
	size_t len;

	dst[0] = type;
	len = 1 + dec_u64(dst + 1, n);
	memcpy(dst + len, "\r\n", 2);
	return len + 2;
}

static void put_word(struct out *o, struct client *c, purser_bytes w)
{
	char head[24];

	if (out_put(o, &c->w->pool, head, head_of(head, '$', w.n)) || (w.n && out_put(o, &c->w->pool, w.p, w.n)) ||
	    out_put(o, &c->w->pool, "\r\n", 2))
		c->cut = true;
}

void feature_push(struct feature_bond *b, const char *kind, const purser_bytes *words, uint32_t n, enum err_code code,
    const char *text)
{
	struct client *c = b->cl;
	purser_bytes first = { (const uint8_t *)kind, strlen(kind) };
	size_t total = 24 * ((size_t)n + 2) + first.n;
	struct out *o;
	char head[24];

	if (c->gone || b->http)
		return;
	if (c->resp != 3) {
		if (code != ERR_NONE)
			say_next(c, code, text);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		total += words[i].n;
	if (!client_outband(c)) {
		c->cut = true;
		c->wake(c);
		return;
	}
	if (!push_begin(c, total, &o))
		return;
	if (out_put(o, &c->w->pool, head, head_of(head, '>', (uint64_t)n + 1)))
		c->cut = true;
	put_word(o, c, first);
	for (uint32_t i = 0; i < n; i++)
		put_word(o, c, words[i]);
	push_end(c);
}

/* ---- the worker that owns a name ---- */

uint32_t feature_owner(const struct feature_worker *w, uint32_t ns, uint16_t db, const char *kind, purser_bytes name)
{
	uint64_t tag = (uint64_t)ns << 32 | (uint64_t)db << 16 | (uint8_t)kind[0] << 8 | (uint8_t)kind[1];

	return (uint32_t)((names_hash(tag, name.p, name.n) >> 32) % w->n);
}

static void arrive(void *arg)
{
	struct feature_mail *m = arg;

	m->fn(m);
}

void feature_post(struct feature_worker *from, uint32_t to, struct feature_mail *m, void (*fn)(struct feature_mail *m))
{
	struct worker *w = from->n > 1 ? from->w->peers[to] : from->w;

	m->to = &w->feature;
	m->fn = fn;
	m->job.fn = arrive;
	m->job.arg = m;
	loop_post(w->loop, &m->job);
}

/* ---- workers ---- */

int worker_begin_features(struct worker *w)
{
	struct feature_worker *f = &w->feature;

	*f = (struct feature_worker){ .w = w, .index = w->index, .n = w->npeers ? w->npeers : 1, .loop = w->loop, .log = w->log,
		.metrics = w->metrics, .trace = w->trace, .agent = w->agent, .touch = w->touch };
	for (unsigned i = 0; i < ROOM_COUNT; i++)
		if (feature_rooms[i].start && feature_rooms[i].start(f))
			return -1;
	return 0;
}

void worker_quit_features(struct worker *w)
{
	for (unsigned i = 0; i < ROOM_COUNT; i++)
		if (feature_rooms[i].quit)
			feature_rooms[i].quit(&w->feature);
}

void worker_reload_features(struct worker *w)
{
	for (unsigned i = 0; i < ROOM_COUNT; i++)
		if (feature_rooms[i].reloaded)
			feature_rooms[i].reloaded(&w->feature);
}

void worker_end_features(struct worker *w)
{
	for (unsigned i = 0; i < ROOM_COUNT; i++)
		if (feature_rooms[i].stop && w->feature.w)
			feature_rooms[i].stop(&w->feature);
}
