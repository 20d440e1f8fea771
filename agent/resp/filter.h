/* SPDX-License-Identifier: Apache-2.0
 *
 * resp/filter: what stands between a backend's reply and its reader.  In: the bytes of one RESP
 * value, in any fragments.  Out: the bytes of the transformed value.  Nobody who writes a reply can
 * tell whether a filter is there.
 */
#ifndef RESP_FILTER_H
#define RESP_FILTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/resp.h>
#include "base/arena.h"
#include "base/out.h"

struct reply_filter {
	/* 0, or -1: not RESP, or no memory; the reply is to be abandoned. */
	int (*feed)(struct reply_filter *f, const uint8_t *p, size_t n);
	uint8_t err;            /* behind -1: enum err_code; ERR_NONE: BACKENDPROTOCOL */
};

/* Takes the project's prefix off the key names of a reply: bulk strings at nesting `depth` (1: the
 * elements of the top array; 2: of arrays inside it; STRIP_STREAMS: what XREAD answers, an array of
 * [name, entries], in RESP3 a map of names to entries; STRIP_FIRST: the first element of the top array).  A name that does not begin with the prefix is
 * not the project's: it becomes an empty string and is counted in `foreign`. */
struct strip_filter {
	struct reply_filter f;
	struct out **out;       /* where to: read at each write, because a reply's place may move */
	struct out_pool *pool;
	struct reply_filter *then; /* ... or the next filter */
	const uint8_t *prefix;
	uint32_t prefix_len;
	uint32_t foreign;
	uint8_t depth;          /* where names are; STRIP_STREAMS: the first header will tell */
	uint8_t level;          /* where we are */
	uint64_t left[8];       /* values still to come at each level */
	uint64_t pass;          /* payload bytes to copy (CR LF included) */
	uint64_t drop;          /* payload bytes to swallow (CR LF included) */
	uint64_t name;          /* length of the name whose prefix is being gathered */
	uint8_t once;           /* only the first name is one */
	uint8_t gather;         /* 1: in the middle of a name's prefix */
	uint32_t have;          /* bytes in hold */
	uint8_t hold[528];      /* an incomplete header line, an error's line (BCALL_ERROR_MAX), or the prefix of a name */
};
#define STRIP_PREFIX_MAX 256u
#define STRIP_STREAMS 0u
#define STRIP_FIRST 253u
void strip_begin(struct strip_filter *f, struct out **out, struct out_pool *pool,
    const uint8_t *prefix, uint32_t prefix_len, unsigned depth);

/* Gathers one whole value, at most max bytes, and hands it to edit(), which writes what becomes of it with
 * whole_put().  Memory comes from the arena: it is gone with the request. */
struct whole_filter {
	struct reply_filter f;
	struct out **out;
	struct out_pool *pool;
	struct reply_filter *then; /* or NULL */
	struct arena *arena;
	int (*edit)(struct whole_filter *f, const uint8_t *p, size_t n); /* 0, or -1: refused, or no memory */
	void *arg;
	size_t max;
	/* state */
	purser_scan scan;
	uint8_t *hold;
	size_t have, seen, cap;
};
void whole_begin(struct whole_filter *f); /* the fields above "state" are set */
int whole_put(struct whole_filter *f, const void *p, size_t n);

/* EXEC's reply: each element goes through the transformation of the command that it answers, error texts
 * through rewrite, and elements that the store knows nothing of are put in their places.  In: the store's
 * array (or null), which must have as many elements as were asked for.  Each element's kind: EXEC_PASS,
 * EXEC_LOCAL (local() writes it), EXEC_COUNT, EXEC_WHOLE, or a depth as of strip_begin(). */
#define EXEC_WHOLE 131u /* through the filter that whole() gives */
#define EXEC_PASS 130u  /* these are no depths */
#define EXEC_LOCAL 129u
#define EXEC_COUNT 128u /* an integer, which count() corrects */
struct exec_filter {
	struct reply_filter f;
	struct out **out;
	struct out_pool *pool;
	const uint8_t *kind;    /* [n] */
	uint32_t n, nlocal;
	const uint8_t *prefix;
	uint32_t prefix_len;
	size_t (*rewrite)(void *arg, char *text, size_t n); /* in place; the new length */
	/* Write element i to *out; 0, or -1: no memory. */
	int (*local)(void *arg, uint32_t i);
	int64_t (*count)(void *arg, uint32_t i, int64_t n);
	struct reply_filter *(*whole)(void *arg, uint32_t i); /* NULL: no memory */
	void (*ended)(void *arg, uint32_t i, uint32_t nulls, bool failed); /* element i is out; or NULL */
	void *arg;
	bool mute;              /* nobody reads: nothing is written, local() is called all the same */
	bool null;              /* a watched key has changed */
	/* state */
	uint8_t state;
	struct reply_filter *then; /* of this element; or NULL */
	uint32_t at;            /* element */
	uint64_t need;          /* values that the element still lacks */
	uint64_t pass;          /* payload bytes still to come, CR LF included */
	uint32_t nulls;         /* in the element so far */
	bool first;             /* nothing of the element has come */
	bool failed;            /* the element is an error */
	uint32_t have;          /* bytes in hold */
	struct strip_filter strip;
	uint8_t hold[512];      /* a header line, or an error's text */
};
void exec_begin(struct exec_filter *f); /* the fields above "state" are set */
static inline bool exec_done(const struct exec_filter *f) { return f->state == 5; }
#endif
