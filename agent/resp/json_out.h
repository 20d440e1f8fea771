/* SPDX-License-Identifier: Apache-2.0
 *
 * resp/json_out: a streaming filter from one RESP2 or RESP3 value to JSON.  In: the value's bytes in
 * any fragments.  Out: JSON appended to a buffer that the caller may drain at any time.  Nothing is
 * ever taken back, so what is bounded is only what one string needs before its form is known.
 *
 *   : integer            number                  $-1 *-1 _            null
 *   , double             number; "inf" "-inf" "nan" are strings
 *   ( big number         string of its digits    # boolean            true, false
 *   + $ = string         string where it is UTF-8, else {"encoding":"base64","value":"..."}
 *                        (the "txt:" of a verbatim string is dropped; what is behind "jsn:" is
 *                        written as it is if it is JSON, no name and not longer than hold_max)
 *   * ~ > array, set     array                   | attribute          dropped
 *   % map                object; a name that is not UTF-8, that begins with "base64:", or that is
 *                        longer than hold_max is written as "base64:" + its base64, so every name
 *                        can be read back; names that are numbers or booleans are written as text
 *   - ! error            {"error":"WORD text"}
 *
 * A string longer than hold_max is base64 whatever it holds: it cannot be checked before its first
 * byte is written.  JSON_OUT_BASE64 makes every string value base64, long or short, UTF-8 or not:
 * then a reply that holds such objects itself (a hash with the fields "encoding" and "value") cannot
 * be mistaken.  A map as a name, deeper nesting than JSON_OUT_DEPTH and what is no RESP are errors.
 */
#ifndef RESP_JSON_OUT_H
#define RESP_JSON_OUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

#define JSON_OUT_DEPTH 32u
#define JSON_OUT_HOLD (1u << 20) /* default of hold_max */

enum {
	JSON_OUT_BASE64 = 1,
	JSON_OUT_BARE = 2     /* of a reply that is one string: the base64 alone, quoted; root_base64 says so */
};

struct json_out_level {
	uint64_t left;        /* values (a map: names and values) still to come */
	uint8_t kind;         /* the type byte of the aggregate */
	bool first;           /* no comma is due yet */
};

struct json_out {
	struct buf hold;      /* a part of a header line, or of a string that is not complete */
	size_t hold_max;
	unsigned flags;       /* JSON_OUT_* */
	uint8_t type;         /* of the string that is arriving */
	uint8_t state;        /* of the filter */
	uint8_t prefix;       /* bytes of "txt:" still to drop */
	uint8_t tail;         /* bytes of CR LF still to pass */
	uint64_t bulk;        /* bytes of the string still to come */
	unsigned depth;
	uint8_t root;         /* type byte of the value itself; 0: not seen yet */
	bool root_null;       /* the value itself is nil */
	bool root_base64;     /* JSON_OUT_BARE: the value is a string, written as base64 */
	const char *error;    /* after -1: why (static) */
	struct json_out_level level[JSON_OUT_DEPTH];
};

void json_out_init(struct json_out *j, unsigned flags, size_t hold_max); /* 0: JSON_OUT_HOLD */
/* Ready for the next value; keeps flags and memory. */
void json_out_reset(struct json_out *j);
void json_out_free(struct json_out *j);
/* Bytes of p[0..n) used: fewer than n only when the value is complete.  -1: error says why. */
int64_t json_out_feed(struct json_out *j, const uint8_t *p, size_t n, struct buf *out);
bool json_out_done(const struct json_out *j);
#endif
