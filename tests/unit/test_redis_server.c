/* SPDX-License-Identifier: Apache-2.0
 *
 * The redis plugin against real servers of its own: what a server that the test plays cannot prove.
 * Without redis-server the plan is empty.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "redis_host.h"

#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })

struct redis { pid_t pid; char sock[112], url[128], conf[112]; };

static char dir[64];
static struct redis main_server;
static struct purser_ctx *x;
static unsigned serial;

/* Connected, or -1. */
static int dial(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A server with these lines in its configuration; it is ready when this returns. */
static void redis_start(struct redis *r, const char *lines, const char *mode)
{
	FILE *f = fopen(r->conf, "w");
	char answer[64] = "";

	assert_non_null(f);
	fprintf(f, "port 0\nunixsocket %s\nsave \"\"\nappendonly no\ndir %s\nlogfile %s/log\n%s", r->sock, dir,
	    dir, lines);
	fclose(f);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", r->conf, mode, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 5000 && !answer[0]; i++) {
		int fd = dial(r->sock);

		if (fd < 0) {
			usleep(2000);
			continue;
		}
		server_say(fd, "PING\r\n");
		if (recv(fd, answer, sizeof(answer) - 1, 0) <= 0)
			answer[0] = '\0';
		close(fd);
	}
	assert_true(answer[0]);
}

static void redis_name(struct redis *r)
{
	serial++;
	snprintf(r->sock, sizeof(r->sock), "%s/s%u", dir, serial);
	snprintf(r->conf, sizeof(r->conf), "%s/c%u", dir, serial);
	snprintf(r->url, sizeof(r->url), "url=unix://%s", r->sock);
}

static void redis_kill(struct redis *r)
{
	if (r->pid <= 0)
		return;
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	r->pid = 0;
	unlink(r->sock);
}

static int group_begin(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/purser-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	redis_name(&main_server);
	redis_start(&main_server, "", NULL);
	return 0;
}

static int group_end(void **state)
{
	char path[128];

	(void)state;
	redis_kill(&main_server);
	for (unsigned i = 1; i <= serial; i++) {
		snprintf(path, sizeof(path), "%s/c%u", dir, i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/log", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/pw", dir);
	unlink(path);
	return rmdir(dir);
}

static int begin(void **state)
{
	(void)state;
	x = host_new(SET(main_server.url));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	host_free(x);
	return 0;
}

static struct call *send_words(unsigned session, uint32_t route, uint32_t flags, const char *words)
{
	struct call *c = call_words(x, session, route, 2, words);

	c->c.flags = flags;
	call_submit(x, c);
	return c;
}

/* One command, its reply as text ("ERROR text" if the server says so). */
static const char *run(const char *words)
{
	static char text[4096];
	struct call *c = send_words(63, PURSER_ROUTE_SHARED, 0, words);

	host_wait(x, &c->ended);
	if (c->failed)
		fail_msg("%s: %s", words, c->error);
	if (c->got_error)
		snprintf(text, sizeof(text), "ERROR %s", c->error);
	else
		snprintf(text, sizeof(text), "%.*s", (int)c->reply_n, c->reply);
	call_free(c);
	return text;
}

static void ends(struct call *c, const char *reply)
{
	host_wait(x, &c->ended);
	if (c->failed)
		fail_msg("%s", c->error);
	assert_int_equal(c->reply_n, strlen(reply));
	assert_memory_equal(c->reply, reply, c->reply_n);
	call_free(c);
}

static void commands(void **state)
{
	struct call *c;

	(void)state;
	assert_string_equal(run("SET a 1"), "+OK\r\n");
	assert_string_equal(run("INCR a"), ":2\r\n");
	assert_string_equal(run("GET nothing"), "$-1\r\n");
	assert_string_equal(run("LPUSH a x"),
	    "ERROR WRONGTYPE Operation against a key holding the wrong kind of value");
	assert_string_equal(run("CLIENT GETNAME"), "$6\r\npurser\r\n");
	assert_non_null(strstr(run("NOSUCH x"), "ERROR ERR unknown command"));
	c = call_words(x, 1, PURSER_ROUTE_SHARED, 3, "HGETALL nothing");
	call_submit(x, c);
	ends(c, "%0\r\n");
	c = call_words(x, 1, PURSER_ROUTE_SHARED, 2, "GET a");
	c->c.db = 4;
	call_submit(x, c);
	ends(c, "$-1\r\n");
	c = call_words(x, 1, PURSER_ROUTE_SHARED, 2, "GET a");
	c->c.db = 400; /* the server has 16 */
	call_submit(x, c);
	host_wait(x, &c->ended);
	assert_true(c->failed && c->code == PURSER_E_UNSUPPORTED);
	assert_non_null(strstr(c->error, "DB index is out of range"));
	call_free(c);
}

/* Each reply proves which request it answers. */
static void tagged(struct call *c)
{
	char want[64];

	if (c->failed)
		return;
	snprintf(want, sizeof(want), "$%d\r\n%d\r\n", snprintf(want, 20, "%d", (int)(intptr_t)c->tag),
	    (int)(intptr_t)c->tag);
	assert_int_equal(c->reply_n, strlen(want));
	assert_memory_equal(c->reply, want, c->reply_n);
}

static struct call *echo(unsigned session, int tag)
{
	char words[64];
	struct call *c;

	snprintf(words, sizeof(words), "ECHO %d", tag);
	c = call_words(x, session, PURSER_ROUTE_SHARED, 2, words);
	c->tag = (void *)(intptr_t)tag;
	c->check = tagged;
	call_submit(x, c);
	return c;
}

static void many_sessions(void **state)
{
	enum { MANY = 20000 };
	static struct call *c[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		c[i] = echo((unsigned)i % SESSIONS, i);
		if (i % 1000 == 0)
			host_turn(x);
	}
	for (int i = 0; i < MANY; i++)
		host_wait(x, &c[i]->ended);
	for (int i = 0; i < MANY; i++) {
		assert_false(c[i]->failed);
		call_free(c[i]);
	}
}

static void large_values(void **state)
{
	enum { N = 24 << 20 };
	uint8_t *wire = malloc(N + 100);
	size_t head = (size_t)snprintf((char *)wire, 100, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n", N);
	struct call *c, *e;

	(void)state;
	for (size_t i = 0; i < N; i++)
		wire[head + i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	memcpy(wire + head + N, "\r\n", 2);
	c = call_new(x, 1, PURSER_ROUTE_SHARED, 2, wire, head + N + 2);
	call_submit(x, c);
	e = echo(2, 7);
	host_wait(x, &e->ended);
	ends(c, "+OK\r\n");
	call_free(e);
	c = send_words(1, PURSER_ROUTE_SHARED, 0, "GET big");
	e = echo(2, 8);
	host_wait(x, &c->ended);
	host_wait(x, &e->ended);
	assert_int_equal(c->reply_n, N + 13);
	assert_memory_equal(c->reply + 11, wire + head, N);
	call_free(c);
	call_free(e);
	free(wire);
	assert_string_equal(run("DEL big"), ":1\r\n");
}

static void blocking_and_cancelled(void **state)
{
	struct call *b, *c;

	(void)state;
	b = send_words(1, PURSER_ROUTE_EXCLUSIVE, PURSER_CALL_BLOCKS, "BLPOP q 0");
	c = send_words(2, PURSER_ROUTE_EXCLUSIVE, PURSER_CALL_BLOCKS, "BLPOP q 0");
	while (!strstr(run("INFO clients"), "blocked_clients:2\r\n"))
		;
	assert_string_equal(run("RPUSH q one"), ":1\r\n");
	ends(b, "*2\r\n$1\r\nq\r\n$3\r\none\r\n");
	call_cancel(c, PURSER_CANCEL_CLIENT_GONE);
	assert_true(c->failed && c->code == PURSER_E_CANCELLED);
	call_free(c);
	while (!strstr(run("INFO clients"), "blocked_clients:0\r\n"))
		;
	assert_string_equal(run("RPUSH q two"), ":1\r\n"); /* nobody takes it */
	assert_string_equal(run("LPOP q"), "$3\r\ntwo\r\n");
}

static struct call *batch(unsigned session, uint32_t route, uint32_t flags, const char *word)
{
	char wire[256];
	int n = snprintf(wire, sizeof(wire), "*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\n%s\r\n$1\r\nw\r\n"
	    "*2\r\n$4\r\nINCR\r\n$1\r\nw\r\n*1\r\n$4\r\nEXEC\r\n", word);
	struct call *c = call_new(x, session, route, 2, wire, (size_t)n);

	c->c.op = PURSER_OP_BATCH;
	c->c.skip = 3;
	c->c.flags = flags;
	call_submit(x, c);
	return c;
}

static void transactions(void **state)
{
	struct call *c;

	(void)state;
	run("DEL w");
	ends(batch(1, PURSER_ROUTE_SHARED, 0, "INCR"), "*2\r\n:1\r\n:2\r\n");
	c = batch(1, PURSER_ROUTE_SHARED, 0, "NOPE");
	host_wait(x, &c->ended);
	assert_string_equal(c->error, "EXECABORT Transaction discarded because of previous errors.");
	call_free(c);
	ends(send_words(1, PURSER_ROUTE_PINNED, 0, "WATCH w"), "+OK\r\n");
	ends(batch(1, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN, "INCR"), "*2\r\n:3\r\n:4\r\n");
	ends(send_words(1, PURSER_ROUTE_PINNED, 0, "WATCH w"), "+OK\r\n");
	assert_string_equal(run("INCR w"), ":5\r\n");
	ends(batch(1, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN, "INCR"), "*-1\r\n");
}

/* A stopped server: nothing fails by itself, deadlines are the host's; all replies come in the end. */
static void stopped_server(void **state)
{
	struct call *c[200];

	(void)state;
	run("PING");
	kill(main_server.pid, SIGSTOP);
	for (int i = 0; i < 200; i++)
		c[i] = echo((unsigned)i % 8, i);
	for (int i = 0; i < 5; i++)
		host_turn(x);
	for (int i = 0; i < 200; i += 2)
		call_cancel(c[i], PURSER_CANCEL_TIMEOUT);
	for (int i = 0; i < 200; i++)
		assert_false(c[i]->ended);
	kill(main_server.pid, SIGCONT);
	for (int i = 199; i >= 0; i--) {
		host_wait(x, &c[i]->ended);
		assert_false(c[i]->failed);
		call_free(c[i]);
	}
}

/* kill -9 under load, and back: typed failures, right replies, and what is certain is true. */
static void killed_server(void **state)
{
	enum { MANY = 3000 };
	static struct call *c[MANY];
	struct redis r;
	unsigned certain = 0, failed = 0;

	(void)state;
	redis_name(&r);
	redis_start(&r, "", NULL);
	host_free(x);
	x = host_new(SET(r.url));
	run("PING");
	for (int i = 0; i < MANY; i++) {
		c[i] = echo((unsigned)i % SESSIONS, i);
		if (i % 20 == 0)
			host_turn(x);
		if (i == MANY / 3)
			redis_kill(&r);
		if (i == 2 * MANY / 3)
			redis_start(&r, "", NULL);
	}
	for (int i = 0; i < MANY; i++)
		host_wait(x, &c[i]->ended);
	for (int i = 0; i < MANY; i++) {
		failed += c[i]->failed;
		certain += c[i]->failed && c[i]->executed == PURSER_NOT_EXECUTED;
		if (c[i]->failed)
			assert_true(c[i]->code == PURSER_E_IO || c[i]->code == PURSER_E_CONNECT);
		call_free(c[i]);
	}
	assert_in_range(failed, 1, MANY - 1); /* how many depends on how fast it came back */
	assert_true(certain > 0);
	for (bool back = false; !back;) { /* unaided */
		usleep(1000);
		host_turn(x);
		c[0] = echo(1, 1);
		host_wait(x, &c[0]->ended);
		back = !c[0]->failed;
		call_free(c[0]);
	}
	redis_kill(&r);
}

/* Bytes pass between plugin and server, until so many requests and replies bytes have; then both links
 * are cut.  NOT is never said of what ran, EXECUTED never of what did not. */
static void outcome_is_true(void **state)
{
	static const char incr[] = "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n";
	const size_t all = sizeof(incr) - 1;
	char told[64];

	(void)state;
	for (size_t n = 0; n <= all + 4; n++) {
		size_t request = n < all ? n : all, reply = n > all ? n - all : 0;
		struct purser_ctx *proxied;
		struct server proxy;
		struct call *c;
		char buf[256];
		int fd, up;
		bool ran;

		assert_string_equal(run("SET n 0"), "+OK\r\n");
		server_open(&proxy);
		host_free(x);
		x = host_new(SET(proxy.url));
		c = send_words(1, PURSER_ROUTE_SHARED, PURSER_CALL_WRITE, "INCR n");
		fd = server_hello(&proxy, x);
		up = dial(main_server.sock);
		for (size_t got = 0; got < all;) {
			size_t k;

			host_turn(x);
			k = server_read(fd, buf, sizeof(buf));
			assert_true(k != SIZE_MAX);
			got += k;
		}
		server_write(up, incr, request);
		if (request == all) {
			assert_int_equal(recv(up, buf, 4, MSG_WAITALL), 4);
			server_write(fd, buf, reply);
		}
		close(up);
		close(fd);
		host_wait(x, &c->ended);
		host_turn(x);
		proxied = x;
		x = host_new(SET(main_server.url));
		snprintf(told, sizeof(told), "%s", run("GET n"));
		ran = strcmp(told, "$1\r\n1\r\n") == 0;
		assert_int_equal(ran, request == all);
		if (!c->failed)
			assert_true(ran && reply == 4);
		else if (c->executed == PURSER_NOT_EXECUTED)
			assert_false(ran);
		else if (c->executed == PURSER_EXECUTED)
			assert_true(ran && reply > 0);
		call_free(c);
		host_free(x);
		x = proxied;
		host_free(x);
		server_close(&proxy);
		x = host_new(SET(main_server.url));
	}
}

static void passwords(void **state)
{
	char file[128], pw[112];
	struct redis r;
	struct call *c;
	FILE *f;

	(void)state;
	redis_name(&r);
	redis_start(&r, "requirepass first\nuser bob on >bobs ~* +@all\n", NULL);
	host_free(x);
	x = host_new(SET(r.url)); /* none */
	c = echo(1, 1);
	host_wait(x, &c->ended);
	assert_true(c->failed && c->code == PURSER_E_AUTH);
	assert_non_null(strstr(c->error, "NOAUTH"));
	call_free(c);
	host_free(x);
	snprintf(pw, sizeof(pw), "%s/pw", dir);
	snprintf(file, sizeof(file), "password_file=%s", pw);
	f = fopen(pw, "w");
	fputs("first\n", f);
	fclose(f);
	x = host_new(SET(r.url, file, "reconnect_cap=50ms"));
	assert_string_equal(run("ACL WHOAMI"), "$7\r\ndefault\r\n");
	/* Changed on the server and in the file; the old link goes. */
	assert_string_equal(run("CONFIG SET requirepass second"), "+OK\r\n");
	f = fopen(pw, "w");
	fputs("second", f);
	fclose(f);
	c = send_words(1, PURSER_ROUTE_SHARED, 0, "CLIENT KILL TYPE normal SKIPME no");
	host_wait(x, &c->ended);
	call_free(c);
	for (bool back = false; !back;) {
		usleep(1000);
		host_turn(x);
		c = echo(1, 1);
		host_wait(x, &c->ended);
		back = !c->failed;
		if (!back)
			assert_true(c->code == PURSER_E_AUTH || c->code == PURSER_E_IO);
		call_free(c);
	}
	assert_true(x->offloaded > 0);
	assert_null(strstr(x->logged, "first"));
	host_free(x);
	f = fopen(pw, "w");
	fputs("bobs\n", f);
	fclose(f);
	x = host_new(SET(r.url, file, "user=bob"));
	assert_string_equal(run("ACL WHOAMI"), "$3\r\nbob\r\n");
	redis_kill(&r);
}

static void refused_modes(void **state)
{
	static const char *const lines[] = { "cluster-enabled yes\ncluster-config-file nodes.conf\n", "" };
	static const char *const mode[] = { NULL, "--sentinel" }, *const says[] = { "Cluster", "Sentinel" };
	char path[128];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct redis r;
		struct call *c;

		redis_name(&r);
		redis_start(&r, lines[i], mode[i]);
		host_free(x);
		x = host_new(SET(r.url));
		c = echo(1, 1);
		host_wait(x, &c->ended);
		assert_true(c->failed && c->code == PURSER_E_UNSUPPORTED);
		assert_non_null(strstr(c->error, says[i]));
		assert_non_null(strstr(x->logged, says[i]));
		call_free(c);
		redis_kill(&r);
	}
	snprintf(path, sizeof(path), "%s/nodes.conf", dir);
	unlink(path);
}

static void server_settings(void **state)
{
	(void)state;
	assert_string_equal(run("CONFIG SET maxmemory-policy noeviction"), "+OK\r\n");
	host_free(x);
	x = host_new(SET(main_server.url, "eviction=volatile-lru"));
	assert_string_equal(run("CONFIG GET maxmemory-policy"),
	    "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n");
	assert_non_null(strstr(x->logged, "evicts by noeviction"));
	host_free(x);
	x = host_new(SET(main_server.url, "eviction=volatile-lru", "max_memory=123456789",
	    "apply_server_settings=yes"));
	assert_string_equal(run("CONFIG GET maxmemory-policy"),
	    "*2\r\n$16\r\nmaxmemory-policy\r\n$12\r\nvolatile-lru\r\n");
	assert_string_equal(run("CONFIG GET maxmemory"), "*2\r\n$9\r\nmaxmemory\r\n$9\r\n123456789\r\n");
	run("CONFIG SET maxmemory 0");
	run("CONFIG SET maxmemory-policy noeviction");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(commands), TEST(many_sessions), TEST(large_values), TEST(blocking_and_cancelled),
		TEST(transactions), TEST(stopped_server), TEST(killed_server), TEST(outcome_is_true),
		TEST(passwords), TEST(refused_modes), TEST(server_settings),
	};
	const struct CMUnitTest none[1] = { { NULL, NULL, NULL, NULL, NULL } };

	if (access("/usr/bin/redis-server", X_OK) && access("/usr/local/bin/redis-server", X_OK)) {
		printf("# redis-server is not installed\n");
		return _cmocka_run_group_tests("none", none, 0, NULL, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, group_begin, group_end);
}
