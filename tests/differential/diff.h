/* SPDX-License-Identifier: Apache-2.0
 *
 * The differential test: the same random commands to two servers, replies compared by rule.
 *
 *   gen.c      makes commands, and knows which of them two correct servers may answer differently
 *   geo.c      ... of places
 *   dump.c     ... of payloads
 *   stream.c   ... of streams
 *   words.c    random numbers, memory, words
 *   wire.c     two connections driven together, replies cut out of the stream
 *   compare.c  the rules: bytes, any order, times within a tolerance, whole iterations, membership
 *   ask.c      one command to both, and what must be asked to judge the replies
 *   run.c      episodes, and shrinking one that showed a difference
 */
#ifndef DIFF_H
#define DIFF_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

struct word { const uint8_t *p; uint32_t n; };

enum rule {
	EXACT,             /* byte for byte */
	SORTED,            /* an array in any order */
	PAIRS,             /* a map, or a flat array of pairs, in any order */
	SECONDS,           /* an integer, one more or less */
	MILLISECONDS,      /* an integer, as far apart as the two servers were */
	SHAPE,             /* the same type */
	TIMES,             /* times since 1970, and what is behind the word idle, as MILLISECONDS; else EXACT */
	IDLES,             /* an integer behind a string as MILLISECONDS; else EXACT */
	SINGLE,            /* from here on: one command at a time, with questions behind it */
	SCAN_ALL = SINGLE, /* the whole iteration gives the same elements */
	HSCAN_ALL,
	SSCAN_ALL,
	RANDOM_KEY,        /* a key that exists, or none */
	RANDOM_FIELDS,     /* elements of the hash or set, so many, different where they must be */
	CROSSED            /* what one has dumped the other restores */
};

struct cmd {
	uint32_t argc, cap;
	enum rule rule;
	uint32_t wait_ms;  /* after it: what it gave a short life is gone then */
	struct word *argv;
};

/* Memory of one episode. */
struct arena { struct chunk *first; };
void *arena_get(struct arena *a, size_t n);
void arena_free(struct arena *a);

/* ---- gen.c ---------------------------------------------------------------------------------------- */
struct gen {
	uint64_t rng;
	uint64_t now_ms;           /* set it before each batch */
	uint32_t databases;
	uint32_t lives;            /* relative lives handed out */
	uint32_t entries;          /* ids of streams handed out */
	uint64_t used[256];        /* relative lives used, in coarse steps: a small Bloom filter */
	int big;                   /* this episode has large values and keys */
	int streams;               /* ... mostly commands of streams, so that they grow long */
	int isolated;              /* see struct options */
	int brief;                 /* ... lives of some ms, which are waited for */
	struct arena *mem;
	/* NULL, or asked first: adds arguments of a kind that only the caller knows; 0: it is none */
	int (*more)(struct gen *g, struct cmd *c, const char *kind);
	void *owner;
};
uint64_t rng_next(struct gen *g);
uint32_t rng_below(struct gen *g, uint32_t n);
/* Up to two commands (the second belongs to the first); how many. */
unsigned gen_commands(struct gen *g, struct cmd out[2]);
/* One command of a line like those of commands.def. */
void gen_line(struct gen *g, struct cmd *c, enum rule rule, const char *text);
struct word gen_format(struct gen *g, const char *fmt, long long v); /* one number in it */
void gen_add(struct gen *g, struct cmd *c, struct word w);
/* Arguments of one kind: kinds of geo.c, of dump.c, of stream.c; 0: it is none of them. */
int gen_geo(struct gen *g, struct cmd *c, const char *name);
int gen_dump(struct gen *g, struct cmd *c, const char *name);
int gen_stream(struct gen *g, struct cmd *c, const char *name);
int gen_script(struct gen *g, struct cmd *c, const char *name);
int tame_stream(const struct cmd *c);   /* 1: its replies can be compared */
struct word word_text(const char *s);
int word_is(struct word w, const char *upper); /* any case */
int waits_long(const struct cmd *c);
int word_int(struct word w, int64_t *out);     /* as Redis reads integers; 0, or -1 */

/* ---- wire.c ------------------------------------------------------------------------------------------ */
struct reply { size_t at, n; };        /* in side.in */
struct side {
	const char *name, *path;
	int fd;
	uint32_t want;                 /* replies */
	/* NULL, or shown each frame; 1: it is no reply.  It may change want.  Without it pushes are none. */
	int (*look)(struct side *s, const uint8_t *frame, size_t n);
	void *owner;
	uint8_t *in;
	size_t nin, cap, at;
	struct reply *replies;
	uint32_t nreplies, creplies;
	uint8_t *out;
	size_t nout, cout, sent;
};
int side_connect(struct side *s);
void side_close(struct side *s);
void side_add(struct side *s, const struct cmd *c);
/* Sends and receives what the events of poll() allow, and cuts replies, at most want.  NULL, or what is wrong. */
const char *side_move(struct side *s, short events, uint32_t want);
/* Sends what was added to the sides and waits until each has as many replies as it wants; of two: so many replies
 * of each.  0, or -1: a connection broke or said something that is not RESP (*text says what). */
int exchange_sides(struct side *const *side, unsigned n, const char **text);
int exchange(struct side *a, struct side *b, uint32_t na, uint32_t nb, const char **text);
static inline const uint8_t *reply_bytes(const struct side *s, uint32_t i) { return s->in + s->replies[i].at; }

/* ---- compare.c ------------------------------------------------------------------------------------------ */
/* 1: the replies agree under the rule; tolerance in ms. */
int reply_agree(enum rule rule, const uint8_t *a, size_t an, const uint8_t *b, size_t bn,
    uint64_t tolerance);
/* The elements of an aggregate, header left out; -1: it is none.  out may be NULL to count. */
int64_t reply_elements(const uint8_t *p, size_t n, struct word *out, size_t max);
/* A bulk's payload. 0, or -1: not a bulk. */
int reply_bulk(struct word r, struct word *out);
void sort_words(struct word *w, size_t n, size_t per); /* groups of per words, by their bytes */
void print_bytes(FILE *f, const uint8_t *p, size_t n);
void print_cmd(FILE *f, const struct cmd *c);

/* ---- ask.c ------------------------------------------------------------------------------------------------ */
struct options;
struct session {
	const struct options *o;
	struct side a, b;
	uint32_t resp, db;
	uint64_t tolerance;        /* ms that the two may be apart by now */
	struct arena mem;          /* of the episode */
	uint64_t done;             /* commands compared */
	FILE *report;              /* NULL: quiet, while shrinking */
};
double clock_seconds(clockid_t clock);
struct cmd words(struct session *s, uint32_t argc, const char *const *text);
#define WORDS(s, ...) words(s, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), \
	(const char *[]){ __VA_ARGS__ })
/* Sends what was added; so many replies of each.  -1: a connection broke, which is reported. */
int send_pair(struct session *s, uint32_t na, uint32_t nb);
/* The same command to both; the replies are number 0 of each side. */
int ask(struct session *s, const struct cmd *c);
/* ... compared by its rule, which is SINGLE or behind it. */
int ask_single(struct session *s, const struct cmd *c);
/* Replies number i by a rule.  -1: they differ, which is reported. */
int compare(struct session *s, const struct cmd *c, uint32_t i, enum rule rule);
int differ(struct session *s, const struct cmd *c, uint32_t i, const char *what);

/* ---- run.c ------------------------------------------------------------------------------------------------ */
struct options {
	const char *a, *b;
	uint64_t seed, commands;
	double seconds;
	uint32_t databases, resp;  /* resp 0: both in turn */
	int isolated;              /* b prefixes keys: then the empty one is not empty to the store, and to a
	                            * glob of Redis that is not the same */
};
int run(const struct options *o); /* exit status */
#endif
