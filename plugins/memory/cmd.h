/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd: what the files with commands share: the table of operations, replies, reading arguments.
 *
 * An operation runs under the locks of its keys' shards.  It gives exactly one reply (or error) and
 * does not end the call.  Anything that can fail comes before the first byte of the reply.
 */
#ifndef MEMORY_CMD_H
#define MEMORY_CMD_H
#include <string.h>
#include "keyspace.h"

typedef void op_fn(struct ctx *cx, purser_call *c);

enum {
	OP_OOM = 1,                   /* needs memory: refused above max_memory */
	OP_ALL = 2,                   /* over whole databases: locks every shard */
	OP_KEYS = 4,                  /* the keys are those that the host found; first is not 0 */
	OP_WRITE = 8,                 /* changes data, as OP_OOM does */
	OP_SCRIPT = 16,               /* Lua: runs above max_memory, and asks for each command */
	OP_BLOCKS = 32,               /* may wait for a key: wait.h */
	OP_NOSCRIPT = 64,             /* not for scripts */
	OP_BESIDE = 128               /* about a script that runs: needs no lock */
};
struct op {
	const char *name;             /* as the host dispatches: "GET", "OBJECT|ENCODING" */
	op_fn *fn;
	int8_t arity;                 /* as Redis counts; negative: at least */
	uint8_t flags;
	int8_t first, last, step;     /* keys in argv; first 0: none; last -1: to the end, -2: to the last but one */
};

enum op_id {
#define OP(id, ...) OP_ID_##id,
#include "ops.def"
#undef OP
	OP_COUNT
};
extern const struct op ops[OP_COUNT];
/* Runs one operation; the locks in held stay.  The reply is given, the call not ended. */
void op_run(struct ctx *cx, purser_call *c);
/* Hashes the keys of c into cx->hash; the mask of their shards in *mask.  How many, or -1: no memory. */
int64_t keys_hash(struct ctx *cx, const struct op *op, const purser_call *c, uint32_t *mask);
#define OP(id, name, fn, ...) op_fn fn;
#include "ops.def"
#undef OP

/* ---- keys: ord counts the command's keys from 0, as ops.def lists them ------------------------------- */
static inline struct item *arg_find(struct ctx *cx, purser_call *c, uint32_t arg, uint32_t ord,
    struct pos *p, int how)
{
	return key_find(cx, p, c->db, c->argv[arg], cx->hash[ord], how);
}

/* ---- events: argv[arg] is a key of the command's database that has changed (event.h) ------------------- */
static inline void arg_event(struct ctx *cx, purser_call *c, uint32_t arg, enum event_class class,
    const char *name)
{
	key_event(cx, c->db, c->argv[arg], class, name);
}
static inline void arg_told(struct ctx *cx, purser_call *c, uint32_t arg, enum event_class class, const char *name)
{
	key_told(cx, c->db, c->argv[arg], class, name);
}
static inline void arg_gone(struct ctx *cx, purser_call *c, uint32_t arg)
{
	arg_event(cx, c, arg, EVENT_GENERIC, "del");
}

/* ---- arguments --------------------------------------------------------------------------------------- */
/* Is the argument this word (lower case)?  As Redis does, case does not count and a NUL ends it. */
int arg_is(purser_bytes a, const char *word);
/* 0, or -1 with the error replied. */
int arg_int(struct ctx *cx, purser_call *c, uint32_t arg, int64_t *out);
int arg_int_range(struct ctx *cx, purser_call *c, uint32_t arg, int64_t min, int64_t max,
    int64_t *out);
/* As strtod reads it, nothing around it, not NaN; text NULL: the usual error. */
int arg_double(struct ctx *cx, purser_call *c, uint32_t arg, double *out, const char *text);
int arg_db(struct ctx *cx, purser_call *c, uint32_t arg, uint32_t *out);
/* Seconds or milliseconds, from now or absolute, to Unix ms; not before the epoch. */
int arg_expiry(struct ctx *cx, purser_call *c, uint32_t arg, int seconds, int relative, int64_t *ms);

/* ---- replies ------------------------------------------------------------------------------------------- */
static inline void reply_ok(struct ctx *cx, purser_call *c) { cx->h->status(c, "OK"); }
static inline void reply_null(struct ctx *cx, purser_call *c) { cx->h->null(c); }
static inline void reply_int(struct ctx *cx, purser_call *c, int64_t v) { cx->h->integer(c, v); }
static inline void reply_array(struct ctx *cx, purser_call *c, size_t n) { cx->h->array(c, n); }
static inline void reply_bulk(struct ctx *cx, purser_call *c, const void *p, size_t n)
{
	cx->h->bulk(c, p, n);
}
static inline void reply_null_array(struct ctx *cx, purser_call *c)
{
	if (c->resp == 2)
		cx->h->raw(c, "*-1\r\n", 5);
	else
		reply_null(cx, c);
}

static inline void reply_text(struct ctx *cx, purser_call *c, const char *s)
{
	cx->h->bulk(c, s, strlen(s));
}
static inline void reply_error(struct ctx *cx, purser_call *c, const char *text)
{
	cx->h->error(c, text, strlen(text));
}
void reply_errorf(struct ctx *cx, purser_call *c, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The value of a string, as a part of a reply; or as all of it: large ones are not copied then. */
void reply_string(struct ctx *cx, purser_call *c, struct item *it);
void reply_value(struct ctx *cx, purser_call *c, struct item *it);
void reply_nomem(struct ctx *cx, purser_call *c);
void reply_arity(struct ctx *cx, purser_call *c);
void reply_bad_expiry(struct ctx *cx, purser_call *c);
/* The lines of a HELP subcommand. */
void reply_help(struct ctx *cx, purser_call *c, const char *const *lines, size_t n);
/* The name of the command as errors show it: lower case. */
const char *op_lower(const purser_call *c, char buf[40]);

struct zset;
/* argv[1] becomes this sorted set, which is told as `event`, or goes if it is NULL; the reply (cmd_zstore.c). */
void zset_store(struct ctx *cx, purser_call *c, struct zset *z, const char *event);
/* Members are gone, which is told as `event`, and perhaps the key with the last of them (cmd_zset.c). */
void zset_lost(struct ctx *cx, uint32_t db, const struct pos *p, purser_bytes key, const char *event);

#define POLICY_TEXT 32
const char *policy_name(struct store *st, char out[POLICY_TEXT]); /* maxmemory-policy, as it is now */

extern const char err_wrongtype[], err_syntax[], err_overflow[], err_too_long[], err_not_int[],
    err_same[], err_no_key[], err_nan[];

/* 1, with the error replied, if the item is there and of another type. */
static inline int wrong_type(struct ctx *cx, purser_call *c, const struct item *it, enum type t)
{
	if (!it || LIKELY(item_type(it) == t))
		return 0;
	reply_error(cx, c, err_wrongtype);
	return 1;
}
#endif
