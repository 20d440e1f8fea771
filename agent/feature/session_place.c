/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker knows of the sessions of a project's database: what happened to them here, the store's clock, and on the
 * worker that owns the name, the clean-up.  Sessions expire by themselves: what is cleaned is their index.
 */
#include <config.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "feature/rooms.h"
#include "feature/session.h"
#include "resp/pick.h"

static const char *const event_name[SESSION_EVENTS] = {
	[SESSION_CREATED] = "created", [SESSION_ROTATED] = "rotated", [SESSION_DESTROYED] = "destroyed",
	[SESSION_EXPIRED] = "expired", [SESSION_CONFLICT] = "conflict", [SESSION_MISSED] = "missed",
};

/* ---- places ---- */

static uint64_t place_hash(uint32_t ns, uint16_t db)
{
	uint32_t name[2] = { ns, db };

	return names_hash(0, name, sizeof name);
}

static struct session_place *find(const struct session_room *room, uint32_t ns, uint16_t db, uint64_t hash)
{
	for (struct names_node *n = names_first(&room->places, hash); n; n = names_next(n)) {
		struct session_place *p = (struct session_place *)n; /* node is its first member */

		if (p->at.ns == ns && p->at.db == db)
			return p;
	}
	return NULL;
}

static struct session_place *make(struct feature_worker *w, const struct feature_place *at, uint64_t hash)
{
	struct session_room *room = w->room[ROOM_SESSION];
	struct session_place *p = calloc(1, sizeof *p);
	char db[8];

	if (!p || names_add(&room->places, &p->node, hash)) {
		free(p);
		return NULL;
	}
	p->w = w;
	p->at = *at;
	db[dec_u64(db, at->db)] = '\0';
	for (unsigned i = 0; i < SESSION_EVENTS; i++)
		p->cell[i] = metric_cell(w->metrics, METRIC_SESSION_EVENTS, p->at.project, db, event_name[i]);
	return p;
}

struct session_place *session_place(struct feature_call *f)
{
	const struct session_room *room = f->w->room[ROOM_SESSION];
	uint64_t hash = place_hash(f->project->ns, f->db);
	struct session_place *p = find(room, f->project->ns, f->db, hash);
	struct feature_place at;

	if (p)
		return p;
	feature_place_of(f, &at);
	return make(f->w, &at, hash);
}

void session_note(struct session_place *p, enum session_event e, uint64_t n)
{
	if (!n)
		return;
	p->count[e] += n;
	metric_cell_add(p->cell[e], (int64_t)n);
	log_event(p->w->log, LOG_M_FEATURE, LOG_DEBUG, "session.event", "sessions of a project",
	    LOG_STR("event.name", event_name[e]), LOG_UINT("sessions", n), LOG_STR("project", p->at.project), LOG_UINT("db", p->at.db));
}

/* ---- the store's clock ---- */

void session_heard(struct session_place *p, int64_t now)
{
	p->heard_ns = loop_now(p->w->loop);
	p->ahead_mono = now - (int64_t)(p->heard_ns / 1000000);
	p->ahead_wall = now - (int64_t)loop_wall_ms(p->w->loop);
}

/* What is asked of the store is whether it is due, so this may err: on the safe side, if one of two clocks was set. */
bool session_due(const struct session_place *p, const struct session_got *g)
{
	uint64_t ns = loop_now(p->w->loop);
	int64_t a = (int64_t)(ns / 1000000) + p->ahead_mono, b = (int64_t)loop_wall_ms(p->w->loop) + p->ahead_wall;
	int64_t end = (a > b ? a : b) + g->idle;

	if (!p->heard_ns || ns - p->heard_ns > UINT64_C(60000000000))
		return true;
	if (g->abs && end > g->abs)
		end = g->abs;
	return (end - g->exp) * 10 > g->idle;
}

/* ---- clean-up ---- */

static purser_bytes index_of(struct arena *a, const struct session_place *p)
{
	return feature_name(a, p->at.project, "sess-all", (purser_bytes){ (const uint8_t *)"0", 1 });
}

static void clean(struct session_place *p);

static void due(struct loop_timer *t)
{
	clean((struct session_place *)((char *)t - offsetof(struct session_place, timer)));
}

static void again(struct session_place *p, uint64_t in_ns)
{
	const struct session_room *room = p->w->room[ROOM_SESSION];

	p->timer.fn = due;
	if (!room->quitting && loop_timer_set(p->w->loop, &p->timer, loop_now(p->w->loop) + in_ns))
		log_event(p->w->log, LOG_M_FEATURE, LOG_WARN, "session.cleanup.stopped", "no memory for the timer of the clean-up of sessions",
		    LOG_STR("project", p->at.project));
}

static int three(const struct feature_reply *rep, int64_t v[3])
{
	const uint8_t *at = rep->resp, *end = at + rep->n;
	int64_t n;

	return rep->err || resp_pick_header(&at, end, '*', &n) || n != 3 || session_int(&at, end, v) || session_int(&at, end, v + 1) ||
	    session_int(&at, end, v + 2) ? -1 : 0;
}

static void cleaned(void *arg, const struct feature_reply *rep)
{
	struct session_place *p = arg;
	char db[8];
	int64_t v[3];

	p->cleaning = false;
	if (three(rep, v)) {
		log_event(p->w->log, LOG_M_FEATURE, LOG_DEBUG, "session.cleanup.failed", "the clean-up of sessions goes on later",
		    LOG_STR("project", p->at.project), LOG_STR("error", rep->err ? rep->error : "the store's reply is no array of three"));
		again(p, SESSION_PERIOD_NS);
		return;
	}
	if (!p->live) {
		db[dec_u64(db, p->at.db)] = '\0';
		p->live = metric_cell(p->w->metrics, METRIC_SESSION_LIVE, p->at.project, db);
	}
	session_note(p, SESSION_EXPIRED, (uint64_t)v[0]);
	metric_cell_set(p->live, v[2]);
	if (v[1])
		again(p, SESSION_PACE_NS);
	else if (v[2])
		again(p, SESSION_PERIOD_NS);
}

static void clean(struct session_place *p)
{
	static const purser_bytes batch = { (const uint8_t *)"500", 3 };
	uint64_t timeout = feature_place_timeout(p->w, &p->at);
	struct arena arena;
	uint64_t mem[32];
	purser_bytes key;

	if (!timeout)
		return; /* the project has gone; whoever uses it again wakes this again */
	arena_begin(&arena, mem, sizeof mem);
	key = index_of(&arena, p);
	if (key.p) {
		p->cleaning = true;
		feature_place_script(p->w, &p->at, timeout, LUA_SESSION_CLEAN, &key, 1, &batch, 1, cleaned, p);
	} else {
		again(p, SESSION_PERIOD_NS);
	}
	arena_end(&arena);
}

struct waking {
	struct feature_mail mail;               /* first */
	struct feature_place at;
};

static void woken(struct feature_mail *m)
{
	struct waking *k = (struct waking *)m;
	uint64_t hash = place_hash(k->at.ns, k->at.db);
	struct session_place *p = find(m->to->room[ROOM_SESSION], k->at.ns, k->at.db, hash);

	if (!p)
		p = make(m->to, &k->at, hash);
	if (p) {
		p->at = k->at; /* it may be on another backend now */
		if (!p->cleaning && !p->timer.pos)
			again(p, SESSION_PERIOD_NS / 20);
	}
	free(k);
}

void session_awake(struct session_place *p)
{
	uint64_t now = loop_now(p->w->loop);
	struct waking *k;

	if (p->told_ns && now - p->told_ns < SESSION_PERIOD_NS / 2)
		return;
	k = calloc(1, sizeof *k);
	if (!k)
		return; /* the next one tells it */
	p->told_ns = now;
	k->at = p->at;
	feature_post(p->w, feature_owner(p->w, p->at.ns, p->at.db, "sess", (purser_bytes){ (const uint8_t *)"", 0 }), &k->mail, woken);
}

/* ---- SESSION.CLEANUP ---- */

struct cleanup {
	struct feature_call *f;
	struct loop_timer timer;
	struct session_place *p;
	purser_bytes key;
	uint64_t until_ns;
	int64_t removed, left, live;
};

static void sweep(struct cleanup *c);

static void report(struct cleanup *c)
{
	struct bcall *b = c->f->b;

	loop_timer_stop(c->f->w->loop, &c->timer);
	reply_map(b, 3);
	reply_text(b, "removed");
	reply_integer(b, c->removed);
	reply_text(b, "left");
	reply_integer(b, c->left);
	reply_text(b, "live");
	reply_integer(b, c->live);
	feature_end(c->f);
}

static void stopped(struct feature_call *f, enum feature_stop why)
{
	(void)why;
	report(f->state);
}

static void go_on(struct loop_timer *t)
{
	struct cleanup *c = (struct cleanup *)((char *)t - offsetof(struct cleanup, timer));

	feature_resume(c->f);
	sweep(c);
}

static void swept(void *arg, const struct feature_reply *rep)
{
	struct cleanup *c = arg;
	uint64_t now = loop_now(c->f->w->loop);
	int64_t v[3];

	if (rep->err) {
		feature_pass_error(c->f, rep);
		return;
	}
	if (three(rep, v)) {
		feature_fail(c->f, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	session_note(c->p, SESSION_EXPIRED, (uint64_t)v[0]);
	c->removed += v[0];
	c->left = v[1];
	c->live = v[2];
	c->timer.fn = go_on;
	if (!c->left || now >= c->until_ns || loop_timer_set(c->f->w->loop, &c->timer, now + SESSION_PACE_NS))
		report(c);
	else
		feature_wait(c->f, stopped);
}

static void sweep(struct cleanup *c)
{
	static const purser_bytes batch = { (const uint8_t *)"500", 3 };

	feature_script(c->f, LUA_SESSION_CLEAN, &c->key, 1, &batch, 1, swept, c);
}

void session_cleanup(struct feature_call *f)
{
	struct cleanup *c = arena_get(f->arena, sizeof *c);
	struct session_place *p = session_place(f);

	if (!c || !p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	*c = (struct cleanup){ .f = f, .p = p, .key = index_of(f->arena, p), .until_ns = loop_now(f->w->loop) + UINT64_C(5000000000) };
	f->state = c;
	if (c->key.p)
		sweep(c);
	else
		feature_fail(f, ERR_OOM, NULL);
}

/* ---- SESSION.STATS ---- */

struct stats {                          /* goes round the workers */
	struct feature_mail mail;       /* first */
	struct feature_call *f;
	uint32_t home, at, ns;
	uint16_t db;
	uint64_t count[SESSION_EVENTS];
	int64_t v[3];
};

static void counted(struct feature_mail *m)
{
	struct stats *s = (struct stats *)m;
	struct bcall *b = s->f->b;

	reply_map(b, 2 + SESSION_EVENTS);
	reply_text(b, "live");
	reply_integer(b, s->v[2]);
	reply_text(b, "uncleaned");
	reply_integer(b, s->v[1]);
	for (unsigned i = 0; i < SESSION_EVENTS; i++) {
		reply_text(b, event_name[i]);
		reply_integer(b, (int64_t)s->count[i]);
	}
	feature_end(s->f);
}

static void visit(struct feature_mail *m)
{
	struct stats *s = (struct stats *)m;
	const struct session_place *p = find(m->to->room[ROOM_SESSION], s->ns, s->db, place_hash(s->ns, s->db));

	for (unsigned i = 0; p && i < SESSION_EVENTS; i++)
		s->count[i] += p->count[i];
	if (++s->at < m->to->n)
		feature_post(m->to, s->at, m, visit);
	else
		feature_post(m->to, s->home, m, counted);
}

static void asked(void *arg, const struct feature_reply *rep)
{
	struct stats *s = arg;

	if (rep->err)
		feature_pass_error(s->f, rep);
	else if (three(rep, s->v))
		feature_fail(s->f, ERR_BACKENDPROTOCOL, NULL);
	else
		feature_post(s->f->w, 0, &s->mail, visit);
}

void session_stats(struct feature_call *f)
{
	static const purser_bytes only_count = { (const uint8_t *)"0", 1 };
	struct stats *s = arena_get(f->arena, sizeof *s);
	struct session_place *p = session_place(f);
	purser_bytes *key = arena_get(f->arena, sizeof *key);

	if (!s || !p || !key || !(*key = index_of(f->arena, p)).p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	*s = (struct stats){ .f = f, .home = f->w->index, .ns = f->project->ns, .db = f->db };
	feature_script(f, LUA_SESSION_CLEAN, key, 1, &only_count, 1, asked, s);
}

/* ---- the room ---- */

int session_start(struct feature_worker *w)
{
	struct session_room *room = calloc(1, sizeof *room);

	w->room[ROOM_SESSION] = room;
	if (!room)
		return -1;
	room->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	room->md = EVP_MD_CTX_new();
	return room->sha256 && room->md ? 0 : -1;
}

void session_quit(struct feature_worker *w)
{
	struct session_room *room = w->room[ROOM_SESSION];

	room->quitting = true;
	for (struct names_node *n = names_each(&room->places, NULL); n; n = names_each(&room->places, n))
		loop_timer_stop(w->loop, &((struct session_place *)n)->timer);
}

void session_stop(struct feature_worker *w)
{
	struct session_room *room = w->room[ROOM_SESSION];
	struct names_node *n;

	if (!room)
		return;
	while ((n = names_each(&room->places, NULL))) {
		names_remove(&room->places, n);
		free(n);
	}
	names_free(&room->places);
	EVP_MD_free(room->sha256);
	EVP_MD_CTX_free(room->md);
	free(room);
	w->room[ROOM_SESSION] = NULL;
}
