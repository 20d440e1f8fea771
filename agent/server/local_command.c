/* SPDX-License-Identifier: Apache-2.0
 *
 * COMMAND, and HELP of every container: what commands.def says, in Redis' own shape.
 */
#include <config.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include <purser/glob.h>
#include "base/buf.h"
#include "server/local.h"

static const struct { uint32_t flag; const char *name; } flag_names[] = {
	{ F_WRITE, "write" }, { F_READONLY, "readonly" }, { F_DENYOOM, "denyoom" }, { F_ADMIN, "admin" },
	{ F_PUBSUB, "pubsub" }, { F_NOSCRIPT, "noscript" }, { F_BLOCKING, "blocking" },
	{ F_LOADING, "loading" }, { F_STALE, "stale" }, { F_FAST, "fast" }, { F_NOAUTH, "no_auth" },
	{ F_ALLOWBUSY, "allow_busy" }, { F_MOVABLE, "movablekeys" },
	{ F_NOSLOWLOG, "skip_slowlog" }, { F_NOMONITOR, "skip_monitor" },
	{ F_NOMANDATORY, "no_mandatory_keys" },
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

/* A set of words, each a status or a bulk. */
static void put_words(struct bcall *b, const char *words, void (*put)(struct bcall *, const char *))
{
	unsigned n = *words != '\0';

	for (const char *p = words; *p; p++)
		n += *p == ' ';
	reply_set(b, n);
	while (*words) {
		char word[48];
		size_t len = strcspn(words, " ");

		snprintf(word, sizeof word, "%.*s", (int)len, words);
		put(b, word);
		words += len + (words[len] == ' ');
	}
}

static void put_categories(struct bcall *b, const struct command *c)
{
	char words[128];

	cmd_categories(c, words, sizeof words);
	put_words(b, words, reply_status);
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
		put_words(b, s->flags, reply_status);
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
	put_words(b, cmd_tips(c), reply_text);
	put_key_specs(b, c);
	reply_array(b, subs);
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (sub_of(&cmd_rows[i], c))
			put_command(b, &cmd_rows[i]);
}

static const struct cmd_index *table(const struct request *r)
{
	return &r->cl->gen->commands;
}

static unsigned top_level(const struct request *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < cmd_total(table(r)); i++)
		n += !is_sub(cmd_at(table(r), i));
	return n;
}

static const struct command *named(struct request *r, uint32_t i)
{
	return cmd_by_name(r->cl->w->commands, (const char *)word(r, i).p, word(r, i).n);
}

static void do_command(struct request *r)
{
	reply_array(&r->b, top_level(r));
	for (unsigned i = 0; i < cmd_total(table(r)); i++)
		if (!is_sub(cmd_at(table(r), i)))
			put_command(&r->b, cmd_at(table(r), i));
	req_finish(r);
}

static void do_command_count(struct request *r)
{
	reply_integer(&r->b, top_level(r));
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
		reply_map(&r->b, top_level(r));
		for (unsigned i = 0; i < cmd_total(table(r)); i++)
			if (!is_sub(cmd_at(table(r), i)))
				put_doc(&r->b, cmd_at(table(r), i));
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

static bool in_category(const struct command *c, purser_bytes name)
{
	char words[128];

	cmd_categories(c, words, sizeof words);
	for (const char *p = words; *p; p += strcspn(p, " "), p += *p == ' ') {
		size_t n = strcspn(p, " ") - 1; /* without @ */

		if (n == name.n && strncasecmp(p + 1, (const char *)name.p, n) == 0)
			return true;
	}
	return false;
}

/* FILTERBY MODULE: no row is a module's. */
static bool listed(const struct request *r, const struct command *c)
{
	char name[64], pattern[64];

	if (r->argc == 2)
		return true;
	if (word_is(word(r, 3), "ACLCAT"))
		return in_category(c, word(r, 4));
	if (!word_is(word(r, 3), "PATTERN") || word(r, 4).n >= sizeof pattern)
		return false;
	for (size_t i = 0; i < word(r, 4).n; i++)
		pattern[i] = (char)tolower(word(r, 4).p[i]);
	cmd_lower(c, name, sizeof name);
	return purser_glob((const uint8_t *)pattern, word(r, 4).n, (const uint8_t *)name, strlen(name)) != 0;
}

static void do_command_list(struct request *r)
{
	unsigned n = 0;
	char name[64];

	if (r->argc != 2 && (r->argc != 5 || !word_is(word(r, 2), "FILTERBY") || (!word_is(word(r, 3), "MODULE") &&
	    !word_is(word(r, 3), "ACLCAT") && !word_is(word(r, 3), "PATTERN")))) {
		local_error(r, "ERR syntax error");
		return;
	}
	for (unsigned i = 0; i < cmd_total(table(r)); i++)
		n += listed(r, cmd_at(table(r), i));
	reply_array(&r->b, n);
	for (unsigned i = 0; i < cmd_total(table(r)); i++)
		if (listed(r, cmd_at(table(r), i))) {
			cmd_lower(cmd_at(table(r), i), name, sizeof name);
			reply_text(&r->b, name);
		}
	req_finish(r);
}

/* Positions of the keys in the command behind COMMAND GETKEYS; NULL: it is answered with an error. */
static uint32_t *keys_of(struct request *r, const struct command **command, uint32_t *count)
{
	char why[384];
	const struct command *c = cmd_find(r->cl->w->commands, r->argv + 2, r->argc - 2, why, sizeof why);
	uint32_t *keys, n;

	if (!c) {
		local_error(r, strncmp(why, "ERR wrong", 9) ? "ERR Invalid command specified" :
		    "ERR Invalid number of arguments specified for command");
		return NULL;
	}
	/* Shard channels stand where keys do, and are none. */
	n = c->flags & F_PUBSUB ? 0 : cmd_key_count(c, r->argv + 2, r->argc - 2);
	if (!n && !(c->flags & F_NOMANDATORY)) {
		local_error(r, (c->first || c->more) && !(c->flags & F_PUBSUB) ?
		    "ERR Invalid arguments specified for command" :
		    "ERR The command has no key arguments");
		return NULL;
	}
	keys = arena_get(&r->arena, (n + 1) * sizeof *keys);
	if (!keys) {
		local_failure(r, ERR_OOM, NULL);
		return NULL;
	}
	if (n)
		cmd_keys(c, r->argv + 2, r->argc - 2, keys);
	*command = c;
	*count = n;
	return keys;
}

/* Both show what kind of key it is with Redis' words, but for what is true of a specification alone. */
static void put_key_flags(struct bcall *b, const char *words)
{
	char kept[96] = "";
	size_t n = 0, len;

	for (; *words; words += len + (words[len] == ' ')) {
		len = strcspn(words, " ");
		if (strncmp(words, "variable_flags", len) && strncmp(words, "incomplete", len))
			n += (size_t)snprintf(kept + n, sizeof kept - n, "%s%.*s", n ? " " : "", (int)len, words);
	}
	put_words(b, kept, reply_status);
}

static void do_command_getkeysandflags(struct request *r)
{
	const struct command *c;
	uint32_t n, *keys = keys_of(r, &c, &n);

	if (!keys)
		return;
	reply_array(&r->b, n);
	for (uint32_t i = 0; i < n; i++) {
		reply_array(&r->b, 2);
		reply_bulk(&r->b, word(r, 2 + keys[i]).p, word(r, 2 + keys[i]).n);
		put_key_flags(&r->b, cmd_key_flags(c, r->argv + 2, r->argc - 2, keys[i]));
	}
	req_finish(r);
}

static void do_command_getkeys(struct request *r)
{
	const struct command *c;
	uint32_t n, *keys = keys_of(r, &c, &n);

	if (!keys)
		return;
	reply_array(&r->b, n);
	for (uint32_t i = 0; i < n; i++)
		reply_bulk(&r->b, word(r, 2 + keys[i]).p, word(r, 2 + keys[i]).n);
	req_finish(r);
}

/* CONTAINER HELP: its rows, as Redis lays them out. */
static void do_help(struct request *r)
{
	const char *bar = strchr(r->cmd->name, '|');
	size_t n = (size_t)(bar - r->cmd->name) + 1;
	unsigned lines = 1;
	char text[256];

	for (unsigned i = 0; i < CMD_COUNT; i++)
		lines += 2 * (strncmp(cmd_rows[i].name, r->cmd->name, n) == 0);
	reply_array(&r->b, lines);
	snprintf(text, sizeof text, "%.*s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", (int)n - 1,
	    r->cmd->name);
	reply_status(&r->b, text);
	for (unsigned i = 0; i < CMD_COUNT; i++)
		if (strncmp(cmd_rows[i].name, r->cmd->name, n) == 0) {
			reply_status(&r->b, cmd_rows[i].name + n);
			snprintf(text, sizeof text, "    %s", cmd_rows[i].summary);
			reply_status(&r->b, text);
		}
	req_finish(r);
}

void local_command(req_handler *t)
{
	t[CMD_COMMAND] = do_command;
	t[CMD_COMMAND_COUNT] = do_command_count;
	t[CMD_COMMAND_DOCS] = do_command_docs;
	t[CMD_COMMAND_GETKEYS] = do_command_getkeys;
	t[CMD_COMMAND_GETKEYSANDFLAGS] = do_command_getkeysandflags;
	t[CMD_COMMAND_INFO] = do_command_info;
	t[CMD_COMMAND_LIST] = do_command_list;
	for (unsigned i = 0; i < CMD_COUNT; i++) {
		const char *bar = strchr(cmd_rows[i].name, '|');

		if (bar && strcmp(bar, "|HELP") == 0 && cmd_rows[i].run == RUN_LOCAL)
			t[i] = do_help;
	}
}
