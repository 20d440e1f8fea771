/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "request_noloop.h"

static bool has_word(const purser_bytes *argv, uint32_t argc, uint32_t from, const char *a, const char *b)
{
	for (uint32_t i = from; i < argc; i++)
		if (cmd_word_is(argv[i], a) || cmd_word_is(argv[i], b))
			return true;
	return false;
}

/* As Redis 7.0 signals changed keys.  Whoever is not here is told of its own write: a cache reads once too often. */
enum noloop_proof noloop_proof(const struct command *c, const purser_bytes *argv, uint32_t argc)
{
	switch (c->id) {
	case CMD_SET:
		return has_word(argv, argc, 3, "NX", "XX") ? NOLOOP_NONE : NOLOOP_ANY;
	case CMD_SETEX: case CMD_PSETEX: case CMD_MSET: case CMD_GETSET: case CMD_APPEND: case CMD_INCR: case CMD_DECR:
	case CMD_INCRBY: case CMD_DECRBY: case CMD_INCRBYFLOAT: case CMD_HSET: case CMD_HMSET: case CMD_HINCRBY:
	case CMD_HINCRBYFLOAT: case CMD_LPUSH: case CMD_RPUSH: case CMD_LSET:
		return NOLOOP_ANY;
	case CMD_XADD:
		return has_word(argv, argc, 2, "NOMKSTREAM", "NOMKSTREAM") ? NOLOOP_NONE : NOLOOP_ANY;
	case CMD_DEL: case CMD_UNLINK:
		return argc == 2 ? NOLOOP_COUNT : NOLOOP_NONE;
	case CMD_SETNX: case CMD_MSETNX: case CMD_EXPIRE: case CMD_PEXPIRE: case CMD_EXPIREAT: case CMD_PEXPIREAT:
	case CMD_PERSIST: case CMD_HSETNX: case CMD_HDEL: case CMD_SADD: case CMD_SREM: case CMD_ZADD: case CMD_ZREM:
	case CMD_LREM: case CMD_LPUSHX: case CMD_RPUSHX: case CMD_LINSERT: case CMD_PFADD: case CMD_XDEL:
		return NOLOOP_COUNT;
	case CMD_GETDEL: case CMD_LPOP: case CMD_RPOP: case CMD_SPOP:
		return argc == 2 ? NOLOOP_VALUE : NOLOOP_NONE;
	default:
		return NOLOOP_NONE;
	}
}

static int feed(struct reply_filter *base, const uint8_t *p, size_t n)
{
	struct noloop_filter *f = (struct noloop_filter *)base;
	int rc;

	for (size_t i = 0; i < n && f->have < sizeof f->head; i++)
		f->head[f->have++] = p[i];
	if (!f->then)
		return out_put(f->r->b.out, f->r->b.pool, p, n);
	rc = f->then->feed(f->then, p, n);
	f->f.err = f->then->err;
	return rc;
}

void noloop_listen(struct noloop_filter *f, struct request *r)
{
	*f = (struct noloop_filter){ .f = { .feed = feed }, .r = r, .then = r->b.filter };
	r->b.filter = &f->f;
}

bool noloop_proved(const struct noloop_filter *f, enum noloop_proof p)
{
	const char *h = (const char *)f->head;

	if (f->r->b.err || f->r->b.broken || f->have < 3 || *h == '-')
		return false;
	switch (p) {
	case NOLOOP_ANY:
		return true;
	case NOLOOP_COUNT:
		return h[0] == ':' && h[1] >= '1' && h[1] <= '9';
	case NOLOOP_VALUE:
		return h[0] == '$' && h[1] >= '0' && h[1] <= '9';
	case NOLOOP_NONE:
		break;
	}
	return false;
}
