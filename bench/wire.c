/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the load generator and their replies: see wire.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define KEY_BYTES 16 /* the prefix and 12 hex digits */
#define TAG_BYTES 8  /* the key's number at the start of its value */
#define POOL_SHIFT 4096

static const char *const op_names[OP_COUNT] = {"ping", "get", "set", "mget", "mset", "eval", "publish"};

const char *wire_op_name(enum wire_op op)
{
	return op < OP_COUNT ? op_names[op] : NULL;
}

enum wire_op wire_op_find(const char *name, size_t len)
{
	unsigned op = 0;

	while (op < OP_COUNT && (strlen(op_names[op]) != len || memcmp(op_names[op], name, len) != 0))
		op++;
	return (enum wire_op)op;
}

int wire_init(struct wire *w)
{
	uint64_t state = 42;

	w->pool = malloc(w->value_bytes + POOL_SHIFT);
	if (!w->pool)
		return -1;
	for (size_t i = 0; i < w->value_bytes + POOL_SHIFT; i++)
		w->pool[i] = "abcdefghijklmnopqrstuvwxyz012345"[keys_random(&state) & 31];
	return 0;
}

void wire_free(struct wire *w)
{
	free(w->pool);
	w->pool = NULL;
}

size_t wire_max_request(const struct wire *w)
{
	return 128 + (size_t)w->multi * (KEY_BYTES + w->value_bytes + 40);
}

size_t wire_max_reply(const struct wire *w)
{
	return 128 + (size_t)w->multi * (KEY_BYTES + w->value_bytes + 40);
}

/* --- writing ------------------------------------------------------------------------------- */

static char *put(char *p, const char *text, size_t len)
{
	memcpy(p, text, len);
	return p + len;
}

#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

static char *put_number(char *p, uint64_t n)
{
	char digits[20];
	size_t len = 0;

	do
		digits[sizeof(digits) - ++len] = (char)('0' + n % 10);
	while (n /= 10);
	return put(p, digits + sizeof(digits) - len, len);
}

static char *put_hex(char *p, uint64_t n, unsigned digits)
{
	for (unsigned i = digits; i-- > 0; n >>= 4)
		p[i] = "0123456789abcdef"[n & 15];
	return p + digits;
}

static char *put_key(const struct wire *w, char *p, uint32_t key)
{
	p = put(p, w->prefix, sizeof(w->prefix));
	return put_hex(p, key, KEY_BYTES - sizeof(w->prefix));
}

static const char *value_rest(const struct wire *w, uint32_t key)
{
	return w->pool + (key * 2654435761u) % POOL_SHIFT;
}

static char *put_value(const struct wire *w, char *p, uint32_t key)
{
	size_t tag = w->value_bytes < TAG_BYTES ? 0 : TAG_BYTES;

	if (tag)
		p = put_hex(p, key, TAG_BYTES);
	return put(p, value_rest(w, key), w->value_bytes - tag);
}

static char *put_head(char *p, char type, uint64_t n)
{
	*p++ = type;
	return PUT(put_number(p, n), "\r\n");
}

static char *put_bulk_key(const struct wire *w, char *p, uint32_t key)
{
	return PUT(put_key(w, PUT(p, "$16\r\n"), key), "\r\n");
}

static char *put_bulk_value(const struct wire *w, char *p, uint32_t key)
{
	return PUT(put_value(w, put_head(p, '$', w->value_bytes), key), "\r\n");
}

static char *request_resp(const struct wire *w, enum wire_op op, uint64_t pos, char *p)
{
	unsigned span = wire_span(w, op);
	bool values = op == OP_SET || op == OP_MSET, ttl = op == OP_SET && w->ttl;
	char seconds[16];

	if (op == OP_PING)
		return PUT(p, "*1\r\n$4\r\nPING\r\n");
	if (op == OP_EVAL) /* a GET by a script */
		return put_bulk_key(w, PUT(p, "*4\r\n$4\r\nEVAL\r\n$33\r\nreturn redis.call('get', KEYS[1])\r\n$1\r\n1\r\n"),
				    keys_at(w->keys, pos));
	p = put_head(p, '*', 1 + span * (values ? 2 : 1) + (ttl ? 2 : 0));
	if (op == OP_GET || op == OP_SET)
		p = op == OP_GET ? PUT(p, "$3\r\nGET\r\n") : PUT(p, "$3\r\nSET\r\n");
	else
		p = op == OP_MGET ? PUT(p, "$4\r\nMGET\r\n") : PUT(p, "$4\r\nMSET\r\n");
	for (unsigned i = 0; i < span; i++) {
		uint32_t key = keys_at(w->keys, pos + i);
		p = put_bulk_key(w, p, key);
		if (values)
			p = put_bulk_value(w, p, key);
	}
	if (!ttl)
		return p;
	size_t digits = (size_t)(put_number(seconds, w->ttl) - seconds);
	p = put_head(PUT(p, "$2\r\nEX\r\n"), '$', digits);
	return PUT(put(p, seconds, digits), "\r\n");
}

static char *request_memcache(const struct wire *w, enum wire_op op, uint64_t pos, char *p)
{
	if (op == OP_PING)
		return PUT(p, "mn\r\n");
	if (op == OP_SET) {
		p = PUT(put_key(w, PUT(p, "set "), keys_at(w->keys, pos)), " 0 ");
		p = PUT(put_number(p, w->ttl), " ");
		p = PUT(put_number(p, w->value_bytes), "\r\n");
		return PUT(put_value(w, p, keys_at(w->keys, pos)), "\r\n");
	}
	p = PUT(p, "get");
	for (unsigned i = 0; i < wire_span(w, op); i++)
		p = put_key(w, PUT(p, " "), keys_at(w->keys, pos + i));
	return PUT(p, "\r\n");
}

char *wire_request(const struct wire *w, enum wire_op op, uint64_t pos, char *p)
{
	return w->memcache ? request_memcache(w, op, pos, p) : request_resp(w, op, pos, p);
}

/* --- reading ------------------------------------------------------------------------------- */

enum match { MATCH, MATCH_SHORT, MATCH_NOT };

/* A place in the bytes that came, moved along what was expected. */
struct reader {
	const char *p, *end;
};

static enum match match_bytes(struct reader *r, const char *want, size_t len)
{
	size_t left = (size_t)(r->end - r->p), n = len < left ? len : left;

	if (memcmp(r->p, want, n) != 0)
		return MATCH_NOT;
	r->p += n;
	return n == len ? MATCH : MATCH_SHORT;
}

static enum match match_value(const struct wire *w, struct reader *r, uint32_t key)
{
	size_t tag = w->value_bytes < TAG_BYTES ? 0 : TAG_BYTES;
	char hex[TAG_BYTES];

	if ((size_t)(r->end - r->p) < w->value_bytes + 2)
		return MATCH_SHORT;
	if (w->check_values) {
		put_hex(hex, key, TAG_BYTES);
		if (memcmp(r->p, hex, tag) != 0 ||
		    memcmp(r->p + tag, value_rest(w, key), w->value_bytes - tag) != 0)
			return MATCH_NOT;
	}
	r->p += w->value_bytes;
	return match_bytes(r, "\r\n", 2);
}

static enum match match_item(const struct wire *w, struct reader *r, uint32_t key)
{
	char head[64], *p = head;

	if (w->memcache)
		p = PUT(put_number(PUT(put_key(w, PUT(p, "VALUE "), key), " 0 "), w->value_bytes), "\r\n");
	else
		p = put_head(p, '$', w->value_bytes);
	enum match m = match_bytes(r, head, (size_t)(p - head));
	return m == MATCH ? match_value(w, r, key) : m;
}

static enum match match_items(const struct wire *w, enum wire_op op, uint64_t pos, struct reader *r)
{
	unsigned span = wire_span(w, op);
	enum match m = MATCH;
	char head[24];

	if (op == OP_MGET && !w->memcache)
		m = match_bytes(r, head, (size_t)(put_head(head, '*', span) - head));
	for (unsigned i = 0; i < span && m == MATCH; i++)
		m = match_item(w, r, keys_at(w->keys, pos + i));
	if (m == MATCH && w->memcache)
		m = match_bytes(r, "END\r\n", 5);
	return m;
}

static enum match match_reply(const struct wire *w, enum wire_op op, uint64_t pos, struct reader *r)
{
	char count[24];

	switch (op) {
	case OP_GET:
	case OP_MGET:
	case OP_EVAL:
		return match_items(w, op, pos, r);
	case OP_SET:
	case OP_MSET:
		return w->memcache ? match_bytes(r, "STORED\r\n", 8) : match_bytes(r, "+OK\r\n", 5);
	case OP_PUBLISH:
		return match_bytes(r, count, (size_t)(put_head(count, ':', w->subscribers) - count));
	default:
		return w->memcache ? match_bytes(r, "MN\r\n", 4) : match_bytes(r, "+PONG\r\n", 7);
	}
}

/* The reply is not the expected one: how long is it, and what does it say? */
static long judge_resp(enum wire_op op, const char *buf, size_t len, enum wire_verdict *verdict)
{
	long n = wire_skip(buf, len);

	if (n <= 0) {
		*verdict = n < 0 ? WIRE_BROKEN : WIRE_OK;
		return n;
	}
	if (buf[0] == '-' || buf[0] == '!')
		*verdict = WIRE_ERROR;
	else if (buf[0] == '_' || memmem(buf, (size_t)n, "$-1\r\n", 5))
		*verdict = op == OP_GET || op == OP_EVAL || op == OP_MGET ? WIRE_NIL : WIRE_MISMATCH;
	else
		*verdict = WIRE_MISMATCH;
	return n;
}

/* Memcached's replies have no common frame, so whatever is not known ends the conversation. */
static long judge_memcache(enum wire_op op, const char *buf, size_t len, enum wire_verdict *verdict)
{
	long n = wire_skip_line(buf, len);

	*verdict = WIRE_OK;
	if (n == 0 && len < 4096)
		return 0;
	if (n >= 5 && op == OP_GET && memcmp(buf, "END\r\n", 5) == 0)
		*verdict = WIRE_NIL;
	else if (n >= 5 && (memmem(buf, (size_t)n, "ERROR", 5)))
		*verdict = WIRE_ERROR;
	else
		*verdict = WIRE_BROKEN;
	return *verdict == WIRE_BROKEN ? -1 : n;
}

long wire_reply(const struct wire *w, enum wire_op op, uint64_t pos, const char *buf, size_t len,
		enum wire_verdict *verdict)
{
	struct reader r = {buf, buf + len};
	enum match m = match_reply(w, op, pos, &r);

	*verdict = WIRE_OK;
	if (m == MATCH)
		return r.p - buf;
	if (m == MATCH_SHORT)
		return 0;
	return w->memcache ? judge_memcache(op, buf, len, verdict) : judge_resp(op, buf, len, verdict);
}

/* --- publish and subscribe ----------------------------------------------------------------- */

char *wire_publish(const struct wire *w, unsigned publisher, uint64_t number, char *p)
{
	p = PUT(p, "*3\r\n$7\r\nPUBLISH\r\n");
	p = PUT(PUT(put_head(p, '$', sizeof(WIRE_CHANNEL) - 1), WIRE_CHANNEL), "\r\n");
	p = put_head(p, '$', w->value_bytes);
	p = put_hex(put_hex(p, publisher, 8), number, 16);
	return PUT(put(p, w->pool, w->value_bytes - WIRE_STAMP), "\r\n");
}

static bool get_hex(const char *p, unsigned digits, uint64_t *n)
{
	*n = 0;
	for (unsigned i = 0; i < digits; i++) {
		const char *at = memchr("0123456789abcdef", p[i], 16);
		if (!at)
			return false;
		*n = *n << 4 | (uint64_t)(at - "0123456789abcdef");
	}
	return true;
}

long wire_message(const struct wire *w, const char *buf, size_t len, unsigned *publisher,
		  uint64_t *number)
{
	char head[96], *p = head;
	struct reader r = {buf, buf + len};
	uint64_t who;

	if (len == 0)
		return 0;
	*p++ = buf[0] == '>' ? '>' : '*';
	p = PUT(p, "3\r\n$7\r\nmessage\r\n");
	p = PUT(PUT(put_head(p, '$', sizeof(WIRE_CHANNEL) - 1), WIRE_CHANNEL), "\r\n");
	p = put_head(p, '$', w->value_bytes);
	enum match m = match_bytes(&r, head, (size_t)(p - head));
	if (m != MATCH)
		return m == MATCH_SHORT ? 0 : -1;
	if ((size_t)(r.end - r.p) < w->value_bytes + 2)
		return 0;
	if (!get_hex(r.p, 8, &who) || !get_hex(r.p + 8, 16, number) ||
	    memcmp(r.p + WIRE_STAMP, w->pool, w->value_bytes - WIRE_STAMP) != 0 ||
	    memcmp(r.p + w->value_bytes, "\r\n", 2) != 0)
		return -1;
	*publisher = (unsigned)who;
	return r.p + w->value_bytes + 2 - buf;
}

/* --- frames -------------------------------------------------------------------------------- */

long wire_skip_line(const char *buf, size_t len)
{
	const char *at = memmem(buf, len, "\r\n", 2);

	return at ? at + 2 - buf : 0;
}

/* Elements that follow an aggregate's head; -1 when the type is not an aggregate. */
static long aggregate_elements(char type, long n)
{
	if (type == '*' || type == '~' || type == '>')
		return n > 0 ? n : 0;
	if (type == '%')
		return n > 0 ? 2 * n : 0;
	if (type == '|') /* attributes: the value they speak of follows */
		return (n > 0 ? 2 * n : 0) + 1;
	return -1;
}

long wire_skip(const char *buf, size_t len)
{
	size_t off = 0;

	for (long todo = 1; todo > 0; todo--) {
		long line = wire_skip_line(buf + off, len - off);
		if (line == 0)
			return off == len || len - off < 65536 ? 0 : -1;
		char type = buf[off];
		if (!memchr("+-:$*_#,(=!%~>|", type, 15))
			return -1;
		long n = strchr("$*=!%~>|", type) ? strtol(buf + off + 1, NULL, 10) : 0;
		long elements = aggregate_elements(type, n);
		off += (size_t)line;
		if (elements >= 0)
			todo += elements;
		else if (strchr("$=!", type) && n >= 0)
			off += (size_t)n + 2;
		if (off > len)
			return 0;
	}
	return (long)off;
}
