/* SPDX-License-Identifier: Apache-2.0
 *
 * EVAL, EVALSHA and their read-only forms, SCRIPT LOAD, EXISTS, FLUSH.
 *
 * Compiled scripts are kept by their SHA1 in two tables of Lua: when the young ones have become many, they are
 * the old ones, and what was old and not used since is forgotten.
 */
#include <stdio.h>
#include "number.h"
#include "script.h"
#include "script_long.h"

struct eval {
	struct run r;                   /* first: bodies find the rest */
	purser_bytes text;              /* of EVAL */
	char sha[SHA1_HEX + 1];
};

static const char no_script[] = "NOSCRIPT No matching script. Please use EVAL.";

static void fail(struct run *r, const char *text)
{
	obuf_put(&r->out, text, strlen(text));
	r->error = 1;
}

/* Pushes what is kept for sha, and its flags; or nothing, and returns 0. */
static int kept(lua_State *L, const char *table, const char *sha, uint32_t *flags)
{
	lua_getfield(L, LUA_REGISTRYINDEX, table);
	lua_getfield(L, -1, sha);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 2);
		return 0;
	}
	lua_pushvalue(L, -1);
	lua_rawget(L, -3);
	*flags = (uint32_t)lua_tonumber(L, -1);
	lua_pop(L, 1);
	lua_remove(L, -2);
	return 1;
}

/* The function on top is young. */
static void keep(lua_State *L, struct engine *e, const char *sha, uint32_t flags, size_t bytes)
{
	if (e->young + bytes > e->max / 8) {
		lua_getfield(L, LUA_REGISTRYINDEX, "purser.young");
		lua_setfield(L, LUA_REGISTRYINDEX, "purser.old");
		lua_newtable(L);
		lua_setfield(L, LUA_REGISTRYINDEX, "purser.young");
		e->young = 0;
	}
	lua_getfield(L, LUA_REGISTRYINDEX, "purser.young");
	lua_pushvalue(L, -2);
	lua_pushnumber(L, flags);
	lua_rawset(L, -3);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, sha);
	lua_pop(L, 1);
	e->young += bytes;
}

static int find(lua_State *L, struct engine *e, const char *sha, uint32_t *flags)
{
	if (kept(L, "purser.young", sha, flags))
		return 1;
	if (!kept(L, "purser.old", sha, flags))
		return 0;
	keep(L, e, sha, *flags, 1024);
	return 1;
}

/* Compiles text and keeps it; the function is pushed.  0, or -1 with the error said. */
static int compile(lua_State *L, struct eval *v)
{
	struct engine *e = engine_of(L);
	struct run *r = &v->r;
	size_t before = e->used;
	char text[512];
	purser_bytes none = { NULL, 0 };
	int head = script_shebang(&v->text, 0, &r->flags, &none, text, sizeof(text));

	if (head < 0) {
		fail(r, text);
		return -1;
	}
	if (script_load_text(L, (const char *)v->text.p + head, v->text.n - (size_t)head, "@user_script")) {
		if (lua_tostring(L, -1) && !strcmp(lua_tostring(L, -1), "not enough memory"))
			lua_error(L);
		lua_pushfstring(L, "ERR Error compiling script (new function): %s", lua_tostring(L, -1));
		fail(r, lua_tostring(L, -1));
		return -1;
	}
	keep(L, e, v->sha, r->flags, (e->used > before ? e->used - before : 0) + 256);
	return 0;
}

int script_allowed(struct run *r)
{
	if (r->flags & SCRIPT_COMPAT)
		return 0;
	if (r->read_only && !(r->flags & SCRIPT_NO_WRITES)) {
		fail(r, "ERR Can not execute a script with write flag using *_ro command.");
		return -1;
	}
	r->read_only |= !!(r->flags & SCRIPT_NO_WRITES);
	if (r->cx->script_oom && !(r->flags & (SCRIPT_ALLOW_OOM | SCRIPT_NO_WRITES))) {
		fail(r, "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'");
		return -1;
	}
	return 0;
}

static int eval_body(lua_State *L)
{
	struct eval *v = lua_touserdata(L, 1);

	lua_settop(L, 0);
	if (!find(L, engine_of(L), v->sha, &v->r.flags)) {
		if (!v->text.p) {
			fail(&v->r, no_script);
			return 0;
		}
		if (compile(L, v))
			return 0;
	}
	if (script_allowed(&v->r) == 0)
		script_call(L, &v->r);
	return 0;
}

/* Where KEYS are.  0, or -1 with the error replied. */
static int read_keys(struct ctx *cx, purser_call *c, uint32_t *n)
{
	int64_t v;

	if (arg_int(cx, c, 2, &v))
		return -1;
	if (v > (int64_t)c->argc - 3) {
		reply_error(cx, c, "ERR Number of keys can't be greater than number of args");
		return -1;
	}
	if (v < 0) {
		reply_error(cx, c, "ERR Number of keys can't be negative");
		return -1;
	}
	*n = (uint32_t)v;
	return 0;
}

static void eval(struct ctx *cx, purser_call *c, int by_sha, int read_only)
{
	struct eval v = { .r = { .cx = cx, .c = c, .first = 3, .read_only = read_only } };
	struct engine *e;

	if (by_sha && c->argv[1].n != SHA1_HEX) {
		reply_error(cx, c, no_script);
		return;
	}
	if (read_keys(cx, c, &v.r.nkeys))
		return;
	e = engine_get(cx);
	if (!e) {
		reply_nomem(cx, c);
		return;
	}
	if (by_sha) {
		for (unsigned i = 0; i < SHA1_HEX; i++)
			v.sha[i] = (char)(c->argv[1].p[i] | (c->argv[1].p[i] >= 'A' && c->argv[1].p[i] <= 'Z' ? 32 : 0));
	} else {
		v.text = c->argv[1].n ? c->argv[1] : (purser_bytes){ (const uint8_t *)"", 0 };
		sha1_hex(v.text.p, v.text.n, v.sha);
	}
	v.r.name = v.sha;
	script_run(e, &v.r, eval_body);
}

void op_eval(struct ctx *cx, purser_call *c) { eval(cx, c, 0, 0); }
void op_eval_ro(struct ctx *cx, purser_call *c) { eval(cx, c, 0, 1); }
void op_evalsha(struct ctx *cx, purser_call *c) { eval(cx, c, 1, 0); }
void op_evalsha_ro(struct ctx *cx, purser_call *c) { eval(cx, c, 1, 1); }

/* ---- SCRIPT ---- */
static int load_body(lua_State *L)
{
	struct eval *v = lua_touserdata(L, 1);

	if (find(L, engine_of(L), v->sha, &v->r.flags) || compile(L, v) == 0)
		obuf_bulk(&v->r.out, v->sha, SHA1_HEX);
	return 0;
}

static int exists_body(lua_State *L)
{
	struct eval *v = lua_touserdata(L, 1);
	const purser_call *c = v->r.c;
	char sha[SHA1_HEX + 1] = "";
	uint32_t flags;

	obuf_head(&v->r.out, '*', (int64_t)c->argc - 2);
	for (uint32_t i = 2; i < c->argc; i++) {
		int there = 0;

		lua_settop(L, 0);
		if (c->argv[i].n == SHA1_HEX) { /* as it is spelled: Redis does not fold it here */
			memcpy(sha, c->argv[i].p, SHA1_HEX);
			there = strlen(sha) == SHA1_HEX &&
			    (kept(L, "purser.young", sha, &flags) || kept(L, "purser.old", sha, &flags));
		}
		obuf_head(&v->r.out, ':', there);
	}
	return 0;
}

static int flush_body(lua_State *L)
{
	struct eval *v = lua_touserdata(L, 1);

	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.young");
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.old");
	engine_of(L)->young = 0;
	lua_gc(L, LUA_GCCOLLECT, 0);
	obuf_put(&v->r.out, "+OK\r\n", 5);
	return 0;
}

static void script_command(struct ctx *cx, purser_call *c, lua_CFunction body)
{
	struct eval v = { .r = { .cx = cx, .c = c, .name = "" } };
	struct engine *e = engine_get(cx);

	if (!e) {
		reply_nomem(cx, c);
		return;
	}
	if (body == load_body) {
		v.text = c->argv[2].n ? c->argv[2] : (purser_bytes){ (const uint8_t *)"", 0 };
		sha1_hex(v.text.p, v.text.n, v.sha);
	}
	script_run(e, &v.r, body);
}

void op_script_load(struct ctx *cx, purser_call *c) { script_command(cx, c, load_body); }
void op_script_exists(struct ctx *cx, purser_call *c) { script_command(cx, c, exists_body); }

void op_script_flush(struct ctx *cx, purser_call *c)
{
	if (c->argc > 3 || (c->argc == 3 && !arg_is(c->argv[2], "async") && !arg_is(c->argv[2], "sync")))
		reply_error(cx, c, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
	else
		script_command(cx, c, flush_body);
}

void op_script_kill(struct ctx *cx, purser_call *c) { script_kill(cx, c, RUNS_SCRIPT); }

void op_function_kill(struct ctx *cx, purser_call *c) { script_kill(cx, c, RUNS_FUNCTION); }
