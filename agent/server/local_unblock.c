/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIENT UNBLOCK: the client may be another worker's, so all of them are asked.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "request_tour.h"
#include "server/local.h"

struct question {
	struct tour t;              /* first */
	struct request *r;          /* who asked; it stays until it is answered */
	uint64_t id;
	bool error, found;
	char project[PROJECT_NAME_MAX + 1];
};

/* A client of another project is not there. */
static void visit(struct tour *t, struct worker *w)
{
	struct question *q = (struct question *)t;

	for (struct client *c = w->clients; c && !q->found; c = c->next)
		q->found = c->session.id == q->id && !c->gone && client_waits(c) &&
		    strcmp(c->head->project->name, q->project) == 0 && client_unblock(c, q->error);
}

static void end(struct tour *t)
{
	struct question *q = (struct question *)t;

	reply_integer(&q->r->b, q->found);
	req_finish(q->r);
	free(q);
}

static void do_unblock(struct request *r)
{
	struct question *q;
	bool error = false;
	int64_t id;

	if (r->argc > 4) {
		local_error(r, "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.");
		return;
	}
	if (r->argc == 4) {
		error = word_is(word(r, 3), "ERROR");
		if (!error && !word_is(word(r, 3), "TIMEOUT")) {
			local_error(r, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
			return;
		}
	}
	if (purser_resp_int(word(r, 2).p, word(r, 2).n, &id)) {
		local_error(r, "ERR value is not an integer or out of range");
		return;
	}
	q = calloc(1, sizeof *q);
	if (!q) {
		local_failure(r, ERR_OOM, NULL);
		return;
	}
	*q = (struct question){ .t = { .visit = visit, .end = end }, .r = r, .id = (uint64_t)id, .error = error };
	snprintf(q->project, sizeof q->project, "%s", r->project->name);
	tour_start(&q->t, r->cl->w);
}

void local_unblock(req_handler *t)
{
	t[CMD_CLIENT_UNBLOCK] = do_unblock;
}
