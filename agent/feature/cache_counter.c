/* SPDX-License-Identifier: Apache-2.0
 *
 * CACHE.INCRBY: a counter that gets its expiry in the step that creates it.
 */
#include <config.h>
#include <purser/resp.h>
#include "feature/rooms.h"
#include "resp/pick.h"

#define LIFE_MAX (INT64_C(1) << 53) /* the store refuses more: a counter without an end would be left */

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
	purser_bytes key = feature_key(f, f->argv[1]), args[2];
	int64_t delta, ttl;

	if (purser_resp_int(f->argv[2].p, f->argv[2].n, &delta)) {
		feature_error(f, "ERR value is not an integer or out of range");
		return;
	}
	if (purser_resp_int(f->argv[3].p, f->argv[3].n, &ttl) || ttl <= 0 || ttl > LIFE_MAX) {
		feature_error(f, "ERR invalid expire time in 'cache.incrby' command");
		return;
	}
	args[0] = feature_number(f->arena, delta); /* as the store spells them: it takes neither +5 nor 05 */
	args[1] = feature_number(f->arena, ttl);
	if (key.p && args[0].p && args[1].p)
		feature_script(f, LUA_CACHE_INCRBY, &key, 1, args, 2, counted, f);
	else
		feature_fail(f, ERR_OOM, NULL);
}

void cache_counter_commands(feature_handler *t)
{
	t[CMD_CACHE_INCRBY] = do_incrby;
}
