/* SPDX-License-Identifier: Apache-2.0
 *
 * export/resource: who sends the telemetry: the attributes of the OpenTelemetry resource.
 */
#ifndef EXPORT_RESOURCE_H
#define EXPORT_RESOURCE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;

#define EXPORT_RESOURCE_MAX 64

struct export_attr { char *key, *value; int64_t i; bool is_int; };
struct export_resource { /* owned; built once at start */
	struct export_attr attr[EXPORT_RESOURCE_MAX];
	size_t n;
};

/* service.name "purser", service.version, service.instance.id (random), telemetry.sdk.*, process.*,
 * host.name, os.type; then `attributes` ("k=v,k=v", OTEL_RESOURCE_ATTRIBUTES; values percent-encoded;
 * one error drops all of it and says so in *warning) and `service` (OTEL_SERVICE_NAME) over it.
 * Either may be NULL.  0, or -1 without memory. */
int export_resource_init(struct export_resource *r, const char *service, const char *attributes,
    const char **warning);
void export_resource_free(struct export_resource *r);
const char *export_resource_get(const struct export_resource *r, const char *key); /* or NULL */

/* "k=v,k2=v2" with %XX: calls fn for each pair; 0, or -1 when it is malformed (fn is then not called
 * at all).  Used for resource attributes and for headers. */
int export_pairs(const char *s, int (*fn)(void *arg, const char *key, const char *value), void *arg);
#endif
