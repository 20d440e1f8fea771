/* SPDX-License-Identifier: Apache-2.0
 *
 * rdb: values as Redis 7.0 dumps them (DUMP, RESTORE) and keeps them in its files (snapshot.h).
 *
 * A payload is  type 1 | value | version 2 | CRC-64 of all that 8.  What is read may come from anybody: every
 * length is compared with what is there before anything is done with it, and memory is taken for bytes that
 * are there, never for numbers that say how many come.
 */
#ifndef MEMORY_RDB_H
#define MEMORY_RDB_H
#include "item.h"

#define RDB_VERSION 10
#define RDB_FOOTER 10u                  /* of a payload: version and checksum */

enum rdb_type {
	RDB_STRING = 0, RDB_LIST = 1, RDB_SET = 2, RDB_ZSET = 3, RDB_HASH = 4, RDB_ZSET_2 = 5,
	RDB_HASH_ZIPMAP = 9, RDB_LIST_ZIPLIST = 10, RDB_SET_INTSET = 11, RDB_ZSET_ZIPLIST = 12,
	RDB_HASH_ZIPLIST = 13, RDB_LIST_QUICKLIST = 14, RDB_STREAM_LISTPACKS = 15, RDB_HASH_LISTPACK = 16,
	RDB_ZSET_LISTPACK = 17, RDB_LIST_QUICKLIST_2 = 18, RDB_STREAM_LISTPACKS_2 = 19
};

/* ---- writing: rdb_write.c ------------------------------------------------------------------------------ */
/* Where bytes go.  What has failed once stays so: it is asked for at the end. */
struct rdb_out {
	uint8_t *p;
	size_t n, cap;
	int (*more)(struct rdb_out *o, size_t n); /* room for n bytes behind p + n, or as much as there can be:
	                                           * at least one.  0, or -1 with error set */
	int error;                              /* an errno */
};
void rdb_put(struct rdb_out *o, const void *p, size_t n);
void rdb_put_byte(struct rdb_out *o, uint8_t b);
void rdb_put_le(struct rdb_out *o, uint64_t v, unsigned bytes);
void rdb_put_length(struct rdb_out *o, uint64_t n);
void rdb_put_string(struct rdb_out *o, purser_bytes s);
enum rdb_type rdb_type_of(const struct item *it);
void rdb_put_value(struct rdb_out *o, struct item *it);
/* How a string of n bytes begins that is written as it is; the length. */
size_t rdb_length_bytes(uint8_t to[9], uint64_t n);

struct stream;
void rdb_put_stream(struct rdb_out *o, const struct stream *s);       /* rdb_stream.c */

/* ---- reading: rdb_read.c --------------------------------------------------------------------------------- */
enum rdb_result {
	RDB_OK = 0,
	RDB_BAD = -1,                         /* in->why says why */
	RDB_NOMEM = -2,
	RDB_EMPTY = -3                        /* a collection without elements: nobody can have it */
};
struct rdb_in {
	struct ctx *cx;
	const uint8_t *p;                     /* n bytes are there, */
	size_t n;
	uint64_t behind;                      /* so many more can be fetched */
	enum rdb_result (*fetch)(struct rdb_in *in, size_t n); /* until n of them are there, n <= n + behind */
	uint64_t at;                          /* bytes that were taken */
	const char *why;
	uint8_t *unpacked;                    /* the last compressed string */
	size_t unpacked_cap;
};
/* A string; buf is for the text of a number. */
struct rdb_string { purser_bytes s; char buf[24]; };

/* The next n bytes, until the next call. */
enum rdb_result rdb_take(struct rdb_in *in, size_t n, const uint8_t **p);
enum rdb_result rdb_byte(struct rdb_in *in, uint8_t *b);
enum rdb_result rdb_le(struct rdb_in *in, unsigned bytes, uint64_t *v);
enum rdb_result rdb_length(struct rdb_in *in, uint64_t *n);
enum rdb_result rdb_string(struct rdb_in *in, struct rdb_string *s); /* until the next call of any of these */
/* The value of a key that stands in no table; expiry in Unix ms, 0: none.  key stays where it is meanwhile. */
enum rdb_result rdb_value(struct rdb_in *in, unsigned type, purser_bytes key, int64_t expiry, struct item **it);
enum rdb_result rdb_stream(struct rdb_in *in, unsigned type, struct stream **s); /* rdb_stream.c */
void rdb_end(struct rdb_in *in);              /* gives up its memory */

/* The payload's value in *in.  0, or -1: version or checksum are wrong. */
int rdb_open_payload(struct rdb_in *in, struct ctx *cx, purser_bytes payload);
#endif
