/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON bodies to commands: every text is refused with a place, or gives whole commands.  What was taken
 * is taken again when its arguments are written as JSON.  The scanner takes what jansson takes, no more
 * and no less, but for what jansson cannot hold.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/buf.h"
#include "resp/json_in.h"
#include "resp/json_scan.h"
#include "resp/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); abort(); } } while (0)

static const struct json_limits limits = { 10, 20 };

static void check_list(const struct json_cmds *c, size_t most)
{
	size_t bytes = 0;

	CHECK(!c->failed && c->ncmds && c->end[c->ncmds - 1] == c->nargv);
	for (uint32_t i = 0; i < c->ncmds; i++)
		CHECK(c->end[i] > (i ? c->end[i - 1] : 0));
	for (uint32_t i = 0; i < c->nargv; i++)
		bytes += c->argv[i].n;
	CHECK(bytes <= most);
}

/* The commands, written as a pipeline again. */
static void again(const struct json_cmds *c)
{
	struct json_cmds back = { 0 };
	struct json_bad bad;
	struct buf text = { 0 };
	bool pipeline;

	for (uint32_t i = 0; i < c->ncmds; i++) {
		uint32_t argc;
		const purser_bytes *argv = json_cmds_argv(c, i, &argc);

		for (uint32_t k = 0; k < argc; k++) {
			buf_puts(&text, k ? "," : i ? ",[" : "[[");
			if (utf8_valid(argv[k].p, argv[k].n)) {
				json_put_string(&text, argv[k].p, argv[k].n);
			} else {
				buf_puts(&text, "{\"base64\":\"");
				base64_put(&text, argv[k].p, argv[k].n);
				buf_puts(&text, "\"}");
			}
		}
		buf_putc(&text, ']');
	}
	buf_putc(&text, ']');
	CHECK(json_in_commands(&back, (const char *)buf_data(&text), buf_len(&text), &limits, &pipeline, &bad) == 0);
	CHECK(pipeline && back.ncmds == c->ncmds && back.nargv == c->nargv);
	for (uint32_t i = 0; i < c->nargv; i++)
		CHECK(back.argv[i].n == c->argv[i].n &&
		    (!c->argv[i].n || memcmp(back.argv[i].p, c->argv[i].p, c->argv[i].n) == 0));
	buf_free(&text);
	json_cmds_free(&back);
}

static void compare(const uint8_t *data, size_t size)
{
	struct json_scan s = { .p = data, .end = data + size };
	bool ours = jscan_skip(&s) == 0 && jscan_end(&s) == 0;
	json_error_t e;
	json_t *v = json_loadb((const char *)data, size,
	    JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);

	CHECK(ours || (s.error && s.at >= data && s.at <= data + size));
	if (v && !memchr(data, 0, size)) /* jansson loses a NUL behind a number */
		CHECK(ours || strstr(s.error, "deep"));
	if (!v && ours)
		CHECK(json_error_code(&e) == json_error_numeric_overflow ||
		    json_error_code(&e) == json_error_null_byte_in_key);
	json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_cmds c = { 0 };
	struct json_bad bad;
	bool pipeline;

	compare(data, size);
	if (json_in_commands(&c, (const char *)data, size, &limits, &pipeline, &bad) == 0) {
		check_list(&c, size);
		CHECK(pipeline || c.ncmds == 1);
		again(&c);
	} else {
		CHECK(strncmp(bad.text, "line ", 5) == 0 && !bad.nomem);
	}
	if (json_in_kv(&c, (const char *)data, size, &bad) == 0) {
		check_list(&c, size + 8);
		CHECK(c.ncmds == 1 && (c.nargv == 3 || c.nargv == 5));
	} else {
		CHECK(strncmp(bad.text, "line ", 5) == 0 && !bad.nomem);
	}
	json_cmds_free(&c);
	return 0;
}
