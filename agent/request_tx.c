/* SPDX-License-Identifier: Apache-2.0
 *
 * Transactions.  MULTI: what follows is looked up, authorized and isolated as ever, then queued here and
 * answered QUEUED.  EXEC: all of it becomes one call, PURSER_OP_BATCH, which the backend runs as a whole; a
 * filter puts each element of the reply through its command's own transformation and puts those in their
 * places that the agent answers itself.  WATCH goes out on a connection of the client's own (PINNED), which
 * EXEC, DISCARD, UNWATCH, RESET and the client's end give back.
 *
 * A client whose watch may not hold any more gets a null from EXEC, as if a key had changed: nothing is ever
 * executed unwatched.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <purser/resp.h>
#include "access/prelude.h"
#include "request_pubsub.h"
#include "request_space.h"
#include "request_stage.h"
#include "request_tally.h"
#include "request_track.h"

struct tx_part {
	struct bcall b;                 /* first; of a command that the backend runs */
	const struct command *cmd;
	purser_bytes *argv;
	uint32_t argc;
	bool local;                     /* the agent answers it when EXEC runs */
};

struct tx {
	bool multi;
	bool dirty;                     /* a command was refused: EXEC will be */
	bool watching, watch_lost;
	bool unreached;                 /* the call that ends the watch ended before the plugin took it */
	bool stale;                     /* nothing is watched any more, but the connection is still to be closed */
	bool write;
	uint8_t watch_resp;
	uint16_t watch_db;
	uint32_t cred;                  /* of what is queued, where a script is among it */
	uint16_t db, select;            /* of what is queued for the backend; as SELECT leaves it */
	const struct purser_instance *watch_on;
	struct tx_part **part;
	uint32_t n, cap, nlocal;
	size_t bytes;
	uint64_t wire;                  /* that clients sent for them */
	struct arena arena;             /* parts and their words */
	purser_call **calls;            /* n - nlocal of them, in the arena */
	uint8_t *kind;                  /* of the filter */
	struct out said;                /* by a plugin that answers part by part */
	struct exec_filter filter;
	/* What is said in place of the reply of a call that only ends the watch. */
	struct reply_filter last;
	const char *last_text;
	bool last_said, mute;
};

static const char aborted[] = "EXECABORT Transaction discarded because of previous errors.";
static const char not_here[] = "a transaction needs a connection of its own: use RESP on the socket";

/* ---- what a client has ---- */

static struct tx *tx_of(struct client *c)
{
	if (!c->tx) {
		c->tx = calloc(1, sizeof *c->tx);
		if (c->tx)
			arena_begin(&c->tx->arena, NULL, 0);
	}
	return c->tx;
}

static void forget_parts(struct tx *tx)
{
	free(tx->part);
	tx->part = NULL;
	tx->n = tx->cap = tx->nlocal = 0;
	tx->bytes = 0;
	tx->wire = 0;
	tx->calls = NULL;
	tx->kind = NULL;
	tx->write = false;
	tx->cred = 0;
	arena_end(&tx->arena);
	arena_begin(&tx->arena, NULL, 0);
}

void tx_free(struct tx *tx, struct out_pool *pool)
{
	if (!tx)
		return;
	forget_parts(tx);
	out_clear(&tx->said, pool);
	free(tx);
}

/* Nothing is queued any more; c->tx goes unless something is watched. */
static void leave_multi(struct client *c)
{
	struct tx *tx = c->tx;

	forget_parts(tx);
	tx->multi = tx->dirty = false;
	if (!tx->watching && !tx->stale) {
		tx_free(tx, &c->w->pool);
		c->tx = NULL;
	}
}

unsigned tx_size(const struct request *r)
{
	return r->tx ? r->tx->n : 0;
}

bool tx_counts(const struct client *c, uint32_t *commands, uint32_t *writes, uint64_t *bytes)
{
	const struct tx *tx = c->tx;

	if (!tx || !tx->multi || tx->dirty || tx->n == tx->nlocal)
		return false;
	*commands = tx->n - tx->nlocal;
	*writes = 0;
	for (uint32_t i = 0; i < tx->n; i++)
		*writes += !tx->part[i]->local && tx->part[i]->cmd->flags & (F_WRITE | F_MAYWRITE);
	*bytes += tx->wire;
	return true;
}

bool tx_open(const struct client *c, uint32_t *queued)
{
	*queued = c->tx ? c->tx->n : 0;
	return c->tx && c->tx->multi;
}

bool tx_queues(const struct client *c)
{
	return c->tx && c->tx->multi;
}

uint16_t tx_database(const struct client *c)
{
	return tx_queues(c) ? c->tx->select : c->db;
}

void tx_reset(struct client *c)
{
	if (!c->tx)
		return;
	c->tx->watching = c->tx->stale = false; /* tx_admit has seen to the connection */
	leave_multi(c);
}

void tx_lost(struct client *c, const struct purser_instance *i)
{
	if (c->tx && c->tx->watching && c->tx->watch_on == i)
		c->tx->watch_lost = true;
}

void tx_migrate(struct client *c, const struct generation *old, const struct project *p)
{
	const struct project *now = c->project;
	struct tx *tx = c->tx;

	if (p && now && p->instance == now->instance && p->prefix_len == now->prefix_len && p->scripts == now->scripts &&
	    old->instances[p->instance] == c->gen->instances[now->instance] &&
	    memcmp(p->prefix, now->prefix, p->prefix_len) == 0 && tx->select < now->databases &&
	    tx->db < now->databases) {
		for (uint32_t i = 0; i < tx->n; i++) {
			struct bcall *b = &tx->part[i]->b;

			b->prefix = now->prefix; /* those of the old one go with its generation */
			b->c.ns = now->ns;
			if (b->c.space) {
				b->c.space = now->prefix;
				b->c.databases = now->databases;
			}
		}
		return;
	}
	tx->dirty = true; /* EXEC says so */
	tx->watch_lost = true;
	forget_parts(tx);
}

void tx_enforce(struct client *c)
{
	struct tx *tx = c->tx;

	for (uint32_t i = 0; i < tx->n; i++) {
		const struct tx_part *p = tx->part[i];

		if (client_may(c, p->cmd, p->argv, p->argc))
			continue;
		tx->dirty = true; /* EXEC says so */
		forget_parts(tx);
	}
}

/* Where the watch is; NULL: that is gone, and the watch with it. */
static struct purser_ctx *watch_ctx(const struct client *c, const struct tx *tx)
{
	for (uint32_t i = 0; i < INSTANCES_MAX; i++)
		if (c->w->ctx[i] && c->w->ctx[i]->inst == tx->watch_on)
			return c->w->ctx[i];
	return NULL;
}

/* EXEC ends a watch whatever comes of it; where it never reached the plugin the connection that watches is
 * closed, or it would be taken for the next watch.  Nothing else of the client is under way. */
static void drop_watch(struct client *c, const struct tx *tx)
{
	struct purser_ctx *x = watch_ctx(c, tx);

	if (x)
		ctx_session_end(x, &c->session);
}

static void watch_ended(struct bcall *b)
{
	struct request *r = (struct request *)b;

	if (r->tx && r->tx->watching && r->tx->unreached)
		drop_watch(r->cl, r->tx);
	req_done(b);
}

/* ---- refusals ---- */

/* No call can end the watch now: the client's next command closes its connection first. */
static void end_later(struct client *c)
{
	c->tx->stale |= c->tx->watching;
	c->tx->watching = false;
	leave_multi(c);
}

const char *tx_refused(struct request *r, const char *text, char *mem, size_t cap)
{
	struct client *c = r->cl;
	struct tx *tx = c->tx;
	bool exec;

	if (r->tx) { /* EXEC itself, before a plugin had it: its watch is still to be ended */
		tx = r->tx;
		r->b.filter = NULL;
		r->b.error_to = NULL;
		r->b.discard = tx->mute;
		if (tx->watching && !c->tx) {
			c->tx = tx;
			r->tx = NULL;
			end_later(c);
		}
		return text;
	}
	if (tx && r->cmd && r->cmd->id == CMD_WATCH && !r->local)
		tx->watch_lost = true; /* it waited, and will not be sent */
	exec = cmd_word_is(r->argv[0], "EXEC");
	if (!(tx && tx->multi) && !(exec && mem)) /* Redis names the abort where it refuses an EXEC without MULTI too */
		return text;
	if (!exec) {
		tx->dirty = true;
		forget_parts(tx);
		return text;
	}
	if (tx)
		end_later(c);
	snprintf(mem, cap, "EXECABORT Transaction discarded because of: %s",
	    strncmp(text, "ERR ", 4) ? text : text + 4);
	return mem;
}

/* An error that aborts nothing. */
static enum stage_result say(struct request *r, const char *text)
{
	reply_error(&r->b, text, strlen(text));
	r->b.store_error = false;
	req_finish(r);
	return STAGE_DONE;
}

static enum stage_result say_ok(struct request *r, const char *word)
{
	reply_status(&r->b, word);
	req_finish(r);
	return STAGE_DONE;
}

/* ---- queueing ---- */

/* What the agent answers itself, at once and from this thread's state alone. */
static bool local_allowed(const struct command *c)
{
	switch (c->id) {
	case CMD_PING: case CMD_ECHO: case CMD_TIME: case CMD_SELECT: case CMD_INFO: case CMD_UNWATCH:
	case CMD_CLIENT_ID: case CMD_CLIENT_GETNAME: case CMD_CLIENT_SETNAME: case CMD_CLIENT_SETINFO:
	case CMD_CLIENT_INFO: case CMD_CLIENT_NO_EVICT: case CMD_COMMAND: case CMD_COMMAND_COUNT:
	case CMD_COMMAND_DOCS: case CMD_COMMAND_INFO: case CMD_COMMAND_LIST: case CMD_COMMAND_GETKEYS:
	case CMD_CONFIG_GET: case CMD_PURSER_WHOAMI:
		return true;
	default:
		return false;
	}
}

static struct tx_part *part_new(struct tx *tx)
{
	struct tx_part *p;

	if (tx->n == tx->cap) {
		uint32_t cap = tx->cap ? tx->cap * 2 : 16;
		struct tx_part **v = realloc(tx->part, cap * sizeof *v);

		if (!v)
			return NULL;
		tx->part = v;
		tx->cap = cap;
	}
	p = arena_get(&tx->arena, sizeof *p);
	if (p) {
		memset(p, 0, sizeof *p);
		tx->part[tx->n++] = p;
	}
	return p;
}

/* The words of r, which its client's next request may write over. */
static int part_words(struct tx *tx, struct tx_part *p, const struct request *r)
{
	size_t total = 0;
	uint8_t *d;

	for (uint32_t i = 0; i < r->argc; i++)
		total += r->argv[i].n;
	p->argv = arena_get(&tx->arena, r->argc * sizeof *p->argv);
	d = arena_get(&tx->arena, total);
	if (!p->argv || !d)
		return -1;
	for (uint32_t i = 0; i < r->argc; i++) {
		p->argv[i] = (purser_bytes){ d, r->argv[i].n };
		if (r->argv[i].n)
			memcpy(d, r->argv[i].p, r->argv[i].n);
		d += r->argv[i].n;
	}
	p->argc = r->argc;
	return 0;
}

static void part_done(struct bcall *b)
{
	(void)b;
}

static int part_call(struct tx *tx, struct tx_part *p, const struct request *r, uint32_t op)
{
	struct purser_call *c = &p->b.c;
	uint32_t *keys = arena_get(&tx->arena, (r->b.c.nkeys + 1) * sizeof *keys);

	if (!keys)
		return -1;
	if (r->b.c.nkeys)
		memcpy(keys, r->b.c.keys, r->b.c.nkeys * sizeof *keys);
	c->struct_size = sizeof *c;
	c->op = op;
	c->flags = r->cmd->flags & F_WRITE ? PURSER_CALL_WRITE : 0;
	c->ns = r->b.c.ns;
	c->ns_prefix = r->b.c.ns_prefix;
	c->space = r->b.c.space;
	c->databases = r->b.c.databases;
	c->keys = keys;
	c->nkeys = r->b.c.nkeys;
	c->argc = p->argc;
	p->b.argv = p->argv;
	p->b.prefix = r->b.prefix;
	p->b.part = true;
	p->b.done = p->b.release = part_done;
	c->wire_bytes = call_wire_bytes(&p->b);
	tx->write |= (r->cmd->flags & (F_WRITE | F_MAYWRITE)) != 0;
	return 0;
}

/* SELECT is answered when EXEC runs; what it will choose is known now. */
static void note_select(const struct client *c, struct tx *tx, const struct request *r)
{
	int64_t db;

	if (c->project && !purser_resp_int(r->argv[1].p, r->argv[1].n, &db) && db >= 0 &&
	    db < (int64_t)c->project->databases)
		tx->select = (uint16_t)db;
}

static enum stage_result too_big(struct request *r, const char *what)
{
	char text[128];

	snprintf(text, sizeof text, "the transaction is larger than %s of the [agent] section", what);
	return req_refuse(r, ERR_TOOBIG, text);
}

/* SORT with keys in BY or GET asks for the right to read any key. */
static bool beyond(const struct command *cmd, const purser_bytes *argv, uint32_t argc)
{
	bool store, any = prelude_beyond(cmd);

	for (uint32_t at = 2; cmd->args == A_SORT && !any && cmd_sort_next(argv, argc, &at, &store); at++)
		any = !store && memchr(argv[at].p, '*', argv[at].n);
	return any;
}

/* A script and all that is sent with it run as the project's own user.  True: r is not for that user, and a script is
 * among the rest, or the other way round. */
static bool mixed(struct tx *tx, const struct request *r)
{
	if (r->b.c.cred && !tx->cred) {
		tx->cred = r->b.c.cred;
		for (uint32_t i = 0; i < tx->n; i++)
			if (!tx->part[i]->local && beyond(tx->part[i]->cmd, tx->part[i]->argv, tx->part[i]->argc))
				return true;
	}
	return tx->cred && beyond(r->cmd, r->argv, r->argc);
}

static enum stage_result queue(struct request *r)
{
	struct client *c = r->cl;
	struct tx *tx = c->tx;
	bool backend = !r->local;
	const struct purser_ctx *x = backend ? c->w->ctx[r->project->instance] : NULL;
	size_t bytes = sizeof(struct tx_part) + r->argc * sizeof(purser_bytes);
	struct tx_part *p;

	for (uint32_t i = 0; i < r->argc; i++)
		bytes += r->argv[i].n;

	r->b.filter = NULL; /* QUEUED is no reply of the command */
	if (backend && x->inst->op_of[r->cmd->id] == OP_NONE)
		return req_refuse(r, ERR_UNSUPPORTED, NULL);
	if (backend && tx->n > tx->nlocal && tx->select != tx->db)
		return req_refuse(r, ERR_UNSUPPORTED, "a transaction works on one database: SELECT before its first "
		    "command on keys, or EXEC first");
	if (backend && mixed(tx, r))
		return req_refuse(r, ERR_UNSUPPORTED, "a script and a command that looks at the whole key space or database "
		    "cannot be in one transaction: two transactions can");
	if (tx->dirty)
		return say_ok(r, "QUEUED");
	if (tx->n >= c->gen->tx_commands)
		return too_big(r, "transaction_max_commands");
	if (bytes + tx->bytes > c->gen->tx_bytes) /* a reload may have made it less than there is */
		return too_big(r, "transaction_max_size");
	p = part_new(tx);
	if (!p || part_words(tx, p, r) ||
	    (backend && part_call(tx, p, r, x->inst->op_of[r->cmd->id])))
		return req_refuse(r, ERR_OOM, NULL);
	tx->bytes += bytes;
	tx->wire += r->wire_in;
	p->cmd = r->cmd;
	p->local = !backend;
	tx->nlocal += p->local;
	if (backend)
		tx->db = tx->select;
	else if (r->cmd->id == CMD_SELECT)
		note_select(c, tx, r);
	return say_ok(r, "QUEUED");
}

/* A connection that is still to be closed must not become another watch's; anything else need not wait for what is
 * in flight: a MULTI whose time runs out would leave its commands to run one by one. */
static bool needs_clean_watch(const struct command *c)
{
	return c->id == CMD_WATCH || c->id == CMD_EXEC || c->id == CMD_RESET;
}

enum stage_result tx_admit(struct request *r)
{
	struct client *c = r->cl;
	struct tx *tx = c->tx;
	char text[128];

	if (tx->stale || (r->cmd->id == CMD_RESET && tx->watching)) {
		bool busy = r->project && (c->head != r || c->session.inflight);

		if (busy && needs_clean_watch(r->cmd))
			return STAGE_HOLD;
		if (!busy) {
			if (watch_ctx(c, tx))
				ctx_session_end(watch_ctx(c, tx), &c->session); /* the connection with the watch is closed */
			tx->watching = tx->stale = false;
			if (!tx->multi) {
				leave_multi(c);
				return STAGE_NEXT;
			}
		}
	}
	if (!tx->multi || (r->cmd->run == RUN_TX && r->cmd->id != CMD_UNWATCH) ||
	    r->cmd->id == CMD_QUIT || r->cmd->id == CMD_RESET)
		return STAGE_NEXT;
	if (!r->local || local_allowed(r->cmd))
		return queue(r);
	snprintf(text, sizeof text, "%s cannot be part of a transaction: %s", r->cmd->name,
	    r->cmd->run == RUN_SPACE || r->cmd->run == RUN_FEATURE ? "it takes several steps of the store" : "send it before MULTI or behind EXEC");
	return req_refuse(r, ERR_UNSUPPORTED, text);
}

/* ---- the end of a watch ---- */

static int say_last(struct tx *tx, struct bcall *b)
{
	struct reply_filter *f = b->filter;

	if (tx->last_said || tx->mute)
		return 0;
	tx->last_said = true;
	b->filter = NULL;
	b->began = true;
	reply_raw(b, tx->last_text, strlen(tx->last_text));
	b->filter = f;
	return b->broken ? -1 : 0;
}

static int last_feed(struct reply_filter *f, const uint8_t *p, size_t n)
{
	struct tx *tx = (struct tx *)((char *)f - offsetof(struct tx, last));

	(void)p;
	(void)n;
	return say_last(tx, &((struct request *)tx->filter.arg)->b);
}

/* The store need not be there to forget what was watched. */
static void last_error(struct bcall *b, enum err_code code, const char *text, size_t n)
{
	struct tx *tx = ((struct request *)b)->tx;

	(void)code;
	(void)text;
	(void)n;
	tx->unreached = b->state != BCALL_SUBMITTED;
	b->err = ERR_NONE;
	b->store_error = false;
	if (b->filter != &tx->last) /* what was said has been taken back: the reply broke off */
		tx->last_said = false;
	say_last(tx, b);
}

/* Nobody reads the reply (CLIENT REPLY): it must be seen all the same. */
static void listen_still(struct request *r)
{
	r->tx->mute = r->b.discard;
	r->b.discard = false;
}

/* r, whatever it was, becomes UNWATCH on the client's own connection, which goes back, and is answered with
 * text, a whole reply. */
static enum stage_result end_watch(struct request *r, const char *text)
{
	static const purser_bytes unwatch = { (const uint8_t *)"UNWATCH", 7 };
	struct client *c = r->cl;
	struct tx *tx = c->tx;

	forget_parts(tx);
	tx->multi = false;
	c->tx = NULL;
	r->tx = tx;
	if (!watch_ctx(c, tx)) {
		reply_raw(&r->b, text, strlen(text));
		req_finish(r);
		return STAGE_DONE;
	}
	tx->last_text = text;
	tx->last_said = false;
	tx->last = (struct reply_filter){ .feed = last_feed };
	tx->filter.arg = r;
	r->b.filter = &tx->last;
	r->b.error_to = last_error;
	r->b.done = watch_ended;
	listen_still(r);
	r->argv[0] = unwatch;
	r->argc = 1;
	r->local = false;
	r->b.argv = r->argv;
	r->b.c.argc = 1;
	return STAGE_NEXT;
}

/* ---- EXEC ---- */

static size_t rewrite_error(void *arg, char *text, size_t n)
{
	const struct request *r = arg;
	const struct tx_part *p = r->tx->part[r->tx->filter.at - 1];

	n = space_error(r->project, &p->b, p->argc, text, n);
	return script_names(r, text, n);
}

static struct reply_filter *whole(void *arg, uint32_t i)
{
	struct request *r = arg;

	return space_filter(r, r->tx->part[i]->cmd, r->tx->db, &r->b.out, NULL);
}

static size_t rewrite_batch(struct bcall *b, char *text, size_t n)
{
	return isolate_text(((struct request *)b)->project, text, n);
}

/* A queued command that the agent answers. */
static int run_local(void *arg, uint32_t i)
{
	struct request *r = arg, *l;
	const struct tx_part *p = r->tx->part[i];
	int rc;

	l = req_apart(r->cl, p->argv, p->argc, r->b.out);
	if (!l)
		return -1;
	l->cmd = p->cmd;
	l->project = r->project;
	l->b.discard = r->tx->mute;
	if (p->cmd->id == CMD_UNWATCH)
		reply_status(&l->b, "OK");
	else
		r->cl->w->handlers[p->cmd->id](l);
	rc = l->b.broken ? -1 : 0;
	req_drop(l);
	return rc;
}

/* PUBLISH: subscribers of this host count one by one. Others are told, and stay what they are. */
static int64_t integer(void *arg, uint32_t i, int64_t n)
{
	struct request *r = arg;
	const struct tx_part *p = r->tx->part[i];

	r->told = n;
	if (p->cmd->transform == X_TOLD)
		return n;
	return pubsub_receivers(r->b.c.ctx, r->project, p->cmd, p->argv[1], &r->arena, n);
}

static void part_counts(void *arg, uint32_t i, uint32_t nulls, bool failed)
{
	struct request *r = arg;
	const struct tx_part *p = r->tx->part[i];
	struct tally_end e = { .cmd = p->cmd, .argv = p->argv, .argc = p->argc, .nkeys = p->b.c.nkeys, .nulls = nulls,
		.told = r->told, .failed = failed };

	if (cmd_counted[p->cmd->id] && !p->local && !r->tx->mute)
		tally_count(metric_tally(r->cl->w->metrics, r->project->metric_id), &e);
}

/* The connection that watched was lost, and EXEC has surely not run: as if a key had changed. */
static void exec_error(struct bcall *b, enum err_code code, const char *text, size_t n)
{
	struct request *r = (struct request *)b;
	bool null = code == ERR_BACKENDDOWN && b->executed == PURSER_NOT_EXECUTED && !b->store_error &&
	    b->c.route == PURSER_ROUTE_PINNED;

	r->tx->unreached = b->state != BCALL_SUBMITTED;
	b->filter = NULL;
	if (r->tx->mute)
		return;
	if (null) {
		reply_raw(b, b->c.resp == 3 ? "_\r\n" : "*-1\r\n", b->c.resp == 3 ? 3 : 5);
		return;
	}
	reply_error_line(b, text, n);
}

static int begin_filter(struct request *r, struct tx *tx)
{
	struct exec_filter *f = &tx->filter;

	tx->kind = arena_get(&tx->arena, tx->n + 1);
	if (!tx->kind)
		return -1;
	for (uint32_t i = 0; i < tx->n; i++) {
		const struct command *c = tx->part[i]->cmd;

		tx->kind[i] = tx->part[i]->local ? EXEC_LOCAL : space_edits(r->project, c) ? EXEC_WHOLE :
		    c->transform == X_PASS ? EXEC_PASS :
		    c->transform == X_RECEIVERS || c->transform == X_TOLD ? EXEC_COUNT :
		    (uint8_t)strip_depth(c);
	}
	f->out = &r->b.out;
	f->pool = r->b.pool;
	f->kind = tx->kind;
	f->n = tx->n;
	f->nlocal = tx->nlocal;
	f->prefix = r->project->prefix;
	f->prefix_len = r->project->prefix_len;
	f->rewrite = f->prefix_len ? rewrite_error : NULL;
	f->local = run_local;
	f->count = integer;
	f->ended = part_counts;
	f->whole = whole;
	f->arg = r;
	f->mute = tx->mute;
	exec_begin(f);
	r->b.filter = &f->f;
	r->b.error_to = exec_error;
	if (tx->watching)
		r->b.done = watch_ended;
	if (f->prefix_len)
		r->b.rewrite = rewrite_batch;
	return 0;
}

/* Nothing for the backend: the agent has it all. */
static enum stage_result exec_here(struct request *r)
{
	static const uint8_t none[] = "*0\r\n";

	if (r->b.filter->feed(r->b.filter, none, sizeof none - 1))
		r->b.broken = true;
	r->b.began = true;
	r->b.filter = NULL;
	req_finish(r);
	return STAGE_DONE;
}

/* Whole physical names, for plugins that take arguments. */
static int physical(struct tx *tx, struct tx_part *p, const struct project *project)
{
	purser_bytes *v = p->argv;

	if (p->b.c.ns_prefix && p->b.c.nkeys) {
		v = arena_get(&tx->arena, p->argc * sizeof *v);
		if (!v)
			return -1;
		memcpy(v, p->argv, p->argc * sizeof *v);
		for (uint32_t i = 0; i < p->b.c.nkeys; i++) {
			v[p->b.c.keys[i]] = isolate_key(project, v[p->b.c.keys[i]], &tx->arena);
			if (!v[p->b.c.keys[i]].p)
				return -1;
		}
	}
	p->b.c.argv = v;
	return 0;
}

static int make_calls(struct request *r, struct tx *tx, struct purser_ctx *x)
{
	uint32_t at = 0;

	tx->calls = arena_get(&tx->arena, (tx->n + 1) * sizeof *tx->calls);
	if (!tx->calls)
		return -1;
	for (uint32_t i = 0; i < tx->n; i++) {
		struct tx_part *p = tx->part[i];

		if (p->local)
			continue;
		p->b.c.ctx = x;
		p->b.c.session = &r->cl->session;
		p->b.c.db = tx->db;
		p->b.c.resp = r->cl->resp;
		p->b.out = &tx->said;
		p->b.pool = r->b.pool;
		p->b.state = BCALL_SUBMITTED;
		if (x->p->args == PURSER_ARGS_ARGV && physical(tx, p, r->project))
			return -1;
		tx->calls[at++] = &p->b.c;
		track_part(r, p->cmd, p->argv, p->argc);
	}
	track_parts_end(r);
	return 0;
}

/* A watch on a connection is one of that connection's database and protocol. */
static bool bound(const struct purser_instance *i)
{
	return i->p->args == PURSER_ARGS_WIRE;
}

/* EXEC of a client that watches: the reason why nothing can run, as a whole reply; NULL: it can. */
static const char *cannot_run(const struct request *r, const struct tx *tx)
{
	static const char moved[] = "-UNSUPPORTED keys are watched in another database or over another protocol "
	    "than the transaction's: WATCH behind SELECT and HELLO\r\n";
	uint16_t db = tx->n > tx->nlocal ? tx->db : r->cl->db;

	if (tx->dirty)
		return "-EXECABORT Transaction discarded because of previous errors.\r\n";
	if (tx->watch_lost)
		return r->cl->resp == 3 ? "_\r\n" : "*-1\r\n";
	if (tx->watch_on != r->cl->w->ctx[r->project->instance]->inst || (bound(tx->watch_on) &&
	    (tx->watch_db != db || tx->watch_resp != r->cl->resp)))
		return moved;
	return NULL;
}

/* A store in this process runs the whole block while the turn's time stands still. */
static void be_timed(struct request *r)
{
	struct timespec ts;

	if (r->timed || !r->cl->w->ctx[r->project->instance]->inst->in_process)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	r->timed = true;
	r->start_ns = (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static enum stage_result do_exec(struct request *r)
{
	struct client *c = r->cl;
	struct tx *tx = c->tx;
	const char *text;

	if (!tx || !tx->multi)
		return say(r, "ERR EXEC without MULTI");
	if (tx->watching) {
		if (c->head != r || c->session.inflight)
			return STAGE_HOLD; /* what WATCH came to must be known */
		text = cannot_run(r, tx);
		if (text)
			return end_watch(r, text);
	} else if (tx->dirty) {
		leave_multi(c);
		return say(r, aborted);
	}
	if (tx->n == tx->nlocal)
		tx->db = c->db;
	tx->multi = false;
	c->tx = NULL;
	r->tx = tx;
	listen_still(r);
	if (begin_filter(r, tx) || make_calls(r, tx, c->w->ctx[r->project->instance]))
		return req_refuse(r, ERR_OOM, NULL);
	if (tx->n == tx->nlocal && !tx->watching)
		return exec_here(r);
	if (tx->nlocal)
		c->alone = r; /* what follows depends on it: SELECT */
	be_timed(r);
	r->cmd = &cmd_rows[CMD_MULTI]; /* as OpenTelemetry names a transaction */
	r->local = false;
	r->b.payload = tx->bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)tx->bytes;
	return STAGE_NEXT;
}

/* ---- the others ---- */

static enum stage_result do_multi(struct request *r)
{
	const struct purser_ctx *x = r->cl->w->ctx[r->project->instance];
	struct tx *tx = r->cl->tx;

	if (tx && tx->multi)
		return say(r, "ERR MULTI calls can not be nested");
	if (!(x->p->caps & PURSER_CAP_BATCH) || x->inst->blocking)
		return req_refuse(r, ERR_UNSUPPORTED, NULL);
	tx = tx_of(r->cl);
	if (!tx)
		return req_refuse(r, ERR_OOM, NULL);
	tx->multi = true;
	tx->dirty = false;
	tx->select = r->cl->db;
	return say_ok(r, "OK");
}

static enum stage_result do_discard(struct request *r)
{
	struct tx *tx = r->cl->tx;

	if (!tx || !tx->multi)
		return say(r, "ERR DISCARD without MULTI");
	if (tx->watching)
		return end_watch(r, "+OK\r\n");
	leave_multi(r->cl);
	return say_ok(r, "OK");
}

static int swallow(struct reply_filter *f, const uint8_t *p, size_t n)
{
	(void)f;
	(void)p;
	(void)n;
	return 0;
}

/* A WATCH that did not succeed leaves the client unprotected: EXEC will not run. */
static void watch_done(struct bcall *b)
{
	struct request *r = (struct request *)b;

	if ((b->err || b->executed || b->broken) && r->cl->tx)
		r->cl->tx->watch_lost = true;
	req_done(b);
}

static enum stage_result do_watch(struct request *r)
{
	static struct reply_filter nobody = { swallow };
	struct client *c = r->cl;
	const struct purser_ctx *x = c->w->ctx[r->project->instance];
	struct tx *tx = c->tx;

	if (tx && tx->multi)
		return say(r, "ERR WATCH inside MULTI is not allowed");
	if (!(x->p->caps & PURSER_CAP_WATCH) || x->inst->blocking)
		return req_refuse(r, ERR_UNSUPPORTED, NULL);
	if (tx && tx->watching && (tx->watch_on != x->inst || (bound(x->inst) &&
	    (tx->watch_db != c->db || tx->watch_resp != c->resp))))
		return req_refuse(r, ERR_UNSUPPORTED, "keys are watched in another database or over another protocol "
		    "already: UNWATCH first");
	tx = tx_of(c);
	if (!tx)
		return req_refuse(r, ERR_OOM, NULL);
	r->local = false;
	if (req_isolate(r) != STAGE_NEXT)
		return STAGE_DONE;
	if (!tx->watching) {
		tx->watching = true;
		tx->watch_lost = false;
		tx->watch_on = x->inst;
		tx->watch_db = c->db;
		tx->watch_resp = c->resp;
	}
	if (r->b.discard) {
		r->b.discard = false;
		r->b.filter = &nobody;
	}
	r->b.done = watch_done;
	return STAGE_NEXT;
}

static enum stage_result do_unwatch(struct request *r)
{
	if (r->cl->tx && r->cl->tx->watching)
		return end_watch(r, "+OK\r\n");
	return say_ok(r, "OK");
}

enum stage_result tx_feature(struct request *r)
{
	if (r->sink)
		return req_refuse(r, ERR_UNSUPPORTED, not_here);
	switch (r->cmd->id) {
	case CMD_MULTI:
		return do_multi(r);
	case CMD_EXEC:
		return do_exec(r);
	case CMD_DISCARD:
		return do_discard(r);
	case CMD_WATCH:
		return do_watch(r);
	default:
		return do_unwatch(r);
	}
}

struct purser_ctx *tx_route(struct request *r, struct purser_ctx *x)
{
	struct purser_call *c = &r->b.c;
	const struct tx *tx = r->tx;

	if (!tx) { /* WATCH */
		c->route = PURSER_ROUTE_PINNED;
		return x;
	}
	if (tx->watching) {
		c->route = PURSER_ROUTE_PINNED;
		c->flags |= PURSER_CALL_UNPIN;
		if (bound(tx->watch_on)) {
			c->db = tx->watch_db;
			c->resp = tx->watch_resp;
		}
	}
	if (tx->last_text) {
		x = watch_ctx(r->cl, tx);
		c->op = x->inst->op_of[CMD_UNWATCH];
		return x;
	}
	c->op = PURSER_OP_BATCH;
	c->cred = tx->cred;
	c->db = tx->db;
	c->parts = tx->calls;
	c->nparts = tx->n - tx->nlocal;
	c->skip = c->nparts + 1;
	if (tx->write)
		c->flags |= PURSER_CALL_WRITE;
	return x;
}
