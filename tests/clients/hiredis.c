/* SPDX-License-Identifier: Apache-2.0
 *
 * hiredis-client SOCKET: what a C program does with hiredis, unchanged, on the agent's socket.
 */
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static redisContext *c;

static void fail(const char *what, const redisReply *r)
{
	fprintf(stderr, "%s: %s %s\n", what, r ? "reply" : c->errstr, r && r->str ? r->str : "");
	exit(1);
}

static redisReply *want(int type, const char *fmt, ...)
{
	redisReply *r;
	va_list ap;

	va_start(ap, fmt);
	r = redisvCommand(c, fmt, ap);
	va_end(ap);
	if (!r || r->type != type)
		fail(fmt, r);
	return r;
}

static void text(const char *expected, redisReply *r)
{
	if (strcmp(r->str, expected) != 0)
		fail(expected, r);
	freeReplyObject(r);
}

static void number(long long expected, redisReply *r)
{
	if (r->integer != expected)
		fail("a wrong number", r);
	freeReplyObject(r);
}

static void plain(void)
{
	static char large[3000000];
	redisReply *r;

	text("OK", want(REDIS_REPLY_STATUS, "SET %s %b", "c:k", "a\0b", (size_t)3));
	r = want(REDIS_REPLY_STRING, "GET c:k");
	if (r->len != 3 || memcmp(r->str, "a\0b", 3) != 0)
		fail("GET", r);
	freeReplyObject(r);
	freeReplyObject(want(REDIS_REPLY_NIL, "GET c:none"));
	number(2, want(REDIS_REPLY_INTEGER, "HSET c:h a 1 b 2"));
	r = want(REDIS_REPLY_ARRAY, "HGETALL c:h");
	if (r->elements != 4 || strcmp(r->element[3]->str, "2") != 0)
		fail("HGETALL", r);
	freeReplyObject(r);
	freeReplyObject(want(REDIS_REPLY_ERROR, "INCR c:h"));
	memset(large, 'x', sizeof(large));
	text("OK", want(REDIS_REPLY_STATUS, "SET c:large %b", large, sizeof(large)));
	r = want(REDIS_REPLY_STRING, "GET c:large");
	if (r->len != sizeof(large) || memcmp(r->str, large, sizeof(large)) != 0)
		fail("the large value", NULL);
	freeReplyObject(r);
	number(3, want(REDIS_REPLY_INTEGER, "DEL c:k c:h c:large"));
}

static void pipeline(void)
{
	redisReply *r;
	int i;

	for (i = 1; i <= 10000; i++) {
		redisAppendCommand(c, "INCR c:n");
		redisAppendCommand(c, "ECHO %d", i);
	}
	for (i = 1; i <= 10000; i++) {
		char expected[16];

		if (redisGetReply(c, (void **)&r) != REDIS_OK || r->type != REDIS_REPLY_INTEGER)
			fail("pipeline", NULL);
		number(i, r);
		if (redisGetReply(c, (void **)&r) != REDIS_OK || r->type != REDIS_REPLY_STRING)
			fail("pipeline", NULL);
		snprintf(expected, sizeof(expected), "%d", i);
		text(expected, r);
	}
}

static void transaction(void)
{
	redisReply *r;

	text("OK", want(REDIS_REPLY_STATUS, "MULTI"));
	text("QUEUED", want(REDIS_REPLY_STATUS, "INCR c:n"));
	text("QUEUED", want(REDIS_REPLY_STATUS, "GET c:n"));
	r = want(REDIS_REPLY_ARRAY, "EXEC");
	if (r->elements != 2 || r->element[0]->integer != 10001 || strcmp(r->element[1]->str, "10001") != 0)
		fail("EXEC", r);
	freeReplyObject(r);
	number(10002, want(REDIS_REPLY_INTEGER, "EVAL %s 1 c:n", "return redis.call('INCR', KEYS[1])"));
	number(1, want(REDIS_REPLY_INTEGER, "DEL c:n"));
}

static void messages(const char *path)
{
	redisContext *publisher = redisConnectUnix(path);
	redisReply *r, *sent;
	int i;

	if (!publisher || publisher->err)
		fail("redisConnectUnix", NULL);
	r = want(REDIS_REPLY_ARRAY, "SUBSCRIBE c:channel");
	if (r->elements != 3 || strcmp(r->element[1]->str, "c:channel") != 0 || r->element[2]->integer != 1)
		fail("SUBSCRIBE", r);
	freeReplyObject(r);
	for (i = 0; i < 100; i++) {
		char expected[16];

		sent = redisCommand(publisher, "PUBLISH c:channel %d", i);
		if (!sent || sent->type != REDIS_REPLY_INTEGER || sent->integer != 1)
			fail("PUBLISH", sent);
		freeReplyObject(sent);
		snprintf(expected, sizeof(expected), "%d", i);
		if (redisGetReply(c, (void **)&r) != REDIS_OK || r->elements != 3 ||
		    strcmp(r->element[0]->str, "message") != 0 || strcmp(r->element[2]->str, expected) != 0)
			fail("a message", NULL);
		freeReplyObject(r);
	}
	r = want(REDIS_REPLY_ARRAY, "UNSUBSCRIBE");
	freeReplyObject(r);
	text("PONG", want(REDIS_REPLY_STATUS, "PING"));
	redisFree(publisher);
}

int main(int argc, char **argv)
{
	struct timeval patience = { 60, 0 };

	if (argc != 2) {
		fprintf(stderr, "usage: hiredis-client SOCKET\n");
		return 2;
	}
	c = redisConnectUnix(argv[1]);
	if (!c || c->err || redisSetTimeout(c, patience) != REDIS_OK)
		fail("redisConnectUnix", NULL);
	plain();
	pipeline();
	transaction();
	messages(argv[1]);
	redisFree(c);
	printf("hiredis %d.%d.%d\n", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
	return 0;
}
