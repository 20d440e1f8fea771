/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP on a connection: a request becomes one or several commands that run through the same stages as
 * RESP's, some of them at once; their replies become, in order, the body.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "request_auth.h"
#include "server/http_answer.h"
#include "server/http_in.h"
#include "server/http_route.h"
#include "server/server.h"

enum {
	WINDOW = 16,                /* commands of a request at once */
	HELD_MAX = 1 << 20,         /* no more are started while this much waits for its turn */
	KEEP_BYTES = 4096,          /* a larger buffer is given back between requests */
	KEEP_ARGS = 64
};

/* The reply of one command, until its turn comes. */
struct slot {
	struct reply_filter sink;   /* first */
	struct http_conn *h;
	uint32_t at;                /* which command */
	struct buf held;            /* what has come of the reply, or the error's text */
	uint8_t err;                /* enum err_code */
	bool done;
};

struct http_conn {
	struct conn *c;
	struct http_in in;
	struct http_call call;
	struct http_answer answer;
	uint32_t next;              /* command to be started */
	size_t held;                /* bytes in all slots */
	bool asking;                /* who it is: nothing of the request runs before that is known */
	bool early;                 /* ... and its body has not come yet */
	bool expects;               /* the client waits to be told to send it */
	bool known;                 /* who it is: that was asked before its body came */
	struct trace_parent parent;
	char state[TRACE_STATE_MAX];
	struct slot slot[WINDOW];
};

/* ---- replies ---- */

/* What is ready of the answer goes to the client's buffer. */
static void drain(struct http_conn *h)
{
	struct buf *b = &h->answer.out;

	if (!buf_len(b) || h->c->closing)
		return;
	if (b->failed || out_put(&h->c->cl.out, &h->c->sv->w.pool, buf_data(b), buf_len(b)))
		h->c->cl.cut = true;
	buf_clear(b);
	conn_wake(&h->c->cl);
}

static void give_back(struct http_conn *h, struct slot *s)
{
	h->held -= buf_len(&s->held);
	buf_clear(&s->held);
	if (s->held.cap > KEEP_BYTES)
		buf_free(&s->held);
}

/* The replies whose turn has come. */
static void deliver(struct http_conn *h)
{
	struct http_answer *a = &h->answer;

	while (!a->done && a->at < h->next) {
		struct slot *s = &h->slot[a->at % WINDOW];

		if (s->err && !s->done)
			break; /* its request is not over: the place is not free */
		if (s->err) {
			http_answer_error(a, (enum err_code)s->err, buf_data(&s->held), buf_len(&s->held));
			give_back(h, s);
			continue;
		}
		if (buf_len(&s->held)) {
			http_answer_raw(a, buf_data(&s->held), buf_len(&s->held));
			give_back(h, s);
		}
		if (!s->done)
			break;
		http_answer_end(a);
	}
	drain(h);
}

static int sink_feed(struct reply_filter *f, const uint8_t *p, size_t n)
{
	struct slot *s = (struct slot *)f;
	struct http_conn *h = s->h;

	if (s->at == h->answer.at) {
		http_answer_raw(&h->answer, p, n);
		drain(h);
		return 0;
	}
	buf_put(&s->held, p, n);
	h->held += n;
	return s->held.failed ? -1 : 0;
}

static void sink_error(struct bcall *b, enum err_code code, const char *text, size_t n)
{
	struct slot *s = ((struct request *)b)->sink_arg;

	give_back(s->h, s);
	buf_put(&s->held, text, n);
	s->h->held += buf_len(&s->held);
	s->err = (uint8_t)code;
}

static void command_done(struct request *r)
{
	struct slot *s = r->sink_arg;

	s->done = true;
	if (!s->err && r->b.discard) /* CLIENT REPLY OFF: HTTP has an answer to everything */
		sink_feed(&s->sink, (const uint8_t *)"_\r\n", 3);
	deliver(s->h);
}

/* ---- the connection's part ---- */

static struct http_conn *http_of(struct conn *c)
{
	struct http_conn *h = c->http;

	if (h)
		return h;
	h = calloc(1, sizeof *h);
	if (!h) {
		c->cl.cut = true;
		return NULL;
	}
	h->c = c;
	for (int i = 0; i < WINDOW; i++) {
		h->slot[i].sink.feed = sink_feed;
		h->slot[i].h = h;
	}
	http_in_init(&h->in, &c->sv->limits.http);
	c->http = h;
	return h;
}

void conn_http_free(struct conn *c)
{
	struct http_conn *h = c->http;

	if (!h)
		return;
	for (int i = 0; i < WINDOW; i++)
		buf_free(&h->slot[i].held);
	http_in_free(&h->in);
	http_call_free(&h->call);
	http_answer_free(&h->answer);
	free(h);
	c->http = NULL;
}

/* The answer is complete: ready for the next request, or for the end. */
static void finish(struct http_conn *h)
{
	bool close = h->answer.close || h->answer.cut;

	drain(h);
	if (h->answer.streams) {
		h->answer.streams = false;
		conn_events_live(h->c, h->answer.framing == HTTP_CHUNKED);
		return; /* busy until it ends */
	}
	if (h->c->events)
		conn_events_drop(h->c);
	h->c->busy = false;
	h->c->hungry = false;
	if (h->answer.out.cap > KEEP_BYTES || h->answer.body.cap > KEEP_BYTES) {
		http_answer_free(&h->answer);
		memset(&h->answer, 0, sizeof h->answer);
	}
	if (h->call.cmds.size > KEEP_BYTES || h->call.cmds.cap > KEEP_ARGS)
		http_call_free(&h->call);
	h->early = h->known = false;
	if (close)
		h->c->cl.quit = true;
	else
		http_in_next(&h->in);
}

/* ---- requests ---- */

static void read_trace(struct http_conn *h)
{
	struct http_head *head = &h->in.head;
	purser_bytes tp = http_head_value(head, HTTP_H_TRACEPARENT);
	struct buf joined = { .max = 65536 };
	purser_bytes line;

	memset(&h->parent, 0, sizeof h->parent);
	if (!tp.p || http_head_count(head, HTTP_H_TRACEPARENT) != 1 ||
	    trace_parent_parse((const char *)tp.p, tp.n, &h->parent))
		return;
	http_head_join(head, HTTP_H_TRACESTATE, &joined);
	if (buf_len(&joined)) {
		line = (purser_bytes){ buf_data(&joined), buf_len(&joined) };
		h->parent.state.n = trace_state_parse(&line, 1, h->state);
		h->parent.state.p = (const uint8_t *)h->state;
	}
	buf_free(&joined);
}

static void refuse(struct http_conn *h, int status, enum err_code code, const char *text)
{
	struct http_bad bad;

	http_bad(&bad, status, code, "%s", text);
	http_answer_refuse(&h->answer, &h->in.head, &bad, h->early); /* a body that nobody has read is not read to its end */
}

/* Whose body it is is known: let it come. */
static void take_body(struct http_conn *h)
{
	struct conn *c = h->c;

	if (c->cl.anonymous) {
		refuse(h, 0, ERR_NOAUTH, "the header Authorization: Bearer <token> must say who sends a body");
		return;
	}
	if (!c->cl.project) {
		refuse(h, 0, ERR_NOPROJECT, "a long body is for a project: name it in the header Purser-Project");
		return;
	}
	if (h->expects && out_put(&c->cl.out, &c->sv->w.pool, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		c->cl.cut = true;
	h->early = false;
	h->known = true;
	c->busy = c->hungry = false;
}

static void proceed(struct http_conn *h)
{
	if (h->early) {
		take_body(h);
		return;
	}
	if (h->call.route->kind == HTTP_KIND_EVENTS && !conn_events_begin(h->c, h->call.base64)) {
		refuse(h, 0, ERR_OOM, err_rows[ERR_OOM].text);
		return;
	}
	read_trace(h);
	http_answer_begin(&h->answer, &h->call, &h->in.head);
	if (h->in.body.cap > KEEP_BYTES)
		buf_free(&h->in.body); /* its arguments have memory of their own */
}

/* It is known who asks, or that they are not who they say. */
static void authenticated(void *arg, const struct auth_answer *a)
{
	struct http_conn *h = arg;
	const char *text = a->text ? a->text + strcspn(a->text, " ") : err_rows[a->err].text;

	h->asking = false;
	if (!a->err)
		proceed(h);
	else
		refuse(h, 0, a->err, text + (*text == ' '));
	conn_wake(&h->c->cl);
}

/* Authorization: Bearer TOKEN.  False: there is a head of that name that says something else. */
static bool bearer(const struct http_head *head, purser_bytes *token)
{
	purser_bytes v = http_head_value(head, HTTP_H_AUTHORIZATION);

	*token = (purser_bytes){ NULL, 0 };
	if (!v.p)
		return true;
	if (v.n < 8 || strncasecmp((const char *)v.p, "Bearer ", 7))
		return false;
	for (v.p += 7, v.n -= 7; v.n && *v.p == ' '; v.n--)
		v.p++;
	*token = v;
	return v.n != 0;
}

/* Who asks, each request anew: by its token, else by what the kernel says; in the project of the header
 * Purser-Project, else in the one that they have by themselves. */
static void ask_who(struct http_conn *h)
{
	struct client *cl = &h->c->cl;
	struct auth_offer o = { .project = http_head_value(&h->in.head, HTTP_H_PURSER_PROJECT), .per_request = true };

	if (!bearer(&h->in.head, &o.secret)) {
		refuse(h, 0, ERR_NOAUTH, "the header Authorization must be: Bearer <token>");
		return;
	}
	if (o.secret.p) {
		h->asking = true;
		auth_present(cl, &o, authenticated, h);
		return;
	}
	auth_forget(cl);
	client_leave(cl);
	if (!o.project.p || cl->anonymous || client_choose(cl, o.project.p, o.project.n)) {
		proceed(h);
		return;
	}
	if (cl->crowded) {
		refuse(h, 0, ERR_NOPROJECT, "there are as many projects as max_projects of [project *] allows");
		return;
	}
	audit_denied(cl, &(struct audit){ AUDIT_PROJECT, "Purser-Project", o.project, "project", "there is no such project, or "
	    "no rule lets this caller into it" });
	refuse(h, 0, ERR_NOPROJECT, "there is no project of the name in the header Purser-Project that you may enter; "
	    "Authorization: Bearer <token> says who you are");
}

static void begin(struct http_conn *h)
{
	struct json_limits lim = { .max_commands = h->c->sv->limits.max_pipeline,
		.max_args = h->c->sv->limits.resp.max_args };

	h->c->busy = true;
	h->next = 0;
	h->c->cl.reply_mode = REPLY_ON;
	if (http_call_make(&h->call, h->c->sv->srv->routes, &h->in.head, buf_data(&h->in.body),
	    buf_len(&h->in.body), &lim))
		http_answer_refuse(&h->answer, &h->in.head, &h->call.bad, false);
	else if (h->known)
		proceed(h);
	else
		ask_who(h);
}

/* The head has come, and a body that may be long: nobody sends one who is not who they say. */
static void begin_body(struct http_conn *h)
{
	h->c->busy = h->early = true;
	h->expects = h->in.event == HTTP_IN_CONTINUE;
	ask_who(h);
	conn_wake(&h->c->cl);
}

static void run_next(struct http_conn *h)
{
	struct slot *s = &h->slot[h->next % WINDOW];
	uint32_t argc;
	purser_bytes *argv = json_cmds_argv(&h->call.cmds, h->next, &argc);
	struct request *r = req_new(&h->c->cl, argv, argc);

	if (!r) {
		h->c->cl.cut = true;
		return;
	}
	s->at = h->next++;
	s->done = false;
	s->err = 0;
	for (uint32_t i = 0; i < argc; i++)
		r->wire_in += argv[i].n;
	r->parent = h->parent.valid ? &h->parent : NULL;
	req_sink(r, &s->sink, sink_error, command_done, s);
	req_start(r);
}

static bool may_start(const struct conn *c)
{
	const struct http_conn *h = c->http;

	return !h->answer.done && !h->early && h->next < h->call.cmds.ncmds &&
	    h->next - h->answer.at < WINDOW && h->held < HELD_MAX && client_may_start(&c->cl) &&
	    !c->cl.cut && c->cl.out.bytes < c->sv->limits.output_limit;
}

bool conn_http_may_step(const struct conn *c)
{
	if (conn_events_are_live(c))
		return c->cl.quit;
	return c->busy && !c->http->asking && (c->http->answer.done || may_start(c));
}

void conn_http_step(struct conn *c)
{
	struct http_conn *h = c->http;

	if (!c->busy || h->asking)
		return;
	if (conn_events_are_live(c)) {
		if (c->cl.quit) {
			conn_events_end(c);
			c->busy = false;
		}
		return;
	}
	while (may_start(c))
		run_next(h);
	if (h->answer.done)
		finish(h);
}

size_t conn_feed_http(struct conn *c, uint8_t *p, size_t n)
{
	struct http_conn *h = http_of(c);
	size_t at = 0;

	while (h && !c->busy && !c->cl.quit && !c->cl.cut) {
		at += http_in_feed(&h->in, p + at, n - at);
		switch (h->in.event) {
		case HTTP_IN_MORE:
			return at;
		case HTTP_IN_CONTINUE:
		case HTTP_IN_LARGE:
			begin_body(h);
			conn_http_step(c);
			break;
		case HTTP_IN_REQUEST:
			begin(h);
			conn_http_step(c);
			break;
		case HTTP_IN_BAD:
			metric_cell_add(metric_cell(c->sv->w.metrics, METRIC_PROTOCOL_ERRORS, "http"), 1);
			http_answer_refuse(&h->answer, &h->in.head, &h->in.head.bad, true);
			finish(h);
			break;
		}
	}
	return c->cl.quit ? n : at;
}
