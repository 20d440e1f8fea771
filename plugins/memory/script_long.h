/* SPDX-License-Identifier: Apache-2.0
 *
 * script_long: scripts that take long.
 *
 * A script runs on a fiber of its context.  After SLICE_NS it leaves its worker to others and goes on in the
 * next turn; it keeps the locks.  From then on every other command says PURSER_AGAIN: the host keeps it.  After
 * script_time_limit they are answered BUSY instead, and SCRIPT KILL is heard.
 */
#ifndef MEMORY_SCRIPT_LONG_H
#define MEMORY_SCRIPT_LONG_H
#include "cmd.h"

struct fiber;

enum { LONG_NO, LONG_WAITS, LONG_BUSY };   /* store.script_long */
enum { RUNS_NOTHING, RUNS_SCRIPT, RUNS_FUNCTION }; /* store.script_runs */

static inline int script_bars(const struct store *st)
{
	return UNLIKELY(atomic_load_explicit(&st->script_long, memory_order_relaxed) != LONG_NO);
}
/* A call that cannot run now: what submit() says of it, BUSY may be answered. */
int script_put_off(struct ctx *cx, purser_call *c);
/* When the script has ended, what is left of this context is seen to: wait_serve_beside(), watch_tidy(). */
void script_await(struct ctx *cx);
/* Runs fn(cx, c) on the fiber of the context; what submit() says. */
int script_on_fiber(struct ctx *cx, purser_call *c, int (*fn)(struct ctx *cx, purser_call *c));
/* The script that this context runs begins and ends; all shards are locked. */
void script_begins(struct ctx *cx, purser_call *c, int runs);
void script_ends(struct ctx *cx);
/* It can be killed no more; -1: it is to be killed already, and must not write. */
int script_writes(struct ctx *cx);
/* From the count hook: time for others, or for an end.  1: it is to be killed. */
int script_looks_up(struct ctx *cx);
void script_over(struct ctx *cx);          /* behind a command, no lock held */
uint64_t script_runs_for(struct ctx *cx);   /* ns */
/* SCRIPT KILL and FUNCTION KILL; they need no lock. */
void script_kill(struct ctx *cx, purser_call *c, int runs);
void script_drain(struct ctx *cx);         /* it ends soon */
void script_close(struct ctx *cx);
#endif
