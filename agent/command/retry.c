/* SPDX-License-Identifier: Apache-2.0 */
/* command/retry: which commands may be executed twice. */
#include <config.h>
#include "command/command.h"

static bool has(const purser_bytes *argv, uint32_t argc, uint32_t from, const char *const *words)
{
	for (uint32_t i = from; i < argc; i++)
		for (const char *const *w = words; *w; w++)
			if (cmd_word_is(argv[i], *w))
				return true;
	return false;
}

/* A value that looks like an option costs a retry, nothing else. */
bool cmd_idempotent(const struct command *c, const purser_bytes *argv, uint32_t argc)
{
	static const char *const set[] = { "NX", "GET", "KEEPTTL", NULL };
	static const char *const zadd[] = { "INCR", NULL };
	static const char *const store[] = { "STORE", "STOREDIST", NULL };

	switch ((enum cmd_retry)c->retry) {
	case R_READ: case R_IDEMPOTENT:
		return true;
	case R_NEVER:
		return false;
	case R_OPTIONS:
		break;
	}
	switch (c->id) {
	case CMD_SET:
		return !has(argv, argc, 3, set);
	case CMD_ZADD:
		return !has(argv, argc, 2, zadd);
	case CMD_SORT: case CMD_GEORADIUS: case CMD_GEORADIUSBYMEMBER: /* reads, unless they store */
		return !has(argv, argc, 2, store);
	default:
		return false;
	}
}
