/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens when a key has changed: see event.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "event.h"
#include "track.h"
#include "watch.h"

/* ---- keyspace notifications ------------------------------------------------------------------------------ */
static const struct { char letter; uint32_t mask; } letters[] = { /* in the order of CONFIG GET */
	{ 'A', EVENT_ALL }, { 'g', EVENT_GENERIC }, { '$', EVENT_STRING }, { 'l', EVENT_LIST }, { 's', EVENT_SET },
	{ 'h', EVENT_HASH }, { 'z', EVENT_ZSET }, { 'x', EVENT_EXPIRED }, { 'e', EVENT_EVICTED },
	{ 't', EVENT_STREAM }, { 'd', EVENT_MODULE }, { 'n', EVENT_NEW }, { 'K', NOTIFY_KEYSPACE },
	{ 'E', NOTIFY_KEYEVENT }, { 'm', EVENT_MISS }
};
#define LETTERS (sizeof(letters) / sizeof(*letters))

int notify_parse(const uint8_t *p, size_t n)
{
	uint32_t mask = 0;
	size_t i, k;

	for (i = 0; i < n; i++) {
		for (k = 0; k < LETTERS && letters[k].letter != p[i]; k++)
			;
		if (k == LETTERS)
			return -1;
		mask |= letters[k].mask;
	}
	return (int)mask;
}

void notify_text(uint32_t mask, char out[NOTIFY_TEXT])
{
	int all = (mask & EVENT_ALL) == EVENT_ALL;
	size_t k, n = 0;

	for (k = 0; k < LETTERS; k++) {
		/* Redis shows no letter of a class beside A, not even n. */
		int covered = k && all && (letters[k].mask & (EVENT_ALL | EVENT_NEW));

		if ((mask & letters[k].mask) == letters[k].mask && !covered)
			out[n++] = letters[k].letter;
	}
	out[n] = '\0';
}

uint32_t notify_get(const struct store *st) { return atomic_load_explicit(&st->notify, memory_order_relaxed); }

void heard_set(struct store *st, uint32_t bits, int on)
{
	if (on)
		atomic_fetch_or_explicit(&st->heard, bits, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&st->heard, ~bits, memory_order_relaxed);
}

void notify_set(struct store *st, uint32_t mask)
{
	int to = !!(mask & (NOTIFY_KEYSPACE | NOTIFY_KEYEVENT));

	atomic_store_explicit(&st->notify, mask, memory_order_relaxed);
	heard_set(st, HEARD_NOTIFY, to && mask & ~(uint32_t)(NOTIFY_KEYSPACE | NOTIFY_KEYEVENT));
	heard_set(st, HEARD_NEW, to && mask & EVENT_NEW);
	heard_set(st, HEARD_MISS, to && mask & EVENT_MISS);
}

/* "__keyspace@0__:" tail */
static void publish(struct ctx *cx, const char *what, uint32_t db, purser_bytes tail, purser_bytes message)
{
	uint8_t small[512], *name = small;
	char head[32];
	size_t n = (size_t)snprintf(head, sizeof(head), "__%s@%u__:", what, db);

	if (n + tail.n > sizeof(small) && !(name = malloc(n + tail.n))) {
		cx->h->log(cx->st->i, PURSER_LOG_ERROR, "no memory to tell of an event of a key: its subscribers "
		    "do not hear of it");
		return;
	}
	memcpy(name, head, n);
	if (tail.n)
		memcpy(name + n, tail.p, tail.n);
	cx->h->publish(cx->st->i, PURSER_SUB_CHANNEL, (purser_bytes){ name, n + tail.n }, message);
	if (name != small)
		free(name);
}

static void notify(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class, const char *name)
{
	purser_bytes event = { (const uint8_t *)name, strlen(name) };
	uint32_t mask = notify_get(cx->st);

	if (!(mask & (uint32_t)class))
		return;
	if (mask & NOTIFY_KEYSPACE)
		publish(cx, "keyspace", db, key, event);
	if (mask & NOTIFY_KEYEVENT)
		publish(cx, "keyevent", db, event, key);
}

/* ---- events ---------------------------------------------------------------------------------------------- */
void event_touch(struct ctx *cx, uint32_t db, purser_bytes key)
{
	uint32_t who = events_heard(cx);

	if (who & HEARD_WATCH)
		watch_touch(cx, db, key);
	if (who & HEARD_TRACK)
		track_touch(cx, key);
}

void event_new(struct ctx *cx, uint32_t db, purser_bytes key)
{
	if (cx->added != key.p)
		return;
	cx->added = NULL;
	notify(cx, db, key, EVENT_NEW, "new");
}

void event_told(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class, const char *name)
{
	if (cx->added)
		event_new(cx, db, key);
	notify(cx, db, key, class, name);
}

void event_tell(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class, const char *name)
{
	event_touch(cx, db, key);
	event_told(cx, db, key, class, name);
}
