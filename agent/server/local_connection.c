/* SPDX-License-Identifier: Apache-2.0
 *
 * Connection state: SELECT, RESET, CLIENT and their like.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <purser/resp.h>
#include "request_auth.h"
#include "request_pubsub.h"
#include "request_track.h"
#include "request_feature.h"
#include "server/local.h"

bool word_is(purser_bytes w, const char *name)
{
	return w.n == strlen(name) && strncasecmp((const char *)w.p, name, w.n) == 0;
}

void local_error(struct request *r, const char *text)
{
	reply_error(&r->b, text, strlen(text));
	r->b.store_error = false;
	req_finish(r);
}

void local_failure(struct request *r, enum err_code code, const char *text)
{
	reply_failure(&r->b, code, text);
	req_finish(r);
}

void local_text(struct request *r, struct buf *b)
{
	if (b->failed) {
		local_failure(r, ERR_OOM, NULL);
	} else if (r->b.c.resp == 3) { /* a verbatim string, as Redis */
		char head[32] = "=";
		size_t n = 1 + dec_u64(head + 1, buf_len(b) + 4);

		memcpy(head + n, "\r\ntxt:", 6);
		reply_raw(&r->b, head, n + 6);
		if (buf_len(b))
			reply_raw(&r->b, buf_data(b), buf_len(b));
		reply_raw(&r->b, "\r\n", 2);
		req_finish(r);
	} else {
		reply_bulk(&r->b, buf_data(b), buf_len(b));
		req_finish(r);
	}
	buf_free(b);
}

void local_ok(struct request *r)
{
	reply_status(&r->b, "OK");
	req_finish(r);
}

static void do_ping(struct request *r)
{
	if (r->argc > 2) {
		local_error(r, "ERR wrong number of arguments for 'ping' command");
		return;
	}
	if (pubsub_names(r->cl) && r->cl->resp == 2) { /* looks like a message, as in Redis */
		reply_array(&r->b, 2);
		reply_text(&r->b, "pong");
		if (r->argc == 2)
			reply_bulk(&r->b, word(r, 1).p, word(r, 1).n);
		else
			reply_text(&r->b, "");
	} else if (r->argc == 2) {
		reply_bulk(&r->b, word(r, 1).p, word(r, 1).n);
	} else {
		reply_status(&r->b, "PONG");
	}
	req_finish(r);
}

static void do_echo(struct request *r)
{
	reply_bulk(&r->b, word(r, 1).p, word(r, 1).n);
	req_finish(r);
}

/* ---- names ---- */

void local_set_name(struct client *cl, purser_bytes name)
{
	size_t n = name.n < sizeof cl->name - 1 ? name.n : sizeof cl->name - 1;

	memcpy(cl->name, name.p, n);
	cl->name[n] = '\0';
}

bool local_name_ok(purser_bytes w)
{
	for (size_t i = 0; i < w.n; i++)
		if (w.p[i] < '!' || w.p[i] > '~')
			return false;
	return true;
}

static const char bad_name[] = "ERR Client names cannot contain spaces, newlines or special characters.";

static void do_select(struct request *r)
{
	struct client *cl = r->cl;
	purser_bytes w = word(r, 1);
	bool minus = w.n && w.p[0] == '-';
	int64_t db;

	/* as Redis reads integers: one form each */
	if (!w.n || w.p[0] == '+' || (w.n > 1 && w.p[minus] == '0') || purser_resp_int(w.p, w.n, &db)) {
		local_error(r, "ERR value is not an integer or out of range");
	} else if (db < INT32_MIN || db > INT32_MAX) {
		local_error(r, "ERR value is out of range, value must between -2147483648 and 2147483647");
	} else if (!cl->project) {
		local_failure(r, ERR_NOPROJECT, NULL);
	} else if (db < 0 || db >= (int64_t)cl->project->databases) {
		local_error(r, "ERR DB index is out of range");
	} else {
		cl->db = (uint16_t)db;
		local_ok(r);
	}
}

static void do_quit(struct request *r)
{
	r->cl->quit = true;
	local_ok(r);
}

static void do_reset(struct request *r)
{
	struct client *cl = r->cl;

	pubsub_leave(cl);
	monitor_leave(cl);
	track_end(cl);
	cl->resp = 2;
	r->b.c.resp = r->sink ? 3 : 2;
	cl->reply_mode = REPLY_ON;
	cl->topics = 0;
	cl->name[0] = '\0';
	tx_reset(cl);
	client_unbind(cl);
	unsaid_forget(cl);
	auth_forget(cl);
	client_leave(cl);
	reply_status(&r->b, "RESET");
	req_finish(r);
}

/* ---- CLIENT ---- */

static void do_client_id(struct request *r)
{
	reply_integer(&r->b, (int64_t)r->cl->session.id);
	req_finish(r);
}

static void do_client_getname(struct request *r)
{
	if (*r->cl->name)
		reply_text(&r->b, r->cl->name);
	else
		reply_null(&r->b);
	req_finish(r);
}

static void do_client_setname(struct request *r)
{
	if (!local_name_ok(word(r, 2))) {
		local_error(r, bad_name);
		return;
	}
	local_set_name(r->cl, word(r, 2));
	local_ok(r);
}

static void do_client_setinfo(struct request *r)
{
	struct client *cl = r->cl;
	bool name = word_is(word(r, 2), "LIB-NAME");

	if (!name && !word_is(word(r, 2), "LIB-VER")) {
		local_error(r, "ERR Unrecognized option");
		return;
	}
	if (!local_name_ok(word(r, 3))) {
		local_error(r, "ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.");
		return;
	}
	snprintf(name ? cl->lib : cl->lib_version, name ? sizeof cl->lib : sizeof cl->lib_version, "%.*s",
	    (int)(word(r, 3).n < 64 ? word(r, 3).n : 64), (const char *)word(r, 3).p);
	local_ok(r);
}

static void do_client_noevict(struct request *r)
{
	if (word_is(word(r, 2), "ON") || word_is(word(r, 2), "OFF"))
		local_ok(r);
	else
		local_error(r, "ERR syntax error");
}

static void do_client_reply(struct request *r)
{
	struct client *cl = r->cl;

	if (word_is(word(r, 2), "ON")) {
		cl->reply_mode = REPLY_ON;
		r->b.discard = false;
		local_ok(r);
	} else if (word_is(word(r, 2), "OFF")) {
		cl->reply_mode = REPLY_OFF;
		r->b.discard = true;
		req_finish(r);
	} else if (word_is(word(r, 2), "SKIP")) {
		if (cl->reply_mode != REPLY_OFF)
			cl->reply_mode = REPLY_SKIP;
		r->b.discard = true;
		req_finish(r);
	} else {
		local_error(r, "ERR syntax error");
	}
}

void local_connection(req_handler *t)
{
	t[CMD_PING] = do_ping;
	t[CMD_ECHO] = do_echo;
	t[CMD_SELECT] = do_select;
	t[CMD_QUIT] = do_quit;
	t[CMD_RESET] = do_reset;
	t[CMD_CLIENT_ID] = do_client_id;
	t[CMD_CLIENT_GETNAME] = do_client_getname;
	t[CMD_CLIENT_SETNAME] = do_client_setname;
	t[CMD_CLIENT_SETINFO] = do_client_setinfo;
	t[CMD_CLIENT_NO_EVICT] = do_client_noevict;
	t[CMD_CLIENT_REPLY] = do_client_reply;
}
