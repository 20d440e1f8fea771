/* SPDX-License-Identifier: Apache-2.0
 *
 * wait: clients that wait for a key, and how they are served.
 *
 *   shard ─ waits: keys that somebody waits for (hash, database, name)
 *              └ links, in the order in which the clients came ─ waiter: the call, its deadline, its reply
 *
 * All of that is under the lock of the key's shard.  A command that makes a list, sorted set or stream says
 * wait_signal(); at its end, with all shards locked, it serves who waits for those keys: the keys in the order
 * in which they came to be, the clients of each in the order in which they came.  So nobody comes between a
 * write and those who waited for it.  The popped value is recorded (tape.h) and the client's own thread is
 * posted to: it gives the reply.  Until then the call is its context's, which can withdraw it (time-out, client
 * gone) under the locks of its keys: who was withdrawn is not served, who was served is not withdrawn.
 */
#ifndef MEMORY_WAIT_H
#define MEMORY_WAIT_H
#include "cmd.h"
#include "tape.h"

enum wait_kind { WAIT_LIST, WAIT_ZSET, WAIT_STREAM, WAIT_NOTHING, WAIT_KINDS };

/* Serves c, which waits, from argv[arg] at p (p->it may be of another type, or NULL): 1 with the reply given,
 * or 0: not what it waits for.  It does not look for the key again.  Hashes of its other keys are its own
 * affair: hash_key(). */
typedef int wait_fn(struct ctx *cx, purser_call *c, struct pos *p, uint32_t arg);

struct wait_for {
	enum wait_kind kind;
	wait_fn *serve;
	uint32_t first, keys;              /* in argv; their hashes are cx->hash[0..keys) */
	int64_t ms;                        /* 0: for ever */
	const void *kept;                  /* n bytes of its own, which are copied */
	size_t nkept;
};
const void *wait_kept(const purser_call *c);
/* The command has found nothing.  1: it waits, or will be offered again, or an error is replied.  0: it must not
 * wait (a transaction, a script): the caller answers as when the time has run out. */
int wait_for_keys(struct ctx *cx, purser_call *c, const struct wait_for *w);
/* Before what a recorded reply is about goes away: room for it.  0, or -1: no memory, nothing happened. */
int wait_room(struct ctx *cx, purser_call *c, size_t values, size_t bytes);

/* ---- who writes ----------------------------------------------------------------------------------------- */
/* There is a new value, or a stream changed or went, at p; who waits for it is served when the command ends. */
void wait_signal_key(struct ctx *cx, const struct pos *p, enum wait_kind kind);
static inline void wait_signal(struct ctx *cx, const struct pos *p, enum wait_kind kind)
{
	if (UNLIKELY(cx->st->shard[shard_of(p->hash)].waits != NULL))
		wait_signal_key(cx, p, kind);
}
/* A database has other keys than before: all of it that somebody waits for. */
void wait_signal_db(struct ctx *cx, uint32_t db);
/* Does anybody wait for a key of this hash?  Under the lock of its shard. */
int wait_wanted(const struct store *st, uint64_t hash);
/* Serves who waits for the keys that were signalled.  All shards are locked afterwards, or none. */
void wait_serve(struct ctx *cx);
/* The same where no command runs and no shard is locked. */
void wait_serve_beside(struct ctx *cx);
/* Keys that were signalled (cx->ready) and taken out for a while. */
void wait_put_back(struct ctx *cx, struct waitkey *first, struct waitkey *last);

/* ---- the plugin's side ------------------------------------------------------------------------------------ */
int wait_run(void *cs, purser_call *c);    /* in place of run() for what may wait */
void wait_cancel(void *cs, purser_call *c, int why);
void wait_drain(void *cs);
void wait_close(struct ctx *cx);
void wait_limit(struct store *st, uint32_t max); /* any thread */
#endif
