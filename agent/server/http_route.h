/* SPDX-License-Identifier: Apache-2.0
 *
 * server/http_route: from a parsed request to commands.  The routes are rows of routes.def; a row
 * names its command, how the request's parts become arguments (map) and what the body of the answer
 * is made of (kind; see http_answer).  Everything behind this is the same road as RESP's.
 */
#ifndef SERVER_HTTP_ROUTE_H
#define SERVER_HTTP_ROUTE_H
#include <stdbool.h>
#include <stdint.h>
#include "resp/json_in.h"
#include "server/http_head.h"

enum http_map {               /* request -> commands */
	HTTP_MAP_NONE,            /* the command alone; no parameter, no body */
	HTTP_MAP_KV_GET,          /* ?key= -> GET key, PTTL key */
	HTTP_MAP_KV_SET,          /* body {"key","value",...} -> SET */
	HTTP_MAP_KV_DEL,          /* ?key= -> DEL key */
	HTTP_MAP_COMMAND,         /* body: one command, or a pipeline */
	HTTP_MAP_EXPLAIN          /* body: one command, which becomes the arguments */
};
enum http_kind {              /* replies -> body */
	HTTP_KIND_JSON,           /* the reply is a string that is a JSON document: as it is */
	HTTP_KIND_TEXT,           /* the reply is a string: plain text */
	HTTP_KIND_METRICS,        /* the reply is a string: Prometheus text */
	HTTP_KIND_KV_GET,         /* {"key","value","ttl_ms"}, 404 when absent */
	HTTP_KIND_KV_SET,         /* {"key","stored":true} */
	HTTP_KIND_KV_DEL,         /* {"key","deleted":true|false} */
	HTTP_KIND_VALUE,          /* any reply, as typed JSON (json_out) */
	HTTP_KIND_COMMAND         /* {"result":...}, or an array of {"result"} and {"error"} */
};

struct http_route {
	enum http_method method;
	const char *path;
	const char *command;      /* "GET"; "" = what the body says */
	enum http_map map;
	enum http_kind kind;
	const char *params;       /* query parameters, "a b"; "" = none */
	const char *summary;
};
extern const struct http_route http_routes[];
extern const unsigned http_nroutes;

const char *http_method_name(enum http_method m);

struct http_call {
	const struct http_route *route; /* after 0, and where only the parameters were wrong */
	struct json_cmds cmds;    /* to be run in this order, in one session */
	purser_bytes key;         /* of the kv routes: points into cmds */
	bool pipeline;            /* the body was an array of commands */
	bool base64;              /* ?encoding=base64 */
	struct http_bad bad;
};

/* The row for a method and a decoded path; HEAD finds GET.  NULL: bad says 404 (and what is near) or
 * 405 (with Allow). */
const struct http_route *http_route_find(enum http_method m, purser_bytes path, struct http_bad *bad);
/* Fill c (zeroed, or used before).  0, or -1 with c->bad: the connection may stay open. */
int http_call_make(struct http_call *c, const struct http_head *h, const uint8_t *body, size_t n,
    const struct json_limits *lim);
void http_call_free(struct http_call *c);
#endif
