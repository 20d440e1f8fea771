/* SPDX-License-Identifier: Apache-2.0
 *
 * resp/json_in: JSON bodies to commands.  Strict: duplicate names, unknown names, wrong types and
 * anything behind the document are refused with line and column.
 *
 *   ["SET", "k", 1.10, true, {"base64": "AP8="}]     one command
 *   [["GET", "a"], ["GET", "b"]]                     a pipeline
 *   {"key": "k", "value": ..., "expire": 60}         SET k ... EX 60
 *
 * A number or a boolean is sent as its JSON text (1.10 stays 1.10).  {"encoding": "base64", "value":
 * "AP8="}, the form of replies, is taken as well as {"base64": "AP8="}.
 */
#ifndef RESP_JSON_IN_H
#define RESP_JSON_IN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

/* Commands with their arguments.  The bytes are owned by the list and do not move. */
struct json_cmds {
	purser_bytes *argv;   /* all arguments, one command after the other */
	uint32_t nargv, cap;
	uint32_t *end;        /* end[i]: where the arguments of command i end in argv */
	uint32_t ncmds, cmd_cap;
	uint8_t *mem;
	size_t used, size;
	bool failed;          /* no memory, or more bytes than announced: the list is not complete */
};

struct json_limits {
	uint32_t max_commands; /* of a pipeline */
	uint32_t max_args;     /* of one command */
};

struct json_bad {
	bool big;             /* over a limit, not malformed */
	bool nomem;
	char text[240];       /* "line 1, column 9: ..." */
};

/* Empty the list and make room for `bytes` bytes of arguments. */
void json_cmds_begin(struct json_cmds *c, size_t bytes);
void json_cmds_arg(struct json_cmds *c, const void *p, size_t n); /* copies */
/* The same in two steps: room for at most n bytes (NULL: failed), then how many it became. */
uint8_t *json_cmds_room(struct json_cmds *c, size_t n);
void json_cmds_took(struct json_cmds *c, size_t n);
void json_cmds_end(struct json_cmds *c);                          /* the command is complete */
void json_cmds_free(struct json_cmds *c);
static inline purser_bytes *json_cmds_argv(const struct json_cmds *c, uint32_t i, uint32_t *argc)
{
	uint32_t from = i ? c->end[i - 1] : 0;

	*argc = c->end[i] - from;
	return c->argv + from;
}

/* POST /v1/command.  *pipeline: the body is an array of arrays.  0, or -1 with bad filled. */
int json_in_commands(struct json_cmds *c, const char *text, size_t n, const struct json_limits *lim,
    bool *pipeline, struct json_bad *bad);
/* An object whose members become arguments one by one, in whatever order the command wants them.  A member
 * that is null is not given, but for JSON_TEXT and JSON_VALUE. */
enum json_type {
	JSON_STR,             /* as an argument of a command: string, number, boolean, {"base64": "..."} */
	JSON_INT,             /* a whole number of 64 bits */
	JSON_NUM,             /* any number */
	JSON_TEXT,            /* anything, as its text without blanks */
	JSON_VALUE,           /* a string as it is, anything else as its text */
	JSON_BASE64,          /* a string, decoded */
	JSON_CHOICE,          /* a string that is one of some */
	JSON_FLAG,            /* true or false: no argument */
	JSON_LIST,            /* an array of JSON_STR, at least one */
	JSON_PAIRS,           /* an object: name, JSON_VALUE, ..., at least one */
	JSON_TEXT_PAIRS       /* an object: name, JSON_TEXT, ... */
};
struct json_member {
	purser_bytes name;
	enum json_type type;
	purser_bytes choices;     /* "a|b" */
	const uint8_t *at;        /* where its value stands in the text; NULL: it is not given */
};
/* The whole text: members not in m are refused.  0, or -1 with bad filled. */
int json_in_members(const char *text, size_t n, struct json_member *m, unsigned nm, struct json_bad *bad);
/* One that is given, as arguments.  *flag: what a JSON_FLAG says. */
int json_in_put(struct json_cmds *c, const char *text, size_t n, const struct json_member *m,
    const struct json_limits *lim, bool *flag, struct json_bad *bad);
bool json_in_choice(purser_bytes choices, const void *p, size_t n); /* p[0..n) is one of "a|b" */

/* POST /redis/kv: one SET.  {"key", "value"} and at most one of "expire" (s), "expire_ms";
 * "encoding": "base64" says that "value" is base64.  A value that is not a string is stored as its
 * JSON text without blanks. */
int json_in_kv(struct json_cmds *c, const char *text, size_t n, struct json_bad *bad);
#endif
