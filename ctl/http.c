/* SPDX-License-Identifier: Apache-2.0
 *
 * purserctl: what is asked over HTTP, because its answers keep their types.  One request, HTTP/1.0: the answer is over
 * when the agent closes, or never (events).
 */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/buf.h"
#include "ctl.h"

static int broke(struct ctl *x)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return ctl_fail(x, CTL_CONNECT, "no answer from the agent at %s in time: raise --timeout, or see purserctl health", x->socket);
	return ctl_fail(x, CTL_CONNECT, "the connection to the agent at %s broke%s%s", x->socket, errno ? ": " : "",
	    errno ? strerror(errno) : "");
}

static int send_all(struct ctl *x, const char *p, size_t n)
{
	while (n) {
		ssize_t sent = send(x->c->fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return broke(x);
		p += sent;
		n -= (size_t)sent;
	}
	return CTL_OK;
}

int ctl_http_send(struct ctl *x, const char *target, json_t *body)
{
	struct buf b = { 0 };
	char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY), token[8192 + 1] = "";
	int rc = text ? ctl_open(x, token, sizeof token) : ctl_fail(x, CTL_ERROR, "out of memory");

	json_decref(body);
	if (rc == CTL_OK) {
		buf_printf(&b, "POST %s HTTP/1.0\r\nHost: purser\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n",
		    target, strlen(text));
		if (x->project)
			buf_printf(&b, "Purser-Project: %s\r\n", x->project);
		if (*token)
			buf_printf(&b, "Authorization: Bearer %s\r\n", token);
		buf_puts(&b, "\r\n");
		buf_puts(&b, text);
		rc = b.failed ? ctl_fail(x, CTL_ERROR, "out of memory") : send_all(x, (const char *)buf_data(&b), buf_len(&b));
		if (b.p)
			explicit_bzero(b.p, b.cap);
	}
	explicit_bzero(token, sizeof token);
	if (text)
		explicit_bzero(text, strlen(text)); /* ids of sessions are secrets */
	free(text);
	buf_free(&b);
	return rc;
}

/* More of the answer: 1; 0 at its end; -1: broken. */
int ctl_http_more(struct ctl *x, struct buf *b)
{
	ssize_t n;

	if (buf_room(b, 65536))
		return -1;
	do {
		n = recv(x->c->fd, b->p + b->end, 65536, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		b->end += (size_t)n;
	else if (n == 0)
		errno = 0;
	return n > 0 ? 1 : n == 0 ? 0 : -1;
}

int ctl_http_head(struct ctl *x, struct buf *b, int *status)
{
	const char *end = NULL;

	while (!end) {
		int rc = ctl_http_more(x, b);

		if (rc <= 0)
			return broke(x);
		end = memmem(buf_data(b), buf_len(b), "\r\n\r\n", 4);
	}
	*status = buf_len(b) > 12 ? (int)strtol((const char *)buf_data(b) + 9, NULL, 10) : 0; /* other than 200: no answer */
	buf_take(b, (size_t)(end + 4 - (const char *)buf_data(b)));
	return CTL_OK;
}

/* What went wrong, as the agent says it. */
int ctl_http_problem(struct ctl *x, struct buf *b)
{
	const char *code, *detail;
	json_t *doc;
	int rc;

	while ((rc = ctl_http_more(x, b)) > 0)
		;
	doc = rc < 0 ? NULL : json_loadb((const char *)buf_data(b), buf_len(b), 0, NULL);
	code = json_string_value(json_object_get(doc, "code"));
	detail = json_string_value(json_object_get(doc, "detail"));
	rc = ctl_fail(x, CTL_ERROR, "%s %s", code ? code : "ERR", detail ? detail : "the agent's answer is no HTTP");
	json_decref(doc);
	return rc;
}

int ctl_http_ask(struct ctl *x, json_t *words, json_t **result)
{
	struct buf b = { .max = 1u << 30 };
	int status = 0, more = 1, rc = ctl_http_send(x, "/v1/command", words);
	json_t *doc;

	*result = NULL;
	if (rc == CTL_OK)
		rc = ctl_http_head(x, &b, &status);
	if (rc == CTL_OK && status != 200) {
		rc = ctl_http_problem(x, &b);
	} else if (rc == CTL_OK) {
		while ((more = ctl_http_more(x, &b)) > 0)
			;
		doc = more < 0 ? NULL : json_loadb((const char *)buf_data(&b), buf_len(&b), JSON_ALLOW_NUL, NULL);
		*result = json_incref(json_object_get(doc, "result"));
		json_decref(doc);
		if (!*result)
			rc = broke(x);
	}
	if (b.p)
		explicit_bzero(b.p, b.cap);
	buf_free(&b);
	return rc;
}
