/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIENT LIST, INFO and KILL: the connections of the caller's project, on all workers, and nobody else's.
 * HTTP connections belong to no project between two requests, so they are not among them.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "base/buf.h"
#include "request_pubsub.h"
#include "request_tour.h"
#include "request_track.h"
#include "server/local.h"

enum type { ANY_TYPE, TYPE_NORMAL, TYPE_PUBSUB, TYPE_OTHER };

struct search {
	struct tour tour;             /* first */
	struct request *r;
	const char *project;          /* its name */
	enum type type;
	const uint64_t *ids;          /* LIST ID ...; NULL: all */
	uint32_t nids;
	uint64_t id;                  /* KILL; 0: any */
	purser_bytes addr, laddr;     /* p NULL: any */
	bool kill, old, skip_me;
	uint64_t killed;
	struct buf text;
};

static unsigned long long seconds(uint64_t from, uint64_t to, uint64_t unit)
{
	return to > from ? (to - from) / unit : 0;
}

/* One line, as Redis has it; what the agent does not know of a client is 0. */
static void put_client(struct buf *b, const struct client *cl, const struct command *cmd)
{
	const struct conn *c = (const struct conn *)cl;
	const struct outband *o = cl->outband;
	bool subscribed = pubsub_names(cl) != 0;
	char name[64] = "NULL";
	uint32_t queued;
	bool multi = tx_open(cl, &queued);

	if (cmd)
		cmd_lower(cmd, name, sizeof name);
	buf_printf(b, "id=%llu addr=unix:%u laddr=unix:0 fd=%d name=%s age=%llu idle=%llu flags=%s%s%s%s%sU db=%u "
	    "sub=%u psub=%u ssub=%u multi=%d qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 "
	    "oll=%u omem=%zu tot-mem=0 events=r cmd=%s user=%s redir=%lld resp=%u lib-name=%s lib-ver=%s\n",
	    (unsigned long long)cl->session.id, cl->id.peer.pid, c->io.fd, cl->name,
	    seconds(cl->since_ms, loop_wall_ms(cl->w->loop), 1000),
	    seconds(c->last_ns, loop_now(cl->w->loop), UINT64_C(1000000000)), o && o->monitor ? "O" : "",
	    subscribed ? "P" : "", multi ? "x" : "", client_waits(cl) ? "b" : "",
	    o && o->tracking ? "t" : "", cl->db, o ? o->channels : 0, o ? o->patterns : 0,
	    o ? o->shards : 0, multi ? (int)queued : -1, buf_len(&c->in), c->in.cap - buf_len(&c->in),
	    cl->out.bytes ? 1 : 0, cl->out.bytes, name, cl->project ? cl->project->name : "default",
	    o && o->tracking ? (long long)o->tracking->redirect : -1LL, cl->resp, cl->lib, cl->lib_version);
}

static void do_client_info(struct request *r)
{
	struct buf b = { 0 };

	put_client(&b, r->cl, r->cmd);
	local_text(r, &b);
}

/* ---- on each worker ---- */

static bool is_addr(const struct client *c, purser_bytes addr)
{
	char text[32];
	int n = snprintf(text, sizeof text, "unix:%u", c->id.peer.pid);

	return addr.n == (size_t)n && memcmp(addr.p, text, (size_t)n) == 0;
}

static bool chosen(const struct search *s, const struct client *c)
{
	bool listed = !s->ids;

	if (c->gone || (((const struct conn *)c)->proto == CONN_HTTP && !c->streams) || !c->project ||
	    strcmp(c->project->name, s->project))
		return false;
	for (uint32_t i = 0; i < s->nids && !listed; i++)
		listed = s->ids[i] == c->session.id;
	if (!listed || (s->id && s->id != c->session.id) || (s->skip_me && c == s->r->cl))
		return false;
	if (s->type != ANY_TYPE && s->type != (pubsub_names(c) ? TYPE_PUBSUB : TYPE_NORMAL))
		return false;
	return (!s->addr.p || is_addr(c, s->addr)) && (!s->laddr.p ||
	    (s->laddr.n == 6 && memcmp(s->laddr.p, "unix:0", 6) == 0));
}

static void visit(struct tour *t, struct worker *w)
{
	struct search *s = (struct search *)t;

	for (struct client *c = w->clients; c; c = c->next) {
		if (!chosen(s, c))
			continue;
		s->killed++;
		if (!s->kill) {
			put_client(&s->text, c, c == s->r->cl ? s->r->cmd : c->head ? c->head->cmd : NULL);
		} else {
			/* itself: behind the reply; a stream of events that is read: behind the event that says so */
			*(c == s->r->cl || (c->streams && !c->out.bytes) ? &c->quit : &c->cut) = true;
			c->wake(c);
		}
	}
}

static void answer(struct tour *t)
{
	struct search *s = (struct search *)t;
	struct request *r = s->r;

	if (!s->kill) {
		local_text(r, &s->text);
	} else if (!s->old) {
		reply_integer(&r->b, (int64_t)s->killed);
		req_finish(r);
	} else if (s->killed) {
		local_ok(r);
	} else {
		local_error(r, "ERR No such client");
	}
	buf_free(&s->text);
	free(s);
}

static struct search *begin(struct request *r)
{
	struct search *s = calloc(1, sizeof *s);

	if (!s) {
		local_failure(r, ERR_OOM, NULL);
		return NULL;
	}
	s->r = r;
	s->project = r->project->name;
	s->tour.visit = visit;
	s->tour.end = answer;
	return s;
}

static void refuse(struct search *s, const char *text)
{
	struct request *r = s->r;

	free(s);
	local_error(r, text);
}

/* ---- the words ---- */

static bool read_type(struct search *s, purser_bytes w)
{
	char text[160];

	if (word_is(w, "normal"))
		s->type = TYPE_NORMAL;
	else if (word_is(w, "pubsub"))
		s->type = TYPE_PUBSUB;
	else if (word_is(w, "master") || word_is(w, "replica") || word_is(w, "slave"))
		s->type = TYPE_OTHER;
	else {
		snprintf(text, sizeof text, "ERR Unknown client type '%.*s'", (int)(w.n < 100 ? w.n : 100),
		    (const char *)w.p);
		refuse(s, text);
		return false;
	}
	return true;
}

static bool read_ids(struct search *s)
{
	struct request *r = s->r;
	uint64_t *ids = arena_get(&r->arena, r->argc * sizeof *ids);

	if (!ids) {
		free(s);
		local_failure(r, ERR_OOM, NULL);
		return false;
	}
	for (uint32_t i = 3; i < r->argc; i++) {
		int64_t id;

		if (purser_resp_int(word(r, i).p, word(r, i).n, &id) || id < 1) {
			refuse(s, "ERR Invalid client ID");
			return false;
		}
		ids[s->nids++] = (uint64_t)id;
	}
	s->ids = ids;
	return true;
}

static void do_client_list(struct request *r)
{
	struct search *s = begin(r);

	if (!s)
		return;
	if (r->argc == 4 && word_is(word(r, 2), "TYPE")) {
		if (!read_type(s, word(r, 3)))
			return;
	} else if (r->argc > 3 && word_is(word(r, 2), "ID")) {
		if (!read_ids(s))
			return;
	} else if (r->argc != 2) {
		refuse(s, "ERR syntax error");
		return;
	}
	tour_start(&s->tour, r->cl->w);
}

/* One filter of KILL and its value.  False: refused. */
static bool read_filter(struct search *s, purser_bytes name, purser_bytes value)
{
	char text[160];
	int64_t id;

	if (word_is(name, "ID")) {
		if (purser_resp_int(value.p, value.n, &id) || id < 1) {
			refuse(s, "ERR client-id should be greater than 0");
			return false;
		}
		s->id = (uint64_t)id;
	} else if (word_is(name, "TYPE")) {
		return read_type(s, value);
	} else if (word_is(name, "ADDR")) {
		s->addr = value;
	} else if (word_is(name, "LADDR")) {
		s->laddr = value;
	} else if (word_is(name, "USER")) { /* a user is a project here, and there is no other than its own */
		if (value.n != strlen(s->project) || memcmp(value.p, s->project, value.n)) {
			snprintf(text, sizeof text, "ERR No such user '%.*s'", (int)(value.n < 100 ? value.n : 100),
			    (const char *)value.p);
			refuse(s, text);
			return false;
		}
	} else if (word_is(name, "SKIPME") && (word_is(value, "yes") || word_is(value, "no"))) {
		s->skip_me = word_is(value, "yes");
	} else {
		refuse(s, "ERR syntax error");
		return false;
	}
	return true;
}

static void do_client_kill(struct request *r)
{
	struct search *s = begin(r);

	if (!s)
		return;
	s->kill = true;
	if (r->argc == 3) {
		s->old = true;
		s->addr = word(r, 2);
	} else {
		s->skip_me = true;
		for (uint32_t i = 2; i < r->argc; i += 2) {
			if (i + 1 == r->argc) {
				refuse(s, "ERR syntax error");
				return;
			}
			if (!read_filter(s, word(r, i), word(r, i + 1)))
				return;
		}
	}
	tour_start(&s->tour, r->cl->w);
}

void local_client(req_handler *t)
{
	t[CMD_CLIENT_INFO] = do_client_info;
	t[CMD_CLIENT_LIST] = do_client_list;
	t[CMD_CLIENT_KILL] = do_client_kill;
}
