/* SPDX-License-Identifier: Apache-2.0
 *
 * feature: what the commands of RUN_FEATURE rows (caches, sessions, locks, streams, jobs) are written on.  In: a
 * client's words.  Out: its reply, after as many steps of the store as it takes.  The room knows no request and no
 * connection; the spine (request_feature.c) does what is declared here.
 *
 * THREADS.  Everything here belongs to one worker's thread: struct feature_worker is that worker.  What several
 * workers have to agree about lives on the worker that feature_owner() names, and the others send it mail.
 *
 * A CALL (struct feature_call) begins in its handler and ends in feature_end(), exactly once, at once or later; until
 * then its words and its arena stay.  A handler writes the reply with reply_*(f->b, ...), whole and only once it knows
 * all of it, and calls feature_end() (or one of the functions that do both).  Behind feature_end() f is no more.
 * While a call is under way its client starts nothing else; only calls of rows with F_BESIDE, whose first step does no
 * more than read, may be under way beside each other.  Steps that are under way at feature_end() run on, and their
 * answers go nowhere.
 *
 * THE STORE.  feature_ask() and feature_script() send one command on the way to the project's backend; the answer comes to a
 * function, once, always later than the call that asked and in the same turn if the store is this process.  Names are
 * PHYSICAL: feature_key() of a client's key, feature_name() of the agent's own.  Steps may be under way side by side.
 * A step whose client has gone is answered all the same.  Steps go out in the order in which they were asked for, but that
 * all calls of one script in a turn may go out together: what must come behind another waits for its answer.
 *
 * GONE, UNBLOCKED.  A call that waits for something other than the store (feature_wait()) hears that its client has
 * gone, or that it is to wait no longer, through its `stop`; it must then end the call soon (what it writes for a client
 * that has gone goes nowhere).  What outlives a call but not its connection is a struct feature_bond.
 */
#ifndef FEATURE_FEATURE_H
#define FEATURE_FEATURE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "access/identity.h"
#include "access/project.h"
#include "backend/call.h"
#include "base/arena.h"
#include "base/errors.h"
#include "command/command.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metric/metric.h"
#include "trace/trace.h"

struct touch_table;
struct purser_instance;
struct worker;
struct client;
struct generation;
struct feature_call;
struct feature_worker;
struct feature_bond;
struct feature_mail;

/* ---- one of the agent's Lua scripts (lua/NAME.lua, embedded by agent/feature/lua-table.sh) ---- */
struct feature_script {
	const char *name;               /* of the file, without .lua */
	const unsigned char *body;
	size_t n;
	const char *sha;                /* 40 hexadecimal digits */
};
#include "feature/scripts.h"            /* enum: LUA_NAME of every file, in the order of lua_files in local.mk */
extern const struct feature_script feature_scripts[LUA_COUNT];
extern const struct feature_script feature_batches[LUA_COUNT]; /* the same for many calls at once: request_batch.c */

/* ---- rooms: what a feature keeps on each worker ---- */
enum feature_room_id { ROOM_LOCK, ROOM_SESSION, ROOM_LEASE, ROOM_CACHE, ROOM_JOB, ROOM_STREAM, ROOM_COUNT };

struct feature_room {                   /* rows of the table in feature.c; any of them may be NULL */
	/* Before the worker runs, on the control thread: w->room[id] is the feature's to set.  0, or -1: no memory. */
	int (*start)(struct feature_worker *w);
	/* The agent shuts down: clients have been told, contexts are still open.  On the worker. */
	void (*quit)(struct feature_worker *w);
	/* A new generation is in force.  On the worker. */
	void (*reloaded)(struct feature_worker *w);
	/* Contexts are closed and no call is under way: free what start() made.  On the control thread. */
	void (*stop)(struct feature_worker *w);
};

struct feature_worker {
	struct worker *w;               /* the spine's */
	uint32_t index, n;              /* this one of so many workers */
	struct loop *loop;              /* loop_now(): this turn's monotonic ns; timers are loop_timer_set() */
	struct log *log;
	struct metric_shard *metrics;
	struct trace *trace;            /* trace_random() */
	void *agent;                    /* main's: struct agent_ops; opaque here */
	struct touch_table *touch;      /* touch.h: the agent's one */
	void *room[ROOM_COUNT];
};

/* ---- where: project P in database D, for longer than a call ---- */
/* Plain data, copied freely.  It is looked up anew for each step, so it survives a reload; if the project is gone, or
 * is on another backend now, steps answer BACKENDDOWN at once. */
struct feature_place {
	char project[PROJECT_NAME_MAX + 1];
	char instance[64];              /* name of the backend */
	uint32_t ns;                    /* the project's number, stable by name */
	uint16_t db;
	bool keeps_leases;              /* as in a call; false of feature_place_of() */
};

/* ---- answers of the store ---- */
struct feature_reply {
	enum err_code err;              /* ERR_NONE: resp is the reply; ERR_REDIS: the store's own error */
	const char *error;              /* "WORD text", when err is set; it may show physical names: feature_pass_error() */
	const uint8_t *resp;            /* one RESP3 value, physical; read it with resp/pick.h.  Valid in fn alone */
	size_t n;
	bool unsure;                    /* err: it may have been executed all the same */
};
typedef void (*feature_fn)(void *arg, const struct feature_reply *rep);

/* ---- a call ---- */
enum feature_stop {
	FEATURE_GONE = 1,               /* the client has gone: clean up, end */
	FEATURE_TIMEOUT,                /* CLIENT UNBLOCK id TIMEOUT: answer as if its time had run out */
	FEATURE_ERROR,                  /* CLIENT UNBLOCK id ERROR, shutdown, a reload that took the project away: feature_unblocked() */
};

struct feature_call {
	struct feature_worker *w;
	const struct command *cmd;
	const purser_bytes *argv;       /* as the client said them; f's until it ends */
	uint32_t argc;
	uint16_t db;
	uint8_t resp;                   /* 2 or 3: reply_*() knows */
	bool gone;                      /* its client has gone */
	bool keeps_leases;              /* the handler may set it: its steps are the lease's own, and make none void (touch.h) */
	bool http;                      /* over HTTP, but for streams of events: the reply becomes JSON; nothing is pushed */
	const struct project *project;  /* may be another object behind a wait (reload): read it anew */
	uint32_t instance;
	uint64_t client;                /* its id */
	const struct identity *id;      /* who; of the client's, valid until f ends */
	const char *client_name;        /* CLIENT SETNAME; "" */
	struct trace_ctx *trace;        /* trace_ids() makes the ids */
	uint64_t start_ns;
	uint64_t deadline_ns;           /* of all its steps together: start and operation_timeout */
	struct arena *arena;
	struct bcall *b;                /* for reply_*() */
	void *state;                    /* the feature's */
	void (*stop)(struct feature_call *f, enum feature_stop why); /* see feature_wait() */
};
typedef void (*feature_handler)(struct feature_call *f);

/* The handlers of all rows, [CMD_COUNT]; each feature adds its own in feature.c. */
void feature_commands(feature_handler *t);
extern const struct feature_room feature_rooms[ROOM_COUNT];

void feature_end(struct feature_call *f);   /* the reply is written */
/* One of ours, "WORD text" (NULL: the row's), and the end. */
void feature_fail(struct feature_call *f, enum err_code code, const char *text);
void feature_error(struct feature_call *f, const char *text); /* as Redis says it: "ERR ..."; and the end */
/* rep->err is set: what the store said, with names as the client knows them; and the end. */
void feature_pass_error(struct feature_call *f, const struct feature_reply *rep);
/* Might its client run this?  For commands that stand for others. */
bool feature_may(const struct feature_call *f, enum cmd_id cmd, const purser_bytes *argv, uint32_t argc);
void feature_syntax(struct feature_call *f, const char *usage); /* "ERR syntax error: <usage>"; and the end */
void feature_ok(struct feature_call *f);    /* +OK; and the end */

/* ---- names ---- */
/* Where a client's key is in the store.  p NULL: no memory. */
purser_bytes feature_key(struct feature_call *f, purser_bytes key);
/* psr:PROJECT:kind:name, in the arena.  p NULL: no memory. */
purser_bytes feature_name(struct arena *a, const char *project, const char *kind, purser_bytes name);
purser_bytes feature_number(struct arena *a, int64_t v); /* as a word; p NULL: no memory */
void feature_place_of(const struct feature_call *f, struct feature_place *p);

/* ---- steps ---- */
/* argv[0..argc) is a command of the row cmd, its name (and subcommand) first, keys physical.  The words are borrowed
 * until fn is called: words of f, of its arena, constants. */
void feature_ask(struct feature_call *f, enum cmd_id cmd, const purser_bytes *argv, uint32_t argc, feature_fn fn, void *arg);
/* EVALSHA, or EVAL where the store has lost it.  keys and args as above. */
void feature_script(struct feature_call *f, unsigned script, const purser_bytes *keys, uint32_t nkeys,
    const purser_bytes *args, uint32_t nargs, feature_fn fn, void *arg);
/* The same for nobody's call (renewals, clean-up, jobs): words are copied; accounted under purser.internal. */
void feature_place_ask(struct feature_worker *w, const struct feature_place *p, uint64_t timeout_ns, enum cmd_id cmd,
    const purser_bytes *argv, uint32_t argc, feature_fn fn, void *arg);
void feature_place_script(struct feature_worker *w, const struct feature_place *p, uint64_t timeout_ns, unsigned script,
    const purser_bytes *keys, uint32_t nkeys, const purser_bytes *args, uint32_t nargs, feature_fn fn, void *arg);
/* The project as it is now; NULL: it is gone, or on another backend.  Valid until the next turn. */
const struct project *feature_place_project(struct feature_worker *w, const struct feature_place *p);
/* Each project that has a section of its own, with its database 0.  Not before the worker runs. */
void feature_each_project(struct feature_worker *w,
    void (*fn)(void *arg, const struct project *p, const struct feature_place *at), void *arg);
/* operation_timeout of its backend, 0 when it is gone. */
uint64_t feature_place_timeout(struct feature_worker *w, const struct feature_place *p);

struct purser_instance *feature_instance(struct feature_worker *w, uint32_t instance); /* NULL: it is closed */

/* ---- waiting ---- */
/* From now on f waits for something that is not the store: its deadline no longer counts, it stands as blocked in CLIENT
 * LIST, and fn is called for what may end it: once, and before feature_wait() returns if that has happened already. */
void feature_wait(struct feature_call *f, void (*stop)(struct feature_call *f, enum feature_stop why));
/* It waits no longer: fn is not called any more, and its deadline is now and operation_timeout. */
void feature_resume(struct feature_call *f);
void feature_unblocked(struct feature_call *f); /* "-UNBLOCKED ..." as Redis has it; and the end */

/* ---- bound to the connection ---- */
struct feature_bond {                   /* embedded in what holds it; zero: not bound */
	struct feature_bond *next, **at;
	struct client *cl;
	struct feature_worker *w;       /* where the connection is, and gone() runs */
	bool http;
	/* The connection has ended (its process, too, if it was killed), or RESET.  b is unbound already; steps may be asked. */
	void (*gone)(struct feature_bond *b);
};
/* b->gone is set.  False: the client has gone already, b is not bound. */
bool feature_bind(struct feature_call *f, struct feature_bond *b);
void feature_unbind(struct feature_bond *b); /* nothing if not bound */
/* Tell the client, unasked: in RESP3 a push of ">" kind, then n words; in RESP2, and over HTTP, where there is no
 * push, an error if there is a code: the answer of its next command, in place of running it ("code text"). */
void feature_push(struct feature_bond *b, const char *kind, const purser_bytes *words, uint32_t n,
    enum err_code code, const char *text);

/* ---- the worker that owns a name ---- */
uint32_t feature_owner(const struct feature_worker *w, uint32_t ns, uint16_t db, const char *kind, purser_bytes name);
struct feature_mail {                   /* embedded in what travels; the sender's until fn, then the receiver's */
	purser_job job;
	struct feature_worker *to;
	void (*fn)(struct feature_mail *m); /* on to's thread */
};
/* To worker `to`, this one too (then later in this turn or in the next).  Mail from one worker to another keeps its order. */
void feature_post(struct feature_worker *from, uint32_t to, struct feature_mail *m, void (*fn)(struct feature_mail *m));
#endif
