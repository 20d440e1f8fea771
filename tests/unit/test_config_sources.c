/* SPDX-License-Identifier: Apache-2.0 */
/* config: the environment, --set, the built-in defaults, and which of them wins. */
#include <config.h>
#include "config_fixture.h"

enum { VARS = 8 };

struct row {
	const char *text;       /* purser.ini; NULL: there is none */
	const char *env[VARS];
	const char *sets[VARS];
	const char *said;
	/* Then, where it loads: section and key, and what cfg_setting or the getters say. */
	const char *section, *key, *value, *origin;
};

#define MEMORY "[backend main]\nplugin = memory\n"
#define REDIS "[backend main]\nplugin = redis\n"

static const struct row rows[] = {
	/* no file at all */
	{ NULL, { NULL }, { NULL }, "", "backend main", "plugin", "memory", "built-in" },
	{ NULL, { "REDIS_URL=" }, { NULL }, "", "backend main", "plugin", "memory", "built-in" },
	{ NULL, { "REDIS_URL=redis://h:1/2" }, { NULL }, "", "backend main", "plugin", "redis", "built-in" },
	{ NULL, { "REDIS_URL=redis://h:1/2" }, { NULL }, "", "backend main", "url", "redis://h:1/2",
		"environment REDIS_URL" },
	{ NULL, { NULL }, { NULL }, "", "agent", "mode", "development", "default" },
	{ NULL, { NULL }, { "backend x.plugin=needy", "backend x.token=t" }, "", "backend x", "token", "t", "--set" },
	{ NULL, { NULL }, { "backend x.max_memory=5MiB" }, "", "backend x", "plugin", "memory", "built-in" },
	{ NULL, { "REDIS_URL=redis://h" }, { "backend main.plugin=memory" },
		"warning: environment REDIS_URL: [backend main] is of plugin memory, which has no url: it is not used\n",
		"backend main", "plugin", "memory", "--set" },
	{ NULL, { "REDIS_URL=localhost" }, { NULL }, "environment REDIS_URL: [backend main] url = localhost: write a "
		"URL as scheme://host:port/path\n", NULL, NULL, NULL, NULL },

	/* a file and REDIS_URL */
	{ "[log]\n", { "REDIS_URL=redis://h" }, { NULL }, "", "backend main", "url", "redis://h",
		"environment REDIS_URL" },
	{ REDIS "url = redis://file\n", { "REDIS_URL=redis://env" }, { NULL }, "", "backend main", "url",
		"redis://env", "environment REDIS_URL" },
	{ REDIS "url = redis://file\n", { "REDIS_URL=redis://env" }, { "backend main.url=redis://set" }, "",
		"backend main", "url", "redis://set", "--set" },
	{ MEMORY, { "REDIS_URL=redis://env" }, { NULL }, "warning: environment REDIS_URL: [backend main] is of plugin "
		"memory, which has no url: it is not used\n", "backend main", "plugin", "memory", "purser.ini:2" },
	{ MEMORY "[backend two]\nplugin = redis\n[project default]\nbackend = two\n", { "REDIS_URL=redis://env" },
		{ NULL }, "", "backend two", "url", "redis://env", "environment REDIS_URL" },
	{ REDIS "[backend two]\nplugin = redis\n[project x]\nbackend = two\n", { "REDIS_URL=redis://env" }, { NULL },
		"warning: environment REDIS_URL: there are several [backend NAME] and no [project default] says which it "
		"is for: it is not used\n", "backend two", "url", "redis://127.0.0.1:6379/0", NULL },
	{ REDIS, { "REDIS_URL=redis://me:hunter2@h x" }, { NULL }, "environment REDIS_URL: [backend main] url = "
		"redis://me:***@h x: a URL has no blanks or quotes: write %20 and the like\n", NULL, NULL, NULL, NULL },

	/* the other variables of Redis */
	{ REDIS, { "REDIS_MAX_CONNECTIONS=7" }, { NULL }, "", "backend main", "pool_max", "7",
		"environment REDIS_MAX_CONNECTIONS" },
	{ REDIS, { "REDIS_MAX_CONNECTIONS=0" }, { NULL }, "environment REDIS_MAX_CONNECTIONS: [backend main] pool_max "
		"= 0: out of range: write 1 to 10000\n", NULL, NULL, NULL, NULL },
	{ REDIS, { "REDIS_CONNECTION_TIMEOUT=2.5" }, { NULL }, "", "backend main", "connection_timeout", "2.5s",
		"environment REDIS_CONNECTION_TIMEOUT" },
	{ REDIS, { NULL }, { NULL }, "", "backend main", "connection_timeout", "3s", "default" },
	{ REDIS "connection_timeout = 2m\n", { NULL }, { NULL }, "purser.ini:3: [backend main] connection_timeout = "
		"2m: out of range: write 1ms to 1m\n", NULL, NULL, NULL, NULL },
	{ REDIS, { "REDIS_OPERATION_TIMEOUT=5s" }, { NULL }, "environment REDIS_OPERATION_TIMEOUT: decimal seconds are "
		"needed, as 2.5\n", NULL, NULL, NULL, NULL },
	{ REDIS, { "REDIS_OPERATION_TIMEOUT=-1" }, { NULL }, "environment REDIS_OPERATION_TIMEOUT: decimal seconds are "
		"needed, as 2.5\n", NULL, NULL, NULL, NULL },
	{ REDIS, { "REDIS_OPERATION_TIMEOUT=1e3" }, { NULL }, "environment REDIS_OPERATION_TIMEOUT: decimal seconds are "
		"needed, as 2.5\n", NULL, NULL, NULL, NULL },
	{ REDIS, { "REDIS_HEALTH_CHECK_INTERVAL=0.5" }, { NULL }, "", "health", "interval", "0.5s",
		"environment REDIS_HEALTH_CHECK_INTERVAL" },
	{ REDIS, { "REDIS_MAX_RETRIES=3" }, { NULL }, "", "retry", "max_attempts", "4", "environment REDIS_MAX_RETRIES" },
	{ REDIS, { "REDIS_MAX_RETRIES=0" }, { NULL }, "", "retry", "max_attempts", "1", "environment REDIS_MAX_RETRIES" },
	{ REDIS, { "REDIS_MAX_RETRIES=some" }, { NULL }, "environment REDIS_MAX_RETRIES: a number of retries is needed, "
		"as 3\n", NULL, NULL, NULL, NULL },
	{ REDIS, { "REDIS_RETRY_DELAY=0.05" }, { NULL }, "", "retry", "base", "0.05s", "environment REDIS_RETRY_DELAY" },
	{ REDIS, { "CIRCUIT_BREAKER_FAILURE_THRESHOLD=7" }, { NULL }, "", "breaker", "failure_threshold", "7",
		"environment CIRCUIT_BREAKER_FAILURE_THRESHOLD" },
	{ REDIS, { "CIRCUIT_BREAKER_RECOVERY_TIMEOUT=30" }, { NULL }, "", "breaker", "recovery_timeout", "30s",
		"environment CIRCUIT_BREAKER_RECOVERY_TIMEOUT" },
	{ MEMORY "[agent]\nsocket = /run/file.sock\n", { "PURSER_SOCKET=/run/env.sock" }, { NULL }, "", "agent",
		"socket", "/run/env.sock", "environment PURSER_SOCKET" },
	{ MEMORY, { "PURSER_SOCKET=here" }, { NULL }, "environment PURSER_SOCKET: [agent] socket = here: write the whole "
		"path, beginning with /\n", NULL, NULL, NULL, NULL },

	/* OpenTelemetry: what is not understood is said and counts as not set */
	{ MEMORY, { "OTEL_SDK_DISABLED=True" }, { NULL }, "", "otlp", "enabled", "no",
		"environment OTEL_SDK_DISABLED" },
	{ MEMORY, { "OTEL_SDK_DISABLED=1" }, { NULL }, "warning: environment OTEL_SDK_DISABLED: neither true nor false: "
		"it counts as false\n", "otlp", "enabled", "yes", "environment OTEL_SDK_DISABLED" },
	{ MEMORY "[otlp]\nenabled = no\n", { "OTEL_SDK_DISABLED=" }, { NULL }, "", "otlp", "enabled", "no",
		"purser.ini:4" },
	{ MEMORY, { "OTEL_TRACES_SAMPLER=Always_On" }, { NULL }, "", "otlp", "sampler", "always_on",
		"environment OTEL_TRACES_SAMPLER" },
	{ MEMORY, { "OTEL_TRACES_SAMPLER=jaeger_remote" }, { NULL }, "warning: environment OTEL_TRACES_SAMPLER: write "
		"always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or "
		"parentbased_traceidratio: it is not used\n", "otlp", "sampler", "parentbased_traceidratio", "default" },
	{ MEMORY "[agent]\nmode = production\n[project a]\nallow_uid = 0\n", { "OTEL_TRACES_SAMPLER=traceidratio" }, { NULL }, "",
		"otlp", "sample_ratio", "1", "default" },
	{ MEMORY "[agent]\nmode = production\n[project a]\nallow_uid = 0\n",
		{ "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25" }, { NULL }, "", "otlp",
		"sample_ratio", "0.25", "environment OTEL_TRACES_SAMPLER_ARG" },
	{ MEMORY "[agent]\nmode = production\n[project a]\nallow_uid = 0\n", { NULL }, { NULL }, "", "otlp", "sample_ratio", "0.01",
		"default" },
	{ MEMORY, { NULL }, { NULL }, "", "otlp", "sample_ratio", "1", "default" },
	{ MEMORY "[otlp]\nsample_ratio = 0.5\n", { "OTEL_TRACES_SAMPLER_ARG=1.5" }, { NULL }, "warning: environment "
		"OTEL_TRACES_SAMPLER_ARG: out of range: write 0 to 1: it is not used\n", "otlp", "sample_ratio", "0.5",
		"purser.ini:4" },
	{ MEMORY, { "OTEL_BSP_SCHEDULE_DELAY=250" }, { NULL }, "", "otlp", "span_delay", "250ms",
		"environment OTEL_BSP_SCHEDULE_DELAY" },
	{ MEMORY, { "OTEL_BSP_SCHEDULE_DELAY=-1" }, { NULL }, "warning: environment OTEL_BSP_SCHEDULE_DELAY: whole "
		"milliseconds are needed, as 5000: it is not used\n", "otlp", "span_delay", "5s", "default" },
	{ MEMORY, { "OTEL_METRIC_EXPORT_INTERVAL=0" }, { NULL }, "warning: environment OTEL_METRIC_EXPORT_INTERVAL: out "
		"of range: write 100ms to 1h: it is not used\n", "otlp", "metric_interval", "60s", "default" },
	{ MEMORY, { "OTEL_EXPORTER_OTLP_TIMEOUT=0" }, { NULL }, "", "otlp", "timeout", "0ms",
		"environment OTEL_EXPORTER_OTLP_TIMEOUT" },
	{ MEMORY, { "OTEL_EXPORTER_OTLP_PROTOCOL=grpc" }, { NULL }, "", "otlp", "protocol", "grpc",
		"environment OTEL_EXPORTER_OTLP_PROTOCOL" },
	{ MEMORY, { "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/json" }, { NULL }, "", "otlp", "metrics_protocol", "http/json",
		"environment OTEL_EXPORTER_OTLP_METRICS_PROTOCOL" },
	{ MEMORY, { "OTEL_EXPORTER_OTLP_PROTOCOL=soap" }, { NULL }, "warning: environment OTEL_EXPORTER_OTLP_PROTOCOL: "
		"write http/protobuf, http/json or grpc: it is not used\n", "otlp", "protocol", "http/protobuf", "default" },
	{ MEMORY, { "OTEL_EXPORTER_OTLP_COMPRESSION=GZIP" }, { NULL }, "", "otlp", "compression", "gzip",
		"environment OTEL_EXPORTER_OTLP_COMPRESSION" },
	{ MEMORY, { "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318" }, { NULL }, "warning: environment "
		"OTEL_EXPORTER_OTLP_ENDPOINT: write a URL as scheme://host:port/path: it is not used\n", "otlp",
		"endpoint", "", "default" },
	{ MEMORY, { "OTEL_EXPORTER_OTLP_HEADERS=oops" }, { NULL }, "warning: environment OTEL_EXPORTER_OTLP_HEADERS: "
		"item 1 is not well-formed: write name=value,name2=value2 and %2C for a comma: it is not used\n", "otlp",
		"headers", "", "default" },
	{ MEMORY, { "OTEL_RESOURCE_ATTRIBUTES=a=1,b=%zz" }, { NULL }, "warning: environment OTEL_RESOURCE_ATTRIBUTES: "
		"item 2 is not well-formed: write name=value,name2=value2 and %2C for a comma: it is not used\n", "otlp",
		"resource_attributes", "", "default" },
	{ MEMORY, { "OTEL_SERVICE_NAME=shop", "OTEL_RESOURCE_ATTRIBUTES=service.name=other" }, { NULL }, "", "otlp",
		"service_name", "shop", "environment OTEL_SERVICE_NAME" },
	{ MEMORY, { "OTEL_RESOURCE_ATTRIBUTES=x=1,service.name=other" }, { NULL }, "", "otlp", "service_name", "other",
		"default" },
	{ MEMORY, { "OTEL_TRACES_EXPORTER=none" }, { NULL }, "", "otlp", "traces", "no",
		"environment OTEL_TRACES_EXPORTER" },
	{ MEMORY, { "OTEL_METRICS_EXPORTER=prometheus" }, { NULL }, "warning: environment OTEL_METRICS_EXPORTER: only "
		"otlp and none are known: it is not used\n", "otlp", "metrics", "yes", "default" },
	{ MEMORY, { "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=5000" }, { NULL }, "warning: environment "
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE: more than span_queue (2048), which is taken instead\n", "otlp",
		"span_batch", "2048", "default" },
	{ MEMORY, { "OTEL_BSP_MAX_QUEUE_SIZE=64" }, { NULL }, "", "otlp", "span_batch", "64", "default" },
	{ MEMORY, { "OTEL_PROPAGATORS=b3", "OTELX=1", "OTEL_LOG_LEVEL=" }, { NULL }, "warning: environment "
		"OTEL_PROPAGATORS: this version does not know it: it is not used\n", "agent", "mode", "development",
		"default" },

	/* --set */
	{ MEMORY, { NULL }, { "agent.mode=production", "project a.databases=3", "project a.allow_uid=0" }, "", "project a", "databases", "3",
		"--set" },
	{ MEMORY, { NULL }, { "project a.b.databases=3" }, "", "project a.b", "databases", "3", "--set" },
	{ MEMORY, { NULL }, { "health.interval=1s", "health.interval=2s" }, "", "health", "interval", "2s", "--set" },
	{ MEMORY "[health]\ninterval = x\n", { NULL }, { "health.interval=2s" }, "purser.ini:4: [health] interval = x: a "
		"duration is needed: write it as 10s\n", NULL, NULL, NULL, NULL },
	{ MEMORY "[health]\ninterval = 9s\n", { NULL }, { "health.interval=" }, "", "health", "interval", "30s",
		"default" },
	{ MEMORY, { NULL }, { "health.interval=2" }, "--set: [health] interval = 2: a unit is needed: write 2s (units "
		"are ms, s, m or h)\n", NULL, NULL, NULL, NULL },
	{ MEMORY, { NULL }, { "interval=2s" }, "--set: write --set 'section.key=value' or --set 'section "
		"NAME.key=value'\n", NULL, NULL, NULL, NULL },
	{ MEMORY, { NULL }, { "health.interval" }, "--set: write --set 'section.key=value' or --set 'section "
		"NAME.key=value'\n", NULL, NULL, NULL, NULL },
	{ MEMORY, { NULL }, { "health.=2s" }, "--set: write --set 'section.key=value' or --set 'section "
		"NAME.key=value'\n", NULL, NULL, NULL, NULL },
	{ MEMORY, { NULL }, { ".interval=2s" }, "--set: write --set 'section.key=value' or --set 'section "
		"NAME.key=value'\n", NULL, NULL, NULL, NULL },
	{ MEMORY, { NULL }, { "helth.interval=2s", "health.intervall=2s" }, "--set: unknown section [helth]: did you mean "
		"[health]?\n--set: [health] has no key intervall: did you mean interval?\n", NULL, NULL, NULL, NULL },
	{ MEMORY, { NULL }, { "otlp.headers=a=hunter2" }, "--set: [otlp] headers is a secret, and every user can see the "
		"arguments of a process: put it into a file\n", NULL, NULL, NULL, NULL },
	{ REDIS, { NULL }, { "backend main.password=hunter2" }, "--set: [backend main] password is a secret, and every "
		"user can see the arguments of a process: put it into a file\n", NULL, NULL, NULL, NULL },
	{ REDIS, { NULL }, { "backend main.url=redis://h/?x=a.b=c" }, "", "backend main", "url",
		"redis://h/?x=a.b=c", "--set" },

	/* the project default that needs no section */
	{ MEMORY, { NULL }, { NULL }, "", "project default", "key_prefix", "proj:default:", "default" },
	{ MEMORY "[project shop]\n", { NULL }, { NULL }, "", "project default", "key_prefix", "proj:default:",
		"default" },
	{ MEMORY "[project shop]\nkey_prefix = s:\n", { NULL }, { NULL }, "", "project shop", "key_prefix", "s:",
		"purser.ini:4" },
};

/* "backend main" */
static const struct cfg_section *section(const struct cfg *c, const char *title)
{
	static const char *const kinds[] = { [CFG_AGENT] = "agent", [CFG_BACKEND] = "backend",
		[CFG_PROJECT] = "project", [CFG_HEALTH] = "health", [CFG_BREAKER] = "breaker",
		[CFG_RETRY] = "retry", [CFG_OTLP] = "otlp", [CFG_LOG] = "log" };
	const struct cfg_section *s = NULL;
	size_t n = strcspn(title, " ");

	for (int k = 0; k < CFG_KIND_COUNT && s == NULL; k++) {
		if (kinds[k] != NULL && strlen(kinds[k]) == n && memcmp(kinds[k], title, n) == 0)
			s = cfg_find(c, (enum cfg_kind)k, title[n] != '\0' ? title + n + 1 : "");
	}
	assert_non_null(s);
	return s;
}

/* The origin of a key, as --print-config shows it. */
static const char *origin(const struct cfg *c, const char *title, const char *key)
{
	static char print[32768], line[1024];
	FILE *f = fmemopen(print, sizeof(print), "w");
	char head[128], want[128];
	const char *at, *semicolon;

	cfg_print(f, c);
	fputc('\0', f);
	fclose(f);
	snprintf(head, sizeof(head), "\n[%s]\n", title);
	snprintf(want, sizeof(want), "\n%s = ", key);
	at = strstr(print, head);
	assert_non_null(at);
	at = strstr(at, want);
	if (at == NULL)
		return "";
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
	semicolon = strstr(line, " ; ");
	return semicolon != NULL ? semicolon + 3 : "";
}

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (n < VARS && list[n] != NULL)
		n++;
	return n;
}

static void sources(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct row *r = &rows[i];
		struct cfg_inputs in = fix_inputs();
		const char *said, *text;
		struct cfg *c;
		int rc;

		if (r->text != NULL)
			fix_text("purser.ini", r->text);
		else
			in.path = NULL;
		in.env = r->env;
		in.sets = r->sets;
		in.nsets = count(r->sets);
		said = fix_load(&in, &c, &rc);
		if (strcmp(said, r->said) != 0 || (c == NULL) != (r->section == NULL))
			fail_msg("row %zu (%s), rc %d: said\n%s---- wanted\n%s", i, r->env[0], rc, said, r->said);
		if (c == NULL)
			continue;
		assert_true(cfg_setting(section(c, r->section), r->key, &text, NULL));
		if (strcmp(text, r->value) != 0)
			fail_msg("row %zu: [%s] %s is %s", i, r->section, r->key, text);
		if (r->origin != NULL && *text != '\0' && strcmp(origin(c, r->section, r->key), r->origin) != 0)
			fail_msg("row %zu: [%s] %s is from %s", i, r->section, r->key,
				origin(c, r->section, r->key));
		cfg_unref(c);
	}
}

/* An unknown schema refuses nothing. */
static void unchecked(void **state)
{
	struct cfg_inputs in = fix_inputs();
	const char *text;
	struct cfg *c;
	int rc;

	(void)state;
	in.schema = NULL;
	fix_text("purser.ini", "[backend x]\nplugin = own\nmy_key = 5\n");
	assert_string_equal(fix_load(&in, &c, &rc), "");
	assert_true(cfg_setting(cfg_first(c, CFG_BACKEND), "my_key", &text, NULL));
	assert_string_equal(text, "5");
	assert_false(cfg_setting(cfg_first(c, CFG_BACKEND), "your_key", &text, NULL));
	cfg_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sources),
		cmocka_unit_test(unchecked),
	};

	return cmocka_run_group_tests_name("config/sources", tests, fix_setup, fix_teardown);
}
