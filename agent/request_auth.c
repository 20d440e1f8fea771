/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "request_auth.h"
#include "request_pubsub.h"
#include "request_stage.h"

enum { DOUBLINGS = 4 };                       /* the longest delay is 16 times the first */
#define LOOK_NS UINT64_C(10000000000)         /* wall clocks are set: no timer of an expiry sleeps longer */

/* Of a client that has presented something. */
struct auth {
	struct client *c;
	struct loop_timer held;         /* a failure is told then */
	struct loop_timer expiry;
	auth_done done;                 /* not NULL: somebody waits */
	void *arg;
	uint32_t failures;
	bool per_request;
	bool named;
	purser_bytes asked;             /* the project as it was spelled, in name */
	char name[PROJECT_NAME_MAX + 2];
	enum err_code err;
	char text[320];
};

static const char no_such[] = "WRONGPASS invalid username-password pair or user is disabled. The user name is a "
    "project's and the password a token, a JWT, or empty for what the kernel says of you: PURSER.WHOAMI shows that";
static const char subscribed[] = "ERR unsubscribe, and turn tracking off, before you choose another project: what "
    "this connection hears belongs to the one that it has";
static const char no_password[] = "ERR AUTH <password> called without any password configured for the default user. Are "
    "you sure your configuration is correct? Choose a project by its name instead: AUTH <project> <anything>, or "
    "PURSER.PROJECT <name>";
static const char too_often[] = "NOAUTH too many failed authentications: this connection is closed; connect again";

static struct auth *auth_of(struct client *c)
{
	if (!c->auth) {
		c->auth = calloc(1, sizeof *c->auth);
		if (c->auth)
			c->auth->c = c;
	}
	return c->auth;
}

static bool is(purser_bytes b, const char *text)
{
	return b.n == strlen(text) && memcmp(b.p, text, b.n) == 0;
}

bool auth_pending(const struct client *c)
{
	return c->auth && c->auth->done;
}

/* ---- the identity of a client ---- */

static uint64_t wall_ms(const struct client *c)
{
	return loop_wall_ms(c->w->loop);
}

static void watch_expiry(struct client *c);

/* What it presented is gone. */
static void bare(struct client *c)
{
	struct identity *id = &c->id;

	if (c->auth)
		loop_timer_stop(c->w->loop, &c->auth->expiry);
	id->source = peer_known(&id->peer) ? IDENTITY_PEER : IDENTITY_NOBODY;
	id->lapsed = 0;
	id->name[0] = '\0';
	explicit_bzero(id->token, sizeof id->token);
	id->expires_ms = 0;
	c->anonymous = id->source == IDENTITY_NOBODY;
}

void auth_forget(struct client *c)
{
	if (c->id.source <= IDENTITY_PEER && !c->id.lapsed)
		return;
	bare(c);
	client_identified(c);
}

static const char *lapse_reason(enum identity_lapsed why)
{
	return why == IDENTITY_EXPIRED ? "expired" : "revoked";
}

/* What it presented is no evidence any more. */
static void drop(struct client *c, enum identity_lapsed why)
{
	log_event(c->w->log, LOG_M_ACCESS, LOG_INFO, "access.lapsed", why == IDENTITY_EXPIRED ?
	    "what a connection authenticated with has expired" : "what a connection authenticated with was revoked",
	    LOG_STR("source", identity_source_name(&c->id)), LOG_STR("name", c->id.name),
	    LOG_STR("reason", lapse_reason(why)), LOG_UINT("client.id", c->session.id), LOG_KEY(c->id.name));
	metric_cell_add(metric_cell(c->w->metrics, METRIC_ACCESS_LAPSED, lapse_reason(why)), 1);
	bare(c);
	c->id.lapsed = (uint8_t)why;
}

static void expire(struct client *c)
{
	drop(c, IDENTITY_EXPIRED);
	client_identified(c); /* and what it hears, waits for and has queued is seen to */
}

static void look_at_expiry(struct loop_timer *t)
{
	struct auth *a = (struct auth *)((char *)t - offsetof(struct auth, expiry));
	struct client *c = a->c;

	if (c->id.expires_ms && wall_ms(c) >= c->id.expires_ms)
		expire(c);
	else
		watch_expiry(c);
}

static void watch_expiry(struct client *c)
{
	uint64_t left, now = wall_ms(c);
	struct auth *a = c->auth;

	if (!c->id.expires_ms)
		return;
	left = c->id.expires_ms > now ? (c->id.expires_ms - now) * 1000000 : 0;
	a->expiry.fn = look_at_expiry;
	if (loop_timer_set(c->w->loop, &a->expiry, loop_now(c->w->loop) + (left < LOOK_NS ? left : LOOK_NS)))
		expire(c); /* without a timer nobody would end it */
}

/* A timer runs for the time of a token that has one: the token of the file may have got another. */
void auth_renew(struct client *c)
{
	const struct token *t;

	if (c->id.source != IDENTITY_TOKEN)
		return;
	t = token_find(c->gen->tokens, c->id.token);
	if (!t || token_expired(t, wall_ms(c))) {
		drop(c, t ? IDENTITY_EXPIRED : IDENTITY_REVOKED);
		return;
	}
	snprintf(c->id.name, sizeof c->id.name, "%s", t->name);
	c->id.expires_ms = t->expires_ms;
	loop_timer_stop(c->w->loop, &c->auth->expiry);
	watch_expiry(c);
}

/* ---- the end of an attempt ---- */

static void answer(struct auth *a, enum err_code err, const char *text)
{
	struct auth_answer ans = { err, text };
	auth_done done = a->done;

	a->done = NULL;
	done(a->arg, &ans);
}

static void tell_failure(struct loop_timer *t)
{
	struct auth *a = (struct auth *)((char *)t - offsetof(struct auth, held));
	struct client *c = a->c;

	if (a->failures >= c->gen->auth_failures) {
		metric_cell_add(metric_cell(c->w->metrics, METRIC_CLIENTS_CUT, "authentication"), 1);
		answer(a, ERR_NOAUTH, too_often);
		c->quit = true;
	} else {
		answer(a, a->err, a->text);
	}
	c->wake(c);
}

/* Held back, longer each time: whoever guesses waits. */
static void fail(struct auth *a, const char *what, const char *reason, const char *why, const char *text)
{
	struct client *c = a->c;
	uint32_t doubled = a->failures < DOUBLINGS ? a->failures : DOUBLINGS;

	a->failures++;
	audit_denied(c, &(struct audit){ AUDIT_IDENTITY, what, a->asked, reason, why });
	a->err = ERR_NOAUTH;
	snprintf(a->text, sizeof a->text, "%s", text);
	a->held.fn = tell_failure;
	if (!c->gen->auth_delay_ns || loop_timer_set(c->w->loop, &a->held, loop_now(c->w->loop) +
	    (c->gen->auth_delay_ns << doubled)))
		tell_failure(&a->held);
}

/* Not guessed wrong, only not to be done so. */
static void refuse(struct auth *a, enum err_code err, const char *text)
{
	answer(a, err, text);
}

/* What a client hears belongs to its project: none other is chosen meanwhile. */
static bool stays(const struct client *c, const struct project *p)
{
	return (client_listens(c) || (c->outband && c->outband->tracking)) && c->project && c->project != p;
}

/* It is who it says: `with`, in p (NULL: where that is by itself). */
static void become(struct auth *a, const struct identity *with, const struct project *p)
{
	struct client *c = a->c;

	if (with != &c->id)
		c->id = *with;
	c->anonymous = c->id.source == IDENTITY_NOBODY;
	client_identified(c);
	if (p)
		client_choose(c, p->name, strlen(p->name));
	else
		client_leave(c);
	loop_timer_stop(c->w->loop, &a->expiry);
	watch_expiry(c);
	metric_cell_add(metric_cell(c->w->metrics, METRIC_AUTHENTICATIONS, identity_source_name(&c->id)), 1);
	answer(a, ERR_NONE, NULL);
}

/* ---- nothing is presented ---- */

/* The project that id has under the name that was given, or by itself if none was.  NULL with *several: it
 * must be named. */
static const struct project *meant(const struct auth *a, const struct identity *id, bool *several, bool *full)
{
	const struct access *x = &a->c->gen->access;
	const struct project *p = NULL;
	const struct role *role;

	*several = *full = false;
	if (a->named)
		return access_project(x, id, a->asked.p, a->asked.n, &role, full);
	*several = access_sole(x, id, &p, &role) == ACCESS_SEVERAL;
	return p;
}

static const char full_text[] = "NOPROJECT there are as many projects as max_projects of [project *] allows";

static void by_peer(struct auth *a)
{
	struct client *c = a->c;
	struct identity id = c->id;
	const struct project *p;
	bool several, full;

	id.source = peer_known(&id.peer) ? IDENTITY_PEER : IDENTITY_NOBODY;
	id.lapsed = 0;
	id.name[0] = '\0';
	memset(id.token, 0, sizeof id.token);
	id.expires_ms = 0;
	p = meant(a, &id, &several, &full);
	if ((p || several) && stays(c, p))
		refuse(a, ERR_REDIS, subscribed);
	else if (p || several)
		become(a, &id, p);
	else if (full)
		refuse(a, ERR_NOPROJECT, full_text);
	else
		fail(a, "AUTH without a token", "project", "there is no such project, or no rule lets this user in", no_such);
}

/* ---- a token of the token file ---- */

static void with_evidence(struct auth *a, const struct identity *id)
{
	struct client *c = a->c;
	bool several, full;
	const struct project *p = meant(a, id, &several, &full);

	/* Libraries that know a password and no user say "default": that is the token's project. */
	if (a->named && is(a->asked, "default") && (!p || !access_presents(&c->gen->access, id, p))) {
		a->named = false;
		p = meant(a, id, &several, &full);
	}
	if (!p && several && !a->per_request)
		refuse(a, ERR_NOPROJECT, "NOPROJECT this token is for several projects: name one: AUTH <project> <token>");
	else if (full)
		refuse(a, ERR_NOPROJECT, full_text);
	else if (p ? !access_presents(&c->gen->access, id, p) : !several)
		fail(a, "AUTH", "project", "the token is not for this project, or the project accepts no tokens, or there is no "
		    "such project", no_such);
	else if (stays(c, p))
		refuse(a, ERR_REDIS, subscribed);
	else
		become(a, id, p);
}

/* An open project of development takes any password, as Redis' nopass does; what it is then is the peer.  User
 * "default" means the one that the connection has by itself. */
static bool takes_any(const struct auth *a)
{
	const struct client *c = a->c;
	const struct project *p = a->named ? project_find(&c->gen->projects, a->asked.p, a->asked.n) : c->home;

	if (c->gen->production || a->per_request || !a->asked.p || !peer_known(&c->id.peer))
		return false;
	return p ? p->open : !a->named && c->choice == ACCESS_SEVERAL;
}

static void by_token(struct auth *a, const uint8_t digest[TOKEN_DIGEST])
{
	struct client *c = a->c;
	const struct token *t = token_find(c->gen->tokens, digest);
	struct identity id = c->id;

	if (!t) {
		if (takes_any(a))
			by_peer(a);
		else if (!a->asked.p && !a->per_request && !c->gen->tokens && !c->gen->jwt)
			refuse(a, ERR_REDIS, no_password);
		else
			fail(a, "AUTH", "token_unknown", "the token is none of the token file", no_such);
		return;
	}
	if (token_expired(t, wall_ms(c))) {
		snprintf(a->text, sizeof a->text, "the token %s has expired", t->name);
		fail(a, "AUTH", "token_expired", a->text, "WRONGPASS the token has expired: ask for another one "
		    "(purserctl token make)");
		return;
	}
	id.source = IDENTITY_TOKEN;
	id.lapsed = 0;
	memcpy(id.token, digest, TOKEN_DIGEST);
	snprintf(id.name, sizeof id.name, "%s", t->name);
	id.expires_ms = t->expires_ms;
	with_evidence(a, &id);
}

/* ---- what is presented ---- */

/* Nothing has changed since the last request of this connection? */
static bool known(const struct client *c, const struct auth *a, const uint8_t digest[TOKEN_DIGEST])
{
	return a->per_request && c->id.source == IDENTITY_TOKEN && !memcmp(c->id.token, digest, TOKEN_DIGEST) &&
	    !(c->id.expires_ms && wall_ms(c) >= c->id.expires_ms);
}

static void again(struct auth *a)
{
	struct client *c = a->c;

	if (!a->named)
		client_leave(c);
	if (!a->named || (c->project && is(a->asked, c->project->name)))
		answer(a, ERR_NONE, NULL);
	else
		with_evidence(a, &c->id);
}

void auth_present(struct client *c, const struct auth_offer *o, auth_done done, void *arg)
{
	struct auth *a = auth_of(c);
	uint8_t digest[TOKEN_DIGEST];
	bool none = !o->per_request && (!o->secret.n || is(o->secret, "peer")), failed;

	if (!a) {
		done(arg, &(struct auth_answer){ ERR_OOM, NULL });
		return;
	}
	a->done = done;
	a->arg = arg;
	a->per_request = o->per_request;
	a->asked.n = o->project.n < sizeof a->name ? o->project.n : sizeof a->name; /* a longer one is no project's either */
	a->asked.p = o->project.p ? memcpy(a->name, o->project.p, a->asked.n) : NULL;
	a->named = o->project.p && (!is(o->project, "default") || project_find(&c->gen->projects, "default", 7));
	failed = token_digest(o->secret.p, o->secret.n, digest) != 0;
	if (o->secret.n)
		explicit_bzero((void *)(uintptr_t)o->secret.p, o->secret.n); /* the agent's own input buffer */
	if (none)
		by_peer(a);
	else if (failed)
		refuse(a, ERR_INTERNAL, "ERR the digest of the token cannot be computed");
	else if (known(c, a, digest))
		again(a);
	else
		by_token(a, digest);
	explicit_bzero(digest, sizeof digest);
}

void auth_gone(struct client *c)
{
	struct auth *a = c->auth;

	if (!a)
		return;
	loop_timer_stop(c->w->loop, &a->held);
	loop_timer_stop(c->w->loop, &a->expiry);
	if (a->done)
		answer(a, ERR_NOAUTH, no_such);
}

void auth_free(struct client *c)
{
	bare(c);
	free(c->auth);
	c->auth = NULL;
}
