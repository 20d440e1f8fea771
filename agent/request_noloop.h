/* SPDX-License-Identifier: Apache-2.0
 *
 * request_noloop: which writes of a client surely change their keys (CLIENT TRACKING ... NOLOOP).  In: the words, and
 * what the store answers.  Out: yes, or it is not known.
 */
#ifndef REQUEST_NOLOOP_H
#define REQUEST_NOLOOP_H
#include "request_stage.h"

/* What its reply must be, if it has changed each of its keys. */
enum noloop_proof {
	NOLOOP_NONE,            /* nothing proves it */
	NOLOOP_ANY,             /* anything but an error */
	NOLOOP_COUNT,           /* an integer above 0 */
	NOLOOP_VALUE            /* neither null nor empty */
};
enum noloop_proof noloop_proof(const struct command *c, const purser_bytes *argv, uint32_t argc);

struct noloop_filter {          /* looks at the beginning of a reply */
	struct reply_filter f;
	struct request *r;
	struct reply_filter *then;
	uint8_t have;
	uint8_t head[4];
};
void noloop_listen(struct noloop_filter *f, struct request *r); /* from now on; the reply passes on as it is */
bool noloop_proved(const struct noloop_filter *f, enum noloop_proof p);
#endif
