/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <ctype.h>
#include <string.h>
#include "command/command.h"
#include "resp/json_text.h"
#include "server/http_route.h"
#include "server/openapi.h"

static const char schemas[] =
    "\"Binary\":{\"type\":\"object\",\"description\":\"bytes that are not UTF-8\",\"required\":[\"encoding\","
    "\"value\"],\"properties\":{\"encoding\":{\"const\":\"base64\"},\"value\":{\"type\":\"string\","
    "\"contentEncoding\":\"base64\"}}},"
    "\"BinaryArgument\":{\"anyOf\":[{\"type\":\"object\",\"required\":[\"base64\"],\"properties\":{\"base64\":"
    "{\"type\":\"string\",\"contentEncoding\":\"base64\"}},\"additionalProperties\":false},"
    "{\"$ref\":\"#/components/schemas/Binary\"}]},"
    "\"Key\":{\"anyOf\":[{\"type\":\"string\"},{\"$ref\":\"#/components/schemas/Binary\"}]},"
    "\"Entry\":{\"type\":\"object\",\"required\":[\"key\",\"value\",\"ttl_ms\"],\"properties\":{\"key\":"
    "{\"$ref\":\"#/components/schemas/Key\"},\"value\":{\"type\":\"string\"},\"encoding\":{\"const\":"
    "\"base64\",\"description\":\"present where value is base64\"},\"ttl_ms\":{\"type\":[\"integer\",\"null\"],"
    "\"description\":\"null: the key does not expire\"}}},"
    "\"Store\":{\"type\":\"object\",\"required\":[\"key\",\"value\"],\"additionalProperties\":false,"
    "\"properties\":{\"key\":{\"anyOf\":[{\"type\":\"string\"},{\"$ref\":"
    "\"#/components/schemas/BinaryArgument\"}]},\"value\":{\"description\":"
    "\"a string is stored as it is, anything else as compact JSON\"},\"encoding\":{\"const\":\"base64\"},"
    "\"expire\":{\"type\":[\"integer\",\"null\"],\"minimum\":1,\"description\":\"seconds\"},"
    "\"expire_ms\":{\"type\":[\"integer\",\"null\"],\"minimum\":1}}},"
    "\"Stored\":{\"type\":\"object\",\"required\":[\"key\",\"stored\"],\"properties\":{\"key\":{\"$ref\":"
    "\"#/components/schemas/Key\"},\"stored\":{\"const\":true}}},"
    "\"Deleted\":{\"type\":\"object\",\"required\":[\"key\",\"deleted\"],\"properties\":{\"key\":{\"$ref\":"
    "\"#/components/schemas/Key\"},\"deleted\":{\"type\":\"boolean\"}}},"
    "\"Command\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[{\"type\":[\"string\",\"number\","
    "\"boolean\"]},{\"$ref\":\"#/components/schemas/BinaryArgument\"}]}},"
    "\"Commands\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/Command\"},{\"type\":\"array\",\"minItems\":1,"
    "\"items\":{\"$ref\":\"#/components/schemas/Command\"}}]},"
    "\"Result\":{\"type\":\"object\",\"required\":[\"result\"],\"properties\":{\"result\":{}}},"
    "\"Results\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/Result\"},{\"type\":\"array\",\"items\":"
    "{\"anyOf\":[{\"$ref\":\"#/components/schemas/Result\"},{\"type\":\"object\",\"required\":[\"error\"],"
    "\"properties\":{\"error\":{\"type\":\"string\"}}}]}}]},";

static void quoted(struct buf *out, const char *s)
{
	json_put_string(out, s, strlen(s));
}

static void put_problem_schema(struct buf *out)
{
	buf_puts(out, "\"Problem\":{\"type\":\"object\",\"description\":\"RFC 9457\",\"required\":[\"type\","
	    "\"title\",\"status\",\"code\",\"detail\",\"retryable\"],\"properties\":{\"type\":{\"type\":"
	    "\"string\"},\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},\"detail\":{\"type\":"
	    "\"string\"},\"retryable\":{\"type\":\"boolean\"},\"code\":{\"type\":\"string\",\"description\":"
	    "\"the error's word; beside these, any word of the store itself, as WRONGTYPE\",\"examples\":[");
	for (int i = ERR_NONE + 1; i < ERR_COUNT; i++) {
		if (i == ERR_REDIS)
			continue; /* its word is INTERNAL's too */
		if (i > ERR_NONE + 1)
			buf_putc(out, ',');
		quoted(out, err_rows[i].word);
	}
	buf_puts(out, "]}}}");
}

/* Is this the first row of errors.def with its status? */
static bool first_of_status(int i)
{
	for (int k = ERR_NONE + 1; k < i; k++)
		if (err_rows[k].http == err_rows[i].http)
			return false;
	return true;
}

/* One response for each status of errors.def, described by its words. */
static void put_error_responses(struct buf *out)
{
	bool comma = false;

	for (int i = ERR_NONE + 1; i < ERR_COUNT; i++) {
		bool more = false;

		if (!first_of_status(i))
			continue;
		buf_printf(out, "%s\"E%d\":{\"description\":\"", comma ? "," : "", err_rows[i].http);
		for (int k = i; k < ERR_COUNT; k++) {
			if (err_rows[k].http != err_rows[i].http)
				continue;
			buf_printf(out, "%s%s", more ? ", " : "", k == ERR_REDIS ?
			    "a word of the store, as WRONGTYPE" : err_rows[k].word);
			more = true;
		}
		buf_puts(out, "\",\"content\":{\"application/problem+json\":{\"schema\":{\"$ref\":"
		    "\"#/components/schemas/Problem\"}}}}");
		comma = true;
	}
}

static void put_content(struct buf *out, const char *type, const char *schema)
{
	buf_printf(out, "\"content\":{\"%s\":{\"schema\":%s}}", type, schema);
}

#define SCHEMA(name) "{\"$ref\":\"#/components/schemas/" name "\"}"

static void put_responses(struct buf *out, const struct http_route *r)
{
	buf_puts(out, "\"responses\":{\"200\":{\"description\":");
	quoted(out, r->summary);
	buf_putc(out, ',');
	switch (r->kind) {
	case HTTP_KIND_KV_GET:
		put_content(out, "application/json", SCHEMA("Entry"));
		break;
	case HTTP_KIND_KV_SET:
		put_content(out, "application/json", SCHEMA("Stored"));
		break;
	case HTTP_KIND_KV_DEL:
		put_content(out, "application/json", SCHEMA("Deleted"));
		break;
	case HTTP_KIND_COMMAND:
		put_content(out, "application/json", SCHEMA("Results"));
		break;
	case HTTP_KIND_TEXT:
	case HTTP_KIND_METRICS:
		put_content(out, "text/plain", "{\"type\":\"string\"}");
		break;
	case HTTP_KIND_EVENTS:
		put_content(out, "text/event-stream", "{\"type\":\"string\"}");
		break;
	case HTTP_KIND_JSON:
	case HTTP_KIND_VALUE:
	case HTTP_KIND_FOUND:
	case HTTP_KIND_GIVEN:
		put_content(out, "application/json", "{}");
		break;
	}
	buf_putc(out, '}');
	for (int i = ERR_NONE + 1; i < ERR_COUNT; i++)
		if (first_of_status(i))
			buf_printf(out, ",\"%d\":{\"$ref\":\"#/components/responses/E%d\"}", err_rows[i].http,
			    err_rows[i].http);
	buf_putc(out, '}');
}

/* What a field may be, in a query (as text) and in a body. */
static void put_field_schema(struct buf *out, const struct http_field *f)
{
	static const char *const types[] = {
		[JSON_STR] = "{\"anyOf\":[{\"type\":[\"string\",\"number\",\"boolean\"]},"
		    "{\"$ref\":\"#/components/schemas/BinaryArgument\"}]}",
		[JSON_INT] = "{\"type\":\"integer\"}",
		[JSON_NUM] = "{\"type\":\"number\"}",
		[JSON_TEXT] = "{\"description\":\"any JSON: its text is stored\"}",
		[JSON_VALUE] = "{\"description\":\"a string is stored as it is, anything else as compact JSON\"}",
		[JSON_FLAG] = "{\"type\":\"boolean\"}",
		[JSON_LIST] = "{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[{\"type\":[\"string\","
		    "\"number\",\"boolean\"]},{\"$ref\":\"#/components/schemas/BinaryArgument\"}]}}",
		[JSON_PAIRS] = "{\"type\":\"object\",\"minProperties\":1}",
		[JSON_TEXT_PAIRS] = "{\"type\":\"object\",\"minProperties\":1}",
	};
	bool text = f->place != HTTP_IN_BODY;

	if (f->type == JSON_CHOICE) {
		buf_puts(out, "{\"enum\":[\"");
		for (size_t i = 0; i < f->text.n; i++) {
			if (f->text.p[i] == '|')
				buf_puts(out, "\",\"");
			else
				buf_putc(out, (char)f->text.p[i]);
		}
		buf_puts(out, "\"]}");
	} else if (text && f->type == JSON_LIST) {
		buf_puts(out, "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}");
	} else if (text && (f->type == JSON_STR || f->type == JSON_TEXT || f->type == JSON_VALUE)) {
		buf_puts(out, "{\"type\":\"string\"}");
	} else {
		buf_puts(out, types[f->type]);
	}
}

static void put_parameters(struct buf *out, const struct http_route *r)
{
	buf_puts(out, "\"parameters\":[{\"$ref\":\"#/components/parameters/Project\"}");
	for (unsigned i = 0; i < r->words.nfields; i++) {
		const struct http_field *f = &r->words.field[i];

		if (f->place == HTTP_IN_BODY)
			continue;
		buf_puts(out, ",{\"name\":");
		json_put_string(out, f->name.p, f->name.n);
		buf_printf(out, ",\"in\":\"%s\",\"required\":%s,\"schema\":",
		    f->place == HTTP_IN_PATH ? "path" : "query",
		    f->required && !f->group ? "true" : "false");
		put_field_schema(out, f);
		buf_putc(out, '}');
	}
	if (http_route_encodes(r))
		buf_puts(out, ",{\"$ref\":\"#/components/parameters/encoding\"}");
	buf_puts(out, "],");
}

/* An object: one property for each field that stands in the body. */
static void put_members_schema(struct buf *out, const struct http_words *w)
{
	bool comma = false, value = false;

	buf_puts(out, "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[");
	for (unsigned i = 0; i < w->nfields; i++) {
		const struct http_field *f = &w->field[i];

		if (f->place != HTTP_IN_BODY || !f->required || f->group)
			continue;
		if (comma)
			buf_putc(out, ',');
		json_put_string(out, f->name.p, f->name.n);
		comma = true;
	}
	buf_puts(out, "],\"properties\":{");
	comma = false;
	for (unsigned i = 0; i < w->nfields; i++) {
		const struct http_field *f = &w->field[i];

		if (f->place != HTTP_IN_BODY)
			continue;
		if (comma)
			buf_putc(out, ',');
		json_put_string(out, f->name.p, f->name.n);
		buf_putc(out, ':');
		put_field_schema(out, f);
		comma = true;
		value |= f->type == JSON_VALUE;
	}
	buf_puts(out, value ? ",\"encoding\":{\"const\":\"base64\"}}}" : "}}");
}

static void put_body(struct buf *out, const struct http_route *r)
{
	if (!r->words.body)
		return;
	buf_printf(out, "\"requestBody\":{\"required\":%s,\"content\":{\"application/json\":{\"schema\":",
	    r->words.required_body ? "true" : "false");
	if (r->kind == HTTP_KIND_COMMAND)
		buf_puts(out, SCHEMA("Commands"));
	else if (r->kind == HTTP_KIND_KV_SET)
		buf_puts(out, SCHEMA("Store"));
	else if (r->words.command)
		buf_puts(out, SCHEMA("Command"));
	else
		put_members_schema(out, &r->words);
	buf_puts(out, "}}},");
}

static void put_commands(struct buf *out)
{
	buf_puts(out, "\"x-purser-commands\":[");
	for (int i = 0; i < CMD_COUNT; i++) {
		const struct command *c = &cmd_rows[i];
		const char *bar = strchr(c->name, '|');

		buf_printf(out, "%s{\"name\":\"", i ? "," : "");
		if (bar)
			buf_printf(out, "%.*s %s", (int)(bar - c->name), c->name, bar + 1);
		else
			buf_puts(out, c->name);
		buf_printf(out, "\",\"arity\":%d,\"permission\":\"%s\",\"summary\":", c->arity,
		    cmd_perm_name((enum cmd_perm)c->perm));
		quoted(out, c->summary);
		buf_putc(out, '}');
	}
	buf_puts(out, "],");
}

/* "GET /redis/kv" -> "get_redis_kv" */
static void put_operation_id(struct buf *out, const struct http_route *r)
{
	buf_puts(out, "\"operationId\":\"");
	for (const char *p = http_method_name(r->method); *p; p++)
		buf_putc(out, (char)tolower((unsigned char)*p));
	for (const char *p = r->path; *p; p++)
		buf_putc(out, isalnum((unsigned char)*p) ? *p : '_');
	buf_puts(out, "\",");
}

static void put_operation(struct buf *out, const struct http_route *r)
{
	buf_putc(out, '"');
	for (const char *p = http_method_name(r->method); *p; p++)
		buf_putc(out, (char)tolower((unsigned char)*p));
	buf_puts(out, "\":{");
	put_operation_id(out, r);
	buf_puts(out, "\"summary\":");
	quoted(out, r->summary);
	buf_putc(out, ',');
	if (*r->text) {
		buf_puts(out, "\"x-purser-command\":");
		json_put_string(out, http_route_name(r->text).p, http_route_name(r->text).n);
		buf_putc(out, ',');
	}
	put_parameters(out, r);
	if (r->kind == HTTP_KIND_COMMAND)
		put_commands(out);
	put_body(out, r);
	put_responses(out, r);
	buf_putc(out, '}');
}

void openapi_write(struct buf *out, const char *version)
{
	const char *why;
	unsigned at;
	struct http_routes *t = http_routes_new(&why, &at);

	if (!t) {
		out->failed = true;
		return;
	}
	buf_puts(out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Purser\",\"summary\":\"The commands of the "
	    "host-local agent, as JSON over its Unix socket\",\"license\":{\"name\":\"Apache-2.0\","
	    "\"identifier\":\"Apache-2.0\"},\"version\":");
	quoted(out, version);
	buf_puts(out, "},\"servers\":[{\"url\":\"http://purser\",\"description\":\"any host name: the address "
	    "is the Unix socket\"}],\"paths\":{");
	for (unsigned i = 0; i < t->n; i++) {
		const struct http_route *r = &t->route[i];
		bool same = i && strcmp(r->path, t->route[i - 1].path) == 0;

		if (i)
			buf_puts(out, same ? "," : "},");
		if (!same) {
			quoted(out, r->path);
			buf_puts(out, ":{");
		}
		put_operation(out, r);
	}
	http_routes_free(t);
	buf_puts(out, "}},\"security\":[{},{\"bearer\":[]}],\"components\":{\"securitySchemes\":{\"bearer\":"
	    "{\"type\":\"http\",\"scheme\":\"bearer\"}},\"parameters\":{"
	    "\"Project\":{\"name\":\"Purser-Project\",\"in\":\"header\",\"description\":\"the project; otherwise "
	    "the one that the caller's identity allows\",\"schema\":{\"type\":\"string\"}},"
	    "\"encoding\":{\"name\":\"encoding\",\"in\":\"query\",\"description\":\"base64: every string value, "
	    "UTF-8 or not\",\"schema\":{\"const\":\"base64\"}}},\"responses\":{");
	put_error_responses(out);
	buf_puts(out, "},\"schemas\":{");
	buf_puts(out, schemas);
	put_problem_schema(out);
	buf_puts(out, "}}}");
}
