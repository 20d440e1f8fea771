/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client asks a server about itself: CONFIG, TIME.  (INFO: local_info.c)  Names and values that a store of
 * this process has for its settings are its own; nothing of other projects shows through.
 */
#include <config.h>
#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "resp/pick.h"
#include "server/local.h"

static struct purser_instance *instance_of(const struct request *r)
{
	return r->cl->gen->instances[r->project->instance];
}

bool local_store_runs(const struct request *r, enum cmd_id cmd)
{
	const struct purser_instance *in = instance_of(r);

	return !(in->p->caps & PURSER_CAP_ANY_COMMAND) && in->op_of[cmd] != OP_NONE &&
	    r->cl->w->ctx[r->project->instance];
}

void local_ask_store(struct request *r, const purser_bytes *argv, uint32_t argc, child_fn fn)
{
	struct ask a = { .w = r->cl->w, .gen = r->cl->gen, .project = r->project,
		.instance = r->project->instance, .db = r->cl->db,
		.deadline_ns = r->start_ns + instance_of(r)->operation_timeout_ns };

	/* The answer comes later: others have written where these words are by then. */
	if (req_pin(r))
		local_failure(r, ERR_OOM, NULL);
	else
		child_ask(&a, argv, argc, fn, r);
}

/* ---- CONFIG GET: what client libraries and tools ask for ---- */

struct shown { purser_bytes name, value; purser_bytes as; bool hit; };
#define SHOWN_MAX 64u

static purser_bytes text_of(const char *s) { return (purser_bytes){ (const uint8_t *)s, strlen(s) }; }

static void add_shown(struct shown *v, unsigned *n, purser_bytes name, purser_bytes value)
{
	for (unsigned i = 0; i < *n; i++)
		if (v[i].name.n == name.n && memcmp(v[i].name.p, name.p, name.n) == 0)
			return; /* the host's word comes first */
	if (*n < SHOWN_MAX)
		v[(*n)++] = (struct shown){ .name = name, .value = value };
}

/* A name is answered as it was written, names that a pattern found as they are. */
static void match(const struct request *r, struct shown *v, unsigned n)
{
	for (uint32_t a = 2; a < r->argc; a++) {
		char pat[64], name[64];
		size_t len = word(r, a).n < sizeof pat - 1 ? word(r, a).n : sizeof pat - 1;
		bool glob = false;

		for (size_t k = 0; k < len; k++) {
			pat[k] = (char)tolower(word(r, a).p[k]);
			glob |= strchr("*?[\\", pat[k]) != NULL;
		}
		pat[len] = '\0';
		for (unsigned i = 0; i < n; i++) {
			snprintf(name, sizeof name, "%.*s", (int)v[i].name.n, (const char *)v[i].name.p);
			if (v[i].hit || fnmatch(pat, name, 0))
				continue;
			v[i].hit = true;
			v[i].as = glob ? v[i].name : word(r, a);
		}
	}
}

/* resp: a map of names and values of the store's own, or NULL. */
static void show_config(struct request *r, const struct child_reply *rep)
{
	const struct project *p = r->project;
	struct purser_instance *in = instance_of(r);
	const char *policy = in->settings.text(in->settings.arg, "eviction");
	char databases[16], memory[24], clients[16];
	struct shown v[SHOWN_MAX];
	unsigned n = 0, hits = 0;
	int64_t pairs = 0;

	snprintf(databases, sizeof databases, "%u", p->databases);
	snprintf(memory, sizeof memory, "%lld", (long long)in->settings.value(in->settings.arg, "max_memory"));
	snprintf(clients, sizeof clients, "%u", ((struct serving *)r->cl->w)->limits.max_clients);
	add_shown(v, &n, text_of("databases"), text_of(databases));
	add_shown(v, &n, text_of("maxclients"), text_of(clients));
	if (rep && !rep->err) {
		const uint8_t *at = rep->resp, *end = rep->resp + rep->n;
		purser_bytes name, value;

		if (resp_pick_header(&at, end, '%', &pairs)) {
			local_failure(r, ERR_BACKENDPROTOCOL, NULL);
			return;
		}
		for (; pairs > 0 && !resp_pick_bulk(&at, end, &name) && !resp_pick_bulk(&at, end, &value); pairs--)
			add_shown(v, &n, name, value);
	}
	add_shown(v, &n, text_of("save"), text_of(""));
	add_shown(v, &n, text_of("appendonly"), text_of("no"));
	add_shown(v, &n, text_of("maxmemory"), text_of(memory));
	add_shown(v, &n, text_of("maxmemory-policy"), text_of(*policy ? policy : "noeviction"));
	add_shown(v, &n, text_of("proto-max-bulk-len"), text_of("536870912"));
	add_shown(v, &n, text_of("timeout"), text_of("0"));
	match(r, v, n);
	for (unsigned i = 0; i < n; i++)
		hits += v[i].hit;
	reply_map(&r->b, hits);
	for (unsigned i = 0; i < n; i++)
		if (v[i].hit) {
			reply_bulk(&r->b, v[i].as.p, v[i].as.n);
			reply_bulk(&r->b, v[i].value.p, v[i].value.n);
		}
	req_finish(r);
}

static void told(void *arg, const struct child_reply *rep)
{
	struct request *r = arg;

	if (rep->err) {
		reply_error(&r->b, rep->error, strlen(rep->error));
		r->b.store_error = err_of_text(rep->error, strlen(rep->error)) == ERR_REDIS;
		req_finish(r);
	} else {
		show_config(r, rep);
	}
}

static void do_config_get(struct request *r)
{
	const purser_bytes all[] = { text_of("CONFIG"), text_of("GET"), text_of("*") };

	if (local_store_runs(r, CMD_CONFIG_GET) && !r->apart) /* EXEC takes what is known here */
		local_ask_store(r, all, 3, told);
	else
		show_config(r, NULL);
}

/* ---- CONFIG SET, RESETSTAT ---- */

static void said(void *arg, const struct child_reply *rep)
{
	struct request *r = arg;

	if (rep->err) {
		reply_error(&r->b, rep->error, strlen(rep->error));
		r->b.store_error = err_of_text(rep->error, strlen(rep->error)) == ERR_REDIS;
	} else {
		reply_raw(&r->b, rep->resp, rep->n);
	}
	req_finish(r);
}

unsigned local_sharing(const struct request *r)
{
	const struct project_set *s = &r->cl->gen->projects;
	struct project others;
	unsigned n = projects_common(s, &others) && others.instance == r->project->instance ? 2 : 0;

	for (uint32_t i = 0; i < s->n; i++)
		n += s->v[i].instance == r->project->instance;
	return n;
}

/* A store in this process that belongs to one project alone, in development: it is this project's to set. */
static void do_config_set(struct request *r)
{
	if (!local_store_runs(r, CMD_CONFIG_SET))
		local_failure(r, ERR_NOPERM, "this is for the server's operator, not for one of its projects: send it to "
		    "Redis itself");
	else if (r->cl->gen->production)
		local_failure(r, ERR_NOPERM, "in production settings of a backend are the operator's: its section of the "
		    "configuration has them");
	else if (local_sharing(r) > 1)
		local_failure(r, ERR_NOPERM, "other projects share the backend: its section of the configuration has its "
		    "settings");
	else
		local_ask_store(r, r->argv, r->argc, said);
}

static void do_time(struct request *r)
{
	struct timespec ts;
	char text[24];

	clock_gettime(CLOCK_REALTIME, &ts);
	reply_array(&r->b, 2);
	snprintf(text, sizeof text, "%lld", (long long)ts.tv_sec);
	reply_text(&r->b, text);
	snprintf(text, sizeof text, "%ld", ts.tv_nsec / 1000);
	reply_text(&r->b, text);
	req_finish(r);
}

void local_server(req_handler *t)
{
	t[CMD_CONFIG_GET] = do_config_get;
	t[CMD_CONFIG_SET] = do_config_set;
	t[CMD_CONFIG_RESETSTAT] = do_config_set;
	t[CMD_TIME] = do_time;
}
