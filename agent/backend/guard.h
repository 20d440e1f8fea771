/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/guard: the breakers and the retry budget of one instance at work.  In: how attempts ended.
 * Out: may another one be made, may one be sent again, and what operators are told.
 *
 * There is a breaker for each class of commands, reading and writing, shared by all workers; an
 * instance has one endpoint.  Each worker counts in windows of its own (struct guard_ctx) and any of
 * them opens the breaker for all.  While it is closed and nothing fails, a request pays for a counter
 * and for a test of `gate`; successes are added to the windows once a second, in bulk.
 *
 * A lost link fails all calls on it: those count as one failure of their class.
 *
 * A write breaker that a full store has opened (OOM) lets commands pass that need no memory: they are
 * what helps, and one that succeeds brings the next probe forward.
 *
 * guard_moved(), in guard.c, is the one place where a transition is carried out.
 */
#ifndef BACKEND_GUARD_H
#define BACKEND_GUARD_H
#include <pthread.h>
#include <stdatomic.h>
#include <purser/plugin.h>
#include "base/errors.h"
#include "metric/metric.h"
#include "resilience/breaker.h"
#include "resilience/budget.h"
#include "resilience/retry.h"

struct bcall;

enum guard_class { GUARD_READ, GUARD_WRITE };
#define GUARD_CLASSES 2u
const char *guard_class_name(unsigned class_);

enum { GATE_READ = 1, GATE_WRITE = 2, GATE_FAULT = 4, GATE_TOUCH = 8 }; /* bits of purser_instance.gate: look closer */

struct guard_rules {                /* of one configuration */
	bool enabled;               /* the breakers */
	struct breaker_rule breaker;
	struct retry_rule retry;
	struct budget_rule budget;
};

struct guard_event {                /* a transition */
	const struct purser_instance *inst;
	enum guard_class class_;
	struct breaker_move move;
	uint64_t retry_after_ns;
};

struct guard {                      /* of an instance */
	pthread_mutex_t lock;       /* of all but the atomics; not taken unless something fails */
	struct guard_rules rules;
	struct breaker breaker[GUARD_CLASSES];
	bool full[GUARD_CLASSES];   /* OPEN because the store is full */
	struct budget budget;
	uint64_t opens[GUARD_CLASSES], random;
	_Atomic uint32_t version;   /* of the rules */
	_Atomic uint8_t state[GUARD_CLASSES];
	_Atomic uint32_t epoch[GUARD_CLASSES];
	_Atomic uint64_t since_ns[GUARD_CLASSES];
	struct metric_shard *shard; /* of the cells: written under the lock, whoever does it */
	struct metric_cell *gauge[GUARD_CLASSES], *moves[GUARD_CLASSES][BREAKER_STATES];
	void (*on_move)(void *arg, const struct guard_event *e); /* any thread, under the lock */
	void *arg;
};

struct guard_ctx {                  /* of a context: one worker's */
	bool watch;                 /* how each call ends matters */
	uint32_t version;
	struct guard_rules rules;   /* a copy */
	uint64_t roll_ns;           /* when what was counted goes into the windows */
	uint64_t wrote;             /* calls ended, of those the writing ones */
	uint64_t resent;            /* attempts that were not the first */
	struct {
		struct breaker_window window;
		uint32_t epoch, trials;
		uint64_t seen, noted; /* ended calls that are in the window; that went there one by one */
		uint64_t lost_ns;     /* turn of the latest lost link */
	} of[GUARD_CLASSES];
	uint64_t seen_first;
	struct metric_cell *rejected[GUARD_CLASSES], *retries, *exhausted;
};

/* How an attempt failed. */
struct call_failure {
	enum err_code err;
	uint32_t code;              /* PURSER_E_*; 0: see err */
	uint8_t executed;           /* PURSER_NOT_EXECUTED .. PURSER_EXECUTED */
	bool store;                 /* the store's own error: text is "WORD ..." */
	const char *text;           /* NULL: that of err */
	size_t n;
};
bool call_failure_word(const struct call_failure *f, const char *word); /* of a store's error */

/* ---- control thread ---- */
struct purser_instance;
/* shard: the caller's own, or NULL. */
void guard_init(struct purser_instance *i, struct metric_shard *shard);
void guard_free(struct purser_instance *i);
void guard_set_rules(struct purser_instance *i, const struct guard_rules *r, uint64_t now_ns);
/* When the agent is to ask by itself (UINT64_MAX: never, as things are); begin: true, then end is owed. */
uint64_t guard_probe_due(struct purser_instance *i, enum guard_class c);
bool guard_probe_begin(struct purser_instance *i, enum guard_class c, uint64_t now_ns);
void guard_probe_end(struct purser_instance *i, enum guard_class c, bool ok, uint64_t now_ns);

/* ---- any thread ---- */
struct guard_view { enum breaker_state state; uint64_t opens, reopens, since_ns, retry_after_ns; };
void guard_view(struct purser_instance *i, enum guard_class c, uint64_t now_ns, struct guard_view *out);
void guard_operate(struct purser_instance *i, enum guard_class c, enum breaker_state to, uint64_t now_ns);
void guard_gate(struct purser_instance *i, uint32_t bit, bool on);

/* ---- the context's thread ---- */
struct purser_ctx;
void guard_ctx_open(struct purser_ctx *x, struct metric_shard *shard); /* shard: its thread's, or NULL */
const struct guard_rules *guard_rules(struct purser_ctx *x);
/* May b be handed over?  If not, why ("backend=x class=write retry_after_ms=n").  Asked when
 * purser_instance.gate has a bit set.  needs_memory: the store refuses it when it is full. */
bool guard_admit(struct purser_ctx *x, struct bcall *b, bool needs_memory, char *why, size_t cap);
void guard_rejected(struct purser_ctx *x, const struct bcall *b); /* ... and is answered so */
void guard_failed(struct purser_ctx *x, struct bcall *b, const struct call_failure *f);
void guard_give_back(struct purser_ctx *x, struct bcall *b); /* it was never handed over, or forgotten */
void guard_ended(struct purser_ctx *x, struct bcall *b);     /* .watch: it ended, noted or well */
void guard_roll(struct purser_ctx *x, uint64_t now_ns);
/* How many of want retries there is credit for: they are paid for and counted. */
uint32_t guard_pay(struct purser_ctx *x, uint32_t want);
#endif
