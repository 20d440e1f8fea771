/* SPDX-License-Identifier: Apache-2.0
 *
 * A request that starts while its arguments still arrive: a large value passes through, it is never whole
 * in here.  Where its keys are must be known from the number of its arguments alone, and its backend must
 * take wire bytes; any other large request is gathered first.  It has a link of its own
 * (PURSER_ROUTE_EXCLUSIVE): when it breaks off that link is closed, and the store runs nothing of it.
 */
#include <config.h>
#include "request_push.h"

#define STREAM_ARGS 4096u /* more are gathered: what is known of each argument takes memory too */

/* Is there nothing to be said against a name that is not here yet?  It may be the agent's own, or none of the role's. */
static bool names_known(const struct client *c, const struct command *cmd, uint32_t have)
{
	return (c->project->prefix_len && !c->narrow) || (cmd->last == cmd->first && have > (uint32_t)cmd->first);
}

bool req_may_stream(const struct client *c, const purser_bytes *argv, uint32_t have, uint32_t argc)
{
	const struct purser_ctx *x;
	const struct command *cmd;

	if (!have || argc > STREAM_ARGS || !c->project || c->anonymous || c->tx ||
	    (c->outband && c->outband->tracking)) /* what it reads must be known at once */
		return false;
	x = c->w->ctx[c->project->instance];
	cmd = cmd_by_name(c->w->commands, (const char *)argv[0].p, argv[0].n);
	return x && x->p->args == PURSER_ARGS_WIRE && cmd && cmd->run == RUN_BACKEND &&
	    !(cmd->flags & (F_CONTAINER | F_BLOCKING)) && cmd->args == A_NONE && cmd->more == KEYS_FIXED &&
	    cmd->transform != X_RECEIVERS &&
	    cmd_arity_ok(cmd, argc) && names_known(c, cmd, have);
}

bool req_stream(struct client *c, purser_bytes *argv, uint32_t argc, uint32_t here, struct request **r,
    struct call_source *source)
{
	struct request *made = req_new(c, argv, argc);

	if (!made)
		return false;
	*r = made;
	made->b.source = source;
	made->here = here;
	if (req_pin(made)) {
		reply_failure(&made->b, ERR_OOM, NULL);
		req_finish(made);
	} else {
		req_start(made);
	}
	return true;
}

void req_source_ended(struct request *r)
{
	struct call_source *s = r->b.source;

	r->b.source = NULL;
	s->ended(s);
}

void req_stream_abort(struct request *r)
{
	ctx_abandon(r->b.c.ctx, &r->b, PURSER_CANCEL_CLIENT_GONE);
}
