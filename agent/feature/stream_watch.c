/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams that a [project] names in watch_streams: their groups' lag and pending entries become metrics, asked for each
 * [health] interval by the first worker, on the agent's own account.  A group that is gone, or a stream that does not
 * answer, has no points: what was true once is not shown as if it were now.
 */
#include <config.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "feature/rooms.h"
#include "feature/stream.h"
#include "resp/json_text.h"

#define SOON_NS UINT64_C(100000000)     /* the first time */
#define LABEL_MAX 128u                  /* bytes of a name in an attribute */

struct group {
	struct group *next;
	bool seen;
	struct metric_cell *lag, *pending, *age;
	char name[LABEL_MAX + 1];
};

struct watched {
	struct watched *next;
	struct feature_worker *w;
	struct feature_place place;
	struct group *groups;
	bool wanted, busy;
	size_t n;
	char name[];                    /* n bytes, and NUL */
};

struct watch_room {
	struct loop_timer timer;
	struct feature_worker *w;
	struct watched *list;
	uint64_t interval_ns;           /* 0: nothing is watched */
	bool over;
};

/* ---- points ---- */

static void show(struct group *g, const struct stream_group *now)
{
	metric_cell_set(g->pending, now->pending);
	if (now->lag < 0)
		metric_cell_unset(g->lag);
	else
		metric_cell_set(g->lag, now->lag);
	if (now->age_ms < 0)
		metric_cell_unset(g->age);
	else
		metric_cell_setd(g->age, (double)now->age_ms / 1000);
}

static void hide(struct group *g)
{
	metric_cell_unset(g->pending);
	metric_cell_unset(g->lag);
	metric_cell_unset(g->age);
}

/* Text for an attribute: what is not UTF-8, or a control character, is a question mark. */
static void label(char dst[LABEL_MAX + 1], purser_bytes name)
{
	size_t n = name.n < LABEL_MAX ? name.n : LABEL_MAX;
	bool text;

	while (n && n < name.n && (name.p[n] & 0xc0) == 0x80)
		n--; /* not in the middle of a character */
	text = utf8_valid(name.p, n);
	for (size_t i = 0; i < n; i++)
		dst[i] = name.p[i] < 0x20 || name.p[i] == 0x7f || (!text && name.p[i] > 0x7f) ? '?' : (char)name.p[i];
	dst[n] = '\0';
}

static struct group *group_of(struct watched *s, purser_bytes name)
{
	char text[LABEL_MAX + 1], stream[LABEL_MAX + 1];
	struct metric_shard *m = s->w->metrics;
	struct group *g;

	label(text, name);
	for (g = s->groups; g; g = g->next)
		if (!strcmp(g->name, text))
			return g;
	g = calloc(1, sizeof *g);
	if (!g)
		return NULL;
	memcpy(g->name, text, sizeof text);
	label(stream, (purser_bytes){ (const uint8_t *)s->name, s->n });
	g->lag = metric_cell(m, METRIC_STREAM_LAG, s->place.project, stream, text);
	g->pending = metric_cell(m, METRIC_STREAM_PENDING, s->place.project, stream, text);
	g->age = metric_cell(m, METRIC_STREAM_AGE, s->place.project, stream, text);
	g->next = s->groups;
	s->groups = g;
	return g;
}

/* Groups that were not seen; all: those that were, too. */
static void drop_groups(struct watched *s, bool all)
{
	struct group **at = &s->groups, *g;

	while ((g = *at)) {
		if (g->seen && !all) {
			at = &g->next;
			continue;
		}
		hide(g);
		*at = g->next;
		free(g);
	}
}

/* ---- asking ---- */

static void answered(void *arg, const struct feature_reply *rep)
{
	struct watched *s = arg;
	struct stream_group now;
	struct stream_lag l;
	struct group *g;

	s->busy = false;
	for (g = s->groups; g; g = g->next)
		g->seen = false;
	if (s->wanted && !rep->err && stream_lag_begin(&l, rep) == 0)
		while (stream_lag_next(&l, &now) > 0)
			if ((g = group_of(s, now.name))) {
				show(g, &now);
				g->seen = true;
			}
	drop_groups(s, false);
}

static void ask(struct watched *s)
{
	static const purser_bytes max = { (const uint8_t *)STREAM_GROUPS, sizeof STREAM_GROUPS - 1 };
	const struct project *p = feature_place_project(s->w, &s->place);
	struct arena arena;
	uint64_t mem[64];
	purser_bytes key;

	if (!p) {
		drop_groups(s, true);
		return;
	}
	arena_begin(&arena, mem, sizeof mem);
	key = isolate_key(p, (purser_bytes){ (const uint8_t *)s->name, s->n }, &arena);
	if (key.p) {
		s->busy = true;
		feature_place_script(s->w, &s->place, feature_place_timeout(s->w, &s->place), LUA_STREAM_LAG, &key, 1, &max, 1,
		    answered, s);
	}
	arena_end(&arena);
}

/* ---- what is watched ---- */

static struct watched *find(struct watch_room *room, const struct feature_place *at, const char *name, size_t n)
{
	struct watched *s;

	for (s = room->list; s; s = s->next)
		if (s->n == n && !memcmp(s->name, name, n) && !strcmp(s->place.project, at->project))
			return s;
	s = calloc(1, sizeof *s + n + 1);
	if (!s)
		return NULL; /* it is tried again in a moment */
	s->w = room->w;
	memcpy(s->name, name, n);
	s->n = n;
	s->next = room->list;
	room->list = s;
	return s;
}

static void add(void *arg, const struct project *p, const struct feature_place *at)
{
	struct watch_room *room = arg;

	for (const char *w = p->watch; w && *w; w += strspn(w, " ")) {
		size_t n = strcspn(w, " ");
		struct watched *s = find(room, at, w, n);

		if (s) {
			s->place = *at;
			s->wanted = true;
		}
		w += n;
	}
	if (p->watch)
		room->interval_ns = p->watch_ns;
}

static void tick(struct loop_timer *t)
{
	struct watch_room *room = (struct watch_room *)((char *)t - offsetof(struct watch_room, timer));
	struct watched **at = &room->list, *s;

	for (s = room->list; s; s = s->next)
		s->wanted = false;
	room->interval_ns = 0;
	feature_each_project(room->w, add, room);
	while ((s = *at)) {
		if (!s->wanted && !s->busy) {
			*at = s->next;
			drop_groups(s, true);
			free(s);
			continue;
		}
		if (!s->busy)
			ask(s);
		at = &s->next;
	}
	if (room->interval_ns && !room->over)
		loop_timer_set(room->w->loop, t, loop_now(room->w->loop) + room->interval_ns);
}

/* ---- the room ---- */

int stream_start(struct feature_worker *w)
{
	struct watch_room *room;

	if (w->index)
		return 0;
	room = calloc(1, sizeof *room);
	if (!room)
		return -1;
	w->room[ROOM_STREAM] = room;
	room->w = w;
	room->timer.fn = tick;
	return loop_timer_set(w->loop, &room->timer, loop_now(w->loop) + SOON_NS) ? -1 : 0;
}

void stream_reloaded(struct feature_worker *w)
{
	struct watch_room *room = w->room[ROOM_STREAM];

	if (room && !room->over)
		loop_timer_set(w->loop, &room->timer, loop_now(w->loop));
}

void stream_quit(struct feature_worker *w)
{
	struct watch_room *room = w->room[ROOM_STREAM];

	if (!room)
		return;
	room->over = true;
	loop_timer_stop(w->loop, &room->timer);
}

void stream_stop(struct feature_worker *w)
{
	struct watch_room *room = w->room[ROOM_STREAM];
	struct watched *s;

	while (room && (s = room->list)) {
		room->list = s->next;
		drop_groups(s, true);
		free(s);
	}
	free(room);
	w->room[ROOM_STREAM] = NULL;
}
