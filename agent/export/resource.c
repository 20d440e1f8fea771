/* SPDX-License-Identifier: Apache-2.0 */
/* export/resource: the attributes that describe this process. */
#include <config.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "export/resource.h"

static int set(struct export_resource *r, const char *key, const char *value)
{
	struct export_attr *a = NULL;
	char *v = strdup(value);

	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->attr[i].key, key) == 0)
			a = &r->attr[i];
	if (!v || (!a && r->n == EXPORT_RESOURCE_MAX)) {
		free(v);
		return -1;
	}
	if (!a) {
		a = &r->attr[r->n];
		a->key = strdup(key);
		if (!a->key) {
			free(v);
			return -1;
		}
		r->n++;
	}
	free(a->value);
	a->value = v;
	a->is_int = false;
	return 0;
}

static int set_int(struct export_resource *r, const char *key, int64_t v)
{
	char text[24];

	snprintf(text, sizeof text, "%lld", (long long)v);
	if (set(r, key, text))
		return -1;
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->attr[i].key, key) == 0)
			r->attr[i].i = v, r->attr[i].is_int = true;
	return 0;
}

static int unhex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding in place; -1 on a bad escape or a NUL. */
static int decode(char *s)
{
	char *to = s;

	for (; *s; s++, to++) {
		int hi, lo;

		if (*s != '%') {
			*to = *s;
			continue;
		}
		hi = unhex(s[1]);
		lo = hi < 0 ? -1 : unhex(s[2]);
		if (lo < 0 || (hi | lo) == 0)
			return -1;
		*to = (char)(hi << 4 | lo);
		s += 2;
	}
	*to = '\0';
	return 0;
}

static char *trim(char *s)
{
	char *end;

	while (*s == ' ' || *s == '\t')
		s++;
	for (end = s + strlen(s); end > s && (end[-1] == ' ' || end[-1] == '\t'); end--)
		;
	*end = '\0';
	return s;
}

static int pairs(char *s, int (*fn)(void *, const char *, const char *), void *arg)
{
	for (char *next; s; s = next) {
		char *key, *value;

		next = strchr(s, ',');
		if (next)
			*next++ = '\0';
		key = trim(s);
		if (!*key)
			continue;
		value = strchr(key, '=');
		if (!value)
			return -1;
		*value++ = '\0';
		key = trim(key);
		value = trim(value);
		if (!*key || decode(key) || decode(value))
			return -1;
		if (fn && fn(arg, key, value))
			return -1;
	}
	return 0;
}

int export_pairs(const char *s, int (*fn)(void *arg, const char *key, const char *value), void *arg)
{
	char *copy = strdup(s);
	int rc = copy ? pairs(copy, NULL, NULL) : -1;

	free(copy);
	if (rc)
		return rc;
	copy = strdup(s);
	rc = copy ? pairs(copy, fn, arg) : -1;
	free(copy);
	return rc;
}

static int put(void *arg, const char *key, const char *value)
{
	return set(arg, key, value);
}

static int set_instance_id(struct export_resource *r)
{
	unsigned char b[16];
	char id[37];

	if (getrandom(b, sizeof b, 0) != sizeof b)
		return -1;
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40); /* UUID version 4 */
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(id, sizeof id,
	    "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
	    b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return set(r, "service.instance.id", id);
}

int export_resource_init(struct export_resource *r, const char *service, const char *attributes,
    const char **warning)
{
	char host[256] = "";
	int rc;

	memset(r, 0, sizeof *r);
	*warning = NULL;
	gethostname(host, sizeof host - 1);
	rc = set(r, "service.name", "purser") || set(r, "service.version", PACKAGE_VERSION) ||
	    set_instance_id(r) || set(r, "telemetry.sdk.name", "purser") ||
	    set(r, "telemetry.sdk.language", "c") ||
	    set(r, "telemetry.sdk.version", PACKAGE_VERSION) ||
	    set(r, "process.executable.name", "purserd") ||
	    set_int(r, "process.pid", getpid()) || set(r, "os.type", "linux") ||
	    (*host && set(r, "host.name", host));
	if (!rc && attributes && export_pairs(attributes, put, r))
		*warning = "resource attributes are malformed and were ignored";
	if (!rc && service && *service)
		rc = set(r, "service.name", service);
	if (rc)
		export_resource_free(r);
	return rc ? -1 : 0;
}

void export_resource_free(struct export_resource *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->attr[i].key);
		free(r->attr[i].value);
	}
	memset(r, 0, sizeof *r);
}

const char *export_resource_get(const struct export_resource *r, const char *key)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->attr[i].key, key) == 0)
			return r->attr[i].value;
	return NULL;
}
