/* SPDX-License-Identifier: Apache-2.0
 *
 * What hangs on changed keys, in the memory plugin alone: notifications of what the agent's clients cannot send
 * (MOVE, SWAPDB, eviction), WATCH across databases, and all of it from several threads.
 */
#include <config.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "event.h"
#include "memory_host.h"

#define THREADS 4

struct fixture { struct mh m; struct mh_ctx x, y; struct store *st; char said[8192]; };

static void say(void *arg, purser_bytes channel, purser_bytes message)
{
	struct fixture *f = arg;
	size_t n = strlen(f->said);

	snprintf(f->said + n, sizeof(f->said) - n, "%.*s=%.*s ", (int)channel.n, (const char *)channel.p,
	    (int)message.n, (const char *)message.p);
}

static void invalid(void *arg, const purser_bytes *keys, size_t n)
{
	struct fixture *f = arg;
	size_t i, at = strlen(f->said);

	if (!n)
		snprintf(f->said + at, sizeof(f->said) - at, "everything ");
	for (i = 0; i < n; i++)
		say(f, (purser_bytes){ (const uint8_t *)"key", 3 }, keys[i]);
}

static void setup(struct fixture *f, int64_t max_memory)
{
	memset(f, 0, sizeof(*f));
	mh_start(&f->m, (struct mh_settings){ max_memory, max_memory > 0, 4 });
	f->m.published = say;
	f->m.invalidated = invalid;
	f->m.published_arg = f;
	f->st = f->m.state;
	mh_open(&f->x, &f->m);
	mh_open(&f->y, &f->m);
}

static void teardown(struct fixture *f)
{
	mh_run(&f->x, "UNWATCH");
	mh_run(&f->y, "UNWATCH");
	mh_run(&f->x, "FLUSHALL");
	while (mh_pass(&f->x, 100))
		;
	assert_int_equal(store_used(f->st), 0);
	mh_close(&f->x);
	mh_close(&f->y);
	mh_stop(&f->m);
}

static void letters(const char *text) { assert_int_not_equal(notify_parse((const uint8_t *)text, strlen(text)), -1); }

/* ---- notifications --------------------------------------------------------------------------------------- */
static void shows_letters(void **state)
{
	static const char *const pairs[][2] = { /* as redis-server 7.0.15 answers CONFIG GET */
		{ "", "" }, { "K", "K" }, { "KEA", "AKE" }, { "KEAm", "AKEm" }, { "KEAn", "AKE" }, { "KEAd", "AKE" },
		{ "KEg$lshzxetd", "AKE" }, { "KEg$lshzxet", "g$lshzxetKE" }, { "n", "n" }, { "Kn", "nK" }, { "mK", "Km" },
		{ "KEmng", "gnKEm" }, { "Am", "Am" },
	};
	char text[NOTIFY_TEXT];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		letters(pairs[i][0]);
		notify_text((uint32_t)notify_parse((const uint8_t *)pairs[i][0], strlen(pairs[i][0])), text);
		assert_string_equal(text, pairs[i][1]);
	}
	assert_int_equal(notify_parse((const uint8_t *)"KEq", 3), -1);
}

static void heard(struct fixture *f, const char *want)
{
	assert_string_equal(f->said, want);
	f->said[0] = '\0';
}

static void tells_events(void **state)
{
	struct fixture f;
	char key[601];

	(void)state;
	setup(&f, 0);
	mh_run(&f.x, "SET k v");
	heard(&f, "");
	notify_set(f.st, EVENT_ALL | NOTIFY_KEYSPACE | NOTIFY_KEYEVENT | EVENT_NEW);
	mh_run(&f.x, "MOVE k 3");
	heard(&f, "__keyspace@3__:k=new __keyevent@3__:new=k __keyspace@0__:k=move_from __keyevent@0__:move_from=k "
	    "__keyspace@3__:k=move_to __keyevent@3__:move_to=k ");
	mh_run(&f.x, "SWAPDB 0 3");
	heard(&f, "");
	notify_set(f.st, EVENT_GENERIC | EVENT_EXPIRED | NOTIFY_KEYEVENT);
	mh_run(&f.x, "SET k v PX 50");
	heard(&f, "__keyevent@0__:expire=k ");
	mh_pass(&f.x, 51);
	mh_pass(&f.x, 200);
	heard(&f, "__keyevent@0__:expired=k ");
	memset(key, 'x', 600);
	key[600] = '\0';
	notify_set(f.st, EVENT_ALL | NOTIFY_KEYSPACE);
	mh_run(&f.x, "SET %s v", key);
	assert_memory_equal(f.said, "__keyspace@0__:xxxx", 19);
	assert_string_equal(f.said + 15 + 600, "=set ");
	notify_set(f.st, EVENT_ALL); /* neither K nor E: nobody is told */
	f.said[0] = '\0';
	mh_run(&f.x, "SET k v");
	heard(&f, "");
	assert_int_equal(atomic_load(&f.st->heard), 0);
	teardown(&f);
}

static void tells_evictions(void **state)
{
	struct fixture f;
	int i;

	(void)state;
	setup(&f, 20000);
	notify_set(f.st, EVENT_EVICTED | NOTIFY_KEYEVENT);
	mh_run(&f.y, "WATCH key:0");
	for (i = 0; i < 100 && !f.said[0]; i++)
		mh_run(&f.x, "SET key:%d %0500d", i, 0);
	assert_memory_equal(f.said, "__keyevent@0__:evicted=key:", 27);
	teardown(&f);
}

/* ---- WATCH ----------------------------------------------------------------------------------------------- */
static int broke(struct mh_ctx *x)
{
	mh_batch(x, "GET nothing");
	return strcmp(x->reply, "$-1\r\n") == 0 && x->ended == 1;
}

static void swapped(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f, 0);
	mh_run(&f.x, "SET k v");
	mh_run(&f.y, "WATCH none k");
	mh_run(&f.x, "SWAPDB 1 2");
	assert_false(broke(&f.y));
	mh_run(&f.y, "WATCH k");
	mh_run(&f.x, "SWAPDB 0 1");
	assert_true(broke(&f.y)); /* gone */
	mh_run(&f.y, "WATCH k");
	mh_run(&f.x, "SWAPDB 1 0");
	assert_true(broke(&f.y)); /* come */
	mh_run(&f.y, "WATCH none");
	mh_run(&f.x, "SWAPDB 0 1");
	mh_run(&f.x, "SWAPDB 0 0");
	assert_false(broke(&f.y));
	/* what comes is dead already: there was no key and is none */
	mh_run(&f.x, "FLUSHALL");
	f.x.db = 1;
	mh_run(&f.x, "SET k v PX 10");
	mh_run(&f.y, "WATCH k");
	f.m.wall_ms += 20;
	mh_run(&f.x, "SWAPDB 0 1");
	assert_false(broke(&f.y));
	/* a watch in another database, and MOVE */
	f.x.db = 0;
	mh_run(&f.x, "SET m v");
	f.y.db = 2;
	mh_run(&f.y, "WATCH m");
	mh_run(&f.x, "MOVE m 1");
	assert_false(broke(&f.y));
	mh_run(&f.y, "WATCH m");
	f.x.db = 1;
	mh_run(&f.x, "MOVE m 2");
	assert_true(broke(&f.y));
	f.y.db = 0;
	teardown(&f);
}

/* Many keys: the tables grow, shrink to nothing, and a context that is closed takes its watches with it. */
static void many_watches(void **state)
{
	struct fixture f;
	int64_t used;
	int i;

	(void)state;
	setup(&f, 0);
	for (i = 0; i < 5000; i++)
		assert_string_equal(mh_run(&f.y, "WATCH key:%d key:%d", i, i / 2), "+OK\r\n");
	used = store_used(f.st);
	mh_run(&f.y, "WATCH key:1 key:2");
	assert_int_equal(store_used(f.st), used);
	assert_int_equal(f.st->watches, 5000);
	mh_run(&f.x, "SET other 1");
	mh_run(&f.x, "SET key:4999 1");
	assert_true(broke(&f.y));
	assert_int_equal(f.st->watches, 0);
	assert_int_equal(atomic_load(&f.st->heard), 0);
	for (i = 0; i < 100; i++)
		mh_run(&f.y, "WATCH key:%d", i);
	mh_close(&f.y);
	memset(&f.y, 0, sizeof(f.y));
	assert_int_equal(f.st->watches, 0);
	mh_open(&f.y, &f.m);
	mh_run(&f.y, "WATCH key:1");
	f.m.p->session_end(f.y.cs, NULL, f.y.slot);
	f.y.slot = NULL;
	assert_int_equal(f.st->watches, 0);
	teardown(&f);
}

/* ---- tracking -------------------------------------------------------------------------------------------- */
static void track(struct fixture *f, const char *prefix, int on)
{
	assert_int_equal(f->m.p->track(f->x.cs, (purser_bytes){ (const uint8_t *)prefix, strlen(prefix) }, on), 0);
}

static void tells_the_host(void **state)
{
	struct fixture f;
	char big[5001];
	int i;

	(void)state;
	setup(&f, 0);
	mh_run(&f.y, "SET a:1 v");
	heard(&f, "");
	track(&f, "a:", 1);
	track(&f, "b:", 1);
	heard(&f, "everything everything ");
	mh_run(&f.y, "MSET a:1 v c:1 v b: v b:2 v");
	mh_run(&f.y, "SET a:9 v EX 100"); /* two events, one change */
	mh_run(&f.y, "GET a:1");
	mh_run(&f.y, "SETBIT c:1 5 1");
	heard(&f, ""); /* not before the home's turn */
	assert_int_equal(mh_jobs(&f.x), 1);
	heard(&f, "key=a:1 key=b: key=b:2 key=a:9 ");
	assert_int_equal(mh_jobs(&f.x), 0);
	mh_run(&f.y, "PFADD a:h x");
	mh_jobs(&f.x);
	heard(&f, "key=a:h ");
	mh_run(&f.y, "PFCOUNT a:h"); /* the number is kept in the value */
	mh_jobs(&f.x);
	heard(&f, "key=a:h ");
	mh_run(&f.y, "SET a:x v");
	mh_run(&f.y, "FLUSHDB");
	mh_run(&f.y, "SET a:y v");
	mh_jobs(&f.x);
	heard(&f, "everything ");
	memset(big, 'k', 5000);
	big[5000] = '\0';
	for (i = 0; i < 500; i++) /* more than waits for the home: less exact, not less true */
		mh_run(&f.y, "SET a:%d%s v", i, big);
	mh_jobs(&f.x);
	heard(&f, "everything ");
	track(&f, "a:", 0);
	mh_run(&f.y, "MSET a:1 v b:1 v");
	mh_jobs(&f.x);
	heard(&f, "key=b:1 ");
	track(&f, "b:", 0);
	mh_run(&f.y, "MSET a:1 v b:1 v");
	assert_int_equal(mh_jobs(&f.x), 0);
	assert_int_equal(atomic_load(&f.st->heard), 0);
	track(&f, "", 1); /* and the home goes */
	mh_run(&f.y, "SET a:1 v");
	mh_close(&f.x);
	mh_run(&f.y, "SET a:2 v");
	memset(&f.x, 0, sizeof(f.x));
	mh_open(&f.x, &f.m);
	heard(&f, "everything key=a:1 ");
	teardown(&f);
}

/* ---- several threads --------------------------------------------------------------------------------------- */
struct worker { struct mh *m; struct mh_ctx x; unsigned number; _Atomic unsigned *working; int wrong; };
static _Atomic int64_t told, published;

static void tell_told(void *arg, const purser_bytes *keys, size_t n)
{
	(void)arg;
	(void)keys;
	atomic_fetch_add(&told, (int64_t)n);
}

static void tell_published(void *arg, purser_bytes channel, purser_bytes message)
{
	(void)arg;
	(void)channel;
	(void)message;
	atomic_fetch_add(&published, 1);
}

/* A counter that all count up under WATCH; beside it keys that come, go and expire. */
static void *count_up(void *arg)
{
	struct worker *w = arg;
	struct mh_ctx *x = &w->x;
	char line[64];
	int i, n;

	for (i = 0; i < 1000; i++) {
		mh_run(x, "SET noise:%u:%d v PX 1", w->number, i % 50);
		do {
			mh_run(x, "WATCH counter noise:%d", i % 7);
			mh_run(x, "GET counter");
			n = x->reply[1] == '-' ? 0 : (int)strtol(strchr(x->reply, '\n') + 1, NULL, 10);
			snprintf(line, sizeof(line), "SET counter %d\nGET counter", n + 1);
			mh_batch(x, line);
			w->wrong |= x->failed;
		} while (strcmp(x->reply, "$-1\r\n") == 0);
		if (i % 100 == 0)
			mh_pass(x, 1);
	}
	atomic_fetch_sub(w->working, 1);
	return NULL;
}

static void together(void **state)
{
	struct worker w[THREADS];
	struct mh_ctx home;
	pthread_t t[THREADS];
	_Atomic unsigned working = THREADS;
	struct mh m;
	unsigned i, turns = 0;

	(void)state;
	mh_start(&m, (struct mh_settings){ 0, 0, 1 });
	m.invalidated = tell_told;
	m.published = tell_published;
	mh_open(&home, &m);
	memset(w, 0, sizeof(w));
	for (i = 0; i < THREADS; i++) {
		w[i].m = &m;
		w[i].number = i;
		w[i].working = &working;
		mh_open(&w[i].x, &m);
		pthread_create(&t[i], NULL, count_up, &w[i]);
	}
	while (atomic_load(&working)) { /* tracking and notifications come and go beside it */
		purser_bytes prefix = { (const uint8_t *)"noise", turns % 3 ? 5 : 0 };

		m.p->track(home.cs, prefix, 1);
		notify_set(m.state, turns % 2 ? 0 : EVENT_ALL | NOTIFY_KEYEVENT);
		mh_jobs(&home);
		m.p->track(home.cs, prefix, 0);
		turns++;
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_string_equal(strchr(mh_run(&home, "GET counter"), '\n'), "\n4000\r\n");
	for (i = 0; i < THREADS; i++) {
		assert_false(w[i].wrong);
		mh_close(&w[i].x);
	}
	assert_int_equal(((struct store *)m.state)->watches, 0);
	mh_close(&home);
	mh_stop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_letters),
		cmocka_unit_test(tells_events),
		cmocka_unit_test(tells_evictions),
		cmocka_unit_test(swapped),
		cmocka_unit_test(many_watches),
		cmocka_unit_test(tells_the_host),
		cmocka_unit_test(together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
