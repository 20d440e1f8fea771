/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: calls made of words, what the plugin sees of them, and their replies as text.
 */
#include <config.h>
#include "kit.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/schema.h"
#include "command/command.h"

#define WORDS_MAX 512

/* ---- words ----------------------------------------------------------------------------------- */

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *at = strchr(digits, tolower((unsigned char)c));

	return c && at ? (int)(at - digits) : 0;
}

/* The next word of *at, unescaped into out; false: there is none. */
static bool next_word(const char **at, struct buf *out)
{
	const char *p = *at + strspn(*at, " ");
	char quote = '\0';

	buf_clear(out);
	if (!*p)
		return false;
	if (*p == '\'')
		quote = *p++;
	for (; *p && *p != (quote ? quote : ' '); p++) {
		if (*p != '\\') {
			buf_putc(out, *p);
			continue;
		}
		switch (*++p) {
		case 'r': buf_putc(out, '\r'); break;
		case 'n': buf_putc(out, '\n'); break;
		case '0': buf_putc(out, '\0'); break;
		case 'x':
			buf_putc(out, (char)(hex(p[1]) * 16 + hex(p[2])));
			p += 2;
			break;
		default: buf_putc(out, *p);
		}
	}
	*at = *p ? p + 1 : p;
	return true;
}

/* ---- the plugin's index ---------------------------------------------------------------------- */

static struct cmd_index cmd_lookup;

static void build_lookup(void)
{
	cmd_index_build(&cmd_lookup);
}

static const struct command *row_of(const char *name)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, build_lookup);
	return cmd_by_name(&cmd_lookup, name, strlen(name));
}

/* op and the row's name for the words; false: the plugin does not take the command. */
static bool find_op(const purser_bytes *argv, uint32_t argc, uint32_t *op, char name[64])
{
	int64_t at = -1;

	if (argc > 1) {
		snprintf(name, 64, "%.*s|%.*s", (int)argv[0].n, (const char *)argv[0].p,
			(int)argv[1].n, (const char *)argv[1].p);
		at = schema_find_op(kit.pl, name);
		if (at < 0 && row_of(name) == NULL)
			snprintf(name, 64, "%.*s", (int)argv[0].n, (const char *)argv[0].p);
		if (at < 0)
			at = schema_find_op(kit.pl, name);
	} else {
		snprintf(name, 64, "%.*s", (int)argv[0].n, (const char *)argv[0].p);
		at = schema_find_op(kit.pl, name);
	}
	*op = at < 0 ? PURSER_OP_OTHER : (uint32_t)at;
	return at >= 0 || kit.pl->p.caps & PURSER_CAP_ANY_COMMAND;
}

bool call_known(const char *words)
{
	struct buf w = { 0 };
	purser_bytes argv[2];
	char store[2][64], name[64];
	uint32_t n = 0, op;
	const char *at = words;

	while (n < 2 && next_word(&at, &w)) {
		snprintf(store[n], sizeof(store[n]), "%s", buf_cstr(&w));
		argv[n] = (purser_bytes){ (uint8_t *)store[n], strlen(store[n]) };
		n++;
	}
	buf_free(&w);
	return n > 0 && find_op(argv, n, &op, name);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void wire_word(struct buf *b, const void *p, size_t n)
{
	buf_printf(b, "$%zu\r\n", n);
	buf_put(b, p, n);
	buf_puts(b, "\r\n");
}

static void wire_call(struct buf *b, const struct kcall *k)
{
	buf_printf(b, "*%u\r\n", k->argc);
	for (uint32_t i = 0; i < k->argc; i++)
		wire_word(b, k->argv[i].p, k->argv[i].n);
}

static struct kcall *call_blank(struct purser_session *s, unsigned resp)
{
	struct kcall *k = calloc(1, sizeof(*k));
	struct purser_ctx *x = s->x;
	static _Atomic unsigned ids;

	k->id = ++ids;
	k->x = x;
	k->s = s;
	k->resp = (uint8_t)resp;
	k->wire_stop = SIZE_MAX;
	k->credit = INT64_MAX;
	k->next = x->calls;
	x->calls = k;
	return k;
}

static purser_bytes own(const purser_instance *i, purser_bytes w, bool key)
{
	size_t plen = key ? strlen(i->prefix) : 0;
	uint8_t *p = malloc(plen + w.n + 1);

	memcpy(p, i->prefix, plen);
	memcpy(p + plen, w.p + key, w.n - key);
	return (purser_bytes){ p, plen + w.n - key };
}

struct kcall *call_args(
	struct purser_session *s, unsigned resp, const purser_bytes *argv, uint32_t argc)
{
	struct kcall *k = call_blank(s, resp);
	const struct command *row;
	char name[64];

	if (!find_op(argv, argc, &k->op, name))
		kit_stop(0, "the kit asked for %s, which the plugin does not list", name);
	row = row_of(name);
	snprintf(k->name, sizeof(k->name), "%.31s", name);
	k->argc = argc;
	k->argv = calloc(argc, sizeof(*k->argv));
	k->keys = calloc(argc, sizeof(*k->keys));
	for (uint32_t i = 0; i < argc; i++) {
		bool key = i > 0 && argv[i].n && argv[i].p[0] == '@';

		k->argv[i] = own(s->x->inst, argv[i], key);
		if (key)
			k->keys[k->nkeys++] = i;
	}
	if (row && row->flags & F_WRITE)
		k->flags |= PURSER_CALL_WRITE;
	wire_call(&k->wire, k);
	return k;
}

struct kcall *call_new(struct purser_session *s, unsigned resp, const char *words)
{
	struct buf w[WORDS_MAX];
	purser_bytes argv[WORDS_MAX];
	const char *at = words;
	struct kcall *k;
	uint32_t n = 0;

	for (; n < WORDS_MAX; n++) {
		w[n] = (struct buf){ 0 };
		if (!next_word(&at, &w[n]))
			break;
		argv[n] = (purser_bytes){ (uint8_t *)buf_cstr(&w[n]), buf_len(&w[n]) };
	}
	k = call_args(s, resp, argv, n);
	for (uint32_t i = 0; i <= n && i < WORDS_MAX; i++)
		buf_free(&w[i]);
	return k;
}

struct kcall *call_batch(struct purser_session *s, unsigned resp, struct kcall **parts, uint32_t n)
{
	struct kcall *k = call_blank(s, resp);

	snprintf(k->name, sizeof(k->name), "MULTI of %u", n);
	k->op = PURSER_OP_BATCH;
	k->nparts = n;
	k->parts = calloc(n, sizeof(struct kcall *));
	k->skip = n + 1; /* OK, and QUEUED for each */
	buf_puts(&k->wire, "*1\r\n$5\r\nMULTI\r\n");
	for (uint32_t i = 0; i < n; i++) {
		k->parts[i] = parts[i];
		parts[i]->batch = k;
		k->flags |= parts[i]->flags;
		buf_put(&k->wire, buf_data(&parts[i]->wire), buf_len(&parts[i]->wire));
	}
	buf_puts(&k->wire, "*1\r\n$4\r\nEXEC\r\n");
	return k;
}

struct kcall *call(struct purser_session *s, unsigned resp, const char *words)
{
	struct kcall *k = call_new(s, resp, words);

	call_offer(k);
	return k;
}

/* ---- what the plugin sees -------------------------------------------------------------------- */

static size_t args_size(const struct kcall *k)
{
	size_t n = k->argc * (sizeof(purser_bytes) + sizeof(uint32_t));

	for (uint32_t i = 0; i < k->argc; i++)
		n += k->argv[i].n;
	return n + 64;
}

/* Copies the arguments behind the call, on the same pages. */
static void put_args(const struct kcall *k, purser_call *c, uint8_t *at)
{
	purser_bytes *argv = (purser_bytes *)(void *)at;
	uint32_t *keys = (uint32_t *)(void *)(argv + k->argc);
	uint8_t *bytes = (uint8_t *)(keys + k->argc);

	for (uint32_t i = 0; i < k->argc; i++) {
		memcpy(bytes, k->argv[i].p, k->argv[i].n);
		argv[i] = (purser_bytes){ bytes, k->argv[i].n };
		bytes += k->argv[i].n;
	}
	*bytes = 0xa5; /* arguments do not end with a NUL */
	memcpy(keys, k->keys, k->nkeys * sizeof(*keys));
	c->argv = argv;
	c->keys = k->nkeys ? keys : NULL;
}

void call_hand_over(struct kcall *k)
{
	struct purser_ctx *x = k->x;
	const struct purser_instance *i = x->inst;
	bool wire = i->p->args == PURSER_ARGS_WIRE || k->flags & PURSER_CALL_STREAMED;
	size_t tail = i->tail ? 64 : 0, parts_size = k->nparts * sizeof(purser_call *);
	size_t args = wire || k->nparts ? 0 : args_size(k);
	purser_call *c = arena_get(sizeof(*c) + tail + parts_size + args, ARENA_CALL, k);
	uint8_t *behind = (uint8_t *)(c + 1) + tail;

	*c = (purser_call){ .struct_size = (uint32_t)(sizeof(*c) + tail),
		.op = k->op,
		.flags = k->flags,
		.route = k->route,
		.resp = k->resp,
		.ns = 1,
		.ns_prefix = (uint32_t)strlen(i->prefix),
		.skip = wire ? k->skip : 0,
		.argc = k->argc,
		.nkeys = k->nkeys,
		.nparts = k->nparts,
		.wire_bytes = k->flags & PURSER_CALL_STREAMED ? UINT64_MAX : buf_len(&k->wire),
		.block_ms = k->block_ms,
		.deadline_ns = loop_now(x->loop) + UINT64_C(10000000000),
		.ctx = x,
		.session = k->s };
	if (tail)
		memcpy(c + 1, "ABCDEFGHIJKLMNOP", 16);
	if (k->nparts) {
		purser_call **parts = (purser_call **)(void *)behind;

		for (uint32_t n = 0; n < k->nparts; n++) {
			call_hand_over(k->parts[n]);
			k->parts[n]->state = CALL_TAKEN;
			parts[n] = k->parts[n]->c;
		}
		c->parts = parts;
	} else if (!wire) {
		put_args(k, c, behind);
	}
	k->c = c;
	k->seen = *c;
}

/* ---- what came ------------------------------------------------------------------------------- */

static const char *code_name(uint32_t code)
{
	static const char *const names[] = { "?", "connect", "io", "protocol", "auth", "tls",
		"nomem", "toolarge", "unsupported", "cancelled", "internal" };

	return names[code < sizeof(names) / sizeof(*names) ? code : 0];
}

const char *call_text(struct kcall *k)
{
	static const char *const executed[] = { "?", "not executed", "maybe executed", "executed" };

	buf_clear(&k->text);
	if (k->state != CALL_ENDED) {
		buf_puts(&k->text, "(pending)");
	} else if (k->failed) {
		buf_printf(&k->text, "(failed: %s, %s: %s)", code_name(k->code),
		    executed[k->executed < 4 ? k->executed : 0], k->why);
	} else if (k->nparts && k->reply.form == FORM_NONE) { /* ARGV: what the parts said */
		buf_putc(&k->text, '[');
		for (uint32_t i = 0; i < k->nparts; i++)
			buf_printf(&k->text, "%s%s", i ? " " : "", call_text(k->parts[i]));
		buf_putc(&k->text, ']');
	} else {
		reply_print(&k->reply, &k->text);
	}
	return buf_cstr(&k->text);
}

const char *run(struct purser_session *s, unsigned resp, const char *words)
{
	struct kcall *k = call(s, resp, words);

	call_wait(k);
	return call_text(k);
}

void expect(struct purser_session *s, unsigned resp, int rule, const char *words, const char *want)
{
	const char *got = run(s, resp, words);

	if (want[0] == '~' && got[0] == ':') { /* time passes: a little less will do */
		long most = strtol(want + 1, NULL, 10), is = strtol(got + 1, NULL, 10);

		if (is <= most && is > most - 20)
			return;
	}
	if (strcmp(got, want) != 0)
		kit_blame(rule, "%s gave %.300s instead of %.200s", words, got, want);
}
