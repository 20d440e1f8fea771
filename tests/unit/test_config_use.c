/* SPDX-License-Identifier: Apache-2.0 */
/* config: what a generation says to those who hold it; print, compare. */
#include <config.h>
#include <pthread.h>
#include "config_fixture.h"

#define S INT64_C(1000000000)

static void defaults(void **state)
{
	struct cfg_inputs in = fix_inputs();
	const struct cfg_section *s;
	struct cfg *c;
	char where[64];
	int64_t num;
	int rc;

	(void)state;
	in.path = NULL;
	assert_string_equal(fix_load(&in, &c, &rc), "");
	assert_null(cfg_file(c));
	assert_int_equal(cfg_generation(c), 7);
	s = cfg_one(c, CFG_AGENT);
	assert_int_equal(cfg_int(s, CFG_AGENT_MODE), CFG_DEVELOPMENT);
	assert_int_equal(cfg_int(s, CFG_AGENT_WORKERS), 0);
	assert_int_equal(cfg_int(s, CFG_AGENT_SOCKET_MODE), 0660);
	assert_int_equal(cfg_int(s, CFG_AGENT_MAX_BULK_SIZE), 512 << 20);
	assert_string_equal(cfg_text(s, CFG_AGENT_HTTP_LISTEN), "");
	assert_int_equal(cfg_int(s, CFG_AGENT_HTTP_LISTEN), 0);
	assert_false(cfg_is_set(s, CFG_AGENT_WORKERS));
	cfg_origin(s, CFG_AGENT_WORKERS, where, sizeof(where));
	assert_string_equal(where, "default");
	s = cfg_one(c, CFG_HEALTH);
	assert_int_equal(cfg_int(s, CFG_HEALTH_INTERVAL), 30 * S);
	assert_int_equal(cfg_int(s, CFG_HEALTH_MEMORY_WARNING), 800000);
	assert_true(cfg_real(s, CFG_HEALTH_MEMORY_WARNING_CLEAR) == 0.75);
	assert_true(cfg_real(s, CFG_HEALTH_MEMORY_CRITICAL_CLEAR) == 0.85);
	assert_int_equal(cfg_int(cfg_one(c, CFG_OTLP), CFG_OTLP_SAMPLER), CFG_PARENT_RATIO);
	assert_true(cfg_real(cfg_one(c, CFG_OTLP), CFG_OTLP_SAMPLE_RATIO) == 1.0);
	assert_string_equal(cfg_service_name(c), "purser");
	assert_null(cfg_export(c, CFG_TRACES)->url);
	assert_null(cfg_export(c, CFG_METRICS)->url);
	assert_int_equal(cfg_count(c, CFG_BACKEND), 1);
	s = cfg_first(c, CFG_BACKEND);
	assert_string_equal(cfg_name(s), "main");
	assert_int_equal(cfg_section_kind(s), CFG_BACKEND);
	assert_null(cfg_next(s));
	/* The plugin's row narrows the core's: its default holds. */
	assert_int_equal(cfg_int(s, CFG_BACKEND_MAX_MEMORY), 100 << 20);
	assert_true(cfg_setting(s, "max_memory", NULL, &num));
	assert_int_equal(num, 100 << 20);
	assert_true(cfg_setting(s, "eviction", NULL, &num));
	assert_int_equal(num, 0);
	assert_true(cfg_setting(s, "operation_timeout", NULL, &num));
	assert_int_equal(num, 10 * S);
	assert_int_equal(cfg_count(c, CFG_PROJECT), 1);
	assert_string_equal(cfg_name(cfg_first(c, CFG_PROJECT)), "default");
	assert_ptr_equal(cfg_project_backend(cfg_first(c, CFG_PROJECT)), s);
	cfg_unref(c);
}

static void projects(void **state)
{
	struct cfg *c = fix_good("[backend main]\nplugin = redis\n[backend scratch]\nplugin = memory\n"
		"[agent]\nmode = production\nworkers = 3\nsocket_group = 0\n"
		"[project shop]\nbackend = main\ndatabases = 4\nallow_uid = 0\n"
		"[project own]\nbackend = scratch\nkey_prefix = own/\nallow_uid = 0\n"
		"[backend third]\nplugin = memory\n"
		"[project alone]\nbackend = third\nisolation = no\nallow_uid = 0\n");
	const struct cfg_section *s;

	(void)state;
	s = cfg_find(c, CFG_PROJECT, "shop");
	assert_string_equal(cfg_project_prefix(s), "proj:shop:");
	assert_string_equal(cfg_name(cfg_project_backend(s)), "main");
	assert_int_equal(cfg_int(s, CFG_PROJECT_DATABASES), 4);
	assert_string_equal(cfg_project_prefix(cfg_find(c, CFG_PROJECT, "own")), "own/");
	s = cfg_find(c, CFG_PROJECT, "alone");
	assert_string_equal(cfg_project_prefix(s), "");
	assert_string_equal(cfg_text(s, CFG_PROJECT_KEY_PREFIX), "");
	assert_null(cfg_find(c, CFG_PROJECT, "default"));
	assert_null(cfg_find(c, CFG_PROJECT, "sho"));
	assert_int_equal(cfg_int(cfg_one(c, CFG_AGENT), CFG_AGENT_WORKERS), 3);
	assert_int_equal(cfg_int(cfg_one(c, CFG_AGENT), CFG_AGENT_SOCKET_GROUP), 0);
	assert_int_equal(cfg_int(cfg_one(c, CFG_AGENT), CFG_AGENT_MODE), CFG_PRODUCTION);
	cfg_unref(c);
}

static void signals(void **state)
{
	const char *env[] = { "OTEL_EXPORTER_OTLP_METRICS_HEADERS=x-m=a%20b", "OTEL_BSP_EXPORT_TIMEOUT=4000",
		"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=0", NULL };
	struct cfg_inputs in = fix_inputs();
	const struct cfg_export *t, *m;
	char text[512];
	struct cfg *c;
	int rc;

	(void)state;
	fix_text("headers", "# of the collector\nAuthorization:  Bearer s3cr3t \r\n\nX-A: file\n");
	snprintf(text, sizeof(text), "[backend main]\nplugin = memory\n[otlp]\nendpoint = http://h:4318/base/\n"
		"headers = x-a=1,x-b=2\nheaders_file = %s/headers\ntimeout = 5s\ntraces_compression = none\n", fix_dir);
	fix_text("purser.ini", text);
	in.env = env;
	assert_string_equal(fix_load(&in, &c, &rc), "");
	t = cfg_export(c, CFG_TRACES);
	m = cfg_export(c, CFG_METRICS);
	assert_string_equal(t->url, "http://h:4318/base/v1/traces");
	assert_string_equal(m->url, "http://h:4318/base/v1/metrics");
	assert_int_equal(t->timeout_ns, 4 * S);
	assert_int_equal(m->timeout_ns, 30 * S); /* no limit of its own, but the export's */
	assert_false(t->gzip);
	assert_true(m->gzip);
	assert_int_equal(t->nheaders, 3);
	assert_string_equal(t->headers[0], "Authorization: Bearer s3cr3t");
	assert_string_equal(t->headers[1], "X-A: file");
	assert_string_equal(t->headers[2], "x-b: 2");
	assert_int_equal(m->nheaders, 3);
	assert_string_equal(m->headers[2], "x-m: a b");
	cfg_unref(c);

	fix_text("ca.pem", "certificate");
	assert_int_equal(chmod("ca.pem", 0644), 0);
	snprintf(text, sizeof(text), "[backend main]\nplugin = memory\n[otlp]\nca_file = %s/ca.pem\n"
		"key_file = %s/ca.pem\n", fix_dir, fix_dir);
	fix_text("purser.ini", text);
	snprintf(text, sizeof(text), "warning: purser.ini:5: [otlp] key_file = %s/ca.pem: every user may read it: "
		"chmod o-r\n", fix_dir);
	assert_string_equal(fix_load(&in, &c, &rc), text);
	snprintf(text, sizeof(text), "%s/ca.pem", fix_dir);
	assert_string_equal(cfg_export(c, CFG_METRICS)->ca_file, text);
	assert_null(cfg_export(c, CFG_METRICS)->cert_file);
	assert_string_equal(cfg_export(c, CFG_TRACES)->key_file, text);
	cfg_unref(c);

	c = fix_good("[backend main]\nplugin = memory\n[otlp]\nendpoint = http://h:4318\n"
		"traces_endpoint = https://other:9\nmetrics = no\n");
	assert_string_equal(cfg_export(c, CFG_TRACES)->url, "https://other:9/");
	assert_null(cfg_export(c, CFG_METRICS)->url);
	cfg_unref(c);
	c = fix_good("[backend main]\nplugin = memory\n[otlp]\ntraces_endpoint = https://other:9/x?y\n");
	assert_string_equal(cfg_export(c, CFG_TRACES)->url, "https://other:9/x?y");
	assert_null(cfg_export(c, CFG_METRICS)->url);
	cfg_unref(c);
	c = fix_good("[backend main]\nplugin = memory\n[otlp]\nendpoint = http://h:4318\nenabled = no\n");
	assert_null(cfg_export(c, CFG_TRACES)->url);
	cfg_unref(c);

	fix_text("headers", "ok: 1\nnot a header\n: empty\n");
	snprintf(text, sizeof(text), "[backend main]\nplugin = memory\n[otlp]\nheaders_file = %s/headers\n", fix_dir);
	fix_text("purser.ini", text);
	snprintf(text, sizeof(text), "purser.ini:4: [otlp] headers_file = %s/headers: line 2 is not \"Name: "
		"value\"\npurser.ini:4: [otlp] headers_file = %s/headers: line 3 is not \"Name: value\"\n", fix_dir,
		fix_dir);
	assert_string_equal(fix_load(&in, &c, &rc), text);
	assert_int_equal(rc, CFG_INVALID);
}

static const char *printed(const struct cfg *c)
{
	static char text[65536];
	FILE *f = fmemopen(text, sizeof(text), "w");

	cfg_print(f, c);
	fputc('\0', f);
	fclose(f);
	return text;
}

/* No secret is in what is printed, and what is printed loads again as the same. */
static void print(void **state)
{
	const char *env[] = { "REDIS_URL=redis://me:hunter2@h/0", "OTEL_EXPORTER_OTLP_HEADERS=a=hunter2", NULL };
	struct cfg_inputs in = fix_inputs();
	struct cfg_changes changes = { 0 };
	struct cfg *c, *again;
	const char *text;
	int rc;

	(void)state;
	fix_text("purser.ini", "[backend main]\nplugin = redis\nurl = redis://x:hunter3@f\npassword = hunter4\n"
		"[log]\nlevel = debug\n");
	in.env = env;
	assert_string_equal(fix_load(&in, &c, &rc), "");
	text = printed(c);
	assert_null(strstr(text, "hunter"));
	assert_non_null(strstr(text, "; read:     purser.ini\n"));
	assert_non_null(strstr(text, "\nurl = redis://me:***@h/0                         ; environment REDIS_URL\n"));
	assert_non_null(strstr(text, "\n;password = (secret)                             ; purser.ini:4\n"));
	assert_non_null(strstr(text, "\n;headers = (secret)                              ; environment "
		"OTEL_EXPORTER_OTLP_HEADERS\n"));
	assert_non_null(strstr(text, "\nlevel = debug                                    ; purser.ini:6\n"));
	assert_non_null(strstr(text, "\n;http_listen =                                   ; not set\n"));
	assert_non_null(strstr(text, "\npool_max = 50                                    ; default\n"));
	cfg_unref(c);

	c = fix_good("[backend main]\nplugin = memory\nmax_memory = 5MiB\n[agent]\nsocket = /x\n"
		"[otlp]\nresource_attributes = a=1\n b=2\n[project p]\nkey_prefix = p:\n");
	text = printed(c);
	again = fix_good(text);
	assert_int_equal(cfg_diff(c, again, &changes), CFG_OK);
	assert_int_equal(changes.n, 0);
	cfg_changes_free(&changes);
	cfg_unref(again);
	cfg_unref(c);

	in = fix_inputs();
	in.path = NULL;
	assert_string_equal(fix_load(&in, &c, &rc), "");
	assert_non_null(strstr(printed(c), "; no configuration file was found: these are the built-in defaults\n"));
	cfg_unref(c);
}

struct diff {
	const char *from, *to, *said; /* each line: "live " or "fixed ", then the change */
};

#define MEM "[backend main]\nplugin = memory\n"
#define RED "[backend main]\nplugin = redis\n"

static const struct diff diffs[] = {
	{ MEM, MEM, "" },
	{ MEM "[health]\ninterval = 60s\n", MEM "[health]\ninterval = 1m\n", "" },
	{ MEM "[health]\ninterval = 30s\n", MEM, "" },
	{ MEM, MEM "[health]\ninterval = 10s\n", "live [health] interval: 30s -> 10s\n" },
	{ MEM, MEM "[agent]\nworkers = 2\nmax_clients = 5\n",
		"fixed [agent] workers: auto -> 2\nlive [agent] max_clients: 10000 -> 5\n" },
	{ MEM, MEM "[agent]\nhttp_listen = 127.0.0.1:1\n", "fixed [agent] http_listen: (not set) -> 127.0.0.1:1\n" },
	{ MEM "[agent]\nhttp_listen = 127.0.0.1:1\n", MEM, "fixed [agent] http_listen: 127.0.0.1:1 -> (not set)\n" },
	{ MEM, MEM "max_memory = 5MiB\neviction = allkeys-lru\n",
		"live [backend main] max_memory: 100MiB -> 5MiB\nfixed [backend main] eviction: noeviction -> "
		"allkeys-lru\n" },
	{ MEM, RED, "fixed [backend main] plugin: memory -> redis\n"
		"fixed [backend main] connection_timeout: 10s -> 3s\n"
		"live [backend main] max_memory: 100MiB -> (not set)\n"
		"fixed [backend main] url: (not set) -> redis://127.0.0.1:6379/0\n"
		"live [backend main] pool_max: (not set) -> 50\n"
		"fixed [backend main] eviction: noeviction -> (not set)\n" },
	{ RED "password = hunter2\n", RED "password = hunter3\n", "fixed [backend main] password: changed (secret)\n" },
	{ RED, RED "password = hunter3\n", "fixed [backend main] password: set\n" },
	{ RED "password = hunter2\n", RED, "fixed [backend main] password: taken out\n" },
	{ RED "url = redis://a:hunter2@h\n", RED "url = redis://a:hunter3@h\n",
		"fixed [backend main] url: redis://a:***@h -> redis://a:***@h\n" },
	{ MEM, MEM "[project shop]\n[project two]\n", "live [project shop]: added\nlive [project two]: added\n" },
	{ MEM "[project shop]\n", MEM, "live [project shop]: removed\n" },
	{ MEM "[project shop]\n", MEM "[project shop]\nisolation = off\n",
		"live [project shop] key_prefix: proj:shop: -> (not set)\nlive [project shop] isolation: on -> off\n" },
	{ MEM "[project default]\nbackend = main\n",
		MEM "[project default]\nbackend = main\n[backend b]\nplugin = memory\n", "live [backend b]: added\n" },
	{ MEM, MEM "[agent]\nmode = production\n[project x]\n", "fixed [agent] mode: development -> production\n"
		"live [project default]: removed\nlive [project x]: added\nlive [otlp] sample_ratio: 1 -> 0.01\n" },
};

static void differences(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(diffs) / sizeof(*diffs); i++) {
		struct cfg_inputs in = fix_inputs();
		struct cfg_changes changes = { 0 };
		char said[4096] = "";
		struct cfg *from, *to;
		size_t at = 0, fixed = 0;
		int rc;

		fix_text("purser.ini", diffs[i].from);
		fix_load(&in, &from, &rc);
		assert_non_null(from);
		fix_text("purser.ini", diffs[i].to);
		fix_load(&in, &to, &rc);
		assert_non_null(to);
		assert_int_equal(cfg_diff(from, to, &changes), CFG_OK);
		for (size_t k = 0; k < changes.n; k++) {
			at += (size_t)snprintf(said + at, sizeof(said) - at, "%s %s\n",
				changes.list[k].reloadable ? "live" : "fixed", changes.list[k].text);
			fixed += !changes.list[k].reloadable;
		}
		if (strcmp(said, diffs[i].said) != 0)
			fail_msg("row %zu: said\n%s---- wanted\n%s", i, said, diffs[i].said);
		assert_int_equal(fixed, changes.nfixed);
		cfg_changes_free(&changes);
		cfg_unref(from);
		cfg_unref(to);
	}
}

/* A secret's file with a new content is a change, though its name is the same. */
static void rotated(void **state)
{
	struct cfg_changes changes = { 0 };
	struct cfg *a, *b;
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), RED "password_file = %s/pw\n", fix_dir);
	fix_text("pw", "one\n");
	a = fix_good(text);
	b = fix_good(text);
	assert_int_equal(cfg_diff(a, b, &changes), CFG_OK);
	assert_int_equal(changes.n, 0);
	cfg_unref(b);
	fix_text("pw", "two\n");
	b = fix_good(text);
	assert_int_equal(cfg_diff(a, b, &changes), CFG_OK);
	assert_int_equal(changes.n, 1);
	snprintf(text, sizeof(text), "[backend main] password_file: the content of %s/pw has changed", fix_dir);
	assert_string_equal(changes.list[0].text, text);
	assert_true(changes.list[0].reloadable);
	cfg_changes_free(&changes);
	cfg_unref(a);
	cfg_unref(b);
}

/* The shipped files load without a word; so does the one with every key taken out of its comment. */
static void shipped(void **state)
{
	static const char *const files[] = { "purser.ini", "purser-minimal.ini" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct cfg_inputs in = fix_inputs();
		char path[4096], line[256], *text = NULL;
		size_t len = 0, keys = 0;
		struct cfg *c;
		FILE *f, *out;
		int rc;

		snprintf(path, sizeof(path), "%s/etc/%s", TOP_SRCDIR, files[i]);
		in.path = path;
		in.schema = NULL; /* of the real plugins only purserd knows */
		assert_string_equal(fix_load(&in, &c, &rc), "");
		assert_string_equal(cfg_name(cfg_first(c, CFG_BACKEND)), "main");
		assert_int_equal(cfg_count(c, CFG_BACKEND), 1);
		cfg_unref(c);

		f = fopen(path, "r");
		assert_non_null(f);
		out = open_memstream(&text, &len);
		while (fgets(line, sizeof(line), f) != NULL) {
			bool key = line[0] == ';' && (line[1] == '[' || (line[1] >= 'a' && line[1] <= 'z'));

			fputs(line + key, out);
			keys += key;
		}
		fclose(f);
		fclose(out);
		fix_text("purser.ini", text);
		free(text);
		in.path = "purser.ini";
		if (i == 1)
			continue; /* its password_file is an example */
		assert_string_equal(fix_load(&in, &c, &rc), "");
		assert_true(keys > CFG_KEY_COUNT);
		assert_int_equal(cfg_count(c, CFG_BACKEND), 2);
		assert_int_equal(cfg_count(c, CFG_PROJECT), 2);
		cfg_unref(c);
	}
}

static void *holder(void *arg)
{
	struct cfg *c = arg;

	for (int i = 0; i < 20000; i++) {
		struct cfg *mine = cfg_ref(c);

		assert_int_equal(cfg_int(cfg_one(mine, CFG_HEALTH), CFG_HEALTH_INTERVAL), 30 * S);
		cfg_unref(mine);
	}
	cfg_unref(c);
	return NULL;
}

static void references(void **state)
{
	struct cfg *c = fix_good(MEM);
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, holder, cfg_ref(c)), 0);
	cfg_unref(c);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cfg_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(projects),
		cmocka_unit_test(signals),
		cmocka_unit_test(print),
		cmocka_unit_test(differences),
		cmocka_unit_test(rotated),
		cmocka_unit_test(shipped),
		cmocka_unit_test(references),
	};

	return cmocka_run_group_tests_name("config/use", tests, fix_setup, fix_teardown);
}
