/* SPDX-License-Identifier: Apache-2.0
 *
 * script: Lua in the store (EVAL, FUNCTION and their like).
 *
 *   script.c       the engine: one Lua state a store, its memory, its cache, running one script
 *   lua_env.c      what a script sees: the sandbox
 *   lua_guard.c    functions that need a look at their arguments first
 *   lua_redis.c    the table redis
 *   lua_call.c     redis.call(): a command inside a script
 *   lua_confine.c  a project's script: its names, and none but those
 *   lua_value.c    values of Lua to RESP and back
 *   lua_struct.c, lua_cmsgpack.c   the libraries of these names
 *   cmd_script.c   EVAL, EVALSHA, SCRIPT
 *   cmd_function.c FUNCTION, FCALL
 *
 * The engine belongs to whoever holds the locks of all shards, so a script is atomic and there is nothing else
 * to lock.  Lua leaves a C function by longjmp() when something fails: nothing that is to be freed may be held
 * across a call of its API.  What a script said is collected in a buffer and given to the host at the end.
 */
#ifndef MEMORY_SCRIPT_H
#define MEMORY_SCRIPT_H
#include <lua5.1/lua.h>
#include <lua5.1/lauxlib.h>
#include "cmd.h"
#include "sha1.h"

/* RESP that is being made; memory of malloc, max bytes of it (0: any number). */
struct obuf { uint8_t *p; size_t n, cap, max; int failed; };
void obuf_put(struct obuf *o, const void *p, size_t n);
void obuf_head(struct obuf *o, char type, int64_t v);
void obuf_bulk(struct obuf *o, const void *p, size_t n);
void obuf_free(struct obuf *o);

enum {
	SCRIPT_NO_WRITES = 1, SCRIPT_ALLOW_OOM = 2, SCRIPT_ALLOW_STALE = 4, SCRIPT_NO_CLUSTER = 8,
	SCRIPT_CROSS_SLOTS = 16,
	SCRIPT_COMPAT = 32              /* no "#!lua" line: flags are not what it says but what it does */
};

/* One script that runs. */
struct run {
	struct ctx *cx;
	purser_call *c;
	const char *name;               /* SHA1, or the name of the function */
	uint32_t flags;                 /* SCRIPT_* of it */
	uint32_t first, nkeys;          /* KEYS are argv[first ...], ARGV what follows */
	int read_only;                  /* EVAL_RO and its like, or no-writes */
	int loading;                    /* FUNCTION LOAD runs the code of a library */
	int function;                   /* FCALL: keys and arguments are its parameters */
	int wrote;                      /* SCRIPT KILL comes too late */
	int resp;                       /* of the script: redis.setresp() */
	uint32_t db;
	purser_bytes space;             /* what all its names begin with in the store; n 0: it has the store's names */
	uint64_t since_ns;
	struct obuf out;                /* its reply, or with error the text of one */
	int error;
};

struct library;
struct rdb_in;
struct rdb_out;

struct engine {
	lua_State *L;
	struct store *st;
	size_t used, max;               /* bytes of Lua's memory */
	struct run *run;                /* NULL: none runs */
	uint64_t lrand;                 /* state of math.random() */
	int collector;                  /* the script has spoken to the collector */
	uint64_t looked_ns;             /* when the hook came last, since the script began */
	int every;                      /* instructions until it comes again */
	size_t young;                   /* bytes of bodies that were loaded since the last change of generations */
	purser_host host;               /* replies of nested commands come here */
	struct obuf said;
	purser_bytes *argv;             /* of a nested command */
	uint32_t *keys;
	uint8_t *words;                 /* numbers among its arguments, as text */
	uint32_t argv_cap;
	struct obuf names;              /* physical names among its arguments */
	struct library *libraries;      /* cmd_function.c */
	struct library *loading;        /* that redis.register_function() is about */
	struct rdb_in *restoring;
	uint32_t op_slot[1024];         /* names of operations: index + 1, by hash */
};

/* ---- script.c: all shards locked ---- */
struct engine *engine_get(struct ctx *cx);   /* made when it is first needed; NULL: no memory */
void engine_free(struct store *st);
/* Runs body (protected) with r as the running script; the reply of c is given. */
void script_run(struct engine *e, struct run *r, lua_CFunction body);
void script_run_body(struct engine *e, struct run *r, lua_CFunction body); /* ... is for the caller to give */
/* A function of C that takes as long as many instructions of Lua, if much: the hook comes soon. */
void script_worked(lua_State *L, int much);
/* In body: the function to run is on the stack. */
void script_call(lua_State *L, struct run *r);
/* "#!lua ..." at the head of a script.  Bytes of that line, 0: there is none; -1: text has an error. */
int script_shebang(const purser_bytes *body, int library, uint32_t *flags, purser_bytes *name, char *text,
    size_t cap);
uint32_t script_flag(const char *p, size_t n); /* 0: there is none of this name */
int script_allowed(struct run *r);           /* may it run now?  0, or -1 with the error said */
int script_killed(lua_State *L);             /* raises the error of that */
int script_load_text(lua_State *L, const char *p, size_t n, const char *chunk); /* never bytecode */

/* ---- lua_env.c ---- */
struct engine *engine_of(lua_State *L);
void env_open(lua_State *L);                 /* protected */
void env_set_global(lua_State *L, const char *name); /* what is on top */
int env_traceback(lua_State *L);             /* what went wrong becomes a table with err, source and line */
/* The table at index is shown to scripts as one that cannot be changed: it is replaced by that. */
void env_protect(lua_State *L);

/* "purser.functions" of the registry, the environment of libraries, is that of their loading, or of their calls. */
void env_for_functions(lua_State *L, int loading);

/* ---- lua_guard.c ---- */
void guard_open(lua_State *L, int globals);
void guard_insert(lua_State *L);              /* its arguments are those of table.insert() */
void guard_json(lua_State *L, int cjson);    /* index of a table */
void guard_json_settings(lua_State *L, int cjson);

/* ---- cmd_function.c ---- */
int function_register(lua_State *L);         /* redis.register_function() */
void function_close(struct engine *e);
/* Of a snapshot: the libraries, and the code of one that comes behind the others.  0, or -1 with text. */
void function_save(const struct store *st, struct rdb_out *o);
int function_load(struct ctx *cx, purser_bytes code, char *text, size_t cap);

/* ---- lua_redis.c, lua_call.c, lua_value.c, libraries ---- */
enum { REDIS_SCRIPT, REDIS_FUNCTION, REDIS_LOAD }; /* for whom the table is */
void redis_open(lua_State *L, int whose);    /* pushes the table */
int redis_error(lua_State *L, const char *text); /* pushes {err = text}; "ERR " in front where there is no word */
int call_redis(lua_State *L);
int call_pcall(lua_State *L);
void call_prepare(struct engine *e, const purser_host *h);
int call_op(const struct engine *e, const purser_bytes *argv, uint32_t argc); /* -1: unknown */
/* The value on top of the stack, as RESP of version to; it is popped. */
void value_put(lua_State *L, struct obuf *o, int to, int from);
/* Pushes the RESP value at p; bytes of it. */
size_t value_push(lua_State *L, const uint8_t *p);

/* ---- lua_confine.c: of a run with space ---- */
/* The arguments of a nested command, argc of them with room for two more, become the store's.  NULL, or an error. */
const char *confine_in(struct engine *e, uint32_t *argc, int op);
/* Runs what is the store's as a whole elsewhere; 0: it is none of those. */
int confine_run(struct engine *e, purser_call *c);
void confine_out(lua_State *L, const struct run *r, int op); /* the reply is on top */
size_t confine_error(const struct run *r, char *text, size_t n); /* names out of it, in place; its length */
/* Where the keys of an operation are. */
uint32_t call_keys(int op, const purser_bytes *argv, uint32_t argc, uint32_t *keys);
void call_aside(struct engine *e, const purser_call *c); /* one more operation, whose reply nobody wants */
int luaopen_struct(lua_State *L);
int luaopen_cmsgpack(lua_State *L);
#endif
