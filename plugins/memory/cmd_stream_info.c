/* SPDX-License-Identifier: Apache-2.0
 *
 * XINFO.
 */
#include "cmd_stream.h"
#include "number.h"

/* The stream at argv[2]; NULL with the error replied. */
static struct stream *stream_there(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (!arg_find(cx, c, 2, 0, &p, FIND_READ)) {
		reply_error(cx, c, err_no_key);
		return NULL;
	}
	return wrong_type(cx, c, p.it, TYPE_STREAM) ? NULL : item_stream(p.it);
}

static void field_int(struct ctx *cx, purser_call *c, const char *name, int64_t v)
{
	reply_text(cx, c, name);
	reply_int(cx, c, v);
}

static void field_known(struct ctx *cx, purser_call *c, const char *name, int known, int64_t v)
{
	reply_text(cx, c, name);
	if (known)
		reply_int(cx, c, v);
	else
		reply_null(cx, c);
}

/* What a group has read, and what is left of it. */
static void fields_progress(struct ctx *cx, purser_call *c, const struct stream *s, const struct sgroup *g)
{
	int64_t lag;
	int known = group_lag(s, g, &lag);

	field_known(cx, c, "entries-read", g->entries_read != READ_UNKNOWN, g->entries_read);
	field_known(cx, c, "lag", known, lag);
}

static void field_sid(struct ctx *cx, purser_call *c, const char *name, struct sid id)
{
	reply_text(cx, c, name);
	reply_sid(cx, c, id);
}

static void field_name(struct ctx *cx, purser_call *c, const struct named *d)
{
	reply_text(cx, c, "name");
	reply_bulk(cx, c, d->name, d->len);
}

/* ---- XINFO STREAM FULL ---------------------------------------------------------------------------------------- */
static uint64_t least(uint64_t n, uint64_t most) { return n < most ? n : most; }

static void full_pending(struct ctx *cx, purser_call *c, const struct sgroup *g, const struct sconsumer *k,
    uint64_t most)
{
	const struct idtree *t = k ? &k->pel : &g->pel;
	uint64_t n = least(t->n, most), i;
	struct idpos at;

	field_int(cx, c, "pel-count", (int64_t)t->n);
	reply_text(cx, c, "pending");
	reply_array(cx, c, n);
	for (i = 0; i < n; i++) {
		const struct nack *owed;

		if (i == 0)
			idtree_from(t, SID_MIN, &at);
		else
			idpos_next(&at);
		owed = group_nack(g, idpos_id(&at));
		reply_array(cx, c, k ? 3 : 4);
		reply_sid(cx, c, idpos_id(&at));
		if (!k)
			reply_bulk(cx, c, owed->owner->named.name, owed->owner->named.len);
		reply_int(cx, c, owed->ms);
		reply_int(cx, c, (int64_t)owed->count);
	}
}

static void full_group(struct ctx *cx, purser_call *c, const struct stream *s, const struct sgroup *g, uint64_t most)
{
	uint32_t i;

	cx->h->map(c, 7);
	field_name(cx, c, &g->named);
	field_sid(cx, c, "last-delivered-id", g->last);
	fields_progress(cx, c, s, g);
	full_pending(cx, c, g, NULL, most);
	reply_text(cx, c, "consumers");
	reply_array(cx, c, g->consumers.n);
	for (i = 0; i < g->consumers.n; i++) {
		const struct sconsumer *k = (struct sconsumer *)(void *)g->consumers.v[i];

		cx->h->map(c, 4);
		field_name(cx, c, &k->named);
		field_int(cx, c, "seen-time", k->seen_ms);
		full_pending(cx, c, g, k, most);
	}
}

/* Replies the name, and the first or last entry or null. */
static void field_edge(struct ctx *cx, purser_call *c, const char *name, const struct stream *s, int last)
{
	struct spos p;

	reply_text(cx, c, name);
	if (last ? stream_upto(s, SID_MAX, &p) : stream_from(s, SID_MIN, &p))
		reply_entry(cx, c, &p);
	else
		reply_null(cx, c);
}

void op_xinfo_stream(struct ctx *cx, purser_call *c)
{
	struct stream *s = stream_there(cx, c);
	int64_t count = 10;
	uint64_t most;
	uint32_t i;
	int full;

	if (!s)
		return;
	full = c->argc > 3;
	if (full && (!arg_is(c->argv[3], "full") || (c->argc != 4 && c->argc != 6) ||
	    (c->argc == 6 && !arg_is(c->argv[4], "count")))) {
		reply_bad_subcommand(cx, c, "XINFO");
		return;
	}
	if (c->argc == 6 && arg_int(cx, c, 5, &count))
		return;
	if (count < 0)
		count = 10;
	most = count ? (uint64_t)count : UINT64_MAX;
	cx->h->map(c, full ? 9 : 10);
	field_int(cx, c, "length", (int64_t)s->length);
	field_int(cx, c, "radix-tree-keys", (int64_t)s->blocks.n);
	field_int(cx, c, "radix-tree-nodes", (int64_t)stream_radix_nodes(s));
	field_sid(cx, c, "last-generated-id", s->last);
	field_sid(cx, c, "max-deleted-entry-id", s->max_deleted);
	field_int(cx, c, "entries-added", (int64_t)s->entries_added);
	field_sid(cx, c, "recorded-first-entry-id", s->first);
	if (!full) {
		field_int(cx, c, "groups", s->groups.n);
		field_edge(cx, c, "first-entry", s, 0);
		field_edge(cx, c, "last-entry", s, 1);
		return;
	}
	reply_text(cx, c, "entries");
	reply_entries(cx, c, s, SID_MIN, SID_MAX, most, 0);
	reply_text(cx, c, "groups");
	reply_array(cx, c, s->groups.n);
	for (i = 0; i < s->groups.n; i++)
		full_group(cx, c, s, (struct sgroup *)(void *)s->groups.v[i], most);
}

/* ---- the others --------------------------------------------------------------------------------------------------- */
void op_xinfo_groups(struct ctx *cx, purser_call *c)
{
	struct stream *s = stream_there(cx, c);
	uint32_t i;

	if (!s)
		return;
	reply_array(cx, c, s->groups.n);
	for (i = 0; i < s->groups.n; i++) {
		const struct sgroup *g = (struct sgroup *)(void *)s->groups.v[i];

		cx->h->map(c, 6);
		field_name(cx, c, &g->named);
		field_int(cx, c, "consumers", g->consumers.n);
		field_int(cx, c, "pending", (int64_t)g->pel.n);
		field_sid(cx, c, "last-delivered-id", g->last);
		fields_progress(cx, c, s, g);
	}
}

void op_xinfo_consumers(struct ctx *cx, purser_call *c)
{
	struct stream *s = stream_there(cx, c);
	int64_t now = (int64_t)now_ms(cx);
	struct sgroup *g;
	uint32_t i;

	if (!s)
		return;
	g = stream_group(s, c->argv[3]);
	if (!g) {
		struct shown name = shown_arg(c, 3), key = shown_key(c, 2);

		reply_errorf(cx, c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'", name.n, name.p, key.n,
		    key.p);
		return;
	}
	reply_array(cx, c, g->consumers.n);
	for (i = 0; i < g->consumers.n; i++) {
		const struct sconsumer *k = (struct sconsumer *)(void *)g->consumers.v[i];

		cx->h->map(c, 3);
		field_name(cx, c, &k->named);
		field_int(cx, c, "pending", (int64_t)k->pel.n);
		field_int(cx, c, "idle", now > k->seen_ms ? now - k->seen_ms : 0);
	}
}

void op_xinfo_help(struct ctx *cx, purser_call *c)
{
	static const char *const help[] = {
		"XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"CONSUMERS <key> <groupname>",
		"    Show consumers of <groupname>.",
		"GROUPS <key>",
		"    Show the stream consumer groups.",
		"STREAM <key> [FULL [COUNT <count>]",
		"    Show information about the stream.",
		"HELP",
		"    Prints this help.",
	};

	reply_help(cx, c, help, sizeof(help) / sizeof(*help));
}
