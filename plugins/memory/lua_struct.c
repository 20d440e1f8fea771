/* SPDX-License-Identifier: Apache-2.0
 *
 * The library struct of scripts: C structures in strings.
 *
 *   <  >  !n       byte order, alignment (of n bytes at most)
 *   x              a byte of padding
 *   b h l i  T     integers: 1, 2, 8, n (in) bytes, size_t; upper case without sign
 *   f d            float, double
 *   cn  c0  s      n bytes; all of the string, or as many as the number before says; up to a NUL
 */
#include <ctype.h>
#include <limits.h>
#include "script.h"

#define INT_BYTES_MAX 32

struct format {
	const char *at;
	int big;                        /* byte order */
	size_t align;
};

/* Digits, or what is usual. */
static size_t digits(lua_State *L, struct format *f, size_t usual)
{
	size_t v = 0;

	if (!isdigit((unsigned char)*f->at))
		return usual;
	for (; isdigit((unsigned char)*f->at); f->at++) {
		v = v * 10 + (size_t)(*f->at - '0');
		if (v > INT_MAX)
			luaL_error(L, "integral size overflow");
	}
	return v;
}

/* The next letter, with its size; 0 at the end. */
static char letter(lua_State *L, struct format *f, size_t *size)
{
	char ch = *f->at;

	*size = 0;
	if (!ch)
		return 0;
	f->at++;
	switch (ch) {
	case 'b': case 'B': case 'x':
		*size = 1;
		break;
	case 'h': case 'H':
		*size = sizeof(short);
		break;
	case 'l': case 'L':
		*size = sizeof(long);
		break;
	case 'T':
		*size = sizeof(size_t);
		break;
	case 'f':
		*size = sizeof(float);
		break;
	case 'd':
		*size = sizeof(double);
		break;
	case 'c':
		*size = digits(L, f, 1);
		break;
	case 'i': case 'I':
		*size = digits(L, f, sizeof(int));
		if (*size > INT_BYTES_MAX)
			luaL_error(L, "integral size %d is larger than limit of %d", (int)*size, INT_BYTES_MAX);
		break;
	}
	return ch;
}

static void control(lua_State *L, struct format *f, char ch)
{
	size_t a;

	switch (ch) {
	case ' ':
		return;
	case '<':
		f->big = 0;
		return;
	case '>':
		f->big = 1;
		return;
	case '!':
		a = digits(L, f, sizeof(double));
		if (a == 0 || a & (a - 1))
			luaL_error(L, "alignment %d is not a power of 2", (int)a);
		f->align = a;
		return;
	default:
		luaL_argerror(L, 1, lua_pushfstring(L, "invalid format option '%c'", ch));
	}
}

static size_t gap(const struct format *f, char ch, size_t size, size_t at)
{
	if (size == 0 || ch == 'c')
		return 0;
	if (size > f->align)
		size = f->align;
	return (size - (at & (size - 1))) & (size - 1);
}

static int is_int(char ch) { return ch && strchr("bBhHlLTiI", ch); }

/* Bytes in the order of the format; the machine's is found out by looking. */
static void copy_bytes(const struct format *f, void *to, const void *from, size_t n)
{
	const uint16_t one = 1;
	int little = *(const uint8_t *)&one;
	const uint8_t *p = from;
	uint8_t *q = to;

	for (size_t i = 0; i < n; i++)
		q[i] = p[f->big == little ? n - 1 - i : i];
}

static uint64_t integer_of(double v)
{
	if (v < 0)
		return v >= -0x1p63 ? (uint64_t)(int64_t)v : (uint64_t)INT64_MIN;
	return v < 0x1p64 ? (uint64_t)v : 0;
}

static void put_int(luaL_Buffer *b, const struct format *f, double v, size_t size)
{
	uint64_t u = integer_of(v);

	for (size_t i = 0; i < size; i++) {
		size_t byte = f->big ? size - 1 - i : i;

		luaL_addchar(b, (char)(byte < 8 ? u >> 8 * byte : 0));
	}
}

static double get_int(const struct format *f, const uint8_t *p, size_t size, int has_sign)
{
	uint64_t u = 0;

	for (size_t i = 0; i < size; i++) {
		size_t byte = f->big ? size - 1 - i : i;

		if (byte < 8)
			u |= (uint64_t)p[i] << 8 * byte;
	}
	if (!has_sign)
		return (double)u;
	if (size < 8 && size && u >> (8 * size - 1) & 1)
		u |= ~UINT64_C(0) << 8 * size;
	return (double)(int64_t)u;
}

static int struct_pack(lua_State *L)
{
	struct format f = { luaL_checkstring(L, 1), 0, 1 };
	luaL_Buffer b;
	size_t total = 0, size, n;
	int arg = 2;
	char ch;

	lua_pushnil(L); /* so that a missing argument is not what the buffer has on the stack */
	luaL_buffinit(L, &b);
	while ((ch = letter(L, &f, &size))) {
		size_t pad = gap(&f, ch, size, total);
		uint8_t raw[8];
		const char *s;

		for (total += pad; pad; pad--)
			luaL_addchar(&b, 0);
		if (is_int(ch)) {
			put_int(&b, &f, luaL_checknumber(L, arg++), size);
		} else if (ch == 'x') {
			luaL_addchar(&b, 0);
		} else if (ch == 'f') {
			float v = (float)luaL_checknumber(L, arg++);

			copy_bytes(&f, raw, &v, sizeof(v));
			luaL_addlstring(&b, (char *)raw, sizeof(v));
		} else if (ch == 'd') {
			double v = luaL_checknumber(L, arg++);

			copy_bytes(&f, raw, &v, sizeof(v));
			luaL_addlstring(&b, (char *)raw, sizeof(v));
		} else if (ch == 'c' || ch == 's') {
			s = luaL_checklstring(L, arg++, &n);
			size = size ? size : n;
			luaL_argcheck(L, n >= size, arg, "string too short");
			luaL_addlstring(&b, s, size);
			if (ch == 's') {
				luaL_addchar(&b, 0);
				size++;
			}
		} else {
			control(L, &f, ch);
		}
		total += size;
	}
	luaL_pushresult(&b);
	return 1;
}

/* One value; bytes that it took.  *got counts what is on the stack. */
static size_t unpack_one(lua_State *L, struct format *f, char ch, size_t size, const uint8_t *p, size_t left,
    int *got)
{
	const uint8_t *end;
	uint8_t raw[8];
	float single;
	double number;

	if (is_int(ch)) {
		lua_pushnumber(L, get_int(f, p, size, islower((unsigned char)ch)));
	} else if (ch == 'x') {
		return size;
	} else if (ch == 'f') {
		copy_bytes(f, raw, p, sizeof(single));
		memcpy(&single, raw, sizeof(single));
		lua_pushnumber(L, (double)single);
	} else if (ch == 'd') {
		copy_bytes(f, raw, p, sizeof(number));
		memcpy(&number, raw, sizeof(number));
		lua_pushnumber(L, number);
	} else if (ch == 'c') {
		if (size == 0) {
			if (!*got || !lua_isnumber(L, -1))
				luaL_error(L, "format 'c0' needs a previous size");
			number = lua_tonumber(L, -1);
			lua_pop(L, 1);
			--*got;
			luaL_argcheck(L, number >= 0 && number <= (double)left, 2, "data string too short");
			size = (size_t)number;
		}
		lua_pushlstring(L, (const char *)p, size);
	} else if (ch == 's') {
		end = memchr(p, 0, left);
		if (!end)
			luaL_error(L, "unfinished string in data");
		size = (size_t)(end - p) + 1;
		lua_pushlstring(L, (const char *)p, size - 1);
	} else {
		control(L, f, ch);
		return size;
	}
	++*got;
	return size;
}

static int struct_unpack(lua_State *L)
{
	struct format f = { luaL_checkstring(L, 1), 0, 1 };
	size_t n, size;
	const char *data = luaL_checklstring(L, 2, &n);
	lua_Integer from = luaL_optinteger(L, 3, 1);
	size_t at = (size_t)from - 1;
	int got = 0;
	char ch;

	luaL_argcheck(L, from != 0, 3, "offset must be 1 or greater");
	while ((ch = letter(L, &f, &size))) {
		at += gap(&f, ch, size, at);
		luaL_argcheck(L, size <= n && at <= n - size, 2, "data string too short");
		luaL_checkstack(L, 2, "too many results");
		at += unpack_one(L, &f, ch, size, (const uint8_t *)data + at, n - at, &got);
	}
	lua_pushinteger(L, (lua_Integer)at + 1);
	return got + 1;
}

static int struct_size(lua_State *L)
{
	struct format f = { luaL_checkstring(L, 1), 0, 1 };
	size_t at = 0, size;
	char ch;

	while ((ch = letter(L, &f, &size))) {
		at += gap(&f, ch, size, at);
		if (ch == 's')
			luaL_argerror(L, 1, "option 's' has no fixed size");
		if (ch == 'c' && size == 0)
			luaL_argerror(L, 1, "option 'c0' has no fixed size");
		if (!isalnum((unsigned char)ch))
			control(L, &f, ch);
		at += size;
	}
	lua_pushinteger(L, (lua_Integer)at);
	return 1;
}

int luaopen_struct(lua_State *L)
{
	lua_createtable(L, 0, 3);
	lua_pushcfunction(L, struct_pack);
	lua_setfield(L, -2, "pack");
	lua_pushcfunction(L, struct_unpack);
	lua_setfield(L, -2, "unpack");
	lua_pushcfunction(L, struct_size);
	lua_setfield(L, -2, "size");
	return 1;
}
