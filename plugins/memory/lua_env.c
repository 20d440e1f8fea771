/* SPDX-License-Identifier: Apache-2.0
 *
 * The sandbox: the globals of Lua 5.1 that Redis lets scripts see, and no way to change them, to load bytecode,
 * to read a file or to leave anything for the next script.
 *
 * Redis' own Lua knows read-only tables; Debian's does not.  Here such a table is an empty one, the face, whose
 * metatable leads to the real one behind it, which no script can reach.  What would see through that, because
 * it does not ask metatables (next, rawset, table.insert ...), is replaced by functions that know faces.
 */
#include "script.h"
#include <lua5.1/lualib.h>
#include <lua5.1/lua-bitop.h>
#include <lua5.1/lua-cjson.h>

#define PATTERN_DEPTH 50000u               /* items of a pattern: some 100 bytes of stack each */
#define SUBJECT_LONG 65536u                /* behind it the hook comes soon */
#define READONLY "Attempt to modify a readonly table"

/* Keys of the registry. */
static char faces_key, strings_key;
static const char globals_key[] = "purser.globals"; /* what is behind _G */

struct engine *engine_of(lua_State *L)
{
	void *ud;

	lua_getallocf(L, &ud);
	return ud;
}

/* ---- faces ---- */
static void faces(lua_State *L)
{
	lua_pushlightuserdata(L, &faces_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
}

/* Pushes what is behind the value at index, or nothing and returns 0. */
static int behind(lua_State *L, int index)
{
	if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
		return 0;
	lua_pop(L, 1);
	lua_pushvalue(L, index);
	faces(L);
	lua_insert(L, -2);
	lua_rawget(L, -2);
	lua_remove(L, -2);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return 0;
	}
	return 1;
}

static int is_face(lua_State *L, int index)
{
	if (!behind(L, index))
		return 0;
	lua_pop(L, 1);
	return 1;
}

static int readonly(lua_State *L)
{
	return luaL_error(L, READONLY);
}

/* From inside a function of C: no place is said. */
static int readonly_c(lua_State *L)
{
	lua_pushliteral(L, READONLY);
	return lua_error(L);
}

void env_protect(lua_State *L)
{
	lua_newtable(L);                  /* table face */
	lua_createtable(L, 0, 2);
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, readonly);
	lua_setfield(L, -2, "__newindex");
	lua_setmetatable(L, -2);
	faces(L);                         /* table face faces */
	lua_pushvalue(L, -2);
	lua_pushvalue(L, -4);
	lua_rawset(L, -3);
	lua_pop(L, 1);
	lua_remove(L, -2);
}

/* ---- functions that do not ask metatables ---- */
static int next_of(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	if (behind(L, 1))
		lua_replace(L, 1);
	if (lua_next(L, 1))
		return 2;
	lua_pushnil(L);
	return 1;
}

/* The upvalues are the two functions: for any table, and for one that is no face. */
static int pairs_of(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_pushvalue(L, lua_upvalueindex(is_face(L, 1) ? 1 : 2));
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	return 3;
}

static int rawget_of(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 2);
	lua_settop(L, 2);
	if (behind(L, 1))
		lua_replace(L, 1);
	lua_rawget(L, 1);
	return 1;
}

/* The upvalue is the function itself, which would change a table. */
static int changes(lua_State *L)
{
	if (is_face(L, 1))
		return readonly_c(L);
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* The upvalue is the function itself, which matches one item inside the other on the stack of C: Lua 5.1 knows no
 * end of that. */
static int matches(lua_State *L)
{
	size_t n = 0, i, depth = 0;
	const char *p = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &n) : NULL;

	script_worked(L, lua_type(L, 1) == LUA_TSTRING && lua_objlen(L, 1) > SUBJECT_LONG);
	if (n > PATTERN_DEPTH)
		for (i = 0; i < n; i++)
			depth += strchr("?*+-()", p[i]) && p[i];
	if (depth > PATTERN_DEPTH)
		return luaL_error(L, "pattern too complex");
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int find_of(lua_State *L)
{
	return lua_toboolean(L, 4) ? lua_tocfunction(L, lua_upvalueindex(1))(L) : matches(L); /* plain: no pattern */
}

static int insert_of(lua_State *L)
{
	if (!is_face(L, 1))
		guard_insert(L);
	return changes(L);
}

static int getmetatable_of(lua_State *L)
{
	luaL_checkany(L, 1);
	if (lua_type(L, 1) == LUA_TSTRING) {
		lua_pushlightuserdata(L, &strings_key);
		lua_rawget(L, LUA_REGISTRYINDEX);
		return 1;
	}
	lua_getfield(L, LUA_REGISTRYINDEX, globals_key);
	if (behind(L, 1) && lua_rawequal(L, -1, -2)) { /* _G has one, which shows nothing */
		lua_getfield(L, LUA_REGISTRYINDEX, "purser.meta");
		return 1;
	}
	if (is_face(L, 1) || !lua_getmetatable(L, 1)) {
		lua_pushnil(L);
		return 1;
	}
	luaL_getmetafield(L, 1, "__metatable");
	return 1;
}

/* The upvalue is the function itself.  What a script says of the collector holds until it ends. */
static int collectgarbage_of(lua_State *L)
{
	engine_of(L)->collector = 1;
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* An error of Redis, which is a table, becomes its text. */
static int pcall_of(lua_State *L)
{
	int status;

	if (lua_gettop(L) == 0)
		lua_pushnil(L);
	status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	lua_pushboolean(L, status == 0);
	lua_insert(L, 1);
	if (status && lua_type(L, 2) == LUA_TTABLE) {
		lua_pushliteral(L, "err");
		lua_rawget(L, 2);
		if (lua_type(L, -1) == LUA_TSTRING)
			lua_replace(L, 2);
		lua_settop(L, 2);
	}
	return lua_gettop(L);
}

/* Lua calls the handler inside the count hook, where no hook can stop it; here it comes behind that. */
static int xpcall_of(lua_State *L)
{
	int status;

	luaL_checkany(L, 2);
	lua_settop(L, 2);
	lua_insert(L, 1); /* handler f */
	status = lua_pcall(L, 0, LUA_MULTRET, 0);
	if (status && status != LUA_ERRMEM) {
		if (lua_pcall(L, 1, 1, 0)) {
			lua_settop(L, 0);
			lua_pushliteral(L, "error in error handling");
		}
		lua_pushboolean(L, 0);
		lua_insert(L, 1);
		return lua_gettop(L);
	}
	lua_pushboolean(L, status == 0);
	lua_replace(L, 1);
	return lua_gettop(L);
}

/* ---- loading: text only ---- */
struct text { const char *p; size_t n; int begun; };

static const char *read_text(lua_State *L, void *arg, size_t *n)
{
	struct text *t = arg;

	(void)L;
	if (!t->n) {
		*n = 0;
		return NULL;
	}
	if (!t->begun && *t->p == LUA_SIGNATURE[0]) { /* behind a blank it is only an odd character */
		t->begun = 1;
		*n = 1;
		return " ";
	}
	t->begun = 1;
	*n = t->n;
	t->n = 0;
	return t->p;
}

int script_load_text(lua_State *L, const char *p, size_t n, const char *chunk)
{
	struct text t = { p, n, 0 };

	return lua_load(L, read_text, &t, chunk);
}

static int loaded(lua_State *L, int status)
{
	if (status == 0)
		return 1;
	lua_pushnil(L);
	lua_insert(L, -2);
	return 2;
}

static int loadstring_of(lua_State *L)
{
	size_t n;
	const char *s = luaL_checklstring(L, 1, &n);

	return loaded(L, script_load_text(L, s, n, luaL_optstring(L, 2, s)));
}

/* Slot 3 holds the piece that is being read; begun: not the first one. */
static const char *read_pieces(lua_State *L, void *arg, size_t *n)
{
	int *begun = arg;
	const char *s;

	if (*begun == 1) { /* a blank was given in front of it */
		*begun = 2;
		return lua_tolstring(L, 3, n);
	}
	luaL_checkstack(L, 2, "too many nested functions");
	lua_pushvalue(L, 1);
	lua_call(L, 0, 1);
	if (lua_isnil(L, -1)) {
		*n = 0;
		return NULL;
	}
	if (!lua_isstring(L, -1))
		luaL_error(L, "reader function must return a string");
	lua_replace(L, 3);
	s = lua_tolstring(L, 3, n);
	if (*begun == 0 && *n && *s == LUA_SIGNATURE[0]) {
		*begun = 1;
		*n = 1;
		return " ";
	}
	*begun = *begun || *n ? 2 : 0;
	return s;
}

static int load_of(lua_State *L)
{
	const char *name = luaL_optstring(L, 2, "=(load)");
	int begun = 0;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 3);
	return loaded(L, lua_load(L, read_pieces, &begun, name));
}

/* ---- random numbers: Redis' own generator, lrand48() with its own state ---- */
static double rand_next(struct engine *e)
{
	e->lrand = (e->lrand * 0x5deece66dull + 0xb) & 0xffffffffffffull;
	return (double)((uint32_t)(e->lrand >> 17) % INT32_MAX) / (double)INT32_MAX;
}

static int random_of(lua_State *L)
{
	double r = rand_next(engine_of(L));
	int lo, hi;

	switch (lua_gettop(L)) {
	case 0:
		lua_pushnumber(L, r);
		return 1;
	case 1:
		hi = luaL_checkint(L, 1);
		luaL_argcheck(L, hi >= 1, 1, "interval is empty");
		lua_pushnumber(L, (double)(int64_t)(r * hi) + 1);
		return 1;
	case 2:
		lo = luaL_checkint(L, 1);
		hi = luaL_checkint(L, 2);
		luaL_argcheck(L, lo <= hi, 2, "interval is empty");
		lua_pushnumber(L, (double)(int64_t)(r * ((double)hi - lo + 1)) + lo);
		return 1;
	default:
		return luaL_error(L, "wrong number of arguments");
	}
}

static int randomseed_of(lua_State *L)
{
	uint32_t seed = (uint32_t)luaL_checkint(L, 1);

	engine_of(L)->lrand = (uint64_t)seed << 16 | 0x330e;
	return 0;
}

/* ---- errors ---- */
int env_traceback(lua_State *L)
{
	lua_Debug ar;
	int known = lua_getstack(L, 1, &ar) && lua_getinfo(L, "nSl", &ar);

	if (known && !strcmp(ar.what, "C"))
		known = lua_getstack(L, 2, &ar) && lua_getinfo(L, "nSl", &ar);
	lua_settop(L, 1);
	if (lua_type(L, 1) != LUA_TTABLE) {
		const char *s = lua_tostring(L, 1); /* a number becomes its text */

		if (!s)
			s = lua_isnil(L, 1) ? "nil" : lua_toboolean(L, 1) ? "true" : luaL_typename(L, 1);
		if (lua_isboolean(L, 1) && !lua_toboolean(L, 1))
			s = "false";
		lua_createtable(L, 0, 3);
		lua_pushfstring(L, "ERR %s", s);
		lua_setfield(L, 2, "err");
		lua_replace(L, 1);
	}
	if (known && !is_face(L, 1)) {
		lua_pushliteral(L, "source");
		lua_pushstring(L, ar.source);
		lua_rawset(L, 1);
		lua_pushliteral(L, "line");
		lua_pushnumber(L, ar.currentline);
		lua_rawset(L, 1);
	}
	return 1;
}

static int no_global(lua_State *L)
{
	const char *s = lua_type(L, 2) == LUA_TSTRING || lua_type(L, 2) == LUA_TNUMBER ? lua_tostring(L, 2) : "(null)";

	return luaL_error(L, "Script attempted to access nonexistent global variable '%s'", s);
}

/* ---- putting it together ---- */
static void open_library(lua_State *L, lua_CFunction f, const char *name)
{
	lua_pushcfunction(L, f);
	lua_pushstring(L, name);
	lua_call(L, 1, 0);
}

static void replace(lua_State *L, int table, const char *name, lua_CFunction f)
{
	lua_pushcfunction(L, f);
	lua_setfield(L, table, name);
}

static void guard(lua_State *L, int table, const char *name, lua_CFunction by)
{
	lua_getfield(L, table, name);
	lua_pushcclosure(L, by, 1);
	lua_setfield(L, table, name);
}

static void mend_strings(lua_State *L, int old)
{
	static const char *const names[] = { "match", "gmatch", "gfind", "gsub" };

	lua_getfield(L, old, "string");
	guard(L, lua_gettop(L), "find", find_of);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		guard(L, lua_gettop(L), names[i], matches);
	lua_pop(L, 1);
}

/* Lua's own globals (index old) with other functions where theirs would do harm. */
static void mend(lua_State *L, int old)
{
	replace(L, old, "next", next_of);
	replace(L, old, "rawget", rawget_of);
	replace(L, old, "getmetatable", getmetatable_of);
	replace(L, old, "pcall", pcall_of);
	replace(L, old, "xpcall", xpcall_of);
	replace(L, old, "load", load_of);
	replace(L, old, "loadstring", loadstring_of);
	replace(L, old, "__redis__err__handler", env_traceback);
	guard(L, old, "collectgarbage", collectgarbage_of);
	guard(L, old, "rawset", changes);
	guard(L, old, "setmetatable", changes);
	lua_getfield(L, old, "table");
	guard(L, lua_gettop(L), "insert", insert_of);
	lua_pop(L, 1);
	mend_strings(L, old);
	lua_getfield(L, old, "math");
	replace(L, lua_gettop(L), "random", random_of);
	replace(L, lua_gettop(L), "randomseed", randomseed_of);
	lua_pop(L, 1);
}

static void set_pairs(lua_State *L, int to, int old)
{
	lua_getfield(L, old, "next");
	lua_getfield(L, LUA_REGISTRYINDEX, "purser.next");
	lua_pushcclosure(L, pairs_of, 2);
	lua_setfield(L, to, "pairs");
}

/* getmetatable("") is a face too; s:upper() goes by the table behind. */
static void set_strings(lua_State *L, int globals)
{
	lua_newtable(L);
	lua_getfield(L, globals, "string");
	lua_setfield(L, -2, "__index");
	env_protect(L);
	lua_pushlightuserdata(L, &strings_key);
	lua_insert(L, -2);
	lua_rawset(L, LUA_REGISTRYINDEX);
}

void env_set_global(lua_State *L, const char *name)
{
	lua_getfield(L, LUA_REGISTRYINDEX, globals_key);
	lua_insert(L, -2);
	lua_setfield(L, -2, name);
	lua_pop(L, 1);
}

/* Access to what is not there is an error: of the table on top. */
static void strict(lua_State *L)
{
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, no_global);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
}

/* The globals of functions: those of scripts but KEYS and ARGV, and another redis; and while a library is loaded
 * nothing but redis. */
static void open_functions(lua_State *L, int globals)
{
	lua_newtable(L);
	strict(L);
	redis_open(L, REDIS_LOAD);
	strict(L);
	env_protect(L);
	lua_setfield(L, -2, "redis");
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.loading");
	lua_newtable(L);
	for (lua_pushnil(L); lua_next(L, globals); lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		lua_rawset(L, -5);
	}
	lua_pushnil(L);
	lua_setfield(L, -2, "__redis__err__handler");
	redis_open(L, REDIS_FUNCTION);
	env_protect(L);
	lua_setfield(L, -2, "redis");
	strict(L);
	lua_pushvalue(L, -1);
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.calling");
	lua_pushvalue(L, -1);
	env_protect(L);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "_G");
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.functions");
	lua_pop(L, 1);
}

void env_for_functions(lua_State *L, int loading)
{
	lua_getfield(L, LUA_REGISTRYINDEX, "purser.functions");
	lua_getmetatable(L, -1);
	lua_getfield(L, LUA_REGISTRYINDEX, loading ? "purser.loading" : "purser.calling");
	lua_setfield(L, -2, "__index");
	lua_pop(L, 2);
}

void env_open(lua_State *L)
{
	static const char *const plain[] = { "_VERSION", "assert", "collectgarbage", "error", "gcinfo", "getmetatable",
		"ipairs", "load", "loadstring", "next", "pcall", "rawequal", "rawget", "rawset", "select",
		"setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall", "__redis__err__handler" };
	static const char *const libraries[] = { "string", "table", "math", "coroutine", "bit", "cjson", "struct",
		"cmsgpack", "redis" };
	int old, globals;

	lua_pushlightuserdata(L, &faces_key);
	lua_newtable(L);
	lua_rawset(L, LUA_REGISTRYINDEX);
	open_library(L, luaopen_base, "");
	open_library(L, luaopen_table, LUA_TABLIBNAME);
	open_library(L, luaopen_string, LUA_STRLIBNAME);
	open_library(L, luaopen_math, LUA_MATHLIBNAME);
	open_library(L, luaopen_bit, "bit");
	lua_pushvalue(L, LUA_GLOBALSINDEX);
	old = lua_gettop(L);
	lua_pushcfunction(L, luaopen_cjson);
	lua_call(L, 0, 1);
	guard_json_settings(L, lua_gettop(L));
	guard_json(L, lua_gettop(L));
	lua_setfield(L, old, "cjson");
	lua_pushcfunction(L, luaopen_struct);
	lua_call(L, 0, 1);
	lua_setfield(L, old, "struct");
	lua_pushcfunction(L, luaopen_cmsgpack);
	lua_call(L, 0, 1);
	lua_setfield(L, old, "cmsgpack");
	redis_open(L, REDIS_SCRIPT);
	lua_setfield(L, old, "redis");
	lua_getfield(L, old, "next");
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.next");
	guard_open(L, old);
	mend(L, old);

	lua_newtable(L);
	globals = lua_gettop(L);
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		lua_getfield(L, old, plain[i]);
		lua_setfield(L, globals, plain[i]);
	}
	set_pairs(L, globals, old);
	for (size_t i = 0; i < sizeof(libraries) / sizeof(*libraries); i++) {
		lua_getfield(L, old, libraries[i]);
		env_protect(L);
		lua_setfield(L, globals, libraries[i]);
	}
	set_strings(L, globals);
	lua_newtable(L);
	env_protect(L);
	lua_setfield(L, LUA_REGISTRYINDEX, "purser.meta");
	open_functions(L, globals);
	strict(L);
	lua_pushvalue(L, globals);
	lua_setfield(L, LUA_REGISTRYINDEX, globals_key);
	env_protect(L); /* _G */
	lua_pushvalue(L, -1);
	env_set_global(L, "_G");
	lua_replace(L, LUA_GLOBALSINDEX);
	lua_settop(L, 0);
}
