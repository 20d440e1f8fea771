/* SPDX-License-Identifier: Apache-2.0
 *
 * FUNCTION and FCALL: libraries of functions that stay.
 *
 * A library is made aside, by running its code once with an environment in which there is little more than
 * redis.register_function(); only a whole one takes its place.  Names and code are C's, the functions Lua's.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <purser/glob.h>
#include "crc64.h"
#include "number.h"
#include "rdb.h"
#include "script.h"
#include "script_long.h"

#define LIBRARY_OPCODE 0xf5              /* of a library in a payload */
#define NAME_RULE "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"

struct function {
	struct function *next;
	char *name, *description;        /* description NULL: none */
	size_t description_n;
	uint32_t flags;
	int ref;                         /* in Lua's registry */
};

struct library {
	struct library *next;
	char *name;
	struct function *fns;            /* as they were registered */
	uint8_t *code;
	size_t n;
};

struct load {
	struct run r;                    /* first */
	purser_bytes code;
	struct library *made, **end;     /* of RESTORE more than one */
	int replace, flush, restore;
};

static void fail(struct run *r, const char *text)
{
	r->out.n = 0;
	obuf_put(&r->out, text, strlen(text));
	r->error = 1;
}

/* ---- libraries ----------------------------------------------------------------------------------------------- */
static void library_free(lua_State *L, struct library *l)
{
	while (l->fns) {
		struct function *f = l->fns;

		l->fns = f->next;
		luaL_unref(L, LUA_REGISTRYINDEX, f->ref);
		free(f->name);
		free(f->description);
		free(f);
	}
	free(l->name);
	free(l->code);
	free(l);
}

static void libraries_free(lua_State *L, struct library **list)
{
	while (*list) {
		struct library *l = *list;

		*list = l->next;
		library_free(L, l);
	}
}

void function_close(struct engine *e)
{
	if (e->L)
		libraries_free(e->L, &e->libraries);
}

static struct library **find_library(struct library **list, const char *name)
{
	while (*list && strcmp((*list)->name, name) != 0)
		list = &(*list)->next;
	return list;
}

static struct function *find_in(const struct library *l, const char *name)
{
	struct function *f = l->fns;

	while (f && strcasecmp(f->name, name) != 0)
		f = f->next;
	return f;
}

static struct function *find_function(const struct engine *e, purser_bytes name)
{
	char text[512];

	if (name.n >= sizeof(text) || memchr(name.p, 0, name.n))
		return NULL;
	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	for (const struct library *l = e->libraries; l; l = l->next) {
		struct function *f = find_in(l, text);

		if (f)
			return f;
	}
	return NULL;
}

static int good_name(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)p[i]) && p[i] != '_')
			return 0;
	return n > 0 && n < 512;
}

static char *copy(const void *p, size_t n)
{
	char *s = malloc(n + 1);

	if (s) {
		if (n)
			memcpy(s, p, n);
		s[n] = '\0';
	}
	return s;
}

/* ---- redis.register_function() --------------------------------------------------------------------------------- */
static int refuse(lua_State *L, const char *text)
{
	redis_error(L, text);
	return lua_error(L);
}

/* The flags in the table on top. */
static uint32_t read_flags(lua_State *L)
{
	uint32_t flags = 0;

	for (int i = 1;; i++, lua_pop(L, 1)) {
		uint32_t flag;
		const char *s;
		size_t n;

		lua_rawgeti(L, -1, i);
		if (lua_isnil(L, -1))
			break;
		s = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
		flag = s ? script_flag(s, n) : 0;
		if (!flag)
			refuse(L, "unknown flag given");
		flags |= flag;
	}
	lua_pop(L, 1);
	return flags;
}

/* Named arguments, in a table at 1: name, callback, description end up at 2, 3, 4. */
static uint32_t read_named(lua_State *L)
{
	uint32_t flags = 0;

	lua_settop(L, 4);
	lua_pushnil(L);
	while (lua_next(L, 1)) {
		const char *key;

		if (lua_type(L, -2) == LUA_TNUMBER)
			refuse(L, "unknown argument given to redis.register_function");
		if (lua_type(L, -2) != LUA_TSTRING)
			refuse(L, "named argument key given to redis.register_function is not a string");
		key = lua_tostring(L, -2);
		if (!strcasecmp(key, "function_name")) {
			if (!lua_isstring(L, -1))
				refuse(L, "function_name argument given to redis.register_function must be a string");
			lua_replace(L, 2);
		} else if (!strcasecmp(key, "description")) {
			if (!lua_isstring(L, -1))
				refuse(L, "description argument given to redis.register_function must be a string");
			lua_replace(L, 4);
		} else if (!strcasecmp(key, "callback")) {
			if (!lua_isfunction(L, -1))
				refuse(L, "callback argument given to redis.register_function must be a function");
			lua_replace(L, 3);
		} else if (!strcasecmp(key, "flags")) {
			if (!lua_istable(L, -1))
				refuse(L, "flags argument to redis.register_function must be a table representing function flags");
			flags = read_flags(L);
			lua_pop(L, 1);
		} else {
			refuse(L, "unknown argument given to redis.register_function");
		}
	}
	if (lua_isnil(L, 2))
		refuse(L, "redis.register_function must get a function name argument");
	if (lua_isnil(L, 3))
		refuse(L, "redis.register_function must get a callback argument");
	return flags;
}

int function_register(lua_State *L)
{
	struct engine *e = engine_of(L);
	struct library *l = e->loading;
	struct function *f, **at;
	int argc = lua_gettop(L);
	uint32_t flags = 0;
	const char *name, *d;
	size_t n, dn = 0;

	if (!l)
		return refuse(L, "redis.register_function can only be called on FUNCTION LOAD command");
	if (argc < 1 || argc > 2)
		return refuse(L, "wrong number of arguments to redis.register_function");
	if (argc == 1) {
		if (!lua_istable(L, 1))
			return refuse(L, "calling redis.register_function with a single argument is only applicable to Lua "
			    "table (representing named arguments).");
		flags = read_named(L);
	} else {
		if (!lua_isstring(L, 1))
			return refuse(L, "first argument to redis.register_function must be a string");
		if (!lua_isfunction(L, 2))
			return refuse(L, "second argument to redis.register_function must be a function");
		lua_pushnil(L);
		lua_insert(L, 1);
		lua_settop(L, 4);
	}
	name = lua_tolstring(L, 2, &n);
	d = lua_tolstring(L, 4, &dn);
	if (!good_name(name, n))
		return refuse(L, NAME_RULE);
	if (find_in(l, name))
		return refuse(L, "Function already exists in the library");
	f = calloc(1, sizeof(*f));
	if (!f)
		return luaL_error(L, "not enough memory");
	f->ref = LUA_NOREF;
	f->flags = flags;
	f->description_n = dn;
	for (at = &l->fns; *at; at = &(*at)->next)
		;
	*at = f; /* from here on it goes with its library */
	f->name = copy(name, n);
	f->description = d ? copy(d, dn) : NULL;
	if (!f->name || (d && !f->description))
		return luaL_error(L, "not enough memory");
	lua_pushvalue(L, 3);
	f->ref = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

/* ---- FUNCTION LOAD ------------------------------------------------------------------------------------------------ */
/* Runs the code at head; 0, or -1 with the error said. */
static int run_code(lua_State *L, struct engine *e, struct run *r, purser_bytes code, size_t head)
{
	int rc = -1;
	const char *s;

	lua_settop(L, 0);
	lua_pushcfunction(L, env_traceback);
	if (script_load_text(L, (const char *)code.p + head, code.n - head, "@user_function")) {
		s = lua_pushfstring(L, "ERR Error compiling function: %s", lua_tostring(L, -1));
		fail(r, s);
		return -1;
	}
	env_for_functions(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, "purser.functions");
	lua_setfenv(L, -2);
	r->loading = 1;
	rc = lua_pcall(L, 0, 0, 1);
	r->loading = 0;
	env_for_functions(L, 0);
	if (rc == 0 && e->loading->fns)
		return 0;
	if (rc == 0) {
		fail(r, "ERR No functions registered");
		return -1;
	}
	if (lua_istable(L, -1)) {
		lua_pushliteral(L, "err");
		lua_rawget(L, -2);
	}
	s = lua_pushfstring(L, "ERR Error registering functions: %s", lua_isstring(L, -1) ? lua_tostring(L, -1) :
	    "unknown error");
	fail(r, s);
	return -1;
}

/* One library from its code, behind those that were made.  0, or -1 with the error said. */
static int make(lua_State *L, struct load *v, purser_bytes code)
{
	struct engine *e = engine_of(L);
	purser_bytes name = { NULL, 0 };
	struct library *l;
	uint32_t flags;
	char text[512];
	int head = script_shebang(&code, 1, &flags, &name, text, sizeof(text));

	if (head == 0)
		snprintf(text, sizeof(text), "ERR Missing library metadata");
	else if (head > 0 && !name.p)
		snprintf(text, sizeof(text), "ERR Library name was not given");
	else if (head > 0 && !good_name((const char *)name.p, name.n))
		snprintf(text, sizeof(text), "ERR " NAME_RULE);
	if (head <= 0 || !name.p || !good_name((const char *)name.p, name.n)) {
		fail(&v->r, text);
		return -1;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return luaL_error(L, "not enough memory");
	*v->end = l;
	l->name = copy(name.p, name.n);
	l->code = (uint8_t *)copy(code.p, code.n);
	l->n = code.n;
	if (!l->name || !l->code)
		return luaL_error(L, "not enough memory");
	if (!v->replace && !v->flush && *find_library(&e->libraries, l->name)) {
		snprintf(text, sizeof(text), v->restore ? "ERR Library %s already exists" :
		    "ERR Library '%s' already exists", l->name);
		fail(&v->r, text);
		return -1;
	}
	v->end = &l->next;
	e->loading = l;
	return run_code(L, e, &v->r, code, (size_t)head);
}

/* Is there such a function in a library that stays?  -1 with the error said. */
static int collide(struct engine *e, struct load *v)
{
	char text[600];

	for (struct library *o = v->flush ? NULL : e->libraries; o; o = o->next) {
		if (*find_library(&v->made, o->name))
			continue;
		for (struct library *l = v->made; l; l = l->next)
			for (struct function *f = l->fns; f; f = f->next)
				if (find_in(o, f->name)) {
					snprintf(text, sizeof(text), "ERR Function %s already exists", f->name);
					fail(&v->r, text);
					return -1;
				}
	}
	return 0;
}

/* What was made takes its place. */
static void commit(lua_State *L, struct engine *e, struct load *v)
{
	if (v->flush)
		libraries_free(L, &e->libraries);
	for (struct library *l = v->made; l; l = l->next) {
		struct library **old = find_library(&e->libraries, l->name), *gone = *old;

		if (gone) {
			*old = gone->next;
			library_free(L, gone);
		}
	}
	*v->end = e->libraries;
	e->libraries = v->made;
	v->made = NULL;
	v->end = &v->made;
}

static int load_body(lua_State *L)
{
	struct load *v = lua_touserdata(L, 1);
	struct engine *e = engine_of(L);
	size_t n;

	if (make(L, v, v->code) || collide(e, v))
		return 0;
	n = strlen(v->made->name);
	obuf_bulk(&v->r.out, v->made->name, n);
	if (!v->r.out.failed)
		commit(L, e, v);
	return 0;
}

static void run_load(struct ctx *cx, struct load *v, lua_CFunction body)
{
	struct engine *e = engine_get(cx);

	v->end = &v->made;
	v->r.name = "";
	if (!e) {
		reply_nomem(cx, v->r.c);
		return;
	}
	script_run(e, &v->r, body);
	e->loading = NULL;
	libraries_free(e->L, &v->made); /* of what failed */
}

void op_function_load(struct ctx *cx, purser_call *c)
{
	struct load v = { .r = { .cx = cx, .c = c } };
	uint32_t i;

	for (i = 2; i + 1 < c->argc; i++) {
		if (!arg_is(c->argv[i], "replace")) {
			reply_errorf(cx, c, "ERR Unknown option given: %.*s", (int)c->argv[i].n, (const char *)c->argv[i].p);
			return;
		}
		v.replace = 1;
	}
	v.code = c->argv[i];
	run_load(cx, &v, load_body);
}

/* ---- FCALL ----------------------------------------------------------------------------------------------------------- */
struct fcall { struct run r; int ref; };

static int fcall_body(lua_State *L)
{
	struct fcall *v = lua_touserdata(L, 1);

	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, v->ref);
	if (script_allowed(&v->r) == 0)
		script_call(L, &v->r);
	return 0;
}

static void fcall(struct ctx *cx, purser_call *c, int read_only)
{
	struct fcall v = { .r = { .cx = cx, .c = c, .first = 3, .read_only = read_only, .function = 1 } };
	struct engine *e = engine_get(cx);
	struct function *f;
	int64_t n;

	if (!e) {
		reply_nomem(cx, c);
		return;
	}
	f = find_function(e, c->argv[1]);
	if (!f)
		reply_error(cx, c, "ERR Function not found");
	else if (int_parse(c->argv[2].p, c->argv[2].n, &n))
		reply_error(cx, c, "ERR Bad number of keys provided");
	else if (n > (int64_t)c->argc - 3)
		reply_error(cx, c, "ERR Number of keys can't be greater than number of args");
	else if (n < 0)
		reply_error(cx, c, "ERR Number of keys can't be negative");
	else {
		v.ref = f->ref;
		v.r.name = f->name;
		v.r.flags = f->flags;
		v.r.nkeys = (uint32_t)n;
		script_run(e, &v.r, fcall_body);
	}
}

void op_fcall(struct ctx *cx, purser_call *c) { fcall(cx, c, 0); }
void op_fcall_ro(struct ctx *cx, purser_call *c) { fcall(cx, c, 1); }

/* In any case of letters, as Redis compares them here. */
static int named_like(const struct library *l, const purser_bytes *pattern)
{
	char name[512], like[512];
	size_t n = strlen(l->name);

	if (!pattern)
		return 1;
	if (pattern->n > sizeof(like))
		return 0;
	for (size_t i = 0; i < n; i++)
		name[i] = (char)tolower((unsigned char)l->name[i]);
	for (size_t i = 0; i < pattern->n; i++)
		like[i] = (char)tolower(pattern->p[i]);
	return !!purser_glob((const uint8_t *)like, pattern->n, (const uint8_t *)name, n);
}

/* ---- FUNCTION LIST, STATS, DELETE, FLUSH ---------------------------------------------------------------------------- */
static void put_function(struct ctx *cx, purser_call *c, const struct function *f)
{
	static const char *const names[] = { "no-writes", "allow-oom", "allow-stale", "no-cluster",
		"allow-cross-slot-keys" };
	size_t n = 0, i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		n += !!(f->flags & script_flag(names[i], strlen(names[i])));
	cx->h->map(c, 3);
	reply_text(cx, c, "name");
	reply_text(cx, c, f->name);
	reply_text(cx, c, "description");
	if (f->description)
		reply_bulk(cx, c, f->description, f->description_n);
	else
		reply_null(cx, c);
	reply_text(cx, c, "flags");
	cx->h->set(c, n);
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (f->flags & script_flag(names[i], strlen(names[i])))
			cx->h->status(c, names[i]);
}

static void put_library(struct ctx *cx, purser_call *c, const struct library *l, int code)
{
	size_t n = 0;

	for (const struct function *f = l->fns; f; f = f->next)
		n++;
	cx->h->map(c, code ? 4 : 3);
	reply_text(cx, c, "library_name");
	reply_text(cx, c, l->name);
	reply_text(cx, c, "engine");
	reply_text(cx, c, "LUA");
	reply_text(cx, c, "functions");
	reply_array(cx, c, n);
	for (const struct function *f = l->fns; f; f = f->next)
		put_function(cx, c, f);
	if (code) {
		reply_text(cx, c, "library_code");
		reply_bulk(cx, c, l->code, l->n);
	}
}

void op_function_list(struct ctx *cx, purser_call *c)
{
	const struct library *first = cx->st->engine ? cx->st->engine->libraries : NULL, *l;
	const purser_bytes *pattern = NULL;
	int code = 0;
	size_t n = 0;

	for (uint32_t i = 2; i < c->argc; i++) {
		if (!code && arg_is(c->argv[i], "withcode")) {
			code = 1;
		} else if (!pattern && arg_is(c->argv[i], "libraryname")) {
			if (++i >= c->argc) {
				reply_error(cx, c, "ERR library name argument was not given");
				return;
			}
			pattern = &c->argv[i];
		} else {
			reply_errorf(cx, c, "ERR Unknown argument %.*s", (int)c->argv[i].n, (const char *)c->argv[i].p);
			return;
		}
	}
	for (l = first; l; l = l->next)
		n += named_like(l, pattern);
	reply_array(cx, c, n);
	for (l = first; l; l = l->next)
		if (named_like(l, pattern))
			put_library(cx, c, l, code);
}

void op_function_stats(struct ctx *cx, purser_call *c)
{
	int64_t libraries = 0, functions = 0;

	for (const struct library *l = cx->st->engine ? cx->st->engine->libraries : NULL; l; l = l->next, libraries++)
		for (const struct function *f = l->fns; f; f = f->next)
			functions++;
	cx->h->map(c, 2);
	reply_text(cx, c, "running_script");
	reply_null(cx, c); /* one that runs keeps this command waiting */
	reply_text(cx, c, "engines");
	cx->h->map(c, 1);
	reply_text(cx, c, "LUA");
	cx->h->map(c, 2);
	reply_text(cx, c, "libraries_count");
	reply_int(cx, c, libraries);
	reply_text(cx, c, "functions_count");
	reply_int(cx, c, functions);
}

void op_function_delete(struct ctx *cx, purser_call *c)
{
	struct engine *e = cx->st->engine;
	struct library **p = e ? &e->libraries : NULL, *l;

	while (p && *p && !(strlen((*p)->name) == c->argv[2].n && memcmp((*p)->name, c->argv[2].p, c->argv[2].n) == 0))
		p = &(*p)->next;
	if (!p || !*p) {
		reply_error(cx, c, "ERR Library not found");
		return;
	}
	l = *p;
	*p = l->next;
	library_free(e->L, l);
	reply_ok(cx, c);
}

void op_function_flush(struct ctx *cx, purser_call *c)
{
	if (c->argc > 3 || (c->argc == 3 && !arg_is(c->argv[2], "async") && !arg_is(c->argv[2], "sync"))) {
		reply_error(cx, c, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
		return;
	}
	if (cx->st->engine)
		libraries_free(cx->st->engine->L, &cx->st->engine->libraries);
	reply_ok(cx, c);
}

/* ---- FUNCTION DUMP, RESTORE ------------------------------------------------------------------------------------------ */
void op_function_dump(struct ctx *cx, purser_call *c)
{
	struct obuf o = { 0 };
	uint8_t head[9], tail[RDB_FOOTER];
	uint64_t crc;

	for (const struct library *l = cx->st->engine ? cx->st->engine->libraries : NULL; l; l = l->next) {
		head[0] = LIBRARY_OPCODE;
		obuf_put(&o, head, 1);
		obuf_put(&o, head, rdb_length_bytes(head, l->n));
		obuf_put(&o, l->code, l->n);
	}
	tail[0] = RDB_VERSION;
	tail[1] = 0;
	obuf_put(&o, tail, 2);
	if (!o.failed) {
		crc = crc64(0, o.p, o.n);
		for (unsigned i = 0; i < 8; i++)
			tail[i] = (uint8_t)(crc >> 8 * i);
		obuf_put(&o, tail, 8);
	}
	if (o.failed)
		reply_nomem(cx, c);
	else
		reply_bulk(cx, c, o.p, o.n);
	obuf_free(&o);
}

static int restore_body(lua_State *L)
{
	struct load *v = lua_touserdata(L, 1);
	struct engine *e = engine_of(L);
	struct rdb_in *in = e->restoring;

	while (in->n + in->behind) {
		struct rdb_string s;
		uint8_t op;

		if (rdb_byte(in, &op) || op != LIBRARY_OPCODE) {
			fail(&v->r, "ERR given type is not a function");
			return 0;
		}
		if (rdb_string(in, &s)) {
			fail(&v->r, "ERR failed loading functions payload");
			return 0;
		}
		if (make(L, v, s.s))
			return 0;
	}
	if (collide(e, v))
		return 0;
	commit(L, e, v);
	obuf_put(&v->r.out, "+OK\r\n", 5);
	return 0;
}

void op_function_restore(struct ctx *cx, purser_call *c)
{
	struct load v = { .r = { .cx = cx, .c = c }, .restore = 1 };
	struct rdb_in in;

	if (c->argc > 4) {
		reply_errorf(cx, c, "ERR unknown subcommand or wrong number of arguments for 'RESTORE'. Try FUNCTION HELP.");
		return;
	}
	if (c->argc == 4) {
		v.flush = arg_is(c->argv[3], "flush");
		v.replace = arg_is(c->argv[3], "replace");
		if (!v.flush && !v.replace && !arg_is(c->argv[3], "append")) {
			reply_error(cx, c, "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
			return;
		}
	}
	if (rdb_open_payload(&in, cx, c->argv[2])) {
		reply_error(cx, c, "ERR DUMP payload version or checksum are wrong");
		return;
	}
	if (engine_get(cx))
		cx->st->engine->restoring = &in;
	run_load(cx, &v, restore_body);
	if (cx->st->engine)
		cx->st->engine->restoring = NULL;
	rdb_end(&in);
}

/* ---- snapshots --------------------------------------------------------------------------------------------------------- */
void function_save(const struct store *st, struct rdb_out *o)
{
	for (const struct library *l = st->engine ? st->engine->libraries : NULL; l; l = l->next) {
		rdb_put_byte(o, LIBRARY_OPCODE);
		rdb_put_string(o, (purser_bytes){ l->code, l->n });
	}
}

static int saved_body(lua_State *L)
{
	struct load *v = lua_touserdata(L, 1);
	struct engine *e = engine_of(L);
	struct library **end = &e->libraries;

	if (make(L, v, v->code) || collide(e, v))
		return 0;
	while (*end)
		end = &(*end)->next;
	*end = v->made;
	v->made = NULL;
	return 0;
}

int function_load(struct ctx *cx, purser_bytes code, char *text, size_t cap)
{
	purser_call none = { 0 };
	struct load v = { .r = { .cx = cx, .c = &none, .name = "" }, .code = code, .restore = 1 };
	struct engine *e = engine_get(cx);
	const char *said;
	int rc;

	v.end = &v.made;
	if (!e) {
		snprintf(text, cap, "out of memory");
		return -1;
	}
	script_run_body(e, &v.r, saved_body);
	e->loading = NULL;
	libraries_free(e->L, &v.made);
	rc = v.r.error || v.r.out.failed ? -1 : 0;
	said = (const char *)v.r.out.p;
	if (rc && v.r.out.failed)
		snprintf(text, cap, "out of memory");
	else if (rc)
		snprintf(text, cap, "%.*s", (int)v.r.out.n - (!strncmp(said, "ERR ", 4) ? 4 : 0),
		    said + (!strncmp(said, "ERR ", 4) ? 4 : 0));
	obuf_free(&v.r.out);
	return rc;
}
