/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a request whose attempt has failed.  Rules: semantics.md section 2.
 *
 * A failure that may be answered by another attempt is kept, and its request is PARKED where it stands in
 * the client's queue; any other failure is answered at once, and with it all that is parked before it: a
 * request is not sent again once a later one of its client may have run.  When nothing of the client is in
 * flight any more (what only waited in the backend's queue is taken out of it), what is parked is the
 * suffix of the group that may be sent again.  The budget and the deadlines may shorten it from the front;
 * then it waits for one delay and is sent again in order, through the stage submit.
 *
 * A script whose user or whose body the store has lost was not executed and costs no attempt: it is sent again, with
 * what is parked behind it, as soon as the store has it again (request_script.c).
 *
 * Nothing here calls a plugin but for the timer: failures come from inside host-table functions.
 */
#include <config.h>
#include <string.h>
#include "request_confine.h"
#include "request_stage.h"

struct kept_failure {
	uint8_t err, executed;
	bool store, text;
	uint32_t n;
	char s[BCALL_ERROR_MAX];
};

/* ---- keeping ---------------------------------------------------------------------------------------- */

static enum retry_class class_of(const struct call_failure *f)
{
	static const char *const not_run[] = { "LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "READONLY" };

	for (size_t i = 0; f->store && i < sizeof not_run / sizeof *not_run; i++)
		if (call_failure_word(f, not_run[i]))
			return RETRY_NOT_RUN;
	if (f->store || (f->err != ERR_BACKENDDOWN && f->err != ERR_INDETERMINATE))
		return RETRY_RAN; /* an answer, or what another attempt would not change */
	return f->executed == PURSER_NOT_EXECUTED ? RETRY_NOT_RUN :
	    f->executed == PURSER_MAYBE_EXECUTED ? RETRY_UNKNOWN : RETRY_RAN;
}

static bool sendable_again(const struct request *r)
{
	const struct purser_call *c = &r->b.c;

	return !r->cl->gone && !c->ctx->draining && c->route != PURSER_ROUTE_PINNED &&
	    !(c->flags & (PURSER_CALL_STREAMED | PURSER_CALL_BLOCKS)) && !r->b.source &&
	    (c->op != PURSER_OP_BATCH || c->ctx->p->args == PURSER_ARGS_WIRE);
}

static void park(struct request *r)
{
	r->parked = true;
	if (!r->cl->retry.parked++)
		r->cl->retry.withdrawn = false;
}

static bool copy_failure(struct request *r, const struct call_failure *f)
{
	if (!r->kept)
		r->kept = arena_get(&r->arena, sizeof *r->kept);
	if (!r->kept)
		return false;
	r->kept->err = (uint8_t)f->err;
	r->kept->executed = f->executed;
	r->kept->store = f->store;
	r->kept->text = f->text != NULL;
	r->kept->n = f->n < sizeof r->kept->s ? (uint32_t)f->n : sizeof r->kept->s - 1;
	if (f->text)
		memcpy(r->kept->s, f->text, r->kept->n);
	r->kept->s[r->kept->n] = '\0';
	return true;
}

bool retry_keep(struct bcall *b, const struct call_failure *f)
{
	struct request *r = (struct request *)b;
	const struct retry_rule *rule = &guard_rules(b->c.ctx)->retry;
	struct retry_case k = { .class_ = class_of(f), .attempts = r->tries + 1u, .deadline_ns = b->c.deadline_ns };

	if (__builtin_expect((r->script || b->c.cred) && script_lost(r, f), 0)) {
		if (!sendable_again(r) || loop_now(r->cl->w->loop) >= b->c.deadline_ns || req_pin(r) || !copy_failure(r, f))
			return false;
		r->cl->retry.failed = true;
		park(r);
		return true;
	}
	if (k.class_ == RETRY_RAN || rule->max_attempts < 2 || !r->cmd || !sendable_again(r))
		return false;
	k.idempotent = k.class_ == RETRY_UNKNOWN && cmd_idempotent(r->cmd, r->argv, r->argc);
	if (!retry_may(rule, &k, loop_now(r->cl->w->loop)) || req_pin(r) || !copy_failure(r, f))
		return false;
	r->tries++;
	if (k.class_ == RETRY_UNKNOWN && b->c.flags & PURSER_CALL_WRITE)
		b->maybe = true;
	r->cl->retry.failed = true;
	park(r);
	return true;
}

/* ---- settling --------------------------------------------------------------------------------------- */

static struct request *next_parked(struct request *r)
{
	while (r && !r->parked)
		r = r->next;
	return r;
}

/* It is not sent again: it is answered with what its latest attempt came to. */
static void give_up(struct request *r, enum err_code otherwise)
{
	const struct kept_failure *k = r->kept;
	struct bcall *b = &r->b;
	struct client *c = r->cl;

	r->parked = false;
	if (!--c->retry.parked)
		loop_timer_stop(c->w->loop, &c->retry.timer);
	r->given_up = true;
	b->answered = true;
	b->executed = k ? k->executed : PURSER_NOT_EXECUTED;
	if (b->discard)
		b->err = k ? k->err : (uint8_t)otherwise;
	else if (!k)
		reply_failure(b, otherwise, NULL);
	else if (k->store && !b->maybe)
		reply_error(b, k->s, k->n);
	else
		reply_failure(b, k->store ? ERR_INDETERMINATE : (enum err_code)k->err, k->text ? k->s : NULL);
	b->done(b);
}

void retry_drop(struct client *c, bool answer)
{
	struct request *r = next_parked(c->head), *next;

	for (; r; r = next) {
		next = next_parked(r->next); /* it is not answered, so it stays in the queue */
		if (!answer)
			r->b.discard = true;
		give_up(r, ERR_BACKENDDOWN);
	}
	c->wake(c);
}

/* Later than something parked, and it may have run: what is parked before it must not run after it. */
void retry_answered(struct request *r)
{
	struct request *p = next_parked(r->cl->head), *next;

	if (r->parked || r->given_up || r->local || r->b.state == BCALL_IDLE || r->b.executed == PURSER_NOT_EXECUTED)
		return;
	for (struct request *q = p; q != r; q = q->next)
		if (!q)
			return; /* everything parked is later */
	for (; p && p != r; p = next) {
		next = p->next;
		while (next && next != r && !next->parked)
			next = next->next;
		give_up(p, ERR_BACKENDDOWN);
	}
}

/* ---- deciding --------------------------------------------------------------------------------------- */

static bool withdrawn(struct bcall *b)
{
	struct request *r = (struct request *)b;

	if (b->keep != retry_keep || b->answered || !sendable_again(r))
		return false;
	r->cl->session.inflight--;
	r->released = true;
	park(r);
	return true;
}

static void again(struct loop_timer *t);

/* A write that may have run is there already when the group is sent again: what reads before it would see
 * what is yet to come. */
static void spare_readers(struct client *c)
{
	struct request *r, *next, *written = NULL;

	for (r = next_parked(c->head); r; r = next_parked(r->next))
		if (r->b.maybe)
			written = r;
	for (r = next_parked(c->head); written && r != written; r = next) {
		next = next_parked(r->next);
		if (!(r->b.c.flags & PURSER_CALL_WRITE))
			give_up(r, ERR_BACKENDDOWN);
	}
}

/* Nothing of c is in flight: which of its parked requests are sent again, and when. */
static void decide(struct client *c)
{
	struct request *r = next_parked(c->head), *next;
	struct purser_ctx *x = r->b.c.ctx;
	const struct retry_rule *rule = &guard_rules(x)->retry;
	uint64_t at = loop_now(c->w->loop);
	struct retry_group g = { 0 };
	uint32_t tries = 0, i = 0;

	spare_readers(c);
	for (r = next_parked(c->head); r; r = next_parked(r->next)) {
		tries = r->tries > tries ? r->tries : tries;
		at = r->not_before_ns > at ? r->not_before_ns : at;
	}
	if (tries)
		at += retry_delay(rule, tries - 1, trace_random(c->w->trace));
	for (r = next_parked(c->head); r; r = next_parked(r->next)) {
		struct retry_case k = { .class_ = RETRY_NOT_RUN, .deadline_ns = r->b.c.deadline_ns };

		retry_group_add(&g, retry_may(rule, &k, at), r->tries != 0);
	}
	retry_group_pay(&g, g.cost ? guard_pay(x, g.cost) : 0);
	for (r = next_parked(c->head); r; r = next, i++) {
		next = next_parked(r->next);
		if (!retry_group_again(&g, i, r->tries != 0))
			give_up(r, i < g.first ? ERR_TIMEOUT : ERR_BACKENDDOWN);
	}
	if (!c->retry.parked)
		return;
	c->retry.timer.fn = again;
	if (loop_timer_set(c->w->loop, &c->retry.timer, at))
		retry_drop(c, true);
}

void retry_released(struct client *c)
{
	const struct request *r = next_parked(c->head);

	if (c->retry.sending || !r)
		return;
	if (c->session.inflight && !c->retry.withdrawn) { /* once: the queue may be long, and so what fails */
		c->retry.withdrawn = true;
		ctx_withdraw(r->b.c.ctx, &c->session, withdrawn);
	}
	if (!c->session.inflight)
		decide(c);
}

/* ---- sending again ---------------------------------------------------------------------------------- */

#define USER_WAIT_NS UINT64_C(2000000) /* between two looks whether a user has been made */

/* Has the store the users that the parked requests run as?  False: not yet, or they are given up. */
static bool users_known(struct client *c)
{
	uint64_t now = loop_now(c->w->loop), at = UINT64_MAX;
	struct request *r = next_parked(c->head), *next;
	char why[CONFINE_WHY_MAX];
	enum err_code err;

	for (; r; r = next) {
		struct call_failure f = { .executed = PURSER_NOT_EXECUTED };

		next = next_parked(r->next);
		switch (script_user(r, &err, why)) {
		case CONFINE_READY:
			continue;
		case CONFINE_NO:
			f.err = err;
			f.text = why[0] ? why : NULL;
			f.n = strlen(why);
			copy_failure(r, &f);
			if (class_of(&f) == RETRY_RAN || ++r->tries >= guard_rules(r->b.c.ctx)->retry.max_attempts) {
				give_up(r, err);
				break;
			}
			at = now + retry_delay(&guard_rules(r->b.c.ctx)->retry, r->tries - 1u, trace_random(c->w->trace));
			break;
		default:
			at = at < now + USER_WAIT_NS ? at : now + USER_WAIT_NS;
			if (now >= r->b.c.deadline_ns)
				give_up(r, ERR_TIMEOUT);
		}
	}
	if (!c->retry.parked)
		return false;
	if (at == UINT64_MAX)
		return true;
	if (loop_timer_set(c->w->loop, &c->retry.timer, at))
		retry_drop(c, true);
	return false;
}

static void again(struct loop_timer *t)
{
	struct client_retry *k = (struct client_retry *)((char *)t - offsetof(struct client_retry, timer));
	struct client *c = (struct client *)((char *)k - offsetof(struct client, retry));
	struct request *r = next_parked(c->head), *next;

	if (r->b.c.cred && !users_known(c)) {
		c->wake(c);
		return;
	}
	r = next_parked(c->head);
	k->sending = true;
	k->failed = k->withdrawn = false;
	for (; r && !k->failed; r = next) {
		struct purser_ctx *x = r->b.c.ctx;

		next = next_parked(r->next);
		if (x->draining) {
			give_up(r, ERR_BACKENDDOWN);
			continue;
		}
		r->parked = false;
		k->parked--;
		x->guard.resent += r->tries != 0;
		script_resent(r);
		req_again(r);
	}
	k->sending = false;
	if (k->parked && !c->session.inflight)
		decide(c);
	c->wake(c);
}

/* ---- the gate --------------------------------------------------------------------------------------- */

/* r was parked by what stands in front of the store. */
static void parked_here(struct request *r)
{
	struct client *c = r->cl;

	c->retry.failed = true;
	if (!c->retry.sending && !c->session.inflight)
		decide(c);
}

void retry_delayed(struct request *r, uint64_t not_before_ns)
{
	guard_give_back(r->b.c.ctx, &r->b);
	if (req_pin(r)) {
		req_refuse(r, ERR_OOM, NULL);
		return;
	}
	r->not_before_ns = not_before_ns;
	park(r);
	parked_here(r);
}

void retry_failed(struct request *r, const struct call_failure *f)
{
	struct bcall *b = &r->b;
	struct purser_ctx *x = b->c.ctx;
	bool kept;

	b->submit_ns = loop_now(x->loop);
	b->state = BCALL_SUBMITTED; /* as far as the guard can see */
	x->accepted++;
	kept = call_failed(b, f);
	call_count(x, b);
	b->state = BCALL_ENDED;
	if (kept) {
		parked_here(r);
		return;
	}
	b->executed = f->executed;
	if (f->store)
		reply_error(b, f->text, f->n);
	else
		reply_failure(b, f->err, f->text);
	req_finish(r);
}

bool retry_admit(struct request *r)
{
	struct purser_ctx *x = r->b.c.ctx;
	char why[160];

	if (r->b.c.route == PURSER_ROUTE_PINNED)
		return true; /* it is bound to its connection, which is up or lost; and so is its end */
	if (guard_admit(x, &r->b, r->cmd->flags & F_DENYOOM, why, sizeof why))
		return !(atomic_load_explicit(&x->inst->gate, memory_order_relaxed) & GATE_FAULT) || fault_pass(r);
	if (r->kept) { /* a rejection is no news to who has a failure already, nor is it retried */
		park(r);
		give_up(r, ERR_BACKENDDOWN);
		return false;
	}
	guard_rejected(x, &r->b);
	req_refuse(r, ERR_CIRCUITOPEN, why);
	return false;
}
