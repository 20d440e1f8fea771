/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include "server/local.h"

/* A row that has no handler: a container called without a subcommand. */
static void no_handler(struct request *r)
{
	local_error(r, "ERR unknown subcommand or wrong number of arguments");
}

void server_handlers(req_handler *t)
{
	for (unsigned i = 0; i < CMD_COUNT; i++)
		t[i] = no_handler;
	local_connection(t);
	local_auth(t);
	local_unblock(t);
	local_command(t);
	local_server(t);
	local_info(t);
	local_slow(t);
	local_script(t);
	local_space(t);
	local_agent(t);
	local_pubsub(t);
	local_breaker(t);
	local_watch(t);
	local_explain(t);
	local_client(t);
	local_track(t);
	local_cache(t);
}
