/* SPDX-License-Identifier: Apache-2.0 */
/* trace: sampling, ids, the cap, and the ring under two threads. */
#include <config.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "trace/trace.h"

static struct trace_policy policy;

static struct trace *fresh(double ratio, uint32_t cap, uint64_t slow_ns, bool errors, uint32_t slots)
{
	struct trace_policy_opts o = { .on = true, .ratio = ratio, .spans_per_second = cap,
		.slow_ns = slow_ns, .keep_errors = errors, .workers = 1 };
	struct trace *t;

	trace_policy_set(&policy, &o);
	t = trace_new(&policy, slots);
	assert_non_null(t);
	return t;
}

static unsigned sampled(struct trace *t, unsigned n)
{
	unsigned hits = 0;

	for (unsigned i = 0; i < n; i++) {
		struct trace_ctx c;

		trace_begin(t, NULL, &c);
		if (trace_keep(t, &c, 1, 10, false)) {
			hits++;
			assert_int_equal(c.flags, TRACE_SAMPLED | TRACE_RANDOM);
			assert_int_equal(c.has & 3, TRACE_HAS_TRACE | TRACE_HAS_SPAN);
		}
	}
	return hits;
}

static void test_ratio(void **state)
{
	static const double ratios[] = { 0, 0.01, 0.1, 0.5, 1 };

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct trace *t = fresh(ratios[i], 0, 0, false, 64);
		static const uint64_t seed[4] = { 1, 2, 3, 4 };
		struct trace_counts n;
		unsigned hits;
		double want = 200000 * ratios[i];

		trace_seed(t, seed);
		hits = sampled(t, 200000);
		assert_true(hits >= want * 0.95 && hits <= want * 1.05);
		if (ratios[i] == 0 || ratios[i] == 1)
			assert_int_equal(hits, want);
		trace_counts(t, &n);
		assert_int_equal(n.kept[0], hits);
		assert_int_equal(n.kept[0] + n.dropped[0], 200000);
		trace_free(t);
	}
}

/* The decision can be made again from the id alone: its low 56 bits against the threshold. */
static void test_consistent(void **state)
{
	struct trace *t = fresh(0.25, 0, 0, false, 64);
	unsigned hits = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		struct trace_ctx c;
		uint64_t r = 0;

		trace_begin(t, NULL, &c);
		if (!trace_keep(t, &c, 1, 1, false))
			continue;
		hits++;
		for (int k = 9; k < 16; k++)
			r = r << 8 | c.trace_id[k];
		assert_true(r >= UINT64_C(0xc0000000000000));
	}
	assert_true(hits > 2000 && hits < 3000);
	trace_free(t);
}

static void test_parent(void **state)
{
	struct trace *t = fresh(0, 0, 0, false, 64);
	struct trace_parent p = { .valid = true, .flags = TRACE_SAMPLED, .trace_id = { 7 },
		.span_id = { 8 } };
	struct trace_ctx c, child;
	struct trace_policy_opts off = { .on = false, .ratio = 1, .workers = 1 };

	(void)state;
	/* a parent's yes counts more than a ratio of 0 */
	trace_begin(t, &p, &c);
	assert_true(trace_keep(t, &c, 1, 1, false));
	assert_memory_equal(c.trace_id, p.trace_id, 16);
	assert_memory_equal(c.parent_id, p.span_id, 8);
	assert_memory_not_equal(c.span_id, p.span_id, 8);
	assert_int_equal(c.origin, TRACE_ORIGIN_REMOTE);
	assert_int_equal(c.flags, TRACE_SAMPLED);
	trace_child(t, &c, &child);
	assert_true(trace_keep(t, &child, 1, 1, false));
	assert_memory_equal(child.trace_id, p.trace_id, 16);
	assert_memory_equal(child.parent_id, c.span_id, 8);
	assert_memory_not_equal(child.span_id, c.span_id, 8);
	/* ... and its no more than a ratio of 1 */
	trace_free(t);
	t = fresh(1, 0, 0, false, 64);
	p.flags = TRACE_RANDOM;
	trace_begin(t, &p, &c);
	assert_false(trace_keep(t, &c, 1, 1, false));
	/* ... unless the sampler is not parent-based: then its id decides */
	trace_policy_set(&policy, &(struct trace_policy_opts){ .on = true, .ratio = 1,
	    .ignore_parent = true });
	trace_begin(t, &p, &c);
	assert_true(trace_keep(t, &c, 1, 1, false));
	assert_memory_equal(c.trace_id, p.trace_id, 16);
	trace_policy_set(&policy, &(struct trace_policy_opts){ .on = true, .ratio = 0.5,
	    .ignore_parent = true });
	p.flags = TRACE_SAMPLED;
	trace_begin(t, &p, &c); /* low 56 bits 0: never at less than 1 */
	assert_false(trace_keep(t, &c, 1, 1, false));
	trace_policy_set(&policy, &(struct trace_policy_opts){ .on = true, .ratio = 1 });
	/* an invalid parent is none */
	p.valid = false;
	trace_begin(t, &p, &c);
	assert_true(trace_keep(t, &c, 1, 1, false));
	assert_memory_not_equal(c.trace_id, p.trace_id, 16);
	/* nobody exports: nothing is recorded */
	trace_policy_set(&policy, &off);
	p.valid = true;
	p.flags = TRACE_SAMPLED;
	trace_begin(t, &p, &c);
	assert_false(trace_keep(t, &c, 1, 1, true));
	trace_begin(t, NULL, &c);
	assert_false(trace_keep(t, &c, 1, UINT64_MAX - 1, true));
	trace_free(t);
}

static void test_outcome_and_cap(void **state)
{
	struct trace *t = fresh(0, 0, 1000, true, 64);
	struct trace_ctx c;
	unsigned kept = 0;

	(void)state;
	trace_begin(t, NULL, &c);
	assert_false(trace_keep(t, &c, 1, 999, false));
	trace_begin(t, NULL, &c);
	assert_true(trace_keep(t, &c, 1, 1000, false));
	trace_begin(t, NULL, &c);
	assert_true(trace_keep(t, &c, 1, 1, true));
	assert_int_equal(c.flags & TRACE_SAMPLED, TRACE_SAMPLED);
	trace_free(t);
	t = fresh(1, 10, 0, true, 64);
	for (uint64_t ms = 0; ms < 3000; ms++) {
		trace_begin(t, NULL, &c);
		kept += trace_keep(t, &c, UINT64_C(5000000000) + ms * 1000000, 1, true);
	}
	assert_int_equal(kept, 30);
	trace_free(t);
}

static unsigned wakes;

static void wake(void *arg)
{
	(void)arg;
	wakes++;
}

static void count(void *arg, const struct span *s)
{
	uint64_t *next = arg;

	assert_int_equal(s->start_ns, *next);
	assert_int_equal(s->end_ns, ~*next);
	++*next;
}

static void push(struct trace *t, uint64_t i)
{
	struct span *s = trace_reserve(t);

	if (!s)
		return;
	s->start_ns = i;
	s->end_ns = ~i;
	trace_commit(t);
}

static void test_full(void **state)
{
	struct trace *t = fresh(1, 0, 0, false, 16);
	struct trace_counts n;
	uint64_t next = 0;

	(void)state;
	t->wake = wake;
	wakes = 0;
	for (uint64_t i = 0; i < 20; i++)
		push(t, i);
	assert_int_equal(wakes, 1);
	assert_int_equal(trace_pending(t), 16);
	assert_int_equal(trace_drain(t, 10, count, &next), 10);
	assert_int_equal(trace_drain(t, 100, count, &next), 6);
	assert_int_equal(trace_drain(t, 100, count, &next), 0);
	trace_counts(t, &n);
	assert_int_equal(n.recorded, 16);
	assert_int_equal(n.lost, 4);
	for (uint64_t i = 16; i < 32; i++)
		push(t, i);
	assert_int_equal(wakes, 2);
	assert_int_equal(trace_drain(t, 100, count, &next), 16);
	trace_free(t);
}

#define MANY 200000
static _Atomic int done;

static void *writer(void *arg)
{
	struct trace *t = arg;

	for (uint64_t i = 0; i < MANY;) {
		struct span *s = trace_reserve(t);

		if (!s) {
			sched_yield();
			continue;
		}
		s->start_ns = i;
		s->end_ns = ~i++;
		trace_commit(t);
	}
	done = 1;
	return NULL;
}

static void test_threads(void **state)
{
	struct trace *t = fresh(1, 0, 0, false, 1024);
	struct trace_counts n;
	uint64_t next = 0;
	pthread_t th;

	(void)state;
	assert_int_equal(pthread_create(&th, NULL, writer, t), 0);
	while (!done || trace_pending(t))
		if (!trace_drain(t, 100, count, &next))
			sched_yield();
	pthread_join(th, NULL);
	assert_int_equal(next, MANY);
	trace_counts(t, &n);
	assert_int_equal(n.recorded, MANY);
	trace_free(t);
}

static void test_distinct_ids(void **state)
{
	struct trace *a = fresh(1, 0, 0, false, 64), *b = trace_new(&policy, 64);
	struct trace_ctx x, y;

	(void)state;
	trace_begin(a, NULL, &x);
	trace_begin(b, NULL, &y);
	trace_ids(a, &x);
	trace_ids(b, &y);
	assert_memory_not_equal(x.trace_id, y.trace_id, 16);
	assert_memory_not_equal(x.span_id, y.span_id, 8);
	trace_free(a);
	trace_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ratio),
		cmocka_unit_test(test_consistent),
		cmocka_unit_test(test_parent),
		cmocka_unit_test(test_outcome_and_cap),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_distinct_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
