/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt: good tokens of each alg, and the hostile table: each refused, and for its own reason.  The
 * policy comes from an INI, the keys from a set as an issuer publishes it; time is given. */
#include <config.h>
#include "config_fixture.h"
#include "access/access.h"
#include "access/jwt_priv.h"
#include "base/buf.h"
#include "jwt_maker.h"

#define NOW_S 2000000000
#define NOW_MS (UINT64_C(1000) * NOW_S)
#define ISS "https://id.example"
#define BASE "\"iss\":\"" ISS "\",\"aud\":\"purser\",\"sub\":\"u1\",\"project\":\"shop\",\"scope\":\"openid kv:write\""
#define TIMES "\"iat\":2000000000,\"exp\":2000000300"
#define GOOD "{" BASE "," TIMES "}"
#define WITH(more) "{" BASE "," TIMES "," more "}"

static const char ini[] = "[backend main]\nplugin = memory\n"
    "[role app]\npermissions = redis:read\n[project a]\n[project b]\n"
    "[jwt main]\nissuer = " ISS "\naudience = purser store\njwks_url = https://id.example/keys\n"
    "project_claim = project\nmap = kv:write=writer,kv:read=reader,app=app,reads=redis:read,says=pubsub\n"
    "[jwt partner]\nissuer = " ISS "\naudience = partner\njwks_url = https://id.example/keys\n"
    "algorithms = RS256 ES256\nauthorized_parties = web phone\nproject = *\nmax_lifetime = 10m\nrole = reader\n"
    "clock_skew = 0s\n"
    "[jwt plain]\nissuer = plain\naudience = purser\njwks_url = https://id.example/keys\nproject = a b\n"
    "[jwt deep]\nissuer = deep\naudience = purser\njwks_url = https://id.example/keys\n"
    "project_claim = /x~1y/project\nproject = a b\nclaims = /realm_access/roles\nmap = boss=admin\n";

static struct {
	EVP_PKEY *rsa, *pss, *other, *weak, *p256, *p384, *p521, *k1, *ed, *ed448;
} key;
static struct jwt_policy *policy;
static struct jwt_keys *published;
static char rsa_pem[4096];

static const struct jwt_pins pins = { .rsa = ALG_BIT(ALG_RS256), .secret = ALG_BIT(ALG_HS256) };

static char *add(char *at, EVP_PKEY *k, const char *kid, const char *more)
{
	mk_jwk(at, 8000, k, kid, more);
	return at + strlen(at);
}

static void publish(void)
{
	static char set[65536];
	char *at = set, *const end = set + sizeof set, why[256];
	char p384[2000];

	at += snprintf(at, (size_t)(end - at), "{\"keys\":[");
	at = add(at, key.rsa, "rs", ",\"alg\":\"RS256\",\"use\":\"sig\""), *at++ = ',';
	at = add(at, key.rsa, "rs512", ",\"alg\":\"RS512\""), *at++ = ',';
	at = add(at, key.other, "bare", ""), *at++ = ',';
	at = add(at, key.pss, "ps", ",\"alg\":\"PS256\",\"key_ops\":[\"verify\"]"), *at++ = ',';
	at = add(at, key.pss, "ps512", ",\"alg\":\"PS512\""), *at++ = ',';
	at = add(at, key.p256, "es", ",\"alg\":\"ES256\""), *at++ = ',';
	at = add(at, key.p384, "es384", ""), *at++ = ',';
	at = add(at, key.p521, "es512", ""), *at++ = ',';
	at = add(at, key.ed, "ed", ""), *at++ = ',';
	at = add(at, key.ed448, "ed448", ",\"alg\":\"EdDSA\""), *at++ = ',';
	at = add(at, key.weak, "weak", ",\"alg\":\"RS256\""), *at++ = ',';
	at = add(at, key.k1, "koblitz", ""), *at++ = ',';
	at = add(at, key.p384, "crossed", ",\"alg\":\"ES256\""), *at++ = ',';
	at = add(at, key.rsa, "encrypts", ",\"use\":\"enc\""), *at++ = ',';
	at = add(at, key.rsa, "signs", ",\"key_ops\":[\"sign\"]"), *at++ = ',';
	at = add(at, key.rsa, "private", ",\"d\":\"AQAB\""), *at++ = ',';
	at = add(at, key.rsa, "alien", ",\"alg\":\"RS1\""), *at++ = ',';
	mk_jwk(p384, sizeof p384, key.p384, "off", ""); /* its numbers are no point of P-256 */
	memcpy(strstr(p384, "P-384"), "P-256", 5);
	at += snprintf(at, (size_t)(end - at), "%s,", p384);
	at += snprintf(at, (size_t)(end - at), "{\"kty\":\"RSA\",\"kid\":\"one\",\"n\":\"%0400d\",\"e\":\"AQ\"},", 7);
	at += snprintf(at, (size_t)(end - at), "{\"kty\":\"oct\",\"kid\":\"hs\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"},");
	at += snprintf(at, (size_t)(end - at), "{\"kty\":\"RSA\",\"kid\":\"empty\"},{\"kid\":\"nothing\"},7]}");
	published = jwt_keys_read(set, (size_t)(at - set), &pins, false, why, sizeof why);
	if (!published)
		fail_msg("%s", why);
}

static int setup(void **state)
{
	struct buf why = { .max = 4096 };
	struct cfg *c;
	BIO *out = BIO_new(BIO_s_mem());
	int n;

	if (fix_setup(state))
		return -1;
	key.rsa = mk_rsa(2048);
	key.pss = mk_rsa(2048);
	key.other = mk_rsa(3072);
	key.weak = mk_rsa(1024);
	key.p256 = mk_ec("P-256");
	key.p384 = mk_ec("P-384");
	key.p521 = mk_ec("P-521");
	key.k1 = mk_ec("secp256k1");
	key.ed = mk_ed("ED25519");
	key.ed448 = mk_ed("ED448");
	PEM_write_bio_PUBKEY(out, key.rsa);
	n = BIO_read(out, rsa_pem, sizeof rsa_pem - 1);
	rsa_pem[n] = '\0';
	BIO_free(out);
	c = fix_good(ini);
	if (jwt_policy_new(c, &policy, &why))
		fail_msg("%s", buf_cstr(&why));
	cfg_unref(c);
	publish();
	return 0;
}

static int teardown(void **state)
{
	EVP_PKEY **k = (EVP_PKEY **)&key;

	for (size_t i = 0; i < sizeof key / sizeof *k; i++)
		EVP_PKEY_free(k[i]);
	jwt_policy_unref(policy);
	jwt_keys_free(published);
	return fix_teardown(state);
}

/* ---- judging ------------------------------------------------------------------------------------- */

static enum jwt_reason from_set(void *arg, const struct jwt_provider *v, const struct jwt_token *t,
    const struct jwt_key **k)
{
	(void)arg;
	(void)v;
	return jwt_keys_try(published, t, k);
}

static enum jwt_reason judge(const struct jwt_policy *p, const char *token, size_t n, struct jwt_claims **out)
{
	const char *provider = "";
	struct jwt_token t;
	char *exact = malloc(n ? n : 1); /* so that a read behind its end is seen */
	enum jwt_reason r;

	memcpy(exact, token, n);
	*out = NULL;
	r = jwt_token_read(&t, exact, n);
	if (r == JWT_OK) {
		r = jwt_judge(p, &t, from_set, NULL, NOW_MS, &provider, out);
		jwt_token_free(&t);
	}
	free(exact);
	return r;
}

static char token[200000];
static size_t made;

static const char *make(const char *header, const char *claims, enum mk_how how, const char *hash, EVP_PKEY *k)
{
	made = mk_token(token, header, claims, how, hash, k, NULL, 0);
	return token;
}

static void expect(const char *what, const char *text, size_t n, enum jwt_reason want)
{
	struct jwt_claims *c;
	enum jwt_reason r = judge(policy, text, n, &c);

	jwt_claims_unref(c);
	if (r != want)
		fail_msg("%s: %s, not %s", what, jwt_reason_name(r), jwt_reason_name(want));
}

static struct jwt_claims *good(const char *what)
{
	struct jwt_claims *c;
	enum jwt_reason r = judge(policy, token, made, &c);

	if (r != JWT_OK)
		fail_msg("%s: %s", what, jwt_reason_name(r));
	return c;
}

/* ---- good ones ------------------------------------------------------------------------------------- */

static void algorithms(void **state)
{
	const struct { const char *alg, *kid; enum mk_how how; const char *hash; EVP_PKEY *k; } rows[] = {
		{ "RS256", "rs", MK_PKCS, "SHA256", key.rsa }, { "RS512", "rs512", MK_PKCS, "SHA512", key.rsa },
		{ "RS256", "bare", MK_PKCS, "SHA256", key.other }, { "PS256", "ps", MK_PSS, "SHA256", key.pss },
		{ "PS512", "ps512", MK_PSS, "SHA512", key.pss }, { "ES256", "es", MK_EC, "SHA256", key.p256 },
		{ "ES384", "es384", MK_EC, "SHA384", key.p384 }, { "ES512", "es512", MK_EC, "SHA512", key.p521 },
		{ "EdDSA", "ed", MK_ED, NULL, key.ed }, { "EdDSA", "ed448", MK_ED, NULL, key.ed448 },
	};
	char header[256];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct jwt_claims *c;

		snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}", rows[i].alg, rows[i].kid);
		make(header, GOOD, rows[i].how, rows[i].hash, rows[i].k);
		c = good(rows[i].kid);
		assert_string_equal(c->provider, "main");
		assert_string_equal(c->subject, "u1");
		assert_int_equal(c->expires_ms, NOW_MS + 330000);
		assert_int_equal(c->nprojects, 1);
		assert_string_equal(c->projects[0], "shop");
		assert_int_equal(c->nroles, 1);
		assert_string_equal(c->roles[0], "writer");
		jwt_claims_unref(c);
		/* one bit of each part other than it was */
		for (size_t at = 0; at < made; at += made / 13 + 1) {
			char was = token[at];
			struct jwt_claims *none;

			token[at] = was == 'A' ? 'B' : 'A';
			if (was != '.' && judge(policy, token, made, &none) == JWT_OK)
				fail_msg("%s: byte %zu does not matter", rows[i].kid, at);
			token[at] = was;
		}
	}
}

/* ---- the hostile table ------------------------------------------------------------------------------- */

#define RS "{\"alg\":\"RS256\",\"kid\":\"rs\"}"

/* Everything about the header and the keys. */
static void headers(void **state)
{
	const struct { const char *what, *header; enum mk_how how; const char *hash; EVP_PKEY *k; enum jwt_reason want; } rows[] = {
		{ "alg none", "{\"alg\":\"none\"}", MK_NONE, NULL, NULL, JWT_ALG_NONE },
		{ "alg None", "{\"alg\":\"NoNe\",\"kid\":\"rs\"}", MK_NONE, NULL, NULL, JWT_ALG_NONE },
		{ "alg none with a signature", "{\"alg\":\"none\",\"kid\":\"rs\"}", MK_PKCS, "SHA256", key.rsa, JWT_ALG_NONE },
		{ "alg empty", "{\"alg\":\"\",\"kid\":\"rs\"}", MK_PKCS, "SHA256", key.rsa, JWT_ALG_NONE },
		{ "no alg", "{\"kid\":\"rs\"}", MK_PKCS, "SHA256", key.rsa, JWT_ALG_MISSING },
		{ "alg a number", "{\"alg\":256,\"kid\":\"rs\"}", MK_PKCS, "SHA256", key.rsa, JWT_ALG_MISSING },
		{ "alg of another case", "{\"alg\":\"rs256\",\"kid\":\"rs\"}", MK_PKCS, "SHA256", key.rsa, JWT_ALG_UNKNOWN },
		{ "alg ES256K", "{\"alg\":\"ES256K\",\"kid\":\"koblitz\"}", MK_EC, "SHA256", key.k1, JWT_ALG_UNKNOWN },
		{ "HS256 where keys are fetched", "{\"alg\":\"HS256\",\"kid\":\"hs\"}", MK_HMAC, "SHA256", NULL, JWT_ALG_REFUSED },
		{ "a published secret", "{\"alg\":\"RS256\",\"kid\":\"hs\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_SYMMETRIC },
		{ "PS256 on an RS256 key", "{\"alg\":\"PS256\",\"kid\":\"rs\"}", MK_PSS, "SHA256", key.rsa, JWT_ALG_OF_KEY },
		{ "RS512 on an RS256 key", "{\"alg\":\"RS512\",\"kid\":\"rs\"}", MK_PKCS, "SHA512", key.rsa, JWT_ALG_OF_KEY },
		{ "PS256 on an RSA key that does not say", "{\"alg\":\"PS256\",\"kid\":\"bare\"}", MK_PSS, "SHA256", key.other, JWT_ALG_OF_KEY },
		{ "ES384 over P-256", "{\"alg\":\"ES384\",\"kid\":\"es\"}", MK_EC, "SHA384", key.p256, JWT_ALG_OF_KEY },
		{ "ES256 on an RSA key", "{\"alg\":\"ES256\",\"kid\":\"rs\"}", MK_EC, "SHA256", key.p256, JWT_ALG_OF_KEY },
		{ "EdDSA on an EC key", "{\"alg\":\"EdDSA\",\"kid\":\"es\"}", MK_ED, NULL, key.ed, JWT_ALG_OF_KEY },
		{ "alg and curve of a key at odds", "{\"alg\":\"ES256\",\"kid\":\"crossed\"}", MK_EC, "SHA256", key.p384, JWT_KEY_CURVE },
		{ "secp256k1", "{\"alg\":\"ES256\",\"kid\":\"koblitz\"}", MK_EC, "SHA256", key.k1, JWT_KEY_CURVE },
		{ "a point off its curve", "{\"alg\":\"ES256\",\"kid\":\"off\"}", MK_EC, "SHA256", key.p256, JWT_KEY_BAD },
		{ "RSA of 1024 bits", "{\"alg\":\"RS256\",\"kid\":\"weak\"}", MK_PKCS, "SHA256", key.weak, JWT_KEY_WEAK },
		{ "RSA with exponent 1", "{\"alg\":\"RS256\",\"kid\":\"one\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_BAD },
		{ "RSA without numbers", "{\"alg\":\"RS256\",\"kid\":\"empty\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_BAD },
		{ "a key without kty", "{\"alg\":\"RS256\",\"kid\":\"nothing\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_BAD },
		{ "a published private key", "{\"alg\":\"RS256\",\"kid\":\"private\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_BAD },
		{ "a key of an alg that we do not have", "{\"alg\":\"RS256\",\"kid\":\"alien\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_BAD },
		{ "a key to encrypt with", "{\"alg\":\"RS256\",\"kid\":\"encrypts\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_USE },
		{ "a key to sign with", "{\"alg\":\"RS256\",\"kid\":\"signs\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_USE },
		{ "a kid that is not there", "{\"alg\":\"RS256\",\"kid\":\"gone\"}", MK_PKCS, "SHA256", key.rsa, JWT_KID_UNKNOWN },
		{ "kid ../../etc/passwd", "{\"alg\":\"RS256\",\"kid\":\"../../../../../etc/passwd\"}", MK_PKCS, "SHA256", key.rsa, JWT_KID_UNKNOWN },
		{ "kid with SQL", "{\"alg\":\"RS256\",\"kid\":\"x' UNION SELECT 'k\"}", MK_PKCS, "SHA256", key.rsa, JWT_KID_UNKNOWN },
		{ "kid with a line end", "{\"alg\":\"RS256\",\"kid\":\"rs\\n\"}", MK_PKCS, "SHA256", key.rsa, JWT_KID_FORM },
		{ "kid a number", "{\"alg\":\"RS256\",\"kid\":1}", MK_PKCS, "SHA256", key.rsa, JWT_KID_FORM },
		{ "kid empty", "{\"alg\":\"RS256\",\"kid\":\"\"}", MK_PKCS, "SHA256", key.rsa, JWT_KID_FORM },
		{ "kid with a NUL", "{\"alg\":\"RS256\",\"kid\":\"rs\\u0000\"}", MK_PKCS, "SHA256", key.rsa, JWT_NUL },
		{ "kid of another key", "{\"alg\":\"RS256\",\"kid\":\"bare\"}", MK_PKCS, "SHA256", key.rsa, JWT_SIGNATURE_LENGTH },
		{ "signed by somebody else", "{\"alg\":\"RS256\",\"kid\":\"rs\"}", MK_PKCS, "SHA256", key.pss, JWT_SIGNATURE },
		{ "signed with another hash", RS, MK_PKCS, "SHA512", key.rsa, JWT_SIGNATURE },
		{ "PSS called RS256", RS, MK_PSS, "SHA256", key.rsa, JWT_SIGNATURE },
		{ "not signed", RS, MK_NONE, NULL, NULL, JWT_SIGNATURE_LENGTH },
		{ "no kid, several keys", "{\"alg\":\"RS256\"}", MK_PKCS, "SHA256", key.rsa, JWT_KID_MISSING },
		{ "crit", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"crit\":[\"exp\"],\"exp\":1}", MK_PKCS, "SHA256", key.rsa, JWT_CRIT },
		{ "crit empty", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"crit\":[]}", MK_PKCS, "SHA256", key.rsa, JWT_CRIT },
		{ "b64", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"b64\":false,\"crit\":[\"b64\"]}", MK_PKCS, "SHA256", key.rsa, JWT_B64 },
		{ "zip", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"zip\":\"DEF\"}", MK_PKCS, "SHA256", key.rsa, JWT_COMPRESSED },
		{ "enc", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"enc\":\"A128GCM\"}", MK_PKCS, "SHA256", key.rsa, JWT_ENCRYPTED },
		{ "jwk", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_IN_HEADER },
		{ "jku", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"jku\":\"https://evil.example/keys\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_IN_HEADER },
		{ "x5u", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"x5u\":\"https://evil.example/c\"}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_IN_HEADER },
		{ "x5c", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"x5c\":[\"AA==\"]}", MK_PKCS, "SHA256", key.rsa, JWT_KEY_IN_HEADER },
		{ "a logout token", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"typ\":\"logout+jwt\"}", MK_PKCS, "SHA256", key.rsa, JWT_TYP },
		{ "typ a number", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"typ\":1}", MK_PKCS, "SHA256", key.rsa, JWT_TYP },
		{ "a token in a token, said so", "{\"alg\":\"RS256\",\"kid\":\"rs\",\"cty\":\"JWT\"}", MK_PKCS, "SHA256", key.rsa, JWT_NESTED },
		{ "alg twice", "{\"alg\":\"RS256\",\"alg\":\"none\",\"kid\":\"rs\"}", MK_PKCS, "SHA256", key.rsa, JWT_HEADER_DUPLICATE },
		{ "no JSON", "alg=RS256", MK_PKCS, "SHA256", key.rsa, JWT_HEADER_JSON },
		{ "a list", "[\"RS256\"]", MK_PKCS, "SHA256", key.rsa, JWT_HEADER_JSON },
		{ "something behind the header", RS " x", MK_PKCS, "SHA256", key.rsa, JWT_HEADER_JSON },
		{ "a header that is not UTF-8", "{\"alg\":\"RS256\",\"kid\":\"\xff\"}", MK_PKCS, "SHA256", key.rsa, JWT_HEADER_JSON },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		made = mk_token(token, rows[i].header, GOOD, rows[i].how, rows[i].hash, rows[i].k, "secret", 6);
		expect(rows[i].what, token, made, rows[i].want);
	}
}

/* Everything about the claims; the signature is good. */
static void claims(void **state)
{
#define LESS(claims) "{" claims "}"
#define NO_EXP "{" BASE ",\"iat\":2000000000"
#define PARTNER "\"iss\":\"" ISS "\",\"aud\":\"partner\",\"sub\":\"u1\""
	const struct { const char *what, *claims; enum jwt_reason want; } rows[] = {
		{ "good", GOOD, JWT_OK },
		{ "no iss", LESS("\"aud\":\"purser\",\"project\":\"shop\",\"scope\":\"kv:write\"," TIMES), JWT_ISS_MISSING },
		{ "iss a list", LESS("\"iss\":[\"" ISS "\"],\"aud\":\"purser\"," TIMES), JWT_ISS_MISSING },
		{ "iss of somebody else", LESS("\"iss\":\"https://evil.example\",\"aud\":\"purser\"," TIMES), JWT_ISS_UNKNOWN },
		{ "iss with a /", LESS("\"iss\":\"" ISS "/\",\"aud\":\"purser\"," TIMES), JWT_ISS_UNKNOWN },
		{ "iss of another case", LESS("\"iss\":\"HTTPS://id.example\",\"aud\":\"purser\"," TIMES), JWT_ISS_UNKNOWN },
		{ "no aud", LESS("\"iss\":\"" ISS "\",\"scope\":\"kv:write\"," TIMES), JWT_AUD_MISSING },
		{ "aud of somebody else", LESS("\"iss\":\"" ISS "\",\"aud\":\"billing\"," TIMES), JWT_AUD },
		{ "aud that begins like ours", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser2\"," TIMES), JWT_AUD },
		{ "aud a number", LESS("\"iss\":\"" ISS "\",\"aud\":1," TIMES), JWT_AUD_FORM },
		{ "aud an empty list", LESS("\"iss\":\"" ISS "\",\"aud\":[]," TIMES), JWT_AUD },
		{ "aud a list with others", LESS("\"iss\":\"" ISS "\",\"aud\":[\"x\",\"billing\"]," TIMES), JWT_AUD },
		{ "aud a list with ours", LESS("\"iss\":\"" ISS "\",\"aud\":[\"x\",\"store\"],\"project\":\"shop\",\"scope\":\"kv:read\"," TIMES), JWT_OK },
		{ "aud a list with a number", LESS("\"iss\":\"" ISS "\",\"aud\":[\"purser\",1]," TIMES), JWT_AUD_FORM },
		{ "azp a number", WITH("\"azp\":7"), JWT_AZP_FORM },
		{ "client_id a list", WITH("\"client_id\":[\"web\"]"), JWT_AZP_FORM },
		{ "azp anybody", WITH("\"azp\":\"anybody\""), JWT_OK },
		{ "azp of another client", LESS(PARTNER ",\"azp\":\"batch\"," TIMES), JWT_AZP },
		{ "azp missing where it is asked for", LESS(PARTNER "," TIMES), JWT_AZP },
		{ "azp goes before client_id", LESS(PARTNER ",\"azp\":\"batch\",\"client_id\":\"web\"," TIMES), JWT_AZP },
		{ "azp as it should be", LESS(PARTNER ",\"azp\":\"web\"," TIMES), JWT_OK },
		{ "client_id as it should be", LESS(PARTNER ",\"client_id\":\"phone\"," TIMES), JWT_OK },
		{ "no exp", NO_EXP "}", JWT_EXP_MISSING },
		{ "exp null", NO_EXP ",\"exp\":null}", JWT_EXP_FORM },
		{ "exp a text", NO_EXP ",\"exp\":\"2000000300\"}", JWT_EXP_FORM },
		{ "exp with a fraction", NO_EXP ",\"exp\":2000000300.5}", JWT_EXP_FORM },
		{ "exp with an exponent", NO_EXP ",\"exp\":2e9}", JWT_EXP_FORM },
		{ "exp negative", NO_EXP ",\"exp\":-1}", JWT_EXP_FORM },
		{ "exp behind the year 9999", NO_EXP ",\"exp\":253402300800}", JWT_EXP_FORM },
		{ "exp of 63 bits", NO_EXP ",\"exp\":9223372036854775807}", JWT_EXP_FORM },
		{ "exp of more than 64 bits", NO_EXP ",\"exp\":18446744073709551616}", JWT_NUMBER },
		{ "exp of 1e400", NO_EXP ",\"exp\":1e400}", JWT_NUMBER },
		{ "exp true", NO_EXP ",\"exp\":true}", JWT_EXP_FORM },
		{ "expired", NO_EXP ",\"exp\":1999999970}", JWT_EXPIRED },
		{ "expired, within the skew", NO_EXP ",\"exp\":1999999971}", JWT_OK },
		{ "expired long ago", NO_EXP ",\"exp\":0}", JWT_EXPIRED },
		{ "nbf in the future", WITH("\"nbf\":2000000031"), JWT_NOT_YET },
		{ "nbf within the skew", WITH("\"nbf\":2000000030"), JWT_OK },
		{ "nbf a text", WITH("\"nbf\":\"0\""), JWT_NBF_FORM },
		{ "nbf with a fraction", WITH("\"nbf\":0.5"), JWT_NBF_FORM },
		{ "iat in the future", LESS(BASE ",\"iat\":2000000031,\"exp\":2000000300"), JWT_IAT_FUTURE },
		{ "iat negative", LESS(BASE ",\"iat\":-5,\"exp\":2000000300"), JWT_IAT_FORM },
		{ "no iat", LESS(BASE ",\"exp\":2000000300"), JWT_OK },
		{ "no iat where lifetimes are bounded", LESS(PARTNER ",\"azp\":\"web\",\"exp\":2000000300"), JWT_IAT_MISSING },
		{ "a lifetime of an hour", LESS(PARTNER ",\"azp\":\"web\",\"iat\":2000000000,\"exp\":2000003600"), JWT_LIFETIME },
		{ "sub a number", "{\"iss\":\"" ISS "\",\"aud\":\"purser\",\"sub\":7,\"project\":\"shop\",\"scope\":\"kv:read\"," TIMES "}", JWT_SUB_FORM },
		{ "no project", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"scope\":\"kv:write\"," TIMES), JWT_PROJECT_MISSING },
		{ "project a number", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":1,\"scope\":\"kv:write\"," TIMES), JWT_PROJECT_FORM },
		{ "project with a colon", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"shop:x\",\"scope\":\"kv:write\"," TIMES), JWT_PROJECT_FORM },
		{ "project *", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"*\",\"scope\":\"kv:write\"," TIMES), JWT_PROJECT_FORM },
		{ "project in capitals", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"SHOP\",\"scope\":\"kv:write\"," TIMES), JWT_PROJECT_FORM },
		{ "projects, one of them wrong", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":[\"a\",\"\"],\"scope\":\"kv:write\"," TIMES), JWT_PROJECT_FORM },
		{ "no projects", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":[],\"scope\":\"kv:write\"," TIMES), JWT_PROJECT_FORM },
		{ "scope a number", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"shop\",\"scope\":1," TIMES), JWT_WORDS_FORM },
		{ "roles with an object", WITH("\"roles\":[{\"name\":\"writer\"}]"), JWT_WORDS_FORM },
		{ "nothing that maps", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"shop\",\"scope\":\"openid kv:writer xkv:write\"," TIMES), JWT_NO_ROLE },
		{ "no scope at all", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"shop\"," TIMES), JWT_NO_ROLE },
		{ "a word of a list is a whole word", LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"shop\",\"roles\":[\"a kv:write\"]," TIMES), JWT_NO_ROLE },
		{ "iss twice", WITH("\"iss\":\"" ISS "\""), JWT_CLAIMS_DUPLICATE },
		{ "exp twice, spelled otherwise", WITH("\"e\\u0078p\":9999999999"), JWT_CLAIMS_DUPLICATE },
		{ "a name twice, deep inside", WITH("\"x\":{\"a\":1,\"a\":2}"), JWT_CLAIMS_DUPLICATE },
		{ "NUL in sub", "{\"iss\":\"" ISS "\",\"aud\":\"purser\",\"sub\":\"u1\\u0000admin\"," TIMES "}", JWT_NUL },
		{ "NUL in a name", WITH("\"e\\u0000\":1"), JWT_NUL },
		{ "no JSON", "iss=" ISS, JWT_CLAIMS_JSON },
		{ "a list", "[1]", JWT_CLAIMS_JSON },
		{ "a text", "\"" ISS "\"", JWT_CLAIMS_JSON },
		{ "something behind the claims", GOOD "}", JWT_CLAIMS_JSON },
		{ "a second object", GOOD GOOD, JWT_CLAIMS_JSON },
		{ "not UTF-8", "{\"iss\":\"" ISS "\",\"sub\":\"\xc0\x80\"," TIMES "}", JWT_CLAIMS_JSON },
		{ "half a surrogate", "{\"iss\":\"" ISS "\",\"sub\":\"\\ud800\"," TIMES "}", JWT_CLAIMS_JSON },
		{ "a token in the token", "eyJhbGciOiJub25lIn0.e30.", JWT_NESTED },
		{ "project of a section's list", "{\"iss\":\"deep\",\"aud\":\"purser\",\"x/y\":{\"project\":[\"c\",\"b\"]},\"realm_access\":{\"roles\":[\"boss\"]}," TIMES "}", JWT_OK },
		{ "project not of a section's list", "{\"iss\":\"deep\",\"aud\":\"purser\",\"x/y\":{\"project\":\"c\"},\"realm_access\":{\"roles\":[\"boss\"]}," TIMES "}", JWT_PROJECT_REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		make(RS, rows[i].claims, MK_PKCS, "SHA256", key.rsa);
		expect(rows[i].what, token, made, rows[i].want);
	}
}

static void put(const char *what, size_t at, const char *bytes, size_t n, enum jwt_reason want)
{
	char text[9000];

	memcpy(text, token, at);
	memcpy(text + at, bytes, n);
	memcpy(text + at + n, token + at, made - at);
	expect(what, text, made + n, want);
}

/* What is wrong with the spelling. */
static void forms(void **state)
{
	char text[9000], *dot;
	size_t a, b;

	(void)state;
	make(RS, GOOD, MK_PKCS, "SHA256", key.rsa);
	a = (size_t)(strchr(token, '.') - token);
	b = (size_t)(strrchr(token, '.') - token);
	expect("nothing", "", 0, JWT_FORM);
	expect("one part", token, a, JWT_FORM);
	expect("two parts", token, b, JWT_FORM);
	put("four parts", made, ".x", 2, JWT_FORM);
	put("five parts", made, ".x.y", 4, JWT_ENCRYPTED);
	expect("dots", "..", 2, JWT_FORM);
	put("an empty header", 0, ".", 1, JWT_FORM);
	expect("no header", token + a, made - a, JWT_FORM);
	put("padding of the header", a, "==", 2, JWT_BASE64_PADDING);
	put("padding of the claims", b, "=", 1, JWT_BASE64_PADDING);
	put("padding of the signature", made, "==", 2, JWT_BASE64_PADDING);
	put("a blank behind", made, " ", 1, JWT_BASE64_ALPHABET);
	put("a line end behind", made, "\n", 1, JWT_BASE64_ALPHABET);
	put("a NUL behind", made, "\0", 1, JWT_BASE64_ALPHABET);
	put("a blank in front", 0, " ", 1, JWT_BASE64_ALPHABET);
	put("+ of plain base64", made, "+", 1, JWT_BASE64_ALPHABET);
	put("/ of plain base64", made, "/", 1, JWT_BASE64_ALPHABET);
	put("a byte above 127", b, "\x80", 1, JWT_BASE64_ALPHABET);
	put("garbage behind the signature", made, "AAAA", 4, JWT_SIGNATURE_LENGTH);
	put("a length that cannot be", made, "AAA", 3, JWT_BASE64_LENGTH); /* 342 of 256 bytes, then 345 */
	/* 256 bytes are 342 characters: the last has four bits that no encoder sets */
	memcpy(text, token, made);
	assert_int_equal(made - b - 1, 342);
	dot = strchr("AQgw", text[made - 1]);
	assert_non_null(dot);
	text[made - 1]++;
	expect("bits behind the end", text, made, JWT_BASE64_BITS);
	memset(text, 'A', sizeof text);
	expect("more than 8 KiB", text, JWT_TOKEN_MAX + 1, JWT_TOO_LARGE);
	expect("8 KiB of nothing", text, JWT_TOKEN_MAX, JWT_FORM);
	memset(text, '.', sizeof text);
	expect("8 KiB of dots", text, JWT_TOKEN_MAX, JWT_FORM);
	assert_true(jwt_looks_like(token, made));
	assert_false(jwt_looks_like("eyJ", 3));
	assert_false(jwt_looks_like("p0.sesame.x", 11));
	assert_false(jwt_looks_like("eyJhbGciOiJub25lIn0", 19));
}

/* r and s have one length each; DER has not. */
static void ec_signatures(void **state)
{
	uint8_t sig[256];
	char head[4096];
	size_t n, len;

	(void)state;
	n = mk_base64(head, "{\"alg\":\"ES256\",\"kid\":\"es\"}", 26);
	head[n++] = '.';
	n += mk_base64(head + n, GOOD, strlen(GOOD));
	len = mk_sign(sig, sizeof sig, head, n, MK_EC, "SHA256", key.p256, NULL, 0);
	assert_int_equal(len, 64);
	head[n++] = '.';
	expect("as it should be", head, n + mk_base64(head + n, sig, 64), JWT_OK);
	expect("a byte less", head, n + mk_base64(head + n, sig, 63), JWT_SIGNATURE_LENGTH);
	sig[64] = 0;
	expect("a byte more", head, n + mk_base64(head + n, sig, 65), JWT_SIGNATURE_LENGTH);
	expect("that of P-384", head, n + mk_base64(head + n, sig, 96), JWT_SIGNATURE_LENGTH);
	memset(sig, 0, 64);
	expect("r = s = 0", head, n + mk_base64(head + n, sig, 64), JWT_SIGNATURE);
	memset(sig, 0xff, 64);
	expect("r and s above the order", head, n + mk_base64(head + n, sig, 64), JWT_SIGNATURE);
	len = sizeof sig; /* DER */
	{
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();

		EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key.p256, NULL);
		EVP_DigestSign(ctx, sig, &len, (const uint8_t *)head, n - 1);
		EVP_MD_CTX_free(ctx);
	}
	expect("DER", head, n + mk_base64(head + n, sig, len), JWT_SIGNATURE_LENGTH);
}

/* Every reason that is about a token has been met above, or is here. */
static void every_reason(void **state)
{
	(void)state;
	for (int r = 0; r < JWT_REASONS; r++) {
		assert_true(*jwt_reason_name((enum jwt_reason)r));
		assert_true(*jwt_reason_text((enum jwt_reason)r));
		for (int q = 0; q < r; q++)
			assert_string_not_equal(jwt_reason_name((enum jwt_reason)r), jwt_reason_name((enum jwt_reason)q));
	}
	assert_true(jwt_reason_passes(JWT_KEYS_AWAY));
	assert_false(jwt_reason_passes(JWT_SIGNATURE));
}

/* ---- what the INI makes of them ------------------------------------------------------------------ */

static struct jwt_claims *signed_claims(const char *claims)
{
	make(RS, claims, MK_PKCS, "SHA256", key.rsa);
	return good(claims);
}

static void roles(void **state)
{
	struct jwt_claims *c;

	(void)state;
	/* the order is the map's, not the token's; each once */
	c = signed_claims(LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":[\"a\",\"b\"],\"scope\":\"kv:read\",\"groups\":[\"app\",\"kv:write\"],"
	    "\"roles\":[\"kv:write\"]," TIMES));
	assert_int_equal(c->nroles, 3);
	assert_string_equal(c->roles[0], "writer");
	assert_string_equal(c->roles[1], "reader");
	assert_string_equal(c->roles[2], "app");
	assert_int_equal(c->perms, 0);
	assert_int_equal(c->nprojects, 2);
	assert_true(jwt_claims_project(c, "b", 1));
	assert_false(jwt_claims_project(c, "bb", 2));
	assert_false(jwt_claims_project(c, "shop", 4));
	jwt_claims_unref(c);
	/* permissions */
	c = signed_claims(LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"shop\",\"scp\":[\"reads\",\"says\"]," TIMES));
	assert_int_equal(c->nroles, 0);
	assert_int_equal(c->perms, PERM_BIT(PERM_READ) | PERM_BIT(PERM_PUBSUB));
	jwt_claims_unref(c);
	/* a role for all, and every project */
	c = signed_claims(LESS(PARTNER ",\"azp\":\"web\"," TIMES));
	assert_string_equal(c->provider, "partner");
	assert_string_equal(c->client, "web");
	assert_string_equal(c->roles[0], "reader");
	assert_true(c->any_project);
	assert_true(jwt_claims_project(c, "anything", 8));
	assert_int_equal(c->expires_ms, NOW_MS + 300000);
	assert_int_equal(jwt_claims_state(c, NOW_MS + 299999), JWT_OK);
	assert_int_equal(jwt_claims_state(c, NOW_MS + 300000), JWT_EXPIRED);
	jwt_claims_unref(c);
	/* neither map nor role; fixed projects */
	c = signed_claims("{\"iss\":\"plain\",\"aud\":\"purser\",\"scope\":\"kv:write\"," TIMES "}");
	assert_int_equal(c->nroles, 0);
	assert_int_equal(c->perms, 0);
	assert_int_equal(c->nprojects, 2);
	assert_string_equal(c->subject, "");
	jwt_claims_unref(c);
	/* pointers; a UUID is the project's name whatever its case */
	c = signed_claims("{\"iss\":\"deep\",\"aud\":\"purser\",\"x/y\":{\"project\":[\"c\",\"b\"]},\"realm_access\":{\"roles\":[\"boss\"]}," TIMES "}");
	assert_int_equal(c->nprojects, 1);
	assert_string_equal(c->projects[0], "b");
	assert_string_equal(c->roles[0], "admin");
	jwt_claims_unref(c);
	c = signed_claims(LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"6BA7B810-9DAD-11D1-80B4-00C04FD430C8\",\"scope\":\"kv:read\"," TIMES));
	assert_string_equal(c->projects[0], "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
	jwt_claims_unref(c);
}

/* What access_enter() hears of them. */
static void doors(void **state)
{
	struct access a = { .production = true };
	struct identity id = { .source = IDENTITY_JWT };
	struct project shop = { .name = "shop" }, other = { .name = "other" };
	const struct role *role;
	const struct access_evidence *e = &a.evidence[IDENTITY_JWT];

	(void)state;
	jwt_evidence(&a.evidence[IDENTITY_JWT], policy);
	id.jwt = signed_claims(GOOD);
	assert_true(e->enters(&a, &id, &shop, &role));
	assert_ptr_equal(role, role_builtin("writer"));
	assert_false(e->enters(&a, &id, &other, &role));
	assert_string_equal(e->project(&a, &id), "shop");
	jwt_claims_unref(id.jwt);
	id.jwt = signed_claims(LESS("\"iss\":\"" ISS "\",\"aud\":\"purser\",\"project\":\"shop\",\"scp\":[\"reads\",\"says\"]," TIMES));
	assert_true(e->enters(&a, &id, &shop, &role));
	assert_int_equal(role->perms, PERM_BIT(PERM_ANY) | PERM_BIT(PERM_READ) | PERM_BIT(PERM_PUBSUB));
	assert_false(role->narrow);
	policy->id++; /* another generation: nothing, until jwt_again() */
	assert_false(e->enters(&a, &id, &shop, &role));
	policy->id--;
	jwt_claims_unref(id.jwt);
	id.jwt = signed_claims("{\"iss\":\"plain\",\"aud\":\"purser\"," TIMES "}");
	assert_true(e->enters(&a, &id, &(struct project){ .name = "a" }, &role));
	assert_null(role);
	assert_null(e->project(&a, &id));
	jwt_claims_unref(id.jwt);
}

/* ---- keys of files ----------------------------------------------------------------------------------- */

static const char *refused(const char *text)
{
	static char said[4096];
	struct buf why = { .max = sizeof said };
	struct jwt_policy *p = NULL;
	struct cfg *c = fix_good(text);

	*said = '\0';
	if (jwt_policy_new(c, &p, &why))
		snprintf(said, sizeof said, "%s", buf_cstr(&why));
	jwt_policy_unref(p);
	buf_free(&why);
	cfg_unref(c);
	return said;
}

#define SECTION "[backend main]\nplugin = memory\n[project shop]\n[jwt x]\nissuer = " ISS "\naudience = purser\nproject = shop\nrole = writer\n"

static struct jwt_policy *from_file(const char *keys, const char *name, const char *content, size_t n)
{
	struct buf why = { .max = 4096 };
	struct jwt_policy *p = NULL;
	struct cfg *c;
	char text[1024];

	fix_write(name, content, n);
	snprintf(text, sizeof text, SECTION "%s = %s/%s\n", keys, fix_dir, name);
	c = fix_good(text);
	if (jwt_policy_new(c, &p, &why))
		fail_msg("%s", buf_cstr(&why));
	cfg_unref(c);
	return p;
}

static enum jwt_reason by(struct jwt_policy *p)
{
	struct jwt_claims *c;
	enum jwt_reason r = judge(p, token, made, &c);

	jwt_claims_unref(c);
	return r;
}

static void one_key(char *set, size_t cap, EVP_PKEY *k)
{
	char jwk[4096];

	snprintf(set, cap, "{\"keys\":[%s]}", mk_jwk(jwk, sizeof jwk, k, "rs", ""));
}

static void files(void **state)
{
	static const char oct[] = "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"s\","
	    "\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}";
	static const char secret[] = "0123456789abcdef0123456789abcdef";
	static char set[8192];
	struct jwt_policy *p;
	struct jwt_claims *old, *c;

	(void)state;
	/* a PEM is a public key, and never the secret of HS256 */
	p = from_file("key_file", "key.pem", rsa_pem, strlen(rsa_pem));
	make("{\"alg\":\"RS256\"}", GOOD, MK_PKCS, "SHA256", key.rsa);
	assert_int_equal(by(p), JWT_OK);
	make("{\"alg\":\"RS256\",\"kid\":\"any\"}", GOOD, MK_PKCS, "SHA256", key.rsa);
	assert_int_equal(by(p), JWT_KID_UNKNOWN); /* a key without a name has none */
	made = mk_token(token, "{\"alg\":\"HS256\"}", GOOD, MK_HMAC, "SHA256", NULL, rsa_pem, strlen(rsa_pem));
	assert_int_equal(by(p), JWT_KID_UNKNOWN);
	made = mk_token(token, "{\"alg\":\"HS256\"}", GOOD, MK_HMAC, "SHA256", NULL, rsa_pem, strlen(rsa_pem) - 1);
	assert_int_equal(by(p), JWT_KID_UNKNOWN);
	jwt_policy_unref(p);
	/* a set with the public key and HS256 allowed: still no secret */
	one_key(set, sizeof set, key.rsa);
	p = from_file("algorithms = RS256 HS256\njwks_file", "set.json", set, strlen(set));
	made = mk_token(token, "{\"alg\":\"HS256\",\"kid\":\"rs\"}", GOOD, MK_HMAC, "SHA256", NULL, rsa_pem, strlen(rsa_pem));
	assert_int_equal(by(p), JWT_ALG_OF_KEY);
	make(RS, GOOD, MK_PKCS, "SHA256", key.rsa);
	assert_int_equal(judge(p, token, made, &old), JWT_OK);
	jwt_policy_unref(p);
	/* after a reload: what the same token says under the settings of now */
	p = from_file("jwks_file", "set.json", set, strlen(set));
	p->id++;
	assert_int_equal(jwt_again(p, old, NOW_MS, &c), JWT_OK);
	assert_ptr_not_equal(c, old);
	assert_string_equal(c->subject, "u1");
	jwt_claims_unref(c);
	assert_int_equal(jwt_again(p, old, NOW_MS + 330000, &c), JWT_EXPIRED);
	assert_int_equal(jwt_again(NULL, old, NOW_MS, &c), JWT_NO_PROVIDER);
	jwt_policy_unref(p);
	p = from_file("algorithms = ES256 PS256\nkey_file", "key.pem", rsa_pem, strlen(rsa_pem));
	p->id++;
	assert_int_equal(jwt_again(p, old, NOW_MS, &c), JWT_ALG_REFUSED);
	jwt_policy_unref(p);
	one_key(set, sizeof set, key.other);
	p = from_file("jwks_file", "set.json", set, strlen(set));
	p->id++;
	assert_int_equal(jwt_again(p, old, NOW_MS, &c), JWT_KEY_RETIRED);
	assert_null(c);
	jwt_policy_unref(p);
	jwt_claims_unref(old);
	/* secrets */
	p = from_file("key_file", "secret", secret, 32);
	made = mk_token(token, "{\"alg\":\"HS256\"}", GOOD, MK_HMAC, "SHA256", NULL, secret, 32);
	assert_int_equal(by(p), JWT_OK);
	made = mk_token(token, "{\"alg\":\"HS512\"}", GOOD, MK_HMAC, "SHA512", NULL, secret, 32);
	assert_int_equal(by(p), JWT_ALG_REFUSED);
	made = mk_token(token, "{\"alg\":\"HS256\"}", GOOD, MK_HMAC, "SHA256", NULL, secret, 31);
	assert_int_equal(by(p), JWT_SIGNATURE);
	made = mk_token(token, "{\"alg\":\"HS256\"}", GOOD, MK_HMAC, "SHA256", NULL, secret, 32) - 2;
	assert_int_equal(by(p), JWT_BASE64_LENGTH);
	made -= 1;
	assert_int_equal(by(p), JWT_SIGNATURE_LENGTH); /* no signature is cut short */
	jwt_policy_unref(p);
	p = from_file("algorithms = HS256 HS384\njwks_file", "oct.json", oct, strlen(oct));
	made = mk_token(token, "{\"alg\":\"HS256\",\"kid\":\"s\"}", GOOD, MK_HMAC, "SHA256", NULL, secret, 32);
	assert_int_equal(by(p), JWT_OK);
	made = mk_token(token, "{\"alg\":\"HS384\",\"kid\":\"s\"}", GOOD, MK_HMAC, "SHA384", NULL, secret, 32);
	assert_int_equal(by(p), JWT_ALG_OF_KEY); /* too short for it */
	jwt_policy_unref(p);
}

static void settings(void **state)
{
	char text[2048];
	const struct { const char *more, *says; } rows[] = {
		{ "", "" },
		{ "jwks_url = https://a/b\ndiscovery = https://a/c\n", "jwks_url and discovery: its keys come from one place" },
		{ "jwks_url = http://a/b\n", "use https" },
		{ "jwks_url = http://a/b\nallow_http = yes\n", "" },
		{ "algorithms = RS256 HS256\n", "what an issuer publishes is none" },
		{ "algorithms = RS256 rs512\n", "there is no rs512" },
		{ "map = a=boss\n", "there is no [role boss]" },
		{ "map = a=redis:read,b=writer\n", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *said;

		snprintf(text, sizeof text, SECTION "%s", rows[i].more);
		said = refused(text);
		if (*rows[i].says ? !strstr(said, rows[i].says) : *said)
			fail_msg("%s: said: %s", rows[i].more, said);
	}
	assert_non_null(strstr(refused("[backend main]\nplugin = memory\n[jwt x]\nissuer = " ISS "\naudience = a\n"),
	    "which projects may its tokens enter"));
	assert_non_null(strstr(refused("[backend main]\nplugin = memory\n[project a]\n[jwt x]\nissuer = plain\naudience = a\nproject = a\n"),
	    "purser.ini:5: [jwt x] the keys would come from plain/.well-known"));
	/* files */
	fix_write("short", "too short", 9);
	snprintf(text, sizeof text, SECTION "key_file = %s/short\n", fix_dir);
	assert_non_null(strstr(refused(text), "too short"));
	fix_text("private.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
	snprintf(text, sizeof text, SECTION "key_file = %s/private.pem\n", fix_dir);
	assert_non_null(strstr(refused(text), "it is no public key"));
	fix_text("empty.json", "{\"keys\":[]}");
	snprintf(text, sizeof text, SECTION "jwks_file = %s/empty.json\n", fix_dir);
	assert_non_null(strstr(refused(text), "none of its 0 keys"));
	fix_text("oct.json", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}");
	assert_int_equal(chmod("oct.json", 0644), 0);
	snprintf(text, sizeof text, SECTION "jwks_file = %s/oct.json\n", fix_dir);
	assert_non_null(strstr(refused(text), "every user may read it"));
}

/* ---- what is remembered ------------------------------------------------------------------------------ */

static void cache(void **state)
{
	struct jwt_cache t;
	uint8_t hash[8][JWT_HASH] = { { 0 } };
	struct jwt_claims *c = signed_claims(GOOD), *got;

	(void)state;
	jwt_cache_init(&t, 4); /* one set of four */
	for (int i = 0; i < 8; i++)
		hash[i][31] = (uint8_t)i;
	assert_int_equal(jwt_cache_get(&t, hash[0], policy, NOW_MS, &got), JWT_PENDING);
	for (int i = 0; i < 4; i++)
		jwt_cache_put(&t, hash[i], c, NOW_MS);
	for (int i = 1; i < 4; i++) {
		assert_int_equal(jwt_cache_get(&t, hash[i], policy, NOW_MS, &got), JWT_OK);
		assert_ptr_equal(got, c);
		jwt_claims_unref(got);
	}
	jwt_cache_put(&t, hash[4], c, NOW_MS); /* 0 was not asked for the longest */
	assert_int_equal(jwt_cache_get(&t, hash[0], policy, NOW_MS, &got), JWT_PENDING);
	assert_int_equal(jwt_cache_get(&t, hash[1], policy, NOW_MS, &got), JWT_OK);
	jwt_claims_unref(got);
	assert_int_equal(c->refs, 5);
	policy->id++; /* a reload: all is looked at anew */
	assert_int_equal(jwt_cache_get(&t, hash[1], policy, NOW_MS, &got), JWT_PENDING);
	policy->id--;
	assert_int_equal(jwt_cache_get(&t, hash[1], policy, NOW_MS, &got), JWT_PENDING);
	assert_int_equal(jwt_cache_get(&t, hash[2], policy, NOW_MS + 330000, &got), JWT_EXPIRED);
	assert_int_equal(jwt_cache_get(&t, hash[2], policy, NOW_MS + 330000, &got), JWT_PENDING);
	atomic_store(&((struct jwt_claims_full *)c)->key->retired, true);
	assert_int_equal(jwt_cache_get(&t, hash[3], policy, NOW_MS, &got), JWT_PENDING);
	assert_int_equal(jwt_claims_state(c, NOW_MS), JWT_KEY_RETIRED);
	atomic_store(&((struct jwt_claims_full *)c)->key->retired, false);
	jwt_cache_free(&t);
	assert_int_equal(c->refs, 1);
	jwt_claims_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(algorithms),
		cmocka_unit_test(headers),
		cmocka_unit_test(claims),
		cmocka_unit_test(forms),
		cmocka_unit_test(ec_signatures),
		cmocka_unit_test(every_reason),
		cmocka_unit_test(roles),
		cmocka_unit_test(doors),
		cmocka_unit_test(files),
		cmocka_unit_test(settings),
		cmocka_unit_test(cache),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
