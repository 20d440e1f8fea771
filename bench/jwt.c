/* SPDX-License-Identifier: Apache-2.0
 *
 * What a token costs a worker: one that it knows (its SHA-256 and a look into its table), and what the
 * thread for tokens spends on one that nobody knows, by alg.  make bench-jwt
 *
 *   jwt [rounds]     CPU time of one thread, medians of nine
 */
#include <config.h>
#include <time.h>
#include "access/jwt_priv.h"
#include "base/buf.h"
#include "config/cfg.h"
#include "metric/metric.h"
#include "../tests/unit/jwt_maker.h"

#define MEDIAN 9

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* others may use the machine, too */
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double v[MEDIAN])
{
	qsort(v, MEDIAN, sizeof *v, by_number);
	return v[MEDIAN / 2];
}

static void die(const char *what)
{
	fprintf(stderr, "bench/jwt: %s\n", what);
	exit(1);
}

static int no_schema(void *arg, const char *plugin, const char *dir, const purser_key **keys, uint32_t *n,
    uint32_t *stride, char *why, size_t len)
{
	(void)arg, (void)plugin, (void)dir, (void)why, (void)len;
	*keys = NULL;
	*n = 0;
	*stride = sizeof(purser_key);
	return 0;
}

static struct jwt_policy *policy_of(const char *jwks_file)
{
	char file[256];
	const char *const sets[] = { "backend main.plugin=memory", "jwt main.issuer=https://id.example",
		"jwt main.audience=purser", "jwt main.project=*", "jwt main.map=kv:write=writer", file };
	struct cfg_inputs in = { .system_path = "/nowhere", .sets = sets, .nsets = 6, .schema = no_schema, .generation = 1 };
	struct cfg_errors e = { 0 };
	struct buf why = { .max = 4096 };
	struct jwt_policy *p;
	struct cfg *c;

	snprintf(file, sizeof file, "jwt main.jwks_file=%s", jwks_file);
	if (cfg_load(&in, &c, &e)) {
		cfg_errors_print(stderr, &e);
		die("the configuration is not good");
	}
	if (jwt_policy_new(c, &p, &why))
		die(buf_cstr(&why));
	cfg_unref(c);
	return p;
}

static void done(void *arg, const struct jwt_answer *a)
{
	struct jwt_claims **out = arg;

	if (a->reason != JWT_OK)
		die(jwt_reason_text(a->reason));
	*out = a->claims;
}

/* A worker with `others` more tokens in its table. */
static void known(struct jwt_policy *p, const char *token, size_t n, uint64_t rounds)
{
	struct metric_reg *m = metric_new(NULL);
	struct jwt_service *s = jwt_service_new(NULL, m, 1024);
	struct loop *l = loop_new(NULL);
	struct jwt_worker *w = jwt_worker_new(s, l, 1024);
	struct jwt_claims *c = NULL;
	struct jwt_check *check;
	double ns[MEDIAN];
	char why[256];

	if (!w || jwt_service_apply(s, p, why, sizeof why))
		die("no service");
	if (jwt_verify(w, p, token, n, 0, done, &c, &c, &check) != JWT_PENDING)
		die("known before it was seen");
	while (!c)
		loop_turn(l, 1000000000);
	jwt_claims_unref(c);
	for (int k = 0; k < MEDIAN; k++) {
		uint64_t t = cpu_ns();

		for (uint64_t i = 0; i < rounds; i++) {
			if (jwt_verify(w, p, token, n, 0, done, &c, &c, &check) != JWT_OK)
				die("not known");
			jwt_claims_unref(c);
		}
		ns[k] = (double)(cpu_ns() - t) / (double)rounds;
	}
	printf("known token of %4zu bytes     %8.0f ns\n", n, median(ns));
	jwt_service_stop(s);
	jwt_service_join(s);
	jwt_worker_free(w);
	jwt_service_free(s);
	loop_free(l);
	metric_free(m);
}

static void unknown(const struct jwt_policy *p, const char *alg, const char *token, size_t n)
{
	uint64_t wall = (uint64_t)time(NULL) * 1000;
	double ns[MEDIAN];

	for (int k = 0; k < MEDIAN; k++) {
		uint64_t t = cpu_ns();

		for (int i = 0; i < 50; i++) {
			const char *provider;
			struct jwt_token x;
			struct jwt_claims *c;

			if (jwt_token_read(&x, token, n) != JWT_OK ||
			    jwt_judge(p, &x, NULL, NULL, wall, &provider, &c) != JWT_OK)
				die(alg);
			jwt_claims_unref(c);
			jwt_token_free(&x);
		}
		ns[k] = (double)(cpu_ns() - t) / 50;
	}
	printf("unknown token, %-6s         %8.1f us\n", alg, median(ns) / 1000);
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
	const struct { const char *alg; EVP_PKEY *k; enum mk_how how; const char *hash; } rows[] = {
		{ "RS256", mk_rsa(2048), MK_PKCS, "SHA256" }, { "PS256", mk_rsa(2048), MK_PSS, "SHA256" },
		{ "ES256", mk_ec("P-256"), MK_EC, "SHA256" }, { "ES384", mk_ec("P-384"), MK_EC, "SHA384" },
		{ "EdDSA", mk_ed("ED25519"), MK_ED, NULL },
	};
	char path[] = "/tmp/purser-bench-jwt-XXXXXX", jwk[4096], more[64], header[128], claims[512], token[8192];
	int fd = mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	struct jwt_policy *p;
	size_t n;

	if (!f)
		die("no temporary file");
	fputs("{\"keys\":[", f);
	for (size_t i = 0; i < 5; i++) {
		snprintf(more, sizeof more, ",\"alg\":\"%s\"", rows[i].alg);
		fprintf(f, "%s%s", i ? "," : "", mk_jwk(jwk, sizeof jwk, rows[i].k, rows[i].alg, more));
	}
	fputs("]}", f);
	fclose(f);
	p = policy_of(path);
	remove(path);
	snprintf(claims, sizeof claims, "{\"iss\":\"https://id.example\",\"aud\":\"purser\",\"sub\":\"somebody@example.com\","
	    "\"scope\":\"openid profile kv:write\",\"iat\":%lld,\"exp\":%lld}", (long long)time(NULL),
	    (long long)time(NULL) + 3600);
	for (size_t i = 0; i < 5; i++) {
		snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}", rows[i].alg, rows[i].alg);
		n = mk_token(token, header, claims, rows[i].how, rows[i].hash, rows[i].k, NULL, 0);
		if (i == 0 || i == 2)
			known(p, token, n, rounds);
		unknown(p, rows[i].alg, token, n);
	}
	for (size_t i = 0; i < 5; i++)
		EVP_PKEY_free(rows[i].k);
	jwt_policy_unref(p);
	return 0;
}
