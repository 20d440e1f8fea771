/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent_breaker.h"
#include "agent_health.h"
#include "health/health.h"

/* ---- a probe's command: to worker 0 and back ---- */

#define PROBE_ARGS 8u

struct probe {
	purser_job job;
	struct agent *a;
	uint32_t instance, argc;
	uint64_t timeout_ns;
	health_answer_fn done;
	void *done_arg;
	purser_bytes argv[PROBE_ARGS];
	struct health_answer answer;
	uint8_t *resp;
	char error[BCALL_ERROR_MAX];
	uint8_t mem[];
};

static void probe_back(void *arg) /* on the control thread */
{
	struct probe *p = arg;

	p->done(p->done_arg, &p->answer);
	free(p->resp);
	free(p);
}

static void probe_answered(void *arg, const struct child_reply *rep) /* on worker 0 */
{
	struct probe *p = arg;

	p->answer.err = rep->err;
	if (rep->err) {
		snprintf(p->error, sizeof p->error, "%s", rep->error);
	} else {
		p->resp = malloc(rep->n ? rep->n : 1);
		if (p->resp) {
			memcpy(p->resp, rep->resp, rep->n);
			p->answer.n = rep->n;
		} else {
			p->answer.err = ERR_OOM;
		}
	}
	p->answer.resp = p->resp;
	p->answer.error = p->error;
	p->job.fn = probe_back;
	loop_post(p->a->control, &p->job);
}

static void probe_run(void *arg) /* on worker 0 */
{
	struct probe *p = arg;
	struct worker *w = &p->a->serving[0].w;
	struct ask ask = { .w = w, .gen = w->gen, .instance = p->instance, .internal = true,
		.deadline_ns = loop_now(w->loop) + p->timeout_ns };

	if (!w->gen || !w->ctx[p->instance])
		probe_answered(p, &(struct child_reply){ .err = ERR_BACKENDDOWN,
		    .error = "BACKENDDOWN the backend is being closed" });
	else
		child_ask(&ask, p->argv, p->argc, probe_answered, p);
}

static void ask(void *arg, uint32_t instance, const purser_bytes *argv, uint32_t argc,
    uint64_t timeout_ns, health_answer_fn done, void *done_arg)
{
	struct agent *a = arg;
	size_t total = 0, at = 0;
	struct probe *p;

	for (uint32_t i = 0; i < argc && i < PROBE_ARGS; i++)
		total += argv[i].n;
	p = calloc(1, sizeof *p + total);
	if (!p || argc > PROBE_ARGS) {
		free(p);
		done(done_arg, &(struct health_answer){ .err = ERR_OOM, .error = "OOM out of memory" });
		return;
	}
	p->a = a;
	p->instance = instance;
	p->argc = argc;
	p->timeout_ns = timeout_ns;
	p->done = done;
	p->done_arg = done_arg;
	for (uint32_t i = 0; i < argc; i++) {
		memcpy(p->mem + at, argv[i].p, argv[i].n);
		p->argv[i] = (purser_bytes){ p->mem + at, argv[i].n };
		at += argv[i].n;
	}
	p->job.fn = probe_run;
	p->job.arg = p;
	loop_post(a->serving[0].w.loop, &p->job);
}

/* ---- what else it is handed ---- */

static int stats(void *arg, uint32_t instance, purser_stats *out)
{
	struct purser_instance *in = ((struct agent *)arg)->gen->instances[instance];

	return in && in->p->stats ? in->p->stats(in->state, out) : -1;
}

static void pool(void *arg, uint32_t instance, struct health_pool *out)
{
	struct purser_instance *in = ((struct agent *)arg)->gen->instances[instance];
	struct pool_numbers n;

	memset(out, 0, sizeof *out);
	if (!in)
		return;
	instance_pool(in, &n);
	out->created = n.connecting + n.idle + n.used;
	out->available = n.idle;
	out->max = (uint64_t)in->settings.value(in->settings.arg, "pool_max");
}

static void telemetry(void *arg, struct health_telemetry *out)
{
	telemetry_state(arg, &out->state, out->text, sizeof out->text);
}

static void breaker(void *arg, uint32_t instance, struct health_breaker *out)
{
	struct agent *a = arg;
	struct purser_instance *in = a->gen->instances[instance];

	memset(out, 0, sizeof *out);
	if (in)
		breaker_glue_view(in, loop_now(a->control), out);
}

static void status_moved(void *arg, const char *from, const char *to)
{
	struct watch_message m = { .topic = TOPIC_HEALTH, .n = 2, .field = { { "from", "" }, { "to", "" } } };

	snprintf(m.field[0].value, sizeof m.field[0].value, "%s", from);
	snprintf(m.field[1].value, sizeof m.field[1].value, "%s", to);
	breaker_glue_tell(arg, &m);
}

void health_glue_ask(struct agent *a, uint32_t instance, const purser_bytes *argv, uint32_t argc,
    uint64_t timeout_ns, health_answer_fn done, void *done_arg)
{
	ask(a, instance, argv, argc, timeout_ns, done, done_arg);
}

void health_glue_moved(struct agent *a)
{
	if (!a->health)
		return;
	health_breaker_moved(a->health);
	health_hint(a->health);
}

/* ---- setting up ---- */

static int setup(struct agent *a, const struct cfg *cfg)
{
	struct health_instance v[INSTANCES_MAX];
	struct health_setup s = { .instances = v, .projects = &a->gen->projects, .generation = a->gen->number,
		.service = cfg_service_name(cfg), .version = PACKAGE_VERSION };

	memset(v, 0, sizeof v);
	health_opts_of(&s.opts, cfg);
	for (struct backend *b = a->backends; b; b = b->next) {
		struct purser_instance *in = b->in;
		struct health_instance *h = &v[s.ninstances];

		if (a->gen->instances[in->index] != in)
			continue; /* it is being drained */
		h->index = in->index;
		h->name = in->name;
		h->plugin = in->p->name;
		h->caps = in->p->caps;
		h->in_process = in->in_process;
		h->address = atomic_load(&in->nendpoints) > 1 ? in->endpoints[1].address : "";
		h->port = in->endpoints[1].port;
		h->eviction = in->settings.text(in->settings.arg, "eviction");
		h->max_memory = (uint64_t)in->settings.value(in->settings.arg, "max_memory");
		s.ninstances++;
	}
	return health_setup(a->health, &s);
}

static void default_state_dir(struct agent *a)
{
	const char *set = cfg_text(cfg_one(a->cfg, CFG_AGENT), CFG_AGENT_STATE_DIR);

	snprintf(a->state_dir, sizeof a->state_dir, "%s", set);
}

int health_glue_start(struct agent *a, char *why, size_t whylen)
{
	struct health_deps d = { .loop = a->control, .log = a->log, .metrics = a->metrics, .shard = a->shard,
		.state_dir = a->state_dir, .arg = a, .ask = ask, .stats = stats, .pool = pool,
		.telemetry = telemetry, .breaker = breaker, .moved = status_moved,
		.sandbox = sandbox_word(&a->sandbox) };

	default_state_dir(a);
	a->health = health_new(&d);
	if (!a->health || setup(a, a->cfg)) {
		snprintf(why, whylen, "out of memory");
		return -1;
	}
	return 0;
}

void health_glue_apply(struct agent *a, const struct cfg *cfg)
{
	if (setup(a, cfg))
		log_event(a->log, LOG_M_HEALTH, LOG_ERROR, "health.setup.failed", "out of memory");
}

void health_glue_stop(struct agent *a)
{
	if (a->health)
		health_stop(a->health);
}

void health_glue_free(struct agent *a)
{
	health_free(a->health);
	a->health = NULL;
}

void health_glue_get(struct agent *a, void (*done)(void *arg, const char *json, size_t n), void *arg)
{
	health_get(a->health, done, arg);
}

bool health_glue_ready(struct agent *a, char *why, size_t whylen)
{
	return health_ready(a->health, why, whylen);
}

size_t health_glue_outside(struct agent *a, const struct project *p, char *dst, size_t cap)
{
	return health_outside_text(a->health, p, dst, cap);
}
