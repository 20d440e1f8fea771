/* SPDX-License-Identifier: Apache-2.0
 *
 * unblock: a blocked call is to end though its client still waits.  To close its link would lose what the
 * server pops at that moment, so the server is told, CLIENT UNBLOCK, on a connection for that, and the call
 * ends by its own reply.  A link is not used again before the answer has come: it could hit the next call.
 *
 * The answer 0 means that nothing was blocked: the reply is on its way, or the command has not got there
 * yet.  Then it is said again, some times; at last the link is closed.
 */
#define _GNU_SOURCE
#include "redis.h"

#include <stdio.h>
#include <string.h>

#define TRIES_MAX 20u

static void want(struct link *l)
{
	struct ctx *x = l->x;

	l->unblock = UNBLOCK_WANTED;
	l->next_unblock = NULL;
	*x->unblocks_end = l;
	x->unblocks_end = &l->next_unblock;
}

static struct link *first(struct ctx *x)
{
	struct link *l = x->unblocks;

	if (!l)
		return NULL;
	x->unblocks = l->next_unblock;
	if (!x->unblocks)
		x->unblocks_end = &x->unblocks;
	l->next_unblock = NULL;
	return l;
}

static void forget(struct link *l)
{
	struct ctx *x = l->x;
	struct link **p = &x->unblocks;

	if (l->unblock == UNBLOCK_SENT)
		for (unsigned i = 0; i < STEPS_MAX; i++)
			if (x->told[i] == l)
				x->told[i] = NULL;
	if (l->unblock == UNBLOCK_WANTED) {
		while (*p && *p != l)
			p = &(*p)->next_unblock;
		if (*p)
			*p = l->next_unblock;
		if (!*p)
			x->unblocks_end = p;
	}
	l->unblock = UNBLOCK_NOT;
}

/* All that are wanted, as many as one flight takes. */
static void tell(struct link *control)
{
	struct ctx *x = control->x;
	struct link *l;
	char id[24];

	if (!x->unblocks || control->timer)
		return;
	if (hello_again(control)) {
		link_lost(control, PURSER_E_NOMEM, "out of memory");
		return;
	}
	while (control->nsteps < STEPS_MAX && (l = first(x))) {
		const char *words[] = { "CLIENT", "UNBLOCK", id, l->unblock_error ? "ERROR" : "TIMEOUT" };

		snprintf(id, sizeof(id), "%llu", (unsigned long long)l->id);
		l->unblock = UNBLOCK_SENT;
		l->tries++;
		x->told[control->nsteps] = l;
		if (hello_put(control, STEP_UNBLOCK, 4, words)) {
			link_lost(control, PURSER_E_NOMEM, "out of memory");
			return;
		}
	}
	link_flush(control);
}

int unblock_want(struct link *l, bool error)
{
	struct ctx *x = l->x;

	if (!l->id || l->lane->down || x->draining)
		return -1;
	if (l->unblock != UNBLOCK_NOT)
		return 0;
	l->unblock_error = error;
	l->tries = 0;
	want(l);
	if (!x->control && pool_open(l->lane, DEDICATED_CONTROL)) {
		forget(l);
		return -1;
	}
	if (x->control && x->control->phase == LINK_UP)
		tell(x->control);
	return 0;
}

void unblock_ready(struct link *control)
{
	tell(control);
}

void unblock_answered(struct link *control, unsigned step, const uint8_t *p, size_t n)
{
	struct link *l = control->x->told[step];

	control->x->told[step] = NULL;
	if (!l)
		return;
	l->unblock = UNBLOCK_NOT;
	if (!l->head)
		pool_free(l);
	else if (p[0] == '-' || (n >= 2 && p[0] == ':' && p[1] == '0' && l->tries >= TRIES_MAX && !l->began))
		link_lost(l, PURSER_E_CANCELLED, "cancelled");
	else if (p[1] == '0' && !l->began)
		want(l);
}

bool unblock_ended(struct link *l)
{
	if (l->unblock == UNBLOCK_WANTED)
		forget(l);
	return l->unblock == UNBLOCK_SENT;
}

/* Without the control link nobody can be told any more: those that wait are closed. */
static void give_up(struct ctx *x)
{
	struct link *l;

	memset(x->told, 0, sizeof(x->told));
	for (;;) {
		for (l = x->dedicated; l && l->unblock == UNBLOCK_NOT; l = l->next_dedicated)
			;
		if (!l)
			return;
		forget(l);
		if (l->head)
			link_lost(l, PURSER_E_CANCELLED, "cancelled");
		else if (!l->idle)
			pool_free(l);
	}
}

void unblock_gone(struct link *l)
{
	struct ctx *x = l->x;

	forget(l);
	if (l != x->control)
		return;
	x->control = NULL;
	give_up(x);
}
