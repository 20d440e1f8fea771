/* SPDX-License-Identifier: Apache-2.0
 *
 * fiber: a function on a stack of its own, which can be left in the middle and gone back to.  So a script
 * that takes long does not keep its worker from everything else.
 */
#ifndef MEMORY_FIBER_H
#define MEMORY_FIBER_H
#include <stddef.h>

typedef void fiber_fn(void *arg);
struct fiber;

struct fiber *fiber_new(void);             /* NULL: no memory */
void fiber_free(struct fiber *f);          /* nothing runs on it */
/* Runs fn on it, or goes on with it.  1: it has returned; 0: it has said fiber_leave(). */
int fiber_run(struct fiber *f, fiber_fn *fn, void *arg);
int fiber_go_on(struct fiber *f);
void fiber_leave(struct fiber *f);         /* on the fiber */
#endif
