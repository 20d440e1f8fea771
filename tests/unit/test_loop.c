/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop: readiness, timers on a clock of our own, hooks, the mailbox across threads.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "loop/loop.h"

static uint64_t fake_now, fake_wall, wall_reads;

static uint64_t fake_mono(void *arg)
{
	(void)arg;
	return fake_now;
}

static uint64_t fake_wall_ms(void *arg)
{
	(void)arg;
	wall_reads++;
	return fake_wall;
}

static struct loop *fake_loop(void)
{
	static const struct loop_clock clock = { fake_mono, fake_wall_ms, NULL };
	struct loop *l;

	fake_now = 1000;
	fake_wall = 5;
	wall_reads = 0;
	l = loop_new(&clock);
	assert_non_null(l);
	return l;
}

/* What happened, in order. */
static char story[256];

static void tell(const char *what)
{
	size_t n = strlen(story);

	snprintf(story + n, sizeof(story) - n, "%s ", what);
}

static void expect_story(const char *want)
{
	assert_string_equal(story, want);
	story[0] = '\0';
}

/* ---- timers ---------------------------------------------------------------------------------- */

struct named {
	struct loop_timer timer;
	struct loop *l;
	const char *name;
	struct named *other; /* set or stopped by fire_other */
	uint64_t due;
};

static void fire(struct loop_timer *t)
{
	tell(((struct named *)t)->name);
}

static void fire_other(struct loop_timer *t)
{
	struct named *n = (struct named *)t;

	tell(n->name);
	if (n->due)
		assert_int_equal(loop_timer_set(n->l, &n->other->timer, n->due), 0);
	else
		loop_timer_stop(n->l, &n->other->timer);
}

static void test_timer_order(void **state)
{
	struct loop *l = fake_loop();
	struct named a = { { fire, 0, 0 }, l, "a", NULL, 0 }, b = a, c = a, d = a;

	(void)state;
	b.name = "b";
	c.name = "c";
	d.name = "d";
	loop_timer_set(l, &c.timer, 3000);
	loop_timer_set(l, &b.timer, 2000);
	loop_timer_set(l, &a.timer, 2000); /* after b, which was set first */
	loop_timer_set(l, &d.timer, 10);   /* long past */
	loop_turn(l, 0);
	expect_story("d ");
	fake_now = 1999;
	loop_turn(l, 0);
	expect_story("");
	fake_now = 5000;
	loop_turn(l, 0);
	expect_story("b a c ");
	assert_int_equal(a.timer.pos, 0);
	loop_turn(l, 0);
	expect_story("");
	loop_free(l);
}

static void test_timer_move_and_stop(void **state)
{
	struct loop *l = fake_loop();
	struct named a = { { fire, 0, 0 }, l, "a", NULL, 0 }, b = a;

	(void)state;
	b.name = "b";
	loop_timer_set(l, &a.timer, 2000);
	loop_timer_set(l, &b.timer, 3000);
	loop_timer_set(l, &a.timer, 4000);
	fake_now = 3500;
	loop_turn(l, 0);
	expect_story("b ");
	loop_timer_stop(l, &a.timer);
	loop_timer_stop(l, &a.timer);
	fake_now = 9000;
	loop_turn(l, 0);
	expect_story("");
	loop_free(l);
}

static void test_timer_from_timer(void **state)
{
	struct loop *l = fake_loop();
	struct named victim = { { fire, 0, 0 }, l, "victim", NULL, 0 };
	struct named stopper = { { fire_other, 0, 0 }, l, "stopper", &victim, 0 };
	struct named again = { { fire_other, 0, 0 }, l, "again", NULL, 1 };

	(void)state;
	again.other = &again; /* sets itself, always due: once a turn, and starves nobody */
	loop_timer_set(l, &again.timer, 2000);
	loop_timer_set(l, &stopper.timer, 2000);
	loop_timer_set(l, &victim.timer, 2001);
	fake_now = 3000;
	loop_turn(l, 0);
	expect_story("again stopper ");
	assert_int_equal(victim.timer.pos, 0);
	assert_int_equal(loop_turn(l, -1), 0); /* does not sleep: one is due */
	expect_story("again ");
	loop_timer_stop(l, &again.timer);
	loop_free(l);
}

/* Random sets, moves and stops against a model that looks through all. */
static uint64_t last_due;
static unsigned fired;

static void fire_model(struct loop_timer *t)
{
	assert_true(t->due_ns <= fake_now);
	assert_true(t->due_ns >= last_due);
	last_due = t->due_ns;
	fired++;
}

static void test_timer_model(void **state)
{
	enum { N = 500 };
	static struct loop_timer timers[N];
	struct loop *l = fake_loop();
	const char *given = getenv("PURSER_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	int round, i;

	(void)state;
	print_message("# seed %u\n", seed);
	for (i = 0; i < N; i++)
		timers[i] = (struct loop_timer){ .fn = fire_model };
	for (round = 0; round < 2000; round++) {
		unsigned due = 0;

		for (i = 0; i < 20; i++) {
			struct loop_timer *t = &timers[(unsigned)rand_r(&seed) % N];

			if (rand_r(&seed) % 4 == 0)
				loop_timer_stop(l, t);
			else
				assert_int_equal(loop_timer_set(l, t,
				    fake_now + 1 + (unsigned)rand_r(&seed) % 5000), 0);
		}
		fake_now += (unsigned)rand_r(&seed) % 300;
		for (i = 0; i < N; i++)
			due += timers[i].pos && timers[i].due_ns <= fake_now;
		fired = 0;
		last_due = 0;
		loop_turn(l, 0);
		assert_int_equal(fired, due);
		for (i = 0; i < N; i++)
			assert_false(timers[i].pos && timers[i].due_ns <= fake_now);
	}
	loop_free(l);
}

static void test_clock(void **state)
{
	struct loop *l = fake_loop();

	(void)state;
	assert_int_equal(loop_now(l), 1000);
	fake_now = 1500;
	assert_int_equal(loop_now(l), 1000); /* the turn's */
	loop_turn(l, 0);
	assert_int_equal(loop_now(l), 1500);
	assert_int_equal(wall_reads, 0); /* nobody asked */
	fake_wall = 77;
	assert_int_equal(loop_wall_ms(l), 77);
	fake_wall = 78;
	assert_int_equal(loop_wall_ms(l), 77);
	loop_turn(l, 0);
	assert_int_equal(loop_wall_ms(l), 78);
	assert_int_equal(loop_turns(l), 2);
	loop_free(l);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

struct end {
	struct loop_io io;
	struct loop *l;
	const char *name;
	uint32_t events;
	int calls;
	void (*then)(struct end *e);
	struct end *other;
	int fd;
};

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct end *e = (struct end *)io;

	e->events = events;
	e->calls++;
	if (e->name)
		tell(e->name);
	if (e->then)
		e->then(e);
}

static void make_pair(int fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
}

static void test_edges(void **state)
{
	struct loop *l = fake_loop();
	struct end e = { .io.fn = on_ready };
	char buf[8];
	int fd[2];

	(void)state;
	make_pair(fd);
	assert_int_equal(loop_watch(l, &e.io, fd[0], PURSER_IO_IN), 0);
	loop_turn(l, 0);
	assert_int_equal(e.calls, 0);
	assert_int_equal(write(fd[1], "ab", 2), 2);
	loop_turn(l, 0);
	assert_int_equal(e.calls, 1);
	assert_int_equal(e.events, PURSER_IO_IN);
	loop_turn(l, 0); /* not read, but no new edge */
	assert_int_equal(e.calls, 1);
	assert_int_equal(
		loop_watch(l, &e.io, fd[0], PURSER_IO_IN | PURSER_IO_OUT), 0); /* told again */
	loop_turn(l, 0);
	assert_int_equal(e.calls, 2);
	assert_int_equal(e.events, PURSER_IO_IN | PURSER_IO_OUT);
	/* Data and the end together: the short read alone would not show the end. */
	assert_int_equal(write(fd[1], "cd", 2), 2);
	close(fd[1]);
	loop_turn(l, 0);
	assert_true(e.events & PURSER_IO_HUP);
	assert_int_equal(read(fd[0], buf, sizeof(buf)), 4);
	assert_int_equal(read(fd[0], buf, sizeof(buf)), 0);
	loop_unwatch(l, &e.io);
	loop_unwatch(l, &e.io);
	assert_int_equal(e.io.fd, -1);
	close(fd[0]);
	loop_free(l);
}

static void test_watch_errors(void **state)
{
	struct loop *l = fake_loop();
	struct end e = { .io.fn = on_ready };
	int fd = open("/etc/passwd", O_RDONLY);

	(void)state;
	assert_int_equal(loop_watch(l, &e.io, -1, PURSER_IO_IN), -EBADF);
	assert_int_equal(loop_watch(l, &e.io, fd, PURSER_IO_IN), -EPERM);
	assert_int_equal(e.io.watched, 0);
	close(fd);
	loop_free(l); /* nothing was left watched */
}

static void kill_other(struct end *e)
{
	if (e->other) {
		loop_unwatch(e->l, &e->other->io);
		close(e->other->fd);
		memset(e->other, 0xa5, sizeof(*e->other)); /* what free() may do */
		free(e->other);
		e->other = NULL;
	}
}

/* Two descriptors are ready in one batch; whichever comes first frees the other. */
static void test_unwatch_in_batch(void **state)
{
	struct loop *l = fake_loop();
	struct end *e[2];
	int fd[2][2], i, calls = 0;

	(void)state;
	for (i = 0; i < 2; i++) {
		make_pair(fd[i]);
		e[i] = calloc(1, sizeof(*e[i]));
		e[i]->io.fn = on_ready;
		e[i]->l = l;
		e[i]->fd = fd[i][0];
		e[i]->then = kill_other;
		assert_int_equal(loop_watch(l, &e[i]->io, fd[i][0], PURSER_IO_IN), 0);
		assert_int_equal(write(fd[i][1], "x", 1), 1);
	}
	e[0]->other = e[1]; /* epoll keeps the order of arrival */
	loop_turn(l, 0);
	calls = e[0]->calls;
	assert_int_equal(calls, 1);
	assert_null(e[0]->other);
	loop_unwatch(l, &e[0]->io);
	free(e[0]);
	close(fd[0][0]);
	close(fd[0][1]);
	close(fd[1][1]);
	loop_free(l);
}

static void move_other(struct end *e)
{
	loop_unwatch(e->l, &e->other->io);
	assert_int_equal(loop_watch(e->l, &e->other->io, e->fd, PURSER_IO_IN), 0);
}

/* A watcher that is used again for a quiet descriptor must not get the old one's event. */
static void test_reuse_in_batch(void **state)
{
	struct loop *l = fake_loop();
	struct end a = { .io.fn = on_ready, .l = l, .then = move_other }, b = { .io.fn = on_ready };
	int fa[2], fb[2], quiet[2];

	(void)state;
	make_pair(fa);
	make_pair(fb);
	make_pair(quiet);
	a.other = &b;
	a.fd = quiet[0];
	loop_watch(l, &a.io, fa[0], PURSER_IO_IN);
	loop_watch(l, &b.io, fb[0], PURSER_IO_IN);
	assert_int_equal(write(fa[1], "x", 1), 1);
	assert_int_equal(write(fb[1], "x", 1), 1);
	loop_turn(l, 0);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 0);
	a.then = NULL;
	assert_int_equal(write(quiet[1], "x", 1), 1);
	loop_turn(l, 0);
	assert_int_equal(b.calls, 1);
	loop_unwatch(l, &a.io);
	loop_unwatch(l, &b.io);
	close(fa[0]);
	close(fa[1]);
	close(fb[0]);
	close(fb[1]);
	close(quiet[0]);
	close(quiet[1]);
	loop_free(l);
}

static void write_other(struct end *e)
{
	if (e->fd >= 0)
		assert_int_equal(write(e->fd, "x", 1), 1);
}

static struct loop *hook_loop;
static int again_left;

static void on_hook1(struct loop_hook *h)
{
	(void)h;
	tell("hook1");
}

static void on_hook2(struct loop_hook *h)
{
	(void)h;
	tell("hook2");
	if (again_left > 0) {
		again_left--;
		loop_again(hook_loop);
	}
}

/* What becomes ready while a batch runs shares its flush; hooks run once, in order, at the end.  A batch of
 * one has company only if the last one had. */
static void test_turn_order(void **state)
{
	struct loop *l = fake_loop();
	struct end a = { .io.fn = on_ready, .l = l, .name = "a", .then = write_other };
	struct end b = { .io.fn = on_ready, .l = l, .name = "b", .fd = -1 };
	struct end c = { .io.fn = on_ready, .l = l, .name = "c", .fd = -1 };
	struct named t = { { fire, 0, 0 }, l, "timer", NULL, 0 };
	struct loop_hook h1 = { on_hook1, NULL }, h2 = { on_hook2, NULL };
	int fa[2], fb[2], fc[2];

	(void)state;
	hook_loop = l;
	again_left = 1;
	make_pair(fa);
	make_pair(fb);
	make_pair(fc);
	a.fd = fb[1];
	loop_hook_add(l, &h1);
	loop_hook_add(l, &h2);
	loop_watch(l, &a.io, fa[0], PURSER_IO_IN);
	loop_watch(l, &b.io, fb[0], PURSER_IO_IN);
	loop_watch(l, &c.io, fc[0], PURSER_IO_IN);
	loop_timer_set(l, &t.timer, 1);
	assert_int_equal(write(fa[1], "x", 1), 1);
	loop_turn(l, 0);
	expect_story("a timer hook1 hook2 "); /* it was alone */
	loop_turn(l, -1); /* the hook asked for it: no sleep */
	expect_story("b hook1 hook2 ");
	assert_int_equal(write(fa[1], "x", 1), 1);
	assert_int_equal(write(fc[1], "x", 1), 1);
	loop_turn(l, -1);
	expect_story("a c b hook1 hook2 ");
	assert_int_equal(write(fa[1], "x", 1), 1);
	loop_turn(l, -1);
	expect_story("a b hook1 hook2 ");
	loop_unwatch(l, &a.io);
	loop_unwatch(l, &b.io);
	loop_unwatch(l, &c.io);
	close(fa[0]);
	close(fa[1]);
	close(fb[0]);
	close(fb[1]);
	close(fc[0]);
	close(fc[1]);
	loop_free(l);
}

/* ---- mailbox --------------------------------------------------------------------------------- */

static struct loop *post_loop;
static purser_job second = { NULL, NULL, NULL };

static void job_tell(void *arg)
{
	tell(arg);
}

static void job_post(void *arg)
{
	tell(arg);
	loop_post(post_loop, &second);
}

static void test_post_order(void **state)
{
	struct loop *l = fake_loop();
	purser_job a = { NULL, job_tell, (void *)"a" }, b = { NULL, job_post, (void *)"b" },
	           c = { NULL, job_tell, (void *)"c" };

	(void)state;
	post_loop = l;
	second = (purser_job){ NULL, job_tell, (void *)"later" };
	loop_post(l, &a);
	loop_post(l, &b);
	loop_post(l, &c);
	loop_turn(l, -1);
	expect_story("a b c ");
	loop_turn(l, -1); /* what a job posted */
	expect_story("later ");
	loop_free(l);
}

enum { POSTERS = 3, POSTS = 20000 };

struct poster {
	pthread_t thread;
	struct loop *l;
	unsigned seen, *total;
	struct note {
		purser_job job;
		struct poster *from;
		unsigned n;
	} notes[POSTS];
};

static void note_run(void *arg)
{
	struct note *n = arg;
	struct poster *p = n->from;

	assert_int_equal(n->n, p->seen); /* each poster's order is kept */
	p->seen++;
	memset(&n->job, 0xa5,
		sizeof(n->job)); /* the node is free: nobody may look at it any more */
	if (++*p->total == POSTERS * POSTS)
		loop_stop(p->l);
}

static void *post_many(void *arg)
{
	struct poster *p = arg;
	unsigned i;

	for (i = 0; i < POSTS; i++) {
		p->notes[i] = (struct note){ { NULL, note_run, &p->notes[i] }, p, i };
		loop_post(p->l, &p->notes[i].job);
		if (i % 64 == 0)
			sched_yield(); /* let the loop fall asleep now and then */
	}
	return NULL;
}

static void test_post_threads(void **state)
{
	struct loop *l = loop_new(NULL);
	struct poster *p = calloc(POSTERS, sizeof(*p));
	unsigned total = 0;
	int i;

	(void)state;
	for (i = 0; i < POSTERS; i++) {
		p[i].l = l;
		p[i].total = &total;
		assert_int_equal(pthread_create(&p[i].thread, NULL, post_many, &p[i]), 0);
	}
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(total, POSTERS * POSTS);
	for (i = 0; i < POSTERS; i++) {
		pthread_join(p[i].thread, NULL);
		assert_int_equal(p[i].seen, POSTS);
	}
	free(p);
	loop_free(l);
}

/* Ping-pong: each post finds the other loop asleep, so a lost wake-up hangs the test. */
struct player {
	struct loop *l;
	struct player *peer;
	purser_job job;
	unsigned left;
};

static void pong(void *arg)
{
	struct player *me = arg;

	if (me->left == 0) {
		loop_stop(me->l);
		return;
	}
	me->left--;
	loop_post(me->peer->l, &me->peer->job);
	if (me->left == 0)
		loop_stop(me->l);
}

static void *play(void *arg)
{
	struct player *me = arg;

	assert_int_equal(loop_run(me->l), 0);
	return NULL;
}

static void test_ping_pong(void **state)
{
	struct player a = { .left = 5000 }, b = { .left = 5000 };
	pthread_t thread;

	(void)state;
	a.l = loop_new(NULL);
	b.l = loop_new(NULL);
	a.peer = &b;
	b.peer = &a;
	a.job = (purser_job){ NULL, pong, &a };
	b.job = (purser_job){ NULL, pong, &b };
	assert_int_equal(pthread_create(&thread, NULL, play, &b), 0);
	loop_post(a.l, &a.job);
	assert_int_equal(loop_run(a.l), 0);
	pthread_join(thread, NULL);
	assert_int_equal(a.left, 0);
	assert_int_equal(b.left, 0);
	loop_free(a.l);
	loop_free(b.l);
}

static void test_stop_before_run(void **state)
{
	struct loop *l = loop_new(NULL);
	struct named t = { { fire, 0, 0 }, l, "timer", NULL, 0 };

	(void)state;
	loop_stop(l);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(loop_turns(l), 0);
	/* A real clock and a real sleep, as short as can be. */
	loop_timer_set(l, &t.timer, loop_now(l) + 200000);
	while (t.timer.pos)
		assert_int_equal(loop_turn(l, -1), 0);
	expect_story("timer ");
	assert_true(loop_now(l) >= t.timer.due_ns);
	loop_free(l);
	loop_free(NULL);
}

/* The real clock: a timer that is set, moved to and fro, stopped; a sleep ends when the next one is due. */
static void test_alarm(void **state)
{
	struct loop *l = loop_new(NULL);
	struct named late = { { fire, 0, 0 }, l, "late", NULL, 0 };
	struct named soon = { { fire, 0, 0 }, l, "soon", NULL, 0 };
	uint64_t begin = loop_now(l);

	(void)state;
	loop_timer_set(l, &late.timer, begin + UINT64_C(3600000000000));
	loop_timer_set(l, &soon.timer, begin + 100000);
	loop_turn(l, -1);
	loop_timer_stop(l, &soon.timer); /* if it has not fired: the alarm is set for nothing */
	story[0] = '\0';
	loop_timer_set(l, &late.timer, begin + 300000);
	while (late.timer.pos)
		assert_int_equal(loop_turn(l, -1), 0);
	expect_story("late ");
	assert_true(loop_now(l) >= begin + 300000);
	loop_timer_set(l, &late.timer, loop_now(l) + 200000);
	loop_timer_set(l, &soon.timer, loop_now(l) + 100000);
	while (late.timer.pos)
		assert_int_equal(loop_turn(l, -1), 0);
	expect_story("soon late ");
	loop_free(l);
}

static bool rang, dug_out;

static void on_ring(struct loop_timer *t)
{
	(void)t;
	__atomic_store_n(&rang, true, __ATOMIC_RELEASE);
}

/* The timer becomes due inside a turn that looks for stragglers. */
static void on_busy(struct loop_io *io, uint32_t events)
{
	struct timespec ts;
	uint64_t now;
	char c;

	(void)events;
	if (read(io->fd, &c, 1) != 1)
		return;
	do {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	} while (now < fake_now);
}

static void dig_out(void *arg)
{
	(void)arg;
	dug_out = true;
}

static void *digger(void *arg)
{
	static purser_job job = { .fn = dig_out };
	struct timespec nap = { .tv_nsec = 20000000 };

	for (int i = 0; i < 1000 && !__atomic_load_n(&rang, __ATOMIC_ACQUIRE); i++)
		nanosleep(&nap, NULL);
	loop_post(arg, &job);
	return NULL;
}

/* An alarm that goes off while stragglers are gathered is told at a time before its own: it must not be
 * forgotten, or the loop sleeps for ever. */
static void test_alarm_among_stragglers(void **state)
{
	struct loop *l = loop_new(NULL);
	struct loop_io io[2] = { { .fn = on_busy }, { .fn = on_busy } };
	struct loop_timer t = { .fn = on_ring };
	pthread_t thread;
	int fd[2][2];

	(void)state;
	assert_non_null(l);
	rang = dug_out = false;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe(fd[i]), 0);
		assert_int_equal(loop_watch(l, &io[i], fd[i][0], PURSER_IO_IN), 0);
	}
	/* 50 ms from now; the loop sleeps once, so that the alarm is set */
	assert_int_equal(loop_timer_set(l, &t, loop_now(l) + 50000000), 0);
	fake_now = t.due_ns + 5000000; /* what on_busy() waits for */
	for (int i = 0; i < 2; i++)
		assert_int_equal(write(fd[i][1], "x", 1), 1);
	assert_int_equal(loop_turn(l, -1), 0);
	assert_int_equal(pthread_create(&thread, NULL, digger, l), 0);
	while (!rang && !dug_out)
		assert_int_equal(loop_turn(l, -1), 0);
	assert_false(dug_out); /* it is not posted before the timer has fired, unless that takes for ever */
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (int i = 0; i < 2; i++) {
		loop_unwatch(l, &io[i]);
		close(fd[i][0]);
		close(fd[i][1]);
	}
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timer_order),
		cmocka_unit_test(test_timer_move_and_stop),
		cmocka_unit_test(test_timer_from_timer),
		cmocka_unit_test(test_timer_model),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_watch_errors),
		cmocka_unit_test(test_unwatch_in_batch),
		cmocka_unit_test(test_reuse_in_batch),
		cmocka_unit_test(test_turn_order),
		cmocka_unit_test(test_post_order),
		cmocka_unit_test(test_post_threads),
		cmocka_unit_test(test_ping_pong),
		cmocka_unit_test(test_stop_before_run),
		cmocka_unit_test(test_alarm),
		cmocka_unit_test(test_alarm_among_stragglers),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
