/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/call: one attempt at one command on its way through a plugin and back.  It is embedded in
 * the request (or child request) that it serves.  In: logical arguments and key positions.  Out: a
 * reply in `out` (through `filter` if there is one) or an error, then done().
 */
#ifndef BACKEND_CALL_H
#define BACKEND_CALL_H
#include <stdbool.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "base/errors.h"
#include "base/out.h"
#include "loop/loop.h"
#include "resp/filter.h"

struct call_failure;

enum bcall_state { BCALL_IDLE, BCALL_QUEUED, BCALL_SUBMITTED, BCALL_ENDED };

#define BCALL_ERROR_MAX 512u /* bytes of an error text that are kept */

/* Where the wire bytes of a STREAMED call come from.  read() is h->encode(); ended() says that nobody will
 * read any more: both come from inside host-table functions, and must not call the plugin. */
struct call_source {
	size_t (*read)(struct call_source *s, uint8_t *dst, size_t cap, int *more);
	void (*ended)(struct call_source *s);
};

/* Of a plain call the first three lines of the cache behind c are touched, the rest is for others. */
struct bcall {
	struct purser_call c;        /* first: the plugin's view */
	const purser_bytes *argv;    /* logical arguments; c.argv are the physical ones (ARGV plugins) */
	const uint8_t *wire;         /* the RESP that argv came in, if it did, in one piece; or NULL */
	size_t wire_n;
	const uint8_t *prefix;       /* c.ns_prefix bytes in front of every key */
	struct bcall *prev_due, *next_due; /* submitted calls in order of deadline */
	/* The outcome is known: the reply (or error) is complete in out.  Once; must not call the plugin. */
	void (*done)(struct bcall *b);
	/* The plugin lets go of the call and its arguments: it may be freed.  Once, after done(); often
	 * from inside a host-table function, so it must not call the plugin either. */
	void (*release)(struct bcall *b);
	struct out *out;             /* where the reply goes */
	struct out_pool *pool;
	struct reply_filter *filter; /* or NULL */
	size_t limit;                /* out->bytes above which raw() gives no credit; 0 = no limit */
	uint64_t reply_bytes;        /* of the reply so far, before a filter */
	uint64_t submit_ns, sent_ns;
	uint32_t endpoint;           /* who served it; 0 = unknown */
	uint8_t state;               /* enum bcall_state */
	uint8_t err;                 /* enum err_code of the outcome */
	uint8_t executed;            /* PURSER_NOT_EXECUTED .. PURSER_EXECUTED; 0 after end() */
	bool answered;               /* done() was called */
	bool discard;                /* nobody waits for the reply any more */
	bool began;                  /* reply bytes were given */
	bool broken;                 /* no memory for the reply, or the filter refused it */
	bool stalled;                /* raw() said stop: resume(REPLY) is owed */
	bool store_error;            /* the reply is the store's own error */
	bool noted;                  /* the guard knows how it ended */
	bool trial;                  /* it owes the guard its outcome, in trial_epoch */
	bool maybe;                  /* a write of which an earlier attempt may have run: no error may deny it */
	bool as_is;                  /* wire is what encode() would write, but for the prefixes */
	bool starved;                /* encode() said WAIT: it is the client that does not go on */
	bool held;                   /* late, but behind a reply that waits for its client */
	bool part;                   /* of a batch: answered through its own handle, ended with the batch */
	uint32_t payload;            /* sum of the logical arguments' lengths (saturating) */
	uint32_t trial_epoch;
	uint32_t wire_argc;          /* words in wire */
	uint32_t enc_arg;            /* encode(): the next piece */
	uint32_t enc_part;           /* ... of a batch: 0 MULTI, 1 .. nparts its parts, then EXEC */
	size_t enc_off;
	struct call_source *source;  /* of a STREAMED call that is not all here; else NULL */
	/* raw() says stop: what is in out must be sent before more comes; or NULL. */
	void (*full)(struct bcall *b);
	/* An attempt has failed and nothing of a reply was given.  True: whoever made the call keeps the
	 * failure and settles it later; only release() follows.  Must not call the plugin; or NULL. */
	bool (*keep)(struct bcall *b, const struct call_failure *f);
	/* Takes an error in place of the RESP line "-WORD text" (HTTP, child requests); or NULL. */
	void (*error_to)(struct bcall *b, enum err_code code, const char *text, size_t n);
	/* Rewrites an error text in place before it is shown (prefix out); returns its new length. */
	size_t (*rewrite)(struct bcall *b, char *text, size_t n);
	struct bcall *next;          /* the host's queue */
	struct loop_timer timer;     /* of a call with BLOCKS: its deadline; zero at first */
	uint64_t queued_ns;
	uint64_t due_bytes;          /* reply_bytes when its deadline passed, while it was arriving */
	uint64_t stalled_ns;         /* when raw() last said stop */
	uint64_t streamed;           /* bytes that encode() took from source */
	uint64_t due_streamed;       /* ... when its deadline passed */
	char status[24];             /* first word of the store's error: db.response.status_code */
};

/* What the features and local commands write replies with; same rules as the plugin's helpers. */
void reply_status(struct bcall *b, const char *word);
void reply_integer(struct bcall *b, int64_t v);
void reply_bulk(struct bcall *b, const void *p, size_t n);
void reply_text(struct bcall *b, const char *s);
void reply_null(struct bcall *b);
void reply_number(struct bcall *b, double v);
void reply_boolean(struct bcall *b, int v);
void reply_array(struct bcall *b, size_t n);
void reply_map(struct bcall *b, size_t pairs);
void reply_set(struct bcall *b, size_t n);
void reply_raw(struct bcall *b, const void *p, size_t n);
void reply_error(struct bcall *b, const char *text, size_t n); /* as the store's: "WORD text" */
/* The line of an error as it is, for who is error_to himself. */
void reply_error_line(struct bcall *b, const char *text, size_t n);
/* One of ours: "WORD <text or the row's>" and b->err. */
void reply_failure(struct bcall *b, enum err_code code, const char *text);
#endif
