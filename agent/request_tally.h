/* SPDX-License-Identifier: Apache-2.0
 *
 * request_tally: what became of the reads and writes of values (cmd_counted[]), in the tallies of their project.  Nulls
 * are told by whoever writes them (purser_call.nulls); integers by a filter on the rows with X_TOLD.  What nobody
 * waits for any more is not counted: nobody has seen how it ended.
 */
#ifndef REQUEST_TALLY_H
#define REQUEST_TALLY_H
#include "metric/tally.h"
#include "request.h"

/* isolate: notes the integer that r is answered with. 0, or -1: no memory. */
int tally_told(struct request *r);
/* The nulls of MGET, if its backend does not tell how many there are.  0, or -1: no memory. */
int tally_nulls(struct request *r);

/* How a command ended: with an error, or with so many nulls and, if it is of X_TOLD, this integer. */
struct tally_end {
	const struct command *cmd;
	const purser_bytes *argv; /* SET alone looks at them */
	uint32_t argc, nkeys;
	uint32_t nulls;
	int64_t told;
	bool failed;
};
void tally_count(struct metric_tally *t, const struct tally_end *e);
void tally_rest(struct request *r);

/* account: op is r's.  Of a plain GET or SET it knows the counter. */
static inline void tally_request(struct request *r, struct metric_op *op)
{
	_Atomic uint64_t *n = op->tally[r->b.c.nulls || r->argc > 3];

	if (__builtin_expect(n && !r->b.discard, 1))
		hist_bump(n, 1);
	else
		tally_rest(r);
}
#endif
