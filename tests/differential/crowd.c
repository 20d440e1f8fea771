/* SPDX-License-Identifier: Apache-2.0
 *
 * crowd SOCKET SEED SECONDS CLIENTS: so many clients at once send the random commands of the differential
 * test in pipelines, in transactions, watching, tracking, waiting for lists, and some leave with replies on
 * the way.  What they are answered is not compared, but every request has one answer and it is RESP.
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
	struct word w[8];
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
}

static void batch(struct client *c)
{
	struct gen *g = &c->gen;
	uint32_t n = 1 + rng_below(g, BATCH_MAX), what = rng_below(g, 64);
	int exec = what < 10;
	struct cmd cmd[2];

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
