/* SPDX-License-Identifier: Apache-2.0
 *
 * watch: WATCH.  A session has a list of the keys that it watches; each shard has a table of the watched ones
 * among its keys, which is read and changed under the lock of the shard, as the keys are.  Who changes a key marks
 * the sessions that watch it (event.c), and EXEC of a marked session answers null.
 *
 * A key that has expired but is still there is removed when it is watched, and before two databases change their
 * places: so being there and existing are one thing, and Redis' rule needs no mark of its own (what was dead at
 * WATCH and is removed later has not changed).
 */
#ifndef MEMORY_WATCH_H
#define MEMORY_WATCH_H
#include "memory.h"

struct watcher;

/* EXEC with every shard locked: has something that its session watches changed, or expired?  The watch is over. */
int watch_exec(struct ctx *cx, const purser_call *c);
void watch_forget(struct ctx *cx, const purser_call *c); /* the same of a call that ends unrun */
/* The session watches nothing any more; takes the locks, or while a script has them and takes long is put off until
 * watch_tidy(). */
void watch_end(struct ctx *cx, struct watcher *w);
void watch_tidy(struct ctx *cx);
void watch_end_all(struct ctx *cx);       /* of all sessions of this context */

/* Under the lock of the key's shard. */
void watch_touch(struct ctx *cx, uint32_t db, purser_bytes key);
/* All shards are locked, and the keys of the database are still there; swap: those of another one take their place. */
void watch_flush(struct ctx *cx, uint32_t db);
void watch_swap(struct ctx *cx, uint32_t a, uint32_t b);
#endif
