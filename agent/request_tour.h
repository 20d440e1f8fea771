/* SPDX-License-Identifier: Apache-2.0
 *
 * request_tour: something that has to be done on every worker, one after the other, and then said on the
 * one where it began: for commands that concern the clients of a whole project.
 */
#ifndef REQUEST_TOUR_H
#define REQUEST_TOUR_H
#include "request.h"

struct tour {                       /* embedded in what travels */
	purser_job job;
	struct worker *home;
	uint32_t at;
	void (*visit)(struct tour *t, struct worker *w); /* on each worker's thread */
	void (*end)(struct tour *t);                     /* on the home's; may free it */
};
/* visit and end are set.  The home is visited too. */
void tour_start(struct tour *t, struct worker *home);
#endif
