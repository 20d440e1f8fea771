/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/threshold: see the header. */
#include <config.h>
#include <string.h>
#include "resilience/threshold.h"

static const char *const names[] = { "ok", "warning", "critical", "unknown", "unbounded" };

const char *threshold_name(enum threshold_level l)
{
	return (unsigned)l < sizeof names / sizeof *names ? names[l] : "unknown";
}

int threshold_of(const char *name)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i]) == 0)
			return (int)i;
	return -1;
}

const char *threshold_check(const struct threshold_rule *r)
{
	if (r->clear_warn >= r->raise_warn)
		return "memory_warning_clear must be under memory_warning";
	if (r->clear_crit >= r->raise_crit)
		return "memory_critical_clear must be under memory_critical";
	if (r->raise_warn >= r->raise_crit)
		return "memory_warning must be under memory_critical";
	if (r->clear_warn >= r->clear_crit)
		return "memory_warning_clear must be under memory_critical_clear";
	if (!r->raise_hits || !r->clear_hits || !r->missing || !r->period_ns)
		return "raise_hits, clear_hits, missing and interval must be above zero";
	return NULL;
}

uint64_t threshold_hash(const struct threshold_rule *r)
{
	const uint64_t words[] = { r->raise_warn, r->clear_warn, r->raise_crit, r->clear_crit,
		r->raise_hits, r->clear_hits, r->missing, r->period_ns };
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		for (unsigned b = 0; b < 64; b += 8)
			h = (h ^ (words[i] >> b & 0xff)) * UINT64_C(0x100000001b3);
	return h;
}

static void forget(struct threshold *t)
{
	memset(t->worse, 0, sizeof t->worse);
	memset(t->better, 0, sizeof t->better);
}

void threshold_init(struct threshold *t, const struct threshold_rule *r, uint64_t now_ns)
{
	*t = (struct threshold){ .rule = *r, .level = THRESHOLD_UNKNOWN, .last_ns = now_ns };
}

void threshold_rule_set(struct threshold *t, const struct threshold_rule *r)
{
	if (threshold_hash(r) != threshold_hash(&t->rule)) {
		forget(t);
		t->at_once = t->level != THRESHOLD_UNKNOWN;
	}
	t->rule = *r;
}

void threshold_restore(struct threshold *t, enum threshold_level level, uint64_t hash)
{
	t->level = (uint8_t)level;
	t->lost = level != THRESHOLD_UNKNOWN; /* nobody has looked yet */
	t->at_once = level != THRESHOLD_UNKNOWN && hash != threshold_hash(&t->rule);
}

/* What a sample asks for at level s (one that is not of the three counts as OK). */
static unsigned target(const struct threshold_rule *r, uint64_t m, unsigned s)
{
	if (m >= r->raise_crit || (s == THRESHOLD_CRIT && m >= r->clear_crit))
		return THRESHOLD_CRIT;
	if (m >= r->raise_warn ||
	    ((s == THRESHOLD_WARN || s == THRESHOLD_CRIT) && m >= r->clear_warn))
		return THRESHOLD_WARN;
	return THRESHOLD_OK;
}

static void count(struct threshold *t, unsigned want)
{
	t->worse[0] = want >= THRESHOLD_WARN ? t->worse[0] + 1 : 0;
	t->worse[1] = want >= THRESHOLD_CRIT ? t->worse[1] + 1 : 0;
	t->better[0] = want == THRESHOLD_OK ? t->better[0] + 1 : 0;
	t->better[1] = want <= THRESHOLD_WARN ? t->better[1] + 1 : 0;
}

/* The level after the samples counted so far, the latest of which asks for `want`. */
static unsigned decide(const struct threshold *t, unsigned want)
{
	unsigned s = t->level <= THRESHOLD_CRIT ? t->level : THRESHOLD_OK;

	if (t->at_once)
		return want;
	for (unsigned l = THRESHOLD_CRIT; l > s; l--)
		if (t->worse[l - 1] >= t->rule.raise_hits)
			return l;
	for (unsigned l = THRESHOLD_OK; l < s; l++)
		if (t->better[l] >= t->rule.clear_hits)
			return l;
	/* From nothing known, or no maximum: OK is what it takes no counting for. */
	return t->level <= THRESHOLD_CRIT || want == THRESHOLD_OK ? s : t->level;
}

/* The one place where the level changes. */
static struct threshold_event move(struct threshold *t, unsigned level, bool lost)
{
	struct threshold_event e = { 0, threshold_level(t), THRESHOLD_OK };
	unsigned before = t->level;

	t->level = (uint8_t)level;
	t->lost = lost;
	e.to = threshold_level(t);
	if (e.from != e.to)
		e.what = THRESHOLD_MOVED;
	/* Nothing known yet: only what is bad is worth telling. */
	if (level != before && (before != THRESHOLD_UNKNOWN || level == THRESHOLD_WARN ||
	    level == THRESHOLD_CRIT)) {
		e.what |= THRESHOLD_TELL;
		e.from = (enum threshold_level)before;
		e.to = (enum threshold_level)level;
	}
	return e;
}

struct threshold_event threshold_sample(struct threshold *t, uint64_t millionths, uint64_t now_ns)
{
	unsigned want = target(&t->rule, millionths, t->level), level;

	t->last_ns = now_ns;
	count(t, want);
	level = decide(t, want);
	t->at_once = false;
	return move(t, level, false);
}

struct threshold_event threshold_unbounded(struct threshold *t, uint64_t now_ns)
{
	t->last_ns = now_ns;
	t->at_once = false;
	forget(t);
	return move(t, THRESHOLD_UNBOUNDED, false);
}

struct threshold_event threshold_tick(struct threshold *t, uint64_t now_ns)
{
	uint64_t span = now_ns > t->last_ns ? now_ns - t->last_ns : 0;

	if (t->lost || t->level == THRESHOLD_UNKNOWN || span / t->rule.missing < t->rule.period_ns)
		return move(t, t->level, t->lost);
	forget(t);
	return move(t, t->level, true);
}
