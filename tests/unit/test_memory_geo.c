/* SPDX-License-Identifier: Apache-2.0
 *
 * Geohashes, distances, areas and the partial sort of the memory plugin, by themselves.
 */
#include <config.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "geo.h"

static const struct geo_place palermo = { 13.361389, 38.115556 }, catania = { 15.087269, 37.502669 };
static uint64_t rng = 88172645463325252u;

static double uniform(double low, double high)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return low + (high - low) * (double)(rng >> 11) / 9007199254740992.0;
}

static struct geo_place anywhere(double lat) { return (struct geo_place){ uniform(-180, 180), uniform(-lat, lat) }; }

/* The values of Redis' own documentation. */
static void known(void **state)
{
	char text[GEO_TEXT];
	uint64_t bits = geo_encode(palermo);
	struct geo_place p = geo_decode(bits), q = geo_decode(geo_encode(catania));

	(void)state;
	assert_true(bits == 3479099956230698u);
	assert_true(geo_encode(catania) == 3479447370796909u);
	assert_true(p.lon == 13.36138933897018433 && p.lat == 38.11555639549629859);
	assert_in_range((int64_t)(geo_distance(p, q) * 10000), 1662741515, 1662741517);
	geo_text(p, text);
	assert_memory_equal(text, "sqc8b49rny0", GEO_TEXT);
	geo_text(q, text);
	assert_memory_equal(text, "sqdtr74hyu0", GEO_TEXT);
}

/* A place comes back within half a cell; the distance is the same both ways, and nothing to itself. */
static void there_and_back(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		struct geo_place p = anywhere(GEO_LAT_MAX), q = geo_decode(geo_encode(p)), r = anywhere(GEO_LAT_MAX);

		assert_true(geo_valid(p) && geo_valid(q));
		assert_true(fabs(p.lon - q.lon) <= 360.0 / (1 << 27) && fabs(p.lat - q.lat) <= 171.0 / (1 << 27));
		assert_true(geo_encode(q) == geo_encode(p));
		assert_true(geo_distance(p, p) == 0);
		assert_true(fabs(geo_distance(p, r) - geo_distance(r, p)) < 1e-6);
	}
}

static void scores(void **state)
{
	(void)state;
	assert_true(geo_of_score(5.9) == 5);
	assert_true(geo_of_score(-1) == UINT64_MAX);
	assert_true(geo_of_score(9223372036854775808.0) == UINT64_C(1) << 63);
	assert_true(geo_of_score(INFINITY) == 0);
	assert_true(geo_of_score(-INFINITY) == UINT64_C(1) << 63);
	assert_true(geo_of_score(-1e300) == UINT64_C(1) << 63);
}

/* Away from the poles and the date line, what is inside an area has its score in one of the area's spans,
 * and the spans do not overlap. */
static void spans_hold_the_area(void **state)
{
	int i, k;

	(void)state;
	for (i = 0; i < 20000; i++) {
		struct geo_span s[GEO_SPANS];
		struct geo_area a = { .at = { uniform(-100, 100), uniform(-60, 60) }, .unit = i & 2 ? 1 : 1000, .box = i & 1 };
		double size = exp(uniform(0, i & 2 ? 13 : 6)), reach = size * a.unit / 111000 * 2.5, metres;
		unsigned n, j, m;

		a.radius = a.width = size;
		a.height = size * uniform(0.3, 1);
		n = geo_spans(&a, s);
		assert_in_range(n, 1, GEO_SPANS);
		for (j = 0; j < n; j++)
			for (m = 0; m < n; m++)
				assert_true(j == m || s[j].max <= s[m].min || s[m].max <= s[j].min);
		for (k = 0; k < 20; k++) {
			struct geo_place p = { a.at.lon + uniform(-reach, reach), a.at.lat + uniform(-reach, reach) };
			double score;

			if (!geo_valid(p))
				continue;
			score = (double)geo_encode(p);
			if (!geo_inside(&a, geo_decode(geo_encode(p)), &metres))
				continue;
			for (j = 0; j < n && !(score >= s[j].min && score < s[j].max); j++)
				;
			if (j == n)
				fail_msg("%f,%f is %f m from %f,%f (box %d, size %f) and in no span", p.lon, p.lat, metres, a.at.lon,
				    a.at.lat, a.box, size);
		}
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The first so many are the nearest, or farthest, in order; nothing is lost. */
static void sorting(void **state)
{
	static struct geo_point v[300];
	static double want[300];
	int i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		size_t n = (size_t)uniform(0, i % 4 ? 60 : 300), first = (size_t)uniform(0, (double)n + 2), j;
		int down = i & 1, kinds = (int)uniform(1, 100);
		double sum = 0, after = 0;

		for (j = 0; j < n; j++) {
			v[j].metres = want[j] = floor(uniform(0, kinds));
			v[j].n = j;
			sum += (double)(j * j);
		}
		qsort(want, n, sizeof(*want), compare);
		geo_sort(v, n, first, down);
		for (j = 0; j < n; j++)
			after += (double)(v[j].n * v[j].n);
		assert_true(sum == after);
		for (j = 0; j < first && j < n; j++)
			assert_true(v[j].metres == want[down ? n - 1 - j : j]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(scores),
		cmocka_unit_test(spans_hold_the_area),
		cmocka_unit_test(sorting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
