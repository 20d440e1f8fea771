/* SPDX-License-Identifier: Apache-2.0
 *
 * Hit ratios of the memory plugin's policies beside the published algorithms: make bench-hitratio.
 *
 *   hitratio [-n REQUESTS] [-u KEYS] [-s SEED] [TRACE...]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "plugin.h"
#include "simulate.h"

static const struct { const char *name; int policy; } policies[] = {
	{ "allkeys-lru", 1 }, { "allkeys-lfu", 2 }, { "allkeys-random", 3 }, { "allkeys-s3fifo", 8 },
};
static const struct { const char *name; double (*run)(const struct trace *t, uint32_t room); } exact[] = {
	{ "FIFO", simulate_fifo }, { "LRU", simulate_lru }, { "LFU", simulate_lfu }, { "S3-FIFO", simulate_s3fifo },
	{ "Belady", simulate_belady },
};
#define POLICIES (sizeof(policies) / sizeof(*policies))
#define EXACT (sizeof(exact) / sizeof(*exact))

static const uint32_t rooms[] = { 10, 50, 100 }; /* thousandths of the popular keys */
#define ROOMS (sizeof(rooms) / sizeof(*rooms))

static int wanted(const char *name, char **argv)
{
	if (!*argv)
		return 1;
	for (; *argv; argv++)
		if (!strcmp(*argv, name))
			return 1;
	return 0;
}

static void head(void)
{
	size_t i;

	printf("%-11s %7s", "trace", "keys");
	for (i = 0; i < POLICIES; i++)
		printf(" %14s", policies[i].name);
	for (i = 0; i < EXACT; i++)
		printf(" %8s", exact[i].name);
	printf("   s3fifo - lru, misses\n");
}

/* 1: a goal was missed. */
static int row(const struct trace *t, uint32_t room)
{
	double hit[POLICIES], fewer;
	int missed;
	size_t i;

	printf("%-11s %7u", t->name, room);
	for (i = 0; i < POLICIES; i++) {
		hit[i] = plugin_run(t, room, policies[i].policy);
		printf(" %14.2f", 100 * hit[i]);
		fflush(stdout);
	}
	for (i = 0; i < EXACT; i++)
		printf(" %8.2f", 100 * exact[i].run(t, room));
	fewer = (hit[3] - hit[0]) / (1 - hit[0]);
	missed = hit[3] < hit[0] - 0.005 || (t->scans && fewer < 0.05);
	printf("   %+6.2f %+6.1f %%%s\n", 100 * (hit[3] - hit[0]), -100 * fewer, missed ? "  MISSED" : "");
	fflush(stdout);
	return missed;
}

int main(int argc, char **argv)
{
	size_t n = 2000000, i, r;
	uint32_t universe = 200000;
	uint64_t seed = 1;
	unsigned missed = 0;
	int o;

	while ((o = getopt(argc, argv, "n:u:s:")) != -1) {
		if (o == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (o == 'u')
			universe = (uint32_t)strtoul(optarg, NULL, 10);
		else if (o == 's')
			seed = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	printf("PURSER_SEED=%llu, %zu requests, %u popular keys; hits in %%\n", (unsigned long long)seed, n, universe);
	head();
	for (i = 0; i < trace_count(); i++) {
		struct trace t;

		if (!wanted(trace_name(i), argv + optind))
			continue;
		if (trace_make(&t, i, n, universe, seed)) {
			fprintf(stderr, "out of memory\n");
			return 1;
		}
		for (r = 0; r < ROOMS; r++)
			missed += (unsigned)row(&t, universe * rooms[r] / 1000);
		trace_free(&t);
	}
	printf("%u of the goals missed (never more than 0.5 points below allkeys-lru; 5 %% fewer misses with scans)\n",
	    missed);
	return missed > 0;
}
