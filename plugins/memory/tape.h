/* SPDX-License-Identifier: Apache-2.0
 *
 * tape: a reply that is made on one thread and given on another.  What serves a client that waits runs where
 * the key was written; its reply is recorded through a host table of the store's own (store->tape_host, in
 * place of cx->h) and played on the thread of the client.
 */
#ifndef MEMORY_TAPE_H
#define MEMORY_TAPE_H
#include "memory.h"

#define TAPE_SMALL 200u                /* bytes that need no allocation */

struct tape {
	struct ctx *cx;                    /* whose accounts pay while it records */
	uint8_t *p;                        /* NULL: small */
	size_t n, cap;
	int failed;                        /* there was no memory: it is an error then */
	uint8_t small[TAPE_SMALL];
};

void tape_init(struct tape *t);
/* Room for so many more values with so many bytes in all.  0, or -1: no memory. */
int tape_room(struct tape *t, struct ctx *cx, size_t values, size_t bytes);
void tape_play(const struct tape *t, struct ctx *cx, purser_call *c);
void tape_free(struct tape *t, struct ctx *cx);
/* The table that records: h's but for the replies, which go to the tape in c->user[1]. */
void tape_host(purser_host *out, const purser_host *h);
#endif
