/* SPDX-License-Identifier: Apache-2.0
 *
 * Scripts of the memory plugin without an agent: each allocation of Lua failing, SHA1, what a batch with scripts says.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "cmd.h"
#include "memory_host.h"
#include "sha1.h"

#define SITES_MAX 20000

/* One line with its allocation number site failing; 1: it has fewer. */
static int one_site(const char *line, int64_t site)
{
	struct mh m;
	struct mh_ctx x;
	struct store *st;
	int through;

	mh_start(&m, (struct mh_settings){ .databases = 1 });
	mh_open(&x, &m);
	st = m.state;
	mh_run(&x, "SET k old");
	st->fail_after = site;
	mh_run(&x, "%s", line);
	through = st->fail_after > 0;
	st->fail_after = -1;
	if (x.reply[0] == '-' && strncmp(x.reply, "-OOM", 4) != 0)
		fail_msg("%s, allocation %d: %s", line, (int)site, x.reply);
	assert_string_equal(mh_run(&x, "EVAL return(1) 0"), ":1\r\n");
	assert_string_equal(mh_run(&x, "EVAL return(redis.call('TYPE','k')) 0"), "+string\r\n");
	mh_close(&x);
	mh_stop(&m);
	return through;
}

static void every_site(void **state)
{
	static const char *const lines[] = {
		"EVAL return(redis.call('SET',KEYS[1],ARGV[1])) 1 k v",
		"EVAL return{redis.call('GET','k'),{1,2},cmsgpack.pack({a=1})} 0",
		"EVAL local\tok,e=pcall(redis.call,'NO')return{ok,e} 0",
		"SCRIPT LOAD return(5)",
		"FUNCTION LOAD #!lua\tname=l\nredis.register_function('f',function()return(1)end)",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		int64_t site = 0;

		while (!one_site(lines[i], site))
			assert_true((site += site < 64 ? 1 : 7) < SITES_MAX);
	}
}

static void sha1(void **state)
{
	char hex[SHA1_HEX + 1];

	(void)state;
	sha1_hex("abc", 3, hex);
	assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
	sha1_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
	assert_string_equal(hex, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
	sha1_hex("", 0, hex);
	assert_string_equal(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

static void in_a_batch(void **state)
{
	struct mh m;
	struct mh_ctx x;

	(void)state;
	mh_start(&m, (struct mh_settings){ .databases = 1 });
	mh_open(&x, &m);
	mh_batch(&x, "SET n 1\nEVAL return(redis.call('INCR','n')) 0\nGET n");
	assert_string_equal(x.reply, "+OK\r\n:2\r\n$1\r\n2\r\n");
	assert_int_equal(x.ended, 4);
	mh_close(&x);
	mh_stop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_site), cmocka_unit_test(sha1), cmocka_unit_test(in_a_batch) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
