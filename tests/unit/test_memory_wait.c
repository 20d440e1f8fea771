/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients that wait on the memory plugin, call by call: who is served, how a wait ends, what happens when an
 * allocation fails at any point of it, and that the accounts come back to zero.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cmd.h"
#include "memory_host.h"

#define SITES_MAX 500

/* One call that may wait, on a context of its own so that its reply is. */
struct client {
	struct mh_ctx x;
	purser_call c;
	char line[256];
	purser_bytes argv[16];
	uint32_t keys[16];
	int rc;
};

static struct mh m;

static struct store *store(void) { return m.state; }

static void begin(struct client *w, uint16_t db, uint32_t first_key, uint32_t nkeys, const char *line)
{
	char *save = NULL, *word;
	uint32_t i;

	snprintf(w->line, sizeof(w->line), "%s", line);
	memset(&w->c, 0, sizeof(w->c));
	w->c.struct_size = sizeof(w->c);
	for (word = strtok_r(w->line, " ", &save); word; word = strtok_r(NULL, " ", &save))
		w->argv[w->c.argc++] = (purser_bytes){ (uint8_t *)word, strlen(word) };
	for (i = 0; i < nkeys; i++)
		w->keys[i] = first_key + i;
	w->c.op = (uint32_t)mh_op((char *)w->argv[0].p, w->argv[0].n);
	w->c.argv = w->argv;
	w->c.keys = w->keys;
	w->c.nkeys = nkeys;
	w->c.resp = 2;
	w->c.db = db;
	w->c.flags = PURSER_CALL_BLOCKS | PURSER_CALL_WRITE;
	w->c.route = PURSER_ROUTE_EXCLUSIVE;
	w->c.ctx = (purser_ctx *)(void *)&w->x;
	w->x.n = 0;
	w->x.ended = w->x.failed = 0;
	w->rc = m.p->ops[w->c.op].run(w->x.cs, &w->c);
}

static void block(struct client *w, const char *line)
{
	begin(w, 0, 1, 1, line);
	assert_int_equal(w->rc, PURSER_PENDING);
	assert_int_equal(w->x.ended + w->x.failed, 0);
}

/* Its thread runs: what it has got. */
static const char *got(struct client *w)
{
	mh_jobs(&w->x);
	if (!w->x.ended)
		return "";
	assert_int_equal(w->x.ended, 1);
	return w->x.reply;
}

static void open_all(struct client *w, unsigned n)
{
	unsigned i;

	mh_start(&m, (struct mh_settings){ 0 });
	memset(w, 0, n * sizeof(*w));
	for (i = 0; i < n; i++)
		mh_open(&w[i].x, &m);
}

static void close_all(struct client *w, unsigned n)
{
	unsigned i;

	store()->fail_after = -1;
	mh_run(&w[0].x, "FLUSHALL");
	mh_release(&w[0].x);
	for (i = 0; i < 5; i++)
		mh_pass(&w[0].x, 100);
	assert_int_equal(store_used(store()), 0);
	assert_int_equal(store()->nwaiting, 0);
	for (i = 0; i < n; i++)
		mh_close(&w[i].x);
	mh_stop(&m);
}

static void served_in_order(void **state)
{
	struct client w[4];

	(void)state;
	open_all(w, 4);
	block(&w[1], "BLPOP a 0");
	block(&w[2], "BRPOP a 0");
	block(&w[3], "BLMOVE a b LEFT LEFT 0");
	assert_string_equal(mh_run(&w[0].x, "RPUSH a 1 2"), ":2\r\n");
	assert_string_equal(got(&w[1]), "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
	assert_string_equal(got(&w[2]), "*2\r\n$1\r\na\r\n$1\r\n2\r\n");
	assert_string_equal(got(&w[3]), "");
	assert_string_equal(mh_batch(&w[0].x, "RPUSH a 3\nRPUSH a 4\nLPUSH a 5"), ":1\r\n:2\r\n:3\r\n");
	assert_string_equal(got(&w[3]), "$1\r\n5\r\n");
	assert_string_equal(mh_run(&w[0].x, "LRANGE b 0 -1"), "*1\r\n$1\r\n5\r\n");
	close_all(w, 4);
}

/* Ways to a key that no client of the agent has. */
static void other_databases(void **state)
{
	struct client w[4];

	(void)state;
	open_all(w, 4);
	w[0].x.db = 1;
	block(&w[1], "BLPOP k 0");
	mh_run(&w[0].x, "RPUSH k 1");
	assert_string_equal(got(&w[1]), "");
	assert_string_equal(mh_run(&w[0].x, "MOVE k 0"), ":1\r\n");
	assert_string_equal(got(&w[1]), "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
	mh_run(&w[0].x, "ZADD z 1 m");
	block(&w[1], "BZPOPMIN z 0");
	begin(&w[2], 1, 1, 1, "BLPOP l 0");
	mh_run(&w[0].x, "SWAPDB 0 1");
	assert_string_equal(got(&w[1]), "*3\r\n$1\r\nz\r\n$1\r\nm\r\n$1\r\n1\r\n");
	assert_string_equal(got(&w[2]), "");
	w[0].x.db = 0;
	mh_run(&w[0].x, "RPUSH l 7");
	assert_string_equal(got(&w[2]), "");
	mh_run(&w[0].x, "SWAPDB 1 0");
	assert_string_equal(got(&w[2]), "*2\r\n$1\r\nl\r\n$1\r\n7\r\n");
	close_all(w, 4);
}

static void time_runs_out(void **state)
{
	struct client w[4];

	(void)state;
	open_all(w, 4);
	begin(&w[1], 0, 1, 2, "BLPOP a b 0.05");
	begin(&w[1], 0, 1, 2, "BLPOP a b 0.05"); /* the context has two calls now */
	block(&w[2], "BLMOVE a b LEFT LEFT 1");
	block(&w[3], "WAIT 1 20");
	mh_pass(&w[3].x, 20);
	assert_string_equal(got(&w[3]), ":0\r\n");
	assert_string_equal(got(&w[2]), "");
	mh_pass(&w[1].x, 30);
	assert_int_equal(w[1].x.ended, 2);
	assert_string_equal(w[1].x.reply, "*-1\r\n*-1\r\n");
	mh_pass(&w[2].x, 900);
	assert_string_equal(got(&w[2]), "");
	mh_run(&w[0].x, "RPUSH a 1"); /* served before its time, told after it */
	mh_pass(&w[2].x, 200);
	assert_int_equal(w[2].x.ended, 0);
	assert_string_equal(got(&w[2]), "$1\r\n1\r\n");
	close_all(w, 4);
}

static void cancelled(void **state)
{
	struct client w[4];

	(void)state;
	open_all(w, 4);
	block(&w[1], "BLPOP k 0");
	block(&w[2], "BLPOP k 0");
	block(&w[3], "BLPOP k 9");
	m.p->cancel(w[1].x.cs, &w[1].c, PURSER_CANCEL_UNBLOCK_ERROR);
	assert_string_equal(got(&w[1]), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
	m.p->cancel(w[2].x.cs, &w[2].c, PURSER_CANCEL_CLIENT_GONE);
	assert_int_equal(w[2].x.failed, 1);
	mh_run(&w[0].x, "RPUSH k 1");
	m.p->cancel(w[3].x.cs, &w[3].c, PURSER_CANCEL_UNBLOCK); /* it has been served: the element is its own */
	assert_int_equal(w[3].x.ended, 0);
	assert_string_equal(got(&w[3]), "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
	block(&w[1], "BLPOP k 0");
	m.p->cancel(w[1].x.cs, &w[1].c, PURSER_CANCEL_TIMEOUT);
	assert_string_equal(got(&w[1]), "*-1\r\n");
	block(&w[1], "BLPOP k 0");
	m.p->drain(w[1].x.cs);
	assert_int_equal(w[1].x.failed, 1);
	mh_run(&w[0].x, "RPUSH k kept");
	assert_string_equal(mh_run(&w[0].x, "LRANGE k 0 -1"), "*1\r\n$4\r\nkept\r\n");
	close_all(w, 4);
}

/* The host of these tests has a limit of 16 for whatever it does not know. */
static void so_many_may_wait(void **state)
{
	static struct client w[20];
	unsigned i, ready = 0;

	(void)state;
	open_all(w, 20);
	for (i = 0; i < 16; i++)
		block(&w[i], "BLPOP k 0");
	for (; i < 18; i++) {
		begin(&w[i], 0, 1, 1, "BLPOP k 0");
		assert_int_equal(w[i].rc, PURSER_AGAIN);
		assert_int_equal(w[i].x.readied, 0);
	}
	begin(&w[19], 0, 1, 1, "BLPOP k x"); /* what need not wait may come */
	assert_int_equal(w[19].rc, PURSER_DONE);
	mh_run(&w[18].x, "RPUSH k 1");
	assert_string_equal(got(&w[0]), "*2\r\n$1\r\nk\r\n$1\r\n1\r\n");
	for (i = 16; i < 18; i++) {
		mh_jobs(&w[i].x);
		ready += w[i].x.readied;
	}
	assert_int_equal(ready, 1); /* the first to ask */
	assert_int_equal(w[16].x.readied, 1);
	block(&w[16], "BLPOP k 0");
	m.p->cancel(w[3].x.cs, &w[3].c, PURSER_CANCEL_UNBLOCK);
	mh_jobs(&w[17].x);
	assert_int_equal(w[17].x.readied, 1);
	for (i = 1; i < 17; i++)
		if (i != 3)
			m.p->cancel(w[i].x.cs, &w[i].c, PURSER_CANCEL_UNBLOCK);
	close_all(w, 20);
}

static const char long_word[] = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

/* What waits, who wakes it, and how to see what is there: the same whether it was served or not. */
static const struct { const char *wait; uint32_t first, keys; const char *setup, *wake, *look; } pairs[] = {
	{ "BLPOP k 0", 1, 1, "PING", "RPUSH k %s", "LLEN k" },
	{ "BRPOP a b k 5", 1, 3, "PING", "RPUSH k %s", "LLEN k" },
	{ "BLMOVE k l LEFT RIGHT 0", 1, 2, "PING", "RPUSH k %s", "LLEN k" },
	{ "BLMOVE k k LEFT RIGHT 0", 1, 2, "PING", "RPUSH k %s", "LLEN k" },
	{ "BRPOPLPUSH k l 0", 1, 2, "RPUSH l x", "RPUSH k %s", "LLEN k" },
	{ "BLMPOP 0 1 k LEFT COUNT 5", 3, 1, "PING", "RPUSH k %s", "LLEN k" },
	{ "BZPOPMIN k 0", 1, 1, "PING", "ZADD k 1 %s", "ZCARD k" },
	{ "BZMPOP 0 1 k MAX COUNT 5", 3, 1, "PING", "ZADD k 1 %s", "ZCARD k" },
	{ "XREADGROUP GROUP g me BLOCK 0 STREAMS k >", 7, 1, "XGROUP CREATE k g $ MKSTREAM", "XADD k 1-1 f %s", "XPENDING k g" },
	{ "XREAD BLOCK 0 STREAMS k $", 4, 1, "PING", "XADD k 1-1 f %s", "XLEN k" },
};

/* The wait itself, with its allocation number `site` failing; 1: there are fewer. */
static int wait_site(size_t i, int64_t site)
{
	struct client w[2];
	int64_t left;

	open_all(w, 2);
	if (strcmp(pairs[i].setup, "PING"))
		mh_run(&w[0].x, "%s", pairs[i].setup);
	store()->fail_after = site;
	begin(&w[1], 0, pairs[i].first, pairs[i].keys, pairs[i].wait);
	left = store()->fail_after;
	store()->fail_after = -1;
	if (w[1].rc == PURSER_DONE)
		assert_string_equal(got(&w[1]), "-OOM out of memory: the command was not executed\r\n");
	else
		m.p->cancel(w[1].x.cs, &w[1].c, PURSER_CANCEL_UNBLOCK);
	assert_int_equal(w[1].x.ended, 1);
	close_all(w, 2);
	return left > 0;
}

/* It is served while the allocation fails: it has the element, or it is still there. */
static int serve_site(size_t i, int64_t site)
{
	struct client w[2];
	int refused, oom, there;
	const char *reply;
	int64_t left;

	open_all(w, 2);
	if (strcmp(pairs[i].setup, "PING"))
		mh_run(&w[0].x, "%s", pairs[i].setup);
	begin(&w[1], 0, pairs[i].first, pairs[i].keys, pairs[i].wait);
	assert_int_equal(w[1].rc, PURSER_PENDING);
	((struct ctx *)w[0].x.cs)->scratch_cap = 0;
	store()->fail_after = site;
	reply = mh_run(&w[0].x, pairs[i].wake, long_word);
	left = store()->fail_after;
	store()->fail_after = -1;
	refused = !strncmp(reply, "-OOM", 4);
	if (!refused && reply[0] == '-')
		fail_msg("%s: %s", pairs[i].wake, reply);
	reply = got(&w[1]);
	oom = !strncmp(reply, "-OOM", 4);
	if (refused) {
		assert_string_equal(reply, "");
		mh_run(&w[0].x, pairs[i].wake, long_word);
		reply = got(&w[1]);
	}
	if (!oom && !strstr(reply, long_word))
		fail_msg("%s, allocation %lld: %s", pairs[i].wait, (long long)site, reply);
	reply = mh_run(&w[0].x, "%s", pairs[i].look);
	there = reply[0] == ':' && reply[1] == '1';
	if (oom && pairs[i].look[0] != 'X' && !there)
		fail_msg("%s, allocation %lld: it is lost", pairs[i].wait, (long long)site);
	if (oom && !strncmp(pairs[i].look, "XPENDING", 8) && strncmp(reply, "*4\r\n:0", 6))
		fail_msg("%s, allocation %lld: it is owed: %s", pairs[i].wait, (long long)site, reply);
	if (!oom && !strncmp(pairs[i].wait, "BLP", 3) && there)
		fail_msg("%s, allocation %lld: it is there twice", pairs[i].wait, (long long)site);
	close_all(w, 2);
	return left > 0;
}

static void every_site(void **state)
{
	int64_t site;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		for (site = 0; site < SITES_MAX && !wait_site(i, site); site++)
			;
		assert_in_range(site, 4, SITES_MAX - 1);
		for (site = 0; site < SITES_MAX && !serve_site(i, site); site++)
			;
		assert_in_range(site, 2, SITES_MAX - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(served_in_order),
		cmocka_unit_test(other_databases),
		cmocka_unit_test(time_runs_out),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(so_many_may_wait),
		cmocka_unit_test(every_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
