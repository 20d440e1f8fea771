/* SPDX-License-Identifier: Apache-2.0
 *
 * request_auth: who a client says that it is.  In: what it presents (AUTH, HELLO AUTH, Authorization: Bearer): a
 * token of the token file, a JWT, or nothing but itself.  Out: its identity, and the project and role that it
 * has with that; or a failure, which is counted, told to the audit and held back for a while.  Evidence ends
 * with its time, with the token's line in the file, with the issuer's key: then the client is who it was before.
 *
 * The owner's thread.
 */
#ifndef REQUEST_AUTH_H
#define REQUEST_AUTH_H
#include "request.h"

struct auth_offer {
	purser_bytes project;   /* p NULL: none is named */
	purser_bytes secret;    /* n 0, or "peer": by what the kernel says alone.  Wiped by auth_present() */
	bool per_request;       /* HTTP: without a project it may go on where it may enter several or none */
};
struct auth_answer {
	enum err_code err;      /* ERR_NONE: it is who it says */
	const char *text;       /* "WORD what happened", as RESP says it */
};
typedef void (*auth_done)(void *arg, const struct auth_answer *a);

/* done() is called once, now or later; until then nothing of the client may start. */
void auth_present(struct client *c, const struct auth_offer *o, auth_done done, void *arg);
bool auth_pending(const struct client *c);
/* It is what the kernel says it is and no more: RESET, and a request of HTTP that presents nothing. */
void auth_forget(struct client *c);
/* A reload: does what it presented hold in its new generation?  Before client_identified(). */
void auth_renew(struct client *c);
/* access_project() of another generation, for what it has presented. */
const struct project *auth_project(struct client *c, const struct generation *g, const void *name, size_t n,
    const struct role **role);
void auth_gone(struct client *c);       /* the socket is closed: what is under way is answered */
void auth_free(struct client *c);

/* ---- the audit (request_audit.c) ---- */
enum audit_kind { AUDIT_COMMAND, AUDIT_PROJECT, AUDIT_IDENTITY };
struct audit {
	enum audit_kind kind;
	const char *what;       /* the command, or how it presented itself */
	purser_bytes project;   /* that it asked for, as it spelled it; p NULL: none */
	const char *reason;     /* a word for the metric: permission, no_project, token_expired ... */
	const char *why;        /* a sentence for the operator; no secret, no key */
};
/* Somebody was denied something: a line of the log (rate-limited by who and why), and the metric. */
void audit_denied(struct client *c, const struct audit *a);
const char *identity_source_name(const struct identity *id); /* "nobody" "peer" "token" "jwt" */
#endif
