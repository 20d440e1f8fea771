/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos-checker --agent SOCKET --redis SOCKET [--clients N] [--seed N] [--patience SECONDS] [--leave N]
 *               [--depth N] [--blind 1]
 *
 * Told by lines on stdin, answers each with a line of JSON:
 *   run          send      stats    what was counted
 *   quiet        stop, wait for every reply that is owed, compare the lists in Redis, begin fresh ones
 *   late 0|1     may what is INDETERMINATE run late, behind later requests (a link that was given up on
 *                by the agent may still be read by the server)
 *   quit
 *
 * --depth N: a client has about N requests under way at most; --leave N: it goes and comes back after about
 * N bursts; --blind 1: replies about the lists are believed, so that only the lists in Redis can show what is
 * wrong with them (to test the checker).
 * What is wrong ends it at once with status 1 and {"violation": ...}.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "checker.h"
#include "common.h"

#define MS UINT64_C(1000000)

struct client *clients;
unsigned nclients = 64, features;
struct totals totals;
bool late_allowed, blind;
uint64_t now;
char script_sha[41];
#define KIND_NAME(name, weight, feature) #name,
const char *const kind_names[K_COUNT] = { KINDS(KIND_NAME) };

static uint64_t rng, patience = 30, leave = 300, depth = 500;
static const char *agent, *redis;
static enum { IDLE, RUN, QUIET } mode;

void die(const char *what)
{
	fprintf(stderr, "chaos-checker: %s: %s\n", what, strerror(errno));
	exit(2);
}

uint32_t below(uint32_t n) { return random_below(&rng, n); }

static void tick(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

/* What the client sent around the request that is wrong, and how the replies began. */
static void print_history(const struct client *c)
{
	int i;

	printf("; around it:");
	for (i = -16; i < 6; i++) {
		const struct want *w = &c->want[(c->first + WANTS + (unsigned)i) % WANTS];
		size_t k;

		printf("%s %s", i == 0 ? " HERE" : "", kind_names[w->kind]);
		for (k = 0; i < 0 && w->got[k]; k++)
			putchar(w->got[k] > ' ' && w->got[k] <= '~' && w->got[k] != '"' && w->got[k] != '\\' ? w->got[k] : '?');
	}
}

_Noreturn void violation(const struct client *c, const struct want *w, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	size_t i;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (i = 0; text[i]; i++)
		if (text[i] == '"' || text[i] == '\\' || (unsigned char)text[i] < ' ' || (unsigned char)text[i] > '~')
			text[i] = '\'';
	printf("{\"violation\":\"%s", text);
	if (c)
		printf("; client %u, life %u, RESP%u, %u owed", c->number, c->life, c->resp, c->wanted);
	if (w)
		printf("; %s%s%s, space %u, key %u.%u, value %u+%u, tags %u+%u", kind_names[w->kind],
		       w->watched ? " watched" : "", w->fed ? " fed" : "", w->space, w->key, w->gen, w->seq, w->size,
		       w->tag, w->ntags);
	if (c)
		print_history(c);
	printf("\"}\n");
	fflush(stdout);
	exit(1);
}

/* ---- what the agent serves --------------------------------------------------------------------------- */
static bool serves(int fd, struct buf *in, const char *const *argv)
{
	const uint8_t *rest;
	struct view v = ask(fd, in, argv, &rest);

	if (v.type != '-')
		return true;
	if (memmem(v.p, v.n, "unknown command", 15) || memmem(v.p, v.n, "UNSUPPORTED", 11) ||
	    memmem(v.p, v.n, "out of range", 12) || memmem(v.p, v.n, "NOPROJECT", 9) || memmem(v.p, v.n, "NOPERM", 6) ||
	    memmem(v.p, v.n, "NOSCRIPT", 8))
		return false;
	fprintf(stderr, "%s: %.*s\n", argv[0], (int)v.n, (const char *)v.p);
	return false;
}

static void probe(void)
{
	static const struct { unsigned feature; const char *argv[8], *undo[2]; } probes[] = {
		{ F_TX, { "MULTI" }, { "DISCARD" } },
		{ F_WATCH, { "WATCH", "probe" }, { "UNWATCH" } },
		{ F_EVAL, { "EVAL", "return 1", "0" }, { 0 } },
		{ F_RO, { "EVAL_RO", "return 1", "0" }, { 0 } },
		{ F_BLPOP, { "BLPOP", "probe", "0.01" }, { 0 } },
		{ F_BLMOVE, { "BLMOVE", "probe", "probe2", "LEFT", "RIGHT", "0.01" }, { 0 } },
		{ F_SPACES, { "SELECT", "1" }, { "RESET" } },
		{ F_SKIP, { "CLIENT", "GETNAME" }, { 0 } },
	};
	const char *load[] = { "SCRIPT", "LOAD", append_script, NULL };
	const char *evalsha[] = { "EVALSHA", script_sha, "1", "probe", "1", NULL };
	const char *flush[] = { "SCRIPT", "FLUSH", NULL }, *two[] = { "PURSER.PROJECT", "two", NULL };
	int fd = connect_to(agent), direct;
	struct buf in = { 0 };
	const uint8_t *rest;
	struct view v;
	size_t i;

	if (fd < 0)
		die(agent);
	for (i = 0; i < sizeof(probes) / sizeof(*probes); i++)
		if (serves(fd, &in, probes[i].argv)) {
			features |= probes[i].feature;
			if (probes[i].undo[0])
				serves(fd, &in, probes[i].undo);
		}
	if (!(features & F_TX))
		features &= ~(unsigned)F_WATCH;
	v = ask(fd, &in, load, &rest);
	if (v.type == '$' && v.n == 40) {
		memcpy(script_sha, v.p, 40);
		direct = connect_to(redis);
		if (direct < 0)
			die(redis);
		ask(direct, &in, flush, &rest);
		close(direct);
		if (serves(fd, &in, evalsha)) /* also where the server has lost it */
			features |= F_SHA;
		if (features & F_SPACES && serves(fd, &in, two)) /* a project knows its own scripts only */
			ask(fd, &in, load, &rest);
	}
	free(in.p);
	close(fd);
}

/* ---- clients ----------------------------------------------------------------------------------------- */
static void client_open(struct client *c)
{
	c->fd = connect_to(agent);
	if (c->fd < 0) {
		if (errno != EAGAIN)
			violation(c, NULL, "the agent cannot be reached: %s", strerror(errno));
		c->next_at = now + 5 * MS;
		return;
	}
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK))
		die("fcntl");
	c->life++;
	totals.lives++;
	c->resp = 2;
	c->space = 0;
	c->in.at = c->in.n = c->out.at = c->out.n = 0;
	c->progress = now;
	client_fresh(c);
}

static void client_close(struct client *c)
{
	abandon(c);
	close(c->fd);
	c->fd = -1;
	client_fresh(c);
	free(c->in.p);
	free(c->out.p);
	c->in = c->out = (struct buf){ 0 };
	c->next_at = now + below(20) * MS;
}

/* The agent has ended the connection: only where half of a reply was out already. */
static void client_lost(struct client *c, const char *how)
{
	if (c->in.at == c->in.n)
		violation(c, c->wanted ? &c->want[c->first] : NULL, "the agent dropped the connection (%s)", how);
	totals.halves++;
	client_close(c);
}

static void client_read(struct client *c)
{
	static uint8_t block[65536];
	ssize_t n = recv(c->fd, block, sizeof(block), 0);
	int64_t k;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		client_lost(c, n < 0 ? strerror(errno) : "end of file");
		return;
	}
	totals.bytes += (uint64_t)n;
	buf_add(&c->in, block, (size_t)n);
	c->progress = now;
	while (c->in.at < c->in.n && (k = reply_size(c->in.p + c->in.at, c->in.n - c->in.at)) != 0) {
		if (k < 0)
			violation(c, c->wanted ? &c->want[c->first] : NULL, "not RESP: %.*s",
			          (int)(c->in.n - c->in.at < 200 ? c->in.n - c->in.at : 200),
			          (const char *)c->in.p + c->in.at);
		judge(c, c->in.p + c->in.at, (size_t)k);
		c->in.at += (size_t)k;
	}
}

static void client_write(struct client *c)
{
	while (c->out.at < c->out.n) {
		size_t n = c->out.n - c->out.at;
		ssize_t k;

		if (c->piece == 0 && below(20) == 0)
			c->piece = 1 + below(1u << below(12));
		if (c->piece && n > c->piece)
			n = c->piece;
		k = send(c->fd, c->out.p + c->out.at, n, MSG_NOSIGNAL);
		if (k < 0 && errno == EAGAIN)
			return;
		if (k < 0) { /* what it said before it closed is still to be read */
			c->out.at = c->out.n;
			return;
		}
		c->out.at += (size_t)k;
		if (c->piece) {
			c->piece = 0;
			return;
		}
	}
}

static void client_turn(struct client *c)
{
	static const unsigned many[] = { 1, 1, 1, 2, 5, 20, 100, 400 };
	unsigned n;

	if (c->fd < 0) {
		if (now >= c->next_at)
			client_open(c);
		return;
	}
	if (c->wanted && now > c->progress + patience * 1000 * MS)
		violation(c, &c->want[c->first], "no reply for %" PRIu64 " s", patience);
	if (mode != RUN || now < c->next_at || c->wanted > depth)
		return;
	if (leave && c->wanted && below((uint32_t)leave) == 0) {
		client_close(c);
		return;
	}
	if (c->wanted == 0)
		c->progress = now;
	n = many[below(8)];
	generate(c, n < depth ? n : (unsigned)depth);
	c->next_at = now + (below(10) ? below(8) : below(60)) * MS;
}

/* ---- the test's words -------------------------------------------------------------------------------- */
static void print_stats(const char *what)
{
	unsigned i, n;

	printf("{\"%s\":true,\"replies\":%" PRIu64 ",\"acked\":%" PRIu64 ",\"not_run\":%" PRIu64 ",\"maybe\":%" PRIu64
	       ",\"lives\":%" PRIu64 ",\"halves\":%" PRIu64 ",\"epochs\":%" PRIu64 ",\"checked\":%" PRIu64
	       ",\"late\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"kinds\":{", what, totals.replies, totals.acked,
	       totals.not_run, totals.maybe, totals.lives, totals.halves, totals.epochs, totals.checked, totals.late,
	       totals.bytes);
	for (i = n = 0; i < K_COUNT; i++)
		if (totals.by_kind[i])
			printf("%s\"%s\":%" PRIu64, n++ ? "," : "", kind_names[i], totals.by_kind[i]);
	printf("},\"words\":{");
	for (i = 0; i < totals.nwords; i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "", totals.words[i].word, totals.words[i].n);
	printf("}}\n");
	fflush(stdout);
}

static bool settled(void)
{
	unsigned i;

	for (i = 0; i < nclients; i++)
		if (clients[i].fd >= 0 && clients[i].wanted)
			return false;
	return true;
}

static void verify_all(void)
{
	unsigned i;

	epoch++;
	totals.epochs++;
	for (i = 0; i < nclients; i++)
		client_fresh(&clients[i]);
	logs_verify(redis);
	mode = IDLE;
	tick();
	for (i = 0; i < nclients; i++)
		clients[i].progress = now;
	print_stats("quiet");
}

/* False: leave. */
static bool told(void)
{
	char line[256];

	if (!fgets(line, sizeof(line), stdin))
		return false;
	line[strcspn(line, "\n")] = 0;
	if (strcmp(line, "run") == 0) {
		mode = RUN;
		print_stats("run");
	} else if (strcmp(line, "quiet") == 0) {
		mode = QUIET;
	} else if (strcmp(line, "stats") == 0) {
		print_stats("stats");
	} else if (strcmp(line, "late 0") == 0 || strcmp(line, "late 1") == 0) {
		late_allowed = line[5] == '1';
		print_stats("late");
	} else if (strcmp(line, "quit") == 0) {
		return false;
	} else {
		errno = EINVAL;
		die(line);
	}
	return true;
}

static void serve(void)
{
	struct pollfd *fds = calloc(nclients + 1, sizeof(*fds));
	unsigned i;

	if (!fds)
		die("calloc");
	for (;;) {
		tick();
		for (i = 0; i < nclients; i++) {
			struct client *c = &clients[i];

			client_turn(c);
			fds[i] = (struct pollfd){ .fd = c->fd, .events = POLLIN };
			if (c->fd >= 0 && c->out.at < c->out.n)
				fds[i].events |= POLLOUT;
		}
		fds[nclients] = (struct pollfd){ .fd = 0, .events = POLLIN };
		if (mode == QUIET && settled()) {
			verify_all();
			continue;
		}
		if (poll(fds, nclients + 1, 2) < 0 && errno != EINTR)
			die("poll");
		tick();
		for (i = 0; i < nclients; i++) {
			if (fds[i].revents & (POLLIN | POLLHUP | POLLERR) && clients[i].fd == fds[i].fd)
				client_read(&clients[i]);
			if (fds[i].revents & POLLOUT && clients[i].fd == fds[i].fd)
				client_write(&clients[i]);
		}
		if (fds[nclients].revents && !told())
			break;
	}
	free(fds);
}

int main(int argc, char **argv)
{
	int i;
	unsigned k;

	for (i = 1; i + 1 < argc; i += 2)
		if (strcmp(argv[i], "--agent") == 0)
			agent = argv[i + 1];
		else if (strcmp(argv[i], "--redis") == 0)
			redis = argv[i + 1];
		else if (strcmp(argv[i], "--clients") == 0)
			nclients = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0)
			rng = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--patience") == 0)
			patience = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--leave") == 0)
			leave = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--depth") == 0)
			depth = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--blind") == 0)
			blind = argv[i + 1][0] == '1';
		else
			break;
	if (i != argc || !agent || !redis || nclients < 1) {
		fprintf(stderr, "usage: chaos-checker --agent SOCKET --redis SOCKET [--clients N] [--seed N] "
		        "[--patience SECONDS] [--leave N] [--depth N] [--blind 1]\n");
		return 2;
	}
	setvbuf(stdin, NULL, _IONBF, 0);
	probe();
	clients = calloc(nclients, sizeof(*clients));
	if (!clients)
		die("calloc");
	for (k = 0; k < nclients; k++) {
		clients[k].fd = -1;
		clients[k].number = k;
	}
	printf("{\"kinds\":[");
	{
#define NAME_FEATURE(name, weight, feature) { #name, weight, feature },
		static const struct { const char *name; unsigned weight, feature; } table[] = { KINDS(NAME_FEATURE) };
		unsigned n = 0;

		for (k = 0; k < K_COUNT; k++)
			if (table[k].weight && (table[k].feature & features) == table[k].feature)
				printf("%s\"%s\"", n++ ? "," : "", table[k].name);
	}
	printf("]}\n");
	fflush(stdout);
	serve();
	return 0;
}
