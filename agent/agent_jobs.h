/* SPDX-License-Identifier: Apache-2.0
 *
 * agent_jobs: what the jobs' thread (feature/job_service.h) needs of the agent: its settings, and the road to the store.
 */
#ifndef AGENT_JOBS_H
#define AGENT_JOBS_H
#include "agent.h"

int jobs_glue_start(struct agent *a, char *why, size_t whylen); /* before workers serve */
void jobs_glue_apply(struct agent *a, const struct cfg *cfg);   /* after a reload */
#endif
