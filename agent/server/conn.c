/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection: reading, telling RESP from HTTP, writing, closing.
 */
#include <config.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/sys.h"
#include "request_pubsub.h"
#include "request_feature.h"
#include "server/server.h"

void conn_wake(struct client *cl)
{
	struct conn *c = (struct conn *)cl;

	if (c->dirty)
		return;
	c->dirty = true;
	c->next_dirty = c->sv->dirty;
	c->sv->dirty = c;
	loop_again(c->sv->w.loop);
}

/* ---- writing ---- */

enum { KEEP_BACK = 16384 };

/* A small reply that is still arriving is kept back: until a byte of it is sent it can become an error. */
static size_t sendable(const struct conn *c)
{
	const struct request *r = c->cl.head;
	uint64_t part;

	if (!r || !r->b.began || r->b.stalled || r->sink)
		return c->cl.out.bytes;
	part = out_position(&c->cl.out) - r->start;
	return part < KEEP_BACK && part <= c->cl.out.bytes ? c->cl.out.bytes - (size_t)part : c->cl.out.bytes;
}

/* The first n bytes of what iov[0..count) has; how many elements they take. */
static size_t shorten(struct iovec *iov, size_t count, size_t n)
{
	size_t i;

	for (i = 0; i < count && n; i++) {
		if (iov[i].iov_len > n)
			iov[i].iov_len = n;
		n -= iov[i].iov_len;
	}
	return i;
}

/* Only who had no room once is told of room: else the kernel would wake us for each reply that is read. */
static int await_room(struct conn *c)
{
	if (c->io.watched & PURSER_IO_OUT)
		return 0;
	return loop_watch(c->sv->w.loop, &c->io, c->io.fd, PURSER_IO_IN | PURSER_IO_OUT);
}

static void flush(struct conn *c)
{
	struct out *o = &c->cl.out;
	size_t left = sendable(c);
	struct iovec iov[64];

	while (left && c->writable) {
		struct msghdr msg = { .msg_iov = iov };
		ssize_t n;

		msg.msg_iovlen = (size_t)out_iov(o, iov, 64);
		if (left < o->bytes)
			msg.msg_iovlen = shorten(iov, msg.msg_iovlen, left);
		n = msg.msg_iovlen == 1 ? sys_send(c->io.fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL) :
		    sendmsg(c->io.fd, &msg, MSG_NOSIGNAL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if ((errno == EAGAIN || errno == EWOULDBLOCK) && await_room(c) == 0)
				c->writable = false;
			else
				c->cl.cut = true;
			break;
		}
		metric_add(c->sv->w.metrics, METRIC_CLIENTS_SENT, n);
		out_take(o, &c->sv->w.pool, (size_t)n);
		left -= (size_t)n;
		c->blocked_ns = 0;
	}
	if (left && !c->blocked_ns)
		c->blocked_ns = loop_now(c->sv->w.loop);
}

/* ---- telling RESP from HTTP ---- */

/* The first byte, or the whole first line, decides; CONN_SNIFF: more bytes are needed. */
static enum conn_proto sniff(const struct conn *c, const uint8_t *p, size_t n)
{
	const uint8_t *nl;
	size_t len;

	if (c->tcp)
		return CONN_HTTP;
	if (p[0] == '*')
		return CONN_RESP;
	nl = memchr(p, '\n', n);
	if (!nl)
		return n > c->sv->limits.resp.max_inline ? CONN_RESP : CONN_SNIFF;
	len = (size_t)(nl - p);
	if (len && p[len - 1] == '\r')
		len--;
	if (len >= 9 && memcmp(p + len - 9, " HTTP/1.", 8) == 0)
		return CONN_HTTP;
	return CONN_RESP;
}

static size_t feed(struct conn *c, uint8_t *p, size_t n)
{
	uint64_t before = c->cl.commands;
	size_t used;

	if (c->cl.gen != c->sv->w.gen)
		client_migrate(&c->cl);
	if (c->proto == CONN_SNIFF) {
		c->proto = (uint8_t)sniff(c, p, n);
		if (c->proto == CONN_SNIFF)
			return 0;
	}
	used = c->proto == CONN_RESP ? conn_feed_resp(c, p, n) : conn_feed_http(c, p, n);
	c->fair.bytes += used == FEED_TOOK ? READ_BLOCK : used;
	fair_started(c, (uint32_t)(c->cl.commands - before));
	return used;
}

/* ---- reading ---- */

static void feed_own(struct conn *c)
{
	while (buf_len(&c->in) && !c->hungry && !c->stream && conn_may_read(c)) {
		size_t used = feed(c, buf_data(&c->in), buf_len(&c->in));

		if (used == FEED_TOOK)
			continue;
		buf_take(&c->in, used);
		/* only nothing used means incomplete: a large request may want to come again at the front */
		if (!used && buf_len(&c->in) && conn_may_read(c))
			c->hungry = true;
	}
	if (!buf_len(&c->in) && c->in.cap && !c->stream)
		buf_free(&c->in);
}

/* What is left of the shared block becomes the connection's own. */
static void keep(struct conn *c, const uint8_t *p, size_t n)
{
	if (!n || c->cl.quit)
		return;
	buf_put(&c->in, p, n);
	c->hungry = conn_may_read(c);
	if (c->in.failed)
		c->cl.cut = true;
}

/* Closed in both directions, or only shut down for writing (a pipe into nc)? */
static bool hung_up(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

size_t conn_receive(struct conn *c, void *p, size_t n)
{
	ssize_t got;

	do {
		got = sys_recv(c->io.fd, p, n, 0);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		c->readable = false;
		return 0;
	}
	if (got <= 0) {
		c->eof = true;
		c->readable = false;
		c->hup = got < 0 || hung_up(c->io.fd);
		return 0;
	}
	if ((size_t)got < n && !c->ending)
		c->readable = false; /* edge-triggered: a short read has emptied it */
	metric_add(c->sv->w.metrics, METRIC_CLIENTS_RECEIVED, got);
	c->last_ns = loop_now(c->sv->w.loop);
	return (size_t)got;
}

static void feed_shared(struct conn *c, uint8_t *p, size_t n)
{
	size_t at = n ? feed(c, p, n) : 0;

	keep(c, p + at, n - at);
}

/* What was gathered is parsed, in the order in which it came. */
static void feed_gathered(struct serving *s)
{
	uint32_t n = s->ngathered;

	if (n > 1)
		conn_look_ahead_all(s->gathered, n);
	for (uint32_t i = 0; i < n; i++) {
		struct conn *c = s->gathered[i].c;

		c->gathered = false;
		if (!c->closing)
			feed_shared(c, s->gathered[i].p, s->gathered[i].n);
	}
	s->ngathered = 0;
	s->gathered_bytes = 0;
}

/* Read now, parsed when the others that are ready have been read too: then a backend can fetch the keys of all
 * of them at once. */
static void gather(struct conn *c)
{
	struct serving *s = c->sv;
	uint8_t *p = s->scratch + s->gathered_bytes;
	size_t n = conn_receive(c, p, READ_BLOCK);

	if (!n)
		return;
	c->gathered = true;
	s->gathered[s->ngathered++] = (struct read_in){ c, p, n };
	s->gathered_bytes += n;
	if (s->ngathered == GATHER_MAX || s->gathered_bytes > READ_BLOCK)
		feed_gathered(s);
}

static void told(struct loop_hook *h)
{
	feed_gathered((struct serving *)((char *)h - offsetof(struct serving, told)));
}

static void read_own(struct conn *c)
{
	/* What is large may pass through instead of gathering here: that is decided before much of it is read. */
	bool first = buf_len(&c->in) <= READ_BLOCK;
	size_t want = READ_BLOCK, room;

	if (c->parser && !first) { /* a large value: all of what is missing, a part at a time */
		size_t miss = resp_missing(c->parser, buf_len(&c->in));

		want = miss < 16 * READ_BLOCK ? miss : 16 * READ_BLOCK;
		want = want < READ_BLOCK / 4 ? READ_BLOCK / 4 : want;
	}
	if (buf_room(&c->in, want)) {
		conn_refuse(c, ERR_TOOBIG, NULL);
		return;
	}
	room = c->in.cap - c->in.end;
	c->in.end += conn_receive(c, c->in.p + c->in.end, first && room > want ? want : room);
	c->hungry = false;
	feed_own(c);
}

/* Does it write a whole pipeline before it reads?  Then it will not read while it cannot write, and its
 * requests wait here. */
static bool gathers(const struct conn *c)
{
	return c->proto == CONN_RESP && !c->stream && !c->writable && c->cl.out.bytes && !c->cl.quit &&
	    buf_len(&c->in) < c->sv->limits.input_limit && !conn_may_read(c);
}

static void read_ahead(struct conn *c)
{
	if (buf_room(&c->in, READ_BLOCK)) {
		conn_refuse(c, ERR_TOOBIG, NULL);
		return;
	}
	c->in.end += conn_receive(c, c->in.p + c->in.end, c->in.cap - c->in.end);
	c->hungry = false;
}

static bool may_receive(const struct conn *c)
{
	if (gathers(c))
		return true;
	/* What it has sent before comes first: more would only gather here. */
	return c->stream ? conn_stream_reads(c) : conn_may_read(c) && (!buf_len(&c->in) || c->hungry);
}

/* Read once; what is left comes in the next turn, so that one client does not starve the others. */
static void conn_read(struct conn *c, bool in_company)
{
	if (c->stream)
		conn_stream_read(c);
	else if (gathers(c))
		read_ahead(c);
	else if (buf_len(&c->in))
		read_own(c);
	else if (in_company || c->sv->ngathered) /* what others have sent is in the block until it is parsed */
		gather(c);
	else
		feed_shared(c, c->sv->scratch, conn_receive(c, c->sv->scratch, READ_BLOCK));
	if (c->readable || c->eof)
		conn_wake(&c->cl);
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct conn *c = (struct conn *)((char *)io - offsetof(struct conn, io));

	if (events & PURSER_IO_OUT && !c->writable) {
		c->writable = true;
		conn_wake(&c->cl);
	}
	if (events & PURSER_IO_HUP) {
		c->ending = true;
		if (client_waits(&c->cl) || c->cl.streams) /* what it sent behind that is not read: see settle() */
			conn_wake(&c->cl);
	}
	if (events & (PURSER_IO_IN | PURSER_IO_HUP) && !c->eof)
		c->readable = true;
	if (c->eof && events & PURSER_IO_HUP && hung_up(io->fd)) {
		c->hup = true;
		conn_wake(&c->cl);
	}
	if (c->gathered) {
		if (c->readable || c->eof)
			conn_wake(&c->cl); /* first what is here already */
	} else if (c->readable && may_receive(c) && !(c->sv->fair.on && fair_waits(c))) {
		conn_read(c, !c->sv->fair.on);
	}
}

/* ---- closing ---- */

static void conn_free(struct conn *c)
{
	conn_http_free(c);
	conn_events_free(c);
	conn_stream_free(c);
	if (c->parser) {
		resp_parser_free(c->parser);
		free(c->parser);
	}
	buf_free(&c->in);
	client_free(&c->cl); /* after this no plugin knows of it */
	free(c);
}

void conn_close(struct conn *c)
{
	int fd = c->io.fd;

	if (c->closing)
		return;
	c->closing = true;
	fair_close(c);
	loop_unwatch(c->sv->w.loop, &c->io);
	close(fd);
	atomic_fetch_sub_explicit(&c->sv->srv->nclients, 1, memory_order_relaxed);
	metric_add(c->sv->w.metrics, METRIC_CLIENTS, -1);
	client_gone(&c->cl);
	conn_wake(&c->cl); /* freed in a turn's end, when no plugin holds anything of it */
}

void conn_refuse(struct conn *c, enum err_code code, const char *text)
{
	struct request *r = req_new(&c->cl, NULL, 0); /* its reply comes behind those still owed */

	metric_cell_add(metric_cell(c->sv->w.metrics, METRIC_PROTOCOL_ERRORS,
	    c->proto == CONN_HTTP ? "http" : "resp"), 1);
	log_event(c->sv->w.log, LOG_M_SERVER, LOG_INFO, "client.protocol_error",
	    text ? text : err_rows[code].text, LOG_UINT("client.id", c->cl.session.id),
	    LOG_UINT("pid", c->cl.id.peer.pid));
	c->cl.quit = true;
	buf_clear(&c->in);
	if (!r) {
		c->cl.cut = true;
	} else {
		reply_failure(&r->b, code, text);
		req_finish(r);
	}
	conn_wake(&c->cl);
}

/* ---- the turn's end ---- */

static bool more_to_start(const struct conn *c)
{
	return conn_may_read(c) && (c->readable || (buf_len(&c->in) && !c->hungry));
}

/* What was waiting for a reply, for room or for its turn. */
void conn_go_on(struct conn *c)
{
	if (c->closing || c->cl.cut)
		return;
	if (c->proto == CONN_HTTP)
		conn_http_step(c);
	if (c->cl.held && !req_resume(&c->cl))
		return;
	if (c->stream)
		conn_stream_step(c);
	if (c->sv->fair.on && more_to_start(c) && fair_waits(c))
		return;
	feed_own(c);
	if (c->readable && may_receive(c))
		conn_read(c, false);
}

static bool can_go_on(const struct conn *c)
{
	const struct client *cl = &c->cl;

	if (c->readable && gathers(c))
		return true;
	if (cl->held)
		return cl->head == cl->held && !cl->session.inflight && !cl->held->touch;
	if (c->busy)
		return conn_http_may_step(c);
	if (c->stream)
		return conn_stream_may_step(c);
	return more_to_start(c);
}

/* Everything that was asked is answered and sent, and nothing more can be asked. */
static bool finished(const struct conn *c)
{
	if (c->fair.waits)
		return false;
	if (c->hup && c->eof && !c->readable && !can_go_on(c))
		return true;
	return !c->cl.head && !c->cl.out.bytes && !c->busy && (c->cl.quit || (c->eof && !can_go_on(c)));
}

/* Nobody waits for what waits in the store any more, or for events, though there may be unread requests behind it.  Over
 * TCP a client that is gone looks like one that says no more: such a one has no use for events. */
static bool left_waiting(const struct conn *c)
{
	return c->ending && (client_waits(&c->cl) || c->cl.streams) && ((c->cl.streams && c->tcp) || hung_up(c->io.fd));
}

static void settle(struct conn *c)
{
	struct request *head;

	c->share = 0;
	if (c->fair.flow)
		fair_settle(c);
	if (c->closing) {
		if (client_idle(&c->cl))
			conn_free(c);
		return;
	}
	if (!c->cl.cut)
		flush(c);
	if (c->cl.cut || finished(c) || left_waiting(c)) {
		conn_close(c);
		return;
	}
	if (c->cl.gen != c->sv->w.gen)
		client_migrate(&c->cl); /* what was under way at the reload may be over now */
	head = c->cl.head;
	if (head && head->b.stalled && c->cl.out.bytes < c->sv->limits.output_limit)
		ctx_resume(head->b.c.ctx, &head->b);
	if (can_go_on(c))
		conn_wake(&c->cl);
}

/* Each upstream is flushed once, then each client. */
static void flush_all(struct serving *s)
{
	struct conn *list, *c;

	for (uint32_t i = 0; i < INSTANCES_MAX; i++)
		if (s->w.ctx[i])
			ctx_turn(s->w.ctx[i]);
	list = s->dirty;
	s->dirty = NULL;
	while ((c = list)) {
		list = c->next_dirty;
		c->dirty = false;
		settle(c);
	}
}

static void turn(struct loop_hook *h)
{
	struct serving *s = (struct serving *)((char *)h - offsetof(struct serving, hook));

	s->w.in_turn = true;
	children_run(&s->w);
	/* What can go on makes new requests. */
	for (struct conn *c = s->dirty; c; c = c->next_dirty)
		conn_go_on(c);
	if (s->fair.drr.head) {
		if (fair_shared(s))
			flush_all(s);
		fair_turn(s);
	}
	children_run(&s->w);
	s->w.in_turn = false;
	batches_send(&s->w);
	flush_all(s);
	if (s->fair.on || s->fair.started)
		fair_turn_ends(s);
}

/* ---- accepting ---- */

static void refuse_client(struct serving *s, int fd, const char *reason, const char *text)
{
	metric_cell_add(metric_cell(s->w.metrics, METRIC_CLIENTS_REJECTED, reason), 1);
	log_event(s->w.log, LOG_M_SERVER, LOG_WARN, "client.rejected", text);
	if (send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_event(s->w.log, LOG_M_SERVER, LOG_DEBUG, "client.rejected.unsaid", strerror(errno));
	close(fd);
	atomic_fetch_sub_explicit(&s->srv->nclients, 1, memory_order_relaxed);
}

static const char busy_http[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
    "Connection: close\r\n\r\n";

void conn_accept(struct serving *s, int fd, bool tcp)
{
	struct conn *c;

	if (s->w.draining) {
		refuse_client(s, fd, "shutdown", tcp ? busy_http : "-BACKENDDOWN the agent is shutting down\r\n");
		return;
	}
	if (atomic_load_explicit(&s->srv->nclients, memory_order_relaxed) > s->limits.max_clients) {
		refuse_client(s, fd, "limit", tcp ? busy_http : "-ERR max number of clients reached\r\n");
		return;
	}
	c = calloc(1, sizeof *c);
	if (!c) {
		refuse_client(s, fd, "memory", "-OOM out of memory\r\n");
		return;
	}
	c->sv = s;
	c->tcp = tcp;
	c->writable = true;
	c->allow = TURN_REQUESTS;
	c->in.max = s->limits.resp.max_request + READ_BLOCK;
	c->io.fn = on_io;
	c->accepted_ns = c->last_ns = loop_now(s->w.loop);
	c->cl.session.id = atomic_fetch_add_explicit(&s->srv->next_id, 1, memory_order_relaxed) + 1;
	c->cl.wake = conn_wake;
	c->cl.since_ms = loop_wall_ms(s->w.loop);
	c->cl.id.peer = PEER_NOBODY;
	if (!tcp && peer_read(fd, &c->cl.id.peer))
		log_event(s->w.log, LOG_M_ACCESS, LOG_WARN, "client.peer", "the kernel does not say who connected: "
		    "this client is nobody");
	if (loop_watch(s->w.loop, &c->io, fd, PURSER_IO_IN)) {
		refuse_client(s, fd, "memory", "-OOM out of memory\r\n");
		peer_free(&c->cl.id.peer);
		free(c);
		return;
	}
	c->cl.anonymous = tcp;
	c->cl.id.source = peer_known(&c->cl.id.peer) ? IDENTITY_PEER : IDENTITY_NOBODY;
	client_init(&c->cl, &s->w);
	metric_add(s->w.metrics, METRIC_CLIENTS_ACCEPTED, 1);
	metric_add(s->w.metrics, METRIC_CLIENTS, 1);
}

/* ---- a worker that serves ---- */

/* How long a client may leave its replies unread: slow_reader_timeout, but where others wait for theirs behind
 * it only so long that these still come in time. */
static uint64_t patience(const struct serving *s, const struct conn *c)
{
	const struct request *r = c->cl.head;
	uint64_t ns;

	if (!r || !r->b.stalled || !ctx_holds_up(r->b.c.ctx, &r->b))
		return s->limits.slow_reader_ns;
	ns = r->b.c.ctx->inst->operation_timeout_ns / 4;
	return ns < s->limits.slow_reader_ns ? ns : s->limits.slow_reader_ns;
}

static void look_after(struct serving *s, struct conn *c, uint64_t now)
{
	if (c->closing)
		return;
	if (c->events)
		conn_events_beat(c, now);
	if (c->blocked_ns && now - c->blocked_ns > patience(s, c)) {
		metric_cell_add(metric_cell(s->w.metrics, METRIC_CLIENTS_CUT, "slow_reader"), 1);
		log_event(s->w.log, LOG_M_SERVER, LOG_WARN, "client.slow",
		    "a client that does not read its replies is cut (slow_reader_timeout)",
		    LOG_UINT("client.id", c->cl.session.id), LOG_UINT("pid", c->cl.id.peer.pid),
		    LOG_UINT("waiting", c->cl.out.bytes));
		c->cl.cut = true;
		conn_wake(&c->cl);
	} else if (s->limits.idle_ns && !c->cl.quit && !client_listens(&c->cl) && !c->cl.bonds && !c->cl.streams && !c->cl.head && now - c->last_ns > s->limits.idle_ns) {
		metric_cell_add(metric_cell(s->w.metrics, METRIC_CLIENTS_CUT, "idle"), 1);
		c->cl.quit = true;
		conn_wake(&c->cl);
	}
}

static void tick(struct loop_timer *t)
{
	struct serving *s = (struct serving *)((char *)t - offsetof(struct serving, tick));
	uint64_t now = loop_now(s->w.loop);

	for (struct client *c = s->w.clients; c; c = c->next)
		look_after(s, (struct conn *)c, now);
	loop_timer_set(s->w.loop, &s->tick, now + UINT64_C(1000000000));
}

int serving_init(struct serving *s, struct server *srv)
{
	s->srv = srv;
	s->scratch = malloc(2 * READ_BLOCK);
	if (!s->scratch)
		return -ENOMEM;
	s->w.pool.max = 64;
	fair_init(s);
	s->hook.fn = turn;
	loop_hook_add(s->w.loop, &s->hook);
	s->told.fn = told;
	loop_told_add(s->w.loop, &s->told);
	s->tick.fn = tick;
	return 0;
}

void serving_start(struct serving *s)
{
	loop_timer_set(s->w.loop, &s->tick, loop_now(s->w.loop) + UINT64_C(1000000000));
}

void serving_close_all(struct serving *s, bool now)
{
	for (struct client *c = s->w.clients; c; c = c->next) {
		c->quit = true;
		c->cut |= now;
		if (!now && !c->gone)
			while (client_unblock(c, true) && c->head && c->head->waits)
				; /* of what waits side by side */
		conn_wake(c);
	}
}

void serving_free(struct serving *s)
{
	loop_timer_stop(s->w.loop, &s->tick);
	resp_parser_free(&s->parser);
	free(s->scratch);
	fair_free(s);
	worker_end_requests(&s->w);
	worker_end_children(&s->w);
	worker_end_batches(&s->w);
}
