/* SPDX-License-Identifier: Apache-2.0 */
/* fetch: against a little server in a thread that answers what it is told, or not at all. */
#include <config.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "fetch/fetch.h"
#include "loop/loop.h"

#define BIG 300000

static struct {
	int tcp, un;
	uint16_t port;
	char dir[64], path[96];
	pthread_t thread;
	int conns;      /* connections accepted */
	char seen[4096];/* the last head */
	size_t got;     /* bytes of the last body */
} srv;

static void send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

		if (w <= 0)
			return;
		p += w;
		n -= (size_t)w;
	}
}

static void answer(int fd, const char *path)
{
	static char big[BIG];
	char head[256];

	if (strncmp(path, "/ok", 3) == 0) {
		send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 43);
	} else if (strncmp(path, "/busy", 5) == 0) {
		send_all(fd, "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 56);
	} else if (strncmp(path, "/moved", 6) == 0) {
		send_all(fd, "HTTP/1.1 302 Moved\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", 56);
	} else if (strncmp(path, "/big", 4) == 0) {
		memset(big, 'b', sizeof big);
		snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
		send_all(fd, head, strlen(head));
		send_all(fd, big, sizeof big);
	} else if (strncmp(path, "/junk", 5) == 0) {
		send_all(fd, "\x01\x02\x03 not http\r\n\r\n", 16);
	}
}

/* One request; 0 = the connection goes on. */
static int one(int fd)
{
	char buf[4096];
	size_t n = 0, body = 0;
	char *end = NULL, *len;
	ssize_t r;

	while (!end) {
		r = recv(fd, buf + n, sizeof buf - 1 - n, 0);
		if (r <= 0)
			return -1;
		n += (size_t)r;
		buf[n] = '\0';
		end = strstr(buf, "\r\n\r\n");
	}
	len = strstr(buf, "Content-Length: ");
	body = len ? strtoul(len + 16, NULL, 10) : 0;
	srv.got = n - (size_t)(end + 4 - buf);
	while (srv.got < body) {
		char more[65536];

		r = recv(fd, more, sizeof more, 0);
		if (r <= 0)
			return -1;
		srv.got += (size_t)r;
	}
	end[2] = '\0';
	memcpy(srv.seen, buf, strlen(buf) + 1);
	if (strstr(buf, " /hang")) {
		while (recv(fd, buf, sizeof buf, 0) > 0)
			;
		return -1;
	}
	if (strstr(buf, " /drop"))
		return -1;
	answer(fd, strchr(buf, ' ') + 1);
	return strstr(buf, " /junk") ? -1 : 0;
}

static void *serve(void *arg)
{
	int ls = *(int *)arg;

	for (;;) {
		int fd = accept(ls, NULL, NULL);

		if (fd < 0)
			return NULL;
		srv.conns++;
		while (one(fd) == 0)
			;
		close(fd);
	}
}

static void start(int *ls, int family, const void *addr, socklen_t len)
{
	*ls = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(*ls >= 0);
	assert_int_equal(bind(*ls, addr, len), 0);
	assert_int_equal(listen(*ls, 16), 0);
	srv.conns = 0;
	assert_int_equal(pthread_create(&srv.thread, NULL, serve, ls), 0);
}

static void start_tcp(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof sin;

	start(&srv.tcp, AF_INET, &sin, sizeof sin);
	assert_int_equal(getsockname(srv.tcp, (struct sockaddr *)&sin, &len), 0);
	srv.port = ntohs(sin.sin_port);
}

static void stop(int *ls)
{
	shutdown(*ls, SHUT_RDWR);
	close(*ls);
	pthread_join(srv.thread, NULL);
}

/* ---- the client's side ------------------------------------------------------------------------------ */

struct got {
	int calls;
	struct fetch_result r;
	size_t sum;
};

static struct loop *lp;
static struct fetch *ft;

static void done(void *arg, const struct fetch_result *r)
{
	struct got *g = arg;

	g->calls++;
	g->r = *r;
	g->sum = r->len;
}

static void setup(void)
{
	lp = loop_new(NULL);
	assert_non_null(lp);
	ft = fetch_new(lp);
	assert_non_null(ft);
}

static void teardown(void)
{
	fetch_free(ft);
	loop_free(lp);
}

static void get(const char *path, const char *body, size_t n, uint64_t timeout_ms, struct got *g)
{
	char url[128];
	static const char *const headers[] = { "Content-Type: application/x-protobuf", "X-A: b" };
	struct fetch_req r = { .url = url, .headers = headers, .nheaders = 2, .body = body, .body_len = n,
		.timeout_ns = timeout_ms * 1000000, .max_body = BIG, .done = done, .arg = g };

	snprintf(url, sizeof url, "http://127.0.0.1:%u%s", srv.port, path);
	memset(g, 0, sizeof *g);
	assert_non_null(fetch_start(ft, &r));
	assert_int_equal(g->calls, 0);
	while (!g->calls)
		assert_int_equal(loop_turn(lp, -1), 0);
	assert_int_equal(g->calls, 1);
}

static void test_answers(void **state)
{
	static char body[100000];
	struct got g;

	(void)state;
	start_tcp();
	setup();
	get("/ok", NULL, 0, 60000, &g);
	assert_int_equal(g.r.error, FETCH_OK);
	assert_int_equal(g.r.status, 200);
	assert_int_equal(g.sum, 5);
	assert_int_equal(g.r.retry_after_s, -1);
	assert_memory_equal(srv.seen, "GET /ok HTTP/1.1\r\n", 18);
	assert_non_null(strstr(srv.seen, "X-A: b\r\n"));
	get("/busy", body, sizeof body, 60000, &g);
	assert_int_equal(g.r.error, FETCH_OK);
	assert_int_equal(g.r.status, 503);
	assert_int_equal(g.r.retry_after_s, 7);
	assert_memory_equal(srv.seen, "POST /busy HTTP/1.1\r\n", 21);
	assert_non_null(strstr(srv.seen, "Content-Type: application/x-protobuf\r\n"));
	assert_null(strstr(srv.seen, "Expect"));
	assert_int_equal(srv.got, sizeof body);
	get("/moved", NULL, 0, 60000, &g);
	assert_int_equal(g.r.status, 302);
	/* larger than what one read takes: the edge-triggered loop must not lose the rest */
	get("/big", NULL, 0, 60000, &g);
	assert_int_equal(g.r.error, FETCH_OK);
	assert_int_equal(g.sum, BIG);
	assert_int_equal(srv.conns, 1); /* all on one connection */
	teardown();
	stop(&srv.tcp);
}

static void test_failures(void **state)
{
	struct got g;
	struct fetch_req bad = { .url = "ftp://127.0.0.1/x", .done = done, .arg = &g };

	(void)state;
	start_tcp();
	setup();
	get("/drop", NULL, 0, 60000, &g);
	assert_int_equal(g.r.error, FETCH_BROKEN);
	assert_true(*g.r.text);
	get("/junk", NULL, 0, 60000, &g);
	assert_int_equal(g.r.error, FETCH_PROTOCOL);
	get("/hang", NULL, 0, 50, &g);
	assert_int_equal(g.r.error, FETCH_TIMEOUT);
	/* only http and https */
	g.calls = 0;
	assert_non_null(fetch_start(ft, &bad));
	while (!g.calls)
		loop_turn(lp, -1);
	assert_int_not_equal(g.r.error, FETCH_OK);
	stop(&srv.tcp);
	get("/ok", NULL, 0, 60000, &g);
	assert_int_equal(g.r.error, FETCH_CONNECT);
	teardown();
}

static void test_too_big(void **state)
{
	struct got g = { .calls = 0 };
	char url[64];
	struct fetch_req r = { .url = url, .max_body = 1000, .done = done, .arg = &g };

	(void)state;
	start_tcp();
	setup();
	snprintf(url, sizeof url, "http://127.0.0.1:%u/big", srv.port);
	assert_non_null(fetch_start(ft, &r));
	while (!g.calls)
		loop_turn(lp, -1);
	assert_int_equal(g.r.error, FETCH_TOOBIG);
	teardown();
	stop(&srv.tcp);
}

static void test_unix(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct got g = { .calls = 0 };
	struct fetch_req r = { .url = "http://collector/ok", .unix_path = srv.path, .done = done,
		.arg = &g };

	(void)state;
	snprintf(srv.dir, sizeof srv.dir, "/tmp/purser-fetch-XXXXXX");
	assert_non_null(mkdtemp(srv.dir));
	snprintf(srv.path, sizeof srv.path, "%s/s", srv.dir);
	memcpy(sun.sun_path, srv.path, strlen(srv.path) + 1);
	start(&srv.un, AF_UNIX, &sun, sizeof sun);
	setup();
	assert_non_null(fetch_start(ft, &r));
	while (!g.calls)
		loop_turn(lp, -1);
	assert_int_equal(g.r.status, 200);
	assert_non_null(strstr(srv.seen, "Host: collector\r\n"));
	teardown();
	stop(&srv.un);
	unlink(srv.path);
	rmdir(srv.dir);
}

static void test_cancel(void **state)
{
	struct got a = { .calls = 0 }, b = { .calls = 0 };
	char url[64];
	struct fetch_req r = { .url = url, .done = done, .arg = &a };
	struct fetch_call *c;

	(void)state;
	start_tcp();
	setup();
	snprintf(url, sizeof url, "http://127.0.0.1:%u/hang", srv.port);
	c = fetch_start(ft, &r);
	r.arg = &b;
	assert_non_null(fetch_start(ft, &r));
	for (int i = 0; i < 20; i++)
		loop_turn(lp, 1000000);
	fetch_cancel(c);
	fetch_free(ft);
	assert_int_equal(a.calls, 0);
	assert_int_equal(b.calls, 1);
	assert_int_equal(b.r.error, FETCH_CANCELLED);
	loop_free(lp);
	stop(&srv.tcp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
