/* SPDX-License-Identifier: Apache-2.0 */
/* metric/info: which field of INFO is which metric. */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/info.h"
#include "metric/info.h"

static const struct field {
	const char *name;
	enum metric_id id;
	const char *attr; /* value of the metric's last attribute, or NULL */
} fields[] = {
	{ "blocked_clients", METRIC_REDIS_CLIENTS_BLOCKED, NULL },
	{ "connected_clients", METRIC_REDIS_CLIENTS_CONNECTED, NULL },
	{ "client_recent_max_input_buffer", METRIC_REDIS_CLIENTS_MAX_INPUT, NULL },
	{ "client_recent_max_output_buffer", METRIC_REDIS_CLIENTS_MAX_OUTPUT, NULL },
	{ "instantaneous_ops_per_sec", METRIC_REDIS_COMMANDS, NULL },
	{ "total_commands_processed", METRIC_REDIS_COMMANDS_PROCESSED, NULL },
	{ "total_connections_received", METRIC_REDIS_CONNECTIONS_RECEIVED, NULL },
	{ "rejected_connections", METRIC_REDIS_CONNECTIONS_REJECTED, NULL },
	{ "used_cpu_sys", METRIC_REDIS_CPU_TIME, "sys" },
	{ "used_cpu_sys_children", METRIC_REDIS_CPU_TIME, "sys_children" },
	{ "used_cpu_sys_main_thread", METRIC_REDIS_CPU_TIME, "sys_main_thread" },
	{ "used_cpu_user", METRIC_REDIS_CPU_TIME, "user" },
	{ "used_cpu_user_children", METRIC_REDIS_CPU_TIME, "user_children" },
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
	{ "maxmemory", METRIC_REDIS_MAXMEMORY, NULL },
	{ "total_net_input_bytes", METRIC_REDIS_NET_INPUT, NULL },
	{ "total_net_output_bytes", METRIC_REDIS_NET_OUTPUT, NULL },
	{ "rdb_changes_since_last_save", METRIC_REDIS_RDB_CHANGES, NULL },
	{ "repl_backlog_first_byte_offset", METRIC_REDIS_REPL_BACKLOG_FIRST, NULL },
	{ "master_repl_offset", METRIC_REDIS_REPL_OFFSET, NULL },
	{ "connected_slaves", METRIC_REDIS_SLAVES, NULL },
	{ "uptime_in_seconds", METRIC_REDIS_UPTIME, NULL },
};
#define NFIELDS (sizeof fields / sizeof *fields)
#define NDB 16

/* A cell and in which apply it was last seen. */
struct seen { struct metric_cell *cell; uint64_t at; };

struct metric_info {
	struct metric_shard *shard;
	char *backend, *address, port[8];
	struct seen field[NFIELDS];
	struct seen db[NDB][3];        /* keys, expires, avg_ttl */
	struct seen role[2];
	uint64_t round;
	uint64_t start_ns;             /* of the server */
	int64_t uptime;
	char run_id[48];
	bool restarted;
	unsigned skipped;
};

struct metric_info *metric_info_new(struct metric_shard *s, const char *backend, const char *address,
    uint16_t port)
{
	struct metric_info *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->shard = s;
	m->backend = strdup(backend);
	m->address = strdup(address);
	if (port)
		snprintf(m->port, sizeof m->port, "%u", port);
	m->uptime = -1;
	if (!m->backend || !m->address) {
		metric_info_free(m);
		return NULL;
	}
	return m;
}

static void sweep(struct seen *s, uint64_t round)
{
	if (s->cell && s->at != round)
		metric_cell_unset(s->cell);
}

static void sweep_all(struct metric_info *m, uint64_t round)
{
	for (size_t i = 0; i < NFIELDS; i++)
		sweep(&m->field[i], round);
	for (size_t i = 0; i < NDB; i++)
		for (size_t k = 0; k < 3; k++)
			sweep(&m->db[i][k], round);
	sweep(&m->role[0], round);
	sweep(&m->role[1], round);
}

void metric_info_free(struct metric_info *m)
{
	if (!m)
		return;
	sweep_all(m, UINT64_MAX);
	free(m->backend);
	free(m->address);
	free(m);
}

void metric_info_gone(struct metric_info *m)
{
	sweep_all(m, UINT64_MAX);
}

bool metric_info_restarted(const struct metric_info *m)
{
	return m->restarted;
}

unsigned metric_info_skipped(const struct metric_info *m)
{
	return m->skipped;
}

/* ---- values -------------------------------------------------------------------------------------- */

static bool number(const char *s, size_t n, bool is_double, int64_t *i, double *d)
{
	char text[48], *end;

	if (n == 0 || n >= sizeof text)
		return false;
	memcpy(text, s, n);
	text[n] = '\0';
	errno = 0;
	if (is_double)
		*d = strtod(text, &end);
	else
		*i = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' && end != text;
}

static void put(struct metric_info *m, struct seen *s, enum metric_id id, const char *attr,
    const char *text, size_t n)
{
	const struct metric_row *row = &metric_rows[id];
	int64_t i = 0;
	double d = 0;

	if (!number(text, n, row->value == METRIC_DOUBLE, &i, &d)) {
		m->skipped++;
		return;
	}
	if (!s->cell)
		s->cell = metric_cell(m->shard, id, m->backend, m->address, m->port, attr);
	s->at = m->round;
	if (row->kind == METRIC_COUNTER)
		atomic_store_explicit(&s->cell->start_ns, m->start_ns, memory_order_relaxed);
	if (row->value == METRIC_DOUBLE)
		metric_cell_setd(s->cell, d);
	else
		metric_cell_set(s->cell, i);
}

/* "keys=4,expires=1,avg_ttl=0" of "db3" */
static bool keyspace(struct metric_info *m, const char *key, size_t klen, const char *v, size_t n)
{
	static const struct { const char *name; enum metric_id id; } parts[] = {
		{ "keys=", METRIC_REDIS_DB_KEYS }, { "expires=", METRIC_REDIS_DB_EXPIRES },
		{ "avg_ttl=", METRIC_REDIS_DB_AVG_TTL } };
	int64_t db;
	char name[8];
	double unused;

	if (klen < 3 || memcmp(key, "db", 2) != 0 || !number(key + 2, klen - 2, false, &db, &unused))
		return false;
	if (db < 0 || db >= NDB)
		return true;
	snprintf(name, sizeof name, "%d", (int)db);
	while (n) {
		const char *comma = memchr(v, ',', n);
		size_t len = comma ? (size_t)(comma - v) : n;

		for (size_t k = 0; k < 3; k++) {
			size_t pl = strlen(parts[k].name);

			if (len > pl && memcmp(v, parts[k].name, pl) == 0)
				put(m, &m->db[db][k], parts[k].id, name, v + pl, len - pl);
		}
		v += len + (comma != NULL);
		n -= len + (comma != NULL);
	}
	return true;
}

typedef void (*line_fn)(struct metric_info *m, const char *k, size_t kn, const char *v, size_t vn);

static void each_line(struct metric_info *m, const char *text, size_t n, line_fn fn)
{
	for (struct info_line l; info_line(&text, &n, &l);)
		fn(m, l.key, l.key_len, l.value, l.value_len);
}

static bool is(const char *k, size_t kn, const char *name)
{
	return strlen(name) == kn && memcmp(k, name, kn) == 0;
}

/* First pass: when did the server start? */
static void server_line(struct metric_info *m, const char *k, size_t kn, const char *v, size_t vn)
{
	int64_t up;
	double unused;

	if (is(k, kn, "uptime_in_seconds") && number(v, vn, false, &up, &unused)) {
		m->restarted |= m->uptime >= 0 && up < m->uptime;
		m->uptime = up;
	} else if (is(k, kn, "run_id") && vn && vn < sizeof m->run_id) {
		m->restarted |= *m->run_id && (strlen(m->run_id) != vn || memcmp(m->run_id, v, vn) != 0);
		memcpy(m->run_id, v, vn);
		m->run_id[vn] = '\0';
	}
}

static void value_line(struct metric_info *m, const char *k, size_t kn, const char *v, size_t vn)
{
	for (size_t i = 0; i < NFIELDS; i++)
		if (is(k, kn, fields[i].name)) {
			put(m, &m->field[i], fields[i].id, fields[i].attr, v, vn);
			return;
		}
	if (is(k, kn, "role"))
		put(m, &m->role[!is(v, vn, "master")], METRIC_REDIS_ROLE,
		    is(v, vn, "master") ? "primary" : "replica", "1", 1);
	else
		keyspace(m, k, kn, v, vn);
}

unsigned metric_info_apply(struct metric_info *m, const char *text, size_t n, uint64_t wall_ns)
{
	unsigned taken = 0;

	m->round++;
	m->restarted = false;
	m->skipped = 0;
	each_line(m, text, n, server_line);
	if (m->uptime >= 0 && (!m->start_ns || m->restarted))
		m->start_ns = wall_ns - (uint64_t)m->uptime * UINT64_C(1000000000);
	each_line(m, text, n, value_line);
	sweep_all(m, m->round);
	for (size_t i = 0; i < NFIELDS; i++)
		taken += m->field[i].at == m->round;
	for (size_t i = 0; i < NDB; i++)
		for (size_t k = 0; k < 3; k++)
			taken += m->db[i][k].at == m->round;
	return taken + (m->role[0].at == m->round) + (m->role[1].at == m->round);
}
