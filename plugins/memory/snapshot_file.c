/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole databases as a file of Redis' format: see snapshot.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "crc64.h"
#include "evict.h"
#include "keyspace.h"
#include "project.h"
#include "rdb.h"
#include "script.h"
#include "snapshot.h"
#include "table.h"

#define BUFFER (256u << 10)

enum { /* what stands where a type might */
	OP_FUNCTION = 245, OP_FUNCTION_OLD = 246, OP_MODULE = 247, OP_IDLE = 248, OP_FREQ = 249, OP_FACT = 250, OP_SIZES = 251,
	OP_EXPIRES_MS = 252, OP_EXPIRES = 253, OP_DATABASE = 254, OP_END = 255
};

/* ---- writing -------------------------------------------------------------------------------------------- */
struct file_out {
	struct rdb_out o;                     /* first */
	int fd;
	uint64_t crc, bytes;
	struct ctx *cx;
	struct snapshot_counts *count;
	int lru;                              /* how long keys were not used is worth a note */
};

static int flush(struct rdb_out *o, size_t n)
{
	struct file_out *f = (struct file_out *)(void *)o;
	size_t at = 0;

	(void)n;
	f->crc = crc64(f->crc, o->p, o->n);
	while (at < o->n) {
		ssize_t k = write(f->fd, o->p + at, o->n - at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			o->error = k < 0 ? errno : EIO;
			return -1;
		}
		at += (size_t)k;
	}
	f->bytes += o->n;
	o->n = 0;
	return 0;
}

static purser_bytes text(const char *s) { return (purser_bytes){ (const uint8_t *)s, strlen(s) }; }

static void put_fact(struct rdb_out *o, const char *name, const char *value)
{
	rdb_put_byte(o, OP_FACT);
	rdb_put_string(o, text(name));
	rdb_put_string(o, text(value));
}

static void put_head(struct file_out *f)
{
	char line[32];

	rdb_put(&f->o, line, (size_t)snprintf(line, sizeof(line), "REDIS%04d", RDB_VERSION));
	put_fact(&f->o, "redis-ver", "7.0.15");
	put_fact(&f->o, "redis-bits", sizeof(void *) == 8 ? "64" : "32");
	snprintf(line, sizeof(line), "%lld", (long long)(now_ms(f->cx) / 1000));
	put_fact(&f->o, "ctime", line);
	snprintf(line, sizeof(line), "%lld", (long long)store_used(f->cx->st));
	put_fact(&f->o, "used-mem", line);
	put_fact(&f->o, "aof-base", "0");
}

static int put_key(void *arg, uint64_t slot)
{
	struct file_out *f = arg;
	struct item *it = slot_item(slot);
	int uses = evict_uses(f->cx, it);

	if (item_has_ttl(it)) {
		if (expired(f->cx, it)) {
			f->count->expired++;
			return 0;
		}
		rdb_put_byte(&f->o, OP_EXPIRES_MS);
		rdb_put_le(&f->o, (uint64_t)item_expiry(it), 8);
	}
	if (f->lru) {
		rdb_put_byte(&f->o, OP_IDLE);
		rdb_put_length(&f->o, (uint64_t)evict_idle_ms(f->cx, it) / 1000);
	} else if (uses >= 0) {
		rdb_put_byte(&f->o, OP_FREQ);
		rdb_put_byte(&f->o, (uint8_t)uses);
	}
	rdb_put_byte(&f->o, (uint8_t)rdb_type_of(it));
	rdb_put_string(&f->o, (purser_bytes){ item_key(it), item_klen(it) });
	rdb_put_value(&f->o, it);
	f->count->keys++;
	return f->o.error;
}

static void put_database(struct file_out *f, uint32_t db)
{
	struct shard *s = f->cx->st->shard;
	uint64_t keys = 0, ttls = 0;
	uint32_t i;

	for (i = 0; i < SHARDS; i++) {
		keys += table_n(s[i].db[db]);
		ttls += table_ttls(s[i].db[db]);
	}
	if (!keys)
		return;
	rdb_put_byte(&f->o, OP_DATABASE);
	rdb_put_length(&f->o, db);
	rdb_put_byte(&f->o, OP_SIZES);
	rdb_put_length(&f->o, keys);
	rdb_put_length(&f->o, ttls);
	for (i = 0; i < SHARDS && !f->o.error; i++)
		if (s[i].db[db])
			table_each(s[i].db[db], put_key, f);
}

int snapshot_write(struct ctx *cx, int fd, struct snapshot_counts *n)
{
	struct file_out f = { .o = { .p = malloc(BUFFER), .cap = BUFFER, .more = flush }, .fd = fd, .cx = cx, .count = n };
	uint32_t db;

	*n = (struct snapshot_counts){ 0 };
	if (!f.o.p)
		return ENOMEM;
	f.lru = evict_chosen(cx->st) == EVICT_ALLKEYS_LRU || evict_chosen(cx->st) == EVICT_VOLATILE_LRU;
	put_head(&f);
	function_save(cx->st, &f.o);
	for (db = 0; db < cx->st->databases && !f.o.error; db++)
		put_database(&f, db);
	rdb_put_byte(&f.o, OP_END);
	if (!f.o.error)
		flush(&f.o, 0);
	rdb_put_le(&f.o, f.crc, 8);
	if (!f.o.error)
		flush(&f.o, 0);
	free(f.o.p);
	n->bytes = f.bytes;
	return f.o.error;
}

/* ---- reading ---------------------------------------------------------------------------------------------- */
struct file_in {
	struct rdb_in in;                     /* first */
	int fd;
	uint8_t *buf;
	size_t cap;
	const uint8_t *summed;                /* the checksum is that of what is in front of it */
	uint64_t crc;
	struct snapshot_counts *count;
	uint32_t db;
	uint8_t *key;                         /* the one that is being read */
	size_t key_cap;
	char said[112];                       /* of a library of functions */
};

static void sum_up(struct file_in *f)
{
	f->crc = crc64(f->crc, f->summed, (size_t)(f->in.p - f->summed));
	f->summed = f->in.p;
}

static enum rdb_result fetch(struct rdb_in *in, size_t n)
{
	struct file_in *f = (struct file_in *)(void *)in;
	size_t cap = n > BUFFER ? n : BUFFER;
	uint8_t *to = f->buf;

	sum_up(f);
	if (cap > f->cap) {
		to = malloc(cap);
		if (!to)
			return RDB_NOMEM;
	}
	if (in->n)
		memmove(to, in->p, in->n);
	if (to != f->buf) {
		free(f->buf);
		f->buf = to;
		f->cap = cap;
	}
	in->p = f->summed = to;
	while (in->n < n) {
		ssize_t k = read(f->fd, to + in->n, f->cap - in->n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0 || (uint64_t)k > in->behind) {
			in->why = k < 0 ? strerror(errno) : k ? "it grows while it is read" : "it ends too early";
			return RDB_BAD;
		}
		in->n += (size_t)k;
		in->behind -= (uint64_t)k;
	}
	return RDB_OK;
}

#define TRY(x) do { enum rdb_result rc_ = (x); if (rc_) return rc_; } while (0)

static enum rdb_result bad(struct rdb_in *in, const char *why)
{
	in->why = why;
	return RDB_BAD;
}

static enum rdb_result read_key(struct file_in *f, purser_bytes *key)
{
	struct rdb_string s;

	TRY(rdb_string(&f->in, &s));
	if (s.s.n > f->key_cap) {
		uint8_t *to = realloc(f->key, s.s.n);

		if (!to)
			return RDB_NOMEM;
		f->key = to;
		f->key_cap = s.s.n;
	}
	if (s.s.n)
		memcpy(f->key, s.s.p, s.s.n);
	*key = (purser_bytes){ s.s.n ? f->key : (const uint8_t *)"", s.s.n };
	return RDB_OK;
}

/* What stands in front of a key and is about it. */
struct about { int expires; int64_t expiry; uint64_t idle; int uses; }; /* uses -1: unknown */

static enum rdb_result add_key(struct file_in *f, unsigned type, const struct about *a)
{
	struct ctx *cx = f->in.cx;
	int over = a->expires && (int64_t)now_ms(cx) > a->expiry;
	enum rdb_result rc;
	purser_bytes key;
	struct item *it;
	struct pos p;

	TRY(read_key(f, &key));
	account_enter(cx, project_learn(cx, key));
	rc = rdb_value(&f->in, type, key, over || !a->expires ? 0 : a->expiry, &it);
	if (rc == RDB_EMPTY) {
		f->count->empty++;
		return RDB_OK;
	}
	TRY(rc);
	if (over) {
		f->count->expired++;
		item_free(cx, it);
		reap_all(cx);
		return RDB_OK;
	}
	if (key_find(cx, &p, f->db, key, hash_key(cx->st, key.p, key.n), FIND_NOTOUCH)) {
		item_free(cx, it);
		return bad(&f->in, "a key that is there twice");
	}
	evict_set_idle(cx, it, a->idle);
	if (key_add(cx, &p, it)) {
		item_free(cx, it);
		return RDB_NOMEM;
	}
	if (a->uses >= 0)
		evict_set_uses(cx, it, (unsigned)a->uses);
	f->count->keys++;
	return RDB_OK;
}

static enum rdb_result read_head(struct file_in *f)
{
	const uint8_t *p;
	unsigned version = 0, i;

	TRY(rdb_take(&f->in, 9, &p));
	if (memcmp(p, "REDIS", 5))
		return bad(&f->in, "it is not a file of Redis");
	for (i = 5; i < 9; i++) {
		if (p[i] < '0' || p[i] > '9')
			return bad(&f->in, "it is not a file of Redis");
		version = version * 10 + (p[i] - '0');
	}
	if (version < 5)
		return bad(&f->in, "it has no checksum: Redis before 2.6 wrote it");
	return version > RDB_VERSION ? bad(&f->in, "a later version than Redis 7.0 wrote it") : RDB_OK;
}

static enum rdb_result read_database(struct file_in *f)
{
	uint64_t n;

	TRY(rdb_length(&f->in, &n));
	if (n >= f->in.cx->st->databases)
		return bad(&f->in, "it has keys in more databases than this backend (databases = )");
	f->db = (uint32_t)n;
	return RDB_OK;
}

static enum rdb_result read_library(struct file_in *f)
{
	static const char head[] = "a library of functions: ";
	struct rdb_string s;

	TRY(rdb_string(&f->in, &s));
	memcpy(f->said, head, sizeof(head));
	return function_load(f->in.cx, s.s, f->said + sizeof(head) - 1, sizeof(f->said) - sizeof(head) + 1) ?
	    bad(&f->in, f->said) : RDB_OK;
}

/* What belongs to the next key, or to none. */
static enum rdb_result read_op(struct file_in *f, unsigned op, struct about *a)
{
	struct rdb_string s;
	uint64_t v;
	uint8_t b;

	switch (op) {
	case OP_FACT:
		TRY(rdb_string(&f->in, &s));
		return rdb_string(&f->in, &s);
	case OP_SIZES:
		TRY(rdb_length(&f->in, &v));
		return rdb_length(&f->in, &v);
	case OP_DATABASE:
		return read_database(f);
	case OP_IDLE:
		return rdb_length(&f->in, &a->idle);
	case OP_FREQ:
		TRY(rdb_byte(&f->in, &b));
		a->uses = b;
		return RDB_OK;
	case OP_EXPIRES:
		TRY(rdb_le(&f->in, 4, &v));
		*a = (struct about){ 1, (int64_t)(int32_t)v * 1000, a->idle, a->uses };
		return RDB_OK;
	case OP_EXPIRES_MS:
		TRY(rdb_le(&f->in, 8, &v));
		*a = (struct about){ 1, (int64_t)v, a->idle, a->uses };
		return RDB_OK;
	case OP_FUNCTION:
		return read_library(f);
	case OP_FUNCTION_OLD:
		return bad(&f->in, "it has a library of functions as only previews of Redis 7.0 wrote it");
	case OP_MODULE:
		return bad(&f->in, "it has data of a module, which this backend cannot keep");
	default:
		return bad(&f->in, "a mark that Redis 7.0 does not know");
	}
}

/* The checksum is that of all in front of it. */
static enum rdb_result read_end(struct file_in *f)
{
	uint64_t want;

	sum_up(f);
	TRY(rdb_le(&f->in, 8, &want));
	if (!want)
		f->count->unsigned_file = 1;
	else if (want != f->crc)
		return bad(&f->in, "its checksum is wrong");
	if (f->in.n || f->in.behind)
		return bad(&f->in, "there is something behind its end");
	return RDB_OK;
}

static enum rdb_result read_all(struct file_in *f)
{
	struct about a = { .uses = -1 };
	uint8_t op;

	TRY(read_head(f));
	for (;;) {
		TRY(rdb_byte(&f->in, &op));
		if (op == OP_END)
			return read_end(f);
		if (op >= OP_FUNCTION) {
			TRY(read_op(f, op, &a));
		} else {
			TRY(add_key(f, op, &a));
			a = (struct about){ .uses = -1 };
		}
	}
}

int snapshot_read(struct ctx *cx, int fd, struct snapshot_counts *n, char why[160], uint64_t *at)
{
	struct file_in f = { .in = { .cx = cx, .fetch = fetch }, .fd = fd, .count = n };
	enum rdb_result rc = RDB_BAD;
	struct stat st;

	*n = (struct snapshot_counts){ 0 };
	*at = 0;
	if (fstat(fd, &st))
		f.in.why = strerror(errno);
	else if (!S_ISREG(st.st_mode))
		f.in.why = "it is not a regular file";
	else if ((f.buf = malloc(BUFFER)) == NULL)
		rc = RDB_NOMEM;
	else {
		f.cap = BUFFER;
		f.in.p = f.summed = f.buf;
		f.in.behind = n->bytes = (uint64_t)st.st_size;
		rc = read_all(&f);
	}
	rdb_end(&f.in);
	free(f.buf);
	free(f.key);
	*at = f.in.at;
	if (!rc)
		return 0;
	snprintf(why, 160, "%s", rc == RDB_NOMEM ? "there is no memory for it" : f.in.why);
	return -1;
}
