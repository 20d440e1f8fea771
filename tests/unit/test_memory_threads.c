/* SPDX-License-Identifier: Apache-2.0
 *
 * Several contexts at once, as several workers: what must be atomic is, nothing is lost, the accounts add
 * up.  Worth most under --enable-sanitizers=thread.
 */
#include <config.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cmd.h"
#include "memory_host.h"

#define THREADS 4
#define ROUNDS 6000

struct worker {
	struct mh *m;
	struct mh_ctx x;
	unsigned number;
	uint64_t rng;
	const char *wrong;                /* what was seen that must not be */
	void (*work)(struct worker *w);
};

static uint32_t below(struct worker *w, uint32_t n)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return (uint32_t)(w->rng >> 32) % n;
}

static void *thread(void *arg)
{
	struct worker *w = arg;

	mh_open(&w->x, w->m);
	w->work(w);
	return NULL;
}

/* Runs work on all threads; then one of them frees what is left, and nothing may be. */
static void together(struct mh *m, void (*work)(struct worker *w))
{
	struct worker w[THREADS];
	pthread_t t[THREADS];
	unsigned i;

	memset(w, 0, sizeof(w));
	for (i = 0; i < THREADS; i++) {
		w[i].m = m;
		w[i].number = i;
		w[i].rng = 88172645463325252u + i * 7919;
		w[i].work = work;
		assert_int_equal(pthread_create(&t[i], NULL, thread, &w[i]), 0);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (i = 0; i < THREADS; i++)
		if (w[i].wrong)
			fail_msg("%s", w[i].wrong);
	for (i = 0; i < THREADS; i++)
		mh_release(&w[i].x);
	mh_run(&w[0].x, "FLUSHALL");
	for (i = 0; i < 200; i++)
		mh_pass(&w[0].x, 100);
	assert_int_equal(store_used(m->state), 0);
	assert_int_equal(mh_stats(m).keys, 0);
	for (i = 0; i < THREADS; i++)
		mh_close(&w[i].x);
}

/* a and b are always set to the same value, by one command or by one batch. */
static void pairs(struct worker *w)
{
	struct mh_ctx *x = &w->x;
	char line[128];
	unsigned i, n;
	size_t half;

	for (i = 0; i < ROUNDS; i++) {
		n = i * THREADS + w->number;
		switch (below(w, 5)) {
		case 0:
			mh_run(x, "MSET a %u b %u", n, n);
			break;
		case 1:
			snprintf(line, sizeof(line), "SET b %u\nSET a %u", n, n);
			mh_batch(x, line);
			break;
		case 2:
			mh_batch(x, "RENAME a c\nRENAME b a\nRENAME c b");
			break;
		case 3:
			mh_run(x, "MSETNX a %u b %u", n, n);
			break;
		default: /* "*2", then the same value (or nil) twice */
			mh_run(x, "MGET a b");
			half = (x->n - 4) / 2;
			if (memcmp(x->reply + 4, x->reply + 4 + half, half))
				w->wrong = "MGET saw half of an MSET or of a batch";
		}
		mh_release(x);
	}
}

static void atomic_pairs(void **state)
{
	struct mh m;

	(void)state;
	mh_start(&m, (struct mh_settings){ 0, 0, 0 });
	together(&m, pairs);
	mh_stop(&m);
}

static void counters(struct worker *w)
{
	struct mh_ctx *x = &w->x;
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		mh_run(x, "INCR total");
		mh_run(x, "HINCRBY totals f%u 1", i % 200);
	}
	if (w->number)
		return;
	while (strcmp(mh_run(x, "GET total"), "$5\r\n24000\r\n") != 0) /* the others come to their end */
		sched_yield();
}

static void no_lost_counts(void **state)
{
	struct mh m;

	(void)state;
	assert_int_equal(THREADS * ROUNDS, 24000);
	mh_start(&m, (struct mh_settings){ 0, 0, 0 });
	together(&m, counters);
	mh_stop(&m);
}

/* Everything at once: growth, shrinking, expiry, eviction, flushes, large values, timers, statistics. */
static void anything(struct worker *w)
{
	static const char *const lines[] = {
		"SET k%u 0123456789", "SET k%u 01234567890123456789012345678901234567890123456789 PX 20", "GET k%u",
		"DEL k%u", "INCR n%u", "APPEND k%u 0123456789012345678901234567890123456789", "SETRANGE big%u 20000 x",
		"GET big%u", "APPEND big%u abc", "COPY big%u big7 REPLACE", "HSET h%u f v g w", "HSET h1 f%u v%u",
		"HGETALL h%u", "HDEL h1 f%u", "RENAME k%u k1", "EXPIRE k%u 1", "PERSIST k%u", "MGET k%u k2 k3 k4 k5",
		"MSET k%u x k6 y k7 z", "DEL k%u k8 k9 h1", "SCAN 0 COUNT 50", "HSCAN h1 0 COUNT 20", "RANDOMKEY",
		"DBSIZE", "KEYS k1*", "INFO", "TTL k%u", "COPY k%u k3 DB 1 REPLACE", "UNLINK h%u", "HRANDFIELD h1 5",
		"ZADD z1 %u m%u", "ZADD z%u 1 a 2 b", "ZREM z1 m%u", "ZRANGESTORE z%u z1 0 200", "ZREMRANGEBYRANK z1 %u -10",
		"ZUNIONSTORE z1 2 z%u z2", "ZRANK z1 m%u", "COPY z1 z%u REPLACE", "UNLINK z%u",
	};
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		unsigned n = below(w, 3000);

		if (i % 16 == 0) { /* several projects; two share a prefix's length */
			w->x.ns = below(w, 3);
			w->x.ns_prefix = w->x.ns < 2 ? w->x.ns : 1;
		}
		w->x.db = (uint16_t)(below(w, 10) == 0);
		mh_run(&w->x, lines[below(w, sizeof(lines) / sizeof(*lines))], below(w, 3) ? n : n % 10, n);
		mh_release(&w->x);
		if (i % 64 == 0)
			mh_stats(w->m);
		if (i % 32 == 0)
			mh_pass(&w->x, 2);
		if (i % 2000 == 1999 && w->number == 0)
			mh_run(&w->x, "FLUSHDB");
	}
}

static void torture(void **state)
{
	struct mh m;
	int policy;

	(void)state;
	mh_start(&m, (struct mh_settings){ 0, 0, 2 });
	together(&m, anything);
	mh_stop(&m);
	for (policy = 1; policy <= 8; policy += 7) { /* LRU, S3-FIFO */
		mh_start(&m, (struct mh_settings){ 300000, policy, 2 });
		together(&m, anything);
		mh_stop(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(atomic_pairs),
		cmocka_unit_test(no_lost_counts),
		cmocka_unit_test(torture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
