/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos-proxy --listen ADDR --to ADDR --control PATH [--seed N]
 *
 * ADDR is the path of a Unix socket or 127.0.0.1:PORT (0: any).  Prints the address it listens on.  A
 * line on the control socket is answered with one line of JSON:
 *
 *   set NAME=VALUE ...   settings (below)      reset      all settings back: plain forwarding
 *   cut | rst            end every connection  state      settings and counters
 *   zero                 counters to zero      quit
 *
 *   split, delay, stall          per mille of writes that are split at a random size, and of chunks that
 *                                wait up to delay_us, or stall_ms
 *   life_bytes, ends             a connection ends after about so many bytes of a direction, in one of
 *                                the ways cut, rst, half, hole (+ between them): in the middle of anything
 *   hole_ms                      how long what fell into a hole, or a half-closed connection, stays open
 *   refuse, hang                 per mille of new connections that are closed at once, or never served
 *   refusing, frozen             1: all of them; 1: no byte moves
 *   orderly                      1: the agent learns of an end only when the server has read all that came and
 *                                has closed; else what the server has not read yet may run later than what
 *                                the agent sends on its next connection
 *   linger                       1: what waits still goes to the server after the agent has closed
 *   plant, plant_every           an error for the checker to find (plant.c), about every so many values
 */
#include <config.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "proxy.h"
#include "common.h"

#define MS UINT64_C(1000000)
#define WAITING_MAX (4u << 20) /* bytes of a direction; no more is read then */

struct settings set = { .hole_ms = 300, .plant_every = 500, .delay_us = 2000, .stall_ms = 500 };
struct counters count;
static const struct settings plain = { .hole_ms = 300, .plant_every = 500, .delay_us = 2000, .stall_ms = 500 };
static struct pair *pairs;
static uint64_t rng, now;
static const char *to;

static void die(const char *what)
{
	fprintf(stderr, "chaos-proxy: %s: %s\n", what, strerror(errno));
	exit(2);
}

uint32_t below(uint32_t n) { return random_below(&rng, n); }

static bool chance(unsigned permille) { return permille && below(1000) < permille; }

static void tick(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

void bytes_add(struct bytes *b, const void *p, size_t n)
{
	if (b->at && b->at == b->n)
		b->at = b->n = 0;
	if (b->n + n > b->cap && b->at) {
		memmove(b->p, b->p + b->at, b->n - b->at);
		b->n -= b->at;
		b->at = 0;
	}
	if (b->n + n > b->cap) {
		b->cap = (b->n + n) * 2;
		b->p = realloc(b->p, b->cap);
		if (!b->p)
			die("realloc");
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

/* ---- addresses --------------------------------------------------------------------------------------- */
static socklen_t address(const char *text, struct sockaddr_storage *a)
{
	struct sockaddr_un *u = (struct sockaddr_un *)a;
	struct sockaddr_in *in = (struct sockaddr_in *)a;
	const char *colon = strrchr(text, ':');

	memset(a, 0, sizeof(*a));
	if (strchr(text, '/')) {
		u->sun_family = AF_UNIX;
		if (strlen(text) >= sizeof(u->sun_path))
			die("the path is too long");
		memcpy(u->sun_path, text, strlen(text) + 1);
		return sizeof(*u);
	}
	if (!colon || strncmp(text, "127.0.0.1:", 10) != 0) {
		errno = EINVAL;
		die(text);
	}
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in->sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	return sizeof(*in);
}

static int listener(const char *text, bool print)
{
	struct sockaddr_storage a;
	socklen_t n = address(text, &a);
	int on = 1, fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		die("socket");
	if (a.ss_family == AF_UNIX)
		unlink(text);
	else
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, n) || listen(fd, 512) || getsockname(fd, (struct sockaddr *)&a, &n))
		die(text);
	if (print && a.ss_family == AF_INET)
		printf("127.0.0.1:%u\n", ntohs(((struct sockaddr_in *)&a)->sin_port));
	else if (print)
		printf("%s\n", text);
	fflush(stdout);
	return fd;
}

/* ---- connections ------------------------------------------------------------------------------------- */
static void pair_close(struct pair *p, bool rst)
{
	struct linger hard = { 1, 0 };
	int i;

	if (p->dead)
		return;
	p->dead = true;
	count.closed++;
	for (i = 0; i < 2; i++)
		if (p->fd[i] >= 0) {
			if (rst)
				setsockopt(p->fd[i], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
			close(p->fd[i]);
		}
}

/* About life_bytes, seldom much more: the end must hit small commands and the middle of large ones. */
static uint64_t life(void)
{
	double u = (below(1000000) + 1) / 1000001.0;

	return set.life_bytes && set.ends ? (uint64_t)(-log(u) * set.life_bytes) + 1 : UINT64_MAX;
}

static void pair_open(int fd)
{
	struct pair *p = calloc(1, sizeof(*p));
	struct sockaddr_storage a;
	socklen_t n = address(to, &a);
	int on = 1;

	if (!p)
		die("calloc");
	p->fd[0] = fd;
	p->fd[1] = -1;
	p->way[UP].left = life();
	p->way[DOWN].left = life();
	p->next = pairs;
	pairs = p;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (set.refusing || chance(set.refuse)) {
		count.refused++;
		pair_close(p, below(2));
		return;
	}
	if (chance(set.hang)) {
		count.hung++;
		p->close_at = now + set.hole_ms * MS;
		return;
	}
	p->fd[1] = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd[1] < 0)
		die("socket");
	setsockopt(p->fd[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(p->fd[1], (struct sockaddr *)&a, n) == 0) {
		count.connected++;
	} else if (errno == EINPROGRESS) {
		p->connecting = true;
	} else {
		count.connect_failed++;
		pair_close(p, false);
	}
}

/* Both directions end; orderly: the server's first. */
static void pair_end(struct pair *p, bool rst)
{
	int i;

	if (!set.orderly || p->fd[1] < 0 || p->connecting) {
		pair_close(p, rst);
		return;
	}
	p->rst = rst;
	for (i = 0; i < 2; i++) {
		p->way[i].swallow = true;
		p->way[i].out.at = p->way[i].out.n = 0;
	}
	p->way[UP].eof_out = true;
	shutdown(p->fd[1], SHUT_WR);
}

/* The end that was drawn for the connection strikes in direction dir. */
static void strike(struct pair *p, int dir)
{
	unsigned kinds[4], n = 0, e;

	for (e = 1; e <= END_HOLE; e *= 2)
		if (set.ends & e)
			kinds[n++] = e;
	p->way[UP].left = p->way[DOWN].left = UINT64_MAX;
	if (n == 0)
		return;
	switch (kinds[below(n)]) {
	case END_CUT:
		count.cut++;
		pair_end(p, false);
		break;
	case END_RST:
		count.rst++;
		pair_end(p, true);
		break;
	case END_HALF: /* one direction says that it is over, the other goes on for a while */
		count.half++;
		p->way[dir].swallow = p->way[dir].eof_out = true;
		p->way[dir].out.at = p->way[dir].out.n = 0;
		shutdown(p->fd[!dir], SHUT_WR);
		p->close_at = now + set.hole_ms * MS;
		break;
	default: /* silence */
		count.hole++;
		p->way[dir].swallow = true;
		p->way[dir].out.at = p->way[dir].out.n = 0;
		p->close_at = now + set.hole_ms * MS;
	}
}

static void way_write(struct pair *p, int dir)
{
	struct way *w = &p->way[dir];

	while (!p->dead && w->out.at < w->out.n && now >= w->hold_until && !w->eof_out) {
		size_t n = w->out.n - w->out.at;
		ssize_t k;

		if (w->piece == 0 && chance(set.split))
			w->piece = 1 + below(1u << below(13)); /* 1 to 4096, small ones often */
		if (w->piece && n > w->piece)
			n = w->piece;
		if (n > w->left)
			n = (size_t)w->left;
		k = send(p->fd[!dir], w->out.p + w->out.at, n, MSG_NOSIGNAL);
		if (k < 0) {
			if (errno != EAGAIN)
				pair_close(p, false);
			return;
		}
		w->out.at += (size_t)k;
		if (w->left != UINT64_MAX && (w->left -= (uint64_t)k) == 0) {
			strike(p, dir);
			return;
		}
		if (w->piece) { /* what was split leaves in a turn of its own */
			w->piece = 0;
			if (w->out.at < w->out.n && below(4) == 0) {
				w->hold_until = now + 1;
				return;
			}
		}
	}
	if (!p->dead && w->eof_in && w->out.at == w->out.n && !w->eof_out)
		pair_close(p, p->rst);
}

static void way_read(struct pair *p, int dir)
{
	static uint8_t block[65536];
	struct way *w = &p->way[dir];
	ssize_t n = recv(p->fd[dir], block, sizeof(block), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		w->eof_in = true;
		if (dir == UP && set.orderly && p->fd[1] >= 0 && !p->connecting)
			pair_end(p, false);
		else if (dir == UP && (!set.linger || p->fd[1] < 0 || p->connecting))
			pair_close(p, false);
		else
			way_write(p, dir);
		return;
	}
	if (w->swallow)
		return;
	plant_took(p, dir, block, (size_t)n);
	if (chance(set.delay))
		w->hold_until = now + (uint64_t)below(set.delay_us) * 1000;
	if (chance(set.stall)) {
		w->hold_until = now + below(set.stall_ms) * MS;
		count.stalls++;
	}
	way_write(p, dir);
}

static void pair_event(struct pair *p, int side, short events)
{
	int e = 0;
	socklen_t n = sizeof(e);

	if (side == 1 && p->connecting) {
		getsockopt(p->fd[1], SOL_SOCKET, SO_ERROR, &e, &n);
		p->connecting = false;
		if (e) {
			count.connect_failed++;
			pair_close(p, false);
			return;
		}
		count.connected++;
	}
	if (events & (POLLIN | POLLHUP | POLLERR) && !p->way[side].eof_in)
		way_read(p, side);
	else if (events & (POLLHUP | POLLERR))
		pair_close(p, false);
	if (!p->dead && events & POLLOUT)
		way_write(p, !side);
}

static short wanted(const struct pair *p, int side)
{
	const struct way *in = &p->way[side], *out = &p->way[!side];
	short e = 0;

	if (p->fd[side] < 0 || set.frozen)
		return 0;
	if (side == 1 && p->connecting)
		return POLLOUT;
	if (!in->eof_in && in->out.n - in->out.at < WAITING_MAX && p->fd[1] >= 0 && !p->connecting)
		e |= POLLIN;
	if (out->out.at < out->out.n && now >= out->hold_until && !out->eof_out)
		e |= POLLOUT;
	return e;
}

/* ---- control ----------------------------------------------------------------------------------------- */
static const struct { const char *name; unsigned *value; } numbers[] = {
	{ "split", &set.split }, { "delay", &set.delay }, { "stall", &set.stall }, { "refuse", &set.refuse },
	{ "hang", &set.hang }, { "delay_us", &set.delay_us }, { "stall_ms", &set.stall_ms },
	{ "hole_ms", &set.hole_ms }, { "life_bytes", &set.life_bytes }, { "plant_every", &set.plant_every },
};

static const char *set_one(const char *name, const char *value)
{
	static const char *const ends[] = { "cut", "rst", "half", "hole" };
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (strcmp(name, numbers[i].name) == 0) {
			*numbers[i].value = (unsigned)strtoul(value, NULL, 10);
			return NULL;
		}
	if (strcmp(name, "frozen") == 0) {
		set.frozen = *value == '1';
	} else if (strcmp(name, "refusing") == 0) {
		set.refusing = *value == '1';
	} else if (strcmp(name, "orderly") == 0) {
		set.orderly = *value == '1';
	} else if (strcmp(name, "linger") == 0) {
		set.linger = *value == '1';
	} else if (strcmp(name, "ends") == 0) {
		for (set.ends = 0, i = 0; i < 4; i++)
			set.ends |= strstr(value, ends[i]) ? 1u << i : 0;
	} else if (strcmp(name, "plant") == 0) {
		for (i = 0; i < PLANTS && strcmp(value, plant_names[i]) != 0; i++)
			;
		if (i == PLANTS)
			return "no such plant";
		set.plant = (unsigned)i;
	} else {
		return "no such setting";
	}
	return NULL;
}

static void state_json(char *out, size_t cap)
{
	char commands[8192];
	unsigned live = 0;
	const struct pair *p;

	for (p = pairs; p; p = p->next)
		live += !p->dead;
	plant_names_json(commands, sizeof(commands));
	snprintf(out, cap, "{\"live\":%u,\"accepted\":%" PRIu64 ",\"connected\":%" PRIu64 ",\"connect_failed\":%" PRIu64
	         ",\"closed\":%" PRIu64 ",\"cut\":%" PRIu64 ",\"rst\":%" PRIu64 ",\"half\":%" PRIu64 ",\"hole\":%" PRIu64
	         ",\"refused\":%" PRIu64 ",\"hung\":%" PRIu64 ",\"stalls\":%" PRIu64 ",\"bytes_up\":%" PRIu64
	         ",\"bytes_down\":%" PRIu64 ",\"commands\":%" PRIu64 ",\"replies\":%" PRIu64 ",\"planted\":%" PRIu64
	         ",\"by_name\":%s}", live, count.accepted, count.connected, count.connect_failed, count.closed,
	         count.cut, count.rst, count.half, count.hole, count.refused, count.hung, count.stalls,
	         count.bytes[UP], count.bytes[DOWN], count.commands, count.replies, count.planted, commands);
}

/* One line of control; the answer into out.  False: leave. */
static bool control(char *line, char *out, size_t cap)
{
	char *save = NULL, *word = strtok_r(line, " \r\n", &save);
	const char *problem = NULL;
	struct pair *p;

	snprintf(out, cap, "{\"ok\":true}");
	if (!word) {
		problem = "empty";
	} else if (strcmp(word, "set") == 0) {
		while (!problem && (word = strtok_r(NULL, " \r\n", &save))) {
			char *value = strchr(word, '=');

			if (value)
				*value++ = 0;
			problem = value ? set_one(word, value) : "NAME=VALUE";
		}
		for (p = pairs; p; p = p->next) { /* also for the connections that are there */
			p->way[UP].left = life();
			p->way[DOWN].left = life();
		}
	} else if (strcmp(word, "reset") == 0) {
		set = plain;
		for (p = pairs; p; p = p->next)
			p->way[UP].left = p->way[DOWN].left = UINT64_MAX;
	} else if (strcmp(word, "cut") == 0 || strcmp(word, "rst") == 0) {
		for (p = pairs; p; p = p->next)
			pair_close(p, *word == 'r');
	} else if (strcmp(word, "state") == 0) {
		state_json(out, cap);
	} else if (strcmp(word, "zero") == 0) {
		count = (struct counters){ 0 };
		plant_zero();
	} else if (strcmp(word, "quit") == 0) {
		return false;
	} else {
		problem = "no such word";
	}
	if (problem)
		snprintf(out, cap, "{\"ok\":false,\"problem\":\"%s\"}", problem);
	return true;
}

static bool on_control(int *fd)
{
	char line[512], out[16384];
	ssize_t n = recv(*fd, line, sizeof(line) - 1, 0);
	bool stay = true;

	if (n <= 0) {
		close(*fd);
		*fd = -1;
		return true;
	}
	line[n] = 0; /* a line is one packet: they are short, and their answer is waited for */
	stay = control(line, out, sizeof(out) - 1);
	n = (ssize_t)strlen(out);
	out[n++] = '\n';
	if (send(*fd, out, (size_t)n, MSG_NOSIGNAL) < 0) {
		close(*fd);
		*fd = -1;
	}
	return stay;
}

/* ---- the turn ---------------------------------------------------------------------------------------- */
static void sweep(void)
{
	struct pair **link = &pairs, *p;
	int i;

	while ((p = *link)) {
		if (!p->dead && p->close_at && now >= p->close_at) {
			p->close_at = 0;
			pair_end(p, below(2));
		}
		if (!p->dead) {
			link = &p->next;
			continue;
		}
		*link = p->next;
		for (i = 0; i < 2; i++) {
			free(p->way[i].out.p);
			free(p->way[i].stage.p);
		}
		free(p);
	}
}

/* ms until something that waits may go on; -1: nothing waits. */
static int patience(void)
{
	uint64_t first = UINT64_MAX;
	const struct pair *p;
	int i;

	for (p = pairs; p; p = p->next) {
		if (p->close_at && p->close_at < first)
			first = p->close_at;
		for (i = 0; i < 2 && !set.frozen; i++)
			if (p->way[i].out.at < p->way[i].out.n && p->way[i].hold_until > now && p->way[i].hold_until < first)
				first = p->way[i].hold_until;
	}
	if (first == UINT64_MAX)
		return -1;
	return first <= now ? 0 : (int)((first - now) / MS) + 1;
}

static void serve(int door, int control_door)
{
	static struct pollfd fds[4 + 2 * 4096];
	static struct pair *of[2 * 4096];
	int desk = -1, fd;

	for (;;) {
		nfds_t n = 3, i;
		struct pair *p;

		tick();
		sweep();
		fds[0] = (struct pollfd){ .fd = door, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = control_door, .events = desk < 0 ? POLLIN : 0 };
		fds[2] = (struct pollfd){ .fd = desk, .events = POLLIN };
		for (p = pairs; p && n < sizeof(fds) / sizeof(*fds) - 2; p = p->next)
			for (i = 0; i < 2; i++) {
				short e = wanted(p, (int)i);

				of[n - 3] = p;
				/* nothing is asked of a side that waits: its hang-up would make the turn spin */
				fds[n++] = (struct pollfd){ .fd = e ? p->fd[i] : -1, .events = e };
			}
		if (poll(fds, n, patience()) < 0 && errno != EINTR)
			die("poll");
		tick();
		for (i = 3; i < n; i++)
			if (fds[i].revents && !of[i - 3]->dead)
				pair_event(of[i - 3], (int)(i - 3) % 2, fds[i].revents);
		while (fds[0].revents && (fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
			count.accepted++;
			pair_open(fd);
		}
		if (desk >= 0 && fds[2].revents && !on_control(&desk))
			return;
		if (desk < 0 && fds[1].revents)
			desk = accept4(control_door, NULL, NULL, SOCK_CLOEXEC);
	}
}

int main(int argc, char **argv)
{
	const char *listen_on = NULL, *control_path = NULL;
	int i;

	for (i = 1; i + 1 < argc; i += 2)
		if (strcmp(argv[i], "--listen") == 0)
			listen_on = argv[i + 1];
		else if (strcmp(argv[i], "--to") == 0)
			to = argv[i + 1];
		else if (strcmp(argv[i], "--control") == 0)
			control_path = argv[i + 1];
		else if (strcmp(argv[i], "--seed") == 0)
			rng = strtoull(argv[i + 1], NULL, 10);
		else
			break;
	if (i != argc || !listen_on || !to || !control_path) {
		fprintf(stderr, "usage: chaos-proxy --listen ADDR --to ADDR --control PATH [--seed N]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	i = listener(control_path, false);
	serve(listener(listen_on, true), i);
	return 0;
}
