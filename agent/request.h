/* SPDX-License-Identifier: Apache-2.0
 *
 * request: the spine.  In: the words of one command from one client.  Out: the reply, in the client's
 * buffer, in order, accounted.  A request is one object that moves through the stages of stages.def;
 * their names are the names of the functions in request.c, of span events and in the docs.
 *
 * Everything here belongs to one worker's thread.
 */
#ifndef REQUEST_H
#define REQUEST_H
#include <pthread.h>
#include <stdatomic.h>
#include "access/access.h"
#include "access/limit.h"
#include "backend/call.h"
#include "backend/instance.h"
#include "backend/scripts.h"
#include "base/arena.h"
#include "base/names.h"
#include "command/command.h"
#include "feature/feature.h"
#include "loop/loop.h"
#include "resp/parse.h"
#include "trace/trace.h"
#include "metric/metric.h"

struct request;
struct client;
struct worker;
struct tx;
struct track_reads;
struct tracked_key;
struct track_area;
struct monitored;
struct outband;
struct auth;
struct script_run;
struct feature_run;
struct unsaid;
struct child;
struct script_batch;
struct slowlogs;
struct jwt_policy;
struct jwt_worker;

/* ---- one configuration generation as requests see it ---- */
struct generation {
	_Atomic uint32_t refs;
	uint64_t number;
	bool production;
	struct project_set projects;
	struct access access;             /* who may enter them, and do what */
	struct token_set *tokens;         /* owned; NULL: no token file */
	struct purser_instance *instances[INSTANCES_MAX]; /* borrowed: main keeps them */
	uint64_t auth_delay_ns;         /* before the first failed authentication of a connection is told */
	uint32_t auth_failures;         /* ... how many of them end the connection */
	struct cmd_index commands;        /* with those that it declares */
	uint64_t dbsize_limit;
	uint64_t scan_count;              /* COUNT of SCAN, at most */
	size_t names_limit;               /* of a reply whose names are gathered */
	size_t output_limit;
	uint32_t tx_commands;             /* of one transaction, at most */
	size_t tx_bytes;
	size_t subscriber_limit;        /* bytes that may wait for one subscriber */
	uint32_t max_subscriptions;     /* of one client */
	uint32_t tracking_max_keys;     /* CLIENT TRACKING: keys that one worker remembers */
	struct jwt_policy *jwt;         /* the [jwt] sections (access/jwt.h); NULL: there are none */
};
struct generation *generation_ref(struct generation *g);
void generation_unref(struct generation *g); /* the last one frees it */

/* ---- a client: what a connection is, whatever protocol it speaks ---- */
/* Requests of a client whose attempt has failed, until it is decided what becomes of them, and until they
 * are sent again (request_retry.c).  While there are any, no new request of the client starts. */
struct client_retry {
	uint32_t parked;                /* requests with .parked set; they stand in the client's queue */
	bool sending;                   /* they are being sent again at this moment */
	bool failed;                    /* ... and one of them has failed at once */
	bool withdrawn;                 /* nothing of it waits in a queue since */
	struct loop_timer timer;        /* when they are sent again */
};

struct client {
	struct purser_session session;  /* first */
	struct worker *w;
	struct generation *gen;         /* one reference */
	const struct project *project;  /* of gen; NULL: none chosen */
	uint32_t perms;                 /* what needs no further look: PERM_BIT()s of its role; 0 where that is narrow */
	uint16_t db;
	uint8_t resp;                   /* 2 or 3 */
	uint8_t reply_mode;             /* CLIENT REPLY: enum client_reply */
	bool anonymous;                 /* over TCP: nobody knows who it is; F_PUBLIC commands only */
	bool narrow;                    /* its role is: every command goes through access_decide() */
	bool operates;                  /* access_operates() */
	bool crowded;                   /* client_choose() has failed for max_projects alone */
	uint8_t choice;                 /* enum access_choice: what access_sole() found */
	const struct role *role;        /* that it has in project; NULL without one */
	const struct project *home;     /* where it is when it names no project; NULL: nowhere */
	const struct role *home_role;
	struct identity id;
	struct auth *auth;              /* request_auth.c; or NULL: it has presented nothing */
	bool quit;                      /* close when everything is answered and sent */
	bool cut;                       /* close at once: the reply stream cannot go on */
	bool gone;                      /* closed: only calls that plugins hold keep it */
	char name[64];                  /* CLIENT SETNAME */
	char lib[32], lib_version[16];  /* CLIENT SETINFO */
	struct out out;                 /* replies on their way to the socket */
	struct request *head, *tail;    /* not answered, or answered out of turn, in order */
	uint32_t nrequests;
	size_t behind;                  /* reply bytes of those answered out of turn */
	struct request *held;           /* the next one: waits until nothing is in flight */
	struct loop_timer hold_timer;   /* ... or its deadline */
	struct request *alone;          /* runs by itself: nothing starts until it is answered */
	struct tx *tx;                  /* between MULTI or WATCH and their ends; or NULL (request_tx.c) */
	struct unsaid *unsaid;          /* errors that its next commands are answered with (request_feature.c); perms is 0 then */
	struct feature_bond *bonds;     /* what features keep for as long as it is connected (request_feature.c) */
	struct outband *outband;        /* what it hears without asking (request_push.h); or NULL */
	struct client_retry retry;
	uint32_t by_sha;                /* scripts under way that the store knows by their SHA1 alone (request_script.c) */
	bool streams;                   /* over HTTP, and what it hears goes out as events (server/conn_events.c) */
	uint8_t topics;                 /* PURSER.SUBSCRIBE: bits of enum watch_topic */
	uint64_t commands;              /* requests so far */
	uint64_t since_ms;              /* Unix time of accept */
	/* The reply buffer grew, or a request was answered: the owner is to look at it this turn.  May be
	 * called from inside a host-table function. */
	void (*wake)(struct client *c);
	struct client *next, *prev;     /* of the worker's list */
	struct gcra limit[LIMIT_OWN];   /* its own meters (request_limit.c) ... */
	uint32_t limit_ns;              /* ... in the project of this number, and 1 */
	uint32_t place;                 /* number, and 1, of the project that it was last in; 0: none */
	uint16_t tallied;               /* metric_id, and 1, of the project that counts it as its client; 0: none */
	struct limit_use *counted;      /* it is one of its connections; one reference */
	bool turned_away;               /* it chose a project that had no room for it: nothing runs there */
};
enum watch_topic { TOPIC_BREAKER, TOPIC_HEALTH, TOPIC_COUNT };
enum client_reply { REPLY_ON, REPLY_OFF, REPLY_SKIP }; /* SKIP: the next one only */

void client_init(struct client *c, struct worker *w);
void client_unbind(struct client *c);   /* what features keep as long as it is connected ends */
/* The socket is closed: abandon what is under way.  c must stay until client_idle(). */
void client_gone(struct client *c);
bool client_idle(const struct client *c); /* no plugin holds anything of it any more */
void client_free(struct client *c);       /* after client_idle(): ends the plugins' state of it */
/* ---- who it is, and what it may (request_access.c) ---- */
/* Choose a project by name.  False: there is none of that name, or it may not enter it: which, nobody is told. */
bool client_choose(struct client *c, const void *name, size_t n);
/* Its identity has changed: what that allows holds from now on, for what is open and what waits too.  False: it may
 * no longer be in the project that it was in, and is in none. */
bool client_identified(struct client *c);
/* May it run this, as it is now?  The one decision (access_decide()). */
bool client_decide(const struct client *c, const struct command *cmd, const purser_bytes *argv, uint32_t argc,
    struct access_answer *answer);
bool client_may(const struct client *c, const struct command *cmd, const purser_bytes *argv, uint32_t argc);
/* Why a command about scripts is refused in a project, whoever asks and whatever it says; or NULL. */
const char *script_never(const struct project *p, const struct purser_instance *i, const struct command *c);
/* After a reload: to the worker's generation, when nothing is under way.  Its project is looked up by
 * name; is it gone or may it not be entered any more, the client has none. */
void client_migrate(struct client *c);
void client_leave(struct client *c);      /* back to what it had at the beginning */

/* MULTI was sent and not ended; *queued: how many commands since. */
bool tx_open(const struct client *c, uint32_t *queued);
void tx_reset(struct client *c);          /* RESET: nothing is queued or watched any more */

/* ---- a request ---- */
#define REQ_ARGS 12u

struct request {
	struct bcall b;                 /* first */
	struct client *cl;
	struct request *next;           /* the client's queue */
	struct out own;                 /* the reply, until everything before it is answered */
	uint64_t start;                 /* of the head: where in the client's out its reply begins */
	uint64_t start_ns;              /* monotonic, of the turn that read it */
	uint64_t wire_in;               /* bytes that the client sent for it */
	const struct command *cmd;      /* NULL until look up */
	const struct project *project;
	bool answered;                  /* the reply is complete */
	bool released;                  /* no plugin holds it */
	bool queued;                    /* in the client's queue */
	bool local;                     /* not one call of a plugin */
	bool sink;                      /* the reply does not go to the socket as RESP */
	bool apart;                     /* of no queue: a part of a transaction */
	bool timed;                     /* start_ns is the clock's, not the turn's */
	uint8_t limited;                /* LIMITED*: its project's limits are to hear of its end */
	bool pinned;                    /* argv and its bytes are the request's own */
	uint8_t stage;                  /* where to go on when it was held */
	bool waits;                     /* a feature's call, for something that is not the store */
	bool parked;                    /* its attempt has failed, or it is kept back behind one that has */
	bool given_up;                  /* answered with the failure of an attempt that was kept */
	uint8_t tries;                  /* attempts that failed and were kept */
	bool touched;                   /* who must hear of its writes has been told (request_touch.c) */
	uint32_t argc;
	uint32_t here;                  /* with b.source: how many of them had come when it started */
	purser_bytes *argv;             /* logical words, then isolated */
	struct kept_failure *kept;      /* the latest failed attempt, or NULL */
	uint64_t not_before_ns;         /* an injected delay */
	uint64_t touch;                 /* held: who must hear of it before is being told (request_touch.c); or 0 */
	struct track_reads *reads;      /* CLIENT TRACKING: keys that it reads (request_track.c); or NULL */
	void *adopted;                  /* malloc'd memory that argv points into */
	int64_t told;                   /* the integer of its reply, or its nulls (request_tally.c) */
	struct tx *tx;                  /* EXEC: what it sends; or NULL */
	struct feature_run *feature;    /* RUN_FEATURE, while it runs (request_feature.c); or NULL */
	struct script_run *script;      /* EVAL and its like (request_script.c); or NULL */
	void *sink_arg;                 /* whose sink it is */
	void (*sink_done)(struct request *r); /* the reply is complete; must not call a plugin */
	const struct trace_parent *parent; /* what the caller sent; borrowed until answered, or NULL */
	/* From here on nothing is cleared for a new request. */
	struct arena arena;
	struct trace_ctx trace;
	purser_bytes argv_mem[REQ_ARGS];
	uint64_t mem[64];               /* the arena's first memory */
	uint32_t keys_mem[REQ_ARGS];
};

/* Where key names are in its reply, for strip_begin(). */
static inline unsigned strip_depth(const struct command *c)
{
	return c->transform == X_KEYS ? 1 : c->transform == X_SCAN ? 2 :
	    c->transform == X_FIRST ? STRIP_FIRST : STRIP_STREAMS;
}

enum { LIMITED = 1, LIMITED_WAITS = 2 };
/* A text for ERR_RATELIMITED when c->turned_away. */
const char *limit_full(const struct client *c, char *text, size_t cap);

enum { REQ_STARTED = 0, REQ_HELD = 1 };
static inline bool client_may_start(const struct client *c)
{
	return !c->held && !c->alone && !c->retry.parked;
}

/* A request of c with argv borrowed from the caller until req_start returns (it pins them if it must).
 * NULL: no memory. */
struct request *req_new(struct client *c, purser_bytes *argv, uint32_t argc);
/* Where the reply goes other than as RESP to the socket: set before req_start. */
void req_sink(struct request *r, struct reply_filter *f,
    void (*error_to)(struct bcall *, enum err_code, const char *, size_t),
    void (*done)(struct request *), void *arg);
/* Run it through the stages.  REQ_STARTED: it is answered, or will be; r may be gone.  REQ_HELD: the
 * client's next one; c->held is set, nothing else of c may be started until it is NULL again. */
int req_start(struct request *r);
/* Start c->held if it can be now.  True: nothing is held (any more). */
bool req_resume(struct client *c);
/* ---- a request that starts while its arguments still arrive (request_stream.c) ---- */
/* May it?  argv[0..have) are here, argc are announced. */
bool req_may_stream(const struct client *c, const purser_bytes *argv, uint32_t have, uint32_t argc);
/* Make it and start it: argv has argc elements, those from `here` on are empty.  False: no memory. */
bool req_stream(struct client *c, purser_bytes *argv, uint32_t argc, uint32_t here, struct request **r,
    struct call_source *source);
void req_source_ended(struct request *r); /* nobody reads it any more */
/* What it was is not to be: the client went in the middle, or sent nonsense. */
void req_stream_abort(struct request *r);

/* A local command is answered (the reply is written). */
void req_finish(struct request *r);
int req_pin(struct request *r);         /* argv becomes the request's own; -1: no memory */
/* argv points into block (malloc'd), which the request frees at its end: nothing is left to pin. */
void req_adopt(struct request *r, void *block);

/* ---- attempts that fail (request_retry.c) ---- */
bool retry_keep(struct bcall *b, const struct call_failure *f); /* bcall.keep of every request */
void retry_released(struct client *c);  /* .parked: a call of c has been let go */
void retry_answered(struct request *r); /* .parked: r is answered, or its reply begins */
void retry_drop(struct client *c, bool answer); /* nothing of it is sent again; answer: with its failure */
/* purser_instance.gate has a bit set: may r be submitted?  False: it is answered, or parked. */
bool retry_admit(struct request *r);
/* r is submitted once more. */
void req_again(struct request *r);

/* ---- faults that users inject (request_fault.c) ---- */
#define FAULTS_MAX 64u
enum fault_kind { FAULT_DELAY, FAULT_ERROR, FAULT_DROP, FAULT_KINDS };
const char *fault_name(enum fault_kind k);
struct fault {
	uint64_t id;                    /* 0: the place is free */
	enum fault_kind kind;
	char project[65];               /* "": any */
	uint16_t command;               /* CMD_COUNT: any */
	uint8_t percent;
	uint64_t delay_ns;              /* DELAY */
	char error[160];                /* ERROR: "WORD text" */
	uint64_t hits;
};
struct faults {                         /* of the agent */
	pthread_mutex_t lock;           /* of the rest; taken only by requests of instances with GATE_FAULT */
	bool enabled;                   /* [agent] fault_injection */
	uint64_t last_id;
	struct fault v[FAULTS_MAX];
};
/* Does any of them hit r?  False: r is answered, or parked, and nothing is to be submitted. */
bool fault_pass(struct request *r);
/* From retry_admit: r is sent not before then; its attempt fails so, without the store. */
void retry_delayed(struct request *r, uint64_t not_before_ns);
void retry_failed(struct request *r, const struct call_failure *f);

/* ---- commands that wait in the store (request_block.c) ---- */
/* isolate: r may wait, and how long.  NULL, or why it may not. */
const char *req_block(struct request *r);
/* Does its oldest request wait?  Then it is all that is in flight, or others like it are (F_BESIDE). */
static inline bool client_waits(const struct client *c)
{
	const struct request *r = c->head;

	return r && !r->answered && (r->waits || ((r->b.c.flags & PURSER_CALL_BLOCKS) && !r->released));
}
/* What waits is answered as if its time had run out, or with an error.  False: nothing waits. */
bool client_unblock(struct client *c, bool error);
/* A reload: what waits goes on in the new generation if its project is what it was; else an error ends it. */
void client_carry(struct client *c);

/* ---- the worker ---- */
#define FREE_REQUESTS_MAX 1024u
#define FREE_CHILDREN_MAX 256u

typedef void (*req_handler)(struct request *r);

/* A script that is loaded at the other end of ctx, as long as nothing there is new. */
#define KNOWN_SCRIPTS 64u
struct known_script {
	const struct purser_ctx *ctx;
	uint64_t links;
	uint32_t epoch;
	uint8_t sha[SCRIPT_SHA];
};

struct recent_command { uint64_t key; size_t length; const struct command *cmd; }; /* length 0: none */
struct recent_long { uint8_t length; char name[23]; const struct command *cmd; }; /* as it was spelled */

struct worker {
	struct loop *loop;
	uint32_t index;
	struct log *log;
	const struct cmd_index *commands; /* gen's */
	const req_handler *handlers;    /* [CMD_COUNT], of RUN_LOCAL and RUN_SPACE rows */
	struct recent_command recent[64]; /* by the spelling of short names */
	struct recent_long recent_long[16]; /* ... and of longer ones: those of features */
	struct generation *gen;         /* one reference; new clients get it */
	struct out_pool pool;
	struct request *free_requests[FREE_REQUESTS_MAX];
	struct names topics;            /* request_pubsub.c: what its clients are subscribed to */
	struct names subscriptions;     /* ... and who to what */
	uint32_t nfree_requests;
	struct client *clients;
	_Atomic uint32_t nclients;
	struct purser_ctx *ctx[INSTANCES_MAX]; /* by instance index */
	struct metric_shard *metrics;
	struct trace *trace;
	struct scripts *scripts;        /* main's: shared by all workers */
	const char *tag;                /* main's: of the names of users that the agent makes in stores */
	struct jwt_worker *jwt;         /* access/jwt.h */
	struct known_script known[KNOWN_SCRIPTS];
	struct {                        /* request_confine.c: users of stores that scripts run as */
		_Atomic bool waking;    /* wake is posted, by any worker */
		purser_job wake, ask;
		struct anew *anew;      /* those to be made anew: ask is posted */
	} confining;
	void *agent;                    /* main's: what local commands of the agent need */
	struct touch_table *touch;      /* main's, shared by all workers: feature/touch.h */
	struct faults *faults;          /* main's, shared by all workers */
	struct slowlogs *slow;          /* main's, shared by all workers */
	struct attempts *attempts;      /* main's, shared by all workers: access/attempts.h */
	uint64_t cursor_secret[2];      /* of the cursors that clients see; the same in all workers */
	bool draining;                  /* shutdown: no new request is admitted */
	struct names tracked;           /* request_track.c: keys that clients have read */
	struct tracked_key *oldest_key, *newest_key;
	struct track_area *areas;       /* ... and the projects whose clients track */
	struct monitored *monitored;    /* request_monitor.c: who wants to see requests; or NULL */
	uint64_t touches;               /* request_touch.c: numbers of them */
	struct child *ready, *ready_last; /* request_child.c: those that have something to do */
	struct child *free_children;
	struct script_batch *batches, *free_batches; /* request_batch.c: open ones, in order */
	uint32_t nfree_batches;
	bool in_turn;                   /* the turn's end comes to children_run() and batches_send() by itself */
	uint32_t nfree_children;
	struct feature_worker feature;  /* request_feature.c */
	const feature_handler *features; /* [CMD_COUNT], of RUN_FEATURE rows */
	struct worker *const *peers;    /* all workers, this one too: for tours (request_tour.h) */
	uint32_t npeers;
};
void worker_end_requests(struct worker *w); /* free lists */
void worker_end_children(struct worker *w);
void worker_end_batches(struct worker *w);
/* Close the context of an instance, and all that the worker's clients have of it. */
void worker_close_ctx(struct worker *w, uint32_t instance);

/* ---- child requests: what health and composite commands ask of the store ---- */
struct child_reply {
	enum err_code err;              /* ERR_NONE: resp is the reply */
	const char *error;              /* "WORD text", NUL-terminated, when err is set */
	const uint8_t *resp;            /* one RESP3 value, the prefix already taken out of names */
	size_t n;
	bool unsure;                    /* err: it may have been executed */
};
typedef void (*child_fn)(void *arg, const struct child_reply *reply);

struct ask {
	struct worker *w;
	struct generation *gen;
	const struct project *project;  /* of gen; NULL: the agent's own keys, physical names */
	uint32_t instance;
	uint16_t db;
	uint64_t deadline_ns;           /* the parent's */
	bool internal;                  /* the agent's own account, not the users' */
	bool raw;                       /* not of commands.def: the words go out as they are, if the backend takes them */
	uint32_t cred;                  /* purser_call.cred */
	bool physical;                  /* names are as the store has them; project is for the accounts */
	bool borrowed;                  /* physical words; they and gen stay until fn was called */
	bool writes;                    /* a script that may */
	bool keeps_leases;              /* no lease is void by it */
	const struct command *cmd;      /* the row, if it is known */
	purser_bytes *words;            /* borrowed, with body: argv, to be written to */
	purser_bytes body;              /* of EVALSHA: sent as EVAL with this when the store has lost it; p NULL: nothing is done */
};
/* Issue argv (copied).  It enters at isolate and never passes authorize again.  fn is called once, later, from
 * children_run(); the reply is borrowed for that call. */
void child_ask(const struct ask *a, const purser_bytes *argv, uint32_t argc, child_fn fn, void *arg);
/* What the store has answered goes to who asked.  Once or more a turn, from no host-table function. */
#define CHILDREN_A_TURN 4096u
void children_run(struct worker *w);
void children_again(struct worker *w);  /* it will have something to do */
#endif
