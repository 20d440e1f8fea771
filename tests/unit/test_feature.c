/* SPDX-License-Identifier: Apache-2.0
 *
 * The road of features (feature/feature.h) between a client and a plugin that does as it is told: steps, scripts that are
 * lost, what waits and who may end it, what is bound to a connection, what it is told unasked.
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
#include "base/buf.h"
#include "feature/feature.h"
#include "feature/touch.h"
#include "request_feature.h"
#include "request_push.h"
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

static void handler(struct feature_call *f);
static int answered, stopped, gone;
static char heard[256];

/* ---- the world: one worker, one instance, one client of project a ---- */

static struct {
	struct worker w;
	struct generation *gen;
	struct project projects[2];
	struct client c;
	struct cmd_index index;
	req_handler handlers[CMD_COUNT];
	feature_handler features[CMD_COUNT];
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
	answered = stopped = gone = 0;
	heard[0] = '\0';
	cmd_index_build(&W.index);
	server_handlers(W.handlers);
	W.metrics = metric_new(NULL);
	assert_int_equal(plugin_adopt(&fake, "fake", &W.plugin, &err), 0);
	o.plugin = W.plugin;
	o.metrics = W.metrics;
	W.w.loop = loop_new(NULL);
	W.w.commands = &W.index;
	W.w.handlers = W.handlers;
	W.w.features = W.features;
	for (unsigned i = 0; i < CMD_COUNT; i++)
		W.features[i] = handler;
	W.w.metrics = metric_shard_new(W.metrics);
	W.w.trace = trace_new(&W.policy, 16);
	W.w.scripts = scripts_new(65536);
	W.w.touch = touch_table_new();
	assert_int_equal(worker_begin_features(&W.w), 0);
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
	W.gen->subscriber_limit = 65536;
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
	assert_null(W.c.bonds);
	client_free(&W.c);
	ctx_drain(W.w.ctx[0]);
	ctx_close(W.w.ctx[0]);
	generation_unref(W.gen);
	instance_free(W.inst);
	children_run(&W.w);
	worker_end_features(&W.w);
	worker_end_requests(&W.w);
	worker_end_children(&W.w);
	worker_end_batches(&W.w);
	scripts_free(W.w.scripts);
	touch_table_free(W.w.touch);
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
	children_run(&W.w);
	batches_send(&W.w);
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


static void choose(void)
{
	assert_true(client_choose(&W.c, "a", 1));
}

/* ---- the feature: what a test wants of CACHE.INCRBY key what n ---- */

static struct feature_call *last;
static struct feature_place place;
static struct feature_bond bond;
static enum feature_stop why;

static void note(void *arg, const struct feature_reply *rep)
{
	struct feature_call *f = arg;

	answered++;
	if (rep->err)
		feature_pass_error(f, rep);
	else {
		reply_raw(f->b, rep->resp, rep->n);
		feature_end(f);
	}
}

static void nobodys(void *arg, const struct feature_reply *rep)
{
	(void)arg;
	answered++;
	snprintf(heard, sizeof heard, "%d %.*s", rep->err, (int)(rep->err ? strlen(rep->error) : rep->n),
	    rep->err ? rep->error : (const char *)rep->resp);
}

static void stop(struct feature_call *f, enum feature_stop how)
{
	stopped++;
	why = how;
	if (how == FEATURE_ERROR) {
		feature_unblocked(f);
	} else {
		reply_text(f->b, how == FEATURE_GONE ? "gone" : "timeout");
		feature_end(f);
	}
}

static void bond_gone(struct feature_bond *b)
{
	static const uint8_t del[] = "DEL", name[] = "psr:a:lock:x";
	const purser_bytes argv[] = { { del, 3 }, { name, 12 } };

	gone++;
	assert_null(b->at);
	feature_place_ask(b->w, &place, 1000000000, CMD_DEL, argv, 2, nobodys, NULL);
}

static struct touch watched[3];
static struct touch_note *about[4];
static unsigned nabout;

static void written(struct touch *t, struct touch_note *n)
{
	assert_true(touch_written(t));
	touch_forget(t);
	assert_false(touch_written(t));
	about[nabout++] = n;
}

static bool says(const struct feature_call *f, const char *w)
{
	return cmd_word_is(f->argv[2], w);
}

static void steps(struct feature_call *f)
{
	static const uint8_t get[] = "GET";
	purser_bytes *argv = arena_get(f->arena, 2 * sizeof *argv);

	argv[0] = (purser_bytes){ get, 3 };
	argv[1] = feature_key(f, f->argv[1]);
	if (says(f, "name"))
		argv[1] = feature_name(f->arena, f->project->name, "sess", f->argv[1]);
	feature_ask(f, CMD_GET, argv, 2, note, f);
	if (says(f, "early")) { /* it is answered while its step runs on */
		reply_text(f->b, "early");
		feature_end(f);
	}
}

static void handler(struct feature_call *f)
{
	last = f;
	feature_place_of(f, &place);
	if (says(f, "script"))
		feature_script(f, LUA_CACHE_INCRBY, f->argv + 1, 1, f->argv + 3, 1, note, f);
	else if (says(f, "wait"))
		feature_wait(f, stop);
	else if (says(f, "watch")) {
		struct touch *t = &watched[f->argv[3].p[0] - '0'];

		t->written = written;
		assert_true(touch_watch(f->w, f->instance, f->db, feature_key(f, f->argv[1]), t));
		feature_ok(f);
	} else if (says(f, "set") || says(f, "own")) {
		static const uint8_t set[] = "SET";
		purser_bytes *argv = arena_get(f->arena, 3 * sizeof *argv);

		f->keeps_leases = says(f, "own");
		argv[0] = (purser_bytes){ set, 3 };
		argv[1] = feature_key(f, f->argv[1]);
		argv[2] = f->argv[3];
		feature_ask(f, CMD_SET, argv, 3, note, f);
	} else if (says(f, "bind")) {
		bond.gone = bond_gone;
		assert_true(feature_bind(f, &bond));
		feature_ok(f);
	} else
		steps(f);
}

#define SHA (feature_scripts[LUA_CACHE_INCRBY].sha)
#define GET_K "*2\r\n$3\r\nGET\r\n$8\r\nproj:a:k\r\n"
#define DEL_X "*2\r\n$3\r\nDEL\r\n$12\r\npsr:a:lock:x\r\n"

/* ---- steps ---- */

static void one_step(void **state)
{
	(void)state;
	choose();
	ask("CACHE.INCRBY k step 0");
	assert_false(client_may_start(&W.c)); /* alone */
	sent(GET_K, PURSER_ROUTE_SHARED, 0);
	assert_int_equal(calls[0]->resp, 3);
	assert_int_equal(calls[0]->nkeys, 1);
	answers("$1\r\nx\r\n");
	told("$1\r\nx\r\n");
	assert_int_equal(answered, 1);
	ask("CACHE.INCRBY id name 0");
	sent("*2\r\n$3\r\nGET\r\n$13\r\npsr:a:sess:id\r\n", PURSER_ROUTE_SHARED, 0);
	answers("-WRONGTYPE it is proj:a:k");
	told("-WRONGTYPE it is k\r\n"); /* as the client knows it */
	ask("CACHE.INCRBY k step 0");
	fails(PURSER_E_IO, PURSER_NOT_EXECUTED);
	assert_int_equal(memcmp(out_flat(&W.c.out, &W.w.pool), "-BACKENDDOWN", 12), 0);
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
}

static void answered_early(void **state)
{
	(void)state;
	choose();
	said("CACHE.INCRBY k early 0", "$5\r\nearly\r\n");
	assert_false(client_idle(&W.c)); /* the step has words of it */
	ask("CACHE.INCRBY k early 1"); /* behind it, when it is over */
	assert_non_null(W.c.held);
	answers("$1\r\nx\r\n");
	told("$5\r\nearly\r\n");
	answers("$1\r\ny\r\n");
	assert_int_equal(answered, 0); /* nobody hears of it */
	assert_true(client_idle(&W.c));
	/* and the client may go meanwhile */
	said("CACHE.INCRBY k early 2", "$5\r\nearly\r\n");
	client_gone(&W.c);
	assert_false(client_idle(&W.c));
	answers("$1\r\ny\r\n");
}

static void lost_script(void **state)
{
	char want[1024], whole[2048];

	(void)state;
	choose();
	ask("CACHE.INCRBY k script 7");
	go_on();
	snprintf(want, sizeof want, "*5\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\n7\r\n", SHA);
	sent(want, PURSER_ROUTE_SHARED, PURSER_CALL_WRITE);
	answers("-NOSCRIPT No matching script. Please use EVAL.");
	assert_int_equal(answered, 0);
	snprintf(whole, sizeof whole, "*5\r\n$4\r\nEVAL\r\n$%zu\r\n%.*s\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\n7\r\n",
	    feature_scripts[LUA_CACHE_INCRBY].n, (int)feature_scripts[LUA_CACHE_INCRBY].n,
	    (const char *)feature_scripts[LUA_CACHE_INCRBY].body);
	sent(whole, PURSER_ROUTE_SHARED, PURSER_CALL_WRITE);
	answers(":9\r\n");
	told(":9\r\n");
	assert_int_equal(answered, 1);
	ask("CACHE.INCRBY k script 7"); /* a store that says so twice */
	go_on();
	answers("-NOSCRIPT No matching script.");
	answers("-NOSCRIPT No matching script.");
	told("-NOSCRIPT No matching script.\r\n");
}

static char each[4][256];

static void one_of_many(void *arg, const struct feature_reply *rep)
{
	char *at = arg;

	answered++;
	snprintf(at, sizeof each[0], "%d %.*s", rep->err, (int)(rep->err ? strlen(rep->error) : rep->n),
	    rep->err ? rep->error : (const char *)rep->resp);
}

static void many(const char *const *keys, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char word[16];
		purser_bytes key = { (const uint8_t *)word, (size_t)snprintf(word, sizeof word, "%s", keys[i]) },
			arg = { key.p, 1 };

		each[i][0] = '\0';
		feature_place_script(&W.w.feature, &place, 1000000000, LUA_CACHE_INCRBY, &key, 1, &arg, 1, one_of_many, each[i]);
		memset(word, 0, sizeof word); /* they were copied */
	}
	assert_int_equal(ncalls, 0);
	go_on();
	assert_int_equal(ncalls, 1);
}

/* Scripts that came in one turn go out in one, and each has its own answer. */
static void together(void **state)
{
	static const char *const keys[] = { "ka", "kbb", "kc", "kd" };
	char want[256];

	(void)state;
	choose();
	said("CACHE.INCRBY k bind 0", "+OK\r\n");
	feature_unbind(&bond);
	many(keys, 4);
	snprintf(want, sizeof want, "*12\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n4\r\n$2\r\nka\r\n$3\r\nkbb\r\n$2\r\nkc\r\n$2\r\nkd\r\n"
	    "$1\r\n4\r\n$1\r\nk\r\n$1\r\nk\r\n$1\r\nk\r\n$1\r\nk\r\n", feature_batches[LUA_CACHE_INCRBY].sha);
	sent(want, PURSER_ROUTE_SHARED, PURSER_CALL_WRITE | PURSER_CALL_INTERNAL);
	assert_int_equal(calls[0]->nkeys, 4);
	answers("*4\r\n:1\r\n-WRONGTYPE no\r\n*2\r\n%1\r\n+a\r\n_\r\n$2\r\nxy\r\n_\r\n");
	assert_string_equal(each[0], "0 :1\r\n");
	assert_non_null(strstr(each[1], " WRONGTYPE no"));
	assert_string_equal(each[2], "0 *2\r\n%1\r\n+a\r\n_\r\n$2\r\nxy\r\n");
	assert_string_equal(each[3], "0 _\r\n");
	assert_int_equal(answered, 4);
	/* lost, and had again; then it fails for all */
	many(keys, 2);
	answers("-NOSCRIPT no");
	assert_non_null(strstr(wire[0], "$4\r\nEVAL\r\n"));
	answers("-OOM no memory");
	assert_non_null(strstr(each[0], "OOM no memory"));
	assert_string_equal(each[0], each[1]);
	many(keys, 2);
	answers("*2\r\n:1\r\n");
	assert_string_equal(each[0], "0 :1\r\n");
	assert_non_null(strstr(each[1], "BACKENDPROTOCOL"));
	/* what is no script is not overtaken */
	many(keys, 1);
	assert_non_null(strstr(wire[0], SHA));
	answers(":5\r\n");
	assert_string_equal(each[0], "0 :5\r\n");
}

static void gone_in_a_step(void **state)
{
	(void)state;
	choose();
	ask("CACHE.INCRBY k step 0");
	client_gone(&W.c);
	assert_true(last->gone);
	assert_int_equal(answered, 0);
	answers("$1\r\nx\r\n");
	assert_int_equal(answered, 1);
}

/* ---- waiting ---- */

static void waits(void **state)
{
	(void)state;
	choose();
	ask("CACHE.INCRBY k wait 0");
	assert_true(client_waits(&W.c));
	assert_true(client_unblock(&W.c, false));
	assert_int_equal(why, FEATURE_TIMEOUT);
	told("$7\r\ntimeout\r\n");
	assert_false(client_unblock(&W.c, false));
	ask("CACHE.INCRBY k wait 0");
	assert_true(client_unblock(&W.c, true));
	told("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
	/* it goes on by itself: nobody stops it any more, and its deadline is a new one */
	ask("CACHE.INCRBY k wait 0");
	last->deadline_ns = 0;
	feature_resume(last);
	assert_true(last->deadline_ns > loop_now(W.w.loop));
	assert_false(client_waits(&W.c));
	assert_false(client_unblock(&W.c, true));
	feature_ok(last);
	told("+OK\r\n");
	assert_int_equal(stopped, 2);
	/* while the agent shuts down nobody begins to wait */
	W.w.draining = true;
	ask("CACHE.INCRBY k wait 0");
	assert_int_equal(out_flat(&W.c.out, &W.w.pool)[0], '-');
	out_take(&W.c.out, &W.w.pool, W.c.out.bytes);
	W.w.draining = false;
	ask("CACHE.INCRBY k wait 0");
	client_gone(&W.c);
	assert_int_equal(why, FEATURE_GONE);
	assert_int_equal(W.c.out.bytes, 0);
}

/* Calls that only read are under way beside each other; replies come in order, and nothing else begins meanwhile. */
static void beside(void **state)
{
	purser_call *c;

	(void)state;
	choose();
	ask("SESSION.GET a step 0");
	ask("SESSION.GET b step 0");
	assert_int_equal(ncalls, 2);
	c = calls[0]; /* the store may answer as it likes */
	calls[0] = calls[1];
	calls[1] = c;
	answers("$1\r\nb\r\n");
	told("");
	ask("SESSION.GET k step 0");
	assert_int_equal(ncalls, 2);
	ask("GET k");
	assert_non_null(W.c.held);
	assert_int_equal(ncalls, 2);
	answers("$1\r\na\r\n");
	told("$1\r\na\r\n$1\r\nb\r\n");
	assert_non_null(W.c.held);
	answers("$1\r\nk\r\n");
	told("$1\r\nk\r\n");
	assert_null(W.c.held);
	sent(GET_K, PURSER_ROUTE_SHARED, 0);
	ask("SESSION.GET a step 0"); /* nor beside what is no such call */
	assert_int_equal(ncalls, 1);
	answers("$1\r\nx\r\n");
	answers("$1\r\na\r\n");
	told("$1\r\nx\r\n$1\r\na\r\n");
	ask("SESSION.GET a wait 0");
	ask("SESSION.GET b wait 0");
	ask("SESSION.GET b step 0");
	assert_true(client_unblock(&W.c, false));
	told("$7\r\ntimeout\r\n");
	assert_true(client_waits(&W.c)); /* the next one */
	client_gone(&W.c);
	assert_int_equal(stopped, 2);
	answers("$1\r\nb\r\n");
}

/* A reload while it waits: the same project of the new generation, or an error. */
static struct generation *next_generation(const char *name)
{
	struct generation *g = calloc(1, sizeof *g);

	*g = *W.gen;
	atomic_init(&g->refs, 1);
	g->projects.v = calloc(2, sizeof *g->projects.v);
	memcpy(g->projects.v, W.gen->projects.v, 2 * sizeof *g->projects.v);
	snprintf(g->projects.v[0].name, sizeof g->projects.v[0].name, "%s", name);
	g->access.projects = &g->projects;
	return g;
}

static void reloaded(void **state)
{
	struct generation *old = W.gen;

	(void)state;
	choose();
	ask("CACHE.INCRBY k wait 0");
	W.gen = W.w.gen = next_generation("a");
	client_migrate(&W.c);
	assert_true(client_waits(&W.c));
	assert_ptr_equal(W.c.gen, W.gen);
	assert_ptr_equal(last->project, &W.gen->projects.v[0]);
	assert_int_equal(atomic_load(&old->refs), 1);
	generation_unref(old);
	assert_ptr_equal(feature_place_project(&W.w.feature, &place), &W.gen->projects.v[0]);
	old = W.gen;
	W.gen = W.w.gen = next_generation("b");
	client_migrate(&W.c);
	assert_int_equal(why, FEATURE_ERROR);
	told("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
	client_migrate(&W.c);
	generation_unref(old);
	/* what outlives the call does not find its place any more */
	assert_null(feature_place_project(&W.w.feature, &place));
	feature_place_ask(&W.w.feature, &place, 1000000000, CMD_DEL, NULL, 0, nobodys, NULL);
	assert_string_equal(heard, "");
	loop_turn(W.w.loop, 0);
	assert_non_null(strstr(heard, "BACKENDDOWN"));
}

/* ---- bound to the connection ---- */

static void bound(void **state)
{
	(void)state;
	choose();
	said("CACHE.INCRBY k bind 0", "+OK\r\n");
	assert_ptr_equal(W.c.bonds, &bond);
	feature_unbind(&bond);
	feature_unbind(&bond);
	assert_null(W.c.bonds);
	said("CACHE.INCRBY k bind 0", "+OK\r\n");
	said("RESET", "+RESET\r\n");
	assert_int_equal(gone, 1);
	sent(DEL_X, PURSER_ROUTE_SHARED, PURSER_CALL_WRITE | PURSER_CALL_INTERNAL);
	answers(":1\r\n");
	assert_string_equal(heard, "0 :1\r\n");
	choose();
	said("CACHE.INCRBY k bind 0", "+OK\r\n");
	client_gone(&W.c);
	assert_int_equal(gone, 2);
	assert_true(client_idle(&W.c)); /* what it has left behind is nobody's */
	answers(":0\r\n");
}

static void told_unasked(void **state)
{
	static const purser_bytes words[] = { { (const uint8_t *)"name", 4 }, { NULL, 0 } };

	(void)state;
	choose();
	said("CACHE.INCRBY k bind 0", "+OK\r\n");
	/* RESP2: the answer of the next command, whatever it is, once */
	feature_push(&bond, "lock.lost", words, 2, ERR_LOCKLOST, "lock=name");
	feature_push(&bond, "lock.lost", words, 2, ERR_LOCKLOST, "lock=other");
	said("PING", "-LOCKLOST lock=name\r\n");
	said("CACHE.INCRBY k step 0", "-LOCKLOST lock=other\r\n");
	said("PING", "+PONG\r\n");
	ask("GET k");
	answers("$1\r\nx\r\n");
	told("$1\r\nx\r\n");
	/* between MULTI and EXEC it spoils the block */
	said("MULTI", "+OK\r\n");
	feature_push(&bond, "lock.lost", words, 2, ERR_LOCKLOST, "lock=name");
	said("GET k", "-LOCKLOST lock=name\r\n");
	said("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
	/* RESP3: at once */
	W.c.resp = 3;
	feature_push(&bond, "lock.lost", words, 2, ERR_LOCKLOST, "lock=name");
	told(">3\r\n$9\r\nlock.lost\r\n$4\r\nname\r\n$0\r\n\r\n");
	said("PING", "+PONG\r\n");
	W.c.resp = 2;
	feature_push(&bond, "lock.lost", words, 2, ERR_LOCKLOST, "lock=name");
	feature_unbind(&bond);
	said("RESET", "+RESET\r\n"); /* a new beginning */
	said("PING", "+PONG\r\n");
}

/* ---- mail ---- */

static void arrived(struct feature_mail *m)
{
	assert_ptr_equal(m->to, &W.w.feature);
	answered++;
}

static void mail(void **state)
{
	struct feature_mail a, b;

	(void)state;
	assert_int_equal(feature_owner(&W.w.feature, 1, 0, "lock", (purser_bytes){ (const uint8_t *)"x", 1 }), 0);
	feature_post(&W.w.feature, 0, &a, arrived);
	feature_post(&W.w.feature, 0, &b, arrived);
	assert_int_equal(answered, 0);
	loop_turn(W.w.loop, 0);
	assert_int_equal(answered, 2);
}

/* ---- who must hear of a write before it is sent ---- */

static void watch_key(const char *line)
{
	said(line, "+OK\r\n");
	assert_true(atomic_load(&W.inst->gate) & GATE_TOUCH);
}

/* It is held until those n have heard, and is sent then. */
static void held(const char *line, unsigned n, const char *reply, const char *want)
{
	nabout = 0;
	ask(line);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(ncalls, 0);
		for (unsigned turns = 0; turns < 4 && nabout <= i; turns++)
			go_on();
		assert_int_equal(nabout, i + 1);
		go_on();
		assert_int_equal(ncalls, 0);
		touch_done(about[i]);
	}
	for (unsigned turns = 0; turns < 4 && !ncalls; turns++)
		go_on();
	assert_int_equal(ncalls, 1);
	answers(reply);
	told(want);
	assert_int_equal(atomic_load(&W.inst->gate), 0);
}

static void touched(void **state)
{
	(void)state;
	choose();
	assert_int_equal(atomic_load(&W.inst->gate), 0);
	watch_key("CACHE.INCRBY k watch 0");
	/* what only reads, and what writes elsewhere, goes on */
	ask("GET k");
	answers("$-1\r\n");
	told("$-1\r\n");
	ask("SET kk x");
	answers("+OK\r\n");
	told("+OK\r\n");
	held("SET k x", 1, "+OK\r\n", "+OK\r\n");
	watch_key("CACHE.INCRBY k watch 0");
	held("DEL a b k c", 1, ":1\r\n", ":1\r\n");
	watch_key("CACHE.INCRBY k watch 0");
	held("RENAME a k", 1, "+OK\r\n", "+OK\r\n");
	watch_key("CACHE.INCRBY k watch 0");
	held("SORT a LIMIT 0 1 STORE k", 1, ":1\r\n", ":1\r\n");
	watch_key("CACHE.INCRBY k watch 0");
	held("EVAL return(1) 2 a k b", 1, ":1\r\n", ":1\r\n");
	watch_key("CACHE.INCRBY k watch 0");
	watch_key("CACHE.INCRBY l watch 1");
	held("MSET k 1 l 2", 2, "+OK\r\n", "+OK\r\n");
	watch_key("CACHE.INCRBY k watch 0");
	said("MULTI", "+OK\r\n");
	said("GET k", "+QUEUED\r\n");
	said("LMOVE k z LEFT LEFT", "+QUEUED\r\n");
	held("EXEC", 1, "*2\r\n$-1\r\n$-1\r\n", "*2\r\n$-1\r\n$-1\r\n");
	/* the agent's own steps, but for those of the lease itself */
	watch_key("CACHE.INCRBY k watch 0");
	held("CACHE.INCRBY k set x", 1, "+OK\r\n", "+OK\r\n");
	watch_key("CACHE.INCRBY k watch 0");
	ask("CACHE.INCRBY k own x");
	answers("+OK\r\n");
	told("+OK\r\n");
	touch_forget(&watched[0]);
	assert_int_equal(atomic_load(&W.inst->gate), 0);
}

static void touched_all(void **state)
{
	(void)state;
	assert_true(client_choose(&W.c, "off", 3));
	watch_key("CACHE.INCRBY k watch 0");
	watch_key("CACHE.INCRBY l watch 1");
	held("FLUSHDB", 2, "+OK\r\n", "+OK\r\n");
	choose();
	watch_key("CACHE.INCRBY k watch 0");
	nabout = 0;
	ask("FLUSHDB");
	for (unsigned turns = 0; turns < 4 && !nabout; turns++)
		go_on();
	assert_int_equal(nabout, 1); /* before it is known that there is such a key */
	assert_int_equal(ncalls, 0);
	touch_done(about[0]);
	for (unsigned turns = 0; turns < 4 && !ncalls; turns++)
		go_on();
	answers("*2\r\n$1\r\n0\r\n*2\r\n$8\r\nproj:a:k\r\n$8\r\nproj:a:l\r\n");
	for (unsigned turns = 0; turns < 4 && !ncalls; turns++)
		go_on();
	sent("*3\r\n$6\r\nUNLINK\r\n$8\r\nproj:a:k\r\n$8\r\nproj:a:l\r\n", PURSER_ROUTE_SHARED, PURSER_CALL_WRITE);
	answers(":2\r\n");
	told("+OK\r\n");
}

/* The client goes, or its time is up, while others are told; nothing is sent then. */
static void touched_and_gone(void **state)
{
	(void)state;
	choose();
	watch_key("CACHE.INCRBY k watch 0");
	nabout = 0;
	ask("SET k x");
	go_on();
	client_gone(&W.c);
	for (unsigned turns = 0; turns < 4 && !nabout; turns++)
		go_on();
	assert_int_equal(nabout, 1);
	touch_done(about[0]);
	for (unsigned turns = 0; turns < 4; turns++)
		go_on();
	assert_int_equal(ncalls, 0);
}

/* Every row has its handler, every script its SHA1. */
static void complete(void **state)
{
	static feature_handler t[CMD_COUNT];

	(void)state;
	feature_commands(t);
	for (unsigned i = 0; i < CMD_COUNT; i++)
		assert_int_equal(t[i] != NULL, cmd_rows[i].run == RUN_FEATURE && !(cmd_rows[i].flags & F_CONTAINER));
	for (unsigned i = 0; i < LUA_COUNT; i++) {
		uint8_t sha[SCRIPT_SHA];
		char text_[2 * SCRIPT_SHA + 1];

		script_sha((purser_bytes){ feature_scripts[i].body, feature_scripts[i].n }, sha);
		script_sha_text(sha, text_);
		assert_string_equal(text_, feature_scripts[i].sha);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(one_step), T(answered_early), T(lost_script), T(together), T(gone_in_a_step), T(waits), T(beside), T(reloaded), T(bound),
		T(told_unasked), T(mail), T(touched), T(touched_all), T(touched_and_gone),
		T(complete),
	};

	return cmocka_run_group_tests_name("features", tests, NULL, NULL);
}
