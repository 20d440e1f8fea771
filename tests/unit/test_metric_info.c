/* SPDX-License-Identifier: Apache-2.0 */
/* metric/info: the INFO of a real 7.0.15 server, restarts, what is absent, what is malformed.  And
 * docs/metrics.md against metrics.def (PURSER_UPDATE_DOCS=1 writes it). */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/buf.h"
#include "metric/info.h"
#include "metric/process.h"

#define MAX_POINTS 256

struct seen {
	struct { const struct metric_row *row; char attr[64]; double v; uint64_t start; } p[MAX_POINTS];
	size_t n;
	const struct metric_row *row;
};

static void on_row(void *arg, enum metric_id id, const struct metric_row *row)
{
	struct seen *s = arg;

	(void)id;
	s->row = row;
}

static void on_point(void *arg, const struct metric_point *p)
{
	struct seen *s = arg;
	const char *last = p->nattrs ? p->attrs[p->nattrs - 1].key : "";

	if (s->row->feed != METRIC_CELL)
		return;
	assert_true(s->n < MAX_POINTS);
	s->p[s->n].row = s->row;
	s->p[s->n].attr[0] = '\0';
	if (p->nattrs && p->attrs[p->nattrs - 1].s && strcmp(last, "server.address") != 0)
		snprintf(s->p[s->n].attr, sizeof s->p[s->n].attr, "%s", p->attrs[p->nattrs - 1].s);
	s->p[s->n].v = s->row->value == METRIC_DOUBLE ? p->d : (double)p->i;
	s->p[s->n++].start = p->start_ns;
}

static void on_end(void *arg)
{
	(void)arg;
}

static void look(struct metric_reg *r, struct seen *s)
{
	struct metric_visitor v = { on_row, on_point, on_end, s };

	s->n = 0;
	assert_int_equal(metric_read(r, &v), 0);
}

static int find(const struct seen *s, enum metric_id id, const char *attr)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->p[i].row == &metric_rows[id] && (!attr || strcmp(s->p[i].attr, attr) == 0))
			return (int)i;
	return -1;
}

static double value(const struct seen *s, enum metric_id id, const char *attr)
{
	int i = find(s, id, attr);

	if (i < 0)
		fail_msg("no point of %s %s", metric_rows[id].name, attr ? attr : "");
	return s->p[i].v;
}

static char *slurp(const char *name, size_t *n)
{
	const char *top = getenv("abs_top_srcdir");
	char path[1024];
	char *text = calloc(1, 1 << 20);
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", top ? top : "..", name);
	f = fopen(path, "r");
	if (!f || !text) {
		free(text);
		return NULL;
	}
	*n = fread(text, 1, (1 << 20) - 1, f);
	fclose(f);
	return text;
}

/* A field as the text has it. */
static double field(const char *text, const char *name)
{
	char key[64];
	const char *p;

	snprintf(key, sizeof key, "\n%s:", name);
	p = strstr(text, key);
	assert_non_null(p);
	return strtod(p + strlen(key), NULL);
}

static const struct { const char *field; enum metric_id id; const char *attr; } on_by_default[] = {
	{ "blocked_clients", METRIC_REDIS_CLIENTS_BLOCKED, NULL },
	{ "connected_clients", METRIC_REDIS_CLIENTS_CONNECTED, NULL },
	{ "client_recent_max_input_buffer", METRIC_REDIS_CLIENTS_MAX_INPUT, NULL },
	{ "client_recent_max_output_buffer", METRIC_REDIS_CLIENTS_MAX_OUTPUT, NULL },
	{ "instantaneous_ops_per_sec", METRIC_REDIS_COMMANDS, NULL },
	{ "total_commands_processed", METRIC_REDIS_COMMANDS_PROCESSED, NULL },
	{ "total_connections_received", METRIC_REDIS_CONNECTIONS_RECEIVED, NULL },
	{ "rejected_connections", METRIC_REDIS_CONNECTIONS_REJECTED, NULL },
	{ "used_cpu_sys", METRIC_REDIS_CPU_TIME, "sys" },
	{ "used_cpu_user_main_thread", METRIC_REDIS_CPU_TIME, "user_main_thread" },
	{ "evicted_keys", METRIC_REDIS_KEYS_EVICTED, NULL },
	{ "expired_keys", METRIC_REDIS_KEYS_EXPIRED, NULL },
	{ "keyspace_hits", METRIC_REDIS_KEYSPACE_HITS, NULL },
	{ "keyspace_misses", METRIC_REDIS_KEYSPACE_MISSES, NULL },
	{ "latest_fork_usec", METRIC_REDIS_LATEST_FORK, NULL },
	{ "mem_fragmentation_ratio", METRIC_REDIS_MEMORY_FRAGMENTATION, NULL },
	{ "used_memory_lua", METRIC_REDIS_MEMORY_LUA, NULL },
	{ "used_memory_peak", METRIC_REDIS_MEMORY_PEAK, NULL },
	{ "used_memory_rss", METRIC_REDIS_MEMORY_RSS, NULL },
	{ "used_memory", METRIC_REDIS_MEMORY_USED, NULL },
	{ "total_net_input_bytes", METRIC_REDIS_NET_INPUT, NULL },
	{ "total_net_output_bytes", METRIC_REDIS_NET_OUTPUT, NULL },
	{ "rdb_changes_since_last_save", METRIC_REDIS_RDB_CHANGES, NULL },
	{ "repl_backlog_first_byte_offset", METRIC_REDIS_REPL_BACKLOG_FIRST, NULL },
	{ "master_repl_offset", METRIC_REDIS_REPL_OFFSET, NULL },
	{ "connected_slaves", METRIC_REDIS_SLAVES, NULL },
	{ "uptime_in_seconds", METRIC_REDIS_UPTIME, NULL },
	{ "maxmemory", METRIC_REDIS_MAXMEMORY, NULL },
};

static void test_real(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_info *m = metric_info_new(metric_shard_new(r), "main", "127.0.0.1", 6380);
	static struct seen s;
	size_t n;
	char *text = slurp("tests/unit/info-7.0.15.txt", &n);
	unsigned taken;

	(void)state;
	assert_non_null(text);
	taken = metric_info_apply(m, text, n, UINT64_C(1700000000000000000));
	/* 32 plain fields, 2 databases, the role */
	assert_int_equal(taken, 32 + 6 + 1);
	assert_int_equal(metric_info_skipped(m), 0);
	look(r, &s);
	for (size_t i = 0; i < sizeof on_by_default / sizeof *on_by_default; i++) {
		double got = value(&s, on_by_default[i].id, on_by_default[i].attr);
		double want = field(text, on_by_default[i].field);

		if (got != want)
			fail_msg("%s: %g, not %g", on_by_default[i].field, got, want);
	}
	assert_true(value(&s, METRIC_REDIS_DB_KEYS, "0") == 2);
	assert_true(value(&s, METRIC_REDIS_DB_KEYS, "3") == 1);
	assert_true(value(&s, METRIC_REDIS_DB_EXPIRES, "3") == 1);
	assert_true(value(&s, METRIC_REDIS_DB_AVG_TTL, "3") == 0);
	assert_true(value(&s, METRIC_REDIS_ROLE, "primary") == 1);
	assert_int_equal(find(&s, METRIC_REDIS_ROLE, "replica"), -1);
	assert_int_equal(s.p[find(&s, METRIC_REDIS_NET_INPUT, NULL)].start,
	    UINT64_C(1700000000000000000) - (uint64_t)field(text, "uptime_in_seconds") * 1000000000);
	metric_info_free(m);
	look(r, &s);
	assert_int_equal(find(&s, METRIC_REDIS_UPTIME, NULL), -1);
	metric_free(r);
	free(text);
}

static unsigned apply(struct metric_info *m, const char *text, uint64_t wall_s)
{
	return metric_info_apply(m, text, strlen(text), wall_s * UINT64_C(1000000000));
}

static void test_restart_and_absence(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_info *m = metric_info_new(metric_shard_new(r), "main", "", 0);
	static struct seen s;

	(void)state;
	assert_int_equal(apply(m, "# Server\r\nrun_id:aa\r\nuptime_in_seconds:100\r\nevicted_keys:7\r\n"
	    "used_memory:5\r\ndb0:keys=1,expires=0,avg_ttl=0\r\ndb99:keys=1\r\ndbx:keys=1\r\n", 1000), 6);
	look(r, &s);
	assert_int_equal(s.p[find(&s, METRIC_REDIS_KEYS_EVICTED, NULL)].start / 1000000000, 900);
	/* one second of jitter does not move the start */
	apply(m, "run_id:aa\nuptime_in_seconds:110\nevicted_keys:8\n", 1011);
	assert_false(metric_info_restarted(m));
	look(r, &s);
	assert_int_equal(s.p[find(&s, METRIC_REDIS_KEYS_EVICTED, NULL)].start / 1000000000, 900);
	/* what this text does not say has no point, not a 0 */
	assert_int_equal(find(&s, METRIC_REDIS_MEMORY_USED, NULL), -1);
	assert_int_equal(find(&s, METRIC_REDIS_DB_KEYS, NULL), -1);
	/* uptime goes backwards: another start */
	apply(m, "run_id:aa\nuptime_in_seconds:5\nevicted_keys:1\n", 1100);
	assert_true(metric_info_restarted(m));
	look(r, &s);
	assert_int_equal(s.p[find(&s, METRIC_REDIS_KEYS_EVICTED, NULL)].start / 1000000000, 1095);
	assert_true(value(&s, METRIC_REDIS_KEYS_EVICTED, NULL) == 1);
	/* a new run_id with a larger uptime is a restart as well */
	apply(m, "run_id:bb\nuptime_in_seconds:50\nevicted_keys:0\n", 2000);
	assert_true(metric_info_restarted(m));
	/* not a number: skipped and counted, the rest is taken */
	assert_int_equal(apply(m, "evicted_keys:many\nused_memory:\nexpired_keys:3\nmaxmemory:1x\n:\n\n#\n"
	    "role:slave\nno colon", 2001), 2);
	assert_int_equal(metric_info_skipped(m), 3);
	look(r, &s);
	assert_true(value(&s, METRIC_REDIS_ROLE, "replica") == 1);
	metric_info_gone(m);
	look(r, &s);
	assert_int_equal(find(&s, METRIC_REDIS_KEYS_EXPIRED, NULL), -1);
	metric_info_free(m);
	metric_free(r);
}

static void test_process(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	static struct seen s;

	(void)state;
	assert_int_equal(metric_collector(r, metric_process, NULL), 0);
	look(r, &s);
	assert_true(value(&s, METRIC_PROCESS_THREADS, NULL) >= 1);
	assert_true(value(&s, METRIC_PROCESS_MEMORY, NULL) > 100000);
	assert_true(value(&s, METRIC_PROCESS_VIRTUAL, NULL) > value(&s, METRIC_PROCESS_MEMORY, NULL));
	assert_true(value(&s, METRIC_PROCESS_FDS, NULL) >= 3);
	assert_true(value(&s, METRIC_PROCESS_CPU, "user") >= 0);
	assert_true(value(&s, METRIC_PROCESS_UPTIME, NULL) >= 0);
	metric_free(r);
}

/* Between the two marks stands what metric_dump() writes. */
static void test_docs(void **state)
{
	static const char begin[] = "<!-- metrics.def: begin -->\n", end[] = "<!-- metrics.def: end -->";
	struct buf want = { .max = 0 };
	size_t n;
	char *text = slurp("docs/metrics.md", &n), *a, *b;

	(void)state;
	assert_non_null(text);
	metric_dump(&want);
	assert_false(want.failed);
	a = strstr(text, begin);
	b = strstr(text, end);
	assert_non_null(a);
	assert_non_null(b);
	a += strlen(begin);
	if (getenv("PURSER_UPDATE_DOCS")) {
		char path[1024];
		FILE *f;

		snprintf(path, sizeof path, "%s/docs/metrics.md", getenv("abs_top_srcdir"));
		f = fopen(path, "w");
		assert_non_null(f);
		fprintf(f, "%.*s%s%s", (int)(a - text), text, buf_cstr(&want), b);
		fclose(f);
	} else if ((size_t)(b - a) != buf_len(&want) || memcmp(a, buf_data(&want), buf_len(&want))) {
		fail_msg("docs/metrics.md is not what metrics.def says: run "
			 "make check TESTS=tests/unit/test_metric_info PURSER_UPDATE_DOCS=1");
	}
	buf_free(&want);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_restart_and_absence),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_docs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
