/* SPDX-License-Identifier: Apache-2.0
 *
 * log/line: one event as one line of text, at most cap bytes with the newline.  Pure.
 */
#ifndef LOG_LINE_H
#define LOG_LINE_H
#include "log/log.h"

struct line_head {
	uint64_t wall_ns;
	enum log_level level;
	const char *module, *event, *message;
	uint32_t suppressed; /* like events before this one that were not written */
};

bool line_secret(const char *key); /* its value is not shown */
/* Bytes of the valid UTF-8 sequence at p, or 0.  n is not 0. */
size_t line_utf8(const char *p, size_t n);

/* Bytes that are not UTF-8 are written as \u00XX: what is printed can always be parsed. */
size_t line_json(char *dst, size_t cap, const struct line_head *h, const struct log_field *f);
size_t line_console(char *dst, size_t cap, const struct line_head *h, const struct log_field *f);
#endif
