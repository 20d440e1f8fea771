/* SPDX-License-Identifier: Apache-2.0
 *
 * resp/json_text: the small pieces of JSON text: UTF-8 check, quoted strings, base64.
 */
#ifndef RESP_JSON_TEXT_H
#define RESP_JSON_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

/* Length of the well-formed sequence that p[0..n), n >= 1, begins with (RFC 3629 section 4); 0: none. */
size_t utf8_sequence(const uint8_t *p, size_t n);
/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_valid(const uint8_t *p, size_t n);

/* p[0..n) inside quotes, escaped.  p is valid UTF-8. */
void json_put_string(struct buf *out, const void *p, size_t n);
/* A NUL-terminated text whose bytes may be anything: what is not UTF-8 becomes U+FFFD. */
void json_put_text(struct buf *out, const void *p, size_t n);

/* RFC 4648 section 4 with padding.  n is a multiple of 3, but for the last piece of a stream. */
void base64_put(struct buf *out, const uint8_t *p, size_t n);
/* Strict: padding exact, no blanks, unused bits zero.  Decoded length (<= n / 4 * 3), or -1. */
int64_t base64_get(uint8_t *dst, const char *p, size_t n);
#endif
