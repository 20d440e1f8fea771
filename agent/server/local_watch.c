/* SPDX-License-Identifier: Apache-2.0
 *
 * PURSER.SUBSCRIBE: clients that want to be told when something changes.  A message is a RESP3 push,
 * [purser, TOPIC, {field: value}], between two replies of its client.
 */
#include <config.h>
#include <string.h>
#include "base/buf.h"
#include "request_push.h"
#include "server/local.h"

static const char *const topics[TOPIC_COUNT] = { "breaker", "health" };

static void put_bulk(struct buf *b, const char *s)
{
	buf_printf(b, "$%zu\r\n%s\r\n", strlen(s), s);
}

void watch_tell(struct worker *w, const struct watch_message *m)
{
	struct buf b = { .max = 4096 };

	buf_puts(&b, ">3\r\n");
	put_bulk(&b, "purser");
	put_bulk(&b, topics[m->topic]);
	buf_printf(&b, "%%%u\r\n", m->n);
	for (uint32_t i = 0; i < m->n; i++) {
		put_bulk(&b, m->field[i].key);
		put_bulk(&b, m->field[i].value);
	}
	for (struct client *c = w->clients; c; c = c->next) {
		if (!(c->topics >> m->topic & 1) || c->resp != 3)
			continue;
		if (b.failed)
			client_dismiss(c, "memory", "no memory for a message of PURSER.SUBSCRIBE");
		else
			push_bytes(c, buf_data(&b), buf_len(&b));
	}
	buf_free(&b);
}

static void put_topics(struct request *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TOPIC_COUNT; i++)
		n += r->cl->topics >> i & 1;
	reply_array(&r->b, n);
	for (unsigned i = 0; i < TOPIC_COUNT; i++)
		if (r->cl->topics >> i & 1)
			reply_text(&r->b, topics[i]);
	req_finish(r);
}

/* The bits of the topics that r names; false: it is answered. */
static bool named(struct request *r, uint8_t *bits)
{
	*bits = 0;
	for (uint32_t i = 1; i < r->argc; i++) {
		unsigned t = 0;

		while (t < TOPIC_COUNT && !word_is(word(r, i), topics[t]))
			t++;
		if (t == TOPIC_COUNT) {
			local_failure(r, ERR_BADREQUEST, "a topic is one of breaker health");
			return false;
		}
		*bits |= (uint8_t)(1u << t);
	}
	return true;
}

static void do_subscribe(struct request *r)
{
	uint8_t bits;

	if ((r->sink && !r->cl->streams) || r->cl->resp != 3) {
		local_failure(r, ERR_BADREQUEST, "messages come as RESP3 pushes: say HELLO 3 first");
	} else if (named(r, &bits)) {
		if (!client_outband(r->cl)) {
			local_failure(r, ERR_OOM, NULL);
			return;
		}
		r->cl->topics |= bits;
		put_topics(r);
	}
}

static void do_unsubscribe(struct request *r)
{
	uint8_t bits;

	if (!named(r, &bits))
		return;
	r->cl->topics &= (uint8_t)~(bits ? bits : 0xff);
	put_topics(r);
}

void local_watch(req_handler *t)
{
	t[CMD_PURSER_SUBSCRIBE] = do_subscribe;
	t[CMD_PURSER_UNSUBSCRIBE] = do_unsubscribe;
}
