/* SPDX-License-Identifier: Apache-2.0
 *
 * request_space: names of a whole key space: cursors and replies of SCAN and KEYS, and the agent's own keys,
 * which no client reaches (semantics.md section 9).  The files of the spine include it.
 */
#ifndef REQUEST_SPACE_H
#define REQUEST_SPACE_H
#include "request.h"

/* isolate, A_SCAN: the client's cursor becomes the store's, COUNT at most scan_count_max.  argv is the
 * request's own.  NULL, or why not ("" = no memory). */
const char *space_scan(struct request *r, uint16_t db);

/* The store's cursor as r's client sees it: to dst of CURSOR_TEXT bytes; the length. */
size_t space_cursor(const struct request *r, uint64_t store, char *dst);

/* Is the reply of c in project p one that space_filter() edits? */
bool space_edits(const struct project *p, const struct command *c);
/* Its filter, in r's arena; then: the next one, or NULL: out.  NULL: no memory. */
struct reply_filter *space_filter(struct request *r, const struct command *c, uint16_t db, struct out **out,
    struct reply_filter *then);

/* Is one of the keys of a request to a project without a prefix the agent's own, or could it be? */
bool space_reserved(const struct request *r);
extern const char space_reserved_text[];

/* Takes the prefix out of the names of b's keys (it has argc words) in an error text, in place; the new length. */
size_t space_error(const struct project *p, const struct bcall *b, uint32_t argc, char *text, size_t n);
#endif
