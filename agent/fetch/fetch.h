/* SPDX-License-Identifier: Apache-2.0
 *
 * fetch: everything outbound over HTTP, one libcurl multi on one loop.  What comes in: requests of
 * the exporter and of whoever verifies tokens, on the loop's thread.  What goes out: one `done` for each
 * of them, never from inside fetch_start.
 *
 * Only http and https; redirects are not followed; connections are kept and used again; the reply is
 * bounded.  A body is sent as it is (compression is the caller's).
 */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct fetch;
struct fetch_call;

enum fetch_error {
	FETCH_OK = 0,      /* an HTTP status came */
	FETCH_CONNECT,     /* no connection: refused, no such host, no such socket */
	FETCH_TIMEOUT,
	FETCH_TLS,         /* certificate or handshake */
	FETCH_BROKEN,      /* the connection ended without a whole reply */
	FETCH_TOOBIG,      /* the reply is larger than max_body */
	FETCH_PROTOCOL,    /* what came is not HTTP */
	FETCH_INTERNAL,    /* no memory, or libcurl refused the request */
	FETCH_CANCELLED    /* fetch_free */
};

#define FETCH_WANTED 3

struct fetch_result { /* valid inside done */
	enum fetch_error error;
	char text[256];          /* why, when error is not FETCH_OK; may name the host, never a header */
	int status;              /* HTTP status */
	int64_t retry_after_s;   /* -1: no Retry-After */
	int64_t max_age_s;       /* how long it stays fresh by Cache-Control and Age; -1: nothing is said */
	const uint8_t *body;
	size_t len;
	const char *got[FETCH_WANTED]; /* values of the headers or trailers that were wanted; NULL: there is none */
	uint64_t took_ns;
};

struct fetch_req { /* all borrowed for the call only, except body: until done */
	const char *url;             /* http://host[:port]/path or https:// */
	const char *unix_path;       /* connect to this socket instead of the host; NULL = TCP */
	const char *const *headers;  /* "Name: value" */
	size_t nheaders;
	const char *want[FETCH_WANTED]; /* headers of the reply, trailers too; literals; NULL = none */
	bool http2;                  /* from the first byte on, as gRPC wants it; else HTTP/1.1, or what TLS agrees on */
	const void *body;            /* NULL: GET, else POST */
	size_t body_len;
	uint64_t timeout_ns;         /* of the whole exchange; 0 = none */
	size_t max_body;             /* 0 = 4 MiB */
	const char *ca_file, *cert_file, *key_file; /* NULL = the system's, none, none */
	void (*done)(void *arg, const struct fetch_result *r);
	void *arg;
};

struct fetch *fetch_new(struct loop *l);  /* NULL: no memory */
void fetch_free(struct fetch *f);         /* done(FETCH_CANCELLED) for what is under way */
/* NULL: nothing was started, done is not called. */
struct fetch_call *fetch_start(struct fetch *f, const struct fetch_req *r);
void fetch_cancel(struct fetch_call *c);  /* done is not called; c is gone */
const char *fetch_error_name(enum fetch_error e); /* for error.type: "timeout", "connect", ... */
#endif
