/* SPDX-License-Identifier: Apache-2.0
 *
 * url and settings of the redis plugin: what is accepted, and the sentence for what is not.
 */
#include <config.h>
#include <fcntl.h>
#include <unistd.h>
#include "redis_host.h"
#include "../../plugins/redis/redis.h"

static void good(void **state)
{
	static const struct {
		const char *text, *host, *path, *user, *secret;
		uint16_t port, db;
		bool has_db, tls;
	} rows[] = {
		{ "redis://127.0.0.1:6379/0", "127.0.0.1", "", "", "", 6379, 0, true },
		{ "redis://localhost", "localhost", "", "", "", 6379, 0, false },
		{ "redis://h/", "h", "", "", "", 6379, 0, false },
		{ "redis://[::1]:7000/15", "::1", "", "", "", 7000, 15, true },
		{ "redis://[fe80::1]", "fe80::1", "", "", "", 6379, 0, false },
		{ "redis://:pass@h:1", "h", "", "", "pass", 1, 0, false },
		{ "redis://u:p%40%2f%3A@h/3", "h", "", "u", "p@/:", 6379, 3, true },
		{ "redis://u:a/b@c@h:65535/65535", "h", "", "u", "a/b@c", 65535, 65535, true },
		{ "redis://h?db=4", "h", "", "", "", 6379, 4, true },
		{ "unix:///run/redis.sock", "", "/run/redis.sock", "", "", 0, 0, false },
		{ "unix:///a%20b@c?db=7", "", "/a b@c", "", "", 0, 7, true },
		{ "unix://u:p@/run/r.sock", "", "/run/r.sock", "u", "p", 0, 0, false },
		{ "rediss://h", "h", "", "", "", 6379, 0, false, true },
		{ "rediss://u:p@[::1]:7000/2", "::1", "", "u", "p", 7000, 2, true, true },
	};
	struct url u;
	char err[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (url_parse(rows[i].text, &u, err, sizeof(err)))
			fail_msg("%s: %s", rows[i].text, err);
		assert_string_equal(u.host, rows[i].host);
		assert_string_equal(u.path, rows[i].path);
		assert_string_equal(u.user, rows[i].user);
		assert_string_equal(u.secret, rows[i].secret);
		assert_int_equal(u.port, rows[i].port);
		assert_int_equal(u.db, rows[i].db);
		assert_int_equal(u.has_db, rows[i].has_db);
		assert_int_equal(u.tls, rows[i].tls);
	}
}

static void bad(void **state)
{
	static const struct { const char *text, *says; } rows[] = {
		{ "", "must begin with redis://" }, { "http://h", "must begin with redis://" },
		{ "127.0.0.1:6379", "must begin with redis://" }, { "redisss://h", "rediss://" }, { "rediss:h", "rediss://" },
		{ "rediss://", "host" }, { "rediss://h:0", "port" },
		{ "redis://", "host" }, { "redis://:6379", "host" }, { "redis://[::1", "host" },
		{ "redis://[::1]x", "host" }, { "redis://h:0", "port" }, { "redis://h:65536", "port" },
		{ "redis://h:", "port" }, { "redis://h:6379x", "port" }, { "redis://h/x", "database" },
		{ "redis://h/65536", "database" }, { "redis://h/1/2", "database" },
		{ "redis://h?db=", "database" }, { "redis://h?x=1", "only db=N" },
		{ "redis://u:%zz@h", "password" }, { "redis://u:%00@h", "password" },
		{ "unix://run/redis.sock", "absolute" }, { "unix://", "absolute" },
		{ "unix:///aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiii"
		  "jjjjjjjjjjkkkkkkkkkkllllllllll", "longer than 107" },
	};
	struct url u;
	char err[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(url_parse(rows[i].text, &u, err, sizeof(err)), -1);
		if (!strstr(err, rows[i].says))
			fail_msg("%s: %s", rows[i].text, err);
	}
	assert_int_equal(url_parse("redis://u:secret@h:x", &u, err, sizeof(err)), -1);
	assert_null(strstr(err, "secret"));
}

/* NULL-terminated settings in one line. */
#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void refused_settings(void **state)
{
	char path[] = "/tmp/purser-test-XXXXXX", file[64];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	snprintf(file, sizeof(file), "password_file=%s", path);
	assert_non_null(strstr(host_refused(SET("url=redis://h/1", "database=2")), "differ"));
	assert_non_null(strstr(host_refused(SET("url=redis://a:p@h", "user=b")), "differ"));
	assert_non_null(strstr(host_refused(SET("url=redis://h", "user=b")), "password_file"));
	assert_non_null(strstr(host_refused(SET("url=redis://h", "reconnect_cap=1ms")), "reconnect_cap"));
	assert_non_null(strstr(host_refused(SET("url=redis://h", "client_name=a b")), "client_name"));
	assert_non_null(strstr(host_refused(SET("url=redis://h", "password_file=/nonexistent/x")),
	    "No such file"));
	assert_non_null(strstr(host_refused(SET("url=redis://h", file)), "one line"));
	assert_int_equal(write(fd, "two\nlines\n", 10), 10);
	assert_non_null(strstr(host_refused(SET("url=redis://h", file)), "one line"));
	assert_int_equal(ftruncate(fd, 4), 0);
	assert_non_null(strstr(host_refused(SET("url=redis://:p@h", file)), "keep one"));
	host_free(host_new(SET("url=redis://h", file)));
	host_free(host_new(SET("url=redis://h/2", "database=2")));
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good), cmocka_unit_test(bad), cmocka_unit_test(refused_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
