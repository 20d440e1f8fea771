/* SPDX-License-Identifier: Apache-2.0
 *
 * A topic is one name of the store that clients of this worker want; a subscription is one client's
 * interest in one topic under the name that it gave.  A topic is ON between the hub's two answers;
 * operations that wait for such an answer hold it.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "access/channel.h"
#include "base/buf.h"
#include "request_pubsub.h"
#include "request_track.h"

enum topic_state { OFF, ASKING, ON, LEAVING };

struct waiter;
struct topic {
	struct names_node node;      /* first */
	struct worker *w;
	struct hub *hub;             /* a reference */
	struct hub_ask ask;
	uint8_t kind, state;
	bool lost;                   /* those who are on it are being closed */
	bool busy;                   /* answered() looks at it behind all of them */
	uint32_t nsubs, nleaving, holds;
	struct subscription *subs;
	struct waiter *waiting;
	purser_bytes name;           /* behind it */
};

struct subscription {
	struct names_node node;      /* first */
	struct topic *t;
	struct client *c;
	struct subscription *next_sub, *prev_sub; /* of the topic */
	struct subscription *next, *prev;         /* of the client */
	uint8_t mode;                /* enum channel_mode */
	bool leaving;                /* an UNSUBSCRIBE is not confirmed: it hears what was sent before */
	purser_bytes name;           /* as the client gave it; behind it, or in the topic */
};

struct waiter {
	struct waiter *next;         /* of the topic */
	struct sub_op *op;
	struct topic *t;             /* NULL: not held (any more) */
	bool waiting;
	uint8_t mode;
	purser_bytes name;
};

struct sub_op {
	struct request *r;
	struct loop_timer timer;
	uint8_t kind;
	bool on;
	uint32_t left;               /* waiters that wait */
	enum err_code err;
	struct buf reply;
	struct hub_ask fence;        /* UNSUBSCRIBE: behind what the home has sent to this worker */
	bool fenced;                 /* ... it has come back, or was never sent */
	struct sub_op *next_ended;   /* answered(): to be ended */
	bool ending;
	uint32_t n;
	struct waiter v[];
};

static const char *const words[2][4] = {
	{ "", "unsubscribe", "punsubscribe", "sunsubscribe" },
	{ "", "subscribe", "psubscribe", "ssubscribe" },
};

/* ---- topics ---- */

static uint64_t tag_of(const void *owner, uint8_t kind)
{
	return (uint64_t)(uintptr_t)owner << 2 | kind;
}

static struct topic *topic_find(struct worker *w, struct hub *h, uint8_t kind, purser_bytes name,
    uint64_t hash)
{
	for (struct names_node *at = names_first(&w->topics, hash); at; at = names_next(at)) {
		struct topic *t = (struct topic *)at;

		if (t->hub == h && t->kind == kind && t->name.n == name.n && !memcmp(t->name.p, name.p, name.n))
			return t;
	}
	return NULL;
}

static void answered(struct hub_ask *a);

static struct topic *topic_of(struct worker *w, struct hub *h, uint8_t kind, purser_bytes name)
{
	uint64_t hash = names_hash(tag_of(h, kind), name.p, name.n);
	struct topic *t = topic_find(w, h, kind, name, hash);

	if (t)
		return t;
	t = calloc(1, sizeof *t + name.n);
	if (!t)
		return NULL;
	t->w = w;
	t->hub = h;
	t->kind = kind;
	t->name = (purser_bytes){ (uint8_t *)(t + 1), name.n };
	if (name.n)
		memcpy(t + 1, name.p, name.n);
	t->ask = (struct hub_ask){ .hub = h, .worker = w->index, .kind = kind, .name = t->name,
		.answered = answered };
	if (names_add(&w->topics, &t->node, hash)) {
		free(t);
		return NULL;
	}
	hub_ref(h);
	return t;
}

/* What is asked of the hub, by what is wanted and what is.  The topic may be gone behind it. */
static void topic_turn(struct topic *t)
{
	bool want = (t->nsubs > t->nleaving && !t->lost) || t->holds;

	if (t->busy)
		return;
	if (t->lost && !t->nsubs)
		t->lost = false;
	if ((t->state == OFF && want) || (t->state == ON && !want)) {
		t->ask.on = want;
		t->state = want ? ASKING : LEAVING;
		hub_send(&t->ask);
	} else if (t->state == OFF && !want && !t->waiting && !t->nsubs) {
		names_remove(&t->w->topics, &t->node);
		hub_unref(t->hub);
		free(t);
	}
}

/* ---- waiting for topics ---- */

static void op_end(struct sub_op *op);

static void wait_for(struct waiter *v)
{
	v->waiting = true;
	v->op->left++;
	v->next = v->t->waiting;
	v->t->waiting = v;
}

static void stop_waiting(struct waiter *v)
{
	struct waiter **p = &v->t->waiting;

	if (!v->waiting)
		return;
	while (*p != v)
		p = &(*p)->next;
	*p = v->next;
	v->waiting = false;
	v->op->left--;
}

static void answered(struct hub_ask *a)
{
	struct topic *t = (struct topic *)((char *)a - offsetof(struct topic, ask));
	bool on = t->state == ASKING;
	struct waiter *v, **p = &t->waiting;
	struct sub_op *ended = NULL, *op;

	t->state = on && a->ok ? ON : OFF;
	while ((v = *p)) {
		op = v->op;
		if (op->on != on) {
			p = &v->next;
			continue;
		}
		*p = v->next;
		v->waiting = false;
		if (!on)
			v->t = NULL; /* nothing holds it */
		if (on && !a->ok)
			op->err = ERR_BACKENDDOWN;
		if ((--op->left == 0 || op->err) && !op->ending) {
			op->ending = true;
			op->next_ended = ended;
			ended = op;
		}
	}
	t->busy = true; /* it stays as it is until all of them have been told */
	while ((op = ended)) {
		ended = op->next_ended;
		op_end(op);
	}
	t->busy = false;
	topic_turn(t);
}

/* ---- subscriptions ---- */

static struct subscription *sub_find(struct client *c, uint8_t kind, purser_bytes name)
{
	uint64_t hash = names_hash(tag_of(c, kind), name.p, name.n);

	for (struct names_node *at = names_first(&c->w->subscriptions, hash); at; at = names_next(at)) {
		struct subscription *s = (struct subscription *)at;

		if (s->c == c && s->t->kind == kind && s->name.n == name.n &&
		    !memcmp(s->name.p, name.p, name.n))
			return s;
	}
	return NULL;
}

static uint32_t *counter(struct client *c, uint8_t kind)
{
	struct outband *o = c->outband;

	return kind == PURSER_SUB_SHARD ? &o->shards : kind == PURSER_SUB_PATTERN ? &o->patterns : &o->channels;
}

/* What confirmations count: shard channels apart. */
static uint32_t count_of(struct client *c, uint8_t kind)
{
	const struct outband *o = c->outband;

	return kind == PURSER_SUB_SHARD ? o->shards : o->channels + o->patterns;
}

uint32_t pubsub_names(const struct client *c)
{
	return c->outband ? c->outband->channels + c->outband->patterns + c->outband->shards : 0;
}

static struct subscription *sub_add(struct client *c, struct topic *t, uint8_t mode, purser_bytes name)
{
	/* A plain name is the end of the store's: no copy of it is needed. */
	bool copy = mode != CHANNEL_PLAIN;
	struct subscription *s = calloc(1, sizeof *s + (copy ? name.n : 0));

	if (!s)
		return NULL;
	s->t = t;
	s->c = c;
	s->mode = mode;
	s->name = (purser_bytes){ copy ? (uint8_t *)(s + 1) : t->name.p + (t->name.n - name.n), name.n };
	if (copy && name.n)
		memcpy(s + 1, name.p, name.n);
	if (names_add(&c->w->subscriptions, &s->node, names_hash(tag_of(c, t->kind), name.p, name.n))) {
		free(s);
		return NULL;
	}
	s->next_sub = t->subs;
	if (t->subs)
		t->subs->prev_sub = s;
	t->subs = s;
	s->prev = c->outband->last;
	*(s->prev ? &s->prev->next : &c->outband->first) = s;
	c->outband->last = s;
	++*counter(c, t->kind);
	hub_count(t->hub, t->kind, t->name, c->w->index, ++t->nsubs);
	return s;
}

/* The topic stays as it is: topic_turn() follows. */
static struct topic *sub_remove(struct subscription *s)
{
	struct topic *t = s->t;
	struct client *c = s->c;

	names_remove(&c->w->subscriptions, &s->node);
	*(s->prev_sub ? &s->prev_sub->next_sub : &t->subs) = s->next_sub;
	if (s->next_sub)
		s->next_sub->prev_sub = s->prev_sub;
	*(s->prev ? &s->prev->next : &c->outband->first) = s->next;
	*(s->next ? &s->next->prev : &c->outband->last) = s->prev;
	--*counter(c, t->kind);
	t->nleaving -= s->leaving;
	hub_count(t->hub, t->kind, t->name, c->w->index, --t->nsubs);
	free(s);
	return t;
}

void pubsub_leave(struct client *c)
{
	while (c->outband && c->outband->first)
		topic_turn(sub_remove(c->outband->first));
}

/* ---- operations ---- */

static void put_line(struct buf *b, char type, uint64_t n)
{
	buf_putc(b, type);
	buf_putu(b, n);
	buf_put(b, "\r\n", 2);
}

static void put_bulk(struct buf *b, const void *p, size_t n)
{
	put_line(b, '$', n);
	buf_put(b, p, n);
	buf_put(b, "\r\n", 2);
}

/* p NULL: there was no name to say. */
static void put_confirmation(struct buf *b, const struct client *c, const char *word, const uint8_t *p,
    size_t n, uint32_t count)
{
	put_line(b, c->resp == 3 ? '>' : '*', 3);
	put_bulk(b, word, strlen(word));
	if (p)
		put_bulk(b, p, n);
	else
		buf_puts(b, c->resp == 3 ? "_\r\n" : "$-1\r\n");
	put_line(b, ':', count);
}

static void op_timeout(struct loop_timer *lt)
{
	struct sub_op *op = (struct sub_op *)((char *)lt - offsetof(struct sub_op, timer));

	if (op->on)
		op->err = ERR_TIMEOUT;
	op_end(op);
}

static struct sub_op *op_begin(struct request *r, uint8_t kind, bool on, uint32_t n)
{
	struct sub_op *op;

	if (!client_outband(r->cl))
		return NULL;
	op = calloc(1, sizeof *op + n * sizeof op->v[0]);
	if (!op)
		return NULL;
	op->r = r;
	op->kind = kind;
	op->on = on;
	op->n = n;
	op->fenced = true;
	for (uint32_t i = 0; i < n; i++)
		op->v[i].op = op;
	op->timer.fn = op_timeout;
	r->b.discard = r->cl->gone; /* a confirmation is a push: CLIENT REPLY does not silence it */
	return op;
}

/* Everything is confirmed: the subscriptions begin, in the order of the words. */
static void op_subscribe(struct sub_op *op)
{
	struct client *c = op->r->cl;

	for (uint32_t i = 0; i < op->n && !c->gone; i++) {
		struct waiter *v = &op->v[i];
		purser_bytes name = op->r->argv[i + 1];

		if (!sub_find(c, op->kind, name) && !sub_add(c, v->t, v->mode, name)) {
			op->err = ERR_OOM;
			return;
		}
		put_confirmation(&op->reply, c, words[1][op->kind], name.p, name.n, count_of(c, op->kind));
	}
}

/* The store has let go of the names, or others want them still: the subscriptions end. */
static void op_unsubscribe(struct sub_op *op)
{
	struct client *c = op->r->cl;

	for (uint32_t i = 0; i < op->n && !c->gone; i++) {
		purser_bytes name = op->v[i].name;
		struct subscription *s = sub_find(c, op->kind, name);

		if (s)
			topic_turn(sub_remove(s));
		put_confirmation(&op->reply, c, words[0][op->kind], name.p, name.n, count_of(c, op->kind));
	}
	if (!op->n)
		put_confirmation(&op->reply, c, words[0][op->kind], NULL, 0, count_of(c, op->kind));
}

static void op_end(struct sub_op *op)
{
	struct request *r = op->r;

	loop_timer_stop(r->cl->w->loop, &op->timer);
	if (op->on && !op->err)
		op_subscribe(op);
	for (uint32_t i = 0; i < op->n; i++) {
		struct waiter *v = &op->v[i];

		if (!v->t)
			continue;
		stop_waiting(v);
		v->t->holds -= op->on;
		topic_turn(v->t);
	}
	if (!op->on)
		op_unsubscribe(op);
	if (op->reply.failed)
		op->err = ERR_OOM;
	if (op->err)
		reply_failure(&r->b, op->err, op->err == ERR_BACKENDDOWN ? "the backend does not take the "
		    "subscription now, or refuses it: PURSER.HEALTH shows why" : NULL);
	else
		reply_raw(&r->b, buf_data(&op->reply), buf_len(&op->reply));
	buf_free(&op->reply);
	if (op->fenced)
		free(op);
	else
		op->r = NULL; /* freed when the fence comes back */
	req_finish(r);
}

static void fence_back(struct hub_ask *a)
{
	struct sub_op *op = (struct sub_op *)((char *)a - offsetof(struct sub_op, fence));

	op->fenced = true;
	if (!op->r)
		free(op);
	else if (--op->left == 0)
		op_end(op);
}

static void op_wait(struct sub_op *op)
{
	struct worker *w = op->r->cl->w;
	const struct purser_ctx *x = w->ctx[op->r->project->instance];

	if (op->left && !loop_timer_set(w->loop, &op->timer, op->r->start_ns + x->inst->operation_timeout_ns))
		return;
	if (op->left)
		op->err = ERR_OOM;
	op_end(op);
}

static struct hub *hub_of(const struct request *r)
{
	const struct purser_ctx *x = r->cl->w->ctx[r->project->instance];

	return x && (!r->sink || r->cl->streams) ? x->inst->hub : NULL;
}

static void refuse(struct request *r, enum err_code code, const char *text)
{
	reply_failure(&r->b, code, text);
	req_finish(r);
}

/* On HTTP nobody could hear anything. */
static bool refused(struct request *r)
{
	if (hub_of(r))
		return false;
	refuse(r, ERR_UNSUPPORTED, r->sink && !r->cl->streams ? "subscriptions need a RESP connection, or GET /v1/subscribe" :
	    NULL);
	return true;
}

void pubsub_subscribe(struct request *r, uint8_t kind)
{
	uint32_t n = r->argc - 1;
	struct sub_op *op;

	if (refused(r))
		return;
	if (pubsub_names(r->cl) + (uint64_t)n > r->cl->gen->max_subscriptions) {
		refuse(r, ERR_TOOBIG, "one client may be subscribed to no more names (max_subscriptions)");
		return;
	}
	op = op_begin(r, kind, true, n);
	if (!op) {
		refuse(r, ERR_OOM, NULL);
		return;
	}
	for (uint32_t i = 0; i < n && !op->err; i++) {
		struct waiter *v = &op->v[i];
		enum channel_mode mode = CHANNEL_PLAIN;
		purser_bytes phys = kind == PURSER_SUB_SHARD ? channel_shard(r->project, false, r->argv[i + 1], &r->arena) :
		    channel_in(r->project, kind == PURSER_SUB_PATTERN, r->argv[i + 1], &r->arena, &mode);

		v->t = phys.p ? topic_of(r->cl->w, hub_of(r), kind, phys) : NULL;
		v->mode = (uint8_t)mode;
		if (!v->t) {
			op->err = ERR_OOM;
			break;
		}
		v->t->holds++;
		if (v->t->state != ON || v->t->lost)
			wait_for(v);
		topic_turn(v->t);
	}
	if (op->err)
		op_end(op);
	else
		op_wait(op);
}

/* The client goes on to hear what was sent before the store let go of the name. */
static void unsubscribe(struct sub_op *op, struct waiter *v)
{
	struct subscription *s = sub_find(op->r->cl, op->kind, v->name);
	struct topic *t = s ? s->t : NULL;

	if (!s || s->leaving)
		return;
	s->leaving = true;
	t->nleaving++;
	if (t->state == ON && t->nsubs == t->nleaving && !t->holds) {
		v->t = t;
		wait_for(v);
	}
	topic_turn(t);
}

/* The client's next subscription of kind from s on. */
static struct subscription *of_kind(struct subscription *s, uint8_t kind)
{
	while (s && s->t->kind != kind)
		s = s->next;
	return s;
}

void pubsub_unsubscribe(struct request *r, uint8_t kind)
{
	struct client *c = r->cl;
	uint32_t n = r->argc - 1;
	struct subscription *s;
	struct sub_op *op;

	if (refused(r))
		return;
	if (!client_outband(c)) {
		refuse(r, ERR_OOM, NULL);
		return;
	}
	op = op_begin(r, kind, false, n ? n : *counter(c, kind));
	if (!op) {
		refuse(r, ERR_OOM, NULL);
		return;
	}
	s = c->outband->first;
	for (uint32_t i = 0; i < op->n; i++) {
		purser_bytes *name = &op->v[i].name;

		if (n) {
			*name = r->argv[i + 1];
			continue;
		}
		s = of_kind(s, kind); /* names of subscriptions do not outlive them */
		*name = (purser_bytes){ arena_get(&r->arena, s->name.n), s->name.n };
		if (!name->p) {
			op->n = 0;
			op->err = ERR_OOM;
			break;
		}
		if (name->n)
			memcpy((uint8_t *)(uintptr_t)name->p, s->name.p, name->n);
		s = s->next;
	}
	for (uint32_t i = 0; i < op->n; i++)
		unsubscribe(op, &op->v[i]);
	if (op->n && !op->err) {
		op->fence = (struct hub_ask){ .hub = hub_of(r), .worker = c->w->index, .answered = fence_back };
		op->fenced = false;
		op->left++;
		hub_send(&op->fence);
	}
	op_wait(op);
}

const char *pubsub_refusal(const struct request *r, char *text, size_t cap)
{
	char name[64];

	if (!pubsub_names(r->cl))
		return NULL;
	switch (r->cmd->id) {
	case CMD_SUBSCRIBE: case CMD_UNSUBSCRIBE: case CMD_PSUBSCRIBE: case CMD_PUNSUBSCRIBE:
	case CMD_SSUBSCRIBE: case CMD_SUNSUBSCRIBE: case CMD_PING: case CMD_QUIT: case CMD_RESET:
		return NULL;
	default:
		cmd_lower(r->cmd, name, sizeof name);
		snprintf(text, cap, "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
		    "QUIT / RESET are allowed in this context", name);
		return text;
	}
}

bool pubsub_still_may(const struct client *c)
{
	static const uint16_t by_kind[] = { [PURSER_SUB_CHANNEL] = CMD_SUBSCRIBE, [PURSER_SUB_PATTERN] = CMD_PSUBSCRIBE,
		[PURSER_SUB_SHARD] = CMD_SSUBSCRIBE };

	for (const struct subscription *s = c->outband->first; s; s = s->next) {
		const purser_bytes words[] = { { (const uint8_t *)"", 0 }, s->name };

		if (!client_may(c, &cmd_rows[by_kind[s->t->kind]], words, 2))
			return false;
	}
	return true;
}

void pubsub_migrated(struct client *c, const struct project *old)
{
	if ((!client_listens(c) && !c->outband->tracking) || (c->project && old && c->project->instance == old->instance &&
	    c->project->prefix_len == old->prefix_len &&
	    !memcmp(c->project->prefix, old->prefix, old->prefix_len)))
		return;
	pubsub_leave(c);
	monitor_leave(c);
	track_end(c);
	client_dismiss(c, "reload", "the configuration of the project has changed: connect again");
}

/* ---- what comes ---- */

/* The frame up to the message's bytes. */
static void put_frame(struct buf *b, const struct subscription *s, const struct channel_heard *h)
{
	static const char *const kinds[] = { "", "message", "pmessage", "smessage" };
	bool pattern = s->t->kind == PURSER_SUB_PATTERN;

	buf_clear(b);
	put_line(b, s->c->resp == 3 ? '>' : '*', pattern ? 4 : 3);
	put_bulk(b, kinds[s->t->kind], strlen(kinds[s->t->kind]));
	if (pattern)
		put_bulk(b, s->name.p, s->name.n);
	put_line(b, '$', h->channel[0].n + h->channel[1].n);
	buf_put(b, h->channel[0].p, h->channel[0].n);
	if (h->channel[1].n)
		buf_put(b, h->channel[1].p, h->channel[1].n);
	buf_put(b, "\r\n", 2);
	put_line(b, '$', h->message.n);
}

static void give(struct subscription *s, struct hub_msg *m, const struct buf *frame, purser_bytes message)
{
	struct client *c = s->c;
	struct out *o;
	int rc;

	if (!push_begin(c, buf_len(frame) + message.n + 2, &o))
		return;
	rc = out_put(o, &c->w->pool, buf_data(frame), buf_len(frame));
	if (!rc && message.n < OUT_BLOCK) {
		rc = message.n ? out_put(o, &c->w->pool, message.p, message.n) : 0;
	} else if (!rc) {
		hub_msg_ref(m);
		rc = out_ref(o, message.p, message.n, hub_msg_unref, m);
		if (rc)
			hub_msg_unref(m);
	}
	if (rc || out_put(o, &c->w->pool, "\r\n", 2))
		c->cut = true;
	push_end(c);
}

static void deliver_message(struct worker *w, struct hub_msg *m)
{
	struct topic *t = topic_find(w, m->hub, m->kind, m->name,
	    names_hash(tag_of(m->hub, m->kind), m->name.p, m->name.n));
	const struct subscription *same = NULL;
	struct buf frame = { 0 };

	for (struct subscription *s = t ? t->subs : NULL; s; s = s->next_sub) {
		const struct project *p = s->c->project;
		struct channel_heard h;

		if (!p || s->c->cut || !channel_out(p, m->kind == PURSER_SUB_PATTERN, s->mode, s->name,
		    m->channel, m->message, &h))
			continue;
		/* Most frames of one message are alike: same protocol, same name. */
		if (!same || s->mode || same->mode || same->c->resp != s->c->resp ||
		    same->c->project->prefix_len != p->prefix_len)
			put_frame(&frame, s, &h);
		same = s;
		if (frame.failed)
			s->c->cut = true;
		else
			give(s, m, &frame, h.message);
	}
	buf_free(&frame);
}

/* The store says nothing any more to those who are subscribed: closed, as it would have closed them. */
static void deliver_lost(struct worker *w, struct hub_msg *m)
{
	struct client *list = NULL, *c;
	char text[256];

	for (struct names_node *at = names_each(&w->topics, NULL); at; at = names_each(&w->topics, at)) {
		struct topic *t = (struct topic *)at;

		if (t->hub != m->hub)
			continue;
		t->lost = t->nsubs != 0;
		if (t->state == ON)
			t->state = OFF;
		for (struct subscription *s = t->subs; s; s = s->next_sub)
			if (!s->c->outband->closing) {
				s->c->outband->closing = true;
				s->c->outband->next_lost = list;
				list = s->c;
			}
	}
	snprintf(text, sizeof text, "%.*s", (int)m->message.n, (const char *)m->message.p);
	while ((c = list)) {
		list = c->outband->next_lost;
		pubsub_leave(c);
		client_dismiss(c, "subscription_lost", text);
		if (!c->gone)
			client_unblock(c, true); /* it would be closed only when what it waits for has come */
	}
}

void pubsub_deliver(void *worker, struct hub_msg *m)
{
	if (m->what == HUB_LOST)
		deliver_lost(worker, m);
	else if (m->what == HUB_INVALID)
		track_deliver(worker, m);
	else
		deliver_message(worker, m);
}

/* ---- PUBLISH ---- */

struct receivers {
	struct reply_filter f;
	struct reply_filter *then;
	struct request *r;
	struct hub *hub;
	uint8_t kind;
	purser_bytes channel;
	bool error;
	size_t have;
	uint8_t line[32];
};

static int pass_on(struct receivers *v, const void *p, size_t n)
{
	return v->then ? v->then->feed(v->then, p, n) : out_put(v->r->b.out, v->r->b.pool, p, n);
}

static int receivers_feed(struct reply_filter *f, const uint8_t *p, size_t n)
{
	struct receivers *v = (struct receivers *)f;
	int64_t count;
	size_t len;
	char line[32];

	if (n && !v->have && *p == '-') /* nothing to count: the store's error, or ours */
		v->error = true;
	if (v->error)
		return pass_on(v, p, n);
	if (n > sizeof v->line - v->have)
		return -1;
	memcpy(v->line + v->have, p, n);
	v->have += n;
	if (v->have < 2 || v->line[v->have - 1] != '\n')
		return 0;
	if (v->line[0] != ':' || purser_resp_int(v->line + 1, v->have - 3, &count))
		return -1;
	line[0] = ':';
	len = 1 + dec_i64(line + 1, hub_receivers(v->hub, v->kind, v->channel, count));
	memcpy(line + len, "\r\n", 2);
	return pass_on(v, line, len + 2);
}

int64_t pubsub_receivers(const struct purser_ctx *x, const struct project *p, const struct command *c,
    purser_bytes channel, struct arena *a, int64_t count)
{
	bool shard = c->id == CMD_SPUBLISH;

	if (!x->inst->hub || x->inst->in_process || hub_empty(x->inst->hub))
		return count;
	if (shard) /* its name gets the prefix like a key */
		channel = isolate_key(p, channel, a);
	return channel.p ? hub_receivers(x->inst->hub, shard ? PURSER_SUB_SHARD : PURSER_SUB_CHANNEL, channel,
	    count) : count;
}

int pubsub_count(struct request *r)
{
	const struct purser_ctx *x = r->cl->w->ctx[r->project->instance];
	struct receivers *v;

	/* A store in this process delivers through the hub: its number is right. */
	if (!x || !x->inst->hub || x->inst->in_process || hub_empty(x->inst->hub))
		return 0;
	v = arena_get(&r->arena, sizeof *v);
	if (!v)
		return -1;
	memset(v, 0, sizeof *v);
	v->f = (struct reply_filter){ .feed = receivers_feed };
	v->then = r->b.filter;
	v->r = r;
	v->hub = x->inst->hub;
	v->kind = r->cmd->id == CMD_SPUBLISH ? PURSER_SUB_SHARD : PURSER_SUB_CHANNEL;
	/* PUBLISH's channel has its prefix already, the name of a shard channel gets it like a key. */
	v->channel = v->kind == PURSER_SUB_SHARD ? isolate_key(r->project, r->argv[1], &r->arena) : r->argv[1];
	if (!v->channel.p)
		return -1;
	r->b.filter = &v->f;
	return 0;
}
