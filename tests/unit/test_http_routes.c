/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The templates of routes: what they make of a request, what they refuse, and that every row of routes.def
 * fits the command that it names (commands.def).
 */
#include <config.h>

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "command/command.h"
#include "server/http_in.h"
#include "server/http_route.h"

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
static const struct json_limits json_limits = { 4, 6 };

/* ---- the rows of routes.def ---- */

static bool alike(const struct http_route *a, const struct http_route *b)
{
	if (a->words.nsegments != b->words.nsegments || a->words.fixed || b->words.fixed)
		return false;
	for (unsigned i = 0; i < a->words.nsegments; i++) {
		const struct http_segment *x = &a->words.segment[i], *y = &b->words.segment[i];

		if (x->field < 0 && y->field < 0 && (x->text.n != y->text.n || memcmp(x->text.p, y->text.p, x->text.n)))
			return false;
	}
	return true;
}

/* Several commands: each of them is there. */
static void check_each(const struct http_route *r, const struct cmd_index *x)
{
	for (const char *p = r->text; p; p = strstr(p, " ; ") ? strstr(p, " ; ") + 3 : NULL) {
		purser_bytes name = http_route_name(p);

		if (!cmd_by_name(x, (const char *)name.p, name.n))
			fail_msg("%s: %s is not in commands.def", r->path, p);
	}
}

static void check_row(const struct http_routes *t, unsigned i, const struct cmd_index *x)
{
	const struct http_route *r = &t->route[i];
	purser_bytes name = http_route_name(r->text);
	const struct command *c = cmd_by_name(x, (const char *)name.p, name.n);

	if (!c)
		fail_msg("%s: %s is not in commands.def", r->path, r->text);
	if (r->words.ncommands > 1)
		check_each(r, x);
	else if (c->arity > 0 ? r->words.min != c->arity || r->words.max != c->arity :
	    r->words.min < -c->arity && !r->words.command)
		fail_msg("%s: %u to %u words, and %s has %d", r->path, r->words.min, r->words.max, c->name, c->arity);
	assert_true(*r->summary);
	for (unsigned k = 0; k < i; k++) {
		if (strcmp(t->route[k].path, r->path) == 0) {
			if (t->route[k].method == r->method || strcmp(t->route[i - 1].path, r->path) != 0)
				fail_msg("%s: a method twice, or its rows are not together", r->path);
		} else if (alike(&t->route[k], r)) {
			fail_msg("a path may be both %s and %s", r->path, t->route[k].path);
		}
	}
}

static void rows_fit_their_commands(void **state)
{
	static struct cmd_index x;
	const char *why;
	unsigned at;
	struct http_routes *t = http_routes_new(&why, &at);

	(void)state;
	if (!t)
		fail_msg("row %u: %s", at, why ? why : "no memory");
	cmd_index_build(&x);
	for (unsigned i = 0; i < t->n; i++)
		if (t->route[i].kind != HTTP_KIND_COMMAND)
			check_row(t, i, &x);
	http_routes_free(t);
}

/* ---- templates ---- */

static void bad_templates(void **state)
{
	static const struct { const char *path, *words, *why; } bad[] = {
		{ "a", "X", "begin with /" }, { "/a/{b}", "X", "is no word" }, { "/{a}/{a}", "X {a}", "name of another" },
		{ "/a", "X {b}", "part of the path" }, { "/{a}", "X [Y {a}]", "part of the path" },
		{ "/a", "X <b", "> is missing" }, { "/a", "X [Y <b>", "] is missing" }, { "/a", "X [Y [Z]]", "" },
		{ "/a", "X <b:float>", "type" }, { "/a", "X <b:list=1>", "no default" }, { "/a", "X  <b>", "" },
		{ "/a", "X <?b:pairs>", "in a body" }, { "/a", "X <b>Y", "one blank" }, { "/a", "X [<*>]", "no group" },
		{ "/a", "X <b> [B]", "name of another" }, { "/a", "X <>", "no name" }, { "/a", "X <b=1>", "no name" }, { "/a", "X ]", "" },
		{ "/1/2/3/4/5/6/7/8/9", "X", "too many" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		const char *why;
		struct http_words w;

		if (http_words_parse(&w, HTTP_POST, bad[i].path, bad[i].words, &why) == 0 || !why ||
		    !strstr(why, bad[i].why))
			fail_msg("%s %s: %s", bad[i].path, bad[i].words, why ? why : "accepted");
	}
}

static const struct http_row rows[] = {
	{ HTTP_GET, "/locks", "L.LIST [<pattern>]", HTTP_KIND_VALUE, "s" },
	{ HTTP_POST, "/locks/{name}", "L.ACQ {name} <ttl_ms:int> [WAIT <wait_ms:int>] [MODE <mode:session|lease>] "
	    "[PERMITS <permits:int> OF <of:int>] [MAXHOLD <max:int=9>] [NOQUEUE]", HTTP_KIND_VALUE, "s" },
	{ HTTP_GET, "/locks/{name}", "L.INFO {name} [QUIET]", HTTP_KIND_FOUND, "s" },
	{ HTTP_DELETE, "/locks/{name}", "L.REL {name} <fence:int>", HTTP_KIND_VALUE, "s" },
	{ HTTP_POST, "/locks/{name}/fence", "FENCE {name} <?fence> SET <key> <value:value>", HTTP_KIND_VALUE, "s" },
	{ HTTP_POST, "/locks/all", "L.ALL", HTTP_KIND_VALUE, "s" },
	{ HTTP_POST, "/s", "S.NEW <user> <idle_ms:int=60> [DATA <data:json>] [BETA <beta:num>]", HTTP_KIND_VALUE, "s" },
	{ HTTP_PATCH, "/s/{id}", "S.SET {id} <fields:pairs> [IFVER <version:int>]", HTTP_KIND_VALUE, "s" },
	{ HTTP_PUT, "/s/{id}", "S.PUT {id} <fields:jsonpairs>", HTTP_KIND_VALUE, "s" },
	{ HTTP_DELETE, "/s/{id}", "S.DEL {id} [KEYS <keys:list>]", HTTP_KIND_VALUE, "s" },
	{ HTTP_GET, "/sub", "SUB <channel:list>", HTTP_KIND_VALUE, "s" },
	{ HTTP_GET, "/q", "Q <n:num> <j:json> <m:a|b>", HTTP_KIND_JSON, "s" },
	{ HTTP_GET, "/two", "[SUB <c:list>] ; [PSUB <p:list>] ; [ECHO <e>]", HTTP_KIND_VALUE, "s" },
	{ HTTP_GET, "/events", "SUB <c>", HTTP_KIND_EVENTS, "s" },
	{ HTTP_POST, "/del", "DEL <keys:list>", HTTP_KIND_VALUE, "s" },
};
static struct http_routes *table;

static int make_table(void **state)
{
	const char *why;
	unsigned at;

	(void)state;
	table = http_routes_make(rows, sizeof rows / sizeof *rows, &why, &at);
	if (!table)
		print_error("%s: %s\n", rows[at].path, why);
	return table ? 0 : -1;
}

static int free_table(void **state)
{
	(void)state;
	http_routes_free(table);
	return 0;
}

/* The words with | between, or "status text [allow]". */
static void expect_n(const char *method, const char *target, size_t target_n, const char *body, const char *want,
    size_t want_n)
{
	struct buf text = { 0 }, got = { 0 };
	struct http_call call = { 0 };
	struct http_in in;

	buf_printf(&text, "%s ", method);
	buf_put(&text, target, target_n);
	buf_printf(&text, " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
	http_in_init(&in, &limits);
	assert_int_equal(http_in_feed(&in, buf_data(&text), buf_len(&text)), buf_len(&text));
	assert_int_equal(in.event, HTTP_IN_REQUEST);
	if (http_call_make(&call, table, &in.head, buf_data(&in.body), buf_len(&in.body), &json_limits)) {
		buf_printf(&got, "%d %s", call.bad.status, call.bad.text);
		if (*call.bad.allow)
			buf_printf(&got, " [%s]", call.bad.allow);
		if (strstr(buf_cstr(&got), want))
			goto out;
	} else {
		for (uint32_t k = 0; k < call.cmds.ncmds; k++) {
			uint32_t argc;
			purser_bytes *argv = json_cmds_argv(&call.cmds, k, &argc);

			for (uint32_t i = 0; i < argc; i++) {
				buf_puts(&got, i ? "|" : k ? ";" : "");
				buf_put(&got, argv[i].p, argv[i].n);
			}
		}
		if (buf_len(&got) == want_n && memcmp(buf_data(&got), want, want_n) == 0)
			goto out;
	}
	fail_msg("%s %s %s\n  is     %s\n  wanted %s", method, target, body, buf_cstr(&got), want);
out:
	buf_free(&text);
	buf_free(&got);
	http_call_free(&call);
	http_in_free(&in);
}

static void expect(const char *method, const char *target, const char *body, const char *want)
{
	expect_n(method, target, strlen(target), body, want, strlen(want));
}

static void paths(void **state)
{
	static const char bytes[] = "L.INFO|\0/\xff?";

	(void)state;
	expect("GET", "/locks", "", "L.LIST");
	expect("GET", "/locks/a", "", "L.INFO|a");
	expect("HEAD", "/locks/a+b", "", "L.INFO|a+b");
	expect("GET", "/l%6fcks/a", "", "L.INFO|a");
	expect_n("GET", "/locks/%00%2F%ff%3f", 19, "", bytes, sizeof bytes - 1);
	expect("POST", "/locks/all", "", "L.ALL"); /* the very words are nearer than {name} */
	expect("POST", "/locks/a%6cl", "", "L.ALL");
	expect("GET", "/locks/all", "", "L.INFO|all");
	expect("GET", "/locks/", "", "404 there is no such path; near it: /locks");
	expect("GET", "/locks/a/", "", "404 there is no such path");
	expect("GET", "/locks%2fa", "", "404 there is no such path");
	expect("GET", "/lock/some-long-name", "", "404 there is no such path; near it: /locks/{name}");
	expect("POST", "/locks/some-long-name/fense", "", "near it: /locks, /locks/{name}/fence");
	expect("GET", "/nothing/like/it", "", "404 there is no such path; GET /openapi.json lists all");
}

static void methods(void **state)
{
	(void)state;
	expect("PUT", "/locks/a", "", "405 the path does not have this method; it has POST, GET, HEAD, DELETE "
	    "[POST, GET, HEAD, DELETE]");
	expect("PATCH", "/locks/all", "", "[POST, GET, HEAD, DELETE]");
	expect("DELETE", "/locks/a/fence", "", "[POST]");
	expect("POST", "/locks", "", "[GET, HEAD]");
}

static void queries(void **state)
{
	(void)state;
	expect("GET", "/locks?pattern=a%2a+b", "", "L.LIST|a* b");
	expect("GET", "/locks/a?quiet", "", "L.INFO|a|QUIET");
	expect("GET", "/locks/a?quiet=true&encoding=base64", "", "L.INFO|a|QUIET");
	expect("GET", "/locks/a?quiet=0", "", "L.INFO|a");
	expect("GET", "/locks/a?quiet=maybe", "", "400 the query parameter quiet is a flag");
	expect("GET", "/locks/a?QUIET=1", "", "400 unknown query parameter; GET /locks/{name} has quiet encoding");
	expect("GET", "/locks/a?name=b", "", "400 unknown query parameter");
	expect("DELETE", "/locks/a?fence=12", "", "L.REL|a|12");
	expect("DELETE", "/locks/a?fence=-12", "", "L.REL|a|-12");
	expect("DELETE", "/locks/a?fence=twelve", "", "400 the query parameter fence is a whole number");
	expect("DELETE", "/locks/a?fence=9223372036854775808", "", "400 the query parameter fence is a whole number");
	expect("DELETE", "/locks/a?fence=1&fence=1", "", "400 the query parameter fence is given twice");
	expect("DELETE", "/locks/a?fence", "", "400 the query parameter fence has no '='");
	expect("DELETE", "/locks/a", "", "400 the query parameter fence is missing: DELETE /locks/{name}?fence=NUMBER");
	expect("DELETE", "/locks/a?fence=1", "{}", "400 DELETE /locks/{name} takes no body");
	expect("GET", "/sub?channel=a&channel=b%20c", "", "SUB|a|b c");
	expect("GET", "/sub", "", "400 the query parameter channel is missing");
	expect("GET", "/q?n=1.5&j=[1,%20%22a%22]&m=b", "", "Q|1.5|[1, \"a\"]|b");
	expect("GET", "/q?n=1.5x&j=1&m=b", "", "400 the query parameter n is a number");
	expect("GET", "/q?n=1&j=%5b&m=b", "", "400 the query parameter j is JSON");
	expect("GET", "/q?n=1&j=1&m=c", "", "400 the query parameter m is one of a|b");
	expect("GET", "/q?n=1&j=1&m=b&encoding=base64", "", "GET /q has n j m");
}

static void several_commands(void **state)
{
	(void)state;
	expect("GET", "/two?p=a&c=b&p=c", "", "SUB|b;PSUB|a|c");
	expect("GET", "/two?p=a", "", "PSUB|a");
	expect("GET", "/two?e=", "", "ECHO|");
	expect("GET", "/two", "", "400 GET /two needs one of these: c, p, e");
	expect("GET", "/events?c=1", "", "SUB|1");
	expect("HEAD", "/events?c=1", "", "405 a stream of events has no HEAD [GET]");
}

static void bodies(void **state)
{
	(void)state;
	expect("POST", "/locks/a", "{\"ttl_ms\":100}", "L.ACQ|a|100");
	expect("POST", "/locks/a", "{\"mode\":\"lease\",\"wait_ms\":5,\"ttl_ms\":1e0}", "400 line 1, column 38: \"ttl_ms\" is a whole");
	expect("POST", "/locks/a", "{\"mode\":\"lease\",\"wait_ms\":5,\"ttl_ms\":7}", "L.ACQ|a|7|WAIT|5|MODE|lease");
	expect("POST", "/locks/a", "{\"ttl_ms\":7,\"mode\":null,\"max\":3}", "L.ACQ|a|7|MAXHOLD|3");
	expect("POST", "/locks/a", "{\"ttl_ms\":7,\"noqueue\":true}", "L.ACQ|a|7|NOQUEUE");
	expect("POST", "/locks/a", "{\"ttl_ms\":7,\"noqueue\":false}", "L.ACQ|a|7");
	expect("POST", "/locks/a", "{\"ttl_ms\":7,\"noqueue\":1}", "400 line 1, column 23: \"noqueue\" is true or false");
	expect("POST", "/locks/a", "{\"ttl_ms\":7,\"mode\":\"none\"}", "400 line 1, column 20: \"mode\" is one of session|lease");
	expect("POST", "/locks/a", "{\"ttl_ms\":7,\"permits\":1,\"of\":3}", "L.ACQ|a|7|PERMITS|1|OF|3");
	expect("POST", "/locks/a", "{\"ttl_ms\":7,\"of\":3}", "400 the member \"permits\" of the body is missing (it goes with");
	expect("POST", "/locks/a", "{\"ttl\":7}", "400 line 1, column 2: unknown member; there are ttl_ms, wait_ms, mode, "
	    "permits, of, max, noqueue");
	expect("POST", "/locks/a", "{\"ttl_ms\":7,\"ttl_ms\":7}", "400 line 1, column 13: \"ttl_ms\" is given twice");
	expect("POST", "/locks/a", "{}", "400 the member \"ttl_ms\" of the body is missing: {\"ttl_ms\": ...}");
	expect("POST", "/locks/a", "", "400 line 1, column 1: the body is an object: {\"ttl_ms\": ...}");
	expect("POST", "/locks/a", "[]", "400 line 1, column 1: the body is an object");
	expect("POST", "/locks/a", "{\"ttl_ms\":1} x", "400 line 1, column 14: nothing may follow");
	expect("POST", "/locks/a?ttl_ms=1", "{}", "400 unknown query parameter; POST /locks/{name} has encoding");
	expect("POST", "/locks/a/fence?fence=8", "{\"key\":\"k\",\"value\":{\"a\": 1}}", "FENCE|a|8|SET|k|{\"a\":1}");
	expect("POST", "/locks/a/fence?fence=8", "{\"key\":{\"base64\":\"aw==\"},\"value\":\"djE=\",\"encoding\":\"base64\"}",
	    "FENCE|a|8|SET|k|v1");
	expect("POST", "/locks/a/fence?fence=8", "{\"key\":\"k\",\"value\":1,\"encoding\":\"base64\"}", "400 line 1, column 20: a base64 value is a string");
	expect("POST", "/locks/a/fence?fence=8", "{\"key\":\"k\",\"value\":\"x\",\"encoding\":\"hex\"}", "400 the only encoding");
	expect("POST", "/s", "{\"user\":\"u\"}", "S.NEW|u|60");
	expect("POST", "/s", "{\"user\":7,\"idle_ms\":8,\"data\":{\"a\" : \"b c\"},\"beta\":1.50}", "S.NEW|7|8|DATA|{\"a\":\"b c\"}|BETA|1.50");
	expect("POST", "/s", "{\"user\":\"u\",\"data\":null}", "S.NEW|u|60|DATA|null");
	expect("POST", "/s", "{\"user\":\"u\",\"data\":\"x\"}", "S.NEW|u|60|DATA|\"x\"");
	expect("POST", "/s", "{\"user\":\"u\",\"beta\":\"1\"}", "\"beta\" is a number");
	expect("PATCH", "/s/x", "{\"fields\":{\"a\":\"1\",\"b\":{\"c\": [1 ]}}}", "S.SET|x|a|1|b|{\"c\":[1]}");
	expect("PATCH", "/s/x", "{\"fields\":{\"a\":\"1\"},\"version\":4}", "S.SET|x|a|1|IFVER|4");
	expect("PATCH", "/s/x", "{\"fields\":{}}", "400 line 1, column 11: \"fields\" is empty");
	expect("PATCH", "/s/x", "{\"fields\":[]}", "400 line 1, column 11: \"fields\" is an object");
	expect("PATCH", "/s/x", "{\"fields\":{\"a\":1,\"b\":1,\"c\":1,\"d\":1}}", "413 line 1, column 11: the command has more than 6");
	expect("PUT", "/s/x", "{\"fields\":{\"a\":\"1\",\"b\": null}}", "S.PUT|x|a|\"1\"|b|null");
	expect("POST", "/del", "{\"keys\":[\"a\",1,{\"base64\":\"Yg==\"}]}", "DEL|a|1|b");
	expect("POST", "/del", "{\"keys\":\"a\"}", "400 line 1, column 9: \"keys\" is an array");
	expect("POST", "/del", "{\"keys\":[[]]}", "an array cannot be an argument");
	expect("DELETE", "/s/x?keys=a&keys=", "", "S.DEL|x|KEYS|a|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_fit_their_commands),
		cmocka_unit_test(bad_templates),
		cmocka_unit_test(paths),
		cmocka_unit_test(methods),
		cmocka_unit_test(queries),
		cmocka_unit_test(several_commands),
		cmocka_unit_test(bodies),
	};

	return cmocka_run_group_tests(tests, make_table, free_table);
}
