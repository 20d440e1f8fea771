/* SPDX-License-Identifier: Apache-2.0
 *
 * access/jwks_plan: when an issuer is asked for its keys.  Pure: time and chance are arguments.
 *
 * By itself: when what it has is no longer fresh (Cache-Control within refresh_min and refresh_max), or,
 * after a failure, after 1, 2, 4 ... 60 seconds, each up to half shorter by chance.
 * For tokens: when one names a kid that is not there; for one kid once in unknown_kid_interval, for all
 * kids together once in a tenth of it, so that made-up kids cannot make it a flood.
 */
#include <config.h>
#include <string.h>
#include "access/jwt_priv.h"

#define SECOND UINT64_C(1000000000)
#define BACKOFF_MAX (60 * SECOND)

void jwks_plan_init(struct jwks_plan *p, const struct jwks_opts *o, uint64_t now_ns)
{
	memset(p, 0, sizeof *p);
	p->o = o;
	p->next_ns = now_ns;
}

void jwks_plan_start(struct jwks_plan *p, uint64_t now_ns)
{
	p->running = true;
	p->started_ns = now_ns;
	p->earliest_ns = now_ns + p->o->kid_interval_ns / 10;
	p->next_ns = UINT64_MAX; /* the end of this one sets it */
}

void jwks_plan_got(struct jwks_plan *p, uint64_t now_ns, int64_t max_age_s)
{
	uint64_t fresh = p->o->refresh_max_ns;

	if (max_age_s >= 0 && (uint64_t)max_age_s < fresh / SECOND)
		fresh = (uint64_t)max_age_s * SECOND;
	if (fresh < p->o->refresh_min_ns)
		fresh = p->o->refresh_min_ns;
	p->got = true;
	p->running = p->failed = false;
	p->failures = 0;
	p->fresh_until_ns = p->next_ns = now_ns + fresh;
}

void jwks_plan_failed(struct jwks_plan *p, uint64_t now_ns, uint64_t random, int64_t retry_after_s)
{
	uint64_t wait = SECOND << (p->failures < 6 ? p->failures : 6);

	if (wait > BACKOFF_MAX)
		wait = BACKOFF_MAX;
	wait -= random % (wait / 2);
	if (retry_after_s > 0 && (uint64_t)retry_after_s * SECOND > wait)
		wait = (uint64_t)retry_after_s < p->o->refresh_max_ns / SECOND ? (uint64_t)retry_after_s * SECOND :
		    p->o->refresh_max_ns;
	p->failures++;
	p->running = false;
	p->failed = true;
	p->next_ns = p->earliest_ns = now_ns + wait;
	memset(p->kid, 0, sizeof p->kid); /* nobody has answered what was asked */
}

enum jwt_reason jwks_plan_usable(const struct jwks_plan *p, uint64_t now_ns)
{
	if (!p->got)
		return JWT_KEYS_AWAY;
	return now_ns < p->fresh_until_ns + p->o->max_stale_ns ? JWT_OK : JWT_KEYS_STALE;
}

/* FNV-1a: whoever makes kids meet in it has only his own refused a little longer. */
static uint64_t hash_of(const char *kid)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *kid; kid++)
		h = (h ^ (uint8_t)*kid) * UINT64_C(0x100000001b3);
	return h | 1;
}

/* When the kid was first asked for, noted now if it was not. */
static uint64_t asked(struct jwks_plan *p, uint64_t now_ns, const char *kid)
{
	uint64_t h = hash_of(kid);

	for (uint32_t i = 0; i < JWKS_KIDS; i++)
		if (p->kid[i].hash == h && now_ns - p->kid[i].asked_ns < p->o->kid_interval_ns)
			return p->kid[i].asked_ns;
		else if (p->kid[i].hash == h)
			p->kid[i].hash = 0;
	p->kid[p->next_kid].hash = h;
	p->kid[p->next_kid].asked_ns = now_ns;
	p->next_kid = (p->next_kid + 1) % JWKS_KIDS;
	return now_ns;
}

enum jwks_want jwks_plan_want(struct jwks_plan *p, uint64_t now_ns, const char *kid)
{
	if (p->running)
		return JWKS_WAIT;
	if (kid && p->got) {
		/* A fetch that began after it was first asked for has ended without it. */
		if (asked(p, now_ns, kid) <= p->started_ns && !p->failed)
			return JWKS_KNOWN;
		if (p->earliest_ns < p->next_ns)
			p->next_ns = p->earliest_ns;
	}
	if (p->next_ns <= now_ns)
		return JWKS_START;
	return p->next_ns - now_ns <= p->o->timeout_ns ? JWKS_WAIT : JWKS_LATER;
}
