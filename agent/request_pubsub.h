/* SPDX-License-Identifier: Apache-2.0
 *
 * request_pubsub: which clients of a worker are subscribed to what.  In: SUBSCRIBE and its like, and
 * what the hub of an instance delivers.  Out: confirmations when the store has confirmed, and each
 * message once for each subscription that it matches.
 */
#ifndef REQUEST_PUBSUB_H
#define REQUEST_PUBSUB_H
#include "request_push.h"

/* The two of kind PURSER_SUB_*: r is answered when the store has confirmed every name.  r runs alone
 * (RUN_SPACE) and its words are its own. */
void pubsub_subscribe(struct request *r, uint8_t kind);
void pubsub_unsubscribe(struct request *r, uint8_t kind);
void pubsub_leave(struct client *c);    /* of everything, and nobody is told */
/* Its configuration changed; before, its project was old. */
void pubsub_migrated(struct client *c, const struct project *old);
bool pubsub_still_may(const struct client *c);   /* may it subscribe to what it is subscribed to? */
uint32_t pubsub_names(const struct client *c);   /* how many subscriptions it has, of any kind */
/* A client of RESP2 that is subscribed may say little else: NULL, or what it is told. */
const char *pubsub_refusal(const struct request *r, char *text, size_t cap);
/* PUBLISH: the number in the reply will count local subscribers.  -1: no memory. */
int pubsub_count(struct request *r);
/* The same of one command of a transaction: the store's count, corrected.  channel is argv[1]. */
int64_t pubsub_receivers(const struct purser_ctx *x, const struct project *p, const struct command *c,
    purser_bytes channel, struct arena *a, int64_t count);
void pubsub_deliver(void *worker, struct hub_msg *m);   /* a hub_deliver_fn */
#endif
