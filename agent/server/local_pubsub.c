/* SPDX-License-Identifier: Apache-2.0
 *
 * SUBSCRIBE and its like (request_pubsub.c does the work), and PUBSUB: what the store says of the
 * project's own names, with the agent's local subscribers in place of its one subscription.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include <purser/glob.h>
#include "access/channel.h"
#include "base/buf.h"
#include "request_pubsub.h"
#include "resp/pick.h"
#include "server/local.h"

static void do_subscribe(struct request *r) { pubsub_subscribe(r, PURSER_SUB_CHANNEL); }
static void do_psubscribe(struct request *r) { pubsub_subscribe(r, PURSER_SUB_PATTERN); }
static void do_ssubscribe(struct request *r) { pubsub_subscribe(r, PURSER_SUB_SHARD); }
static void do_unsubscribe(struct request *r) { pubsub_unsubscribe(r, PURSER_SUB_CHANNEL); }
static void do_punsubscribe(struct request *r) { pubsub_unsubscribe(r, PURSER_SUB_PATTERN); }
static void do_sunsubscribe(struct request *r) { pubsub_unsubscribe(r, PURSER_SUB_SHARD); }

/* ---- asking ---- */

static struct purser_instance *instance_of(const struct request *r)
{
	return r->cl->w->ctx[r->project->instance] ? r->cl->w->ctx[r->project->instance]->inst : NULL;
}

static uint8_t kind_of(const struct request *r)
{
	return r->cmd->id == CMD_PUBSUB_SHARDCHANNELS || r->cmd->id == CMD_PUBSUB_SHARDNUMSUB ?
	    PURSER_SUB_SHARD : PURSER_SUB_CHANNEL;
}

static void ask_store(struct request *r, const purser_bytes *argv, uint32_t argc, child_fn fn)
{
	struct purser_instance *i = instance_of(r);
	struct ask a = { .w = r->cl->w, .gen = r->cl->gen, .instance = r->project->instance, .db = r->cl->db,
		.deadline_ns = r->start_ns + i->operation_timeout_ns };

	child_ask(&a, argv, argc, fn, r);
}

/* False: it is answered with what went wrong. */
static bool fine(struct request *r, const struct child_reply *rep, const uint8_t **p, int64_t *n)
{
	*p = rep->resp;
	if (rep->err) {
		reply_error(&r->b, rep->error, strlen(rep->error));
		r->b.store_error = err_of_text(rep->error, strlen(rep->error)) == ERR_REDIS;
		req_finish(r);
		return false;
	}
	if (n && resp_pick_header(p, rep->resp + rep->n, '*', n)) {
		local_failure(r, ERR_BACKENDPROTOCOL, NULL);
		return false;
	}
	return true;
}

static purser_bytes store_name(struct request *r, bool pattern, purser_bytes name, enum channel_mode *mode)
{
	*mode = CHANNEL_PLAIN;
	return kind_of(r) == PURSER_SUB_SHARD ? channel_shard(r->project, pattern, name, &r->arena) :
	    channel_in(r->project, pattern, name, &r->arena, mode);
}

/* ---- CHANNELS ---- */

struct listing {
	struct request *r;
	purser_bytes pattern;       /* p NULL: all */
	struct buf names;           /* bulks */
	uint64_t n;
};

static void list_name(void *arg, purser_bytes name)
{
	struct listing *l = arg;
	const struct project *p = l->r->project;

	if (name.n < p->prefix_len || memcmp(name.p, p->prefix, p->prefix_len))
		return;
	name.p += p->prefix_len;
	name.n -= p->prefix_len;
	if (l->pattern.p && !purser_glob(l->pattern.p, l->pattern.n, name.p, name.n))
		return;
	buf_putc(&l->names, '$');
	buf_putu(&l->names, name.n);
	buf_put(&l->names, "\r\n", 2);
	buf_put(&l->names, name.p, name.n);
	buf_put(&l->names, "\r\n", 2);
	l->n++;
}

static void list_end(struct listing *l)
{
	struct request *r = l->r;

	if (l->names.failed) {
		local_failure(r, ERR_OOM, NULL);
	} else {
		reply_array(&r->b, l->n);
		if (buf_len(&l->names))
			reply_raw(&r->b, buf_data(&l->names), buf_len(&l->names));
		req_finish(r);
	}
	buf_free(&l->names);
}

static void listed(void *arg, const struct child_reply *rep)
{
	struct request *r = arg;
	struct listing l = { .r = r };
	const uint8_t *p;
	int64_t n;

	if (!fine(r, rep, &p, &n))
		return;
	if (r->argc > 2)
		l.pattern = word(r, 2);
	for (; n > 0; n--) {
		purser_bytes name;

		if (resp_pick_bulk(&p, rep->resp + rep->n, &name)) {
			buf_free(&l.names);
			local_failure(r, ERR_BACKENDPROTOCOL, NULL);
			return;
		}
		list_name(&l, name);
	}
	list_end(&l);
}

static void do_channels(struct request *r)
{
	const struct purser_instance *i = instance_of(r);
	purser_bytes argv[3] = { word(r, 0), word(r, 1), { (const uint8_t *)"*", 1 } };
	enum channel_mode mode;
	char text[128];

	if (r->argc > 3) {
		snprintf(text, sizeof text, "ERR unknown subcommand or wrong number of arguments for '%.*s'. "
		    "Try PUBSUB HELP.", (int)word(r, 1).n, (const char *)word(r, 1).p);
		local_error(r, text);
		return;
	}
	if (!i || !i->hub) {
		local_failure(r, ERR_UNSUPPORTED, NULL);
		return;
	}
	if (i->in_process) {
		struct listing l = { .r = r };

		if (r->argc > 2)
			l.pattern = word(r, 2);
		hub_visit(i->hub, kind_of(r), list_name, &l);
		list_end(&l);
		return;
	}
	if (r->argc > 2)
		argv[2] = word(r, 2);
	argv[2] = store_name(r, true, argv[2], &mode);
	if (!argv[2].p)
		local_failure(r, ERR_OOM, NULL);
	else
		ask_store(r, argv, 3, listed);
}

/* ---- NUMSUB ---- */

static void answer_numbers(struct request *r, const uint8_t *p, const uint8_t *end)
{
	struct hub *h = instance_of(r)->hub;
	struct buf out = { 0 };

	for (uint32_t i = 2; i < r->argc; i++) {
		enum channel_mode mode;
		purser_bytes name, phys = store_name(r, false, word(r, i), &mode);
		int64_t n = -1; /* a store in this process has no others */

		if ((p && (resp_pick_bulk(&p, end, &name) || resp_pick_header(&p, end, ':', &n))) || !phys.p) {
			buf_free(&out);
			local_failure(r, phys.p ? ERR_BACKENDPROTOCOL : ERR_OOM, NULL);
			return;
		}
		/* The channel of an event is everybody's: how many listen to it is not this project's business. */
		n = mode == CHANNEL_KEYEVENT ? 0 : hub_subscribers(h, kind_of(r), phys, n);
		buf_printf(&out, "$%zu\r\n", word(r, i).n);
		buf_put(&out, word(r, i).p, word(r, i).n);
		buf_printf(&out, "\r\n:%lld\r\n", (long long)n);
	}
	if (out.failed) {
		local_failure(r, ERR_OOM, NULL);
	} else {
		reply_array(&r->b, 2 * (size_t)(r->argc - 2));
		if (buf_len(&out))
			reply_raw(&r->b, buf_data(&out), buf_len(&out));
		req_finish(r);
	}
	buf_free(&out);
}

static void numbered(void *arg, const struct child_reply *rep)
{
	struct request *r = arg;
	const uint8_t *p;
	int64_t n;

	if (fine(r, rep, &p, &n))
		answer_numbers(r, p, rep->resp + rep->n);
}

static void do_numsub(struct request *r)
{
	const struct purser_instance *i = instance_of(r);
	purser_bytes *argv;

	if (!i || !i->hub) {
		local_failure(r, ERR_UNSUPPORTED, NULL);
		return;
	}
	if (i->in_process || r->argc == 2) {
		answer_numbers(r, NULL, NULL);
		return;
	}
	argv = arena_get(&r->arena, r->argc * sizeof *argv);
	for (uint32_t k = 0; argv && k < r->argc; k++) {
		enum channel_mode mode;

		argv[k] = k < 2 ? word(r, k) : store_name(r, false, word(r, k), &mode);
		if (!argv[k].p)
			argv = NULL;
	}
	if (!argv)
		local_failure(r, ERR_OOM, NULL);
	else
		ask_store(r, argv, r->argc, numbered);
}

/* ---- NUMPAT ---- */

struct patterns { struct request *r; purser_bytes prefix; int64_t n; };

static void count_pattern(void *arg, purser_bytes name)
{
	struct patterns *c = arg;

	c->n += name.n >= c->prefix.n && !memcmp(name.p, c->prefix.p, c->prefix.n);
}

static void counted(void *arg, const struct child_reply *rep)
{
	struct request *r = arg;
	const uint8_t *p;
	int64_t n;

	if (!fine(r, rep, &p, NULL))
		return;
	if (resp_pick_header(&p, rep->resp + rep->n, ':', &n)) {
		local_failure(r, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	reply_integer(&r->b, n);
	req_finish(r);
}

/* Patterns of others in the same store are not to be told from ours: an isolated project counts those
 * that this agent knows of. */
static void do_numpat(struct request *r)
{
	const struct purser_instance *i = instance_of(r);
	struct patterns c = { .r = r };
	enum channel_mode mode;

	if (!i || !i->hub) {
		local_failure(r, ERR_UNSUPPORTED, NULL);
		return;
	}
	if (!i->in_process && !project_isolated(r->project)) {
		ask_store(r, r->argv, 2, counted);
		return;
	}
	c.prefix = channel_in(r->project, true, (purser_bytes){ (const uint8_t *)"", 0 }, &r->arena, &mode);
	if (!c.prefix.p) {
		local_failure(r, ERR_OOM, NULL);
		return;
	}
	hub_visit(i->hub, PURSER_SUB_PATTERN, count_pattern, &c);
	reply_integer(&r->b, c.n);
	req_finish(r);
}

void local_pubsub(req_handler *t)
{
	t[CMD_MONITOR] = monitor_start;
	t[CMD_SUBSCRIBE] = do_subscribe;
	t[CMD_PSUBSCRIBE] = do_psubscribe;
	t[CMD_SSUBSCRIBE] = do_ssubscribe;
	t[CMD_UNSUBSCRIBE] = do_unsubscribe;
	t[CMD_PUNSUBSCRIBE] = do_punsubscribe;
	t[CMD_SUNSUBSCRIBE] = do_sunsubscribe;
	t[CMD_PUBSUB_CHANNELS] = do_channels;
	t[CMD_PUBSUB_SHARDCHANNELS] = do_channels;
	t[CMD_PUBSUB_NUMSUB] = do_numsub;
	t[CMD_PUBSUB_SHARDNUMSUB] = do_numsub;
	t[CMD_PUBSUB_NUMPAT] = do_numpat;
}
