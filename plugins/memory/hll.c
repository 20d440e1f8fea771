/* SPDX-License-Identifier: Apache-2.0
 *
 * HyperLogLog: see hll.h.
 */
#include <math.h>
#include <string.h>
#include "hll.h"

#define INDEX_BITS 14
#define VALUE_BITS 50                 /* 64 of the hash less those of the index */
#define ZERO_MAX 64u
#define RUN_MAX 4u                    /* registers of one run of values */
#define SPARSE_VALUE_MAX 32u
#define HASH_SEED UINT64_C(0xadc83b19)

int hll_valid(const uint8_t *p, size_t n)
{
	return n >= HLL_HEAD && memcmp(p, "HYLL", 4) == 0 && p[4] <= 1 && (p[4] || n == HLL_DENSE_BYTES);
}

void hll_begin(struct hll *h)
{
	memset(h->p, 0, HLL_EMPTY_BYTES);
	memcpy(h->p, "HYLL", 4);
	h->p[4] = 1;
	h->p[16] = 0x40 | (HLL_REGISTERS - 1) >> 8;
	h->p[17] = (HLL_REGISTERS - 1) & 0xff;
	h->n = HLL_EMPTY_BYTES;
}

/* ---- elements ------------------------------------------------------------------------------------------ */
static uint64_t little(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

/* MurmurHash64A, as Austin Appleby gave it to the public. */
static uint64_t murmur(const uint8_t *p, size_t n)
{
	const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
	uint64_t h = HASH_SEED ^ n * m, k;

	for (; n >= 8; p += 8, n -= 8) {
		k = little(p, 8) * m;
		h = (h ^ (k ^ k >> 47) * m) * m;
	}
	if (n)
		h = (h ^ little(p, n)) * m;
	h = (h ^ h >> 47) * m;
	return h ^ h >> 47;
}

uint32_t hll_element(const void *p, size_t n, uint8_t *value)
{
	uint64_t hash = murmur(p, n);

	*value = (uint8_t)(1 + __builtin_ctzll(hash >> INDEX_BITS | UINT64_C(1) << VALUE_BITS));
	return (uint32_t)hash & (HLL_REGISTERS - 1);
}

/* ---- dense ----------------------------------------------------------------------------------------------- */
static unsigned dense_get(const uint8_t *p, uint32_t reg)
{
	uint32_t bit = reg * 6, at = HLL_HEAD + bit / 8;
	unsigned two = p[at];

	if (bit % 8 > 2) /* goes on in the next byte */
		two |= (unsigned)p[at + 1] << 8;
	return two >> bit % 8 & 63;
}

static void dense_set(uint8_t *p, uint32_t reg, unsigned value)
{
	uint32_t bit = reg * 6, at = HLL_HEAD + bit / 8, shift = bit % 8;

	p[at] = (uint8_t)((p[at] & ~(63u << shift)) | value << shift);
	if (shift > 2)
		p[at + 1] = (uint8_t)((p[at + 1] & ~(63u >> (8 - shift))) | value >> (8 - shift));
}

int hll_raise_dense(uint8_t *p, uint32_t reg, uint8_t value)
{
	if (value <= dense_get(p, reg))
		return 0;
	dense_set(p, reg, value);
	return 1;
}

/* ---- sparse ------------------------------------------------------------------------------------------------ */
struct run { uint32_t len, value, bytes; };

/* The run at p; what of it is behind the end reads as 0. */
static struct run run_at(const uint8_t *p, const uint8_t *end)
{
	if (*p & 0x80)
		return (struct run){ (*p & 3u) + 1, (*p >> 2 & 31u) + 1, 1 };
	if (*p & 0x40)
		return (struct run){ ((*p & 63u) << 8 | (p + 1 < end ? p[1] : 0u)) + 1, 0, 2 };
	return (struct run){ (*p & 63u) + 1, 0, 1 };
}

static uint8_t value_run(uint32_t value, uint32_t len) { return (uint8_t)(0x80 | (value - 1) << 2 | (len - 1)); }

/* A run of value, or of zeros, at to; how many bytes it takes. */
static size_t run_put(uint8_t *to, uint32_t value, uint32_t len)
{
	if (value) {
		to[0] = value_run(value, len);
		return 1;
	}
	if (len <= ZERO_MAX) {
		to[0] = (uint8_t)(len - 1);
		return 1;
	}
	to[0] = (uint8_t)(0x40 | (len - 1) >> 8);
	to[1] = (uint8_t)(len - 1);
	return 2;
}

int hll_make_dense(struct hll *h)
{
	uint8_t dense[HLL_DENSE_BYTES + 1] = { 0 };
	const uint8_t *p = h->p + HLL_HEAD, *end = h->p + h->n;
	uint32_t at = 0, i;

	if (hll_is_dense(h->p))
		return 0;
	while (p < end) {
		struct run r = run_at(p, end);

		if (r.len + at > HLL_REGISTERS)
			return -1;
		for (i = 0; r.value && i < r.len; i++)
			dense_set(dense, at + i, r.value);
		at += r.len;
		p += r.bytes;
	}
	if (at != HLL_REGISTERS)
		return -1;
	memcpy(dense, h->p, HLL_HEAD);
	dense[4] = 0;
	memcpy(h->p, dense, HLL_DENSE_BYTES);
	h->n = HLL_DENSE_BYTES;
	return 0;
}

static int promote(struct hll *h, uint32_t reg, uint8_t value)
{
	if (hll_make_dense(h))
		return -1;
	return hll_raise_dense(h->p, reg, value);
}

/* Runs of the same value that fit into one become one, from p on, five steps far. */
static void join_runs(struct hll *h, uint8_t *p)
{
	uint8_t *end = h->p + h->n;
	int steps = 5;

	while (p < end && steps-- > 0) {
		struct run r = run_at(p, end), next;

		if (r.value && p + 1 < end && p[1] & 0x80) {
			next = run_at(p + 1, end);
			if (next.value == r.value && r.len + next.len <= RUN_MAX) {
				p[1] = value_run(r.value, r.len + next.len);
				memmove(p, p + 1, (size_t)(end - p - 1));
				end--;
				continue; /* perhaps it joins the next one too */
			}
		}
		p += r.bytes;
	}
	h->n = (size_t)(end - h->p);
}

int hll_raise(struct hll *h, uint32_t reg, uint8_t value)
{
	uint8_t *p = h->p + HLL_HEAD, *end = h->p + h->n, *prev = NULL, seq[5];
	uint32_t first = 0, after;
	struct run r = { 0, 0, 0 };
	size_t n = 0;

	if (hll_is_dense(h->p))
		return hll_raise_dense(h->p, reg, value);
	if (value > SPARSE_VALUE_MAX)
		return promote(h, reg, value);
	for (; p < end; p += r.bytes, first += r.len) {
		r = run_at(p, end);
		if (reg < first + r.len)
			break;
		prev = p;
	}
	if (p >= end)
		return -1;
	if (r.value >= value)
		return 0;
	if (r.len == 1 && r.bytes == 1) {
		*p = value_run(value, 1);
	} else {
		after = first + r.len - reg - 1;
		if (reg > first)
			n = run_put(seq, r.value, reg - first);
		seq[n++] = value_run(value, 1);
		if (after)
			n += run_put(seq + n, r.value, after);
		if (n > r.bytes && h->n + n - r.bytes > HLL_SPARSE_MAX)
			return promote(h, reg, value);
		if (p + r.bytes < end)
			memmove(p + n, p + r.bytes, (size_t)(end - p - r.bytes));
		memcpy(p, seq, n);
		h->n = h->n + n - r.bytes;
	}
	join_runs(h, prev ? prev : h->p + HLL_HEAD);
	hll_touch(h->p);
	return 1;
}

/* ---- many at once ---------------------------------------------------------------------------------------------- */
int hll_merge(uint8_t max[HLL_REGISTERS], const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	uint32_t at = 0, i;

	if (hll_is_dense(p)) {
		for (i = 0; i < HLL_REGISTERS; i++) {
			unsigned v = dense_get(p, i);

			max[i] = v > max[i] ? (uint8_t)v : max[i];
		}
		return 0;
	}
	for (p += HLL_HEAD; p < end; ) {
		struct run r = run_at(p, end);

		if (r.len + at > HLL_REGISTERS)
			return -1;
		for (i = at; r.value && i < at + r.len; i++)
			max[i] = r.value > max[i] ? (uint8_t)r.value : max[i];
		at += r.len;
		p += r.bytes;
	}
	return at == HLL_REGISTERS ? 0 : -1;
}

/* ---- estimates: Otmar Ertl, New cardinality estimation algorithms for HyperLogLog sketches, 2017 ---------------- */
static double sigma(double x)
{
	double y = 1, z = x, before;

	if (x == 1.)
		return INFINITY;
	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (before != z);
	return z;
}

static double tau(double x)
{
	double y = 1, z = 1 - x, before;

	if (x == 0. || x == 1.)
		return 0.;
	do {
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= pow(1 - x, 2) * y;
	} while (before != z);
	return z / 3;
}

/* histo[v]: registers of value v. */
static uint64_t estimate(const int64_t histo[64])
{
	double m = HLL_REGISTERS, z = m * tau((m - (double)histo[VALUE_BITS + 1]) / m);
	int j;

	for (j = VALUE_BITS; j >= 1; j--) {
		z += (double)histo[j];
		z *= 0.5;
	}
	z += m * sigma((double)histo[0] / m);
	return (uint64_t)llroundl(0.721347520444481703680 * m * m / z); /* 0.5 / ln 2 */
}

uint64_t hll_estimate_raw(const uint8_t max[HLL_REGISTERS])
{
	int64_t histo[64] = { 0 };
	uint32_t i;

	for (i = 0; i < HLL_REGISTERS; i++)
		histo[max[i]]++;
	return estimate(histo);
}

int hll_estimate(const uint8_t *p, size_t n, uint64_t *out)
{
	const uint8_t *end = p + n;
	int64_t histo[64] = { 0 };
	uint64_t at = 0;
	uint32_t i;

	if (hll_is_dense(p)) {
		for (i = 0; i < HLL_REGISTERS; i++)
			histo[dense_get(p, i)]++;
		*out = estimate(histo);
		return 0;
	}
	for (p += HLL_HEAD; p < end; ) {
		struct run r = run_at(p, end);

		histo[r.value] += r.len;
		at += r.len;
		p += r.bytes;
	}
	if (at != HLL_REGISTERS)
		return -1;
	*out = estimate(histo);
	return 0;
}

int hll_cached(const uint8_t *p, uint64_t *out)
{
	*out = little(p + 8, 8);
	return !(p[15] & 0x80);
}

void hll_cache(uint8_t *p, uint64_t v)
{
	int i;

	for (i = 0; i < 8; i++)
		p[8 + i] = (uint8_t)(v >> 8 * i);
}
