/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client may: its project and its role there, and the slow road of the stage authorize.
 */
#include <config.h>
#include <string.h>
#include "request_auth.h"
#include "request_feature.h"
#include "request_pubsub.h"
#include "request_stage.h"
#include "request_track.h"

static void settle(struct client *c, const struct project *p, const struct role *role)
{
	c->project = role ? p : NULL;
	c->role = p ? role : NULL;
	c->narrow = c->role && c->role->narrow;
	c->perms = c->role && !c->narrow ? c->role->perms : 0;
	if (!limit_entered(c))
		c->perms = 0; /* req_decide() says so */
	if (c->unsaid)
		c->perms = 0;
}

void client_settle(struct client *c)
{
	settle(c, c->project, c->role);
}

void client_leave(struct client *c)
{
	settle(c, c->home, c->home_role);
	c->db = 0;
}

bool client_choose(struct client *c, const void *name, size_t n)
{
	const struct role *role;
	const struct project *p;

	c->crowded = false;
	p = access_project(&c->gen->access, &c->id, name, n, &role, &c->crowded);
	if (c->crowded)
		metric_add(c->w->metrics, METRIC_PROJECTS_REFUSED, 1);
	if (!p)
		return false;
	if (p != c->project)
		c->db = 0;
	settle(c, p, role);
	return true;
}

static void find_home(struct client *c)
{
	const struct access *a = &c->gen->access;

	c->choice = (uint8_t)access_sole(a, &c->id, &c->home, &c->home_role);
	c->operates = access_operates(a, &c->id);
}

/* ---- the decision ---- */

bool client_decide(const struct client *c, const struct command *cmd, const purser_bytes *argv, uint32_t argc,
    struct access_answer *a)
{
	struct access_question q = { .access = &c->gen->access, .id = &c->id, .project = c->project, .role = c->role,
		.operates = c->operates, .several = c->choice == ACCESS_SEVERAL, .cmd = cmd, .argv = argv, .argc = argc };

	return access_decide(&q, a);
}

enum stage_result req_decide(struct request *r)
{
	struct access_answer a;

	if (__builtin_expect(r->cl->unsaid != NULL, 0) && r->cmd->id != CMD_QUIT && r->cmd->id != CMD_RESET)
		return unsaid_say(r);
	if (__builtin_expect(r->cl->turned_away, 0) && r->cmd->perm != PERM_ANY) {
		char text[256];

		settle(r->cl, r->cl->project, r->cl->role); /* there may be room by now */
		if (r->cl->turned_away)
			return req_refuse(r, ERR_RATELIMITED, limit_full(r->cl, text, sizeof text));
	}
	if (client_decide(r->cl, r->cmd, r->argv, r->argc, &a))
		return STAGE_NEXT;
	audit_denied(r->cl, &(struct audit){ AUDIT_COMMAND, r->cmd->name, { NULL, 0 }, err_rows[a.err].error_type, a.text });
	return req_refuse(r, a.err, a.text);
}

bool client_may(const struct client *c, const struct command *cmd, const purser_bytes *argv, uint32_t argc)
{
	struct access_answer a;

	return c->perms >> cmd->perm & 1 || client_decide(c, cmd, argv, argc, &a);
}

/* ---- rights that change while a connection is open ---- */

static bool may_listen(const struct client *c)
{
	static const uint8_t client[] = "CLIENT", tracking[] = "TRACKING", on[] = "ON", bcast[] = "BCAST";
	const purser_bytes track[] = { { client, 6 }, { tracking, 8 }, { on, 2 }, { bcast, 5 } };
	const struct outband *o = c->outband;

	if (o->monitor && !client_may(c, &cmd_rows[CMD_MONITOR], track, 1))
		return false;
	if (o->tracking && !client_may(c, &cmd_rows[CMD_CLIENT_TRACKING], track, o->tracking->options & TRACK_BCAST ? 4 : 3))
		return false;
	return pubsub_still_may(c);
}

void client_refuse_held(struct client *c, enum err_code err, const char *text)
{
	struct request *held = c->held;

	if (!held)
		return;
	c->held = NULL;
	loop_timer_stop(c->w->loop, &c->hold_timer);
	req_refuse(held, err, text);
}

/* What it waits for, and the one behind it, which was let through by what was allowed then. */
static void enforce_waiting(struct client *c)
{
	struct request *r = c->head, *held = c->held;
	struct access_answer a;

	if (held && !client_decide(c, held->cmd, held->argv, held->argc, &a))
		client_refuse_held(c, a.err, a.text);
	if (!client_may(c, r->cmd, r->argv, r->argc))
		client_unblock(c, true);
}

void client_enforce(struct client *c)
{
	if (c->topics && !client_may(c, &cmd_rows[CMD_PURSER_SUBSCRIBE], NULL, 0))
		c->topics = 0;
	if (c->outband && (client_listens(c) || c->outband->tracking) && !may_listen(c)) {
		pubsub_leave(c);
		monitor_leave(c);
		track_end(c);
		client_dismiss(c, "permission", "what this connection hears it may not hear any more: connect again");
	}
	if (c->tx)
		tx_enforce(c);
	if (client_waits(c))
		enforce_waiting(c);
}

void client_rehome(struct client *c, const struct project *was, uint16_t db)
{
	find_home(c);
	if (c->id.lapsed) /* it has been somebody else: what it is now is for it to say anew */
		settle(c, NULL, NULL);
	else if (was && client_choose(c, was->name, strlen(was->name)))
		c->db = db < c->project->databases ? db : 0;
	else if (!was || !c->gen->production)
		client_leave(c);
	else
		settle(c, NULL, NULL); /* somewhere else it would write what belongs there */
}

bool client_identified(struct client *c)
{
	const struct project *was = c->project;

	client_rehome(c, was, c->db);
	client_enforce(c);
	return c->project == was || !was;
}
