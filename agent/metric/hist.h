/* SPDX-License-Identifier: Apache-2.0
 *
 * metric/hist: a histogram of durations in ns with one writer and any number of readers.
 *
 * Buckets are log-linear in base ten: each decade from 100 ns to 100 s has 180 of equal width, so
 * the edges are a.bc * 10^k with bc in steps of five, an interval is at most 5 % of its lower edge,
 * and every bound of the semantic conventions (1 ms, 5 ms ... 10 s) IS an edge.  Intervals are
 * upper-inclusive, as OpenTelemetry's: exactly 1 ms counts under `le` 0.001.
 *
 * A decade is allocated when a value first falls into it (1,440 bytes); GET of a healthy backend
 * needs two or three.  hist_record costs one multiplication, two loads and two stores; no lock, no
 * locked instruction.
 */
#ifndef METRIC_HIST_H
#define METRIC_HIST_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HIST_DECADES 9 /* (100 ns, 1 us] ... (10 s, 100 s] */
#define HIST_SUB 180
#define HIST_BINS (HIST_DECADES * HIST_SUB + 2) /* and one below, one above */

struct hist_decade {
	_Atomic uint64_t bin[HIST_SUB];
};

struct hist {
	_Atomic uint64_t sum;       /* ns */
	_Atomic uint64_t low, high; /* <= 100 ns, > 100 s */
	_Atomic uint64_t lost;      /* no memory for the decade: in no bin and not in sum */
	struct hist_decade *_Atomic dec[HIST_DECADES];
	/* The writer's: what came last, and where it went.  What ends in one turn began in one, mostly. */
	uint64_t last_ns;
	_Atomic uint64_t *last;
};

/* What a reader makes of one or more of them. */
struct hist_sum {
	uint64_t count, sum, lost;
	uint64_t bin[HIST_BINS]; /* [0] low, then the decades, last high */
};

extern const uint64_t hist_pow10[20];
extern const uint64_t hist_recip[HIST_DECADES];

/* One writer: no read-modify-write instruction is needed. */
static inline void hist_bump(_Atomic uint64_t *p, uint64_t by)
{
	atomic_store_explicit(p, atomic_load_explicit(p, memory_order_relaxed) + by,
	    memory_order_relaxed);
}

/* Decade (-1 below, HIST_DECADES above) and place in it. */
static inline int hist_place(uint64_t ns, unsigned *sub)
{
	uint64_t x = ns ? ns - 1 : 0; /* makes upper-inclusive intervals lower-inclusive */
	unsigned digits; /* of x, less one: 10^digits <= x */

	*sub = 0;
	if (x < 100)
		return -1;
	if (x >= UINT64_C(100000000000))
		return HIST_DECADES;
	digits = (64u - (unsigned)__builtin_clzll(x)) * 1233 >> 12;
	digits -= x < hist_pow10[digits];
	/* x / (10^digits / 20) = (x >> (digits - 2)) / 5^(digits - 1); exact, see test_metric_hist */
	*sub = (unsigned)((unsigned __int128)(x >> (digits - 2)) * hist_recip[digits - 2] >> 64) - 20;
	return (int)digits - 2;
}

struct hist_decade *hist_decade_new(struct hist *h, int decade);

static inline void hist_record(struct hist *h, uint64_t ns)
{
	if (__builtin_expect(ns != h->last_ns || !h->last, 0)) {
		unsigned sub;
		int d = hist_place(ns, &sub);
		struct hist_decade *dec;

		if (d < 0) {
			h->last = &h->low;
		} else if (d == HIST_DECADES) {
			h->last = &h->high;
		} else {
			dec = atomic_load_explicit(&h->dec[d], memory_order_relaxed);
			if (__builtin_expect(!dec, 0) && !(dec = hist_decade_new(h, d)))
				return;
			h->last = &dec->bin[sub];
		}
		h->last_ns = ns;
	}
	hist_bump(h->last, 1);
	hist_bump(&h->sum, ns);
}

void hist_free(struct hist *h);                                 /* what it points to, not h */
void hist_add(struct hist_sum *to, const struct hist *h);       /* any thread */
uint64_t hist_edge(unsigned bin);                               /* upper edge in ns; UINT64_MAX last */
/* counts[0..n] of the intervals (bound[i-1], bound[i]]; bounds are edges, ascending. */
void hist_explicit(const struct hist_sum *s, const uint64_t *bounds_ns, size_t n, uint64_t *counts);
uint64_t hist_quantile(const struct hist_sum *s, double q);     /* ns; 0 when empty */
#endif
