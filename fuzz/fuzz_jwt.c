/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever somebody presents as a token, and whatever an issuer publishes as its keys.  The first byte
 * says which: k, a key set; c, claims as if they were signed; else a token, judged against keys of which
 * nobody has the private half, so it must never be good.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"
#include "base/buf.h"
#include "config/cfg.h"

#define NOW_MS UINT64_C(2000000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct jwt_pins pins = { .rsa = ALG_BIT(ALG_RS256), .secret = ALG_BIT(ALG_HS256) };

static const char published[] = "{\"keys\":[{\"kty\":\"EC\",\"kid\":\"a\",\"crv\":\"P-256\","
    "\"x\":\"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\",\"y\":\"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"},"
    "{\"kty\":\"OKP\",\"kid\":\"b\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

static int no_schema(void *arg, const char *plugin, const char *dir, const purser_key **keys, uint32_t *n,
    uint32_t *stride, char *why, size_t len)
{
	(void)arg, (void)plugin, (void)dir, (void)why, (void)len;
	*keys = NULL;
	*n = 0;
	*stride = sizeof(purser_key);
	return 0;
}

static struct jwt_policy *policy(void)
{
	static const char *const sets[] = { "backend main.plugin=memory", "jwt main.issuer=i", "jwt main.audience=purser",
		"jwt main.jwks_url=https://i/", "jwt main.project_claim=/a/b", "jwt main.map=w=writer,x=redis:read",
		"jwt main.claims=scope /r/s", "jwt main.max_lifetime=1h" };
	struct cfg_inputs in = { .system_path = "/nowhere", .sets = sets, .nsets = 8, .schema = no_schema, .generation = 1 };
	struct cfg_errors e = { 0 };
	struct buf why = { .max = 4096 };
	struct jwt_policy *p = NULL;
	struct cfg *c = NULL;

	if (cfg_load(&in, &c, &e) || jwt_policy_new(c, &p, &why))
		abort();
	cfg_unref(c);
	cfg_errors_free(&e);
	return p;
}

static enum jwt_reason try(void *arg, const struct jwt_provider *v, const struct jwt_token *t, const struct jwt_key **key)
{
	(void)v;
	return jwt_keys_try(arg, t, key);
}

static void claims(const struct jwt_policy *p, const struct jwt_keys *keys, const uint8_t *data, size_t size)
{
	json_t *json = NULL;
	const struct jwt_provider *v;
	struct jwt_claims *c = NULL, *again = NULL;

	if (jwt_claims_json(data, size, &json) == JWT_OK && jwt_policy_find(p, json, &v) == JWT_OK &&
	    jwt_claims_make(p, v, json, &(struct jwt_signed){ keys->v[0], ALG_ES256, data, size }, NOW_MS, &c) == JWT_OK) {
		if (!c->nprojects || c->nprojects > JWT_PROJECTS_MAX || (!c->nroles && !c->perms) || c->expires_ms <= NOW_MS ||
		    jwt_again(p, c, NOW_MS, &again) != JWT_OK)
			abort();
		jwt_claims_unref(again);
	}
	jwt_claims_unref(c);
	json_decref(json);
}

static void token(const struct jwt_policy *p, const struct jwt_keys *keys, const uint8_t *data, size_t size)
{
	const char *provider = "";
	struct jwt_claims *c = NULL;
	struct jwt_token t;

	(void)jwt_looks_like(data, size);
	if (jwt_token_read(&t, data, size) != JWT_OK)
		return;
	if (jwt_judge(p, &t, try, (void *)(uintptr_t)keys, NOW_MS, &provider, &c) == JWT_OK)
		abort();
	jwt_token_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct jwt_policy *p;
	static struct jwt_keys *keys;
	char why[160];

	if (!p) {
		p = policy();
		keys = jwt_keys_read(published, strlen(published), &pins, false, why, sizeof why);
		if (!keys)
			abort();
	}
	if (size && *data == 'k')
		jwt_keys_free(jwt_keys_read((const char *)data + 1, size - 1, &pins, size & 1, why, sizeof why));
	else if (size && *data == 'c')
		claims(p, keys, data + 1, size - 1);
	else
		token(p, keys, data, size);
	return 0;
}
