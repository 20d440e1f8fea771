/* SPDX-License-Identifier: Apache-2.0
 *
 * How long one turn of a worker is busy in the memory plugin: CPU time of the thread in each call into it, a command or
 * the timer, while large things grow, are freed, expire and are flushed: make bench-turns.
 *
 *   turns [ELEMENTS [WHAT...]]        nothing hash set zset list stream pending string expiry flush keys sets; all,
 *                                     if none is named
 *
 * "nothing" is arithmetic of a turn's length: what the machine does to a thread that never leaves its registers (the
 * system counts interrupts, and the time of a virtual CPU that did not run, as the thread's).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../tests/unit/memory_host.h"

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct turns { uint64_t n, most, sum, over, from; };

static void begin(struct turns *t) { t->from = cpu_ns(); }
static void end(struct turns *t)
{
	uint64_t d = cpu_ns() - t->from;

	t->n++;
	t->sum += d;
	t->over += d > 1000000;
	t->most = d > t->most ? d : t->most;
}

static void say(const char *what, const struct turns *t)
{
	printf("%-44s %9llu turns  longest %8.1f us  mean %6.2f us  above 1 ms: %llu\n", what,
	    (unsigned long long)t->n, (double)t->most / 1e3, t->n ? (double)t->sum / (double)t->n / 1e3 : 0,
	    (unsigned long long)t->over);
	fflush(stdout);
}

static const char *word(struct mh_ctx *x, uint32_t argc, const char *const *v)
{
	purser_bytes argv[64];
	uint32_t i;

	for (i = 0; i < argc; i++)
		argv[i] = (purser_bytes){ (const uint8_t *)v[i], strlen(v[i]) };
	return mh_argv(x, argc, argv);
}

/* n elements, 20 a command; every command is a turn. */
static void fill(struct mh_ctx *x, const char *cmd, unsigned per, uint64_t n, struct turns *t)
{
	char text[40][32];
	const char *v[64] = { cmd, "proj:bench:big" };
	uint64_t i, k;

	for (i = 0; i < n; i += 20) {
		for (k = 0; k < 20 * per; k++) {
			snprintf(text[k], sizeof(text[k]), "%s%012llu", per == 2 && k % 2 == 0 && cmd[0] == 'Z' ? "" : "m",
			    (unsigned long long)(i + k / per) * 7919 % (n + 1));
			v[2 + k] = text[k];
		}
		begin(t);
		word(x, 2 + 20 * per, v);
		end(t);
	}
}

static void fill_stream(struct mh_ctx *x, uint64_t n, struct turns *t)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		begin(t);
		mh_run(x, "XADD proj:bench:big %llu-1 f v", (unsigned long long)i + 1);
		end(t);
	}
}

static void fill_keys(struct mh_ctx *x, uint64_t n, int ttl, struct turns *t)
{
	char key[48];
	const char *v[5] = { "SET", key, "0123456789", "PX", "1000" };
	uint64_t i;

	for (i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "proj:bench:k%012llu", (unsigned long long)i);
		begin(t);
		word(x, ttl ? 5 : 3, v);
		end(t);
	}
}

/* Turns of the timer until nothing is left. */
static void rest(struct mh_ctx *x, struct turns *t)
{
	unsigned idle = 0;

	while (idle < 100 || mh_stats(x->m).used_bytes > 100000) { /* pages go back behind the last element */
		x->m->wall_ms += 2;
		x->m->now_ns += 2000000;
		begin(t);
		idle++;
		if (mh_pass(x, 0)) {
			idle = 0;
			end(t);
		}
	}
}

static void nothing(void)
{
	struct turns t = { 0 };
	uint64_t i, k, v = 1;

	for (i = 0; i < 20000; i++) {
		begin(&t);
		for (k = 0; k < 300000; k++)
			v = v * UINT64_C(6364136223846793005) + 1;
		end(&t);
	}
	say(v ? "nothing: arithmetic" : "", &t);
}

/* Everything in a stream is owed to a consumer. */
static void pending(uint64_t n)
{
	struct turns read = { 0 }, gone = { 0 };
	struct mh m;
	struct mh_ctx x;
	char line[80];
	uint64_t i;

	mh_start(&m, (struct mh_settings){ .databases = 1 });
	mh_open(&x, &m);
	mh_run(&x, "XGROUP CREATE proj:bench:big g 0 MKSTREAM");
	fill_stream(&x, n, &read);
	memset(&read, 0, sizeof(read));
	for (i = 0; i < n; i += 20) {
		begin(&read);
		mh_run(&x, "XREADGROUP GROUP g c COUNT 20 STREAMS proj:bench:big >");
		end(&read);
	}
	snprintf(line, sizeof(line), "group that owes %llu: comes", (unsigned long long)n);
	say(line, &read);
	begin(&gone);
	mh_run(&x, "XGROUP DESTROY proj:bench:big g");
	end(&gone);
	begin(&gone);
	mh_run(&x, "UNLINK proj:bench:big");
	end(&gone);
	rest(&x, &gone);
	snprintf(line, sizeof(line), "group that owes %llu: DESTROY, UNLINK", (unsigned long long)n);
	say(line, &gone);
	mh_close(&x);
	mh_stop(&m);
}

/* A string of 50 bytes for each element, at most 500 MB. */
static void string(uint64_t n)
{
	static char part[65537];
	const char *v[3] = { "APPEND", "proj:bench:big", part };
	struct turns gone = { 0 };
	struct mh m;
	struct mh_ctx x;
	uint64_t bytes = n * 50 < 500000000 ? n * 50 : 500000000, i;
	char line[80];

	memset(part, 'v', sizeof(part) - 1);
	mh_start(&m, (struct mh_settings){ .databases = 1 });
	mh_open(&x, &m);
	for (i = 0; i < bytes; i += sizeof(part) - 1)
		word(&x, 3, v);
	begin(&gone);
	mh_run(&x, "UNLINK proj:bench:big");
	end(&gone);
	rest(&x, &gone);
	snprintf(line, sizeof(line), "string of %llu bytes: UNLINK", (unsigned long long)bytes);
	say(line, &gone);
	mh_close(&x);
	mh_stop(&m);
}

/* Sets of 64 members, which are freed on the spot each, expire together. */
static void sets(uint64_t n)
{
	struct turns gone = { 0 };
	struct mh m;
	struct mh_ctx x;
	char key[40], member[64][96], line[80];
	const char *v[66] = { "SADD", key };
	const char *e[3] = { "PEXPIRE", key, "100000000" };
	uint64_t i;

	mh_start(&m, (struct mh_settings){ .databases = 1 });
	mh_open(&x, &m);
	for (i = 0; i < n / 64; i++) {
		unsigned k;

		snprintf(key, sizeof(key), "proj:bench:t%09llu", (unsigned long long)i);
		for (k = 0; k < 60; k++) {
			snprintf(member[k], sizeof(member[k]), "m%090u", k); /* too long to be packed */
			v[2 + k] = member[k];
		}
		word(&x, 62, v);
		word(&x, 3, e);
	}
	m.wall_ms += 200000000;
	rest(&x, &gone);
	snprintf(line, sizeof(line), "%llu sets of 60: expire together", (unsigned long long)n / 64);
	say(line, &gone);
	mh_close(&x);
	mh_stop(&m);
}

static void big(const char *what, const char *cmd, unsigned per, uint64_t n, const char *how)
{
	struct turns grow = { 0 }, gone = { 0 };
	struct mh m;
	struct mh_ctx x;
	char line[80];

	mh_start(&m, (struct mh_settings){ .databases = 1 });
	mh_open(&x, &m);
	if (cmd)
		fill(&x, cmd, per, n, &grow);
	else
		fill_stream(&x, n, &grow);
	snprintf(line, sizeof(line), "%s of %llu: grows", what, (unsigned long long)n);
	say(line, &grow);
	mh_run(&x, "PEXPIRE proj:bench:big 10");
	if (!strcmp(how, "expires"))
		m.wall_ms += 11;
	begin(&gone);
	mh_run(&x, strcmp(how, "expires") ? "UNLINK proj:bench:big" : "EXISTS proj:bench:big");
	end(&gone);
	rest(&x, &gone);
	snprintf(line, sizeof(line), "%s of %llu: %s", what, (unsigned long long)n, how);
	say(line, &gone);
	mh_close(&x);
	mh_stop(&m);
}

static void keys(const char *how, uint64_t n)
{
	struct turns grow = { 0 }, gone = { 0 };
	struct mh m;
	struct mh_ctx x;
	char line[80];

	mh_start(&m, (struct mh_settings){ .databases = 1 });
	mh_open(&x, &m);
	fill_keys(&x, n, !strcmp(how, "expire together"), &grow);
	snprintf(line, sizeof(line), "%llu keys: come", (unsigned long long)n);
	say(line, &grow);
	m.wall_ms += 2000;
	if (strcmp(how, "expire together") != 0) {
		begin(&gone);
		mh_run(&x, "FLUSHALL");
		end(&gone);
	}
	rest(&x, &gone);
	snprintf(line, sizeof(line), "%llu keys: %s", (unsigned long long)n, how);
	say(line, &gone);
	mh_close(&x);
	mh_stop(&m);
}

static int wanted(const char *what, char **argv)
{
	if (!*argv)
		return 1;
	for (; *argv; argv++)
		if (!strcmp(*argv, what))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct { const char *what, *name, *cmd; unsigned per; const char *how; } values[] = {
		{ "hash", "hash", "HSET", 2, "UNLINK" }, { "set", "set", "SADD", 1, "UNLINK" },
		{ "zset", "sorted set", "ZADD", 2, "UNLINK" }, { "list", "list", "RPUSH", 1, "UNLINK" },
		{ "stream", "stream", NULL, 0, "UNLINK" }, { "expiry", "hash", "HSET", 2, "expires" },
	};
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
	char **some = argc > 2 ? argv + 2 : argv + argc;
	size_t i;

	for (i = 0; i < sizeof(values) / sizeof(*values); i++)
		if (wanted(values[i].what, some))
			big(values[i].name, values[i].cmd, values[i].per, n, values[i].how);
	if (wanted("nothing", some))
		nothing();
	if (wanted("pending", some))
		pending(n);
	if (wanted("string", some))
		string(n);
	if (wanted("sets", some))
		sets(n);
	if (wanted("flush", some))
		keys("FLUSHALL", n);
	if (wanted("keys", some))
		keys("expire together", n);
	return 0;
}
