/* SPDX-License-Identifier: Apache-2.0
 *
 * The owner's side of a lease: the table of who computes and who waits, and all that travels to it and back.
 */
#include <config.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "feature/lease.h"
#include "feature/rooms.h"
#include "feature/touch.h"
#include "resp/pick.h"

#define MEMBER(p, type, member) ((type *)(void *)((char *)(p) - offsetof(type, member)))

/* What the owner keeps beside an entry of the table. */
struct beside {
	struct lease_room *room;
	struct lease_entry *e;
	struct feature_place place;
	struct touch touch;              /* who writes the key asks first */
	struct touch_note **writes;      /* ... and waits until the store was told */
	uint32_t nwrites, cap;
	struct feature_mail told;        /* to itself: the store was told that `dead` is over, or cannot be */
	char dead[RECORD_TOKEN_LEN + 1];
};

static struct beside *beside_of(struct lease_entry *e)
{
	return (struct beside *)(void *)e->extra;
}

static struct lease_key key_of(const struct lease_entry *e)
{
	return (struct lease_key){ .ns = e->ns, .db = e->db, .name = { e->name, e->n } };
}

/* ---- things ---- */

void *lease_thing_new(struct lease_room *room, const struct lease_key *k, size_t n)
{
	struct lease_thing *t = calloc(1, n + k->name.n);

	if (!t)
		return NULL;
	t->home = room;
	t->key = *k;
	t->key.name.p = (uint8_t *)t + n;
	if (k->name.n)
		memcpy((uint8_t *)t + n, k->name.p, k->name.n);
	t->owner = feature_owner(room->fw, k->ns, k->db, "cache", k->name);
	t->next = room->things;
	t->at = &room->things;
	if (t->next)
		t->next->at = &t->next;
	room->things = t;
	return t;
}

void lease_thing_free(struct lease_thing *t)
{
	*t->at = t->next;
	if (t->next)
		t->next->at = t->at;
	free(t);
}

static void go_home(struct lease_room *from, struct lease_thing *t, struct feature_mail *m, void (*fn)(struct feature_mail *m))
{
	feature_post(from->fw, t->home->fw->index, m, fn);
}

static uint64_t now_of(const struct lease_room *r)
{
	return loop_now(r->fw->loop);
}

/* Behind everything that may have moved a waiter of the table. */
static void gauge(const struct lease_room *r)
{
	metric_set(r->fw->metrics, METRIC_LEASE_WAITING, (int64_t)r->table.waiting);
}

/* ---- letters: how a lease has ended ---- */

struct lease_letter *lease_letter_new(struct lease_room *room, const struct lease_key *k, const char *token)
{
	struct lease_letter *l = lease_thing_new(room, k, sizeof *l);

	if (l)
		snprintf(l->token, sizeof l->token, "%s", token);
	return l;
}

static void letter_back(struct feature_mail *m)
{
	lease_thing_free(MEMBER(m, struct lease_thing, mail));
}

static void letter_read(struct feature_mail *m)
{
	struct lease_letter *l = MEMBER(m, struct lease_letter, t.mail);
	struct lease_room *r = lease_room_of(m->to);
	static const uint8_t ends[] = { [LETTER_FILLED] = LEASE_END_FILLED, [LETTER_ABORTED] = LEASE_END_ABORTED,
		[LETTER_NEGATIVE] = LEASE_END_NEGATIVE, [LETTER_REFUSED] = LEASE_END_REFUSED };

	if (l->what == LETTER_DOUBT)
		lease_doubt(&r->table, &l->t.key, l->token, now_of(r));
	else
		lease_ended(&r->table, &l->t.key, l->token, ends[l->what], now_of(r));
	gauge(r);
	go_home(r, &l->t, m, letter_back);
}

void lease_letter_send(struct lease_letter *l, int what)
{
	l->what = what;
	feature_post(l->t.home->fw, l->t.owner, &l->t.mail, letter_read);
}

/* ---- holds: bound to the connection of whoever computes ---- */

static void hold_free(struct lease_hold *h)
{
	if (h->over && !h->gone_out)
		lease_thing_free(&h->t);
}

static void hold_over(struct feature_mail *m)
{
	struct lease_hold *h = MEMBER(m, struct lease_hold, t.mail);

	feature_unbind(&h->bond);
	h->over = true;
	hold_free(h);
}

static void gone_back(struct feature_mail *m)
{
	struct lease_hold *h = MEMBER(m, struct lease_hold, gone);

	h->gone_out = false;
	hold_free(h);
}

static void gone_read(struct feature_mail *m)
{
	struct lease_hold *h = MEMBER(m, struct lease_hold, gone);
	struct lease_room *r = lease_room_of(m->to);

	lease_over(&r->table, &h->t.key, h->token, now_of(r));
	gauge(r);
	go_home(r, &h->t, &h->gone, gone_back);
}

static void on_gone(struct feature_bond *b)
{
	struct lease_hold *h = MEMBER(b, struct lease_hold, bond);

	h->gone_out = true;
	feature_post(h->t.home->fw, h->t.owner, &h->gone, gone_read);
}

struct lease_hold *lease_hold_new(struct lease_wish *w)
{
	struct lease_hold *h = lease_thing_new(w->t.home, &w->t.key, sizeof *h);

	if (!h)
		return NULL;
	h->bond.gone = on_gone;
	snprintf(h->token, sizeof h->token, "%s", w->token);
	return h;
}

/* ---- wishes ---- */

static void wish_home(struct feature_mail *m)
{
	struct lease_wish *w = MEMBER(m, struct lease_wish, t.mail);

	if (w->done)
		lease_thing_free(&w->t);
	else
		lease_ordered(w);
}

static void send_home(struct lease_room *r, struct lease_wish *w)
{
	w->posted = true;
	go_home(r, &w->t, &w->t.mail, wish_home);
}

/* ---- the table's orders ---- */

static void on_written(struct touch *t, struct touch_note *n);

/* Before the store is asked. */
static bool watch(struct lease_room *r, struct lease_wish *w)
{
	struct beside *b = beside_of(w->seat.entry);

	b->room = r;
	b->e = w->seat.entry;
	b->place = w->place;
	b->place.keeps_leases = true;
	if (b->touch.key)
		return true;
	b->touch.written = on_written;
	return touch_watch(r->fw, w->instance, w->t.key.db, w->physical, &b->touch);
}

static void on_seat(void *arg, struct lease_seat *s, enum lease_order o, const char *dead, uint32_t retry_ms)
{
	struct lease_room *r = arg;
	struct lease_wish *w = MEMBER(s, struct lease_wish, seat);

	if (w->answered) /* it came to tell, and goes home behind that */
		return;
	w->order = o;
	w->retry_ms = retry_ms;
	w->err = ERR_NONE;
	if ((o == LEASE_TRY || o == LEASE_LOOK) && !watch(r, w))
		w->err = ERR_OOM;
	snprintf(w->dead, sizeof w->dead, "%s", dead);
	if (o == LEASE_FAILED) {
		w->err = r->failing->err;
		memcpy(w->error, r->failing->error, sizeof w->error);
	}
	send_home(r, w);
}

static void set_timer(struct lease_room *r, struct loop_timer *t, uint64_t due)
{
	if (loop_timer_set(r->fw->loop, t, due))
		log_event(r->fw->log, LOG_M_FEATURE, LOG_ERROR, "lease.timer", "no memory for a timer");
}

static void let_write(struct beside *b)
{
	for (uint32_t i = 0; i < b->nwrites; i++)
		touch_done(b->writes[i]);
	b->nwrites = 0;
}

static void on_told(struct feature_mail *m)
{
	struct beside *b = MEMBER(m, struct beside, told);
	struct lease_room *r = b->room;
	char dead[RECORD_TOKEN_LEN + 1];

	memcpy(dead, b->dead, sizeof dead);
	if (!strcmp(b->e->dead, dead)) /* else there is another one to tell of */
		let_write(b);
	lease_dropped(&r->table, b->e, dead, now_of(r));
	gauge(r);
}

static void dropped(void *arg, const struct feature_reply *rep)
{
	struct beside *b = arg;

	if (rep->err)
		log_event(b->room->fw->log, LOG_M_FEATURE, LOG_WARN, "lease.drop.failed", "the store was not told that a lease is over: it ends with its time",
		    LOG_STR("project", b->place.project), LOG_STR("error", rep->error));
	feature_post(b->room->fw, b->room->fw->index, &b->told, on_told);
}

/* Somebody is about to write the key.  What was won here is void, and the store is to know it first. */
static void on_written(struct touch *t, struct touch_note *n)
{
	struct beside *b = MEMBER(t, struct beside, touch);
	struct lease_room *r = b->room;

	if (b->nwrites == b->cap) {
		uint32_t cap = b->cap ? 2 * b->cap : 4;
		struct touch_note **more = realloc(b->writes, cap * sizeof(struct touch_note *));

		if (!more) {
			log_event(r->fw->log, LOG_M_FEATURE, LOG_ERROR, "lease.write", "no memory to let a write wait for the end of a lease");
			touch_done(n);
			return;
		}
		b->writes = more;
		b->cap = cap;
	}
	b->writes[b->nwrites++] = n;
	if (!lease_void(&r->table, b->e, now_of(r)))
		let_write(b);
	gauge(r);
}

static void on_drop(void *arg, struct lease_entry *e, const char *dead)
{
	static const purser_bytes op = { (const uint8_t *)"drop", 4 }, zero = { (const uint8_t *)"0", 1 }, none = { (const uint8_t *)"", 0 };
	struct lease_room *r = arg;
	struct beside *b = beside_of(e);
	const struct project *p = feature_place_project(r->fw, &b->place);
	purser_bytes keys[2], args[4] = { op, { (const uint8_t *)b->dead, RECORD_TOKEN_LEN }, zero, none };
	struct arena arena;
	uint64_t mem[128];

	memcpy(b->dead, dead, sizeof b->dead);
	arena_begin(&arena, mem, sizeof mem);
	keys[0] = p ? isolate_key(p, key_of(e).name, &arena) : none;
	keys[1] = p ? feature_name(&arena, p->name, "cache", key_of(e).name) : none;
	if (keys[0].p && keys[1].p)
		feature_place_script(r->fw, &b->place, feature_place_timeout(r->fw, &b->place), LUA_CACHE_LEASE, keys, 2, args, 4, dropped, b);
	else
		dropped(b, &(struct feature_reply){ .err = p ? ERR_OOM : ERR_BACKENDDOWN, .error = p ? "OOM" : "the project has gone" });
	arena_end(&arena);
}

static void on_due(struct loop_timer *t)
{
	struct lease_entry *e = MEMBER(t, struct lease_entry, timer);
	struct lease_room *r = beside_of(e)->room;

	lease_timer(&r->table, e, now_of(r));
	gauge(r);
}

static void on_timer(void *arg, struct lease_entry *e, uint64_t due)
{
	struct lease_room *r = arg;

	beside_of(e)->room = r;
	e->timer.fn = on_due;
	if (!due)
		loop_timer_stop(r->fw->loop, &e->timer);
	else
		set_timer(r, &e->timer, due);
}

static void on_release(void *arg, void *holder, const char *token)
{
	struct lease_hold *h = holder;

	(void)token;
	if (h && !((struct lease_room *)arg)->stopping)
		go_home(arg, &h->t, &h->t.mail, hold_over);
}

/* Every change of a lease passes here. */
static void on_note(void *arg, const struct lease_entry *e, enum lease_note what)
{
	static const char *const words[LEASE_NOTES] = { [LEASE_NOTE_WON] = "won", [LEASE_NOTE_HANDED] = "handed",
		[LEASE_NOTE_FILLED] = "filled", [LEASE_NOTE_ABORTED] = "aborted", [LEASE_NOTE_NEGATIVE] = "negative",
		[LEASE_NOTE_REFUSED] = "refused", [LEASE_NOTE_GONE] = "gone", [LEASE_NOTE_VOID] = "void",
		[LEASE_NOTE_RAN_OUT] = "expired", [LEASE_NOTE_DOUBT] = "unknown", [LEASE_NOTE_BUSY] = "busy" };
	struct lease_room *r = arg;

	switch (what) {
	case LEASE_NOTE_WON:
		metric_add(r->fw->metrics, METRIC_LEASES, 1);
		break;
	case LEASE_NOTE_HANDED:
		metric_add(r->fw->metrics, METRIC_LEASES_HANDED, 1);
		break;
	case LEASE_NOTE_BUSY:
		return; /* no change of the lease, and counted where it is answered */
	default:
		metric_add(r->fw->metrics, METRIC_LEASES, -1);
		metric_cell_add(r->ends[what], 1);
	}
	log_event(r->fw->log, LOG_M_FEATURE, LOG_DEBUG, "lease.changed", "a lease has changed hands or ended", LOG_STR("what", words[what]),
	    LOG_STR("project", beside_of((struct lease_entry *)e)->place.project), LOG_BYTES("key", e->name, e->n));
}

static void on_forget(void *arg, struct lease_entry *e)
{
	struct beside *b = beside_of(e);

	touch_forget(&b->touch);
	if (!((struct lease_room *)arg)->stopping)
		let_write(b);
	free(b->writes);
}

static uint64_t on_random(void *arg)
{
	return trace_random(((struct lease_room *)arg)->fw->trace);
}

/* ---- what wishes come with ---- */

static void join_read(struct feature_mail *m)
{
	struct lease_wish *w = MEMBER(m, struct lease_wish, t.mail);
	struct lease_room *r = lease_room_of(m->to);
	int rc;

	w->posted = false;
	rc = lease_join(&r->table, &w->t.key, &w->seat, now_of(r));
	if (rc) {
		w->order = LEASE_FAILED;
		w->err = ERR_OOM;
		snprintf(w->error, sizeof w->error, "OOM %s", rc == -1 ? "out of memory" : "too many keys are being computed: fill or abort what was won");
		send_home(r, w);
		return;
	}
	gauge(r);
}

void lease_wish_join(struct lease_wish *w)
{
	feature_post(w->t.home->fw, w->t.owner, &w->t.mail, join_read);
}

static void tried_read(struct feature_mail *m)
{
	struct lease_wish *w = MEMBER(m, struct lease_wish, t.mail);
	struct lease_room *r = lease_room_of(m->to);

	w->posted = false;
	r->failing = w;
	lease_tried(&r->table, &w->seat, &w->result, now_of(r));
	r->failing = NULL;
	gauge(r);
	if (w->answered) {
		w->done = true;
		send_home(r, w);
	}
}

void lease_wish_tried(struct lease_wish *w)
{
	feature_post(w->t.home->fw, w->t.owner, &w->t.mail, tried_read);
}

static void leave_back(struct feature_mail *m)
{
	lease_left(MEMBER(m, struct lease_wish, leave));
}

static void leave_read(struct feature_mail *m)
{
	struct lease_wish *w = MEMBER(m, struct lease_wish, leave);
	struct lease_room *r = lease_room_of(m->to);

	w->left = w->seat.entry && w->seat.placed;
	lease_leave(&r->table, &w->seat);
	gauge(r);
	go_home(r, &w->t, &w->leave, leave_back);
}

void lease_wish_leave(struct lease_wish *w)
{
	feature_post(w->t.home->fw, w->t.owner, &w->leave, leave_read);
}

/* ---- the room ---- */

int lease_start(struct feature_worker *w)
{
	static const char *const answers[ANSWERS] = { [ANSWER_HIT] = "hit", [ANSWER_STALE] = "stale", [ANSWER_WON] = "won",
		[ANSWER_EARLY] = "early", [ANSWER_BUSY] = "busy", [ANSWER_NEG] = "neg", [ANSWER_ERROR] = "error" };
	static const char *const ends[LEASE_NOTES] = { [LEASE_NOTE_FILLED] = "filled", [LEASE_NOTE_ABORTED] = "aborted",
		[LEASE_NOTE_NEGATIVE] = "negative", [LEASE_NOTE_REFUSED] = "refused", [LEASE_NOTE_GONE] = "gone",
		[LEASE_NOTE_VOID] = "void", [LEASE_NOTE_RAN_OUT] = "expired", [LEASE_NOTE_DOUBT] = "unknown" };
	struct lease_room *r = calloc(1, sizeof *r);

	w->room[ROOM_LEASE] = r;
	if (!r)
		return -1;
	r->fw = w;
	r->orders = (struct lease_orders){ on_seat, on_drop, on_timer, on_release, on_note, on_forget, on_random, r };
	r->table = (struct lease_table){ .o = &r->orders, .max = LEASE_KEYS_MAX, .extra = sizeof(struct beside) };
	for (unsigned i = 0; i < ANSWERS; i++)
		r->answers[i] = metric_cell(w->metrics, METRIC_LEASE_ANSWERS, answers[i]);
	for (unsigned i = 0; i < LEASE_NOTES; i++)
		if (ends[i])
			r->ends[i] = metric_cell(w->metrics, METRIC_LEASE_ENDS, ends[i]);
	return 0;
}

void lease_stop(struct feature_worker *w)
{
	struct lease_room *r = lease_room_of(w);

	if (!r)
		return;
	r->stopping = true;
	lease_table_free(&r->table);
	while (r->things)
		lease_thing_free(r->things);
	free(r);
	w->room[ROOM_LEASE] = NULL;
}

/* A project that has gone, or is on another backend now, computes nothing here. */
void lease_reloaded(struct feature_worker *w)
{
	struct lease_room *r = lease_room_of(w);
	struct names_node *at;

	do { /* the table changes with each that goes */
		for (at = names_each(&r->table.names, NULL); at; at = names_each(&r->table.names, at)) {
			struct lease_entry *e = (struct lease_entry *)at;

			if (e->token[0] && !feature_place_project(w, &beside_of(e)->place)) {
				struct lease_key k = key_of(e);
				char token[RECORD_TOKEN_LEN + 1];

				memcpy(token, e->token, sizeof token);
				lease_over(&r->table, &k, token, now_of(r));
				break;
			}
		}
	} while (at);
	gauge(r);
}
