/* SPDX-License-Identifier: Apache-2.0
 *
 * access/jwt_priv: what the files of JWT share and nobody else includes.
 *
 *   jwt_base64.c   a part of a token -> bytes, strictly
 *   jwt_token.c    bytes -> header, claims, signature
 *   jwt_key.c      JWK, PEM or secret -> a key, bound to its algs;  jwt_sign.c: does it fit?
 *   jwt_judge.c    all of it, in order
 *   jwt_claims.c   JSON claims -> struct jwt_claims, by a provider's settings
 *   jwt_policy.c   [jwt NAME] -> struct jwt_provider;  jwt_files.c: the keys in its files
 *   jwt_access.c   claims -> project and role, for access/access.h
 *   jwt_cache.c    what was verified already
 *   jwks_plan.c    when to fetch keys (pure);  jwks.c: fetching them;  jwks_set.c: what came
 *   jwt_service.c  the thread;  jwt_worker.c: the workers' side
 */
#ifndef ACCESS_JWT_PRIV_H
#define ACCESS_JWT_PRIV_H
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include "access/jwt.h"
#include "base/arena.h"
#include "config/cfg.h"
#include "loop/loop.h"

struct role;

/* ---- algorithms ---- */
enum jwt_family { FAMILY_HMAC, FAMILY_RSA, FAMILY_PSS, FAMILY_EC, FAMILY_ED };
enum jwt_alg {
	ALG_HS256, ALG_HS384, ALG_HS512, ALG_RS256, ALG_RS384, ALG_RS512, ALG_PS256, ALG_PS384, ALG_PS512,
	ALG_ES256, ALG_ES384, ALG_ES512, ALG_EDDSA, ALG_COUNT
};
struct jwt_alg_row {
	const char *name;
	enum jwt_family family;
	const char *hash;        /* of OpenSSL; NULL: the alg has its own */
	uint16_t hash_len;
	const char *curve;       /* JWK's name; NULL: none */
};
extern const struct jwt_alg_row jwt_algs[ALG_COUNT];
#define ALG_BIT(alg) (1u << (alg))
int jwt_alg_find(const char *name);              /* -1: not one of ours */
uint32_t jwt_family_algs(enum jwt_family f);     /* bits */
#define JWT_ALGS_SECRET (ALG_BIT(ALG_HS256) | ALG_BIT(ALG_HS384) | ALG_BIT(ALG_HS512))
#define JWT_ALGS_PUBLIC ((ALG_BIT(ALG_COUNT) - 1) & ~JWT_ALGS_SECRET)

/* n characters of base64url into out (3 bytes for each 4 characters). */
enum jwt_reason jwt_base64(const char *p, size_t n, uint8_t *out, size_t *len);

/* ---- keys ---- */
#define JWT_PRINT 32u
#define JWT_KID_MAX 256u
#define JWT_RSA_MIN_BITS 2048
#define JWT_RSA_MAX_BITS 8192
struct jwt_key {             /* counted: claims remember the key that signed them */
	_Atomic uint32_t refs;
	_Atomic bool retired;    /* the issuer publishes it no more */
	enum jwt_reason bad;     /* not JWT_OK: it may not be used, and why */
	uint32_t algs;           /* bits: the only ones that it verifies */
	char *kid;               /* NULL: it has none */
	EVP_PKEY *pkey;          /* NULL: a secret */
	uint8_t *secret;
	size_t nsecret;
	uint8_t print[JWT_PRINT]; /* SHA-256 of what it is */
};
/* What the algs of a key are where the key itself does not say: RSA, and secrets. */
struct jwt_pins { uint32_t rsa, secret; };
/* Never NULL but without memory; what is wrong is in ->bad.  local: from a file of the machine, which
 * may hold secrets. */
struct jwt_key *jwt_key_jwk(const json_t *jwk, const struct jwt_pins *pins, bool local);
struct jwt_key *jwt_key_pem(const char *text, size_t n, const struct jwt_pins *pins); /* public keys */
struct jwt_key *jwt_key_secret(const void *p, size_t n, uint32_t algs);
struct jwt_key *jwt_key_ref(struct jwt_key *k);
void jwt_key_unref(struct jwt_key *k);
/* Is sig the signature of data by that key?  The alg must be one of the key's. */
enum jwt_reason jwt_key_verify(const struct jwt_key *k, enum jwt_alg alg, const uint8_t *data, size_t n,
    const uint8_t *sig, size_t nsig);

#define JWT_KEYS_MAX 100u
struct jwt_keys { uint32_t n; struct jwt_key *v[JWT_KEYS_MAX]; };
void jwt_keys_free(struct jwt_keys *s);
/* A JSON Web Key Set.  NULL with a sentence in why: not one, or no key of it can be used. */
struct jwt_keys *jwt_keys_read(const char *text, size_t n, const struct jwt_pins *pins, bool local,
    char *why, size_t whylen);
/* The key for kid (NULL: the token names none) and alg; it is one that may be used for that. */
enum jwt_reason jwt_keys_find(const struct jwt_keys *s, const char *kid, enum jwt_alg alg,
    const struct jwt_key **key);
/* What is in both goes on as the key that it was; what is not in `is` is retired.  was NULL is legal; it
 * is freed.  True: something has changed. */
bool jwt_keys_replace(struct jwt_keys *was, struct jwt_keys *is);

/* ---- a token taken apart ---- */
struct jwt_token {
	uint8_t *mem;
	const uint8_t *text;     /* borrowed; what is signed is text[0..nsigned) */
	size_t nsigned;
	json_t *header, *claims;
	const char *kid;         /* of header; NULL: none */
	enum jwt_alg alg;
	const uint8_t *payload, *sig;
	size_t npayload, nsig;
};
enum jwt_reason jwt_token_read(struct jwt_token *t, const void *token, size_t n); /* not OK: it is empty */
void jwt_token_free(struct jwt_token *t);
enum jwt_reason jwt_claims_json(const uint8_t *payload, size_t n, json_t **out);

/* ---- what the INI says ---- */
struct jwt_list { uint32_t n; const char *const *v; };
struct jwt_map { const char *word, *role; uint32_t perms; }; /* role NULL: a PERM_BIT() */
struct jwks_opts {           /* of a provider whose keys are fetched */
	const char *id;          /* what must be the same for fetched keys to be good after a reload */
	const char *url;         /* of the keys, or of the discovery document */
	bool discovery, allow_http;
	const char *issuer, *provider, *ca_file; /* ca_file NULL: the system's */
	struct jwt_pins pins;
	uint64_t timeout_ns, refresh_min_ns, refresh_max_ns, kid_interval_ns, max_stale_ns;
};
struct jwt_provider {
	const char *name, *issuer;
	struct jwt_list audience, parties, projects, claims;
	bool any_project;
	uint32_t algs;
	const char *role;        /* where map finds nothing; NULL: none */
	uint64_t skew_ms, lifetime_ms;
	const char *project_claim; /* NULL: none */
	struct jwt_map *map;
	uint32_t nmap;
	struct jwt_keys *fixed;  /* NULL: remote */
	struct jwks_opts remote;
};
struct jwt_policy {
	_Atomic uint32_t refs;
	uint64_t id;             /* the generation's number */
	uint32_t n;
	struct jwt_provider *v;
	struct role *by_perms;   /* a role for each set of permissions: [perms >> (PERM_ANY + 1)] */
	struct arena arena;      /* all its texts */
};
/* What the making of a policy has in hand. */
struct jwt_making {
	struct jwt_policy *p;
	const struct cfg *cfg;
	const struct cfg_section *s;
	struct buf *why;
};
/* "FILE:LINE: [jwt NAME] " and what is wrong; -1. */
int jwt_complain(struct jwt_making *m, enum cfg_key key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int jwt_files(struct jwt_making *m, struct jwt_provider *v, const struct jwt_pins *pins); /* -> v->fixed */
/* The section for these claims: iss, and where several have it, aud. */
enum jwt_reason jwt_policy_find(const struct jwt_policy *p, const json_t *claims,
    const struct jwt_provider **out);


/* ---- claims ---- */
struct jwt_signed { const struct jwt_key *key; enum jwt_alg alg; const uint8_t *payload; size_t n; };
struct jwt_claims_full {     /* what struct jwt_claims is inside */
	struct jwt_claims c;     /* first */
	uint64_t policy;         /* id */
	struct jwt_key *key;
	enum jwt_alg alg;
	char *remote;            /* jwks_opts.id; NULL: a key of a file */
	uint8_t *payload;
	size_t npayload;
	struct arena arena;
};
enum jwt_reason jwt_claims_make(const struct jwt_policy *p, const struct jwt_provider *v,
    const json_t *claims, const struct jwt_signed *by, uint64_t wall_ms, struct jwt_claims **out);

/* Whose key it is and whether it fits, where keys are fetched. */
typedef enum jwt_reason (*jwt_remote_keys)(void *arg, const struct jwt_provider *v, const struct jwt_token *t,
    const struct jwt_key **key);
enum jwt_reason jwt_keys_try(const struct jwt_keys *keys, const struct jwt_token *t, const struct jwt_key **key);
/* *provider: the section that it is measured against, as far as one was found. */
enum jwt_reason jwt_judge(const struct jwt_policy *p, const struct jwt_token *t, jwt_remote_keys remote, void *arg,
    uint64_t wall_ms, const char **provider, struct jwt_claims **out);

/* ---- cache ---- */
#define JWT_HASH 32u
#define JWT_CACHE_WAYS 4u
struct jwt_entry { uint8_t hash[JWT_HASH]; struct jwt_claims *claims; uint32_t used; };
struct jwt_cache {
	struct jwt_entry *v;     /* NULL until something is put in */
	uint32_t sets, clock;    /* sets of JWT_CACHE_WAYS; a power of two */
};
void jwt_cache_init(struct jwt_cache *c, uint32_t entries);
void jwt_cache_free(struct jwt_cache *c);
/* JWT_OK with one reference; JWT_EXPIRED; JWT_PENDING: not in it (any more). */
enum jwt_reason jwt_cache_get(struct jwt_cache *c, const uint8_t *hash, const struct jwt_policy *p,
    uint64_t wall_ms, struct jwt_claims **out);
void jwt_cache_put(struct jwt_cache *c, const uint8_t *hash, struct jwt_claims *claims, uint64_t wall_ms);

/* ---- when to fetch: pure ---- */
#define JWKS_KIDS 64u
struct jwks_plan {
	const struct jwks_opts *o;
	bool got;                /* there are keys */
	uint64_t fresh_until_ns; /* of them */
	uint64_t next_ns;        /* the next fetch by itself */
	uint64_t earliest_ns;    /* no fetch for a kid before */
	uint64_t started_ns;     /* the last fetch */
	bool running, failed;    /* it: is under way; has failed */
	uint32_t failures;       /* in a row */
	struct { uint64_t hash, asked_ns; } kid[JWKS_KIDS];
	uint32_t next_kid;
};
void jwks_plan_init(struct jwks_plan *p, const struct jwks_opts *o, uint64_t now_ns);
void jwks_plan_start(struct jwks_plan *p, uint64_t now_ns);
void jwks_plan_got(struct jwks_plan *p, uint64_t now_ns, int64_t max_age_s); /* -1: nothing was said */
/* random: any number; retry_after_s -1: nothing was said */
void jwks_plan_failed(struct jwks_plan *p, uint64_t now_ns, uint64_t random, int64_t retry_after_s);
enum jwt_reason jwks_plan_usable(const struct jwks_plan *p, uint64_t now_ns); /* OK, KEYS_AWAY, KEYS_STALE */
/* Keys are needed that are not here: because there are none (kid NULL), or none of that name. */
enum jwks_want {
	JWKS_START,              /* fetch now */
	JWKS_WAIT,               /* one is under way, or comes at next_ns */
	JWKS_KNOWN,              /* the issuer was asked for that kid: it has none */
	JWKS_LATER               /* not soon enough for anybody to wait for */
};
enum jwks_want jwks_plan_want(struct jwks_plan *p, uint64_t now_ns, const char *kid);

/* ---- fetching ---- */
struct fetch;
struct jwks;
struct jwks_env {
	struct loop *loop;
	struct fetch *fetch;
	struct log *log;
	void (*ended)(void *arg, struct jwks *j, const char *outcome); /* of each fetch: "ok", "timeout", ... */
	void *arg;
	pthread_mutex_t *lock;   /* of what jwks_status() reads */
};
struct jwks *jwks_new(const struct jwks_env *env, const struct jwks_opts *o); /* o outlives it, see jwks_opts() */
void jwks_free(struct jwks *j);
void jwks_opts(struct jwks *j, const struct jwks_opts *o); /* the same issuer, of the policy of now */
const char *jwks_id(const struct jwks *j);
const char *jwks_provider(const struct jwks *j);
enum jwt_reason jwks_keys(const struct jwks *j, const struct jwt_keys **keys);
enum jwks_want jwks_need(struct jwks *j, const char *kid); /* fetches if it must */
void jwks_status(const struct jwks *j, struct buf *out); /* any thread; env.lock is held */

/* ---- workers and the thread ---- */
#define JWT_CHECKS_MAX 1024u /* of one worker, at once */
/* Of one owner may wait for keys, over all workers: so many for a key that another check waits for already, and so many
 * for one that nobody has heard of.  Who makes up kids takes no place of others. */
#define JWT_WAITS_MAX 512u
#define JWT_WAITS_NEW 64u
struct jwt_check {
	purser_job job;
	void (*tell)(void *check); /* how the answer comes back */
	struct jwt_worker *w;
	struct jwt_policy *p;    /* one reference */
	jwt_done done;
	void *arg;
	bool cancelled;
	struct jwt_check *next, **prev; /* the worker's list */
	struct jwt_answer answer;
	struct jwt_check *after; /* on the thread: those that wait for keys, in order */
	struct jwks *waits;      /* ... of this issuer; NULL: it does not wait */
	uint64_t owner, kid;     /* who asks; the hash of what it waits for */
	uint64_t until_ns;
	uint8_t hash[JWT_HASH];
	size_t n;
	char token[];
};
struct jwt_worker {
	struct jwt_service *s;
	struct loop *loop;
	struct jwt_cache cache;
	EVP_MD_CTX *md;
	struct jwt_check *checks;
	uint32_t nchecks;
};
const EVP_MD *jwt_service_sha256(const struct jwt_service *s);
void jwt_service_post(struct jwt_service *s, struct jwt_check *c); /* a worker's thread */
#endif
