/* SPDX-License-Identifier: Apache-2.0
 *
 * metric/info: the reply of INFO as the redis.* metrics of one backend.  Pure: text in, cells out.
 * A field that is not in the text has no point; one that does not parse is skipped and counted.
 */
#ifndef METRIC_INFO_H
#define METRIC_INFO_H
#include "metric/metric.h"

/* One for each backend instance; belongs to the thread of the shard. */
struct metric_info;
/* address "" and port 0 leave the attributes out (a backend in this process).  NULL: no memory. */
struct metric_info *metric_info_new(struct metric_shard *s, const char *backend, const char *address,
    uint16_t port);
void metric_info_free(struct metric_info *m); /* its points are gone at once */

/* What one INFO said.  wall_ns is the time of the reply.  Counters start when the server did: that
 * moves when uptime goes backwards or run_id changes.  The number of fields taken. */
unsigned metric_info_apply(struct metric_info *m, const char *text, size_t n, uint64_t wall_ns);
void metric_info_gone(struct metric_info *m); /* the store cannot be asked: no points */
bool metric_info_restarted(const struct metric_info *m); /* by the latest apply */
unsigned metric_info_skipped(const struct metric_info *m); /* values that did not parse, latest apply */
#endif
