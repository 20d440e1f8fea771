/* SPDX-License-Identifier: Apache-2.0 */
/* access/limit: what a request pays, what a refusal gives back, what a reload keeps; with a time of its own. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "access/limit.h"

#define SECOND UINT64_C(1000000000)
#define START (1000 * SECOND)

static struct limits rules(void)
{
	return (struct limits){ .meters = true };
}

static bool take(const struct limits *l, struct gcra *own, uint32_t commands, uint32_t writes, uint64_t bytes,
    uint64_t now, struct limit_no *no)
{
	struct limit_ask a = { .commands = commands, .writes = writes, .bytes = bytes, .now_ns = now };

	return limits_take(l, own, &a, no);
}

/* Refused by one meter: none of the others has been paid, nor is anything under way. */
static void test_all_or_nothing(void **state)
{
	struct limits r = rules(), *l;
	struct gcra own[LIMIT_OWN] = { { 0 } };
	struct limit_no no;

	(void)state;
	gcra_rule_set(&r.rule[LIMIT_CLIENT_RATE], 1, SECOND, 99);
	gcra_rule_set(&r.rule[LIMIT_RATE], 1, SECOND, 49);
	gcra_rule_set(&r.rule[LIMIT_WRITE_RATE], 1, SECOND, 4);
	r.max_inflight = 60;
	l = limits_for(&r, NULL);
	assert_non_null(l);
	for (int i = 0; i < 5; i++)
		assert_true(take(l, own, 1, 1, 0, START, &no));
	for (int i = 0; i < 1000; i++) {
		assert_false(take(l, own, 1, 1, 0, START, &no));
		assert_int_equal(no.limit, LIMIT_WRITE_RATE);
		assert_int_equal(no.wait_ns, SECOND);
	}
	assert_int_equal(gcra_view(&own[0], &l->rule[LIMIT_CLIENT_RATE], START).remaining, 95);
	assert_int_equal(gcra_view(&l->cell[LIMIT_RATE]->g, &l->rule[LIMIT_RATE], START).remaining, 45);
	assert_int_equal(atomic_load(&l->use->inflight), 5);
	assert_int_equal(atomic_load(&l->use->refused[LIMIT_WRITE_RATE]), 1000);
	/* a transaction pays for its commands, and for those that write */
	assert_true(take(l, own, 45, 0, 0, START, &no));
	assert_false(take(l, own, 1, 0, 0, START, &no));
	assert_int_equal(no.limit, LIMIT_RATE);
	assert_false(take(l, own, 51, 0, 0, START + 1000 * SECOND, &no));
	assert_true(no.wait_ns == GCRA_NEVER);
	assert_true(take(l, own, 5, 5, 0, START + 1000 * SECOND, &no));
	assert_false(take(l, own, 5, 1, 0, START + 1000 * SECOND, &no));
	limits_free(l);
}

static void test_inflight(void **state)
{
	struct limits r = { .max_inflight = 3 }, *l = limits_for(&r, NULL);
	struct limit_ask waits = { .commands = 1, .waits = true, .now_ns = START };
	struct gcra own[LIMIT_OWN] = { { 0 } };
	struct limit_no no;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(take(l, own, 1, 0, 0, START, &no));
	assert_false(take(l, own, 1, 0, 0, START, &no));
	assert_int_equal(no.limit, LIMIT_INFLIGHT);
	assert_true(no.wait_ns > 0 && no.wait_ns != GCRA_NEVER);
	assert_true(limits_take(l, own, &waits, &no)); /* BLPOP: blocking_max is its limit */
	limits_done(l, own, true, 0, START);
	assert_false(take(l, own, 1, 0, 0, START, &no));
	limits_done(l, own, false, 0, START);
	assert_true(take(l, own, 1, 0, 0, START, &no));
	assert_int_equal(atomic_load(&l->use->inflight), 3);
	limits_free(l);
}

/* Bytes of the request and of the reply; charge = size. */
static void test_bytes(void **state)
{
	struct limits r = rules(), *l;
	struct gcra own[LIMIT_OWN] = { { 0 } };
	struct limit_no no;

	(void)state;
	gcra_rule_set(&r.rule[LIMIT_BYTE_RATE], 1000, SECOND, 999);
	gcra_rule_set(&r.rule[LIMIT_RATE], 1, SECOND, 9);
	r.by_size = true;
	l = limits_for(&r, NULL);
	assert_true(take(l, own, 1, 0, 400, START, &no));
	limits_done(l, own, false, 1600, START);
	assert_false(take(l, own, 1, 0, 0, START, &no));
	assert_int_equal(no.limit, LIMIT_BYTE_RATE);
	assert_int_equal(no.wait_ns, SECOND + SECOND / 1000); /* 1,000 too many, and one to go on with */
	assert_true(take(l, own, 1, 0, 4096 * 3, START + 10 * SECOND, &no)); /* 4 of 10 */
	assert_false(take(l, own, 1, 0, 4096 * 6, START + 30 * SECOND, &no) &&
	    take(l, own, 1, 0, 4096 * 6, START + 30 * SECOND, &no));
	limits_free(l);
}

/* The same rule goes on with what it has counted, another begins anew; what is under way is under way. */
static void test_reload(void **state)
{
	struct limits r = rules(), *was, *is;
	struct gcra own[LIMIT_OWN] = { { 0 } };
	struct limit_no no;

	(void)state;
	gcra_rule_set(&r.rule[LIMIT_RATE], 1, SECOND, 1);
	gcra_rule_set(&r.rule[LIMIT_WRITE_RATE], 1, SECOND, 1);
	r.max_inflight = 10;
	was = limits_for(&r, NULL);
	assert_true(take(was, own, 2, 2, 0, START, &no));
	gcra_rule_set(&r.rule[LIMIT_WRITE_RATE], 1, SECOND, 2);
	is = limits_for(&r, was);
	assert_ptr_equal(is->cell[LIMIT_RATE], was->cell[LIMIT_RATE]);
	assert_ptr_not_equal(is->cell[LIMIT_WRITE_RATE], was->cell[LIMIT_WRITE_RATE]);
	assert_ptr_equal(is->use, was->use);
	limits_done(was, own, false, 0, START);
	limits_free(was);
	assert_false(take(is, own, 1, 0, 0, START, &no));
	assert_int_equal(no.limit, LIMIT_RATE);
	assert_int_equal(gcra_view(&is->cell[LIMIT_WRITE_RATE]->g, &is->rule[LIMIT_WRITE_RATE], START).remaining, 3);
	assert_int_equal(atomic_load(&is->use->inflight), 0);
	limits_free(is);
	limits_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_or_nothing), cmocka_unit_test(test_inflight),
		cmocka_unit_test(test_bytes), cmocka_unit_test(test_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
