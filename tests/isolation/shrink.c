/* SPDX-License-Identifier: Apache-2.0
 *
 * Episodes one after the other.  One that shows a difference is played again without one part after the other, for as
 * long as it shows one.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "iso.h"

#define EPISODE 300             /* items */
#define SHRINK_SECONDS 60

void print_item(FILE *f, const struct item *it)
{
	uint32_t i;

	for (i = 0; i < it->n; i++) {
		fprintf(f, i ? "        " : "  %c%u    ", 'A' + it->project, it->link);
		print_cmd(f, &it->c[i]);
	}
}

/* Does it show the same kind of finding? */
static int still(struct world *w, const char *kind, const struct item *v, uint32_t n)
{
	return play(w, v, n) != 0 && !strcasecmp(w->kind, kind);
}

static uint32_t shrink(struct world *w, const char *kind, struct item *v, uint32_t n)
{
	struct item *without = calloc(n + 1, sizeof(*without));
	double until = clock_seconds(CLOCK_MONOTONIC) + SHRINK_SECONDS;
	uint32_t part = n / 2, at;

	if (!without)
		exit(2);
	while (part >= 1 && clock_seconds(CLOCK_MONOTONIC) < until) {
		int smaller = 0;

		for (at = 0; at + part <= n && clock_seconds(CLOCK_MONOTONIC) < until;) {
			memcpy(without, v, at * sizeof(*v));
			memcpy(without + at, v + at + part, (n - at - part) * sizeof(*v));
			if (n > part && still(w, kind, without, n - part)) {
				n -= part;
				memcpy(v, without, n * sizeof(*v));
				smaller = 1;
			} else {
				at += part;
			}
		}
		if (!smaller || part > n)
			part /= 2;
	}
	free(without);
	return n;
}

static void report(struct world *w, struct item *v, uint32_t n)
{
	char kind[sizeof(w->kind)];
	uint32_t i;

	memcpy(kind, w->kind, sizeof(kind));

	printf("FOUND in an episode of seed %llu, after %llu commands\n", (unsigned long long)w->seed, (unsigned long long)w->done);
	fflush(stdout);
	if (w->o->quick)
		return;
	w->report = NULL;
	if (!still(w, kind, v, n)) {
		printf("it does not come again with the same commands, which are:\n");
		for (i = 0; i < n; i++)
			print_item(stdout, &v[i]);
		fflush(stdout);
		return;
	}
	n = shrink(w, kind, v, n);
	printf("shrunk to %u:\n", n);
	for (i = 0; i < n; i++)
		print_item(stdout, &v[i]);
	w->report = stdout;
	still(w, kind, v, n);
	fflush(stdout);
}

int iso_run(struct world *w)
{
	static struct item items[EPISODE];
	double from = clock_seconds(CLOCK_MONOTONIC), said = from, now = from;
	uint64_t n = 0;
	int rc = 0;

	printf("seed %llu\n", (unsigned long long)w->o->seed);
	fflush(stdout);
	while (!rc && (w->o->episodes ? n < w->o->episodes : now - from < w->o->seconds)) {
		struct arena mem = { NULL };
		uint32_t many;

		w->seed = w->o->seed + n++;
		many = make_items(w, &mem, w->seed, items, EPISODE);
		w->report = stdout;
		if (play(w, items, many)) {
			rc = 1;
			report(w, items, many);
		}
		arena_free(&mem);
		now = clock_seconds(CLOCK_MONOTONIC);
		if (now - said > 60) {
			printf("%.0f s: %llu commands\n", now - from, (unsigned long long)w->done);
			fflush(stdout);
			said = now;
		}
	}
	printf("%llu commands in %llu episodes, %.1f s: %s\n", (unsigned long long)w->done, (unsigned long long)n, now - from,
	    rc ? "NOT ISOLATED" : "isolated");
	return rc;
}
