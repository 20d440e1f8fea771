/* SPDX-License-Identifier: Apache-2.0
 *
 * CACHE.INCRBY: a counter that gets its expiry in the step that creates it.
 */
#include <config.h>
#include <purser/resp.h>
#include "feature/rooms.h"
#include "resp/pick.h"

static void counted(void *arg, const struct feature_reply *rep)
{
	struct feature_call *f = arg;
	const uint8_t *at = rep->resp;
	purser_bytes text;
	int64_t v;

	if (rep->err) {
		feature_pass_error(f, rep);
	} else if (resp_pick_bulk(&at, rep->resp + rep->n, &text) || purser_resp_int(text.p, text.n, &v)) {
		feature_fail(f, ERR_BACKENDPROTOCOL, NULL);
	} else {
		reply_integer(f->b, v);
		feature_end(f);
	}
}

static void do_incrby(struct feature_call *f)
{
	purser_bytes key = feature_key(f, f->argv[1]);
	int64_t delta, ttl;

	if (purser_resp_int(f->argv[2].p, f->argv[2].n, &delta)) {
		feature_error(f, "ERR value is not an integer or out of range");
	} else if (purser_resp_int(f->argv[3].p, f->argv[3].n, &ttl) || ttl <= 0) {
		feature_error(f, "ERR invalid expire time in 'cache.incrby' command");
	} else if (!key.p) {
		feature_fail(f, ERR_OOM, NULL);
	} else {
		feature_script(f, LUA_CACHE_INCRBY, &key, 1, f->argv + 2, 2, counted, f);
	}
}

void cache_counter_commands(feature_handler *t)
{
	t[CMD_CACHE_INCRBY] = do_incrby;
}
