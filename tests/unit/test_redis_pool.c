/* SPDX-License-Identifier: Apache-2.0
 *
 * The redis plugin's links of their own, against a server that the test plays: kept ready, checked when idle,
 * replaced when old, lent between contexts; and blocked calls that are let go.
 */
#include <config.h>
#include <unistd.h>
#include "redis_host.h"

#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define GET_K "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
#define PING "*1\r\n$4\r\nPING\r\n"
#define BLPOP "*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n"

static struct server server;
static struct purser_ctx *x;
static char sink[4096];

static int begin(void **state)
{
	(void)state;
	server_open(&server);
	x = NULL;
	return 0;
}

static int finish(void **state)
{
	(void)state;
	if (x)
		host_free(x);
	server_close(&server);
	return 0;
}

static void expect(int fd, const char *text)
{
	size_t n = 0, want = strlen(text);

	for (int i = 0; i < 200 && n < want; i++) {
		size_t k;

		host_turn(x);
		k = server_read(fd, sink + n, sizeof(sink) - n - 1);
		assert_true(k != SIZE_MAX);
		n += k;
	}
	sink[n] = '\0';
	assert_string_equal(sink, text);
}

static bool closed(int fd)
{
	for (int i = 0; i < 20; i++) {
		if (server_read(fd, sink, sizeof(sink)) == SIZE_MAX)
			return true;
		host_turn(x);
	}
	return false;
}

static struct call *say(unsigned session, uint32_t route, uint32_t flags, const char *words)
{
	struct call *c = call_words(x, session, route, 2, words);

	c->c.flags = flags;
	call_submit(x, c);
	return c;
}

static void answer(int fd, struct call *c, const char *text)
{
	server_say(fd, text);
	for (int i = 0; i < 20 && !c->ended; i++)
		host_turn(x);
	assert_true(c->ended && !c->failed);
	call_free(c);
}

/* A lane that is up: its server side. */
static int lane(void)
{
	struct call *c = say(1, PURSER_ROUTE_SHARED, 0, "GET k");
	int fd = server_hello(&server, x);

	expect(fd, GET_K);
	answer(fd, c, "$-1\r\n");
	return fd;
}

static struct call *block(unsigned session)
{
	return say(session, PURSER_ROUTE_EXCLUSIVE, PURSER_CALL_BLOCKS | PURSER_CALL_WRITE, "BLPOP q 0");
}

/* server_hello() without an id: the server's answer has none, so nothing can be unblocked by it. */
static int hello_id(unsigned id)
{
	char buf[4096], text[256];
	size_t n = 0;
	int fd = -1;

	for (int i = 0; i < 200 && fd < 0; i++) {
		host_turn(x);
		fd = server_accept(&server);
	}
	assert_true(fd >= 0);
	for (int i = 0; i < 200 && (n < 6 || memcmp(buf + n - 6, "PING\r\n", 6) != 0); i++) {
		host_turn(x);
		n += server_read(fd, buf + n, sizeof(buf) - n);
		assert_true(n < sizeof(buf));
	}
	snprintf(text, sizeof(text), "*8\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"
	    "$2\r\nid\r\n:%u\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n+PONG\r\n", id);
	server_say(fd, text);
	host_turn(x);
	return fd;
}

/* pool_min: with the first command of a client, one after the other; again when one is lost. */
static void kept_ready(void **state)
{
	struct call *c;
	int fd[4];

	(void)state;
	x = host_new(SET(server.url, "pool_min=3"));
	c = say(1, PURSER_ROUTE_SHARED, PURSER_CALL_INTERNAL, "GET k");
	fd[0] = server_hello(&server, x);
	expect(fd[0], GET_K);
	answer(fd[0], c, "$-1\r\n");
	host_skip(x, 60000); /* the agent itself needs none */
	assert_int_equal(server_accept(&server), -1);
	close(fd[0]);
	host_turn(x);
	fd[0] = lane();
	for (int i = 1; i < 4; i++)
		fd[i] = server_hello(&server, x);
	host_turn(x);
	assert_int_equal(server_accept(&server), -1);
	assert_int_equal(x->links[PURSER_LINK_IDLE], 4);
	host_skip(x, 3600000); /* they stay */
	assert_int_equal(x->links[PURSER_LINK_IDLE], 4);
	close(fd[2]);
	host_turn(x);
	host_skip(x, 15000);
	fd[2] = server_hello(&server, x);
	host_turn(x);
	assert_int_equal(x->links[PURSER_LINK_IDLE], 4);
	/* The last that was used is used again. */
	c = say(1, PURSER_ROUTE_PINNED, 0, "WATCH a");
	expect(fd[2], "*2\r\n$5\r\nWATCH\r\n$1\r\na\r\n");
	answer(fd[2], c, "+OK\r\n");
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	host_turn(x);
}

/* Until the first link is up nobody knows whether the server is there: one connects at a time. */
static void one_at_a_time(void **state)
{
	struct call *c[3];
	int fd[3];

	(void)state;
	x = host_new(SET(server.url));
	for (unsigned i = 0; i < 3; i++)
		c[i] = block(i);
	host_turn(x);
	fd[0] = server_accept(&server);
	assert_true(fd[0] >= 0);
	assert_int_equal(server_accept(&server), -1);
	close(fd[0]);
	host_turn(x);
	for (unsigned i = 0; i < 3; i++)
		assert_true(c[i]->failed || !c[i]->submitted);
	host_abandon(x);
	x = NULL;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(!c[i]->submitted || c[i]->failed);
		call_free(c[i]);
	}
}

/* Asked with PING when idle, lanes too; while the answer is out they take no call; without one they go. */
static void idle_is_checked(void **state)
{
	struct call *c, *b;
	int fd, fb;

	(void)state;
	x = host_new(SET(server.url, "ping_interval=30s", "idle_timeout=1h"));
	fd = lane();
	b = block(2);
	fb = server_hello(&server, x);
	expect(fb, BLPOP);
	answer(fb, b, "*-1\r\n");
	host_skip(x, 29000);
	host_skip(x, 15000);
	expect(fd, PING);
	expect(fb, PING);
	assert_int_equal(x->links[PURSER_LINK_IDLE], 2);
	c = say(1, PURSER_ROUTE_SHARED, 0, "GET k");
	host_turn(x);
	assert_false(c->submitted);
	server_say(fd, "+PO");
	host_turn(x);
	assert_false(c->submitted);
	server_say(fd, "NG\r\n");
	expect(fd, GET_K);
	answer(fd, c, "$-1\r\n");
	assert_int_equal(x->count[0], 2); /* connections opened: a check is none */
	/* fb's answer does not come */
	host_skip(x, 10000);
	assert_true(closed(fb));
	assert_int_equal(x->links[PURSER_LINK_IDLE], 1);
	/* and the lane's server is gone: it was in use lately, so it comes back */
	host_skip(x, 45000);
	expect(fd, PING);
	close(fd);
	host_turn(x);
	host_turn(x);
	host_skip(x, 1000); /* reconnect_base */
	fd = server_hello(&server, x);
	c = say(1, PURSER_ROUTE_SHARED, 0, "GET k");
	expect(fd, GET_K);
	answer(fd, c, "$-1\r\n");
	close(fd);
	close(fb);
	host_turn(x);
}

/* Older than max_lifetime: replaced when nothing is under way. */
static void old_is_replaced(void **state)
{
	struct call *b, *c;
	int fd, fb, fresh;

	(void)state;
	x = host_new(SET(server.url, "max_lifetime=10m", "idle_timeout=1h"));
	fd = lane();
	b = block(2);
	fb = server_hello(&server, x);
	expect(fb, BLPOP);
	c = say(1, PURSER_ROUTE_SHARED, 0, "GET k");
	expect(fd, GET_K);
	host_skip(x, 8 * 60000);
	host_skip(x, 16000);
	assert_int_equal(x->links[PURSER_LINK_USED], 2); /* nine tenths are not over */
	host_skip(x, 100000);
	host_skip(x, 16000);
	assert_int_equal(x->links[PURSER_LINK_USED], 2); /* they are in use */
	answer(fd, c, "$-1\r\n");
	answer(fb, b, "*-1\r\n");
	c = say(1, PURSER_ROUTE_SHARED, 0, "GET k"); /* the lane is one in use */
	expect(fd, GET_K);
	answer(fd, c, "$-1\r\n");
	host_skip(x, 16000);
	assert_true(closed(fd) && closed(fb));
	fresh = server_hello(&server, x); /* the lane comes back at once, the other is not needed */
	host_turn(x);
	assert_int_equal(server_accept(&server), -1);
	c = say(1, PURSER_ROUTE_SHARED, 0, "GET k");
	expect(fresh, GET_K);
	answer(fresh, c, "$-1\r\n");
	close(fd);
	close(fb);
	close(fresh);
	host_turn(x);
}

/* Let go by the server, on another connection, and not used again before that has answered. */
static void let_go(void **state)
{
	struct call *a, *b, *c, *d;
	int fl, fa, fb, fd, control;

	(void)state;
	x = host_new(SET(server.url));
	fl = lane();
	a = block(2);
	fa = hello_id(41);
	expect(fa, BLPOP);
	b = block(3);
	fb = hello_id(42);
	expect(fb, BLPOP);
	call_cancel(a, PURSER_CANCEL_UNBLOCK);
	call_cancel(b, PURSER_CANCEL_UNBLOCK_ERROR);
	call_cancel(a, PURSER_CANCEL_UNBLOCK); /* twice is once */
	assert_false(a->ended || b->ended);
	control = hello_id(43);
	expect(control, "*4\r\n$6\r\nCLIENT\r\n$7\r\nUNBLOCK\r\n$2\r\n41\r\n$7\r\nTIMEOUT\r\n"
	    "*4\r\n$6\r\nCLIENT\r\n$7\r\nUNBLOCK\r\n$2\r\n42\r\n$5\r\nERROR\r\n");
	answer(fa, a, "*-1\r\n");
	c = block(2); /* fa is free, but what was said of it has not been answered */
	fd = hello_id(44);
	expect(fd, BLPOP);
	server_say(control, ":1\r\n:1\r\n");
	host_turn(x);
	server_say(fb, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
	host_turn(x);
	assert_true(b->ended && !b->failed);
	assert_string_equal(b->error, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
	call_free(b);
	d = block(4); /* now it is: and fb, the last one */
	expect(fb, BLPOP);
	b = block(5);
	expect(fa, BLPOP);
	/* It had not got there yet: it is said again; at last it is served. */
	call_cancel(d, PURSER_CANCEL_UNBLOCK);
	for (int i = 0; i < 3; i++) {
		expect(control, "*4\r\n$6\r\nCLIENT\r\n$7\r\nUNBLOCK\r\n$2\r\n42\r\n$7\r\nTIMEOUT\r\n");
		server_say(control, ":0\r\n");
	}
	expect(control, "*4\r\n$6\r\nCLIENT\r\n$7\r\nUNBLOCK\r\n$2\r\n42\r\n$7\r\nTIMEOUT\r\n");
	server_say(fb, "*2\r\n$1\r\nq\r\n$1\r\nv\r\n");
	server_say(control, ":0\r\n");
	host_turn(x);
	host_turn(x);
	assert_true(d->ended && !d->failed);
	call_free(d);
	/* The client goes meanwhile: its link is closed, and nobody is told the answer. */
	call_cancel(b, PURSER_CANCEL_UNBLOCK);
	host_turn(x);
	call_cancel(b, PURSER_CANCEL_CLIENT_GONE);
	assert_true(b->failed && closed(fa));
	server_say(control, ":1\r\n");
	host_turn(x);
	call_free(b);
	/* The server will not: then the link is closed. */
	call_cancel(c, PURSER_CANCEL_UNBLOCK);
	host_turn(x);
	server_say(control, "-NOPERM no\r\n");
	host_turn(x);
	host_turn(x);
	assert_true(c->failed && c->code == PURSER_E_CANCELLED && closed(fd));
	call_free(c);
	close(control);
	host_turn(x);
	close(fl);
	close(fa);
	close(fb);
	close(fd);
	host_turn(x);
}

/* The connection for it is lost: who is to be let go is closed. */
static void nobody_to_tell(void **state)
{
	struct call *a, *b;
	int fl, fa, fb, control;

	(void)state;
	x = host_new(SET(server.url));
	fl = lane();
	a = block(2);
	fa = hello_id(41);
	expect(fa, BLPOP);
	b = block(3);
	fb = server_hello(&server, x); /* says no id */
	expect(fb, BLPOP);
	call_cancel(b, PURSER_CANCEL_UNBLOCK);
	assert_true(b->failed && closed(fb));
	call_cancel(a, PURSER_CANCEL_UNBLOCK);
	control = hello_id(43);
	host_turn(x);
	assert_false(a->ended);
	close(control);
	host_turn(x);
	host_turn(x);
	assert_true(a->failed && a->code == PURSER_E_CANCELLED && closed(fa));
	call_free(a);
	call_free(b);
	close(fl);
	close(fa);
	close(fb);
	host_turn(x);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kept_ready), TEST(one_at_a_time), TEST(idle_is_checked), TEST(old_is_replaced), TEST(let_go),
		TEST(nobody_to_tell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
