/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/session: SESSION.* (semantics.md 5, docs/sessions.md).
 *
 *   session.c        the commands: words -> steps of the store -> reply
 *   session_words.c  what stands in the words: options, fields, ids; pure
 *   session_reply.c  what the store holds of a session -> its fields -> JSON; pure
 *   session_place.c  what a worker knows of a project's sessions: counts, the store's clock, clean-up
 *   lua/session_*    every change, each in one step
 *
 * A session is the hash psr:P:sess:HASH, where HASH is the SHA-256 of its id as base64url: the store never sees an id.
 * Its fields: v version, uid user ("": nobody's), created, seen, exp, abs (0: none) as Unix ms of the store, idle in ms, and
 * d:NAME, the JSON text of each field of its data.  Indexes: psr:P:sess-u:USER and psr:P:sess-all:0, sorted by exp.
 */
#ifndef FEATURE_SESSION_H
#define FEATURE_SESSION_H
#include <openssl/evp.h>
#include "base/names.h"
#include "feature/feature.h"

#define SESSION_ID_LEN 43u              /* 256 bits as base64url */
#define SESSION_HASH_LEN 43u
#define SESSION_FIELDS_MAX 256u         /* of one session */
#define SESSION_NAME_MAX 256u           /* bytes of a field's name */
#define SESSION_VALUE_MAX (64u << 10)   /* ... of its JSON text */
#define SESSION_USER_MAX 256u
#define SESSION_MS_MAX (INT64_C(10) * 366 * 86400 * 1000)
#define SESSION_LIST_MAX 1000u
#define SESSION_BATCH 500u              /* sessions that one step of clean-up or of DESTROYUSER touches */
#define SESSION_PACE_NS UINT64_C(50000000)    /* between two batches of clean-up */
#define SESSION_PERIOD_NS UINT64_C(30000000000) /* between two rounds of it */
#define SESSION_TOMBSTONE_MS 10000      /* an id that was rotated says so */

/* ---- words ---- */
struct session_words {                  /* what a command of the family may say */
	int64_t idle_ms, abs_ms;        /* CREATE; abs 0: none */
	purser_bytes *pair;             /* CREATE DATA, UPDATE: name, JSON text, ...; no text: the field goes */
	uint32_t npairs;
	purser_bytes version;           /* UPDATE IFVER; n 0: any */
	purser_bytes user;              /* ROTATE USER; p NULL: as it was */
	purser_bytes except, handle;    /* DESTROYUSER; n 0: none */
	int64_t limit;                  /* LIST */
	bool notouch;                   /* GET */
};
/* Of the rows SESSION.*.  0, or -1: *why (NULL: no memory) is the text of an error. */
int session_words(const struct command *cmd, const purser_bytes *argv, uint32_t argc, struct arena *a,
    struct session_words *w, const char **why);
/* 256 random bits.  False: the kernel has none. */
bool session_new_id(char id[SESSION_ID_LEN]);
/* False: no memory. */
bool session_hash(EVP_MD_CTX *ctx, const EVP_MD *sha256, purser_bytes id, char hash[SESSION_HASH_LEN]);

/* ---- replies ---- */
struct session_got {                    /* HGETALL of a session; points into the reply */
	purser_bytes user;
	int64_t version, created, seen, exp, abs, idle;
	bool there;                     /* else nothing is there */
	bool rotated;                   /* it has another id now */
	purser_bytes data;              /* a JSON object, of the arena */
};
/* One RESP3 map or RESP2 array.  0; -1: it is something else; -2: no memory. */
int session_read(const uint8_t *resp, size_t n, struct arena *a, struct session_got *g);

/* The next integer or bulk string of a script's array; 0, or -1. */
int session_int(const uint8_t **p, const uint8_t *end, int64_t *v);

/* ---- what a worker knows ---- */
enum session_event { SESSION_CREATED, SESSION_ROTATED, SESSION_DESTROYED, SESSION_EXPIRED, SESSION_CONFLICT, SESSION_MISSED, SESSION_EVENTS };

struct session_place {                  /* a project and a database; lives as long as the worker */
	struct names_node node;
	struct feature_worker *w;
	struct feature_place at;
	uint64_t count[SESSION_EVENTS]; /* on this worker */
	struct metric_cell *cell[SESSION_EVENTS], *live;
	/* The store's clock against the two of this host; 0: not known. */
	uint64_t heard_ns;              /* when */
	int64_t ahead_mono, ahead_wall; /* ms that it is ahead */
	uint64_t told_ns;               /* when the worker that cleans up was last told that there are sessions */
	/* On the worker that cleans up. */
	struct loop_timer timer;
	bool cleaning;                  /* a step is under way */
};

struct session_room {
	struct names places;
	EVP_MD *sha256;
	EVP_MD_CTX *md;
	bool quitting;
};

/* NULL: no memory. */
struct session_place *session_place(struct feature_call *f);
/* That has happened to n sessions of p: counters and log. */
void session_note(struct session_place *p, enum session_event e, uint64_t n);
/* The store says that it is now so late (ms). */
void session_heard(struct session_place *p, int64_t now);
/* May a session be due for a touch? */
bool session_due(const struct session_place *p, const struct session_got *g);
/* There are sessions: whoever cleans up shall know. */
void session_awake(struct session_place *p);

/* SESSION.STATS and SESSION.CLEANUP. */
void session_stats(struct feature_call *f);
void session_cleanup(struct feature_call *f);
#endif
