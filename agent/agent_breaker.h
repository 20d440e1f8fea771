/* SPDX-License-Identifier: Apache-2.0
 *
 * The breakers' part on the control thread: the agent's own probes, and who is told of a transition.
 */
#ifndef AGENT_BREAKER_H
#define AGENT_BREAKER_H
#include "agent.h"
#include "health/health.h"

void breaker_glue_begin(struct agent *a, struct backend *b); /* a backend was made */
void breaker_glue_end(struct agent *a, struct backend *b);   /* it is about to be freed */
/* [breaker], [retry] and fault_injection of cfg hold from now on, for all backends. */
void breaker_glue_apply(struct agent *a, const struct cfg *cfg);
/* The worst of an instance's breakers, for health. */
void breaker_glue_view(struct purser_instance *in, uint64_t now_ns, struct health_breaker *out);
/* A message for subscribers of PURSER.SUBSCRIBE goes to all workers. */
void breaker_glue_tell(struct agent *a, const struct watch_message *m);
#endif
