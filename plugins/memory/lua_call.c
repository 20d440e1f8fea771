/* SPDX-License-Identifier: Apache-2.0
 *
 * redis.call() and redis.pcall(): a command inside a script.  It is an ordinary operation whose replies go to
 * a host table of ours, which writes RESP into the engine's buffer; that becomes a value of Lua.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "number.h"
#include "script.h"
#include "script_long.h"

struct nested {
	purser_call c;                  /* first: replies find the rest */
	struct obuf *out;
};

/* ---- the host of a nested command ---- */
static struct obuf *out_of(purser_call *c) { return ((struct nested *)(void *)c)->out; }

static int64_t n_raw(purser_call *c, const void *p, size_t n)
{
	obuf_put(out_of(c), p, n);
	return INT32_MAX;
}

static int64_t n_raw_ref(purser_call *c, const void *p, size_t n, purser_fn release, void *arg)
{
	obuf_put(out_of(c), p, n);
	release(arg);
	return INT32_MAX;
}

static void line(purser_call *c, char type, const char *p, size_t n)
{
	obuf_put(out_of(c), &type, 1);
	obuf_put(out_of(c), p, n);
	obuf_put(out_of(c), "\r\n", 2);
}

static void n_status(purser_call *c, const char *word) { line(c, '+', word, strlen(word)); }
static void n_error(purser_call *c, const char *text, size_t n) { line(c, '-', text, n); }
static void n_integer(purser_call *c, int64_t v) { obuf_head(out_of(c), ':', v); }
static void n_bulk(purser_call *c, const void *p, size_t n) { obuf_bulk(out_of(c), p, n); }
static void n_array(purser_call *c, size_t n) { obuf_head(out_of(c), '*', (int64_t)n); }

static void n_null(purser_call *c)
{
	if (c->resp == 3)
		obuf_put(out_of(c), "_\r\n", 3);
	else
		obuf_put(out_of(c), "$-1\r\n", 5);
}

static void n_number(purser_call *c, double v)
{
	char text[64];
	int n = isinf(v) ? snprintf(text, sizeof(text), v > 0 ? "inf" : "-inf") :
	    snprintf(text, sizeof(text), "%.17g", v);

	if (c->resp == 3)
		line(c, ',', text, (size_t)n);
	else
		n_bulk(c, text, (size_t)n);
}

static void n_boolean(purser_call *c, int v)
{
	if (c->resp == 3)
		obuf_put(out_of(c), v ? "#t\r\n" : "#f\r\n", 4);
	else
		n_integer(c, !!v);
}

static void n_map(purser_call *c, size_t n)
{
	obuf_head(out_of(c), c->resp == 3 ? '%' : '*', (int64_t)(c->resp == 3 ? n : 2 * n));
}

static void n_set(purser_call *c, size_t n) { obuf_head(out_of(c), c->resp == 3 ? '~' : '*', (int64_t)n); }

static void n_end(purser_call *c) { (void)c; }

static void n_fail(purser_call *c, uint32_t code, uint32_t executed, const char *text)
{
	(void)code;
	(void)executed;
	n_error(c, text ? text : "ERR the command failed", text ? strlen(text) : 22);
}

/* ---- names ---- */
struct word { const char *name; int8_t arity; uint8_t kind; };
enum { WORD_REFUSED, WORD_ABSENT, WORD_GROUP, WORD_PING, WORD_ECHO, WORD_TIME, WORD_SELECT };
static const struct word words[] = {
#define WORD(name, arity, kind) { name, arity, kind },
#include "script_words.def"
#undef WORD
};
#define NWORDS (sizeof(words) / sizeof(*words))
#define SLOTS (sizeof(((struct engine *)0)->op_slot) / sizeof(uint32_t))

static const char *name_of(uint32_t i) { return i < OP_COUNT ? ops[i].name : words[i - OP_COUNT].name; }
static uint8_t upper(uint8_t ch) { return ch >= 'a' && ch <= 'z' ? (uint8_t)(ch - 32) : ch; }

static uint32_t hash_name(uint32_t h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ upper(p[i])) * 16777619u;
	return h;
}

static int same_name(const char *name, const purser_bytes *a, const purser_bytes *b)
{
	size_t i = 0, k;

	for (; i < a->n; i++)
		if (upper(a->p[i]) != (uint8_t)name[i])
			return 0;
	if (!b)
		return name[i] == '\0';
	if (name[i++] != '|')
		return 0;
	for (k = 0; k < b->n; k++)
		if (upper(b->p[k]) != (uint8_t)name[i + k])
			return 0;
	return name[i + k] == '\0';
}

static int find(const struct engine *e, const purser_bytes *a, const purser_bytes *b)
{
	uint32_t h = hash_name(2166136261u, a->p, a->n);

	if (b)
		h = hash_name(hash_name(h, (const uint8_t *)"|", 1), b->p, b->n);
	for (h %= SLOTS; e->op_slot[h]; h = (h + 1) % SLOTS)
		if (same_name(name_of(e->op_slot[h] - 1), a, b))
			return (int)e->op_slot[h] - 1;
	return -1;
}

/* An operation, or OP_COUNT and more: one of words[]; -1: there is none. */
int call_op(const struct engine *e, const purser_bytes *argv, uint32_t argc)
{
	int i = find(e, &argv[0], NULL);

	if (i >= OP_COUNT && words[i - OP_COUNT].kind == WORD_GROUP && argc > 1)
		return find(e, &argv[0], &argv[1]);
	return i;
}

static void add_name(struct engine *e, uint32_t i)
{
	const char *s = name_of(i);
	uint32_t at = hash_name(2166136261u, (const uint8_t *)s, strlen(s)) % SLOTS;

	while (e->op_slot[at])
		at = (at + 1) % SLOTS;
	e->op_slot[at] = i + 1;
}

void call_prepare(struct engine *e, const purser_host *h)
{
	size_t n = h->struct_size < sizeof(e->host) ? h->struct_size : sizeof(e->host);

	_Static_assert(OP_COUNT + NWORDS < SLOTS * 3 / 4, "op_slot is too small");
	memcpy(&e->host, h, n);
	e->host.struct_size = (uint32_t)n;
	e->host.raw = n_raw;
	e->host.raw_ref = n_raw_ref;
	e->host.status = n_status;
	e->host.integer = n_integer;
	e->host.bulk = n_bulk;
	e->host.null = n_null;
	e->host.number = n_number;
	e->host.boolean = n_boolean;
	e->host.array = n_array;
	e->host.map = n_map;
	e->host.set = n_set;
	e->host.error = n_error;
	e->host.end = n_end;
	e->host.fail = n_fail;
	for (uint32_t i = 0; i < NWORDS; i++) /* what comes first is found first */
		if (words[i].kind == WORD_REFUSED)
			add_name(e, OP_COUNT + i);
	for (uint32_t i = 0; i < OP_COUNT; i++)
		add_name(e, i);
	for (uint32_t i = 0; i < NWORDS; i++)
		if (words[i].kind != WORD_REFUSED)
			add_name(e, OP_COUNT + i);
}

/* ---- arguments ---- */
#define WORD_MAX 32u /* a number as text */

static int room(struct engine *e, uint32_t n)
{
	uint32_t cap = e->argv_cap ? e->argv_cap : 32;
	purser_bytes *argv;
	uint32_t *keys;
	uint8_t *text;

	if (n <= e->argv_cap)
		return 0;
	while (cap < n)
		cap *= 2;
	argv = realloc(e->argv, cap * sizeof(*argv));
	if (argv)
		e->argv = argv;
	keys = realloc(e->keys, cap * sizeof(*keys));
	if (keys)
		e->keys = keys;
	text = realloc(e->words, cap * WORD_MAX);
	if (text)
		e->words = text;
	if (!argv || !keys || !text)
		return -1;
	e->argv_cap = cap;
	return 0;
}

/* What is on the stack of L as argv; NULL, or an error's text. */
static const char *arguments(lua_State *L, struct engine *e, uint32_t argc)
{
	for (uint32_t i = 0; i < argc; i++) {
		int at = (int)i + 1;
		size_t n;

		if (lua_type(L, at) == LUA_TNUMBER) {
			char *text = (char *)e->words + i * WORD_MAX;

			n = (size_t)snprintf(text, WORD_MAX, "%.17g", lua_tonumber(L, at));
			e->argv[i] = (purser_bytes){ (uint8_t *)text, n };
		} else if (lua_type(L, at) == LUA_TSTRING) {
			const char *s = lua_tolstring(L, at, &n);

			e->argv[i] = (purser_bytes){ (const uint8_t *)s, n };
		} else {
			return "Lua redis lib command arguments must be strings or integers";
		}
	}
	return NULL;
}

/* Keys that no position tells: as the host finds them. */
static uint32_t stream_keys(const purser_bytes *argv, uint32_t argc, uint32_t *keys)
{
	uint32_t n = 0, i = 1, more;

	for (; i < argc && !arg_is(argv[i], "streams"); i++)
		if (arg_is(argv[i], "group"))
			i += 2;
		else if (arg_is(argv[i], "count") || arg_is(argv[i], "block"))
			i++;
		else if (!arg_is(argv[i], "noack"))
			return 0;
	more = i < argc ? argc - i - 1 : 0;
	for (; more % 2 == 0 && n < more / 2; n++)
		keys[n] = i + 1 + n;
	return n;
}

static uint32_t radius_keys(const purser_bytes *argv, uint32_t argc, uint32_t from, uint32_t *keys)
{
	static const char *const plain[] = { "withdist", "withhash", "withcoord", "any", "asc", "desc" };
	uint32_t n = 0, i;

	keys[n++] = 1;
	for (i = from; i < argc; i++) {
		unsigned k = 0;

		while (k < sizeof(plain) / sizeof(*plain) && !arg_is(argv[i], plain[k]))
			k++;
		if (k < sizeof(plain) / sizeof(*plain))
			continue;
		if (++i == argc)
			break;
		if (arg_is(argv[i - 1], "store") || arg_is(argv[i - 1], "storedist"))
			keys[n++] = i;
		else if (!arg_is(argv[i - 1], "count"))
			break;
	}
	return n;
}

static uint32_t told_keys(int id, const purser_bytes *argv, uint32_t argc, uint32_t *keys)
{
	const struct op *op = &ops[id];
	uint32_t n = 0, at = op->first == 1 ? 2 : (uint32_t)op->first - 1;
	int64_t count;

	if (id == OP_ID_XREAD || id == OP_ID_XREADGROUP)
		return stream_keys(argv, argc, keys);
	if (id == OP_ID_GEORADIUS || id == OP_ID_GEORADIUSBYMEMBER)
		return radius_keys(argv, argc, (uint32_t)-op->arity, keys);
	if (op->first == 1)
		keys[n++] = 1;
	if (argc <= at || int_parse(argv[at].p, argv[at].n, &count) || count <= 0)
		return n;
	for (uint32_t i = at + 1; i < argc && (int64_t)(i - at) <= count; i++)
		keys[n++] = i;
	return n;
}

uint32_t call_keys(int op, const purser_bytes *argv, uint32_t argc, uint32_t *keys)
{
	const struct op *o = &ops[op];
	uint32_t n = 0, last = o->last < 0 ? argc + (uint32_t)o->last : (uint32_t)o->last; /* the arity is right */

	if (o->flags & OP_KEYS)
		return told_keys(op, argv, argc, keys);
	for (uint32_t i = (uint32_t)o->first; o->first && i <= last && i < argc; i += (uint32_t)o->step)
		keys[n++] = i;
	return n;
}

/* ---- commands that are the host's elsewhere ---- */
static void run_word(struct engine *e, struct nested *n, const struct word *w)
{
	struct run *r = e->run;
	purser_call *c = &n->c;
	uint32_t db;

	switch (w->kind) {
	case WORD_PING:
		if (c->argc > 2)
			n_error(c, "ERR wrong number of arguments for 'ping' command", 48);
		else if (c->argc == 2)
			n_bulk(c, c->argv[1].p, c->argv[1].n);
		else
			n_status(c, "PONG");
		break;
	case WORD_ECHO:
		n_bulk(c, c->argv[1].p, c->argv[1].n);
		break;
	case WORD_TIME: {
		struct timespec ts;
		char text[INT_TEXT + 4];

		clock_gettime(CLOCK_REALTIME, &ts);
		n_array(c, 2);
		n_bulk(c, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)ts.tv_sec));
		n_bulk(c, text, (size_t)snprintf(text, sizeof(text), "%ld", ts.tv_nsec / 1000));
		break;
	}
	default: /* WORD_SELECT */
		if (arg_db(r->cx, c, 1, &db))
			break;
		if (r->space.n && db >= r->c->databases) {
			n_error(c, "ERR DB index is out of range", 28);
			break;
		}
		r->db = db;
		n_status(c, "OK");
	}
}

/* XREAD and XREADGROUP, with BLOCK among their options. */
static int waits(int op, const purser_bytes *argv, uint32_t argc)
{
	if (!(ops[op].flags & OP_BLOCKS) || strncmp(ops[op].name, "XREAD", 5) != 0)
		return 0;
	for (uint32_t i = 1; i < argc && !arg_is(argv[i], "streams"); i++)
		if (arg_is(argv[i], "block"))
			return 1;
	return 0;
}

/* Why the command may not run, or NULL. */
static const char *refusal(const struct run *r, const purser_bytes *argv, uint32_t argc, int op)
{
	int arity;

	if (op < 0)
		return "ERR Unknown Redis command called from script";
	arity = op < OP_COUNT ? ops[op].arity : words[op - OP_COUNT].arity;
	if (arity > 0 ? argc != (uint32_t)arity : argc < (uint32_t)-arity)
		return "ERR Wrong number of args calling Redis command from script";
	if (op >= OP_COUNT && words[op - OP_COUNT].kind <= WORD_GROUP)
		return "ERR This Redis command is not allowed from script";
	if (op >= OP_COUNT)
		return NULL;
	if (waits(op, argv, argc))
		return ops[op].name[5] ? "ERR xreadgroup command is not allowed with BLOCK option from scripts" :
		    "ERR xread command is not allowed with BLOCK option from scripts";
	if (ops[op].flags & (OP_SCRIPT | OP_NOSCRIPT))
		return "ERR This Redis command is not allowed from script";
	if (ops[op].flags & (OP_WRITE | OP_OOM) && r->read_only)
		return "ERR Write commands are not allowed from read-only scripts.";
	if (ops[op].flags & OP_OOM && r->cx->script_oom && !r->wrote && !(r->flags & SCRIPT_ALLOW_OOM))
		return "OOM command not allowed when used memory > 'maxmemory'.";
	return NULL;
}

/* Runs argv; the reply is in e->said. */
static void run_nested(struct engine *e, uint32_t argc, int op)
{
	struct run *r = e->run;
	struct ctx *cx = r->cx;
	const purser_host *h = cx->h;
	struct nested n = { .c = *r->c, .out = &e->said };
	purser_call *c = &n.c;

	c->op = (uint32_t)op;
	c->flags &= PURSER_CALL_INTERNAL;
	c->resp = (uint8_t)r->resp;
	c->db = (uint16_t)r->db;
	c->argc = argc;
	c->argv = e->argv;
	c->nkeys = c->nparts = 0;
	if (!r->space.n)
		c->ns_prefix = 0; /* its keys may be of any project */
	c->keys = e->keys;
	c->parts = NULL;
	c->wire_bytes = UINT64_MAX;
	c->block_ms = 0;
	c->link = NULL;
	memset(c->user, 0, sizeof(c->user));
	cx->h = &e->host;
	if (op >= OP_COUNT) {
		run_word(e, &n, &words[op - OP_COUNT]);
	} else if (!r->space.n || !confine_run(e, c)) {
		if (ops[op].flags & OP_KEYS)
			c->nkeys = told_keys(op, e->argv, argc, e->keys);
		if (ops[op].flags & (OP_WRITE | OP_OOM)) {
			c->flags |= PURSER_CALL_WRITE;
			r->wrote = 1;
		}
		op_run(cx, c);
	}
	cx->h = h;
}

void call_aside(struct engine *e, const purser_call *c)
{
	struct nested n = { .c = *c, .out = &e->said };
	size_t was = e->said.n;

	op_run(e->run->cx, &n.c);
	e->said.n = was;
}

/* {err = text, ignore_error_stats_update = true}, as redis.pcall() gives it. */
static void push_refusal(lua_State *L, const char *text, size_t n)
{
	lua_newtable(L);
	lua_pushlstring(L, text, n);
	lua_setfield(L, -2, "err");
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "ignore_error_stats_update");
}

#define SAID_KEEP 65536u /* a larger buffer is not kept for the next reply */

static int call(lua_State *L, int raise)
{
	struct engine *e = engine_of(L);
	int argc = lua_gettop(L), op;
	const char *text;
	uint32_t n;

	if (!e->run)
		return redis_error(L, "redis.call/pcall can only be called inside a script invocation"), lua_error(L);
	if (argc == 0) {
		redis_error(L, "Please specify at least one argument for this redis lib call");
		return raise ? lua_error(L) : 1;
	}
	if (room(e, (uint32_t)argc + 2))
		return luaL_error(L, "not enough memory");
	text = arguments(L, e, (uint32_t)argc);
	if (text) {
		redis_error(L, text);
		return raise ? lua_error(L) : 1;
	}
	luaL_checkstack(L, 12, NULL);
	op = call_op(e, e->argv, (uint32_t)argc);
	text = refusal(e->run, e->argv, (uint32_t)argc, op);
	n = (uint32_t)argc;
	if (!text && e->run->space.n && op < OP_COUNT)
		text = confine_in(e, &n, op);
	if (text) {
		push_refusal(L, text, strlen(text));
		return raise ? lua_error(L) : 1;
	}
	if (op < OP_COUNT && ops[op].flags & (OP_WRITE | OP_OOM) && script_writes(e->run->cx))
		return script_killed(L);
	e->said.n = 0;
	e->said.failed = 0;
	run_nested(e, n, op);
	obuf_put(&e->said, "", 1);
	if (e->said.failed) {
		obuf_free(&e->said);
		return luaL_error(L, "not enough memory");
	}
	if (e->said.p[0] == '-') {
		push_refusal(L, (const char *)e->said.p + 1, confine_error(e->run, (char *)e->said.p + 1, e->said.n - 4));
		return raise ? lua_error(L) : 1;
	}
	script_worked(L, e->said.n > SAID_KEEP);
	value_push(L, e->said.p);
	if (e->run->space.n && op < OP_COUNT)
		confine_out(L, e->run, op);
	if (e->said.cap > SAID_KEEP)
		obuf_free(&e->said);
	return 1;
}

int call_redis(lua_State *L) { return call(L, 1); }
int call_pcall(lua_State *L) { return call(L, 0); }
