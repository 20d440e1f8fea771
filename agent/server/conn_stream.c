/* SPDX-License-Identifier: Apache-2.0
 *
 * A large request passes through while it arrives: what the client sends waits in c->in, at most
 * STREAM_READ bytes of it, until the backend's link takes it; only then is more read.  So a value of any
 * size costs no more memory than this, and a slow store slows its sender down.
 *
 * What the backend does not want any more (it answered with an error, or it is away) is read and thrown
 * away: the connection goes on behind it.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "server/server.h"

#define STREAM_READ (128u << 10)

struct conn_stream {
	struct call_source source;  /* first */
	struct conn *c;
	struct request *r;          /* NULL: nobody takes the bytes */
	struct resp_stream s;
	enum resp_result rc;        /* RESP_MORE: on its way */
	bool begun;                 /* the request's keys are known to s */
	bool starved;               /* its reader was told to wait */
	bool stuck;                 /* nothing to do until something comes, or the reader has gone */
};

/* encode(): what has come, with the project's prefix in front of the keys. */
static size_t source_read(struct call_source *source, uint8_t *dst, size_t cap, int *more)
{
	struct conn_stream *st = (struct conn_stream *)source;
	struct conn *c = st->c;
	size_t used, out;

	*more = PURSER_ENCODE_WAIT;
	if (c->closing || st->rc != RESP_MORE)
		return 0; /* it is being aborted: a command that is not complete is not executed */
	if (!st->begun) {
		st->s.keys = st->r->b.c.keys;
		st->s.nkeys = st->r->b.c.nkeys;
		st->s.prefix = st->r->b.prefix;
		st->s.prefix_len = st->r->b.c.ns_prefix;
		st->begun = true;
	}
	st->rc = resp_stream_pass(&st->s, buf_data(&c->in), buf_len(&c->in), &used, dst, cap, &out);
	buf_take(&c->in, used);
	st->r->wire_in += used;
	if (st->rc == RESP_OK)
		*more = PURSER_ENCODE_DONE;
	else if (st->rc == RESP_MORE && out == cap)
		*more = PURSER_ENCODE_FULL;
	st->starved = *more == PURSER_ENCODE_WAIT;
	st->stuck = st->rc == RESP_MORE && !(c->eof && st->starved);
	conn_wake(&c->cl); /* more can be read */
	return out;
}

static void source_ended(struct call_source *source)
{
	struct conn_stream *st = (struct conn_stream *)source;

	st->r = NULL;
	st->s.nkeys = st->s.key = 0; /* they were the request's */
	st->stuck = false;
	conn_wake(&st->c->cl);
}

/* No more memory than is needed from here on. */
static void fit(struct buf *b)
{
	struct buf small = { .max = b->max };

	if (b->cap <= STREAM_READ * 2)
		return;
	if (buf_room(&small, buf_len(b) > STREAM_READ ? buf_len(b) : STREAM_READ))
		return;
	buf_put(&small, buf_data(b), buf_len(b));
	buf_free(b);
	*b = small;
}

bool conn_stream_begin(struct conn *c, const struct resp_parser *ps)
{
	struct conn_stream *st;
	purser_bytes *argv;

	if (!req_may_stream(&c->cl, ps->argv, ps->have, ps->argc))
		return false;
	st = calloc(1, sizeof *st);
	argv = calloc(ps->argc, sizeof *argv);
	if (!st || !argv) {
		free(st);
		free(argv);
		return false; /* it is gathered, or refused */
	}
	memcpy(argv, ps->argv, ps->have * sizeof *argv);
	st->source.read = source_read;
	st->source.ended = source_ended;
	st->c = c;
	st->rc = RESP_MORE;
	resp_stream_begin(&st->s, &c->sv->limits.resp);
	c->stream = st;
	if (!req_stream(&c->cl, argv, ps->argc, ps->have, &st->r, &st->source))
		c->cl.cut = true;
	free(argv);
	fit(&c->in);
	return true;
}

void conn_stream_free(struct conn *c)
{
	free(c->stream);
	c->stream = NULL;
}

/* It is all through, or all thrown away: what is behind it is the next request. */
static void over(struct conn *c)
{
	if (c->stream->r)
		c->stream->r->b.source = NULL;
	conn_stream_free(c);
	c->hungry = false;
	conn_wake(&c->cl);
}

/* What nobody takes. */
static void throw_away(struct conn *c)
{
	struct conn_stream *st = c->stream;
	size_t used, out;

	if (st->rc == RESP_MORE) {
		st->rc = resp_stream_pass(&st->s, buf_data(&c->in), buf_len(&c->in), &used, NULL, SIZE_MAX, &out);
		buf_take(&c->in, used);
	}
	if (st->rc == RESP_OK)
		over(c);
}

void conn_stream_step(struct conn *c)
{
	struct conn_stream *st = c->stream;

	st->stuck = true;
	if (st->rc == RESP_OK) {
		over(c);
		return;
	}
	if (!st->r) {
		throw_away(c);
		if (!c->stream)
			return;
	}
	if (st->rc != RESP_MORE) { /* in the middle of a value: nothing behind it can be understood */
		enum resp_result rc = st->rc;

		if (st->r)
			req_stream_abort(st->r);
		if (!c->cl.quit)
			conn_refuse(c, rc == RESP_BIG ? ERR_TOOBIG : ERR_INTERNAL, st->s.ps.error);
		return;
	}
	if (!st->r || !st->starved)
		return;
	if (c->eof)
		req_stream_abort(st->r); /* the rest never comes */
	else if (buf_len(&c->in)) {
		st->starved = false;
		ctx_feed(st->r->b.c.ctx, &st->r->b);
	}
}

void conn_stream_read(struct conn *c)
{
	size_t have = buf_len(&c->in), room = have < STREAM_READ ? STREAM_READ - have : 0;

	if (!room || c->eof)
		return;
	if (buf_room(&c->in, room)) {
		c->cl.cut = true;
		return;
	}
	c->in.end += conn_receive(c, c->in.p + c->in.end, room);
	conn_stream_step(c);
}

bool conn_stream_reads(const struct conn *c)
{
	return !c->cl.held && (c->stream->r || !c->cl.quit) && buf_len(&c->in) < STREAM_READ;
}

bool conn_stream_may_step(const struct conn *c)
{
	return !c->stream->stuck || (c->readable && conn_stream_reads(c));
}
