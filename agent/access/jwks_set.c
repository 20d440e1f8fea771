/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwks_set: a set of keys: reading it, looking into it, taking a newer one. */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"

void jwt_keys_free(struct jwt_keys *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->n; i++)
		jwt_key_unref(s->v[i]);
	free(s);
}

static bool usable(const struct jwt_keys *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->v[i]->bad == JWT_OK)
			return true;
	return false;
}

struct jwt_keys *jwt_keys_read(const char *text, size_t n, const struct jwt_pins *pins, bool local,
    char *why, size_t whylen)
{
	json_error_t e;
	json_t *doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
	const json_t *list = json_object_get(doc, "keys"), *jwk;
	struct jwt_keys *s = NULL;
	size_t i;

	if (!json_is_array(list)) {
		snprintf(why, whylen, doc ? "no \"keys\" in it: it is no JSON Web Key Set" : "it is not JSON: %s", e.text);
		json_decref(doc);
		return NULL;
	}
	s = calloc(1, sizeof *s);
	json_array_foreach(list, i, jwk) {
		if (!s || s->n == JWT_KEYS_MAX)
			break;
		s->v[s->n] = jwt_key_jwk(jwk, pins, local);
		if (!s->v[s->n]) {
			jwt_keys_free(s);
			s = NULL;
			break;
		}
		s->n++;
	}
	if (!s) {
		snprintf(why, whylen, "out of memory");
	} else if (!usable(s)) {
		snprintf(why, whylen, "none of its %u keys can be used%s%s", (unsigned)s->n, s->n ? ": the first: " : "",
		    s->n ? jwt_reason_text(s->v[0]->bad) : "");
		jwt_keys_free(s);
		s = NULL;
	}
	json_decref(doc);
	return s;
}

static bool named(const struct jwt_key *k, const char *kid)
{
	return !kid || (k->kid && !strcmp(k->kid, kid));
}

enum jwt_reason jwt_keys_find(const struct jwt_keys *s, const char *kid, enum jwt_alg alg,
    const struct jwt_key **key)
{
	enum jwt_reason r = JWT_KID_UNKNOWN;

	*key = NULL;
	for (uint32_t i = 0; i < s->n; i++) {
		const struct jwt_key *k = s->v[i];

		if (!named(k, kid))
			continue;
		if (k->bad == JWT_OK && k->algs & ALG_BIT(alg)) {
			if (*key) { /* two of one kid: which it is cannot be told */
				*key = NULL;
				return JWT_KID_MISSING;
			}
			*key = k;
		} else if (kid && r == JWT_KID_UNKNOWN) {
			r = k->bad == JWT_OK ? JWT_ALG_OF_KEY : k->bad;
		}
	}
	return *key ? JWT_OK : r;
}

bool jwt_keys_replace(struct jwt_keys *was, struct jwt_keys *is)
{
	bool changed = !was || was->n != is->n;

	for (uint32_t i = 0; was && i < was->n; i++) {
		struct jwt_key *old = was->v[i];
		uint32_t at = 0;

		while (at < is->n && (old->bad != JWT_OK || is->v[at]->bad != JWT_OK ||
		    memcmp(is->v[at]->print, old->print, JWT_PRINT) || !old->kid != !is->v[at]->kid ||
		    (old->kid && strcmp(old->kid, is->v[at]->kid))))
			at++;
		if (at < is->n) {
			jwt_key_unref(is->v[at]);
			is->v[at] = jwt_key_ref(old);
		} else if (old->bad == JWT_OK) {
			atomic_store(&old->retired, true);
			changed = true;
		}
	}
	jwt_keys_free(was);
	return changed;
}
