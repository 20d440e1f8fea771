/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: what a test's process says to its parent.  One write a line, so that any thread may and a
 * crash loses nothing.
 */
#include <config.h>
#include "kit.h"
#include "kit_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int report_fd = -1;
static _Atomic unsigned blames;

void report_open(int fd)
{
	report_fd = fd;
	blames = 0;
}

/* kind: 'B' a finding, 'S' skipped.  Line ends in the text would look like another report. */
static void report(char kind, int rule, const char *fmt, va_list ap)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%c", kind);

	if (rule)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "rule %d: ", rule);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	for (char *c = line; c < line + n; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	line[n++] = '\n';
	if (write(report_fd, line, (size_t)n) != n)
		_exit(4);
}

void kit_blame(int rule, const char *fmt, ...)
{
	unsigned n = atomic_fetch_add(&blames, 1) + 1;
	va_list ap;

	if (n <= REPORT_MAX) {
		va_start(ap, fmt);
		report('B', rule, fmt, ap);
		va_end(ap);
	}
	if (n >= REPORT_MAX) /* what goes wrong eight times goes wrong a thousand times */
		_exit(3);
}

void kit_stop(int rule, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report('B', rule, fmt, ap);
	va_end(ap);
	_exit(3);
}

void kit_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report('S', 0, fmt, ap);
	va_end(ap);
	_exit(0);
}

bool kit_blamed(void)
{
	return atomic_load(&blames) > 0;
}
