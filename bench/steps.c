/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps - a closed-loop client for commands that stand in a file: one operation a line, words divided by blanks, the
 * requests of one operation divided by "||". They go one after the other, the next when the reply of the one before
 * is here; "%" stands for the first number in that reply. An operation of a single request may be pipelined.
 *
 *   steps -c CONNS -P PIPELINE -f FILE -s SECONDS [-w WARMUP] [-W NAME=PID] [-x SEED] ADDRESS
 *
 * Connection c takes lines c, c + CONNS, ...: no two of them take the same one. Any error, or a null, ends the run with
 * status 1. Output as of lg.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "hist.h"
#include "net.h"
#include "watch.h"

#define STEPS_MAX 4
#define IN_SIZE 262144

struct line {
	char *step[STEPS_MAX]; /* encoded; with holes still as words */
	size_t n[STEPS_MAX];
	bool holes[STEPS_MAX];
	unsigned steps;
};

struct conn {
	int fd;
	size_t line;
	unsigned step, due; /* replies that are still to come of the batch */
	uint64_t began;
	char number[32];
	char *in;
	size_t have;
};

static struct {
	unsigned conns, pipeline;
	const char *file;
	double seconds, warmup;
	struct watch watch[WATCH_MAX];
	unsigned watches;
	struct net_addr addr;
	struct line *lines;
	size_t nlines;
	struct conn *c;
	uint64_t ops;
	struct hist latency;
	bool counting;
} S = {.conns = 50, .pipeline = 1, .seconds = 1};

static _Noreturn void die(int status, const char *what, const char *more)
{
	fprintf(stderr, "steps: %s: %s\n", what, more);
	exit(status);
}

/* ---- the file ---- */

static char *encode(const char *text, const char *number, size_t *n)
{
	size_t cap = 2 * strlen(text) + 4096;
	char *copy = strdup(text), *out = malloc(cap), *at = out, *save, *words[64];
	unsigned argc = 0;

	if (!copy || !out)
		die(3, "memory", text);
	for (char *w = strtok_r(copy, " \n", &save); w && argc < 64; w = strtok_r(NULL, " \n", &save))
		words[argc++] = strcmp(w, "%") == 0 && number ? (char *)(uintptr_t)number : w;
	at += snprintf(at, cap, "*%u\r\n", argc);
	for (unsigned i = 0; i < argc; i++)
		at += snprintf(at, cap - (size_t)(at - out), "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
	free(copy);
	*n = (size_t)(at - out);
	return out;
}

static void add_line(char *text)
{
	struct line *l;

	S.lines = realloc(S.lines, (S.nlines + 1) * sizeof *S.lines);
	if (!S.lines)
		die(3, "memory", S.file);
	l = memset(&S.lines[S.nlines++], 0, sizeof *l);
	for (char *step = text, *next; step && l->steps < STEPS_MAX; step = next) {
		unsigned i = l->steps++;

		next = strstr(step, "||");
		if (next) {
			*next = '\0';
			next += 2;
		}
		l->holes[i] = strstr(step, " %") != NULL;
		l->step[i] = l->holes[i] ? strdup(step) : encode(step, NULL, &l->n[i]);
	}
	if (l->steps > 1 && S.pipeline > 1)
		die(2, "operations of several requests are not pipelined", "-P");
}

static void read_lines(void)
{
	FILE *f = fopen(S.file, "r");
	char *text = NULL;
	size_t cap = 0;

	if (!f)
		die(2, S.file, strerror(errno));
	while (getline(&text, &cap, f) > 0)
		add_line(text);
	free(text);
	fclose(f);
	if (S.nlines < S.conns || S.nlines % S.conns)
		die(2, S.file, "the number of lines is no multiple of that of connections");
}

/* ---- replies ---- */

/* The end of the value at p, or NULL: it is not all here. */
static const char *whole(const char *p, const char *end)
{
	const char *nl = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
	bool map = p < end && *p == '%';
	long n;

	if (!nl)
		return NULL;
	n = strtol(p + 1, NULL, 10);
	switch (*p) {
	case '-':
		die(1, "an error", strndup(p, (size_t)(nl - p)));
	case '$': case '=':
		if (n < 0)
			return nl + 1;
		return end - nl - 1 >= n + 2 ? nl + n + 3 : NULL;
	case '*': case '>': case '~': case '%':
		p = nl + 1;
		for (n *= map ? 2 : 1; n > 0 && p; n--)
			p = whole(p, end);
		return p;
	default:
		return nl + 1;
	}
}

/* The first number in it, an integer or a string of digits that follows a name. */
static void find_number(const char *p, const char *end, char *number, size_t cap)
{
	size_t n;

	for (; p < end; p++) {
		if (*p == ':' && p[1] >= '0' && p[1] <= '9') {
			n = strspn(p + 1, "0123456789");
			snprintf(number, cap, "%.*s", (int)n, p + 1);
			return;
		}
	}
	die(1, "no number in the reply", "%");
}

/* ---- connections ---- */

static void send_all(struct conn *c, const char *p, size_t n)
{
	while (n) {
		ssize_t sent = write(c->fd, p, n);

		if (sent < 0 && (errno == EINTR || errno == EAGAIN))
			continue; /* what is sent is small */
		if (sent <= 0)
			die(3, "write", strerror(errno));
		p += sent;
		n -= (size_t)sent;
	}
}

static void send_step(struct conn *c)
{
	static char batch[1 << 20];
	size_t at = 0;

	if (c->step == 0)
		c->began = net_now_ns();
	c->due = c->step == 0 ? S.pipeline : 1;
	for (unsigned i = 0; i < c->due; i++) {
		const struct line *l = &S.lines[c->line];
		size_t n = l->n[c->step];
		char *filled = NULL;

		if (l->holes[c->step])
			filled = encode(l->step[c->step], c->number, &n);
		if (at + n > sizeof batch)
			die(2, "a batch", "it is too large");
		memcpy(batch + at, filled ? filled : l->step[c->step], n);
		free(filled);
		at += n;
		if (l->steps == 1)
			c->line = (c->line + S.conns) % S.nlines;
	}
	send_all(c, batch, at);
}

static void done_step(struct conn *c)
{
	uint64_t now = net_now_ns();
	unsigned steps = S.lines[c->line].steps;

	if (steps > 1 && ++c->step < steps) {
		send_step(c);
		return;
	}
	if (steps > 1)
		c->line = (c->line + S.conns) % S.nlines;
	c->step = 0;
	if (S.counting) {
		S.ops += S.pipeline;
		for (unsigned i = 0; i < S.pipeline; i++)
			hist_add(&S.latency, now - c->began);
	}
	send_step(c);
}

static void readable(struct conn *c)
{
	ssize_t got = read(c->fd, c->in + c->have, IN_SIZE - c->have);
	const char *p = c->in, *end, *next;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
		die(3, "the peer", got ? strerror(errno) : "has closed");
	c->have += (size_t)got;
	end = c->in + c->have;
	while (c->due && (next = whole(p, end))) {
		if (*p == '$' && p[1] == '-')
			die(1, "a null", "nothing is there");
		if (S.lines[c->line].steps > 1 && S.lines[c->line].holes[1] && c->step == 0)
			find_number(p, next, c->number, sizeof c->number);
		p = next;
		c->due--;
	}
	c->have = (size_t)(end - p);
	memmove(c->in, p, c->have);
	if (!c->due)
		done_step(c);
}

static void turn(int ep, uint64_t until)
{
	struct epoll_event ev[64];

	while (net_now_ns() < until) {
		int n = epoll_wait(ep, ev, 64, 10000);

		if (n == 0)
			die(3, "the peer", "is silent");
		for (int i = 0; i < n; i++)
			readable(ev[i].data.ptr);
	}
}

static void print_result(const struct watch_mark *a, const struct watch_mark *b)
{
	double seconds = (double)(b->now_ns - a->now_ns) / 1e9, ops = S.ops ? (double)S.ops : 1;
	uint64_t ours = b->own_ns - a->own_ns, busy = b->host_ns - a->host_ns;

	printf("ops=%llu\nops_per_s=%.0f\nclient_us_per_op=%.4f\n", (unsigned long long)S.ops, (double)S.ops / seconds,
	       (double)ours / 1e3 / ops);
	for (unsigned i = 0; i < S.watches; i++) {
		uint64_t ns = b->cpu_ns[i] - a->cpu_ns[i];

		ours += ns;
		printf("%s_us_per_op=%.4f\n", S.watch[i].name, (double)ns / 1e3 / ops);
	}
	printf("latency_p50_us=%.2f\nlatency_p99_us=%.2f\nlatency_p999_us=%.2f\n",
	       (double)hist_quantile(&S.latency, 0.5) / 1e3, (double)hist_quantile(&S.latency, 0.99) / 1e3,
	       (double)hist_quantile(&S.latency, 0.999) / 1e3);
	printf("others_busy=%.3f\n", busy > ours ? (double)(busy - ours) / 1e9 / seconds : 0.0);
	printf("stolen=%.3f\n", (double)(b->stolen_ns - a->stolen_ns) / 1e9 / seconds);
}

static void options(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "c:P:f:s:w:W:x:")) != -1) {
		switch (opt) {
		case 'c': S.conns = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'P': S.pipeline = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'f': S.file = optarg; break;
		case 's': S.seconds = strtod(optarg, NULL); break;
		case 'w': S.warmup = strtod(optarg, NULL); break;
		case 'x': break; /* lines are taken in order */
		case 'W':
			if (S.watches == WATCH_MAX || watch_parse(optarg, &S.watch[S.watches]) < 0)
				die(2, "not NAME=PID, or too many", optarg);
			S.watches++;
			break;
		default: die(2, "usage", "see the head of bench/steps.c");
		}
	}
	if (optind + 1 != argc || net_parse(argv[optind], &S.addr) < 0 || !S.file || !S.conns || !S.pipeline)
		die(2, "usage", "an address, a file, and counts above 0 are needed");
}

int main(int argc, char **argv)
{
	struct watch_mark a, b;
	int ep;

	options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	read_lines();
	ep = epoll_create1(0);
	S.c = calloc(S.conns, sizeof *S.c);
	if (ep < 0 || !S.c)
		die(3, "memory", "");
	for (unsigned i = 0; i < S.conns; i++) {
		struct conn *c = &S.c[i];
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

		c->fd = net_connect_wait(&S.addr, 10);
		c->in = malloc(IN_SIZE);
		c->line = i;
		if (c->fd < 0 || !c->in || epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) < 0)
			die(3, "connect", strerror(errno));
	}
	for (unsigned i = 0; i < S.conns; i++)
		send_step(&S.c[i]);
	turn(ep, net_now_ns() + (uint64_t)(S.warmup * 1e9));
	S.counting = true;
	if (watch_take(S.watch, S.watches, &a) < 0)
		die(3, "a watched process", "is gone");
	turn(ep, net_now_ns() + (uint64_t)(S.seconds * 1e9));
	if (watch_take(S.watch, S.watches, &b) < 0)
		die(3, "a watched process", "is gone");
	print_result(&a, &b);
	return fflush(stdout) ? 3 : 0;
}
