/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client asks a server about itself: INFO, CONFIG GET, TIME.  All of it is made from
 * the agent's own tables; nothing of the store's or of other projects shows through.
 */
#include <config.h>
#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"
#include "server/local.h"

/* ---- CONFIG GET: what client libraries and tools ask for ---- */

static void do_config_get(struct request *r)
{
	const struct project *p = r->project;
	struct purser_instance *in = r->cl->gen->instances[p->instance];
	char databases[16], memory[24];
	struct { const char *name, *value; } keys[] = {
		{ "save", "" }, { "appendonly", "no" }, { "databases", databases },
		{ "maxmemory", memory }, { "maxmemory-policy", in->settings.text(in->settings.arg, "eviction") },
		{ "proto-max-bulk-len", "536870912" }, { "timeout", "0" },
	};
	bool hit[sizeof keys / sizeof *keys] = { false };
	unsigned n = 0;

	snprintf(databases, sizeof databases, "%u", p->databases);
	snprintf(memory, sizeof memory, "%lld",
	    (long long)in->settings.value(in->settings.arg, "max_memory"));
	if (!*keys[4].value)
		keys[4].value = "noeviction";
	for (uint32_t a = 2; a < r->argc; a++)
		for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
			char pat[64];
			size_t len = word(r, a).n < sizeof pat - 1 ? word(r, a).n : sizeof pat - 1;

			for (size_t k = 0; k < len; k++)
				pat[k] = (char)tolower(word(r, a).p[k]);
			pat[len] = '\0';
			hit[i] |= fnmatch(pat, keys[i].name, 0) == 0;
		}
	for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
		n += hit[i];
	reply_map(&r->b, n);
	for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
		if (hit[i]) {
			reply_text(&r->b, keys[i].name);
			reply_text(&r->b, keys[i].value);
		}
	req_finish(r);
}

/* ---- INFO ---- */

static void info_server(struct buf *b, struct request *r)
{
	struct worker *w = r->cl->w;

	buf_printf(b, "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\npurser_version:%s\r\n"
	    "os:Linux\r\narch_bits:%u\r\nprocess_id:%d\r\ntcp_port:0\r\nserver_time_usec:%llu000\r\n"
	    "io_threads_active:0\r\n", PACKAGE_VERSION, (unsigned)(8 * sizeof(void *)), (int)getpid(),
	    (unsigned long long)loop_wall_ms(w->loop));
}

static void info_clients(struct buf *b, struct request *r)
{
	struct serving *s = (struct serving *)r->cl->w;
	struct pool_numbers n;

	instance_pool(r->cl->gen->instances[r->project->instance], &n);
	buf_printf(b, "# Clients\r\nconnected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:%llu\r\n",
	    atomic_load_explicit(&s->srv->nclients, memory_order_relaxed), s->limits.max_clients,
	    (unsigned long long)n.waiting);
}

static void info_memory(struct buf *b, struct request *r)
{
	struct purser_instance *in = r->cl->gen->instances[r->project->instance];
	purser_stats st;
	const char *policy = in->settings.text(in->settings.arg, "eviction");

	memset(&st, 0xff, sizeof st);
	st.struct_size = sizeof st;
	buf_puts(b, "# Memory\r\n");
	if ((in->p->caps & PURSER_CAP_MEMORY_INFO) && in->p->stats(in->state, &st) == 0 &&
	    st.used_bytes != UINT64_MAX)
		buf_printf(b, "used_memory:%llu\r\n", (unsigned long long)st.used_bytes);
	buf_printf(b, "maxmemory:%lld\r\nmaxmemory_policy:%s\r\n",
	    (long long)in->settings.value(in->settings.arg, "max_memory"), *policy ? policy : "noeviction");
}

static void info_persistence(struct buf *b, struct request *r)
{
	(void)r;
	buf_puts(b, "# Persistence\r\nloading:0\r\nasync_loading:0\r\n");
}

static void info_replication(struct buf *b, struct request *r)
{
	(void)r;
	buf_puts(b, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
}

static void info_purser(struct buf *b, struct request *r)
{
	buf_printf(b, "# Purser\r\nproject:%s\r\nbackend:%s\r\ngeneration:%llu\r\n", r->project->name,
	    r->cl->gen->instances[r->project->instance]->name, (unsigned long long)r->cl->gen->number);
}

static const struct {
	const char *name;
	void (*write)(struct buf *, struct request *);
} sections[] = {
	{ "server", info_server }, { "clients", info_clients }, { "memory", info_memory },
	{ "persistence", info_persistence }, { "replication", info_replication },
	{ "purser", info_purser },
};

static bool wants(struct request *r, const char *section)
{
	if (r->argc == 1)
		return true;
	for (uint32_t i = 1; i < r->argc; i++)
		if (word_is(word(r, i), section) || word_is(word(r, i), "all") ||
		    word_is(word(r, i), "default") || word_is(word(r, i), "everything"))
			return true;
	return false;
}

static void do_info(struct request *r)
{
	struct buf b = { .max = 65536 };

	for (unsigned i = 0; i < sizeof sections / sizeof *sections; i++) {
		if (!wants(r, sections[i].name))
			continue;
		if (buf_len(&b))
			buf_puts(&b, "\r\n");
		sections[i].write(&b, r);
	}
	local_text(r, &b);
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
	t[CMD_INFO] = do_info;
	t[CMD_TIME] = do_time;
}
