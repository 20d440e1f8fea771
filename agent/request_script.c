/* SPDX-License-Identifier: Apache-2.0
 *
 * Scripts: whether a project may, how they are kept inside it, and the healing of NOSCRIPT: the agent remembers
 * the bodies that its clients loaded, and sends EVAL where the server knows the SHA1 of an EVALSHA no longer.
 *
 * With scripts = isolated a store that confines scripts itself is told the prefix (purser_call.space).  On one that
 * does not, a script runs on a connection of the project's own user (request_confine.h), behind a prelude
 * (access/prelude.h): the store has it by another SHA1, and where that is known to be loaded EVAL goes as EVALSHA.
 *
 * That must not change the order of a client's commands.  As long as a script is not known to be loaded at the
 * other end of the present connections, its EVALSHA runs alone: the client's later commands wait for it.
 * Where NOSCRIPT comes all the same and later commands were sent already, it is kept (request_retry.c) until they have
 * ended: if none of them has run, all are sent again in order, else it is the client's to see.  Behind an EVAL that
 * went as EVALSHA only such ones are sent, which the store has lost too.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "request_confine.h"
#include "request_stage.h"

struct script_run {
	purser_job job;
	struct request *r;
	uint8_t sha[SCRIPT_SHA];        /* the client's */
	uint8_t physical[SCRIPT_SHA];   /* the store's, where wrapped; else the same */
	purser_bytes text;              /* wrapped: the client's body, in the arena */
	bool wrapped;                   /* it goes behind its prelude */
	bool named;                     /* as EVALSHA, now */
	bool by_sha;                    /* ... though the client may have sent EVAL: counted in client.by_sha */
	bool unknown;                   /* it goes out for the server's NOSCRIPT alone */
	bool added;                     /* the prefix is the last of its words */
	bool sha_given;                 /* EVALSHA; else the body is in the request */
	bool alone;                     /* nothing later was sent: it can be healed */
	bool healing;
	bool mute;                      /* nobody reads the reply (CLIENT REPLY) */
	bool loads;                     /* SCRIPT LOAD: a filter of ours says what the reply is */
	struct reply_filter *then;      /* ... and this was there before */
	struct script *body;            /* one reference, or NULL */
	void (*error_to)(struct bcall *b, enum err_code code, const char *text, size_t n);
};

/* ---- what this worker knows to be loaded ---- */

static struct known_script *slot(struct worker *w, const uint8_t *sha)
{
	return &w->known[sha[0] % KNOWN_SCRIPTS];
}

static bool known(struct worker *w, const struct purser_ctx *x, const uint8_t *sha)
{
	const struct known_script *k = slot(w, sha);

	return k->ctx == x && k->links == x->links_made && k->epoch == scripts_epoch(w->scripts) &&
	    memcmp(k->sha, sha, SCRIPT_SHA) == 0;
}

static void know(struct worker *w, const struct purser_ctx *x, const uint8_t *sha)
{
	struct known_script *k = slot(w, sha);

	k->ctx = x;
	k->links = x->links_made;
	k->epoch = scripts_epoch(w->scripts);
	memcpy(k->sha, sha, SCRIPT_SHA);
}

/* ---- replies ---- */

/* It is loaded there. */
static void remember(struct request *r)
{
	struct script_run *s = r->script;
	struct worker *w = r->cl->w;

	if (!s->sha_given) {
		purser_bytes body = s->wrapped ? s->text : r->argv[r->cmd->id == CMD_SCRIPT_LOAD ? 2 : 1];

		if (!s->wrapped)
			script_sha(body, s->sha);
		scripts_put(w->scripts, r->project->ns, s->sha, body);
	}
	know(w, r->b.c.ctx, s->wrapped ? s->physical : s->sha);
}

static const char no_script[] = "NOSCRIPT No matching script";

/* What a script itself answers with, or fails with while it runs. */
static bool has_run(const char *text, size_t n)
{
	static const char *const before[] = { "ERR Error compiling script", "ERR Number of keys", "ERR value is not an integer",
		"ERR wrong number of arguments",
		"ERR Unexpected flag in script shebang", "ERR Unexpected engine in script shebang", "ERR Invalid script shebang",
		"ERR Unknown lua shebang option", "NOSCRIPT", "NOPERM", "OOM", "LOADING", "BUSY", "READONLY", "MISCONF" };

	if (memmem(text, n, " script: ", 9))
		return true;
	for (unsigned i = 0; i < sizeof before / sizeof *before; i++)
		if (n >= strlen(before[i]) && !memcmp(text, before[i], strlen(before[i])))
			return false;
	return true;
}

static void count_by_sha(struct request *r, bool on)
{
	if (on != r->script->by_sha)
		r->cl->by_sha += on ? 1u : UINT32_MAX;
	r->script->by_sha = on;
}

bool script_follows(const struct request *r)
{
	return !r->cl->by_sha || (r->script && r->script->by_sha);
}

static void script_done(struct bcall *b)
{
	struct request *r = (struct request *)b;
	struct script_run *s = r->script;

	if (s->healing)
		return; /* it comes again */
	count_by_sha(r, false);
	if (!b->err && !b->broken && !b->executed)
		remember(r);
	b->discard |= s->mute;
	req_done(b);
}

static void say_error(struct request *r, enum err_code code, const char *text, size_t n)
{
	struct script_run *s = r->script;

	if (s->loads)
		r->b.filter = s->then;
	if (s->error_to) {
		s->error_to(&r->b, code, text, n);
		return;
	}
	reply_error_line(&r->b, text, n);
}

/* Was anything of the client sent behind r? */
static bool last_sent(const struct request *r)
{
	for (const struct request *q = r->next; q; q = q->next)
		if (q != r->cl->held && (!q->local || q->cmd->run == RUN_SPACE))
			return false;
	return true;
}

/* The store does not know the script by its SHA1, and nothing has run. */
static bool forgotten(const struct request *r, const char *text, size_t n)
{
	return r->script->named && n >= sizeof no_script - 1 && !memcmp(text, no_script, sizeof no_script - 1);
}

/* ... and it can be sent with its body: what the client has sent, or the agent has kept. */
static bool has_body(struct request *r)
{
	struct script_run *s = r->script;

	slot(r->cl->w, s->wrapped ? s->physical : s->sha)->ctx = NULL;
	if (!s->body)
		s->body = scripts_get(r->cl->w->scripts, r->project->ns, s->sha);
	return !s->unknown && (s->body || s->text.p);
}

static bool heals_at_once(const struct request *r)
{
	const struct client *c = r->cl;

	return !r->given_up && !c->retry.parked && (r->script->alone || last_sent(r)) && (!c->alone || c->alone == r);
}

static bool by_user(const struct request *r, const struct call_failure *f)
{
	return r->b.c.cred && f->err == ERR_BACKENDAUTH && f->executed == PURSER_NOT_EXECUTED;
}

bool script_lost(struct request *r, const struct call_failure *f)
{
	if (f->store)
		return r->script && r->b.done == script_done && forgotten(r, f->text, f->n) && has_body(r) && !heals_at_once(r);
	if (!by_user(r, f))
		return false;
	script_refused(r);
	return true;
}

static void script_error(struct bcall *b, enum err_code code, const char *text, size_t n)
{
	struct request *r = (struct request *)b;
	struct script_run *s = r->script;

	if (b->store_error && forgotten(r, text, n)) {
		if (has_body(r) && heals_at_once(r)) {
			s->healing = true;
			r->cl->alone = r;
			return;
		}
		if (s->wrapped && !s->sha_given) {
			text = "NOSCRIPT the store has just lost its scripts, and nothing was executed: send it again";
			n = strlen(text);
		}
	}
	if (code == ERR_BACKENDAUTH)
		script_refused(r);
	if (b->store_error && r->project->scripts == SCRIPTS_ISOLATED && r->cmd->id != CMD_SCRIPT_LOAD &&
	    has_run(text, n))
		remember(r);
	if (s->mute)
		b->discard = true; /* now it is known: HTTP says null in its place */
	else
		say_error(r, code, text, n);
}

/* ---- the second time ---- */

static const purser_bytes word_eval[2] = { { (const uint8_t *)"EVAL", 4 }, { (const uint8_t *)"EVAL_RO", 7 } };
static const purser_bytes word_sha[2] = { { (const uint8_t *)"EVALSHA", 7 }, { (const uint8_t *)"EVALSHA_RO", 10 } };

static bool read_only(const struct request *r)
{
	return r->cmd->id == CMD_EVALSHA_RO || r->cmd->id == CMD_EVAL_RO;
}

/* What the client has sent, or the agent has kept of it. */
static purser_bytes body_of(const struct script_run *s)
{
	return s->body ? (purser_bytes){ s->body->body, s->body->n } : s->text;
}

/* The body behind its prelude, in the arena; p NULL: no memory. */
static purser_bytes wrap(struct request *r, purser_bytes body, uint8_t physical[SCRIPT_SHA], bool *bare)
{
	purser_bytes out = { NULL, 0 };
	struct buf b = { 0 };
	uint8_t *d;

	if (scripts_wrap(r->cl->w->scripts, body, &b, physical, bare) == 0 &&
	    (d = arena_get(&r->arena, buf_len(&b) + 1))) {
		if (buf_len(&b))
			memcpy(d, buf_data(&b), buf_len(&b));
		out = (purser_bytes){ d, buf_len(&b) };
	}
	buf_free(&b);
	return out;
}

/* EVALSHA goes out with the script itself; its words are pinned.  -1: no memory. */
static int as_eval(struct request *r)
{
	bool ro = read_only(r), bare;
	struct script_run *s = r->script;
	purser_bytes body = body_of(s);

	if (s->wrapped)
		body = wrap(r, body, s->physical, &bare);
	if (!body.p)
		return -1;
	count_by_sha(r, false);
	s->named = false;
	r->argv[0] = word_eval[ro];
	r->argv[1] = body;
	r->b.c.op = r->b.c.ctx->inst->op_of[ro ? CMD_EVAL_RO : CMD_EVAL];
	return 0;
}

enum confine_answer script_user(struct request *r, enum err_code *err, char why[CONFINE_WHY_MAX])
{
	enum confine_answer a;
	uint32_t cred;

	if (!r->b.c.cred)
		return CONFINE_READY;
	a = confine_want(r->cl->w, r->cl->gen, r->project, &cred, err, why);
	if (a == CONFINE_READY)
		r->b.c.cred = cred;
	return a;
}

/* Asking the store anew calls its plugin: not from inside a host-table function. */
struct anew {
	struct anew *next;
	struct generation *gen;
	const struct project *p;
	uint32_t was;
};

static struct anew *next_anew(struct worker *w)
{
	struct anew *a = w->confining.anew;

	if (a)
		w->confining.anew = a->next;
	return a;
}

static void drop_anew(struct anew *a)
{
	generation_unref(a->gen);
	free(a);
}

static void ask_anew(void *arg)
{
	struct worker *w = arg;
	char why[CONFINE_WHY_MAX];
	enum err_code err;
	struct anew *a;
	uint32_t cred;

	while ((a = next_anew(w))) {
		struct purser_instance *i = a->gen->instances[a->p->instance];

		i->p->credential(i->state, a->was, (purser_bytes){ NULL, 0 }, (purser_bytes){ NULL, 0 });
		if (w->ctx[a->p->instance])
			confine_want(w, a->gen, a->p, &cred, &err, why);
		drop_anew(a);
	}
}

void script_worker_end(struct worker *w)
{
	struct anew *a;

	while ((a = next_anew(w)))
		drop_anew(a);
}

void script_refused(struct request *r)
{
	struct worker *w = r->cl->w;
	struct purser_instance *i = r->b.c.ctx->inst;
	struct anew *a;

	if (!r->b.c.cred || !i->confines || !confine_refused(w, i, r->b.c.cred))
		return;
	a = malloc(sizeof *a);
	if (!a)
		return; /* the next script asks */
	*a = (struct anew){ w->confining.anew, generation_ref(r->cl->gen), r->project, r->b.c.cred };
	w->confining.anew = a;
	if (a->next)
		return; /* the job is posted */
	w->confining.ask = (purser_job){ .fn = ask_anew, .arg = w };
	loop_post(w->loop, &w->confining.ask);
}

void script_resent(struct request *r)
{
	struct script_run *s = r->script;

	if (s && r->b.done == script_done && s->named && has_body(r))
		(void)as_eval(r); /* else as it was: the server may know it still */
}

static void again(struct request *r)
{
	struct script_run *s = r->script;
	struct bcall *b = &r->b;
	struct purser_ctx *x = r->cl->w->ctx[r->project->instance];

	s->healing = b->began = b->store_error = false;
	b->reply_bytes = 0;
	if (b->discard || b->c.ctx != x || loop_now(r->cl->w->loop) >= b->c.deadline_ns || req_pin(r) || as_eval(r)) {
		b->answered = true;
		b->executed = PURSER_NOT_EXECUTED;
		if (!b->discard)
			reply_failure(b, b->c.ctx != x ? ERR_BACKENDDOWN : ERR_TIMEOUT, NULL);
		req_done(b);
		return;
	}
	req_again(r);
}

static void heal(void *arg)
{
	again(((struct script_run *)arg)->r);
}

static void script_release(struct bcall *b)
{
	struct request *r = (struct request *)b;
	struct script_run *s = r->script;

	if (!s->healing) {
		req_release(b);
		return;
	}
	r->cl->session.inflight--;
	r->released = true;
	metric_add(r->cl->w->metrics, METRIC_SCRIPTS_HEALED, 1);
	s->job.fn = heal;
	s->job.arg = s;
	loop_post(r->cl->w->loop, &s->job); /* not from inside a host-table function */
}

void script_drop(struct request *r)
{
	count_by_sha(r, false);
	script_unref(r->script->body);
}

/* ---- isolate ---- */

static int nobody(struct reply_filter *f, const uint8_t *p, size_t n)
{
	(void)f;
	(void)p;
	(void)n;
	return 0;
}

static struct script_run *follow(struct request *r, bool sha_given)
{
	static struct reply_filter mute = { nobody };
	struct script_run *s = arena_get(&r->arena, sizeof *s);

	if (!s)
		return NULL;
	memset(s, 0, sizeof *s);
	s->r = r;
	s->sha_given = s->named = sha_given;
	s->error_to = r->b.error_to;
	if (r->b.discard) { /* what the server says must be seen all the same */
		r->b.discard = false;
		r->b.filter = &mute;
		s->mute = true;
	}
	r->b.done = script_done;
	r->b.release = script_release;
	r->b.error_to = script_error;
	return r->script = s;
}

static void warn_once(const struct request *r)
{
	const struct project *p = r->project;

	if (project_isolated(p) && scripts_first(r->cl->w->scripts, p->ns))
		log_event(r->cl->w->log, LOG_M_ACCESS, LOG_WARN, "project.scripts",
		    "scripts run in this project: the keys that they declare are isolated, others that they name are "
		    "not (scripts = off refuses them)", LOG_STR("project", p->name), LOG_KEY(p->name));
}

/* ---- behind a prelude ---- */

/* The prefix goes behind the arguments, where the prelude takes it away. */
static void add_prefix(struct request *r, struct script_run *s, bool bare)
{
	if (bare)
		return;
	r->argv[r->argc++] = (purser_bytes){ r->project->prefix, r->project->prefix_len };
	s->added = true;
}

uint32_t script_words(const struct request *r)
{
	return r->argc - (r->script && r->script->added);
}

static int put_sha(struct request *r, const uint8_t sha[SCRIPT_SHA])
{
	char *text = arena_get(&r->arena, 2 * SCRIPT_SHA + 1);

	if (!text)
		return -1;
	script_sha_text(sha, text);
	r->argv[0] = word_sha[read_only(r)];
	r->argv[1] = (purser_bytes){ (const uint8_t *)text, 2 * SCRIPT_SHA };
	return 0;
}

/* Nobody knows the script: the server says so, and whatever else is wrong.  It may have one by the client's SHA1,
 * which would run without a prelude. */
static enum stage_result unknown(struct request *r)
{
	static const uint8_t none[SCRIPT_SHA] = { 0 };
	uint8_t sha[SCRIPT_SHA];

	if (!script_sha_of(r->argv[1], sha))
		return STAGE_NEXT;
	if (r->script)
		r->script->unknown = true;
	return put_sha(r, none) ? req_refuse(r, ERR_OOM, NULL) : STAGE_NEXT;
}

/* Has the project sent the script that the request names by its SHA1? */
static bool sent(const struct request *r)
{
	uint8_t sha[SCRIPT_SHA];
	struct script *body;

	if (!script_sha_of(r->argv[1], sha))
		return true; /* it names none */
	body = scripts_get(r->cl->w->scripts, r->project->ns, sha);
	script_unref(body);
	return body != NULL;
}

/* A store that confines scripts itself has those of all projects by their SHA1: one that this project has not sent is
 * none of its own. */
static bool not_of_project(struct request *r)
{
	uint8_t sha[SCRIPT_SHA];

	if (r->cmd->id == CMD_EVAL || r->cmd->id == CMD_EVAL_RO) {
		if (tx_queues(r->cl)) {
			script_sha(r->argv[1], sha);
			scripts_put(r->cl->w->scripts, r->project->ns, sha, r->argv[1]);
		}
		return false;
	}
	return r->cmd->id != CMD_SCRIPT_LOAD && !sent(r);
}

/* SCRIPT LOAD: the store answers with its own SHA1. */
struct sha_filter {
	struct reply_filter f;          /* first */
	struct request *r;
	bool said;
};

static int say_sha(struct reply_filter *f, const uint8_t *p, size_t n)
{
	struct sha_filter *q = (struct sha_filter *)f;
	struct request *r = q->r;
	char text[2 * SCRIPT_SHA + 1];

	(void)p;
	(void)n;
	if (q->said)
		return 0;
	q->said = true;
	script_sha_text(r->script->sha, text);
	r->b.filter = r->script->then;
	reply_bulk(&r->b, text, 2 * SCRIPT_SHA);
	r->b.filter = f;
	return r->b.broken ? -1 : 0;
}

static enum stage_result load_wrapped(struct request *r, struct script_run *s)
{
	struct sha_filter *q;
	bool bare;

	q = arena_get(&r->arena, sizeof *q);
	s->text = r->argv[2];
	script_sha(s->text, s->sha);
	r->argv[2] = wrap(r, s->text, s->physical, &bare);
	if (!q || !r->argv[2].p)
		return req_refuse(r, ERR_OOM, NULL);
	if (!s->mute) {
		*q = (struct sha_filter){ { say_sha }, r, false };
		s->loads = true;
		s->then = r->b.filter;
		r->b.filter = &q->f;
	}
	return STAGE_NEXT;
}

/* As many keys as argv[2] says: where the server refuses that, nothing may be put behind them. */
static bool counts(const struct request *r)
{
	int64_t n;

	return r->argc >= 3 && !purser_resp_int(r->argv[2].p, r->argv[2].n, &n) && n >= 0 && n <= (int64_t)r->argc - 3;
}

static const char *miscounted(const struct request *r)
{
	int64_t n;

	if (purser_resp_int(r->argv[2].p, r->argv[2].n, &n))
		return "ERR value is not an integer or out of range";
	return n < 0 ? "ERR Number of keys can't be negative" : "ERR Number of keys can't be greater than number of args";
}

/* EVAL and EVALSHA, on their own or (s->alone is nothing then) between MULTI and EXEC. */
static enum stage_result run_wrapped(struct request *r, struct script_run *s, bool batch)
{
	struct worker *w = r->cl->w;
	const struct purser_ctx *x = w->ctx[r->project->instance];
	static const uint8_t none[SCRIPT_SHA] = { 0 };
	bool bare;

	if (!counts(r) && batch) /* EXEC says so */
		return put_sha(r, none) ? req_refuse(r, ERR_OOM, NULL) : STAGE_NEXT;
	if (!counts(r))
		return req_refuse_as_redis(r, miscounted(r)); /* of its keys the store's ACL would speak first */
	if (s->sha_given) {
		if (!script_sha_of(r->argv[1], s->sha))
			return STAGE_NEXT; /* the server says so */
	} else {
		s->text = r->argv[1];
		script_sha(s->text, s->sha);
	}
	s->body = scripts_get(w->scripts, r->project->ns, s->sha);
	if (s->sha_given && !s->body)
		return unknown(r);
	if (batch && !s->body) /* EXEC tells of no single script whether it was loaded */
		scripts_put(w->scripts, r->project->ns, s->sha, s->text);
	if (s->body && !batch && known(w, x, s->body->physical)) {
		memcpy(s->physical, s->body->physical, SCRIPT_SHA);
		count_by_sha(r, true);
		s->named = true;
		add_prefix(r, s, s->body->bare);
		return put_sha(r, s->physical) ? req_refuse(r, ERR_OOM, NULL) : STAGE_NEXT;
	}
	s->named = false;
	r->argv[0] = word_eval[read_only(r)];
	r->argv[1] = wrap(r, body_of(s), s->physical, &bare);
	if (!r->argv[1].p)
		return req_refuse(r, ERR_OOM, NULL);
	add_prefix(r, s, bare);
	return STAGE_NEXT;
}

static enum stage_result wrapped(struct request *r)
{
	bool batch = tx_queues(r->cl), given = r->cmd->id == CMD_EVALSHA || r->cmd->id == CMD_EVALSHA_RO;
	struct script_run *s;

	if (given && r->cl->session.inflight && !sent(r))
		return STAGE_HOLD; /* what is under way may be what loads it */
	if (batch && r->cmd->id == CMD_SCRIPT_LOAD)
		return req_refuse(r, ERR_UNSUPPORTED, "SCRIPT LOAD cannot be part of a transaction of an isolated project: "
		    "send it before MULTI");
	if (batch) {
		s = arena_get(&r->arena, sizeof *s);
		if (!s)
			return req_refuse(r, ERR_OOM, NULL);
		memset(s, 0, sizeof *s);
		s->sha_given = given;
		r->script = s; /* keeps the body until it is queued */
	} else {
		if (req_pin(r)) /* the client's words are wanted when it has run */
			return req_refuse(r, ERR_OOM, NULL);
		s = follow(r, given);
		if (!s)
			return req_refuse(r, ERR_OOM, NULL);
	}
	s->wrapped = true;
	return r->cmd->id == CMD_SCRIPT_LOAD ? load_wrapped(r, s) : run_wrapped(r, s, batch);
}

size_t script_names(const struct request *r, char *text, size_t n)
{
	const struct project *p = r->project;
	const struct script_run *s = r->script;

	static const char before[] = " script: ";
	char *at = memmem(text, n, before, sizeof before - 1), hex[2 * SCRIPT_SHA + 1];
	uint8_t physical[SCRIPT_SHA], sha[SCRIPT_SHA];

	if (!at || !r->b.c.cred) /* a store that confines scripts itself says the client's SHA1 */
		return n;
	at += sizeof before - 1;
	if ((size_t)(text + n - at) < 2 * SCRIPT_SHA ||
	    !script_sha_of((purser_bytes){ (const uint8_t *)at, 2 * SCRIPT_SHA }, physical) ||
	    !(s && s->wrapped && memcmp(s->physical, physical, SCRIPT_SHA) == 0 ? memcpy(sha, s->sha, SCRIPT_SHA) != NULL :
	    scripts_logical(r->cl->w->scripts, p->ns, physical, sha)))
		return n;
	script_sha_text(sha, hex);
	memcpy(at, hex, 2 * SCRIPT_SHA);
	return n;
}

/* Whatever r is: how it is kept inside its project.  STAGE_HOLD: the store is being asked for a user. */
static enum stage_result confine(struct request *r, const struct purser_ctx *x)
{
	char why[CONFINE_WHY_MAX];
	enum err_code err;
	uint32_t cred;

	if (x->p->caps & PURSER_CAP_CONFINES) {
		r->b.c.space = r->project->prefix;
		r->b.c.databases = r->project->databases;
		return STAGE_NEXT;
	}
	if (!x->inst->confines)
		return req_refuse(r, ERR_NOPERM, "this backend cannot keep scripts inside the project: scripts = declared-keys "
		    "of its [project] section runs them all the same");
	switch (confine_want(r->cl->w, r->cl->gen, r->project, &cred, &err, why)) {
	case CONFINE_READY:
		r->b.c.cred = cred;
		return STAGE_NEXT;
	case CONFINE_NO:
		return req_refuse(r, err, why[0] ? why : NULL);
	default:
		return STAGE_HOLD;
	}
}

/* EVALSHA in a transaction: nothing can be healed behind EXEC, so it goes as EVAL. */
static enum stage_result eval_in_batch(struct request *r)
{
	bool ro = r->cmd->id == CMD_EVALSHA_RO;
	struct script_run *s = arena_get(&r->arena, sizeof *s);
	uint8_t sha[SCRIPT_SHA];

	if (!s)
		return req_refuse(r, ERR_OOM, NULL);
	memset(s, 0, sizeof *s);
	if (!script_sha_of(r->argv[1], sha))
		return STAGE_NEXT; /* the server says so */
	s->body = scripts_get(r->cl->w->scripts, r->project->ns, sha);
	if (!s->body)
		return STAGE_NEXT; /* it may know it still */
	r->script = s; /* keeps the body until it is queued */
	r->cmd = &cmd_rows[ro ? CMD_EVAL_RO : CMD_EVAL];
	r->argv[0] = word_eval[ro];
	r->argv[1] = (purser_bytes){ s->body->body, s->body->n };
	return STAGE_NEXT;
}

const char *script_never(const struct project *p, const struct purser_instance *i, const struct command *c)
{
	if (c->perm != PERM_SCRIPT)
		return NULL;
	if (!p->scripts)
		return "scripts are off in this project: scripts = isolated of its [project] section allows them";
	if (c->id == CMD_SCRIPT_KILL || c->id == CMD_FUNCTION_KILL)
		return i->in_process ? NULL : /* which knows whose script it is */
		    "it would end whatever script runs, another project's too: send it to Redis itself";
	if (strncmp(c->name, "FUNCTION|", 9) == 0 && project_isolated(p))
		return "functions belong to every project of the server: load them on Redis itself, FCALL runs them; a "
		    "project with isolation = off may";
	return NULL;
}

enum stage_result script_isolate(struct request *r)
{
	struct client *c = r->cl;
	struct worker *w = c->w;
	const struct purser_ctx *x = w->ctx[r->project->instance];
	const char *never = script_never(r->project, x->inst, r->cmd);
	struct script_run *s;

	if (never)
		return req_refuse(r, ERR_NOPERM, never);
	if (strncmp(r->cmd->name, "FUNCTION|", 9) == 0 || r->cmd->id == CMD_SCRIPT_KILL)
		return STAGE_NEXT; /* the store knows whose script it is, or the project has it for itself */
	if (x->inst->op_of[r->cmd->id] == OP_NONE)
		return STAGE_NEXT; /* it is refused there, and nothing has run that could be warned of */
	if (r->project->scripts == SCRIPTS_ISOLATED) {
		enum stage_result rc = confine(r, x);

		if (rc != STAGE_NEXT)
			return rc;
	} else {
		warn_once(r);
	}
	if (r->cmd->id == CMD_FCALL || r->cmd->id == CMD_FCALL_RO)
		return STAGE_NEXT;
	if (r->b.c.cred)
		return wrapped(r);
	if (r->b.c.space && not_of_project(r))
		return unknown(r);
	if (tx_queues(c))
		return r->cmd->id == CMD_EVALSHA || r->cmd->id == CMD_EVALSHA_RO ? eval_in_batch(r) : STAGE_NEXT;
	s = follow(r, r->cmd->id == CMD_EVALSHA || r->cmd->id == CMD_EVALSHA_RO);
	if (!s)
		return req_refuse(r, ERR_OOM, NULL);
	if (!s->sha_given)
		return STAGE_NEXT;
	if (!script_sha_of(r->argv[1], s->sha)) {
		r->b.done = req_done; /* the server says so */
		r->b.release = req_release;
		if (!s->mute)
			r->b.error_to = s->error_to;
		return STAGE_NEXT;
	}
	if (!known(w, x, s->sha)) {
		s->body = scripts_get(w->scripts, r->project->ns, s->sha);
		if (s->body) {
			s->alone = true;
			c->alone = r;
		}
	}
	return STAGE_NEXT;
}
