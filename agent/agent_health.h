/* SPDX-License-Identifier: Apache-2.0
 *
 * What binds the health room to the running agent: its probes become child requests on worker 0.
 * Control thread unless said otherwise.
 */
#ifndef AGENT_HEALTH_H
#define AGENT_HEALTH_H
#include "agent.h"
#include "health/health.h"

int health_glue_start(struct agent *a, char *why, size_t whylen);
void health_glue_apply(struct agent *a, const struct cfg *cfg); /* after a reload */
void health_glue_stop(struct agent *a);
void health_glue_free(struct agent *a); /* the workers have ended: they may ask until then */
/* The status document; done is called once, on this thread, at once or when a check has ended. */
void health_glue_get(struct agent *a, void (*done)(void *arg, const char *json, size_t n), void *arg);
bool health_glue_ready(struct agent *a, char *why, size_t whylen); /* any thread */
/* Any thread: how many keys of the store lie outside the project; 0 = nothing to say. */
/* As health asks: argv (physical names) of a backend, the agent's own; done comes once, on this thread. */
void health_glue_ask(struct agent *a, uint32_t instance, const purser_bytes *argv, uint32_t argc,
    uint64_t timeout_ns, health_answer_fn done, void *done_arg);
void health_glue_moved(struct agent *a); /* a breaker has changed its state */
size_t health_glue_outside(struct agent *a, const struct project *p, char *dst, size_t cap);
#endif
