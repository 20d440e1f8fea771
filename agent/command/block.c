/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a command may wait in the store, read as Redis 7.0 reads it.
 */
#include <config.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "command/command.h"

#define NUMBER_MAX (5 * 1024) /* MAX_LONG_DOUBLE_CHARS of Redis */

int64_t cmd_block_seconds(purser_bytes w)
{
	char text[NUMBER_MAX], *end;
	long double v;

	if (w.n == 0 || w.n >= sizeof text || isspace(w.p[0]))
		return -1;
	memcpy(text, w.p, w.n);
	text[w.n] = '\0';
	errno = 0;
	v = strtold(text, &end);
	if ((size_t)(end - text) != w.n || isnan(v) || (errno == ERANGE && (isinf(v) || v == 0)))
		return -1;
	v = ceill(v * 1000.0L);
	return v < 0 || v > (long double)LLONG_MAX ? -1 : (int64_t)v;
}

int64_t cmd_block_ms(purser_bytes w)
{
	int64_t v;

	return purser_resp_int(w.p, w.n, &v) || v < 0 ? -1 : v;
}
