/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel credentials of a peer, of this process and of a child that is other users (as root).
 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "access/peer.h"

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void myself(void **state)
{
	char text[4096], own[4096];
	gid_t groups[1024];
	int fd[2], n = getgroups(1024, groups);
	struct peer p;

	(void)state;
	assert_true(n >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(peer_read(fd[0], &p), 0);
	assert_int_equal(p.pid, getpid());
	assert_int_equal(p.uid, geteuid());
	assert_int_equal(p.gid, getegid());
	assert_int_equal(p.ngroups, n);
	for (int i = 0; i < n; i++)
		assert_true(peer_in_group(&p, groups[i]));
	for (uint32_t i = 1; i < p.ngroups; i++)
		assert_true(p.groups[i - 1] <= p.groups[i]);
	assert_true(peer_in_group(&p, getegid()));
	assert_false(peer_in_group(&p, 3999999999u));
	assert_false(peer_in_group(&p, UINT32_MAX));
	assert_true(peer_executable(fd[0], p.pid, now(), text, sizeof text));
	n = (int)readlink("/proc/self/exe", own, sizeof own - 1);
	assert_true(n > 0);
	own[n] = '\0';
	assert_string_equal(text, own);
	assert_false(peer_executable(fd[0], UINT32_MAX, now(), text, sizeof text));
	assert_string_equal(text, "");
	peer_free(&p);
	assert_false(peer_known(&p) || peer_in_group(&p, getegid()));
	close(fd[0]);
	close(fd[1]);
}

static void not_unix(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), pair[2];
	struct peer p;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(peer_read(fd, &p), -1);
	assert_false(peer_known(&p));
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(peer_read(pair[0], &p), -1);
	assert_false(peer_known(&p) || peer_in_group(&p, UINT32_MAX));
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

/* A listener that a child connects to, as another user if that can be; then the child ends. */
static void a_child(void **state)
{
	const gid_t groups[] = { 5003, 5001, 5002 };
	struct sockaddr_un a = { .sun_family = AF_UNIX }; /* a name of the kernel's choice */
	int l = socket(AF_UNIX, SOCK_STREAM, 0), fd, hold[2], status;
	socklen_t n = sizeof a.sun_family;
	char text[256], byte;
	bool root = geteuid() == 0;
	struct peer p;
	uint64_t at;
	pid_t pid;

	(void)state;
	assert_int_equal(bind(l, (struct sockaddr *)&a, n), 0);
	n = sizeof a;
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &n), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(pipe(hold), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int s = socket(AF_UNIX, SOCK_STREAM, 0);

		close(hold[1]);
		if (root && (setgroups(3, groups) || setgid(5000) || setuid(4000)))
			_exit(1);
		if (connect(s, (struct sockaddr *)&a, n))
			_exit(2);
		_exit(read(hold[0], &byte, 1) != 0); /* until the parent lets go */
	}
	close(hold[0]);
	fd = accept(l, NULL, NULL);
	assert_true(fd >= 0);
	at = now();
	assert_int_equal(peer_read(fd, &p), 0);
	assert_int_equal(p.pid, pid);
	if (root) {
		assert_int_equal(p.uid, 4000);
		assert_int_equal(p.gid, 5000);
		assert_int_equal(p.ngroups, 3);
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(p.groups[i], 5001 + i);
		assert_true(peer_in_group(&p, 5000) && peer_in_group(&p, 5003));
		assert_false(peer_in_group(&p, 0) || peer_in_group(&p, 4000));
	}
	assert_true(peer_executable(fd, p.pid, at, text, sizeof text));
	assert_non_null(strstr(text, "test_access_pee")); /* of a name 15 bytes are kept */
	close(hold[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_false(peer_executable(fd, p.pid, at, text, sizeof text)); /* whoever has its number by now */
	assert_string_equal(text, "");
	peer_free(&p);
	close(fd);
	close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(myself), cmocka_unit_test(not_unix), cmocka_unit_test(a_child) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
