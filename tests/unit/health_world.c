/* SPDX-License-Identifier: Apache-2.0 */
/* tests of health: the world that they play in. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "health_world.h"

struct world W;


static uint64_t now_ns(void *arg) { (void)arg; return W.now; }
static uint64_t wall(void *arg) { (void)arg; return W.wall_ms + W.now / MS; }

static void fake_ask(void *arg, uint32_t instance, const purser_bytes *argv, uint32_t argc,
    uint64_t timeout_ns, health_answer_fn done, void *done_arg)
{
	struct pending *p = &W.asks[W.nasks++];

	(void)arg;
	assert_true(W.nasks < ASKS && argc <= 8);
	memset(p, 0, sizeof *p);
	for (uint32_t i = 0; i < argc; i++) {
		assert_true(argv[i].n < sizeof p->word[i]);
		memcpy(p->word[i], argv[i].p, argv[i].n);
	}
	p->argc = argc;
	p->instance = instance;
	p->timeout_ns = timeout_ns;
	p->done = done;
	p->arg = done_arg;
	W.total++;
	snprintf(W.seen + strlen(W.seen), sizeof W.seen - strlen(W.seen), "%u:%s ", instance, p->word[0]);
}

static int fake_stats(void *arg, uint32_t instance, purser_stats *out)
{
	(void)arg;
	(void)instance;
	out->keys = W.stats.keys;
	out->used_bytes = W.stats.used_bytes;
	out->max_bytes = W.stats.max_bytes;
	return 0;
}

static void fake_pool(void *arg, uint32_t instance, struct health_pool *out)
{
	(void)arg;
	*out = (struct health_pool){ 3 + instance, 2, 50 };
}

static void fake_telemetry(void *arg, struct health_telemetry *out) { (void)arg; *out = W.telemetry; }
void fake_breaker(void *arg, uint32_t i, struct health_breaker *out)
{
	(void)arg;
	(void)i;
	*out = W.breaker;
}

static int step_of(const char *word)
{
	static const char *const steps[] = { "PING", "SET", "GET", "DEL", "INFO", "DBSIZE", "SCAN" };

	for (int i = 0; i < 7; i++)
		if (strcmp(word, steps[i]) == 0)
			return i;
	fail_msg("an unexpected command: %s", word);
	return 0;
}

static void bulk(char *out, size_t cap, const char *s)
{
	size_t n = strlen(s);
	int head = snprintf(out, cap, "$%zu\r\n", n);

	assert_true((size_t)head + n + 3 <= cap);
	memcpy(out + head, s, n);
	memcpy(out + head + n, "\r\n", 3);
}

/* SCAN gives two keys a page, so that it takes several. */
static void scan(struct store *s, const char *cursor, char *out, size_t cap)
{
	unsigned from = (unsigned)strtoul(cursor, NULL, 10), n = 0, next;

	while (s->keys[n])
		n++;
	next = from + 2 < n ? from + 2 : 0;
	snprintf(out, cap, "*2\r\n$%d\r\n%u\r\n*%u\r\n", next > 9 ? 2 : 1, next,
	    n - from < 2 ? n - from : 2);
	for (unsigned i = from; i < from + 2 && i < n; i++)
		bulk(out + strlen(out), cap - strlen(out), s->keys[i]);
}

void reply_to(struct pending *p, char *out, size_t cap)
{
	struct store *s = &W.store[p->instance];
	unsigned n = 0;

	switch (step_of(p->word[0])) {
	case 0:
		snprintf(out, cap, "+PONG\r\n");
		break;
	case 1:
		assert_true(p->argc == 5 || p->argc == 3);
		if (p->argc == 5)
			assert_string_equal(p->word[3], "PX");
		memcpy(s->key, p->word[1], sizeof s->key);
		memcpy(s->value, p->word[2], sizeof s->value);
		snprintf(out, cap, "+OK\r\n");
		break;
	case 2:
		if (s->foreign_values > 0 && s->foreign_values--)
			bulk(out, cap, "purser 0123456789abcdef 17");
		else if (s->lost_values > 0 && s->lost_values--)
			snprintf(out, cap, "_\r\n");
		else if (s->nostring)
			snprintf(out, cap, "*0\r\n");
		else
			bulk(out, cap, s->wrong_value ? "purse" : s->value);
		break;
	case 3:
		assert_string_equal(p->word[1], s->key);
		snprintf(out, cap, ":1\r\n");
		break;
	case 4:
		snprintf(out, cap, "=%zu\r\ntxt:%s\r\n", strlen(s->info) + 4, s->info);
		break;
	case 5:
		while (s->keys[n])
			n++;
		snprintf(out, cap, ":%lld\r\n", s->dbsize >= 0 ? s->dbsize : (long long)n);
		break;
	default:
		scan(s, p->word[1], out, cap);
	}
}

/* Answer what was asked so far, one turn each, until nothing more is asked. */
void pump(void)
{
	for (int i = 0; i < 1000; i++) {
		struct pending p;
		struct health_answer a = { 0 };
		char text[2048] = "";
		unsigned k = 0;

		loop_turn(W.loop, 0);
		while (k < W.nasks && W.store[W.asks[k].instance].silent)
			k++;
		if (k == W.nasks)
			return;
		p = W.asks[k];
		memmove(&W.asks[k], &W.asks[k + 1], (--W.nasks - k) * sizeof p);
		W.now += W.store[p.instance].lag_ns ? W.store[p.instance].lag_ns : MS;
		loop_turn(W.loop, 0);
		if (W.store[p.instance].fail[step_of(p.word[0])]) {
			a.error = W.store[p.instance].fail[step_of(p.word[0])];
			a.err = W.store[p.instance].code;
		} else {
			reply_to(&p, text, sizeof text);
			a.resp = (const uint8_t *)text;
			a.n = strlen(text);
		}
		p.done(p.arg, &a);
	}
	fail_msg("it never ends");
}

void pass(uint64_t ns)
{
	W.now += ns;
	pump();
}

void got(void *arg, const char *json, size_t n)
{
	json_error_t e;

	(void)arg;
	json_decref(W.document);
	W.document = json_loadb(json, n, JSON_REJECT_DUPLICATES, &e);
	if (!W.document)
		fail_msg("%s at %d in %.*s", e.text, e.position, (int)n, json);
	W.documents++;
}

/* The value at a path of names: "memory.status". */
json_t *at(const char *path)
{
	char name[64];
	json_t *v = W.document;

	while (*path) {
		size_t n = strcspn(path, ".");

		snprintf(name, sizeof name, "%.*s", (int)n, path);
		v = json_object_get(v, name);
		path += n + (path[n] == '.');
	}
	return v;
}

void says(const char *path, const char *want)
{
	const char *is = json_string_value(at(path));

	if (!is || strcmp(is, want) != 0)
		fail_msg("%s is %s, not %s", path, is ? is : "no text", want);
}

void document(struct health *h)
{
	unsigned before = W.documents;

	health_get(h, got, NULL);
	pump();
	for (int i = 0; i < 100 && W.documents == before; i++) /* it waits for a moment */
		pass(10 * MS);
	assert_int_equal(W.documents, before + 1);
}

bool reason(const char *part)
{
	json_t *list = at("reasons");

	for (size_t i = 0; i < json_array_size(list); i++)
		if (strstr(json_string_value(json_array_get(list, i)), part))
			return true;
	return false;
}

/* ---- set up ----------------------------------------------------------------------------------------- */

struct health_deps deps(void)
{
	return (struct health_deps){ .loop = W.loop, .metrics = W.metrics, .shard = W.shard,
		.state_dir = W.state_dir, .ask = fake_ask, .stats = fake_stats, .pool = fake_pool,
		.telemetry = fake_telemetry };
}

struct project P[2];
static struct project_set projects = { .v = P, .n = 1 };

struct health_setup setup(const struct health_instance *i, uint32_t n)
{
	return (struct health_setup){ .opts = { .interval_ns = 30 * SECOND, .max_age_ns = 5 * SECOND,
		.timeout_ns = 2 * SECOND, .rule = { 800000, 750000, 900000, 850000, 2, 3, 3, 0 } },
		.instances = i, .ninstances = n, .projects = &projects, .generation = 7,
		.service = "shop", .version = "1.2.3" };
}

struct health_instance backend(uint32_t index, const char *name)
{
	return (struct health_instance){ .index = index, .name = name, .plugin = "redis", .caps = CAPS,
		.address = "127.0.0.1", .port = 6379, .eviction = "" };
}

void memory_is(int instance, unsigned used, unsigned max, const char *more)
{
	snprintf(W.store[instance].info, sizeof W.store[instance].info, "# Memory\r\nused_memory:%u\r\n"
	    "maxmemory:%u\r\nmaxmemory_policy:noeviction\r\nrole:master\r\nrun_id:a\r\n%s", used, max,
	    more);
}

int begin(void **state)
{
	struct loop_clock c = { now_ns, wall, NULL };
	char dir[] = "/tmp/purser-test.XXXXXX";

	(void)state;
	memset(&W, 0, sizeof W);
	W.now = 1000 * SECOND;
	W.wall_ms = UINT64_C(1700000000000);
	W.loop = loop_new(&c);
	W.metrics = metric_new(NULL);
	W.shard = metric_shard_new(W.metrics);
	assert_non_null(mkdtemp(dir));
	snprintf(W.state_dir, sizeof W.state_dir, "%s/a/b", dir);
	memset(P, 0, sizeof P);
	snprintf(P[0].name, sizeof P[0].name, "default");
	P[0].prefix_len = (uint32_t)snprintf((char *)P[0].prefix, sizeof P[0].prefix, "proj:default:");
	for (int i = 0; i < 3; i++) {
		W.store[i].dbsize = -1;
		memory_is(i, 500, 1000, "");
	}
	return 0;
}

int end(void **state)
{
	char path[128];

	(void)state;
	json_decref(W.document);
	loop_free(W.loop);
	metric_free(W.metrics);
	snprintf(path, sizeof path, "%s/health", W.state_dir);
	unlink(path);
	for (char *p; (p = strrchr(W.state_dir, '/')) != NULL && strcmp(W.state_dir, "/tmp") != 0; *p = '\0') {
		chmod(W.state_dir, 0700);
		rmdir(W.state_dir);
	}
	return 0;
}

struct health *start(const struct health_setup *s)
{
	struct health_deps d = deps();
	struct health *h = health_new(&d);

	assert_non_null(h);
	loop_turn(W.loop, 0);
	assert_int_equal(health_setup(h, s), 0);
	return h;
}

/* The value of the only (or last) point of a metric; -1: none. */
struct look { enum metric_id want; bool mine; double v; };
static void look_row(void *arg, enum metric_id id, const struct metric_row *row)
{
	(void)row;
	((struct look *)arg)->mine = id == ((struct look *)arg)->want;
}
static void look_point(void *arg, const struct metric_point *p)
{
	struct look *l = arg;

	if (l->mine)
		l->v = metric_rows[l->want].value == METRIC_DOUBLE ? p->d : (double)p->i;
}
static void look_end(void *arg) { (void)arg; }
double cell(enum metric_id want)
{
	struct look l = { want, false, -1 };
	struct metric_visitor v = { look_row, look_point, look_end, &l };

	assert_int_equal(metric_read(W.metrics, &v), 0);
	return l.v;
}
