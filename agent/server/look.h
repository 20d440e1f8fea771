/* SPDX-License-Identifier: Apache-2.0
 *
 * server/look: does looking ahead pay (conn_ahead.c)?  It does where what requests touch is not in the CPU's caches, and
 * only a clock knows: one batch of some is timed, in turn with it and without, and which of the two wins most pairs is how
 * the others go.  A pure machine of one worker; the clock is read by its caller, for the timed ones only.
 */
#ifndef SERVER_LOOK_H
#define SERVER_LOOK_H
#include <stdbool.h>
#include <stdint.h>

#define LOOK_TIMED_OF 16u      /* one batch of so many is timed */
#define LOOK_LEAST 8u          /* requests of a batch that tells something */
#define LOOK_PAIRS 64u         /* until it is decided */
#define LOOK_SURE 40u          /* ... by so many of them: chance alone does that once in thirty times */

struct look {                  /* all zero: it pays, as far as is known */
	bool off;
	bool timing, with;     /* a batch is being timed, and how */
	uint8_t batches;       /* since the last one that was */
	uint8_t pairs, won;    /* timed; of those where it was faster with */
	uint64_t from_ns, first; /* of the batch: when it began, the commands of its client until then */
	uint64_t took[2];      /* picoseconds a request: without, with; 0: not timed yet */
};

/* A batch begins: is it to be timed?  Then look_time(), and look_end() behind it. */
static inline bool look_is_timed(struct look *k)
{
	if (++k->batches < LOOK_TIMED_OF)
		return false;
	k->batches = 0;
	return true;
}

static inline void look_time(struct look *k, uint64_t now_ns, uint64_t commands)
{
	k->timing = true;
	k->with = k->took[0] != 0;
	k->from_ns = now_ns;
	k->first = commands;
}

/* Are the requests of this batch to be looked at? */
static inline bool look_pays(const struct look *k)
{
	return k->timing ? k->with : !k->off;
}

static inline void look_end(struct look *k, uint64_t now_ns, uint64_t commands)
{
	uint64_t n = commands - k->first, took = now_ns - k->from_ns;

	k->timing = false;
	if (n < LOOK_LEAST || !took)
		return;
	k->took[k->with] = took * 1000 / n;
	if (!k->with)
		return;
	k->won += k->took[1] < k->took[0];
	k->took[0] = k->took[1] = 0;
	if (++k->pairs < LOOK_PAIRS)
		return;
	if (k->won >= LOOK_SURE)
		k->off = false;
	else if (k->won <= LOOK_PAIRS - LOOK_SURE)
		k->off = true;
	k->pairs = k->won = 0;
}
#endif
