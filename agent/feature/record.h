/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/record: what the agent keeps beside a cached value: one internal record for each key, `psr:P:cache:K`, in
 * the database of K.  The value stays raw under K, so any client reads and writes it as ever; a hit is one MGET of K
 * and its record.
 *
 * A record describes K in one state, and says which by `check`: no value ("-"), or the value's length and the first 16
 * hexadecimal digits of its SHA-1.  If K is in another state (a plain SET, DEL, RENAME, an expiry, an eviction), then
 * ALL that the record says is void: expiries, metadata, token, negative answer.  So writers need no hooks.
 * One exception: a record with a token whose K was to expire at `hard` still holds when K is gone since then; see
 * RECORD_EXPIRED.
 *
 *   record = "1" SP check SP quick SP soft SP hard SP filled SP delta SP stale SP token SP won SP until SP neg SP
 *            reason-length SP meta-length LF reason meta
 *
 * check is what Lua can compute (redis.sha1hex).  quick is a hash of the value that an agent computes for a fraction of
 * that and tells the script which writes the value; it is "-" where no agent saw the value, and then SHA-1 it is.
 * All instants are the store's clock in Unix ms (TIME inside the script); 0 is none.  The same format is read and
 * written by the scripts feature/lua/cache_*.lua, and the unit tests of both use the same lines.
 *
 * Pure: no I/O, no memory but the caller's.  A record is text of the agent's own, but lies in a store that others can
 * write to: parsing is strict, and one that is not well-formed is void.
 */
#ifndef FEATURE_RECORD_H
#define FEATURE_RECORD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

enum {
	RECORD_CHECK_MAX = 20 + 1 + 16 + 1, /* "LENGTH.HEX" and NUL */
	RECORD_QUICK_LEN = 16,
	RECORD_TOKEN_LEN = 32,              /* hexadecimal digits: 128 random bits */
	RECORD_REASON_MAX = 256,            /* bytes of a negative answer's reason */
	RECORD_META_MAX = 64 * 1024,        /* bytes of metadata */
	RECORD_HEAD_MAX = 400,              /* bytes of the first line at most, with LF */
};

struct record_text {
	const char *p; /* into the record that was parsed; not terminated */
	size_t n;
};

struct record {
	struct record_text check;  /* "-" or "LENGTH.HEX" */
	struct record_text quick;  /* n = 0: nobody computed one */
	int64_t soft_ms;           /* the value is to be computed anew from then on; 0: never */
	int64_t hard_ms;           /* when K expires, as far as the writer of the record knew; 0: never, or not known */
	int64_t filled_ms;         /* when the value was written; 0: not known */
	int64_t delta_ms;          /* how long computing it took */
	int64_t stale_ms;          /* with a token: what FILL adds to the soft expiry */
	struct record_text token;  /* n = 0: nobody computes */
	int64_t won_ms, until_ms;  /* with a token: when it was given out, when it ends by itself */
	int64_t neg_ms;            /* LEASE answers NEG until then; 0: no */
	struct record_text reason; /* of that */
	struct record_text meta;   /* n = 0: none.  JSON as it was given */
};

/* 0, or -1: not a record (of this version).  *out points into p[0..n). */
int record_parse(struct record *out, const void *p, size_t n);
/* Appends *r.  Lengths are within the maxima above. */
void record_put(struct buf *out, const struct record *r);

/* The check of a value, as redis.sha1hex gives it; p == NULL: there is none.  0, or -1: libcrypto failed. */
int record_check(char dst[RECORD_CHECK_MAX], const void *p, size_t n);
/* The quick hash: SipHash-2-4 with a key that everybody knows.  Who may write the value may write it as he likes, so
 * there is nobody to keep the key from. */
void record_quick(char dst[RECORD_QUICK_LEN + 1], const void *p, size_t n);

enum record_state {
	RECORD_VOID,    /* K is in another state: nothing in the record counts */
	RECORD_HOLDS,   /* it describes K as it is */
	RECORD_EXPIRED, /* K had a value and is gone, at or after the hour it was to expire at: the token (and a
	                 * negative answer) still holds, since nobody wrote K; everything else is void */
	RECORD_NOMEM,   /* libcrypto found no memory */
};
/* value == NULL: K has no value.  Hashes the value only if its length is right. */
enum record_state record_state(const struct record *r, const void *value, size_t n, int64_t now_ms);
/* Is a token alive in a record that is not void? */
static inline bool record_leased(const struct record *r, int64_t now_ms)
{
	return r->token.n && now_ms < r->until_ms;
}
#endif
