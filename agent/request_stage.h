/* SPDX-License-Identifier: Apache-2.0
 *
 * request_stage: what the files of the spine (request*.c) have of each other.  Nobody else includes it.
 */
#ifndef REQUEST_STAGE_H
#define REQUEST_STAGE_H
#include "request.h"

enum stage_result { STAGE_NEXT, STAGE_DONE, STAGE_HOLD };

/* ---- request.c ---- */
enum stage_result req_refuse(struct request *r, enum err_code code, const char *text);
enum stage_result req_refuse_as_redis(struct request *r, const char *text); /* "ERR ...", as Redis has it */
/* The stage isolate, for a request that became one of the backend's behind it. */
enum stage_result req_isolate(struct request *r);
/* A request of c beside its queue, for one command of a transaction that the agent answers itself: its reply
 * goes to *out, req_finish() only notes it.  NULL: no memory.  req_drop() ends it. */
struct request *req_apart(struct client *c, purser_bytes *argv, uint32_t argc, struct out *out);
void req_drop(struct request *r);
void req_done(struct bcall *b);    /* bcall.done of a request */
void req_release(struct bcall *b); /* bcall.release */

/* ---- request_access.c: authorize, where the client's permissions alone do not say yes ---- */
enum stage_result req_decide(struct request *r);
/* c->gen or what is known of it has changed.  Into the project that it was in, if it still may; who was in none is at
 * home. */
void client_settle(struct client *c); /* its permissions as they are now */
void client_rehome(struct client *c, const struct project *was, uint16_t db);
/* What is open (subscriptions, MONITOR, tracking, MULTI) or waits ends, as far as it is not allowed any more. */
void client_enforce(struct client *c);
void client_refuse_held(struct client *c, enum err_code err, const char *text); /* if there is one */

/* ---- request_slow.c ---- */
void slow_note(struct request *r, uint64_t ns); /* it took so long, and that is slow */

/* ---- request_limit.c: limits of a project ---- */
enum stage_result limit_admit(struct request *r); /* of a project that has some */
void limit_done(struct request *r);               /* r->limited */
void limit_moved(struct request *r, const struct project *to); /* r goes on in that one, of the next generation */
/* c has come into a project, or none.  False: it is full, c->turned_away. */
bool limit_entered(struct client *c);
void limit_left(struct client *c);
/* What EXEC of c would run.  False: nothing. */
bool tx_counts(const struct client *c, uint32_t *commands, uint32_t *writes, uint64_t *bytes);

/* ---- request_tx.c: MULTI to EXEC, WATCH.  client.tx is set from MULTI or WATCH to the end of both ---- */
enum stage_result tx_admit(struct request *r);   /* of a client with tx: queues what is to be queued */
enum stage_result tx_feature(struct request *r); /* RUN_TX */
/* RUN_TX: which call it becomes, and where: x, or the context that has the client's watch. */
struct purser_ctx *tx_route(struct request *r, struct purser_ctx *x);
bool tx_queues(const struct client *c);          /* between MULTI and EXEC */
uint16_t tx_database(const struct client *c);    /* the one that its next command works on */
/* r is refused with this text (Redis' own or "WORD ..."): what is queued will not run.  The text to say. */
const char *tx_refused(struct request *r, const char *text, char *mem, size_t cap);
void tx_free(struct tx *tx, struct out_pool *pool);
/* The client has moved to another generation; it was in project p of the old one. */
void tx_migrate(struct client *c, const struct generation *old, const struct project *p);
void tx_enforce(struct client *c);               /* what is queued may not be allowed any more */
unsigned tx_size(const struct request *r); /* commands of the batch that r sends; 0: it is none */
void tx_lost(struct client *c, const struct purser_instance *i); /* what it watches there is lost */

/* ---- request_script.c: rows with A_SCRIPT ---- */
enum stage_result script_isolate(struct request *r);
void script_drop(struct request *r); /* r ends: what it holds of a script */
/* It is sent again, with others of its client: a server that has lost the script meanwhile must not say so. */
void script_resent(struct request *r);
uint32_t script_words(const struct request *r); /* how many of r's words are the client's */
/* An error's text: the SHA1 of the store's script becomes that of the client's, in place; the length. */
size_t script_names(const struct request *r, char *text, size_t n);
/* r's attempt with a credential was refused by the store: from now on it is made anew. */
void script_refused(struct request *r);
void script_worker_end(struct worker *w);
/* r's attempt has come to f.  True: nothing was executed, and r may be sent again as soon as the store has what it has
 * lost, the script or the user that it runs as. */
bool script_lost(struct request *r, const struct call_failure *f);
/* May r be sent behind what of its client is under way?  Not what runs in any case behind what the store may have lost. */
bool script_follows(const struct request *r);
/* r, which was lost, is to be sent again: has the store the user that it runs as?  (request_confine.h) */
enum confine_answer script_user(struct request *r, enum err_code *err, char why[CONFINE_WHY_MAX]);
#endif
