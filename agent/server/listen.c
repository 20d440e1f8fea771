/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets and accepting.
 */
#include <config.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "server/server.h"

#define BACKLOG 1024
#define PAUSE_NS UINT64_C(100000000)

/* ---- accepting ---- */

struct handover {
	purser_job job;
	struct serving *to;
	int fd;
	bool tcp;
};

static void take_over(void *arg)
{
	struct handover *h = arg;

	conn_accept(h->to, h->fd, h->tcp);
	free(h);
}

static struct serving *least_loaded(struct server *s)
{
	struct serving *best = &s->workers[0];

	for (uint32_t i = 1; i < s->nworkers; i++)
		if (atomic_load_explicit(&s->workers[i].w.nclients, memory_order_relaxed) <
		    atomic_load_explicit(&best->w.nclients, memory_order_relaxed))
			best = &s->workers[i];
	return best;
}

static void place(struct server *s, int fd, bool tcp)
{
	struct serving *to = least_loaded(s);
	struct handover *h;

	atomic_fetch_add_explicit(&s->nclients, 1, memory_order_relaxed);
	if (to == &s->workers[0]) {
		conn_accept(to, fd, tcp);
		return;
	}
	h = malloc(sizeof *h);
	if (!h) {
		conn_accept(&s->workers[0], fd, tcp);
		return;
	}
	*h = (struct handover){ .job = { .fn = take_over, .arg = h }, .to = to, .fd = fd, .tcp = tcp };
	loop_post(to->w.loop, &h->job);
}

static void resume_accept(struct loop_timer *t);

static void on_listen(struct loop_io *io, uint32_t events)
{
	struct listener *l = (struct listener *)((char *)io - offsetof(struct listener, io));
	struct server *s = l->srv;

	(void)events;
	for (;;) {
		int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (fd < 0) { /* no descriptors, no memory: clients wait in the backlog */
			log_event(s->log, LOG_M_SERVER, LOG_WARN, "listener.paused", strerror(errno));
			s->pause.fn = resume_accept;
			loop_timer_set(s->workers[0].w.loop, &s->pause,
			    loop_now(s->workers[0].w.loop) + PAUSE_NS);
			return;
		}
		if (l->tcp && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))
			log_event(s->log, LOG_M_SERVER, LOG_DEBUG, "listener.nodelay", strerror(errno));
		place(s, fd, l->tcp);
	}
}

static void resume_accept(struct loop_timer *t)
{
	struct server *s = (struct server *)((char *)t - offsetof(struct server, pause));

	if (s->unix_listener.io.fn)
		on_listen(&s->unix_listener.io, PURSER_IO_IN);
	if (s->http_listener.io.fn)
		on_listen(&s->http_listener.io, PURSER_IO_IN);
}

static void start_one(struct server *s, struct listener *l, int fd)
{
	if (fd < 0)
		return;
	l->io.fn = on_listen;
	if (loop_watch(s->workers[0].w.loop, &l->io, fd, PURSER_IO_IN))
		log_event(s->log, LOG_M_SERVER, LOG_ERROR, "listener.lost", "cannot watch the socket");
}

void listen_start(struct server *s)
{
	start_one(s, &s->unix_listener, s->unix_listener.fd);
	start_one(s, &s->http_listener, s->http_listener.fd);
}

static void stop_one(struct server *s, struct listener *l)
{
	if (l->io.fn)
		loop_unwatch(s->workers[0].w.loop, &l->io);
	l->io.fn = NULL;
}

void listen_stop(struct server *s)
{
	loop_timer_stop(s->workers[0].w.loop, &s->pause);
	stop_one(s, &s->unix_listener);
	stop_one(s, &s->http_listener);
}

void listen_close(struct server *s)
{
	struct listener *l = &s->unix_listener;
	struct stat st;

	if (l->fd >= 0 && *l->path && stat(l->path, &st) == 0 && st.st_dev == l->dev &&
	    st.st_ino == l->ino && unlink(l->path))
		log_event(s->log, LOG_M_SERVER, LOG_WARN, "listener.unlink", strerror(errno),
		    LOG_STR("path", l->path));
	if (l->fd >= 0)
		close(l->fd);
	if (s->http_listener.fd >= 0)
		close(s->http_listener.fd);
	l->fd = s->http_listener.fd = -1;
}

/* ---- binding ---- */

static int address(struct sockaddr_un *a, const char *path, char *why, size_t whylen)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof a->sun_path) {
		snprintf(why, whylen, "%s: longer than the %zu bytes that a socket path may have", path,
		    sizeof a->sun_path - 1);
		return -1;
	}
	memcpy(a->sun_path, path, strlen(path) + 1);
	return 0;
}

/* A socket file that nobody listens on any more is removed.  -1: somebody does, or it is no socket. */
static int clear_stale(const struct sockaddr_un *a, char *why, size_t whylen)
{
	struct stat st;
	int fd, rc;

	if (lstat(a->sun_path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(why, whylen, "%s: exists and is not a socket: remove it or choose another path "
		    "([agent] socket)", a->sun_path);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		snprintf(why, whylen, "socket: %s", strerror(errno));
		return -1;
	}
	rc = connect(fd, (const struct sockaddr *)a, sizeof *a);
	if (rc == 0 || errno == EAGAIN) {
		snprintf(why, whylen, "%s: another agent is listening there: stop it, or choose another path "
		    "(PURSER_SOCKET or [agent] socket)", a->sun_path);
		close(fd);
		return -1;
	}
	rc = errno == ECONNREFUSED ? unlink(a->sun_path) : -1;
	if (rc)
		snprintf(why, whylen, "%s: %s", a->sun_path, strerror(errno));
	close(fd);
	return rc;
}

static int set_owner(const struct socket_opts *o, char *why, size_t whylen)
{
	gid_t gid;
	char *end;

	if (o->group && *o->group) {
		struct group *g = getgrnam(o->group);

		gid = g ? g->gr_gid : (gid_t)strtoul(o->group, &end, 10);
		if ((!g && *end) || chown(o->path, (uid_t)-1, gid)) {
			snprintf(why, whylen, "%s: cannot give the socket to group %s: %s", o->path, o->group,
			    !g && *end ? "no such group" : strerror(errno));
			return -1;
		}
	}
	if (chmod(o->path, o->mode)) {
		snprintf(why, whylen, "%s: chmod: %s", o->path, strerror(errno));
		return -1;
	}
	return 0;
}

int listen_unix(struct server *s, const struct socket_opts *o, char *why, size_t whylen)
{
	struct listener *l = &s->unix_listener;
	struct sockaddr_un a;
	struct stat st;
	mode_t old;
	int fd, rc;

	if (address(&a, o->path, why, whylen) || clear_stale(&a, why, whylen))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		snprintf(why, whylen, "socket: %s", strerror(errno));
		return -1;
	}
	old = umask(0177); /* nobody gets in before the mode is what it should be */
	rc = bind(fd, (struct sockaddr *)&a, sizeof a);
	umask(old);
	if (rc || listen(fd, BACKLOG)) {
		snprintf(why, whylen, "%s: %s%s", o->path, strerror(errno), errno == ENOENT ?
		    ": make its directory, or choose another path (PURSER_SOCKET or [agent] socket)" : "");
		close(fd);
		return -1;
	}
	if (set_owner(o, why, whylen) || stat(o->path, &st)) {
		unlink(o->path);
		close(fd);
		return -1;
	}
	l->srv = s;
	l->fd = fd;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	snprintf(l->path, sizeof l->path, "%s", o->path);
	return 0;
}

int listen_tcp(struct server *s, const char *host, uint16_t port, char *why, size_t whylen)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr *a = (struct sockaddr *)&a4;
	socklen_t n = sizeof a4;
	int fd, one = 1;

	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &a4.sin_addr) != 1) {
		a = (struct sockaddr *)&a6;
		n = sizeof a6;
		if (inet_pton(AF_INET6, host, &a6.sin6_addr) != 1 || !IN6_IS_ADDR_LOOPBACK(&a6.sin6_addr)) {
			snprintf(why, whylen, "%s: not a loopback address: write 127.0.0.1:PORT or [::1]:PORT", host);
			return -1;
		}
	} else if ((ntohl(a4.sin_addr.s_addr) >> 24) != 127) {
		snprintf(why, whylen, "%s: not a loopback address: write 127.0.0.1:PORT or [::1]:PORT", host);
		return -1;
	}
	fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || bind(fd, a, n) ||
	    listen(fd, BACKLOG)) {
		snprintf(why, whylen, "http_listen %s:%u: %s", host, port, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	s->http_listener.srv = s;
	s->http_listener.fd = fd;
	s->http_listener.tcp = true;
	return 0;
}

/* sd_listen_fds(3): descriptors from 3 on, meant for this process. */
int listen_inherited(struct server *s, char *why, size_t whylen)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	long n = fds ? strtol(fds, NULL, 10) : 0;
	struct sockaddr_un a;
	socklen_t len = sizeof a;
	int type = 0, fd = 3;
	socklen_t tlen = sizeof type;

	if (!pid || strtol(pid, NULL, 10) != (long)getpid() || n < 1)
		return 0;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (n != 1 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &tlen) || type != SOCK_STREAM ||
	    getsockname(fd, (struct sockaddr *)&a, &len) || a.sun_family != AF_UNIX) {
		snprintf(why, whylen, "socket activation: one listening Unix stream socket is expected "
		    "(LISTEN_FDS=%ld)", n);
		return -1;
	}
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, O_NONBLOCK)) {
		snprintf(why, whylen, "socket activation: %s", strerror(errno));
		return -1;
	}
	s->unix_listener.srv = s;
	s->unix_listener.fd = fd; /* the file is systemd's: path stays empty, nothing is unlinked */
	return 1;
}
