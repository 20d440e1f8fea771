/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory plugin under a trace: see plugin.h.
 */
#include <stdio.h>
#include <string.h>
#include "../../tests/unit/memory_host.h"
#include "plugin.h"

static const char *get(struct mh_ctx *x, int miss, uint32_t key)
{
	static const uint8_t value[HIT_VALUE] = "0123456789";
	char name[32];
	int n = snprintf(name, sizeof(name), "proj:bench:%010u", key);
	purser_bytes argv[3] = { { (const uint8_t *)(miss ? "SET" : "GET"), 3 }, { (uint8_t *)name, (size_t)n },
		{ value, sizeof(value) } };

	return mh_argv(x, miss ? 3 : 2, argv);
}

static int64_t bytes_of(uint32_t room)
{
	struct mh m;
	struct mh_ctx x;
	uint32_t i;
	int64_t used;

	mh_start(&m, (struct mh_settings){ 0, 0, 1 });
	mh_open(&x, &m);
	for (i = 0; i < room; i++)
		get(&x, 1, i);
	used = (int64_t)mh_stats(&m).used_bytes;
	mh_close(&x);
	mh_stop(&m);
	return used;
}

double plugin_run(const struct trace *t, uint32_t room, int policy)
{
	struct mh m;
	struct mh_ctx x;
	size_t hits = 0, i;

	mh_start(&m, (struct mh_settings){ bytes_of(room), policy, 1 });
	mh_open(&x, &m);
	for (i = 0; i < t->n; i++) {
		m.now_ns += HIT_SPAN / room;
		if (get(&x, 0, t->key[i])[1] != '-')
			hits++;
		else
			get(&x, 1, t->key[i]);
	}
	mh_close(&x);
	mh_stop(&m);
	return (double)hits / (double)t->n;
}
