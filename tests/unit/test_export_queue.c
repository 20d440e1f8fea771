/* SPDX-License-Identifier: Apache-2.0 */
/* export/queue: order, both bounds, what is held stays, and every item is accounted for. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "export/queue.h"

static int push(struct export_queue *q, enum export_signal s, size_t bytes, uint32_t items,
    uint64_t now)
{
	struct buf b = { .max = 0 };
	int rc;

	assert_int_equal(buf_room(&b, bytes), 0);
	if (bytes > 0)
		memset(b.p, 'x', bytes);
	b.end = bytes;
	rc = queue_push(q, s, &b, true, items, now);
	assert_null(b.p); /* it transfers, whatever happens */
	return rc;
}

static void test_order(void **state)
{
	struct export_queue q;

	(void)state;
	queue_init(&q, 1000, 0);
	assert_int_equal(queue_oldest(&q), 0);
	for (uint32_t i = 1; i <= 5; i++)
		assert_int_equal(push(&q, EXPORT_TRACES, 10, i, i), 0);
	assert_int_equal(push(&q, EXPORT_METRICS, 10, 100, 6), 0);
	assert_int_equal(q.bytes, 60);
	for (uint32_t i = 1; i <= 5; i++) {
		assert_int_equal(queue_oldest(&q), i);
		assert_int_equal(queue_head(&q, EXPORT_TRACES)->items, i);
		queue_pop(&q, EXPORT_TRACES);
	}
	assert_null(queue_head(&q, EXPORT_TRACES));
	assert_int_equal(queue_head(&q, EXPORT_METRICS)->items, 100);
	assert_int_equal(push(&q, EXPORT_TRACES, 10, 9, 9), 0); /* after it was empty */
	assert_int_equal(queue_head(&q, EXPORT_TRACES)->items, 9);
	queue_free(&q);
	assert_int_equal(q.bytes, 0);
}

static void test_bytes(void **state)
{
	struct export_queue q;

	(void)state;
	queue_init(&q, 100, 0);
	assert_int_equal(push(&q, EXPORT_METRICS, 40, 1, 1), 0);
	assert_int_equal(push(&q, EXPORT_TRACES, 40, 2, 2), 0);
	/* the oldest of both signals goes */
	assert_int_equal(push(&q, EXPORT_TRACES, 40, 4, 3), 0);
	assert_null(queue_head(&q, EXPORT_METRICS));
	assert_int_equal(q.fifo[EXPORT_METRICS].evicted, 1);
	/* what is being sent stays, the next goes */
	queue_head(&q, EXPORT_TRACES)->held = true;
	assert_int_equal(push(&q, EXPORT_TRACES, 60, 8, 4), 0);
	assert_int_equal(queue_head(&q, EXPORT_TRACES)->items, 2);
	assert_int_equal(q.fifo[EXPORT_TRACES].evicted, 4);
	assert_int_equal(q.bytes, 100);
	/* larger than all of it, or than what the held one leaves: not taken, the others stay or go */
	assert_int_equal(push(&q, EXPORT_METRICS, 101, 16, 5), -1);
	assert_int_equal(q.bytes, 100);
	assert_int_equal(push(&q, EXPORT_METRICS, 70, 32, 5), -1);
	assert_int_equal(q.fifo[EXPORT_METRICS].evicted, 1 + 16 + 32);
	queue_bound(&q, 10, 0);
	assert_int_equal(queue_head(&q, EXPORT_TRACES)->items, 2);
	queue_pop(&q, EXPORT_TRACES);
	assert_int_equal(q.bytes, 0);
	queue_free(&q);
}

static void test_age(void **state)
{
	struct export_queue q;

	(void)state;
	queue_init(&q, 1000, 50);
	push(&q, EXPORT_TRACES, 10, 1, 100);
	push(&q, EXPORT_METRICS, 10, 2, 120);
	push(&q, EXPORT_TRACES, 10, 4, 140);
	queue_expire(&q, 150);
	assert_int_equal(q.bytes, 30);
	queue_expire(&q, 171);
	assert_int_equal(q.bytes, 10);
	assert_int_equal(queue_oldest(&q), 140);
	assert_int_equal(q.fifo[EXPORT_TRACES].evicted, 1);
	assert_int_equal(q.fifo[EXPORT_METRICS].evicted, 2);
	queue_park(&q, EXPORT_TRACES, true);
	assert_int_equal(q.bytes, 0);
	queue_free(&q);
}

/* Random pushes and pops: what went in is out, in it, or counted. */
static void test_sums(void **state)
{
	struct export_queue q;
	uint64_t in = 0, out = 0, there = 0;
	unsigned seed = 12345;

	(void)state;
	queue_init(&q, 500, 0);
	for (uint64_t i = 1; i < 20000; i++) {
		enum export_signal s;
		struct export_record *r;

		seed = seed * 1103515245u + 12345u;
		s = (seed >> 16 & 1) ? EXPORT_TRACES : EXPORT_METRICS;
		r = queue_head(&q, s);
		if ((seed >> 17 & 3) == 0 && r) {
			out += r->items;
			queue_pop(&q, s);
		} else if ((seed >> 17 & 3) == 1 && r) {
			r->held = !r->held;
		} else {
			in += i;
			push(&q, s, seed >> 20 & 127, (uint32_t)i, i);
		}
		assert_true(q.bytes <= 500);
		assert_int_equal(q.bytes, q.fifo[0].bytes + q.fifo[1].bytes);
	}
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		for (const struct export_record *r = q.fifo[s].head; r; r = r->next)
			there += r->items;
	assert_int_equal(in, out + there + q.fifo[0].evicted + q.fifo[1].evicted);
	queue_free(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
