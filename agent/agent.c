/* SPDX-License-Identifier: Apache-2.0
 *
 * Life of the agent: threads, sockets, start and stop.
 */
#include <config.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent.h"
#include "request_feature.h"
#include "access/jwt.h"
#include "agent_breaker.h"
#include "agent_health.h"
#include "agent_jobs.h"
#include "feature/job_service.h"
#include "backend/blocking.h"
#include "base/buf.h"
#include "feature/touch.h"
#include "metric/slowlog.h"
#include "server/http_route.h"

/* ---- work on a worker's thread ---- */

struct errand {
	purser_job job;
	purser_fn fn;
	void *arg;
	sem_t done;
};

static void do_errand(void *arg)
{
	struct errand *e = arg;

	e->fn(e->arg);
	sem_post(&e->done);
}

void agent_on_worker(struct agent *a, uint32_t w, purser_fn fn, void *arg)
{
	struct errand e = { .job = { .fn = do_errand, .arg = &e }, .fn = fn, .arg = arg };

	sem_init(&e.done, 0, 0);
	loop_post(a->serving[w].w.loop, &e.job);
	while (sem_wait(&e.done) && errno == EINTR)
		;
	sem_destroy(&e.done);
}

/* ---- workers ---- */

static uint32_t worker_count(const struct cfg *cfg)
{
	const struct cfg_section *s = cfg_one(cfg, CFG_AGENT);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (strcmp(cfg_text(s, CFG_AGENT_WORKERS), "auto"))
		return (uint32_t)cfg_int(s, CFG_AGENT_WORKERS);
	return cpus <= 4 ? 1 : (uint32_t)cpus / 4;
}

static void *worker_main(void *arg)
{
	struct serving *s = arg;
	int rc = loop_run(s->w.loop);

	if (rc)
		log_event(s->w.log, LOG_M_SERVER, LOG_ERROR, "worker.failed", strerror(-rc));
	return NULL;
}

static uint32_t jwt_entries(const struct cfg *cfg)
{
	return (uint32_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_JWT_CACHE);
}

static int worker_init(struct agent *a, uint32_t i)
{
	struct serving *s = &a->serving[i];
	uint32_t slots = 1, want = (uint32_t)cfg_int(cfg_one(a->cfg, CFG_OTLP), CFG_OTLP_SPAN_QUEUE);

	while (slots < want)
		slots *= 2;
	s->w.index = i;
	a->peers[i] = &s->w;
	s->w.peers = a->peers;
	s->w.npeers = a->nworkers;
	s->w.log = a->log;
	s->w.handlers = a->handlers;
	s->w.features = a->features;
	s->w.scripts = a->scripts;
	s->w.tag = a->tag;
	s->w.agent = &a->ops;
	s->w.faults = &a->faults;
	s->w.touch = a->touch;
	s->w.slow = a->slow;
	s->w.attempts = &a->attempts;
	memcpy(s->w.cursor_secret, a->cursor_secret, sizeof s->w.cursor_secret);
	s->w.metrics = metric_shard_new(a->metrics);
	s->w.trace = trace_new(&a->policy, slots);
	s->w.loop = loop_new(NULL);
	s->w.jwt = s->w.loop ? jwt_worker_new(a->jwt, s->w.loop, jwt_entries(a->cfg)) : NULL;
	if (i == 0)
		build_limits(a->cfg, a->log, &s->limits);
	else
		s->limits = a->serving[0].limits;
	if (!s->w.metrics || !s->w.trace || !s->w.loop || !s->w.jwt)
		return -ENOMEM;
	return serving_init(s, &a->server) || worker_begin_features(&s->w) ? -ENOMEM : 0;
}

/* Agents of several hosts make users in one store: each has names of its own, the same after a restart. */
static void make_tag(struct agent *a)
{
	char text[sizeof a->socket + 257] = "", hex[2 * SCRIPT_SHA + 1];
	uint8_t sha[SCRIPT_SHA];

	if (gethostname(text, 256))
		text[0] = '\0'; /* the socket alone then */
	text[255] = '\0';
	snprintf(text + strlen(text), sizeof text - strlen(text), "%s",
	    cfg_text(cfg_one(a->cfg, CFG_AGENT), CFG_AGENT_SOCKET));
	script_sha((purser_bytes){ (const uint8_t *)text, strlen(text) }, sha);
	script_sha_text(sha, hex);
	memcpy(a->tag, hex, sizeof a->tag - 1);
}

static int start_workers(struct agent *a)
{
	const char *why;
	unsigned at;
	sigset_t all, old;
	int rc = 0;

	make_tag(a);
	a->nworkers = worker_count(a->cfg);
	a->serving = calloc(a->nworkers, sizeof *a->serving);
	a->threads = calloc(a->nworkers, sizeof *a->threads);
	a->scripts = scripts_new((size_t)cfg_int(cfg_one(a->cfg, CFG_AGENT), CFG_AGENT_SCRIPT_MEMORY));
	a->peers = calloc(a->nworkers, sizeof *a->peers);
	a->slow = slowlogs_new();
	a->touch = touch_table_new();
	attempts_init(&a->attempts);
	a->jwt = jwt_service_new(a->log, a->metrics, jwt_entries(a->cfg));
	if (!a->serving || !a->threads || !a->scripts || !a->peers || !a->slow || !a->jwt || !a->touch)
		return -ENOMEM;
	a->server.routes = http_routes_new(&why, &at);
	if (!a->server.routes)
		return why ? -EINVAL : -ENOMEM;
	a->server.workers = a->serving;
	a->server.nworkers = a->nworkers;
	a->server.log = a->log;
	for (uint32_t i = 0; i < a->nworkers; i++)
		if (worker_init(a, i))
			return -ENOMEM;
	sigfillset(&all); /* signals are the control thread's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; a->nrunning < a->nworkers && !rc; a->nrunning += !rc)
		rc = pthread_create(&a->threads[a->nrunning], NULL, worker_main, &a->serving[a->nrunning]);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

static void begin_serving(void *arg)
{
	struct serving *s = arg;

	serving_start(s);
	if (s->w.index == 0)
		listen_start(s->srv);
}

static void give_generation(void *arg)
{
	struct serving *s = ((void **)arg)[0];

	s->w.gen = generation_ref(((void **)arg)[1]);
	s->w.commands = &s->w.gen->commands;
}

/* ---- start ---- */

static int fail(struct agent *a, const char *what, const char *why)
{
	log_event(a->log, LOG_M_MAIN, LOG_ERROR, "agent.start.failed", why, LOG_STR("what", what));
	return -1;
}

/* "127.0.0.1:9464" or "[::1]:9464", checked by the configuration. */
static int bind_http(struct agent *a, const struct cfg_section *s)
{
	const char *text = cfg_text(s, CFG_AGENT_HTTP_LISTEN), *colon = strrchr(text, ':');
	char host[64], why[256];
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (!colon)
		return 0;
	if (*text == '[') {
		text++;
		n -= 2;
	}
	snprintf(host, sizeof host, "%.*s", (int)n, text);
	if (listen_tcp(&a->server, host, (uint16_t)cfg_int(s, CFG_AGENT_HTTP_LISTEN), why, sizeof why))
		return fail(a, "http_listen", why);
	return 0;
}

static int bind_sockets(struct agent *a)
{
	const struct cfg_section *s = cfg_one(a->cfg, CFG_AGENT);
	struct socket_opts o = { .path = a->socket, .mode = (uint32_t)cfg_int(s, CFG_AGENT_SOCKET_MODE),
		.group = cfg_text(s, CFG_AGENT_SOCKET_GROUP) };
	char why[512];
	int got;

	a->server.unix_listener.fd = a->server.http_listener.fd = -1;
	snprintf(a->socket, sizeof a->socket, "%s", cfg_text(s, CFG_AGENT_SOCKET));
	got = listen_inherited(&a->server, why, sizeof why);
	if (got < 0)
		return fail(a, "socket", why);
	if (got == 0 && (cfg_socket_dir(a->socket, geteuid(), true, why, sizeof why) ||
	    listen_unix(&a->server, &o, why, sizeof why)))
		return fail(a, "socket", why);
	return bind_http(a, s);
}

static void say_ready(struct agent *a)
{
	struct backend *b = a->backends;
	const struct project *def = a->gen->production ? NULL : project_find(&a->gen->projects, "default", 7);
	const char *project = def ? def->name : "none: a connection must choose one";
	bool fallback = !cfg_file(a->cfg);

	log_event(a->log, LOG_M_MAIN, LOG_INFO, "agent.ready", fallback ?
	    "ready, on built-in defaults: no configuration file was found" : "ready",
	    LOG_STR("socket", a->socket), LOG_STR("backend", b ? b->in->name : ""),
	    LOG_STR("plugin", b ? b->in->p->name : ""), LOG_STR("project", project),
	    LOG_UINT("workers", a->nworkers), LOG_STR("file", fallback ? "" : cfg_file(a->cfg)),
	    LOG_STR("version", PACKAGE_VERSION));
	notify("READY=1");
}

/* With the sockets bound and given to whom they belong, before there is a second thread. */
static int close_sandbox(struct agent *a, char *why, size_t whylen)
{
	struct sandbox_inputs in = { .cfg = a->cfg, .log = a->log, .off = a->opt.no_sandbox,
		.plugin_dir = a->opt.plugin_dir };

	return sandbox_close(&a->sandbox, &in, why, whylen);
}

static int start(struct agent *a)
{
	struct buf why = { .max = 65536 };
	char text[512];

	if (control_signals(a, text, sizeof text))
		return fail(a, "signals", text);
	if (bind_sockets(a))
		return -1;
	if (agent_cursor_secret(a))
		return fail(a, "cursors", "the system gives no random numbers");
	if (close_sandbox(a, text, sizeof text))
		return fail(a, "sandbox", text);
	if (start_workers(a))
		return fail(a, "workers", "cannot start the worker threads");
	a->gen = build_generation(a, a->cfg, cfg_generation(a->cfg), &why);
	if (!a->gen) {
		if (buf_len(&why)) /* a list of lines: one is a sentence in the log */
			why.end--;
		fail(a, "backends", buf_cstr(&why));
		buf_free(&why);
		return -1;
	}
	buf_free(&why);
	breaker_glue_apply(a, a->cfg);
	for (uint32_t i = 0; i < a->nworkers; i++)
		agent_on_worker(a, i, give_generation, (void *[]){ &a->serving[i], a->gen });
	jwt_service_settle(a->jwt);
	if (telemetry_start(a, text, sizeof text))
		return fail(a, "telemetry", text);
	if (health_glue_start(a, text, sizeof text))
		return fail(a, "health", text);
	if (jobs_glue_start(a, text, sizeof text))
		return fail(a, "jobs", text);
	for (uint32_t i = 0; i < a->nworkers; i++)
		agent_on_worker(a, i, begin_serving, &a->serving[i]);
	say_ready(a);
	return 0;
}

/* ---- stop ---- */

static void stop_accepting(void *arg)
{
	struct serving *s = arg;

	s->w.draining = true;
	if (s->w.index == 0)
		listen_stop(s->srv);
	serving_close_all(s, false);
}

static void close_now(void *arg)
{
	serving_close_all(arg, true);
}

/* The control loop turns meanwhile: clients may be waiting for its answers. */
static bool wait_for_clients(struct agent *a, uint64_t ns)
{
	uint64_t until = loop_now(a->control) + ns;

	do {
		if (atomic_load(&a->server.nclients) == 0)
			return true;
	} while (loop_turn(a->control, 5000000) >= 0 && loop_now(a->control) < until);
	return false;
}

/* Closed ones that wait for calls which a plugin holds. */
static void wait_for_conns(struct agent *a, uint64_t ns)
{
	uint64_t until = loop_now(a->control) + ns;
	uint32_t left;

	do {
		left = 0;
		for (uint32_t i = 0; i < a->nrunning; i++)
			left += atomic_load(&a->serving[i].w.nclients);
	} while (left && loop_turn(a->control, 5000000) >= 0 && loop_now(a->control) < until);
}

static void drop_generation(void *arg)
{
	struct serving *s = arg;

	generation_unref(s->w.gen);
	s->w.gen = NULL;
}

static void quit_features(void *arg)
{
	worker_quit_features(&((struct serving *)arg)->w);
}

static void stop_workers(struct agent *a)
{
	uint64_t drain = (uint64_t)cfg_int(cfg_one(a->cfg, CFG_AGENT), CFG_AGENT_DRAIN_TIMEOUT);

	for (uint32_t i = 0; i < a->nrunning; i++)
		agent_on_worker(a, i, stop_accepting, &a->serving[i]);
	if (!wait_for_clients(a, drain)) {
		for (uint32_t i = 0; i < a->nrunning; i++)
			agent_on_worker(a, i, close_now, &a->serving[i]);
		wait_for_clients(a, UINT64_C(1000000000));
	}
	for (uint32_t i = 0; i < a->nrunning; i++)
		agent_on_worker(a, i, quit_features, &a->serving[i]);
	while (a->nrunning == a->nworkers && !build_retire(a, true) && loop_turn(a->control, 5000000) >= 0)
		;
	wait_for_conns(a, UINT64_C(1000000000)); /* those whose calls a plugin held until now */
	for (uint32_t i = 0; i < a->nrunning; i++) {
		agent_on_worker(a, i, drop_generation, &a->serving[i]);
		loop_stop(a->serving[i].w.loop);
		pthread_join(a->threads[i], NULL);
	}
}

static void free_workers(struct agent *a)
{
	for (uint32_t i = 0; a->serving && i < a->nworkers; i++) {
		struct serving *s = &a->serving[i];

		if (s->w.loop) {
			worker_end_features(&s->w);
			serving_free(s);
			jwt_worker_free(s->w.jwt);
			loop_free(s->w.loop);
		}
		trace_free(s->w.trace);
	}
	jwt_service_free(a->jwt);
	jobs_free(a->jobs);
	scripts_free(a->scripts);
	slowlogs_free(a->slow);
	touch_table_free(a->touch);
	attempts_end(&a->attempts);
	free(a->serving);
	free(a->peers);
	free(a->threads);
}

void agent_stop(struct agent *a)
{
	a->stopping = true;
	loop_stop(a->control);
}

int agent_run(struct agent *a)
{
	if (start(a) == 0) {
		int rc = loop_run(a->control);

		if (rc)
			a->exit_status = 1;
		notify("STOPPING=1");
		log_event(a->log, LOG_M_MAIN, LOG_INFO, "agent.stopping", "stopping");
	} else {
		a->exit_status = 1;
	}
	health_glue_stop(a);
	jobs_stop(a->jobs);
	jwt_service_stop(a->jwt);
	stop_workers(a);
	jwt_service_join(a->jwt);
	jobs_join(a->jobs);
	loop_timer_stop(a->control, &a->drain_timer); /* it asks workers, and there are none any more */
	loop_turn(a->control, 0); /* answers to probes that came meanwhile */
	health_glue_free(a);
	telemetry_stop(a);
	listen_close(&a->server);
	control_end(a);
	generation_unref(a->draining);
	cfg_unref(a->draining_cfg);
	generation_unref(a->gen);
	offload_free(a->offload); /* its thread may be about to leave loop_post() */
	free_workers(a);
	http_routes_free(a->server.routes);
	return a->exit_status;
}
