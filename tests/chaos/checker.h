/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos-checker: many clients with random pipelines, who know of every request what its reply must be, and
 * what Redis must hold of it.
 *
 *   checker.c  sockets, the turn, what the test tells it on stdin
 *   send.c     what the clients send, and the want that each request leaves behind
 *   judge.c    replies against wants, in order
 *   logs.c     the lists that the clients append to, read from Redis itself
 *   wire.c     RESP: its own, so that no mistake is shared with the agent
 *
 * What is known of a store is learnt from replies, in order: a want names the key and its generation, the
 * model of the key changes when the reply has come.  A write that may have run makes its key uncertain: what
 * is sent from then on goes to a fresh name, and replies for the old one are only looked at for their form.
 */
#ifndef CHAOS_CHECKER_H
#define CHAOS_CHECKER_H 1
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPACES 3   /* project default, databases 0 and 1; project two */
#define SMALL 6    /* value keys of a client in each space; one more holds large values */
#define WANTS 4096 /* requests of a client that may be under way */

/* name, weight, feature that it needs */
#define KINDS(K) \
	K(PING, 20, 0) K(ECHO, 30, 0) K(SET, 60, 0) K(SETGET, 30, 0) K(GET, 80, 0) K(MGET, 10, 0) K(MSET, 10, 0) \
	K(DEL, 10, 0) K(BIGSET, 3, 0) K(BIGGET, 6, 0) K(INCR, 40, 0) K(APPEND, 30, 0) K(RPUSH, 120, 0) \
	K(RPUSHBIG, 1, 0) K(LLEN, 15, 0) K(LAST, 20, 0) K(WRONGTYPE, 6, 0) K(UNKNOWN, 4, 0) K(HELLO, 6, 0) \
	K(SPACE, 8, F_SPACES) K(SKIP, 6, F_SKIP) K(EVAL, 20, F_EVAL) K(EVALSHA, 20, F_SHA) K(EVALRO, 10, F_RO) \
	K(TX, 20, F_TX) K(DISCARD, 4, F_TX) K(WATCH, 6, F_WATCH) K(BLMOVE, 6, F_BLMOVE) K(BLPOP, 6, F_BLPOP) \
	K(BLOCKED, 2, F_BLMOVE) \
	K(FEED, 0, 0) K(FEEDPOP, 0, 0) K(QUEUED, 0, 0) K(EXEC, 0, 0) K(ONLYOK, 0, 0)
#define KIND_ENUM(name, weight, feature) K_##name,
enum kind { KINDS(KIND_ENUM) K_COUNT };
#undef KIND_ENUM

enum { F_SPACES = 1, F_SKIP = 2, F_EVAL = 4, F_SHA = 8, F_RO = 16, F_TX = 32, F_WATCH = 64, F_BLMOVE = 128, F_BLPOP = 256 };

enum status { TAG_OUT, TAG_ACKED, TAG_MAYBE, TAG_NOT };
enum verdict { GOOD, NOT_RUN, MAY_HAVE_RUN, WRONG };

/* A list that one client appended to, in one life and epoch. */
struct tag_log {
	struct tag_log *next;
	uint32_t client, life, epoch;
	uint8_t space;
	bool closed;       /* nothing is sent to it any more */
	unsigned looked;   /* how often it was read since then */
	uint8_t *status;   /* by sequence number: enum status */
	uint32_t *batch;   /* the first of those that must be there all, or none */
	uint32_t n, cap;
	uint32_t acked, maybe, last; /* in the order of replies */
};

struct model {
	uint32_t gen, serial;
	bool sure, absent;
	uint32_t seq, size;     /* of the value */
	uint64_t number, length; /* of the counter and of the string that grows */
};

struct want {
	uint8_t kind, space, key;
	char got[8]; /* the begin of its reply */
	bool big, fed, watched;
	uint32_t gen, seq, size;
	uint32_t tag, ntags;
	struct tag_log *log;
};

struct buf {
	uint8_t *p;
	size_t at, n, cap;
};

struct client {
	int fd;
	uint32_t number, life;
	unsigned resp, sent_resp;  /* as replies have come, and as has been sent */
	uint8_t space;             /* as has been sent */
	struct buf in, out;
	struct want want[WANTS];
	uint32_t first, wanted;    /* ring */
	struct model model[SPACES][SMALL + 3];
	struct tag_log *log[SPACES];
	enum verdict fed, watch;   /* of the last FEED and WATCH */
	bool touched;              /* the watched key was written by ourselves, for sure */
	bool aborted;              /* MULTI was refused */
	uint64_t next_at, progress, serial;
	size_t piece;
};

/* A reply, or a part of it. */
struct view {
	char type;
	const uint8_t *p; /* of text, integers and bulk */
	size_t n;
	int64_t i;        /* integers; number of elements; -1: null */
};

struct totals {
	uint64_t replies, by_kind[K_COUNT], acked, not_run, maybe, lives, halves, epochs, checked, late, bytes;
	struct { char word[24]; uint64_t n; } words[40];
	unsigned nwords;
};

extern struct client *clients;
extern unsigned nclients, features;
extern struct totals totals;
extern struct tag_log *logs;
extern uint32_t epoch;
extern bool late_allowed, blind;
extern uint64_t now;
extern char script_sha[41];
extern const char *const kind_names[K_COUNT];
extern const char *const append_script, *const get_script;

void die(const char *what);
/* What the agent, or Redis, did wrong: said on stdout, and the end. */
_Noreturn void violation(const struct client *c, const struct want *w, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
uint32_t below(uint32_t n);

/* wire.c */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_print(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_arg(struct buf *b, const char *text);
/* The length of the whole reply at p[0..n), 0: not whole yet, -1: not RESP. */
int64_t reply_size(const uint8_t *p, size_t n);
/* Takes the value at *p; what is inside an array comes next. */
struct view reply_take(const uint8_t **p, const uint8_t *end);
bool view_is(const struct view *v, const char *text);
int connect_to(const char *path);
/* One request on a blocking connection; the reply lies in `in` until the next. */
struct view ask(int fd, struct buf *in, const char *const *argv, const uint8_t **rest);

/* send.c */
void key_name(char out[64], const struct client *c, const struct want *w);
void log_name(char out[64], const struct tag_log *l);
/* The bytes of a value: a head that names key and sequence, and a filling. */
size_t value_make(struct buf *b, const struct client *c, const struct want *w);
void generate(struct client *c, unsigned many);
void client_fresh(struct client *c); /* new names for everything */

/* judge.c */
void judge(struct client *c, const uint8_t *p, size_t n);
/* The connection is gone: what had no reply may have run. */
void abandon(struct client *c);
/* What has no reply and is the next: it may have run. */
void pass_silent(struct client *c);

/* logs.c */
struct tag_log *log_new(struct client *c, uint8_t space);
uint32_t log_tag(struct tag_log *l, uint32_t batch);
void log_settle(struct tag_log *l, uint32_t tag, enum status s);
/* Reads all lists from the Redis at path and checks them; deletes what is checked for good. */
void logs_verify(const char *path);

#endif
