/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place that every denial passes: who, what, why.
 */
#include <config.h>
#include <stdio.h>
#include "request_auth.h"

const char *identity_source_name(const struct identity *id)
{
	static const char *const names[] = { "nobody", "peer", "token", "jwt" };

	return names[id->source];
}

void audit_denied(struct client *c, const struct audit *a)
{
	static const char *const events[] = { "access.denied", "access.project", "access.authentication" };
	const struct identity *id = &c->id;
	/* What is no name of a project may be a secret in the wrong place. */
	bool shown = a->project.p && project_name_ok(a->project.p, a->project.n);
	char key[160];

	metric_cell_add(metric_cell(c->w->metrics, METRIC_ACCESS_DENIED, a->reason), 1);
	if (!log_on(c->w->log, LOG_M_ACCESS, LOG_WARN))
		return;
	/* One who tries everything is some lines, and hides nobody else. */
	snprintf(key, sizeof key, "%s %u %s", id->name, id->peer.uid, a->reason);
	log_event(c->w->log, LOG_M_ACCESS, LOG_WARN, events[a->kind], a->why, LOG_STR("reason", a->reason),
	    LOG_STR("what", a->what), LOG_BYTES("project", a->project.p, shown ? a->project.n : 0),
	    LOG_STR("in_project", c->project ? c->project->name : ""), LOG_STR("role", c->role ? c->role->name : ""),
	    LOG_STR("source", identity_source_name(id)), LOG_STR("name", id->name), LOG_INT("uid", (int32_t)id->peer.uid),
	    LOG_INT("gid", (int32_t)id->peer.gid), LOG_INT("pid", (int32_t)id->peer.pid),
	    LOG_UINT("client.id", c->session.id), LOG_KEY(key));
}
