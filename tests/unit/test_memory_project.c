/* SPDX-License-Identifier: Apache-2.0
 *
 * Accounts of projects in the memory plugin: after anything that several projects did, what each account says is what
 * a count over all keys says, and all accounts together are what the store uses.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "cmd.h"
#include "evict.h"
#include "measure.h"
#include "memory_host.h"
#include "project.h"
#include "table.h"

#define PROJECTS 4                     /* of the test: none, p1: p2: p3: */

static uint64_t rng;

static uint32_t below(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 32) % n;
}

/* ---- counting ------------------------------------------------------------------------------------------- */
struct count { int64_t used, keys, ttls; };
struct counting {
	struct ctx *cx;
	struct count *of;              /* [PROJECTS_MAX] */
	const struct blob *seen[4096];
	unsigned nseen;
};

static int count_slot(void *arg, uint64_t slot)
{
	struct counting *w = arg;
	struct item *it = slot_item(slot);
	struct count *c = &w->of[project_of_key(w->cx, (purser_bytes){ item_key(it), item_klen(it) })];
	unsigned i;

	c->keys++;
	c->ttls += item_has_ttl(it);
	c->used += (int64_t)item_memory(it);
	if (item_enc(it) != ENC_BIG)
		return 0;
	for (i = 0; i < w->nseen && w->seen[i] != item_blob(it); i++)
		;
	if (i < w->nseen)
		c->used -= (int64_t)chunk_size(blob_bytes(item_blob(it)->cap));
	else
		w->seen[w->nseen++] = item_blob(it);
	assert_true(w->nseen < sizeof(w->seen) / sizeof(*w->seen));
	return 0;
}

/* Nobody runs, nothing waits to be freed. */
static void check(struct mh *m, struct mh_ctx *x)
{
	static struct count of[PROJECTS_MAX];
	struct store *st = m->state;
	struct counting w = { .cx = x->cs, .of = of };
	int64_t tables = 0, all = 0, keys = 0;
	uint32_t s, d, i, n = atomic_load(&st->nprojects);

	memset(of, 0, sizeof(of));
	for (s = 0; s < SHARDS; s++)
		for (d = 0; d < st->databases; d++)
			if (st->shard[s].db[d]) {
				tables += (int64_t)table_own_bytes(st->shard[s].db[d]);
				table_each(st->shard[s].db[d], count_slot, &w);
			}
	for (i = PROJECT_BARE; i < n; i++) {
		assert_int_equal(project_sum(st, i, ACCOUNT_KEYS), of[i].keys);
		assert_int_equal(project_sum(st, i, ACCOUNT_TTLS), of[i].ttls);
		assert_int_equal(project_sum(st, i, ACCOUNT_USED), of[i].used);
		all += of[i].used;
		keys += of[i].keys;
	}
	if (evict_chosen(st) == EVICT_ALLKEYS_S3FIFO)
		assert_true(project_sum(st, PROJECT_NONE, ACCOUNT_USED) >= tables);
	else
		assert_int_equal(project_sum(st, PROJECT_NONE, ACCOUNT_USED), tables);
	assert_int_equal(project_sum(st, PROJECT_NONE, ACCOUNT_KEYS), 0);
	assert_int_equal(project_sum(st, PROJECT_NONE, ACCOUNT_USED) + all, store_used(st));
	assert_int_equal(mh_stats(m).keys, keys);
}

static void settle(struct mh_ctx *x, unsigned turns)
{
	while (turns-- > 0)
		mh_pass(x, 2);
}

static void as(struct mh_ctx *x, uint32_t project)
{
	x->ns = project;
	x->ns_prefix = project ? 3 : 0;
}

/* ---- anything -------------------------------------------------------------------------------------------------- */
static const char *const lines[] = { /* P: a project's prefix, #: a number */
	"SET Pk# 0123456789", "SET Pk# 01234567890123456789012345678901234567890123456789 PX 20", "GET Pk#",
	"SET Pk# v KEEPTTL", "GETEX Pk# PX 30", "GETDEL Pk#", "DEL Pk# Pk# Pn#", "UNLINK Ph# Pk#", "INCR Pn#",
	"APPEND Pk# 0123456789012345678901234567890123456789", "SETRANGE Pbig# 20000 x", "APPEND Pbig# abc",
	"COPY Pbig# Pbig# REPLACE", "COPY Pbig# Pk# DB 1 REPLACE", "GET Pbig#", "HSET Ph# f v g w", "HSET Ph1 f# v#", "HDEL Ph1 f#",
	"RENAME Pk# Pk#", "RENAME Pbig# Pk#", "RENAMENX Ph# Ph#", "EXPIRE Pk# 1", "PERSIST Pk#", "MSET Pk# x Pk# y Pn# z",
	"SADD Ps# a b 3", "SADD Ps1 m#", "SADD Ps2 #", "SREM Ps1 m#", "SUNIONSTORE Ps# Ps1 Ps2", "SMOVE Ps1 Ps2 m#",
	"RPUSH Pl# a b c", "RPUSH Pl1 element-number-# x#", "LPOP Pl1", "LMOVE Pl1 Pl# LEFT RIGHT", "LTRIM Pl1 0 300",
	"ZADD Pz# 1 a 2 b", "ZADD Pz1 # m#", "ZREM Pz1 m#", "ZRANGESTORE Pz# Pz1 0 200", "ZUNIONSTORE Pz# 2 Pz1 Pz2",
	"COPY Pz1 Pz# REPLACE", "COPY Ph1 Ph# REPLACE", "MOVE Pk# 1", "PFADD Pp# a#", "SETBIT Pbit# # 1", "SORT Pl1 ALPHA STORE Pl#",
	"XADD Px1 MAXLEN 200 * f 0123456789 n#", "XADD Px# * a b", "XGROUP CREATE Px1 g# 0 MKSTREAM", "XREADGROUP GROUP g1 c# STREAMS Px1 >",
	"XGROUP DESTROY Px1 g#", "XTRIM Px1 MAXLEN 50", "COPY Px1 Px# REPLACE", "XGROUP CREATE Px# g1 $", "XGROUP CREATECONSUMER Px1 g1 c#",
	"XGROUP DELCONSUMER Px1 g1 c#", "RENAME Px# Px#", "GEOADD Pgeo# 1 2 m#", "UNLINK Px1 Pgeo#", "UNLINK Pz1 Ps1 Ph1 Pl1", "SCAN 0 COUNT 50", "RANDOMKEY", "DBSIZE",
};

static void anything(struct mh_ctx *x, uint32_t project)
{
	const char *l = lines[below(sizeof(lines) / sizeof(*lines))];
	char line[512];
	size_t n = 0;

	as(x, project);
	for (; *l; l++) {
		int isp = *l == 'P' && l[1] >= 'a' && l[1] <= 'z' && n && line[n - 1] == ' ';

		if (isp && (project || below(2))) /* without a prefix of its own: other projects' keys as well */
			n += (size_t)snprintf(line + n, sizeof(line) - n, "p%u:", project ? project : 1 + below(3));
		else if (*l == '#')
			n += (size_t)snprintf(line + n, sizeof(line) - n, "%u", below(3) ? below(500) : below(8));
		else if (!isp)
			line[n++] = *l;
	}
	line[n] = '\0';
	x->db = (uint16_t)(below(8) == 0);
	mh_run(x, "%s", line);
}

static void seed(void)
{
	const char *s = getenv("PURSER_SEED");

	rng = s ? strtoull(s, NULL, 10) : (uint64_t)time(NULL);
	printf("PURSER_SEED=%llu\n", (unsigned long long)rng);
	rng = rng * 2 + 88172645463325252u;
}

static void random_commands(int64_t max_memory, int64_t policy, uint32_t first, unsigned rounds)
{
	struct mh m;
	struct mh_ctx x[2];
	unsigned i;

	mh_start(&m, (struct mh_settings){ max_memory, policy, 2 });
	mh_open(&x[0], &m);
	mh_open(&x[1], &m);
	for (i = 0; i < rounds; i++) {
		struct mh_ctx *one = &x[below(2)];

		/* the project without a prefix is there first; the others come later */
		anything(one, first == 0 && i < 500 ? 0 : first + below(PROJECTS - first));
		if (below(3) == 0)
			mh_release(one);
		if (i % 64 == 0)
			mh_pass(one, below(20));
		if (i % 3000 == 2999) {
			as(one, 0);
			one->db = (uint16_t)below(2);
			mh_run(one, below(4) ? "FLUSHDB" : below(2) ? "FLUSHALL" : "SWAPDB 0 1");
		}
		if (i % 1000 == 999) {
			mh_release(&x[0]);
			mh_release(&x[1]);
			settle(&x[0], 50);
			settle(&x[1], 5);
			check(&m, &x[0]);
		}
	}
	mh_release(&x[0]);
	mh_release(&x[1]);
	mh_run(&x[0], "FLUSHALL");
	settle(&x[0], 100);
	settle(&x[1], 100);
	check(&m, &x[0]);
	for (i = 0; i < 2; i++)
		mh_close(&x[i]);
	mh_stop(&m);
}

static unsigned rounds(void) { return getenv("PURSER_LONG") ? 1000000 : 30000; }

static void accounts_are_exact(void **state)
{
	(void)state;
	seed();
	random_commands(0, EVICT_NONE, 1, rounds());
}

static void without_prefix_too(void **state)
{
	(void)state;
	seed();
	random_commands(0, EVICT_NONE, 0, rounds());
}

static void with_eviction(void **state)
{
	int64_t policy;

	(void)state;
	seed();
	for (policy = EVICT_ALLKEYS_LRU; policy < EVICT_COUNT; policy++)
		random_commands(100000, policy, below(2), rounds() / 5);
}

/* Bytes of a value that goes piece by piece are its project's until it has gone. */
static void freed_in_pieces(void **state)
{
	struct mh m;
	struct mh_ctx x;
	int64_t full, was;
	unsigned i;

	(void)state;
	mh_start(&m, (struct mh_settings){ 0, 0, 2 });
	mh_open(&x, &m);
	as(&x, 2);
	for (i = 0; i < 50000; i++)
		mh_run(&x, "RPUSH p2:l 01234567890123456789-%u", i);
	for (i = 0; i < 50000; i++)
		mh_run(&x, "HSET p2:h f%u v%u", i, i);
	as(&x, 1);
	mh_run(&x, "SET p1:k v");
	full = project_sum(m.state, PROJECT_BARE + 1, ACCOUNT_USED);
	assert_true(full > 1000000);
	as(&x, 2);
	mh_run(&x, "UNLINK p2:l p2:h");
	as(&x, 1);
	mh_run(&x, "SET p1:k v");
	for (i = 0, was = full + 1; i < 1000 && project_sum(m.state, PROJECT_BARE + 1, ACCOUNT_USED); i++) {
		assert_true(project_sum(m.state, PROJECT_BARE + 1, ACCOUNT_USED) < was);
		was = project_sum(m.state, PROJECT_BARE + 1, ACCOUNT_USED);
		mh_pass(&x, i ? 2 : 100);
	}
	assert_in_range(i, 5, 900);
	check(&m, &x);
	mh_close(&x);
	mh_stop(&m);
}

/* What is counted for whom: reads, what expired, what was evicted. */
static void events_of_projects(void **state)
{
	char line[96];
	struct mh m;
	struct mh_ctx x;
	unsigned i;

	(void)state;
	mh_start(&m, (struct mh_settings){ 0, 0, 2 });
	mh_open(&x, &m);
	as(&x, 1);
	for (i = 0; i < 10; i++)
		mh_run(&x, "SET p1:k%u v PX 10", i);
	mh_run(&x, "GET p1:k1");
	mh_run(&x, "GET p1:none");
	as(&x, 2);
	mh_run(&x, "SET p2:k v");
	mh_run(&x, "GET p2:k");
	settle(&x, 1000); /* p1's keys go while p2 is the last that was served */
	assert_int_equal(project_sum(m.state, PROJECT_BARE + 1, ACCOUNT_EXPIRED), 10);
	assert_int_equal(project_sum(m.state, PROJECT_BARE + 1, ACCOUNT_HITS), 1);
	assert_int_equal(project_sum(m.state, PROJECT_BARE + 1, ACCOUNT_MISSES), 1);
	assert_int_equal(project_sum(m.state, PROJECT_BARE + 2, ACCOUNT_HITS), 1);
	assert_int_equal(project_sum(m.state, PROJECT_BARE + 2, ACCOUNT_EXPIRED), 0);
	assert_int_equal(project_sum(m.state, PROJECT_BARE + 2, ACCOUNT_KEYS), 1);
	assert_int_equal(project_sum(m.state, PROJECT_BARE + 1, ACCOUNT_KEYS), 0);
	as(&x, 2);
	snprintf(line, sizeof(line), "used_memory_project:%lld\r\nproject_keys:1\r\n",
	    (long long)project_sum(m.state, PROJECT_BARE + 2, ACCOUNT_USED));
	assert_non_null(strstr(mh_run(&x, "INFO memory"), line));
	as(&x, 3); /* has written nothing */
	assert_non_null(strstr(mh_run(&x, "INFO memory"), "used_memory_project:0\r\nproject_keys:0\r\n"));
	check(&m, &x);
	mh_close(&x);
	mh_stop(&m);
}

/* More projects than accounts: the last ones share that of keys without a prefix. */
static void more_than_accounts(void **state)
{
	struct mh m;
	struct mh_ctx x;
	unsigned i;

	(void)state;
	mh_start(&m, (struct mh_settings){ 0, 0, 1 });
	mh_open(&x, &m);
	for (i = 0; i < PROJECTS_MAX + 20; i++) {
		x.ns = i;
		x.ns_prefix = 5;
		assert_string_equal(mh_run(&x, "SET %04u:key v", i), "+OK\r\n");
	}
	assert_int_equal(atomic_load(&((struct store *)m.state)->nprojects), PROJECTS_MAX);
	assert_int_equal(project_sum(m.state, PROJECT_BARE, ACCOUNT_KEYS), 22);
	check(&m, &x);
	mh_close(&x);
	mh_stop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accounts_are_exact),
		cmocka_unit_test(without_prefix_too),
		cmocka_unit_test(with_eviction),
		cmocka_unit_test(freed_in_pieces),
		cmocka_unit_test(events_of_projects),
		cmocka_unit_test(more_than_accounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
