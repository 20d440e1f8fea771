/* SPDX-License-Identifier: Apache-2.0 */
/* purserctl: the agent itself. */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "ctl.h"

/* ---- documents ---------------------------------------------------------------------------------------- */

/* A command whose reply is a JSON text. */
static int ask_json(struct ctl *x, const char *word, json_t **out)
{
	json_error_t e;
	redisReply *r;
	int rc = ctl_ask_words(x, &r, word, NULL);

	*out = NULL;
	if (rc != CTL_OK)
		return rc;
	if (r->type == REDIS_REPLY_STRING)
		*out = json_loadb(r->str, r->len, 0, &e);
	freeReplyObject(r);
	return *out ? CTL_OK : ctl_fail(x, CTL_ERROR, "the answer to %s is no JSON: is it a purserd that "
	    "listens at %s?", word, x->socket);
}

static int show(struct ctl *x, const char *word)
{
	json_t *j;
	int rc = ask_json(x, word, &j);

	if (rc != CTL_OK)
		return rc;
	if (x->json)
		return print_json(j);
	print_flat(x, j);
	json_decref(j);
	return CTL_OK;
}

int cmd_status(struct ctl *x) { return show(x, "PURSER.STATUS"); }
int cmd_whoami(struct ctl *x) { return show(x, "PURSER.WHOAMI"); }

/* ---- health -------------------------------------------------------------------------------------------- */

static json_t *at(json_t *j, const char *path)
{
	char name[64];

	while (j && *path) {
		size_t n = strcspn(path, ".");

		snprintf(name, sizeof name, "%.*s", (int)n, path);
		j = json_object_get(j, name);
		path += n + (path[n] == '.');
	}
	return j;
}

static const char *text_at(json_t *j, const char *path)
{
	const char *s = json_string_value(at(j, path));

	return s ? s : "";
}

static void put_ms(char *dst, size_t cap, json_t *v)
{
	if (json_is_number(v))
		snprintf(dst, cap, "%.2f ms", json_number_value(v));
	else
		snprintf(dst, cap, "-");
}

static void put_memory(char *dst, size_t cap, json_t *m)
{
	char used[32], max[32];
	double limit = json_number_value(json_object_get(m, "max_memory_bytes"));
	json_t *share = json_object_get(m, "usage_percentage");

	print_bytes_human(used, sizeof used, json_number_value(json_object_get(m, "usage_bytes")));
	print_bytes_human(max, sizeof max, limit);
	if (!json_is_number(json_object_get(m, "usage_bytes")))
		snprintf(dst, cap, "-");
	else if (json_is_number(share))
		snprintf(dst, cap, "%.1f %% of %s", 100 * json_number_value(share), max);
	else
		snprintf(dst, cap, "%s, no limit", used);
}

static void backends(struct ctl *x, json_t *j)
{
	struct table t = { .cols = 8 };
	const char *name;
	json_t *pool;

	table_row(&t, "BACKEND", "STATUS", "PLUGIN", "CONNECTIONS", "PING", "SET GET DEL", "MEMORY", "");
	json_object_foreach(at(j, "factory.pools"), name, pool) {
		json_t *test = json_object_get(at(j, "test_operations.backends"), name);
		json_t *mem = json_object_get(at(j, "memory.backends"), name);
		char links[64], ping[32], ops[32], memory[96];
		long long max = json_integer_value(json_object_get(pool, "max_connections"));

		snprintf(links, sizeof links, "%lld open, %lld idle, %lld at most",
		    (long long)json_integer_value(json_object_get(pool, "created_connections")),
		    (long long)json_integer_value(json_object_get(pool, "available_connections")), max);
		put_ms(ping, sizeof ping, at(test, "response_times_ms.ping"));
		put_ms(ops, sizeof ops, at(test, "response_times_ms.set_get_delete"));
		put_memory(memory, sizeof memory, mem);
		table_row(&t, name, text_at(pool, "status"), text_at(pool, "plugin"),
		    max ? links : "in process", ping, ops, text_at(mem, "status"), memory);
	}
	table_print(&t, x);
}

static void lines_of_health(struct ctl *x, json_t *j)
{
	time_t when = (time_t)json_number_value(at(j, "timestamp"));
	const char *status = text_at(j, "status"), *why = text_at(j, "telemetry.reason");
	char at_time[32] = "";
	struct tm tm;
	json_t *v;
	size_t i;

	if (gmtime_r(&when, &tm))
		strftime(at_time, sizeof at_time, "%Y-%m-%d %H:%M:%S UTC", &tm);
	printf("%s%s%s  %s %s, checked %s\n\n", paint(x, status), status, *paint(x, status) ? unpaint(x) : "",
	    text_at(j, "service"), text_at(j, "version"), at_time);
	backends(x, j);
	printf("\ntelemetry  %s%s%s\n", text_at(j, "telemetry.status"), *why ? ": " : "", why);
	printf("calls      %lld, %.4f of them answered by the store\n",
	    (long long)json_integer_value(at(j, "factory.circuit_breaker.metrics.total_calls")),
	    json_number_value(at(j, "factory.circuit_breaker.metrics.success_rate")));
	printf("breaker    %s\n", text_at(j, "factory.circuit_breaker.state"));
	json_array_foreach(at(j, "reasons"), i, v)
		printf("%s%s\n", i ? "           " : "\nreasons    ", json_string_value(v));
}

int cmd_health(struct ctl *x)
{
	json_t *j;
	int rc = ask_json(x, "PURSER.HEALTH", &j);
	bool bad;

	if (rc != CTL_OK)
		return rc;
	bad = strcmp(text_at(j, "status"), "unhealthy") == 0;
	if (x->json) {
		rc = print_json(j);
		return rc != CTL_OK ? rc : bad ? CTL_NO : CTL_OK;
	}
	lines_of_health(x, j);
	json_decref(j);
	return bad ? CTL_NO : CTL_OK;
}

/* ---- plugins, metrics ---------------------------------------------------------------------------------- */

static void join(char *dst, size_t cap, json_t *list)
{
	size_t used = 0, i;
	json_t *v;

	*dst = '\0';
	json_array_foreach(list, i, v)
		if (used < cap)
			used += (size_t)snprintf(dst + used, cap - used, "%s%s", i ? " " : "",
			    json_string_value(v));
}

int cmd_plugins(struct ctl *x)
{
	struct table t = { .cols = 6 };
	json_t *all = json_array();
	redisReply *r;
	int rc = ctl_ask_words(x, &r, "PURSER.PLUGINS", NULL);

	if (rc == CTL_OK && !x->json)
		table_row(&t, "PLUGIN", "VERSION", "API", "MODEL", "COMMANDS", "CAPABILITIES");
	for (size_t i = 0; rc == CTL_OK && i < r->elements; i++) {
		json_t *p = json_of_pairs(r->element[i]);
		char caps[512], api[24], n[24];

		join(caps, sizeof caps, json_object_get(p, "capabilities"));
		snprintf(api, sizeof api, "%lld", (long long)json_integer_value(json_object_get(p, "api")));
		snprintf(n, sizeof n, "%zu", json_array_size(json_object_get(p, "commands")));
		if (!x->json)
			table_row(&t, text_at(p, "name"), text_at(p, "version"), api, text_at(p, "model"), n, caps);
		json_array_append_new(all, p);
	}
	if (rc == CTL_OK) {
		freeReplyObject(r);
		if (x->json)
			return print_json(all);
		table_print(&t, x);
	}
	json_decref(all);
	return rc;
}

/* name{a="b",c="d"} value */
static json_t *json_of_line(const char *line)
{
	json_t *labels = json_object();
	size_t n = strcspn(line, "{ ");
	const char *p = line + n;
	char *end;
	double v;

	if (*p == '{')
		p++;
	while (p[-1] != '}' && *p && *p != ' ') {
		size_t key = strcspn(p, "="), at = 0;
		char name[256], value[4096];

		snprintf(name, sizeof name, "%.*s", (int)key, p);
		p += key + (p[key] == '=');
		p += *p == '"';
		for (; *p && *p != '"'; p++) {
			if (*p == '\\' && p[1])
				p++;
			if (at + 1 < sizeof value)
				value[at++] = *p == 'n' && p[-1] == '\\' ? '\n' : *p;
		}
		json_object_set_new(labels, name, json_text(value, at));
		p += *p == '"';
		p += *p == ',' || *p == '}';
	}
	v = strtod(p, &end);
	return json_pack("{s:s%,s:o,s:o}", "name", line, n, "labels", labels, "value",
	    end != p && v - v == 0 ? json_real(v) : json_string(p + strspn(p, " ")));
}

static int metrics_json(const char *text, const char *prefix)
{
	json_t *all = json_array();

	while (*text) {
		size_t n = strcspn(text, "\n");
		char *line = strndup(text, n);

		if (line && n && *line != '#' && strncmp(line, prefix, strlen(prefix)) == 0)
			json_array_append_new(all, json_of_line(line));
		free(line);
		text += n + (text[n] == '\n');
	}
	return print_json(all);
}

static void metrics_text(const char *text, const char *prefix)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		const char *name = text;

		if (strncmp(text, "# HELP ", 7) == 0 || strncmp(text, "# TYPE ", 7) == 0)
			name += 7;
		if (strncmp(name, prefix, strlen(prefix)) == 0)
			printf("%.*s\n", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

int cmd_metrics(struct ctl *x)
{
	const char *prefix = x->argc ? x->argv[0] : "";
	redisReply *r;
	int rc = ctl_ask_words(x, &r, "PURSER.METRICS", NULL);

	if (rc != CTL_OK)
		return rc;
	if (r->type != REDIS_REPLY_STRING)
		rc = ctl_fail(x, CTL_ERROR, "the answer to PURSER.METRICS is no text");
	else if (x->json)
		rc = metrics_json(r->str, prefix);
	else
		metrics_text(r->str, prefix);
	freeReplyObject(r);
	return rc;
}

/* ---- log-level, reload, version -------------------------------------------------------------------------- */

static bool is_level(const char *s)
{
	static const char *const levels[] = { "trace", "debug", "info", "warn", "error", "off" };

	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (strcmp(s, levels[i]) == 0)
			return true;
	return false;
}

/* All levels, or that of one module. */
static int show_levels(struct ctl *x, const char *module)
{
	struct table t = { .cols = 2 };
	const char *name;
	json_t *j, *v;
	redisReply *r;
	int rc = ctl_ask_words(x, &r, "PURSER.LOGLEVEL", NULL);

	if (rc != CTL_OK)
		return rc;
	j = json_of_pairs(r);
	freeReplyObject(r);
	if (module) {
		v = json_incref(json_object_get(j, module));
		json_decref(j);
		if (!v)
			return ctl_fail(x, CTL_ERROR, "there is no module %s: purserctl log-level lists them", module);
		j = json_pack("{s:o}", module, v);
	}
	if (x->json)
		return print_json(j);
	json_object_foreach(j, name, v)
		table_row(&t, name, json_string_value(v));
	table_print(&t, x);
	json_decref(j);
	return CTL_OK;
}

int cmd_log_level(struct ctl *x)
{
	redisReply *r;
	int rc;

	if (x->argc == 0 || (x->argc == 1 && !is_level(x->argv[0])))
		return show_levels(x, x->argc ? x->argv[0] : NULL);
	rc = ctl_ask_words(x, &r, "PURSER.LOGLEVEL", x->argc == 2 ? x->argv[0] : "all",
	    x->argv[x->argc - 1], NULL);
	if (rc != CTL_OK)
		return rc;
	freeReplyObject(r);
	if (x->json)
		return print_json(json_pack("{s:s,s:s}", "module", x->argc == 2 ? x->argv[0] : "all", "level",
		    x->argv[x->argc - 1]));
	puts("OK");
	return CTL_OK;
}

/* The reply is the number of the new generation, with warnings before it; the error lists what is
 * wrong. */
int cmd_reload(struct ctl *x)
{
	const char *word = "PURSER.RELOAD", *number;
	redisReply *r = NULL;
	int rc = ctl_connect(x);

	if (rc != CTL_OK)
		return rc;
	r = redisCommand(x->c, word);
	if (!r)
		return ctl_fail(x, CTL_CONNECT, "no answer to the reload within the time limit (--timeout): "
		    "purserctl status shows the generation");
	if (r->type == REDIS_REPLY_ERROR) {
		bool refused = strncmp(r->str, "CONFIG ", 7) == 0;
		const char *why = r->str + (refused ? 7 : 0);

		if (x->json && refused)
			print_json(json_pack("{s:b,s:s}", "reloaded", 0, "errors", why));
		else
			ctl_fail(x, refused ? CTL_NO : CTL_ERROR, "%s%s", refused ? "the configuration was not taken "
			    "over: " : "", why);
		freeReplyObject(r);
		return refused ? CTL_NO : CTL_ERROR;
	}
	number = strrchr(r->str, '\n');
	number = number ? number + 1 : r->str;
	if (x->json) {
		rc = print_json(json_pack("{s:b,s:I,s:s%}", "reloaded", 1, "generation",
		    (json_int_t)strtoll(number, NULL, 10), "warnings", r->str, (size_t)(number - r->str)));
	} else {
		fprintf(stderr, "%.*s", (int)(number - r->str), r->str);
		printf("reloaded: generation %s is in use\n", number);
	}
	freeReplyObject(r);
	return rc;
}

int cmd_version(struct ctl *x)
{
	const char *agent = NULL;
	json_t *j = NULL;
	redisReply *r;

	if (ctl_try(x, &r, "PURSER.STATUS") == CTL_OK && r->type == REDIS_REPLY_STRING)
		j = json_loadb(r->str, r->len, 0, NULL);
	if (r)
		freeReplyObject(r);
	agent = json_string_value(json_object_get(j, "version"));
	if (x->json)
		print_json(json_pack("{s:s,s:s?,s:s}", "purserctl", PACKAGE_VERSION, "purserd", agent, "socket",
		    x->socket));
	else
		printf("purserctl %s\npurserd %s at %s\n", PACKAGE_VERSION, agent ? agent : "is not reachable",
		    x->socket);
	json_decref(j);
	return CTL_OK;
}
