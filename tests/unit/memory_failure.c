/* SPDX-License-Identifier: Apache-2.0
 *
 * A store with everything in it, and one failed allocation after the other: see memory_failure.h.
 */
#include "memory_failure.h"

#define SEEN_MAX (1u << 20)

/* ---- the store -------------------------------------------------------------------------------------------- */
/* "WORDS a0 b0 a1 b1 ..." in commands of no more than 100 pairs. */
static void many(struct mh_ctx *x, const char *words, const char *fmt, int n)
{
	char line[8192];
	int i = 0;

	while (i < n) {
		size_t at = (size_t)snprintf(line, sizeof(line), "%s", words);
		int end = i + 100 < n ? i + 100 : n;

		for (; i < end; i++) {
			const char *p;

			line[at++] = ' ';
			for (p = fmt; *p; p++)
				if (*p == '#')
					at += (size_t)snprintf(line + at, sizeof(line) - at, "%d", i);
				else
					line[at++] = *p;
		}
		line[at] = '\0';
		if (mh_run(x, "%s", line)[0] == '-')
			fail_msg("%s", x->reply);
	}
}

/* A dense HyperLogLog takes long to make: once. */
static purser_bytes dense(void)
{
	static char *made;
	static size_t n;
	struct failure f;

	if (!made) {
		memset(&f, 0, sizeof(f));
		mh_start(&f.m, (struct mh_settings){ 0, 0, 2, 0 });
		mh_open(&f.x, &f.m);
		many(&f.x, "PFADD dense", "#", 3000);
		mh_run(&f.x, "GET dense");
		n = strtoul(f.x.reply + 1, NULL, 10);
		made = malloc(n);
		memcpy(made, strchr(f.x.reply, '\n') + 1, n);
		f.st = f.m.state;
		failure_teardown(&f);
	}
	return (purser_bytes){ (const uint8_t *)made, n };
}

void failure_setup(struct failure *f)
{
	purser_bytes set[3] = { { (const uint8_t *)"SET", 3 }, { (const uint8_t *)"dense", 5 }, dense() };
	struct mh_ctx *x = &f->x;
	char big[3001];
	int i;

	memset(f, 0, sizeof(*f));
	mh_start(&f->m, (struct mh_settings){ 0, 0, 2, 0 });
	mh_open(x, &f->m);
	f->st = f->m.state;
	memset(big, 'b', 3000);
	big[3000] = '\0';
	mh_run(x, "MSET int 5 small abc raw %s%s", word, word);
	mh_run(x, "SET ttl value PX 100000");
	mh_run(x, "SETRANGE big 6000 %s", big);
	mh_run(x, "HSET pack a 1 b two c 3.5");
	many(x, "HSET full", "f# v#", 127);
	many(x, "HSET table", "f# v#", 200);
	mh_run(x, "HSET table n 5 x 1.5 long %s", big);
	mh_run(x, "SADD ints 1 2 3 500");
	mh_run(x, "SADD few a b c 1");
	many(x, "SADD many", "m#", 200);
	many(x, "SADD full-of-ints", "#", 512);
	mh_run(x, "RPUSH queue a b c d");
	many(x, "RPUSH long", "element#", 900);
	mh_run(x, "ZADD zset 1 a 2 b 3 c 4 d");
	many(x, "ZADD zfull", "# m#", 128);
	mh_run(x, "ZADD zmany 3 %s", word); /* too long to be packed: few can be many */
	for (i = 0; i < 30; i++)
		mh_run(x, "ZADD zmany %d m%d", i % 7, i);
	for (i = 0; i < 40; i++)
		mh_run(x, "GEOADD places %d.5 %d.25 p%d", i % 9, i % 7, i);
	mh_run(x, "PFADD sparse a b c d e");
	mh_run(x, "PFADD short a");
	mh_argv(x, 3, set);
	many(x, "MSET", "fill# #", 40);
	mh_run(x, "XADD log 1-1 a 1");
	for (i = 0; i < 130; i++) /* two blocks, the second with other fields too */
		mh_run(x, i % 3 ? "XADD log %d-1 a %d" : "XADD log %d-1 a 1 b %d", i + 2, i);
	mh_run(x, "XDEL log 5-1 40-1");
	mh_run(x, "XGROUP CREATE log gr 0");
	mh_run(x, "XREADGROUP GROUP gr ann COUNT 60 STREAMS log >");
	mh_run(x, "XREADGROUP GROUP gr bob COUNT 3 STREAMS log >");
	mh_run(x, "XDEL log 10-1 62-1");
	mh_run(x, "XGROUP CREATE xnone gr $ MKSTREAM");
}

void failure_teardown(struct failure *f)
{
	int i;

	f->st->fail_after = -1;
	mh_run(&f->x, "UNWATCH");
	mh_run(&f->x, "FLUSHALL");
	for (i = 0; i < 20; i++)
		mh_pass(&f->x, 100);
	mh_release(&f->x);
	assert_int_equal(store_used(f->st), 0);
	assert_int_equal(mh_stats(&f->m).keys, 0);
	mh_close(&f->x);
	mh_stop(&f->m);
}

/* ---- what is in it ---------------------------------------------------------------------------------------- */
static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void see(struct failure_view *s, const void *p, size_t n)
{
	if (n > SEEN_MAX - s->n)
		fail_msg("the store is larger than this test takes it to be");
	memcpy(s->p + s->n, p, n);
	s->n += n;
}

/* The lines of a reply, in any order. */
static void see_sorted(struct failure_view *s, char *reply)
{
	char *line[2048], *save = NULL, *l;
	size_t n = 0, i;

	for (l = strtok_r(reply, "\r\n", &save); l; l = strtok_r(NULL, "\r\n", &save)) {
		if (n == sizeof(line) / sizeof(*line))
			fail_msg("more elements than this test takes");
		line[n++] = l;
	}
	qsort(line, n, sizeof(*line), compare);
	for (i = 0; i < n; i++)
		see(s, line[i], strlen(line[i]) + 1);
}

static const struct { const char *type, *ask, *rest; int sorted; } values[] = {
	{ "+string", "GET", "", 0 }, { "+hash", "HGETALL", "", 1 }, { "+set", "SMEMBERS", "", 1 },
	{ "+list", "LRANGE", " 0 -1", 0 }, { "+zset", "ZRANGE", " 0 -1 WITHSCORES", 0 },
	{ "+stream", "XINFO STREAM", " FULL COUNT 0", 0 },
};

static void see_key(struct failure_view *s, struct mh_ctx *x, const char *key)
{
	size_t i;

	see(s, key, strlen(key) + 1);
	mh_run(x, "PTTL %s", key);
	see(s, x->reply, x->n);
	mh_run(x, "OBJECT ENCODING %s", key);
	see(s, x->reply, x->n);
	mh_run(x, "TYPE %s", key);
	see(s, x->reply, x->n);
	for (i = 0; strncmp(x->reply, values[i].type, strlen(values[i].type)) != 0; i++)
		if (i + 1 == sizeof(values) / sizeof(*values))
			fail_msg("%s: type %s", key, x->reply);
	mh_run(x, "%s %s%s", values[i].ask, key, values[i].rest);
	mh_release(x);
	if (x->reply[0] == '-')
		fail_msg("%s %s: %s", values[i].ask, key, x->reply);
	if (values[i].sorted) /* the order of a table is its own */
		see_sorted(s, x->reply);
	else
		see(s, x->reply, x->n);
}

struct failure_view failure_see(struct failure *f)
{
	struct failure_view s = { malloc(SEEN_MAX), 0 };
	struct mh_ctx *x = &f->x;
	char *key[1024], *text, *save = NULL, *l;
	int64_t fail_after = f->st->fail_after;
	size_t n, i;

	f->st->fail_after = -1;
	for (x->db = 0; x->db < 2; x->db++) {
		n = 0;
		text = strdup(mh_run(x, "KEYS *"));
		for (l = strtok_r(text, "\r\n", &save); l; l = strtok_r(NULL, "\r\n", &save))
			if (*l != '$' && *l != '*')
				key[n++] = l;
		qsort(key, n, sizeof(*key), compare);
		see(&s, &x->db, sizeof(x->db));
		for (i = 0; i < n; i++)
			see_key(&s, x, key[i]);
		free(text);
	}
	x->db = 0;
	f->st->fail_after = fail_after;
	return s;
}

int failure_same(const struct failure_view *a, const struct failure_view *b) { return a->n == b->n && memcmp(a->p, b->p, a->n) == 0; }

/* ---- sites ------------------------------------------------------------------------------------------------- */
/* One command with its allocation number `site` failing; 1: it has fewer allocations than that. */
static int one_site(const char *line, int64_t site)
{
	static struct failure_view before; /* the same every time */
	struct failure_view after;
	struct failure f;
	int oom, through, wrong;

	failure_setup(&f);
	if (!before.p)
		before = failure_see(&f);
	((struct ctx *)f.x.cs)->scratch_cap = 0; /* so that it is asked for again */
	f.st->fail_after = site;
	mh_run(&f.x, "%s", line);
	mh_release(&f.x);
	oom = strncmp(f.x.reply, "-OOM", 4) == 0;
	wrong = f.x.reply[0] == '-' && !oom;
	through = f.st->fail_after > 0 || (!oom && f.st->fail_after == 0 && site == 0);
	if (wrong)
		fail_msg("%s, allocation %lld: an error that is not OOM: %s", line, (long long)site, f.x.reply);
	after = failure_see(&f);
	if (oom && !failure_same(&before, &after))
		fail_msg("%s, allocation %lld: it said OOM and has changed something", line, (long long)site);
	free(after.p);
	f.st->fail_after = -1;
	if (oom) {
		mh_run(&f.x, "%s", line);
		if (f.x.reply[0] == '-')
			fail_msg("%s, again: %s", line, f.x.reply);
	}
	failure_teardown(&f);
	return through;
}

int64_t failure_line(const char *line)
{
	int64_t site;

	for (site = 0; site < SITES_MAX && !one_site(line, site); site++)
		;
	assert_true(site < SITES_MAX);
	return site;
}

void failure_every(const char *const *lines, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		failure_line(lines[i]);
}
