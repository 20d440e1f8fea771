/* SPDX-License-Identifier: Apache-2.0 */
/* metric/dump: metrics.def as the table of docs/metrics.md. */
#include <config.h>
#include <string.h>
#include "base/buf.h"
#include "metric/metric.h"

void metric_dump(struct buf *out)
{
	static const char *const kinds[] = { "counter", "updown", "gauge", "histogram" };

	buf_puts(out, "| metric | unit | kind | attributes | stability | meaning |\n");
	buf_puts(out, "|---|---|---|---|---|---|\n");
	for (int i = 0; i < METRIC_COUNT; i++) {
		const struct metric_row *r = &metric_rows[i];
		const char *a = r->attrs;

		buf_printf(out, "| `%s` | `%s` | %s | ", r->name, r->unit, kinds[r->kind]);
		while (*a) {
			size_t len = strcspn(a, ","), name = strcspn(a, ",:");

			buf_printf(out, "`%.*s`%s%s", (int)name, a, len > name ? " (int)" : "",
			    a[len] ? ", " : "");
			a += len + (a[len] == ',');
		}
		buf_printf(out, " | %s | %s |\n", strcmp(r->stability, "OWN") == 0 ? "Purser" :
		    strcmp(r->stability, "STABLE") == 0 ? "stable" : "development", r->doc);
	}
}
