/* SPDX-License-Identifier: Apache-2.0
 *
 * resilience/breaker: when to stop asking a store that does not answer, and when to ask again.  Pure:
 * outcomes, the time and random numbers come in, states go out.  Rules: semantics.md section 1.
 *
 * Two parts.  A WINDOW counts the outcomes of one worker and says when they are bad enough; there is
 * one for each worker, so that counting shares nothing.  The BREAKER is the state that all share.
 *
 *   CLOSED       everything passes.  Opened by breaker_trip() when any window says so
 *   OPEN         nothing passes.  From until_ns on the agent asks by itself (a probe): if that fails it
 *                stays open, for longer; if it is answered the breaker is HALF_OPEN
 *   HALF_OPEN    at most success_threshold trials are under way.  So many successes close it, one
 *                failure opens it again.  Undecided for half_open_ns: a probe counts as a trial
 *   FORCED_OPEN  by an operator: nothing passes until told otherwise
 *   DISABLED     by an operator: everything passes and nothing is counted
 *
 * Each call that may change the state says so with a breaker_move: its caller does there, in one
 * place, all that a transition means (gauge, counter, log line, push).
 */
#ifndef RESILIENCE_BREAKER_H
#define RESILIENCE_BREAKER_H
#include <stdbool.h>
#include <stdint.h>

enum breaker_state { /* the numbers of purser.breaker.state */
	BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_FORCED_OPEN, BREAKER_DISABLED
};
#define BREAKER_STATES 5u
const char *breaker_name(enum breaker_state s); /* closed open half_open forced_open disabled */

enum breaker_outcome { /* of one attempt */
	BREAKER_OK, BREAKER_OK_SLOW, BREAKER_FAIL,
	BREAKER_IGNORE       /* says nothing about the store: WRONGTYPE, client gone, refused by the agent */
};
enum breaker_reason {
	BREAKER_NO_REASON, BREAKER_CONSECUTIVE, BREAKER_FAILURES, BREAKER_SLOW, BREAKER_PROBE_FAILED,
	BREAKER_PROBE_PASSED, BREAKER_TRIAL_FAILED, BREAKER_TRIALS_PASSED, BREAKER_OPERATOR
};
const char *breaker_why(enum breaker_reason r); /* a sentence's end: "failures in a row" */

struct breaker_rule {
	uint32_t failure_threshold;  /* failures in a row that open; >= 1 */
	uint32_t success_threshold;  /* trials at once, and successes that close; >= 1 */
	uint32_t window_min;         /* outcomes in the window below which no share opens; >= 1 */
	uint32_t failure_percent;    /* share of failures that opens; 0: never */
	uint32_t slow_percent;       /* share of slow successes that opens; 0: never */
	uint64_t slow_ns;            /* a success that took so long is slow; 0: none is */
	uint64_t recovery_initial_ns, recovery_timeout_ns; /* first wait while open; the longest */
	uint64_t half_open_ns;
};
#define BREAKER_RULE_DEFAULT { 5, 3, 20, 50, 0, 0, UINT64_C(5000000000), UINT64_C(60000000000), \
	UINT64_C(10000000000) }

/* ---- one worker's window: ten buckets of a second ------------------------------------------------- */
#define BREAKER_BUCKETS 10u
struct breaker_window {
	uint64_t second;             /* of the newest bucket */
	struct { uint32_t n, fail, slow; } bucket[BREAKER_BUCKETS];
	uint32_t consecutive;        /* failures in a row */
};
/* Count one outcome.  The reason to open, or BREAKER_NO_REASON. */
enum breaker_reason breaker_window_note(struct breaker_window *w, const struct breaker_rule *r,
    enum breaker_outcome o, uint64_t now_ns);
/* Count n successes of the second that at_ns lies in (they do not touch `consecutive`). */
void breaker_window_add(struct breaker_window *w, uint32_t n, uint64_t at_ns, uint64_t now_ns);
uint32_t breaker_window_counted(struct breaker_window *w, uint64_t now_ns);
void breaker_window_clear(struct breaker_window *w);

/* ---- the shared state ----------------------------------------------------------------------------- */
struct breaker {
	uint8_t state;               /* enum breaker_state */
	bool probing;                /* a probe is under way */
	uint32_t reopens;            /* times opened since it was closed, less one */
	uint32_t trials, good;       /* HALF_OPEN: under way; succeeded */
	uint64_t until_ns;           /* OPEN: the next probe; HALF_OPEN: likewise, if undecided by then */
	uint64_t since_ns;           /* of the state */
	uint32_t epoch;              /* grows with each transition: what began before it says nothing */
};
struct breaker_move {
	bool moved;
	uint8_t from, to;            /* enum breaker_state */
	uint8_t reason;              /* enum breaker_reason */
};
enum breaker_pass { BREAKER_REJECT, BREAKER_PASS, BREAKER_TRIAL };

void breaker_init(struct breaker *b, uint64_t now_ns);
/* A window says so.  random: 64 random bits, here and below. */
struct breaker_move breaker_trip(struct breaker *b, const struct breaker_rule *r,
    enum breaker_reason why, uint64_t now_ns, uint64_t random);
/* May one attempt be made?  BREAKER_TRIAL: breaker_trial_end() is owed, with this epoch. */
enum breaker_pass breaker_admit(struct breaker *b, const struct breaker_rule *r);
struct breaker_move breaker_trial_end(struct breaker *b, const struct breaker_rule *r, uint32_t epoch,
    enum breaker_outcome o, uint64_t now_ns, uint64_t random);
/* Is it time for the agent to ask by itself?  True: breaker_probe_end() is owed. */
bool breaker_probe_begin(struct breaker *b, uint64_t now_ns);
struct breaker_move breaker_probe_end(struct breaker *b, const struct breaker_rule *r, bool ok,
    uint64_t now_ns, uint64_t random);
/* When breaker_probe_begin() will say yes; UINT64_MAX: never, as things are. */
uint64_t breaker_probe_due(const struct breaker *b);
/* An operator: FORCED_OPEN, DISABLED, or CLOSED (back to deciding by itself). */
struct breaker_move breaker_operate(struct breaker *b, enum breaker_state to, uint64_t now_ns);
/* How long a rejected caller had better wait: > 0. */
uint64_t breaker_retry_after(const struct breaker *b, const struct breaker_rule *r, uint64_t now_ns);
#endif
