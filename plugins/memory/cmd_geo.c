/* SPDX-License-Identifier: Apache-2.0
 *
 * GEO*: places in sorted sets.  What is near: geo.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include "cmd.h"
#include "event.h"
#include "geo.h"
#include "number.h"
#include "zset.h"

static const char err_member[] = "ERR could not decode requested zset member";

/* ---- arguments: 0, or -1 with the error replied --------------------------------------------------------- */
static int place(struct ctx *cx, purser_call *c, uint32_t arg, struct geo_place *p)
{
	if (arg_double(cx, c, arg, &p->lon, NULL) || arg_double(cx, c, arg + 1, &p->lat, NULL))
		return -1;
	if (geo_valid(*p))
		return 0;
	reply_errorf(cx, c, "ERR invalid longitude,latitude pair %f,%f", p->lon, p->lat);
	return -1;
}

static int unit(struct ctx *cx, purser_call *c, uint32_t arg, double *metres)
{
	static const struct { const char *word; double metres; } units[] = {
		{ "m", 1 }, { "km", 1000 }, { "ft", 0.3048 }, { "mi", 1609.34 } };
	size_t i;

	for (i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (arg_is(c->argv[arg], units[i].word)) {
			*metres = units[i].metres;
			return 0;
		}
	reply_error(cx, c, "ERR unsupported unit provided. please use M, KM, FT, MI");
	return -1;
}

static int radius(struct ctx *cx, purser_call *c, uint32_t arg, struct geo_area *a)
{
	if (arg_double(cx, c, arg, &a->radius, "ERR need numeric radius"))
		return -1;
	if (a->radius < 0) {
		reply_error(cx, c, "ERR radius cannot be negative");
		return -1;
	}
	a->box = 0;
	return unit(cx, c, arg + 1, &a->unit);
}

static int box(struct ctx *cx, purser_call *c, uint32_t arg, struct geo_area *a)
{
	if (arg_double(cx, c, arg, &a->width, "ERR need numeric width") ||
	    arg_double(cx, c, arg + 1, &a->height, "ERR need numeric height"))
		return -1;
	if (a->height < 0 || a->width < 0) {
		reply_error(cx, c, "ERR height or width cannot be negative");
		return -1;
	}
	a->box = 1;
	return unit(cx, c, arg + 2, &a->unit);
}

static int place_of(struct ctx *cx, struct item *it, purser_bytes m, struct geo_place *p)
{
	double score;

	if (!it || !zset_score(cx, it, m, &score))
		return -1;
	*p = geo_decode(geo_of_score(score));
	return 0;
}

static int place_of_member(struct ctx *cx, purser_call *c, struct item *it, uint32_t arg, struct geo_place *p)
{
	if (place_of(cx, it, c->argv[arg], p) == 0)
		return 0;
	reply_error(cx, c, err_member);
	return -1;
}

/* ---- replies -------------------------------------------------------------------------------------------- */
static void reply_degrees(struct ctx *cx, purser_call *c, double v)
{
	char text[FLOAT_TEXT + 4];
	size_t n = float_format(v, text + 1);

	if (c->resp != 3) {
		reply_bulk(cx, c, text + 1, n);
		return;
	}
	text[0] = ',';
	memcpy(text + 1 + n, "\r\n", 2);
	cx->h->raw(c, text, n + 3);
}

static void reply_place(struct ctx *cx, purser_call *c, struct geo_place p)
{
	reply_array(cx, c, 2);
	reply_degrees(cx, c, p.lon);
	reply_degrees(cx, c, p.lat);
}

static void reply_distance(struct ctx *cx, purser_call *c, double v)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%.4f", v);

	reply_bulk(cx, c, text, (size_t)n);
}

/* ---- GEOADD, GEOPOS, GEODIST, GEOHASH ---------------------------------------------------------------------- */
enum { ADD_NX = 1, ADD_XX = 2, ADD_CH = 4 };

/* One member.  1: it is new or has moved; 0; -1: no memory.  *fresh counts the new ones. */
static int add_one(struct zedit *e, int how, purser_bytes m, double score, int64_t *fresh)
{
	double was;

	if (!zedit_get(e, m, &was)) {
		if (how & ADD_XX)
			return 0;
		++*fresh;
	} else if (how & ADD_NX || score == was) {
		return 0;
	}
	return zedit_put(e, m, score) ? -1 : 1;
}

static void add_places(struct ctx *cx, purser_call *c, int how, double *score, uint32_t n, uint32_t at)
{
	int64_t fresh = 0, changed = 0;
	struct zedit e;
	struct pos p;
	uint32_t i;
	int rc = 0;

	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	if (p.it || !(how & ADD_XX)) {
		zedit_begin(&e, cx, &p, score + n, n);
		for (i = 0; i < n && rc >= 0; i++) {
			rc = add_one(&e, how, c->argv[at + 3 * i + 2], score[i], &fresh);
			changed += rc > 0;
		}
		if (rc < 0 || zedit_commit(&e)) {
			reply_nomem(cx, c);
			return;
		}
	}
	if (changed)
		key_event(cx, c->db, c->argv[1], EVENT_ZSET, "zadd");
	reply_int(cx, c, how & ADD_CH ? changed : fresh);
}

void op_geoadd(struct ctx *cx, purser_call *c)
{
	struct geo_place p;
	uint32_t at = 2, n, i;
	double *score;
	int how = 0;

	for (; at < c->argc; at++) {
		if (arg_is(c->argv[at], "nx"))
			how |= ADD_NX;
		else if (arg_is(c->argv[at], "xx"))
			how |= ADD_XX;
		else if (arg_is(c->argv[at], "ch"))
			how |= ADD_CH;
		else
			break;
	}
	n = (c->argc - at) / 3;
	if ((c->argc - at) % 3 || !n || (how & ADD_NX && how & ADD_XX)) {
		reply_error(cx, c, err_syntax);
		return;
	}
	score = scratch(cx, n * sizeof(*score) + zedit_bytes(n));
	if (!score) {
		reply_nomem(cx, c);
		return;
	}
	for (i = 0; i < n; i++) {
		if (place(cx, c, at + 3 * i, &p))
			return;
		score[i] = (double)geo_encode(p);
	}
	add_places(cx, c, how, score, n, at);
}

void op_geopos(struct ctx *cx, purser_call *c)
{
	struct geo_place at;
	struct pos p;
	uint32_t i;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	reply_array(cx, c, c->argc - 2);
	for (i = 2; i < c->argc; i++) {
		if (place_of(cx, p.it, c->argv[i], &at))
			reply_null_array(cx, c);
		else
			reply_place(cx, c, at);
	}
}

void op_geohash(struct ctx *cx, purser_call *c)
{
	char text[GEO_TEXT];
	struct geo_place at;
	struct pos p;
	uint32_t i;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	reply_array(cx, c, c->argc - 2);
	for (i = 2; i < c->argc; i++) {
		if (place_of(cx, p.it, c->argv[i], &at)) {
			reply_null(cx, c);
			continue;
		}
		geo_text(at, text);
		reply_bulk(cx, c, text, sizeof(text));
	}
}

void op_geodist(struct ctx *cx, purser_call *c)
{
	struct geo_place a, b;
	double metres = 1;
	struct pos p;

	if (c->argc > 5) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (c->argc == 5 && unit(cx, c, 4, &metres))
		return;
	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_ZSET))
		return;
	if (place_of(cx, p.it, c->argv[2], &a) || place_of(cx, p.it, c->argv[3], &b))
		reply_null(cx, c);
	else
		reply_distance(cx, c, geo_distance(a, b) / metres);
}

/* ---- searching ---------------------------------------------------------------------------------------------- */
enum { COORDS = 1, MEMBER = 2, READS = 4, SEARCH = 8, STORE = 16 };

struct search {
	struct ctx *cx;
	purser_call *c;
	int how;
	struct item *it;                      /* NULL: there is no such key */
	uint32_t base;                        /* the first option */
	struct geo_area area;
	int from_member, from_place, by_radius, by_box;
	int dist, hash, coord, any, sort;     /* sort: 1 nearest first, -1 farthest first */
	uint32_t store;                       /* the key's argument; 0: it is shown */
	int store_dist;
	int64_t count;                        /* 0: all */
	struct geo_point *v;                  /* what was found: members are those of the item */
	size_t n, cap;
};

/* Options of GEOSEARCH alone.  How many arguments it took, 0: it is none of them, -1: an error was replied. */
static int search_option(struct search *s, uint32_t at)
{
	struct ctx *cx = s->cx;
	purser_call *c = s->c;
	uint32_t left = c->argc - at - 1;
	purser_bytes a = c->argv[at];

	if (arg_is(a, "frommember") && left >= 1 && !s->from_place) {
		s->from_member = 1; /* of no key: it is empty, once the rest has been read */
		return s->it && place_of_member(cx, c, s->it, at + 1, &s->area.at) ? -1 : 2;
	}
	if (arg_is(a, "fromlonlat") && left >= 2 && !s->from_member) {
		s->from_place = 1;
		return place(cx, c, at + 1, &s->area.at) ? -1 : 3;
	}
	if (arg_is(a, "byradius") && left >= 2 && !s->by_box) {
		s->by_radius = 1;
		return radius(cx, c, at + 1, &s->area) ? -1 : 3;
	}
	if (arg_is(a, "bybox") && left >= 3 && !s->by_radius) {
		s->by_box = 1;
		return box(cx, c, at + 1, &s->area) ? -1 : 4;
	}
	if (arg_is(a, "storedist") && s->how & STORE) {
		s->store_dist = 1;
		return 1;
	}
	return 0;
}

static int option(struct search *s, uint32_t at)
{
	static const char *const words[] = { "withdist", "withhash", "withcoord", "any" };
	int *const flags[] = { &s->dist, &s->hash, &s->coord, &s->any };
	uint32_t left = s->c->argc - at - 1;
	purser_bytes a = s->c->argv[at];
	size_t i;

	for (i = 0; i < 4; i++)
		if (arg_is(a, words[i])) {
			*flags[i] = 1;
			return 1;
		}
	if (arg_is(a, "asc") || arg_is(a, "desc")) {
		s->sort = arg_is(a, "asc") ? 1 : -1;
		return 1;
	}
	if (arg_is(a, "count") && left) {
		if (arg_int(s->cx, s->c, at + 1, &s->count))
			return -1;
		if (s->count > 0)
			return 2;
		reply_error(s->cx, s->c, "ERR COUNT must be > 0");
		return -1;
	}
	if (s->how & SEARCH)
		return search_option(s, at);
	if (left && !(s->how & READS) && (arg_is(a, "store") || arg_is(a, "storedist"))) {
		s->store_dist = arg_is(a, "storedist");
		s->store = at + 1;
		return 2;
	}
	return 0;
}

/* The place, the area and all options.  0, or -1 with the error replied. */
static int search_parse(struct search *s)
{
	struct ctx *cx = s->cx;
	purser_call *c = s->c;
	uint32_t at;
	int n;

	if (s->how & COORDS && (place(cx, c, 2, &s->area.at) || radius(cx, c, 4, &s->area)))
		return -1;
	if (s->how & MEMBER && s->it && (place_of_member(cx, c, s->it, 2, &s->area.at) ||
	    radius(cx, c, 3, &s->area)))
		return -1;
	for (at = s->base; at < c->argc; at += (uint32_t)n) {
		n = option(s, at);
		if (n == 0)
			reply_error(cx, c, err_syntax);
		if (n <= 0)
			return -1;
	}
	if (s->store && (s->dist || s->hash || s->coord))
		reply_errorf(cx, c, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
		    s->how & STORE ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
	else if (s->how & SEARCH && !s->from_member && !s->from_place)
		reply_errorf(cx, c, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
		    (int)c->argv[0].n, (const char *)c->argv[0].p);
	else if (s->how & SEARCH && !s->by_radius && !s->by_box)
		reply_errorf(cx, c, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s",
		    (int)c->argv[0].n, (const char *)c->argv[0].p);
	else if (s->any && !s->count)
		reply_error(cx, c, "ERR the ANY argument requires COUNT argument");
	else
		return 0;
	return -1;
}

struct spanning { struct search *s; double max; int nomem; };

static int take_member(void *arg, purser_bytes m, double score)
{
	struct spanning *w = arg;
	struct search *s = w->s;
	struct geo_point g = { m.p, m.n, 0, score, { 0, 0 } };

	if (!(score < w->max))
		return 1;
	g.at = geo_decode(geo_of_score(score));
	if (!geo_inside(&s->area, g.at, &g.metres))
		return 0;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 32;
		void *v = realloc(s->v, cap * sizeof(*s->v));

		if (!v) {
			w->nomem = 1;
			return 1;
		}
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n++] = g;
	return s->any && s->n >= (uint64_t)s->count;
}

static int is_below(const void *arg, purser_bytes m, double score)
{
	(void)m;
	return score < *(const double *)arg;
}

/* 0, or -1: no memory. */
static int search_run(struct search *s)
{
	struct geo_span spans[GEO_SPANS];
	unsigned n = geo_spans(&s->area, spans), i;
	uint64_t len = zset_len(s->it), first;

	for (i = 0; i < n && !(s->any && s->n >= (uint64_t)s->count); i++) {
		struct spanning w = { s, spans[i].max, 0 };

		first = zset_front(s->it, is_below, &spans[i].min);
		if (first < len)
			zset_walk(s->it, first, len - first, 0, take_member, &w);
		if (w.nomem)
			return -1;
	}
	return 0;
}

static void search_show(struct search *s, size_t n)
{
	int with = s->dist + s->hash + s->coord;
	struct ctx *cx = s->cx;
	purser_call *c = s->c;
	size_t i;

	reply_array(cx, c, n);
	for (i = 0; i < n; i++) {
		struct geo_point *g = &s->v[i];

		if (with)
			reply_array(cx, c, (size_t)with + 1);
		reply_bulk(cx, c, g->member, g->n);
		if (s->dist)
			reply_distance(cx, c, g->metres / s->area.unit);
		if (s->hash)
			reply_int(cx, c, (int64_t)geo_of_score(g->score));
		if (s->coord)
			reply_place(cx, c, g->at);
	}
}

/* Which of the command's keys the argument is: the host has named them all. */
static uint32_t key_number(const struct search *s)
{
	uint32_t i;

	for (i = 0; !(s->how & STORE) && i + 1 < s->c->nkeys && s->c->keys[i] != s->store; i++)
		;
	return i;
}

/* The first n as a sorted set: its item; NULL: no memory. */
static struct item *search_made(struct search *s, size_t n)
{
	struct zset *z = zset_new(s->cx);
	struct item *it = NULL;
	size_t i;

	for (i = 0; z && i < n; i++) {
		const struct geo_point *g = &s->v[i];

		if (zset_put(s->cx, z, (purser_bytes){ g->member, g->n },
		    s->store_dist ? g->metres / s->area.unit : g->score))
			break;
	}
	if (z && i == n)
		it = zset_item(s->cx, s->c->argv[s->store], z);
	if (z && !it)
		zset_dispose(s->cx, z);
	return it;
}

/* They become the key; with none of them it goes. */
static void search_store(struct search *s, size_t n)
{
	purser_bytes key = s->c->argv[s->store];
	struct item *it = n ? search_made(s, n) : NULL;
	struct ctx *cx = s->cx;
	struct pos p;

	arg_find(cx, s->c, s->store, key_number(s), &p, 0);
	if (it && !p.it && key_add(cx, &p, it)) {
		item_free(cx, it);
		it = NULL;
	} else if (it && p.it != it) {
		key_replace(cx, &p, it);
	}
	if (n && !it) {
		reply_nomem(cx, s->c);
		return;
	}
	if (it)
		key_event(cx, s->c->db, key, EVENT_ZSET, s->how & SEARCH ? "geosearchstore" : "georadiusstore");
	if (!it && p.it) {
		key_delete(cx, &p);
		key_event(cx, s->c->db, key, EVENT_GENERIC, "del");
	}
	reply_int(cx, s->c, (int64_t)n);
}

static void search(struct ctx *cx, purser_call *c, int how, uint32_t base)
{
	struct search s = { .cx = cx, .c = c, .how = how, .base = base, .store = how & STORE ? 1 : 0 };
	uint32_t source = how & STORE ? 2 : 1;
	struct pos p;
	size_t n;

	s.it = arg_find(cx, c, source, how & STORE ? 1 : 0, &p, FIND_READ);
	if (wrong_type(cx, c, s.it, TYPE_ZSET) || search_parse(&s))
		return;
	if (s.it && search_run(&s)) {
		free(s.v);
		reply_nomem(cx, c);
		return;
	}
	n = s.count && (uint64_t)s.count < s.n ? (size_t)s.count : s.n;
	if (s.count && !s.sort && !s.any)
		s.sort = 1; /* so many, and no word which: the nearest */
	if (s.sort)
		geo_sort(s.v, s.n, n, s.sort < 0);
	if (s.store)
		search_store(&s, n);
	else
		search_show(&s, n);
	free(s.v);
}

void op_geosearch(struct ctx *cx, purser_call *c) { search(cx, c, SEARCH, 2); }
void op_geosearchstore(struct ctx *cx, purser_call *c) { search(cx, c, SEARCH | STORE, 3); }
void op_georadius(struct ctx *cx, purser_call *c) { search(cx, c, COORDS, 6); }
void op_georadius_ro(struct ctx *cx, purser_call *c) { search(cx, c, COORDS | READS, 6); }
void op_georadiusbymember(struct ctx *cx, purser_call *c) { search(cx, c, MEMBER, 5); }
void op_georadiusbymember_ro(struct ctx *cx, purser_call *c) { search(cx, c, MEMBER | READS, 5); }
