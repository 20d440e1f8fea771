/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the load generator says and what it must hear: requests are rendered for RESP or for
 * memcached's text protocol, and every reply is compared with the one that belongs to its request.
 *
 * The value of a key is a function of the key (its number in hex, then bytes from a fixed pool), so
 * a reply that carries another key's value is found, and any number of writers may run at once.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keys.h"

enum wire_op { OP_PING, OP_GET, OP_SET, OP_MGET, OP_MSET, OP_EVAL, OP_PUBLISH, OP_COUNT };

enum wire_verdict {
	WIRE_OK,
	WIRE_NIL,      /* a well-formed "no such key" where a value was due */
	WIRE_ERROR,    /* the server's error reply */
	WIRE_MISMATCH, /* well formed, but not this request's reply */
	WIRE_BROKEN,   /* no reply at all: the stream cannot be followed any more */
};

struct wire {
	bool memcache;
	bool check_values; /* compare the bytes of values, not only their length */
	unsigned multi;	   /* keys of an MGET or MSET */
	unsigned subscribers;
	size_t value_bytes;
	char prefix[4];	   /* of all keys: two loads on one store can keep apart */
	unsigned ttl;	   /* seconds that a SET key lives, 0 = for ever */
	const struct keys *keys; /* borrowed */
	char *pool;		 /* owned; where values are cut from */
};

/* 0, or -1 when memory is short. The other fields must be set. */
int wire_init(struct wire *w);
void wire_free(struct wire *w);

/* "get", "mget" ... or NULL; and back (OP_COUNT when there is none of that name). */
const char *wire_op_name(enum wire_op op);
enum wire_op wire_op_find(const char *name, size_t len);

/* Upper bounds in bytes of one request and of one reply. */
size_t wire_max_request(const struct wire *w);
size_t wire_max_reply(const struct wire *w);

/* How many places of the key sequence the operation takes. */
static inline unsigned wire_span(const struct wire *w, enum wire_op op)
{
	return op == OP_MGET || op == OP_MSET ? w->multi : 1;
}

/* Writes the request to p, which has wire_max_request() bytes, and returns the byte after it. */
char *wire_request(const struct wire *w, enum wire_op op, uint64_t pos, char *p);

/*
 * Judges the start of buf as the reply to the operation. Returns the length of the reply, or 0 when
 * it is not complete yet, or -1 (with WIRE_BROKEN).
 */
long wire_reply(const struct wire *w, enum wire_op op, uint64_t pos, const char *buf, size_t len,
		enum wire_verdict *verdict);

/* The message that a PUBLISH sends: publisher and running number lead, the pool's bytes follow. */
#define WIRE_CHANNEL "bench:fanout"
#define WIRE_STAMP 24 /* bytes of publisher and number; value_bytes must not be less */
char *wire_publish(const struct wire *w, unsigned publisher, uint64_t number, char *p);

/*
 * Judges the start of buf as a message on WIRE_CHANNEL. Returns its length, 0 when incomplete, or
 * -1 when it is anything else.
 */
long wire_message(const struct wire *w, const char *buf, size_t len, unsigned *publisher,
		  uint64_t *number);

/* The length of the RESP value at the start of buf, 0 when incomplete, -1 when it is not RESP. */
long wire_skip(const char *buf, size_t len);

/* The length of the first line with its line end, 0 when incomplete. */
long wire_skip_line(const char *buf, size_t len);

#endif
