/* SPDX-License-Identifier: Apache-2.0
 *
 * command: what is known about every command (commands.def), and finding a row by name.  Facts only.
 * In: the words of a request.  Out: a row, or the reason why there is none.
 */
#ifndef COMMAND_COMMAND_H
#define COMMAND_COMMAND_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

enum cmd_flag {
	F_WRITE = 1 << 0, F_READONLY = 1 << 1, F_DENYOOM = 1 << 2, F_ADMIN = 1 << 3,
	F_PUBSUB = 1 << 4, F_NOSCRIPT = 1 << 5, F_BLOCKING = 1 << 6, F_LOADING = 1 << 7,
	F_STALE = 1 << 8, F_FAST = 1 << 9, F_NOAUTH = 1 << 10, F_ALLOWBUSY = 1 << 11,
	F_CONTAINER = 1 << 12,
	F_MOVABLE = 1 << 14, /* shown as movablekeys */
	F_MAYWRITE = 1 << 18, /* ours: it may change data though Redis does not show it as a write */
	F_BESIDE = 1 << 19, /* ours, RUN_FEATURE: others of the client's may be under way; its steps before it stands first only read */
	F_NOSLOWLOG = 1 << 15, F_NOMONITOR = 1 << 16, F_NOMANDATORY = 1 << 17,
	F_SECRET = 1 << 20, /* ours: cmd_secret() tells which of its words nobody else may see */
	F_PUBLIC = 1 << 13 /* ours: shows no key, caller or project; served to callers nobody knows */
};
enum cmd_perm { PERM_ANY = 1, PERM_READ, PERM_WRITE, PERM_ADMIN, PERM_PUBSUB, PERM_SCRIPT, PERM_OPERATE };
/* Keys that stand where the arguments say, behind those of first, last and step. */
enum cmd_more_keys {
	KEYS_FIXED,             /* there are none */
	KEYS_COUNT_1,           /* as many as argv[1] says, behind it: LMPOP 2 a b LEFT */
	KEYS_COUNT_2,           /* as many as argv[2] says, behind it: ZUNIONSTORE to 2 a b */
	KEYS_STREAMS,           /* the first half of what is behind STREAMS */
	KEYS_SORT,              /* SORT key ... STORE to */
	KEYS_STORE,             /* GEORADIUS key ... STORE to, STOREDIST to */
	KEYS_USER               /* SESSION.ROTATE id USER user */
};
enum cmd_args { A_NONE, A_PATTERN, A_SCAN, A_COPY, A_SORT, A_BLOCK, A_SCRIPT, A_CHANNEL };
enum cmd_transform { X_PASS, X_KEYS, X_SCAN, X_STREAMS, X_RECEIVERS, X_FIRST,
	X_TOLD /* nothing in it changes; the integer that it is counts for CACHE.STATS */ };
enum cmd_retry { R_READ, R_IDEMPOTENT, R_OPTIONS, R_NEVER };
enum cmd_run { RUN_BACKEND, RUN_LOCAL, RUN_SPACE, RUN_TX, RUN_FEATURE };
enum cmd_group {
	G_STRING, G_GENERIC, G_HASH, G_CONNECTION, G_SERVER, G_PURSER, G_LIST, G_SET, G_ZSET, G_STREAM,
	G_BITMAP, G_HYPERLOGLOG, G_GEO, G_TRANSACTIONS, G_SCRIPTING, G_PUBSUB, G_CACHE, G_SESSION, G_LOCK, G_JOB
};

enum cmd_id {
#define CMD(id, ...) CMD_##id,
#include "command/commands.def"
#undef CMD
	CMD_COUNT
};
/* Behind them: CMD_COUNT is nobody's, then those that the configuration declares (declared.h). */
#define CMD_DECLARED_MAX 64u
#define CMD_IDS (CMD_COUNT + 1 + CMD_DECLARED_MAX)

struct command {
	const char *name;       /* "GET", "OBJECT|ENCODING" */
	uint16_t id;            /* enum cmd_id */
	int16_t arity;
	uint32_t flags;
	uint8_t perm, args, transform, retry, run, group;
	int8_t first, last, step; /* key positions; first 0 = none */
	uint8_t more;           /* enum cmd_more_keys */
	uint8_t name_len;
	uint64_t cap;           /* PURSER_CAP_* that the backend must have */
	const char *summary;
};

extern const struct command cmd_rows[CMD_COUNT];

/* The hash index over the rows of commands.def and those that a configuration adds; read-only once it is built. */
struct cmd_index {
	uint16_t slot[1024];    /* row + 1; 0 = empty */
	uint32_t ndeclared;
	const struct command *declared[CMD_DECLARED_MAX]; /* rows behind CMD_COUNT */
};
void cmd_index_build(struct cmd_index *x); /* commands.def alone */
int cmd_index_add(struct cmd_index *x, const struct command *row); /* -1: it is full */
/* All of them by number, 0 .. cmd_total() - 1. */
static inline unsigned cmd_total(const struct cmd_index *x) { return CMD_COUNT + (x ? x->ndeclared : 0); }
static inline const struct command *cmd_at(const struct cmd_index *x, unsigned i)
{
	return i < CMD_COUNT ? &cmd_rows[i] : x->declared[i - CMD_COUNT];
}

/* The row of one name as given (any case), or NULL. */
const struct command *cmd_by_name(const struct cmd_index *x, const char *name, size_t n);

/* The row that argv means: a container's subcommand is looked up too.  NULL, with the text that Redis
 * answers in err (NUL-terminated, without '-'), when there is none or the arity is wrong. */
const struct command *cmd_find(const struct cmd_index *x, const purser_bytes *argv, uint32_t argc,
    char *err, size_t errlen);

/* A command of Redis that the agent does not serve (refused.def), and why. */
struct cmd_refusal {
	const char *name;       /* "DEBUG", "CONFIG|SET" */
	uint8_t err;            /* enum err_code */
	const char *text;
};
/* The row that argv means, or NULL.  For words that cmd_find knows nothing of. */
const struct cmd_refusal *cmd_refused(const purser_bytes *argv, uint32_t argc);
bool cmd_refused_container(purser_bytes name); /* some of its subcommands are refused */
extern const struct cmd_refusal cmd_refusals[];
extern const uint32_t cmd_nrefusals;

/* What COMMAND shows of a row, words with a blank between: tips, and ACL categories. */
const char *cmd_tips(const struct command *c);
void cmd_categories(const struct command *c, char *buf, size_t len);

/* What CACHE.STATS learns from a command, and its reply (counted.c). */
enum cmd_count {
	COUNT_NOT,
	COUNT_GET,    /* a null is a miss */
	COUNT_GETDEL, COUNT_GETSET,
	COUNT_MGET,   /* ... for each key */
	COUNT_EXISTS, /* the integer: how many are there */
	COUNT_SET,    /* NX, XX and GET matter */
	COUNT_SETEX,  /* what is no error has set it */
	COUNT_SETNX,  /* the integer: was it set */
	COUNT_MSET, COUNT_MSETNX,
	COUNT_DEL     /* the integer: how many there were */
};
extern const uint8_t cmd_counted[CMD_IDS]; /* by id */
/* Options of SET in argv of argc words. */
struct cmd_set_options { bool nx, xx, get; };
void cmd_set_options(struct cmd_set_options *o, const purser_bytes *argv, uint32_t argc);

static inline int cmd_arity_ok(const struct command *c, uint32_t argc)
{
	return c->arity > 0 ? argc == (uint32_t)c->arity : argc >= (uint32_t)-c->arity;
}

/* Positions of keys in argv, ascending, as the store reads them when it runs the command; the count.  out
 * has room for cmd_key_count entries.  Arguments that the store refuses may have none. */
static inline uint32_t cmd_keys(const struct command *c, const purser_bytes *argv, uint32_t argc,
    uint32_t *out);
/* How many keys argv of argc words has. */
static inline uint32_t cmd_key_count(const struct command *c, const purser_bytes *argv, uint32_t argc);

/* May it wait (A_BLOCK rows: BLPOP and its like, XREAD and XREADGROUP with BLOCK, WAIT), and how long: *ms, 0 =
 * for ever.  Of a time that the store refuses nothing is known: 1. */
bool cmd_blocks(const struct command *c, const purser_bytes *argv, uint32_t argc, int64_t *ms);
/* As Redis reads the seconds of BLPOP, a decimal number, and milliseconds, an integer.  -1: it refuses them. */
int64_t cmd_block_seconds(purser_bytes w);
int64_t cmd_block_ms(purser_bytes w);

/* Has it the same effect when it is executed twice (semantics.md 2)?  By its retry class and, where that says
 * so, by its options. */
bool cmd_idempotent(const struct command *c, const purser_bytes *argv, uint32_t argc);

/* Is argv[i] a secret, or may it be one (AUTH, what follows it in HELLO, ids of sessions; in a command about such a
 * one, PURSER.EXPLAIN AUTH, too)?  Whoever shows words of a request to others asks this. */
bool cmd_secret(const struct command *c, const purser_bytes *argv, uint32_t argc, uint32_t i);

/* As Redis compares options: in any case, and a NUL ends the word, so that "DB\0x" is DB here too. */
bool cmd_word_is(purser_bytes w, const char *name);

/* SORT and SORT_RO: walks the options from argv[*at] (2 at first) as Redis reads them.  True: argv[*at] is
 * the pattern of BY or GET or, with *store, the key of STORE; go on at *at + 1.  False: none is left. */
bool cmd_sort_next(const purser_bytes *argv, uint32_t argc, uint32_t *at, bool *store);

/* One key specification as COMMAND INFO shows it (keyspecs.def). */
struct cmd_keyspec {
	uint16_t id;
	const char *flags;      /* words */
	uint8_t begin, find;    /* enum cmd_begin, cmd_find_keys */
	int8_t start;           /* index or startfrom */
	int8_t n[3];            /* lastkey, keystep, limit; keynumidx, firstkey, keystep */
	const char *keyword, *notes; /* or NULL */
};
enum cmd_begin { BEGIN_INDEX, BEGIN_KEYWORD, BEGIN_UNKNOWN };
enum cmd_find_keys { FIND_RANGE, FIND_KEYNUM, FIND_UNKNOWN };
/* The specifications of c; how many. */
const struct cmd_keyspec *cmd_keyspecs(const struct command *c, uint32_t *n);

/* Those of first, last and step alone; those behind them (out NULL: their number alone). */
static inline uint32_t cmd_fixed_keys(const struct command *c, uint32_t argc)
{
	int last;

	if (!c->first)
		return 0;
	if (c->first == c->last)
		return (int)argc > c->first;
	last = c->last < 0 ? (int)argc + c->last : c->last;
	if (last >= (int)argc)
		last = (int)argc - 1;
	return last < c->first ? 0 : (uint32_t)((last - c->first) / c->step) + 1;
}
uint32_t cmd_more_keys(const struct command *c, const purser_bytes *argv, uint32_t argc, uint32_t *out);

static inline uint32_t cmd_key_count(const struct command *c, const purser_bytes *argv, uint32_t argc)
{
	uint32_t n = cmd_fixed_keys(c, argc);

	return c->more ? n + cmd_more_keys(c, argv, argc, NULL) : n;
}

static inline uint32_t cmd_keys(const struct command *c, const purser_bytes *argv, uint32_t argc,
    uint32_t *out)
{
	uint32_t n = cmd_fixed_keys(c, argc);

	for (uint32_t i = 0; i < n; i++)
		out[i] = (uint32_t)c->first + i * (uint32_t)c->step;
	return c->more ? n + cmd_more_keys(c, argv, argc, out + n) : n;
}

/* What argv does with its key at position at, words of key specifications: of SET and BITFIELD the options say. */
const char *cmd_key_flags(const struct command *c, const purser_bytes *argv, uint32_t argc, uint32_t at);

const char *cmd_group_name(enum cmd_group g); /* as in COMMAND DOCS */
const char *cmd_perm_name(enum cmd_perm p);   /* "redis:read", ... */
size_t cmd_lower(const struct command *c, char *dst, size_t cap); /* "object|encoding"; the length */
#endif
