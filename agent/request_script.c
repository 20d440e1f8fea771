/* SPDX-License-Identifier: Apache-2.0
 *
 * Scripts.  Keys are isolated like any command's; here is whether a project may, and the healing of NOSCRIPT:
 * the agent remembers the bodies that its clients loaded, and sends EVAL where the server knows the SHA1 of an
 * EVALSHA no longer.
 *
 * That must not change the order of a client's commands.  As long as a script is not known to be loaded at the
 * other end of the present connections, its EVALSHA runs alone: the client's later commands wait for it.
 * Where NOSCRIPT comes all the same and a later command was sent already, it is the client's to see.
 */
#include <config.h>
#include <string.h>
#include "request_stage.h"

struct script_run {
	purser_job job;
	struct request *r;
	uint8_t sha[SCRIPT_SHA];
	bool sha_given;                 /* EVALSHA; else the body is in the request */
	bool alone;                     /* nothing later was sent: it can be healed */
	bool healing;
	bool mute;                      /* nobody reads the reply (CLIENT REPLY) */
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

static void script_done(struct bcall *b)
{
	struct request *r = (struct request *)b;
	struct script_run *s = r->script;
	struct worker *w = r->cl->w;

	if (s->healing)
		return; /* it comes again */
	if (!b->err && !b->broken && !b->executed) { /* it is loaded there */
		if (!s->sha_given) {
			purser_bytes body = r->argv[r->cmd->id == CMD_SCRIPT_LOAD ? 2 : 1];

			script_sha(body, s->sha);
			scripts_put(w->scripts, r->project->ns, s->sha, body);
		}
		know(w, b->c.ctx, s->sha);
	}
	b->discard |= s->mute;
	req_done(b);
}

static void say_error(struct request *r, enum err_code code, const char *text, size_t n)
{
	struct script_run *s = r->script;

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

static void script_error(struct bcall *b, enum err_code code, const char *text, size_t n)
{
	struct request *r = (struct request *)b;
	struct script_run *s = r->script;
	struct worker *w = r->cl->w;

	if (b->store_error && n >= 8 && memcmp(text, "NOSCRIPT", 8) == 0) {
		slot(w, s->sha)->ctx = NULL;
		if (!s->body)
			s->body = scripts_get(w->scripts, r->project->ns, s->sha);
		if (s->body && (s->alone || last_sent(r)) && (!r->cl->alone || r->cl->alone == r)) {
			s->healing = true;
			r->cl->alone = r;
			return;
		}
	}
	if (s->mute)
		b->discard = true; /* now it is known: HTTP says null in its place */
	else
		say_error(r, code, text, n);
}

/* ---- the second time ---- */

/* EVALSHA goes out with the script itself; its words are pinned. */
static void as_eval(struct request *r)
{
	static const purser_bytes eval = { (const uint8_t *)"EVAL", 4 }, eval_ro = { (const uint8_t *)"EVAL_RO", 7 };
	bool ro = r->cmd->id == CMD_EVALSHA_RO;
	const struct script *body = r->script->body;

	r->argv[0] = ro ? eval_ro : eval;
	r->argv[1] = (purser_bytes){ body->body, body->n };
	r->b.c.op = r->b.c.ctx->inst->op_of[ro ? CMD_EVAL_RO : CMD_EVAL];
}

void script_resent(struct request *r)
{
	struct script_run *s = r->script;

	if (!s || !s->sha_given || r->b.done != script_done)
		return;
	if (!s->body)
		s->body = scripts_get(r->cl->w->scripts, r->project->ns, s->sha);
	if (s->body)
		as_eval(r);
}

static void again(struct request *r)
{
	struct script_run *s = r->script;
	struct bcall *b = &r->b;
	struct purser_ctx *x = r->cl->w->ctx[r->project->instance];

	s->healing = b->began = b->store_error = false;
	b->reply_bytes = 0;
	if (b->discard || b->c.ctx != x || loop_now(r->cl->w->loop) >= b->c.deadline_ns || req_pin(r)) {
		b->answered = true;
		b->executed = PURSER_NOT_EXECUTED;
		if (!b->discard)
			reply_failure(b, b->c.ctx != x ? ERR_BACKENDDOWN : ERR_TIMEOUT, NULL);
		req_done(b);
		return;
	}
	as_eval(r);
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
	s->sha_given = sha_given;
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

/* EVALSHA in a transaction: nothing can be healed behind EXEC, so it goes as EVAL. */
static enum stage_result eval_in_batch(struct request *r)
{
	static const purser_bytes eval = { (const uint8_t *)"EVAL", 4 }, eval_ro = { (const uint8_t *)"EVAL_RO", 7 };
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
	r->argv[0] = ro ? eval_ro : eval;
	r->argv[1] = (purser_bytes){ s->body->body, s->body->n };
	return STAGE_NEXT;
}

enum stage_result script_isolate(struct request *r)
{
	struct client *c = r->cl;
	struct worker *w = c->w;
	const struct purser_ctx *x = w->ctx[r->project->instance];
	struct script_run *s;

	if (!r->project->scripts)
		return req_refuse(r, ERR_NOPERM, "scripts are off in this project: scripts = declared-keys of its "
		    "[project] section allows them");
	if (r->cmd->id == CMD_SCRIPT_KILL || r->cmd->id == CMD_FUNCTION_KILL) {
		if (x->inst->in_process) /* which knows whose script it is */
			return STAGE_NEXT;
		return req_refuse(r, ERR_NOPERM, "it would end whatever script runs, another project's too: send it to "
		    "Redis itself");
	}
	if (r->cmd->perm == PERM_SCRIPT && strncmp(r->cmd->name, "FUNCTION|", 9) == 0) {
		if (!project_isolated(r->project))
			return STAGE_NEXT;
		return req_refuse(r, ERR_NOPERM, "functions belong to every project of the server: load them on Redis "
		    "itself, FCALL runs them; a project with isolation = off may");
	}
	if (x->inst->op_of[r->cmd->id] == OP_NONE)
		return STAGE_NEXT; /* it is refused there, and nothing has run that could be warned of */
	warn_once(r);
	if (r->cmd->id == CMD_FCALL || r->cmd->id == CMD_FCALL_RO)
		return STAGE_NEXT;
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
