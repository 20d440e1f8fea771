/* SPDX-License-Identifier: Apache-2.0 */
/* feature/job_read: what the store answers to SCAN and INFO. */
#include <config.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "access/cursor.h"
#include "feature/job_priv.h"
#include "resp/pick.h"

static int grow(struct job_names *x, uint64_t n)
{
	purser_bytes *v;

	if (n <= x->cap)
		return 0;
	v = n > UINT32_MAX ? NULL : realloc(x->v, n * sizeof *v);
	if (!v)
		return -ENOMEM;
	x->v = v;
	x->cap = (uint32_t)n;
	return 0;
}

int job_read_scan(struct job_names *x, bool whole, uint64_t *cursor)
{
	const uint8_t *p = buf_data(&x->text), *end = p + buf_len(&x->text);
	purser_bytes word;
	int64_t n;

	x->n = 0;
	if (!p || resp_pick_header(&p, end, '*', &n) || n != 2 || resp_pick_bulk(&p, end, &word) ||
	    cursor_number(word, cursor) || resp_pick_header(&p, end, '*', &n) || n < 0 || n > end - p)
		return -EPROTO;
	if (grow(x, (uint64_t)n))
		return -ENOMEM;
	while (n-- > 0) {
		if (resp_pick_bulk(&p, end, &word))
			return -EPROTO;
		if (!whole || word.n < 4 || memcmp(word.p, "psr:", 4))
			x->v[x->n++] = word;
	}
	return p == end ? 0 : -EPROTO;
}

bool job_names_numbers(struct job_names *x)
{
	int64_t *v = x->n > x->numbers_cap ? realloc(x->numbers, x->n * sizeof *v) : x->numbers;

	if (!v && x->n)
		return false;
	x->numbers = v;
	if (x->n > x->numbers_cap)
		x->numbers_cap = x->n;
	return true;
}

void job_names_free(struct job_names *x)
{
	buf_free(&x->text);
	free(x->v);
	free(x->numbers);
}

void job_read_run_id(const uint8_t *resp, size_t n, char dst[JOB_STORE_MAX + 1])
{
	static const char field[] = "\nrun_id:";
	const uint8_t *at = n ? memmem(resp, n, field, sizeof field - 1) : NULL;
	size_t len = 0;

	*dst = '\0';
	if (!at)
		return;
	at += sizeof field - 1;
	while (at + len < resp + n && isalnum(at[len]) && len < JOB_STORE_MAX)
		len++;
	memcpy(dst, at, len);
	dst[len] = '\0';
}
