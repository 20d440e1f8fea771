/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine: see script.h.
 */
#include <lua5.1/lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "number.h"
#include "script.h"
#include "script_long.h"

#define HOOK_FIRST 100               /* instructions between two looks at the clock and the memory: at first, */
#define HOOK_MOST 1000               /* as long as they are quick, */
#define HOOK_LEAST 5                 /* and when each of them takes long, as table.sort() may */
#define HOOK_NS UINT64_C(500000)
#define LOAD_NS UINT64_C(500000000)  /* for a library to register its functions */
#define LRAND48_FIRST 0x1234abcd330eull

/* ---- memory of Lua ---- */
static void *heap(void *ud, void *p, size_t old, size_t n)
{
	struct engine *e = ud;
	void *q;

	if (n == 0) {
		free(p);
		e->used -= old;
		return NULL;
	}
	if (n > old && (e->used + (n - old) > e->max || mem_must_fail(e->st)))
		return NULL;
	q = realloc(p, n);
	if (q)
		e->used += n - old;
	return q;
}

static void show_used(struct engine *e)
{
	atomic_store_explicit(&e->st->lua_used, (int64_t)e->used, memory_order_relaxed);
}

static int panic(lua_State *L)
{
	(void)L;
	abort(); /* every call of Lua's API is a protected one */
}

static int open_state(lua_State *L)
{
	env_open(L);
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.young");
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.old");
	return 0;
}

static void destroy(struct engine *e)
{
	function_close(e);
	if (e->L)
		lua_close(e->L);
	obuf_free(&e->said);
	obuf_free(&e->names);
	free(e->argv);
	free(e->keys);
	free(e->words);
	free(e);
}

static void collector_begins(struct engine *e)
{
	lua_gc(e->L, LUA_GCSETPAUSE, 150);
	lua_gc(e->L, LUA_GCSETSTEPMUL, 200);
	lua_gc(e->L, LUA_GCRESTART, 0);
	e->collector = 0;
}

struct engine *engine_get(struct ctx *cx)
{
	struct store *st = cx->st;
	struct engine *e = st->engine;

	if (LIKELY(!!e))
		return e;
	if (mem_must_fail(st) || !(e = calloc(1, sizeof(*e))))
		return NULL;
	e->st = st;
	e->max = e->said.max = e->names.max = (size_t)st->script_memory;
	e->lrand = LRAND48_FIRST;
	call_prepare(e, st->h);
	e->L = lua_newstate(heap, e);
	if (!e->L)
		goto fail;
	lua_atpanic(e->L, panic);
	if (lua_cpcall(e->L, open_state, NULL))
		goto fail;
	collector_begins(e);
	show_used(e);
	st->engine = e;
	return e;
fail:
	destroy(e);
	return NULL;
}

void engine_free(struct store *st)
{
	if (st->engine)
		destroy(st->engine);
	st->engine = NULL;
}

/* ---- the head of a script ---- */
static const struct { const char *name; uint32_t flag; } flags[] = {
	{ "no-writes", SCRIPT_NO_WRITES }, { "allow-oom", SCRIPT_ALLOW_OOM }, { "allow-stale", SCRIPT_ALLOW_STALE },
	{ "no-cluster", SCRIPT_NO_CLUSTER }, { "allow-cross-slot-keys", SCRIPT_CROSS_SLOTS },
};

uint32_t script_flag(const char *p, size_t n)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (strlen(flags[i].name) == n && memcmp(flags[i].name, p, n) == 0)
			return flags[i].flag;
	return 0;
}

static int blank(char ch) { return ch == ' ' || (ch >= '\t' && ch <= '\r'); }

/* "flags=a,b"; 0, or -1 with text. */
static int read_flags(const char *p, size_t n, uint32_t *out, char *text, size_t cap)
{
	for (int more = n != 0; more;) {
		const char *comma = n ? memchr(p, ',', n) : NULL;
		size_t k = comma ? (size_t)(comma - p) : n;
		uint32_t flag = script_flag(p, k);

		if (!flag) {
			snprintf(text, cap, "ERR Unexpected flag in script shebang: %.*s", (int)k, p);
			return -1;
		}
		*out |= flag;
		more = comma != NULL;
		p += k + (size_t)more;
		n -= k + (size_t)more;
	}
	return 0;
}

int script_shebang(const purser_bytes *body, int library, uint32_t *out, purser_bytes *name, char *text, size_t cap)
{
	const char *p = (const char *)body->p, *end, *word;
	int first = 1;

	*out = 0;
	if (body->n < 2 || memcmp(p, "#!", 2) != 0) {
		*out = SCRIPT_COMPAT;
		return 0;
	}
	end = memchr(p, '\n', body->n);
	if (!end) {
		snprintf(text, cap, library ? "ERR Invalid library metadata" : "ERR Invalid script shebang");
		return -1;
	}
	for (; p < end; first = 0) {
		size_t n;

		while (p < end && blank(*p))
			p++;
		for (word = p; p < end && !blank(*p); p++)
			;
		n = (size_t)(p - word);
		if (!n)
			break;
		if (first) {
			if (n == 5 && memcmp(word, "#!lua", 5) == 0)
				continue;
			if (library)
				snprintf(text, cap, "ERR Engine '%.*s' not found", (int)n - 2, word + 2);
			else
				snprintf(text, cap, "ERR Unexpected engine in script shebang: %.*s", (int)n, word);
			return -1;
		}
		if (library && n >= 5 && memcmp(word, "name=", 5) == 0) {
			if (name->p) {
				snprintf(text, cap, "ERR Invalid metadata value, name argument was given multiple times");
				return -1;
			}
			*name = (purser_bytes){ (const uint8_t *)word + 5, n - 5 };
		} else if (library) {
			snprintf(text, cap, "ERR Invalid metadata value given: %.*s", (int)n, word);
			return -1;
		} else if (n < 6 || memcmp(word, "flags=", 6) != 0) {
			snprintf(text, cap, "ERR Unknown lua shebang option: %.*s", (int)n, word);
			return -1;
		} else if (read_flags(word + 6, n - 6, out, text, cap)) {
			return -1;
		}
	}
	return (int)(end - (const char *)body->p);
}

/* ---- running ---- */
static void say_error(struct run *r, const char *text, size_t n)
{
	r->out.n = 0;
	obuf_put(&r->out, text, n);
	r->error = 1;
}

static void hook(lua_State *L, lua_Debug *ar);

int script_killed(lua_State *L)
{
	lua_sethook(L, hook, LUA_MASKLINE, 0); /* from now on at each line: pcall() does not help */
	redis_error(L, engine_of(L)->run->function ? "Script killed by user with FUNCTION KILL..." :
	    "Script killed by user with SCRIPT KILL...");
	return lua_error(L);
}

/* The next time sooner where instructions take long. */
static void pace(lua_State *L, struct engine *e, lua_Hook again)
{
	uint64_t now = script_runs_for(e->run->cx);
	int every = e->every;

	if (now - e->looked_ns > HOOK_NS)
		every = every / 10 < HOOK_LEAST ? HOOK_LEAST : every / 10;
	else if (every < HOOK_MOST)
		every = every * 2 < HOOK_MOST ? every * 2 : HOOK_MOST;
	e->looked_ns = now;
	if (every != e->every || lua_gethookcount(L) != every) {
		e->every = every;
		lua_sethook(L, again, LUA_MASKCOUNT, every);
	}
}

void script_worked(lua_State *L, int much)
{
	if (much && lua_gethookmask(L) == LUA_MASKCOUNT && lua_gethookcount(L) > HOOK_LEAST)
		lua_sethook(L, lua_gethook(L), LUA_MASKCOUNT, HOOK_LEAST);
}

static void hook(lua_State *L, lua_Debug *ar)
{
	struct engine *e = engine_of(L);

	(void)ar;
	if (e->used > e->max / 4) /* Lua fails where it could collect: make it collect in time */
		lua_gc(L, LUA_GCSETPAUSE, 110);
	if (!e->run)
		return;
	if (e->run->loading && script_runs_for(e->run->cx) > LOAD_NS) {
		redis_error(L, "FUNCTION LOAD timeout");
		lua_error(L);
	}
	if (script_looks_up(e->run->cx))
		script_killed(L);
	else
		pace(L, e, hook);
}

/* What the handler made of an error; on top. */
static void take_error(lua_State *L, struct run *r)
{
	size_t n, from = r->out.n;
	const char *s;

	if (lua_type(L, -1) != LUA_TTABLE) { /* no memory, or the handler itself failed */
		s = lua_tolstring(L, -1, &n);
		if (s && strcmp(s, "not enough memory") == 0) {
			static const char oom[] = "OOM the script needs more memory than script_memory allows";

			say_error(r, oom, sizeof(oom) - 1);
			return;
		}
		obuf_put(&r->out, "ERR ", 4);
		obuf_put(&r->out, s ? s : "unknown error", s ? n : 13);
		r->error = 1;
		return;
	}
	lua_pushliteral(L, "err");
	lua_rawget(L, -2);
	if (lua_type(L, -1) == LUA_TSTRING) {
		s = lua_tolstring(L, -1, &n);
		obuf_put(&r->out, s, n);
	} else {
		obuf_put(&r->out, "ERR unknown error", 17);
	}
	lua_pushliteral(L, "source");
	lua_rawget(L, -3);
	lua_pushliteral(L, "line");
	lua_rawget(L, -4);
	if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TNUMBER) {
		char line[32];

		obuf_put(&r->out, " script: ", 9);
		obuf_put(&r->out, r->name, strlen(r->name));
		obuf_put(&r->out, ", on ", 5);
		s = lua_tolstring(L, -2, &n);
		obuf_put(&r->out, s, n);
		obuf_put(&r->out, line, (size_t)snprintf(line, sizeof(line), ":%d.", (int)lua_tonumber(L, -1)));
	}
	for (; !r->out.failed && from < r->out.n; from++)
		if (r->out.p[from] == '\r' || r->out.p[from] == '\n')
			r->out.p[from] = ' ';
	r->error = 1;
}

/* skip: bytes in front of each that the script is not to see */
static void push_words(lua_State *L, const struct run *r, uint32_t from, uint32_t to, size_t skip)
{
	lua_createtable(L, (int)(to - from), 0);
	for (uint32_t i = from; i < to; i++) {
		purser_bytes a = r->c->argv[i];

		lua_pushlstring(L, (const char *)a.p + skip, a.n - skip);
		lua_rawseti(L, -2, (int)(i - from + 1));
	}
}

void script_call(lua_State *L, struct run *r)
{
	int handler;

	lua_pushcfunction(L, env_traceback);
	lua_insert(L, -2);
	handler = lua_gettop(L) - 1;
	push_words(L, r, r->first, r->first + r->nkeys, r->space.n);
	if (!r->function)
		env_set_global(L, "KEYS");
	push_words(L, r, r->first + r->nkeys, r->c->argc, 0);
	if (!r->function)
		env_set_global(L, "ARGV");
	if (lua_pcall(L, r->function ? 2 : 0, 1, handler)) {
		take_error(L, r);
		return;
	}
	value_put(L, &r->out, r->c->resp == 3 ? 3 : 2, r->resp);
	if (!r->out.failed && r->out.p[0] == '-') { /* "-text" CR LF: an error is given as its text */
		memmove(r->out.p, r->out.p + 1, r->out.n - 3);
		r->out.n -= 3;
		r->error = 1;
	}
}

void script_run_body(struct engine *e, struct run *r, lua_CFunction body)
{
	struct ctx *cx = r->cx;

	r->resp = 2;
	r->db = r->c->db;
	if (PURSER_HAS(r->c, purser_call, databases) && r->c->space)
		r->space = (purser_bytes){ r->c->space, r->c->ns_prefix };
	r->out.max = e->max;
	e->run = r;
	script_begins(cx, r->c, r->function ? RUNS_FUNCTION : RUNS_SCRIPT);
	e->every = HOOK_FIRST;
	e->looked_ns = 0;
	lua_sethook(e->L, hook, LUA_MASKCOUNT, HOOK_FIRST);
	if (lua_cpcall(e->L, body, r))
		take_error(e->L, r);
	lua_sethook(e->L, NULL, 0, 0);
	lua_settop(e->L, 0);
	if (e->collector)
		collector_begins(e);
	if (e->used > e->max / 2)
		lua_gc(e->L, LUA_GCCOLLECT, 0);
	e->run = NULL;
	script_ends(cx);
	show_used(e);
}

void script_run(struct engine *e, struct run *r, lua_CFunction body)
{
	struct ctx *cx = r->cx;

	script_run_body(e, r, body);
	if (r->out.failed)
		reply_error(cx, r->c, r->wrote ? "INDETERMINATE no memory for the reply of a script that has run" :
		    "OOM no memory for the reply of the script");
	else if (r->error)
		cx->h->error(r->c, (const char *)r->out.p, r->out.n);
	else
		cx->h->raw(r->c, r->out.p, r->out.n);
	obuf_free(&r->out);
}
