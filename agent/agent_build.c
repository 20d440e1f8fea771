/* SPDX-License-Identifier: Apache-2.0
 *
 * From a configuration to what runs: plugins, instances with their contexts, projects.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "access/jwt.h"
#include "agent.h"
#include "agent_breaker.h"
#include "base/buf.h"
#include "request_pubsub.h"

/* ---- plugins ---- */

const struct plugin *plugins_get(struct plugin_cache *c, const char *name, char *why, size_t whylen)
{
	struct buf err = { .max = 4096 };
	struct plugin *pl;

	for (size_t i = 0; i < c->n; i++)
		if (!strcmp(c->name[i], name))
			return c->v[i];
	if (c->n == PLUGINS_MAX) {
		snprintf(why, whylen, "too many plugins");
		return NULL;
	}
	if (plugin_load(name, &c->paths, &pl, &err)) {
		snprintf(why, whylen, "%s", buf_cstr(&err));
		buf_free(&err);
		return NULL;
	}
	buf_free(&err);
	c->name[c->n] = strdup(name);
	if (!c->name[c->n]) {
		plugin_free(pl);
		snprintf(why, whylen, "out of memory");
		return NULL;
	}
	c->v[c->n++] = pl;
	return pl;
}

int plugins_schema(void *cache, const char *plugin, const char *plugin_dir, const purser_key **keys,
    uint32_t *n, uint32_t *stride, char *why, size_t whylen)
{
	struct plugin_cache *c = cache;
	struct plugin_path saved = c->paths;
	const struct plugin *pl;

	c->paths.key = plugin_dir;
	pl = plugins_get(c, plugin, why, whylen);
	c->paths = saved;
	if (!pl)
		return -1;
	*keys = pl->p.keys;
	*n = pl->p.nkeys;
	*stride = sizeof(purser_key); /* the loader's copy */
	return 0;
}

void plugins_free(struct plugin_cache *c)
{
	for (size_t i = 0; i < c->n; i++) {
		plugin_free(c->v[i]);
		free(c->name[i]);
	}
	c->n = 0;
}

/* ---- settings of an instance ---- */

static const char *setting_text(void *arg, const char *key)
{
	struct backend *b = arg;
	const char *text = "";

	cfg_setting(atomic_load(&b->section), key, &text, NULL);
	return text ? text : "";
}

static int64_t setting_value(void *arg, const char *key)
{
	struct backend *b = arg;
	int64_t num = 0;

	cfg_setting(atomic_load(&b->section), key, NULL, &num);
	return num;
}

/* ---- contexts, on every worker ---- */

struct opening {
	struct agent *a;
	struct purser_instance *in;
	uint32_t worker;
	purser_error error;
	int rc;
};

static void open_context(void *arg)
{
	struct opening *o = arg;
	struct worker *w = &o->a->serving[o->worker].w;

	o->rc = ctx_open(o->in, o->worker, w->loop, &o->error);
	if (o->rc)
		return;
	w->ctx[o->in->index] = o->in->ctx[o->worker];
	if (o->in->hub)
		hub_attach(o->in->hub, w->ctx[o->in->index], w, pubsub_deliver);
	guard_ctx_open(w->ctx[o->in->index], w->metrics);
	w->ctx[o->in->index]->wait_time = metric_hist(w->metrics, METRIC_CONNECTION_WAIT_TIME, o->in->name);
	if (o->in->in_process)
		return;
	w->ctx[o->in->index]->create_time = metric_hist(w->metrics, METRIC_CONNECTION_CREATE_TIME, o->in->name);
	w->ctx[o->in->index]->use_time = metric_hist(w->metrics, METRIC_CONNECTION_USE_TIME, o->in->name);
}

static void drain_context(void *arg)
{
	struct opening *o = arg;

	ctx_drain(o->a->serving[o->worker].w.ctx[o->in->index]);
}

static void look_at_context(void *arg)
{
	struct opening *o = arg;

	o->rc = ctx_quiet(o->a->serving[o->worker].w.ctx[o->in->index]);
}

static void close_context(void *arg)
{
	struct opening *o = arg;

	worker_close_ctx(&o->a->serving[o->worker].w, o->in->index);
}

/* fn for the first `upto` contexts; how many said yes. */
static uint32_t each_context(struct agent *a, struct purser_instance *in, uint32_t upto, purser_fn fn)
{
	uint32_t yes = 0;

	for (uint32_t i = 0; i < upto; i++) {
		struct opening o = { .a = a, .in = in, .worker = i };

		agent_on_worker(a, i, fn, &o);
		yes += o.rc != 0;
	}
	return yes;
}

/* Contexts that hardly anybody has used: they are quiet soon. */
static void close_contexts(struct agent *a, struct purser_instance *in, uint32_t upto)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	each_context(a, in, upto, drain_context);
	while (each_context(a, in, upto, look_at_context) < upto)
		nanosleep(&nap, NULL);
	each_context(a, in, upto, close_context);
}

static int open_contexts(struct agent *a, struct purser_instance *in, purser_error *e)
{
	for (uint32_t i = 0; i < a->nworkers; i++) {
		struct opening o = { .a = a, .in = in, .worker = i };

		agent_on_worker(a, i, open_context, &o);
		if (o.rc) {
			*e = o.error;
			close_contexts(a, in, i);
			return -1;
		}
	}
	return 0;
}

/* ---- backends ---- */

static struct backend *backend_named(struct agent *a, const char *name)
{
	for (struct backend *b = a->backends; b; b = b->next)
		if (!strcmp(b->in->name, name))
			return b;
	return NULL;
}

static int free_index(struct agent *a)
{
	bool used[INSTANCES_MAX] = { false };

	for (struct backend *b = a->backends; b; b = b->next)
		used[b->in->index] = true;
	for (int i = 0; i < (int)INSTANCES_MAX; i++)
		if (!used[i])
			return i;
	return -1;
}

static void link_backend(struct agent *a, struct backend *b)
{
	struct backend **p = &a->backends;

	pthread_mutex_lock(&a->backends_lock);
	while (*p)
		p = &(*p)->next;
	*p = b;
	pthread_mutex_unlock(&a->backends_lock);
}

static struct backend *start_backend(struct agent *a, const struct cfg_section *s, struct buf *why)
{
	struct backend *b = calloc(1, sizeof *b);
	int index = free_index(a);
	purser_error e = { .struct_size = sizeof e };
	char text[512];
	struct instance_opts o = { .name = cfg_name(s), .workers = a->nworkers, .log = a->log,
		.metrics = a->metrics, .offload = a->offload, .shard = a->shard };

	if (!b || index < 0) {
		free(b);
		buf_printf(why, "[backend %s]: %s\n", cfg_name(s), index < 0 ? "too many backends" : "out of memory");
		return NULL;
	}
	o.plugin = plugins_get(&a->plugins, cfg_text(s, CFG_BACKEND_PLUGIN), text, sizeof text);
	if (!o.plugin) {
		buf_printf(why, "[backend %s]: %s\n", cfg_name(s), text);
		free(b);
		return NULL;
	}
	atomic_store(&b->section, s);
	o.index = (uint32_t)index;
	o.settings = (struct instance_settings){ setting_text, setting_value, b };
	b->in = instance_new(&o, &e);
	if (b->in)
		breaker_glue_begin(a, b);
	if (b->in && open_contexts(a, b->in, &e)) {
		instance_free(b->in);
		b->in = NULL;
	}
	if (!b->in) {
		buf_printf(why, "[backend %s]: plugin %s does not start: %s\n", cfg_name(s), o.plugin->p.name, e.text);
		free(b);
		return NULL;
	}
	b->fresh = true;
	link_backend(a, b);
	return b;
}

static void end_backend(struct agent *a, struct backend *b)
{
	struct backend **p = &a->backends;

	pthread_mutex_lock(&a->backends_lock);
	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	pthread_mutex_unlock(&a->backends_lock);
	breaker_glue_end(a, b);
	close_contexts(a, b->in, a->nworkers);
	instance_free(b->in);
	free(b);
}

/* Does it take a new instance to get from one section of a backend to another? */
static bool must_rebuild(const struct plugin *pl, const struct cfg_section *was,
    const struct cfg_section *is)
{
	if (strcmp(cfg_text(was, CFG_BACKEND_PLUGIN), cfg_text(is, CFG_BACKEND_PLUGIN)))
		return true;
	for (uint32_t i = 0; i < pl->p.nkeys; i++) {
		const purser_key *k = plugin_key(pl, i);
		const char *x = "", *y = "";

		cfg_setting(was, k->name, &x, NULL);
		cfg_setting(is, k->name, &y, NULL);
		if (strcmp(x ? x : "", y ? y : "") && !(k->flags & PURSER_KEY_RELOADABLE))
			return true;
	}
	return false;
}

/* A backend that goes on with the values of s: the plugin may refuse them.  It is asked even where
 * they are the ones it has: the files that they name may have changed. */
static int adjust(struct backend *b, const struct cfg_section *s, struct buf *why)
{
	purser_error e = { .struct_size = sizeof e };
	const purser_plugin *p = b->in->p;

	b->was = atomic_load(&b->section);
	atomic_store(&b->section, s);
	if (!p->prepare)
		return 0;
	b->prepared = true;
	if (!p->prepare(b->in->state, &e))
		return 0;
	buf_printf(why, "[backend %s]: the plugin refuses the new values: %s\n", cfg_name(s), e.text);
	return -1;
}

/* All agreed (1): the new values hold.  Not (0): as it was. */
static void settle(struct agent *a, int commit)
{
	for (struct backend *b = a->backends; b; b = b->next) {
		if (b->was && !commit)
			atomic_store(&b->section, b->was);
		if (b->prepared && b->in->p->adopt)
			b->in->p->adopt(b->in->state, commit);
		if (b->was && commit)
			instance_settings_changed(b->in);
		b->was = NULL;
		b->prepared = false;
	}
}

static struct backend *backend_for(struct agent *a, const struct cfg_section *s, struct buf *why)
{
	struct backend *b = backend_named(a, cfg_name(s));

	if (!b || b->fresh)
		return start_backend(a, s, why);
	if (!must_rebuild(b->in->plugin, atomic_load(&b->section), s))
		return adjust(b, s, why) ? NULL : b;
	if (b->in->p->caps & PURSER_CAP_KEEPS_DATA) {
		buf_printf(why, "[backend %s]: this change would need the store to be built anew, and it IS the "
		    "data: restart the agent for it\n", cfg_name(s));
		return NULL;
	}
	return start_backend(a, s, why);
}

static int load_tokens(const struct cfg *cfg, struct access *a, struct token_set **out, struct buf *why)
{
	const char *file = cfg_text(cfg_one(cfg, CFG_AGENT), CFG_AGENT_TOKEN_FILE);

	if (!*file)
		return 0;
	*out = token_load(file, geteuid(), why);
	return *out ? access_tokens(a, *out, file, why) : -1;
}

/* Somebody must count what a project has. */
static int check_quota(struct agent *a, const struct cfg_section *s, struct buf *why)
{
	const struct cfg_section *b = cfg_project_backend(s);
	const struct plugin *pl;
	char text[512];

	if (!b || (!cfg_is_set(s, CFG_PROJECT_MAX_BYTES) && !cfg_is_set(s, CFG_PROJECT_MAX_KEYS)))
		return 0;
	pl = plugins_get(&a->plugins, cfg_text(b, CFG_BACKEND_PLUGIN), text, sizeof text);
	if (!pl || pl->p.caps & PURSER_CAP_QUOTA) /* that it cannot be loaded is said elsewhere */
		return 0;
	buf_printf(why, "[project %s] %s: plugin %s of [backend %s] does not count what a project has: leave it out\n",
	    cfg_name(s), cfg_is_set(s, CFG_PROJECT_MAX_BYTES) ? "max_bytes" : "max_keys", pl->p.name, cfg_name(b));
	return -1;
}

/* --check-config: what plugins say of their settings.  An instance that a reload may build beside
 * the one that runs can be built here as well; one that is the data cannot. */
int build_check(struct agent *a, struct buf *why)
{
	struct token_set *tokens = NULL;
	struct jwt_policy *jwt = NULL;
	struct cmd_index commands;
	struct access access = { .commands = &commands };
	int rc = build_commands(a->declared, a->cfg, &commands, why);

	rc |= access_make(&access, a->cfg, why);

	for (const struct cfg_section *s = cfg_first(a->cfg, CFG_PROJECT); s && access.nown < cfg_count(a->cfg, CFG_PROJECT);
	     s = cfg_next(s)) {
		struct project p = { .open = false };

		rc |= access_make_project(&access, a->cfg, s, &p, why);
		rc |= check_quota(a, s, why);
	}
	rc |= load_tokens(a->cfg, &access, &tokens, why);
	token_set_free(tokens);
	rc |= jwt_policy_new(a->cfg, &jwt, why);
	jwt_policy_unref(jwt);
	access_clear(&access);
	for (const struct cfg_section *s = cfg_first(a->cfg, CFG_BACKEND); s; s = cfg_next(s)) {
		struct backend b = { .next = NULL };
		purser_error e = { .struct_size = sizeof e };
		char text[512] = "";
		struct instance_opts o = { .name = cfg_name(s), .workers = 1, .log = a->log, .metrics = a->metrics,
			.settings = { setting_text, setting_value, &b },
			.plugin = plugins_get(&a->plugins, cfg_text(s, CFG_BACKEND_PLUGIN), text, sizeof text) };

		atomic_store(&b.section, s);
		if (o.plugin && o.plugin->p.caps & PURSER_CAP_KEEPS_DATA)
			continue;
		b.in = o.plugin ? instance_new(&o, &e) : NULL;
		if (!b.in) {
			buf_printf(why, "[backend %s]: %s\n", cfg_name(s), o.plugin ? e.text : text);
			rc = -1;
		}
		instance_free(b.in);
	}
	return rc;
}

/* ---- projects ---- */

/* Whom scripts run as, and whether they do. */
static int script_settings(struct generation *g, const struct cfg_section *s, struct project *p, struct buf *why)
{
	const char *mode = cfg_text(s, CFG_PROJECT_SCRIPTS), *user = cfg_text(s, CFG_PROJECT_SCRIPT_USER);
	const char *file = cfg_text(s, CFG_PROJECT_SCRIPT_PASSWORD_FILE);
	struct script_login *l;
	char text[256];

	p->scripts = !strcmp(mode, "off") ? SCRIPTS_OFF : !strcmp(mode, "declared-keys") || !cfg_int(s, CFG_PROJECT_ISOLATION) ?
	    SCRIPTS_DECLARED : SCRIPTS_ISOLATED;
	if (!user || !*user)
		return 0;
	l = calloc(1, sizeof *l);
	if (!l || !file || strlen(user) >= sizeof l->user) {
		buf_printf(why, "[project %s]: %s\n", cfg_name(s), !l ? "out of memory" : !file ?
		    "script_user needs script_password_file" : "script_user is too long");
		free(l);
		return -1;
	}
	snprintf(l->user, sizeof l->user, "%s", user);
	l->next = g->projects.logins;
	p->login = g->projects.logins = l;
	if (cfg_read_secret(file, l->secret, sizeof l->secret, text, sizeof text) >= 0)
		return 0;
	buf_printf(why, "[project %s]: script_password_file %s: %s\n", cfg_name(s), file, text);
	return -1;
}

/* All but name and prefix. */
static int fill_project(struct agent *a, struct generation *g, const struct cfg *cfg, const struct cfg_section *s,
    struct project *p, struct buf *why)
{
	const char *backend = cfg_name(cfg_project_backend(s));

	snprintf(p->name, sizeof p->name, "%s", cfg_name(s));
	p->databases = (uint32_t)cfg_int(s, CFG_PROJECT_DATABASES);
	if (script_settings(g, s, p, why))
		return -1;
	for (uint32_t i = 0; i < INSTANCES_MAX; i++)
		if (g->instances[i] && !strcmp(g->instances[i]->name, backend))
			p->instance = i;
	if (limits_read(s, &p->limits)) {
		buf_puts(why, "out of memory\n");
		return -1;
	}
	if (check_quota(a, s, why))
		return -1;
	return access_make_project(&g->access, cfg, s, p, why);
}

/* What its limits count goes on from the generation before. */
static int add_limits(struct agent *a, struct project *p, struct buf *why)
{
	const struct project *was = a->gen ? project_find(&a->gen->projects, p->name, strlen(p->name)) : NULL;
	struct limits *rules = p->limits;

	p->limits = rules ? limits_for(rules, was ? was->limits : NULL) : NULL;
	limits_free(rules);
	if (!rules || p->limits)
		return 0;
	buf_puts(why, "out of memory\n");
	return -1;
}

#define WATCH_MAX 32u                   /* streams of a project */

/* The words of watch_streams with one blank between. */
static int watch_streams(const struct cfg *cfg, const struct cfg_section *s, struct project *p, struct buf *why)
{
	const char *at = cfg_text(s, CFG_PROJECT_WATCH_STREAMS);
	unsigned n = 0;
	char *to;

	if (!at || !*at)
		return 0;
	to = p->watch = calloc(1, strlen(at) + 1);
	if (!to) {
		buf_puts(why, "out of memory\n");
		return -1;
	}
	for (at += strspn(at, " \t"); *at; at += strspn(at, " \t")) {
		size_t len = strcspn(at, " \t");

		if (n++)
			*to++ = ' ';
		to = (char *)memcpy(to, at, len) + len;
		at += len;
	}
	p->watch_ns = (uint64_t)cfg_int(cfg_one(cfg, CFG_HEALTH), CFG_HEALTH_INTERVAL);
	if (n <= WATCH_MAX)
		return 0;
	buf_printf(why, "[project %s]: watch_streams names %u streams, %u is the most\n", p->name, n, WATCH_MAX);
	return -1;
}

static int add_project(struct agent *a, struct generation *g, const struct cfg *cfg, const struct cfg_section *s,
    struct buf *why)
{
	struct project *p = &g->projects.v[g->projects.n];
	const char *prefix = cfg_project_prefix(s);
	size_t n = strlen(prefix);

	if (n > PROJECT_PREFIX_MAX || strlen(cfg_name(s)) > PROJECT_NAME_MAX) {
		buf_printf(why, "[project %s]: the key prefix is longer than %u bytes\n", cfg_name(s), PROJECT_PREFIX_MAX);
		return -1;
	}
	memcpy(p->prefix, prefix, n);
	p->prefix_len = (uint32_t)n;
	if (fill_project(a, g, cfg, s, p, why) || add_limits(a, p, why) || watch_streams(cfg, s, p, why)) {
		limits_free(p->limits);
		p->limits = NULL;
		free(p->watch);
		p->watch = NULL;
		return -1;
	}
	p->metric_id = metric_project(a->metrics, p->name);
	p->ns = project_number(a->numbers, p->name);
	g->projects.n++;
	if (p->ns < PROJECT_NUMBERS)
		return 0;
	buf_printf(why, "[project %s]: there have been %u projects since the agent was started, or no memory is left: "
	    "restart it\n", p->name, PROJECT_NUMBERS);
	return -1;
}

/* [project *]: the name goes where {project} is. */
static int admit_projects(struct agent *a, struct generation *g, const struct cfg *cfg, const struct cfg_section *s,
    struct buf *why)
{
	const char *prefix = cfg_project_prefix(s), *at = strstr(prefix, "{project}");
	struct project model = { .ns = 0 };
	char head[PROJECT_PREFIX_MAX + 1];

	if (!cfg_int(s, CFG_PROJECT_DYNAMIC))
		return 0;
	if (!at || strlen(prefix) + PROJECT_NAME_MAX > PROJECT_PREFIX_MAX) {
		buf_printf(why, "[project *]: the key prefix has no {project}, or is too long\n");
		return -1;
	}
	if (*cfg_text(s, CFG_PROJECT_WATCH_STREAMS)) {
		buf_puts(why, "[project *]: watch_streams is for a project that has a section of its own\n");
		return -1;
	}
	if (fill_project(a, g, cfg, s, &model, why)) {
		limits_free(model.limits);
		return -1;
	}
	snprintf(head, sizeof head, "%.*s", (int)(at - prefix), prefix);
	if (projects_admit(&g->projects, &model, head, at + strlen("{project}"),
	    (uint32_t)cfg_int(s, CFG_PROJECT_MAX_PROJECTS), a->numbers, a->metrics) == 0)
		return 0;
	limits_free(model.limits);
	buf_puts(why, "out of memory\n");
	return -1;
}

static int add_projects(struct agent *a, struct generation *g, const struct cfg *cfg, struct buf *why)
{
	int rc;

	g->projects.v = calloc(cfg_count(cfg, CFG_PROJECT) + 1, sizeof *g->projects.v);
	g->access.projects = &g->projects;
	if (!g->projects.v) {
		buf_puts(why, "out of memory\n");
		return -1;
	}
	g->access.commands = &g->commands;
	rc = build_commands(a->declared, cfg, &g->commands, why);
	rc |= access_make(&g->access, cfg, why);
	for (const struct cfg_section *s = cfg_first(cfg, CFG_PROJECT); s && !rc; s = cfg_next(s))
		rc = strcmp(cfg_name(s), "*") ? add_project(a, g, cfg, s, why) : admit_projects(a, g, cfg, s, why);
	if (!rc && projects_index(&g->projects)) {
		buf_puts(why, "out of memory\n");
		rc = -1;
	}
	return rc;
}

/* ---- issuers of JSON Web Tokens ---- */

/* The last thing that can fail: what it changes in the service is not undone by build_discard(). */
static int load_issuers(struct agent *a, struct generation *g, const struct cfg *cfg, struct buf *why)
{
	char text[256];

	if (jwt_policy_new(cfg, &g->jwt, why))
		return -1;
	jwt_evidence(&g->access.evidence[IDENTITY_JWT], g->jwt);
	if (!jwt_service_apply(a->jwt, g->jwt, text, sizeof text))
		return 0;
	buf_printf(why, "[jwt]: %s\n", text);
	return -1;
}

/* ---- generations ---- */

void build_discard(struct agent *a, struct generation *g)
{
	struct backend *b, *next;

	settle(a, 0);
	for (b = a->backends; b; b = next) {
		next = b->next;
		b->keep = true;
		if (b->fresh)
			end_backend(a, b);
	}
	generation_unref(g);
}

struct generation *build_generation(struct agent *a, struct cfg *cfg, uint64_t number, struct buf *why)
{
	struct generation *g = calloc(1, sizeof *g);
	bool bad = false;

	if (!g) {
		buf_puts(why, "out of memory\n");
		return NULL;
	}
	g->refs = 1;
	g->number = number;
	g->production = cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_MODE) == CFG_PRODUCTION;
	g->auth_delay_ns = (uint64_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_AUTH_DELAY);
	g->auth_failures = (uint32_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_AUTH_FAILURES);
	g->dbsize_limit = (uint64_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_DBSIZE_LIMIT);
	g->scan_count = (uint64_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_SCAN_COUNT_MAX);
	g->names_limit = (size_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_NAMES_MAX_SIZE);
	g->tx_commands = (uint32_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_TRANSACTION_MAX_COMMANDS);
	g->tx_bytes = (size_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_TRANSACTION_MAX_SIZE);
	g->output_limit = (size_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_OUTPUT_LIMIT);
	g->subscriber_limit = (size_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_SUBSCRIBER_LIMIT);
	g->max_subscriptions = (uint32_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_MAX_SUBSCRIPTIONS);
	g->tracking_max_keys = (uint32_t)cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_TRACKING_MAX_KEYS);
	for (struct backend *b = a->backends; b; b = b->next)
		b->keep = b->fresh = false;
	for (const struct cfg_section *s = cfg_first(cfg, CFG_BACKEND); s; s = cfg_next(s)) {
		struct backend *b = backend_for(a, s, why);

		if (!b) {
			bad = true;
			continue;
		}
		b->keep = true;
		g->instances[b->in->index] = b->in;
	}
	if (bad || add_projects(a, g, cfg, why) || load_tokens(cfg, &g->access, &g->tokens, why) ||
	    load_issuers(a, g, cfg, why)) {
		build_discard(a, g);
		return NULL;
	}
	settle(a, 1);
	for (struct backend *b = a->backends; b; b = b->next)
		b->fresh = false;
	return g;
}

bool build_retire(struct agent *a, bool all)
{
	struct backend *b, *next;
	bool left = false;

	for (b = a->backends; b; b = next) {
		next = b->next;
		if (!all && b->keep)
			continue;
		if (!b->draining)
			each_context(a, b->in, a->nworkers, drain_context);
		b->draining = true;
		if (each_context(a, b->in, a->nworkers, look_at_context) == a->nworkers)
			end_backend(a, b);
		else
			left = true;
	}
	return !left;
}

#define OTHER_DESCRIPTORS 256u /* what is not a client: links, logs, timers, plugins */

/* Raise the limit of descriptors as far as `want` clients need and the system lets us; how many clients
 * that is enough for. */
static uint32_t clients_possible(uint32_t want)
{
	rlim_t need = (rlim_t)want + OTHER_DESCRIPTORS;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return want;
	if (r.rlim_cur < need) {
		struct rlimit more = { .rlim_cur = need < r.rlim_max ? need : r.rlim_max, .rlim_max = r.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			r = more;
	}
	if (r.rlim_cur >= need)
		return want;
	return r.rlim_cur > 2 * OTHER_DESCRIPTORS ? (uint32_t)(r.rlim_cur - OTHER_DESCRIPTORS) :
	    (uint32_t)r.rlim_cur / 2;
}

static uint32_t max_clients(uint32_t want, struct log *log)
{
	uint32_t can = clients_possible(want);

	if (can < want)
		log_event(log, LOG_M_SERVER, LOG_WARN, "server.max_clients", "the limit of open files is too low "
		    "for max_clients: raise it (ulimit -n, LimitNOFILE=)", LOG_UINT("max_clients", want),
		    LOG_UINT("possible", can));
	return can;
}

void build_limits(const struct cfg *cfg, struct log *log, struct server_limits *l)
{
	const struct cfg_section *s = cfg_one(cfg, CFG_AGENT);

	memset(l, 0, sizeof *l);
	l->resp.max_args = (uint32_t)cfg_int(s, CFG_AGENT_MAX_ARGUMENTS);
	l->resp.max_bulk = (uint64_t)cfg_int(s, CFG_AGENT_MAX_BULK_SIZE);
	l->resp.max_request = (uint64_t)cfg_int(s, CFG_AGENT_MAX_REQUEST_SIZE);
	l->resp.max_inline = (uint32_t)cfg_int(s, CFG_AGENT_MAX_INLINE_SIZE);
	l->preauth = l->resp;
	l->preauth.max_bulk = (uint64_t)cfg_int(s, CFG_AGENT_PREAUTH_MAX_SIZE);
	l->preauth.max_request = 2 * l->preauth.max_bulk;
	l->preauth.max_args = 16;
	l->http.line_max = (uint32_t)cfg_int(s, CFG_AGENT_MAX_HEADER_SIZE);
	l->http.head_max = l->http.line_max;
	l->http.headers_max = (uint32_t)cfg_int(s, CFG_AGENT_MAX_HEADERS);
	l->http.body_max = (uint64_t)cfg_int(s, CFG_AGENT_MAX_BODY_SIZE);
	l->max_clients = max_clients((uint32_t)cfg_int(s, CFG_AGENT_MAX_CLIENTS), log);
	l->max_pipeline = (uint32_t)cfg_int(s, CFG_AGENT_MAX_PIPELINE);
	l->output_limit = (size_t)cfg_int(s, CFG_AGENT_OUTPUT_LIMIT);
	l->input_limit = (size_t)cfg_int(s, CFG_AGENT_INPUT_LIMIT);
	l->slow_reader_ns = (uint64_t)cfg_int(s, CFG_AGENT_SLOW_READER_TIMEOUT);
	l->heartbeat_ns = (uint64_t)cfg_int(s, CFG_AGENT_HTTP_HEARTBEAT);
	l->idle_ns = (uint64_t)cfg_int(s, CFG_AGENT_IDLE_TIMEOUT);
}
