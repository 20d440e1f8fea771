/* SPDX-License-Identifier: Apache-2.0
 *
 * Publish/subscribe: everybody who can hear is in this process, so all of it is the host's.
 */
#include "cmd.h"

static void publish(struct ctx *cx, purser_call *c, uint32_t kind)
{
	reply_int(cx, c, (int64_t)cx->h->publish(cx->st->i, kind, c->argv[1], c->argv[2]));
}

void op_publish(struct ctx *cx, purser_call *c)
{
	publish(cx, c, PURSER_SUB_CHANNEL);
}

void op_spublish(struct ctx *cx, purser_call *c)
{
	publish(cx, c, PURSER_SUB_SHARD);
}
