/* SPDX-License-Identifier: Apache-2.0
 *
 * INFO: the sections that a store can know; clients, commands and the process are the host's.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "cmd.h"
#include "evict.h"
#include "project.h"
#include "snapshot.h"
#include "table.h"

struct text { char *p; size_t n, cap; int failed; };

static void say(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *t, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (t->failed || n < 0 || (size_t)n >= sizeof(line))
		return;
	if (t->n + (size_t)n + 1 > t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 4096;
		char *p = realloc(t->p, cap);

		if (!p) {
			t->failed = 1;
			return;
		}
		t->p = p;
		t->cap = cap;
	}
	memcpy(t->p + t->n, line, (size_t)n);
	t->n += (size_t)n;
}

/* "1.50M" */
static const char *human(char buf[32], int64_t v)
{
	static const char unit[] = "BKMGT";
	double d = (double)v;
	int u = 0;

	while (d >= 1024 && u < 4) {
		d /= 1024;
		u++;
	}
	if (u == 0)
		snprintf(buf, 32, "%lldB", (long long)v);
	else
		snprintf(buf, 32, "%.2f%c", d, unit[u]);
	return buf;
}

static int64_t resident(void)
{
	long long pages = 0, all = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lld %lld", &all, &pages) != 2)
		pages = 0;
	fclose(f);
	return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static long long sum(const struct ctx *cx, size_t field) { return (long long)store_sum(cx->st, field); }
#define SUM(field) sum(cx, offsetof(struct ledger, field))
#define STAT(name) ((long long)stats_get(cx->st, STAT_##name))

static void info_server(struct ctx *cx, struct text *t)
{
	int64_t up = ((int64_t)now_ms(cx) - atomic_load_explicit(&cx->st->born_ms, memory_order_relaxed)) /
	    1000;

	say(t, "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\narch_bits:%zu\r\n"
	    "process_id:%ld\r\nuptime_in_seconds:%lld\r\nuptime_in_days:%lld\r\n",
	    8 * sizeof(void *), (long)getpid(), (long long)up, (long long)up / 86400);
}

static void info_memory(struct ctx *cx, struct text *t)
{
	int64_t used = store_used(cx->st), rss = resident(), peak = store_peak(cx->st, used);
	int64_t max = atomic_load_explicit(&cx->st->max_memory, memory_order_relaxed);
	char a[32], b[32], d[32], e[32], policy[POLICY_TEXT];

	say(t, "# Memory\r\nused_memory:%lld\r\nused_memory_human:%s\r\nused_memory_rss:%lld\r\n"
	    "used_memory_rss_human:%s\r\nused_memory_peak:%lld\r\nused_memory_peak_human:%s\r\n",
	    (long long)used, human(a, used), (long long)rss, human(b, rss), (long long)peak,
	    human(d, peak));
	say(t, "used_memory_lua:%lld\r\n", (long long)atomic_load_explicit(&cx->st->lua_used, memory_order_relaxed));
	say(t, "used_memory_dataset:%lld\r\nmaxmemory:%lld\r\nmaxmemory_human:%s\r\n"
	    "maxmemory_policy:%s\r\nmem_fragmentation_ratio:%.2f\r\nmem_not_counted_for_evict:0\r\n"
	    "mem_allocator:libc\r\nlazyfree_pending_objects:%lld\r\n",
	    (long long)used, (long long)max, human(e, max),
	    policy_name(cx->st, policy),
	    used > 0 ? (double)rss / (double)used : 0.0, SUM(freeing));
}

static void info_stats(struct ctx *cx, struct text *t)
{
	say(t, "# Stats\r\ntotal_commands_processed:%lld\r\nexpired_keys:%lld\r\nevicted_keys:%lld\r\n"
	    "keyspace_hits:%lld\r\nkeyspace_misses:%lld\r\n",
	    STAT(COMMANDS), STAT(EXPIRED), STAT(EVICTED), STAT(HITS), STAT(MISSES));
}

/* Fields of what this store has: a snapshot at the start and at the end. */
static void info_persistence(struct ctx *cx, struct text *t)
{
	const struct snapshot *snap = cx->st->snapshot;

	say(t, "# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_changes_since_last_save:%lld\r\n"
	    "rdb_bgsave_in_progress:0\r\nrdb_last_save_time:%lld\r\nrdb_last_bgsave_status:ok\r\nrdb_saves:0\r\n",
	    SUM(changes), (long long)snap->since);
	say(t, "rdb_last_load_keys_expired:%lld\r\nrdb_last_load_keys_loaded:%lld\r\naof_enabled:0\r\n",
	    (long long)snap->expired, (long long)snap->loaded);
}

static void info_replication(struct ctx *cx, struct text *t)
{
	(void)cx;
	say(t, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_repl_offset:0\r\n");
}

#define TTLS 64
struct ttls { struct ctx *cx; int64_t sum, n; };

static int ttl_slot(void *arg, uint64_t slot)
{
	struct ttls *w = arg;
	int64_t left;

	if (!(slot & SLOT_TTL))
		return 0;
	left = item_expiry(slot_item(slot)) - (int64_t)now_ms(w->cx);
	if (left > INT64_MAX / TTLS) /* so many are added */
		left = INT64_MAX / TTLS;
	w->sum += left > 0 ? left : 0;
	return ++w->n >= TTLS;
}

static void info_keyspace(struct ctx *cx, struct text *t)
{
	uint32_t db, s, b;

	say(t, "# Keyspace\r\n");
	for (db = 0; db < cx->st->databases; db++) {
		struct ttls w = { .cx = cx };
		uint64_t keys = 0, ttls = 0;

		for (s = 0; s < SHARDS; s++) {
			uint32_t mine = ~cx->held & 1u << s;
			struct table *tab;

			if (mine && shards_claim(cx, mine)) {
				cx->put_off = 1; /* a script takes long */
				return;
			}
			tab = cx->st->shard[s].db[db];
			keys += table_n(tab);
			ttls += table_ttls(tab);
			/* the average is that of a few */
			for (b = 0; table_ttls(tab) && b < tab->buckets && b < 64 && w.n < TTLS; b++)
				table_each_in(tab, b, ttl_slot, &w);
			shards_unlock(cx, mine);
		}
		if (keys)
			say(t, "db%u:keys=%llu,expires=%llu,avg_ttl=%lld\r\n", db,
			    (unsigned long long)keys, (unsigned long long)ttls,
			    (long long)(w.n ? w.sum / w.n : 0));
	}
}

static const struct {
	const char *name;
	void (*write)(struct ctx *cx, struct text *t);
} sections[] = {
	{ "server", info_server }, { "memory", info_memory }, { "persistence", info_persistence },
	{ "stats", info_stats }, { "replication", info_replication }, { "keyspace", info_keyspace },
};

static int wanted(const purser_call *c, const char *name)
{
	uint32_t i;

	for (i = 1; i < c->argc; i++)
		if (arg_is(c->argv[i], name) || arg_is(c->argv[i], "default") ||
		    arg_is(c->argv[i], "all") || arg_is(c->argv[i], "everything"))
			return 1;
	return c->argc == 1;
}

/* What of it is the caller's; a project that has written nothing has no account. */
static void info_project(struct ctx *cx, const purser_call *c, struct text *t)
{
	int64_t project = project_known(cx, c);

	say(t, "used_memory_project:%lld\r\nproject_keys:%lld\r\nused_memory_tables:%lld\r\n"
	    "project_evicted_keys:%lld\r\n",
	    (long long)(project < 0 ? 0 : project_sum(cx->st, (uint32_t)project, ACCOUNT_USED)),
	    (long long)(project < 0 ? 0 : project_sum(cx->st, (uint32_t)project, ACCOUNT_KEYS)),
	    (long long)project_sum(cx->st, PROJECT_NONE, ACCOUNT_USED),
	    (long long)(project < 0 ? 0 : project_sum(cx->st, (uint32_t)project, ACCOUNT_EVICTED)));
}

void op_info(struct ctx *cx, purser_call *c)
{
	struct text t = { NULL, 0, 0, 0 };
	char head[48];
	size_t i;
	int n;

	for (i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
		if (!wanted(c, sections[i].name))
			continue;
		if (t.n)
			say(&t, "\r\n");
		sections[i].write(cx, &t);
		if (sections[i].write == info_memory)
			info_project(cx, c, &t);
	}
	if (cx->put_off) {
		free(t.p);
		return;
	}
	if (t.failed) {
		reply_nomem(cx, c);
	} else if (c->resp == 3) {
		n = snprintf(head, sizeof(head), "=%zu\r\ntxt:", t.n + 4);
		cx->h->raw(c, head, (size_t)n);
		if (t.n)
			cx->h->raw(c, t.p, t.n);
		cx->h->raw(c, "\r\n", 2);
	} else {
		reply_bulk(cx, c, t.p ? t.p : "", t.n);
	}
	free(t.p);
}
