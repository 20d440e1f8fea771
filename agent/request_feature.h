/* SPDX-License-Identifier: Apache-2.0
 *
 * request_feature: the spine's side of feature/feature.h.  In: requests of RUN_FEATURE rows.  Out: calls of handlers.
 */
#ifndef REQUEST_FEATURE_H
#define REQUEST_FEATURE_H
#include "request.h"
#include "request_stage.h"

#define ROUTE_BESIDE 7u                 /* purser_session.route: calls of F_BESIDE rows are under way */

enum stage_result feature_begin(struct request *r); /* the stage feature */
const struct command *feature_lookup(struct worker *w, const struct request *r); /* a row by a longer name, or NULL */
bool feature_movable(const struct request *r);
void feature_moved(struct request *r);          /* r->project is another */
bool feature_unblock(struct request *r, bool error); /* false: it does not wait */
void feature_gone(struct request *r);           /* its client has; r may be answered, and no more, behind it */

/* c->unsaid is set: r is answered with the first of them. */
enum stage_result unsaid_say(struct request *r);
void unsaid_forget(struct client *c);

/* ---- scripts (request_batch.c) ---- */
/* One of the agent's own.  Words are a's to borrow or copied; arena: for those of a that goes alone. */
void script_ask(const struct ask *a, unsigned script, const purser_bytes *keys, uint32_t nkeys, const purser_bytes *args,
    uint32_t nargs, struct arena *arena, child_fn fn, void *arg);
void batches_send(struct worker *w);            /* what was gathered goes out */

/* ---- writes of which somebody must hear first (request_touch.c): GATE_TOUCH is set ---- */
enum stage_result touch_gate(struct request *r); /* the gate has a bit set: may r be submitted? */
/* Everything of so many databases that begins with the project's prefix goes: as below. */
bool touch_flush(struct worker *w, const struct project *p, uint16_t db, uint32_t databases,
    void (*go_on)(struct feature_worker *home, void *arg, uint64_t id), void *arg);
/* A step that writes: true: go_on() is called when they have been told. */
bool touch_child(struct worker *w, const struct purser_instance *i, const struct command *cmd, const struct bcall *b,
    void (*go_on)(struct feature_worker *home, void *arg, uint64_t id), void *arg);

/* ---- a worker's rooms (feature.h) ---- */
int worker_begin_features(struct worker *w);    /* 0, or -1: no memory */
void worker_quit_features(struct worker *w);
void worker_reload_features(struct worker *w);
void worker_end_features(struct worker *w);
#endif
