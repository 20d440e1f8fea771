/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/lease: CACHE.LEASE, FILL, ABORT, INVALIDATE: one computation for each miss.
 *
 * A hit is one MGET of the key and its record (feature/record.h), answered on the client's own worker.  Whatever else
 * LEASE finds becomes a WISH: it travels to the worker that owns the key, which has the table of who computes and who
 * waits (feature/lease_table.h), and back with an order, which may be to ask the store (lua/cache_lease.lua).
 *
 *   home (the client's worker)                     owner (of the key)
 *   looked(): no hit          -- JOIN -->          lease_join()
 *   TRY: the script           <-- order --
 *   answer, or go on waiting  -- TRIED -->         lease_tried()
 *   BUSY, HAVE, AGAIN ...     <-- order --
 *
 * What travels (struct lease_thing) is home's: it is made, listed and freed there, and whoever else has it sends it back.
 * A lease that was won over a connection is bound to it (struct lease_hold); how it ends is a letter to the owner.  The
 * owner watches the key (feature/touch.h) from before the store is asked: a write is sent when the store has forgotten
 * the token.  So it is the store alone that judges a FILL.
 *
 * This header is for lease*.c.
 */
#ifndef FEATURE_LEASE_H
#define FEATURE_LEASE_H
#include "feature/feature.h"
#include "feature/lease_table.h"

enum {
	LEASE_KEYS_MAX = 65536,          /* of a worker, that are computed or waited for */
	LEASE_LIFE_MS = 10000,
	LEASE_LIFE_MAX_MS = 3600 * 1000,
};
#define LEASE_TTL_MAX_MS (INT64_C(100) * 366 * 24 * 3600 * 1000)

/* What travels.  First in it. */
struct lease_thing {
	struct lease_thing *next, **at;  /* in its home's list */
	struct lease_room *home;
	struct feature_mail mail;
	uint32_t owner;
	struct lease_key key;            /* name: bytes of the thing */
};

/* How a lease has ended, for the owner of the key. */
struct lease_letter {
	struct lease_thing t;
	enum { LETTER_FILLED, LETTER_ABORTED, LETTER_NEGATIVE, LETTER_REFUSED, LETTER_DOUBT } what;
	char token[RECORD_TOKEN_LEN + 1];
	uint8_t name[];
};

/* A lease that was won by a client of home. */
struct lease_hold {
	struct lease_thing t;            /* t.mail: from the owner, when it is over */
	struct feature_bond bond;
	struct feature_mail gone;        /* to the owner and back */
	bool gone_out, over;
	char token[RECORD_TOKEN_LEN + 1];
	uint8_t name[];
};

/* A LEASE that is under way; in the call's arena. */
struct lease_call {
	struct feature_call *f;
	struct lease_wish *wish;         /* NULL: none yet */
	purser_bytes names[2];           /* physical: the key, its record */
	int64_t life_ms, stale_ms;
	double beta;
	uint64_t deadline_ns;            /* it waits until then; 0: not at all */
	uint64_t sent_ns;                /* the script */
	bool early;                      /* it has drawn: win although the value is fresh */
	bool fresh;                      /* value is */
	purser_bytes value;              /* to use while somebody computes; p NULL: none */
	int64_t age_ms;
};

struct lease_wish {
	struct lease_thing t;            /* t.mail: JOIN, TRIED and orders, one after the other */
	struct lease_seat seat;          /* the owner's, while the wish is there */
	struct feature_mail leave;       /* to the owner and back, whatever t.mail does */
	struct lease_call *c;            /* home's */
	struct feature_place place;
	uint32_t instance;
	purser_bytes physical;           /* the key; home's call has it, which waits as long as this is away */
	bool leaving;                    /* home: leave is out */
	enum feature_stop why;           /* home: of leave */
	bool asking;                     /* home: the order was to ask */
	bool answered;                   /* the client is; it only brings news */
	bool posted;                     /* the owner has sent it back */
	bool left;                       /* the owner: it was waiting, and is no more */
	enum lease_order order;
	bool done;                       /* no order: it is home for good */
	uint32_t retry_ms;
	struct lease_result result;
	char token[RECORD_TOKEN_LEN + 1], dead[RECORD_TOKEN_LEN + 1];
	enum err_code err;               /* of an order: FAILED, or it cannot be obeyed; of a result: ERROR */
	char error[256];
	uint8_t name[];
};

enum lease_answer { ANSWER_HIT, ANSWER_STALE, ANSWER_WON, ANSWER_EARLY, ANSWER_BUSY, ANSWER_NEG, ANSWER_ERROR, ANSWERS };

struct lease_room {                      /* of a worker */
	struct feature_worker *fw;
	struct lease_table table;
	struct lease_orders orders;
	struct lease_wish *failing;      /* during lease_tried(): whose error FAILED passes on */
	struct lease_thing *things;
	bool stopping;
	struct { int64_t ms; bool known; } offset[256]; /* by instance: the store's clock is so far ahead */
	struct metric_cell *answers[ANSWERS], *ends[LEASE_NOTES];
};

static inline struct lease_room *lease_room_of(const struct feature_worker *w)
{
	return w->room[ROOM_LEASE];
}

/* lease_owner.c */
/* A thing of n bytes for the key; its name is copied to its last bytes.  NULL: no memory. */
void *lease_thing_new(struct lease_room *room, const struct lease_key *k, size_t n);
void lease_thing_free(struct lease_thing *t);
struct lease_letter *lease_letter_new(struct lease_room *room, const struct lease_key *k, const char *token);
void lease_letter_send(struct lease_letter *l, int what);
void lease_wish_join(struct lease_wish *w);
void lease_wish_tried(struct lease_wish *w);
void lease_wish_leave(struct lease_wish *w);
struct lease_hold *lease_hold_new(struct lease_wish *w); /* bound by the caller; NULL: no memory */

/* lease.c */
void lease_ordered(struct lease_wish *w);  /* at home: it came back with an order */
void lease_left(struct lease_wish *w);     /* at home: leave came back */
#endif
