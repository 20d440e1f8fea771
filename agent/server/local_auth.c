/* SPDX-License-Identifier: Apache-2.0
 *
 * Who somebody is: AUTH, HELLO, PURSER.PROJECT, PURSER.WHOAMI.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include <purser/resp.h>
#include "request_auth.h"
#include "request_pubsub.h"
#include "resp/json_text.h"
#include "server/local.h"

#define REDIS_VERSION "7.0.15" /* whose semantics are served; clients choose features by it */

/* ---- AUTH, HELLO ---- */

/* What is to be done when it is known who it is. */
struct login {
	struct request *r;
	bool hello;
	uint8_t resp;
	bool named;
	char name[64];          /* SETNAME */
};

static void greet(struct request *r)
{
	struct client *cl = r->cl;

	reply_map(&r->b, 7);
	reply_text(&r->b, "server");
	reply_text(&r->b, "redis");
	reply_text(&r->b, "version");
	reply_text(&r->b, REDIS_VERSION);
	reply_text(&r->b, "proto");
	reply_integer(&r->b, cl->resp);
	reply_text(&r->b, "id");
	reply_integer(&r->b, (int64_t)cl->session.id);
	reply_text(&r->b, "mode");
	reply_text(&r->b, "standalone");
	reply_text(&r->b, "role");
	reply_text(&r->b, "master");
	reply_text(&r->b, "modules");
	reply_array(&r->b, 0);
	req_finish(r);
}

static void say(struct request *r, const struct auth_answer *a)
{
	if (a->text)
		local_error(r, a->text);
	else
		local_failure(r, a->err, NULL);
}

static void hello(struct login *l)
{
	struct request *r = l->r;

	if (l->named)
		local_set_name(r->cl, (purser_bytes){ (const uint8_t *)l->name, strlen(l->name) });
	if (!r->sink) {
		r->cl->resp = l->resp;
		r->b.c.resp = l->resp;
	}
	greet(r);
}

/* It may enter, but the project has no room for it. */
static bool turned_away(struct request *r)
{
	char text[256];

	if (!r->cl->turned_away)
		return false;
	local_failure(r, ERR_RATELIMITED, limit_full(r->cl, text, sizeof text));
	return true;
}

static void authenticated(void *arg, const struct auth_answer *a)
{
	struct login *l = arg;

	if (a->err)
		say(l->r, a);
	else if (turned_away(l->r))
		return;
	else if (l->hello)
		hello(l);
	else
		local_ok(l->r);
}

/* On HTTP a request says who it is by its head, each anew. */
static bool by_http(struct request *r)
{
	if (r->sink)
		local_failure(r, ERR_BADREQUEST, "HTTP authenticates by Authorization: Bearer <token> and chooses by Purser-Project");
	return r->sink;
}

/* Nothing behind it starts before it is known what it may. */
static void login(struct login *l, purser_bytes project, purser_bytes secret)
{
	struct auth_offer o = { .project = project, .secret = secret };

	l->r->cl->alone = l->r;
	auth_present(l->r->cl, &o, authenticated, l);
}

static void do_auth(struct request *r)
{
	struct login *l;

	if (r->argc > 3) {
		local_error(r, "ERR syntax error");
		return;
	}
	if (by_http(r))
		return;
	l = arena_get(&r->arena, sizeof *l);
	if (!l) {
		local_failure(r, ERR_OOM, NULL);
		return;
	}
	*l = (struct login){ .r = r };
	login(l, r->argc == 3 ? word(r, 1) : (purser_bytes){ NULL, 0 }, word(r, r->argc - 1));
}

static void do_hello(struct request *r)
{
	int64_t ver = r->cl->resp;
	purser_bytes user = { NULL, 0 }, secret = { NULL, 0 }, name = { NULL, 0 };
	struct login *l = arena_get(&r->arena, sizeof *l);
	char text[160];
	uint32_t i;

	if (!l) {
		local_failure(r, ERR_OOM, NULL);
		return;
	}
	if (r->argc > 1 && (purser_resp_int(word(r, 1).p, word(r, 1).n, &ver))) {
		local_error(r, "ERR Protocol version is not an integer or out of range");
		return;
	}
	if (ver != 2 && ver != 3) {
		local_error(r, "NOPROTO unsupported protocol version");
		return;
	}
	for (i = 2; i < r->argc; i++) {
		if (word_is(word(r, i), "AUTH") && i + 2 < r->argc) {
			user = word(r, i + 1);
			secret = word(r, i + 2);
			i += 2;
		} else if (word_is(word(r, i), "SETNAME") && i + 1 < r->argc) {
			name = word(r, ++i);
		} else {
			snprintf(text, sizeof text, "ERR Syntax error in HELLO option '%.*s'",
			    (int)(word(r, i).n < 64 ? word(r, i).n : 64), (const char *)word(r, i).p);
			local_error(r, text);
			return;
		}
	}
	if (name.p && !local_name_ok(name)) {
		local_error(r, "ERR Client names cannot contain spaces, newlines or special characters.");
		return;
	}
	*l = (struct login){ .r = r, .hello = true, .resp = (uint8_t)ver, .named = name.p != NULL };
	memcpy(l->name, name.n ? name.p : (const uint8_t *)"", name.n < sizeof l->name ? name.n : sizeof l->name - 1);
	if (!user.p)
		hello(l);
	else if (!by_http(r))
		login(l, user, secret);
}

/* ---- PURSER.PROJECT ---- */

static void do_project(struct request *r)
{
	struct client *cl = r->cl;
	purser_bytes name = word(r, 1);
	const struct project *p = project_find(&cl->gen->projects, name.p, name.n);

	if (by_http(r))
		return;
	if ((client_listens(cl) || (cl->outband && cl->outband->tracking)) && cl->project && p != cl->project) {
		local_error(r, "ERR unsubscribe, and turn tracking off, before you choose another project: what this "
		    "connection hears belongs to the one that it has");
		return;
	}
	if (client_choose(cl, name.p, name.n)) {
		cl->id.lapsed = 0;
		if (!turned_away(r))
			local_ok(r);
		return;
	}
	if (cl->crowded) {
		local_failure(r, ERR_NOPROJECT, "there are as many projects as max_projects of [project *] allows");
		return;
	}
	audit_denied(cl, &(struct audit){ AUDIT_PROJECT, "PURSER.PROJECT", name, p ? "project" : "no_project",
	    p ? "no rule lets this caller into the project" : "there is no such project" });
	local_failure(r, ERR_NOPROJECT, project_name_ok(name.p, name.n) ? "there is no project of that name that you may "
	    "enter: AUTH <project> <token>, add a [project NAME] section or a rule to it, or see PURSER.WHOAMI" :
	    "there is no project of that name: a name is 1 to 64 of a-z 0-9 . _ -");
}

/* ---- PURSER.WHOAMI ---- */

static void put_text(struct buf *b, const char *key, const char *text)
{
	buf_printf(b, "%s\"%s\":", buf_len(b) > 1 ? "," : "", key);
	json_put_text(b, text, strlen(text));
}

/* What the kernel says. */
static void put_peer(struct buf *b, const struct client *cl)
{
	const struct conn *c = (const struct conn *)cl;
	const struct peer *p = &cl->id.peer;
	char path[4096];

	if (!peer_known(p))
		return;
	buf_printf(b, ",\"pid\":%u,\"uid\":%u,\"gid\":%u,\"groups\":[", p->pid, p->uid, p->gid);
	for (uint32_t i = 0; i < p->ngroups; i++)
		buf_printf(b, "%s%u", i ? "," : "", p->groups[i]);
	buf_putc(b, ']');
	if (peer_executable(c->io.fd, p->pid, c->accepted_ns, path, sizeof path))
		put_text(b, "executable", path); /* for display: it decides nothing */
}

static void put_rights(struct buf *b, const struct client *cl)
{
	const struct role *role = cl->role;
	bool first = true;

	put_text(b, "role", role->name);
	buf_puts(b, ",\"permissions\":[");
	for (int p = PERM_ANY + 1; p <= PERM_OPERATE; p++) {
		if (!(role->perms & PERM_BIT(p)))
			continue;
		buf_printf(b, "%s\"%s\"", first ? "" : ",", cmd_perm_name((enum cmd_perm)p));
		first = false;
	}
	buf_printf(b, "],\"narrowed_by\":[%s%s%s]", role->by_key ? "\"keys\"" : "",
	    role->by_key && role->by_command ? "," : "", role->by_command ? "\"commands\"" : "");
}

static void put_evidence(struct buf *b, const struct client *cl)
{
	const struct identity *id = &cl->id;
	char when[24];

	put_text(b, "source", identity_source_name(id));
	if (*id->name)
		put_text(b, "identity", id->name);
	if (id->lapsed)
		put_text(b, "lapsed", id->lapsed == IDENTITY_EXPIRED ? "expired" : "revoked");
	token_time_text(id->expires_ms, when);
	if (id->expires_ms)
		put_text(b, "expires", when);
}

static void do_whoami(struct request *r)
{
	struct client *cl = r->cl;
	const struct agent_ops *ops = cl->w->agent;
	struct buf b = { .max = 65536 };
	char outside[256];

	buf_printf(&b, "{\"client_id\":%llu", (unsigned long long)cl->session.id);
	put_text(&b, "protocol", r->sink ? "http" : cl->resp == 3 ? "resp3" : "resp2");
	put_evidence(&b, cl);
	put_peer(&b, cl);
	put_text(&b, "name", cl->name);
	put_text(&b, "mode", cl->gen->production ? "production" : "development");
	if (!cl->project) {
		buf_puts(&b, ",\"project\":null");
		put_text(&b, "next_step", err_rows[ERR_NOPROJECT].text);
	} else {
		struct purser_instance *in = cl->gen->instances[cl->project->instance];

		put_text(&b, "project", cl->project->name);
		put_rights(&b, cl);
		put_text(&b, "isolation", project_isolated(cl->project) ? "on" : "off");
		buf_printf(&b, ",\"db\":%u,\"databases\":%u", cl->db, cl->project->databases);
		put_text(&b, "backend", in->name);
		put_text(&b, "plugin", in->p->name);
		if (ops->outside(ops->arg, cl->project, outside, sizeof outside))
			put_text(&b, "outside", outside);
	}
	buf_puts(&b, "}");
	local_text(r, &b);
}

void local_auth(req_handler *t)
{
	t[CMD_HELLO] = do_hello;
	t[CMD_AUTH] = do_auth;
	t[CMD_PURSER_PROJECT] = do_project;
	t[CMD_PURSER_WHOAMI] = do_whoami;
}
