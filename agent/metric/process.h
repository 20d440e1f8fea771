/* SPDX-License-Identifier: Apache-2.0
 *
 * metric/process: the agent as a process (process.*), read when metrics are read.
 */
#ifndef METRIC_PROCESS_H
#define METRIC_PROCESS_H
#include "metric/metric.h"

/* A metric_collect_fn; arg is unused.  Register it with metric_collector(). What /proc does not tell
 * has no point. */
void metric_process(void *arg, struct metric_shard *s);
#endif
