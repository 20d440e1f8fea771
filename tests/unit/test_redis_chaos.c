/* SPDX-License-Identifier: Apache-2.0
 *
 * The redis plugin against a server that answers in random pieces, is slow, cuts, and sometimes talks
 * nonsense, while many sessions send tagged requests of all routes, slow readers stall and calls are
 * cancelled.  Each reply proves which request it answers; the host checks ends, order and outcome.
 * What the server counted as seen whole agrees with NOT; nothing is lost, nothing ends twice.
 */
#include <config.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "redis_host.h"

#define CONNECTIONS 64
#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })

struct conn { int fd; char in[1 << 18]; size_t n; char out[1 << 18]; size_t out_n; bool resp3; };

static struct server server;
static struct purser_ctx *x;
static struct conn conns[CONNECTIONS];
static uint64_t seed;
static uint32_t seen[1 << 20], clock_; /* by tag: when the server had the whole request; 0: never */
static unsigned done, failed, wrong_pieces;

static uint32_t rnd(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % below;
}

static void drop(struct conn *c)
{
	close(c->fd);
	c->fd = -1;
}

static void out(struct conn *c, const char *p, size_t n)
{
	if (n <= sizeof(c->out) - c->out_n) {
		memcpy(c->out + c->out_n, p, n);
		c->out_n += n;
	}
}

/* A reply whose size depends on the tag: some are larger than a slow reader's credit. */
static size_t payload(unsigned tag)
{
	return tag % 97 == 0 ? 3000 : tag % 5;
}

static void reply(struct conn *c, unsigned tag)
{
	char text[4096];
	size_t fill = payload(tag), n;

	if (c->resp3 && rnd(10) == 0)
		out(c, ">2\r\n+push\r\n:1\r\n", 15);
	if (tag % 13 == 0) {
		n = (size_t)snprintf(text, sizeof(text), "-ERR tag %u\r\n", tag);
	} else {
		n = (size_t)snprintf(text, sizeof(text), "*2\r\n:%u\r\n$%zu\r\n", tag, fill);
		memset(text + n, 'f', fill);
		n += fill;
		n += (size_t)snprintf(text + n, 3, "\r\n");
	}
	out(c, text, n);
}

/* One request: an array of bulks whose last is the tag.  Its length, or 0. */
static size_t request(struct conn *c)
{
	size_t at = 0;
	unsigned argc, len = 0, tag = 0, i;
	char *end;

	if (!memchr(c->in, '\n', c->n))
		return 0;
	assert_int_equal(c->in[0], '*');
	argc = (unsigned)strtoul(c->in + 1, &end, 10);
	at = (size_t)(end - c->in) + 2;
	for (i = 0; i < argc; i++) {
		if (at >= c->n || !memchr(c->in + at, '\n', c->n - at))
			return 0;
		assert_int_equal(c->in[at], '$');
		len = (unsigned)strtoul(c->in + at + 1, &end, 10);
		at = (size_t)(end - c->in) + 2;
		if (at + len + 2 > c->n)
			return 0;
		if (i == 0 && memcmp(c->in + at, "HELLO", 5) == 0) {
			c->resp3 = c->in[at + 11] == '3';
			out(c, c->resp3 ? "%1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n" :
			    "*2\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n", 31);
			tag = UINT32_MAX;
		} else if (i == 0 && memcmp(c->in + at, "PING", 4) == 0) {
			out(c, "+PONG\r\n", 7);
			tag = UINT32_MAX;
		} else if (i == argc - 1 && tag != UINT32_MAX) {
			tag = (unsigned)strtoul(c->in + at, NULL, 10);
			assert_true(tag > 0 && tag < sizeof(seen) / sizeof(*seen));
			assert_int_equal(seen[tag], 0); /* nothing is sent twice */
			seen[tag] = ++clock_;
			reply(c, tag);
		}
		at += len + 2;
	}
	return at;
}

/* One turn of one connection: read some, answer some, perhaps do harm. */
static void serve(struct conn *c)
{
	uint32_t what = rnd(300);
	size_t k;

	if (what < 3) {
		drop(c);
		return;
	}
	if (what == 3 && c->out_n == 0) { /* between replies: inside an error's line it would be its text */
		k = send(c->fd, "?!\r\n", 4, MSG_NOSIGNAL) == 4;
		drop(c);
		return;
	}
	if (what < 30)
		return; /* slow */
	if (c->n < sizeof(c->in)) {
		ssize_t n = recv(c->fd, c->in + c->n, 1 + rnd((uint32_t)(sizeof(c->in) - c->n)), 0);

		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			drop(c);
			return;
		}
		if (n > 0)
			c->n += (size_t)n;
	}
	while (c->out_n < sizeof(c->out) / 2 && (k = request(c)) > 0) {
		memmove(c->in, c->in + k, c->n - k);
		c->n -= k;
	}
	while (c->out_n) {
		size_t part = rnd(3) ? c->out_n : 1 + rnd(c->out_n > 200 ? 200 : (uint32_t)c->out_n);
		ssize_t n = send(c->fd, c->out, part, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		wrong_pieces += (size_t)n < c->out_n;
		memmove(c->out, c->out + n, c->out_n - (size_t)n);
		c->out_n -= (size_t)n;
		if (rnd(4) == 0)
			break;
	}
}

static void play(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		struct conn *c = &conns[i];

		if (c->fd < 0) {
			c->fd = server_accept(&server);
			c->n = c->out_n = 0;
			c->resp3 = false;
		}
		if (c->fd >= 0)
			serve(c);
	}
}

static void verify(struct call *c)
{
	unsigned tag = (unsigned)(uintptr_t)c->tag;
	char head[64];
	int n;

	done++;
	if (c->failed) {
		failed++;
		if (c->executed == PURSER_EXECUTED)
			assert_true(seen[tag]);
		return;
	}
	assert_true(seen[tag]);
	if (tag % 13 == 0) {
		snprintf(head, sizeof(head), "ERR tag %u", tag);
		assert_string_equal(c->error, head);
		return;
	}
	n = snprintf(head, sizeof(head), "*2\r\n:%u\r\n$%zu\r\n", tag, payload(tag));
	assert_int_equal(c->reply_n, (size_t)n + payload(tag) + 2);
	assert_memory_equal(c->reply, head, (size_t)n);
}

static struct call *tagged(unsigned tag)
{
	uint32_t kind = rnd(40);
	unsigned session = rnd(40);
	char words[400], fill[300];
	struct call *c;

	memset(fill, 'x', sizeof(fill));
	fill[rnd(3) ? 5 : 299] = '\0';
	snprintf(words, sizeof(words), "DO %s %u", fill, tag);
	if (kind == 0) { /* sessions with a link of their own keep to themselves */
		c = call_words(x, 40 + rnd(12), PURSER_ROUTE_EXCLUSIVE, 2, words);
		c->c.flags = PURSER_CALL_BLOCKS;
	} else if (kind == 1) {
		c = call_words(x, 52 + rnd(12), PURSER_ROUTE_PINNED, 2, words);
		c->c.flags = rnd(3) ? 0 : PURSER_CALL_UNPIN;
	} else {
		c = call_words(x, session, PURSER_ROUTE_SHARED, session % 2 ? 3 : 2, words);
		if (x->session[session].submitted == x->session[session].ended)
			c->c.flags = PURSER_CALL_ALONE;
	}
	if (rnd(20) == 0)
		c->credit = 1 + rnd(3000);
	if (rnd(10) == 0)
		c->c.wire_bytes = UINT64_MAX;
	c->tag = (void *)(uintptr_t)tag;
	c->check = verify;
	return c;
}

/* Slow readers read on; calls are cancelled. */
static void stir(struct call **c, unsigned n)
{
	for (unsigned i = 0; i < 30 && n; i++) {
		struct call *k = c[rnd(n)];

		if (!k->submitted || k->ended)
			continue;
		if (k->stalled) {
			k->stalled = false;
			k->credit = rnd(4) ? 0 : k->credit + 500;
			x->p->resume(x->cs, &k->c, PURSER_RESUME_REPLY);
			x->touched = true;
		} else if (rnd(300) == 0) {
			k->credit = 0;
			call_cancel(k, PURSER_CANCEL_TIMEOUT);
		}
	}
}

/* The server executed what succeeded in the order in which each session sent it. */
static void in_order(struct call **c, unsigned many)
{
	uint32_t last[SESSIONS] = { 0 };

	for (unsigned i = 0; i < many; i++) {
		size_t s = (size_t)(c[i]->c.session - x->session);

		if (c[i]->failed || c[i]->cancelled || c[i]->c.route == PURSER_ROUTE_EXCLUSIVE)
			continue;
		assert_true(seen[i + 1] > last[s]);
		last[s] = seen[i + 1];
	}
}

static void chaos(void **state)
{
	const unsigned many = getenv("PURSER_LONG") ? 400000 : 30000;
	struct call **c = calloc(many + 1, sizeof(*c));
	unsigned sent = 0;

	(void)state;
	assert_non_null(c);
	server_open(&server);
	for (int i = 0; i < CONNECTIONS; i++)
		conns[i].fd = -1;
	x = host_new(SET(server.url, "reconnect_base=1ms", "reconnect_cap=5ms", "pool_max=4",
	    "blocking_max=4"));
	for (unsigned turns = 0; done < many; turns++) {
		unsigned burst = rnd(8) ? rnd(20) : rnd(400);

		if (turns > many * 20) {
			unsigned stuck = 0;

			while (stuck < sent && c[stuck]->ended)
				stuck++;
			fail_msg("%u of %u ended, call %u is stuck: submitted %d, sent %d, stalled %d, route %d", done,
			    sent, stuck, c[stuck]->submitted, c[stuck]->was_sent, c[stuck]->stalled, c[stuck]->c.route);
		}
		x->encode_max = rnd(3) ? 0 : 1 + rnd(50);
		while (burst-- && sent < many && sent - done < 3000) {
			c[sent] = tagged(sent + 1);
			call_submit(x, c[sent++]);
		}
		host_turn(x);
		play();
		stir(c, sent);
		for (unsigned i = 0; i < sent && sent == many; i++) /* the end: nobody stays stalled */
			if (!c[i]->ended && c[i]->submitted && c[i]->stalled) {
				c[i]->stalled = false;
				c[i]->credit = 0;
				x->p->resume(x->cs, &c[i]->c, PURSER_RESUME_REPLY);
				x->touched = true;
			}
		if (turns % 7 == 0)
			host_skip(x, 1);
	}
	printf("# %u calls, %u failed, %d connections lost, %d nonsense, %u replies in pieces\n", done, failed,
	    (int)x->count[2], (int)x->count[3], wrong_pieces);
	assert_true(failed > 0 && failed < many / 2 && x->count[3] > 0 && wrong_pieces > 100);
	for (unsigned i = 0; i < many; i++)
		if (c[i]->failed && c[i]->executed == PURSER_NOT_EXECUTED)
			assert_int_equal(seen[i + 1], 0);
	in_order(c, many);
	for (unsigned i = 0; i < many; i++)
		call_free(c[i]);
	free(c);
	host_free(x);
	for (int i = 0; i < CONNECTIONS; i++)
		if (conns[i].fd >= 0)
			drop(&conns[i]);
	server_close(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(chaos) };
	const char *given = getenv("PURSER_SEED");

	seed = given ? strtoull(given, NULL, 10) : 20240607;
	printf("# PURSER_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
