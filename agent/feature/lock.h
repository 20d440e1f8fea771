/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/lock: LOCK.*: what the queues of lock_queue.h are tied to.  In: commands of clients, answers of the store's
 * scripts, ends of connections.  Out: scripts, replies, pushes, metrics, log lines.
 *
 * A lock has one queue in this agent, on the worker that owns its name.  A grip is one LOCK.ACQUIRE: the owner's worker
 * has its claim in the queue, the client's worker the call that waits and the bond to the connection; they tell each
 * other by mail, and who lets go last frees it.  Where both are one worker they call each other, behind the queue's
 * own turn.  Guarantees: docs/locks.md.
 */
#ifndef FEATURE_LOCK_H
#define FEATURE_LOCK_H
#include <stdatomic.h>
#include "base/buf.h"
#include "base/names.h"
#include "feature/feature.h"
#include "feature/lock_queue.h"

#define LOCK_NAME_MAX 512u              /* bytes of a lock's name */
#define LOCK_TTL_MIN 10u                /* ms */
#define LOCK_TTL_MAX UINT64_C(2592000000) /* ms: 30 days; of every time that a client names */
#define LOCK_CLAIMS_MAX 100000u         /* on one worker */
#define LOCK_WAITERS_MAX 10000u         /* for one lock */
#define LOCK_LOST_MAX 1024u             /* fences that a worker remembers as lost */
#define LOCK_ROWS_MAX 10000u            /* of LOCK.LIST and LOCK.INFO */
#define LOCK_WORDS_MAX 1000u            /* of LOCK.FENCE */

/* Who asks, as the store keeps it for LOCK.INFO. */
struct lock_who {
	uint32_t pid, uid;              /* all ones: not known */
	uint64_t client;
	char trace[33];                 /* the trace id, or "-" */
};

struct lock_lost { uint64_t name, fence; };

/* The series of one project, so that they are not looked up for each lock. */
struct lock_series {
	char project[PROJECT_NAME_MAX + 1];
	struct metric_cell *held, *waiting, *acquired[3];
	struct hist *wait_time;
};

struct lock_room {                      /* w->room[ROOM_LOCK] */
	struct feature_worker *w;
	struct names names;             /* struct lock_name */
	uint64_t rtt_ns;                /* of a script, lately at most */
	uint64_t floor;                 /* above all fences that this worker has seen */
	uint32_t claims;
	struct lock_series series;
	char host[65];
	struct lock_lost lost[LOCK_LOST_MAX];
	uint32_t nlost;
};

struct lock_name {
	struct names_node node;
	struct lock_room *room;
	struct feature_place place;
	struct lock_queue q;
	struct loop_timer poll;
	struct lock_grip *told, **told_at; /* whose clients are to be told when the queue's turn is over */
	uint32_t entered;
	size_t n;
	uint8_t name[];
};

enum lock_end { LOCK_END_RELEASED = LOCK_LOSSES }; /* besides enum lock_loss */

struct lock_grip {
	struct lock_claim c;            /* first; the owner's, like the rest up to `home` */
	struct lock_name *name;         /* until the claim has ended */
	struct loop_timer timer;
	struct lock_grip *next_told;
	bool telling;                   /* it is in name->told */
	_Atomic uint32_t refs;          /* the claim, the client's side, each step and each mail under way */
	char owner[33];
	struct lock_who who;
	/* What the client's worker is told: whether it has it, or why not ... */
	bool answered, granted, over;
	enum lock_refusal refusal;
	uint64_t fence, valid_ns;
	enum err_code err;
	char error[200];
	/* ... and how it ended. */
	int end;                        /* enum lock_loss or lock_end */
	/* The client's: */
	struct feature_worker *home;
	uint32_t owned_by;              /* the worker of its name */
	struct feature_call *f;         /* that waits for it; or NULL */
	bool tried, stepping;           /* the first attempt was made; it is a step of f that is under way */
	bool waits;                     /* feature_wait() was called */
	bool bonded, dropped;
	struct feature_bond bond;
	struct feature_mail begin, drop, answer, ended;
	struct feature_place place;
	struct lock_want want;
	size_t n;
	uint8_t text[];                 /* the name */
};

/* ---- lock_hold.c ---- */
int lock_start(struct feature_worker *w);
void lock_stop(struct feature_worker *w);
/* LOCK.ACQUIRE: f is answered some day. */
void lock_begin(struct feature_call *f, const struct lock_want *want);
/* Of this worker; NULL: nobody here holds it or waits. */
struct lock_name *lock_find(struct lock_room *room, uint32_t ns, uint16_t db, purser_bytes name);
struct lock_grip *lock_held(const struct lock_name *name, uint64_t fence);
/* Its client has given it back (the store was asked, or will have to be), or has renewed it. */
void lock_given_back(struct lock_grip *g, bool ask);
void lock_renewed_by_client(struct lock_grip *g, uint64_t sent_ns, uint64_t ttl_ns);
bool lock_was_lost(const struct lock_room *room, uint32_t ns, uint16_t db, purser_bytes name, uint64_t fence);

/* ---- a look at another worker's locks ---- */
struct lock_visit {
	struct feature_mail mail;
	struct feature_call *f;
	struct feature_worker *home;
	uint32_t at;                    /* the worker that is visited */
	purser_bytes name;
	uint64_t fence, sent_ns, ttl_ns;
	bool yes;
	struct buf rows;                /* struct lock_row and its name, one behind the other */
	uint32_t nrows;
	void (*there)(struct lock_visit *v, struct lock_room *room); /* on that worker */
	void (*back)(struct lock_visit *v);                          /* on the client's */
};
void lock_visit(struct lock_visit *v);  /* at, there and back are set */

/* ---- lock_view.c: LOCK.INFO, LOCK.LIST ---- */
void lock_info(struct feature_call *f);
void lock_list(struct feature_call *f);
#endif
