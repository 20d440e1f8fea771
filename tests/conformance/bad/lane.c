/* SPDX-License-Identifier: Apache-2.0
 *
 * A WIRE plugin with one link a context: the setting `fault` says what is wrong with it.  Without a
 * fault it is a small, honest one (RESP2, shared route, whole replies), so that the kit's tests of
 * links are seen to pass and to fail.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <purser/plugin.h>
#include <purser/resp.h>

enum fault {
	NONE,
	SAYS_NOT,
	SAYS_MAYBE,
	RESENDS,
	SHIFTS,
	UNBOUNDED,
	NO_READY,
	REVERSED,
	NO_SKIP,
	RAW_ERRORS,
	DIES
};
#define FAULTS                                                                                     \
	"none|says_not|says_maybe|resends|shifts|unbounded|no_ready|reversed|no_skip|raw_errors|"  \
	"dies"
#define WINDOW 256
#define CHUNK 65536

struct lane {
	purser_ctx *x;
	int fd;
	purser_call *head, *tail, *encode; /* in flight; the first that is not all encoded */
	unsigned ncalls, skipped;          /* replies swallowed for head */
	int again;
	uint8_t out[CHUNK];
	size_t out_at, out_end;
	uint64_t put, sent; /* bytes of the link's life: encoded, and handed to the kernel */
	uint8_t *in;
	size_t in_n, in_cap;
};

static const purser_host *h;
static enum fault fault;
static char path[108];

static void lane_io(void *arg, int fd, uint32_t events);
static void lane_flush(void *cs);

/* user[0]: the link's byte behind the call's last one; 0: not all encoded. */
static uint64_t end_of(const purser_call *c) { return (uint64_t)(uintptr_t)c->user[0]; }

static int lane_connect(struct lane *l)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (l->fd >= 0)
		return 0;
	memcpy(sa.sun_path, path, sizeof(path));
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd >= 0 && connect(l->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
	    h->watch(l->x, l->fd, PURSER_IO_IN | PURSER_IO_OUT, lane_io, l) == 0)
		return 0;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	return -1;
}

static void tell_ready(struct lane *l)
{
	if (l->again && fault != NO_READY)
		h->ready(l->x, PURSER_ROUTE_SHARED);
	l->again = 0;
}

static void fail_one(const struct lane *l, purser_call *c, uint32_t code)
{
	uint32_t executed =
		end_of(c) && end_of(c) <= l->sent ? PURSER_MAYBE_EXECUTED : PURSER_NOT_EXECUTED;

	if (fault == SAYS_NOT)
		executed = PURSER_NOT_EXECUTED;
	if (fault == SAYS_MAYBE)
		executed = PURSER_MAYBE_EXECUTED;
	h->fail(c, code, executed, strerror(errno));
}

static void fail_all(struct lane *l, purser_call *c, uint32_t code)
{
	purser_call *next;

	if (!c)
		return;
	next = c->link;
	if (fault == REVERSED)
		fail_all(l, next, code);
	fail_one(l, c, code);
	if (fault != REVERSED)
		fail_all(l, next, code);
}

static void lane_lost(struct lane *l, uint32_t code)
{
	purser_call *all = l->head;

	if (fault == DIES && all)
		abort();
	h->watch(l->x, l->fd, 0, NULL, NULL);
	close(l->fd);
	l->fd = -1;
	l->out_at = l->out_end = l->in_n = 0;
	l->put = l->skipped = 0;
	if (fault == RESENDS && all && lane_connect(l) == 0) {
		for (purser_call *c = all; c; c = c->link) {
			h->rewind(c);
			c->user[0] = NULL;
		}
		l->sent = 0;
		l->encode = all;
		lane_flush(l);
		return;
	}
	l->head = l->tail = l->encode = NULL;
	l->ncalls = 0;
	fail_all(l, all, code);
	l->sent = 0;
	tell_ready(l);
}

static void encode_some(struct lane *l)
{
	if (l->out_at == l->out_end)
		l->out_at = l->out_end = 0;
	while (l->encode && l->out_end < CHUNK) {
		int more;
		size_t n = h->encode(l->encode, l->out + l->out_end, CHUNK - l->out_end, &more);

		l->out_end += n;
		l->put += n;
		if (more != PURSER_ENCODE_DONE)
			return;
		l->encode->user[0] = (void *)(uintptr_t)l->put;
		l->encode = l->encode->link;
	}
}

static void tell_sent(struct lane *l, uint64_t before)
{
	for (purser_call *c = l->head; c && end_of(c) && end_of(c) <= l->sent; c = c->link)
		if (end_of(c) > before)
			h->sent(c);
}

static void lane_flush(void *cs)
{
	struct lane *l = cs;

	while (l->fd >= 0) {
		uint64_t before = l->sent;
		ssize_t n;

		encode_some(l);
		if (l->out_at == l->out_end)
			return;
		n = send(l->fd, l->out + l->out_at, l->out_end - l->out_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			lane_lost(l, PURSER_E_IO);
			return;
		}
		l->out_at += (size_t)n;
		l->sent += (uint64_t)n;
		tell_sent(l, before);
	}
}

/* One whole reply at p[0..n). */
static void reply(struct lane *l, const uint8_t *p, size_t n)
{
	purser_call *c = l->head;

	if (l->skipped < c->skip && fault != NO_SKIP) {
		l->skipped++;
		return;
	}
	l->skipped = 0;
	l->head = c->link;
	if (!l->head)
		l->tail = NULL;
	l->ncalls--;
	if (*p == '!') { /* "!8\r\nERR text\r\n" */
		const uint8_t *text = (const uint8_t *)memchr(p, '\n', n) + 1;

		h->error(c, (const char *)text, (size_t)(p + n - 2 - text));
	} else if (*p == '-' && fault != RAW_ERRORS) {
		h->error(c, (const char *)p + 1, n - 3);
	} else {
		h->raw(c, p, n);
	}
	h->end(c);
}

static int replies(struct lane *l)
{
	size_t at = 0;

	while (at < l->in_n && l->head) {
		purser_scan s;
		int64_t n;

		purser_scan_begin(&s);
		n = purser_scan_feed(&s, l->in + at, l->in_n - at);
		if (n < 0)
			return -1;
		if (!purser_scan_done(&s))
			break;
		reply(l, l->in + at, (size_t)n);
		at += (size_t)n;
	}
	memmove(l->in, l->in + at, l->in_n - at);
	l->in_n -= at;
	return 0;
}

static void lane_io(void *arg, int fd, uint32_t events)
{
	struct lane *l = arg;

	(void)events;
	while (l->fd == fd) {
		ssize_t n;

		if (l->in_cap - l->in_n < CHUNK)
			l->in = realloc(l->in, l->in_cap += CHUNK);
		n = recv(fd, l->in + l->in_n, CHUNK, 0);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			lane_lost(l, PURSER_E_IO);
			return;
		}
		l->in_n += (size_t)n;
		if (replies(l) < 0) {
			purser_call *first = l->head;

			l->head = first->link;
			h->fail(first, PURSER_E_PROTOCOL, PURSER_MAYBE_EXECUTED, "not RESP");
			lane_lost(l, PURSER_E_IO);
			return;
		}
	}
	lane_flush(l);
	if (l->ncalls < WINDOW / 2)
		tell_ready(l);
}

static int lane_submit(void *cs, purser_call *c)
{
	struct lane *l = cs;

	if (l->ncalls >= WINDOW && fault != UNBOUNDED) {
		l->again = 1;
		return PURSER_AGAIN;
	}
	if (c->route != PURSER_ROUTE_SHARED || lane_connect(l) < 0) {
		h->fail(c, c->route ? PURSER_E_UNSUPPORTED : PURSER_E_CONNECT, PURSER_NOT_EXECUTED,
			"no link");
		return PURSER_DONE;
	}
	c->link = NULL;
	if (l->tail)
		l->tail->link = c;
	else
		l->head = c;
	l->tail = c;
	if (!l->encode)
		l->encode = c;
	l->ncalls++;
	return PURSER_PENDING;
}

/* The honest one leaves the call where it is, for its reply will come. */
static void lane_cancel(void *cs, purser_call *c, int why)
{
	struct lane *l = cs;
	purser_call **at = &l->head, *before = NULL;

	(void)why;
	if (fault != SHIFTS || !end_of(c))
		return;
	for (; *at != c; at = &(*at)->link)
		before = *at;
	*at = c->link;
	if (l->tail == c)
		l->tail = before;
	l->ncalls--;
	h->fail(c, PURSER_E_CANCELLED, PURSER_MAYBE_EXECUTED, "as you wish");
}

static void lane_resume(void *cs, purser_call *c, int what) { (void)cs, (void)c, (void)what; }

static int lane_open(void *state, purser_ctx *x, void **cs, purser_error *e)
{
	struct lane *l = calloc(1, sizeof(*l));

	(void)state;
	(void)e;
	l->x = x;
	l->fd = -1;
	*cs = l;
	return 0;
}

static void lane_close(void *cs)
{
	struct lane *l = cs;

	if (l->fd >= 0)
		lane_lost(l, PURSER_E_IO);
	free(l->in);
	free(l);
}

static int lane_start(const purser_host *host, purser_instance *i, void **state, purser_error *e)
{
	purser_bytes url = host->text(i, "url");

	if (url.n < 8 || url.n - 7 >= sizeof(path) || memcmp(url.p, "unix://", 7) != 0) {
		snprintf(e->text, sizeof(e->text), "only unix:// is understood");
		return -1;
	}
	memset(path, 0, sizeof(path));
	memcpy(path, url.p + 7, url.n - 7);
	h = host;
	fault = (enum fault)host->value(i, "fault");
	*state = path;
	return 0;
}

static void lane_stop(void *state) { (void)state; }

static const purser_op ops[] = { { "GET", NULL }, { "SET", NULL }, { "EXISTS", NULL },
	{ "DEL", NULL } };
static const purser_key keys[] = {
	{ .name = "url",
		.type = PURSER_KEY_URL,
		.flags = PURSER_KEY_REQUIRED,
		.doc = "The store." },
	{ .name = "fault",
		.type = PURSER_KEY_ENUM,
		.def = "none",
		.choices = FAULTS,
		.doc = "What is wrong." },
};
static const purser_plugin plugin = {
	.struct_size = sizeof(plugin),
	.api = PURSER_API,
	.name = "lane",
	.version = "1",
	.summary = "One link a context",
	.caps = PURSER_CAP_KV | PURSER_CAP_BATCH,
	.model = PURSER_INLINE,
	.args = PURSER_ARGS_WIRE,
	.keys = keys,
	.nkeys = 2,
	.key_stride = sizeof(*keys),
	.ops = ops,
	.nops = 4,
	.op_stride = sizeof(*ops),
	.start = lane_start,
	.stop = lane_stop,
	.open = lane_open,
	.submit = lane_submit,
	.flush = lane_flush,
	.resume = lane_resume,
	.cancel = lane_cancel,
	.close = lane_close,
};
PURSER_PLUGIN(plugin);
