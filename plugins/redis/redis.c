/* SPDX-License-Identifier: Apache-2.0
 *
 * redis: what the plugin declares, and the callbacks of the contract.
 */
#include "redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- an instance ----------------------------------------------------------------------------------- */

static int redis_start(const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	struct instance *in;

	if (instance_new(h, i, &in, e))
		return -1;
	*state = in;
	return 0;
}

static int redis_prepare(void *state, purser_error *e)
{
	return instance_prepare(state, e);
}

static void redis_adopt(void *state, int commit)
{
	instance_adopt(state, commit);
}

static int redis_credential(void *state, uint32_t id, purser_bytes user, purser_bytes secret)
{
	return cred_set(state, id, user, secret);
}

static void redis_stop(void *state)
{
	instance_unref(state);
}

/* ---- a context ------------------------------------------------------------------------------------- */

static int redis_open(void *state, purser_ctx *px, void **cs, purser_error *e)
{
	struct ctx *x = calloc(1, sizeof(*x));

	if (x)
		x->scratch = malloc(SCRATCH);
	if (!x || !x->scratch) {
		free(x);
		snprintf(e->text, sizeof(e->text), "out of memory");
		return -1;
	}
	x->in = state;
	x->h = x->in->h;
	x->x = px;
	/* Jitter needs no secret: without entropy the addresses and the time must do. */
	if (getrandom(&x->random, sizeof(x->random), GRND_NONBLOCK) != (ssize_t)sizeof(x->random))
		x->random = (uint64_t)(uintptr_t)x ^ x->h->now(px);
	x->random |= 1;
	x->unblocks_end = &x->unblocks;
	instance_ref(x->in);
	keep_join(x);
	*cs = x;
	return 0;
}

static int redis_submit(void *cs, purser_call *c)
{
	return c->route == PURSER_ROUTE_SHARED ? lane_submit(cs, c) : pool_submit(cs, c);
}

static void redis_flush(void *cs)
{
	struct ctx *x = cs;
	struct link *l;

	while ((l = x->dirty)) {
		x->dirty = l->next_dirty;
		l->dirty = false;
		if (l->phase == LINK_UP && !l->armed) {
			l->lane->used = x->h->now(x->x);
			link_flush(l);
		}
	}
	while ((l = x->grave)) {
		x->grave = l->next_grave;
		link_free(l);
	}
}

static void redis_resume(void *cs, purser_call *c, int what)
{
	struct link *l = c->user[0];

	(void)cs;
	if (what == PURSER_RESUME_REPLY && l->head == c) {
		link_resume(l);
	} else if (what == PURSER_RESUME_ENCODE && l->encoding == c) {
		l->waiting = false;
		link_dirty(l);
	}
}

/* Not a byte for half as long again as a call may last, though one is owed: behind a middlebox that forgot
 * the connection the kernel alone would never notice. */
static bool silent(const struct link *l)
{
	uint64_t patience = l->x->in->op_ns, since = l->head ? l->head->deadline_ns - patience : UINT64_MAX;
	uint64_t now = l->x->h->now(l->x->x);

	if (since < l->heard)
		since = l->heard;
	return !(l->blocked & BLOCKED_REPLY) && since < now && now - since > patience + patience / 2;
}

/* A shared or pinned link keeps its place for the reply, which the host discards, unless it is silent.  A link that serves
 * only this call is closed, unless the reply is already here, or the server is asked for one. */
static void redis_cancel(void *cs, purser_call *c, int why)
{
	struct link *l = c->user[0];

	(void)cs;
	if (why == PURSER_CANCEL_TIMEOUT && l->head == c && l->began && !(l->blocked & BLOCKED_REPLY)) {
		/* Not one byte for so long: what follows on this link may be anything. */
		link_lost(l, PURSER_E_CANCELLED, "it stopped in the middle of a reply");
		return;
	}
	if (!l->dedicated || l->owner) {
		if (!l->dedicated && why == PURSER_CANCEL_TIMEOUT && silent(l)) {
			link_lost(l, PURSER_E_CANCELLED, "it is silent");
			return;
		}
		if (!l->dedicated)
			lane_forget(c);
		if (l->head == c)
			link_resume(l);
		return;
	}
	if ((l->blocked & BLOCKED_REPLY) == 0 && link_read(l) < 0)
		return;
	if (l->head == c && !l->began && (why == PURSER_CANCEL_UNBLOCK || why == PURSER_CANCEL_UNBLOCK_ERROR) &&
	    unblock_want(l, why == PURSER_CANCEL_UNBLOCK_ERROR) == 0)
		return;
	if (l->head == c && !l->began)
		link_lost(l, PURSER_E_CANCELLED, "cancelled");
	else if (l->head == c)
		link_resume(l);
}

static int redis_subscribe(void *cs, uint32_t kind, purser_bytes name, int on)
{
	return push_subscribe(cs, kind, name, on);
}

static int redis_track(void *cs, purser_bytes prefix, int on)
{
	return track_prefix(cs, prefix, on);
}

static void redis_session_end(void *cs, purser_session *s, void *slot)
{
	(void)s;
	if (slot)
		session_free(cs, slot);
}

/* No new call comes: links with nothing on them are not needed any more. */
static void redis_drain(void *cs)
{
	struct ctx *x = cs;

	x->draining = true;
	keep_leave(x);
	pool_close_idle(x);
	for (struct lane *lane = x->lanes; lane; lane = lane->next) {
		if (lane->timer)
			x->h->untimer(x->x, lane->timer);
		lane->timer = 0;
		for (unsigned i = 0; i < lane->nlinks; i++)
			if (!link_busy(lane->links[i]))
				link_shut(lane->links[i]);
	}
	ctx_wake_all(x);
}

static void redis_close(void *cs)
{
	struct ctx *x = cs;
	struct lane *lane;

	x->draining = true;
	push_stop(x);
	keep_leave(x);
	track_stop(x);
	pool_stop(x); /* ends calls, and they need their sessions */
	while (x->sessions)
		session_free(x, x->sessions);
	while ((lane = x->lanes)) {
		x->lanes = lane->next;
		lane_free(lane);
	}
	x->dirty = NULL;
	redis_flush(x); /* the grave */
	instance_unref(x->in);
	free(x->scratch);
	free(x);
}

/* ---- declarations ---------------------------------------------------------------------------------- */

static const purser_metric metrics[] = {
	[COUNT_OPENED] = { "purser.redis.connections.opened", "{connection}",
		"Connections to the server whose handshake succeeded.", PURSER_METRIC_COUNTER },
	[COUNT_FAILED] = { "purser.redis.connections.failed", "{connection}",
		"Attempts to connect that failed: refused, not resolved, timed out, handshake refused.",
		PURSER_METRIC_COUNTER },
	[COUNT_LOST] = { "purser.redis.connections.lost", "{connection}",
		"Connections that broke or were closed by the server, or closed to abort a call.",
		PURSER_METRIC_COUNTER },
	[COUNT_PROTOCOL] = { "purser.redis.protocol_errors", "{error}",
		"Connections closed because the server sent something that is not RESP, or was not asked for.",
		PURSER_METRIC_COUNTER },
	[COUNT_PUSHES] = { "purser.redis.pushes_ignored", "{message}",
		"RESP3 push messages and attributes that nobody had asked for.", PURSER_METRIC_COUNTER },
	[COUNT_TLS] = { "purser.redis.tls.handshakes", "{handshake}",
		"TLS handshakes with the server that succeeded.", PURSER_METRIC_COUNTER },
	[COUNT_TLS_RESUMED] = { "purser.redis.tls.resumed", "{handshake}",
		"Those of them that resumed an earlier session, which is cheaper.", PURSER_METRIC_COUNTER },
};

static const purser_plugin redis = {
	.struct_size = sizeof(redis),
	.api = PURSER_API,
	.name = "redis",
	.version = "0.1.0",
	.summary = "Passes commands on to a Redis server over shared, pipelined connections.",
	.caps = PURSER_CAP_KV | PURSER_CAP_TTL | PURSER_CAP_SCAN | PURSER_CAP_HASH | PURSER_CAP_LIST |
	    PURSER_CAP_SET | PURSER_CAP_ZSET | PURSER_CAP_STREAM | PURSER_CAP_BLOCKING | PURSER_CAP_BATCH |
	    PURSER_CAP_WATCH | PURSER_CAP_SCRIPT | PURSER_CAP_PUBSUB | PURSER_CAP_TRACKING | PURSER_CAP_INFO | PURSER_CAP_ANY_COMMAND |
	    PURSER_CAP_TELLS_NULLS,
	.model = PURSER_INLINE,
	.args = PURSER_ARGS_WIRE,
	.keys = redis_keys,
	.nkeys = REDIS_NKEYS,
	.key_stride = sizeof(redis_keys[0]),
	.metrics = metrics,
	.nmetrics = sizeof(metrics) / sizeof(*metrics),
	.metric_stride = sizeof(metrics[0]),
	.start = redis_start,
	.prepare = redis_prepare,
	.adopt = redis_adopt,
	.credential = redis_credential,
	.stop = redis_stop,
	.open = redis_open,
	.submit = redis_submit,
	.flush = redis_flush,
	.resume = redis_resume,
	.cancel = redis_cancel,
	.session_end = redis_session_end,
	.subscribe = redis_subscribe,
	.track = redis_track,
	.drain = redis_drain,
	.close = redis_close,
};

PURSER_PLUGIN(redis);
