/* SPDX-License-Identifier: Apache-2.0
 *
 * crowd SOCKET SEED SECONDS CLIENTS: so many clients at once send the random commands of the differential
 * test in pipelines, in transactions, watching, tracking, waiting, by scripts and functions, while settings
 * change, and some leave with replies on the way.  What they are answered is not compared, but every request has one answer and it is RESP.
 * Status 0: so it was; 1: not, and what came instead.
 */
#include <config.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "diff.h"

#define CLIENTS_MAX 512
#define BATCH_MAX 32
#define SILENCE 60.0                   /* seconds without an answer */

struct client {
	struct side side;
	struct gen gen;
	uint32_t want;                 /* replies of what was sent */
	int resp;
	double since;                  /* it waits since then */
	char name[32];
};

struct crowd {
	struct client *client;
	const char *path;
	uint32_t n;
	uint64_t rounds, replies, errors, left, failed_exec;
	double now;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- what a client sends --------------------------------------------------------------------------- */
static void add(struct client *c, const char *const *text, uint32_t n)
{
	struct word w[9];
	struct cmd cmd = { .argc = n, .argv = w };

	for (uint32_t i = 0; i < n; i++)
		w[i] = word_text(text[i]);
	side_add(&c->side, &cmd);
	c->want++;
}
#define ADD(c, ...) add(c, (const char *const[]){ __VA_ARGS__ }, \
	sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static const char *key(struct gen *g)
{
	static const char *const keys[] = { "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7" };

	return keys[rng_below(g, 8)];
}

static void begin(struct client *c)
{
	struct gen *g = &c->gen;

	c->resp = 2 + (int)rng_below(g, 2);
	ADD(c, "HELLO", c->resp == 3 ? "3" : "2");
	if (c->resp == 3 && rng_below(g, 4) == 0) {
		if (rng_below(g, 2))
			ADD(c, "CLIENT", "TRACKING", "ON");
		else
			ADD(c, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "k");
	}
	if (c->resp == 3 && rng_below(g, 4) == 0) {
		ADD(c, "SUBSCRIBE", "news");
		c->want--; /* confirmed by a push */
	}
	if (c->resp == 3 && rng_below(g, 8) == 0) {
		ADD(c, "PSUBSCRIBE", "__key*");
		c->want--;
	}
}

static const char *const scripts[] = {
	"for i, k in ipairs(KEYS) do redis.pcall('DEL', k) redis.pcall('RPUSH', k, ARGV[1], i) end return #KEYS",
	"for i, k in ipairs(KEYS) do redis.pcall('ZADD', k, i, ARGV[1]) redis.pcall('SET', k .. '0', i, 'PX', 5) end",
	"local r = {} for i = 1, 40000 do r[1] = i .. ARGV[1] end return redis.pcall('SET', KEYS[1], r[1])",
	"for _, k in ipairs(KEYS) do redis.pcall('XADD', k, '*', 'f', ARGV[1]) redis.pcall('EXPIRE', k, 1) end",
	"redis.call('UNLINK', unpack(KEYS)) return redis.call('DBSIZE')",
	"return redis.call('RENAME', KEYS[1], KEYS[2])",
};
static const char library[] = "#!lua name=crowd\nredis.register_function('several', function(keys, args) "
    "for _, k in ipairs(keys) do redis.pcall('HSET', k, args[1], 1) end return #keys end)";

/* Scripts and functions, and what makes them go. */
static void script(struct client *c)
{
	struct gen *g = &c->gen;

	switch (rng_below(g, 8)) {
	case 0:
		ADD(c, "SCRIPT", "FLUSH");
		break;
	case 1:
		ADD(c, "FUNCTION", "LOAD", "REPLACE", library);
		break;
	case 2:
		ADD(c, "FUNCTION", rng_below(g, 4) ? "LIST" : "FLUSH");
		break;
	case 3:
		ADD(c, "FCALL", "several", "2", key(g), key(g), "field");
		break;
	case 4:
		ADD(c, "SCRIPT", "KILL");
		break;
	default:
		ADD(c, "EVAL", scripts[rng_below(g, sizeof(scripts) / sizeof(*scripts))], "3", key(g), key(g), key(g),
		    "of the crowd");
	}
}

/* Settings of the store that change while others use it. */
static void set(struct client *c)
{
	static const char *const policies[] = { "noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-s3fifo",
		"volatile-ttl", "allkeys-random" };
	static const char *const events[] = { "", "KEA", "KEAnm", "Kl", "Ex" };
	struct gen *g = &c->gen;

	switch (rng_below(g, 4)) {
	case 0:
		ADD(c, "CONFIG", "SET", "maxmemory-policy", policies[rng_below(g, 6)]);
		break;
	case 1:
		ADD(c, "CONFIG", "SET", "notify-keyspace-events", events[rng_below(g, 5)]);
		break;
	case 2:
		ADD(c, "CONFIG", "SET", "maxmemory", rng_below(g, 2) ? "32mb" : "4mb");
		break;
	default:
		ADD(c, "CONFIG", "RESETSTAT");
	}
}

static void batch(struct client *c)
{
	struct gen *g = &c->gen;
	uint32_t n = 1 + rng_below(g, BATCH_MAX), what = rng_below(g, 64);
	int exec = what < 10;
	struct cmd cmd[2];
	char id[16];

	if (exec && rng_below(g, 2))
		ADD(c, "WATCH", key(g), key(g));
	if (exec)
		ADD(c, "MULTI");
	while (n-- > 0) {
		unsigned made = gen_commands(g, cmd);

		for (unsigned i = 0; i < made; i++, c->want++)
			side_add(&c->side, &cmd[i]);
	}
	if (exec)
		ADD(c, rng_below(g, 8) ? "EXEC" : "DISCARD");
	switch (what) {
	case 10:
		ADD(c, "BLPOP", key(g), key(g), "0.02");
		break;
	case 11:
		ADD(c, "BLMOVE", key(g), key(g), "LEFT", "RIGHT", "0.02");
		break;
	case 12:
		ADD(c, "BZPOPMIN", key(g), key(g), "0.02");
		break;
	case 13:
		ADD(c, "PUBLISH", "news", "of the day");
		break;
	case 14:
		ADD(c, "INFO");
		break;
	case 15:
	case 16:
		script(c);
		break;
	case 17:
		ADD(c, "XGROUP", "CREATE", key(g), "crowd", "$", "MKSTREAM");
		add(c, (const char *const[]){ "XREADGROUP", "GROUP", "crowd", c->name, "BLOCK", "20", "STREAMS", key(g), ">" }, 9);
		break;
	case 18:
		snprintf(id, sizeof(id), "%u", 1 + rng_below(g, 512));
		ADD(c, "CLIENT", "UNBLOCK", id, rng_below(g, 2) ? "ERROR" : "TIMEOUT");
		break;
	case 19:
		if (rng_below(g, 4) == 0)
			set(c);
		break;
	default:
		break;
	}
}

/* ---- what it gets ---------------------------------------------------------------------------------- */
static int arrive(struct crowd *w, struct client *c)
{
	c->side.path = w->path;
	c->side.name = c->name;
	if (side_connect(&c->side))
		return -1;
	c->want = 0;
	begin(c);
	c->since = w->now;
	return 0;
}

static int leave(struct crowd *w, struct client *c)
{
	w->left++;
	side_close(&c->side);
	c->side = (struct side){ .fd = -1 };
	return arrive(w, c);
}

static void read_all(struct crowd *w, struct client *c)
{
	struct side *s = &c->side;

	for (uint32_t i = 0; i < s->nreplies; i++) {
		const uint8_t *p = reply_bytes(s, i);

		w->errors += *p == '-';
		w->failed_exec += *p == '_' || (*p == '*' && p[1] == '-');
	}
	w->replies += s->nreplies;
	w->rounds++;
	s->nreplies = 0;
	s->nout = s->sent = 0;
	memmove(s->in, s->in + s->at, s->nin - s->at);
	s->nin -= s->at;
	s->at = 0;
}

/* After poll(): 0, or -1: something is wrong, which has been said. */
static int go_on(struct crowd *w, struct client *c, short events)
{
	const char *bad = events ? side_move(&c->side, events, c->want) : NULL;
	int waits = c->side.nreplies < c->want;

	if (!bad && waits && w->now - c->since > SILENCE)
		bad = "does not answer";
	if (bad) {
		printf("%s (RESP%d): the agent %s; %u of %u replies, %zu of %zu bytes sent\n", c->name, c->resp,
		    bad, c->side.nreplies, c->want, c->side.sent, c->side.nout);
		return -1;
	}
	if (waits && events && rng_below(&c->gen, 512) == 0)
		return leave(w, c);
	if (waits)
		return 0;
	read_all(w, c);
	c->want = 0;
	c->since = w->now;
	c->gen.now_ms = (uint64_t)time(NULL) * 1000;
	batch(c);
	arena_free(c->gen.mem);
	return 0;
}

static int turn(struct crowd *w, struct pollfd *p)
{
	for (uint32_t i = 0; i < w->n; i++) {
		struct side *s = &w->client[i].side;

		p[i] = (struct pollfd){ .fd = s->fd,
			.events = (short)(POLLIN | (s->sent < s->nout ? POLLOUT : 0)) };
	}
	if (poll(p, w->n, 1000) < 0) {
		perror("poll");
		return -1;
	}
	w->now = seconds();
	for (uint32_t i = 0; i < w->n; i++)
		if (go_on(w, &w->client[i], p[i].revents))
			return -1;
	return 0;
}

static int run_crowd(struct crowd *w, uint64_t seed, double until)
{
	struct pollfd p[CLIENTS_MAX];
	struct arena mem = { NULL };

	for (uint32_t i = 0; i < w->n; i++) {
		struct client *c = &w->client[i];

		snprintf(c->name, sizeof(c->name), "client %u", i);
		c->gen = (struct gen){ .rng = seed * 1000003u + i, .databases = 1, .mem = &mem, .isolated = 1,
			.big = i % 16 == 0 };
		if (arrive(w, c))
			return -1;
	}
	while (w->now < until)
		if (turn(w, p))
			return -1;
	return 0;
}

int main(int argc, char **argv)
{
	struct crowd w = { .now = seconds() };
	uint64_t seed;
	int rc;

	if (argc != 5 || (w.n = (uint32_t)strtoul(argv[4], NULL, 10)) < 1 || w.n > CLIENTS_MAX) {
		fputs("usage: crowd SOCKET SEED SECONDS CLIENTS\n", stderr);
		return 2;
	}
	w.path = argv[1];
	w.client = calloc(w.n, sizeof(*w.client));
	if (!w.client)
		return 2;
	seed = strtoull(argv[2], NULL, 10);
	for (uint32_t i = 0; i < w.n; i++)
		w.client[i].side.fd = -1;
	rc = run_crowd(&w, seed, w.now + strtod(argv[3], NULL));
	printf("%" PRIu64 " replies in %" PRIu64 " rounds, %" PRIu64 " errors, %" PRIu64 " nulls, %" PRIu64
	    " left early\n", w.replies, w.rounds, w.errors, w.failed_exec, w.left);
	for (uint32_t i = 0; i < w.n; i++)
		side_close(&w.client[i].side);
	free(w.client);
	return rc ? 1 : 0;
}
