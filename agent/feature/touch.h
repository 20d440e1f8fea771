/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/touch: keys of which somebody must hear before they are written: those that have a live lease.  In: names as
 * the store has them.  Out: written() on the owner's worker, before the write of whatever client of this agent is sent;
 * the write waits until touch_done().
 *
 * While there is a key on an instance its gate has GATE_TOUCH; while there is none, no request pays anything.
 */
#ifndef FEATURE_TOUCH_H
#define FEATURE_TOUCH_H
#include <stdatomic.h>
#include "feature/feature.h"

struct touch_key;
struct touch_note;
struct purser_instance;

struct touch {                          /* embedded in what is to be void then; zero: not watched */
	struct touch_key *key;
	/* On the worker that called touch_watch(): the key is about to be written, or deleted.  touch_forget() it if it is
	 * void now, do what must be done before the write, and call touch_done(n), at once or later. */
	void (*written)(struct touch *t, struct touch_note *n);
};

/* t->written is set; key is physical, copied.  False: no memory.  Call it before the store is asked for what a write
 * is to make void. */
bool touch_watch(struct feature_worker *w, uint32_t instance, uint16_t db, purser_bytes key, struct touch *t);
void touch_forget(struct touch *t);     /* nothing if not watched */
void touch_done(struct touch_note *n);  /* on the thread of written() */
/* Is a write on its way, of which written() has not told yet?  True at once, whichever worker it is on. */
bool touch_written(const struct touch *t);

/* ---- the spine's side ---- */
struct touch_table;                     /* the agent's one */
struct touch_table *touch_table_new(void);
void touch_table_free(struct touch_table *x);
/* The worker's context of an instance closes: what it watches there it watches no longer. */
void touch_close(struct feature_worker *w, const struct purser_instance *i);
/* Add to *n those that watch the key head, tail (NULL: all keys of the database that begin with head; db TOUCH_DBS: of
 * all databases). */
#define TOUCH_DBS 0xffffffffu
void touch_find(struct touch_table *x, struct touch_note **n, const struct purser_instance *i, uint32_t db,
    purser_bytes head, const purser_bytes *tail);
/* Tell all of them, one after the other; then end(arg) on home's thread, once, later. */
void touch_tell(struct touch_note *n, struct feature_worker *home, void (*end)(struct feature_worker *home, void *arg, uint64_t id),
    void *arg, uint64_t id);
#endif
