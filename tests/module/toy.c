/* SPDX-License-Identifier: Apache-2.0
 *
 * A module for redis-server, for tests of [command NAME]: values of strings under names of its own.  What it needs
 * of redismodule.h is declared here: Debian has no package of it, and the ABI is stable.
 *
 *   TOY.SET key value   TOY.GET key   TOY.NAMES numkeys key ...   (an array of the names as it got them)
 *   TOY.MISS key        an error that quotes the key
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleCallReply RedisModuleCallReply;
typedef int (*command_fn)(RedisModuleCtx *, RedisModuleString **, int);

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);

static int (*GetApi)(const char *, void *);
static void (*SetModuleAttribs)(RedisModuleCtx *, const char *, int, int);
static int (*CreateCommand)(RedisModuleCtx *, const char *, command_fn, const char *, int, int, int);
static int (*ReplyWithError)(RedisModuleCtx *, const char *);
static int (*ReplyWithArray)(RedisModuleCtx *, long);
static int (*ReplyWithString)(RedisModuleCtx *, RedisModuleString *);
static int (*WrongArity)(RedisModuleCtx *);
static RedisModuleCallReply *(*Call)(RedisModuleCtx *, const char *, const char *, ...);
static int (*ReplyWithCallReply)(RedisModuleCtx *, RedisModuleCallReply *);
static const char *(*StringPtrLen)(const RedisModuleString *, size_t *);

static int set(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	return argc == 3 ? ReplyWithCallReply(ctx, Call(ctx, "SET", "ss", argv[1], argv[2])) : WrongArity(ctx);
}

static int get(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	return argc == 2 ? ReplyWithCallReply(ctx, Call(ctx, "GET", "s", argv[1])) : WrongArity(ctx);
}

static int names(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	if (argc < 3)
		return WrongArity(ctx);
	ReplyWithArray(ctx, argc - 2);
	for (int i = 2; i < argc; i++)
		ReplyWithString(ctx, argv[i]);
	return 0;
}

static int miss(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	char text[300];

	if (argc != 2)
		return WrongArity(ctx);
	snprintf(text, sizeof text, "NOTOY there is no toy '%s' here", StringPtrLen(argv[1], NULL));
	return ReplyWithError(ctx, text);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc)
{
	(void)argv;
	(void)argc;
	memcpy(&GetApi, ctx, sizeof GetApi); /* the first thing in it */
	if (GetApi("RedisModule_SetModuleAttribs", &SetModuleAttribs) ||
	    GetApi("RedisModule_CreateCommand", &CreateCommand) ||
	    GetApi("RedisModule_ReplyWithError", &ReplyWithError) ||
	    GetApi("RedisModule_ReplyWithArray", &ReplyWithArray) ||
	    GetApi("RedisModule_ReplyWithString", &ReplyWithString) ||
	    GetApi("RedisModule_WrongArity", &WrongArity) || GetApi("RedisModule_Call", &Call) ||
	    GetApi("RedisModule_ReplyWithCallReply", &ReplyWithCallReply) ||
	    GetApi("RedisModule_StringPtrLen", &StringPtrLen))
		return 1;
	SetModuleAttribs(ctx, "toy", 1, 1);
	return CreateCommand(ctx, "toy.set", set, "write deny-oom", 1, 1, 1) ||
	    CreateCommand(ctx, "toy.get", get, "readonly fast", 1, 1, 1) ||
	    CreateCommand(ctx, "toy.names", names, "readonly", 0, 0, 0) ||
	    CreateCommand(ctx, "toy.miss", miss, "readonly", 1, 1, 1);
}
