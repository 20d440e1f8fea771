/* SPDX-License-Identifier: Apache-2.0
 *
 * RESP on a connection: bytes to requests.
 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "server/server.h"

#define ADOPT_MIN 16384u /* a request at least so large takes the block that it arrived in */
#define OWN_PARSER_MIN 4096u
#define STREAM_MIN (256u << 10) /* a request that announces so much may pass through while it arrives */

/* The request at the front of c->in takes the block; what is behind it moves to a new one. */
static int hand_over(struct conn *c, struct request *r, size_t used)
{
	struct buf rest = { .max = c->in.max };

	buf_put(&rest, buf_data(&c->in) + used, buf_len(&c->in) - used);
	if (rest.failed) {
		buf_free(&rest);
		return -1;
	}
	req_adopt(r, c->in.p);
	c->in = rest;
	return 0;
}

static void drop_parser(struct conn *c)
{
	resp_parser_free(c->parser);
	free(c->parser);
	c->parser = NULL;
}

/* A large request that is not complete keeps what was parsed of it. */
static void keep_parser(struct conn *c, struct resp_parser *shared)
{
	c->parser = malloc(sizeof *c->parser);
	if (!c->parser)
		return; /* it is parsed from its beginning again: slower, not wrong */
	*c->parser = *shared;
	memset(shared, 0, sizeof *shared);
	shared->bulk = -1;
}

static enum err_code word_of(enum resp_result rc)
{
	return rc == RESP_BIG ? ERR_TOOBIG : ERR_INTERNAL; /* "ERR Protocol error: ...", as Redis says */
}

static size_t feed(struct conn *c, uint8_t *p, size_t n)
{
	size_t at = 0, seen = 0; /* up to where conn_look_ahead() has been */

	while (at < n && conn_may_read(c)) {
		struct resp_parser *ps = c->parser ? c->parser : &c->sv->parser;
		bool own = c->in.p && p == c->in.p + c->in.at, adopt, took = false;
		enum resp_result rc;
		struct request *r;

		if (!c->parser)
			resp_parser_reset(ps);
		rc = resp_parse(ps, c->cl.project ? &c->sv->limits.resp : &c->sv->limits.preauth, p + at, n - at);
		if (rc == RESP_MORE && own && ps->bytes >= STREAM_MIN) {
			if (at)
				return at; /* it comes again, at the front */
			if (conn_stream_begin(c, ps)) {
				if (c->parser)
					drop_parser(c);
				return 0;
			}
		}
		if (rc == RESP_MORE) {
			if (!c->parser && n - at >= OWN_PARSER_MIN)
				keep_parser(c, ps);
			return at;
		}
		if (rc == RESP_BAD || rc == RESP_BIG) {
			conn_refuse(c, word_of(rc), ps->error);
			return n;
		}
		if (rc == RESP_EMPTY) {
			at += ps->pos;
			continue;
		}
		/* what is behind it is copied, so there must be less of that */
		adopt = own && ps->pos >= ADOPT_MIN && n - at - ps->pos <= ps->pos;
		if (adopt && at) {
			if (c->parser)
				drop_parser(c);
			return at; /* it comes again, at the front */
		}
		r = req_new(&c->cl, ps->argv, ps->argc);
		if (!r) {
			c->cl.cut = true;
			return n;
		}
		if (adopt)
			took = hand_over(c, r, ps->pos) == 0;
		r->b.wire = p + at;
		r->b.wire_n = ps->pos;
		r->b.wire_argc = ps->argc;
		r->wire_in = ps->pos;
		at += ps->pos;
		if (at < n && at >= seen)
			seen = at + conn_look_ahead(c, p + at, n - at);
		if (++c->share == c->allow)
			fair_spent(c); /* the others' turn */
		req_start(r);
		if (c->parser)
			drop_parser(c);
		if (took)
			return FEED_TOOK;
	}
	return at;
}

size_t conn_feed_resp(struct conn *c, uint8_t *p, size_t n)
{
	size_t used = feed(c, p, n);

	if (c->sv->look.timing)
		conn_looked(c);
	return used;
}
