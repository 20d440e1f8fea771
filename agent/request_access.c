/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client may: its project and its role there, and the slow road of the stage authorize.
 */
#include <config.h>
#include <string.h>
#include "request_stage.h"

static void settle(struct client *c, const struct project *p, const struct role *role)
{
	c->project = role ? p : NULL;
	c->role = p ? role : NULL;
	c->narrow = c->role && c->role->narrow;
	c->perms = c->role && !c->narrow ? c->role->perms : 0;
}

void client_leave(struct client *c)
{
	settle(c, c->home, c->home_role);
	c->db = 0;
}

bool client_choose(struct client *c, const void *name, size_t n)
{
	const struct project *p = project_find(&c->gen->projects, name, n);
	const struct role *role = p ? access_enter(&c->gen->access, &c->id, p, NULL) : NULL;

	if (!role)
		return false;
	if (p != c->project)
		c->db = 0;
	settle(c, p, role);
	return true;
}

bool client_identified(struct client *c)
{
	const struct access *a = &c->gen->access;
	const struct project *was = c->project;

	c->choice = (uint8_t)access_sole(a, &c->id, &c->home, &c->home_role);
	c->operates = access_operates(a, &c->id);
	if (was && project_find(&c->gen->projects, was->name, strlen(was->name)) == was) {
		const struct role *role = access_enter(a, &c->id, was, NULL);

		if (role) {
			settle(c, was, role);
			return true;
		}
	}
	client_leave(c);
	return !was;
}

enum stage_result req_decide(struct request *r)
{
	struct client *c = r->cl;
	struct access_question q = { .access = &c->gen->access, .id = &c->id, .project = r->project, .role = c->role,
		.operates = c->operates, .several = c->choice == ACCESS_SEVERAL, .cmd = r->cmd, .argv = r->argv,
		.argc = r->argc };
	struct access_answer a;

	if (access_decide(&q, &a))
		return STAGE_NEXT;
	return req_refuse(r, a.err, a.text);
}
