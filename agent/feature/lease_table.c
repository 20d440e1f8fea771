/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "feature/lease_rule.h"
#include "feature/lease_table.h"

/* ---- entries ---- */

static uint64_t hash_of(const struct lease_key *k)
{
	return names_hash((uint64_t)k->ns << 16 | k->db, k->name.p, k->name.n);
}

static struct lease_entry *entry_of(struct names_node *n)
{
	return (struct lease_entry *)n; /* its first member */
}

static struct lease_entry *find(const struct lease_table *t, const struct lease_key *k, uint64_t hash)
{
	for (struct names_node *n = names_first(&t->names, hash); n; n = names_next(n)) {
		struct lease_entry *e = entry_of(n);

		if (e->ns == k->ns && e->db == k->db && e->n == k->name.n && (!e->n || !memcmp(e->name, k->name.p, e->n)))
			return e;
	}
	return NULL;
}

static struct lease_entry *add(struct lease_table *t, const struct lease_key *k, uint64_t hash)
{
	struct lease_entry *e = calloc(1, sizeof *e + t->extra + k->name.n);

	if (!e)
		return NULL;
	e->ns = k->ns;
	e->db = k->db;
	e->n = (uint32_t)k->name.n;
	e->name = e->extra + t->extra;
	if (e->n)
		memcpy(e->extra + t->extra, k->name.p, e->n);
	if (names_add(&t->names, &e->node, hash)) {
		free(e);
		return NULL;
	}
	t->entries++;
	return e;
}

static void forget(struct lease_table *t, struct lease_entry *e)
{
	if (e->due_ns)
		t->o->timer(t->o->arg, e, 0);
	t->o->forget(t->o->arg, e);
	names_remove(&t->names, &e->node);
	t->entries--;
	free(e);
}

static void arm(struct lease_table *t, struct lease_entry *e, uint64_t at)
{
	if (e->due_ns && e->due_ns <= at)
		return;
	e->due_ns = at;
	t->o->timer(t->o->arg, e, at);
}

static void note(struct lease_table *t, struct lease_entry *e, enum lease_note what)
{
	t->o->note(t->o->arg, e, what);
}

/* ---- seats ---- */

static void place(struct lease_table *t, struct lease_entry *e, struct lease_seat *s, bool head)
{
	s->placed = true;
	s->prev = head ? NULL : e->last;
	s->next = head ? e->first : NULL;
	*(s->prev ? &s->prev->next : &e->first) = s;
	*(s->next ? &s->next->prev : &e->last) = s;
	t->waiting++;
	if (s->deadline_ns)
		arm(t, e, s->deadline_ns);
}

static void unplace(struct lease_table *t, struct lease_entry *e, struct lease_seat *s)
{
	*(s->prev ? &s->prev->next : &e->first) = s->next;
	*(s->next ? &s->next->prev : &e->last) = s->prev;
	s->prev = s->next = NULL;
	s->placed = false;
	t->waiting--;
}

/* An order that frees the seat. */
static void dismiss(struct lease_table *t, struct lease_entry *e, struct lease_seat *s, enum lease_order o, uint64_t left_ns)
{
	if (s->placed)
		unplace(t, e, s);
	s->entry = NULL;
	if (o == LEASE_BUSY && s->has_value)
		o = LEASE_HAVE;
	if (o == LEASE_BUSY)
		note(t, e, LEASE_NOTE_BUSY);
	t->o->seat(t->o->arg, s, o, "", o == LEASE_BUSY ? lease_retry_ms(left_ns, t->o->random(t->o->arg)) : 0);
}

static void dismiss_all(struct lease_table *t, struct lease_entry *e, enum lease_order o)
{
	while (e->first)
		dismiss(t, e, e->first, o, 0);
}

/* For how long, as far as is known, nobody else gets the lease. */
static uint64_t left(const struct lease_entry *e, uint64_t now)
{
	uint64_t end = e->token[0] ? e->until_ns : e->foreign_ns;

	return end > now ? end - now : 0;
}

/* Those whose time is over.  Those who do not wait at all are here only until it is known that somebody computes. */
static void dismiss_late(struct lease_table *t, struct lease_entry *e, uint64_t now)
{
	struct lease_seat *next;

	for (struct lease_seat *s = e->first; s; s = next) {
		next = s->next;
		if (s->deadline_ns ? s->deadline_ns <= now : e->token[0] || e->foreign_ns)
			dismiss(t, e, s, LEASE_BUSY, left(e, now));
	}
}

static void try(struct lease_table *t, struct lease_entry *e, struct lease_seat *s)
{
	enum lease_order o = e->foreign_ns ? LEASE_LOOK : LEASE_TRY;

	e->trying = s;
	t->o->seat(t->o->arg, s, o, e->dead, 0);
}

static void drop(struct lease_table *t, struct lease_entry *e)
{
	e->dropping = true;
	t->o->drop(t->o->arg, e, e->dead);
}

/* What is to be done for an entry without a lease here, after anything has happened; it may be gone then. */
static void go_on(struct lease_table *t, struct lease_entry *e)
{
	if (e->trying || e->token[0])
		return;
	if (e->first && e->foreign_ns) {
		if (!e->dropping)
			arm(t, e, e->poll_ns);
	} else if (e->first) {
		struct lease_seat *s = e->first;

		unplace(t, e, s);
		try(t, e, s);
	} else if (e->dead[0] && !e->dropping) {
		drop(t, e);
	} else if (!e->dropping) {
		forget(t, e);
	}
}

int lease_join(struct lease_table *t, const struct lease_key *k, struct lease_seat *s, uint64_t now)
{
	uint64_t hash = hash_of(k);
	struct lease_entry *e = find(t, k, hash);

	s->prev = s->next = NULL;
	s->placed = false;
	s->entry = NULL;
	if (!e && t->max && t->entries >= t->max)
		return -2;
	if (!e && !(e = add(t, k, hash)))
		return -1;
	s->entry = e;
	if (!e->token[0] && !e->trying && !e->first) {
		try(t, e, s);
	} else if (s->has_value) {
		dismiss(t, e, s, LEASE_HAVE, 0);
	} else if (s->deadline_ns ? s->deadline_ns <= now : e->token[0] || e->foreign_ns) {
		dismiss(t, e, s, LEASE_BUSY, left(e, now));
	} else {
		place(t, e, s, false);
	}
	return 0;
}

void lease_leave(struct lease_table *t, struct lease_seat *s)
{
	struct lease_entry *e = s->entry;

	if (!e || !s->placed)
		return;
	unplace(t, e, s);
	s->entry = NULL;
	go_on(t, e);
}

/* ---- what the store has said ---- */

static void copy_token(char dst[RECORD_TOKEN_LEN + 1], const char *src)
{
	snprintf(dst, RECORD_TOKEN_LEN + 1, "%s", src ? src : "");
}

static void won(struct lease_table *t, struct lease_entry *e, const struct lease_result *r, uint64_t now)
{
	copy_token(e->token, r->token);
	e->dead[0] = '\0';
	e->foreign_ns = 0;
	e->holder = r->holder;
	e->until_ns = now + r->life_ns;
	t->tokens++;
	note(t, e, LEASE_NOTE_WON);
	if (e->handing)
		note(t, e, LEASE_NOTE_HANDED);
	e->handing = false;
	arm(t, e, e->until_ns);
	dismiss_late(t, e, now);
}

void lease_tried(struct lease_table *t, struct lease_seat *s, const struct lease_result *r, uint64_t now)
{
	struct lease_entry *e = s->entry;

	e->trying = NULL;
	s->entry = NULL;
	switch (r->found) {
	case LEASE_FOUND_WON:
		won(t, e, r, now);
		return;
	case LEASE_FOUND_OTHER:
		e->foreign_ns = now + (r->life_ns ? r->life_ns : 1);
		e->poll_ns = now + lease_poll_ns(t->o->random(t->o->arg));
		s->entry = e;
		if (s->deadline_ns > now && !s->has_value)
			place(t, e, s, true);
		else
			dismiss(t, e, s, LEASE_BUSY, left(e, now));
		dismiss_late(t, e, now);
		break;
	case LEASE_FOUND_THERE:
		e->foreign_ns = 0;
		dismiss_all(t, e, LEASE_AGAIN);
		break;
	case LEASE_FOUND_ERROR:
		if (r->token && *r->token)
			copy_token(e->dead, r->token);
		e->foreign_ns = 0;
		dismiss_all(t, e, LEASE_FAILED);
		break;
	case LEASE_FOUND_NOTHING:
		dismiss_late(t, e, now);
		break;
	}
	go_on(t, e);
}

/* The lease that e has here is no more. */
static void end(struct lease_table *t, struct lease_entry *e, enum lease_note what)
{
	t->tokens--;
	note(t, e, what);
	t->o->release(t->o->arg, e->holder, e->token);
	e->token[0] = '\0';
	e->holder = NULL;
	e->handing = e->first && what != LEASE_NOTE_FILLED && what != LEASE_NOTE_NEGATIVE;
}

static struct lease_entry *holding(const struct lease_table *t, const struct lease_key *k, const char *token)
{
	struct lease_entry *e = find(t, k, hash_of(k));

	return e && e->token[0] && !strcmp(e->token, token) ? e : NULL;
}

bool lease_holds(const struct lease_table *t, const struct lease_key *k, const char *token)
{
	return holding(t, k, token) != NULL;
}

void lease_ended(struct lease_table *t, const struct lease_key *k, const char *token, enum lease_end how, uint64_t now)
{
	static const enum lease_note notes[] = { [LEASE_END_FILLED] = LEASE_NOTE_FILLED,
		[LEASE_END_ABORTED] = LEASE_NOTE_ABORTED, [LEASE_END_NEGATIVE] = LEASE_NOTE_NEGATIVE,
		[LEASE_END_REFUSED] = LEASE_NOTE_REFUSED };
	struct lease_entry *e = holding(t, k, token);

	if (!e)
		return;
	if (how == LEASE_END_REFUSED) /* K is something else; if it becomes what it was, the token is not alive again */
		copy_token(e->dead, token);
	end(t, e, notes[how]);
	if (how == LEASE_END_FILLED || how == LEASE_END_NEGATIVE)
		dismiss_all(t, e, LEASE_AGAIN);
	else
		dismiss_late(t, e, now);
	go_on(t, e);
}

void lease_doubt(struct lease_table *t, const struct lease_key *k, const char *token, uint64_t now)
{
	struct lease_entry *e = holding(t, k, token);

	if (!e)
		return;
	e->foreign_ns = e->until_ns;
	e->poll_ns = now + lease_poll_ns(t->o->random(t->o->arg));
	end(t, e, LEASE_NOTE_DOUBT);
	go_on(t, e);
}

void lease_over(struct lease_table *t, const struct lease_key *k, const char *token, uint64_t now)
{
	struct lease_entry *e = holding(t, k, token);

	if (!e)
		return;
	copy_token(e->dead, token);
	end(t, e, LEASE_NOTE_GONE);
	dismiss_late(t, e, now);
	go_on(t, e);
}

bool lease_void(struct lease_table *t, struct lease_entry *e, uint64_t now)
{
	if (!e->token[0])
		return e->dropping;
	copy_token(e->dead, e->token);
	end(t, e, LEASE_NOTE_VOID);
	dismiss_late(t, e, now);
	if (e->first) /* they look when the write is done, as if it were another's lease */
		e->foreign_ns = e->poll_ns = now + lease_poll_ns(t->o->random(t->o->arg));
	if (!e->dropping) /* else that is seen to behind the other one */
		drop(t, e);
	return true;
}

void lease_dropped(struct lease_table *t, struct lease_entry *e, const char *dead, uint64_t now)
{
	e->dropping = false;
	if (e->foreign_ns) /* the write goes now: give it its time */
		e->poll_ns = now + lease_poll_ns(t->o->random(t->o->arg));
	if (!strcmp(e->dead, dead))
		e->dead[0] = '\0';
	if (e->dead[0]) /* another one died meanwhile */
		drop(t, e);
	else
		go_on(t, e);
}

void lease_timer(struct lease_table *t, struct lease_entry *e, uint64_t now)
{
	e->due_ns = 0;
	dismiss_late(t, e, now);
	if (e->token[0] && e->until_ns <= now) {
		if (e->first) /* the store's clock may be a little behind */
			copy_token(e->dead, e->token);
		end(t, e, LEASE_NOTE_RAN_OUT);
	}
	if (e->token[0])
		arm(t, e, e->until_ns);
	for (struct lease_seat *s = e->first; s; s = s->next)
		if (s->deadline_ns)
			arm(t, e, s->deadline_ns);
	if (e->first && e->foreign_ns && !e->trying && !e->dropping && e->poll_ns <= now) {
		struct lease_seat *s = e->first;

		unplace(t, e, s);
		try(t, e, s);
	} else {
		go_on(t, e);
	}
}

void lease_table_free(struct lease_table *t)
{
	struct names_node *n;

	while ((n = names_each(&t->names, NULL))) {
		struct lease_entry *e = entry_of(n);

		while (e->first) {
			struct lease_seat *s = e->first;

			unplace(t, e, s);
			s->entry = NULL;
		}
		if (e->token[0]) {
			t->tokens--;
			t->o->release(t->o->arg, e->holder, e->token);
		}
		forget(t, e);
	}
	names_free(&t->names);
}
