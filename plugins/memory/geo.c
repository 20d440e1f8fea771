/* SPDX-License-Identifier: Apache-2.0
 *
 * Geohashes, distances, areas: see geo.h.  Formulae are evaluated in the order in which Redis 7.0 evaluates
 * them, so that the last bits agree as well.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "geo.h"

#define STEPS 26u                        /* bits of each coordinate */
#define EARTH 6372797.560856             /* radius, metres */
#define MERCATOR_MAX 20037726.37         /* metres */

static double radians(double degrees) { return degrees * (M_PI / 180.0); }
static double degrees(double radians) { return radians / (M_PI / 180.0); }

/* ---- bits ----------------------------------------------------------------------------------------------- */
/* Bit i goes to bit 2 i. */
static uint64_t spread(uint32_t v)
{
	uint64_t x = v;

	x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
	x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
	x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	x = (x | x << 2) & UINT64_C(0x3333333333333333);
	return (x | x << 1) & UINT64_C(0x5555555555555555);
}

static uint32_t gathered(uint64_t x)
{
	x &= UINT64_C(0x5555555555555555);
	x = (x | x >> 1) & UINT64_C(0x3333333333333333);
	x = (x | x >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
	x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
	return (uint32_t)(x | x >> 16);
}

/* A cell of the grid whose sides are 1 / 2^steps of the world's. */
struct cell { uint32_t lon, lat; unsigned steps; };

static uint64_t cell_bits(struct cell c) { return spread(c.lon) << 1 | spread(c.lat); }

static struct cell cell_at(struct geo_place p, double lat_max, unsigned steps)
{
	double scale = (double)(UINT64_C(1) << steps);
	double lon = (p.lon + GEO_LON_MAX) / (2 * GEO_LON_MAX), lat = (p.lat + lat_max) / (2 * lat_max);

	return (struct cell){ (uint32_t)(lon * scale), (uint32_t)(lat * scale), steps };
}

struct sides { double west, east, south, north; };

static struct sides cell_sides(struct cell c)
{
	double scale = (double)(UINT64_C(1) << c.steps), lon = 2 * GEO_LON_MAX, lat = 2 * GEO_LAT_MAX;

	return (struct sides){
		.west = -GEO_LON_MAX + c.lon / scale * lon,
		.east = -GEO_LON_MAX + (c.lon + 1u) / scale * lon,
		.south = -GEO_LAT_MAX + c.lat / scale * lat,
		.north = -GEO_LAT_MAX + (c.lat + 1u) / scale * lat,
	};
}

/* The cell beside it; the world is round, in both directions. */
static struct cell beside(struct cell c, int east, int north)
{
	uint32_t mask = (uint32_t)((UINT64_C(1) << c.steps) - 1);

	if (east) /* the very edge of the world is one cell too far, and stays there */
		c.lon = (c.lon + (uint32_t)east) & mask;
	if (north)
		c.lat = (c.lat + (uint32_t)north) & mask;
	return c;
}

/* ---- places --------------------------------------------------------------------------------------------- */
uint64_t geo_encode(struct geo_place p) { return cell_bits(cell_at(p, GEO_LAT_MAX, STEPS)); }

static double clamped(double v, double most) { return v > most ? most : v < -most ? -most : v; }

struct geo_place geo_decode(uint64_t bits)
{
	struct sides s = cell_sides((struct cell){ gathered(bits >> 1), gathered(bits), STEPS });

	return (struct geo_place){ clamped((s.west + s.east) / 2, GEO_LON_MAX),
		clamped((s.south + s.north) / 2, GEO_LAT_MAX) };
}

uint64_t geo_of_score(double score)
{
	const double half = 9223372036854775808.0; /* 2^63 */

	if (score >= -half && score < half)
		return (uint64_t)(int64_t)score;
	if (score >= half)
		return score < 2 * half ? (uint64_t)score : 0;
	return UINT64_C(1) << 63;
}

void geo_text(struct geo_place p, char out[GEO_TEXT])
{
	static const char alphabet[] = "0123456789bcdefghjkmnpqrstuvwxyz";
	uint64_t bits = cell_bits(cell_at(p, 90, STEPS)); /* the standard's world reaches to the poles */
	unsigned i;

	for (i = 0; i + 1 < GEO_TEXT; i++)
		out[i] = alphabet[bits >> (2 * STEPS - 5 * (i + 1)) & 31];
	out[i] = '0'; /* 52 bits are ten characters and a bit: the rest is not known */
}

double geo_distance(struct geo_place a, struct geo_place b)
{
	double lon1 = radians(a.lon), lat1 = radians(a.lat), lon2 = radians(b.lon), lat2 = radians(b.lat);
	double u = sin((lat2 - lat1) / 2), v = sin((lon2 - lon1) / 2);

	if (v == 0.0) /* along a meridian: shorter, and not always the same last bit */
		return EARTH * fabs(lat2 - lat1);
	return 2.0 * EARTH * asin(sqrt(u * u + cos(lat1) * cos(lat2) * v * v));
}

/* ---- areas ---------------------------------------------------------------------------------------------- */
int geo_inside(const struct geo_area *a, struct geo_place p, double *metres)
{
	struct geo_place same_lat = { a->at.lon, p.lat }, same_lon = { p.lon, a->at.lat };

	if (a->box && (geo_distance(p, same_lat) > a->width * a->unit / 2 ||
	    geo_distance(p, same_lon) > a->height * a->unit / 2))
		return 0;
	*metres = geo_distance(a->at, p);
	return a->box || !(*metres > a->radius * a->unit);
}

/* Cells of which nine hold the area, as a rule. */
static unsigned steps_for(double metres, double lat)
{
	int steps = 1;

	if (metres == 0)
		return STEPS;
	for (; metres < MERCATOR_MAX; steps++)
		metres *= 2;
	steps -= 2;
	if (lat > 66 || lat < -66) /* towards the poles a cell is narrower */
		steps -= lat > 80 || lat < -80 ? 2 : 1;
	return steps < 1 ? 1 : steps > (int)STEPS ? STEPS : (unsigned)steps;
}

static struct sides bounds_of(const struct geo_area *a)
{
	double height = a->unit * (a->box ? a->height / 2 : a->radius);
	double width = a->unit * (a->box ? a->width / 2 : a->radius);
	double lat = degrees(height / EARTH);
	double top = degrees(width / EARTH / cos(radians(a->at.lat + lat)));
	double bottom = degrees(width / EARTH / cos(radians(a->at.lat - lat)));
	double lon = a->at.lat < 0 ? bottom : top;

	return (struct sides){ a->at.lon - lon, a->at.lon + lon, a->at.lat - lat, a->at.lat + lat };
}

static int too_small(struct cell c, const struct sides *want)
{
	return cell_sides(beside(c, 0, 1)).north < want->north ||
	    cell_sides(beside(c, 0, -1)).south > want->south ||
	    cell_sides(beside(c, 1, 0)).east < want->east ||
	    cell_sides(beside(c, -1, 0)).west > want->west;
}

unsigned geo_spans(const struct geo_area *a, struct geo_span out[GEO_SPANS])
{
	static const struct { int8_t east, north; } around[GEO_SPANS] = { { 0, 0 }, { 0, 1 }, { 0, -1 },
		{ 1, 0 }, { -1, 0 }, { 1, 1 }, { -1, 1 }, { 1, -1 }, { -1, -1 } };
	double metres = a->box ? sqrt((a->width / 2) * (a->width / 2) + (a->height / 2) * (a->height / 2)) :
	    a->radius;
	struct cell c = cell_at(a->at, GEO_LAT_MAX, steps_for(metres * a->unit, a->at.lat)), last = { 0 };
	struct sides want = bounds_of(a), s;
	unsigned i, n = 0;

	if (c.steps > 1 && too_small(c, &want))
		c = cell_at(a->at, GEO_LAT_MAX, c.steps - 1);
	s = cell_sides(c);
	for (i = 0; i < GEO_SPANS; i++) {
		int east = around[i].east, north = around[i].north;
		struct cell b = beside(c, east, north);
		unsigned shift = 2 * (STEPS - b.steps);

		if (c.steps >= 2 && ((north < 0 && s.south < want.south) || (north > 0 && s.north > want.north) ||
		    (east < 0 && s.west < want.west) || (east > 0 && s.east > want.east)))
			continue; /* the area does not reach beyond the middle cell there */
		if (n && b.lon == last.lon && b.lat == last.lat)
			continue; /* so few cells that two neighbours are the same one */
		out[n++] = (struct geo_span){ (double)(cell_bits(b) << shift), (double)((cell_bits(b) + 1) << shift) };
		last = b;
	}
	return n;
}

/* ---- sorting -------------------------------------------------------------------------------------------- */
struct sorting { struct geo_point *v; int down; };

static int order(const struct sorting *s, size_t a, size_t b)
{
	double x = s->v[a].metres, y = s->v[b].metres;
	int c = x > y ? 1 : x == y ? 0 : -1;

	return s->down ? -c : c;
}

static void swap(const struct sorting *s, size_t a, size_t b)
{
	struct geo_point t = s->v[a];

	s->v[a] = s->v[b];
	s->v[b] = t;
}

static void swap_runs(const struct sorting *s, size_t a, size_t b, size_t n)
{
	while (n-- > 0)
		swap(s, a++, b++);
}

static size_t median(const struct sorting *s, size_t a, size_t b, size_t c)
{
	if (order(s, a, b) < 0)
		return order(s, b, c) < 0 ? b : order(s, a, c) < 0 ? c : a;
	return order(s, b, c) > 0 ? b : order(s, a, c) < 0 ? a : c;
}

static void insertion(const struct sorting *s, size_t at, size_t n)
{
	size_t i, j;

	for (i = at + 1; i < at + n; i++)
		for (j = i; j > at && order(s, j - 1, j) > 0; j--)
			swap(s, j, j - 1);
}

/* The quicksort of Bentley and McIlroy, "Engineering a sort function" (1993), of the parts that numbers 0 to
 * last can be in. */
static void quick(const struct sorting *s, size_t at, size_t n, size_t last)
{
	while (n >= 7 && at <= last) {
		size_t mid = at + n / 2, end = at + n, left, right, a, b, c, d, less, more, m;
		int o;

		if (n > 7) {
			left = at;
			right = end - 1;
			if (n > 40) {
				d = n / 8;
				left = median(s, left, left + d, left + 2 * d);
				mid = median(s, mid - d, mid, mid + d);
				right = median(s, right - 2 * d, right - d, right);
			}
			mid = median(s, left, mid, right);
		}
		swap(s, at, mid);
		a = b = at + 1;
		c = d = end - 1; /* what is equal gathers at both ends */
		for (;;) {
			for (; b <= c && (o = order(s, b, at)) <= 0; b++)
				if (o == 0)
					swap(s, a++, b);
			for (; b <= c && (o = order(s, c, at)) >= 0; c--)
				if (o == 0)
					swap(s, c, d--);
			if (b > c)
				break;
			swap(s, b++, c--);
		}
		less = b - a;
		more = d - c;
		m = a - at < less ? a - at : less;
		swap_runs(s, at, b - m, m);
		m = more < end - 1 - d ? more : end - 1 - d;
		swap_runs(s, b, end - m, m);
		if (less > 1)
			quick(s, at, less, last);
		if (more <= 1)
			return;
		at = end - more;
		n = more;
	}
	if (at <= last)
		insertion(s, at, n);
}

static int by_distance(const void *a, const void *b)
{
	const struct geo_point *x = a, *y = b;

	return x->metres > y->metres ? 1 : x->metres == y->metres ? 0 : -1;
}

static int by_distance_down(const void *a, const void *b) { return -by_distance(a, b); }

void geo_sort(struct geo_point *v, size_t n, size_t first, int down)
{
	struct sorting s = { v, down };

	if (n < 2 || first == 0)
		return;
	if (first >= n)
		qsort(v, n, sizeof(*v), down ? by_distance_down : by_distance);
	else
		quick(&s, 0, n, first - 1);
}
