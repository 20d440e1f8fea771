/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwks_plan: when an issuer is asked for its keys; time and chance are given. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "access/jwt_priv.h"

#define S UINT64_C(1000000000)

static const struct jwks_opts opts = { .timeout_ns = 5 * S, .refresh_min_ns = 60 * S, .refresh_max_ns = 3600 * S,
	.kid_interval_ns = 30 * S, .max_stale_ns = 600 * S };

static void fetch(struct jwks_plan *p, uint64_t at, int64_t max_age)
{
	jwks_plan_start(p, at);
	jwks_plan_got(p, at, max_age);
}

static void freshness(void **state)
{
	const struct { int64_t max_age; uint64_t fresh; } rows[] = {
		{ -1, 3600 }, { 0, 60 }, { 59, 60 }, { 61, 61 }, { 300, 300 }, { 3600, 3600 }, { 3601, 3600 }, { INT64_MAX, 3600 },
	};
	struct jwks_plan p;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		jwks_plan_init(&p, &opts, 100 * S);
		assert_int_equal(p.next_ns, 100 * S);
		assert_int_equal(jwks_plan_usable(&p, 100 * S), JWT_KEYS_AWAY);
		fetch(&p, 100 * S, rows[i].max_age);
		assert_int_equal(p.next_ns, (100 + rows[i].fresh) * S);
		assert_int_equal(jwks_plan_usable(&p, (100 + rows[i].fresh + 600) * S - 1), JWT_OK);
		assert_int_equal(jwks_plan_usable(&p, (100 + rows[i].fresh + 600) * S), JWT_KEYS_STALE);
	}
}

static void back_off(void **state)
{
	const uint64_t least[] = { 1, 2, 4, 8, 16, 32, 60, 60 };
	struct jwks_plan p;
	uint64_t at = 100 * S;

	(void)state;
	jwks_plan_init(&p, &opts, at);
	for (size_t i = 0; i < 8; i++) { /* without chance the longest, with it at least half */
		jwks_plan_start(&p, at);
		assert_int_equal(p.next_ns, UINT64_MAX);
		jwks_plan_failed(&p, at, i % 2 ? least[i] * S / 2 - 1 : 0, -1);
		assert_int_equal(p.next_ns - at, i % 2 ? least[i] * S / 2 + 1 : least[i] * S);
		at = p.next_ns;
	}
	jwks_plan_start(&p, at);
	jwks_plan_failed(&p, at, 0, 300);
	assert_int_equal(p.next_ns - at, 300 * S); /* Retry-After */
	jwks_plan_failed(&p, at, 0, 86400);
	assert_int_equal(p.next_ns - at, 3600 * S); /* ... within bounds */
	jwks_plan_got(&p, at, -1);
	jwks_plan_failed(&p, at, 0, -1);
	assert_int_equal(p.next_ns - at, S); /* it begins anew */
	assert_int_equal(jwks_plan_usable(&p, at), JWT_OK); /* and what is here stays */
}

static void cold(void **state)
{
	struct jwks_plan p;

	(void)state;
	jwks_plan_init(&p, &opts, 100 * S);
	assert_int_equal(jwks_plan_want(&p, 100 * S, NULL), JWKS_START);
	jwks_plan_start(&p, 100 * S);
	assert_int_equal(jwks_plan_want(&p, 101 * S, NULL), JWKS_WAIT);
	assert_int_equal(jwks_plan_want(&p, 101 * S, "a"), JWKS_WAIT);
	jwks_plan_failed(&p, 101 * S, 0, -1);
	assert_int_equal(jwks_plan_want(&p, 101 * S, NULL), JWKS_WAIT); /* again in a second */
	assert_int_equal(jwks_plan_want(&p, 102 * S, NULL), JWKS_START);
	jwks_plan_start(&p, 102 * S);
	jwks_plan_failed(&p, 102 * S, 0, 30);
	assert_int_equal(jwks_plan_want(&p, 102 * S, NULL), JWKS_LATER); /* nobody waits for so long */
}

static void unknown_kids(void **state)
{
	struct jwks_plan p;
	uint64_t fetches = 0;
	char kid[32];

	(void)state;
	jwks_plan_init(&p, &opts, 0);
	fetch(&p, 100 * S, -1);
	/* a new key: asked at once, and once */
	assert_int_equal(jwks_plan_want(&p, 200 * S, "new"), JWKS_START);
	jwks_plan_start(&p, 200 * S);
	assert_int_equal(jwks_plan_want(&p, 200 * S + 1, "new"), JWKS_WAIT);
	jwks_plan_got(&p, 201 * S, -1);
	assert_int_equal(jwks_plan_want(&p, 201 * S, "new"), JWKS_KNOWN);
	assert_int_equal(jwks_plan_want(&p, 229 * S, "new"), JWKS_KNOWN);
	assert_int_equal(jwks_plan_want(&p, 230 * S, "new"), JWKS_START); /* the interval is over */
	fetch(&p, 230 * S, -1);
	/* one that came while a fetch was under way is asked for by the next */
	jwks_plan_start(&p, 300 * S);
	assert_int_equal(jwks_plan_want(&p, 300 * S + 5, "late"), JWKS_WAIT);
	jwks_plan_got(&p, 301 * S, -1);
	assert_int_equal(jwks_plan_want(&p, 301 * S, "late"), JWKS_WAIT);
	assert_int_equal(p.next_ns, 303 * S); /* a tenth of the interval behind the start of the last */
	assert_int_equal(jwks_plan_want(&p, 303 * S, "late"), JWKS_START);
	fetch(&p, 303 * S, -1);
	assert_int_equal(jwks_plan_want(&p, 303 * S, "late"), JWKS_KNOWN);
	/* made-up ones: a flood of them is one fetch in a tenth of the interval */
	for (uint64_t i = 0; i < 60000; i++) {
		uint64_t at = 400 * S + i * 1000000;

		snprintf(kid, sizeof kid, "made-up-%llu", (unsigned long long)i);
		if (jwks_plan_want(&p, at, kid) == JWKS_START) {
			fetch(&p, at, -1);
			fetches++;
		}
	}
	assert_int_equal(fetches, 20); /* in 60 seconds */
	/* nobody has answered: it may be asked again */
	jwks_plan_start(&p, 500 * S);
	assert_int_equal(jwks_plan_want(&p, 500 * S, "x"), JWKS_WAIT);
	jwks_plan_failed(&p, 500 * S, 0, -1);
	assert_int_equal(jwks_plan_want(&p, 500 * S, "x"), JWKS_WAIT);
	assert_int_equal(jwks_plan_want(&p, 501 * S, "x"), JWKS_START);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(freshness),
		cmocka_unit_test(back_off),
		cmocka_unit_test(cold),
		cmocka_unit_test(unknown_kids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
