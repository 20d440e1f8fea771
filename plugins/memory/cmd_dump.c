/* SPDX-License-Identifier: Apache-2.0
 *
 * DUMP and RESTORE: a value as bytes that any Redis 7.0 understands, and back.  (The format: rdb.h)
 */
#include <errno.h>
#include <stdio.h>
#include "cmd.h"
#include "crc64.h"
#include "event.h"
#include "evict.h"
#include "number.h"
#include "rdb.h"

#define BY_REFERENCE 16384u           /* payloads from this size on are not copied into replies */

/* ---- DUMP ------------------------------------------------------------------------------------------------- */
/* A payload is made in a blob, so that the reply may keep it; no longer than what RESTORE can be sent. */
struct dump { struct rdb_out o; struct ctx *cx; struct blob *b; };

static int dump_more(struct rdb_out *o, size_t n)
{
	struct dump *d = (struct dump *)(void *)o;
	size_t cap = o->cap + o->cap / 2, need = o->n + n;
	struct blob *b;

	if (need > STRING_MAX) {
		o->error = EFBIG;
		return -1;
	}
	if (cap < need)
		cap = need;
	if (cap > STRING_MAX)
		cap = STRING_MAX;
	b = mem_resize(d->cx, d->b, blob_bytes(o->cap), blob_bytes(cap));
	if (!b)
		return -1;
	d->b = b;
	b->cap = cap;
	o->p = b->data;
	o->cap = cap;
	return 0;
}

static void footer(uint8_t to[RDB_FOOTER], uint64_t crc)
{
	static const uint8_t version[2] = { RDB_VERSION, 0 };
	unsigned i;

	memcpy(to, version, 2);
	crc = crc64(crc, version, 2);
	for (i = 0; i < 8; i++)
		to[2 + i] = (uint8_t)(crc >> 8 * i);
}

/* The bytes of the large string stay where they are. */
static void dump_blob(struct ctx *cx, purser_call *c, struct blob *b)
{
	uint8_t head[10] = { RDB_STRING }, foot[RDB_FOOTER];
	size_t n = 1 + rdb_length_bytes(head + 1, b->len);
	char line[INT_TEXT + 4];

	footer(foot, crc64(crc64(0, head, n), b->data, b->len));
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	cx->h->raw(c, line, (size_t)snprintf(line, sizeof(line), "$%zu\r\n", n + b->len + RDB_FOOTER));
	cx->h->raw(c, head, n);
	cx->h->raw_ref(c, b->data, b->len, blob_release, b);
	cx->h->raw(c, foot, RDB_FOOTER);
	cx->h->raw(c, "\r\n", 2);
}

static void reply_dump(struct ctx *cx, purser_call *c, struct blob *b, size_t n)
{
	char line[INT_TEXT + 4];

	if (n < BY_REFERENCE) {
		reply_bulk(cx, c, b->data, n);
		blob_drop(cx, b);
		return;
	}
	cx->h->raw(c, line, (size_t)snprintf(line, sizeof(line), "$%zu\r\n", n));
	cx->h->raw_ref(c, b->data, n, blob_release, b);
	cx->h->raw(c, "\r\n", 2);
}

void op_dump(struct ctx *cx, purser_call *c)
{
	struct dump d = { .o.more = dump_more, .o.cap = 256, .cx = cx };
	uint8_t foot[RDB_FOOTER];
	struct pos p;

	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_null(cx, c);
		return;
	}
	if (item_enc(p.it) == ENC_BIG && item_blob(p.it)->len >= BY_REFERENCE) {
		dump_blob(cx, c, item_blob(p.it));
		return;
	}
	d.b = blob_new(cx, 0, d.o.cap);
	if (!d.b) {
		reply_nomem(cx, c);
		return;
	}
	d.o.p = d.b->data;
	rdb_put_byte(&d.o, (uint8_t)rdb_type_of(p.it));
	rdb_put_value(&d.o, p.it);
	footer(foot, crc64(0, d.b->data, d.o.n));
	rdb_put(&d.o, foot, sizeof(foot));
	if (!d.o.error) {
		reply_dump(cx, c, d.b, d.o.n);
		return;
	}
	blob_drop(cx, d.b);
	if (d.o.error == EFBIG)
		reply_error(cx, c, "ERR DUMP payload exceeds maximum allowed size (proto-max-bulk-len)");
	else
		reply_nomem(cx, c);
}

/* ---- RESTORE ------------------------------------------------------------------------------------------------ */
struct restore { int replace, absolute; int64_t ttl, idle, freq; };

/* 0, or -1 with the error replied. */
static int restore_options(struct ctx *cx, purser_call *c, struct restore *r)
{
	uint32_t i;

	*r = (struct restore){ .idle = -1, .freq = -1 };
	for (i = 4; i < c->argc; i++) {
		int more = i + 1 < c->argc;

		if (arg_is(c->argv[i], "replace")) {
			r->replace = 1;
		} else if (arg_is(c->argv[i], "absttl")) {
			r->absolute = 1;
		} else if (arg_is(c->argv[i], "idletime") && more && r->freq == -1) {
			if (arg_int(cx, c, ++i, &r->idle))
				return -1;
			if (r->idle < 0) {
				reply_error(cx, c, "ERR Invalid IDLETIME value, must be >= 0");
				return -1;
			}
		} else if (arg_is(c->argv[i], "freq") && more && r->idle == -1) {
			if (arg_int(cx, c, ++i, &r->freq))
				return -1;
			if (r->freq < 0 || r->freq > 255) {
				reply_error(cx, c, "ERR Invalid FREQ value, must be >= 0 and <= 255");
				return -1;
			}
		} else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
	}
	return 0;
}

/* The expiry in Unix ms, 0: none.  What is too far away wraps around, as it does in Redis: it is past. */
static int64_t restore_expiry(struct ctx *cx, const struct restore *r)
{
	if (!r->ttl || r->absolute)
		return r->ttl;
	return (int64_t)((uint64_t)r->ttl + now_ms(cx));
}

static int restore_item(struct ctx *cx, purser_call *c, const struct restore *r, struct item **it)
{
	enum rdb_result rc;
	struct rdb_in in;
	uint8_t type;

	if (rdb_open_payload(&in, cx, c->argv[3])) {
		reply_error(cx, c, "ERR DUMP payload version or checksum are wrong");
		return -1;
	}
	rc = rdb_byte(&in, &type);
	if (!rc)
		rc = rdb_value(&in, type, c->argv[1], restore_expiry(cx, r), it);
	rdb_end(&in);
	if (rc == RDB_NOMEM)
		reply_nomem(cx, c);
	else if (rc)
		reply_error(cx, c, "ERR Bad data format");
	return rc ? -1 : 0;
}

/* The item becomes the key.  1: there is one, 0: there is none, -1: no memory, nothing changed. */
static int restore_put(struct ctx *cx, struct pos *p, struct item *it, const struct restore *r)
{
	if (item_has_ttl(it) && item_expiry(it) <= (int64_t)now_ms(cx)) {
		item_free(cx, it);
		if (p->it)
			key_delete(cx, p);
		return 0;
	}
	evict_set_idle(cx, it, r->idle > 0 ? (uint64_t)r->idle : 0);
	if (p->it) {
		key_replace(cx, p, it);
		evict_set_fresh(cx, p->it);
		key_is_new(cx, p->key); /* in Redis the old one goes before it comes */
		key_ready(cx, p);
	} else if (key_add(cx, p, it)) {
		item_free(cx, it);
		return -1;
	}
	if (r->freq >= 0)
		evict_set_uses(cx, p->it, (unsigned)r->freq);
	return 1;
}

void op_restore(struct ctx *cx, purser_call *c)
{
	struct restore r;
	struct item *it;
	struct pos p;
	int had, rc;

	if (restore_options(cx, c, &r))
		return;
	had = arg_find(cx, c, 1, 0, &p, FIND_NOTOUCH) != NULL;
	if (had && !r.replace) {
		reply_error(cx, c, "BUSYKEY Target key name already exists.");
		return;
	}
	if (arg_int(cx, c, 2, &r.ttl))
		return;
	if (r.ttl < 0) {
		reply_error(cx, c, "ERR Invalid TTL value, must be >= 0");
		return;
	}
	if (restore_item(cx, c, &r, &it))
		return;
	rc = restore_put(cx, &p, it, &r);
	if (rc < 0) {
		reply_nomem(cx, c);
		return;
	}
	if (rc || had)
		key_event(cx, c->db, c->argv[1], EVENT_GENERIC, rc ? "restore" : "del");
	reply_ok(cx, c);
}
