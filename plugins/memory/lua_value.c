/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of Lua as RESP and RESP as values of Lua, by Redis' rules: numbers lose what is behind the point, an
 * array ends at its first nil, a table with one of certain fields is a status, an error, a double ...
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "number.h"
#include "script.h"

/* ---- buffers ---- */
void obuf_put(struct obuf *o, const void *p, size_t n)
{
	if (o->cap - o->n < n) {
		size_t cap = o->cap ? o->cap : 256;
		uint8_t *q = NULL;

		if (!o->failed && (!o->max || (n <= o->max && o->n <= o->max - n))) {
			while (cap - o->n < n)
				cap *= 2;
			q = realloc(o->p, cap);
		}
		if (!q) {
			o->failed = 1;
			return;
		}
		o->p = q;
		o->cap = cap;
	}
	if (n)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

void obuf_head(struct obuf *o, char type, int64_t v)
{
	char text[INT_TEXT + 4];

	obuf_put(o, text, (size_t)snprintf(text, sizeof(text), "%c%lld\r\n", type, (long long)v));
}

void obuf_bulk(struct obuf *o, const void *p, size_t n)
{
	obuf_head(o, '$', (int64_t)n);
	obuf_put(o, p, n);
	obuf_put(o, "\r\n", 2);
}

void obuf_free(struct obuf *o)
{
	free(o->p);
	*o = (struct obuf){ .max = o->max };
}

/* A line of RESP has no line ends in it. */
static void put_line(struct obuf *o, char type, const char *s, size_t n)
{
	size_t at;

	while (type == '-' && n && (s[n - 1] == '\r' || s[n - 1] == '\n'))
		n--;
	obuf_put(o, &type, 1);
	at = o->n;
	obuf_put(o, s, n);
	for (; !o->failed && at < o->n; at++)
		if (o->p[at] == '\r' || o->p[at] == '\n')
			o->p[at] = ' ';
	obuf_put(o, "\r\n", 2);
}

/* ---- from Lua ---- */
static void put_null(struct obuf *o, int to)
{
	if (to == 3)
		obuf_put(o, "_\r\n", 3);
	else
		obuf_put(o, "$-1\r\n", 5);
}

static void put_double(struct obuf *o, double v, int to)
{
	char text[64];
	int n = isinf(v) ? snprintf(text, sizeof(text), v > 0 ? "inf" : "-inf") :
	    snprintf(text, sizeof(text), "%.17g", v);

	if (to == 3)
		put_line(o, ',', text, (size_t)n);
	else
		obuf_bulk(o, text, (size_t)n);
}

/* As the conversion of x86 does it; C leaves it open. */
static int64_t whole(double v)
{
	return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : INT64_MIN;
}

/* Pushes the field of the table on top; its type. */
static int field(lua_State *L, const char *name)
{
	lua_pushstring(L, name);
	lua_rawget(L, -2);
	return lua_type(L, -1);
}

static void put_pairs(lua_State *L, struct obuf *o, int to, int from, int set)
{
	int64_t n = 0;

	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
		n++;
	obuf_head(o, to == 3 ? set ? '~' : '%' : '*', to == 3 || set ? n : 2 * n);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pushvalue(L, -2);
		value_put(L, o, to, from);
		if (set)
			lua_pop(L, 1);
		else
			value_put(L, o, to, from);
	}
}

static void put_verbatim(lua_State *L, struct obuf *o, int to)
{
	size_t n, fn;
	const char *s, *format;

	if (field(L, "format") != LUA_TSTRING) {
		lua_pop(L, 1);
		return;
	}
	format = lua_tolstring(L, -1, &fn);
	lua_pushliteral(L, "string");
	lua_rawget(L, -3);
	if (lua_type(L, -1) == LUA_TSTRING) {
		s = lua_tolstring(L, -1, &n);
		if (to == 3) {
			obuf_head(o, '=', (int64_t)n + 4);
			for (size_t i = 0; i < 3; i++)
				obuf_put(o, i < fn ? &format[i] : " ", 1);
			obuf_put(o, ":", 1);
			obuf_put(o, s, n);
			obuf_put(o, "\r\n", 2);
		} else {
			obuf_bulk(o, s, n);
		}
	}
	lua_pop(L, 2);
}

static void put_big_number(struct obuf *o, const char *s, size_t n, int to)
{
	size_t at;

	if (to == 3) {
		put_line(o, '(', s, n);
		return;
	}
	obuf_bulk(o, s, n);
	for (at = o->n - n - 2; !o->failed && at < o->n - 2; at++)
		if (o->p[at] == '\r' || o->p[at] == '\n')
			o->p[at] = ' ';
}

/* Tables that mean something else than an array.  1: it was one of them. */
static int put_special(lua_State *L, struct obuf *o, int to, int from)
{
	size_t n, at = o->n;
	const char *s;

	if (field(L, "err") == LUA_TSTRING) {
		s = lua_tolstring(L, -1, &n);
		put_line(o, '-', s, n);
	} else if (lua_pop(L, 1), field(L, "ok") == LUA_TSTRING) {
		s = lua_tolstring(L, -1, &n);
		put_line(o, '+', s, n);
	} else if (lua_pop(L, 1), field(L, "double") == LUA_TNUMBER) {
		put_double(o, lua_tonumber(L, -1), to);
	} else if (lua_pop(L, 1), field(L, "big_number") == LUA_TSTRING) {
		s = lua_tolstring(L, -1, &n);
		put_big_number(o, s, n, to);
	} else if (lua_pop(L, 1), field(L, "verbatim_string") == LUA_TTABLE) {
		put_verbatim(L, o, to);
	} else if (lua_pop(L, 1), field(L, "map") == LUA_TTABLE) {
		put_pairs(L, o, to, from, 0);
	} else if (lua_pop(L, 1), field(L, "set") == LUA_TTABLE) {
		put_pairs(L, o, to, from, 1);
	}
	lua_pop(L, 1);
	return o->n > at || o->failed;
}

static void put_array(lua_State *L, struct obuf *o, int to, int from)
{
	int n = 0;

	for (;;) {
		lua_rawgeti(L, -1, n + 1);
		if (lua_isnil(L, -1))
			break;
		lua_pop(L, 1);
		n++;
	}
	lua_pop(L, 1);
	obuf_head(o, '*', n);
	for (int i = 1; i <= n; i++) {
		lua_rawgeti(L, -1, i);
		value_put(L, o, to, from);
	}
}

void value_put(lua_State *L, struct obuf *o, int to, int from)
{
	const char *s;
	size_t n;

	if (o->failed) { /* a table may be in itself many times */
		lua_pop(L, 1);
		return;
	}
	if (!lua_checkstack(L, 4)) {
		put_line(o, '-', "ERR reached lua stack limit", 27);
		lua_pop(L, 1);
		return;
	}
	switch (lua_type(L, -1)) {
	case LUA_TSTRING:
		s = lua_tolstring(L, -1, &n);
		obuf_bulk(o, s, n);
		break;
	case LUA_TBOOLEAN:
		if (from == 3 && to == 3)
			obuf_put(o, lua_toboolean(L, -1) ? "#t\r\n" : "#f\r\n", 4);
		else if (from == 3 || lua_toboolean(L, -1))
			obuf_head(o, ':', lua_toboolean(L, -1));
		else
			put_null(o, to);
		break;
	case LUA_TNUMBER:
		obuf_head(o, ':', whole(lua_tonumber(L, -1)));
		break;
	case LUA_TTABLE:
		if (!put_special(L, o, to, from))
			put_array(L, o, to, from);
		break;
	default:
		put_null(o, to);
	}
	lua_pop(L, 1);
}

/* ---- to Lua ---- */
static int64_t number_at(const uint8_t *p, size_t n)
{
	int64_t v = 0;

	int_parse(p, n, &v);
	return v;
}

static void push_field(lua_State *L, const char *name, const void *p, size_t n)
{
	lua_createtable(L, 0, 1);
	lua_pushlstring(L, p, n);
	lua_setfield(L, -2, name);
}

/* pairs or members, the header read; bytes behind it. */
static size_t push_table(lua_State *L, const uint8_t *p, int64_t n, int set)
{
	size_t at = 0;

	lua_createtable(L, 0, 1);
	lua_createtable(L, 0, n < 1 << 20 ? (int)n : 0);
	for (int64_t i = 0; i < n; i++) {
		at += value_push(L, p + at);
		if (set)
			lua_pushboolean(L, 1);
		else
			at += value_push(L, p + at);
		lua_rawset(L, -3);
	}
	lua_setfield(L, -2, set ? "set" : "map");
	return at;
}

size_t value_push(lua_State *L, const uint8_t *p)
{
	const uint8_t *cr = (const uint8_t *)strchr((const char *)p, '\r');
	size_t head = (size_t)(cr - p) + 2, len = (size_t)(cr - p) - 1, at = 0;
	int64_t n = 0;

	luaL_checkstack(L, 6, "reply is too deep");
	if (strchr(":$*%~=", *p))
		n = number_at(p + 1, len);
	switch (*p) {
	case '+':
		push_field(L, "ok", p + 1, len);
		return head;
	case '-':
		push_field(L, "err", p + 1, len);
		return head;
	case ':':
		lua_pushnumber(L, (lua_Number)n);
		return head;
	case ',':
		lua_createtable(L, 0, 1);
		lua_pushnumber(L, strtod((const char *)p + 1, NULL));
		lua_setfield(L, -2, "double");
		return head;
	case '#':
		lua_pushboolean(L, p[1] == 't');
		return head;
	case '_':
		lua_pushnil(L);
		return head;
	case '(':
		push_field(L, "big_number", p + 1, len);
		return head;
	case '$':
		if (n < 0) {
			lua_pushboolean(L, 0);
			return head;
		}
		lua_pushlstring(L, (const char *)p + head, (size_t)n);
		return head + (size_t)n + 2;
	case '=':
		lua_createtable(L, 0, 1);
		lua_createtable(L, 0, 2);
		lua_pushlstring(L, (const char *)p + head + 4, (size_t)n - 4);
		lua_setfield(L, -2, "string");
		lua_pushlstring(L, (const char *)p + head, 3);
		lua_setfield(L, -2, "format");
		lua_setfield(L, -2, "verbatim_string");
		return head + (size_t)n + 2;
	case '%':
		return head + push_table(L, p + head, n, 0);
	case '~':
		return head + push_table(L, p + head, n, 1);
	default: /* '*' */
		if (n < 0) {
			lua_pushboolean(L, 0);
			return head;
		}
		lua_createtable(L, n < 1 << 20 ? (int)n : 0, 0);
		for (int64_t i = 1; i <= n; i++) {
			at += value_push(L, p + head + at);
			lua_rawseti(L, -2, (int)i);
		}
		return head + at;
	}
}
