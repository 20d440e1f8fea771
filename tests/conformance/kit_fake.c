/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: a store that breaks at will.  It speaks RESP on a Unix socket, in a thread of its own, knows
 * little (GET answers with its key, SET with OK) and counts exactly what it was given, so that a
 * test can say what the plugin may claim about a command.
 */
#include <config.h>
#include "kit.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FAKE_LINKS 64
#define WORDS 512 /* of a command that are looked at */

struct flink {
	int fd;
	struct buf in, out;
	bool served;   /* it has brought a command that is not of the handshake */
	bool blocked;  /* a blocking pop waits on it */
	bool resp3, multi;
	unsigned queued;
};

struct fake {
	pthread_t thread;
	pthread_mutex_t lock;
	int listener, wake;
	bool over, listening, hold, deaf, drip;
	int64_t cut_in, cut_out; /* -1: not asked for */
	bool has_cut;
	struct flink links[FAKE_LINKS];
	struct fake_seen seen;
	struct canned { struct canned *next; char *command, *resp; } *canned;
	struct tally { struct tally *next; unsigned n; size_t len; char word[]; } *tallies[256];
	char path[108], url[128];
	uint8_t chunk[65536];
};

/* ---- what it says ---------------------------------------------------------------------------- */

static void say_bulk(struct buf *b, const void *p, size_t n)
{
	buf_printf(b, "$%zu\r\n", n);
	buf_put(b, p, n);
	buf_puts(b, "\r\n");
}

static void say_hello(struct flink *l)
{
	static const char *const fields[] = { "server", "redis", "version", "7.0.15", "mode",
		"standalone", "role", "master" };

	buf_puts(&l->out, l->resp3 ? "%7\r\n" : "*14\r\n");
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		say_bulk(&l->out, fields[i], strlen(fields[i]));
	say_bulk(&l->out, "proto", 5);
	buf_printf(&l->out, ":%d\r\n", l->resp3 ? 3 : 2);
	say_bulk(&l->out, "id", 2);
	buf_puts(&l->out, ":7\r\n");
	say_bulk(&l->out, "modules", 7);
	buf_puts(&l->out, "*0\r\n");
}

static void say_info(struct buf *b)
{
	static const char info[] =
		"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nprocess_id:1\r\n"
		"run_id:0000000000000000000000000000000000000000\r\ntcp_port:0\r\nuptime_in_"
		"seconds:1\r\n"
		"# Clients\r\nconnected_clients:1\r\nmaxclients:10000\r\n"
		"# Memory\r\nused_memory:1000000\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
		"# Replication\r\nrole:master\r\nconnected_slaves:0\r\n# "
		"Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n";

	say_bulk(b, info, sizeof(info) - 1);
}

static bool is(const purser_bytes *w, const char *name)
{
	return w->n == strlen(name) && strncasecmp((const char *)w->p, name, w->n) == 0;
}

/* Commands of a handshake or of a check; they count for nothing. */
static bool say_handshake(struct flink *l, const purser_bytes *w, size_t n)
{
	if (is(&w[0], "HELLO")) {
		if (n > 1)
			l->resp3 = is(&w[1], "3");
		say_hello(l);
	} else if (is(&w[0], "INFO")) {
		say_info(&l->out);
	} else if (is(&w[0], "ROLE")) {
		buf_puts(&l->out, "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
	} else if (is(&w[0], "PING")) {
		buf_puts(&l->out, "+PONG\r\n");
	} else if (is(&w[0], "CONFIG") || is(&w[0], "COMMAND") || is(&w[0], "CLUSTER")) {
		buf_puts(&l->out, "*0\r\n");
	} else if (is(&w[0], "CLIENT") && n > 1 && is(&w[1], "ID")) {
		buf_puts(&l->out, ":7\r\n");
	} else if (is(&w[0], "CLIENT") || is(&w[0], "AUTH") || is(&w[0], "SELECT") ||
		   is(&w[0], "READONLY")) {
		buf_puts(&l->out, "+OK\r\n");
	} else {
		return false;
	}
	return true;
}

static void say_plain(struct flink *l, const purser_bytes *w, size_t n)
{
	if (is(&w[0], "GET") && n == 2)
		say_bulk(&l->out, w[1].p, w[1].n);
	else if (is(&w[0], "ECHO") && n == 2)
		say_bulk(&l->out, w[1].p, w[1].n);
	else if (is(&w[0], "SET"))
		buf_puts(&l->out, "+OK\r\n");
	else if (is(&w[0], "DEL") || is(&w[0], "EXISTS"))
		buf_printf(&l->out, ":%zu\r\n", n - 1);
	else if (is(&w[0], "BLPOP"))
		l->blocked = true; /* for ever */
	else
		buf_printf(&l->out, "-ERR unknown command '%.*s'\r\n", (int)w[0].n,
			(const char *)w[0].p);
}

static void tally(struct fake *f, const purser_bytes *w)
{
	struct tally *t;
	unsigned h = 0;

	for (size_t i = 0; i < w->n && i < 64; i++)
		h = h * 31 + w->p[i];
	for (t = f->tallies[h % 256]; t; t = t->next)
		if (t->len == w->n && memcmp(t->word, w->p, w->n) == 0)
			break;
	if (!t) {
		t = calloc(1, sizeof(*t) + w->n);
		t->len = w->n;
		memcpy(t->word, w->p, w->n);
		t->next = f->tallies[h % 256];
		f->tallies[h % 256] = t;
	}
	t->n++;
}

static void answer(struct fake *f, struct flink *l, const purser_bytes *w, size_t n, size_t bytes)
{
	if (say_handshake(l, w, n))
		return;
	l->served = true;
	f->seen.commands++;
	f->seen.bytes += bytes;
	for (size_t i = 1; i < n; i++)
		if (w[i].n <= 200)
			tally(f, &w[i]);
	if (l->multi && !is(&w[0], "EXEC")) {
		buf_puts(&l->out, "+QUEUED\r\n");
		l->queued++;
		return;
	}
	for (struct canned *c = f->canned; c; c = c->next) {
		if (is(&w[0], c->command)) {
			buf_puts(&l->out, c->resp);
			return;
		}
	}
	if (is(&w[0], "MULTI")) {
		l->multi = true;
		l->queued = 0;
		buf_puts(&l->out, "+OK\r\n");
	} else if (is(&w[0], "EXEC")) {
		l->multi = false;
		buf_printf(&l->out, "*%u\r\n", l->queued);
		for (unsigned i = 0; i < l->queued; i++)
			buf_puts(&l->out, "+OK\r\n");
	} else {
		say_plain(l, w, n);
	}
}

/* ---- what it hears --------------------------------------------------------------------------- */

/* One line "*12\r\n" or "$3\r\n" at p[*at..n): its number; -1: not whole, -2: nonsense. */
static int64_t head(const uint8_t *p, size_t n, size_t *at, char type)
{
	const uint8_t *lf = memchr(p + *at, '\n', n - *at);
	int64_t v = 0;

	if (*at < n && (char)p[*at] != type)
		return -2;
	if (!lf)
		return -1;
	for (const uint8_t *c = p + *at + 1; c < lf - 1; c++)
		v = v * 10 + (*c - '0');
	*at = (size_t)(lf + 1 - p);
	return v;
}

/* The first command of p[0..n): its length; 0: not whole, -1: nonsense. */
static int64_t command(const uint8_t *p, size_t n, purser_bytes *w, size_t *nw)
{
	size_t at = 0;
	int64_t count = n ? head(p, n, &at, '*') : -1;

	if (count < 0)
		return count + 1;
	for (int64_t i = 0; i < count; i++) {
		int64_t len = at < n ? head(p, n, &at, '$') : -1;

		if (len < 0)
			return len + 1;
		if ((uint64_t)len + 2 > n - at)
			return 0;
		if (i < WORDS)
			w[i] = (purser_bytes){ p + at, (size_t)len };
		at += (size_t)len + 2;
	}
	*nw = count < WORDS ? (size_t)count : WORDS;
	return (int64_t)at;
}

static void drop(struct flink *l)
{
	shutdown(l->fd, SHUT_RDWR); /* at once, also while the thread polls on it */
	close(l->fd);
	buf_free(&l->in);
	buf_free(&l->out);
	*l = (struct flink){ .fd = -1 };
}

static void listen_in(struct fake *f, struct flink *l)
{
	for (;;) {
		purser_bytes w[WORDS];
		size_t n = 0;
		int64_t used = command(buf_data(&l->in), buf_len(&l->in), w, &n);

		if (used < 0) {
			kit_blame(
				7, "what the store was sent is not RESP: %.40s", buf_cstr(&l->in));
			drop(l);
			return;
		}
		if (used == 0)
			return;
		if (n)
			answer(f, l, w, n, (size_t)used);
		buf_take(&l->in, (size_t)used);
	}
}

static void hear(struct fake *f, struct flink *l)
{
	bool cutting = f->cut_in >= 0 && l->served;
	size_t most = cutting && (uint64_t)f->cut_in < sizeof(f->chunk) ? (size_t)f->cut_in
									: sizeof(f->chunk);
	ssize_t n = most ? recv(l->fd, f->chunk, most, MSG_DONTWAIT) : 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 && most) {
		drop(l);
		return;
	}
	buf_put(&l->in, f->chunk, (size_t)n);
	if (cutting)
		f->cut_in -= n;
	listen_in(f, l);
	if (cutting && f->cut_in == 0) {
		f->cut_in = -1;
		f->has_cut = true;
		if (l->fd >= 0)
			drop(l);
	}
}

static void speak(struct fake *f, struct flink *l)
{
	bool cutting = f->cut_out >= 0 && l->served;
	size_t most = f->drip ? 1 : buf_len(&l->out);
	ssize_t n;

	if (cutting && (uint64_t)f->cut_out < most)
		most = (size_t)f->cut_out;
	n = most ? send(l->fd, buf_data(&l->out), most, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	if (n < 0) {
		if (errno != EAGAIN)
			drop(l);
		return;
	}
	buf_take(&l->out, (size_t)n);
	f->seen.out += (uint64_t)n;
	if (cutting) {
		f->cut_out -= n;
		if (f->cut_out == 0) {
			f->cut_out = -1;
			f->has_cut = true;
			drop(l);
		}
	}
}

static void welcome(struct fake *f)
{
	int fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	for (int i = 0; fd >= 0 && i < FAKE_LINKS; i++) {
		if (f->links[i].fd < 0) {
			f->links[i] = (struct flink){ .fd = fd };
			f->seen.links++;
			return;
		}
	}
	if (fd >= 0)
		close(fd);
}

static void *fake_run(void *arg)
{
	struct fake *f = arg;

	pthread_mutex_lock(&f->lock);
	while (!f->over) {
		struct pollfd p[FAKE_LINKS + 2] = { { f->wake, POLLIN, 0 },
			{ f->listener, POLLIN, 0 } };
		uint64_t n;

		for (int i = 0; i < FAKE_LINKS; i++) {
			struct flink *l = &f->links[i];

			p[i + 2].fd = f->deaf ? -1 : l->fd;
			p[i + 2].events = (short)(POLLIN |
			    (buf_len(&l->out) && (!f->hold || !l->served) ? POLLOUT : 0));
		}
		pthread_mutex_unlock(&f->lock);
		poll(p, FAKE_LINKS + 2, -1);
		pthread_mutex_lock(&f->lock);
		if (p[0].revents && read(f->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
			break;
		if (p[1].revents & POLLIN && f->listening)
			welcome(f);
		for (int i = 0; i < FAKE_LINKS; i++) {
			struct flink *l = &f->links[i];

			if (l->fd < 0 || l->fd != p[i + 2].fd)
				continue;
			if (p[i + 2].revents & POLLOUT)
				speak(f, l);
			if (l->fd >= 0 && p[i + 2].revents & (POLLIN | POLLHUP | POLLERR))
				hear(f, l);
		}
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* ---- what a test asks of it ------------------------------------------------------------------ */

static void fake_bind(struct fake *f)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	unlink(f->path);
	memcpy(sa.sun_path, f->path, sizeof(sa.sun_path));
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->listener < 0 || bind(f->listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(f->listener, 128) < 0)
		kit_stop(0, "the kit cannot listen on %s: %s", f->path, strerror(errno));
}

struct fake *fake_new(void)
{
	static unsigned n;
	struct fake *f = calloc(1, sizeof(*f));

	f->cut_in = f->cut_out = -1;
	f->listening = true;
	for (int i = 0; i < FAKE_LINKS; i++)
		f->links[i].fd = -1;
	snprintf(f->path, sizeof(f->path), "%s/fake%u.sock", kit.tmpdir, n++);
	snprintf(f->url, sizeof(f->url), "unix://%s", f->path);
	pthread_mutex_init(&f->lock, NULL);
	f->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fake_bind(f);
	if (pthread_create(&f->thread, NULL, fake_run, f) != 0)
		kit_stop(0, "the kit cannot make a thread");
	return f;
}

const char *fake_url(struct fake *f)
{
	return f->url;
}

/* Change something under the lock, and let the thread look again. */
#define CHANGE(f, what) do { \
		static const uint64_t one = 1; \
		pthread_mutex_lock(&(f)->lock); \
		what; \
		pthread_mutex_unlock(&(f)->lock); \
		if (write((f)->wake, &one, sizeof(one)) < 0) \
			kit_stop(0, "the kit cannot wake its store"); \
	} while (0)

static void drop_all(struct fake *f)
{
	for (int i = 0; i < FAKE_LINKS; i++)
		if (f->links[i].fd >= 0)
			drop(&f->links[i]);
}

static void stop_listening(struct fake *f)
{
	f->listening = false;
	if (f->listener >= 0)
		close(f->listener);
	f->listener = -1;
	unlink(f->path);
	drop_all(f);
}

static void start_listening(struct fake *f)
{
	f->listening = true;
	if (f->listener < 0)
		fake_bind(f);
}

void fake_listen(struct fake *f, bool on)
{
	CHANGE(f, on ? start_listening(f) : stop_listening(f));
}

void fake_hold(struct fake *f, bool on) { CHANGE(f, f->hold = on); }
void fake_deaf(struct fake *f, bool on) { CHANGE(f, f->deaf = on); }
void fake_drip(struct fake *f, bool on) { CHANGE(f, f->drip = on); }
void fake_cut_in(struct fake *f, int64_t n) { CHANGE(f, (f->cut_in = n, f->has_cut = false)); }
void fake_cut_out(struct fake *f, int64_t n) { CHANGE(f, (f->cut_out = n, f->has_cut = false)); }
void fake_cut_all(struct fake *f) { CHANGE(f, drop_all(f)); }

void fake_answer(struct fake *f, const char *name, const char *resp)
{
	struct canned *c = calloc(1, sizeof(*c));

	c->command = strdup(name);
	c->resp = strdup(resp);
	CHANGE(f, (c->next = f->canned, f->canned = c));
}

bool fake_has_cut(struct fake *f)
{
	bool has;

	pthread_mutex_lock(&f->lock);
	has = f->has_cut;
	pthread_mutex_unlock(&f->lock);
	return has;
}

struct fake_seen fake_seen(struct fake *f)
{
	struct fake_seen seen;

	pthread_mutex_lock(&f->lock);
	seen = f->seen;
	pthread_mutex_unlock(&f->lock);
	return seen;
}

unsigned fake_times(struct fake *f, const char *word)
{
	unsigned n = 0;
	size_t len = strlen(word);

	pthread_mutex_lock(&f->lock);
	for (int i = 0; i < 256; i++)
		for (struct tally *t = f->tallies[i]; t; t = t->next)
			if (t->len == len && memcmp(t->word, word, len) == 0)
				n = t->n;
	pthread_mutex_unlock(&f->lock);
	return n;
}

void fake_free(struct fake *f)
{
	CHANGE(f, f->over = true);
	pthread_join(f->thread, NULL);
	stop_listening(f);
	close(f->wake);
	while (f->canned) {
		struct canned *c = f->canned;

		f->canned = c->next;
		free(c->command);
		free(c->resp);
		free(c);
	}
	for (int i = 0; i < 256; i++) {
		while (f->tallies[i]) {
			struct tally *t = f->tallies[i];

			f->tallies[i] = t->next;
			free(t);
		}
	}
	free(f);
}
