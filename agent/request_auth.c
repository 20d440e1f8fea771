/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/attempts.h"
#include "access/jwt.h"
#include "request_auth.h"
#include "request_pubsub.h"
#include "request_stage.h"

enum { DOUBLINGS = 4 };                       /* the longest delay is 16 times the first */
enum { OWNER_FAILURES = 4 };                  /* times auth_failures: from then on one ends a connection */
#define LOOK_NS UINT64_C(10000000000)         /* wall clocks are set: no timer of an expiry sleeps longer */

/* Of a client that has presented something. */
struct auth {
	struct client *c;
	struct loop_timer held;         /* a failure is told then */
	struct loop_timer expiry;
	struct jwt_check *check;        /* a JWT is being verified */
	auth_done done;                 /* not NULL: somebody waits */
	void *arg;
	uint32_t failures, of_owner;    /* on this connection; and on others of its user too, of late */
	bool per_request;
	bool named;
	purser_bytes asked;             /* the project as it was spelled, in name */
	char name[PROJECT_NAME_MAX + 2];
	enum err_code err;
	char text[320];
};

static const char no_such[] = "WRONGPASS invalid username-password pair or user is disabled. The user name is a "
    "project's and the password a token, a JWT, or empty for what the kernel says of you: PURSER.WHOAMI shows that";
static const char no_bearer[] = "NOAUTH the bearer token is none that is good here: it is unknown, was revoked, or is for "
    "another project than the one in the header Purser-Project; purserctl token list shows operators those that there are";
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

/* The identity becomes `with`, which brings what it refers to. */
static void put_on(struct client *c, const struct identity *with)
{
	struct identity *id = &c->id;

	if (id->jwt != with->jwt)
		jwt_claims_unref(id->jwt);
	*id = *with;
}

/* What the kernel says, and no more. */
static struct identity peer_of(const struct client *c)
{
	struct identity id = { .source = peer_known(&c->id.peer) ? IDENTITY_PEER : IDENTITY_NOBODY, .peer = c->id.peer };

	return id;
}

/* What it presented is gone. */
static void bare(struct client *c)
{
	struct identity id = peer_of(c);

	if (c->auth)
		loop_timer_stop(c->w->loop, &c->auth->expiry);
	put_on(c, &id);
	c->anonymous = id.source == IDENTITY_NOBODY;
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

static void end(struct client *c, enum identity_lapsed why)
{
	drop(c, why);
	client_identified(c); /* and what it hears, waits for and has queued is seen to */
}

static void look_at_expiry(struct loop_timer *t)
{
	struct auth *a = (struct auth *)((char *)t - offsetof(struct auth, expiry));
	struct client *c = a->c;

	if (c->id.expires_ms && wall_ms(c) >= c->id.expires_ms)
		end(c, IDENTITY_EXPIRED);
	else if (c->id.jwt && jwt_claims_state(c->id.jwt, wall_ms(c)) != JWT_OK)
		end(c, IDENTITY_REVOKED); /* the issuer has taken its key back */
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
		end(c, IDENTITY_EXPIRED); /* without a timer nobody would end it */
}

static void renew_claims(struct client *c)
{
	struct identity id = c->id;
	enum jwt_reason why = jwt_again(c->gen->jwt, c->id.jwt, wall_ms(c), &id.jwt);

	if (why != JWT_OK) {
		drop(c, why == JWT_EXPIRED ? IDENTITY_EXPIRED : IDENTITY_REVOKED);
		return;
	}
	id.expires_ms = id.jwt->expires_ms;
	if (id.jwt == c->id.jwt)
		jwt_claims_unref(id.jwt); /* it has its reference already */
	put_on(c, &id);
	loop_timer_stop(c->w->loop, &c->auth->expiry);
	watch_expiry(c);
}

/* A timer runs for the time of a token that has one: the token of the file may have got another. */
void auth_renew(struct client *c)
{
	const struct token *t;

	if (c->id.source == IDENTITY_JWT)
		renew_claims(c);
	if (c->id.source != IDENTITY_TOKEN)
		return;
	t = token_find(c->gen->tokens, c->id.token);
	if (!t || token_expired(t, wall_ms(c))) {
		drop(c, t ? IDENTITY_EXPIRED : IDENTITY_REVOKED);
		return;
	}
	snprintf(c->id.name, sizeof c->id.name, "%s", t->name);
	c->id.expires_ms = t->expires_ms;
	c->id.token_at = (uint32_t)(t - c->gen->tokens->v);
	loop_timer_stop(c->w->loop, &c->auth->expiry);
	watch_expiry(c);
}

const struct project *auth_project(struct client *c, const struct generation *g, const void *name, size_t n,
    const struct role **role)
{
	struct identity id = c->id;
	struct jwt_claims *claims = NULL;
	const struct project *p;

	if (id.source == IDENTITY_JWT && jwt_again(g->jwt, id.jwt, wall_ms(c), &claims) == JWT_OK)
		id.jwt = claims;
	p = access_project(&g->access, &id, name, n, role, NULL);
	if (claims)
		jwt_claims_unref(claims);
	return p;
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

	if (a->failures >= c->gen->auth_failures || a->of_owner > OWNER_FAILURES * c->gen->auth_failures) {
		metric_cell_add(metric_cell(c->w->metrics, METRIC_CLIENTS_CUT, "authentication"), 1);
		answer(a, ERR_NOAUTH, too_often);
		c->quit = true;
	} else {
		answer(a, a->err, a->text);
	}
	c->wake(c);
}

/* How often the delay is doubled: one who guesses on many connections waits as if it were one. */
static uint32_t doublings(struct auth *a)
{
	uint32_t n = a->failures;

	a->of_owner = attempts_failed(a->c->w->attempts, peer_owner(&a->c->id.peer), loop_now(a->c->w->loop));
	if (a->of_owner > a->c->gen->auth_failures && n < a->of_owner - a->c->gen->auth_failures)
		n = a->of_owner - a->c->gen->auth_failures;
	return n < DOUBLINGS ? n : DOUBLINGS;
}

/* Held back, longer each time: whoever guesses waits. */
static void fail(struct auth *a, const char *what, const char *reason, const char *why, const char *text)
{
	struct client *c = a->c;
	uint32_t doubled = doublings(a);

	a->failures++;
	audit_denied(c, &(struct audit){ AUDIT_IDENTITY, what, a->asked, reason, why });
	a->err = ERR_NOAUTH;
	snprintf(a->text, sizeof a->text, "%s", a->per_request && text == no_such ? no_bearer : text);
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
		put_on(c, with);
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
	struct identity id = peer_of(c);
	const struct project *p;
	bool several, full;

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
	struct identity id = peer_of(c);

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
	memcpy(id.token, digest, TOKEN_DIGEST);
	id.token_at = (uint32_t)(t - c->gen->tokens->v);
	snprintf(id.name, sizeof id.name, "%s", t->name);
	id.expires_ms = t->expires_ms;
	with_evidence(a, &id);
}

/* ---- again, as HTTP presents it ---- */

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

/* ---- a JWT ---- */

/* One reference of the claims is ours. */
static void with_claims(struct auth *a, struct jwt_claims *claims)
{
	struct client *c = a->c;
	struct identity id = peer_of(c);
	bool same = c->id.jwt == claims;

	if (same && a->per_request) {
		jwt_claims_unref(claims);
		again(a);
		return;
	}
	id.source = IDENTITY_JWT;
	id.jwt = claims;
	snprintf(id.name, sizeof id.name, "%.64s", *claims->subject ? claims->subject : claims->client);
	id.expires_ms = claims->expires_ms;
	with_evidence(a, &id);
	if (same || c->id.jwt != claims) /* it has its reference already, or did not become that */
		jwt_claims_unref(claims);
}

static void verified(struct auth *a, enum jwt_reason reason, struct jwt_claims *claims)
{
	if (reason == JWT_OK)
		with_claims(a, claims);
	else if (jwt_reason_passes(reason))
		refuse(a, ERR_BACKENDDOWN, "BACKENDDOWN the token cannot be verified at the moment: try again; PURSER.STATUS tells "
		    "operators of the issuer's keys");
	else
		fail(a, "AUTH with a JWT", jwt_reason_name(reason), jwt_reason_text(reason), reason == JWT_EXPIRED ?
		    "WRONGPASS the token has expired: ask its issuer for another one" : no_such);
}

/* The client may be in another generation by now: HTTP, which has no request while it waits. */
static void verified_late(void *arg, const struct jwt_answer *ans)
{
	struct auth *a = arg;
	struct jwt_claims *claims = ans->claims;
	enum jwt_reason reason = ans->reason;

	a->check = NULL;
	if (reason == JWT_OK) {
		reason = jwt_again(a->c->gen->jwt, ans->claims, wall_ms(a->c), &claims);
		jwt_claims_unref(ans->claims);
	}
	verified(a, reason, claims);
}

/* ---- what is presented ---- */

/* Nothing has changed since the last request of this connection? */
static bool known(const struct client *c, const struct auth *a, const uint8_t digest[TOKEN_DIGEST])
{
	return a->per_request && c->id.source == IDENTITY_TOKEN && token_same(c->id.token, digest) &&
	    !(c->id.expires_ms && wall_ms(c) >= c->id.expires_ms);
}

/* A token of the file may look like anything: what is in it is none of an issuer's. */
static bool is_jwt(const struct client *c, purser_bytes secret, const uint8_t digest[TOKEN_DIGEST])
{
	return c->gen->jwt && jwt_looks_like(secret.p, secret.n) && !token_find(c->gen->tokens, digest);
}

static void begin(struct auth *a, const struct auth_offer *o, auth_done done, void *arg)
{
	a->done = done;
	a->arg = arg;
	a->per_request = o->per_request;
	a->asked.n = o->project.n < sizeof a->name ? o->project.n : sizeof a->name; /* a longer one is no project's either */
	a->asked.p = o->project.p ? memcpy(a->name, o->project.p, a->asked.n) : NULL;
	a->named = o->project.p && (!is(o->project, "default") || project_find(&a->c->gen->projects, "default", 7));
}

void auth_present(struct client *c, const struct auth_offer *o, auth_done done, void *arg)
{
	struct auth *a = auth_of(c);
	struct jwt_claims *claims = NULL;
	uint8_t digest[TOKEN_DIGEST];
	bool none = !o->per_request && (!o->secret.n || is(o->secret, "peer")), failed, jwt, seen;
	enum jwt_reason reason = JWT_PENDING;

	if (!a) {
		done(arg, &(struct auth_answer){ ERR_OOM, NULL });
		return;
	}
	begin(a, o, done, arg);
	failed = token_digest(o->secret.p, o->secret.n, digest) != 0;
	seen = !none && !failed && known(c, a, digest);
	jwt = !none && !failed && !seen && is_jwt(c, o->secret, digest);
	if (jwt)
		reason = jwt_verify(c->w->jwt, c->gen->jwt, o->secret.p, o->secret.n, peer_owner(&c->id.peer),
		    verified_late, a, &claims, &a->check);
	if (o->secret.n) /* the agent's own input buffer; behind done() it may be gone */
		explicit_bzero((void *)(uintptr_t)o->secret.p, o->secret.n);
	if (none)
		by_peer(a);
	else if (failed)
		refuse(a, ERR_INTERNAL, "ERR the digest of the token cannot be computed");
	else if (seen)
		again(a);
	else if (!jwt)
		by_token(a, digest);
	else if (reason != JWT_PENDING)
		verified(a, reason, claims);
	explicit_bzero(digest, sizeof digest);
}

void auth_gone(struct client *c)
{
	struct auth *a = c->auth;

	if (!a)
		return;
	loop_timer_stop(c->w->loop, &a->held);
	loop_timer_stop(c->w->loop, &a->expiry);
	if (a->check)
		jwt_cancel(a->check);
	a->check = NULL;
	if (a->done)
		answer(a, ERR_NOAUTH, no_such);
}

void auth_free(struct client *c)
{
	bare(c);
	free(c->auth);
	c->auth = NULL;
}
