/* SPDX-License-Identifier: Apache-2.0
 *
 * The redis plugin against a server that the test plays: handshake, replies in any pieces, links cut
 * at every byte, nonsense, refusals, back-off.
 */
#include <config.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>
#include "redis_host.h"

#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })

enum { OPENED, FAILED, LOST, PROTOCOL, PUSHES };

static struct server server;
static struct purser_ctx *x;

static int begin(void **state)
{
	(void)state;
	server_open(&server);
	x = host_new(SET(server.url, "reconnect_base=20ms", "reconnect_cap=1s"));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	host_free(x);
	server_close(&server);
	return 0;
}

/* With other settings. */
static void restart(const char *const *settings)
{
	host_free(x);
	x = host_new(settings);
}

static struct call *get(unsigned session, uint8_t resp)
{
	struct call *c = call_words(x, session, PURSER_ROUTE_SHARED, resp, "GET k");

	call_submit(x, c);
	return c;
}

/* A lane that is up: its server side. */
static int lane(uint8_t resp)
{
	struct call *c = get(0, resp);
	char buf[256];
	int fd = server_hello(&server, x);

	host_turn(x);
	host_turn(x);
	assert_int_equal(server_read(fd, buf, sizeof(buf)), 20);
	assert_memory_equal(buf, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 20);
	server_say(fd, "$-1\r\n");
	host_turn(x);
	assert_true(c->ended && !c->failed && c->was_sent);
	call_free(c);
	return fd;
}

static void handshakes(void **state)
{
	char buf[1024];
	struct call *c;
	size_t n;
	int fd;

	(void)state;
	c = get(0, 2);
	assert_false(c->submitted); /* AGAIN while connecting */
	host_turn(x);
	fd = server_accept(&server);
	n = server_read(fd, buf, sizeof(buf));
	buf[n] = '\0';
	assert_string_equal(buf, "*4\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$7\r\nSETNAME\r\n$6\r\npurser\r\n"
	    "*1\r\n$4\r\nPING\r\n");
	assert_int_equal(x->links[PURSER_LINK_CONNECTING], 1);
	server_say(fd, "*2\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n+PONG\r\n");
	host_turn(x);
	host_turn(x);
	assert_int_equal(x->links[PURSER_LINK_USED], 1);
	assert_true(c->submitted && c->was_sent);
	assert_int_equal(server_read(fd, buf, sizeof(buf)), 20);
	server_say(fd, "$5\r\nhello\r\n");
	host_turn(x);
	assert_true(c->ended && !c->failed);
	assert_memory_equal(c->reply, "$5\r\nhello\r\n", 11);
	assert_int_equal(x->links[PURSER_LINK_IDLE], 1);
	call_free(c);
	close(fd);
	host_turn(x);

	restart(SET(server.url, "user=bob", "password_file=/etc/hostname", "database=3"));
	c = get(0, 3);
	host_turn(x);
	fd = server_accept(&server);
	n = server_read(fd, buf, sizeof(buf));
	buf[n] = '\0';
	assert_non_null(strstr(buf, "*7\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n"));
	assert_non_null(strstr(buf, "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*1\r\n$4\r\nPING\r\n"));
	close(fd);
	for (int i = 0; i < 10; i++)
		host_skip(x, 200);
	assert_true(c->failed);
	call_free(c);
}

/* Every kind of reply, whole, byte by byte and at every split. */
static void replies_in_pieces(void **state)
{
	static const char *const replies[] = { "+OK\r\n", ":-12\r\n", "$0\r\n\r\n", "$3\r\n\r\n\r\r\n",
		"*-1\r\n", "*3\r\n:1\r\n-ERR inside\r\n*1\r\n$1\r\nx\r\n", "-WRONGTYPE no such thing\r\n",
		"%1\r\n+a\r\n#t\r\n", ",1.5\r\n", "_\r\n", "=7\r\ntxt:abc\r\n", "!9\r\nERR\r\nline\r\n" };

	(void)state;
	for (uint8_t resp = 2; resp <= 3; resp++) {
		int fd = lane(resp);

		for (size_t r = 0; r < sizeof(replies) / sizeof(*replies) - (resp == 2 ? 5 : 0); r++) {
			const char *text = replies[r];
			size_t n = strlen(text);

			for (size_t cut = 0; cut <= n; cut++) {
				struct call *c = get(cut % SESSIONS, resp), *d = get((cut + 1) % SESSIONS, resp);
				char both[128];

				host_turn(x);
				assert_true(snprintf(both, sizeof(both), "%s%s", text, text) == (int)(2 * n));
				if (cut == 0) {
					for (size_t i = 0; i < 2 * n; i++) {
						server_write(fd, both + i, 1);
						host_turn(x);
						assert_int_equal(c->ended, i + 1 >= n);
					}
				} else {
					server_write(fd, both, cut);
					host_turn(x);
					assert_int_equal(c->ended, cut == n);
					server_write(fd, both + cut, 2 * n - cut);
					host_turn(x);
				}
				assert_true(c->ended && d->ended && !c->failed && !d->failed);
				if (text[0] == '-') {
					assert_string_equal(c->error, "WRONGTYPE no such thing");
				} else if (text[0] == '!') {
					assert_string_equal(d->error, "ERR\r\nline");
				} else {
					assert_int_equal(c->reply_n, n);
					assert_memory_equal(c->reply, text, n);
					assert_memory_equal(d->reply, text, n);
				}
				call_free(c);
				call_free(d);
			}
		}
		close(fd);
		host_turn(x);
	}
	assert_int_equal(x->count[PROTOCOL], 0);
}

/* The link is cut behind every byte of a reply: what was begun was executed, what was sent may have
 * been, what was not sent was not. */
static void cut_at_every_byte(void **state)
{
	static const char *const replies[] = { "$5\r\nhello\r\n", "*2\r\n+a\r\n$1\r\nb\r\n", "-ERR x\r\n" };

	(void)state;
	for (size_t r = 0; r < 3; r++) {
		size_t n = strlen(replies[r]);

		for (size_t cut = 0; cut <= n; cut++) {
			int fd = lane(2);
			struct call *c[4];

			for (unsigned i = 0; i < 3; i++)
				c[i] = get(i, 2);
			host_turn(x);
			c[3] = get(3, 2); /* encoded, not written: the cut comes in the same turn */
			server_write(fd, replies[r], cut);
			close(fd);
			assert_int_equal(loop_turn(x->loop, 0), 0); /* reads to the end, without flush */
			for (unsigned i = 0; i < 4; i++)
				assert_true(c[i]->ended);
			assert_int_equal(c[0]->failed, cut < n);
			if (cut < n) {
				assert_int_equal(c[0]->code, PURSER_E_IO);
				assert_int_equal(c[0]->executed, cut && replies[r][0] != '-' ? PURSER_EXECUTED :
				    PURSER_MAYBE_EXECUTED);
			}
			assert_int_equal(c[1]->executed, PURSER_MAYBE_EXECUTED);
			assert_int_equal(c[2]->executed, PURSER_MAYBE_EXECUTED);
			assert_int_equal(c[3]->executed, PURSER_NOT_EXECUTED);
			for (unsigned i = 3; i > 0; i--) {
				assert_int_equal(c[i]->order, c[0]->order + i);
				call_free(c[i]);
			}
			call_free(c[0]);
			host_skip(x, 1100);
		}
	}
	assert_int_equal(x->count[PROTOCOL], 0);
}

static void nonsense(void **state)
{
	static const struct { const char *text; uint8_t resp; } bad[] = {
		{ "HTTP/1.1 400 Bad Request\r\n", 2 }, { "$x\r\n", 2 }, { "$3\r\nabcde", 2 }, { "+a\nb\r\n", 2 },
		{ ":1x\r\n", 2 }, { "*1\r\n?\r\n", 2 }, { "\r\n", 2 }, { "_\r\n", 2 }, { ">1\r\n+x\r\n", 2 },
		{ "|1\r\n+x\r\n+y\r\n+z\r\n", 2 }, { "!3\r\nERR\r\n", 2 }, { "-ERR\nx\r\n", 2 }, { "%x\r\n", 3 },
		{ "!70000\r\n", 3 }, { "|-1\r\n", 3 }, { "$-5\r\n", 3 }, { "!3\r\nERRxx", 3 } };
	int64_t before = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int fd = lane(bad[i].resp);
		struct call *c = get(1, bad[i].resp), *d = get(2, bad[i].resp);
		char buf[64];

		host_turn(x);
		server_say(fd, bad[i].text);
		host_turn(x);
		if (!c->failed)
			fail_msg("accepted: %s", bad[i].text);
		assert_int_equal(c->code, PURSER_E_PROTOCOL);
		assert_true(d->failed && d->code == PURSER_E_IO && d->executed == PURSER_MAYBE_EXECUTED);
		assert_int_equal(x->count[PROTOCOL], ++before);
		server_read(fd, buf, sizeof(buf)); /* what it had asked for */
		assert_true(server_read(fd, buf, sizeof(buf)) == SIZE_MAX);
		call_free(c);
		call_free(d);
		close(fd);
		before = 0;
		restart(SET(server.url));
	}
}

/* A server that speaks without being asked, or before the request is all there. */
static void unasked(void **state)
{
	struct call *c;
	char *big = calloc(1, 4 << 20);
	int fd = lane(2);

	(void)state;
	server_say(fd, "+hello\r\n");
	host_turn(x);
	assert_int_equal(x->count[PROTOCOL], 1);
	close(fd);
	host_skip(x, 100);
	fd = lane(2);
	c = call_new(x, 1, PURSER_ROUTE_SHARED, 2, big, 4 << 20);
	call_submit(x, c);
	host_turn(x);
	server_say(fd, "-ERR Protocol error: invalid bulk length\r\n");
	host_turn(x);
	assert_true(c->failed && c->executed == PURSER_NOT_EXECUTED && c->code == PURSER_E_TOOLARGE);
	assert_non_null(strstr(c->error, "invalid bulk length"));
	call_free(c);
	close(fd);
	free(big);
	host_skip(x, 100);
	fd = lane(2);
	assert_non_null(strstr(x->logged, "nothing had asked for"));
	close(fd);
	host_turn(x);
}

static void pushes_do_not_disturb(void **state)
{
	static const char text[] = ">2\r\n$7\r\nmessage\r\n*1\r\n:1\r\n|1\r\n+ttl\r\n:5\r\n$1\r\na\r\n"
	    ">1\r\n+x\r\n-ERR b\r\n|0\r\n>0\r\n+c\r\n>1\r\n:1\r\n";
	struct call *c, *d, *e;
	int fd = lane(3);

	(void)state;
	for (size_t cut = 1; cut < sizeof(text); cut++) {
		c = get(1, 3);
		d = get(1, 3);
		e = get(1, 3);
		host_turn(x);
		server_write(fd, text, cut);
		host_turn(x);
		server_write(fd, text + cut, sizeof(text) - 1 - cut);
		host_turn(x);
		assert_int_equal(c->reply_n, 7);
		assert_string_equal(d->error, "ERR b");
		assert_int_equal(e->reply_n, 4);
		call_free(c);
		call_free(d);
		call_free(e);
	}
	assert_int_equal(x->count[PUSHES], 5 * (sizeof(text) - 1));
	close(fd);
	host_turn(x);
}

/* The server closes with the answer to the handshake still in the pipe: its words are told. */
static void say_and_check(const char *says, uint32_t code, const char *told)
{
	struct call *c = get(0, 2);
	int fd;

	host_turn(x);
	fd = server_accept(&server);
	assert_true(fd >= 0);
	server_say(fd, says);
	host_turn(x);
	close(fd);
	host_turn(x);
	assert_true(c->failed);
	assert_int_equal(c->code, code);
	assert_int_equal(c->executed, PURSER_NOT_EXECUTED);
	if (!strstr(c->error, told) || !strstr(x->logged, told))
		fail_msg("told \"%s\", logged \"%s\"", c->error, x->logged);
	call_free(c);
	restart(SET(server.url));
}

static void refusals(void **state)
{
	(void)state;
	say_and_check("-ERR max number of clients reached\r\n", PURSER_E_CONNECT, "max number of clients");
	say_and_check("-WRONGPASS invalid username-password pair\r\n", PURSER_E_AUTH, "WRONGPASS");
	say_and_check("-NOAUTH HELLO must be called\r\n", PURSER_E_AUTH, "NOAUTH");
	say_and_check("*2\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n", PURSER_E_UNSUPPORTED, "Sentinel");
	say_and_check("*4\r\n$2\r\nid\r\n:4\r\n$4\r\nmode\r\n$7\r\ncluster\r\n", PURSER_E_UNSUPPORTED,
	    "Cluster");
	say_and_check("*0\r\n-LOADING Redis is loading the dataset in memory\r\n", PURSER_E_CONNECT,
	    "LOADING");
	say_and_check("HTTP/1.1 400 Bad Request\r\n", PURSER_E_PROTOCOL, "no Redis server");
	say_and_check("", PURSER_E_IO, "during the handshake");
	say_and_check("*0\r\n+PONG", PURSER_E_IO, "during the handshake");
}

/* A server older than Redis 6. */
static void legacy(void **state)
{
	struct call *c = get(0, 2);
	char buf[512];
	size_t n;
	int fd;

	(void)state;
	host_turn(x);
	fd = server_accept(&server);
	server_say(fd, "-ERR unknown command `HELLO`, with args beginning with: `2`, \r\n");
	host_turn(x);
	close(fd);
	fd = server_accept(&server);
	assert_true(fd >= 0);
	n = server_read(fd, buf, sizeof(buf));
	buf[n] = '\0';
	assert_string_equal(buf, "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$6\r\npurser\r\n"
	    "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n*1\r\n$4\r\nPING\r\n");
	server_say(fd, "+OK\r\n$55\r\n# Server\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\n\r\n+PONG\r\n");
	host_turn(x);
	host_turn(x);
	assert_true(c->was_sent);
	server_say(fd, "+x\r\n");
	host_turn(x);
	assert_int_equal(c->reply_n, 4);
	call_free(c);
	assert_non_null(strstr(x->logged, "5.0.14"));
	c = get(1, 3); /* RESP3 is not to be had */
	host_turn(x);
	close(server_accept(&server));
	host_skip(x, 1000);
	assert_true(c->failed);
	call_free(c);
	close(fd);
	host_turn(x);
}

/* A password that was changed on both sides. */
static void password_is_read_again(void **state)
{
	char path[] = "/tmp/purser-test-XXXXXX", file[64], buf[512];
	int pw = mkstemp(path), fd;
	struct call *c;
	size_t n;

	(void)state;
	assert_int_equal(write(pw, "old\n", 4), 4);
	snprintf(file, sizeof(file), "password_file=%s", path);
	restart(SET(server.url, file));
	c = get(0, 2);
	host_turn(x);
	fd = server_accept(&server);
	n = server_read(fd, buf, sizeof(buf) - 1);
	buf[n] = '\0';
	assert_non_null(strstr(buf, "$4\r\nAUTH\r\n$7\r\ndefault\r\n$3\r\nold\r\n"));
	assert_int_equal(pwrite(pw, "new\n", 4, 0), 4);
	server_say(fd, "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
	host_turn(x);
	host_turn(x);
	close(fd);
	assert_true(c->failed && c->code == PURSER_E_AUTH);
	assert_null(strstr(x->logged, "old\n"));
	call_free(c);
	c = get(0, 2); /* known to be refused: at once */
	assert_true(c->failed && c->code == PURSER_E_AUTH);
	call_free(c);
	host_skip(x, 1000);
	for (int i = 0; i < 2000 && x->links[PURSER_LINK_CONNECTING] == 0; i++)
		host_turn(x);
	for (fd = -1; fd < 0; fd = server_accept(&server)) {
		host_turn(x);
		usleep(1000); /* the file is read on another thread */
	}
	assert_int_equal(x->offloaded, 1);
	n = server_read(fd, buf, sizeof(buf) - 1);
	buf[n] = '\0';
	assert_non_null(strstr(buf, "$3\r\nnew\r\n"));
	server_say(fd, "*0\r\n+PONG\r\n");
	host_turn(x);
	c = get(0, 2);
	host_turn(x);
	server_say(fd, "+OK\r\n");
	host_turn(x);
	assert_true(c->ended && !c->failed);
	call_free(c);
	close(fd);
	host_turn(x);
	close(pw);
	unlink(path);
}

/* Nobody listens: the first call waits for the attempt, the next fail at once; attempts get rarer;
 * when the server is back, so are we, without a call. */
static void down_and_back(void **state)
{
	struct call *c;
	int fd;

	(void)state;
	server_away(&server);
	c = get(0, 2);
	assert_true(c->failed && c->code == PURSER_E_CONNECT && c->executed == PURSER_NOT_EXECUTED);
	assert_non_null(strstr(c->error, "No such file"));
	call_free(c);
	for (int i = 0; i < 100; i++) {
		c = get(0, 2);
		assert_true(c->failed && c->code == PURSER_E_CONNECT);
		call_free(c);
	}
	assert_int_equal(x->count[FAILED], 1);
	for (int i = 0; i < 5000; i += 5)
		host_skip(x, 5);
	assert_in_range(x->count[FAILED], 8, 60); /* full jitter, cap 1 s: about 5 to 30 */
	assert_int_equal(x->lines, 1);
	server_back(&server);
	host_skip(x, 1000);
	fd = server_hello(&server, x);
	assert_non_null(strstr(x->logged, "recovered"));
	c = get(0, 2);
	assert_true(c->submitted && !c->ended);
	host_turn(x);
	server_say(fd, "+OK\r\n");
	host_turn(x);
	assert_true(c->ended && !c->failed);
	call_free(c);
	/* A lost link is tried again at once, and calls wait for it. */
	close(fd);
	host_turn(x);
	c = get(0, 2);
	assert_false(c->ended);
	host_skip(x, 40);
	fd = server_hello(&server, x);
	host_turn(x);
	assert_true(c->submitted);
	server_say(fd, "+OK\r\n");
	host_turn(x);
	assert_true(c->ended && !c->failed);
	call_free(c);
	close(fd);
	host_turn(x);
}

/* A lane that nobody uses is not kept alive for ever. */
static void idle_lane_rests(void **state)
{
	int fd = lane(2);

	(void)state;
	host_skip(x, 61000);
	close(fd);
	host_turn(x);
	for (int i = 0; i < 10; i++)
		host_skip(x, 1000);
	assert_int_equal(server_accept(&server), -1);
	fd = lane(2); /* the next call opens it */
	close(fd);
	host_turn(x);
}

static void slow_handshake_times_out(void **state)
{
	struct call *c;
	int fd;

	(void)state;
	restart(SET(server.url, "connection_timeout=300ms"));
	c = get(0, 2);
	host_turn(x);
	fd = server_accept(&server);
	host_skip(x, 299);
	server_say(fd, "*2\r\n$4\r\nmo");
	host_turn(x);
	assert_false(c->ended);
	host_skip(x, 2);
	assert_true(c->failed && c->code == PURSER_E_CONNECT);
	assert_non_null(strstr(c->error, "connection_timeout"));
	call_free(c);
	close(fd);
}

/* TCP by name and number, and a name that does not exist. */
static void names(void **state)
{
	struct addrinfo *ai;
	struct call *c;
	bool *until, known; /* a chroot may have no /etc/hosts */

	(void)state;
	known = getaddrinfo("localhost", "1", NULL, &ai) == 0;
	if (known)
		freeaddrinfo(ai);
	restart(SET("url=redis://127.0.0.1:1"));
	c = get(0, 2);
	until = &c->failed;
	host_wait(x, until);
	assert_non_null(strstr(c->error, "127.0.0.1:1: Connection refused"));
	assert_int_equal(x->offloaded, 0);
	call_free(c);
	restart(SET("url=redis://localhost:1"));
	c = get(0, 2);
	host_wait(x, &c->failed);
	assert_non_null(strstr(c->error, known ? "Connection refused" : "cannot be resolved"));
	assert_int_equal(x->offloaded, 1);
	call_free(c);
	restart(SET("url=redis://no-such-host.invalid:1"));
	c = get(0, 2);
	host_wait(x, &c->failed);
	assert_int_equal(c->code, PURSER_E_CONNECT);
	assert_non_null(strstr(c->error, "cannot be resolved"));
	call_free(c);
}

static void policy_is_compared(void **state)
{
	struct call *c;
	char buf[512];
	size_t n;
	int fd;

	(void)state;
	restart(SET(server.url, "eviction=allkeys-lru"));
	c = get(0, 2);
	fd = server_hello(&server, x);
	assert_non_null(strstr(x->logged, "evicts by noeviction, eviction says allkeys-lru"));
	host_turn(x);
	server_say(fd, "+OK\r\n");
	host_turn(x);
	call_free(c);
	close(fd);
	host_turn(x);
	restart(SET(server.url, "eviction=allkeys-lru", "max_memory=1000", "apply_server_settings=yes"));
	c = get(0, 2);
	fd = server_hello(&server, x);
	host_turn(x);
	n = server_read(fd, buf, sizeof(buf) - 1);
	buf[n] = '\0';
	assert_string_equal(buf, "*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$16\r\nmaxmemory-policy\r\n$11\r\n"
	    "allkeys-lru\r\n*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$9\r\nmaxmemory\r\n$4\r\n1000\r\n");
	server_say(fd, "+OK\r\n-NOPERM this user has no permissions\r\n");
	host_turn(x);
	host_turn(x);
	assert_non_null(strstr(x->logged, "NOPERM"));
	server_say(fd, "+OK\r\n");
	host_turn(x);
	assert_true(c->ended && !c->failed);
	call_free(c);
	close(fd);
	host_turn(x);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(handshakes), TEST(replies_in_pieces), TEST(cut_at_every_byte), TEST(nonsense),
		TEST(unasked), TEST(pushes_do_not_disturb), TEST(refusals), TEST(legacy),
		TEST(password_is_read_again), TEST(down_and_back), TEST(idle_lane_rests),
		TEST(slow_handshake_times_out), TEST(names), TEST(policy_is_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
