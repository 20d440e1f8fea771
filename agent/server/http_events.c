/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "resp/pick.h"
#include "server/http_events.h"

static const struct shape {
	const char *kind;           /* of the push */
	const char *event;          /* NULL: has no name */
	const char *field[3];       /* of what is behind the kind */
} shapes[] = {
	{ "message", NULL, { "channel", "data" } },
	{ "pmessage", NULL, { "pattern", "channel", "data" } },
	{ "subscribe", "subscribe", { "channel", "count" } },
	{ "psubscribe", "psubscribe", { "pattern", "count" } },
	{ "purser.closed", "closed", { "reason" } },
	{ "lock.lost", "lock.lost", { "name", "fence", "reason" } },
};

static const struct shape *shape_of(purser_bytes kind, int64_t n)
{
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		int64_t fields = 1;

		for (int k = 0; k < 3 && shapes[i].field[k]; k++)
			fields++;
		if (strlen(shapes[i].kind) == kind.n && memcmp(shapes[i].kind, kind.p, kind.n) == 0 && fields == n)
			return &shapes[i];
	}
	return NULL;
}

/* The next value as JSON. */
static int put_value(struct buf *out, const uint8_t **p, const uint8_t *end, struct json_out *j)
{
	int64_t used;

	json_out_reset(j);
	used = json_out_feed(j, *p, (size_t)(end - *p), out);
	if (used < 0 || !json_out_done(j))
		return -1;
	*p += used;
	return 0;
}

/* A number that a push has as a word. */
static int put_number(struct buf *out, const uint8_t **p, const uint8_t *end)
{
	purser_bytes w;
	int64_t v;

	if (resp_pick_bulk(p, end, &w) || purser_resp_int(w.p, w.n, &v))
		return -1;
	buf_puti(out, v);
	return 0;
}

/* A line of its own: whatever is no part of a name becomes '_'. */
static void put_event(struct buf *out, purser_bytes name)
{
	buf_puts(out, "event: ");
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];
		bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';

		buf_putc(out, (char)(good ? c : '_'));
	}
	buf_putc(out, '\n');
}

static int put_fields(struct buf *out, const struct shape *s, const uint8_t **p, const uint8_t *end, struct json_out *j)
{
	if (s->event)
		buf_printf(out, "event: %s\n", s->event);
	buf_puts(out, "data: {");
	for (int k = 0; k < 3 && s->field[k]; k++) {
		buf_printf(out, "%s\"%s\":", k ? "," : "", s->field[k]);
		if (strcmp(s->field[k], "fence") == 0 ? put_number(out, p, end) : put_value(out, p, end, j))
			return -1;
	}
	buf_putc(out, '}');
	return 0;
}

/* n values behind the kind. */
static int put_plain(struct buf *out, int64_t n, const uint8_t **p, const uint8_t *end, struct json_out *j)
{
	buf_puts(out, n == 1 ? "data: " : "data: [");
	for (int64_t i = 0; i < n; i++) {
		if (i)
			buf_putc(out, ',');
		if (put_value(out, p, end, j))
			return -1;
	}
	if (n != 1)
		buf_putc(out, ']');
	return 0;
}

static int put_push(struct buf *out, int64_t n, const uint8_t **p, const uint8_t *end, struct json_out *j, bool *closed)
{
	purser_bytes kind, topic;
	const struct shape *s;

	if (n < 1 || resp_pick_bulk(p, end, &kind))
		return -1;
	s = shape_of(kind, n);
	if (s) {
		*closed |= strcmp(s->field[0], "reason") == 0;
		return put_fields(out, s, p, end, j);
	}
	n--;
	if (n > 1 && kind.n == 6 && memcmp(kind.p, "purser", 6) == 0) {
		if (resp_pick_bulk(p, end, &topic))
			return -1;
		kind = topic;
		n--;
	}
	put_event(out, kind);
	return put_plain(out, n, p, end, j);
}

int64_t http_event_put(struct buf *out, const uint8_t *p, size_t n, struct json_out *j, bool *closed)
{
	const uint8_t *at = p, *end = p + n;
	int64_t count;
	int rc;

	if (n && *p == '>' && resp_pick_header(&at, end, '>', &count) == 0) {
		rc = put_push(out, count, &at, end, j, closed);
	} else {
		buf_puts(out, "event: result\ndata: ");
		rc = put_value(out, &at, end, j);
	}
	buf_puts(out, "\n\n");
	return rc ? -1 : at - p;
}
