/* SPDX-License-Identifier: Apache-2.0 */
/* resilience/drr: equal shares whatever the costs, turns within a flow, who may not, who comes and goes. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "resilience/drr.h"

#define FLOWS 5u
#define ITEMS 20u
#define QUANTUM 64

struct item { struct drr_item it; unsigned flow, n; bool waits; uint64_t turns; };
struct rig {
	struct drr d;
	struct drr_flow flow[FLOWS];
	struct item item[FLOWS][ITEMS];
	uint64_t spent[FLOWS];
	unsigned barred;             /* bit per flow: it may not */
};

static bool may(void *arg, const struct drr_flow *f)
{
	const struct rig *g = arg;

	return !(g->barred >> (f - g->flow) & 1);
}

static void begin(struct rig *g)
{
	memset(g, 0, sizeof *g);
	g->d.quantum = QUANTUM;
	for (unsigned f = 0; f < FLOWS; f++)
		for (unsigned i = 0; i < ITEMS; i++)
			g->item[f][i] = (struct item){ .flow = f, .n = i };
}

static void add(struct rig *g, unsigned f, unsigned i)
{
	assert_false(g->item[f][i].waits);
	g->item[f][i].waits = true;
	drr_add(&g->d, &g->flow[f], &g->item[f][i].it);
}

static struct item *next(struct rig *g, int64_t cost)
{
	struct drr_flow *f;
	struct item *x = (struct item *)drr_next(&g->d, may, g, &f);

	if (!x)
		return NULL;
	assert_ptr_equal(f, &g->flow[x->flow]);
	assert_true(x->waits);
	x->waits = false;
	x->turns++;
	drr_spend(f, cost);
	g->spent[x->flow] += (uint64_t)cost;
	return x;
}

/* A crowd in one flow and one alone in another: half for each. */
static void test_crowd(void **state)
{
	struct rig g;

	(void)state;
	begin(&g);
	for (unsigned i = 0; i < ITEMS; i++)
		add(&g, 0, i);
	add(&g, 1, 0);
	for (unsigned i = 0; i < 10000; i++) {
		struct item *x = next(&g, 1 + i % 30);

		add(&g, x->flow, x->n);
	}
	assert_in_range(g.spent[0], g.spent[1] - 2 * QUANTUM, g.spent[1] + 2 * QUANTUM);
	for (unsigned i = 0; i < ITEMS; i++) /* in turn */
		assert_in_range(g.item[0][i].turns, g.item[0][0].turns - 1, g.item[0][0].turns);
}

/* Who comes anew stands behind one quantum of each that waits, no more. */
static void test_newcomer(void **state)
{
	struct rig g;

	(void)state;
	begin(&g);
	for (unsigned f = 0; f < 4; f++)
		for (unsigned i = 0; i < ITEMS; i++)
			add(&g, f, i);
	for (unsigned i = 0; i < 137; i++) {
		struct item *x = next(&g, QUANTUM / 4);

		add(&g, x->flow, x->n);
	}
	add(&g, 4, 7);
	for (unsigned i = 0;; i++) {
		struct item *x = next(&g, QUANTUM / 4);

		if (x->flow == 4)
			break;
		add(&g, x->flow, x->n);
		assert_true(i < 4 * 4 + 4);
	}
}

/* One huge thing is made good; whoever waits alone need not wait for that. */
static void test_overdrawn(void **state)
{
	struct rig g;
	unsigned others = 0;

	(void)state;
	begin(&g);
	add(&g, 0, 0);
	assert_int_equal(next(&g, 1000 * QUANTUM)->flow, 0);
	add(&g, 0, 0);
	add(&g, 1, 0);
	while (next(&g, QUANTUM)->flow == 1) {
		add(&g, 1, 0);
		others++;
	}
	assert_in_range(others, 0, 1); /* nobody waited when it took so much */
	begin(&g);
	add(&g, 0, 0);
	add(&g, 1, 0);
	assert_int_equal(next(&g, 1000 * QUANTUM)->flow, 0);
	add(&g, 0, 0);
	for (others = 0; next(&g, QUANTUM)->flow == 1; others++)
		add(&g, 1, 0);
	assert_in_range(others, 998, 1002);
	begin(&g);
	add(&g, 0, 0);
	next(&g, INT64_C(1) << 40);
	add(&g, 0, 0);
	assert_non_null(next(&g, 1));
}

static void test_barred(void **state)
{
	struct rig g;

	(void)state;
	begin(&g);
	assert_null(next(&g, 1));
	add(&g, 0, 0);
	add(&g, 1, 0);
	g.barred = 1;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(next(&g, QUANTUM)->flow, 1);
		add(&g, 1, 0);
	}
	g.barred = 3;
	assert_null(next(&g, 1));
	assert_null(next(&g, 1));
	g.barred = 0; /* what it could not have it does not get on top */
	for (unsigned i = 0; i < 1000; i++) {
		struct item *x = next(&g, 7);

		add(&g, x->flow, x->n);
		if (i == 100)
			assert_true(g.spent[1] - 100 * QUANTUM > 0);
	}
	assert_in_range(g.item[0][0].turns, 480, 520);
}

/* Whatever happens: who waits is found once, who does not is not, and those that always wait get as much as
 * each other. */
static void test_random(void **state)
{
	const char *given = getenv("PURSER_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	struct rig g;

	(void)state;
	printf("PURSER_SEED=%u\n", seed);
	srand(seed);
	begin(&g);
	for (unsigned i = 0; i < 3; i++) {
		add(&g, 0, i);
		add(&g, 1, i);
	}
	for (unsigned n = 0; n < 200000; n++) {
		unsigned f = 2 + (unsigned)rand() % 3, i = (unsigned)rand() % ITEMS, waiting = 0;
		struct item *x = &g.item[f][i];

		switch (rand() % 4) {
		case 0:
			if (!x->waits)
				add(&g, f, i);
			break;
		case 1:
			if (x->waits) {
				drr_remove(&g.d, &g.flow[f], &x->it);
				x->waits = false;
			}
			break;
		default:
			x = next(&g, 1 + rand() % (2 * QUANTUM));
			assert_non_null(x);
			if (x->flow < 2)
				add(&g, x->flow, x->n);
		}
		if (n % 1000)
			continue;
		for (const struct drr_flow *w = g.d.head; w; w = w->next)
			for (const struct drr_item *it = w->head; it; it = it->next)
				waiting++;
		for (f = 0; f < FLOWS; f++)
			for (i = 0; i < ITEMS; i++)
				waiting -= g.item[f][i].waits;
		assert_int_equal(waiting, 0);
	}
	assert_in_range(g.spent[0], g.spent[1] - 4 * QUANTUM, g.spent[1] + 4 * QUANTUM);
	for (unsigned f = 2; f < FLOWS; f++)
		assert_true(g.spent[f] <= g.spent[0] + 4 * QUANTUM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crowd), cmocka_unit_test(test_newcomer), cmocka_unit_test(test_overdrawn),
		cmocka_unit_test(test_barred), cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
