/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_key: a key is parsed once, and bound to the algs that it verifies. */
#include <config.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"

#define PART_MAX 2048u /* bytes of one number or coordinate */

/* ---- life ---- */

static struct jwt_key *key_new(void)
{
	struct jwt_key *k = calloc(1, sizeof *k);

	if (k)
		atomic_init(&k->refs, 1);
	return k;
}

struct jwt_key *jwt_key_ref(struct jwt_key *k)
{
	atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
	return k;
}

void jwt_key_unref(struct jwt_key *k)
{
	if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
		return;
	EVP_PKEY_free(k->pkey);
	if (k->secret)
		explicit_bzero(k->secret, k->nsecret);
	free(k->secret);
	free(k->kid);
	free(k);
}

/* ---- what may be used for what ---- */

static uint32_t curve_alg(const char *curve)
{
	for (int i = 0; i < ALG_COUNT; i++)
		if (jwt_algs[i].curve && !strcmp(jwt_algs[i].curve, curve))
			return ALG_BIT(i);
	return 0;
}

/* The algs of this family that a secret of n bytes is long enough for. */
static uint32_t long_enough(uint32_t algs, size_t n)
{
	for (int i = 0; i < ALG_COUNT; i++)
		if (jwt_algs[i].family == FAMILY_HMAC && n < jwt_algs[i].hash_len)
			algs &= ~ALG_BIT(i);
	return algs;
}

static void print_key(struct jwt_key *k)
{
	uint8_t *der = NULL;
	int n = k->pkey ? i2d_PUBKEY(k->pkey, &der) : 0;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) &&
	    EVP_DigestUpdate(ctx, &k->algs, sizeof k->algs) &&
	    (n <= 0 || EVP_DigestUpdate(ctx, der, (size_t)n)) &&
	    (!k->secret || EVP_DigestUpdate(ctx, k->secret, k->nsecret)) &&
	    EVP_DigestFinal_ex(ctx, k->print, NULL);

	if (!ok) /* without a print it equals no other key: tokens are verified again, nothing worse */
		k->bad = JWT_NO_MEMORY;
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
}

/* A public key of whatever origin: its strength, and the algs that go with its type. */
static void settle(struct jwt_key *k, const struct jwt_pins *pins)
{
	char group[32] = "";
	int bits = EVP_PKEY_get_bits(k->pkey);

	switch (EVP_PKEY_get_base_id(k->pkey)) {
	case EVP_PKEY_RSA:
		k->algs = pins->rsa;
		if (bits < JWT_RSA_MIN_BITS)
			k->bad = JWT_KEY_WEAK;
		else if (bits > JWT_RSA_MAX_BITS)
			k->bad = JWT_KEY_BAD;
		break;
	case EVP_PKEY_RSA_PSS:
		k->algs = pins->rsa & jwt_family_algs(FAMILY_PSS);
		if (bits < JWT_RSA_MIN_BITS)
			k->bad = JWT_KEY_WEAK;
		else if (bits > JWT_RSA_MAX_BITS || !k->algs)
			k->bad = JWT_KEY_BAD;
		break;
	case EVP_PKEY_EC:
		EVP_PKEY_get_group_name(k->pkey, group, sizeof group, NULL);
		k->algs = curve_alg(!strcmp(group, "prime256v1") ? "P-256" : !strcmp(group, "secp384r1") ? "P-384" :
		    !strcmp(group, "secp521r1") ? "P-521" : "");
		if (!k->algs)
			k->bad = JWT_KEY_CURVE;
		break;
	case EVP_PKEY_ED25519:
	case EVP_PKEY_ED448:
		k->algs = ALG_BIT(ALG_EDDSA);
		break;
	default:
		k->bad = JWT_KEY_BAD;
	}
}

/* ---- JWK ---- */

/* A member that is base64url: at most PART_MAX bytes.  -1: it is not there, or not that. */
static int part(const json_t *jwk, const char *name, uint8_t *out)
{
	const json_t *v = json_object_get(jwk, name);
	size_t n = json_string_length(v), len;

	if (!json_is_string(v) || n == 0 || n / 4 * 3 + 3 > PART_MAX ||
	    jwt_base64(json_string_value(v), n, out, &len) != JWT_OK)
		return -1;
	return (int)len;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *bld)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *k = NULL;

	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &k, EVP_PKEY_PUBLIC_KEY, params) != 1)
		k = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return k;
}

static void read_rsa(struct jwt_key *k, const json_t *jwk)
{
	uint8_t mem[PART_MAX];
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	int n = part(jwk, "n", mem);
	BIGNUM *modulus = n > 0 ? BN_bin2bn(mem, n, NULL) : NULL, *e = NULL;

	n = part(jwk, "e", mem);
	e = n > 0 ? BN_bin2bn(mem, n, NULL) : NULL;
	/* Even numbers, and an exponent of 1, make any signature good. */
	if (bld && modulus && e && BN_is_odd(modulus) && BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= 64 &&
	    BN_num_bits(modulus) <= JWT_RSA_MAX_BITS && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, modulus) &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e))
		k->pkey = from_params("RSA", bld);
	BN_free(modulus);
	BN_free(e);
	OSSL_PARAM_BLD_free(bld);
}

static void read_ec(struct jwt_key *k, const json_t *jwk)
{
	static const struct { const char *curve, *group; int size; } known[] = {
		{ "P-256", "prime256v1", 32 }, { "P-384", "secp384r1", 48 }, { "P-521", "secp521r1", 66 },
	};
	const char *curve = json_string_value(json_object_get(jwk, "crv"));
	uint8_t point[1 + 2 * 66], mem[PART_MAX];
	OSSL_PARAM_BLD *bld;
	size_t i = 0;

	while (curve && i < 3 && strcmp(known[i].curve, curve))
		i++;
	if (!curve || i == 3) {
		k->bad = curve ? JWT_KEY_CURVE : JWT_KEY_BAD;
		return;
	}
	point[0] = 4; /* uncompressed; OpenSSL refuses one that is not on the curve */
	if (part(jwk, "x", mem) != known[i].size)
		return;
	memcpy(point + 1, mem, (size_t)known[i].size);
	if (part(jwk, "y", mem) != known[i].size)
		return;
	memcpy(point + 1 + known[i].size, mem, (size_t)known[i].size);
	bld = OSSL_PARAM_BLD_new();
	if (bld && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, known[i].group, 0) &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * (size_t)known[i].size))
		k->pkey = from_params("EC", bld);
	OSSL_PARAM_BLD_free(bld);
}

static void read_okp(struct jwt_key *k, const json_t *jwk)
{
	const char *curve = json_string_value(json_object_get(jwk, "crv"));
	uint8_t mem[PART_MAX];
	int n = part(jwk, "x", mem);

	if (!curve)
		return;
	if (strcmp(curve, "Ed25519") && strcmp(curve, "Ed448"))
		k->bad = JWT_KEY_CURVE;
	else if (n == (curve[2] == '2' ? 32 : 57))
		k->pkey = EVP_PKEY_new_raw_public_key_ex(NULL, curve, NULL, mem, (size_t)n);
}

static void read_oct(struct jwt_key *k, const json_t *jwk, const struct jwt_pins *pins, bool local)
{
	uint8_t mem[PART_MAX];
	int n;

	if (!local) {
		k->bad = JWT_KEY_SYMMETRIC;
		return;
	}
	n = part(jwk, "k", mem);
	k->secret = n > 0 ? malloc((size_t)n) : NULL;
	if (k->secret) {
		memcpy(k->secret, mem, (size_t)n);
		k->nsecret = (size_t)n;
		k->algs = pins->secret;
	}
	explicit_bzero(mem, sizeof mem);
}

/* Is text v (or, in a list, one of it) word?  Absent is yes. */
static bool says(const json_t *v, const char *word)
{
	const json_t *item;
	size_t i;

	if (json_is_string(v))
		return !strcmp(json_string_value(v), word);
	json_array_foreach(v, i, item)
		if (json_is_string(item) && !strcmp(json_string_value(item), word))
			return true;
	return !v;
}

/* alg, if the key has one, is the only one that it is for, and one that its type can do. */
static void pin(struct jwt_key *k, const json_t *jwk, const char *kty)
{
	const json_t *v = json_object_get(jwk, "alg");
	int alg = json_is_string(v) ? jwt_alg_find(json_string_value(v)) : -1;
	bool rsa = !strcmp(kty, "RSA"), curve = !strcmp(kty, "EC");

	if (v) {
		uint32_t could = rsa ? jwt_family_algs(FAMILY_RSA) | jwt_family_algs(FAMILY_PSS) :
		    k->secret ? JWT_ALGS_SECRET : k->algs;

		if (alg < 0 || !(could & ALG_BIT(alg)))
			k->bad = alg >= 0 && curve && jwt_algs[alg].family == FAMILY_EC ? JWT_KEY_CURVE : JWT_KEY_BAD;
		else
			k->algs = ALG_BIT(alg);
	}
	if (k->bad == JWT_OK && k->secret) {
		k->algs = long_enough(k->algs, k->nsecret);
		if (!k->algs)
			k->bad = JWT_KEY_WEAK;
	}
}

static bool take_kid(struct jwt_key *k, const json_t *v)
{
	size_t n = json_string_length(v);

	if (!v)
		return true;
	if (!json_is_string(v) || n == 0 || n > JWT_KID_MAX)
		return false;
	k->kid = strdup(json_string_value(v));
	return k->kid;
}

struct jwt_key *jwt_key_jwk(const json_t *jwk, const struct jwt_pins *pins, bool local)
{
	const char *kty = json_string_value(json_object_get(jwk, "kty"));
	struct jwt_key *k = key_new();

	if (!k)
		return NULL;
	if (!take_kid(k, json_object_get(jwk, "kid")) || !kty || (json_object_get(jwk, "d") && strcmp(kty, "oct"))) {
		k->bad = JWT_KEY_BAD; /* "d": a private key, which nobody should have published */
		return k;
	}
	if (!says(json_object_get(jwk, "use"), "sig") || !says(json_object_get(jwk, "key_ops"), "verify")) {
		k->bad = JWT_KEY_USE;
		return k;
	}
	if (!strcmp(kty, "RSA"))
		read_rsa(k, jwk);
	else if (!strcmp(kty, "EC"))
		read_ec(k, jwk);
	else if (!strcmp(kty, "OKP"))
		read_okp(k, jwk);
	else if (!strcmp(kty, "oct"))
		read_oct(k, jwk, pins, local);
	if (k->pkey)
		settle(k, pins);
	else if (!k->secret && k->bad == JWT_OK)
		k->bad = JWT_KEY_BAD;
	if (k->bad == JWT_OK)
		pin(k, jwk, kty);
	if (k->bad == JWT_OK)
		print_key(k);
	ERR_clear_error();
	return k;
}

/* ---- PEM, secrets ---- */

struct jwt_key *jwt_key_pem(const char *text, size_t n, const struct jwt_pins *pins)
{
	struct jwt_key *k = key_new();
	BIO *in = BIO_new_mem_buf(text, (int)n);
	X509 *cert = NULL;

	if (!k || !in) {
		jwt_key_unref(k);
		BIO_free(in);
		return NULL;
	}
	if (!memmem(text, n, "PRIVATE KEY-----", 16)) {
		k->pkey = PEM_read_bio_PUBKEY(in, NULL, NULL, NULL);
		if (!k->pkey && BIO_reset(in) == 1 && (cert = PEM_read_bio_X509(in, NULL, NULL, NULL)))
			k->pkey = X509_get_pubkey(cert);
	}
	X509_free(cert);
	BIO_free(in);
	if (k->pkey)
		settle(k, pins);
	else
		k->bad = JWT_KEY_BAD;
	if (k->bad == JWT_OK)
		print_key(k);
	ERR_clear_error();
	return k;
}

struct jwt_key *jwt_key_secret(const void *p, size_t n, uint32_t algs)
{
	struct jwt_key *k = key_new();

	if (!k)
		return NULL;
	k->secret = malloc(n ? n : 1);
	if (!k->secret) {
		jwt_key_unref(k);
		return NULL;
	}
	memcpy(k->secret, p, n);
	k->nsecret = n;
	k->algs = long_enough(algs & JWT_ALGS_SECRET, n);
	if (!k->algs)
		k->bad = JWT_KEY_WEAK;
	else
		print_key(k);
	return k;
}
