/* SPDX-License-Identifier: Apache-2.0 */
/* feature/job: the machine against a store that is a list of names, with injected time: its share of the store's time, its
 * rate, slices, progress, what it does when the store is another one or is away, and the file that it is kept in. */
#include <config.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>
#include <cmocka.h>
#include "feature/job_file.h"
#include "feature/job_priv.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define START (1000 * SECOND)

static const struct job_limits limits = { .rate = 20000, .share_ppm = 100000 };

/* ---- a store: buckets of Redis' table, walked as Redis does ---- */

struct store {
	unsigned bits;                  /* of its table */
	unsigned matching;              /* of 100 keys; a bucket holds one key */
	uint64_t ns_per_key, ns_per_change;
	const char *id;
	uint64_t busy_ns;
};

static uint64_t backwards(uint64_t v, unsigned bits)
{
	uint64_t x = 0;

	for (unsigned i = 0; i < bits; i++)
		x |= (v >> i & 1) << (bits - 1 - i);
	return x;
}

struct world {
	struct store s;
	struct job j;
	struct job_run r;
	struct job_share share;
	uint64_t now, questions, slices, longest;
	uint64_t late;                  /* three of four answers are so late */
};

static void world(struct world *w, enum job_kind kind)
{
	memset(w, 0, sizeof *w);
	w->s = (struct store){ .bits = 14, .matching = 100, .ns_per_key = 300, .ns_per_change = 900, .id = "one" };
	w->j.kind = (uint8_t)kind;
	w->now = START;
	w->share.jobs = 1;
}

/* Until what is asked is over, or so many slices. */
static void go(struct world *w, uint64_t slices)
{
	uint64_t until = 0, end = w->slices + slices, names, took;

	while (w->slices < end) {
		switch (job_next(&w->j, &w->r, &w->share, w->now, &until)) {
		case JOB_STEP_WAIT:
			assert_true(until > w->now);
			w->now = until;
			break;
		case JOB_STEP_IDENTIFY:
			w->questions++;
			w->now += 50000;
			job_identified(&w->j, &w->r, &w->share, w->s.id, w->now);
			break;
		case JOB_STEP_SCAN: {
			uint64_t at = backwards(w->j.cursor, w->s.bits), left = (UINT64_C(1) << w->s.bits) - at;
			uint64_t n = w->r.count < left ? w->r.count : left;

			names = n * w->s.matching / 100;
			took = n * w->s.ns_per_key + 20000;
			w->s.busy_ns += took;
			took += w->slices % 4 ? w->late : 0;
			w->now += took;
			w->slices++;
			job_scanned(&w->j, &w->r, &w->share, n == left ? 0 : backwards(at + n, w->s.bits), names, took, w->now);
			break;
		}
		case JOB_STEP_WORK:
			took = w->r.names * w->s.ns_per_change + 20000;
			w->now += took;
			w->s.busy_ns += took;
			if (w->r.spent_ns + took > w->longest)
				w->longest = w->r.spent_ns + took;
			job_worked(&w->j, &w->r, &w->share, w->r.names, took, w->now);
			break;
		case JOB_STEP_END:
			assert_true(job_move(&w->j, JOB_DONE, NULL, 2));
			job_run_end(&w->j, &w->r, &w->share, w->now);
			return;
		}
	}
}

static void begin(struct world *w)
{
	assert_true(job_move(&w->j, JOB_RUNNING, NULL, 1));
	job_run_begin(&w->r, &w->j, &limits);
}

static void test_all_of_it(void **state)
{
	struct world w;

	(void)state;
	world(&w, JOB_CLEAR);
	begin(&w);
	go(&w, 1000000);
	assert_int_equal(w.j.state, JOB_DONE);
	assert_int_equal(w.j.matched, 1 << 14);
	assert_int_equal(w.j.changed, 1 << 14);
	assert_int_equal(w.j.passes, 1);
	assert_int_equal(w.questions, 2); /* before and after */
	assert_int_equal(job_progress_ppm(&w.j, w.r.blind), 1000000);
	assert_false(w.r.blind);
	/* 16,384 keys at 20,000 a second, 50 ms' worth of them at once */
	assert_in_range(w.now - START, 700 * MS, 900 * MS);
	assert_null(w.share.taken);
}

/* However slow the store, its share holds, and so does the length of a slice. */
static void test_share(void **state)
{
	(void)state;
	for (uint64_t slow = 1; slow <= 1000; slow *= 10) {
		struct world w;

		world(&w, JOB_CLEAR);
		w.s.ns_per_key *= slow;
		w.s.ns_per_change *= slow;
		w.s.bits = slow < 100 ? 16 : 10;
		begin(&w);
		go(&w, 1000000);
		assert_int_equal(w.j.changed, 1 << w.s.bits);
		assert_true(w.s.busy_ns * 100 <= (w.now - START) * 11); /* the first slice comes before its rest */
		if (slow > 1) /* the share is what holds it */
			assert_true(w.s.busy_ns * 100 >= (w.now - START) * 8);
		assert_true(w.longest <= 15 * MS);
	}
}

/* On a machine that is busy with other things most answers come late, which is not the store's doing: the job goes on, and
 * the store's share still holds. */
static void test_late_answers(void **state)
{
	struct world w;

	(void)state;
	world(&w, JOB_CLEAR);
	w.s.bits = 17;
	w.late = 20 * MS;
	begin(&w);
	go(&w, 1000000);
	assert_true(w.j.changed * SECOND >= (w.now - START) * 8000); /* at 20 ms for each of two steps */
	assert_true(w.s.busy_ns * 100 <= (w.now - START) * 11);
}

/* With a rate of its own it has that, up to half of the store. */
static void test_rate(void **state)
{
	static const uint32_t rates[] = { 1, 10, 1000, 5000, 100000 };

	(void)state;
	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
		struct world w;
		uint64_t ns;

		world(&w, JOB_CLEAR);
		w.j.rate = rates[i];
		w.s.bits = rates[i] < 100 ? 6 : 16;
		begin(&w);
		go(&w, 1000000);
		ns = w.now - START;
		/* at most 50 ms' worth ahead, and a slice */
		assert_true(w.j.changed * SECOND <= ns * rates[i] + (rates[i] / 10 + 2) * SECOND);
		assert_true(ns * rates[i] <= (w.j.changed + rates[i] / 10 + 2) * SECOND + ns * rates[i] / 10);
	}
	/* more than there is */
	struct world w;

	world(&w, JOB_CLEAR);
	w.j.rate = JOB_RATE_MAX;
	w.s.bits = 18;
	begin(&w);
	go(&w, 1000000);
	assert_true(w.s.busy_ns * 2 <= (w.now - START) * 101 / 100 + 4 * MS);
}

/* Passing over keys of others costs a quarter. */
static void test_passing_over(void **state)
{
	struct world w;

	(void)state;
	world(&w, JOB_COUNT);
	w.s.matching = 0;
	w.s.bits = 16;
	begin(&w);
	go(&w, 1000000);
	assert_int_equal(w.j.matched, 0);
	assert_in_range(w.j.walked, 1 << 16, (1 << 16) + 1000);
	assert_in_range(w.now - START, 700 * MS, 950 * MS); /* 65,536 / 4 at 20,000 */
}

static void test_progress(void **state)
{
	struct world w;
	int32_t last = 0;

	(void)state;
	world(&w, JOB_COUNT);
	w.s.bits = 18;
	begin(&w);
	assert_int_equal(job_progress_ppm(&w.j, false), 0);
	assert_int_equal(job_eta_ms(&w.j, false), -1);
	while (w.j.state == JOB_RUNNING) {
		int32_t ppm, true_ppm;

		go(&w, 1);
		if (w.j.state != JOB_RUNNING || !w.j.cursor)
			continue;
		ppm = job_progress_ppm(&w.j, w.r.blind);
		true_ppm = (int32_t)(w.j.matched * 1000000 >> 18);
		assert_in_range(ppm, true_ppm - 1, true_ppm + 1);
		assert_true(ppm > last);
		last = ppm;
		if (ppm > 300000 && ppm < 900000) { /* 13 s in all */
			int64_t left = INT64_C(13107) * (1000000 - ppm) / 1000000;

			assert_in_range(job_eta_ms(&w.j, w.r.blind), left - 300, left + 300);
		}
		go(&w, 1);
	}
	assert_int_equal(job_eta_ms(&w.j, false), 0);
	/* cursors of Redis: the bits read backwards */
	assert_true(job_cursor_fraction(1) == UINT64_C(1) << 63);
	assert_true(job_cursor_fraction(2) == UINT64_C(1) << 62);
	assert_true(job_cursor_fraction(3) == UINT64_C(3) << 62);
	/* a store that counts otherwise: nothing is claimed */
	world(&w, JOB_COUNT);
	begin(&w);
	go(&w, 1);
	job_next(&w.j, &w.r, &w.share, w.now + SECOND, &w.now);
	w.j.cursor = 1;
	job_scanned(&w.j, &w.r, &w.share, 4, 0, 1, w.now);
	assert_true(w.r.blind);
	assert_int_equal(job_progress_ppm(&w.j, w.r.blind), -1);
	assert_int_equal(job_eta_ms(&w.j, w.r.blind), -1);
}

/* What was walked is worth nothing to another process. */
static void test_another_store(void **state)
{
	struct world w;
	uint64_t before;

	(void)state;
	world(&w, JOB_COUNT); /* the same again after trouble: goes on */
	begin(&w);
	go(&w, 5);
	before = w.j.matched;
	job_troubled(&w.j, &w.r, &w.share, w.now, 7);
	assert_true(w.r.not_before_ns > w.now);
	go(&w, 1000000);
	assert_int_equal(w.j.passes, 1);
	assert_int_equal(w.j.matched, 1 << 14);
	assert_true(before > 0);

	world(&w, JOB_COUNT); /* another: from the beginning, and what was counted is forgotten */
	begin(&w);
	go(&w, 5);
	job_troubled(&w.j, &w.r, &w.share, w.now, 7);
	w.s.id = "two";
	go(&w, 1000000);
	assert_int_equal(w.j.passes, 2);
	assert_int_equal(w.j.matched, 1 << 14);

	world(&w, JOB_CLEAR); /* unnoticed until the end: once more; what was removed stays counted */
	begin(&w);
	go(&w, 5);
	w.s.id = "two";
	go(&w, 1000000);
	assert_int_equal(w.j.passes, 2);
	assert_int_equal(w.j.matched, 1 << 14);
	assert_int_equal(w.j.changed, 2 << 14);

	world(&w, JOB_COUNT); /* one that does not tell: believed, unless something has happened */
	w.s.id = "";
	begin(&w);
	go(&w, 1000000);
	assert_int_equal(w.j.passes, 1);
	world(&w, JOB_COUNT);
	w.s.id = "";
	begin(&w);
	go(&w, 5);
	job_troubled(&w.j, &w.r, &w.share, w.now, 7);
	go(&w, 1000000);
	assert_int_equal(w.j.passes, 2);
	assert_int_equal(w.j.matched, 1 << 14);
}

static void test_restart(void **state)
{
	struct world w;
	struct job saved;

	(void)state;
	for (int same = 0; same < 2; same++) {
		world(&w, JOB_COUNT);
		begin(&w);
		go(&w, 7);
		saved = w.j;
		assert_true(saved.cursor != 0);
		/* The agent is killed and comes back later. */
		world(&w, JOB_COUNT);
		w.j = saved;
		w.s.id = same ? "one" : "two";
		assert_true(job_move(&w.j, JOB_INTERRUPTED, "the agent ended", 3));
		job_run_begin(&w.r, &w.j, &limits);
		go(&w, 1000000);
		assert_int_equal(w.j.state, JOB_DONE);
		assert_int_equal(w.j.passes, same ? 1 : 2);
		assert_int_equal(w.j.matched, 1 << 14); /* each key once, either way */
	}
	/* Killed behind the last slice, before it was known that it was: from the beginning. */
	world(&w, JOB_COUNT);
	begin(&w);
	while (!w.slices || w.j.cursor)
		go(&w, 1);
	assert_int_equal(w.j.matched, 1 << 14);
	saved = w.j;
	world(&w, JOB_COUNT);
	w.j = saved;
	job_run_begin(&w.r, &w.j, &limits);
	go(&w, 1000000);
	assert_int_equal(w.j.matched, 1 << 14);
}

/* Two jobs on one store have its share together, and take turns. */
static void test_two(void **state)
{
	struct job_share share = { .jobs = 2 };
	struct world a, b;
	struct world *v[2] = { &a, &b };
	uint64_t now = START, wake[2] = { START, START }, busy = 0;

	(void)state;
	world(&a, JOB_CLEAR);
	world(&b, JOB_CLEAR);
	begin(&a);
	begin(&b);
	while (now < START + 2 * SECOND) {
		int i = wake[0] <= wake[1] ? 0 : 1;
		struct world *w = v[i];
		uint64_t took = w->r.count * UINT64_C(100000), until;

		now = wake[i] > now ? wake[i] : now;
		switch (job_next(&w->j, &w->r, &share, now, &until)) {
		case JOB_STEP_WAIT:
			wake[i] = until;
			break;
		case JOB_STEP_IDENTIFY:
			job_identified(&w->j, &w->r, &share, "one", now);
			break;
		case JOB_STEP_SCAN:
			now += took;
			busy += took;
			w->slices++;
			job_scanned(&w->j, &w->r, &share, backwards(w->slices, 20), 0, took, now);
			break;
		default:
			fail();
		}
	}
	assert_true(busy * 100 <= (now - START) * 11);
	assert_true(busy * 100 >= (now - START) * 8);
	assert_in_range(a.slices, b.slices - 2, b.slices + 2);
}

static void test_states(void **state)
{
	struct job j = { .state = JOB_QUEUED };

	(void)state;
	assert_true(job_move(&j, JOB_RUNNING, NULL, 5));
	assert_int_equal(j.started_ms, 5);
	assert_false(job_move(&j, JOB_RUNNING, NULL, 6));
	assert_true(job_move(&j, JOB_INTERRUPTED, "away", 7));
	assert_true(job_move(&j, JOB_INTERRUPTED, "still", 8)); /* another reason */
	assert_string_equal(j.reason, "still");
	assert_true(job_move(&j, JOB_RUNNING, NULL, 9));
	assert_int_equal(j.started_ms, 5);
	assert_string_equal(j.reason, "");
	assert_true(job_move(&j, JOB_CANCELLED, NULL, 10));
	assert_int_equal(j.ended_ms, 10);
	for (int to = 0; to < JOB_STATES; to++)
		assert_false(job_move(&j, (enum job_state)to, NULL, 11));
	assert_int_equal(j.ended_ms, 10);
	for (int i = 0; i < JOB_STATES; i++)
		assert_int_equal(job_state_of(job_state_name((uint8_t)i)), i);
	for (int i = 0; i < JOB_KINDS; i++)
		assert_int_equal(job_kind_of(job_kind_name((uint8_t)i)), i);
	assert_int_equal(job_kind_of("nothing"), -1);
}

static void test_trouble(void **state)
{
	struct world w;
	uint64_t last = 0;

	(void)state;
	world(&w, JOB_CLEAR);
	begin(&w);
	for (int i = 0; i < 20; i++) {
		uint64_t wait;

		job_troubled(&w.j, &w.r, &w.share, w.now, UINT64_MAX);
		wait = w.r.not_before_ns - w.now;
		assert_in_range(wait, JOB_BACKOFF_NS / 2, JOB_BACKOFF_MAX_NS);
		if (i > 8)
			assert_true(wait >= JOB_BACKOFF_MAX_NS / 2);
		last = wait;
		w.now += wait;
	}
	assert_true(last > 0);
	go(&w, 1000000);
	assert_int_equal(w.j.state, JOB_DONE);
	assert_int_equal(w.r.failures, 0);
	assert_true(job_may_retry(ERR_BACKENDDOWN, ""));
	assert_true(job_may_retry(ERR_REDIS, "LOADING Redis is loading"));
	assert_true(job_may_retry(ERR_REDIS, "READONLY You can't"));
	assert_false(job_may_retry(ERR_REDIS, "WRONGTYPE x"));
	assert_false(job_may_retry(ERR_REDIS, "ERR unknown command"));
	assert_false(job_may_retry(ERR_NOPERM, "NOPERM no"));
	assert_false(job_may_retry(ERR_UNSUPPORTED, "UNSUPPORTED"));
	assert_false(job_may_retry(ERR_NOPROJECT, "NOPROJECT"));
	assert_false(job_may_retry(ERR_CONFLICT, "CONFLICT"));
}

/* ---- the file ---- */

static void a_job(struct job *j)
{
	memset(j, 0, sizeof *j);
	job_id_make(j->id, 1795202522561, 0x12345);
	j->kind = JOB_TTLREPAIR;
	j->state = JOB_RUNNING;
	j->cap = true;
	j->db = 3;
	j->rate = 77;
	j->ttl_ms = JOB_TTL_MAX_MS;
	j->created_ms = 1795202522561;
	j->cursor = UINT64_MAX;
	j->walked = 1;
	j->matched = 2;
	j->changed = 3;
	j->bytes = 4;
	j->passes = 5;
	j->resumed = 6;
	j->active_ms = 7;
	j->started_ms = 8;
	j->uid = UINT32_MAX;
	snprintf(j->project, sizeof j->project, "shop.eu-1");
	snprintf(j->backend, sizeof j->backend, "main");
	snprintf(j->store, sizeof j->store, "0123456789abcdef");
	snprintf(j->reason, sizeof j->reason, "a reason\nof two lines");
	j->pattern_n = 6;
	memcpy(j->pattern, "a\0\n\xff* ", 6);
}

static void test_file(void **state)
{
	struct job j, k;
	struct buf b = { .max = JOB_FILE_MAX };
	char why[160];
	size_t n;

	(void)state;
	a_job(&j);
	job_file_write(&j, &b);
	assert_false(b.failed);
	n = buf_len(&b);
	assert_int_equal(job_file_read((const char *)buf_data(&b), n, &k, why, sizeof why), 0);
	assert_memory_equal(&j, &k, sizeof j);
	/* the longest there is */
	j.pattern_n = JOB_PATTERN_MAX - 1;
	memset(j.pattern, 0xff, j.pattern_n);
	memset(j.reason, 'x', JOB_REASON_MAX);
	memset(j.store, 'y', JOB_STORE_MAX);
	memset(j.project, 'p', JOB_NAME_MAX);
	memset(j.backend, 'b', JOB_NAME_MAX);
	buf_clear(&b);
	job_file_write(&j, &b);
	assert_false(b.failed);
	assert_int_equal(job_file_read((const char *)buf_data(&b), buf_len(&b), &k, why, sizeof why), 0);
	assert_memory_equal(&j, &k, sizeof j);
	/* every shorter one, and every changed byte, is noticed */
	a_job(&j);
	buf_clear(&b);
	job_file_write(&j, &b);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(job_file_read((const char *)buf_data(&b), i, &k, why, sizeof why), -1);
		for (int bit = 0; bit < 8; bit++) {
			buf_data(&b)[i] ^= (uint8_t)(1 << bit);
			assert_int_equal(job_file_read((const char *)buf_data(&b), n, &k, why, sizeof why), -1);
			buf_data(&b)[i] ^= (uint8_t)(1 << bit);
		}
	}
	buf_putc(&b, '\n');
	assert_int_equal(job_file_read((const char *)buf_data(&b), n + 1, &k, why, sizeof why), -1);
	buf_free(&b);
}

static void test_names_of_files(void **state)
{
	static const char *const none[] = { "", ".", "..", "x", "1a1fa689dc165679", "1a1fa689dc165679.", "1a1fa689dc165679.clear@",
		"1a1fa689dc165679.clear@.job", "1a1fa689dc165679.nothing@p.job", "1A1fa689dc165679.clear@p.job", "1a1fa689dc165679.clear.job",
		"1a1fa689dc165679clear@p.job", "1a1fa689dc165679.@p.job", "1a1fa689dc165679.clearclearclearclear@p.job" };
	struct job j, k;
	const char *ending;
	char name[200];

	(void)state;
	a_job(&j);
	job_id_after(k.id, j.id);
	assert_true(strcmp(k.id, j.id) > 0 && job_id_ok(k.id, JOB_ID));
	job_file_name(&j, "job", name, sizeof name);
	assert_true(job_file_parse(name, &k, &ending));
	assert_string_equal(ending, "job");
	assert_string_equal(k.id, j.id);
	assert_string_equal(k.project, j.project);
	assert_int_equal(k.kind, j.kind);
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		assert_false(job_file_parse(none[i], &k, &ending));
}

struct found { int n; struct job j; bool damaged; };

static void on_found(void *arg, const struct job *j, const char *damaged)
{
	struct found *f = arg;

	f->n++;
	f->j = *j;
	f->damaged = damaged != NULL;
}

static void test_disk(void **state)
{
	char dir[] = "/tmp/purser-test.XXXXXX", path[200], name[160], got[300];
	struct found f = { .n = 0 };
	struct buf lines = { .max = 0 };
	struct stat st;
	struct job j;
	int fd, names;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(job_dir_open(dir, false, &fd), ENOENT);
	assert_int_equal(job_dir_open(dir, true, &fd), 0);
	assert_int_equal(job_dir_open(dir, true, &names), EBUSY); /* two agents would do everything twice */
	a_job(&j);
	j.kind = JOB_EXPORT;
	j.bytes = 0;
	assert_int_equal(job_file_save(fd, &j), 0);
	j.cursor = 5;
	assert_int_equal(job_file_save(fd, &j), 0);
	assert_int_equal(job_files_each(fd, on_found, &f), 0);
	assert_int_equal(f.n, 1);
	assert_false(f.damaged);
	assert_memory_equal(&f.j, &j, sizeof j);
	job_file_name(&j, "job", name, sizeof name);
	assert_int_equal(fstatat(fd, name, &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	/* names: whole lines, and only those that belong to the cursor */
	assert_int_equal(job_names_open(fd, &j, &names), 0);
	job_file_put_name(&lines, "a\"b\n", 4);
	job_file_put_name(&lines, "\xff\xfe", 2);
	job_file_put_name(&lines, "", 0);
	assert_int_equal(job_names_append(names, &lines), 0);
	assert_int_equal(job_names_sync(names), 0);
	j.bytes = buf_len(&lines);
	assert_int_equal(job_names_append(names, &lines), 0); /* never saved */
	close(names);
	assert_int_equal(job_names_open(fd, &j, &names), 0);
	close(names);
	job_file_name(&j, "names", name, sizeof name);
	assert_int_equal(fstatat(fd, name, &st, 0), 0);
	assert_int_equal(st.st_size, j.bytes);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(job_names_read(fd, &j, 0, got, sizeof got), j.bytes);
	assert_memory_equal(got, "\"a\\\"b\\n\"\n{\"base64\":\"//4=\"}\n\"\"\n", j.bytes);
	assert_int_equal(job_names_read(fd, &j, 0, got, 12), 9); /* the first line */
	assert_int_equal(job_names_read(fd, &j, 9, got, 5), 0);
	assert_int_equal(job_names_read(fd, &j, j.bytes, got, 5), 0);
	buf_free(&lines);

	/* damaged: somebody's failed job, the file aside; once */
	job_file_name(&j, "job", name, sizeof name);
	snprintf(path, sizeof path, "%s/jobs/%s", dir, name);
	assert_int_equal(truncate(path, 100), 0);
	f.n = 0;
	assert_int_equal(job_files_each(fd, on_found, &f), 0);
	assert_int_equal(f.n, 1);
	assert_true(f.damaged);
	assert_int_equal(f.j.state, JOB_FAILED);
	assert_string_equal(f.j.project, j.project);
	assert_int_equal(f.j.kind, j.kind);
	f.n = 0;
	assert_int_equal(job_files_each(fd, on_found, &f), 0);
	assert_int_equal(f.n, 0);
	job_file_remove(fd, &j);
	close(fd);
	snprintf(path, sizeof path, "%s/jobs", dir);
	assert_int_equal(rmdir(path), 0); /* nothing is left */
	/* others may look into it: it is not used */
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(job_dir_open(dir, true, &fd), EPERM);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* ---- the store's answers ---- */

static int scan(struct job_names *x, const char *text, size_t n, bool whole, uint64_t *cursor)
{
	buf_clear(&x->text);
	buf_put(&x->text, text, n);
	return job_read_scan(x, whole, cursor);
}

static void test_answers(void **state)
{
	static const char good[] = "*2\r\n$20\r\n18446744073709551615\r\n*3\r\n$1\r\na\r\n$5\r\npsr:x\r\n$0\r\n\r\n";
	static const char *const bad[] = { "", "*2\r\n", "$1\r\na\r\n", "*2\r\n$1\r\nx\r\n*0\r\n", "*2\r\n$1\r\n0\r\n*1\r\n",
		"*2\r\n$1\r\n0\r\n*99999999999\r\n", "*2\r\n$1\r\n0\r\n*0\r\nx", "*3\r\n$1\r\n0\r\n*0\r\n", "*2\r\n$1\r\n0\r\n*-1\r\n" };
	struct job_names x = { .n = 0 };
	char id[JOB_STORE_MAX + 1];
	uint64_t cursor;

	(void)state;
	assert_int_equal(scan(&x, good, sizeof good - 1, false, &cursor), 0);
	assert_true(cursor == UINT64_MAX);
	assert_int_equal(x.n, 3);
	assert_int_equal(x.v[2].n, 0);
	assert_int_equal(scan(&x, good, sizeof good - 1, true, &cursor), 0);
	assert_int_equal(x.n, 2); /* the agent's own is nobody's */
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_true(scan(&x, bad[i], strlen(bad[i]), false, &cursor) != 0);
	for (size_t i = 0; i < sizeof good - 1; i++)
		assert_true(scan(&x, good, i, false, &cursor) != 0);
	job_names_free(&x);
	job_read_run_id((const uint8_t *)"# Server\r\nredis_version:7\r\nrun_id:abc123\r\nx:y", 45, id);
	assert_string_equal(id, "abc123");
	job_read_run_id((const uint8_t *)"# Server\r\nmy_run_id:abc123\r\n", 28, id);
	assert_string_equal(id, "");
	job_read_run_id(NULL, 0, id);
	assert_string_equal(id, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all_of_it), cmocka_unit_test(test_share), cmocka_unit_test(test_late_answers), cmocka_unit_test(test_rate),
		cmocka_unit_test(test_passing_over), cmocka_unit_test(test_progress), cmocka_unit_test(test_another_store),
		cmocka_unit_test(test_restart), cmocka_unit_test(test_two), cmocka_unit_test(test_states), cmocka_unit_test(test_trouble),
		cmocka_unit_test(test_file), cmocka_unit_test(test_names_of_files), cmocka_unit_test(test_disk),
		cmocka_unit_test(test_answers) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
