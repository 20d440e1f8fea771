/* SPDX-License-Identifier: Apache-2.0 */
/* metric/tally: sums over shards, what a reset shows, and what goes on. */
#include <config.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "command/command.h"
#include "metric/tally.h"

struct seen { char name[64]; int64_t v[METRIC_COUNT]; unsigned points; enum metric_id row; };

static void row(void *arg, enum metric_id id, const struct metric_row *r) { (void)r; ((struct seen *)arg)->row = id; }
static void end(void *arg) { (void)arg; }

static void point(void *arg, const struct metric_point *p)
{
	struct seen *s = arg;

	for (size_t i = 0; i < p->nattrs; i++)
		if (!strcmp(p->attrs[i].key, "purser.project") && !strcmp(p->attrs[i].s, s->name)) {
			s->v[s->row] = p->i;
			s->points++;
		}
}

static void expect(struct metric_reg *r, uint16_t project, uint64_t hits, uint64_t sets)
{
	uint64_t v[TALLY_COUNT], since;

	metric_tally_read(r, project, v, &since);
	assert_int_equal(v[TALLY_HITS], hits);
	assert_int_equal(v[TALLY_SETS], sets);
}

static void sums(void **state)
{
	struct metric_reg *r = metric_new(&(struct metric_opts){ .start_wall_ns = 5 });
	struct metric_shard *a = metric_shard_new(r), *b = metric_shard_new(r);
	uint16_t shop = metric_project(r, "shop"), blog = metric_project(r, "blog");
	struct seen s = { .name = "shop" };
	struct metric_visitor v = { .row = row, .point = point, .end = end, .arg = &s };
	uint64_t n[TALLY_COUNT], since;

	(void)state;
	expect(r, shop, 0, 0);
	metric_tally_add(metric_tally(a, shop), TALLY_HITS, 3);
	metric_tally_add(metric_tally(b, shop), TALLY_HITS, 4);
	metric_tally_add(metric_tally(b, shop), TALLY_SETS, 1);
	expect(r, shop, 7, 1);
	expect(r, blog, 0, 0);
	assert_int_equal(metric_tally_evicted(r, shop), 0);
	assert_int_equal(metric_tally_reset(r, shop, 99, 12), 0);
	expect(r, shop, 0, 0);
	assert_int_equal(metric_tally_evicted(r, shop), 12);
	metric_tally_read(r, shop, n, &since);
	assert_int_equal(since, 99);
	metric_tally_add(metric_tally(a, shop), TALLY_HITS, 1);
	expect(r, shop, 1, 0);
	/* what is exported knows of no reset; a project that has counted nothing has no points */
	assert_int_equal(metric_read(r, &v), 0);
	assert_int_equal(s.v[METRIC_CACHE_HITS], 8);
	assert_int_equal(s.v[METRIC_CACHE_SETS], 1);
	assert_int_equal(s.points, 5);
	s = (struct seen){ .name = "blog" };
	assert_int_equal(metric_read(r, &v), 0);
	assert_int_equal(s.points, 0);
	metric_free(r);
}

/* A number beyond the last shares its place, and no place is outside. */
static void no_place(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_shard *a = metric_shard_new(r);

	(void)state;
	metric_tally_add(metric_tally(a, 0xffff), TALLY_HITS, 2);
	expect(r, 0xffff, 2, 0);
	expect(r, METRIC_PROJECTS - 1, 2, 0);
	metric_free(r);
}

static bool counts_in(struct metric_shard *s, struct metric_key k, int first, int others)
{
	struct metric_tally *t = metric_tally(s, 3);
	struct metric_op *op = metric_op(s, k);

	return op->tally[0] == (first < 0 ? NULL : &t->v[first]) && op->tally[1] == (others < 0 ? NULL : &t->v[others]);
}

/* What a key tells of where its requests count; nothing: that it needs a closer look. */
static void of_keys(void **state)
{
	struct metric_reg *r = metric_new(&(struct metric_opts){ .max_series = 7 });
	struct metric_shard *s = metric_shard_new(r);
	struct metric_key k = { .kind = METRIC_OP, .project = 3, .command = CMD_GET };
	_Atomic uint64_t *nothing;

	(void)state;
	assert_true(counts_in(s, k, TALLY_HITS, TALLY_MISSES));
	k.command = CMD_GETEX;
	assert_true(counts_in(s, k, TALLY_HITS, -1));
	k.command = CMD_SET;
	assert_true(counts_in(s, k, TALLY_SETS, -1));
	k.command = CMD_MGET;
	assert_true(counts_in(s, k, -1, -1));
	k.error = 1;
	k.kind = METRIC_LOCAL;
	assert_true(counts_in(s, k, TALLY_ERRORS, TALLY_ERRORS));
	k.error = 0; /* waits for EXEC */
	nothing = metric_op(s, k)->tally[0];
	assert_non_null(nothing);
	assert_ptr_equal(metric_op(s, k)->tally[1], nothing);
	k = (struct metric_key){ .kind = METRIC_OP, .project = 3, .command = CMD_HGET };
	assert_ptr_equal(metric_op(s, k)->tally[0], nothing);
	*nothing += 5;
	expect(r, 3, 0, 0);
	/* there is no room for another series: the one that all share is of no project */
	k = (struct metric_key){ .kind = METRIC_OP, .project = 4, .command = CMD_GET };
	assert_null(metric_op(s, k)->tally[0]);
	assert_null(metric_op(s, k)->tally[1]);
	metric_free(r);
}

#define TURNS 200000
static void *counts(void *arg)
{
	struct metric_shard *s = arg;

	for (int i = 0; i < TURNS; i++)
		metric_tally_add(metric_tally(s, 0), TALLY_HITS, 1);
	return NULL;
}

/* Others read and reset while two count. */
static void threads(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_shard *s[2] = { metric_shard_new(r), metric_shard_new(r) };
	uint64_t v[TALLY_COUNT], since, before = 0;
	pthread_t t[2];

	(void)state;
	metric_project(r, "shop");
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, counts, s[i]), 0);
	for (int i = 0; i < 200; i++) {
		metric_tally_read(r, 0, v, &since);
		assert_true(v[TALLY_HITS] <= 2 * TURNS && v[TALLY_HITS] >= before);
		before = v[TALLY_HITS];
		if (i % 10 == 9) {
			metric_tally_reset(r, 0, (uint64_t)i, 0);
			before = 0;
		}
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	metric_tally_reset(r, 0, 1, 0);
	expect(r, 0, 0, 0);
	metric_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums), cmocka_unit_test(no_place), cmocka_unit_test(of_keys), cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests_name("metric_tally", tests, NULL, NULL);
}
