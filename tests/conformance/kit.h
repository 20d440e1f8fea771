/* SPDX-License-Identifier: Apache-2.0
 *
 * The conformance kit (purser-plugin-check): a host of its own that trusts no plugin.
 *
 * In: a plugin, settings.  Out: one line a test.  Each test runs in a process of its own (a crash
 * or a hang is a finding like any other), on an instance of its own: a rig.  The kit implements the
 * whole host table (kit_host.c) and checks the rules in every test: the memory of a call is taken
 * away when the call ends (kit_arena.c), replies are checked for their shape (kit_reply.c), a store
 * that breaks at will stands behind plugins that speak RESP upstream (kit_fake.c).
 */
#ifndef TESTS_KIT_H
#define TESTS_KIT_H
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <purser/plugin.h>

#include "backend/loader.h"
#include "base/buf.h"
#include "loop/loop.h"

#define KIT_PREFIX_MAX 64

/* ---- findings (kit_report.c) ----------------------------------------------------------------- */
/* The rule, and what was seen.  Any thread.  The test has failed; it goes on. */
void kit_blame(int rule, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, and the test ends here. */
void kit_stop(int rule, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
/* The test does not apply; it ends here. */
void kit_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
bool kit_blamed(void);

/* ---- memory that can be taken away (kit_arena.c) --------------------------------------------- */
enum arena_kind { ARENA_CALL = 1, ARENA_SESSION, ARENA_TEXT };
void arena_init(void); /* once a process; also catches faults */
/* n zeroed bytes on pages of their own; owner (NULL: the block itself; never freed) is what
 * arena_owner finds and what a fault names. */
void *arena_get(size_t n, enum arena_kind kind, void *owner);
void arena_retire(void *p);  /* from now on every touch is a fault that names the rule */
void *arena_owner(const void *p, enum arena_kind kind); /* NULL: no such thing was ever there */

/* ---- replies (kit_reply.c) ------------------------------------------------------------------- */
enum reply_form { FORM_NONE, FORM_RAW, FORM_TYPED, FORM_ERROR };
struct kit_reply {
	enum reply_form form;
	struct buf bytes; /* RESP, or the text of an error */
	uint64_t need;    /* typed: values to come */
	bool complete;    /* raw: one whole value is there */
	uint32_t nulls;   /* ... and so many of it are null */
	size_t scanned;
};
/* Say what is wrong with n raw bytes, or NULL; they are appended. */
const char *reply_raw_bytes(struct kit_reply *r, unsigned resp, const void *p, size_t n);
/* A typed value that announces more values; NULL, or what is wrong.  head: its RESP header. */
const char *reply_typed(struct kit_reply *r, uint64_t more, const char *head, size_t n);
const char *reply_finish(struct kit_reply *r, unsigned resp); /* at end(): NULL, or what is wrong */
/* The reply as the tests write it: +OK  :1  $text  (nil)  [$a :2]  {$f $v}  ,1.5  #t  -ERR text */
void reply_print(const struct kit_reply *r, struct buf *out);

/* ---- the rig: an instance, its contexts, their calls (kit_rig.c) ----------------------------- */
struct kit {
	const struct plugin *pl;
	char **settings; /* key=value from the command line */
	int nsettings;
	bool verbose;
	int patience;       /* real seconds that anything may take before it counts as never */
	const char *tmpdir; /* for sockets; the program removes it */
};
extern struct kit kit; /* set by main, then read only */

enum { ROUTES = 3, LINKS = 64 };
enum call_state { CALL_QUEUED, CALL_OFFERED, CALL_TAKEN, CALL_ENDED };

struct kit_ref { /* bytes that raw_ref() keeps */
	struct kit_ref *next;
	struct kcall *k;
	const void *p;
	size_t at, n; /* where they stand in the reply */
	purser_fn release;
	void *arg;
};

struct kcall { /* the kit's record of a call; it outlives the call itself */
	struct kcall *next;       /* all of the context */
	struct kcall *qnext;      /* waiting for the plugin to take it */
	struct kcall *sprev, *snext; /* taken calls of the session, in order */
	purser_call *c;           /* NULL before it is offered and after its end */
	struct purser_ctx *x;
	struct purser_session *s;
	unsigned id;
	char name[32];
	enum call_state state;
	purser_call seen;         /* as it was handed over: the plugin must not change it */

	/* What is asked. */
	uint32_t op, flags, skip, argc, nkeys, nparts;
	uint8_t route, resp;
	int64_t block_ms;
	purser_bytes *argv;       /* physical, owned */
	uint32_t *keys;
	struct kcall **parts, *batch; /* of a batch; a part's batch */
	struct buf wire;          /* what encode() gives */
	size_t wire_at, wire_stop; /* STREAMED: no further than wire_stop for now */
	bool encoded, sent;

	/* What is answered. */
	struct kit_reply reply;
	struct kit_ref *refs;
	uint8_t *room;            /* reserve() */
	size_t room_n;
	int64_t credit;           /* that raw() gives back; INT64_MAX: no limit */
	uint64_t after_stop;      /* bytes given after the credit was used up */
	bool stopped, cancelled, failed;
	uint32_t code, executed;
	char why[256];
	unsigned ended_as;        /* the how-manieth end of the context */
	struct buf text;          /* of call_text() */
	void (*on_end)(struct kcall *k); /* from inside end() or fail(): must not call the plugin */
	void *arg;
};

struct purser_session { /* lies in the arena */
	struct purser_ctx *x;
	void *slot;
	struct kcall *first, *last; /* taken, not ended */
	unsigned id, pending;
};

struct kit_setting {
	const purser_key *key;
	const char *text; /* in the arena while it may be read */
	char *given;
	int64_t value;
};

enum rig_phase { RIG_START, RIG_RUN, RIG_PREPARE, RIG_STOP };
struct purser_instance {
	const purser_host *host;
	const purser_plugin *p;
	void *state;
	_Atomic int phase; /* rig_phase */
	pthread_t control;
	struct kit_setting *settings;
	uint32_t nsettings;
	char prefix[KIT_PREFIX_MAX]; /* of all keys: its own in every run */
	_Atomic int64_t skew_ms;     /* the injected clock runs ahead by this */
	bool tail;                   /* rule 19: calls are larger than the plugin knows */

	pthread_mutex_t lock;
	struct { char *address, *transport; uint16_t port; } endpoints[LINKS];
	uint32_t nendpoints;
	int64_t links[LINKS][4];     /* by endpoint and PURSER_LINK_* */
	int64_t *metrics;
	struct kit_sub {
		struct kit_sub *next;
		uint32_t kind;
		struct buf name;
		unsigned acks;
		bool on;
	} * subs;
	unsigned nctx;
	_Atomic unsigned published;
};

struct kit_message {
	struct kit_message *next;
	struct buf text;
}; /* "kind pattern channel message" */

struct purser_ctx {
	struct purser_instance *inst;
	struct loop *loop;
	struct loop_hook hook;
	pthread_t thread;
	void *cs;
	_Atomic int state;        /* CTX_* */
	const char *inside;       /* the callback that is running, or NULL */
	bool ready[ROUTES];       /* ready() came since the last AGAIN */
	bool waits[ROUTES];       /* AGAIN came */
	bool touched;             /* a call was submitted or resumed since the last flush */
	struct { struct kcall *first, **last; } queue[ROUTES];
	struct kcall *calls;
	unsigned offered, accepted, ended, agains, readies;
	struct kit_ref *refs;     /* to be released */
	struct kit_watch *watches;
	struct kit_timer *timers;
	uint64_t timer_ids;
	_Atomic unsigned offloads;
	struct kit_message *messages, **messages_end;
	unsigned lost, invalidated, invalid_all;
	unsigned sessions;
};
enum { CTX_OPENING, CTX_OPEN, CTX_DRAINING, CTX_CLOSED };

void settings_make(struct purser_instance *i, const char *url);
void settings_show(struct purser_instance *i); /* texts can be read from here ... */
void settings_hide(struct purser_instance *i); /* ... to here */
bool kit_setting_known(const char *name); /* the plugin's, or one that every [backend] has */
/* url: in place of the one on the command line, or NULL.  Starts the instance; a test whose plugin
 * does not start ends there. */
struct purser_instance *rig_start(const char *url);
/* The same, but the error of start() is the result; NULL and *e filled. */
struct purser_instance *rig_try_start(const char *url, const purser_host *host, purser_error *e);
void rig_stop(struct purser_instance *i);
int rig_prepare(struct purser_instance *i, purser_error *e); /* reload: settings readable again */
void rig_adopt(struct purser_instance *i, int commit);

struct purser_ctx *ctx_open(struct purser_instance *i); /* on the thread that will use it */
void ctx_close(struct purser_ctx *x); /* drains, then closes, and checks that all is settled */
void ctx_abort(struct purser_ctx *x); /* the same without waiting for calls that are pending */

struct purser_session *session_new(struct purser_ctx *x);
void session_free(struct purser_session *s); /* nothing of it may be pending */

/* A call made of words: "SET @k v" - @k is the key k with the run's prefix, 'a b' is one word with
 * blanks, \r \n \0 \xHH \\ stand for bytes.  Not offered yet. */
struct kcall *call_new(struct purser_session *s, unsigned resp, const char *words);
struct kcall *call_args(struct purser_session *s, unsigned resp, const purser_bytes *argv,
    uint32_t argc); /* argv[i] beginning with '@' is a key as above */
struct kcall *call_batch(struct purser_session *s, unsigned resp, struct kcall **parts, uint32_t n);
bool call_known(const char *words); /* does the plugin take this command? */
/* Put it into its route's queue, which is offered at once unless the plugin has said AGAIN. */
void call_offer(struct kcall *k);
struct kcall *call(struct purser_session *s, unsigned resp, const char *words); /* new and offer */
void call_hand_over(struct kcall *k); /* make the purser_call that the plugin sees */
void call_cancel(struct kcall *k, int why);
void call_resume(struct kcall *k, int what);
const char *call_text(struct kcall *k); /* what came: the reply, "(failed ...)" or "(pending)" */

void ctx_turn(struct purser_ctx *x, int64_t wait_ms);
bool ctx_until(
	struct purser_ctx *x, bool (*done)(void *arg), void *arg); /* false: patience is over */
void call_wait(struct kcall *k); /* until it has ended; rule 2 if it never does */
void ctx_settle(struct purser_ctx *x); /* until nothing is pending */
void ctx_skip_ms(struct purser_ctx *x, int64_t ms); /* the injected clock jumps */
/* The same, but first whatever connection is being made gets the real time that it needs. */
void ctx_back_off(struct purser_ctx *x, int64_t ms);

struct purser_ctx *rig_ctx(void);     /* rig_start and ctx_open */
void rig_done(struct purser_ctx *x);  /* removes the run's keys, closes, stops */

/* One command from beginning to end, and its reply as text. */
const char *run(struct purser_session *s, unsigned resp, const char *words);
void expect(struct purser_session *s, unsigned resp, int rule, const char *words, const char *want);

/* Around every callback into the plugin. */
void enter(struct purser_ctx *x, const char *what);
void leave(struct purser_ctx *x);

extern const purser_host kit_host;
void host_close_checks(struct purser_ctx *x); /* what close() left behind */
void host_release_refs(struct purser_ctx *x);

/* ---- the store that breaks at will (kit_fake.c) ---------------------------------------------- */
struct fake;
struct fake *fake_new(void);
void fake_free(struct fake *f);
const char *fake_url(struct fake *f);
void fake_listen(struct fake *f, bool on);      /* off: refuse, and cut all links */
void fake_hold(struct fake *f, bool on);        /* read, but do not answer */
void fake_deaf(struct fake *f, bool on);        /* do not even read */
void fake_drip(struct fake *f, bool on);        /* answer one byte at a time */
void fake_answer(struct fake *f, const char *command, const char *resp); /* instead of its own */
/* Cut the next link that brings bytes and has served a command before: after n more bytes from it
 * (-1: not), or after n more bytes to it. */
void fake_cut_in(struct fake *f, int64_t n);
void fake_cut_out(struct fake *f, int64_t n);
bool fake_has_cut(struct fake *f);              /* the cut that was asked for has happened */
void fake_cut_all(struct fake *f);
struct fake_seen { uint64_t commands, bytes, out, links; };
struct fake_seen fake_seen(struct fake *f);     /* whole commands, without the handshake's */
unsigned fake_times(
	struct fake *f, const char *word); /* whole commands that had the word as an argument */

/* ---- the tests ------------------------------------------------------------------------------- */
enum {
	NEEDS_FAKE = 1,
	NEEDS_ARGV = 2,
	NEEDS_INLINE = 4,
	NEEDS_BLOCKING = 8,
	NEEDS_WIRE = 16,
	NEEDS_OWN_DATA = 32,
	NEEDS_STORE = 64
};
struct kit_test {
	int rule; /* 0: semantics */
	const char *name;
	uint64_t caps;
	unsigned needs;
	const char *commands; /* that the plugin must take, with blanks between; NULL: none */
	void (*fn)(void);
	const void *table;    /* of a semantic test */
};
/* Each ends with a row without fn. */
extern const struct kit_test rules_calls[], rules_state[], rules_wire[], rules_links[],
	rules_semantic[];
extern const void *kit_table; /* of the test that is running */
#endif
