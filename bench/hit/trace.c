/* SPDX-License-Identifier: Apache-2.0
 *
 * Synthetic traces: see trace.h.
 */
#include <math.h>
#include <stdlib.h>
#include "trace.h"

/* ---- random numbers: xorshift64* ------------------------------------------------------------------------ */
static uint64_t next(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * UINT64_C(2685821657736338717);
}

static double unit(uint64_t *s) { return (double)(next(s) >> 11) * 0x1p-53; }

/* ---- Zipf: rank r (from 1) with a weight of r^-skew, by its inverse sum --------------------------------- */
struct zipf { double *sum; uint32_t n; };

static int zipf_make(struct zipf *z, uint32_t n, double skew)
{
	double at = 0;
	uint32_t i;

	z->sum = malloc(n * sizeof(*z->sum));
	z->n = n;
	if (!z->sum)
		return -1;
	for (i = 0; i < n; i++)
		z->sum[i] = at += pow(i + 1, -skew);
	return 0;
}

static uint32_t zipf_draw(const struct zipf *z, uint64_t *seed)
{
	double want = unit(seed) * z->sum[z->n - 1];
	uint32_t lo = 0, hi = z->n - 1;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (z->sum[mid] < want)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- the traces ------------------------------------------------------------------------------------------- */
struct shape {
	const char *name;
	double skew;
	double once;                      /* part of requests for keys that never come again */
	uint32_t scan_every, scan;        /* thousandths of the trace; of the universe */
	uint32_t shift_every, shift;      /* the same: ranks move on by so many */
	uint32_t loop;                    /* thousandths of the universe, walked round and round */
	double loop_part;                 /* of the requests */
	int scans;
};

static const struct shape shapes[] = {
	{ .name = "zipf-0.6", .skew = 0.6 },
	{ .name = "zipf-0.8", .skew = 0.8 },
	{ .name = "zipf-1.0", .skew = 1.0 },
	{ .name = "zipf-1.2", .skew = 1.2 },
	{ .name = "scan-0.8", .skew = 0.8, .scan_every = 50, .scan = 100, .scans = 1 },
	{ .name = "scan-1.0", .skew = 1.0, .scan_every = 50, .scan = 100, .scans = 1 },
	{ .name = "scan-often", .skew = 1.0, .scan_every = 10, .scan = 50, .scans = 1 },
	{ .name = "once-0.9", .skew = 0.9, .once = 0.5, .scans = 1 },
	{ .name = "loop", .skew = 1.0, .loop = 150, .loop_part = 0.5 },
	{ .name = "loop-only", .skew = 1.0, .loop = 120, .loop_part = 1.0 },
	{ .name = "shift-slow", .skew = 0.9, .shift_every = 20, .shift = 10 },
	{ .name = "shift-fast", .skew = 0.9, .shift_every = 5, .shift = 20 },
};

size_t trace_count(void) { return sizeof(shapes) / sizeof(*shapes); }
const char *trace_name(size_t i) { return shapes[i].name; }

int trace_make(struct trace *t, size_t which, size_t n, uint32_t universe, uint64_t seed)
{
	const struct shape *s = &shapes[which];
	uint64_t rng = seed * UINT64_C(0x9e3779b97f4a7c15) + which + 1;
	uint32_t fresh = universe, shift = 0, loop_at = 0, left = 0, loop_n, i;
	uint32_t loop_first;
	struct zipf z;
	size_t at;

	*t = (struct trace){ .name = s->name, .scans = s->scans, .n = n };
	t->key = malloc(n * sizeof(*t->key));
	if (!t->key)
		return -1;
	if (zipf_make(&z, universe, s->skew)) {
		trace_free(t);
		return -1;
	}
	loop_n = (uint32_t)((uint64_t)universe * s->loop / 1000);
	loop_first = fresh;
	fresh += loop_n;
	for (at = 0; at < n; at++) {
		if (s->scan_every && at % (n * s->scan_every / 1000) == n * s->scan_every / 2000)
			left = (uint32_t)((uint64_t)universe * s->scan / 1000);
		if (s->shift_every && at && at % (n * s->shift_every / 1000) == 0)
			shift += (uint32_t)((uint64_t)universe * s->shift / 1000);
		if (left) { /* somebody reads a whole table, beside the others */
			left--;
			t->key[at] = fresh++;
			if (++at == n)
				break;
		}
		if (s->once > 0 && unit(&rng) < s->once) {
			t->key[at] = fresh++;
		} else if (s->loop_part > 0 && unit(&rng) < s->loop_part) {
			t->key[at] = loop_first + loop_at;
			loop_at = (loop_at + 1) % loop_n;
		} else {
			i = zipf_draw(&z, &rng);
			t->key[at] = (i + shift) % universe;
		}
	}
	t->keys = fresh;
	free(z.sum);
	return 0;
}

void trace_free(struct trace *t)
{
	free(t->key);
	t->key = NULL;
}
