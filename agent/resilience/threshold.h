/* SPDX-License-Identifier: Apache-2.0
 *
 * resilience/threshold: one measured share (memory used of the maximum) against a rule with
 * hysteresis.  Pure: samples and the time come in, the level and what is worth telling go out.  Rules:
 * semantics.md section 3.
 *
 * Two lines for each level: raised at raise_x or above, not lowered before the value is under clear_x.
 * A level is raised after raise_hits samples in a row that ask for it or worse (the worst that has so
 * many wins), and lowered after clear_hits samples in a row that ask for something better (as far down
 * as they all agree).  With both at 1 the level is what the latest sample asks for.
 *
 *   start      nothing is known: UNKNOWN, until a sample asks for OK (silently: no OK at a start) or
 *              raise_hits samples ask for more
 *   UNKNOWN    after `missing` periods without a sample; the level before it is kept.  The next sample
 *              brings that level back without a word, and counts as the first one
 *   UNBOUNDED  there is no maximum, so no share: told by threshold_unbounded(), at once
 *   restore    the level of a state file, as that before UNKNOWN; nothing is told.  If the rule has
 *              changed since, the next sample decides alone, whatever the hits
 */
#ifndef RESILIENCE_THRESHOLD_H
#define RESILIENCE_THRESHOLD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum threshold_level { /* the numbers of purser.memory.level */
	THRESHOLD_OK, THRESHOLD_WARN, THRESHOLD_CRIT, THRESHOLD_UNKNOWN, THRESHOLD_UNBOUNDED
};
const char *threshold_name(enum threshold_level l); /* ok warning critical unknown unbounded */
int threshold_of(const char *name);                 /* -1: no such level */

struct threshold_rule { /* lines in millionths */
	uint32_t raise_warn, clear_warn, raise_crit, clear_crit;
	uint32_t raise_hits, clear_hits; /* >= 1 */
	uint32_t missing;                /* >= 1 */
	uint64_t period_ns;
};
/* NULL: it can be used.  Else what is wrong, naming the keys of [health]. */
const char *threshold_check(const struct threshold_rule *r);
/* A number for the rule's text: two rules with the same number are the same. */
uint64_t threshold_hash(const struct threshold_rule *r);

struct threshold {
	struct threshold_rule rule;
	uint8_t level;            /* OK, WARN, CRIT, UNBOUNDED; UNKNOWN: never known */
	bool lost;                /* UNKNOWN is shown in its place */
	bool at_once;             /* the rule is new: the next sample decides alone */
	uint32_t worse[2];        /* samples in a row that ask for WARN (CRIT) or worse */
	uint32_t better[2];       /* ... for OK (WARN) or better */
	uint64_t last_ns;         /* of the latest sample; at first: of init or restore */
};

enum { /* what a call changed: bits */
	THRESHOLD_MOVED = 1,      /* threshold_level() is another: the gauge */
	THRESHOLD_TELL = 2        /* the level differs from the last known one: an alert */
};
struct threshold_event {
	unsigned what;            /* bits; 0: nothing */
	enum threshold_level from, to; /* TELL: known levels (UNKNOWN: never known); else as shown */
};

/* The rule must pass threshold_check(). */
void threshold_init(struct threshold *t, const struct threshold_rule *r, uint64_t now_ns);
/* Another rule, or the same: the level stays, what was counted stays only if it is the same. */
void threshold_rule_set(struct threshold *t, const struct threshold_rule *r);
/* After init: what a state file says (hash: of the rule of that time). */
void threshold_restore(struct threshold *t, enum threshold_level level, uint64_t hash);

struct threshold_event threshold_sample(struct threshold *t, uint64_t millionths, uint64_t now_ns);
struct threshold_event threshold_unbounded(struct threshold *t, uint64_t now_ns);
/* No sample this time: has it been too long? */
struct threshold_event threshold_tick(struct threshold *t, uint64_t now_ns);

static inline enum threshold_level threshold_level(const struct threshold *t)
{
	return t->lost ? THRESHOLD_UNKNOWN : (enum threshold_level)t->level;
}
#endif
