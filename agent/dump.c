/* SPDX-License-Identifier: Apache-2.0
 *
 * --dump-docs: the parts of the documentation that are made from the tables.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include "agent.h"
#include "base/buf.h"

int dump_docs(struct agent *a)
{
	struct buf b = { .max = 16u << 20 };

	if (strcmp(a->opt.subject, "metrics")) {
		fprintf(stderr, "purserd: --dump-docs takes: metrics\n");
		return 2;
	}
	metric_dump(&b);
	fwrite(buf_data(&b), 1, buf_len(&b), stdout);
	buf_free(&b);
	return 0;
}
