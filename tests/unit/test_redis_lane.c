/* SPDX-License-Identifier: Apache-2.0
 *
 * The redis plugin's lanes and dedicated links, against a server that the test plays: windows, large
 * requests, clients that do not read, order, blocking calls, pinned sessions, batches, shutdown.
 */
#include <config.h>
#include <sys/socket.h>
#include <unistd.h>
#include "redis_host.h"

#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define MIB (1u << 20)

static struct server server;
static struct purser_ctx *x;
static char sink[8 * MIB];

static int begin(void **state)
{
	(void)state;
	server_open(&server);
	x = host_new(SET(server.url));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	host_free(x);
	server_close(&server);
	return 0;
}

static struct call *say(unsigned session, uint32_t route, uint32_t flags, const char *words)
{
	struct call *c = call_words(x, session, route, 2, words);

	c->c.flags = flags;
	call_submit(x, c);
	return c;
}

static struct call *get(unsigned session, uint32_t flags)
{
	return say(session, PURSER_ROUTE_SHARED, flags, "GET k");
}

/* All that has come on fd, which must be text, exactly. */
static void expect(int fd, const char *text)
{
	size_t n;

	host_turn(x);
	n = server_read(fd, sink, sizeof(sink) - 1);
	if (n == SIZE_MAX)
		n = 0;
	sink[n] = '\0';
	assert_string_equal(sink, text);
}

#define GET_K "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"

static void answer(int fd, struct call *c, const char *text)
{
	host_turn(x);
	server_say(fd, text);
	host_turn(x);
	assert_true(c->ended && !c->failed);
	call_free(c);
}

/* A lane that is up. */
static int up(void)
{
	struct call *c = get(0, 0);
	int fd = server_hello(&server, x);

	expect(fd, GET_K);
	answer(fd, c, "+OK\r\n");
	return fd;
}

/* More calls than the window holds, and more bytes than the kernel takes: AGAIN, and ready later. */
static void windows_are_bounded(void **state)
{
	enum { MANY = 40000 };
	static struct call *c[MANY];
	size_t taken = 0, got = 0, queued;
	int fd = up();

	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		c[i] = get(i % SESSIONS, 0);
	for (unsigned i = 0; i < MANY; i++)
		taken += c[i]->submitted;
	assert_in_range(taken, 1000, 16384);
	for (int turns = 0; turns < 20000 && !c[MANY - 1]->ended; turns++) {
		size_t n;

		host_turn(x);
		n = server_read(fd, sink, sizeof(sink));
		assert_true(n != SIZE_MAX);
		got += n;
		for (n = 0; got >= 20; got -= 20, n += 5)
			memcpy(sink + n, "+OK\r\n", 5);
		if (n)
			server_write(fd, sink, n);
	}
	queued = 0;
	for (unsigned i = MANY; i-- > 0; call_free(c[i])) {
		assert_true(c[i]->ended && !c[i]->failed);
		queued += i > 0 && c[i]->order < c[i - 1]->order;
	}
	assert_int_equal(queued, 0);
	close(fd);
	host_turn(x);
}

/* A request larger than the buffer goes in pieces; meanwhile others use another link, and the same
 * session waits its turn. */
static void large_request(void **state)
{
	const size_t big_n = 6 * MIB;
	uint8_t *big = malloc(big_n);
	struct call *c, *same, *other;
	size_t got = 0, n;
	int fd = up(), fd2;

	(void)state;
	for (size_t i = 0; i < big_n; i++)
		big[i] = (uint8_t)(i * 7 + i / 1000);
	c = call_new(x, 1, PURSER_ROUTE_SHARED, 2, big, big_n);
	c->c.wire_bytes = UINT64_MAX;
	call_submit(x, c);
	host_turn(x);
	assert_false(c->was_sent);
	assert_in_range(c->wire_at, 1, 2 * MIB); /* not all of it is copied */
	other = get(2, PURSER_CALL_ALONE);
	fd2 = server_hello(&server, x);
	expect(fd2, GET_K);
	same = get(1, 0);
	host_turn(x);
	assert_false(same->was_sent);
	answer(fd2, other, "+2\r\n");
	for (int turns = 0; turns < 1000 && got < big_n; turns++) {
		n = server_read(fd, sink, big_n - got);
		assert_memory_equal(sink, big + got, n);
		got += n;
		host_turn(x);
	}
	assert_int_equal(got, big_n);
	assert_true(c->was_sent);
	if (!same->submitted) /* it follows on the same link, or comes when that is free */
		host_turn(x);
	server_say(fd, "+1\r\n");
	host_turn(x);
	assert_true(c->ended);
	host_turn(x);
	n = server_read(fd, sink, sizeof(sink));
	assert_int_equal(n, 20);
	answer(fd, same, "+3\r\n");
	call_free(c);
	free(big);
	close(fd);
	close(fd2);
	host_turn(x);
}

/* Cut in the middle of a large request: it was not executed, the one before may have been. */
static void large_request_cut(void **state)
{
	char *big = calloc(1, 4 * MIB);
	struct call *before, *c;
	int fd = up();

	(void)state;
	before = get(1, 0);
	host_turn(x);
	c = call_new(x, 1, PURSER_ROUTE_SHARED, 2, big, 4 * MIB);
	call_submit(x, c);
	host_turn(x);
	close(fd);
	host_turn(x);
	assert_true(before->failed && before->executed == PURSER_MAYBE_EXECUTED);
	assert_true(c->failed && c->executed == PURSER_NOT_EXECUTED);
	call_free(before);
	call_free(c);
	free(big);
}

/* encode() in pieces of every size. */
static void encode_in_pieces(void **state)
{
	int fd = up();

	(void)state;
	for (size_t max = 1; max < 24; max++) {
		struct call *c, *d;

		x->encode_max = max;
		c = get(1, 0);
		d = get(1, 0);
		expect(fd, GET_K GET_K);
		server_say(fd, "+1\r\n");
		host_turn(x);
		answer(fd, d, "+2\r\n");
		assert_true(c->ended);
		call_free(c);
	}
	x->encode_max = 0;
	close(fd);
	host_turn(x);
}

/* A client does not read its large reply: sessions that have something in flight on that link stay,
 * in order; everybody else gets another link; nothing is read beyond what was allowed. */
static void client_that_does_not_read(void **state)
{
	struct call *slow, *behind, *same, *fresh, *fresh2;
	char *big = malloc(4 * MIB);
	size_t n, before;
	int fd = up(), fd2;

	(void)state;
	memset(big, 'v', 4 * MIB);
	slow = call_words(x, 1, PURSER_ROUTE_SHARED, 2, "GET big");
	slow->credit = 1000;
	call_submit(x, slow);
	behind = get(2, 0);
	host_turn(x);
	server_read(fd, sink, sizeof(sink));
	n = (size_t)snprintf(sink, sizeof(sink), "$%u\r\n", MIB);
	server_write(fd, sink, n);
	server_write(fd, big, 100000);
	host_turn(x);
	assert_true(slow->stalled && slow->reply_n <= 65536 + n);
	before = slow->reply_n;
	fresh = get(3, PURSER_CALL_ALONE);
	assert_false(fresh->submitted); /* the other link is being opened */
	fd2 = server_hello(&server, x);
	same = get(2, 0);
	fresh2 = get(3, 0);
	expect(fd2, GET_K GET_K);
	expect(fd, GET_K); /* same, behind behind */
	server_say(fd2, "+f\r\n");
	answer(fd2, fresh2, "+f2\r\n");
	assert_true(fresh->ended);
	call_free(fresh);
	assert_int_equal(slow->reply_n, before);
	/* It reads again. */
	slow->credit = 0;
	slow->stalled = false;
	x->p->resume(x->cs, &slow->c, PURSER_RESUME_REPLY);
	for (size_t at = 100000; at < MIB;) {
		ssize_t k = send(fd, big + at, MIB - at, MSG_NOSIGNAL);

		at += k > 0 ? (size_t)k : 0;
		host_turn(x);
	}
	server_say(fd, "\r\n+b\r\n");
	host_turn(x);
	assert_true(slow->ended && !slow->failed && behind->ended);
	assert_int_equal(slow->reply_n, n + MIB + 2);
	answer(fd, same, "+s\r\n");
	call_free(slow);
	call_free(behind);
	fresh = get(3, PURSER_CALL_ALONE); /* back to normal: the first link */
	expect(fd, GET_K);
	answer(fd, fresh, "+x\r\n");
	free(big);
	close(fd);
	close(fd2);
	host_turn(x);
}

/* The stalled link is cut; the stalled reader is resumed by its cancellation. */
static void stalled_and_cancelled(void **state)
{
	struct call *slow, *behind;
	int fd = up();

	(void)state;
	slow = call_words(x, 1, PURSER_ROUTE_SHARED, 2, "GET big");
	slow->credit = 10;
	call_submit(x, slow);
	behind = get(2, 0);
	host_turn(x);
	server_say(fd, "$20\r\n0123456789");
	host_turn(x);
	server_say(fd, "0123456789\r\n+b\r\n");
	close(fd);
	host_turn(x);
	assert_true(slow->stalled && !slow->ended && !behind->ended);
	slow->credit = 0;
	slow->stalled = false;
	call_cancel(slow, PURSER_CANCEL_CLIENT_GONE);
	assert_true(slow->ended && !slow->failed && behind->ended && !behind->failed);
	call_free(slow);
	call_free(behind);
	host_turn(x);
}

/* A session whose call is stuck behind somebody else's large reply is not stuck with it for ever: once
 * the host has given the call up, the next goes by another link. */
static void victim_moves_on(void **state)
{
	struct call *slow, *victim, *second, *next;
	int fd = up(), fd2;

	(void)state;
	slow = call_words(x, 1, PURSER_ROUTE_SHARED, 2, "GET big");
	slow->credit = 1000;
	call_submit(x, slow);
	victim = get(2, 0);
	second = get(2, 0);
	host_turn(x);
	server_read(fd, sink, sizeof(sink));
	server_say(fd, "$2000000\r\n");
	memset(sink, 'v', 100000);
	server_write(fd, sink, 100000);
	host_turn(x);
	assert_true(slow->stalled);
	next = get(3, PURSER_CALL_ALONE);
	fd2 = server_hello(&server, x);
	expect(fd2, GET_K);
	answer(fd2, next, "+n\r\n");
	call_cancel(victim, PURSER_CANCEL_TIMEOUT);
	next = get(2, 0); /* second is still waited for */
	expect(fd, GET_K);
	call_cancel(next, PURSER_CANCEL_TIMEOUT);
	call_cancel(second, PURSER_CANCEL_TIMEOUT);
	answer(fd2, get(2, 0), "+moved\r\n");
	slow->credit = 0;
	slow->stalled = false;
	call_cancel(slow, PURSER_CANCEL_CLIENT_GONE);
	close(fd);
	host_turn(x);
	assert_true(slow->failed && victim->failed && second->failed && next->failed);
	call_free(slow);
	call_free(victim);
	call_free(second);
	call_free(next);
	close(fd2);
	host_turn(x);
}

/* Who got a large reply goes by a link of its own for a while; when nobody needs that, it is closed. */
static void heavy_goes_aside(void **state)
{
	struct call *big, *c;
	int fd = up(), fd2;

	(void)state;
	big = get(1, PURSER_CALL_ALONE);
	host_turn(x);
	server_read(fd, sink, sizeof(sink));
	memset(sink, 'v', MIB);
	server_say(fd, "$1048576\r\n");
	for (unsigned at = 0; at < MIB; at += 65536) {
		server_write(fd, sink + at, 65536);
		host_turn(x);
	}
	server_say(fd, "\r\n");
	host_turn(x);
	assert_true(big->ended && !big->failed);
	call_free(big);
	fd2 = server_hello(&server, x); /* it is there before it is needed */
	c = get(1, PURSER_CALL_ALONE);
	expect(fd2, GET_K);
	answer(fd2, c, "+aside\r\n");
	c = get(2, PURSER_CALL_ALONE);
	expect(fd, GET_K);
	answer(fd, c, "+first\r\n");
	c = get(1, PURSER_CALL_ALONE);
	expect(fd2, GET_K);
	answer(fd2, c, "+aside\r\n");
	host_skip(x, 11000);
	c = get(1, PURSER_CALL_ALONE);
	expect(fd, GET_K);
	answer(fd, c, "+first\r\n");
	for (unsigned i = 0; i < 3; i++)
		host_skip(x, 61000);
	assert_true(server_read(fd2, sink, sizeof(sink)) == SIZE_MAX);
	c = get(1, PURSER_CALL_ALONE);
	expect(fd, GET_K);
	answer(fd, c, "+first\r\n");
	close(fd);
	close(fd2);
	host_turn(x);
}

/* A deadline on a shared link: the place is kept, and nobody gets another's reply. */
static void cancelled_on_a_shared_link(void **state)
{
	struct call *c, *d;
	int fd = up();

	(void)state;
	c = get(1, 0);
	d = get(2, 0);
	host_turn(x);
	call_cancel(c, PURSER_CANCEL_TIMEOUT);
	call_cancel(c, PURSER_CANCEL_TIMEOUT);
	server_say(fd, "+c\r\n+d\r\n");
	host_turn(x);
	assert_true(c->ended && d->ended);
	assert_memory_equal(d->reply, "+d\r\n", 4);
	call_free(c);
	call_free(d);
	close(fd);
	host_turn(x);
}

static struct call *block(unsigned session)
{
	return say(session, PURSER_ROUTE_EXCLUSIVE, PURSER_CALL_BLOCKS | PURSER_CALL_WRITE, "BLPOP q 0");
}

#define BLPOP "*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n"

static void blocking_calls(void **state)
{
	struct call *a, *b, *c, *g;
	int lane, fa, fb;

	(void)state;
	host_free(x);
	x = host_new(SET(server.url, "blocking_max=2"));
	lane = up();
	a = block(1);
	fa = server_hello(&server, x);
	expect(fa, BLPOP);
	b = block(2);
	fb = server_hello(&server, x);
	expect(fb, BLPOP);
	c = block(3); /* blocking_max: waits for one of them */
	host_skip(x, 100);
	assert_false(c->submitted);
	assert_int_equal(server_accept(&server), -1);
	g = call_words(x, 3, PURSER_ROUTE_SHARED, 2, "GET k");
	g->seq = ++g->c.session->submitted;
	call_free(g);
	server_say(fa, "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
	host_turn(x);
	assert_true(a->ended && !a->failed);
	host_turn(x);
	assert_true(c->submitted); /* on the link that a had */
	expect(fa, BLPOP);
	/* cancelled before anything came: its link is closed */
	call_cancel(b, PURSER_CANCEL_CLIENT_GONE);
	assert_true(b->failed && b->code == PURSER_E_CANCELLED && b->executed == PURSER_MAYBE_EXECUTED);
	assert_true(server_read(fb, sink, sizeof(sink)) == SIZE_MAX);
	/* served, and cancelled before we looked: it ends normally */
	server_say(fa, "*2\r\n$1\r\nq\r\n$1\r\nc\r\n");
	call_cancel(c, PURSER_CANCEL_CLIENT_GONE);
	assert_true(c->ended && !c->failed);
	call_free(a);
	call_free(b);
	call_free(c);
	/* its server goes away */
	a = block(1);
	expect(fa, BLPOP);
	close(fa);
	host_turn(x);
	assert_true(a->failed && a->code == PURSER_E_IO && a->executed == PURSER_MAYBE_EXECUTED);
	call_free(a);
	close(fb);
	close(lane);
	host_turn(x);
}

/* A value that is still arriving has a link alone; the plugin waits for more of it. */
static void streamed_request(void **state)
{
	struct call *c = call_words(x, 1, PURSER_ROUTE_EXCLUSIVE, 2, "SET k 0123456789012345678901234567890");
	size_t n = c->wire_n;
	int fd;

	(void)state;
	c->c.flags = PURSER_CALL_STREAMED;
	c->c.wire_bytes = UINT64_MAX;
	c->ready_n = 10;
	call_submit(x, c);
	fd = server_hello(&server, x);
	for (size_t at = 10; at < n; at += 7) {
		c->ready_n = at;
		x->p->resume(x->cs, &c->c, PURSER_RESUME_ENCODE);
		x->p->flush(x->cs);
		host_turn(x);
		assert_false(c->was_sent);
	}
	assert_in_range(server_read(fd, sink, sizeof(sink)), 1, n - 1);
	c->ready_n = n;
	x->p->resume(x->cs, &c->c, PURSER_RESUME_ENCODE);
	x->p->flush(x->cs);
	assert_true(c->was_sent);
	answer(fd, c, "+OK\r\n");
	/* abandoned half-way: the link is closed and Redis runs nothing */
	c = call_words(x, 1, PURSER_ROUTE_EXCLUSIVE, 2, "SET k 0123456789");
	c->c.flags = PURSER_CALL_STREAMED;
	c->c.wire_bytes = UINT64_MAX;
	c->ready_n = 20;
	call_submit(x, c);
	host_turn(x);
	call_cancel(c, PURSER_CANCEL_CLIENT_GONE);
	assert_true(c->failed && c->executed == PURSER_NOT_EXECUTED);
	call_free(c);
	server_read(fd, sink, sizeof(sink));
	assert_true(server_read(fd, sink, sizeof(sink)) == SIZE_MAX);
	close(fd);
	host_turn(x);
}

static void pinned_sessions(void **state)
{
	struct call *w, *g, *e, *other;
	int lane = up(), fd;

	(void)state;
	w = say(1, PURSER_ROUTE_PINNED, 0, "WATCH a");
	fd = server_hello(&server, x);
	expect(fd, "*2\r\n$5\r\nWATCH\r\n$1\r\na\r\n");
	g = say(1, PURSER_ROUTE_PINNED, 0, "GET k");
	expect(fd, GET_K);
	other = get(2, 0); /* nobody else comes there */
	expect(lane, GET_K);
	answer(lane, other, "+OK\r\n");
	server_say(fd, "+OK\r\n");
	answer(fd, g, "$-1\r\n");
	assert_true(w->ended);
	call_free(w);
	e = say(1, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN, "UNWATCH");
	expect(fd, "*1\r\n$7\r\nUNWATCH\r\n");
	answer(fd, e, "+OK\r\n");
	w = say(2, PURSER_ROUTE_PINNED, 0, "WATCH b"); /* the link is free for another session */
	expect(fd, "*2\r\n$5\r\nWATCH\r\n$1\r\nb\r\n");
	answer(fd, w, "+OK\r\n");
	/* It is lost while it watches: nothing of the session runs until UNPIN. */
	close(fd);
	host_turn(x);
	g = say(2, PURSER_ROUTE_PINNED, 0, "GET k");
	assert_true(g->failed && g->executed == PURSER_NOT_EXECUTED);
	e = say(2, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN, "UNWATCH");
	assert_true(e->failed && e->executed == PURSER_NOT_EXECUTED);
	call_free(g);
	call_free(e);
	w = say(2, PURSER_ROUTE_PINNED, 0, "WATCH c");
	fd = server_hello(&server, x);
	expect(fd, "*2\r\n$5\r\nWATCH\r\n$1\r\nc\r\n");
	answer(fd, w, "+OK\r\n");
	/* The session ends while it watches: its link is closed. */
	x->p->session_end(x->cs, &x->session[2], x->session[2].slot);
	x->session[2].slot = NULL;
	assert_true(server_read(fd, sink, sizeof(sink)) == SIZE_MAX);
	close(fd);
	close(lane);
	host_turn(x);
}

/* Three links of their own are open at most; a fourth session waits for one. */
static void pool_max(void **state)
{
	struct call *c[4], *u;
	int fd[4];

	(void)state;
	host_free(x);
	x = host_new(SET(server.url, "pool_max=3", "pool_min=1"));
	for (unsigned i = 0; i < 3; i++) {
		c[i] = say(i, PURSER_ROUTE_PINNED, 0, "WATCH a");
		fd[i] = server_hello(&server, x);
		host_turn(x);
		server_say(fd[i], "+OK\r\n");
		host_turn(x);
		assert_true(c[i]->ended);
		call_free(c[i]);
	}
	c[3] = say(3, PURSER_ROUTE_PINNED, 0, "WATCH a");
	host_skip(x, 100);
	assert_false(c[3]->submitted);
	assert_int_equal(server_accept(&server), -1);
	close(fd[1]); /* one is lost: there is room for another */
	host_turn(x);
	fd[3] = server_hello(&server, x);
	host_turn(x);
	answer(fd[3], c[3], "+OK\r\n");
	u = say(0, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN, "UNWATCH");
	host_turn(x);
	answer(fd[0], u, "+OK\r\n");
	u = say(2, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN, "UNWATCH");
	host_turn(x);
	answer(fd[2], u, "+OK\r\n");
	assert_int_equal(x->links[PURSER_LINK_IDLE], 2 + 1); /* c[3]'s is pinned, but has no call */
	for (int i = 0; i < 8; i++) /* idle for long: down to pool_min */
		host_skip(x, 15000);
	assert_int_equal(x->links[PURSER_LINK_IDLE], 1);
	u = say(3, PURSER_ROUTE_PINNED, PURSER_CALL_UNPIN, "UNWATCH");
	host_turn(x);
	answer(fd[3], u, "+OK\r\n");
	close(fd[0]);
	close(fd[2]);
	close(fd[3]);
	host_turn(x);
}

static struct call *batch(unsigned session, uint32_t skip)
{
	static const char text[] = "*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nINCR\r\n*1\r\n$4\r\nEXEC\r\n";
	struct call *c = call_new(x, session, PURSER_ROUTE_SHARED, 2, text, sizeof(text) - 1);

	c->c.op = PURSER_OP_BATCH;
	c->c.skip = skip;
	call_submit(x, c);
	return c;
}

static void batches(void **state)
{
	static const char text[] = "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n+g\r\n+OK\r\n-ERR bad\r\n-EXECABORT no\r\n";
	int fd = up();

	(void)state;
	for (size_t cut = 1; cut < sizeof(text); cut++) {
		struct call *a = batch(1, 2), *g = get(1, 0), *b = batch(1, 2);

		host_turn(x);
		server_write(fd, text, cut);
		host_turn(x);
		server_write(fd, text + cut, sizeof(text) - 1 - cut);
		host_turn(x);
		assert_true(a->ended && g->ended && b->ended);
		assert_int_equal(a->reply_n, 8);
		assert_memory_equal(a->reply, "*1\r\n:1\r\n", 8);
		assert_memory_equal(g->reply, "+g\r\n", 4);
		assert_string_equal(b->error, "EXECABORT no");
		call_free(a);
		call_free(g);
		call_free(b);
	}
	/* cut among the replies that are swallowed: it may have run */
	{
		struct call *a = batch(1, 2);

		host_turn(x);
		server_say(fd, "+OK\r\n+QUE");
		close(fd);
		host_turn(x);
		assert_true(a->failed && a->executed == PURSER_MAYBE_EXECUTED);
		call_free(a);
	}
}

/* Databases, protocols and users have lanes of their own, at most so many; users that nobody has named have none. */
static void lane_keys(void **state)
{
	struct call *c;
	int fd = up(), fd3, fd4, fd5;

	(void)state;
	c = call_words(x, 1, PURSER_ROUTE_SHARED, 3, "GET k");
	call_submit(x, c);
	fd3 = server_hello(&server, x);
	expect(fd3, GET_K);
	answer(fd3, c, "_\r\n");
	c = call_words(x, 1, PURSER_ROUTE_SHARED, 0, "GET k");
	c->c.db = 5;
	call_submit(x, c);
	fd5 = server_hello(&server, x);
	expect(fd5, GET_K);
	answer(fd5, c, "+5\r\n");
	c = call_words(x, 1, PURSER_ROUTE_SHARED, 0, "GET k"); /* either: the RESP2 lane */
	call_submit(x, c);
	expect(fd, GET_K);
	answer(fd, c, "+0\r\n");
	c = call_words(x, 1, PURSER_ROUTE_SHARED, 0, "GET k");
	c->c.cred = 4;
	call_submit(x, c);
	assert_true(c->failed && c->code == PURSER_E_AUTH && c->executed == PURSER_NOT_EXECUTED);
	call_free(c);
	assert_int_equal(x->p->credential(x->state, 4, (purser_bytes){ (const uint8_t *)"psr-test", 8 },
	    (purser_bytes){ (const uint8_t *)"secret", 6 }), 0);
	c = call_words(x, 1, PURSER_ROUTE_SHARED, 0, "GET k");
	c->c.cred = 4;
	call_submit(x, c);
	fd4 = server_hello(&server, x);
	expect(fd4, GET_K);
	answer(fd4, c, "+4\r\n");
	x->p->credential(x->state, 4, (purser_bytes){ NULL, 0 }, (purser_bytes){ NULL, 0 });
	close(fd4);
	close(fd);
	close(fd3);
	close(fd5);
	host_turn(x);
}

/* Drain while calls are out, with a half reply, a blocked call and a link that is connecting. */
static void drain_with_calls(void **state)
{
	struct call *c, *b, *late;
	int fd = up(), fb;

	(void)state;
	b = block(2);
	fb = server_hello(&server, x);
	expect(fb, BLPOP);
	c = get(1, 0);
	late = call_words(x, 3, PURSER_ROUTE_SHARED, 2, "GET k");
	late->c.db = 9;
	call_submit(x, late);
	assert_false(late->submitted);
	host_turn(x);
	server_say(fd, "$5\r\nhe");
	host_turn(x);
	x->p->drain(x->cs);
	call_cancel(b, PURSER_CANCEL_SHUTDOWN);
	assert_true(b->failed);
	host_turn(x); /* what waited is refused */
	assert_true(late->failed && late->executed == PURSER_NOT_EXECUTED);
	server_say(fd, "llo\r\n");
	host_turn(x);
	assert_true(c->ended && !c->failed);
	call_free(b);
	call_free(c);
	call_free(late);
	close(fd);
	close(fb);
}

/* Closed at once, with calls on every kind of link: they end, with what is known of them. */
static void close_with_calls(void **state)
{
	struct call *c[5];
	int fd = up(), fb, fw;

	(void)state;
	c[0] = block(2);
	fb = server_hello(&server, x);
	c[1] = say(3, PURSER_ROUTE_PINNED, 0, "WATCH a");
	fw = server_hello(&server, x);
	c[2] = get(1, 0);
	c[3] = get(1, 0);
	host_turn(x);
	server_say(fd, "$5\r\nhe");
	host_turn(x);
	c[4] = get(4, 0); /* not even written */
	host_abandon(x);
	for (unsigned i = 0; i < 5; i++)
		assert_true(c[i]->failed);
	assert_int_equal(c[0]->executed, PURSER_MAYBE_EXECUTED);
	assert_int_equal(c[1]->executed, PURSER_MAYBE_EXECUTED);
	assert_int_equal(c[2]->executed, PURSER_EXECUTED);
	assert_int_equal(c[3]->executed, PURSER_MAYBE_EXECUTED);
	assert_int_equal(c[4]->executed, PURSER_NOT_EXECUTED);
	for (unsigned i = 0; i < 5; i++)
		call_free(c[i]);
	close(fd);
	close(fb);
	close(fw);
	x = host_new(SET(server.url));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(windows_are_bounded), TEST(large_request), TEST(large_request_cut),
		TEST(encode_in_pieces), TEST(client_that_does_not_read), TEST(stalled_and_cancelled),
		TEST(victim_moves_on), TEST(heavy_goes_aside),
		TEST(cancelled_on_a_shared_link), TEST(blocking_calls), TEST(streamed_request),
		TEST(pinned_sessions), TEST(pool_max), TEST(batches), TEST(lane_keys), TEST(drain_with_calls),
		TEST(close_with_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
