/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/instance: one [backend NAME] at work: its plugin, its settings, its endpoints, and one
 * context for each thread that uses it.  In: bcalls.  Out: the same bcalls, ended.
 *
 * The queue for a plugin that says AGAIN, the deadline of every call and the host table that the
 * plugin sees live here (host.c, context.c).
 */
#ifndef BACKEND_INSTANCE_H
#define BACKEND_INSTANCE_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "backend/call.h"
#include "backend/confine.h"
#include "backend/hub.h"
#include "backend/guard.h"
#include "backend/loader.h"
#include "command/command.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metric/metric.h"

#define OP_NONE (UINT32_MAX - 2u)
#define ENDPOINTS_MAX 16u   /* of one instance; more share the last number */
#define CONNECTING_MAX 16u  /* at once, of one endpoint; more are not timed */
#define LINK_STATES 4u      /* PURSER_LINK_* */
#define ROUTES 3u           /* PURSER_ROUTE_* */
#define PLUGIN_METRICS_MAX 32u

struct endpoint {
	char address[108];
	char transport[8];
	uint16_t port;
	uint16_t metric_id;
};

/* How an instance reads its settings; the config room is bound to this by main. */
struct instance_settings {
	const char *(*text)(void *arg, const char *key); /* "" when not set */
	int64_t (*value)(void *arg, const char *key);
	void *arg;
};

struct purser_instance {
	char name[64];
	uint32_t index;              /* dense number among the running instances */
	const struct plugin *plugin;
	const purser_plugin *p;      /* = &plugin->p */
	void *state;                 /* the plugin's, from start() */
	struct instance_settings settings;
	struct log *log;
	struct metric_reg *metrics;
	uint8_t metric_id;
	_Atomic uint64_t operation_timeout_ns;
	_Atomic uint32_t queue_max;  /* calls waiting for the plugin on one worker */
	bool in_process;             /* the store is this process: spans are INTERNAL */
	uint32_t op_of[CMD_IDS];     /* the plugin's op of a command; OP_NONE: it has none */
	pthread_mutex_t lock;        /* endpoints */
	struct endpoint endpoints[ENDPOINTS_MAX];
	_Atomic uint32_t nendpoints;
	struct purser_ctx **ctx;     /* [workers] */
	uint32_t nctx;
	struct blocking *blocking;   /* threads of a BLOCKING plugin, or NULL */
	struct offload *offload;     /* threads for offload(): main's, shared by all instances */
	struct hub *hub;             /* publish/subscribe; NULL: the plugin has none */
	struct confines *confines;   /* users for scripts; NULL: the plugin takes no credentials */
	_Atomic uint64_t refused;    /* server that cannot be used, ... reported by health */
	_Atomic uint32_t gate;       /* GATE_*: 0 = every call may pass */
	struct guard guard;
};

struct purser_session {          /* what a plugin knows of a client: one pointer an instance */
	uint64_t id;
	void *slot[8];               /* by instance index */
	uint32_t inflight;           /* calls that plugins hold or that wait in a queue */
	/* The lane key of what is in flight: another starts only when nothing is (rule 10). */
	const struct purser_instance *instance;
	uint16_t db;
	uint8_t resp, route;
	uint32_t cred;
};
#define INSTANCES_MAX 8u

struct purser_ctx {
	struct purser_instance *inst;
	void *cs;                    /* the plugin's, from open() */
	const purser_plugin *p;
	struct loop *loop;           /* NULL: a blocking thread's context */
	struct bthread *thread;      /* ... which this is */
	struct out scrap;            /* bytes reserved by a plugin that go nowhere, or through a filter */
	uint32_t worker;
	uint32_t ready;              /* bit per route: ready() was called, its queue is to be offered */
	/* One a route: a session changes its route only when nothing of it is in flight.  EXCLUSIVE has two:
	 * who waits for a link to block on is not in the way of who streams a value. */
	struct call_queue { struct bcall *head, *tail; } queue[ROUTES + 1];
	uint32_t first_queue;        /* is offered first, each turn another */
	struct bcall *due_head, *due_tail;
	struct loop_timer due_timer;
	struct bcall *current;       /* inside submit(): NULL as soon as it has ended */
	struct watch *watches;
	struct timer *timers;
	uint64_t timer_ids;
	struct ref_release *releases; /* of raw_ref() bytes that were copied: called at the turn's end */
	_Atomic uint32_t nqueued;
	_Atomic int32_t nwaiting;    /* calls with BLOCKS that the plugin has */
	uint64_t accepted, ended;    /* must be equal when the context is closed */
	uint64_t links_made;         /* connections of it that came up so far */
	struct guard_ctx guard;
	bool draining;               /* it takes no new call */
	uint32_t offloaded;          /* jobs that have not come back */
	_Atomic uint64_t queue_timeouts;
	_Atomic uint64_t exhausted;
	_Atomic int64_t links[ENDPOINTS_MAX][LINK_STATES];
	_Atomic int64_t metrics[PLUGIN_METRICS_MAX];
	struct hist *wait_time;      /* of calls that were queued, in the worker's shard; or NULL */
	struct hist *create_time;    /* of connections, likewise */
	struct hist *use_time;       /* of EXCLUSIVE calls, likewise */
	struct connecting {          /* when connections that are being made were begun, oldest first */
		uint64_t since_ns[CONNECTING_MAX];
		uint32_t first, n;
	} connecting[ENDPOINTS_MAX];
};

extern const purser_host host_table;

/* Make an instance of a loaded plugin and start it (control thread).  NULL with e->text. */
struct instance_opts {
	const char *name;
	uint32_t index, workers;
	const struct plugin *plugin;
	struct instance_settings settings;
	struct log *log;
	struct metric_reg *metrics;
	struct offload *offload;
	struct metric_shard *shard;  /* the caller's own, or NULL */
};
struct purser_instance *instance_new(const struct instance_opts *o, purser_error *e);
/* The host's own settings of it have changed (control thread). */
void instance_settings_changed(struct purser_instance *i);
struct pool_numbers { uint64_t connecting, idle, used, pending, timeouts, exhausted, waiting; };
void instance_pool(const struct purser_instance *i, struct pool_numbers *out); /* any thread */
/* Stop and free: every context must be closed. */
void instance_free(struct purser_instance *i);

/* On a worker's own thread.  0, or -1 with e->text. */
int ctx_open(struct purser_instance *i, uint32_t worker, struct loop *loop, purser_error *e);
/* Closing: drain, until quiet, and in a later job close.  What the plugin has posted has run by then. */
void ctx_drain(struct purser_ctx *x);  /* no new call; what is queued is answered */
bool ctx_quiet(const struct purser_ctx *x); /* nothing is offloaded or on a blocking thread any more */
void ctx_close(struct purser_ctx *x);

enum { SUBMIT_ENDED = 0, SUBMIT_PENDING = 1 };
/* Hand a call over.  SUBMIT_ENDED: done() was called and b may be gone.  SUBMIT_PENDING: the caller
 * must keep the bytes of b->argv (it may move them and set b->argv) until done(). */
int ctx_submit(struct purser_ctx *x, struct bcall *b);
/* Take the queued calls of s that take says yes to out of the queue: they are as if never submitted. */
void ctx_withdraw(struct purser_ctx *x, const struct purser_session *s, bool (*take)(struct bcall *b));
/* Ready to be submitted once more. */
void call_again(struct bcall *b);
/* Nobody waits any more: out of the queue at once (done() is called), or the reply is discarded. */
void ctx_abandon(struct purser_ctx *x, struct bcall *b, int why);
/* A call that waits in the queue (BCALL_QUEUED) ends; its reply, if any, is written. */
void ctx_dismiss(struct purser_ctx *x, struct bcall *b);
/* A wish to the plugin about a call that it holds.  True: it has ended, and b may be gone. */
bool ctx_cancel(struct purser_ctx *x, struct bcall *b, int why);
/* So much waits for the plugin that whoever has something under way had better not ask for more yet: his
 * bytes can wait in the socket, where the queue would only run over. */
#define CROWD_MIN 1024u
static inline bool ctx_crowded(const struct purser_ctx *x)
{
	uint32_t n = atomic_load_explicit(&x->nqueued, memory_order_relaxed);

	return __builtin_expect(n >= CROWD_MIN, 0) &&
	    n >= atomic_load_explicit(&x->inst->queue_max, memory_order_relaxed) / 2;
}
/* Once a turn: offer the queue if the plugin is ready, then flush it. */
void ctx_turn(struct purser_ctx *x);
/* The reader of b's reply can take more again. */
void ctx_resume(struct purser_ctx *x, struct bcall *b);
/* Is the reply of another session likely behind that of b, which is stalled: on the same link?  What was
 * submitted before raw() said stop may be; what came later went by another link. */
bool ctx_holds_up(const struct purser_ctx *x, const struct bcall *b);
/* The source of b, which said WAIT, has more. */
void ctx_feed(struct purser_ctx *x, struct bcall *b);

/* The exact RESP size of the call, prefix included; of a batch, whose parts' sizes are known.  Also notices
 * whether b->wire can be passed on as it is. */
uint64_t call_wire_bytes(struct bcall *b);
/* Write RESP of the call from where encode() was left; see purser_host.encode. */
size_t call_encode(struct bcall *b, uint8_t *dst, size_t cap, int *more);
void call_rewind(struct bcall *b); /* from the start again */

/* The client of s has gone: the plugin's own state of it ends.  Nothing of it may be in flight. */
void ctx_session_end(struct purser_ctx *x, struct purser_session *s);

/* Internal to the room. */
uint64_t ctx_clock(void);                 /* of a thread without a loop */
static inline uint64_t ctx_now(const struct purser_ctx *x)
{
	return x->loop ? loop_now(x->loop) : ctx_clock();
}
struct ref_release {
	struct ref_release *next;
	purser_fn fn;
	void *arg;
};
void call_ended(struct bcall *b);
/* The attempt failed: the guard learns it.  True: the caller keeps the failure, nothing may be written. */
bool call_failed(struct bcall *b, const struct call_failure *f);
static inline void call_count(struct purser_ctx *x, struct bcall *b)
{
	x->ended++;
	x->guard.wrote += b->c.flags & PURSER_CALL_WRITE;
	if (__builtin_expect(x->guard.watch, 0))
		guard_ended(x, b);
}
void ctx_release(struct purser_ctx *x);   /* what raw_ref() copied goes back to the plugin */
void host_ctx_free(struct purser_ctx *x); /* timers and watches that the plugin left */
#endif
