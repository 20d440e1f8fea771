/* SPDX-License-Identifier: Apache-2.0
 *
 * order: a small store that tests run the agent on.  It ends calls in every way that the contract
 * allows (inside submit, from a timer, from flush, from a posted job, from offloaded work), keeps a
 * window, says AGAIN, writes replies in every way, fails on demand, and checks what the host promises.
 * What the host does wrong becomes a log line of level error, which the harness finds.
 *
 *   order.c        what it declares, the queue of a context, when calls end
 *   order_exec.c   what the commands do, how replies are written
 *   order_check.c  what must hold for every call
 *   order_stream.c WIRE: calls whose arguments still arrive; each joins the queue when it is whole
 *
 * Built three times: ORDER_WIRE, ORDER_BLOCKING, or neither (ARGV, inline).
 *
 * Keys that do something else (behind the project's prefix):
 *   fail:CODE:EXECUTED:...   the call ends by fail() with these numbers, and is not executed
 *   broken:...               half of a reply, then fail(IO, EXECUTED)
 *   torn:...                 the first 40,000 of 100,000 bytes, after 20 ms fail(IO, EXECUTED)
 *   err:...                  an error of the store that quotes the physical key
 *   slow:...                 takes setting `slow`, and so does all that is behind it
 */
#ifndef ORDER_H
#define ORDER_H
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

#define BUCKETS 1024u

enum op { OP_GET, OP_SET, OP_DEL, OP_EXISTS, OP_STRLEN, OP_APPEND, OP_INCR, OP_MGET, OP_MSET, OP_SCAN,
	OP_PING, OP_COUNT };
enum style { STYLE_ANY, STYLE_TYPED, STYLE_RESERVED, STYLE_REFERENCE, STYLE_RAW };
enum ends { ENDS_INLINE, ENDS_TIMER, ENDS_FLUSH, ENDS_POST, ENDS_OFFLOAD, ENDS_MIXED };

struct item {
	struct item *next;
	uint16_t db;
	size_t klen, vlen;
	uint8_t *key, *value;
};

struct store {                  /* an instance */
	const purser_host *h;
	purser_instance *i;
	pthread_mutex_t lock;       /* of the buckets */
	struct item *bucket[BUCKETS];
	char prefixes[512];         /* allowed ones, with spaces between */
	int64_t window, again_every, ends, style;
	uint64_t slow_ns, seed;
	atomic_int refs;            /* raw_ref() bytes that the host has not released */
	atomic_uint contexts;
};

struct sess {                   /* of a client, on an instance */
	struct sess *next, *prev;
	unsigned inflight;
	uint16_t db;
	uint8_t resp, route;
};

struct ctx {
	struct store *s;
	purser_ctx *x;
	pthread_t thread;
	purser_call *head, *tail;   /* accepted, in order */
	purser_call *streams;       /* accepted, not whole: in no order */
	struct sess *sessions;
	unsigned n, submits;
	uint64_t rng;
	unsigned inside;            /* host-table functions that may end a call: no callback may come */
	unsigned starving;          /* bit per route: AGAIN was answered, ready() is owed */
	bool closing;
	bool at_flush;
	uint64_t timer, ready_timer; /* 0: not set */
	bool posted, offloaded;
	purser_job post, work, done;
	struct reply *stalled;      /* what of head's reply the host did not take yet */
};

struct call_state {             /* call->user[0] */
	uint8_t *wire;              /* WIRE: the encoded command */
	purser_bytes *argv;         /* ... its words */
	size_t came, cap;           /* of a streamed one: bytes of wire so far, and its room */
	uint64_t sum;               /* ARGV: of all bytes, at submit */
	bool torn;                  /* what there is of its reply is out */
	bool waited;                /* slow: its time is over */
};

struct reply {
	uint8_t *p;
	size_t n, cap, at;
	uint8_t kind;               /* '+', '$', ':', '_', '-' or '*' */
	int64_t number;             /* of ':' */
	size_t from, len;           /* payload of '+', '$' and '-' */
	bool oom;
};

/* order_check.c */
void wrong(struct ctx *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void check_entry(struct ctx *x, const char *what);  /* the right thread, no re-entry */
int check_call(struct ctx *x, purser_call *c);      /* at submit; -1: cannot go on */
int check_encode(struct ctx *x, purser_call *c);    /* WIRE: fills the state's argv; -1: no memory */
int check_words(struct ctx *x, purser_call *c, size_t n); /* ... from the n bytes of its wire */
void check_end(struct ctx *x, purser_call *c);      /* before end() or fail(): frees the state */
const purser_bytes *words(const purser_call *c);
struct sess *session_at(struct ctx *x, purser_session *s);

/* order_stream.c */
enum { STREAM_WAITS, STREAM_WHOLE, STREAM_NOMEM };
int stream_more(struct ctx *x, purser_call *c);     /* STREAM_*; it stays in x->streams while it waits */
bool stream_drop(struct ctx *x, purser_call *c);    /* out of x->streams; false: it is not there */

/* order_exec.c */
uint64_t rnd(struct ctx *x, uint64_t n);            /* 0 .. n - 1 */
bool execute(struct ctx *x, purser_call *c);        /* false: stalled, resume() comes */
bool go_on(struct ctx *x, purser_call *c);          /* with x->stalled; true: ended */
void on_timer(void *arg);                           /* x->timer: end what is at the head */
/* c is the head of the queue, or in no list. */
void finish(struct ctx *x, purser_call *c, uint32_t code, uint32_t executed, const char *text);
bool waits(struct ctx *x, purser_call *c);           /* a slow one, for the first time */
void store_free(struct store *s);
#endif
