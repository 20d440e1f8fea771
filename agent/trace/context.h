/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/context: W3C trace context (Level 2): traceparent and tracestate, read and written.  Pure.
 */
#ifndef TRACE_CONTEXT_H
#define TRACE_CONTEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

enum { TRACE_SAMPLED = 1, TRACE_RANDOM = 2 };
enum { TRACE_ORIGIN_NONE = 0, TRACE_ORIGIN_LOCAL = 1, TRACE_ORIGIN_REMOTE = 2 };
enum { TRACE_HAS_TRACE = 1, TRACE_HAS_SPAN = 2, TRACE_HAS_RANDOM = 4, TRACE_HAS_PARENT = 8 };

/* What a caller sent. */
struct trace_parent {
	uint8_t trace_id[16], span_id[8];
	uint8_t flags;
	bool valid;
	purser_bytes state; /* checked tracestate, borrowed from the request; n 0 = none */
};

/* Of one request, from trace_begin to trace_keep.  Ids are made when they are needed: `has` says
 * which are there (trace_ids makes the rest). */
struct trace_ctx {
	uint8_t flags;   /* W3C */
	uint8_t origin;  /* TRACE_ORIGIN_* */
	uint8_t has;     /* TRACE_HAS_* */
	uint8_t trace_id[16], span_id[8], parent_id[8];
	uint64_t random; /* low half of the trace id to be */
};

/* The value of one traceparent header, blanks around it allowed.  0, or -1: invalid, out->valid is
 * false.  More than one header is invalid, too: that is for the caller to see. */
int trace_parent_parse(const char *s, size_t n, struct trace_parent *out);

#define TRACE_PARENT_LEN 55
/* 55 bytes and a NUL; always version 00. */
void trace_parent_format(char dst[TRACE_PARENT_LEN + 1], const uint8_t trace_id[16],
    const uint8_t span_id[8], uint8_t flags);

#define TRACE_STATE_MAX 512
/* The tracestate headers in the order they came, as one list without blanks and empty members:
 * written to dst (at least TRACE_STATE_MAX bytes), the length returned; 0 = none, or one member was
 * bad and all is dropped.  A list that is too long loses members over 128 bytes first, then those at
 * its end.  Of members with the same key the first stays. */
size_t trace_state_parse(const purser_bytes *lines, size_t nlines, char *dst);
#endif
