/* SPDX-License-Identifier: Apache-2.0
 *
 * geo: places as 52-bit geohashes, distances, and which geohashes an area can be among.  Pure: no store here.
 *
 * A place is a score of a sorted set: 26 bits of longitude and 26 of latitude, interleaved, longitude above
 * latitude.  What is near shares its first bits, so an area is at most nine ranges of scores: the cell of its
 * centre and the eight around it, of cells just large enough.
 */
#ifndef MEMORY_GEO_H
#define MEMORY_GEO_H
#include <stddef.h>
#include <stdint.h>

#define GEO_LON_MAX 180.0
#define GEO_LAT_MAX 85.05112878          /* of the Mercator projection, EPSG:900913 */
#define GEO_TEXT 11                      /* characters of a standard geohash */
#define GEO_SPANS 9

struct geo_place { double lon, lat; };

static inline int geo_valid(struct geo_place p)
{
	return p.lon >= -GEO_LON_MAX && p.lon <= GEO_LON_MAX && p.lat >= -GEO_LAT_MAX && p.lat <= GEO_LAT_MAX;
}
uint64_t geo_encode(struct geo_place p);
struct geo_place geo_decode(uint64_t bits);
/* Any score, as Redis' conversion to an integer takes it: also what was never a place. */
uint64_t geo_of_score(double score);
void geo_text(struct geo_place p, char out[GEO_TEXT]);
double geo_distance(struct geo_place a, struct geo_place b); /* metres */

struct geo_area {
	struct geo_place at;
	int box;
	double radius;                   /* in units */
	double width, height;            /* of a box, in units */
	double unit;                     /* metres */
};
/* 1: it is inside; its distance from the centre in metres. */
int geo_inside(const struct geo_area *a, struct geo_place p, double *metres);

struct geo_span { double min, max; };    /* scores from min up to, but without, max */
/* In the order that Redis looks at them; how many. */
unsigned geo_spans(const struct geo_area *a, struct geo_span out[GEO_SPANS]);

/* What is found, by its distance: all of them, or so many that the first n are in order; what is equally
 * far is in the order that Redis' sort leaves it in. */
struct geo_point {
	const void *member;
	size_t n;
	double metres, score;
	struct geo_place at;
};
void geo_sort(struct geo_point *v, size_t n, size_t first, int down);
#endif
