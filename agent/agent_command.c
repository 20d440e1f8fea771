/* SPDX-License-Identifier: Apache-2.0
 *
 * [command NAME]: commands of modules, described by who runs the server.  What is not said is not guessed: a row
 * that is not whole is an error.
 */
#include <config.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent.h"
#include "base/buf.h"
#include "command/declared.h"

struct making { const struct cfg_section *s; struct buf *why; bool bad; };

static void complain(struct making *m, const char *text)
{
	buf_printf(m->why, "[command %s]: %s\n", cfg_name(m->s), text);
	m->bad = true;
}

static void read_flags(struct making *m, struct command *row)
{
	static const struct { const char *name; uint32_t flag; } known[] = {
		{ "write", F_WRITE }, { "readonly", F_READONLY }, { "denyoom", F_DENYOOM }, { "fast", F_FAST } };
	const char *list = cfg_text(m->s, CFG_COMMAND_FLAGS);
	char word[32];

	while (cfg_next_word(&list, word, sizeof word)) {
		unsigned i = 0;

		while (i < sizeof known / sizeof *known && strcmp(known[i].name, word))
			i++;
		if (i == sizeof known / sizeof *known)
			complain(m, "flags: there are write or readonly, and denyoom and fast; what blocks, or belongs to "
			    "publish/subscribe, transactions or scripts, cannot be declared");
		else
			row->flags |= known[i].flag;
	}
	if (!(row->flags & F_WRITE) == !(row->flags & F_READONLY))
		complain(m, "flags: say write or readonly, one of the two");
}

static void read_permission(struct making *m, struct command *row)
{
	const char *text = cfg_text(m->s, CFG_COMMAND_PERMISSION);

	for (int p = PERM_READ; p <= PERM_SCRIPT; p++)
		if (strcmp(text, cmd_perm_name((enum cmd_perm)p)) == 0)
			row->perm = (uint8_t)p;
	if (!row->perm)
		complain(m, "permission: there are redis:read redis:write redis:admin pubsub script");
	else if (row->perm == PERM_READ && row->flags & F_WRITE)
		complain(m, "permission: a command that writes cannot be had for redis:read");
}

/* "none", or "first last step". */
static void read_keys(struct making *m, struct command *row)
{
	const char *list = cfg_text(m->s, CFG_COMMAND_KEYS);
	int64_t numkeys = cfg_int(m->s, CFG_COMMAND_NUMKEYS);
	int first = 0, last = 0, step = 0, used = 0, words = row->arity < 0 ? -row->arity : row->arity;

	if (strcmp(list, "none") && (sscanf(list, "%d %d %d%n", &first, &last, &step, &used) != 3 || list[used] ||
	    first < 1 || first > 100 || step < 1 || step > 100 || last < -100 || last > 100 ||
	    (last >= 0 && last < first))) {
		complain(m, "keys: \"none\", or first, last and step as COMMAND INFO shows them: \"1 1 1\", \"1 -1 1\"");
		return;
	}
	row->first = (int8_t)first;
	row->last = (int8_t)last;
	row->step = (int8_t)step;
	if (first && words <= first)
		complain(m, "keys: the first key lies behind the words that arity asks for");
	if (!numkeys)
		return;
	row->more = numkeys == 1 ? KEYS_COUNT_1 : KEYS_COUNT_2;
	row->flags |= F_MOVABLE;
	if (first && (numkeys == 1 || first != 1 || last != 1))
		complain(m, "numkeys: beside a number at 1 there are no other keys, beside one at 2 there may be keys = 1 1 1");
	if (words <= numkeys + 1)
		complain(m, "numkeys: the number and a key lie behind the words that arity asks for");
}

static void read_reply(struct making *m, struct command *row)
{
	static const struct { const char *name; uint8_t transform; } known[] = {
		{ "pass", X_PASS }, { "keys", X_KEYS }, { "first", X_FIRST }, { "streams", X_STREAMS } };
	const char *text = cfg_text(m->s, CFG_COMMAND_REPLY);

	for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(known[i].name, text) == 0)
			row->transform = known[i].transform;
}

static void read_retry(struct making *m, struct command *row)
{
	const char *text = cfg_text(m->s, CFG_COMMAND_RETRY);

	row->retry = strcmp(text, "read") == 0 ? R_READ : strcmp(text, "idempotent") == 0 ? R_IDEMPOTENT : R_NEVER;
	if (row->retry == R_READ && row->flags & F_WRITE)
		complain(m, "retry: a command that writes is idempotent or never sent again");
}

/* What the agent knows has its row, or is refused for a reason; only "nothing to see" may be overruled. */
static void check_name(struct making *m, const struct cmd_index *x, const char *name)
{
	purser_bytes w = { (const uint8_t *)name, strlen(name) };
	const struct cmd_refusal *no = cmd_refused(&w, 1);

	if (cmd_by_name(x, name, w.n))
		complain(m, "the agent has this command: only those that it does not know can be declared");
	else if (no ? no->err != ERR_UNSUPPORTED : cmd_refused_container(w))
		complain(m, "the agent refuses this command for a reason, which a declaration cannot take away");
	else if (strncmp(name, "PURSER.", 7) == 0)
		complain(m, "PURSER.* are the agent's own");
}

int build_commands(struct cmd_declarations *d, const struct cfg *cfg, struct cmd_index *x, struct buf *why)
{
	struct making m = { .why = why };
	bool bad = false;

	cmd_index_build(x);
	for (m.s = cfg_first(cfg, CFG_COMMAND); m.s; m.s = cfg_next(m.s)) {
		struct command row = { .run = RUN_BACKEND, .group = G_PURSER, .args = A_NONE,
			.summary = "Declared in the configuration" };
		const struct command *made;
		char name[72];
		size_t n = 0;

		for (const char *p = cfg_name(m.s); *p && n < sizeof name - 1; p++)
			name[n++] = (char)toupper((unsigned char)*p);
		name[n] = '\0';
		row.name = name;
		row.arity = (int16_t)cfg_int(m.s, CFG_COMMAND_ARITY);
		m.bad = false;
		if (!row.arity)
			complain(&m, "arity: as Redis counts: with the name, and negative for at least so many");
		check_name(&m, x, name);
		read_flags(&m, &row);
		read_permission(&m, &row);
		read_keys(&m, &row);
		read_reply(&m, &row);
		read_retry(&m, &row);
		bad |= m.bad;
		if (m.bad)
			continue;
		made = cmd_declare(d, &row);
		if (!made || cmd_index_add(x, made)) {
			complain(&m, "there are as many declared commands as there can be since the agent started: restart it");
			bad = true;
		}
	}
	return bad ? -1 : 0;
}
