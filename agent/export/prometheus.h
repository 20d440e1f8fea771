/* SPDX-License-Identifier: Apache-2.0
 *
 * export/prometheus: the registry as Prometheus text (exposition format 0.0.4), by the naming rules
 * of OpenTelemetry: underscores, unit words, _total.  Two things are bent so that promtool has nothing
 * to say: parts of a second are given in seconds, and a gauge whose name would end in _count, which
 * is kept for histograms, ends in the plural (db_client_connections).
 */
#ifndef EXPORT_PROMETHEUS_H
#define EXPORT_PROMETHEUS_H
#include "base/buf.h"
#include "metric/metric.h"

#define EXPORT_PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct export_resource;
/* resource NULL: no target_info.  anonymous: without projects.  0, or -1 (no memory, or out->max reached: out is then not to be
 * sent).  Any thread. */
int export_prometheus(struct buf *out, struct metric_reg *r, const struct export_resource *resource,
    bool anonymous);

/* The name of a row, without _bucket, _sum, _count. */
#define EXPORT_PROMETHEUS_NAME 128
void export_prometheus_name(char dst[EXPORT_PROMETHEUS_NAME], const struct metric_row *row);
#endif
