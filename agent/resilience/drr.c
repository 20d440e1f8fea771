/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/drr: see the header. */
#include <config.h>
#include <stddef.h>
#include "resilience/drr.h"

static void join(struct drr *d, struct drr_flow *f)
{
	f->next = NULL;
	f->prev = d->tail;
	if (d->tail)
		d->tail->next = f;
	else
		d->head = f;
	d->tail = f;
}

static void leave(struct drr *d, struct drr_flow *f)
{
	if (f->prev)
		f->prev->next = f->next;
	else
		d->head = f->next;
	if (f->next)
		f->next->prev = f->prev;
	else
		d->tail = f->prev;
	f->next = f->prev = NULL;
}

void drr_add(struct drr *d, struct drr_flow *f, struct drr_item *it)
{
	it->next = NULL;
	it->prev = f->tail;
	if (f->tail) {
		f->tail->next = it;
	} else {
		f->head = it;
		/* What was overdrawn is owed to those who wait; what was left (less than a quantum, for it is
		 * granted to those who have none) is had again: the turn may have been its only one's. */
		if (!d->head)
			f->credit = 0;
		join(d, f);
	}
	f->tail = it;
}

void drr_remove(struct drr *d, struct drr_flow *f, struct drr_item *it)
{
	if (it->prev)
		it->prev->next = it->next;
	else
		f->head = it->next;
	if (it->next)
		it->next->prev = it->prev;
	else
		f->tail = it->prev;
	it->next = it->prev = NULL;
	if (!f->head)
		leave(d, f);
}

/* So many rounds that one of those who may has credit.  False: nobody may. */
static bool grant(struct drr *d, bool (*may)(void *arg, const struct drr_flow *f), void *arg)
{
	int64_t rounds = 0;

	for (const struct drr_flow *f = d->head; f; f = f->next) {
		int64_t n = 1 - f->credit / d->quantum; /* credit <= 0 */

		if (may(arg, f) && (!rounds || n < rounds))
			rounds = n;
	}
	for (struct drr_flow *f = d->head; f; f = f->next)
		if (rounds && may(arg, f))
			f->credit += rounds * d->quantum;
	return rounds > 0;
}

struct drr_item *drr_next(struct drr *d, bool (*may)(void *arg, const struct drr_flow *f), void *arg,
    struct drr_flow **flow)
{
	do {
		struct drr_flow *last = d->tail, *f;

		while ((f = d->head)) {
			if (f->credit > 0 && may(arg, f)) {
				struct drr_item *it = f->head;

				*flow = f;
				drr_remove(d, f, it);
				return it;
			}
			leave(d, f); /* to the end: the next one's turn */
			join(d, f);
			if (f == last)
				break;
		}
	} while (d->head && grant(d, may, arg));
	return NULL;
}
