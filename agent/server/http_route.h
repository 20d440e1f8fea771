/* SPDX-License-Identifier: Apache-2.0
 *
 * server/http_route: from a parsed request to commands.  The routes are rows of routes.def; a row says
 * which command it is, how the request's parts become its words (http_words) and what the body of the answer
 * is made of (kind; see http_answer).  Everything behind this is the same road as RESP's.
 */
#ifndef SERVER_HTTP_ROUTE_H
#define SERVER_HTTP_ROUTE_H
#include <stdbool.h>
#include <stdint.h>
#include "resp/json_in.h"
#include "server/http_head.h"
#include "server/http_words.h"

enum http_kind {              /* replies -> body */
	HTTP_KIND_JSON,           /* the reply is a string that is a JSON document: as it is */
	HTTP_KIND_TEXT,           /* the reply is a string: plain text */
	HTTP_KIND_METRICS,        /* the reply is a string: Prometheus text */
	HTTP_KIND_KV_GET,         /* of GET and PTTL: {"key","value","ttl_ms"}, 404 when absent */
	HTTP_KIND_KV_SET,         /* {"key","stored":true} */
	HTTP_KIND_KV_DEL,         /* {"key","deleted":true|false} */
	HTTP_KIND_VALUE,          /* any reply, as typed JSON (json_out) */
	HTTP_KIND_FOUND,          /* the same, 404 when it is nil */
	HTTP_KIND_GIVEN,          /* the same, 409 when it is nil: somebody else has it */
	HTTP_KIND_EVENTS,         /* text/event-stream: the replies, and what the client hears, until it leaves */
	HTTP_KIND_COMMAND         /* {"result":...}, or an array of {"result"} and {"error"} */
};

struct http_route {           /* a row, and its words in pieces */
	enum http_method method;
	const char *path;
	const char *text;         /* the template */
	enum http_kind kind;
	const char *summary;
	size_t path_len;
	struct http_words words;
};
struct http_routes {
	unsigned n;
	struct http_route *route;
	struct http_quick {       /* what most requests are found by: rows without fields in the path */
		const char *path;
		uint16_t len;     /* 0: it has some */
		uint8_t method;
	} quick[];
};

struct http_row {             /* as routes.def has it */
	enum http_method method;
	const char *path, *text;
	enum http_kind kind;
	const char *summary;
};

/* The rows, which are borrowed; the table is the caller's.  NULL: no memory, or *why (else NULL) says what is
 * wrong with row *at. */
struct http_routes *http_routes_make(const struct http_row *row, unsigned n, const char **why, unsigned *at);
struct http_routes *http_routes_new(const char **why, unsigned *at); /* of routes.def */
void http_routes_free(struct http_routes *t);

const char *http_method_name(enum http_method m);
/* May ?encoding=base64 be asked of it? */
static inline bool http_route_encodes(const struct http_route *r)
{
	return r->kind == HTTP_KIND_KV_GET || r->kind == HTTP_KIND_VALUE || r->kind == HTTP_KIND_FOUND ||
	    r->kind == HTTP_KIND_GIVEN || r->kind == HTTP_KIND_EVENTS || r->kind == HTTP_KIND_COMMAND;
}
/* The name of the (first) command of a template. */
static inline purser_bytes http_route_name(const char *text)
{
	size_t n = 0;

	text += *text == '[';
	while (text[n] && text[n] != ' ')
		n++;
	return (purser_bytes){ (const uint8_t *)text, n };
}

/* The row for a method and a raw path; HEAD finds GET.  part[i]: what field i is, still escaped, of those
 * that are parts of the path.  NULL: bad says 404 (and what is near) or 405 (with Allow). */
const struct http_route *http_route_find(const struct http_routes *t, enum http_method m, purser_bytes path,
    purser_bytes part[HTTP_FIELDS_MAX], struct http_bad *bad);

struct http_call {
	const struct http_route *route; /* after 0, and where only the parameters were wrong */
	struct json_cmds cmds;    /* to be run in this order, in one session */
	purser_bytes key;         /* of the kv routes: points into cmds */
	bool pipeline;            /* the body was an array of commands */
	bool base64;              /* ?encoding=base64 */
	struct http_bad bad;
};

/* Fill c (zeroed, or used before).  0, or -1 with c->bad: the connection may stay open. */
int http_call_make(struct http_call *c, const struct http_routes *t, const struct http_head *h,
    const uint8_t *body, size_t n, const struct json_limits *lim);
void http_call_free(struct http_call *c);
#endif
