/* SPDX-License-Identifier: Apache-2.0
 *
 * What a connection is, whatever protocol it speaks: its project, its configuration, its end.  See
 * request.h.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt.h"
#include "feature/touch.h"
#include "request_auth.h"
#include "request_feature.h"
#include "request_pubsub.h"
#include "request_stage.h"

struct generation *generation_ref(struct generation *g)
{
	atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
	return g;
}

void generation_unref(struct generation *g)
{
	if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
		return;
	access_clear(&g->access);
	projects_clear(&g->projects);
	token_set_free(g->tokens);
	jwt_policy_unref(g->jwt);
	free(g);
}

void client_migrate(struct client *c)
{
	struct generation *old = c->gen;
	const struct project *p = c->project;
	uint16_t db = c->db;

	if (old == c->w->gen)
		return;
	if (!client_idle(c)) {
		if (client_waits(c))
			client_carry(c);
		return;
	}
	c->gen = generation_ref(c->w->gen);
	auth_renew(c);
	client_rehome(c, p, db);
	if (c->tx)
		tx_migrate(c, old, p);
	if (c->outband)
		pubsub_migrated(c, p);
	client_enforce(c);
	generation_unref(old);
}

void client_init(struct client *c, struct worker *w)
{
	c->w = w;
	c->gen = generation_ref(w->gen);
	c->resp = 2;
	client_identified(c);
	c->next = w->clients;
	if (c->next)
		c->next->prev = c;
	w->clients = c;
	atomic_fetch_add_explicit(&w->nclients, 1, memory_order_relaxed);
}

void client_gone(struct client *c)
{
	struct request *r, *head;

	c->gone = true;
	auth_gone(c);
	limit_left(c);
	if (c->outband)
		outband_end(c);
	if (c->retry.parked)
		retry_drop(c, false);
	if (c->held) {
		r = c->held;
		c->held = NULL;
		loop_timer_stop(c->w->loop, &c->hold_timer);
		r->b.discard = true;
		req_finish(r);
	}
	for (r = c->head; r; r = r->next)
		r->b.discard = true;
	/* What is abandoned at the head leaves the queue, and so does what is answered behind it. */
	for (r = c->head; r; r = c->head == head ? r->next : c->head) {
		head = c->head;
		if (r->feature) {
			if (!r->answered)
				feature_gone(r);
		} else if (!r->released && !r->answered)
			ctx_abandon(r->b.c.ctx, &r->b, PURSER_CANCEL_CLIENT_GONE);
	}
	client_unbind(c);
	out_clear(&c->out, &c->w->pool);
}

/* Replies that refer to the plugin's memory are copied; one that cannot be cuts its client. */
static void own_replies(struct client *c)
{
	int rc = out_own(&c->out);

	for (struct request *r = c->head; r; r = r->next)
		rc |= out_own(&r->own);
	if (!rc)
		return;
	out_clear(&c->out, &c->w->pool);
	for (struct request *r = c->head; r; r = r->next)
		out_clear(&r->own, &c->w->pool);
	c->behind = 0;
	c->cut = true;
	c->wake(c);
}

void worker_close_ctx(struct worker *w, uint32_t instance)
{
	struct purser_ctx *x = w->ctx[instance];

	if (!x)
		return;
	for (struct client *c = w->clients; c; c = c->next) {
		tx_lost(c, x->inst);
		if (c->retry.parked && c->session.instance == x->inst)
			retry_drop(c, true);
		own_replies(c);
		if (!c->session.inflight || c->session.instance != x->inst)
			ctx_session_end(x, &c->session);
	}
	if (w->touch)
		touch_close(&w->feature, x->inst);
	ctx_close(x); /* ends what is in flight */
	w->ctx[instance] = NULL;
	for (struct client *c = w->clients; c; c = c->next)
		c->session.slot[instance] = NULL;
}

bool client_idle(const struct client *c)
{
	return !c->head && !c->session.inflight;
}

void client_free(struct client *c)
{
	struct worker *w = c->w;

	for (uint32_t i = 0; i < INSTANCES_MAX; i++)
		if (w->ctx[i])
			ctx_session_end(w->ctx[i], &c->session);
	if (c->prev)
		c->prev->next = c->next;
	else
		w->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	atomic_fetch_sub_explicit(&w->nclients, 1, memory_order_relaxed);
	auth_free(c);
	out_clear(&c->out, &w->pool);
	tx_free(c->tx, &w->pool);
	free(c->outband);
	unsaid_forget(c);
	peer_free(&c->id.peer);
	generation_unref(c->gen);
}
