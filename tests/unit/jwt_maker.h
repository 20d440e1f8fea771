/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of tokens share: keys made on the spot, what an issuer publishes of them, and tokens
 * signed by them, good and bad.  Made by OpenSSL and printf alone, so that no code is tested by itself.
 */
#ifndef JWT_MAKER_H
#define JWT_MAKER_H
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mk_how { MK_NONE, MK_HMAC, MK_PKCS, MK_PSS, MK_EC, MK_ED };

/* base64url without padding, NUL-terminated; its length. */
static inline size_t mk_base64(char *out, const void *p, size_t n)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *b = p;
	size_t at = 0;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0);

		for (size_t k = 0; k < 4 && k < n - i + 1; k++)
			out[at++] = set[v >> (18 - 6 * k) & 63];
	}
	out[at] = '\0';
	return at;
}

static inline EVP_PKEY *mk_rsa(unsigned bits)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
}

static inline EVP_PKEY *mk_ec(const char *group)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, "EC", group);
}

static inline EVP_PKEY *mk_ed(const char *type)
{
	return EVP_PKEY_Q_keygen(NULL, NULL, type);
}

static inline size_t mk_bn(char *out, EVP_PKEY *k, const char *param, size_t size)
{
	uint8_t mem[2048];
	BIGNUM *n = NULL;
	size_t len;

	if (EVP_PKEY_get_bn_param(k, param, &n) != 1)
		abort();
	len = size ? size : (size_t)BN_num_bytes(n);
	BN_bn2binpad(n, mem, (int)len);
	BN_free(n);
	return mk_base64(out, mem, len);
}

/* The JWK of k's public half; more: further members, as ",\"alg\":\"RS256\"". */
static inline char *mk_jwk(char *out, size_t cap, EVP_PKEY *k, const char *kid, const char *more)
{
	char a[2800], b[2800], group[64] = "";
	const char *type = EVP_PKEY_get0_type_name(k);

	if (!strcmp(type, "RSA")) {
		mk_bn(a, k, OSSL_PKEY_PARAM_RSA_N, 0);
		mk_bn(b, k, OSSL_PKEY_PARAM_RSA_E, 0);
		snprintf(out, cap, "{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"%s}", kid, a, b, more);
	} else if (!strcmp(type, "EC")) {
		size_t size = ((size_t)EVP_PKEY_get_bits(k) + 7) / 8;

		EVP_PKEY_get_group_name(k, group, sizeof group, NULL);
		mk_bn(a, k, OSSL_PKEY_PARAM_EC_PUB_X, size);
		mk_bn(b, k, OSSL_PKEY_PARAM_EC_PUB_Y, size);
		snprintf(out, cap, "{\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}", kid,
		    !strcmp(group, "prime256v1") ? "P-256" : !strcmp(group, "secp384r1") ? "P-384" :
		    !strcmp(group, "secp521r1") ? "P-521" : group, a, b, more);
	} else {
		uint8_t raw[64];
		size_t n = sizeof raw;

		EVP_PKEY_get_raw_public_key(k, raw, &n);
		mk_base64(a, raw, n);
		snprintf(out, cap, "{\"kty\":\"OKP\",\"kid\":\"%s\",\"crv\":\"%s\",\"x\":\"%s\"%s}", kid,
		    n == 32 ? "Ed25519" : "Ed448", a, more);
	}
	return out;
}

/* The raw r || s of JWS out of DER. */
static inline size_t mk_raw(uint8_t *sig, size_t n, size_t half)
{
	const uint8_t *p = sig;
	ECDSA_SIG *es = d2i_ECDSA_SIG(NULL, &p, (long)n);
	uint8_t raw[132];

	BN_bn2binpad(ECDSA_SIG_get0_r(es), raw, (int)half);
	BN_bn2binpad(ECDSA_SIG_get0_s(es), raw + half, (int)half);
	ECDSA_SIG_free(es);
	memcpy(sig, raw, 2 * half);
	return 2 * half;
}

static inline size_t mk_sign(uint8_t *sig, size_t cap, const char *text, size_t n, enum mk_how how, const char *hash,
	EVP_PKEY *k, const void *secret, size_t nsecret)
{
	EVP_MD_CTX *ctx;
	EVP_PKEY_CTX *pctx;
	size_t len = cap;
	unsigned maclen = 0;

	if (how == MK_NONE)
		return 0;
	if (how == MK_HMAC) {
		HMAC(EVP_get_digestbyname(hash), secret, (int)nsecret, (const uint8_t *)text, n, sig, &maclen);
		return maclen;
	}
	ctx = EVP_MD_CTX_new();
	if (EVP_DigestSignInit_ex(ctx, &pctx, how == MK_ED ? NULL : hash, NULL, NULL, k, NULL) != 1)
		abort();
	if (how == MK_PSS) {
		EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST);
	}
	if (EVP_DigestSign(ctx, sig, &len, (const uint8_t *)text, n) != 1)
		abort();
	EVP_MD_CTX_free(ctx);
	return how == MK_EC ? mk_raw(sig, len, ((size_t)EVP_PKEY_get_bits(k) + 7) / 8) : len;
}

/* header.claims.signature; its length. */
static inline size_t mk_token(char *out, const char *header, const char *claims, enum mk_how how, const char *hash,
	EVP_PKEY *k, const void *secret, size_t nsecret)
{
	uint8_t sig[1100];
	size_t n = mk_base64(out, header, strlen(header));

	out[n++] = '.';
	n += mk_base64(out + n, claims, strlen(claims));
	size_t len = mk_sign(sig, sizeof sig, out, n, how, hash, k, secret, nsecret);

	out[n++] = '.';
	return n + mk_base64(out + n, sig, len);
}
#endif
