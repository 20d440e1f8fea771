/* SPDX-License-Identifier: Apache-2.0
 *
 * INFO.  Clients, requests and errors are those of the agent's own accounts, of the client's project where they
 * are kept by project; a store in this process adds what it knows of itself.  Of a server behind the agent
 * nothing shows through: what it counts is everybody's.
 */
#include <config.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/buf.h"
#include "resp/pick.h"
#include "server/local.h"

struct command_sum { uint64_t calls, ns, refused, failed; };

struct info {
	struct request *r;
	struct buf *b;
	const char *store;              /* INFO of the store's own; "": it has none */
	uint64_t requests, in, out, errors;
	struct command_sum *by_command; /* [CMD_COUNT + 1]; NULL: no memory */
	uint64_t by_error[256];
};

/* ---- the store's own lines ---- */

/* Behind the headline of this section; NULL: there is none. */
static const char *store_section(const struct info *x, const char *name)
{
	char head[32];
	const char *at;
	int n = snprintf(head, sizeof head, "# %s\r\n", name);

	at = strstr(x->store, head);
	return at ? at + n : NULL;
}

/* All lines of a section, but those that begin with skip.  False: the store has no such section. */
static bool store_lines(const struct info *x, const char *name, const char *skip)
{
	const char *at = store_section(x, name), *end;

	if (!at)
		return false;
	for (; *at && *at != '#' && *at != '\r'; at = end) {
		end = strstr(at, "\r\n");
		end = end ? end + 2 : at + strlen(at);
		if (!skip || strncmp(at, skip, strlen(skip)))
			buf_printf(x->b, "%.*s", (int)(end - at), at);
	}
	return true;
}

/* What a store of several projects has counted is not one's alone to see. */
static bool alone(const struct info *x)
{
	return local_sharing(x->r) < 2;
}

/* ---- accounts ---- */

static void add_request(void *arg, const struct metric_requests *q)
{
	struct info *x = arg;
	struct command_sum *s = x->by_command ?
	    &x->by_command[q->key.command < CMD_COUNT ? q->key.command : CMD_COUNT] : NULL;
	bool theirs = q->key.error && metric_error_of(x->r->cl->w->metrics->reg, q->key.error).status;

	x->requests += q->count;
	x->in += q->in;
	x->out += q->out;
	x->by_error[q->key.error] += q->count;
	if (q->key.error)
		x->errors += q->count;
	if (!s)
		return;
	s->calls += q->count;
	s->ns += q->ns;
	*(theirs ? &s->failed : &s->refused) += q->key.error ? q->count : 0;
}

/* ---- sections ---- */

static void info_server(struct info *x)
{
	struct worker *w = x->r->cl->w;
	uint64_t now = loop_wall_ms(w->loop), up = (now - metric_start(w->metrics->reg) / 1000000) / 1000;

	buf_printf(x->b, "redis_version:7.0.15\r\nredis_mode:standalone\r\npurser_version:%s\r\n"
	    "os:Linux\r\narch_bits:%u\r\nmultiplexing_api:epoll\r\nprocess_id:%d\r\ntcp_port:0\r\n"
	    "server_time_usec:%llu000\r\nuptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\nio_threads_active:0\r\n",
	    PACKAGE_VERSION, (unsigned)(8 * sizeof(void *)), (int)getpid(), (unsigned long long)now,
	    (unsigned long long)up, (unsigned long long)up / 86400);
}

static const struct metric_clients *clients_of(const struct info *x)
{
	return metric_clients_of(x->r->cl->w->metrics->reg, x->r->project->metric_id);
}

static void info_clients(struct info *x)
{
	struct serving *s = (struct serving *)x->r->cl->w;
	const struct metric_clients *own = clients_of(x);
	struct pool_numbers n;

	instance_pool(x->r->cl->gen->instances[x->r->project->instance], &n);
	buf_printf(x->b, "connected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:%llu\r\n",
	    own ? atomic_load_explicit(&own->now, memory_order_relaxed) : 0, s->limits.max_clients,
	    (unsigned long long)n.waiting);
}

static void info_memory(struct info *x)
{
	struct purser_instance *in = x->r->cl->gen->instances[x->r->project->instance];
	const char *policy = in->settings.text(in->settings.arg, "eviction");
	purser_stats st;

	if (store_lines(x, "Memory", NULL))
		return;
	memset(&st, 0xff, sizeof st);
	st.struct_size = sizeof st;
	if ((in->p->caps & PURSER_CAP_MEMORY_INFO) && in->p->stats(in->state, &st) == 0 &&
	    st.used_bytes != UINT64_MAX)
		buf_printf(x->b, "used_memory:%llu\r\n", (unsigned long long)st.used_bytes);
	buf_printf(x->b, "maxmemory:%lld\r\nmaxmemory_policy:%s\r\n",
	    (long long)in->settings.value(in->settings.arg, "max_memory"), *policy ? policy : "noeviction");
}

static void info_persistence(struct info *x)
{
	if (!alone(x) || !store_lines(x, "Persistence", NULL))
		buf_puts(x->b, "loading:0\r\nasync_loading:0\r\n");
}

static void info_stats(struct info *x)
{
	const struct metric_clients *own = clients_of(x);

	buf_printf(x->b, "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
	    "total_net_input_bytes:%llu\r\ntotal_net_output_bytes:%llu\r\ntotal_error_replies:%llu\r\n",
	    own ? (unsigned long long)atomic_load_explicit(&own->ever, memory_order_relaxed) : 0, (unsigned long long)x->requests,
	    (unsigned long long)x->in, (unsigned long long)x->out, (unsigned long long)x->errors);
	if (alone(x))
		store_lines(x, "Stats", "total_commands_processed:");
}

static void info_replication(struct info *x)
{
	buf_puts(x->b, "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n"
	    "master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n");
}

static void info_cpu(struct info *x)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u))
		memset(&u, 0, sizeof u);
	buf_printf(x->b, "used_cpu_sys:%lld.%06ld\r\nused_cpu_user:%lld.%06ld\r\nused_cpu_sys_children:0.000000\r\n"
	    "used_cpu_user_children:0.000000\r\n", (long long)u.ru_stime.tv_sec, (long)u.ru_stime.tv_usec,
	    (long long)u.ru_utime.tv_sec, (long)u.ru_utime.tv_usec);
}

static void info_commandstats(struct info *x)
{
	char name[64];

	for (unsigned i = 0; x->by_command && i < CMD_COUNT; i++) {
		const struct command_sum *s = &x->by_command[i];
		size_t n = 0;

		if (!s->calls)
			continue;
		for (; cmd_rows[i].name[n] && n < sizeof name - 1; n++)
			name[n] = (char)tolower((unsigned char)cmd_rows[i].name[n]);
		name[n] = '\0';
		buf_printf(x->b, "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,failed_calls=%llu\r\n",
		    name, (unsigned long long)s->calls, (unsigned long long)s->ns / 1000,
		    (double)s->ns / 1000 / (double)s->calls, (unsigned long long)s->refused,
		    (unsigned long long)s->failed);
	}
}

static void info_errorstats(struct info *x)
{
	for (unsigned i = 1; i < 256; i++) {
		struct metric_error e = metric_error_of(x->r->cl->w->metrics->reg, (uint8_t)i);
		const char *word = e.status ? e.status : i < ERR_COUNT ? err_rows[i].word : NULL;

		if (x->by_error[i] && word)
			buf_printf(x->b, "errorstat_%s:count=%llu\r\n", word, (unsigned long long)x->by_error[i]);
	}
}

static void info_cluster(struct info *x) { buf_puts(x->b, "cluster_enabled:0\r\n"); }

static void info_keyspace(struct info *x) { store_lines(x, "Keyspace", NULL); }

static void info_purser(struct info *x)
{
	const struct request *r = x->r;

	buf_printf(x->b, "project:%s\r\nbackend:%s\r\ngeneration:%llu\r\n", r->project->name,
	    r->cl->gen->instances[r->project->instance]->name, (unsigned long long)r->cl->gen->number);
}

enum { ALWAYS, ASKED };               /* ASKED: by its name, or with all or everything */
static const struct {
	const char *name, *title;
	void (*write)(struct info *);
	int when;
} sections[] = {
	{ "server", "Server", info_server, ALWAYS }, { "clients", "Clients", info_clients, ALWAYS },
	{ "memory", "Memory", info_memory, ALWAYS }, { "persistence", "Persistence", info_persistence, ALWAYS },
	{ "stats", "Stats", info_stats, ALWAYS }, { "replication", "Replication", info_replication, ALWAYS },
	{ "cpu", "CPU", info_cpu, ALWAYS }, { "commandstats", "Commandstats", info_commandstats, ASKED },
	{ "errorstats", "Errorstats", info_errorstats, ALWAYS }, { "cluster", "Cluster", info_cluster, ALWAYS },
	{ "keyspace", "Keyspace", info_keyspace, ALWAYS }, { "purser", "Purser", info_purser, ALWAYS },
};

static bool wants(const struct request *r, unsigned i)
{
	if (r->argc == 1)
		return sections[i].when == ALWAYS;
	for (uint32_t a = 1; a < r->argc; a++)
		if (word_is(word(r, a), sections[i].name) || word_is(word(r, a), "all") ||
		    word_is(word(r, a), "everything") ||
		    (word_is(word(r, a), "default") && sections[i].when == ALWAYS))
			return true;
	return false;
}

static void answer(struct request *r, const char *store)
{
	struct buf b = { .max = 1 << 20 };
	struct info x = { .r = r, .b = &b, .store = store };

	x.by_command = calloc(CMD_COUNT + 1, sizeof *x.by_command);
	metric_each_request(r->cl->w->metrics->reg, r->project->metric_id, add_request, &x);
	for (unsigned i = 0; i < sizeof sections / sizeof *sections; i++) {
		/* A store of several projects does not tell one how many keys there are. */
		if (!wants(r, i) || (sections[i].write == info_keyspace && !store_section(&x, "Keyspace")))
			continue;
		buf_printf(&b, "%s# %s\r\n", buf_len(&b) ? "\r\n" : "", sections[i].title);
		sections[i].write(&x);
	}
	free(x.by_command);
	local_text(r, &b);
}

/* ---- asking the store ---- */

static void told(void *arg, const struct child_reply *rep)
{
	const uint8_t *at = rep->resp, *end = rep->resp + rep->n;
	struct request *r = arg;
	char *text = NULL, *keyspace;
	int64_t n;

	/* "=N\r\ntxt:..." */
	if (!rep->err && resp_pick_header(&at, end, '=', &n) == 0 && n >= 4 && n <= end - at &&
	    (text = malloc((size_t)n - 3))) {
		memcpy(text, at + 4, (size_t)n - 4);
		text[n - 4] = '\0';
	}
	if (text && local_sharing(r) > 1 && (keyspace = strstr(text, "# Keyspace\r\n")))
		*keyspace = '\0';
	answer(r, text ? text : "");
	free(text);
}

static void do_info(struct request *r)
{
	static const purser_bytes ask = { (const uint8_t *)"INFO", 4 };

	if (local_store_runs(r, CMD_INFO) && !r->apart) /* EXEC takes what is known here */
		local_ask_store(r, &ask, 1, told);
	else
		answer(r, "");
}

void local_info(req_handler *t) { t[CMD_INFO] = do_info; }
