/* SPDX-License-Identifier: Apache-2.0
 *
 * Scripts: they run the command in ARGV on the keys in KEYS, in several ways.
 */
#include <config.h>
#include <string.h>
#include "diff.h"

#define COMMAND "local a = {ARGV[1], unpack(KEYS)} for i = 2, #ARGV do a[#a + 1] = ARGV[i] end "

int gen_script(struct gen *g, struct cmd *c, const char *name)
{
	static const char *const scripts[] = {
		COMMAND "return redis.call(unpack(a))",
		COMMAND "return redis.pcall(unpack(a))",
		COMMAND "redis.setresp(3) return redis.call(unpack(a))",
		COMMAND "redis.setresp(3) local r = redis.pcall(unpack(a)) redis.setresp(2) return r",
		COMMAND "local r = redis.pcall(unpack(a)) return {type(r), r, type(r) == 'table' and r.err}",
		COMMAND "local ok, r = pcall(redis.call, unpack(a)) return {ok, r}",
		COMMAND "local r = redis.call(unpack(a)) return {tonumber(r) or 0, tostring(type(r)), r, redis.call('TYPE', KEYS[1])}",
		COMMAND "local r = redis.pcall(unpack(a)) return cjson.encode(r)",
		COMMAND "local r = redis.pcall(unpack(a)) return cmsgpack.unpack(cmsgpack.pack(r))",
		"#!lua\n" COMMAND "return redis.call(unpack(a))",
		"#!lua flags=no-writes\n" COMMAND "return redis.call(unpack(a))",
		COMMAND "redis.call(unpack(a)) return redis.call(unpack(a))",
	};

	if (strcmp(name, "script") != 0)
		return 0;
	gen_add(g, c, word_text(scripts[rng_below(g, sizeof(scripts) / sizeof(*scripts))]));
	return 1;
}
