/* SPDX-License-Identifier: Apache-2.0
 *
 * When two replies are the same.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "diff.h"

static size_t value_length(const uint8_t *p, size_t n)
{
	purser_scan s;
	int64_t used;

	purser_scan_begin(&s);
	used = purser_scan_feed(&s, p, n);
	return used > 0 && purser_scan_done(&s) ? (size_t)used : 0;
}

int64_t reply_elements(const uint8_t *p, size_t n, struct word *out, size_t max)
{
	const uint8_t *cr = n ? memchr(p, '\r', n) : NULL;
	int64_t count;
	size_t at, i;

	if (!cr || !strchr("*%~>", p[0]) || purser_resp_int(p + 1, (size_t)(cr - p) - 1, &count) ||
	    count < 0)
		return -1;
	if (p[0] == '%')
		count *= 2;
	at = (size_t)(cr - p) + 2;
	for (i = 0; out && i < (size_t)count && i < max; i++) {
		size_t len = value_length(p + at, n - at);

		out[i] = (struct word){ p + at, (uint32_t)len };
		at += len;
	}
	return count;
}

int reply_bulk(struct word r, struct word *out)
{
	const uint8_t *cr = r.n ? memchr(r.p, '\r', r.n) : NULL;
	int64_t n;

	if (!cr || r.p[0] != '$' || purser_resp_int(r.p + 1, (size_t)(cr - r.p) - 1, &n) || n < 0)
		return -1;
	*out = (struct word){ cr + 2, (uint32_t)n };
	return 0;
}

static int compare_word(const struct word *a, const struct word *b)
{
	int c = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);

	return c ? c : (a->n > b->n) - (a->n < b->n);
}

static int compare_one(const void *a, const void *b) { return compare_word(a, b); }

static int compare_two(const void *a, const void *b)
{
	const struct word *x = a, *y = b;
	int c = compare_word(x, y);

	return c ? c : compare_word(x + 1, y + 1);
}

void sort_words(struct word *w, size_t n, size_t per)
{
	if (n)
		qsort(w, n / per, per * sizeof(*w), per == 2 ? compare_two : compare_one);
}

static int agree_sorted(const uint8_t *a, size_t an, const uint8_t *b, size_t bn, size_t per)
{
	int64_t n = reply_elements(a, an, NULL, 0), i;
	struct word *x, *y;
	int same = 1;

	if (n < 0 || reply_elements(b, bn, NULL, 0) != n || a[0] != b[0])
		return 0;
	x = calloc((size_t)n + 1, sizeof(*x));
	y = calloc((size_t)n + 1, sizeof(*y));
	if (!x || !y)
		exit(2);
	reply_elements(a, an, x, (size_t)n);
	reply_elements(b, bn, y, (size_t)n);
	sort_words(x, (size_t)n, per);
	sort_words(y, (size_t)n, per);
	for (i = 0; same && i < n; i++)
		same = compare_word(&x[i], &y[i]) == 0;
	free(x);
	free(y);
	return same;
}

static int agree_near(const uint8_t *a, size_t an, const uint8_t *b, size_t bn, uint64_t tolerance)
{
	int64_t x, y;

	if (an < 4 || bn < 4 || a[0] != ':' || b[0] != ':' ||
	    purser_resp_int(a + 1, an - 3, &x) || purser_resp_int(b + 1, bn - 3, &y))
		return 0;
	if (x < 0 || y < 0) /* -1 and -2 have a meaning */
		return x == y;
	return (uint64_t)(x > y ? x - y : y - x) <= tolerance;
}

/* One line, or a string with its payload; its length, 0: nothing is left. */
static size_t token(const uint8_t *p, size_t n)
{
	const uint8_t *nl = n ? memchr(p, '\n', n) : NULL;
	size_t line = nl ? (size_t)(nl - p) + 1 : n;

	return n && strchr("*~%>", p[0]) ? line : value_length(p, n);
}

/* Token by token; integers that are times may be so far apart. */
static int agree_times(const uint8_t *a, size_t an, const uint8_t *b, size_t bn, uint64_t tolerance, int idles)
{
	static const char idle[] = "$4\r\nidle\r\n";
	const uint8_t *before = a;
	size_t nbefore = 0, x, y;

	for (; an && bn; a += x, b += y, an -= x, bn -= y) {
		x = token(a, an);
		y = token(b, bn);
		if (!x || !y)
			return 0;
		if (x != y || memcmp(a, b, x) != 0) {
			int named = nbefore == sizeof(idle) - 1 && memcmp(before, idle, nbefore) == 0;
			int64_t v;

			if (a[0] != ':' || b[0] != ':' || purser_resp_int(a + 1, x - 3, &v) ||
			    !(idles ? *before == '$' : named || v > INT64_C(1000000000000)) ||
			    !agree_near(a, x, b, y, tolerance))
				return 0;
		}
		before = a;
		nbefore = x;
	}
	return an == bn;
}

int reply_agree(enum rule rule, const uint8_t *a, size_t an, const uint8_t *b, size_t bn,
    uint64_t tolerance)
{
	if (an == bn && memcmp(a, b, an) == 0)
		return 1;
	if (!an || !bn || a[0] != b[0] || a[0] == '-')
		return 0;
	switch (rule) {
	case SORTED:
		return agree_sorted(a, an, b, bn, 1);
	case PAIRS:
		return agree_sorted(a, an, b, bn, 2);
	case SECONDS:
		return agree_near(a, an, b, bn, 1 + tolerance / 1000);
	case MILLISECONDS:
		return agree_near(a, an, b, bn, tolerance);
	case TIMES:
	case IDLES:
		return agree_times(a, an, b, bn, tolerance, rule == IDLES);
	case SHAPE:
		return 1;
	default:
		return 0;
	}
}

void print_bytes(FILE *f, const uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n && i < 160; i++) {
		if (p[i] == '\r')
			fputs("\\r", f);
		else if (p[i] == '\n')
			fputs("\\n", f);
		else if (p[i] == '"' || p[i] == '\\')
			fprintf(f, "\\%c", p[i]);
		else if (p[i] < 32 || p[i] > 126)
			fprintf(f, "\\x%02x", p[i]);
		else
			fputc(p[i], f);
	}
	if (i < n)
		fprintf(f, "... (%zu bytes)", n);
}

void print_cmd(FILE *f, const struct cmd *c)
{
	uint32_t i;

	for (i = 0; i < c->argc; i++) {
		fputs(i ? " \"" : "\"", f);
		print_bytes(f, c->argv[i].p, c->argv[i].n);
		fputc('"', f);
	}
	if (c->wait_ms)
		fprintf(f, "   (then wait %u ms)", c->wait_ms);
	fputc('\n', f);
}
