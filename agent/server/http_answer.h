/* SPDX-License-Identifier: Apache-2.0
 *
 * server/http_answer: replies to a response.  In: for each command of an http_call, in order, either
 * the RESP value's bytes in any fragments and then end, or an error, or a failure.  Out: bytes for the
 * socket in a->out, which the caller may drain at any time.  A body up to HTTP_ANSWER_HOLD goes out
 * with its length when it is complete (so an error of a later command can still change the status);
 * a longer one goes out in chunks as it comes.
 */
#ifndef SERVER_HTTP_ANSWER_H
#define SERVER_HTTP_ANSWER_H
#include "resp/json_out.h"
#include "server/http_reply.h"
#include "server/http_route.h"

#define HTTP_ANSWER_HOLD 65536u

struct http_answer {
	struct buf out;           /* for the socket; drained by the caller */
	const struct http_call *call; /* borrowed until done */
	uint32_t at;              /* the command whose reply is due */
	bool streams;             /* done, and the body goes on: events follow */
	bool done;                /* every command has been answered, the response is complete in out */
	bool cut;                 /* ... or it cannot be completed: close behind out, without an end */
	bool close;               /* close the connection when out is drained */
	/* its own */
	struct http_reply reply;
	char request_id[128];
	enum http_framing framing;
	bool head_sent;
	bool answered;            /* a problem went out: further replies are passed over */
	bool absent;              /* GET said nil */
	bool base64;              /* the value went out as base64 */
	struct buf body;          /* not sent yet */
	size_t mark;              /* where in body the reply at hand begins; SIZE_MAX: part of it is sent */
	struct buf small;         /* a reply that is looked at, not passed on */
	struct json_out json;
	struct {                  /* of a reply that is passed on as plain text */
		uint8_t state, prefix;
		uint64_t left;
		uint8_t n;
		char line[24];
	} text;
};

/* a: zeroed, or used before.  h: the request's head, read now and not kept. */
void http_answer_begin(struct http_answer *a, const struct http_call *call, const struct http_head *h);
/* Bytes of the reply to command a->at; all are used.  What is not the reply that the route needs
 * makes the answer a problem (or cut); what follows is passed over. */
void http_answer_raw(struct http_answer *a, const uint8_t *p, size_t n);
/* The reply to a->at is complete: RESP value given, or ... */
void http_answer_end(struct http_answer *a);
/* ... an error in its place ("WORD text" without '-'); may also come after some of the value. */
void http_answer_error(struct http_answer *a, enum err_code code, const void *text, size_t n);
/* Refuse a request that never became commands. */
void http_answer_refuse(struct http_answer *a, const struct http_head *h, const struct http_bad *bad,
    bool close);
void http_answer_free(struct http_answer *a);
#endif
