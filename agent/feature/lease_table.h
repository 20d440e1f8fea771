/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/lease_table: who computes which key.  One table a worker, of the keys that the worker owns.  In: what calls
 * and the store have done, and when.  Out: orders to those who wait.  Pure: no I/O, no clock, no randomness of its
 * own; what an order sets off comes back as another call.
 *
 * A key has an entry while a call asks for its lease, waits for it, or holds it here.  A call takes a seat
 * (lease_join) and hears one order after the other:
 *
 *   TRY, LOOK   ask the store (LOOK: read the key first) and say what came of it: lease_tried().  One seat of a key
 *               at a time does so, the oldest; the others wait.
 *   AGAIN       the seat is free: read the key, which is there by now, or begin anew
 *   HAVE        the seat is free: somebody computes, use the value that you have (seats that have one never wait)
 *   BUSY        the seat is free: its time is over, or it had none
 *   FAILED      the seat is free: the store failed the one who asked
 *
 * A lease that is won here (WON) is known by its token until it ends: filled, aborted, refused by the store, over
 * by itself, or its connection has closed (lease_over): then the oldest who waits tries at once, and tells the store that
 * the token is dead; if nobody waits, the store is told to drop it.  Or its key is about to be written (lease_void): then
 * the store is told first, and the oldest looks a little later, when the write will be done.
 *
 * A lease that another host holds is looked after every 5 to 25 ms by the oldest who waits, for all of them.
 */
#ifndef FEATURE_LEASE_TABLE_H
#define FEATURE_LEASE_TABLE_H
#include <purser/plugin.h>
#include "base/names.h"
#include "feature/record.h"
#include "loop/loop.h"

struct lease_key {
	uint32_t ns;      /* the project's number */
	uint16_t db;
	purser_bytes name; /* as the client says it */
};

struct lease_entry {
	struct names_node node;
	struct loop_timer timer;     /* the caller's, for orders->timer */
	struct lease_seat *first, *last; /* who waits, the oldest first */
	struct lease_seat *trying;   /* who asks the store; not among them */
	uint64_t until_ns;           /* with a token: when it is over by itself */
	uint64_t poll_ns;            /* foreign: when to look next */
	uint64_t foreign_ns;         /* somebody else's lease is over then; 0: nobody's that is known */
	uint64_t due_ns;             /* what the timer is set to; 0: it is not */
	void *holder;                /* with a token: the caller's, for orders->release */
	char token[RECORD_TOKEN_LEN + 1]; /* live here; "": none */
	char dead[RECORD_TOKEN_LEN + 1];  /* the store may still think that it lives; "": none */
	bool dropping;               /* the store is being told so */
	bool handing;                /* the lease that ended last was not filled, and somebody waited for it */
	uint32_t ns;
	uint16_t db;
	uint32_t n;
	const uint8_t *name;
	_Alignas(16) uint8_t extra[]; /* the caller's, table.extra bytes, zero at first */
};

struct lease_seat {              /* embedded in what a call waits with */
	struct lease_entry *entry;   /* NULL: it has no seat */
	struct lease_seat *prev, *next;
	uint64_t deadline_ns;        /* it waits until then; 0: not at all */
	bool has_value;              /* it does not wait: it has a value to use meanwhile */
	bool placed;                 /* it is among those who wait */
};

enum lease_order { LEASE_TRY, LEASE_LOOK, LEASE_AGAIN, LEASE_HAVE, LEASE_BUSY, LEASE_FAILED };

enum lease_note {                /* what has happened, for counters: once for each */
	LEASE_NOTE_WON,              /* a lease began here */
	LEASE_NOTE_HANDED,           /* ... and it is that of one who waited for another, which ended unfilled */
	LEASE_NOTE_FILLED, LEASE_NOTE_ABORTED, LEASE_NOTE_NEGATIVE,
	LEASE_NOTE_REFUSED,          /* the store refused its fill or abort */
	LEASE_NOTE_GONE,             /* its connection closed */
	LEASE_NOTE_VOID,             /* its key was written */
	LEASE_NOTE_RAN_OUT,
	LEASE_NOTE_DOUBT,            /* the store did not answer its fill or abort */
	LEASE_NOTE_BUSY,             /* somebody's wait was over */
	LEASE_NOTES
};

struct lease_orders {             /* none of them may call the table */
	/* The last that the table does about s for now; the caller may free it with any order but TRY and LOOK. `dead`:
	 * with TRY and LOOK, a token for the store to disregard, "" none; valid in the call.  retry_ms: with BUSY. */
	void (*seat)(void *arg, struct lease_seat *s, enum lease_order o, const char *dead, uint32_t retry_ms);
	/* Tell the store that token `dead` of e is over; then lease_dropped(). */
	void (*drop)(void *arg, struct lease_entry *e, const char *dead);
	void (*timer)(void *arg, struct lease_entry *e, uint64_t due_ns); /* lease_timer() then; 0: not any more */
	void (*release)(void *arg, void *holder, const char *token);      /* the token is no lease any more */
	void (*note)(void *arg, const struct lease_entry *e, enum lease_note what);
	void (*forget)(void *arg, struct lease_entry *e);                 /* e is about to be freed */
	uint64_t (*random)(void *arg);
	void *arg;
};

struct lease_table {             /* zero but for o, max and extra */
	struct names names;
	const struct lease_orders *o;
	size_t max;                  /* entries */
	size_t extra;                /* bytes of the caller's in each */
	size_t entries, tokens, waiting;
};

/* Takes a seat.  0: an order was given, or comes; -1 no memory; -2 the table is full. */
int lease_join(struct lease_table *t, const struct lease_key *k, struct lease_seat *s, uint64_t now);
/* Whoever waits goes (not while it tries).  Nothing if it has no seat. */
void lease_leave(struct lease_table *t, struct lease_seat *s);

enum lease_found {
	LEASE_FOUND_WON,       /* the lease is token's, for life_ns */
	LEASE_FOUND_OTHER,     /* somebody else's, for life_ns more: s goes on waiting, if it may */
	LEASE_FOUND_THERE,     /* there is a value, or a negative answer: s is answered */
	LEASE_FOUND_ERROR,     /* the store failed; if token is set the store may have given it to us */
	LEASE_FOUND_NOTHING,   /* s has gone before it asked, or cannot ask */
};
struct lease_result {
	enum lease_found found;
	uint64_t life_ns;
	const char *token;
	void *holder;
};
/* What came of TRY or LOOK.  s is free then, but after OTHER, if its deadline is later than now. */
void lease_tried(struct lease_table *t, struct lease_seat *s, const struct lease_result *r, uint64_t now);

enum lease_end { LEASE_END_FILLED, LEASE_END_ABORTED, LEASE_END_NEGATIVE, LEASE_END_REFUSED };
/* The store has ended token's lease.  Nothing if it is not live here. */
void lease_ended(struct lease_table *t, const struct lease_key *k, const char *token, enum lease_end how, uint64_t now);
/* The store was asked to end it, and nobody knows whether it did: those who wait look, as if it were another's. */
void lease_doubt(struct lease_table *t, const struct lease_key *k, const char *token, uint64_t now);
/* Its connection has closed.  Nothing if it is not live here. */
void lease_over(struct lease_table *t, const struct lease_key *k, const char *token, uint64_t now);
/* The key is about to be written.  True: the store is being told that a token is over; lease_dropped() comes. */
bool lease_void(struct lease_table *t, struct lease_entry *e, uint64_t now);
/* The store was told that `dead` is over, or cannot be told. */
void lease_dropped(struct lease_table *t, struct lease_entry *e, const char *dead, uint64_t now);
void lease_timer(struct lease_table *t, struct lease_entry *e, uint64_t now);

/* Is token k's live lease? */
bool lease_holds(const struct lease_table *t, const struct lease_key *k, const char *token);
/* Everything goes, without orders but timer(0), release and forget. */
void lease_table_free(struct lease_table *t);
#endif
