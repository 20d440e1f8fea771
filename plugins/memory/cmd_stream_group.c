/* SPDX-License-Identifier: Apache-2.0
 *
 * XGROUP, XACK, XPENDING.
 */
#include "cmd_stream.h"
#include "event.h"
#include "number.h"
#include "wait.h"

struct sgroup *arg_group(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p, int how,
    const char *text, int *wrong)
{
	struct sgroup *g = NULL;

	arg_find(cx, c, arg - 1, 0, p, how);
	*wrong = wrong_type(cx, c, p->it, TYPE_STREAM);
	if (*wrong)
		return NULL;
	if (p->it)
		g = stream_group(item_stream(p->it), c->argv[arg]);
	if (!g && text) {
		struct shown key = shown_key(c, arg - 1), name = shown_arg(c, arg);

		reply_errorf(cx, c, text, key.n, key.p, name.n, name.p);
	}
	return g;
}

/* ---- XGROUP ----------------------------------------------------------------------------------------------- */
void reply_bad_subcommand(struct ctx *cx, purser_call *c, const char *command)
{
	struct shown s = shown_arg(c, 1);

	reply_errorf(cx, c, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
	    s.n < 128 ? s.n : 128, s.p, command);
}

/* What is behind argv[4]: 0, or -1 with the error replied. */
static int group_options(struct ctx *cx, purser_call *c, int *make, int64_t *read)
{
	uint32_t i;

	*read = READ_UNKNOWN;
	for (i = 5; i < c->argc; i++) {
		if (make && arg_is(c->argv[i], "mkstream")) {
			*make = 1;
		} else if (arg_is(c->argv[i], "entriesread") && i + 1 < c->argc) {
			if (arg_int(cx, c, ++i, read))
				return -1;
			if (*read < 0 && *read != READ_UNKNOWN) {
				reply_error(cx, c, "ERR value for ENTRIESREAD must be positive or -1");
				return -1;
			}
		} else {
			reply_bad_subcommand(cx, c, "XGROUP");
			return -1;
		}
	}
	return 0;
}

/* The stream at argv[2], which has to be there unless it is made; 0, or -1 with the error replied. */
static int group_key(struct ctx *cx, purser_call *c, struct pos *p, int make)
{
	arg_find(cx, c, 2, 0, p, 0);
	if (wrong_type(cx, c, p->it, TYPE_STREAM))
		return -1;
	if (p->it || make)
		return 0;
	reply_error(cx, c, "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want "
	    "to use the MKSTREAM option to create an empty stream automatically.");
	return -1;
}

/* The group at argv[3] of an existing stream; NULL, with the error replied: there is none. */
static struct sgroup *group_there(struct ctx *cx, purser_call *c, struct pos *p)
{
	struct shown key, name;
	struct sgroup *g;

	if (group_key(cx, c, p, 0))
		return NULL;
	g = stream_group(item_stream(p->it), c->argv[3]);
	if (g)
		return g;
	key = shown_key(c, 2);
	name = shown_arg(c, 3);
	reply_errorf(cx, c, "NOGROUP No such consumer group '%.*s' for key name '%.*s'", name.n, name.p, key.n, key.p);
	return NULL;
}

void op_xgroup_create(struct ctx *cx, purser_call *c)
{
	int make = 0, made;
	struct stream *s;
	struct sid id = SID_MIN;
	int64_t read;
	struct pos p;

	if (group_options(cx, c, &make, &read) || group_key(cx, c, &p, make))
		return;
	if (c->argc > 8) {
		reply_bad_subcommand(cx, c, "XGROUP");
		return;
	}
	if (!arg_is(c->argv[4], "$")) {
		if (arg_sid(cx, c, 4, &id))
			return;
	} else if (p.it) {
		id = item_stream(p.it)->last;
	}
	if (p.it && stream_group(item_stream(p.it), c->argv[3])) {
		reply_error(cx, c, "BUSYGROUP Consumer Group name already exists");
		return;
	}
	s = stream_at_key(cx, &p, &made);
	if (!s || !group_new(cx, s, c->argv[3], id, read)) {
		if (s && made)
			stream_unmake(cx, c, 2, &p);
		reply_nomem(cx, c);
		return;
	}
	if (made)
		key_touched(cx, c->db, c->argv[2]);
	arg_told(cx, c, 2, EVENT_STREAM, "xgroup-create");
	reply_ok(cx, c);
}

void op_xgroup_setid(struct ctx *cx, purser_call *c)
{
	struct sgroup *g;
	struct sid id;
	int64_t read;
	struct pos p;

	if (group_options(cx, c, NULL, &read))
		return;
	g = group_there(cx, c, &p);
	if (!g)
		return;
	if (c->argc != 5 && c->argc != 7) {
		reply_bad_subcommand(cx, c, "XGROUP");
		return;
	}
	if (arg_is(c->argv[4], "$")) {
		id = item_stream(p.it)->last;
	} else if (sid_parse(c->argv[4], 0, 0, NULL, &id)) {
		reply_bad_sid(cx, c);
		return;
	}
	g->last = id;
	g->entries_read = read;
	arg_told(cx, c, 2, EVENT_STREAM, "xgroup-setid");
	reply_ok(cx, c);
}

void op_xgroup_destroy(struct ctx *cx, purser_call *c)
{
	struct sgroup *g;
	struct pos p;

	if (group_key(cx, c, &p, 0))
		return;
	g = stream_group(item_stream(p.it), c->argv[3]);
	if (g) {
		group_destroy(cx, item_stream(p.it), g);
		arg_told(cx, c, 2, EVENT_STREAM, "xgroup-destroy");
		wait_signal(cx, &p, WAIT_STREAM);
	}
	reply_int(cx, c, g != NULL);
}

void op_xgroup_createconsumer(struct ctx *cx, purser_call *c)
{
	struct sgroup *g;
	struct pos p;

	g = group_there(cx, c, &p);
	if (!g)
		return;
	if (group_consumer(g, c->argv[4])) {
		reply_int(cx, c, 0);
		return;
	}
	if (!consumer_new(cx, g, c->argv[4], (int64_t)now_ms(cx))) {
		reply_nomem(cx, c);
		return;
	}
	arg_told(cx, c, 2, EVENT_STREAM, "xgroup-createconsumer");
	reply_int(cx, c, 1);
}

void op_xgroup_delconsumer(struct ctx *cx, purser_call *c)
{
	struct sconsumer *k;
	struct sgroup *g;
	int64_t n = 0;
	struct pos p;

	g = group_there(cx, c, &p);
	if (!g)
		return;
	k = group_consumer(g, c->argv[4]);
	if (k) {
		n = (int64_t)k->pel.n;
		consumer_delete(cx, g, k);
		arg_told(cx, c, 2, EVENT_STREAM, "xgroup-delconsumer");
	}
	reply_int(cx, c, n);
}

void op_xgroup_help(struct ctx *cx, purser_call *c)
{
	static const char *const help[] = {
		"XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"CREATE <key> <groupname> <id|$> [option]",
		"    Create a new consumer group. Options are:",
		"    * MKSTREAM",
		"      Create the empty stream if it does not exist.",
		"    * ENTRIESREAD entries_read",
		"      Set the group's entries_read counter (internal use).",
		"CREATECONSUMER <key> <groupname> <consumer>",
		"    Create a new consumer in the specified group.",
		"DELCONSUMER <key> <groupname> <consumer>",
		"    Remove the specified consumer.",
		"DESTROY <key> <groupname>",
		"    Remove the specified group.",
		"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
		"    Set the current group ID and entries_read counter.",
		"HELP",
		"    Prints this help.",
	};

	reply_help(cx, c, help, sizeof(help) / sizeof(*help));
}

/* ---- XACK --------------------------------------------------------------------------------------------------- */
void op_xack(struct ctx *cx, purser_call *c)
{
	struct sgroup *g;
	struct sid id;
	struct pos p;
	int64_t n = 0;
	uint32_t i;
	int wrong;

	g = arg_group(cx, c, 2, &p, FIND_READ, NULL, &wrong);
	if (wrong)
		return;
	if (!g) {
		reply_int(cx, c, 0);
		return;
	}
	for (i = 3; i < c->argc; i++)
		if (arg_sid(cx, c, i, &id))
			return;
	for (i = 3; i < c->argc; i++) {
		sid_parse(c->argv[i], 1, 0, NULL, &id);
		n += group_ack(cx, g, id);
	}
	reply_int(cx, c, n);
}

/* ---- XPENDING ----------------------------------------------------------------------------------------------- */
static void pending_summary(struct ctx *cx, purser_call *c, const struct sgroup *g)
{
	char text[INT_TEXT];
	struct idpos at;
	uint32_t i;
	size_t n = 0;

	reply_array(cx, c, 4);
	reply_int(cx, c, (int64_t)g->pel.n);
	if (!g->pel.n) {
		reply_null(cx, c);
		reply_null(cx, c);
		reply_null_array(cx, c);
		return;
	}
	idtree_from(&g->pel, SID_MIN, &at);
	reply_sid(cx, c, idpos_id(&at));
	idtree_upto(&g->pel, SID_MAX, &at);
	reply_sid(cx, c, idpos_id(&at));
	for (i = 0; i < g->consumers.n; i++)
		n += ((struct sconsumer *)(void *)g->consumers.v[i])->pel.n > 0;
	reply_array(cx, c, n);
	for (i = 0; i < g->consumers.n; i++) {
		const struct sconsumer *k = (struct sconsumer *)(void *)g->consumers.v[i];

		if (!k->pel.n)
			continue;
		reply_array(cx, c, 2);
		reply_bulk(cx, c, k->named.name, k->named.len);
		reply_bulk(cx, c, text, int_format((int64_t)k->pel.n, text));
	}
}

struct pending { struct sid from, to; int64_t idle, count; int by_consumer; uint32_t consumer; };

/* [IDLE min] start end count [consumer]: 0, or -1 with the error replied. */
static int pending_options(struct ctx *cx, purser_call *c, struct pending *q)
{
	uint32_t i = 3;

	*q = (struct pending){ .idle = 0 };
	if (arg_is(c->argv[3], "idle")) {
		if (arg_int(cx, c, 4, &q->idle))
			return -1;
		if (c->argc < 8) {
			reply_error(cx, c, err_syntax);
			return -1;
		}
		i = 5;
	}
	if (arg_int(cx, c, i + 2, &q->count) || arg_from(cx, c, i, &q->from) || arg_upto(cx, c, i + 1, &q->to))
		return -1;
	q->by_consumer = i + 3 < c->argc;
	q->consumer = i + 3;
	return 0;
}

/* Calls for what is asked for; with `reply` it is replied, else counted only. */
static uint64_t pending_walk(struct ctx *cx, purser_call *c, const struct sgroup *g, const struct sconsumer *k,
    const struct pending *q, int reply)
{
	const struct idtree *t = k ? &k->pel : &g->pel;
	int64_t now = (int64_t)now_ms(cx), n = 0;
	struct idpos at;
	int more;

	for (more = idtree_from(t, q->from, &at); more && n < q->count; more = idpos_next(&at)) {
		struct sid id = idpos_id(&at);
		const struct nack *owed;

		if (sid_order(id, q->to) > 0)
			break;
		owed = k ? group_nack(g, id) : idpos_value(t, &at);
		if (q->idle && nack_age(owed, now) < q->idle)
			continue;
		n++;
		if (!reply)
			continue;
		reply_array(cx, c, 4);
		reply_sid(cx, c, id);
		reply_bulk(cx, c, owed->owner->named.name, owed->owner->named.len);
		reply_int(cx, c, nack_age(owed, now) > 0 ? nack_age(owed, now) : 0);
		reply_int(cx, c, (int64_t)owed->count);
	}
	return (uint64_t)n;
}

void op_xpending(struct ctx *cx, purser_call *c)
{
	const struct sconsumer *k = NULL;
	struct pending q;
	struct sgroup *g;
	struct pos p;
	int wrong;

	if (c->argc != 3 && (c->argc < 6 || c->argc > 9)) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (c->argc > 3 && pending_options(cx, c, &q))
		return;
	g = arg_group(cx, c, 2, &p, FIND_READ, err_no_group, &wrong);
	if (!g)
		return;
	if (c->argc == 3) {
		pending_summary(cx, c, g);
		return;
	}
	if (q.by_consumer) {
		k = group_consumer(g, c->argv[q.consumer]);
		if (!k) {
			reply_array(cx, c, 0);
			return;
		}
	}
	reply_array(cx, c, pending_walk(cx, c, g, k, &q, 0));
	pending_walk(cx, c, g, k, &q, 1);
}
