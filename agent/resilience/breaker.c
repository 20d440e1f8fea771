/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/breaker: see the header. */
#include <config.h>
#include <string.h>
#include "resilience/breaker.h"

#define SECOND UINT64_C(1000000000)
#define SOON (SECOND / 10) /* a probe is under way: its answer may open the door any moment */

const char *breaker_name(enum breaker_state s)
{
	static const char *const names[] = { "closed", "open", "half_open", "forced_open", "disabled" };

	return (unsigned)s < BREAKER_STATES ? names[s] : "unknown";
}

const char *breaker_why(enum breaker_reason r)
{
	static const char *const texts[] = { "", "failures in a row", "too many of the latest attempts failed",
		"too many of the latest attempts were slow", "the agent's own probe failed",
		"the agent's own probe was answered", "a trial failed", "the trials succeeded",
		"set by an operator or the configuration" };

	return (unsigned)r < sizeof texts / sizeof *texts ? texts[r] : "";
}

/* ---- the window ------------------------------------------------------------------------------------- */

/* Buckets that are too old become empty. */
static void roll(struct breaker_window *w, uint64_t now_ns)
{
	uint64_t second = now_ns / SECOND;

	if (second <= w->second)
		return;
	if (second - w->second >= BREAKER_BUCKETS)
		memset(w->bucket, 0, sizeof w->bucket);
	else
		for (uint64_t s = w->second + 1; s <= second; s++)
			memset(&w->bucket[s % BREAKER_BUCKETS], 0, sizeof *w->bucket);
	w->second = second;
}

uint32_t breaker_window_counted(struct breaker_window *w, uint64_t now_ns)
{
	uint32_t n = 0;

	roll(w, now_ns);
	for (unsigned i = 0; i < BREAKER_BUCKETS; i++)
		n += w->bucket[i].n;
	return n;
}

void breaker_window_add(struct breaker_window *w, uint32_t n, uint64_t at_ns, uint64_t now_ns)
{
	uint64_t second = at_ns / SECOND;

	roll(w, now_ns);
	if (second <= w->second && w->second - second < BREAKER_BUCKETS)
		w->bucket[second % BREAKER_BUCKETS].n += n;
}

static enum breaker_reason judge(const struct breaker_window *w, const struct breaker_rule *r)
{
	uint64_t n = 0, fail = 0, slow = 0;

	if (w->consecutive >= r->failure_threshold)
		return BREAKER_CONSECUTIVE;
	for (unsigned i = 0; i < BREAKER_BUCKETS; i++) {
		n += w->bucket[i].n;
		fail += w->bucket[i].fail;
		slow += w->bucket[i].slow;
	}
	if (n < r->window_min)
		return BREAKER_NO_REASON;
	if (r->failure_percent && fail * 100 >= n * r->failure_percent)
		return BREAKER_FAILURES;
	if (r->slow_percent && slow && slow * 100 >= n * r->slow_percent)
		return BREAKER_SLOW;
	return BREAKER_NO_REASON;
}

enum breaker_reason breaker_window_note(struct breaker_window *w, const struct breaker_rule *r,
    enum breaker_outcome o, uint64_t now_ns)
{
	if (o == BREAKER_IGNORE)
		return BREAKER_NO_REASON;
	roll(w, now_ns);
	w->bucket[w->second % BREAKER_BUCKETS].n++;
	if (o == BREAKER_OK) {
		w->consecutive = 0;
		return BREAKER_NO_REASON; /* a success opens nothing */
	}
	if (o == BREAKER_OK_SLOW) {
		w->consecutive = 0;
		w->bucket[w->second % BREAKER_BUCKETS].slow++;
	} else {
		w->consecutive++;
		w->bucket[w->second % BREAKER_BUCKETS].fail++;
	}
	return judge(w, r);
}

void breaker_window_clear(struct breaker_window *w)
{
	memset(w->bucket, 0, sizeof w->bucket);
	w->consecutive = 0;
}

/* ---- the state -------------------------------------------------------------------------------------- */

static struct breaker_move move(struct breaker *b, enum breaker_state to, enum breaker_reason why,
    uint64_t now_ns)
{
	struct breaker_move m = { true, b->state, (uint8_t)to, (uint8_t)why };

	b->state = (uint8_t)to;
	b->since_ns = now_ns;
	b->epoch++;
	b->trials = b->good = 0;
	b->probing = false;
	return m;
}

static const struct breaker_move stay = { false, 0, 0, BREAKER_NO_REASON };

void breaker_init(struct breaker *b, uint64_t now_ns)
{
	*b = (struct breaker){ .state = BREAKER_CLOSED, .since_ns = now_ns };
}

/* min(recovery_timeout, recovery_initial * 2^reopens) * U(0.8, 1.0) */
static uint64_t wait(const struct breaker *b, const struct breaker_rule *r, uint64_t random)
{
	uint64_t ns = r->recovery_timeout_ns;

	if (b->reopens < 32 && r->recovery_initial_ns < ns >> b->reopens)
		ns = r->recovery_initial_ns << b->reopens;
	return ns / 1000 * (800 + random % 201);
}

static struct breaker_move open(struct breaker *b, const struct breaker_rule *r, enum breaker_reason why,
    uint64_t now_ns, uint64_t random)
{
	struct breaker_move m = move(b, BREAKER_OPEN, why, now_ns);

	b->until_ns = now_ns + wait(b, r, random);
	return m;
}

struct breaker_move breaker_trip(struct breaker *b, const struct breaker_rule *r,
    enum breaker_reason why, uint64_t now_ns, uint64_t random)
{
	if (b->state != BREAKER_CLOSED)
		return stay;
	b->reopens = 0;
	return open(b, r, why, now_ns, random);
}

enum breaker_pass breaker_admit(struct breaker *b, const struct breaker_rule *r)
{
	switch ((enum breaker_state)b->state) {
	case BREAKER_CLOSED:
	case BREAKER_DISABLED:
		return BREAKER_PASS;
	case BREAKER_HALF_OPEN:
		if (b->trials >= r->success_threshold)
			return BREAKER_REJECT;
		b->trials++;
		return BREAKER_TRIAL;
	default:
		return BREAKER_REJECT;
	}
}

static struct breaker_move result(struct breaker *b, const struct breaker_rule *r, bool ok,
    enum breaker_reason bad, uint64_t now_ns, uint64_t random)
{
	if (!ok) {
		b->reopens++;
		return open(b, r, bad, now_ns, random);
	}
	if (++b->good < r->success_threshold)
		return stay;
	b->reopens = 0;
	return move(b, BREAKER_CLOSED, BREAKER_TRIALS_PASSED, now_ns);
}

struct breaker_move breaker_trial_end(struct breaker *b, const struct breaker_rule *r, uint32_t epoch,
    enum breaker_outcome o, uint64_t now_ns, uint64_t random)
{
	if (b->state != BREAKER_HALF_OPEN || epoch != b->epoch)
		return stay; /* decided without it */
	if (b->trials)
		b->trials--;
	if (o == BREAKER_IGNORE)
		return stay;
	return result(b, r, o != BREAKER_FAIL, BREAKER_TRIAL_FAILED, now_ns, random);
}

bool breaker_probe_begin(struct breaker *b, uint64_t now_ns)
{
	if (now_ns < breaker_probe_due(b))
		return false;
	b->probing = true;
	return true;
}

uint64_t breaker_probe_due(const struct breaker *b)
{
	return !b->probing && (b->state == BREAKER_OPEN || b->state == BREAKER_HALF_OPEN) ? b->until_ns :
	    UINT64_MAX;
}

struct breaker_move breaker_probe_end(struct breaker *b, const struct breaker_rule *r, bool ok,
    uint64_t now_ns, uint64_t random)
{
	struct breaker_move m;

	if (!b->probing)
		return stay; /* somebody else has moved it since */
	b->probing = false;
	if (b->state == BREAKER_HALF_OPEN) {
		b->until_ns = now_ns + r->half_open_ns;
		return result(b, r, ok, BREAKER_PROBE_FAILED, now_ns, random);
	}
	if (!ok) { /* it stays open: no transition, a longer wait */
		b->reopens++;
		b->until_ns = now_ns + wait(b, r, random);
		return stay;
	}
	m = move(b, BREAKER_HALF_OPEN, BREAKER_PROBE_PASSED, now_ns);
	b->until_ns = now_ns + r->half_open_ns;
	return m;
}

struct breaker_move breaker_operate(struct breaker *b, enum breaker_state to, uint64_t now_ns)
{
	if (b->state == to || to == BREAKER_OPEN || to == BREAKER_HALF_OPEN)
		return stay;
	if (to == BREAKER_CLOSED && b->state != BREAKER_FORCED_OPEN && b->state != BREAKER_DISABLED)
		return stay; /* it decides by itself already */
	b->reopens = 0;
	return move(b, to, BREAKER_OPERATOR, now_ns);
}

uint64_t breaker_retry_after(const struct breaker *b, const struct breaker_rule *r, uint64_t now_ns)
{
	if (b->state == BREAKER_FORCED_OPEN)
		return r->recovery_initial_ns;
	if (b->state == BREAKER_OPEN && b->until_ns > now_ns + SOON)
		return b->until_ns - now_ns;
	return SOON;
}
