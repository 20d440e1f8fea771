/* SPDX-License-Identifier: Apache-2.0
 *
 * health/memory: what the memory numbers of a store mean.  Pure: INFO text or plugin stats in; a
 * share of the maximum, the sample for the threshold, and a sentence out.  Rules: semantics.md
 * section 3, "Memory %".
 *
 *   share    (used_memory - mem_not_counted_for_evict) / maxmemory; where maxmemory is 0, of the
 *            configured limit; where there is none either, there is no share: unbounded, never 0 %
 *   sample   the share, if a full store refuses writes (noeviction, volatile-* with hardly a key that
 *            expires, or a limit that only the configuration knows).  A store that evicts is full by
 *            design: its sample is 0 unless it thrashes, then the warning line:
 *              - more than a tenth of its keys are evicted a minute, or
 *              - the hit ratio is 20 points under its average of the last checks (1,000 lookups)
 *            Resident memory above the limit with fragmentation over 1.5 is a warning at least.
 */
#ifndef HEALTH_MEMORY_H
#define HEALTH_MEMORY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

#define MEMORY_NONE UINT64_MAX /* not said */

struct memory_facts {
	uint64_t used, not_counted, max, rss;
	uint64_t evicted, hits, misses;  /* counters */
	uint64_t keys, expires;          /* of all databases */
	double fragmentation;            /* < 0: not said */
	char policy[24];                 /* "" = not said */
	char role[12];                   /* master, slave, or "" */
	char run_id[48];
};
/* From the text of INFO. */
void memory_of_info(struct memory_facts *f, const char *text, size_t n);
/* From stats(); policy: as configured, "" = not known. */
void memory_of_stats(struct memory_facts *f, const purser_stats *s, const char *policy);

struct memory_watch {            /* of one backend; zero-initialised */
	bool seen;
	uint64_t at_ns, evicted, hits, misses;
	double ratio;                /* average hit ratio; < 0: none yet */
	char run_id[48];
};

struct memory_verdict {
	bool known;                  /* used is known */
	bool bounded;                /* there is a limit: share and sample hold */
	bool evicts;                 /* a full store makes room by itself */
	uint64_t used, limit;        /* bytes */
	uint64_t share, sample;      /* millionths; share may be above 1,000,000 */
	double evicted_per_s, hit_ratio; /* since the sample before; < 0: not known */
	char reason[160];            /* why sample is not simply the share, or "" */
};
/* configured: the limit where the store has none, 0 = none.  warn: the warning line, millionths.
 * in_process: resident memory is the agent's, not the store's. */
void memory_judge(struct memory_watch *w, const struct memory_facts *f, uint64_t configured,
    uint64_t warn, bool in_process, uint64_t now_ns, struct memory_verdict *out);
#endif
