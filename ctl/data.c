/* SPDX-License-Identifier: Apache-2.0 */
/* purserctl: keys and commands. */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "ctl.h"

/* "value" and, when it is not text, "encoding": as GET /redis/kv does. */
static json_t *json_value(json_t *o, const redisReply *r)
{
	json_t *v = json_text(r->str, r->len), *packed = json_object_get(v, "base64");

	json_object_set(o, "value", packed ? packed : v);
	if (packed)
		json_object_set_new(o, "encoding", json_string("base64"));
	json_decref(v);
	return o;
}

int cmd_get(struct ctl *x)
{
	redisReply *r;
	int rc = ctl_ask_words(x, &r, "GET", x->argv[0], NULL);

	if (rc != CTL_OK)
		return rc;
	if (r->type == REDIS_REPLY_NIL) {
		rc = CTL_NO;
		if (x->json)
			print_json(json_pack("{s:o,s:n}", "key", json_text(x->argv[0], strlen(x->argv[0])),
			    "value"));
		else
			fprintf(stderr, "purserctl: there is no key %s\n", x->argv[0]);
	} else if (x->json) {
		rc = print_json(json_value(json_pack("{s:o}", "key", json_text(x->argv[0],
		    strlen(x->argv[0]))), r));
	} else {
		fwrite(r->str, 1, r->len, stdout);
		if (!x->raw)
			putchar('\n');
	}
	freeReplyObject(r);
	return rc;
}

static int read_stdin(struct ctl *x, struct buf *b)
{
	ssize_t n;

	for (;;) {
		if (buf_room(b, 65536) != 0)
			return ctl_fail(x, CTL_USAGE, "--stdin: the value is larger than 512 MiB, or memory is out");
		n = read(STDIN_FILENO, b->p + b->end, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ctl_fail(x, CTL_USAGE, "--stdin: %s", strerror(errno));
		if (n == 0)
			return CTL_OK;
		b->end += (size_t)n;
	}
}

static int set_it(struct ctl *x, const void *value, size_t n)
{
	const char *argv[8] = { "SET", x->argv[0], value };
	size_t len[8] = { 3, strlen(x->argv[0]), n };
	redisReply *r;
	int argc = 3, rc;
	bool stored;

#define ADD(word) do { argv[argc] = (word); len[argc] = strlen(argv[argc]); argc++; } while (0)
	if (x->ex || x->px) {
		ADD(x->ex ? "EX" : "PX");
		ADD(x->ex ? x->ex : x->px);
	}
	if (x->nx || x->xx)
		ADD(x->nx ? "NX" : "XX");
#undef ADD
	rc = ctl_ask(x, argc, argv, len, &r);
	if (rc != CTL_OK)
		return rc;
	stored = r->type != REDIS_REPLY_NIL;
	freeReplyObject(r);
	if (x->json)
		rc = print_json(json_pack("{s:o,s:b}", "key", json_text(x->argv[0], strlen(x->argv[0])),
		    "stored", stored));
	else if (stored)
		puts("OK");
	else
		fprintf(stderr, "purserctl: not stored: %s\n", x->nx ? "the key exists (--nx)" :
		    "the key does not exist (--xx)");
	return rc != CTL_OK ? rc : stored ? CTL_OK : CTL_NO;
}

int cmd_set(struct ctl *x)
{
	struct buf b = { .max = (512u << 20) + 65536 };
	int rc;

	if (x->from_stdin ? x->argc != 1 : x->argc != 2)
		return ctl_fail(x, CTL_USAGE, "give a value, or --stdin and no value: purserctl help set");
	if ((x->ex && x->px) || (x->nx && x->xx))
		return ctl_fail(x, CTL_USAGE, "--ex or --px, --nx or --xx: not both");
	if (!x->from_stdin)
		return set_it(x, x->argv[1], strlen(x->argv[1]));
	rc = read_stdin(x, &b);
	if (rc == CTL_OK)
		rc = set_it(x, buf_len(&b) ? (const void *)buf_data(&b) : "", buf_len(&b));
	buf_free(&b);
	return rc;
}

/* NAME and all words of the command line. */
static int ask_all(struct ctl *x, const char *name, redisReply **out)
{
	int argc = 0, n = x->argc + 1, rc;
	const char **argv = calloc((size_t)n, sizeof *argv);
	size_t *len = calloc((size_t)n, sizeof *len);

	if (!argv || !len) {
		rc = ctl_fail(x, CTL_ERROR, "out of memory");
	} else {
		if (name)
			argv[argc++] = name;
		for (int i = 0; i < x->argc; i++)
			argv[argc++] = x->argv[i];
		for (int i = 0; i < argc; i++)
			len[i] = strlen(argv[i]);
		rc = ctl_ask(x, argc, argv, len, out);
	}
	free(argv);
	free(len);
	return rc;
}

int cmd_del(struct ctl *x)
{
	redisReply *r;
	int rc = ask_all(x, "DEL", &r);
	long long n;

	if (rc != CTL_OK)
		return rc;
	n = r->type == REDIS_REPLY_INTEGER ? r->integer : 0;
	freeReplyObject(r);
	if (x->json)
		rc = print_json(json_pack("{s:I}", "deleted", (json_int_t)n));
	else
		printf("%lld deleted\n", n);
	return rc != CTL_OK ? rc : n ? CTL_OK : CTL_NO;
}

int cmd_command(struct ctl *x)
{
	redisReply *r;
	int rc = ask_all(x, NULL, &r);

	if (rc != CTL_OK)
		return rc;
	if (x->json)
		rc = print_json(json_of_reply(r));
	else
		print_reply(x, r);
	freeReplyObject(r);
	return rc;
}
