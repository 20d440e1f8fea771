/* SPDX-License-Identifier: Apache-2.0
 *
 * event: a key has changed.  Every command that changes a key says so here, under the locks of its shards
 * and after the change, with the name that Redis 7.0 gives the event ("set", "lpush", "del") and its class.
 * What hangs on it (WATCH, client tracking, keyspace notifications, INFO) is event.c's affair.
 */
#ifndef MEMORY_EVENT_H
#define MEMORY_EVENT_H
#include "memory.h"

enum event_class {                     /* letters of notify-keyspace-events */
	EVENT_GENERIC = 1 << 2,        /* g */
	EVENT_STRING = 1 << 3,         /* $ */
	EVENT_LIST = 1 << 4,           /* l */
	EVENT_SET = 1 << 5,            /* s */
	EVENT_HASH = 1 << 6,           /* h */
	EVENT_ZSET = 1 << 7,           /* z */
	EVENT_EXPIRED = 1 << 8,        /* x */
	EVENT_EVICTED = 1 << 9,        /* e */
	EVENT_STREAM = 1 << 10         /* t */
};

/* One call an event, as Redis' notifyKeyspaceEvent(); name is a constant. */
void key_event(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class, const char *name);
#endif
