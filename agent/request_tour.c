/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include "request_tour.h"

static void arrive(void *arg)
{
	struct tour *t = arg;
	uint32_t at = t->at++;

	if (at == t->home->npeers) {
		t->end(t);
		return;
	}
	t->visit(t, t->home->peers[at]);
	loop_post(t->at < t->home->npeers ? t->home->peers[t->at]->loop : t->home->loop, &t->job);
}

void tour_start(struct tour *t, struct worker *home)
{
	t->home = home;
	t->at = 0;
	t->job.fn = arrive;
	t->job.arg = t;
	loop_post(home->npeers ? home->peers[0]->loop : home->loop, &t->job);
}
