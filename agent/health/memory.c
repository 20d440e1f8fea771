/* SPDX-License-Identifier: Apache-2.0 */
/* health/memory: see the header. */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/info.h"
#include "health/memory.h"

#define MILLION UINT64_C(1000000)
#define FRAGMENTED 1.5
#define LOOKUPS_MIN 1000u     /* between two checks: fewer say nothing of the hit ratio */
#define RATIO_DROP 0.20
#define EVICTED_MIN 100u      /* between two checks: fewer are no thrashing */

/* ---- facts ------------------------------------------------------------------------------------------ */

static void facts_begin(struct memory_facts *f)
{
	memset(f, 0, sizeof *f);
	f->used = f->not_counted = f->max = f->rss = MEMORY_NONE;
	f->evicted = f->hits = f->misses = f->keys = f->expires = MEMORY_NONE;
	f->fragmentation = -1;
}

static uint64_t number(const char *v, size_t n)
{
	char text[24], *end;
	unsigned long long u;

	if (n == 0 || n >= sizeof text || *v == '-')
		return MEMORY_NONE;
	memcpy(text, v, n);
	text[n] = '\0';
	errno = 0;
	u = strtoull(text, &end, 10);
	return errno || *end || end == text ? MEMORY_NONE : u;
}

static double real(const char *v, size_t n)
{
	char text[32], *end;
	double d;

	if (n == 0 || n >= sizeof text)
		return -1;
	memcpy(text, v, n);
	text[n] = '\0';
	d = strtod(text, &end);
	return *end || end == text ? -1 : d;
}

static void word(char *dst, size_t cap, const char *v, size_t n)
{
	snprintf(dst, cap, "%.*s", (int)(n < cap ? n : cap - 1), v);
}

static bool is(const char *k, size_t kn, const char *name)
{
	return strlen(name) == kn && memcmp(k, name, kn) == 0;
}

static void add(uint64_t *sum, uint64_t v)
{
	if (v != MEMORY_NONE)
		*sum = *sum == MEMORY_NONE ? v : *sum + v;
}

/* "keys=4,expires=1,avg_ttl=0" */
static void keyspace(struct memory_facts *f, const char *v, size_t n)
{
	while (n) {
		const char *comma = memchr(v, ',', n);
		size_t len = comma ? (size_t)(comma - v) : n;

		if (len > 5 && memcmp(v, "keys=", 5) == 0)
			add(&f->keys, number(v + 5, len - 5));
		else if (len > 8 && memcmp(v, "expires=", 8) == 0)
			add(&f->expires, number(v + 8, len - 8));
		v += len + (comma != NULL);
		n -= len + (comma != NULL);
	}
}

static void line(struct memory_facts *f, const char *k, size_t kn, const char *v, size_t vn)
{
	const struct { const char *name; uint64_t *to; } numbers[] = {
		{ "used_memory", &f->used }, { "mem_not_counted_for_evict", &f->not_counted },
		{ "maxmemory", &f->max }, { "used_memory_rss", &f->rss },
		{ "evicted_keys", &f->evicted }, { "keyspace_hits", &f->hits },
		{ "keyspace_misses", &f->misses },
	};

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (is(k, kn, numbers[i].name)) {
			*numbers[i].to = number(v, vn);
			return;
		}
	if (is(k, kn, "mem_fragmentation_ratio"))
		f->fragmentation = real(v, vn);
	else if (is(k, kn, "maxmemory_policy"))
		word(f->policy, sizeof f->policy, v, vn);
	else if (is(k, kn, "role"))
		word(f->role, sizeof f->role, v, vn);
	else if (is(k, kn, "run_id"))
		word(f->run_id, sizeof f->run_id, v, vn);
	else if (kn > 2 && memcmp(k, "db", 2) == 0 && number(k + 2, kn - 2) != MEMORY_NONE)
		keyspace(f, v, vn);
}

void memory_of_info(struct memory_facts *f, const char *text, size_t n)
{
	facts_begin(f);
	for (struct info_line l; info_line(&text, &n, &l);)
		line(f, l.key, l.key_len, l.value, l.value_len);
	if (f->used != MEMORY_NONE && f->keys == MEMORY_NONE)
		f->keys = f->expires = 0; /* INFO names no empty database */
}

void memory_of_stats(struct memory_facts *f, const purser_stats *s, const char *policy)
{
	facts_begin(f);
	f->used = s->used_bytes;
	f->max = s->max_bytes;
	f->evicted = s->evicted;
	f->keys = s->keys;
	word(f->policy, sizeof f->policy, policy, strlen(policy));
}

/* ---- verdict ---------------------------------------------------------------------------------------- */

static bool begins(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

/* Does a full store make room by itself, rather than refuse writes? */
static bool evicts(const struct memory_facts *f)
{
	if (begins(f->policy, "allkeys-"))
		return true;
	return begins(f->policy, "volatile-") && f->keys != MEMORY_NONE && f->expires != MEMORY_NONE &&
	    f->keys > 0 && f->expires >= (f->keys + 9) / 10;
}

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now == MEMORY_NONE || before == MEMORY_NONE || now < before ? MEMORY_NONE : now - before;
}

/* What happened since the check before; the watch moves on. */
static bool since(struct memory_watch *w, const struct memory_facts *f, uint64_t now_ns,
    struct memory_verdict *v, double *average)
{
	uint64_t evicted = grown(f->evicted, w->evicted), hits = grown(f->hits, w->hits);
	uint64_t misses = grown(f->misses, w->misses), minute = UINT64_C(60000000000);
	uint64_t span = now_ns > w->at_ns ? now_ns - w->at_ns : 0;
	bool same = w->seen && strcmp(w->run_id, f->run_id) == 0, thrash = false;

	*average = same ? w->ratio : -1;
	if (same && span && evicted != MEMORY_NONE) {
		v->evicted_per_s = (double)evicted * 1e9 / (double)span;
		thrash = evicted >= EVICTED_MIN && f->keys != MEMORY_NONE &&
		    v->evicted_per_s * ((double)minute / 1e9) > (double)f->keys / 10;
	}
	if (same && hits != MEMORY_NONE && misses != MEMORY_NONE && hits + misses >= LOOKUPS_MIN)
		v->hit_ratio = (double)hits / (double)(hits + misses);
	w->ratio = *average < 0 ? v->hit_ratio : v->hit_ratio < 0 ? *average :
	    *average * 0.9 + v->hit_ratio * 0.1;
	w->seen = true;
	w->at_ns = now_ns;
	w->evicted = f->evicted;
	w->hits = f->hits;
	w->misses = f->misses;
	memcpy(w->run_id, f->run_id, sizeof w->run_id);
	return thrash;
}

static void at_least(struct memory_verdict *v, uint64_t warn)
{
	if (v->sample < warn)
		v->sample = warn;
}

void memory_judge(struct memory_watch *w, const struct memory_facts *f, uint64_t configured,
    uint64_t warn, bool in_process, uint64_t now_ns, struct memory_verdict *v)
{
	uint64_t counted;
	double average;
	bool thrash;

	*v = (struct memory_verdict){ .evicted_per_s = -1, .hit_ratio = -1 };
	thrash = since(w, f, now_ns, v, &average);
	v->known = f->used != MEMORY_NONE;
	if (!v->known)
		return;
	v->used = f->used;
	v->limit = f->max != MEMORY_NONE && f->max > 0 ? f->max : configured;
	v->bounded = v->limit > 0;
	if (!v->bounded)
		return;
	v->evicts = v->limit == f->max && evicts(f);
	counted = f->used;
	if (f->not_counted != MEMORY_NONE)
		counted -= f->not_counted < counted ? f->not_counted : counted;
	v->share = (uint64_t)((double)counted / (double)v->limit * (double)MILLION + 0.5);
	v->sample = v->evicts ? 0 : v->share;
	if (v->evicts && thrash) {
		at_least(v, warn);
		snprintf(v->reason, sizeof v->reason, "%.0f of %llu keys are evicted a second: max_memory is "
		    "too small for what is used", v->evicted_per_s, (unsigned long long)f->keys);
	} else if (v->evicts && v->hit_ratio >= 0 && average >= 0 &&
	    v->hit_ratio < average - RATIO_DROP) {
		at_least(v, warn);
		snprintf(v->reason, sizeof v->reason, "the hit ratio fell to %.0f %% from %.0f %%",
		    v->hit_ratio * 100, average * 100);
	}
	if (!in_process && f->fragmentation > FRAGMENTED && f->rss != MEMORY_NONE && f->rss > v->limit &&
	    v->sample < warn) {
		at_least(v, warn);
		snprintf(v->reason, sizeof v->reason, "resident memory is above the limit, %.1f times what "
		    "is used: fragmentation", f->fragmentation);
	}
}
