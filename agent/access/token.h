/* SPDX-License-Identifier: Apache-2.0
 *
 * access/token: the token file ([agent] token_file).  In: its text.  Out: an immutable set, looked up by the
 * SHA-256 of what a client presents.  purserctl token writes the same file through the same parser.
 *
 *   # name  digest          projects    role    expires
 *   ci      sha256:HEX...   shop,blog   writer  2027-01-31T00:00:00Z
 *   ops     sha256:HEX...   *           admin   never
 *   cart    sha256:HEX...   shop        -       never
 *
 * Five words a line, blanks between.  Projects: names with commas between (UUIDs in lower case), or * for any.
 * Role "-": the one that the project gives ([project NAME] role).  Expiry: a time in UTC, a day (its
 * beginning), or never.  The file holds no secret that could be used, but it decides who enters: it must
 * belong to root or to the agent, be writable by nobody else and closed to everybody outside its group.
 */
#ifndef ACCESS_TOKEN_H
#define ACCESS_TOKEN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/buf.h"

#define TOKEN_PREFIX "psr_"          /* in front of a token: secret scanners know it by that */
#define TOKEN_TEXT_MAX 64u           /* with the NUL: prefix, 43 characters of base64url */
#define TOKEN_NAME_MAX 64u
#define TOKEN_DIGEST 32u             /* SHA-256 */
#define TOKENS_MAX 4096u             /* of a file */
#define TOKEN_PROJECTS_MAX 256u      /* of a line */
#define TOKEN_LINE_MAX 32768u
#define TOKEN_FILE_MAX ((1u << 20) - 1) /* what the check of a *_file key reads */

struct token {
	char name[TOKEN_NAME_MAX + 1];
	char role[TOKEN_NAME_MAX + 1];   /* "": the project's */
	uint8_t digest[TOKEN_DIGEST];
	bool any_project;
	uint32_t nprojects;
	const char **projects;           /* in the order of the line */
	uint64_t expires_ms;             /* Unix time; 0: never */
	uint32_t line;                   /* where it stands in the file */
};

struct token_set {
	struct token *v;
	uint32_t n;
	char *text;                      /* what the names of projects point into */
};

/* The set of text[0..n), which file (for messages) holds.  All errors are appended to why, a line each; NULL if there
 * is one, or no memory. */
struct token_set *token_parse(const char *file, const char *text, size_t n, struct buf *why);
/* The same of the file at path, whose owner and mode are checked: owner (the agent's uid) or root. */
struct token_set *token_load(const char *path, uid_t owner, struct buf *why);
void token_set_free(struct token_set *s); /* NULL is nothing */

/* Owner, mode and kind of an open token file.  0, or -1 with a sentence in why. */
int token_file_ok(int fd, uid_t owner, char *why, size_t whylen);

/* The token of that digest, or NULL.  Takes as long for each digest, whether or not it is there. */
const struct token *token_find(const struct token_set *s, const uint8_t digest[TOKEN_DIGEST]);
/* As that; where it was, `at`, is looked at first: right or wrong, the answer is the same. */
const struct token *token_again(const struct token_set *s, uint32_t at, const uint8_t digest[TOKEN_DIGEST]);
bool token_same(const uint8_t a[TOKEN_DIGEST], const uint8_t b[TOKEN_DIGEST]); /* in constant time */
const struct token *token_named(const struct token_set *s, const char *name);
bool token_admits(const struct token *t, const char *project);
static inline bool token_expired(const struct token *t, uint64_t now_ms)
{
	return t->expires_ms && now_ms >= t->expires_ms;
}

/* SHA-256 of what was presented.  0, or -1: the library failed. */
int token_digest(const void *p, size_t n, uint8_t digest[TOKEN_DIGEST]);
bool token_shaped(const void *p, size_t n); /* does it look like one of ours? */
/* A fresh token with 256 random bits.  0, or -1: no randomness. */
int token_make(char text[TOKEN_TEXT_MAX]);
/* The line for the file, with its end.  projects: as in the file; role "" = "-". */
void token_line(struct buf *b, const char *name, const uint8_t digest[TOKEN_DIGEST], const char *projects,
    const char *role, uint64_t expires_ms);

/* "2027-01-31T00:00:00Z", "2027-01-31" or "never" -> ms of Unix time, 0 = never.  0, or -1. */
int token_time(const char *text, size_t n, uint64_t *ms);
void token_time_text(uint64_t ms, char text[24]); /* the opposite */
bool token_name_ok(const char *name, size_t n); /* a-z A-Z 0-9 . _ @ -, 1 to 64, no - or . in front */
/* "shop,blog" or "*": 0, or -1 with a sentence in why. */
int token_projects_ok(const char *text, size_t n, char *why, size_t whylen);
#endif
