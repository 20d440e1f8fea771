/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From requests to commands (routes) and from replies to responses (answers, problems).
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
#include <jansson.h>

#include "server/http_answer.h"
#include "server/http_in.h"

static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
static const struct json_limits json_limits = { 100, 100 };

static struct http_routes *table;

struct exchange {
	struct http_in in;
	struct http_call call;
	struct http_answer answer;
};

/* Parses one request and makes its call; commands as "GET|k;PTTL|k", or "!status WORD text [allow]". */
static char *request(struct exchange *x, const char *text, size_t n)
{
	struct buf out = { 0 };
	char *s;

	memset(x, 0, sizeof *x);
	http_in_init(&x->in, &limits);
	assert_int_equal(http_in_feed(&x->in, (const uint8_t *)text, n), n);
	assert_int_equal(x->in.event, HTTP_IN_REQUEST);
	if (http_call_make(&x->call, table, &x->in.head, buf_data(&x->in.body), buf_len(&x->in.body),
	    &json_limits)) {
		buf_printf(&out, "!%d %s %s", x->call.bad.status, err_rows[x->call.bad.code].word, x->call.bad.text);
		if (*x->call.bad.allow)
			buf_printf(&out, " [%s]", x->call.bad.allow);
	}
	for (uint32_t i = 0; i < x->call.cmds.ncmds && !x->call.bad.status; i++) {
		uint32_t argc;
		const purser_bytes *argv = json_cmds_argv(&x->call.cmds, i, &argc);

		for (uint32_t k = 0; k < argc; k++) {
			buf_puts(&out, k ? "|" : i ? ";" : "");
			buf_put(&out, argv[k].p, argv[k].n);
		}
	}
	s = malloc(buf_len(&out) + 1);
	assert_non_null(s);
	memcpy(s, buf_cstr(&out), buf_len(&out));
	s[buf_len(&out)] = '\0';
	buf_free(&out);
	return s;
}

#define REQUEST(x, text) request(x, text, sizeof(text) - 1)

static void drop(struct exchange *x)
{
	http_answer_free(&x->answer);
	http_call_free(&x->call);
	http_in_free(&x->in);
}

static void expect_request(const char *text, size_t n, const char *want)
{
	struct exchange x;
	char *got = request(&x, text, n);

	if (strncmp(got, want, strlen(want)) != 0 || (*want != '!' && strlen(got) != strlen(want)))
		fail_msg("%s: want %s, got %s", text, want, got);
	free(got);
	drop(&x);
}
#define WANT(text, want) expect_request(text, sizeof(text) - 1, want)
#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"
#define BODY(method, target, headers, n, body) \
	method " " target " HTTP/1.1\r\nHost: x\r\n" headers "Content-Length: " #n "\r\n\r\n" body

static void routes(void **state)
{
	(void)state;
	WANT(GET("/redis/status"), "PURSER.HEALTH");
	WANT(GET("/healthz"), "PURSER.LIVE");
	WANT(GET("/%72eadyz"), "PURSER.READY");
	WANT(GET("/metrics?"), "PURSER.METRICS");
	WANT(GET("/v1/plugins"), "PURSER.PLUGINS");
	WANT(GET("/openapi.json"), "PURSER.OPENAPI");
	WANT("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "PURSER.LIVE");
	WANT(GET("/redis/kv?key=a%20b+c%2B"), "GET|a b c+;PTTL|a b c+");
	WANT(GET("/redis/kv?encoding=base64&key="), "GET|;PTTL|");
	WANT("DELETE /redis/kv?key=%ff HTTP/1.1\r\nHost: x\r\n\r\n", "DEL|\xff");
	WANT(BODY("POST", "/redis/kv", "", 32, "{\"key\":\"k\",\"value\":1,\"expire\":5}"), "SET|k|1|EX|5");
	WANT(BODY("POST", "/v1/command", "Content-Type: application/json ; charset=utf-8\r\n", 8, "[\"PING\"]"),
	    "PING");
	WANT(BODY("POST", "/v1/command?encoding=base64", "Content-Type: application/x-www-form-urlencoded\r\n", 20,
	    "[[\"GET\",1],[\"PING\"]]"), "GET|1;PING");
}

static void wrong_requests(void **state)
{
	(void)state;
	WANT(GET("/"), "!404 BADREQUEST there is no such path; GET /openapi.json lists all");
	WANT(GET("/redis/statu"), "!404 BADREQUEST there is no such path; near it: /redis/status");
	WANT(GET("/redis"), "!404 BADREQUEST there is no such path; near it: /redis/status, /redis/kv");
	WANT(GET("/healthz/"), "!404 BADREQUEST there is no such path; near it: /healthz");
	WANT(GET("/Healthz"), "!404 BADREQUEST there is no such path; near it: /healthz");
	WANT(GET("/v1/../metrics"), "!404 BADREQUEST there is no such path");
	WANT(GET("/a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789a123456789"
	    "a123456789a123456789a123456789a123456789a123456789a123456789"), "!404 BADREQUEST there is no such path");
	WANT("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
	    "!405 BADREQUEST the path does not have this method; it has GET, HEAD [GET, HEAD]");
	WANT("PUT /redis/kv HTTP/1.1\r\nHost: x\r\n\r\n", "!405 BADREQUEST the path does not have this method; it has "
	    "GET, HEAD, POST, DELETE [GET, HEAD, POST, DELETE]");
	WANT("get /redis/kv HTTP/1.1\r\nHost: x\r\n\r\n", "!405 ");
	WANT("GET /v1/command HTTP/1.1\r\nHost: x\r\n\r\n", "!405 BADREQUEST the path does not have this method; it has POST");
	WANT(GET("/redis/kv"), "!400 BADREQUEST the query parameter key is missing: GET /redis/kv?key=NAME");
	WANT(GET("/redis/kv?key"), "!400 BADREQUEST the query parameter key has no '='");
	WANT(GET("/redis/kv?key=a&key=b"), "!400 BADREQUEST the query parameter key is given twice");
	WANT(GET("/redis/kv?kee=a"), "!400 BADREQUEST unknown query parameter; GET /redis/kv has key encoding");
	WANT(GET("/redis/kv?key=a&ke=b"), "!400 BADREQUEST unknown query parameter");
	WANT(GET("/metrics?x=1"), "!400 BADREQUEST unknown query parameter; GET /metrics has none");
	WANT(GET("/redis/kv?key=a&encoding=hex"), "!400 BADREQUEST the only encoding is base64");
	WANT(BODY("GET", "/healthz", "", 1, "x"), "!400 BADREQUEST GET /healthz takes no body");
	WANT(BODY("POST", "/v1/command", "Content-Type: application/xml\r\n", 8, "[\"PING\"]"), "!415 BADREQUEST");
	WANT(BODY("POST", "/v1/command", "Content-Encoding: gzip\r\n", 8, "[\"PING\"]"), "!415 BADREQUEST");
	WANT(BODY("POST", "/v1/command", "Content-Encoding: Identity\r\n", 8, "[\"PING\"]"), "PING");
	WANT(BODY("POST", "/v1/command", "", 0, ""), "!400 BADREQUEST line 1, column 1: the body is an array");
	WANT(BODY("POST", "/redis/kv", "", 2, "{}"), "!400 BADREQUEST line 1, column 1: \"key\" is missing");
}

/* ---- answers ------------------------------------------------------------------------------------ */

/* Replies, one string for each command: RESP, or "!WORD text" for an error (of any row of the list);
 * given in pieces of `step` bytes.  The response's bytes. */
static char *answer(struct exchange *x, size_t step, const char *const *replies, const size_t *sizes)
{
	char *s;

	http_answer_begin(&x->answer, &x->call, &x->in.head);
	for (uint32_t i = 0; i < x->call.cmds.ncmds; i++) {
		const char *r = replies[i];
		size_t n = sizes ? sizes[i] : strlen(r);

		assert_false(x->answer.done);
		assert_int_equal(x->answer.at, i);
		if (*r == '!') {
			http_answer_error(&x->answer, err_of_text(r + 1, n - 1), r + 1, n - 1);
			continue;
		}
		for (size_t at = 0; at < n; at += step)
			http_answer_raw(&x->answer, (const uint8_t *)r + at, n - at < step ? n - at : step);
		http_answer_end(&x->answer);
	}
	assert_true(x->answer.done);
	assert_false(x->answer.out.failed);
	s = malloc(buf_len(&x->answer.out) + 1);
	assert_non_null(s);
	memcpy(s, buf_cstr(&x->answer.out), buf_len(&x->answer.out));
	s[buf_len(&x->answer.out)] = '\0';
	return s;
}

static void expect_answer(const char *text, const char *const *replies, int status, const char *body)
{
	for (size_t step = 1; step < 40; step += 7) {
		struct exchange x;
		char *got, *at, want[64];

		free(request(&x, text, strlen(text)));
		assert_int_equal(x.call.bad.status, 0);
		got = answer(&x, step, replies, NULL);
		snprintf(want, sizeof want, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
		at = strstr(got, "\r\n\r\n");
		assert_non_null(at);
		if (strncmp(got, want, strlen(want)) != 0 || strcmp(at + 4, body) != 0)
			fail_msg("%s: want %d and %s, got %s", text, status, body, got);
		snprintf(want, sizeof want, "Content-Length: %zu\r\n", strlen(body));
		assert_non_null(strstr(got, want));
		assert_non_null(strstr(got, status == 200 ? "Content-Type: " : "Content-Type: application/problem+json\r\n"));
		assert_int_equal(x.answer.close, false);
		free(got);
		drop(&x);
	}
}
#define ANSWER(text, status, body, ...) \
	expect_answer(text, (const char *const[]){ __VA_ARGS__ }, status, body)
#define PROBLEM(status, code, title, detail, retryable) "{\"type\":\"urn:purser:error:" code "\",\"title\":\"" \
	title "\",\"status\":" #status ",\"code\":\"" code "\",\"detail\":\"" detail "\",\"retryable\":" \
	#retryable "}\n"

static void kv(void **state)
{
	static const char get[] = GET("/redis/kv?key=k"), get64[] = GET("/redis/kv?key=k&encoding=base64");
	static const char set[] = BODY("POST", "/redis/kv", "", 21, "{\"key\":\"k\",\"value\":1}");
	static const char del[] = "DELETE /redis/kv?key=%ff HTTP/1.1\r\nHost: x\r\n\r\n";

	(void)state;
	ANSWER(get, 200, "{\"key\":\"k\",\"value\":\"v\",\"ttl_ms\":null}\n", "$1\r\nv\r\n", ":-1\r\n");
	ANSWER(get, 200, "{\"key\":\"k\",\"value\":\"v\",\"ttl_ms\":1500}\n", "$1\r\nv\r\n", ":1500\r\n");
	ANSWER(get, 200, "{\"key\":\"k\",\"value\":\"v\",\"ttl_ms\":0}\n", "$1\r\nv\r\n", ":-2\r\n");
	ANSWER(get, 200, "{\"key\":\"k\",\"value\":\"/w==\",\"encoding\":\"base64\",\"ttl_ms\":null}\n",
	    "$1\r\n\xff\r\n", ":-1\r\n");
	ANSWER(get64, 200, "{\"key\":\"k\",\"value\":\"dg==\",\"encoding\":\"base64\",\"ttl_ms\":null}\n",
	    "$1\r\nv\r\n", ":-1\r\n");
	ANSWER(get, 404, PROBLEM(404, "NOKEY", "the key does not exist", "the key does not exist", false),
	    "_\r\n", ":-2\r\n");
	ANSWER(get, 404, PROBLEM(404, "NOKEY", "the key does not exist", "the key does not exist", false),
	    "$-1\r\n", "!TIMEOUT late");
	ANSWER(get, 422, PROBLEM(422, "WRONGTYPE", "the store refused the command", "Operation \\\"x\\\"", false),
	    "!WRONGTYPE Operation \"x\"", ":-1\r\n");
	ANSWER(get, 504, PROBLEM(504, "TIMEOUT",
	    "no reply within operation_timeout; the command has no effect that cannot be repeated", "late", true),
	    "$1\r\nv\r\n", "!TIMEOUT late");
	ANSWER(get, 500, PROBLEM(500, "ERR", "internal error", "an integer was expected of the store", false),
	    "$1\r\nv\r\n", "+1\r\n");
	ANSWER(get, 502, PROBLEM(502, "BACKENDPROTOCOL", "the backend sent something that is not RESP",
	    "the backend sent something that is not RESP", true), "$1\r\nvv\r\n", ":-1\r\n");
	ANSWER(set, 200, "{\"key\":\"k\",\"stored\":true}\n", "+OK\r\n");
	ANSWER(set, 507, PROBLEM(507, "OOM", "out of memory", "command not allowed", true), "!OOM command not allowed");
	ANSWER(set, 500, PROBLEM(500, "ERR", "internal error", "OK was expected of the store", false), "_\r\n");
	ANSWER(del, 200, "{\"key\":{\"encoding\":\"base64\",\"value\":\"/w==\"},\"deleted\":true}\n", ":1\r\n");
	ANSWER(del, 200, "{\"key\":{\"encoding\":\"base64\",\"value\":\"/w==\"},\"deleted\":false}\n", ":0\r\n");
}

static void commands(void **state)
{
	static const char one[] = BODY("POST", "/v1/command", "", 8, "[\"PING\"]");
	static const char pipe[] = BODY("POST", "/v1/command", "", 13, "[[\"A\"],[\"B\"]]");
	static const char b64[] = BODY("POST", "/v1/command?encoding=base64", "", 8, "[\"PING\"]");

	(void)state;
	ANSWER(one, 200, "{\"result\":\"PONG\"}\n", "+PONG\r\n");
	ANSWER(one, 200, "{\"result\":null}\n", "_\r\n");
	ANSWER(one, 200, "{\"result\":{\"a\":[1,{\"error\":\"ERR x\"}]}}\n", "%1\r\n+a\r\n*2\r\n:1\r\n-ERR x\r\n");
	ANSWER(b64, 200, "{\"result\":{\"encoding\":\"base64\",\"value\":\"UE9ORw==\"}}\n", "+PONG\r\n");
	ANSWER(one, 422, PROBLEM(422, "ERR", "the store refused the command", "unknown command", false),
	    "!ERR unknown command");
	ANSWER(one, 422, PROBLEM(422, "EXECABORT", "the store refused the command", "EXECABORT", false), "!EXECABORT");
	ANSWER(one, 503, PROBLEM(503, "CIRCUITOPEN", "the circuit breaker is open",
	    "backend=main retry_after_ms=1500", true), "!CIRCUITOPEN backend=main retry_after_ms=1500");
	/* A pipeline tells of each command by itself. */
	ANSWER(pipe, 200, "[{\"result\":1},{\"result\":\"x\"}]\n", ":1\r\n", "$1\r\nx\r\n");
	ANSWER(pipe, 200, "[{\"error\":\"ERR a\"},{\"result\":\"x\"}]\n", "!ERR a", "$1\r\nx\r\n");
	ANSWER(pipe, 200, "[{\"result\":[]},{\"error\":\"WRONGTYPE \\\"b\\\"\"}]\n", "*0\r\n", "!WRONGTYPE \"b\"");
}

static void documents(void **state)
{
	(void)state;
	ANSWER(GET("/redis/status"), 200, "{\"status\":\"healthy\"}\n", "=24\r\ntxt:{\"status\":\"healthy\"}\r\n");
	ANSWER(GET("/redis/status"), 200, "{\"status\":\"healthy\"}\n", "$21\r\n{\"status\":\"healthy\"}\n\r\n");
	ANSWER(GET("/healthz"), 200, "ok\n", "$2\r\nok\r\n");
	ANSWER(GET("/healthz"), 200, "ok\n", "+ok\r\n");
	ANSWER(GET("/v1/plugins"), 200, "[{\"name\":\"x\"}]\n", "*1\r\n%1\r\n+name\r\n+x\r\n");
	ANSWER(GET("/metrics"), 200, "a 1\nb 2\n", "$8\r\na 1\nb 2\n\r\n");
	ANSWER(GET("/metrics"), 200, "\n", "$0\r\n\r\n");
	ANSWER(GET("/readyz"), 503, PROBLEM(503, "BACKENDDOWN", "the backend cannot be reached; the agent keeps "
	    "trying: PURSER.HEALTH shows why", "main", true), "!BACKENDDOWN main");
	ANSWER(GET("/metrics"), 500, PROBLEM(500, "ERR", "internal error",
	    "the command of this path did not answer with text", false), "*0\r\n");
	ANSWER(GET("/metrics"), 500, PROBLEM(500, "ERR", "internal error",
	    "the command of this path did not answer with text", false), "$1\r\nab\r\n");
	ANSWER(GET("/metrics"), 500, PROBLEM(500, "ERR", "internal error", "the reply is not complete", false),
	    "$5\r\nab\r\n");
}

static const char *header(const char *response, const char *name, char *value, size_t n)
{
	const char *end = strstr(response, "\r\n\r\n"), *at = strstr(response, name);
	size_t len;

	assert_non_null(end);
	if (!at || at > end)
		return NULL;
	at += strlen(name);
	len = strcspn(at, "\r");
	snprintf(value, n, "%.*s", (int)len, at);
	return value;
}

static void heads(void **state)
{
	struct exchange x;
	char *got, v[128];

	(void)state;
	/* HEAD has GET's head and nothing else. */
	free(REQUEST(&x, "HEAD /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: abc-1\r\n\r\n"));
	got = answer(&x, 100, (const char *const[]){ "+PONG\r\n" }, NULL);
	assert_string_equal(header(got, "Content-Length: ", v, sizeof v), "5");
	assert_string_equal(header(got, "X-Request-Id: ", v, sizeof v), "abc-1");
	assert_null(header(got, "Connection: ", v, sizeof v));
	assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
	free(got);
	drop(&x);
	/* The client's wish to close; a request id that is no token. */
	free(REQUEST(&x, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: a b\r\nConnection: close\r\n\r\n"));
	got = answer(&x, 100, (const char *const[]){ "!CIRCUITOPEN retry_after_ms=1500" }, NULL);
	assert_string_equal(header(got, "Connection: ", v, sizeof v), "close");
	assert_string_equal(header(got, "Retry-After: ", v, sizeof v), "2");
	assert_null(header(got, "X-Request-Id: ", v, sizeof v));
	assert_true(x.answer.close);
	free(got);
	drop(&x);
	/* HTTP/1.0 that stays. */
	free(REQUEST(&x, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
	got = answer(&x, 100, (const char *const[]){ "!NOAUTH x" }, NULL);
	assert_string_equal(header(got, "Connection: ", v, sizeof v), "keep-alive");
	assert_string_equal(header(got, "WWW-Authenticate: ", v, sizeof v), "Bearer realm=\"purser\"");
	assert_false(x.answer.close);
	free(got);
	drop(&x);
	/* 405 says what is allowed. */
	free(REQUEST(&x, "PUT /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
	http_answer_refuse(&x.answer, &x.in.head, &x.call.bad, false);
	assert_true(x.answer.done);
	assert_string_equal(header(buf_cstr(&x.answer.out), "Allow: ", v, sizeof v), "GET, HEAD");
	assert_null(header(buf_cstr(&x.answer.out), "Connection: ", v, sizeof v));
	assert_false(x.answer.close);
	drop(&x);
	/* What could not be parsed is answered and closed. */
	memset(&x, 0, sizeof x);
	http_in_init(&x.in, &limits);
	http_in_feed(&x.in, (const uint8_t *)"GET / HTTP/1.1\r\nHost : x\r\n", 26);
	assert_int_equal(x.in.event, HTTP_IN_BAD);
	http_answer_refuse(&x.answer, &x.in.head, &x.in.head.bad, true);
	assert_true(strncmp(buf_cstr(&x.answer.out), "HTTP/1.1 400 Bad Request\r\n", 26) == 0);
	assert_string_equal(header(buf_cstr(&x.answer.out), "Connection: ", v, sizeof v), "close");
	assert_true(x.answer.close);
	drop(&x);
}

/* Undoes the chunked coding; -1 where it has no end. */
static int64_t unchunk(char *body)
{
	char *from = body, *to = body;

	for (;;) {
		char *end;
		unsigned long n = strtoul(from, &end, 16);

		if (end == from)
			return -1;
		assert_memory_equal(end, "\r\n", 2);
		from = end + 2;
		if (n == 0) {
			assert_string_equal(from, "\r\n");
			*to = '\0';
			return to - body;
		}
		memmove(to, from, n);
		to += n;
		from += n;
		assert_memory_equal(from, "\r\n", 2);
		from += 2;
	}
}

/* A value of n bytes of 'x' as RESP. */
static char *large(size_t n, size_t *size)
{
	char *r = malloc(n + 64);
	size_t at;

	assert_non_null(r);
	at = (size_t)snprintf(r, 64, "$%zu\r\n", n);
	memset(r + at, 'x', n);
	memcpy(r + at + n, "\r\n", 3);
	*size = at + n + 2;
	return r;
}

static void large_answers(void **state)
{
	size_t n = 300000, sizes[2] = { 0, 6 };
	char *value = large(n, &sizes[0]), *got, *body, v[64];
	const char *replies[2] = { value, ":-1\r\n" };
	struct exchange x;
	json_t *j;

	(void)state;
	sizes[1] = 5;
	free(REQUEST(&x, GET("/redis/kv?key=k")));
	got = answer(&x, 4096, replies, sizes);
	assert_string_equal(header(got, "Transfer-Encoding: ", v, sizeof v), "chunked");
	assert_null(header(got, "Content-Length: ", v, sizeof v));
	body = strstr(got, "\r\n\r\n") + 4;
	assert_true(unchunk(body) > (int64_t)n);
	j = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	assert_int_equal(json_string_length(json_object_get(j, "value")), n);
	assert_true(json_is_null(json_object_get(j, "ttl_ms")));
	json_decref(j);
	free(got);
	drop(&x);

	/* An error behind a part that is out: the body has no end. */
	replies[1] = "!TIMEOUT late";
	sizes[1] = strlen(replies[1]);
	free(REQUEST(&x, GET("/redis/kv?key=k")));
	got = answer(&x, 4096, replies, sizes);
	assert_true(strncmp(got, "HTTP/1.1 200 ", 13) == 0);
	assert_true(x.answer.cut && x.answer.close);
	assert_int_equal(unchunk(strstr(got, "\r\n\r\n") + 4), -1);
	free(got);
	drop(&x);

	/* HTTP/1.0 has no chunks: the end of the connection is the end of the body. */
	replies[1] = ":7\r\n";
	sizes[1] = 4;
	free(REQUEST(&x, "GET /redis/kv?key=k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
	got = answer(&x, 1000, replies, sizes);
	assert_null(header(got, "Transfer-Encoding: ", v, sizeof v));
	assert_string_equal(header(got, "Connection: ", v, sizeof v), "close");
	assert_true(x.answer.close && !x.answer.cut);
	j = json_loads(strstr(got, "\r\n\r\n") + 4, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(j, "ttl_ms")), 7);
	json_decref(j);
	free(got);
	drop(&x);

	/* In a pipeline, an error of a later command is told in its place. */
	replies[1] = "!ERR x";
	sizes[1] = 6;
	free(REQUEST(&x, BODY("POST", "/v1/command", "", 13, "[[\"A\"],[\"B\"]]")));
	got = answer(&x, 5000, replies, sizes);
	body = strstr(got, "\r\n\r\n") + 4;
	assert_true(unchunk(body) > (int64_t)n);
	j = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	assert_int_equal(json_array_size(j), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(j, 1), "error")), "ERR x");
	json_decref(j);
	free(got);
	drop(&x);
	free(value);
}

/* An error that comes after some of the value was given. */
static void errors_in_the_middle(void **state)
{
	struct exchange x;
	static const char one[] = BODY("POST", "/v1/command", "", 8, "[\"PING\"]");
	static const char pipe[] = BODY("POST", "/v1/command", "", 13, "[[\"A\"],[\"B\"]]");

	(void)state;
	free(REQUEST(&x, one));
	http_answer_begin(&x.answer, &x.call, &x.in.head);
	http_answer_raw(&x.answer, (const uint8_t *)"*2\r\n:1\r\n", 8);
	http_answer_error(&x.answer, ERR_INDETERMINATE, NULL, 0);
	assert_true(x.answer.done);
	assert_true(strncmp(buf_cstr(&x.answer.out), "HTTP/1.1 504 ", 13) == 0);
	drop(&x);

	free(REQUEST(&x, pipe));
	http_answer_begin(&x.answer, &x.call, &x.in.head);
	http_answer_raw(&x.answer, (const uint8_t *)"*2\r\n:1\r\n", 8);
	http_answer_error(&x.answer, ERR_TIMEOUT, NULL, 0);
	http_answer_raw(&x.answer, (const uint8_t *)":1\r\n", 4);
	http_answer_end(&x.answer);
	assert_non_null(strstr(buf_cstr(&x.answer.out), "\r\n\r\n[{\"error\":\"TIMEOUT no reply within "
	    "operation_timeout; the command has no effect that cannot be repeated\"},{\"result\":1}]\n"));
	drop(&x);
}

/* The same answer serves one request after the other. */
static void used_again(void **state)
{
	struct exchange x;
	static const char text[] = GET("/redis/kv?key=k");
	char *got;

	(void)state;
	free(REQUEST(&x, text));
	for (int i = 0; i < 5; i++) {
		got = answer(&x, 3, (const char *const[]){ i % 2 ? "$1\r\n\xff\r\n" : "$-1\r\n", ":-1\r\n" }, NULL);
		assert_true(strncmp(got, i % 2 ? "HTTP/1.1 200" : "HTTP/1.1 404", 12) == 0);
		free(got);
		buf_clear(&x.answer.out);
	}
	drop(&x);
}

/* A stream begins: the head, and an event for each value of the replies; it has no end of its own. */
static void events(void **state)
{
	static const struct { const char *reply, *event; } v[] = {
		{ ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
		    "event: subscribe\ndata: {\"channel\":\"a\",\"count\":1}\n\nevent: subscribe\ndata: {\"channel\":\"b\",\"count\":2}\n\n" },
		{ ">4\r\n$8\r\npmessage\r\n$1\r\np\r\n$1\r\nc\r\n$3\r\n\n\r\"\r\n",
		    "data: {\"pattern\":\"p\",\"channel\":\"c\",\"data\":\"\\n\\r\\\"\"}\n\n" },
		{ ">3\r\n$6\r\npurser\r\n$7\r\nbreaker\r\n%1\r\n$2\r\nto\r\n$4\r\nopen\r\n", "event: breaker\ndata: {\"to\":\"open\"}\n\n" },
		{ ">3\r\n$4\r\na\nb:\r\n:1\r\n_\r\n", "event: a_b_\ndata: [1,null]\n\n" },
		{ ">1\r\n$1\r\nx\r\n", "event: x\ndata: []\n\n" },
		{ ">2\r\n$13\r\npurser.closed\r\n$3\r\nwhy\r\n", "event: closed\ndata: {\"reason\":\"why\"}\n\n" },
		{ ">4\r\n$9\r\nlock.lost\r\n$1\r\nn\r\n$1\r\n7\r\n$4\r\ngone\r\n",
		    "event: lock.lost\ndata: {\"name\":\"n\",\"fence\":7,\"reason\":\"gone\"}\n\n" },
		{ "%1\r\n$5\r\nfence\r\n:7\r\n", "event: result\ndata: {\"fence\":7}\n\n" },
		{ "*2\r\n$7\r\nmessage\r\n:1\r\n", "event: result\ndata: [\"message\",1]\n\n" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof v / sizeof *v; i++) {
		struct exchange x;
		char *got = REQUEST(&x, "GET /v1/subscribe?channel=a HTTP/1.1\r\nHost: x\r\n\r\n");
		const char *body;

		assert_string_equal(got, "SUBSCRIBE|a");
		free(got);
		http_answer_begin(&x.answer, &x.call, &x.in.head);
		http_answer_raw(&x.answer, (const uint8_t *)v[i].reply, strlen(v[i].reply));
		http_answer_end(&x.answer);
		assert_true(x.answer.done && x.answer.streams && x.answer.close && !x.answer.cut);
		body = strstr(buf_cstr(&x.answer.out), "\r\n\r\n");
		assert_non_null(body);
		assert_non_null(strstr(buf_cstr(&x.answer.out), "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"));
		assert_int_equal(strtoul(body + 4, NULL, 16), strlen(v[i].event));
		body = strstr(body + 4, "\r\n") + 2;
		assert_int_equal(strlen(body), strlen(v[i].event) + 2); /* and no last chunk */
		assert_memory_equal(body, v[i].event, strlen(v[i].event));
		drop(&x);
	}
}

static int make_table(void **state)
{
	const char *why;
	unsigned at;

	(void)state;
	table = http_routes_new(&why, &at);
	return table ? 0 : -1;
}

static int free_table(void **state)
{
	(void)state;
	http_routes_free(table);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes),
		cmocka_unit_test(wrong_requests),
		cmocka_unit_test(kv),
		cmocka_unit_test(commands),
		cmocka_unit_test(documents),
		cmocka_unit_test(heads),
		cmocka_unit_test(large_answers),
		cmocka_unit_test(errors_in_the_middle),
		cmocka_unit_test(used_again),
		cmocka_unit_test(events),
	};

	return cmocka_run_group_tests(tests, make_table, free_table);
}
