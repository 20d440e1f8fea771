/* SPDX-License-Identifier: Apache-2.0
 *
 * server/local: the commands that the agent answers from its own state.  Each handler replies with
 * reply_*() and ends with req_finish(), at once or later; then it must have pinned its words.
 */
#ifndef SERVER_LOCAL_H
#define SERVER_LOCAL_H
#include "base/buf.h"
#include "server/server.h"

static inline purser_bytes word(const struct request *r, uint32_t i) { return r->argv[i]; }
bool word_is(purser_bytes w, const char *name); /* in any case of letters */
void local_error(struct request *r, const char *text); /* as Redis says it: "ERR ..." */
void local_failure(struct request *r, enum err_code code, const char *text);
void local_ok(struct request *r);
void local_text(struct request *r, struct buf *b); /* answers what is in b, and frees it */

/* Has the store, which is in this process, this command for itself? */
bool local_store_runs(const struct request *r, enum cmd_id cmd);
unsigned local_sharing(const struct request *r); /* projects on its backend, its own too */
void local_ask_store(struct request *r, const purser_bytes *argv, uint32_t argc, child_fn fn); /* fn gets r */

void local_set_name(struct client *cl, purser_bytes name); /* CLIENT SETNAME */
bool local_name_ok(purser_bytes w);

void local_connection(req_handler *table); /* PING SELECT RESET CLIENT ... */
void local_auth(req_handler *table);       /* AUTH HELLO PURSER.PROJECT PURSER.WHOAMI */
void local_command(req_handler *table);    /* COMMAND ..., and HELP of containers */
void local_unblock(req_handler *table);    /* CLIENT UNBLOCK */
void local_server(req_handler *table);     /* CONFIG TIME */
void local_info(req_handler *table);       /* INFO */
void local_slow(req_handler *table);       /* SLOWLOG LATENCY */
void local_script(req_handler *table);     /* SCRIPT EXISTS, SCRIPT FLUSH */
void local_space(req_handler *table);      /* DBSIZE RANDOMKEY FLUSHDB FLUSHALL */
void local_agent(req_handler *table);      /* PURSER.* */
void local_pubsub(req_handler *table);     /* SUBSCRIBE ... PUBSUB, MONITOR */
void local_client(req_handler *table);     /* CLIENT INFO LIST KILL */
void local_track(req_handler *table);      /* CLIENT TRACKING CACHING GETREDIR TRACKINGINFO */
void local_breaker(req_handler *table);    /* PURSER.BREAKER PURSER.FAULT */
void local_explain(req_handler *table);    /* PURSER.EXPLAIN */
void local_cache(req_handler *table);      /* CACHE.STATS */
void local_watch(req_handler *table);      /* PURSER.SUBSCRIBE PURSER.UNSUBSCRIBE */

/* Something has changed: a message to the subscribers of its topic. */
#define WATCH_FIELDS 8u
struct watch_message {
	enum watch_topic topic;
	uint32_t n;
	struct { const char *key; char value[64]; } field[WATCH_FIELDS]; /* keys are literals */
};
void watch_tell(struct worker *w, const struct watch_message *m); /* on the worker's thread */

/* What PURSER.* asks of the control thread; main fills it in (struct worker.agent points at one).
 * Each answers through done(), on the worker's loop, once. */
struct agent_reply {
	enum err_code err;
	const char *text;                      /* the answer, or the error's text */
	size_t n;
};
typedef void (*agent_done)(void *arg, const struct agent_reply *reply);
enum agent_ask { AGENT_HEALTH, AGENT_RELOAD, AGENT_METRICS, AGENT_METRICS_ANONYMOUS, AGENT_STATUS,
	AGENT_STATUS_ANONYMOUS };       /* anonymous: no project is named */
struct agent_ops {
	void (*ask)(struct worker *w, enum agent_ask what, agent_done done, void *arg);
	bool (*ready)(char *why, size_t whylen, void *arg); /* any thread */
	/* NULL, or how many keys lie outside the project and which setting shows them; owned by arg */
	size_t (*outside)(void *arg, const struct project *p, char *dst, size_t cap);
	void *arg;
	const struct plugin *const *plugins;   /* loaded, NULL at the end */
};
#endif
