/* SPDX-License-Identifier: Apache-2.0
 *
 * Child requests: one command that the agent asks of a store on its own behalf or as a step of a
 * composite command.  See request.h.
 */
#include <config.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "request_feature.h"

#define CHILD_KEYS 8u

struct child {
	struct bcall b;                 /* first */
	struct child *next;             /* of the worker's list of those that have something to do, or of its free ones */
	struct ask ask;
	const struct command *cmd;
	struct purser_session session;
	child_fn fn;
	void *arg;
	struct out reply;
	struct arena arena;
	uint64_t start_ns;
	purser_bytes *words;            /* ours to change: argv of a script */
	bool touched, done, released, delivered, healing, listed;
	char error[BCALL_ERROR_MAX];    /* from here on nothing is cleared for a new child but its first byte */
	struct strip_filter strip;
	uint32_t keys_mem[CHILD_KEYS];
	uint64_t mem[64];
};

static void submit(struct child *c);

void children_again(struct worker *w)
{
	if (!w->in_turn)
		loop_again(w->loop);
}

/* It has something to do that may not be done from inside a host-table function. */
static void list(struct child *c)
{
	struct worker *w = c->ask.w;

	if (c->listed)
		return;
	c->listed = true;
	c->next = NULL;
	if (w->ready_last) {
		w->ready_last->next = c;
	} else {
		w->ready = c;
		children_again(w);
	}
	w->ready_last = c;
}

/* The plugin is told that the session has ended.  Is the context closed by now, its sessions went with it. */
static void drop(struct child *c)
{
	struct worker *w = c->ask.w;

	if (c->b.c.ctx && w->ctx[c->ask.instance] == c->b.c.ctx)
		ctx_session_end(c->b.c.ctx, &c->session);
	out_clear(&c->reply, &w->pool);
	arena_end(&c->arena);
	if (!c->ask.borrowed)
		generation_unref(c->ask.gen);
	if (w->nfree_children == FREE_CHILDREN_MAX) {
		free(c);
		return;
	}
	w->nfree_children++;
	c->next = w->free_children;
	w->free_children = c;
}

void worker_end_children(struct worker *w)
{
	struct child *c;

	while ((c = w->free_children)) {
		w->free_children = c->next;
		free(c);
	}
	w->nfree_children = 0;
}

/* As soon as the outcome is known: at a shutdown the context is gone before the reply is delivered. */
static void account(struct child *c)
{
	struct worker *w = c->ask.w;
	struct purser_ctx *x = c->b.c.ctx;
	uint64_t end = loop_now(w->loop);
	struct metric_key k = { .kind = c->ask.internal ? METRIC_INTERNAL : METRIC_CHILD,
		.db = METRIC_NO_DB, .error = c->b.err,
		.project = c->ask.project ? c->ask.project->metric_id : 0xffff,
		.command = c->cmd ? c->cmd->id : CMD_COUNT };

	if (!x)
		return; /* it never reached a backend */
	k.instance = x->inst->metric_id;
	k.endpoint = x->inst->endpoints[c->b.endpoint].metric_id;
	if (c->b.store_error)
		k.error = metric_error(w->metrics, c->b.status, strlen(c->b.status));
	metric_op_record(metric_op(w->metrics, k), end > c->start_ns ? end - c->start_ns : 0,
	    c->b.payload, c->b.reply_bytes);
}

static void deliver(struct child *c)
{
	struct child_reply rep = { .err = (enum err_code)c->b.err, .error = c->error, .n = c->reply.bytes };

	rep.resp = out_flat(&c->reply, &c->ask.w->pool);
	if (!rep.resp && !rep.err) {
		rep.err = ERR_OOM;
		snprintf(c->error, sizeof c->error, "%s %s", err_rows[ERR_OOM].word, err_rows[ERR_OOM].text);
	}
	rep.unsure = rep.err && !c->b.store_error && c->b.c.ctx && c->b.executed != PURSER_NOT_EXECUTED;
	c->delivered = true;
	c->fn(c->arg, &rep);
}

/* The store has lost the script: now with its body. */
static void heal(struct child *c)
{
	static const uint8_t eval[] = "EVAL";

	c->healing = c->released = false;
	c->words[0] = (purser_bytes){ eval, 4 };
	c->words[1] = c->ask.body;
	c->ask.body.p = NULL;
	c->cmd = &cmd_rows[CMD_EVAL];
	metric_add(c->ask.w->metrics, METRIC_SCRIPTS_HEALED, 1);
	call_again(&c->b);
	c->b.began = false;
	submit(c);
}

void children_run(struct worker *w)
{
	struct child *c;

	for (unsigned n = 0; (c = w->ready) && n < CHILDREN_A_TURN; n++) {
		w->ready = c->next;
		if (!w->ready)
			w->ready_last = NULL;
		c->listed = false;
		if (c->healing) {
			heal(c);
			continue;
		}
		if (c->done && !c->delivered)
			deliver(c);
		if (c->released && !c->listed)
			drop(c);
	}
	if (w->ready)
		loop_again(w->loop); /* clients and their replies come in between */
}

static void child_done(struct bcall *b)
{
	struct child *c = (struct child *)b;

	if (c->healing)
		return;
	account(c);
	if (b->broken && !*c->error)
		snprintf(c->error, sizeof c->error, "%s %s", err_rows[b->err].word, err_rows[b->err].text);
	c->done = true;
	list(c);
}

static void child_release(struct bcall *b)
{
	struct child *c = (struct child *)b;

	c->released = true;
	if (c->delivered || c->healing)
		list(c);
}

static void child_error(struct bcall *b, enum err_code code, const char *text, size_t n)
{
	struct child *c = (struct child *)b;

	(void)code;
	if (c->ask.body.p && b->store_error && n >= 8 && memcmp(text, "NOSCRIPT", 8) == 0) {
		c->healing = true;
		return;
	}
	if (n > sizeof c->error - 1)
		n = sizeof c->error - 1;
	memcpy(c->error, text, n);
	c->error[n] = '\0';
}

static size_t child_rewrite(struct bcall *b, char *text, size_t n)
{
	return isolate_text(((struct child *)b)->ask.project, text, n);
}

static void refuse(struct child *c, enum err_code code, const char *text)
{
	reply_failure(&c->b, code, text);
	c->released = true;
	child_done(&c->b);
}

/* isolate: as for a client's request. */
static bool isolate(struct child *c, purser_bytes *argv, uint32_t argc)
{
	const struct project *p = c->ask.project;
	const char *why = p ? isolate_args(p, c->cmd, argv, &argc, &c->arena) : NULL;
	uint32_t n = cmd_key_count(c->cmd, argv, argc), *keys = arena_get(&c->arena, (n + 1) * sizeof *keys);
	purser_bytes *phys = arena_get(&c->arena, argc * sizeof *phys);

	if (why || !keys || !phys)
		return false;
	c->b.c.nkeys = cmd_keys(c->cmd, argv, argc, keys);
	c->b.c.keys = keys;
	c->b.c.argc = argc;
	c->b.argv = argv;
	memcpy(phys, argv, argc * sizeof *phys);
	c->b.c.argv = phys;
	for (uint32_t i = 0; i < argc; i++)
		c->b.payload += (uint32_t)argv[i].n;
	if (!p || !p->prefix_len)
		return true;
	c->b.c.ns = p->ns;
	c->b.c.ns_prefix = p->prefix_len;
	c->b.prefix = p->prefix;
	c->b.rewrite = child_rewrite;
	for (uint32_t i = 0; i < n; i++) {
		phys[keys[i]] = isolate_key(p, phys[keys[i]], &c->arena);
		if (!phys[keys[i]].p)
			return false;
	}
	if (c->cmd->transform != X_PASS && c->cmd->transform != X_TOLD) {
		strip_begin(&c->strip, &c->b.out, c->b.pool, p->prefix, p->prefix_len,
		    strip_depth(c->cmd));
		c->b.filter = &c->strip.f;
	}
	return true;
}

/* Words as the store has them: of a command that the table knows, its keys are told. */
static bool as_it_is(struct child *c, const purser_bytes *argv, uint32_t argc)
{
	uint32_t n = c->cmd ? cmd_key_count(c->cmd, argv, argc) : 0;
	uint32_t *keys = n <= CHILD_KEYS ? c->keys_mem : arena_get(&c->arena, n * sizeof *keys);

	if (!keys)
		return false;
	c->b.c.nkeys = n ? cmd_keys(c->cmd, argv, argc, keys) : 0;
	c->b.c.keys = n ? keys : NULL;
	c->b.c.argc = argc;
	c->b.argv = c->b.c.argv = argv;
	if (c->ask.project)
		c->b.c.ns = c->ask.project->ns;
	for (uint32_t i = 0; i < argc; i++)
		c->b.payload += (uint32_t)argv[i].n;
	return true;
}

static uint32_t op_of(const struct child *c, const struct purser_instance *i)
{
	return c->cmd ? i->op_of[c->cmd->id] : i->p->caps & PURSER_CAP_ANY_COMMAND ? PURSER_OP_OTHER : OP_NONE;
}

static purser_bytes *copy_words(struct child *c, const purser_bytes *argv, uint32_t argc)
{
	purser_bytes *v = arena_get(&c->arena, (argc + ISOLATE_EXTRA) * sizeof *v);

	for (uint32_t i = 0; v && i < argc; i++) {
		uint8_t *d = arena_get(&c->arena, argv[i].n);

		if (!d)
			return NULL;
		if (argv[i].n)
			memcpy(d, argv[i].p, argv[i].n);
		v[i] = (purser_bytes){ d, argv[i].n };
	}
	return v;
}

/* Who had to hear of what it writes has heard. */
static void go_on(struct feature_worker *home, void *arg, uint64_t id)
{
	(void)home;
	(void)id;
	submit(arg);
}

static void submit(struct child *c)
{
	struct purser_ctx *x = c->ask.w->ctx[c->ask.instance];
	struct purser_call *call = &c->b.c;
	char why[160];

	if (!x) {
		refuse(c, ERR_BACKENDDOWN, "the backend is closed");
		return;
	}
	call->op = op_of(c, x->inst);
	if (call->op == OP_NONE) {
		refuse(c, ERR_UNSUPPORTED, NULL);
		return;
	}
	call->flags = PURSER_CALL_ALONE | (c->ask.writes || (c->cmd && c->cmd->flags & F_WRITE) ? PURSER_CALL_WRITE : 0) |
	    (c->ask.internal ? PURSER_CALL_INTERNAL : 0);
	call->db = c->ask.db;
	call->cred = c->ask.cred;
	call->resp = 3;
	call->session = &c->session;
	call->deadline_ns = c->ask.deadline_ns;
	call->ctx = x;
	if (c->cmd && c->cmd->args == A_BLOCK && cmd_blocks(c->cmd, c->b.argv, call->argc, &call->block_ms)) {
		call->flags |= PURSER_CALL_BLOCKS;
		call->route = PURSER_ROUTE_EXCLUSIVE;
		call->skip = c->cmd->id == CMD_WAIT; /* encode() puts a command in front of it */
	}
	if (x->p->args == PURSER_ARGS_WIRE) {
		call->argv = NULL;
		call->wire_bytes = call_wire_bytes(&c->b);
	}
	if (!c->touched && !c->ask.keeps_leases && call->flags & PURSER_CALL_WRITE &&
	    atomic_load_explicit(&x->inst->gate, memory_order_acquire) & GATE_TOUCH) {
		c->touched = true;
		if (touch_child(c->ask.w, x->inst, c->cmd, &c->b, go_on, c))
			return;
	}
	if (atomic_load_explicit(&x->inst->gate, memory_order_relaxed) &&
	    !guard_admit(x, &c->b, c->cmd && c->cmd->flags & F_DENYOOM, why, sizeof why)) {
		guard_rejected(x, &c->b);
		refuse(c, ERR_CIRCUITOPEN, why);
		return;
	}
	ctx_submit(x, &c->b);
}

static struct child *take(struct worker *w)
{
	struct child *c = w->free_children;

	if (!c)
		c = malloc(sizeof *c);
	else {
		w->free_children = c->next;
		w->nfree_children--;
	}
	if (c) {
		memset(c, 0, offsetof(struct child, error));
		c->error[0] = '\0';
	}
	return c;
}

void child_ask(const struct ask *a, const purser_bytes *argv, uint32_t argc, child_fn fn, void *arg)
{
	struct child *c = take(a->w);
	struct child_reply oom = { .err = ERR_OOM, .error = "OOM out of memory" };
	bool plain = a->raw || a->physical;
	char why[384];

	if (!c) {
		fn(arg, &oom);
		return;
	}
	c->ask = *a;
	if (!a->borrowed)
		generation_ref(a->gen);
	c->fn = fn;
	c->arg = arg;
	c->start_ns = loop_now(a->w->loop);
	c->session.id = (uint64_t)(uintptr_t)a->w; /* one order for all that a worker asks itself */
	arena_begin(&c->arena, c->mem, sizeof c->mem);
	c->b.c.struct_size = sizeof c->b.c;
	c->b.out = &c->reply;
	c->b.pool = &a->w->pool;
	c->b.done = child_done;
	c->b.release = child_release;
	c->b.error_to = child_error;
	c->cmd = a->raw ? NULL : a->cmd ? a->cmd : cmd_find(a->w->commands, argv, argc, why, sizeof why);
	c->words = a->borrowed ? a->words : copy_words(c, argv, argc);
	if (!a->borrowed)
		argv = c->words;
	if (!c->cmd && !a->raw)
		refuse(c, ERR_INTERNAL, why);
	else if (!argv || !(plain ? as_it_is(c, argv, argc) : isolate(c, c->words, argc)))
		refuse(c, ERR_OOM, NULL);
	else
		submit(c);
}
