/* SPDX-License-Identifier: Apache-2.0
 *
 * resp/json_scan: strict JSON (RFC 8259) out of a text, in one pass, without a tree: the caller walks
 * the parts that it knows and passes over the rest.  Refused beside what the grammar refuses: bytes
 * that are not UTF-8, half surrogates, nesting beyond JSON_SCAN_DEPTH.
 *
 * Why not a library: docs/decisions/json-in.md.
 */
#ifndef RESP_JSON_SCAN_H
#define RESP_JSON_SCAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_SCAN_DEPTH 256u

struct json_scan {
	const uint8_t *p, *end;   /* what is not read yet */
	const uint8_t *at;        /* after -1: where */
	const char *error;        /* after -1: what (static) */
};

/* All return 0, or -1 with at and error. */

/* Behind blanks: the byte there, 0 at the end. */
uint8_t jscan_peek(struct json_scan *s);
/* Any value, checked. */
int jscan_skip(struct json_scan *s);
/* A string, decoded to dst (NULL: only checked), which has room for its length in the text. */
int jscan_string(struct json_scan *s, uint8_t *dst, size_t *n);
/* The next element of an array or member of an object: call first behind '[' or '{' with *first true.
 * *more: there is one, and p is at it (of an object: at its name). */
int jscan_next(struct json_scan *s, uint8_t close, bool *first, bool *more);
/* From behind a name to its value. */
int jscan_colon(struct json_scan *s);
/* Nothing but blanks is left. */
int jscan_end(struct json_scan *s);

/* Bytes of the number that p[0..n) begins with; 0: none. */
size_t jscan_number(const uint8_t *p, size_t n);
#endif
