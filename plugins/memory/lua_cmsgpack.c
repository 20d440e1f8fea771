/* SPDX-License-Identifier: Apache-2.0
 *
 * The library cmsgpack of scripts: MessagePack.  A number without a fraction is an integer, in the shortest form
 * that holds it; a table with the keys 1 to n and no others is an array; tables deeper than NEST_MAX are nil.
 */
#include <limits.h>
#include <math.h>
#include "script.h"

#define NEST_MAX 16

static const char missing[] = "Missing bytes in input.", bad[] = "Bad data format in input.";

/* ---- packing ---- */
static void put(luaL_Buffer *b, uint8_t type, uint64_t v, unsigned bytes)
{
	luaL_addchar(b, (char)type);
	while (bytes--)
		luaL_addchar(b, (char)(v >> 8 * bytes));
}

static void pack_integer(luaL_Buffer *b, int64_t v)
{
	if (v >= 0) {
		if (v <= 127)
			put(b, (uint8_t)v, 0, 0);
		else if (v <= UINT8_MAX)
			put(b, 0xcc, (uint64_t)v, 1);
		else if (v <= UINT16_MAX)
			put(b, 0xcd, (uint64_t)v, 2);
		else if (v <= UINT32_MAX)
			put(b, 0xce, (uint64_t)v, 4);
		else
			put(b, 0xcf, (uint64_t)v, 8);
	} else if (v >= -32) {
		put(b, (uint8_t)v, 0, 0);
	} else if (v >= INT8_MIN) {
		put(b, 0xd0, (uint64_t)v, 1);
	} else if (v >= INT16_MIN) {
		put(b, 0xd1, (uint64_t)v, 2);
	} else if (v >= INT32_MIN) {
		put(b, 0xd2, (uint64_t)v, 4);
	} else {
		put(b, 0xd3, (uint64_t)v, 8);
	}
}

static void pack_number(luaL_Buffer *b, double v)
{
	float single = (float)v;
	uint64_t bits = 0;
	uint32_t small;

	if (v >= -0x1p63 && v < 0x1p63 && v == (double)(int64_t)v) {
		pack_integer(b, (int64_t)v);
	} else if (v == (double)single) {
		memcpy(&small, &single, 4);
		put(b, 0xca, small, 4);
	} else {
		memcpy(&bits, &v, 8);
		put(b, 0xcb, bits, 8);
	}
}

static void pack_string(luaL_Buffer *b, const char *s, size_t n)
{
	if (n < 32)
		put(b, (uint8_t)(0xa0 | n), 0, 0);
	else if (n <= UINT8_MAX)
		put(b, 0xd9, n, 1);
	else if (n <= UINT16_MAX)
		put(b, 0xda, n, 2);
	else
		put(b, 0xdb, n, 4);
	luaL_addlstring(b, s, n);
}

static void pack_count(luaL_Buffer *b, uint64_t n, uint8_t fix, uint8_t wide)
{
	if (n <= 15)
		put(b, (uint8_t)(fix | n), 0, 0);
	else if (n <= UINT16_MAX)
		put(b, wide, n, 2);
	else
		put(b, (uint8_t)(wide + 1), n, 4);
}

/* Pushes the packed form of the value at index: the buffer of Lua wants the top of the stack for itself, so
 * each table has one of its own. */
static void pack_value(lua_State *L, int index, int level);

/* Entries of the table at index; *array: the keys are 1 to n. */
static uint64_t entries(lua_State *L, int index, int *array)
{
	uint64_t n = 0, most = 0;

	*array = 1;
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		double k = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;

		n++;
		if (k < 1 || k > INT_MAX || k != (double)(int)k)
			*array = 0;
		else if ((uint64_t)k > most)
			most = (uint64_t)k;
	}
	*array = *array && most == n;
	return n;
}

static void pack_table(lua_State *L, int index, int level)
{
	luaL_Buffer b;
	int array, parts;
	uint64_t n = entries(L, index, &array);

	lua_newtable(L); /* the pieces */
	parts = lua_gettop(L);
	luaL_buffinit(L, &b);
	pack_count(&b, n, array ? 0x90 : 0x80, array ? 0xdc : 0xde);
	luaL_pushresult(&b);
	lua_rawseti(L, parts, 1);
	if (array) {
		for (uint64_t i = 1; i <= n; i++) {
			lua_rawgeti(L, index, (int)i);
			pack_value(L, lua_gettop(L), level + 1);
			lua_rawseti(L, parts, (int)i + 1);
			lua_settop(L, parts);
		}
	} else {
		int at = 1;

		lua_pushnil(L);
		while (lua_next(L, index)) {
			pack_value(L, parts + 1, level + 1);
			lua_rawseti(L, parts, ++at);
			pack_value(L, parts + 2, level + 1);
			lua_rawseti(L, parts, ++at);
			lua_settop(L, parts + 1);
		}
	}
	luaL_buffinit(L, &b);
	for (int i = 1, end = (int)lua_objlen(L, parts); i <= end; i++) {
		lua_rawgeti(L, parts, i);
		luaL_addvalue(&b);
	}
	luaL_pushresult(&b);
	lua_replace(L, parts);
	lua_settop(L, parts);
}

static void pack_value(lua_State *L, int index, int level)
{
	int type = lua_type(L, index);
	luaL_Buffer b;
	const char *s;
	size_t n;

	luaL_checkstack(L, 8, "in function mp_encode_lua_type");
	if (type == LUA_TTABLE && level < NEST_MAX) {
		pack_table(L, index, level);
		return;
	}
	luaL_buffinit(L, &b);
	switch (type) {
	case LUA_TSTRING:
		s = lua_tolstring(L, index, &n);
		pack_string(&b, s, n);
		break;
	case LUA_TBOOLEAN:
		put(&b, lua_toboolean(L, index) ? 0xc3 : 0xc2, 0, 0);
		break;
	case LUA_TNUMBER:
		pack_number(&b, lua_tonumber(L, index));
		break;
	default:
		put(&b, 0xc0, 0, 0);
	}
	luaL_pushresult(&b);
}

static int pack(lua_State *L)
{
	int argc = lua_gettop(L);

	if (argc == 0)
		return luaL_argerror(L, 0, "MessagePack pack needs input.");
	luaL_checkstack(L, argc, "Too many arguments for MessagePack pack.");
	for (int i = 1; i <= argc; i++)
		pack_value(L, i, 0);
	lua_concat(L, argc);
	return 1;
}

/* ---- unpacking ---- */
struct input { const uint8_t *p; size_t n; };

static void need(lua_State *L, const struct input *in, size_t n)
{
	if (in->n < n)
		luaL_error(L, missing);
}

/* The number in the bytes behind the type. */
static uint64_t take(lua_State *L, struct input *in, unsigned bytes)
{
	uint64_t v = 0;

	need(L, in, 1 + bytes);
	for (unsigned i = 1; i <= bytes; i++)
		v = v << 8 | in->p[i];
	in->p += 1 + bytes;
	in->n -= 1 + bytes;
	return v;
}

static void push_bytes(lua_State *L, struct input *in, uint64_t n)
{
	need(L, in, n);
	lua_pushlstring(L, (const char *)in->p, n);
	in->p += n;
	in->n -= n;
}

static void unpack_value(lua_State *L, struct input *in);

static void unpack_array(lua_State *L, struct input *in, uint64_t n)
{
	lua_newtable(L);
	luaL_checkstack(L, 4, "in function mp_decode_to_lua_array");
	for (uint64_t i = 1; i <= n; i++) {
		lua_pushnumber(L, (double)i);
		unpack_value(L, in);
		lua_settable(L, -3);
	}
}

static void unpack_map(lua_State *L, struct input *in, uint64_t n)
{
	lua_newtable(L);
	luaL_checkstack(L, 4, "in function mp_decode_to_lua_hash");
	while (n--) {
		unpack_value(L, in);
		unpack_value(L, in);
		lua_settable(L, -3);
	}
}

static void push_float(lua_State *L, uint64_t bits, int wide)
{
	uint32_t small = (uint32_t)bits;
	float single;
	double v;

	if (wide) {
		memcpy(&v, &bits, 8);
	} else {
		memcpy(&single, &small, 4);
		v = (double)single;
	}
	lua_pushnumber(L, v);
}

static void unpack_value(lua_State *L, struct input *in)
{
	uint8_t type;

	need(L, in, 1);
	luaL_checkstack(L, 4, "too many results");
	type = in->p[0];
	switch (type) {
	case 0xc0: case 0xc2: case 0xc3:
		take(L, in, 0);
		if (type == 0xc0)
			lua_pushnil(L);
		else
			lua_pushboolean(L, type == 0xc3);
		return;
	case 0xca: case 0xcb:
		push_float(L, take(L, in, type == 0xca ? 4 : 8), type == 0xcb);
		return;
	case 0xcc: case 0xcd: case 0xce: case 0xcf:
		lua_pushnumber(L, (double)take(L, in, 1u << (type - 0xcc)));
		return;
	case 0xd0:
		lua_pushnumber(L, (double)(int8_t)take(L, in, 1));
		return;
	case 0xd1:
		lua_pushnumber(L, (double)(int16_t)take(L, in, 2));
		return;
	case 0xd2:
		lua_pushnumber(L, (double)(int32_t)take(L, in, 4));
		return;
	case 0xd3:
		lua_pushnumber(L, (double)(int64_t)take(L, in, 8));
		return;
	case 0xd9: case 0xda: case 0xdb:
		push_bytes(L, in, take(L, in, 1u << (type - 0xd9)));
		return;
	case 0xdc: case 0xdd:
		unpack_array(L, in, take(L, in, type == 0xdc ? 2 : 4));
		return;
	case 0xde: case 0xdf:
		unpack_map(L, in, take(L, in, type == 0xde ? 2 : 4));
		return;
	}
	if (type <= 0x7f || type >= 0xe0) {
		take(L, in, 0);
		lua_pushnumber(L, (double)(int8_t)type);
	} else if (type <= 0x8f) {
		take(L, in, 0);
		unpack_map(L, in, type & 0xf);
	} else if (type <= 0x9f) {
		take(L, in, 0);
		unpack_array(L, in, type & 0xf);
	} else if (type <= 0xbf) {
		take(L, in, 0);
		push_bytes(L, in, type & 0x1f);
	} else {
		luaL_error(L, bad);
	}
}

/* limit 0: all that there is.  With an offset the next one comes first among the results, -1 at the end. */
static int unpack_full(lua_State *L, int limit, int offset)
{
	size_t n;
	const char *s = luaL_checklstring(L, 1, &n);
	struct input in;
	int got = 0, all = !limit && !offset;

	lua_settop(L, 1);
	if (offset < 0 || limit < 0)
		return luaL_error(L, "Invalid request to unpack with offset of %d and limit of %d.", offset, (int)n);
	if ((size_t)offset > n)
		return luaL_error(L, "Start offset %d greater than input length %d.", offset, (int)n);
	if (all)
		limit = INT_MAX;
	in = (struct input){ (const uint8_t *)s + offset, n - (size_t)offset };
	for (; in.n && got < limit; got++)
		unpack_value(L, &in);
	if (all)
		return got;
	lua_pushinteger(L, in.n ? (lua_Integer)(n - in.n) : -1);
	lua_insert(L, 2);
	return got + 1;
}

static int unpack(lua_State *L) { return unpack_full(L, 0, 0); }

static int unpack_first(lua_State *L)
{
	int offset = luaL_optint(L, 2, 0);

	return unpack_full(L, 1, offset);
}

static int unpack_some(lua_State *L)
{
	int limit = luaL_checkint(L, 2), offset = luaL_optint(L, 3, 0);

	return unpack_full(L, limit, offset);
}

int luaopen_cmsgpack(lua_State *L)
{
	static const luaL_Reg fns[] = { { "pack", pack }, { "unpack", unpack }, { "unpack_one", unpack_first },
		{ "unpack_limit", unpack_some }, { NULL, NULL } };
	static const char *const words[][2] = { { "_NAME", "cmsgpack" }, { "_VERSION", "lua-cmsgpack 0.4.0" },
		{ "_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo" },
		{ "_DESCRIPTION", "MessagePack C implementation for Lua" } };

	lua_newtable(L);
	for (const luaL_Reg *f = fns; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		lua_pushstring(L, words[i][1]);
		lua_setfield(L, -2, words[i][0]);
	}
	return 1;
}
