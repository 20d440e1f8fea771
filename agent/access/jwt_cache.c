/* SPDX-License-Identifier: Apache-2.0
 *
 * access/jwt_cache: tokens that were verified, by their SHA-256.  A fixed table, four places for a hash:
 * what is put in takes a place that is free or no longer good, else that of the one not asked for the
 * longest.  One thread.
 */
#include <config.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"

void jwt_cache_init(struct jwt_cache *c, uint32_t entries)
{
	memset(c, 0, sizeof *c);
	c->sets = 1;
	while (c->sets * JWT_CACHE_WAYS < entries)
		c->sets *= 2;
}

void jwt_cache_free(struct jwt_cache *c)
{
	for (uint32_t i = 0; c->v && i < c->sets * JWT_CACHE_WAYS; i++)
		jwt_claims_unref(c->v[i].claims);
	free(c->v);
	c->v = NULL;
}

static struct jwt_entry *set_of(struct jwt_cache *c, const uint8_t *hash)
{
	uint32_t h;

	memcpy(&h, hash, sizeof h);
	return &c->v[(h & (c->sets - 1)) * JWT_CACHE_WAYS];
}

static void drop(struct jwt_entry *e)
{
	jwt_claims_unref(e->claims);
	e->claims = NULL;
}

enum jwt_reason jwt_cache_get(struct jwt_cache *c, const uint8_t *hash, const struct jwt_policy *p,
    uint64_t wall_ms, struct jwt_claims **out)
{
	struct jwt_entry *e = c->v ? set_of(c, hash) : NULL;

	for (uint32_t i = 0; e && i < JWT_CACHE_WAYS; i++, e++) {
		enum jwt_reason r;

		if (!e->claims || CRYPTO_memcmp(e->hash, hash, JWT_HASH))
			continue;
		r = jwt_claims_state(e->claims, wall_ms);
		if (((struct jwt_claims_full *)e->claims)->policy == p->id && r == JWT_OK) {
			e->used = ++c->clock;
			*out = jwt_claims_ref(e->claims);
			return JWT_OK;
		}
		/* Of another policy, or of a key that is gone: look at the token anew. */
		drop(e);
		return r == JWT_EXPIRED ? r : JWT_PENDING;
	}
	return JWT_PENDING;
}

void jwt_cache_put(struct jwt_cache *c, const uint8_t *hash, struct jwt_claims *claims, uint64_t wall_ms)
{
	struct jwt_entry *e, *worst = NULL;

	if (!c->v && !(c->v = calloc(c->sets, JWT_CACHE_WAYS * sizeof *c->v)))
		return; /* it is verified again each time */
	e = set_of(c, hash);
	for (uint32_t i = 0; i < JWT_CACHE_WAYS; i++, e++) {
		if (e->claims && !memcmp(e->hash, hash, JWT_HASH)) {
			worst = e;
			break;
		}
		if (e->claims && jwt_claims_state(e->claims, wall_ms) != JWT_OK)
			drop(e);
		if (!worst || (worst->claims && (!e->claims || (int32_t)(e->used - worst->used) < 0)))
			worst = e;
	}
	drop(worst);
	memcpy(worst->hash, hash, JWT_HASH);
	worst->claims = jwt_claims_ref(claims);
	worst->used = ++c->clock;
}
