/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of an HTTP connection: the same requests and the same refusal however they are cut; each
 * request becomes a call or a refusal, each of them a response that is well-formed.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "server/http_answer.h"
#include "server/http_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = { 300, 1000, 12, 2000 };
static const struct json_limits json_limits = { 20, 20 };

/* A row of each kind of template, beside those of routes.def. */
static const struct http_row rows[] = {
	{ HTTP_GET, "/l", "A [<p>]", HTTP_KIND_VALUE, "s" },
	{ HTTP_POST, "/l/{n}", "B {n} <t:int> [W <w:num>] [M <m:a|b>] [P <p:int> OF <o:int=3>] [Q]", HTTP_KIND_FOUND, "s" },
	{ HTTP_GET, "/l/{n}/x/{o}", "C {o} {n} <c:list> [J <j:json>] [Q]", HTTP_KIND_FOUND, "s" },
	{ HTTP_PUT, "/l/{n}", "D {n} <?t:int=1> <v:value> <k> [L <l:list>]", HTTP_KIND_VALUE, "s" },
	{ HTTP_PATCH, "/l/{n}", "E {n} <f:pairs> <g:jsonpairs> [J <j:json>]", HTTP_KIND_VALUE, "s" },
	{ HTTP_POST, "/e", "F <*>", HTTP_KIND_JSON, "s" },
	{ HTTP_GET, "/s", "[G <c:list>] ; [H <p:list>]", HTTP_KIND_EVENTS, "s" },
};
static struct http_routes *tables[2];

#define CHECK(x) do { if (!(x)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); abort(); } } while (0)

/* The response is a head and a body of the length that it says, JSON where it says so; not looked at
 * where it is a command's own text. */
static void check_response(struct buf *out, bool passed_on)
{
	const char *text = buf_cstr(out), *body = strstr(text, "\r\n\r\n"), *length;
	json_t *v;

	CHECK(body && strncmp(text, "HTTP/1.1 ", 9) == 0);
	body += 4;
	if (strstr(text, "text/event-stream\r\n")) {
		CHECK(strstr(body, "data: ") && out->p[out->end - 1] == '\n');
		return;
	}
	length = strstr(text, "Content-Length: ");
	CHECK(length && length < body);
	if ((size_t)(body - text) == buf_len(out))
		return; /* HEAD */
	CHECK(strtoul(length + 16, NULL, 10) == buf_len(out) - (size_t)(body - text));
	if (!strstr(text, passed_on ? "problem+json\r\n" : "json\r\n"))
		return;
	v = json_loadb(body, buf_len(out) - (size_t)(body - text),
	    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	CHECK(v);
	json_decref(v);
}

/* As many words as the template may become, the first of them the command's name. */
static void check_words(const struct http_call *c)
{
	const struct http_words *w = &c->route->words;
	purser_bytes name = http_route_name(c->route->text);
	uint32_t argc;
	purser_bytes *argv;

	CHECK(c->cmds.ncmds > 0);
	argv = json_cmds_argv(&c->cmds, 0, &argc);
	if (!name.n || w->ncommands > 1)
		return;
	CHECK(argc >= w->min && argc <= w->max);
	CHECK(argv->n == name.n && memcmp(argv->p, name.p, name.n) == 0);
}

static void answer(struct http_in *in, const struct http_routes *table)
{
	static const char *const replies[] = { "+OK\r\n", ":1\r\n", "$-1\r\n", "*1\r\n$1\r\n\xff\r\n", "!ERR x",
		">3\r\n$7\r\nmessage\r\n$1\r\n\n\r\n$1\r\nb\r\n" };
	struct http_call call = { 0 };
	struct http_answer a = { { 0 } };
	size_t pick = in->head.len + buf_len(&in->body);

	if (http_call_make(&call, table, &in->head, buf_data(&in->body), buf_len(&in->body), &json_limits)) {
		CHECK(call.bad.status >= 400 && call.bad.status != 507 && *call.bad.text);
		http_answer_refuse(&a, &in->head, &call.bad, false);
	} else {
		check_words(&call);
		http_answer_begin(&a, &call, &in->head);
		while (!a.done) {
			const char *r = replies[(pick + a.at) % 6];

			if (*r == '!') {
				http_answer_error(&a, ERR_REDIS, r + 1, strlen(r) - 1);
			} else {
				http_answer_raw(&a, (const uint8_t *)r, strlen(r));
				http_answer_end(&a);
			}
		}
	}
	CHECK(a.done && !a.out.failed && buf_len(&a.out) && !a.cut);
	check_response(&a.out, call.route && call.route->kind == HTTP_KIND_JSON);
	http_answer_free(&a);
	http_call_free(&call);
}

static void play(const uint8_t *p, size_t n, size_t step, struct buf *log, bool answers)
{
	struct http_in in;
	size_t at = 0;

	http_in_init(&in, &limits);
	while (at < n && in.event != HTTP_IN_BAD) {
		size_t len = n - at < step ? n - at : step, used = 0;

		while (used < len && in.event != HTTP_IN_BAD) {
			used += http_in_feed(&in, p + at + used, len - used);
			CHECK(used <= len);
			if (in.event == HTTP_IN_CONTINUE)
				buf_putc(log, 'c');
			if (in.event != HTTP_IN_REQUEST)
				continue;
			buf_printf(log, "r%d %zu %u ", in.head.method, in.head.len, in.head.nlines);
			buf_put(log, buf_data(&in.body), buf_len(&in.body));
			for (int i = 0; i < 2 && answers; i++)
				answer(&in, tables[i]);
			http_in_next(&in);
		}
		at += len;
	}
	if (in.event == HTTP_IN_BAD) {
		struct http_answer a = { { 0 } };

		buf_printf(log, "b%d %s", in.head.bad.status, in.head.bad.text);
		http_answer_refuse(&a, &in.head, &in.head.bad, true);
		CHECK(a.close);
		check_response(&a.out, false);
		http_answer_free(&a);
	}
	http_in_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, cut = { 0 };
	const char *why;
	unsigned at;

	if (!tables[0]) {
		tables[0] = http_routes_new(&why, &at);
		tables[1] = http_routes_make(rows, sizeof rows / sizeof *rows, &why, &at);
		CHECK(tables[0] && tables[1]);
	}
	play(data, size, size ? size : 1, &whole, true);
	for (size_t step = 1; step < 40; step = step * 3 + 1) {
		buf_clear(&cut);
		play(data, size, step, &cut, false);
		CHECK(buf_len(&whole) == buf_len(&cut));
		CHECK(buf_len(&cut) == 0 || memcmp(buf_data(&whole), buf_data(&cut), buf_len(&cut)) == 0);
	}
	buf_free(&whole);
	buf_free(&cut);
	return 0;
}
