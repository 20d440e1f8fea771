/* SPDX-License-Identifier: Apache-2.0
 *
 * Transactions and scripts between a client and a plugin that does as it is told: what is sent, on which
 * route, when; what is answered; what waits for what.
 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "server/server.h"

/* ---- the plugin: keeps calls until the test answers them ---- */

static const purser_host *host;
static purser_call *calls[64];
static unsigned ncalls, sessions_ended;
static char wire[64][1024];

static int p_start(const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	(void)i;
	(void)e;
	host = h;
	*state = &ncalls;
	return 0;
}

static void p_stop(void *state)
{
	(void)state;
}

static int p_submit(void *cs, purser_call *c)
{
	int more = 0;

	(void)cs;
	assert_true(ncalls < 64);
	assert_true(c->wire_bytes < sizeof wire[0]);
	wire[ncalls][host->encode(c, wire[ncalls], sizeof wire[0] - 1, &more)] = '\0';
	assert_int_equal(more, PURSER_ENCODE_DONE);
	if (c->route == PURSER_ROUTE_PINNED)
		*host->slot(c->session, c->ctx) = &sessions_ended;
	calls[ncalls++] = c;
	return PURSER_PENDING;
}

static void p_flush(void *cs)
{
	(void)cs;
}

static void p_resume(void *cs, purser_call *c, int what)
{
	(void)cs;
	(void)c;
	(void)what;
}

static void p_session_end(void *cs, purser_session *s, void *slot)
{
	(void)cs;
	(void)s;
	(void)slot;
	sessions_ended++;
}

static const purser_plugin fake = {
	.struct_size = sizeof fake, .api = PURSER_API, .name = "fake", .version = "1", .summary = "does as it is told",
	.caps = PURSER_CAP_BATCH | PURSER_CAP_WATCH | PURSER_CAP_SCRIPT | PURSER_CAP_ANY_COMMAND,
	.model = PURSER_INLINE, .args = PURSER_ARGS_WIRE, .start = p_start, .stop = p_stop, .submit = p_submit,
	.flush = p_flush, .resume = p_resume, .session_end = p_session_end,
};

/* ---- the world: one worker, one instance, one client of project a ---- */

static struct {
	struct worker w;
	struct generation *gen;
	struct project projects[2];
	struct client c;
	struct cmd_index index;
	req_handler handlers[CMD_COUNT];
	struct trace_policy policy;
	struct metric_reg *metrics;
	struct plugin *plugin;
	struct purser_instance *inst;
} W;

static const char *text(void *arg, const char *key)
{
	(void)arg;
	(void)key;
	return "";
}

static int64_t value(void *arg, const char *key)
{
	(void)arg;
	return strcmp(key, "operation_timeout") ? 1000 : INT64_C(60000000000);
}

static void wake(struct client *c)
{
	(void)c;
}

static void make_project(struct project *p, const char *name, const char *prefix)
{
	snprintf(p->name, sizeof p->name, "%s", name);
	p->prefix_len = (uint32_t)strlen(prefix);
	memcpy(p->prefix, prefix, p->prefix_len);
	p->databases = 2;
	p->scripts = true;
	p->open = true;
	p->accept = ACCEPT_PEER;
}

static int setup(void **state)
{
	struct buf err = { .max = 1000 };
	purser_error e = { .struct_size = sizeof e };
	struct instance_opts o = { .name = "main", .workers = 1, .settings = { text, value, NULL } };

	(void)state;
	memset(&W, 0, sizeof W);
	ncalls = sessions_ended = 0;
	cmd_index_build(&W.index);
	server_handlers(W.handlers);
	W.metrics = metric_new(NULL);
	assert_int_equal(plugin_adopt(&fake, "fake", &W.plugin, &err), 0);
	o.plugin = W.plugin;
	o.metrics = W.metrics;
	W.w.loop = loop_new(NULL);
	W.w.commands = &W.index;
	W.w.handlers = W.handlers;
	W.w.metrics = metric_shard_new(W.metrics);
	W.w.trace = trace_new(&W.policy, 16);
	W.w.scripts = scripts_new(65536);
	W.inst = instance_new(&o, &e);
	assert_non_null(W.inst);
	assert_int_equal(ctx_open(W.inst, 0, W.w.loop, &e), 0);
	W.w.ctx[0] = W.inst->ctx[0];
	make_project(&W.projects[0], "a", "proj:a:");
	make_project(&W.projects[1], "off", "");
	W.projects[1].scripts = false;
	W.gen = calloc(1, sizeof *W.gen);
	W.gen->refs = 1;
	W.gen->projects.v = calloc(2, sizeof *W.gen->projects.v);
	memcpy(W.gen->projects.v, W.projects, sizeof W.projects);
	W.gen->projects.n = 2;
	W.gen->access.projects = &W.gen->projects;
	W.gen->instances[0] = W.inst;
	W.gen->tx_commands = 5;
	W.gen->tx_bytes = 4096;
	W.w.gen = W.gen;
	W.c.wake = wake;
	W.c.session.id = 7;
	W.c.id.source = IDENTITY_PEER;
	client_init(&W.c, &W.w);
	loop_turn(W.w.loop, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(ncalls, 0); /* every call was seen */
	assert_true(client_idle(&W.c));
	client_free(&W.c);
	ctx_drain(W.w.ctx[0]);
	ctx_close(W.w.ctx[0]);
	generation_unref(W.gen);
	instance_free(W.inst);
	worker_end_requests(&W.w);
	scripts_free(W.w.scripts);
	trace_free(W.w.trace);
	loop_free(W.w.loop);
	metric_free(W.metrics);
	plugin_free(W.plugin);
	return 0;
}

/* One request; words separated by blanks. */
static void ask(const char *line)
{
	static char copy[2048];
	static purser_bytes argv[64];
	uint32_t n = 0;
	struct request *r;

	assert_true(client_may_start(&W.c));
	snprintf(copy, sizeof copy, "%s", line);
	for (char *save, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[n++] = (purser_bytes){ (const uint8_t *)w, strlen(w) };
	r = req_new(&W.c, argv, n);
	assert_non_null(r);
	req_start(r);
}

/* What the client was told by now. */
static void told(const char *want)
{
	const uint8_t *got = out_flat(&W.c.out, &W.w.pool);
	size_t n = W.c.out.bytes;
	char text_[4096];

	snprintf(text_, sizeof text_, "%.*s", (int)n, (const char *)got);
	assert_string_equal(text_, want);
	out_take(&W.c.out, &W.w.pool, n);
}

static void said(const char *line, const char *want)
{
	ask(line);
	told(want);
}

/* The first call that the plugin holds: what it is. */
static purser_call *sent(const char *bytes, uint32_t route, uint32_t flags)
{
	purser_call *c = calls[0];

	assert_true(ncalls > 0);
	assert_string_equal(wire[0], bytes);
	assert_int_equal(c->route, route);
	assert_int_equal(c->flags & ~(uint32_t)PURSER_CALL_ALONE, flags);
	return c;
}

static purser_call *first(void)
{
	purser_call *c = calls[0];

	assert_true(ncalls > 0);
	ncalls--;
	memmove(calls, calls + 1, ncalls * sizeof *calls);
	memmove(wire, wire + 1, ncalls * sizeof wire[0]);
	return c;
}

/* Behind what a plugin did: what waited goes on. */
static void go_on(void)
{
	loop_turn(W.w.loop, 0);
	if (W.c.held)
		req_resume(&W.c);
}

static void answers(const char *reply)
{
	purser_call *c = first();

	if (reply[0] == '-')
		host->error(c, reply + 1, strlen(reply) - 1);
	else
		host->raw(c, reply, strlen(reply));
	host->end(c);
	go_on();
}

static void fails(uint32_t code, uint32_t executed)
{
	(host->fail)(first(), code, executed, NULL);
	go_on();
}

#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC "*1\r\n$4\r\nEXEC\r\n"
#define UNWATCH "*1\r\n$7\r\nUNWATCH\r\n"
#define INCR_K "*2\r\n$4\r\nINCR\r\n$8\r\nproj:a:k\r\n"
#define GET_K "*2\r\n$3\r\nGET\r\n$8\r\nproj:a:k\r\n"
#define WATCH_K "*2\r\n$5\r\nWATCH\r\n$8\r\nproj:a:k\r\n"
#define ABORT "-EXECABORT Transaction discarded because of previous errors.\r\n"

static void choose(void)
{
	assert_true(client_choose(&W.c, "a", 1));
}

/* ---- queueing ---- */

static void one_block(void **state)
{
	(void)state;
	choose();
	said("MULTI", "+OK\r\n");
	said("INCR k", "+QUEUED\r\n");
	said("KEYS *", "+QUEUED\r\n");
	said("GET k", "+QUEUED\r\n");
	assert_int_equal(ncalls, 0);
	ask("EXEC");
	assert_int_equal(calls[0]->skip, 4);
	assert_int_equal(calls[0]->op, PURSER_OP_BATCH);
	assert_int_equal(calls[0]->nparts, 3);
	sent(MULTI INCR_K "*2\r\n$4\r\nKEYS\r\n$8\r\nproj:a:*\r\n" GET_K EXEC, PURSER_ROUTE_SHARED, PURSER_CALL_WRITE);
	answers("*3\r\n:1\r\n*1\r\n$8\r\nproj:a:k\r\n-ERR proj:a:k\r\n");
	told("*3\r\n:1\r\n*1\r\n$1\r\nk\r\n-ERR k\r\n");
	said("EXEC", "-ERR EXEC without MULTI\r\n");
	said("DISCARD", "-ERR DISCARD without MULTI\r\n");
	said("UNWATCH", "+OK\r\n");
	/* reading alone is no write; nothing at all is answered here */
	said("MULTI", "+OK\r\n");
	said("GET k", "+QUEUED\r\n");
	ask("EXEC");
	sent(MULTI GET_K EXEC, PURSER_ROUTE_SHARED, 0);
	answers("*1\r\n$-1\r\n");
	told("*1\r\n$-1\r\n");
	said("MULTI", "+OK\r\n");
	said("EXEC", "*0\r\n");
}

static void refused(void **state)
{
	static const char *const lines[] = { "NOSUCH", "GET", "GET a b", "DBSIZE", "HELLO 3", "CLIENT NOSUCH", "PURSER.RELOAD",
		"ACL WHOAMI", "CLIENT REPLY OFF" };

	(void)state;
	choose();
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		said("MULTI", "+OK\r\n");
		said("INCR k", "+QUEUED\r\n");
		ask(lines[i]);
		assert_int_equal(out_flat(&W.c.out, &W.w.pool)[0], '-');
		out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
		said("INCR k", "+QUEUED\r\n");
		said("EXEC", ABORT);
	}
	/* these abort nothing */
	said("MULTI", "+OK\r\n");
	said("MULTI", "-ERR MULTI calls can not be nested\r\n");
	said("WATCH k", "-ERR WATCH inside MULTI is not allowed\r\n");
	said("EXEC", "*0\r\n");
	/* EXEC itself is wrong */
	said("MULTI", "+OK\r\n");
	said("INCR k", "+QUEUED\r\n");
	said("EXEC x", "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n");
	said("EXEC", "-ERR EXEC without MULTI\r\n");
	said("MULTI", "+OK\r\n");
	said("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: \r\n");
	said("DISCARD", "+OK\r\n");
	said("MULTI", "+OK\r\n");
	said("EXEC", "*0\r\n");
}

static void limits(void **state)
{
	char line[6000] = "SET k ";

	(void)state;
	choose();
	said("MULTI", "+OK\r\n");
	for (int i = 0; i < 5; i++)
		said("GET k", "+QUEUED\r\n");
	said("GET k", "-TOOBIG the transaction is larger than transaction_max_commands of the [agent] section\r\n");
	said("EXEC", ABORT);
	memset(line + 6, 'x', 1900);
	said("MULTI", "+OK\r\n");
	said(line, "+QUEUED\r\n");
	said(line, "-TOOBIG the transaction is larger than transaction_max_size of the [agent] section\r\n");
	said("EXEC", ABORT);
}

/* What the agent answers itself stands in its place, is run with EXEC, and holds up what follows. */
static void local(void **state)
{
	(void)state;
	choose();
	said("MULTI", "+OK\r\n");
	said("SELECT 1", "+QUEUED\r\n");
	said("INCR k", "+QUEUED\r\n");
	said("PING", "+QUEUED\r\n");
	said("UNWATCH", "+QUEUED\r\n");
	assert_int_equal(W.c.db, 0);
	ask("EXEC");
	assert_false(client_may_start(&W.c));
	assert_int_equal(calls[0]->db, 1);
	assert_int_equal(calls[0]->skip, 2);
	sent(MULTI INCR_K EXEC, PURSER_ROUTE_SHARED, PURSER_CALL_WRITE);
	answers("*1\r\n:5\r\n");
	told("*4\r\n+OK\r\n:5\r\n+PONG\r\n+OK\r\n");
	assert_int_equal(W.c.db, 1);
	assert_true(client_may_start(&W.c));
	/* not run, not chosen */
	said("MULTI", "+OK\r\n");
	said("SELECT 0", "+QUEUED\r\n");
	said("GET k", "+QUEUED\r\n");
	ask("EXEC");
	fails(PURSER_E_IO, PURSER_MAYBE_EXECUTED); /* what surely did not run would be sent again */
	assert_int_equal(W.c.out.bytes > 13 && !memcmp(out_flat(&W.c.out, &W.w.pool), "-BACKENDDOWN ", 13), 1);
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
	assert_int_equal(W.c.db, 1);
	/* two databases */
	said("MULTI", "+OK\r\n");
	said("GET k", "+QUEUED\r\n");
	said("SELECT 0", "+QUEUED\r\n");
	ask("GET k");
	assert_memory_equal(out_flat(&W.c.out, &W.w.pool), "-UNSUPPORTED ", 13);
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
	said("EXEC", ABORT);
	assert_int_equal(W.c.db, 1);
}

/* A reply that is none: a typed error, and nothing of it is shown. */
static void nonsense(void **state)
{
	static const char *const replies[] = { "*1\r\n:1\r\n", "*3\r\n:1\r\n:1\r\n:1\r\n", "+OK\r\n", "*2\r\n:1\r\n" };

	(void)state;
	choose();
	for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
		said("MULTI", "+OK\r\n");
		said("INCR k", "+QUEUED\r\n");
		said("GET k", "+QUEUED\r\n");
		ask("EXEC");
		if (i < 3) {
			answers(replies[i]);
		} else { /* half of it, then the link goes */
			host->raw(calls[0], replies[i], strlen(replies[i]));
			fails(PURSER_E_IO, PURSER_EXECUTED);
		}
		assert_int_equal(out_flat(&W.c.out, &W.w.pool)[0], '-');
		out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
		assert_false(W.c.cut);
	}
}

/* ---- WATCH ---- */

static void watched(void **state)
{
	(void)state;
	choose();
	ask("WATCH k");
	sent(WATCH_K, PURSER_ROUTE_PINNED, 0);
	said("MULTI", "");
	ask("INCR k");
	ask("EXEC"); /* waits: what WATCH came to must be known */
	assert_ptr_equal(W.c.held, W.c.tail);
	assert_int_equal(ncalls, 1);
	answers("+OK\r\n");
	told("+OK\r\n+OK\r\n+QUEUED\r\n");
	sent(MULTI INCR_K EXEC, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN | PURSER_CALL_WRITE);
	answers("*-1\r\n");
	told("*-1\r\n");
	/* an empty one is asked all the same */
	ask("WATCH k");
	answers("+OK\r\n");
	told("+OK\r\n");
	said("MULTI", "+OK\r\n");
	ask("EXEC");
	sent(MULTI EXEC, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN);
	assert_int_equal(calls[0]->skip, 1);
	answers("*0\r\n");
	told("*0\r\n");
}

/* Each end of a watch gives the connection back, and says what it would say without. */
static void ends(void **state)
{
	static const struct { const char *before, *line, *want; } t[] = {
		{ NULL, "UNWATCH", "+OK\r\n" }, { "GET k", "DISCARD", "+OK\r\n" }, { "NOSUCH", "EXEC", ABORT },
	};

	(void)state;
	choose();
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		for (int how = 0; how < 4; how++) {
			ask("WATCH k");
			answers("+OK\r\n");
			if (t[i].before) {
				ask("MULTI");
				ask(t[i].before);
			}
			out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
			ask(t[i].line);
			sent(UNWATCH, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN);
			if (how == 0)
				answers("+OK\r\n");
			else if (how == 1)
				answers("-LOADING it is");
			else
				fails(PURSER_E_IO, how == 2 ? PURSER_NOT_EXECUTED : PURSER_MAYBE_EXECUTED);
			told(t[i].want);
			said("EXEC", "-ERR EXEC without MULTI\r\n");
		}
	/* by a mistake, and RESET: the connection is closed before anything else of the client */
	ask("WATCH k");
	answers("+OK\r\n");
	ask("MULTI");
	ask("EXEC x");
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
	assert_int_equal(sessions_ended, 0);
	said("PING", "+PONG\r\n");
	assert_int_equal(sessions_ended, 1);
	ask("WATCH k");
	answers("+OK\r\n");
	told("+OK\r\n");
	said("RESET", "+RESET\r\n");
	assert_int_equal(sessions_ended, 2);
}

/* A watch that may not hold: null, and nothing is sent but its end. */
static void unwatched(void **state)
{
	(void)state;
	choose();
	for (int how = 0; how < 3; how++) {
		ask("WATCH k");
		if (how == 0)
			fails(PURSER_E_CONNECT, PURSER_NOT_EXECUTED);
		else if (how == 1)
			fails(PURSER_E_IO, PURSER_MAYBE_EXECUTED);
		else
			answers("-NOPERM no");
		out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
		said("MULTI", "+OK\r\n");
		said("INCR k", "+QUEUED\r\n");
		ask("EXEC");
		sent(UNWATCH, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN);
		answers("+OK\r\n");
		told("*-1\r\n");
	}
	/* its connection is lost: EXEC has not run, or nobody knows */
	for (int how = 0; how < 2; how++) {
		ask("WATCH k");
		answers("+OK\r\n");
		ask("MULTI");
		ask("INCR k");
		out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
		ask("EXEC");
		fails(PURSER_E_IO, how ? PURSER_MAYBE_EXECUTED : PURSER_NOT_EXECUTED);
		if (how == 0)
			told("*-1\r\n");
		else
			assert_memory_equal(out_flat(&W.c.out, &W.w.pool), "-INDETERMINATE ", 15);
		out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
	}
	/* in another database it is refused, and ends */
	ask("WATCH k");
	answers("+OK\r\n");
	told("+OK\r\n");
	said("SELECT 1", "+OK\r\n");
	said("MULTI", "+OK\r\n");
	said("INCR k", "+QUEUED\r\n");
	ask("EXEC");
	assert_int_equal(sent(UNWATCH, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN)->db, 0);
	answers("+OK\r\n");
	assert_memory_equal(out_flat(&W.c.out, &W.w.pool), "-UNSUPPORTED ", 13);
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
}

/* WATCH that waits for its turn until its time is over, and EXEC that waits for WATCH. */
static void late(void **state)
{
	(void)state;
	choose();
	W.inst->operation_timeout_ns = 1000000;
	ask("GET k");
	ask("WATCH k");
	assert_non_null(W.c.held);
	W.inst->operation_timeout_ns = UINT64_C(60000000000);
	while (W.c.held)
		loop_turn(W.w.loop, 1000000);
	ncalls = 0; /* the plugin is told that GET is late, and ends it at its leisure */
	host->end(calls[0]);
	go_on();
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
	said("MULTI", "+OK\r\n");
	said("INCR k", "+QUEUED\r\n");
	ask("EXEC");
	sent(UNWATCH, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN);
	answers("+OK\r\n");
	told("*-1\r\n");
	ask("WATCH k");
	ask("MULTI");
	ask("INCR k");
	W.inst->operation_timeout_ns = 1000000;
	ask("EXEC");
	W.inst->operation_timeout_ns = UINT64_C(60000000000);
	while (W.c.held)
		loop_turn(W.w.loop, 1000000);
	answers("+OK\r\n");
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
	assert_int_equal(sessions_ended, 0);
	said("EXEC", "-ERR EXEC without MULTI\r\n");
	assert_int_equal(sessions_ended, 1);
}

static void gone(void **state)
{
	(void)state;
	choose();
	ask("MULTI");
	ask("INCR k");
	ask("EXEC");
	client_gone(&W.c);
	assert_int_equal(ncalls, 1);
	assert_false(client_idle(&W.c));
	answers("*1\r\n:1\r\n");
	assert_int_equal(W.c.out.bytes, 0);
}

/* ---- scripts ---- */

#define SHA "e0e1f9fabfc9d4800c877a703b823ac0578ff8db" /* of "return 1" */
#define ONE "return\t1" /* a blank would split it */

static char one_sha[41];

static void learn(void)
{
	uint8_t sha[SCRIPT_SHA];

	script_sha((purser_bytes){ (const uint8_t *)ONE, sizeof ONE - 1 }, sha);
	for (unsigned i = 0; i < SCRIPT_SHA; i++)
		snprintf(one_sha + 2 * i, 3, "%02x", sha[i]);
	ask("EVAL " ONE " 1 k");
	sent("*4\r\n$4\r\nEVAL\r\n$8\r\nreturn\t1\r\n$1\r\n1\r\n$8\r\nproj:a:k\r\n", PURSER_ROUTE_SHARED, PURSER_CALL_WRITE);
	answers(":1\r\n");
	told(":1\r\n");
}

static void evalsha(const char *more)
{
	char line[128];

	snprintf(line, sizeof line, "EVALSHA %s 1 k%s", one_sha, more);
	ask(line);
}

static void nothing_known(void)
{
	memset(W.w.known, 0, sizeof W.w.known);
}

#define NOSCRIPT "-NOSCRIPT No matching script. Please use EVAL."

static void healed(void **state)
{
	(void)state;
	choose();
	/* never seen: nothing to send again, so nobody waits */
	ask("EVALSHA " SHA " 0");
	assert_true(client_may_start(&W.c));
	answers(NOSCRIPT);
	told(NOSCRIPT "\r\n");
	learn();
	/* known to be there: it goes like any other */
	evalsha("");
	assert_true(client_may_start(&W.c));
	answers(":2\r\n");
	told(":2\r\n");
	/* it was not, after all, and nothing else was sent: healed */
	evalsha("");
	answers(NOSCRIPT);
	told("");
	assert_false(client_may_start(&W.c));
	sent("*4\r\n$4\r\nEVAL\r\n$8\r\nreturn\t1\r\n$1\r\n1\r\n$8\r\nproj:a:k\r\n", PURSER_ROUTE_SHARED, PURSER_CALL_WRITE);
	answers(":3\r\n");
	told(":3\r\n");
	assert_true(client_may_start(&W.c));
	/* something was sent behind it, and has run: the client is told, in order */
	evalsha("");
	ask("GET k");
	answers(NOSCRIPT);
	told("");
	assert_int_equal(ncalls, 1);
	answers("$1\r\n1\r\n");
	told(NOSCRIPT "\r\n$1\r\n1\r\n");
	/* not known to be there: alone, and healed behind what is under way */
	nothing_known();
	ask("GET k");
	evalsha("");
	assert_false(client_may_start(&W.c));
	assert_int_equal(ncalls, 2);
	answers("$1\r\n1\r\n");
	answers(NOSCRIPT);
	told("$1\r\n1\r\n");
	answers(":4\r\n");
	told(":4\r\n");
	assert_true(client_may_start(&W.c));
	/* new connections: what was known is not */
	W.w.ctx[0]->links_made++;
	evalsha("");
	assert_false(client_may_start(&W.c));
	answers(":5\r\n");
	told(":5\r\n");
	/* the second time may fail as well */
	nothing_known();
	evalsha("");
	answers(NOSCRIPT);
	answers("-ERR value is not an integer or out of range");
	told("-ERR value is not an integer or out of range\r\n");
	/* a client that goes in between */
	nothing_known();
	evalsha("");
	host->error(calls[0], &NOSCRIPT[1], sizeof NOSCRIPT - 2);
	host->end(first());
	client_gone(&W.c);
	loop_turn(W.w.loop, 0);
}

static void in_a_block(void **state)
{
	char line[128];

	(void)state;
	choose();
	learn();
	said("MULTI", "+OK\r\n");
	snprintf(line, sizeof line, "EVALSHA %s 1 k", one_sha);
	said(line, "+QUEUED\r\n");
	said("EVALSHA " SHA " 0", "+QUEUED\r\n"); /* the agent does not know it either */
	ask("EXEC");
	sent(MULTI "*4\r\n$4\r\nEVAL\r\n$8\r\nreturn\t1\r\n$1\r\n1\r\n$8\r\nproj:a:k\r\n"
	    "*3\r\n$7\r\nEVALSHA\r\n$40\r\n" SHA "\r\n$1\r\n0\r\n" EXEC, PURSER_ROUTE_SHARED, PURSER_CALL_WRITE);
	answers("*2\r\n:1\r\n" NOSCRIPT "\r\n");
	told("*2\r\n:1\r\n" NOSCRIPT "\r\n");
	snprintf(line, sizeof line, "SCRIPT EXISTS %s " SHA, one_sha);
	said(line, "*2\r\n:1\r\n:0\r\n");
	said("SCRIPT FLUSH", "+OK\r\n");
	said(line, "*2\r\n:0\r\n:0\r\n");
	assert_true(client_choose(&W.c, "off", 3));
	ask("EVAL " ONE " 0");
	assert_memory_equal(out_flat(&W.c.out, &W.w.pool), "-NOPERM ", 8);
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_block), TEST(refused), TEST(limits), TEST(local), TEST(nonsense), TEST(watched), TEST(ends),
		TEST(unwatched), TEST(late), TEST(gone), TEST(healed), TEST(in_a_block),
	};

	return cmocka_run_group_tests_name("request_tx", tests, NULL, NULL);
}
