/* SPDX-License-Identifier: Apache-2.0 */
/* config/signals: the [otlp] keys put together, as an exporter of one signal needs them. */
#include <config.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/inside.h"

enum { HEADERS_MAX = 32, HEADER_BYTES_MAX = 8192, FILE_MAX = 65536 };

struct signal_keys {
	const char *path, *method; /* of HTTP, of gRPC */
	enum cfg_key on, endpoint, headers, timeout, compression, bound, protocol;
};

static const struct signal_keys signal_keys[CFG_SIGNALS] = {
	[CFG_TRACES] = { "v1/traces", "opentelemetry.proto.collector.trace.v1.TraceService/Export", CFG_OTLP_TRACES, CFG_OTLP_TRACES_ENDPOINT,
		CFG_OTLP_TRACES_HEADERS, CFG_OTLP_TRACES_TIMEOUT, CFG_OTLP_TRACES_COMPRESSION,
		CFG_OTLP_SPAN_EXPORT_TIMEOUT, CFG_OTLP_TRACES_PROTOCOL },
	[CFG_METRICS] = { "v1/metrics", "opentelemetry.proto.collector.metrics.v1.MetricsService/Export", CFG_OTLP_METRICS, CFG_OTLP_METRICS_ENDPOINT,
		CFG_OTLP_METRICS_HEADERS, CFG_OTLP_METRICS_TIMEOUT, CFG_OTLP_METRICS_COMPRESSION,
		CFG_OTLP_METRIC_EXPORT_TIMEOUT, CFG_OTLP_METRICS_PROTOCOL },
	[CFG_LOGS] = { "v1/logs", "opentelemetry.proto.collector.logs.v1.LogsService/Export", CFG_OTLP_LOGS, CFG_OTLP_LOGS_ENDPOINT,
		CFG_OTLP_LOGS_HEADERS, CFG_OTLP_LOGS_TIMEOUT, CFG_OTLP_LOGS_COMPRESSION,
		CFG_OTLP_LOG_EXPORT_TIMEOUT, CFG_OTLP_LOGS_PROTOCOL },
};

/* An own endpoint is used as it is (without a path: with /); the common one gets the path.  gRPC has a path of its own, and
 * a socket has none. */
static char *make_url(const struct cfg_section *s, const struct signal_keys *k, bool grpc, const char **unix_path)
{
	const char *own = cfg_text(s, k->endpoint), *base = *own != '\0' ? own : cfg_text(s, CFG_OTLP_ENDPOINT);
	const char *host = strstr(base, "://") + 3, *path = grpc ? k->method : k->path;
	size_t len = strlen(base) + strlen(path) + 32, authority = strcspn(host, "/?#");
	char *url = malloc(len);

	if (url == NULL)
		return NULL;
	*unix_path = NULL;
	if (strncmp(base, "unix:", 5) == 0) {
		*unix_path = host;
		snprintf(url, len, "http://localhost/%s", path);
	} else if (grpc) {
		snprintf(url, len, "%.*s/%s", (int)(host - base + (ptrdiff_t)authority), base, path);
	} else if (*own != '\0') {
		snprintf(url, len, "%s%s", own, host[authority] == '\0' ? "/" : "");
	} else {
		snprintf(url, len, "%s%s%s", base, base[strlen(base) - 1] == '/' ? "" : "/", path);
	}
	return url;
}

/* Adds "name: value"; one of that name that is there already stays.  False without memory. */
static bool add_header(struct cfg *c, int signal, const char *name, size_t n, const char *value)
{
	char **list = c->export_headers[signal];
	size_t at = 0, len = n + strlen(value) + 3;

	while (at < c->exports[signal].nheaders &&
		(strncasecmp(list[at], name, n) != 0 || list[at][n] != ':'))
		at++;
	if (at < c->exports[signal].nheaders || at == HEADERS_MAX)
		return true;
	list[at] = malloc(len);
	if (list[at] == NULL)
		return false;
	snprintf(list[at], len, "%.*s: %s", (int)n, name, value);
	c->exports[signal].nheaders++;
	return true;
}

static bool is_token(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)p[i]) && strchr("!#$%&'*+-.^_`|~", p[i]) == NULL)
			return false;
	}
	return n > 0;
}

/* One "Name: value" a line; empty lines and # comments are passed over. */
static bool add_file(struct loader *ld, int signal, char *text)
{
	const struct cfg_section *s = ld->cfg->first[CFG_OTLP];
	const struct cfg_place *place = &cfg_value_of(s, CFG_OTLP_HEADERS_FILE)->place;
	unsigned number = 0;

	for (char *line = text, *next; line != NULL; line = next) {
		size_t n, end;

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		number++;
		for (end = strlen(line); end > 0 && isspace((unsigned char)line[end - 1]); end--)
			line[end - 1] = '\0';
		if (*line == '\0' || *line == '#')
			continue;
		n = strcspn(line, ":");
		if (line[n] != ':' || !is_token(line, n)) {
			if (signal == CFG_TRACES) /* said once */
				load_error(ld, place,
					"[otlp] headers_file = %s: line %u is not \"Name: value\"",
					cfg_text(s, CFG_OTLP_HEADERS_FILE), number);
			continue;
		}
		if (!add_header(
			    ld->cfg, signal, line, n, line + n + 1 + strspn(line + n + 1, " \t")))
			return false;
	}
	return true;
}

static bool add_headers(struct loader *ld, int signal)
{
	const struct cfg_section *s = ld->cfg->first[CFG_OTLP];
	const char *file = cfg_text(s, CFG_OTLP_HEADERS_FILE), *name, *value;
	enum cfg_key key = signal_keys[signal].headers;
	char *buf = malloc(FILE_MAX), why[256];
	bool ok = buf != NULL;

	ld->cfg->export_headers[signal] = calloc(HEADERS_MAX, sizeof(char *));
	ok = ok && ld->cfg->export_headers[signal] != NULL;
	if (ok && *file != '\0' && cfg_read_secret(file, buf, FILE_MAX, why, sizeof(why)) >= 0)
		ok = add_file(ld, signal, buf);
	if (*cfg_text(s, key) == '\0')
		key = CFG_OTLP_HEADERS;
	for (size_t i = 0; ok && cfg_pair(s, key, i, buf, FILE_MAX, &name, &value); i++)
		ok = add_header(ld->cfg, signal, name, strlen(name), value);
	if (buf != NULL)
		explicit_bzero(buf, FILE_MAX);
	free(buf);
	return ok;
}

static bool make_signal(struct loader *ld, int signal)
{
	const struct cfg_section *s = ld->cfg->first[CFG_OTLP];
	const struct signal_keys *k = &signal_keys[signal];
	struct cfg_export *x = &ld->cfg->exports[signal];
	int64_t bound = cfg_int(s, k->bound);

	x->timeout_ns = cfg_int(s, cfg_is_set(s, k->timeout) ? k->timeout : CFG_OTLP_TIMEOUT);
	if (bound != 0 && (x->timeout_ns == 0 || x->timeout_ns > bound))
		x->timeout_ns = bound;
	x->gzip =
		cfg_int(s, cfg_is_set(s, k->compression) ? k->compression : CFG_OTLP_COMPRESSION) ==
		CFG_COMPRESS_GZIP;
	x->protocol = (int)cfg_int(s, cfg_is_set(s, k->protocol) ? k->protocol : CFG_OTLP_PROTOCOL);
	if (!add_headers(ld, signal))
		return false;
	x->ca_file = cfg_value_of(s, CFG_OTLP_CA_FILE)->text;
	x->cert_file = cfg_value_of(s, CFG_OTLP_CERT_FILE)->text;
	x->key_file = cfg_value_of(s, CFG_OTLP_KEY_FILE)->text;
	x->headers = (const char *const *)ld->cfg->export_headers[signal];
	if (cfg_int(s, CFG_OTLP_ENABLED) == 0 || cfg_int(s, k->on) == 0 ||
		(*cfg_text(s, k->endpoint) == '\0' && *cfg_text(s, CFG_OTLP_ENDPOINT) == '\0'))
		return true;
	x->url = ld->cfg->export_urls[signal] = make_url(s, k, x->protocol == CFG_OTLP_GRPC, &x->unix_path);
	return x->url != NULL;
}

/* service_name, else the one among the resource's attributes, else purser. */
static bool make_name(struct loader *ld)
{
	struct cfg_section *s = ld->cfg->first[CFG_OTLP];
	const char *text = cfg_text(s, CFG_OTLP_SERVICE_NAME), *name, *value;
	char buf[4200];

	for (size_t i = 0; *text == '\0' && cfg_pair(s, CFG_OTLP_RESOURCE_ATTRIBUTES, i, buf,
						    sizeof(buf), &name, &value);
		i++) {
		if (strcmp(name, "service.name") == 0)
			text = value;
	}
	ld->cfg->service_name = strdup(*text != '\0' ? text : "purser");
	if (ld->cfg->service_name != NULL)
		derive(ld, s, CFG_OTLP_SERVICE_NAME, ld->cfg->service_name);
	return ld->cfg->service_name != NULL;
}

void make_signals(struct loader *ld)
{
	if (!make_signal(ld, CFG_TRACES) || !make_signal(ld, CFG_METRICS) || !make_signal(ld, CFG_LOGS) || !make_name(ld))
		ld->nomem = true;
}
