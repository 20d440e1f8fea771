/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that wait in the store: BLPOP and its like, XREAD and XREADGROUP with BLOCK, WAIT.  Each has a
 * connection alone (EXCLUSIVE), is all that its client has in flight, and may take as long as it says.
 * See request.h.
 */
#include <config.h>
#include <string.h>
#include "request_auth.h"
#include "request_feature.h"
#include "request_stage.h"

static const char unblocked[] = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

const char *req_block(struct request *r)
{
	struct purser_ctx *x = r->cl->w->ctx[r->project->instance];
	int64_t ms;

	if (!cmd_blocks(r->cmd, r->argv, r->argc, &ms))
		return NULL;
	/* An HTTP request is one answer, and proxies and people give up on it. */
	if (r->sink && (ms == 0 || (uint64_t)ms > x->inst->operation_timeout_ns / 1000000))
		return "over HTTP a command may wait at most operation_timeout, and not for ever (0)";
	r->b.c.flags |= PURSER_CALL_BLOCKS;
	r->b.c.block_ms = ms;
	if (r->cmd->id == CMD_WAIT)
		r->b.c.skip = 1; /* encode() puts a command in front of it */
	return NULL;
}

/* As Redis answers when the time has run out. */
static void answer_nothing(struct request *r)
{
	if (r->cmd->id == CMD_WAIT)
		reply_integer(&r->b, 0);
	else if (r->b.c.resp == 3)
		reply_raw(&r->b, "_\r\n", 3);
	else
		reply_raw(&r->b, "*-1\r\n", 5);
}

bool client_unblock(struct client *c, bool error)
{
	struct request *r = c->head;
	struct purser_ctx *x;

	if (!client_waits(c))
		return false;
	if (r->waits)
		return feature_unblock(r, error);
	x = r->b.c.ctx;
	if (r->b.state == BCALL_QUEUED) {
		if (error)
			reply_error(&r->b, unblocked, sizeof unblocked - 1);
		else
			answer_nothing(r);
		ctx_dismiss(x, &r->b);
		return true;
	}
	/* The store ends it: so nothing that it has given already is lost. */
	ctx_cancel(x, &r->b, error ? PURSER_CANCEL_UNBLOCK_ERROR : PURSER_CANCEL_UNBLOCK);
	return true;
}

static bool same_place(const struct project *a, const struct project *b)
{
	return a->instance == b->instance && a->prefix_len == b->prefix_len &&
	    memcmp(a->prefix, b->prefix, a->prefix_len) == 0 && a->databases <= b->databases;
}

static void move_request(struct request *r, const struct project *to)
{
	if (r->b.prefix == r->project->prefix)
		r->b.prefix = to->prefix;
	if (r->b.filter && r->cmd->transform != X_PASS && to->prefix_len)
		((struct strip_filter *)r->b.filter)->prefix = to->prefix;
	limit_moved(r, to);
	r->project = to;
	if (r->feature)
		feature_moved(r);
}

/* Nothing of it but what move_request() sees to depends on the project. */
static bool movable(const struct request *r)
{
	return !r || (r->project && !r->tx && r->cmd->run != RUN_TX && r->cmd->transform != X_RECEIVERS &&
	    (r->cmd->args == A_NONE || r->cmd->args == A_BLOCK));
}

/* Calls of features that wait side by side, and what is held behind them. */
static bool feature_all_movable(const struct client *c)
{
	for (const struct request *r = c->head; r; r = r->next)
		if (r != c->held && !(r->feature && feature_movable(r)))
			return false;
	return true;
}

void client_carry(struct client *c)
{
	struct generation *g = c->w->gen, *old = c->gen;
	const struct project *to, *from;
	const struct role *role;

	if (c->head->feature && !feature_all_movable(c))
		return; /* it comes again */
	/* All that is not answered must be of the one project; behind what waits that is the next one at most, or others
	 * like it. */
	to = auth_project(c, g, c->head->project->name, strlen(c->head->project->name), &role);
	if (!to || !same_place(c->head->project, to) || c->project != c->head->project ||
	    (c->held && c->held->project != c->project) || !movable(c->held)) {
		if (!to) /* else it would run as what it was */
			client_refuse_held(c, ERR_NOPROJECT, NULL);
		client_unblock(c, true);
		return;
	}
	for (struct request *r = c->head; r; r = r->next)
		move_request(r, to);
	from = c->project;
	c->gen = generation_ref(g);
	auth_renew(c);
	client_rehome(c, to, c->db);
	if (c->tx)
		tx_migrate(c, old, from);
	client_enforce(c);
	generation_unref(old);
}
