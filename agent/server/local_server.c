/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client asks a server about itself: COMMAND, INFO, CONFIG GET, TIME.  All of it is made from
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

/* ---- COMMAND ---- */

static const struct { uint32_t flag; const char *name; } flag_names[] = {
	{ F_WRITE, "write" }, { F_READONLY, "readonly" }, { F_DENYOOM, "denyoom" }, { F_ADMIN, "admin" },
	{ F_PUBSUB, "pubsub" }, { F_NOSCRIPT, "noscript" }, { F_BLOCKING, "blocking" },
	{ F_LOADING, "loading" }, { F_STALE, "stale" }, { F_FAST, "fast" }, { F_NOAUTH, "no_auth" },
	{ F_ALLOWBUSY, "allow_busy" }, { F_MOVABLE, "movablekeys" },
};

static void put_flags(struct bcall *b, const struct command *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < sizeof flag_names / sizeof *flag_names; i++)
		n += (c->flags & flag_names[i].flag) != 0;
	reply_set(b, n);
	for (unsigned i = 0; i < sizeof flag_names / sizeof *flag_names; i++)
		if (c->flags & flag_names[i].flag)
			reply_status(b, flag_names[i].name);
}

static void put_categories(struct bcall *b, const struct command *c)
{
	reply_set(b, 2);
	reply_status(b, c->flags & F_WRITE ? "@write" : c->flags & F_READONLY ? "@read" : "@connection");
	reply_status(b, c->flags & F_FAST ? "@fast" : "@slow");
}

static void put_words(struct bcall *b, const char *words)
{
	unsigned n = 1;

	for (const char *p = words; *p; p++)
		n += *p == ' ';
	reply_set(b, n);
	while (*words) {
		char word[24];
		size_t len = strcspn(words, " ");

		snprintf(word, sizeof word, "%.*s", (int)len, words);
		reply_status(b, word);
		words += len + (words[len] == ' ');
	}
}

static void put_begin(struct bcall *b, const struct cmd_keyspec *s)
{
	static const char *const types[] = { "index", "keyword", "unknown" };

	reply_map(b, 2);
	reply_text(b, "type");
	reply_text(b, types[s->begin]);
	reply_text(b, "spec");
	reply_map(b, s->begin == BEGIN_INDEX ? 1 : s->begin == BEGIN_KEYWORD ? 2 : 0);
	if (s->begin == BEGIN_KEYWORD) {
		reply_text(b, "keyword");
		reply_text(b, s->keyword);
	}
	if (s->begin != BEGIN_UNKNOWN) {
		reply_text(b, s->begin == BEGIN_INDEX ? "index" : "startfrom");
		reply_integer(b, s->start);
	}
}

static void put_find(struct bcall *b, const struct cmd_keyspec *s)
{
	static const char *const types[] = { "range", "keynum", "unknown" };
	static const char *const names[][3] = { { "lastkey", "keystep", "limit" },
		{ "keynumidx", "firstkey", "keystep" } };
	unsigned n = s->find == FIND_UNKNOWN ? 0 : 3;

	reply_map(b, 2);
	reply_text(b, "type");
	reply_text(b, types[s->find]);
	reply_text(b, "spec");
	reply_map(b, n);
	for (unsigned i = 0; i < n; i++) {
		reply_text(b, names[s->find][i]);
		reply_integer(b, s->n[i]);
	}
}

static void put_key_specs(struct bcall *b, const struct command *c)
{
	uint32_t n;
	const struct cmd_keyspec *s = cmd_keyspecs(c, &n);

	reply_set(b, n);
	for (; n; n--, s++) {
		reply_map(b, s->notes ? 4 : 3);
		if (s->notes) {
			reply_text(b, "notes");
			reply_text(b, s->notes);
		}
		reply_text(b, "flags");
		put_words(b, s->flags);
		reply_text(b, "begin_search");
		put_begin(b, s);
		reply_text(b, "find_keys");
		put_find(b, s);
	}
}

static bool is_sub(const struct command *c)
{
	return strchr(c->name, '|') != NULL;
}

static bool sub_of(const struct command *s, const struct command *c)
{
	return s->name_len > c->name_len && s->name[c->name_len] == '|' &&
	    memcmp(s->name, c->name, c->name_len) == 0;
}

static void put_command(struct bcall *b, const struct command *c)
{
	char name[64];
	unsigned subs = 0;

	for (unsigned i = 0; i < CMD_COUNT; i++)
		subs += sub_of(&cmd_rows[i], c);
	cmd_lower(c, name, sizeof name);
	reply_array(b, 10);
	reply_text(b, name);
	reply_integer(b, c->arity);
	put_flags(b, c);
	reply_integer(b, c->first);
	reply_integer(b, c->last);
	reply_integer(b, c->step);
	put_categories(b, c);
	reply_array(b, 0);
	put_key_specs(b, c);
	reply_array(b, subs);
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (sub_of(&cmd_rows[i], c))
			put_command(b, &cmd_rows[i]);
}

static unsigned top_level(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CMD_COUNT; i++)
		n += !is_sub(&cmd_rows[i]);
	return n;
}

static const struct command *named(struct request *r, uint32_t i)
{
	return cmd_by_name(r->cl->w->commands, (const char *)word(r, i).p, word(r, i).n);
}

static void do_command(struct request *r)
{
	reply_array(&r->b, top_level());
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (!is_sub(&cmd_rows[i]))
			put_command(&r->b, &cmd_rows[i]);
	req_finish(r);
}

static void do_command_count(struct request *r)
{
	reply_integer(&r->b, top_level());
	req_finish(r);
}

static void do_command_info(struct request *r)
{
	if (r->argc == 2) {
		do_command(r);
		return;
	}
	reply_array(&r->b, r->argc - 2);
	for (uint32_t i = 2; i < r->argc; i++) {
		const struct command *c = named(r, i);

		if (c)
			put_command(&r->b, c);
		else
			reply_null(&r->b);
	}
	req_finish(r);
}

static void put_doc(struct bcall *b, const struct command *c)
{
	char name[64];

	cmd_lower(c, name, sizeof name);
	reply_text(b, name);
	reply_map(b, 2);
	reply_text(b, "summary");
	reply_text(b, c->summary);
	reply_text(b, "group");
	reply_text(b, cmd_group_name((enum cmd_group)c->group));
}

static void do_command_docs(struct request *r)
{
	unsigned n = 0;

	if (r->argc == 2) {
		reply_map(&r->b, top_level());
		for (unsigned i = 0; i < CMD_COUNT; i++)
			if (!is_sub(&cmd_rows[i]))
				put_doc(&r->b, &cmd_rows[i]);
		req_finish(r);
		return;
	}
	for (uint32_t i = 2; i < r->argc; i++)
		n += named(r, i) != NULL;
	reply_map(&r->b, n);
	for (uint32_t i = 2; i < r->argc; i++)
		if (named(r, i))
			put_doc(&r->b, named(r, i));
	req_finish(r);
}

static void do_command_list(struct request *r)
{
	char name[64];

	if (r->argc > 2) {
		local_error(r, "ERR syntax error: COMMAND LIST without FILTERBY lists all");
		return;
	}
	reply_array(&r->b, top_level());
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (!is_sub(&cmd_rows[i])) {
			cmd_lower(&cmd_rows[i], name, sizeof name);
			reply_text(&r->b, name);
		}
	req_finish(r);
}

static void do_command_getkeys(struct request *r)
{
	char why[384];
	const struct command *c = cmd_find(r->cl->w->commands, r->argv + 2, r->argc - 2, why, sizeof why);
	uint32_t *keys, n;

	if (!c) {
		local_error(r, strncmp(why, "ERR wrong", 9) ? "ERR Invalid command specified" :
		    "ERR Invalid number of arguments specified for command");
		return;
	}
	n = cmd_key_count(c, r->argv + 2, r->argc - 2);
	if (!n) {
		local_error(r, c->first || c->more ? "ERR Invalid arguments specified for command" :
		    "ERR The command has no key arguments");
		return;
	}
	keys = arena_get(&r->arena, n * sizeof *keys);
	if (!keys) {
		local_failure(r, ERR_OOM, NULL);
		return;
	}
	cmd_keys(c, r->argv + 2, r->argc - 2, keys);
	reply_array(&r->b, n);
	for (uint32_t i = 0; i < n; i++)
		reply_bulk(&r->b, word(r, 2 + keys[i]).p, word(r, 2 + keys[i]).n);
	req_finish(r);
}

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

	buf_printf(b, "# Clients\r\nconnected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:0\r\n",
	    atomic_load_explicit(&s->srv->nclients, memory_order_relaxed), s->limits.max_clients);
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
	if (b.failed) {
		local_failure(r, ERR_OOM, NULL);
	} else {
		reply_bulk(&r->b, buf_data(&b), buf_len(&b));
		req_finish(r);
	}
	buf_free(&b);
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
	t[CMD_COMMAND] = do_command;
	t[CMD_COMMAND_COUNT] = do_command_count;
	t[CMD_COMMAND_DOCS] = do_command_docs;
	t[CMD_COMMAND_GETKEYS] = do_command_getkeys;
	t[CMD_COMMAND_INFO] = do_command_info;
	t[CMD_COMMAND_LIST] = do_command_list;
	t[CMD_CONFIG_GET] = do_config_get;
	t[CMD_INFO] = do_info;
	t[CMD_TIME] = do_time;
}
