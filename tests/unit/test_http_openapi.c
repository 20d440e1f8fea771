/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /openapi.json: JSON, every reference resolves, every route, error and command is there.
 * With PURSER_OPENAPI_OUT=FILE the document is written there, for validators.
 */
#include <config.h>

#include <ctype.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "base/errors.h"
#include "command/command.h"
#include "server/http_route.h"
#include "server/openapi.h"

static json_t *document;
static struct http_routes *table;

static int load(void **state)
{
	const char *file = getenv("PURSER_OPENAPI_OUT");
	struct buf b = { 0 };
	json_error_t e;
	const char *why;
	unsigned at;

	(void)state;
	table = http_routes_new(&why, &at);
	if (!table) {
		print_error("row %u: %s\n", at, why);
		return -1;
	}
	openapi_write(&b, "1.2.3");
	document = json_loadb((const char *)buf_data(&b), buf_len(&b), JSON_REJECT_DUPLICATES, &e);
	if (!document)
		print_error("%s at %d\n", e.text, e.position);
	if (file) {
		FILE *f = fopen(file, "w");

		if (!f || fwrite(buf_data(&b), 1, buf_len(&b), f) != buf_len(&b) || fclose(f))
			print_error("cannot write %s\n", file);
	}
	buf_free(&b);
	return document ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	json_decref(document);
	http_routes_free(table);
	return 0;
}

/* What "#/a/b" names, or NULL. */
static json_t *resolve(const char *ref)
{
	json_t *v = document;
	char name[128];

	if (strncmp(ref, "#/", 2) != 0)
		return NULL;
	for (ref += 2; v && *ref; ref += *ref == '/') {
		size_t n = strcspn(ref, "/");

		snprintf(name, sizeof name, "%.*s", (int)n, ref);
		v = json_object_get(v, name);
		ref += n;
	}
	return v;
}

static unsigned check_references(json_t *v)
{
	const char *name, *ref = json_string_value(json_object_get(v, "$ref"));
	unsigned found = 0;
	json_t *child;
	size_t i;

	if (ref) {
		found++;
		if (!resolve(ref))
			fail_msg("%s is nowhere", ref);
	}
	json_object_foreach(v, name, child)
		found += check_references(child);
	json_array_foreach(v, i, child)
		found += check_references(child);
	return found;
}

static void references_resolve(void **state)
{
	(void)state;
	assert_string_equal(json_string_value(json_object_get(document, "openapi")), "3.1.0");
	assert_string_equal(json_string_value(json_object_get(resolve("#/info"), "version")), "1.2.3");
	assert_true(check_references(document) > 50);
}

/* Every field of the template is a parameter, or a property of the body, and required where it is. */
static void check_fields(json_t *op, const struct http_route *r)
{
	json_t *schema = json_object_get(json_object_get(json_object_get(json_object_get(op, "requestBody"),
	    "content"), "application/json"), "schema");

	for (unsigned i = 0; i < r->words.nfields; i++) {
		const struct http_field *f = &r->words.field[i];
		bool must = f->required && !f->group && f->type != JSON_FLAG, found = false;
		char name[64];
		json_t *p, *v;
		size_t k;

		snprintf(name, sizeof name, "%.*s", (int)f->name.n, (const char *)f->name.p);
		if (f->place == HTTP_IN_BODY) {
			if (json_object_get(schema, "$ref"))
				schema = resolve(json_string_value(json_object_get(schema, "$ref")));
			assert_non_null(json_object_get(json_object_get(schema, "properties"), name));
			json_array_foreach(json_object_get(schema, "required"), k, v)
				found |= strcmp(json_string_value(v), name) == 0;
			assert_int_equal(found, must);
			continue;
		}
		json_array_foreach(json_object_get(op, "parameters"), k, p) {
			if (!json_object_get(p, "name") || strcmp(json_string_value(json_object_get(p, "name")), name) != 0)
				continue;
			assert_string_equal(json_string_value(json_object_get(p, "in")),
			    f->place == HTTP_IN_PATH ? "path" : "query");
			assert_int_equal(json_is_true(json_object_get(p, "required")), must);
			found = true;
		}
		assert_true(found);
	}
}

static void every_route(void **state)
{
	json_t *ids = json_object();
	size_t operations = 0;
	const char *path;
	json_t *item;

	(void)state;
	for (unsigned i = 0; i < table->n; i++) {
		const struct http_route *r = &table->route[i];
		json_t *op, *responses;
		char method[8] = "";

		for (unsigned k = 0; k < 7 && http_method_name(r->method)[k]; k++)
			method[k] = (char)tolower((unsigned char)http_method_name(r->method)[k]);
		op = json_object_get(json_object_get(json_object_get(document, "paths"), r->path), method);
		if (!op)
			fail_msg("%s %s is missing", method, r->path);
		responses = json_object_get(op, "responses");
		assert_non_null(json_object_get(responses, "200"));
		for (int e = 1; e < ERR_COUNT; e++) {
			char status[8];

			snprintf(status, sizeof status, "%d", err_rows[e].http);
			assert_non_null(json_object_get(responses, status));
		}
		assert_non_null(json_object_get(op, "summary"));
		assert_int_equal(json_object_get(op, "requestBody") != NULL, r->words.body);
		check_fields(op, r);
		path = json_string_value(json_object_get(op, "operationId"));
		assert_non_null(path);
		assert_null(json_object_get(ids, path));
		json_object_set_new(ids, path, json_true());
	}
	json_object_foreach(json_object_get(document, "paths"), path, item)
		operations += json_object_size(item);
	assert_int_equal(operations, table->n);
	json_decref(ids);
}

static void every_error_and_command(void **state)
{
	json_t *words = json_object_get(resolve("#/components/schemas/Problem/properties/code"), "examples");
	json_t *commands = json_object_get(
	    json_object_get(json_object_get(json_object_get(document, "paths"), "/v1/command"), "post"),
	    "x-purser-commands");
	json_t *v;
	size_t i;

	(void)state;
	for (int e = 1; e < ERR_COUNT; e++) {
		bool found = false;

		json_array_foreach(words, i, v)
			found |= strcmp(json_string_value(v), err_rows[e].word) == 0;
		if (!found)
			fail_msg("%s is missing", err_rows[e].word);
	}
	assert_int_equal(json_array_size(commands), CMD_COUNT);
	json_array_foreach(commands, i, v) {
		assert_null(strchr(json_string_value(json_object_get(v, "name")), '|'));
		assert_true(json_is_integer(json_object_get(v, "arity")));
		assert_true(json_is_string(json_object_get(v, "permission")));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_resolve),
		cmocka_unit_test(every_route),
		cmocka_unit_test(every_error_and_command),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
