/* SPDX-License-Identifier: Apache-2.0
 *
 * A request took long: it is noted in its project's slow log, with the words that the client sent.
 */
#include <config.h>
#include <string.h>
#include "access/cursor.h"
#include "metric/slowlog.h"
#include "request_space.h"
#include "request_stage.h"

/* A word as it was before isolate: without the prefix, which stands in front or, of a keyspace pattern, is escaped. */
static purser_bytes logical(struct request *r, purser_bytes w)
{
	const struct project *p = r->project;
	size_t at = 0;

	for (uint32_t i = 0; i < p->prefix_len; i++, at++) {
		if (at < w.n && w.p[at] == '\\' && p->prefix[i] != '\\')
			at++;
		if (at >= w.n || w.p[at] != p->prefix[i])
			return w;
	}
	return (purser_bytes){ w.p + at, w.n - at };
}

/* Of a script its SHA1 would do, but that is not known of all; the words behind it tell which it was. */
static purser_bytes shown(struct request *r, uint32_t i, char *cursor)
{
	static const purser_bytes script = { (const uint8_t *)"(script)", 8 };
	static const purser_bytes redacted = { (const uint8_t *)"(redacted)", 10 };
	purser_bytes w = r->argv[i];
	uint64_t store;

	if (cmd_secret(r->cmd, r->argv, r->argc, i))
		return redacted;

	switch ((enum cmd_args)r->cmd->args) {
	case A_SCRIPT:
		if (i == 0 && r->cmd->more) /* EVAL may go as EVALSHA, and back */
			return (purser_bytes){ (const uint8_t *)r->cmd->name, r->cmd->name_len };
		return i == (r->cmd->id == CMD_SCRIPT_LOAD ? 2u : r->cmd->more ? 1u : 0u) ? script : w;
	case A_SCAN:
		if (i != 1 || cursor_number(w, &store))
			return logical(r, w);
		return (purser_bytes){ (const uint8_t *)cursor, space_cursor(r, store, cursor) };
	case A_PATTERN: case A_SORT: case A_CHANNEL:
		return logical(r, w);
	case A_COPY: case A_BLOCK: case A_NONE:
		break;
	}
	return w;
}

void slow_note(struct request *r, uint64_t ns)
{
	const struct client *cl = r->cl;
	purser_bytes words[SLOW_ARGS];
	char cursor[CURSOR_TEXT];
	struct slow_request q = { .unix_s = loop_wall_ms(cl->w->loop) / 1000, .us = ns / 1000,
		.event = r->cmd->flags & F_FAST ? SLOW_FAST_COMMAND : SLOW_COMMAND,
		.pid = cl->id.peer.pid, .uid = cl->id.peer.uid, .client = cl->name, .argv = words, .argc = script_words(r) };

	if (!cl->w->slow || (r->cmd->flags & F_NOSLOWLOG && !r->tx))
		return;
	for (uint32_t i = 0; i < q.argc && i < SLOW_ARGS; i++)
		words[i] = shown(r, i, cursor);
	slowlog_add(cl->w->slow, r->project->name, &q);
}
