/* SPDX-License-Identifier: Apache-2.0
 *
 * access/jwt: who a JSON Web Token says that somebody is.  In: the bytes of a token.  Out: its
 * claims, once its signature and all that it claims are good, or the reason why it is refused
 * (jwt_reasons.def).
 *
 * A token that this worker has seen before and that is still good costs its SHA-256 and a look into
 * the worker's own table: no lock, no allocation, no other thread.  Any other is verified on a thread
 * for that (jwt_service), which also fetches the keys of the issuers: no worker ever computes a
 * public-key operation or waits for a key.
 *
 *   struct jwt_policy   what the [jwt NAME] sections say; immutable, one a generation
 *   struct jwt_service  the thread, the issuers' keys; one an agent, over all generations
 *   struct jwt_worker   the table of one worker, and what it waits for
 *   struct jwt_claims   what a token said; immutable, counted, any thread
 *
 * Claims belong to the policy that they were verified by.  After a reload jwt_again() works out what
 * they allow now.  Nothing here keeps a token: only its SHA-256.
 */
#ifndef ACCESS_JWT_H
#define ACCESS_JWT_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfg;
struct buf;
struct log;
struct loop;
struct metric_reg;
struct jwt_key;
struct jwt_policy;
struct jwt_service;
struct jwt_worker;
struct jwt_check;

enum jwt_reason {
	JWT_OK = 0,
	JWT_PENDING,             /* done() will say */
#define JWT_REASON(id, name, text) JWT_##id,
#include "access/jwt_reasons.def"
#undef JWT_REASON
	JWT_REASONS
};
const char *jwt_reason_name(enum jwt_reason r); /* "alg_none"; "ok" */
const char *jwt_reason_text(enum jwt_reason r); /* a sentence for the log and for operators */
/* The fault is not the token's: the same one may be good in a moment (HTTP 503 rather than 401). */
bool jwt_reason_passes(enum jwt_reason r);

#define JWT_TOKEN_MAX 8192u
#define JWT_PROJECTS_MAX 32u
#define JWT_ROLES_MAX 32u

/* ---- what a token said ---- */
struct jwt_claims {
	_Atomic uint32_t refs;
	uint64_t expires_ms;     /* Unix ms, clock_skew included; from then on it allows nothing */
	const char *provider;    /* NAME of the [jwt NAME] section */
	const char *issuer;      /* iss */
	const char *subject;     /* sub; "": none */
	const char *client;      /* azp, else client_id; "": none.  For display */
	/* Projects that it may be used for: from project_claim, else the section's project.  With
	 * any_project (project = *) all; the projects' own rules (accept = jwt) still hold. */
	bool any_project;
	uint32_t nprojects;
	const char *const *projects;
	/* What the map of the INI makes of its scopes, roles and groups: names of [role NAME] sections and
	 * built-in roles, in the order of the map, each once (the first decides); PERM_BIT()s, which count where
	 * there is no role.  Neither: the project's role. */
	uint32_t perms;
	uint32_t nroles;
	const char *const *roles;
};
struct jwt_claims *jwt_claims_ref(struct jwt_claims *c);
void jwt_claims_unref(struct jwt_claims *c);       /* NULL is legal; the last one wipes it */
bool jwt_claims_project(const struct jwt_claims *c, const void *name, size_t n);
/* Is it still good now?  Cheap (two loads): for timers and for each HTTP request of a connection.
 * JWT_OK, JWT_EXPIRED, or JWT_KEY_RETIRED when the issuer has taken back the key that signed it. */
enum jwt_reason jwt_claims_state(const struct jwt_claims *c, uint64_t wall_ms);
/* After a reload: what the same token says under another policy, without its signature (the claims
 * keep what was signed).  JWT_OK and one reference in *out, or why it allows nothing any more. */
enum jwt_reason jwt_again(const struct jwt_policy *p, struct jwt_claims *c, uint64_t wall_ms,
    struct jwt_claims **out);

struct access_evidence;
/* How access_enter() and access_sole() get at claims: into a generation's access.evidence[IDENTITY_JWT]. */
void jwt_evidence(struct access_evidence *e, const struct jwt_policy *p);

/* ---- on a worker's thread ---- */
/* Could this be a JWT at all (and not a token of the token file)?  "eyJ", and two dots. */
bool jwt_looks_like(const void *token, size_t n);

struct jwt_answer {
	enum jwt_reason reason;
	struct jwt_claims *claims; /* with JWT_OK: one reference, the receiver's */
};
typedef void (*jwt_done)(void *arg, const struct jwt_answer *answer);

/* Verify a token (copied, wiped afterwards).  JWT_OK: it was known; *claims is one reference.
 * JWT_PENDING: done(arg) will be called once, later, on this thread; *check until then is for
 * jwt_cancel().  Else why it is refused.  p NULL: JWT_NO_PROVIDER.  owner: who asks (peer_owner()); the checks of one
 * that wait for keys are bounded. */
enum jwt_reason jwt_verify(struct jwt_worker *w, struct jwt_policy *p, const void *token, size_t n, uint64_t owner,
    jwt_done done, void *arg, struct jwt_claims **claims, struct jwt_check **check);
void jwt_cancel(struct jwt_check *check); /* done is not called any more */

struct jwt_worker *jwt_worker_new(struct jwt_service *s, struct loop *l, uint32_t entries); /* NULL: no memory */
void jwt_worker_free(struct jwt_worker *w); /* NULL is legal; after jwt_service_join() */

/* ---- on the control thread ---- */
/* The [jwt] sections of cfg.  0 with *out (NULL: there are none), or -1 with the reasons, a line each,
 * appended to why.  Reads the files that they name.  A secret of a file is wiped with the policy. */
int jwt_policy_new(const struct cfg *cfg, struct jwt_policy **out, struct buf *why);
struct jwt_policy *jwt_policy_ref(struct jwt_policy *p);
void jwt_policy_unref(struct jwt_policy *p);     /* NULL is legal; any thread */

struct jwt_service *jwt_service_new(struct log *lg, struct metric_reg *metrics, uint32_t entries); /* or NULL */
/* Before workers get a generation with p: its issuers' keys are fetched from now on, beside those of the
 * policy before.  The thread starts with the first policy that is not NULL.  0, or -1 with why. */
int jwt_service_apply(struct jwt_service *s, struct jwt_policy *p, char *why, size_t whylen);
void jwt_service_settle(struct jwt_service *s); /* ... after they have: what only the one before had is forgotten */
void jwt_service_stop(struct jwt_service *s);   /* from now on all is answered JWT_STOPPING; workers still turn */
void jwt_service_join(struct jwt_service *s);   /* the thread ends: no worker turns any more */
void jwt_service_free(struct jwt_service *s);   /* NULL is legal; after the workers' jwt_worker_free() */
/* The providers and their keys as JSON, for PURSER.STATUS: {"main":{"source":"url","keys":2,...}}. */
void jwt_service_status(struct jwt_service *s, struct buf *out);
#endif
