/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIENT UNBLOCK: the client may be another worker's, so the question goes round all of them.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "server/local.h"

struct question {
	purser_job job;
	struct server *srv;
	struct request *r;          /* who asked; it stays until it is answered */
	uint32_t home, at;          /* its worker; the one that is asked now */
	uint64_t id;
	bool error, found;
	char project[PROJECT_NAME_MAX + 1];
};

static void answer(void *arg)
{
	struct question *q = arg;

	reply_integer(&q->r->b, q->found);
	req_finish(q->r);
	free(q);
}

/* A client of another project is not there. */
static bool unblock(struct worker *w, const struct question *q)
{
	for (struct client *c = w->clients; c; c = c->next)
		if (c->session.id == q->id)
			return !c->gone && client_waits(c) && strcmp(c->head->project->name, q->project) == 0 &&
			    client_unblock(c, q->error);
	return false;
}

/* On the worker that is asked, or at home with the answer. */
static void go_round(void *arg)
{
	struct question *q = arg;

	q->found = unblock(&q->srv->workers[q->at].w, q);
	q->at = (q->at + 1) % q->srv->nworkers;
	if (q->at == q->home || q->found) {
		q->job.fn = answer;
		q->at = q->home;
	}
	loop_post(q->srv->workers[q->at].w.loop, &q->job);
}

static void do_unblock(struct request *r)
{
	struct serving *s = ((struct conn *)r->cl)->sv;
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
	*q = (struct question){ .job = { .fn = go_round, .arg = q }, .srv = s->srv, .r = r, .home = s->w.index,
		.at = s->w.index, .id = (uint64_t)id, .error = error };
	snprintf(q->project, sizeof q->project, "%s", r->project->name);
	loop_post(s->w.loop, &q->job);
}

void local_unblock(req_handler *t)
{
	t[CMD_CLIENT_UNBLOCK] = do_unblock;
}
