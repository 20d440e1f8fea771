/* SPDX-License-Identifier: Apache-2.0
 *
 * What one turn of the timer does is bounded, whatever is to go: elements freed, and pages given back to the system.
 * Counted from outside: bytes in use before and after each turn, and the plugin's calls of madvise().
 */
#define _GNU_SOURCE
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>
#include "keyspace.h"
#include "memory_host.h"

#define N 100000u
#define TURN 1536u                     /* elements or pages */
#define BUCKET 500u                    /* and what the last bucket of a turn may have: eight sets of 60 */
#define NODES (TURN / 4 + 1)           /* of lists, blocks of streams */
#define SLABS_IDLE (TURN / 24 + 1)     /* whose pages go in a turn that has nothing else to do */
#define SLAB_PAGES (SLAB_BYTES / 4096)

/* Longer than what a set packs. */
#define LONG "01234567890123456789012345678901234567890123456789012345678901234567890123456789"

static unsigned calls;
static size_t pages;

int madvise(void *p, size_t n, int advice)
{
	if (advice == MADV_DONTNEED) {
		calls++;
		pages += n / 4096;
	}
	return (int)syscall(SYS_madvise, p, n, advice);
}

struct fixture { struct mh m; struct mh_ctx x; struct store *st; };

static struct fixture *start(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	mh_start(&f->m, (struct mh_settings){ .databases = 2 });
	mh_open(&f->x, &f->m);
	f->st = f->m.state;
	return f;
}

static void stop(struct fixture *f)
{
	mh_close(&f->x);
	mh_stop(&f->m);
	free(f);
}

/* Turns until nothing is left.  No turn frees more than most bytes, or gives back more than most_pages; together
 * they are no fewer than that takes, and not many more. */
static void turns(struct fixture *f, size_t most, size_t most_pages)
{
	int64_t all = store_used(f->st), was = all, now;
	unsigned n = 0, idle;

	assert_true(all > 0);
	for (idle = 0; idle < 100 || was; idle++) {
		f->m.wall_ms += 2;
		f->m.now_ns += 2000000;
		calls = 0;
		pages = 0;
		if (!mh_pass(&f->x, 0))
			continue;
		now = store_used(f->st);
		if (was - now > (int64_t)most || pages > most_pages || calls > SLABS_IDLE)
			fail_msg("turn %u: %lld bytes of %zu, %zu pages of %zu, %u calls", n, (long long)(was - now), most,
			    pages, most_pages, calls);
		if (now < was)
			n++;
		was = now;
		idle = 0;
		assert_true(n < 100000);
	}
	assert_true(n >= (size_t)all / most);
	assert_false(slab_has_surplus(&f->st->heap));
	assert_int_equal(store_sum(f->st, offsetof(struct ledger, freeing)), 0);
}

/* Bytes of so many of N elements, a little more for those that are larger than others. */
static size_t share(struct fixture *f, unsigned elements)
{
	return (size_t)((double)store_used(f->st) / N * elements * 1.25) + 65536;
}

static void fill(struct fixture *f, const char *how, int shuffled)
{
	uint64_t i;

	for (i = 0; i < N; i++) {
		unsigned k = (unsigned)(shuffled ? i * 7919 % N : i);
		char line[80];

		snprintf(line, sizeof(line), how, k, k);
		if (mh_run(&f->x, "%s", line)[0] == '-')
			fail_msg("%s: %s", line, f->x.reply);
	}
}

static void tables(void **state)
{
	static const char *const how[] = { "HSET big field%u %u", "SADD big member%u", "ZADD big %u member%u" };
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct fixture *f = start();

		fill(f, how[i], 1);
		if (i == 1)
			mh_run(&f->x, "PEXPIRE big 1");
		else
			mh_run(&f->x, "UNLINK big");
		turns(f, share(f, TURN + BUCKET), SLABS_IDLE * SLAB_PAGES);
		stop(f);
	}
}

static void list(void **state)
{
	struct fixture *f = start();

	(void)state;
	fill(f, "RPUSH big 012345678901234567890123456789element%u", 0);
	mh_run(&f->x, "UNLINK big");
	turns(f, NODES * 4200, SLABS_IDLE * SLAB_PAGES);
	stop(f);
}

static void streams(void **state)
{
	struct fixture *f = start();
	unsigned i;

	(void)state;
	mh_run(&f->x, "XGROUP CREATE big g $ MKSTREAM");
	for (i = 1; i <= N; i++)
		mh_run(&f->x, "XADD big %u-1 field-of-an-entry %u", i, i);
	mh_run(&f->x, "XREADGROUP GROUP g c COUNT %u STREAMS big >", N / 2);
	for (i = 0; i < 5000; i++)
		mh_run(&f->x, "XGROUP CREATECONSUMER big g consumer-%u", i);
	mh_run(&f->x, "XGROUP CREATE big h 0");
	mh_run(&f->x, "XREADGROUP GROUP h c COUNT %u STREAMS big >", N / 2);
	mh_run(&f->x, "XGROUP DESTROY big h");
	mh_run(&f->x, "UNLINK big");
	turns(f, NODES * 4400, SLABS_IDLE * SLAB_PAGES);
	/* nothing but consumers */
	mh_run(&f->x, "XGROUP CREATE big g $ MKSTREAM");
	for (i = 0; i < 20000; i++)
		mh_run(&f->x, "XGROUP CREATECONSUMER big g consumer-%u", i);
	mh_run(&f->x, "UNLINK big");
	assert_int_equal(store_sum(f->st, offsetof(struct ledger, freeing)), 20001);
	turns(f, TURN / 2 * 140 + 32768 * sizeof(void *), SLABS_IDLE * SLAB_PAGES);
	stop(f);
}

static void keys(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct fixture *f = start();

		fill(f, "SET key%u a-value-of-key-%u PX 100000", 0);
		if (i)
			f->m.wall_ms += 200000;
		else
			mh_run(&f->x, "FLUSHALL");
		turns(f, share(f, TURN + BUCKET), SLABS_IDLE * SLAB_PAGES);
		stop(f);
	}
}

/* Each of them is freed on the spot. */
static void many_small(void **state)
{
	unsigned i, k, m;

	(void)state;
	for (k = 0; k < 2; k++) {
		struct fixture *f = start();

		for (i = 0; i < N / 60; i++) {
			for (m = 0; m < 60; m++)
				mh_run(&f->x, "SADD set%u member%u-" LONG, i, m);
			mh_run(&f->x, "PEXPIRE set%u 1000000", i);
		}
		if (k)
			f->m.wall_ms += 2000000;
		else
			mh_run(&f->x, "FLUSHALL");
		turns(f, share(f, TURN + BUCKET), SLABS_IDLE * SLAB_PAGES);
		stop(f);
	}
}

/* Its bytes count until the last page has gone. */
static void string(void **state)
{
	enum { BYTES = 64 << 20, PIECE = 64 };
	struct fixture *f = start();
	unsigned n = 0;

	(void)state;
	mh_run(&f->x, "SETRANGE big %u x", BYTES - 1);
	mh_run(&f->x, "UNLINK big");
	assert_true(store_used(f->st) > BYTES);
	for (; store_used(f->st) && n < 1000; n++) {
		calls = 0;
		pages = 0;
		mh_pass(&f->x, 100);
		if (pages > TURN / 2 + PIECE + SLABS_IDLE * SLAB_PAGES || calls > TURN / PIECE + 1 + SLABS_IDLE)
			fail_msg("turn %u: %zu pages, %u calls", n, pages, calls);
	}
	assert_in_range(n, BYTES / 4096 / (TURN / 2 + PIECE), BYTES / 4096 / (TURN / 2) + 2);
	stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables),
		cmocka_unit_test(list),
		cmocka_unit_test(streams),
		cmocka_unit_test(keys),
		cmocka_unit_test(many_small),
		cmocka_unit_test(string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
