/* SPDX-License-Identifier: Apache-2.0 */
/* Which commands CACHE.STATS counts, and how: reads and writes of whole values.  Reads count as keyspace_hits and
 * keyspace_misses of Redis do, as far as the reply tells: HGET's null may be a field or a key, so it does not count. */
#include <config.h>
#include "command/command.h"

const uint8_t cmd_counted[CMD_IDS] = {
	[CMD_GET] = COUNT_GET, [CMD_GETEX] = COUNT_GET, [CMD_GETDEL] = COUNT_GETDEL, [CMD_GETSET] = COUNT_GETSET,
	[CMD_MGET] = COUNT_MGET, [CMD_EXISTS] = COUNT_EXISTS,
	[CMD_SET] = COUNT_SET, [CMD_SETEX] = COUNT_SETEX, [CMD_PSETEX] = COUNT_SETEX, [CMD_SETNX] = COUNT_SETNX,
	[CMD_MSET] = COUNT_MSET, [CMD_MSETNX] = COUNT_MSETNX,
	[CMD_DEL] = COUNT_DEL, [CMD_UNLINK] = COUNT_DEL,
};

void cmd_set_options(struct cmd_set_options *o, const purser_bytes *argv, uint32_t argc)
{
	*o = (struct cmd_set_options){ .nx = false };
	for (uint32_t i = 3; i < argc; i++) {
		if (cmd_word_is(argv[i], "EX") || cmd_word_is(argv[i], "PX") || cmd_word_is(argv[i], "EXAT") ||
		    cmd_word_is(argv[i], "PXAT"))
			i++; /* its number is no option */
		else if (cmd_word_is(argv[i], "NX"))
			o->nx = true;
		else if (cmd_word_is(argv[i], "XX"))
			o->xx = true;
		else if (cmd_word_is(argv[i], "GET"))
			o->get = true;
	}
}
