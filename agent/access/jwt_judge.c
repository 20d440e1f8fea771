/* SPDX-License-Identifier: Apache-2.0
 *
 * access/jwt_judge: the order in which a token is judged: whose it says it is, whether that issuer may use
 * its alg, the key, the signature; only then what it claims.  Pure: no clock, no I/O.
 */
#include <config.h>
#include "access/jwt_priv.h"

enum jwt_reason jwt_keys_try(const struct jwt_keys *keys, const struct jwt_token *t, const struct jwt_key **key)
{
	enum jwt_reason r = jwt_keys_find(keys, t->kid, t->alg, key);

	return r == JWT_OK ? jwt_key_verify(*key, t->alg, t->text, t->nsigned, t->sig, t->nsig) : r;
}

enum jwt_reason jwt_judge(const struct jwt_policy *p, const struct jwt_token *t, jwt_remote_keys remote, void *arg,
    uint64_t wall_ms, const char **provider, struct jwt_claims **out)
{
	const struct jwt_provider *v;
	const struct jwt_key *key = NULL;
	enum jwt_reason r = jwt_policy_find(p, t->claims, &v);

	*out = NULL;
	if (r != JWT_OK)
		return r;
	*provider = v->name;
	if (!(v->algs & ALG_BIT(t->alg)))
		return JWT_ALG_REFUSED;
	r = v->fixed ? jwt_keys_try(v->fixed, t, &key) : remote(arg, v, t, &key);
	if (r != JWT_OK)
		return r;
	return jwt_claims_make(p, v, t->claims, &(struct jwt_signed){ key, t->alg, t->payload, t->npayload }, wall_ms, out);
}
