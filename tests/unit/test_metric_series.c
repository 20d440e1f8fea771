/* SPDX-License-Identifier: Apache-2.0 */
/* metric: series, shards, caps, names, and reading while others write. */
#include <config.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/errors.h"
#include "metric/metric.h"

/* Everything that was visited, as lines "name{key=value,...} value". */
struct text {
	char s[1 << 16];
	size_t n;
	const struct metric_row *row;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->s + t->n, sizeof t->s - t->n, fmt, ap);
	va_end(ap);
	assert_true(t->n < sizeof t->s);
}

static void on_row(void *arg, enum metric_id id, const struct metric_row *row)
{
	struct text *t = arg;

	assert_true((int)id >= METRIC_COUNT || row == &metric_rows[id]);
	assert_null(t->row);
	t->row = row;
}

static void on_point(void *arg, const struct metric_point *p)
{
	struct text *t = arg;

	add(t, "%s{", t->row->name);
	for (size_t i = 0; i < p->nattrs; i++) {
		if (p->attrs[i].type == METRIC_A_STR)
			add(t, "%s%s=%s", i ? "," : "", p->attrs[i].key, p->attrs[i].s);
		else
			add(t, "%s%s=#%d", i ? "," : "", p->attrs[i].key, (int)p->attrs[i].i);
	}
	if (t->row->kind == METRIC_HISTOGRAM) {
		add(t, "} %d %.9g", (int)p->count, p->sum);
		for (size_t i = 0; i <= p->nbounds; i++)
			add(t, "%c%d", i ? ' ' : '|', (int)p->buckets[i]);
		add(t, "\n");
	} else if (t->row->value == METRIC_DOUBLE) {
		add(t, "} %g\n", p->d);
	} else {
		add(t, "} %d\n", (int)p->i);
	}
}

static void on_end(void *arg)
{
	((struct text *)arg)->row = NULL;
}

static const char *visit_as(struct metric_reg *r, struct text *t, bool anonymous)
{
	struct metric_visitor v = { on_row, on_point, on_end, t, anonymous };

	t->n = 0;
	t->row = NULL;
	assert_int_equal(metric_read(r, &v), 0);
	return t->s;
}

static const char *visit(struct metric_reg *r, struct text *t)
{
	return visit_as(r, t, false);
}

static const char *command(uint16_t id)
{
	static const char *const names[] = { "GET", "SET", "PING" };

	return id < 3 ? names[id] : NULL;
}

static struct text text;

static void assert_line(const char *line)
{
	char nl[1024];

	snprintf(nl, sizeof nl, "\n%s\n", line);
	if (strncmp(text.s, nl + 1, strlen(nl) - 1) != 0 && !strstr(text.s, nl))
		fail_msg("no line %s in\n%s", line, text.s);
}

static void test_operations(void **state)
{
	struct metric_opts o = { .command = command };
	struct metric_reg *r = metric_new(&o);
	struct metric_shard *a = metric_shard_new(r), *b = metric_shard_new(r);
	struct metric_instance mi = { .name = "main" };
	uint8_t inst = metric_instance(r, &mi), wrong;
	uint16_t shop = metric_project(r, "shop");
	uint16_t ep = metric_endpoint(r, "10.0.0.1", 6380, "tcp");
	struct metric_key get = { .instance = inst, .project = shop, .command = 0, .endpoint = ep };
	struct metric_key set = get, child = get, ping = get, probe = get;

	(void)state;
	assert_int_equal(metric_instance(r, &mi), inst);
	assert_int_equal(metric_project(r, "shop"), shop);
	assert_int_equal(metric_endpoint(r, "10.0.0.1", 6380, "tcp"), ep);
	assert_int_not_equal(ep, 0);
	wrong = metric_error(a, "WRONGTYPE Operation against", 27);
	assert_int_equal(metric_error(b, "WRONGTYPE", 9), wrong);
	assert_int_equal(metric_error(a, "ERR syntax error", 16), ERR_REDIS);
	assert_int_equal(metric_error(a, "something", 9), ERR_REDIS);

	metric_op_record(metric_op(a, get), 1000000, 10, 100);
	metric_op_record(metric_op(b, get), 2000000, 10, 100);
	assert_ptr_equal(metric_op(a, get), metric_op(a, get));
	assert_ptr_not_equal(metric_op(a, get), metric_op(b, get));
	child.kind = METRIC_CHILD; /* the same operation, no request */
	metric_op_record(metric_op(b, child), 3000000, 5, 5);
	set.command = 1;
	set.error = wrong;
	metric_op_record(metric_op(a, set), 500, 7, 9);
	ping.kind = METRIC_LOCAL;
	ping.command = 2;
	metric_op_record(metric_op(a, ping), 100, 3, 4);
	ping.instance = 77; /* says nothing for LOCAL */
	metric_op_record(metric_op(a, ping), 100, 3, 4);
	probe.kind = METRIC_INTERNAL;
	probe.error = ERR_TIMEOUT;
	metric_op_record(metric_op(a, probe), 1000, 1, 1);
	visit(r, &text);
	assert_line("db.client.operation.duration{db.system.name=redis,db.namespace=0,"
	    "db.operation.name=GET,server.address=10.0.0.1,server.port=#6380,purser.backend=main,"
	    "purser.project=shop} 3 0.006|1 2 0 0 0 0 0 0 0 0");
	assert_line("db.client.operation.duration{db.system.name=redis,db.namespace=0,"
	    "db.operation.name=SET,db.response.status_code=WRONGTYPE,error.type=WRONGTYPE,"
	    "server.address=10.0.0.1,server.port=#6380,purser.backend=main,purser.project=shop} "
	    "1 5e-07|1 0 0 0 0 0 0 0 0 0");
	assert_line("purser.requests{purser.project=shop} 4");
	assert_line("purser.requests{purser.project=shop,error.type=WRONGTYPE} 1");
	assert_line("purser.request.io{purser.project=shop,network.io.direction=receive} 33");
	assert_line("purser.request.io{purser.project=shop,network.io.direction=transmit} 217");
	assert_line("purser.internal.operation.duration{db.operation.name=GET,error.type=timeout,"
	    "purser.backend=main} 1 1e-06|1 0 0 0 0 0 0 0 0 0");
	assert_null(strstr(text.s, "PING"));
	metric_free(r);
}

static void test_pack(void **state)
{
	struct metric_key k = { .kind = 3, .instance = 254, .error = 200, .db = 255, .project = 0xfffe,
		.command = 4095, .endpoint = 1023 }, b;

	(void)state;
	b = metric_key_unpack(metric_key_pack(k));
	assert_memory_equal(&k, &b, sizeof k);
}

static void test_plain_and_cells(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_shard *a = metric_shard_new(r), *b = metric_shard_new(r);
	struct metric_cell *c = metric_cell(a, METRIC_MEMORY_USAGE, "main");

	(void)state;
	metric_add(a, METRIC_CLIENTS, 5);
	metric_add(b, METRIC_CLIENTS, -2);
	metric_cell_add(metric_cell(a, METRIC_CLIENTS_CUT, "idle"), 2);
	metric_cell_add(metric_cell(b, METRIC_CLIENTS_CUT, "idle"), 3);
	metric_cell_add(metric_cell(b, METRIC_CLIENTS_CUT, "limit"), 1);
	assert_ptr_equal(metric_cell(a, METRIC_MEMORY_USAGE, "main"), c);
	hist_record(metric_hist(a, METRIC_CONNECTION_CREATE_TIME, "main"), 5000001);
	visit(r, &text);
	assert_line("purser.clients.connected{} 3");
	assert_line("purser.clients.accepted{} 0");
	assert_line("purser.clients.cut{purser.reason=idle} 5");
	assert_line("purser.clients.cut{purser.reason=limit} 1");
	assert_line("db.client.connection.create_time{db.client.connection.pool.name=main} "
	    "1 0.005000001|0 0 1 0 0 0 0 0 0 0");
	assert_null(strstr(text.s, "purser.memory.usage")); /* no value: no point */
	metric_cell_setd(c, 0.25);
	assert_line(visit(r, &text) ? "purser.memory.usage{purser.backend=main} 0.25" : "");
	metric_cell_unset(c);
	assert_null(strstr(visit(r, &text), "purser.memory.usage"));
	metric_free(r);
}

/* Who may not see projects sees their sums, whatever feeds the metric. */
static void test_anonymous(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_shard *a = metric_shard_new(r), *b = metric_shard_new(r);

	(void)state;
	metric_op_record(metric_op(a, (struct metric_key){ .project = metric_project(r, "shop") }), 1000, 1, 2);
	metric_op_record(metric_op(b, (struct metric_key){ .project = metric_project(r, "blog") }), 1000, 3, 4);
	metric_cell_set(metric_cell(a, METRIC_LIMIT_INFLIGHT, "shop"), 2);
	metric_cell_set(metric_cell(b, METRIC_LIMIT_INFLIGHT, "shop"), 3);
	metric_cell_set(metric_cell(a, METRIC_LIMIT_INFLIGHT, "blog"), 5);
	metric_cell_add(metric_cell(a, METRIC_LIMIT_REFUSED, "shop", "rate"), 1);
	metric_cell_add(metric_cell(a, METRIC_LIMIT_REFUSED, "shop", "max_keys"), 2);
	metric_cell_add(metric_cell(a, METRIC_LIMIT_REFUSED, "blog", "rate"), 4);
	metric_cell_add(metric_cell(a, METRIC_CLIENTS_CUT, "idle"), 7);
	visit(r, &text);
	assert_line("purser.limit.inflight{purser.project=shop} 5");
	assert_line("purser.limit.inflight{purser.project=blog} 5");
	assert_line("purser.limit.refused{purser.project=shop,purser.limit=rate} 1");
	visit_as(r, &text, true);
	assert_line("purser.limit.inflight{} 10");
	assert_line("purser.limit.refused{purser.limit=rate} 5");
	assert_line("purser.limit.refused{purser.limit=max_keys} 2");
	assert_line("purser.request.io{network.io.direction=receive} 4");
	assert_line("purser.clients.cut{purser.reason=idle} 7");
	assert_null(strstr(text.s, "purser.project="));
	assert_null(strstr(text.s, "shop"));
	assert_null(strstr(text.s, "blog"));
	assert_null(strstr(strstr(text.s, "purser.limit.inflight") + 1, "purser.limit.inflight")); /* once */
	metric_free(r);
}

static void count_requests(void *arg, const struct metric_requests *q)
{
	*(uint64_t *)arg += q->count;
}

static void count_latency(void *arg, const struct metric_key *key, const struct hist_sum *sum)
{
	(void)key;
	*(uint64_t *)arg += sum->count;
}

/* Projects beyond the last place share one: none of them is told what the others did. */
static void test_shared_place(void **state)
{
	struct metric_opts o = { .command = command, .max_series = 100 };
	struct metric_reg *r = metric_new(&o);
	struct metric_shard *a = metric_shard_new(r);
	struct metric_key own = { .project = metric_project(r, "own") }, last = { .command = 1 };
	uint64_t requests = 0, latency = 0;
	char name[16];

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "p%u", i);
		last.project = metric_project(r, name);
	}
	metric_op_record(metric_op(a, own), 1000, 1, 1);
	metric_op_record(metric_op(a, last), 1000, 1, 1);
	metric_each_request(r, last.project, count_requests, &requests);
	metric_each_latency(r, last.project, count_latency, &latency);
	assert_int_equal(requests + latency, 0);
	assert_null(metric_clients_of(r, last.project));
	assert_non_null(metric_clients_of(r, own.project));
	metric_each_request(r, own.project, count_requests, &requests);
	metric_each_latency(r, own.project, count_latency, &latency);
	assert_int_equal(requests, 1);
	assert_int_equal(latency, 1);
	metric_free(r);
}

/* Past the cap the sums stay right. */
static void test_overflow(void **state)
{
	struct metric_opts o = { .command = command, .max_series = 10 };
	struct metric_reg *r = metric_new(&o);
	struct metric_shard *a = metric_shard_new(r);
	unsigned total = 0;

	(void)state;
	for (unsigned round = 0; round < 2; round++)
		for (uint16_t p = 0; p < 1000; p++) {
			struct metric_key k = { .project = p };
			char name[16];

			snprintf(name, sizeof name, "%u", p);
			metric_project(r, name);
			metric_op_record(metric_op(a, k), 1000000, 1, 1);
			metric_cell_add(metric_cell(a, METRIC_CLIENTS_CUT, name), 1);
		}
	visit(r, &text);
	assert_line("db.client.operation.duration{otel.metric.overflow=#1} 1980 1.98|1980 0 0 0 0 0 0 0 0 0");
	assert_line("purser.requests{otel.metric.overflow=#1} 1980");
	assert_line("purser.clients.cut{otel.metric.overflow=#1} 1980");
	for (const char *s = text.s; (s = strstr(s, "purser.requests{")); s++)
		total += (unsigned)strtoul(strchr(s, '}') + 1, NULL, 10);
	assert_int_equal(total, 2000);
	assert_true(metric_overflow(r) > 0);
	assert_in_range(metric_series(r), 20, 40);
	metric_free(r);
}

static void test_many_keys(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_shard *a = metric_shard_new(r);
	struct metric_op *seen[1500];

	(void)state;
	for (uint16_t i = 0; i < 1500; i++)
		seen[i] = metric_op(a, (struct metric_key){ .project = i, .command = i % 7 });
	for (uint16_t i = 0; i < 1500; i++)
		assert_ptr_equal(seen[i], metric_op(a, (struct metric_key){ .project = i,
		    .command = i % 7 }));
	assert_int_equal(metric_overflow(r), 0);
	metric_free(r);
}

static void test_words(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_shard *a = metric_shard_new(r);
	uint8_t last = 0;
	int others = 0;

	(void)state;
	for (int i = 0; i < 300; i++) {
		char word[16];
		int n = snprintf(word, sizeof word, "WORD%d x", i);

		last = metric_error(a, word, (size_t)n);
		others += strcmp(metric_error_of(r, last).type, "_OTHER") == 0;
	}
	assert_int_equal(others, 200);
	assert_string_equal(metric_error_of(r, metric_error(a, "WORD7", 5)).status, "WORD7");
	assert_string_equal(metric_error_of(r, ERR_BACKENDDOWN).type, "backend_down");
	assert_null(metric_error_of(r, ERR_BACKENDDOWN).status);
	assert_null(metric_error_of(r, 0).type);
	metric_free(r);
}

static void test_declared(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	struct metric_shard *a = metric_shard_new(r);
	int id = metric_declare(r, "my.links", "{link}", "Links.", METRIC_COUNTER);
	char name[16];

	(void)state;
	assert_int_equal(id, METRIC_COUNT);
	assert_int_equal(metric_declare(r, "my.links", "{link}", "Links.", METRIC_COUNTER), id);
	assert_int_equal(metric_declare(r, "my.links", "{link}", "Links.", METRIC_GAUGE), -1);
	assert_int_equal(metric_declare(r, "MY.links", "By", "Links.", METRIC_COUNTER), -1);
	assert_int_equal(metric_declare(r, "purser.requests", "{request}", "", METRIC_COUNTER), -1);
	assert_int_equal(metric_declare(r, "1x", "", "", METRIC_COUNTER), -1);
	assert_int_equal(metric_declare(r, "a b", "", "", METRIC_COUNTER), -1);
	assert_int_equal(metric_declare(r, "", "", "", METRIC_COUNTER), -1);
	assert_int_equal(metric_declare(r, "x", "", "", METRIC_HISTOGRAM), -1);
	metric_cell_add(metric_cell(a, id, "main"), 5);
	assert_line(visit(r, &text) ? "my.links{purser.backend=main} 5" : "");
	for (int i = 1; i < METRIC_EXTRA; i++) {
		snprintf(name, sizeof name, "m%d", i);
		assert_int_equal(metric_declare(r, name, "", "", METRIC_UPDOWN), METRIC_COUNT + i);
	}
	assert_int_equal(metric_declare(r, "more", "", "", METRIC_UPDOWN), -1);
	metric_free(r);
}

static struct metric_reg *shared;
static _Atomic int running;

static void *worker(void *arg)
{
	struct metric_shard *s = arg;

	for (uint32_t i = 0; i < 100000; i++) {
		struct metric_key k = { .project = (uint16_t)(i % 50), .command = (uint16_t)(i % 3) };

		metric_op_record(metric_op(s, k), i * 1000, 1, 2);
		metric_add(s, METRIC_CLIENTS_ACCEPTED, 1);
		if (i % 1000 == 0)
			metric_cell_add(metric_cell(s, METRIC_CLIENTS_CUT, i % 2000 ? "a" : "b"), 1);
	}
	running--;
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t t[3];
	struct metric_opts o = { .command = command };
	unsigned total = 0;

	(void)state;
	shared = metric_new(&o);
	running = 3;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, worker, metric_shard_new(shared)), 0);
	while (running)
		visit(shared, &text);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	visit(shared, &text);
	for (const char *s = text.s; (s = strstr(s, "purser.requests{")); s++)
		total += (unsigned)strtoul(strchr(s, '}') + 1, NULL, 10);
	assert_int_equal(total, 300000);
	assert_line("purser.clients.accepted{} 300000");
	assert_line("purser.clients.cut{purser.reason=a} 150");
	metric_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations),
		cmocka_unit_test(test_pack),
		cmocka_unit_test(test_plain_and_cells),
		cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_shared_place),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_declared),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
