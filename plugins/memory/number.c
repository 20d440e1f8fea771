/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as text: see number.h.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "number.h"

int int_parse(const void *data, size_t n, int64_t *out)
{
	const uint8_t *p = data;
	size_t i = n > 0 && p[0] == '-';
	uint64_t v = 0;

	if (n == 0 || n > 20 || i == n)
		return -1;
	if (p[i] == '0' && n > 1)
		return -1; /* "0" is the only number that begins with it */
	for (; i < n; i++) {
		unsigned d = (unsigned)p[i] - '0';

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return -1;
		v = v * 10 + d;
	}
	if (v > (uint64_t)INT64_MAX + (p[0] == '-'))
		return -1;
	*out = (int64_t)(p[0] == '-' ? 0 - v : v);
	return 0;
}

size_t int_format(int64_t v, char buf[INT_TEXT])
{
	char tmp[INT_TEXT];
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	size_t at = sizeof(tmp), n = 0;

	do {
		tmp[--at] = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		tmp[--at] = '-';
	n = sizeof(tmp) - at;
	memcpy(buf, tmp + at, n);
	buf[n] = '\0';
	return n;
}

size_t int_length(int64_t v)
{
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	size_t n = v < 0 ? 2 : 1;

	for (; u >= 10; u /= 10)
		n++;
	return n;
}

int float_parse(const void *p, size_t n, long double *out)
{
	char buf[FLOAT_TEXT], *end;
	long double v;

	if (n == 0 || n >= sizeof(buf))
		return -1;
	memcpy(buf, p, n);
	buf[n] = '\0';
	if (isspace((unsigned char)buf[0]))
		return -1;
	errno = 0;
	v = strtold(buf, &end);
	if ((size_t)(end - buf) != n || isnan(v) || errno == EINVAL)
		return -1;
	if (errno == ERANGE && (isinf(v) || v == 0))
		return -1;
	*out = v;
	return 0;
}

size_t float_format(long double v, char buf[FLOAT_TEXT])
{
	int n = snprintf(buf, FLOAT_TEXT, "%.17Lf", v);

	if (n < 0 || n >= FLOAT_TEXT) /* it cannot: 4,933 digits before the point */
		return 0;
	if (strchr(buf, '.')) {
		while (buf[n - 1] == '0')
			n--;
		if (buf[n - 1] == '.')
			n--;
	}
	if (n == 2 && buf[0] == '-' && buf[1] == '0') {
		buf[0] = '0';
		n = 1;
	}
	buf[n] = '\0';
	return (size_t)n;
}

int double_parse(const void *p, size_t n, double *out)
{
	char buf[FLOAT_TEXT], *end;
	double v;

	if (n == 0 || n >= sizeof(buf))
		return -1;
	memcpy(buf, p, n);
	buf[n] = '\0';
	if (isspace((unsigned char)buf[0]))
		return -1;
	errno = 0;
	v = strtod(buf, &end);
	if ((size_t)(end - buf) != n || isnan(v))
		return -1;
	if (errno == ERANGE && (isinf(v) || v == 0))
		return -1;
	*out = v;
	return 0;
}

size_t score_format(double v, char buf[SCORE_TEXT])
{
	double most = (double)(INT64_MAX / 2);

	if (v >= -most && v <= most && v == (double)(int64_t)v)
		return int_format((int64_t)v, buf);
	return (size_t)snprintf(buf, SCORE_TEXT, "%.17g", v);
}
