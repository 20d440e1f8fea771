/* SPDX-License-Identifier: Apache-2.0 */
/* health/options: the [health] section as health_opts. */
#include <config.h>
#include "config/cfg.h"
#include "health/health.h"

void health_opts_of(struct health_opts *o, const struct cfg *c)
{
	const struct cfg_section *s = cfg_one(c, CFG_HEALTH);
	struct threshold_rule *r = &o->rule;

	o->interval_ns = (uint64_t)cfg_int(s, CFG_HEALTH_INTERVAL);
	o->max_age_ns = (uint64_t)cfg_int(s, CFG_HEALTH_MAX_AGE);
	o->timeout_ns = (uint64_t)cfg_int(s, CFG_HEALTH_TIMEOUT);
	o->unbounded_warns = cfg_int(s, CFG_HEALTH_MEMORY_UNBOUNDED) == CFG_UNBOUNDED_WARNING;
	r->raise_warn = (uint32_t)cfg_int(s, CFG_HEALTH_MEMORY_WARNING);
	r->clear_warn = (uint32_t)cfg_int(s, CFG_HEALTH_MEMORY_WARNING_CLEAR);
	r->raise_crit = (uint32_t)cfg_int(s, CFG_HEALTH_MEMORY_CRITICAL);
	r->clear_crit = (uint32_t)cfg_int(s, CFG_HEALTH_MEMORY_CRITICAL_CLEAR);
	r->raise_hits = (uint32_t)cfg_int(s, CFG_HEALTH_RAISE_HITS);
	r->clear_hits = (uint32_t)cfg_int(s, CFG_HEALTH_CLEAR_HITS);
	r->missing = (uint32_t)cfg_int(s, CFG_HEALTH_MISSING);
	r->period_ns = o->interval_ns;
}
