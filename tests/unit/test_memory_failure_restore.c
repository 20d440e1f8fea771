/* SPDX-License-Identifier: Apache-2.0
 *
 * RESTORE with each allocation failing: see memory_failure.h.
 */
#include "memory_failure.h"

/* RESTORE of what each of these keys is dumped as, onto a key that is there and one that is not. */
static int restore_site(const char *key, const char *to, int64_t site)
{
	purser_bytes argv[5] = { { (const uint8_t *)"RESTORE", 7 }, { (const uint8_t *)to, strlen(to) },
		{ (const uint8_t *)"100000", 6 }, { NULL, 0 }, { (const uint8_t *)"REPLACE", 7 } };
	struct failure_view before, after;
	char *payload;
	struct failure f;
	int oom, through;

	failure_setup(&f);
	mh_run(&f.x, "XADD stream 1-1 a 1 b two");
	mh_run(&f.x, "XADD stream 1-2 c %s", word);
	mh_run(&f.x, "XGROUP CREATE stream g 0");
	mh_run(&f.x, "XREADGROUP GROUP g one STREAMS stream >");
	mh_run(&f.x, "DUMP %s", key);
	argv[3].n = strtoul(f.x.reply + 1, NULL, 10);
	payload = malloc(argv[3].n);
	memcpy(payload, strchr(f.x.reply, '\n') + 1, argv[3].n);
	argv[3].p = (const uint8_t *)payload;
	mh_release(&f.x);
	before = failure_see(&f);
	((struct ctx *)f.x.cs)->scratch_cap = 0;
	f.st->fail_after = site;
	oom = strncmp(mh_argv(&f.x, 5, argv), "-OOM", 4) == 0;
	through = !oom && f.st->fail_after > 0;
	if (!oom && f.x.reply[0] != '+')
		fail_msg("RESTORE of %s, allocation %lld: %s", key, (long long)site, f.x.reply);
	after = failure_see(&f);
	if (oom && !failure_same(&before, &after))
		fail_msg("RESTORE of %s, allocation %lld: it said OOM and has changed something", key, (long long)site);
	f.st->fail_after = -1;
	assert_string_equal(mh_argv(&f.x, 5, argv), "+OK\r\n");
	free(before.p);
	free(after.p);
	free(payload);
	failure_teardown(&f);
	return through;
}

static void restored(void **state)
{
	static const char *const keys[] = { "int", "raw", "big", "pack", "full", "ints", "few", "many", "queue", "zset", "zmany",
		"stream" };
	size_t i;
	int64_t site;
	int over;

	(void)state;
	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		for (over = 0; over < 2; over++) {
			for (site = 0; site < SITES_MAX && !restore_site(keys[i], over ? "small" : "new", site); site++)
				;
			assert_in_range(site, 1, SITES_MAX - 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
