/* SPDX-License-Identifier: Apache-2.0
 *
 * See redis_host.h.
 */
#include <config.h>
#include "redis_host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

const purser_plugin *purser_plugin_init(void);

static const purser_host table;

/* ---- arguments and replies ------------------------------------------------------------------------- */

static struct call *of(purser_call *c)
{
	struct call *k = (struct call *)c;

	assert_true(k->submitted);
	assert_false(k->ended);
	return k;
}

static size_t h_encode(purser_call *c, void *dst, size_t cap, int *more)
{
	struct call *k = of(c);
	size_t end = k->ready_n < k->wire_n ? k->ready_n : k->wire_n, n = end - k->wire_at;

	assert_true(cap >= 16);
	if (n > cap)
		n = cap;
	if (c->ctx->encode_max && n > c->ctx->encode_max)
		n = c->ctx->encode_max;
	memcpy(dst, k->wire + k->wire_at, n);
	k->wire_at += n;
	*more = k->wire_at == k->wire_n ? PURSER_ENCODE_DONE : k->wire_at == end ? PURSER_ENCODE_WAIT :
	    PURSER_ENCODE_FULL;
	return n;
}

static int64_t h_raw(purser_call *c, const void *p, size_t n)
{
	struct call *k = of(c);

	assert_true(n > 0);
	assert_true(k->was_sent);
	assert_false(k->got_error);
	assert_false(k->stalled); /* it was told to stop */
	if (k->reply_n + n > k->reply_cap) {
		k->reply_cap = (k->reply_n + n) * 2;
		k->reply = realloc(k->reply, k->reply_cap);
		assert_non_null(k->reply);
	}
	memcpy(k->reply + k->reply_n, p, n);
	k->reply_n += n;
	if (!k->credit || (int64_t)k->reply_n < k->credit)
		return INT32_MAX;
	k->stalled = true;
	return 0;
}

static void h_error(purser_call *c, const char *text, size_t n)
{
	struct call *k = of(c);

	assert_int_equal(k->reply_n, 0);
	assert_false(k->got_error);
	k->got_error = true;
	snprintf(k->error, sizeof(k->error), "%.*s", (int)n, text);
}

static void h_sent(purser_call *c)
{
	struct call *k = of(c);

	assert_false(k->was_sent);
	assert_int_equal(k->wire_at, k->wire_n);
	k->was_sent = true;
}

static void h_via(purser_call *c, uint32_t endpoint)
{
	assert_int_equal(endpoint, 7);
	of(c)->via = true;
}

static void ended(struct call *k)
{
	struct purser_ctx *x = k->c.ctx;
	struct purser_session *s = k->c.session;

	assert_true(k->via);
	k->ended = true;
	k->order = ++x->ended;
	x->pending--;
	if (s && !s->mixed && !k->cancelled) { /* rule 10 */
		assert_true(k->seq > s->ended);
		s->ended = k->seq;
	}
	if (k->check)
		k->check(k);
}

static void h_end(purser_call *c)
{
	struct call *k = of(c);

	assert_true(k->reply_n > 0 || k->got_error);
	ended(k);
}

static void h_fail(purser_call *c, uint32_t code, uint32_t executed, const char *text)
{
	struct call *k = of(c);

	k->failed = true;
	k->code = code;
	k->executed = executed;
	snprintf(k->error, sizeof(k->error), "%s", text);
	if (k->was_sent)
		assert_int_not_equal(executed, PURSER_NOT_EXECUTED);
	else
		assert_int_equal(executed, PURSER_NOT_EXECUTED);
	if (k->reply_n)
		assert_int_equal(executed, PURSER_EXECUTED);
	k->via = true; /* a call that never got a link has none */
	ended(k);
}

static void h_ready(purser_ctx *x, uint32_t route)
{
	(void)route;
	x->ready = true;
	x->readies++;
}

static void **h_slot(purser_session *s, purser_ctx *x)
{
	(void)x;
	return &s->slot;
}

/* ---- loop ------------------------------------------------------------------------------------------ */

struct watch {
	struct loop_io io;
	struct watch *next;
	purser_io_fn fn;
	void *arg;
	struct purser_ctx *x;
};

struct timer {
	struct loop_timer t;
	struct timer *next;
	uint64_t id;
	purser_fn fn;
	void *arg;
	struct purser_ctx *x;
};

static void watch_fire(struct loop_io *io, uint32_t events)
{
	struct watch *w = (struct watch *)io;

	w->fn(w->arg, io->fd, events);
}

static int h_watch(purser_ctx *x, int fd, uint32_t events, purser_io_fn fn, void *arg)
{
	struct watch *w;

	for (w = x->watches; w && w->io.fd != fd; w = w->next)
		;
	if (!events) {
		assert_non_null(w);
		loop_unwatch(x->loop, &w->io);
		return 0;
	}
	for (struct watch *q = x->watches; !w && q; q = q->next)
		if (q->io.fd == -1)
			w = q;
	if (!w) {
		w = calloc(1, sizeof(*w));
		assert_non_null(w);
		w->io.fd = -1;
		w->io.fn = watch_fire;
		w->next = x->watches;
		x->watches = w;
	}
	w->fn = fn;
	w->arg = arg;
	assert_int_equal(loop_watch(x->loop, &w->io, fd, events), 0);
	return 0;
}

static void timer_fire(struct loop_timer *lt)
{
	struct timer *t = (struct timer *)lt, **p = (struct timer **)&t->x->timers;
	purser_fn fn = t->fn;
	void *arg = t->arg;

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	free(t);
	fn(arg);
}

static uint64_t h_timer(purser_ctx *x, uint64_t delay_ns, purser_fn fn, void *arg)
{
	struct timer *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->t.fn = timer_fire;
	t->x = x;
	t->fn = fn;
	t->arg = arg;
	t->id = ++x->timer_ids;
	t->next = x->timers;
	x->timers = t;
	assert_int_equal(loop_timer_set(x->loop, &t->t, loop_now(x->loop) + delay_ns), 0);
	return t->id;
}

static void h_untimer(purser_ctx *x, uint64_t id)
{
	for (struct timer **p = (struct timer **)&x->timers; *p; p = &(*p)->next)
		if ((*p)->id == id) {
			struct timer *t = *p;

			*p = t->next;
			loop_timer_stop(x->loop, &t->t);
			free(t);
			return;
		}
}

static uint64_t h_now(purser_ctx *x) { return loop_now(x->loop); }
static uint64_t h_wall_ms(purser_ctx *x) { return loop_wall_ms(x->loop); }
static void h_post(purser_ctx *x, purser_job *job) { loop_post(x->loop, job); }

struct offload { purser_ctx *x; purser_job *work, *done; };

static void *offload_thread(void *arg)
{
	struct offload o = *(struct offload *)arg;

	free(arg);
	o.work->fn(o.work->arg);
	loop_post(o.x->loop, o.done);
	return NULL;
}

static void h_offload(purser_ctx *x, purser_job *work, purser_job *done)
{
	struct offload *o = malloc(sizeof(*o));

	assert_non_null(o);
	*o = (struct offload){ x, work, done };
	assert_true(x->offloaded < sizeof(x->threads) / sizeof(x->threads[0]));
	assert_int_equal(pthread_create(&x->threads[x->offloaded], NULL, offload_thread, o), 0);
	x->offloaded++;
}

/* ---- settings and accounts ------------------------------------------------------------------------- */

static const char *setting(purser_instance *i, const char *key)
{
	for (unsigned k = 0; k < i->nset; k++)
		if (strcmp(i->set[k].key, key) == 0)
			return i->set[k].text;
	return NULL;
}

static purser_bytes h_text(purser_instance *i, const char *key)
{
	const char *s = setting(i, key);

	return (purser_bytes){ (const uint8_t *)s, s ? strlen(s) : 0 };
}

/* The place of word among "a|b|c". */
static int64_t choice(const char *choices, const char *word)
{
	size_t n = strlen(word);

	for (int64_t at = 0; choices; at++) {
		if (strcspn(choices, "|") == n && memcmp(choices, word, n) == 0)
			return at;
		choices = strchr(choices, '|');
		choices += choices != NULL;
	}
	fail_msg("%s is not one of the choices", word);
	return 0;
}

static int64_t h_value(purser_instance *i, const char *key)
{
	const struct purser_ctx *x = (struct purser_ctx *)((char *)i - offsetof(struct purser_ctx, inst));
	const char *s = setting(i, key);
	char *unit;
	long long v;

	for (uint32_t k = 0; s && k < x->p->nkeys; k++)
		if (x->p->keys[k].type == PURSER_KEY_ENUM && strcmp(x->p->keys[k].name, key) == 0)
			return choice(x->p->keys[k].choices, s);

	if (!s || strcmp(s, "no") == 0)
		return 0;
	if (strcmp(s, "yes") == 0)
		return 1;
	v = strtoll(s, &unit, 10);
	if (strcmp(unit, "ms") == 0)
		return v * 1000000;
	if (strcmp(unit, "m") == 0)
		v *= 60;
	if (strcmp(unit, "h") == 0)
		v *= 3600;
	return *unit ? v * 1000000000 : v;
}

static uint32_t h_endpoint(purser_instance *i, const char *address, uint16_t port, const char *transport)
{
	(void)i;
	(void)port;
	assert_true(address[0] && (strcmp(transport, "tcp") == 0 || strcmp(transport, "unix") == 0));
	return 7;
}

static void h_link_state(purser_ctx *x, uint32_t endpoint, uint32_t from, uint32_t to)
{
	assert_int_equal(endpoint, 7);
	assert_int_not_equal(from, to);
	if (from)
		assert_true(--x->links[from] >= 0);
	if (to)
		x->links[to]++;
}

static void h_count(purser_ctx *x, uint32_t metric, int64_t delta)
{
	assert_true(metric < x->p->nmetrics);
	x->count[metric] += delta;
}

static void h_log(purser_instance *i, int level, const char *fmt, ...)
{
	struct purser_ctx *x = (struct purser_ctx *)((char *)i - offsetof(struct purser_ctx, inst));
	size_t n = strlen(x->logged);
	va_list ap;

	if (level > PURSER_LOG_INFO || n > sizeof(x->logged) - 600)
		return;
	x->lines++;
	va_start(ap, fmt);
	vsnprintf(x->logged + n, 500, fmt, ap);
	va_end(ap);
	strncat(x->logged, "\n", 2);
}

static const char *h_name(purser_instance *i)
{
	(void)i;
	return "test";
}

static const purser_host table = {
	.struct_size = sizeof(table), .api = PURSER_API, .encode = h_encode, .raw = h_raw,
	.error = h_error, .sent = h_sent, .via = h_via, .end = h_end, .fail = h_fail, .ready = h_ready,
	.slot = h_slot, .now = h_now, .wall_ms = h_wall_ms, .watch = h_watch, .timer = h_timer,
	.untimer = h_untimer, .post = h_post, .offload = h_offload, .text = h_text, .value = h_value,
	.endpoint = h_endpoint, .link_state = h_link_state, .count = h_count, .log = h_log, .name = h_name,
};

/* ---- life ------------------------------------------------------------------------------------------ */

static uint64_t skewed_ns(void *arg)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec +
	    ((struct purser_ctx *)arg)->skew;
}

static uint64_t wall(void *arg)
{
	return skewed_ns(arg) / 1000000;
}

static void set(struct purser_instance *i, const char *key, size_t n, const char *text)
{
	struct setting *s = i->set;

	for (unsigned k = 0; k < i->nset; k++, s++)
		if (strlen(s->key) == n && memcmp(s->key, key, n) == 0)
			break;
	if (s == i->set + i->nset) {
		assert_true(i->nset < 32);
		i->nset++;
	}
	snprintf(s->key, sizeof(s->key), "%.*s", (int)n, key);
	snprintf(s->text, sizeof(s->text), "%s", text);
}

static struct purser_ctx *prepare(const char *const *settings, purser_error *e, int *rc)
{
	struct purser_ctx *x = calloc(1, sizeof(*x));
	struct loop_clock clock = { skewed_ns, wall, x };

	assert_non_null(x);
	x->p = purser_plugin_init();
	assert_int_equal(x->p->api, PURSER_API);
	x->queue_end = &x->queue;
	for (uint32_t k = 0; k < x->p->nkeys; k++)
		if (x->p->keys[k].def)
			set(&x->inst, x->p->keys[k].name, strlen(x->p->keys[k].name), x->p->keys[k].def);
	set(&x->inst, "connection_timeout", 18, "10s");
	set(&x->inst, "operation_timeout", 17, "10s");
	set(&x->inst, "pool_min", 8, "0"); /* connections come and speak only where a test makes them */
	set(&x->inst, "ping_interval", 13, "0s");
	set(&x->inst, "max_lifetime", 12, "0s");
	for (; *settings; settings++)
		set(&x->inst, *settings, strcspn(*settings, "="), strchr(*settings, '=') + 1);
	x->loop = loop_new(&clock);
	assert_non_null(x->loop);
	*rc = x->p->start(&table, &x->inst, &x->state, e);
	return x;
}

static void let_go(struct purser_ctx *x)
{
	while (x->watches) {
		struct watch *w = x->watches;

		x->watches = w->next;
		assert_int_equal(w->io.fd, -1);
		free(w);
	}
	assert_null(x->timers);
	for (unsigned i = 0; i < x->offloaded; i++) /* they may still be in loop_post() */
		pthread_join(x->threads[i], NULL);
	loop_free(x->loop);
	free(x);
}

struct purser_ctx *host_new(const char *const *settings)
{
	purser_error e = { .struct_size = sizeof(e) };
	int rc;
	struct purser_ctx *x = prepare(settings, &e, &rc);

	if (rc)
		fail_msg("start: %s", e.text);
	assert_int_equal(x->p->open(x->state, x, &x->cs, &e), 0);
	return x;
}

const char *host_refused(const char *const *settings)
{
	static purser_error e;
	int rc;

	e = (purser_error){ .struct_size = sizeof(e) };
	let_go(prepare(settings, &e, &rc));
	assert_int_equal(rc, -1);
	return e.text;
}

void host_free(struct purser_ctx *x)
{
	x->p->drain(x->cs);
	for (int i = 0; i < 2000 && x->pending; i++)
		loop_turn(x->loop, 1000000);
	assert_int_equal(x->pending, 0);
	assert_null(x->queue);
	for (unsigned i = 0; i < SESSIONS; i++)
		if (x->session[i].slot)
			x->p->session_end(x->cs, &x->session[i], x->session[i].slot);
	host_abandon(x);
}

void host_abandon(struct purser_ctx *x)
{
	x->p->close(x->cs);
	assert_int_equal(x->pending, 0);
	x->p->stop(x->state);
	for (int k = PURSER_LINK_CONNECTING; k <= PURSER_LINK_USED; k++)
		assert_int_equal(x->links[k], 0);
	let_go(x);
}

static void offer(struct purser_ctx *x, struct call *c)
{
	int rc;

	c->submitted = true;
	c->c.link = NULL;
	memset(c->c.user, 0, sizeof(c->c.user));
	x->pending++;
	x->touched = true;
	rc = x->p->submit(x->cs, &c->c);
	if (rc == PURSER_AGAIN) {
		assert_false(c->ended);
		assert_int_equal(c->wire_at, 0);
		x->pending--;
		c->submitted = false;
		c->next = NULL;
		*x->queue_end = c;
		x->queue_end = &c->next;
	} else {
		assert_int_equal(rc, c->ended ? PURSER_DONE : PURSER_PENDING);
	}
}

static void pump(struct purser_ctx *x)
{
	struct call *list = x->queue, *c;

	if (!x->ready)
		return;
	x->ready = false;
	x->queue = NULL;
	x->queue_end = &x->queue;
	while ((c = list)) {
		list = c->next;
		offer(x, c);
	}
}

static void turn(struct purser_ctx *x, int64_t wait_ns)
{
	assert_int_equal(loop_turn(x->loop, wait_ns), 0);
	pump(x);
	if (x->touched)
		x->p->flush(x->cs);
	x->touched = false;
}

void host_turn(struct purser_ctx *x)
{
	turn(x, 0);
}

void host_wait(struct purser_ctx *x, const bool *until)
{
	for (int i = 0; i < 10000 && !*until; i++)
		turn(x, x->ready ? 0 : 1000000);
	assert_true(*until);
}

void host_skip(struct purser_ctx *x, uint64_t ms)
{
	x->skew += ms * 1000000;
	turn(x, 0);
	turn(x, 0);
}

/* ---- calls ----------------------------------------------------------------------------------------- */

struct call *call_new(struct purser_ctx *x, unsigned session, uint32_t route, uint8_t resp,
    const void *wire, size_t n)
{
	struct call *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->wire = malloc(n + 1);
	assert_non_null(c->wire);
	memcpy(c->wire, wire, n);
	c->wire_n = c->ready_n = n;
	c->c.struct_size = sizeof(c->c);
	c->c.op = PURSER_OP_OTHER;
	c->c.route = (uint8_t)route;
	c->c.resp = resp;
	c->c.wire_bytes = n;
	c->c.ctx = x;
	c->c.session = &x->session[session];
	return c;
}

struct call *call_words(struct purser_ctx *x, unsigned session, uint32_t route, uint8_t resp,
    const char *words)
{
	char wire[2048], body[2000];
	size_t n = 0, at = 0;
	int argc = 0;

	for (const char *w = words; *w; w += strspn(w, " ")) {
		n = strcspn(w, " ");
		at += (size_t)snprintf(body + at, sizeof(body) - at, "$%zu\r\n%.*s\r\n", n, (int)n, w);
		argc++;
		w += n;
	}
	n = (size_t)snprintf(wire, sizeof(wire), "*%d\r\n%s", argc, body);
	return call_new(x, session, route, resp, wire, n);
}

void call_submit(struct purser_ctx *x, struct call *c)
{
	c->seq = ++c->c.session->submitted;
	if (c->c.route != PURSER_ROUTE_SHARED)
		c->c.session->mixed = 1;
	if (x->queue && !x->ready) { /* order: behind those that wait */
		c->next = NULL;
		*x->queue_end = c;
		x->queue_end = &c->next;
		return;
	}
	if (x->queue)
		pump(x);
	offer(x, c);
}

void call_cancel(struct call *c, int why)
{
	struct purser_ctx *x = c->c.ctx;

	c->cancelled = true;
	x->p->cancel(x->cs, &c->c, why);
}

void call_free(struct call *c)
{
	assert_true(c->ended || !c->submitted);
	free(c->wire);
	free(c->reply);
	free(c);
}

/* ---- the server ------------------------------------------------------------------------------------ */

void server_back(struct server *s)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", s->path);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(s->listener >= 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(s->listener, 64), 0);
}

void server_away(struct server *s)
{
	close(s->listener);
	unlink(s->path);
	s->listener = -1;
}

void server_open(struct server *s)
{
	snprintf(s->dir, sizeof(s->dir), "/tmp/purser-test-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/s", s->dir);
	snprintf(s->url, sizeof(s->url), "url=unix://%s", s->path);
	server_back(s);
}

void server_close(struct server *s)
{
	if (s->listener >= 0)
		server_away(s);
	rmdir(s->dir);
}

int server_accept(struct server *s)
{
	return accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

size_t server_read(int fd, char *buf, size_t cap)
{
	size_t n = 0;

	while (n < cap) {
		ssize_t k = recv(fd, buf + n, cap - n, 0);

		if (k == 0)
			return n ? n : SIZE_MAX;
		if (k < 0) {
			if (errno == ECONNRESET)
				return n ? n : SIZE_MAX;
			assert_int_equal(errno, EAGAIN);
			break;
		}
		n += (size_t)k;
	}
	return n;
}

void server_write(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t k = send(fd, at, n, MSG_NOSIGNAL);

		assert_true(k > 0);
		at += k;
		n -= (size_t)k;
	}
}

void server_say(int fd, const char *text)
{
	server_write(fd, text, strlen(text));
}

int server_hello(struct server *s, struct purser_ctx *x)
{
	static const char memory[] = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
	char buf[4096], bulk[128];
	size_t n = 0;
	int fd = -1;

	for (int i = 0; i < 100 && fd < 0; i++) {
		host_turn(x);
		fd = server_accept(s);
		if (fd >= 0 && recv(fd, buf, 1, MSG_PEEK) == 0) { /* one that has been given up */
			close(fd);
			fd = -1;
		}
	}
	assert_true(fd >= 0);
	for (int i = 0; i < 100 && (n < 6 || memcmp(buf + n - 6, "PING\r\n", 6) != 0); i++) {
		host_turn(x);
		n += server_read(fd, buf + n, sizeof(buf) - n);
		assert_true(n < sizeof(buf));
	}
	buf[n] = '\0';
	server_say(fd, strstr(buf, "HELLO\r\n$1\r\n3") ? "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion"
	    "\r\n$5\r\n7.0.0\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n" : "*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n"
	    "$7\r\nversion\r\n$5\r\n7.0.0\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n");
	if (strstr(buf, "SELECT"))
		server_say(fd, "+OK\r\n");
	if (strstr(buf, "INFO"))
		snprintf(bulk, sizeof(bulk), "$%zu\r\n%s\r\n", sizeof(memory) - 1, memory);
	if (strstr(buf, "INFO"))
		server_say(fd, bulk);
	if (strstr(buf, "psr-test")) /* another user's lane */
		server_say(fd, "+OK\r\n");
	server_say(fd, "+PONG\r\n");
	host_turn(x);
	return fd;
}
