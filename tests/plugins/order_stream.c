/* SPDX-License-Identifier: Apache-2.0 */
#include "order.h"
#include <stdlib.h>

int stream_more(struct ctx *x, purser_call *c)
{
	struct call_state *st = c->user[0];
	int more = PURSER_ENCODE_FULL;

	while (more == PURSER_ENCODE_FULL) {
		size_t room = 1 + (size_t)rnd(x, 3000), n;

		if (st->cap - st->came < room) {
			size_t cap = st->cap * 2 + room;
			uint8_t *p = realloc(st->wire, cap);

			if (!p)
				return STREAM_NOMEM;
			st->wire = p;
			st->cap = cap;
		}
		n = x->s->h->encode(c, st->wire + st->came, room, &more);
		if (n > room || (more == PURSER_ENCODE_FULL && !n))
			wrong(x, "encode() of a stream wrote %zu of %zu bytes", n, room);
		st->came += n;
	}
	if (more == PURSER_ENCODE_WAIT)
		return STREAM_WAITS;
	if (x->s->h->rewind(c) == 0)
		wrong(x, "a stream can be encoded again");
	st->argv = calloc(c->argc, sizeof(*st->argv));
	return st->argv && !check_words(x, c, st->came) ? STREAM_WHOLE : STREAM_NOMEM;
}

bool stream_drop(struct ctx *x, purser_call *c)
{
	for (purser_call **p = &x->streams; *p; p = &(*p)->link)
		if (*p == c) {
			*p = c->link;
			c->link = NULL;
			return true;
		}
	return false;
}
