/* SPDX-License-Identifier: Apache-2.0
 *
 * fetch: libcurl's multi_socket interface on the agent's loop.
 *
 * The loop is edge-triggered and libcurl expects level-triggered readiness, so each descriptor is
 * watched anew after each action: changing a watch makes the kernel look at readiness again.
 */
#include <config.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/buf.h"
#include "fetch/fetch.h"
#include "loop/loop.h"

struct sock {
	struct loop_io io;
	struct fetch *f;
	uint32_t events;
	struct sock *next; /* of the graves */
};

struct fetch {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer timer;
	struct fetch_call *calls;
	struct sock *graves; /* removed while a callback may still hold them */
};

struct fetch_call {
	struct fetch *f;
	struct fetch_call *next, **prev;
	CURL *easy;
	struct curl_slist *headers;
	struct buf body;
	uint64_t started_ns;
	const char *want[FETCH_WANTED];
	char error[CURL_ERROR_SIZE];
	void (*done)(void *arg, const struct fetch_result *r);
	void *arg;
};

static void bury(struct fetch *f)
{
	while (f->graves) {
		struct sock *s = f->graves;

		f->graves = s->next;
		free(s);
	}
}

/* ---- ends ---------------------------------------------------------------------------------------- */

static enum fetch_error classify(CURLcode rc)
{
	switch (rc) {
	case CURLE_OK:
		return FETCH_OK;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
		return FETCH_CONNECT;
	case CURLE_OPERATION_TIMEDOUT:
		return FETCH_TIMEOUT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CIPHER:
		return FETCH_TLS;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		return FETCH_BROKEN;
	case CURLE_WRITE_ERROR:
		return FETCH_TOOBIG;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 and the like; our own URLs are checked before */
	case CURLE_HTTP2:
		return FETCH_PROTOCOL;
	default:
		return FETCH_INTERNAL;
	}
}

const char *fetch_error_name(enum fetch_error e)
{
	static const char *const names[] = { "", "connect", "timeout", "tls", "broken", "too_big",
		"protocol", "internal", "cancelled" };

	return names[e];
}

/* The number behind name= in the directives of one Cache-Control header, or dflt. */
static int64_t directive(const char *text, const char *name, int64_t dflt)
{
	size_t n = strlen(name);

	for (; *text; text += strspn(text, ", \t")) {
		size_t len = strcspn(text, ", \t");

		if (len >= n && !strncasecmp(text, name, n) && (len == n || text[n] == '='))
			return len > n + 1 && text[n + 1] >= '0' && text[n + 1] <= '9' ? (int64_t)strtoul(text + n + 1, NULL, 10) : 0;
		text += len;
	}
	return dflt;
}

/* RFC 9111, as far as somebody who keeps one answer needs it: no-store and no-cache are 0, the shortest
 * max-age counts, less the time that it was under way in caches. */
static int64_t max_age(CURL *easy)
{
	struct curl_header *h;
	int64_t age = -1;

	for (size_t i = 0; curl_easy_header(easy, "Cache-Control", i, CURLH_HEADER, -1, &h) == CURLHE_OK; i++) {
		int64_t one = directive(h->value, "max-age", -1);

		if (directive(h->value, "no-store", -1) >= 0 || directive(h->value, "no-cache", -1) >= 0)
			one = 0;
		if (one >= 0 && (age < 0 || one < age))
			age = one;
	}
	if (age > 0 && curl_easy_header(easy, "Age", 0, CURLH_HEADER, -1, &h) == CURLHE_OK) {
		int64_t old = (int64_t)strtoul(h->value, NULL, 10);

		age = old < age ? age - old : 0;
	}
	return age;
}

/* The last one of that name; a copy, or NULL. */
static char *header_of(CURL *easy, const char *name)
{
	struct curl_header *h;

	if (!name || curl_easy_header(easy, name, 0, CURLH_TRAILER | CURLH_HEADER, -1, &h) != CURLHE_OK)
		return NULL;
	return strdup(h->value);
}

static void call_free(struct fetch_call *c)
{
	curl_multi_remove_handle(c->f->multi, c->easy);
	curl_easy_cleanup(c->easy);
	curl_slist_free_all(c->headers);
	buf_free(&c->body);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
}

static void call_end(struct fetch_call *c, enum fetch_error e, const char *text)
{
	struct fetch_result r = { .error = e, .retry_after_s = -1, .max_age_s = -1 };
	void (*done)(void *, const struct fetch_result *) = c->done;
	struct buf body = c->body;
	char *got[FETCH_WANTED];
	void *arg = c->arg;
	long status = 0;
	curl_off_t after = 0;

	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &after);
	r.status = (int)status;
	if (after > 0)
		r.retry_after_s = (int64_t)after;
	if (e == FETCH_OK)
		r.max_age_s = max_age(c->easy);
	for (int i = 0; i < FETCH_WANTED; i++)
		r.got[i] = got[i] = header_of(c->easy, c->want[i]);
	r.body = body.p ? buf_data(&body) : NULL;
	r.len = buf_len(&body);
	r.took_ns = loop_now(c->f->loop) - c->started_ns;
	if (e != FETCH_OK)
		snprintf(r.text, sizeof r.text, "%s", *c->error ? c->error : text);
	memset(&c->body, 0, sizeof c->body);
	call_free(c); /* before done, which may start the next one */
	done(arg, &r);
	buf_free(&body);
	for (int i = 0; i < FETCH_WANTED; i++)
		free(got[i]);
}

static void harvest(struct fetch *f)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(f->multi, &left))) {
		struct fetch_call *c = NULL;
		CURLcode rc = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
		call_end(c, classify(rc), curl_easy_strerror(rc));
	}
	bury(f);
}

/* ---- libcurl's callbacks --------------------------------------------------------------------------- */

static void on_io(struct loop_io *io, uint32_t events)
{
	struct sock *s = (struct sock *)((char *)io - offsetof(struct sock, io));
	struct fetch *f = s->f;
	int bits = 0, running;

	if (events & PURSER_IO_IN)
		bits |= CURL_CSELECT_IN;
	if (events & PURSER_IO_OUT)
		bits |= CURL_CSELECT_OUT;
	if (events & PURSER_IO_HUP)
		bits |= CURL_CSELECT_IN | CURL_CSELECT_ERR;
	curl_multi_socket_action(f->multi, io->fd, bits, &running);
	if (s->events) /* not buried meanwhile */
		loop_watch(f->loop, &s->io, s->io.fd, s->events);
	harvest(f);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sockp)
{
	struct fetch *f = arg;
	struct sock *s = sockp;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s) {
			loop_unwatch(f->loop, &s->io);
			curl_multi_assign(f->multi, fd, NULL);
			s->events = 0;
			s->next = f->graves;
			f->graves = s;
		}
		return 0;
	}
	if (!s) {
		s = calloc(1, sizeof *s);
		if (!s)
			return -1;
		s->f = f;
		s->io.fn = on_io;
		s->io.fd = -1;
		curl_multi_assign(f->multi, fd, s);
	}
	s->events = (what & CURL_POLL_IN ? PURSER_IO_IN : 0) | (what & CURL_POLL_OUT ? PURSER_IO_OUT : 0);
	return loop_watch(f->loop, &s->io, fd, s->events) ? -1 : 0;
}

static void on_timer(struct loop_timer *t)
{
	struct fetch *f = (struct fetch *)((char *)t - offsetof(struct fetch, timer));
	int running;

	curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	harvest(f);
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
	struct fetch *f = arg;

	(void)multi;
	if (ms < 0) {
		loop_timer_stop(f->loop, &f->timer);
		return 0;
	}
	return loop_timer_set(f->loop, &f->timer,
	    loop_now(f->loop) + (uint64_t)ms * UINT64_C(1000000)) ? -1 : 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct fetch_call *c = arg;

	buf_put(&c->body, p, size * n);
	return c->body.failed ? 0 : size * n;
}

/* ---- interface --------------------------------------------------------------------------------------- */

struct fetch *fetch_new(struct loop *l)
{
	struct fetch *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	f->loop = l;
	f->timer.fn = on_timer;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(f->multi = curl_multi_init())) {
		free(f);
		return NULL;
	}
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, 8L);
	/* A connection for each that is under way: libcurl 7.88 fails requests that share a new one with prior knowledge. */
	curl_multi_setopt(f->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return f;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	while (f->calls)
		call_end(f->calls, FETCH_CANCELLED, "cancelled");
	curl_multi_cleanup(f->multi);
	loop_timer_stop(f->loop, &f->timer);
	bury(f);
	free(f);
	curl_global_cleanup();
}

static int set_headers(struct fetch_call *c, const struct fetch_req *r)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:"), *more;

	c->headers = list;
	for (size_t i = 0; list && i < r->nheaders; i++) {
		more = curl_slist_append(list, r->headers[i]);
		if (!more)
			return -1;
	}
	return list ? 0 : -1;
}

static int set_options(struct fetch_call *c, const struct fetch_req *r)
{
	CURL *e = c->easy;
	CURLcode rc = CURLE_OK;

#define OPT(name, v) (rc = rc ? rc : curl_easy_setopt(e, CURLOPT_##name, (v)))
	OPT(URL, r->url);
	OPT(PROTOCOLS_STR, "http,https");
	OPT(FOLLOWLOCATION, 0L);
	OPT(NOSIGNAL, 1L);
	OPT(PRIVATE, (char *)c);
	OPT(ERRORBUFFER, c->error);
	OPT(WRITEFUNCTION, on_body);
	OPT(WRITEDATA, c);
	OPT(HTTPHEADER, c->headers);
	OPT(HTTP09_ALLOWED, 0L);
	OPT(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (r->timeout_ns)
		OPT(TIMEOUT_MS, (long)(r->timeout_ns / UINT64_C(1000000)) + 1);
	if (r->body) {
		OPT(POST, 1L);
		OPT(POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
		OPT(POSTFIELDS, (const char *)r->body);
	}
	if (r->http2)
		OPT(HTTP_VERSION, (long)(strncmp(r->url, "https:", 6) ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE : CURL_HTTP_VERSION_2TLS));
	if (r->unix_path)
		OPT(UNIX_SOCKET_PATH, r->unix_path);
	if (r->ca_file)
		OPT(CAINFO, r->ca_file);
	if (r->cert_file)
		OPT(SSLCERT, r->cert_file);
	if (r->key_file)
		OPT(SSLKEY, r->key_file);
#undef OPT
	return rc ? -1 : 0;
}

struct fetch_call *fetch_start(struct fetch *f, const struct fetch_req *r)
{
	struct fetch_call *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->f = f;
	c->done = r->done;
	c->arg = r->arg;
	memcpy(c->want, r->want, sizeof c->want);
	c->body.max = r->max_body ? r->max_body : (size_t)4 << 20;
	c->started_ns = loop_now(f->loop);
	c->easy = curl_easy_init();
	if (!c->easy || set_headers(c, r) || set_options(c, r) ||
	    curl_multi_add_handle(f->multi, c->easy)) {
		curl_easy_cleanup(c->easy);
		curl_slist_free_all(c->headers);
		free(c);
		return NULL;
	}
	c->next = f->calls;
	c->prev = &f->calls;
	if (c->next)
		c->next->prev = &c->next;
	f->calls = c;
	return c;
}

void fetch_cancel(struct fetch_call *c)
{
	struct fetch *f = c->f;

	call_free(c);
	bury(f);
}
