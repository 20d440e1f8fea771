/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of Lua's libraries in which one call could end the agent, or keep its worker for minutes out of the
 * hook's reach: with a look at their arguments before they run.
 */
#include "script.h"

#define WORK 65536                   /* bytes, or items, of a call behind which the hook comes soon */
#define SHIFTS_MAX 1000000
#define JSON_MAX ((size_t)256 << 20) /* its buffer counts in an int, and leaves the process when that ends */

/* The upvalue is the function itself. */
static int go_on(lua_State *L) { return lua_tocfunction(L, lua_upvalueindex(1))(L); }

/* string.rep: nothing, however often, is nothing */
static int rep_of(lua_State *L)
{
	if (lua_type(L, 1) == LUA_TSTRING && lua_objlen(L, 1) == 0 && lua_isnumber(L, 2)) {
		lua_pushliteral(L, "");
		return 1;
	}
	script_worked(L, lua_type(L, 1) == LUA_TSTRING && lua_tonumber(L, 2) * (double)lua_objlen(L, 1) > WORK);
	return go_on(L);
}

/* table.sort, concat, remove */
static int table_of(lua_State *L)
{
	script_worked(L, lua_type(L, 1) == LUA_TTABLE && lua_objlen(L, 1) > WORK / 16);
	return go_on(L);
}

/* table.insert far in front of a table moves what is not there */
void guard_insert(lua_State *L)
{
	if (lua_gettop(L) == 3 && lua_isnumber(L, 2) && lua_tonumber(L, 2) < -SHIFTS_MAX)
		luaL_argerror(L, 2, "position out of bounds");
	script_worked(L, lua_gettop(L) == 3 && lua_type(L, 1) == LUA_TTABLE && lua_objlen(L, 1) > WORK / 16);
}

/* Takes the bytes of the value on top from *left; 0: there are not so many. */
static int weigh(lua_State *L, size_t *left)
{
	size_t n = lua_type(L, -1) == LUA_TSTRING ? lua_objlen(L, -1) + 3 : 2;
	int fits = 1;

	if (n > *left)
		return 0;
	*left -= n;
	if (lua_type(L, -1) != LUA_TTABLE || !lua_checkstack(L, 3)) /* cjson goes no deeper either */
		return 1;
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		n = lua_type(L, -2) == LUA_TSTRING ? lua_objlen(L, -2) + 3 : 0;
		fits = n <= *left;
		*left -= fits ? n : 0;
		if (!fits || !weigh(L, left)) {
			lua_pop(L, 2);
			return 0;
		}
	}
	return 1;
}

/* cjson.encode: its buffer is not of Lua's memory.  The first upvalue is what the function finds there. */
static int encode_of(lua_State *L)
{
	size_t first = engine_of(L)->max < JSON_MAX ? engine_of(L)->max : JSON_MAX, left = first;

	if (lua_gettop(L) == 1 && !weigh(L, &left)) {
		redis_error(L, "-OOM the script needs more memory than script_memory allows");
		return lua_error(L);
	}
	script_worked(L, first - left > WORK);
	return lua_tocfunction(L, lua_upvalueindex(2))(L);
}

/* Settings of cjson stay when the script has ended, and there are scripts of other projects. */
static int setting_of(lua_State *L)
{
	const struct engine *e = engine_of(L);

	if (e->run && e->run->space.n)
		return luaL_error(L, "this setting of cjson would hold for every project of the store: cjson.new() has its own");
	return lua_tocfunction(L, lua_upvalueindex(2))(L);
}

static void guard(lua_State *L, int table, const char *name, lua_CFunction f)
{
	lua_getfield(L, table, name);
	lua_pushcclosure(L, f, 1);
	lua_setfield(L, table, name);
}

/* cjson.new(): another one */
static int new_of(lua_State *L)
{
	lua_settop(L, 0);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_call(L, 0, 1);
	guard_json(L, 1);
	return 1;
}

/* The function goes by what it finds in its first upvalue. */
static void guard_second(lua_State *L, int table, const char *name, lua_CFunction f)
{
	lua_getfield(L, table, name);
	if (!lua_isfunction(L, -1)) {
		lua_pop(L, 1);
		return;
	}
	if (!lua_getupvalue(L, -1, 1))
		lua_pushnil(L);
	lua_insert(L, -2);
	lua_pushcclosure(L, f, 2);
	lua_setfield(L, table, name);
}

void guard_json_settings(lua_State *L, int cjson)
{
	static const char *const names[] = { "encode_sparse_array", "encode_max_depth", "decode_max_depth",
		"encode_number_precision", "encode_keep_buffer", "encode_invalid_numbers", "decode_invalid_numbers" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		guard_second(L, cjson, names[i], setting_of);
}

void guard_json(lua_State *L, int cjson)
{
	guard_second(L, cjson, "encode", encode_of);
	guard(L, cjson, "new", new_of);
}

void guard_open(lua_State *L, int globals)
{
	int t;

	lua_getfield(L, globals, "string");
	t = lua_gettop(L);
	guard(L, t, "rep", rep_of);
	lua_getfield(L, globals, "table");
	guard(L, t + 1, "remove", table_of);
	guard(L, t + 1, "concat", table_of);
	guard(L, t + 1, "sort", table_of);
	lua_settop(L, t - 1);
}
