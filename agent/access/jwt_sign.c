/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_sign: the algorithms, and whether a signature is one. */
#include <config.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <string.h>
#include "access/jwt_priv.h"

const struct jwt_alg_row jwt_algs[ALG_COUNT] = {
	[ALG_HS256] = { "HS256", FAMILY_HMAC, "SHA256", 32, NULL },
	[ALG_HS384] = { "HS384", FAMILY_HMAC, "SHA384", 48, NULL },
	[ALG_HS512] = { "HS512", FAMILY_HMAC, "SHA512", 64, NULL },
	[ALG_RS256] = { "RS256", FAMILY_RSA, "SHA256", 32, NULL },
	[ALG_RS384] = { "RS384", FAMILY_RSA, "SHA384", 48, NULL },
	[ALG_RS512] = { "RS512", FAMILY_RSA, "SHA512", 64, NULL },
	[ALG_PS256] = { "PS256", FAMILY_PSS, "SHA256", 32, NULL },
	[ALG_PS384] = { "PS384", FAMILY_PSS, "SHA384", 48, NULL },
	[ALG_PS512] = { "PS512", FAMILY_PSS, "SHA512", 64, NULL },
	[ALG_ES256] = { "ES256", FAMILY_EC, "SHA256", 32, "P-256" },
	[ALG_ES384] = { "ES384", FAMILY_EC, "SHA384", 48, "P-384" },
	[ALG_ES512] = { "ES512", FAMILY_EC, "SHA512", 64, "P-521" },
	[ALG_EDDSA] = { "EdDSA", FAMILY_ED, NULL, 0, NULL },
};

int jwt_alg_find(const char *name)
{
	for (int i = 0; i < ALG_COUNT; i++)
		if (!strcmp(jwt_algs[i].name, name))
			return i;
	return -1;
}

uint32_t jwt_family_algs(enum jwt_family f)
{
	uint32_t bits = 0;

	for (int i = 0; i < ALG_COUNT; i++)
		if (jwt_algs[i].family == f)
			bits |= ALG_BIT(i);
	return bits;
}

static enum jwt_reason verify_secret(const struct jwt_key *k, const struct jwt_alg_row *row,
    const uint8_t *data, size_t n, const uint8_t *sig, size_t nsig)
{
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	bool same;

	if (nsig != row->hash_len)
		return JWT_SIGNATURE_LENGTH;
	if (!HMAC(EVP_get_digestbyname(row->hash), k->secret, (int)k->nsecret, data, n, mac, &len))
		return JWT_NO_MEMORY;
	same = len == nsig && CRYPTO_memcmp(mac, sig, nsig) == 0;
	OPENSSL_cleanse(mac, sizeof mac);
	return same ? JWT_OK : JWT_SIGNATURE;
}

/* r and s, each as long as the curve's field, become the DER that OpenSSL wants.  0: no memory. */
static int der_of(const uint8_t *sig, size_t half, uint8_t **der)
{
	ECDSA_SIG *es = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig, (int)half, NULL), *s = BN_bin2bn(sig + half, (int)half, NULL);
	int n = 0;

	*der = NULL;
	if (es && r && s && ECDSA_SIG_set0(es, r, s)) {
		n = i2d_ECDSA_SIG(es, der);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(es);
	return n > 0 ? n : 0;
}

static bool wanted_length(const struct jwt_key *k, const struct jwt_alg_row *row, size_t nsig)
{
	int bits = EVP_PKEY_get_bits(k->pkey);

	switch (row->family) {
	case FAMILY_RSA:
	case FAMILY_PSS:
		return nsig == (size_t)EVP_PKEY_get_size(k->pkey);
	case FAMILY_EC:
		return nsig == 2 * (((size_t)bits + 7) / 8);
	default:
		return nsig == (size_t)EVP_PKEY_get_size(k->pkey); /* Ed25519 64, Ed448 114 */
	}
}

static enum jwt_reason verify_public(const struct jwt_key *k, const struct jwt_alg_row *row,
    const uint8_t *data, size_t n, const uint8_t *sig, size_t nsig)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	int rc = ctx && EVP_DigestVerifyInit_ex(ctx, &pctx, row->hash, NULL, NULL, k->pkey, NULL) == 1;

	if (rc && row->family == FAMILY_RSA)
		rc = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PADDING) > 0;
	if (rc && row->family == FAMILY_PSS)
		rc = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0 &&
		    EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) > 0;
	/* Whatever else goes wrong (a PSS key with parameters of its own, an s of 0) is no signature. */
	rc = rc && EVP_DigestVerify(ctx, sig, nsig, data, n) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return !ctx ? JWT_NO_MEMORY : rc ? JWT_OK : JWT_SIGNATURE;
}

enum jwt_reason jwt_key_verify(const struct jwt_key *k, enum jwt_alg alg, const uint8_t *data, size_t n,
    const uint8_t *sig, size_t nsig)
{
	const struct jwt_alg_row *row = &jwt_algs[alg];
	enum jwt_reason r;
	uint8_t *der;
	int len;

	if (k->bad != JWT_OK)
		return k->bad;
	if (!(k->algs & ALG_BIT(alg)))
		return JWT_ALG_OF_KEY;
	if (row->family == FAMILY_HMAC)
		return k->secret ? verify_secret(k, row, data, n, sig, nsig) : JWT_ALG_OF_KEY;
	if (!k->pkey)
		return JWT_ALG_OF_KEY;
	if (!wanted_length(k, row, nsig))
		return JWT_SIGNATURE_LENGTH;
	if (row->family != FAMILY_EC)
		return verify_public(k, row, data, n, sig, nsig);
	len = der_of(sig, nsig / 2, &der);
	if (!len)
		return JWT_NO_MEMORY;
	r = verify_public(k, row, data, n, der, (size_t)len);
	OPENSSL_free(der);
	return r;
}
