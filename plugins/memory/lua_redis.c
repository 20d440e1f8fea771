/* SPDX-License-Identifier: Apache-2.0
 *
 * The table redis of scripts, but for call() and pcall(): lua_call.c.
 */
#include "script.h"

#define VERSION "7.0.15" /* whose scripting this is */
#define VERSION_NUM 0x07000f

enum { LEVEL_DEBUG, LEVEL_VERBOSE, LEVEL_NOTICE, LEVEL_WARNING };
enum { REPL_AOF = 1, REPL_REPLICA = 2 };

/* "-CODE text", "CODE text" and "text" all become what an error looks like without its minus. */
int redis_error(lua_State *L, const char *text)
{
	lua_createtable(L, 0, 1);
	if (*text == '-' && strchr(text, ' '))
		lua_pushstring(L, text + 1);
	else
		lua_pushfstring(L, "ERR %s", *text == '-' ? text + 1 : text);
	lua_setfield(L, -2, "err");
	return 1;
}

static int raise(lua_State *L, const char *text)
{
	redis_error(L, text);
	return lua_error(L);
}

static int reply(lua_State *L, const char *name)
{
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, name);
	return 1;
}

static int error_reply(lua_State *L)
{
	const char *s;

	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING)
		return redis_error(L, "wrong number or type of arguments");
	s = lua_tostring(L, 1);
	if (*s == '-' || !strchr(s, ' '))
		return redis_error(L, s);
	return reply(L, "err");
}

static int status_reply(lua_State *L)
{
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING)
		return redis_error(L, "wrong number or type of arguments");
	return reply(L, "ok");
}

static int sha1hex(lua_State *L)
{
	char hex[SHA1_HEX + 1];
	const char *s;
	size_t n;

	if (lua_gettop(L) != 1)
		return raise(L, "wrong number of arguments");
	s = lua_tolstring(L, 1, &n);
	sha1_hex(s ? s : "", s ? n : 0, hex);
	lua_pushlstring(L, hex, SHA1_HEX);
	return 1;
}

static int say(lua_State *L)
{
	static const int level[] = { PURSER_LOG_DEBUG, PURSER_LOG_DEBUG, PURSER_LOG_INFO, PURSER_LOG_WARN };
	struct store *st = engine_of(L)->st;
	int argc = lua_gettop(L), at, put = 0;
	luaL_Buffer b;

	if (argc < 2)
		return raise(L, "redis.log() requires two arguments or more.");
	if (!lua_isnumber(L, 1))
		return raise(L, "First argument must be a number (log level).");
	at = (int)lua_tonumber(L, 1);
	if (at < LEVEL_DEBUG || at > LEVEL_WARNING)
		return raise(L, "Invalid debug level.");
	luaL_buffinit(L, &b);
	for (int i = 2; i <= argc; i++) {
		if (!lua_isstring(L, i))
			continue;
		if (put++)
			luaL_addchar(&b, ' ');
		lua_pushvalue(L, i);
		luaL_addvalue(&b);
	}
	luaL_pushresult(&b);
	st->h->log(st->i, level[at], "script: %s", lua_tostring(L, -1));
	return 0;
}

static int setresp(lua_State *L)
{
	struct engine *e = engine_of(L);
	int v;

	if (lua_gettop(L) != 1)
		return raise(L, "redis.setresp() requires one argument.");
	v = lua_isnumber(L, 1) ? (int)lua_tonumber(L, 1) : 0;
	if (v != 2 && v != 3)
		return raise(L, "RESP version must be 2 or 3.");
	if (e->run)
		e->run->resp = v;
	return 0;
}

/* There are no replicas and there is no log of commands: what is said of them has no effect. */
static int set_repl(lua_State *L)
{
	int v;

	if (lua_gettop(L) != 1)
		return raise(L, "redis.set_repl() requires two arguments.");
	v = (int)lua_tonumber(L, 1);
	if (v & ~(REPL_AOF | REPL_REPLICA))
		return raise(L, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
	return 0;
}

static int replicate_commands(lua_State *L)
{
	lua_pushboolean(L, 1);
	return 1;
}

/* No debugger is attached. */
static int breakpoint(lua_State *L)
{
	lua_pushboolean(L, 0);
	return 1;
}

static int debug_nothing(lua_State *L)
{
	(void)L;
	return 0;
}

/* A script may what its project may: it is enough that there is such a command. */
static int acl_check_cmd(lua_State *L)
{
	purser_bytes argv[2];
	int argc = lua_gettop(L);

	if (argc == 0)
		return raise(L, "Please specify at least one argument for this redis lib call");
	for (int i = 1; i <= argc; i++)
		if (!lua_isstring(L, i))
			return raise(L, "Lua redis lib command arguments must be strings or integers");
	for (int i = 0; i < argc && i < 2; i++)
		argv[i].p = (const uint8_t *)lua_tolstring(L, i + 1, &argv[i].n);
	if (call_op(engine_of(L), argv, (uint32_t)argc) < 0)
		return raise(L, "Invalid command passed to redis.acl_check_cmd()");
	lua_pushboolean(L, 1);
	return 1;
}

void redis_open(lua_State *L, int whose)
{
	static const struct { const char *name; lua_CFunction fn; int whose; } fns[] = { /* bits 1 << REDIS_* */
		{ "call", call_redis, 3 }, { "pcall", call_pcall, 3 }, { "error_reply", error_reply, 3 },
		{ "status_reply", status_reply, 3 }, { "sha1hex", sha1hex, 3 }, { "log", say, 7 },
		{ "setresp", setresp, 3 }, { "set_repl", set_repl, 3 }, { "acl_check_cmd", acl_check_cmd, 3 },
		{ "replicate_commands", replicate_commands, 1 }, { "breakpoint", breakpoint, 1 },
		{ "debug", debug_nothing, 1 }, { "register_function", function_register, 4 },
	};
	static const struct { const char *name; int value, whose; } numbers[] = {
		{ "LOG_DEBUG", LEVEL_DEBUG, 7 }, { "LOG_VERBOSE", LEVEL_VERBOSE, 7 },
		{ "LOG_NOTICE", LEVEL_NOTICE, 7 }, { "LOG_WARNING", LEVEL_WARNING, 7 }, { "REPL_NONE", 0, 3 },
		{ "REPL_AOF", REPL_AOF, 3 }, { "REPL_SLAVE", REPL_REPLICA, 3 }, { "REPL_REPLICA", REPL_REPLICA, 3 },
		{ "REPL_ALL", REPL_AOF | REPL_REPLICA, 3 }, { "REDIS_VERSION_NUM", VERSION_NUM, 7 },
	};

	lua_newtable(L);
	for (size_t i = 0; i < sizeof(fns) / sizeof(*fns); i++) {
		if (!(fns[i].whose & 1 << whose))
			continue;
		lua_pushcfunction(L, fns[i].fn);
		lua_setfield(L, -2, fns[i].name);
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		if (!(numbers[i].whose & 1 << whose))
			continue;
		lua_pushnumber(L, numbers[i].value);
		lua_setfield(L, -2, numbers[i].name);
	}
	lua_pushliteral(L, VERSION);
	lua_setfield(L, -2, "REDIS_VERSION");
}
