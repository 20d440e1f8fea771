/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_token: three parts, a header that asks for nothing strange, and claims that are one object. */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "access/jwt_priv.h"

/* ---- JSON, strictly ---- */

/* bad, twice: what to say of text that is no object, and of a name that stands there twice. */
static enum jwt_reason read_json(const uint8_t *p, size_t n, enum jwt_reason bad, enum jwt_reason twice,
    json_t **out)
{
	json_error_t e;

	*out = NULL;
	if (memchr(p, 0, n))
		return JWT_NUL;
	*out = json_loadb((const char *)p, n, JSON_REJECT_DUPLICATES, &e);
	if (json_is_object(*out))
		return JWT_OK;
	if (*out) {
		json_decref(*out);
		*out = NULL;
		return bad;
	}
	switch (json_error_code(&e)) {
	case json_error_duplicate_key:
		return twice;
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return JWT_NUL;
	case json_error_numeric_overflow:
		return JWT_NUMBER;
	case json_error_out_of_memory:
		return JWT_NO_MEMORY;
	default:
		return bad;
	}
}

enum jwt_reason jwt_claims_json(const uint8_t *payload, size_t n, json_t **out)
{
	*out = NULL;
	if (n >= 3 && !memcmp(payload, "eyJ", 3))
		return JWT_NESTED;
	return read_json(payload, n, JWT_CLAIMS_JSON, JWT_CLAIMS_DUPLICATE, out);
}

/* ---- the header ---- */

static bool one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (!strcasecmp(text, *words))
			return true;
	return false;
}

static enum jwt_reason read_alg(struct jwt_token *t)
{
	const char *name = json_string_value(json_object_get(t->header, "alg"));
	int alg;

	if (!name)
		return JWT_ALG_MISSING;
	if (!strcasecmp(name, "none") || !*name)
		return JWT_ALG_NONE;
	alg = jwt_alg_find(name);
	if (alg < 0)
		return JWT_ALG_UNKNOWN;
	t->alg = (enum jwt_alg)alg;
	return JWT_OK;
}

static enum jwt_reason read_kid(struct jwt_token *t)
{
	const json_t *v = json_object_get(t->header, "kid");
	size_t n = json_string_length(v);

	if (!v)
		return JWT_OK;
	if (!json_is_string(v) || n == 0 || n > JWT_KID_MAX)
		return JWT_KID_FORM;
	t->kid = json_string_value(v);
	for (const char *c = t->kid; *c; c++)
		if (*c < ' ' || *c > '~')
			return JWT_KID_FORM;
	return JWT_OK;
}

static enum jwt_reason read_header(struct jwt_token *t)
{
	static const char *const keys[] = { "jwk", "jku", "x5c", "x5u" };
	static const char *const types[] = { "JWT", "at+jwt", "application/jwt", "application/at+jwt", NULL };
	const json_t *h = t->header, *typ = json_object_get(h, "typ"), *cty = json_object_get(h, "cty");
	enum jwt_reason r = read_alg(t);

	if (r != JWT_OK)
		return r;
	if (json_object_get(h, "enc"))
		return JWT_ENCRYPTED;
	if (json_object_get(h, "b64"))
		return JWT_B64;
	if (json_object_get(h, "crit"))
		return JWT_CRIT;
	if (json_object_get(h, "zip"))
		return JWT_COMPRESSED;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (json_object_get(h, keys[i]))
			return JWT_KEY_IN_HEADER;
	if (typ && (!json_is_string(typ) || !one_of(json_string_value(typ), types)))
		return JWT_TYP;
	if (cty && (!json_is_string(cty) || one_of(json_string_value(cty), types)))
		return JWT_NESTED;
	return read_kid(t);
}

/* ---- the whole ---- */

static enum jwt_reason split(const char *p, size_t n, size_t *first, size_t *second)
{
	const char *a = memchr(p, '.', n), *b = a ? memchr(a + 1, '.', n - (size_t)(a + 1 - p)) : NULL;
	size_t dots = 0;

	if (!b)
		return JWT_FORM;
	for (size_t i = 0; i < n; i++)
		dots += p[i] == '.';
	if (dots != 2)
		return dots == 4 ? JWT_ENCRYPTED : JWT_FORM;
	*first = (size_t)(a - p);
	*second = (size_t)(b - p);
	return JWT_OK;
}

static enum jwt_reason read_parts(struct jwt_token *t, const char *p, size_t n)
{
	size_t a, b, nheader = 0;
	uint8_t *at = t->mem;
	enum jwt_reason r = split(p, n, &a, &b);

	if (r == JWT_OK && (a == 0 || b == a + 1))
		r = JWT_FORM; /* an empty signature is a matter of its alg */
	if (r == JWT_OK)
		r = jwt_base64(p, a, at, &nheader);
	if (r == JWT_OK)
		r = read_json(at, nheader, JWT_HEADER_JSON, JWT_HEADER_DUPLICATE, &t->header);
	if (r == JWT_OK)
		r = read_header(t);
	if (r != JWT_OK)
		return r;
	at += nheader;
	t->payload = at;
	r = jwt_base64(p + a + 1, b - a - 1, at, &t->npayload);
	if (r != JWT_OK)
		return r;
	at += t->npayload;
	t->sig = at;
	r = jwt_base64(p + b + 1, n - b - 1, at, &t->nsig);
	t->nsigned = b;
	return r == JWT_OK ? jwt_claims_json(t->payload, t->npayload, &t->claims) : r;
}

enum jwt_reason jwt_token_read(struct jwt_token *t, const void *token, size_t n)
{
	enum jwt_reason r;

	memset(t, 0, sizeof *t);
	if (n > JWT_TOKEN_MAX)
		return JWT_TOO_LARGE;
	t->mem = malloc(n / 4 * 3 + 12);
	if (!t->mem)
		return JWT_NO_MEMORY;
	t->text = token;
	r = read_parts(t, token, n);
	if (r != JWT_OK)
		jwt_token_free(t);
	return r;
}

void jwt_token_free(struct jwt_token *t)
{
	json_decref(t->header);
	json_decref(t->claims);
	free(t->mem);
	memset(t, 0, sizeof *t);
}

bool jwt_looks_like(const void *token, size_t n)
{
	const char *p = token;
	size_t dots = 0;

	for (size_t i = 0; i < n && i <= JWT_TOKEN_MAX; i++)
		dots += p[i] == '.';
	return n > 3 && !memcmp(p, "eyJ", 3) && dots >= 2;
}
