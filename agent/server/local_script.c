/* SPDX-License-Identifier: Apache-2.0
 *
 * SCRIPT EXISTS and SCRIPT FLUSH.  The server's scripts are every project's, so an isolated project is told
 * what the agent remembers for it, and forgets no more than that; with isolation = off the server is asked.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "server/local.h"

static bool remembered(const struct request *r, uint32_t i)
{
	struct script *s;
	uint8_t sha[SCRIPT_SHA];

	if (!script_sha_of(word(r, i), sha))
		return false;
	s = scripts_get(r->cl->w->scripts, r->project->ns, sha);
	script_unref(s);
	return s != NULL;
}

/* 0, or it is refused. */
static int refused(struct request *r)
{
	const struct purser_ctx *x = r->cl->w->ctx[r->project->instance];

	if (!r->project->scripts)
		local_failure(r, ERR_NOPERM, "scripts are off in this project: scripts = isolated of its [project] section "
		    "allows them");
	else if (x->inst->op_of[CMD_EVAL] == OP_NONE)
		local_failure(r, ERR_UNSUPPORTED, NULL);
	else
		return 0;
	return -1;
}

/* What the server said; a script that can be sent again exists too. */
static void asked(void *arg, const struct child_reply *rep)
{
	struct request *r = arg;

	if (rep->err) {
		reply_error(&r->b, rep->error, strlen(rep->error));
		r->b.store_error = rep->err == ERR_REDIS;
		req_finish(r);
		return;
	}
	if (r->cmd->id == CMD_SCRIPT_EXISTS) { /* "*n", then ":0" or ":1" each */
		const uint8_t *at = memchr(rep->resp, '\n', rep->n);
		uint32_t n = r->argc - 2;

		if (!at || rep->resp[0] != '*' || (size_t)(rep->resp + rep->n - at - 1) != 4u * n) {
			local_failure(r, ERR_BACKENDPROTOCOL, NULL);
			return;
		}
		reply_array(&r->b, n);
		for (uint32_t i = 0; i < n; i++)
			reply_integer(&r->b, at[2 + 4 * i] == '1' || remembered(r, i + 2));
	} else {
		reply_raw(&r->b, rep->resp, rep->n);
	}
	req_finish(r);
}

static void ask_server(struct request *r)
{
	struct ask a = { .w = r->cl->w, .gen = r->cl->gen, .project = r->project,
		.instance = r->project->instance, .db = r->cl->db };

	a.deadline_ns = r->start_ns + r->cl->gen->instances[a.instance]->operation_timeout_ns;
	child_ask(&a, r->argv, r->argc, asked, r);
}

static void do_exists(struct request *r)
{
	if (refused(r))
		return;
	if (!project_isolated(r->project)) {
		ask_server(r);
		return;
	}
	reply_array(&r->b, r->argc - 2);
	for (uint32_t i = 2; i < r->argc; i++)
		reply_integer(&r->b, remembered(r, i));
	req_finish(r);
}

static void do_flush(struct request *r)
{
	if (refused(r))
		return;
	if (r->argc > 3 || (r->argc == 3 && !word_is(word(r, 2), "ASYNC") && !word_is(word(r, 2), "SYNC"))) {
		local_error(r, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
		return;
	}
	scripts_forget(r->cl->w->scripts, r->project->ns);
	if (project_isolated(r->project))
		local_ok(r);
	else
		ask_server(r);
}

void local_script(req_handler *t)
{
	t[CMD_SCRIPT_EXISTS] = do_exists;
	t[CMD_SCRIPT_FLUSH] = do_flush;
}
