/* SPDX-License-Identifier: Apache-2.0
 *
 * server/http_words: the template of a route: which words its command has, and which part of a request each
 * of them is.  In: the path and the words of a row of routes.def, whose head says what may stand there.
 * Out: the same in pieces, made once, read by whoever matches, fills or describes a route.  No I/O.
 */
#ifndef SERVER_HTTP_WORDS_H
#define SERVER_HTTP_WORDS_H
#include <stdbool.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "resp/json_in.h"
#include "server/http_head.h"

enum { HTTP_WORDS_MAX = 24, HTTP_FIELDS_MAX = 16, HTTP_SEGMENTS_MAX = 8 };

enum http_place { HTTP_IN_PATH, HTTP_IN_QUERY, HTTP_IN_BODY };

struct http_field {
	purser_bytes name;
	purser_bytes text;        /* JSON_CHOICE: "a|b"; else its default, p NULL: none */
	enum json_type type;
	uint8_t place;            /* enum http_place */
	uint8_t group;            /* 0: always there */
	bool required;            /* in its group */
};
struct http_word {
	purser_bytes text;        /* of a fixed word */
	int8_t field;             /* HTTP_FIXED, HTTP_NEXT or which one */
	uint8_t group;
};
enum { HTTP_FIXED = -1, HTTP_NEXT = -2 }; /* NEXT: what follows is another command */
struct http_segment {
	purser_bytes text;        /* of a fixed one */
	int8_t field;             /* -1: a fixed one */
};

struct http_words {
	struct http_word word[HTTP_WORDS_MAX];
	struct http_field field[HTTP_FIELDS_MAX];
	struct http_segment segment[HTTP_SEGMENTS_MAX];
	uint8_t nwords, nfields, nsegments;
	bool fixed;               /* no part of the path is a field */
	bool body;                /* some field stands in it */
	bool required_body;       /* ... and must */
	bool command;             /* <*>: the body is the words of a command */
	uint8_t ncommands;        /* at most */
	uint16_t min, max;        /* words that it may become; max UINT16_MAX: any number */
	size_t bytes;             /* of the fixed words and the defaults */
	char names[64];           /* of flags, in lower case */
	uint8_t named;
};

/* 0, or -1 with *why.  path and text are borrowed for as long as w is used. */
int http_words_parse(struct http_words *w, enum http_method m, const char *path, const char *text,
    const char **why);
#endif
