/* SPDX-License-Identifier: Apache-2.0 */
/* export/spool and the queue on it: restarts, crashes, torn and flipped bytes, full and read-only disks.  What was written
 * and not acknowledged comes back once, whole and in order, but for what a damaged place held. */
#include <config.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "export/queue.h"

#define OFFSET UINT64_C(1000000000000) /* Unix time less monotonic */
#define DISK ((uint64_t)1 << 30)

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % n;
}

struct world {
	char top[40], dir[80];
	struct spool *spool;
	struct export_queue q;
	struct spool_report rep;
	char why[256];
	uint64_t segment_bytes, now;
};

static void found(void *arg, const struct spool_record *r)
{
	struct world *w = arg;

	assert_int_equal(queue_restore(&w->q, r, w->now + OFFSET, w->now), 0);
}

static bool start(struct world *w)
{
	struct spool_opts o = { .dir = w->dir, .segment_bytes = w->segment_bytes };

	queue_init(&w->q, (size_t)1 << 20, 0);
	w->spool = spool_open(&o, found, w, &w->rep, w->why, sizeof w->why);
	queue_spool(&w->q, w->spool, DISK);
	return w->spool != NULL;
}

/* Nothing is written any more: what a kill leaves. */
static void stop(struct world *w)
{
	queue_free(&w->q);
	spool_close(w->spool);
	w->spool = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w)
		return -1;
	snprintf(w->top, sizeof w->top, "/tmp/purser-test.spool-XXXXXX");
	if (!mkdtemp(w->top))
		return -1;
	snprintf(w->dir, sizeof w->dir, "%s/a/b", w->top);
	w->segment_bytes = 4096;
	w->now = 1000000;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	int rc;

	stop(w);
	rc = nftw(w->top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return rc;
}

/* Request number n of a signal: its bytes tell the number, and all of them are known. */
static void fill(struct buf *b, uint32_t n, size_t len)
{
	assert_int_equal(buf_room(b, len), 0);
	for (size_t i = 0; i < len; i++)
		b->p[i] = (uint8_t)(n * 131 + i * 7 + (i >> 8));
	if (len >= 4)
		memcpy(b->p, &n, 4);
	b->end = len;
}

static void push(struct world *w, enum export_signal s, uint32_t n, size_t len)
{
	struct buf b = { .max = 0 };

	fill(&b, n, len);
	assert_int_equal(queue_push(&w->q, s, &b, n & 1, n, w->now++), 0);
}

/* The head's number; 0: there is none.  Its bytes are what was pushed. */
static uint32_t head(struct world *w, enum export_signal s)
{
	struct export_record *r = queue_head(&w->q, s);
	struct buf want = { .max = 0 };

	if (!r)
		return 0;
	fill(&want, r->items, buf_len(&r->payload));
	assert_int_equal(r->gzip, r->items & 1);
	assert_int_equal(r->len, buf_len(&r->payload));
	if (r->len)
		assert_memory_equal(buf_data(&r->payload), want.p, r->len);
	buf_free(&want);
	return r->items;
}

static unsigned files(const char *dir)
{
	unsigned n = 0;
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d)))
		n += strstr(e->d_name, ".seg") != NULL;
	if (d)
		closedir(d);
	return n;
}

static void test_restart(void **state)
{
	struct world *w = *state;

	assert_true(start(w));
	for (uint32_t i = 1; i <= 20; i++)
		push(w, i % 4 ? EXPORT_TRACES : EXPORT_METRICS, i, 700);
	queue_commit(&w->q, OFFSET);
	assert_int_equal(w->q.disk_error, 0);
	assert_int_equal(w->q.unwritten, 0);
	assert_true(w->q.bytes <= 2 * 700); /* the heads alone stay in memory */
	push(w, EXPORT_TRACES, 99, 10);     /* not written: lost with the process */
	assert_int_equal(head(w, EXPORT_TRACES), 1);
	queue_pop(&w->q, EXPORT_TRACES);
	stop(w);

	w->now += 5000;
	assert_true(start(w));
	assert_int_equal(w->rep.records, 19);
	assert_int_equal(w->rep.bytes, 19 * 700);
	assert_int_equal(w->rep.damaged + w->rep.bad + w->rep.unknown, 0);
	assert_int_equal(head(w, EXPORT_METRICS), 4);
	assert_in_range(queue_oldest(&w->q), 1000001, 1000002); /* as old as it was */
	for (uint32_t i = 2; i <= 20; i++) {
		enum export_signal s = i % 4 ? EXPORT_TRACES : EXPORT_METRICS;

		assert_int_equal(head(w, s), i);
		queue_pop(&w->q, s);
	}
	assert_int_equal(head(w, EXPORT_TRACES) + head(w, EXPORT_METRICS), 0);
	assert_int_equal(w->q.bytes + w->q.waiting, 0);
	assert_int_equal(files(w->dir), 0);
	stop(w);
	assert_true(start(w));
	assert_int_equal(w->rep.records, 0);
	/* numbers go on where they were: nothing new is taken for something that is done with */
	push(w, EXPORT_TRACES, 7, 10);
	queue_commit(&w->q, OFFSET);
	stop(w);
	assert_true(start(w));
	assert_int_equal(head(w, EXPORT_TRACES), 7);
}

static void test_what_is_sent_soon_is_not_written(void **state)
{
	struct world *w = *state;

	assert_true(start(w));
	for (uint32_t i = 1; i <= 50; i++) {
		push(w, EXPORT_TRACES, i, 100);
		assert_int_equal(head(w, EXPORT_TRACES), i);
		queue_pop(&w->q, EXPORT_TRACES);
	}
	queue_commit(&w->q, OFFSET);
	assert_int_equal(files(w->dir), 0);
	assert_int_equal(spool_bytes(w->spool), 0);
}

static void test_full(void **state)
{
	struct world *w = *state;
	uint32_t first;

	assert_true(start(w));
	queue_spool(&w->q, w->spool, 20000);
	push(w, EXPORT_METRICS, 1000, 50);
	assert_int_equal(head(w, EXPORT_METRICS), 1000);
	queue_head(&w->q, EXPORT_METRICS)->held = true;
	for (uint32_t i = 1; i <= 100; i++) {
		push(w, EXPORT_TRACES, i, 1000);
		queue_commit(&w->q, OFFSET);
		assert_true(spool_bytes(w->spool) <= 20000);
	}
	first = head(w, EXPORT_TRACES);
	assert_in_range(first, 80, 99);
	assert_int_equal(w->q.fifo[EXPORT_TRACES].evicted, (uint64_t)first * (first - 1) / 2); /* whole segments, all counted */
	/* what is being sent stayed, though its segment went; it is not written behind what came later */
	queue_head(&w->q, EXPORT_METRICS)->held = false;
	assert_int_equal(head(w, EXPORT_METRICS), 1000);
	queue_commit(&w->q, OFFSET);
	queue_pop(&w->q, EXPORT_METRICS);
	assert_int_equal(w->q.fifo[EXPORT_METRICS].evicted, 0);
	stop(w);
	assert_true(start(w));
	for (uint32_t i = first; i <= 100; i++) {
		assert_int_equal(head(w, EXPORT_TRACES), i);
		queue_pop(&w->q, EXPORT_TRACES);
	}
}

static void test_two_agents(void **state)
{
	struct world *w = *state, *v;
	void *other;

	assert_true(start(w));
	assert_int_equal(setup(&other), 0);
	v = other;
	snprintf(v->dir, sizeof v->dir, "%s", w->dir);
	assert_false(start(v));
	assert_non_null(strstr(v->why, "in use by another agent"));
	assert_int_equal(teardown(&other), 0);
}

/* A limit on file sizes stands for a full disk (EFBIG with SIGXFSZ ignored): all stays in memory, and is written later. */
static void test_disk_full(void **state)
{
	struct world *w = *state;
	struct rlimit was, small;

	assert_true(start(w));
	push(w, EXPORT_TRACES, 1, 1000);
	queue_commit(&w->q, OFFSET);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = was;
	small.rlim_cur = 1500;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	push(w, EXPORT_TRACES, 2, 1000);
	push(w, EXPORT_TRACES, 3, 1000);
	queue_commit(&w->q, OFFSET);
	assert_int_equal(w->q.disk_error, EFBIG);
	assert_int_equal(w->q.unwritten, 2 * (1000 + SPOOL_RECORD_HEAD));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	queue_commit(&w->q, OFFSET);
	assert_int_equal(w->q.disk_error, 0);
	assert_int_equal(w->q.unwritten, 0);
	stop(w);
	assert_true(start(w));
	assert_int_equal(w->rep.damaged, 0);
	for (uint32_t i = 1; i <= 3; i++) {
		assert_int_equal(head(w, EXPORT_TRACES), i);
		queue_pop(&w->q, EXPORT_TRACES);
	}
}

static void test_cannot_be_used(void **state)
{
	struct world *w = *state;
	FILE *f;

	snprintf(w->dir, sizeof w->dir, "%s/file", w->top);
	f = fopen(w->dir, "w");
	assert_non_null(f);
	fclose(f);
	assert_false(start(w));
	assert_non_null(strstr(w->why, w->dir));
	assert_true(strlen(w->why) > strlen(w->dir) + 10);
	/* a directory that others may write to is no place for it */
	snprintf(w->dir, sizeof w->dir, "%s/open", w->top);
	assert_int_equal(mkdir(w->dir, 0700), 0);
	assert_int_equal(chmod(w->dir, 0777), 0);
	assert_false(start(w));
	assert_non_null(strstr(w->why, "others may write"));
}

static void test_other_format(void **state)
{
	struct world *w = *state;
	char path[160];
	uint8_t two = 2;
	int fd;

	assert_true(start(w));
	push(w, EXPORT_TRACES, 1, 100);
	queue_commit(&w->q, OFFSET);
	stop(w);
	snprintf(path, sizeof path, "%s/0000000001.seg", w->dir);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, &two, 1, 8), 1);
	close(fd);
	assert_true(start(w));
	assert_int_equal(w->rep.unknown, 1);
	assert_int_equal(w->rep.records, 0);
	snprintf(path, sizeof path, "%s/bad", w->dir);
	assert_int_equal(files(path), 1); /* nothing of it is lost */
}

static void test_parked(void **state)
{
	struct world *w = *state;

	assert_true(start(w));
	push(w, EXPORT_TRACES, 1, 100);
	queue_commit(&w->q, OFFSET);
	push(w, EXPORT_TRACES, 2, 100);
	queue_park(&w->q, EXPORT_TRACES, true);
	assert_int_equal(queue_oldest(&w->q), 0);
	assert_int_equal(w->q.bytes, 0);
	stop(w);
	assert_true(start(w));
	assert_int_equal(head(w, EXPORT_TRACES), 1); /* somebody wants it again */
}

/* ---- crashes and damage, at random ---- */

#define ITEMS_MAX 4096u

struct model {
	uint8_t state[ITEMS_MAX]; /* of request n: 0 not there, 1 in memory, 2 written, 3 done with */
	uint32_t next;
	uint32_t order[EXPORT_SIGNALS]; /* the last one that came back */
};

static enum export_signal signal_of(uint32_t n)
{
	return n % 3 ? EXPORT_TRACES : EXPORT_METRICS;
}

static void some_work(struct world *w, struct model *m)
{
	for (uint32_t steps = 5 + rnd(40); steps; steps--) {
		enum export_signal s = rnd(2) ? EXPORT_TRACES : EXPORT_METRICS;
		uint32_t n, what = rnd(10);

		if (what < 6 && m->next < ITEMS_MAX) {
			n = m->next++;
			push(w, signal_of(n), n, rnd(5) ? rnd(900) : rnd(9000));
			m->state[n] = 1;
		} else if (what < 8) {
			queue_commit(&w->q, OFFSET);
			assert_int_equal(w->q.disk_error, 0);
			for (n = 1; n < m->next; n++)
				if (m->state[n] == 1)
					m->state[n] = 2;
		} else if ((n = head(w, s)) != 0) {
			assert_in_range(m->state[n], 1, 2);
			queue_pop(&w->q, s);
			m->state[n] = 3;
		}
	}
}

/* Cuts the end of the newest segment, or turns bits in any file. */
static unsigned damage(struct world *w, bool *ack)
{
	unsigned n = 0, hits = 0;
	struct dirent *e;
	DIR *d = opendir(w->dir);
	char names[256][32], path[160];

	while (d && (e = readdir(d)) && n < 256)
		if (strstr(e->d_name, ".seg") || !strcmp(e->d_name, "ack"))
			snprintf(names[n++], 32, "%.31s", e->d_name);
	if (d)
		closedir(d);
	for (uint32_t i = rnd(3); n && i; i--) {
		struct stat st;
		uint8_t byte;
		int fd;

		snprintf(path, sizeof path, "%s/%s", w->dir, names[rnd(n)]);
		if (strstr(path, "/ack") && *ack)
			continue; /* of its two blocks one stays whole */
		*ack |= strstr(path, "/ack") != NULL;
		fd = open(path, O_RDWR);
		assert_true(fd >= 0 && fstat(fd, &st) == 0);
		if (st.st_size > 1) {
			off_t at = rnd((uint32_t)st.st_size);

			if (rnd(4) == 0 && strstr(path, ".seg")) {
				assert_int_equal(ftruncate(fd, at), 0);
			} else {
				assert_int_equal(pread(fd, &byte, 1, at), 1);
				byte ^= (uint8_t)(1u << rnd(8));
				assert_int_equal(pwrite(fd, &byte, 1, at), 1);
			}
			hits++;
		}
		close(fd);
	}
	return hits;
}

/* All that comes back was pushed, whole (head() looks at the bytes), in order, and not twice; returns how many that were
 * written and not done with did not. */
static uint32_t drain(struct world *w, struct model *m, uint32_t *again)
{
	uint32_t missing = 0, n;

	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		m->order[s] = 0;
		while ((n = head(w, (enum export_signal)s)) != 0) {
			assert_true(n < m->next && n > m->order[s]);
			assert_int_equal(signal_of(n), s);
			m->order[s] = n;
			*again += m->state[n] == 3;
			assert_in_range(m->state[n], 2, 3);
			m->state[n] = 3;
			queue_pop(&w->q, (enum export_signal)s);
		}
	}
	for (n = 1; n < m->next; n++) {
		missing += m->state[n] == 2;
		m->state[n] = 3;
	}
	return missing;
}

static void test_crashes(void **state)
{
	struct world *w = *state;
	static struct model m;
	uint32_t rounds = getenv("PURSER_ROUNDS") ? (uint32_t)strtoul(getenv("PURSER_ROUNDS"), NULL, 10) : 1000, lost = 0, hurt = 0, again = 0;

	seed = getenv("PURSER_SEED") ? strtoull(getenv("PURSER_SEED"), NULL, 10) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	printf("PURSER_SEED=%llu\n", (unsigned long long)seed);
	seed |= 1;
	m.next = 1;
	for (uint32_t i = 0; i < rounds; i++) {
		unsigned hits = 0;
		bool ack = false;
		uint32_t missing, twice = 0;

		assert_true(start(w));
		some_work(w, &m);
		stop(w);
		if (rnd(2))
			hits = damage(w, &ack);
		assert_true(start(w)); /* every time */
		if (rnd(3) && !hits) { /* goes on with what it found */
			for (uint32_t n = 1; n < m.next; n++)
				if (m.state[n] == 1)
					m.state[n] = 3; /* lost with the process, as is said */
			some_work(w, &m);
			queue_commit(&w->q, OFFSET);
			for (uint32_t n = 1; n < m.next; n++)
				if (m.state[n] == 1)
					m.state[n] = 2;
			stop(w);
			assert_true(start(w));
		}
		for (uint32_t n = 1; n < m.next; n++)
			if (m.state[n] == 1)
				m.state[n] = 3;
		missing = drain(w, &m, &twice);
		if (!hits) {
			assert_int_equal(missing, 0);
			assert_int_equal(twice, 0);
			assert_int_equal(w->rep.damaged, 0);
		}
		assert_true(twice <= ack); /* the last one that was sent, at most */
		lost += missing;
		again += twice;
		hurt += hits;
		stop(w);
		if (m.next > ITEMS_MAX - 400) { /* from the beginning, in an empty directory */
			assert_int_equal(nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
			memset(&m, 0, sizeof m);
			m.next = 1;
		}
	}
	printf("%u rounds, %u places damaged: %u requests lost in them, %u came twice\n", rounds, hurt, lost, again);
	assert_true(hurt > rounds / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_sent_soon_is_not_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_agents, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_be_used, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_format, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crashes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
