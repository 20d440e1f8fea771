/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/lock_queue: who has one lock and who waits for it, as one agent sees them.  Pure: the time is an argument,
 * random numbers come from a seed, what is to be done goes out through lock_ops; no I/O.  Rules: semantics.md section 4.
 *
 * A claim is one LOCK.ACQUIRE: it waits, first in, first out; the one at the head is tried at the store, again and
 * again; then it holds, and is renewed while its client lives; in the end the queue forgets it.  One queue has at
 * most one attempt under way: that makes one contender for a lock of each agent.
 *
 * Functions of lock_ops are called with everything in order, as the last thing but for the next one; they must not
 * call back from inside.
 */
#ifndef FEATURE_LOCK_QUEUE_H
#define FEATURE_LOCK_QUEUE_H
#include <stdbool.h>
#include <stdint.h>

enum lock_kind { LOCK_WRITE, LOCK_READ, LOCK_PERMITS };
enum lock_mode { LOCK_SESSION, LOCK_LEASE };
enum lock_state { LOCK_WAITING, LOCK_TRYING, LOCK_CONFIRMING, LOCK_HELD, LOCK_ENDED };

/* How an attempt ended. */
enum lock_tried {
	LOCK_TRIED_GRANTED,
	LOCK_TRIED_BUSY,
	LOCK_TRIED_OTHER_KIND,          /* it is held as something that it cannot become by waiting */
	LOCK_TRIED_UNSURE,              /* an error, and it may be better later; it may even have been granted */
	LOCK_TRIED_FAILED,              /* an error that stays one */
};
enum lock_renewed { LOCK_RENEWED, LOCK_RENEW_GONE, LOCK_RENEW_FAILED };

/* Why a claim that waits gets nothing. */
enum lock_refusal {
	LOCK_REFUSED_BUSY,              /* its time to wait is over */
	LOCK_REFUSED_KIND,
	LOCK_REFUSED_ERROR,             /* the last attempt's */
	LOCK_REFUSED_LATE,              /* the store granted it too late for it to be of use */
	LOCK_REFUSED_REPLICAS,          /* too few replicas know of it */
};
/* Why a holder has it no more without having given it back. */
enum lock_loss {
	LOCK_LOSS_UNREACHABLE,          /* it could not be renewed in time */
	LOCK_LOSS_GONE,                 /* the store does not have it (any more) */
	LOCK_LOSS_TAKEN,                /* ... and gave it to somebody else */
	LOCK_LOSS_MAXHOLD,
	LOCK_LOSS_TTL,                  /* lease mode: its time is over */
	LOCK_LOSSES
};

struct lock_want {
	uint8_t kind, mode;
	uint32_t permits, of;           /* LOCK_PERMITS */
	uint32_t replicas;              /* that must know of it; 0: none */
	uint64_t ttl_ns, wait_ns;       /* wait 0: one attempt, or none behind others */
	uint64_t maxhold_ns;            /* 0: for ever */
};

struct lock_claim {                     /* embedded in the owner's */
	struct lock_claim *next, *prev; /* of those who wait, or of those who hold */
	struct lock_want want;
	uint8_t state;                  /* enum lock_state */
	bool abandoned;                 /* while it is tried: nobody wants it any more */
	bool unsure;                    /* an attempt may have been granted although it seems to have failed */
	bool renewing;
	uint64_t fence;
	uint64_t asked_ns;              /* when the claim was made */
	uint64_t sent_ns, sent_ttl_ns;  /* the attempt, or renewal, under way or last */
	uint64_t wait_until_ns;
	uint64_t held_ns;               /* since when */
	/* LOCK_HELD: */
	uint64_t valid_ns;              /* from then on it is lost, whatever the store says */
	uint64_t lost_ns;               /* from then on its client is told so */
	uint64_t renew_ns, hold_ns;     /* when to renew, and to end it whatever happens */
};

struct lock_queue;
struct lock_ops {
	/* Ask the store; lock_tried() follows, lock_confirmed() and lock_renewed() likewise. */
	void (*try)(struct lock_queue *q, struct lock_claim *c);
	void (*confirm)(struct lock_queue *q, struct lock_claim *c);
	void (*renew)(struct lock_queue *q, struct lock_claim *c);
	/* Give back what it has, or may have: owner-checked; nothing follows. */
	void (*release)(struct lock_queue *q, struct lock_claim *c);
	/* Tell the client. */
	void (*granted)(struct lock_queue *q, struct lock_claim *c);
	void (*refused)(struct lock_queue *q, struct lock_claim *c, enum lock_refusal why);
	void (*lost)(struct lock_queue *q, struct lock_claim *c, enum lock_loss why);
	/* The queue has forgotten it. */
	void (*ended)(struct lock_queue *q, struct lock_claim *c);
	/* lock_tick(q, c) at that time; c NULL: lock_poll(q).  0: not any more. */
	void (*timer)(struct lock_queue *q, struct lock_claim *c, uint64_t due_ns);
};

struct lock_list { struct lock_claim *head, *tail; uint32_t n; };
struct lock_queue {                     /* all zero at first, but for: */
	const struct lock_ops *ops;
	const uint64_t *rtt_ns;         /* of the store, as it is now */
	uint64_t random;                /* not 0 */
	struct lock_list waiting, holding;
	struct lock_claim *trying;      /* under way; it is in waiting unless it was abandoned */
	uint64_t poll_ns;               /* not before then */
};

/* Nothing is left in it. */
static inline bool lock_idle(const struct lock_queue *q)
{
	return !q->waiting.n && !q->holding.n && !q->trying;
}

/* c->want is set, the rest zero. */
void lock_claim(struct lock_queue *q, struct lock_claim *c, uint64_t now);
void lock_tried(struct lock_queue *q, struct lock_claim *c, enum lock_tried how, uint64_t fence, uint64_t busy_ms,
    uint64_t now);
void lock_confirmed(struct lock_queue *q, struct lock_claim *c, bool enough, uint64_t now);
void lock_renewed(struct lock_queue *q, struct lock_claim *c, enum lock_renewed how, uint64_t now);
/* The client itself has renewed it: sent then, for so long. */
void lock_extended(struct lock_queue *q, struct lock_claim *c, uint64_t sent_ns, uint64_t ttl_ns);
/* Its client does not want it any more, in whatever state it is; give_back false: the store has been asked already. */
void lock_drop(struct lock_queue *q, struct lock_claim *c, bool give_back, uint64_t now);
void lock_tick(struct lock_queue *q, struct lock_claim *c, uint64_t now);
void lock_poll(struct lock_queue *q, uint64_t now);
/* Something of the lock was given back, somewhere: whoever waits tries now. */
void lock_wake(struct lock_queue *q, uint64_t now);
/* Since when nobody may rely on a lock of ttl that was asked for at sent. */
uint64_t lock_valid_until(uint64_t sent_ns, uint64_t ttl_ns);
#endif
