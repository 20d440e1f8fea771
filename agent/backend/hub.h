/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/hub: publish/subscribe of one instance.  In: what the workers' clients want to hear, and what
 * the plugin delivers.  Out: one subscription of the store for each name, whoever wants it, and each
 * message once to every worker that has subscribers of its name, in one shared block.
 *
 * One worker, the home, does all the talking to the plugin, on one connection: so every client sees
 * the messages of all its names in the order in which the store sent them.  Names are physical.
 */
#ifndef BACKEND_HUB_H
#define BACKEND_HUB_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

struct hub;
struct hub_ask;
struct log;
struct loop;
struct purser_ctx;

/* What comes to a worker.  The block is shared by all: read only; hub_msg_ref() to keep it. */
enum hub_what {
	HUB_MESSAGE,            /* kind, name (what was subscribed to), channel, message */
	HUB_LOST,               /* the subscriptions are gone: message says why */
	HUB_INVALID             /* keys[0..nkeys) have changed; nkeys 0: any key may have */
};
struct hub_msg {
	_Atomic uint32_t refs;
	uint8_t what, kind;
	uint32_t nposts, nkeys;
	struct hub *hub;
	purser_bytes name, channel, message;
	const purser_bytes *keys;
	/* its own posts and bytes follow */
};
void hub_msg_ref(struct hub_msg *m);
void hub_msg_unref(void *m);

/* deliver() gets them on the worker's own thread, in order. */
typedef void (*hub_deliver_fn)(void *worker, struct hub_msg *m);

struct hub *hub_new(uint32_t workers, uint32_t home, const char *name, struct log *log);
void hub_ref(struct hub *h);
void hub_unref(struct hub *h);
/* A worker's context was opened, is being closed (on its thread). */
void hub_attach(struct hub *h, struct purser_ctx *x, void *worker, hub_deliver_fn deliver);
void hub_detach(struct hub *h, struct purser_ctx *x);
/* What happens to subscribers when the subscriptions are lost: subscribed again (true), or told so. */
void hub_keep(struct hub *h, bool keep);

/* ---- a worker asks ---- */
struct hub_ask {            /* embedded in the worker's own table; unchanged while under way */
	purser_job job;
	struct hub *hub;
	uint32_t worker;
	uint8_t kind;           /* PURSER_SUB_*; 0: nothing but to come back behind all that was sent before */
	bool on;                /* this worker wants it, does not want it any more */
	bool ok;                /* the answer: the store has confirmed, or others want it still */
	purser_bytes name;
	void (*answered)(struct hub_ask *a); /* on the worker, once; a is free again when it begins */
	struct hub_ask *next;
};
void hub_send(struct hub_ask *a);
/* This worker has n confirmed subscribers of the name. */
void hub_count(struct hub *h, uint8_t kind, purser_bytes name, uint32_t worker, uint32_t n);

/* This worker wants to hear, or no longer, what changes below prefix: HUB_INVALID comes.  The first one with
 * nkeys 0 says that it does from now on. */
void hub_track(struct hub *h, purser_bytes prefix, uint32_t worker, bool on);

/* ---- any thread ---- */
bool hub_empty(const struct hub *h);  /* nobody subscribes to anything */
/* A message that the store itself has not delivered: to local subscribers; how many. */
uint64_t hub_publish(struct hub *h, uint8_t kind, purser_bytes channel, purser_bytes message);
/* What the store says of how many receive on channel, with each local subscriber in place of our own
 * subscriptions. */
int64_t hub_receivers(struct hub *h, uint8_t kind, purser_bytes channel, int64_t store);
/* The same for one name alone: NUMSUB.  store < 0: the local ones alone. */
int64_t hub_subscribers(struct hub *h, uint8_t kind, purser_bytes name, int64_t store);
/* fn for every name of kind that has local subscribers; the lock is held. */
void hub_visit(struct hub *h, uint8_t kind, void (*fn)(void *arg, purser_bytes name), void *arg);

/* ---- the host table: from the plugin, on the home's thread ---- */
void hub_subscribed(struct hub *h, uint8_t kind, purser_bytes name, bool on);
void hub_lost(struct hub *h);
void hub_message(struct hub *h, uint8_t kind, purser_bytes name, purser_bytes channel,
    purser_bytes message);
void hub_invalidated(struct hub *h, const purser_bytes *keys, size_t n);
#endif
