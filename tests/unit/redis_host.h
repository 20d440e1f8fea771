/* SPDX-License-Identifier: Apache-2.0
 *
 * A recording host for tests of the redis plugin, on the agent's loop: it checks what the contract
 * says of the plugin (ends, order, credit, counts of connections) and keeps what each call got.
 * And a server that answers only what a test tells it to.
 */
#ifndef REDIS_HOST_H
#define REDIS_HOST_H
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <purser/plugin.h>
#include "loop/loop.h"

#define SESSIONS 64

struct call {                  /* one call of a test */
	purser_call c;             /* first */
	uint8_t *wire;             /* what encode() gives out */
	size_t wire_n, wire_at;
	size_t ready_n;            /* encode(): WAIT behind this many bytes (streamed); else wire_n */
	char *reply;               /* raw bytes */
	size_t reply_n, reply_cap;
	char error[300];           /* error() or fail() text */
	int64_t credit;            /* raw() says stop when more than this has come; 0 = never */
	uint64_t seq;              /* of submit, in its session */
	uint64_t order;            /* in which it ended: 1, 2, ... */
	uint32_t code, executed;   /* of fail() */
	bool submitted, ended, failed, was_sent, got_error, via, stalled, cancelled;
	struct call *next;         /* queue of the test host */
	void (*check)(struct call *c); /* at its end, if not NULL */
	void *tag;
};

struct purser_session {
	void *slot;
	uint64_t submitted, ended; /* sequence numbers: ends must come in order */
	uint64_t mixed;            /* any route but SHARED was used */
};

struct setting { char key[32], text[600]; };

struct purser_instance {
	struct setting set[32];
	unsigned nset;
};

struct purser_ctx {
	struct loop *loop;
	struct purser_instance inst;
	const purser_plugin *p;
	void *state, *cs;
	struct purser_session session[SESSIONS];
	struct call *queue, **queue_end; /* AGAIN was answered */
	bool ready, touched;
	uint64_t ended, pending, readies;
	int64_t links[4];          /* by PURSER_LINK_* */
	int64_t count[16];
	char logged[8192];         /* all lines of level WARN and worse, and INFO */
	unsigned lines;
	uint64_t skew;             /* added to the clock */
	size_t encode_max;         /* encode() gives out at most this at once; 0: no limit */
	pthread_t threads[64];     /* that offload() has started: joined before the loop goes */
	unsigned offloaded;
	void *watches, *timers;
	uint64_t timer_ids;
	unsigned inside;           /* depth of plugin callbacks: host calls come only from inside, or jobs */
};

/* Settings as "key=value", NULL at the end; url is needed. */
struct purser_ctx *host_new(const char *const *settings);
/* The same, where start() must refuse: its words. */
const char *host_refused(const char *const *settings);
void host_free(struct purser_ctx *x); /* drain, close, stop; no link may be left */
void host_abandon(struct purser_ctx *x); /* close and stop at once, with calls pending: they must end */
void host_turn(struct purser_ctx *x); /* one turn without waiting */
void host_wait(struct purser_ctx *x, const bool *until); /* turns, at most 10 s */
void host_skip(struct purser_ctx *x, uint64_t ms);       /* the clock goes on */

struct call *call_new(struct purser_ctx *x, unsigned session, uint32_t route, uint8_t resp,
    const void *wire, size_t n);
struct call *call_words(struct purser_ctx *x, unsigned session, uint32_t route, uint8_t resp,
    const char *words); /* split at blanks */
void call_submit(struct purser_ctx *x, struct call *c); /* AGAIN: kept and offered again when ready */
void call_cancel(struct call *c, int why); /* it may end at once; if not, its order is free */
void call_free(struct call *c); /* it must have ended, or never have been submitted */

/* ---- the server that a test plays ---------------------------------------------------------------- */

struct server {
	char dir[64], path[96], url[128];
	int listener;
};

void server_open(struct server *s);
void server_close(struct server *s);
void server_away(struct server *s);     /* nobody listens */
void server_back(struct server *s);
int server_accept(struct server *s);    /* the next connection, non-blocking; -1: none */
size_t server_read(int fd, char *buf, size_t cap); /* all that is there; 0: nothing; EOF: SIZE_MAX */
void server_write(int fd, const void *p, size_t n);
void server_say(int fd, const char *text);
/* Accept and answer a handshake as a standalone Redis 7; checks nothing of it.  The connection. */
int server_hello(struct server *s, struct purser_ctx *x);
#endif
