/* SPDX-License-Identifier: Apache-2.0
 *
 * purser/plugin.h -- everything a backend plugin may see.  C99, C++, libc only; compiles alone.
 *
 * A backend is a shared object that exports one function, purser_plugin_init(), written by the
 * PURSER_PLUGIN() macro at the end of this file.  It returns a constant struct purser_plugin.  The
 * host copies min(struct_size) of it and zeroes the rest, so an older plugin runs on a newer host
 * and a newer plugin on an older host as long as `api` is the same.
 *
 * LIFE CYCLE
 *   load     purser_plugin_init(): facts only (name, schema, commands, capabilities). No work.
 *   start    control thread: the instance's checked settings are readable (text/value), here and in
 *            prepare() only.  One per [backend NAME].  Errors reach the operator's terminal.  A
 *            store that is away is no error.  After -1 neither stop() nor anything else is called.
 *   open     once on each thread that will use the instance; gives the thread's context state.
 *            After -1 that context is not closed.
 *   submit   calls, for as long as it lives; flush once a turn.
 *   drain    per context: no new call comes; what is pending may come to its end.
 *   close    per context: the host has waited long enough: end what is still pending (fail).  Jobs
 *            that were posted have run, offloaded work has come back.  When close() returns, nothing
 *            of the context is watched, timed, referenced or posted to, now or later.  A session
 *            whose calls end only here gets no session_end(): what it has goes with the context.
 *   stop     control thread: the last thing.  Objects are never unloaded.
 * Every plugin has start and stop, and submit unless each of its ops has a run.  A NULL open gives
 * each context the instance's state; a NULL close, drain, cancel, session_end, credential or stats
 * means "nothing to do"; adopt comes with prepare (both are there if a setting is reloadable), stats
 * with CAP_MEMORY_INFO, subscribe with CAP_PUBSUB, track with CAP_TRACKING, flush and resume with
 * ARGS_WIRE.
 *
 * THE TWENTY RULES (each has a conformance test of the same number in purser-plugin-check)
 *  1 Call.      A call is one attempt at one command, or at one MULTI block.  Retry, deadline,
 *               breaker, span and transformation are the host's; a plugin has no timer for a call.
 *  2 One end.   A call that submit() accepted (DONE or PENDING) is ended exactly once, by end() or
 *               fail(), also after cancel().  DONE: it has been ended; PENDING: it has not.  AGAIN
 *               takes nothing (the same command comes later as another call).  A lost link ends
 *               every call on it, in order.
 *  3 Lifetime.  Call, arguments and session live until that end, which may free them before it
 *               returns.  The host keeps the bytes; a retry encodes them again.
 *  4 No re-entry. The host never calls a plugin callback, or a release function, from inside a
 *               host-table function.
 *  5 Threads.   A context is one thread's view of an instance.  INLINE plugins never block and are
 *               called by all workers at once, each with its own context; what contexts share is the
 *               plugin's to lock.  BLOCKING plugins are called on host threads (at most max_parallel
 *               at once), the calls of one session in order.  Only post(), publish() and log() may
 *               be called from a thread that the host does not know.  A BLOCKING plugin takes
 *               ARGS_ARGV, ends each call before submit or run returns (DONE), and has no use for
 *               watch() and timer().
 *  6 Dispatch.  call->op is the index in the plugin's own ops[].  A command that ops[] does not list
 *               never arrives (the host answers UNSUPPORTED) unless CAP_ANY_COMMAND is declared;
 *               then op is PURSER_OP_OTHER.  No plugin has a table of Redis' commands.
 *  7 Arguments. ARGS_ARGV: argv is whole, contiguous, with physical key names.  ARGS_WIRE: argv is
 *               NULL; encode() writes RESP into the plugin's buffer with the prefix inserted and
 *               MULTI/EXEC or CLIENT CACHING wrapped around; call->skip says how many replies to
 *               swallow first (pushes not counted).  Nobody but the host adds or strips a prefix.
 *  8 Replies.   raw() fragments of one RESP value, or the typed helpers, or raw_ref(), in the
 *               version call->resp (2, 3; 0 = either).  A top-level error is never given raw: it
 *               comes whole through error(), and then end().  Raw and typed are not mixed in one
 *               reply.  The host never converts RESP3 to RESP2.
 *  9 Outcome.   fail(executed): NOT = the last byte of the command never left, MAYBE = all left and
 *               no whole reply came, EXECUTED = the reply began (always, once raw() was called).
 * 10 Order.     Calls of one session on one route execute and end in submit order.
 * 11 Retry order. After a lost link the host settles a session's unsettled calls in order.
 * 12 Queues    are the host's.  A plugin holds what is on the wire plus a bounded window; beyond it,
 *               or while connecting, submit() answers AGAIN and later calls ready(route) (one that
 *               comes before submit() has returned counts).  A link that is known to be down fails
 *               calls at once.  flush() comes once at the end of a turn in which a call was submitted
 *               or resumed, and earlier at the host's byte bound.
 * 13 Routes.   SHARED: complete commands, any link.  EXCLUSIVE: a link alone until the end.
 *               PINNED: the session's own link until UNPIN, whose call may be another user's (cred): the
 *               link becomes that user's then, or the call fails.
 * 14 Back-pressure. encode() may say "wait"; raw() returns credit and at <= 0 the plugin stops
 *               reading that link until resume().
 * 15 Cancel    is a wish.  Rule 2 still holds.
 * 16 Batch.    One call, all or nothing.  WIRE answers with EXEC's reply.  ARGV answers and ends
 *               each part through the part's own handle, in order, and then calls end() on the batch
 *               itself, which has no reply of its own: what the parts said is shown then.  null() and
 *               end() on the batch = WATCH failed; error() or fail() on it = no part counts.
 * 17 Pub/sub.  The plugin subscribes at the host's demand and delivers; tables and fan-out are the
 *               host's.  subscribe() answers 0 (subscribed() follows once, when the store has
 *               confirmed) or -1 (cannot now).
 * 18 Data.     An instance with CAP_KEEPS_DATA is never rebuilt by reload: prepare() may refuse,
 *               adopt() commits.
 * 19 Growth.   Structs start with struct_size and grow at the end; zero means absent; arrays of
 *               structs carry their stride; numbers are never reused; signatures never change.
 * 20 Time      comes from the host: now() and wall_ms() are the turn's and can be injected.
 */
#ifndef PURSER_PLUGIN_H
#define PURSER_PLUGIN_H 1
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define PURSER_API 1u
/* Was FIELD known to whoever made the struct at P? */
#define PURSER_HAS(p, type, field) \
	((p)->struct_size >= offsetof(type, field) + sizeof((p)->field))

typedef struct purser_host purser_host;
typedef struct purser_instance purser_instance; /* one [backend NAME] of the configuration */
typedef struct purser_ctx purser_ctx;           /* one thread's view of an instance */
typedef struct purser_session purser_session;   /* one client connection, or one internal caller */
typedef struct purser_call purser_call;         /* one ATTEMPT at one command or one MULTI block */

typedef struct purser_bytes { const uint8_t *p; size_t n; } purser_bytes; /* frozen: 16 bytes */

/* ---- what a call says ----------------------------------------------------------------------- */
enum {
	PURSER_ROUTE_SHARED = 0,    /* stateless and complete: may share a link with everybody */
	PURSER_ROUTE_EXCLUSIVE = 1, /* needs a link alone until its end: blocking, streamed */
	PURSER_ROUTE_PINNED = 2     /* the session's own link until UNPIN: WATCH .. EXEC */
};
enum {
	PURSER_CALL_WRITE = 1,      /* the command may change data */
	PURSER_CALL_BLOCKS = 2,     /* the command may wait in the store: see block_ms */
	PURSER_CALL_UNPIN = 4,      /* PINNED: the last call on the session's own link */
	PURSER_CALL_ALONE = 8,      /* nothing else of this session is in flight: choose a link afresh */
	PURSER_CALL_STREAMED = 16,  /* arguments still arriving: encode() only, argv is NULL */
	PURSER_CALL_INTERNAL = 32   /* the agent's own: probes, polls, jobs */
};
#define PURSER_OP_BATCH 0xfffffffeu /* parts[] is a MULTI block: all or nothing, nobody between */
#define PURSER_OP_OTHER 0xffffffffu /* a command that ops[] does not list (CAP_ANY_COMMAND only) */

typedef struct purser_quota { /* what a namespace may have, where the plugin says PURSER_CAP_QUOTA */
	uint32_t struct_size, reserved;
	uint64_t max_bytes;         /* of its keys, as the plugin counts them; 0 = no limit */
	uint64_t max_keys;          /* in all databases; 0 = no limit */
} purser_quota;

struct purser_call { /* filled by the host; read-only to the plugin but for link, user and nulls */
	uint32_t struct_size;
	uint32_t op;                /* index in the plugin's ops[]: dispatch without strings */
	uint32_t flags;             /* PURSER_CALL_* */
	uint8_t route, resp;        /* PURSER_ROUTE_*; resp: 2 or 3 = encode the reply so, 0 = either */
	uint16_t db;                /* database number, already allowed */
	uint32_t ns, ns_prefix;     /* namespace number; bytes of prefix in front of every key */
	uint32_t cred;              /* 0 = the backend's own; else a credential() of the instance */
	uint32_t skip;              /* wire form: replies to swallow before the one that counts */
	uint32_t argc, nkeys, nparts;
	const purser_bytes *argv;   /* physical names, contiguous; NULL with ARGS_WIRE or STREAMED */
	const uint32_t *keys;       /* positions in argv that are keys, ascending */
	purser_call *const *parts;  /* of a batch; each is answered through its own handle */
	uint64_t wire_bytes;        /* RESP size, prefix included; UINT64_MAX = not known yet */
	int64_t block_ms;           /* BLOCKS: how long; 0 = for ever */
	uint64_t deadline_ns;       /* monotonic, of this attempt; the host enforces it */
	purser_ctx *ctx;
	purser_session *session;
	purser_call *link;          /* the plugin's own: intrusive queue */
	void *user[3];              /* the plugin's own: zero at submit */
	const purser_quota *quota;  /* of the namespace; NULL: none. Of a batch: of all its parts */
	const uint8_t *space;       /* CAP_CONFINES and a script: ns_prefix bytes; keys and channels have no
	                             * other names for it than those that begin so, and it sees them without.
	                             * NULL: it has the store's names */
	uint32_t databases;         /* with space: 0 .. databases - 1 are the project's */
	uint32_t nulls;             /* CAP_TELLS_NULLS: before end(), how many nulls a raw reply had */
};

/* ---- how a call ends ------------------------------------------------------------------------ */
enum {
	PURSER_NOT_EXECUTED = 1,    /* sure: the last byte never left, or it was refused */
	PURSER_MAYBE_EXECUTED = 2,  /* the last byte left, no complete reply came */
	PURSER_EXECUTED = 3         /* the reply began, then broke */
};
enum {                          /* fail(code): why; the host turns it into an error of errors.def */
	PURSER_E_CONNECT = 1,       /* no link and none to be had now */
	PURSER_E_IO = 2,            /* the link broke */
	PURSER_E_PROTOCOL = 3,      /* the store answered nonsense */
	PURSER_E_AUTH = 4,          /* the store refused the credentials */
	PURSER_E_TLS = 5,
	PURSER_E_NOMEM = 6,
	PURSER_E_TOOLARGE = 7,
	PURSER_E_UNSUPPORTED = 8,
	PURSER_E_CANCELLED = 9,     /* after cancel() */
	PURSER_E_INTERNAL = 10
};
enum {
	PURSER_DONE = 0,            /* submit: ended inside */
	PURSER_PENDING = 1,         /* submit: accepted, ends later on this context */
	PURSER_AGAIN = 2            /* submit: nothing taken; offer again after ready(route) */
};
enum {                          /* why cancel() comes; any that a plugin does not know is a wish as well */
	PURSER_CANCEL_TIMEOUT = 1, PURSER_CANCEL_CLIENT_GONE = 2, PURSER_CANCEL_SHUTDOWN = 3,
	/* BLOCKS only, and the client still waits for its reply: have the store end it as if its time had
	 * run out, or with an error. */
	PURSER_CANCEL_UNBLOCK = 4, PURSER_CANCEL_UNBLOCK_ERROR = 5
};
enum { PURSER_RESUME_ENCODE = 1, PURSER_RESUME_REPLY = 2 };
enum { PURSER_ENCODE_DONE = 0, PURSER_ENCODE_FULL = 1, PURSER_ENCODE_WAIT = 2 };
enum { PURSER_SUB_CHANNEL = 1, PURSER_SUB_PATTERN = 2, PURSER_SUB_SHARD = 3 };
enum { PURSER_LOG_ERROR = 3, PURSER_LOG_WARN = 4, PURSER_LOG_INFO = 6, PURSER_LOG_DEBUG = 7 };
enum {                          /* HUP: the peer will send no more, or the link broke: read on to
                                 * the end.  It is always told, whatever was asked for. */
	PURSER_IO_IN = 1, PURSER_IO_OUT = 4, PURSER_IO_HUP = 16
};
enum {                          /* link_state: what a connection is doing; 0 = it does not exist */
	PURSER_LINK_NONE = 0, PURSER_LINK_CONNECTING = 1, PURSER_LINK_IDLE = 2, PURSER_LINK_USED = 3
};

typedef struct purser_error { uint32_t struct_size; uint32_t code; char text[240]; } purser_error;
typedef void (*purser_fn)(void *arg);
typedef struct purser_job { struct purser_job *next; purser_fn fn; void *arg; } purser_job; /* frozen */
typedef void (*purser_io_fn)(void *arg, int fd, uint32_t events);

/* ---- the host table ------------------------------------------------------------------------- */
struct purser_host {
	uint32_t struct_size, api;
	uint64_t features;          /* what this host can do: bits are only ever added */

	/* Arguments as wire bytes.  Returns the bytes written to dst; *more is PURSER_ENCODE_DONE (the
	 * command is all out), _FULL (cap was too small, call again) or _WAIT (later resume(ENCODE)). */
	size_t (*encode)(purser_call *c, void *dst, size_t cap, int *more);
	int (*rewind)(purser_call *c); /* encode again from the start; -1: streamed bytes are gone */

	/* The reply, raw: one RESP value in resp's version, in any fragments.  An error is never given
	 * raw.  Returns the bytes that the client can take now; <= 0: stop and wait for resume(REPLY). */
	int64_t (*raw)(purser_call *c, const void *p, size_t n);
	uint8_t *(*reserve)(purser_call *c, size_t n); /* room for n raw bytes; NULL: fail() the call */
	void (*commit)(purser_call *c, size_t n);      /* n <= reserved bytes were written */
	/* No copy; p stays valid till release(arg), which comes once, later (even after the call's end),
	 * on the context's thread, never from inside. */
	int64_t (*raw_ref)(purser_call *c, const void *p, size_t n, purser_fn release, void *arg);
	/* Typed, written in whatever the caller speaks (RESP2, RESP3, JSON). */
	void (*status)(purser_call *c, const char *word);
	void (*integer)(purser_call *c, int64_t v);
	void (*bulk)(purser_call *c, const void *p, size_t n);
	void (*null)(purser_call *c);
	void (*number)(purser_call *c, double v);  /* RESP3 double; RESP2 bulk, 17 significant digits */
	void (*boolean)(purser_call *c, int v);    /* RESP3 #t/#f; RESP2 :1/:0 */
	void (*array)(purser_call *c, size_t n);   /* n values follow */
	void (*map)(purser_call *c, size_t pairs); /* 2n values follow; RESP2: a flat array */
	void (*set)(purser_call *c, size_t n);     /* RESP2: an array */
	/* Whole, without '-' and CRLF, as "WRONGTYPE ..."; nothing of the reply was given before. */
	void (*error)(purser_call *c, const char *text, size_t n);
	/* ARGS_WIRE: its last byte was handed to the kernel; once, and before any end but NOT_EXECUTED. */
	void (*sent)(purser_call *c);
	void (*via)(purser_call *c, uint32_t endpoint); /* who serves it: for spans and the breaker */
	void (*end)(purser_call *c);                    /* one complete reply (or error) was given */
	void (*fail)(purser_call *c, uint32_t code, uint32_t executed, const char *text);

	/* Admission: the queue is the host's. */
	void (*ready)(purser_ctx *x, uint32_t route);
	void **(*slot)(purser_session *s, purser_ctx *x); /* the plugin's pointer in this session */

	/* The loop of this context. */
	uint64_t (*now)(purser_ctx *x);     /* monotonic ns, the turn's */
	uint64_t (*wall_ms)(purser_ctx *x); /* Unix time in ms, the turn's */
	/* Edge-triggered; replaces what was watched before on fd; events 0 = stop watching (before
	 * close(fd)).  0, or -1 with errno. */
	int (*watch)(purser_ctx *x, int fd, uint32_t events, purser_io_fn fn, void *arg);
	uint64_t (*timer)(purser_ctx *x, uint64_t delay_ns, purser_fn fn, void *arg); /* 0: no memory */
	void (*untimer)(purser_ctx *x, uint64_t id); /* an id that has fired is ignored */
	void (*post)(purser_ctx *x, purser_job *job); /* ANY thread: run job on x; cannot fail */
	void (*offload)(purser_ctx *x, purser_job *work, purser_job *done); /* work elsewhere, done on x */
	int (*busy)(purser_ctx *x); /* inside a long script: lets the host answer BUSY; 1 = kill it */

	/* Publish/subscribe and tracking: tables, fan-out, stripping and limits are the host's. */
	uint64_t (*publish)(purser_instance *i, uint32_t kind, purser_bytes channel,
	    purser_bytes message); /* ANY thread; how many local receivers */
	void (*message)(purser_ctx *x, uint32_t kind, purser_bytes pattern, purser_bytes channel,
	    purser_bytes message);
	void (*subscribed)(purser_ctx *x, uint32_t kind, purser_bytes name, int on);
	void (*subscription_lost)(purser_ctx *x);
	void (*invalidated)(purser_ctx *x, const purser_bytes *keys, size_t n); /* NULL,0: everything */

	/* Settings: those of the schema, and what every [backend] has (operation_timeout,
	 * connection_timeout, queue_max, max_memory) unless the schema has it itself.  Accounts, log. */
	purser_bytes (*text)(purser_instance *i, const char *key); /* NUL-terminated; valid until
	                                                             * start() or prepare() returns */
	int64_t (*value)(purser_instance *i, const char *key); /* integer, bool 0/1, ns, bytes, enum index */
	uint32_t (*endpoint)(purser_instance *i, const char *address, uint16_t port,
	    const char *transport); /* transport: "tcp", "unix", "inproc"; the same triple, the same number */
	/* A connection to endpoint went from one PURSER_LINK_* to another. */
	void (*link_state)(purser_ctx *x, uint32_t endpoint, uint32_t from, uint32_t to);
	void (*count)(purser_ctx *x, uint32_t metric, int64_t delta); /* metric: index in metrics[] */
	void (*log)(purser_instance *i, int level, const char *fmt, ...)
#if defined(__GNUC__)
	    __attribute__((format(printf, 3, 4)))
#endif
	    ;
	const char *(*name)(purser_instance *i); /* NAME of [backend NAME]; valid as long as i */
	/* append here */
};

/* ---- what the plugin declares --------------------------------------------------------------- */
enum {
	PURSER_KEY_TEXT = 1, PURSER_KEY_INT = 2, PURSER_KEY_BOOL = 3,
	PURSER_KEY_DURATION = 4,    /* value() in ns; min and max in ns */
	PURSER_KEY_SIZE = 5,        /* value() in bytes */
	PURSER_KEY_ENUM = 6,        /* choices "a|b|c"; value() is the index, text() the word */
	PURSER_KEY_PATH = 7, PURSER_KEY_URL = 8
};
enum {
	PURSER_KEY_SECRET = 1, PURSER_KEY_RELOADABLE = 2, PURSER_KEY_REQUIRED = 4,
	PURSER_KEY_PUBLIC = 8       /* PATH named *_file: it holds no secret, so all may read it */
};
typedef struct purser_key {     /* one setting; def is written as in the INI file, NULL = none */
	const char *name;
	uint32_t type, flags;
	int64_t min, max;           /* both 0: no bounds; of TEXT, PATH and URL: the length in bytes */
	const char *def, *choices, *doc;
} purser_key;
typedef struct purser_op {      /* one command: "GET", "OBJECT|ENCODING"; run: called instead of
                                 * submit() (never for a batch), NULL: submit() */
	const char *name;
	int (*run)(void *cs, purser_call *c);
} purser_op;
enum { PURSER_METRIC_COUNTER = 1, PURSER_METRIC_UPDOWN = 2, PURSER_METRIC_GAUGE = 3 };
typedef struct purser_metric { const char *name, *unit, *doc; uint32_t kind; } purser_metric;

#define PURSER_CAP_KV           (UINT64_C(1) << 0)
#define PURSER_CAP_TTL          (UINT64_C(1) << 1)
#define PURSER_CAP_SCAN         (UINT64_C(1) << 2)
#define PURSER_CAP_HASH         (UINT64_C(1) << 3)
#define PURSER_CAP_LIST         (UINT64_C(1) << 4)
#define PURSER_CAP_SET          (UINT64_C(1) << 5)
#define PURSER_CAP_ZSET         (UINT64_C(1) << 6)
#define PURSER_CAP_STREAM       (UINT64_C(1) << 7)
#define PURSER_CAP_BLOCKING     (UINT64_C(1) << 8)
#define PURSER_CAP_BATCH        (UINT64_C(1) << 9)
#define PURSER_CAP_WATCH        (UINT64_C(1) << 10)
#define PURSER_CAP_SCRIPT       (UINT64_C(1) << 11)
#define PURSER_CAP_PUBSUB       (UINT64_C(1) << 12)
#define PURSER_CAP_TRACKING     (UINT64_C(1) << 13)
#define PURSER_CAP_MEMORY_INFO  (UINT64_C(1) << 14) /* stats() fills used_bytes */
#define PURSER_CAP_INFO         (UINT64_C(1) << 15) /* runs INFO itself */
#define PURSER_CAP_ANY_COMMAND  (UINT64_C(1) << 32) /* passes on what it does not list (a proxy) */
#define PURSER_CAP_KEEPS_DATA   (UINT64_C(1) << 33) /* the instance IS the data */
#define PURSER_CAP_ENDS_INSIDE  (UINT64_C(1) << 34) /* submit() ends every call that does not BLOCK and
                                                     * is no script, or answers AGAIN: the host need
                                                     * not copy the arguments before */
#define PURSER_CAP_QUOTA        (UINT64_C(1) << 35) /* refuses with OOM what would exceed call->quota */
#define PURSER_CAP_CONFINES     (UINT64_C(1) << 36) /* scripts keep to call->space */
#define PURSER_CAP_TELLS_NULLS  (UINT64_C(1) << 37) /* call->nulls is right; null() counts by itself. Else
                                                     * the host looks into replies to count misses */
enum {
	PURSER_INLINE = 1,          /* submit never blocks; called by all workers at once */
	PURSER_BLOCKING = 2         /* run may block; the host calls it on its threads */
};
enum { PURSER_ARGS_ARGV = 0, PURSER_ARGS_WIRE = 1 };

typedef struct purser_stats {   /* the host sets struct_size and fills the rest with UINT64_MAX */
	uint32_t struct_size, flags;
	uint64_t keys, used_bytes, max_bytes, evicted, expired; /* UINT64_MAX = not known */
} purser_stats;

typedef struct purser_plugin {
	uint32_t struct_size, api;
	const char *name, *version, *summary;
	uint64_t caps;
	uint32_t model, max_parallel, args; /* max_parallel: blocking threads at once; 0 = host decides */
	const purser_key *keys;       uint32_t nkeys, key_stride;
	const purser_op *ops;         uint32_t nops, op_stride;
	const purser_metric *metrics; uint32_t nmetrics, metric_stride;

	/* Control thread.  0, or -1 with e->text filled. */
	int (*start)(const purser_host *h, purser_instance *i, void **state, purser_error *e);
	/* Each reload, also where no value has changed: look at the values, and at the files that they
	 * name; may refuse. */
	int (*prepare)(void *state, purser_error *e);
	void (*adopt)(void *state, int commit);       /* ... all agreed (1) or not (0) */
	/* Any thread, does not block.  Calls with cred = id are run as this user from now on; user empty:
	 * none come any more. */
	int (*credential)(void *state, uint32_t id, purser_bytes user, purser_bytes secret);
	int (*stats)(void *state, purser_stats *out); /* any thread, does not block */
	void (*stop)(void *state);

	/* Each context, on its thread. */
	int (*open)(void *state, purser_ctx *x, void **cs, purser_error *e);
	int (*submit)(void *cs, purser_call *c);       /* PURSER_DONE, _PENDING or _AGAIN */
	void (*flush)(void *cs);                       /* end of a turn with calls; the byte bound */
	void (*resume)(void *cs, purser_call *c, int what);
	void (*cancel)(void *cs, purser_call *c, int why);
	void (*session_end)(void *cs, purser_session *s, void *slot);
	int (*subscribe)(void *cs, uint32_t kind, purser_bytes name, int on);
	int (*track)(void *cs, purser_bytes prefix, int on);
	void (*drain)(void *cs);
	void (*close)(void *cs);
	/* Calls with these names (keys, whole) come soon, perhaps: may fetch what they will need into the
	 * CPU's caches.  Changes nothing, waits for nothing, keeps no pointer. */
	void (*expect)(void *cs, uint32_t db, const purser_bytes *names, uint32_t n);
	/* append here */
} purser_plugin;

#if defined(__GNUC__)
#define PURSER_EXPORT __attribute__((visibility("default")))
#else
#define PURSER_EXPORT
#endif
#define PURSER_PLUGIN(p) \
	PURSER_EXPORT const purser_plugin *purser_plugin_init(void); \
	const purser_plugin *purser_plugin_init(void) { return &(p); } \
	typedef int purser_plugin_end_

#ifdef __cplusplus
}
#endif
#endif
